//! Interrupted uploads as clients see them: `SIZE`, `REST`, `APPE`, and for which user.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ftp_server::{LocalConfig, LocalStorage, Login, PartialPolicy, Rights, UserTable};
use ftp_tests::content::binary;
use ftp_tests::peer::{Peer, skipped};
use ftp_tests::process::Running;
use ftp_tests::raw::RawSession;
use ftp_tests::scale::count;
use ftp_tests::wait::wait_until;

use super::{Fixture, RECORD, has_bytes, play};

/// Sends `content` to a command, disconnects, and waits until the session has ended.
fn cut(fixture: &Fixture, session: RawSession, command: &str, content: &[u8]) {
    let (mut session, before) = (session, fixture.names());
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect(command, 150);
    data.write_all(content);
    // All bytes must arrive before the end of the connection.
    wait_until("the bytes are read", || moved(&mut session) == content.len() as u64);
    let client = super::events::address(&session);
    drop(session);
    wait_until("the partial uploads are as expected", || fixture.names() != before);
    // The name of a partial upload is there before the session has released it.
    let is_gone = || fixture.server.sessions().iter().all(|session| session.peer != client);
    wait_until("the session has ended", is_gone);
    drop(data);
}

/// Returns the number of received bytes that `STAT` reports.
pub(super) fn moved(session: &mut RawSession) -> u64 {
    let reply = session.expect("STAT", 211);
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    let (_, moved) = text.split_once("in progress: ").expect("a transfer runs");
    moved.split(' ').next().and_then(|moved| moved.parse().ok()).expect("a number")
}

#[test]
fn an_interrupted_upload_is_resumed_by_rest_and_by_appe_fs_15_cm_121_st_15() {
    for (rest, command, rest_of_it, want) in [
        (None, "APPE f", &b"4567"[..], &b"01234567"[..]),
        (Some(4), "STOR f", b"4567", b"01234567"),
        (Some(5), "STOR f", b"567", b"01234567"),
        (Some(5), "APPE f", b"567", b"01234567"),
        (Some(3), "STOR f", b"xyz", b"012xyz"),
        // A client that knows that it has sent everything.
        (Some(5), "STOR f", b"", b"01234"),
        (None, "STOR f", b"anew", b"anew"),
    ] {
        let fixture = Fixture::new();
        cut(&fixture, fixture.session(), "STOR f", b"01234");
        assert_eq!(fixture.published(), [""; 0]);
        let names = fixture.names();
        assert_eq!(names.len(), 2, "{names:?}");
        // Other users do not see it, and its own user sees only the length.
        let mut other = RawSession::login(fixture.server.local_addr(), "fxp", "p");
        let mut session = fixture.session();
        play(&mut other, &[("TYPE I", 200), ("SIZE f", 550), ("REST 5", 350)]);
        other.expect("PASV", 227);
        other.expect("REST 5", 350);
        other.expect("STOR f", 554);
        let mut truthful = fixture.session();
        play(
            &mut truthful,
            &[("MDTM f", 550), ("MLST f", 550), ("SIZE f", 550), ("RNFR f", 550), ("TYPE I", 200)],
        );
        // One session hears one story.
        play(&mut truthful, &[("SIZE f", 550)]);
        assert_eq!(session.download("NLST"), b"");
        session.expect("TYPE I", 200);
        assert_eq!(session.expect("SIZE f", 213).bytes, b"213 4\r\n");
        session.expect("PASV", 227);
        session.expect("REST 6", 350);
        session.expect("STOR f", 554);
        assert_eq!(session.expect("SIZE f", 213).bytes, b"213 4\r\n");
        if let Some(offset) = rest {
            session.expect(format!("REST {offset}"), 350);
        }
        session.upload(command, rest_of_it);
        assert_eq!(fixture.read("f"), want, "{command} from {rest:?}");
        assert_eq!(fixture.names(), ["f"]);
    }
}

#[test]
fn a_partial_file_survives_a_second_interruption_and_abor_fs_15_dc_46() {
    let fixture = Fixture::new();
    cut(&fixture, fixture.session(), "STOR f", b"01234");
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("SIZE f", 213)]);
    let mut second = fixture.session();
    play(&mut second, &[("TYPE I", 200), ("SIZE f", 213)]);
    let mut data = session.passive();
    session.expect("APPE f", 150);
    data.write_all(b"4567");
    wait_until("the bytes are read", || moved(&mut session) == 4);
    // A second session cannot resume it at the same time.
    second.expect("PASV", 227);
    second.expect("APPE f", 450);
    data.reset();
    session.expect_reply(426);
    assert_eq!(session.expect("SIZE f", 213).bytes, b"213 7\r\n");
    let mut data = session.passive();
    session.expect("APPE f", 150);
    data.write_all(b"78");
    wait_until("the bytes are read", || moved(&mut session) == 2);
    session.expect("ABOR", 426);
    session.expect_reply(226);
    assert_eq!(session.expect("SIZE f", 213).bytes, b"213 8\r\n");
    session.upload("APPE f", b"8");
    assert_eq!(fixture.read("f"), b"012345678");
    assert_eq!(fixture.names(), ["f"]);
}

#[test]
fn an_interrupted_upload_keeps_the_existing_file_fs_15_hf_17() {
    for (command, told) in [("STOR f", "213 5"), ("APPE f", "213 3")] {
        let fixture = Fixture::new();
        fixture.write("f", "old");
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect(command, 150);
        data.write_all(b"a part");
        wait_until("the bytes are read", || moved(&mut session) == 6);
        data.reset();
        session.expect_reply(426);
        let left = (fixture.read("f"), fixture.published());
        assert_eq!(left, (b"old".to_vec(), vec!["f".to_owned()]));
        // The client may ask for the length of what it stored, to resume it.
        assert_eq!(session.expect("SIZE f", 213).text(), told, "{command}");
    }
}

#[test]
fn partial_files_of_a_shared_identity_are_never_kept_fs_15() {
    for partial in [PartialPolicy::Resume, PartialPolicy::Publish] {
        let fixture = Fixture::with(|builder| {
            let config = LocalConfig::new().partial(partial);
            builder.local_config(config).anonymous(Rights::FULL)
        });
        for (user, kept) in [("anonymous", 0), ("u", 1)] {
            let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
            session.expect("TYPE I", 200);
            let mut data = session.passive();
            session.expect("STOR f", 150);
            data.write_all(b"part");
            wait_until("the bytes are read", || moved(&mut session) == 4);
            data.reset();
            session.expect_reply(426);
            let names = fixture.names().into_iter().filter(|name| !name.starts_with(RECORD));
            let sizes = names.map(|name| fixture.read(&name).len());
            assert_eq!(sizes.filter(|size| *size > 0).count(), kept, "{user} {partial:?}");
        }
        assert_eq!(fixture.published().len(), usize::from(partial == PartialPolicy::Publish));
    }
}

#[test]
fn partial_files_belong_to_the_name_set_by_the_login_fs_15() {
    let root = tempfile::tempdir().expect("a directory");
    let storage: Arc<LocalStorage> = Arc::new(LocalStorage::open(root.path()).expect("a storage"));
    let login = || Login::new(Arc::clone(&storage) as _, Rights::FULL);
    let table = UserTable::new()
        .user("ann", "p", login().name("ann"))
        .user("Ann@example.org", "p", login().name("ann"))
        .user("drop", "p", login().shared(true))
        .user("bob", "p", login());
    let builder = ftp_server::Server::builder().config(super::quick()).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let fixture = Fixture { root, server };
    let login = |user: &str| RawSession::login(fixture.server.local_addr(), user, "p");
    cut(&fixture, login("ann"), "STOR f", b"0123");
    assert!(fixture.names().iter().any(|name| has_bytes(name)));
    for (user, code) in [("Ann@example.org", 213), ("drop", 550), ("bob", 550), ("ann", 213)] {
        play(&mut login(user), &[("TYPE I", 200), ("SIZE f", code)]);
    }
}

#[test]
fn closing_data_just_before_control_publishes_nothing_st_15_fs_15() {
    let fixture = Fixture::new();
    let address = fixture.server.local_addr();
    // A busy machine may need longer for the second end than the server waits.
    let mut round = 0;
    wait_until("one publishes nothing", || {
        round += 1;
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                scope.spawn(move || {
                    let mut session = RawSession::login(address, "u", "p");
                    let mut data = session.passive();
                    session.expect(format!("STOR {name}{round}"), 150);
                    for _ in 0..12 {
                        data.write_all(b"a piece");
                        thread::sleep(Duration::from_millis(100));
                    }
                    data.close();
                    thread::sleep(Duration::from_millis(10));
                    // At once, whoever has copies of the sockets.
                    session.stream().shutdown(Shutdown::Both).expect("it ends");
                });
            }
        });
        wait_until("the sessions have ended", || fixture.server.sessions().is_empty());
        assert_eq!(fixture.names().len(), 4 * round, "{:?}", fixture.names());
        fixture.published().len() < 4 * round
    });
}

#[test]
fn deleting_or_renaming_a_file_discards_its_partial_upload_fs_15_cm_90_cm_121() {
    let fixture = Fixture::new();
    let begin = || {
        cut(&fixture, fixture.session(), "STOR f", b"01234");
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("SIZE f", 213)]);
        session
    };
    // The user of a partial upload can delete it.
    let mut other = RawSession::login(fixture.server.local_addr(), "fxp", "p");
    let mut session = begin();
    play(&mut other, &[("DELE f", 550)]);
    play(&mut session, &[("SIZE f", 213), ("DELE f", 250), ("SIZE f", 550), ("DELE f", 550)]);
    assert!(fixture.names().is_empty());
    // DELE removes a file that another session stored, and the earlier partial upload too.
    let mut session = begin();
    fixture.write("f", "of another");
    play(&mut session, &[("DELE f", 250), ("SIZE f", 550)]);
    assert!(fixture.names().is_empty());
    // So does renaming another file to the name, or away from it.
    for (from, to) in [("other", "f"), ("f", "other")] {
        let mut session = begin();
        fixture.write(from, "other");
        session.expect(format!("RNFR {from}"), 350);
        session.expect(format!("RNTO {to}"), 250);
        assert_eq!(fixture.names(), [to]);
        session.expect(format!("DELE {to}"), 250);
        play(&mut session, &[("SIZE f", 550)]);
    }
    // An upload that runs goes on.
    let mut session = begin();
    let mut going_on = fixture.session();
    play(&mut going_on, &[("TYPE I", 200), ("SIZE f", 213)]);
    let mut data = going_on.passive();
    going_on.expect("APPE f", 150);
    play(&mut session, &[("DELE f", 550)]);
    data.write_all(b"4567");
    data.close();
    going_on.expect_reply(226);
    assert_eq!(fixture.read("f"), b"01234567");
}

/// Returns what a web server gives out under a name; `None` if it refuses.
fn web(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET /{name} HTTP/1.0\r\n\r\n").expect("a request");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply");
    let end = reply.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
    reply.starts_with(b"HTTP/1.0 200").then(|| reply.split_off(end + 4))
}

/// A web server that gives out a directory as another user of the computer, and prints its port.
const WEB: &str = "
import functools, http.server, os, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn a_web_server_gives_out_no_part_of_an_upload_fs_12_fs_13_fs_14() {
    let Some(python) = Peer::python("http.server") else { return };
    if !rustix::process::geteuid().is_root() {
        return skipped("no web server of another user can be started");
    }
    let fixture = Fixture::new();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(fixture.root.path(), open).expect("a mode");
    let mut command = python.command();
    command.args(["-c", WEB]).arg(fixture.root.path());
    let mut served = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut port = String::new();
    let output = served.child.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut port).expect("its port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().expect("a port")));

    // Number of looks at all names, and what was given out under which name.
    let (looks, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut whole = vec![Vec::new()];
    let given = thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut given = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let names = fixture.names().into_iter();
                given.extend(names.filter_map(|name| Some((web(address, &name)?, name))));
                looks.fetch_add(1, Ordering::SeqCst);
            }
            given
        });
        let look = || {
            let before = looks.load(Ordering::SeqCst);
            wait_until("all is polled", || looks.load(Ordering::SeqCst) > before + 1);
        };
        for round in 0..count(12, 100) {
            let content = binary(100_000, round as u64);
            let (half, rest) = content.split_at(50_000);
            whole.push(content.clone());
            let mut session = fixture.session();
            session.expect("TYPE I", 200);
            let mut data = session.passive();
            session.expect("STOR f", 150);
            data.write_all(half);
            look();
            if round % 2 == 0 {
                data.write_all(rest);
                data.close();
                session.expect_reply(226);
            } else {
                wait_until("the bytes are read", || moved(&mut session) == half.len() as u64);
                data.reset();
                session.expect_reply(426);
                look();
                session.expect(format!("REST {}", half.len()), 350);
                session.upload("STOR f", rest);
            }
            look();
            if round % 3 == 0 {
                session.expect("DELE f", 250);
            }
        }
        is_over.store(true, Ordering::SeqCst);
        poller.join().expect("a poller")
    });
    assert!(given.iter().any(|(_, name)| name == "f"), "it gives out nothing");
    for (content, name) in given {
        // Between its mode and its name, a complete file can be read under its hidden name.
        assert!(whole.contains(&content), "{name}: {} bytes", content.len());
    }
}
