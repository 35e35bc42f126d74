//! One login that the program decides about: a line of JSON for one process, and its answer.

use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ftp_server::LoginAttempt;

use crate::cmd::serve::programs::pool::Job;
use crate::cmd::serve::programs::process::{self, Stuck};
use crate::cmd::serve::programs::queue::Queued;
use crate::lock::lock;
use crate::report::json::Object;

/// Programs of logins that cannot be killed.
static STUCK: Stuck = Stuck::new();

/// What the program is told.
pub(super) struct Asked<'a> {
    pub(super) user: &'a [u8],
    pub(super) password: &'a [u8],
    pub(super) peer: IpAddr,
    /// Version of TLS on the control connection.
    pub(super) tls: Option<&'static str>,
    /// Argument of HOST, or a configured host by the TLS server name. Without configured hosts, HOST
    /// takes any name.
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
        Object::new()
            .name("user", self.user)
            .name("password", self.password)
            .text("peer", &self.peer.to_string())
            .text_if("tls", self.tls)
            .text_if("host", self.host.as_deref())
            .into_line()
    }

    /// Returns the host or network that takes turns with others: one that guesses passwords does
    /// not delay them much.
    fn turn(&self) -> Vec<u8> {
        match self.peer.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
        }
    }
}

/// A process to start, and what became of it.
pub(super) struct Question {
    command: Arc<[String]>,
    /// Holds the password, so it is in no message.
    input: String,
    turn: Vec<u8>,
    limit: Duration,
    /// The session gives up then.
    deadline: Instant,
    outcome: Mutex<Option<Outcome>>,
    settled: Condvar,
}

/// What the program wrote, or why there is no answer.
pub(super) type Outcome = Result<Vec<u8>, String>;

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
            turn: asked.turn(),
            limit,
            deadline,
            outcome: Mutex::new(None),
            settled: Condvar::new(),
        }
    }

    /// Waits for the answer, until the session's login times out.
    pub(super) fn wait(&self) -> Outcome {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let outcome = lock(&self.outcome);
        let waited = self.settled.wait_timeout_while(outcome, left, |outcome| outcome.is_none());
        let (mut outcome, _) = waited.unwrap_or_else(PoisonError::into_inner);
        outcome.take().unwrap_or_else(|| Err(LATE.to_owned()))
    }

    /// Settles the question, unless it is settled.
    pub(super) fn settle(&self, outcome: Outcome) {
        lock(&self.outcome).get_or_insert(outcome);
        self.settled.notify_all();
    }
}

const LATE: &str = "the login timed out before the program answered";

impl Queued for Question {
    fn user(&self) -> &[u8] {
        &self.turn
    }

    fn size(&self) -> usize {
        self.input.len()
    }
}

impl Job for Question {
    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let Some((program, arguments)) = self.command.split_first().filter(|_| !left.is_zero())
        else {
            return Err(LATE.to_owned());
        };
        let input = process::input(&self.input).map_err(|error| error.to_string())?;
        let mut command = process::command(program);
        // Its standard error may show the password.
        command.args(arguments).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
        let answer = process::ask(&mut command, self.limit.min(left), is_over, &STUCK)?;
        self.settle(Ok(answer));
        Ok(())
    }

    fn fail(&self, why: &str) {
        self.settle(Err(why.to_owned()));
    }

    fn refuse(self: Arc<Self>) {
        self.settle(Err("not started: too many logins wait, or the server is stopping".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_told_one_line() {
        let asked = Asked {
            user: b"anna",
            password: b"a \"\\\xe9",
            peer: [192, 0, 2, 1].into(),
            tls: Some("TLSv1.3"),
            host: Some("ftp.example.org".to_owned()),
        };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"a \\\"\\\\\u{fffd}\",\
             \"password_b64\":\"YSAiXOk=\",\"peer\":\"192.0.2.1\",\"tls\":\"TLSv1.3\",\
             \"host\":\"ftp.example.org\"}\n"
        );
        let asked = Asked { password: b"\0", tls: None, host: None, ..asked };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"\\u0000\",\"peer\":\"192.0.2.1\"}\n"
        );
    }

    #[test]
    fn hosts_take_turns_and_networks_of_ipv6() {
        let turn = |peer: &str| {
            let peer = peer.parse().unwrap();
            Asked { user: b"u", password: b"p", peer, tls: None, host: None }.turn()
        };
        assert_eq!(turn("192.0.2.1"), [192, 0, 2, 1]);
        assert_eq!(turn("::ffff:192.0.2.1"), turn("192.0.2.1"));
        assert_ne!(turn("192.0.2.2"), turn("192.0.2.1"));
        assert_eq!(turn("2001:db8::1"), turn("2001:db8::2"));
        assert_ne!(turn("2001:db8:0:1::1"), turn("2001:db8::1"));
    }

    #[test]
    fn one_that_comes_too_late_starts_nothing() {
        let asked = Asked {
            user: b"u",
            password: b"p",
            peer: [192, 0, 2, 1].into(),
            tls: None,
            host: None,
        };
        let command: Arc<[String]> = Arc::new(["/bin/cat".to_owned()]);
        let limit = Duration::from_secs(60);
        let late = Question::new(&command, &asked, limit, Instant::now());
        assert_eq!(late.run(&|| false), Err(LATE.to_owned()));
        assert_eq!(late.wait(), Err(LATE.to_owned()));
        let early = Question::new(&command, &asked, limit, Instant::now() + limit);
        assert_eq!(early.run(&|| false), Ok(()));
        // The first outcome counts.
        early.fail("later");
        assert_eq!(early.wait(), Ok(asked.line().into_bytes()));
    }
}
