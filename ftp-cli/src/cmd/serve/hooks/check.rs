//! `--check` of `[hooks]`.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::cmd::serve::findings::Findings;
use crate::cmd::serve::settings::HookSettings;
use crate::display::shown_path;
use crate::exit::Exit;

/// Checks that the programs can be started, and that events can be kept.
pub(super) fn check(settings: &HookSettings, findings: &mut Findings) {
    if let Some(path) = settings.stored.first() {
        program("hooks.stored", Path::new(path), findings);
    }
    if let Some(path) = &settings.program {
        program("hooks.program", path, findings);
    }
    if let Some(path) = &settings.dead_letters {
        directory(path, findings);
    }
}

fn program(key: &str, path: &Path, findings: &mut Findings) {
    let shown = shown_path(path);
    match access(path, Access::EXEC_OK) {
        Ok(()) if path.is_file() => {
            findings.ok(format_args!("{key}: {shown} is executable"));
        }
        Ok(()) => {
            findings.fail(
                Exit::Local,
                format_args!("{key}: {shown} is not a program; use an executable file"),
            );
        }
        Err(error) => {
            let what_to_do = "fix its owner or mode, or use another program";
            let words = format_args!("{key}: cannot start {shown}: {error}; {what_to_do}");
            findings.fail(Exit::Local, words);
        }
    }
}

fn directory(path: &Path, findings: &mut Findings) {
    let shown = shown_path(path);
    match access(path, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if path.is_dir() => {
            findings.ok(format_args!("hooks.dead_letters: {shown} is writable"));
        }
        Ok(()) => {
            findings
                .fail(Exit::Local, format_args!("hooks.dead_letters: {shown} is not a directory"));
        }
        Err(error) => {
            let what_to_do = "create it, or fix its owner or mode";
            let words =
                format_args!("hooks.dead_letters: cannot write to {shown}: {error}; {what_to_do}");
            findings.fail(Exit::Local, words);
        }
    }
}
