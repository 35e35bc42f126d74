//! Writes options and operands for the scripts of all shells.

use std::iter;

use crate::options::{self, Command, Row, Synonym};

/// Returns all names of a command, its own name first.
pub(super) fn names(command: Command) -> Vec<&'static str> {
    iter::once(command.name()).chain(Synonym::of(command)).collect()
}

/// Returns all names of all commands.
pub(super) fn all_names() -> Vec<&'static str> {
    let commands = Command::ALL.iter().map(|command| command.name());
    commands.chain(Synonym::all().map(|synonym| synonym.name)).collect()
}

/// Program for sed that prints the bookmarks of a configuration file, each as `@NAME/`.
pub(super) const BOOKMARKS: &str = r#"/^[[:space:]]*\[bookmarks\]/,/^[[:space:]]*\[/s|^[[:space:]]*"\{0,1\}\([A-Za-z0-9._-]\{1,\}\)"\{0,1\}[[:space:]]*=.*|@\1/|p"#;

/// Returns whether operands of a command can be bookmarks.
pub(super) fn takes_bookmarks(command: Command) -> bool {
    command.rows().any(|row| row.long == "no-config")
}

/// Returns the spellings of an option, such as `-u` and `--user`.
pub(super) fn spellings(row: &Row) -> impl Iterator<Item = String> {
    let short = row.short.map(|short| format!("-{short}"));
    short.into_iter().chain([format!("--{}", row.long)])
}

/// Returns the spellings of the options before a command that take the next word as their value.
pub(super) fn taking_word() -> Vec<String> {
    options::global_rows().filter(|row| row.value.is_needed()).flat_map(spellings).collect()
}

/// Puts text in single quotes, and replaces each `'` within it by `escape`.
pub(super) fn quoted(text: &str, escape: &str) -> String {
    format!("'{}'", text.replace('\'', escape))
}
