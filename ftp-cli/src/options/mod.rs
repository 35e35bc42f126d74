//! Parses options and operands with getopts: global options, a command, its options and operands.
//!
//! One [`TABLE`] feeds getopts, `--help`, the man page and completions. If an option is repeated,
//! the last one wins; `--` ends the options. File names need not be UTF-8, which getopts demands, so
//! it gets each byte of an argument as one character ([`to_text`]). Clusters of short options are
//! split first, because getopts does not report the order of options within one argument.

pub(crate) mod configured;
mod hints;
mod operands;
mod own_files;
mod table;

pub(crate) use ftp_proto::text::values;
pub(crate) use operands::{
    is_remote, is_url, may_hold_password, parse_url, parse_urls, split_at_colon,
};
pub(crate) use own_files::{NamedFiles, check_sources, own_files};
pub(crate) use table::{
    Command, CommandHelp, Completes, DIAGNOSES, ENVIRONMENT, Group, MAN_PAGES, PATTERNS, Row,
    SHELLS, Synonym, TABLE, URLS, USED_FILES, Value, all_rows, filled, global_rows, terms,
};

use std::ffi::{OsStr, OsString};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use getopts::{Fail, HasArg, Occur, ParsingStyle};

use crate::exit::{Exit, Failure, Result};
use crate::system::{OsStrExt, lacks_root};
use configured::Applied;
pub(crate) use hints::other_command;
use hints::{OF_WGET, explain};
use operands::{from_text, is_host, lacking, to_text};
use table::{EXCLUSIONS, NEEDS, exclude};

/// The given options in order, and the operands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    given: Vec<GivenOption>,
    pub(crate) operands: Vec<OsString>,
    /// The synonym by which the command was called, if any.
    pub(crate) synonym: Option<&'static str>,
    /// The configuration file, if its options are applied.
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
    let texts: Vec<_> = arguments.into_iter().map(|argument| to_text(&argument)).collect();
    let (before, words) = read(&texts, None).map_err(|fail| explain(&fail, None))?;
    let Some((name, rest)) = words.split_first() else {
        return Ok((None, Options { given: before, ..Options::default() }));
    };
    let name = from_text(name);
    let synonym = Synonym::find(&name);
    let command = match synonym {
        Some(synonym) if synonym.name == table::COPY => copying(rest).built()?,
        _ => Command::find(&name)?,
    };
    let is_taken = |given: &&GivenOption| command.rows().any(|row| row.long == given.long);
    if let Some(GivenOption { long, .. }) = before.iter().find(|given| !is_taken(given)) {
        return Err(Failure::usage(format!("{} does not accept --{long}", command.name())));
    }
    let (after, words) = read(rest, Some(command)).map_err(|fail| explain(&fail, Some(command)))?;
    // As -V of another program, it would end the run with 0 before anything is done.
    let mut given = before.iter().chain(&after);
    if given.any(|given| given.long == "version") && !words.is_empty() {
        return Err(Failure::usage("-V shows the version and takes no operands; did you mean -v?"));
    }
    let operand = synonym.and_then(|synonym| synonym.operand).map(OsString::from);
    let typed = words.iter().map(|text| from_text(text));
    let operands: Vec<_> = operand.into_iter().chain(typed).collect();
    let implied = synonym.map_or(&[][..], |synonym| synonym.implies).iter();
    let implied = implied.map(|(long, value)| GivenOption {
        long,
        value: value.map(Into::into),
        origin: None,
    });
    // Typed options come last, and so win.
    let given: Vec<_> = implied.chain(before).chain(after).collect();
    let is_path = |given: &&GivenOption| {
        command.rows().any(|row| row.long == given.long && row.value.is_path())
    };
    let paths = given.iter().filter(is_path);
    let paths = paths.filter_map(|given| Some((given.long, given.value.as_ref()?)));
    for (long, path) in paths.clone() {
        let why = match path.as_bytes() {
            b"" => "the path is empty",
            path if is_url(path) => "expected a path, not a URL",
            _ => continue,
        };
        return Err(Failure::usage(format!("--{long}: {why}")));
    }
    if paths.map(|(_, path)| path).chain(&operands).any(|path| lacks_root(path.as_bytes())) {
        // The rest can be a password.
        return Err(Failure::usage(
            "a path begins with a drive: write C:\\PATH, or PATH without C:",
        ));
    }
    let synonym = synonym.map(|synonym| synonym.name);
    let begun = Some(Instant::now());
    let options = Options { given, operands, synonym, configured: None, begun };
    Ok((Some(command), options))
}

/// Returns the command that `cp` stands for: it uploads to a URL, downloads from one, or copies
/// from one to another.
fn copying(rest: &[String]) -> Command {
    // An option of the same name takes a value in all these commands or in none.
    let candidates = [Command::Get, Command::Put, Command::Fxp];
    let read = candidates.iter().find_map(|command| read(rest, Some(*command)).ok());
    let free = read.map(|(_, free)| free).unwrap_or_default();
    let names_url = |text: &String| is_remote(&from_text(text));
    match free.split_last() {
        Some((last, others)) if names_url(last) && others.iter().any(names_url) => Command::Fxp,
        Some((last, [_, ..])) if names_url(last) => Command::Put,
        _ => Command::Get,
    }
}

/// The options, in the order of the arguments, and the arguments that are not options.
type ReadArguments = (Vec<GivenOption>, Vec<String>);

/// Parses the options and operands of `command`, or, if it is `None`, the options before the
/// command.
fn read(texts: &[String], command: Option<Command>) -> Result<ReadArguments, Fail> {
    let style = match command {
        None => ParsingStyle::StopAtFirstFree,
        Some(_) => ParsingStyle::FloatingFrees,
    };
    let is_option = |text: &String| text.starts_with('-');
    let has_options = match style {
        ParsingStyle::StopAtFirstFree => texts.first().is_some_and(is_option),
        ParsingStyle::FloatingFrees => texts.iter().any(is_option),
    };
    // To register all options with getopts takes a third of the processor time of a small `get`.
    if !has_options {
        return Ok((Vec::new(), texts.to_vec()));
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
            let value = value.map(|(_, text)| from_text(text));
            placed.push((place, GivenOption { long: row.long, value, origin: None }));
        }
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    let given = placed.into_iter().map(|(_, given)| given).collect();
    Ok((given, matches.free))
}

impl Options {
    /// Returns each time that an option was given, in order.
    fn of(&self, long: &str) -> impl DoubleEndedIterator<Item = &GivenOption> {
        // Otherwise, a misspelt name would be an option that is never given.
        debug_assert!(TABLE.iter().any(|row| row.long == long), "no option is called {long}");
        self.given.iter().filter(move |given| given.long == long)
    }

    pub(crate) fn has(&self, long: &str) -> bool {
        self.last(long).is_some()
    }

    /// Puts options before the others, as if they were typed first.
    pub(crate) fn precede_by(&mut self, given: Vec<GivenOption>) {
        self.given.splice(..0, given);
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

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|given| given.long)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("quiet")
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("verbose")
    }

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
        for (commands, option, others, hint) in EXCLUSIONS {
            if commands.contains(&command)
                && self.has(option)
                && let Some(other) = others.iter().find(|other| self.has(other))
            {
                let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
                let [option, other] = [option, *other].map(|long| self.shown(long));
                let message = format!("{option} and {other} exclude each other{hint}");
                return Err(Failure::usage(message));
            }
        }
        // The word after an option with fixed choices can be an operand, if the user takes the option for
        // one without a value. Checked here, before anything is done.
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
                take_apart(cluster, rows, &mut spread)
            }
            _ => {
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

/// Splits `vq` into `-v`, `-q`, and returns whether the next argument is the value of the last
/// option. If an option takes a value, the rest of `cluster` is that value; getopts rejects the
/// rest after an unknown option.
fn take_apart(cluster: &str, rows: &[&Row], spread: &mut Vec<String>) -> bool {
    let mut rest = cluster.chars();
    loop {
        let option = rest.as_str();
        let Some(name) = rest.next() else { return false };
        if !name.is_ascii() {
            // One character can be several bytes; getopts reports all of them as one unknown option.
            spread.push(format!("--{option}"));
            return false;
        }
        let row = rows.iter().find(|row| row.short == Some(name));
        if row.is_some_and(|row| row.value == Value::No) {
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
        let known = other_command(&name, None).or_else(|| near().map(str::to_owned));
        let hint = match known {
            Some(line) if line.contains(' ') => line,
            Some(near) => format!("did you mean \"{near}\"?"),
            None if is_host(&name) => format!("use: ftp-cli batch ftp://{name}/"),
            None => "ftp-cli help lists the commands".to_owned(),
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

/// Parses the value of an option that takes a number.
///
/// # Errors
///
/// Returns a message if it is not a number, or too large.
pub(crate) fn whole_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("invalid number \"{text}\": expected a whole number"))
}

#[cfg(test)]
mod tests;
