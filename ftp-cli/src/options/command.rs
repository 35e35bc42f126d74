//! Commands and their other names. A command is a row of [`commands!`] and a file in `ftp-cli/help`.

use std::ffi::OsStr;

use Command::{Ctl, Fxp, Get, Ls, Mirror, Mv, Put, Rm};
use Completes::{Directory, File, Nothing, Words};

use crate::texts::CommandHelp;

/// The shells that `completions` supports.
pub(crate) const SHELLS: &str = "bash|zsh|fish";

/// The pages of `man`.
pub(crate) const MAN_PAGES: &str =
    if cfg!(feature = "server") { "ftp-cli|server.toml" } else { "ftp-cli" };

/// Kind of value of an option or operand, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Completes {
    /// No value, or one that completions cannot know, such as a URL.
    Nothing,
    /// A local file or directory.
    File,
    /// A local directory.
    Directory,
    /// One of these words, separated by `|`.
    Words(&'static str),
    /// The name of a command of this program.
    Command,
}

/// Defines the enum, the names, the operands and the help files together, so that no command lacks one.
/// Each group begins with the features that its commands need.
macro_rules! commands {
    ($($built:meta { $($variant:ident $name:literal [$($operand:expr),*] $file:expr;)* })*) => {
        /// A command of the program.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Command { $($($variant),*),* }

        impl Command {
            /// All commands of this build, in the order of `--help`.
            pub(crate) const ALL: &[Self] = &[$($(#[cfg($built)] Self::$variant,)*)*];

            /// The commands of all builds.
            pub(super) const OF_ALL_BUILDS: &[Self] = &[$($(Self::$variant),*),*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name),*),* }
            }

            /// Returns the kind of each operand; the last one applies to all that follow.
            pub(crate) const fn operands(self) -> &'static [Completes] {
                match self { $($(Self::$variant => &[$($operand),*]),*),* }
            }

            /// Returns the text of the help file, which is empty for a command that this build lacks.
            pub(crate) const fn file(self) -> &'static str {
                match self {
                    $($(#[cfg($built)] Self::$variant => $file,)*)*
                    #[allow(unreachable_patterns, reason = "some builds lack no command")]
                    _ => "",
                }
            }
        }
    };
}

commands! {
    feature = "client" {
        Get "get" [Nothing, File] include_str!("../../help/get.txt");
        Put "put" [File] include_str!("../../help/put.txt");
        Ls "ls" [Nothing] include_str!("../../help/ls.txt");
        Stat "stat" [Nothing] include_str!("../../help/stat.txt");
        Rm "rm" [Nothing] include_str!("../../help/rm.txt");
        Mkdir "mkdir" [Nothing] include_str!("../../help/mkdir.txt");
        Rmdir "rmdir" [Nothing] include_str!("../../help/rmdir.txt");
        Mv "mv" [Nothing] include_str!("../../help/mv.txt");
        Chmod "chmod" [Words("644|755|600|700|u+w|go-rwx"), Nothing]
            include_str!("../../help/chmod.txt");
        Quote "quote" [Nothing] include_str!("../../help/quote.txt");
        Batch "batch" [Nothing, File] include_str!("../../help/batch.txt");
        Mirror "mirror" [Directory] include_str!("../../help/mirror.txt");
        Fxp "fxp" [Nothing] include_str!("../../help/fxp.txt");
        Doctor "doctor" [Nothing] include_str!("../../help/doctor.txt");
    }
    feature = "server" {
        Serve "serve" [Directory] include_str!("../../help/serve.txt");
        Ctl "ctl" [Words("who|status|drain|reload|kick|unban")]
            include_str!("../../help/ctl.txt");
        Passwd "passwd" [] include_str!("../../help/passwd.txt");
    }
    all(feature = "client", feature = "server") {
        Demo "demo" [] include_str!("../../help/demo.txt");
    }
    all() {
        Help "help" [Completes::Command] include_str!("../../help/help.txt");
        Man "man" [Words(MAN_PAGES)] include_str!("../../help/man.txt");
        Completions "completions" [Words(SHELLS)]
            include_str!("../../help/completions.txt");
    }
}

impl Command {
    pub(crate) fn help(self) -> CommandHelp {
        CommandHelp::read(self.name(), self.file())
    }

    /// Returns whether this build has the command.
    pub(crate) fn is_built(self) -> bool {
        Self::ALL.contains(&self)
    }
}

/// Another name of a command, and what it implies.
#[derive(Debug)]
pub(crate) struct Synonym {
    pub(crate) name: &'static str,
    /// The meaning: a command with options.
    pub(crate) means: &'static str,
    pub(crate) command: Command,
    /// Long names of the implied options, with their values.
    pub(super) implies: &'static [(&'static str, Option<&'static str>)],
    /// The implied first operand.
    pub(super) operand: Option<&'static str>,
}

const fn synonym(
    name: &'static str,
    means: &'static str,
    command: Command,
    implies: &'static [(&'static str, Option<&'static str>)],
) -> Synonym {
    Synonym { name, means, command, implies, operand: None }
}

/// Returns the name that a request to a running server has without `ctl`.
const fn request(name: &'static str, means: &'static str) -> Synonym {
    Synonym { name, means, command: Ctl, implies: &[], operand: Some(name) }
}

/// The name of the synonym whose command depends on its operands.
pub(super) const COPY: &str = "cp";

const SYNONYMS: &[Synonym] = &[
    synonym("cat", "get -o -", Get, &[("output", Some("-"))]),
    synonym(COPY, "get, put or fxp, depending on the operands", Get, &[]),
    synonym("del", "rm", Rm, &[]),
    synonym("dir", "ls -l", Ls, &[("long", None)]),
    request("drain", "ctl drain"),
    request("kick", "ctl kick"),
    synonym("mget", "get -g", Get, &[("glob", None)]),
    synonym("mput", "put", Put, &[]),
    request("reload", "ctl reload"),
    synonym("ren", "mv", Mv, &[]),
    request("status", "ctl status"),
    synonym("sync", "mirror", Mirror, &[]),
    request("unban", "ctl unban"),
    request("who", "ctl who"),
];

impl Synonym {
    /// Returns the other names of the commands of this build.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        SYNONYMS.iter().filter(|synonym| synonym.command.is_built())
    }

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
const SPELLINGS: &[(&str, &str, &[Command])] =
    &[("R", "recursive", &[Rm]), ("parallel", "jobs", &[Get, Put, Mirror, Fxp])];

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
