//! Slots for hashing passwords. Each hash occupies a processor and up to 256 MiB of memory for a
//! moment, and any client can make the server compute one.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use crate::lock::unpoisoned;
use crate::net::admission;
use crate::{budget, limits};

/// The slots of this process, shared by all its servers.
pub(super) static SLOTS: LazyLock<Slots> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Slots::new(processors.min(limits::HASHES), budget::memory_in_all().unwrap_or(0) / 16)
});

/// The slots for at most `most` hashes at a time, which use at most `memory` bytes together.
///
/// Client hosts take turns: in each round, every waiting host gets one slot. Logins from one host
/// keep their order.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    /// Maximum memory, in bytes.
    memory: u64,
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlotState {
    running: usize,
    /// Memory of the running hashes, in bytes.
    memory: u64,
    /// Waiting logins by host, in the order of the hosts' turns; the oldest login of a host first.
    waiting: VecDeque<(IpAddr, VecDeque<u64>)>,
    /// The number of the next login.
    next: u64,
}

/// An occupied slot; dropping it frees the slot.
struct Slot<'a> {
    slots: &'a Slots,
    memory: u64,
}

impl Slots {
    pub(super) fn new(most: usize, memory: u64) -> Self {
        Self { most, memory, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Runs `work` in a slot with `memory` bytes, when it is the turn of `peer`.
    ///
    /// Returns `None` without running `work` if `peer` gets no slot by `deadline`. Work that needs
    /// more memory than the limit of all slots runs alone.
    pub(super) fn run<T>(
        &self,
        peer: IpAddr,
        memory: u64,
        deadline: Instant,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let _slot = self.take(peer, memory, deadline)?;
        Some(work())
    }

    fn take(&self, peer: IpAddr, memory: u64, deadline: Instant) -> Option<Slot<'_>> {
        let host = admission::network_of(peer);
        let mut state = self.state();
        let ticket = state.next;
        state.next += 1;
        state.queue(host, ticket);
        while !(state.is_next(ticket) && self.has_room(&state, memory)) {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                state.leave(host, ticket);
                self.changed.notify_all();
                return None;
            }
            let woken = self.changed.wait_timeout(state, rest);
            state = unpoisoned(woken).0;
        }
        state.take_turn();
        state.running += 1;
        state.memory += memory;
        // The next login may have room as well.
        self.changed.notify_all();
        Some(Slot { slots: self, memory })
    }

    fn has_room(&self, state: &SlotState, memory: u64) -> bool {
        state.running == 0
            || state.running < self.most && state.memory.saturating_add(memory) <= self.memory
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        unpoisoned(self.state.lock())
    }
}

impl SlotState {
    fn queue(&mut self, host: IpAddr, ticket: u64) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == host) {
            Some((_, tickets)) => tickets.push_back(ticket),
            None => self.waiting.push_back((host, VecDeque::from([ticket]))),
        }
    }

    fn is_next(&self, ticket: u64) -> bool {
        self.waiting.front().is_some_and(|(_, tickets)| tickets.front() == Some(&ticket))
    }

    /// Removes the next login from the queue. If its host has other waiting logins, moves the host
    /// to the end.
    fn take_turn(&mut self) {
        let Some((host, mut tickets)) = self.waiting.pop_front() else { return };
        tickets.pop_front();
        if !tickets.is_empty() {
            self.waiting.push_back((host, tickets));
        }
    }

    fn leave(&mut self, host: IpAddr, ticket: u64) {
        if let Some((_, tickets)) = self.waiting.iter_mut().find(|(waiting, _)| *waiting == host) {
            tickets.retain(|waiting| *waiting != ticket);
        }
        self.waiting.retain(|(_, tickets)| !tickets.is_empty());
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.running -= 1;
        state.memory -= self.memory;
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

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
                    assert!(slots.run(HOST, memory, deadline, work).is_some());
                });
            }
        });
        let state = slots.state();
        assert_eq!((state.running, state.memory), (0, 0));
        drop(state);
        most.into_inner()
    }

    #[test]
    fn concurrent_password_hashing_is_limited_hs_32() {
        for (most, memory, want) in [(4, 0, 4), (4, 30, 3), (4, 101, 1), (1, 1, 1)] {
            assert_eq!(peak_concurrency(&Slots::new(most, 100), memory, want), want);
        }
        assert!((1..=4).contains(&SLOTS.most), "HS-32: {}", SLOTS.most);
    }

    #[test]
    fn a_login_that_times_out_makes_room_for_the_next_hs_32() {
        let slots = Slots::new(1, 0);
        let soon = || Instant::now() + Duration::from_millis(50);
        let held = slots.take(HOST, 0, soon()).unwrap();
        assert!(slots.run(HOST, 0, soon(), || ()).is_none());
        assert!(slots.run(HOST, 0, Instant::now(), || ()).is_none());
        assert!(slots.state().waiting.is_empty());
        let later = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            let next = scope.spawn(|| slots.run(HOST, 0, later, || ()));
            drop(held);
            assert!(next.join().unwrap().is_some());
        });
    }

    #[test]
    fn a_panic_releases_its_slot() {
        let slots = Slots::new(1, 0);
        let far = Instant::now() + Duration::from_secs(60);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slots.run(HOST, 0, far, || panic!("as the test wants"))
        }));
        assert!(panicked.is_err());
        assert_eq!(slots.run(HOST, 0, far, || 1), Some(1));
    }

    #[test]
    fn one_host_with_many_guesses_does_not_delay_other_hosts_hs_32() {
        let slots = Slots::new(1, 0);
        let far = Instant::now() + Duration::from_secs(60);
        let order = Mutex::new(Vec::new());
        let held = slots.take(HOST, 0, far).unwrap();
        thread::scope(|scope| {
            // The login of the second host comes after all those of the first one.
            for (count, host) in [(8, "192.0.2.1"), (2, "2001:db8::1"), (3, "192.0.2.2")] {
                for _ in 0..count {
                    let before = slots.state().next;
                    let slots = &slots;
                    let order = &order;
                    scope.spawn(move || {
                        slots
                            .run(host.parse().unwrap(), 0, far, || order.lock().unwrap().push(host))
                    });
                    while slots.state().next == before {
                        thread::yield_now();
                    }
                }
            }
            drop(held);
        });
        let a = "192.0.2.1";
        let b = "2001:db8::1";
        let c = "192.0.2.2";
        assert_eq!(*order.lock().unwrap(), [a, b, c, a, b, c, a, c, a, a, a, a, a]);
    }
}
