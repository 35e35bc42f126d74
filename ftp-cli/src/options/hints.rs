//! What is wrong with the options, in words that lead on.

use getopts::Fail;

use super::values;
use super::{Command, Row, TABLE, Value};
use crate::exit::Failure;

/// What getopts found wrong, and what to do about it. `command` is `None` in front of it.
pub(super) fn explain(fail: &Fail, command: Option<Command>) -> Failure {
    let dashed = |name: &str| match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    Failure::usage(match fail {
        Fail::UnrecognizedOption(name) => {
            let known = |row: &&Row| command.is_none_or(|command| row.commands.contains(&command));
            let takers = takers(name);
            let hint = match command {
                _ if is_password(name) && takers.is_empty() => {
                    "no option takes a password: --password-file names a file with it".to_owned()
                }
                Some(Command::Get | Command::Put | Command::Ls)
                    if matches!(name.as_str(), "r" | "recursive") =>
                {
                    "to copy a directory: ftp-cli mirror SRC DST".to_owned()
                }
                None if !takers.is_empty() => {
                    format!("it stands behind the command that takes it: {takers}")
                }
                Some(_) if takers.contains(", ") => format!("only {takers} take it"),
                Some(_) if !takers.is_empty() => format!("only {takers} takes it"),
                _ => {
                    let own = command.and_then(|command| own_name(name, command));
                    let longs = TABLE.iter().filter(known).map(|row| row.long);
                    match (own.or_else(|| values::nearest(name, longs)), command) {
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
            let row = TABLE.iter().find(|row| row.is_called(name));
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

/// The commands that take an option of this name, long or short: `get, put`. A short one may mean
/// different things: `mkdir (--parents), get (--preserve)`.
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

/// What an option of curl, wget or lftp is called here.
fn own_name(name: &str, command: Command) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        ("C", "continue"),
        ("T", "timeout"),
        ("cacert", "ca-file"),
        ("exclude-glob", "exclude"),
        ("include-glob", "include"),
        ("interface", "bind"),
        ("k", "insecure"),
        ("m", "timeout"),
        ("max-time", "timeout"),
        ("parallel", "jobs"),
        ("pinnedpubkey", "pin"),
        ("ssl", "tls"),
        ("ssl-reqd", "tls"),
        ("tries", "retry"),
    ];
    let (_, own) = NAMES.iter().find(|(foreign, _)| *foreign == name)?;
    let mut rows = TABLE.iter().filter(|row| row.long == *own);
    rows.any(|row| row.commands.contains(&command)).then_some(*own)
}

/// Whether it looks like an option that would take a password.
fn is_password(name: &str) -> bool {
    name.starts_with("pas") && !name.starts_with("passi")
}
