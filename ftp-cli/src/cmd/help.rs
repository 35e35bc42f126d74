//! `help [COMMAND]` and `--help`, made from the tables of options, settings and exit codes.

use std::fmt::Write;

use crate::exit;
use crate::exit::Failure;
use crate::options::{Command, Group, Options, Row, Value};
use crate::output;
use crate::settings::{self, Settings};
use crate::stdio::Stdio;

/// The column at which the explanation of an option begins.
const COLUMN: usize = 30;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    match options.operands.as_slice() {
        [] => print(None, stdio),
        [name] => print(Some(Command::find(name)?), stdio),
        _ => Err(Failure::usage("help takes one command: ftp-cli help [COMMAND]")),
    }
}

/// Prints what is to be known about a command, or about the program.
///
/// # Errors
///
/// `Local`: standard output.
pub(crate) fn print(command: Option<Command>, stdio: &mut Stdio) -> Result<(), Failure> {
    let text = match command {
        Some(Command::Help) | None => program(),
        Some(command) => about(command),
    };
    output::print(&mut stdio.output, text.as_bytes())
}

struct Page {
    usage: &'static str,
    summary: &'static str,
    text: &'static str,
}

const fn page(command: Command) -> Page {
    match command {
        Command::Get => Page {
            usage: "get [OPTION]... URL [LOCAL]",
            summary: "download a file",
            text: "\
LOCAL is a file, a directory, or - for standard output; without it the file keeps its name and
goes to the current directory. It appears under its name when it is whole and on disk; until
then, and if anything fails, what had the name before stays as it was.",
        },
        Command::Put => Page {
            usage: "put [OPTION]... LOCAL... URL",
            summary: "upload files",
            text: "\
LOCAL is a file, or - for standard input. A URL that ends in / is a directory, which takes any
number of files under their own names.",
        },
        Command::Ls => Page {
            usage: "ls [OPTION]... URL",
            summary: "list a directory",
            text: "\
One name a line, in the server's order; with -l what the server tells about each as well, times in
UTC. Names are printed byte for byte, on a terminal with control characters escaped.",
        },
        Command::Fxp => Page {
            usage: "fxp [OPTION]... SRC-URL DST-URL",
            summary: "copy a file from server to server",
            text: "\
The file never passes here: one server listens, the other connects to it, and both must allow
that. A DST-URL that ends in / is a directory. Users are those of the URLs; FTP_PASSWORD is for a
single one that has no password there.",
        },
        Command::Serve => Page {
            usage: "serve [OPTION]... [DIR]",
            summary: "serve a directory",
            text: "\
Without options: DIR or the current directory, read-only, to anyone, on 127.0.0.1:2121. A user's
password is the part behind the colon (for throw-away servers: others can see it), else the first
line of --password-file, else FTP_PASSWORD. With --config, users are those of FILE, and DIR is for
users of options; dist/server.toml explains its form. After SIGTERM or SIGINT transfers may finish before it
exits with 0; a second signal cuts them, a third waits for nothing.",
        },
        Command::Passwd => Page {
            usage: "passwd [--password-file FILE]",
            summary: "hash a password",
            text: "\
Prints the hash of a password, by argon2id, for a file that serve reads. It is asked
for, or read from standard input where that is no terminal.",
        },
        Command::Demo => Page {
            usage: "demo [-q]",
            summary: "show a server and a client at work",
            text: "\
Starts a server on this computer in a temporary directory, puts files there, lists them, gets them
back and compares them, has one copied to a second server, with the dialogue shown; then cleans
up. Needs no network.",
        },
        Command::Help => {
            Page { usage: "help [COMMAND]", summary: "explain the program or a command", text: "" }
        }
    }
}

fn program() -> String {
    let mut text = String::from(
        "ftp-cli: get, put, list, copy and serve files by FTP\n\nUsage: ftp-cli [OPTION]... COMMAND ...\n\n",
    );
    for command in Command::ALL {
        let Page { usage, summary, .. } = page(*command);
        line(&mut text, usage, summary);
    }
    text.push_str(
        "
URL is ftp://[user[:password]@]host[:port]/path[;type=a|i|d] with %XX for odd bytes, relative to
where the login ends (/%2F begins an absolute path), or [user@]host[:port]:path byte for byte.
An option given twice counts as given last; -- ends the options. Those of these groups may also
stand before the command, and ftp-cli help COMMAND lists all that it takes:
",
    );
    let mut seen: Vec<&str> = Vec::new();
    for group in Group::ALL.iter().filter(|group| group.is_global()) {
        let mut rows = crate::options::TABLE.iter().filter(|row| row.group == *group).peekable();
        if rows.peek().is_some() {
            let _ = write!(text, "\n{}\n", group.title());
        }
        for row in rows.filter(|row| !seen.contains(&row.long)) {
            option(&mut text, row);
        }
        seen.extend(crate::options::TABLE.iter().filter(|row| row.group == *group).map(|r| r.long));
    }
    text.push_str("\nExit codes\n");
    for (exit, meaning) in exit::TABLE {
        let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
    }
    text
}

fn about(command: Command) -> String {
    let Page { usage, summary, text: about } = page(command);
    let mut text = format!("ftp-cli {}: {summary}\n\nUsage: ftp-cli {usage}\n", command.name());
    if !about.is_empty() {
        let _ = write!(text, "\n{about}\n");
    }
    for group in Group::ALL {
        let mut rows = command.rows().filter(|row| row.group == *group).peekable();
        if rows.peek().is_some() {
            let _ = write!(text, "\n{}\n", group.title());
        }
        for row in rows {
            option(&mut text, row);
        }
    }
    if command == Command::Serve {
        text.push_str("\nSettings for --set KEY=VALUE: times in seconds or with a unit, commas between items\n");
        let default = Settings::default();
        for setting in settings::TABLE {
            let (hint, default) = (setting.kind.hint(), (setting.show)(&default));
            line(&mut text, setting.key, &format!("{}{hint}; default {default}", setting.help));
        }
        for setting in settings::USER {
            line(&mut text, &format!("users.NAME.{}", setting.key), setting.help);
        }
    }
    text
}

fn option(text: &mut String, row: &Row) {
    let short = match row.short {
        "" => "    ".to_owned(),
        short => format!("-{short}, "),
    };
    let value = match row.value {
        Value::No => String::new(),
        Value::Needed(hint) => format!(" {hint}"),
        Value::WithEqualSign(hint) => format!("[={hint}]"),
    };
    line(text, &format!("{short}--{}{value}", row.long), row.help);
}

fn line(text: &mut String, left: &str, right: &str) {
    let _ = writeln!(text, "  {left:<COLUMN$}  {right}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `--word` in a text.
    fn options_in(text: &str) -> Vec<String> {
        let others =
            |char: char| !char.is_ascii_lowercase() && !char.is_ascii_digit() && char != '-';
        let words = text.split(others).filter(|word| word.len() > 2 && word.starts_with("--"));
        words.map(|word| word.trim_start_matches('-').to_owned()).collect()
    }

    #[test]
    fn help_and_table_agree() {
        for command in Command::ALL.iter().filter(|command| **command != Command::Help) {
            let text = about(*command);
            for row in command.rows() {
                let lines = text.lines().filter(|line| {
                    line.split_whitespace().any(|word| {
                        word.trim_end_matches(',').split(['=', '[']).next()
                            == Some(&format!("--{}", row.long))
                    }) && line.ends_with(row.help)
                });
                assert_eq!(lines.count(), 1, "{} --{}", command.name(), row.long);
            }
            for word in options_in(&text) {
                let takes = command.rows().any(|row| row.long == word);
                assert!(takes, "help {} names --{word}", command.name());
            }
        }
        for word in options_in(&program()) {
            assert!(crate::options::TABLE.iter().any(|row| row.long == word), "--{word}");
        }
    }

    #[test]
    fn help_is_made_to_be_read() {
        let pages = Command::ALL.iter().map(|command| about(*command));
        for page in pages.chain([program()]) {
            for line in page.lines() {
                assert!(line.chars().count() <= 110, "{line}");
            }
        }
        for command in Command::ALL {
            assert!(program().contains(page(*command).usage), "{}", command.name());
        }
    }
}
