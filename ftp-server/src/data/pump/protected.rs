//! The pump under TLS (RFC 4217 §12.6 and §12.7): it moves records, and a `close_notify` ends the
//! data.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::target::UploadTarget;
use super::{Pump, PumpEnd, discard_input};
use crate::data::Outgoing;
use crate::tls::{Connection, RECORD, size_of_records};
use crate::{deadline, limits};

impl Pump<'_> {
    /// Sends all of `outgoing`. If the connection does not stay open, also sends a `close_notify`
    /// and closes this side.
    ///
    /// The last bytes are sent together with the `close_notify`. A client that knows the size may
    /// close the connection as soon as it has all bytes. A later write would then fail, as if the
    /// connection were lost. A client that closes the connection of an empty file early has lost
    /// nothing, so that is not an error.
    pub(super) fn send_protected(
        &mut self,
        connection: &mut Connection,
        outgoing: &mut dyn Outgoing,
    ) -> Result<(), PumpEnd> {
        if !self.stays_open {
            // If corking fails, the data is sent nevertheless.
            let _ = rustix::net::sockopt::set_tcp_cork(self.data, true);
        }
        let mut records = self.buffers.small();
        self.send_from_buffer(outgoing, |pump, rest| {
            if rest.len() > records.room() {
                records.grow();
            }
            let space = records.space();
            let overhead = size_of_records(space.len()) - space.len();
            let most = rest.len().min(space.len() - overhead);
            let mut length = 0;
            let encrypt = |most| {
                length = connection.encrypt(rest.get(..most).unwrap_or(rest), space)?;
                Ok::<_, io::Error>(most)
            };
            let count = pump.step(most, encrypt)?.map_err(PumpEnd::Broken)?;
            pump.write(space.get(..length).unwrap_or_default())?;
            Ok(count)
        })?;
        outgoing.check_end(self.moved).map_err(PumpEnd::Storage)?;
        if self.stays_open {
            return Ok(());
        }
        match self.close(connection) {
            Err(PumpEnd::Broken(_)) if self.moved == 0 && !connection.is_client() => Ok(()),
            closed => closed,
        }
    }

    fn close(&mut self, connection: &mut Connection) -> Result<(), PumpEnd> {
        let mut record = [0; size_of_records(0)];
        let length = connection.close(&mut record).map_err(PumpEnd::Broken)?;
        self.write(record.get(..length).unwrap_or_default())?;
        self.data.shutdown(Shutdown::Write).map_err(PumpEnd::Broken)?;
        if connection.is_client() {
            return self.wait_for_end();
        }
        // The data has been sent, even if the connection breaks now.
        let _ = discard_input(self.data);
        Ok(())
    }

    /// Waits until the other server, which is the TLS server, closes the connection too. Session
    /// tickets from that server may still be in transit. If they reached a closed socket, the reset
    /// would make the other host discard data that its server has not read.
    ///
    /// Unlike a client, the other server does not know the size of the file, so it waits for the
    /// end of the data. So a reset means that the other server has not read everything, for example
    /// because it refused this server's certificate.
    fn wait_for_end(&mut self) -> Result<(), PumpEnd> {
        let until = deadline::after(Instant::now(), limits::LAST_WAIT);
        let mut bytes = [0; 1_024];
        loop {
            // Nothing is decrypted after this side's close_notify.
            match rustix::net::recv(self.data, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(()),
                Ok(_) if Instant::now() >= until => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match self.wait_until(PollFlags::IN, until) {
                    Err(PumpEnd::Stalled) => return Ok(()),
                    ready => ready?,
                },
                Err(error) => return Err(PumpEnd::Broken(error.into())),
            }
        }
    }

    /// Receives until the client's `close_notify`, and answers it without waiting: some clients
    /// wait for the answer, and some never read it. If the connection stays open, receives until
    /// the end of the file.
    pub(super) fn receive_protected(
        &mut self,
        connection: &mut Connection,
        target: &mut UploadTarget<'_>,
    ) -> Result<(), PumpEnd> {
        if self.deliver_early(target)? {
            return self.end(target);
        }
        let mut buffer = self.buffers.of_size(RECORD);
        // Encrypted data that arrived together with the end of the handshake, or with the previous
        // file.
        let mut kept = connection.take_kept();
        kept.truncate(RECORD);
        let mut end = kept.len();
        buffer.space().get_mut(..end).unwrap_or_default().copy_from_slice(&kept);
        let mut answer = Vec::new();
        loop {
            let space = buffer.space();
            let is_full = end == space.len();
            let mut plain = 0;
            let mut failed = None;
            let came = space.get_mut(..end).unwrap_or_default();
            let decrypted = connection.decrypt(came, &mut answer, &mut |bytes| {
                plain += bytes.len();
                self.deliver(target, bytes).map_err(|error| {
                    failed = Some(error);
                    io::ErrorKind::Other.into()
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
            if !answer.is_empty() {
                self.write(&answer)?;
                answer.clear();
            }
            let used = decrypted.map_err(PumpEnd::Broken)?;
            self.moved(plain)?;
            if target.is_complete() {
                connection.keep(space.get(used..end).unwrap_or_default());
                return self.end(target);
            }
            if connection.is_closed() {
                break;
            }
            space.copy_within(used..end, 0);
            end -= used;
            if is_full && !target.converts() && !self.stays_open {
                let rest = space.get(..end).unwrap_or_default().to_vec();
                buffer.grow();
                buffer.space().get_mut(..end).unwrap_or_default().copy_from_slice(&rest);
            }
            match self.read(buffer.space().get_mut(end..).unwrap_or_default())? {
                0 if self.may_be_cut && end == 0 => break,
                0 => return Err(PumpEnd::Truncated),
                count => end += count,
            }
        }
        let mut record = [0; size_of_records(0)];
        if let Ok(length) = connection.close(&mut record) {
            // A client that has disconnected, or does not read, does not need the answer.
            let _ = (&mut &*self.data).write(record.get(..length).unwrap_or_default());
            let _ = self.data.shutdown(Shutdown::Write);
        }
        self.end(target)
    }

    /// Reads the available bytes into `space`, and waits for the first ones if necessary. Returns
    /// their number, or 0 at the end.
    fn read(&mut self, space: &mut [u8]) -> Result<usize, PumpEnd> {
        loop {
            let mut data = self.data;
            let most = space.len();
            let into = |most| data.read(space.get_mut(..most).unwrap_or_default());
            match self.step(most, into)? {
                Ok(count) => {
                    self.last = Instant::now();
                    return Ok(count);
                }
                Err(error) => self.wait_or_break(error, PollFlags::IN)?,
            }
        }
    }

    fn write(&mut self, mut records: &[u8]) -> Result<(), PumpEnd> {
        while !records.is_empty() {
            let mut data = self.data;
            match data.write(records) {
                Ok(count) => {
                    records = records.get(count..).unwrap_or_default();
                    self.last = Instant::now();
                }
                Err(error) => self.wait_or_break(error, PollFlags::OUT)?,
            }
        }
        Ok(())
    }
}
