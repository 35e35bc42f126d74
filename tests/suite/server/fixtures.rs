//! What ftp-server offers to tests of other programs: a recorder, and scripted faults.

use std::time::{Duration, Instant};

use ftp_server::testing::{ProtocolFault, Recorded, Recorder};
use ftp_server::{MemoryStorage, Rights, Server, ServerBuilder, TransferEnd, Verb, VirtualPath};
use ftp_tests::raw::RawSession;

const TIMEOUT: Duration = Duration::from_secs(60);

struct Bench {
    server: Server,
    files: MemoryStorage,
    recorder: Recorder,
}

impl Bench {
    fn new(faults: &[(Verb, u64, ProtocolFault)]) -> Self {
        let files = MemoryStorage::new();
        let recorder = Recorder::new();
        let builder = Server::builder()
            .config(super::quick())
            .storage(files.clone())
            .user("u", "p", Rights::FULL)
            .recorder(&recorder);
        let with =
            |builder: ServerBuilder, &(verb, nth, fault): &_| builder.fault(verb, nth, fault);
        let server = faults.iter().fold(builder, with).bind("127.0.0.1:0");
        let server = server.expect("a server on loopback");
        Self { server, files, recorder }
    }

    fn login(&self) -> RawSession {
        let mut session = RawSession::login(self.server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    }

    /// Waits for a transfer with this end, and returns the number of moved bytes.
    fn moved(&self, verb: Verb, wanted: TransferEnd) -> u64 {
        let mut moved = 0;
        let found = self.recorder.wait_for(TIMEOUT, |record| match &record.what {
            Recorded::Transferred { verb: recorded, bytes, end, .. } => {
                moved = *bytes;
                *recorded == verb && *end == wanted
            }
            _ => false,
        });
        found.unwrap_or_else(|error| panic!("{error}"));
        moved
    }
}

#[test]
fn commands_and_events_are_recorded_in_their_order() {
    let bench = Bench::new(&[]);
    let mut session = bench.login();
    session.upload("STOR a", b"12345");
    session.expect("DELE a", 250);
    session.expect("FOO bar", 500);
    session.expect("QUIT", 221);
    bench.recorder.wait_for(TIMEOUT, |record| record.what == Recorded::Ended).expect("it ends");
    let all: Vec<_> = bench.recorder.records().iter().map(ToString::to_string).collect();
    let want = [
        "connected",
        "USER u",
        "PASS ***",
        "logged in as u",
        "TYPE I",
        "PASV",
        "STOR a",
        "transferred STOR /a: 5 bytes, fin, 226",
        "DELE a",
        "deleted /a",
        "FOO bar",
        "QUIT",
        "session ended",
    ];
    assert_eq!(all, want.map(|line| format!("session 1: {line}")));
    bench.recorder.clear();
    let error = bench.recorder.wait_for(Duration::from_millis(1), |_| true).unwrap_err();
    assert!(error.to_string().ends_with("recorded so far: nothing"), "{error}");
}

#[test]
fn a_stat_during_a_transfer_is_recorded() {
    let bench = Bench::new(&[]);
    let mut session = bench.login();
    let data = session.passive();
    session.expect("STOR a", 150);
    session.expect("STAT", 211);
    session.send("ABOR\r\n");
    session.expect_reply(426);
    session.expect_reply(226);
    drop(data);
    let commands = bench.recorder.commands();
    assert_eq!(commands[commands.len() - 3..], ["STOR a", "STAT", "ABOR"]);
}

#[test]
fn a_close_fault_replies_421_and_closes_the_connection() {
    let bench = Bench::new(&[(Verb::Retr, 2, ProtocolFault::Close)]);
    bench.files.put("/a", "12345").expect("room");
    assert_eq!(bench.login().download("RETR a"), b"12345");
    let mut session = bench.login();
    session.expect("RETR a", 421);
    session.expect_closed();
    assert_eq!(bench.login().download("RETR a"), b"12345");
}

#[test]
fn abort_and_silence_faults_cut_a_transfer_after_n_bytes() {
    let cut = ProtocolFault::Abort { after: 100_000 };
    let silent = ProtocolFault::Silence { after: 3 };
    let bench = Bench::new(&[
        (Verb::Retr, 1, cut),
        (Verb::Retr, 2, silent),
        (Verb::Stor, 1, cut),
        (Verb::Stor, 2, ProtocolFault::Abort { after: 100 }),
        (Verb::Stor, 3, silent),
    ]);
    let content = vec![b'x'; 300_000];
    bench.files.put("/a", &content).expect("room");
    let mut session = bench.login();

    let data = session.passive();
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end().len(), 100_000);
    session.expect_reply(426);
    assert_eq!(bench.moved(Verb::Retr, TransferEnd::Reset), 100_000);

    let data = session.passive();
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"xxx");
    session.expect("NOOP", 200);

    // More bytes than the server reads, and fewer.
    for content in [&content[..], b"12345"] {
        let mut data = session.passive();
        session.expect("STOR new", 150);
        data.write_all(content.get(..100_001).unwrap_or(content));
        data.close();
        session.expect_reply(426);
    }
    let mut data = session.passive();
    session.expect("STOR new", 150);
    data.write_all(b"1234");
    data.close();
    session.expect("NOOP", 200);
    assert_eq!(bench.files.files(), [VirtualPath::from("/a")]);

    session.upload("STOR new", b"12345");
    assert_eq!(bench.files.get("/new").as_deref(), Some(&b"12345"[..]));
    assert_eq!(session.download("RETR a").len(), content.len());
}

#[test]
fn a_delay_fault_delays_a_command() {
    let delay = Duration::from_millis(300);
    let bench = Bench::new(&[(Verb::Noop, 1, ProtocolFault::Delay(delay))]);
    let mut session = bench.login();
    let start = Instant::now();
    session.expect("NOOP", 200);
    assert!(start.elapsed() >= delay);
    session.expect("NOOP", 200);
}
