//! Two servers, each a process, of one directory: neither removes or resumes what the other one is
//! writing.

use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use crate::figures::wait_for_sweep;
use crate::serve::Served;

fn start(root: &TempRoot) -> Served {
    let served = Served::start(root, &["--write", "--user", "u:p"]);
    wait_for_sweep(served.running.child.id());
    served
}

fn login(served: &Served) -> RawSession {
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    session
}

/// Begins an upload, and waits until these bytes are in a hidden file of the directory.
fn begin(session: &mut RawSession, root: &TempRoot, name: &str, bytes: &[u8]) -> RawData {
    let mut data = session.passive();
    session.expect(format!("STOR {name}"), 150);
    data.write_all(bytes);
    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
    wait_until("the bytes are written", || hidden(root, directory).contains(&bytes.to_vec()));
    data
}

/// Returns the content of all hidden files in a directory, except records.
fn hidden(root: &TempRoot, directory: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(root.join(directory)).unwrap().flatten();
    let is_bytes =
        |name: &str| name.starts_with(".ftp-upload-") && !name.starts_with(".ftp-upload-record-");
    let hidden = entries.filter(|it| is_bytes(&it.file_name().to_string_lossy()));
    hidden.filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}

#[test]
fn a_server_does_not_touch_a_running_upload_of_another_one_fs_14_fs_15_fs_18() {
    let root = TempRoot::new();
    root.mkdir("d");
    let (one, other) = (start(&root), start(&root));
    let (mut writing, mut looking) = (login(&one), login(&other));
    for old in [None, Some(&b"old file"[..])] {
        old.map(|old| root.write("d/f", old));
        let data = begin(&mut writing, &root, "d/f", b"01234");
        let newest = start(&root);
        let mut started = login(&newest);
        for session in [&mut looking, &mut started] {
            session.expect("SIZE d/f", 450);
            session.expect("REST 3", 350);
            session.expect("EPSV", 229);
            session.expect("STOR d/f", 450);
            session.expect("EPSV", 229);
            session.expect("APPE d/f", 450);
            assert_eq!(session.download("NLST d").is_empty(), old.is_none());
            session.expect("RMD d", if old.is_some() { 550 } else { 450 });
        }
        assert_eq!(hidden(&root, "d"), [b"01234"]);
        data.close();
        writing.expect_reply(226);
        assert_eq!(looking.download("RETR d/f"), b"01234");
        assert_eq!(root.names_without_records(), [&b"d"[..]]);
        looking.expect("DELE d/f", 250);
    }
}

#[test]
fn two_servers_do_not_resume_the_same_bytes_fs_15_fs_18() {
    let root = TempRoot::new();
    let (one, other) = (start(&root), start(&root));
    for old in [None, Some(&b"old file"[..])] {
        old.map(|old| root.write("f", old));
        let (mut first, mut second) = (login(&one), login(&other));
        begin(&mut first, &root, "f", b"01234").reset();
        first.expect_reply(426);
        for session in [&mut first, &mut second] {
            assert_eq!(session.expect("SIZE f", 213).text(), "213 4");
        }
        // Both know the number, but only one can go on.
        second.expect("REST 4", 350);
        let data = second.passive();
        second.expect("STOR f", 150);
        first.expect("REST 4", 350);
        first.expect("EPSV", 229);
        first.expect("STOR f", 450);
        first.expect("EPSV", 229);
        first.expect("APPE f", 450);
        let mut data = data;
        data.write_all(b"4567");
        data.close();
        second.expect_reply(226);
        assert_eq!(login(&one).download("RETR f"), b"01234567");
        assert_eq!(hidden(&root, ""), [b""; 0]);
        // A number that was told before does not fit the new file.
        first.expect("REST 4", 350);
        first.expect("EPSV", 229);
        first.expect("STOR f", 450);
        first.expect("DELE f", 250);
    }
}

#[test]
fn the_record_of_a_killed_server_holds_for_the_others_fs_14_fs_15() {
    let root = TempRoot::new();
    root.write("f", b"old file");
    let (mut one, other) = (start(&root), start(&root));
    // The upload runs until the server is killed.
    let mut writing = login(&one);
    let _data = begin(&mut writing, &root, "f", b"01234");
    one.running.child.kill().unwrap();
    one.running.child.wait().unwrap();
    for served in [&other, &start(&root)] {
        let mut session = login(served);
        session.expect("SIZE f", 554);
        session.expect("REST 3", 350);
        session.expect("EPSV", 229);
        session.expect("STOR f", 554);
        session.expect("EPSV", 229);
        session.expect("APPE f", 450);
    }
    login(&other).upload("STOR f", b"new file");
    assert_eq!(root.names(), [&b"f"[..]]);
    assert_eq!(login(&other).expect("SIZE f", 213).text(), "213 8");
}
