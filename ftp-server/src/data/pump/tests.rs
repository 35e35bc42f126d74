use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use ftp_proto::BlockMarker;

use super::*;
use crate::data::buffers::{LARGE, SMALL};
use crate::data::outgoing::FileRange;
use crate::deadline::Rate;
use crate::storage::{StorageErrorKind, StorageResult, StreamEnd};

fn limits<'a>(stall: Duration, throttle: &'a Throttle, buffers: &'a Buffers) -> PumpLimits<'a> {
    PumpLimits { stall, throttle, buffers, may_be_cut: false }
}

/// Returns a data connection without TLS.
fn clear(stream: TcpStream) -> DataConnection {
    DataConnection::new(stream, None)
}

/// Counts its calls, and reports nothing.
struct Counting(u64);

impl Monitor for Counting {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn look(&mut self, _moved: u64) -> Option<Interruption> {
        self.0 += 1;
        None
    }

    fn mark(&mut self, _marker: &BlockMarker, _at: u64) -> Option<Interruption> {
        None
    }
}

/// Supplies N bytes, in the sizes asked for.
struct Bytes(usize);

impl Outgoing for Bytes {
    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let count = room.min(self.0);
        out.resize(out.len() + count, b'x');
        self.0 -= count;
        Ok(self.0 > 0)
    }
}

#[test]
fn a_slow_transfer_waits_and_does_not_spin() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let reader = thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
    let throttle = Throttle::new(Rate::new(32_000));
    let begun = Instant::now();
    let mut monitor = Counting(0);
    // A turn comes every sixteenth of a second, although the stall timeout is shorter.
    let pool = Buffers::new(0);
    let limits = limits(Duration::from_millis(20), &throttle, &pool);
    let mut data = clear(stream);
    let (moved, ended) = send(&mut data, &mut Bytes(32_000), limits, &mut monitor);
    drop(data);
    assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
    assert_eq!((moved, reader.join().unwrap()), (32_000, 32_000));
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
    // One check before and one after each wait, for a few waits.
    assert!(monitor.0 < 200, "{} looks", monitor.0);
}

#[test]
fn slow_data_connections_notice_a_dead_peer_st_14() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let without = Throttle::default();
    let pool = Buffers::new(0);
    let limits = limits(limits::TICK * 2, &without, &pool);
    let mut data = clear(stream);
    let ended =
        receive(&mut data, &mut Counted::default(), Encoding::default(), limits, &mut Counting(0));
    assert!(matches!(ended.1, PumpEnd::Stalled), "{ended:?}");
    socket::expect_keepalive(&data.stream);
    drop(client);
}

#[test]
fn long_downloads_notice_a_dead_peer_st_14() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let without = Throttle::default();
    let pool = Buffers::new(0);
    let limits = limits(Duration::from_secs(60), &without, &pool);
    let reader = thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
    let mut data = clear(stream);
    // An unknown size does not end the file.
    for length in [0, LONG] {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LONG).unwrap();
        let mut outgoing = FromFile { file, length, end: u64::MAX };
        let (moved, ended) = send(&mut data, &mut outgoing, limits, &mut Counting(0));
        assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
        assert_eq!(moved, LONG);
    }
    socket::expect_keepalive(&data.stream);
    drop(data);
    assert_eq!(reader.join().unwrap() as u64, 2 * LONG);
}

/// More bytes than the sockets' buffers hold.
const LONG: u64 = 32 << 20;

#[test]
fn bytes_of_an_upload_that_appends_during_a_download_are_not_sent_fs_16_cm_103() {
    let without = Throttle::default();
    let pool = Buffers::new(0);
    let limits = limits(Duration::from_secs(60), &without, &pool);
    // The append begins before the first call to the kernel, at the end of the known length, or
    // during the call that sends the end.
    for (length, end, want) in [(9, 0, Some(0)), (LONG, LONG, Some(LONG)), (9, 10, None)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let reader = thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
        let file = tempfile::tempfile().unwrap();
        file.set_len(length + 100).unwrap();
        let mut data = clear(stream);
        let mut outgoing = FromFile { file, length, end };
        let (moved, ended) = send(&mut data, &mut outgoing, limits, &mut Counting(0));
        drop(data);
        match want {
            Some(want) => {
                assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
                assert_eq!((moved, reader.join().unwrap() as u64), (want, want));
            }
            None => assert!(matches!(ended, PumpEnd::Storage(_)), "{ended:?}"),
        }
    }
}

/// A file that reports this length. The kernel may not send it once its offset has reached `end`,
/// and it has no more bytes then. Reading it fails if the kernel has sent more than the length.
struct FromFile {
    file: std::fs::File,
    length: u64,
    end: u64,
}

impl Outgoing for FromFile {
    fn fill(&mut self, _room: usize, _out: &mut Vec<u8>) -> StorageResult<bool> {
        match rustix::fs::tell(&self.file).unwrap() > self.length {
            true => Err(StorageErrorKind::Io.into()),
            false => Ok(false),
        }
    }

    fn file_range(&self) -> Option<FileRange<'_>> {
        let is_over = rustix::fs::tell(&self.file).unwrap() >= self.end;
        (!is_over).then(|| FileRange { file: self.file.as_fd(), length: self.length })
    }
}

/// A counting file that records the largest size it was given or asked for at once.
#[derive(Default)]
struct Counted {
    bytes: usize,
    most: usize,
    end: usize,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.iter().zip(self.bytes..).all(|(byte, at)| *byte == byte_at(at)));
        self.bytes += bytes.len();
        self.most = self.most.max(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Counted {
    fn commit(self: Box<Self>) -> StorageResult<()> {
        Err(StorageErrorKind::Unsupported.into())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

impl Outgoing for Counted {
    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let count = room.min(self.end - self.bytes);
        out.extend((self.bytes..).take(count).map(byte_at));
        self.bytes += count;
        self.most = self.most.max(room);
        Ok(self.bytes < self.end)
    }
}

fn byte_at(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

#[test]
fn a_transfer_succeeds_without_a_large_buffer() {
    const LENGTH: usize = 8 << 20;
    for large in [0, 1, 2] {
        let pool = Buffers::new((large * LARGE) as u64);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (from, _) = listener.accept().unwrap();
        let without = Throttle::default();
        let limits = limits(Duration::from_secs(60), &without, &pool);
        let mut source = Counted::default();
        let mut target = Counted::default();
        source.end = LENGTH;
        thread::scope(|scope| {
            for stream in [&to, &from] {
                stream.set_nonblocking(true).unwrap();
            }
            let source = &mut source;
            let sending =
                scope.spawn(move || send(&mut clear(to), source, limits, &mut Counting(0)));
            let received = receive(
                &mut clear(from),
                &mut target,
                Encoding::default(),
                limits,
                &mut Counting(0),
            );
            for (moved, ended) in [sending.join().unwrap(), received] {
                assert_eq!(moved, LENGTH as u64);
                assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
            }
        });
        assert_eq!(target.bytes, LENGTH);
        // One transfer may end early and leave its large buffer to the other.
        let had_large = [source.most, target.most].iter().any(|most| *most > SMALL);
        assert_eq!(had_large, large > 0, "{} {}", source.most, target.most);
    }
}
