//! The only reader of replies. Whether they are in step with commands, [`proof`](super::proof) decides.
//!
//! Aborts break the usual order of commands and replies (RFC 959 §4.1.3). `transfer::abort` counts
//! their replies.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use ftp_proto::{Progress, Reply, ReplyCode, Severity, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::proof::{LAG, ReplyMeaning};
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

    /// Returns whether the server has ended the connection, as far as this is seen without a read: not under
    /// TLS, nor while a reply is unread.
    pub(crate) fn has_ended(&self) -> bool {
        let tcp = self.stream.as_ref().and_then(Stream::plain_tcp);
        let is_over = |peeked: io::Result<usize>| match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        self.decoder.is_clear() && tcp.is_some_and(|tcp| is_over(tcp.peek(&mut [0])))
    }

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
                return Err(Error::Unexpected { verb, reply });
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
                return Err(Error::Unexpected { verb, reply });
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
                Err(Error::Timeout(Phase::Reply(_))) if self.ends_reply(deadline) => {}
                waited => self.receive(waited)?,
            }
        }
    }

    /// Reads bytes of a reply that was waited for.
    fn receive(&mut self, waited: Result<(), Error>) -> Result<(), Error> {
        match waited {
            Ok(()) => {}
            // The reply is still outstanding; the closing dialogue can still read it.
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => return Err(self.lost(error)),
        }
        if self.fill()? == Some(false) {
            self.close();
            return Err(Error::Closed);
        }
        Ok(())
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
            if let Some(charset) = self.charset {
                reply.translate(|text| charset.decode(text));
            }
            trace::received(reply);
            if reply.code() == ReplyCode::SERVICE_CLOSING {
                self.close();
                // Like a 1xx, it is an answer: nothing comes late.
                self.has_begun = true;
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
                Err(Error::Timeout(_)) if patience.remaining().is_err() => return Ok(None),
                waited => self.receive(waited)?,
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
