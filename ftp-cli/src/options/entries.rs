//! The text of each command, which `help`, the man page and completions show.

use super::table::{Command, Entry, Operand};

impl Command {
    /// Returns the text of the command.
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
            Self::Ctl => CTL,
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
    usage: "[OPTION]... URL [LOCAL] | URL... | -i FILE [URL]...",
    summary: "Download files",
    about: "\
LOCAL is a file, a directory, or - for standard output. Without LOCAL, the file
keeps its name and goes to the current directory. Several URLs can be on
different servers; their files go to the current directory or, with -P DIR, to
DIR. -i FILE adds the URLs in FILE; empty lines, and lines that begin with #,
are skipped.

Without --in-place, a file appears under its final name only when it is complete
and on disk. Until the download is complete, and if it fails, an existing file
of that name stays unchanged.

-c resumes bytes that an earlier run of get received from the same server, user
and path, if the server's file still has the same size and time. It also resumes
bytes that the server's digest proves. The last 64 KiB are received again and
compared. With -c --verify none, any existing bytes are resumed unless these
checks fail.

If the last part of a URL has *, ? or [a-z], that part is a pattern, unless an
object has exactly this name. With -g, the last part is always a pattern. Put
URLs with patterns in quotes. As in a shell, * does not match a name that begins
with a dot. Directories are skipped.

With -r, URL is a directory. The content of URL goes to LOCAL. Without LOCAL, it
goes to a directory of the same name in the current directory or, with -P DIR,
in DIR. As with mirror, files whose local copy is up to date are skipped. Local
files that URL lacks are kept.

--segments N downloads a file of 512 KiB or more in ranges, over up to N
connections. get uses one connection if the file is smaller, or if the server
ignores REST or does not report size and time. Until the file is complete,
NAME.part and NAME.part.segment-* hold the ranges. After a failure or a kill,
run the same command again to resume the download.

--segments is faster if the server limits the rate of each connection, or if the
network loses packets. Otherwise it is slower: each connection must log in and
prove that it sends the right bytes.

With --segments, the file gets its final name only if its size and time on the
server did not change during the download. If the server offers a digest, the
local file must also match the digest, unless you use --verify size or --verify
none. If the size, time or digest differs, the exit status is 11.

--remove-source removes the server's file once the local file is complete, has
the same size, and is on disk. If the server's file changes during the download,
get does not remove it. If the server does not report times, --remove-source
needs --verify hash. Otherwise, the server's file stays and the exit status is
14. If the server's file was written in the last 10 seconds, get waits 2 seconds
before the download, so that it can recognize later changes. With -r,
--remove-source follows other rules: see ftp-cli help mirror.

If get --remove-source is killed, run the same command again: no file is lost.
Without -r, get records its progress in small hidden files next to the local
file. After a kill, the next run continues from this record. The next run
repeats a download in one case only. In this case, get was killed just as the
local file appeared, and another program has since moved the file away.

Exit status: 8 if a pattern matches no file; 12 if some of several files failed
or have invalid names, such as ../x; 15 if another run holds the lock of --lock,
or is moving the same file with --remove-source.",
    operands: &[Operand::Url, Operand::File],
    examples: &[
        ("get ftp://host/pub/a.iso", "Download to ./a.iso"),
        ("get -c ftp://host/pub/a.iso", "Resume an interrupted download"),
        ("get -P logs 'ftp://host/*.log'", "Download all files that match a pattern"),
        ("get -r ftp://host/pub/ pub", "Download a directory tree to ./pub"),
        (
            "get --retry 5 --password-file pw.txt ftp://me@host/backup.tar",
            "Download in a script, with retries and a password from a file",
        ),
        ("get --segments 4 ftp://host/pub/a.iso", "Download over up to four connections"),
        ("get ftp://host/log.txt -", "Write the file to standard output"),
        (
            "get -j 4 -P logs ftp://host/a.log ftp://host/b.log",
            "Download several files, up to four at a time",
        ),
        ("get -i urls.txt", "Download each URL in a file"),
        (
            "get --remove-source --lock in.lock -P in 'ftp://me@host/out/*.csv'",
            "Download all CSV files from out/, then remove them from the server",
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
and each file keeps its name. To upload several files, end URL in /.

After each binary upload, put compares the local size with the size on the
server, if the server reports sizes; with --append, the sizes before and after.
If a local file changes during its upload, the upload fails. --verify none turns
off both this check and the comparison of sizes.

put -c resumes an interrupted put -c where the server's file ends, if its bytes
came from the unchanged LOCAL. The proof is a journal, a hidden file next to
LOCAL (.*.ftp-cli-upload), or a digest of the server. If the directory of LOCAL
cannot be written, the journal is in $XDG_STATE_HOME/ftp-cli. The last 64 KiB of
the server's file must also equal those of LOCAL, if the server lets put read
them. Otherwise, put uploads the whole file. If the server's file is already as
long as LOCAL, its digest must match. With --verify none, put keeps the server's
bytes, unless their time or their end shows that they are from another file.

If URL leads to LOCAL itself, put fails before it sends anything.

Some servers keep an interrupted upload in a hidden file. If this file already
has all bytes, put -c makes it appear under its final name and compares the
sizes, even with --verify none.

With -r, LOCAL and URL are directories, and the content of LOCAL goes into URL.
As with mirror, files that are up to date on the server are skipped. Files on
the server that LOCAL lacks are kept.

Use --temp for directories that other programs watch: it uploads each file under
a temporary name and renames the complete file. An existing file with the
temporary name is overwritten. With -r, --temp follows other rules: see ftp-cli
help mirror.

Many servers keep the incomplete file of an interrupted upload under its final
name. If the next run has -n or --newer, it skips this file. Use --temp to
prevent that.

--remove-source removes the local file once the server's file has the same size.
If another run is moving the same file with --remove-source, the exit status is
15. If put --remove-source is killed, run the same command again: no file is
lost. With -r, --remove-source follows other rules: see ftp-cli help mirror.

If the server takes the names of two files for one file, put uploads only the
first, and the exit status is 12.

With --remove-source and several files, the local files stay until the server
lists all their names, because some servers take two names for one file or cut
names short. If a name is missing, all files stay, and the exit status is 12. If
the server refuses to list the directory, the same sizes suffice.

With --remove-source and --temp, but without -r, put records its progress in
small hidden files next to the local file. After a kill, the next run continues
from this record. If the server reports times, the next run repeats an upload in
one case only. In this case, put was killed just as the file appeared on the
server, and another program has since moved the file away.",
    operands: &[Operand::File],
    examples: &[
        ("put a.txt b.txt ftp://me@host/inbox/", "Upload two files into a directory"),
        ("put - ftp://me@host/etc.tar", "Upload standard input as etc.tar"),
        ("put -r site ftp://me@host/www", "Upload a directory tree"),
        (
            "put --temp --remove-source out/* ftp://me@host/inbox/",
            "Upload files to a directory that a program watches, then remove them locally",
        ),
    ],
};

pub(super) const LS: Entry = Entry {
    name: "ls",
    usage: "[OPTION]... URL...",
    summary: "List directories",
    about: "\
Prints one name per line, in the server's order. -l adds type, permissions, size
and time; times are in UTC if the server reports UTC, else in the server's local
time. -R adds the contents of subdirectories, as paths. Symbolic links are shown
but never followed. If there are several URLs, each listing begins with a line
that names its URL.

If the last part of a URL has *, ? or [a-z], that part is a pattern, unless an
object has exactly this name. With -g, the last part is always a pattern.

-t sorts by time, newest first, and -S by size, largest first. If you use
several of -t, -S and --sort, the last one wins. With -R, the whole tree is
sorted as one list.

On a terminal, control characters in names are escaped. --raw-names turns that
off. Servers with MLSD list names that begin with a dot; -a requests these names
from other servers.

Exit status: 11 if the listing may be incomplete; the entries that arrived are
printed.",
    operands: &[Operand::Url],
    examples: &[
        ("ls -l ftp://host/pub/", "Show sizes and times"),
        ("ls -lht ftp://host/pub/", "Show the newest first, with sizes such as 1.5 KiB"),
        ("ls 'ftp://host/pub/*.iso'", "List the names that match a pattern"),
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

--compare hash compares files of the same size by their content: the server and
this computer each read the whole file. The server must offer SHA-256, SHA-512,
SHA-1 or CRC-32 (HASH, or a command such as XSHA256); if not, the exit status is
14.

After all files are copied, --delete removes objects from DST that SRC lacks,
and prints each. If a directory of SRC could not be read completely, or if
anything was not copied, --delete removes nothing at all: what is missing may
be what would be removed, renamed. With --ignore-errors, directories are cleaned
in which, above which and below which nothing failed. Objects that could not be
removed, and times and permissions that could not be set, do not count.
--delete removes nothing through a symbolic link. Files that --exclude matches
are never removed. If SRC is a server that may hide names that begin with a dot,
--delete keeps objects with such names in DST. On servers that list links as
directories, mirror removes a directory only if a test shows that it is not a
link. rm -r does the same.

Some servers and disks store two spellings of a name as one file: without case,
in another form of Unicode, without a dot or blank at the end, or cut short.
mirror asks before it writes a new name that differs from another name in such a
way only. If both are one file, the file is replaced and kept. If SRC has both
names, the second is not copied, and the exit status is 12. Before mirror
removes anything from a directory or its source, it lists the directory again if
it has written new names there. If a new name is missing, mirror removes nothing
there, and the exit status is 12.

If SRC has no files, for example because its disk is not mounted, --delete needs
--max-delete; otherwise, mirror does nothing.

GLOB is a name or path that can contain the patterns *, ? and [a-z]. A GLOB with
a / before its end is a path from the top of the tree. A GLOB that ends in /
matches directories only. If several GLOBs match a name, the last one decides. A
file that no GLOB matches is skipped if the first GLOB belongs to an --include;
otherwise it is copied. A GLOB that matches nothing is reported. GLOBs with **
or {a,b} are errors; to match such a character in a name, write [*] or [{].

mirror does not copy FIFOs, devices or temporary files of ftp-cli. --delete
removes FIFOs and devices from DST if SRC lacks their names, as rsync does. In a
local DST, --delete removes a temporary file, such as NAME.part, only if no
program is writing to it. On a server, --delete keeps temporary files, because
other runs may be using them. But it removes the temporary files that --temp has
left. --delete never removes the hidden files of --remove-source.

Without --links, symbolic links are not copied. --links keep creates links in a
local DST, if the listing shows their targets and the targets are inside the
tree. If DST is a URL, --links keep is an error: FTP cannot create links.
--links follow copies the file or directory that a link leads to. A link that
leads to neither fails, and the exit status is 12.

mirror compares the size of each uploaded file with its size on the server, as
put does. If a file name is not UTF-8 and the server would change it, the upload
of that file fails.

-j N copies up to N files at a time, each over its own connection. A large file
is downloaded first, in N ranges, one for each connection. A file is large if it
has 16 MiB or more, and over 1/N of all bytes to download. If the server ignores
REST or does not report size and time, one connection downloads the whole file.
After a kill, run the same command again to resume the ranges, which are in
.ftp-cli-pieces-NAME.part*. A run that does not need these files removes them.

Clocks: servers with neither MFMT nor SITE UTIME cannot set times. On such
servers, a file counts as up to date if it has its source's size, and was
written after the source was last modified. To compare times with such a server,
mirror measures the server's clock by creating a small file, .ftp-cli-clock.tmp.
It reports the difference from the local clock. If mirror cannot measure the
server's clock, it copies a file again if the file changed less than 14 hours
before its last copy. fxp -r does the same. On file systems with two-second
times, such as FAT, times that differ by one second count as equal.

After all copies, --remove-source removes each file of SRC whose copy in DST is
verified. Downloaded files are synced to disk before their sources are removed.
Directories stay. After an upload, the local file is removed only if it is
unchanged and the server's file has the same size. If the server can set times,
both files must also have the same time.

With --remove-source, the server's file is removed only if its digest matches
the downloaded file. If the server has no digests, size and time must match. In
that case, the run waits two seconds before the first copy, so that it can
recognize later changes. If the server has neither digests nor MDTM, the file
stays. The exit status is then 14, or 12 if the run has several objects.

With --remove-source, a file that DST already has is copied again, unless the
server's digest matches the local file. On a server that cannot set times, add
--compare hash; otherwise a file that DST already has is always uploaded again.

If SRC and DST are the same directory, --remove-source neither copies nor
removes anything, and the exit status is 2. To find out whether both are the
same, mirror briefly creates a small local file and looks for it on the server.

--backup-dir DIR moves each replaced or deleted file to the same path below DIR.
DIR is a local directory on the file system of DST, or a path on the server. If
the name already exists below DIR, a suffix such as .~1~ is added. A replaced
file moves to DIR only once its replacement is complete. With --backup-dir,
uploads get temporary names, as with --temp. With --temp and --remove-source,
one file is uploaded at a time.

--perms copies the permissions of every file, even of files that are up to date.
A directory gets its permissions after its content, and only if nothing in it
failed. DST itself keeps its permissions, as with lftp. If the server lacks SITE
CHMOD, or does not list permissions, the exit status is 12.

With --temp, an existing file .in.NAME in DST counts as an interrupted upload
and is overwritten. With a PATTERN other than .in.*, mirror copies nothing and
exits with 2 if DST already has a file with a temporary name. Whatever the
PATTERN, mirror copies nothing and exits with 2 if SRC has a file with such a
name.

Exit status: 8 if SRC is the URL of a file; 12 if some objects failed; 14 if the
server lacks what --compare hash needs; 15 if nothing was done: --max-delete
would be exceeded or is missing, or another run holds the lock of --lock.",
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
    summary: "Show facts about files and directories",
    about: "\
Prints one fact per line as name: value. The facts are name, type (file, dir,
link, other), size, modified, permissions, mode, owner, group and target. Facts
that the server does not report are left out. If the server reports times in its
own time zone, modified_local replaces modified. An empty line separates
objects.",
    operands: &[Operand::Url],
    examples: &[("stat ftp://host/pub/a.iso", "Show size, time and other facts")],
};

pub(super) const RM: Entry = Entry {
    name: "rm",
    usage: "[-r] [-f] [OPTION]... URL...",
    summary: "Remove files",
    about: "\
With -r, rm also removes directories and their contents. Symbolic links are
removed, never followed. A directory that might be a link is not removed, and
counts as a failure. If the server does not show whether an object is a link,
end the URL in / to declare that the object is a directory.

If the last part of a URL has *, ? or [a-z], that part is a pattern, unless an
object has exactly this name. With -g, the last part is always a pattern. Put
URLs with patterns in quotes. As in a shell, * does not match a name that
begins with a dot. If the listing for a pattern may be incomplete, nothing is
removed. With -f, a missing file is not an error, nor is a pattern that matches
nothing.",
    operands: &[Operand::Url],
    examples: &[
        ("rm ftp://me@host/old.log", "Remove one file"),
        ("rm -rf ftp://me@host/tmp/x", "Remove a tree if it exists"),
        ("rm 'ftp://me@host/tmp/*.log'", "Remove the files that match a pattern"),
    ],
};

pub(super) const MKDIR: Entry = Entry {
    name: "mkdir",
    usage: "[-p] [OPTION]... URL...",
    summary: "Create directories",
    about: "\
With -p, mkdir also creates missing parent directories, and an existing
directory is not an error.",
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
NEWPATH is a path, or a URL of the same server and user. A path that does not
begin with / is relative to the login directory. A path is used byte for byte,
without percent-decoding. If NEWPATH ends in /, the object moves into that
directory and keeps its name. Most servers replace an existing file at NEWPATH.
With -n, mv first checks whether NEWPATH exists; if so, it renames nothing. A
file that appears between the check and the rename can still be replaced.",
    operands: &[Operand::Url],
    examples: &[("mv ftp://me@host/in/a.txt done/", "Move a file to done/a.txt")],
};

pub(super) const CHMOD: Entry = Entry {
    name: "chmod",
    usage: "[OPTION]... MODE URL...",
    summary: "Change permission bits (SITE CHMOD)",
    about: "\
MODE is three or four octal digits, or letters as in chmod(1): u+w, go-rwx,
a=r,u+x. Without u, g or o, the change applies to all three. Letters work only
if the server reports the current bits.",
    operands: &[Operand::Words("644|755|600|700|u+w|go-rwx"), Operand::Url],
    examples: &[("chmod 640 ftp://me@host/a.txt", "Make a file readable by its group")],
};

pub(super) const QUOTE: Entry = Entry {
    name: "quote",
    usage: "[OPTION]... URL COMMAND...",
    summary: "Send raw commands",
    about: "\
quote changes to the directory of the URL, sends each COMMAND as one line,
unchanged, and prints the server's replies. quote refuses commands that transfer
data, and commands that change the protection of the connections, the transfer
mode or the file structure. Passwords on a command line are visible to other
local users.",
    operands: &[Operand::Url],
    examples: &[("quote ftp://me@host/ 'SITE HELP' NOOP", "Send two commands")],
};

pub(super) const BATCH: Entry = Entry {
    name: "batch",
    usage: "[OPTION]... URL [FILE|-]",
    summary: "Run a list of commands over one connection",
    about: "\
Begins in the directory of the URL, and reads one command per line:

    get REMOTE [LOCAL]        put LOCAL [REMOTE]
    ls [-l] [-a] [-R] [PATH]  stat PATH...
    rm [-r] [-f] PATH...      mkdir [-p] PATH...        rmdir PATH...
    mv FROM TO                chmod MODE PATH...        cd DIRECTORY
    ascii                     binary                    quote COMMAND...

Words are quoted as in a shell ('...', \"...\", \\). Variables and patterns are
not expanded, and # begins a comment. FILE is checked first: if a line is
invalid, nothing runs. Without FILE, lines are read from standard input and run
one by one.

A failed line does not end the batch, unless you use --stop-on-error. The batch
also ends if a lost connection cannot be restored. After a 452 or 552 reply (no
space, or quota exceeded), no more files are uploaded. After a failed cd, lines
with relative names are skipped until a cd succeeds. The last message counts
three kinds of lines: done, failed (including skipped), and not tried because
the batch ended early.",
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
connects. Both servers must allow server-to-server transfers. If DST-URL ends in
/, it is a directory, and the file keeps its name. With -r, both URLs are
directories, which fxp synchronizes as mirror does. With --temp, each file has a
temporary name at the target until it is complete. An existing file with the
temporary name is overwritten. With -r, --temp follows other rules: see ftp-cli
help mirror. If both URLs may lead to the same file on one server, fxp copies
the file only with --temp.

fxp -c resumes where the target's file ends, if digests of both servers prove
that this file is the beginning of the source's file. Otherwise, fxp copies the
whole file. With --verify none, fxp -c keeps the target's bytes, unless the
source is newer. --verify size and --verify hash fail if the servers do not
report what is compared. A file that was resumed is also compared as a whole, if
the servers offer a digest in common. With --retry, an attempt resumes what an
earlier attempt of the same run copied, if the source's file has the same size
and time, and does not repeat a rename that may have happened.

If the source cannot send the file, an existing file at the target stays
unchanged. Only --timeout limits the time of the data transfer. The users are
those in the URLs, else those in .netrc, else anonymous. FTP_PASSWORD is the
password of the source's user. If that user is anonymous or has a password
in the URL, FTP_PASSWORD is the password of the target's user.",
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
and deletes its test files afterwards. doctor connects to no host except the
server or the proxy.

Each finding is ok, warn (a fault that this client copes with), fail, or skip
(not checked). For each fault, doctor prints what it means, what to do, and
where the fault is: here, in the network or at the server. The last line shows
the ftp-cli command that suits this server best.

With --watch, the checks are repeated until everything works, and only changes
are printed. A refused login ends the run, because servers ban clients whose
logins fail repeatedly. --timeout TIME limits all rounds together. --report FILE
writes all findings to FILE, but no passwords, so that you can send FILE to the
server's administrator.

Checks run in parallel if the server accepts several connections. Each round of
checks takes at most 30 s, unless --timeout sets another limit.

Exit status: 0 if everything that the URL and the options need works; otherwise
the exit code for the first fail, or 10 if the time runs out before a fail.",
    operands: &[Operand::Url],
    examples: &[
        ("doctor ftp://me@host", "Check everything except uploads"),
        (
            "doctor --upload-dir inbox ftp://me@host",
            "Check everything, including uploads and the clock",
        ),
        ("doctor --watch=30s ftp://me@host", "Wait until the server works, and print changes"),
        ("doctor --report report.txt ftp://me@host", "Write a report for an administrator"),
    ],
};

pub(super) const SERVE: Entry = Entry {
    name: "serve",
    usage: "[OPTION]... [DIR]",
    summary: "Serve a directory",
    about: "\
Without options, serves DIR (default: the current directory) read-only to anyone
on this computer, at 127.0.0.1:2121. At startup, serve prints the URLs to use.

-u NAME:PASSWORD sets a user's password, but other local users can see it in the
list of processes. One -u can omit PASSWORD: that password is the first line of
--password-file FILE, else the value of FTP_PASSWORD. With --config FILE, the
users are those in FILE and those that -u adds. DIR is the root of the users
that -u adds. ftp-cli help serve lists every key of FILE; ftp-cli serve --check
shows the values in use.

On SIGTERM or SIGINT the server stops accepting clients, lets transfers finish
within timeouts.shutdown_grace, and exits with 0. A second signal aborts the
transfers; a third ends the server at once.",
    operands: &[Operand::Directory],
    examples: &[
        ("serve /srv/pub", "Share a directory read-only on this computer"),
        ("serve -p 2122 /srv/pub", "Use another port"),
        (
            "serve --listen :2121 --drop-box /srv/inbox",
            "Let anyone on the network add files, but see none",
        ),
        (
            "serve --tls-self-signed --listen-tls :990 -u me:secret /srv",
            "Serve one user with implicit TLS",
        ),
        ("serve --config server.toml --check", "Print the configuration and what would fail"),
    ],
};

pub(super) const CTL: Entry = Entry {
    name: "ctl",
    usage: "[OPTION]... who|status|drain|reload|kick SESSION|unban HOST",
    summary: "Query or control a running server",
    about: "\
Sends a request to a running server through its control socket (setting
control.socket).

who lists the sessions, oldest first, with number, user, virtual host, address,
start time, TLS version, idle time and running transfer.

status prints the version, process ID, start time and addresses of the server,
the numbers of sessions, transfers and bans, and the total transfer rate. Also
prints whether the server is draining.

kick ends the session with the number ID, all sessions of a user (user=NAME), or
all sessions from an address (address=ADDRESS). The server aborts a running
transfer with 426, and closes each session with 421. To find ID, use who.

drain makes the server accept no more connections, and stop when the last
session has ended by itself. To end sessions earlier, use kick. To stop the
server without waiting for idle sessions, send SIGTERM; transfers still finish
within timeouts.shutdown_grace.

reload, like SIGHUP, makes the server read the configuration file, the users and
the certificates again, and reopen the logs. Prints what has changed. If the
file has an error, the configuration stays as it was, and the exit status is 8.
Sessions of removed and disabled users end after their current transfer.

unban lifts the ban on a host with too many failed logins, or all bans (all).
For IPv6, a ban applies to a /64 network. If several servers share a ledger, run
unban on each server.",
    operands: &[Operand::Words("who|status|drain|reload|kick|unban")],
    examples: &[
        ("ctl who", "List all sessions"),
        ("ctl who --json", "List all sessions as JSON lines"),
        ("ctl kick user=scanner", "End all sessions of a user"),
        ("ctl drain", "Stop the server without interrupting anyone"),
        ("ctl reload", "Apply the changed configuration file"),
        ("ctl unban 192.0.2.7", "Let this host connect again"),
    ],
};

pub(super) const PASSWD: Entry = Entry {
    name: "passwd",
    usage: "[OPTION]...",
    summary: "Print the hash of a password",
    about: "\
Prints the argon2id hash of a password, for the configuration file of serve.
Without --password-file, passwd prompts for the password. If standard input is
not a terminal, passwd reads one line with the password from standard input.",
    operands: &[],
    examples: &[],
};

pub(super) const DEMO: Entry = Entry {
    name: "demo",
    usage: "[OPTION]...",
    summary: "Show a server and a client at work",
    about: "\
Starts a server in a temporary directory on this computer. Uploads, lists,
downloads and compares files in passive and active mode, transfers text, resumes
an upload and a download, and uses TLS. Copies a file to a second server twice
(FXP): each server is the passive side once. Finally removes the temporary
directory. Needs no network.",
    operands: &[],
    examples: &[("demo -v", "Show the FTP dialogue too")],
};

pub(super) const HELP: Entry = Entry {
    name: "help",
    usage: "[OPTION]... [COMMAND]",
    summary: "Show help for a command",
    about: "",
    operands: &[Operand::Command],
    examples: &[],
};

pub(super) const MAN: Entry = Entry {
    name: "man",
    usage: "[OPTION]... [PAGE]",
    summary: "Print a man page",
    about: "\
Prints a man page as roff. PAGE is ftp-cli (default), or server.toml for the
configuration of serve. To read the page: ftp-cli man | man -l -",
    operands: &[Operand::Words(MAN_PAGES)],
    examples: &[
        ("man > ftp-cli.1", "Write the man page to a file"),
        ("man server.toml > server.toml.5", "Write the man page of server.toml to a file"),
    ],
};

pub(super) const COMPLETIONS: Entry = Entry {
    name: "completions",
    usage: "[OPTION]... SHELL",
    summary: "Print a shell completion script",
    about: "\
SHELL is bash, zsh or fish. The first lines of the script say where to install
it.",
    operands: &[Operand::Words(SHELLS)],
    examples: &[("completions bash > ftp-cli.bash", "Write the completions for bash to a file")],
};
