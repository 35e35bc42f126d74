//! The text of each command, which `help`, the man page and completions show.

use super::command::{Command, Entry, Operand};

impl Command {
    /// Its text.
    pub(crate) const fn entry(self) -> Entry {
        match self {
            Self::Get => GET,
            Self::Put => PUT,
            Self::Ls => LS,
            Self::Stat => STAT,
            Self::Rm => RM,
            Self::Mkdir => MKDIR,
            Self::Rmdir => RMDIR,
            Self::Mv => MV,
            Self::Chmod => CHMOD,
            Self::Quote => QUOTE,
            Self::Batch => BATCH,
            Self::Mirror => MIRROR,
            Self::Fxp => FXP,
            Self::Doctor => DOCTOR,
            Self::Serve => SERVE,
            Self::Who => WHO,
            Self::Status => STATUS,
            Self::Kick => KICK,
            Self::Drain => DRAIN,
            Self::Reload => RELOAD,
            Self::Unban => UNBAN,
            Self::Passwd => PASSWD,
            Self::Demo => DEMO,
            Self::Help => HELP,
            Self::Man => MAN,
            Self::Completions => COMPLETIONS,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.entry().name
    }
}

/// The shells that `completions` supports.
pub(crate) const SHELLS: &str = "bash|zsh|fish";

/// The pages of `man`.
pub(crate) const MAN_PAGES: &str = "ftp-cli|server.toml";

pub(super) const GET: Entry = Entry {
    name: "get",
    usage: "[OPTION]... URL [LOCAL]",
    summary: "Download a file",
    about: "\
LOCAL is a file, a directory, or - for standard output. Without it, the file
keeps its name and goes to the current directory. With -P DIR all operands are
URLs; their files go into DIR, over one control connection per server.

The file appears under its name only when it is complete and on disk. Until
then, and on any failure, an existing file of that name stays unchanged.",
    operands: &[Operand::Url, Operand::File],
    examples: &[
        ("get ftp://host/pub/a.iso", "Download to ./a.iso"),
        ("get -c ftp://host/pub/a.iso", "Resume an interrupted download"),
        ("get ftp://host/log.txt -", "Write the file to standard output"),
        (
            "get -j 4 -P logs ftp://host/a.log ftp://host/b.log",
            "Download several files, up to four at a time",
        ),
        ("get ftpes://me@host/a", "Require TLS"),
    ],
};

pub(super) const PUT: Entry = Entry {
    name: "put",
    usage: "[OPTION]... LOCAL... URL",
    summary: "Upload files",
    about: "\
LOCAL is a file, or - for standard input. If URL ends in /, it is a directory
and each file keeps its name. Several files need such a URL.

After each upload the size on the server is compared with the local size, if
the server reports sizes. A file that changes during the upload is an error.",
    operands: &[Operand::File],
    examples: &[
        ("put a.txt b.txt ftp://me@host/inbox/", "Upload two files into a directory"),
        ("put - ftp://me@host/etc.tar", "Upload standard input as etc.tar"),
    ],
};

pub(super) const LS: Entry = Entry {
    name: "ls",
    usage: "[OPTION]... URL",
    summary: "List a directory",
    about: "\
Prints one name per line, in the server's order. With -l, type, permissions,
size and time are added; times are UTC if the server reports UTC. With -R the
contents of subdirectories follow as paths. With -g the last part of the URL is
a pattern (*, ?, [a-z]). Symbolic links are shown and never followed.

On a terminal, control characters in names are escaped; --raw-names turns that
off. Names that begin with a dot are listed if the server lists them by
itself, as servers with MLSD do; -a requests them.

Exit status: 11 if the listing may be incomplete; it is printed first.",
    operands: &[Operand::Url],
    examples: &[
        ("ls -l ftp://host/pub/", "Show sizes and times"),
        ("ls -g 'ftp://host/pub/*.iso'", "List the names that match a pattern"),
        ("ls -R --json ftp://host/pub/", "List a tree as JSON lines"),
    ],
};

pub(super) const MIRROR: Entry = Entry {
    name: "mirror",
    usage: "[OPTION]... SRC DST",
    summary: "Synchronize a directory tree with a server",
    about: "\
One of SRC and DST is a URL, the other a local directory. A missing DST is
created. A file is copied if DST lacks it, or if its size or modification time
differs; the copy gets the time of its source. To resume an interrupted run,
run the same command again.

--delete removes what SRC lacks, after everything else is done. It removes
nothing from a directory with a failure or an incomplete listing, and nothing
through a symbolic link. Files that --exclude matches are never removed. Names
that begin with a dot stay unless the server is known to list such names. On
servers that list links as directories, mirror deletes only what is proved to
be a directory, as rm -r does.

GLOB is a name with *, ? and [a-z]. With a / inside, it is a path from the top;
with a / at its end, it matches directories only. The last GLOB that matches
decides. A name that no GLOB matches is copied, unless the first option is an
--include.

Symbolic links, FIFOs, devices and temporary files of ftp-cli are skipped on
both sides. Each uploaded file is checked against the server's SIZE, as put
does. A file whose name the server would change fails.

Clocks: servers with neither MFMT nor SITE UTIME cannot set times. There, a
file is unchanged if it has the same size and was written after the source was
last modified. For this, mirror measures the server's clock with a small file,
.ftp-cli-clock.tmp, and reports the difference. If the clock cannot be measured,
or both sides are servers (fxp -r), files modified up to 14 hours before their
copy are copied again. On file systems with two-second times, such as FAT, a
time may differ by one second.

Exit status: 8 if SRC is the URL of a file; 12 if some objects failed; 15 if
--max-delete would be exceeded, and nothing was done.",
    operands: &[Operand::Directory],
    examples: &[
        ("mirror ftp://host/pub/ pub", "Download the tree /pub to ./pub"),
        (
            "mirror --delete --max-delete 20 site ftp://me@host/www",
            "Upload a tree and remove at most 20 extra objects",
        ),
        ("mirror --dry-run -v ftp://host/pub/ pub", "Print what would be copied, and why"),
    ],
};

pub(super) const STAT: Entry = Entry {
    name: "stat",
    usage: "[OPTION]... URL...",
    summary: "Show the facts of files and directories",
    about: "\
Prints one fact per line as name: value. The facts are name, type (file, dir,
link, other), size, modified, permissions, mode, owner, group and target. Facts
that the server does not report are left out. A time in the server's own zone
is modified_local. An empty line separates objects.",
    operands: &[Operand::Url],
    examples: &[("stat ftp://host/pub/a.iso", "Show size, time and other facts")],
};

pub(super) const RM: Entry = Entry {
    name: "rm",
    usage: "[-r] [-f] [OPTION]... URL...",
    summary: "Remove files",
    about: "\
With -r, directories and their contents are removed too. Symbolic links are
removed, never followed. A directory that might be a link is skipped, unless
its URL ends in /.",
    operands: &[Operand::Url],
    examples: &[
        ("rm ftp://me@host/old.log", "Remove one file"),
        ("rm -rf ftp://me@host/tmp/x", "Remove a tree if it exists"),
    ],
};

pub(super) const MKDIR: Entry = Entry {
    name: "mkdir",
    usage: "[-p] [OPTION]... URL...",
    summary: "Create directories",
    about: "\
With -p, missing parent directories are created too, and an existing directory
is not an error.",
    operands: &[Operand::Url],
    examples: &[("mkdir -p ftp://me@host/2026/11/20", "Create a directory and its parents")],
};

pub(super) const RMDIR: Entry = Entry {
    name: "rmdir",
    usage: "[OPTION]... URL...",
    summary: "Remove empty directories",
    about: "\
The server refuses to remove a directory that is not empty.",
    operands: &[Operand::Url],
    examples: &[("rmdir ftp://me@host/inbox/old", "Remove an empty directory")],
};

pub(super) const MV: Entry = Entry {
    name: "mv",
    usage: "[OPTION]... URL NEWPATH",
    summary: "Rename a file or directory",
    about: "\
NEWPATH is relative to the login directory, unless it begins with /. It is used
byte for byte. If it ends in /, it is a directory and the object keeps its
name. NEWPATH can also be a URL of the same server. Most servers replace an
existing file.",
    operands: &[Operand::Url],
    examples: &[("mv ftp://me@host/in/a.txt done/", "Move a file to done/a.txt")],
};

pub(super) const CHMOD: Entry = Entry {
    name: "chmod",
    usage: "[OPTION]... MODE URL...",
    summary: "Change permission bits (SITE CHMOD)",
    about: "\
MODE is three or four octal digits, or letters as in chmod(1): u+w, go-rwx,
a=r,u+x. Without u, g or o, letters apply to all three. Letters need a server
that reports the current bits.",
    operands: &[Operand::Words("644|755|600|700|u+w|go-rwx"), Operand::Url],
    examples: &[("chmod 640 ftp://me@host/a.txt", "Make a file readable by its group")],
};

pub(super) const QUOTE: Entry = Entry {
    name: "quote",
    usage: "[OPTION]... URL COMMAND...",
    summary: "Send raw commands",
    about: "\
Each COMMAND is one line. It is sent unchanged, in the directory of the URL, and
the server's replies are printed. Commands that transfer data, or change the
protection, mode or structure of the connections, are refused. Passwords on a
command line are visible to other local users.",
    operands: &[Operand::Url],
    examples: &[("quote ftp://me@host/ 'SITE HELP' NOOP", "Send two commands")],
};

pub(super) const BATCH: Entry = Entry {
    name: "batch",
    usage: "[OPTION]... URL [FILE|-]",
    summary: "Run a list of commands over one connection",
    about: "\
Reads one command per line and begins in the directory of the URL:

    get REMOTE [LOCAL]        put LOCAL [REMOTE]
    ls [-l] [-a] [-R] [PATH]  stat PATH...
    rm [-r] [-f] PATH...      mkdir [-p] PATH...        rmdir PATH...
    mv FROM TO                chmod MODE PATH...        cd DIRECTORY
    ascii                     binary                    quote COMMAND...

Words are quoted as in a shell ('...', \"...\", \\). Nothing is expanded, and #
begins a comment. Without FILE, lines are read from standard input and run one
by one. A FILE is checked first: a wrong line is an error before anything runs.

A failed line does not stop the batch, unless --stop-on-error is given. After
452 or 552 no more files are uploaded. After a failed cd, lines with relative
names are skipped until a cd succeeds. The last message counts the lines that
were done, failed, or were not tried.",
    operands: &[Operand::Url, Operand::File],
    examples: &[
        ("batch ftp://me@host/inbox/ jobs.txt", "Run the commands in jobs.txt"),
        (
            "batch --stop-on-error ftp://me@host/",
            "Run commands from standard input; stop at the first error",
        ),
    ],
};

pub(super) const FXP: Entry = Entry {
    name: "fxp",
    usage: "[OPTION]... SRC-URL DST-URL",
    summary: "Copy a file from server to server",
    about: "\
The data goes directly from one server to the other: one listens, the other
connects, and both must allow that. If DST-URL ends in /, it is a directory.
With -r both URLs are directories, and the tree is synchronized as mirror does.

If the source cannot send the file, an existing file at the target stays
unchanged. Only --timeout limits the time of the data transfer. Users come from
the URLs. FTP_PASSWORD is used only if exactly one URL lacks a password.",
    operands: &[Operand::Url],
    examples: &[
        ("fxp ftp://me@one/a.iso ftp://you@two/pub/", "Copy a file to /pub of server two"),
        ("fxp -r ftp://me@one/pub ftp://you@two/pub", "Synchronize a tree between two servers"),
    ],
};

pub(super) const DOCTOR: Entry = Entry {
    name: "doctor",
    usage: "[OPTION]... URL",
    summary: "Diagnose a server and the network to it",
    about: "\
Checks the server's name and addresses, the protocol, TLS, the login, each kind
of data connection and the listings. With --upload-dir it also checks uploads,
and deletes its files afterwards. It connects to no other host.

Each finding is ok, warn (a fault that this client copes with), fail, or skip
(not checked). It states what it means, what to do, and on which side. The last
line is the best command line for this server.

Checks run in parallel if the server accepts several connections. All checks
end after 30 s; --timeout TIME allows more.

Exit status: 0 if everything that the URL and the options need works, otherwise
the code of the first fail. If the time runs out without a fail, 10.",
    operands: &[Operand::Url],
    examples: &[
        ("doctor ftp://me@host", "Check everything except uploads"),
        ("doctor --upload-dir inbox ftp://me@host", "Check uploads and the clock too"),
    ],
};

pub(super) const SERVE: Entry = Entry {
    name: "serve",
    usage: "[OPTION]... [DIR]",
    summary: "Serve a directory",
    about: "\
Without options, serves DIR or the current directory, read-only, to anyone on
this computer, at 127.0.0.1:2121.

The password of a user is the part after the colon (visible to other local
users), then the first line of --password-file, then FTP_PASSWORD. With
--config, users come from FILE, and DIR is for users of -u. Every key of FILE
is listed below; ftp-cli serve --check shows the values in use.

On SIGTERM or SIGINT the server stops accepting clients, lets transfers finish,
and exits with 0. A second signal aborts the transfers; a third exits at once.",
    operands: &[Operand::Directory],
    examples: &[
        ("serve /srv/pub", "Share a directory read-only on this computer"),
        (
            "serve --listen :2121 --drop-box /srv/inbox",
            "Let anyone on the network add files and see none",
        ),
        (
            "serve --tls-self-signed --listen-tls :990 -u me:secret /srv",
            "Serve one user with implicit TLS",
        ),
        ("serve --config server.toml --check", "Print the configuration and what would fail"),
    ],
};

pub(super) const WHO: Entry = Entry {
    name: "who",
    usage: "[--json]",
    summary: "List the sessions of a running server",
    about: "\
Asks the server by its control socket, which the setting control.socket names.
Prints number, user, address, time of the connection, TLS version, time without
a command, and the running transfer of each session, the oldest first.",
    operands: &[],
    examples: &[("who", "List all sessions"), ("who --json", "Print them as JSON lines")],
};

pub(super) const STATUS: Entry = Entry {
    name: "status",
    usage: "[--json]",
    summary: "Show the state of a running server",
    about: "\
Prints version, process, start and addresses of the server, the numbers of
sessions, transfers and bans, the rate of all transfers, and whether it drains.",
    operands: &[],
    examples: &[("status", "Show the state of the server")],
};

pub(super) const KICK: Entry = Entry {
    name: "kick",
    usage: "ID|user=NAME|address=ADDRESS",
    summary: "End sessions of a running server",
    about: "\
Ends the session with the number ID, all sessions of a user, or all sessions
from an address. A running transfer is aborted with 426; then 421 follows.",
    operands: &[],
    examples: &[
        ("kick 17", "End session 17"),
        ("kick user=scanner", "End all sessions of a user"),
        ("kick address=192.0.2.7", "End all sessions from an address"),
    ],
};

pub(super) const DRAIN: Entry = Entry {
    name: "drain",
    usage: "",
    summary: "Stop a server after its last session",
    about: "\
The server accepts no more connections at once, and stops when the last session
has ended by itself. kick ends sessions earlier, and SIGTERM stops the server.",
    operands: &[],
    examples: &[("drain", "Stop the server without interrupting anyone")],
};

pub(super) const RELOAD: Entry = Entry {
    name: "reload",
    usage: "",
    summary: "Reload the configuration of a server",
    about: "\
Reads the configuration file, the users and the certificate again and reopens
the logs, like SIGHUP, and prints what has changed. If the file has an error,
the configuration stays as it was, and the exit code is 8. Sessions of users who
are no longer in the file end after their transfer.",
    operands: &[],
    examples: &[("reload", "Apply the changed configuration file")],
};

pub(super) const UNBAN: Entry = Entry {
    name: "unban",
    usage: "ADDRESS|all",
    summary: "End the ban of a host",
    about: "\
Ends the ban of a host with too many failed logins, or all bans. An IPv6 host is
its network of 64 bits.",
    operands: &[],
    examples: &[("unban 192.0.2.7", "Let this host connect again")],
};

pub(super) const PASSWD: Entry = Entry {
    name: "passwd",
    usage: "[--password-file FILE]",
    summary: "Print the hash of a password",
    about: "\
Prints the argon2id hash of a password, for the configuration file of serve.
The password is prompted for on a terminal, otherwise read from standard input.",
    operands: &[],
    examples: &[],
};

pub(super) const DEMO: Entry = Entry {
    name: "demo",
    usage: "[-q]",
    summary: "Show a server and a client at work",
    about: "\
Starts a server in a temporary directory on this computer. Uploads, lists and
downloads files and compares them: in passive and active mode, as text, resumed,
and under TLS. Copies a file to a second server in both directions. Prints the
dialogue, and removes everything. Needs no network.",
    operands: &[],
    examples: &[],
};

pub(super) const HELP: Entry = Entry {
    name: "help",
    usage: "[COMMAND]",
    summary: "Show help for a command",
    about: "",
    operands: &[Operand::Command],
    examples: &[],
};

pub(super) const MAN: Entry = Entry {
    name: "man",
    usage: "[PAGE]",
    summary: "Print a man page",
    about: "\
PAGE is ftp-cli (default) or server.toml, the configuration of serve. Prints the
page as roff. To read it: ftp-cli man | man -l -",
    operands: &[Operand::Words(MAN_PAGES)],
    examples: &[
        ("man > ftp-cli.1", "Write the man page to a file"),
        ("man server.toml > server.toml.5", "Write the page of the configuration to a file"),
    ],
};

pub(super) const COMPLETIONS: Entry = Entry {
    name: "completions",
    usage: "SHELL",
    summary: "Print a shell completion script",
    about: "\
SHELL is bash, zsh or fish. The first lines of the script say where to install
it.",
    operands: &[Operand::Words(SHELLS)],
    examples: &[("completions bash > ftp-cli.bash", "Write the script for bash to a file")],
};
