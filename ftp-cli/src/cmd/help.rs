//! `help [COMMAND]`, `--help` and `-h`: print help, generated from the tables of options, settings
//! and exit codes. `-h` fits on a screen: examples, and the options that are used most.

use std::fmt::Write;

#[cfg(feature = "server")]
use ftp_server::daemon::SettingHelp;

use crate::console::{Stdio, output};
use crate::exit::{self, Failure, Result};
use crate::options::{self, Command, CommandHelp, Group, Options, PATTERNS, Row, Synonym, URLS};

/// Number of examples that `-h` shows.
const EXAMPLES: usize = 5;

/// Options that `-h` shows besides those of the command alone.
const USED_EVERYWHERE: &[&str] = &["user", "password-file", "tls", "retry"];

/// Column at which the help of an option begins.
const COLUMN: usize = 32;

const WIDTH: usize = 80;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    match options.operands.as_slice() {
        [] => print(None, true, stdio),
        [name] if name == "patterns" => output::print(&mut stdio.output, PATTERNS.as_bytes()),
        [name] => print(Some(Command::find(name)?), true, stdio),
        _ => Err(Failure::usage("help takes one command: ftp-cli help [COMMAND]")),
    }
}

/// Prints the help of a command, or of the program: all of it, or what fits on a screen.
///
/// # Errors
///
/// Returns a failure if standard output cannot be written to.
pub(crate) fn print(command: Option<Command>, is_all: bool, stdio: &mut Stdio) -> Result {
    let text = match command {
        Some(Command::Help) | None if is_all => program(),
        Some(Command::Help) | None => commands() + MORE,
        Some(command) if is_all => about(command),
        Some(command) => brief(command),
    };
    output::print(&mut stdio.output, text.as_bytes())
}

/// The end of the short help of the program.
const MORE: &str = "
ftp-cli COMMAND -h shows examples and the options that are used most;
ftp-cli COMMAND --help explains all of them. ftp-cli --help lists the options of
all commands, and the exit codes.
";

fn commands() -> String {
    let mut text = String::from(
        "ftp-cli: transfer, list, copy and serve files by FTP\n\n\
         Usage: ftp-cli [OPTION]... COMMAND ...\n\nCommands\n",
    );
    for command in Command::ALL {
        let _ = writeln!(text, "  {:<12} {}", command.name(), command.help().summary);
    }
    text
}

fn head(command: Command) -> String {
    let (name, CommandHelp { summary, usage, .. }) = (command.name(), command.help());
    format!("ftp-cli {name}: {summary}\n\nUsage: ftp-cli {name} {usage}\n")
}

fn brief(command: Command) -> String {
    let CommandHelp { used_most, examples, .. } = command.help();
    let mut text = head(command);
    list_examples(&mut text, examples.into_iter().take(EXAMPLES));
    let is_shown = |row: &&Row| match used_most.is_empty() {
        true => !row.group.is_global() || USED_EVERYWHERE.contains(&row.long),
        false => used_most.contains(&row.long),
    };
    let mut rows = command.rows().filter(is_shown).peekable();
    if rows.peek().is_some() {
        text.push_str("\nOptions that are used most\n");
    }
    rows.for_each(|row| option(&mut text, row));
    let _ = write!(text, "\nftp-cli {} --help explains all options.\n", command.name());
    text
}

fn list_examples(text: &mut String, examples: impl Iterator<Item = (&'static str, &'static str)>) {
    let mut examples = examples.peekable();
    if examples.peek().is_some() {
        text.push_str("\nExamples\n");
    }
    for (example, what) in examples {
        let _ = writeln!(text, "  # {what}\n  {example}");
    }
}

fn list_options<R: Iterator<Item = &'static Row>>(text: &mut String, rows: impl Fn() -> R) {
    for group in Group::ALL {
        let mut rows = rows().filter(|row| row.group == *group).peekable();
        if rows.peek().is_some() {
            let _ = write!(text, "\n{}\n", group.title());
        }
        rows.for_each(|row| option(text, row));
    }
}

fn program() -> String {
    let mut text = commands();
    text.push_str("\nOther names of commands\n");
    for synonym in Synonym::all() {
        let _ = writeln!(text, "  {:<12} {}", synonym.name, synonym.means);
    }
    if cfg!(feature = "client") {
        let _ = write!(text, "\n{URLS}");
    }
    text.push_str(
        "\nftp-cli help COMMAND lists all options of a command. The options below can stand\n\
         before or after the command.\n",
    );
    list_options(&mut text, options::global_rows);
    text.push_str("\nExit codes\n");
    for (exit, meaning) in exit::table() {
        let _ = writeln!(text, "  {:>3}  {}", exit.code(), wrapped(meaning, 7));
    }
    text
}

fn about(command: Command) -> String {
    let CommandHelp { about, examples, .. } = command.help();
    let mut text = head(command);
    if !about.is_empty() {
        let _ = write!(text, "\n{about}\n");
    }
    list_options(&mut text, || command.rows());
    list_examples(&mut text, examples.into_iter());
    #[cfg(feature = "server")]
    if command == Command::Serve {
        settings(&mut text);
    }
    text
}

/// Lists the settings of `serve`. Settings of `users`, `hosts` and `stores` are listed without
/// defaults.
#[cfg(feature = "server")]
fn settings(text: &mut String) {
    text.push_str(
        "\nSettings of --config and --set KEY=VALUE (in --set, commas separate list items)\n",
    );
    for setting in SettingHelp::all() {
        let key = format!("{}.{}", setting.table, setting.key);
        let help = setting.help.trim_end_matches('.');
        // Tables of users, hosts and stores.
        if setting.table.ends_with(".NAME") {
            line(text, &key, help);
            continue;
        }
        let default = match setting.default.as_str() {
            // The help explains what an empty value means.
            "" => String::new(),
            default => format!(" (default: {default})"),
        };
        line(text, &key, &format!("{help}{}{default}", setting.hint));
    }
}

fn option(text: &mut String, row: &Row) {
    let short = match row.short {
        None => "    ".to_owned(),
        Some(short) => format!("-{short}, "),
    };
    line(text, &format!("{short}--{}{}", row.long, row.value), row.help);
}

/// Writes a term, and its explanation from [`COLUMN`] on. If the term is too long, the explanation
/// begins on the next line.
fn line(text: &mut String, term: &str, explanation: &str) {
    let explanation = wrapped(explanation, COLUMN);
    let width = COLUMN - "  ".len();
    let _ = match term.chars().count() + "  ".len() > width {
        true => writeln!(text, "  {term}\n{:COLUMN$}{explanation}", ""),
        false => writeln!(text, "  {term:<width$}{explanation}"),
    };
}

/// Breaks `text` into lines of at most [`WIDTH`] columns, all but the first indented by `indent`.
fn wrapped(text: &str, indent: usize) -> String {
    const NO_BREAK: &str = "\u{a0}";
    let text = text.replace("(default: ", &format!("(default:{NO_BREAK}"));
    output::wrapped(&text, indent, WIDTH).replace(NO_BREAK, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every `--word` in a text.
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
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for row in command.rows() {
                let entry = format!("--{}{} {}", row.long, row.value, row.help);
                assert_eq!(words.matches(&entry).count(), 1, "{} {entry}", command.name());
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
    fn short_help_fits_on_a_screen() {
        for command in Command::ALL {
            let page = brief(*command);
            assert!(page.lines().count() <= 40, "{page}");
            let examples = page.lines().filter(|line| line.starts_with("  # ")).count();
            assert!((3..=EXAMPLES).contains(&examples) || *command == Command::Help, "{page}");
            for name in command.help().used_most {
                assert!(page.contains(&format!("--{name}")), "{name}: {page}");
            }
        }
        assert!((commands() + MORE).lines().count() <= 40);
    }

    #[test]
    fn help_fits_the_line_width_and_lists_every_summary() {
        let pages = Command::ALL.iter().flat_map(|command| [about(*command), brief(*command)]);
        for page in pages.chain([program(), commands() + MORE]) {
            for line in page.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
        for command in Command::ALL {
            assert!(program().contains(command.help().summary), "{}", command.name());
        }
    }
}
