//! Pools of connections: servers that accept few, close idle ones, or refuse the login.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ftp_client::pool::Patience;
use ftp_client::{Canceller, Client, Error, Event, Pool, RawCommand, RepresentationType, Retry};

use crate::peer::{Peer, SOON, Server, get, reset, timeouts};

/// How a server refuses a connection.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Greeting(&'static str),
    Password(&'static str),
    Reset,
}

/// A server that accepts at most `places` connections at once, and answers `NOOP` and `CWD`.
struct Crowd {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Crowd {
    fn start(places: usize, refusal: Refusal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let taken = AtomicUsize::new(0);
            std::thread::scope(|threads| {
                loop {
                    let (control, _) = listener.accept().unwrap();
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let is_full = taken.fetch_add(1, Ordering::SeqCst) >= places;
                    let taken = &taken;
                    threads.spawn(move || {
                        match is_full {
                            true => refuse(control, refusal),
                            false => serve(control),
                        }
                        taken.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
        });
        Self { address, is_over, asked, thread }
    }

    fn pool(&self, size: usize) -> Pool<'static> {
        let address = self.address.to_string();
        let dial = move || {
            let mut client = Client::builder().timeouts(timeouts()).connect(&address)?;
            client.login("u", "p").map(|()| client)
        };
        Pool::new(dial).size(size).patience(hasty())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address).unwrap());
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The default attempts, with short pauses.
fn hasty() -> Patience {
    let first = Duration::from_millis(2);
    Patience::new().pauses(first, 4 * first)
}

fn refuse(control: TcpStream, refusal: Refusal) {
    if let Refusal::Reset = refusal {
        return reset(control);
    }
    let mut peer = Peer::new(control);
    match refusal {
        Refusal::Greeting(reply) => peer.reply(reply),
        Refusal::Password(reply) => {
            peer.reply("220 ready");
            peer.answer("USER u", "331 password");
            peer.answer("PASS p", reply);
        }
        Refusal::Reset => {}
    }
    peer.close();
}

fn serve(control: TcpStream) {
    let mut peer = Peer::new(control);
    peer.reply("220 ready");
    peer.answer("USER u", "331 password");
    peer.answer("PASS p", "230 in");
    loop {
        match peer.line().as_slice() {
            b"" => return,
            b"QUIT\r\n" => return peer.reply("221 bye"),
            _ => peer.reply("200 ok"),
        }
    }
}

#[test]
fn a_server_that_accepts_two_connections_serves_four_threads() {
    for refusal in [
        Refusal::Greeting("421 too many connections"),
        Refusal::Greeting("530 too many connections"),
        Refusal::Password("530 Sorry, the maximum number of clients are already connected"),
        Refusal::Reset,
    ] {
        let server = Crowd::start(2, refusal);
        let pool = server.pool(4).patience(hasty().attempts(1));
        let (done, used) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
        let all = &Barrier::new(4);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    all.wait();
                    for _ in 0..5 {
                        let work = |client: &mut Client| {
                            used.lock().unwrap().insert(client.local_addr());
                            client.noop()
                        };
                        pool.run(&(), work).unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 20, "{refusal:?}");
        let used = used.into_inner().unwrap().len();
        assert!((1..=2).contains(&used), "{used} {refusal:?}");
        assert!(server.asked() <= 4, "{} {refusal:?}", server.asked());
        pool.quit().unwrap();
        server.end();
    }
}

#[test]
fn a_wrong_password_is_sent_once_and_not_by_every_thread() {
    let server = Crowd::start(0, Refusal::Password("530 not you"));
    let pool = server.pool(4);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let failed = pool.run(&(), Client::noop);
                assert!(matches!(failed, Err(Error::Refused { .. })), "{failed:?}");
            });
        }
    });
    assert_eq!(server.asked(), 1);
    assert!(!pool.reopen_after(Duration::from_secs(60)));
    assert!(pool.take().is_err());
    assert_eq!(server.asked(), 1);
    pool.reopen();
    assert!(pool.take().is_err());
    assert_eq!(server.asked(), 2);
    server.end();
}

#[test]
fn a_connection_that_another_caller_cannot_use_is_not_lent_again() {
    let server = Crowd::start(9, Refusal::Reset);
    let pool = server.pool(1).patience(hasty().attempts(1));
    let address = pool.run(&(), |client| client.noop().map(|()| client.local_addr())).unwrap();
    // The same one again.
    assert_eq!(pool.take().unwrap().local_addr(), address);
    let mut moved = pool.take().unwrap();
    moved.cwd("sub").unwrap();
    drop(moved);
    let second = pool.take().unwrap();
    assert_ne!(second.local_addr(), address);
    second.discard();
    assert_eq!(server.asked(), 2);
    // With absolute paths, the directory does not matter.
    let pool = server.pool(1).any_directory(true);
    let mut moved = pool.take().unwrap();
    moved.cwd("sub").unwrap();
    let address = moved.local_addr();
    drop(moved);
    assert_eq!(pool.take().unwrap().local_addr(), address);
    assert_eq!(server.asked(), 3);
    drop(pool);
    server.end();
}

#[test]
fn the_type_that_a_caller_has_set_does_not_change_the_files_of_the_next_one() {
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"1\r\n");
        peer.reply("226 done");
    });
    let dial = || {
        let mut client = server.connect(Client::builder().timeouts(timeouts()))?;
        client.login("u", "p").map(|()| client)
    };
    let pool = Pool::new(dial);
    pool.take().unwrap().set_representation(RepresentationType::Ascii);
    assert_eq!(pool.run(&(), get).unwrap(), b"1\r\n");
    drop(pool);
    server.end();
}

#[test]
fn a_session_of_another_user_is_not_lent_again() {
    let server = Crowd::start(9, Refusal::Reset);
    for any_directory in [false, true] {
        let pool = server.pool(1).any_directory(any_directory);
        for line in ["USER v", "REIN"] {
            let mut other = pool.take().unwrap();
            let address = other.local_addr();
            other.quote(&RawCommand::new(line).unwrap()).unwrap();
            drop(other);
            assert_ne!(pool.take().unwrap().local_addr(), address, "{line} {any_directory}");
        }
    }
    server.end();
}

#[test]
fn a_session_that_the_dial_gave_to_another_user_is_lent_again() {
    let server = Crowd::start(9, Refusal::Reset);
    let address = server.address.to_string();
    let dial = move || {
        let mut client = Client::builder().timeouts(timeouts()).connect(&address)?;
        client.login("u", "p")?;
        client.quote(&RawCommand::new("USER v")?).map(|_| client)
    };
    for any_directory in [false, true] {
        let pool = Pool::new(&dial).any_directory(any_directory);
        let address = pool.take().unwrap().local_addr();
        assert_eq!(pool.take().unwrap().local_addr(), address, "{any_directory}");
    }
    server.end();
}

#[test]
fn a_wait_for_a_connection_ends_by_its_return_or_a_cancel() {
    let server = Crowd::start(9, Refusal::Reset);
    let canceller = Canceller::new().unwrap();
    let pool = server.pool(1).patience(hasty().canceller(Some(canceller.clone())));
    let begin = Instant::now();
    let lent = pool.take().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| pool.take().map(|lent| lent.local_addr()));
        let address = lent.local_addr();
        drop(lent);
        assert_eq!(waiting.join().unwrap().unwrap(), address);
        let _lent = pool.take().unwrap();
        let waiting = threads.spawn(|| pool.take().map(drop));
        canceller.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Cancelled)));
    });
    assert!(begin.elapsed() < SOON);
    drop(pool);
    server.end();
}

#[test]
fn a_wait_for_a_connection_ends_by_the_limit_or_the_end_of_the_work() {
    let server = Crowd::start(9, Refusal::Reset);
    let begin = Instant::now();
    let pool = server.pool(1).patience(hasty().overall(Some(Duration::from_millis(300))));
    let lent = pool.take().unwrap();
    assert!(matches!(pool.take(), Err(Error::Timeout(_))));
    lent.discard();
    let pool = server.pool(1);
    let lent = pool.take().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| pool.take().map(drop));
        pool.shut(&Error::Closed);
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    });
    // Nobody uses it any more, so it is closed.
    drop(lent);
    assert!(begin.elapsed() < SOON);
    server.end();
}

#[test]
fn a_command_between_transfers_is_retried_and_each_attempt_is_an_event() {
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        peer.answer("RNFR .in.a", "450 busy");
        peer.answer("RNFR .in.a", "350 to");
        peer.answer("RNTO a", "250 done");
        peer.answer("NOOP", "200 ok");
        peer.answer("QUIT", "221 bye");
    });
    let first = Duration::from_millis(2);
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let builder = Client::builder().timeouts(timeouts());
    let mut queue = Retry::new(builder, server.address.to_string())
        .login("u", "p")
        .pauses(first, first)
        .observer(move |event: Event<'_>| {
            if let Event::Retry { attempt, why, pause } = event {
                assert!(pause <= first);
                told.lock().unwrap().push(format!("attempt {attempt}: {why}"));
            }
        });
    queue.run(|client| client.rename(".in.a", "a")).unwrap();
    assert_eq!(*said.lock().unwrap(), ["attempt 2: RNFR refused: 450 busy"]);
    queue.client().unwrap().noop().unwrap();
    queue.quit().unwrap();
    server.end();
}

#[test]
fn a_source_that_is_spent_has_one_attempt() {
    let patience = Patience::new();
    let mut attempt = patience.first();
    attempt.make_last();
    let failed = patience.next(&mut attempt, Error::Closed, &mut |_| false, &mut |_, _, _| {});
    assert!(matches!(failed, Err(Error::Closed)));
    assert_eq!(attempt.number(), 1);
}
