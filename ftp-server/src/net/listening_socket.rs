//! A listening socket that a server and its accept loop share.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use socket2::SockRef;

use super::socket::is_ready;

/// Value of [`ListeningSocket::waited`] if no connection waited.
const NONE: u64 = u64::MAX;

/// A listening socket, and a count that shows whether its accept loop still runs.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    socket: TcpListener,
    /// An event descriptor that wakes the accept loop of a shared socket; `None` for the server's
    /// own sockets. Another process, such as a service manager, may hold a shared socket, and
    /// shutdown(2) would end the socket for all processes.
    bell: Option<OwnedFd>,
    /// Number of calls of [`accept`](Self::accept).
    turns: AtomicU64,
    /// The number of turns at the last call of [`responds`](Self::responds) if a connection waited
    /// then, otherwise [`NONE`].
    waited: AtomicU64,
}

impl ListeningSocket {
    /// Takes over a socket that only this server uses.
    pub(crate) fn own(socket: TcpListener) -> Self {
        Self { socket, bell: None, turns: AtomicU64::new(0), waited: AtomicU64::new(NONE) }
    }

    /// Takes over a socket that stays open elsewhere when the server stops.
    ///
    /// # Errors
    ///
    /// Returns the system's error, such as `EMFILE`, if a system call fails.
    pub(crate) fn shared(socket: TcpListener) -> io::Result<Self> {
        // accept(2) must not block if another process takes the connection after poll(2).
        socket.set_nonblocking(true)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { bell: Some(bell), ..Self::own(socket) })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// Returns the error of poll(2) or accept(2). After [`close`](Self::close), a shared socket
    /// returns `EAGAIN`.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if let Some(bell) = &self.bell {
            let socket = PollFd::new(&self.socket, PollFlags::IN);
            let mut both = [PollFd::new(bell, PollFlags::IN), socket];
            poll(&mut both, None)?;
            let [bell, _] = both;
            if !bell.revents().is_empty() {
                return Err(Errno::AGAIN.into());
            }
        }
        self.socket.accept()
    }

    /// Makes [`accept`](Self::accept) fail at once, in the current call and in later ones.
    pub(crate) fn close(&self) {
        // Neither call can fail: the socket listens, and the counter of the event descriptor is 0.
        match &self.bell {
            Some(bell) => drop(rustix::io::write(bell, &1_u64.to_ne_bytes())),
            None => drop(SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both)),
        }
    }

    /// Returns `false` if a connection waits now and one waited at the previous call, but the
    /// accept loop has made no turn in between.
    pub(crate) fn responds(&self) -> bool {
        let turns = self.turns.load(Ordering::Relaxed);
        let waits = is_ready(&self.socket, PollFlags::IN, Duration::ZERO).unwrap_or(false);
        let now = if waits { turns } else { NONE };
        let former = self.waited.swap(now, Ordering::Relaxed);
        !waits || former != turns
    }
}

#[cfg(test)]
mod tests {
    use ftp_tests::wait::wait_until;

    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_listener_is_unresponsive_while_a_connection_waits_too_long() {
        let socket = listener();
        let address = socket.local_addr().unwrap();
        let socket = ListeningSocket::own(socket);
        assert!(socket.responds() && socket.responds());
        let _first = TcpStream::connect(address).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        assert!(socket.responds(), "the connection may have arrived just now");
        wait_until("the connection waits for a long time", || !socket.responds());
        socket.accept().unwrap();
        assert!(socket.responds(), "the loop made a turn");
        socket.accept().unwrap();
        assert!(socket.responds() && socket.responds());
    }

    #[test]
    fn closing_a_shared_listening_socket_keeps_its_duplicate_open() {
        let elsewhere = listener();
        let address = elsewhere.local_addr().unwrap();
        let socket = ListeningSocket::shared(elsewhere.try_clone().unwrap()).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        socket.accept().unwrap();
        socket.close();
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(socket);
        let _client = TcpStream::connect(address).unwrap();
        elsewhere.set_nonblocking(false).unwrap();
        elsewhere.accept().unwrap();
    }
}
