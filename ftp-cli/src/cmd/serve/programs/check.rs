//! Checks of programs for `--check`.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::cmd::serve::findings::Findings;
use crate::display::shown_path;
use crate::exit::Exit;

/// Checks that the program in the setting `key` can be started.
pub(crate) fn check_program(key: &str, path: &Path, findings: &mut Findings) {
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
