//! The loop of a session, which acts on what handlers decide.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{Escaped, LineEvent, ParseErrorKind, Reply, ReplyCode, Verb};

use super::control::{Arrival, Control};
use super::outcome::Outcome;
use super::{Access, Session};
use crate::admission::Permit;
use crate::command;
use crate::context::{Context, Line, Registration};
use crate::data::DataChannel;
use crate::limits;
use crate::storage::StorageError;
use crate::watch::Watch;

/// Serves one client from the greeting to the end, in this thread as long as it is the right one.
pub(crate) fn run(
    registration: Registration,
    peer: SocketAddr,
    context: &Arc<Context>,
    permit: Permit,
) {
    let Ok(local) = registration.line.stream.local_addr() else { return };
    log::debug!("{peer}: connected to {local}");
    let mut runner =
        Runner::new(registration, Session::new(Arc::clone(context), peer, local), permit);
    match runner.greet() {
        Ok(()) => runner.go_on(),
        Err(error) => runner.end(Err(error)),
    }
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    Continue,
    /// It goes on in another thread: this one has been given to a user who has left.
    Elsewhere,
    End,
}

/// A session with all it needs to be served, by whatever thread.
pub(crate) struct Runner {
    pub(super) control: Control,
    pub(super) session: Session,
    /// Its place among the connections.
    permit: Permit,
    registration: Registration,
    /// How many lines came, and how many of the last ones were no commands.
    lines: u64,
    bad_lines: u32,
    /// A storage was entered: the thread may be confined to it.
    is_inside: bool,
}

impl Runner {
    fn new(registration: Registration, session: Session, permit: Permit) -> Self {
        let strict = session.context.config.strict_crlf;
        let control = Control::new(Arc::clone(&registration.line), strict);
        let (lines, bad_lines, is_inside) = (0, 0, false);
        Self { control, session, permit, registration, lines, bad_lines, is_inside }
    }

    /// The control connection as the register of sessions knows it.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.registration.line
    }

    fn greet(&mut self) -> io::Result<()> {
        let banner = self.session.context.config.banner.clone();
        self.control.send(&Reply::new(ReplyCode::SERVICE_READY, banner))
    }

    /// Serves the client in this thread, to the end or until it has to be another one.
    pub(crate) fn go_on(mut self) {
        let served = self.serve();
        if !matches!(served, Ok(Next::Elsewhere)) {
            return self.end(served.map(drop));
        }
        self.is_inside = false;
        let context = Arc::clone(&self.session.context);
        if let Err(mut runner) = context.relay.pass(Box::new(self)) {
            let closed = runner.close("Service closing");
            runner.end(closed);
        }
    }

    fn end(self, served: io::Result<()>) {
        let Self { mut control, session, mut permit, registration, .. } = self;
        let peer = session.peer;
        // Who sees the end of the session finds its port, its user's count and its place free.
        drop(session);
        permit.leave();
        match served {
            Ok(()) => {
                control.hang_up();
                log::debug!("{peer}: session ended");
            }
            Err(error) => log::info!("{peer}: session ended: {error}"),
        }
        // As long as the register knows the session, it can be woken and cut.
        drop(registration);
    }

    /// Serves the client until it ends, or until the session has to go on in another thread.
    fn serve(&mut self) -> io::Result<Next> {
        loop {
            // What waited for a transfer is looked at still, in the order of checks.
            if self.session.context.is_draining() && !self.control.has_waiting() {
                self.close("Service closing")?;
                return Ok(Next::End);
            }
            let config = &self.session.context.config;
            let (start, limit, end) = match self.session.access {
                Access::User(_) => (Instant::now(), config.idle, None),
                _ => {
                    let since = self.session.nobody_since;
                    (since, config.login, Some(self.session.login_deadline()))
                }
            };
            self.control.set_end(end);
            let next = match self.next(start, limit) {
                Arrival::Event(event) => self.take(event)?,
                Arrival::Ended if self.session.context.is_draining() => {
                    self.close("Service closing")?;
                    Next::End
                }
                Arrival::Ended => Next::End,
                Arrival::TimedOut => {
                    self.close("Timeout")?;
                    Next::End
                }
            };
            if next != Next::Continue {
                return Ok(next);
            }
        }
    }

    /// The next event, waited for until `limit` has passed since `start`. A port that was prepared
    /// for a transfer is not held as long as the session may be idle.
    fn next(&mut self, start: Instant, limit: Duration) -> Arrival {
        // What came in time is looked at in time, however long a digest before it took.
        if !self.control.has_waiting()
            && let Some(DataChannel::Passive(listener)) = &self.session.channel
        {
            let (since, unused) = (listener.since(), limits::UNUSED_LISTENER);
            if unused.saturating_sub(since.elapsed()) < limit.saturating_sub(start.elapsed()) {
                match self.control.next(since, unused) {
                    Arrival::TimedOut => self.session.channel = None,
                    arrival => return arrival,
                }
            }
        }
        self.control.next(start, limit)
    }

    /// Says 421, after which the connection closes.
    pub(super) fn close(&mut self, why: &str) -> io::Result<()> {
        self.control.send(&Reply::new(ReplyCode::SERVICE_CLOSING, why))
    }

    fn take(&mut self, event: LineEvent<'static>) -> io::Result<Next> {
        let refusal = match event {
            LineEvent::Answer(bytes) => {
                self.control.send_bytes(&bytes)?;
                return Ok(Next::Continue);
            }
            LineEvent::Unterminated => {
                self.close("Line too long")?;
                return Ok(Next::End);
            }
            LineEvent::TooLong => Reply::new(ReplyCode::UNKNOWN_COMMAND, "Line too long"),
            LineEvent::Malformed(error) if error.kind == ParseErrorKind::UnexpectedByte => {
                Reply::new(ReplyCode::UNKNOWN_COMMAND, "Line must end with CR LF")
            }
            LineEvent::Malformed(_) => {
                Reply::new(ReplyCode::BAD_ARGUMENT, "CR, LF and NUL are not allowed")
            }
            LineEvent::Line(line) => {
                self.lines += 1;
                if self.lines == 1 && is_http(&line) {
                    self.close("This is not an HTTP server")?;
                    return Ok(Next::End);
                }
                match Verb::split(&line) {
                    Ok((verb, argument)) if !matches!(verb, Verb::Other(_)) => {
                        self.bad_lines = 0;
                        return self.execute(verb, argument);
                    }
                    _ => {
                        self.session.forget_pending_of_unknown(&line);
                        Reply::new(ReplyCode::UNKNOWN_COMMAND, "Unknown command")
                    }
                }
            }
        };
        self.bad_lines += 1;
        if self.session.user().is_none() && self.bad_lines >= limits::BAD_LINES {
            self.close("Too many lines that are no commands")?;
            return Ok(Next::End);
        }
        self.control.send(&refusal)?;
        Ok(Next::Continue)
    }

    fn execute(&mut self, verb: Verb, argument: &[u8]) -> io::Result<Next> {
        let start = Instant::now();
        let deciding = matches!(verb, Verb::Pass | Verb::Acct).then(|| {
            let deadline = self.session.login_deadline();
            self.session.context.watchdog.watch(self.line(), deadline)
        });
        let outcome = command::dispatch(&mut self.session, verb, argument);
        let entered = self.enter();
        if !deciding.is_none_or(Watch::ends_in_time) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Before the client knows it: the next one may come at once.
        self.permit.set_logged_in(self.session.user().is_some());
        if let Err(error) = entered {
            log::error!("{}: cannot confine the session: {error}", self.session.peer);
            self.close("Service not available")?;
            return Ok(Next::End);
        }
        let (reply, next) = match outcome {
            Outcome::Reply(reply) if self.is_inside && self.session.user().is_none() => {
                (reply, Next::Elsewhere)
            }
            Outcome::Reply(reply) => (reply, Next::Continue),
            Outcome::Close(reply) => (reply, Next::End),
            Outcome::Late { reply, at, closes } => {
                if !self.control.pause(at.min(self.session.login_deadline())) {
                    if self.session.context.is_draining() {
                        self.close("Service closing")?;
                    }
                    return Ok(Next::End);
                }
                (reply, if closes { Next::End } else { Next::Continue })
            }
            Outcome::Transfer(transfer) => {
                self.line().set_busy(true);
                let next = self.transfer(verb, transfer);
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
            self.session.peer,
            self.session.shown_user(),
            reply.code(),
            start.elapsed()
        );
        self.control.send(&reply)?;
        Ok(next)
    }

    /// Gives the thread to the storage of a user who has just logged in, once.
    fn enter(&mut self) -> Result<(), StorageError> {
        match self.session.user() {
            Some(user) if !self.is_inside => user.storage.enter()?,
            _ => return Ok(()),
        }
        self.is_inside = true;
        Ok(())
    }
}

impl Session {
    /// The user for a log line.
    pub(super) fn shown_user(&self) -> String {
        self.user().map_or_else(|| "-".to_owned(), |user| Escaped(&user.name).to_string())
    }
}

/// A browser, or something that made one send this, has no business here (CVE-2021-3618).
fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"CONNECT ",
        b"OPTIONS ",
        b"TRACE ",
        b"PATCH ",
    ];
    let is_request = METHODS.iter().any(|method| line.starts_with(method))
        && line.windows(6).any(|window| window == b" HTTP/");
    is_request || line.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"Host:"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::admission::Admission;
    use crate::auth::UserTable;
    use crate::config::ServerConfig;
    use crate::data::PassivePorts;

    #[test]
    fn a_port_that_is_not_used_is_closed_dc_12() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(local).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let admission = Admission::new(1, 0);
        let permit = admission.admit(peer.ip()).unwrap();
        let context = Context::new(ServerConfig::default(), Arc::new(UserTable::new()), admission);
        let registration = context.register.enter(stream);
        let session = Session::new(Arc::clone(&context), peer, local);
        let mut runner = Runner::new(registration, session, permit);
        let now = Instant::now();
        let passive = || PassivePorts::new(None).listen(local, peer.ip()).unwrap();
        let almost = limits::UNUSED_LISTENER - Duration::from_millis(200);
        let long_ago = now.checked_sub(almost).expect("this machine runs for a minute");

        runner.session.channel = Some(DataChannel::Passive(passive().backdated(long_ago)));
        let idle = Duration::from_millis(100);
        assert!(matches!(runner.next(now, idle), Arrival::TimedOut));
        assert!(runner.session.channel.is_some(), "the session ends before the port does");
        let idle = Duration::from_millis(500);
        assert!(matches!(runner.next(now, idle), Arrival::TimedOut));
        assert!(now.elapsed() >= idle, "the port ends before the session does");
        assert!(runner.session.channel.is_none());

        runner.session.channel = Some(DataChannel::Passive(passive()));
        client.write_all(b"NOOP\r\n").unwrap();
        let arrival = runner.next(Instant::now(), Duration::from_secs(300));
        assert!(matches!(arrival, Arrival::Event(LineEvent::Line(_))));
        assert!(runner.session.channel.is_some());
    }

    #[test]
    fn http_is_recognised_fr_30() {
        for (line, want) in [
            ("GET / HTTP/1.1", true),
            ("POST /x y HTTP/1.0", true),
            ("Host: example.org", true),
            ("GET x", false),
            ("USER HTTP/", false),
            ("HOST example.org", false),
            ("", false),
        ] {
            assert_eq!(is_http(line.as_bytes()), want, "{line}");
        }
    }
}
