//! Files in an object store, with real clients, two servers of one bucket, and servers that are
//! killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ftp_client::{Client, FileOptions, Resume};
use ftp_server::{Activity, Rights, S3Storage, S3Store, S3Timeouts, Server, SessionInfo};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::peer::{ObjectStore, Peer};
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::random::Random;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::interop_curl::curl;

/// The variable that names the store to another process of this program.
const PLACE: &str = "FTP_TEST_STORE";

/// Time after which another server may resume a partial upload of a dead server.
const LEASE: Duration = Duration::from_secs(2);

/// The timeouts of a server that gives up soon, for the word `hasty` in its place.
pub(super) const HASTY: Duration = Duration::from_secs(2);

/// The length of a file of several parts, of which the last is not full.
const LENGTH: usize = 17 << 20;

/// Returns the endpoint and the keys of a store, as text.
pub(super) fn place(store: &ObjectStore) -> String {
    [&store.endpoint(), store.access_key, store.secret_key].join(" ")
}

pub(super) fn storage_at(place: &str) -> S3Storage {
    let words: Vec<_> = place.split(' ').collect();
    let [endpoint, access_key, secret_key, ref more @ ..] = *words else {
        panic!("{place} is no place");
    };
    let timeouts = S3Timeouts::new();
    let hasty = timeouts.idle(HASTY).answer(HASTY).commit(HASTY).retries(HASTY).late(HASTY);
    let store = S3Store::builder(endpoint, "bucket")
        .credentials(access_key, secret_key)
        .timeouts(if more.is_empty() { timeouts } else { hasty })
        .part_size(5 << 20)
        .lease(LEASE);
    let store = store.build().expect("a store");
    wait_until("the store takes objects", || store.probe().is_ok());
    store.storage("files").expect("a storage")
}

/// A server in this process.
pub(super) fn serve(place: &str) -> Server {
    let builder = Server::builder().storage(storage_at(place).keep_times(true).rename_trees(9));
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server")
}

/// Returns the installed stores; in a plain run, this many of them.
pub(super) fn stores(plain: usize) -> impl Iterator<Item = ObjectStore> {
    let starts = vec![ObjectStore::seaweedfs, ObjectStore::moto, ObjectStore::garage];
    scale::some(starts, plain).into_iter().filter_map(|start| start())
}

/// Calls `test` once for each store, with a server and its address.
fn meets(test: impl Fn(&Server, SocketAddr)) {
    for store in stores(1) {
        let server = serve(&place(&store));
        test(&server, server.local_addr());
    }
}

pub(super) fn login(address: SocketAddr) -> RawSession {
    let mut session = RawSession::login(address, "u", "p");
    session.expect("TYPE I", 200);
    session
}

#[track_caller]
fn expect_content(address: SocketAddr, name: &str, want: &[u8]) {
    assert_same(name, &login(address).download(format!("RETR {name}")), want);
}

/// Returns the code of the reply to `SIZE`, and the size of a file or a partial file in it.
fn size(address: SocketAddr, name: &str) -> (u16, Option<u64>) {
    let reply = login(address).ask(format!("SIZE {name}"));
    let text = reply.text();
    (reply.code, text.strip_prefix("213 ").and_then(|size| size.trim().parse().ok()))
}

/// Waits until the server has stored the last bytes of a cut upload. Until then `SIZE` gets 450.
fn wait_until_partial_file_is_kept(address: SocketAddr) {
    wait_until("the upload is kept", || size(address, "there").0 == 213);
}

/// Returns the number of bytes that the server has received of a running upload.
fn received(server: &Server) -> u64 {
    let bytes = |session: SessionInfo| match session.activity {
        Activity::Transfer { bytes, .. } => bytes,
        _ => 0,
    };
    server.sessions().into_iter().map(bytes).max().unwrap_or(0)
}

/// Kills a client when the store has some parts, and waits until the server keeps its upload. On a
/// busy machine, a client may have sent everything by then; then it begins again.
fn interrupt_midway(server: &Server, begin: &mut Command) {
    let address = server.local_addr();
    begin.stdout(Stdio::null()).stderr(Stdio::null());
    wait_until("an upload is cut", || {
        let mut client = Running::start(begin);
        let has_parts = || (received(server) > 6 << 20).then_some(());
        client.wait_until(LIMIT, has_parts).expect("an upload goes on");
        kill_process_group(Pid::from_child(&client.child), Signal::KILL).expect("it runs");
        drop(client);
        wait_until_partial_file_is_kept(address);
        let mut session = login(address);
        // Only a published file has a time.
        let is_published = session.ask("MDTM there").code == 213;
        if is_published {
            session.expect("DELE there", 250);
            return false;
        }
        let _data = session.passive();
        session.expect("RETR there", 550);
        true
    });
}

#[test]
fn curl_stores_reads_and_resumes() {
    let Some(peer) = Peer::find("curl") else { return };
    meets(|server, address| {
        let local = TempRoot::new();
        let content = binary(LENGTH, 1);
        let source = local.write("source", &content);
        let put = |more: &[&str]| {
            let mut command = curl(&peer);
            command.args(more).arg("-T").arg(&source).arg(format!("ftp://u:p@{address}/there"));
            command
        };
        run(&mut put(&[])).succeeded();
        let target = local.join("target");
        run(curl(&peer).arg("-o").arg(&target).arg(format!("ftp://u:p@{address}/there")))
            .succeeded();
        assert_same("there", &local.read("target"), &content);
        login(address).expect("DELE there", 250);
        interrupt_midway(server, &mut put(&["--limit-rate", "2M"]));
        let said = run(&mut put(&["-C", "-"]));
        let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
        said.succeeded();
        assert!(dialogue.contains("> APPE there") && !dialogue.contains("> STOR"), "{dialogue}");
        expect_content(address, "there", &content);
    });
}

#[test]
fn lftp_stores_and_resumes() {
    let Some(peer) = Peer::find("lftp") else { return };
    meets(|server, address| {
        let (local, home) = (TempRoot::new(), TempRoot::new());
        let content = binary(LENGTH, 2);
        local.write("there", &content);
        let open =
            format!("set cmd:fail-exit yes; set net:max-retries 1\nopen -u u,p ftp://{address}\n");
        let lftp = |script: &str| {
            let script = home.write("script", format!("{open}{script}\n").as_bytes());
            let mut command = peer.command();
            command.env("HOME", home.path()).current_dir(local.path()).arg("-f").arg(script);
            command
        };
        interrupt_midway(server, &mut lftp("set net:limit-total-rate 0:2000000\nput there"));
        run_with(&mut lftp("put -c there"), &[], LIMIT).succeeded();
        expect_content(address, "there", &content);
        run_with(&mut lftp("mkdir tree\nmirror -R . tree\nmirror tree back"), &[], LIMIT)
            .succeeded();
        assert_same("back/there", &local.read("back/there"), &content);
    });
}

#[test]
fn our_client_stores_reads_and_resumes() {
    meets(|_, address| {
        let local = TempRoot::new();
        let content = binary(LENGTH, 3);
        let source = local.write("source", &content);
        let mut session = login(address);
        let mut data = session.passive();
        session.expect("STOR there", 150);
        data.write_all(&content[..11 << 20]);
        data.reset();
        session.expect_reply(426);
        wait_until_partial_file_is_kept(address);
        let client = || {
            let mut client = Client::builder().connect(&address.to_string()).expect("a connection");
            client.login("u", "p").expect("a login");
            client
        };
        // Another program stored the bytes, so nothing but the caller proves them.
        let options = FileOptions::new().resume(Resume::Trusted);
        let done = client().upload_from(&source, "there", &options, &()).expect("a file");
        // A reset discards what the server has not read yet, at most the buffers of both sockets.
        assert!(done.resumed > 0 && done.size == LENGTH as u64, "{done:?}");
        expect_content(address, "there", &content);
        let target = local.join("target");
        let options = FileOptions::new();
        client().download_to("there", &target, &options, &()).expect("a file");
        assert_same("target", &local.read("target"), &content);
    });
}

#[test]
fn a_cut_anonymous_upload_is_continued_by_no_anonymous_client_of_any_server_fs_15() {
    let Some(store) = ObjectStore::moto() else { return };
    let here = place(&store);
    // By another name, the store is that of another process.
    let servers = [here.clone(), here.replace("127.0.0.1", "localhost")].map(|place| {
        let builder = Server::builder().storage(storage_at(&place)).anonymous(Rights::FULL);
        builder.bind("127.0.0.1:0").expect("a server")
    });
    let sessions = || {
        servers.each_ref().map(|server| {
            let mut session = RawSession::login(server.local_addr(), "anonymous", "p");
            session.expect("TYPE I", 200);
            session
        })
    };
    let [mut cut, mut other] = sessions();
    cut.upload("STOR f", b"old");
    let mut data = cut.passive();
    cut.expect("STOR f", 150);
    data.write_all(b"a part of the new one");
    data.reset();
    cut.expect_reply(426);
    for mut session in sessions() {
        wait_until("the upload has ended", || session.ask("SIZE f").code != 450);
        session.expect("SIZE f", 554);
        let _data = session.passive();
        session.expect("APPE f", 450);
        assert_eq!(session.download("RETR f"), b"old");
    }
    other.upload("STOR f", b"whole");
    for mut session in sessions() {
        session.expect("SIZE f", 213);
        session.upload("APPE f", b"!");
    }
}

#[test]
#[ignore = "it is the server that another test starts and kills"]
fn serves_an_object_store_until_killed() {
    let place = std::env::var(PLACE).expect("the other test starts it");
    let server = serve(&place);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nsaid {}", server.local_addr()).unwrap();
    stdout.flush().unwrap();
    // When the parent process ends, so does standard input, and then this process.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A server in another process.
pub(super) struct Served {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Served {
    pub(super) fn start(place: &str) -> Self {
        let name = "stores::serves_an_object_store_until_killed";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
        command.env(PLACE, place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("said ")?.parse().ok());
        Self { child, address: address.expect("it tells where it is") }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Kills the process with SIGKILL, and waits for its end.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The moment at which a server is killed.
enum Moment {
    /// The client has sent this number of bytes.
    After(usize),
    /// It has had the time to store its parts, and lacks the last byte.
    WithParts,
    /// The client sent everything, and closed, this time ago.
    Whole(Duration),
}

/// Sends a file to a server and kills it.
fn kill_at(moment: &Moment, served: Served, content: &[u8]) {
    let mut session = login(served.address);
    let data = session.passive();
    session.expect("STOR f", 150);
    let count = match moment {
        Moment::After(count) => *count,
        Moment::WithParts => content.len() - 1,
        Moment::Whole(_) => content.len(),
    };
    data.stream().write_all(&content[..count]).unwrap();
    match moment {
        Moment::After(_) => {}
        Moment::WithParts => std::thread::sleep(Duration::from_secs(2)),
        Moment::Whole(wait) => {
            data.close();
            std::thread::sleep(*wait);
        }
    }
    served.kill();
}

/// Kills servers during uploads, and resumes the uploads on another server of the bucket.
fn kills(store: &ObjectStore, rounds: u64) {
    let place = place(store);
    let other = serve(&place);
    let address = other.local_addr();
    let content = binary(LENGTH, 5);
    let mut random = Random::new(5);
    let mut resumed = 0;
    for round in 0..rounds {
        let moment = match round % 4 {
            1 => Moment::WithParts,
            3 => Moment::Whole(Duration::from_millis(random.below(400) as u64)),
            _ => Moment::After(random.below(LENGTH)),
        };
        let is_whole = matches!(moment, Moment::Whole(_));
        kill_at(&moment, Served::start(&place), &content);
        let mut session = login(address);
        // The dead server's lease has to expire, and the store to finish its last request.
        wait_until("the file is there, or its upload is resumed", || {
            if !session.download("NLST").is_empty() {
                assert!(is_whole, "{round}: early");
                return true;
            }
            let (code, size) = size(address, "f");
            if code == 450 {
                return false;
            }
            let size = size.unwrap_or(0);
            assert!(is_whole || size < LENGTH as u64, "{round}: {size}");
            let data = session.passive();
            if size > 0 {
                session.expect(format!("REST {size}"), 350);
            }
            let reply = session.ask("STOR f");
            if [450, 554].contains(&reply.code) {
                return false;
            }
            assert_eq!(reply.code, 150, "{round}: {reply:?}");
            // The reply says whether the server has taken it.
            let _ = data.stream().write_all(&content[usize::try_from(size).unwrap()..]);
            data.close();
            let reply = session.reply();
            // The store has finished the dead server's request only now, and published the file.
            let is_late = is_whole && reply.code != 226;
            assert!(is_late || reply.code == 226, "{round}: {reply:?}");
            resumed += u32::from(size > 0 && !is_late);
            !is_late
        });
        expect_content(address, "f", &content);
        session.expect("DELE f", 250);
    }
    assert!(resumed > 0, "nothing was resumed, though parts were stored");
}

/// Pauses a server during an upload until another one has resumed and completed it.
fn pauses(store: &ObjectStore) {
    let place = place(store);
    let other = serve(&place);
    let address = other.local_addr();
    let content = binary(LENGTH, 6);
    let paused = Served::start(&place);
    let mut session = login(paused.address);
    let data = session.passive();
    session.expect("STOR f", 150);
    data.stream().write_all(&content[..LENGTH - 1]).unwrap();
    // The time to store its parts.
    std::thread::sleep(Duration::from_secs(2));
    paused.signal(Signal::STOP);
    let mut resumed = login(address);
    wait_until("the other server resumes the upload", || {
        let (code, Some(size @ 1..)) = size(address, "f") else { return false };
        assert_eq!(code, 213);
        let data = resumed.passive();
        resumed.expect(format!("REST {size}"), 350);
        if resumed.ask("STOR f").code != 150 {
            return false;
        }
        data.stream().write_all(&content[usize::try_from(size).unwrap()..]).unwrap();
        data.close();
        resumed.expect_reply(226);
        true
    });
    paused.signal(Signal::CONT);
    // The client of the paused server goes on, and ends differently.
    let _ = data.stream().write_all(b"other bytes");
    data.close();
    let reply = session.reply();
    assert!([450, 451].contains(&reply.code), "{}: {reply:?}", store.name);
    expect_content(address, "f", &content);
    paused.kill();
}

#[test]
fn a_paused_server_does_not_replace_what_another_has_completed() {
    for store in stores(1) {
        pauses(&store);
    }
}

#[test]
fn killed_servers_leave_no_torn_files_and_others_resume() {
    for store in stores(2) {
        kills(&store, 4);
    }
}

#[test]
fn killed_servers_leave_no_torn_files_at_scale() {
    if !scale::is_full() {
        return;
    }
    let Some(store) = ObjectStore::seaweedfs() else { return };
    kills(&store, 100);
}
