//! The wait for a data connection and for the first reply to its transfer, in either order.
//!
//! In mode B, the data connection stays open after a transfer, and the files follow one another on it.
//! Commands are sent before the replies to earlier ones have arrived: between two downloads there is no
//! round trip, and between two uploads there is only one.

use std::borrow::BorrowMut;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ftp_proto::{
    Command, Pathname, Progress, Reply, ReplyCode, RepresentationType, Severity, StartStep,
    TimeVal, TransferEvidence, TransferStart, Verb,
};

use super::end::faulted;
use super::{Begun, Transfer, resync};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::data::coding::Coding;
use crate::data::{Advance, KeptConnection, Opening};
use crate::error::{Error, Phase, accepted};
use crate::net::Stream;
use crate::net::wait::Deadline;
use crate::trace;

/// The maximum time to reject connections from other hosts if it is unknown whether the server has
/// opened a data connection.
const STRANGERS: Duration = Duration::from_secs(1);

pub(super) enum BeginOutcome {
    Begun { data: Option<Stream>, first: Reply, ended: Option<Reply> },
    NoData(Error),
}

/// Waits for the data connection and for the first reply, in either order. A negative reply ends
/// the wait. After a positive final reply, the transfer is already over, and only its data
/// connection may still arrive.
pub(super) fn meet(
    client: &mut Client,
    verb: Verb,
    opening: Opening,
    reply_deadline: Deadline,
) -> Result<BeginOutcome, Error> {
    let control = &mut client.control;
    let data_limit = client.config.timeouts.data_connect;
    let is_passive = opening.is_passive();
    // In active mode, the server connects when it is ready, as its 1xx shows. Until the 1xx, only
    // the reply timeout applies.
    let data_deadline = match is_passive {
        true => control.deadline(data_limit, Phase::DataConnect),
        false => reply_deadline,
    };
    let server = control.addresses().map(|(_, peer)| peer.ip());
    let start = TransferStart::new(verb);
    let meeting = BeginWait {
        control,
        verb,
        server,
        is_passive,
        data_limit,
        data_deadline,
        reply_deadline,
        start,
        opening: Some(opening),
        stranger: None,
        data: None,
        failure: None,
    };
    meeting.run()
}

/// The sockets, the limits and the results so far; `start` decides what is next.
struct BeginWait<'a> {
    control: &'a mut ControlConnection,
    verb: Verb,
    /// The host that may connect to the client.
    server: Option<IpAddr>,
    is_passive: bool,
    data_limit: Duration,
    data_deadline: Deadline,
    reply_deadline: Deadline,
    start: TransferStart,
    /// `None` once the data connection is open.
    opening: Option<Opening>,
    /// The last other host that connected to the client.
    stranger: Option<IpAddr>,
    data: Option<Stream>,
    failure: Option<Error>,
}

impl BeginWait<'_> {
    fn run(mut self) -> Result<BeginOutcome, Error> {
        loop {
            match self.start.step() {
                StartStep::AwaitReply => {
                    let (_, reply) = self.control.next_reply(self.reply_deadline)?;
                    self.hear(&reply)?;
                }
                StartStep::AwaitReplyOrData => self.await_either()?,
                StartStep::AwaitData => self.take_overtaken(Some(self.data_deadline))?,
                StartStep::TakeData => self.take_overtaken(None)?,
                _ => break,
            }
        }
        if let Some(error) = self.failure {
            return Ok(BeginOutcome::NoData(error));
        }
        let (first, ended) = self.start.into_replies().expect("data moves only after a reply");
        Ok(BeginOutcome::Begun { data: self.data, first, ended })
    }

    fn hear(&mut self, reply: &Reply) -> Result<(), Error> {
        let had_begun = self.start.has_begun();
        let heard = self.start.reply(reply);
        heard.map_err(|fault| faulted(self.control, fault, self.verb, reply))?;
        if !had_begun && self.start.has_begun() && !self.is_passive {
            self.data_deadline = self.control.deadline(self.data_limit, Phase::DataConnect);
        }
        Ok(())
    }

    fn open(&mut self, stream: Stream) {
        if self.verb.is_upload() {
            stream.reset_when_closed();
            // Fails only on a socket that can no longer send.
            let _ = stream.send_at_once();
        }
        self.data = Some(stream);
        self.start.data_opened();
    }

    fn lose(&mut self, error: Error) {
        self.failure = Some(error);
        self.start.data_failed();
    }

    /// Takes the next reply if it has arrived, otherwise waits for it and for the data connection.
    fn await_either(&mut self) -> Result<(), Error> {
        let reply = self.control.poll_reply()?;
        if let Some((_, reply)) = &reply {
            self.hear(reply)?;
            if self.start.step() != StartStep::AwaitReplyOrData {
                return Ok(());
            }
        }
        let opening =
            self.opening.take().expect("the opening is kept until the data connection is there");
        match self.wait(&opening, reply.is_some()) {
            Ok(true) => self.advance(opening),
            Ok(false) => {
                self.opening = Some(opening);
                Ok(())
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Waits, and returns whether the data connection is ready.
    fn wait(&mut self, opening: &Opening, has_come: bool) -> Result<bool, Error> {
        if self.start.has_begun() && opening.is_ready()? {
            return Ok(true);
        }
        if has_come {
            // More replies may have arrived together with this one, so they are taken first. The
            // deadline still applies, because a server may send 1xx without end.
            return self.control.go_on(self.data_deadline).map(|()| false);
        }
        let (other, interest) = opening.interest();
        self.control.wait_with(other, interest, self.data_deadline)
    }

    fn advance(&mut self, opening: Opening) -> Result<(), Error> {
        match opening.advance(self.server) {
            Ok(Advance::Still(opening, stranger)) => {
                self.opening = Some(opening);
                self.stranger = stranger.or(self.stranger);
                // Checks the limits even if many other hosts connect.
                let went_on = self.control.go_on(self.data_deadline);
                went_on.or_else(|error| self.give_up(error))
            }
            Ok(Advance::Open(stream)) => {
                self.open(stream);
                Ok(())
            }
            Err(error) => {
                // The server may have closed the port because it refuses the transfer.
                if let Some((Progress::Final, reply)) = self.control.poll_reply()? {
                    accepted(self.verb, reply)?;
                }
                self.lose(Error::io(error));
                Ok(())
            }
        }
    }

    /// Accepts the data connection of a transfer that the server has already ended, if there is
    /// one.
    fn take_overtaken(&mut self, patience: Option<Deadline>) -> Result<(), Error> {
        let opening =
            self.opening.take().expect("the opening is kept until the data connection is there");
        match overtaken(self.control, opening, self.server, patience) {
            Ok(Some(stream)) => self.open(stream),
            Ok(None) => self.start.data_missing(),
            Err(error @ Error::Cancelled) => return Err(error),
            // The server may have sent data, which is now lost.
            Err(error) => self.lose(error),
        }
        Ok(())
    }

    /// Decides the result of a wait that failed.
    fn give_up(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Timeout(Phase::DataConnect) => {
                self.lose(match self.stranger {
                    Some(stranger) => Error::io(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("only {stranger} connected, which is not the server's address"),
                    )),
                    None => error,
                });
                Ok(())
            }
            // The replies are still outstanding, and can be taken when the session ends.
            Error::Cancelled => Err(error),
            error => {
                self.control.close();
                Err(error)
            }
        }
    }
}

/// Returns the data connection of a transfer that the server has already ended; `None` if there is
/// none. The connection may be queued after one from another host, or still be on its way, since
/// control and data connection are independent. A server that sent 1xx must have had a data
/// connection, so the client waits for the connection until the deadline `patience`. Without a 1xx,
/// the server may not have needed a connection.
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
            Ok(Advance::Still(waiting, _)) => opening = waiting,
            Err(_) if patience.is_none() => return Ok(None),
            Err(error) => return Err(Error::io(error)),
        }
        // Checks the limits even if many other hosts connect.
        control.go_on(limit)?;
    }
}

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Keeps the data connection for the next transfer, or closes it, as the final reply says.
    pub(super) fn end_data(&mut self, evidence: &TransferEvidence) {
        let (Some(data), Some(mut coding)) = (self.data.take(), self.coding.take()) else { return };
        if !coding.is_in_blocks() {
            return;
        }
        coding.begin_file();
        let kept = KeptConnection { data, coding };
        match evidence.keeps_data() {
            true => self.client.kept = Some(kept),
            false => kept.close(),
        }
    }
}

impl Client {
    pub(crate) fn close_kept(&mut self) {
        self.state.is_data_open = false;
        if let Some(kept) = self.kept.take() {
            kept.close();
        }
    }

    /// Returns whether the kept data connection can be used for the next transfer; closes it if
    /// not.
    pub(super) fn can_reuse(&mut self) -> bool {
        let is_idle = self.kept.as_mut().is_some_and(KeptConnection::is_idle);
        if !is_idle {
            trace::note(format_args!(
                "the data connection has ended, or carries unrequested bytes: opening another"
            ));
            self.close_kept();
        }
        is_idle
    }

    /// Stops the outstanding transfer and closes `data`. Afterwards, the control connection either
    /// is closed or has no outstanding replies.
    pub(crate) fn stop_transfer(&mut self, data: Option<Stream>) -> Result<(), Error> {
        if !self.plan.is_requested() {
            return resync(&mut self.control, data);
        }
        drop(data);
        self.drop_requested()
    }

    pub(super) fn begin_over_kept(
        &mut self,
        verb: Verb,
        started: Instant,
        deadline: Deadline,
        modified: Option<TimeVal>,
    ) -> Result<Begun, Error> {
        let (first, ended) = self.first_reply(verb, deadline)?;
        let kept = self.kept.take().expect("the data connection is kept until its use");
        // The coding may hold received bytes of the next file.
        let KeptConnection { data, coding } = kept;
        self.state.is_data_open = false;
        if verb.is_upload() {
            data.reset_when_closed();
            // Fails only on a socket that can no longer send.
            let _ = data.send_at_once();
        }
        let (data, coding) = (Some(data), Some(coding));
        Ok(Begun { verb, data, coding, first, ended, started, modified })
    }

    fn first_reply(
        &mut self,
        verb: Verb,
        deadline: Deadline,
    ) -> Result<(Reply, Option<Reply>), Error> {
        let mut start = TransferStart::new(verb);
        start.data_opened();
        while start.step() == StartStep::AwaitReply {
            let (_, reply) = self.control.next_reply(deadline)?;
            let heard = start.reply(&reply);
            heard.map_err(|fault| faulted(&mut self.control, fault, verb, &reply))?;
        }
        Ok(start.into_replies().expect("the loop ends with a reply"))
    }
}

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
        Err(Error::Refused { reply, .. }) if matches!(reply.code().value(), 425 | 426 | 503) => {
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
        self.coding.as_deref().is_some_and(Coding::is_in_blocks)
            && self.first.code() == ReplyCode::DATA_CONNECTION_OPEN
            && client.plan.is_open()
            && client.is_in_image()
            && !client.needs_agreement(path.as_bytes())
            && client.sendable(path.as_bytes()).is_ok_and(|sent| sent == *path)
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
