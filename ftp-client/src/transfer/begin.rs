//! How a transfer begins: TYPE, the data connection, REST, the verb, and the wait for the data
//! connection and the first reply (CL-01, CL-08, CL-31).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ftp_proto::{Command, Progress, Reply, RepresentationType, Verb};

use super::{Part, abort, accepted, ahead, is_end_of_transfer, is_upload, refill, secure};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::data::{self, Advance, Opening, Prepared};
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use crate::trace;

/// How long strangers that came first are closed where nobody else is waited for.
const STRANGERS: Duration = Duration::from_secs(1);

/// A transfer that has begun, apart from the client: so a caller can go on with it, or with
/// another way if there is none.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(super) verb: Verb,
    pub(super) data: Option<Stream>,
    pub(super) first: Reply,
    pub(super) ended: Option<Reply>,
    pub(super) started: Instant,
}

/// Sends what a transfer needs and its verb, and waits until it has begun. `part` is what of the
/// file it is about; `representation` is what it needs to be in force, `None` for what is.
pub(crate) fn begin(
    client: &mut Client,
    command: &Command,
    part: Part,
    representation: Option<RepresentationType>,
) -> Result<Begun, Error> {
    let verb = command.verb();
    let line = command.encode().map_err(Error::Argument)?;
    client.settle()?;
    client.protect()?;
    client.begin_handshakes(false)?;
    let mut attempts = Vec::new();
    let mut epsv_failed = false;
    // What has a name of the server's choice is not begun twice.
    let mut may_refill = verb != Verb::Stou;
    let mut started = Instant::now();
    let mut deadline = client.control.reply_deadline();
    refill::refill(client)?;
    let mut sent = ahead::send(client, command, part, representation, deadline)?;
    loop {
        let is_sent = sent.is_some();
        let Prepared { agreed, opening } = match sent.take() {
            Some(prepared) => prepared,
            None => {
                if let Some(representation) = representation {
                    client.put_in_force(representation)?;
                }
                let Client { control, config, ways, .. } = &mut *client;
                data::prepare(control, config, ways, epsv_failed, &mut attempts)?
            }
        };
        let (error, usable) = match opening {
            Err(error) => (error, true),
            Ok(opening) => {
                if is_upload(verb) {
                    opening.reset_when_closed();
                }
                if !is_sent {
                    client.put_part_in_force(part)?;
                    (started, deadline) = (Instant::now(), client.control.reply_deadline());
                    client.control.send(verb, &line, deadline)?;
                    client.part = Part::default();
                }
                let met = meet(client, verb, opening, deadline);
                if is_sent && met.as_ref().is_err_and(ahead::is_odd) {
                    ahead::turn_off(client);
                    continue;
                }
                match met? {
                    Met::Begun { data, first, mut ended } => {
                        client.ways.no_epsv |= epsv_failed;
                        let mut data = data;
                        if let Some(data) = &data
                            && client.config.connector.is_none()
                        {
                            // One that failed meanwhile says so when it is used.
                            let _ = data.keep_alive(client.config.keepalive);
                        }
                        if let Some(mut plain) = data.take() {
                            let error = match shake_hands(client, verb, &mut plain, &mut ended) {
                                Ok(()) => {
                                    data = Some(plain);
                                    return Ok(Begun { verb, data, first, ended, started });
                                }
                                Err(error) => error,
                            };
                            let error = secure::give_up(&mut client.control, verb, plain, error);
                            if may_refill && refill::may_help(client, &error) {
                                may_refill = false;
                                match refill::refill(client) {
                                    Ok(true) => continue,
                                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                                    // The refusal says more.
                                    Ok(false) | Err(_) => {}
                                }
                            }
                            return Err(error);
                        }
                        return Ok(Begun { verb, data, first, ended, started });
                    }
                    Met::NoData(error) => (error, abort::resync(&mut client.control, None).is_ok()),
                }
            }
        };
        let way = agreed.way;
        attempts.push(agreed.failed(error));
        let may_fall_back = data::may_fall_back(client.config.epsv, &client.control);
        if way != Verb::Epsv || !may_fall_back || !usable {
            return Err(Error::DataConnection(attempts));
        }
        trace::note(format_args!("the port of EPSV cannot be reached: trying PASV"));
        epsv_failed = true;
    }
}

/// Puts the data connection under TLS, if it is to be, and has an eye on a refusal.
fn shake_hands(
    client: &mut Client,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
) -> Result<(), Error> {
    let began = Instant::now();
    secure::secure(client, verb, data, ended)?;
    match data.session() {
        Some(session) if !session.is_resumed() => refill::look(client, verb, data, ended, began),
        _ => Ok(()),
    }
}

/// How the wait for a transfer's beginning ended.
pub(super) enum Met {
    Begun { data: Option<Stream>, first: Reply, ended: Option<Reply> },
    NoData(Error),
}

/// Waits for the data connection and for the first reply, in either order. A negative reply ends
/// the wait (CL-31), and so does a last one: then all is over already (CL-08).
pub(super) fn meet(
    client: &mut Client,
    verb: Verb,
    opening: Opening,
    reply_deadline: Deadline,
) -> Result<Met, Error> {
    let control = &mut client.control;
    let server = control.addresses().map(|(_, peer)| peer.ip());
    let limit = client.config.timeouts.data_connect;
    let is_passive = opening.is_passive();
    // A server that connects to us does so when it is ready, which its 1yz tells.
    let mut data_deadline =
        if is_passive { control.deadline(limit, Phase::DataConnect) } else { reply_deadline };
    let mut opening = Some(opening);
    let (mut data, mut first) = (None, None);
    loop {
        let reply = match &opening {
            Some(_) => control.poll_reply()?,
            None => Some(control.next_reply(reply_deadline)?),
        };
        let came = reply.is_some();
        match reply {
            Some((Progress::Final, reply)) => {
                accepted(verb, &reply)?;
                if first.is_none() && !is_end_of_transfer(&reply) {
                    // A 200 or 227 here answers something else; nothing was transferred.
                    control.close();
                    return Err(Error::Unexpected(verb, reply));
                }
                if let Some(opening) = opening {
                    let patience = first.is_some().then_some(data_deadline);
                    match overtaken(control, opening, server, patience) {
                        Ok(stream) => {
                            data = stream;
                            if let Some(data) = data.as_ref().filter(|_| is_upload(verb)) {
                                data.reset_when_closed();
                            }
                        }
                        Err(error @ Error::Cancelled) => return Err(error),
                        // What it sent, if anything, did not come here.
                        Err(error) => return Ok(Met::NoData(error)),
                    }
                }
                let first = first.unwrap_or_else(|| reply.clone());
                return Ok(Met::Begun { data, first, ended: Some(reply) });
            }
            Some((Progress::Preliminary, reply)) if first.is_none() => {
                first = Some(reply);
                if !is_passive {
                    data_deadline = control.deadline(limit, Phase::DataConnect);
                }
            }
            _ => {}
        }
        let Some(waiting) = opening.take() else {
            match first {
                Some(first) => return Ok(Met::Begun { data, first, ended: None }),
                None => continue,
            }
        };
        let waited_for = if first.is_some() && waiting.is_ready()? {
            Ok(true)
        } else if came {
            // More may have come with it, and of 1yz there may be no end.
            control.go_on(data_deadline).map(|()| false)
        } else {
            let (other, interest) = waiting.interest();
            control.wait_with(other, interest, data_deadline)
        };
        let data_ready = match waited_for {
            Ok(data_ready) => data_ready,
            Err(error) => return waited(control, error),
        };
        if !data_ready {
            opening = Some(waiting);
            continue;
        }
        match waiting.advance(server) {
            // However many strangers come.
            Ok(Advance::Still(waiting)) => match control.go_on(data_deadline) {
                Ok(()) => opening = Some(waiting),
                Err(error) => return waited(control, error),
            },
            Ok(Advance::Open(stream)) => {
                if is_upload(verb) {
                    stream.reset_when_closed();
                }
                data = Some(stream);
                if let Some(first) = first {
                    return Ok(Met::Begun { data, first, ended: None });
                }
            }
            Err(error) => {
                // The server may have closed the port because it refuses the transfer.
                if let Some((Progress::Final, reply)) = control.poll_reply()? {
                    accepted(verb, &reply)?;
                }
                return Ok(Met::NoData(Error::Io(error)));
            }
        }
    }
}

/// The data connection of a transfer that is over at the server. It may be there behind that of a
/// stranger, or be on its way still: the two connections do not wait for each other. A server that
/// began has to have had one, and so `patience` is given to it; one that did not may have needed
/// none (CL-08).
fn overtaken(
    control: &ControlConnection,
    mut opening: Opening,
    server: Option<IpAddr>,
    patience: Option<Deadline>,
) -> Result<Option<Stream>, Error> {
    let limit = patience.unwrap_or(control.deadline(STRANGERS, Phase::DataConnect));
    loop {
        if !opening.is_ready()? {
            if patience.is_none() {
                return Ok(None);
            }
            let (fd, interest) = opening.interest();
            control.waiter().wait_for(fd, interest, limit)?;
        }
        match opening.advance(server) {
            Ok(Advance::Open(stream)) => return Ok(Some(stream)),
            Ok(Advance::Still(waiting)) => opening = waiting,
            Err(_) if patience.is_none() => return Ok(None),
            Err(error) => return Err(Error::Io(error)),
        }
        // However many strangers come.
        control.go_on(limit)?;
    }
}

/// What comes of a wait that ended in vain.
fn waited(control: &mut ControlConnection, error: Error) -> Result<Met, Error> {
    match error {
        Error::Timeout(Phase::DataConnect) => Ok(Met::NoData(error)),
        // The replies are still owed, and can be taken when good-bye is said.
        Error::Cancelled => Err(error),
        error => {
            control.close();
            Err(error)
        }
    }
}
