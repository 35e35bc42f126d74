//! Reads the fields of settings from values, and shows them as values, grouped by their syntax: the kinds
//! of values, and the forms of each kind.

mod lists;
mod numbers;
mod texts;
pub(crate) use lists::{
    ADDRESSES, ARGUMENTS, DIRECTORIES, EVENTS, HEADERS, HOSTS, HookEvent, MOUNTS, MountPoint,
    NAMES, NETWORKS, OVERRIDES, PATTERNS, PINS, PROGRAM, RIGHTS, USERS,
};
pub(crate) use numbers::{
    ATTEMPTS, COUNT, DIRECTORY_MODE, EXPIRY, Expiry, FILE_MODE, FILES, IDLE_TIME, MODE, NUMBER,
    OWN_COUNT, OWN_IDLE_TIME, OWN_UMASK, PROCESSES, RATE, SIZE, SPEED, TIME, UMASK, WAITING_TIME,
};
pub(crate) use texts::{
    ACCESS_KEY, ADDRESS, BUCKET, CLIENTS, CONFINE, ENDPOINT, FILE, GROUP, HOME, LEDGER, LINE, LOG,
    LOG_TARGET, LogFormat, LogTarget, METRICS, ON_FAILURE, OWN_PARTIAL, OWN_ROOT, OWN_SWITCH,
    OWN_SYNC, OWNER, PARTIAL, PASSWORD, PORTS, REGION, REUSE, ROLE, ROOT, RUN_AS, SWITCH, SYNC,
    TLS, TYPE, VERSION,
};

use ftp_proto::text::toml_text::unquoted;
use toml::de::DeValue;

use super::value::{Checked, TomlEntry, TomlValue, ValueContent, ValueType};
use crate::Rights;

/// How a field of the type `T` is read and shown.
pub(crate) struct Form<T: 'static> {
    kind: Kind,
    read: fn(&TomlValue) -> Checked<T>,
    show: fn(&T) -> TomlValue,
}

impl<T> Form<T> {
    const fn new(
        kind: Kind,
        read: fn(&TomlValue) -> Checked<T>,
        show: fn(&T) -> TomlValue,
    ) -> Self {
        Self { kind, read, show }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    // Each row would contain a copy of this and the next function: 100 KB of the program.
    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<T> {
        (self.read)(value)
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &T) -> TomlValue {
        (self.show)(field)
    }

    /// Reads a value of `--set`, and returns the first message.
    #[cfg(test)]
    pub(crate) fn assigned(&self, text: &str) -> Result<T, String> {
        let value = self.kind.given(text);
        self.read(&value).map_err(|mut objections| objections.remove(0).why)
    }
}

/// The form of one word, number or other text.
pub(crate) struct Scalar<T: 'static> {
    kind: Kind,
    read: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
}

impl<T> Scalar<T> {
    const fn new(kind: Kind, read: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Self {
        Self { kind, read, show }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<T> {
        (self.read)(self.kind.text(value)?).map_err(|why| value.objection(why))
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &T) -> TomlValue {
        self.kind.single((self.show)(field))
    }
}

/// The form of a text that can be empty. Empty: none, or another setting applies.
pub(crate) struct Optional<T: 'static>(Scalar<T>);

impl<T> Optional<T> {
    const fn new(kind: Kind, read: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Self {
        Self(Scalar::new(kind, read, show))
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.0.kind
    }

    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<Option<T>> {
        match self.0.kind.text(value)? {
            "" => Ok(None),
            _ => self.0.read(value).map(Some),
        }
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &Option<T>) -> TomlValue {
        field.as_ref().map_or_else(|| TomlValue::text(""), |field| self.0.show(field))
    }
}

/// Kind of a value. `--set` accepts the same values as a file; most kinds can also be plain text
/// there, with commas between the items of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `true`, `false`.
    Switch,
    /// `true`, `false`, or `""` for none.
    SwitchOrNone,
    /// `64`.
    Number,
    /// `64`, or `""` for none.
    NumberOrNone,
    /// `"5 min"`, or a number of seconds.
    Time,
    /// `"2026-12-31"`, in quotes or not, or a date with a time.
    Date,
    /// `"64 MiB"`, or a number of bytes.
    Size,
    /// `"text"`.
    Text,
    /// `["text", "text"]`.
    List,
    /// `"text"` or `["text", "text"]`.
    Words,
    /// `["/path/program", "argument"]`, even in `--set`, because an argument may contain commas.
    Arguments,
    /// `"/path/program"`, or with arguments `["/path/program", "argument"]`.
    Program,
    /// `[{ clients = ["network"], address = "address" }]`.
    Overrides,
    /// `{ "/directory" = "rights" }`.
    Directories,
    /// `{ "/mount-point" = "/directory" }`.
    Mounts,
}

impl Kind {
    /// Returns the format of plain text in `--set`, or an empty text if the format is obvious.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Overrides => ": [{ clients = [\"10.0.0.0/8\"], address = \"10.0.0.5\" }]",
            Self::Arguments => ": [\"/program\", ...]",
            Self::Program => ": /program or [\"/program\", ...]",
            _ => "",
        }
    }

    /// Returns the format of a value, to append to the help of its key.
    pub(super) fn form(self) -> String {
        match self {
            Self::Overrides => format!(":\n{}", self.wanted()),
            Self::Arguments => {
                ": [\"/path/program\", \"argument\"].\nFTP_USER, FTP_PEER, FTP_PATH, FTP_LOCAL_PATH and \
                 FTP_BYTES describe the upload."
                    .to_owned()
            }
            Self::Program => format!(":\n{}.", self.wanted()),
            Self::Words => {
                format!(":\n{}.", Rights::known_words().collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        }
    }

    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Switch => "true or false without quotes",
            Self::SwitchOrNone => "true or false without quotes, or \"\"",
            Self::Number => "a whole number without quotes",
            Self::NumberOrNone => "a whole number without quotes, or \"\"",
            Self::Time => "a time such as \"30 s\" or \"5 min\"",
            Self::Date => "a date such as \"2026-12-31\"",
            Self::Size => "a size such as \"64 MiB\"",
            Self::Text => "a string in quotes",
            Self::List => "a list such as [\"...\", \"...\"]",
            Self::Words => "a string in quotes or a list of strings",
            Self::Arguments => "a list such as [\"/path/program\", \"argument\"]",
            Self::Program => "\"/path/program\" or [\"/path/program\", \"argument\"]",
            Self::Overrides => "[{ clients = [\"10.0.0.0/8\"], address = \"10.0.0.5\" }]",
            Self::Directories => "a table such as { \"/incoming\" = \"drop-box\" }",
            Self::Mounts => "a table such as { \"/pub\" = \"/srv/pub\" }",
        }
    }

    /// Returns what is expected instead of `value`.
    pub(super) fn mistyped(self, value: &TomlValue) -> String {
        format!("expected {}, found {}", self.wanted(), value.type_name())
    }

    /// Returns the text of a value that is not a list or a table.
    pub(super) fn text(self, value: &TomlValue) -> Checked<&str> {
        match &value.content {
            ValueContent::Single(_, text) if self.is_of(value) => Ok(text),
            _ => Err(value.objection(self.mistyped(value))),
        }
    }

    pub(super) fn items(self, value: &TomlValue) -> Checked<&[TomlValue]> {
        match &value.content {
            ValueContent::List(items) => Ok(items),
            _ => Err(value.objection(self.mistyped(value))),
        }
    }

    pub(super) fn entries(self, value: &TomlValue) -> Checked<&[TomlEntry]> {
        match &value.content {
            ValueContent::Table(entries) => Ok(entries),
            _ => Err(value.objection(self.mistyped(value))),
        }
    }

    /// Returns the value with this text, which TOML writes without quotes if this is a kind of
    /// number or switch.
    pub(super) fn single(self, text: String) -> TomlValue {
        let value_type = match self {
            Self::Switch | Self::SwitchOrNone if !text.is_empty() => ValueType::Switch,
            Self::Number | Self::NumberOrNone if !text.is_empty() => ValueType::Number,
            _ => ValueType::Text,
        };
        ValueContent::Single(value_type, text).into()
    }

    fn is_of(self, value: &TomlValue) -> bool {
        match &value.content {
            ValueContent::Unset => false,
            ValueContent::Single(found, text) => match (found, self) {
                (ValueType::Switch, Self::Switch | Self::SwitchOrNone)
                | (
                    ValueType::Number,
                    Self::Number | Self::NumberOrNone | Self::Time | Self::Size,
                )
                | (ValueType::Date, Self::Date) => true,
                (ValueType::Text, Self::SwitchOrNone | Self::NumberOrNone) => text.is_empty(),
                (ValueType::Text, _) => matches!(
                    self,
                    Self::Time | Self::Date | Self::Size | Self::Text | Self::Words | Self::Program
                ),
                _ => false,
            },
            // In plain text, a pattern can begin with a bracket.
            ValueContent::List(items) => match self {
                Self::List | Self::Words => items.iter().all(TomlValue::is_text),
                _ => matches!(self, Self::Arguments | Self::Program | Self::Overrides),
            },
            ValueContent::Table(_) => matches!(self, Self::Directories | Self::Mounts),
        }
    }

    /// Reads a value of `--set`: a value as in a file, or plain text.
    pub(super) fn given(self, text: &str) -> TomlValue {
        let text = text.trim();
        let value = DeValue::parse(text).ok().map(|value| TomlValue::from(&value));
        match value {
            Some(value) if self.is_of(&value) => TomlValue { at: 0, ..value },
            // A string in quotes stands for the plain text in it.
            Some(TomlValue { content: ValueContent::Single(ValueType::Text, text), .. }) => {
                self.plain(&text)
            }
            _ => self.plain(unquoted(text)),
        }
    }

    /// Reads plain text of `--set`.
    fn plain(self, text: &str) -> TomlValue {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match self {
            Self::List => TomlValue::list(items),
            Self::Arguments | Self::Overrides if text.is_empty() => TomlValue::list([""; 0]),
            Self::Directories | Self::Mounts if text.is_empty() => {
                ValueContent::Table(Vec::new()).into()
            }
            _ => self.single(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_set_are_toml_or_plain_text() {
        for (kind, text, want) in [
            (Kind::Switch, "true", "true"),
            (Kind::Switch, "maybe", "maybe"),
            (Kind::Number, "64", "64"),
            (Kind::Number, "0x40", "64"),
            (Kind::Number, "\"64\"", "64"),
            (Kind::NumberOrNone, "64", "64"),
            (Kind::NumberOrNone, "", "\"\""),
            (Kind::NumberOrNone, "\"\"", "\"\""),
            (Kind::Time, "5 min", "\"5 min\""),
            (Kind::Time, "5", "5"),
            (Kind::Date, "2026-12-31", "2026-12-31"),
            (Kind::Text, "", "\"\""),
            (Kind::Text, "12", "\"12\""),
            (Kind::Text, "a \"b\" \\ \u{1} \u{e9}", "\"a \\\"b\\\" \\\\ \\u0001 \u{e9}\""),
            (Kind::Text, "\"a\\tb\"", "\"a\\u0009b\""),
            (Kind::Text, "\"a\\qb\"", "\"a\\\\qb\""),
            (Kind::Text, "'a\\tb'", "\"a\\\\tb\""),
            (Kind::List, "", "[]"),
            (Kind::List, "a, b", "[\"a\", \"b\"]"),
            (Kind::List, "\"a, b\"", "[\"a\", \"b\"]"),
            (Kind::List, "'*.exe'", "[\"*.exe\"]"),
            (Kind::List, "'a,b\\n'", "[\"a\", \"b\\\\n\"]"),
            (Kind::List, "'a', 'b'", "[\"'a'\", \"'b'\"]"),
            (Kind::List, "[\"a, b\", ' c']", "[\"a, b\", \" c\"]"),
            (Kind::List, "[ab], [1]", "[\"[ab]\", \"[1]\"]"),
            (Kind::List, "[1]", "[\"[1]\"]"),
            (Kind::Words, "full", "\"full\""),
            (Kind::Words, "[list, read]", "\"[list, read]\""),
            (Kind::Words, "[\"list\", \"read\"]", "[\"list\", \"read\"]"),
            (Kind::Arguments, "", "[]"),
            (Kind::Program, "/a b", "\"/a b\""),
            (Kind::Program, "[\"/a\", \"b,\"]", "[\"/a\", \"b,\"]"),
            (Kind::Directories, "", "{}"),
            (Kind::Directories, "{ \"/a;b\" = [] }", "{ \"/a;b\" = [] }"),
            (Kind::Mounts, "", "{}"),
            (Kind::Mounts, "{ '/a=b' = '/c;d' }", "{ \"/a=b\" = \"/c;d\" }"),
            (Kind::Overrides, "", "[]"),
            (Kind::Overrides, "[{ address = 'a' }]", "[{ address = \"a\" }]"),
        ] {
            let value = kind.given(text);
            assert_eq!(value.to_string(), want, "{text}");
            if want != "maybe" {
                // What is shown is read as the same value.
                assert_eq!(kind.given(want).to_string(), want, "{text}");
            }
        }
    }
}
