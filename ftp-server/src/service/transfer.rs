//! Long commands: transfers, from the command to the final reply, and work without a data
//! connection. Also the faults that a test has scripted for a session; see
//! [`testing`](crate::testing).

use std::io;
use std::time::Instant;

use ftp_proto::{
    BlockFault, DeflateFault, Pathname, Reply, ReplyCode, RepresentationType, Severity, Verb,
};

use super::away::{Interrupted, LateEvent};
use super::control::encoded;
use super::run::{Next, Runner};
use super::transfer_watch::{TransferResult, TransferWatch};
use crate::context::Context;
use crate::data::{DataChannel, DataFault, Interruption, Monitor, PumpEnd};
use crate::log::{Direction, EventKind, Transfer, TransferEnd};
use crate::session::{Outcome, Payload, Place, PreparedTransfer, Session, Working};
use crate::storage::{StorageErrorKind, VirtualPath};
use crate::testing::{CutOutgoing, CutUpload, ProtocolFault};
use crate::threads::ProcessorClock;
use crate::tls::TlsInfo;
use crate::{command, reply};

/// A long command, for events.
pub(super) struct Subject {
    pub(super) verb: Verb,
    path: VirtualPath,
    direction: Direction,
    start: Instant,
}

impl Subject {
    pub(super) fn event(
        &self,
        representation: RepresentationType,
        course: &TransferSummary,
    ) -> EventKind<'_> {
        EventKind::Transferred(Transfer {
            verb: self.verb,
            path: &self.path,
            direction: self.direction,
            representation,
            bytes: course.bytes,
            duration: self.start.elapsed(),
            end: course.end,
            reply: course.reply,
            tls: course.tls,
        })
    }
}

pub(super) struct TransferSummary {
    pub(super) bytes: u64,
    pub(super) end: TransferEnd,
    pub(super) reply: Option<ReplyCode>,
    pub(super) tls: Option<TlsInfo>,
}

/// The reported end of a long command, the last replies and the session's next step.
struct Conclusion {
    end: TransferEnd,
    replies: Vec<Reply>,
    next: Next,
}

impl Conclusion {
    /// Returns a conclusion with one reply, after which the session continues.
    fn reply(end: TransferEnd, reply: Reply) -> Self {
        Self { end, replies: vec![reply], next: Next::Continue }
    }

    /// Returns the conclusion for a data connection that broke or was given up.
    fn aborted(end: TransferEnd, why: &str) -> Self {
        Self::reply(end, Reply::new(ReplyCode::TRANSFER_ABORTED, why))
    }
}

impl Runner {
    /// Carries out a transfer: 150, data connection, data, and the final reply once the data
    /// connection is closed.
    pub(super) fn transfer(
        &mut self,
        verb: Verb,
        transfer: PreparedTransfer,
        channel: DataChannel,
    ) -> io::Result<Next> {
        let direction = match transfer.payload {
            Payload::Send(_) => Direction::Sent,
            Payload::Receive(..) => Direction::Received,
        };
        let path = transfer.path.clone();
        let subject = Subject { verb, path, direction, start: Instant::now() };
        self.line().shown.set_transfer(verb, subject.path.clone());
        let fault = self.fault.take();
        let transfer = match fault {
            Some(fault) => fault.shorten(transfer),
            None => transfer,
        };
        let mut watch = TransferWatch::new(&mut self.control, &self.session);
        let mut result = watch.carry_out(&subject, transfer, channel);
        let whole = watch.whole();
        let TransferWatch { moved: bytes, tls, proved_size, failed, publishing, .. } = watch;
        let (mut open, refused) = (watch.open, watch.refused);
        // If a test has cut the data, the data connection cannot stay open.
        if fault.is_some() {
            (result, open) = (cut(result), None);
        }
        self.session.transfer.channel = open;
        self.session.transfer.refused = refused;
        let mut conclusion = self.conclude(&subject.path, &result);
        if conclusion.end == TransferEnd::Fin {
            conclusion.end = whole;
        }
        if direction == Direction::Received {
            let is_stored = matches!(result, TransferResult::Pumped(PumpEnd::Complete));
            self.session.end_upload(&subject.path, is_stored, proved_size);
        }
        if matches!(fault, Some(ProtocolFault::Silence { .. })) {
            conclusion.replies.clear();
        }
        let reply = conclusion.replies.first().map(Reply::code);
        let finished = self.finish(&subject, bytes, tls, conclusion, failed);
        if let (Some(publication), Some(away)) = (publishing, &self.session.peer.away) {
            let representation = self.session.transfer.representation;
            let summary = TransferSummary { bytes, end: whole, reply, tls };
            let late: LateEvent =
                Box::new(move |tell| tell(subject.event(representation, &summary)));
            away.leave(publication, late);
        }
        finished
    }

    /// Carries out long work in steps. Between steps, checks for `ABOR` and for the end of the
    /// control connection.
    pub(super) fn work(&mut self, verb: Verb, working: Working) -> io::Result<Next> {
        let Working { path, mut work, place } = working;
        let start = Instant::now();
        self.line().shown.set_transfer(verb, path.clone());
        let mut watch = TransferWatch::new(&mut self.control, &self.session);
        let peer = self.session.peer.ip();
        let Context { digests, searches, .. } = &*self.session.context;
        let (mut share, shares, refusal) = match place {
            Place::Digest => (Some(digests.claim(peer, 1)), digests, reply::too_many_digests()),
            Place::Search => (None, searches, reply::too_much_to_prepare()),
        };
        let ended = loop {
            if let Some(share) = &mut share {
                match watch.wait_for(share, shares.deadline()) {
                    Ok(true) => {}
                    Ok(false) => break Ok(refusal),
                    Err(interruption) => break Err(interruption),
                }
            }
            let clock = ProcessorClock::start(true);
            let reply = work.step();
            if share.is_none() {
                self.session.context.processor.pay_time(peer, clock.elapsed());
            }
            if let Some(reply) = reply {
                break Ok(reply);
            }
            if let Some(interruption) = watch.look(work.done()) {
                break Err(interruption);
            }
            share.get_or_insert_with(|| shares.claim(peer, 1));
        };
        let done = work.done();
        // The client's next command may need the place, so it must be free before the reply.
        drop(work);
        drop(share);
        let failed = watch.failed;
        let conclusion = match ended {
            Ok(reply) if reply.code().severity() == Severity::Completion => {
                Conclusion::reply(TransferEnd::Fin, reply)
            }
            Ok(reply) => Conclusion::reply(TransferEnd::Refused, reply),
            Err(why) => {
                // ABOR without a transfer drops the prepared connection.
                self.session.transfer.channel = None;
                self.conclude(&path, &TransferResult::Pumped(PumpEnd::Interrupted(why)))
            }
        };
        let subject = Subject { verb, path, direction: Direction::Read, start };
        self.finish(&subject, done, None, conclusion, failed)
    }

    /// Ends a command that was interrupted while the storage did not answer. If the command has
    /// succeeded all the same, its reply says so.
    #[inline(never)]
    pub(super) fn give_up_command(
        &mut self,
        verb: Verb,
        argument: &[u8],
        outcome: Outcome,
        interrupted: Interrupted,
        start: Instant,
    ) -> io::Result<Next> {
        let text = match interrupted.is_undecided {
            true => "Aborted; the change may still be made",
            false => "Aborted",
        };
        if interrupted.why == Interruption::Abort {
            self.session.record(b"ABOR");
        }
        self.session.transfer.channel = None;
        let Conclusion { mut replies, next, .. } = self.conclude_interrupted(interrupted.why, text);
        // Dropping a transfer aborts it.
        if let (Outcome::Reply(made), Some(first)) = (outcome, replies.first_mut())
            && made.code().severity() == Severity::Completion
        {
            *first = made;
        }
        if let Some(reply) = replies.first() {
            self.session.tell_of_refusal(verb, argument, reply, start);
        }
        self.send_all(replies)?;
        Ok(next)
    }

    /// Sends replies in one piece.
    fn send_all(&mut self, replies: Vec<Reply>) -> io::Result<()> {
        let all = replies.iter().map(encoded).reduce(|one, next| [one, next].concat());
        // The client may leave the bytes unread, so nothing else is kept meanwhile.
        drop(replies);
        all.map_or(Ok(()), |bytes| self.control.send_bytes(&bytes))
    }

    /// Reports a long command and sends its last replies, unless an earlier reply could not be
    /// written.
    fn finish(
        &mut self,
        subject: &Subject,
        bytes: u64,
        tls: Option<TlsInfo>,
        conclusion: Conclusion,
        failed: Option<io::Error>,
    ) -> io::Result<Next> {
        self.line().shown.end_transfer();
        let Conclusion { end, replies, next } = conclusion;
        let replies = if failed.is_none() { replies } else { Vec::new() };
        let reply = replies.first().map(Reply::code);
        self.session.tell_of_transfer(subject, &TransferSummary { bytes, end, reply, tls });
        if let Some(error) = failed {
            return Err(error);
        }
        self.send_all(replies)?;
        Ok(next)
    }

    fn conclude(&self, path: &VirtualPath, result: &TransferResult) -> Conclusion {
        match result {
            TransferResult::Pumped(end) => self.conclude_pumped(end),
            TransferResult::Refused(error, purpose) => {
                let refusal = self.session.refusal(path, error, *purpose);
                let end = match error.kind {
                    StorageErrorKind::Stalled => TransferEnd::Stall,
                    _ => TransferEnd::Refused,
                };
                Conclusion::reply(end, refusal)
            }
            TransferResult::TooLong => {
                Conclusion::reply(TransferEnd::Refused, reply::too_much_to_prepare())
            }
            TransferResult::NoData(error) => {
                log::debug!("{}: no data connection: {error}", self.session.peer.address);
                let text = "Cannot open data connection";
                let reply = Reply::new(ReplyCode::NO_DATA_CONNECTION, text);
                Conclusion::reply(TransferEnd::NoData, reply)
            }
            TransferResult::NoTls(error) => {
                self.session.peer.complaints.warn("cannot protect a data connection", error);
                let text = match self.session.transfer.begins_handshakes {
                    true => "Cannot begin TLS with the other server",
                    false => "Cannot protect the data connection",
                };
                let reply = Reply::new(ReplyCode::PROTOCOL_NOT_SUPPORTED, text);
                Conclusion::reply(TransferEnd::NoTls, reply)
            }
        }
    }

    fn conclude_pumped(&self, end: &PumpEnd) -> Conclusion {
        match end {
            PumpEnd::Complete => {
                let code = code_of_success(self.session.transfer.channel.is_some());
                Conclusion::reply(TransferEnd::Fin, Reply::new(code, "Transfer complete"))
            }
            PumpEnd::Interrupted(why) => self.conclude_interrupted(*why, "Transfer aborted"),
            PumpEnd::Undecided(why) => {
                let text = "Transfer aborted; the file may have been stored";
                self.conclude_interrupted(*why, text)
            }
            PumpEnd::Broken(error) => {
                log::debug!("{}: data connection: {error}", self.session.peer.address);
                Conclusion::aborted(TransferEnd::Reset, "Data connection lost")
            }
            PumpEnd::Truncated => {
                let text = "Data ended without a TLS close_notify";
                Conclusion::aborted(TransferEnd::Truncated, text)
            }
            PumpEnd::Malformed(fault) => {
                log::debug!("{}: data connection: {fault}", self.session.peer.address);
                conclude_malformed(fault)
            }
            PumpEnd::Stalled => Conclusion::aborted(TransferEnd::Stall, "Data connection stalled"),
            PumpEnd::Storage(error) => {
                let end = match error.kind {
                    // The file is published all the same.
                    StorageErrorKind::Unsynced => TransferEnd::Fin,
                    StorageErrorKind::Stalled => TransferEnd::Stall,
                    _ => TransferEnd::Storage,
                };
                Conclusion::reply(end, reply::transfer_failure(error))
            }
        }
    }

    fn conclude_interrupted(&self, why: Interruption, text: &str) -> Conclusion {
        match why {
            Interruption::Abort => {
                let mut conclusion = Conclusion::aborted(TransferEnd::Abor, text);
                let done = Reply::new(ReplyCode::TRANSFER_COMPLETE, "Abort successful");
                conclusion.replies.push(done);
                conclusion
            }
            Interruption::ControlLost if self.is_closing() => {
                let mut conclusion = Conclusion::aborted(TransferEnd::Cut, text);
                let closing = Reply::new(ReplyCode::SERVICE_CLOSING, "Service closing");
                conclusion.replies.push(closing);
                conclusion.next = Next::End;
                conclusion
            }
            Interruption::ControlLost => {
                Conclusion { end: TransferEnd::ControlLost, replies: vec![], next: Next::End }
            }
        }
    }
}

/// Returns the conclusion of an upload whose data is invalid in its mode, or cannot be stored.
fn conclude_malformed(fault: &DataFault) -> Conclusion {
    let text = match fault {
        DataFault::Deflate(DeflateFault::Truncated) => {
            "Data ended before the end of the zlib stream"
        }
        DataFault::Block(BlockFault::Truncated) => "Data ended without an end-of-file block",
        DataFault::Deflate(_) => "Data is not a single valid zlib stream (MODE Z)",
        DataFault::Block(_) => "Data is not in valid blocks (MODE B)",
        DataFault::Record => "Records are not supported",
        DataFault::Suspect => "Data with suspected errors is not stored",
    };
    if fault.is_truncation() {
        return Conclusion::aborted(TransferEnd::Truncated, text);
    }
    Conclusion::reply(TransferEnd::Corrupt, Reply::new(ReplyCode::LOCAL_ERROR, text))
}

/// Returns the code of the reply to a transfer after which the data connection is open or not.
pub(super) const fn code_of_success(is_open: bool) -> ReplyCode {
    if is_open { ReplyCode::FILE_ACTION_OKAY } else { ReplyCode::TRANSFER_COMPLETE }
}

impl Session {
    fn tell_of_transfer(&self, subject: &Subject, course: &TransferSummary) {
        self.tell(subject.event(self.transfer.representation, course));
    }

    /// Reports a refused file transfer. Does nothing if the command does not transfer files, or if
    /// no user is logged in.
    pub(super) fn tell_of_refusal(
        &self,
        verb: Verb,
        argument: &[u8],
        reply: &Reply,
        start: Instant,
    ) {
        let Some(direction) = command::file_direction(verb) else { return };
        if self.user().is_none() {
            return;
        }
        let path = match Pathname::new(argument) {
            Ok(path) => self.resolve(&path),
            Err(_) if argument.is_empty() => self.login.directory.clone(),
            // If the argument is not a path, the log has nothing to name.
            Err(_) => return,
        };
        let subject = Subject { verb, path, direction, start };
        let (end, reply) = (TransferEnd::Refused, Some(reply.code()));
        self.tell_of_transfer(&subject, &TransferSummary { bytes: 0, end, reply, tls: None });
    }
}

impl Runner {
    /// Applies the scripted fault of a command. Returns `Some` if the command must not be carried
    /// out. Keeps the fault of a transfer for [`transfer`](Self::transfer).
    pub(super) fn follow_script(&mut self, verb: Verb) -> io::Result<Option<Next>> {
        self.fault = None;
        let Some(script) = &self.session.context.script else { return Ok(None) };
        match script.faults.next(verb) {
            Some(ProtocolFault::Close) => self.close("Service not available").map(Some),
            Some(ProtocolFault::Delay(delay)) => match self.control.pause(Instant::now() + delay) {
                true => Ok(None),
                false => self.end_early().map(Some),
            },
            fault => {
                self.fault = fault;
                Ok(None)
            }
        }
    }
}

/// Returns the result of a transfer whose data was cut: for the client, the data connection broke.
fn cut(result: TransferResult) -> TransferResult {
    match result {
        TransferResult::Pumped(PumpEnd::Complete | PumpEnd::Storage(_)) => {
            let error = io::Error::other("cut off by a test script");
            TransferResult::Pumped(PumpEnd::Broken(error))
        }
        result => result,
    }
}

impl ProtocolFault {
    /// Truncates the data of a transfer if the scripted fault requires that.
    fn shorten(self, mut transfer: PreparedTransfer) -> PreparedTransfer {
        let (Self::Abort { after: left } | Self::Silence { after: left }) = self else {
            return transfer;
        };
        transfer.payload = match transfer.payload {
            Payload::Send(inner) => Payload::Send(Box::new(CutOutgoing { inner, left })),
            Payload::Receive(inner, encoding) => {
                Payload::Receive(Box::new(CutUpload { inner, left }), encoding)
            }
        };
        transfer
    }
}
