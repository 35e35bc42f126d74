//! Two servers share a bucket and a quota, and SIGKILL ends one of them in the middle of uploads.
//! The killed server is another process of this test program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use ftp_tests::raw::RawSession;
use ftp_tests::wait::{at_last, wait_until};

use super::*;
use crate::auth::Rights;
use crate::ledger::{SharedQuota, SharedState, WithoutLedger};
use crate::server::Server;

/// The environment variable with the endpoint of the store.
const ENDPOINT: &str = "FTP_TEST_KILLED_STORE";

const LIMIT: u64 = 1_000_000;
const LENGTH: usize = 40_000;

fn quota(endpoint: &str) -> (SharedState, SharedQuota) {
    let store = settings(endpoint).timeouts(S3Timeouts::default()).build().unwrap();
    let ledger = S3Ledger::open(&store, "killed").unwrap();
    let lease = Duration::from_secs(2);
    let state = SharedState::start(ledger, lease, WithoutLedger::Refuse).unwrap();
    let storage = store.storage("files").unwrap();
    let storage = state.quota(storage, "files").max_bytes(LIMIT);
    (state, storage)
}

#[test]
#[ignore = "it is the server that another test starts and kills"]
fn serves_until_it_is_killed() {
    let endpoint = std::env::var(ENDPOINT).expect("the other test starts it");
    let (state, storage) = quota(&endpoint);
    let server = Server::builder().storage(storage).shared_state(state);
    let server = server.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nsaid {}", server.local_addr()).unwrap();
    stdout.flush().unwrap();
    drop(stdout);
    // Standard input ends with the parent process, and then this process ends too.
    let _ = std::io::stdin().read(&mut [0]);
}

fn start(endpoint: &str) -> (Child, SocketAddr) {
    let name = "storage::s3::tests::killed::serves_until_it_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(ENDPOINT, endpoint);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = { lines }.find_map(|line| line.strip_prefix("said ").map(str::to_owned));
    (child, said.expect("it tells where it is").parse().unwrap())
}

/// Returns the bytes of all files in the store.
fn stored(fake: &Fake) -> u64 {
    let keys = fake.keys("files/");
    keys.iter().map(|key| fake.content(key).map_or(0, |bytes| bytes.len() as u64)).sum()
}

fn upload_until_server_dies(address: SocketAddr) {
    let mut session = RawSession::login(address, "u", "p");
    session.expect("TYPE I", 200);
    for number in 0.. {
        if session.try_send("PASV\r\n").is_err() {
            return;
        }
        let Ok(reply) = session.try_reply() else { return };
        let text = reply.text();
        let numbers: Vec<u16> = text
            .split(|byte: char| !byte.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        let [.., high, low] = *numbers else { panic!("{text}") };
        let data = std::net::TcpStream::connect((address.ip(), high * 256 + low));
        if session.try_send(format!("STOR a{number}\r\n")).is_err() {
            return;
        }
        let Ok(mut data) = data else { return };
        let sent = data.write_all(&content(LENGTH));
        drop(data);
        if sent.is_err() || !matches!(session.try_reply(), Ok(reply) if reply.code == 150) {
            return;
        }
        if session.try_reply().is_err() {
            return;
        }
    }
}

fn fill(storage: &SharedQuota, round: usize) -> Option<Kind> {
    for number in 0.. {
        let put = || {
            let name = path(&format!("b{round}-{number}"));
            let mut upload = storage.write(&name, WriteMode::Replace, Keep::Bytes(USER))?;
            upload.write_all(&content(LENGTH))?;
            upload.commit()
        };
        if let Some(kind) = kind(put()) {
            return Some(kind);
        }
    }
    None
}

#[test]
fn two_servers_keep_a_quota_although_one_is_killed() {
    for files in [1, 4, 9] {
        let fake = Fake::start();
        let (mut child, address) = start(&fake.endpoint());
        let (_state, storage) = quota(&fake.endpoint());
        // This upload to the server never ends.
        let mut session = RawSession::login(address, "u", "p");
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect("STOR endless", 150);
        data.write_all(&content(3 * LENGTH));
        let client = thread::spawn(move || upload_until_server_dies(address));
        wait_until("files are stored", || fake.keys("files/a").len() >= files);
        child.kill().unwrap();
        child.wait().unwrap();
        client.join().unwrap();
        let end = fill(&storage, 0);
        assert!(matches!(end, Some(Kind::OverQuota | Kind::Busy)), "{end:?}");
        assert!(stored(&fake) <= LIMIT, "{files}: {}", stored(&fake));
        // Only what the dead server had reserved is free again.
        let mut round = 0;
        at_last("all of the quota can be used", || {
            round += 1;
            fill(&storage, round);
            assert!(stored(&fake) <= LIMIT, "{files}: {}", stored(&fake));
            (stored(&fake) + LENGTH as u64 > LIMIT).then_some(())
        });
    }
}

#[test]
fn a_server_that_is_killed_after_a_second_leaves_the_record_of_a_replaced_object_fs_13_fs_15() {
    let fake = Fake::start();
    fake.store("files/f", &content(LENGTH));
    let (mut child, address) = start(&fake.endpoint());
    let mut session = RawSession::login(address, "u", "p");
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("STOR f", 150);
    data.write_all(b"begin");
    wait_until("the note is there", || !fake.keys(".ftp-server/partial/").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let other = store_at(&fake).storage("files").unwrap();
    let found = || other.unfinished(&path("f"), Some(b"u")).unwrap().unwrap();
    assert!(found().is_running);
    fake.age_below(".ftp-server/partial/", 100);
    assert_eq!((found().is_running, found().kept), (false, 0));
}
