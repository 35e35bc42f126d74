//! The pump moves bytes between a data connection and a file, in the session's own thread, and
//! checks the control connection in between.

mod clear;
mod protected;
mod target;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::SockRef;

use self::target::UploadTarget;
use super::block::{DataConnection, DataFault};
use super::buffers::{Buffer, Buffers};
use super::deflate::Encoding;
use super::outgoing::Outgoing;
use super::wait::{Interruption, Monitor, OpenError, fd, pause, wait};
use crate::deadline::{Throttle, before_asking_again};
use crate::net::socket;
use crate::storage::{StorageError, Upload};
use crate::{deadline, limits};

/// Bytes after which the pump checks the control connection, if no call had to wait.
const LOOK: u64 = 4 * 1024 * 1024;

/// Maximum time by which bytes may move ahead of their turn under a rate limit. A wait for every
/// few bytes would cost more system calls than moving them.
const AHEAD: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) enum PumpEnd {
    Complete,
    Interrupted(Interruption),
    /// The transfer was interrupted while the storage published the upload: the file may have its
    /// new content.
    Undecided(Interruption),
    /// The data connection broke.
    Broken(io::Error),
    /// The connection ended without the `close_notify` that TLS requires.
    Truncated,
    /// The data does not have the form that its mode requires.
    Malformed(DataFault),
    /// No byte moved within the stall timeout.
    Stalled,
    Storage(StorageError),
}

#[derive(Clone, Copy)]
pub(crate) struct PumpLimits<'a> {
    /// The stall timeout: the maximum time during which the client moves no byte. Waits for the
    /// rate limit or the storage do not count.
    pub(crate) stall: Duration,
    pub(crate) throttle: &'a Throttle,
    pub(crate) buffers: &'a Buffers,
    /// Whether an upload under TLS may end without `close_notify`.
    pub(crate) may_be_cut: bool,
}

/// State of a running transfer: the moved bytes, and when to check the control connection.
struct Pump<'a> {
    data: &'a TcpStream,
    monitor: &'a mut dyn Monitor,
    buffers: &'a Buffers,
    stall: Duration,
    throttle: &'a Throttle,
    may_be_cut: bool,
    /// Whether the connection stays open after the file, and the data itself marks the file's end.
    stays_open: bool,
    /// Received bytes after the end of a file.
    early: Vec<u8>,
    /// Whether calls on the data connection wait for up to a [`limits::TICK`].
    is_blocking: bool,
    /// Whether keepalive is on, so that the system detects a dead peer.
    is_kept_alive: bool,
    moved: u64,
    /// The value of `moved` at the last check of the control connection, and the time of that
    /// check.
    looked: u64,
    looked_at: Instant,
    /// The time when a byte last moved, or when a wait that the client did not cause last ended.
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
            stays_open: false,
            early: Vec::new(),
            is_blocking: false,
            is_kept_alive: false,
            moved: 0,
            looked: 0,
            looked_at: now,
            last: now,
        }
    }

    /// Lets `work` move at most `most` bytes. Under a rate limit, first waits until bytes may move,
    /// and may allow fewer than `most`. `work` gets the allowed number of bytes and returns the
    /// number that it moved.
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

    /// Waits until the rate limit allows some or all of `most` bytes. Returns the number allowed.
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
            // The wait was not a stall, and it included checks of the control connection.
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

    /// Checks the control connection if the last check was at least [`LOOK`] bytes or a
    /// [`limits::TICK`] ago.
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

    /// Lets calls on the data connection wait for up to a [`limits::TICK`], so that each call moves
    /// more bytes. Small files are sent or received without this.
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

    /// Turns on keepalive, with which the system detects a dead peer. This takes several system
    /// calls, so short transfers do without it.
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

    /// Sends all data of `outgoing`. `send` gets bytes, and returns how many of them it has sent.
    fn send_from_buffer(
        &mut self,
        outgoing: &mut dyn Outgoing,
        mut send: impl FnMut(&mut Self, &[u8]) -> Result<usize, PumpEnd>,
    ) -> Result<(), PumpEnd> {
        let mut buffer = self.buffers.small();
        let mut more = true;
        while more {
            more = self.fill(&mut buffer, outgoing)?;
            let room = buffer.room();
            let bytes = buffer.bytes();
            let is_full = bytes.len() >= room;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let count = send(self, rest)?;
                rest = rest.get(count..).unwrap_or_default();
                self.moved(count)?;
            }
            if is_full {
                buffer.grow();
            }
        }
        Ok(())
    }

    /// Replaces the content of `buffer` with the next part of `outgoing`. Returns `false` if that
    /// part is the last.
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
            if more {
                before_asking_again();
            }
            self.look_now_and_then(Instant::now())?;
        }
        Ok(more)
    }

    /// Waits a moment for a storage that takes no bytes, and checks the control connection.
    fn wait_for_storage(&mut self) -> Result<(), PumpEnd> {
        before_asking_again();
        // Slow storage does not count as a stall of the client.
        self.last = Instant::now();
        (self.looked, self.looked_at) = (self.moved, self.last);
        self.look()
    }

    /// Gives received bytes to `target`. Bytes after the end of the file are kept for the next
    /// file.
    fn deliver(&mut self, target: &mut UploadTarget<'_>, bytes: &[u8]) -> Result<(), PumpEnd> {
        let mut rest = bytes;
        while let Some((marker, at)) = target.take(&mut rest, &mut || self.wait_for_storage())? {
            if let Some(interruption) = self.monitor.mark(&marker, at) {
                return Err(PumpEnd::Interrupted(interruption));
            }
        }
        self.early.extend_from_slice(rest);
        Ok(())
    }

    /// Gives `target` the bytes that arrived before the transfer command. Returns whether they are
    /// a complete file.
    fn deliver_early(&mut self, target: &mut UploadTarget<'_>) -> Result<bool, PumpEnd> {
        let early = std::mem::take(&mut self.early);
        if early.is_empty() {
            return Ok(false);
        }
        self.deliver(target, &early)?;
        Ok(target.is_complete())
    }

    /// Ends the file of `target`.
    fn end(&mut self, target: &mut UploadTarget<'_>) -> Result<(), PumpEnd> {
        target.finish(&mut || self.wait_for_storage())
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
}

/// Sends all of `outgoing`. Returns how the transfer ended and the number of data bytes sent,
/// counted before compression and division into blocks. Unless the connection stays open, the
/// caller then closes the connection. Without TLS, closing the connection ends the data.
pub(crate) fn send(
    connection: &mut DataConnection,
    outgoing: &mut dyn Outgoing,
    limits: PumpLimits<'_>,
    monitor: &mut dyn Monitor,
) -> (u64, PumpEnd) {
    let mut pump = Pump::new(&connection.stream, limits, monitor);
    pump.stays_open = connection.stays_open;
    let sent = match &mut connection.protection {
        None => pump.send_clear(outgoing),
        Some(connection) => pump.send_protected(connection, outgoing),
    };
    let ended = sent.map_or_else(|ended| ended, |()| PumpEnd::Complete);
    (outgoing.bytes(pump.moved), ended)
}

/// Receives until the client closes its side, or until the end of the file if the connection stays
/// open. Under TLS, the client closes its side with a `close_notify`. Returns how the transfer
/// ended and the number of data bytes received, counted after decompression. The caller must commit
/// or abort the upload.
pub(crate) fn receive(
    connection: &mut DataConnection,
    upload: &mut dyn Upload,
    encoding: Encoding,
    limits: PumpLimits<'_>,
    monitor: &mut dyn Monitor,
) -> (u64, PumpEnd) {
    let mut pump = Pump::new(&connection.stream, limits, monitor);
    pump.stays_open = connection.stays_open;
    pump.early = std::mem::take(&mut connection.early);
    let mut target = UploadTarget::new(upload, encoding);
    let received = match &mut connection.protection {
        None => pump.receive_clear(&mut target),
        Some(connection) => pump.receive_protected(connection, &mut target),
    };
    connection.early = pump.early;
    let ended = received.map_or_else(|ended| ended, |()| PumpEnd::Complete);
    (target.taken(), ended)
}

/// Reads and discards unexpected bytes from a client that should only receive. Closing a socket
/// with unread bytes resets the connection, and the reset can overtake data in transit.
///
/// Returns whether there were any bytes, or the client has closed its side. If so, only shutdown(2)
/// shows whether the connection is lost.
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
