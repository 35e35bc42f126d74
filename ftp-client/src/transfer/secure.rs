//! TLS on data connections: the handshake at the beginning (RFC 4217 §7), and the `close_notify` that
//! distinguishes the end from a broken connection (RFC 4217 §12.6; RFC 8446 §6.1).

use std::borrow::BorrowMut;

use ftp_proto::{Progress, Reply, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::coding::RawData;
use super::end::{CLOSING, accepted};
use super::{Transfer, abort};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use crate::security::TlsError;

/// Puts the data connection of a transfer under TLS, if that was agreed on. During the handshake,
/// the server may refuse the transfer or, if there is no data, confirm it. After a failure,
/// [`give_up`] must end the transfer.
pub(super) fn secure(
    client: &mut Client,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
) -> Result<(), Error> {
    let Some(session) = client.secured.as_ref().and_then(|secured| secured.data()) else {
        return Ok(());
    };
    data.encrypt(session?);
    let limit = client.config.timeouts.handshake;
    let deadline = client.control.deadline(limit, Phase::Handshake);
    shake_hands(&mut client.control, verb, data, ended, deadline)?;
    if let Some(secured) = &mut client.secured
        && let Some(session) = data.session()
    {
        secured.count(session);
    }
    Ok(())
}

fn shake_hands(
    control: &mut ControlConnection,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
    deadline: Deadline,
) -> Result<(), Error> {
    loop {
        let interest = match data.handshake() {
            Ok(Some(interest)) => interest,
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !control.is_outstanding() {
            control.waiter().wait_for(data.as_fd(), interest, deadline)?;
            continue;
        }
        let mut reply = control.buffered_reply()?;
        if reply.is_none() {
            if control.wait_with(data.as_fd(), interest, deadline)? {
                continue;
            }
            reply = control.poll_reply()?;
        }
        if let Some((Progress::Final, reply)) = reply {
            accepted(verb, &reply)?;
            *ended = Some(reply);
        }
        control.go_on(deadline)?;
    }
}

/// Ends a transfer whose TLS handshake failed, so that no reply is outstanding, and returns the
/// reason. The server's reply has priority over the TLS error, unless this client rejected the
/// certificate.
pub(super) fn give_up(
    control: &mut ControlConnection,
    verb: Verb,
    data: Stream,
    error: Error,
) -> Error {
    if !control.is_outstanding() || matches!(error, Error::Cancelled) {
        return error;
    }
    if matches!(error, Error::Timeout(_)) {
        // No final reply arrived during the whole handshake, so a longer wait does not help.
        let stopped = abort::resync(control, Some(data));
        return stopped
            .err()
            .filter(|stopped| matches!(stopped, Error::Cancelled))
            .unwrap_or(error);
    }
    drop(data);
    match control.final_reply(control.reply_deadline()) {
        Ok(reply) => accepted(verb, &reply).err().filter(|_| !is_ours(&error)).unwrap_or(error),
        Err(Error::Closed | Error::Timeout(_)) => error,
        Err(other) if is_ours(&error) => {
            drop(other);
            error
        }
        Err(other) => other,
    }
}

/// Returns whether this client rejected the server's certificate. If so, the server's reply says
/// nothing more about the cause.
fn is_ours(error: &Error) -> bool {
    matches!(error, Error::Tls(TlsError::Certificate { .. }))
}

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
