//! Downloads to local files whose bytes turn out to be wrong, or to be somebody else's.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ftp_client::error::JobFault;
use ftp_client::file::{Existing, Left, SkipReason, Verify};
use ftp_client::{Client, Done, Error, ErrorKind, FileOptions, Get, Place, Resume};
use ftp_tests::lying_disk::LyingDisk;
use ftp_tests::wait::wait_until;

use crate::peer::{Peer, Server};

const THEN: &str = "213 20200101000000";

/// `SIZE` and `MDTM`.
fn about(peer: &mut Peer, size: u64) {
    peer.answer("SIZE a", &format!("213 {size}"));
    peer.answer("MDTM a", THEN);
}

/// A complete transfer.
fn send(peer: &mut Peer, bytes: &[u8]) {
    peer.epsv();
    peer.answer("RETR a", "150 ok");
    peer.send_data(bytes);
    peer.reply("226 done");
}

fn options() -> FileOptions {
    FileOptions::new().resume(Resume::Proven)
}

/// One attempt, with what it left.
fn get(client: &mut Client, path: &Path, options: &FileOptions) -> (Result<Done, Error>, Left) {
    attempt(client, Get::to_path(Place::at("a"), path, options))
}

fn attempt(client: &mut Client, mut job: Get<'_>) -> (Result<Done, Error>, Left) {
    let done = job.attempt(client, &());
    (done, job.left().clone())
}

#[test]
fn wrong_bytes_in_place_go_with_their_record_as_09() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, 5);
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        // More than SIZE said.
        let mut data = peer.data();
        while data.write_all(&[7; 65_536]).is_ok() {}
        peer.expect_abort();
        peer.reply("426 stopped");
        peer.reply("226 ok");
        about(&mut peer, 5);
        send(&mut peer, b"hello");
    });
    let (error, left) = attempt(&mut client, Get::in_place(Place::at("a"), &path, &options()));
    assert!(matches!(error, Err(Error::Incomplete { .. })), "{error:?}");
    assert_eq!(left, Left::Wrong);
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(names_in(root.path()), ["a"]);
    let (done, _) = attempt(&mut client, Get::in_place(Place::at("a"), &path, &options()));
    assert_eq!(done.unwrap().bytes, 5);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    server.end();
}

#[test]
fn what_each_attempt_in_place_has_received_is_kept_for_the_next_as_09() {
    const RECEIVED: [&str; 2] = ["hello", "hello, wo"];
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        let mut received = RECEIVED.into_iter();
        loop {
            let line = String::from_utf8(peer.line()).unwrap();
            match line.trim_end() {
                "" => return,
                "TYPE I" => peer.reply("200 ok"),
                "SIZE a" => peer.reply("213 12"),
                "MDTM a" => peer.reply(THEN),
                "EPSV" => {
                    let port = peer.listen();
                    peer.reply(&format!("229 here (|||{port}|)"));
                }
                "RETR a" => {
                    peer.reply("150 ok");
                    peer.send_data(received.next().unwrap().as_bytes());
                    peer.reply("426 cut");
                }
                probe if probe.starts_with("SIZE ftp-cli-probe-") => peer.reply("450 not now"),
                _ => peer.reply("502 what"),
            }
        }
    });
    for kept in RECEIVED {
        let job = Get::in_place(Place::at("a"), &path, &options());
        let (error, left) = attempt(&mut client, job);
        assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), kept, "{left:?}");
    }
    drop(client);
    server.end();
}

#[test]
fn bytes_that_the_local_file_lost_are_an_error_and_it_gets_no_name_cl_53() {
    for in_place in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let growing = if in_place { path.clone() } else { root.path().join("a.part") };
        if in_place {
            fs::write(&path, "").unwrap();
        }
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 12);
            peer.epsv();
            peer.answer("RETR a", "150 ok");
            let mut data = peer.data();
            data.write_all(b"hello").unwrap();
            let length = || fs::metadata(&growing).map_or(0, |metadata| metadata.len());
            wait_until("the first bytes are stored", || length() == 5);
            // What comes next is written after the bytes that are left.
            File::options().write(true).open(&growing).unwrap().set_len(2).unwrap();
            data.write_all(b", world").unwrap();
            drop(data);
            peer.reply("226 done");
            if in_place {
                peer.answer("SIZE a", "213 12");
                peer.refuse_probe();
            }
            about(&mut peer, 12);
            if in_place {
                peer.answer("FEAT", "502 what");
            }
            send(&mut peer, b"hello, world");
        });
        let job = || match in_place {
            true => Get::in_place(Place::at("a"), &path, &options()),
            false => Get::to_path(Place::at("a"), &path, &options()),
        };
        let (done, left) = attempt(&mut client, job());
        let error = done.unwrap_err();
        let is_it = |fault: &JobFault| {
            matches!(fault, JobFault::LengthChanged { here: 9, received: 12, .. })
        };
        let fault = match &error {
            // What is there may be another program's.
            Error::Job(JobFault::NotUndone(cause)) if in_place => cause,
            error => error,
        };
        assert!(matches!(fault, Error::Job(fault) if is_it(fault)), "{error}");
        let want = if in_place { Left::Nothing } else { Left::Wrong };
        assert_eq!((error.kind(), left), (ErrorKind::Integrity, want));
        // Nothing of it is resumed.
        assert_eq!(fs::read(&path).ok(), in_place.then(|| b"he, world".to_vec()));
        assert_eq!(names_in(root.path()).len(), usize::from(in_place));
        let (done, _) = attempt(&mut client, job());
        assert_eq!(done.unwrap().bytes, 12);
        assert_eq!(fs::read(&path).unwrap(), b"hello, world");
        assert_eq!(names_in(root.path()), ["a"]);
        server.end();
    }
}

#[test]
fn a_local_file_that_differs_is_unchanged_until_the_download_is_complete_as_09() {
    // Fewer bytes than are compared again, and more.
    for length in [100, 70_000] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let mine: Vec<u8> = (0..251).cycle().take(length).collect();
        fs::write(&path, &mine).unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 300_000);
            peer.epsv();
            if length > 65_536 {
                peer.answer(&format!("REST {}", length - 65_536), "350 ok");
            }
            peer.answer("RETR a", "150 ok");
            let mut data = peer.data();
            while data.write_all(&[b'N'; 65_536]).is_ok() {}
            peer.expect_abort();
            peer.reply("426 stopped");
            peer.reply("226 ok");
            about(&mut peer, 300_000);
            peer.epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"NNN");
            peer.reply("426 cut");
        });
        let options = options().resume(Resume::Trusted).verify(Verify::None);
        let (done, left) = get(&mut client, &path, &options);
        done.unwrap_err();
        assert!(fs::read(&path).unwrap() == mine);
        let part = root.path().join("a.part");
        assert_eq!(fs::read(&part).unwrap(), b"NNN");
        assert_eq!(left, Left::Part(part));
        server.end();
    }
}

#[test]
fn a_complete_file_that_gets_no_name_is_resumed_or_removed_as_09() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let in_the_way = path.clone();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        for is_directory in [true, false] {
            about(&mut peer, 5);
            peer.epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"hello");
            match is_directory {
                true => fs::create_dir(&in_the_way).unwrap(),
                false => fs::write(&in_the_way, "mine").unwrap(),
            }
            peer.reply("226 done");
            if is_directory {
                // The next run.
                about(&mut peer, 5);
                peer.answer("FEAT", "502 what");
            }
        }
    });
    let (done, left) = get(&mut client, &path, &options());
    assert!(matches!(done, Err(Error::Local(_))), "{done:?}");
    assert_eq!(left, Left::Part(root.path().join("a.part")));
    fs::remove_dir(&path).unwrap();
    let (done, _) = get(&mut client, &path, &options());
    assert_eq!(done.unwrap().resumed, 5);
    assert_eq!(names_in(root.path()), ["a"]);
    fs::remove_file(&path).unwrap();
    let declined = options().existing(Existing::Keep);
    let (done, _) = get(&mut client, &path, &declined);
    assert_eq!(done.unwrap().skipped, Some(SkipReason::NowExists));
    assert_eq!(names_in(root.path()), ["a"]);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    server.end();
}

#[test]
fn own_bytes_outlast_a_question_that_fails_as_09() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        // Without a time, no record proves anything to another job.
        peer.answer("SIZE a", "213 12");
        peer.answer("MDTM a", "502 what");
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello");
        peer.reply("426 cut");
        peer.answer("SIZE a", "450 busy");
        peer.answer("SIZE a", "213 12");
        peer.answer("MDTM a", "502 what");
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello, world");
        peer.reply("226 done");
        peer.answer("FEAT", "502 what");
    });
    let mut job = Get::to_path(Place::at("a"), &path, &options()).resumable(true);
    for _ in 0..2 {
        job.attempt(&mut client, &()).unwrap_err();
        assert_eq!(job.left(), &Left::Part(root.path().join("a.part")));
    }
    assert_eq!(job.attempt(&mut client, &()).unwrap().resumed, 5);
    assert_eq!(fs::read(&path).unwrap(), b"hello, world");
    assert_eq!(names_in(root.path()), ["a"]);
    server.end();
}

#[test]
fn files_without_missing_bytes_get_the_time_of_the_servers_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let (server, mut client) = Server::logged_in(|mut peer| {
        // An empty file, and one that is complete in its partial file.
        for (size, last) in [(0, "226 done"), (5, "426 cut")] {
            peer.answer("MDTM a", THEN);
            if size == 0 {
                peer.answer("TYPE I", "200 ok");
            }
            about(&mut peer, size);
            peer.epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"hello".get(..usize::try_from(size).unwrap()).unwrap());
            peer.reply(last);
        }
        peer.answer("MDTM a", THEN);
        about(&mut peer, 5);
        peer.answer("FEAT", "502 what");
    });
    let options = options().preserve(true);
    let time = || fs::metadata(&path).unwrap().modified().unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    get(&mut client, &path, &options).0.unwrap();
    assert_eq!(time(), then);
    fs::remove_file(&path).unwrap();
    get(&mut client, &path, &options).0.unwrap_err();
    assert_eq!(get(&mut client, &path, &options).0.unwrap().resumed, 5);
    assert_eq!(time(), then);
    server.end();
}

/// The directory in which the test runs as another user.
const AS_USER: &str = "FTP_TEST_AS_USER";

/// Returns the program that starts others as another user, if this is root.
fn setpriv() -> Option<ftp_tests::peer::Peer> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    ftp_tests::peer::Peer::find("setpriv").filter(|_| is_root)
}

/// Runs the part of this test for [`AS_USER`] as user 1000, in the directory `root` with this mode.
fn run_as_user(setpriv: &ftp_tests::peer::Peer, root: &Path, mode: u32, groups: &str) {
    // The user may not reach the directory of the build. Another process copies, so that no child of
    // another test inherits the descriptor (ETXTBSY).
    let program = root.join("program");
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(root, Permissions::from_mode(mode)).unwrap();
    let mut user = setpriv.command();
    user.args(["--reuid", "1000", "--regid", "1000", "--groups", groups]).arg(program);
    user.args(["--exact", std::thread::current().name().unwrap()]);
    assert!(user.env(AS_USER, root).status().unwrap().success());
}

#[test]
fn no_other_group_may_read_a_file_because_its_group_is_lost_li_07() {
    if let Some(root) = std::env::var_os(AS_USER) {
        let (server, mut client) = Server::logged_in(|mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 ok (5 bytes)");
            peer.send_data(b"hello");
            peer.reply("226 done");
        });
        let path = Path::new(&root).join("a");
        get(&mut client, &path, &FileOptions::new()).0.unwrap();
        return server.end();
    }
    let Some(setpriv) = setpriv() else { return };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    for (groups, mode, want, group) in
        [("2002", 0o640, 0o640, 2002), ("2003", 0o640, 0o600, 1000), ("2003", 0o664, 0o644, 1000)]
    {
        fs::write(&path, "old").unwrap();
        chown(&path, Some(1001), Some(2002)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        run_as_user(&setpriv, root.path(), 0o777, groups);
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        let new = fs::metadata(&path).unwrap();
        assert_eq!((new.mode() & 0o777, new.uid(), new.gid()), (want, 1000, group), "{mode:o}");
    }
}

#[test]
fn a_name_like_a_short_one_is_replaced_in_a_directory_that_cannot_be_listed_cl_54() {
    if let Some(root) = std::env::var_os(AS_USER) {
        let (server, mut client) = Server::logged_in(|mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 ok (5 bytes)");
            peer.send_data(b"hello");
            peer.reply("226 done");
        });
        let root = Path::new(&root);
        assert_eq!(fs::read_dir(root).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        get(&mut client, &root.join("a~1"), &FileOptions::new()).0.unwrap();
        return server.end();
    }
    let Some(setpriv) = setpriv() else { return };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a~1");
    fs::write(&path, "old").unwrap();
    chown(&path, Some(1000), Some(1000)).unwrap();
    run_as_user(&setpriv, root.path(), 0o733, "2002");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
}

#[test]
fn a_name_like_a_short_one_that_one_listing_lacks_is_replaced_cl_54() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok (5 bytes)");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = LyingDisk::mount(root.path(), [("a~1", "old")]) else { return };
    disk.lies().misses = Some("a~1".to_owned());
    get(&mut client, &root.path().join("a~1"), &FileOptions::new()).0.unwrap();
    let lies = disk.lies();
    assert_eq!((&lies.misses, &lies.files["a~1"][..]), (&None, &b"hello"[..]));
    drop(lies);
    server.end();
}

#[test]
fn a_partial_file_is_as_private_as_the_file_that_it_will_replace_li_07() {
    let root = tempfile::tempdir().unwrap();
    let (path, private) = (root.path().join("a"), root.path().join("private"));
    fs::write(&private, "old").unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let part = root.path().join("a.part");
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, 5);
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        assert_eq!(fs::metadata(&part).unwrap().mode() & 0o777, 0o600);
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    let options = options();
    let mut job = Get::to_path(Place::at("a"), &path, &options).like(&private);
    job.attempt(&mut client, &()).unwrap();
    assert_eq!(mode(&path), 0o600);
    server.end();
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The download of a log that grows here, too: one that is cut, and one that is longer than it should be.
#[test]
fn a_failed_download_in_place_takes_back_nothing_but_its_own_bytes() {
    for (kept, line) in [("hello", "line\n"), ("hello", ""), ("", "line\n"), ("", "")] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, kept).unwrap();
        let own = path.clone();
        let content = if kept.is_empty() { "hello, world" } else { "hello, wo" };
        let (server, mut client) = Server::logged_in(move |mut peer| {
            loop {
                let line = peer.line();
                match line.trim_ascii_end() {
                    b"TYPE I" => peer.reply("200 ok"),
                    b"SIZE a" => peer.reply("213 12"),
                    b"MDTM a" => peer.reply(THEN),
                    b"EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 ok (|||{port}|)"));
                    }
                    b"RETR a" => break,
                    _ => peer.reply("502 what"),
                }
            }
            peer.reply("150 ok");
            let mut data = peer.data();
            data.write_all(content.as_bytes()).unwrap();
            wait_until("all of it is written", || fs::read(&own).unwrap() == content.as_bytes());
            File::options().append(true).open(&own).unwrap().write_all(line.as_bytes()).unwrap();
            if kept.is_empty() {
                let _ = data.write_all(b"!");
            }
            drop(data);
            peer.try_send(b"426 cut\r\n");
            peer.drain();
        });
        let options = match kept {
            "" => options(),
            _ => FileOptions::new().resume(Resume::Trusted),
        };
        let (done, left) = attempt(&mut client, Get::in_place(Place::at("a"), &path, &options));
        let error = done.unwrap_err();
        let is_undone = !matches!(error, Error::Job(JobFault::NotUndone(_)));
        let case = format!("{kept} {line}: {error} {left:?}");
        assert_eq!(is_undone, line.is_empty(), "{case}");
        let want = if is_undone { kept.to_owned() } else { [content, line].concat() };
        let found = fs::read_to_string(&path).unwrap();
        assert!(found == want || !is_undone && found == want.clone() + "!", "{case} {found}");
        assert!(!matches!(left, Left::InPlace | Left::Part(_)) || is_undone, "{case}");
        drop(client);
        server.end();
    }
}
