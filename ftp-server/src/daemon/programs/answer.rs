//! The answer of a program to a session that waits for it, and messages about programs that give
//! none.

use std::path::Path;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ftp_proto::Escaped;
use ftp_proto::text::values::shown_path;

use crate::daemon::logging::LOG;
use crate::lock::{Lock, unpoisoned};
use crate::net::complaints::Ration;

/// An answer that one thread waits for and another one gives.
pub(crate) struct ProgramAnswer<T> {
    given: Lock<Option<T>>,
    settled: Condvar,
    is_abandoned: AtomicBool,
}

impl<T> ProgramAnswer<T> {
    pub(crate) const fn new() -> Self {
        let is_abandoned = AtomicBool::new(false);
        Self { given: Lock::new(None), settled: Condvar::new(), is_abandoned }
    }

    /// Waits for the answer, at most for `limit`, and takes it.
    pub(crate) fn wait(&self, limit: Duration) -> Option<T> {
        let is_missing = |given: &mut Option<T>| given.is_none();
        let waited = self.settled.wait_timeout_while(self.given.lock(), limit, is_missing);
        unpoisoned(waited).0.take()
    }

    /// Gives the answer, unless there is one.
    pub(crate) fn settle(&self, answer: T) {
        self.given.lock().get_or_insert(answer);
        self.settled.notify_all();
    }

    /// Notes that an answer is useless: the client has gone.
    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::SeqCst)
    }
}

/// Largest number of messages in a period about one program.
const MESSAGES: u32 = 20;

/// Length of a period.
const PERIOD: Duration = Duration::from_secs(10);

/// The messages about a program that gave no valid answer.
#[derive(Default)]
pub(crate) struct Failures(Lock<Ration>);

impl Failures {
    /// Logs why the program in the setting `key` gave no valid answer for a user, unless there are
    /// too many such messages.
    pub(crate) fn log(&self, key: &str, program: &[String], user: &[u8], why: &str) {
        let due = self.0.lock().due(MESSAGES, PERIOD, Instant::now());
        let Some(unsaid) = due else { return };
        let program = program.first().map_or_else(String::new, |path| shown_path(Path::new(path)));
        let (user, why) = (Escaped(user), Escaped(why.as_bytes()));
        let others = match unsaid {
            0 => String::new(),
            count => format!("; earlier failures without a message: {count}"),
        };
        log::error!(target: LOG, "{key}: {program} for {user}: {why}{others}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_rate_limited_and_counted() {
        let mut failures = Ration::default();
        let mut due = |now| failures.due(MESSAGES, PERIOD, now);
        let start = Instant::now();
        let said = (0..1_000).filter_map(|_| due(start)).collect::<Vec<_>>();
        assert_eq!(said, [0; 20]);
        assert_eq!(due(start + PERIOD / 2), None);
        assert_eq!(due(start + PERIOD), Some(981));
        assert_eq!(due(start + PERIOD), Some(0));
    }

    #[test]
    fn the_first_answer_counts_and_is_taken_once() {
        let answer = ProgramAnswer::new();
        assert_eq!(answer.wait(Duration::ZERO), None);
        answer.settle(1);
        answer.settle(2);
        assert_eq!(answer.wait(Duration::from_secs(60)), Some(1));
        assert_eq!(answer.wait(Duration::ZERO), None);
    }
}
