//! Changes at one path take turns: what the other server still does for one of them must not come
//! after another that was confirmed.

use std::io::{copy, sink};
use std::net::IpAddr;

use super::*;

/// Two cameras with one name would mix their pictures.
#[test]
fn two_uploads_in_place_take_turns() {
    let other = OurServer::start();
    let front = Front::of(other.address, (other.user, other.password), "in_place = true\n");
    let (mut one, mut two) = (front.client(), front.client());
    let mut upload = one.store("/é").unwrap();
    upload.write_all(b"one").unwrap();
    for name in ["/é", "/É", "/e\u{301}"] {
        assert_eq!(two.store(name).unwrap_err().kind(), ErrorKind::Temporary);
    }
    upload.finish().unwrap();
    // In a character set of Windows, these are one letter in two cases.
    let mut upload = one.store(b"/\xe9").unwrap();
    assert_eq!(two.store(b"/\xc9").unwrap_err().kind(), ErrorKind::Temporary);
    upload.write_all(b"one").unwrap();
    upload.finish().unwrap();
    // Of equal size, and within a second, it would not be proved.
    two.store("/é").unwrap().copy_from(&mut &b"second"[..]).unwrap();
    assert_eq!(other.root.read("é"), b"second");
}

/// Another client could store the file between the look and the turn.
#[test]
fn an_upload_in_place_looks_in_its_turn() {
    let recorder = Recorder::new();
    let (_other, mut door) = door_over(MemoryStorage::new(), &recorder);
    Arc::get_mut(&mut door.target).unwrap().in_place = true;
    let storage = Gateway::new(door.upstream(&door.login.clone().unwrap()), "");
    let write = || storage.write(&"/a".into(), WriteMode::Create, Keep::Shared);
    let upload = write().unwrap();
    let looks = || recorder.commands().iter().filter(|command| command.contains("/a")).count();
    let looked = looks();
    assert_eq!(write().err().map(|error| error.kind), Some(Kind::Busy));
    assert_eq!(looks(), looked, "{:?}", recorder.commands());
    upload.commit().unwrap();
    assert_eq!(write().err().map(|error| error.kind), Some(Kind::Exists));
}

#[test]
fn a_stalled_download_that_was_given_up_frees_its_connection() {
    let address = old_server(|data, control| {
        control.write_all(b"150 here\r\n").unwrap();
        let _silent = data.accept().unwrap();
        let _ = copy(control, &mut sink());
    });
    let mut timeouts = Timeouts::default();
    timeouts.stall = Duration::from_secs(3600);
    let mut door = door(address, ("u", "p"), timeouts);
    Arc::get_mut(&mut door.target).unwrap().connections = 1;
    let upstream = door.upstream(&door.login.clone().unwrap());
    let mut source = Gateway::new(Arc::clone(&upstream), "").read(&"/a".into()).unwrap();
    assert!(!source.ready().unwrap());
    drop(source);
    wait_until("the connection is free", || upstream.lend().is_ok());
}

/// Another session can have the connection, and wait for the turn.
#[test]
fn an_upload_in_place_has_a_connection_before_its_turn() {
    let address = old_server(|_, _| ());
    let mut door = door(address, ("u", "p"), Timeouts::default());
    let target = Arc::get_mut(&mut door.target).unwrap();
    (target.in_place, target.connections) = (true, 1);
    let upstream = door.upstream(&door.login.clone().unwrap());
    let storage = Gateway::new(Arc::clone(&upstream), "");
    let connection = upstream.lend().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| storage.write(&"/a".into(), WriteMode::Create, Keep::Shared).err());
        thread::sleep(Duration::from_millis(300));
        Turn::begin(&upstream, &[(b"/a", false)]).unwrap();
        drop(connection);
    });
}

/// A client that gives up and stores a newer file must not lose it to its older command.
#[test]
fn a_change_that_was_given_up_before_it_was_sent_is_not_made() {
    for (command, at) in
        [("STOR /c", "/c"), ("APPE /a", "/a"), ("DELE /a", "/a"), ("RNTO /a", "/a")]
    {
        let files = MemoryStorage::new();
        files.put("/a", "old").unwrap();
        files.put("/b", "moved").unwrap();
        let gate = Gate::default();
        let other = Gated(files.clone(), gate.clone());
        let other = Server::builder().storage(other).user("u", "p", Rights::FULL);
        let other = other.bind("127.0.0.1:0").unwrap();
        let front = Front::of(other.local_addr(), ("u", "p"), "");
        let mut session = RawSession::login(front.address, "u", "p");
        session.expect("TYPE I", 200);
        if ["STOR", "APPE"].contains(&&command[..4]) {
            let mut data = session.passive();
            session.expect(command, 150);
            gate.shut();
            data.write_all(b"abandoned");
            drop(data);
        } else {
            if command.starts_with("RNTO") {
                session.expect("RNFR /b", 350);
            }
            gate.shut();
            session.send(format!("{command}\r\n"));
        }
        gate.wait_for_a_visitor();
        session.expect("ABOR", 426);
        session.expect_reply(226);
        // In the meantime.
        files.put(at, "newer").unwrap();
        gate.open();
        // This question waits for what the gateway still does.
        session.expect("SIZE /b", 213);
        assert_eq!(files.get(at).as_deref(), Some(&b"newer"[..]), "{command}");
    }
}

/// A storage whose questions wait while its gate is shut.
struct Gated(MemoryStorage, Gate);

#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(bool, usize)>, std::sync::Condvar)>);

impl Gate {
    fn shut(&self) {
        lock(&self.0.0).0 = true;
    }

    fn open(&self) {
        lock(&self.0.0).0 = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut state = lock(&self.0.0);
        state.1 += usize::from(state.0);
        self.0.1.notify_all();
        let limit = Duration::from_secs(30);
        drop(self.0.1.wait_timeout_while(state, limit, |state| state.0).unwrap());
    }

    fn wait_for_a_visitor(&self) {
        let limit = Duration::from_secs(30);
        let visited =
            self.0.1.wait_timeout_while(lock(&self.0.0), limit, |state| state.1 == 0).unwrap();
        assert!(!visited.1.timed_out(), "no question came");
    }
}

impl Storage for Gated {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, list, read, write, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, rename, set, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<ftp_server::Metadata> {
        self.1.pass();
        self.0.stat(path, ask)
    }
}

/// A storage whose renames wait while its gate is shut.
struct SlowRename(MemoryStorage, Gate);

impl Storage for SlowRename {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished);
    ftp_server::forward_storage!(self, self.0; kept, forget, remove, rmdir, mkdir, set, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.1.pass();
        self.0.rename(from, to, replace)
    }
}

/// Servers over an object store copy the old file and then delete it: what another client stores there
/// meanwhile would go with it.
#[test]
fn a_rename_keeps_others_from_both_names() {
    let files = MemoryStorage::new();
    files.put("/f", "old").unwrap();
    let gate = Gate::default();
    let other = SlowRename(files.clone(), gate.clone());
    let (_other, door) = door_over(other, &Recorder::new());
    let storage = door.storage("", None).unwrap();
    let upstream = door.upstream(&(b"u".to_vec(), b"p".to_vec()));
    gate.shut();
    thread::scope(|scope| {
        let renamed = scope.spawn(|| storage.rename(&"/f".into(), &"/g".into(), true));
        gate.wait_for_a_visitor();
        for path in [b"/f".as_slice(), b"/g"] {
            assert!(Turn::begin(&upstream, &[(path, false)]).is_err());
        }
        gate.open();
        renamed.join().unwrap().unwrap();
    });
    for path in [b"/f".as_slice(), b"/g"] {
        Turn::begin(&upstream, &[(path, false)]).unwrap();
    }
    assert_eq!(files.get("/g").as_deref(), Some(&b"old"[..]));
}

/// A user who may not overwrite must not replace what was confirmed a moment before.
#[test]
fn a_rename_looks_at_the_new_name_in_its_turn() {
    let files = MemoryStorage::new();
    files.put("/f", "old").unwrap();
    let recorder = Recorder::new();
    let (_other, mut door) = door_over(files.clone(), &recorder);
    Arc::get_mut(&mut door.target).unwrap().turn = Duration::from_secs(60);
    let storage = door.storage("", None).unwrap();
    let upstream = door.upstream(&(b"u".to_vec(), b"p".to_vec()));
    thread::scope(|scope| {
        let turn = Turn::begin(&upstream, &[(b"/g", false)]).unwrap();
        let renamed = scope.spawn(|| storage.rename(&"/f".into(), &"/g".into(), false));
        wait_until("it has looked at the old name", || {
            recorder.commands().iter().any(|command| command == "MLST /f")
        });
        files.put("/g", "confirmed").unwrap();
        drop(turn);
        assert_eq!(renamed.join().unwrap().unwrap_err().kind, Kind::Exists);
    });
    assert_eq!(files.get("/g").as_deref(), Some(&b"confirmed"[..]));
}

/// A storage that removes a directory with all that is in it.
struct Recursive(MemoryStorage);

impl Storage for Recursive {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished);
    ftp_server::forward_storage!(self, self.0; kept, forget, remove, mkdir, rename, set, space);

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        for found in self.0.list(path, Ask::Names)? {
            self.0.remove(&path.join(&found?.name))?;
        }
        self.0.rmdir(path)
    }
}

/// An upload that is confirmed while the removal waits must not go with the directory.
#[test]
fn a_removal_looks_into_the_directory_in_its_turn() {
    let files = MemoryStorage::new();
    files.put("/d/f", "old").unwrap();
    files.remove(&"/d/f".into()).unwrap();
    let recorder = Recorder::new();
    let (_other, mut door) = door_over(Recursive(files.clone()), &recorder);
    Arc::get_mut(&mut door.target).unwrap().turn = Duration::from_secs(60);
    let storage = door.storage("", None).unwrap();
    let upstream = door.upstream(&(b"u".to_vec(), b"p".to_vec()));
    thread::scope(|scope| {
        let turn = Turn::begin(&upstream, &[(b"/d/f", false)]).unwrap();
        let removed = scope.spawn(|| storage.rmdir(&"/d".into()));
        wait_until("it has looked at the directory", || {
            recorder.commands().iter().any(|command| command == "MLST /d")
        });
        // Time for what it does before its turn.
        thread::sleep(Duration::from_millis(300));
        files.put("/d/f", "confirmed").unwrap();
        drop(turn);
        assert_eq!(removed.join().unwrap().unwrap_err().kind, Kind::NotEmpty);
    });
    assert_eq!(files.get("/d/f").as_deref(), Some(&b"confirmed"[..]));
}

/// Until it has answered, it still writes what it has received.
#[test]
fn the_turn_of_a_cut_upload_lasts_until_the_other_server_has_answered() {
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let channels = Mutex::new((begun, ended));
    let address = old_server(move |data, control| {
        control.write_all(b"150 ok\r\n").unwrap();
        let (mut data, _) = data.accept().unwrap();
        let channels = lock(&channels);
        channels.0.send(()).unwrap();
        // Its disk is slow.
        let _ = channels.1.recv();
        let _ = copy(&mut data, &mut sink());
        let _ = control.write_all(b"426 cut\r\n");
    });
    let mut door = door(address, ("u", "p"), Timeouts::default());
    Arc::get_mut(&mut door.target).unwrap().in_place = true;
    let storage = door.storage("", None).unwrap();
    let upstream = door.upstream(&door.login.clone().unwrap());
    let mut upload = storage.write(&"/a".into(), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(b"a").unwrap();
    has_begun.recv().unwrap();
    drop(upload);
    for _ in 0..20 {
        assert!(Turn::begin(&upstream, &[(b"/a", false)]).is_err());
    }
    drop(end);
    wait_until("its turn is over", || Turn::begin(&upstream, &[(b"/a", false)]).is_ok());
}

/// The other server may still write what it has received.
#[test]
fn a_cut_upload_whose_end_gets_no_answer_keeps_its_turn() {
    let address = old_server(move |data, control| {
        control.write_all(b"150 ok\r\n").unwrap();
        let (mut data, _) = data.accept().unwrap();
        let _ = copy(&mut data, &mut sink());
        control.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let mut door = door(address, ("u", "p"), Timeouts::default());
    Arc::get_mut(&mut door.target).unwrap().in_place = true;
    let storage = door.storage("", None).unwrap();
    let upstream = door.upstream(&door.login.clone().unwrap());
    let mut upload = storage.write(&"/a".into(), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(b"a").unwrap();
    drop(upload);
    wait_until("the abort has failed", || Turn::is_late(upstream.target.turns));
    assert!(Turn::begin(&upstream, &[(b"/a", false)]).is_err());
}

/// One connection, whose client has nothing to send, must not keep a file from others.
#[test]
fn an_append_has_no_turn_before_its_end() {
    let files = MemoryStorage::new();
    files.put("/log", "old").unwrap();
    let (_other, door) = door_over(files.clone(), &Recorder::new());
    let storage = door.storage("", None).unwrap();
    let mut upload = storage.write(&"/log".into(), WriteMode::Append, Keep::Shared).unwrap();
    upload.write_all(&[b'a'; 100_000]).unwrap();
    storage.remove(&"/log".into()).unwrap();
    upload.commit().unwrap();
    assert_eq!(files.get("/log").as_deref(), Some(&[b'a'; 100_000][..]));
}

/// Each takes both names at once.
#[test]
fn renames_in_both_directions_do_not_wait_for_each_other() {
    let address = old_server(|_, _| ());
    let door = door(address, ("u", "p"), Timeouts::default());
    let upstream = door.upstream(&door.login.clone().unwrap());
    let [one, other] =
        [[(b"/a".as_slice(), true), (b"/a-b", false)], [(b"/a-b", false), (b"/a/x", false)]];
    let turn = Turn::begin(&upstream, &one).unwrap();
    assert!(Turn::begin(&upstream, &other).is_err());
    drop(turn);
    Turn::begin(&upstream, &other).unwrap();
}

#[test]
fn a_lost_answer_keeps_a_path_from_its_own_login_only() {
    let address = old_server(|_, _| ());
    let mut door = door(address, ("u", "p"), Timeouts::default());
    Arc::get_mut(&mut door.target).unwrap().personal = true;
    let [one, other] = ["u", "v"].map(|user| door.upstream(&(user.into(), "p".into())));
    let turn = Turn::begin(&one, &[(b"/a", false)]).unwrap();
    // Both can see one tree.
    assert!([&one, &other].iter().all(|it| Turn::begin(it, &[(b"/a", false)]).is_err()));
    let lost = ftp_client::Error::Closed;
    turn.settle::<()>(Err(lost)).unwrap_err();
    drop(turn);
    assert!(Turn::begin(&one, &[(b"/a", false)]).is_err());
    Turn::begin(&other, &[(b"/a", false)]).unwrap();
}

/// A reload makes other stores, and one server can have two names, ports and users.
#[test]
fn two_stores_of_one_server_take_turns() {
    let address = old_server(|_, _| ());
    let mut doors = [(); 3].map(|()| door(address, ("u", "p"), Timeouts::default()));
    let turns = doors[0].target.turns;
    for (door, url) in doors.iter_mut().zip([
        format!("ftp://{address}/%2Fhome/u"),
        format!("ftp://localhost:{}/%2FHome/u", address.port()),
        format!("ftp://v@{address}/%2Fhome/u"),
    ]) {
        let target = Arc::get_mut(&mut door.target).unwrap();
        (target.turns, target.url) = (turns, url.parse().unwrap());
    }
    // Each has told its directory.
    let all = doors.each_ref().map(|door| {
        let upstream = door.upstream(&door.login.clone().unwrap());
        drop(upstream.lend().unwrap());
        upstream
    });
    for one in &all {
        for (path, is_tree) in [(&b"/a"[..], false), (b"/a", true), (b"/b/c", false)] {
            let turn = Turn::begin(one, &[(path, is_tree)]).unwrap();
            for other in &all {
                assert!(Turn::begin(other, &[(path, false)]).is_err());
                assert_eq!(Turn::begin(other, &[(b"/a/x", false)]).is_err(), is_tree);
                assert!(Turn::begin(other, &[(b"/b", true)]).is_err() || path == b"/a");
                Turn::begin(other, &[(b"/aa", true)]).unwrap();
            }
            drop(turn);
        }
    }
}

/// The name of a server can lead to several addresses, and an address can have several names.
#[test]
fn a_server_with_several_addresses_or_names_has_one_turn() {
    let turns: &Turns = Box::leak(Box::default());
    let all = [
        ("nas", Some("10.0.0.1")),
        ("NAS", Some("fd00::1")),
        ("10.0.0.1", Some("10.0.0.1")),
        ("elsewhere", None),
        ("elsewhere", Some("10.0.0.2")),
    ]
    .map(|(host, address)| {
        let mut door = door("127.0.0.1:1".parse().unwrap(), ("u", "p"), Timeouts::default());
        let target = Arc::get_mut(&mut door.target).unwrap();
        target.url = FtpUrl::parse(format!("ftp://{host}/").as_bytes()).unwrap();
        target.turns = turns;
        if let Some(address) = address {
            target.peer = OnceLock::from(address.parse::<IpAddr>().unwrap());
        }
        door.upstream(&door.login.clone().unwrap())
    });
    let _turn = Turn::begin(&all[0], &[(b"/a", false)]).unwrap();
    let are_kept = all.each_ref().map(|it| Turn::begin(it, &[(b"/a", false)]).is_err());
    assert_eq!(are_kept, [true, true, true, true, false]);
}

/// Some servers remove a directory with all that is in it.
#[test]
fn a_directory_that_is_being_removed_gets_no_files() {
    let address = old_server(|_, _| ());
    let door = door(address, ("u", "p"), Timeouts::default());
    let upstream = door.upstream(&door.login.clone().unwrap());
    for (first, second) in [((b"/d".as_slice(), true), (b"/d/f".as_slice(), false))] {
        for [one, other] in [[first, second], [second, first]] {
            let _turn = Turn::begin(&upstream, &[one]).unwrap();
            assert!(Turn::begin(&upstream, &[other]).is_err());
            Turn::begin(&upstream, &[(b"/dd", false)]).unwrap();
        }
    }
}

/// The other server may make it later.
#[test]
fn a_change_whose_answer_is_lost_keeps_its_turn() {
    patiently(Duration::from_millis(100), |limit| {
        let files = MemoryStorage::new();
        files.put("/a", "old").unwrap();
        let server = Server::builder().storage(files).user("u", "p", Rights::FULL);
        let server = server.fault(Verb::Dele, 1, ProtocolFault::Delay(50 * limit));
        let server = server.bind("127.0.0.1:0").unwrap();
        let timeouts = Timeouts::default().reply(limit);
        let door = door(server.local_addr(), ("u", "p"), timeouts);
        let storage = door.storage("", None).unwrap();
        assert_eq!(storage.remove(&"/a".into()).unwrap_err().kind, Kind::Unknown);
        let upstream = door.upstream(&door.login.clone().unwrap());
        assert!(Turn::begin(&upstream, &[(b"/a", false)]).is_err());
    });
}

/// A 421 can overtake what a slow disk still does.
#[test]
fn a_change_that_is_answered_by_421_keeps_its_turn() {
    let write = |storage: &dyn Storage, mode| {
        let mut upload = storage.write(&"/a".into(), mode, Keep::Shared)?;
        upload.write_all(b"new one")?;
        upload.commit()
    };
    for (verb, in_place) in [
        (Verb::Dele, false),
        (Verb::Rnto, false),
        (Verb::Appe, false),
        (Verb::Stor, true),
        (Verb::Mfmt, false),
    ] {
        let files = MemoryStorage::new();
        files.put("/a", "old").unwrap();
        let server = Server::builder().storage(files).user("u", "p", Rights::FULL);
        let server = server.fault(verb, 1, ProtocolFault::Close).bind("127.0.0.1:0").unwrap();
        let mut door = door(server.local_addr(), ("u", "p"), Timeouts::default());
        Arc::get_mut(&mut door.target).unwrap().in_place = in_place;
        let storage = door.storage("", None).unwrap();
        let done = match verb {
            Verb::Dele => storage.remove(&"/a".into()),
            Verb::Appe => write(&*storage, WriteMode::Append),
            Verb::Mfmt => storage.set(&"/a".into(), ftp_server::Change::Modified(5)).map(drop),
            _ => write(&*storage, WriteMode::Replace),
        };
        assert_eq!(done.map_err(|error| error.kind), Err(Kind::Unknown), "{verb:?}");
        let upstream = door.upstream(&door.login.clone().unwrap());
        assert!(Turn::begin(&upstream, &[(b"/a", false)]).is_err(), "{verb:?}");
    }
}

/// A connection that the other server has closed leaves no doubt: nothing was sent over it.
#[test]
fn a_change_after_a_long_pause_is_made_over_another_connection() {
    patiently(Duration::from_millis(200), |limit| {
        let files = MemoryStorage::new();
        files.put("/a", "old").unwrap();
        let config = ftp_server::ServerConfig::new();
        let config = config.timeouts(ftp_server::Timeouts::default().idle(limit));
        let other =
            Server::builder().config(config).storage(files.clone()).user("u", "p", Rights::FULL);
        let other = other.bind("127.0.0.1:0").unwrap();
        let door = door(other.local_addr(), ("u", "p"), Timeouts::default());
        let storage = door.storage("", None).unwrap();
        storage.stat(&"/a".into(), Ask::Facts).unwrap();
        wait_until("the other server has closed it", || other.sessions().is_empty());
        storage.remove(&"/a".into()).unwrap();
        assert!(files.files().is_empty());
    });
}
