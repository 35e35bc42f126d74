//! `--charset`: servers whose names are not UTF-8. No name is lost, doubled or deleted by its translation.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::ftp;
use crate::mirror::{mirror, shown};
use crate::peer::{Act, Peer};

/// A server's character set, two names for people, and the same names as the server sends them.
struct Names {
    charset: &'static str,
    text: [&'static str; 2],
    sent: [&'static [u8]; 2],
    /// A name that the character set lacks.
    lacks: &'static str,
}

const NAMES: [Names; 3] = [
    Names {
        charset: "windows-1252",
        text: ["fa\u{e7}ade \u{20ac}.txt", "\u{ff}"],
        sent: [b"fa\xe7ade \x80.txt", b"\xff"],
        lacks: "\u{416}.txt",
    },
    // The last letter is 0xFF, which Telnet doubles.
    Names {
        charset: "koi8-r",
        text: ["\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}.txt", "\u{42a}"],
        sent: [b"\xf0\xd2\xc9\xd7\xc5\xd4.txt", b"\xff"],
        lacks: "caf\u{e9}",
    },
    // The second byte of the first two letters is a backslash, and of the last one a bar.
    Names {
        charset: "shift_jis",
        text: ["\u{8868}\u{30bd}.txt", "\u{30dd}"],
        sent: [b"\x95\x5c\x83\x5c.txt", b"\x83\x7c"],
        lacks: "\u{a5}.txt",
    },
];

/// Returns all files below a directory with their contents; directories are empty and end in `/`.
fn files(top: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let mut name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
            match path.is_dir() {
                true => {
                    name.push(b'/');
                    left.push(path);
                    found.insert(name, Vec::new());
                }
                false => drop(found.insert(name, fs::read(&path).unwrap())),
            }
        }
    }
    found
}

fn with_charset(command: &str, charset: &str, rest: &[&OsStr]) -> Ran {
    run(ftp(&[command, "--charset", charset]).args(rest))
}

/// Lists, downloads, uploads and mirrors both ways. `disk` has the names of the server's disk.
fn check(site: &Site, names: &Names, disk: [&[u8]; 2]) {
    let Names { charset, text: [file, directory], lacks, .. } = *names;
    let raw = |parts: &[&[u8]]| parts.join(&b'/');
    site.root.write(raw(&[b"t", disk[1], disk[0]]), b"content");
    site.root.write(b"t/plain", b"ascii");
    let here = TempRoot::new();
    let url = |path: &str| site.url(path);

    // A name is listed, downloaded and uploaded as people write it.
    let ran = with_charset("ls", charset, &[url(&format!("t/{directory}/")).as_ref()]);
    ran.exited(0);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{file}\n"), "{ran:?}");
    let local = here.join("got");
    let source = url(&format!("t/{directory}/{file}"));
    with_charset("get", charset, &[source.as_ref(), local.as_ref()]).exited(0);
    assert_eq!(fs::read(&local).unwrap(), b"content");
    with_charset("put", charset, &[local.as_ref(), url(&format!("t/{file}")).as_ref()]).exited(0);
    assert_eq!(site.root.read(raw(&[b"t", disk[0]])), b"content");

    // Down, and nothing is left to do for a second run.
    let down = here.join("down");
    let options = ["--charset", charset, "--delete"];
    mirror(&options, &url("t"), shown(&down)).exited(0);
    let want = BTreeMap::from([
        (format!("{directory}/").into_bytes(), Vec::new()),
        (format!("{directory}/{file}").into_bytes(), b"content".to_vec()),
        (file.as_bytes().to_vec(), b"content".to_vec()),
        (b"plain".to_vec(), b"ascii".to_vec()),
    ]);
    assert_eq!(files(&down), want, "{charset}");
    let before = files(&site.root.join("t"));
    let again = mirror(&options, &url("t"), shown(&down));
    again.exited(0);
    assert_eq!((files(&down), files(&site.root.join("t"))), (want.clone(), before.clone()));

    // Up to a new place: the server gets the same names.
    mirror(&options, shown(&down), &url("up")).exited(0);
    assert_eq!(files(&site.root.join("up")), before, "{charset}");
    mirror(&options, shown(&down), &url("up")).exited(0);
    assert_eq!(files(&site.root.join("up")), before, "{charset}");

    // A name that the character set lacks is not sent in any form, and stops all deletions.
    fs::write(down.join(lacks), b"no").unwrap();
    fs::remove_file(down.join(file)).unwrap();
    let ran = mirror(&options, shown(&down), &url("up"));
    ran.exited(12);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("not in the server's character set"), "{said}");
    assert_eq!(files(&site.root.join("up")), before, "{charset}");
    let put = with_charset("put", charset, &[down.join(lacks).as_ref(), url("up/").as_ref()]);
    put.exited(2);
    assert_eq!(files(&site.root.join("up")), before, "{charset}");
    // Down, it is an extra file that the server cannot be asked for.
    let kept = mirror(&options, &url("up"), shown(&down));
    assert!(down.join(lacks).exists(), "{kept:?}");
    fs::remove_file(down.join(lacks)).unwrap();

    // What SRC lacks goes, and nothing else.
    fs::remove_file(down.join(file)).ok();
    mirror(&options, shown(&down), &url("up")).exited(0);
    let mut left = before;
    left.remove(disk[0]);
    assert_eq!(files(&site.root.join("up")), left, "{charset}");
}

/// Checks each name with a server of its own.
fn check_all<S: Deref<Target = Site>>(start: impl Fn() -> Option<S> + Sync) {
    at_once(NAMES.len(), &NAMES, |names| {
        start().iter().for_each(|site| check(site, names, names.sent));
    });
}

#[test]
fn names_are_translated_for_our_server_cl_84() {
    check_all(|| Some(OurServer::start()));
}

#[test]
fn names_are_translated_for_vsftpd_cl_84() {
    check_all(RealServer::vsftpd);
}

#[test]
fn names_are_translated_for_pyftpdlib_cl_84() {
    check_all(RealServer::pyftpdlib);
}

#[test]
fn names_are_translated_for_proftpd_with_an_encoding_cl_84() {
    let lines =
        "LoadModule mod_lang.c\nUseEncoding UTF-8 WINDOWS-1252\nLangOptions PreferServerEncoding\n";
    let Some(server) = RealServer::proftpd_also(lines) else { return };
    let names = &NAMES[0];
    check(&server, names, names.text.map(str::as_bytes));
}

#[test]
fn no_utf_8_is_asked_for_cl_84() {
    let lines = b"-rw-r--r-- 1 ftp ftp 4 Jan  1 2020 \x95\x5c.txt\r\n";
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n UTF8\r\n SIZE\r\n211 end")),
        ("LIST", Act::Send("150 list", lines.to_vec(), "226 done")),
        ("RETR", Act::Send("150 data", b"four".to_vec(), "226 done")),
    ]);
    let here = TempRoot::new();
    mirror(&["--charset", "shift_jis"], &peer.url("t"), shown(&here.join("d"))).exited(0);
    assert_eq!(here.read("d/\u{8868}.txt"), b"four");
    assert!(!peer.seen().contains("OPTS"), "{}", peer.seen());
}

#[test]
fn a_name_outside_the_character_set_keeps_its_bytes_cl_84() {
    let server = OurServer::start();
    // The first is UTF-8 and not Shift_JIS, the second neither, the third another code of a character.
    for name in [&b"\xe3\x81\x82"[..], b"\xff\xa0\xfd", b"\x87\x90"] {
        server.root.write([b"t/", name].concat(), name);
    }
    server.root.write(b"t/\x82\xa0", b"Shift_JIS");
    let here = TempRoot::new();
    let options = ["--charset", "shift_jis", "--delete"];
    let before = files(&server.root.join("t"));
    mirror(&options, &server.url("t"), shown(&here.join("d"))).exited(0);
    assert_eq!(files(&here.join("d")).len(), 4);
    assert_eq!(here.read("d/\u{3042}"), b"Shift_JIS");
    mirror(&options, &server.url("t"), shown(&here.join("d"))).exited(0);
    assert_eq!(files(&here.join("d")).len(), 4);
    mirror(&options, shown(&here.join("d")), &server.url("up")).exited(0);
    assert_eq!(files(&server.root.join("up")), before);
    mirror(&options, shown(&here.join("d")), &server.url("t")).exited(0);
    assert_eq!(files(&server.root.join("t")), before);
    let copied = with_charset(
        "fxp",
        "shift_jis",
        &["-r".as_ref(), server.url("t").as_ref(), server.url("copy").as_ref()],
    );
    copied.exited(0);
    assert_eq!(files(&server.root.join("copy")), before);
}

#[test]
fn a_server_that_changes_names_gets_none_cl_84() {
    // It replaces bytes that are not UTF-8: two names would become one file.
    let Some(server) = RealServer::pyftpdlib_by_default() else { return };
    let here = TempRoot::new();
    here.write("d/\u{e9}", b"one");
    here.write("d/\u{e8}", b"two");
    here.write("d/plain", b"three");
    let options = ["--charset", "windows-1252", "--delete"];
    mirror(&options, shown(&here.join("d")), &server.url("t")).exited(12);
    let found = files(&server.root.join("t"));
    assert_eq!(found, BTreeMap::from([(b"plain".to_vec(), b"three".to_vec())]));
}

#[test]
fn unknown_character_sets_are_refused_cl_84() {
    for (name, want) in [("klingon", "expected a name such as"), ("utf-16", "no server can read")] {
        let ran = with_charset("ls", name, &["ftp://127.0.0.1:1/".as_ref()]);
        ran.exited(2);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("--charset: invalid NAME") && said.contains(want), "{said}");
    }
}
