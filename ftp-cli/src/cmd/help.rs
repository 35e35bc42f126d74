//! `help [COMMAND]` and `--help`, made from the tables of options, settings and exit codes.

use std::fmt::Write;

use super::serve::settings::{self, Settings};
use crate::console::output;
use crate::console::stdio::Stdio;
use crate::exit;
use crate::exit::Failure;
use crate::options::{self, Command, Entry, Group, Options, Row};

/// What operands and options are.
pub(super) const URLS: &str = "\
URL is ftp://[user[:password]@]host[:port]/path[;type=a|i|d] with %XX for odd bytes, relative to
where the login ends (/%2F begins an absolute path), or [user@]host[:port]:path byte for byte.
An option given twice counts as given last; -- ends the options.";

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

fn program() -> String {
    let mut text = String::from(
        "ftp-cli: get, put, list, copy and serve files by FTP\n\nUsage: ftp-cli [OPTION]... COMMAND ...\n\n",
    );
    for command in Command::ALL {
        let Entry { name, usage, summary, .. } = command.entry();
        line(&mut text, &format!("{name} {usage}"), summary);
    }
    let _ = write!(text, "\n{URLS}\n");
    text.push_str(
        "The options of these groups may also stand before the command; ftp-cli help COMMAND lists
all that it takes:
",
    );
    for group in Group::ALL {
        let mut rows = options::global_rows().filter(|row| row.group == *group).peekable();
        if rows.peek().is_some() {
            let _ = write!(text, "\n{}\n", group.title());
        }
        for row in rows {
            option(&mut text, row);
        }
    }
    text.push_str("\nExit codes\n");
    for (exit, meaning) in exit::TABLE {
        let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
    }
    text
}

fn about(command: Command) -> String {
    let Entry { name, usage, summary, about, examples, .. } = command.entry();
    let mut text = format!("ftp-cli {name}: {summary}\n\nUsage: ftp-cli {name} {usage}\n");
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
    if !examples.is_empty() {
        text.push_str("\nExamples\n");
    }
    for (example, what) in examples {
        let _ = writeln!(text, "  ftp-cli {example}\n      {what}");
    }
    if command == Command::Serve {
        text.push_str("\nSettings for --set KEY=VALUE: times in seconds or with a unit, commas between items\n");
        let default = Settings::default();
        for setting in settings::TABLE {
            let hint = setting.kind.hint();
            let default = (setting.show)(&default);
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
        None => "    ".to_owned(),
        Some(short) => format!("-{short}, "),
    };
    line(text, &format!("{short}--{}{}", row.long, row.value), row.help);
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
            assert!(options::TABLE.iter().any(|row| row.long == word), "--{word}");
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
            assert!(program().contains(command.entry().usage), "{}", command.name());
        }
    }
}
