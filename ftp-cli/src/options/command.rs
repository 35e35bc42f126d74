//! The commands, as data: a command is a variant, its place in [`Command::ALL`], and one [`Entry`]
//! in `entries.rs`. Dispatch, `help`, the man page and completions are made from that.

use std::ffi::OsStr;

use super::{Options, Row, TABLE, entries};
use crate::exit::Failure;
use crate::stdio::Stdio;
use crate::values;

/// What the program is told to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    Get,
    Put,
    Ls,
    Stat,
    Rm,
    Mkdir,
    Rmdir,
    Mv,
    Chmod,
    Quote,
    Batch,
    Mirror,
    Fxp,
    Doctor,
    Serve,
    Passwd,
    Demo,
    Help,
    Man,
    Completions,
}

/// What can be an operand, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operand {
    /// A file or directory here.
    File,
    /// A directory here.
    Directory,
    /// Something on a server: nothing that can be completed.
    Url,
    /// A command of this program.
    Command,
    /// One of these, between `|`.
    Words(&'static str),
}

/// One command, as people are told of it.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What follows the name.
    pub(crate) usage: &'static str,
    /// A few words without a full stop.
    pub(crate) summary: &'static str,
    /// Sentences, in lines of 100 characters at most; paragraphs have an empty line between them.
    pub(crate) about: &'static str,
    /// What the operands are; further ones are like the last.
    pub(crate) operands: &'static [Operand],
    /// Command lines, without the name of the program, and what each does.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    pub(crate) run: fn(&Options, &mut Stdio) -> Result<(), Failure>,
}

impl Command {
    pub(crate) const ALL: &[Self] = &[
        Self::Get,
        Self::Put,
        Self::Ls,
        Self::Stat,
        Self::Rm,
        Self::Mkdir,
        Self::Rmdir,
        Self::Mv,
        Self::Chmod,
        Self::Quote,
        Self::Batch,
        Self::Mirror,
        Self::Fxp,
        Self::Doctor,
        Self::Serve,
        Self::Passwd,
        Self::Demo,
        Self::Help,
        Self::Man,
        Self::Completions,
    ];

    /// What people are told of it, and what does it.
    pub(crate) const fn entry(self) -> Entry {
        match self {
            Self::Get => entries::GET,
            Self::Put => entries::PUT,
            Self::Ls => entries::LS,
            Self::Stat => entries::STAT,
            Self::Rm => entries::RM,
            Self::Mkdir => entries::MKDIR,
            Self::Rmdir => entries::RMDIR,
            Self::Mv => entries::MV,
            Self::Chmod => entries::CHMOD,
            Self::Quote => entries::QUOTE,
            Self::Batch => entries::BATCH,
            Self::Mirror => entries::MIRROR,
            Self::Fxp => entries::FXP,
            Self::Doctor => entries::DOCTOR,
            Self::Serve => entries::SERVE,
            Self::Passwd => entries::PASSWD,
            Self::Demo => entries::DEMO,
            Self::Help => entries::HELP,
            Self::Man => entries::MAN,
            Self::Completions => entries::COMPLETIONS,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.entry().name
    }

    /// The command called `name`.
    ///
    /// # Errors
    ///
    /// Usage, with the command that may be meant.
    pub(crate) fn find(name: &OsStr) -> Result<Self, Failure> {
        let name = name.to_string_lossy();
        if let Some(command) = Self::ALL.iter().find(|command| command.name() == name) {
            return Ok(*command);
        }
        let hint = match values::nearest(&name, Self::ALL.iter().map(|command| command.name())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "ftp-cli help lists them".to_owned(),
        };
        Err(Failure::usage(format!("there is no command \"{name}\"; {hint}")))
    }

    /// The options that it takes.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.commands.contains(self))
    }
}
