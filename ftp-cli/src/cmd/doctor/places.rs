//! Limits the connections to the number that the server accepts at a time. Up to that number,
//! checks run in parallel; the others wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::{Client, Error, Verb};

use crate::lock;

/// Number of attempts if the only connection is refused, and the pause between them: a server may
/// still count a connection that has just ended.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Number of simultaneous connections until one more login has succeeded. Servers ban clients whose
/// logins fail repeatedly, and a password may be valid only once, so few logins may be refused.
const CAREFUL: usize = 3;

/// Counter of the connections of this examination.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<PlacesState>,
    /// Notified when a place is free, and when the server accepts or refuses a connection.
    changed: Condvar,
    /// The pause between retries.
    pause: Duration,
}

#[derive(Debug, Default)]
struct PlacesState {
    /// Connections that are open or being opened.
    open: usize,
    /// Largest number of connections that the server accepts, as far as is known.
    most: usize,
    /// Whether the server refused a connection beside others.
    is_limited: bool,
    /// Whether the server refused even a single connection; then refused attempts are not repeated.
    is_shut: bool,
    /// The refusal of a login that ends all further logins.
    refusal: Option<Error>,
}

/// A value that occupies a place.
#[derive(Debug)]
pub(super) struct Inside<'a, T> {
    /// Dropped before its place is freed.
    pub(super) it: T,
    _place: Taken<'a>,
}

impl Inside<'_, Client> {
    /// Sends QUIT and frees the place.
    pub(super) fn quit(self) {
        let Self { it, _place } = self;
        let _ = it.quit();
    }
}

#[derive(Debug)]
struct Taken<'a>(&'a Places);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.changed.notify_all();
    }
}

impl Places {
    pub(super) fn new() -> Self {
        let state = PlacesState { most: CAREFUL, ..PlacesState::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), pause: PAUSE }
    }

    /// Allows any number of connections after a login, unless the server has refused one.
    pub(super) fn open_up(&self) {
        let mut state = self.state();
        if !state.is_limited {
            state.most = usize::MAX;
        }
    }

    /// Connects with `connect` as soon as a place is free. If the server refuses, waits until
    /// another connection has ended, and tries again. If it refuses the login although no other
    /// connection is open, and not because it is full, no login is tried again.
    ///
    /// # Errors
    ///
    /// Returns the last error of `connect`. After `end`, a failed attempt is not repeated.
    pub(super) fn enter<T>(
        &self,
        end: Option<Instant>,
        connect: impl Fn() -> Result<T, Error>,
    ) -> Result<Inside<'_, T>, Error> {
        let mut tries = 0;
        loop {
            let place = self.take(end);
            self.state().refusal.clone().map_or(Ok(()), Err)?;
            let error = match connect() {
                Ok(it) => return Ok(Inside { it, _place: place }),
                Err(error) => error,
            };
            let is_over = || end.is_some_and(|end| Instant::now() >= end);
            let mut state = self.state();
            if is_over() || state.is_shut || !may_be_full(&error, state.open > 1) {
                return Err(error);
            }
            if state.open > 1 {
                state.is_limited = true;
                let fewer = if is_final(&error) { 1 } else { state.open - 1 };
                state.most = state.most.min(fewer);
                self.changed.notify_all();
                continue;
            }
            if is_final(&error) {
                (state.is_shut, state.refusal) = (true, Some(error.clone()));
                return Err(error);
            }
            tries += 1;
            if tries == TRIES {
                state.is_shut = true;
                return Err(error);
            }
            drop(state);
            // Keeps the place during the pause: another connection would be refused too.
            std::thread::sleep(self.until(end));
            if is_over() {
                return Err(error);
            }
        }
    }

    fn take(&self, end: Option<Instant>) -> Taken<'_> {
        let mut state = self.state();
        while state.open >= state.most {
            let pause = self.until(end);
            if pause.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, pause);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.open += 1;
        Taken(self)
    }

    /// Returns the pause between retries, which ends at `end` at the latest.
    fn until(&self, end: Option<Instant>) -> Duration {
        let left = end.map_or(self.pause, |end| end.saturating_duration_since(Instant::now()));
        left.min(self.pause)
    }

    fn state(&self) -> MutexGuard<'_, PlacesState> {
        lock(&self.state)
    }
}

/// Returns whether a login was refused, and not because the server is full.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused { .. }) && !error.is_busy()
}

/// Returns whether the error may mean that the server is full. A timeout while connecting or
/// waiting for the greeting counts only if other connections are open.
fn may_be_full(error: &Error, are_others: bool) -> bool {
    match error {
        Error::ServiceClosing(_) | Error::Greeting(_) | Error::Closed | Error::Io(_) => true,
        // The same login has worked before.
        Error::Refused { verb, .. } => matches!(verb, Verb::User | Verb::Pass | Verb::Acct),
        Error::Timeout(phase) => are_others && matches!(phase, Phase::Connect | Phase::Greeting),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// A connection that the server has let in.
    struct Held<'a>(&'a AtomicUsize);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Lets one more connection in if fewer than `most` are in.
    fn let_in(inside: &AtomicUsize, most: usize) -> Result<Held<'_>, Error> {
        match inside.fetch_add(1, Ordering::SeqCst) {
            there if there < most => Ok(Held(inside)),
            _ => {
                inside.fetch_sub(1, Ordering::SeqCst);
                Err(Error::Closed)
            }
        }
    }

    /// Runs six simultaneous clients of a server that accepts `most` at a time, and returns how
    /// many of them it accepted.
    fn six(most: usize) -> usize {
        let places = Places { pause: Duration::from_millis(10), ..Places::new() };
        let inside = AtomicUsize::new(0);
        let arrived = std::sync::Barrier::new(6);
        let connect = || let_in(&inside, most);
        let work = || {
            arrived.wait();
            usize::from(places.enter(None, connect).is_ok())
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        })
    }

    #[test]
    fn all_checks_connect_in_turn_at_any_connection_limit() {
        for most in [1, 2, 6] {
            assert_eq!(six(most), 6, "{most}");
        }
    }

    #[test]
    fn attempts_end_if_the_server_admits_no_connection() {
        assert_eq!(six(0), 0);
    }

    #[test]
    fn few_logins_are_tried_after_a_refusal() {
        let places = Places { pause: Duration::from_millis(10), ..Places::new() };
        let attempts = AtomicUsize::new(0);
        let refused = || {
            attempts.fetch_add(1, Ordering::SeqCst);
            let reply = ftp_proto::Reply::new(ftp_proto::ReplyCode::NOT_LOGGED_IN, "no");
            Err::<(), _>(Error::refused(Verb::Pass, reply))
        };
        let first = places.enter(None, || Ok(())).unwrap();
        thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| places.enter(None, refused))).collect();
            drop(first);
            assert!(all.into_iter().all(|one| one.join().unwrap().is_err()));
        });
        assert!(attempts.into_inner() <= CAREFUL + 1);
    }

    #[test]
    fn a_pause_ends_at_the_deadline_without_another_attempt() {
        let places = Places { pause: Duration::from_secs(3_600), ..Places::new() };
        let attempts = AtomicUsize::new(0);
        let connect = || {
            attempts.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(Error::Closed)
        };
        let end = Instant::now() + Duration::from_millis(10);
        assert!(places.enter(Some(end), connect).is_err());
        assert_eq!(attempts.into_inner(), 1);
    }
}
