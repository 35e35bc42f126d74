//! Writes options and operands for the scripts of all shells.

use crate::options::{Completes, Operand, Row};

/// Returns `-u` and `--user`.
pub(super) fn spellings(row: &Row) -> impl Iterator<Item = String> {
    let short = row.short.map(|short| format!("-{short}"));
    short.into_iter().chain([format!("--{}", row.long)])
}

/// Returns the completion of an operand.
pub(super) const fn of_operand(operand: Operand) -> Completes {
    match operand {
        Operand::File => Completes::File,
        Operand::Directory => Completes::Directory,
        Operand::Url => Completes::Nothing,
        Operand::Command => Completes::Command,
        Operand::Words(words) => Completes::Words(words),
    }
}

/// Returns text in single quotes for a shell in which `'` within quotes is written `escape`.
pub(super) fn quoted(text: &str, escape: &str) -> String {
    format!("'{}'", text.replace('\'', escape))
}
