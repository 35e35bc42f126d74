//! The control connection: the only writer of commands and the only reader of replies
//! (RFC 959 §5.3, §5.4, §6).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ftp_proto::{Command, Exchange, ParseError, Progress, Reply, ReplyCode, ReplyDecoder};
use ftp_proto::{Severity, Verb};

use crate::error::{Error, Phase};
use crate::stream::{Deadline, Stream};
use crate::{stream, trace};

/// A stream of commands and replies, and what is still owed on it.
#[derive(Debug)]
pub(crate) struct ControlConnection {
    /// `None` once it is closed.
    stream: Option<Stream>,
    decoder: ReplyDecoder,
    /// The command whose last reply has not come yet.
    outstanding: Option<(Verb, Exchange)>,
    local: SocketAddr,
    peer: SocketAddr,
    reply_limit: Duration,
    overall: Option<Deadline>,
}

impl ControlConnection {
    /// Takes over a connected socket on which nothing was read yet.
    pub(crate) fn new(
        stream: Stream,
        reply_limit: Duration,
        overall: Option<Deadline>,
    ) -> Result<Self, Error> {
        let (local, peer) = stream.addresses().map_err(Error::Io)?;
        let decoder = ReplyDecoder::new();
        let stream = Some(stream);
        Ok(Self { stream, decoder, outstanding: None, local, peer, reply_limit, overall })
    }

    /// Our address and the server's.
    pub(crate) const fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.peer)
    }

    /// A deadline that the overall limit of the client may cut short.
    pub(crate) fn deadline(&self, limit: Duration, phase: Phase) -> Deadline {
        Deadline::after(limit, phase).or(self.overall)
    }

    /// The deadline for a command that is sent now.
    pub(crate) fn reply_deadline(&self) -> Deadline {
        self.deadline(self.reply_limit, Phase::Reply)
    }

    /// Whether it was not closed, as far as is known here.
    pub(crate) const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether a command waits for its last reply.
    pub(crate) const fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// Closes the connection: nothing that is said on it could be understood any more.
    pub(crate) fn close(&mut self) {
        self.stream = None;
        self.outstanding = None;
    }

    /// Closes the connection over a value in a reply that cannot be read.
    pub(crate) fn protocol_error(&mut self, error: ParseError) -> Error {
        self.close();
        Error::Protocol(error)
    }

    /// Reads the server's greeting. A 120 says that another follows.
    pub(crate) fn greeting(&mut self) -> Result<Reply, Error> {
        let deadline = self.deadline(self.reply_limit, Phase::Greeting);
        loop {
            let reply = self.read_reply(deadline)?;
            match reply.code().value() {
                120 => {}
                220 => return Ok(reply),
                _ => {
                    self.close();
                    return Err(Error::Greeting(reply));
                }
            }
        }
    }

    /// Sends a command and gives its last reply, of any severity but 1yz.
    pub(crate) fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        let line = command.encode().map_err(Error::Argument)?;
        self.request_line(command.verb(), &line)
    }

    /// Sends a line and gives its last reply.
    pub(crate) fn request_line(&mut self, verb: Verb, line: &[u8]) -> Result<Reply, Error> {
        let deadline = self.reply_deadline();
        self.send(verb, line, deadline)?;
        self.final_reply(deadline)
    }

    /// Sends a command that must end with 2yz.
    pub(crate) fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        let reply = self.request(command)?;
        match reply.code().severity() {
            Severity::Completion => Ok(reply),
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }

    /// Sends one command line, in one write, if nothing is owed on the connection.
    pub(crate) fn send(
        &mut self,
        verb: Verb,
        line: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        debug_assert!(self.outstanding.is_none(), "the caller reads every last reply");
        self.check_clear()?;
        trace::sent(verb, line);
        self.write(line, deadline)?;
        self.outstanding = Some((verb, Exchange::new(verb)));
        Ok(())
    }

    /// Sends `ABOR` into a running transfer, so that its reply adds to what is outstanding:
    /// Telnet's "interrupt process" and "synch" as urgent data, then the command (RFC 959 §4.1.3).
    pub(crate) fn send_abort(&mut self, deadline: Deadline) -> Result<(), Error> {
        const IAC_IP_IAC_DM: [u8; 4] = [255, 244, 255, 242];
        trace::sent(Verb::Abor, b"ABOR");
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let sent = stream.write_urgent(&IAC_IP_IAC_DM);
        sent.map_err(|error| self.lost(error))?;
        self.write(b"ABOR\r\n", deadline)
    }

    fn write(&mut self, line: &[u8], deadline: Deadline) -> Result<(), Error> {
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let Err(error) = stream.write_all(line, deadline) else { return Ok(()) };
        // The server may have said why before it hung up.
        let said = self.check_clear();
        self.close();
        Err(said.err().unwrap_or_else(|| closed_or(error)))
    }

    /// Looks whether anything came that no command asked for (CL-13). A 421 and the end of the
    /// connection are no surprise there.
    fn check_clear(&mut self) -> Result<(), Error> {
        let mut ended = false;
        let mut surprise = self.decode()?.is_some();
        while !surprise && !ended && self.is_readable()? {
            ended = !self.fill(self.reply_deadline())?;
            surprise = self.decode()?.is_some();
        }
        surprise |= !self.decoder.is_clear();
        if ended || surprise {
            self.close();
            return Err(if surprise { Error::Desynchronised } else { Error::Closed });
        }
        Ok(())
    }

    /// Fails if more came behind a last reply that may not have been it. What ends the connection
    /// is left to the next command.
    pub(crate) fn expect_silence(&mut self) -> Result<(), Error> {
        match self.check_clear() {
            Err(Error::Closed | Error::ServiceClosing(_)) => Ok(()),
            result => result,
        }
    }

    /// The next reply to the outstanding command.
    pub(crate) fn next_reply(&mut self, deadline: Deadline) -> Result<(Progress, Reply), Error> {
        let reply = self.read_reply(deadline)?;
        self.take(reply)
    }

    /// The next reply to the outstanding command, if it is there already.
    pub(crate) fn poll_reply(&mut self) -> Result<Option<(Progress, Reply)>, Error> {
        let mut reply = self.decode()?;
        if reply.is_none() && self.is_readable()? {
            if !self.fill(self.reply_deadline())? {
                self.close();
                return Err(Error::Closed);
            }
            reply = self.decode()?;
        }
        reply.map(|reply| self.take(reply)).transpose()
    }

    /// The last reply to the outstanding command; those before it are passed over.
    pub(crate) fn final_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        loop {
            if let (Progress::Final, reply) = self.next_reply(deadline)? {
                return Ok(reply);
            }
        }
    }

    /// A reply that comes out of turn while aborting: to the transfer or to `ABOR`.
    pub(crate) fn any_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        self.read_reply(deadline)
    }

    /// Says that the last reply to the outstanding command has come.
    pub(crate) fn settled(&mut self) {
        self.outstanding = None;
    }

    /// Waits until a reply, or part of one, can be read or `other` is ready, and says whether the
    /// latter is.
    pub(crate) fn wait_with(
        &self,
        other: rustix::fd::BorrowedFd<'_>,
        interest: rustix::event::PollFlags,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let control = self.stream.as_ref().ok_or(Error::Closed)?;
        stream::wait(control, other, interest, deadline)
    }

    fn is_readable(&self) -> Result<bool, Error> {
        self.stream.as_ref().ok_or(Error::Closed)?.is_readable()
    }

    fn take(&mut self, reply: Reply) -> Result<(Progress, Reply), Error> {
        let Some((verb, exchange)) = &mut self.outstanding else {
            self.close();
            return Err(Error::Desynchronised);
        };
        let verb = *verb;
        match exchange.reply(reply.code()) {
            Ok(progress) => {
                if progress == Progress::Final {
                    self.outstanding = None;
                }
                Ok((progress, reply))
            }
            Err(_) => {
                self.close();
                Err(Error::Unexpected(verb, reply))
            }
        }
    }

    fn read_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(reply);
            }
            if !self.fill(deadline)? {
                self.close();
                return Err(Error::Closed);
            }
        }
    }

    /// A whole reply out of what was read so far. 421 ends it all, at any time (CL-10).
    fn decode(&mut self) -> Result<Option<Reply>, Error> {
        let reply = self.decoder.next().map_err(|error| self.protocol_error(error))?;
        if let Some(reply) = &reply {
            trace::received(reply);
            if reply.code() == ReplyCode::SERVICE_CLOSING {
                self.close();
                return Err(Error::ServiceClosing(reply.clone()));
            }
        }
        Ok(reply)
    }

    /// Reads once; false at the end.
    fn fill(&mut self, deadline: Deadline) -> Result<bool, Error> {
        let mut buffer = [0; 4_096];
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let count = stream.read(&mut buffer, deadline).map_err(|error| self.lost(error))?;
        let read = buffer.get(..count).unwrap_or_default();
        // It takes all of it: the decoder was emptied before.
        let taken = self.decoder.push(read);
        debug_assert_eq!(taken, count);
        Ok(count > 0)
    }

    fn lost(&mut self, error: Error) -> Error {
        self.close();
        closed_or(error)
    }
}

/// A reset is one more way for a server to hang up.
fn closed_or(error: Error) -> Error {
    match error {
        Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
            ) =>
        {
            Error::Closed
        }
        error => error,
    }
}
