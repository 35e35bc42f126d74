//! Defines one key for the file reader, `--set`, `--check`, `help`, the man page and
//! `dist/server.toml` alike.

use super::kind::Kind;
use super::toml_text::unquoted;

/// One key of a `T`: its help, and how the field is read and shown.
pub(crate) struct Setting<T: 'static> {
    pub(crate) key: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// Returns an error message for an invalid text.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// Sets the field to the value of a text, or returns a message about the error.
    pub(super) set: fn(&mut T, &str) -> Result<(), String>,
    /// Returns the value in the format of `help`.
    pub(crate) show: fn(&T) -> String,
}

impl<T> Setting<T> {
    /// Returns the value in the format of a file.
    pub(crate) fn literal(&self, values: &T) -> String {
        self.kind.literal(unquoted(&(self.show)(values)))
    }

    /// Returns the table that holds the key; empty for a key of a user, a virtual host or a store.
    pub(crate) fn table(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(table, _)| table)
    }

    /// Returns the help, with the format of the value if neither the default nor the help shows it.
    pub(crate) fn meaning(&self) -> String {
        format!("{}{}", self.help, self.kind.form())
    }
}

/// Defines a row: the type with the field, the key, the [`Form`](super::form::Form) of its value,
/// the field, and the help.
macro_rules! row {
    ($of:ty, $key:literal, $form:expr, $($field:ident).+, $help:literal) => {
        Setting {
            key: $key,
            help: $help,
            kind: $form.kind,
            check: |text| ($form.read)(text).map(drop),
            set: |values: &mut $of, text| {
                values.$($field).+ = ($form.read)(text)?;
                Ok(())
            },
            show: |values: &$of| ($form.show)(&values.$($field).+),
        }
    };
}
pub(super) use row;
