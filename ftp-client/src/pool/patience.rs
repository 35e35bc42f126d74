//! Further attempts: whether one is useful, from which byte it starts, and the pause before it; and how
//! many connections a server accepts.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, ListingCut, Phase, Recovery};
use crate::net::wait::{Canceller, Waiter};

impl Error {
    /// Returns what another attempt can do about the failure.
    ///
    /// A failed check of the content is [`StartOver`](Recovery::StartOver). Other
    /// [transient](Self::is_transient) errors are [`TryAgain`](Recovery::TryAgain), except 452 (a
    /// full disk stays full) and the end of the overall limit (no time is left).
    ///
    /// ```
    /// use ftp_client::error::{Phase, Recovery};
    /// use ftp_client::Error;
    ///
    /// assert_eq!(Error::Closed.recovery(), Recovery::TryAgain);
    /// assert_eq!(Error::Changed.recovery(), Recovery::StartOver);
    /// assert_eq!(Error::Timeout(Phase::Overall).recovery(), Recovery::Impossible);
    /// ```
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        let known = match self {
            Self::Dial { recovery, .. } => Some(*recovery),
            Self::Tree(fault) => Some(fault.recovery()),
            Self::Fewer(met) => Some(met.recovery()),
            Self::Fxp(attempts) => attempts.last().map(|last| last.error.recovery()),
            Self::Job(fault) => fault.recovery(),
            Self::Uncertain { .. } => Some(Recovery::Impossible),
            _ => None,
        };
        if let Some(recovery) = known {
            return recovery;
        }
        let is_full = self.reply().is_some_and(|reply| reply.code().is_no_space());
        match self.kind() {
            // The next one would be as long.
            _ if matches!(self, Self::ListingCut(ListingCut::TooLong)) => Recovery::Impossible,
            ErrorKind::Integrity => Recovery::StartOver,
            _ if matches!(self, Self::Desynchronised) => Recovery::Reconnect,
            _ if is_full || matches!(self, Self::Timeout(Phase::Overall)) => Recovery::Impossible,
            _ if self.is_transient() => Recovery::TryAgain,
            _ => Recovery::Impossible,
        }
    }

    /// Returns whether another connection may succeed with what failed over this one, because the
    /// server refused it for now, as ProFTPD's limits of transfers do, because no port was free for its
    /// data connection, or because the replies were out of step before it was sent.
    pub(crate) fn may_be_of_one_connection(&self) -> bool {
        match self.recovery() {
            Recovery::TryAgain => matches!(self.kind(), ErrorKind::Temporary | ErrorKind::Data),
            recovery => recovery == Recovery::Reconnect,
        }
    }
}

/// The current attempt.
#[derive(Debug)]
pub struct Attempt {
    number: u32,
    from_start: bool,
    is_last: bool,
    /// Whether a new connection has replaced a failed one.
    is_replaced: bool,
}

impl Attempt {
    const FIRST: Self = Self { number: 1, from_start: false, is_last: false, is_replaced: false };

    /// Returns the number of the attempt; the first one has the number 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Returns whether to transfer from byte 0, because an earlier attempt failed a check of the
    /// content.
    #[must_use]
    pub const fn from_start(&self) -> bool {
        self.from_start
    }

    /// Forbids further attempts, for example because the source cannot be read again, or because
    /// the server may have done already what must not be done twice.
    pub const fn make_last(&mut self) {
        self.is_last = true;
    }

    /// Returns the attempt after a failure, if one of at most `most` attempts may follow. This is
    /// the only place that decides so.
    fn next(&self, most: u32, recovery: Recovery) -> Option<Self> {
        let helps = match recovery {
            Recovery::Impossible => false,
            Recovery::TryAgain | Recovery::Reconnect => true,
            // Only once: a second failure shows that the cause remains.
            Recovery::StartOver => !self.from_start,
        };
        let from_start = self.from_start || recovery == Recovery::StartOver;
        let may_follow = helps && !self.is_last && self.number < most;
        let number = self.number + 1;
        may_follow.then_some(Self { number, from_start, is_last: false, ..*self })
    }
}

/// How many attempts are made, and how long the pauses between them are.
///
/// The overall limit starts with the first call that uses this value or a clone of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Patience {
    attempts: u32,
    /// The pause before the second attempt.
    first: Duration,
    longest: Duration,
    is_scattered: bool,
    limits: Arc<Limits>,
}

/// What ends every wait.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    overall: Option<Duration>,
    canceller: Option<Canceller>,
    waiter: OnceLock<Waiter>,
}

impl Limits {
    pub(crate) fn new(overall: Option<Duration>, canceller: Option<Canceller>) -> Self {
        Self { overall, canceller, waiter: OnceLock::new() }
    }

    /// Returns the waiter, whose overall limit starts with the first call.
    pub(crate) fn waiter(&self) -> &Waiter {
        self.waiter.get_or_init(|| {
            let mut waiter = Waiter::new(self.overall, self.canceller.clone());
            // It outlasts the connection whose attempt may be its first use.
            waiter.keep();
            waiter
        })
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            is_scattered: true,
            limits: Arc::default(),
        }
    }
}

impl Patience {
    /// Returns the defaults: five attempts, and pauses of about 1 s, 2 s, 4 s and so on, up to 60 s.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the total number of attempts (default: 5; 0 counts as 1).
    pub const fn attempts(mut self, most: u32) -> Self {
        self.attempts = most;
        self
    }

    /// Sets the pause before the second attempt (default: 1 s), and the longest pause (default:
    /// 60 s). Each pause is twice as long as the previous one, up to the longest.
    pub const fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first, self.longest) = (first, longest);
        self
    }

    /// Sets whether pauses are shortened at random by up to half of their length (default: yes).
    ///
    /// Clients that lost their connections to the same server then do not all reconnect at once.
    pub const fn scattered(mut self, on: bool) -> Self {
        self.is_scattered = on;
        self
    }

    /// Sets the canceller that ends pauses (default: none).
    pub fn canceller(mut self, canceller: Option<Canceller>) -> Self {
        self.limits = Arc::new(Limits::new(self.limits.overall, canceller));
        self
    }

    /// Sets the overall limit of attempts and pauses (default: none). If a pause would exceed it,
    /// no attempt follows.
    pub fn overall(mut self, limit: Option<Duration>) -> Self {
        self.limits = Arc::new(Limits::new(limit, self.limits.canceller.clone()));
        self
    }

    /// Returns the pause after `attempts` attempts.
    #[must_use]
    pub fn pause(&self, attempts: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let pause = self.first.saturating_mul(doublings).min(self.longest);
        if !self.is_scattered {
            return pause;
        }
        // Hash keys are random, and that is enough here: an attacker gains nothing from guessing
        // them.
        let [low, high, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
        let half = pause / 2;
        half + half / 65_536 * u32::from(u16::from_le_bytes([low, high]))
    }

    pub(crate) const fn repeats(&self) -> bool {
        self.attempts > 1
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Calls `work` until it succeeds, until another attempt would not help, or until no attempt is
    /// left. Calls `on` before each pause, with the number of the next attempt, the failure of the
    /// previous one, and the pause. A failure in a type of the caller can be an [`Error::Dial`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use ftp_client::pool::Patience;
    /// use ftp_client::Error;
    ///
    /// let mut failures = [Error::Cancelled, Error::Closed].into_iter();
    /// let patience = Patience::new().attempts(9).pauses(Duration::ZERO, Duration::ZERO);
    /// let done: Result<(), Error> = patience.run(&mut |_, _, _| {}, |attempt| {
    ///     assert!(attempt.number() < 3);
    ///     Err(failures.next_back().expect("cancelled is never retried"))
    /// });
    /// assert!(matches!(done, Err(Error::Cancelled)));
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next`](Self::next).
    pub fn run<T>(
        &self,
        on: &mut dyn FnMut(u32, &Error, Duration),
        mut work: impl FnMut(&mut Attempt) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempt = self.first();
        loop {
            match work(&mut attempt) {
                Err(failure) => self.next(&mut attempt, failure, &mut |_| false, on)?,
                done => return done,
            }
        }
    }

    /// Returns the first attempt, for a loop that calls [`next`](Self::next) after each failure. The
    /// overall limit starts now.
    #[must_use]
    pub fn first(&self) -> Attempt {
        self.limits.waiter();
        Attempt::FIRST
    }

    /// Makes `attempt` the one after a failure, and waits for it; calls `on` before the pause, as
    /// [`run`](Self::run) does.
    ///
    /// `replaces` tells whether a new connection replaces a failed one at once: the work then has
    /// one more chance, which is not an attempt.
    ///
    /// # Errors
    ///
    /// Returns the failure if another attempt would not help, or if none is left, and
    /// [`Error::Cancelled`] if the pause was cancelled.
    pub fn next(
        &self,
        attempt: &mut Attempt,
        failure: Error,
        replaces: &mut dyn FnMut(&Error) -> bool,
        on: &mut dyn FnMut(u32, &Error, Duration),
    ) -> Result<(), Error> {
        if !attempt.is_replaced && replaces(&failure) {
            attempt.is_replaced = true;
            return Ok(());
        }
        let Some(next) = attempt.next(self.attempts, failure.recovery()) else {
            return Err(failure);
        };
        let pause = self.pause(attempt.number);
        let waiter = self.limits.waiter();
        if !waiter.has_room(pause)? {
            return Err(failure);
        }
        on(next.number, &failure, pause);
        waiter.sleep(pause)?;
        *attempt = next;
        Ok(())
    }
}

/// What the connections of a pool show about the server.
///
/// Servers refuse a connection beyond their limit in many ways: 421, 530 as the greeting or after
/// `PASS`, or a reset. A refusal means a limit only if the server accepts another connection.
/// Therefore only one caller makes the first connection, while the others wait for the result. If
/// all connections are lost, what was learned is stale and dropped, so that a network failure does not
/// shrink a pool for good.
#[derive(Debug)]
pub(super) struct Admission {
    /// The number of connections that the caller wants.
    size: usize,
    /// The number of connections that the server accepts, as far as known.
    limit: usize,
    /// The connections that are lent or idle.
    open: usize,
    dialling: usize,
    /// The last refusal of one more connection, and when it came or the last probe began.
    fewer: Option<(Error, Instant)>,
    /// The reason why no more connections are made, and since when.
    shut: Option<(Error, Instant)>,
}

/// Returns whether a failure comes from the server: silence can be a pause, and this computer can lack
/// descriptors or a route.
fn shows_limit(failure: &Error) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    match failure {
        Error::Timeout(_) => false,
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof
        ),
        _ => true,
    }
}

/// What a caller without a connection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It makes a connection, and reports the result.
    Dial,
    /// It waits until another caller reports its result.
    Wait,
    /// All connections are lent: it waits until one is idle.
    Full,
}

impl Admission {
    pub(super) const fn new() -> Self {
        Self { size: 1, limit: 1, open: 0, dialling: 0, fewer: None, shut: None }
    }

    pub(super) fn resize(&mut self, size: usize) {
        self.size = size.max(1);
        self.limit = self.size;
    }

    /// Returns the failure after which no connection is used any more.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.shut.as_ref().map(|(why, _)| why.clone())
    }

    pub(super) fn shut(&mut self, why: Error) {
        self.shut = Some((why, Instant::now()));
    }

    /// Connects again if the pool was shut this long ago. Returns whether it connects.
    pub(super) fn reopen(&mut self, after: Duration) -> bool {
        self.shut.take_if(|(_, since)| since.elapsed() >= after);
        self.shut.is_none()
    }

    /// Returns why the server accepts no more connections, if it refused one.
    pub(super) fn fewer(&self) -> Option<Error> {
        self.fewer.as_ref().map(|(why, _)| why.clone())
    }

    pub(super) fn allowed(&self) -> Option<usize> {
        self.fewer.as_ref().map(|_| self.limit)
    }

    /// Returns the turn of a caller when no connection is idle.
    pub(super) fn turn(&mut self) -> Turn {
        if self.open == 0 && self.dialling > 0 {
            return Turn::Wait;
        }
        if self.open + self.dialling >= self.limit {
            return Turn::Full;
        }
        self.dialling += 1;
        Turn::Dial
    }

    pub(super) fn accepted(&mut self) {
        self.dialling = self.dialling.saturating_sub(1);
        self.open += 1;
        // Another caller may have been refused in the meantime.
        self.limit = self.limit.max(self.open);
    }

    pub(super) const fn given_up(&mut self) {
        self.dialling = self.dialling.saturating_sub(1);
    }

    /// Records a refused connection. Returns whether it may be a limit of the server: a caller that
    /// `waits` then waits for one of the accepted connections.
    pub(super) fn refused(&mut self, failure: &Error, waits: bool) -> bool {
        self.dialling = self.dialling.saturating_sub(1);
        if self.open > 0 {
            // What the user has cancelled says nothing about the server.
            let is_limit = !matches!(failure, Error::Cancelled);
            // Only a caller that would dial for ever takes everything for a limit.
            if is_limit && (waits || shows_limit(failure)) {
                self.limit = self.open;
                self.fewer = Some((failure.clone(), Instant::now()));
            }
            return is_limit;
        }
        if failure.recovery() == Recovery::Impossible {
            // A wrong password is tried once, not by every caller.
            self.shut(failure.clone());
        }
        false
    }

    pub(super) fn lost(&mut self) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.limit = self.size;
            self.fewer = None;
        }
    }

    /// Lets one caller dial if the last refusal was this long ago.
    pub(super) fn probe(&mut self, after: Duration) {
        if let Some((_, since)) = &mut self.fewer
            && since.elapsed() >= after
        {
            *since = Instant::now();
            self.limit = self.limit.max(self.size.min(self.open + 1));
        }
    }
}

#[cfg(test)]
mod tests;
