//! The ports of passive data connections: which there are, and who holds them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use ftp_proto::PortRanges;
use rustix::io::Errno;

use super::PassiveListener;
use crate::limits;
use crate::net::admission::{self, count_down};
use crate::net::random;

/// How many ports that the system might choose are tried before it is asked to.
const TRIES: usize = 8;

/// All ports that may be listened on. Shared by all sessions: no two of them have one at a time.
#[derive(Debug)]
pub(crate) struct PassivePorts {
    /// `None`: those that the system chooses from.
    ranges: Option<PortRanges>,
    /// Which those are, as far as it is known.
    system: Option<RangeInclusive<u16>>,
    held: Mutex<Held>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    ports: HashSet<u16>,
    /// How many each network of one client holds.
    networks: HashMap<IpAddr, usize>,
    /// Those that are listened on, the oldest first.
    opened: BTreeMap<u64, Opened>,
    /// How many of them there were so far.
    count: u64,
    /// How many were given back so far that had been in use.
    returned: u64,
}

/// A port that a session has, until it gives it back or has to give way.
#[derive(Debug)]
struct Opened {
    network: IpAddr,
    port: u16,
    since: Instant,
    /// What listens there; `None` once a transfer waits for its connection.
    listener: Option<TcpListener>,
}

/// One port, or the search for one; dropping it gives the port back.
#[derive(Debug)]
pub(super) struct Lease {
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
                held = woken.unwrap_or_else(PoisonError::into_inner).0;
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

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Held {
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
        let Some(Opened { network, port, listener, .. }) = self.opened.remove(&number) else {
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
    pub(super) fn open(&mut self, port: u16, listener: TcpListener) {
        let mut held = self.ports.held();
        let number = held.count;
        held.count += 1;
        let (network, since) = (self.network, Instant::now());
        held.opened.insert(number, Opened { network, port, since, listener: Some(listener) });
        self.number = Some(number);
    }

    /// What listens on the port, which has not to give way from now on; `None` if it had to before.
    pub(super) fn listener(&self) -> Option<TcpListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn local() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// Ports in a row that nobody has, with listeners on them until they are dropped.
    fn free(count: u16) -> (PortRanges, Vec<TcpListener>) {
        for first in (20_000..32_000).step_by(usize::from(count)) {
            let taken: Result<Vec<_>, _> =
                (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
            if let Ok(listeners) = taken {
                let ranges = format!("{first}-{}", first + count - 1);
                return (PortRanges::parse(ranges.as_bytes()).unwrap(), listeners);
            }
        }
        panic!("no {count} free ports in a row");
    }

    #[test]
    fn every_port_is_tried_and_none_is_shared_dc_02_dc_03_dc_04_hd_09() {
        let (ranges, mut others) = free(10);
        // Another program has two of them.
        others.truncate(2);
        let ports = PassivePorts::new(Some(ranges.clone()));
        let mut listeners: Vec<_> =
            (0..8).map(|number| ports.listen(local(), client(number / 4)).unwrap()).collect();
        let mut taken: Vec<u16> = listeners.iter().map(PassiveListener::port).collect();
        taken.sort_unstable();
        assert_eq!(taken, ranges.iter().skip(2).collect::<Vec<_>>());
        let full = ports.listen(local(), client(9)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::AddrInUse);
        // A port that was just closed can be had at once.
        let port = listeners.pop().map(|listener| listener.port());
        let again = ports.listen(local(), client(9)).unwrap();
        assert_eq!(Some(again.port()), port);
        drop((listeners, again));
        assert!(ports.held().ports.is_empty() && ports.held().networks.is_empty());
    }

    #[test]
    fn without_a_range_ports_are_those_of_the_system_dc_03_hd_08() {
        let ports = PassivePorts::new(None);
        let listeners: Vec<_> =
            (0..200).map(|_| ports.listen(local(), client(1)).unwrap()).collect();
        let chosen: HashSet<u16> = listeners.iter().map(PassiveListener::port).collect();
        assert_eq!(chosen.len(), listeners.len());
        let Some(system) = &ports.system else { return println!("skipped: not known which") };
        assert!(chosen.iter().all(|port| system.contains(port)), "{system:?}: {chosen:?}");
        // Where there is one port and it is taken, the system finds another.
        let taken = listeners[0].port();
        let few = Arc::new(PassivePorts {
            ranges: None,
            system: Some(taken..=taken),
            held: Mutex::default(),
            given_back: Condvar::new(),
        });
        assert_ne!(few.listen(local(), client(1)).unwrap().port(), taken);
        drop(listeners);
        assert_eq!(few.listen(local(), client(1)).unwrap().port(), taken);
    }

    #[test]
    fn one_client_holds_no_more_than_half_hd_09() {
        let (ranges, others) = free(10);
        drop(others);
        let ports = PassivePorts::new(Some(ranges));
        let mut greedy: Vec<_> =
            (0..5).map(|_| ports.listen(local(), client(1)).unwrap()).collect();
        assert!(ports.listen(local(), client(1)).is_err());
        assert!(ports.listen(local(), client(2)).is_ok());
        greedy.pop();
        assert!(ports.listen(local(), client(1)).is_ok());
        let (one, others) = free(1);
        drop(others);
        let ports = PassivePorts::new(Some(one));
        assert!(ports.listen(local(), client(1)).is_ok(), "half of one port is one");
    }

    #[test]
    fn two_hosts_that_only_ask_for_ports_do_not_hold_all_of_them_hd_09() {
        let (ranges, others) = free(4);
        drop(others);
        let ports = PassivePorts::new(Some(ranges));
        let listen = |last| ports.listen(local(), client(last)).unwrap();
        let opened = || ports.held().opened.keys().copied().collect::<Vec<_>>();
        let (first, [second, used]) = ([listen(1), listen(1)], [listen(2), listen(2)]);
        // All are held; those that are not used give way, the oldest first.
        assert!(ports.listen(local(), client(3)).is_err(), "their clients may be about to connect");
        let pass_time = || {
            for opened in ports.held().opened.values_mut() {
                opened.since = opened.since.checked_sub(limits::PORT_UNUSED).unwrap();
            }
        };
        pass_time();
        let third = listen(3);
        assert_eq!(opened(), [1, 2, 3, 4]);
        let fourth = listen(4);
        assert_eq!(opened(), [1, 3, 4, 5]);
        pass_time();
        assert!(second.listener().is_err());
        // One that is used does not, nor does one of a host that holds no more than the client.
        let used = used.listener().unwrap();
        assert!(ports.listen(local(), client(4)).is_err());
        let [fifth, sixth, seventh] = [5, 6, 7].map(listen);
        assert_eq!(opened(), [3, 6, 7, 8]);
        assert!(ports.listen(local(), client(8)).is_err());
        drop((first, used, third, fourth, fifth, sixth, seventh));
        let held = ports.held();
        assert!(held.ports.is_empty() && held.networks.is_empty() && held.opened.is_empty());
    }

    #[test]
    fn a_port_is_waited_for_where_others_will_give_one_back_cm_37() {
        let (ranges, others) = free(2);
        let ports = PassivePorts::new(Some(ranges));
        let start = Instant::now();
        assert!(ports.listen(local(), client(1)).is_err());
        assert!(start.elapsed() < limits::PORT_WAIT, "nobody here will give any back");
        drop(others);
        let first = ports.listen(local(), client(1)).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| ports.listen(local(), client(1)).map(drop));
            thread::park_timeout(limits::PORT_WAIT / 10);
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_port_that_a_copy_is_left_of_is_tried_again_cm_37() {
        let (range, copy) = free(1);
        let ports = PassivePorts::new(Some(range));
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::park_timeout(limits::PORT_COPY_WAIT / 20);
                drop(copy);
            });
            assert!(ports.listen(local(), client(1)).is_ok());
        });
    }

    #[test]
    fn the_first_port_is_any_of_them_dc_03_hd_08() {
        const PORTS: u16 = 20;
        const ROUNDS: u32 = 4_000;
        let (ranges, others) = free(PORTS);
        drop(others);
        let ports = PassivePorts::new(Some(ranges));
        let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
        for _ in 0..ROUNDS {
            *counts.entry(ports.listen(local(), client(1)).unwrap().port()).or_default() += 1;
        }
        assert_eq!(counts.len(), usize::from(PORTS));
        let want = f64::from(ROUNDS) / f64::from(PORTS);
        let chi_square: f64 = counts.values().map(|&n| (f64::from(n) - want).powi(2) / want).sum();
        // 19 degrees of freedom: one try in a million has more than this.
        assert!(chi_square < 63.0, "{chi_square}: {counts:?}");
    }
}
