//! Ports of passive data connections, the sessions that hold them, and the sockets that listen on
//! them.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use ftp_proto::PortRanges;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits;
use crate::lock::unpoisoned;
use crate::net::admission::count_down;
use crate::net::random;
use crate::shares::network_of;

/// Number of ports of the system's range to try before asking the system for one.
const TRIES: usize = 8;

/// All ports for passive data connections. No two sessions hold the same port at a time.
#[derive(Debug)]
pub(crate) struct PassivePorts {
    /// The configured ports; `None`: the range of the system.
    ranges: Option<PortRanges>,
    /// The range of the system, if it is known.
    system: Option<RangeInclusive<u16>>,
    held: Mutex<HeldPorts>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct HeldPorts {
    ports: HashSet<u16>,
    /// Number of ports that each client network holds.
    networks: HashMap<IpAddr, usize>,
    /// Ports that sessions have opened, the oldest first.
    opened: BTreeMap<u64, OpenedPort>,
    /// Number of ports opened so far.
    count: u64,
    /// Number of ports that sessions have returned so far.
    returned: u64,
}

/// A port that a session holds until the session returns it or must give it up.
#[derive(Debug)]
struct OpenedPort {
    network: IpAddr,
    port: u16,
    since: Instant,
    /// The listener, or `None` once a transfer has taken it.
    listener: Option<TcpListener>,
}

/// A client's right to one port, both before and after that port is chosen. Dropping the lease
/// returns the port.
#[derive(Debug)]
struct Lease {
    ports: Arc<PassivePorts>,
    network: IpAddr,
    port: Option<u16>,
    /// The number of the port in [`HeldPorts::opened`], once it is open.
    number: Option<u64>,
}

impl PassivePorts {
    pub(crate) fn new(ranges: Option<PortRanges>) -> Arc<Self> {
        let system = match ranges {
            None => of_the_system(),
            Some(_) => None,
        };
        Arc::new(Self { ranges, system, held: Mutex::default(), given_back: Condvar::new() })
    }

    /// Listens for `client` on the address of `local`. Tries all configured ports, starting at an
    /// unpredictable one (RFC 2577 §8).
    ///
    /// If other sessions hold all ports, this method closes a port that no transfer has used for
    /// [`limits::PORT_UNUSED`]. It chooses the oldest such port of the host that holds the most
    /// ports, if that host holds more ports than `client`. If there is no such port, this method
    /// waits up to [`limits::PORT_WAIT`]: a session usually holds a port only until its client has
    /// connected. An immediate 425 would be worse, because clients that transfer many files at once
    /// do not retry after it.
    ///
    /// # Errors
    ///
    /// Returns `AddrInUse` if no port is available or the client already holds its share.
    /// Otherwise, returns the system's error.
    pub(crate) fn listen(
        self: &Arc<Self>,
        local: SocketAddr,
        client: IpAddr,
    ) -> io::Result<PassiveListener> {
        let Some(ranges) = &self.ranges else { return self.listen_anywhere(local) };
        let start = Instant::now();
        let mut made_way: Option<Instant> = None;
        loop {
            let before = self.held().returned;
            let error = match self.try_all(ranges, local, client) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
                listening => return listening,
            };
            let mut held = self.held();
            loop {
                let left = limits::PORT_WAIT.saturating_sub(start.elapsed());
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
                if held.make_way(network_of(client), ranges.count()) {
                    made_way = Some(Instant::now());
                    break;
                }
                if held.ports.is_empty() || left.is_zero() {
                    return Err(error);
                }
                let woken = self.given_back.wait_timeout(held, left);
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
        client: IpAddr,
    ) -> io::Result<PassiveListener> {
        let count = ranges.count();
        let mut lease = self.lease(client, count)?;
        let below = u64::try_from(count).unwrap_or(u64::MAX);
        let start = random::number()?.checked_rem(below).unwrap_or_default();
        let mut last = Errno::ADDRINUSE;
        for port in ranges.iter_from(usize::try_from(start).unwrap_or_default()) {
            if !lease.take(port) {
                continue;
            }
            match PassiveListener::bind(local, port) {
                Ok(listener) => return Ok(listener.leased(lease)),
                Err(error) => match Errno::from_io_error(&error) {
                    // This port is in use or forbidden, but others may be free.
                    Some(errno @ (Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM)) => last = errno,
                    _ => return Err(error),
                },
            }
        }
        Err(last.into())
    }

    /// Reserves one of `count` ports for `client`, which may hold half of them, but at least one.
    fn lease(self: &Arc<Self>, client: IpAddr, count: usize) -> io::Result<Lease> {
        let network = network_of(client);
        let mut held = self.held();
        let share = held.networks.entry(network).or_default();
        if *share >= share_of(count) {
            let text = "this client holds half of the passive ports";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        *share += 1;
        Ok(Lease { ports: Arc::clone(self), network, port: None, number: None })
    }

    fn held(&self) -> MutexGuard<'_, HeldPorts> {
        unpoisoned(self.held.lock())
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
    /// Closes a port that has been unused for [`limits::PORT_UNUSED`]. Of the hosts with such a
    /// port, this method chooses the one that holds the most ports, and closes the oldest such port
    /// of that host. Returns `false` if no port has been unused for that time, or if `network`
    /// holds at least as many ports as that host. Also returns `false` if `network` already holds
    /// its share of the `count` ports.
    fn make_way(&mut self, network: IpAddr, count: usize) -> bool {
        let of = |network| self.networks.get(network).copied().unwrap_or_default();
        let own = of(&network);
        if own >= share_of(count) {
            return false;
        }
        let unused = self.opened.iter().filter(|(_, opened)| {
            opened.listener.is_some() && opened.since.elapsed() >= limits::PORT_UNUSED
        });
        let held = unused.map(|(number, opened)| (of(&opened.network), Reverse(*number)));
        let most = held.max().filter(|(most, _)| *most > own);
        most.is_some_and(|(_, Reverse(number))| self.give_back(number))
    }

    /// Closes a port and makes it available. Returns `false` if the port was returned already.
    fn give_back(&mut self, number: u64) -> bool {
        let Some(OpenedPort { network, port, listener, .. }) = self.opened.remove(&number) else {
            return false;
        };
        drop(listener);
        self.ports.remove(&port);
        count_down(&mut self.networks, network);
        true
    }
}

/// Returns how many of `count` ports one host may hold: half, but at least one. The other half
/// remains for other hosts.
fn share_of(count: usize) -> usize {
    (count / 2).max(1)
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
    Own(TcpListener),
    /// A port of the configured ranges. Until a transfer needs the port, it may be closed so that
    /// another host gets it. The port is returned after its listener is closed.
    Leased(Lease),
}

/// A port that can no longer be given to another host. Fields drop in order, so the listener closes
/// before the port is returned.
#[derive(Debug)]
pub(super) struct OpenPort {
    pub(super) listener: TcpListener,
    _lease: Option<Lease>,
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
        socket.listen(4)?;
        let listener = TcpListener::from(socket);
        let port = match port {
            0 => listener.local_addr()?.port(),
            chosen => chosen,
        };
        Ok(Self { socket: PassiveSocket::Own(listener), port, since: Instant::now() })
    }

    /// Hands the listener over to the lease of its port.
    fn leased(self, mut lease: Lease) -> Self {
        if let PassiveSocket::Own(listener) = self.socket {
            lease.open(self.port, listener);
        }
        Self { socket: PassiveSocket::Leased(lease), ..self }
    }

    /// Returns the listener for a transfer. From then on, the port cannot be given to another host.
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

    /// Returns the port.
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

impl Lease {
    /// Exchanges the held port for `port`. Returns `false` if another session holds `port`.
    fn take(&mut self, port: u16) -> bool {
        let mut held = self.ports.held();
        if !held.ports.insert(port) {
            return false;
        }
        if let Some(former) = self.port.replace(port) {
            held.ports.remove(&former);
        }
        true
    }

    /// Records the listener of the port. The session holds the port until it returns the port or
    /// must give it up.
    fn open(&mut self, port: u16, listener: TcpListener) {
        let mut held = self.ports.held();
        let number = held.count;
        held.count += 1;
        let network = self.network;
        let since = Instant::now();
        held.opened.insert(number, OpenedPort { network, port, since, listener: Some(listener) });
        self.number = Some(number);
    }

    /// Takes the listener of the port. From then on, the port cannot be given to another host.
    /// Returns `None` if the session has already lost the port.
    fn listener(&self) -> Option<TcpListener> {
        self.ports.held().opened.get_mut(&self.number?)?.listener.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.ports.held();
        let Some(number) = self.number else {
            if let Some(port) = self.port {
                held.ports.remove(&port);
            }
            return count_down(&mut held.networks, self.network);
        };
        if held.give_back(number) {
            held.returned += 1;
            self.ports.given_back.notify_all();
        }
    }
}
