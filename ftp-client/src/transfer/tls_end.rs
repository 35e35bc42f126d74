//! The `close_notify` that ends data under TLS and distinguishes the end from a broken connection
//! (RFC 4217 §12.6; RFC 8446 §6.1).

use rustix::event::PollFlags;
use rustix::fd::AsFd;
use std::borrow::BorrowMut;

use super::Transfer;
use super::coding::RawData;
use super::verdict::CLOSING;
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::security::TlsError;

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Returns whether the transfer's data is under TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.session().is_some())
    }

    /// Sends buffered TLS data. Fails if the server confirms the transfer before all data was sent,
    /// because the server cannot have seen the end of the data.
    pub(super) fn flush(&mut self, has_sent: bool) -> Result<(), Error> {
        let mut deadline = self.deadline();
        loop {
            let Some(data) = &mut self.data else { return Ok(()) };
            let flushed = match data.flush() {
                Ok(true) => return Ok(()),
                Ok(false) => self.wait(PollFlags::OUT, &mut deadline),
                Err(error) => Err(error),
            };
            flushed.map_err(|error| self.fail(error))?;
            if has_sent && let Some(reply) = self.ended.clone() {
                self.failed = Some(Error::Unexpected(self.verb, reply.clone()));
                return Err(Error::Unexpected(self.verb, reply));
            }
        }
    }

    /// Marks the end of the data. Under TLS, also waits briefly for the server's `close_notify`,
    /// since the tickets for the next data connection come before that. A missing `close_notify` is
    /// not an error. Returns the reason if the end cannot have reached the server.
    pub(super) fn end_sending(&mut self, has_sent: bool) -> Result<Option<Error>, Error> {
        let is_secure = self.is_secure();
        if let Some(data) = self.data.as_mut().filter(|_| is_secure) {
            data.mark_end();
            self.flush(has_sent)?;
        }
        let cut = self.data.as_mut().and_then(|data| data.end_writing().err()).map(Error::Io);
        Ok(cut.or_else(|| if is_secure { self.hear_the_end() } else { None }))
    }

    fn hear_the_end(&mut self) -> Option<Error> {
        let data = self.data.as_mut()?;
        let control = &self.client.control;
        let deadline = control.deadline(CLOSING, Phase::FinalReply);
        loop {
            // Cancellation and the deadline apply even if much unexpected data arrives.
            if control.go_on(deadline).is_err() {
                return None;
            }
            match data.read(&mut [0; 512]) {
                Ok(Some(0)) | Err(Error::Tls(TlsError::TruncatedTls)) => return None,
                Ok(Some(_)) => {}
                Ok(None) => {
                    control.waiter().wait_for(data.as_fd(), PollFlags::IN, deadline).ok()?;
                }
                Err(error) => return Some(error),
            }
        }
    }
}
