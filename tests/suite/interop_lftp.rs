//! lftp, a real process, with our server: whole trees in both directions, and difficult names one
//! by one.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use ftp_tests::compare::{assert_same, assert_same_stream};
use ftp_tests::content::{LARGE, SIZES, Stream, binary, large, text};
use ftp_tests::names::{NAMES, percent};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

/// lftp's kinds of data connections, as settings.
const DATA: [&str; 3] =
    ["set ftp:prefer-epsv no;", "set ftp:prefer-epsv yes;", "set ftp:passive-mode no;"];

/// A directory for lftp, and its server.
struct Meeting {
    peer: Peer,
    server: OurServer,
    local: TempRoot,
    home: TempRoot,
}

impl Meeting {
    fn new() -> Option<Self> {
        let peer = Peer::find("lftp")?;
        let (server, local, home) = (OurServer::start(), TempRoot::new(), TempRoot::new());
        Some(Self { peer, server, local, home })
    }

    /// Runs `script` in the local directory; the first failing command ends it with code 1.
    #[track_caller]
    fn lftp(&self, settings: &str, script: impl AsRef<[u8]>) -> Vec<u8> {
        self.lftp_within(LIMIT, settings, script.as_ref())
    }

    #[track_caller]
    fn lftp_within(&self, limit: Duration, settings: &str, script: &[u8]) -> Vec<u8> {
        let open = format!(
            "set net:max-retries 1; set net:reconnect-interval-base 1; set net:timeout 20; set cmd:fail-exit yes; debug 5;\n\
             {settings}\nopen -u {},{} ftp://{}\n",
            quoted(self.server.user.as_bytes()),
            quoted(self.server.password.as_bytes()),
            self.server.address,
        );
        let script = self.home.write("script", &[open.as_bytes(), script, b"\n"].concat());
        let mut command = self.peer.command();
        command.env("HOME", self.home.path()).current_dir(self.local.path());
        run_with(command.arg("-f").arg(script), &[], limit).succeeded()
    }
}

/// Returns text as a word of lftp's command language; names that are not UTF-8 use [`word`].
fn quoted(bytes: &[u8]) -> String {
    String::from_utf8(word(bytes)).expect("UTF-8 was given")
}

fn word(bytes: &[u8]) -> Vec<u8> {
    let mut word = b"\"".to_vec();
    for &byte in bytes {
        if b"\"\\".contains(&byte) {
            word.push(b'\\');
        }
        word.push(byte);
    }
    word.push(b'"');
    word
}

/// Makes directories in three levels, an empty one, every size, and every name that a mirror can
/// contain.
fn plant(root: &TempRoot) {
    root.mkdir("tree/empty");
    for (seed, size) in (1..).zip(SIZES) {
        root.write(format!("tree/size {size}"), &binary(size, seed));
        root.write(format!("tree/a/b \"c\"/size {size}"), &text(size, seed));
    }
    for name in NAMES {
        root.write([b"tree/names/", *name].concat(), name);
        root.write([b"tree/directories/", *name, b"/file"].concat(), name);
    }
}

fn assert_same_trees(what: &str, got: &TempRoot, want: &TempRoot) {
    let (got, want) = (got.tree(), want.tree());
    let paths = |tree: &[(std::path::PathBuf, Option<Vec<u8>>)]| -> Vec<String> {
        tree.iter().map(|(path, _)| format!("{}", path.display())).collect()
    };
    assert_eq!(paths(&got), paths(&want), "{what}: the paths");
    for ((path, got), (_, want)) in got.iter().zip(&want) {
        assert_eq!(got.is_some(), want.is_some(), "{what}: {path:?}: file or directory");
        let (got, want) = (got.as_deref().unwrap_or_default(), want.as_deref().unwrap_or_default());
        assert_same(&format!("{what}: {path:?}"), got, want);
    }
}

#[test]
fn mirrors_a_tree_up() {
    let Some(meeting) = Meeting::new() else { return };
    plant(&meeting.local);
    for data in DATA {
        meeting.server.clear();
        meeting.lftp(data, "mirror -R tree tree");
        assert_same_trees(data, &meeting.server.root, &meeting.local);
    }
}

#[test]
fn mirrors_a_tree_down() {
    let Some(mut meeting) = Meeting::new() else { return };
    plant(&meeting.server.root);
    for data in DATA {
        for listing in ["set ftp:use-mlsd yes;", "set ftp:use-mlsd no;"] {
            meeting.local = TempRoot::new();
            let settings = format!("{data} {listing}");
            meeting.lftp(&settings, "mirror tree tree");
            assert_same_trees(&settings, &meeting.local, &meeting.server.root);
        }
    }
}

/// A second mirror transfers nothing: listed sizes and times are right.
#[test]
fn a_second_lftp_mirror_transfers_only_changed_files() {
    let Some(meeting) = Meeting::new() else { return };
    plant(&meeting.server.root);
    meeting.lftp("", "mirror tree tree");
    let said = meeting.lftp("", "mirror --dry-run tree tree");
    assert_same("a second mirror", &said, b"");
    meeting.server.root.write("tree/size 1", b"longer than one byte");
    let said = String::from_utf8(meeting.lftp("", "mirror --dry-run tree tree")).unwrap();
    assert!(said.contains("size%201") && said.lines().count() <= 2, "{said}");
}

#[test]
fn unusual_names_round_trip_with_lftp() {
    let Some(meeting) = Meeting::new() else { return };
    let mut script = Vec::new();
    meeting.local.mkdir("got");
    for (seed, name) in (1..).zip(NAMES) {
        meeting.local.write(
            "up/".as_bytes().iter().chain(*name).copied().collect::<Vec<_>>(),
            &binary(300, seed),
        );
        let local = |directory: &[u8]| word(&[directory, name].concat());
        let remote = word(&[b"./", *name].concat());
        let put = [b"put ", &local(b"./up/")[..], b" -o ", &remote, b"\n"].concat();
        let get = [b"get ", &remote[..], b" -o ", &local(b"./got/"), b"\n"].concat();
        script.extend([put, get].concat());
    }
    meeting.lftp("", script);
    for (seed, name) in (1..).zip(NAMES) {
        let want = binary(300, seed);
        assert_same(&percent(name), &meeting.server.root.read(name), &want);
        assert_same(&percent(name), &meeting.local.read([b"got/", *name].concat()), &want);
    }
    meeting.server.assert_only(NAMES);
}

#[test]
fn every_size_in_ascii() {
    let Some(meeting) = Meeting::new() else { return };
    for (seed, size) in (1..).zip(SIZES) {
        for data in DATA {
            let (what, content) = (format!("{size} bytes, {data}"), text(size, seed));
            meeting.local.write("source", &content);
            meeting.lftp(data, "put -a source -o there; get -a there -o target; rm there");
            assert_same(&what, &meeting.local.read("target"), &content);
            std::fs::remove_file(meeting.local.join("target")).unwrap();
        }
    }
    meeting.server.assert_only(&[]);
}

#[test]
fn lftp_resumes_transfers_and_downloads_in_parts() {
    let Some(meeting) = Meeting::new() else { return };
    let content = binary(100_000, 1);
    meeting.local.write("source", &content);
    for there in [1, 50_000, 99_999] {
        meeting.server.root.write("there", &content[..there]);
        meeting.local.write("target", &content[..there]);
        meeting.lftp("", "put -c source -o there; get -c there -o target");
        assert_same(&format!("put from {there}"), &meeting.server.root.read("there"), &content);
        assert_same(&format!("got from {there}"), &meeting.local.read("target"), &content);
    }
    // Parts of one file over several connections at once: REST into the middle, ABOR at the end of
    // a part.
    meeting.lftp("", "pget -n 4 there -o parts");
    assert_same("in parts", &meeting.local.read("parts"), &content);
}

#[test]
fn many_by_pattern() {
    let Some(meeting) = Meeting::new() else { return };
    let names = ["gr\u{fc}n.dat", "one.dat", "two  2.dat"].map(str::as_bytes);
    for name in names {
        meeting.local.write([b"up/", name].concat(), name);
    }
    meeting.local.mkdir("down");
    for data in DATA {
        meeting.server.clear();
        meeting.server.root.write("other.txt", b"not asked for");
        meeting.lftp(data, "lcd up; mput *.dat; lcd ../down; mget *.dat; mrm *.txt");
        meeting.server.assert_only(&names);
        for name in names {
            assert_same("mput", &meeting.server.root.read(name), name);
            let got = meeting.local.join([b"down/", name].concat());
            assert_same("mget", &std::fs::read(&got).unwrap(), name);
            std::fs::remove_file(got).unwrap();
        }
    }
}

#[test]
fn keeps_times_and_sets_modes() {
    let Some(meeting) = Meeting::new() else { return };
    let source = File::options().write(true).open(meeting.local.write("file", b"content"));
    let time = UNIX_EPOCH + Duration::from_secs(938_565_235);
    source.expect("it").set_modified(time).expect("its time");
    meeting.lftp(DATA[0], "put file; chmod 600 file");
    let stored = std::fs::metadata(meeting.server.root.join("file")).expect("it is there");
    assert_eq!(stored.modified().expect("a time"), time, "MFMT");
    assert_eq!(stored.permissions().mode() & 0o777, 0o600, "SITE CHMOD");
}

#[test]
fn files_and_directories() {
    let Some(meeting) = Meeting::new() else { return };
    meeting.server.root.write("file", b"text");
    let script = "mkdir -p a/b/c; mv file a/b/moved; cd a/b; pwd; cd ..; rmdir b/c; cat b/moved";
    let said = String::from_utf8(meeting.lftp("", script)).unwrap();
    assert!(said.contains("/a/b") && said.contains("text"), "{said}");
    assert_same("moved", &meeting.server.root.read("a/b/moved"), b"text");
    meeting.lftp("", "rm -r a");
    meeting.server.assert_only(&[]);
}

#[test]
fn a_gibibyte_there_and_back() {
    if !large() {
        return;
    }
    let Some(meeting) = Meeting::new() else { return };
    let mut source = File::create(meeting.local.join("source")).unwrap();
    std::io::copy(&mut Stream::new(LARGE, 2), &mut source).unwrap();
    drop(source);
    let script = b"put source -o large; get large -o target";
    meeting.lftp_within(Duration::from_secs(240), "", script);
    assert_same_stream("put", meeting.server.root.open("large"), Stream::new(LARGE, 2));
    let count = assert_same_stream("got", meeting.local.open("target"), Stream::new(LARGE, 2));
    assert_eq!(count, LARGE);
}
