//! Ends connections whose login takes too long because the authenticator does not return. The
//! sessions' own threads cannot do so, because they wait for the authenticator. The watchdog's
//! thread also reports the end of bans.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar};
use std::time::Instant;

use super::register::SessionHandle;
use crate::lock::{Lock, unpoisoned};
use crate::log::{Event, EventKind, Observers};
use crate::shares::host_of;
use crate::{limits, threads};

/// The waiting logins, and the thread that watches them. Dropping this value ends the thread.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    shared: Arc<WatchdogState>,
}

#[derive(Debug, Default)]
struct WatchdogState {
    state: Lock<Watched>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    watched: HashMap<u64, (Instant, Arc<SessionHandle>)>,
    /// End of each ban, and the peer that caused the ban: one entry per banned host.
    bans: Vec<(Instant, SocketAddr)>,
    next: u64,
    /// The time at which the thread wakes up next; `None` if only a notification wakes it.
    wakes_at: Option<Instant>,
    is_over: bool,
}

/// The watch over one session; dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct LoginWatch {
    shared: Arc<WatchdogState>,
    number: u64,
}

impl Watchdog {
    /// Starts the thread, which reports the end of bans to `observers`.
    pub(crate) fn start(&self, observers: Observers) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let watch = move || shared.run(&observers);
        threads::start(Some("ftp-watch"), limits::SESSION_STACK, watch).map(drop)
    }

    /// Ends the connection of `line` at `deadline`, unless the watch is dropped before then.
    pub(crate) fn watch(&self, line: &Arc<SessionHandle>, deadline: Instant) -> LoginWatch {
        let mut state = self.shared.state.lock();
        let number = state.next;
        state.next += 1;
        state.watched.insert(number, (deadline, Arc::clone(line)));
        // Usually no notification is needed: the thread wakes up earlier, for a login that ended
        // long ago.
        if state.wakes_at.is_none_or(|at| deadline < at) {
            self.shared.changed.notify_all();
        }
        LoginWatch { shared: Arc::clone(&self.shared), number }
    }
}

impl Watchdog {
    /// Schedules the report that the ban caused by `peer` ends at `until`.
    pub(crate) fn ban(&self, peer: SocketAddr, until: Instant) {
        let mut state = self.shared.state.lock();
        state.bans.push((until, peer));
        if state.wakes_at.is_none_or(|at| until < at) {
            self.shared.changed.notify_all();
        }
    }

    /// Makes the thread report the end of bans at once, for each peer that satisfies `is_over`. The
    /// caller has lifted these bans.
    pub(crate) fn end_bans(&self, is_over: impl Fn(SocketAddr) -> bool) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        let bans = state.bans.iter_mut().filter(|(_, peer)| is_over(*peer));
        bans.for_each(|(until, _)| *until = now);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl LoginWatch {
    /// Ends the watch. Returns `false` if the watchdog has ended the connection.
    pub(crate) fn ends_in_time(self) -> bool {
        self.shared.state.lock().watched.remove(&self.number).is_some()
    }
}

impl Drop for LoginWatch {
    fn drop(&mut self) {
        self.shared.state.lock().watched.remove(&self.number);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl WatchdogState {
    fn run(&self, observers: &Observers) {
        let mut state = self.state.lock();
        while !state.is_over {
            let now = Instant::now();
            state.watched.retain(|_, (deadline, line)| {
                let is_late = *deadline <= now;
                if is_late {
                    line.time_out();
                }
                !is_late
            });
            let over: Vec<_> = state.bans.extract_if(.., |(until, _)| *until <= now).collect();
            if !over.is_empty() {
                // Logins must not wait for observers.
                drop(state);
                for (_, peer) in over {
                    let kind = EventKind::BanEnded { network: host_of(peer.ip()) };
                    observers.tell_unharmed(&Event::of_peer(peer, kind));
                }
                state = self.state.lock();
                continue;
            }
            let deadlines = state.watched.values().map(|(deadline, _)| *deadline);
            let first = deadlines.chain(state.bans.iter().map(|(until, _)| *until)).min();
            // A useless wakeup costs less than a notification for each login.
            let wakes_at = first.or(state.wakes_at.filter(|at| *at > now));
            state.wakes_at = wakes_at;
            state = match wakes_at {
                None => unpoisoned(self.changed.wait(state)),
                Some(at) => {
                    let rest = at.saturating_duration_since(now);
                    let woken = self.changed.wait_timeout(state, rest);
                    unpoisoned(woken).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use ftp_tests::wait::wait_until;

    use super::*;

    #[test]
    fn only_a_late_login_is_closed_with_421_hf_13() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            (client, Arc::new(SessionHandle::new(stream, peer)))
        };
        let watchdog = Watchdog::default();
        watchdog.start(Observers::default()).unwrap();
        let ((mut late, late_line), (mut early, early_line)) = (connect(), connect());
        let begun = Instant::now();
        let far = watchdog.watch(&early_line, begun + Duration::from_secs(300));
        let near = watchdog.watch(&late_line, begun + Duration::from_millis(100));
        let mut said = String::new();
        late.read_to_string(&mut said).unwrap();
        assert_eq!(said, "421 Timeout\r\n");
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(!near.ends_in_time());
        assert!(far.ends_in_time());
        early.set_nonblocking(true).unwrap();
        assert!(early.read(&mut [0]).is_err(), "the other client got no reply");
        assert!(watchdog.shared.state.lock().watched.is_empty());
        let shared = Arc::downgrade(&watchdog.shared);
        drop(watchdog);
        wait_until("the thread ends", || shared.strong_count() == 0);
    }
}
