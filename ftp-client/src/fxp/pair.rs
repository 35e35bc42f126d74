//! Two servers and one transfer: the order of commands, waiting on both control connections, and
//! stopping one transfer when the other fails.

use std::time::Duration;

use ftp_proto::{
    AddressRule, FileRange, Progress, Reply, ReplyCode, RestartMarker, TransferEvidence, Verb,
};

use super::way::Handshake;
use super::{Moved, verb_of, way};
use crate::client::Client;
use crate::error::fxp::{FxpAttempt, Side};
use crate::error::{Error, Phase};
use crate::net::wait::Deadline;
use crate::trace;
use crate::transfer::{self, resync};

/// The least time for the source to refuse `RETR` before the client sends `STOR` to the target, if the
/// source can send 150 only after the target has acted.
const REFUSAL: Duration = Duration::from_millis(500);

/// Maximum time to wait for a server to notice that the other server has ended the transfer. A
/// server that notices needs no `ABOR`, and its reply may explain more.
const NOTICE: Duration = Duration::from_millis(500);

/// The time for a target to confirm a file whose end it may have missed, before it is aborted; never more
/// than half of the time for its final reply. Targets that scan a file, or store it elsewhere, confirm late.
const MISSED: Duration = Duration::from_secs(30);

/// The number of replies to take from one server before checking the other server and the deadline.
const AT_ONCE: usize = 16;

/// One server, and the state of its part of the transfer.
struct End<'a> {
    side: Side,
    client: &'a mut Client,
    verb: Verb,
    deadline: Deadline,
    /// Whether a 1xx has arrived.
    has_begun: bool,
    /// The length of the file in a 150 reply.
    announced: Option<u64>,
    /// Whether the other server's final reply has arrived.
    is_last: bool,
    /// The final reply, 2xx.
    confirmed: Option<Reply>,
}

impl<'a> End<'a> {
    fn new(side: Side, client: &'a mut Client) -> Self {
        let deadline = client.control.reply_deadline();
        let verb = verb_of(side);
        let (has_begun, announced, is_last, confirmed) = (false, None, false, None);
        Self { side, client, verb, deadline, has_begun, announced, is_last, confirmed }
    }

    /// Sends `REST`, if the server would otherwise begin at another offset.
    fn restart_at(&mut self, marker: RestartMarker) -> Result<(), Error> {
        self.client.put_range_in_force(FileRange::From(marker))
    }

    fn send(&mut self, line: &[u8]) -> Result<(), Error> {
        trace::note(format_args!("to the {}:", self.side));
        let control = &mut self.client.control;
        self.deadline = control.reply_deadline();
        control.send(self.verb, line, self.deadline)
    }

    const fn is_owing(&self) -> bool {
        self.client.control.is_outstanding()
    }

    /// Takes at most [`AT_ONCE`] available replies, because a server may send 1xx without end.
    /// Returns whether more replies may be available.
    fn poll(&mut self) -> Result<bool, Error> {
        for _ in 0..AT_ONCE {
            if !self.take()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a reply, if one is available. Returns whether there was one.
    fn take(&mut self) -> Result<bool, Error> {
        let control = &mut self.client.control;
        if !control.is_outstanding() {
            return Ok(false);
        }
        let Some((progress, reply)) = control.poll_reply()? else { return Ok(false) };
        trace::note(format_args!("from the {}", self.side));
        if progress == Progress::Preliminary {
            // From now on, only the servers see the data, so only the overall limit applies.
            if !self.has_begun && !self.is_last {
                self.deadline = control.deadline(Duration::MAX, Phase::Overall);
            }
            self.has_begun = true;
            // After a refusal, the offset may still be in force.
            self.client.state.range = FileRange::default();
            self.announced = self.announced.or_else(|| reply.announced_length());
            return Ok(true);
        }
        let mut evidence = TransferEvidence::new(self.verb);
        evidence.has_begun = self.has_begun;
        transfer::confirm(control, evidence, &reply)?;
        self.client.state.range = FileRange::default();
        self.confirmed = Some(reply);
        Ok(true)
    }

    /// Records that the other server has finished. The timeout of this server's final reply begins.
    fn follow(&mut self) {
        if !self.is_last {
            self.is_last = true;
            let limit = self.client.config.timeouts.final_reply;
            self.deadline = self.client.control.deadline(limit, Phase::FinalReply);
        }
    }

    /// Stops the server's transfer. Returns the server's error or that of the abort; `None` if
    /// neither occurred.
    fn stop(&mut self, may_notice: bool) -> Option<Error> {
        let notice = if may_notice { NOTICE } else { Duration::ZERO };
        let notice = self.client.control.deadline(notice, Phase::FinalReply);
        while self.is_owing() {
            let has_more = match self.poll() {
                Ok(has_more) => has_more,
                Err(error) => return Some(error),
            };
            let control = &mut self.client.control;
            if !control.is_outstanding() {
                break;
            }
            match if has_more { control.go_on(notice) } else { control.wait(notice) } {
                Ok(()) => {}
                Err(Error::Timeout(_)) => return resync(control, None).err(),
                Err(error) => return Some(error),
            }
        }
        None
    }
}

pub(super) struct Pair<'a> {
    source: End<'a>,
    target: End<'a>,
    listener: Side,
    handshake: Handshake,
}

pub(super) type Failure = (Side, Error);

impl<'a> Pair<'a> {
    pub(super) fn new(source: &'a mut Client, target: &'a mut Client, listener: Side) -> Self {
        let source = End::new(Side::Source, source);
        let target = End::new(Side::Target, target);
        Self { source, target, listener, handshake: Handshake::None }
    }

    /// Runs the copy. Afterwards each control connection has no outstanding reply or is closed.
    /// After a cancel, the next call on each client, or `quit`, aborts the transfer.
    pub(super) fn run(
        &mut self,
        rule: AddressRule,
        marker: RestartMarker,
        retrieve: &[u8],
        store: &[u8],
    ) -> Result<Moved, Box<FxpAttempt>> {
        let done = self
            .agree(rule, retrieve, store)
            .and_then(|()| self.begin(marker, retrieve, store))
            .and_then(|()| self.watch());
        match done {
            Ok((source, target)) => {
                let announced = self.source.announced;
                Ok(Moved { listener: self.listener, announced, source, target })
            }
            Err((side, error)) => Err(self.give_up(side, error)),
        }
    }

    /// Returns the server that reported the end of the transfer without its beginning, if any. Such
    /// a server may have had no data connection.
    pub(super) fn without_beginning(&self) -> Option<Side> {
        let ends = [&self.target, &self.source].into_iter();
        ends.filter(|end| !end.has_begun).map(|end| end.side).next()
    }

    /// Makes one server listen and sends its address to the other.
    fn agree(&mut self, rule: AddressRule, retrieve: &[u8], store: &[u8]) -> Result<(), Failure> {
        let (passive, active) = match self.listener {
            Side::Target => (&mut self.target, &mut self.source),
            Side::Source => (&mut self.source, &mut self.target),
        };
        let handshake = way::agree(passive.client, active.client);
        let handshake = handshake.map_err(|error| (active.side, error))?;
        self.handshake = handshake;
        trace::note(format_args!("the {} must listen:", passive.side));
        let line = if passive.side == Side::Source { retrieve } else { store };
        let address = way::listen(passive.client, rule, handshake, line)
            .map_err(|error| (passive.side, error))?;
        trace::note(format_args!("the {} must connect to {address}:", active.side));
        way::announce(active.client, address).map_err(|error| (active.side, error))
    }

    /// Sends `REST` to both servers if necessary, sends `RETR`, waits for the source's first reply, and
    /// sends `STOR`: first of all to a target that sees no data connection that has ended before.
    fn begin(
        &mut self,
        marker: RestartMarker,
        retrieve: &[u8],
        store: &[u8],
    ) -> Result<(), Failure> {
        let of_source = |error| (Side::Source, error);
        let of_target = |error| (Side::Target, error);
        // If a server refuses now, there is no transfer to stop.
        self.source.restart_at(marker).map_err(of_source)?;
        self.target.restart_at(marker).map_err(of_target)?;
        if self.target.client.misses_early_end {
            self.target.send(store).map_err(of_target)?;
            return self.source.send(retrieve).map_err(of_source);
        }
        self.source.send(retrieve).map_err(of_source)?;
        self.hear_source()?;
        self.target.send(store).map_err(of_target)?;
        if !self.source.has_begun {
            self.source.deadline = self.source.client.control.reply_deadline();
        }
        Ok(())
    }

    /// Waits until the source has begun, or has had time to refuse: `STOR` cannot be undone. A
    /// source that has begun can read its file.
    fn hear_source(&mut self) -> Result<(), Failure> {
        let Self { source, target, listener, handshake, .. } = self;
        let of_source = |error| (Side::Source, error);
        // If the target listens, the source can connect and reply 150 before `STOR`, unless a TLS
        // handshake must come first.
        let listens = *listener == Side::Source;
        let is_free = !listens && *handshake == Handshake::None;
        let mut patience = source.deadline;
        if !is_free {
            let limit = source.client.patience(REFUSAL);
            patience = patience.or(Some(source.client.control.deadline(limit, Phase::Reply(None))));
        }
        while !source.has_begun && source.is_owing() {
            if source.take().map_err(of_source)? {
                continue;
            }
            let control = &mut source.client.control;
            match control.wait_beside(&target.client.control, patience) {
                Ok(()) => {}
                Err(Error::Timeout(Phase::Reply(_)))
                    if !is_free && source.deadline.remaining().is_ok() =>
                {
                    break;
                }
                Err(error) => {
                    let is_source = control.check().is_err() || matches!(error, Error::Timeout(_));
                    if !matches!(error, Error::Cancelled) {
                        control.close();
                    }
                    return Err((if is_source { Side::Source } else { Side::Target }, error));
                }
            }
            // The target has no command to answer, but may close the connection.
            target.client.control.check_clear().map_err(|error| (Side::Target, error))?;
        }
        if listens
            && !source.has_begun
            && let Some(reply) = source.confirmed.take()
        {
            // The target never got `STOR`.
            return Err(of_source(Error::Unexpected { verb: Verb::Retr, reply }));
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<(Reply, Reply), Failure> {
        let Self { source, target, .. } = self;
        let mut missed = None;
        loop {
            let ended_first = source.confirmed.is_some() && !target.has_begun;
            let more_of_source = source.poll().map_err(|error| (Side::Source, error))?;
            let more_of_target = target.poll().map_err(|error| (Side::Target, error))?;
            match (&source.confirmed, &target.confirmed) {
                (Some(source), Some(target)) => return Ok((source.clone(), target.clone())),
                (Some(_), None) => {
                    target.follow();
                    if ended_first && target.has_begun {
                        // asyncore and asyncio take the end of a data connection that ended before
                        // STOR for no connection, and wait for another one.
                        let control = &target.client.control;
                        let limit = MISSED.min(target.client.config.timeouts.final_reply / 2);
                        missed = Some(control.deadline(limit, Phase::FinalReply));
                    }
                }
                (None, Some(_)) => source.follow(),
                (None, None) => {}
            }
            let (one, other) = match (source.is_owing(), target.is_owing()) {
                (true, false) => (&*source, &*source),
                (false, true) => (&*target, &*target),
                _ => (&*source, &*target),
            };
            let deadline = one.deadline.or(Some(other.deadline)).or(missed);
            let this = &one.client.control;
            let that = &other.client.control;
            let waited = match more_of_source || more_of_target {
                true => this.go_on(deadline).and_then(|()| that.check()),
                false => this.wait_beside(that, deadline),
            };
            match waited {
                Ok(()) => {}
                Err(Error::Timeout(phase))
                    if missed.is_some_and(|missed| missed.remaining().is_err()) =>
                {
                    missed = None;
                    target.client.misses_early_end = true;
                    trace::note(format_args!("the target may have missed the end of the file:"));
                    match target.stop(false) {
                        Some(error) => return Err((Side::Target, error)),
                        // Its confirmation came at the last moment.
                        None if target.confirmed.is_some() => {}
                        None => return Err((Side::Target, Error::Timeout(phase))),
                    }
                }
                Err(Error::Timeout(_)) => {
                    for end in [&mut *source, &mut *target] {
                        let is_owing = end.is_owing();
                        let control = &mut end.client.control;
                        if is_owing && let Err(error) = control.named(end.deadline.remaining()) {
                            control.close();
                            return Err((end.side, error));
                        }
                    }
                }
                // One of the two clients was cancelled.
                Err(error) => {
                    let is_other = one.client.control.check().is_ok();
                    return Err((if is_other { other.side } else { one.side }, error));
                }
            }
        }
    }

    /// Stops the other server after one has failed, and decides which error to report.
    fn give_up(&mut self, side: Side, error: Error) -> Box<FxpAttempt> {
        let (this, other) = match side {
            Side::Source => (&mut self.source, &mut self.target),
            Side::Target => (&mut self.target, &mut self.source),
        };
        let mut attempt = FxpAttempt::new(self.listener, side, error);
        attempt.is_protected = self.handshake != Handshake::None;
        attempt.had_begun = (this.has_begun, other.has_begun);
        if matches!(attempt.error, Error::Cancelled) {
            return Box::new(attempt);
        }
        let is_released = self.listener == Side::Target
            && side == Side::Target
            && !this.has_begun
            && other.has_begun
            && other.is_owing()
            && release(this.client);
        attempt.other = other.stop(this.has_begun || is_released);
        attempt.had_begun.1 = other.has_begun;
        attempt.confirmed = other.confirmed.take();
        // If one server refuses, the other reports a broken data connection: report the refusal.
        let distance = distance_of(&attempt.error);
        let is_result = distance > 0 || this.has_begun && !other.has_begun;
        let is_reason = |error: &mut Error| {
            matches!(error, Error::Refused { .. }) && distance_of(error) < distance.max(1)
        };
        if is_result && let Some(reason) = attempt.other.take_if(is_reason) {
            attempt.side = other.side;
            attempt.other = Some(std::mem::replace(&mut attempt.error, reason));
            attempt.had_begun = (other.has_begun, this.has_begun);
        }
        Box::new(attempt)
    }
}

/// Makes a target that refused `STOR` close the port to which the source has connected. Few sources
/// read `ABOR` while the target does not read their data, but all notice that the target resets the
/// data connection. Returns whether the target obeyed.
fn release(target: &mut Client) -> bool {
    if !target.control.is_open() || target.control.is_outstanding() {
        return false;
    }
    trace::note(format_args!("the target must close the port to which the source has connected:"));
    way::ask(target, Handshake::None).is_ok()
}

/// Ranks an error by its distance from the cause. A missing data connection (425) explains more
/// than a broken one (426), and any other error explains more than both.
fn distance_of(error: &Error) -> u8 {
    match error {
        Error::Refused { reply, .. } if reply.code() == ReplyCode::TRANSFER_ABORTED => 2,
        Error::Refused { reply, .. } if reply.code() == ReplyCode::NO_DATA_CONNECTION => 1,
        _ => 0,
    }
}
