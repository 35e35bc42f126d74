//! The only reader of replies, and whether replies are in step with commands.
//!
//! A reply does not name its command, so the client counts: one final reply per command (RFC 959
//! §5.4). A server that sends one reply too many shifts every later reply by one, and the success of
//! one command then passes for that of another.
//!
//! Some codes can only answer their own command. Such a reply proves that the count is right. All
//! other codes can answer any command, so after a transfer, or after an extra reply, they prove
//! nothing until such a reply has been read.
//!
//! Aborts break the usual order of commands and replies (RFC 959 §4.1.3). `transfer::abort` counts
//! their replies.

use std::time::{Duration, Instant};

use ftp_proto::{Progress, Reply, ReplyCode, Severity, Verb, is_listed};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::{ControlConnection, closed_or, starts};
use crate::error::{Error, Phase};
use crate::net::Stream;
use crate::net::wait::{self, Deadline};
use crate::trace;

impl ControlConnection {
    /// Waits for the extra reply of a server that sends one after each transfer.
    pub(super) fn await_lag(&mut self) -> Result<(), Error> {
        let Some(end) = self.step.lag_ends().filter(|_| self.decoder.is_clear()) else {
            return Ok(());
        };
        let left = end.saturating_duration_since(Instant::now());
        match self.wait(self.deadline(left, Phase::Reply(None))) {
            Err(Error::Timeout(Phase::Reply(_))) => Ok(()),
            result => result,
        }
    }

    /// Checks that the server sent nothing unrequested, apart from 1xx and the extra reply that
    /// some servers send after a transfer or a login. Returns `ServiceClosing` after a 421 and
    /// `Closed` if the connection has ended. After anything else, closes the connection and returns
    /// the error of [`out_of_step`](Self::out_of_step).
    pub(crate) fn check_clear(&mut self) -> Result<(), Error> {
        let deadline = self.reply_deadline();
        loop {
            let mut reply = self.decode()?;
            if reply.is_none() {
                match self.fill()? {
                    Some(true) => continue,
                    None if self.decoder.is_clear() => return Ok(()),
                    // The rest of a line that may be harmless.
                    None if self.step.may_lag() => {
                        let patience = self.deadline(LAG, Phase::Reply(None));
                        reply = self.any_reply_in(patience)?;
                        if reply.is_none() {
                            self.close();
                            return Err(Error::Desynchronised);
                        }
                    }
                    ended => {
                        let is_end = ended.is_some() && self.decoder.is_clear();
                        self.close();
                        return Err(if is_end { Error::Closed } else { Error::Desynchronised });
                    }
                }
            }
            let Some(reply) = reply else { continue };
            if reply.code().severity() == Severity::Preliminary {
                // A server may send 1xx without end.
                self.go_on_or_close(deadline)?;
            } else if self.step.read_idle(reply.code()) {
                trace::note(format_args!(
                    "ignoring {}: the server sent one reply too many",
                    reply.code()
                ));
            } else {
                return Err(self.out_of_step(None, reply));
            }
        }
    }

    /// Fails if more bytes arrived after a final reply: that reply may belong to another command.
    /// Succeeds if the connection has ended; the next command reports that.
    pub(crate) fn expect_silence(&mut self) -> Result<(), Error> {
        let mut surprise = None;
        while surprise.is_none() {
            surprise = match self.decode() {
                Err(Error::ServiceClosing(_)) => return Ok(()),
                reply => reply?,
            };
            if surprise.is_none() && self.fill()? != Some(true) {
                break;
            }
        }
        match surprise {
            Some(reply) => Err(self.out_of_step(None, reply)),
            None if self.decoder.is_clear() => Ok(()),
            None => {
                self.close();
                Err(Error::Desynchronised)
            }
        }
    }

    /// Returns whether the connection is open, no reply is outstanding, and nothing waits to be
    /// read. Reads nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.outstanding.is_none() && self.is_silent()
    }

    /// Returns whether the connection is open, and nothing waits to be read. Reads nothing.
    pub(crate) fn is_silent(&self) -> bool {
        let is_silent = |stream: &Stream| {
            !stream.has_unread()
                && wait::is_ready(stream.as_fd(), PollFlags::IN).is_ok_and(|is_ready| !is_ready)
        };
        self.decoder.is_clear() && self.stream.as_ref().is_some_and(is_silent)
    }

    /// Returns the next reply to the outstanding command.
    pub(crate) fn next_reply(&mut self, deadline: Deadline) -> Result<(Progress, Reply), Error> {
        let mut deadline = deadline;
        let mut late = None;
        loop {
            let verb = self.outstanding();
            let reply = match (self.read_reply(deadline), late.take()) {
                (Err(Error::Timeout(Phase::Reply(_))), Some(late)) => {
                    return Err(self.out_of_step(verb, late));
                }
                (reply, _) => reply?,
            };
            late = Some(reply.clone()).filter(|_| self.step.awaits_proof());
            if let Some(taken) = self.take(reply)? {
                return Ok(taken);
            }
            if late.is_some() {
                // Some servers answer each packet with what they have kept of the one before.
                deadline = deadline.or(Some(self.deadline(KEPT, Phase::Reply(None))));
            }
            self.go_on_or_close(deadline)?;
        }
    }

    /// Returns whether everything read so far has been decoded.
    pub(crate) fn is_clear(&self) -> bool {
        self.decoder.is_clear()
    }

    /// Returns the next reply to the outstanding command, if it has already been read.
    pub(crate) fn buffered_reply(&mut self) -> Result<Option<(Progress, Reply)>, Error> {
        while let Some(reply) = self.decode()? {
            if let Some(taken) = self.take(reply)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Returns the next reply to the outstanding command, if it has already arrived.
    pub(crate) fn poll_reply(&mut self) -> Result<Option<(Progress, Reply)>, Error> {
        let mut reply = self.buffered_reply()?;
        if reply.is_none()
            && let Some(more) = self.fill()?
        {
            if !more {
                self.close();
                return Err(Error::Closed);
            }
            reply = self.buffered_reply()?;
        }
        Ok(reply)
    }

    /// Returns the final reply to the outstanding command, skipping preliminary ones.
    pub(crate) fn final_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        loop {
            if let (Progress::Final, reply) = self.next_reply(deadline)? {
                return Ok(reply);
            }
            // A server may send 1xx without end.
            self.go_on_or_close(deadline)?;
        }
    }

    /// Returns the final reply to the outstanding command; `None` if it does not arrive in time, and the
    /// connection then stays open.
    pub(crate) fn final_reply_in(&mut self, patience: Deadline) -> Result<Option<Reply>, Error> {
        while let Some(reply) = self.any_reply_in(patience)? {
            if let Some((Progress::Final, reply)) = self.take(reply)? {
                return Ok(Some(reply));
            }
            self.go_on_or_close(patience)?;
        }
        Ok(None)
    }

    /// Takes a reply to the outstanding command. Returns `None` for an extra reply, which the
    /// answer follows.
    pub(super) fn take(&mut self, reply: Reply) -> Result<Option<(Progress, Reply)>, Error> {
        let Some((verb, exchange)) = &mut self.outstanding else {
            return Err(self.out_of_step(None, reply));
        };
        let (verb, code) = (*verb, reply.code());
        if code.severity() != Severity::Preliminary {
            match self.step.read(verb, code, self.has_begun) {
                ReplyMeaning::Answer => {}
                ReplyMeaning::Late => {
                    trace::note(format_args!("ignoring {code}: it does not answer {verb}"));
                    return Ok(None);
                }
                ReplyMeaning::Foreign => return Err(self.out_of_step(Some(verb), reply)),
            }
        }
        match exchange.reply(code) {
            // If other commands follow, a 1xx may belong to one of them.
            Ok(Progress::Preliminary) if !self.following.is_empty() && !starts(verb) => {
                self.close();
                return Err(Error::Unexpected(verb, reply));
            }
            Ok(Progress::Preliminary) => {
                self.has_begun = true;
                self.acknowledge();
            }
            Ok(Progress::Final) => {
                let has_begun = std::mem::take(&mut self.has_begun);
                if verb.uses_data() && (has_begun || code.severity() == Severity::Completion) {
                    self.step.end_transfer(verb, code);
                }
                self.outstanding = self.following.pop_front();
                if self.outstanding.is_some() {
                    self.acknowledge();
                }
                return Ok(Some((Progress::Final, reply)));
            }
            Err(_) => {
                self.close();
                return Err(Error::Unexpected(verb, reply));
            }
        }
        Ok(Some((Progress::Preliminary, reply)))
    }

    /// Confirms what has arrived, since another reply is due.
    fn acknowledge(&self) {
        if let Some(stream) = &self.stream {
            stream.acknowledge();
        }
    }

    /// Returns the next reply, whatever command it answers.
    pub(crate) fn read_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        // A reply that is there already may answer an earlier command.
        let sent = self.sent.take().filter(|_| self.decoder.is_clear());
        loop {
            if let Some(reply) = self.decode()? {
                let took = sent.map(|at| at.elapsed());
                self.quickest = self.quickest.into_iter().chain(took).min();
                self.slowest = took.map_or(self.slowest, |took| self.slowest.max(took));
                return Ok(reply);
            }
            match self.wait(self.end_of_reply(deadline)) {
                Ok(()) => {}
                Err(Error::Timeout(Phase::Reply(_))) if self.ends_reply(deadline) => continue,
                // The reply is still outstanding; the closing dialogue can still read it.
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Err(self.lost(error)),
            }
            if self.fill()? == Some(false) {
                self.close();
                return Err(Error::Closed);
            }
        }
    }

    /// Returns the deadline for more bytes. It is shorter if the last line could be the end of a reply
    /// that began with another code.
    pub(super) fn end_of_reply(&self, deadline: Deadline) -> Deadline {
        let limit = self.deadline(PAUSE, Phase::Reply(None));
        deadline.or(Some(limit).filter(|_| self.decoder.may_have_ended()))
    }

    /// Takes that line for the end of the reply, unless the deadline has passed. Returns whether there is
    /// a reply now.
    pub(super) fn ends_reply(&mut self, deadline: Deadline) -> bool {
        if deadline.remaining().is_ok() {
            self.ended = self.decoder.end();
        }
        self.ended.is_some()
    }

    /// Returns a whole reply from the bytes read so far, if there is one. A 421 closes the
    /// connection at any time.
    pub(super) fn decode(&mut self) -> Result<Option<Reply>, Error> {
        let mut reply = match self.ended.take() {
            Some(reply) => Some(reply),
            None => self.decoder.next().map_err(|error| self.protocol_error(error))?,
        };
        if let Some(reply) = &mut reply {
            self.secrets.iter().for_each(|secret| reply.conceal(secret));
            trace::received(reply);
            if reply.code() == ReplyCode::SERVICE_CLOSING {
                self.close();
                return Err(Error::ServiceClosing(reply.clone()));
            }
        }
        Ok(reply)
    }

    /// Reads once. Returns `Some(true)` if bytes arrived, `Some(false)` at the end of the
    /// connection, and `None` if nothing is available.
    pub(super) fn fill(&mut self) -> Result<Option<bool>, Error> {
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let read = stream.read(&mut self.buffer).map_err(|error| self.lost(error))?;
        let Some(count) = read else { return Ok(None) };
        let read = self.buffer.get(..count).expect("a read fills at most the buffer");
        // The decoder takes all bytes, because it was emptied before.
        let taken = self.decoder.push(read);
        debug_assert_eq!(taken, count);
        Ok(Some(count > 0))
    }

    pub(super) fn lost(&mut self, error: Error) -> Error {
        self.close();
        closed_or(error)
    }
}

impl ControlConnection {
    /// Sends `ABOR` during a transfer: Telnet's "interrupt process" and "synch" as urgent data,
    /// then the command (RFC 959 §4.1.3). Afterwards, the reply to `ABOR` is outstanding too.
    pub(crate) fn send_abort(&mut self, deadline: Deadline) -> Result<(), Error> {
        const IAC_IP_IAC_DM: [u8; 4] = [255, 244, 255, 242];
        trace::sent(Verb::Abor, b"ABOR");
        if self.is_secure() {
            // TLS has no urgent data, and servers do not need it (RFC 4217 §4).
            return self.write(b"ABOR\r\n", deadline);
        }
        if self.addresses.is_none() {
            // Not every kind of socket supports urgent data or delivers it in place.
            return self.write(b"\xff\xf4\xff\xf2ABOR\r\n", deadline);
        }
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let sent = stream.write_urgent(&IAC_IP_IAC_DM);
        sent.map_err(|error| self.lost(error))?;
        self.write(b"ABOR\r\n", deadline)
    }

    /// Returns a reply to the aborted transfer or to `ABOR`. Returns `None` if none arrives in
    /// time; the connection then stays open.
    pub(crate) fn any_reply_in(&mut self, patience: Deadline) -> Result<Option<Reply>, Error> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(Some(reply));
            }
            match self.wait(patience) {
                Ok(()) => {}
                Err(Error::Timeout(_)) if patience.remaining().is_err() => return Ok(None),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Err(self.lost(error)),
            }
            if self.fill()? == Some(false) {
                self.close();
                return Err(Error::Closed);
            }
        }
    }

    /// Sends `NOOP` after an abort; its reply is then outstanding too.
    pub(crate) fn send_noop(&mut self, deadline: Deadline) -> Result<(), Error> {
        if let Err(error) = deadline.remaining() {
            return Err(self.lost(error));
        }
        trace::sent(Verb::Noop, b"NOOP");
        self.write(b"NOOP\r\n", deadline)
    }

    /// Records that the final reply to the outstanding command has arrived.
    pub(crate) fn settled(&mut self) {
        self.outstanding = None;
        self.following.clear();
        self.has_begun = false;
        self.step.abort_transfer();
    }
}

/// The longest wait for an answer after a late one to the command before.
const KEPT: Duration = Duration::from_secs(5);

/// The time without another byte after which a line with another code ends a reply of several lines.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest time to wait for the extra reply of a server that sends one after each transfer.
const LAG: Duration = Duration::from_millis(250);

/// The codes that can only answer one of these commands.
const OWN: &[(u16, &[Verb])] = &[
    (211, &[Verb::Feat, Verb::Stat, Verb::Help, Verb::Site]),
    (
        213,
        &[
            Verb::Size,
            Verb::Mdtm,
            Verb::Mfmt,
            Verb::Mfct,
            Verb::Mff,
            Verb::Avbl,
            Verb::Dsiz,
            Verb::Hash,
            Verb::Xcrc,
            Verb::Xmd5,
            Verb::Xsha,
            Verb::Xsha1,
            Verb::Xsha256,
            Verb::Xsha512,
            Verb::Stat,
        ],
    ),
    (215, &[Verb::Syst]),
    (221, &[Verb::Quit]),
    (227, &[Verb::Pasv, Verb::Cpsv]),
    (229, &[Verb::Epsv, Verb::Cpsv]),
    (257, &[Verb::Pwd, Verb::Mkd]),
    (350, &[Verb::Rest, Verb::Rang, Verb::Rnfr, Verb::Site]),
];

/// Commands that succeed only with a code of [`OWN`]: no other 2xx can be their answer.
const QUESTIONS: &[Verb] = &[
    Verb::Epsv,
    Verb::Feat,
    Verb::Hash,
    Verb::Mdtm,
    Verb::Pasv,
    Verb::Pwd,
    Verb::Quit,
    Verb::Rang,
    Verb::Rest,
    Verb::Rnfr,
    Verb::Size,
    Verb::Syst,
];

/// Commands that act on a name or a directory and succeed with a code that can answer any command.
/// Before one of them, a reply must have proved that replies are in step. `MKD` is not one of them,
/// because a 257 is its proof, and `RNTO` follows the 350 of `RNFR`.
const UNPROVED: &[Verb] =
    &[Verb::Cdup, Verb::Comb, Verb::Cwd, Verb::Dele, Verb::Rmd, Verb::Rmda, Verb::Site, Verb::Smnt];

/// Commands that remove something and succeed with a code that can answer any command. Some servers
/// answer each of them twice, which one proof after the first of them shows.
const REMOVALS: &[Verb] = &[Verb::Dele, Verb::Rmd, Verb::Rmda];

/// Commands that change something on the server that outlasts the session.
const CHANGES: &[Verb] = &[
    Verb::Appe,
    Verb::Comb,
    Verb::Dele,
    Verb::Mfct,
    Verb::Mff,
    Verb::Mfmt,
    Verb::Mkd,
    Verb::Rmd,
    Verb::Rmda,
    Verb::Rnto,
    Verb::Site,
    Verb::Stor,
    Verb::Stou,
];

/// What a final reply means for the outstanding command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplyMeaning {
    /// The answer, as far as the code shows.
    Answer,
    /// The extra reply of the last transfer, or a banner after the login. The answer follows.
    Late,
    /// The answer to another command: replies are out of step.
    Foreign,
}

/// An extra reply that may still arrive, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Late {
    /// A second 2xx after the 2xx that ended a transfer.
    Transfer(Instant),
    /// A second 2xx after the 2xx that answered `CWD`, before another answer.
    Directory,
    /// A 220 or 230 after the reply that ended the login.
    Banner,
    /// The 257 to a `PWD` that the server has not answered in time. It must come before the next answer.
    Proof,
}

/// Whether the server answers a removal once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Removals {
    /// None was answered yet.
    #[default]
    None,
    /// One was answered, and a second answer may follow.
    Answered,
    /// A code of [`OWN`] came after the answer.
    Proved,
}

/// What the replies so far prove.
#[derive(Debug, Default)]
pub(super) struct ProofStep {
    late: Option<Late>,
    /// Whether a transfer or an extra reply came after the last code of [`OWN`].
    is_in_doubt: bool,
    /// Whether the last final reply had a code of [`OWN`].
    is_proved: bool,
    /// Whether the server has sent an extra reply after a transfer.
    lags: bool,
    removals: Removals,
    /// The upload whose confirmation is in doubt.
    upload: Option<Verb>,
    /// The last command that was answered.
    last: Option<Verb>,
    /// Whether a raw command was sent. A new connection would lose what it has set.
    has_quoted: bool,
}

impl ProofStep {
    /// Takes a final reply. `has_begun` tells whether a 1xx to this command came before.
    pub(super) fn read(&mut self, verb: Verb, code: ReplyCode, has_begun: bool) -> ReplyMeaning {
        let reading = self.reading(verb, code, has_begun);
        match reading {
            ReplyMeaning::Answer => {
                self.last = Some(verb);
                self.is_proved = is_own(verb, code);
                self.late = match self.late {
                    Some(Late::Banner) if !is_login(verb) => None,
                    Some(Late::Proof | Late::Directory) => None,
                    late => late,
                };
                if self.is_proved {
                    (self.late, self.is_in_doubt, self.upload) = (None, false, None);
                    self.settle_removals();
                } else if verb == Verb::Cwd && code.severity() == Severity::Completion {
                    self.late = Some(Late::Directory);
                } else if self.removals == Removals::None && REMOVALS.contains(&verb) {
                    self.removals = Removals::Answered;
                }
            }
            ReplyMeaning::Late => self.note_late(),
            ReplyMeaning::Foreign => {}
        }
        reading
    }

    fn reading(&self, verb: Verb, code: ReplyCode, has_begun: bool) -> ReplyMeaning {
        if self.awaits_proof() && code == ReplyCode::PATHNAME && !answers_proof(verb) {
            return ReplyMeaning::Late;
        }
        // Any code may answer an unknown command. Once a transfer has begun, its verdict judges the
        // reply.
        if matches!(verb, Verb::Other(_)) || verb.uses_data() && has_begun {
            return ReplyMeaning::Answer;
        }
        // Some servers without features answer FEAT with 221, 331, 332 or 350.
        let is_strange = code.severity() == Severity::Intermediate || code.value() == 221;
        if verb == Verb::Feat && is_strange && !self.is_in_doubt {
            return ReplyMeaning::Answer;
        }
        // Some servers answer EPSV like PASV, or PASV like EPSV.
        let twin = match (verb, code.value()) {
            (Verb::Epsv, 227) => Some(Verb::Pasv),
            (Verb::Pasv, 229) => Some(Verb::Epsv),
            _ => None,
        };
        if twin.is_some() && (twin != self.last || !self.is_in_doubt) {
            return ReplyMeaning::Answer;
        }
        if owners(code).is_some() {
            return if is_own(verb, code) { ReplyMeaning::Answer } else { ReplyMeaning::Foreign };
        }
        if verb.uses_data() || is_listed(verb, code) {
            return ReplyMeaning::Answer;
        }
        let is_question = QUESTIONS.contains(&verb);
        match self.late {
            Some(Late::Banner) if is_banner(code) => ReplyMeaning::Late,
            // A 250 may be the answer of a server that is careless with codes.
            Some(Late::Directory) if is_question && ends_transfer(code) => ReplyMeaning::Late,
            Some(Late::Transfer(_))
                if code == ReplyCode::TRANSFER_COMPLETE || is_question && ends_transfer(code) =>
            {
                ReplyMeaning::Late
            }
            _ if is_question && self.is_in_doubt && ends_transfer(code) => ReplyMeaning::Foreign,
            _ => ReplyMeaning::Answer,
        }
    }

    /// Takes a reply that arrived while no command was outstanding. Returns whether it is the extra
    /// reply that may arrive.
    fn read_idle(&mut self, code: ReplyCode) -> bool {
        let is_late = match self.late {
            Some(Late::Banner) => is_banner(code),
            Some(Late::Proof) => code == ReplyCode::PATHNAME,
            Some(Late::Transfer(_) | Late::Directory) => {
                code.severity() == Severity::Completion && owners(code).is_none()
            }
            None => false,
        };
        if is_late {
            self.note_late();
        }
        is_late
    }

    fn note_late(&mut self) {
        self.lags |= matches!(self.late, Some(Late::Transfer(_)));
        if self.late.take() == Some(Late::Proof) {
            // With this reply, the count is right again.
            return;
        }
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that the 257 to a `PWD` may still come before the next answer.
    pub(super) const fn drop_proof(&mut self) {
        self.late = Some(Late::Proof);
    }

    /// Returns whether that 257 may still come.
    pub(super) const fn awaits_proof(&self) -> bool {
        matches!(self.late, Some(Late::Proof))
    }

    /// Records the final reply of a transfer.
    fn end_transfer(&mut self, verb: Verb, code: ReplyCode) {
        let is_done = code.severity() == Severity::Completion;
        self.late = is_done.then(|| Late::Transfer(Instant::now()));
        self.upload = Some(verb).filter(|verb| is_done && verb.is_upload());
        self.last = Some(verb);
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that a transfer was aborted, and that its replies were counted.
    fn abort_transfer(&mut self) {
        (self.late, self.upload) = (None, None);
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that replies are in step, although no code has proved it.
    pub(super) const fn trust(&mut self) {
        (self.late, self.upload) = (None, None);
        self.is_in_doubt = false;
        self.settle_removals();
    }

    const fn settle_removals(&mut self) {
        if matches!(self.removals, Removals::Answered) {
            self.removals = Removals::Proved;
        }
    }

    /// Puts replies in doubt if a removal was answered, and nothing proves that it was answered
    /// once.
    pub(super) fn doubt_removals(&mut self) {
        self.is_in_doubt |= self.removals == Removals::Answered;
    }

    /// Records that the login has succeeded.
    pub(super) const fn log_in(&mut self) {
        self.late = Some(Late::Banner);
    }

    /// Records that a raw command was sent.
    pub(super) const fn quote(&mut self) {
        self.has_quoted = true;
    }

    /// Returns whether a common code proves nothing now.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Returns whether the last final reply can only have answered its own command.
    pub(super) const fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// Returns whether the extra reply of a transfer may still arrive, or another one would put an
    /// upload in question.
    const fn may_lag(&self) -> bool {
        !matches!(self.late, None | Some(Late::Banner)) || self.upload.is_some()
    }

    /// Returns when to stop waiting for the extra reply of a server that always sends one.
    fn lag_ends(&self) -> Option<Instant> {
        match self.late {
            Some(Late::Transfer(ended)) if self.lags => Some(ended + LAG),
            _ => None,
        }
    }

    /// Returns the command that a misplaced reply puts in question: an upload, or a command that
    /// may have been carried out. `outstanding` is the command that was not answered. Returns
    /// `None` if nothing is lost by repeating the outstanding command over a new connection.
    pub(super) fn in_question(&self, outstanding: Option<Verb>) -> Option<Verb> {
        let changed = outstanding
            .filter(|verb| CHANGES.contains(verb) || matches!(verb, Verb::Other(_) | Verb::Quit));
        let quoted = outstanding.or(self.last).filter(|_| self.has_quoted);
        self.upload.or(changed).or(quoted)
    }
}

/// Returns the only commands that a code can answer; `None` if it can answer any.
fn owners(code: ReplyCode) -> Option<&'static [Verb]> {
    OWN.iter().find(|(own, _)| *own == code.value()).map(|(_, verbs)| *verbs)
}

/// Returns whether `code` can only answer commands such as `verb`.
fn is_own(verb: Verb, code: ReplyCode) -> bool {
    owners(code).is_some_and(|verbs| verbs.contains(&verb))
}

/// Returns whether a final reply can be the answer to a command of a flight, in which every reply
/// must be in its place: a success has the code of its command.
pub(crate) fn is_in_place(verb: Verb, code: ReplyCode) -> bool {
    code.severity() != Severity::Completion || is_own(verb, code) || !QUESTIONS.contains(&verb)
}

/// Returns whether a late 257 could pass for the answer to a command.
pub(super) const fn answers_proof(verb: Verb) -> bool {
    matches!(verb, Verb::Pwd | Verb::Mkd)
}

/// Returns whether replies must be in step before a command is sent.
pub(super) fn needs_proof(verb: Verb) -> bool {
    UNPROVED.contains(&verb) || matches!(verb, Verb::Other(_))
}

const fn ends_transfer(code: ReplyCode) -> bool {
    matches!(code, ReplyCode::TRANSFER_COMPLETE | ReplyCode::FILE_ACTION_OKAY)
}

const fn is_login(verb: Verb) -> bool {
    matches!(verb, Verb::User | Verb::Pass | Verb::Acct)
}

pub(super) fn is_banner(code: ReplyCode) -> bool {
    matches!(code.value(), 220 | 230)
}

#[cfg(test)]
mod tests;
