//! `completions SHELL`: prints a completion script for bash, zsh or fish, generated from the tables
//! of commands and options.

mod bash;
mod fish;
mod words;
mod zsh;

use crate::console::output;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::values;
use crate::options::{Options, SHELLS};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [shell] = options.operands.as_slice() else {
        return Err(Failure::usage(format!("completions takes one shell: {SHELLS}")));
    };
    let shells: [(_, fn() -> String); 3] =
        [("bash", bash::script), ("zsh", zsh::script), ("fish", fish::script)];
    let script = values::word(&shell.to_string_lossy(), &shells)
        .map_err(|wrong| Failure::usage(format!("completions: {wrong}")))?;
    output::print(&mut stdio.output, script().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Completes;
    use crate::options::{Command, TABLE};

    #[test]
    fn each_command_and_option_is_in_each_script() {
        for (shell, script) in
            [("bash", bash::script()), ("zsh", zsh::script()), ("fish", fish::script())]
        {
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
