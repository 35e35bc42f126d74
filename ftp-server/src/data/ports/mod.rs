//! The ports of passive data connections: which there are, who holds them, and what listens there.

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
use crate::net::admission::{self, count_down};
use crate::net::{random, socket};

/// How many ports that the system might choose are tried before it is asked to.
const TRIES: usize = 8;

/// All ports that may be listened on. Shared by all sessions: no two of them have one at a time.
#[derive(Debug)]
pub(crate) struct PassivePorts {
    /// `None`: those that the system chooses from.
    ranges: Option<PortRanges>,
    /// Which those are, as far as it is known.
    system: Option<RangeInclusive<u16>>,
    held: Mutex<HeldPorts>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct HeldPorts {
    ports: HashSet<u16>,
    /// How many each network of one client holds.
    networks: HashMap<IpAddr, usize>,
    /// Those that are listened on, the oldest first.
    opened: BTreeMap<u64, OpenedPort>,
    /// How many of them there were so far.
    count: u64,
    /// How many were given back so far that had been in use.
    returned: u64,
}

/// A port that a session has, until it gives it back or has to give way.
#[derive(Debug)]
struct OpenedPort {
    network: IpAddr,
    port: u16,
    since: Instant,
    /// What listens there; `None` once a transfer waits for its connection.
    listener: Option<TcpListener>,
}

/// One port, or the search for one; dropping it gives the port back.
#[derive(Debug)]
struct Lease {
    ports: Arc<PassivePorts>,
    network: IpAddr,
    port: Option<u16>,
    /// Its number among the ports that are listened on: others may wait for it.
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

    /// Listens for `client` on the host of `local`. The port that is tried first is one that
    /// nobody can guess (RFC 2577 §8), and all are tried before there is none.
    ///
    /// Ports are mostly held for the moment that a client takes to connect: where it was other
    /// sessions that had them, one is waited for, though not for long. Clients that transfer many
    /// files at once do not come again after a 425. A port that no transfer has asked for in longer than
    /// that gives way: the oldest of the host that holds most, where that is more than `client` has.
    pub(crate) fn listen(
        self: &Arc<Self>,
        local: SocketAddr,
        client: IpAddr,
    ) -> io::Result<PassiveListener> {
        let Some(ranges) = &self.ranges else { return self.listen_anywhere(local) };
        let start = Instant::now();
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
                if held.make_way(admission::network_of(client), ranges.count()) {
                    break;
                }
                if held.ports.is_empty() && start.elapsed() < limits::PORT_COPY_WAIT {
                    drop(held);
                    thread::sleep(limits::PORT_COPY_WAIT / 100);
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

    /// Listens on a port that the system might choose. It is asked to where several of them are
    /// taken, and not before: it looks for one that no connection had for a minute, which takes
    /// milliseconds behind some thousand transfers.
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
                    // Somebody else's, or not for the likes of us: others may do.
                    Some(errno @ (Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM)) => last = errno,
                    _ => return Err(error),
                },
            }
        }
        Err(last.into())
    }

    /// A share for `client`, who may hold half of `count` ports and one in any case: the other
    /// half is left for all others.
    fn lease(self: &Arc<Self>, client: IpAddr, count: usize) -> io::Result<Lease> {
        let network = admission::network_of(client);
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

/// The ports that the system chooses from for all programs, unless some of them are kept back.
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
    /// Closes the oldest of the ports that were not used for long, of the host that holds most.
    /// False if there is none, or if the host of `network` holds as many itself.
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

    /// Closes a port that is listened on, and gives it back; false if it was before.
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

/// How many of `count` ports one host may hold: half, and one in any case. The other half is left for
/// all others.
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
    /// On a port of the system's choice.
    Own(TcpListener),
    /// On one of a list, where it may have to give way until a transfer needs it. What is leased is
    /// given back after the closing of the port.
    Leased(Lease),
}

/// A port that gives way no more. It closes before it is given back: fields are dropped in order.
#[derive(Debug)]
pub(super) struct OpenPort {
    pub(super) listener: TcpListener,
    _lease: Option<Lease>,
}

impl PassiveListener {
    /// Listens on the host of `address`, which is where the control connection came to, and on
    /// `port`; 0 is one of the system's choice.
    pub(super) fn bind(mut address: SocketAddr, port: u16) -> io::Result<Self> {
        address.set_port(port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket::set_keepalive(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(4)?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr()?.port();
        Ok(Self { socket: PassiveSocket::Own(listener), port, since: Instant::now() })
    }

    /// The same with the port held in a list of them.
    fn leased(self, mut lease: Lease) -> Self {
        if let PassiveSocket::Own(listener) = self.socket {
            lease.open(self.port, listener);
        }
        Self { socket: PassiveSocket::Leased(lease), ..self }
    }

    /// What listens, for a transfer: the port gives way no more.
    pub(super) fn open(self) -> io::Result<OpenPort> {
        match self.socket {
            PassiveSocket::Own(listener) => Ok(OpenPort { listener, _lease: None }),
            PassiveSocket::Leased(lease) => match lease.listener() {
                Some(listener) => Ok(OpenPort { listener, _lease: Some(lease) }),
                None => Err(io::Error::other("the port was needed by others meanwhile")),
            },
        }
    }

    /// The port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Since when it listens.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// The same as if it had listened since `since`.
    #[cfg(test)]
    pub(crate) fn backdated(self, since: Instant) -> Self {
        Self { since, ..self }
    }
}

impl Lease {
    /// Takes `port` in place of the one it has; false if another has it.
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

    /// Has the port listened on: it is held until it is given back, or has to give way.
    fn open(&mut self, port: u16, listener: TcpListener) {
        let mut held = self.ports.held();
        let number = held.count;
        held.count += 1;
        let network = self.network;
        let since = Instant::now();
        held.opened.insert(number, OpenedPort { network, port, since, listener: Some(listener) });
        self.number = Some(number);
    }

    /// What listens on the port, which has not to give way from now on; `None` if it had to before.
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
