//! TLS on data connections: the handshake at the beginning (RFC 4217 §7).

use ftp_proto::{Progress, Reply, Verb};
use rustix::fd::AsFd;

use super::abort;
use super::verdict::accepted;
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
