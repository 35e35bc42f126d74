//! Messages for wrong options, each with the text to type instead: options of other programs, and
//! their equivalents here.

use getopts::Fail;

use super::{Command, Group, Row, Value, all_rows, values};
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
            let row = all_rows().find(|row| row.is_called(name));
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
    match instead(name, command) {
        Some(option) if option.starts_with("--") => format!("did you mean {option}?"),
        Some(line) => format!("use: {line}"),
        None if takers.contains(", ") => format!("only {takers} accept it"),
        None if !takers.is_empty() => format!("only {takers} accepts it"),
        None => match (absent(name), nearest(name, |row| row.commands.contains(&command))) {
            (Some(why), _) => why.to_owned(),
            (None, Some(near)) => format!("did you mean --{near}?"),
            (None, None) => format!("ftp-cli help {} lists the options", command.name()),
        },
    }
}

fn nearest(name: &str, is_known: impl Fn(&Row) -> bool) -> Option<&'static str> {
    values::nearest(name, all_rows().filter(|row| is_known(row)).map(|row| row.long))
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

/// Returns whether the name looks like an option for a password.
fn is_password(name: &str) -> bool {
    name.starts_with("pas") && !["passi", "pasi", "pasv"].iter().any(|it| name.starts_with(it))
}

/// Names without dashes, and the option or the command line to use instead. The first entry whose
/// option the command accepts is used. Sources: the manuals of curl, wget, lftp, rclone, rsync and
/// GNU coreutils.
const NAMES: &[(&[&str], &str)] = &[
    (&["C", "continue-at", "partial", "reget"], "--continue"),
    (&["m"], "--timeout (curl) or ftp-cli mirror (wget)"),
    (&["max-time", "T"], "--timeout"),
    (&["timeout-connect", "contimeout"], "--connect-timeout"),
    (&["read-timeout"], "--stall-timeout"),
    (&["t", "tries", "retries"], "--retry"),
    (&["waitretry"], "--retry-delay"),
    (&["k", "no-check-certificate", "no-check-cert"], "--insecure"),
    (&["cacert", "ca-certificate", "ca-cert"], "--ca-file"),
    (&["E"], "--client-cert (curl) or --remove-source (lftp)"),
    (&["cert", "certificate"], "--client-cert"),
    (&["key", "private-key"], "--client-key"),
    (&["pinnedpubkey"], "--pin"),
    (&["ssl", "ssl-reqd", "ftp-ssl", "ftp-ssl-reqd"], "--tls explicit"),
    (&["ftps-implicit"], "--tls implicit"),
    (&["interface", "bind-address"], "--bind"),
    (&["ftp-pasv", "passive-ftp"], "--passive"),
    (&["no-passive-ftp", "ftp-port"], "--active"),
    (&["disable-epsv"], "--epsv never"),
    (&["disable-eprt"], "--eprt never"),
    (&["ftp-skip-pasv-ip"], "--passive-address peer"),
    (&["ftp-create-dirs", "mkpath", "force-directories"], "--create-dirs"),
    (&["use-ascii", "B"], "--ascii"),
    (&["remote-time"], "--preserve"),
    (&["bwlimit"], "--limit-rate"),
    (&["s", "silent", "no-verbose", "nv"], "--quiet"),
    (&["progress-bar", "show-progress"], "--progress always"),
    (&["no-progress", "no-progress-meter"], "--progress never"),
    (&["trace-ascii", "trace-time", "d", "debug", "vv"], "--trace"),
    (&["n", "nc", "ignore-existing"], "--no-clobber"),
    (&["A", "almost-all"], "--all"),
    (&["directory-prefix", "output-dir"], "--directory"),
    (&["P"], "--jobs (lftp) or --progress always (rclone)"),
    (&["transfers", "Z", "parallel-max"], "--jobs"),
    (&["multi-thread-streams"], "--segments"),
    (&["ftp-user", "username"], "--user"),
    (&["accept", "A", "include-glob"], "--include"),
    (&["reject", "R", "exclude-glob", "X"], "--exclude"),
    (&["filter-from", "ignore-file", "exclude-glob-from", "X"], "--exclude-from"),
    (&["x"], "--proxy (curl) or --exclude (lftp)"),
    (&["socks5", "socks5-hostname", "proxytunnel", "proxy-user"], "--proxy"),
    (&["no-proxy", "noproxy"], "--proxy none"),
    (&["ignore-time"], "--size-only"),
    (&["checksum"], "--compare hash"),
    (&["L", "dereference", "copy-links"], "--links follow"),
    (&["l", "links"], "--links keep"),
    (&["preserve-permissions"], "ftp-cli mirror --perms SRC DST"),
    (&["e", "del", "delete-after"], "--delete"),
    (&["n"], "--dry-run"),
    (&["O", "o", "output-document"], "ftp-cli get -o FILE URL, or get -P DIR URL..."),
    (&["upload-file"], "ftp-cli put LOCAL URL"),
    (&["Q"], "ftp-cli quote URL COMMAND"),
    (&["list-only"], "ftp-cli ls URL"),
    (&["I", "head", "spider"], "ftp-cli stat URL"),
    (&["N", "timestamping"], "--if-changed, which also replaces a newer local file"),
    (&["mirror"], "ftp-cli mirror SRC DST"),
    (&["reverse"], "ftp-cli mirror DIR URL"),
    (&["remove-source-files", "Remove-source-files", "delete-source"], "--remove-source"),
    (&["update", "u", "only-newer", "time-cond", "z"], "--newer"),
    (&["min-file-size"], "--min-size"),
    (&["max-filesize"], "--max-size, which skips larger files with exit code 0 (curl: 63)"),
];

/// Letters with a special meaning for one command. They take precedence over [`NAMES`].
const LETTERS: &[(Command, &str, &str)] = &[
    (Command::Put, "T", "ftp-cli put LOCAL URL"),
    (Command::Put, "O", "ftp-cli put LOCAL URL/"),
    (Command::Mirror, "R", "ftp-cli mirror DIR URL (lftp), or --exclude (wget)"),
    (Command::Mirror, "x", "--exclude"),
    (Command::Mirror, "I", "--include"),
    (Command::Mirror, "i", "--include"),
];

/// Options without an equivalent here, and the reason.
const ABSENT: &[(&str, &str)] = &[
    ("range", "files are transferred whole; --continue resumes a transfer"),
    ("only-newer", "mirror copies files whose time or size differs"),
    ("use-pget-n", "get --segments N downloads a file over N connections"),
    ("no-parent", "get -r never leaves the directory"),
    ("cut-dirs", "to name the local directory, use: ftp-cli get -r URL DIR"),
    ("background", "use: nohup ftp-cli ... &"),
    ("filter", "use --include and --exclude; the last match wins"),
];

/// Returns why there is no equivalent of the option `name` of another program, if that is known.
pub(super) fn absent(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(absent, _)| *absent == name).map(|(_, why)| *why)
}

/// Returns the replacement for the option `name` of another program.
pub(super) fn instead(name: &str, command: Command) -> Option<&'static str> {
    let is_letter = |(of, letter, _): &&(Command, &str, &str)| *of == command && *letter == name;
    if let Some((.., instead)) = LETTERS.iter().find(is_letter) {
        return Some(*instead);
    }
    let is_taken = |instead: &str| match instead.strip_prefix("--") {
        Some(option) => {
            let long = option.split([' ', ',']).next();
            command.rows().any(|row| Some(row.long) == long)
        }
        // A command line is suggested only for commands that connect to a server.
        None => command.rows().any(|row| row.group == Group::Data),
    };
    let mut fitting = NAMES.iter().filter(|(names, _)| names.contains(&name));
    fitting.find(|(_, instead)| is_taken(instead)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TABLE;

    #[test]
    fn each_suggested_replacement_is_an_existing_option_or_command() {
        let letters =
            LETTERS.iter().map(|(_, letter, instead)| (std::slice::from_ref(letter), *instead));
        for (names, instead) in NAMES.iter().copied().chain(letters) {
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
            (Command::Get, "O", Some("ftp-cli get -o FILE URL, or get -P DIR URL...")),
            (Command::Mirror, "transfers", Some("--jobs")),
            (Command::Ls, "A", Some("--all")),
            (Command::Mirror, "R", Some("ftp-cli mirror DIR URL (lftp), or --exclude (wget)")),
            (Command::Put, "T", Some("ftp-cli put LOCAL URL")),
            (Command::Get, "T", Some("--timeout")),
            (Command::Get, "R", Some("--exclude")),
            (Command::Get, "N", Some("--if-changed, which also replaces a newer local file")),
            (Command::Mirror, "n", Some("--dry-run")),
            (Command::Get, "x", Some("--proxy (curl) or --exclude (lftp)")),
            (Command::Put, "x", Some("--proxy (curl) or --exclude (lftp)")),
            (Command::Mirror, "x", Some("--exclude")),
            (Command::Passwd, "O", None),
            (Command::Get, "frobnicate", None),
        ] {
            assert_eq!(instead(name, command), want, "{} {name}", command.name());
        }
    }
}
