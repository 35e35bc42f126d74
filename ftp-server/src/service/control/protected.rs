//! The control connection under TLS (RFC 4217 §4 and §12): beginning, end, and records in between.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::limits::READ_AHEAD;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::Control;
use crate::deadline;
use crate::net::socket::is_ready;
use crate::service::register::SessionHandle;
use crate::tls::{Connection, Handshake, size_of_records};

impl Control {
    /// Returns whether unread input exists. An attacker may have injected input after an `AUTH`
    /// (CVE-2011-0411).
    pub(in crate::service) fn has_input(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        !self.waiting.is_empty()
            || self.decoder.is_mid_line()
            || !self.plain.is_empty()
            || rustix::net::recv(&self.line.stream, &mut byte, flags).is_ok_and(|(n, _)| n > 0)
    }

    /// Starts TLS on the connection, within `limit`.
    pub(in crate::service) fn protect(
        &mut self,
        handshake: Handshake,
        limit: Duration,
    ) -> io::Result<&Connection> {
        let line = Arc::clone(&self.line);
        line.set_protected(true);
        let latest = deadline::after(Instant::now(), limit);
        let deadline = self.end.map_or(latest, |end| end.min(latest));
        let wait = &mut |flags| wait_until(&line, flags, deadline);
        let connection = handshake.carry_out(&line.stream, deadline, wait)?;
        self.protection = Some(Box::new(connection));
        // Decrypts data that arrived together with the end of the handshake.
        self.decrypt(&mut []);
        self.protection.as_deref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Ends TLS, and continues in plaintext once the client has ended TLS too. The client has
    /// `limit` to do so. Keeps the client's input before that end. Fails if that is more than
    /// [`READ_AHEAD`] bytes.
    pub(in crate::service) fn unprotect(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = deadline::after(Instant::now(), limit);
        self.close_protection()?;
        let mut bytes = [0; 1_024];
        while let Some(connection) = &self.protection
            && !connection.is_closed()
            && !self.ended
        {
            match rustix::net::recv(&self.line.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) => self.take(bytes.get_mut(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_until(&self.line, PollFlags::IN, deadline)?,
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // `plain` only grows while this loop runs, so it needs a limit.
            if self.plain.len() > READ_AHEAD {
                let why = "too much input before the client ended TLS";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        if let Some(mut connection) = self.protection.take() {
            self.ended &= !connection.is_closed();
            self.plain.append(&mut connection.take_kept());
        }
        self.line.set_protected(false);
        Ok(())
    }

    /// Sends a `close_notify` if TLS is on.
    pub(super) fn close_protection(&mut self) -> io::Result<()> {
        let Some(connection) = &mut self.protection else { return Ok(()) };
        let mut record = [0; size_of_records(0)];
        let count = connection.close(&mut record)?;
        let record = record.get(..count).unwrap_or_default();
        // If the record does not fit into the socket buffer, the client is not reading anyway.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::send(&self.line.stream, record, flags)?;
        Ok(())
    }

    /// Decrypts input. An invalid record ends the connection, as does a `close_notify`.
    pub(super) fn decrypt(&mut self, bytes: &mut [u8]) {
        let Self { protection, decoder, plain, ended, line, .. } = self;
        let Some(connection) = protection else { return };
        let mut answer = Vec::new();
        let received = connection.receive(bytes, &mut answer, &mut |bytes| {
            // One record may exceed the free space in the decoder.
            let taken = if plain.is_empty() { decoder.push(bytes) } else { 0 };
            plain.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        });
        *ended |= connection.is_closed();
        if let Err(error) = received {
            log::debug!("{}: TLS: {error}", line.shown.peer());
            *ended = true;
        }
        if !answer.is_empty() && self.write(&answer).is_err() {
            self.ended = true;
        }
    }

    /// Writes bytes under TLS.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(connection) = &mut self.protection else { return self.write(bytes) };
        // The C library keeps freed memory for the thread of an idle session, so most replies
        // should need no allocation.
        let (mut short, mut long);
        let records = if bytes.len() <= SHORT {
            short = [0; size_of_records(SHORT)];
            &mut short[..]
        } else {
            long = vec![0; size_of_records(bytes.len())];
            &mut long[..]
        };
        let count = connection.encrypt(bytes, records)?;
        self.write(records.get(..count).unwrap_or_default())
    }
}

/// Longest reply that is encrypted on the stack, in bytes.
const SHORT: usize = 512;

/// Waits until the socket is ready. Fails with `TimedOut` at `deadline`, or at once if the session
/// was cut.
fn wait_until(line: &SessionHandle, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() || line.is_cut() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if is_ready(&line.stream, flags, rest)? {
            return Ok(());
        }
    }
}
