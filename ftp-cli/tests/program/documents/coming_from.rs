//! `docs/coming-from.md`: command lines of curl, wget, lftp and rclone, as their manuals have them,
//! and what this program does with them. Each line is run here against a server; with
//! `FTP_WRITE_DOCS=1` the tables of the document are written from this one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use ftp_tests::process::{Ran, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::root;
use crate::mirror::age;

/// What happens to a line that is typed by habit.
#[derive(Clone, Copy)]
enum Here {
    /// It does the same.
    Same,
    /// It does the same, and the message with these words says where it differs.
    Noted(&'static str),
    /// A message with these words names the line to type instead.
    Told(&'static str, &'static str),
    /// As [`Told`](Self::Told), for a line that needs what the test's server lacks: it is not run.
    ToldOnly(&'static str, &'static str),
    /// There is nothing like it, for this reason; the message has these words.
    Absent(&'static str, &'static str),
}
use Here::{Absent, Noted, Same, Told, ToldOnly};

/// What a successful line leaves.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// This local file has the content of its namesake on the server, or of the named one.
    Came(&'static str, &'static str),
    /// This file of the server has the content of a local one.
    Went(&'static str, &'static str),
    /// This file of the server is missing.
    Gone(&'static str),
    /// This local file is missing.
    GoneHere(&'static str),
    /// Standard output has this text.
    Prints(&'static str),
    /// Standard error has this text.
    Says(&'static str),
    /// Nothing but the exit code.
    Nothing,
}
use Effect::{Came, Gone, GoneHere, Nothing, Prints, Says, Went};

/// A line of another program, the line that its user types here, and what comes of it.
type Line = (&'static str, &'static str, Here, Effect);

const A: Effect = Came("a.iso", "pub/a.iso");
const F: Effect = Went("inbox/file.txt", "file.txt");

#[rustfmt::skip]
const CURL: &[Line] = &[
    ("curl -o a.iso ftp://host/pub/a.iso", "get -o a.iso ftp://host/pub/a.iso", Same, A),
    ("curl -O ftp://host/pub/a.iso", "get -O ftp://host/pub/a.iso", Told("get -o FILE URL", "get ftp://host/pub/a.iso"), A),
    ("curl ftp://host/pub/notes.txt", "cat ftp://host/pub/notes.txt", Same, Prints("notes")),
    ("curl ftp://host/pub/", "get ftp://host/pub/", Told("ftp-cli ls to list it", "ls ftp://host/pub/"), Prints("notes.txt")),
    ("curl -l ftp://host/pub/", "get -l ftp://host/pub/", Told("ftp-cli ls URL (curl)", "ls ftp://host/pub/"), Prints("notes.txt")),
    ("curl --list-only ftp://host/pub/", "get --list-only ftp://host/pub/", Told("ftp-cli ls URL", "ls ftp://host/pub/"), Prints("notes.txt")),
    ("curl -I ftp://host/pub/a.iso", "get -I ftp://host/pub/a.iso", Told("ftp-cli stat URL", "stat ftp://host/pub/a.iso"), Prints("size: 2000")),
    ("curl 'ftp://host/pub/[ab].iso' -O", "get 'ftp://host/pub/[ab].iso'", Same, A),
    ("curl -O ftp://host/pub/a.iso -O ftp://host/pub/b.iso", "get ftp://host/pub/a.iso ftp://host/pub/b.iso", Same, A),
    ("curl --output-dir new -O ftp://host/pub/a.iso", "get --output-dir new ftp://host/pub/a.iso", Told("--directory", "get -P new ftp://host/pub/a.iso"), Came("new/a.iso", "pub/a.iso")),
    ("curl -T file.txt ftp://host/inbox/", "put -T file.txt ftp://host/inbox/", Told("ftp-cli put LOCAL URL", "put file.txt ftp://host/inbox/"), F),
    ("curl --upload-file file.txt ftp://host/inbox/", "put --upload-file file.txt ftp://host/inbox/", Told("ftp-cli put LOCAL URL", "put file.txt ftp://host/inbox/"), F),
    ("cat file.txt | curl -T - ftp://host/inbox/file.txt", "put - ftp://host/inbox/file.txt <file.txt", Same, F),
    ("curl --append -T file.txt ftp://host/inbox/file.txt", "put --append file.txt ftp://host/inbox/file.txt", Same, F),
    ("curl --ftp-create-dirs -T file.txt ftp://host/x/y/", "put --ftp-create-dirs file.txt ftp://host/x/y/", Told("--create-dirs", "put --create-dirs file.txt ftp://host/x/y/"), Went("x/y/file.txt", "file.txt")),
    ("curl -C - -O ftp://host/pub/a.iso", "get -C - ftp://host/pub/a.iso", Told("--continue", "get -c ftp://host/pub/a.iso"), A),
    ("curl -u me ftp://host/pub/a.iso -O", "get -u me ftp://host/pub/a.iso", Same, A),
    ("curl -u me:secret ftp://host/pub/a.iso -O", "get -u me:secret ftp://host/pub/a.iso", Told("--password-file", "get -u me --password-file pw.txt ftp://host/pub/a.iso"), A),
    ("curl --netrc-file netrc ftp://host/pub/a.iso -O", "get --netrc-file netrc ftp://host/pub/a.iso", Same, A),
    ("curl -m 60 ftp://host/pub/a.iso -O", "get -m 60 ftp://host/pub/a.iso", Told("--timeout (curl)", "get --timeout 60 ftp://host/pub/a.iso"), A),
    ("curl --max-time 60 ftp://host/pub/a.iso -O", "get --max-time 60 ftp://host/pub/a.iso", Told("--timeout", "get --timeout 60 ftp://host/pub/a.iso"), A),
    ("curl --connect-timeout 5 ftp://host/pub/a.iso -O", "get --connect-timeout 5 ftp://host/pub/a.iso", Same, A),
    ("curl --retry 3 ftp://host/pub/a.iso -O", "get --retry 3 ftp://host/pub/a.iso", Same, A),
    ("curl --limit-rate 1M ftp://host/pub/a.iso -O", "get --limit-rate 1M ftp://host/pub/a.iso", Same, A),
    ("curl --max-filesize 1M ftp://host/pub/a.iso -O", "get --max-filesize 1M ftp://host/pub/a.iso", Told("--max-size", "get --max-size 1M ftp://host/pub/a.iso"), A),
    ("curl -s ftp://host/pub/a.iso -O", "get -s ftp://host/pub/a.iso", Told("--quiet", "get -q ftp://host/pub/a.iso"), A),
    ("curl --trace-ascii log ftp://host/pub/a.iso -O", "get --trace-ascii log ftp://host/pub/a.iso", Told("--trace", "get --trace=log ftp://host/pub/a.iso"), A),
    ("curl -P - ftp://host/pub/a.iso -O", "get -P - ftp://host/pub/a.iso", Told("--active", "get --active ftp://host/pub/a.iso"), A),
    ("curl --ftp-port - ftp://host/pub/a.iso -O", "get --ftp-port - ftp://host/pub/a.iso", Told("--active", "get --active ftp://host/pub/a.iso"), A),
    ("curl --ftp-pasv ftp://host/pub/a.iso -O", "get --ftp-pasv ftp://host/pub/a.iso", Told("--passive", "get --passive ftp://host/pub/a.iso"), A),
    ("curl --disable-epsv ftp://host/pub/a.iso -O", "get --disable-epsv ftp://host/pub/a.iso", Told("--epsv never", "get --epsv never ftp://host/pub/a.iso"), A),
    ("curl --interface 127.0.0.1 ftp://host/pub/a.iso -O", "get --interface 127.0.0.1 ftp://host/pub/a.iso", Told("--bind", "get --bind 127.0.0.1 ftp://host/pub/a.iso"), A),
    ("curl -B ftp://host/pub/notes.txt -O", "get -B ftp://host/pub/notes.txt", Told("--ascii", "get --ascii ftp://host/pub/notes.txt"), Came("notes.txt", "pub/notes.txt")),
    ("curl --remote-time ftp://host/pub/a.iso -O", "get --remote-time ftp://host/pub/a.iso", Told("--preserve", "get -p ftp://host/pub/a.iso"), A),
    ("curl -z a.iso ftp://host/pub/a.iso -O", "get -z a.iso ftp://host/pub/a.iso", Told("--newer", "get --newer ftp://host/pub/a.iso"), A),
    ("curl -Q 'DELE inbox/old' ftp://host/", "get -Q 'DELE inbox/old' ftp://host/", Told("ftp-cli quote URL COMMAND", "quote ftp://host/ 'DELE inbox/old'"), Gone("inbox/old")),
    ("curl -Z -O ftp://host/pub/a.iso -O ftp://host/pub/b.iso", "get -Z ftp://host/pub/a.iso ftp://host/pub/b.iso", Told("--jobs", "get -j 4 ftp://host/pub/a.iso ftp://host/pub/b.iso"), A),
    ("curl --ssl-reqd ftp://host/pub/a.iso -O", "get --ssl-reqd ftp://host/pub/a.iso", ToldOnly("--tls explicit", "get ftpes://host/pub/a.iso"), A),
    ("curl --cacert ca.pem ftps://host/pub/a.iso -O", "get --cacert ca.pem ftps://host/pub/a.iso", ToldOnly("--ca-file", "get --ca-file ca.pem ftps://host/pub/a.iso"), A),
    ("curl --pinnedpubkey sha256//... ftps://host/pub/a.iso", "get --pinnedpubkey sha256//x ftps://host/pub/a.iso", ToldOnly("--pin", "get --pin sha256//... ftps://host/pub/a.iso"), A),
    ("curl -r 0-99 ftp://host/pub/a.iso", "get -r 0-99 ftp://host/pub/a.iso", Absent("files are transferred whole; `-r` means a directory tree", "takes one URL"), Nothing),
    ("curl --range 0-99 ftp://host/pub/a.iso", "get --range 0-99 ftp://host/pub/a.iso", Absent("files are transferred whole; `-r` means a directory tree", "unknown option --range"), Nothing),
];

#[rustfmt::skip]
const WGET: &[Line] = &[
    ("wget ftp://host/pub/a.iso", "get ftp://host/pub/a.iso", Same, A),
    ("wget -c ftp://host/pub/a.iso", "get -c ftp://host/pub/a.iso", Same, A),
    ("wget -O b ftp://host/pub/a.iso", "get -O b ftp://host/pub/a.iso", Told("get -o FILE URL", "get -o b ftp://host/pub/a.iso"), Came("b", "pub/a.iso")),
    ("wget -O - ftp://host/pub/notes.txt", "get -O - ftp://host/pub/notes.txt", Told("get -o FILE URL", "get -o - ftp://host/pub/notes.txt"), Prints("notes")),
    ("wget -P new ftp://host/pub/a.iso", "get -P new ftp://host/pub/a.iso", Same, Came("new/a.iso", "pub/a.iso")),
    ("wget -P missing ftp://host/pub/a.iso", "get -P missing ftp://host/pub/a.iso", Told("--create-dirs", "get --create-dirs -P missing ftp://host/pub/a.iso"), Came("missing/a.iso", "pub/a.iso")),
    ("wget -i urls.txt", "get -i urls.txt", Same, A),
    ("wget -i - <urls.txt", "get -i - <urls.txt", Same, A),
    ("wget 'ftp://host/pub/*.iso'", "get 'ftp://host/pub/*.iso'", Same, A),
    ("wget -r ftp://host/pub/", "get -r ftp://host/pub/", Same, Came("pub/sub/c.txt", "pub/sub/c.txt")),
    ("wget -r -A '*.txt' ftp://host/pub/", "get -r -A '*.txt' ftp://host/pub/", Told("--include", "get -r --include '*.txt' ftp://host/pub/"), Came("pub/notes.txt", "pub/notes.txt")),
    ("wget -r -R '*.iso' ftp://host/pub/", "get -r -R '*.iso' ftp://host/pub/", Told("--exclude", "get -r --exclude '*.iso' ftp://host/pub/"), Came("pub/notes.txt", "pub/notes.txt")),
    ("wget -m ftp://host/pub/", "get -m ftp://host/pub/", Told("ftp-cli mirror (wget)", "mirror ftp://host/pub/ pub"), Came("pub/sub/c.txt", "pub/sub/c.txt")),
    ("wget --mirror ftp://host/pub/", "get --mirror ftp://host/pub/", Told("ftp-cli mirror SRC DST", "mirror ftp://host/pub/ pub"), Came("pub/a.iso", "pub/a.iso")),
    ("wget -N ftp://host/pub/a.iso", "get -N ftp://host/pub/a.iso", Told("--if-changed, which also replaces a newer local file", "get --if-changed ftp://host/pub/a.iso"), A),
    ("wget -nc ftp://host/pub/a.iso", "get -nc ftp://host/pub/a.iso", Same, A),
    ("wget --no-clobber ftp://host/pub/a.iso", "get --no-clobber ftp://host/pub/a.iso", Same, A),
    ("wget -q ftp://host/pub/a.iso", "get -q ftp://host/pub/a.iso", Same, A),
    ("wget --no-verbose ftp://host/pub/a.iso", "get --no-verbose ftp://host/pub/a.iso", Told("--quiet", "get -q ftp://host/pub/a.iso"), A),
    ("wget --show-progress ftp://host/pub/a.iso", "get --show-progress ftp://host/pub/a.iso", Told("--progress always", "get --progress always ftp://host/pub/a.iso"), A),
    ("wget --limit-rate=200k ftp://host/pub/notes.txt", "get --limit-rate=200k ftp://host/pub/notes.txt", Same, Came("notes.txt", "pub/notes.txt")),
    ("wget -t 5 ftp://host/pub/a.iso", "get -t 5 ftp://host/pub/a.iso", Told("--retry", "get --retry 5 ftp://host/pub/a.iso"), A),
    ("wget --waitretry=5 ftp://host/pub/a.iso", "get --waitretry=5 ftp://host/pub/a.iso", Told("--retry-delay", "get --retry 5 --retry-delay 5 ftp://host/pub/a.iso"), A),
    ("wget -T 30 ftp://host/pub/a.iso", "get -T 30 ftp://host/pub/a.iso", Told("--stall-timeout", "get --stall-timeout 30 ftp://host/pub/a.iso"), A),
    ("wget --read-timeout=30 ftp://host/pub/a.iso", "get --read-timeout=30 ftp://host/pub/a.iso", Told("--stall-timeout", "get --stall-timeout=30 ftp://host/pub/a.iso"), A),
    ("wget --no-passive-ftp ftp://host/pub/a.iso", "get --no-passive-ftp ftp://host/pub/a.iso", Told("--active", "get --active ftp://host/pub/a.iso"), A),
    ("wget --user=me --password=secret ftp://host/pub/a.iso", "get --user=me --password=secret ftp://host/pub/a.iso", Told("--password-file", "get --user=me --password-file=pw.txt ftp://host/pub/a.iso"), A),
    ("wget --ftp-user=me ftp://host/pub/a.iso", "get --ftp-user=me ftp://host/pub/a.iso", Told("--user", "get --user=me ftp://host/pub/a.iso"), A),
    ("wget --bind-address=127.0.0.1 ftp://host/pub/a.iso", "get --bind-address=127.0.0.1 ftp://host/pub/a.iso", Told("--bind", "get --bind=127.0.0.1 ftp://host/pub/a.iso"), A),
    ("wget -4 ftp://host/pub/a.iso", "get -4 ftp://host/pub/a.iso", Same, A),
    ("wget --spider ftp://host/pub/a.iso", "get --spider ftp://host/pub/a.iso", Told("ftp-cli stat URL", "stat ftp://host/pub/a.iso"), Prints("type: file")),
    ("wget --no-check-certificate ftps://host/pub/a.iso", "get --no-check-certificate ftps://host/pub/a.iso", ToldOnly("--insecure", "get -k ftps://host/pub/a.iso"), A),
    ("wget --ca-certificate=ca.pem ftps://host/pub/a.iso", "get --ca-certificate=ca.pem ftps://host/pub/a.iso", ToldOnly("--ca-file", "get --ca-file=ca.pem ftps://host/pub/a.iso"), A),
    ("wget -r --no-parent --cut-dirs=1 ftp://host/pub/", "get -r --no-parent --cut-dirs=1 ftp://host/pub/", Absent("`get -r` never downloads or creates parent directories; to name the local directory, use `get -r URL DIR`", "unknown option --no-parent"), Nothing),
    ("wget --preserve-permissions -r ftp://host/pub/", "get --preserve-permissions -r ftp://host/pub/", Told("ftp-cli mirror --perms SRC DST", "mirror --perms ftp://host/pub/ pub"), Came("pub/a.iso", "pub/a.iso")),
    ("wget --background ftp://host/pub/a.iso", "get --background ftp://host/pub/a.iso", Absent("use `nohup ftp-cli get ... &`", "unknown option --background"), Nothing),
];

#[rustfmt::skip]
const LFTP: &[Line] = &[
    ("lftp -c 'get -c ftp://host/pub/a.iso'", "get -c ftp://host/pub/a.iso", Same, A),
    ("lftp -c 'get ftp://host/pub/a.iso -o b'", "get ftp://host/pub/a.iso -o b", Same, Came("b", "pub/a.iso")),
    ("lftp -c 'get -O new ftp://host/pub/a.iso'", "get -O new ftp://host/pub/a.iso", Told("get -P DIR URL", "get -P new ftp://host/pub/a.iso"), Came("new/a.iso", "pub/a.iso")),
    ("lftp -c 'get -E ftp://host/inbox/old'", "get -E ftp://host/inbox/old", Told("--remove-source (lftp)", "get --remove-source ftp://host/inbox/old"), Gone("inbox/old")),
    ("lftp -c 'pget -n 4 ftp://host/pub/a.iso'", "pget -n 4 ftp://host/pub/a.iso", Told("get --segments", "get --segments 4 ftp://host/pub/a.iso"), A),
    ("lftp -c 'reget ftp://host/pub/a.iso'", "reget ftp://host/pub/a.iso", Told("get --continue", "get -c ftp://host/pub/a.iso"), A),
    ("lftp -c 'mget ftp://host/pub/*.iso'", "mget 'ftp://host/pub/*.iso'", Same, A),
    ("lftp -c 'mget -E ftp://host/inbox/*'", "mget --remove-source 'ftp://host/inbox/*'", Same, Gone("inbox/old")),
    ("lftp -e 'put file.txt' ftp://host/inbox/", "put file.txt ftp://host/inbox/", Same, F),
    ("lftp -c 'put -O ftp://host/inbox file.txt'", "put -O ftp://host/inbox file.txt", Told("ftp-cli put LOCAL URL/", "put file.txt ftp://host/inbox/"), F),
    ("lftp -e 'put -E file.txt' ftp://host/inbox/", "put -E file.txt ftp://host/inbox/", Told("--remove-source (lftp)", "put --remove-source file.txt ftp://host/inbox/"), GoneHere("file.txt")),
    ("lftp -e 'mput *.txt' ftp://host/inbox/", "mput *.txt ftp://host/inbox/", Same, F),
    ("lftp -e 'set xfer:use-temp-file on; put file.txt' ftp://host/inbox/", "put --temp file.txt ftp://host/inbox/", Same, F),
    ("lftp -e 'set ftp:use-mode-z on; get pub/a.iso' ftp://host", "get --compress ftp://host/pub/a.iso", Same, A),
    ("lftp -e 'mirror pub' ftp://host", "mirror ftp://host/pub pub", Same, Came("pub/sub/c.txt", "pub/sub/c.txt")),
    ("lftp -e 'mirror -R site www' ftp://host", "mirror -R site ftp://host/www", Told("ftp-cli mirror DIR URL (lftp)", "mirror site ftp://host/www"), Went("www/index.html", "site/index.html")),
    ("lftp -e 'mirror --reverse site www' ftp://host", "mirror --reverse site ftp://host/www", Told("ftp-cli mirror DIR URL", "mirror site ftp://host/www"), Went("www/index.html", "site/index.html")),
    ("lftp -e 'mirror --delete pub' ftp://host", "mirror --delete ftp://host/pub pub", Same, Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror -e pub' ftp://host", "mirror -e ftp://host/pub pub", Told("--delete", "mirror --delete ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror --parallel=4 pub' ftp://host", "mirror --parallel=4 ftp://host/pub pub", Told("--jobs", "mirror --jobs=4 ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror -P 4 pub' ftp://host", "mirror -P 4 ftp://host/pub pub", Told("--jobs (lftp)", "mirror -j 4 ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror -I *.txt pub' ftp://host", "mirror -I '*.txt' ftp://host/pub pub", Told("--include", "mirror --include '*.txt' ftp://host/pub pub"), Came("pub/notes.txt", "pub/notes.txt")),
    ("lftp -e 'mirror -X *.iso pub' ftp://host", "mirror -X '*.iso' ftp://host/pub pub", Told("--exclude", "mirror --exclude '*.iso' ftp://host/pub pub"), Came("pub/notes.txt", "pub/notes.txt")),
    ("lftp -e 'mirror --ignore-time pub' ftp://host", "mirror --ignore-time ftp://host/pub pub", Told("--size-only", "mirror --size-only ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror --dry-run pub' ftp://host", "mirror --dry-run ftp://host/pub pub", Same, Prints("copy a.iso")),
    ("lftp -e 'mirror --Remove-source-files inbox' ftp://host", "mirror --Remove-source-files ftp://host/inbox in", Told("--remove-source", "mirror --remove-source ftp://host/inbox in"), Gone("inbox/old")),
    ("lftp -e 'mirror -L pub' ftp://host", "mirror -L ftp://host/pub pub", Told("--links follow", "mirror --links follow ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("lftp -e 'mirror --only-newer pub' ftp://host", "mirror --only-newer ftp://host/pub pub", Absent("`mirror` copies files whose time or size differs", "unknown option --only-newer"), Nothing),
    ("lftp -e 'mirror --use-pget-n=4 pub' ftp://host", "mirror --use-pget-n=4 ftp://host/pub pub", Absent("`get --segments 4` downloads one file over four connections; `mirror -j 4` does so with large files", "unknown option --use-pget-n"), Nothing),
    ("lftp -c 'cat ftp://host/pub/notes.txt'", "cat ftp://host/pub/notes.txt", Same, Prints("notes")),
    ("lftp -c 'cls -l ftp://host/pub/'", "cls -l ftp://host/pub/", Told("\"ls\"", "ls -l ftp://host/pub/"), Prints("notes.txt")),
    ("lftp -c 'cls --sort=size ftp://host/pub/'", "ls --sort=size ftp://host/pub/", Same, Prints("a.iso\n")),
    ("lftp -c 'find ftp://host/pub/'", "find ftp://host/pub/", Told("ls -R", "ls -R ftp://host/pub/"), Prints("sub/c.txt")),
    ("lftp -c 'mrm ftp://host/inbox/o*'", "mrm 'ftp://host/inbox/o*'", Told("\"rm\"", "rm 'ftp://host/inbox/o*'"), Gone("inbox/old")),
    ("lftp -c 'rm -r ftp://host/inbox'", "rm -r ftp://host/inbox", Same, Gone("inbox")),
    ("lftp -e 'mv inbox/old inbox/new' ftp://host", "mv ftp://host/inbox/old inbox/new", Same, Gone("inbox/old")),
    ("lftp -c 'mkdir -p ftp://host/x/y'", "mkdir -p ftp://host/x/y", Same, Nothing),
    ("lftp -e 'chmod 644 pub/a.iso' ftp://host", "chmod 644 ftp://host/pub/a.iso", Same, Nothing),
    ("lftp -e 'quote SITE HELP' ftp://host", "quote ftp://host/ 'SITE HELP'", Same, Prints("21")),
    ("lftp -e 'site HELP' ftp://host", "site ftp://host/ HELP", Told("\"quote\"", "quote ftp://host/ 'SITE HELP'"), Prints("21")),
    ("lftp -f commands ftp://host", "batch ftp://host/ commands", Same, F),
    ("lftp -e 'du pub' ftp://host", "du ftp://host/pub", Same, Prints("3008")),
];

#[rustfmt::skip]
const RCLONE: &[Line] = &[
    ("rclone copy host:pub pub", "copy ftp://host/pub pub", Told("\"mirror\"", "mirror ftp://host/pub pub"), Came("pub/sub/c.txt", "pub/sub/c.txt")),
    ("rclone copy site host:www", "put -r site ftp://host/www", Same, Went("www/index.html", "site/index.html")),
    ("rclone sync site host:www", "sync site ftp://host/www", Noted("use --delete to delete objects that SRC lacks"), Went("www/index.html", "site/index.html")),
    ("rclone sync --max-delete 10 site host:www", "sync --delete --max-delete 10 site ftp://host/www", Same, Went("www/index.html", "site/index.html")),
    ("rclone sync --backup-dir host:old site host:www", "sync --delete --backup-dir old site ftp://host/www", Same, Went("www/index.html", "site/index.html")),
    ("rclone copy --copy-links site host:www", "mirror --copy-links site ftp://host/www", Told("--links follow", "mirror --links follow site ftp://host/www"), Went("www/index.html", "site/index.html")),
    ("rclone move host:inbox in", "move ftp://host/inbox in", Told("mirror --remove-source", "mirror --remove-source ftp://host/inbox in"), Gone("inbox/old")),
    ("rclone copyto host:pub/a.iso b", "copyto ftp://host/pub/a.iso b", Told("\"get\"", "get ftp://host/pub/a.iso b"), Came("b", "pub/a.iso")),
    ("rclone cat host:pub/notes.txt", "cat ftp://host/pub/notes.txt", Same, Prints("notes")),
    ("rclone rcat host:inbox/file.txt <file.txt", "rcat ftp://host/inbox/file.txt", Told("\"put\"", "put - ftp://host/inbox/file.txt <file.txt"), F),
    ("rclone lsf host:pub", "lsf ftp://host/pub", Told("\"ls\"", "ls ftp://host/pub"), Prints("notes.txt")),
    ("rclone lsl host:pub", "lsl ftp://host/pub", Told("ls -lR", "ls -lR ftp://host/pub"), Prints("sub/c.txt")),
    ("rclone lsjson host:pub", "lsjson ftp://host/pub", Told("ls --json", "ls --json ftp://host/pub"), Prints("\"name\":\"a.iso\"")),
    ("rclone deletefile host:inbox/old", "deletefile ftp://host/inbox/old", Told("\"rm\"", "rm ftp://host/inbox/old"), Gone("inbox/old")),
    ("rclone purge host:inbox", "purge ftp://host/inbox", Told("rm -r", "rm -r ftp://host/inbox"), Gone("inbox")),
    ("rclone mkdir host:x", "mkdir ftp://host/x", Same, Nothing),
    ("rclone copy --transfers 8 host:pub pub", "mirror --transfers 8 ftp://host/pub pub", Told("--jobs", "mirror -j 8 ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --bwlimit 1M host:pub pub", "mirror --bwlimit 1M ftp://host/pub pub", Told("--limit-rate", "mirror --limit-rate 1M ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --include '*.txt' host:pub pub", "mirror --include '*.txt' ftp://host/pub pub", Same, Came("pub/notes.txt", "pub/notes.txt")),
    ("rclone copy --exclude '*.iso' host:pub pub", "mirror --exclude '*.iso' ftp://host/pub pub", Same, Came("pub/notes.txt", "pub/notes.txt")),
    ("rclone copy --max-age 24h host:pub pub", "mirror --max-age 24h ftp://host/pub pub", Same, Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --min-size 1k host:pub pub", "mirror --min-size 1k ftp://host/pub pub", Same, Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy -n host:pub pub", "mirror -n ftp://host/pub pub", Told("--dry-run", "mirror --dry-run ftp://host/pub pub"), Prints("copy a.iso")),
    ("rclone copy -P host:pub pub", "mirror -P ftp://host/pub pub", Told("--progress always (rclone)", "mirror --progress always ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --size-only host:pub pub", "mirror --size-only ftp://host/pub pub", Same, Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --ignore-existing file.txt host:inbox", "put --ignore-existing file.txt ftp://host/inbox/", Told("--no-clobber", "put -n file.txt ftp://host/inbox/"), F),
    ("rclone copy --retries 3 host:pub pub", "mirror --retries 3 ftp://host/pub pub", Told("--retry", "mirror --retry 3 ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --contimeout 10s host:pub pub", "mirror --contimeout 10s ftp://host/pub pub", Told("--connect-timeout", "mirror --connect-timeout 10s ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --log-file log host:pub pub", "mirror --log-file log ftp://host/pub pub", Same, Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy -v host:pub pub", "mirror -v ftp://host/pub pub", Same, Says("copied a.iso")),
    ("rclone copyto --multi-thread-streams 4 host:pub/a.iso a.iso", "get --multi-thread-streams=4 ftp://host/pub/a.iso a.iso", Told("--segments", "get --segments=4 ftp://host/pub/a.iso a.iso"), A),
    ("rclone copy --checksum host:pub pub", "mirror --checksum ftp://host/pub pub", Told("--compare hash", "mirror --compare hash ftp://host/pub pub"), Came("pub/a.iso", "pub/a.iso")),
    ("rclone copy --filter '- *.iso' host:pub pub", "mirror --filter '- *.iso' ftp://host/pub pub", Absent("use `--include` and `--exclude`; here the last match wins", "unknown option --filter"), Nothing),
    ("rclone mount host:pub /mnt", "mount ftp://host/pub /mnt", Absent("`ftp-cli` cannot mount a server", "unknown command \"mount\""), Nothing),
    ("rclone config", "config", Absent("a URL needs no configuration", "unknown command \"config\""), Nothing),
];

const TABLES: [(&str, &[Line]); 4] =
    [("curl", CURL), ("wget", WGET), ("lftp", LFTP), ("rclone", RCLONE)];

/// A server and a local directory, as the lines expect them.
pub(super) struct Scene {
    server: OurServer,
    here: TempRoot,
}

impl Scene {
    pub(super) fn new() -> Self {
        let (server, here) = (OurServer::start(), TempRoot::new());
        for (name, content) in [
            ("pub/a.iso", vec![b'a'; 2_000]),
            ("pub/b.iso", vec![b'b'; 1_000]),
            ("pub/notes.txt", b"notes\n".to_vec()),
            ("pub/sub/c.txt", b"c\n".to_vec()),
            ("inbox/old", b"old\n".to_vec()),
        ] {
            // A file that was written just now is looked at twice.
            age(&server.root.write(name, &content), 1);
        }
        age(&here.write("file.txt", b"a file\n"), 1);
        age(&here.write("site/index.html", b"<p>home</p>\n"), 1);
        here.write("pw.txt", server.password.as_bytes());
        here.write("commands", b"put file.txt inbox/file.txt\n");
        here.mkdir("new");
        let scene = Self { server, here };
        let urls = scene.at_server("ftp://host/pub/a.iso\nftp://host/pub/b.iso\n");
        scene.here.write("urls.txt", urls.as_bytes());
        let netrc =
            format!("machine 127.0.0.1 login user password \"{}\"\n", scene.server.password);
        scene.here.write("netrc", netrc.as_bytes());
        for name in ["netrc", "pw.txt"] {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(scene.here.join(name), private).unwrap();
        }
        scene
    }

    /// Returns a line with the server's address and user.
    fn at_server(&self, line: &str) -> String {
        let user = match line.contains("-u me") || line.contains("user=me") {
            true => "",
            false => "user@",
        };
        let address = self.server.address;
        let line = line.replace("ftp://host", &format!("ftp://{user}{address}"));
        line.replace("ftps://host", &format!("ftps://{user}{address}"))
            .replace("-u me", "-u user")
            .replace("user=me", "user=user")
    }

    pub(super) fn run(&self, line: &str) -> Ran {
        let line = format!("ftp-cli {}", self.at_server(line));
        let program = Path::new(env!("CARGO_BIN_EXE_ftp-cli")).parent().unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", "/proc/none");
        shell.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
        shell.env("FTP_PASSWORD", self.server.password);
        shell.args(["-c", &line]).current_dir(self.here.path());
        run_with(&mut shell, &[], ftp_tests::process::LIMIT)
    }

    #[track_caller]
    pub(super) fn check(&self, effect: Effect, ran: &Ran) {
        let Self { server, here } = self;
        match effect {
            Came(local, remote) => {
                assert_eq!(here.read(local), server.root.read(remote), "{ran:?}");
            }
            Went(remote, local) => {
                assert_eq!(server.root.read(remote), here.read(local), "{ran:?}");
            }
            Gone(remote) => assert!(!server.root.join(remote).exists(), "{ran:?}"),
            GoneHere(local) => assert!(!here.join(local).exists(), "{ran:?}"),
            Prints(text) => {
                assert!(String::from_utf8_lossy(&ran.stdout).contains(text), "{text}: {ran:?}");
            }
            Says(text) => {
                assert!(String::from_utf8_lossy(&ran.stderr).contains(text), "{text}: {ran:?}");
            }
            Nothing => {}
        }
    }
}

/// Asserts that a line fails with these words before it does anything.
#[track_caller]
pub(super) fn is_told(ran: &Ran, words: &str) {
    assert!(matches!(ran.code(), Some(2 | 3)), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains(words), "{words}: {ran:?}");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("me:secret"), "{ran:?}");
}

#[test]
fn command_lines_of_other_programs_have_the_documented_effect() {
    for (theirs, tried, here, effect) in TABLES.iter().flat_map(|(_, lines)| lines.iter()) {
        let scene = Scene::new();
        let ran = scene.run(tried);
        let line = match here {
            Same | Noted(_) => {
                let noted = if let Noted(words) = here { words } else { "" };
                assert!(String::from_utf8_lossy(&ran.stderr).contains(noted), "{theirs}: {ran:?}");
                ran
            }
            Told(words, line) => {
                is_told(&ran, words);
                scene.run(line)
            }
            ToldOnly(words, _) => {
                is_told(&ran, words);
                continue;
            }
            Absent(_, words) => {
                is_told(&ran, words);
                continue;
            }
        };
        assert_eq!(line.code(), Some(0), "{theirs}: {line:?}");
        scene.check(*effect, &line);
    }
}

/// Returns the tables of the document. A line needs no row if its command and options are the same
/// here, or if the row above it names the same line. One URL at the end of both is left out.
fn tables() -> String {
    let mut text = String::new();
    let code = |line: &str| format!("`{}`", line.replace('|', "\\|"));
    for (program, lines) in TABLES {
        let _ = write!(text, "\n## {program}\n\n| {program} | ftp-cli |\n|---|---|\n");
        let mut above = String::new();
        for (theirs, tried, here, _) in lines {
            let row = match here {
                Same if is_typed_alike(program, theirs, tried) => continue,
                Same => code(tried),
                Noted(words) => format!("{}; prints “{words}”", code(tried)),
                Told(_, line) | ToldOnly(_, line) => code(line),
                Absent(why, _) => format!("–: {why}"),
            };
            if row != above {
                let theirs = theirs.strip_prefix(program).unwrap_or(theirs).trim_start();
                let theirs = theirs.strip_suffix(" -O").unwrap_or(theirs);
                let alike = theirs.rsplit_once(' ').and_then(|(theirs, url)| {
                    let row = row.strip_suffix(&format!(" {url}`"))?;
                    let is_one = url.starts_with("ftp") && !theirs.contains("://");
                    is_one.then(|| (theirs, format!("{row}`")))
                });
                let (theirs, row) = alike.unwrap_or_else(|| (theirs, row.clone()));
                let _ = writeln!(text, "| {} | {row} |", code(theirs));
            }
            above = row;
        }
    }
    text
}

/// Returns whether a line has the same command and the same options here. What lftp runs is between
/// quotes, `copy` of rclone is `mirror`, and curl's `-O` is the default.
fn is_typed_alike(program: &str, theirs: &str, tried: &str) -> bool {
    let rest = theirs.strip_prefix(program).unwrap_or_default();
    let line = match program {
        "lftp" => rest.split('\'').nth(1).unwrap_or_default().to_owned(),
        "rclone" => rest.replace(" copy ", " mirror "),
        _ => format!("get{rest}"),
    };
    let words = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().enumerate().filter(|(_, word)| *word != "-O");
        let words = words.filter(|(at, word)| *at == 0 || word.starts_with('-'));
        words.map(|(_, word)| word.to_owned()).collect()
    };
    !line.contains(';') && words(&line) == words(tried)
}

#[test]
fn the_document_contains_the_tested_tables() {
    let count: usize = TABLES.iter().map(|(_, lines)| lines.len()).sum();
    assert!(count >= 120, "{count}");
    let path = root().join("docs/coming-from.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once("\n## curl\n").unwrap();
    let want = format!("{head}{}", tables());
    if std::env::var_os("FTP_WRITE_DOCS").is_some() {
        fs::write(&path, &want).unwrap();
        return;
    }
    assert!(text == want, "`FTP_WRITE_DOCS=1 cargo test` of this test writes the tables again");
}
