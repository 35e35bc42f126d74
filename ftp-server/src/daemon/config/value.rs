//! A value of a setting: read from TOML or JSON, and written as TOML.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use ftp_proto::text::toml_text::{quoted, shown};

/// A value, and the byte offset in the file at which it starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TomlValue {
    pub(crate) at: usize,
    pub(crate) content: ValueContent,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ValueContent {
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

impl From<ValueContent> for TomlValue {
    fn from(content: ValueContent) -> Self {
        Self { at: 0, content }
    }
}

impl From<&Spanned<DeValue<'_>>> for TomlValue {
    fn from(value: &Spanned<DeValue<'_>>) -> Self {
        use ValueType::{Date, Fraction, Number, Switch, Text};
        let content = match value.get_ref() {
            DeValue::String(text) => ValueContent::Single(Text, text.to_string()),
            DeValue::Integer(number) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                let text = decimal.map_or_else(|_| number.to_string(), |value| value.to_string());
                ValueContent::Single(Number, text)
            }
            DeValue::Float(number) => ValueContent::Single(Fraction, number.to_string()),
            DeValue::Boolean(yes) => ValueContent::Single(Switch, yes.to_string()),
            DeValue::Datetime(time) => ValueContent::Single(Date, time.to_string()),
            DeValue::Array(items) => ValueContent::List(items.iter().map(Self::from).collect()),
            DeValue::Table(table) => ValueContent::Table(entries(table)),
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
        ValueContent::Single(ValueType::Text, text.into()).into()
    }

    pub(crate) fn list(items: impl IntoIterator<Item = impl ToString>) -> Self {
        ValueContent::List(items.into_iter().map(|item| Self::text(item.to_string())).collect())
            .into()
    }

    pub(crate) fn table(entries: impl IntoIterator<Item = (impl ToString, Self)>) -> Self {
        let entries = entries.into_iter();
        let entry =
            |(name, value): (_, _)| TomlEntry { at: 0, name: ToString::to_string(&name), value };
        ValueContent::Table(entries.map(entry).collect()).into()
    }

    /// Returns the entries of a table, and none for another value.
    pub(super) fn entries(&self) -> &[TomlEntry] {
        match &self.content {
            ValueContent::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list, and none for another value.
    pub(super) fn items(&self) -> &[Self] {
        match &self.content {
            ValueContent::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.name == name).map(|entry| &entry.value)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.content, ValueContent::Single(ValueType::Text, _))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.content, ValueContent::Table(_))
    }

    /// Returns the only objection to this value.
    pub(crate) fn objection(&self, why: impl Into<String>) -> Vec<Objection> {
        vec![Objection { at: self.at, below: String::new(), why: why.into() }]
    }

    /// Returns the type of the value, with an article.
    pub(super) const fn type_name(&self) -> &'static str {
        match self.content {
            ValueContent::Unset => "null",
            ValueContent::Single(ValueType::Text, _) => "a string",
            ValueContent::Single(ValueType::Number, _) => "a number",
            ValueContent::Single(ValueType::Fraction, _) => "a fraction",
            ValueContent::Single(ValueType::Switch, _) => "a boolean",
            ValueContent::Single(ValueType::Date, _) => "a date",
            ValueContent::List(_) => "a list",
            ValueContent::Table(_) => "a table",
        }
    }

    /// Returns the value without quotes and brackets, with commas between the items of a list.
    pub(super) fn bare(&self) -> String {
        match &self.content {
            ValueContent::Single(_, text) => text.clone(),
            ValueContent::List(items) => {
                items.iter().map(Self::bare).collect::<Vec<_>>().join(", ")
            }
            ValueContent::Unset | ValueContent::Table(_) => self.to_string(),
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
            ValueContent::Unset => f.write_str("unset"),
            ValueContent::Single(ValueType::Text, text) => f.write_str(&quoted(text)),
            ValueContent::Single(_, text) => f.write_str(text),
            ValueContent::List(items) => {
                write!(f, "[{}]", joined(items.iter().map(Self::to_string).collect()))
            }
            ValueContent::Table(entries) if entries.is_empty() => f.write_str("{}"),
            ValueContent::Table(entries) => {
                let entry = |entry: &TomlEntry| format!("{} = {}", shown(&entry.name), entry.value);
                write!(f, "{{ {} }}", joined(entries.iter().map(entry).collect()))
            }
        }
    }
}

/// Reads one JSON object (RFC 8259), whose members are values of settings, and accepts white space
/// around it. No message shows a value, because it may be a password.
///
/// # Errors
///
/// Returns a message; for a syntax error, with its position.
pub(crate) fn json_object(bytes: &[u8]) -> Result<Vec<TomlEntry>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("the answer is empty".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(TomlValue { content: ValueContent::Table(members), .. }) => Ok(members),
        Ok(_) => Err("the answer is not a JSON object".to_owned()),
        Err(error) => Err(format!("the answer is not JSON: {error}")),
    }
}

impl<'de> Deserialize<'de> for TomlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// A visitor that accepts any value. Members keep their order, and names may occur twice.
struct AnyValue;

fn single<E>(value_type: ValueType, text: String) -> Result<TomlValue, E> {
    Ok(ValueContent::Single(value_type, text).into())
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = TomlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<TomlValue, E> {
        Ok(ValueContent::Unset.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<TomlValue, E> {
        single(ValueType::Switch, value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<TomlValue, E> {
        single(ValueType::Number, value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<TomlValue, E> {
        single(ValueType::Number, value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<TomlValue, E> {
        single(ValueType::Fraction, format!("{value:?}"))
    }

    fn visit_str<E>(self, value: &str) -> Result<TomlValue, E> {
        single(ValueType::Text, value.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TomlValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ValueContent::List(list).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TomlValue, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = entries.next_entry()? {
            members.push(TomlEntry { at: 0, name, value });
        }
        Ok(ValueContent::Table(members).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_values() {
        for (json, want) in [
            ("{}", "{}"),
            (" {\n\t} \r\n", "{}"),
            ("{\"a\":null}", "{ a = unset }"),
            ("{\"a\":true,\"b\" : false}", "{ a = true, b = false }"),
            ("{\"a\":0,\"b\":-12,\"c\":10}", "{ a = 0, b = -12, c = 10 }"),
            ("{\"a\":1.5e+3}", "{ a = 1500.0 }"),
            ("{\"a\":\"x \\\" \\\\ \\/ \\n\"}", "{ a = \"x \\\" \\\\ / \\u000a\" }"),
            ("{\"a\":\"\\u00e9\\uD83D\\uDE00\\u0000\"}", "{ a = \"\u{e9}\u{1f600}\\u0000\" }"),
            ("{\"a b\":[\"x\" , 1,[]]}", "{ \"a b\" = [\"x\", 1, []] }"),
            ("{\"a\":{\"/in\":\"read\",\"b\":{}}}", "{ a = { \"/in\" = \"read\", b = {} } }"),
        ] {
            let members = json_object(json.as_bytes()).unwrap();
            assert_eq!(TomlValue::from(ValueContent::Table(members)).to_string(), want);
        }
    }

    #[test]
    fn invalid_json_is_refused_without_quoting_it() {
        for (json, want) in [
            ("", "empty"),
            (" \n", "empty"),
            ("geheim", "column 1"),
            ("[]", "not a JSON object"),
            ("\"geheim\"", "not a JSON object"),
            ("{\"a\":1}{}", "trailing characters at line 1 column 8"),
            ("{\"a\":1,}", "not JSON: "),
            ("{\"a\" 1}", "not JSON: "),
            ("{a:1}", "not JSON: "),
            ("{\"a\":01}", "not JSON: "),
            ("{\"a\":+1}", "not JSON: "),
            ("{\"a\":1.}", "not JSON: "),
            ("{\"a\":1e}", "not JSON: "),
            ("{\"a\":nul}", "not JSON: "),
            ("{\"a\":truer}", "not JSON: "),
            ("{\"a\":\"geheim", "not JSON: "),
            ("{\"a\":\"\\x\"}", "not JSON: "),
            ("{\"a\":\"\\u+123\"}", "not JSON: "),
            ("{\"a\":\"\\ud800\"}", "not JSON: "),
            ("{\"a\":\"\\ud800\\u0041\"}", "not JSON: "),
            ("{\"a\":\"\\u00\u{e9}9\"}", "not JSON: "),
            ("{\"a\":\"\n\"}", "not JSON: "),
        ] {
            let why = json_object(json.as_bytes()).unwrap_err();
            assert!(why.contains(want) && !why.contains("geheim"), "{json}: {why}");
        }
        assert!(json_object(b"{\"a\":\"\xff\"}").unwrap_err().contains("not JSON: "));
        let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(json_object(deep(7).as_bytes()).is_ok());
        assert!(json_object(deep(200).as_bytes()).is_err());
        assert!(json_object(deep(60_000).as_bytes()).is_err());
    }

    #[test]
    fn mutated_json_never_panics() {
        let whole = "{\"ok\":true,\"a\":[1,-2.5e3,\"\\u00e9\\n\"],\"b\":{\"c\":null}}";
        let mut good = 0;
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at_checked(at).unwrap();
            for between in ["", " ", ",", "\"", "\\", "{", "]", "0", "e", "\u{e9}"] {
                let text = format!("{head}{between}{tail}");
                good += usize::from(json_object(text.as_bytes()).is_ok());
            }
            let _ = json_object(head.as_bytes());
            let _ = json_object(tail.as_bytes());
        }
        assert!(good > 30, "{good}");
    }
}
