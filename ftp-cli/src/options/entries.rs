//! What people are told of each command; `help`, the man page and completions show it.

use super::command::{Command, Entry, Operand};

impl Command {
    /// What users are told of it.
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

/// The shells for which `completions` knows how to complete.
pub(crate) const SHELLS: &str = "bash|zsh|fish";

pub(super) const GET: Entry = Entry {
    name: "get",
    usage: "[OPTION]... URL [LOCAL]",
    summary: "download a file",
    about: "\
LOCAL is a file, a directory, or - for standard output; without it the file keeps its name and
goes to the current directory. It appears under its name when it is whole and on disk; until
then, and if anything fails, what had the name before stays as it was. With -P DIR all operands are
URLs, and their files go into DIR, over one control connection for each server.",
    operands: &[Operand::Url, Operand::File],
    examples: &[
        ("get ftp://host/pub/a.iso", "to ./a.iso, under that name when it is whole"),
        ("get -c ftp://host/pub/a.iso", "go on where an earlier one stopped"),
        ("get ftp://host/log.txt -", "to standard output"),
        ("get -j 4 -P logs ftp://host/a.log ftp://host/b.log", "several, four at a time"),
        ("get ftpes://me@host/a", "under TLS, or not at all"),
    ],
};

pub(super) const PUT: Entry = Entry {
    name: "put",
    usage: "[OPTION]... LOCAL... URL",
    summary: "upload files",
    about: "\
LOCAL is a file, or - for standard input. A URL that ends in / is a directory, which takes any
number of files under their own names.",
    operands: &[Operand::File],
    examples: &[
        ("put a.txt b.txt ftp://me@host/inbox/", "two files, under their names"),
        ("put - ftp://me@host/etc.tar", "what comes by standard input"),
    ],
};

pub(super) const LS: Entry = Entry {
    name: "ls",
    usage: "[OPTION]... URL",
    summary: "list a directory",
    about: "\
One name a line, in the server's order; with -l what the server tells about each as well, times in
UTC where the server tells that. Names are printed byte for byte, on a terminal with control
characters escaped unless --raw-names is given. With -R what is in the directories below follows
each directory, as paths; with -g the last part of the URL is a pattern (*, ?, [a-z]) that names
have to fit. Links are shown and not followed.

Names that begin with a dot are listed if the server shows them unasked, as those with MLSD do; -a
asks for them. A listing that is not proved whole ends with exit 11, behind what was listed.",
    operands: &[Operand::Url],
    examples: &[
        ("ls -l ftp://host/pub/", "with size and date"),
        ("ls -g 'ftp://host/pub/*.iso'", "the names that fit"),
        ("ls -R --json ftp://host/pub/", "all below, for programs"),
    ],
};

pub(super) const MIRROR: Entry = Entry {
    name: "mirror",
    usage: "[OPTION]... SRC DST",
    summary: "copy what differs of a tree, to or from a server",
    about: "\
One of SRC and DST is a URL, the other a directory here; DST is made if it is not there. A file is
copied if DST lacks it, or if size or time of modification differ, and gets the time of its
source. A server that cannot set times (neither MFMT nor SITE UTIME in its FEAT) has its own: there
a file is the same if it is as large and was written after the one here was last changed. That
compares two clocks, so that mirror measures the server's first, by a file that it stores and
removes (.ftp-cli-clock.tmp), and says by how much it differs: some servers tell local time. If the
clock cannot be measured, or SRC is a server, too (fxp -r), files that changed up to 14 hours before
they were copied are copied again. Where DST keeps only every second time, as FAT does, the even
second beside a time is that time. Whatever cannot be told is copied. A run that was cut is simply
started again.

--delete removes what SRC lacks when all else is done, but nothing from a directory in which
anything failed, or whose listing was not understood, and nothing behind a link. Some servers list
links as directories: where the count of links tells of one among them, nothing in them is deleted,
and a directory that SRC lacks has to be proved one, as for rm -r. What --exclude leaves out is not
removed. Names that begin with a dot are mirrored as others; one that SRC lacks stays if nothing
shows that the server lists such names.

GLOB is a name with *, ? and [a-z]; with a / it is a path from the top, and with one at its end it
means directories. The last GLOB that fits decides. What none fits is taken, unless the first is
an --include: then such files are left out.

Symbolic links are left out on either side, and never followed; FIFOs and devices are left out, and
temporary files of this program. Each file that was sent is compared with the server's SIZE, as put
does. A file whose name the server would change fails.

Exit status: 8 if the URL of SRC is a file, 12 if some objects failed, 15 if more would be deleted
than --max-delete allows; then nothing was done.",
    operands: &[Operand::Directory],
    examples: &[
        ("mirror ftp://host/pub/ pub", "the tree /pub, to ./pub"),
        (
            "mirror --delete --max-delete 20 site ftp://me@host/www",
            "a tree from here, and no more than it",
        ),
        ("mirror --dry-run -v ftp://host/pub/ pub", "what would be done, and why"),
    ],
};

pub(super) const STAT: Entry = Entry {
    name: "stat",
    usage: "[OPTION]... URL...",
    summary: "show what is known of objects",
    about: "\
One fact a line, as name: value: name, type (file, dir, link, other), size, modified, permissions,
mode, owner, group, target; what the server does not tell is left out. A time that it tells by its
own clock alone is modified_local. Between two objects there is an empty line.",
    operands: &[Operand::Url],
    examples: &[("stat ftp://host/pub/a.iso", "size and time, and what else is known")],
};

pub(super) const RM: Entry = Entry {
    name: "rm",
    usage: "[-r] [-f] [OPTION]... URL...",
    summary: "remove files",
    about: "\
With -r a directory and all that is in it, too. A symbolic link is removed itself, and nothing
behind it: what a server shows as a directory has to prove that it is none in disguise. Where the
server tells too little for that, it stays, unless a / at the end of its name says that it is one.",
    operands: &[Operand::Url],
    examples: &[
        ("rm ftp://me@host/old.log", "one file"),
        ("rm -rf ftp://me@host/tmp/x", "a tree, if it is there"),
    ],
};

pub(super) const MKDIR: Entry = Entry {
    name: "mkdir",
    usage: "[-p] [OPTION]... URL...",
    summary: "make directories",
    about: "\
With -p those that it lies in too, as far as they are not there; one that is there is no failure.",
    operands: &[Operand::Url],
    examples: &[("mkdir -p ftp://me@host/2026/11/20", "all three, if need be")],
};

pub(super) const RMDIR: Entry = Entry {
    name: "rmdir",
    usage: "[OPTION]... URL...",
    summary: "remove empty directories",
    about: "\
A directory that holds something is refused by the server.",
    operands: &[Operand::Url],
    examples: &[("rmdir ftp://me@host/inbox/old", "if nothing is in it")],
};

pub(super) const MV: Entry = Entry {
    name: "mv",
    usage: "[OPTION]... URL NEWPATH",
    summary: "rename a file or directory",
    about: "\
NEWPATH is taken byte for byte and counts from the directory in which the login ends, unless it
begins with /; one that ends in / is a directory, where the object keeps its name. It may also be
a URL of the same server. Most servers replace a file that is there.",
    operands: &[Operand::Url],
    examples: &[("mv ftp://me@host/in/a.txt done/", "to done/a.txt")],
};

pub(super) const CHMOD: Entry = Entry {
    name: "chmod",
    usage: "[OPTION]... MODE URL...",
    summary: "set permission bits",
    about: "\
MODE is three or four octal digits, or letters as chmod(1) has them: u+w, go-rwx, a=r,u+x; these
need a server that tells the bits there are. Where nobody is named, all are meant.",
    operands: &[Operand::Words("644|755|600|700|u+w|go-rwx"), Operand::Url],
    examples: &[("chmod 640 ftp://me@host/a.txt", "SITE CHMOD")],
};

pub(super) const QUOTE: Entry = Entry {
    name: "quote",
    usage: "[OPTION]... URL COMMAND...",
    summary: "send raw commands",
    about: "\
Each COMMAND is one line, sent as it is, in the directory of the URL; what the server replies is
printed. A command that moves data, or changes how the connections are read, is refused here.
Others of this computer see a password in a command line.",
    operands: &[Operand::Url],
    examples: &[("quote ftp://me@host/ 'SITE HELP' NOOP", "two commands")],
};

pub(super) const BATCH: Entry = Entry {
    name: "batch",
    usage: "[OPTION]... URL [FILE|-]",
    summary: "do what the lines of a file say",
    about: "\
One command a line, over one control connection, beginning in the directory of the URL:

    get REMOTE [LOCAL]           put LOCAL [REMOTE]
    ls [-l] [-a] [-R] [PATH]     stat PATH...
    rm [-r] [-f] PATH...         mkdir [-p] PATH...           rmdir PATH...
    mv FROM TO                   chmod MODE PATH...           cd DIRECTORY
    ascii                        binary                       quote COMMAND...

Words are quoted as in a shell ('...', \"...\", \\), nothing is expanded, and # begins a comment.
Without FILE the lines come from standard input, as they come. A FILE is read before its first
line is done, so that a wrong line is an error before anything happens. What fails is said and the
next line follows, unless --stop-on-error is given; behind a 452 or 552 no further file is uploaded,
and behind a cd that fails nothing is done to a name that does not begin with /, until one succeeds.
At the end stands how many lines were done, failed, and were not tried.",
    operands: &[Operand::Url, Operand::File],
    examples: &[
        ("batch ftp://me@host/inbox/ jobs.txt", "what the file says"),
        ("batch --stop-on-error ftp://me@host/", "what comes by standard input, up to an error"),
    ],
};

pub(super) const FXP: Entry = Entry {
    name: "fxp",
    usage: "[OPTION]... SRC-URL DST-URL",
    summary: "copy a file from server to server",
    about: "\
The file never passes here: one server listens, the other connects to it, and both must allow
that. A file that the source cannot send leaves the file of that name at the target as it is. How
long the data takes is only limited by --timeout. A DST-URL that ends in / is a directory. Users are
those of the URLs; FTP_PASSWORD is for a single one that has no password there.

With -r both are directories, and what differs of the tree is copied, as mirror does it; help mirror
says what counts as the same, also where the target cannot set times.",
    operands: &[Operand::Url],
    examples: &[
        ("fxp -r ftp://me@one/pub ftp://you@two/pub", "a tree, as far as it differs"),
        ("fxp ftp://me@one/a.iso ftp://you@two/pub/", "to /pub of two"),
    ],
};

pub(super) const DOCTOR: Entry = Entry {
    name: "doctor",
    usage: "[OPTION]... URL",
    summary: "examine a server, and every way to it, and explain what is wrong",
    about: "\
Looks at the server's name and addresses, what talks there, the login, each way to data
connections, listings, and with --upload-dir at uploads, whose files it deletes. Each finding is ok,
warn (something is wrong that this client copes with), fail, or skip (it could not be looked at),
with what it means, what to do and on which side. The last line is the best command line for this
server. Exit 0 if all that is needed works, else the code of the first fail. It connects to nothing
but the named server.

The checks run side by side as far as the server takes several connections. The whole ends after
30 s: allow more with --timeout TIME. If that is too short for all checks, doctor reports those that
are done, and ends with the code of the first fail, or 10.",
    operands: &[Operand::Url],
    examples: &[
        ("doctor ftp://me@host", "all but uploads"),
        ("doctor --upload-dir inbox ftp://me@host", "uploads and the clock, too"),
    ],
};

pub(super) const SERVE: Entry = Entry {
    name: "serve",
    usage: "[OPTION]... [DIR]",
    summary: "serve a directory",
    about: "\
Without options: DIR or the current directory, read-only, to anyone, on 127.0.0.1:2121. A user's
password is the part behind the colon (for throw-away servers: others can see it), else the first
line of --password-file, else FTP_PASSWORD. With --config, users are those of FILE, and DIR is for
users of options; dist/server.toml explains its form. After SIGTERM or SIGINT transfers may finish before it
exits with 0; a second signal cuts them, a third waits for nothing.",
    operands: &[Operand::Directory],
    examples: &[
        ("serve /srv/pub", "read-only, to anyone, on this computer"),
        ("serve --listen :2121 --drop-box /srv/inbox", "anyone hands new files in"),
        (
            "serve --tls-self-signed --listen-tls :990 -u me:secret /srv",
            "with TLS and nothing but TLS",
        ),
        ("serve --config server.toml --check", "what is in force and what will fail"),
    ],
};

pub(super) const PASSWD: Entry = Entry {
    name: "passwd",
    usage: "[--password-file FILE]",
    summary: "hash a password",
    about: "\
Prints the hash of a password, by argon2id, for a file that serve reads. It is asked
for, or read from standard input where that is no terminal.",
    operands: &[],
    examples: &[],
};

pub(super) const DEMO: Entry = Entry {
    name: "demo",
    usage: "[-q]",
    summary: "show a server and a client at work",
    about: "\
Starts a server on this computer in a temporary directory; puts files there, lists them, gets them
back and compares them, in passive and active mode, as text, resumed in the middle, and under TLS;
has one copied to a second server, forward and in reverse; shows the dialogue, and cleans up. Needs
no network.",
    operands: &[],
    examples: &[],
};

pub(super) const HELP: Entry = Entry {
    name: "help",
    usage: "[COMMAND]",
    summary: "explain the program or a command",
    about: "",
    operands: &[Operand::Command],
    examples: &[],
};

pub(super) const MAN: Entry = Entry {
    name: "man",
    usage: "",
    summary: "print the man page",
    about: "In the language of roff: ftp-cli man | man -l - shows it.",
    operands: &[],
    examples: &[("man > ftp-cli.1", "for a directory of man pages")],
};

pub(super) const COMPLETIONS: Entry = Entry {
    name: "completions",
    usage: "SHELL",
    summary: "print what completes command lines in a shell",
    about: "SHELL is bash, zsh or fish. The first lines of what is printed say where it belongs.",
    operands: &[Operand::Words(SHELLS)],
    examples: &[("completions bash > ~/.bash_completion", "for bash")],
};
