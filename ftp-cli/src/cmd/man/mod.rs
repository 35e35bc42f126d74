//! `man`: prints a man page, generated from the tables of this program, in roff (man(7)). The files
//! `ftp-cli.1` and `server.toml.5` have the fixed parts of the pages. In them, a name such as
//! `@OPTIONS@` stands for a generated part.

use std::collections::HashSet;
use std::fmt::Write;

#[cfg(feature = "server")]
use ftp_server::daemon::{Config, SettingHelp};

use crate::console::{Stdio, output};
use crate::exit::{self, Exit, Failure, Result};
use crate::options::{
    Command, CommandHelp, ENVIRONMENT, Group, MAN_PAGES, Options, PATTERNS, Row, Synonym, URLS,
    USED_FILES, Value, all_rows, filled, terms, values,
};

/// Schema of `--json`.
const JSON: &str = include_str!("json.md");

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let name = match options.operands.as_slice() {
        [] => "ftp-cli".into(),
        [name] => name.to_string_lossy(),
        _ => return Err(Failure::usage(format!("man takes one page: {MAN_PAGES}"))),
    };
    let pages: &[(_, fn() -> String)] = &[
        ("ftp-cli", of_program),
        #[cfg(feature = "server")]
        ("server.toml", of_settings),
    ];
    let page =
        values::word(&name, pages).map_err(|wrong| Failure::usage(format!("man: {wrong}")))?;
    output::print(&mut stdio.output, page().as_bytes())
}

/// Returns ftp-cli(1).
fn of_program() -> String {
    let commands = || Command::ALL.iter();
    let synopsis = commands().map(|command| {
        let usage = escaped(command.help().usage);
        format!("\\fBftp\\-cli {}\\fR {usage}\n.br\n", command.name())
    });
    let codes = exit::table().map(|(exit, meaning)| {
        // Success is not a kind of failure.
        let kind = (exit != Exit::Success).then(|| format!(" [{}]", exit.kind()));
        item(&exit.code().to_string(), &format!("{meaning}{}", kind.unwrap_or_default()))
    });
    let examples = commands().flat_map(|command| command.help().examples);
    let terms = |list| terms(list).map(|(term, meaning)| item(term, &meaning)).collect();
    let [description, schema] = match cfg!(feature = "client") {
        true => [
            format!(".SH DESCRIPTION\n{}", paragraphs(URLS)),
            format!(".SH JSON LINES\n{}", schema()),
        ],
        false => Default::default(),
    };
    let parts: [(_, String); 12] = [
        ("@VERSION@", escaped(env!("CARGO_PKG_VERSION"))),
        ("@SYNOPSIS@\n", synopsis.collect()),
        ("@DESCRIPTION@\n", description),
        ("@PATTERNS@\n", paragraphs(PATTERNS)),
        ("@COMMANDS@\n", commands().map(|command| about(*command)).collect()),
        ("@SYNONYMS@\n", Synonym::all().map(|it| item(it.name, it.means)).collect()),
        ("@OPTIONS@\n", global_options()),
        ("@CODES@\n", codes.collect()),
        ("@SCHEMA@\n", schema),
        ("@ENVIRONMENT@\n", terms(ENVIRONMENT)),
        ("@FILES@\n", terms(USED_FILES)),
        ("@EXAMPLES@\n", examples.map(|(example, what)| item(example, what)).collect()),
    ];
    filled(include_str!("ftp-cli.1"), &parts)
}

/// Returns the options that can stand before the command, by group.
fn global_options() -> String {
    let mut text = String::new();
    for group in Group::ALL.iter().filter(|group| group.is_global()) {
        let rows: Vec<&Row> = all_rows().filter(|row| row.group == *group).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, ".SS {}", escaped(group.title()));
        }
        text.extend(
            rows.into_iter().map(|row| option(row, row.commands.len() < Command::ALL.len())),
        );
    }
    text
}

/// Returns the text of `docs/json.md`, without the kinds of failures, which are listed with the exit
/// status.
fn schema() -> String {
    let mut text = String::new();
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
                    text += &item(term, &rest.join("; "));
                }
            }
            None => text += &paragraphs(&block.replace('`', "")),
        }
    }
    text
}

/// Returns a command, with the options that can only follow it.
fn about(command: Command) -> String {
    let CommandHelp { usage, summary, about, .. } = command.help();
    let (name, usage) = (command.name(), escaped(usage));
    let rows = command.rows().filter(|row| !row.group.is_global());
    let options: String = rows.map(|row| option(row, false)).collect();
    let (summary, about) = (paragraphs(&format!("{summary}.")), paragraphs(about));
    format!(".SS {name}\n\\fBftp\\-cli {name}\\fR {usage}\n{summary}{about}{options}")
}

fn option(row: &Row, names_commands: bool) -> String {
    let short = row.short.map_or(String::new(), |short| format!("\\fB\\-{short}\\fR, "));
    let value = match row.value {
        Value::No => String::new(),
        Value::Needed(name) | Value::OneOf(name, _) => format!(" \\fI{}\\fR", escaped(name)),
        Value::WithEqualSign(hint) => format!("[=\\fI{}\\fR]", escaped(hint)),
    };
    let (long, help) = (escaped(row.long), lines(row.help));
    let mut text = format!(".TP\n{short}\\fB\\-\\-{long}\\fR{value}\n{help}");
    if names_commands {
        let built = row.commands.iter().filter(|command| command.is_built());
        let names: Vec<&str> = built.map(|command| command.name()).collect();
        let _ = writeln!(text, "({})", names.join(", "));
    }
    text
}

/// Returns server.toml(5).
#[cfg(feature = "server")]
fn of_settings() -> String {
    let settings = SettingHelp::all();
    let keys = |table: &str| -> String {
        settings.iter().filter(|setting| setting.table == table).map(key).collect()
    };
    // Each table once, in order, except for those with a text in the template.
    let mut known = HashSet::from(["users.NAME", "hosts.NAME", "stores.NAME"]);
    let tables = settings.iter().map(|setting| setting.table);
    let tables = tables.filter(|table| known.insert(*table)).map(|table| {
        let (title, keys) = (table.to_uppercase(), keys(table));
        format!(".SH [{title}]\n{keys}")
    });
    let parts: [(_, String); 6] = [
        ("@VERSION@", escaped(env!("CARGO_PKG_VERSION"))),
        ("@ABOUT@\n", paragraphs(Config::ABOUT)),
        ("@TABLES@\n", tables.collect()),
        ("@USERS@\n", keys("users.NAME")),
        ("@HOSTS@\n", keys("hosts.NAME")),
        ("@STORES@\n", keys("stores.NAME")),
    ];
    filled(include_str!("server.toml.5"), &parts)
}

#[cfg(feature = "server")]
fn key(setting: &SettingHelp) -> String {
    let SettingHelp { key, literal, meaning, .. } = setting;
    let restart = if setting.needs_restart { "Changes take effect after a restart.\n" } else { "" };
    let (key, literal, meaning) = (escaped(key), escaped(literal), lines(meaning));
    format!(".TP\n\\fB{key}\\fR = {literal}\n{meaning}{restart}")
}

fn item(term: &str, meaning: &str) -> String {
    format!(".TP\n\\fB{}\\fR\n{}", escaped(term), lines(meaning))
}

fn paragraphs(plain: &str) -> String {
    let paragraph = |paragraph: &str| {
        // Indented lines are a table.
        let (begin, end) = if paragraph.starts_with(' ') { (".nf\n", ".fi\n") } else { ("", "") };
        format!(".PP\n{begin}{}{end}", lines(paragraph))
    };
    plain.split("\n\n").filter(|it| !it.trim().is_empty()).map(paragraph).collect()
}

/// Escapes lines of text, so that none of them is a roff request.
fn lines(plain: &str) -> String {
    let line = |line: &str| {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{}\n", escaped(line))
    };
    plain.trim_matches('\n').lines().map(line).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests;
