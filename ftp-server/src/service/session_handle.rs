//! A session as others know it: its control connection, whether it may be woken, and its end.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyCode};
use rustix::net::SendFlags;

use super::session_list::Shown;
use crate::log::Refusal;

/// A session as the register knows it: its control connection, and whether it may be woken.
#[derive(Debug)]
pub(crate) struct SessionHandle {
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

impl SessionHandle {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let [busy, moving, cut, gave_way, protected] = [const { AtomicBool::new(false) }; 5];
        Self { stream, busy, moving, cut, gave_way, protected, shown: Shown::new(peer) }
    }

    /// Says that data moves from now on, or no longer does.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
        self.moving.store(false, Ordering::SeqCst);
    }

    /// Whether data moves.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
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

    /// Whether only the session may write.
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::SeqCst)
    }

    /// Whether the session has to end now, whatever it does.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether no byte of a transfer that depends on the client has moved for `stall`, by what was
    /// `seen` of it before.
    pub(super) fn stands_still(&self, seen: &mut Option<(u64, Instant)>, stall: Duration) -> bool {
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
        self.break_off(&Refusal::Full.reply());
    }

    /// Ends a blocked read of the control connection; writing still works, for the last 421.
    pub(super) fn wake(&self) {
        // It fails where the peer is gone already, and then the read has ended too.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Says 421 and ends the connection in place of the session's thread, which is stuck. When that
    /// goes on, it can neither read nor write.
    pub(crate) fn time_out(&self) {
        let peer = self.stream.peer_addr().map_or_else(|_| "-".to_owned(), |peer| peer.to_string());
        log::error!("{peer}: the login was not decided in time, and its connection is closed");
        self.break_off(&Reply::new(ReplyCode::SERVICE_CLOSING, "Timeout"));
    }

    /// Closes a connection from outside of its session, with this last reply.
    pub(crate) fn break_off(&self, reply: &Reply) {
        if !self.is_protected() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // A peer that is gone, or that has left so much unread, needs no answer.
            let _ = rustix::net::send(&self.stream, &reply.encode(), flags);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
