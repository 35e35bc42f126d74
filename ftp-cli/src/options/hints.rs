//! Messages for wrong options, each with the text to type instead: options of other programs, and
//! their equivalents here.

use getopts::Fail;

use ftp_proto::text::values;

use super::operands::from_text;
use super::table::{Command, Group, OTHER_COMMANDS, OTHER_PROGRAMS, Row, Value, all_rows, terms};
use crate::exit::Failure;

/// Explains an error of getopts, and says what to type instead. `command` is `None` for the options
/// before the command.
pub(super) fn explain(fail: &Fail, command: Option<Command>) -> Failure {
    let (Fail::UnrecognizedOption(name)
    | Fail::ArgumentMissing(name)
    | Fail::UnexpectedArgument(name)
    | Fail::OptionMissing(name)
    | Fail::OptionDuplicated(name)) = fail;
    let name = from_text(name);
    let name = &*name.to_string_lossy();
    Failure::usage(match fail {
        Fail::UnrecognizedOption(_) => {
            let object = command.map_or(String::new(), |command| format!("{}: ", command.name()));
            format!("{object}unknown option {}; {}", dashed(name), hint(name, command))
        }
        Fail::ArgumentMissing(_) => {
            let row = all_rows().find(|row| row.is_called(name));
            let value = match row.map(|row| row.value) {
                Some(Value::OneOf(_, words)) => words.replace('|', ", "),
                Some(Value::Needed(name)) => name.to_owned(),
                _ => "VALUE".to_owned(),
            };
            format!("{} needs a value: {value}", dashed(name))
        }
        Fail::UnexpectedArgument(_) => format!("{} takes no value", dashed(name)),
        Fail::OptionMissing(_) | Fail::OptionDuplicated(_) => dashed(name),
    })
}

/// Returns what to type for a command of another program: one word is a command of this program. `of` is
/// the command that runs the line, `batch`, or whose operand it is, `serve`.
pub(crate) fn other_command(name: &str, of: Option<&str>) -> Option<String> {
    listed(OTHER_COMMANDS, name).find(|(command, _)| *command == of).map(|(_, meaning)| meaning)
}

/// Options of wget that look like two letters of this program's `get`. They are refused: `-nv` would
/// keep an old file in silence, and `-np` is common.
pub(super) const OF_WGET: [&str; 4] = ["nd", "nH", "np", "nv"];

/// Returns an option as it is typed.
fn dashed(name: &str) -> String {
    let is_short = name.chars().count() == 1 || OF_WGET.contains(&name);
    let dashes = if is_short { "-" } else { "--" };
    format!("{dashes}{name}")
}

fn hint(name: &str, command: Option<Command>) -> String {
    let takers = takers(name);
    if is_password(name) && takers.is_empty() {
        return "passwords are not options: use --password-file FILE".to_owned();
    }
    let Some(command) = command else {
        // What holds for all commands comes first.
        let (of_all, of_one) =
            listed(OTHER_PROGRAMS, name).partition::<Vec<_>, _>(|(of, _)| of.is_none());
        let mut meanings = of_all.into_iter().chain(of_one).map(|(_, meaning)| meaning);
        let line = meanings.find(|meaning| meaning.starts_with("ftp-cli "));
        let of_files = [Command::Get, Command::Put].map(|command| instead(name, command));
        return match (line, of_files.into_iter().flatten().next()) {
            _ if !takers.is_empty() => format!("place it after the command: {takers}"),
            (Some(line), _) => format!("use: {line}"),
            (None, Some(option)) => format!("a command comes first, such as get; then {option}"),
            (None, None) => match (absent(name), nearest(name, |_| true)) {
                (Some(why), _) => why,
                (None, Some(near)) => format!("did you mean --{near}?"),
                (None, None) => "ftp-cli --help lists the options".to_owned(),
            },
        };
    };
    match instead(name, command).or_else(|| Some(format!("none: {}", absent(name)?))) {
        Some(option) if option.starts_with("--") => format!("did you mean {option}?"),
        Some(text) => match text.strip_prefix("none: ") {
            Some(why) => why.to_owned(),
            None => format!("use: {text}"),
        },
        // A longer list says less than the command's own one.
        None if takers.matches(", ").count() > 3 && !takers.contains('(') => {
            format!("ftp-cli help {} lists the options", command.name())
        }
        None if takers.contains(", ") => format!("only {takers} accept it"),
        None if !takers.is_empty() => format!("only {takers} accepts it"),
        None => match nearest(name, |row| row.commands.contains(&command)) {
            Some(near) => format!("did you mean --{near}?"),
            None => format!("ftp-cli help {} lists the options", command.name()),
        },
    }
}

/// Returns the option with a similar name, or with a name that begins with this one.
fn nearest(name: &str, is_known: impl Fn(&Row) -> bool) -> Option<&'static str> {
    let known = || all_rows().filter(|row| is_known(row)).map(|row| row.long);
    let is_begun = |long: &&str| name.len() > 1 && long.starts_with(name);
    known().find(is_begun).or_else(|| values::nearest(name, known()))
}

/// Returns the commands that accept an option of this name, long or short: `get, put`. A short name
/// may mean different options: `get (--preserve), mkdir (--parents)`.
fn takers(name: &str) -> String {
    let rows = || all_rows().filter(|row| row.is_called(name));
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

fn is_password(name: &str) -> bool {
    let is_mode = ["passi", "pasi", "pasv"].iter().any(|it| name.starts_with(it));
    name.starts_with("pas") && !is_mode || name.ends_with("password")
}

/// Returns what a list of options or commands of other programs says about `name`: the command, if it
/// has a special meaning for one, and what to type instead.
fn listed(list: &'static str, name: &str) -> impl Iterator<Item = (Option<&'static str>, String)> {
    terms(list).filter_map(move |(term, meaning)| {
        let command = term.split_once(": ");
        let (command, names) = command.map_or((None, term), |(of, names)| (Some(of), names));
        names.split(", ").any(|other| other == name).then_some((command, meaning))
    })
}

/// Returns why there is no equivalent of the option `name` of another program, if that is known.
pub(super) fn absent(name: &str) -> Option<String> {
    let mut of_all = listed(OTHER_PROGRAMS, name).filter(|(of, _)| of.is_none());
    of_all.find_map(|(_, meaning)| meaning.strip_prefix("none: ").map(str::to_owned))
}

/// Returns the replacement for the option `name` of another program.
pub(super) fn instead(name: &str, command: Command) -> Option<String> {
    let is_taken = |instead: &str| match instead.strip_prefix("--") {
        Some(option) => {
            let long = option.split([' ', ',']).next();
            command.rows().any(|row| Some(row.long) == long)
        }
        // A command line is suggested only for commands that connect to a server.
        None => command.rows().any(|row| row.group == Group::Data),
    };
    let is_of = |of: Option<&str>| of == Some(command.name());
    let of_letter = listed(OTHER_PROGRAMS, name).find(|(of, _)| is_of(*of));
    let mut of_all =
        listed(OTHER_PROGRAMS, name).filter(|(of, meaning)| of.is_none() && is_taken(meaning));
    of_letter.or_else(|| of_all.find(|(_, it)| !it.starts_with("none: "))).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TABLE;

    #[test]
    fn each_suggested_replacement_is_an_existing_option_or_command() {
        for (names, instead) in terms(OTHER_PROGRAMS).filter(|(_, it)| !it.starts_with("none: ")) {
            let first = instead.split(' ').nth(usize::from(!instead.starts_with("--")));
            let word = first.unwrap().trim_start_matches('-').trim_end_matches(',');
            let is_option = TABLE.iter().any(|row| row.long == word);
            assert!(is_option || Command::find(word.as_ref()).is_ok(), "{instead}");
            assert!(!names.is_empty(), "{instead}");
        }
    }

    #[test]
    fn options_of_other_programs_suggest_the_equivalent() {
        for (command, name, want) in [
            (Command::Get, "max-time", Some("--timeout")),
            (Command::Get, "no-check-certificate", Some("--insecure")),
            (Command::Get, "O", Some("ftp-cli get URL, get -o FILE URL, or get -P DIR URL...")),
            (Command::Mirror, "transfers", Some("--jobs")),
            (Command::Ls, "A", Some("--all")),
            (Command::Mirror, "R", Some("ftp-cli mirror DIR URL (lftp), or --exclude (wget)")),
            (Command::Put, "T", Some("ftp-cli put LOCAL URL")),
            (Command::Get, "T", Some("--stall-timeout")),
            (
                Command::Get,
                "R",
                Some("--preserve (curl), --recursive (ncftpget) or --exclude (wget)"),
            ),
            (Command::Put, "R", Some("--recursive")),
            (Command::Serve, "tls", Some("--tls-self-signed, or --tls-cert FILE --tls-key FILE")),
            (Command::Get, "N", Some("--if-changed, which also replaces a newer local file")),
            (Command::Mirror, "n", Some("--dry-run")),
            (Command::Get, "x", Some("--proxy (curl) or --exclude (lftp)")),
            (Command::Put, "x", Some("--proxy (curl) or --exclude (lftp)")),
            (Command::Mirror, "x", Some("--exclude")),
            (Command::Passwd, "O", None),
            (Command::Get, "frobnicate", None),
        ] {
            assert_eq!(instead(name, command).as_deref(), want, "{} {name}", command.name());
        }
    }
}
