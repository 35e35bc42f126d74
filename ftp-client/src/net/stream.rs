//! Connected sockets, none of which ever blocks: waiting is done elsewhere.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::{SockRef, TcpKeepalive};

use super::transport::Transport;
use crate::error::Error;
use crate::tls::Session;

/// Between probes of a connection on which nothing moves, and how many go unanswered before it
/// counts as broken.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;

/// What Linux takes for the time before the first probe.
const LEAST_IDLE: Duration = Duration::from_secs(1);
const MOST_IDLE: Duration = Duration::from_secs(32_767);

/// A connected socket, control or data, and what encrypts it, if anything does.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Box<dyn Transport>,
    /// The failure that was taken from the socket before the first read or write.
    broken: Option<io::Error>,
    tls: Option<Box<Session>>,
}

impl Stream {
    /// Takes over a TCP socket.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        Self::of_any_kind(Box::new(socket))
    }

    /// Takes over what a caller's connector gave, of which only is known that it is a stream.
    pub(crate) fn of_any_kind(socket: Box<dyn Transport>) -> io::Result<Self> {
        socket.set_nonblocking()?;
        Ok(Self { socket, broken: None, tls: None })
    }

    /// Takes over a socket that was connected and has failed since. The kernel tells that once,
    /// and a later read would look like the end of the data.
    pub(crate) fn broken(socket: TcpStream, error: io::Error) -> Self {
        Self { socket: Box::new(socket), broken: Some(error), tls: None }
    }

    /// The TCP socket, if what is written goes through it as it is.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn plain_tcp(&self) -> Option<&TcpStream> {
        self.socket.as_tcp().filter(|_| self.broken.is_none() && self.tls.is_none())
    }

    /// Has the kernel look whether the peer is there when nothing moved for `idle`, cut to what it
    /// can be told.
    pub(crate) fn keep_alive(&self, idle: Option<Duration>) -> io::Result<()> {
        let Some((idle, tcp)) = idle.zip(self.socket.as_tcp()) else { return Ok(()) };
        let idle = idle.clamp(LEAST_IDLE, MOST_IDLE);
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(PROBE_INTERVAL);
        #[cfg(not(windows))]
        let keepalive = keepalive.with_retries(PROBES);
        SockRef::from(tcp).set_tcp_keepalive(&keepalive)
    }

    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.socket.as_tcp().ok_or(ErrorKind::Unsupported)?;
        Ok((tcp.local_addr()?, tcp.peer_addr()?))
    }

    /// Reads what there is; 0 is the end, `None` means that nothing is there yet.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        match &mut self.tls {
            None => unless_it_would_block(|| self.socket.read(buffer)),
            Some(tls) => tls.read(&mut *self.socket, buffer),
        }
    }

    /// Writes as much as the kernel takes; `None` means that it has no room yet. Under TLS some of
    /// what was taken may wait for [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        match &mut self.tls {
            None => unless_it_would_block(|| self.socket.write(bytes)),
            Some(tls) => tls.write(&mut *self.socket, bytes),
        }
    }

    /// Sends what TLS holds back; false if there is no room for all of it yet.
    pub(crate) fn flush(&mut self) -> Result<bool, Error> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.flush(&mut *self.socket))
    }

    /// Goes on under TLS: [`handshake`](Self::handshake) comes next.
    pub(crate) fn encrypt(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// What encrypts it.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Goes on with the handshake; what to wait for before the next step, or `None` when it is
    /// done.
    pub(crate) fn handshake(&mut self) -> Result<Option<PollFlags>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        let Some(tls) = &mut self.tls else { return Ok(None) };
        loop {
            let interest = tls.handshake(&mut *self.socket)?;
            // What was taken from the descriptor already is not waited for there.
            if interest != Some(PollFlags::IN) || !self.socket.has_unread() {
                return Ok(interest);
            }
        }
    }

    /// Whether a read would not have to wait, whatever the kernel says: TLS decrypts more at a
    /// time than is asked for.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket.has_unread() || self.tls.as_ref().is_some_and(|tls| tls.has_unread())
    }

    /// Under TLS: whether there is data, or the end, which is left to be read.
    pub(crate) fn look(&mut self) -> Result<bool, Error> {
        self.tls.as_mut().map_or(Ok(false), |tls| tls.look(&mut *self.socket))
    }

    /// Marks the end of what is sent as TLS does, where that is on. The mark may have to wait for
    /// [`flush`](Self::flush).
    pub(crate) fn mark_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.end();
        }
    }

    /// Says good-bye as TLS does, if there is room for it.
    pub(crate) fn say_end(&mut self) {
        self.mark_end();
        // Nobody waits for it, and a peer that has left needs none.
        let _ = self.flush();
    }

    /// Sends a few bytes, the last of them as urgent data.
    pub(crate) fn write_urgent(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(tcp) = self.socket.as_tcp() else {
            return Err(Error::Io(ErrorKind::Unsupported.into()));
        };
        match SockRef::from(tcp).send_out_of_band(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Error::Io(ErrorKind::WriteZero.into())),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Marks the end of what is sent, in good order.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    /// Makes closing this socket look like a failure to the peer, not like the end of the data,
    /// until [`end_writing`](Self::end_writing) says that it is one.
    pub(crate) fn reset_when_closed(&self) {
        self.socket.reset_when_dropped();
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn unless_it_would_block(
    mut call: impl FnMut() -> io::Result<usize>,
) -> Result<Option<usize>, Error> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Io(error)),
        }
    }
}
