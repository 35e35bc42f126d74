//! Parses options and operands with getopts: global options, a command, its options and operands.
//!
//! One [`TABLE`] feeds getopts, `--help`, the man page and completions. If an option is repeated,
//! the last one wins; `--` ends the options. File names need not be UTF-8. Because getopts accepts
//! only UTF-8, it gets a placeholder for each argument that is not UTF-8.

mod clusters;
mod command;
mod control_entries;
mod entries;
mod find;
mod foreign;
mod hints;
mod placeholders;
mod synonyms;
mod table;
pub(crate) mod urls;
pub(crate) mod values;

pub(crate) use command::{Command, Entry, Operand};
pub(crate) use entries::{MAN_PAGES, SHELLS};
pub(crate) use synonyms::{SYNONYMS, Synonym};
pub(crate) use table::{Completes, Group, Row, TABLE, Value, global_rows};

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Instant;

use getopts::{Fail, HasArg, Occur, ParsingStyle};

use crate::config_file::Applied;
use crate::exit::Failure;
use hints::explain;
use placeholders::Placeholders;

/// The given options in order, and the operands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    given: Vec<GivenOption>,
    pub(crate) operands: Vec<OsString>,
    /// The synonym by which the command was called, if any.
    synonym: Option<&'static str>,
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
) -> Result<(Option<Command>, Options), Failure> {
    let arguments = Placeholders::new(arguments)?;
    let before = read(&arguments.texts, None, &arguments).map_err(|fail| explain(&fail, None))?;
    let Some((name, rest)) = before.free.split_first() else {
        return Ok((None, Options { given: before.given, ..Options::default() }));
    };
    let name = arguments.restore(name);
    let synonym = Synonym::find(&name);
    let command = match synonym {
        Some(synonym) if synonym.name == synonyms::COPY => copying(rest, &arguments),
        _ => Command::find(&name)?,
    };
    let is_taken = |given: &&GivenOption| command.rows().any(|row| row.long == given.long);
    if let Some(GivenOption { long, .. }) = before.given.iter().find(|given| !is_taken(given)) {
        return Err(Failure::usage(format!("{} does not accept --{long}", command.name())));
    }
    let after =
        read(rest, Some(command), &arguments).map_err(|fail| explain(&fail, Some(command)))?;
    let operands = after.free.iter().map(|text| arguments.restore(text)).collect();
    let implied = synonym.map_or(&[][..], |synonym| synonym.implies).iter();
    let implied = implied.map(|(long, value)| GivenOption {
        long,
        value: value.map(Into::into),
        origin: None,
    });
    // Typed options come last, and so win.
    let given = implied.chain(before.given).chain(after.given).collect();
    let synonym = synonym.map(|synonym| synonym.name);
    let begun = Some(Instant::now());
    Ok((Some(command), Options { given, operands, synonym, configured: None, begun }))
}

/// Returns the command that `cp` stands for: it uploads to a URL, downloads from one, or copies
/// from one to another.
fn copying(rest: &[String], arguments: &Placeholders) -> Command {
    // An option of the same name takes a value in all these commands or in none.
    let candidates = [Command::Get, Command::Put, Command::Fxp];
    let read = candidates.iter().find_map(|command| read(rest, Some(*command), arguments).ok());
    let free = read.map(|stage| stage.free).unwrap_or_default();
    let is_remote = |text: &String| urls::is_remote(&arguments.restore(text));
    match free.split_last() {
        Some((last, others)) if is_remote(last) && others.iter().any(is_remote) => Command::Fxp,
        Some((last, [_, ..])) if is_remote(last) => Command::Put,
        _ => Command::Get,
    }
}

/// Result of getopts for the arguments before or after the command.
struct Stage {
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
) -> Result<Stage, Fail> {
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
        return Ok(Stage { given: Vec::new(), free: texts.to_vec() });
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
    let matches = parser.parse(clusters::spread(texts, &rows, command))?;
    let mut placed = Vec::new();
    for row in rows {
        for place in matches.opt_positions(row.long) {
            let values = matches.opt_strs_pos(row.long);
            let value = values.iter().find(|(other, _)| *other == place);
            let value = value.map(|(_, text)| stand_ins.restore(text));
            placed.push((place, GivenOption { long: row.long, value, origin: None }));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    let given = placed.into_iter().map(|(_, given)| given).collect();
    Ok(Stage { given, free: matches.free })
}

impl Options {
    /// Returns whether an option was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.given.iter().any(|given| given.long == long)
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
        let given = self.given.iter().rev().find(|given| given.long == long);
        given.map_or_else(|| format!("--{long}"), GivenOption::shown)
    }

    /// Returns the last typed value of an option. Values in the configuration file do not count.
    pub(crate) fn typed(&self, long: &str) -> Option<&OsStr> {
        let typed = self.given.iter().filter(|given| given.origin.is_none() && given.long == long);
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
        let given = self.given.iter().filter(move |given| given.long == long);
        given.filter_map(|given| given.value.as_deref())
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
    ) -> Result<Option<T>, Failure> {
        let given = self.given.iter().rev().find(|given| given.long == long);
        let Some((given, value)) = given.and_then(|given| Some((given, given.value.as_ref()?)))
        else {
            return Ok(None);
        };
        let name = given.shown();
        let Some(text) = value.to_str() else {
            return Err(Failure::usage(format!("{name}: invalid value: expected UTF-8")));
        };
        parse(text).map(Some).map_err(|wrong| Failure::usage(format!("{name}: {wrong}")))
    }

    /// Returns the end of the time that `--timeout` allows for the whole run.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value.
    pub(crate) fn end(&self) -> Result<Option<Instant>, Failure> {
        let limit = self.parsed("timeout", values::waiting_time)?;
        Ok(limit.map(|limit| self.begun.unwrap_or_else(Instant::now) + limit))
    }

    /// Returns the last value of an option whose value is optional: `None` if the option was not
    /// given, `Some(None)` if it has no value.
    pub(crate) fn optional(&self, long: &str) -> Option<Option<&OsStr>> {
        let last = self.given.iter().rev().find(|given| given.long == long);
        last.map(|given| given.value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    use crate::exit::Exit;

    fn parse_texts(line: &str) -> Result<(Option<Command>, Options), Failure> {
        parse(line.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn the_option_table_is_consistent() {
        for row in TABLE {
            assert!(row.long.len() > 1, "{}", row.long);
            assert!(!row.help.is_empty() && !row.commands.is_empty(), "{}", row.long);
            // Before the command is known, an option may be that of any command.
            let before = |row: &Row| row.group.is_global();
            for other in TABLE.iter().filter(|other| other.long == row.long) {
                let sorts = (row.value == Value::No, other.value == Value::No);
                assert_eq!(sorts.0, sorts.1, "{} both with and without a value", row.long);
                // An option can have its letter with some commands only, but then not before the
                // command.
                let is_one = row.short.zip(other.short).is_none_or(|(one, other)| one == other);
                assert!(is_one || !before(row) || !before(other), "{}", row.long);
            }
            for other in TABLE.iter().filter(|other| before(row) && before(other)) {
                let clash = row.short.is_some() && row.short == other.short;
                assert!(!clash || row.long == other.long, "-{:?} before the command", row.short);
            }
        }
        for command in Command::ALL {
            let mut names: Vec<String> = Vec::new();
            for row in command.rows() {
                for name in row.short.map(String::from).into_iter().chain([row.long.to_owned()]) {
                    assert!(!names.contains(&name), "{} has {name} twice", command.name());
                    names.push(name);
                }
            }
        }
    }

    #[test]
    fn options_are_parsed_before_and_after_the_command() {
        let line = "-q --user=a get --user b -u c URL -bvc --trace --trace=F - -- --x -y";
        let (command, options) = parse_texts(line).unwrap();
        assert_eq!(command, Some(Command::Get));
        assert_eq!(options.operands, ["URL", "-", "--x", "-y"]);
        assert_eq!(options.value("user"), Some(OsStr::new("c")));
        assert!(options.all("user").eq(["a", "b", "c"]));
        assert!(options.has("quiet") && options.has("verbose") && options.has("continue"));
        assert!(options.is_verbose() && !options.is_quiet());
        assert!(!options.has("ascii"));
        assert_eq!(options.optional("trace"), Some(Some(OsStr::new("F"))));
    }

    #[test]
    fn the_last_of_conflicting_options_wins() {
        for (line, want) in [
            ("get -a -b", Some("binary")),
            ("get -b --ascii", Some("ascii")),
            ("get -a --binary -a", Some("ascii")),
            ("get -ba", Some("ascii")),
            ("get -ab", Some("binary")),
            ("get", None),
        ] {
            assert_eq!(parse_texts(line).unwrap().1.last_of(&["ascii", "binary"]), want, "{line}");
        }
        let (_, options) =
            parse_texts("--progress=never --trace=F get --progress x --trace").unwrap();
        assert_eq!(options.value("progress"), Some(OsStr::new("x")));
        assert_eq!(options.optional("trace"), Some(None));
    }

    #[test]
    fn synonyms_expand_to_commands_with_options() {
        for (line, want) in [
            ("cat ftp://h/x", Command::Get),
            ("del ftp://h/x", Command::Rm),
            ("dir ftp://h/", Command::Ls),
            ("sync a ftp://h/", Command::Mirror),
            ("cp ftp://h/x", Command::Get),
            ("cp ftp://h/x -j 4 y", Command::Get),
            ("cp x -j 4 ftp://h/", Command::Put),
            ("cp --append x h:y", Command::Put),
            ("cp -r ftp://h/x ftp://g/y", Command::Fxp),
            ("cp h:x g:y", Command::Fxp),
            ("cp", Command::Get),
        ] {
            assert_eq!(parse_texts(line).unwrap().0, Some(want), "{line}");
        }
        let (_, cat) = parse_texts("cat ftp://h/x").unwrap();
        assert_eq!((cat.value("output"), cat.synonym()), (Some(OsStr::new("-")), Some("cat")));
        let (_, cat) = parse_texts("cat -o file ftp://h/x").unwrap();
        assert_eq!(cat.value("output"), Some(OsStr::new("file")));
        assert!(parse_texts("dir ftp://h/").unwrap().1.has("long"));
        assert!(parse_texts("mget ftp://h/*").unwrap().1.has("glob"));
        assert_eq!(parse_texts("cp --frobnicate x").unwrap_err().exit, Exit::Usage);
        for line in ["rm -Rf x", "rm -fR x", "rm -R -f x", "rm -rf x"] {
            let (_, options) = parse_texts(line).unwrap();
            assert!(options.has("recursive") && options.has("force"), "{line}");
            assert_eq!(options.operands, ["x"]);
        }
        for line in ["mirror --parallel=4 x", "mirror --parallel 4 x", "mirror -j4 x"] {
            let (_, options) = parse_texts(line).unwrap();
            assert_eq!(options.value("jobs"), Some(OsStr::new("4")), "{line}");
            assert_eq!(options.operands, ["x"]);
        }
    }

    #[test]
    fn operands_and_values_that_are_not_utf_8_are_kept() {
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let arguments = [
            bytes(b"put"),
            bytes(b"a\xff"),
            bytes(b"--password-file=\xfe"),
            bytes(b"--password-file"),
            bytes(b"p\xfd"),
            bytes(b"--"),
            bytes(b"-\xfc"),
        ];
        let (_, options) = parse(arguments).unwrap();
        assert_eq!(options.operands, [bytes(b"a\xff"), bytes(b"-\xfc")]);
        assert!(options.all("password-file").eq([bytes(b"\xfe"), bytes(b"p\xfd")]));
        for refused in [&b"-u\xff"[..], b"--us\xff=x", b"-\xff"] {
            let failure = parse([bytes(b"get"), bytes(refused)]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
        }
    }

    #[test]
    fn wrong_options_are_refused_with_a_hint() {
        for (line, want) in [
            ("get --contineu x", "did you mean --continue?"),
            ("get --append x", "only put, batch accept it"),
            ("put -l", "only ls accepts it"),
            ("serve -a", "only get (--ascii), put (--ascii), ls (--all)"),
            ("-c get", "place it after the command: get, put, "),
            ("get --passiv", "did you mean --passive?"),
            ("--write serve", "place it after the command: serve"),
            ("--active serve", "serve does not accept --active"),
            ("serve --active", "only get, put, ls"),
            ("--pipeline put", "put does not accept --pipeline"),
            ("get -y", "unknown option -y; ftp-cli help get lists"),
            ("--zzzzzzzz", "ftp-cli --help lists"),
            ("get --user", "--user needs a value: NAME"),
            ("get -u", "-u needs a value: NAME"),
            ("get --quiet=1", "--quiet takes no value"),
            ("get --password=x", "use --password-file FILE"),
            ("get --pasword x", "use --password-file FILE"),
            ("gte x", "did you mean \"get\"?"),
            ("frobnicate", "ftp-cli help lists the commands"),
            ("get --mirror x", "use: ftp-cli mirror SRC DST"),
            ("get --interface x", "did you mean --bind?"),
            ("mirror --transfers=3", "did you mean --jobs?"),
            ("get -O f URL", "use: ftp-cli get -o FILE URL"),
            ("get --no-check-certificate x", "did you mean --insecure?"),
            ("get --verify", "needs a value: none, size, hash"),
            ("get -x socks5://h URL", "did you mean --proxy (curl)"),
            ("get --range 0-99 URL", "files are transferred whole"),
            ("mirror --only-newer a b", "mirror copies files whose time or size differs"),
            ("get --only-newer URL", "did you mean --newer?"),
            ("pget -n 4 URL", "use: ftp-cli get --segments N URL"),
            ("lsjson URL", "use: ftp-cli ls --json URL"),
            ("du URL", "use: ftp-cli ls -R --json URL"),
            ("dele x", "did you mean \"rm\"?"),
            ("rename x", "did you mean \"mv\"?"),
        ] {
            let failure = parse_texts(line).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{line}");
            assert!(failure.message.contains(want), "{line}: {}", failure.message);
        }
        assert!(!parse_texts("get --password=geheim").unwrap_err().message.contains("geheim"));
        assert_eq!(parse_texts("").unwrap().0, None);
        assert_eq!(parse_texts("--version").unwrap().0, None);
    }
}
