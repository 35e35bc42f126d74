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
use crate::context::{Context, Line};
use crate::data::{self, DataChannel};
use crate::limits;

/// Serves one client from the greeting to the end.
pub(crate) fn run(line: &Line, peer: SocketAddr, context: &Arc<Context>, permit: &mut Permit) {
    let Ok(local) = line.stream.local_addr() else { return };
    log::debug!("{peer}: connected to {local}");
    let session = Session::new(Arc::clone(context), peer, local);
    let mut runner = Runner::new(line, session, permit);
    let served = runner.serve();
    let Runner { mut control, session, permit, .. } = runner;
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
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    Continue,
    End,
}

pub(super) struct Runner<'a> {
    line: &'a Line,
    pub(super) control: Control<'a>,
    pub(super) session: Session,
    /// Its place among the connections.
    permit: &'a mut Permit,
    /// How many lines came, and how many of the last ones were no commands.
    lines: u64,
    bad_lines: u32,
}

impl<'a> Runner<'a> {
    fn new(line: &'a Line, session: Session, permit: &'a mut Permit) -> Self {
        Self { line, control: Control::new(line), session, permit, lines: 0, bad_lines: 0 }
    }

    fn serve(&mut self) -> io::Result<()> {
        let banner = self.session.context.config.banner.clone();
        self.control.send(&Reply::new(ReplyCode::SERVICE_READY, banner))?;
        loop {
            // What waited for a transfer is looked at still, in the order of checks.
            if self.session.context.is_draining() && !self.control.has_waiting() {
                return self.close("Service closing");
            }
            let config = &self.session.context.config;
            let (start, limit, end) = match self.session.access {
                Access::User(_) => (Instant::now(), config.idle, None),
                _ => {
                    let since = self.session.nobody_since;
                    (since, config.login, Some(data::deadline(since, config.login)))
                }
            };
            self.control.set_end(end);
            let next = match self.next(start, limit) {
                Arrival::Event(event) => self.take(event)?,
                Arrival::Ended if self.session.context.is_draining() => {
                    return self.close("Service closing");
                }
                Arrival::Ended => Next::End,
                Arrival::TimedOut => return self.close("Timeout"),
            };
            if next == Next::End {
                return Ok(());
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
        let outcome = command::dispatch(&mut self.session, verb, argument);
        // Before the client knows it: the next one may come at once.
        self.permit.set_logged_in(self.session.user().is_some());
        let (reply, next) = match outcome {
            Outcome::Reply(reply) => (reply, Next::Continue),
            Outcome::Close(reply) => (reply, Next::End),
            Outcome::Transfer(transfer) => {
                self.line.set_busy(true);
                let next = self.transfer(verb, transfer);
                self.line.set_busy(false);
                return next;
            }
            Outcome::Digest(digesting) => {
                self.line.set_busy(true);
                let next = self.digest(*digesting);
                self.line.set_busy(false);
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
        let mut permit = admission.admit(peer.ip()).unwrap();
        let context = Context::new(ServerConfig::default(), Arc::new(UserTable::new()), admission);
        let registration = context.register(stream);
        let session = Session::new(Arc::clone(&context), peer, local);
        let mut runner = Runner::new(&registration.line, session, &mut permit);
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
