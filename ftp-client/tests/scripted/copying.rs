//! `copy_to`, `copy_from`, `fail` and jobs with streams: the loops between a transfer and the
//! caller's file or stream.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ftp_client::file::{Left, Verify};
use ftp_client::{
    Canceller, Client, Error, Event, FileOptions, Get, Observer, Place, Put, RateLimit,
};
use ftp_tests::wait::patiently;

use crate::peer::{Server, reset, timeouts, was_reset};

/// Calls a function with the number of bytes of each piece.
struct Meter<F>(F);

impl<F: Fn(u64) + Sync> Observer for Meter<F> {
    fn event(&self, event: Event<'_>) {
        if let Event::Moved { bytes } = event {
            (self.0)(bytes);
        }
    }

    fn wants_bytes(&self) -> bool {
        true
    }
}

fn limited(rate: u64) -> FileOptions {
    FileOptions::new().verify(Verify::None).rate_limit(Some(RateLimit::new(rate)))
}

#[test]
fn a_copy_meters_every_byte_and_keeps_its_rate_limit() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(&[b'x'; 3_000]);
        peer.reply("226 done");
        peer.epsv();
        peer.answer("STOR b", "150 ok");
        assert_eq!(peer.read_data(), [b'x'; 3_000]);
        peer.reply("226 done");
    });
    let options = limited(20_000);
    let metered = AtomicU64::new(0);
    let meter = Meter(|bytes| {
        metered.fetch_add(bytes, Ordering::Relaxed);
    });
    let start = Instant::now();
    let mut got = Vec::new();
    let done =
        Get::to_writer(Place::at("a"), &mut got, &options).attempt(&mut client, &meter).unwrap();
    assert_eq!((done.bytes, got.len(), metered.load(Ordering::Relaxed)), (3_000, 3_000, 3_000));
    let mut source = got.as_slice();
    let mut job = Put::from_reader(&mut source, Place::at("b"), &options);
    assert_eq!(job.attempt(&mut client, &meter).unwrap().bytes, 3_000);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(metered.load(Ordering::Relaxed), 6_000);
    server.end();
}

#[test]
fn a_stream_never_gets_its_first_bytes_twice() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"half");
        peer.reply("451 disk failed");
        peer.answer("NOOP", "200 ok");
    });
    let (options, mut got) = (FileOptions::new().verify(Verify::None), Vec::new());
    let mut job = Get::to_writer(Place::at("a"), &mut got, &options);
    assert!(matches!(job.attempt(&mut client, &()), Err(Error::Refused { .. })));
    assert_eq!(*job.left(), Left::Stream);
    assert!(matches!(job.attempt(&mut client, &()), Err(Error::Unsupported(_))));
    assert_eq!(got, b"half");
    client.noop().unwrap();
    server.end();
}

#[test]
fn cancelling_interrupts_the_pause_of_a_rate_limited_copy() {
    // That of one byte.
    const PAUSE: Duration = Duration::from_millis(900);
    patiently(PAUSE, |_| {
        let canceller = Canceller::new().unwrap();
        let builder = Client::builder().timeouts(timeouts()).canceller(canceller.clone());
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"hello");
        });
        let (options, mut sink) = (limited(1), io::sink());
        let start = Instant::now();
        let mut job = Get::to_writer(Place::at("a"), &mut sink, &options);
        let error = job.attempt(&mut client, &Meter(|_| canceller.cancel()));
        assert!(matches!(error, Err(Error::Cancelled)), "{error:?}");
        assert!(start.elapsed() < PAUSE, "{:?}", start.elapsed());
        drop(client);
        server.end();
    });
}

#[test]
fn the_servers_reply_takes_precedence_over_a_lost_connection() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        reset(peer.data());
        peer.reply("451 disk failed");
        peer.epsv();
        peer.answer("STOR b", "150 ok");
        let _unread = peer.data();
        peer.reply("552 too large");
        peer.answer("NOOP", "200 ok");
    });
    let error = client.retrieve("a").unwrap().copy_to(&mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 451 disk failed");
    let mut upload = client.store("b").unwrap();
    let error = upload.write_all(&vec![0; 256 << 20]).unwrap_err();
    assert_eq!(upload.fail(error).to_string(), "STOR refused: 552 too large");
    client.noop().unwrap();
    server.end();
}

/// Fails at once.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::PermissionDenied.into())
    }
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_local_error_aborts_the_transfer_and_leaves_the_client_usable() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello");
        peer.expect_abort();
        peer.send("226 sent\r\n225 nothing to abort\r\n");
        peer.epsv();
        peer.answer("STOR b", "150 ok");
        assert!(was_reset(&peer.data()), "a server would take it for an empty file");
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let error = client.retrieve("a").unwrap().copy_to(&mut Broken).unwrap_err();
    assert!(matches!(&error, Error::Local(error) if error.kind() == ErrorKind::StorageFull));
    let error = client.store("b").unwrap().copy_from(&mut Broken).unwrap_err();
    assert!(matches!(&error, Error::Local(error) if error.kind() == ErrorKind::PermissionDenied));
    client.noop().unwrap();
    server.end();
}

#[test]
fn bytes_beyond_the_expected_length_are_not_written() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    let mut download = client.retrieve("a").unwrap();
    download.expect_length(4);
    let mut got = Vec::new();
    let error = download.copy_to(&mut got).unwrap_err();
    assert!(matches!(error, Error::Incomplete { bytes: 5, announced: Some(4), .. }), "{error:?}");
    // Both may arrive in one read.
    assert_eq!(got, b"hell");
    server.end();
}
