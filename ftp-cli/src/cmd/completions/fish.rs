//! Generates completion for fish, with one `complete` for each option of each command.

use std::fmt::Write;

use super::words::{BOOKMARKS, all_names, names, quoted, takes_bookmarks, taking_word};
use crate::options::{self, Command, Completes, Row, Synonym};

/// Start of the script. `__ftp_cli_command` prints the command on the line, and fails if the line
/// has no command.
const BEGIN: &str = r#"# Fish completion for ftp-cli: save it as ~/.config/fish/completions/ftp-cli.fish
function __ftp_cli_bookmarks
    set -l file $HOME/.config/ftp-cli/config.toml
    test -n "$XDG_CONFIG_HOME"; and set file $XDG_CONFIG_HOME/ftp-cli/config.toml
    set -q FTP_CLI_CONFIG; and set file $FTP_CLI_CONFIG
    test -r "$file"; and sed -n 'BOOKMARKS' -- "$file"
end
function __ftp_cli_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
            continue
        end
        switch $word
"#;

const MIDDLE: &str = r#"                set skip yes
            case '-*'
            case '*'
                echo $word
                return 0
        end
    end
    return 1
end
complete -c ftp-cli -f
"#;

/// Condition for a line without a command.
const NONE: &str = "not __ftp_cli_command >/dev/null";

pub(super) fn script() -> String {
    // Within quotes, fish takes `\\` for a backslash.
    let mut text = BEGIN.replace("BOOKMARKS", &BOOKMARKS.replace('\\', r"\\"));
    let _ = writeln!(text, "            case {}", taking_word().join(" "));
    text.push_str(MIDDLE);
    for row in options::global_rows() {
        option(&mut text, NONE, row);
    }
    for command in Command::ALL {
        let (name, summary) = (command.name(), text_of(command.help().summary));
        let _ = writeln!(text, "complete -c ftp-cli -n '{NONE}' -a {name} -d {summary}");
    }
    for synonym in Synonym::all() {
        let means = text_of(synonym.means);
        let _ = writeln!(text, "complete -c ftp-cli -n '{NONE}' -a {} -d {means}", synonym.name);
    }
    for command in Command::ALL {
        let names = names(*command).join(" ");
        let condition = format!("contains -- (__ftp_cli_command) {names}");
        for row in command.rows() {
            option(&mut text, &condition, row);
        }
        if takes_bookmarks(*command) {
            let _ = writeln!(
                text,
                "complete -c ftp-cli -n '{condition}; and string match -q \"@*\" -- (commandline -ct)' -a '(__ftp_cli_bookmarks)'"
            );
        }
        for operand in command.operands() {
            let offered = offered(*operand);
            if !offered.is_empty() {
                let _ = writeln!(text, "complete -c ftp-cli -n '{condition}'{offered}");
            }
        }
    }
    text
}

fn option(text: &mut String, condition: &str, row: &Row) {
    let _ = write!(text, "complete -c ftp-cli -n '{condition}'");
    if let Some(short) = row.short {
        let _ = write!(text, " -s {short}");
    }
    let _ = write!(text, " -l {}", row.long);
    if row.value.is_needed() {
        // `-r` completes file names; `-x` does not.
        text.push_str(match row.value.completes() {
            Completes::File => " -r",
            _ => " -x",
        });
        text.push_str(&offered(row.value.completes()));
    }
    let _ = writeln!(text, " -d {}", text_of(row.help));
}

fn offered(completes: Completes) -> String {
    match completes {
        Completes::Nothing => String::new(),
        Completes::File => " -F".to_owned(),
        Completes::Directory => " -a '(__fish_complete_directories)'".to_owned(),
        Completes::Words(words) => format!(" -a '{}'", words.replace('|', " ")),
        Completes::Command => format!(" -a '{}'", all_names().join(" ")),
    }
}

fn text_of(text: &str) -> String {
    quoted(&text.replace('\\', "\\\\"), "\\'")
}
