//! A question to `auth.program` about one login: a line of JSON for one process, and its answer.

use std::net::IpAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::LoginAttempt;
use crate::daemon::programs::pool::Job;
use crate::daemon::programs::{self as process, ProgramAnswer, Stuck};
use ftp_proto::text::json::Object;

/// Processes of `auth.program` that were killed but have not ended.
static STUCK: Stuck = Stuck::new();

/// The facts that the program gets about a login.
pub(super) struct Asked<'a> {
    pub(super) user: &'a [u8],
    pub(super) password: &'a [u8],
    pub(super) peer: IpAddr,
    /// Version of TLS on the control connection.
    pub(super) tls: Option<&'static str>,
    /// The argument of HOST, or the TLS server name if that is a configured host. If no hosts are
    /// configured, HOST accepts any name.
    pub(super) host: Option<String>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(attempt: &LoginAttempt<'a>) -> Self {
        Self {
            user: attempt.user,
            password: attempt.password,
            peer: attempt.peer.ip(),
            tls: attempt.tls.map(|tls| tls.version.as_str()),
            host: attempt.host.map(ToString::to_string),
        }
    }

    fn line(&self) -> String {
        Object::start()
            .name("user", self.user)
            .name("password", self.password)
            .text("peer", &self.peer.to_string())
            .text_if("tls", self.tls)
            .text_if("host", self.host.as_deref())
            .into_line()
    }
}

/// A process to start, and its outcome.
pub(super) struct Question {
    command: Arc<[String]>,
    /// Contains the password, so no message shows this text.
    input: String,
    limit: Duration,
    /// The time at which the session gives up.
    deadline: Instant,
    answer: ProgramAnswer<ProgramOutcome>,
}

/// The output of the program, or why there is no answer.
pub(super) type ProgramOutcome = Result<Vec<u8>, String>;

impl Question {
    pub(super) fn new(
        command: &Arc<[String]>,
        asked: &Asked<'_>,
        limit: Duration,
        deadline: Instant,
    ) -> Self {
        Self {
            command: Arc::clone(command),
            input: asked.line(),
            limit,
            deadline,
            answer: ProgramAnswer::new(),
        }
    }

    /// Waits for the answer, until the session's login times out. If `is_gone` returns `true`, ends
    /// the program and returns `None`.
    pub(super) fn wait(&self, is_gone: &dyn Fn() -> bool) -> Option<ProgramOutcome> {
        let mut pause = Duration::ZERO;
        loop {
            if let Some(outcome) = self.answer.wait(pause) {
                return Some(outcome);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(Err(LATE.to_owned()));
            }
            if is_gone() {
                self.answer.abandon();
                return None;
            }
            pause = left.min(LOOK);
        }
    }

    /// Settles the question, unless it is settled already.
    pub(super) fn settle(&self, outcome: ProgramOutcome) {
        self.answer.settle(outcome);
    }
}

/// Pause between two checks of whether the client has gone.
const LOOK: Duration = Duration::from_millis(250);

pub(super) const LATE: &str = "the login timed out before the program answered";

const GONE: &str = "the client has gone";

impl Job for Question {
    /// Logins wait for their turn before they get into the queue.
    fn user(&self) -> &[u8] {
        &[]
    }

    fn size(&self) -> usize {
        self.input.len()
    }

    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if self.answer.is_abandoned() {
            return Err(GONE.to_owned());
        }
        let Some((program, arguments)) = self.command.split_first().filter(|_| !left.is_zero())
        else {
            return Err(LATE.to_owned());
        };
        let input = process::input(&self.input).map_err(|error| error.to_string())?;
        let mut command = process::command(program);
        // The program's standard error may show the password.
        command.args(arguments).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
        let is_over = || is_over() || self.answer.is_abandoned();
        let answer = process::ask(&mut command, self.limit.min(left), &is_over, &STUCK)?;
        self.settle(Ok(answer));
        Ok(())
    }

    fn fail(&self, why: &str) {
        self.settle(Err(why.to_owned()));
    }

    fn refuse(self: Arc<Self>) {
        let why = "not started: the server is stopping";
        self.settle(Err(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_by(peer: IpAddr) -> Asked<'static> {
        Asked { user: b"u", password: b"p", peer, tls: None, host: None }
    }

    #[test]
    fn the_program_receives_one_json_line() {
        let asked = Asked {
            user: b"anna",
            password: b"a \"\\\xe9",
            peer: [192, 0, 2, 1].into(),
            tls: Some("1.3"),
            host: Some("ftp.example.org".to_owned()),
        };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"a \\\"\\\\\u{fffd}\",\
             \"password_b64\":\"YSAiXOk=\",\"peer\":\"192.0.2.1\",\"tls\":\"1.3\",\
             \"host\":\"ftp.example.org\"}\n"
        );
        let asked = Asked { password: b"\0", tls: None, host: None, ..asked };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"\\u0000\",\"peer\":\"192.0.2.1\"}\n"
        );
    }

    #[test]
    fn a_late_or_abandoned_login_does_not_start_the_program() {
        let asked = asked_by([192, 0, 2, 1].into());
        let command: Arc<[String]> = Arc::new(["/bin/cat".to_owned()]);
        let limit = Duration::from_secs(60);
        let late = Question::new(&command, &asked, limit, Instant::now());
        assert_eq!(late.run(&|| false), Err(LATE.to_owned()));
        assert_eq!(late.wait(&|| false), Some(Err(LATE.to_owned())));
        let early = Question::new(&command, &asked, limit, Instant::now() + limit);
        assert_eq!(early.run(&|| false), Ok(()));
        // The first outcome counts.
        early.fail("later");
        assert_eq!(early.wait(&|| true), Some(Ok(asked.line().into_bytes())));
        // The client has gone before the program starts.
        let abandoned = Question::new(&command, &asked, limit, Instant::now() + limit);
        assert_eq!(abandoned.wait(&|| true), None);
        assert_eq!(abandoned.run(&|| false), Err(GONE.to_owned()));
    }
}
