//! Other names of commands, which users of curl, lftp, rclone and shells know.

use std::ffi::OsStr;

use super::Command;

/// Another name of a command, and the options that it implies.
#[derive(Debug)]
pub(crate) struct Synonym {
    pub(crate) name: &'static str,
    /// The meaning: a command with options.
    pub(crate) means: &'static str,
    pub(crate) command: Command,
    /// Long names of the implied options, with their values.
    pub(super) implies: &'static [(&'static str, Option<&'static str>)],
}

const fn synonym(
    name: &'static str,
    means: &'static str,
    command: Command,
    implies: &'static [(&'static str, Option<&'static str>)],
) -> Synonym {
    Synonym { name, means, command, implies }
}

/// The name of the synonym whose command depends on its operands.
pub(super) const COPY: &str = "cp";

pub(crate) const SYNONYMS: &[Synonym] = &[
    synonym("cat", "get -o -", Command::Get, &[("output", Some("-"))]),
    synonym(COPY, "get, put or fxp, depending on the operands", Command::Get, &[]),
    synonym("del", "rm", Command::Rm, &[]),
    synonym("dir", "ls -l", Command::Ls, &[("long", None)]),
    synonym("mget", "get -g", Command::Get, &[("glob", None)]),
    synonym("mput", "put", Command::Put, &[]),
    synonym("ren", "mv", Command::Mv, &[]),
    synonym("sync", "mirror", Command::Mirror, &[]),
];

impl Synonym {
    /// Returns the synonym called `name`.
    pub(super) fn find(name: &OsStr) -> Option<&'static Self> {
        SYNONYMS.iter().find(|synonym| name == synonym.name)
    }

    /// Returns the names by which `command` is also known.
    pub(crate) fn of(command: Command) -> impl Iterator<Item = &'static str> {
        let of = move |synonym: &&Self| synonym.command == command;
        SYNONYMS.iter().filter(of).map(|synonym| synonym.name)
    }
}

/// Other spellings of options, with the long name and the commands that accept the spelling.
const SPELLINGS: &[(&str, &str, &[Command])] = &[
    ("R", "recursive", &[Command::Rm]),
    ("parallel", "jobs", &[Command::Get, Command::Put, Command::Mirror, Command::Fxp]),
];

/// Returns the long name of the option that `command` also accepts as `spelling`, a letter or a
/// long name without dashes.
pub(super) fn meant(spelling: &str, command: Option<Command>) -> Option<&'static str> {
    let is_it = |(other, _, commands): &&(&str, &str, &[Command])| {
        *other == spelling && command.is_some_and(|command| commands.contains(&command))
    };
    SPELLINGS.iter().find(is_it).map(|(_, long, _)| *long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_hide_no_command_and_imply_existing_options() {
        for synonym in SYNONYMS {
            assert!(Command::ALL.iter().all(|command| command.name() != synonym.name));
            for (long, value) in synonym.implies {
                let row = synonym.command.rows().find(|row| row.long == *long).unwrap();
                assert_eq!(row.value.is_needed(), value.is_some(), "{long}");
            }
            assert_eq!(Synonym::find(OsStr::new(synonym.name)).unwrap().name, synonym.name);
        }
    }

    #[test]
    fn alternative_spellings_name_existing_options_and_hide_none() {
        for (spelling, long, commands) in SPELLINGS {
            for command in *commands {
                assert!(command.rows().any(|row| row.long == *long), "{spelling}");
                assert!(!command.rows().any(|row| row.is_called(spelling)), "{spelling}");
                assert_eq!(meant(spelling, Some(*command)), Some(*long));
            }
            assert_eq!(meant(spelling, None), None);
        }
    }
}
