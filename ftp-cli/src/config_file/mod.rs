//! The user's configuration file: options for all hosts or some of them, and bookmarks.
//!
//! Its options act as if they were typed first, so options on the command line override them. The
//! file holds no passwords, so other users may read it; only its owner may write to it.
//! A file that is too large, not a regular file, or writable by others is rejected.
//! The first mistake in the file is reported with its line and column. Options that can have no
//! effect on a run are ignored: an option without effect is a mistake only if it is typed.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::FtpUrl;
use ftp_proto::text::toml_text::{Lines, shown};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::connect::credentials::read_own;
use crate::console::output::shown_path;
use crate::exit::{Exit, Failure, Result};
use crate::options::configured::{Choice, ConfigFile, Host, USER};
use crate::options::{
    Command, GivenOption, Group, Options, Row, TABLE, Value, is_url, may_hold_password, values,
};
use crate::system;

/// The option that keeps a run from reading the file.
const SKIP: &str = "no-config";

/// Replaces bookmarks in the operands, and puts the options of the file before the typed ones. Does
/// nothing if the command does not connect to servers, or must not read the file.
///
/// # Errors
///
/// Returns `Local` if the file cannot be read or others may write to it, and `Usage` with line and
/// column for a mistake in it. Also returns `Usage` for a bookmark that is also the name of a local
/// file, and for URLs with different options.
pub(crate) fn apply(command: Option<Command>, options: &mut Options) -> Result {
    let Some(command) = command.filter(|command| command.rows().any(|row| row.long == SKIP)) else {
        return Ok(());
    };
    if options.has(SKIP) || options.has("help") || options.has("version") {
        return Ok(());
    }
    let Some(place) = of_file(|name| std::env::var_os(name)) else { return Ok(()) };
    let Some((name, text)) = place.read()? else { return Ok(()) };
    read(name, &text)?.apply(command, options)
}

/// The variable that names another file; an empty value means no file.
const VARIABLE: &str = "FTP_CLI_CONFIG";

/// Expected place of the file.
#[derive(Debug, Eq, PartialEq)]
struct Place {
    path: PathBuf,
    /// Whether a variable names the file, so that the file must exist.
    is_named: bool,
}

/// Returns where the file is expected: `FTP_CLI_CONFIG`, else `ftp-cli/config.toml` in
/// `XDG_CONFIG_HOME` or in `~/.config`. Returns `None` if `FTP_CLI_CONFIG` is empty, or if it is
/// not set and neither `XDG_CONFIG_HOME` nor `HOME` is absolute.
fn of_file(environment: impl Fn(&str) -> Option<OsString>) -> Option<Place> {
    if let Some(path) = environment(VARIABLE) {
        return (!path.is_empty()).then(|| Place { path: path.into(), is_named: true });
    }
    // A relative path would name a file that the current directory's owner controls.
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configs = directory("XDG_CONFIG_HOME").or_else(|| system::configs(directory));
    Some(Place { path: configs?.join("ftp-cli").join("config.toml"), is_named: false })
}

/// Returns the path of the user's configuration file.
pub(crate) fn path() -> Option<PathBuf> {
    of_file(|name| std::env::var_os(name)).map(|place| place.path)
}

impl Place {
    /// Reads the file. Returns its name and text, or `None` if it is missing and no variable names
    /// it.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, is too large or not a regular file, or can be
    /// changed by others. Returns `Usage` if the file is not UTF-8.
    fn read(&self) -> Result<Option<(String, String)>> {
        let name = shown_path(&self.path);
        let unfit = |why: &str| Failure::new(Exit::Local, format!("{name}: {why}"));
        let (metadata, bytes) = match read_own(&self.path) {
            Ok(read) => read,
            // A path with a name that is too long cannot exist.
            Err(error)
                if !self.is_named
                    && matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
                    ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(unfit("too large: expected at most 1 MiB"));
            }
            Err(error) => return Err(Failure::local(name, &error)),
        };
        let rule = (0o022, "writable by", 0o644);
        if let Some(why) = system::unfit(&metadata, rule) {
            return Err(unfit(&why));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((name, text))),
            Err(_) => Err(Failure::usage(format!("{name}: invalid text: expected UTF-8"))),
        }
    }
}

const DEFAULTS: &str = "defaults";
const HOSTS: &str = "hosts";
const BOOKMARKS: &str = "bookmarks";
const TABLES: [&str; 3] = [DEFAULTS, HOSTS, BOOKMARKS];

/// Options of single commands that the file can have, in addition to the global options.
const OF_TRANSFERS: [&str; 3] = ["verify", "limit-rate", "jobs"];

/// Global options that the file cannot have, because they belong to one run or hold a secret.
const OF_ONE_RUN: [&str; 5] = ["help", "version", SKIP, "password-fd", "account"];

/// The options of a login, which belong to one host. In `[defaults]` they would send the password
/// to every host of a run.
const OF_LOGIN: [&str; 3] = [USER, "password-file", "password-command"];

type SpannedKey<'a> = Spanned<DeString<'a>>;
type Item<'a> = Spanned<DeValue<'a>>;

/// A mistake: its byte offset, and the message.
type Wrong = (usize, String);

/// Reads the text of the file `name`.
///
/// # Errors
///
/// Returns `Usage` with line and column for the first mistake.
fn read(name: String, text: &str) -> Result<ConfigFile> {
    let lines = Lines::of(text);
    let reader = ConfigReader { name: &name, lines: &lines };
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        (at, error.message().to_owned())
    });
    match parsed.and_then(|root| reader.tables(root.get_ref())) {
        Ok(file) => Ok(ConfigFile { name, ..file }),
        Err((at, message)) => Err(Failure::usage(format!("{}: {message}", reader.position(at)))),
    }
}

struct ConfigReader<'a> {
    name: &'a str,
    lines: &'a Lines<'a>,
}

impl ConfigReader<'_> {
    fn position(&self, at: usize) -> String {
        let (line, column) = self.lines.position(at);
        format!("{}:{line}:{column}", self.name)
    }

    fn tables(&self, root: &DeTable<'_>) -> Result<ConfigFile, Wrong> {
        let mut file = ConfigFile::default();
        for (key, value) in in_order(root) {
            let at = key.span().start;
            let text: &str = key.get_ref();
            let Some(table) = TABLES.into_iter().find(|known| *known == text) else {
                let near = values::nearest(text, TABLES.into_iter());
                let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                return Err((at, format!("{}: unknown table{hint}", shown(text))));
            };
            let of = |value| as_table(at, &format!("[{table}]"), value);
            match table {
                DEFAULTS => file.defaults = self.defaults(of(value)?)?,
                HOSTS => file.hosts = self.hosts(of(value)?)?,
                _ => file.bookmarks = bookmarks(of(value)?)?,
            }
        }
        Ok(file)
    }

    fn hosts(&self, table: &DeTable<'_>) -> Result<Vec<(Host, Vec<Choice>)>, Wrong> {
        let mut hosts = Vec::new();
        for (key, value) in in_order(table) {
            let at = key.span().start;
            let name: &str = key.get_ref();
            let header = format!("[hosts.{}]", shown(name));
            let options = self.options(as_table(at, &header, value)?, Some(at))?;
            // The key must have the form of a URL's host and port, with nothing after it.
            let url = FtpUrl::parse(format!("ftp://{name}/").as_bytes()).ok();
            let url = url.filter(|url| url.user().is_none() && url.path().is_empty());
            let is_name = !name.contains(['/', '@']) && !name.ends_with(':');
            let Some(url) = url.filter(|_| is_name) else {
                return Err((at, format!("{header}: expected HOST or HOST:PORT")));
            };
            let has_port = name.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let host = Host { name: url.host().to_owned(), port: has_port.then_some(url.port()) };
            hosts.push((host, options));
        }
        // Later options win, so the more specific hosts with a port come last.
        hosts.sort_by_key(|(host, _)| host.port.is_some());
        Ok(hosts)
    }

    fn defaults(&self, table: &DeTable<'_>) -> Result<Vec<Choice>, Wrong> {
        let is_of_login = |key: &SpannedKey<'_>| OF_LOGIN.iter().any(|long| key.get_ref() == long);
        let of_login = in_order(table).into_iter().find(|(key, _)| is_of_login(key));
        if let Some((key, _)) = of_login {
            let why = "not allowed in [defaults]; move it to [hosts.\"HOST\"]";
            return Err((key.span().start, format!("{}: {why}", key.get_ref())));
        }
        self.options(table, None)
    }

    fn options(&self, table: &DeTable<'_>, of_host: Option<usize>) -> Result<Vec<Choice>, Wrong> {
        let choice = |(key, value)| Ok(Choice { of_host, ..self.choice(key, value)? });
        in_order(table).into_iter().map(choice).collect()
    }

    fn choice(&self, key: &SpannedKey<'_>, value: &Item<'_>) -> Result<Choice, Wrong> {
        let at = key.span().start;
        let name: &str = key.get_ref();
        let Some(row) = rows().find(|row| row.long == name) else {
            let hint = match name {
                "account" | "password" => {
                    "; passwords do not belong in this file; use ~/.netrc".to_owned()
                }
                _ => values::did_you_mean(name, rows().map(|row| row.long)),
            };
            return Err((at, format!("{}: unknown option{hint}", shown(name))));
        };
        let long = row.long;
        let given = |value: &Item<'_>, text: Option<String>| GivenOption {
            long,
            value: text.map(Into::into),
            origin: Some(Arc::from(self.position(value.span().start))),
        };
        let given = match (value.get_ref(), row.value) {
            (DeValue::Boolean(is_on), Value::No | Value::WithEqualSign(_)) => {
                is_on.then(|| given(value, None)).into_iter().collect()
            }
            (DeValue::Array(items), Value::Needed(_) | Value::OneOf(..))
                if row.help.contains("(repeatable)") =>
            {
                let texts = items.iter().map(|item| Ok(given(item, Some(text(row, item)?))));
                texts.collect::<Result<_, Wrong>>()?
            }
            (_, Value::No) => {
                return Err((value.span().start, format!("{long}: expected true or false")));
            }
            _ => vec![given(value, Some(text(row, value)?))],
        };
        Ok(Choice { long, given, of_host: None })
    }
}

/// Returns the options that the file can have.
fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| {
        let is_global = row.group.is_global() && row.group != Group::Program;
        let is_ours = is_global || OF_TRANSFERS.contains(&row.long);
        let reads = |command: &Command| command.rows().any(|other| other.long == SKIP);
        is_ours && !OF_ONE_RUN.contains(&row.long) && row.commands.iter().any(reads)
    })
}

/// Returns the value of an option as it would be typed.
fn text(row: &Row, value: &Item<'_>) -> Result<String, Wrong> {
    let long = row.long;
    let wrong = |why: String| (value.span().start, format!("{long}: {why}"));
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        _ => return Err(wrong("expected a string or a number".to_owned())),
    };
    if let Value::OneOf(_, words) = row.value
        && !words.split('|').any(|word| word == text)
    {
        return Err(wrong(format!("expected {}", words.replace('|', ", "))));
    }
    if long == "proxy" && may_hold_password(text.as_bytes()) {
        return Err(wrong("passwords do not belong in this file; use $ftp_proxy".to_owned()));
    }
    Ok(text)
}

fn bookmarks(table: &DeTable<'_>) -> Result<Vec<(String, String)>, Wrong> {
    let mut bookmarks = Vec::new();
    for (key, value) in in_order(table) {
        let name: &str = key.get_ref();
        let is_name = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        if name.is_empty() || !name.chars().all(is_name) {
            let why = "expected a name of letters, digits, dots, dashes and underscores";
            return Err((key.span().start, format!("{}: {why}", shown(name))));
        }
        let wrong = |why: &str| (value.span().start, format!("{name}: {why}"));
        let url = value.get_ref().as_str().unwrap_or_default();
        let parsed = FtpUrl::parse(url.as_bytes()).ok().filter(|_| is_url(url.as_bytes()));
        match parsed {
            Some(parsed) if parsed.password().is_some() => {
                return Err(wrong("passwords do not belong in this file; use ~/.netrc"));
            }
            Some(_) if !url.to_ascii_lowercase().contains(";type=") => {
                bookmarks.push((name.to_owned(), url.to_owned()));
            }
            _ => return Err(wrong("expected a URL such as ftpes://me@nas.example/dir")),
        }
    }
    Ok(bookmarks)
}

/// Returns a value as a table, or the error that the table `header` was expected.
fn as_table<'t, 'a>(
    at: usize,
    header: &str,
    value: &'t Item<'a>,
) -> Result<&'t DeTable<'a>, Wrong> {
    value.get_ref().as_table().ok_or_else(|| (at, format!("expected a table {header}")))
}

fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t SpannedKey<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

#[cfg(test)]
mod tests;
