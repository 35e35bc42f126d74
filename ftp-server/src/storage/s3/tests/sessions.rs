//! Sessions on a store that stalls. They reply to their client, and end with the server.

use std::net::Shutdown;
use std::sync::Barrier;
use std::time::Instant;

use ftp_proto::{DeflateEncoder, DeflateLevel};
use ftp_tests::at_once::at_once;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::scale::count;
use ftp_tests::wait::{patiently, wait_until};

use super::super::store::PATIENCE;
use super::fake::Fault;
use super::*;
use crate::auth::Rights;
use crate::config::ServerConfig;
use crate::ledger::{SharedState, WithoutLedger};
use crate::lock::Lock;
use crate::log::{Event, EventKind, Observer, Settle};
use crate::server::Server;

/// Returns a store that may send nothing for minutes.
fn patient(fake: &Fake) -> S3Store {
    let patient = Duration::from_secs(120);
    let timeouts = S3Timeouts::new().idle(patient).answer(patient);
    settings(&fake.endpoint()).timeouts(timeouts).patience(PATIENCE).build().unwrap()
}

fn serve(fake: &Fake) -> Server {
    serve_storage(patient(fake).storage("").unwrap())
}

fn serve_storage(storage: impl Storage + 'static) -> Server {
    let config = ServerConfig::new().compression(true);
    let builder = Server::builder().config(config).storage(storage);
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap()
}

fn login(server: &Server) -> RawSession {
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    session
}

/// Aborts the transfer, and returns the text of the reply 426.
fn abort(session: &mut RawSession) -> String {
    session.expect("STAT", 211);
    let aborted = session.expect("ABOR", 426).text();
    session.expect_reply(226);
    session.expect_in_step();
    aborted
}

/// Begins an upload that stalls in this operation.
fn stall(fake: &Fake, session: &mut RawSession, operation: &'static str) -> RawData {
    fake.fail(operation, 0, 99, Fault::Stall);
    let data = session.passive();
    session.expect("STOR f", 150);
    let bytes = content(PART + 100_000);
    // Bytes that the store does not accept stay in the sockets or in this process.
    std::io::Write::write_all(&mut data.stream(), &bytes).unwrap();
    data
}

#[test]
fn abor_and_shutdown_end_a_stalled_s3_upload_dc_46_dc_47() {
    for operation in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] {
        let fake = Fake::start();
        let server = serve(&fake);
        let mut session = login(&server);
        let data = stall(&fake, &mut session, operation);
        data.stream().shutdown(Shutdown::Write).unwrap();
        let is_last = operation == "CompleteMultipartUpload";
        if is_last {
            wait_until("the file is published", || fake.count(operation) > 0);
        }
        assert_eq!(abort(&mut session).contains("may have been stored"), is_last, "{operation}");
        // The session's next call would wait for the publication.
        drop(session);
        wait_until("the session ends", || server.sessions().is_empty());
        let mut session = login(&server);
        let data = stall(&fake, &mut session, operation);
        data.stream().shutdown(Shutdown::Write).unwrap();
        let report = server.shutdown(Duration::from_millis(100));
        assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0), "{operation}");
        session.expect_reply(426);
        session.expect_reply(421);
    }
}

/// What an observer was told of uploads, in order.
#[derive(Clone, Default)]
struct Told(Arc<Lock<Vec<&'static str>>>);

impl Told {
    fn add(&self, word: &'static str) {
        self.0.lock().push(word);
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = event.kind {
            self.add(transfer.end.as_str());
        }
    }

    fn before_publication(&self, _: &Event<'_>, _: Option<(u64, u64)>) -> Option<Settle> {
        self.add("announced");
        let told = self.clone();
        Some(Box::new(move |is_made| told.add(if is_made { "made" } else { "withdrawn" })))
    }
}

#[test]
fn a_file_that_the_store_gets_after_its_session_gave_up_is_told_as_stored_dc_45_st_15() {
    const ACTS: [(&str, &str); 3] =
        [("ABOR", "abor"), ("end of the client", "control-lost"), ("shutdown", "cut")];
    const HELD: [Fault; 2] = [Fault::Late, Fault::Hold];
    let small_and_large = [("PutObject", 5), ("CompleteMultipartUpload", PART + 100_000)];
    let cases = small_and_large.into_iter().flat_map(|file| HELD.map(|fault| (file, fault)));
    let cases = cases.flat_map(|case| ACTS.map(|act| (case, act)));
    at_once(4, cases, |(((operation, length), fault), (act, end))| {
        let what = format!("{operation} {fault:?} {act}");
        let (fake, told) = (Fake::start(), Told::default());
        let builder = Server::builder().storage(patient(&fake).storage("").unwrap());
        let builder = builder.observer(told.clone()).user("u", "p", Rights::FULL);
        let server = builder.bind("127.0.0.1:0").unwrap();
        let mut session = login(&server);
        fake.fail(operation, 0, 1, fault);
        let data = session.passive();
        session.expect("STOR f", 150);
        let bytes = content(length);
        std::io::Write::write_all(&mut data.stream(), &bytes).unwrap();
        data.stream().shutdown(Shutdown::Write).unwrap();
        wait_until(&what, || fake.count(operation) == 1);
        match act {
            "ABOR" => assert!(abort(&mut session).contains("may have been stored")),
            "shutdown" => assert_eq!(server.shutdown(Duration::ZERO).cut, 1, "{what}"),
            _ => drop(session),
        }
        wait_until("the session gives up", || *told.0.lock() == ["announced", end]);
        fake.release();
        wait_until("it is told", || *told.0.lock() == ["announced", end, "made", "fin"]);
        assert!(fake.content("f").unwrap() == bytes, "{what}");
    });
}

#[test]
fn a_file_that_the_store_refuses_after_its_session_gave_up_is_withdrawn_dc_45() {
    let (fake, told) = (Fake::start(), Told::default());
    let builder = Server::builder().storage(patient(&fake).storage("").unwrap());
    let builder = builder.observer(told.clone()).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:0").unwrap();
    let (mut session, mut other) = (login(&server), login(&server));
    fake.fail("PutObject", 0, 1, Fault::Late);
    // The second upload waits for its turn, so its request is never sent.
    for (session, wants) in [(&mut session, 1), (&mut other, 2)] {
        let data = session.passive();
        session.expect("STOR f", 150);
        std::io::Write::write_all(&mut data.stream(), &[wants]).unwrap();
        data.close();
        wait_until("it is announced", || told.0.lock().len() == usize::from(wants));
        // An upload has its turn only some time after it is announced.
        wait_until("the first one has its turn", || fake.count("PutObject") > 0);
    }
    abort(&mut other);
    wait_until("the second one is given up", || told.0.lock().len() == 3);
    fake.release();
    session.expect_reply(226);
    let want = ["announced", "announced", "abor", "fin", "made", "withdrawn"];
    wait_until("all is told", || {
        let mut said = told.0.lock().clone();
        said.get_mut(3..).unwrap_or_default().sort_unstable();
        said == want
    });
    assert_eq!(fake.content("f").unwrap(), [1]);
}

#[test]
fn a_rename_that_was_given_up_replaces_no_newer_file_dc_45() {
    patiently(Duration::from_secs(2), |limit| {
        let fake = Fake::start();
        fake.store("f", b"old");
        let server = serve(&fake);
        let (mut session, mut other) = (login(&server), login(&server));
        session.expect("RNFR f", 350);
        let asked = fake.count("HeadObject");
        fake.fail("HeadObject", 0, 1, Fault::Delay(limit));
        session.line("RNTO g");
        wait_until("the file is looked up", || fake.count("HeadObject") > asked);
        session.expect("ABOR", 426);
        session.expect_reply(226);
        other.upload("STOR g", b"newer");
        // This command waits for the call that was given up.
        session.expect("SIZE g", 213);
        assert_eq!(fake.content("g").unwrap(), b"newer");
        assert_eq!(fake.content("f").unwrap(), b"old");
    });
}

/// A command: the commands before it, and the length of the file that it uploads.
type Case = (&'static [&'static str], &'static str, usize);

/// Commands whose requests are others if the user has a quota, whose ledger is in the same store.
const WITH_QUOTA: [Case; 8] = [
    (&[], "SITE QUOTA", 0),
    (&["SITE QUOTA"], "MKD d", 0),
    (&["SITE QUOTA"], "RMD empty", 0),
    (&["SITE QUOTA"], "DELE f", 0),
    (&["SITE QUOTA", "RNFR f"], "RNTO e/f", 0),
    (&["SITE QUOTA", "PASV"], "STOR f", 9),
    (&["SITE QUOTA", "PASV"], "APPE f", 9),
    (&["SITE QUOTA", "PASV"], "STOR new", PART + 100_000),
];

/// Commands that send requests. A transfer has `PASV` before it.
const CASES: [Case; 30] = [
    (&[], "SIZE f", 0),
    (&["TYPE A"], "SIZE f", 0),
    (&[], "MDTM f", 0),
    (&[], "MLST f", 0),
    (&[], "STAT f", 0),
    (&[], "STAT e", 0),
    (&[], "HASH f", 0),
    (&[], "CWD e", 0),
    (&["CWD e/i"], "CDUP", 0),
    (&[], "MKD d", 0),
    (&[], "MKD e/d", 0),
    (&[], "RMD empty", 0),
    (&[], "DELE f", 0),
    (&[], "RNFR f", 0),
    (&["RNFR f"], "RNTO g", 0),
    (&["RNFR f"], "RNTO e/f", 0),
    (&[], "MFMT 20200101000000 f", 0),
    (&["PASV"], "RETR f", 0),
    (&["REST 1", "PASV"], "RETR f", 0),
    (&["PASV"], "MLSD e", 0),
    (&["PASV"], "LIST e", 0),
    (&["PASV"], "NLST", 0),
    (&["PASV"], "STOR new", 9),
    (&["PASV"], "STOR e/f", 9),
    (&["PASV"], "STOR new", PART + 100_000),
    (&["PASV"], "APPE f", 9),
    (&["PASV"], "APPE large", 9),
    (&["REST 1", "PASV"], "STOR f", 9),
    (&["PASV"], "STOU", 9),
    // Some bytes that become two parts at once.
    (&["MODE Z", "PASV"], "STOR new", 2 * PART),
];

/// Starts a store and a server, and a session that can send the command of the case.
fn prepared((before, command, length): &Case, has_quota: bool) -> (Fake, Server, RawSession) {
    let fake = Fake::start();
    for (key, length) in [("f", 1_000), ("e/f", 1), ("e/i/f", 1), ("first", 0)] {
        fake.store(key, &content(length));
    }
    if command.ends_with("large") {
        fake.store("large", &content(2 * PART));
    }
    fake.store("empty/", b"");
    let store = patient(&fake);
    let storage = store.storage("").unwrap().keep_times(true);
    let ledger = S3Ledger::open(&store, "").unwrap();
    let hour = Duration::from_secs(3_600);
    let state = SharedState::start(ledger, hour, WithoutLedger::Refuse).unwrap();
    let server = match has_quota {
        // A large file needs more bytes twice.
        true => serve_storage(state.quota(storage, "u").max_bytes(192 << 20).max_files(20)),
        false => serve_storage(storage),
    };
    let mut session = login(&server);
    // The first removal with a condition tests the store.
    session.expect("RNFR first", 350);
    session.expect("RNTO last", 250);
    state.flush();
    for command in *before {
        let reply = session.ask(command);
        assert!(reply.code < 400, "{command}");
        if *command == "PASV" {
            let (data, is_upload) = (session.connect_to(&reply), *length > 0);
            let mut bytes = Vec::new();
            if before.contains(&"MODE Z") {
                let mut encoder = DeflateEncoder::new(DeflateLevel::default());
                encoder.encode(&vec![0; *length], &mut bytes);
                encoder.finish(&mut bytes);
            } else {
                bytes = content(*length);
            }
            // Ends with the transfer, whatever its end is.
            std::thread::spawn(move || match is_upload {
                true => drop(std::io::Write::write_all(&mut data.stream(), &bytes)),
                false => drop(std::io::copy(&mut data.stream(), &mut std::io::sink())),
            });
        }
    }
    (fake, server, session)
}

/// Returns the replies up to the one to a `NOOP`.
fn replies(session: &mut RawSession) -> Vec<u16> {
    let mut codes = Vec::new();
    while codes.last() != Some(&200) {
        codes.push(session.reply().code);
    }
    codes
}

/// Returns each request of a command: its operation, and the number of requests for it before.
fn requests_of(case: &Case, has_quota: bool) -> Vec<(&'static str, u64)> {
    let (fake, _server, mut session) = prepared(case, has_quota);
    let before = OPERATIONS.concat().into_iter().map(|name| (name, fake.count(name)));
    let before: Vec<_> = before.collect();
    session.send(format!("{}\r\nNOOP\r\n", case.1));
    let codes = replies(&mut session);
    assert!(codes.iter().all(|code| *code < 400), "{case:?}: {codes:?}");
    let each = before.into_iter().flat_map(|(operation, count)| {
        (count..fake.count(operation)).map(move |at| (operation, at))
    });
    each.collect()
}

#[test]
fn every_request_of_every_command_may_stall_dc_45_cm_133_st_13_st_15() {
    const ACTS: [&str; 4] = ["ABOR", "STAT", "shutdown", "end of the client"];
    let cases = CASES.into_iter().map(|case| (case, false));
    let cases = cases.chain(WITH_QUOTA.into_iter().map(|case| (case, true)));
    let requests = at_once(8, cases, |case| {
        requests_of(&case.0, case.1).into_iter().map(|request| (case, request)).collect::<Vec<_>>()
    });
    let requests = requests.concat();
    assert!(requests.len() > 90, "{requests:?}");
    // A plain run has one act for each request, in turn.
    let stalls = requests.iter().enumerate().flat_map(|(turn, request)| {
        let acts = ACTS.into_iter().skip(count(turn % ACTS.len(), 0)).step_by(count(ACTS.len(), 1));
        acts.map(move |act| (request, act))
    });
    at_once(16, stalls, |(((case, has_quota), (operation, at)), act)| {
        let what = format!("{act} {case:?} {has_quota} {operation} {at}");
        // Three attempts, because other tests run, too. What waits for the request takes 5 s and more.
        let is_soon = (0..3).any(|_| {
            let (fake, server, mut session) = prepared(case, *has_quota);
            fake.fail(operation, at - fake.count(operation), 1, Fault::Stall);
            session.line(case.1);
            wait_until(&what, || fake.count(operation) > *at);
            let start = Instant::now();
            match act {
                "ABOR" => {
                    session.send("ABOR\r\nNOOP\r\n");
                    let codes = replies(&mut session);
                    let count = codes.iter().filter(|code| **code != 150).count();
                    assert_eq!(count, 3, "{what}: {codes:?}");
                }
                "STAT" => {
                    session.send(b"\xff\xf4\xff\xf2STAT\r\n");
                    while session.reply().code != 211 {}
                }
                "shutdown" => assert_eq!(server.shutdown(Duration::ZERO).stuck, 0, "{what}"),
                _ => {
                    drop(session);
                    wait_until(&what, || server.sessions().is_empty());
                }
            }
            start.elapsed() < Duration::from_secs(3)
        });
        assert!(is_soon, "{what}");
    });
}

#[test]
fn abor_and_shutdown_end_a_stalled_s3_download_dc_45() {
    let fake = Fake::start();
    fake.store("f", &content(PART));
    let server = serve(&fake);
    let mut session = login(&server);
    for offset in [0, 1] {
        let before = fake.count("GetObject");
        fake.fail("GetObject", 0, 1, Fault::Half);
        fake.fail("GetObject", 1, 99, Fault::Stall);
        let data = session.passive();
        session.expect(format!("REST {offset}"), 350);
        session.expect("RETR f", 150);
        let reader = std::thread::spawn(move || data.read_to_end().len());
        // Otherwise that request would later meet the faults of the next round.
        wait_until("the rest is requested", || fake.count("GetObject") == before + 2);
        abort(&mut session);
        assert!(reader.join().unwrap() < PART);
        fake.works();
    }
    fake.fail("GetObject", 0, 1, Fault::Half);
    fake.fail("GetObject", 1, 99, Fault::Stall);
    let _data = session.passive();
    session.expect("RETR f", 150);
    let report = server.shutdown(Duration::from_millis(100));
    assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
}

#[test]
fn confined_sessions_store_and_read_and_open_no_file() {
    let fake = Fake::start();
    let storage = on(&fake).confine(ConfinementPolicy::BestEffort).unwrap();
    let is_confined =
        matches!(Storage::confine(&storage), Confine::Beneath(roots) if roots.is_empty());
    let confined: Arc<dyn Storage> = Arc::new(storage.clone());
    let session = std::thread::spawn(move || {
        crate::storage::confine(&confined).unwrap();
        std::fs::read("/proc/self/stat").is_err()
    });
    assert_eq!(session.join().unwrap(), is_confined);
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:0").unwrap();
    let mut session = login(&server);
    let bytes = content(PART + 10);
    session.upload("STOR f", &bytes);
    assert!(session.download("RETR f") == bytes);
    let free = on(&fake).confine(ConfinementPolicy::Off).unwrap();
    assert!(matches!(Storage::confine(&free), Confine::No));
}

/// Begins an upload, and sends these bytes.
fn sent(server: &Server, name: &str, bytes: &[u8]) -> (RawSession, RawData) {
    let mut session = login(server);
    let mut data = session.passive();
    session.expect(format!("STOR {name}"), 150);
    data.write_all(bytes);
    (session, data)
}

#[test]
fn a_hundred_uploads_of_unknown_size_share_little_memory() {
    let fake = Fake::start();
    let store = settings(&fake.endpoint()).memory(32 << 20).build().unwrap();
    let pool = Arc::clone(&store.inner.pool);
    let server = serve_storage(store.storage("").unwrap());
    // All of them have begun before any one ends.
    let begun = Barrier::new(100);
    at_once(100, 0..100, |number: usize| {
        let length = if number.is_multiple_of(20) { 7 << 20 } else { 5 << 18 };
        let (name, bytes) = (format!("f{number}"), content(length));
        let (first, rest) = bytes.split_at(1_100_000);
        let (mut session, mut data) = sent(&server, &name, first);
        begun.wait();
        data.write_all(rest);
        data.close();
        session.expect_reply(226);
        assert!(pool.held() <= 64 && fake.content(&name).unwrap() == bytes, "{name}");
    });
    wait_until("the memory is free", || pool.held() == 0);
}

#[test]
fn slow_uploads_of_one_address_do_not_stop_others() {
    let fake = Fake::start();
    let store = settings(&fake.endpoint()).memory(128 << 20).build().unwrap();
    let pool = Arc::clone(&store.inner.pool);
    let server = serve_storage(store.storage("").unwrap());
    let bytes = content(1_110_000);
    let slow = |number| sent(&server, &format!("slow{number}"), &bytes);
    let slow: Vec<_> = (0..16).map(slow).collect();
    wait_until("they hold memory", || pool.held() == 16 * 3);
    let large = content(12 << 20);
    login(&server).upload("STOR f", &large);
    assert!(fake.content("f").unwrap() == large);
    for (mut session, data) in slow {
        data.close();
        session.expect_reply(226);
    }
}

#[test]
fn store_errors_map_to_reply_codes_cm_105() {
    let fake = Fake::start();
    fake.store("f", &content(1_000));
    let timeouts = S3Timeouts::new().retries(Duration::ZERO);
    let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
    // An upload without a response does not block its path at a store that is proved to check
    // conditions.
    assert!(store.inner.test("PutObject").unwrap().are_checked());
    let builder = Server::builder().storage(store.storage("").unwrap());
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
    let mut session = login(&server);
    for (fault, before, after) in [
        (Fault::Refuse(503, "SlowDown"), 450, 451),
        (Fault::Refuse(500, "InternalError"), 451, 451),
        (Fault::Refuse(403, "AccessDenied"), 550, 451),
        (Fault::Refuse(403, "SignatureDoesNotMatch"), 451, 451),
        (Fault::Refuse(403, "InvalidObjectState"), 550, 451),
        (Fault::Refuse(507, "XMinioStorageFull"), 452, 452),
    ] {
        fake.fail("HeadObject", 0, 99, fault);
        fake.fail("GetObject", 0, 99, fault);
        session.expect("SIZE f", before);
        fake.works();
        fake.fail("PutObject", 0, 99, fault);
        let mut data = session.passive();
        session.expect("STOR g", 150);
        data.write_all(b"some");
        data.close();
        session.expect_reply(after);
        assert_eq!(fake.content("g"), None);
        fake.works();
        fake.fail("GetObject", 0, 99, fault);
        let _data = session.passive();
        session.expect("RETR f", before);
        fake.works();
        // The object's size is known, and half of its content has been sent.
        fake.fail("GetObject", 0, 1, Fault::Half);
        fake.fail("GetObject", 1, 99, fault);
        let data = session.passive();
        session.expect("RETR f", 150);
        assert_eq!(data.read_to_end(), &content(1_000)[..500]);
        session.expect_reply(451);
        fake.works();
    }
    assert_eq!(session.download("RETR f"), content(1_000));
}

/// What the log says of refused commands.
#[derive(Clone, Default)]
struct Said(Arc<Lock<Vec<(String, String)>>>);

impl Observer for Said {
    fn observe(&self, event: &Event<'_>) {
        let verb = match event.kind {
            EventKind::CommandRefused { verb, .. } => verb,
            EventKind::Transferred(transfer) => transfer.verb,
            _ => return,
        };
        let error = event.error.unwrap_or_default().to_owned();
        self.0.lock().push((verb.to_string(), error));
    }
}

#[test]
fn the_log_has_the_reason_of_the_store_for_each_refused_command() {
    let (fake, said) = (Fake::start(), Said::default());
    let store = || store_at(&fake).storage("").unwrap().keep_times(true);
    let builder = Server::builder().storage(store()).observer(said.clone());
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
    let mut session = login(&server);
    fake.store("f", b"old");
    fake.store("d/g", b"");
    for command in [
        "SIZE f",
        "MDTM f",
        "MFMT 20200101000000 f",
        "MLST f",
        "CWD d",
        "MKD m",
        "RMD d",
        "DELE f",
        "RNFR f",
        "RNTO g",
        "MLSD d",
        "LIST d",
        "NLST d",
        "RETR f",
        "STOR f",
        "APPE f",
        "STOU",
    ] {
        session.passive();
        if command == "RNTO g" {
            session.expect("RNFR f", 350);
        }
        fake.fail(fake::ANY, 0, 10_000, Fault::Refuse(403, "SignatureDoesNotMatch"));
        let code = session.ask(command).code;
        fake.works();
        assert_eq!(code, 451, "{command}");
        let (verb, error) = said.0.lock().pop().unwrap_or_default();
        assert!(command.starts_with(&verb), "{command} {verb}");
        assert!(error.contains("SignatureDoesNotMatch: by the test"), "{command}: {error}");
        assert!(said.0.lock().is_empty(), "{command}");
    }
    let mut data = session.passive();
    session.expect("STOR g", 150);
    fake.fail(fake::ANY, 0, 10_000, Fault::Refuse(403, "SignatureDoesNotMatch"));
    data.write_all(b"some");
    data.close();
    session.expect_reply(451);
    let (verb, error) = said.0.lock().pop().unwrap();
    assert!(verb == "STOR" && error.contains("PutObject: the store responds with 403"), "{error}");
}

/// Returns the number of requests so far, in each group.
fn requests(fake: &Fake) -> [u64; 3] {
    OPERATIONS.map(|names| names.iter().map(|name| fake.count(name)).sum())
}

/// The table in `docs/scale.md` shows these figures, including the requests that look up a
/// directory.
#[test]
fn s3_requests_per_command() {
    // A directory that was found is looked up again after a while.
    patiently(Duration::from_secs(1), |_| {
        let fake = Fake::start();
        let server = serve(&fake);
        let mut session = login(&server);
        for key in ["d/e", "e/f", "o/old", "u/f", "old"] {
            fake.store(key, b"old");
        }
        fake.store("large", &content(4 * PART));
        let large = content(20 << 20);
        // The first removal with a condition tests whether the store supports it.
        fake.store("first", b"");
        session.expect("RNFR first", 350);
        session.expect("RNTO last", 250);
        // So does the second upload to a directory, for the uploads that follow it.
        fake.store("t/f", b"");
        session.upload("STOR t/g", b"");
        session.upload("STOR t/h", b"");
        for (command, bytes, want) in [
            ("STOR f", &b"new"[..], [2, 1, 0]),
            ("SIZE f", b"", [0, 0, 0]),
            ("SIZE f", b"", [0, 2, 0]),
            ("STOR d/f", b"new", [3, 1, 0]),
            ("STOR d/g", b"new", [3, 0, 0]),
            ("STOR d/h", b"new", [1, 0, 0]),
            ("STOR d/g", b"new", [2, 2, 0]),
            ("STOR old", b"new", [4, 2, 0]),
            ("STOR ol", b"new", [1, 0, 0]),
            ("STOR u/h", &large, [9, 1, 1]),
            ("APPE old", b"more", [1, 5, 0]),
            ("APPE large", b"more", [4, 4, 0]),
            ("RETR large", b"", [0, 1, 0]),
            ("SIZE old", b"", [0, 2, 0]),
            ("MDTM old", b"", [0, 1, 0]),
            ("CWD e", b"", [1, 0, 0]),
            ("CWD /", b"", [0, 0, 0]),
            ("MLSD e", b"", [1, 2, 0]),
            // Another name begins with this one.
            ("STOR o/ol", b"new", [4, 3, 0]),
            ("STOR e/g", b"new", [2, 1, 0]),
            ("MKD n", b"", [2, 2, 0]),
            ("RMD n", b"", [2, 0, 1]),
            ("DELE f", b"", [1, 2, 1]),
            ("RNFR old", b"", [0, 1, 0]),
            ("RNTO to", b"", [3, 6, 1]),
        ] {
            let before = requests(&fake);
            match command.split_once(' ') {
                Some(("STOR" | "APPE", _)) => session.upload(command, bytes),
                Some(("RETR" | "MLSD", _)) => drop(session.download(command)),
                _ => assert!((200..400).contains(&session.ask(command).code), "{command}"),
            }
            let after = requests(&fake);
            let made: [u64; 3] = std::array::from_fn(|at| after[at] - before[at]);
            assert_eq!(made, want, "{command}");
        }
    });
}

/// A client that verifies its upload asks at once. Any later question is for the store, because
/// another program may have changed the file meanwhile.
#[test]
fn the_size_of_a_stored_file_is_cached_for_the_next_command_only() {
    // The size is forgotten after a second.
    patiently(Duration::from_secs(1), |_| {
        let fake = Fake::start();
        let server = serve(&fake);
        let (mut session, mut other) = (login(&server), login(&server));
        for (commands, want) in [
            (&[][..], 0),
            (&["NOOP"], 2),
            (&["SIZE other"], 2),
            (&["SIZE f"], 2),
            (&["SIZE other", "SIZE f"], 2),
        ] {
            fake.store("other", b"bytes");
            session.upload("STOR f", b"new");
            for command in commands {
                session.ask(*command);
            }
            let before = requests(&fake);
            session.expect("SIZE f", 213);
            let after = requests(&fake);
            assert_eq!(after[1] - before[1], want, "{commands:?}");
        }
        session.upload("STOR f", b"new");
        fake.store("f", b"of another program");
        assert_eq!(other.expect("SIZE f", 213).text().trim_end(), "213 18");
        session.expect("NOOP", 200);
        assert_eq!(session.expect("SIZE f", 213).text().trim_end(), "213 18");
        // A file of several parts.
        let large = content(2 * PART + 1);
        session.upload("STOR large", &large);
        let before = requests(&fake);
        let size = session.expect("SIZE large", 213).text();
        assert_eq!(size.trim_end(), format!("213 {}", large.len()));
        assert_eq!(requests(&fake), before);
        // A failed upload proves nothing.
        fake.fail("PutObject", 0, 99, Fault::Refuse(403, "AccessDenied"));
        let mut data = session.passive();
        session.expect("STOR g", 150);
        data.write_all(b"some");
        data.close();
        session.expect_reply(451);
        session.expect("SIZE g", 550);
    });
}
