//! Commands and options as data: the parser, `--help`, the man page and completions are generated
//! from them. A command is a row of [`commands!`] and a file in `ftp-cli/help`; an option is a row of
//! [`TABLE`]. Also which options exclude each other, and which need another one.
//!
//! Reads the texts in `ftp-cli/help`, which people write and the program shows. The file of a command,
//! such as `get.txt`, is what `--help` prints, without the options: the summary, a line
//! `Usage: ftp-cli get ...`, paragraphs of at most 80 columns, and `Examples` with two lines each. A line
//! `Used most:` below the usage names the options that `-h` shows. The other files are lists of terms:
//! each term has a line of its own, and its meaning is indented.

use std::ffi::OsStr;
use std::fmt;

use Command::{
    Batch, Chmod, Completions, Ctl, Demo, Doctor, Du, Fxp, Get, Help, Ls, Man, Mirror, Mkdir, Mv,
    Passwd, Put, Quote, Rm, Rmdir, Serve, Stat, User,
};
use Completes::{Directory, File, Nothing, Words};
use Group::{Data, Listing, Login, Output, Program, Robust, Server, Tls, Transfer, Trees};
use Value::{Needed, No, OneOf, WithEqualSign};

pub(crate) const SHELLS: &str = "bash|zsh|fish";

pub(crate) const MAN_PAGES: &str =
    if cfg!(feature = "server") { "ftp-cli|server.toml" } else { "ftp-cli" };

/// Kind of value of an option or operand, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Completes {
    /// No value, or one that completions cannot know, such as a URL.
    Nothing,
    /// A local file or directory.
    File,
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
        Du "du" [Nothing] include_str!("../../help/du.txt");
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
        User "user" [Words("add|passwd|lock|unlock|remove|list"), Nothing]
            include_str!("../../help/user.txt");
        Ctl "ctl" [Words("who|users|status|drain|reload|kick|unban")]
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

    pub(super) fn find(name: &OsStr) -> Option<&'static Self> {
        SYNONYMS.iter().find(|synonym| name == synonym.name)
    }

    pub(crate) fn of(command: Command) -> impl Iterator<Item = &'static str> {
        let of = move |synonym: &&Self| synonym.command == command;
        SYNONYMS.iter().filter(of).map(|synonym| synonym.name)
    }
}

/// Defines the enum and its columns together: whether options of the group can also stand before the
/// command, and the title.
macro_rules! groups {
    ($($variant:ident $is_global:literal $title:literal;)*) => {
        /// The topic of an option. Options of a global group can also stand before the command.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Group { $($variant),* }

        impl Group {
            /// All groups, in the order of `--help`.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            pub(crate) const fn is_global(self) -> bool {
                match self { $(Self::$variant => $is_global),* }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

groups! {
    Transfer false "Transfer";
    Trees false "Mirror";
    Listing false "Listing";
    Server false "Server";
    Login true "Login";
    Data true "Data connection";
    Tls true "TLS";
    Robust true "Timeouts and retries (TIME: seconds, or 250ms, 30s, 5min, 2h)";
    Output true "Output";
    Program true "Program";
}

/// Whether an option takes a value, and the name of that value in `--help`. `FILE` and `DIR` are
/// local paths, which completions offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    No,
    Needed(&'static str),
    /// One of a few words: the name in `--help`, and the words, separated by `|`.
    OneOf(&'static str, &'static str),
    /// An optional value, written after `=`: `--trace` or `--trace=FILE`.
    WithEqualSign(&'static str),
}

/// Formats the value as `--help` shows it after the name of the option.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => Ok(()),
            Self::Needed(name) | Self::OneOf(name, _) => write!(f, " {name}"),
            Self::WithEqualSign(name) => write!(f, "[={name}]"),
        }
    }
}

impl Value {
    pub(crate) fn is_needed(self) -> bool {
        matches!(self, Self::Needed(_) | Self::OneOf(..))
    }

    /// Returns whether the value is a local path.
    pub(crate) fn is_path(self) -> bool {
        matches!(self.completes(), File | Directory)
    }

    pub(crate) fn completes(self) -> Completes {
        match self {
            Self::Needed("FILE") | Self::WithEqualSign("FILE") => File,
            Self::Needed("DIR") => Directory,
            Self::OneOf(_, words) => Words(words),
            _ => Nothing,
        }
    }
}

/// One option of one or several commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) group: Group,
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) value: Value,
    /// The commands that take the option. A command accepts no option that it would ignore.
    pub(crate) commands: &'static [Command],
    pub(crate) help: &'static str,
}

impl Row {
    /// Returns whether `name` is the option's long or short name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.long == name || self.short.is_some_and(|short| name.chars().eq([short]))
    }
}

/// Returns a row. `short` is one character or empty.
const fn row(
    group: Group,
    short: &str,
    long: &'static str,
    value: Value,
    commands: &'static [Command],
    help: &'static str,
) -> Row {
    let short = match short.as_bytes() {
        [] => None,
        [short] => Some(*short as char),
        _ => panic!("a short option is one character"),
    };
    Row { group, short, long, value, commands, help }
}

const CLIENT: &[Command] =
    &[Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror];
/// All commands that connect to servers, except fxp.
const REMOTE: &[Command] =
    &[Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror, Doctor];
const FILES: &[Command] = &[Get, Put];
/// Commands that transfer named files.
const MOVERS: &[Command] = &[Get, Put, Batch];
const VERIFIERS: &[Command] = &[Get, Put, Fxp, Batch];
const DIALOGUE: &[Command] =
    &[Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror, Fxp, Doctor];
const TREES: &[Command] = &[Mirror, Fxp];
/// Commands that copy between a server and this computer, except batch.
const MIRRORS: &[Command] = &[Get, Put, Mirror];
/// Commands that accept `--lock`, which allows only one run at a time.
const LOCKERS: &[Command] = &[Get, Put, Rm, Batch, Mirror, Fxp];
/// Commands that select objects of a tree.
const CHOOSERS: &[Command] = &[Mirror, Fxp, Get, Put];
/// All commands whose `-h` shows help; for `ls` and `du`, `-h` means `--human-readable`.
#[rustfmt::skip]
const HELPED: &[Command] = &[
    Get, Put, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror, Fxp, Doctor, Serve, User, Ctl, Passwd, Demo,
    Help, Man, Completions,
];
/// Commands that transfer files and show progress.
const CARRIERS: &[Command] = &[Get, Put, Batch, Mirror];
/// Commands that retry transient failures. `quote` sends a raw command only once, because its
/// effect is unknown.
const STUBBORN: &[Command] =
    &[Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Batch, Mirror, Fxp];
/// Commands that can print more than their result.
const VERBOSE: &[Command] =
    &[Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror, Fxp, Serve, Demo];
/// Commands whose messages can be suppressed.
const QUIET: &[Command] = &[
    Get, Put, Ls, Stat, Du, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Mirror, Fxp, Doctor, Serve,
    Demo,
];
const ALL: &[Command] = Command::ALL;

#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(Transfer, "a", "ascii",            No,                            MOVERS,   "convert line endings (TYPE A)"),
    row(Transfer, "b", "binary",           No,                            MOVERS,   "transfer bytes unchanged (TYPE I, default)"),
    row(Transfer, "c", "continue",         No,                            &[Get],   "resume an interrupted download; keep NAME.part on failure"),
    row(Transfer, "c", "continue",         No,                            &[Put],   "resume where the server's file ends"),
    row(Transfer, "",  "append",           No,                            &[Put],   "append to the server's file (APPE); --retry never appends data twice"),
    row(Transfer, "",  "unique",           No,                            &[Put],   "upload under a new name that the server chooses (STOU); print the name"),
    row(Transfer, "o", "output",           Needed("FILE"),                &[Get],   "write to FILE (-: standard output)"),
    row(Transfer, "P", "directory",        Needed("DIR"),                 &[Get],   "write the files of all URLs into DIR"),
    row(Transfer, "i", "input-file",       Needed("FILE"),                &[Get],   "read URLs from FILE, one per line (-: standard input)"),
    row(Transfer, "r", "recursive",        No,                            &[Get],   "download a directory tree as mirror does; keep extra local files"),
    row(Transfer, "r", "recursive",        No,                            &[Put],   "upload a directory tree as mirror does; keep the server's extra files"),
    row(Transfer, "",  "remove-source",    No,                            MIRRORS,  "remove each source file once its copy is complete"),
    row(Transfer, "",  "temp",             WithEqualSign("PATTERN"),      &[Put, Mirror, Fxp], "upload as PATTERN, then rename; * stands for the file name (default: random)"),
    row(Transfer, "",  "newer",            No,                            FILES,    "skip files if the copy at the target is as new or newer"),
    row(Transfer, "",  "if-changed",       No,                            FILES,    "skip files whose size and time equal the target's (implies -p)"),
    row(Transfer, "",  "min-size",         Needed("SIZE"),                MIRRORS,  "skip files smaller than SIZE bytes, such as 500, 500K or 10M"),
    row(Transfer, "",  "max-size",         Needed("SIZE"),                MIRRORS,  "skip files larger than SIZE bytes, such as 500, 500K or 10M"),
    row(Transfer, "",  "min-age",          Needed("TIME"),                MIRRORS,  "skip files modified less than TIME ago, such as 5min, 2h or 7d"),
    row(Transfer, "",  "max-age",          Needed("TIME"),                MIRRORS,  "skip files modified more than TIME ago, such as 5min, 2h or 7d"),
    row(Transfer, "",  "lock",             Needed("FILE"),                LOCKERS,  "lock FILE during the run; do nothing if another run has the lock"),
    row(Transfer, "g", "glob",             No,                            &[Get],   "use the last part of each URL as a pattern for names"),
    row(Transfer, "n", "no-clobber",       No,                            &[Get],   "skip files that exist locally"),
    row(Transfer, "n", "no-clobber",       No,                            &[Put],   "skip files that exist on the server (MDTM, MLST, LIST)"),
    row(Transfer, "",  "in-place",         No,                            &[Get],   "write to the final name without a temporary file"),
    row(Transfer, "",  "create-dirs",      No,                            &[Get],   "create missing local directories"),
    row(Transfer, "",  "create-dirs",      No,                            &[Put],   "create missing directories on the server (MKD)"),
    row(Transfer, "p", "preserve",         No,                            &[Get],   "give the local file the modification time of the server's file (MDTM)"),
    row(Transfer, "p", "preserve",         No,                            &[Put],   "give the server's file the local file's modification time (MFMT)"),
    row(Transfer, "",  "verify",           OneOf("MODE", "none|size|hash"), VERIFIERS,   "verify each file: none, size or hash (default: size if known)"),
    row(Transfer, "",  "limit-rate",       Needed("RATE"),                CARRIERS, "limit the total rate in bytes per second, such as 500K or 2M"),
    row(Transfer, "j", "jobs",             Needed("N"),                   FILES,    "transfer up to N files in parallel, one connection each; auto (default): up to 4, as far as that saves time"),
    row(Transfer, "",  "segments",         Needed("N"),                   &[Get],   "download files of 512 KiB or more over up to N connections (REST)"),
    row(Transfer, "c", "continue",         No,                            &[Batch], "resume interrupted transfers in get and put"),
    row(Transfer, "",  "append",           No,                            &[Batch], "let put append to server files (APPE); --retry never adds data twice"),
    row(Transfer, "n", "no-clobber",       No,                            &[Batch], "skip existing files in get and put"),
    row(Transfer, "",  "in-place",         No,                            &[Batch], "let get write to the final name without a temporary file"),
    row(Transfer, "",  "create-dirs",      No,                            &[Batch], "create missing directories in get and put"),
    row(Transfer, "p", "preserve",         No,                            &[Batch], "preserve modification times in get and put"),
    row(Transfer, "c", "continue",         No,                            &[Fxp],   "resume where the target's file ends"),
    row(Transfer, "",  "listen",           OneOf("MODE", "source|target"), &[Fxp],   "choose the server that listens: source or target (default: try both)"),
    row(Transfer, "r", "recursive",        No,                            &[Fxp],   "copy a directory tree, skipping files that are up to date in DST-URL"),
    row(Transfer, "c", "continue",         No,                            &[Mirror], "resume interrupted files; keep partial files on failure"),
    row(Transfer, "j", "jobs",             Needed("N"),                   &[Mirror], "transfer up to N files, or ranges of a large file, in parallel; auto (default): up to 4 files, as far as that saves time"),
    row(Transfer, "j", "jobs",             Needed("N"),                   &[Fxp],   "transfer up to N files in parallel; auto (default): up to 4, as far as that saves time"),
    row(Transfer, "",  "create-dirs",      No,                            TREES,    "create missing parent directories of DST"),
    row(Trees,    "",  "delete",           No,                            TREES,    "remove files and directories from DST that SRC lacks"),
    row(Trees,    "",  "max-delete",       Needed("N"),                   TREES,    "do nothing if more than N objects would be removed"),
    row(Trees,    "",  "ignore-errors",    No,                            TREES,    "remove from directories that failures do not affect"),
    row(Trees,    "",  "no-links",         No,                            TREES,    "with --delete, take what DST's server lists as a directory for one, not for a link"),
    row(Trees,    "",  "include",          Needed("GLOB"),                CHOOSERS, "include matching names in a tree; the last matching GLOB wins (repeatable)"),
    row(Trees,    "",  "exclude",          Needed("GLOB"),                CHOOSERS, "skip matching names in a tree and never remove them (repeatable)"),
    row(Trees,    "",  "exclude-from",     Needed("FILE"),                CHOOSERS, "read GLOBs to skip from FILE, as in .gitignore (-: standard input) (repeatable)"),
    row(Trees,    "",  "files-from",       Needed("FILE"),                &[Put, Mirror], "copy only the names in FILE, one per line or before NUL (-: standard input)"),
    row(Trees,    "",  "max-depth",        Needed("N"),                   &[Get],   "descend N levels at most; 1 takes only the files of the directory itself"),
    row(Trees,    "",  "dry-run",          No,                            CHOOSERS, "print what would be done; change nothing"),
    row(Trees,    "",  "fail-if-different", No,                           &[Mirror], "with --dry-run, exit with 12 if the run would do anything"),
    row(Trees,    "",  "watch",            WithEqualSign("TIME"),         &[Mirror], "run again after each change of a local SRC, and every TIME (default: 60)"),
    row(Trees,    "",  "size-only",        No,                            TREES,    "compare files by size only, ignoring times"),
    row(Trees,    "",  "compare",          OneOf("MODE", "size|time|hash"), &[Mirror], "compare files by size, time (size and time) or hash (HASH) (default: time)"),
    row(Trees,    "",  "manifest",         WithEqualSign("NAME"),         &[Mirror], "upload by content, and keep a list of what was uploaded in NAME in DST (default: .ftp-cli-manifest.json)"),
    row(Trees,    "f", "force",            No,                            &[Mirror], "with --manifest, replace and remove files that changed on the server"),
    row(Trees,    "",  "perms",            No,                            &[Mirror], "copy permission bits of files and directories (SITE CHMOD)"),
    row(Trees,    "",  "links",            OneOf("MODE", "keep|follow|skip"), &[Mirror], "keep, follow or skip symbolic links of SRC (default: skip)"),
    row(Trees,    "",  "backup-dir",       Needed("DIR"),                 &[Mirror], "move replaced and deleted files to DIR, on the same host as DST"),
    row(Transfer, "",  "stop-on-error",    No,                            &[Batch], "stop at the first line that fails"),
    row(Listing,  "r", "recursive",        No,                            &[Rm],    "remove directories and all that they contain"),
    row(Listing,  "",  "no-links",         No,                            &[Rm],    "with -r, take what the server lists as a directory for one, not for a link"),
    row(Listing,  "f", "force",            No,                            &[Rm],    "ignore missing files"),
    row(Listing,  "g", "glob",             No,                            &[Rm],    "use the last part of each URL as a pattern for names"),
    row(Listing,  "n", "no-clobber",       No,                            &[Mv],    "do nothing if NEWPATH exists (MLST, LIST)"),
    row(Listing,  "p", "parents",          No,                            &[Mkdir], "create missing parents; accept existing directories"),
    row(Listing,  "R", "recursive",        No,                            &[Ls],    "list subdirectories too"),
    row(Listing,  "g", "glob",             No,                            &[Ls],    "use the last part of each URL as a pattern for names"),
    row(Listing,  "",  "listing",          OneOf("MODE", "auto|mlsd|list"), TREES,    "use this listing command: auto, mlsd or list (default: auto)"),
    row(Listing,  "l", "long",             No,                            &[Ls],    "show type, permissions, size and time"),
    row(Listing,  "h", "human-readable",   No,                            &[Ls],    "show readable sizes with -l, such as 1.5 KiB"),
    row(Listing,  "h", "human-readable",   No,                            &[Du],    "show readable sizes, such as 1.5 KiB"),
    row(Listing,  "",  "hash",             No,                            &[Stat],  "show the digest that the server computes of a file (HASH)"),
    row(Listing,  "1", "one-per-line",     No,                            &[Ls],    "print one name per line (default)"),
    row(Listing,  "t", "newest-first",     No,                            &[Ls],    "sort by modification time, newest first"),
    row(Listing,  "S", "largest-first",    No,                            &[Ls],    "sort by size, largest first"),
    row(Listing,  "",  "sort",             OneOf("KEY", "none|name|time|size"), &[Ls], "sort by name, time (newest first) or size (largest first); none keeps the server's order (default: name)"),
    row(Listing,  "r", "reverse",          No,                            &[Ls],    "reverse the order of the entries"),
    row(Listing,  "a", "all",              No,                            &[Ls],    "request names that begin with a dot (LIST -a)"),
    row(Listing,  "",  "listing",          OneOf("MODE", "auto|mlsd|list|nlst"), &[Ls, Stat], "use this listing command: auto, mlsd, list or nlst (default: auto)"),
    row(Transfer, "",  "upload-dir",       Needed("REMOTE-DIR"),          &[Doctor], "test uploads in REMOTE-DIR: store, append, resume, rename and delete"),
    row(Transfer, "",  "watch",            WithEqualSign("TIME"),         &[Doctor], "repeat checks every TIME until everything works; print only changes (default: 10)"),
    row(Transfer, "",  "report",           Needed("FILE"),                &[Doctor], "write the findings to FILE, for the server's administrator"),
    row(Server,   "",  "listen",           Needed("ADDR"),                &[Serve], "listen on PORT (loopback), :PORT (all addresses) or HOST:PORT (default: 127.0.0.1:2121) (repeatable)"),
    row(Server,   "p", "port",             Needed("N"),                   &[Serve], "listen on 127.0.0.1:N; for all addresses, use --listen :N"),
    row(Server,   "",  "listen-tls",       Needed("ADDR"),                &[Serve], "listen for implicit TLS on PORT (loopback), :PORT (all) or HOST:PORT (repeatable)"),
    row(Server,   "",  "tls-cert",         Needed("FILE"),                &[Serve], "use the certificate chain in FILE (PEM) and offer TLS"),
    row(Server,   "",  "tls-key",          Needed("FILE"),                &[Serve], "use the private key in FILE (PEM)"),
    row(Server,   "",  "tls-self-signed",  No,                            &[Serve], "create and keep a self-signed certificate; print its pin"),
    row(Server,   "u", "user",             Needed("NAME[:PASSWORD]"),     &[Serve], "accept logins of this user; turns anonymous login off (repeatable)"),
    row(Server,   "",  "password-file",    Needed("FILE"),                &[Serve], "read the password of the user without PASSWORD from FILE's first line"),
    row(Server,   "",  "anonymous",        No,                            &[Serve], "accept anonymous logins (default without --user)"),
    row(Server,   "",  "write",            No,                            &[Serve], "let users (without --user: anyone) change files"),
    row(Server,   "",  "drop-box",         No,                            &[Serve], "let users and anonymous clients add new files, but see none"),
    row(Server,   "",  "passive-ports",    Needed("PORTS"),               &[Serve], "use these passive ports, such as 50000-50099,51000 (default: any)"),
    row(Server,   "",  "passive-address",  Needed("ADDR"),                &[Serve], "announce the NAT's public address or name in PASV replies"),
    row(Server,   "",  "config",           Needed("FILE"),                &[Serve], "read settings and users from FILE; SIGHUP reloads them"),
    row(Server,   "",  "set",              Needed("KEY=VALUE"),           &[Serve], "override a setting of the configuration (repeatable)"),
    row(Server,   "",  "config",           Needed("FILE"),                &[User],  "use the configuration FILE (default: /etc/ftp-cli/server.toml)"),
    row(Server,   "",  "set",              Needed("KEY=VALUE"),           &[User],  "set a key of the new user (repeatable)"),
    row(Server,   "",  "from-vsftpd",      Needed("FILE"),                &[Serve], "print the configuration that does what this vsftpd.conf says"),
    row(Server,   "",  "users-to",         Needed("DIR"),                 &[Serve], "write a file for each local user of vsftpd to DIR"),
    row(Server,   "",  "check",            No,                            &[Serve], "print and check the configuration; fail if serve would fail"),
    row(Login,    "u", "user",             Needed("NAME"),                REMOTE,   "log in as NAME (default: from the URL, FTP_USER or netrc, else anonymous)"),
    row(Login,    "",  "password-file",    Needed("FILE"),                REMOTE,   "read the password from FILE's first line (default: from the URL, else FTP_PASSWORD, else netrc)"),
    row(Login,    "",  "password-fd",      Needed("N"),                   REMOTE,   "read one line with the password from file descriptor N"),
    row(Login,    "",  "password-command", Needed("COMMAND"),             REMOTE,   "run COMMAND in a shell; the first line it prints is the password"),
    row(Server,   "",  "control",          Needed("FILE"),                &[Ctl, User],   "use this control socket (default: $FTP_CLI_CONTROL, else /run/ftp-cli/control.sock)"),
    row(Login,    "",  "password-file",    Needed("FILE"),                &[Passwd, User], "read the password from FILE's first line (default: prompt or standard input)"),
    row(Login,    "",  "password-file",    Needed("FILE"),                &[Fxp],   "read missing passwords from FILE, one per line, source first"),
    row(Login,    "",  "password-fd",      Needed("N"),                   &[Fxp],   "read missing passwords from file descriptor N, one per line"),
    row(Login,    "",  "password-command", Needed("COMMAND"),             &[Fxp],   "run COMMAND in a shell; it prints missing passwords, one per line"),
    row(Login,    "",  "netrc-file",       Needed("FILE"),                DIALOGUE, "read the user and password for each host from FILE (default: ~/.netrc)"),
    row(Login,    "",  "no-netrc",         No,                            DIALOGUE, "skip ~/.netrc"),
    row(Login,    "",  "charset",          Needed("NAME"),                DIALOGUE, "read and send names in this character set, such as windows-1252 or koi8-r (default: UTF-8)"),
    row(Login,    "",  "account",          Needed("NAME"),                REMOTE,   "send this account if the server asks for one (ACCT) (default: from netrc)"),
    row(Data,     "",  "passive",          No,                            REMOTE,   "let the server listen for data connections (default)"),
    row(Data,     "",  "active",           No,                            REMOTE,   "let the server connect back for data connections"),
    row(Data,     "",  "epsv",             OneOf("WHEN", "auto|always|never"), CLIENT,   "use EPSV rather than PASV: auto (with fallback), always or never (default: auto)"),
    row(Data,     "",  "eprt",             OneOf("WHEN", "auto|always|never"), CLIENT,   "use EPRT rather than PORT: auto (with fallback), always or never (default: auto)"),
    row(Data,     "",  "epsv-all",         No,                            CLIENT,   "use EPSV only, and announce that to the server (EPSV ALL)"),
    row(Data,     "",  "pipeline",         No,                            &[Get, Ls, Mirror], "send TYPE, EPSV and RETR or LIST in one packet; some servers reject it"),
    row(Data,     "",  "compress",         No,                            &[Get, Put, Ls, Batch, Mirror], "compress data if the server offers that (MODE Z); costs processor time"),
    row(Data,     "",  "reuse-data",       No,                            &[Get, Put, Ls, Batch, Mirror], "use one data connection for all files if the server offers it (MODE B)"),
    row(Data,     "",  "passive-address",  OneOf("MODE", "peer|smart|reply"), CLIENT,   "use the PASV host never (peer), always (reply) or if plausible (smart) (default: peer)"),
    row(Data,     "",  "active-address",   Needed("ADDR"),                REMOTE,   "announce the NAT's public address or name in PORT and EPRT"),
    row(Data,     "",  "active-ports",     Needed("PORTS"),               REMOTE,   "listen on these ports in active mode, such as 50000-50099 (default: any)"),
    row(Data,     "",  "bind",             Needed("ADDR"),                DIALOGUE, "connect from this local address"),
    row(Data,     "",  "proxy",            Needed("URL"),                 DIALOGUE, "use a socks5, socks5h, http or ftp proxy, or none (default: $ftp_proxy, else $all_proxy)"),
    row(Data,     "4", "ipv4",             No,                            DIALOGUE, "use IPv4 only"),
    row(Data,     "6", "ipv6",             No,                            DIALOGUE, "use IPv6 only"),
    row(Data,     "",  "passive-address",  OneOf("MODE", "peer|smart|reply"), &[Fxp],   "use the PASV host never (peer), always (reply) or if plausible (smart) (default: peer)"),
    row(Tls,      "",  "tls",              OneOf("MODE", "off|try|explicit|implicit"), DIALOGUE, "use TLS: off, try, explicit or implicit (default: from the URL)"),
    row(Tls,      "",  "ca-file",          Needed("FILE"),                DIALOGUE, "trust the CAs in FILE (PEM) instead of the system's"),
    row(Tls,      "",  "pin",              Needed("PIN"),                 DIALOGUE, "accept only this key (sha256//...), regardless of its issuer (repeatable)"),
    row(Tls,      "",  "client-cert",      Needed("FILE"),                DIALOGUE, "send the client certificate in FILE (PEM) if the server requests one"),
    row(Tls,      "",  "client-key",       Needed("FILE"),                DIALOGUE, "read the private key of the client certificate from FILE (PEM) (default: the --client-cert file)"),
    row(Tls,      "",  "tls-data",         OneOf("MODE", "private|clear"), DIALOGUE, "set TLS data connections to private (encrypted) or clear (default: private)"),
    row(Tls,      "k", "insecure",         No,                            DIALOGUE, "skip certificate validation; anyone on the path can pose as the server"),
    row(Robust,   "",  "connect-timeout",  Needed("TIME"),                DIALOGUE, "limit each name lookup, connection attempt and handshake (default: 10)"),
    row(Robust,   "",  "reply-timeout",    Needed("TIME"),                DIALOGUE, "limit the wait for the greeting and for each reply (default: 60)"),
    row(Robust,   "",  "stall-timeout",    Needed("TIME"),                REMOTE,   "limit the wait for the next byte of a transfer (default: 60)"),
    row(Robust,   "",  "final-timeout",    Needed("TIME"),                DIALOGUE, "limit the wait for the reply that ends a transfer (default: 300)"),
    row(Robust,   "",  "timeout",          Needed("TIME"),                DIALOGUE, "limit the whole run (default: none; doctor: 30 for each round)"),
    row(Robust,   "",  "retry",            Needed("N"),                   STUBBORN, "retry transient failures up to N times, never a 5xx reply (default: 0)"),
    row(Robust,   "",  "retry-delay",      Needed("TIME"),                STUBBORN, "wait TIME before each retry (default: 1, 2, 4 and so on, up to 60)"),
    row(Output,   "q", "quiet",            No,                            QUIET,    "print errors only"),
    row(Output,   "v", "verbose",          No,                            VERBOSE,  "print more messages"),
    row(Output,   "",  "progress",         OneOf("WHEN", "auto|always|never"), CARRIERS, "show progress: auto (on a terminal), always or never (default: auto)"),
    row(Output,   "",  "json",             No,                            DIALOGUE, "write events as JSON lines to standard output"),
    row(Output,   "",  "json",             No,                            &[Ctl, User], "write the output of who, users, status or list as JSON lines"),
    row(Output,   "",  "log-file",          Needed("FILE"),                DIALOGUE, "append messages and results with timestamps to FILE"),
    row(Output,   "",  "raw-names",        No,                            &[Ls, Stat, Quote, Batch], "write names unchanged to a terminal, control characters included"),
    row(Output,   "",  "trace",            WithEqualSign("FILE"),         DIALOGUE, "append the dialogue with explanations to FILE (default: standard error)"),
    row(Program,  "",  "no-config",        No,                            DIALOGUE, "skip the configuration file (see ftp-cli man)"),
    row(Program,  "h", "help",             No,                            HELPED,   "show help: --help all of it, -h what is used most"),
    row(Program,  "",  "help",             No,                            &[Ls, Du],    "show this help"),
    row(Program,  "V", "version",          No,                            ALL,      "show the version"),
];

impl Command {
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.commands.contains(&self))
    }
}

/// Returns the options of this build.
pub(crate) fn all_rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.commands.iter().any(|command| command.is_built()))
}

/// Returns the options that can precede the command, each once: if commands explain an option
/// differently, the first row is used.
pub(crate) fn global_rows() -> impl Iterator<Item = &'static Row> {
    let is_first = |(at, row): &(usize, &Row)| {
        !all_rows().take(*at).any(|other| other.long == row.long && other.group.is_global())
    };
    let global = |(_, row): &(usize, &Row)| row.group.is_global();
    all_rows().enumerate().filter(global).filter(is_first).map(|(_, row)| row)
}

/// Commands, an option, the options that these commands do not accept beside it, and why or what to do,
/// if the names do not tell.
#[rustfmt::skip]
pub(super) const EXCLUSIONS: &[(&[Command], &str, &[&str], &str)] = &[
    (ALL, "append", &["continue"], ""),
    (&[Put], "append", &["if-changed"], "each run would append the file again"),
    (ALL, "ipv4", &["ipv6"], ""),
    (ALL, "unique", &["append", "continue", "if-changed", "newer", "no-clobber"], ""),
    (ALL, "no-clobber", &["append", "if-changed", "newer"], ""),
    (ALL, "in-place", &["newer", "no-clobber"], "the next run would skip an incomplete file"),
    (ALL, "newer", &["if-changed"], ""),
    (ALL, "output", &["directory"], ""),
    (ALL, "temp", &["append", "unique"], ""),
    (&[Fxp], "temp", &["continue"], ""),
    (ALL, "segments", &["ascii", "continue", "in-place", "jobs", "remove-source"], ""),
    (ALL, "remove-source", &["append", "continue", "in-place", "unique"],
        "nothing would prove that the target is the source"),
    (ALL, "remove-source", &["delete", "manifest"], ""),
    (ALL, "files-from", &["delete", "exclude", "exclude-from", "include", "manifest", "max-age", "max-size",
        "min-age", "min-size"], "the list says what is copied, and nothing else is touched"),
    (&[Mirror], "watch", &["dry-run"], ""),
    (&[Mirror], "fail-if-different", &["remove-source"], "sources that would be removed are not counted"),
    (&[Put], "remove-source", &["if-changed", "newer"], "a skipped source would never be removed"),
    (&[Get], "recursive", &["ascii", "glob", "if-changed", "in-place", "input-file", "newer",
        "no-clobber", "output", "preserve", "segments", "verify"], ""),
    (&[Put], "recursive", &["append", "ascii", "if-changed", "newer", "no-clobber", "preserve",
        "unique", "verify"], ""),
    (&[Fxp], "recursive", &["verify"], ""),
    (ALL, "compress", &["reuse-data"], ""),
    (ALL, "insecure", &["ca-file", "pin"], ""),
    (ALL, "pin", &["ca-file"], ""),
    (&[Serve], "port", &["listen"], "use --listen HOST:PORT"),
    (&[Serve], "drop-box", &["write"], "use --config for different rights of each user"),
];

/// Options, and the option without which they have no effect in these commands.
#[rustfmt::skip]
pub(super) const NEEDS: &[(&[Command], &[&str], &str)] = &[
    (&[Get], &["max-depth"], "recursive"),
    (&[Put], &["files-from"], "recursive"),
    (&[Mirror], &["fail-if-different"], "dry-run"),
    (&[Get, Put], &["include", "exclude", "exclude-from", "dry-run"], "recursive"),
    (&[Fxp], &["jobs", "create-dirs", "include", "exclude", "exclude-from", "dry-run", "size-only", "listing", "delete",
        "max-delete", "ignore-errors", "no-links"], "recursive"),
    (&[Ls], &["human-readable"], "long"),
    (&[Rm], &["no-links"], "recursive"),
    (&[Serve], &["users-to"], "from-vsftpd"),
    (&[Mirror], &["force"], "manifest"),
    (&[Mirror, Fxp], &["max-delete", "ignore-errors", "no-links"], "delete"),
    (ALL, &["retry-delay"], "retry"),
];

pub(crate) fn exclude(command: Command, one: &str, other: &str) -> bool {
    EXCLUSIONS.iter().filter(|(of, ..)| of.contains(&command)).any(|(_, option, others, _)| {
        let is_pair = |one, other| *option == one && others.contains(&other);
        is_pair(one, other) || is_pair(other, one)
    })
}

pub(crate) const ENVIRONMENT: &str = include_str!("../../help/environment.txt");

/// Files that the program uses in addition to the files that options name.
pub(crate) const USED_FILES: &str = include_str!("../../help/files.txt");

/// Problems that `doctor` finds: what each means, and after `Do:` the cure, an imperative without a
/// final full stop.
pub(crate) const DIAGNOSES: &str = include_str!("../../help/diagnoses.txt");

/// Options of other programs, without dashes, and the option or the command line to use instead. The
/// first one that the command accepts is used. `COMMAND: LETTER` is a letter with a special meaning
/// for that command, which takes precedence. After `none:` is why there is no equivalent. Sources: the
/// manuals of curl, wget, lftp, rclone, rsync and GNU coreutils.
pub(crate) const OTHER_PROGRAMS: &str = include_str!("../../help/other-programs.txt");

/// Commands of other programs, and the command or the line to type instead. `batch: COMMAND` is a line
/// of a batch, and `serve: WORD` an operand of `serve`.
pub(crate) const OTHER_COMMANDS: &str = include_str!("../../help/other-commands.txt");

/// Formats of operands and options.
pub(crate) const URLS: &str = include_str!("../../help/urls.txt");

pub(crate) const PATTERNS: &str = include_str!("../../help/patterns.txt");

#[derive(Clone, Debug)]
pub(crate) struct CommandHelp {
    /// An imperative of at most 50 characters, without a full stop.
    pub(crate) summary: &'static str,
    /// Options and operands, without the names of the program and of the command.
    pub(crate) usage: &'static str,
    /// Long names of the options that `-h` shows; if empty, `-h` shows what the command alone has.
    pub(crate) used_most: Vec<&'static str>,
    /// Paragraphs, separated by empty lines.
    pub(crate) about: &'static str,
    /// Command lines, and what each of them achieves.
    pub(crate) examples: Vec<(&'static str, &'static str)>,
}

impl CommandHelp {
    pub(crate) fn read(name: &str, file: &'static str) -> Self {
        let (file, examples) = file.split_once("\nExamples\n").unwrap_or((file, ""));
        let (summary, rest) = file.split_once("\n\nUsage: ftp-cli ").unwrap_or((file, ""));
        let (usage, about) = rest.split_once("\n\n").unwrap_or((rest, ""));
        let (usage, used_most) = usage.split_once("\nUsed most: ").unwrap_or((usage, ""));
        let mut lines = examples.lines();
        let example = || {
            let what = lines.next()?.trim_start_matches([' ', '#']);
            Some((lines.next()?.trim_start(), what))
        };
        Self {
            summary,
            usage: usage.strip_prefix(name).unwrap_or(usage).trim(),
            used_most: used_most.split_whitespace().map(|it| it.trim_start_matches('-')).collect(),
            about: about.trim_end(),
            examples: std::iter::from_fn(example).collect(),
        }
    }
}

/// Returns the terms of a list, each with its meaning in one line.
pub(crate) fn terms(list: &'static str) -> impl Iterator<Item = (&'static str, String)> {
    list.split("\n\n").filter_map(|item| {
        let (term, meaning) = item.trim_start().split_once('\n')?;
        Some((term, meaning.split_whitespace().collect::<Vec<_>>().join(" ")))
    })
}

/// Returns a template in which each name of `parts` is replaced by its text.
pub(crate) fn filled(template: &str, parts: &[(&str, String)]) -> String {
    parts.iter().fold(template.to_owned(), |text, (name, part)| {
        debug_assert!(text.contains(name), "{name} is not in the template");
        text.replacen(name, part, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Command;

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
    fn relations_name_options_of_their_commands() {
        let has = |command: &Command, long: &str| command.rows().any(|row| row.long == long);
        for (commands, option, others, _) in EXCLUSIONS {
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
        let is_of_trees = |row: &&Row| row.group == Trees || row.commands == [Mirror, Fxp];
        let of_trees = |option: &str| {
            NEEDS
                .iter()
                .any(|(commands, options, _)| commands.contains(&Fxp) && options.contains(&option))
        };
        for row in Fxp.rows().filter(is_of_trees) {
            assert!(of_trees(row.long), "--{}", row.long);
        }
    }

    #[test]
    fn every_line_of_a_help_file_is_read() {
        for command in Command::ALL {
            let name = command.name();
            let CommandHelp { summary, usage, used_most, about, examples } = command.help();
            let mut want: Vec<String> =
                vec![summary.into(), format!("Usage: ftp-cli {name} {usage}")];
            want.extend(used_most.iter().map(|long| format!("--{long}")));
            want.extend(about.lines().map(str::to_owned));
            for (example, what) in &examples {
                want.extend([format!("  # {what}"), format!("  {example}")]);
                assert!(example.starts_with(&format!("ftp-cli {name} ")), "{example}");
            }
            assert!(
                !summary.is_empty() && summary.len() <= 50 && !summary.ends_with('.'),
                "{name}"
            );
            assert!(!usage.is_empty(), "{name}");
            let mut read = Vec::new();
            for line in command.file().lines() {
                let is_most = line.starts_with("Used most: ") || line.starts_with("  --");
                match line.strip_prefix("Used most:").unwrap_or(line) {
                    "Examples" => {}
                    words if is_most => read.extend(words.split_whitespace().map(str::to_owned)),
                    line => read.push(line.to_owned()),
                }
            }
            let is_text = |line: &String| !line.is_empty();
            assert!(
                read.iter()
                    .filter(|line| is_text(line))
                    .eq(want.iter().filter(|line| is_text(line))),
                "{name}.txt: {read:?} {want:?}"
            );
        }
    }

    #[test]
    fn every_term_of_a_list_has_a_meaning() {
        for list in [ENVIRONMENT, USED_FILES, DIAGNOSES, OTHER_PROGRAMS, OTHER_COMMANDS] {
            let items = list.split("\n\n").count();
            assert_eq!(terms(list).filter(|(_, meaning)| !meaning.is_empty()).count(), items);
            assert_eq!(
                list.lines()
                    .filter(|line| line.starts_with(char::is_alphanumeric) || line.starts_with('~'))
                    .count(),
                items
            );
        }
    }
}
