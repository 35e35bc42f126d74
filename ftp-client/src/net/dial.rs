//! Connecting: from a server's name to a connected non-blocking socket, within a time limit, directly,
//! through a proxy or by the caller's connector.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::NetworkProtocol;
use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::proxy::Route;
use super::wait::{Deadline, Waiter};
use super::{Server, SharedConnector, Stream};
use crate::config::Config;
use crate::error::{Error, Phase, ProxyFault, Unsupported};
use crate::trace;

/// The time before the next address is tried in parallel (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// The shortest delay between addresses, if a short timeout must cover many addresses.
const LEAST_STAGGER: Duration = Duration::from_millis(10);

/// The maximum number of addresses to try for a name. Each needs a socket until one of them has
/// connected.
const MOST_ADDRESSES: usize = 32;

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
        Some(_) if config.bind.is_some() || config.family.is_some() => {
            Err(Error::Unsupported(Unsupported::ConnectorAndAddress))
        }
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

pub(crate) fn any_of(
    addresses: Vec<SocketAddr>,
    config: &Config,
    waiter: &Waiter,
    deadline: Deadline,
) -> Result<Stream, Error> {
    let stagger = stagger(config.timeouts.connect, addresses.len());
    race(addresses, config.bind, stagger, waiter, deadline)
}

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
    let stream = waiter.run(deadline, work)?.and_then(Stream::of_any_kind).map_err(Error::io)?;
    trace::note(format_args!("connected to {}:{port} by the connector", server.host));
    Ok(stream)
}

impl Route {
    /// Opens the control connection to `server`, and keeps the addresses that worked.
    pub(crate) fn control(
        &mut self,
        server: &Server,
        config: &Config,
        waiter: &Waiter,
    ) -> Result<Stream, Error> {
        let proxy = &self.proxy;
        let name = |error| proxy.name(error, Phase::Proxy);
        let places = resolve(&proxy.server, config, waiter).map_err(name)?;
        let targets = self.targets(server, config, waiter)?;
        let deadline = waiter.deadline(config.timeouts.connect, Phase::Proxy);
        let mut refused = None;
        for target in targets {
            let stream = any_of(places.clone(), config, waiter, deadline).map_err(name)?;
            let at = stream.addresses().map_err(|error| name(Error::io(error)))?.1;
            match self.ask(stream, server, target, waiter, deadline) {
                Ok(stream) => {
                    (self.at, self.target) = (Some(at), target);
                    return Ok(stream);
                }
                // Another address of the server may be reachable.
                Err(error @ Error::Proxy { fault: ProxyFault::Refused { .. }, .. }) => {
                    refused = refused.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(Error::Closed))
    }

    pub(crate) fn data(
        &self,
        server: &Server,
        config: &Config,
        waiter: &Waiter,
        deadline: Deadline,
    ) -> Result<Stream, Error> {
        let place = self.at.ok_or(Error::Closed)?;
        let name = |error| self.proxy.name(error, Phase::DataConnect);
        let stream = any_of(vec![place], config, waiter, deadline).map_err(name)?;
        self.ask(stream, server, self.target, waiter, deadline)
    }

    /// Returns the server's addresses to request from the proxy; `None` requests the server by
    /// name.
    fn targets(
        &self,
        server: &Server,
        config: &Config,
        waiter: &Waiter,
    ) -> Result<Vec<Option<IpAddr>>, Error> {
        if !self.proxy.needs_address() {
            return Ok(vec![None]);
        }
        let addresses = resolve(server, config, waiter)?;
        Ok(addresses.into_iter().map(|address| Some(address.ip())).collect())
    }
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
        let hint = if host.is_ascii() { "" } else { "; write the name in its form with xn--" };
        Error::io(io::Error::new(error.kind(), format!("cannot resolve {host:?}: {error}{hint}")))
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
        Error::io(io::Error::new(kind, format!("cannot connect to {}", reasons.join("; "))))
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
