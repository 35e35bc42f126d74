//! Which options exclude each other, and which need another one.

use super::Command::{self, Fxp, Get, Mirror, Put, Serve};
use super::Options;
use crate::exit::{Failure, Result};

/// An option, the options that a command does not accept beside it, and why or what to do, if the
/// names do not tell.
struct Exclusion {
    commands: &'static [Command],
    option: &'static str,
    others: &'static [&'static str],
    hint: &'static str,
}

const fn exclusion(
    commands: &'static [Command],
    option: &'static str,
    others: &'static [&'static str],
    hint: &'static str,
) -> Exclusion {
    Exclusion { commands, option, others, hint }
}

const ANY: &[Command] = Command::ALL;

#[rustfmt::skip]
const EXCLUSIONS: &[Exclusion] = &[
    exclusion(ANY, "append", &["continue"], ""),
    exclusion(ANY, "unique", &["append", "continue"], ""),
    exclusion(ANY, "no-clobber", &["append"], ""),
    exclusion(ANY, "in-place", &["newer", "no-clobber"], "the next run would skip an incomplete file"),
    exclusion(ANY, "newer", &["if-changed"], ""),
    exclusion(ANY, "output", &["directory"], ""),
    exclusion(ANY, "temp", &["append", "unique"], ""),
    exclusion(&[Fxp], "temp", &["continue"], ""),
    exclusion(ANY, "segments", &["ascii", "continue", "in-place", "jobs", "remove-source"], ""),
    exclusion(ANY, "remove-source", &["append", "continue", "in-place", "unique"],
        "nothing would prove that the target is the source"),
    exclusion(ANY, "remove-source", &["delete", "manifest"], ""),
    exclusion(&[Put], "remove-source", &["if-changed", "newer"], "a skipped source would never be removed"),
    exclusion(&[Get], "recursive", &["ascii", "glob", "if-changed", "in-place", "input-file", "newer",
        "no-clobber", "output", "preserve", "segments", "verify"], ""),
    exclusion(&[Put], "recursive", &["append", "ascii", "if-changed", "newer", "no-clobber", "preserve",
        "unique", "verify"], ""),
    exclusion(&[Fxp], "recursive", &["verify"], ""),
    exclusion(ANY, "compress", &["reuse-data"], ""),
    exclusion(&[Serve], "port", &["listen"], "use --listen HOST:PORT"),
    exclusion(&[Serve], "drop-box", &["write"], "use --config for different rights of each user"),
];

/// Options, and the option without which they have no effect in these commands.
#[rustfmt::skip]
const NEEDS: &[(&[Command], &[&str], &str)] = &[
    (&[Get, Put], &["include", "exclude", "exclude-from", "dry-run"], "recursive"),
    (&[Fxp], &["jobs", "create-dirs", "include", "exclude", "exclude-from", "dry-run", "size-only", "listing", "delete",
        "max-delete", "ignore-errors", "stats"], "recursive"),
    (&[Mirror], &["force"], "manifest"),
    (&[Mirror, Fxp], &["max-delete", "ignore-errors"], "delete"),
    (ANY, &["retry-delay"], "retry"),
];

impl Options {
    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if two options exclude each other, or if an option has no effect without
    /// another one. In the configuration file, an option may have no effect.
    pub(crate) fn relate(&self, command: Command) -> Result {
        let apply = |it: &&Exclusion| it.commands.contains(&command) && self.has(it.option);
        for Exclusion { option, others, hint, .. } in EXCLUSIONS.iter().filter(apply) {
            if let Some(other) = others.iter().find(|other| self.has(other)) {
                let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
                let message = format!("--{option} and --{other} exclude each other{hint}");
                return Err(Failure::usage(message));
            }
        }
        for (_, options, needed) in NEEDS.iter().filter(|(of, ..)| of.contains(&command)) {
            if let Some(option) = self.last_typed(options)
                && !self.has(needed)
            {
                return Err(Failure::usage(format!("--{option} needs --{needed}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Group, Row};

    #[test]
    fn relations_name_options_of_their_commands() {
        let has = |command: &Command, long: &str| command.rows().any(|row| row.long == long);
        for Exclusion { commands, option, others, .. } in EXCLUSIONS {
            for other in *others {
                let both = |command: &Command| has(command, option) && has(command, other);
                let fitting = commands.iter().filter(|command| both(command)).count();
                let is_any = commands.len() == Command::ALL.len();
                assert!(fitting == commands.len() || is_any && fitting > 0, "{option} {other}");
            }
        }
        for (commands, options, needed) in NEEDS {
            for option in *options {
                let known: Vec<_> = commands.iter().filter(|it| has(it, option)).collect();
                assert!(!known.is_empty() && known.iter().all(|it| has(it, needed)), "{option}");
            }
        }
    }

    #[test]
    fn options_of_trees_need_a_tree_in_fxp() {
        let is_of_trees = |row: &&Row| row.group == Group::Trees || row.commands == [Mirror, Fxp];
        let of_trees = |option: &str| {
            NEEDS
                .iter()
                .any(|(commands, options, _)| commands.contains(&Fxp) && options.contains(&option))
        };
        for row in Fxp.rows().filter(is_of_trees) {
            assert!(of_trees(row.long), "--{}", row.long);
        }
    }
}
