//! Parses options and operands with getopts: global options, a command, its options and operands.
//! Also parses the operands that name a remote object.
//!
//! One [`TABLE`] feeds getopts, `--help`, the man page and completions. If an option is repeated,
//! the last one wins; `--` ends the options. File names need not be UTF-8. Because getopts accepts
//! only UTF-8, it gets a placeholder for each argument that is not UTF-8.
//! Clusters of short options are split first, because getopts does not report the order of options
//! within one argument.

#[cfg(feature = "client")]
pub(crate) mod configured;
mod hints;
mod table;

pub(crate) use ftp_proto::text::values;
pub(crate) use table::{
    Command, Completes, Group, MAN_PAGES, Row, SHELLS, Synonym, TABLE, Value, all_rows, global_rows,
};

use std::ffi::{OsStr, OsString};
use std::path::is_separator;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{Escaped, FtpUrl, ParseError, ParseErrorKind};
use getopts::{Fail, HasArg, Occur, ParsingStyle};

use crate::exit::{Exit, Failure, Result};
use crate::system::{OsStrExt, OsStringExt, has_drive};
#[cfg(feature = "client")]
use configured::Applied;
use hints::{OF_WGET, explain};
use table::{EXCLUSIONS, Exclusion, NEEDS, exclude};

/// The given options in order, and the operands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    given: Vec<GivenOption>,
    pub(crate) operands: Vec<OsString>,
    /// The synonym by which the command was called, if any.
    synonym: Option<&'static str>,
    /// The configuration file, if its options are applied.
    #[cfg(feature = "client")]
    pub(crate) configured: Option<Arc<Applied>>,
    /// When the options were parsed: the time limit of the run begins then.
    begun: Option<Instant>,
}

/// An option on the command line or in the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct GivenOption {
    pub(crate) long: &'static str,
    pub(crate) value: Option<OsString>,
    /// The place of the option in the configuration file, as `FILE:LINE:COLUMN`; `None` for a typed
    /// option.
    pub(crate) origin: Option<Arc<str>>,
}

impl GivenOption {
    /// Returns the value, parsed by `parse`.
    fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>> {
        let Some(value) = &self.value else { return Ok(None) };
        let name = self.shown();
        let Some(text) = value.to_str() else {
            return Err(Failure::usage(format!("{name}: invalid value: expected UTF-8")));
        };
        parse(text).map(Some).map_err(|wrong| Failure::usage(format!("{name}: {wrong}")))
    }

    /// Returns the option as messages show it.
    fn shown(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{origin}: {}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Parses all arguments. Returns `None` if the command is missing.
///
/// # Errors
///
/// Returns `Usage` for an unknown command, and for an option that is unknown or that the command
/// does not accept. Also returns `Usage` if an option lacks its value, or has a value but takes
/// none.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Option<Command>, Options)> {
    let arguments = Placeholders::new(arguments)?;
    let before = read(&arguments.texts, None, &arguments).map_err(|fail| explain(&fail, None))?;
    let Some((name, rest)) = before.free.split_first() else {
        return Ok((None, Options { given: before.given, ..Options::default() }));
    };
    let name = arguments.restore(name);
    let synonym = Synonym::find(&name);
    let command = match synonym {
        Some(synonym) if synonym.name == table::COPY => copying(rest, &arguments).built()?,
        _ => Command::find(&name)?,
    };
    let is_taken = |given: &&GivenOption| command.rows().any(|row| row.long == given.long);
    if let Some(GivenOption { long, .. }) = before.given.iter().find(|given| !is_taken(given)) {
        return Err(Failure::usage(format!("{} does not accept --{long}", command.name())));
    }
    let after =
        read(rest, Some(command), &arguments).map_err(|fail| explain(&fail, Some(command)))?;
    let operand = synonym.and_then(|synonym| synonym.operand).map(OsString::from);
    let typed = after.free.iter().map(|text| arguments.restore(text));
    let operands = operand.into_iter().chain(typed).collect();
    let implied = synonym.map_or(&[][..], |synonym| synonym.implies).iter();
    let implied = implied.map(|(long, value)| GivenOption {
        long,
        value: value.map(Into::into),
        origin: None,
    });
    // Typed options come last, and so win.
    let given: Vec<_> = implied.chain(before.given).chain(after.given).collect();
    let is_empty = |given: &&GivenOption| {
        let is_path = |row: &Row| row.long == given.long && row.value.is_path();
        given.value.as_ref().is_some_and(|value| value.is_empty()) && command.rows().any(is_path)
    };
    if let Some(GivenOption { long, .. }) = given.iter().find(is_empty) {
        return Err(Failure::usage(format!("--{long}: the path is empty")));
    }
    let synonym = synonym.map(|synonym| synonym.name);
    let begun = Some(Instant::now());
    let options = Options {
        given,
        operands,
        synonym,
        #[cfg(feature = "client")]
        configured: None,
        begun,
    };
    Ok((Some(command), options))
}

/// Returns the command that `cp` stands for: it uploads to a URL, downloads from one, or copies
/// from one to another.
fn copying(rest: &[String], arguments: &Placeholders) -> Command {
    // An option of the same name takes a value in all these commands or in none.
    let candidates = [Command::Get, Command::Put, Command::Fxp];
    let read = candidates.iter().find_map(|command| read(rest, Some(*command), arguments).ok());
    let free = read.map(|stage| stage.free).unwrap_or_default();
    let names_url = |text: &String| is_remote(&arguments.restore(text));
    match free.split_last() {
        Some((last, others)) if names_url(last) && others.iter().any(names_url) => Command::Fxp,
        Some((last, [_, ..])) if names_url(last) => Command::Put,
        _ => Command::Get,
    }
}

/// Result of getopts for the arguments before or after the command.
struct ReadArguments {
    /// The options, in the order of the arguments.
    given: Vec<GivenOption>,
    /// Arguments that are not options.
    free: Vec<String>,
}

/// Parses the options and operands of `command`, or, if it is `None`, the options before the
/// command.
fn read(
    texts: &[String],
    command: Option<Command>,
    stand_ins: &Placeholders,
) -> Result<ReadArguments, Fail> {
    let style = match command {
        None => ParsingStyle::StopAtFirstFree,
        Some(_) => ParsingStyle::FloatingFrees,
    };
    let is_option = |text: &String| text.starts_with('-');
    let has_options = match style {
        ParsingStyle::StopAtFirstFree => texts.first().is_some_and(is_option),
        ParsingStyle::FloatingFrees => texts.iter().any(is_option),
    };
    // Registering all options with getopts takes time, so it is done only if there are options.
    if !has_options {
        return Ok(ReadArguments { given: Vec::new(), free: texts.to_vec() });
    }
    let rows: Vec<&Row> = match command {
        None => global_rows().collect(),
        Some(command) => command.rows().collect(),
    };
    let mut parser = getopts::Options::new();
    parser.parsing_style(style);
    for row in &rows {
        let argument = match row.value {
            Value::No => HasArg::No,
            Value::Needed(_) | Value::OneOf(..) => HasArg::Yes,
            Value::WithEqualSign(_) => HasArg::Maybe,
        };
        let short = row.short.map_or_else(String::new, String::from);
        // The text of `help` comes from the table, not from getopts.
        parser.opt(&short, row.long, "", "", argument, Occur::Multi);
    }
    let matches = parser.parse(spread(texts, &rows, command))?;
    let mut placed = Vec::new();
    for row in rows {
        for place in matches.opt_positions(row.long) {
            let values = matches.opt_strs_pos(row.long);
            let value = values.iter().find(|(other, _)| *other == place);
            let value = value.map(|(_, text)| stand_ins.restore(text));
            placed.push((place, GivenOption { long: row.long, value, origin: None }));
        }
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    let given = placed.into_iter().map(|(_, given)| given).collect();
    Ok(ReadArguments { given, free: matches.free })
}

impl Options {
    /// Returns each time that an option was given, in order.
    fn of(&self, long: &str) -> impl DoubleEndedIterator<Item = &GivenOption> {
        // Otherwise, a misspelt name would be an option that is never given.
        debug_assert!(TABLE.iter().any(|row| row.long == long), "no option is called {long}");
        self.given.iter().filter(move |given| given.long == long)
    }

    /// Returns whether an option was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.last(long).is_some()
    }

    /// Puts options before the others, as if they were typed first.
    pub(crate) fn precede_by(&mut self, mut given: Vec<GivenOption>) {
        given.append(&mut self.given);
        self.given = given;
    }

    /// Returns which of several options was typed last; those in the configuration file do not
    /// count.
    pub(crate) fn last_typed(&self, longs: &[&str]) -> Option<&'static str> {
        let typed = self.given.iter().filter(|given| given.origin.is_none());
        typed.rev().find(|given| longs.contains(&given.long)).map(|given| given.long)
    }

    /// Returns an option as messages show it, with its place if it is from the configuration file.
    pub(crate) fn shown(&self, long: &str) -> String {
        self.last(long).map_or_else(|| format!("--{long}"), GivenOption::shown)
    }

    fn last(&self, long: &str) -> Option<&GivenOption> {
        self.of(long).next_back()
    }

    /// Returns the last typed value of an option. Values in the configuration file do not count.
    pub(crate) fn typed(&self, long: &str) -> Option<&OsStr> {
        let typed = self.of(long).filter(|given| given.origin.is_none());
        typed.filter_map(|given| given.value.as_deref()).next_back()
    }

    /// Returns which of several exclusive options was given last.
    pub(crate) fn last_of(&self, longs: &[&str]) -> Option<&'static str> {
        let last = self.given.iter().rev().find(|given| longs.contains(&given.long));
        last.map(|given| given.long)
    }

    /// Returns the synonym by which the command was called, if any.
    pub(crate) const fn synonym(&self) -> Option<&'static str> {
        self.synonym
    }

    /// Returns the names of all given options, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|given| given.long)
    }

    /// Returns whether to print only errors.
    pub(crate) fn is_quiet(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("quiet")
    }

    /// Returns whether to print more than usual.
    pub(crate) fn is_verbose(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("verbose")
    }

    /// Returns the values of an option, in order.
    pub(crate) fn all(&self, long: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.of(long).filter_map(|given| given.value.as_deref())
    }

    /// Returns the values of several options, each with the name of its option, in order.
    pub(crate) fn in_order(&self, longs: &[&str]) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let given = self.given.iter().filter(move |given| longs.contains(&given.long));
        given.filter_map(|given| Some((given.long, given.value.as_deref()?)))
    }

    /// Returns the last value of an option.
    pub(crate) fn value(&self, long: &str) -> Option<&OsStr> {
        self.all(long).next_back()
    }

    /// Returns the last value of an option, parsed by `parse`, which returns a message if the value
    /// is invalid.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the value is not UTF-8 or `parse` rejects it; the message begins with the
    /// name of the option.
    pub(crate) fn parsed<T>(
        &self,
        long: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        self.last(long).map_or(Ok(None), |given| given.parsed(parse))
    }

    /// Returns all values of an option, parsed as by [`parsed`](Self::parsed).
    ///
    /// # Errors
    ///
    /// As [`parsed`](Self::parsed).
    pub(crate) fn all_parsed<T>(
        &self,
        long: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>> {
        self.of(long).filter_map(|given| given.parsed(&parse).transpose()).collect()
    }

    /// Returns whether a typed option excludes this one.
    fn type_excludes(&self, command: Command, long: &str) -> bool {
        let mut typed = self.given.iter().filter(|given| given.origin.is_none());
        typed.any(|given| exclude(command, given.long, long))
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if two options exclude each other, or if an option has no effect without
    /// another one. In the configuration file, an option may have no effect.
    pub(crate) fn relate(&self, command: Command) -> Result {
        let apply = |it: &&Exclusion| it.commands.contains(&command) && self.has(it.option);
        for Exclusion { option, others, hint, .. } in EXCLUSIONS.iter().filter(apply) {
            if let Some(other) = others.iter().find(|other| self.has(other)) {
                let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
                let [option, other] = [option, *other].map(|long| self.shown(long));
                let message = format!("{option} and {other} exclude each other{hint}");
                return Err(Failure::usage(message));
            }
        }
        // The word after such an option can be an operand, if the user takes it for one without a value.
        for given in self.given.iter().filter(|given| given.origin.is_none()) {
            let row = command.rows().find(|row| row.long == given.long);
            if let Some(Value::OneOf(_, words)) = row.map(|row| row.value) {
                let known: Vec<_> = words.split('|').map(|word| (word, ())).collect();
                given.parsed(|text| values::word(text, &known))?;
            }
        }
        for (_, options, needed) in NEEDS.iter().filter(|(of, ..)| of.contains(&command)) {
            if let Some(option) = self.last_typed(options)
                && !self.has(needed)
            {
                return Err(Failure::usage(format!("--{option} needs --{needed}")));
            }
        }
        Ok(())
    }

    /// Returns the end of the time that `--timeout` allows for the whole run.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value.
    pub(crate) fn end(&self) -> Result<Option<Instant>> {
        let limit = self.parsed("timeout", values::waiting_time)?;
        Ok(limit.map(|limit| self.begun.unwrap_or_else(Instant::now) + limit))
    }

    /// Returns the last value of an option whose value is optional: `None` if the option was not
    /// given, `Some(None)` if it has no value.
    pub(crate) fn optional(&self, long: &str) -> Option<Option<&OsStr>> {
        self.last(long).map(|given| given.value.as_deref())
    }
}

/// Arguments as text. No argument can contain NUL, so a placeholder is NUL and a number.
struct Placeholders {
    texts: Vec<String>,
    originals: Vec<OsString>,
}

impl Placeholders {
    /// Reads the arguments, and inserts placeholders where needed.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an option whose name is not UTF-8, and for a short option whose value
    /// is in the same argument and is not UTF-8.
    fn new(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut this = Self { texts: Vec::new(), originals: Vec::new() };
        let mut only_operands = false;
        for argument in arguments {
            let text = match argument.into_string() {
                Ok(text) => text,
                Err(argument) => this.stand_in(argument, only_operands)?,
            };
            only_operands |= text == "--";
            this.texts.push(text);
        }
        Ok(this)
    }

    fn stand_in(&mut self, argument: OsString, only_operands: bool) -> Result<String> {
        let bytes = argument.as_bytes();
        let (prefix, original) = if only_operands || !bytes.starts_with(b"-") {
            (String::new(), argument)
        } else {
            // `--name=value`: the value can be anything.
            let at = bytes.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
            let (name, value) = bytes.split_at_checked(at).unwrap_or((b"", bytes));
            match std::str::from_utf8(name) {
                Ok(name) if name.starts_with("--") => {
                    (name.to_owned(), OsString::from_vec(value.to_vec()))
                }
                _ => {
                    let shown = argument.to_string_lossy();
                    return Err(Failure::usage(format!(
                        "unknown option \"{shown}\"; use -- before a file of this name"
                    )));
                }
            }
        };
        self.originals.push(original);
        Ok(format!("{prefix}\0{}", self.originals.len() - 1))
    }

    /// Returns the argument, or part of one, that `text` represents.
    fn restore(&self, text: &str) -> OsString {
        let number = text.strip_prefix('\0').and_then(|number| number.parse::<usize>().ok());
        let original = number.and_then(|number| self.originals.get(number));
        original.cloned().unwrap_or_else(|| text.into())
    }
}

/// Returns the arguments with one short option each; a value stays with its option. Without a
/// command, the first operand ends the options.
fn spread(texts: &[String], rows: &[&Row], command: Option<Command>) -> Vec<String> {
    let mut spread = Vec::with_capacity(texts.len());
    let mut texts = texts.iter();
    let is_of_wget = |text: &str| {
        command == Some(Command::Get)
            && text.strip_prefix('-').is_some_and(|name| OF_WGET.contains(&name))
    };
    while let Some(text) = texts.next() {
        if is_of_wget(text) {
            // getopts reports it as one unknown option.
            spread.push(format!("-{text}"));
            continue;
        }
        let is_operand = !text.starts_with('-') || text == "-";
        let takes_next = match text.strip_prefix('-') {
            Some(cluster) if !is_operand && !cluster.starts_with('-') => {
                take_apart(cluster, rows, command, &mut spread)
            }
            _ => {
                let text = respelled(text, command);
                spread.push(text.clone());
                if text == "--" || is_operand && command.is_none() {
                    break;
                }
                let is_this = |row: &&&Row| text.strip_prefix("--") == Some(row.long);
                rows.iter().find(is_this).is_some_and(|row| row.value.is_needed())
            }
        };
        if takes_next {
            spread.extend(texts.next().cloned());
        }
    }
    spread.extend(texts.cloned());
    spread
}

/// Replaces a synonym of a long option with the option's name in the table.
fn respelled(text: &str, command: Option<Command>) -> String {
    let Some(option) = text.strip_prefix("--") else { return text.to_owned() };
    let name = option.split('=').next().unwrap_or_default();
    match table::meant(name, command) {
        Some(long) => format!("--{long}{}", option.get(name.len()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Splits `vq` into `-v`, `-q`, and returns whether the next argument is the value of the last
/// option. If an option takes a value, the rest of `cluster` is that value; getopts rejects the
/// rest after an unknown option.
fn take_apart(
    cluster: &str,
    rows: &[&Row],
    command: Option<Command>,
    spread: &mut Vec<String>,
) -> bool {
    let mut rest = cluster.chars();
    loop {
        let option = rest.as_str();
        let Some(name) = rest.next() else { return false };
        let meant = table::meant(name.encode_utf8(&mut [0; 4]), command);
        let is_it = |row: &&&Row| row.short == Some(name) || meant == Some(row.long);
        let row = rows.iter().find(is_it);
        if let Some(row) = row.filter(|_| meant.is_some()) {
            // A synonym of one letter always stands for an option without a value.
            spread.push(format!("--{}", row.long));
        } else if row.is_some_and(|row| row.value == Value::No) {
            spread.push(format!("-{name}"));
        } else {
            spread.push(format!("-{option}"));
            return rest.as_str().is_empty() && row.is_some_and(|row| row.value.is_needed());
        }
    }
}

impl Command {
    /// Returns the command, if this build has it.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the build has no such command.
    pub(crate) fn built(self) -> Result<Self> {
        if self.is_built() {
            return Ok(self);
        }
        let message = format!("{}: this build has {HALVES}", self.name());
        Err(Failure::new(Exit::Unsupported, message))
    }

    /// Returns the command with this name or synonym.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if no command has this name; the message suggests a similar name, if there
    /// is one. Returns `Unsupported` if this build lacks the command.
    pub(crate) fn find(name: &OsStr) -> Result<Self> {
        let bytes = name.as_bytes();
        let name = name.to_string_lossy();
        if let Some(command) = Self::OF_ALL_BUILDS.iter().find(|command| command.name() == name) {
            return command.built();
        }
        if let Some(synonym) = Synonym::find(name.as_ref().as_ref()) {
            return synonym.command.built();
        }
        if let Some(failure) = lacking(bytes) {
            return Err(failure);
        }
        // Names are short, so a word that differs by more than a typing error is unrelated.
        let most = (name.chars().count() / 4).max(1);
        let near = || {
            let near = values::nearest(&name, Self::ALL.iter().map(|command| command.name()));
            near.filter(|near| strsim::osa_distance(&name, near) <= most)
        };
        let hint = match (own_line(&name), own_name(&name).or_else(near)) {
            (Some(line), _) => line.to_owned(),
            (None, None) if is_host(&name) => format!("use: ftp-cli batch ftp://{name}/"),
            (None, Some(near)) => format!("did you mean \"{near}\"?"),
            (None, None) => "ftp-cli help lists the commands".to_owned(),
        };
        Err(Failure::usage(format!("unknown command \"{name}\"; {hint}")))
    }
}

/// What this build has.
const HALVES: &str = match (cfg!(feature = "client"), cfg!(feature = "server")) {
    (true, false) => "only the client",
    (false, true) => "only the server",
    _ => "both client and server",
};

/// Returns whether a word in place of a command is the name or address of a host, as ftp and lftp
/// take it.
fn is_host(name: &str) -> bool {
    name.contains('.')
        && !name.contains('/')
        && FtpUrl::parse(&with_scheme(name.as_bytes())).is_ok()
}

/// Returns the command of this program that corresponds to a command of another client.
fn own_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "download" | "get1" | "curl" | "wget" | "copyto" | "copyurl" | "recv" | "ncftpget" => "get",
        "copy" | "bisync" | "rsync" => "mirror",
        "dele" | "delete" | "deletefile" | "erase" | "mdelete" | "mrm" => "rm",
        "list" | "nlist" | "cls" | "rels" | "lsd" | "lsf" | "ncftpls" => "ls",
        "upload" | "send" | "reput" | "rcat" | "ncftpput" => "put",
        "rename" | "mmv" => "mv",
        "move" | "moveto" => "mv, or mirror --remove-source",
        "more" | "less" | "zcat" => "cat",
        "size" => "stat",
        "site" | "quot" | "literal" => "quote",
        "test" => "doctor",
        _ => return None,
    })
}

/// Returns what to type for a command of another client that needs an option here, or why there is
/// no such command.
fn own_line(name: &str) -> Option<&'static str> {
    Some(match name {
        "open" | "connect" | "cd" | "lcd" | "ftp" | "lftp" | "ncftp" => "use: ftp-cli batch URL",
        "append" => "use: ftp-cli put --append LOCAL URL",
        "check" => "use: ftp-cli mirror --dry-run SRC DST",
        "md5sum" | "sha1sum" | "hashsum" => "use: ftp-cli stat --hash URL",
        "touch" => "put --preserve keeps the time of the local file",
        "pget" => "use: ftp-cli get --segments N URL",
        "reget" => "use: ftp-cli get --continue URL",
        "purge" => "use: ftp-cli rm -r URL",
        "lsl" => "use: ftp-cli ls -lR URL",
        "lsjson" => "use: ftp-cli ls --json URL",
        "find" => "use: ftp-cli ls -R URL",
        "mount" => "ftp-cli cannot mount a server",
        "config" => "a URL needs no configuration",
        _ => return None,
    })
}

/// Returns the failure for a URL in place of a command, or for another argument that may hold a
/// password. The message does not show the password.
fn lacking(argument: &[u8]) -> Option<Failure> {
    let lists = "ftp-cli help lists the commands";
    if is_url(argument) {
        return Some(Failure::usage(match FtpUrl::parse(argument) {
            Ok(url) => {
                format!("missing command before the URL; to download it, use ftp-cli get {url}")
            }
            Err(_) => format!("missing command before the URL; {lists}"),
        }));
    }
    let message = format!("unknown command (not shown: it may hold a password); {lists}");
    may_hold_password(argument).then(|| Failure::usage(message))
}

/// Parses the value of an option that takes a number.
///
/// # Errors
///
/// Returns a message if it is not a number, or too large.
pub(crate) fn whole_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("invalid number \"{text}\": expected a whole number"))
}

/// Parses an operand that names a remote object.
///
/// # Errors
///
/// Returns `Usage` if it is not a URL.
pub(crate) fn parse_url(operand: &OsStr) -> Result<FtpUrl> {
    let bytes = operand.as_bytes();
    if has_drive(bytes) {
        let operand = operand.to_string_lossy();
        return Err(Failure::usage(format!("{operand}: a local path; expected ftp://HOST/PATH")));
    }
    if !is_url(bytes) && (may_hold_password(bytes) || lacks_slash(bytes)) {
        return Err(Failure::usage(
            "not an FTP URL (not shown: it may hold a password); write ftp://USER@HOST/PATH, with \
             %40 for an @ in PATH, and use --password-file",
        ));
    }
    if let Some((head, rest)) = split_at_colon(bytes)
        && has_scheme(head)
        && rest.starts_with(b"\\")
    {
        let message = "not an FTP URL: a URL has / instead of \\: write ftp://HOST/PATH";
        return Err(Failure::usage(message));
    }
    if QUOTES.iter().any(|quote| bytes.starts_with(quote)) {
        return Err(Failure::usage("not an FTP URL: remove the quotation marks around it"));
    }
    FtpUrl::parse(bytes).map_err(|error| {
        if let Some(name) = bookmark(bytes) {
            return Failure::usage(format!(
                "@{}: no such bookmark in the configuration file; expected ftp://HOST/PATH",
                Escaped(name)
            ));
        }
        // Messages omit an operand with a colon or an `@`, which may contain a password.
        let form = "ftp://[user@]host[:port]/path or [user@]host:path";
        if operand.as_bytes().get(error.at) == Some(&b'#') {
            return Failure::usage("not an FTP URL: # begins a fragment; write %23 in a name");
        }
        if !bytes.contains(&b':')
            && !bytes.contains(&b'@')
            && FtpUrl::parse(&with_scheme(bytes)).is_ok()
        {
            let operand = Escaped(bytes);
            let message = format!("\"{operand}\": missing scheme; did you mean ftp://{operand}?");
            return Failure::usage(message);
        }
        if let Some(why) = of_other_protocol(bytes) {
            return Failure::usage(format!("not an FTP URL: {why}"));
        }
        let (before, after) = bytes.split_at_checked(error.at).unwrap_or_default();
        if (before.is_empty() || before.ends_with(b"//")) && matches!(after, [b':' | b'@', ..]) {
            let message = "the user before @ is empty; write ftp://USER@HOST/PATH, or omit the @ \
                           for an anonymous login";
            return Failure::new(Exit::Login, message);
        }
        let reason = reason(bytes, error);
        Failure::usage(format!("not an FTP URL: {reason}; expected {form}"))
    })
}

/// Parses operands that name remote objects, and checks each of them. `needs` is the message if there
/// are no operands.
///
/// # Errors
///
/// Returns `Usage` if there are none, or one is not a URL, and the errors of `check`.
pub(crate) fn parse_urls(
    operands: &[OsString],
    needs: &str,
    check: impl Fn(&FtpUrl) -> Result,
) -> Result<Vec<FtpUrl>> {
    if operands.is_empty() {
        return Err(Failure::usage(needs));
    }
    let checked = |operand: &OsString| parse_url(operand).and_then(|url| check(&url).map(|()| url));
    operands.iter().map(checked).collect()
}

/// Quotation marks, which texts and terminals put around what is copied from them.
const QUOTES: [&[u8]; 4] = [b"'", b"\"", "\u{201c}".as_bytes(), "\u{2018}".as_bytes()];

/// Returns what to use for a URL of another protocol.
fn of_other_protocol(operand: &[u8]) -> Option<String> {
    let (scheme, _) = split_at_colon(operand).filter(|(_, rest)| rest.starts_with(b"//"))?;
    let is = |names: &[&str]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(scheme));
    if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return None;
    }
    let shown = Escaped(scheme);
    Some(if is(&["sftp", "scp", "ssh"]) {
        format!("{shown} is SSH, not FTP; use sftp or scp, or ftpes:// if the server offers FTP")
    } else if is(&["http", "https"]) {
        format!("{shown} is not FTP; use curl, or ftp:// if the server offers FTP")
    } else {
        format!("unknown scheme \"{shown}\"; expected ftp, ftpes (TLS) or ftps (implicit TLS)")
    })
}

/// Returns a hint about an operand that is valid, but perhaps not what the user means. Ask only after
/// a failure.
pub(crate) fn meant_url(operand: &OsStr) -> Option<String> {
    let bytes = operand.as_bytes();
    if !is_remote(operand) {
        return None;
    }
    if !is_url(bytes) {
        let (host, path) = split_at_colon(bytes)?;
        let port = path.split(|byte| *byte == b'/').next()?;
        let is_port = std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
        let slash: &[u8] = if path == port { b"/" } else { b"" };
        let url = FtpUrl::parse(&[b"ftp://", host, b":", path, slash].concat()).ok()?;
        return is_port.then(|| format!("; did you mean {url}?"));
    }
    match bytes.last() {
        Some(last) if last.is_ascii_whitespace() => Some("; the URL ends in a blank".to_owned()),
        _ if bytes.contains(&b'\\') => {
            Some("; the URL has a backslash: directories are separated by /".to_owned())
        }
        _ => None,
    }
}

/// Returns the name in `@NAME` or `@NAME/PATH`.
fn bookmark(operand: &[u8]) -> Option<&[u8]> {
    let rest = operand.strip_prefix(b"@")?;
    let name = rest.split(|byte| *byte == b'/').next()?;
    (!name.is_empty() && !rest.contains(&b':') && !rest.contains(&b'@')).then_some(name)
}

/// Returns a message about an invalid URL.
fn reason(bytes: &[u8], error: ParseError) -> &'static str {
    match (error.kind, bytes.get(error.at)) {
        (ParseErrorKind::UnknownWord, _) => "unknown ;type",
        (ParseErrorKind::LineBreak, _) => "CR, LF and NUL are not allowed",
        (_, Some(b'%')) => "expected two hexadecimal digits after %",
        (ParseErrorKind::BadNumber, _) => "invalid port",
        (ParseErrorKind::UnexpectedEnd, Some(b'[')) => "missing ]",
        (ParseErrorKind::UnexpectedEnd, _) => "missing host or path",
        _ => "invalid host",
    }
}

fn with_scheme(operand: &[u8]) -> Vec<u8> {
    [b"ftp://", operand].concat()
}

/// Schemes of FTP URLs.
const SCHEMES: [&[u8]; 3] = [b"ftp", b"ftps", b"ftpes"];

/// Splits an argument at its first colon.
pub(crate) fn split_at_colon(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = argument.iter().position(|byte| *byte == b':')?;
    Some((argument.get(..colon)?, argument.get(colon + 1..)?))
}

/// Returns whether `head` is an FTP scheme.
fn has_scheme(head: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(head))
}

/// Returns whether an argument starts like an FTP URL.
pub(crate) fn is_url(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| has_scheme(head) && rest.starts_with(b"//"))
}

/// Returns whether an operand is remote: it has a scheme, or a colon before any separator of local
/// paths. On Windows, a colon can also follow the letter of a local drive.
pub(crate) fn is_remote(operand: &OsStr) -> bool {
    let bytes = operand.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':');
    let slash = bytes.iter().position(|byte| is_separator(char::from(*byte)));
    colon.is_some_and(|colon| slash.is_none_or(|slash| colon < slash)) && !has_drive(bytes)
}

/// Returns whether an argument is an FTP URL with a missing slash.
fn lacks_slash(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| {
        has_scheme(head) && rest.starts_with(b"/") && !rest.starts_with(b"//")
    })
}

/// Returns whether messages must not show an argument, because it may contain a password, as in
/// `user:password@host`.
pub(crate) fn may_hold_password(argument: &[u8]) -> bool {
    !has_drive(argument) && split_at_colon(argument).is_some_and(|(_, rest)| rest.contains(&b'@'))
}

#[cfg(test)]
mod tests;
