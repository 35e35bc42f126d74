//! What is wrong with the options, in words that lead on.

use getopts::Fail;

use super::{Command, Row, TABLE, Value};
use crate::exit::Failure;
use crate::values;

/// What getopts found wrong, and what to do about it. `command` is `None` in front of it.
pub(super) fn explain(fail: &Fail, command: Option<Command>) -> Failure {
    let dashed = |name: &str| match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    let is = |row: &Row, name: &str| row.long == name || row.short == name;
    Failure::usage(match fail {
        Fail::UnrecognizedOption(name) => {
            let known = |row: &&Row| command.is_none_or(|command| row.commands.contains(&command));
            let hint = match (TABLE.iter().find(|row| is(row, name)), command) {
                _ if name.starts_with("pas") => {
                    "no option takes a password: --password-file and FTP_PASSWORD do".to_owned()
                }
                (Some(row), None) => {
                    let takers = names(row.long);
                    format!("it stands behind the command that takes it: {takers}")
                }
                (Some(row), Some(_)) => format!("only {} takes it", names(row.long)),
                (None, _) => {
                    let longs = TABLE.iter().filter(known).map(|row| row.long);
                    match (values::nearest(name, longs), command) {
                        (Some(near), _) => format!("did you mean --{near}?"),
                        (None, Some(command)) => {
                            format!("ftp-cli help {} lists the options", command.name())
                        }
                        (None, None) => "ftp-cli --help lists the options".to_owned(),
                    }
                }
            };
            let who = command.map_or(String::new(), |command| format!("{}: ", command.name()));
            format!("{who}unknown option {}; {hint}", dashed(name))
        }
        Fail::ArgumentMissing(name) => {
            let row = TABLE.iter().find(|row| is(row, name));
            let hint = match row.map(|row| row.value) {
                Some(Value::Needed(hint)) => hint,
                _ => "VALUE",
            };
            format!("{} needs a value: {hint}", dashed(name))
        }
        Fail::UnexpectedArgument(name) => format!("{} takes no value", dashed(name)),
        Fail::OptionMissing(name) | Fail::OptionDuplicated(name) => dashed(name),
    })
}

/// The commands that take an option.
fn names(long: &str) -> String {
    let takes = |command: &&Command| command.rows().any(|row| row.long == long);
    let names: Vec<&str> =
        Command::ALL.iter().filter(takes).map(|command| command.name()).collect();
    names.join(", ")
}
