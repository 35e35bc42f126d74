//! Kinds of values in a configuration file.

use crate::Rights;
use crate::daemon::toml_text::{list_of, quoted};

/// Example of a program with its arguments.
pub(super) const ARGUMENTS: &str = "[\"/path/program\", \"argument\"]";

/// Kind of a value in a file. In `--set`, most kinds are plain text, with commas between the items
/// of a list.
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
    /// Returns the format in `--set`, or an empty text if the format is obvious.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Overrides => ": 10.0.0.0/8=10.0.0.5;...",
            Self::Arguments => ": [\"/program\", ...]",
            Self::Program => ": /program or [\"/program\", ...]",
            _ => "",
        }
    }

    /// Returns the format of a value, to append to the help of its key.
    pub(super) fn form(self) -> String {
        match self {
            Self::Overrides => format!(":\n{}", self.wanted()),
            Self::Arguments => format!(
                ": {ARGUMENTS}.\nFTP_ID, FTP_USER, FTP_PEER, FTP_PATH, FTP_LOCAL_PATH and \
                 FTP_BYTES describe the upload."
            ),
            Self::Program => format!(":\n{}.", self.wanted()),
            Self::Words => {
                format!(":\n{}.", Rights::known_words().collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        }
    }

    /// Describes the expected value.
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

    /// Converts a value from the format of `--set` to that of a file.
    pub(super) fn literal(self, text: &str) -> String {
        match self {
            Self::Switch | Self::Number | Self::Arguments => text.to_owned(),
            Self::NumberOrNone | Self::SwitchOrNone if !text.is_empty() => text.to_owned(),
            Self::Program if text.starts_with('[') => text.to_owned(),
            Self::Words if text.starts_with('[') => list(text.trim_matches(['[', ']'])),
            Self::Time
            | Self::Date
            | Self::Size
            | Self::Text
            | Self::Words
            | Self::Program
            | Self::NumberOrNone
            | Self::SwitchOrNone => quoted(text),
            Self::List => list(text),
            Self::Directories => table(text, |item| {
                let (path, rights) = item.rsplit_once('=').unwrap_or_default();
                format!("{} = {}", quoted(path), Self::Words.literal(rights))
            }),
            Self::Mounts => table(text, |item| {
                let (path, directory) = item.split_once('=').unwrap_or_default();
                format!("{} = {}", quoted(path), quoted(directory))
            }),
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

/// Converts a text of items separated by `;` to a TOML table.
fn table(text: &str, item: impl Fn(&str) -> String) -> String {
    let items = text.split(';').filter(|item| !item.is_empty()).map(item);
    let items: Vec<String> = items.collect();
    if items.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", items.join(", ")) }
}

fn list(text: &str) -> String {
    list_of(text.split(',').map(str::trim).filter(|item| !item.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_written_as_toml() {
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
            (Kind::Program, "/a b", "\"/a b\""),
            (Kind::Program, "[\"/a\", \"b,\"]", "[\"/a\", \"b,\"]"),
            (Kind::Directories, "", "{}"),
            (
                Kind::Directories,
                "/in=drop-box;/a=b=[list, read]",
                "{ \"/in\" = \"drop-box\", \"/a=b\" = [\"list\", \"read\"] }",
            ),
            (Kind::Mounts, "", "{}"),
            (Kind::Mounts, "/a=/srv/a=b;/c=/d", "{ \"/a\" = \"/srv/a=b\", \"/c\" = \"/d\" }"),
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
