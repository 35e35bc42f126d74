//! Two servers and one transfer: the commands in their order, both control connections watched at
//! once, and what is left of the transfer at one stopped when the other fails.

use std::time::{Duration, Instant};

use ftp_proto::{AddressRule, Progress, Reply, ReplyCode, RestartMarker, TransferEvidence, Verb};

use super::protection::Handshake;
use super::{Attempt, Direction, Moved, Side, protection, verb_of, way};
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::net::wait::Deadline;
use crate::trace;
use crate::transfer::{self, Range, abort};

/// How long the source may take to refuse `RETR` before the target is told to store, where it can
/// say 150 only after the target has acted: at least and at most, and in terms of how long
/// its reply before took.
const REFUSAL: Duration = Duration::from_millis(500);
const LATE_REFUSAL: Duration = Duration::from_secs(5);
const TIMES: u32 = 4;

/// How long a server may take to notice by itself that a transfer that had begun is over at the
/// other. It then needs no `ABOR`, and its reason may be the better one.
const NOTICE: Duration = Duration::from_millis(500);

/// How many replies of one server are taken before the other, and the time, are looked at.
const AT_ONCE: usize = 16;

/// One server, and what it owes for its part of the transfer.
struct End<'a> {
    side: Side,
    client: &'a mut Client,
    verb: Verb,
    /// Until when the next reply must be there.
    deadline: Deadline,
    /// A 1yz came.
    has_begun: bool,
    /// The other's last reply came.
    is_last: bool,
    /// The last reply, 2yz.
    confirmed: Option<Reply>,
}

impl<'a> End<'a> {
    fn new(side: Side, client: &'a mut Client) -> Self {
        let deadline = client.control.reply_deadline();
        let verb = verb_of(side);
        Self { side, client, verb, deadline, has_begun: false, is_last: false, confirmed: None }
    }

    /// Sends `REST`, if the transfer begins elsewhere than the server would let it.
    fn restart_at(&mut self, marker: RestartMarker) -> Result<(), Error> {
        self.client.put_range_in_force(Range::From(marker))
    }

    fn send(&mut self, line: &[u8]) -> Result<(), Error> {
        trace::note(format_args!("to the {}:", self.side));
        let control = &mut self.client.control;
        self.deadline = control.reply_deadline();
        control.send(self.verb, line, self.deadline)?;
        self.client.range = Range::default();
        Ok(())
    }

    /// Whether its last reply has not come.
    const fn is_owing(&self) -> bool {
        self.client.control.is_outstanding()
    }

    /// Takes the replies that are there. Whether there may be more: of 1yz there may be no end.
    fn poll(&mut self) -> Result<bool, Error> {
        for _ in 0..AT_ONCE {
            if !self.take()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a reply, if one is there.
    fn take(&mut self) -> Result<bool, Error> {
        let control = &mut self.client.control;
        if !control.is_outstanding() {
            return Ok(false);
        }
        let Some((progress, reply)) = control.poll_reply()? else { return Ok(false) };
        trace::note(format_args!("from the {}", self.side));
        if progress == Progress::Preliminary {
            // From here on the servers alone know how the data fares.
            if !self.has_begun && !self.is_last {
                self.deadline = control.deadline(Duration::MAX, Phase::Overall);
            }
            self.has_begun = true;
            return Ok(true);
        }
        let mut evidence = TransferEvidence::new(self.verb);
        evidence.has_begun = self.has_begun;
        transfer::confirm(control, evidence, &reply)?;
        self.confirmed = Some(reply);
        Ok(true)
    }

    /// The other has ended: this one is to follow.
    fn follow(&mut self) {
        if !self.is_last {
            self.is_last = true;
            let limit = self.client.config.timeouts.final_reply;
            self.deadline = self.client.control.deadline(limit, Phase::FinalReply);
        }
    }

    /// Ends what it is doing. Gives what goes wrong with that, or what it had failed with itself.
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
                Err(Error::Timeout(_)) => return abort::resync(control, None).err(),
                Err(error) => return Some(error),
            }
        }
        None
    }
}

/// Both servers.
pub(super) struct Pair<'a> {
    source: End<'a>,
    target: End<'a>,
    direction: Direction,
    /// Who begins the handshake of TLS between them, once that is agreed on.
    handshake: Handshake,
    /// How long the source took for its part of the agreement.
    pace: Duration,
}

/// Whose error it is, and the error.
pub(super) type Failure = (Side, Error);

impl<'a> Pair<'a> {
    pub(super) fn new(
        source: &'a mut Client,
        target: &'a mut Client,
        direction: Direction,
    ) -> Self {
        let source = End::new(Side::Source, source);
        let target = End::new(Side::Target, target);
        Self { source, target, direction, handshake: Handshake::None, pace: Duration::ZERO }
    }

    /// Copies. Nothing is owed on either control connection afterwards, or it is closed; unless it
    /// was cancelled, which leaves it to the next call on each, or to `quit`, to abort.
    pub(super) fn run(
        &mut self,
        rule: AddressRule,
        marker: RestartMarker,
        retrieve: &[u8],
        store: &[u8],
    ) -> Result<Moved, Box<Attempt>> {
        let done = self
            .agree(rule)
            .and_then(|()| self.begin(marker, retrieve, store))
            .and_then(|()| self.watch());
        match done {
            Ok((source, target)) => Ok(Moved { direction: self.direction, source, target }),
            Err((side, error)) => Err(self.give_up(side, error)),
        }
    }

    /// Who said that all is over and never that it began, so that a data connection may have been
    /// none.
    pub(super) fn without_beginning(&self) -> Option<Side> {
        let ends = [&self.target, &self.source].into_iter();
        ends.filter(|end| !end.has_begun).map(|end| end.side).next()
    }

    /// One listens, the other is told where.
    fn agree(&mut self, rule: AddressRule) -> Result<(), Failure> {
        let (passive, active) = match self.direction {
            Direction::Auto | Direction::TargetListens => (&mut self.target, &mut self.source),
            Direction::SourceListens => (&mut self.source, &mut self.target),
        };
        let handshake = protection::agree(passive.client, active.client);
        let handshake = handshake.map_err(|error| (active.side, error))?;
        self.handshake = handshake;
        trace::note(format_args!("the {} is to listen:", passive.side));
        let asked = Instant::now();
        let address =
            way::listen(passive.client, rule, handshake).map_err(|error| (passive.side, error))?;
        let listened = asked.elapsed();
        trace::note(format_args!("the {} is to connect to {address}:", active.side));
        let asked = Instant::now();
        way::announce(active.client, address).map_err(|error| (active.side, error))?;
        self.pace = if active.side == Side::Source { asked.elapsed() } else { listened };
        Ok(())
    }

    /// `REST` to both where it is wanted, `RETR`, the source's first reply, `STOR`.
    fn begin(
        &mut self,
        marker: RestartMarker,
        retrieve: &[u8],
        store: &[u8],
    ) -> Result<(), Failure> {
        let of_source = |error| (Side::Source, error);
        let of_target = |error| (Side::Target, error);
        // While nothing has begun that a refusal of it would have to stop.
        self.source.restart_at(marker).map_err(of_source)?;
        self.target.restart_at(marker).map_err(of_target)?;
        self.source.send(retrieve).map_err(of_source)?;
        self.hear_source()?;
        self.target.send(store).map_err(of_target)?;
        if !self.source.has_begun {
            self.source.deadline = self.source.client.control.reply_deadline();
        }
        Ok(())
    }

    /// Waits until the source has begun, so that it can read the file, or has had the time to
    /// refuse it: `STOR` cannot be taken back.
    fn hear_source(&mut self) -> Result<(), Failure> {
        let Self { source, target, direction, handshake, pace } = self;
        let of_source = |error| (Side::Source, error);
        // The target's port listens: the source's connection waits there, and its 150 needs nothing
        // more, unless a handshake comes before it.
        let listens = *direction == Direction::SourceListens;
        let is_free = !listens && *handshake == Handshake::None;
        let mut patience = source.deadline;
        if !is_free {
            let limit = (*pace * TIMES).clamp(REFUSAL, LATE_REFUSAL);
            patience = patience.or(Some(source.client.control.deadline(limit, Phase::Reply)));
        }
        while !source.has_begun && source.is_owing() {
            if source.take().map_err(of_source)? {
                continue;
            }
            let control = &mut source.client.control;
            match control.wait_beside(&target.client.control, patience) {
                Ok(()) => {}
                Err(Error::Timeout(Phase::Reply))
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
            // It was asked for nothing, but may leave.
            target.client.control.check_clear().map_err(|error| (Side::Target, error))?;
        }
        if listens
            && !source.has_begun
            && let Some(reply) = source.confirmed.take()
        {
            // Nobody was told to take it.
            return Err(of_source(Error::Unexpected(Verb::Retr, reply)));
        }
        Ok(())
    }

    /// Waits for the last replies of both.
    fn watch(&mut self) -> Result<(Reply, Reply), Failure> {
        let Self { source, target, .. } = self;
        loop {
            let more_of_source = source.poll().map_err(|error| (Side::Source, error))?;
            let more_of_target = target.poll().map_err(|error| (Side::Target, error))?;
            match (&source.confirmed, &target.confirmed) {
                (Some(source), Some(target)) => return Ok((source.clone(), target.clone())),
                (Some(_), None) => target.follow(),
                (None, Some(_)) => source.follow(),
                (None, None) => {}
            }
            let (one, other) = match (source.is_owing(), target.is_owing()) {
                (true, false) => (&*source, &*source),
                (false, true) => (&*target, &*target),
                _ => (&*source, &*target),
            };
            let deadline = one.deadline.or(Some(other.deadline));
            let this = &one.client.control;
            let that = &other.client.control;
            let waited = match more_of_source || more_of_target {
                true => this.go_on(deadline).and_then(|()| that.check()),
                false => this.wait_beside(that, deadline),
            };
            match waited {
                Ok(()) => {}
                Err(Error::Timeout(_)) => {
                    for end in [&mut *source, &mut *target] {
                        if end.is_owing()
                            && let Err(error) = end.deadline.remaining()
                        {
                            end.client.control.close();
                            return Err((end.side, error));
                        }
                    }
                }
                // Cancelled, by whichever of the two.
                Err(error) => {
                    let is_other = one.client.control.check().is_ok();
                    return Err((if is_other { other.side } else { one.side }, error));
                }
            }
        }
    }

    /// Stops the other where one failed, and finds out whose reason counts.
    fn give_up(&mut self, side: Side, error: Error) -> Box<Attempt> {
        let (this, other) = match side {
            Side::Source => (&mut self.source, &mut self.target),
            Side::Target => (&mut self.target, &mut self.source),
        };
        let mut attempt = Attempt::new(self.direction, side, error);
        attempt.is_protected = self.handshake != Handshake::None;
        attempt.had_begun = (this.has_begun, other.has_begun);
        if matches!(attempt.error, Error::Cancelled) {
            return Box::new(attempt);
        }
        let is_released = self.direction != Direction::SourceListens
            && side == Side::Target
            && !this.has_begun
            && other.has_begun
            && other.is_owing()
            && release(this.client);
        attempt.other = other.stop(this.has_begun || is_released);
        attempt.had_begun.1 = other.has_begun;
        attempt.confirmed = other.confirmed.take();
        // A broken data connection is what comes of a refusal: that one counts.
        let distance = distance_of(&attempt.error);
        let is_result = distance > 0 || this.has_begun && !other.has_begun;
        let is_reason = |error: &mut Error| {
            matches!(error, Error::Refused(..)) && distance_of(error) < distance.max(1)
        };
        if is_result && let Some(reason) = attempt.other.take_if(is_reason) {
            attempt.side = other.side;
            attempt.other = Some(std::mem::replace(&mut attempt.error, reason));
            attempt.had_begun = (other.has_begun, this.has_begun);
        }
        Box::new(attempt)
    }
}

/// Has a target that refused `STOR` give up the port to which the source has connected: few servers
/// hear `ABOR` while a connection takes nothing from them, and all notice that it is reset. Whether
/// that was done.
fn release(target: &mut Client) -> bool {
    if !target.control.is_open() || target.control.is_outstanding() {
        return false;
    }
    trace::note(format_args!("the target is to leave the port that the source has connected to:"));
    way::ask(target, Handshake::None).is_ok()
}

/// How far an error is from what went wrong at first: that the data connection broke (426) says
/// less than that it did not come about (425), and this less than anything else.
fn distance_of(error: &Error) -> u8 {
    match error {
        Error::Refused(_, reply) if reply.code() == ReplyCode::TRANSFER_ABORTED => 2,
        Error::Refused(_, reply) if reply.code() == ReplyCode::NO_DATA_CONNECTION => 1,
        _ => 0,
    }
}
