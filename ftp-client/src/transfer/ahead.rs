//! Downloads that are requested before their turn: in mode B the data of several files follow one
//! another on one data connection, so no round trip separates them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ftp_proto::{Command, Pathname, RepresentationType, Severity, TimeVal, Verb};

use super::begin::Begun;
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::trace;

/// The largest number of downloads that are requested and not begun, and the number at which more
/// are requested.
const MOST: usize = 64;
const FEW: usize = 32;

/// The largest number of bytes of commands in one write. A server that sends data does not read all
/// of them at once, so they must fit into the buffers of a connection.
const FLIGHT: usize = 4_096;

/// The time for the replies to downloads that are not wanted any more.
const LIMIT: Duration = Duration::from_secs(10);

/// The number of times that requests may be in vain. After that, downloads are requested one by one.
const VAIN: u8 = 3;

/// The downloads that the caller has named.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Not requested yet.
    planned: VecDeque<Planned>,
    /// Requested, in the order of the replies.
    requested: VecDeque<Planned>,
    /// The number of times that downloads were requested in vain.
    vain: u8,
}

#[derive(Debug, Eq, PartialEq)]
struct Planned {
    path: Pathname,
    /// Its modification time is requested too.
    with_time: bool,
}

impl Planned {
    /// Returns the commands of this download.
    fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let time = self.with_time.then(|| Command::Mdtm(self.path.clone()));
        time.into_iter().chain([Command::Retr(self.path.clone())])
    }

    fn is(&self, command: &Command, with_time: bool) -> bool {
        self.with_time == with_time && matches!(command, Command::Retr(path) if *path == self.path)
    }
}

impl Ahead {
    /// Adds a download to the plan.
    pub(crate) fn plan(&mut self, path: Pathname, with_time: bool) {
        self.planned.push_back(Planned { path, with_time });
    }

    /// Returns the number of downloads that have not begun.
    pub(crate) fn len(&self) -> usize {
        self.planned.len() + self.requested.len()
    }

    /// Returns whether the server was asked for more than the running transfer.
    pub(crate) fn is_requested(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Records that a transfer begins. If it is not the next one of the plan, the plan is dropped.
    fn advance(&mut self, command: &Command, with_time: bool) {
        match self.planned.front() {
            Some(next) if next.is(command, with_time) => drop(self.planned.pop_front()),
            _ => self.forget_plan(),
        }
    }

    /// Drops the downloads that are not requested yet.
    pub(super) fn forget_plan(&mut self) {
        self.planned.clear();
    }
}

/// Begins a transfer of a whole file if it was requested ahead. Returns `None` if it was not.
pub(super) fn begin(
    client: &mut Client,
    command: &Command,
    representation: Option<RepresentationType>,
    with_time: bool,
) -> Result<Option<Begun>, Error> {
    client.control.check()?;
    let is_next = client.ahead.requested.front().is_some_and(|next| next.is(command, with_time));
    // The type in force is the one that the requests had.
    if !is_next || client.kept.is_none() || representation != client.state.representation {
        // If anything else is outstanding, it is dropped now.
        client.settle()?;
        client.ahead.advance(command, with_time);
        return Ok(None);
    }
    match begin_next(client, with_time) {
        Err(Error::Refused(_, reply)) if matches!(reply.code().value(), 425 | 426 | 503) => {
            // The server has closed the data connection, so it will refuse the others too.
            client.drop_requested()?;
            Ok(None)
        }
        begun => begun.map(Some),
    }
}

/// Begins the download that was requested first.
fn begin_next(client: &mut Client, with_time: bool) -> Result<Begun, Error> {
    client.ahead.requested.pop_front();
    let started = Instant::now();
    let deadline = client.control.reply_deadline();
    if client.ahead.requested.len() < FEW {
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
    /// Returns the commands of the next planned downloads, which are requested now.
    pub(super) fn next_flight(&mut self) -> Vec<Command> {
        let mut flight = Vec::new();
        let mut bytes = 0;
        while self.ahead.vain < VAIN
            && self.ahead.requested.len() < MOST
            && let Some(next) = self.ahead.planned.front()
        {
            bytes += 2 * (next.path.as_bytes().len() + 8);
            if bytes > FLIGHT || self.needs_agreement(next.path.as_bytes()) {
                break;
            }
            flight.extend(next.commands());
            let next = self.ahead.planned.pop_front();
            self.ahead.requested.extend(next);
        }
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
        self.ahead.requested.clear();
        self.ahead.planned.clear();
        self.ahead.vain = self.ahead.vain.saturating_add(1);
        Ok(())
    }
}
