//! The pump moves bytes between a data connection and a file, in the session's own thread, and
//! looks at the control connection in between.

mod protected;

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ftp_proto::AsciiDecoder;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::SockRef;

use super::buffers::{Buffer, Buffers};
use super::outgoing::{FileRange, Outgoing};
use super::wait::{Interruption, Monitor, OpenError, fd, pause, wait};
use crate::deadline;
use crate::limits;
use crate::net::socket;
use crate::pace::Pace;
use crate::rate::Throttle;
use crate::storage::{StorageError, Upload};
use crate::tls::Connection;

/// Bytes that the kernel may send from a file in the first call, which does not wait: as many as
/// fit into the send buffer of the socket.
const SENDFILE_FIRST: usize = 4 * 1024 * 1024;

/// Bytes that the kernel sends from a file in each further call, at first and at most. The timeout
/// of the socket applies to each 64 KiB, so that one call takes a second where a client becomes
/// slower than 4 MiB per second. Larger steps would save few calls.
const SENDFILE: u64 = 64 * 1024;
const SENDFILE_MAX: u64 = 4 * 1024 * 1024;

/// Bytes after which the control connection is looked at, if nothing had to be waited for.
const LOOK: u64 = 4 * 1024 * 1024;

/// How early bytes with a reserved turn may move: waiting for each few of them would cost more
/// calls than moving them.
const AHEAD: Duration = Duration::from_millis(5);

/// Reason why the bytes stopped.
#[derive(Debug)]
pub(crate) enum PumpEnd {
    /// The data is complete.
    Complete,
    /// The transfer was aborted.
    Interrupted(Interruption),
    /// The data connection broke.
    Broken(io::Error),
    /// The connection ended without the `close_notify` that TLS requires.
    Truncated,
    /// No byte moved for the stall timeout.
    Stalled,
    /// The storage failed.
    Storage(StorageError),
}

/// Time limit, rate and buffers of a transfer.
#[derive(Clone, Copy)]
pub(crate) struct PumpLimits<'a> {
    /// Stall timeout: the longest time without a byte moved, waits for the rate limit excluded.
    pub(crate) stall: Duration,
    pub(crate) throttle: &'a Throttle,
    /// The pool of its large buffer.
    pub(crate) buffers: &'a Buffers,
    /// Whether a TLS upload may end without `close_notify`.
    pub(crate) may_be_cut: bool,
}

/// State of a running transfer: its count, and when to look at the control connection.
struct Pump<'a> {
    data: &'a TcpStream,
    monitor: &'a mut dyn Monitor,
    buffers: &'a Buffers,
    stall: Duration,
    throttle: &'a Throttle,
    may_be_cut: bool,
    /// Whether calls on the data connection wait for a [`limits::TICK`].
    is_blocking: bool,
    /// Whether the system notices a dead peer.
    is_kept_alive: bool,
    moved: u64,
    /// The value of `moved` at the last look at the control connection, and the time of that look.
    looked: u64,
    looked_at: Instant,
    last: Instant,
}

impl<'a> Pump<'a> {
    fn new(
        data: &'a TcpStream,
        PumpLimits { stall, throttle, buffers, may_be_cut }: PumpLimits<'a>,
        monitor: &'a mut dyn Monitor,
    ) -> Self {
        let now = Instant::now();
        Self {
            data,
            monitor,
            buffers,
            stall,
            throttle,
            may_be_cut,
            is_blocking: false,
            is_kept_alive: false,
            moved: 0,
            looked: 0,
            looked_at: now,
            last: now,
        }
    }

    /// Lets `work` move at most `most` bytes, or fewer under a rate limit, when their turn has
    /// come. `work` gets the number of bytes and returns how many it moved.
    fn step<E>(
        &mut self,
        most: usize,
        work: impl FnOnce(usize) -> Result<usize, E>,
    ) -> Result<Result<usize, E>, PumpEnd> {
        let reserved = self.reserve(most)?;
        let done = work(reserved);
        let moved = done.as_ref().map_or(0, |moved| *moved);
        self.throttle.give_back(reserved.saturating_sub(moved));
        Ok(done)
    }

    /// Waits for the turn of some of `most` bytes, and returns their number.
    fn reserve(&mut self, most: usize) -> Result<usize, PumpEnd> {
        if self.throttle.is_off() {
            return Ok(most);
        }
        let (reserved, at) = self.throttle.reserve(most);
        if at.saturating_duration_since(Instant::now()) > AHEAD {
            if let Err(interruption) = pause(at, self.moved, self.monitor) {
                self.throttle.give_back(reserved);
                return Err(PumpEnd::Interrupted(interruption));
            }
            // The wait was not a stall, and it included looks at the control connection.
            self.last = Instant::now();
            (self.looked, self.looked_at) = (self.moved, self.last);
        }
        Ok(reserved)
    }

    fn moved(&mut self, count: usize) -> Result<(), PumpEnd> {
        self.moved += count as u64;
        self.last = Instant::now();
        self.look_now_and_then(self.last)
    }

    /// Looks at the control connection if much was moved since the last look, or if moving little
    /// took long.
    fn look_now_and_then(&mut self, now: Instant) -> Result<(), PumpEnd> {
        if self.moved - self.looked < LOOK && now.duration_since(self.looked_at) < limits::TICK {
            return Ok(());
        }
        (self.looked, self.looked_at) = (self.moved, now);
        self.look()
    }

    fn look(&mut self) -> Result<(), PumpEnd> {
        match self.monitor.look(self.moved) {
            Some(interruption) => Err(PumpEnd::Interrupted(interruption)),
            None => Ok(()),
        }
    }

    /// Lets calls on the data connection wait for a [`limits::TICK`], since each moves more bytes
    /// then. A small file does not need that.
    fn let_calls_wait(&mut self) -> Result<(), PumpEnd> {
        if self.is_blocking {
            return Ok(());
        }
        self.is_blocking = true;
        let tick = Some(limits::TICK);
        let is_set = self.data.set_nonblocking(false);
        let is_set = is_set.and_then(|()| self.data.set_write_timeout(tick));
        is_set.and_then(|()| self.data.set_read_timeout(tick)).map_err(PumpEnd::Broken)?;
        self.keep_alive()
    }

    /// Lets the system notice a dead peer. That takes several calls, which a short transfer does
    /// not need.
    fn keep_alive(&mut self) -> Result<(), PumpEnd> {
        if self.is_kept_alive {
            return Ok(());
        }
        self.is_kept_alive = true;
        socket::set_keepalive(&SockRef::from(self.data)).map_err(PumpEnd::Broken)
    }

    fn wait(&mut self, flags: PollFlags) -> Result<(), PumpEnd> {
        let stalled = deadline::after(self.last, self.stall);
        if !self.is_kept_alive {
            let soon = stalled.min(deadline::after(Instant::now(), limits::TICK));
            match self.wait_until(flags, soon) {
                Err(PumpEnd::Stalled) if soon < stalled => self.keep_alive()?,
                ended => return ended,
            }
        }
        self.wait_until(flags, stalled)
    }

    fn wait_until(&mut self, flags: PollFlags, deadline: Instant) -> Result<(), PumpEnd> {
        (self.looked, self.looked_at) = (self.moved, Instant::now());
        wait(fd(self.data), flags, deadline, self.moved, self.monitor).map_err(
            |error| match error {
                OpenError::Interrupted(interruption) => PumpEnd::Interrupted(interruption),
                OpenError::Failed(error) if error.kind() == ErrorKind::TimedOut => PumpEnd::Stalled,
                OpenError::Failed(error) | OpenError::Unprotected(error) => PumpEnd::Broken(error),
            },
        )
    }

    /// Waits if `error` means that the socket is not ready, ignores interruptions by signals, and
    /// returns any other error.
    fn wait_or_break(&mut self, error: io::Error, flags: PollFlags) -> Result<(), PumpEnd> {
        match error.kind() {
            ErrorKind::WouldBlock => self.wait(flags),
            ErrorKind::Interrupted => Ok(()),
            _ => Err(PumpEnd::Broken(error)),
        }
    }

    fn send(&mut self, outgoing: &mut dyn Outgoing) -> Result<(), PumpEnd> {
        if !self.send_from_file(outgoing)? {
            self.send_from_buffer(outgoing)?;
        }
        outgoing.check_end(self.moved).map_err(PumpEnd::Storage)?;
        // Closing the socket also ends the data, and saves a call.
        if discard_input(self.data)? {
            self.data.shutdown(Shutdown::Write).map_err(PumpEnd::Broken)?;
            discard_input(self.data)?;
        }
        Ok(())
    }

    /// Lets the kernel send. Returns `false` if it cannot for this file; then nothing was sent.
    fn send_from_file(&mut self, outgoing: &dyn Outgoing) -> Result<bool, PumpEnd> {
        let Some(FileRange { file, length }) = outgoing.file_range() else { return Ok(false) };
        let mut pace = Pace::new(SENDFILE, SENDFILE_MAX);
        loop {
            let size = usize::try_from(pace.size()).unwrap_or(usize::MAX);
            let most = if self.is_blocking { size } else { SENDFILE_FIRST };
            let data = self.data;
            let mut asked = 0;
            let send = |most| {
                asked = most;
                pace.step(|_| rustix::fs::sendfile(data, file, None, most))
            };
            match self.step(most, send)? {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    self.moved(count)?;
                    if self.moved < length {
                        self.let_calls_wait()?;
                    } else if length > 0 && count < asked {
                        // The file has no more bytes, not even added ones. A file that reports no
                        // size may have more: some file systems do not know it.
                        return Ok(true);
                    }
                }
                Err(Errno::INVAL | Errno::NOSYS) if self.moved == 0 => return Ok(false),
                Err(error @ (Errno::IO | Errno::OVERFLOW)) => {
                    return Err(PumpEnd::Storage(io::Error::from(error).into()));
                }
                Err(error) => self.wait_or_break(error.into(), PollFlags::OUT)?,
            }
        }
    }

    /// Replaces the content of `buffer` by the next part of `outgoing`; `false` if it is the last.
    fn fill(
        &mut self,
        buffer: &mut Buffer<'_>,
        outgoing: &mut dyn Outgoing,
    ) -> Result<bool, PumpEnd> {
        let room = buffer.room();
        let bytes = buffer.bytes();
        bytes.clear();
        let more = outgoing.fill(room, bytes).map_err(PumpEnd::Storage)?;
        // The server's own work does not count as a stall of the client.
        self.last = Instant::now();
        if bytes.is_empty() {
            self.look_now_and_then(Instant::now())?;
        }
        Ok(more)
    }

    fn send_from_buffer(&mut self, outgoing: &mut dyn Outgoing) -> Result<(), PumpEnd> {
        let mut buffer = self.buffers.small();
        let mut more = true;
        while more {
            more = self.fill(&mut buffer, outgoing)?;
            let room = buffer.room();
            let bytes = buffer.bytes();
            let is_full = bytes.len() >= room;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let mut data = self.data;
                let write = |most| data.write(rest.get(..most).unwrap_or(rest));
                match self.step(rest.len(), write)? {
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        self.moved(count)?;
                    }
                    Err(error) => self.wait_or_break(error, PollFlags::OUT)?,
                }
            }
            if is_full {
                buffer.grow();
            }
        }
        Ok(())
    }

    fn receive(&mut self, target: &mut UploadTarget<'_>) -> Result<(), PumpEnd> {
        let mut buffer = self.buffers.small();
        loop {
            let data = self.data;
            // Once calls wait, each waits until the buffer is full.
            let flags = if self.is_blocking { RecvFlags::WAITALL } else { RecvFlags::empty() };
            let space = buffer.space();
            let most = space.len();
            let into = |most| {
                let space = space.get_mut(..most).unwrap_or_default();
                rustix::net::recv(data, space, flags).map(|(count, _)| count)
            };
            let count = match self.step(most, into)? {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    self.wait_or_break(error.into(), PollFlags::IN)?;
                    continue;
                }
            };
            let is_full = count == space.len();
            target.take(space.get(..count).unwrap_or_default())?;
            self.moved(count)?;
            // A conversion has a second buffer, so both stay small.
            if is_full && !target.converts() {
                buffer.grow();
                self.let_calls_wait()?;
            }
        }
        target.finish()
    }
}

/// Target of received bytes, in the form to store.
struct UploadTarget<'a> {
    upload: &'a mut dyn Upload,
    ascii: Option<AsciiDecoder>,
    converted: Vec<u8>,
}

impl UploadTarget<'_> {
    const fn converts(&self) -> bool {
        self.ascii.is_some()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), PumpEnd> {
        let stored = match &mut self.ascii {
            None => self.upload.write_all(bytes),
            Some(decoder) => {
                self.converted.clear();
                decoder.decode(bytes, &mut self.converted);
                self.upload.write_all(&self.converted)
            }
        };
        stored.map_err(|error| PumpEnd::Storage(error.into()))
    }

    /// Stores bytes whose form depends on the end of the data.
    fn finish(&mut self) -> Result<(), PumpEnd> {
        let Some(mut decoder) = self.ascii.take() else { return Ok(()) };
        self.converted.clear();
        decoder.finish(&mut self.converted);
        let stored = self.upload.write_all(&self.converted);
        stored.map_err(|error| PumpEnd::Storage(error.into()))
    }
}

/// Sends all of `outgoing`, under TLS with `protection`. Returns the number of bytes moved, and why
/// they stopped. Without TLS, closing the connection ends the data.
pub(crate) fn send(
    data: &TcpStream,
    protection: Option<&mut Connection>,
    outgoing: &mut dyn Outgoing,
    limits: PumpLimits<'_>,
    monitor: &mut dyn Monitor,
) -> (u64, PumpEnd) {
    let mut pump = Pump::new(data, limits, monitor);
    let sent = match protection {
        None => pump.send(outgoing),
        Some(connection) => pump.send_protected(connection, outgoing),
    };
    let ended = sent.map_or_else(|ended| ended, |()| PumpEnd::Complete);
    (pump.moved, ended)
}

/// Receives until the client closes its side, under TLS by a `close_notify`. The upload is neither
/// committed nor aborted here.
pub(crate) fn receive(
    data: &TcpStream,
    protection: Option<&mut Connection>,
    upload: &mut dyn Upload,
    ascii: Option<AsciiDecoder>,
    limits: PumpLimits<'_>,
    monitor: &mut dyn Monitor,
) -> (u64, PumpEnd) {
    let mut pump = Pump::new(data, limits, monitor);
    let mut target = UploadTarget { upload, ascii, converted: Vec::new() };
    let received = match protection {
        None => pump.receive(&mut target),
        Some(connection) => pump.receive_protected(connection, &mut target),
    };
    let ended = received.map_or_else(|ended| ended, |()| PumpEnd::Complete);
    (pump.moved, ended)
}

/// Reads unexpected bytes from a client that should only receive: closing a socket with unread
/// bytes resets it, and the reset can overtake data under way. Returns whether there were any, or
/// the client has closed its side: then only shutdown(2) tells whether the connection is lost.
///
/// # Errors
///
/// Returns `Broken` if the connection is lost.
fn discard_input(data: &TcpStream) -> Result<bool, PumpEnd> {
    let mut bytes = [0; 1_024];
    for round in 0..64 {
        match rustix::net::recv(data, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(true),
            Err(Errno::AGAIN) => return Ok(round > 0),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(PumpEnd::Broken(error.into())),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::thread;

    use super::*;
    use crate::data::buffers::{LARGE, SMALL};
    use crate::rate::Rate;
    use crate::storage::{StorageErrorKind, StreamEnd};

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
    }

    /// Supplies N bytes, in the sizes asked for.
    struct Bytes(usize);

    impl Outgoing for Bytes {
        fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> Result<bool, StorageError> {
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
        let limits = PumpLimits {
            stall: Duration::from_millis(20),
            throttle: &throttle,
            buffers: &pool,
            may_be_cut: false,
        };
        let (moved, ended) = send(&stream, None, &mut Bytes(32_000), limits, &mut monitor);
        drop(stream);
        assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
        assert_eq!((moved, reader.join().unwrap()), (32_000, 32_000));
        assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
        // One look before and one after each wait, a few times over.
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
        let limits = PumpLimits {
            stall: limits::TICK * 2,
            throttle: &without,
            buffers: &pool,
            may_be_cut: false,
        };
        let ended = receive(&stream, None, &mut Counted::default(), None, limits, &mut Counting(0));
        assert!(matches!(ended.1, PumpEnd::Stalled), "{ended:?}");
        socket::expect_keepalive(&stream);
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
        let limits = PumpLimits {
            stall: Duration::from_secs(20),
            throttle: &without,
            buffers: &pool,
            may_be_cut: false,
        };
        let reader = thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
        // An unknown size does not end the file.
        for length in [0, LONG] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(LONG).unwrap();
            let mut outgoing = FromFile { file, length };
            let (moved, ended) = send(&stream, None, &mut outgoing, limits, &mut Counting(0));
            assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
            assert_eq!(moved, LONG);
        }
        socket::expect_keepalive(&stream);
        drop(stream);
        assert_eq!(reader.join().unwrap() as u64, 2 * LONG);
    }

    /// More bytes than sockets hold.
    const LONG: u64 = 32 << 20;

    /// A file that reports this length.
    struct FromFile {
        file: std::fs::File,
        length: u64,
    }

    impl Outgoing for FromFile {
        fn fill(&mut self, _room: usize, _out: &mut Vec<u8>) -> Result<bool, StorageError> {
            Err(StorageErrorKind::Unsupported.into())
        }

        fn file_range(&self) -> Option<FileRange<'_>> {
            Some(FileRange { file: self.file.as_fd(), length: self.length })
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
        fn commit(self: Box<Self>) -> Result<(), StorageError> {
            Err(StorageErrorKind::Unsupported.into())
        }

        fn abort(self: Box<Self>, _end: StreamEnd) {}
    }

    impl Outgoing for Counted {
        fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> Result<bool, StorageError> {
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
    fn a_transfer_makes_do_without_a_large_buffer() {
        const LENGTH: usize = 8 << 20;
        for large in [0, 1, 2] {
            let pool = Buffers::new((large * LARGE) as u64);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (from, _) = listener.accept().unwrap();
            let without = Throttle::default();
            let limits = PumpLimits {
                stall: Duration::from_secs(20),
                throttle: &without,
                buffers: &pool,
                may_be_cut: false,
            };
            let mut source = Counted::default();
            let mut target = Counted::default();
            source.end = LENGTH;
            thread::scope(|scope| {
                for stream in [&to, &from] {
                    stream.set_nonblocking(true).unwrap();
                }
                let source = &mut source;
                let sending =
                    scope.spawn(move || send(&to, None, source, limits, &mut Counting(0)));
                let received = receive(&from, None, &mut target, None, limits, &mut Counting(0));
                for (moved, ended) in [sending.join().unwrap(), received] {
                    assert_eq!(moved, LENGTH as u64);
                    assert!(matches!(ended, PumpEnd::Complete), "{ended:?}");
                }
            });
            assert_eq!(target.bytes, LENGTH);
            // One of them may end early and leave its large buffer to the other.
            let had_large = [source.most, target.most].iter().any(|most| *most > SMALL);
            assert_eq!(had_large, large > 0, "{} {}", source.most, target.most);
        }
    }
}
