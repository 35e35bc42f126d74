//! What a key is: to the reader of files, to `--set`, to `--check`, to `help` and to
//! `dist/server.toml` alike.

use std::fmt::Write;

use super::form::{Field, FieldMut, Form};

/// One key of a `T`: what it is about, and which field has its value.
pub(crate) struct Row<T: 'static> {
    pub(crate) key: &'static str,
    pub(crate) help: &'static str,
    pub(crate) form: Form,
    pub(crate) field: fn(&T) -> Field<'_>,
    pub(crate) field_mut: fn(&mut T) -> FieldMut<'_>,
}

impl<T> Row<T> {
    /// Sets the value, or says what is wrong with the text.
    pub(super) fn set(&self, values: &mut T, text: &str) -> Result<(), String> {
        (self.field_mut)(values).set(text)
    }

    /// The value as `help` shows it.
    pub(crate) fn show(&self, values: &T) -> String {
        (self.field)(values).show()
    }

    /// The value as a file has it.
    pub(crate) fn literal(&self, values: &T) -> String {
        self.form.kind().literal(unquoted(&self.show(values)))
    }
}

/// What a file has to say for a value. Behind `--set` all of them are plain text, and items have
/// commas between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `true`, `false`.
    Switch,
    /// `64`.
    Number,
    /// `64`, or `""` for none.
    NumberOrNone,
    /// `"5 min"`, or a number of seconds.
    Time,
    /// `"64 MiB"`, or a number of bytes.
    Size,
    /// `"text"`.
    Text,
    /// `["text", "text"]`.
    List,
    /// `"text"` or `["text", "text"]`.
    Words,
    /// `["/path/program", "argument"]`, behind `--set`, too: an argument may have commas.
    Arguments,
    /// `[{ clients = ["network"], address = "address" }]`.
    Overrides,
}

impl Kind {
    /// What is to be written behind `--set`, where that is not plain to see.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Overrides => ": 10.0.0.0/8=10.0.0.5;...",
            Self::Arguments => ": [\"/program\", ...]",
            _ => "",
        }
    }

    /// The value that `text` is behind `--set`, as a file has it.
    fn literal(self, text: &str) -> String {
        match self {
            Self::Switch | Self::Number | Self::Arguments => text.to_owned(),
            Self::NumberOrNone if !text.is_empty() => text.to_owned(),
            Self::Words if text.starts_with('[') => list(text.trim_matches(['[', ']'])),
            Self::Time | Self::Size | Self::Text | Self::Words | Self::NumberOrNone => quoted(text),
            Self::List => list(text),
            Self::Overrides => {
                let item = |item: &str| {
                    let (clients, address) = item.split_once('=').unwrap_or_default();
                    format!("{{ clients = {}, address = {} }}", list(clients), quoted(address))
                };
                let items: Vec<String> =
                    text.split(';').filter(|item| !item.is_empty()).map(item).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

fn list(text: &str) -> String {
    list_of(text.split(',').map(str::trim).filter(|item| !item.is_empty()))
}

/// A list of TOML.
pub(super) fn list_of<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// How a program and its arguments are written.
pub(super) const ARGUMENTS: &str = "[\"/path/program\", \"argument\"]";

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A value without the quotes around it, with which values that may be empty are shown.
pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// A row: key, the form of its value, the field of a `$of` that has it, and help.
macro_rules! row {
    ($of:ty, $key:literal, $form:ident, $($field:ident).+, $help:literal) => {
        Row {
            key: $key,
            help: $help,
            form: $crate::settings::form::Form::$form,
            field: |values: &$of| $crate::settings::form::Field::$form(&values.$($field).+),
            field_mut: |values: &mut $of| {
                $crate::settings::form::FieldMut::$form(&mut values.$($field).+)
            },
        }
    };
}
pub(super) use row;

/// Where values are from that are not the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<(&'static str, Origin)>);

/// `server.toml:14` or the like, and which byte of the file the value begins with.
type Origin = (String, Option<usize>);

impl Origins {
    /// `at`: which byte of the file a value begins with.
    pub(super) fn note(&mut self, key: &'static str, origin: &str, at: Option<usize>) {
        self.0.retain(|(other, _)| *other != key);
        self.0.push((key, (origin.to_owned(), at)));
    }

    /// `server.toml:14`, `--set`, the name of another option, or `default`.
    pub(crate) fn of(&self, key: &str) -> &str {
        self.get(key).map_or("default", |(origin, _)| origin)
    }

    pub(super) fn at(&self, key: &str) -> Option<usize> {
        self.get(key).and_then(|(_, at)| *at)
    }

    fn get(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find_map(|(other, origin)| (*other == key).then_some(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_as_a_file_has_them() {
        for (kind, text, want) in [
            (Kind::Switch, "true", "true"),
            (Kind::Number, "64", "64"),
            (Kind::NumberOrNone, "64", "64"),
            (Kind::NumberOrNone, "", "\"\""),
            (Kind::Time, "5 min", "\"5 min\""),
            (Kind::Text, "", "\"\""),
            (Kind::Text, "a \"b\" \\ \u{1} \u{e9}", "\"a \\\"b\\\" \\\\ \\u0001 \u{e9}\""),
            (Kind::List, "", "[]"),
            (Kind::List, "a, b", "[\"a\", \"b\"]"),
            (Kind::Words, "full", "\"full\""),
            (Kind::Words, "[list, read]", "[\"list\", \"read\"]"),
            (Kind::Words, "[read]", "[\"read\"]"),
            (Kind::Overrides, "", "[]"),
            (
                Kind::Overrides,
                "10.0.0.0/8,192.0.2.1/32=10.0.0.5;::/0=a.example",
                "[{ clients = [\"10.0.0.0/8\", \"192.0.2.1/32\"], address = \"10.0.0.5\" }, \
                 { clients = [\"::/0\"], address = \"a.example\" }]",
            ),
        ] {
            assert_eq!(kind.literal(text), want);
            let key = format!("key = {want}");
            assert!(toml::de::DeTable::parse(&key).is_ok(), "{key}");
        }
    }
}
