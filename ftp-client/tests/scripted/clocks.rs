//! Servers that report local time as UTC, and what depends on the age of a file.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftp_client::file::{Existing, Note, SkipReason};
use ftp_client::{Error, Event, FileOptions, Get, Place, Put};
use ftp_proto::TimeVal;

use crate::peer::{Peer, Server};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// The test file by which the clock is measured.
const PROBE: &str = ".ftp-cli-clock.tmp";

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().try_into().unwrap()
}

fn time_reply(seconds: i64) -> String {
    format!("213 {}", TimeVal::from_unix_seconds(seconds).unwrap())
}

/// Answers `MDTM a` of a file of this age, in the local time of a zone that is `ahead` of UTC.
fn tell(peer: &mut Peer, age: i64, ahead: i64) {
    peer.answer("MDTM a", &time_reply(now() - age + ahead));
}

/// Stores the test file, and tells its time.
fn measure(peer: &mut Peer, ahead: i64) {
    peer.epsv();
    peer.answer(&format!("STOR {PROBE}"), "150 ok");
    peer.read_data();
    peer.reply("226 done");
    peer.answer(&format!("MDTM {PROBE}"), &time_reply(now() + ahead));
    peer.answer(&format!("DELE {PROBE}"), "250 gone");
}

fn refuse_to_measure(peer: &mut Peer) {
    peer.epsv();
    peer.answer(&format!("STOR {PROBE}"), "550 no");
}

/// Fails after the byte of the test file, and keeps it.
fn fail_to_measure(peer: &mut Peer) {
    peer.epsv();
    peer.answer(&format!("STOR {PROBE}"), "150 ok");
    peer.read_data();
    peer.reply("451 no");
    peer.answer("PWD", "257 \"/\"");
    peer.answer(&format!("DELE {PROBE}"), "250 gone");
}

/// Returns a directory with a local file of this age.
fn local(age: i64) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, "new").unwrap();
    let age = Duration::from_secs(age.try_into().unwrap());
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    (root, path)
}

#[test]
fn an_upload_that_replaces_older_files_measures_the_clock_of_the_server() {
    let options = FileOptions::new().existing(Existing::ReplaceOlder);
    // The age of the server's file, the local one, and how far the server's time is ahead.
    for (there, here, ahead, is_stored) in [
        (3 * HOUR, 150 * MINUTE, 2 * HOUR, true),
        (150 * MINUTE, 3 * HOUR, 2 * HOUR, false),
        (150 * MINUTE, 3 * HOUR, -5 * HOUR, false),
        (3 * HOUR, 150 * MINUTE, 0, true),
    ] {
        let (_root, path) = local(here);
        let (server, mut client) = Server::logged_in(move |mut peer| {
            tell(&mut peer, there, ahead);
            peer.answer("TYPE I", "200 ok");
            measure(&mut peer, ahead);
            if is_stored {
                peer.answer("SIZE a", "213 9");
                peer.epsv();
                peer.answer("STOR a", "150 ok");
                assert_eq!(peer.read_data(), b"new");
                peer.reply("226 done");
                peer.answer("SIZE a", "213 3");
            }
        });
        let done = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        let want = (!is_stored).then_some(SkipReason::NotNewer);
        assert_eq!(done.unwrap().skipped, want, "{there} {here} {ahead}");
        server.end();
    }
    // Beyond all time zones, nothing is measured.
    let (_root, path) = local(48 * HOUR);
    let (server, mut client) = Server::logged_in(|mut peer| tell(&mut peer, HOUR, 0));
    let done = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
    assert_eq!(done.unwrap().skipped, Some(SkipReason::NotNewer));
    server.end();
    // A file that may be older is neither replaced nor taken for current.
    let (_root, path) = local(3 * HOUR);
    for refuse in [refuse_to_measure, fail_to_measure] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            tell(&mut peer, HOUR, 0);
            peer.answer("TYPE I", "200 ok");
            refuse(&mut peer);
        });
        let failed = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        assert!(matches!(failed, Err(Error::Unsupported(_))), "{failed:?}");
        server.end();
    }
}

#[test]
fn a_download_that_removes_its_source_measures_the_age_of_the_file() {
    let options = FileOptions::new().moves(true);
    for ahead in [0, -5 * HOUR] {
        let limit = now() - 5 * MINUTE;
        let options = options.clone().times(None, Some(limit));
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let (server, mut client) = Server::logged_in(move |mut peer| {
            tell(&mut peer, 60, ahead);
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "213 3");
            measure(&mut peer, ahead);
        });
        let job = &mut Get::to_path(Place::at("a"), &path, &options).known_as("s/a", "u");
        let done = job.attempt(&mut client, &()).unwrap();
        assert_eq!(done.skipped, Some(SkipReason::TooNew), "{ahead}");
        server.end();
    }
    let limit = now() - 5 * MINUTE;
    let options = options.times(None, Some(limit));
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let (server, mut client) = Server::logged_in(|mut peer| {
        tell(&mut peer, HOUR, 0);
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "213 3");
        refuse_to_measure(&mut peer);
    });
    let job = &mut Get::to_path(Place::at("a"), &path, &options).known_as("s/a", "u");
    let failed = job.attempt(&mut client, &());
    assert!(matches!(failed, Err(Error::Unsupported(_))), "{failed:?}");
    server.end();
}

#[test]
fn a_download_that_replaces_older_files_tells_of_a_doubt() {
    let options = FileOptions::new().existing(Existing::ReplaceOlder);
    for (size, is_told) in [("213 3", false), ("213 4", true)] {
        let (_root, path) = local(HOUR);
        let (server, mut client) = Server::logged_in(move |mut peer| {
            tell(&mut peer, 3 * HOUR, 0);
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", size);
        });
        let told = std::sync::Mutex::new(false);
        let on = |event: Event<'_>| {
            if let Event::Note { note: Note::PerhapsNewer, .. } = event {
                *told.lock().unwrap() = true;
            }
        };
        let done = Get::to_path(Place::at("a"), &path, &options).attempt(&mut client, &on);
        assert_eq!(done.unwrap().skipped, Some(SkipReason::NotNewer));
        assert_eq!(*told.lock().unwrap(), is_told, "{size}");
        server.end();
    }
}
