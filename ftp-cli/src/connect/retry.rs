//! `--retry`: the options for the library's loop of attempts, and the messages about them.

use std::fmt::Display;
use std::time::{Duration, Instant};

use ftp_client::{Backoff, Canceller, Patience, Repeat, Upcoming};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::console::messages::Messages;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::{Failure, Recovery};
use crate::options::Options;
use crate::options::values;
use crate::report::events::Events;
use crate::report::json::Object;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retrying {
    /// Number of retries after the first attempt.
    more: u32,
    /// Pause before each retry; `None` for growing pauses.
    delay: Option<Duration>,
    /// End of the time for the whole run.
    end: Option<Instant>,
}

/// Receiver of retry messages, with the canceller that ends a pause.
pub(crate) struct RetryObserver<'a> {
    pub(crate) messages: &'a Messages,
    pub(crate) events: &'a Events,
    pub(crate) canceller: Option<&'a Canceller>,
    pub(crate) quiet: bool,
}

impl<'a> RetryObserver<'a> {
    pub(crate) fn new(options: &Options, stdio: &'a Stdio, cleanup: &'a Cleanup) -> Self {
        let messages = &stdio.messages;
        let events = &stdio.events;
        Self { messages, events, canceller: cleanup.canceller(), quiet: options.is_quiet() }
    }
}

impl Retrying {
    /// Reads `--retry` and `--retry-delay`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for `--retry-delay` without `--retry`.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let number = |text: &str| {
            text.parse().map_err(|_| format!("invalid number \"{text}\": expected a whole number"))
        };
        let more = options.parsed("retry", number)?.unwrap_or(0);
        let delay = options.parsed("retry-delay", values::duration)?;
        if options.last_typed(&["retry-delay"]).is_some() && more == 0 {
            return Err(Failure::usage("--retry-delay needs --retry"));
        }
        Ok(Self { more, delay, end: options.end()? })
    }

    /// Returns whether failures are retried at all.
    pub(crate) const fn is_on(self) -> bool {
        self.more > 0
    }

    /// Returns the memory of one command that removes, makes or renames, for all its attempts.
    pub(crate) fn memory(self) -> Repeat {
        if self.is_on() { Repeat::new() } else { Repeat::single() }
    }

    /// Calls `attempt` until it succeeds, fails permanently, or has no attempts left. The argument
    /// of `attempt` tells whether to start from byte 0. It is `true` after an integrity failure,
    /// because the bytes at the target may be wrong. An integrity failure is retried once. `name`
    /// identifies the item in messages that do not name it, and `fields` adds to each event the
    /// fields that identify it.
    ///
    /// # Errors
    ///
    /// Returns the last failure. If it is not a reply of the server, its message also has the last
    /// reply that made an earlier attempt fail: some servers report a full disk and disconnect.
    pub(crate) fn run<T>(
        self,
        witness: &RetryObserver<'_>,
        name: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
        mut attempt: impl FnMut(bool) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut refusal = None;
        let mut announce = |next: &Upcoming<'_, Failure>| {
            if next.why.code.is_some() {
                refusal = Some(next.why.message.clone());
            }
            self.announce((next.attempt, next.why, next.pause), witness, name, fields);
        };
        let mut has_reconnected = false;
        let done = self.patience(witness.canceller).run(&mut announce, |now| {
            match attempt(now.from_start()) {
                Err(failure)
                    if failure.recovery == Recovery::Reconnect
                        && !has_reconnected
                        && witness.messages.replies().may_reconnect() =>
                {
                    has_reconnected = true;
                    attempt(now.from_start())
                }
                done => done,
            }
        });
        done.map_err(|failure| failure.after_refusal(refusal))
    }

    /// Returns the attempts, their pauses, and what ends them.
    pub(crate) fn patience(self, canceller: Option<&Canceller>) -> Patience {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        Patience::new()
            .attempts(self.more.saturating_add(1))
            .backoff(self.backoff())
            .scattered(false)
            .canceller(canceller.cloned())
            .overall(left)
    }

    /// Returns the pauses before retries.
    fn backoff(self) -> Backoff {
        self.delay.map_or_else(Backoff::default, |delay| Backoff { first: delay, longest: delay })
    }

    /// Reports the next attempt: its number, the failure before it, and the pause.
    pub(crate) fn announce(
        self,
        (attempt, why, pause): (u32, &Failure, Duration),
        witness: &RetryObserver<'_>,
        name: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
    ) {
        if !witness.quiet {
            let all = u64::from(self.more) + 1;
            let time = values::show(pause);
            let message = message_with(why, &name.to_string());
            witness.messages.say(format_args!("{message}; attempt {attempt} of {all} in {time}"));
        }
        witness.events.emit(|| {
            let event = fields(Object::event("retry").number("attempt", attempt.into()));
            event.seconds("delay", pause).failure(why)
        });
    }
}

/// Waits until `end`, or until `canceller` is cancelled.
pub(crate) fn pause_until(end: Instant, canceller: Option<&Canceller>) {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || canceller.is_some_and(Canceller::is_cancelled) {
            return;
        }
        let limit = Timespec::try_from(left).ok();
        let mut watched: Vec<_> =
            canceller.iter().map(|canceller| PollFd::new(*canceller, PollFlags::IN)).collect();
        // An interrupted wait is repeated.
        let _ = poll(&mut watched, limit.as_ref());
    }
}

/// Returns the message of a failure, which names the item or its server.
fn message_with(failure: &Failure, name: &str) -> String {
    let message = &failure.message;
    let is_named =
        message.starts_with(&format!("{name}: ")) || message.contains(&format!("/{name}: "));
    match is_named {
        true => message.clone(),
        false => failure.clone().context_unless_named(name).message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn attempts(more: u32, failures: &[(Exit, Recovery)]) -> (Vec<bool>, Option<Exit>) {
        let messages = Messages::new(std::io::sink(), false);
        let events = Events::default();
        let witness =
            RetryObserver { messages: &messages, events: &events, canceller: None, quiet: false };
        let retrying = Retrying { more, delay: Some(Duration::ZERO), end: None };
        let mut from_starts = Vec::new();
        let mut left = failures.iter();
        let done = retrying.run(&witness, &"a", &|object| object, |from_start| {
            from_starts.push(from_start);
            match left.next() {
                Some((exit, recovery)) => {
                    Err(Failure { recovery: *recovery, ..Failure::new(*exit, "no") })
                }
                None => Ok(()),
            }
        });
        (from_starts, done.err().map(|failure| failure.exit))
    }

    #[test]
    fn only_transient_failures_are_retried_and_a_short_file_restarts_once() {
        let busy = (Exit::Temporary, Recovery::TryAgain);
        let refused = (Exit::Refused, Recovery::Impossible);
        let short = (Exit::Integrity, Recovery::StartOver);
        for (more, failures, want_tries, want) in [
            (0, &[busy][..], &[false][..], Some(Exit::Temporary)),
            (2, &[busy], &[false, false], None),
            (2, &[busy, busy, busy], &[false, false, false], Some(Exit::Temporary)),
            (5, &[refused], &[false], Some(Exit::Refused)),
            (5, &[busy, refused], &[false, false], Some(Exit::Refused)),
            (5, &[short], &[false, true], None),
            (5, &[short, short], &[false, true], Some(Exit::Integrity)),
            (5, &[short, busy, short], &[false, true, true], Some(Exit::Integrity)),
            (0, &[short], &[false], Some(Exit::Integrity)),
        ] {
            assert_eq!(
                attempts(more, failures),
                (want_tries.to_vec(), want),
                "{more} {failures:?}"
            );
        }
    }

    #[test]
    fn pauses_grow_unless_retry_delay_is_set() {
        let grown = Retrying { more: 9, delay: None, end: None };
        let seconds: Vec<u64> =
            (1..9).map(|number| grown.backoff().pause(number).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        let given = Retrying { more: 9, delay: Some(Duration::from_secs(5)), end: None };
        assert_eq!(given.backoff().pause(7).as_secs(), 5);
    }

    #[test]
    fn a_pause_beyond_the_time_limit_is_not_begun() {
        let messages = Messages::new(std::io::sink(), false);
        let events = Events::default();
        let witness =
            RetryObserver { messages: &messages, events: &events, canceller: None, quiet: false };
        let end = Some(Instant::now() + Duration::from_secs(60));
        let retrying = Retrying { more: 9, delay: Some(Duration::from_secs(3_600)), end };
        let busy = Failure { recovery: Recovery::TryAgain, ..Failure::new(Exit::Temporary, "no") };
        let done = retrying.run(&witness, &"a", &|object| object, |_| Err::<(), _>(busy.clone()));
        assert_eq!(done.unwrap_err().exit, Exit::Temporary);
    }

    #[test]
    fn a_cancel_ends_a_pause() {
        let canceller = Canceller::new().unwrap();
        canceller.cancel();
        pause_until(Instant::now() + Duration::from_secs(3_600), Some(&canceller));
    }
}
