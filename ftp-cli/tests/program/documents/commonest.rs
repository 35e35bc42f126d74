//! The forty command lines that manuals and tutorials of curl, wget, ftp, lftp, ncftp and rclone show
//! first, typed here by habit: with only the name of the program changed, or after a command of this
//! one. Each works, or is refused with the line to type; none is misread in silence.

use super::coming_from::{Effect, Scene, is_told};
use Effect::{Came, Nothing, Went};

/// The place in a manual or tutorial, the line of the other program, what is typed here, and the words that refuse it, if it
/// is refused.
type Commonest = (&'static str, &'static str, &'static str, Option<&'static str>, Effect);

const A: Effect = Came("a.iso", "pub/a.iso");

#[rustfmt::skip]
const LINES: [Commonest; 40] = [
    ("everything.curl.dev, FTP: download", "curl -O ftp://host/pub/a.iso", "-O ftp://host/pub/a.iso", Some("use: ftp-cli get URL"), Nothing),
    ("curl.se/docs/manual.html, Simple usage", "curl ftp://host/pub/notes.txt", "ftp://host/pub/notes.txt", Some("such as ftp-cli get ftp://"), Nothing),
    ("curl.se/docs/manual.html, Download to a file", "curl -o b ftp://host/pub/a.iso", "-o b ftp://host/pub/a.iso", Some("place it after the command: get"), Nothing),
    ("curl.se/docs/manual.html, Uploading", "curl -T file.txt ftp://host/inbox/", "-T file.txt ftp://host/inbox/", Some("use: ftp-cli put LOCAL URL"), Nothing),
    ("curl(1), --upload-file", "curl -T file.txt -u me:secret ftp://host/inbox/", "put -T file.txt -u me:secret ftp://host/inbox/", Some("ftp-cli put LOCAL URL"), Nothing),
    ("curl.se/docs/manual.html, FTP", "curl -u me:secret ftp://host/pub/notes.txt", "-u me:secret ftp://host/pub/notes.txt", Some("such as ftp-cli get ftp://"), Nothing),
    ("curl(1), --list-only", "curl -l ftp://host/pub/", "-l ftp://host/pub/", Some("place it after the command: ls"), Nothing),
    ("curl.se/docs/manual.html, Resuming", "curl -C - -O ftp://host/pub/a.iso", "-C - -O ftp://host/pub/a.iso", Some("then --continue"), Nothing),
    ("curl(1), --ssl-reqd", "curl --ssl-reqd ftp://host/pub/a.iso", "--ssl-reqd ftp://host/pub/a.iso", Some("then --tls explicit"), Nothing),
    ("curl(1), --quote", "curl -Q 'DELE inbox/old' ftp://host/", "-Q 'DELE inbox/old' ftp://host/", Some("use: ftp-cli quote URL COMMAND"), Nothing),
    ("curl(1), --ftp-create-dirs", "curl --ftp-create-dirs -T file.txt ftp://host/x/", "--ftp-create-dirs -T file.txt ftp://host/x/", Some("then --create-dirs"), Nothing),
    ("wget(1), Examples: simple usage", "wget ftp://host/pub/a.iso", "ftp://host/pub/a.iso", Some("such as ftp-cli get ftp://"), Nothing),
    ("wget(1), -c", "wget -c ftp://host/pub/a.iso", "-c ftp://host/pub/a.iso", Some("place it after the command: get"), Nothing),
    ("wget(1), -r", "wget -r ftp://host/pub/", "get -r ftp://host/pub/", None, Came("pub/a.iso", "pub/a.iso")),
    ("wget(1), -m", "wget -m ftp://host/pub/", "-m ftp://host/pub/", Some("then --timeout (curl) or ftp-cli mirror (wget)"), Nothing),
    ("GNU Wget manual, 7.2: no parents", "wget -r -np ftp://host/pub/", "get -r -np ftp://host/pub/", Some("get -r never leaves the directory"), Nothing),
    ("GNU Wget manual, 7.2: directories", "wget -r -nH --cut-dirs=1 ftp://host/pub/", "get -r -nH --cut-dirs=1 ftp://host/pub/", Some("get -r makes no directory for the host"), Nothing),
    ("wget(1), -nv", "wget -nv ftp://host/pub/a.iso", "get -nv ftp://host/pub/a.iso", Some("did you mean --quiet?"), Nothing),
    ("wget(1), --ftp-user", "wget --ftp-user=me --ftp-password=secret ftp://host/pub/a.iso", "get --ftp-user=me --ftp-password=secret ftp://host/pub/a.iso", Some("--user?"), Nothing),
    ("wget(1), -i", "wget -i urls.txt", "-i urls.txt", Some("place it after the command: get"), Nothing),
    ("wget(1), 7.1: patterns", "wget 'ftp://host/pub/*.iso'", "get 'ftp://host/pub/*.iso'", None, A),
    ("ftp(1), SYNOPSIS", "ftp nas.example", "nas.example", Some("use: ftp-cli batch ftp://nas.example/"), Nothing),
    ("ftp(1), -n with a script", "ftp -n nas.example <commands", "-n nas.example <commands", Some("place it after the command"), Nothing),
    ("ftp(1), open", "ftp> open nas.example", "open nas.example", Some("use: ftp-cli batch URL"), Nothing),
    ("ftp(1), recv", "ftp> recv notes.txt", "recv ftp://host/pub/notes.txt", Some("did you mean \"get\"?"), Nothing),
    ("lftp(1), SYNOPSIS", "lftp -u me,secret host", "-u me,secret ftp://host/", Some("missing command before the URL"), Nothing),
    ("lftp(1), -e", "lftp -e 'mirror pub' ftp://host", "-e 'mirror pub' ftp://host/", Some("use: ftp-cli batch URL"), Nothing),
    ("lftp(1), mirror -R", "lftp -e 'mirror -R site www' ftp://host", "mirror -R site ftp://host/www", Some("ftp-cli mirror DIR URL (lftp)"), Nothing),
    ("lftp(1), mirror --delete", "lftp -e 'mirror --delete pub' ftp://host", "mirror --delete ftp://host/pub pub", None, Came("pub/a.iso", "pub/a.iso")),
    ("lftp(1), mirror --newer-than", "lftp -e 'mirror --newer-than=now-7days pub' ftp://host", "mirror --newer-than=now-7days ftp://host/pub pub", Some("did you mean --max-age?"), Nothing),
    ("lftp(1), mirror --no-perms", "lftp -e 'mirror --no-perms pub' ftp://host", "mirror --no-perms ftp://host/pub pub", Some("only --perms copies permissions"), Nothing),
    ("lftp(1), pget", "lftp -c 'pget -n 4 ftp://host/pub/a.iso'", "pget -n 4 ftp://host/pub/a.iso", Some("ftp-cli get --segments N URL"), Nothing),
    ("ncftpget(1), EXAMPLES", "ncftpget ftp://host/pub/a.iso", "ncftpget ftp://host/pub/a.iso", Some("did you mean \"get\"?"), Nothing),
    ("ncftpget(1), -R", "ncftpget -R ftp://host/pub/", "get -R ftp://host/pub/", Some("--recursive (ncftpget)"), Nothing),
    ("ncftpput(1), EXAMPLES", "ncftpput -u me -p secret host /inbox file.txt", "put -u me -p secret ftp://host/inbox file.txt", Some("put takes local files and then one URL"), Nothing),
    ("rclone.org/commands/rclone_copy", "rclone copy site host:www", "copy site ftp://host/www", Some("did you mean \"mirror\"?"), Nothing),
    ("rclone.org/commands/rclone_sync", "rclone sync -i site host:www", "sync -i site ftp://host/www", Some("--include"), Nothing),
    ("rclone.org/commands/rclone_sync", "rclone sync -c site host:www", "sync -c site ftp://host/www", None, Went("www/index.html", "site/index.html")),
    ("rclone.org/docs, --progress", "rclone copy --progress site host:www", "mirror --progress site ftp://host/www", Some("--progress: invalid value \"site\": expected auto, always, never"), Nothing),
    ("rclone.org/commands/rclone_check", "rclone check site host:www", "check site ftp://host/www", Some("ftp-cli mirror --dry-run SRC DST"), Nothing),
];

#[test]
fn the_commonest_lines_work_or_name_the_line_to_type() {
    for (source, theirs, typed, told, effect) in LINES {
        assert!(!source.is_empty() && source.len() < 60, "{theirs}");
        let scene = Scene::new();
        let ran = scene.run(typed);
        match told {
            Some(words) => is_told(&ran, words),
            None => {
                assert_eq!(ran.code(), Some(0), "{theirs}: {ran:?}");
                scene.check(effect, &ran);
            }
        }
    }
}

#[test]
fn an_option_that_means_something_else_here_is_noted() {
    let scene = Scene::new();
    let noted = String::from_utf8(scene.run("sync -c site ftp://host/www").stderr).unwrap();
    assert!(noted.contains("to compare by checksum as rclone and rsync do"), "{noted}");
    // The same option by its command's own name needs no note.
    let noted = String::from_utf8(scene.run("mirror -c site ftp://host/www").stderr).unwrap();
    assert!(!noted.contains("checksum"), "{noted}");
}
