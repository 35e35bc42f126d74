//! Reads the text of a configuration file. Reports the first mistake with its line and column.
//! Then finds the options that can have an effect on a run. Ignores the others: an option without
//! effect is a mistake only if it is typed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use ftp_proto::{FtpUrl, RepresentationType};
use ftp_server::daemon::toml_text::{Lines, shown};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{ConfigFile, Host};
use crate::exit::Failure;
use crate::options::urls::{is_remote, is_url, may_hold_password};
use crate::options::{Command, GivenOption, Group, Options, Row, TABLE, Value, values};
use crate::remote::pattern;

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

type SpannedKey<'a> = Spanned<DeString<'a>>;
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
        let reads = |command: &Command| command.rows().any(|other| other.long == super::SKIP);
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
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t SpannedKey<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The options that set how certificates are checked. A run can have only one of them.
const CHECKS: [&str; 3] = ["insecure", "pin", "ca-file"];

/// Returns whether an option replaces an earlier one.
pub(super) fn replaces(choice: &Choice, earlier: &Choice) -> bool {
    let is_check = |choice: &Choice| CHECKS.contains(&choice.long) && !choice.given.is_empty();
    // Two such options in the same table contradict each other, which is an error.
    let is_other_table = choice.of_host != earlier.of_host;
    choice.long == earlier.long || is_other_table && is_check(choice) && is_check(earlier)
}

/// Returns whether an option of the file can have an effect in addition to the typed options.
pub(super) fn is_possible(choice: &Choice, command: Command, options: &Options) -> bool {
    match choice.long {
        long if CHECKS.contains(&long) => options.last_typed(&CHECKS).is_none(),
        "client-key" => options.last_typed(&["client-cert"]).is_none(),
        "jobs" => has_several(command, options),
        "verify" => can_verify(choice, options),
        _ => true,
    }
}

/// Returns whether a command can transfer several files, other than to standard output.
fn has_several(command: Command, options: &Options) -> bool {
    let operands = options.operands.as_slice();
    let is_pattern = |operand: &OsStr| {
        FtpUrl::parse(operand.as_bytes()).is_ok_and(|url| pattern::is_pattern(&url))
    };
    match command {
        _ if options.has("recursive") => true,
        Command::Fxp => false,
        Command::Get => {
            let ends_in_output = operands.last().is_some_and(|last| last == "-");
            let is_output = ends_in_output || options.value("output").is_some_and(|to| to == "-");
            let takes_several =
                ["directory", "input-file", "glob"].into_iter().any(|long| options.has(long));
            let urls = || operands.iter().filter(|operand| is_remote(operand));
            !is_output && (takes_several || urls().count() > 1 || urls().any(|url| is_pattern(url)))
        }
        _ => true,
    }
}

/// Returns whether `--verify` can apply and contradicts no other option. ASCII allows only `none`;
/// `--append` excludes `hash`, `--remove-source` excludes `none`, and `--recursive` excludes every
/// `--verify`.
fn can_verify(choice: &Choice, options: &Options) -> bool {
    let is_ascii = |operand: &OsStr| {
        let url = FtpUrl::parse(operand.as_bytes()).ok();
        url.and_then(|url| url.representation()) == Some(RepresentationType::Ascii)
    };
    let in_ascii = match options.last_of(&["ascii", "binary"]) {
        Some(last) => last == "ascii",
        None => options.operands.iter().any(|operand| is_ascii(operand)),
    };
    let is = |word: &str| {
        choice
            .given
            .last()
            .and_then(|given| given.value.as_deref())
            .is_some_and(|mode| mode == word)
    };
    let is_excluded = in_ascii && !is("none")
        || options.has("append") && is("hash")
        || options.has("remove-source") && is("none")
        || options.has("recursive");
    !is_excluded
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::options;

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

    /// Returns the options that a command line gets from a file.
    fn found(file: &str, line: &str) -> String {
        let (command, mut options) =
            options::parse(line.split(' ').map(OsString::from)).ok().unwrap();
        let longs: Vec<_> = options.names().collect();
        let file = read("f".to_owned(), file).ok().unwrap();
        file.apply(command.unwrap(), &mut options).ok().unwrap();
        let found: Vec<_> = options.names().take(options.names().count() - longs.len()).collect();
        found.join(" ")
    }

    #[test]
    fn configured_options_without_effect_are_left_out() {
        for (file, line, want) in [
            ("jobs = 2", "get ftp://h/a", ""),
            ("jobs = 2", "get -o x ftp://h/a", ""),
            ("jobs = 2", "get ftp://h/a b", ""),
            ("jobs = 2", "get ftp://h/a ftp://h/b", "jobs"),
            ("jobs = 2", "get -o - ftp://h/a ftp://h/b", ""),
            ("jobs = 2", "get ftp://h/*.iso", "jobs"),
            ("jobs = 2", "get ftp://h/*.iso -", ""),
            ("jobs = 2", "get -i f", "jobs"),
            ("jobs = 2", "get -r ftp://h/", "jobs"),
            ("jobs = 2", "put a b ftp://h/", "jobs"),
            ("jobs = 2", "fxp ftp://h/a ftp://g/a", ""),
            ("jobs = 2", "fxp -r ftp://h/a ftp://g/a", "jobs"),
            ("jobs = 2", "mirror a ftp://h/", "jobs"),
            ("verify = \"hash\"", "get ftp://h/a", "verify"),
            ("verify = \"hash\"", "get -a ftp://h/a", ""),
            ("verify = \"hash\"", "get -ab ftp://h/a", "verify"),
            ("verify = \"hash\"", "get ftp://h/a;type=a", ""),
            ("verify = \"none\"", "get -a ftp://h/a", "verify"),
            ("verify = \"hash\"", "put --append a ftp://h/a", ""),
            ("verify = \"size\"", "put --append a ftp://h/a", "verify"),
            ("verify = \"hash\"", "put -r a ftp://h/a", ""),
            ("verify = \"none\"", "put --remove-source a ftp://h/a", ""),
            ("insecure = true", "ls --pin p ftpes://h/", ""),
            ("pin = \"p\"", "ls -k ftpes://h/", ""),
            ("insecure = true\n[hosts.h]\npin = \"p\"", "ls ftpes://h/", "pin"),
            ("pin = \"p\"\n[hosts.h]\ninsecure = false", "ls ftpes://h/", "pin"),
            ("pin = \"p\"\ninsecure = true", "ls ftpes://h/", "pin insecure"),
            ("client-cert = \"c\"\nclient-key = \"k\"", "ls --client-cert d ftpes://h/", ""),
        ] {
            assert_eq!(found(&format!("[defaults]\n{file}\n"), line), want, "{file}: {line}");
        }
    }
}
