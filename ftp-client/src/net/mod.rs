//! Servers, and the connections to them. The module `dial` connects, and `wait` does the waiting.

pub(crate) mod dial;
pub(crate) mod proxy;
pub(crate) mod wait;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::{HostName, ParseError, ParseErrorKind};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::{SockRef, Socket, TcpKeepalive};

use crate::error::Error;
use crate::tls::Session;
use wait::Transport;

/// The default ports: 21 (RFC 959 §8), and 990 for implicit TLS.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Server {
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Writes host and port as [`parse`](Server::parse) reads them.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Server {
    /// Returns the argument of `HOST`: a name of ASCII labels, or an address. The zone of a
    /// link-local address has a meaning only on the client's host, so it is left out.
    pub(crate) fn host_name(&self) -> Result<HostName, ParseError> {
        let address = self.host.split_once('%').map_or(self.host.as_str(), |(address, _)| address);
        let address = address.parse().map(HostName::Address);
        address.or_else(|_| HostName::parse(self.host.as_bytes()))
    }

    /// Parses `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address.
    pub(crate) fn parse(text: &str, is_implicit: bool) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("server", at, kind);
        if let Some(at) = text.bytes().position(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        let bare =
            |host: &str| host.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        let (host, port, at) = match text.strip_prefix('[') {
            Some(rest) => {
                let close = rest.find(']');
                let close = close.ok_or(error(text.len(), ParseErrorKind::UnexpectedEnd))?;
                let (host, rest) = rest.split_at(close);
                if !bare(host) {
                    return Err(error(1, ParseErrorKind::UnexpectedByte));
                }
                let at = close + 2;
                match rest.get(1..).expect("the rest begins with `]`") {
                    "" => (host, None, at),
                    rest => match rest.strip_prefix(':') {
                        Some(port) => (host, Some(port), at + 1),
                        None => return Err(error(at, ParseErrorKind::UnexpectedByte)),
                    },
                }
            }
            None if bare(text) => (text, None, 0),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port), host.len() + 1),
                None => (text, None, 0),
            },
        };
        if host.is_empty() {
            return Err(error(0, ParseErrorKind::UnexpectedEnd));
        }
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|port| digits && *port != 0)
        };
        let port = match port {
            Some(text) => number(text).ok_or(error(at, ParseErrorKind::BadNumber))?,
            None if is_implicit => IMPLICIT_PORT,
            None => PORT,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// The interval between keepalive probes, and the number of unanswered ones after which a
/// connection counts as broken.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;

/// The shortest and the longest idle time before keepalive probes that Linux accepts.
const LEAST_IDLE: Duration = Duration::from_secs(1);
const MOST_IDLE: Duration = Duration::from_secs(32_767);

/// A connected socket, control or data, and its TLS session, if any.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Box<dyn Transport>,
    /// An error that was taken from the socket before the first read or write.
    broken: Option<io::Error>,
    tls: Option<Box<Session>>,
    /// The time it took to connect; for a connection from a proxy or a connector, all its work.
    pub(crate) connecting: Duration,
}

impl Stream {
    /// Takes over a TCP socket that does not block.
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket: Box::new(socket), broken: None, tls: None, connecting: Duration::ZERO }
    }

    /// Takes over a transport from the caller's connector.
    pub(super) fn of_any_kind(socket: Box<dyn Transport>) -> io::Result<Self> {
        socket.set_nonblocking()?;
        Ok(Self { socket, broken: None, tls: None, connecting: Duration::ZERO })
    }

    /// Takes over a socket that has become writable because the attempt to connect has succeeded or
    /// failed. A reset means that the attempt succeeded and the peer has closed the connection
    /// since; a refused attempt causes another error. The first read or write returns the reset.
    /// The kernel reports it only once, so a later read would look like the end of the data.
    pub(crate) fn connected(socket: Socket) -> io::Result<Self> {
        let broken = match socket.take_error()? {
            Some(error) if error.kind() != ErrorKind::ConnectionReset => return Err(error),
            error => error,
        };
        Ok(Self { broken, ..Self::new(socket.into()) })
    }

    /// Returns the TCP socket, if bytes go through it unchanged.
    pub(crate) fn plain_tcp(&self) -> Option<&TcpStream> {
        self.socket.as_tcp().filter(|_| self.broken.is_none() && self.tls.is_none())
    }

    /// Makes the kernel send each write at once, even if the peer has not confirmed the previous
    /// one yet.
    pub(crate) fn send_at_once(&self) -> io::Result<()> {
        self.socket.as_tcp().map_or(Ok(()), |tcp| tcp.set_nodelay(true))
    }

    /// Makes the kernel confirm received bytes at once. A server under Nagle's algorithm holds back
    /// its next reply until the last one is confirmed, and the kernel would take 40 ms for that.
    pub(crate) fn acknowledge(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(tcp) = self.socket.as_tcp() {
            // Without it, the replies arrive later.
            let _ = SockRef::from(tcp).set_tcp_quickack(true);
        }
    }

    /// Enables keepalive probes after `idle`, clamped to the range that the kernel accepts.
    pub(crate) fn keep_alive(&self, idle: Option<Duration>) -> io::Result<()> {
        let Some((idle, tcp)) = idle.zip(self.socket.as_tcp()) else { return Ok(()) };
        let idle = idle.clamp(LEAST_IDLE, MOST_IDLE);
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(PROBE_INTERVAL);
        let keepalive = keepalive.with_retries(PROBES);
        SockRef::from(tcp).set_tcp_keepalive(&keepalive)
    }

    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.socket.as_tcp().ok_or(ErrorKind::Unsupported)?;
        Ok((tcp.local_addr()?, tcp.peer_addr()?))
    }

    /// Reads available bytes. Returns 0 at the end, and `None` if nothing is available yet.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let read = match &mut self.tls {
            None => unless_it_would_block(|| self.socket.read(buffer)),
            Some(tls) => tls.read(&mut *self.socket, buffer),
        };
        // What arrived before the reset can still be read.
        match self.broken.take_if(|_| !matches!(read, Ok(Some(1..)))) {
            Some(error) => Err(Error::io(error)),
            None => read,
        }
    }

    /// Writes as much as the kernel takes. Returns `None` if the kernel has no room yet. Under TLS,
    /// some bytes may stay buffered until [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::io(error));
        }
        match &mut self.tls {
            None => unless_it_would_block(|| self.socket.write(bytes)),
            Some(tls) => tls.write(&mut *self.socket, bytes),
        }
    }

    /// Sends buffered TLS data. Returns `false` if the kernel has no room for some of it yet.
    pub(crate) fn flush(&mut self) -> Result<bool, Error> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.flush(&mut *self.socket))
    }

    /// Switches to TLS: [`handshake`](Self::handshake) comes next.
    pub(crate) fn encrypt(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Continues the handshake. Returns what to wait for before the next step, or `None` once the
    /// handshake is complete.
    pub(crate) fn handshake(&mut self) -> Result<Option<PollFlags>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::io(error));
        }
        let Some(tls) = &mut self.tls else { return Ok(None) };
        loop {
            let interest = tls.handshake(&mut *self.socket)?;
            // Polling would miss bytes that the transport has already taken from the descriptor.
            if interest != Some(PollFlags::IN) || !self.socket.has_unread() {
                return Ok(interest);
            }
        }
    }

    /// Returns whether a read would return at once, even if the descriptor is not readable: TLS may
    /// have decrypted more than was requested.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket.has_unread() || self.tls.as_ref().is_some_and(|tls| tls.has_unread())
    }

    /// Returns whether TLS has data, or the end of the data, ready to be read; `false` without TLS.
    pub(crate) fn look(&mut self) -> Result<bool, Error> {
        self.tls.as_mut().map_or(Ok(false), |tls| tls.look(&mut *self.socket))
    }

    /// Queues close_notify, if TLS is on; [`flush`](Self::flush) sends it.
    pub(crate) fn mark_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.end();
        }
    }

    /// Sends close_notify, if TLS is on and there is room for it.
    pub(crate) fn say_end(&mut self) {
        self.mark_end();
        // Best effort, because a peer that has disconnected does not need it.
        let _ = self.flush();
    }

    /// Sends a few bytes, the last of them as urgent data.
    pub(crate) fn write_urgent(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(tcp) = self.socket.as_tcp() else {
            return Err(Error::io(ErrorKind::Unsupported.into()));
        };
        match SockRef::from(tcp).send_out_of_band(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Error::io(ErrorKind::WriteZero.into())),
            Err(error) => Err(Error::io(error)),
        }
    }

    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    /// Makes the peer see a failure, not the end of the data, if this socket is closed before
    /// [`end_writing`](Self::end_writing).
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
            Err(error) => return Err(Error::io(error)),
        }
    }
}

#[derive(Clone)]
pub(crate) struct SharedConnector(pub(crate) Arc<Connect>);

/// Connects to a host and port, for data or not, within a time.
pub(crate) type Connect =
    dyn Fn(&str, u16, bool, Duration) -> io::Result<Box<dyn Transport>> + Send + Sync;

impl fmt::Debug for SharedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_command_gets_a_name_or_an_address_cl_01() {
        for (server, want) in [
            ("FTP.example.org:2121", Some("ftp.example.org")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[fe80::1%eth0]:21", Some("[fe80::1]")),
            ("under_score.example", None),
        ] {
            let name = Server::parse(server, false).unwrap().host_name().ok();
            assert_eq!(name.map(|name| name.to_string()).as_deref(), want, "{server}");
        }
    }

    #[test]
    fn server_addresses_are_parsed() {
        for (text, want) in [
            ("ftp.example.org", Some(("ftp.example.org", 21))),
            ("ftp.example.org:2121", Some(("ftp.example.org", 2_121))),
            ("192.0.2.1:21", Some(("192.0.2.1", 21))),
            ("[2001:db8::1]:2121", Some(("2001:db8::1", 2_121))),
            ("[2001:db8::1]", Some(("2001:db8::1", 21))),
            ("[fe80::1%eth0]:21", Some(("fe80::1%eth0", 21))),
            ("2001:db8::1", Some(("2001:db8::1", 21))),
            ("fe80::1%eth0", Some(("fe80::1%eth0", 21))),
            ("::1", Some(("::1", 21))),
            ("", None),
            (":21", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:+21", None),
            ("host:21:21", None),
            ("[::1", None),
            ("[]", None),
            ("[::1]21", None),
            ("[host]:21", None),
            ("host\r\nx", None),
            ("ho st", None),
        ] {
            let server = Server::parse(text, false).ok();
            let want = want.map(|(host, port)| Server { host: host.to_owned(), port });
            assert_eq!(server, want, "{text}");
        }
    }
}
