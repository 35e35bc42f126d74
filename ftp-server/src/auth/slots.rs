//! Turns for checking passwords. A hash occupies a processor and up to 256 MiB of memory for a
//! moment, a program of the authenticator a process, and any client can make the server start one.

use std::sync::{Arc, LazyLock};

use super::LoginAttempt;
use crate::shares::{Shares, table};
use crate::{budget, limits};

/// The slots of this process, shared by all its servers.
pub(super) static SLOTS: LazyLock<Slots> = LazyLock::new(|| {
    Slots::new(budget::processors().min(limits::HASHES), budget::memory_in_all().unwrap_or(0) / 16)
});

/// The turns of the programs that authenticators of this process start.
pub(super) static PROGRAMS: LazyLock<Arc<Shares>> =
    LazyLock::new(|| Shares::new(&table::PROGRAMS, 1));

/// The slots for a limited number of hashes at a time, which use a limited memory together.
#[derive(Debug)]
pub(super) struct Slots {
    /// The memory, in bytes.
    shares: Arc<Shares>,
    /// The least that a hash claims, so that their number is limited too.
    least: u64,
}

impl Slots {
    /// Returns slots for at most `most` hashes at a time, which use at most `memory` bytes.
    pub(super) fn new(most: usize, memory: u64) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
        let least = memory.checked_div(most).unwrap_or_default().max(1);
        Self { shares: Shares::new(&table::HASHES, least.saturating_mul(most)), least }
    }

    /// Runs `work` in a slot with `memory` bytes, when it is the turn of the client of `attempt`.
    ///
    /// Returns `None` without running `work` if the client gets no slot by the deadline, or if it has
    /// gone. Work that needs more memory than the limit of all slots runs alone.
    pub(super) fn run<T>(
        &self,
        attempt: &LoginAttempt<'_>,
        memory: u64,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let mut share = self.shares.claim(attempt.peer.ip(), memory.max(self.least));
        attempt.wait_for(&mut share).then(work)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn attempt() -> LoginAttempt<'static> {
        LoginAttempt {
            user: b"u",
            password: b"p",
            account: None,
            host: None,
            peer: ([127, 0, 0, 1], 1).into(),
            tls: None,
            deadline: Instant::now() + Duration::from_secs(60),
            is_client_gone: None,
        }
    }

    /// Returns how many of 24 jobs ran at a time, with this memory each; the first ones wait until
    /// `want` of them run.
    fn peak_concurrency(slots: &Slots, memory: u64, want: usize) -> usize {
        let now = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| {
                    let work = || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        while most.load(Ordering::SeqCst) < want && Instant::now() < deadline {
                            thread::park_timeout(Duration::from_millis(1));
                        }
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    assert!(slots.run(&attempt(), memory, work).is_some());
                });
            }
        });
        assert_eq!(slots.shares.held(), 0);
        most.into_inner()
    }

    #[test]
    fn concurrent_password_hashing_is_limited_hs_32() {
        for (most, memory, want) in [(4, 0, 4), (4, 30, 3), (4, 101, 1), (1, 1, 1)] {
            assert_eq!(peak_concurrency(&Slots::new(most, 100), memory, want), want);
        }
        assert_eq!(peak_concurrency(&Slots::new(4, 0), 0, 4), 4, "the memory is not known");
    }

    #[test]
    fn a_panic_releases_its_slot() {
        let slots = Slots::new(1, 0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slots.run(&attempt(), 0, || panic!("as the test wants"))
        }));
        assert!(panicked.is_err());
        assert_eq!(slots.run(&attempt(), 0, || 1), Some(1));
    }

    #[test]
    fn a_login_whose_client_has_gone_is_not_hashed_hs_32() {
        let slots = Slots::new(1, 0);
        let gone = LoginAttempt { is_client_gone: Some(&|| true), ..attempt() };
        let waited = slots.run(&attempt(), 0, || slots.run(&gone, 0, || 1));
        assert_eq!(waited, Some(None));
    }
}
