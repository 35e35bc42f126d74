//! How a transfer begins: TYPE, the data connection, REST, the verb, and the wait for the data
//! connection and the first reply (CL-01, CL-08, CL-31).

use std::time::Instant;

use ftp_proto::{Command, Progress, Reply, RepresentationType, RestartMarker, Verb};

use super::{Transfer, abort, accepted, is_end_of_transfer, is_upload};
use crate::client::Client;
use crate::data::{self, Advance, Opening, Prepared};
use crate::error::{DataAttempt, Error, Phase};
use crate::stream::Stream;
use crate::trace;
use crate::wait::Deadline;

/// Sends what a transfer needs and its verb, and waits until it has begun. `offset` is where in
/// the file it starts; `representation` is what it needs to be in force, `None` for what is.
pub(crate) fn begin<'a>(
    client: &'a mut Client,
    command: &Command,
    offset: u64,
    representation: Option<RepresentationType>,
) -> Result<Transfer<'a>, Error> {
    let verb = command.verb();
    let line = command.encode().map_err(Error::Argument)?;
    let marker = RestartMarker::parse(offset.to_string().as_bytes()).map_err(Error::Argument)?;
    client.settle()?;
    if let Some(representation) = representation {
        client.put_in_force(representation)?;
    }
    let mut attempts = Vec::new();
    let mut epsv_failed = false;
    loop {
        let Client { control, config, ways, .. } = &mut *client;
        let Prepared { way, address, opening } =
            data::prepare(control, config, ways, epsv_failed, &mut attempts)?;
        let (error, usable) = match opening {
            Err(error) => (error, true),
            Ok(opening) => {
                client.restart_at(marker)?;
                let started = Instant::now();
                let deadline = client.control.reply_deadline();
                client.control.send(verb, &line, deadline)?;
                client.restart = RestartMarker::default();
                match meet(client, verb, opening, deadline)? {
                    Met::Begun { data, first, ended } => {
                        client.ways.no_epsv |= epsv_failed;
                        if let Some(data) = &data {
                            if client.config.connector.is_none() {
                                // One that failed meanwhile says so when it is used.
                                let _ = data.keep_alive(client.config.keepalive);
                            }
                            if is_upload(verb) {
                                // A process that is killed from here on closes it too, and the
                                // server must not take the part that it has for the whole.
                                data.reset_when_closed();
                            }
                        }
                        let (moved, drained, failed) = (false, false, None);
                        return Ok(Transfer {
                            client,
                            verb,
                            data,
                            first,
                            ended,
                            moved,
                            drained,
                            failed,
                            started,
                        });
                    }
                    Met::NoData(error) => (error, abort::resync(&mut client.control, None).is_ok()),
                }
            }
        };
        attempts.push(DataAttempt { way, address, error });
        let may_fall_back = data::may_fall_back(client.config.epsv, &client.control);
        if way != Verb::Epsv || !may_fall_back || !usable {
            return Err(Error::DataConnection(attempts));
        }
        trace::note(format_args!("the port of EPSV cannot be reached: trying PASV"));
        epsv_failed = true;
    }
}

/// How the wait for a transfer's beginning ended.
enum Met {
    Begun { data: Option<Stream>, first: Reply, ended: Option<Reply> },
    NoData(Error),
}

/// Waits for the data connection and for the first reply, in either order. A negative reply ends
/// the wait (CL-31), and so does a last one: then all is over already (CL-08).
fn meet(
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
                if let Some(opening) = opening
                    && opening.is_ready()?
                    && let Ok(Advance::Open(stream)) = opening.advance(server)
                {
                    data = Some(stream);
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
        let data_ready = if first.is_some() && waiting.is_ready()? {
            true
        } else if came {
            // More may have come with it.
            false
        } else {
            let (other, interest) = waiting.interest();
            match control.wait_with(other, interest, data_deadline) {
                Err(error @ Error::Timeout(Phase::DataConnect)) => return Ok(Met::NoData(error)),
                // The replies are still owed, and can be taken when good-bye is said.
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    control.close();
                    return Err(error);
                }
                Ok(data_ready) => data_ready,
            }
        };
        if !data_ready {
            opening = Some(waiting);
            continue;
        }
        match waiting.advance(server) {
            Ok(Advance::Still(waiting)) => opening = Some(waiting),
            Ok(Advance::Open(stream)) => {
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
