//! ftp-cli(1), generated from the tables of commands, options and exit codes.

use std::fmt::Write;

use super::roff::{escaped, item, lines, paragraphs, section, title};
use crate::exit::{self, Exit};
use crate::options::{Command, Group, Row, Synonym, Value, all_rows};
use crate::texts::{CommandHelp, ENVIRONMENT, FILES, PATTERNS, URLS, terms};

/// Schema of `--json`.
const JSON: &str = include_str!("json.md");

pub(super) fn page() -> String {
    let mut text = title("FTP-CLI", 1, "User Commands");
    section(&mut text, "NAME");
    text.push_str("ftp\\-cli \\- transfer, list, copy and serve files by FTP\n");
    section(&mut text, "SYNOPSIS");
    for command in Command::ALL {
        let usage = escaped(command.help().usage);
        let _ = writeln!(text, "\\fBftp\\-cli {}\\fR {usage}\n.br", command.name());
    }
    if cfg!(feature = "client") {
        section(&mut text, "DESCRIPTION");
        paragraphs(&mut text, URLS);
    }
    section(&mut text, "PATTERNS");
    paragraphs(&mut text, PATTERNS);
    section(&mut text, "COMMANDS");
    for command in Command::ALL {
        about(&mut text, *command);
    }
    text.push_str(".SS Other names of commands\n");
    for synonym in Synonym::all() {
        item(&mut text, synonym.name, synonym.means);
    }
    section(&mut text, "OPTIONS");
    paragraphs(
        &mut text,
        "If only some commands accept an option, its description lists them. The options below can stand before or after the command.",
    );
    global_options(&mut text);
    section(&mut text, "EXIT STATUS");
    paragraphs(
        &mut text,
        "The word in brackets is the kind in --json. If the reader of standard output closes it, SIGPIPE \
         ends ftp-cli without a message.",
    );
    for (exit, meaning) in exit::table() {
        // Success is not a kind of failure.
        let kind = (exit != Exit::Success).then(|| format!(" [{}]", exit.kind()));
        let meaning = format!("{meaning}{}", kind.unwrap_or_default());
        item(&mut text, &exit.code().to_string(), &meaning);
    }
    if cfg!(feature = "client") {
        section(&mut text, "JSON LINES");
        schema(&mut text);
    }
    section(&mut text, "ENVIRONMENT");
    for (name, meaning) in terms(ENVIRONMENT) {
        item(&mut text, name, &meaning);
    }
    section(&mut text, "FILES");
    for (name, meaning) in terms(FILES) {
        item(&mut text, name, &meaning);
    }
    section(&mut text, "EXAMPLES");
    for (example, what) in Command::ALL.iter().flat_map(|command| command.help().examples) {
        item(&mut text, example, what);
    }
    section(&mut text, "STANDARDS");
    text.push_str("RFC 959, 1123, 1738, 2228, 2389, 2428, 3659 and 4217.\n");
    section(&mut text, "SEE ALSO");
    text.push_str("curl(1), lftp(1), netrc(5), server.toml(5)\n");
    text
}

/// Writes the options that can stand before the command, by group.
fn global_options(text: &mut String) {
    for group in Group::ALL.iter().filter(|group| group.is_global()) {
        let rows: Vec<&Row> = all_rows().filter(|row| row.group == *group).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, ".SS {}", escaped(group.title()));
        }
        for row in rows {
            option(text, row, row.commands.len() < Command::ALL.len());
        }
    }
}

/// Writes the text of `docs/json.md`, without the kinds of failures, which are listed with the exit
/// status.
fn schema(text: &mut String) {
    for block in JSON.split("\n\n") {
        let mut rows = block.lines().filter(|line| line.starts_with('|'));
        match rows.next() {
            _ if block.starts_with('#') => {}
            Some(head) if head.contains("| kind |") => {}
            Some(_) => {
                // The second row is a separator.
                for row in rows.skip(1) {
                    let row = row.replace('`', "");
                    let mut cells = row.trim_matches('|').split('|').map(str::trim);
                    let term = cells.next().unwrap_or_default();
                    let rest: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
                    item(text, term, &rest.join("; "));
                }
            }
            None => paragraphs(text, &block.replace('`', "")),
        }
    }
}

/// Writes a command, with the options that can only follow it.
fn about(text: &mut String, command: Command) {
    let CommandHelp { usage, summary, about, .. } = command.help();
    let name = command.name();
    let _ = writeln!(text, ".SS {name}");
    let _ = writeln!(text, "\\fBftp\\-cli {name}\\fR {}", escaped(usage));
    paragraphs(text, &format!("{summary}."));
    paragraphs(text, about);
    for row in command.rows().filter(|row| !row.group.is_global()) {
        option(text, row, false);
    }
}

fn option(text: &mut String, row: &Row, names_commands: bool) {
    let short = match row.short {
        None => String::new(),
        Some(short) => format!("\\fB\\-{short}\\fR, "),
    };
    let value = match row.value {
        Value::No => String::new(),
        Value::Needed(name) | Value::OneOf(name, _) => {
            format!(" \\fI{}\\fR", escaped(name))
        }
        Value::WithEqualSign(hint) => format!("[=\\fI{}\\fR]", escaped(hint)),
    };
    let _ = writeln!(text, ".TP\n{short}\\fB\\-\\-{}\\fR{value}", escaped(row.long));
    let _ = write!(text, "{}", lines(row.help));
    if names_commands {
        let built = row.commands.iter().filter(|command| command.is_built());
        let names: Vec<&str> = built.map(|command| command.name()).collect();
        let _ = writeln!(text, "({})", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TABLE;
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn each_command_option_and_exit_code_is_in_the_man_page() {
        let page = page();
        for command in Command::ALL {
            let name = command.name();
            assert_eq!(page.matches(&format!("\n.SS {name}\n")).count(), 1, "{name}");
        }
        for row in TABLE {
            let spelt = format!("\\fB\\-\\-{}\\fR", escaped(row.long));
            assert!(page.contains(&spelt), "{}", row.long);
            assert!(page.contains(&escaped(row.help)), "{}", row.help);
        }
        for (exit, meaning) in exit::table() {
            let kind = format!(" [{}]\n", exit.kind());
            let kind = if exit.code() == 0 { "\n" } else { &kind };
            let item = format!("\\fB{}\\fR\n{}{kind}", exit.code(), escaped(meaning));
            assert!(page.contains(&item), "{meaning}");
        }
        for event in ["start", "progress", "retry", "entry", "check", "done", "error", "summary"] {
            assert!(page.contains(&format!("\\fB{event}\\fR\n")), "{event}");
        }
    }

    /// Searches the sources for every environment variable that this crate reads.
    #[test]
    fn every_environment_variable_read_is_in_the_man_page() {
        let mut directories = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut names = [crate::connect::credentials::VARIABLE, crate::cmd::control::VARIABLE]
            .map(str::to_owned)
            .to_vec();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                for way in ["var_os(\"", "var(\"", "variable(\""] {
                    let found = code.split(way).skip(1);
                    names.extend(found.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
                }
            }
        }
        // Only tests read this variable, to write documents.
        names.retain(|name| name != "FTP_WRITE_DOCS");
        assert!(names.len() > 3, "{names:?}");
        for name in names {
            let is_told = |(told, _): (&str, String)| told.split(", ").any(|told| told == name);
            assert!(terms(ENVIRONMENT).any(is_told), "{name}");
        }
    }
}
