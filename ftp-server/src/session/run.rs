//! The loop of a session: the only file that acts on what handlers decide.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{Escaped, LineEvent, ParseErrorKind, Reply, ReplyCode, Verb};

use super::control::{Arrival, Control, Look, Notice};
use super::outcome::{Direction, Outcome, Transfer};
use super::{Access, Session};
use crate::command;
use crate::context::{Context, Line};
use crate::data::{self, DataChannel, Ended, Interruption, Monitor, OpenError};
use crate::digest::Digesting;
use crate::storage::StreamEnd;
use crate::{limits, reply};

/// Serves one client from the greeting to the end.
pub(crate) fn run(line: &Line, peer: SocketAddr, context: &Arc<Context>) {
    let Ok(local) = line.stream.local_addr() else { return };
    log::debug!("{peer}: connected to {local}");
    let session = Session::new(Arc::clone(context), peer, local);
    let mut runner = Runner::new(line, session);
    match runner.serve() {
        Ok(()) => {
            runner.control.hang_up();
            log::debug!("{peer}: session ended");
        }
        Err(error) => log::info!("{peer}: session ended: {error}"),
    }
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Continue,
    End,
}

struct Runner<'a> {
    line: &'a Line,
    control: Control<'a>,
    session: Session,
    /// How many lines came, and how many of the last ones were no commands.
    lines: u64,
    bad_lines: u32,
}

impl<'a> Runner<'a> {
    fn new(line: &'a Line, session: Session) -> Self {
        Self { line, control: Control::new(line), session, lines: 0, bad_lines: 0 }
    }

    fn serve(&mut self) -> io::Result<()> {
        let banner = self.session.context.config.banner.clone();
        self.control.send(&Reply::new(ReplyCode::SERVICE_READY, banner))?;
        loop {
            if self.session.context.is_draining() {
                return self.close("Service closing");
            }
            let config = &self.session.context.config;
            let (start, limit) = match self.session.access {
                Access::User(_) => (Instant::now(), config.idle),
                _ => (self.session.nobody_since, config.login),
            };
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
        if let Some(DataChannel::Passive(listener)) = &self.session.channel {
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
    fn close(&mut self, why: &str) -> io::Result<()> {
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

    /// 150, the data connection, the data, and the final reply when the data connection is
    /// closed.
    fn transfer(&mut self, verb: Verb, transfer: Transfer) -> io::Result<Next> {
        let Transfer { path, announcement, channel, direction } = transfer;
        let start = Instant::now();
        self.control.send(&Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, announcement))?;
        let (local, peer) = (self.session.local, self.session.peer.ip());
        let config = &self.session.context.config;
        let (connect, stall) = (config.data_connect, config.stall);
        let mut watch = Watch { control: &mut self.control, session: &self.session, failed: None };
        let opened = match channel {
            Some(channel) => channel.open(local, peer, connect, &mut watch),
            None => Err(OpenError::Failed(io::ErrorKind::NotConnected.into())),
        };
        let mut moved = 0;
        let outcome = match (opened, direction) {
            (Ok(stream), Direction::Send(mut outgoing)) => {
                let ended;
                (moved, ended) = data::send(&stream, &mut *outgoing, stall, &mut watch);
                Ok(ended)
            }
            (Ok(stream), Direction::Receive(mut upload, ascii)) => {
                let ended;
                (moved, ended) = data::receive(&stream, &mut *upload, ascii, stall, &mut watch);
                Ok(match ended {
                    Ended::Complete => match upload.commit() {
                        Ok(()) => Ended::Complete,
                        Err(error) => Ended::Storage(error),
                    },
                    ended => {
                        upload.abort(stream_end(&ended));
                        ended
                    }
                })
            }
            (Err(error), direction) => {
                if let Direction::Receive(upload, _) = direction {
                    upload.abort(match &error {
                        OpenError::Interrupted(Interruption::Abort) => StreamEnd::Abort,
                        _ => StreamEnd::Cut,
                    });
                }
                match error {
                    OpenError::Interrupted(interruption) => Ok(Ended::Interrupted(interruption)),
                    OpenError::Failed(error) => Err(error),
                }
            }
        };
        if let Some(error) = watch.failed {
            return Err(error);
        }
        let (what, replies, next) = self.conclude(&outcome);
        log::info!(
            "{} {} {verb} {path}: {what}, {moved} bytes in {:.3} s",
            self.session.peer,
            self.session.shown_user(),
            start.elapsed().as_secs_f64()
        );
        self.finish(&replies, next)
    }

    /// A digest takes long: until it is there the control connection is looked at as during a
    /// transfer, for `ABOR` and `STAT`, and for its end.
    fn digest(&mut self, mut digesting: Digesting) -> io::Result<Next> {
        let path = self.session.resolve(digesting.pathname());
        let start = Instant::now();
        let mut watch = Watch { control: &mut self.control, session: &self.session, failed: None };
        let ended = loop {
            if let Some(interruption) = watch.look(digesting.done()) {
                break Err(interruption);
            }
            if let Some(reply) = digesting.step() {
                break Ok(reply);
            }
        };
        let done = digesting.done();
        // It is over for those who wait for their turn before the client can know.
        drop(digesting);
        if let Some(error) = watch.failed {
            return Err(error);
        }
        let (what, replies, next) = match ended {
            Ok(reply) if reply.code() == ReplyCode::FILE_STATUS => {
                ("complete", vec![reply], Next::Continue)
            }
            Ok(reply) => ("refused", vec![reply], Next::Continue),
            Err(interruption) => self.conclude(&Ok(Ended::Interrupted(interruption))),
        };
        log::info!(
            "{} {} HASH {path}: {what}, {done} bytes in {:.3} s",
            self.session.peer,
            self.session.shown_user(),
            start.elapsed().as_secs_f64()
        );
        self.finish(&replies, next)
    }

    /// Sends the last replies of what took long.
    fn finish(&mut self, replies: &[Reply], next: Next) -> io::Result<Next> {
        if !replies.is_empty() {
            let bytes: Vec<u8> = replies.iter().flat_map(Reply::encode).collect();
            self.control.send_bytes(&bytes)?;
        }
        if next == Next::Continue && self.control.is_flooded() {
            self.close("Too many commands during a transfer")?;
            return Ok(Next::End);
        }
        Ok(next)
    }

    /// What is said after the 150.
    fn conclude(&self, outcome: &Result<Ended, io::Error>) -> (&'static str, Vec<Reply>, Next) {
        let aborted = |text| Reply::new(ReplyCode::TRANSFER_ABORTED, text);
        let (what, replies) = match outcome {
            Ok(Ended::Complete) => {
                ("complete", vec![Reply::new(ReplyCode::TRANSFER_COMPLETE, "Transfer complete")])
            }
            Ok(Ended::Interrupted(Interruption::Abort)) => {
                let done = Reply::new(ReplyCode::TRANSFER_COMPLETE, "Abort successful");
                ("abor", vec![aborted("Transfer aborted"), done])
            }
            Ok(Ended::Interrupted(Interruption::ControlLost)) => {
                let replies = if self.session.context.is_draining() {
                    let closing = Reply::new(ReplyCode::SERVICE_CLOSING, "Service closing");
                    vec![aborted("Transfer aborted"), closing]
                } else {
                    vec![]
                };
                return ("control-lost", replies, Next::End);
            }
            Ok(Ended::Broken(error)) => {
                log::debug!("{}: data connection: {error}", self.session.peer);
                ("reset", vec![aborted("Data connection lost")])
            }
            Ok(Ended::Stalled) => ("stall", vec![aborted("Data connection stalled")]),
            Ok(Ended::Storage(error)) => {
                log::warn!("{}: storage: {error}: {:?}", self.session.peer, error.source);
                ("storage", vec![reply::transfer_failure(error)])
            }
            Err(error) => {
                log::debug!("{}: no data connection: {error}", self.session.peer);
                let text = "Cannot open data connection";
                ("no-data", vec![Reply::new(ReplyCode::NO_DATA_CONNECTION, text)])
            }
        };
        (what, replies, Next::Continue)
    }
}

fn stream_end(ended: &Ended) -> StreamEnd {
    match ended {
        Ended::Interrupted(Interruption::Abort) => StreamEnd::Abort,
        Ended::Storage(_) => StreamEnd::Failed,
        _ => StreamEnd::Cut,
    }
}

/// Watches the control connection while data moves, and answers `STAT`.
struct Watch<'a, 'b> {
    control: &'a mut Control<'b>,
    session: &'a Session,
    /// Why an answer could not be written.
    failed: Option<io::Error>,
}

impl Monitor for Watch<'_, '_> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.control.descriptor()
    }

    fn look(&mut self, moved: u64) -> Option<Interruption> {
        let mut look = Look::new();
        loop {
            match self.control.look(&mut look)? {
                Notice::Abort => return Some(Interruption::Abort),
                Notice::Ended => return Some(Interruption::ControlLost),
                Notice::Status => {
                    let status = command::status(self.session, Some(moved));
                    if let Err(error) = self.control.send(&status) {
                        self.failed = Some(error);
                        return Some(Interruption::ControlLost);
                    }
                }
            }
        }
    }
}

impl Session {
    /// The user for a log line.
    fn shown_user(&self) -> String {
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
    use crate::data::PassiveListener;

    #[test]
    fn a_port_that_is_not_used_is_closed_dc_12() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(local).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let admission = Admission::new(1, 0);
        let context = Context::new(ServerConfig::default(), Arc::new(UserTable::new()), admission);
        let registration = context.register(stream);
        let session = Session::new(Arc::clone(&context), peer, local);
        let mut runner = Runner::new(&registration.line, session);
        let now = Instant::now();
        let passive = || PassiveListener::bind(local).unwrap();
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
