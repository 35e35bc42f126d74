//! Aborts, which break the usual order of commands and replies (RFC 959 §4.1.3). The replies are
//! counted in `transfer::abort`.

use ftp_proto::{Reply, Verb};

use super::ControlConnection;
use crate::error::Error;
use crate::net::wait::Deadline;
use crate::trace;

impl ControlConnection {
    /// Sends `ABOR` during a transfer: Telnet's "interrupt process" and "synch" as urgent data,
    /// then the command (RFC 959 §4.1.3). Afterwards, the reply to `ABOR` is outstanding too.
    pub(crate) fn send_abort(&mut self, deadline: Deadline) -> Result<(), Error> {
        const IAC_IP_IAC_DM: [u8; 4] = [255, 244, 255, 242];
        trace::sent(Verb::Abor, b"ABOR");
        if self.is_secure() {
            // TLS has no urgent data, and servers do not need it (RFC 4217 §4).
            return self.write(b"ABOR\r\n", deadline);
        }
        if self.addresses.is_none() {
            // Not every kind of socket supports urgent data or delivers it in place.
            return self.write(b"\xff\xf4\xff\xf2ABOR\r\n", deadline);
        }
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let sent = stream.write_urgent(&IAC_IP_IAC_DM);
        sent.map_err(|error| self.lost(error))?;
        self.write(b"ABOR\r\n", deadline)
    }

    /// Returns a reply to the aborted transfer or to `ABOR`.
    pub(crate) fn any_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        self.read_reply(deadline)
    }

    /// Returns a reply to the aborted transfer or to `ABOR`. Returns `None` if none arrives in
    /// time; the connection then stays open.
    pub(crate) fn any_reply_in(&mut self, patience: Deadline) -> Result<Option<Reply>, Error> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(Some(reply));
            }
            match self.wait(patience) {
                Ok(()) => {}
                Err(Error::Timeout(_)) if patience.remaining().is_err() => return Ok(None),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Err(self.lost(error)),
            }
            if self.fill()? == Some(false) {
                self.close();
                return Err(Error::Closed);
            }
        }
    }

    /// Sends `NOOP` after an abort; its reply is then outstanding too.
    pub(crate) fn send_noop(&mut self, deadline: Deadline) -> Result<(), Error> {
        if let Err(error) = deadline.remaining() {
            return Err(self.lost(error));
        }
        trace::sent(Verb::Noop, b"NOOP");
        self.write(b"NOOP\r\n", deadline)
    }

    /// Records that the final reply to the outstanding command has arrived.
    pub(crate) fn settled(&mut self) {
        self.outstanding = None;
        self.has_begun = false;
        self.step.abort_transfer();
    }
}
