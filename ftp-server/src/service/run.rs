//! The loop of a session, which carries out the decisions of handlers.

use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{LineEvent, ParseErrorKind, Reply, ReplyCode, Verb};

use super::away::Interrupted;
use super::control::{Control, InputArrival};
use super::login_watchdog::LoginWatch;
use super::register::{Registration, SessionHandle, Shown};
use crate::context::Current;
use crate::data::DataChannel;
use crate::log::{Event, EventKind, Refusal, SessionEnd};
use crate::net::admission::Permit;
use crate::net::socket;
use crate::net::socket::Ends;
use crate::session::{Access, Outcome, Session};
use crate::storage::{StorageResult, close_confinements, confine};
use crate::testing::ProtocolFault;
use crate::threads::{self, Handover, ProcessorClock};
use crate::tls::TlsInfo;
use crate::{command, deadline, limits, reply};

/// The beginning of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Greeting {
    /// The 220, in plaintext.
    Clear,
    /// A TLS handshake.
    Tls,
}

/// Serves one client, from the greeting until the session ends or must move to another thread.
pub(crate) fn run(
    registration: Registration,
    ends: Ends,
    greeting: Greeting,
    current: &Arc<Current>,
    permit: Permit,
) {
    let session = Session::new(Arc::clone(current), ends);
    Runner::boxed(registration, session, permit).contained(|mut runner| {
        runner.session.tell(EventKind::Connected { local: runner.session.peer.reached });
        let protected = match greeting {
            Greeting::Clear => Ok(()),
            Greeting::Tls => runner.protect_from_the_start(),
        };
        match protected.and_then(|()| runner.greet()) {
            Ok(()) => runner.serve_here(),
            Err(error) => runner.end(&Err(error)),
        }
    });
}

/// The data needed to report the end of a session after the session is dropped.
struct EndNotice {
    current: Arc<Current>,
    number: u64,
    /// The published state of the session, whose own state is gone after a panic.
    shown: Arc<Shown>,
    start: Instant,
}

impl EndNotice {
    fn tell(&self, end: SessionEnd<'_>) {
        let kind = EventKind::Ended { duration: self.start.elapsed(), end };
        let shown = self.shown.info(self.number);
        let event = Event {
            session: Some(self.number),
            user: shown.user.as_deref(),
            tls: shown.tls.map(|version| TlsInfo { version, resumed: false }),
            host: shown.host.as_ref(),
            ..Event::of_peer(shown.peer, kind)
        };
        self.current.get().observers.tell_unharmed(&event);
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    Continue,
    /// Continue in another thread, because this one may be confined to the files of a user who has
    /// logged out.
    Elsewhere,
    End,
}

/// A session with everything needed to serve it, in any thread.
pub(crate) struct Runner {
    pub(super) control: Control,
    pub(super) session: Session,
    /// The session's place among the connections.
    permit: Permit,
    registration: Registration,
    lines: u64,
    /// Number of invalid lines and unknown commands since the last known command.
    bad_lines: u32,
    /// Whether the session has entered a storage, so that the thread may be confined to that
    /// storage.
    is_inside: bool,
    start: Instant,
    /// Processor time of commands that is not charged yet.
    spent: Duration,
    /// Whether a command of this session was heavy, so that all later ones are measured.
    is_heavy: bool,
    /// Whether the network of the client is so deep in debt that its costs must be measured.
    is_in_debt: bool,
    /// The scripted fault of this command's transfer, in a test.
    pub(super) fault: Option<ProtocolFault>,
    /// The reply with which the session ends.
    last: Option<Reply>,
}

impl Runner {
    /// Returns a new runner on the heap. An idle session keeps every page of stack that its thread
    /// has touched. If this function were inlined, copies of the runner on the caller's stack would
    /// touch several more pages.
    #[inline(never)]
    fn boxed(registration: Registration, session: Session, permit: Permit) -> Box<Self> {
        Box::new(Self::new(registration, session, permit))
    }

    fn new(registration: Registration, mut session: Session, permit: Permit) -> Self {
        let strict = session.context.config.strict_crlf;
        let control = Control::new(Arc::clone(&registration.line), strict);
        session.peer.number = registration.number;
        Self {
            control,
            session,
            permit,
            registration,
            lines: 0,
            bad_lines: 0,
            is_inside: false,
            start: Instant::now(),
            spent: Duration::ZERO,
            is_heavy: false,
            is_in_debt: false,
            fault: None,
            last: None,
        }
    }

    /// Returns the session's handle in the register.
    pub(super) fn line(&self) -> &Arc<SessionHandle> {
        &self.registration.line
    }

    /// Starts with a TLS handshake; data connections are protected without `PROT`.
    fn protect_from_the_start(&mut self) -> io::Result<()> {
        self.session.peer.is_implicit = true;
        self.control.set_end(Some(self.session.login_deadline()));
        self.protect(true)
    }

    /// Starts TLS on the control connection. A failed handshake gets no reply, since the client
    /// would not understand it.
    fn protect(&mut self, with_data: bool) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::Unsupported);
        let acceptor = self.session.context.tls.as_ref().ok_or_else(gone)?;
        let limit = self.session.context.config.timeouts.tls_handshake;
        let host = self.session.host.clone();
        let (handshake, mut secured) = acceptor.protect_control(limit, host)?;
        secured.established(self.control.protect(handshake, limit)?);
        self.line().shown.set_tls(secured.info().map(|info| info.version));
        self.session.secured = Some(Box::new(secured));
        self.session.choose_host_by_tls();
        if with_data {
            self.session.transfer.has_buffer_size = true;
            self.session.transfer.is_private = true;
        }
        Ok(())
    }

    /// Answers an `AUTH`, and starts TLS. Ends the session if input follows the command.
    fn begin_protection(&mut self, reply: &Reply, with_data: bool) -> io::Result<Next> {
        if self.control.has_input() {
            return self.close("Nothing may follow AUTH before the TLS handshake");
        }
        self.control.send(reply)?;
        self.protect(with_data)?;
        // The thread may be confined to the files of the user who was logged in.
        Ok(if self.is_inside { Next::Elsewhere } else { Next::Continue })
    }

    fn greet(&mut self) -> io::Result<()> {
        let config = &self.session.context.config;
        // With implicit TLS, the handshake may have chosen a host already.
        let banner = self.session.host_banner().unwrap_or(&config.banner).to_owned();
        self.control.send(&Reply::new(ReplyCode::SERVICE_READY, banner))
    }

    fn ending(&self) -> EndNotice {
        EndNotice {
            current: Arc::clone(&self.session.peer.current),
            number: self.session.peer.number,
            shown: Arc::clone(&self.line().shown),
            start: self.start,
        }
    }

    /// Runs `act`, and reports a panic in it as the end of the session.
    fn contained(self: Box<Self>, act: impl FnOnce(Box<Self>)) {
        let ending = self.ending();
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            ending.tell(SessionEnd::Panicked);
        }
    }

    /// Serves the client in this thread, until the end or until another thread must continue.
    fn serve_here(mut self: Box<Self>) {
        let served = self.serve();
        if !matches!(served, Ok(Next::Elsewhere)) {
            return self.end(&served.map(drop));
        }
        self.is_inside = false;
        let context = Arc::clone(&self.session.context);
        context.relay.pass(self);
    }

    fn end(self: Box<Self>, served: &io::Result<()>) {
        let Self { mut control, session, permit, registration, start, last, .. } = *self;
        let misplaced = control.began_tls().then(|| {
            let why = "the client began TLS without AUTH TLS: set it to explicit TLS, or to a port of \
                       listen.implicit_tls";
            io::Error::new(io::ErrorKind::InvalidData, why)
        });
        let failure = served.as_ref().err().or(misplaced.as_ref());
        let end = failure.map_or(SessionEnd::Closed, SessionEnd::Failed);
        session.tell(EventKind::Ended { duration: start.elapsed(), end });
        // The client may reconnect as soon as it sees the last reply or the end. By then, its passive
        // port must be free, and it must no longer count as a session of its user or as a connection.
        let behind = session.peer.away.clone().filter(|away| away.is_behind(Duration::ZERO));
        drop(session);
        close_confinements();
        if behind.is_none() {
            permit.leave();
        }
        if served.is_ok() && last.is_none_or(|reply| control.send(&reply).is_ok()) {
            control.hang_up();
        }
        if behind.is_some() {
            // The place holds the socket, too.
            let _ = registration.line.stream.shutdown(Shutdown::Both);
        }
        // The session leaves the register last: until then, other threads can wake and cut it.
        drop(registration);
        // A call to the storage that still runs costs as much as a session, so it keeps the permit.
        if let Some(away) = behind {
            away.catch_up();
        }
    }

    /// Serves the client until the end, or until another thread must continue.
    fn serve(&mut self) -> io::Result<Next> {
        loop {
            // Lines that arrived during a transfer are still handled during a shutdown.
            let is_draining = self.session.context.is_draining();
            let must_end = self.line().is_cut() || self.line().is_dismissed();
            if must_end || is_draining && !self.control.has_waiting() {
                return self.close("Service closing");
            }
            let config = &self.session.context.config;
            let (start, limit, end) = match &self.session.login.access {
                Access::User(user) => {
                    (Instant::now(), user.idle.unwrap_or(config.timeouts.idle), None)
                }
                _ => {
                    let since = self.session.peer.logged_out_since;
                    (since, config.timeouts.login, Some(self.session.login_deadline()))
                }
            };
            self.control.set_end(end);
            let next = match self.next(start, limit) {
                InputArrival::Event(event) => {
                    if !self.line().begin_command() {
                        return self.close("Service closing");
                    }
                    let next = self.take(event)?;
                    self.line().end_command();
                    next
                }
                InputArrival::Ended => return self.end_early(),
                InputArrival::TimedOut => return self.close("Timeout"),
            };
            if next != Next::Continue {
                return Ok(next);
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.line().must_end(&self.session.context.register)
    }

    /// Waits for the next event until `limit` has passed since `start`. Closes a passive port that
    /// stays unused for [`limits::UNUSED_LISTENER`]. The data connection of a refused transfer ends
    /// with the next command, which shows that the client has got the reply.
    fn next(&mut self, start: Instant, limit: Duration) -> InputArrival {
        let refused = self.session.transfer.refused.take();
        let held = match (&refused, &self.session.transfer.channel) {
            (Some((_, longest)), _) => Some((Instant::now(), *longest)),
            // Lines that are waiting here arrived in time, even if a long digest has delayed their
            // handling.
            (None, Some(DataChannel::Passive(listener))) if !self.control.has_waiting() => {
                Some((listener.since(), limits::UNUSED_LISTENER))
            }
            (None, _) => None,
        };
        if let Some((since, longest)) = held
            && longest.saturating_sub(since.elapsed()) < limit.saturating_sub(start.elapsed())
        {
            match self.control.next(since, longest) {
                InputArrival::TimedOut => self.session.transfer.channel = None,
                arrival => return arrival,
            }
            drop(refused);
        }
        self.control.next(start, limit)
    }

    /// Ends the session with a 421, unless another thread has already closed the connection.
    pub(super) fn close(&mut self, why: &str) -> io::Result<Next> {
        if !self.line().has_given_way() {
            self.control.send(&Reply::new(ReplyCode::SERVICE_CLOSING, why))?;
        }
        Ok(Next::End)
    }

    /// Ends the session, with a 421 if the server wants it to end.
    pub(super) fn end_early(&mut self) -> io::Result<Next> {
        if self.is_closing() { self.close("Service closing") } else { Ok(Next::End) }
    }

    fn take(&mut self, event: LineEvent<'static>) -> io::Result<Next> {
        let is_blank = matches!(&event, LineEvent::Line(line) if line.trim_ascii().is_empty());
        let refusal = match event {
            LineEvent::Answer(bytes) => {
                self.control.send_bytes(&bytes)?;
                return Ok(Next::Continue);
            }
            LineEvent::Unterminated => {
                return self.close("Line too long");
            }
            LineEvent::TooLong => Reply::new(ReplyCode::UNKNOWN_COMMAND, "Line too long"),
            LineEvent::Malformed(error) if error.kind == ParseErrorKind::UnexpectedByte => {
                Reply::new(ReplyCode::UNKNOWN_COMMAND, "Line must end with CR LF")
            }
            LineEvent::Line(line) => {
                self.lines += 1;
                self.session.record(&line);
                if self.lines == 1 && is_http(&line) {
                    return self.close("This is not an HTTP server");
                }
                match Verb::split(&line) {
                    Ok((verb, argument)) if !matches!(verb, Verb::Other(_)) => {
                        self.bad_lines = 0;
                        return self.execute(verb, argument);
                    }
                    _ => Reply::new(ReplyCode::UNKNOWN_COMMAND, "Unknown command"),
                }
            }
            _ => Reply::new(ReplyCode::BAD_ARGUMENT, "CR, LF and NUL are not allowed"),
        };
        // The line may have been meant as any command: as the one that REST or RNFR was for, or as an
        // upload whose data the client has sent already. A person at a terminal just presses Enter.
        if !is_blank {
            self.session.forget_all_pending();
        }
        self.session.transfer.close_open_data();
        self.bad_lines += 1;
        if self.session.user().is_none() && self.bad_lines >= limits::BAD_LINES {
            return self.close("Too many unknown commands");
        }
        self.control.send(&refusal)?;
        Ok(Next::Continue)
    }

    fn execute(&mut self, verb: Verb, argument: &[u8]) -> io::Result<Next> {
        let start = Instant::now();
        if self.session.context.script.is_some()
            && let Some(next) = self.follow_script(verb)?
        {
            return Ok(next);
        }
        if !self.wait_for_processor() {
            return self.end_early();
        }
        let next = match self.decide(verb, argument)? {
            Some((outcome, None)) => self.act(verb, argument, outcome, start)?,
            Some((outcome, Some(interrupted))) => {
                self.give_up_command(verb, argument, outcome, interrupted, start)?
            }
            None => Next::End,
        };
        if next == Next::Continue && self.control.is_flooded() {
            return self.close("Too many commands during another command");
        }
        Ok(next)
    }

    /// Waits while the commands of the client's network have cost more processor time than their
    /// share. Returns `false` if the session must end before then.
    fn wait_for_processor(&mut self) -> bool {
        if self.session.user().is_none() {
            return true;
        }
        let wait = self.session.context.processor.wait(self.session.peer.ip());
        wait.is_zero() || self.control.pause(deadline::after(Instant::now(), wait))
    }

    /// Counts the processor time of a command of a logged-in user. Logins have turns of their own.
    fn spend(&mut self, time: Duration) {
        self.spent += time;
        if self.spent >= limits::PROCESSOR_STEP {
            let spent = std::mem::take(&mut self.spent);
            let peer = self.session.peer.ip();
            self.is_in_debt = self.session.context.processor.pay_time(peer, spent);
        }
    }

    /// Decides the outcome of a command, and records which user is logged in after it. Returns
    /// `None` if the session must end.
    fn decide(
        &mut self,
        verb: Verb,
        argument: &[u8],
    ) -> io::Result<Option<(Outcome, Option<Interrupted>)>> {
        let had_user = self.session.user().is_some();
        let voided = self.session.context.register.voided_logins();
        // Once a user is logged in, the login timeout no longer applies.
        let deciding = (!had_user && command::decides_login(verb)).then(|| {
            let deadline = self.session.login_deadline();
            // If commands are waiting, a client that has closed its side still expects their
            // replies.
            let has_more = self.control.has_input();
            let (line, context) = (Arc::clone(self.line()), Arc::clone(&self.session.context));
            let is_useless =
                move || line.must_end(&context.register) || !has_more && line.is_left();
            self.session.login.is_client_gone = Some(Box::new(is_useless));
            self.session.context.watchdog.watch(self.line(), deadline)
        });
        let is_measured = self.is_heavy || self.is_in_debt;
        let clock = had_user.then(|| ProcessorClock::start(is_measured));
        drop(reply::take_explanation());
        let away = self.session.peer.away.clone();
        let mut dispatch = || command::dispatch(&mut self.session, verb, argument);
        let (outcome, interrupted) = match away {
            Some(away) => away.attend(&mut self.control, verb, dispatch),
            None => (dispatch(), None),
        };
        if let Some(clock) = clock {
            // From its first heavy command on, and while its network is in debt, the processor time of
            // a session is measured. Otherwise it pays for the elapsed time, which needs no system call.
            self.is_heavy |= clock.is_heavy();
            self.spend(clock.elapsed());
        }
        self.session.login.is_client_gone = None;
        let entered = self.enter();
        if !deciding.is_none_or(LoginWatch::ends_in_time) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let user = self.session.user();
        if had_user != user.is_some() {
            let user = user.map(|user| &*user.name);
            let host = user.and_then(|_| self.session.shown_host());
            self.line().shown.set_login(user, host);
        }
        let has_user = user.is_some();
        // Asked after the login is shown: what made it void either sees the session, or is seen here.
        if !had_user && has_user && self.session.context.register.voided_logins() != voided {
            self.close("Users have changed, please log in again")?;
            return Ok(None);
        }
        // Told here, and not deeper in the stack: an idle session keeps every page of it that its
        // thread has touched.
        if !had_user && has_user {
            self.session.tell(EventKind::LoggedIn);
        }
        // This call precedes the reply, because the next command may arrive at once.
        if !self.permit.set_logged_in(has_user) {
            return Ok(None);
        }
        if let Err(error) = entered {
            log::error!("{}: cannot confine the session: {error}", self.session.peer.address);
            self.close("Service not available")?;
            return Ok(None);
        }
        Ok(Some((outcome, interrupted)))
    }

    /// Carries out the outcome of a command. Its frame, with those of transfers and of TLS, is never
    /// on the stack of a login: an idle session keeps every page that its thread has touched.
    #[inline(never)]
    fn act(
        &mut self,
        verb: Verb,
        argument: &[u8],
        outcome: Outcome,
        start: Instant,
    ) -> io::Result<Next> {
        let (reply, next) = match outcome {
            Outcome::Reply(reply) if self.is_inside && self.session.user().is_none() => {
                (reply, Next::Elsewhere)
            }
            Outcome::Reply(reply) => {
                self.session.tell_of_refusal(verb, argument, &reply, start);
                (reply, Next::Continue)
            }
            Outcome::Close(reply) => (reply, Next::End),
            Outcome::Late { reply, at, closes } => {
                if !self.control.pause(at.min(self.session.login_deadline())) {
                    return self.end_early();
                }
                (reply, if closes { Next::End } else { Next::Continue })
            }
            Outcome::Protect { reply, with_data } => {
                return self.begin_protection(&reply, with_data);
            }
            Outcome::Unprotect(reply) => {
                self.control.send(&reply)?;
                self.control.unprotect(self.session.context.config.timeouts.tls_handshake)?;
                self.line().shown.set_tls(None);
                return Ok(if self.is_inside { Next::Elsewhere } else { Next::Continue });
            }
            Outcome::Transfer(transfer, channel) => {
                self.line().set_busy(true);
                let next = self.transfer(verb, transfer, channel);
                self.line().set_busy(false);
                return next;
            }
            Outcome::Work(working) => {
                self.line().set_busy(true);
                let next = self.work(verb, working);
                self.line().set_busy(false);
                return next;
            }
        };
        log::debug!(
            "{} {} {verb}: {} in {:?}",
            self.session.peer.address,
            self.session.shown_user(),
            reply.code(),
            start.elapsed()
        );
        match next {
            Next::End => self.last = Some(reply),
            _ => self.control.send(&reply)?,
        }
        Ok(next)
    }

    /// Enters the storage of the logged-in user, unless the session has already entered it.
    fn enter(&mut self) -> StorageResult<()> {
        match self.session.user() {
            Some(user) if !self.is_inside => confine(&user.storage)?,
            _ => return Ok(()),
        }
        self.is_inside = true;
        Ok(())
    }
}

impl Handover for Runner {
    fn go_on(self: Box<Self>) {
        let handle = Arc::clone(self.line());
        let ending = self.ending();
        let session = move || self.contained(Self::serve_here);
        if let Err(error) = threads::start(None, limits::SESSION_STACK, session) {
            log::warn!("{}: cannot start a thread for the session: {error}", handle.shown.peer());
            if !handle.is_protected() {
                socket::refuse(&handle.stream, &Refusal::Resources.reply());
            }
            ending.tell(SessionEnd::Failed(&error));
        }
    }

    fn give_up(mut self: Box<Self>) {
        let closed = self.close("Service closing");
        self.end(&closed.map(drop));
    }
}

/// Returns whether a line is from an HTTP client, such as a browser that was tricked into sending
/// it (CVE-2021-3618).
fn is_http(line: &[u8]) -> bool {
    let mut words = line.rsplit(|byte| *byte == b' ');
    let is_request =
        words.next().is_some_and(|last| last.starts_with(b"HTTP/")) && words.count() >= 2;
    is_request || line.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"Host:"))
}

#[cfg(test)]
mod tests;
