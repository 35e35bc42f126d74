//! Two servers and one transfer: the commands in their order, both control connections watched at
//! once, and what is left of the transfer at one stopped when the other fails.

use std::time::Duration;

use ftp_proto::{AddressRule, Progress, Reply, ReplyCode, RestartMarker, Verb};

use super::protection::Handshake;
use super::{Attempt, Direction, Moved, Side, protection, verb_of, way};
use crate::client::Client;
use crate::error::{Error, Phase};
use crate::trace;
use crate::transfer::{self, Part, abort};
use crate::wait::Deadline;

/// How long the target may take to refuse `STOR` before the source is told to send. One that
/// listens may say 150 only once the source has connected (FX-04).
const REFUSAL: Duration = Duration::from_millis(500);

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

    /// Sends `REST`, if the transfer begins elsewhere than the server would let it (FX-12).
    fn restart_at(&mut self, marker: RestartMarker) -> Result<(), Error> {
        self.client.put_part_in_force(Part::From(marker))
    }

    fn send(&mut self, line: &[u8]) -> Result<(), Error> {
        trace::note(format_args!("to the {}:", self.side));
        let control = &mut self.client.control;
        self.deadline = control.reply_deadline();
        control.send(self.verb, line, self.deadline)?;
        self.client.part = Part::default();
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
        transfer::accepted(self.verb, &reply)?;
        if transfer::answers_something_else(&reply)
            || !self.has_begun && !transfer::is_end_of_transfer(&reply)
        {
            control.close();
            return Err(Error::Unexpected(self.verb, reply));
        }
        if !transfer::is_end_of_transfer(&reply) {
            control.expect_silence()?;
        }
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
}

/// Whose error it is, and the error.
type Failure = (Side, Error);

impl<'a> Pair<'a> {
    pub(super) fn new(
        source: &'a mut Client,
        target: &'a mut Client,
        direction: Direction,
    ) -> Self {
        let source = End::new(Side::Source, source);
        let target = End::new(Side::Target, target);
        Self { source, target, direction, handshake: Handshake::None }
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

    /// One listens, the other is told where (FX-02, FX-03, FX-05, FX-10).
    fn agree(&mut self, rule: AddressRule) -> Result<(), Failure> {
        let (passive, active) = match self.direction {
            Direction::Auto | Direction::Forward => (&mut self.source, &mut self.target),
            Direction::Reverse => (&mut self.target, &mut self.source),
        };
        let handshake = protection::agree(passive.client, active.client);
        let handshake = handshake.map_err(|error| (active.side, error))?;
        self.handshake = handshake;
        trace::note(format_args!("the {} is to listen:", passive.side));
        let address =
            way::listen(passive.client, rule, handshake).map_err(|error| (passive.side, error))?;
        trace::note(format_args!("the {} is to connect to {address}:", active.side));
        way::announce(active.client, address).map_err(|error| (active.side, error))
    }

    /// `REST` to both where it is wanted, `STOR`, time to refuse it, `RETR`.
    fn begin(
        &mut self,
        marker: RestartMarker,
        retrieve: &[u8],
        store: &[u8],
    ) -> Result<(), Failure> {
        let Self { source, target, .. } = self;
        // Before STOR, which cannot be taken back if the source refuses.
        source.restart_at(marker).map_err(|error| (Side::Source, error))?;
        target.restart_at(marker).map_err(|error| (Side::Target, error))?;
        target.send(store).map_err(|error| (Side::Target, error))?;
        let refusal = target.client.control.deadline(REFUSAL, Phase::Reply);
        loop {
            // More can only be behind a 1yz, which ends this.
            target.poll().map_err(|error| (Side::Target, error))?;
            if let Some(reply) = target.confirmed.take() {
                return Err((Side::Target, Error::Unexpected(Verb::Stor, reply)));
            }
            if target.has_begun {
                break;
            }
            match target.client.control.wait(refusal) {
                Ok(()) => {}
                Err(Error::Timeout(_)) => break,
                Err(error) => return Err((Side::Target, error)),
            }
        }
        source.send(retrieve).map_err(|error| (Side::Source, error))?;
        if !target.has_begun {
            target.deadline = target.client.control.reply_deadline();
        }
        Ok(())
    }

    /// Waits for the last replies of both (FX-06).
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
            let (this, that) = (&one.client.control, &other.client.control);
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

    /// Stops the other where one failed (FX-07), and finds out whose reason counts.
    fn give_up(&mut self, side: Side, error: Error) -> Box<Attempt> {
        let (this, other) = match side {
            Side::Source => (&mut self.source, &mut self.target),
            Side::Target => (&mut self.target, &mut self.source),
        };
        let mut attempt = Attempt::new(self.direction, side, error);
        attempt.is_protected = self.handshake != Handshake::None;
        if matches!(attempt.error, Error::Cancelled) {
            return Box::new(attempt);
        }
        attempt.other = other.stop(this.has_begun);
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
        }
        Box::new(attempt)
    }
}

/// How far an error is from what went wrong at first: that the data connection broke (426) says less
/// than that it did not come about (425), and this less than anything else.
fn distance_of(error: &Error) -> u8 {
    match error {
        Error::Refused(_, reply) if reply.code() == ReplyCode::TRANSFER_ABORTED => 2,
        Error::Refused(_, reply) if reply.code() == ReplyCode::NO_DATA_CONNECTION => 1,
        _ => 0,
    }
}
