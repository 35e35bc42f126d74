//! The register of sessions, through which other threads wake, cut and list them.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::session_handle::SessionHandle;
use super::session_list::SessionInfo;
use crate::limits;
use crate::lock::{Lock, unpoisoned};
use crate::net::socket;
use crate::tls::Resumed;

/// The sessions of a server, whatever their settings. The register holds only the parts of a
/// session that are needed to list and end it.
#[derive(Debug, Default)]
pub(crate) struct Register {
    draining: AtomicBool,
    /// Whether connections are no longer accepted.
    closed: AtomicBool,
    /// Number of sessions so far, which is also the number of the newest session.
    entered: AtomicU64,
    sessions: Lock<HashMap<u64, Arc<SessionHandle>>>,
    /// Signal for threads that wait for sessions to end.
    gone: Condvar,
    /// Whether a shutdown no longer waits for sessions to end by themselves.
    hurried: AtomicBool,
    /// TLS data connections of all sessions so far.
    pub(crate) resumed: Resumed,
}

/// The entry of a session in the register. Dropping it removes the entry.
pub(crate) struct Registration {
    register: Arc<Register>,
    pub(crate) number: u64,
    pub(crate) line: Arc<SessionHandle>,
}

impl Register {
    /// Returns whether the server is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Accepts no more connections.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn enter(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> Registration {
        let line = Arc::new(SessionHandle::new(stream, socket::canonical(peer)));
        let number = self.entered.fetch_add(1, Ordering::Relaxed) + 1;
        self.sessions.lock().insert(number, Arc::clone(&line));
        Registration { register: Arc::clone(self), number, line }
    }

    /// Starts the shutdown. Returns the number of sessions.
    pub(crate) fn start_draining(&self) -> usize {
        self.draining.store(true, Ordering::SeqCst);
        self.sessions.lock().len()
    }

    /// Wakes sessions that wait for a command, so that they end. Sessions with a transfer end after
    /// the transfer. Returns the number of sessions.
    pub(crate) fn wake_idle(&self) -> usize {
        let sessions = self.sessions.lock();
        for line in sessions.values().filter(|line| !line.is_busy()) {
            line.wake();
        }
        sessions.len()
    }

    /// Returns the published state of each session, the oldest first.
    pub(crate) fn who(&self) -> Vec<SessionInfo> {
        let lines: Vec<_> =
            self.sessions.lock().iter().map(|(number, line)| (*number, Arc::clone(line))).collect();
        let mut who: Vec<_> = lines.iter().map(|(number, line)| line.shown.info(*number)).collect();
        who.sort_unstable_by_key(|session| session.number);
        who
    }

    /// Ends one session, as [`cut`](Self::cut) ends all. Returns `false` if no session has this
    /// number.
    pub(crate) fn kick(&self, number: u64) -> bool {
        let sessions = self.sessions.lock();
        let line = sessions.get(&number);
        line.into_iter().for_each(|line| line.cut());
        line.is_some()
    }

    /// Ends one session, after the running command if there is one. Returns `false` if no session
    /// has this number, or if that session was already dismissed.
    pub(crate) fn dismiss(&self, number: u64) -> bool {
        self.sessions.lock().get(&number).is_some_and(|line| line.dismiss())
    }

    /// Ends all sessions. A running transfer then fails as if the control connection had ended.
    /// Returns the number of sessions.
    pub(crate) fn cut(&self) -> usize {
        let sessions = self.sessions.lock();
        for line in sessions.values() {
            line.cut();
        }
        sessions.len()
    }

    /// Closes the connections of all remaining sessions at once, so no session can send a last
    /// reply.
    pub(crate) fn break_off(&self) {
        for line in self.sessions.lock().values() {
            // An error means that the peer has already disconnected.
            let _ = line.stream.shutdown(Shutdown::Both);
        }
    }

    /// Makes [`drain`](Self::drain) stop waiting.
    pub(crate) fn hurry(&self) {
        // With the lock, a thread that is about to wait cannot miss the notification.
        let _sessions = self.sessions.lock();
        self.hurried.store(true, Ordering::SeqCst);
        self.gone.notify_all();
    }

    /// Waits like [`wait`](Self::wait), but only until [`hurry`](Self::hurry). Cuts each transfer
    /// that waits for its client and moves no byte for `stall`, because it would only delay the
    /// shutdown. Returns the number of remaining sessions, and the number of cut sessions that have
    /// ended.
    pub(crate) fn drain(&self, limit: Duration, stall: Duration) -> (usize, usize) {
        let start = Instant::now();
        let mut seen = HashMap::new();
        let mut cut = Vec::new();
        let mut sessions = self.sessions.lock();
        while !sessions.is_empty() && !self.hurried.load(Ordering::SeqCst) {
            for (number, line) in sessions.iter().filter(|(_, line)| !line.is_cut()) {
                if line.stands_still(seen.entry(*number).or_default(), stall) {
                    line.cut();
                    cut.push(*number);
                }
            }
            let Some(rest) = limit.checked_sub(start.elapsed()) else { break };
            let woken = self.gone.wait_timeout(sessions, rest.min(limits::TICK));
            sessions = unpoisoned(woken).0;
        }
        (sessions.len(), cut.iter().filter(|number| !sessions.contains_key(number)).count())
    }

    /// Waits until no session is left, for at most `limit`. Returns the number of remaining
    /// sessions.
    pub(crate) fn wait(&self, limit: Duration) -> usize {
        let woken =
            self.gone.wait_timeout_while(self.sessions.lock(), limit, |left| !left.is_empty());
        unpoisoned(woken).0.len()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.sessions.lock().remove(&self.number);
        // Threads wait only during a shutdown. `draining` was set before any thread could wait for
        // this session, so no notification is missed.
        if self.register.is_draining() {
            self.register.gone.notify_all();
        }
    }
}
