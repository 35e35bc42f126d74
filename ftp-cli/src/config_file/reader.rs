//! Reads the text of a configuration file. Reports the first mistake with its line and column.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{ConfigFile, Host};
use crate::cmd::serve::settings::{Lines, shown};
use crate::exit::Failure;
use crate::options::urls::{is_url, may_hold_password};
use crate::options::{GivenOption, Group, Row, TABLE, Value, values};
use ftp_proto::FtpUrl;

const DEFAULTS: &str = "defaults";
const HOSTS: &str = "hosts";
const BOOKMARKS: &str = "bookmarks";
const TABLES: [&str; 3] = [DEFAULTS, HOSTS, BOOKMARKS];

/// Options of single commands that the file can have, in addition to the global options.
const OF_TRANSFERS: [&str; 3] = ["verify", "limit-rate", "jobs"];

/// Global options that the file cannot have, because they belong to one run or hold a secret.
const OF_ONE_RUN: [&str; 5] = ["help", "version", super::SKIP, "password-fd", "account"];

/// The options of a login, which belong to one host. In `[defaults]` they would send the password
/// to every host of a run.
const OF_LOGIN: [&str; 3] = [super::USER, "password-file", "password-command"];

/// The file's setting for one option.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) long: &'static str,
    /// The option as it would be typed, once per value; empty if the option is switched off.
    pub(super) given: Vec<GivenOption>,
    /// Byte offset of the host's section; `None` in `[defaults]`.
    pub(super) of_host: Option<usize>,
}

type Key<'a> = Spanned<DeString<'a>>;
type Item<'a> = Spanned<DeValue<'a>>;

/// A mistake: its byte offset, and the message.
type Wrong = (usize, String);

/// Reads the text of the file `name`.
///
/// # Errors
///
/// Returns `Usage` with line and column for the first mistake.
pub(super) fn read(name: String, text: &str) -> Result<ConfigFile, Failure> {
    let lines = Lines::of(text);
    let reader = Reader { name: &name, lines: &lines };
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        (at, error.message().to_owned())
    });
    match parsed.and_then(|root| reader.tables(root.get_ref())) {
        Ok(file) => Ok(ConfigFile { name, ..file }),
        Err((at, message)) => Err(Failure::usage(format!("{}: {message}", reader.position(at)))),
    }
}

struct Reader<'a> {
    name: &'a str,
    lines: &'a Lines<'a>,
}

impl Reader<'_> {
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
        let is_of_login = |key: &Key<'_>| OF_LOGIN.iter().any(|long| key.get_ref() == long);
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

    fn choice(&self, key: &Key<'_>, value: &Item<'_>) -> Result<Choice, Wrong> {
        let at = key.span().start;
        let name: &str = key.get_ref();
        let Some(row) = rows().find(|row| row.long == name) else {
            let hint = match name {
                "account" | "password" => {
                    Some("passwords do not belong in this file; use ~/.netrc".to_owned())
                }
                _ => values::nearest(name, rows().map(|row| row.long))
                    .map(|near| format!("did you mean {near}?")),
            };
            let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
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
        let reads = |command: &crate::options::Command| {
            command.rows().any(|other| other.long == super::SKIP)
        };
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

/// Returns the entries of a table in the order of the file.
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_error_has_its_position() {
        for (text, want) in [
            ("[defaults]\nretry = = 2\n", "f:2:9: "),
            ("[defaults]\nretry = 2\nretry = 3\n", "f:3:1: "),
            ("[default]\n", "f:1:2: default: unknown table; did you mean [defaults]?"),
            ("retry = 1\n", "f:1:1: retry: unknown table"),
            ("defaults = 1\n", "f:1:1: expected a table [defaults]"),
            ("[hosts]\nnas = 1\n", "f:2:1: expected a table [hosts.nas]"),
            ("[hosts.\"a/b\"]\n", "f:1:8: [hosts.\"a/b\"]: expected HOST or HOST:PORT"),
            ("[hosts.\"u@h\"]\n", "f:1:8: [hosts.\"u@h\"]: expected HOST or HOST:PORT"),
            ("[hosts.\"h:\"]\n", "f:1:8: [hosts.\"h:\"]: expected HOST or HOST:PORT"),
            ("[defaults]\nretyr = 1\n", "f:2:1: retyr: unknown option; did you mean retry?"),
            ("[defaults]\ndelete = true\n", "f:2:1: delete: unknown option"),
            ("[defaults]\nno-config = true\n", "f:2:1: no-config: unknown option"),
            ("[defaults]\npassword = \"p\"\n", "f:2:1: password: unknown option; passwords do"),
            (
                "[defaults]\nuser = \"u\"\n",
                "f:2:1: user: not allowed in [defaults]; move it to [hosts.",
            ),
            (
                "[defaults]\nretry = 2\n  password-file = \"f\"\n",
                "f:3:3: password-file: not allowed in",
            ),
            ("[defaults]\npassword-command = \"c\"\n", "f:2:1: password-command: not allowed in"),
            ("[defaults]\naccount = \"geheim\"\n", "f:2:1: account: unknown option; passwords do"),
            ("[defaults]\ninsecure = 1\n", "f:2:12: insecure: expected true or false"),
            ("[defaults]\ntls = \"yes\"\n", "f:2:7: tls: expected off, try, explicit, implicit"),
            ("[defaults]\ntls = true\n", "f:2:7: tls: expected a string or a number"),
            ("[defaults]\nretry = [1]\n", "f:2:9: retry: expected a string or a number"),
            ("[defaults]\nretry = 0x1\n", "f:2:9: retry: expected a string or a number"),
            ("[defaults]\npin = [1.5]\n", "f:2:8: pin: expected a string or a number"),
            (
                "[defaults]\nproxy = \"socks5://u:geheim@h\"\n",
                "f:2:9: proxy: passwords do not belong in this file; use $ftp_proxy",
            ),
            (
                "[bookmarks]\n  a = \"ftp://u:geheim@h\"\n",
                "f:2:7: a: passwords do not belong in this file; use ~/.netrc",
            ),
            ("[bookmarks]\na = \"h:x\"\n", "f:2:5: a: expected a URL"),
            ("[bookmarks]\na = \"ftp://h/a;type=a\"\n", "f:2:5: a: expected a URL"),
            ("[bookmarks]\na = 1\n", "f:2:5: a: expected a URL"),
            ("[bookmarks]\n\"a/b\" = \"ftp://h\"\n", "f:2:1: \"a/b\": expected a name"),
        ] {
            let failure = read("f".to_owned(), text).unwrap_err();
            assert!(failure.message.starts_with(want), "{text:?}: {}", failure.message);
            assert!(!failure.message.contains("geheim"), "{}", failure.message);
        }
    }

    #[test]
    fn hosts_are_names_addresses_and_ports() {
        let text =
            "[hosts.\"[::1]:2121\"]\n[hosts.\"192.0.2.1\"]\n[hosts.NAS]\n[hosts.\"[::2]\"]\n";
        let file = read("f".to_owned(), text).unwrap();
        let hosts: Vec<_> =
            file.hosts.iter().map(|(host, _)| (host.name.as_str(), host.port)).collect();
        let want = [("192.0.2.1", None), ("NAS", None), ("::2", None), ("::1", Some(2121))];
        assert_eq!(hosts, want);
    }
}
