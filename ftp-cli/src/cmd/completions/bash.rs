//! Generates completion for bash: a function that `complete -F` calls.

use std::fmt::Write;

use super::words::{BOOKMARKS, all_names, names, spellings, taking_word};
use crate::options::{self, Command, Completes, Row, Value};

/// Text before the generated parts. In bash, `=` and `:` are separate words during completion.
const BEGIN: &str = r#"# Bash completion for ftp-cli: source this file, or save it as
# ~/.local/share/bash-completion/completions/ftp-cli
_ftp_cli_bookmarks() {
    local file=${FTP_CLI_CONFIG-${XDG_CONFIG_HOME:-$HOME/.config}/ftp-cli/config.toml}
    [[ -r $file ]] && sed -n 'BOOKMARKS' -- "$file"
}
_ftp_cli() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local equal=
    if [[ $cur == = ]]; then
        equal=y cur=
    elif [[ $prev == = ]]; then
        equal=y prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    # By default, `@` is a separate word too; bookmarks begin with it.
    local mark=
    if [[ $COMP_WORDBREAKS == *@* && $cur == @ ]]; then
        mark=apart cur=
    elif [[ $prev == @ ]]; then
        mark=apart
    elif [[ $cur == @* ]]; then
        mark=y
    fi
    local at command= options= words= files= taking=
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            =) at=$((at + 1)) ;;
"#;

const MIDDLE: &str = r#"            -*) ;;
            *) command=${COMP_WORDS[at]}; break ;;
        esac
    done
    case $command in
"#;

const END: &str = r#"    esac
    if [[ -z $taking && $cur == -* ]]; then
        words=$options files=
    fi
    if [[ -z $taking && -n $mark && $options == *' --no-config'* ]]; then
        compopt -o nospace
        words=$(_ftp_cli_bookmarks) files=
        [[ $mark == apart ]] && words=${words//@/}
    fi
    case $files in
        f) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        d) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
    esac
}
complete -F _ftp_cli ftp-cli
"#;

pub(super) fn script() -> String {
    let mut text = BEGIN.replace("BOOKMARKS", BOOKMARKS);
    let _ = writeln!(
        text,
        "            {}) [[ ${{COMP_WORDS[at+1]}} == = ]] && at=$((at + 1)); at=$((at + 1)) ;;",
        taking_word().join("|")
    );
    text.push_str(MIDDLE);
    let rows: Vec<&Row> = options::global_rows().collect();
    case(&mut text, "''", &rows, &[Completes::Command]);
    for command in Command::ALL {
        let rows: Vec<&Row> = command.rows().collect();
        case(&mut text, &names(*command).join("|"), &rows, command.operands());
    }
    text.push_str(END);
    text
}

/// Writes the branch of one command, or the branch `''` for a line without a command.
fn case(text: &mut String, name: &str, rows: &[&Row], operands: &[Completes]) {
    let spelt: Vec<String> = rows.iter().flat_map(|row| spellings(row)).collect();
    let _ = writeln!(text, "        {name})\n            options='{}'", spelt.join(" "));
    for operand in operands {
        let set = set(*operand);
        if !set.is_empty() {
            let _ = writeln!(text, "            {set}");
        }
    }
    let taking = rows.iter().filter(|row| row.value != Value::No).collect::<Vec<_>>();
    if !taking.is_empty() {
        text.push_str("            case $prev in\n");
        for row in taking {
            let condition = match row.value {
                // Only a word after an equals sign is the value of this option.
                Value::WithEqualSign(_) => "[[ -n $equal ]] && ",
                _ => "",
            };
            let spelt = spellings(row).collect::<Vec<_>>().join("|");
            let set = set(row.value.completes());
            let _ = writeln!(
                text,
                "                {spelt}) {condition}taking=y words= files= {set} ;;",
            );
        }
        text.push_str("            esac\n");
    }
    text.push_str("            ;;\n");
}

/// Returns the assignment that offers these completions.
fn set(completes: Completes) -> String {
    match completes {
        Completes::Nothing => String::new(),
        Completes::File => "files=f".to_owned(),
        Completes::Directory => "files=d".to_owned(),
        Completes::Words(words) => format!("words='{}'", words.replace('|', " ")),
        Completes::Command => format!("words='{}'", all_names().join(" ")),
    }
}
