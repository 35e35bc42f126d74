//! Passive data connections: their ports, the sessions that hold them, and the sockets that listen on
//! them; the address in PASV replies (227), and the lookup of host names for it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, OnceLock};
use std::time::Instant;
use std::{fs, io, thread};

use ftp_proto::{AddressClass, Network, PortRanges};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{PassiveAddress, ServerConfig};
use crate::lock::{Lock, unpoisoned};
use crate::net::{random, socket};
use crate::shares::{Share, Shares, table};
use crate::{limits, threads};

/// Number of ports of the system's range to try before asking the system for one.
const TRIES: usize = 8;

/// All ports for passive data connections. No two sessions hold the same port at a time.
#[derive(Debug)]
pub(crate) struct PassivePorts {
    /// The configured ports; `None`: the range of the system.
    ranges: Option<PortRanges>,
    /// The range of the system, if it is known.
    system: Option<RangeInclusive<u16>>,
    /// The clients' shares of the configured ports.
    shares: Arc<Shares>,
    held: Lock<HeldPorts>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct HeldPorts {
    ports: HashSet<u16>,
    /// Ports that sessions have opened, by the number of the share, the oldest first.
    opened: BTreeMap<u64, OpenedPort>,
    returned: u64,
}

/// A port that a session holds until its client connects, or until the session must give it up.
#[derive(Debug)]
struct OpenedPort {
    share: Share,
    port: u16,
    since: Instant,
    listener: Arc<TcpListener>,
}

/// A client's right to one port. Dropping the lease returns the port.
#[derive(Debug)]
struct PortLease {
    ports: Arc<PassivePorts>,
    number: u64,
}

impl PassivePorts {
    pub(crate) fn new(ranges: Option<PortRanges>) -> Arc<Self> {
        let system = match ranges {
            None => of_the_system(),
            Some(_) => None,
        };
        let count = ranges.as_ref().map_or(0, PortRanges::count);
        let shares = Shares::new(&table::PORTS, u64::try_from(count).unwrap_or(u64::MAX));
        let given_back = Condvar::new();
        Arc::new(Self { ranges, system, shares, held: Lock::default(), given_back })
    }

    /// Listens for `client` on the address of `local`. Tries all configured ports, starting at an
    /// unpredictable one (RFC 2577 §8).
    ///
    /// If the client must wait for its share, this method closes a port on which no client has
    /// connected for [`limits::PORT_UNUSED`], whether or not a transfer waits for it. It chooses
    /// the oldest such port of the network that holds the most, if that network holds more than
    /// the client's. If there is no such port, this method waits: a session usually holds a port
    /// only until its client has connected. An immediate 425 would be worse, because clients that
    /// transfer many files at once do not retry after it.
    ///
    /// # Errors
    ///
    /// Returns `AddrInUse` if the client gets no port in time. Otherwise, returns the system's
    /// error.
    pub(crate) fn listen(
        self: &Arc<Self>,
        local: SocketAddr,
        client: IpAddr,
    ) -> io::Result<PassiveListener> {
        let Some(ranges) = &self.ranges else { return self.listen_anywhere(local) };
        let start = Instant::now();
        let deadline = self.shares.deadline();
        let mut share = self.shares.claim(client, 1);
        let mut made_way: Option<Instant> = None;
        loop {
            let before = self.held.lock().returned;
            if share.wait(start) {
                match self.try_all(ranges, local, share) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    listening => return listening,
                }
                // Other programs use some of the ports.
                share = self.shares.claim(client, 1);
            }
            let mut held = self.held.lock();
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if held.returned != before && !left.is_zero() {
                    break;
                }
                // Even if no session holds a port, a child process may still have a copy of a
                // closed port's socket. Nothing signals when the copy closes.
                let is_free = made_way.is_some() || held.ports.is_empty();
                if is_free && made_way.unwrap_or(start).elapsed() < limits::PORT_COPY_WAIT {
                    drop(held);
                    thread::sleep(limits::PORT_COPY_WAIT / 100);
                    break;
                }
                if held.make_way(&share) {
                    made_way = Some(Instant::now());
                    break;
                }
                if held.ports.is_empty() || left.is_zero() {
                    let why = "no port of passive.ports is left for this client";
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
                }
                // Nothing signals that a port has become old enough to be closed.
                let woken = self.given_back.wait_timeout(held, left.min(limits::TICK));
                held = unpoisoned(woken).0;
            }
        }
    }

    /// Listens on a random port of the system's range. Asks the system for a port only if the range
    /// is unknown or several random ports are taken. The system searches for a port that no
    /// connection has used for a minute, which takes milliseconds after several thousand transfers.
    fn listen_anywhere(&self, local: SocketAddr) -> io::Result<PassiveListener> {
        let ports = self.system.as_ref().map(|ports| (*ports.start(), ports.len() as u64));
        for (first, count) in ports.iter().cycle().take(TRIES) {
            let ahead = random::number()?.checked_rem(*count).unwrap_or_default();
            let port = first.saturating_add(u16::try_from(ahead).unwrap_or_default());
            match PassiveListener::bind(local, port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                listening => return listening,
            }
        }
        PassiveListener::bind(local, 0)
    }

    fn try_all(
        self: &Arc<Self>,
        ranges: &PortRanges,
        local: SocketAddr,
        share: Share,
    ) -> io::Result<PassiveListener> {
        let below = u64::try_from(ranges.count()).unwrap_or(u64::MAX);
        let start = random::number()?.checked_rem(below).unwrap_or_default();
        let mut last = Errno::ADDRINUSE;
        for port in ranges.iter_from(usize::try_from(start).unwrap_or_default()) {
            if !self.held.lock().ports.insert(port) {
                continue;
            }
            let error = match PassiveListener::bind(local, port) {
                Ok(listener) => return Ok(self.lease(listener, share)),
                Err(error) => error,
            };
            self.held.lock().ports.remove(&port);
            match Errno::from_io_error(&error) {
                // This port is in use or forbidden, but others may be free.
                Some(errno @ (Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM)) => last = errno,
                _ => return Err(error),
            }
        }
        Err(last.into())
    }

    /// Keeps the listener until its session returns the port or must give it up.
    fn lease(self: &Arc<Self>, passive: PassiveListener, share: Share) -> PassiveListener {
        let PassiveListener { socket, port, since } = passive;
        let socket = match socket {
            PassiveSocket::Own(listener) => {
                let number = share.number();
                let opened = OpenedPort { share, port, since, listener };
                self.held.lock().opened.insert(number, opened);
                PassiveSocket::Leased(PortLease { ports: Arc::clone(self), number })
            }
            leased @ PassiveSocket::Leased(_) => leased,
        };
        PassiveListener { socket, port, since }
    }
}

/// Returns the system's range of ephemeral ports. Returns `None` if the range is unknown, or if the
/// system keeps some ports reserved.
fn of_the_system() -> Option<RangeInclusive<u16>> {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    if !read("ip_local_reserved_ports")?.trim().is_empty() {
        return None;
    }
    let range = read("ip_local_port_range")?;
    let mut ends = range.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
    (1 <= first && first <= last).then_some(first..=last)
}

impl HeldPorts {
    /// Closes the oldest port of the network that holds the most, among ports on which no client
    /// has connected for [`limits::PORT_UNUSED`]. Returns `false` if there is none of a network
    /// that holds more than that of the claim.
    fn make_way(&mut self, claim: &Share) -> bool {
        let unused =
            self.opened.iter().filter(|(_, opened)| opened.since.elapsed() >= limits::PORT_UNUSED);
        let richest = claim.richest(unused.map(|(number, opened)| (&opened.share, *number)));
        richest.is_some_and(|number| self.give_back(number))
    }

    /// Closes a port and makes it available. Returns `false` if the port was returned already.
    fn give_back(&mut self, number: u64) -> bool {
        let Some(OpenedPort { port, listener, .. }) = self.opened.remove(&number) else {
            return false;
        };
        if Arc::strong_count(&listener) > 1 {
            // A transfer waits at the port. This ends its wait.
            let _ = shutdown(&listener, Shutdown::Both);
        }
        drop(listener);
        self.ports.remove(&port);
        true
    }
}

/// A socket that listens for one data connection. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct PassiveListener {
    socket: PassiveSocket,
    port: u16,
    since: Instant,
}

#[derive(Debug)]
enum PassiveSocket {
    /// A port of the system's range.
    Own(Arc<TcpListener>),
    /// A port of the configured ranges. Until the client connects, the port may be closed so that
    /// another client gets it.
    Leased(PortLease),
}

/// A port at which a transfer waits for its client. If the port is given to another client,
/// accept(2) fails. Fields drop in order, so the listener closes before the port is returned.
#[derive(Debug)]
pub(super) struct OpenPort {
    pub(super) listener: Arc<TcpListener>,
    _lease: Option<PortLease>,
}

impl PassiveListener {
    /// Listens on `port` (0: the system chooses) at the IP address of `address`, the server's own
    /// address on the control connection.
    pub(super) fn bind(mut address: SocketAddr, port: u16) -> io::Result<Self> {
        address.set_port(port);
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::PORT_QUEUE)?;
        let listener = TcpListener::from(socket);
        let port = match port {
            0 => listener.local_addr()?.port(),
            chosen => chosen,
        };
        Ok(Self { socket: PassiveSocket::Own(Arc::new(listener)), port, since: Instant::now() })
    }

    /// Returns the listener for a transfer.
    ///
    /// # Errors
    ///
    /// Returns an error if the port was given to another client.
    pub(super) fn open(self) -> io::Result<OpenPort> {
        match self.socket {
            PassiveSocket::Own(listener) => Ok(OpenPort { listener, _lease: None }),
            PassiveSocket::Leased(lease) => match lease.listener() {
                Some(listener) => Ok(OpenPort { listener, _lease: Some(lease) }),
                None => Err(io::Error::other("the port was given to another client")),
            },
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the time at which the socket began to listen.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Returns the listener as if it had listened since `since`.
    #[cfg(test)]
    pub(crate) fn backdated(self, since: Instant) -> Self {
        Self { since, ..self }
    }
}

impl PortLease {
    /// Returns the listener of the port, or `None` if the session has already lost the port.
    fn listener(&self) -> Option<Arc<TcpListener>> {
        self.ports.held.lock().opened.get(&self.number).map(|opened| Arc::clone(&opened.listener))
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut held = self.ports.held.lock();
        if held.give_back(self.number) {
            held.returned += 1;
            self.ports.given_back.notify_all();
        }
    }
}

/// The addresses to announce, and the choice of one for each client.
#[derive(Debug)]
pub(crate) struct Announcer {
    overrides: Vec<(Vec<Network>, Announced)>,
    general: Option<Announced>,
    /// Whether the server has warned that an external client gets an internal address.
    warned: AtomicBool,
    /// The sender that the lookup thread waits on: dropping it ends the thread.
    lookups: OnceLock<Sender<()>>,
}

#[derive(Debug)]
enum Announced {
    Address(Ipv4Addr),
    /// A host name and the last address found for it.
    Name(String, Lock<Option<Ipv4Addr>>),
}

impl Announcer {
    pub(crate) fn new(config: &ServerConfig) -> Arc<Self> {
        let announced = |address: &PassiveAddress| match address {
            PassiveAddress::Address(address) => Announced::Address(*address),
            PassiveAddress::Name(name) => Announced::Name(name.clone(), Lock::default()),
        };
        let overrides = config.passive.overrides.iter();
        Arc::new(Self {
            overrides: overrides.map(|(clients, at)| (clients.clone(), announced(at))).collect(),
            general: config.passive.address.as_ref().map(announced),
            warned: AtomicBool::new(false),
            lookups: OnceLock::new(),
        })
    }

    pub(crate) fn address_for(&self, peer: IpAddr, local: Ipv4Addr) -> Ipv4Addr {
        let special = self.overrides.iter().find(|(networks, _)| socket::is_in(networks, peer));
        let announced = match special {
            Some((_, announced)) => Some(announced),
            // Clients on the loopback interface do not come through a NAT.
            None => self.general.as_ref().filter(|_| !peer.to_canonical().is_loopback()),
        };
        if let Some(address) = announced.and_then(Announced::address) {
            return address;
        }
        let is_outside = AddressClass::of(peer) == AddressClass::Public;
        let is_inside = AddressClass::of(local.into()) != AddressClass::Public;
        if is_outside && is_inside && !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                "PASV: announcing {local}, which {peer} cannot reach: \
                 set passive.address to the public address of this server"
            );
        }
        local
    }

    fn all(&self) -> impl Iterator<Item = &Announced> {
        self.overrides.iter().map(|(_, announced)| announced).chain(&self.general)
    }

    /// Looks up all names. Returns whether each name has been found at least once.
    fn look_up(&self, resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>>) -> bool {
        let mut found = true;
        for announced in self.all() {
            announced.look_up(&resolve);
            found &= announced.address().is_some();
        }
        found
    }

    /// Starts a thread that looks up the names, if there are any. The thread ends when this value
    /// is dropped. Returns after the first lookup of all names, or after [`limits::FIRST_LOOKUP`]
    /// at the latest.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the thread cannot be started.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        let has_names = self.all().any(|announced| matches!(announced, Announced::Name(..)));
        if !has_names || self.lookups.get().is_some() {
            return Ok(());
        }
        let (stop, stopped) = mpsc::channel();
        let (looked_up, first) = mpsc::channel();
        let announcer = Arc::downgrade(self);
        threads::start(Some("ftp-names"), limits::LOOKUP_STACK, move || {
            while let Some(announcer) = announcer.upgrade() {
                let found = announcer.look_up(addresses_of);
                drop(announcer);
                // Sending fails if `start` no longer waits.
                let _ = looked_up.send(());
                let pause = if found { limits::LOOKUP } else { limits::LOOKUP_AGAIN };
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        // This call fails if another thread has already been started. One thread is enough, so the
        // new one ends.
        let _ = self.lookups.set(stop);
        // Without an answer in time, the first sessions announce the local address.
        let _ = first.recv_timeout(limits::FIRST_LOOKUP);
        Ok(())
    }
}

impl Announced {
    fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_, found) => *found.lock(),
        }
    }

    fn look_up(&self, resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>>) {
        let Self::Name(name, found) = self else { return };
        let addresses = match resolve(name) {
            Ok(addresses) => addresses,
            Err(error) => return log::warn!("passive address {name}: {error}"),
        };
        let mut usable = usable(addresses);
        let mut found = found.lock();
        let Some(first) = usable.next() else {
            return log::warn!("passive address {name} has no IPv4 address");
        };
        // A name may have several addresses in changing order. The known address stays in use while
        // it is one of them.
        if !found.is_some_and(|known| known == first || usable.any(|other| other == known)) {
            log::info!("passive address {name} is {first}");
            *found = Some(first);
        }
    }
}

pub(crate) fn addresses_of(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Returns those addresses of a name that PASV can announce.
pub(crate) fn usable(addresses: Vec<IpAddr>) -> impl Iterator<Item = Ipv4Addr> {
    addresses.into_iter().filter_map(|address| match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}
