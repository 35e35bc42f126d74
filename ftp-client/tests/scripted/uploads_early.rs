//! Small files that are sent to a server far away before its first reply.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use ftp_client::file::Verify;
use ftp_client::{Client, Error, Event, FileOptions, Observer, Place, Put, RateLimit, Verb};

use crate::logins;
use crate::peer::{Peer, SHORT, Server, timeouts};

/// The size of the largest file that is sent early.
const SMALL: usize = 32_768;

/// Logs in to a server far away, and uploads a first file, which waits for the 150: the client does not
/// know yet whether the server tells sizes, and opens a port for each transfer.
fn far(script: impl FnOnce(Peer) + Send + 'static) -> (Server, Client) {
    let builder = Client::builder().timeouts(timeouts()).connector(logins::far);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.image_epsv();
        take_late(&mut peer, 5);
        peer.answer("SIZE f", "213 5");
        script(peer);
    });
    put(&mut client, b"first", &FileOptions::new()).0.unwrap();
    (server, client)
}

/// Uploads a file of this content to `f`, and returns the notes too.
fn put(
    client: &mut Client,
    content: &[u8],
    options: &FileOptions,
) -> (Result<Verify, Error>, Vec<String>) {
    let local = tempfile::tempdir().unwrap();
    let path = local.path().join("f");
    fs::write(&path, content).unwrap();
    let notes = Mutex::new(Vec::new());
    let on = |event: Event<'_>| {
        if let Event::Note { text, .. } = event {
            notes.lock().unwrap().push(text.to_owned());
        }
    };
    let done = put_file(client, &path, options, &on);
    (done, notes.into_inner().unwrap())
}

fn put_file(
    client: &mut Client,
    path: &Path,
    options: &FileOptions,
    on: &dyn Observer,
) -> Result<Verify, Error> {
    let mut job = Put::from_path(path, Place::at("f"), options);
    job.attempt(client, on).map(|done| done.verified)
}

/// Reads a whole file before the 150, and confirms it.
fn take_early(peer: &mut Peer, content: &[u8]) {
    peer.expect("STOR f");
    assert!(peer.read_data() == content, "the file and its end come before the 150");
    peer.reply("150 send it");
    peer.reply("226 done");
}

/// Checks that no content comes before the 150, reads it after that, and confirms it.
fn take_late(peer: &mut Peer, length: u64) {
    peer.expect("STOR f");
    let data = peer.data();
    data.set_read_timeout(Some(SHORT)).unwrap();
    let early = data.peek(&mut [0]);
    assert!(early.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{length} bytes");
    data.set_read_timeout(None).unwrap();
    peer.reply("150 send it");
    assert_eq!(io::copy(&mut &data, &mut io::sink()).unwrap(), length);
    drop(data);
    peer.reply("226 done");
}

#[test]
fn a_small_file_and_its_end_come_before_the_150_of_a_far_server_cl_80() {
    for content in [b"x".to_vec(), b"hello".to_vec(), vec![b'x'; SMALL]] {
        let length = content.len();
        let (server, mut client) = far({
            let content = content.clone();
            move |mut peer| {
                peer.epsv();
                take_early(&mut peer, &content);
                peer.answer("SIZE f", &format!("213 {length}"));
            }
        });
        let (done, notes) = put(&mut client, &content, &FileOptions::new());
        assert_eq!((done.unwrap(), notes), (Verify::Size, vec![]), "{length} bytes");
        server.end();
    }
}

#[test]
fn other_uploads_wait_for_the_150_cl_80() {
    let options = FileOptions::new;
    let limit = RateLimit::new(1_000_000);
    let cases: [(usize, FileOptions); 4] = [
        (0, options()),
        (SMALL + 1, options()),
        (5, options().verify(Verify::None)),
        (5, options().rate_limit(Some(limit))),
    ];
    for (number, (length, options)) in cases.into_iter().enumerate() {
        let is_asked = number != 2;
        let (server, mut client) = far(move |mut peer| {
            peer.epsv();
            take_late(&mut peer, length as u64);
            if is_asked {
                peer.answer("SIZE f", &format!("213 {length}"));
            }
            peer.expect_end();
        });
        put(&mut client, &vec![b'x'; length], &options).0.unwrap();
        drop(client);
        server.end();
    }
}

#[test]
fn a_refused_upload_of_early_content_stores_nothing_and_says_why_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.epsv();
        peer.expect("STOR f");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("553 no");
        // The next upload gets a data connection of its own.
        peer.epsv();
        take_early(&mut peer, b"other");
        peer.answer("SIZE f", "213 5");
    });
    let refused = put(&mut client, b"hello", &FileOptions::new()).0.unwrap_err();
    assert!(matches!(refused, Error::Refused(Verb::Stor, _)), "{refused}");
    assert_eq!(put(&mut client, b"other", &FileOptions::new()).0.unwrap(), Verify::Size);
    server.end();
}

#[test]
fn a_226_without_a_150_confirms_no_early_content_cl_08_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.epsv();
        peer.expect("STOR f");
        let data = peer.data();
        peer.reply("226 done");
        peer.drain();
        drop(data);
    });
    let error = put(&mut client, b"hello", &FileOptions::new()).0.unwrap_err();
    assert!(matches!(error, Error::Unexpected(Verb::Stor, _)), "{error}");
    drop(client);
    server.end();
}

#[test]
fn early_content_that_a_server_lost_is_sent_again_after_the_150_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.epsv();
        take_early(&mut peer, b"hello");
        peer.answer("SIZE f", "213 0");
        // This upload and later ones wait.
        for _ in 0..2 {
            peer.epsv();
            take_late(&mut peer, 5);
            peer.answer("SIZE f", "213 5");
        }
        peer.expect_end();
    });
    let (done, notes) = put(&mut client, b"hello", &FileOptions::new());
    assert_eq!(done.unwrap(), Verify::Size);
    assert!(notes.iter().any(|note| note.contains("sending the file again")), "{notes:?}");
    put(&mut client, b"hello", &FileOptions::new()).0.unwrap();
    drop(client);
    server.end();
}

#[test]
fn content_is_not_left_at_a_port_that_serves_all_transfers_cl_80() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let builder = Client::builder().timeouts(timeouts()).connector(logins::far);
    let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        for content in ["first", "refused", "third"] {
            peer.answer("EPSV", &format!("229 (|||{port}|)"));
            peer.expect("STOR f");
            if content == "refused" {
                // The connection stays in the queue.
                peer.reply("451 no");
                continue;
            }
            let mut data = loop {
                let data = listener.accept().unwrap().0;
                // The client has reset what it no longer needs.
                if !was_reset_at_once(&data) {
                    break data;
                }
            };
            peer.reply("150 send it");
            let mut received = Vec::new();
            data.read_to_end(&mut received).unwrap();
            assert_eq!(received, content.as_bytes());
            peer.reply("226 done");
            peer.answer("SIZE f", "213 5");
        }
    });
    let options = FileOptions::new();
    put(&mut client, b"first", &options).0.unwrap();
    let refused = put(&mut client, b"refused", &options).0.unwrap_err();
    assert!(matches!(refused, Error::Refused(Verb::Stor, _)), "{refused}");
    put(&mut client, b"third", &options).0.unwrap();
    server.end();
}

/// Returns whether the client has reset a connection over which it has sent nothing.
fn was_reset_at_once(data: &TcpStream) -> bool {
    data.set_read_timeout(Some(SHORT)).unwrap();
    let read = data.peek(&mut [0]);
    data.set_read_timeout(None).unwrap();
    read.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
}

#[test]
fn a_port_at_which_refused_content_may_wait_is_not_used_again_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.epsv();
        peer.expect("STOR f");
        let port = peer.port();
        peer.reply("553 no");
        peer.answer("EPSV", &format!("229 (|||{port}|)"));
        peer.expect_end();
    });
    put(&mut client, b"hello", &FileOptions::new()).0.unwrap_err();
    let closed = put(&mut client, b"other", &FileOptions::new()).0.unwrap_err();
    assert!(matches!(closed, Error::Closed), "{closed}");
    server.end();
}

#[test]
fn a_server_that_takes_an_early_end_for_a_lost_connection_gets_the_file_later_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.epsv();
        peer.expect("STOR f");
        drop(peer.data());
        peer.reply("425 the data connection is closed");
        peer.epsv();
        take_late(&mut peer, 5);
        peer.answer("SIZE f", "213 5");
    });
    assert_eq!(put(&mut client, b"hello", &FileOptions::new()).0.unwrap(), Verify::Size);
    server.end();
}

#[test]
fn lost_content_is_sent_again_from_byte_0_although_attempts_may_resume_cl_80() {
    let (server, mut client) = far(|mut peer| {
        peer.answer("SIZE f", "550 none");
        peer.epsv();
        take_early(&mut peer, b"hello");
        peer.answer("SIZE f", "213 2");
        peer.answer("SIZE f", "213 2");
        peer.epsv();
        take_late(&mut peer, 5);
        peer.answer("SIZE f", "213 5");
    });
    let local = tempfile::tempdir().unwrap();
    let path = local.path().join("f");
    fs::write(&path, b"hello").unwrap();
    let options = FileOptions::new();
    let job = Put::from_path(&path, Place::at("f"), &options);
    let done = job.repeats(true).attempt(&mut client, &()).unwrap();
    assert_eq!(done.verified, Verify::Size);
    server.end();
}
