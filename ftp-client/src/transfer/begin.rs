//! Beginning a transfer: the dialogue up to the verb, and the wait for the data connection and the
//! first reply.

use std::time::Instant;

use ftp_proto::{
    Command, FileRange, Mode, Reply, RepresentationType, TimeVal, TransferSetup, Verb,
};

use super::ahead;
use super::coding::Coding;
use super::meet::{BeginOutcome, meet};
use super::setup::{one_by_one, prepare};
use super::{abort, secure, tls_tickets};
use crate::client::Client;
use crate::data::{Agreed, Prepared};
use crate::error::{DataAttempt, Error};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use crate::trace;

/// A transfer that has begun, without the borrow of the client, so that the caller can resume it or
/// try another command.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(super) verb: Verb,
    pub(super) data: Option<Stream>,
    pub(super) coding: Option<Box<Coding>>,
    pub(super) first: Reply,
    pub(super) ended: Option<Reply>,
    pub(super) started: Instant,
    /// The modification time of the file, if it was requested.
    pub(crate) modified: Option<TimeVal>,
}

/// Sends the commands of a transfer, and waits until the transfer has begun. `range` is the part of
/// the file; `representation` is the type to use, or `None` for the current type.
pub(crate) fn begin(
    client: &mut Client,
    command: &Command,
    range: FileRange,
    representation: Option<RepresentationType>,
) -> Result<Begun, Error> {
    if range != FileRange::default() {
        client.plan.forget();
    } else if let Some(begun) = ahead::begin(client, command, representation, false)? {
        return Ok(begun);
    }
    begin_by(client, command, |dialogue| {
        let dialogue = dialogue.with_range(range);
        match representation {
            Some(representation) => dialogue.with_representation(representation),
            None => dialogue,
        }
    })
}

/// Requests the modification time of a file, and begins to download the whole file.
pub(crate) fn begin_with_time(
    client: &mut Client,
    command: &Command,
    representation: RepresentationType,
) -> Result<Begun, Error> {
    if let Some(begun) = ahead::begin(client, command, Some(representation), true)? {
        return Ok(begun);
    }
    begin_by(client, command, |dialogue| {
        let whole = dialogue.with_range(FileRange::default());
        whole.with_representation(representation).with_time()
    })
}

/// Begins a transfer with the default dialogue, as changed by `shape`.
fn begin_by(
    client: &mut Client,
    command: &Command,
    shape: impl FnOnce(TransferSetup) -> TransferSetup,
) -> Result<Begun, Error> {
    let line = command.encode()?;
    client.settle()?;
    if command.verb().is_upload()
        && client.config.rules.mode == Mode::Active
        && client.control.is_in_doubt()
    {
        // No reply to PORT or EPRT can prove that replies are in step.
        client.get_in_step()?;
    }
    client.protect()?;
    let mode = client.mode()?;
    client.begin_handshakes(false)?;
    let started = Instant::now();
    let deadline = client.control.reply_deadline();
    client.state.is_data_open = client.kept.is_some();
    if !client.state.is_data_open {
        tls_tickets::refill(client)?;
    }
    let dialogue = TransferSetup::new(command.clone(), client.config.rules).with_mode(mode);
    let dialogue = shape(dialogue);
    let verb = command.verb();
    let mut setup = Setup {
        client,
        dialogue,
        verb,
        line,
        started,
        deadline,
        // STOU must not be sent twice: the server would choose a second name.
        may_refill: verb != Verb::Stou,
        attempts: Vec::new(),
    };
    loop {
        match setup.attempt()? {
            Tried::Begun(begun) => return Ok(begun),
            Tried::Again => setup.dialogue.again(),
            Tried::NoData(attempt) => setup.fall_back(attempt)?,
        }
    }
}

/// A transfer that is about to begin.
struct Setup<'a> {
    client: &'a mut Client,
    /// The commands up to the verb.
    dialogue: TransferSetup,
    verb: Verb,
    /// The encoded command.
    line: Vec<u8>,
    /// The time when the verb was sent, and the deadline for its reply.
    started: Instant,
    deadline: Deadline,
    may_refill: bool,
    attempts: Vec<DataAttempt>,
}

/// The result of one attempt.
enum Tried {
    Begun(Begun),
    /// Another attempt is needed. The failed one is not added to the attempts to open a data
    /// connection.
    Again,
    NoData(Unreached),
}

/// A data connection that was agreed on but could not be opened.
struct Unreached {
    agreed: Agreed,
    error: Error,
    /// Whether the control connection can be used for another attempt.
    is_usable: bool,
}

impl Setup<'_> {
    fn attempt(&mut self) -> Result<Tried, Error> {
        let Self { client, dialogue, attempts, deadline, .. } = self;
        let Some(prepared) = prepare(client, dialogue, attempts, *deadline)? else {
            return self.reuse();
        };
        let Prepared { agreed, opening } = prepared;
        let opening = match opening {
            Ok(opening) => opening,
            Err(error) => {
                return Ok(Tried::NoData(Unreached { agreed, error, is_usable: true }));
            }
        };
        if !self.dialogue.is_ahead() {
            self.send()?;
        }
        let met = meet(self.client, self.verb, opening, self.deadline);
        if let Err(Error::Refused(_, reply)) = &met
            && self.dialogue.refused(reply)
        {
            one_by_one(self.client);
            return Ok(Tried::Again);
        }
        match met? {
            BeginOutcome::Begun { data, first, ended } => {
                self.dialogue.begun(&mut self.client.state);
                let verb = self.verb;
                let started = self.started;
                let modified = self.dialogue.modified();
                let coding = Coding::new(self.client.state.mode, verb.is_upload());
                self.protect(Begun { verb, data, coding, first, ended, started, modified })
            }
            BeginOutcome::NoData(error) => {
                let is_usable = abort::resync(&mut self.client.control, None).is_ok();
                Ok(Tried::NoData(Unreached { agreed, error, is_usable }))
            }
        }
    }

    /// Sends the verb.
    fn send(&mut self) -> Result<(), Error> {
        self.started = Instant::now();
        self.deadline = self.client.control.reply_deadline();
        self.client.control.send(self.verb, &self.line, self.deadline)?;
        self.dialogue.sent(&mut self.client.state);
        Ok(())
    }

    /// Begins the transfer over the data connection of the previous one.
    fn reuse(&mut self) -> Result<Tried, Error> {
        self.send()?;
        let Self { client, verb, started, deadline, .. } = self;
        if *verb == Verb::Retr {
            let commands = client.next_flight();
            client.control.send_more(&commands, *deadline)?;
        }
        let modified = self.dialogue.modified();
        match client.begin_over_kept(*verb, *started, *deadline, modified) {
            Err(Error::Refused(_, reply))
                if self.dialogue.reuse_refused(&reply, &mut self.client.state) =>
            {
                trace::note(format_args!("the data connection cannot be reused: opening another"));
                self.client.settle()?;
                self.client.close_kept();
                Ok(Tried::Again)
            }
            begun => begun.map(Tried::Begun),
        }
    }

    /// Puts the data connection under TLS, if required.
    fn protect(&mut self, mut begun: Begun) -> Result<Tried, Error> {
        let Some(mut data) = begun.data.take() else { return Ok(Tried::Begun(begun)) };
        if self.client.config.connector.is_none() {
            // Errors can be ignored: a connection that has already failed reports the failure when
            // it is used.
            let _ = data.keep_alive(self.client.config.keepalive);
        }
        let error = match shake_hands(self.client, self.verb, &mut data, &mut begun.ended) {
            Ok(()) => {
                begun.data = Some(data);
                return Ok(Tried::Begun(begun));
            }
            Err(error) => error,
        };
        let error = secure::give_up(&mut self.client.control, self.verb, data, error);
        if !self.may_refill || !tls_tickets::may_help(self.client, &error) {
            return Err(error);
        }
        self.may_refill = false;
        match tls_tickets::refill(self.client) {
            Ok(true) => Ok(Tried::Again),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            // The server's refusal explains more than the failure to get tickets.
            Ok(false) | Err(_) => Err(error),
        }
    }

    /// Switches from `EPSV` to `PASV` for the next attempt, or fails with the errors of all
    /// attempts.
    fn fall_back(&mut self, unreached: Unreached) -> Result<(), Error> {
        let Unreached { agreed, error, is_usable } = unreached;
        self.attempts.push(agreed.failed(error));
        if !is_usable || !self.dialogue.data_failed(&self.client.state) {
            return Err(Error::DataConnection(std::mem::take(&mut self.attempts)));
        }
        trace::note(format_args!("the EPSV port cannot be used: trying PASV"));
        Ok(())
    }
}

/// Puts the data connection under TLS, if required, and watches for a refusal of the transfer.
fn shake_hands(
    client: &mut Client,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
) -> Result<(), Error> {
    let began = Instant::now();
    secure::secure(client, verb, data, ended)?;
    match data.session() {
        Some(session) if !session.is_resumed() => {
            tls_tickets::look(client, verb, data, ended, began)
        }
        _ => Ok(()),
    }
}
