//! A kept partial upload is never taken for the file or for the beginning of another one, and
//! blocks nothing.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{
    Ask, LocalConfig, LocalStorage, MemoryStorage, Rights, Server, Storage, SyncPolicy, VirtualPath,
};
use ftp_tests::raw::RawSession;
use ftp_tests::wait::{at_last, wait_until};

use super::appends::IN_PLACE;
use super::full::{Mount, free};
use super::partial::moved;
use super::{Fixture, HIDDEN, has_bytes, names_in, play, quick, quick_with};

/// The duration of the first sync of a [`slow`] server.
const SYNC: Duration = Duration::from_millis(500);

/// Starts a server whose first sync is slow.
fn slow(storage: impl Storage + 'static) -> (Server, FaultStorage) {
    let delay = Fault::Delay(SYNC);
    let storage = FaultStorage::new(storage).at(StorageCall::UploadFlush, 1, delay);
    let server = Server::builder().config(quick()).storage(storage.clone());
    let server = server.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server");
    (server, storage)
}

#[test]
fn an_upload_without_a_final_reply_is_kept_as_a_partial_file_fs_15_cm_121() {
    for is_on_disk in [true, false] {
        at_last("the client leaves in time", || lose_the_last_reply(is_on_disk));
    }
}

/// Returns `None` if the client left so late that the sync was over.
fn lose_the_last_reply(is_on_disk: bool) -> Option<()> {
    let path = VirtualPath::root().join(b"f");
    let root = tempfile::tempdir().expect("a directory");
    let (server, storage) = match is_on_disk {
        true => slow(LocalStorage::open(root.path()).expect("a storage")),
        false => slow(MemoryStorage::new()),
    };
    let login = || {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    };
    let mut session = login();
    let mut data = session.passive();
    session.expect("STOR f", 150);
    data.write_all(b"0123456789");
    let begun = Instant::now();
    data.close();
    // All bytes have arrived, and the client leaves before the reply.
    wait_until("the upload is flushed", || storage.count(StorageCall::UploadFlush) == 1);
    session.stream().shutdown(Shutdown::Both).expect("it ends");
    let is_late = begun.elapsed() >= SYNC;
    drop(session);
    wait_until("the session has ended", || server.sessions().is_empty());
    if is_late && storage.stat(&path, Ask::Facts).is_ok() {
        return None;
    }
    play(&mut login(), &[("MLST f", 550), ("MDTM f", 550), ("SIZE f", 550)]);
    let mut session = login();
    assert_eq!(session.expect("SIZE f", 213).bytes, b"213 9\r\n", "{is_on_disk}");
    session.expect("REST 9", 350);
    session.upload("STOR f", b"9");
    assert_eq!(session.download("RETR f"), b"0123456789", "{is_on_disk}");
    Some(())
}

/// Interrupts an upload of `content` to `name`.
fn cut(fixture: &Fixture, name: &str, content: &[u8]) {
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect(format!("STOR {name}"), 150);
    data.write_all(content);
    wait_until("the bytes are read", || moved(&mut session) == content.len() as u64);
    data.reset();
    session.expect_reply(426);
}

#[test]
fn two_hundred_cut_replacements_of_one_login_make_no_mixture_fs_15() {
    const FILES: usize = 200;
    let local = || LocalConfig::new().sync(SyncPolicy::None);
    for (local, bound) in [(local(), 100), (local().partial_files(2), 2)] {
        let fixture = Fixture::keeping(local);
        for number in 0..FILES {
            fixture.write(&format!("f{number}"), "old");
            cut(&fixture, &format!("f{number}"), b"new content");
        }
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        let mut kept = 0;
        for number in 0..FILES {
            let name = format!("f{number}");
            let told = session.ask(format!("SIZE {name}"));
            if told.code == 213 {
                assert_eq!(told.text(), "213 10", "{name}");
                session.expect("REST 10", 350);
                session.upload(format!("STOR {name}"), b"t of it");
                assert_eq!(fixture.read(&name), b"new content of it");
                kept += 1;
                continue;
            }
            assert_eq!(told.code, 554, "{name}");
            session.expect("PASV", 227);
            session.expect("REST 3", 350);
            session.expect(format!("STOR {name}"), 554);
            session.expect("PASV", 227);
            session.expect(format!("APPE {name}"), 450);
            assert_eq!(fixture.read(&name), b"old");
            session.upload(format!("STOR {name}"), b"new content");
        }
        assert_eq!((kept, fixture.names().len()), (bound, FILES));
    }
}

#[test]
fn appe_is_refused_while_an_upload_is_unfinished_unless_size_told_its_length_fs_15() {
    for (old, before) in [
        (None, &[][..]),
        (Some("old"), &[]),
        // SIZE told the length of another file.
        (None, &[("SIZE g", 550)]),
        (Some("old"), &[("SIZE g", 550)]),
        // The session was told something else.
        (None, &[("MLST f", 550)]),
        (None, &[("MDTM f", 550)]),
        (None, &[("SIZE f", 213), ("MLST f", 550)]),
        (Some("old"), &[("MLST f", 250)]),
        (Some("old"), &[("RETR f", 226)]),
        // An earlier login was told it.
        (None, &[("SIZE f", 213), ("REIN", 220), ("USER u", 331), ("PASS p", 230)]),
        // A client that compares what it has sent is warned once.
        (Some("old"), &[("SIZE f", 213), ("RETR f", 450), ("RETR f", 226)]),
    ] {
        let fixture = Fixture::new();
        if let Some(old) = old {
            fixture.write("f", old);
        }
        cut(&fixture, "f", b"half of yester");
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        for (line, code) in before {
            match (*line, *code) {
                ("RETR f", 226) => assert_eq!(session.download("RETR f"), b"old"),
                ("RETR f", code) => {
                    session.expect("PASV", 227);
                    session.expect("RETR f", code);
                }
                (line, code) => drop(session.expect(line, code)),
            }
        }
        let _data = session.passive();
        session.expect("APPE f", 450);
        let found = std::fs::read(fixture.path("f")).ok();
        assert_eq!(found.as_deref(), old.map(str::as_bytes), "{before:?}");
        // STOR from byte 0 always works.
        session.upload("STOR f", b"today");
        assert_eq!((fixture.read("f"), fixture.names()), (b"today".into(), vec!["f".to_owned()]));
    }
}

#[test]
fn a_client_that_asks_for_the_time_after_the_size_can_resume_by_appe_fs_15() {
    for (line, code) in [("MDTM f", 550), ("NOOP", 200)] {
        let fixture = Fixture::new();
        cut(&fixture, "f", b"half");
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("SIZE f", 213), (line, code)]);
        session.upload("APPE f", b"f of it");
        assert_eq!(fixture.read("f"), b"half of it");
    }
}

#[test]
fn an_interrupted_upload_is_not_resumed_onto_another_file_fs_15() {
    for before in [&[][..], &[("REST 6", 350)]] {
        let fixture = Fixture::new();
        cut(&fixture, "f", b"half of");
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("SIZE f", 213)]);
        // Another session was faster.
        fixture.write("f", "another file");
        session.expect("PASV", 227);
        play(&mut session, before);
        session.expect(if before.is_empty() { "APPE f" } else { "STOR f" }, 450);
        assert_eq!(fixture.read("f"), b"another file");
        // That file counts once the client knows its length.
        assert_eq!(session.expect("SIZE f", 213).text(), "213 12");
        session.expect("REST 8", 350);
        session.upload("STOR f", b"house");
        assert_eq!(fixture.read("f"), b"another house");
    }
}

#[test]
fn an_interrupted_upload_is_not_resumed_onto_the_file_it_replaces_fs_13_fs_15() {
    let fixture = Fixture::new();
    for (resumes, want) in [
        (&["SIZE f", "REST 10", "STOR f"][..], Some(b"new contenrest")),
        (&["REST 10", "STOR f"], Some(b"new contenrest")),
        (&["SIZE f", "REST 10", "APPE f"], Some(b"new contenrest")),
        (&["SIZE f", "APPE f"], Some(b"new contenrest")),
        (&["REST 12", "STOR f"], None),
        (&["APPE f"], None),
    ] {
        fixture.write("f", "old");
        cut(&fixture, "f", b"new content");
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        let (last, before) = resumes.split_last().expect("a command");
        for line in before {
            assert!([213, 350].contains(&session.ask(line).code), "{line}");
        }
        match want {
            Some(want) => {
                session.upload(last, b"rest");
                assert_eq!(fixture.read("f"), want, "{resumes:?}");
            }
            None => {
                let _data = session.passive();
                let code = if resumes.len() == 1 { 450 } else { 554 };
                session.expect(last, code);
                assert_eq!(fixture.read("f"), b"old", "{resumes:?}");
                session.expect("DELE f", 250);
            }
        }
        assert!(fixture.names().len() <= 1, "{:?}", fixture.names());
    }
    // Others have not begun an upload that they could resume.
    fixture.write("f", "old");
    cut(&fixture, "f", b"new content");
    let mut other = RawSession::login(fixture.server.local_addr(), "fxp", "p");
    other.expect("TYPE I", 200);
    assert_eq!(other.expect("SIZE f", 213).text(), "213 3");
    other.expect("REST 3", 350);
    other.upload("STOR f", b"er");
    assert_eq!(fixture.read("f"), b"older");
    // What they have stored is no beginning of the interrupted upload, and not all of it is theirs.
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.expect("SIZE f", 554);
    session.upload("STOR f", b"whole");
    assert_eq!(session.expect("SIZE f", 213).text(), "213 5");
}

#[test]
fn the_hour_after_which_a_logger_may_append_is_not_that_of_a_clock_fs_15_cm_106() {
    let fixture = Fixture::new();
    fixture.write("f", "old\n");
    // One byte cannot be resumed.
    cut(&fixture, "f", b"n");
    let append = |question: &str| {
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        session.ask(question);
        let data = session.passive();
        let code = session.ask("APPE f").code;
        if code == 150 {
            data.close();
            session.expect_reply(226);
        }
        code
    };
    assert_eq!((append("NOOP"), append("SIZE f")), (450, 450));
    // As if the clock had been set forward by an hour.
    let record = fixture.names().into_iter().find(|name| name.starts_with(super::RECORD));
    let record = fixture.path(&record.expect("a record"));
    let text = std::fs::read_to_string(&record).expect("a record");
    let line = text.lines().find(|line| line.starts_with("left ")).expect("a line");
    let numbers: Vec<i64> =
        line.split(' ').skip(1).map(|number| number.parse().expect("a number")).collect();
    let older = format!("left {} {} {}", numbers[0], numbers[1] - 3_600, numbers[2] - 3_600);
    std::fs::write(&record, text.replace(line, &older)).expect("a file");
    for question in ["SIZE f", "MLST f", "STAT f", "STAT *"] {
        assert_eq!(append(question), 450, "a client that resumes asks for the size: {question}");
    }
    assert_eq!(append("NOOP"), 450, "the hour has not passed");
    // The record stays.
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("SIZE f", 554), ("REST 4", 350), ("PASV", 227)]);
    play(&mut session, &[("REST 4", 350), ("STOR f", 554)]);
    assert_eq!(fixture.read("f"), b"old\n");
}

#[test]
fn size_is_450_while_an_upload_of_the_user_runs_fs_13_fs_15_cm_121() {
    for old in [None, Some("old")] {
        let fixture = Fixture::new();
        if let Some(old) = old {
            fixture.write("f", old);
        }
        let mut first = fixture.session();
        first.expect("TYPE I", 200);
        let mut data = first.passive();
        first.expect("STOR f", 150);
        data.write_all(b"new content");
        wait_until("the bytes are read", || moved(&mut first) == 11);
        let mut second = fixture.session();
        play(&mut second, &[("TYPE I", 200), ("SIZE f", 450), ("REST 3", 350), ("PASV", 227)]);
        play(&mut second, &[("STOR f", 450), ("PASV", 227), ("APPE f", 450)]);
        let mut other = RawSession::login(fixture.server.local_addr(), "fxp", "p");
        play(&mut other, &[("TYPE I", 200), ("SIZE f", if old.is_some() { 213 } else { 550 })]);
        // What a session has read before the cut tells nothing about the upload.
        if old.is_some() {
            assert_eq!(second.download("RETR f"), b"old");
            second.expect("SIZE f", 450);
        }
        // ABOR cuts the upload as a lost connection does.
        first.expect("ABOR", 426);
        first.expect_reply(226);
        let mut third = fixture.session();
        third.expect("TYPE I", 200);
        // The old file was read before the cut, which is no sign that its user has seen the cut.
        assert_eq!(third.expect("SIZE f", 213).text(), "213 10");
        drop(data);
        // The second try stores the file while the first one, which is cut later, still runs.
        let mut data = first.passive();
        first.expect("STOR f", 150);
        data.write_all(b"new");
        wait_until("the bytes are read", || moved(&mut first) == 3);
        third.expect("SIZE f", 450);
        third.upload("STOR f", b"newer");
        assert_eq!(third.expect("SIZE f", 213).text(), "213 5");
        data.reset();
        first.expect_reply(426);
        // The bytes of the first one do not follow those of the second.
        assert_eq!(first.expect("SIZE f", 213).text(), "213 5");
        assert_eq!((fixture.read("f"), fixture.names()), (b"newer".into(), vec!["f".to_owned()]));
    }
}

#[test]
fn a_restarted_server_knows_which_files_uploads_replace_fs_13_fs_15() {
    let fixture = Fixture::new();
    fixture.write("f", "old");
    cut(&fixture, "f", b"new content");
    let Fixture { root, server } = fixture;
    drop(server);
    let server = Server::builder().root(root.path()).config(quick()).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    play(&mut session, &[("TYPE I", 200), ("PASV", 227), ("APPE f", 450), ("SIZE g", 550)]);
    assert_eq!(session.expect("SIZE f", 213).text(), "213 10");
    session.expect("REST 10", 350);
    session.upload("STOR f", b"t of it");
    assert_eq!(std::fs::read(root.path().join("f")).expect("it is there"), b"new content of it");
}

#[test]
fn a_new_file_under_the_replaced_name_can_be_resumed_fs_15() {
    let fixture = Fixture::new();
    for (name, change) in
        [("f", &[("DELE f", 250)][..]), ("g", &[("RNFR g", 350), ("RNTO f", 250)])]
    {
        fixture.write("f", "old");
        cut(&fixture, "f", b"new content");
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("PASV", 227), ("APPE f", 450)]);
        fixture.write(name, "old");
        play(&mut session, change);
        fixture.write("f", "other");
        session.expect("REST 5", 350);
        session.upload("STOR f", b" file");
        assert_eq!(fixture.read("f"), b"other file");
    }
}

#[test]
fn restarting_an_upload_removes_its_partial_file_fs_15_hp_23() {
    let fixture = Fixture::new();
    let storage = LocalStorage::open(fixture.root.path()).expect("a storage");
    let limited = LocalConfig::new().quota(10_000);
    let storage = storage.configured(limited).expect("a storage");
    let server = Server::builder().config(quick()).storage(storage).user("u", "p", Rights::FULL);
    let fixture = Fixture { server: server.bind("127.0.0.1:0").expect("a server"), ..fixture };
    cut(&fixture, "f", &[b'c'; 7_000]);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.upload("STOR f", &[b'n'; 8_000]);
    assert_eq!((fixture.read("f").len(), fixture.names()), (8_000, vec!["f".to_owned()]));
    // The partial upload is removed when the new upload begins, not when it ends.
    session.expect("DELE f", 250);
    cut(&fixture, "f", &[b'c'; 7_000]);
    let data = session.passive();
    session.expect("STOR f", 150);
    wait_until("the partial uploads are as expected", || {
        let mut hidden = fixture.names().into_iter().filter(|name| has_bytes(name));
        hidden.all(|name| fixture.read(&name).is_empty())
    });
    data.close();
    session.expect_reply(226);
}

#[test]
fn the_oldest_partial_files_are_removed_to_free_space_fs_15_cm_105_cm_106() {
    const KEEP: u64 = 1 << 20;
    let config = quick_with(|config| config.limits.min_free = KEEP);
    let fixture = Fixture::configured(config);
    let Some(mount) = Mount::over(&fixture, "size=4m") else { return };
    for name in ["a", "b", "c"] {
        cut(&fixture, &format!("full/{name}"), &vec![b'c'; 900_000]);
    }
    let kept = |name: &str| {
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        session.ask(format!("SIZE full/{name}")).code == 213
    };
    assert!(["a", "b", "c"].into_iter().all(kept));
    // There is room for one more after the oldest is removed.
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.upload("STOR full/whole", &vec![b'n'; 900_000]);
    assert_eq!(["a", "b", "c"].map(kept), [false, true, true]);
    // Also if an upload could not even begin, and for a directory.
    let others = usize::try_from(free(&mount) - KEEP + 4_096).expect("a length");
    std::fs::write(fixture.path("full/others"), vec![b'o'; others]).expect("a file");
    session.expect("MKD full/d", 257);
    assert_eq!(["b", "c"].map(kept), [false, true]);
    assert!(free(&mount) >= KEEP);
}

#[test]
fn a_partial_file_is_not_removed_while_it_is_resumed_fs_15_cm_106() {
    const KEEP: u64 = 1 << 20;
    let config = quick_with(|config| config.limits.min_free = KEEP);
    let fixture = Fixture::configured(config);
    let Some(mount) = Mount::over(&fixture, "size=4m") else { return };
    cut(&fixture, "full/older", &vec![b'o'; 300_000]);
    cut(&fixture, "full/f", &vec![b'c'; 900_000]);
    cut(&fixture, "full/newer", &vec![b'n'; 300_000]);
    // Other files take the space, except for what the other two partial uploads hold.
    let others = usize::try_from(free(&mount) - KEEP + 400_000).expect("a length");
    std::fs::write(fixture.path("full/others"), vec![b'o'; others]).expect("a file");
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("SIZE full/f", 213), ("REST 899999", 350)]);
    session.upload("STOR full/f", b"ce");
    assert_eq!(fixture.read("full/f").len(), 900_001);
    let (records, files): (Vec<_>, Vec<_>) =
        names_in(&fixture.path("full")).into_iter().partition(|name| name.starts_with(HIDDEN));
    assert_eq!((records.len(), files), (2, vec!["f".to_owned(), "others".to_owned()]));
    assert!(!records.iter().any(|name| has_bytes(name)));
}

#[test]
fn min_free_reserves_inodes_too_cm_86_cm_105() {
    // 16 objects take 64 KiB at least. 1 MiB is more than all 64 take: a quarter of them stays
    // free.
    for min_free in [64 << 10, 1 << 20] {
        let config = quick_with(|config| config.limits.min_free = min_free);
        let fixture = Fixture::configured(config);
        let Some(_mount) = Mount::over(&fixture, "size=8m,nr_inodes=64") else { return };
        assert_a_quarter_of_64_inodes_is_reserved(&fixture);
    }
}

fn assert_a_quarter_of_64_inodes_is_reserved(fixture: &Fixture) {
    // The root is one of them.
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let made = (0..64).take_while(|number| session.ask(format!("MKD full/{number}")).code == 257);
    assert_eq!(made.count(), 64 - 16);
    play(&mut session, &[("MKD full/more", 452), ("MKD full/1", 550), ("PASV", 227)]);
    session.expect("STOR full/file", 452);
    assert_eq!(names_in(&fixture.path("full")).len(), 64 - 16);
    // There is enough space for bytes.
    play(&mut session, &[("RMD full/1", 250), ("RMD full/2", 250), ("ALLO 3000000", 200)]);
    session.upload("STOR full/file", &[b'x'; 100_000]);
}

#[test]
fn size_excludes_the_bytes_of_a_running_append_fs_16_cm_121() {
    let fixture = Fixture::new();
    fixture.write("f", "old");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("APPE f", 150);
    data.write_all(&IN_PLACE);
    wait_until("the bytes are read", || moved(&mut session) == IN_PLACE.len() as u64);
    let length = 3 + IN_PLACE.len();
    assert_eq!(fixture.read("f").len(), length);
    let mut other = fixture.session();
    other.expect("TYPE I", 200);
    assert_eq!(other.expect("SIZE f", 213).text(), "213 3");
    for command in ["MLST f", "STAT ."] {
        let told = String::from_utf8_lossy(&other.ask(command).bytes).into_owned();
        assert!(told.contains("ize=3;") || told.contains(" 3 "), "{told}");
    }
    // A download does not get it either, from the beginning or from the reported offset.
    assert_eq!(other.download("RETR f"), b"old");
    other.expect("REST 1", 350);
    assert_eq!(other.download("RETR f"), b"ld");
    for (offset, code) in [(4, 554), (3, 450)] {
        other.expect("PASV", 227);
        other.expect(format!("REST {offset}"), 350);
        other.expect("STOR f", code);
    }
    play(&mut other, &[("TYPE A", 200)]);
    assert_eq!(other.download("RETR f"), b"old");
    play(&mut other, &[("TYPE I", 200)]);
    data.close();
    session.expect_reply(226);
    assert_eq!(other.expect("SIZE f", 213).text(), format!("213 {length}"));
    assert_eq!(other.download("RETR f").len(), length);
}

#[test]
fn an_upload_that_was_refused_before_its_data_leaves_the_file_as_it_was_fs_15_cm_121() {
    let mut config = quick();
    config.timeouts.data_connect = Duration::from_secs(1);
    let fixture = Fixture::configured(config);
    fixture.write("f", "old file");
    let mut session = fixture.session();
    let closed = session.active_without_listening();
    let port = closed.announcement("PORT");
    play(&mut session, &[("TYPE I", 200)]);
    session.expect("STOR f", 150);
    session.expect_reply(425);
    assert_eq!(session.expect("SIZE f", 213).bytes, b"213 8\r\n");
    assert_eq!(fixture.names(), ["f"]);
    session.upload("APPE f", b" and more");
    assert_eq!(session.download("RETR f"), b"old file and more");
    // Another program may have taken the data connection, and the client may have sent something.
    play(&mut session, &[("EPSV", 229)]);
    session.expect("STOR f", 150);
    session.expect_reply(425);
    let resumes = [("TYPE I", 200), ("SIZE f", 554), ("EPSV", 229), ("APPE f", 450)];
    play(&mut fixture.session(), &resumes);
    // A refused upload does not end the doubt that an earlier one left.
    play(&mut session, &[(&port, 200)]);
    session.expect("STOR f", 150);
    session.expect_reply(425);
    play(&mut fixture.session(), &resumes);
}
