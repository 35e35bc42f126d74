//! The user's configuration file: options for all hosts or some of them, and bookmarks.
//!
//! Its options act as if they were typed first, so options on the command line override them. The
//! file holds no passwords, so other users may read it; only its owner may write to it.
//! A file that is too large, not a regular file, or writable by others is rejected.
//! The first mistake in the file is reported with its line and column. Options that can have no
//! effect on a run are ignored: an option without effect is a mistake only if it is typed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::{Escaped, FtpUrl, RepresentationType};
use ftp_server::daemon::toml_text::{Lines, shown};
use rustix::process::geteuid;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::connect::credentials::{self, read_own};
use crate::console::output::shown_path;
use crate::exit::{Exit, Failure, Result};
use crate::options::{Command, GivenOption, Group, Options, Row, TABLE, Value, exclude, values};
use crate::options::{is_remote, is_url, may_hold_password};
use crate::remote::pattern;

/// The option that keeps a run from reading the file.
const SKIP: &str = "no-config";

/// The option that sets the user.
const USER: &str = "user";

/// The options that supply the user's password.
const PASSWORDS: [&str; 2] = ["password-file", "password-command"];

/// A configuration file that was read.
#[derive(Debug, Default)]
struct ConfigFile {
    /// Name for messages.
    name: String,
    defaults: Vec<Choice>,
    /// The options of hosts, in the order of the file.
    hosts: Vec<(Host, Vec<Choice>)>,
    bookmarks: Vec<(String, String)>,
}

/// A host of the file: its name, and the port if its table is for one port only.
#[derive(Debug, Eq, PartialEq)]
struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    fn is_of(&self, url: &FtpUrl) -> bool {
        self.name.eq_ignore_ascii_case(url.host())
            && self.port.is_none_or(|port| port == url.port())
    }
}

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

/// A configuration file whose options are applied. URLs that are read later must have the same
/// options.
#[derive(Debug)]
pub(crate) struct Applied {
    file: ConfigFile,
    command: Command,
    /// The first URL of the command line. The run uses the options of its host.
    first: Option<FtpUrl>,
}

/// Checks that a URL of a list has the same options as the run. Without the options of its own
/// host, a password could be sent unencrypted.
///
/// # Errors
///
/// Returns `Usage` if the URL has other options.
pub(crate) fn check(options: &Options, url: &FtpUrl) -> Result {
    let Some(Applied { file, command, first }) = options.configured.as_deref() else {
        return Ok(());
    };
    let of_run = first.as_ref().map(|first| file.of_host(*command, options, first));
    match (is_same(&of_run.unwrap_or_default(), &file.of_host(*command, options, url)), first) {
        (true, _) => Ok(()),
        (false, Some(first)) => Err(file.differing(first, url)),
        (false, None) => Err(Failure::usage(format!(
            "{}: {} has options that do not apply to a list; write its URLs on the command line, \
             or use --no-config",
            file.name,
            Escaped(url.host().as_bytes())
        ))),
    }
}

/// Returns whether two lists consist of the same entries of the file.
fn is_same(one: &[&Choice], other: &[&Choice]) -> bool {
    let pairs = || one.iter().zip(other);
    one.len() == other.len() && pairs().all(|(one, other)| std::ptr::eq(*one, *other))
}

impl ConfigFile {
    fn apply(self, command: Command, options: &mut Options) -> Result {
        self.expand(command, options)?;
        let first = self.first_url(command, options)?;
        let of_host = first.as_ref().map(|url| self.of_host(command, options, url));
        let is_taken = |choice: &&Choice| is_taken(command, options, choice);
        let mut chosen: Vec<&Choice> = Vec::new();
        for choice in self.defaults.iter().filter(is_taken).chain(of_host.unwrap_or_default()) {
            // The options of a host replace those for all hosts.
            chosen.retain(|earlier| !replaces(command, choice, earlier));
            chosen.push(choice);
        }
        chosen.retain(|choice| is_possible(choice, command, options));
        let given = chosen.into_iter().flat_map(|choice| choice.given.iter().cloned());
        let given: Vec<GivenOption> = given.collect();
        options.precede_by(given);
        options.configured = Some(Arc::new(Applied { file: self, command, first }));
        Ok(())
    }

    /// Replaces bookmarks in the operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if an operand could also be a local file.
    fn expand(&self, command: Command, options: &mut Options) -> Result {
        let count = options.operands.len();
        let has_target = options.has("output") || options.has("directory");
        for (at, operand) in options.operands.iter_mut().enumerate() {
            let Some(url) = self.expanded(operand) else { continue };
            let can_be_local = match command {
                Command::Get => at > 0 && !has_target,
                Command::Batch => at > 0,
                Command::Put => at + 1 < count,
                Command::Mirror => true,
                _ => false,
            };
            let name = operand.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default();
            if can_be_local && fs::symlink_metadata(OsStr::from_bytes(name)).is_ok() {
                return Err(Failure::usage(format!(
                    "{}: is both a bookmark and a local file; write ./{} or {}",
                    Escaped(name),
                    Escaped(operand.as_bytes()),
                    Escaped(url.as_bytes())
                )));
            }
            *operand = url;
        }
        Ok(())
    }

    /// Returns the URL for `@NAME` or `@NAME/PATH`, if NAME is a bookmark.
    fn expanded(&self, operand: &OsStr) -> Option<OsString> {
        let rest = operand.as_bytes().strip_prefix(b"@")?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        let (_, url) = self.bookmarks.iter().find(|(known, _)| known.as_bytes() == name)?;
        let url = if path.is_empty() { url } else { url.strip_suffix('/').unwrap_or(url) };
        Some(OsString::from_vec([url.as_bytes(), path].concat()))
    }

    /// Returns the options for the host of a URL, except options that the command does not accept
    /// or that are typed.
    ///
    /// A user on the command line or in the URL replaces the file's user, and never gets the
    /// password of another user. A password in the URL replaces the file's password.
    fn of_host(&self, command: Command, options: &Options, url: &FtpUrl) -> Vec<&Choice> {
        let sections = || {
            let sections = self.hosts.iter().filter(|(host, _)| host.is_of(url));
            sections.map(|(_, choices)| choices)
        };
        let takes_user = command.rows().any(|row| row.long == USER);
        let named = options.typed(USER).map(OsStr::as_bytes).or(url.user());
        let own = sections().rev().find_map(|choices| user_of(choices));
        let user = named.or(own.filter(|_| takes_user));
        let mut found = Vec::new();
        for choices in sections() {
            let is_of_user =
                user.is_some_and(|named| user_of(choices).is_none_or(|own| own == named));
            let has_password = is_of_user && url.password().is_none();
            found.extend(choices.iter().filter(|choice| {
                is_taken(command, options, choice)
                    && (choice.long != USER || named.is_none())
                    && (!PASSWORDS.contains(&choice.long) || has_password)
            }));
        }
        found
    }

    /// Returns the first URL of the operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for URLs with different options, because a run has only one set of options.
    fn first_url(&self, command: Command, options: &Options) -> Result<Option<FtpUrl>> {
        let mut first: Option<(FtpUrl, Vec<&Choice>)> = None;
        for operand in &options.operands {
            let Ok(url) = FtpUrl::parse(operand.as_bytes()) else { continue };
            // A local name can look like `host:path`.
            if !is_url(operand.as_bytes()) && !self.hosts.iter().any(|(host, _)| host.is_of(&url)) {
                continue;
            }
            let choices = self.of_host(command, options, &url);
            match &first {
                Some((other, known)) if !is_same(known, &choices) => {
                    return Err(self.differing(other, &url));
                }
                Some(_) => {}
                None => first = Some((url, choices)),
            }
        }
        Ok(first.map(|(url, _)| url))
    }

    /// Returns the error for URLs with different options.
    fn differing(&self, one: &FtpUrl, other: &FtpUrl) -> Failure {
        let name = |url: &FtpUrl| match one.host().eq_ignore_ascii_case(other.host()) {
            true => url.to_string(),
            false => Escaped(url.host().as_bytes()).to_string(),
        };
        Failure::usage(format!(
            "{}: {} and {} have different options; run them separately, or use --no-config",
            self.name,
            name(one),
            name(other)
        ))
    }
}

/// Returns the user that the options name.
fn user_of(choices: &[Choice]) -> Option<&[u8]> {
    let choice = choices.iter().find(|choice| choice.long == USER)?;
    choice.given.last()?.value.as_deref().map(OsStr::as_bytes)
}

/// Returns whether a command accepts an option of the file, and no typed option replaces it.
fn is_taken(command: Command, options: &Options, choice: &Choice) -> bool {
    command.rows().any(|row| row.long == choice.long)
        && options.last_typed(&[choice.long]).is_none()
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
    let configs = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
    Some(Place { path: configs?.join("ftp-cli/config.toml"), is_named: false })
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
        if let Some(why) = credentials::unfit(&metadata, geteuid().as_raw(), rule) {
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

/// The file's setting for one option.
#[derive(Debug)]
struct Choice {
    long: &'static str,
    /// The option as it would be typed, once per value; empty if the option is switched off.
    given: Vec<GivenOption>,
    /// Byte offset of the host's section; `None` in `[defaults]`.
    of_host: Option<usize>,
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

/// Returns the entries of a table in the order of the file.
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t SpannedKey<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Returns whether an option replaces an earlier one.
fn replaces(command: Command, choice: &Choice, earlier: &Choice) -> bool {
    let is_on = |choice: &Choice| !choice.given.is_empty();
    // Two options of the same table that exclude each other are an error.
    let is_other_table = choice.of_host != earlier.of_host && is_on(choice) && is_on(earlier);
    choice.long == earlier.long || is_other_table && exclude(command, choice.long, earlier.long)
}

/// Returns whether an option of the file can have an effect in addition to the typed options.
fn is_possible(choice: &Choice, command: Command, options: &Options) -> bool {
    match choice.long {
        long if options.type_excludes(command, long) => false,
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
/// `--append` excludes `hash`, and `--remove-source` excludes `none`.
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
        || options.has("remove-source") && is("none");
    !is_excluded
}

#[cfg(test)]
mod tests;
