//! Defines one key for the file reader, `--set`, `--check`, `help`, the man page and
//! `dist/server.toml` alike.

use std::fmt::Display;

use super::forms::Kind;
use super::value::{Checked, TomlValue};
use ftp_proto::text::values::did_you_mean;

/// One key of a `T`: its help, and how the field is read and shown.
pub(crate) struct Setting<T: 'static> {
    pub(crate) key: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// `None` if a reload changes the value.
    pub(crate) fixed: Option<Fixed>,
    /// Sets the field. [`set`](Self::set) also notes the origin.
    pub(super) read: fn(&mut T, &TomlValue) -> Checked<()>,
    /// Copies the field. [`inherit`](Self::inherit) decides whether to.
    pub(super) copy: fn(&mut T, &T),
    pub(crate) show: fn(&T) -> TomlValue,
}

/// When the value of a key is fixed until a restart: a reload does not change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fixed {
    AtStart,
    /// Only once the server uses it.
    AtFirstUse,
}

/// The fields of a table, and where their values come from.
pub(crate) trait Fields {
    fn origins(&self) -> &Origins;
    fn origins_mut(&mut self) -> &mut Origins;
}

impl<T: Fields> Setting<T> {
    pub(super) fn set(&self, fields: &mut T, value: &TomlValue, origin: Origin) -> Checked<()> {
        (self.read)(fields, value)?;
        fields.origins_mut().note(self.key, origin);
        Ok(())
    }

    /// Sets the field to that of `table`, unless the field is set or that of the table is not.
    pub(super) fn inherit(&self, fields: &mut T, from: &T, table: impl Display) {
        if fields.origins().get(self.key).is_none()
            && let Some(origin) = from.origins().get(self.key)
        {
            (self.copy)(fields, from);
            fields.origins_mut().note(self.key, origin.in_table(table));
        }
    }

    /// Sets the field to a value of `--set`. In messages, `table` precedes the key.
    pub(super) fn assign(
        &self,
        fields: &mut T,
        table: &str,
        given: &SetOption<'_>,
    ) -> Result<(), String> {
        let named = |below: &str, why: &str| format!("{table}{}{below}: {why}", self.key);
        let value = self.kind.given(given.value);
        let origin = Origin::new(given.source.to_owned(), None);
        self.set(fields, &value, origin).map_err(|objections| {
            let first = objections.first();
            first.map(|objection| named(&objection.below, &objection.why)).unwrap_or_default()
        })
    }
}

impl<T> Setting<T> {
    /// Returns the table that holds the key; empty for a key of a user, a virtual host or a store.
    pub(crate) fn table(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(table, _)| table)
    }

    /// Returns the key in its table.
    pub(crate) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// Returns the help, with the format of the value if neither the default nor the help shows it.
    pub(crate) fn meaning(&self) -> String {
        format!("{}{}", self.help, self.kind.form())
    }
}

/// One `KEY=VALUE` of `--set`, without the table of the key.
pub(super) struct SetOption<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// The option that has given the value.
    pub(super) source: &'a str,
}

impl SetOption<'_> {
    /// Returns the row of the key in tables such as `users.NAME`.
    ///
    /// # Errors
    ///
    /// Returns a message with a similar key, or else with all keys, if there is no such row.
    pub(super) fn row<T>(
        &self,
        tables: &str,
        mut rows: impl Iterator<Item = &'static Setting<T>> + Clone,
    ) -> Result<&'static Setting<T>, String> {
        let keys = rows.clone().map(|row| row.key);
        rows.find(|row| row.key == self.key)
            .ok_or_else(|| format!("unknown setting {tables}.{}{}", self.key, hint(self.key, keys)))
    }
}

/// Returns the end of a message about an unknown key: a similar key, or else all keys.
pub(super) fn hint<'k>(key: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match did_you_mean(key, known.clone()) {
        none if none.is_empty() => format!(": expected {}", known.collect::<Vec<_>>().join(", ")),
        hint => hint,
    }
}

/// Returns whether the same names have the same values, whatever their origins.
pub(super) fn are_same<'t, N: PartialEq, T>(
    rows: &[Setting<T>],
    some: impl Iterator<Item = (N, &'t T)>,
    others: impl Iterator<Item = (N, &'t T)>,
) -> bool {
    let values =
        |(name, values)| (name, rows.iter().map(|row| (row.show)(values)).collect::<Vec<_>>());
    some.map(values).eq(others.map(values))
}

/// Defines a row: the type with the field, the key, when it is [`Fixed`], if it is, the
/// [form](super::forms) of its value, the field, and the help.
macro_rules! row {
    (@) => { None };
    (@ $fixed:ident) => { Some(Fixed::$fixed) };
    ($of:ty, $key:literal $($fixed:ident)?, $form:expr, $($field:ident).+, $help:literal) => {
        Setting {
            key: $key,
            help: $help,
            kind: $form.kind(),
            fixed: row!(@ $($fixed)?),
            read: |fields: &mut $of, value| {
                fields.$($field).+ = $form.read(value)?;
                Ok(())
            },
            copy: |fields: &mut $of, from: &$of| {
                fields.$($field).+.clone_from(&from.$($field).+);
            },
            show: |fields: &$of| $form.show(&fields.$($field).+),
        }
    };
}
pub(super) use row;

/// Defines the fields of a table with their defaults, for `Default`. A field without `= VALUE`
/// starts with the default of its type.
macro_rules! with_defaults {
    (@ $value:expr) => { $value };
    (@) => { Default::default() };
    ($(#[$about:meta])* $seen:vis struct $name:ident {
        $($(#[$doc:meta])* $open:vis $field:ident: $type:ty $(= $value:expr)?,)*
    }) => {
        $(#[$about])*
        $seen struct $name {
            $($(#[$doc])* $open $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: with_defaults!(@ $($value)?),)* }
            }
        }
    };
}
pub(super) use with_defaults;

/// Tells where the values of a table come from: its field `origins`.
macro_rules! fields {
    ($($of:ty),+) => {$(
        impl Fields for $of {
            fn origins(&self) -> &Origins {
                &self.origins
            }

            fn origins_mut(&mut self) -> &mut Origins {
                &mut self.origins
            }
        }
    )+};
}
pub(super) use fields;

/// Origins of values that are not defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<(&'static str, Origin)>);

/// The place of a value that is not a default.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// `server.toml:14`, `--set` or the name of another option. If the value is inherited, also
    /// the table: `server.toml:14 (defaults)`.
    pub(super) shown: String,
    /// The source with the column of the value in a file: `server.toml:14:7`.
    pub(super) place: String,
}

impl Origin {
    /// Returns the origin in this source; `column` is the column of the value in a file.
    pub(super) fn new(source: String, column: Option<usize>) -> Self {
        let place = column.map_or_else(|| source.clone(), |column| format!("{source}:{column}"));
        Self { shown: source, place }
    }

    /// Returns the origin of a value that is inherited from this table.
    pub(super) fn in_table(&self, table: impl Display) -> Self {
        Self { shown: format!("{} ({table})", self.shown), place: self.place.clone() }
    }
}

impl Origins {
    pub(super) fn note(&mut self, key: &'static str, origin: Origin) {
        self.0.retain(|(other, _)| *other != key);
        self.0.push((key, origin));
    }

    /// Returns `server.toml:14`, `--set`, the name of another option, or `default`. If the value is
    /// inherited, adds the table in parentheses.
    pub(crate) fn of(&self, key: &str) -> &str {
        self.get(key).map_or("default", |origin| &origin.shown)
    }

    /// Returns the origin with its column in the file, such as `server.toml:14:7`.
    pub(crate) fn place(&self, key: &str) -> &str {
        self.get(key).map_or("default", |origin| &origin.place)
    }

    /// Returns the place of the first value, or `default`.
    pub(super) fn first(&self) -> &str {
        self.0.first().map_or("default", |(_, origin)| &origin.place)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, origin)| origin)
    }
}
