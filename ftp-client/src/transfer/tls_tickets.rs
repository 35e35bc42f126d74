//! Session tickets for data connections, if the server requires resumption and the client has used
//! up its tickets.
//!
//! A TLS 1.3 ticket is good for one connection (RFC 8446 §C.4). ProFTPD sends two at login and one
//! with each download, but none with uploads. ProFTPD refuses a data connection that does not
//! resume a session, so a third upload in a row would fail. However, it sends tickets during the
//! handshake of a listing, before it refuses the listing.

use std::time::{Duration, Instant};

use ftp_proto::{Command, Progress, Reply, TransferMode, TransferSetup, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::end::{CLOSING, accepted};
use super::meet::{BeginOutcome, meet};
use super::setup::prepare;
use super::{abort, secure};
use crate::client::Client;
use crate::control::secure::{Demand, Secured};
use crate::error::kind::may_demand_session;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::tls::Session;
use crate::trace;

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
        && matches!(error, Error::Refused(_, reply) if may_demand_session(reply))
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
                accepted(verb, &reply)?;
                *ended = Some(reply);
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
        Ok(_) => return abort::resync(&mut client.control, None),
        Err(Error::Refused(..)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let shaken = secure::secure(client, Verb::Nlst, &mut data, &mut ended);
    let heard = shaken.and_then(|()| hear_out(client, &mut data));
    let control = &mut client.control;
    match heard {
        Ok(true) => {
            drop(data);
            if control.is_outstanding() { control.final_reply(deadline).map(drop) } else { Ok(()) }
        }
        Ok(false) => abort::resync(control, Some(data)),
        Err(error) => match secure::give_up(control, Verb::Nlst, data, error) {
            // The server is expected to refuse.
            Error::Refused(..) | Error::Io(_) => Ok(()),
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
