//! The part of a session that other threads may use: its control connection and its flags.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyCode};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

use super::session_list::Shown;
use crate::context::Context;
use crate::log::Refusal;
use crate::net::socket::is_hung_up;

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

    /// Returns whether a transfer or other long work is running.
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

    /// Records the end of a command.
    pub(crate) fn end_command(&self) {
        self.turn.fetch_and(!WORKING, Ordering::SeqCst);
        self.shown.note_command();
    }

    /// Returns whether the session must end as soon as no command runs.
    pub(crate) fn is_dismissed(&self) -> bool {
        self.turn.load(Ordering::SeqCst) & DISMISSED != 0
    }

    /// Returns whether the server ends the session.
    pub(super) fn must_end(&self, context: &Context) -> bool {
        context.is_draining() || self.is_cut() || self.is_dismissed()
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
    pub(super) fn stands_still(&self, seen: &mut Option<(u64, Instant)>, stall: Duration) -> bool {
        let now = self.moving.load(Ordering::SeqCst).then(|| self.shown.moved());
        *seen = now.map(|moved| match *seen {
            Some((before, since)) if before == moved => (moved, since),
            _ => (moved, Instant::now()),
        });
        seen.is_some_and(|(_, since)| since.elapsed() >= stall)
    }

    /// Returns whether the connection was closed to make room for another connection.
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
