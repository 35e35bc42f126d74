//! `completions SHELL`: prints a completion script for bash, zsh or fish, generated from the tables
//! of commands and options. The file `template.SHELL` has the fixed part of each script. In it, a
//! name such as `@CASES@` stands for a generated part.

use std::fmt::Write;
use std::iter;

use crate::console::{Stdio, output};
use crate::exit::{Failure, Result};
use crate::options::{
    self, Command, Completes, Options, Row, SHELLS, Synonym, Value, filled, values,
};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let [shell] = options.operands.as_slice() else {
        return Err(Failure::usage(format!("completions takes one shell: {SHELLS}")));
    };
    let shells: [(_, fn() -> String); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];
    let script = values::word(&shell.to_string_lossy(), &shells)
        .map_err(|wrong| Failure::usage(format!("completions: {wrong}")))?;
    output::print(&mut stdio.output, script().as_bytes())
}

/// Program for sed that prints the bookmarks of a configuration file, each as `@NAME/`.
const BOOKMARKS: &str = r#"/^[[:space:]]*\[bookmarks\]/,/^[[:space:]]*\[/s|^[[:space:]]*"\{0,1\}\([A-Za-z0-9._-]\{1,\}\)"\{0,1\}[[:space:]]*=.*|@\1/|p"#;

/// Returns all names of a command, its own name first.
fn names(command: Command, separator: &str) -> String {
    let names = iter::once(command.name()).chain(Synonym::of(command));
    names.collect::<Vec<_>>().join(separator)
}

/// Returns all names of all commands, each with what it does.
fn all_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let commands = Command::ALL.iter().map(|command| (command.name(), command.help().summary));
    commands.chain(Synonym::all().map(|synonym| (synonym.name, synonym.means)))
}

/// Returns the words that complete a value or an operand, separated by spaces; `None` if it is not
/// one of a few words.
fn words(completes: Completes) -> Option<String> {
    match completes {
        Completes::Words(words) => Some(words.replace('|', " ")),
        Completes::Command => Some(all_names().map(|(name, _)| name).collect::<Vec<_>>().join(" ")),
        _ => None,
    }
}

fn takes_bookmarks(command: Command) -> bool {
    command.rows().any(|row| row.long == "no-config")
}

/// Returns the spellings of an option, such as `-u` and `--user`.
fn spellings(row: &Row) -> impl Iterator<Item = String> {
    let short = row.short.map(|short| format!("-{short}"));
    short.into_iter().chain([format!("--{}", row.long)])
}

/// Returns the spellings of the options before a command that take the next word as their value.
fn taking_word(separator: &str) -> String {
    let taking = options::global_rows().filter(|row| row.value.is_needed());
    taking.flat_map(spellings).collect::<Vec<_>>().join(separator)
}

/// Puts text in single quotes, and replaces each `'` within it by `escape`.
fn quoted(text: &str, escape: &str) -> String {
    format!("'{}'", text.replace('\'', escape))
}

/// Returns the script for bash: a function that `complete -F` calls. In bash, `=` and `:` are
/// separate words during completion.
fn bash() -> String {
    let rows: Vec<&Row> = options::global_rows().collect();
    let mut cases = bash_case("''", &rows, &[Completes::Command]);
    for command in Command::ALL {
        let rows: Vec<&Row> = command.rows().collect();
        cases += &bash_case(&names(*command, "|"), &rows, command.operands());
    }
    let parts =
        [("@BOOKMARKS@", BOOKMARKS.into()), ("@TAKING@", taking_word("|")), ("@CASES@\n", cases)];
    filled(include_str!("template.bash"), &parts)
}

/// Returns the branch of one command, or the branch `''` for a line without a command.
fn bash_case(name: &str, rows: &[&Row], operands: &[Completes]) -> String {
    let spelt: Vec<String> = rows.iter().flat_map(|row| spellings(row)).collect();
    let mut text = format!("        {name})\n            options='{}'\n", spelt.join(" "));
    for set in operands.iter().map(|operand| bash_set(*operand)).filter(|set| !set.is_empty()) {
        let _ = writeln!(text, "            {set}");
    }
    let taking: Vec<_> = rows.iter().filter(|row| row.value != Value::No).collect();
    if !taking.is_empty() {
        text.push_str("            case $prev in\n");
        for row in taking {
            let condition = match row.value {
                // Only a word after an equals sign is the value of this option.
                Value::WithEqualSign(_) => "[[ -n $equal ]] && ",
                _ => "",
            };
            let spelt = spellings(row).collect::<Vec<_>>().join("|");
            let set = bash_set(row.value.completes());
            let _ = writeln!(
                text,
                "                {spelt}) {condition}taking=y words= files= {set} ;;",
            );
        }
        text.push_str("            esac\n");
    }
    text + "            ;;\n"
}

fn bash_set(completes: Completes) -> String {
    match completes {
        Completes::File => "files=f".to_owned(),
        Completes::Directory => "files=d".to_owned(),
        other => words(other).map_or(String::new(), |words| format!("words='{words}'")),
    }
}

/// Returns the script for zsh, which uses its `_arguments`.
fn zsh() -> String {
    let commands = all_names().map(|(name, summary)| {
        format!("        {}", quoted(&format!("{name}:{summary}"), "'\\''"))
    });
    let commands = commands.collect::<Vec<_>>().join("\n");
    let options: String = options::global_rows().map(|row| zsh_option("        ", row)).collect();
    let mut cases = String::new();
    for command in Command::ALL {
        let _ =
            writeln!(cases, "        {})\n            _arguments -s -S \\", names(*command, "|"));
        cases.extend(command.rows().map(|row| zsh_option("                ", row)));
        let operands = command.operands();
        let mut specs = Vec::new();
        for (at, operand) in operands.iter().enumerate() {
            // The last operand can be repeated.
            let place =
                if at + 1 == operands.len() { "*".to_owned() } else { (at + 1).to_string() };
            let spec = zsh_operand(*operand, takes_bookmarks(*command));
            specs.push(quoted(&format!("{place}:{spec}"), "'\\''"));
        }
        let _ = writeln!(cases, "                {}\n            ;;", specs.join(" "));
    }
    let parts = [
        ("@BOOKMARKS@", BOOKMARKS.into()),
        ("@COMMANDS@", commands),
        ("@OPTIONS@\n", options),
        ("@CASES@\n", cases),
    ];
    filled(include_str!("template.zsh"), &parts)
}

/// Returns an option, which can be repeated.
fn zsh_option(indent: &str, row: &Row) -> String {
    let help = zsh_escaped(row.help);
    let option = |spelling: String| {
        let sign = if spelling.starts_with("--") { '=' } else { '+' };
        let value =
            |name: &str| format!("{}:{}", zsh_escaped(name), zsh_action(row.value.completes()));
        let spec = match row.value {
            Value::No => format!("*{spelling}[{help}]"),
            Value::Needed(name) | Value::OneOf(name, _) => {
                format!("*{spelling}{sign}[{help}]:{}", value(name))
            }
            Value::WithEqualSign(name) => format!("*{spelling}=-[{help}]::{}", value(name)),
        };
        format!("{indent}{} \\\n", quoted(&spec, "'\\''"))
    };
    spellings(row).map(option).collect()
}

/// Returns the name of an operand and its completion, which includes bookmarks if `or_bookmark` is
/// set.
fn zsh_operand(operand: Completes, or_bookmark: bool) -> String {
    let name = match operand {
        Completes::File => "file",
        Completes::Directory => "directory",
        Completes::Nothing => "URL",
        Completes::Command => "command",
        Completes::Words(_) => "word",
    };
    let action = zsh_action(operand);
    match or_bookmark {
        // The space keeps zsh from adding its own arguments.
        true => format!("{name}: _ftp-cli_operand {}", action.trim()),
        false => format!("{name}:{action}"),
    }
}

fn zsh_action(completes: Completes) -> String {
    match completes {
        Completes::Nothing => " ".to_owned(),
        Completes::File => "_files".to_owned(),
        Completes::Directory => "_files -/".to_owned(),
        Completes::Words(words) => format!("({})", words.replace('|', " ")),
        Completes::Command => "_ftp-cli_commands".to_owned(),
    }
}

/// Returns text escaped for the separators of `_arguments`.
fn zsh_escaped(text: &str) -> String {
    ['\\', '[', ']', ':']
        .iter()
        .fold(text.to_owned(), |text, char| text.replace(*char, &format!("\\{char}")))
}

/// Condition of fish for a line without a command.
const NONE: &str = "not __ftp_cli_command >/dev/null";

/// Returns the script for fish, with one `complete` for each option of each command. Its function
/// `__ftp_cli_command` prints the command on the line, and fails if the line has no command.
fn fish() -> String {
    let mut text: String = options::global_rows().map(|row| fish_option(NONE, row)).collect();
    for (name, summary) in all_names() {
        let what = fish_quoted(summary);
        let _ = writeln!(text, "complete -c ftp-cli -n '{NONE}' -a {name} -d {what}");
    }
    for command in Command::ALL {
        let condition = format!("contains -- (__ftp_cli_command) {}", names(*command, " "));
        text.extend(command.rows().map(|row| fish_option(&condition, row)));
        if takes_bookmarks(*command) {
            let _ = writeln!(
                text,
                "complete -c ftp-cli -n '{condition}; and string match -q \"@*\" -- (commandline -ct)' -a '(__ftp_cli_bookmarks)'"
            );
        }
        let offered = command.operands().iter().map(|operand| fish_offer(*operand));
        for offered in offered.filter(|offered| !offered.is_empty()) {
            let _ = writeln!(text, "complete -c ftp-cli -n '{condition}'{offered}");
        }
    }
    // Within quotes, fish takes `\\` for a backslash.
    let bookmarks = BOOKMARKS.replace('\\', r"\\");
    let parts = [("@BOOKMARKS@", bookmarks), ("@TAKING@", taking_word(" ")), ("@OPTIONS@\n", text)];
    filled(include_str!("template.fish"), &parts)
}

fn fish_option(condition: &str, row: &Row) -> String {
    let short = row.short.map_or(String::new(), |short| format!(" -s {short}"));
    let value = match row.value.completes() {
        _ if !row.value.is_needed() => String::new(),
        // `-r` completes file names; `-x` does not.
        Completes::File => format!(" -r{}", fish_offer(Completes::File)),
        other => format!(" -x{}", fish_offer(other)),
    };
    let (long, what) = (row.long, fish_quoted(row.help));
    format!("complete -c ftp-cli -n '{condition}'{short} -l {long}{value} -d {what}\n")
}

fn fish_offer(completes: Completes) -> String {
    match completes {
        Completes::File => " -F".to_owned(),
        Completes::Directory => " -a '(__fish_complete_directories)'".to_owned(),
        other => words(other).map_or(String::new(), |words| format!(" -a '{words}'")),
    }
}

fn fish_quoted(text: &str) -> String {
    quoted(&text.replace('\\', "\\\\"), "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TABLE;

    #[test]
    fn each_command_and_option_is_in_each_script() {
        for (shell, script) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            for command in Command::ALL {
                assert!(script.contains(command.name()), "{shell} {}", command.name());
            }
            for row in TABLE {
                let spelt = match shell {
                    "fish" => format!(" -l {}", row.long),
                    _ => format!("--{}", row.long),
                };
                assert!(script.contains(&spelt), "{shell} {}", row.long);
                let words = match row.value.completes() {
                    Completes::Words(words) => words.replace('|', " "),
                    _ => continue,
                };
                assert!(script.contains(&words), "{shell} {words}");
            }
        }
    }
}
