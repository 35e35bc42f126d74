//! The ports of passive data connections: which there are, and who holds them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ftp_proto::PortRanges;
use rustix::io::Errno;

use super::PassiveListener;
use crate::{admission, random};

/// All ports that may be listened on. Shared by all sessions: no two of them have one at a time.
#[derive(Debug)]
pub(crate) struct PassivePorts {
    /// `None`: the system chooses.
    ranges: Option<PortRanges>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    ports: HashSet<u16>,
    /// How many each network of one client holds.
    networks: HashMap<IpAddr, usize>,
}

/// One port, or the search for one; dropping it gives the port back.
#[derive(Debug)]
pub(super) struct Lease {
    ports: Arc<PassivePorts>,
    network: IpAddr,
    port: Option<u16>,
}

impl PassivePorts {
    pub(crate) fn new(ranges: Option<PortRanges>) -> Arc<Self> {
        Arc::new(Self { ranges, held: Mutex::default() })
    }

    /// Listens for `client` on the host of `local`. The port that is tried first is one that
    /// nobody can guess (RFC 2577 §8), and all are tried before there is none.
    pub(crate) fn listen(
        self: &Arc<Self>,
        local: SocketAddr,
        client: IpAddr,
    ) -> io::Result<PassiveListener> {
        let Some(ranges) = &self.ranges else { return PassiveListener::bind(local, 0) };
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
        if *share >= (count / 2).max(1) {
            return Err(io::Error::other("this client holds half of the passive ports"));
        }
        *share += 1;
        Ok(Lease { ports: Arc::clone(self), network, port: None })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.ports.held();
        if let Some(port) = self.port {
            held.ports.remove(&port);
        }
        if let Some(share) = held.networks.get_mut(&self.network) {
            *share -= 1;
            if *share == 0 {
                held.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;

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
