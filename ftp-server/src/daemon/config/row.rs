//! Defines one key for the file reader, `--set`, `--check`, `help`, the man page and
//! `dist/server.toml` alike.

use super::kind::Kind;
use crate::daemon::toml_text::unquoted;

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

/// Origins of values that are not defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

#[derive(Clone, Debug)]
struct Origin {
    key: &'static str,
    /// `server.toml:14`, `--set` or the name of another option.
    source: String,
    /// Column of the value in the file.
    column: Option<usize>,
    /// If the value is inherited, the source and the table: `server.toml:14 (defaults)`.
    inherited: Option<String>,
}

impl Origins {
    /// Records an origin; `column` is the column of the value in the file.
    pub(super) fn note(&mut self, key: &'static str, source: String, column: Option<usize>) {
        self.0.retain(|other| other.key != key);
        self.0.push(Origin { key, source, column, inherited: None });
    }

    /// Records the table that a value is inherited from.
    pub(super) fn note_table(&mut self, key: &str, table: &str) {
        if let Some(origin) = self.0.iter_mut().find(|origin| origin.key == key) {
            origin.inherited = Some(format!("{} ({table})", origin.source));
        }
    }

    /// Returns `server.toml:14`, `--set`, the name of another option, or `default`. If the value is
    /// inherited, adds the table in parentheses.
    pub(crate) fn of(&self, key: &str) -> &str {
        self.get(key)
            .map_or("default", |origin| origin.inherited.as_deref().unwrap_or(&origin.source))
    }

    /// Returns the origin with its column in the file, such as `server.toml:14:7`.
    pub(super) fn place(&self, key: &str) -> String {
        let origin = self.get(key);
        let source = origin.map_or("default", |origin| &origin.source);
        match origin.and_then(|origin| origin.column) {
            Some(column) => format!("{source}:{column}"),
            None => source.to_owned(),
        }
    }

    /// Returns the source of the first value, or `default`.
    pub(super) fn first(&self) -> &str {
        self.0.first().map_or("default", |origin| &origin.source)
    }

    fn get(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find(|origin| origin.key == key)
    }
}
