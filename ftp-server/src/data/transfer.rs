//! The pump: bytes between a data connection and a file, in the session's own thread, with an
//! eye on the control connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ftp_proto::AsciiDecoder;
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::{Interruption, Monitor, OpenError, Outgoing, deadline, fd, wait};
use crate::limits;
use crate::pace::Pace;
use crate::storage::{StorageError, Upload};

/// The size of buffers at first, and at most: a small file should not cost a large buffer, nor
/// a large file many calls.
const BUFFER: usize = 16 * 1024;
const BUFFER_MAX: usize = 256 * 1024;

/// How much the kernel is asked to send from a file at once, at first and at most: a slow disk
/// must not keep it for long.
const SENDFILE: u64 = 1024 * 1024;
const SENDFILE_MAX: u64 = 64 * 1024 * 1024;

/// After how many bytes the control connection is looked at, if nothing had to be waited for.
const LOOK: u64 = 1024 * 1024;

/// Why the bytes stopped.
#[derive(Debug)]
pub(crate) enum Ended {
    /// That was all.
    Complete,
    /// It was not wanted any more.
    Interrupted(Interruption),
    /// The data connection broke.
    Broken(io::Error),
    /// Not one byte moved for as long as is allowed.
    Stalled,
    /// The storage failed.
    Storage(StorageError),
}

/// Keeps count of a transfer, and of when to look where.
struct Pump<'a> {
    data: &'a TcpStream,
    monitor: &'a mut dyn Monitor,
    stall: Duration,
    moved: u64,
    /// The value of `moved` when the control connection was last looked at, and when that was.
    looked: u64,
    looked_at: Instant,
    last: Instant,
}

impl<'a> Pump<'a> {
    fn new(data: &'a TcpStream, stall: Duration, monitor: &'a mut dyn Monitor) -> Self {
        let now = Instant::now();
        Self { data, monitor, stall, moved: 0, looked: 0, looked_at: now, last: now }
    }

    fn moved(&mut self, count: usize) -> Result<(), Ended> {
        self.moved += count as u64;
        self.last = Instant::now();
        self.look_now_and_then(self.last)
    }

    /// Looks at the control connection when much was done since it was last looked at, or when
    /// the little that was done took long.
    fn look_now_and_then(&mut self, now: Instant) -> Result<(), Ended> {
        if self.moved - self.looked < LOOK && now.duration_since(self.looked_at) < limits::TICK {
            return Ok(());
        }
        (self.looked, self.looked_at) = (self.moved, now);
        self.look()
    }

    fn look(&mut self) -> Result<(), Ended> {
        match self.monitor.look(self.moved) {
            Some(interruption) => Err(Ended::Interrupted(interruption)),
            None => Ok(()),
        }
    }

    fn wait(&mut self, flags: PollFlags) -> Result<(), Ended> {
        (self.looked, self.looked_at) = (self.moved, Instant::now());
        let deadline = deadline(self.last, self.stall);
        wait(fd(self.data), flags, deadline, self.moved, self.monitor).map_err(
            |error| match error {
                OpenError::Interrupted(interruption) => Ended::Interrupted(interruption),
                OpenError::Failed(error) if error.kind() == ErrorKind::TimedOut => Ended::Stalled,
                OpenError::Failed(error) => Ended::Broken(error),
            },
        )
    }

    /// Waits where `error` says that there is nothing to do now, passes over what a signal
    /// interrupted, and gives back any other.
    fn wait_or_break(&mut self, error: io::Error, flags: PollFlags) -> Result<(), Ended> {
        match error.kind() {
            ErrorKind::WouldBlock => self.wait(flags),
            ErrorKind::Interrupted => Ok(()),
            _ => Err(Ended::Broken(error)),
        }
    }

    fn send(&mut self, outgoing: &mut dyn Outgoing) -> Result<(), Ended> {
        if !self.send_from_file(outgoing)? {
            self.send_from_buffer(outgoing)?;
        }
        outgoing.check_end(self.moved).map_err(Ended::Storage)?;
        self.data.shutdown(Shutdown::Write).map_err(Ended::Broken)
    }

    /// Lets the kernel send. False if it cannot for this file, and then nothing was sent.
    fn send_from_file(&mut self, outgoing: &dyn Outgoing) -> Result<bool, Ended> {
        let Some(file) = outgoing.descriptor() else { return Ok(false) };
        let mut pace = Pace::new(SENDFILE, SENDFILE_MAX);
        loop {
            let step = |most| usize::try_from(most).unwrap_or(usize::MAX);
            match pace.step(|most| rustix::fs::sendfile(self.data, file, None, step(most))) {
                Ok(0) => return Ok(true),
                Ok(count) => self.moved(count)?,
                Err(Errno::INVAL | Errno::NOSYS) if self.moved == 0 => return Ok(false),
                Err(error @ (Errno::IO | Errno::OVERFLOW)) => {
                    return Err(Ended::Storage(io::Error::from(error).into()));
                }
                Err(error) => self.wait_or_break(error.into(), PollFlags::OUT)?,
            }
        }
    }

    fn send_from_buffer(&mut self, outgoing: &mut dyn Outgoing) -> Result<(), Ended> {
        let mut room = BUFFER;
        let mut buffer = Vec::new();
        let mut more = true;
        while more {
            buffer.clear();
            more = outgoing.fill(room, &mut buffer).map_err(Ended::Storage)?;
            // The time that took is none the client let pass.
            self.last = Instant::now();
            if buffer.is_empty() {
                self.look_now_and_then(Instant::now())?;
            }
            if buffer.len() >= room {
                room = (room * 2).min(BUFFER_MAX);
            }
            let mut rest = buffer.as_slice();
            while !rest.is_empty() {
                let mut data = self.data;
                match data.write(rest) {
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        self.moved(count)?;
                    }
                    Err(error) => self.wait_or_break(error, PollFlags::OUT)?,
                }
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        upload: &mut dyn Upload,
        mut ascii: Option<AsciiDecoder>,
    ) -> Result<(), Ended> {
        let mut buffer = vec![0; BUFFER];
        let mut converted = Vec::new();
        let failed = |error: io::Error| Ended::Storage(error.into());
        loop {
            let mut data = self.data;
            let count = match data.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    self.wait_or_break(error, PollFlags::IN)?;
                    continue;
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            match &mut ascii {
                None => upload.write_all(bytes).map_err(failed)?,
                Some(decoder) => {
                    converted.clear();
                    decoder.decode(bytes, &mut converted);
                    upload.write_all(&converted).map_err(failed)?;
                }
            }
            self.moved(count)?;
            if count == buffer.len() && count < BUFFER_MAX {
                buffer.resize(count * 2, 0);
            }
        }
        if let Some(mut decoder) = ascii {
            converted.clear();
            decoder.finish(&mut converted);
            upload.write_all(&converted).map_err(failed)?;
        }
        // The client may be gone altogether: then this end of data is no end of file.
        self.look()
    }
}

/// Sends all of `outgoing` and closes the sending side. Returns how many bytes moved, and why
/// they stopped.
pub(crate) fn send(
    data: &TcpStream,
    outgoing: &mut dyn Outgoing,
    stall: Duration,
    monitor: &mut dyn Monitor,
) -> (u64, Ended) {
    let mut pump = Pump::new(data, stall, monitor);
    let ended = pump.send(outgoing).map_or_else(|ended| ended, |()| Ended::Complete);
    if matches!(ended, Ended::Complete) {
        discard_input(data);
    }
    (pump.moved, ended)
}

/// Receives until the client closes its side. The upload is neither committed nor aborted here.
pub(crate) fn receive(
    data: &TcpStream,
    upload: &mut dyn Upload,
    ascii: Option<AsciiDecoder>,
    stall: Duration,
    monitor: &mut dyn Monitor,
) -> (u64, Ended) {
    let mut pump = Pump::new(data, stall, monitor);
    let ended = pump.receive(upload, ascii).map_or_else(|ended| ended, |()| Ended::Complete);
    (pump.moved, ended)
}

/// Reads what a client sent on a connection it should only read from: to close a socket with
/// unread bytes resets it, and the reset can overtake the data still under way.
fn discard_input(mut data: &TcpStream) {
    let mut bytes = [0; 1_024];
    for _ in 0..64 {
        match data.read(&mut bytes) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}
