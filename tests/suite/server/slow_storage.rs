//! Storages that wait for a slow store: the session answers its client and ends with the server.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_proto::Verb;
use ftp_server::testing::{Fault, FaultStorage, Record, Recorded, Recorder, StorageCall};
use ftp_server::{
    Capabilities, Event, EventKind, Keep, LocalStorage, Login, MemoryStorage, Observer, Rights,
    RoomFor, Server, Storage, StorageError, StorageErrorKind, StreamEnd, TransferEnd, Upload,
    UserTable, VirtualPath, WriteMode, forward_storage,
};
use ftp_tests::at_once::at_once;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::wait::{patiently, wait_until};

use super::CUT;

/// How long the storage waits itself each time that it is not ready.
const STEP: Duration = Duration::from_millis(50);

/// Starts a server over a tree in memory that has a file.
fn serve(storage: impl Storage + 'static) -> Server {
    serve_with(storage, 0)
}

fn serve_with(storage: impl Storage + 'static, min_free: u64) -> Server {
    let config = super::quick_with(|config| config.limits.min_free = min_free);
    let builder = Server::builder().config(config).storage(storage);
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server")
}

pub(super) fn memory() -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.put("/old", super::data::content(100_000)).expect("a file");
    storage
}

/// Never becomes ready again from the `nth` call on.
fn never(storage: impl Storage + 'static, call: StorageCall, nth: u64) -> FaultStorage {
    let storage = FaultStorage::new(storage).from(call, nth, Fault::Delay(STEP));
    storage.from(call, nth, Fault::NotYet)
}

/// Becomes ready again after two dozen calls from the second on.
fn late(storage: impl Storage + 'static, call: StorageCall) -> FaultStorage {
    (2..26).fold(FaultStorage::new(storage), |storage, nth| {
        storage.at(call, nth, Fault::Delay(STEP)).at(call, nth, Fault::NotYet)
    })
}

pub(super) fn session(server: &Server) -> RawSession {
    RawSession::login(server.local_addr(), "u", "p")
}

/// Asks for the status of a transfer, and aborts it. Returns the text of the 426.
pub(super) fn abort(session: &mut RawSession) -> String {
    let status = session.expect("STAT", 211).text();
    assert!(status.contains("Transfer in progress"), "{status}");
    let aborted = session.expect("ABOR", 426).text();
    session.expect_reply(226);
    session.expect_in_step();
    aborted
}

/// Waits until the server has forgotten the sessions whose clients are gone.
fn wait_for_the_last_session(server: &Server) {
    wait_until("one session is left", || server.sessions().len() == 1);
}

/// Begins an upload whose data has ended, and returns its connection.
pub(super) fn upload(session: &mut RawSession, command: &str) -> RawData {
    let mut data = session.passive();
    session.expect(command, 150);
    data.write_all(b"some\r\n");
    data
}

#[test]
fn uploads_can_be_aborted_while_the_storage_is_not_ready_dc_46_dc_47() {
    patiently(CUT, |_| {
        let storage = memory();
        let server = serve(never(storage.clone(), StorageCall::UploadReady, 2));
        for (kind, command) in [("I", "STOR f"), ("A", "STOR f"), ("I", "APPE g"), ("I", "STOU")] {
            // The first upload is asked once before the fault.
            let mut session = session(&server);
            session.expect(format!("TYPE {kind}"), 200);
            let _data = upload(&mut session, command);
            assert!(!abort(&mut session).contains("may have been stored"));
        }
        assert_eq!(storage.files(), ["/old".into()]);
        let mut session = session(&server);
        let _data = upload(&mut session, "STOR f");
        wait_for_the_last_session(&server);
        let report = server.shutdown(Duration::from_millis(100));
        assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
        session.expect_reply(426);
        session.expect_reply(421);
        assert_eq!(storage.files(), ["/old".into()]);
    });
}

#[test]
fn tls_uploads_can_be_aborted_while_the_storage_is_not_ready_dc_46() {
    use ftp_tests::tls::{Authority, Kind, TlsClient};

    let authority = Authority::new();
    let storage = never(memory(), StorageCall::UploadReady, 2);
    let server = Server::builder()
        .config(super::quick())
        .storage(storage)
        .tls(super::tls::tls_of(&authority.issue(Kind::Good)))
        .user("u", "p", Rights::FULL)
        .bind("127.0.0.1:0")
        .expect("a server");
    let client = TlsClient::trusting(&authority);
    let mut session = RawSession::secure(server.local_addr(), &client, "u", "p");
    let data = session.passive();
    session.expect("STOR f", 150);
    let mut data = data.tls(&client);
    data.write_all(b"some").expect("a connection");
    abort(&mut session);
}

/// A storage that bounds its own waits.
struct Bounded(FaultStorage);

impl Storage for Bounded {
    forward_storage!(self, self.0; confine, stat, list, read, write);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities() | Capabilities::BOUNDED_WAITS
    }
}

#[test]
fn a_slow_storage_does_not_count_as_a_client_stall_st_13() {
    let stall = Duration::from_millis(500);
    for call in [
        StorageCall::UploadReady,
        StorageCall::UploadPrepare,
        StorageCall::UploadPrepareCommit,
        StorageCall::SourceReady,
    ] {
        let storage = memory();
        let config = super::quick_with(|config| config.timeouts.stall = stall);
        let server = Server::builder()
            .config(config)
            .storage(Bounded(late(storage.clone(), call)))
            .user("u", "p", Rights::FULL)
            .bind("127.0.0.1:0")
            .expect("a server");
        let mut session = session(&server);
        session.expect("TYPE I", 200);
        let content = super::data::content(100_000);
        for name in ["f", "g"] {
            // Sent before the command, so that a busy machine does not let the upload stall.
            let mut data = session.passive();
            data.write_all(&content);
            data.close();
            session.expect(format!("STOR {name}"), 150);
            session.expect_reply(226);
            assert_eq!(storage.get(name).as_deref(), Some(&*content), "{call:?}");
        }
        for _ in 0..2 {
            assert_eq!(session.download("RETR old"), content, "{call:?}");
        }
        session.expect("TYPE A", 200);
        assert!(session.download("RETR old").len() >= content.len());
        session.expect("HASH old", 213);
    }
}

#[test]
fn a_storage_that_is_never_ready_ends_the_transfer_st_09() {
    for (call, nth, command) in [
        (StorageCall::UploadPrepare, 1, "STOR f"),
        (StorageCall::UploadPrepare, 2, "STOU"),
        (StorageCall::UploadReady, 1, "STOR f"),
        (StorageCall::UploadReady, 2, "APPE f"),
        (StorageCall::UploadPrepareCommit, 1, "STOR f"),
        (StorageCall::SourceReady, 1, "RETR old"),
        (StorageCall::SourceReady, 2, "RETR old"),
    ] {
        for kind in ["I", "A"] {
            let storage = memory();
            let recorder = Recorder::new();
            let config = super::quick_with(|config| {
                config.timeouts.stall = Duration::from_millis(300);
            });
            let server = Server::builder()
                .config(config)
                .storage(never(storage.clone(), call, nth))
                .user("u", "p", Rights::FULL)
                .recorder(&recorder)
                .bind("127.0.0.1:0")
                .expect("a server");
            let mut session = session(&server);
            session.expect(format!("TYPE {kind}"), 200);
            // The storage is asked once before the 150 of each upload.
            let last = if call == StorageCall::UploadPrepare { nth } else { 1 };
            let mut data = None;
            for round in 1..=last {
                let mut next = session.passive();
                if command != "RETR old" {
                    // Sent before the command, so that the client does not stall.
                    next.write_all(b"some\r\n");
                    next.close();
                } else {
                    data = Some(next);
                }
                session.send(format!("{command}\r\n"));
                let mut reply = session.reply();
                if reply.code == 150 {
                    reply = session.reply();
                }
                let want = if round == last { 451 } else { 226 };
                assert_eq!(reply.code, want, "{call:?} {command} {kind}: {reply:?}");
            }
            drop(data);
            session.expect_in_step();
            let is_stall = |record: &Record| {
                matches!(&record.what, Recorded::Transferred { end: TransferEnd::Stall, reply, .. }
                    if reply.is_some_and(|code| code.to_string() == "451"))
            };
            recorder.wait_for(Duration::from_secs(10), is_stall).expect("a stall");
            assert_eq!(storage.get("f"), None, "{call:?} {command} {kind}");
        }
    }
}

#[test]
fn an_abort_during_publication_says_the_file_may_be_stored_dc_46() {
    let steps = never(memory(), StorageCall::UploadPrepareCommit, 1);
    let call =
        FaultStorage::new(memory()).from(StorageCall::UploadCommit, 1, Fault::Delay(STALLED));
    for (storage, call, is_undecided) in
        [(steps, StorageCall::UploadPrepareCommit, false), (call, StorageCall::UploadCommit, true)]
    {
        an_abort_says_what_may_be_stored(&storage, call, is_undecided);
    }
}

fn an_abort_says_what_may_be_stored(storage: &FaultStorage, call: StorageCall, want: bool) {
    patiently(CUT, |_| {
        let server = serve(storage.clone());
        let publish = |session: &mut RawSession| {
            let before = storage.count(call);
            upload(session, "STOR f").close();
            // An abort before this point would prevent the publication.
            wait_until("the file is being published", || storage.count(call) > before);
        };
        let mut session = session(&server);
        publish(&mut session);
        assert_eq!(abort(&mut session).contains("may have been stored"), want);
        // The session's next call would wait for the one that does not return.
        let mut session = self::session(&server);
        publish(&mut session);
        let report = server.shutdown(Duration::from_millis(100));
        assert_eq!((report.cut, report.stuck), (1, 0));
        let cut = session.expect_reply(426).text();
        assert_eq!(cut.contains("may have been stored"), want, "{cut}");
        session.expect_reply(421);
    });
}

/// Pause of a session before it asks again.
const PAUSE: Duration = Duration::from_millis(2);

#[test]
fn a_storage_that_is_not_ready_is_polled_with_pauses() {
    let asked = 25;
    for (call, command) in [
        (StorageCall::UploadPrepare, "STOR f"),
        (StorageCall::UploadReady, "STOR f"),
        (StorageCall::UploadPrepareCommit, "STOR f"),
        (StorageCall::SourceReady, "RETR old"),
        (StorageCall::SourceReady, "HASH old"),
    ] {
        for kind in ["I", "A"] {
            let storage = FaultStorage::new(memory()).from(call, 1, Fault::NotYet);
            let server = serve(storage.clone());
            let mut session = session(&server);
            session.expect(format!("TYPE {kind}"), 200);
            let data = session.passive();
            let start = Instant::now();
            session.send(format!("{command}\r\n"));
            if matches!(call, StorageCall::UploadReady | StorageCall::UploadPrepareCommit) {
                data.close();
            }
            wait_until("the storage was asked", || storage.count(call) >= asked);
            let pauses = u32::try_from(asked - 1).expect("few");
            assert!(start.elapsed() >= PAUSE * pauses, "{call:?} {command} {kind}");
        }
    }
}

#[test]
fn errors_of_a_slow_storage_have_their_codes_cm_105() {
    use ftp_server::StorageErrorKind as Kind;
    for call in [StorageCall::UploadReady, StorageCall::UploadPrepareCommit] {
        for (kind, code) in [(Kind::NoSpace, 452), (Kind::OverQuota, 552), (Kind::Busy, 451)] {
            let storage = memory();
            let failing = FaultStorage::new(storage.clone()).from(call, 1, Fault::Fail(kind));
            let server = serve(failing);
            let mut session = session(&server);
            let data = session.passive();
            session.expect("STOR f", 150);
            data.close();
            session.expect_reply(code);
            session.expect_in_step();
            assert_eq!(storage.files(), ["/old".into()], "{call:?} {kind:?}");
        }
    }
    let broken = Fault::Fail(Kind::Io);
    let server = serve(FaultStorage::new(memory()).from(StorageCall::SourceReady, 1, broken));
    let mut session = session(&server);
    session.expect("TYPE I", 200);
    let data = session.passive();
    session.expect("RETR old", 150);
    assert_eq!(data.read_to_end(), b"");
    session.expect_reply(451);
    session.expect("HASH old", 451);
}

#[test]
fn downloads_can_be_aborted_while_the_storage_is_not_ready_dc_45() {
    patiently(CUT, |_| {
        let server = serve(never(memory(), StorageCall::SourceReady, 2));
        for kind in ["I", "A"] {
            let mut session = session(&server);
            session.expect(format!("TYPE {kind}"), 200);
            let _data = session.passive();
            session.expect("RETR old", 150);
            abort(&mut session);
        }
        let mut session = session(&server);
        session.send("HASH old\r\nABOR\r\n");
        session.expect_reply(426);
        session.expect_reply(226);
        let _data = session.passive();
        session.expect("RETR old", 150);
        wait_for_the_last_session(&server);
        let report = server.shutdown(Duration::from_millis(100));
        assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
        session.expect_reply(426);
        session.expect_reply(421);
    });
}

/// A command, with the call of the storage that does not return and the commands before it.
type Stall = (StorageCall, &'static [&'static str], &'static str);

const PASV: &[&str] = &["PASV"];

/// Every command that asks the storage, with each of its calls.
const STALLS: [Stall; 53] = [
    (StorageCall::Stat, &[], "SIZE old"),
    (StorageCall::Unfinished, &[], "SIZE new"),
    (StorageCall::Read, &["TYPE A"], "SIZE old"),
    (StorageCall::SourceRead, &["TYPE A"], "SIZE old"),
    (StorageCall::Stat, &[], "MDTM old"),
    (StorageCall::Stat, &[], "MLST old"),
    (StorageCall::Stat, &[], "RNFR old"),
    (StorageCall::Stat, &[], "STAT old"),
    (StorageCall::Stat, &[], "STAT /"),
    (StorageCall::List, &[], "STAT /"),
    (StorageCall::NextEntry, &[], "STAT /"),
    (StorageCall::Stat, &[], "CWD d"),
    (StorageCall::Stat, &[], "XCWD d"),
    (StorageCall::Stat, &[], "CDUP"),
    (StorageCall::Stat, PASV, "LIST old"),
    (StorageCall::List, PASV, "LIST"),
    (StorageCall::NextEntry, PASV, "LIST"),
    (StorageCall::NextEntry, PASV, "LIST o*"),
    (StorageCall::List, PASV, "NLST"),
    (StorageCall::NextEntry, PASV, "NLST"),
    (StorageCall::NextEntry, PASV, "NLST o*"),
    (StorageCall::Stat, PASV, "MLSD"),
    (StorageCall::List, PASV, "MLSD"),
    (StorageCall::NextEntry, PASV, "MLSD"),
    (StorageCall::Read, &["TYPE I", "PASV"], "RETR old"),
    (StorageCall::Read, &["TYPE I", "REST 5", "PASV"], "RETR old"),
    (StorageCall::Read, &[], "HASH old"),
    (StorageCall::Write, PASV, "STOR new"),
    (StorageCall::Write, &["TYPE I", "REST 5", "PASV"], "STOR old"),
    (StorageCall::UploadCommit, PASV, "STOR new"),
    (StorageCall::Write, PASV, "APPE new"),
    (StorageCall::Stat, PASV, "APPE old"),
    (StorageCall::UploadCommit, PASV, "APPE new"),
    (StorageCall::Write, PASV, "STOU"),
    (StorageCall::Forget, PASV, "STOU"),
    (StorageCall::UploadCommit, PASV, "STOU"),
    (StorageCall::Space, PASV, "STOR new"),
    (StorageCall::Space, &[], "ALLO 5"),
    (StorageCall::Space, &[], "AVBL"),
    (StorageCall::Space, &[], "SITE QUOTA"),
    (StorageCall::Remove, &[], "DELE old"),
    (StorageCall::Forget, &[], "DELE old"),
    (StorageCall::Rmdir, &[], "RMD d"),
    (StorageCall::Rmdir, &[], "XRMD d"),
    (StorageCall::Mkdir, &[], "MKD e"),
    (StorageCall::Mkdir, &[], "XMKD e"),
    (StorageCall::Rename, &["RNFR old"], "RNTO new"),
    (StorageCall::Unfinished, &["RNFR old"], "RNTO new"),
    (StorageCall::Set, &[], "MFMT 20200101000000 old"),
    (StorageCall::Set, &[], "MFF Modify=20200101000000; old"),
    (StorageCall::Set, &[], "MFF UNIX.mode=600; old"),
    (StorageCall::Set, &[], "SITE CHMOD 600 old"),
    (StorageCall::Unfinished, &["TYPE I"], "SIZE new"),
];

/// How long a call does not return.
const STALLED: Duration = Duration::from_secs(120);

/// In what time a session acts while the storage does not answer.
const AT_MOST: Duration = Duration::from_secs(1);

/// Sends each command to a server of its own. Once the call has begun that does not return, calls
/// `act`, which returns when the session has done what is wanted.
fn in_each_stall(what: &str, act: impl Fn(Server, RawSession, &Stall) + Sync) {
    at_once(8, STALLS, |stall| {
        let (call, before, command) = stall;
        patiently(AT_MOST, |limit| {
            let storage = memory();
            storage.mkdir(&"/d".into()).expect("a directory");
            // An upload asks for the free space first, and again when it may have filled it.
            let fills = call == StorageCall::Space && before.contains(&"PASV");
            let free =
                storage.space(&VirtualPath::root(), RoomFor::More(0)).expect("it knows").free;
            let min_free = free.filter(|_| fills).map_or(0, |free| free - 1);
            let nth = if fills { 2 } else { 1 };
            let storage = FaultStorage::new(storage).at(call, nth, Fault::Delay(STALLED));
            let server = serve_with(storage.clone(), min_free);
            let mut session = session(&server);
            let mut data = None;
            for command in before {
                let reply = session.ask(command);
                assert!(reply.code < 400, "{command}");
                data = (*command == "PASV").then(|| session.connect_to(&reply));
            }
            if call == StorageCall::UploadCommit {
                // The data of an upload ends before the command, so that no reply is awaited.
                data.take().into_iter().for_each(RawData::close);
            }
            if fills {
                data.as_mut().expect("a connection").write_all(b"some");
            }
            session.line(command);
            wait_until(command, || storage.count(call) >= nth);
            let start = Instant::now();
            act(server, session, &stall);
            let took = start.elapsed();
            assert!(took < limit, "{what} {call:?} {command}: {took:?}");
            drop(data);
        });
    });
}

#[test]
fn every_command_can_be_aborted_while_the_storage_does_not_answer_dc_45() {
    in_each_stall("ABOR", |_server, mut session, (call, _, command)| {
        session.line("ABOR");
        let mut first = session.reply();
        if first.code == 150 {
            first = session.reply();
        }
        // A command may have succeeded before the call that does not return, or without it.
        let is_made = *call == StorageCall::Forget || command.starts_with("ALLO");
        assert!(first.code == 426 || is_made && first.code < 300, "{call:?} {command}: {first:?}");
        session.expect_reply(226);
        session.expect_in_step();
    });
}

#[test]
fn a_telnet_interrupt_has_stat_answered_while_the_storage_does_not_cm_133() {
    in_each_stall("STAT", |_server, mut session, (call, _, command)| {
        // Without the signal, `STAT` is a command that waits for its turn.
        session.line("STAT");
        session.send(b"\xff\xf4");
        session.send_urgent(b"\xff\xf2");
        session.line("STAT");
        let mut status = session.reply();
        let is_running = status.code == 150;
        if is_running {
            // During a transfer, both are answered.
            session.expect_reply(211);
            status = session.expect_reply(211);
        }
        let (verb, _) = command.split_once(' ').unwrap_or((command, ""));
        let want = format!("{} has waited 0 s for the storage", verb.trim_start_matches('X'));
        let said = status.text();
        let is_told = said.contains(&want) || said.contains("Transfer in progress");
        assert!(is_told, "{call:?} {command}: {said}");
        session.line("ABOR");
        session.reply();
        session.expect_reply(226);
        if !is_running {
            assert!(session.expect_reply(211).text().contains("Status:"));
        }
        session.expect_in_step();
    });
}

#[test]
fn a_client_that_vanishes_while_the_storage_does_not_answer_ends_its_session_st_15() {
    in_each_stall("vanished", |server, session, _| {
        drop(session);
        wait_until("the session ends", || server.sessions().is_empty());
    });
}

#[test]
fn a_shutdown_does_not_wait_for_a_storage_that_does_not_answer_st_13() {
    in_each_stall("shutdown", |server, _session, (call, before, command)| {
        // Only transfers have time to end, and a listing counts as one.
        let is_transfer = before.contains(&"PASV") || *call == StorageCall::NextEntry;
        let report = server.shutdown(if is_transfer { Duration::ZERO } else { CUT * 10 });
        assert_eq!(report.stuck, 0, "{call:?} {command}");
    });
}

/// Changes, each with its call and the beginning of its record.
const CHANGES: [(StorageCall, &str, &str); 8] = [
    (StorageCall::Remove, "DELE old", "deleted /old"),
    (StorageCall::Rmdir, "RMD d", "directory removed /d"),
    (StorageCall::Mkdir, "MKD e", "directory made /e"),
    (StorageCall::Mkdir, "STOR e/f", "directory made /e"),
    (StorageCall::Set, "MFMT 20200101000000 old", "changed /old"),
    (StorageCall::Set, "SITE CHMOD 600 old", "changed /old"),
    (StorageCall::Rename, "RNTO new", "renamed /old to /new"),
    (StorageCall::UploadCommit, "STOR new", "transferred STOR /new: 0 bytes, fin"),
];

/// Lets sessions give up each change, and calls `check` with the record that it is about. The call
/// of the change then has the effect of `fault`.
fn give_up_changes(fault: Option<Fault>, check: impl Fn(&Recorder, &str) + Sync) {
    let cases = CHANGES.iter().flat_map(|change| [(change, false), (change, true)]);
    at_once(8, cases, |((call, command, want), vanishes)| {
        patiently(Duration::from_millis(1_500), |limit| {
            let storage = memory();
            storage.mkdir(&"/d".into()).expect("a directory");
            let delay = Fault::Delay(limit);
            let mut storage = FaultStorage::new(storage).at(*call, 1, delay);
            if let Some(fault) = fault {
                storage = storage.at(*call, 1, fault);
            }
            let recorder = Recorder::new();
            let login = Login::new(Arc::new(storage.clone()), Rights::FULL).mkdir_parents(true);
            let server = Server::builder()
                .config(super::quick())
                .authenticator(UserTable::new().user("u", "p", login))
                .recorder(&recorder)
                .bind("127.0.0.1:0")
                .expect("a server");
            let mut session = session(&server);
            if command.starts_with("RNTO") {
                session.expect("RNFR old", 350);
            }
            if command.starts_with("STOR") {
                session.passive().close();
            }
            session.line(command);
            wait_until(command, || storage.count(*call) > 0);
            if vanishes {
                drop(session);
                let is_end = |record: &Record| record.what == Recorded::Ended;
                recorder.wait_for(STALLED, is_end).expect("an end");
            } else {
                session.line("ABOR");
                while session.reply().code != 226 {}
                // This call waits for the one that was given up.
                session.expect("SIZE none", 550);
            }
            check(&recorder, want);
        });
    });
}

#[test]
fn a_change_that_was_given_up_is_told_once_it_is_made_dc_45_st_15() {
    give_up_changes(None, |recorder, want| {
        let is_it = |record: &Record| record.what.to_string().starts_with(want);
        recorder.wait_for(STALLED, is_it).expect("the event");
        let records = recorder.records();
        let transfers = records.iter().filter(|record| record.is_transfer(Verb::Stor, "/new"));
        // The interruption of the upload was told before.
        let is_upload = want.starts_with("transferred");
        assert_eq!(transfers.count(), if is_upload { 2 } else { 0 }, "{records:?}");
    });
}

#[test]
fn a_change_that_was_given_up_and_fails_is_not_told_dc_45() {
    give_up_changes(Some(Fault::Fail(StorageErrorKind::Denied)), |recorder, want| {
        let is_it = |record: &Record| record.what.to_string().starts_with(want);
        assert!(recorder.wait_for(Duration::from_secs(2), is_it).is_err(), "{want}");
    });
}

/// A storage that does not say that its calls can wait.
struct Near(FaultStorage);

impl Storage for Near {
    forward_storage!(self, self.0; confine, stat, list, read, write);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }
}

/// Collects the users of transfers.
struct Users(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

impl Observer for Users {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind, EventKind::Transferred(_)) {
            self.0.lock().unwrap().push(event.user.map(<[u8]>::to_vec));
        }
    }
}

#[test]
fn after_rein_an_upload_that_was_given_up_is_told_of_its_own_user_dc_45() {
    patiently(Duration::from_millis(700), |limit| {
        let delay = Fault::Delay(limit);
        let slow = FaultStorage::new(memory()).at(StorageCall::UploadCommit, 1, delay);
        let users = UserTable::new()
            .user(
                "far",
                "p",
                Login::new(Arc::new(late(memory(), StorageCall::Space)), Rights::FULL),
            )
            .user("near", "p", Login::new(Arc::new(Near(slow.clone())), Rights::FULL));
        let told = Arc::new(Mutex::new(Vec::new()));
        let server = Server::builder()
            .authenticator(users)
            .observer(Users(Arc::clone(&told)))
            .bind("127.0.0.1:0")
            .expect("a server");
        let mut session = RawSession::login(server.local_addr(), "far", "p");
        session.expect("REIN", 220);
        session.expect("USER near", 331);
        session.expect("PASS p", 230);
        upload(&mut session, "STOR f").close();
        wait_until("the file is being published", || slow.count(StorageCall::UploadCommit) > 0);
        session.line("ABOR");
        while session.reply().code != 226 {}
        wait_until("the upload is told twice", || told.lock().unwrap().len() == 2);
        assert_eq!(*told.lock().unwrap(), [Some(b"near".to_vec()), Some(b"near".to_vec())]);
    });
}

#[test]
fn lines_that_follow_a_slow_call_are_answered_dc_47() {
    let slow = || {
        let delay = Fault::Delay(Duration::from_millis(900));
        FaultStorage::new(memory()).at(StorageCall::Stat, 1, delay)
    };
    // More lines than the server queues.
    let server = serve(slow());
    let mut session = session(&server);
    session.send("SIZE old\r\n".repeat(1_000));
    (0..1_000).for_each(|_| drop(session.expect_reply(213)));
    // A `STAT` that is no interrupt is answered in its turn.
    let server = serve(slow());
    let mut session = self::session(&server);
    session.send("SIZE old\r\nSTAT\r\n");
    [213, 211].into_iter().for_each(|code| drop(session.expect_reply(code)));
    // The client closes its side after its last line.
    let server = serve(slow());
    let mut session = self::session(&server);
    session.send("SIZE old\r\nMKD a\r\nMKD b\r\n");
    session.stream().shutdown(std::net::Shutdown::Write).expect("a connection");
    [213, 257, 257].into_iter().for_each(|code| drop(session.expect_reply(code)));
}

#[test]
fn calls_that_were_given_up_hold_nothing_dc_46() {
    patiently(Duration::from_millis(900), |limit| {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("f"), "old").expect("a file");
        let local = LocalStorage::open(root.path()).expect("a root");
        let delay = Fault::Delay(limit);
        let storage = FaultStorage::new(local).at(StorageCall::Write, 1, delay);
        let server = serve(storage.clone());
        let mut given_up = session(&server);
        let _data = given_up.passive();
        given_up.send("APPE f\r\n");
        wait_until("the storage is asked", || storage.count(StorageCall::Write) > 0);
        given_up.send("ABOR\r\n");
        given_up.expect_reply(426);
        given_up.expect_reply(226);
        // Once the call has ended, another session can append, although the first one does nothing.
        let mut session = session(&server);
        wait_until("the file is free", || {
            let data = session.passive();
            session.send("APPE f\r\n");
            let is_free = session.reply().code == 150;
            if is_free {
                data.close();
                session.expect_reply(226);
            }
            is_free
        });
    });
}

#[test]
fn a_session_has_one_call_that_was_given_up_at_a_time_ho_01() {
    patiently(Duration::from_millis(700), |limit| {
        let delay = Fault::Delay(limit);
        let storage = FaultStorage::new(memory()).from(StorageCall::NextEntry, 1, delay);
        let server = serve(storage.clone());
        let mut session = session(&server);
        let start = Instant::now();
        for number in 1..=4 {
            let _data = session.passive();
            session.expect("MLSD", 150);
            wait_until("the entry is asked for", || {
                storage.count(StorageCall::NextEntry) >= number
            });
            session.send("ABOR\r\n");
            session.expect_reply(426);
            session.expect_reply(226);
        }
        // Each listing began after the call of the one before it had ended.
        assert!(start.elapsed() >= limit * 3);
    });
}

/// A storage that takes for ever to store the last bytes of an upload.
struct Unfinished(MemoryStorage);

impl Storage for Unfinished {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(WithoutEnd {
            upload: self.0.write(path, mode, Keep::Shared)?,
            is_flushed: false,
        }))
    }
}

struct WithoutEnd {
    upload: Box<dyn Upload>,
    is_flushed: bool,
}

impl Write for WithoutEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_flushed = true;
        self.upload.flush()
    }
}

impl Upload for WithoutEnd {
    fn ready(&mut self) -> Result<bool, StorageError> {
        if self.is_flushed {
            std::thread::sleep(STEP);
        }
        Ok(!self.is_flushed)
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        self.upload.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.upload.abort(end);
    }
}

#[test]
fn uploads_can_be_aborted_while_the_last_bytes_are_stored_dc_46() {
    let storage = memory();
    let server = serve(Unfinished(storage.clone()));
    let mut session = session(&server);
    upload(&mut session, "STOR f").close();
    assert!(!abort(&mut session).contains("may have been stored"));
    assert_eq!(storage.files(), ["/old".into()]);
}
