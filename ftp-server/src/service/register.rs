//! The register of sessions, through which other threads wake, cut and list them: the part of each
//! session that other threads may use, and its published state.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::{Escaped, HostName, Reply, ReplyCode, Verb};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

use crate::limits;
use crate::lock::{Lock, unpoisoned};
use crate::log::Refusal;
use crate::net::socket::{self, is_hung_up};
use crate::storage::VirtualPath;
use crate::tls::{Resumed, TlsVersion};

/// The sessions of a server, whatever their settings. The register holds only the parts of a
/// session that are needed to list and end it.
#[derive(Debug, Default)]
pub(crate) struct Register {
    draining: AtomicBool,
    /// Whether connections are no longer accepted.
    closed: AtomicBool,
    /// Number of sessions so far, which is also the number of the newest session.
    entered: AtomicU64,
    /// How often the logins that were in progress became void.
    voided: AtomicU64,
    sessions: Lock<HashMap<u64, Arc<SessionHandle>>>,
    /// Signal for threads that wait for sessions to end.
    gone: Condvar,
    /// Whether a shutdown no longer waits for sessions to end by themselves.
    hurried: AtomicBool,
    pub(crate) resumed: Resumed,
}

/// The entry of a session in the register. Dropping it removes the entry.
pub(crate) struct Registration {
    register: Arc<Register>,
    pub(crate) number: u64,
    pub(crate) line: Arc<SessionHandle>,
}

impl Register {
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

    /// Makes void each login that is in progress. Those that were made before are among the sessions.
    pub(crate) fn void_logins(&self) {
        self.voided.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns a number that changes when the logins in progress become void.
    pub(crate) fn voided_logins(&self) -> u64 {
        self.voided.load(Ordering::SeqCst)
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

/// Flag of a session that carries out a command.
const WORKING: u8 = 1;

/// Flag of a session that must end, but only after the command that it carries out.
const DISMISSED: u8 = 2;

/// A session in the register: its control connection and its flags.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    pub(crate) stream: TcpStream,
    /// Whether a transfer or other long work is running. A shutdown then lets the session continue
    /// during the grace period.
    busy: AtomicBool,
    /// Whether the transfer depends on the client: it waits for data, for room to send, or for a
    /// connection.
    moving: AtomicBool,
    /// Whether the session must end, whatever it is doing.
    cut: AtomicBool,
    /// [`WORKING`] and [`DISMISSED`], in one value so that no command can begin unnoticed during a
    /// dismissal.
    turn: AtomicU8,
    /// Whether the connection was closed to make room for another connection.
    gave_way: AtomicBool,
    /// Whether the connection is under TLS. Only the session can then write a reply that the client
    /// understands.
    protected: AtomicBool,
    /// The state of the session that other threads may see.
    pub(crate) shown: Arc<Shown>,
}

impl SessionHandle {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self {
            stream,
            busy: AtomicBool::default(),
            moving: AtomicBool::default(),
            cut: AtomicBool::default(),
            turn: AtomicU8::default(),
            gave_way: AtomicBool::default(),
            protected: AtomicBool::default(),
            shown: Arc::new(Shown::new(peer)),
        }
    }

    /// Sets whether a transfer or other long work is running.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
        self.moving.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Sets whether the transfer depends on the client; while the storage works, it does not.
    pub(crate) fn set_moving(&self, moving: bool) {
        self.moving.store(moving, Ordering::SeqCst);
    }

    /// Sets whether TLS is on.
    pub(crate) fn set_protected(&self, protected: bool) {
        self.protected.store(protected, Ordering::SeqCst);
    }

    /// Returns whether TLS is on, so that only the session may write.
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::SeqCst)
    }

    /// Returns whether the session must end now, whatever it is doing.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Begins a command. Returns `false` if the session must end instead.
    pub(crate) fn begin_command(&self) -> bool {
        self.turn.fetch_or(WORKING, Ordering::SeqCst) & DISMISSED == 0
    }

    pub(crate) fn end_command(&self) {
        self.turn.fetch_and(!WORKING, Ordering::SeqCst);
        self.shown.note_command();
    }

    /// Returns whether the session must end as soon as no command runs.
    pub(crate) fn is_dismissed(&self) -> bool {
        self.turn.load(Ordering::SeqCst) & DISMISSED != 0
    }

    pub(super) fn must_end(&self, register: &Register) -> bool {
        register.is_draining() || self.is_cut() || self.is_dismissed()
    }

    /// Ends the session: after the running command if there is one, otherwise at once. Returns
    /// `false` if the session was dismissed already.
    pub(super) fn dismiss(&self) -> bool {
        let before = self.turn.fetch_or(DISMISSED, Ordering::SeqCst);
        if before & WORKING == 0 {
            self.wake();
        }
        before & DISMISSED == 0
    }

    /// Returns whether a transfer that depends on the client has moved no byte for `stall`. `seen`
    /// keeps the state of the previous call.
    fn stands_still(&self, seen: &mut Option<(u64, Instant)>, stall: Duration) -> bool {
        let now = self.moving.load(Ordering::SeqCst).then(|| self.shown.moved());
        *seen = now.map(|moved| match *seen {
            Some((before, since)) if before == moved => (moved, since),
            _ => (moved, Instant::now()),
        });
        seen.is_some_and(|(_, since)| since.elapsed() >= stall)
    }

    pub(crate) fn has_given_way(&self) -> bool {
        self.gave_way.load(Ordering::SeqCst)
    }

    /// Ends the session now to make room for another connection. In plaintext, sends a last reply.
    pub(crate) fn give_way(&self) {
        self.gave_way.store(true, Ordering::SeqCst);
        self.cut.store(true, Ordering::SeqCst);
        self.break_off(&Refusal::Full.reply());
    }

    /// Returns whether the client has closed its side, so that no further command arrives. In
    /// plaintext, unread bytes may be commands. Under TLS, unread bytes do not count, because they
    /// may be just the end of TLS.
    pub(crate) fn is_left(&self) -> bool {
        let has_no_input = || {
            let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
            let next = recv(&self.stream, &mut [0_u8; 1][..], flags);
            !matches!(next, Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR))
        };
        is_hung_up(&self.stream) && (self.is_protected() || has_no_input())
    }

    /// Ends a blocked read of the control connection; writing the last 421 still works.
    pub(super) fn wake(&self) {
        // Fails if the peer has disconnected already, but then the read has ended too.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Ends the connection in place of the session's thread, which is stuck. In plaintext, sends a
    /// 421. When the thread continues, it can neither read nor write.
    pub(crate) fn time_out(&self) {
        let peer = self.shown.peer();
        log::error!("{peer}: checking the login took too long: connection closed");
        self.break_off(&Reply::new(ReplyCode::SERVICE_CLOSING, "Timeout"));
    }

    /// Closes a connection from outside of its session. In plaintext, first sends this last reply.
    pub(crate) fn break_off(&self, reply: &Reply) {
        if !self.is_protected() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // A peer that has disconnected, or has left a buffer of replies unread, needs no reply.
            let _ = rustix::net::send(&self.stream, &reply.encode(), flags);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A session at the time of [`Server::sessions`](crate::Server::sessions).
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Number of the session, counted from 1: the number in events and log lines, and the argument
    /// of [`Server::kick`](crate::Server::kick).
    pub number: u64,
    /// The client's address on the control connection; an IPv4-mapped address appears as IPv4.
    pub peer: SocketAddr,
    /// Name of the logged-in user, byte for byte as `USER` had it; `None` if no user is logged in.
    pub user: Option<Vec<u8>>,
    /// Virtual host of the login; `None` if there is no login or no host, or if
    /// [`ServerConfig::hosts`](crate::ServerConfig::hosts) is empty.
    pub host: Option<HostName>,
    /// Time at which the client connected.
    pub since: SystemTime,
    /// TLS version of the control connection; `None` in plaintext.
    pub tls: Option<TlsVersion>,
    /// Time since the last command ended, or since the client connected if it has sent no command;
    /// zero during a transfer.
    pub idle: Duration,
    /// Current activity.
    pub activity: Activity,
}

ftp_proto::debug_fields!(SessionInfo {
    number,
    peer,
    user: user.as_deref().map(Escaped),
    host,
    since,
    tls,
    idle,
    activity,
});

/// Activity of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Activity {
    /// Waiting for a command, or carrying out a short one.
    Idle,
    /// Carrying out a transfer, or another long command.
    #[non_exhaustive]
    Transfer {
        /// The command.
        verb: Verb,
        /// Path of the file or directory.
        path: VirtualPath,
        /// Bytes moved so far, updated every 4 MiB or every 250 ms, whichever comes first.
        bytes: u64,
        /// Time since the command arrived.
        elapsed: Duration,
    },
}

/// The published state of a session. The session writes this state at a login or logout, when TLS
/// begins or ends, and when a transfer begins or ends. During a transfer, it updates only the
/// number of bytes, and after a command only the time of the last command.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The peer address of the connection; after a balancer's header was read, the client's
    /// address.
    peer: Lock<SocketAddr>,
    since: SystemTime,
    /// The same time as `since`, by the monotonic clock.
    begun: Instant,
    /// Milliseconds from `begun` to the end of the last command.
    last_command: AtomicU64,
    user: Lock<Option<Vec<u8>>>,
    /// The virtual host, boxed because most sessions have none.
    host: Lock<Option<Box<HostName>>>,
    tls: Lock<Option<TlsVersion>>,
    transfer: Lock<Option<(Verb, VirtualPath, Instant)>>,
    moved: AtomicU64,
}

impl Shown {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self {
            peer: Lock::new(peer),
            since: SystemTime::now(),
            begun: Instant::now(),
            last_command: AtomicU64::new(0),
            user: Lock::default(),
            host: Lock::default(),
            tls: Lock::default(),
            transfer: Lock::default(),
            moved: AtomicU64::new(0),
        }
    }

    /// Sets the client's address of a connection that a balancer forwards.
    pub(crate) fn set_peer(&self, peer: SocketAddr) {
        *self.peer.lock() = peer;
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        *self.peer.lock()
    }

    pub(crate) fn set_login(&self, user: Option<&[u8]>, host: Option<&HostName>) {
        *self.host.lock() = host.cloned().map(Box::new);
        *self.user.lock() = user.map(<[u8]>::to_vec);
    }

    /// Sets the TLS version; `None` in plaintext.
    pub(crate) fn set_tls(&self, version: Option<TlsVersion>) {
        *self.tls.lock() = version;
    }

    /// Records the end of a command.
    fn note_command(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_command.store(now, Ordering::Relaxed);
    }

    pub(crate) fn set_transfer(&self, verb: Verb, path: VirtualPath) {
        self.set_moved(0);
        *self.transfer.lock() = Some((verb, path, Instant::now()));
    }

    pub(crate) fn end_transfer(&self) {
        self.set_moved(0);
        *self.transfer.lock() = None;
    }

    pub(crate) fn set_moved(&self, bytes: u64) {
        self.moved.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn info(&self, number: u64) -> SessionInfo {
        let bytes = self.moved();
        let activity = match self.transfer.lock().clone() {
            Some((verb, path, begun)) => {
                Activity::Transfer { verb, path, bytes, elapsed: begun.elapsed() }
            }
            None => Activity::Idle,
        };
        let last_command = Duration::from_millis(self.last_command.load(Ordering::Relaxed));
        let idle = match activity {
            Activity::Idle => self.begun.elapsed().saturating_sub(last_command),
            Activity::Transfer { .. } => Duration::ZERO,
        };
        let peer = self.peer();
        let since = self.since;
        let user = self.user.lock().clone();
        let host = self.host.lock().as_deref().cloned();
        let tls = *self.tls.lock();
        SessionInfo { number, peer, user, host, since, tls, idle, activity }
    }
}
