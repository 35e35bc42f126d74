//! A value of a setting: read from TOML or JSON, and written as TOML.

use std::fmt;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::daemon::toml_text::{quoted, shown};

/// A value, and the byte offset in the file at which it starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TomlValue {
    pub(crate) at: usize,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// `null` in JSON, or a key that only a missing line can express.
    Unset,
    /// One text, number or the like, without quotes.
    Single(ValueType, String),
    List(Vec<TomlValue>),
    /// In the order of the file.
    Table(Vec<TomlEntry>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ValueType {
    Switch,
    Number,
    Fraction,
    Date,
    Text,
}

/// A name in a table, its byte offset in the file, and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TomlEntry {
    pub(crate) at: usize,
    pub(crate) name: String,
    pub(crate) value: TomlValue,
}

/// Why a value is invalid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Objection {
    pub(crate) at: usize,
    /// Key of the invalid part below the key of the setting, such as `."/pub"`; empty for the
    /// setting itself.
    pub(crate) below: String,
    pub(crate) why: String,
}

/// A field that was read from a value, or all objections to the value.
pub(crate) type Checked<T> = Result<T, Vec<Objection>>;

/// Returns all items. Checks every item, so that every objection is reported.
pub(crate) fn all<T>(items: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(item) => good.push(item),
            Err(objections) => wrong.extend(objections),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}

impl From<Content> for TomlValue {
    fn from(content: Content) -> Self {
        Self { at: 0, content }
    }
}

impl From<&Spanned<DeValue<'_>>> for TomlValue {
    fn from(value: &Spanned<DeValue<'_>>) -> Self {
        use ValueType::{Date, Fraction, Number, Switch, Text};
        let content = match value.get_ref() {
            DeValue::String(text) => Content::Single(Text, text.to_string()),
            DeValue::Integer(number) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                let text = decimal.map_or_else(|_| number.to_string(), |value| value.to_string());
                Content::Single(Number, text)
            }
            DeValue::Float(number) => Content::Single(Fraction, number.to_string()),
            DeValue::Boolean(yes) => Content::Single(Switch, yes.to_string()),
            DeValue::Datetime(time) => Content::Single(Date, time.to_string()),
            DeValue::Array(items) => Content::List(items.iter().map(Self::from).collect()),
            DeValue::Table(table) => Content::Table(entries(table)),
        };
        Self { at: value.span().start, content }
    }
}

/// Returns the entries of a table, in the order of the file.
pub(super) fn entries(table: &DeTable<'_>) -> Vec<TomlEntry> {
    let entry = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| TomlEntry {
        at: name.span().start,
        name: name.get_ref().to_string(),
        value: value.into(),
    };
    let mut entries: Vec<TomlEntry> = table.iter().map(entry).collect();
    entries.sort_unstable_by_key(|entry| entry.at);
    entries
}

impl TomlValue {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Content::Single(ValueType::Text, text.into()).into()
    }

    /// Returns a list of texts.
    pub(crate) fn list(items: impl IntoIterator<Item = impl ToString>) -> Self {
        Content::List(items.into_iter().map(|item| Self::text(item.to_string())).collect()).into()
    }

    pub(crate) fn table(entries: impl IntoIterator<Item = (impl ToString, Self)>) -> Self {
        let entries = entries.into_iter();
        let entry =
            |(name, value): (_, _)| TomlEntry { at: 0, name: ToString::to_string(&name), value };
        Content::Table(entries.map(entry).collect()).into()
    }

    /// Returns the entries of a table, and none for another value.
    pub(super) fn entries(&self) -> &[TomlEntry] {
        match &self.content {
            Content::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list, and none for another value.
    pub(super) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the value of a name in a table.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.name == name).map(|entry| &entry.value)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.content, Content::Single(ValueType::Text, _))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.content, Content::Table(_))
    }

    /// Returns the only objection to this value.
    pub(crate) fn objection(&self, why: impl Into<String>) -> Vec<Objection> {
        vec![Objection { at: self.at, below: String::new(), why: why.into() }]
    }

    /// Returns the type of the value, with an article.
    pub(super) const fn named(&self) -> &'static str {
        match self.content {
            Content::Unset => "null",
            Content::Single(ValueType::Text, _) => "a string",
            Content::Single(ValueType::Number, _) => "a number",
            Content::Single(ValueType::Fraction, _) => "a fraction",
            Content::Single(ValueType::Switch, _) => "a boolean",
            Content::Single(ValueType::Date, _) => "a date",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// Returns the value without quotes and brackets, with commas between the items of a list.
    pub(super) fn bare(&self) -> String {
        match &self.content {
            Content::Single(_, text) => text.clone(),
            Content::List(items) => items.iter().map(Self::bare).collect::<Vec<_>>().join(", "),
            Content::Unset | Content::Table(_) => self.to_string(),
        }
    }
}

impl TomlEntry {
    /// Returns the objection to the name of this entry.
    pub(crate) fn objection(&self, why: impl Into<String>) -> Vec<Objection> {
        vec![Objection { at: self.at, below: self.key(), why: why.into() }]
    }

    /// Reads the value. Objections to it name this entry.
    pub(crate) fn read<T>(&self, read: impl Fn(&TomlValue) -> Checked<T>) -> Checked<T> {
        read(&self.value).map_err(|mut objections| {
            for objection in &mut objections {
                objection.below.insert_str(0, &self.key());
            }
            objections
        })
    }

    fn key(&self) -> String {
        format!(".{}", shown(&self.name))
    }
}

/// Writes the value in TOML.
impl fmt::Display for TomlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |items: Vec<String>| items.join(", ");
        match &self.content {
            Content::Unset => f.write_str("unset"),
            Content::Single(ValueType::Text, text) => f.write_str(&quoted(text)),
            Content::Single(_, text) => f.write_str(text),
            Content::List(items) => {
                write!(f, "[{}]", joined(items.iter().map(Self::to_string).collect()))
            }
            Content::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Content::Table(entries) => {
                let entry = |entry: &TomlEntry| format!("{} = {}", shown(&entry.name), entry.value);
                write!(f, "{{ {} }}", joined(entries.iter().map(entry).collect()))
            }
        }
    }
}
