//! Reads a configuration file in TOML into [`Settings`], and reports its errors, each with the line
//! and the column.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ftp_proto::Escaped;
use ftp_proto::text::toml_text::{Lines, shown};
use ftp_proto::text::values::{self, counted, did_you_mean, nearest, shown_path};
use toml::de::DeTable;

use super::forms::Kind;
use super::hosts::{HOST, HOST_TABLES, Host, host_name};
use super::row::{Fields, Origin, Setting};
use super::stores::{
    GivenValue, ITSELF, KIND, STORE, STORE_TABLES, StoreSettings, key_of_store, objection_to_name,
};
use super::table::{Settings, TABLE, suggestion};
use super::user::{
    DEFAULTS, GROUP_TABLES, GROUPS, Include, OF_USERS, Replaced, Table, USER_TABLES, User,
};
use super::value::{Objection, TomlEntry, TomlValue, ValueContent, entries};
use crate::daemon::{DaemonError, DaemonErrorKind};

/// Maximum size of a configuration file, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Largest number of errors that are reported for one file.
const MOST: usize = 100;

/// Whether the file is read for the first time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConfigReading {
    First,
    /// A reload. A pipe would be empty by now, and reading it might block forever.
    Again,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    text: String,
    /// The directory in which relative paths start.
    directory: PathBuf,
    /// Whether `include` of another file names this one.
    is_included: bool,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, or if a reload finds that it is not a regular
    /// file. Returns `Usage` if the file is too large or not UTF-8.
    pub(crate) fn open(path: &OsStr, reading: ConfigReading) -> Result<Self, DaemonError> {
        let name = Escaped(path.as_bytes()).to_string();
        let failed = |error| DaemonError::local(&name, &error);
        if reading == ConfigReading::Again && !fs::metadata(path).map_err(failed)?.is_file() {
            let why = "not a regular file, so it cannot be reloaded";
            return Err(DaemonError::new(DaemonErrorKind::Local, format!("{name}: {why}")));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            let most = values::show_size(&LARGEST);
            return Err(DaemonError::configuration(format!(
                "{name}: too large: expected at most {most}"
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let directory = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
                Ok(Self { directory, ..Self::of_text(&name, text) })
            }
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes();
                let good = bytes.get(..valid).and_then(|good| str::from_utf8(good).ok());
                let (line, column) = Lines::of(good.unwrap_or_default()).position(valid);
                let byte = bytes.get(valid).copied().unwrap_or_default();
                let wrong =
                    format!("{name}:{line}:{column}: invalid byte 0x{byte:02x}: expected UTF-8");
                Err(DaemonError::configuration(wrong))
            }
        }
    }

    pub(crate) fn of_text(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text, directory: PathBuf::new(), is_included: false }
    }

    /// Applies the file to `settings`, and the files that it includes; one of these can be replaced.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open), and `Configuration` as [`apply`](Self::apply) does
    /// for the first file with errors.
    pub(crate) fn apply_all(
        &self,
        settings: &mut Settings,
        replaced: Option<Replaced<'_>>,
    ) -> Result<(), DaemonError> {
        self.apply(settings)?;
        let Some(mut include) = settings.include.take() else { return Ok(()) };
        include.find(&self.directory, replaced)?;
        for path in &include.files {
            let file = match replaced.filter(|(other, _)| other == path) {
                Some((_, text)) => {
                    Self::of_text(&shown_path(path), text.unwrap_or_default().to_owned())
                }
                None => Self::open(path.as_os_str(), ConfigReading::Again)?,
            };
            Self { is_included: true, ..file }.apply(settings)?;
        }
        settings.include = Some(include);
        Ok(())
    }

    /// Applies the file to `settings`.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` with a line `FILE:LINE:COLUMN: KEY: REASON` for each of the first 100 errors, from top to
    /// bottom. If there are more errors, the last line gives the number of those not shown. If the
    /// syntax is wrong, only its errors count, without a key: the parser may take the rest for
    /// something else than is meant.
    pub(crate) fn apply(&self, settings: &mut Settings) -> Result<(), DaemonError> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let mut reader = Reader::new(&self.name, self.lines());
        if errors.is_empty() {
            let file = ValueContent::Table(entries(root.get_ref())).into();
            self.read(&mut reader, &file, settings);
        }
        let mut problems = std::mem::take(&mut reader.problems);
        problems.extend(errors.iter().map(|error| reader.syntax(error)));
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        let line = |(at, wrong): &(usize, String)| {
            let (line, column) = reader.lines.position(*at);
            format!("{}:{line}:{column}: {wrong}", self.name)
        };
        let mut shown: Vec<String> = problems.iter().take(MOST).map(line).collect();
        if let Some(more @ 1..) = problems.len().checked_sub(MOST) {
            shown.push(format!("{}: {}", self.name, counted(more, "more error")));
        }
        Err(DaemonError::refused(&self.name, shown))
    }

    fn read(&self, reader: &mut Reader<'_>, file: &TomlValue, settings: &mut Settings) {
        for section in file.entries() {
            match self.is_included && section.name != USER_TABLES {
                true => {
                    reader.wrong(section.at, &section.name, "expected only tables [users.NAME]");
                }
                false => reader.section(settings, section),
            }
        }
        match file.get(USER_TABLES).filter(|_| self.is_included) {
            Some(users) => {
                users.entries().iter().for_each(|user| settings.users.resolve_one(&user.name));
            }
            None => settings.users.resolve(),
        }
        reader.finish(settings, file);
    }

    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines::of(&self.text)
    }
}

impl Settings {
    /// Returns a copy of these settings without the users of the file, for
    /// [`user_of`](Self::user_of).
    pub(crate) fn for_answers(&self) -> Self {
        Self { users: self.users.inherited(), ..self.clone() }
    }

    /// Returns the user with these keys, and with the keys of `[defaults]` and of the user's groups.
    ///
    /// # Errors
    ///
    /// Returns a message that names the first wrong key and the error.
    pub(crate) fn user_of(&self, name: &str, keys: &[TomlEntry]) -> Result<User, String> {
        let mut reader = Reader::new("answer", Lines::of(""));
        let mut own = User::default();
        reader.users_keys(&mut own, Table::User(name), "", keys);
        if let Some((_, wrong)) = reader.problems.into_iter().next() {
            return Err(wrong);
        }
        let user = self.users.combined(name, &own);
        // `auth.program` has checked the password, so no hash is needed.
        if let Some(lack) = user.lacks().find(|lack| *lack != "password") {
            return Err(format!("{lack} is missing"));
        }
        match self.objections(&user).into_iter().next() {
            Some((key, wrong)) => Err(format!("{key}: {wrong}")),
            None => Ok(user),
        }
    }
}

const INCLUDE: &str = "include";

/// Tables whose keys are not in [`TABLE`].
const NAMED_TABLES: [&str; 4] = [DEFAULTS, GROUP_TABLES, USER_TABLES, STORE_TABLES];

/// Reader that applies the values of a file to settings.
struct Reader<'a> {
    name: &'a str,
    lines: Lines<'a>,
    /// Byte offset and message of each problem.
    problems: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    const fn new(name: &'a str, lines: Lines<'a>) -> Self {
        Self { name, lines, problems: Vec::new() }
    }

    fn wrong(&mut self, at: usize, key: impl Display, wrong: impl Display) {
        self.problems.push((at, format!("{key}: {wrong}")));
    }

    /// Returns the byte offset and the message of an error of the parser.
    fn syntax(&self, error: &toml::de::Error) -> (usize, String) {
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
    fn section(&mut self, settings: &mut Settings, section: &TomlEntry) {
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
    fn users_keys(
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
    fn finish(&mut self, settings: &Settings, file: &TomlValue) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::tests::sample;

    fn apply(text: &str) -> Result<(), Vec<String>> {
        File::of_text("f", text.to_owned())
            .apply(&mut Settings::default())
            .map_err(|error| error.lines)
    }

    /// Reads the sample with bytes removed, doubled, changed or moved, by a fixed sequence of
    /// random numbers.
    #[test]
    fn mutated_configuration_is_read_or_refused_line_by_line() {
        let mut state = 1_u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % end
        };
        let whole: Vec<char> = sample::sample().chars().collect();
        let odd: Vec<char> = "\"'[]{}=.,#\\\n\r\t\0\u{e9}0-:".chars().collect();
        let (mut good, mut bad) = (0, 0);
        for _ in 0..2_000 {
            let start = if below(4) == 0 { 0 } else { below(whole.len()) };
            let mut text: Vec<char> = whole[start..].iter().take(below(2_000)).copied().collect();
            for _ in 0..below(4) {
                let at = below(text.len() + 1);
                match below(3) {
                    0 => text.insert(at, odd[below(odd.len())]),
                    1 if at < text.len() => drop(text.remove(at)),
                    _ => {
                        let cut = text.split_off(at);
                        text.splice(0..0, cut);
                    }
                }
            }
            let text: String = text.into_iter().collect();
            let Err(lines) = apply(&text) else {
                good += 1;
                continue;
            };
            bad += 1;
            // If there are too many errors, only the number of the rest is reported.
            let places = lines.iter().take(MOST).map(|line| {
                let mut parts = line.splitn(4, ':').skip(1).map(str::parse::<usize>);
                let place = (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap());
                assert!(
                    place.0 >= 1 && place.0 <= text.matches('\n').count() + 1,
                    "{line}\n{text}"
                );
                place
            });
            assert!(places.is_sorted(), "{lines:?}\n{text}");
        }
        assert!(good > 20 && bad > 200, "{good} good, {bad} bad");
    }

    #[test]
    fn a_file_with_many_errors_lists_the_first_and_counts_the_rest() {
        let lines = apply(&"a = 1\n".repeat(100_000)).unwrap_err();
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines.last().unwrap(), "f: 99899 more errors");
        assert_eq!(lines[0], "f:2:1: a: defined twice");
        assert!(apply(&"[a]\nb = {}\n".repeat(20_000)).is_err());
        assert!(apply(&"x = [\n".repeat(50_000)).is_err());
        assert!(apply(&format!("x = {}", "[".repeat(500_000))).is_err());
        assert!(apply(&"a.".repeat(500_000)).is_err());
    }
}
