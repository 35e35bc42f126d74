//! Reads the values of a file: checks their types and finds their keys.

use std::fmt::Arguments;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::forms::{directory_path, directory_rights, mount_path, mounted_root};
use super::hosts::{HOST, HOSTS, host_name};
use super::kind::Kind;
use super::layers::{Given, Table};
use super::row::Setting;
use super::stores::{ITSELF, STORE, STORES, key_of_store, objection_to_name};
use super::table::{Settings, TABLE, suggestion};
use super::user::GROUPS;
use crate::daemon::toml_text::{Lines, list_of, shown};
use crate::daemon::values;

/// Tables of users' keys.
const DEFAULTS: &str = "defaults";
const GROUP_TABLES: &str = "groups";
const USERS: &str = "users";

/// Tables whose keys are not in [`TABLE`].
const NAMED_TABLES: [&str; 4] = [DEFAULTS, GROUP_TABLES, USERS, STORES];

/// Reader that applies the values of a file to settings.
pub(super) struct Reader<'a> {
    /// Name of the file.
    pub(super) name: &'a str,
    pub(super) lines: Lines<'a>,
    /// Whether the whole file was read; only then are missing keys reported.
    is_whole: bool,
    /// Byte offset and message of each problem.
    pub(super) problems: Vec<(usize, String)>,
    /// Users; their keys are complete when all tables are read.
    users: Vec<NamedUser>,
    /// Groups that users name; a later table may define them.
    memberships: Vec<Membership>,
}

/// A user of the file.
struct NamedUser {
    /// Byte offset of the name.
    at: usize,
    name: String,
}

/// A group that a user names.
struct Membership {
    /// Byte offset of the group's name.
    at: usize,
    user: String,
    group: String,
}

type TomlKey<'a> = Spanned<DeString<'a>>;
type TomlValue<'a> = Spanned<DeValue<'a>>;

impl<'a> Reader<'a> {
    /// Returns a reader of the file `name`; `is_whole` means that the file has no syntax errors.
    pub(super) const fn new(name: &'a str, lines: Lines<'a>, is_whole: bool) -> Self {
        Self {
            name,
            lines,
            is_whole,
            problems: Vec::new(),
            users: Vec::new(),
            memberships: Vec::new(),
        }
    }

    fn wrong(&mut self, at: usize, key: &str, wrong: Arguments<'_>) {
        self.problems.push((at, format!("{key}: {wrong}")));
    }

    fn unknown(&mut self, at: usize, key: &str, near: Option<&str>) {
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        self.wrong(at, key, format_args!("unknown key{hint}"));
    }

    /// Returns the byte offset of a parser error.
    pub(super) fn start_of(&self, error: &toml::de::Error) -> usize {
        error.span().map_or(self.lines.text.len(), |span| span.start)
    }

    /// Returns the message for a parser error.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> String {
        let start = self.start_of(error);
        match (error.message(), error.span()) {
            ("duplicate key", Some(span)) => format!("{}: defined twice", self.key_at(span)),
            (message, _) => {
                // For an unquoted value, the parser names only this one of several valid types.
                let message = message.strip_suffix(", expected literal string").unwrap_or(message);
                let key = self.key_before(start).map_or(String::new(), |key| key + ": ");
                format!("{key}{message}")
            }
        }
    }

    /// Returns the key whose value contains the byte `at`, if both are on one line.
    fn key_before(&self, at: usize) -> Option<String> {
        let start = self.lines.start(self.lines.line(at));
        let (key, _) = self.lines.text.get(start..at)?.split_once('=')?;
        let begin = start + key.len() - key.trim_start().len();
        let is_key = |char: char| char.is_alphanumeric() || ".-_\"' ".contains(char);
        let is_key = !key.trim().is_empty() && key.trim().chars().all(is_key);
        is_key.then(|| self.key_at(begin..begin + key.trim().len()))
    }

    /// Returns the key at `span`, with its table if the text before the key shows it.
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

    /// Reads a top-level table, or reports a key outside all tables.
    pub(super) fn section(
        &mut self,
        settings: &mut Settings,
        name: &TomlKey<'_>,
        value: &TomlValue<'_>,
    ) {
        let text: &str = name.get_ref();
        let sections = || TABLE.iter().filter_map(|row| Some(row.key.split_once('.')?.0));
        let (at, key) = (name.span().start, shown(text));
        match value.get_ref() {
            DeValue::Table(_) if text == DEFAULTS => {
                self.layer(settings, Table::Defaults, name, value);
            }
            DeValue::Table(table) if text == GROUP_TABLES => {
                for (name, value) in table {
                    self.layer(settings, Table::Group(name.get_ref()), name, value);
                }
            }
            DeValue::Table(table) if text == USERS => {
                for (name, value) in table {
                    self.user(settings, name, value);
                }
            }
            DeValue::Table(table) if text == STORES => {
                for (name, value) in table {
                    self.store(settings, name, value);
                }
            }
            DeValue::Table(table) if sections().any(|section| section == text) => {
                self.keys(settings, text, table);
            }
            DeValue::Table(_) => {
                let near = values::nearest(text, sections().chain(NAMED_TABLES));
                let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                self.wrong(at, &key, format_args!("unknown table{hint}"));
            }
            other if NAMED_TABLES.contains(&text) || sections().any(|section| section == text) => {
                let wanted = match text {
                    GROUP_TABLES | USERS | STORES => format!("[{text}.NAME]"),
                    _ => format!("[{text}]"),
                };
                let is = named(other);
                self.wrong(at, &key, format_args!("expected a table {wanted}, found {is}"));
            }
            _ => self.unknown(at, &key, suggestion(text)),
        }
    }

    /// Reads the keys of the table `section`; in the table [`HOSTS`], reads the hosts too.
    fn keys(&mut self, settings: &mut Settings, section: &str, table: &DeTable<'_>) {
        let mut table: Vec<_> = table.iter().collect();
        // In file order, so that the second of two names for one host is reported.
        table.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in table {
            let key = format!("{section}.{}", shown(name.get_ref()));
            let is_host = section == HOSTS && value.get_ref().is_table();
            if is_host && !TABLE.iter().any(|row| row.key == key) {
                self.host(settings, name, value);
                continue;
            }
            match TABLE.iter().find(|row| row.key == key) {
                Some(row) => {
                    if self.set(row, settings, &key, value) {
                        let at = self.lines.column(value.span().start);
                        settings.origins.note(row.key, self.line_of(name), Some(at));
                    }
                }
                None => self.unknown(name.span().start, &key, suggestion(&key)),
            }
        }
    }

    fn host(&mut self, settings: &mut Settings, name: &TomlKey<'_>, value: &TomlValue<'_>) {
        let (at, text) = (name.span().start, name.get_ref());
        let key = format!("{HOSTS}.{}", shown(text));
        let host = match host_name(text) {
            Ok(host) => host,
            Err(wrong) => return self.wrong(at, &key, format_args!("{wrong}")),
        };
        if settings.hosts.contains(&host) {
            self.wrong(at, &key, format_args!("defined twice"));
        }
        let host = settings.hosts.with(host);
        for (name, value) in value.get_ref().as_table().into_iter().flatten() {
            let text = name.get_ref();
            let key = format!("{key}.{}", shown(text));
            match HOST.iter().find(|row| row.key == text) {
                Some(row) => {
                    if self.set(row, host, &key, value) {
                        let at = self.lines.column(value.span().start);
                        host.origins.note(row.key, self.line_of(name), Some(at));
                    }
                }
                None if value.get_ref().is_table() => {
                    let what_to_do = "put the host name in quotes: [hosts.\"ftp.example.org\"]";
                    self.wrong(name.span().start, &key, format_args!("unknown key; {what_to_do}"));
                }
                None => {
                    let near = values::nearest(text, HOST.iter().map(|row| row.key));
                    self.unknown(name.span().start, &key, near);
                }
            }
        }
    }

    fn store(&mut self, settings: &mut Settings, name: &TomlKey<'_>, value: &TomlValue<'_>) {
        let (at, text) = (name.span().start, name.get_ref());
        let key = key_of_store(text, ITSELF);
        let DeValue::Table(table) = value.get_ref() else {
            let is = named(value.get_ref());
            return self.wrong(at, &key, format_args!("expected a table [{key}], found {is}"));
        };
        if let Some(wrong) = objection_to_name(text) {
            return self.wrong(at, &key, format_args!("{wrong}"));
        }
        let store = settings.stores.with(text);
        store.origins.note(ITSELF, self.line_of(name), Some(self.lines.column(at)));
        for (name, value) in table {
            let text = name.get_ref();
            let key = format!("{key}.{}", shown(text));
            match STORE.iter().find(|row| row.key == text) {
                Some(row) => {
                    if self.set(row, store, &key, value) {
                        let at = self.lines.column(value.span().start);
                        store.origins.note(row.key, self.line_of(name), Some(at));
                    }
                }
                None => {
                    let near = values::nearest(text, STORE.iter().map(|row| row.key));
                    self.unknown(name.span().start, &key, near);
                }
            }
        }
    }

    fn user(&mut self, settings: &mut Settings, name: &TomlKey<'_>, value: &TomlValue<'_>) {
        let text = name.get_ref();
        if !self.layer(settings, Table::User(text), name, value) {
            return;
        }
        self.users.push(NamedUser { at: name.span().start, name: text.to_string() });
        let groups = value.get_ref().as_table().and_then(|table| table.get(GROUPS));
        for item in groups.and_then(|groups| groups.get_ref().as_array()).into_iter().flatten() {
            let at = item.span().start;
            self.memberships.extend(item.get_ref().as_str().map(|group| Membership {
                at,
                user: text.to_string(),
                group: group.to_owned(),
            }));
        }
    }

    /// Reads a table of users' keys. Returns whether the value is a table with a valid name.
    fn layer(
        &mut self,
        settings: &mut Settings,
        whose: Table<'_>,
        name: &TomlKey<'_>,
        value: &TomlValue<'_>,
    ) -> bool {
        let at = name.span().start;
        let key = whose.to_string();
        let DeValue::Table(table) = value.get_ref() else {
            let is = named(value.get_ref());
            self.wrong(at, &key, format_args!("expected a table [{key}], found {is}"));
            return false;
        };
        if let Some(wrong) = whose.objection() {
            self.wrong(at, &key, format_args!("{wrong}"));
            return false;
        }
        let layer = settings.users.layer(whose);
        for (name, value) in table {
            let text = name.get_ref();
            let key = format!("{key}.{}", shown(text));
            match whose.row(text) {
                Some(row) => match self.checked(row, &key, value) {
                    Some(text) => {
                        let column = Some(self.lines.column(value.span().start));
                        layer.give(Given { row, text, source: self.line_of(name), column });
                    }
                    None => layer.refused.push(row.key),
                },
                None if **text == *GROUPS => {
                    let wrong = format_args!("only users have groups");
                    self.wrong(name.span().start, &key, wrong);
                }
                None => {
                    let near = values::nearest(text, whose.rows().map(|row| row.key));
                    self.unknown(name.span().start, &key, near);
                }
            }
        }
        true
    }

    /// Combines the users' keys after the last table, and reports unknown groups and missing keys.
    pub(super) fn finish(&mut self, settings: &mut Settings) {
        settings.users.resolve();
        if !self.is_whole {
            return;
        }
        let mut strangers = Vec::new();
        for Membership { at, user, group } in std::mem::take(&mut self.memberships) {
            if let Some(unknown) = settings.users.objection_to_group(&group) {
                let key = format!("{}.{GROUPS}", Table::User(&user));
                self.wrong(at, &key, format_args!("{unknown}"));
                strangers.push(user);
            }
        }
        for NamedUser { at, name } in std::mem::take(&mut self.users) {
            // The missing key may be in the unknown group.
            if strangers.contains(&name) {
                continue;
            }
            let key = Table::User(&name).to_string();
            for lack in settings.users.lacks(&name) {
                self.wrong(at, &key, format_args!("{lack} is missing"));
            }
        }
    }

    /// Returns the position of a key: `FILE:LINE`.
    fn line_of(&self, name: &TomlKey<'_>) -> String {
        format!("{}:{}", self.name, self.lines.line(name.span().start))
    }

    /// Reads a value into its field of `values`. Returns whether the value is valid.
    fn set<T>(
        &mut self,
        row: &Setting<T>,
        values: &mut T,
        key: &str,
        value: &TomlValue<'_>,
    ) -> bool {
        let text = self.checked(row, key, value);
        text.is_some_and(|text| (row.set)(values, &text).is_ok())
    }

    /// Returns a value in the format of `--set`, or reports why it is invalid.
    fn checked<T>(&mut self, row: &Setting<T>, key: &str, value: &TomlValue<'_>) -> Option<String> {
        let rule = ValueRule { key, kind: row.kind, check: row.check };
        let text = self.read(&rule, value)?;
        match (row.check)(&text) {
            Ok(()) => Some(text),
            Err(wrong) => {
                self.wrong(value.span().start, key, format_args!("{wrong}"));
                None
            }
        }
    }

    /// Returns the value in the format of `--set`, or reports that its type is wrong.
    fn read(&mut self, rule: &ValueRule<'_>, value: &TomlValue<'_>) -> Option<String> {
        match (rule.kind, value.get_ref()) {
            (Kind::Switch | Kind::SwitchOrNone, DeValue::Boolean(yes)) => Some(yes.to_string()),
            (Kind::NumberOrNone | Kind::SwitchOrNone, DeValue::String(text)) if text.is_empty() => {
                Some(String::new())
            }
            (Kind::Date, DeValue::Datetime(time)) => Some(time.to_string()),
            (
                Kind::Number | Kind::NumberOrNone | Kind::Time | Kind::Size,
                DeValue::Integer(number),
            ) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
            }
            (
                Kind::Time | Kind::Date | Kind::Size | Kind::Text | Kind::Words | Kind::Program,
                DeValue::String(text),
            ) => Some(text.to_string()),
            (Kind::List, DeValue::Array(items)) => self.list(rule, items, str::to_owned),
            (Kind::Words, DeValue::Array(items)) => {
                let words = self.list(rule, items, |words| format!("[{words}]"))?;
                Some(format!("[{words}]"))
            }
            (Kind::Arguments | Kind::Program, DeValue::Array(items)) => {
                let items: Option<Vec<&str>> =
                    all(items.iter().map(|item| self.text(rule.key, item)));
                Some(list_of(items?.into_iter()))
            }
            (Kind::Directories, DeValue::Table(table)) => {
                let rules: Option<Vec<String>> =
                    all(table.iter().map(|(name, value)| self.directory(rule, name, value)));
                Some(rules?.join(";"))
            }
            (Kind::Mounts, DeValue::Table(table)) => {
                let mounts: Option<Vec<String>> =
                    all(table.iter().map(|(name, value)| self.mount(rule, name, value)));
                Some(mounts?.join(";"))
            }
            (Kind::Overrides, DeValue::Array(items)) => {
                let items: Option<Vec<String>> =
                    all(items.iter().map(|item| self.special(rule, item)));
                Some(items?.join(";"))
            }
            (_, _) => {
                self.mistyped(rule.key, value, rule.kind);
                None
            }
        }
    }

    /// Reads one directory and its rights.
    fn directory(
        &mut self,
        rule: &ValueRule<'_>,
        name: &TomlKey<'_>,
        value: &TomlValue<'_>,
    ) -> Option<String> {
        const CHECK: fn(&str) -> Result<(), String> = |text| directory_rights(text).map(drop);
        let path = name.get_ref();
        let key = format!("{}.{}", rule.key, shown(path));
        if let Err(wrong) = directory_path(path) {
            self.wrong(name.span().start, &key, format_args!("{wrong}"));
            return None;
        }
        let rights = ValueRule { key: &key, kind: Kind::Words, check: CHECK };
        let text = self.read(&rights, value)?;
        if let Err(wrong) = CHECK(&text) {
            self.wrong(value.span().start, &key, format_args!("{wrong}"));
            return None;
        }
        Some(format!("{path}={text}"))
    }

    /// Reads one mount point and its directory.
    fn mount(
        &mut self,
        rule: &ValueRule<'_>,
        name: &TomlKey<'_>,
        value: &TomlValue<'_>,
    ) -> Option<String> {
        let path = name.get_ref();
        let key = format!("{}.{}", rule.key, shown(path));
        if let Err(wrong) = mount_path(path) {
            self.wrong(name.span().start, &key, format_args!("{wrong}"));
            return None;
        }
        let text = self.text(&key, value)?;
        if let Err(wrong) = mounted_root(text) {
            self.wrong(value.span().start, &key, format_args!("{wrong}"));
            return None;
        }
        Some(format!("{path}={text}"))
    }

    /// Joins a list with commas. `whole` turns one item into a complete value, so that each item
    /// can be checked by itself.
    fn list(
        &mut self,
        rule: &ValueRule<'_>,
        items: &[TomlValue<'_>],
        whole: impl Fn(&str) -> String,
    ) -> Option<String> {
        let items: Option<Vec<&str>> = all(items.iter().map(|item| self.item(rule, item, &whole)));
        Some(items?.join(","))
    }

    /// Reads one string of a list.
    fn item<'v>(
        &mut self,
        rule: &ValueRule<'_>,
        item: &'v TomlValue<'_>,
        whole: impl Fn(&str) -> String,
    ) -> Option<&'v str> {
        let text = self.text(rule.key, item)?;
        let ends_item = |char: char| match rule.kind {
            Kind::Overrides => matches!(char, ',' | ';' | '='),
            _ => char == ',',
        };
        let wrong = if text.trim().is_empty() || text.contains(ends_item) {
            format!("invalid item \"{text}\": expected one item per string")
        } else {
            match (rule.check)(&whole(text)) {
                Ok(()) => return Some(text),
                Err(wrong) => wrong,
            }
        };
        self.wrong(item.span().start, rule.key, format_args!("{wrong}"));
        None
    }

    fn text<'v>(&mut self, key: &str, value: &'v TomlValue<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.mistyped(key, value, Kind::Text);
        }
        text
    }

    /// Reports that the value has the wrong type.
    fn mistyped(&mut self, key: &str, value: &TomlValue<'_>, wanted: Kind) {
        let is = named(value.get_ref());
        let wanted = wanted.wanted();
        self.wrong(value.span().start, key, format_args!("expected {wanted}, found {is}"));
    }

    /// Reads an override: `{ clients = ["10.0.0.0/8"], address = "10.0.0.5" }`.
    fn special(&mut self, rule: &ValueRule<'_>, item: &TomlValue<'_>) -> Option<String> {
        let key = rule.key;
        let wanted = Kind::Overrides.wanted();
        let Some(table) = item.get_ref().as_table() else {
            let is = named(item.get_ref());
            self.wrong(
                item.span().start,
                key,
                format_args!("expected {wanted}, found {is} in the list"),
            );
            return None;
        };
        let before = self.problems.len();
        let mut clients = None;
        let mut address = None;
        for (name, value) in table {
            match (&**name.get_ref(), value.get_ref()) {
                ("clients", DeValue::Array(items)) => {
                    clients = self.list(rule, items, |network| format!("{network}=192.0.2.1"));
                }
                ("clients", other) => {
                    let (is, wanted) = (named(other), Kind::List.wanted());
                    let wrong = format_args!("invalid clients: expected {wanted}, found {is}");
                    self.wrong(value.span().start, key, wrong);
                }
                ("address", _) => {
                    address = self.item(rule, value, |address| format!("::/0={address}"));
                }
                (other, _) => {
                    let near = values::nearest(other, ["clients", "address"].into_iter());
                    self.unknown(name.span().start, &format!("{key}.{}", shown(other)), near);
                }
            }
        }
        match (clients.filter(|clients| !clients.is_empty()), address) {
            (Some(clients), Some(address)) => Some(format!("{clients}={address}")),
            _ => {
                if self.problems.len() == before {
                    let wrong = format_args!("clients or address is missing: expected {wanted}");
                    self.wrong(item.span().start, key, wrong);
                }
                None
            }
        }
    }
}

/// The requirements for a value.
struct ValueRule<'a> {
    key: &'a str,
    kind: Kind,
    /// Returns an error message for an invalid text.
    check: fn(&str) -> Result<(), String>,
}

/// Returns all items, or `None` if one is missing. Evaluates every item, so that every invalid item
/// is reported.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// Returns the type of a value, with an article.
const fn named(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
