//! The connections: from a server's name to a connected non-blocking socket, within a time limit. The
//! module `wait` does the waiting.

pub(crate) mod proxy;
pub(crate) mod wait;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{HostName, NetworkProtocol, ParseError, ParseErrorKind};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::Config;
use crate::error::{Error, Phase};
use crate::tls::Session;
use crate::trace;
use wait::{Deadline, Transport, Waiter};

/// The time before the next address is tried in parallel (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// The shortest delay between addresses, if a short timeout must cover many addresses.
const LEAST_STAGGER: Duration = Duration::from_millis(10);

/// The maximum number of addresses to try for a name. Each needs a socket until one of them has
/// connected.
const MOST_ADDRESSES: usize = 32;

/// The default ports: 21 (RFC 959 §8), and 990 for implicit TLS.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// A server as callers name it.
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

/// Opens the control connection to `server`, through the proxy or the caller's connector, if any.
pub(crate) fn connect(
    server: &Server,
    config: &mut Config,
    waiter: &Waiter,
) -> Result<Stream, Error> {
    let began = Instant::now();
    let relayed = |mut stream: Stream| {
        stream.connecting = began.elapsed();
        stream
    };
    if let Some(mut route) = config.route.take() {
        let opened = route.control(server, config, waiter);
        config.route = Some(route);
        return opened.map(relayed).inspect(|stream| settle(stream, config));
    }
    match &config.connector {
        Some(_) if config.bind.is_some() || config.family.is_some() => Err(Error::Unsupported(
            "a local address or an address family together with a connector",
        )),
        Some(connector) => {
            let deadline = waiter.deadline(config.timeouts.connect, Phase::Connect);
            through(connector, server, false, waiter, deadline).map(relayed)
        }
        None => {
            let addresses = resolve(server, config, waiter)?;
            let deadline = waiter.deadline(config.timeouts.connect, Phase::Connect);
            any_of(addresses, config, waiter, deadline).inspect(|stream| settle(stream, config))
        }
    }
}

/// Sets the options of a control connection.
fn settle(stream: &Stream, config: &Config) {
    // Errors can be ignored: a connection that has already failed reports the failure when it is
    // used.
    let _ = stream.send_at_once();
    let _ = stream.keep_alive(config.keepalive);
}

/// Connects to one of several addresses.
pub(crate) fn any_of(
    addresses: Vec<SocketAddr>,
    config: &Config,
    waiter: &Waiter,
    deadline: Deadline,
) -> Result<Stream, Error> {
    let stagger = stagger(config.timeouts.connect, addresses.len());
    race(addresses, config.bind, stagger, waiter, deadline)
}

/// Opens a connection with the caller's connector.
pub(crate) fn through(
    SharedConnector(connector): &SharedConnector,
    server: &Server,
    is_data: bool,
    waiter: &Waiter,
    deadline: Deadline,
) -> Result<Stream, Error> {
    let connector = Arc::clone(connector);
    let host = server.host.clone();
    let port = server.port;
    let limit = deadline.remaining()?;
    let work = move || connector(&host, port, is_data, limit);
    let stream = waiter.run(deadline, work)?.and_then(Stream::of_any_kind).map_err(Error::Io)?;
    trace::note(format_args!("connected to {}:{port} by the connector", server.host));
    Ok(stream)
}

/// Begins to connect to an address without waiting, from a local address if one is given.
pub(crate) fn begin(address: SocketAddr, local: Option<IpAddr>) -> io::Result<Socket> {
    let socket = unblocking(address, local)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket),
    }
}

/// Creates a non-blocking TCP socket to connect to an address, from a local address if one is given.
pub(crate) fn unblocking(address: SocketAddr, local: Option<IpAddr>) -> io::Result<Socket> {
    let kind = Type::STREAM;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let kind = kind.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    Ok(socket)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Returns the addresses of a server, at least one, in the order to try them.
pub(crate) fn resolve(
    server: &Server,
    config: &Config,
    waiter: &Waiter,
) -> Result<Vec<SocketAddr>, Error> {
    let Server { host, port } = server;
    let failed = |error: io::Error| {
        Error::Io(io::Error::new(error.kind(), format!("cannot resolve {host:?}: {error}")))
    };
    let all = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, *port)],
        Err(_) => look_up(host, *port, config, waiter)?.map_err(failed)?,
    };
    let is_wanted = |address: &SocketAddr| {
        let of_bind = config.bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        of_bind
            && match config.family {
                None => true,
                Some(NetworkProtocol::Ipv4) => address.is_ipv4(),
                Some(NetworkProtocol::Ipv6) => address.is_ipv6(),
            }
    };
    let why = if all.is_empty() { "no address" } else { "no address of the required family" };
    let wanted = interleave(all.into_iter().filter(is_wanted));
    if wanted.is_empty() {
        return Err(failed(io::Error::new(ErrorKind::NotFound, why)));
    }
    Ok(wanted)
}

/// Looks up the addresses of a name with the system's resolver, which has no timeout of its own.
pub(crate) fn look_up(
    host: &str,
    port: u16,
    config: &Config,
    waiter: &Waiter,
) -> Result<io::Result<Vec<SocketAddr>>, Error> {
    let host = host.to_owned();
    let look_up = move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    waiter.run(waiter.deadline(config.timeouts.resolve, Phase::Resolve), look_up)
}

/// Alternates between the two address families, beginning with the family of the first address.
/// Each family keeps the system's order (RFC 8305 §4).
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let first_is_ipv4 = all.first().is_some_and(SocketAddr::is_ipv4);
    for at in 0..all.len().min(MOST_ADDRESSES) {
        let wants_ipv4 = first_is_ipv4 == (at % 2 == 0);
        // Once one family is used up, the remaining addresses of the other follow.
        let next = all.iter().skip(at).position(|address| address.is_ipv4() == wants_ipv4);
        if let Some(ahead) = next {
            let address = all.remove(at + ahead);
            all.insert(at, address);
        }
    }
    all.truncate(MOST_ADDRESSES);
    all
}

/// Returns the time to wait before trying the next address. Unless `limit` is very short, all
/// addresses can be tried within `limit`.
fn stagger(limit: Duration, addresses: usize) -> Duration {
    let share = limit / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    share.clamp(LEAST_STAGGER, STAGGER)
}

/// Connects to the address that answers first. Tries the next address if an attempt fails or is not
/// answered within `stagger`; earlier attempts may still win.
fn race(
    addresses: Vec<SocketAddr>,
    local: Option<IpAddr>,
    stagger: Duration,
    waiter: &Waiter,
    deadline: Deadline,
) -> Result<Stream, Error> {
    let mut untried = addresses.into_iter().peekable();
    let mut race = Race::default();
    let mut next_try = Instant::now();
    loop {
        let now = Instant::now();
        if race.open.is_empty() || now >= next_try {
            if let Some(address) = untried.next() {
                match begin(address, local) {
                    Ok(socket) => {
                        race.open.push((address, socket, now));
                        next_try = now + stagger;
                    }
                    Err(error) => race.fail(address, error),
                }
                continue;
            }
            if race.open.is_empty() {
                return Err(race.lost(deadline));
            }
        }
        let step = untried.peek().map(|_| Deadline::after(next_try - now, Phase::Connect));
        let ready = match race.wait(waiter, deadline.or(step)) {
            Ok(ready) => ready,
            Err(Error::Timeout(_)) if deadline.remaining().is_ok() => continue,
            Err(Error::Timeout(_)) => {
                race.time_out(untried);
                return Err(race.lost(deadline));
            }
            Err(error) => return Err(error),
        };
        let failures = race.failures.len();
        if let Some(stream) = race.winner(&ready) {
            return Ok(stream);
        }
        if race.failures.len() > failures {
            next_try = now;
        }
    }
}

/// Connections in progress to several addresses of one server.
#[derive(Default)]
struct Race {
    /// Each with the time at which the attempt began.
    open: Vec<(SocketAddr, Socket, Instant)>,
    failures: Vec<(SocketAddr, io::Error)>,
}

impl Race {
    fn fail(&mut self, address: SocketAddr, error: io::Error) {
        trace::note(format_args!("cannot connect to {address}: {error}"));
        self.failures.push((address, error));
    }

    /// Waits until a connection in progress succeeds or fails. Returns for each connection, in
    /// order, whether it has succeeded or failed.
    fn wait(&self, waiter: &Waiter, deadline: Deadline) -> Result<Vec<bool>, Error> {
        let polled = self.open.iter().map(|(_, socket, _)| PollFd::new(socket, PollFlags::OUT));
        let mut fds = polled.collect();
        waiter.wait(&mut fds, deadline)?;
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Returns the first connection that succeeded among the ready sockets; `None` if all of these
    /// failed.
    fn winner(&mut self, ready: &[bool]) -> Option<Stream> {
        let mut ready = ready.iter();
        for (address, socket, began) in std::mem::take(&mut self.open) {
            if ready.next() != Some(&true) {
                self.open.push((address, socket, began));
                continue;
            }
            match Stream::connected(socket) {
                Ok(mut stream) => {
                    trace::note(format_args!("connected to {address}"));
                    stream.connecting = began.elapsed();
                    return Some(stream);
                }
                Err(error) => self.fail(address, error),
            }
        }
        None
    }

    fn time_out(&mut self, untried: impl Iterator<Item = SocketAddr>) {
        for (address, ..) in std::mem::take(&mut self.open) {
            self.fail(address, ErrorKind::TimedOut.into());
        }
        for address in untried {
            self.fail(address, io::Error::new(ErrorKind::TimedOut, "not tried in time"));
        }
    }

    /// Returns the error after all attempts have failed.
    fn lost(self, deadline: Deadline) -> Error {
        if self.failures.iter().all(|(_, error)| error.kind() == ErrorKind::TimedOut) {
            return match deadline.remaining() {
                Ok(_) => Error::Timeout(Phase::Connect),
                Err(error) => error,
            };
        }
        let kind = self.failures.last().map_or(ErrorKind::NotFound, |(_, error)| error.kind());
        let reasons: Vec<String> =
            self.failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
        Error::Io(io::Error::new(kind, format!("cannot connect to {}", reasons.join("; "))))
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
    fn of_any_kind(socket: Box<dyn Transport>) -> io::Result<Self> {
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
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        match &mut self.tls {
            None => unless_it_would_block(|| self.socket.read(buffer)),
            Some(tls) => tls.read(&mut *self.socket, buffer),
        }
    }

    /// Writes as much as the kernel takes. Returns `None` if the kernel has no room yet. Under TLS,
    /// some bytes may stay buffered until [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
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

    /// Returns the TLS session, if any.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Continues the handshake. Returns what to wait for before the next step, or `None` once the
    /// handshake is complete.
    pub(crate) fn handshake(&mut self) -> Result<Option<PollFlags>, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
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
            return Err(Error::Io(ErrorKind::Unsupported.into()));
        };
        match SockRef::from(tcp).send_out_of_band(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Error::Io(ErrorKind::WriteZero.into())),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Ends the outgoing data properly.
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
            Err(error) => return Err(Error::Io(error)),
        }
    }
}

/// The caller's closure that opens connections, as stored in settings.
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
#[cfg(target_os = "linux")]
mod tests {
    use std::net::TcpListener;

    use ftp_tests::port::OwnPort;
    use ftp_tests::wait::patiently;

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

    #[test]
    fn address_families_alternate() {
        let [a, b, c] = [1, 2, 3].map(|last| SocketAddr::from(([192, 0, 2, last], 21)));
        let [x, y] = ["[2001:db8::1]:21", "[2001:db8::2]:21"].map(|text| text.parse().unwrap());
        assert_eq!(interleave([a, b, c, x, y].into_iter()), [a, x, b, y, c]);
        assert_eq!(interleave([x, x, y, a].into_iter()), [x, a, y]);
        assert_eq!(interleave([].into_iter()), []);
        let many = (0..200).map(|last| SocketAddr::from(([192, 0, 2, last], 21)));
        assert_eq!(interleave(many).len(), MOST_ADDRESSES);
    }

    #[test]
    fn the_attempt_delay_fits_all_addresses_into_the_timeout() {
        let limit = Duration::from_secs(10);
        assert_eq!(stagger(limit, 1), STAGGER);
        assert_eq!(stagger(limit, 32), STAGGER);
        assert_eq!(stagger(Duration::from_secs(1), 10), Duration::from_millis(100));
        assert_eq!(stagger(Duration::ZERO, 10), LEAST_STAGGER);
    }
    /// Returns an address that does not answer because its queue is full, and the sockets that keep
    /// the queue full.
    fn black_hole() -> (SocketAddr, TcpListener, Vec<Socket>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let full = (0..4).map(|_| begin(address, None).unwrap()).collect();
        (address, listener, full)
    }

    fn try_all(addresses: &[SocketAddr], limit: Duration) -> Result<SocketAddr, Error> {
        let deadline = Deadline::after(limit, Phase::Connect);
        let waiter = Waiter::default();
        let stagger = Duration::from_millis(20);
        let stream = race(addresses.to_vec(), None, stagger, &waiter, deadline)?;
        Ok(stream.addresses().unwrap().1)
    }

    #[test]
    fn a_reset_right_after_the_connection_is_reported_by_the_first_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = begin(listener.local_addr().unwrap(), None).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        accepted.set_linger(Some(Duration::ZERO)).unwrap();
        drop(accepted);
        let mut stream = Stream::connected(socket).unwrap();
        let read = stream.read(&mut [0]).unwrap_err();
        assert!(
            matches!(&read, Error::Io(error) if error.kind() == ErrorKind::ConnectionReset),
            "{read}"
        );
        assert_eq!(stream.addresses().unwrap_err().kind(), ErrorKind::NotConnected);
    }

    #[test]
    fn the_first_connected_address_wins_and_every_failure_is_named_cl_12() {
        let (hole, _listener, _full) = black_hole();
        let closed = OwnPort::claim_closed();
        let refused = closed.address();
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let live = (live.local_addr().unwrap(), live);
        let late = Duration::from_secs(60);
        for addresses in
            [&[live.0][..], &[hole, live.0], &[refused, live.0], &[hole, hole, refused, live.0]]
        {
            assert_eq!(try_all(addresses, late).unwrap(), live.0, "{addresses:?}");
        }
        patiently(Duration::from_millis(200), |soon| {
            let error = try_all(&[hole, hole], soon).unwrap_err();
            assert!(matches!(error, Error::Timeout(Phase::Connect)), "{error}");
            let error = try_all(&[hole, refused], soon).unwrap_err().to_string();
            assert!(error.contains(&format!("{hole}: ")) && error.contains("timed out"), "{error}");
            let is_named = error.contains(&format!("{refused}: ")) && error.contains("refused");
            assert!(is_named, "{error}");
        });
        let error = try_all(&[refused], late).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
    }

    #[test]
    fn the_next_address_is_not_tried_while_the_previous_has_time() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, second) = (listen(), listen());
        let addresses = [&first, &second].map(|listener| listener.local_addr().unwrap());
        let late = Duration::from_secs(60);
        let deadline = Deadline::after(late, Phase::Connect);
        let stream = race(addresses.to_vec(), None, late, &Waiter::default(), deadline).unwrap();
        assert_eq!(stream.addresses().unwrap().1, addresses[0]);
        second.set_nonblocking(true).unwrap();
        assert_eq!(second.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
