//! Pipelining: `TYPE`, `EPSV` and a verb in one write, to wait only once.

use ftp_proto::{Command, Reply, RepresentationType, Severity, Verb};

use super::{Range, abort};
use crate::client::Client;
use crate::data::{self, Prepared};
use crate::error::Error;
use crate::net::wait::Deadline;
use crate::trace;

/// Sends all commands together, and reads the replies up to the verb's, which is then outstanding.
/// Returns `None`, with nothing outstanding, if the commands must be sent one at a time.
pub(super) fn send(
    client: &mut Client,
    command: &Command,
    range: Range,
    representation: Option<RepresentationType>,
    deadline: Deadline,
) -> Result<Option<Prepared>, Error> {
    // Only commands that change nothing: after a failure they are sent a second time.
    let is_download = matches!(command.verb(), Verb::Retr | Verb::List | Verb::Nlst | Verb::Mlsd);
    let is_whole = range == Range::default() && client.range == range;
    if !client.config.pipeline || !is_download || !is_whole {
        return Ok(None);
    }
    let Some(epsv) = data::ahead(&client.config, &client.modes) else { return Ok(None) };
    let wanted = representation.filter(|wanted| client.in_force != Some(*wanted));
    let set_type = wanted.map(|wanted| Command::Type(wanted.into()));
    let commands = [set_type, Some(Command::Epsv(epsv)), Some(command.clone())];
    let commands: Vec<Command> = commands.into_iter().flatten().collect();
    client.control.send_together(&commands, deadline)?;
    // After an error, TYPE or EPSV is outstanding or the connection is closed: stop here.
    let reply = answers(client, wanted, deadline)?;
    let Client { control, config, .. } = &mut *client;
    let ready = reply.and_then(|reply| data::prepare_ahead(control, config, epsv, &reply));
    if ready.is_none() {
        turn_off(client);
        abort::resync(&mut client.control, None)?;
    }
    Ok(ready)
}

/// Returns the reply to `EPSV`, if that to `TYPE` was as expected.
fn answers(
    client: &mut Client,
    wanted: Option<RepresentationType>,
    deadline: Deadline,
) -> Result<Option<Reply>, Error> {
    let mut is_set = true;
    if wanted.is_some() {
        let reply = client.control.final_reply(deadline)?;
        is_set = reply.code().severity() == Severity::Completion;
        client.in_force = wanted.filter(|_| is_set);
    }
    let reply = client.control.final_reply(deadline)?;
    Ok(is_set.then_some(reply))
}

/// Sends one command at a time from now on.
pub(super) fn turn_off(client: &mut Client) {
    trace::note(format_args!("not as it should be: one command at a time from now on"));
    client.config.pipeline = false;
}

/// Returns whether the reply to the verb may be due to pipelining.
pub(super) fn is_odd(error: &Error) -> bool {
    let Error::Refused(_, reply) = error else { return false };
    matches!(reply.code().value(), 425 | 500..=504)
}
