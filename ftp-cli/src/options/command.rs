//! The commands, as data: a command is a variant, its place in [`Command::ALL`], and one [`Entry`]
//! in `entries.rs`. `help`, the man page and completions are made from that.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::FtpUrl;

use super::urls;
use super::values;
use super::{Row, TABLE, entries};
use crate::exit::Failure;

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

/// One command, as users are told of it.
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

    /// What users are told of it.
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
        let bytes = name.as_bytes();
        let name = name.to_string_lossy();
        if let Some(command) = Self::ALL.iter().find(|command| command.name() == name) {
            return Ok(*command);
        }
        if let Some(failure) = lacking(bytes) {
            return Err(failure);
        }
        let near = || values::nearest(&name, Self::ALL.iter().map(|command| command.name()));
        let hint = match own_name(&name).or_else(near) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "ftp-cli help lists them".to_owned(),
        };
        Err(Failure::usage(format!("there is no command \"{name}\"; {hint}")))
    }

    /// The options that it takes.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.commands.contains(&self))
    }
}

/// What a command of other clients is called here.
fn own_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "cat" | "download" | "reget" | "mget" | "wget" => "get",
        "cp" | "sync" => "mirror",
        "del" | "dele" | "delete" | "mdelete" => "rm",
        "dir" | "list" | "nlist" => "ls",
        "mput" | "upload" => "put",
        "move" | "ren" | "rename" => "mv",
        "test" => "doctor",
        _ => return None,
    })
}

/// What is said where a URL stands in the place of the command. A password in it is not shown.
fn lacking(argument: &[u8]) -> Option<Failure> {
    let lists = "ftp-cli help lists the commands";
    if urls::is_url(argument) {
        return Some(Failure::usage(match FtpUrl::parse(argument) {
            Ok(url) => format!("no command before the URL; to download it: ftp-cli get {url}"),
            Err(_) => format!("no command before the URL; {lists}"),
        }));
    }
    let message = format!("no such command (not shown: it may hold a password); {lists}");
    urls::may_hold_password(argument).then(|| Failure::usage(message))
}
