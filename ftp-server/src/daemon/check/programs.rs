//! Checks the operator's programs for `--check`.

use std::path::Path;

use rustix::fs::{Access, access};

use super::Findings;
use crate::daemon::DaemonErrorKind;
use crate::daemon::config::Config;
use crate::daemon::hooks::{flaw, needs_spool, spool_directory};
use ftp_proto::text::values::shown_path;

/// Checks that the programs can be started, and that the server can write dead letters.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let (settings, hooks) = (&config.settings, &config.settings.hooks);
    let program = |key: &str, path: Option<&Path>, findings: &mut Findings| {
        if let Some(path) = path {
            findings.check_access(key, path, Needed::Program);
        }
    };
    program("hooks.stored", hooks.stored.first().map(Path::new), findings);
    program("hooks.check", hooks.check.first().map(Path::new), findings);
    program("hooks.program", hooks.program.as_deref(), findings);
    if let Some(path) = &hooks.dead_letters {
        findings.check_access("hooks.dead_letters", path, Needed::Directory);
    }
    if needs_spool(settings) {
        if let Some(why) = flaw(settings) {
            findings.fail(DaemonErrorKind::Configuration, why);
        }
        match spool_directory(settings) {
            Some(path) if path.exists() => {
                findings.check_access("hooks.spool", &path, Needed::Directory);
            }
            Some(path) => findings
                .ok(format_args!("hooks.spool: the first start will create {}", shown_path(&path))),
            None => {}
        }
    }
    program("auth.program", settings.auth.program.first().map(Path::new), findings);
}

#[derive(Clone, Copy)]
enum Needed {
    Program,
    /// A directory to read, too, because the server counts the files.
    Directory,
}

impl Findings {
    fn check_access(&mut self, key: &str, path: &Path, needed: Needed) {
        let shown = shown_path(path);
        let (rights, is_it, good, bad, cannot, cure) = match needed {
            Needed::Program => (
                Access::EXEC_OK,
                path.is_file(),
                "executable",
                "not a program; use an executable file",
                "start",
                "fix its owner or mode, or use another program",
            ),
            Needed::Directory => (
                Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
                path.is_dir(),
                "readable and writable",
                "not a directory; use a directory",
                "read and write",
                "create it, or fix its owner or mode",
            ),
        };
        match access(path, rights) {
            Ok(()) if is_it => self.ok(format_args!("{key}: {shown} is {good}")),
            Ok(()) => self.fail(DaemonErrorKind::Local, format!("{key}: {shown} is {bad}")),
            Err(error) => {
                let words = format!("{key}: cannot {cannot} {shown}: {error}; {cure}");
                self.fail(DaemonErrorKind::Local, words);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_must_be_readable_and_writable() {
        let here = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        for (mode, is_enough) in [(0o700, true), (0o300, is_root), (0o500, is_root)] {
            set_permissions(here.path(), Permissions::from_mode(mode)).unwrap();
            let mut findings = Findings::default();
            findings.check_access("hooks.dead_letters", here.path(), Needed::Directory);
            assert_eq!(findings.kind.is_none(), is_enough, "{mode:o}: {:?}", findings.all);
        }
        set_permissions(here.path(), Permissions::from_mode(0o700)).unwrap();
        let mut findings = Findings::default();
        findings.check_access(
            "hooks.dead_letters",
            &here.path().join("missing"),
            Needed::Directory,
        );
        assert!(findings.all[0].1.contains("cannot read and write "), "{:?}", findings.all);
    }
}
