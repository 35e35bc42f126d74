//! Options and operands: global options, a command, its options and operands.
//!
//! One [`TABLE`] feeds the parser, `--help`, the man page and completions. Of an option that is
//! given twice the last counts; `--` ends options. Names of files need not be UTF-8.

mod command;
mod entries;
mod find;
mod foreign;
mod hints;
mod table;
pub(crate) mod urls;
pub(crate) mod values;

pub(crate) use command::{Command, Entry, Operand};
pub(crate) use entries::SHELLS;
pub(crate) use table::{Completes, Group, Row, TABLE, Value, global_rows};

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use crate::exit::Failure;
use hints::explain;

/// Options as they were given, in order, and operands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    given: Vec<GivenOption>,
    pub(crate) operands: Vec<OsString>,
}

/// An option as it was given.
#[derive(Clone, Debug)]
struct GivenOption {
    long: &'static str,
    value: Option<OsString>,
}

/// Reads all arguments. `None` for the command if there is none.
///
/// # Errors
///
/// Usage: an option that is unknown, that the command does not take, or that lacks its value.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Option<Command>, Options), Failure> {
    let mut options = Options::default();
    let mut parser = parser(arguments);
    let global = |name: &str| global_rows().find(|row| row.is_called(name));
    let word = options.read(&mut parser, global).map_err(|error| explain(&error, None))?;
    let Some(word) = word else { return Ok((None, options)) };
    let command = Command::find(&word)?;
    let is_taken = |given: &&GivenOption| command.rows().any(|row| row.long == given.long);
    if let Some(GivenOption { long, .. }) = options.given.iter().find(|given| !is_taken(given)) {
        return Err(Failure::usage(format!("{} takes no --{long}", command.name())));
    }
    let explain = |error| explain(&error, Some(command));
    let own = |name: &str| command.rows().find(|row| row.is_called(name));
    // A `--` before the command does not end the options after it.
    let mut parser = self::parser(parser.raw_args().map_err(explain)?);
    while let Some(operand) = options.read(&mut parser, own).map_err(explain)? {
        options.operands.push(operand);
    }
    Ok((Some(command), options))
}

fn parser(arguments: impl IntoIterator<Item = OsString>) -> Parser {
    let mut parser = Parser::from_args(arguments);
    // `-u=x` is the user `=x`, as in getopt.
    parser.set_short_equals(false);
    parser
}

impl Options {
    /// Reads options up to the next operand, and returns that.
    fn read(
        &mut self,
        parser: &mut Parser,
        find: impl Fn(&str) -> Option<&'static Row>,
    ) -> Result<Option<OsString>, lexopt::Error> {
        while let Some(argument) = parser.next()? {
            let row = match &argument {
                Arg::Short(name) => find(&name.to_string()),
                Arg::Long(name) => find(name),
                Arg::Value(operand) => return Ok(Some(operand.clone())),
            };
            let Some(row) = row else { return Err(argument.unexpected()) };
            let value = match row.value {
                Value::No => None,
                Value::Needed(_) | Value::OneOf(..) => Some(parser.value()?),
                Value::WithEqualSign(_) => parser.optional_value(),
            };
            self.given.push(GivenOption { long: row.long, value });
        }
        Ok(None)
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.given.iter().any(|given| given.long == long)
    }

    /// Which of several that exclude each other was given last.
    pub(crate) fn last_of(&self, longs: &[&str]) -> Option<&'static str> {
        let last = self.given.iter().rev().find(|given| longs.contains(&given.long));
        last.map(|given| given.long)
    }

    /// Whether only errors are to be said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("quiet")
    }

    /// Whether more is to be said than usual.
    pub(crate) fn is_verbose(&self) -> bool {
        self.last_of(&["quiet", "verbose"]) == Some("verbose")
    }

    /// Each value of an option, in order.
    pub(crate) fn all(&self, long: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        let given = self.given.iter().filter(move |given| given.long == long);
        given.filter_map(|given| given.value.as_deref())
    }

    /// Each value of several options, with the option, in the order in which they were given.
    pub(crate) fn in_order(&self, longs: &[&str]) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let given = self.given.iter().filter(move |given| longs.contains(&given.long));
        given.filter_map(|given| Some((given.long, given.value.as_deref()?)))
    }

    /// The value that counts: the last.
    pub(crate) fn value(&self, long: &str) -> Option<&OsStr> {
        self.all(long).next_back()
    }

    /// The value read by `parse`, which says in a sentence what is wrong with it.
    ///
    /// # Errors
    ///
    /// Usage: that sentence after the name of the option.
    pub(crate) fn parsed<T>(
        &self,
        long: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.value(long) else { return Ok(None) };
        let Some(text) = value.to_str() else {
            return Err(Failure::usage(format!("--{long}: the value is not UTF-8")));
        };
        parse(text).map(Some).map_err(|wrong| Failure::usage(format!("--{long}: {wrong}")))
    }

    /// Whether `--trace` was given, and its last file if that has one.
    pub(crate) fn trace(&self) -> Option<Option<&OsStr>> {
        let last = self.given.iter().rev().find(|given| given.long == "trace");
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
    fn table_is_sound() {
        for row in TABLE {
            assert!(row.long.len() > 1, "{}", row.long);
            assert!(!row.help.is_empty() && !row.commands.is_empty(), "{}", row.long);
            // Before the command it is not known yet whose an option is.
            let before = |row: &Row| row.group.is_global();
            for other in TABLE.iter().filter(|other| other.long == row.long) {
                let sorts = (row.value == Value::No, other.value == Value::No);
                assert_eq!(sorts.0, sorts.1, "{} both with and without a value", row.long);
                assert!(row.short == other.short || !before(row) || !before(other), "{}", row.long);
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
    fn parse_reads_before_and_behind_the_command() {
        let line = "-q --user=a get --user b -u c URL -bvc --trace --trace=F - -- --x -y";
        let (command, options) = parse_texts(line).unwrap();
        assert_eq!(command, Some(Command::Get));
        assert_eq!(options.operands, ["URL", "-", "--x", "-y"]);
        assert_eq!(options.value("user"), Some(OsStr::new("c")));
        assert!(options.all("user").eq(["a", "b", "c"]));
        assert!(options.has("quiet") && options.has("verbose") && options.has("continue"));
        assert!(options.is_verbose() && !options.is_quiet());
        assert!(!options.has("ascii"));
        assert_eq!(options.trace(), Some(Some(OsStr::new("F"))));
    }

    #[test]
    fn the_last_wins() {
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
        assert_eq!(options.trace(), Some(None));
    }

    #[test]
    fn each_option_stands_alone_and_values_are_left_as_they_are() {
        for (line, want) in [
            ("get -vq a -qv", "verbose quiet quiet verbose a"),
            ("get -abu -vq -vq", "ascii binary user=-vq verbose quiet"),
            ("get -vu-q a", "verbose user=-q a"),
            ("get -u=x a", "user==x a"),
            ("get --user -vq -vq", "user=-vq verbose quiet"),
            ("get --user=x -vq", "user=x verbose quiet"),
            ("get --user= x", "user= x"),
            ("get --trace -vq - -ab", "trace verbose quiet ascii binary -"),
            ("get -vq -- -vq --", "verbose quiet -vq --"),
            ("-vq get -vq", "verbose quiet verbose quiet"),
            ("-v -- get -q", "verbose quiet"),
        ] {
            let (_, options) = parse_texts(line).unwrap();
            let show = |given: &GivenOption| match &given.value {
                Some(value) => format!("{}={}", given.long, value.display()),
                None => given.long.to_owned(),
            };
            let operands = options.operands.iter().map(|operand| operand.display().to_string());
            let read: Vec<String> = options.given.iter().map(show).chain(operands).collect();
            assert_eq!(read.join(" "), want, "{line}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_come_back() {
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
        let (_, options) = parse([bytes(b"get"), bytes(b"-vu\xff")]).unwrap();
        assert!(options.all("user").eq([bytes(b"\xff")]));
        for refused in [&b"--us\xff=x"[..], b"-\xff", b"-v\xff"] {
            let failure = parse([bytes(b"get"), bytes(refused)]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("put -- before it"), "{}", failure.message);
        }
    }

    #[test]
    fn parse_refuses_and_says_what_to_do() {
        for (line, want) in [
            ("get --contineu x", "did you mean --continue?"),
            ("get --append x", "only put, batch accept it"),
            ("put -l", "only ls accepts it"),
            ("serve -a", "only get (--ascii), put (--ascii), ls (--all)"),
            ("-c get", "place it after the command: get, put, "),
            ("get --passiv", "did you mean --passive?"),
            ("--write serve", "place it after the command: serve"),
            ("--active serve", "serve takes no --active"),
            ("serve --active", "only get, put, ls"),
            ("--pipeline put", "put takes no --pipeline"),
            ("get -z", "unknown option -z; ftp-cli help get lists"),
            ("get -vZq", "unknown option -Z"),
            ("get -v\u{e9}q", "unknown option -\u{e9}"),
            ("--zzzzzzzz", "ftp-cli --help lists"),
            ("get --user", "--user needs a value: NAME"),
            ("get -u", "-u needs a value: NAME"),
            ("get --quiet=1", "--quiet takes no value"),
            ("--quiet=1 get", "--quiet takes no value"),
            ("get --password=x", "use --password-file FILE"),
            ("get --pasword x", "use --password-file FILE"),
            ("gte x", "did you mean \"get\"?"),
            ("frobnicate", "ftp-cli help lists them"),
            ("get -r x", "use: ftp-cli mirror SRC DST"),
            ("get --interface x", "did you mean --bind?"),
            ("mirror --parallel=3", "did you mean --jobs?"),
            ("get -o f URL", "use: ftp-cli get URL LOCAL"),
            ("get --no-check-certificate x", "did you mean --insecure?"),
            ("get --verify", "needs a value: none, size, hash"),
            ("del x", "did you mean \"rm\"?"),
            ("ren x", "did you mean \"mv\"?"),
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
