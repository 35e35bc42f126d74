//! The options, as data. What stands here is parsed, and is in `--help`, the man page and
//! completions; nothing else is.

use std::fmt;

use super::Command;
use Command::{
    Batch, Chmod, Demo, Doctor, Fxp, Get, Ls, Mkdir, Mv, Passwd, Put, Quote, Rm, Rmdir, Serve, Stat,
};
use Group::{Data, Listing, Login, Mirror, Output, Program, Robust, Server, Tls, Transfer};
use Value::{Needed, No, WithEqualSign};

/// What an option is about. Those of a global group may also stand before the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    Transfer,
    Mirror,
    Listing,
    Server,
    Login,
    Data,
    Tls,
    Robust,
    Output,
    Program,
}

impl Group {
    /// All, in the order of `--help`.
    pub(crate) const ALL: &[Self] =
        &[Transfer, Mirror, Listing, Server, Login, Data, Tls, Robust, Output, Program];

    pub(crate) const fn is_global(self) -> bool {
        matches!(self, Login | Data | Tls | Robust | Output | Program)
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Transfer => "Transfer",
            Mirror => "Mirror",
            Listing => "Listing",
            Server => "Server",
            Login => "Login",
            Data => "Data connection",
            Tls => "TLS",
            Robust => "Time limits (seconds, or with a unit: 250ms, 30s, \"5 min\") and retries",
            Output => "Output",
            Program => "Program",
        }
    }
}

/// Whether an option takes a value, and what `--help` calls it: `FILE` and `DIR` are names that
/// exist here, `auto|always|never` all the words that it can be, and others say what they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    No,
    Needed(&'static str),
    /// Only written behind `=`: `--trace` or `--trace=FILE`.
    WithEqualSign(&'static str),
}

/// What the value of an option or an operand can be, for completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Completes {
    /// There is no value, or nothing is known of it.
    Nothing,
    File,
    Directory,
    /// These, between `|`.
    Words(&'static str),
    /// The name of a command of this program.
    Command,
}

/// What stands behind the name of the option.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => Ok(()),
            Self::Needed(hint) => write!(f, " {hint}"),
            Self::WithEqualSign(hint) => write!(f, "[={hint}]"),
        }
    }
}

impl Value {
    pub(crate) fn completes(self) -> Completes {
        match self {
            Self::Needed("FILE") | Self::WithEqualSign("FILE") => Completes::File,
            Self::Needed("DIR") => Completes::Directory,
            Self::Needed(words) if words.contains('|') => Completes::Words(words),
            _ => Completes::Nothing,
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
    /// Who takes it. An option that a command would ignore is not one of the command's.
    pub(crate) commands: &'static [Command],
    pub(crate) help: &'static str,
}

impl Row {
    /// Whether it is called so, by its long name or by its short one.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.long == name || self.short.is_some_and(|short| name.chars().eq([short]))
    }
}

/// `short` is one character, or nothing.
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
    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Command::Mirror];
/// Those that connect to one server, and one that examines it.
const REMOTE: &[Command] =
    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Command::Mirror, Doctor];
const FILES: &[Command] = &[Get, Put];
/// Those that move files, and one that moves some of them.
const MOVERS: &[Command] = &[Get, Put, Batch];
const DIALOGUE: &[Command] =
    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Command::Mirror, Fxp, Doctor];
const TREES: &[Command] = &[Command::Mirror, Fxp];
/// Those that move files themselves, and show how far they are.
const CARRIERS: &[Command] = &[Get, Put, Batch, Command::Mirror];
/// Those that try again what may pass. A raw command is sent once: nobody knows what it does.
const STUBBORN: &[Command] =
    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Batch, Command::Mirror, Fxp];
const ALL: &[Command] = Command::ALL;

#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(Transfer, "a", "ascii",           No,                    MOVERS,    "translate line ends (TYPE A)"),
    row(Transfer, "b", "binary",          No,                    MOVERS,    "byte for byte (TYPE I); default"),
    row(Transfer, "c", "continue",        No,                    &[Get],   "go on where NAME.part or a shorter file ends; keep NAME.part on failure"),
    row(Transfer, "c", "continue",        No,                    &[Put],   "go on where the server's file ends"),
    row(Transfer, "",  "append",          No,                    &[Put],   "add to the server's file (APPE); --retry adds nothing again"),
    row(Transfer, "",  "unique",          No,                    &[Put],   "let the server choose a new name (STOU), and print it"),
    row(Transfer, "P", "directory",       Needed("DIR"),         &[Get],   "where the files of several URLs go"),
    row(Transfer, "n", "no-clobber",      No,                    &[Get],   "skip a file that is here already"),
    row(Transfer, "n", "no-clobber",      No,                    &[Put],   "skip a file that is on the server already (MDTM, MLST)"),
    row(Transfer, "",  "in-place",        No,                    &[Get],   "write under the final name from the first byte on"),
    row(Transfer, "",  "create-dirs",     No,                    &[Get],   "make the local directories that are not there"),
    row(Transfer, "",  "create-dirs",     No,                    &[Put],   "make the server's directories that are not there (MKD)"),
    row(Transfer, "p", "preserve",        No,                    &[Get],   "give the local file the time of the server's (MDTM)"),
    row(Transfer, "p", "preserve",        No,                    &[Put],   "give the server's file the time of the local one (MFMT)"),
    row(Transfer, "",  "verify",          Needed("none|size|hash"), MOVERS, "compare with what the server has; default size, if it tells"),
    row(Transfer, "",  "limit-rate",      Needed("RATE"),        CARRIERS, "bytes a second in all, such as 500K or 2M"),
    row(Transfer, "j", "jobs",            Needed("N"),           FILES,    "move so many files at a time, each over a connection of its own"),
    row(Transfer, "c", "continue",        No,                    &[Batch], "of get and put: go on where an earlier one ended"),
    row(Transfer, "",  "append",          No,                    &[Batch], "of put: add to the server's file (APPE); --retry adds nothing again"),
    row(Transfer, "n", "no-clobber",      No,                    &[Batch], "of get and put: skip a file that is there already"),
    row(Transfer, "",  "in-place",        No,                    &[Batch], "of get: write under the final name from the first byte on"),
    row(Transfer, "",  "create-dirs",     No,                    &[Batch], "of get and put: make the directories that are not there"),
    row(Transfer, "p", "preserve",        No,                    &[Batch], "of get and put: give the file the time of the other"),
    row(Transfer, "c", "continue",        No,                    &[Fxp],   "go on where the target's file ends"),
    row(Transfer, "",  "listen",          Needed("source|target"), &[Fxp], "the server that listens; default: the target, else the source"),
    row(Transfer, "r", "recursive",       No,                    &[Fxp],   "a directory and all that is in it, as far as it differs"),
    row(Transfer, "c", "continue",        No,                    &[Command::Mirror], "go on in the middle of a file that was cut; keep what comes of one"),
    row(Transfer, "j", "jobs",            Needed("N"),           TREES,    "so many files at a time, each over connections of its own; default 1"),
    row(Transfer, "",  "create-dirs",     No,                    TREES,    "make the directories above DST, too"),
    row(Mirror,   "",  "delete",          No,                    TREES,    "remove what SRC lacks from DST"),
    row(Mirror,   "",  "max-delete",      Needed("N"),           TREES,    "do nothing at all if more than N objects would be removed"),
    row(Mirror,   "",  "include",         Needed("GLOB"),        TREES,    "take what fits; repeatable, the last GLOB that fits decides"),
    row(Mirror,   "",  "exclude",         Needed("GLOB"),        TREES,    "leave out what fits, and do not remove it; repeatable"),
    row(Mirror,   "",  "dry-run",         No,                    TREES,    "print what would be done, and do nothing"),
    row(Mirror,   "",  "size-only",       No,                    TREES,    "files of one size are the same, whatever their times"),
    row(Transfer, "",  "stop-on-error",   No,                    &[Batch], "do no line behind one that failed"),
    row(Listing,  "r", "recursive",       No,                    &[Rm],    "a directory too, with all that is in it"),
    row(Listing,  "f", "force",           No,                    &[Rm],    "what is not there is no failure"),
    row(Listing,  "p", "parents",         No,                    &[Mkdir], "those that it lies in, too; what is there is no failure"),
    row(Listing,  "R", "recursive",       No,                    &[Ls],    "what is in the directories below, too"),
    row(Listing,  "g", "glob",            No,                    &[Ls],    "the last part of the URL is a pattern for names"),
    row(Listing,  "",  "listing",         Needed("auto|mlsd|list"), TREES, "auto is MLSD, else LIST; default auto"),
    row(Listing,  "l", "long",            No,                    &[Ls],    "kind, permissions, size and date too"),
    row(Listing,  "a", "all",             No,                    &[Ls],    "ask for names that begin with a dot (LIST -a)"),
    row(Listing,  "",  "listing",         Needed("auto|mlsd|list|nlst"), &[Ls, Stat], "auto is MLSD, else LIST or NLST; default auto"),
    row(Transfer, "",  "upload-dir",      Needed("DIRECTORY"),   &[Doctor], "store two small files there, append, resume, rename and delete them"),
    row(Server,   "",  "listen",          Needed("ADDRESS"),     &[Serve], "PORT, :PORT (all addresses) or HOST:PORT; repeatable; default 127.0.0.1:2121"),
    row(Server,   "",  "listen-tls",      Needed("ADDRESS"),     &[Serve], "the same, with TLS from the first byte (by custom port 990); repeatable"),
    row(Server,   "",  "tls-cert",        Needed("FILE"),        &[Serve], "the certificate, PEM, and those above it; AUTH TLS is served then"),
    row(Server,   "",  "tls-key",         Needed("FILE"),        &[Serve], "its private key, PEM"),
    row(Server,   "",  "tls-self-signed", No,                    &[Serve], "make a certificate once and keep it; says what clients pin"),
    row(Server,   "u", "user",            Needed("NAME[:PASS]"), &[Serve], "a user who may log in; repeatable; switches anonymous off"),
    row(Server,   "",  "password-file",   Needed("FILE"),        &[Serve], "the first line is the password of a user without one"),
    row(Server,   "",  "anonymous",       No,                    &[Serve], "let anyone read; default without --user"),
    row(Server,   "",  "write",           No,                    &[Serve], "let users change files; without --user, anyone"),
    row(Server,   "",  "drop-box",        No,                    &[Serve], "let users hand in new files and see nothing; without --user, anyone"),
    row(Server,   "",  "passive-ports",   Needed("PORTS"),       &[Serve], "of data connections: 50000-50099,51000; default any"),
    row(Server,   "",  "passive-address", Needed("ADDRESS"),     &[Serve], "told to clients behind PASV: the NAT's public address or name"),
    row(Server,   "",  "config",          Needed("FILE"),        &[Serve], "settings and users; read again at SIGHUP"),
    row(Server,   "",  "set",             Needed("KEY=VALUE"),   &[Serve], "a setting of the list below, over the file's; repeatable"),
    row(Server,   "",  "check",           No,                    &[Serve], "say what is set and what will not work; exits as serve would"),
    row(Login,    "u", "user",            Needed("NAME"),        REMOTE,   "log in as NAME; default: the URL's user, else anonymous"),
    row(Login,    "",  "password-file",   Needed("FILE"),        REMOTE,   "the first line is the password; default: the URL's, FTP_PASSWORD, netrc"),
    row(Login,    "",  "password-fd",     Needed("N"),           REMOTE,   "the next line of an open descriptor is the password"),
    row(Login,    "",  "password-command", Needed("COMMAND"),    REMOTE,   "the first line that a shell command prints is the password"),
    row(Login,    "",  "password-file",   Needed("FILE"),        &[Passwd], "the first line is the password; default: asked for, or standard input"),
    row(Login,    "",  "password-file",   Needed("FILE"),        &[Fxp],   "a line for each URL with a user and no password, the source's first"),
    row(Login,    "",  "password-fd",     Needed("N"),           &[Fxp],   "the same, of an open descriptor"),
    row(Login,    "",  "password-command", Needed("COMMAND"),    &[Fxp],   "the same, of what a shell command prints"),
    row(Login,    "",  "netrc-file",      Needed("FILE"),        DIALOGUE, "users and passwords by host; default .netrc at home, if it is there"),
    row(Login,    "",  "no-netrc",        No,                    DIALOGUE, "read no .netrc"),
    row(Login,    "",  "account",         Needed("NAME"),        REMOTE,   "told to a server that wants an account too (ACCT); default: netrc's"),
    row(Data,     "",  "passive",         No,                    REMOTE,   "the server listens for data connections; default"),
    row(Data,     "",  "active",          No,                    REMOTE,   "the server connects back to us"),
    row(Data,     "",  "epsv",            Needed("auto|always|never"), CLIENT, "passive by EPSV, or else PASV; default auto"),
    row(Data,     "",  "eprt",            Needed("auto|always|never"), CLIENT, "active by EPRT, or else PORT; default auto"),
    row(Data,     "",  "epsv-all",        No,                    CLIENT,   "promise the server to use nothing but EPSV (EPSV ALL)"),
    row(Data,     "",  "pipeline",        No,                    &[Get, Ls, Command::Mirror], "send TYPE, EPSV and RETR or the listing in one write; not for every server"),
    row(Data,     "",  "passive-address", Needed("peer|smart|reply"), CLIENT, "PASV's host: the server's (default), no private one, as announced"),
    row(Data,     "",  "active-address",  Needed("ADDRESS"),     REMOTE,   "told to the server: the NAT's public address or name"),
    row(Data,     "",  "active-ports",    Needed("PORTS"),       REMOTE,   "to listen at: 21,300-400; default any"),
    row(Data,     "",  "bind",            Needed("ADDRESS"),     DIALOGUE, "the address of this host that connections come from"),
    row(Data,     "4", "ipv4",            No,                    DIALOGUE, "connect by IPv4 only"),
    row(Data,     "6", "ipv6",            No,                    DIALOGUE, "connect by IPv6 only"),
    row(Data,     "",  "passive-address", Needed("peer|smart|reply"), &[Fxp], "of the listening server: as seen here, no private one, as it says"),
    row(Tls,      "",  "tls",             Needed("off|try|explicit|implicit"), DIALOGUE, "by AUTH TLS or at once; try goes on without; default: as the URL"),
    row(Tls,      "",  "ca-file",         Needed("FILE"),        DIALOGUE, "trust the authorities in a PEM file, not the system's"),
    row(Tls,      "",  "pin",             Needed("SHA256//..."), DIALOGUE, "accept exactly the key with this digest, whoever vouches; repeatable"),
    row(Tls,      "",  "client-cert",     Needed("FILE"),        DIALOGUE, "our certificate, PEM, for a server that asks"),
    row(Tls,      "",  "client-key",      Needed("FILE"),        DIALOGUE, "its private key, PEM; default: in the same file"),
    row(Tls,      "",  "tls-data",        Needed("private|clear"), DIALOGUE, "whether files and listings are protected too; default private"),
    row(Tls,      "k", "insecure",        No,                    DIALOGUE, "accept every certificate: who is on the way can be the server"),
    row(Robust,   "",  "connect-timeout", Needed("TIME"),        DIALOGUE, "for the name, to connect, for TLS, for data; each default 10"),
    row(Robust,   "",  "reply-timeout",   Needed("TIME"),        DIALOGUE, "for the greeting, for a reply; default 60"),
    row(Robust,   "",  "stall-timeout",   Needed("TIME"),        REMOTE,   "for the next byte of a transfer; default 60"),
    row(Robust,   "",  "final-timeout",   Needed("TIME"),        DIALOGUE, "for the reply behind a transfer; default 300"),
    row(Robust,   "",  "timeout",         Needed("TIME"),        DIALOGUE, "for the whole; default none"),
    row(Robust,   "",  "retry",           Needed("N"),           STUBBORN, "try again so often what may pass; never a 5yz; default 0"),
    row(Robust,   "",  "retry-delay",     Needed("TIME"),        STUBBORN, "between tries; default 1, then twice as long, up to 60"),
    row(Output,   "q", "quiet",           No,                    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Command::Mirror, Fxp, Doctor, Serve, Demo], "say nothing but errors"),
    row(Output,   "v", "verbose",         No,                    &[Get, Put, Ls, Stat, Rm, Mkdir, Rmdir, Mv, Chmod, Quote, Batch, Command::Mirror, Fxp, Serve], "say more of what is done"),
    row(Output,   "",  "progress",        Needed("auto|always|never"), CARRIERS, "auto is on a terminal; default auto"),
    row(Output,   "",  "json",            No,                    DIALOGUE, "events as JSON, one a line, on standard output (docs/json.md)"),
    row(Output,   "",  "raw-names",       No,                    &[Ls, Stat, Quote, Batch], "names as they are on a terminal too, control characters and all"),
    row(Output,   "",  "trace",           WithEqualSign("FILE"), DIALOGUE, "the dialogue with the server, explained, to FILE or standard error"),
    row(Program,  "h", "help",            No,                    ALL,      "say what a command does"),
    row(Program,  "V", "version",         No,                    ALL,      "say which version this is"),
];

impl Command {
    /// The options that it takes.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.commands.contains(&self))
    }
}

/// The options that may stand before the command, each once: of those that several commands
/// explain differently, the first.
pub(crate) fn global_rows() -> impl Iterator<Item = &'static Row> {
    let is_first = |(at, row): &(usize, &Row)| {
        !TABLE.iter().take(*at).any(|other| other.long == row.long && other.group.is_global())
    };
    let global = |(_, row): &(usize, &Row)| row.group.is_global();
    TABLE.iter().enumerate().filter(global).filter(is_first).map(|(_, row)| row)
}
