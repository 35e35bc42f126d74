//! TLS on data connections: the handshake at their beginning, and the mark at their end that tells
//! it from a cut (RFC 4217 §7, §12.6; RFC 8446 §6.1).

use ftp_proto::{Progress, Reply, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::{CLOSING, Transfer, abort, accepted};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;

/// Puts the data connection of a transfer under TLS, if that was agreed on. Meanwhile the server
/// may refuse the transfer, or, as with an empty one, confirm it. What fails ends the transfer, and
/// what the server says about it counts for more than what TLS says.
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
    if let (Some(secured), Some(session)) = (&mut client.secured, data.session()) {
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

/// Ends a transfer whose data connection did not come under TLS, so that nothing is owed, and says
/// why it did not.
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
        // Silence on the one is not broken by waiting on the other.
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

/// Whether this client ended the handshake, so that what the server says of it is no news.
fn is_ours(error: &Error) -> bool {
    use crate::security::TlsError;
    matches!(error, Error::Tls(TlsError::Certificate { .. }))
}

impl Transfer<'_> {
    /// Whether its data is under TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.session().is_some())
    }

    /// Sends what TLS holds back of the data. A server that confirms what it `has_sent` to it before
    /// all of that is on its way knows nothing of its end.
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

    /// Marks the end of the data. Under TLS the server's mark is waited for as well, though not for
    /// long, and none is missed (TL-16): before it come the tickets by which the next data
    /// connection resumes the session. Inside is why the end cannot have reached the server.
    pub(super) fn end_sending(&mut self, has_sent: bool) -> Result<Option<Error>, Error> {
        let is_secure = self.is_secure();
        if let Some(data) = self.data.as_mut().filter(|_| is_secure) {
            data.mark_end();
            self.flush(has_sent)?;
        }
        let cut = self.data.as_ref().and_then(|data| data.end_writing().err()).map(Error::Io);
        Ok(cut.or_else(|| if is_secure { self.hear_the_end() } else { None }))
    }

    fn hear_the_end(&mut self) -> Option<Error> {
        use crate::security::TlsError;
        let data = self.data.as_mut()?;
        let control = &self.client.control;
        let deadline = control.deadline(CLOSING, Phase::FinalReply);
        loop {
            // However much comes of what nobody asked for.
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
