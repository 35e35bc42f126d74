//! Generates completion for zsh, with its `_arguments`.

use std::fmt::Write;

use super::words::{BOOKMARKS, names, quoted, spellings, takes_bookmarks};
use crate::options::{self, Command, Completes, Row, Synonym, Value};

/// Text before the options that can precede a command.
const BEGIN: &str = r#"#compdef ftp-cli
# Zsh completion for ftp-cli: save it as _ftp-cli in a directory of $fpath.
_ftp-cli_operand() {
    if [[ $PREFIX != @* ]]; then
        (( $# )) && "$@"
        return
    fi
    local file=${FTP_CLI_CONFIG-${XDG_CONFIG_HOME:-$HOME/.config}/ftp-cli/config.toml}
    local -a names
    [[ -r $file ]] && names=(${(f)"$(sed -n 'BOOKMARKS' -- $file)"})
    (( $#names )) && compadd -S '' -- $names
}
_ftp-cli() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C -s -S \
"#;

const MIDDLE: &str = r#"        '1:command:->command' '*::operand:->operand' && return
    if [[ $state == command ]]; then
        _ftp-cli_commands
        return
    fi
    case $line[1] in
"#;

const END: &str = r#"    esac
}
if [[ $funcstack[1] == _ftp-cli ]]; then
    _ftp-cli "$@"
else
    compdef _ftp-cli ftp-cli
fi
"#;

pub(super) fn script() -> String {
    let mut text = BEGIN.replace("BOOKMARKS", BOOKMARKS);
    for row in options::global_rows() {
        option(&mut text, "        ", row);
    }
    text.push_str(MIDDLE);
    for command in Command::ALL {
        let names = names(*command).join("|");
        let _ = writeln!(text, "        {names})\n            _arguments -s -S \\");
        for row in command.rows() {
            option(&mut text, "                ", row);
        }
        let operands = command.operands();
        let mut specs = Vec::new();
        for (at, operand) in operands.iter().enumerate() {
            // The last operand can be repeated.
            let place =
                if at + 1 == operands.len() { "*".to_owned() } else { (at + 1).to_string() };
            let spec = spec(*operand, takes_bookmarks(*command));
            specs.push(quoted(&format!("{place}:{spec}"), "'\\''"));
        }
        let _ = writeln!(text, "                {}\n            ;;", specs.join(" "));
    }
    text.push_str(END);
    let commands = Command::ALL.iter().map(|command| (command.name(), command.help().summary));
    let synonyms = Synonym::all().map(|synonym| (synonym.name, synonym.means));
    let commands: String = commands
        .chain(synonyms)
        .map(|(name, summary)| {
            let both = format!("{name}:{summary}");
            format!("        {}\n", quoted(&both, "'\\''"))
        })
        .collect();
    // The list must be defined before the call of `_ftp-cli` that ends the script.
    let at = text.find("_ftp-cli() {").unwrap_or_default();
    let list = format!(
        "_ftp-cli_commands() {{\n    local -a commands=(\n{commands}    )\n    \
         _describe command commands\n}}\n"
    );
    text.insert_str(at, &list);
    text
}

/// Writes an option, which can be repeated.
fn option(text: &mut String, indent: &str, row: &Row) {
    let help = escaped(row.help);
    for spelling in spellings(row) {
        let is_long = spelling.starts_with("--");
        let value = |name: &str| format!("{}:{}", escaped(name), action(row.value.completes()));
        let sign = if is_long { '=' } else { '+' };
        let spec = match row.value {
            Value::No => format!("*{spelling}[{help}]"),
            Value::Needed(name) | Value::OneOf(name, _) => {
                format!("*{spelling}{sign}[{help}]:{}", value(name))
            }
            Value::WithEqualSign(name) => format!("*{spelling}=-[{help}]::{}", value(name)),
        };
        let _ = writeln!(text, "{indent}{} \\", quoted(&spec, "'\\''"));
    }
}

/// Returns the name of an operand and its completion, which includes bookmarks if `or_bookmark` is
/// set.
fn spec(operand: Completes, or_bookmark: bool) -> String {
    let name = match operand {
        Completes::File => "file",
        Completes::Directory => "directory",
        Completes::Nothing => "URL",
        Completes::Command => "command",
        Completes::Words(_) => "word",
    };
    let action = action(operand);
    match or_bookmark {
        // The space keeps zsh from adding its own arguments.
        true => format!("{name}: _ftp-cli_operand {}", action.trim()),
        false => format!("{name}:{action}"),
    }
}

fn action(completes: Completes) -> String {
    match completes {
        Completes::Nothing => " ".to_owned(),
        Completes::File => "_files".to_owned(),
        Completes::Directory => "_files -/".to_owned(),
        Completes::Words(words) => format!("({})", words.replace('|', " ")),
        Completes::Command => "_ftp-cli_commands".to_owned(),
    }
}

/// Returns text escaped for the separators of `_arguments`.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if matches!(char, '[' | ']' | ':' | '\\') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}
