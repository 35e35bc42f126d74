//! The values of a file: their types, and the keys that they are for.

use std::fmt::Arguments;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::file::Lines;
use super::form::{FieldMut, Form};
use super::row::{Kind, list_of, quoted};
use super::user::is_name;
use super::{Settings, TABLE, USER, User, suggestion};
use crate::values;

/// The table of the users.
const USERS: &str = "users";

/// Puts the values of a file into settings.
pub(super) struct Reader<'a> {
    /// What the file is called.
    pub(super) name: &'a str,
    pub(super) lines: Lines<'a>,
    /// Whether what is not there was not written either.
    pub(super) is_whole: bool,
    /// At which byte, and what is wrong there.
    pub(super) problems: Vec<(usize, String)>,
}

type Key<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn wrong(&mut self, at: usize, key: &str, wrong: Arguments<'_>) {
        self.problems.push((at, format!("{key}: {wrong}")));
    }

    fn unknown(&mut self, at: usize, key: &str, near: Option<&str>) {
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        self.wrong(at, key, format_args!("unknown key{hint}"));
    }

    /// Where it found something.
    pub(super) fn start_of(&self, error: &toml::de::Error) -> usize {
        error.span().map_or(self.lines.text.len(), |span| span.start)
    }

    /// What the parser found.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> String {
        let start = self.start_of(error);
        match (error.message(), error.span()) {
            ("duplicate key", Some(span)) => format!("{}: is there twice", self.key_at(span)),
            (message, _) => {
                // What is expected in place of a value without quotes is not the whole truth.
                let message = message.strip_suffix(", expected literal string").unwrap_or(message);
                let key = self.key_before(start).map_or(String::new(), |key| key + ": ");
                format!("{key}{message}")
            }
        }
    }

    /// The key whose value the byte `at` is in, if both are on one line.
    fn key_before(&self, at: usize) -> Option<String> {
        let start = self.lines.start(self.lines.line(at));
        let (key, _) = self.lines.text.get(start..at)?.split_once('=')?;
        let begin = start + key.len() - key.trim_start().len();
        let is_key = |char: char| char.is_alphanumeric() || ".-_\"' ".contains(char);
        let is_key = !key.trim().is_empty() && key.trim().chars().all(is_key);
        is_key.then(|| self.key_at(begin..begin + key.trim().len()))
    }

    /// The key that is written at `span`, with the table that it stands in, if that is plain to
    /// see.
    fn key_at(&self, span: Range<usize>) -> String {
        let text = self.lines.text;
        let start = self.lines.start(self.lines.line(span.start));
        let above = text.get(..start).unwrap_or_default();
        let before = text.get(start..span.start).unwrap_or_default().trim_start();
        let key = text.get(span).unwrap_or_default();
        if let Some(path) = before.strip_prefix('[') {
            return format!("{}{key}", path.trim_start_matches(['[', ' ']));
        }
        let header = above.lines().rev().find_map(|line| line.trim_start().strip_prefix('['));
        let table = header.and_then(|header| header.split(']').next()).unwrap_or_default();
        match (before.is_empty() || before.ends_with('.'), table.trim()) {
            (false, _) => key.to_owned(),
            (true, "") => format!("{before}{key}"),
            (true, table) => format!("{table}.{before}{key}"),
        }
    }

    /// A table at the top, or a key that should stand in one.
    pub(super) fn section(&mut self, settings: &mut Settings, name: &Key<'_>, value: &Value<'_>) {
        let text: &str = name.get_ref();
        let sections = || TABLE.iter().filter_map(|row| Some(row.key.split_once('.')?.0));
        let (at, key) = (name.span().start, shown(text));
        match value.get_ref() {
            DeValue::Table(table) if text == USERS => {
                for (name, value) in table {
                    self.user(settings, name, value);
                }
            }
            DeValue::Table(table) if sections().any(|section| section == text) => {
                for (name, value) in table {
                    let key = format!("{text}.{}", shown(name.get_ref()));
                    match TABLE.iter().find(|row| row.key == key) {
                        Some(row) => {
                            let field = (row.field_mut)(settings);
                            if self.set(row.form, field, &key, value) {
                                let at = value.span().start;
                                settings.origins.note(row.key, &self.line_of(name), Some(at));
                            }
                        }
                        None => self.unknown(name.span().start, &key, suggestion(&key)),
                    }
                }
            }
            DeValue::Table(_) => {
                let near = values::nearest(text, sections().chain([USERS]));
                let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                self.wrong(at, &key, format_args!("unknown table{hint}"));
            }
            other if text == USERS || sections().any(|section| section == text) => {
                let wanted = if text == USERS { "[users.NAME]" } else { &format!("[{text}]") };
                let is = named(other);
                self.wrong(at, &key, format_args!("is {is}; a table is wanted: {wanted}"));
            }
            _ => self.unknown(at, &key, suggestion(text)),
        }
    }

    fn user(&mut self, settings: &mut Settings, name: &Key<'_>, value: &Value<'_>) {
        let (at, text) = (name.span().start, name.get_ref());
        let key = format!("{USERS}.{}", shown(text));
        let DeValue::Table(table) = value.get_ref() else {
            let is = named(value.get_ref());
            return self.wrong(at, &key, format_args!("is {is}; a table is wanted: [{key}]"));
        };
        if !is_name(text) {
            return self.wrong(at, &key, format_args!("is no name that a client can send"));
        }
        let mut user = User::default();
        for (name, value) in table {
            let (text, key) = (name.get_ref(), format!("{key}.{}", shown(name.get_ref())));
            match USER.iter().find(|row| row.key == text) {
                Some(row) => {
                    let field = (row.field_mut)(&mut user);
                    if self.set(row.form, field, &key, value) {
                        let at = value.span().start;
                        user.origins.note(row.key, &self.line_of(name), Some(at));
                    }
                }
                None => {
                    let near = values::nearest(text, USER.iter().map(|row| row.key));
                    self.unknown(name.span().start, &key, near);
                }
            }
        }
        let is_whole = self.is_whole;
        for lack in user.lacks().filter(|lack| is_whole && table.get(*lack).is_none()) {
            self.wrong(at, &key, format_args!("has no {lack}"));
        }
        *settings.users.with(text) = user;
    }

    /// Where a key is: `FILE:LINE`.
    fn line_of(&self, name: &Key<'_>) -> String {
        format!("{}:{}", self.name, self.lines.line(name.span().start))
    }

    /// Reads a value, and sets the field to it; false if it is wrong.
    fn set(&mut self, form: Form, field: FieldMut<'_>, key: &str, value: &Value<'_>) -> bool {
        let Some(text) = self.read(form, key, value) else { return false };
        let set = field.set(&text);
        if let Err(wrong) = &set {
            self.wrong(value.span().start, key, format_args!("{wrong}"));
        }
        set.is_ok()
    }

    /// The value as it is behind `--set`, if it is of the right type.
    fn read(&mut self, form: Form, key: &str, value: &Value<'_>) -> Option<String> {
        match (form.kind(), value.get_ref()) {
            (Kind::Switch, DeValue::Boolean(yes)) => Some(yes.to_string()),
            (Kind::NumberOrNone, DeValue::String(text)) if text.is_empty() => Some(String::new()),
            (
                Kind::Number | Kind::NumberOrNone | Kind::Time | Kind::Size,
                DeValue::Integer(number),
            ) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
            }
            (Kind::Time | Kind::Size | Kind::Text | Kind::Words, DeValue::String(text)) => {
                Some(text.to_string())
            }
            (kind @ (Kind::List | Kind::Words), DeValue::Array(items)) => {
                let before = self.problems.len();
                let whole = |text: &str| match kind {
                    Kind::Words => format!("[{text}]"),
                    _ => text.to_owned(),
                };
                let items: Vec<&str> =
                    items.iter().filter_map(|item| self.item(form, key, item, &whole)).collect();
                (self.problems.len() == before).then(|| whole(&items.join(",")))
            }
            (Kind::Arguments, DeValue::Array(items)) => {
                let before = self.problems.len();
                for item in items.iter().filter(|item| item.get_ref().as_str().is_none()) {
                    let (is, wanted) = (named(item.get_ref()), Kind::Text.wanted());
                    self.wrong(item.span().start, key, format_args!("is {is}; {wanted} is wanted"));
                }
                let items = items.iter().filter_map(|item| item.get_ref().as_str());
                (self.problems.len() == before).then(|| list_of(items))
            }
            (Kind::Overrides, DeValue::Array(items)) => {
                let before = self.problems.len();
                let items: Vec<String> =
                    items.iter().filter_map(|item| self.special(form, key, item)).collect();
                (self.problems.len() == before).then(|| items.join(";"))
            }
            (kind, other) => {
                let (is, wanted) = (named(other), kind.wanted());
                self.wrong(value.span().start, key, format_args!("is {is}; {wanted} is wanted"));
                None
            }
        }
    }

    /// One text of a list, which `whole` makes a value that can be tried by itself.
    fn item<'v>(
        &mut self,
        form: Form,
        key: &str,
        item: &'v Value<'_>,
        whole: &dyn Fn(&str) -> String,
    ) -> Option<&'v str> {
        let at = item.span().start;
        let Some(text) = item.get_ref().as_str() else {
            let (is, wanted) = (named(item.get_ref()), Kind::Text.wanted());
            self.wrong(at, key, format_args!("is {is}; {wanted} is wanted"));
            return None;
        };
        let ends_item = |char: char| match form.kind() {
            Kind::Overrides => matches!(char, ',' | ';' | '='),
            _ => char == ',',
        };
        if text.trim().is_empty() || text.contains(ends_item) {
            self.wrong(at, key, format_args!("\"{text}\" is not one item"));
        } else if let Err(wrong) = form.check(&whole(text)) {
            self.wrong(at, key, format_args!("{wrong}"));
        }
        Some(text)
    }

    /// `{ clients = ["10.0.0.0/8"], address = "10.0.0.5" }`.
    fn special(&mut self, form: Form, key: &str, item: &Value<'_>) -> Option<String> {
        let Some(table) = item.get_ref().as_table() else {
            let (is, wanted) = (named(item.get_ref()), Kind::Overrides.wanted());
            self.wrong(item.span().start, key, format_args!("has {is} in it; {wanted} is wanted"));
            return None;
        };
        let before = self.problems.len();
        let (mut clients, mut address) = (Vec::new(), None);
        for (name, value) in table {
            match (&**name.get_ref(), value.get_ref()) {
                ("clients", DeValue::Array(items)) => {
                    let whole = |network: &str| format!("{network}=192.0.2.1");
                    let items = items.iter().filter_map(|item| self.item(form, key, item, &whole));
                    clients = items.collect();
                }
                ("clients", other) => {
                    let (is, wanted) = (named(other), Kind::List.wanted());
                    let wrong = format_args!("clients is {is}; {wanted} is wanted");
                    self.wrong(value.span().start, key, wrong);
                }
                ("address", _) => {
                    let whole = |address: &str| format!("::/0={address}");
                    address = self.item(form, key, value, &whole);
                }
                (other, _) => {
                    let near = values::nearest(other, ["clients", "address"].into_iter());
                    self.unknown(name.span().start, &format!("{key}.{}", shown(other)), near);
                }
            }
        }
        match (clients.as_slice(), address) {
            ([_, ..], Some(address)) => Some(format!("{}={address}", clients.join(","))),
            _ if self.problems.len() > before => None,
            _ => {
                let wanted = Kind::Overrides.wanted();
                self.wrong(
                    item.span().start,
                    key,
                    format_args!("lacks a part; {wanted} is wanted"),
                );
                None
            }
        }
    }
}

impl Kind {
    /// What a value has to be.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Switch => "true or false, without quotes,",
            Self::Number => "a whole number, without quotes,",
            Self::NumberOrNone => "a whole number, without quotes, or \"\"",
            Self::Time => "a time, as \"30 s\" or \"5 min\",",
            Self::Size => "a size, as \"64 MiB\",",
            Self::Text => "a text in quotes",
            Self::List => "a list, as [\"...\", \"...\"],",
            Self::Words => "a word in quotes or a list of them",
            Self::Arguments => "a list, as [\"/path/program\", \"argument\"],",
            Self::Overrides => "[{ clients = [\"10.0.0.0/8\"], address = \"10.0.0.5\" }]",
        }
    }
}

/// What a value is, with its article.
const fn named(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A key as it is written: in quotes where it needs them.
pub(crate) fn shown(key: &str) -> String {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => quoted(key),
    }
}
