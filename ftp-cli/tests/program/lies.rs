//! A local disk that refuses at `create`, `write`, `fsync`, `close` or `rename`: no success, and no
//! source removed.

use ftp_tests::at_once::at_once;
use ftp_tests::content;
use ftp_tests::lying_disk::{CREATE, FLUSH, FSYNC, LyingDisk, RENAME, WRITE};
use ftp_tests::process::{LIMIT, Ran, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use rustix::io::Errno;

use crate::ftp;

/// The calls that fail, and their errors.
const FAILURES: [(&str, u32, Errno); 7] = [
    ("create", CREATE, Errno::ACCESS),
    ("write", WRITE, Errno::IO),
    ("write", WRITE, Errno::NOSPC),
    ("fsync", FSYNC, Errno::IO),
    ("close", FLUSH, Errno::IO),
    ("close", FLUSH, Errno::DQUOT),
    ("rename", RENAME, Errno::IO),
];

/// The downloads of `t/f`. Each begins with a disk that has another `f`.
const DOWNLOADS: [&str; 9] = [
    "get URL/f DISK/f",
    "get -p URL/f DISK/f",
    "get -c --verify none URL/f DISK/f",
    "get --in-place URL/f DISK/f",
    "get --segments 2 URL/f DISK/f",
    "get --remove-source URL/f DISK/f",
    "get -r URL DISK",
    "mirror URL DISK",
    "batch URL",
];

/// Runs the program; `URL` and `DISK` stand for both sides.
fn play(command: &str, url: &str, disk: &TempRoot) -> Ran {
    let disk = disk.join("disk");
    let words = command
        .split(' ')
        .map(|word| word.replace("URL", url).replace("DISK", disk.to_str().unwrap()));
    run_with(ftp(&[]).args(words).current_dir(&disk), b"get f f\n", LIMIT)
}

#[test]
fn a_download_to_a_disk_that_refuses_at_any_call_is_no_success() {
    let all = content::binary(300_000, 7);
    // A move waits until the second of its source is over.
    at_once(4, DOWNLOADS, |command| {
        let sound = [("no", u32::MAX, Errno::IO)];
        for (call, number, errno) in FAILURES.into_iter().chain(sound) {
            let (server, root) = (OurServer::start(), TempRoot::new());
            server.root.write("t/f", &all);
            root.mkdir("disk");
            let Some(disk) = LyingDisk::mount(&root.join("disk"), [("f", "old")]) else { return };
            disk.lies().fails = Some((number, errno.raw_os_error()));
            let ran = play(command, &server.url("t"), &root);
            let there = disk.lies().files.get("f").cloned();
            let is_in_place = command.contains("--in-place");
            let what = format!("{command}, {call} fails with {errno}: {ran:?}");
            // A file in place is neither made nor renamed.
            let is_sound = call == "no" || is_in_place && ["create", "rename"].contains(&call);
            if is_sound {
                assert_eq!(ran.code(), Some(0), "{what}");
                assert!(there == Some(all.clone()), "{what}");
                continue;
            }
            assert!(ran.code().is_some_and(|code| code != 0), "{what}");
            assert!(!ran.stderr.is_empty(), "{what}");
            assert!(is_in_place || there.as_deref() == Some(b"old"), "{what}");
            assert!(server.root.read("t/f") == all, "{what}");
        }
    });
}

#[test]
fn a_move_whose_journal_cannot_be_written_removes_no_source() {
    for temporary in [&[][..], &["--temp"]] {
        for (call, number, errno) in FAILURES {
            let (server, root) = (OurServer::start(), TempRoot::new());
            root.mkdir("disk");
            let files = [("f", "the only copy")];
            let Some(disk) = LyingDisk::mount(&root.join("disk"), files) else { return };
            disk.lies().fails = Some((number, errno.raw_os_error()));
            let put = [&["put", "--remove-source"], temporary, &["f", "URL/f"]].concat().join(" ");
            let ran = play(&put, &server.url(""), &root);
            let what = format!("{put}, {call} fails with {errno}: {ran:?}");
            let there = disk.lies().files.get("f").cloned();
            match ran.code() {
                // Only the lock is made there.
                Some(0) if temporary.is_empty() && call != "create" => {
                    assert_eq!(server.root.read("f"), b"the only copy", "{what}");
                }
                Some(0) => panic!("{what}"),
                _ => assert_eq!(there.as_deref(), Some(&b"the only copy"[..]), "{what}"),
            }
        }
    }
}

#[test]
fn an_upload_whose_journal_cannot_be_written_says_that_it_cannot_be_resumed() {
    for (call, number, errno) in FAILURES {
        let (server, root) = (OurServer::start(), TempRoot::new());
        root.mkdir("disk");
        let Some(disk) = LyingDisk::mount(&root.join("disk"), [("f", "content")]) else { return };
        disk.lies().fails = Some((number, errno.raw_os_error()));
        let ran = play("put -v -c f URL/f", &server.url(""), &root);
        ran.exited(0);
        assert_eq!(server.root.read("f"), b"content", "{call} {errno}");
        // The journal is not synced: after a power failure, the upload begins again.
        let said = String::from_utf8_lossy(&ran.stderr);
        let is_told = said.contains("a later run cannot resume this upload: no journal");
        assert_eq!(is_told, call != "fsync", "{call} {errno}: {said}");
    }
}

/// Downloads of `LONGNA~1.TXT`, or of a tree that has it.
const DOWNLOADS_OF_SHORT_NAMES: [&str; 8] = [
    "get URL/LONGNA~1.TXT DISK",
    "get -c URL/LONGNA~1.TXT DISK",
    "get --in-place URL/LONGNA~1.TXT DISK/LONGNA~1.TXT",
    "get --segments 2 URL/LONGNA~1.TXT DISK",
    "get --remove-source URL/LONGNA~1.TXT DISK",
    "get -P DISK URL/LONGNA~1.TXT URL/good",
    "get -r URL DISK",
    "mirror --remove-source URL DISK",
];

#[test]
fn no_local_object_is_replaced_or_entered_by_its_short_name_cl_54() {
    let shorts = [("LONGNA~1.TXT", "long name.txt"), ("LONGDI~1", "long directory")];
    at_once(4, DOWNLOADS_OF_SHORT_NAMES, |command| {
        let (server, root) = (OurServer::start(), TempRoot::new());
        server.root.write("t/LONGNA~1.TXT", b"server's");
        server.root.write("t/LONGDI~1/f", b"server's");
        server.root.write("t/good", b"server's");
        root.mkdir("disk");
        let files = [("long name.txt", "local"), ("long directory/x", "local")];
        let Some(disk) = LyingDisk::mount(&root.join("disk"), files) else { return };
        disk.lies().shorts = shorts.map(|(short, long)| (short.into(), long.into())).into();
        let ran = play(command, &server.url("t"), &root);
        // One failure of the local disk does not end a run.
        let gets_good = !command.contains("TXT") || command.contains("good");
        assert_eq!(ran.code(), Some(if gets_good { 12 } else { 3 }), "{command}: {ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains("takes this name for an object of another name"), "{said}");
        let mut left = disk.lies().files.clone();
        assert_eq!(left.remove("good").is_some(), gets_good, "{command}");
        let want = files.map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()));
        assert_eq!(left, want.into(), "{command}");
        for path in ["t/LONGNA~1.TXT", "t/LONGDI~1/f"] {
            assert_eq!(server.root.read(path), b"server's", "{command}");
        }
    });
}
