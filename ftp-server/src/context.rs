//! What all sessions of a server share.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ftp_proto::Network;

use crate::auth::{Authenticator, UserSessions};
use crate::config::ServerConfig;
use crate::data::{Announcer, Buffers, PassivePorts};
use crate::limits;
use crate::log::{Observers, Refusal};
use crate::net::admission::Admission;
use crate::net::ban::Bans;
use crate::places::Places;
use crate::relay::Relay;
use crate::session;
use crate::tls::Acceptor;
use crate::tls::Resumed;
use crate::watch::Watchdog;
use crate::who::{SessionInfo, Shown};

/// Configuration, authenticator and what counts across sessions. A session keeps the context that
/// it began with, until it begins anew by `REIN`.
pub(crate) struct Context {
    pub(crate) config: ServerConfig,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// What connections are protected by, if they can be.
    pub(crate) tls: Option<Arc<Acceptor>>,
    pub(crate) observers: Observers,
    pub(crate) admission: Arc<Admission>,
    pub(crate) passive_ports: Arc<PassivePorts>,
    pub(crate) announcer: Arc<Announcer>,
    /// Who is logged in, if users may have only so many sessions.
    pub(crate) user_sessions: Arc<UserSessions>,
    /// Who failed to log in too often.
    pub(crate) bans: Arc<Bans>,
    /// Looks after those who wait for the authenticator.
    pub(crate) watchdog: Arc<Watchdog>,
    /// The large buffers of all transfers.
    pub(crate) buffers: Arc<Buffers>,
    /// Which digests are being made.
    pub(crate) digests: Arc<Places>,
    /// Which searches go on for where a transfer begins, and for names that match.
    pub(crate) searches: Arc<Places>,
    /// Starts threads for sessions that cannot go on in theirs.
    pub(crate) relay: Arc<Relay>,
    pub(crate) register: Arc<Register>,
}

/// The context that sessions get when they begin.
pub(crate) struct Current(Mutex<Arc<Context>>);

/// The sessions of a server, whichever context they have. Nothing of one is in here but what is
/// needed to end it.
#[derive(Debug, Default)]
pub(crate) struct Register {
    draining: AtomicBool,
    /// How many there were so far: the first is number 1.
    entered: AtomicU64,
    sessions: Mutex<HashMap<u64, Arc<Line>>>,
    /// Whoever waits for sessions looks again.
    gone: Condvar,
    /// No session is given time to end by itself.
    hurried: AtomicBool,
    /// The data connections under TLS of all sessions so far.
    pub(crate) resumed: Resumed,
}

/// A session as the register knows it: its control connection, and whether it may be woken.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    /// Data moves: the session is left alone until its grace is over.
    busy: AtomicBool,
    /// Its transfer depends on the client: data is to come, to go, or to be connected for.
    moving: AtomicBool,
    /// The grace is over, or it is not wanted any more: whatever goes on, ends.
    cut: AtomicBool,
    /// It was closed for others that want its place.
    gave_way: AtomicBool,
    /// It is under TLS: only the session can write what its client understands.
    protected: AtomicBool,
    /// What others may see of it.
    pub(crate) shown: Shown,
}

/// A session's place in the register; dropping it takes the session out.
pub(crate) struct Registration {
    register: Arc<Register>,
    pub(crate) number: u64,
    pub(crate) line: Arc<Line>,
}

impl Context {
    /// For tests: only the log is told what happens.
    #[cfg(test)]
    pub(crate) fn new(
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        admission: Arc<Admission>,
    ) -> Arc<Self> {
        Self::observed(config, authenticator, None, admission, Observers::default())
    }

    pub(crate) fn observed(
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        tls: Option<Arc<Acceptor>>,
        admission: Arc<Admission>,
        observers: Observers,
    ) -> Arc<Self> {
        Arc::new(Self {
            passive_ports: PassivePorts::new(config.passive_ports.clone()),
            announcer: Announcer::new(&config),
            bans: Arc::new(Bans::new(&config)),
            watchdog: Arc::default(),
            buffers: Arc::new(Buffers::new(config.buffers)),
            config,
            authenticator,
            tls,
            observers,
            admission,
            user_sessions: Arc::default(),
            digests: Arc::default(),
            searches: Arc::default(),
            relay: Arc::default(),
            register: Arc::default(),
        })
    }

    /// The same server with other settings, users and certificates. What sessions hold of it is
    /// counted on.
    pub(crate) fn with(
        &self,
        config: ServerConfig,
        authenticator: Arc<dyn Authenticator>,
        tls: Option<Arc<Acceptor>>,
    ) -> Arc<Self> {
        let former = &self.config;
        let announces_the_same = config.passive_address == former.passive_address
            && config.passive_overrides == former.passive_overrides;
        let has_the_same_ports = config.passive_ports == former.passive_ports;
        let bans = |config: &ServerConfig| (config.ban_after, config.ban_window, config.ban_for);
        Arc::new(Self {
            // The last answer for a name is not forgotten.
            announcer: match announces_the_same {
                true => Arc::clone(&self.announcer),
                false => Announcer::new(&config),
            },
            passive_ports: match has_the_same_ports {
                true => Arc::clone(&self.passive_ports),
                false => PassivePorts::new(config.passive_ports.clone()),
            },
            bans: match bans(&config) == bans(former) {
                true => Arc::clone(&self.bans),
                false => Arc::new(Bans::new(&config)),
            },
            watchdog: Arc::clone(&self.watchdog),
            buffers: match config.buffers == former.buffers {
                true => Arc::clone(&self.buffers),
                false => Arc::new(Buffers::new(config.buffers)),
            },
            config,
            authenticator,
            tls,
            observers: self.observers.clone(),
            admission: Arc::clone(&self.admission),
            user_sessions: Arc::clone(&self.user_sessions),
            digests: Arc::clone(&self.digests),
            searches: Arc::clone(&self.searches),
            relay: Arc::clone(&self.relay),
            register: Arc::clone(&self.register),
        })
    }

    /// Whether the server is being shut down: sessions end as soon as they may.
    pub(crate) fn is_draining(&self) -> bool {
        self.register.draining.load(Ordering::SeqCst)
    }

    /// Whether the settings say that nobody at `peer` is served.
    pub(crate) fn is_denied(&self, peer: IpAddr) -> bool {
        let ServerConfig { allow, deny, .. } = &self.config;
        let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(peer));
        is_in(deny) || !allow.is_empty() && !is_in(allow)
    }

    /// Why nobody at `peer` is served, if nobody is.
    pub(crate) fn objection(&self, peer: IpAddr) -> Option<Refusal> {
        if self.is_denied(peer) {
            return Some(Refusal::Denied);
        }
        self.bans.hold(peer, Instant::now()).then_some(Refusal::Banned)
    }
}

impl Current {
    pub(crate) fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(context)))
    }

    pub(crate) fn get(&self) -> Arc<Context> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, context: Arc<Context>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }
}

impl Register {
    pub(crate) fn enter(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> Registration {
        let line = Arc::new(Line::new(stream, session::canonical(peer)));
        let number = self.entered.fetch_add(1, Ordering::Relaxed) + 1;
        self.sessions().insert(number, Arc::clone(&line));
        Registration { register: Arc::clone(self), number, line }
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

    /// What each session shows of itself, the oldest first.
    pub(crate) fn who(&self) -> Vec<SessionInfo> {
        let lines: Vec<_> =
            self.sessions().iter().map(|(number, line)| (*number, Arc::clone(line))).collect();
        let mut who: Vec<_> = lines.iter().map(|(number, line)| line.shown.info(*number)).collect();
        who.sort_unstable_by_key(|session| session.number);
        who
    }

    /// Ends one session as [`cut`](Self::cut) does all. False if there is none of this number.
    pub(crate) fn kick(&self, number: u64) -> bool {
        let sessions = self.sessions();
        let line = sessions.get(&number);
        line.into_iter().for_each(|line| line.cut());
        line.is_some()
    }

    /// Ends what still goes on: a transfer sees its control connection end.
    pub(crate) fn cut(&self) -> usize {
        let sessions = self.sessions();
        for line in sessions.values() {
            line.cut();
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

    /// Says that no session is given time any more to end by itself.
    pub(crate) fn hurry(&self) {
        // Whoever waits has looked before, or looks behind this.
        let _sessions = self.sessions();
        self.hurried.store(true, Ordering::SeqCst);
        self.gone.notify_all();
    }

    /// As [`wait`](Self::wait), and no longer than until [`hurry`](Self::hurry). Cuts each transfer
    /// in which no byte moves for `stall`: waiting for it only delays the end. Returns how many
    /// sessions are left, and how many were cut.
    pub(crate) fn drain(&self, limit: Duration, stall: Duration) -> (usize, usize) {
        let start = Instant::now();
        let mut seen = HashMap::new();
        let mut cut = Vec::new();
        let mut sessions = self.sessions();
        while !sessions.is_empty() && !self.hurried.load(Ordering::SeqCst) {
            for (number, line) in sessions.iter().filter(|(_, line)| !line.is_cut()) {
                if line.stands_still(seen.entry(*number).or_default(), stall) {
                    line.cut();
                    cut.push(*number);
                }
            }
            let Some(rest) = limit.checked_sub(start.elapsed()) else { break };
            let woken = self.gone.wait_timeout(sessions, rest.min(limits::TICK));
            sessions = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        (sessions.len(), cut.iter().filter(|number| !sessions.contains_key(number)).count())
    }

    /// Waits until no session is left, or for `limit`; returns how many are left.
    pub(crate) fn wait(&self, limit: Duration) -> usize {
        let woken = self.gone.wait_timeout_while(self.sessions(), limit, |left| !left.is_empty());
        woken.unwrap_or_else(PoisonError::into_inner).0.len()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, Arc<Line>>> {
        // Nothing panics while it is held; a poisoned map is as good as any.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let [busy, moving, cut, gave_way, protected] = [const { AtomicBool::new(false) }; 5];
        Self { stream, busy, moving, cut, gave_way, protected, shown: Shown::new(peer) }
    }

    /// Says that data moves from now on, or no longer does.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
        self.moving.store(false, Ordering::SeqCst);
    }

    /// Says that the transfer depends on the client from now on, or no longer does: what the storage
    /// takes its time for is not the client's.
    pub(crate) fn set_moving(&self, moving: bool) {
        self.moving.store(moving, Ordering::SeqCst);
    }

    /// Says that TLS begins, or has ended.
    pub(crate) fn set_protected(&self, protected: bool) {
        self.protected.store(protected, Ordering::SeqCst);
    }

    /// Whether nobody but the session may write.
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::SeqCst)
    }

    /// Whether the session has to end now, whatever it does.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether no byte of a transfer that depends on the client has moved for `stall`, by what was
    /// `seen` of it before.
    fn stands_still(&self, seen: &mut Option<(u64, Instant)>, stall: Duration) -> bool {
        let now = self.moving.load(Ordering::SeqCst).then(|| self.shown.moved());
        *seen = now.map(|moved| match *seen {
            Some((before, since)) if before == moved => (moved, since),
            _ => (moved, Instant::now()),
        });
        seen.is_some_and(|(_, since)| since.elapsed() >= stall)
    }

    /// Whether its last reply was sent already, and nothing more can be.
    pub(crate) fn has_given_way(&self) -> bool {
        self.gave_way.load(Ordering::SeqCst)
    }

    /// Ends the session now, for others that want its place; it is told as far as it understands and
    /// reads it.
    pub(crate) fn give_way(&self) {
        self.gave_way.store(true, Ordering::SeqCst);
        self.cut.store(true, Ordering::SeqCst);
        session::break_off(self, &Refusal::Full.reply());
    }

    /// Ends a blocked read of the control connection; writing still works, for the last 421.
    fn wake(&self) {
        // It fails where the peer is gone already, and then the read has ended too.
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.sessions().remove(&self.number);
        self.register.gone.notify_all();
    }
}
