//! What all sessions of a server share.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::auth::Authenticator;
use crate::config::ServerConfig;
use crate::data::{Announcer, Buffers, PassivePorts};
use crate::digest::Running;
use crate::presence::Presence;
use crate::relay::Relay;

/// Configuration, authenticator and the register of sessions. Nothing of one session is in here
/// but what is needed to end it.
pub(crate) struct Context {
    pub(crate) config: ServerConfig,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) passive_ports: Arc<PassivePorts>,
    pub(crate) announcer: Arc<Announcer>,
    /// Who is logged in, if users may have only so many sessions.
    pub(crate) presence: Arc<Presence>,
    /// The large buffers of all transfers.
    pub(crate) buffers: Buffers,
    /// Which digests are being made.
    pub(crate) digests: Arc<Running>,
    /// Starts threads for sessions that cannot go on in theirs.
    pub(crate) relay: Relay,
    draining: AtomicBool,
    next: AtomicU64,
    sessions: Mutex<HashMap<u64, Arc<Line>>>,
    gone: Condvar,
}

/// A session as the register knows it: its control connection, and whether it may be woken.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    /// Data moves: the session is left alone until its grace is over.
    busy: AtomicBool,
    /// The grace is over: whatever goes on, ends.
    cut: AtomicBool,
}

/// A session's place in the register; dropping it takes the session out.
pub(crate) struct Registration {
    context: Arc<Context>,
    number: u64,
    pub(crate) line: Arc<Line>,
}

impl Context {
    pub(crate) fn new(
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        admission: Arc<Admission>,
    ) -> Arc<Self> {
        Arc::new(Self {
            passive_ports: PassivePorts::new(config.passive_ports.clone()),
            announcer: Announcer::new(&config),
            buffers: Buffers::new(config.buffers),
            config,
            authenticator,
            admission,
            presence: Arc::default(),
            digests: Arc::default(),
            relay: Relay::default(),
            draining: AtomicBool::new(false),
            next: AtomicU64::new(1),
            sessions: Mutex::default(),
            gone: Condvar::new(),
        })
    }

    /// Whether the server is being shut down: sessions end as soon as they may.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn register(self: &Arc<Self>, stream: TcpStream) -> Registration {
        let line = Arc::new(Line::new(stream));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.sessions().insert(number, Arc::clone(&line));
        Registration { context: Arc::clone(self), number, line }
    }

    /// Says that the server ends; returns how many sessions there are.
    pub(crate) fn start_draining(&self) -> usize {
        self.draining.store(true, Ordering::SeqCst);
        self.sessions().len()
    }

    /// Wakes the sessions that wait for a command, to end; those that move data do so when they
    /// are done. Returns how many there are.
    pub(crate) fn wake_idle(&self) -> usize {
        let sessions = self.sessions();
        for line in sessions.values().filter(|line| !line.busy.load(Ordering::SeqCst)) {
            line.wake();
        }
        sessions.len()
    }

    /// Ends what still goes on: a transfer sees its control connection end.
    pub(crate) fn cut(&self) -> usize {
        let sessions = self.sessions();
        for line in sessions.values() {
            line.cut.store(true, Ordering::SeqCst);
            line.wake();
        }
        sessions.len()
    }

    /// Closes connections whose sessions cannot even write their last reply.
    pub(crate) fn break_off(&self) {
        for line in self.sessions().values() {
            // It fails where the peer is gone already, which is what is wanted.
            let _ = line.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until no session is left, or for `limit`; returns how many are left.
    pub(crate) fn wait(&self, limit: Duration) -> usize {
        let start = Instant::now();
        let mut sessions = self.sessions();
        while !sessions.is_empty() {
            let Some(rest) = limit.checked_sub(start.elapsed()) else { break };
            let woken = self.gone.wait_timeout(sessions, rest);
            sessions = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        sessions.len()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, Arc<Line>>> {
        // Nothing panics while it is held; a poisoned map is as good as any.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, busy: AtomicBool::new(false), cut: AtomicBool::new(false) }
    }

    /// Says that data moves from now on, or no longer does.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Whether the session has to end now, whatever it does.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Ends a blocked read of the control connection; writing still works, for the last 421.
    fn wake(&self) {
        // It fails where the peer is gone already, and then the read has ended too.
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.context.sessions().remove(&self.number);
        self.context.gone.notify_all();
    }
}
