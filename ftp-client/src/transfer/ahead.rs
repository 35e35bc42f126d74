//! Downloads that are requested before their turn: in mode B the files follow one another on one
//! data connection, so no round trip separates them.

use std::time::{Duration, Instant};

use ftp_proto::{Command, RepresentationType, Severity, TimeVal, Verb};

use super::begin::Begun;
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::trace;

/// The time for the replies to downloads that are no longer wanted.
const LIMIT: Duration = Duration::from_secs(10);

/// Begins a transfer of a whole file if that transfer was requested ahead, otherwise returns
/// `None`.
pub(super) fn begin(
    client: &mut Client,
    command: &Command,
    representation: Option<RepresentationType>,
    with_time: bool,
) -> Result<Option<Begun>, Error> {
    client.control.check()?;
    let is_next = client.plan.has_requested(command, with_time);
    // The requests were sent with the type in force.
    if !is_next || client.kept.is_none() || representation != client.state.representation {
        // If anything else is outstanding, it is dropped now.
        client.settle()?;
        client.plan.begin(command, with_time);
        return Ok(None);
    }
    match begin_next(client, with_time) {
        Err(Error::Refused(_, reply)) if matches!(reply.code().value(), 425 | 426 | 503) => {
            // The server has closed the data connection, so it will refuse the other requests too.
            client.drop_requested()?;
            Ok(None)
        }
        begun => begun.map(Some),
    }
}

/// Begins the download that was requested first.
fn begin_next(client: &mut Client, with_time: bool) -> Result<Begun, Error> {
    let is_running_out = client.plan.begin_requested();
    let started = Instant::now();
    let deadline = client.control.reply_deadline();
    if is_running_out {
        let commands = client.next_flight();
        client.control.send_more(&commands, deadline)?;
    }
    let mut modified = None;
    if with_time {
        let reply = client.control.final_reply(deadline)?;
        let is_told = reply.code().severity() == Severity::Completion;
        modified = TimeVal::parse(reply.text().trim_ascii()).ok().filter(|_| is_told);
    }
    client.begin_over_kept(Verb::Retr, started, deadline, modified)
}

impl Client {
    /// Returns the commands of the next planned downloads, and counts these downloads as requested.
    pub(super) fn next_flight(&mut self) -> Vec<Command> {
        let mut plan = std::mem::take(&mut self.plan);
        let flight = plan.next_flight(|path| self.needs_agreement(path));
        self.plan = plan;
        flight
    }

    /// Drops the downloads that were requested ahead: the server ends them once it has no data
    /// connection.
    pub(super) fn drop_requested(&mut self) -> Result<(), Error> {
        trace::note(format_args!("dropping the downloads that were requested ahead"));
        self.close_kept();
        let deadline = self.control.reply_deadline();
        let deadline = deadline.or(Some(self.control.deadline(LIMIT, Phase::Reply)));
        while self.control.is_outstanding() {
            self.control.final_reply(deadline)?;
        }
        self.plan.give_up();
        Ok(())
    }
}
