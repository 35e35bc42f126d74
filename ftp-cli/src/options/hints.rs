//! Messages for wrong options, each with the text to type instead.

use getopts::Fail;

use super::{Command, Row, TABLE, Value, foreign, values};
use crate::exit::Failure;

/// Explains an error of getopts, and says what to type instead. `command` is `None` for the options
/// before the command.
pub(super) fn explain(fail: &Fail, command: Option<Command>) -> Failure {
    Failure::usage(match fail {
        Fail::UnrecognizedOption(name) => {
            let object = command.map_or(String::new(), |command| format!("{}: ", command.name()));
            format!("{object}unknown option {}; {}", dashed(name), hint(name, command))
        }
        Fail::ArgumentMissing(name) => {
            let row = TABLE.iter().find(|row| row.is_called(name));
            let value = match row.map(|row| row.value) {
                Some(Value::OneOf(_, words)) => words.replace('|', ", "),
                Some(Value::Needed(name)) => name.to_owned(),
                _ => "VALUE".to_owned(),
            };
            format!("{} needs a value: {value}", dashed(name))
        }
        Fail::UnexpectedArgument(name) => format!("{} takes no value", dashed(name)),
        Fail::OptionMissing(name) | Fail::OptionDuplicated(name) => dashed(name),
    })
}

/// Returns an option as it is typed.
fn dashed(name: &str) -> String {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    format!("{dashes}{name}")
}

/// Returns a hint for an unknown option.
fn hint(name: &str, command: Option<Command>) -> String {
    let takers = takers(name);
    if is_password(name) && takers.is_empty() {
        return "passwords are not options: use --password-file FILE".to_owned();
    }
    let Some(command) = command else {
        return match nearest(name, |_| true) {
            _ if !takers.is_empty() => format!("place it after the command: {takers}"),
            Some(near) => format!("did you mean --{near}?"),
            None => "ftp-cli --help lists the options".to_owned(),
        };
    };
    match foreign::instead(name, command) {
        Some(option) if option.starts_with("--") => format!("did you mean {option}?"),
        Some(line) => format!("use: {line}"),
        None if takers.contains(", ") => format!("only {takers} accept it"),
        None if !takers.is_empty() => format!("only {takers} accepts it"),
        None => match (foreign::absent(name), nearest(name, |row| row.commands.contains(&command)))
        {
            (Some(why), _) => why.to_owned(),
            (None, Some(near)) => format!("did you mean --{near}?"),
            (None, None) => format!("ftp-cli help {} lists the options", command.name()),
        },
    }
}

fn nearest(name: &str, is_known: impl Fn(&Row) -> bool) -> Option<&'static str> {
    values::nearest(name, TABLE.iter().filter(|row| is_known(row)).map(|row| row.long))
}

/// Returns the commands that accept an option of this name, long or short: `get, put`. A short name
/// may mean different options: `get (--preserve), mkdir (--parents)`.
fn takers(name: &str) -> String {
    let rows = || TABLE.iter().filter(|row| row.is_called(name));
    let is_ambiguous = rows().any(|row| rows().any(|other| other.long != row.long));
    let of = |command: &Command| {
        let row = rows().find(|row| row.commands.contains(command))?;
        Some(match is_ambiguous {
            true => format!("{} (--{})", command.name(), row.long),
            false => command.name().to_owned(),
        })
    };
    Command::ALL.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// Returns whether the name looks like an option for a password.
fn is_password(name: &str) -> bool {
    name.starts_with("pas") && !name.starts_with("passi")
}
