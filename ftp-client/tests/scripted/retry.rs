//! Transfers that are retried over connections that break.

mod renames;
mod uploads;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ftp_client::{Canceller, Client, ClientBuilder, Done, Error, FileOptions, Retry};
use ftp_tests::wait::patiently;

use crate::peer::{Peer, SOON, reset, timeouts};

/// A peer with a script for each connection, one after the other.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

type Script = Box<dyn FnOnce(Peer) + Send>;

impl Server {
    fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (control, _) = listener.accept().unwrap();
                let mut peer = Peer::new(control);
                peer.reply("220 ready");
                peer.answer("USER u", "331 password");
                peer.answer("PASS p", "230 in");
                script(peer);
            }
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "one more connection");
        });
        Self { address, thread }
    }

    fn queue(&self) -> Retry {
        self.queue_with(Client::builder().timeouts(timeouts()))
    }

    fn queue_with(&self, builder: ClientBuilder) -> Retry {
        let first = Duration::from_millis(2);
        Retry::new(builder, self.address.to_string()).login("u", "p").pauses(first, 4 * first)
    }

    fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A local directory with the file of the transfer.
struct Local(tempfile::TempDir);

impl Local {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Returns one with a file to upload.
    fn holding(content: &str) -> Self {
        let local = Self::new();
        std::fs::write(local.path("a"), content).unwrap();
        local
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn download(&self, queue: &mut Retry) -> Result<Done, Error> {
        queue.download_to("a", self.path("a"), &FileOptions::new())
    }

    fn upload(&self, queue: &mut Retry) -> Result<Done, Error> {
        queue.upload_from(self.path("a"), "a", &FileOptions::new())
    }
}

fn on(script: impl FnOnce(Peer) + Send + 'static) -> Script {
    Box::new(script)
}

/// The commands of an attempt before it begins.
fn about(peer: &mut Peer, size: u64, modified: &str) {
    peer.answer("SIZE a", &format!("213 {size}"));
    peer.answer("MDTM a", modified);
}

fn opened(peer: &mut Peer, command: &str) -> std::net::TcpStream {
    peer.epsv();
    let (rest, verb) = command.rsplit_once(", ").unwrap_or(("", command));
    if !rest.is_empty() {
        peer.answer(rest, "350 go on");
    }
    peer.answer(verb, "150 Opening");
    peer.data()
}

const THEN: &str = "213 20260101000000";
const LATER: &str = "213 20260101000001";

/// `TYPE I` and a download of `hello, world`, cut after the first five bytes.
fn cut(mut peer: Peer) {
    peer.answer("TYPE I", "200 ok");
    about(&mut peer, 12, THEN);
    let mut data = opened(&mut peer, "RETR a");
    data.write_all(b"hello").unwrap();
    peer.close();
}

#[test]
fn an_interrupted_download_resumes_on_a_new_connection_as_09() {
    let server = Server::start(vec![
        on(cut),
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 12, THEN);
            // The first bytes are received again and compared.
            opened(&mut peer, "RETR a").write_all(b"hello, wo").unwrap();
            // The connection stays open for the next attempt.
            peer.reply("426 cut");
            about(&mut peer, 12, THEN);
            opened(&mut peer, "RETR a").write_all(b"hello, world").unwrap();
            peer.reply("226 done");
            peer.answer("MDTM a", THEN);
            peer.answer("FEAT", "502 what");
            // No option asks to resume what an earlier job has fetched.
            about(&mut peer, 12, THEN);
            opened(&mut peer, "RETR a").write_all(b"hello, world").unwrap();
            peer.reply("226 done");
            peer.answer("QUIT", "221 bye");
        }),
    ]);
    let mut queue = server.queue();
    let local = Local::new();
    let done = local.download(&mut queue).unwrap();
    assert_eq!(local.content("a"), "hello, world");
    assert_eq!((done.attempts, done.resumed, done.size), (3, 9, 12));
    assert_eq!(done.bytes, 3);
    let done = local.download(&mut queue).unwrap();
    assert_eq!((done.attempts, done.resumed, done.size), (1, 0, 12));
    assert_eq!(local.content("a"), "hello, world");
    queue.quit().unwrap();
    server.end();
}

#[test]
fn a_queue_never_joins_its_bytes_to_a_file_that_it_has_not_written() {
    for name in ["a", "a.part"] {
        let server = Server::start(vec![on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 12, THEN);
            opened(&mut peer, "RETR a").write_all(b"hello, world").unwrap();
            peer.reply("226 done");
            peer.answer("QUIT", "221 bye");
        })]);
        let local = Local::new();
        std::fs::write(local.path(name), "HELLO").unwrap();
        let mut queue = server.queue();
        let done = local.download(&mut queue).unwrap();
        assert_eq!((done.resumed, local.content("a").as_str()), (0, "hello, world"), "{name}");
        assert!(name == "a" || local.content(name) == "HELLO");
        queue.quit().unwrap();
        server.end();
    }
}

#[test]
fn a_download_of_a_changed_file_starts_again_as_09() {
    for (size, modified) in [(12, LATER), (11, THEN), (3, THEN), (13, LATER)] {
        let server = Server::start(vec![
            on(cut),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about(&mut peer, size, modified);
                let file = &b"other, other."[..usize::try_from(size).unwrap()];
                // Cut again, before the new file has the length of the old one.
                opened(&mut peer, "RETR a").write_all(&file[..2]).unwrap();
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about(&mut peer, size, modified);
                let file = &b"other, other."[..usize::try_from(size).unwrap()];
                opened(&mut peer, "RETR a").write_all(file).unwrap();
                peer.reply("226 done");
                peer.answer("MDTM a", modified);
                peer.answer("FEAT", "502 what");
            }),
        ]);
        let local = Local::new();
        let done = local.download(&mut server.queue()).unwrap();
        assert_eq!(local.content("a"), "other, other."[..usize::try_from(size).unwrap()]);
        assert_eq!((done.attempts, done.resumed, done.size), (3, 2, size));
        server.end();
    }
}

/// `TYPE I` and a download of 80,000 bytes, cut after 70,000 bytes.
fn cut_late(peer: &mut Peer, content: &[u8]) {
    peer.answer("TYPE I", "200 ok");
    about(peer, 80_000, THEN);
    opened(peer, "RETR a").write_all(content.get(..70_000).unwrap()).unwrap();
    peer.reply("426 cut");
    about(peer, 80_000, THEN);
    peer.epsv();
}

/// 80,000 bytes in which no two pieces are equal.
fn numbers() -> Vec<u8> {
    (0..20_000_u32).flat_map(u32::to_be_bytes).collect()
}

#[test]
fn own_bytes_that_the_server_cannot_resume_are_fetched_again_as_09() {
    let content = numbers();
    let server = Server::start(vec![on(move |mut peer| {
        cut_late(&mut peer, &content);
        peer.answer("REST 4464", "502 no");
        about(&mut peer, 80_000, THEN);
        opened(&mut peer, "RETR a").write_all(&content).unwrap();
        peer.reply("226 done");
    })]);
    let local = Local::new();
    let done = local.download(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed), (2, 0));
    assert_eq!(std::fs::read(local.path("a")).unwrap(), numbers());
    server.end();
}

#[test]
fn a_download_starts_again_if_the_server_ignores_rest_hc_19() {
    // It replies 350 and still sends the whole file.
    let content = numbers();
    let server = Server::start(vec![on(move |mut peer| {
        cut_late(&mut peer, &content);
        peer.answer("REST 4464", "350 go on");
        peer.answer("RETR a", "150 Opening");
        // The client ends the transfer at the first byte that differs.
        let _ = peer.data().write_all(&content);
        peer.reply("226 done");
        peer.allow_abort();
        about(&mut peer, 80_000, THEN);
        opened(&mut peer, "RETR a").write_all(&content).unwrap();
        peer.reply("226 done");
    })]);
    let local = Local::new();
    let done = local.download(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed), (2, 0));
    assert_eq!(std::fs::read(local.path("a")).unwrap(), numbers());
    server.end();
}

#[test]
fn bytes_of_another_version_of_equal_size_show_in_the_overlap() {
    // The server reports no times, and its file is exchanged between two attempts.
    let content = numbers();
    let other: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    let want = other.clone();
    let server = Server::start(vec![on(move |mut peer| {
        let untimed = |peer: &mut Peer| about(peer, 80_000, "500 what");
        peer.answer("TYPE I", "200 ok");
        untimed(&mut peer);
        opened(&mut peer, "RETR a").write_all(&content[..70_000]).unwrap();
        peer.reply("426 cut");
        untimed(&mut peer);
        peer.epsv();
        peer.answer("REST 4464", "350 go on");
        peer.answer("RETR a", "150 Opening");
        let _ = peer.data().write_all(&other[4_464..]);
        peer.reply("226 done");
        peer.allow_abort();
        untimed(&mut peer);
        opened(&mut peer, "RETR a").write_all(&other).unwrap();
        peer.reply("226 done");
    })]);
    let local = Local::new();
    let done = local.download(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed), (2, 0));
    assert_eq!(std::fs::read(local.path("a")).unwrap(), want);
    server.end();
}

#[test]
fn permanent_failures_are_not_retried() {
    for (reply, code) in [("550 no such file", 550), ("552 full", 552), ("452 full", 452)] {
        let server = Server::start(vec![on(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "550 no such file");
            peer.epsv();
            peer.answer("STOR a", reply);
            peer.answer("QUIT", "221 bye");
        })]);
        let mut queue = server.queue();
        match Local::holding("hello").upload(&mut queue) {
            Err(Error::Refused { reply, .. }) => assert_eq!(reply.code().value(), code),
            other => panic!("{other:?}"),
        }
        // The connection is still usable.
        queue.quit().unwrap();
        server.end();
    }
    // A refused login is not retried either.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.reply("220 ready");
        peer.answer("USER anonymous", "331 password");
        peer.answer("PASS anonymous@", "530 not you");
        peer.expect_end();
    });
    let mut queue = Retry::new(Client::builder().timeouts(timeouts()), address.to_string());
    assert!(matches!(queue.client(), Err(Error::Refused { .. })));
    thread.join().unwrap();
}

#[test]
fn transient_failures_are_retried_up_to_the_limit() {
    let server = Server::start(vec![on(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        for _ in 0..3 {
            about(&mut peer, 5, THEN);
            peer.epsv();
            peer.answer("RETR a", "450 busy");
        }
        peer.expect_end();
    })]);
    let mut queue = server.queue().attempts(3);
    let failed = Local::new().download(&mut queue);
    assert!(matches!(&failed, Err(error) if error.is_transient()), "{failed:?}");
    drop(queue);
    server.end();
}

#[test]
fn every_new_connection_enters_the_same_directory() {
    let (hang_up, hung_up) = mpsc::channel();
    let entered = |mut peer: Peer| {
        peer.answer("CWD sub", "250 there");
        peer
    };
    let server = Server::start(vec![
        on(move |peer| cut(entered(peer))),
        on(move |peer| {
            let mut peer = entered(peer);
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 12, THEN);
            opened(&mut peer, "RETR a").write_all(b"hello, world").unwrap();
            peer.reply("226 done");
            peer.answer("MDTM a", THEN);
            peer.answer("FEAT", "502 what");
            // The server closes an idle connection.
            peer.reply("421 idle");
            peer.close();
            hang_up.send(()).unwrap();
        }),
        on(move |peer| {
            let mut peer = entered(peer);
            peer.answer("NOOP", "200 ok");
            peer.answer("QUIT", "221 bye");
        }),
    ]);
    let mut queue = server.queue().directory("sub").attempts(2);
    let local = Local::new();
    assert_eq!(local.download(&mut queue).unwrap().attempts, 2);
    assert_eq!(local.content("a"), "hello, world");
    // Reconnecting is not an attempt: one attempt suffices here.
    let mut queue = queue.attempts(1);
    hung_up.recv().unwrap();
    queue.client().unwrap().noop().unwrap();
    queue.quit().unwrap();
    server.end();
}

#[test]
fn a_failing_sink_is_a_permanent_local_error() {
    struct Full(Vec<u8>);
    impl Write for Full {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            if self.0.len() + data.len() > 5 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.write(data)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(vec![on(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        opened(&mut peer, "RETR a").write_all(b"hello, world").unwrap();
        peer.reply("226 done");
        peer.allow_abort();
        peer.answer("QUIT", "221 bye");
    })]);
    let mut queue = server.queue();
    let failed = queue.run(|client| client.retrieve("a")?.copy_to(&mut Full(Vec::new())));
    assert!(matches!(failed, Err(Error::Local(_))), "{failed:?}");
    assert!(!failed.unwrap_err().is_transient());
    queue.quit().unwrap();
    server.end();
}

#[test]
fn the_overall_timeout_includes_pauses_and_connections() {
    let limit = Duration::from_secs(100);
    let builder = || Client::builder().timeouts(timeouts()).overall(Some(limit));
    let begin = Instant::now();
    // The pause would exceed the limit: the error of the attempt is returned at once.
    let server = Server::start(vec![on(|peer| {
        cut(peer);
    })]);
    let mut queue = server.queue_with(builder()).pauses(4 * limit, 4 * limit);
    let failed = Local::new().download(&mut queue);
    assert!(matches!(failed, Err(Error::Closed)), "{failed:?}");
    server.end();
    assert!(begin.elapsed() < limit);

    // A new connection gets only the remaining time.
    patiently(Duration::from_secs(2), |short| {
        let (silent, was_silent) = mpsc::channel();
        let server = Server::start(vec![
            on(cut),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                // Then nothing more.
                peer.expect("SIZE a");
                silent.send(()).unwrap();
                peer.expect_end();
            }),
        ]);
        let mut queue = server.queue_with(builder().overall(Some(short)));
        let failed = Local::new().download(&mut queue);
        assert!(matches!(failed, Err(Error::Timeout(_))), "{failed:?}");
        was_silent.try_recv().expect("the second connection was made in time");
        server.end();
    });
}

#[test]
fn a_pause_can_be_cancelled() {
    let canceller = Canceller::new().unwrap();
    let button = canceller.clone();
    let server = Server::start(vec![on(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, 12, THEN);
        let data = opened(&mut peer, "RETR a");
        peer.close();
        reset(data);
        std::thread::park_timeout(Duration::from_millis(50));
        button.cancel();
    })]);
    let builder = Client::builder().timeouts(timeouts()).canceller(canceller);
    let long = 10 * SOON;
    let mut queue = server.queue_with(builder).pauses(long, long);
    let begin = Instant::now();
    let failed = Local::new().download(&mut queue);
    assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
    assert!(begin.elapsed() < SOON);
    server.end();
}
