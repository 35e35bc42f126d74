//! Limits on connections: in total, per host, and without a login.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ftp_proto::Network;

use super::waiting::WaitingRoom;
use crate::limits;
use crate::lock::unpoisoned;
use crate::service::session_handle::SessionHandle;

/// Number of connections without a login that each host may always have. If half of the maximum for
/// all hosts is less, that half applies instead. This number lets a client that transfers files in
/// parallel log in over several connections at once.
const AT_ONCE: usize = 4;

/// The limits on connections, and the connections that count against them.
#[derive(Debug)]
pub(crate) struct Admission {
    total: usize,
    per_host: AtomicUsize,
    held: Mutex<Occupancy>,
    /// Connections from balancers whose PROXY header has not arrived yet.
    pub(crate) waiting: Arc<WaitingRoom>,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// Connections with a place, the oldest first.
    places: BTreeMap<u64, Occupant>,
    next: u64,
    /// Connections without a login.
    pending: usize,
    /// Connections that have returned their place but are not closed yet.
    leaving: usize,
    /// Number of connections from each host; empty if connections per host are unlimited.
    hosts: HashMap<IpAddr, usize>,
    /// Number of connections without a login in each network, by address and prefix length.
    networks: HashMap<(IpAddr, u32), usize>,
}

#[derive(Debug)]
struct Occupant {
    /// The address of the client or the balancer; `None` for a client on loopback, which may be a
    /// proxy or tunnel for any client.
    peer: Option<IpAddr>,
    /// The client's host if connections per host are limited; otherwise `None`.
    host: Option<IpAddr>,
    is_pending: bool,
    /// The connection, once the server may close it to make room for others.
    line: Option<Arc<SessionHandle>>,
}

/// A place for one connection. Dropping the permit returns the place.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    number: u64,
}

impl Admission {
    /// Creates the limits: `total` connections, and `per_host` from one host (0: unlimited).
    pub(crate) fn new(total: usize, per_host: usize) -> Arc<Self> {
        let waiting = WaitingRoom::new(total.div_ceil(2));
        Arc::new(Self { total, per_host: per_host.into(), held: Mutex::default(), waiting })
    }

    /// Changes the limit per host for new connections (0: unlimited).
    pub(crate) fn set_per_host(&self, per_host: usize) {
        self.per_host.store(per_host, Ordering::Relaxed);
    }

    /// Returns the maximum number of connections without a login: half of all, so that clients
    /// without a password cannot keep out the others.
    const fn pending(&self) -> usize {
        self.total.div_ceil(2)
    }

    /// Returns the maximum number of connections without a login from one host: an eighth of
    /// [`pending`](Self::pending). The maximum is at least [`AT_ONCE`] or half of `pending`,
    /// whichever is less, and never 0.
    fn pending_of_host(&self) -> usize {
        (self.pending() / 8).max(AT_ONCE.min(self.pending() / 2)).max(1)
    }

    /// Takes a place for a connection, which has no login yet. If no place is free, or if too many
    /// connections have no login, closes another connection without a login. That is the oldest one
    /// of the host that has the most such connections. If several hosts have equally many, the /56
    /// with the most such connections decides, then the /48. Returns `None` if the host has reached
    /// one of its limits, or if no connection can be closed.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Permit> {
        let occupant = self.occupant(peer);
        let held = self.held();
        if self.has_its_share(&held, &occupant) { None } else { self.seat(held, occupant) }
    }

    /// Takes a place for a connection of a balancer itself, such as a health check. The limits per
    /// host do not apply to a balancer, but the balancer counts as a host when the server must
    /// close a connection.
    pub(crate) fn admit_balancer(self: &Arc<Self>, balancer: IpAddr) -> Option<Permit> {
        let peer = Some(balancer.to_canonical());
        self.seat(self.held(), Occupant { peer, host: None, is_pending: true, line: None })
    }

    /// Returns the record of a client that is not logged in and has no place yet.
    fn occupant(&self, peer: IpAddr) -> Occupant {
        let per_host = self.per_host.load(Ordering::Relaxed);
        let peer = Some(peer.to_canonical()).filter(|peer| !peer.is_loopback());
        let host = peer.filter(|_| per_host > 0).map(network_of);
        Occupant { peer, host, is_pending: true, line: None }
    }

    /// Returns whether the client's host has reached a limit on its connections.
    fn has_its_share(&self, held: &Occupancy, client: &Occupant) -> bool {
        let per_host = self.per_host.load(Ordering::Relaxed);
        let count = |host| held.hosts.get(&host).copied().unwrap_or_default();
        client.host.is_some_and(|host| count(host) >= per_host)
            || client.peer.is_some_and(|peer| held.pending_from(peer, 64) >= self.pending_of_host())
    }

    /// Gives a place to a connection without a login, and closes another one if necessary.
    fn seat(
        self: &Arc<Self>,
        mut held: MutexGuard<'_, Occupancy>,
        occupant: Occupant,
    ) -> Option<Permit> {
        let mut closed = None;
        if held.places.len() >= self.total || held.pending >= self.pending() {
            let number = held.who_gives_way()?;
            closed = held.give_back(number).and_then(|place| place.line);
            held.leaving += 1;
        }
        let number = held.next;
        held.next += 1;
        held.take(number, occupant);
        drop(held);
        if let Some(line) = closed {
            line.give_way();
        }
        Some(Permit { admission: Arc::clone(self), number })
    }

    fn held(&self) -> MutexGuard<'_, Occupancy> {
        unpoisoned(self.held.lock())
    }
}

impl Permit {
    /// Sets the connection of this place. From now on, the server may close it to make room, unless
    /// it is logged in.
    pub(crate) fn is_for(&self, line: &Arc<SessionHandle>) {
        if let Some(place) = self.admission.held().places.get_mut(&self.number) {
            place.line = Some(Arc::clone(line));
        }
    }

    /// Sets whether the connection is logged in.
    pub(crate) fn set_logged_in(&self, is_logged_in: bool) {
        let mut held = self.admission.held();
        let is_other =
            held.places.get(&self.number).is_some_and(|place| place.is_pending == is_logged_in);
        if is_other && let Some(place) = held.give_back(self.number) {
            held.take(self.number, Occupant { is_pending: !is_logged_in, ..place });
        }
    }

    /// Frees the place before the connection is closed: the client may reconnect as soon as it sees
    /// the end. Each connection that is being closed still has a thread. If there are
    /// [`limits::LEAVING`] of them, the place stays taken until the permit is dropped.
    pub(crate) fn leave(&self) {
        let mut held = self.admission.held();
        if held.leaving < limits::LEAVING && held.give_back(self.number).is_some() {
            held.leaving += 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.held();
        if held.give_back(self.number).is_none() {
            held.leaving -= 1;
        }
    }
}

impl Occupancy {
    fn take(&mut self, number: u64, place: Occupant) {
        if let Some(host) = place.host {
            *self.hosts.entry(host).or_default() += 1;
        }
        if place.is_pending {
            self.pending += 1;
            for network in place.networks() {
                *self.networks.entry(network).or_default() += 1;
            }
        }
        self.places.insert(number, place);
    }

    fn give_back(&mut self, number: u64) -> Option<Occupant> {
        let place = self.places.remove(&number)?;
        if let Some(host) = place.host {
            count_down(&mut self.hosts, host);
        }
        if place.is_pending {
            self.pending -= 1;
            for network in place.networks() {
                count_down(&mut self.networks, network);
            }
        }
        Some(place)
    }

    fn pending_from(&self, peer: IpAddr, bits: u32) -> usize {
        self.networks.get(&(masked(peer, bits), bits)).copied().unwrap_or_default()
    }

    /// Returns the connection to close to make room. Returns `None` if there is none, or while too
    /// many are being closed already.
    fn who_gives_way(&self) -> Option<u64> {
        if self.leaving >= limits::LEAVING {
            return None;
        }
        let pending = self.places.iter().filter(|(_, place)| place.is_pending);
        let known = pending.filter_map(|(number, place)| {
            place.line.as_ref()?;
            let peer = place.peer?;
            let counts = NETWORKS.map(|bits| self.pending_from(peer, bits));
            Some((counts, Reverse(*number)))
        });
        known.max().map(|(_, Reverse(number))| number)
    }
}

impl Occupant {
    /// Returns the networks in which this connection counts; none for a client on loopback.
    fn networks(&self) -> impl Iterator<Item = (IpAddr, u32)> + use<> {
        let peer = self.peer;
        peer.into_iter().flat_map(|peer| NETWORKS.map(|bits| (masked(peer, bits), bits)))
    }
}

/// Decrements a count, and removes it at 0.
pub(crate) fn count_down<Key: Eq + Hash>(counts: &mut HashMap<Key, usize>, key: Key) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Lengths of the IPv6 prefixes in which one client may have many addresses, in bits: a host, a
/// home and a site.
const NETWORKS: [u32; 3] = [64, 56, 48];

/// Returns the network with this prefix length that contains an IPv6 address. Returns an IPv4
/// address unchanged.
fn masked(peer: IpAddr, bits: u32) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Returns the address that identifies a host: the IPv4 address itself, or the /64 network of an
/// IPv6 address.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    masked(peer, 64)
}

/// Returns all addresses that count as one host with `peer`.
pub(crate) fn host_of(peer: IpAddr) -> Network {
    // For an IPv4 address, the prefix length is reduced to 32.
    Network::around(peer, 64)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A connection of a host: its place, and both of its sides.
    struct Connected {
        permit: Permit,
        line: Arc<SessionHandle>,
        client: TcpStream,
    }

    impl Connected {
        /// Returns whether the connection was closed with 421. The client reads the 421 only once,
        /// so a second call returns `false`.
        fn is_closed(&mut self) -> bool {
            if !self.line.has_given_way() {
                return false;
            }
            let mut said = String::new();
            self.client.read_to_string(&mut said).unwrap();
            said == "421 Too many connections\r\n"
        }
    }

    fn connect(admission: &Arc<Admission>, host: &str) -> Option<Connected> {
        let permit = admission.admit(address(host))?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let line = Arc::new(SessionHandle::new(stream, peer));
        permit.is_for(&line);
        Some(Connected { permit, line, client })
    }

    fn counts(admission: &Admission) -> [usize; 5] {
        let held = admission.held();
        let Occupancy { places, hosts, networks, .. } = &*held;
        [places.len(), held.pending, held.leaving, hosts.len(), networks.len()]
    }

    #[test]
    fn connection_slots_are_counted_and_released_st_12() {
        let admission = Admission::new(6, 2);
        let first = admission.admit(address("192.0.2.1")).unwrap();
        first.set_logged_in(true);
        let second = admission.admit(address("::ffff:192.0.2.1"));
        assert!(second.is_some());
        assert!(admission.admit(address("192.0.2.1")).is_none(), "two are from this host");
        let others = ["192.0.2.2", "192.0.2.3"].map(|host| admission.admit(address(host)));
        assert!(others.iter().all(Option::is_some));
        assert!(admission.admit(address("192.0.2.4")).is_none(), "three are not logged in");
        drop((first, second));
        assert!(admission.admit(address("192.0.2.1")).is_some());
        drop(others);
        assert_eq!(counts(&admission), [0; 5]);
    }

    #[test]
    fn one_host_does_not_keep_all_others_from_logging_in_st_12_ho_09() {
        for (total, of_host) in [(1, 1), (2, 1), (8, 2), (16, 4), (64, 4), (128, 8), (5_000, 312)] {
            let admission = Admission::new(total, 0);
            let from = |host: &str| {
                let permits = std::iter::from_fn(|| admission.admit(address(host)));
                permits.take(total).collect::<Vec<_>>()
            };
            let one = from("192.0.2.1");
            assert_eq!(one.len(), of_host, "of {total}");
            assert_eq!(
                from("2001:db8::1").len(),
                of_host.min(total.div_ceil(2) - of_host),
                "of {total}"
            );
            // After login, connections no longer take these places.
            one.iter().for_each(|permit| permit.set_logged_in(true));
            assert_eq!(from("192.0.2.1").len(), of_host.min(total - of_host), "of {total}");
        }
    }

    #[test]
    fn the_host_with_most_connections_loses_its_oldest_st_12_ho_09() {
        let admission = Admission::new(16, 0);
        let mut few: Vec<_> =
            ["192.0.2.1", "192.0.2.2"].map(|host| connect(&admission, host).unwrap()).into();
        let mut many: Vec<_> =
            (0..3).map(|_| connect(&admission, "2001:db8::1").unwrap()).collect();
        many.extend((0..3).map(|_| connect(&admission, "192.0.2.3").unwrap()));
        // Eight places are taken, three by each of two hosts: the host with the oldest connection
        // loses it, and then has only two.
        let mut newcomers = Vec::new();
        for want in [0, 3, 1, 4] {
            newcomers.push(connect(&admission, &format!("198.51.100.{want}")).unwrap());
            for (at, connected) in many.iter_mut().enumerate() {
                assert_eq!(connected.is_closed(), at == want, "{at}, {want}");
            }
        }
        assert!(!few.iter_mut().chain(&mut newcomers).any(Connected::is_closed));
        assert_eq!(counts(&admission)[..3], [8, 8, 4]);
        drop((few, many, newcomers));
        assert_eq!(counts(&admission), [0; 5]);
    }

    #[test]
    fn neighbouring_ipv6_networks_count_together_for_eviction_st_12_ho_09() {
        for other in ["2001:db8:0:1ff::1", "2001:db8:0:aa00::1"] {
            let admission = Admission::new(8, 0);
            let mut connected: Vec<_> = ["192.0.2.1", "2001:db8:0:100::1", other, "192.0.2.2"]
                .map(|host| connect(&admission, host).unwrap())
                .into();
            let _newcomer = connect(&admission, "192.0.2.3").unwrap();
            let closed: Vec<_> = connected.iter_mut().map(Connected::is_closed).collect();
            assert_eq!(closed, [false, true, false, false], "{other}");
        }
    }

    #[test]
    fn logged_in_and_loopback_connections_are_never_evicted_ho_09() {
        let admission = Admission::new(8, 0);
        let mut users: Vec<_> = (0..6)
            .map(|number| {
                let user = connect(&admission, &format!("192.0.2.{}", number / 2)).unwrap();
                user.permit.set_logged_in(true);
                user
            })
            .collect();
        let mut local = connect(&admission, "127.0.0.1").unwrap();
        let mut other = connect(&admission, "192.0.2.9").unwrap();
        // All places are taken, most of them by users.
        let mut newcomer = connect(&admission, "198.51.100.1").unwrap();
        assert!(other.is_closed());
        assert!(!users.iter_mut().any(Connected::is_closed) && !local.is_closed());
        newcomer.permit.set_logged_in(true);
        assert!(connect(&admission, "198.51.100.2").is_none());
        assert!(!newcomer.is_closed() && !local.is_closed());
        // The state of the closed connection no longer matters.
        other.permit.set_logged_in(true);
        other.permit.leave();
        assert_eq!(counts(&admission)[..3], [8, 1, 1]);
    }

    #[test]
    fn a_changed_per_host_limit_applies_to_new_connections() {
        let admission = Admission::new(20, 0);
        let admit = || admission.admit(address("192.0.2.1"));
        let uncounted = admit();
        admission.set_per_host(1);
        let first = admit();
        assert!(first.is_some() && admit().is_none());
        admission.set_per_host(2);
        assert!(admit().is_some());
        admission.set_per_host(0);
        drop((uncounted, first));
        assert_eq!(counts(&admission), [0; 5]);
    }

    #[test]
    fn half_of_the_slots_are_reserved_for_logged_in_users_ho_09() {
        let admission = Admission::new(4, 0);
        let admit = || admission.admit(address("127.0.0.1"));
        let first = admit().unwrap();
        let second = admit().unwrap();
        assert!(admit().is_none());
        first.set_logged_in(true);
        first.set_logged_in(true);
        let third = admit().unwrap();
        assert!(admit().is_none());
        second.set_logged_in(true);
        let fourth = admit().unwrap();
        assert!(admit().is_none(), "all four are taken");
        // The second user sends `REIN`.
        second.set_logged_in(false);
        drop(third);
        assert!(admit().is_none(), "two of three are not logged in");
        fourth.set_logged_in(true);
        assert!(admit().is_some());
        drop((first, second, fourth));
        assert_eq!(counts(&admission), [0; 5]);
        // If there is only one place, any client can take it.
        assert!(Admission::new(1, 0).admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn closing_connections_free_their_slots_up_to_a_limit_st_12_ho_01() {
        let places = limits::LEAVING + 1;
        let admission = Admission::new(2 * places, 0);
        let admit = || admission.admit(address("127.0.0.1"));
        let mut permits: Vec<_> = std::iter::from_fn(admit).collect();
        assert_eq!(permits.len(), places);
        for permit in &mut permits {
            permit.leave();
            permit.leave();
        }
        assert_eq!(counts(&admission), [1, 1, limits::LEAVING, 0, 0]);
        let _again = admit().unwrap();
        drop(permits);
        assert_eq!(counts(&admission), [1, 1, 0, 0, 0]);
    }

    #[test]
    fn one_ipv6_network_is_one_host_st_12() {
        let admission = Admission::new(20, 1);
        let _first = admission.admit(address("2001:db8::1")).unwrap();
        assert!(admission.admit(address("2001:db8::ffff:1")).is_none());
        assert!(admission.admit(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn loopback_is_exempt_st_12() {
        let admission = Admission::new(20, 1);
        for text in ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"] {
            std::mem::forget(admission.admit(address(text)).unwrap());
        }
    }
}
