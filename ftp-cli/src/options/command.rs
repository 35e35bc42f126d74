//! The commands, as data: a command is a variant, its place in [`Command::ALL`], and one [`Entry`]
//! in `entries.rs`. `help`, the man page and completions are made from that.

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
}
