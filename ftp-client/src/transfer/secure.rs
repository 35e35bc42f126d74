//! TLS on data connections: the handshake at the beginning (RFC 4217 §7), and the `close_notify` that
//! distinguishes the end from a broken connection (RFC 4217 §12.6; RFC 8446 §6.1).
//!
//! Also gets session tickets for data connections, if the server requires resumption and the client has
//! used up its tickets. A TLS 1.3 ticket is good for one connection (RFC 8446 §C.4). ProFTPD sends two
//! at login and one with each download, but none with uploads. ProFTPD refuses a data connection that
//! does not resume a session, so a third upload in a row would fail. However, it sends tickets during
//! the handshake of a listing, before it refuses the listing.

use std::borrow::BorrowMut;
use std::time::{Duration, Instant};

use ftp_proto::{Command, Progress, Reply, Severity, TransferMode, TransferSetup, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::begin::prepare;
use super::meet::{BeginOutcome, meet};
use super::{CLOSING, Transfer, resync};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::control::login::{Demand, Secured};
use crate::data::coding::RawData;
use crate::error::{Error, Phase, TlsError, accepted, may_demand_session};
use crate::net::Stream;
use crate::net::wait::Deadline;
use crate::tls::Session;
use crate::trace;

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
            *ended = Some(accepted(verb, reply)?);
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
        let stopped = resync(control, Some(data));
        return stopped
            .err()
            .filter(|stopped| matches!(stopped, Error::Cancelled))
            .unwrap_or(error);
    }
    drop(data);
    match control.final_reply(control.reply_deadline()) {
        Ok(reply) => accepted(verb, reply).err().filter(|_| !is_ours(&error)).unwrap_or(error),
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
                self.failed = Some(Error::Unexpected { verb: self.verb, reply: reply.clone() });
                return Err(Error::Unexpected { verb: self.verb, reply });
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
        let cut = self.data.as_mut().and_then(|data| data.end_writing().err()).map(Error::io);
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

/// The maximum time to wait for a server to refuse a data connection without resumption. It is a
/// multiple of the duration of the handshake, between a lower and an upper bound.
const TIMES: u32 = 3;
const LEAST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(1);

/// Returns whether a transfer was probably refused because its data connection resumed no session.
/// No data of such a transfer has moved.
pub(super) fn may_help(client: &Client, error: &Error) -> bool {
    let is_made = |secured: &Secured| secured.demand == Demand::Made;
    client.secured.as_ref().is_some_and(is_made)
        && matches!(error, Error::Refused { reply, .. } if may_demand_session(reply))
}

/// Finds out whether a server that has resumed sessions so far refuses a data connection with a
/// full handshake. Does nothing once the server has accepted such a connection. `began` is the
/// start of the handshake.
pub(super) fn look(
    client: &mut Client,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
    began: Instant,
) -> Result<(), Error> {
    let control = &mut client.control;
    let Some(secured) = &mut client.secured else { return Ok(()) };
    let may_demand = secured.demand != Demand::NotMade && secured.info.resumed > 0;
    if !may_demand || !control.is_outstanding() {
        return Ok(());
    }
    let limit = client.config.timeouts.final_reply;
    let patience = (began.elapsed() * TIMES).clamp(LEAST, MOST);
    let mut patience = control.deadline(patience, Phase::Handshake);
    let mut is_over = false;
    loop {
        let waited = match control.poll_reply()? {
            Some((Progress::Final, reply)) => {
                if may_demand_session(&reply) {
                    secured.demand = Demand::Made;
                }
                *ended = Some(accepted(verb, reply)?);
                return Ok(());
            }
            Some(_) => control.go_on(patience),
            None => {
                if !is_over && data.look()? {
                    is_over = data.session().is_some_and(Session::is_over);
                    if !is_over {
                        // The server has begun to send data.
                        break;
                    }
                    // Either the file is empty, or the server has refused the connection and closed
                    // it. The reply shows which, and ProFTPD sends the reply only after
                    // close_notify.
                    data.say_end();
                    patience = control.deadline(limit, Phase::FinalReply);
                }
                match is_over {
                    true => control.wait(patience),
                    false => control.wait_with(data.as_fd(), PollFlags::IN, patience).map(drop),
                }
            }
        };
        match waited {
            Ok(()) => {}
            Err(Error::Timeout(Phase::Handshake)) => break,
            Err(error) => return Err(error),
        }
    }
    secured.demand = Demand::NotMade;
    Ok(())
}

/// Gets new sessions if the server requires them and none is left. Returns `true` if a session is
/// now available or not needed.
pub(super) fn refill(client: &mut Client) -> Result<bool, Error> {
    let lacks = |client: &Client| client.secured.as_ref().is_some_and(Secured::lacks_session);
    if lacks(client) {
        list(client)?;
    }
    Ok(!lacks(client))
}

/// Begins a listing, which is enough to get tickets, and reads it to its end.
fn list(client: &mut Client) -> Result<(), Error> {
    trace::note(format_args!("no TLS session left to resume: getting new ones with a listing"));
    let command = Command::Nlst(None);
    let line = command.encode()?;
    let mut dialogue = TransferSetup::new(command, client.config.rules);
    if client.state.mode == TransferMode::Block {
        // In mode S, the server closes the connection at the end of the listing.
        dialogue = dialogue.with_mode(TransferMode::Stream);
    }
    let deadline = client.control.reply_deadline();
    let prepared = prepare(client, &mut dialogue, &mut Vec::new(), deadline)?;
    let Some(prepared) = prepared else { return Ok(()) };
    let Ok(opening) = prepared.opening else { return Ok(()) };
    let deadline = client.control.reply_deadline();
    client.control.send(Verb::Nlst, &line, deadline)?;
    let (mut data, mut ended) = match meet(client, Verb::Nlst, opening, deadline) {
        Ok(BeginOutcome::Begun { data: Some(data), ended, .. }) => (data, ended),
        Ok(_) => return resync(&mut client.control, None),
        Err(Error::Refused { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let shaken = secure(client, Verb::Nlst, &mut data, &mut ended);
    let heard = shaken.and_then(|()| hear_out(client, &mut data));
    let control = &mut client.control;
    match heard {
        Ok(true) => {
            drop(data);
            if control.is_outstanding() { control.final_reply(deadline).map(drop) } else { Ok(()) }
        }
        Ok(false) => resync(control, Some(data)),
        Err(error) => match give_up(control, Verb::Nlst, data, error) {
            // The server is expected to refuse.
            Error::Refused { .. } | Error::Io(_) => Ok(()),
            error => Err(error),
        },
    }
}

/// Reads and discards data until the data connection ends, with or without an error. Returns
/// `false` if it does not end in time.
fn hear_out(client: &Client, data: &mut Stream) -> Result<bool, Error> {
    let control = &client.control;
    let deadline = control.deadline(CLOSING, Phase::FinalReply);
    let mut buffer = [0; 4_096];
    loop {
        match data.read(&mut buffer) {
            Ok(Some(1..)) => {}
            Ok(None) => match control.waiter().wait_for(data.as_fd(), PollFlags::IN, deadline) {
                Ok(()) => {}
                Err(Error::Timeout(_)) => return Ok(false),
                Err(error) => return Err(error),
            },
            // It does not matter how the data ends.
            Ok(Some(_)) | Err(Error::Tls(_) | Error::Io(_)) => return Ok(true),
            Err(error) => return Err(error),
        }
        if control.go_on(deadline).is_err() {
            return Ok(false);
        }
    }
}

impl Client {
    /// Sets with `SSCN` whether the server begins the handshakes of its data connections, unless
    /// the setting is already in force. Returns `false` if the server refuses to begin them.
    pub(crate) fn begin_handshakes(&mut self, on: bool) -> Result<bool, Error> {
        let in_force = self.secured.as_ref().is_some_and(|secured| secured.server_begins);
        if in_force == on {
            return Ok(true);
        }
        let argument: &[u8] = if on { b"ON" } else { b"OFF" };
        let reply = self.control.request(&Command::Known(Verb::Sscn, argument.to_vec()))?;
        let is_done = reply.code().severity() == Severity::Completion;
        match &mut self.secured {
            Some(secured) if is_done => secured.server_begins = on,
            // Otherwise the server would act as the TLS client on the next data connection.
            _ if !on => return Err(Error::Refused { verb: Verb::Sscn, reply }),
            _ => trace::note(format_args!("SSCN does not work")),
        }
        Ok(is_done)
    }
}
