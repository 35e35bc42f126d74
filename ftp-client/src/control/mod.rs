//! The control connection: the only writer of commands and the only reader of replies
//! (RFC 959 §5.3, §5.4, §6).

pub(crate) mod learned;
pub(crate) mod login;
pub(crate) mod proof;
mod replies;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::iter;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ftp_proto::{
    Command, Exchange, ParseError, ParseErrorKind, Pathname, Reply, ReplyCode, ReplyDecoder, Verb,
    is_listed, limits,
};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};

use crate::charset::Charset;
use crate::error::{Error, Phase, TlsError, accepted};
use crate::event::Counts;
use crate::net::wait::{Deadline, Waiter};
use crate::net::{Server, Stream};
use crate::trace;
use learned::Learned;
use proof::ProofStep;

/// The number of bytes to read at a time: a few replies.
const BUFFER: usize = 1_024;

/// The time that a server may take to answer `QUIT`.
const GOOD_BYE: Duration = Duration::from_secs(2);

pub(crate) struct ControlConnection {
    /// `None` once the connection is closed.
    stream: Option<Stream>,
    buffer: Box<[u8]>,
    decoder: ReplyDecoder,
    /// A reply whose last line has another code than its first one.
    ended: Option<Reply>,
    /// The command whose final reply has not arrived yet.
    outstanding: Option<(Verb, Exchange)>,
    /// Commands sent after the outstanding one, whose replies follow.
    pub(crate) following: VecDeque<(Verb, Exchange)>,
    /// Replies to commands that were sent ahead of their turn, until another command is sent.
    answers: Answers,
    /// The passwords or the account in the last command, which are concealed in replies.
    secrets: Vec<Vec<u8>>,
    has_begun: bool,
    step: ProofStep,
    /// The command whose reply was lost with the connection.
    unanswered: Option<Verb>,
    server: Server,
    addresses: Option<(SocketAddr, SocketAddr)>,
    reply_limit: Duration,
    waiter: Waiter,
    /// Whether the server reads 0xFF as itself, and not as the start of a Telnet command.
    pub(crate) takes_bytes: bool,
    pub(crate) charset: Option<Charset>,
    counts: Counts,
    learned: Learned,
    /// When the outstanding command was sent, if it was sent alone.
    sent: Option<Instant>,
    /// The shortest and the longest time to the reply to such a command.
    pub(crate) quickest: Option<Duration>,
    pub(crate) slowest: Duration,
}

/// Interpret As Command (RFC 854), a byte that is doubled in encoded commands.
const IAC: u8 = 0xff;

/// Returns whether vsftpd can take the path of an `MDTM` for a time to set, and another path. It looks at
/// the first byte, and at where the first blank is.
pub(crate) fn is_dated(path: &[u8]) -> bool {
    path.first().is_some_and(u8::is_ascii_digit) && path.contains(&b' ')
}

/// Returns the question for the time of a file.
pub(crate) fn mdtm(path: Pathname) -> Command {
    match Pathname::new([b"./", path.as_bytes()].concat()) {
        Ok(dated) if is_dated(path.as_bytes()) => Command::Mdtm(dated),
        _ => Command::Mdtm(path),
    }
}

impl ControlConnection {
    /// Takes over a connected socket from which nothing has been read yet.
    pub(crate) fn new(
        stream: Stream,
        server: Server,
        addresses: Option<(SocketAddr, SocketAddr)>,
        reply_limit: Duration,
        waiter: Waiter,
        counts: Counts,
        learned: Learned,
    ) -> Self {
        Self {
            stream: Some(stream),
            buffer: vec![0; BUFFER].into(),
            decoder: ReplyDecoder::new(),
            ended: None,
            outstanding: None,
            following: VecDeque::new(),
            answers: Answers::default(),
            secrets: Vec::new(),
            has_begun: false,
            step: ProofStep::default(),
            unanswered: None,
            server,
            addresses,
            reply_limit,
            waiter,
            takes_bytes: false,
            charset: None,
            counts,
            learned,
            sent: None,
            quickest: None,
            slowest: Duration::ZERO,
        }
    }

    /// Returns an encoded line in the form that this server reads.
    ///
    /// # Errors
    ///
    /// Returns `Argument` if the server's character set lacks a character.
    fn as_read<'l>(&self, line: &'l [u8]) -> Result<Cow<'l, [u8]>, Error> {
        let charset = self.charset.filter(|_| !line.is_ascii());
        if charset.is_none() && !(self.takes_bytes && line.contains(&IAC)) {
            return Ok(Cow::Borrowed(line));
        }
        let mut line = ReplyDecoder::undoubled(line.to_vec());
        if let Some(charset) = charset {
            line = charset.encode(&line)?;
            if !self.takes_bytes {
                line = line
                    .into_iter()
                    .flat_map(|byte| iter::repeat_n(byte, 1 + usize::from(byte == IAC)))
                    .collect();
            }
        }
        Ok(Cow::Owned(line))
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// Returns the local address and the server's address; `None` if the connection is relayed.
    pub(crate) const fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.addresses
    }

    /// Keeps a connection that was made in an [`attempt`](crate::net::wait::attempt).
    pub(crate) fn keep(&mut self) {
        self.waiter.keep();
    }

    pub(crate) const fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    /// Fails after a cancel.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.waiter.check()
    }

    /// Fails after a cancel or after the deadline.
    pub(crate) fn go_on(&self, deadline: Deadline) -> Result<(), Error> {
        self.waiter.check()?;
        self.named(deadline.remaining()).map(drop)
    }

    /// Fails as `go_on` does; after the deadline, also closes the connection. Use it while reading
    /// replies that may never end.
    pub(crate) fn go_on_or_close(&mut self, deadline: Deadline) -> Result<(), Error> {
        let result = self.go_on(deadline);
        if matches!(result, Err(Error::Timeout(_))) {
            self.close();
        }
        result
    }

    /// Begins or ends the closing dialogue (`ABOR`, `QUIT`), which may take a little time even
    /// after a cancel.
    pub(crate) fn leave(&mut self, leaving: bool) {
        self.waiter.leave(leaving);
    }

    /// Returns a deadline, which the client's overall limit may shorten.
    pub(crate) fn deadline(&self, limit: Duration, phase: Phase) -> Deadline {
        self.waiter.deadline(limit, phase)
    }

    pub(crate) fn reply_deadline(&self) -> Deadline {
        self.deadline(self.reply_limit, Phase::Reply(None))
    }

    /// Returns whether the connection is open, as far as this client knows.
    pub(crate) const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub(crate) const fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    pub(crate) fn outstanding(&self) -> Option<Verb> {
        self.outstanding.as_ref().map(|(verb, _)| *verb)
    }

    /// Sets whether to keep replies whole, or to cut them at [`limits::REPLY_TEXT`].
    pub(crate) fn keep_whole_replies(&mut self, whole: bool) {
        let limit = if whole { limits::REPLY_TOTAL } else { limits::REPLY_TEXT };
        self.decoder.set_text_limit(limit);
    }

    pub(crate) fn close(&mut self) {
        self.stream = None;
        if let Some((verb, _)) = self.outstanding.take() {
            self.unanswered = Some(verb);
        }
        // Later calls must report that the connection is closed, even if bytes are left in the
        // decoder.
        self.decoder = ReplyDecoder::new();
        self.following.clear();
    }

    /// Returns the command that was outstanding when the connection was closed: it may have been
    /// carried out.
    pub(crate) const fn unanswered(&self) -> Option<Verb> {
        self.unanswered
    }

    /// Returns the upload command that got no reply at all, not even a 150, before the connection was
    /// closed: the server may still carry it out. A close by the server proves nothing: a proxy, or another
    /// thread of the server, can end the connection while the disk hangs.
    pub(crate) fn unbegun_upload(&self) -> Option<Verb> {
        self.unanswered.filter(|verb| verb.is_upload() && !self.has_begun)
    }

    /// Returns whether the next reply may belong to another command, unless its code can only
    /// answer its own command.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.step.is_in_doubt()
    }

    /// Records that replies are in step, although no code has proved it.
    pub(crate) const fn trust_replies(&mut self) {
        self.step.trust();
    }

    /// Returns whether the next reply may belong to another command, and `verb` must not be sent
    /// before that is settled.
    pub(crate) fn needs_proof(&self, verb: Verb) -> bool {
        self.is_in_doubt() && proof::needs_proof(verb)
    }

    /// Puts replies in doubt before another removal, unless a reply has proved that the server
    /// answers removals once.
    pub(crate) fn doubt_removals(&mut self) {
        self.step.doubt_removals();
    }

    /// Records that the login has succeeded. Some servers send a banner after it.
    pub(crate) const fn logged_in(&mut self) {
        self.step.log_in();
    }

    /// Forgets the `PWD` that was sent together with a command. Its reply may come before the next one.
    pub(crate) fn drop_proof(&mut self) {
        self.outstanding = None;
        self.following.clear();
        self.step.drop_proof();
    }

    /// Records that a raw command was sent, whose effect a new connection would not have.
    pub(crate) const fn quoted(&mut self) {
        self.step.quote();
    }

    /// Closes the connection because replies are out of step, and returns the error.
    pub(crate) fn out_of_step(&mut self, outstanding: Option<Verb>, reply: Reply) -> Error {
        // Some servers answer no command before a client uses the port.
        self.learned.flights.fail();
        let in_question = self.step.in_question(outstanding);
        self.close();
        in_question.map_or(Error::Desynchronised, |verb| Error::Unexpected { verb, reply })
    }

    /// Closes the connection because of an unreadable value in a reply.
    pub(crate) fn protocol_error(&mut self, error: ParseError) -> Error {
        self.close();
        Error::Protocol(error)
    }

    /// Reads the server's greeting. A 120 announces another reply.
    pub(crate) fn greeting(&mut self, limit: Duration) -> Result<Reply, Error> {
        self.counts.add_round_trip();
        let deadline = self.deadline(limit, Phase::Greeting);
        loop {
            let reply = self.read_reply(deadline).map_err(|error| match error {
                Error::Protocol(_) if self.buffer.starts_with(b"SSH-") => {
                    not_ftp("greeting of an SSH server, whose SFTP is another protocol")
                }
                Error::Protocol(_) if self.buffer.starts_with(b"HTTP/") => {
                    not_ftp("greeting of a web server")
                }
                error => error,
            })?;
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

    /// Sends a command and returns its final reply, whatever its code. If a flight has just sent the
    /// command, returns that reply instead.
    pub(crate) fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        if let Some(reply) = self.answers.take(command) {
            self.check()?;
            return Ok(reply);
        }
        let line = command.encode()?;
        self.request_line(command.verb(), &line)
    }

    pub(crate) fn request_line(&mut self, verb: Verb, line: &[u8]) -> Result<Reply, Error> {
        let deadline = self.reply_deadline();
        self.send(verb, line, deadline)?;
        self.final_reply(deadline)
    }

    pub(crate) fn has_answer(&self, command: &Command) -> bool {
        self.answers.find(command).is_some()
    }

    /// Keeps the replies to the commands of a flight until they are requested, or another command is
    /// sent. A reply with the port of a data connection survives commands that use no data connection.
    pub(crate) fn keep_answers(&mut self, answers: Answers) {
        let ports = std::mem::replace(&mut self.answers, answers);
        self.answers.0.extend(ports.0);
    }

    pub(crate) fn forget_answers(&mut self) {
        self.answers = Answers::default();
    }

    /// Sends a command that must end with 2xx.
    pub(crate) fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        accepted(command.verb(), self.request(command)?)
    }

    /// Sends `QUIT`, and waits a short time for the reply. Any reply but a 221 shows that replies
    /// were out of step, unless the last one before can only have answered its own command; then the
    /// client need not wait.
    pub(crate) fn say_good_bye(&mut self, waits: bool) -> Result<(), Error> {
        let limit = self.reply_limit.min(GOOD_BYE);
        let deadline = self.deadline(limit, Phase::Reply(None));
        let is_proved = self.step.is_proved();
        let sent = self.send(Verb::Quit, b"QUIT\r\n", deadline);
        if is_proved && !waits {
            return sent;
        }
        self.counts.add_round_trip();
        match sent.and_then(|()| self.final_reply(deadline)) {
            Ok(_) if self.step.is_proved() => Ok(()),
            Ok(_) | Err(Error::Desynchronised | Error::Unexpected { .. }) if is_proved => Ok(()),
            Ok(reply) => Err(self.out_of_step(Some(Verb::Quit), reply)),
            Err(error) => Err(error),
        }
    }

    /// Sends a command line. No reply may be outstanding.
    pub(crate) fn send(
        &mut self,
        verb: Verb,
        line: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.check()?;
        debug_assert!(self.outstanding.is_none(), "the caller reads every final reply");
        let line = self.as_read(line)?;
        if self.step.awaits_proof() && proof::answers_proof(verb) {
            // A late 257 must not pass for the answer.
            self.request(&Command::Noop)?;
        }
        self.await_lag()?;
        self.check_clear()?;
        self.answers.send(verb);
        self.secrets = secrets_in(verb, &line);
        trace::sent(verb, &line);
        self.write(&line, deadline)?;
        if verb != Verb::Quit {
            self.counts.add_round_trip();
        }
        self.sent = Some(Instant::now());
        self.outstanding = Some((verb, Exchange::new(verb)));
        Ok(())
    }

    /// Sends several command lines in one write. Their replies arrive in the same order: each final
    /// reply makes the next command the outstanding one.
    pub(crate) fn send_together(
        &mut self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.check()?;
        debug_assert!(self.outstanding.is_none(), "the caller reads every final reply");
        self.await_lag()?;
        self.check_clear()?;
        // No command of a flight has a secret.
        self.secrets.clear();
        self.send_more(commands, deadline)
    }

    /// Sends further command lines in one write, even while a reply is outstanding.
    pub(crate) fn send_more(
        &mut self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for command in commands {
            let line = command.encode()?;
            let line = self.as_read(&line)?;
            trace::sent(command.verb(), &line);
            bytes.extend_from_slice(&line);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        commands.iter().for_each(|command| self.answers.send(command.verb()));
        self.write(&bytes, deadline)?;
        let following =
            commands.iter().map(|command| (command.verb(), Exchange::new(command.verb())));
        self.following.extend(following);
        if self.outstanding.is_none() {
            self.counts.add_round_trip();
            self.outstanding = self.following.pop_front();
        }
        Ok(())
    }

    /// Writes all of `line`, in one call if the kernel accepts it.
    fn write(&mut self, line: &[u8], deadline: Deadline) -> Result<(), Error> {
        let mut rest = line;
        let mut is_sent = false;
        while !is_sent {
            let stream = self.stream.as_mut().ok_or(Error::Closed)?;
            let written = match rest {
                [] => stream.flush().map(|is_done| is_done.then_some(0)),
                rest => stream.write(rest),
            };
            let written = match written {
                Ok(None) => {
                    self.waiter.wait_for(stream.as_fd(), PollFlags::OUT, deadline).map(|()| None)
                }
                result => result,
            };
            match written {
                Ok(None) => {}
                Ok(Some(count)) => {
                    is_sent = rest.is_empty();
                    rest = rest.get(count..).expect("a write takes no more than it is given");
                }
                Err(error) => {
                    // The server may have said why before it closed the connection.
                    let said = self.check_clear();
                    self.close();
                    return Err(said.err().unwrap_or_else(|| closed_or(error)));
                }
            }
        }
        Ok(())
    }

    /// Waits until `other` is ready, or until a reply or part of one can be read. Returns whether
    /// `other` is ready.
    pub(crate) fn wait_with(
        &mut self,
        other: BorrowedFd<'_>,
        interest: PollFlags,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let control = self.stream.as_ref().ok_or(Error::Closed)?;
        if control.has_unread() {
            return self.go_on(deadline).map(|()| false);
        }
        // The kernel checks the control connection first, so data that arrived before a reply is
        // reported as ready too.
        let other = PollFd::from_borrowed_fd(other, interest);
        let mut fds = vec![PollFd::new(control, PollFlags::IN), other];
        let waited = self.named(self.waiter.wait(&mut fds, self.end_of_reply(deadline)));
        let is_ready = fds.get(1).is_some_and(|other| !other.revents().is_empty());
        match waited {
            Err(Error::Timeout(Phase::Reply(_))) if self.ends_reply(deadline) => Ok(false),
            waited => waited.map(|()| is_ready),
        }
    }

    /// Waits until a reply, or part of one, can be read here or on `other`. Fails if either client
    /// is cancelled.
    pub(crate) fn wait_beside(&self, other: &Self, deadline: Deadline) -> Result<(), Error> {
        let one = self.stream.as_ref().ok_or(Error::Closed)?;
        let two = other.stream.as_ref().ok_or(Error::Closed)?;
        if one.has_unread() || two.has_unread() {
            return self.go_on(deadline).and_then(|()| other.waiter.check());
        }
        let mut fds = vec![PollFd::new(one, PollFlags::IN), PollFd::new(two, PollFlags::IN)];
        fds.extend(other.waiter.canceller().map(|it| PollFd::new(it, PollFlags::IN)));
        self.named(self.waiter.wait(&mut fds, deadline))?;
        other.waiter.check()
    }

    /// Waits until a reply, or part of one, can be read.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<(), Error> {
        let stream = self.stream.as_ref().ok_or(Error::Closed)?;
        if stream.has_unread() {
            return self.go_on(deadline);
        }
        self.named(self.waiter.wait_for(stream.as_fd(), PollFlags::IN, deadline))
    }

    /// Adds the outstanding command to a timeout.
    pub(crate) fn named<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error {
            Error::Timeout(Phase::Reply(None)) => Error::Timeout(Phase::Reply(self.outstanding())),
            error => error,
        })
    }
}

// Leaves out the buffer, which is too long for a log.
ftp_proto::debug_fields!(ControlConnection { server, addresses, outstanding }..);

/// The time for which a reply to a command of a flight counts. Meanwhile, a file on the server can
/// change, and the server can close a port to which no client connects.
const FRESH: Duration = Duration::from_millis(500);

/// The replies to the commands of a flight that their callers have not asked for yet.
#[derive(Default)]
pub(crate) struct Answers(VecDeque<(Command, Reply, Instant)>);

impl Answers {
    pub(crate) fn add(&mut self, command: Command, reply: Reply) {
        self.0.push_back((command, reply, Instant::now()));
    }

    fn find(&self, command: &Command) -> Option<usize> {
        self.0.iter().position(|(asked, _, at)| asked == command && at.elapsed() < FRESH)
    }

    /// Returns the reply to `command`, and drops those before it.
    fn take(&mut self, command: &Command) -> Option<Reply> {
        let at = self.find(command)?;
        self.0.drain(..=at).next_back().map(|(_, reply, _)| reply)
    }

    /// Drops what another command may change.
    fn send(&mut self, verb: Verb) {
        let needs_port = verb.uses_data() || is_port(verb) || verb == Verb::Quit;
        self.0.retain(|(asked, ..)| !needs_port && is_port(asked.verb()));
    }
}

/// Returns whether a command agrees on a data connection.
const fn is_port(verb: Verb) -> bool {
    matches!(verb, Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port)
}

/// Returns whether a 1xx may begin what the command does.
fn starts(verb: Verb) -> bool {
    verb.uses_data() || is_listed(verb, ReplyCode::ABOUT_TO_OPEN_DATA)
}

/// Returns the secrets in a command line, as a server would repeat them: with 0xFF not doubled.
fn secrets_in(verb: Verb, line: &[u8]) -> Vec<Vec<u8>> {
    let Some(secret) = trace::secret_at(verb, line).and_then(|at| line.get(at..)) else {
        return Vec::new();
    };
    let secret = ReplyDecoder::undoubled(secret.trim_ascii_end().to_vec());
    let mut secrets = vec![secret.clone()];
    // A password can contain blanks, but one of several cannot.
    if verb == Verb::Site {
        secrets.extend(secret.split(|byte| *byte == b' ').map(<[u8]>::to_vec));
    }
    secrets
}

fn not_ftp(what: &'static str) -> Error {
    Error::Protocol(ParseError::new(what, 0, ParseErrorKind::UnexpectedByte))
}

/// Maps a reset to `Closed`: it is another way for a server to hang up.
fn closed_or(error: Error) -> Error {
    match error {
        // Few servers send close_notify on the control connection, and each reply is complete by
        // itself.
        Error::Tls(TlsError::TruncatedTls) => Error::Closed,
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
