//! Commands that are sent before the replies to earlier ones have arrived. In mode B, the files
//! follow one another on one data connection. Between two downloads there is no round trip, and
//! between two uploads there is only one.

use std::borrow::BorrowMut;
use std::time::{Duration, Instant};

use ftp_proto::{Command, Pathname, Reply, ReplyCode, RepresentationType, Severity};
use ftp_proto::{TimeVal, Verb};

use super::Transfer;
use super::begin::Begun;
use super::coding::Coding;
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::trace;

/// The maximum time to wait for the replies to commands that are no longer wanted.
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
    // The transfers requested ahead use the type in force, so this one must use it too.
    if !is_next || client.kept.is_none() || representation != client.state.representation {
        // If anything else is outstanding, it is dropped now.
        client.settle()?;
        client.plan.begin(command, with_time);
        return Ok(None);
    }
    match begin_next(client, command.verb(), with_time) {
        Err(Error::Refused(_, reply)) if matches!(reply.code().value(), 425 | 426 | 503) => {
            // The server has closed the data connection, so it will refuse the other requests too.
            client.drop_requested()?;
            Ok(None)
        }
        begun => begun.map(Some),
    }
}

/// Begins the transfer that was requested first.
fn begin_next(client: &mut Client, verb: Verb, with_time: bool) -> Result<Begun, Error> {
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
    client.begin_over_kept(verb, started, deadline, modified)
}

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Returns whether the next upload, to `path`, can be requested before this one is confirmed.
    /// The server must have shown that it keeps the data connection, by answering 125 instead of
    /// 150.
    pub(super) fn may_go_ahead(&self, path: &Pathname) -> bool {
        let client: &Client = &self.client;
        let is_image = client.state.representation == Some(RepresentationType::Image);
        self.coding.as_deref().is_some_and(Coding::is_in_blocks)
            && self.first.code() == ReplyCode::DATA_CONNECTION_OPEN
            && client.plan.is_open()
            && is_image
            && !client.needs_agreement(path.as_bytes())
    }
}

impl Client {
    /// Sends commands whose replies are read later, one by one, as the caller asks for them.
    pub(crate) fn send_ahead(&mut self, commands: Vec<Command>) -> Result<(), Error> {
        let deadline = self.control.reply_deadline();
        self.control.send_more(&commands, deadline)?;
        self.plan.request(commands);
        Ok(())
    }

    /// Returns the reply to `command` if that command was sent ahead and is next, otherwise `None`.
    pub(crate) fn reply_ahead(&mut self, command: &Command) -> Result<Option<Reply>, Error> {
        self.control.check()?;
        if !self.plan.take_requested(command) {
            return Ok(None);
        }
        let deadline = self.control.reply_deadline();
        self.control.final_reply(deadline).map(Some)
    }

    /// Returns the commands of the next planned downloads, and counts these downloads as requested.
    pub(super) fn next_flight(&mut self) -> Vec<Command> {
        let mut plan = std::mem::take(&mut self.plan);
        let flight = plan.next_flight(|path| self.needs_agreement(path));
        self.plan = plan;
        flight
    }

    /// Drops the transfers that were requested ahead: the server ends them once it has no data
    /// connection.
    pub(super) fn drop_requested(&mut self) -> Result<(), Error> {
        trace::note(format_args!("dropping the commands that were sent ahead"));
        if self.plan.is_upload_requested() {
            // Dropping the connection resets it, so the server does not take this for the end of a
            // file.
            self.kept = None;
        }
        self.close_kept();
        let deadline = self.control.reply_deadline();
        let deadline = deadline.or(Some(self.control.deadline(LIMIT, Phase::Reply(None))));
        while self.control.is_outstanding() {
            self.control.final_reply(deadline)?;
        }
        self.plan.give_up();
        Ok(())
    }
}
