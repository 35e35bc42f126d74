//! Checks the operator's programs for `--check`.

use std::path::Path;

use rustix::fs::{Access, access};

use super::Findings;
use crate::daemon::DaemonErrorKind;
use crate::daemon::config::Config;
use crate::daemon::hooks;
use ftp_proto::text::values::shown_path;

/// Checks that the programs can be started, and that the server can write dead letters.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let settings = &config.settings;
    check_hooks(config, findings);
    let Some(path) = settings.auth.program.first() else { return };
    check_program("auth.program", Path::new(path), findings);
}

fn check_hooks(config: &Config, findings: &mut Findings) {
    let settings = &config.settings.hooks;
    if let Some(path) = settings.stored.first() {
        check_program("hooks.stored", Path::new(path), findings);
    }
    if let Some(path) = settings.check.first() {
        check_program("hooks.check", Path::new(path), findings);
    }
    if let Some(path) = &settings.program {
        check_program("hooks.program", path, findings);
    }
    if let Some(path) = &settings.dead_letters {
        directory("hooks.dead_letters", path, findings);
    }
    let has_hook = settings.program.is_some() || !settings.stored.is_empty();
    if let Some(why) = hooks::flaw(&config.settings).filter(|_| has_hook) {
        findings.fail(DaemonErrorKind::Configuration, why);
    }
    let Some(spool) = hooks::spool_directory(&config.settings).filter(|_| has_hook) else { return };
    match spool.exists() {
        true => directory("hooks.spool", &spool, findings),
        false => findings
            .ok(format_args!("hooks.spool: the first start will create {}", shown_path(&spool))),
    }
}

fn directory(key: &str, path: &Path, findings: &mut Findings) {
    let shown = shown_path(path);
    // Reading is needed too, because the server counts the files.
    match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if path.is_dir() => {
            findings.ok(format_args!("{key}: {shown} is readable and writable"));
        }
        Ok(()) => {
            findings.fail(
                DaemonErrorKind::Local,
                format_args!("{key}: {shown} is not a directory; use a directory"),
            );
        }
        Err(error) => {
            let what_to_do = "create it, or fix its owner or mode";
            let words = format!("{key}: cannot read and write {shown}: {error}; {what_to_do}");
            findings.fail(DaemonErrorKind::Local, words);
        }
    }
}

fn check_program(key: &str, path: &Path, findings: &mut Findings) {
    let shown = shown_path(path);
    match access(path, Access::EXEC_OK) {
        Ok(()) if path.is_file() => {
            findings.ok(format_args!("{key}: {shown} is executable"));
        }
        Ok(()) => {
            findings.fail(
                DaemonErrorKind::Local,
                format_args!("{key}: {shown} is not a program; use an executable file"),
            );
        }
        Err(error) => {
            let what_to_do = "fix its owner or mode, or use another program";
            let words = format!("{key}: cannot start {shown}: {error}; {what_to_do}");
            findings.fail(DaemonErrorKind::Local, words);
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
            directory("hooks.dead_letters", here.path(), &mut findings);
            assert_eq!(findings.kind.is_none(), is_enough, "{mode:o}: {:?}", findings.all);
        }
        set_permissions(here.path(), Permissions::from_mode(0o700)).unwrap();
        let mut findings = Findings::default();
        directory("hooks.dead_letters", &here.path().join("missing"), &mut findings);
        assert!(findings.all[0].1.contains("cannot read and write "), "{:?}", findings.all);
    }
}
