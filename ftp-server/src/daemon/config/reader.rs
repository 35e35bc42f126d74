//! Reads the tables of a file: finds the rows of their keys, and reports errors.

use std::fmt::Display;

use super::forms::Kind;
use super::hosts::{HOST, HOST_TABLES, Host, host_name};
use super::row::{Fields, Origin, Setting};
use super::stores::{
    GivenValue, ITSELF, KIND, STORE, STORE_TABLES, StoreSettings, key_of_store, objection_to_name,
};
use super::table::{Settings, TABLE, suggestion};
use super::user::{DEFAULTS, GROUP_TABLES, GROUPS, Include, OF_USERS, Table, USER_TABLES, User};
use super::value::{Objection, TomlEntry, TomlValue};
use ftp_proto::text::toml_text::{Lines, shown};
use ftp_proto::text::values::{did_you_mean, nearest};

const INCLUDE: &str = "include";

/// Tables whose keys are not in [`TABLE`].
const NAMED_TABLES: [&str; 4] = [DEFAULTS, GROUP_TABLES, USER_TABLES, STORE_TABLES];

/// Reader that applies the values of a file to settings.
pub(super) struct Reader<'a> {
    pub(super) name: &'a str,
    pub(super) lines: Lines<'a>,
    /// Byte offset and message of each problem.
    pub(super) problems: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(name: &'a str, lines: Lines<'a>) -> Self {
        Self { name, lines, problems: Vec::new() }
    }

    pub(super) fn wrong(&mut self, at: usize, key: impl Display, wrong: impl Display) {
        self.problems.push((at, format!("{key}: {wrong}")));
    }

    /// Returns the byte offset and the message of an error of the parser.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> (usize, String) {
        let text = self.lines.text;
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = error.message();
        let message = match (message, text.get(span.clone())) {
            ("duplicate key", Some(key)) => format!("{key}: defined twice"),
            // For an unquoted value, the parser names only this one of several valid types.
            _ => message.strip_suffix(", expected literal string").unwrap_or(message).to_owned(),
        };
        (span.start, message)
    }

    /// Reads a top-level table, or reports a key outside all tables.
    pub(super) fn section(&mut self, settings: &mut Settings, section: &TomlEntry) {
        let TomlEntry { at, name, value } = section;
        if name == INCLUDE {
            let pattern = Kind::Text
                .text(value)
                .map_err(|_| format!("expected a string, found {}", value.type_name()));
            match pattern.and_then(Include::parse) {
                Ok(include) => settings.include = Some(include),
                Err(wrong) => self.wrong(value.at, INCLUDE, wrong),
            }
            return;
        }
        let sections = || TABLE.iter().map(Setting::table).chain(NAMED_TABLES);
        let is_known = sections().any(|known| known == name);
        if !value.is_table() {
            let wanted = match &**name {
                GROUP_TABLES | USER_TABLES | STORE_TABLES => format!("{name}.NAME"),
                _ => name.clone(),
            };
            let wrong = match is_known {
                true => format!("expected a table [{wanted}], found {}", value.type_name()),
                false => format!("unknown key{}", suggestion(name)),
            };
            return self.wrong(*at, shown(name), wrong);
        }
        match &**name {
            DEFAULTS => self.layer(settings, Table::Defaults, section),
            GROUP_TABLES => value
                .entries()
                .iter()
                .for_each(|entry| self.layer(settings, Table::Group(&entry.name), entry)),
            USER_TABLES => value
                .entries()
                .iter()
                .for_each(|entry| self.layer(settings, Table::User(&entry.name), entry)),
            STORE_TABLES => value.entries().iter().for_each(|entry| self.store(settings, entry)),
            _ if is_known => self.server(settings, name, value.entries()),
            _ => {
                let near = nearest(name, sections());
                let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                self.wrong(*at, shown(name), format_args!("unknown table{hint}"));
            }
        }
    }

    /// Reads the keys of a section, and virtual hosts.
    fn server(&mut self, settings: &mut Settings, section: &str, entries: &[TomlEntry]) {
        let rows = || TABLE.iter().filter(|row| row.table() == section);
        let is_host = |entry: &&TomlEntry| {
            let is_key = rows().any(|row| row.name() == entry.name);
            section == HOST_TABLES && entry.value.is_table() && !is_key
        };
        for entry in entries.iter().filter(is_host) {
            self.host(settings, entry);
        }
        let keys = entries.iter().filter(|entry| !is_host(entry));
        self.keys(settings, &format!("{section}."), keys, &rows(), |entry| {
            format!("unknown key{}", suggestion(&format!("{section}.{}", entry.name)))
        });
    }

    fn host(&mut self, settings: &mut Settings, entry: &TomlEntry) {
        let key = format!("{HOST_TABLES}.{}", shown(&entry.name));
        let name = match host_name(&entry.name) {
            Ok(name) => name,
            Err(wrong) => return self.wrong(entry.at, key, wrong),
        };
        if settings.hosts.contains_key(&name) {
            self.wrong(entry.at, &key, "defined twice");
        }
        let mut host = Host::default();
        let unknown = |entry: &TomlEntry| match entry.value.is_table() {
            true => {
                "unknown key; put the host name in quotes: [hosts.\"ftp.example.org\"]".to_owned()
            }
            false => unknown_key(&entry.name, HOST.iter()),
        };
        let entries = entry.value.entries().iter();
        self.keys(&mut host, &format!("{key}."), entries, &HOST.iter(), unknown);
        settings.hosts.insert(name, host);
    }

    fn store(&mut self, settings: &mut Settings, entry: &TomlEntry) {
        let key = key_of_store(&entry.name, ITSELF);
        let objection = objection_to_name(&entry.name);
        let Some(entries) = self.named_table(&key, objection, entry) else { return };
        let mut store = StoreSettings::default();
        store.origins.note(ITSELF, self.origin(entry.at, entry.at));
        let unknown = |entry: &TomlEntry| unknown_key(&entry.name, STORE.iter());
        let is_own = StoreSettings::is_own_table(entries);
        let of_all = entries.iter().filter(|entry| !is_own || entry.name == KIND);
        self.keys(&mut store, &format!("{key}."), of_all, &STORE.iter(), unknown);
        for entry in entries.iter().filter(|entry| is_own && entry.name != KIND) {
            let origin = self.origin(entry.at, entry.value.at);
            store.give(&entry.name, GivenValue::File(entry.value.clone()), origin);
        }
        settings.stores.insert(entry.name.clone(), store);
    }

    /// Reads a table of users' keys.
    fn layer(&mut self, settings: &mut Settings, table: Table<'_>, entry: &TomlEntry) {
        let objection = table.objection();
        let Some(entries) = self.named_table(&table, objection, entry) else { return };
        if let Some(other) = settings.users.get(table).filter(|_| matches!(table, Table::User(_))) {
            let other = format!("defined in {} too; keep one", other.origins.first());
            return self.wrong(entry.at, table, other);
        }
        let mut user = User::default();
        user.origins.note(ITSELF, self.origin(entry.at, entry.at));
        self.users_keys(&mut user, table, &format!("{table}."), entries);
        settings.users.put(table, user);
    }

    /// Reads users' keys. In messages, `prefix` precedes a key.
    pub(super) fn users_keys(
        &mut self,
        user: &mut User,
        table: Table<'_>,
        prefix: &str,
        entries: &[TomlEntry],
    ) {
        let unknown = |entry: &TomlEntry| match &*entry.name {
            GROUPS => OF_USERS.to_owned(),
            name if TABLE.iter().any(|row| row.name() == name) => {
                format!("unknown key{}", suggestion(name))
            }
            name => unknown_key(name, table.rows()),
        };
        self.keys(user, prefix, entries.iter(), &table.rows(), unknown);
    }

    /// Returns the entries of a table with a valid name, or reports what is wrong.
    fn named_table<'v>(
        &mut self,
        key: &impl Display,
        objection: Option<&str>,
        entry: &'v TomlEntry,
    ) -> Option<&'v [TomlEntry]> {
        let wrong = match objection {
            _ if !entry.value.is_table() => {
                format!("expected a table [{key}], found {}", entry.value.type_name())
            }
            Some(wrong) => wrong.to_owned(),
            None => return Some(entry.value.entries()),
        };
        self.wrong(entry.at, key, wrong);
        None
    }

    /// Reads keys into the fields of their rows. In messages, `prefix` precedes a key, and `unknown`
    /// says what is wrong with a key without a row.
    fn keys<'v, T: Fields + 'static>(
        &mut self,
        values: &mut T,
        prefix: &str,
        entries: impl Iterator<Item = &'v TomlEntry>,
        rows: &(impl Iterator<Item = &'static Setting<T>> + Clone),
        unknown: impl Fn(&TomlEntry) -> String,
    ) {
        for entry in entries {
            let key = format!("{prefix}{}", shown(&entry.name));
            let Some(row) = rows.clone().find(|row| row.name() == entry.name) else {
                self.wrong(entry.at, key, unknown(entry));
                continue;
            };
            let origin = self.origin(entry.at, entry.value.at);
            if let Err(objections) = row.set(values, &entry.value, origin) {
                for Objection { at, below, why } in objections {
                    self.wrong(at, format_args!("{key}{below}"), why);
                }
            }
        }
    }

    fn origin(&self, key: usize, value: usize) -> Origin {
        let source = format!("{}:{}", self.name, self.lines.line(key));
        Origin::new(source, Some(self.lines.column(value)))
    }

    /// Reports unknown groups and missing keys of the users in the file, whose layers are combined.
    pub(super) fn finish(&mut self, settings: &Settings, file: &TomlValue) {
        let users = file.get(USER_TABLES).map(TomlValue::entries).unwrap_or_default();
        for TomlEntry { at, name, value } in users {
            let Some(user) = settings.users.user(name) else { continue };
            let table = Table::User(name);
            let groups = value.get(GROUPS).into_iter().flat_map(TomlValue::items);
            let problems = self.problems.len();
            for group in groups {
                if let Some(unknown) = settings.users.objection_to_group(&group.bare()) {
                    self.wrong(group.at, format_args!("{table}.{GROUPS}"), unknown);
                }
            }
            // The missing key may be in the unknown group.
            if self.problems.len() > problems {
                continue;
            }
            let groups = user.groups.iter().filter_map(|group| file.get(GROUP_TABLES)?.get(group));
            let layers: Vec<_> = groups.chain(file.get(DEFAULTS)).chain([value]).collect();
            for lack in user.lacks() {
                // A key with an invalid value is not missing.
                if layers.iter().all(|layer| layer.get(lack).is_none()) {
                    self.wrong(*at, table, format_args!("{lack} is missing"));
                }
            }
        }
    }
}

fn unknown_key<T: 'static>(key: &str, rows: impl Iterator<Item = &'static Setting<T>>) -> String {
    format!("unknown key{}", did_you_mean(key, rows.map(|row| row.key)))
}
