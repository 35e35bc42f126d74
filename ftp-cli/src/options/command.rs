//! The commands, as data: a command is a variant, its place in [`Command::ALL`], and one [`Entry`]
//! in `entries.rs` or `control_entries.rs`. `help`, the man page and completions are generated from
//! this data.

/// A command of the program.
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
    Who,
    Status,
    Kick,
    Drain,
    Reload,
    Unban,
    Passwd,
    Demo,
    Help,
    Man,
    Completions,
}

/// The kind of an operand, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operand {
    /// A local file or directory.
    File,
    /// A local directory.
    Directory,
    /// An object on a server, for which completions have no suggestions.
    Url,
    /// A command of this program.
    Command,
    /// One of these words, separated by `|`.
    Words(&'static str),
}

/// The text of one command.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// Options and operands.
    pub(crate) usage: &'static str,
    /// An imperative of at most 50 characters, without a full stop.
    pub(crate) summary: &'static str,
    /// Paragraphs of at most 80 columns, separated by empty lines.
    pub(crate) about: &'static str,
    /// The kind of each operand; the last one applies to all that follow.
    pub(crate) operands: &'static [Operand],
    /// Command lines without the name of the program, and what each of them achieves.
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
        Self::Who,
        Self::Status,
        Self::Kick,
        Self::Drain,
        Self::Reload,
        Self::Unban,
        Self::Passwd,
        Self::Demo,
        Self::Help,
        Self::Man,
        Self::Completions,
    ];
}
