//! Reads a configuration file in TOML into [`Settings`], and reports its errors, each with the line
//! and the column.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ftp_proto::Escaped;
use toml::de::DeTable;

use super::reader::Reader;
use super::table::Settings;
use super::user::{Replaced, Table, USER_TABLES, User};
use super::value::{TomlEntry, TomlValue, ValueContent, entries};
use ftp_proto::text::values::{self, counted, shown_path};

use crate::daemon::{DaemonError, DaemonErrorKind};
use ftp_proto::text::toml_text::Lines;

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
