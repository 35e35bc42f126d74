//! The pump without TLS: the kernel sends files directly if possible; other data goes through a
//! buffer.

use std::io::{self, Write};
use std::net::Shutdown;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::target::UploadTarget;
use super::{Pump, PumpEnd, discard_input};
use crate::data::Outgoing;
use crate::data::outgoing::FileRange;
use crate::deadline::Pace;

/// Maximum bytes that the kernel sends from a file in the first call. That call does not wait: it
/// sends the bytes that fit into the socket's send buffer.
const SENDFILE_FIRST: usize = 4 * 1024 * 1024;

/// Bytes that the kernel sends from a file in each later call, initially and at most. The timeout
/// of the socket applies to each 64 KiB. So a call for 4 MiB can take a second or more if the
/// client becomes slow. Larger steps would save few calls.
const SENDFILE: u64 = 64 * 1024;
const SENDFILE_MAX: u64 = 4 * 1024 * 1024;

impl Pump<'_> {
    pub(super) fn send_clear(&mut self, outgoing: &mut dyn Outgoing) -> Result<(), PumpEnd> {
        if !self.send_from_file(outgoing)? {
            self.send_from_buffer(outgoing, |pump, rest| {
                loop {
                    let mut data = pump.data;
                    let write = |most| data.write(rest.get(..most).unwrap_or(rest));
                    match pump.step(rest.len(), write)? {
                        Ok(count) => return Ok(count),
                        Err(error) => pump.wait_or_break(error, PollFlags::OUT)?,
                    }
                }
            })?;
        }
        outgoing.check_end(self.moved).map_err(PumpEnd::Storage)?;
        // Closing the socket also ends the data, so shutdown(2) is usually not needed.
        if !self.stays_open && discard_input(self.data)? {
            self.data.shutdown(Shutdown::Write).map_err(PumpEnd::Broken)?;
            discard_input(self.data)?;
        }
        Ok(())
    }

    /// Lets the kernel send the file. Returns `false` if it cannot send this file, or not the rest
    /// of it.
    fn send_from_file(&mut self, outgoing: &dyn Outgoing) -> Result<bool, PumpEnd> {
        let mut pace = Pace::new(SENDFILE, SENDFILE_MAX);
        while let Some(FileRange { file, length }) = outgoing.file_range() {
            let size = usize::try_from(pace.size()).unwrap_or(usize::MAX);
            let most = match usize::try_from(length.saturating_sub(self.moved)) {
                _ if !self.is_blocking => SENDFILE_FIRST,
                // A call can take long, and an upload may append to the file meanwhile.
                Ok(left) if left > 0 => size.min(left),
                _ => size,
            };
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
                    } else if length > 0 {
                        // What the file has got since it was opened may be removed again; only the
                        // source knows. A file that reports size 0 may have more bytes, because some
                        // file systems do not know the size.
                        return Ok(self.moved == length && count < asked);
                    }
                }
                Err(Errno::INVAL | Errno::NOSYS) if self.moved == 0 => return Ok(false),
                Err(error @ (Errno::IO | Errno::OVERFLOW)) => {
                    return Err(PumpEnd::Storage(io::Error::from(error).into()));
                }
                Err(error) => self.wait_or_break(error.into(), PollFlags::OUT)?,
            }
        }
        Ok(false)
    }

    pub(super) fn receive_clear(&mut self, target: &mut UploadTarget<'_>) -> Result<(), PumpEnd> {
        if self.deliver_early(target)? {
            return self.end(target);
        }
        let mut buffer = self.buffers.small();
        loop {
            let data = self.data;
            // If calls may wait, each waits until the buffer is full.
            let flags = if self.is_blocking { RecvFlags::WAITALL } else { RecvFlags::empty() };
            let space = buffer.space();
            let most = target.room(space.len());
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
            self.deliver(target, space.get(..count).unwrap_or_default())?;
            self.moved(count)?;
            if target.is_complete() {
                break;
            }
            // A conversion needs a second buffer, so both stay small.
            if is_full && !target.converts() {
                buffer.grow();
                // On a connection that stays open, a call that waits for a full buffer would wait
                // for the next file.
                if !self.stays_open {
                    self.let_calls_wait()?;
                }
            }
        }
        self.end(target)
    }
}
