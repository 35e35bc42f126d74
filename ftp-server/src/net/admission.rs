//! Who may connect: the limits on connections in total, per host, and without a login, and the bans of
//! hosts with too many failed logins (RFC 2577 §5). No user is locked out: a failed login counts only
//! against the client's host.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::config::ServerConfig;
use crate::ledger::{BanPolicy, SharedState};
use crate::lock::Lock;
use crate::service::register::SessionHandle;
use crate::shares::{Share, Shares, network_of, table};
use crate::{deadline, limits};

/// Number of connections without a login that each network may always have. If half of the maximum for
/// all hosts is less, that half applies instead. This number lets a client that transfers files in
/// parallel log in over several connections at once.
const AT_ONCE: u64 = 4;

#[derive(Debug)]
pub(crate) struct Admission {
    per_host: AtomicUsize,
    seats: Arc<Shares>,
    /// The places of connections without a login: half of all, so that clients without a password
    /// cannot keep out the others.
    pending: Arc<Shares>,
    held: Lock<Occupancy>,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// Connections with a place, the oldest first.
    places: BTreeMap<u64, Occupant>,
    next: u64,
    /// Connections that have returned their place but are not closed yet.
    leaving: usize,
}

#[derive(Debug)]
struct Occupant {
    seat: Share,
    /// The place among the connections without a login, if this is one.
    pending: Option<Share>,
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
        let shares = |row, count| Shares::new(row, u64::try_from(count).unwrap_or(u64::MAX));
        Arc::new(Self {
            per_host: per_host.into(),
            seats: shares(&table::SEATS, total),
            pending: shares(&table::PENDING, total.div_ceil(2)),
            held: Lock::default(),
        })
    }

    /// Creates the places of connections from balancers whose PROXY header has not arrived yet. They
    /// do not count as sessions: otherwise, a client that the server later refuses could take
    /// another client's place.
    pub(crate) fn before_headers(&self) -> Arc<Self> {
        let total = usize::try_from(self.seats.total()).unwrap_or(usize::MAX);
        Self::new(total.min(2 * limits::WAITING), 0)
    }

    /// Changes the limit per host for new connections (0: unlimited).
    pub(crate) fn set_per_host(&self, per_host: usize) {
        self.per_host.store(per_host, Ordering::Relaxed);
    }

    /// Returns the maximum number of connections without a login from one network: an eighth of all
    /// such connections. The maximum is at least [`AT_ONCE`] or half of them, whichever is less,
    /// and never 0.
    fn pending_of_network(&self) -> u64 {
        let pending = self.pending.total();
        (pending / 8).max(AT_ONCE.min(pending / 2)).max(1)
    }

    /// Takes a place for a connection, which has no login yet. If no place is free, or if too many
    /// connections have no login, closes another connection without a login: the oldest one of the
    /// network that has the most such connections. Returns `None` if the host has reached one of
    /// its limits, or if no connection can be closed.
    ///
    /// The limits per host do not apply to loopback, because a proxy or tunnel there may serve any
    /// client. For everything else, loopback is a network as any other.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Permit> {
        let held = self.held.lock();
        let is_exempt = peer.to_canonical().is_loopback();
        if !is_exempt && self.has_its_share(peer) { None } else { self.seat(held, peer) }
    }

    /// Takes a place for a connection of a balancer itself, such as a health check. The limits per
    /// host do not apply to a balancer, but the balancer counts as a host when the server must
    /// close a connection.
    pub(crate) fn admit_balancer(self: &Arc<Self>, balancer: IpAddr) -> Option<Permit> {
        self.seat(self.held.lock(), balancer)
    }

    /// Returns whether the client's host or network has reached a limit on its connections.
    fn has_its_share(&self, peer: IpAddr) -> bool {
        let per_host = self.per_host.load(Ordering::Relaxed) as u64;
        per_host > 0 && self.seats.held_by_host(peer) >= per_host
            || self.pending.held_by_network(peer) >= self.pending_of_network()
    }

    /// Gives a place to a connection without a login, and closes another one if necessary.
    fn seat(self: &Arc<Self>, mut held: MutexGuard<'_, Occupancy>, peer: IpAddr) -> Option<Permit> {
        let seat = self.seats.claim(peer, 1);
        let pending = self.pending.claim(peer, 1);
        if !seat.is_granted() || !pending.is_granted() {
            let number = held.who_gives_way(&self.pending).filter(|_| seat.fits_without(1))?;
            // The evicted session sends its 421 and nothing else.
            if let Some(line) = held.places.remove(&number).and_then(|place| place.line) {
                line.give_way();
            }
            held.leaving += 1;
        }
        let number = held.next;
        held.next += 1;
        held.places.insert(number, Occupant { seat, pending: Some(pending), line: None });
        Some(Permit { admission: Arc::clone(self), number })
    }
}

impl Permit {
    /// Sets the connection of this place. From now on, the server may close it to make room, unless
    /// it is logged in.
    pub(crate) fn is_for(&self, line: &Arc<SessionHandle>) {
        if let Some(place) = self.admission.held.lock().places.get_mut(&self.number) {
            place.line = Some(Arc::clone(line));
        }
    }

    /// Sets whether the connection is logged in. Returns `false` if the place has gone to another
    /// connection: this one gets 421, and no other reply.
    #[must_use]
    pub(crate) fn set_logged_in(&self, is_logged_in: bool) -> bool {
        let mut held = self.admission.held.lock();
        let Some(place) = held.places.get_mut(&self.number) else { return false };
        if is_logged_in {
            place.pending = None;
        } else if place.pending.is_none() {
            // A user who logs out keeps the connection, even if there are too many without a login.
            place.pending = Some(place.seat.also(&self.admission.pending));
        }
        true
    }

    /// Frees the place before the connection is closed: the client may reconnect as soon as it sees
    /// the end. Each connection that is being closed still has a thread. If there are
    /// [`limits::LEAVING`] of them, the place stays taken until the permit is dropped.
    pub(crate) fn leave(&self) {
        let mut held = self.admission.held.lock();
        if held.leaving < limits::LEAVING && held.places.remove(&self.number).is_some() {
            held.leaving += 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.held.lock();
        if held.places.remove(&self.number).is_none() {
            held.leaving -= 1;
        }
    }
}

impl Occupancy {
    /// Returns the connection to close to make room. Returns `None` if there is none, or while too
    /// many are being closed already.
    fn who_gives_way(&self, pending: &Shares) -> Option<u64> {
        if self.leaving >= limits::LEAVING {
            return None;
        }
        let known = self.places.iter().filter(|(_, place)| place.line.is_some());
        let known = known.filter_map(|(number, place)| Some((place.pending.as_ref()?, *number)));
        pending.richest(known)
    }
}

#[derive(Debug)]
pub(crate) struct Bans {
    after: usize,
    window: Duration,
    lasting: Duration,
    hosts: Lock<HashMap<IpAddr, BanRecord>>,
    /// The state shared with other servers, if any: failed logins on all of them count together.
    shared: Option<SharedState>,
}

#[derive(Debug, Default)]
struct BanRecord {
    /// Times of failed logins within the window, the oldest first.
    failures: VecDeque<Instant>,
    /// Time of the last failed login, or of the ban if another server began it.
    last: Option<Instant>,
    banned_until: Option<Instant>,
}

impl Bans {
    pub(crate) fn new(config: &ServerConfig, shared: Option<SharedState>) -> Self {
        let after = if config.logins.ban_for.is_zero() { 0 } else { config.logins.ban_after };
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(limits::BAN_AFTER);
        let window = config.logins.ban_window;
        let lasting = config.logins.ban_for;
        Self { after, window, lasting, hosts: Lock::default(), shared }
    }

    /// Counts a failed login on this server. Returns the duration of the ban if one begins now.
    pub(crate) fn note(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        if self.counts(peer) { self.count(network_of(peer), now) } else { None }
    }

    /// Counts a failed login in the ledger, if there is one. Returns the duration of the ban if the
    /// failures on all servers together begin one on this server now.
    pub(crate) fn note_in_ledger(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let shared = self.shared.as_ref().filter(|_| self.counts(peer))?;
        let host = network_of(peer);
        let &Self { after, window, lasting, .. } = self;
        // If the ledger fails, only the count of this server decides.
        let left = shared.fail(host, BanPolicy { after, window, lasting }).ok()??;
        self.learn(host, now, left).then_some(left)
    }

    /// Returns whether failed logins of a host count. Logins from loopback do not, because a proxy or
    /// tunnel there may serve any client.
    fn counts(&self, peer: IpAddr) -> bool {
        self.after > 0 && !peer.to_canonical().is_loopback()
    }

    fn count(&self, host: IpAddr, now: Instant) -> Option<Duration> {
        let mut hosts = self.hosts.lock();
        if !self.has_room(&mut hosts, host, now) {
            return None;
        }
        let record = hosts.entry(host).or_default();
        if record.is_banned(now) {
            return None;
        }
        record.failures.retain(|at| now.saturating_duration_since(*at) < self.window);
        record.failures.push_back(now);
        (record.last, record.banned_until) = (Some(now), None);
        if record.failures.len() < self.after {
            return None;
        }
        // The count starts again after the ban.
        record.failures = VecDeque::new();
        record.banned_until = Some(deadline::after(now, self.lasting));
        Some(self.lasting)
    }

    /// Bans a host that is banned on another server. Returns `false` if the host is already banned
    /// here, or if there is no room.
    fn learn(&self, host: IpAddr, now: Instant, left: Duration) -> bool {
        let mut hosts = self.hosts.lock();
        let is_known = hosts.get(&host).is_some_and(|record| record.is_banned(now));
        if is_known || !self.has_room(&mut hosts, host, now) {
            return false;
        }
        let banned_until = Some(deadline::after(now, left));
        hosts.insert(host, BanRecord { failures: VecDeque::new(), last: Some(now), banned_until });
        true
    }

    /// Returns whether the host of `peer` is banned, on this server or on another server that
    /// shares the ledger.
    pub(crate) fn is_banned_anywhere(&self, peer: IpAddr, now: Instant) -> bool {
        if self.is_banned(peer, now) {
            return true;
        }
        let Some(shared) = self.shared.as_ref().filter(|_| self.counts(peer)) else { return false };
        let host = network_of(peer);
        let Ok(Some(left)) = shared.ban_of(host) else { return false };
        // From now on, this server refuses the host's connections without asking the ledger.
        self.learn(host, now, left);
        true
    }

    pub(crate) fn is_banned(&self, peer: IpAddr, now: Instant) -> bool {
        if self.after == 0 {
            return false;
        }
        let hosts = self.hosts.lock();
        !hosts.is_empty()
            && hosts.get(&network_of(peer)).is_some_and(|record| record.is_banned(now))
    }

    /// Returns the hosts that are banned on this server, and the remaining time of each ban.
    pub(crate) fn list(&self, now: Instant) -> Vec<(IpAddr, Duration)> {
        let left = |record: &BanRecord| record.banned_until.filter(|until| now < *until);
        let hosts = self.hosts.lock();
        hosts.iter().filter_map(|(host, record)| Some((*host, left(record)? - now))).collect()
    }

    /// Forgets the failed logins and the ban of the host of `peer`, here and in the ledger. Other
    /// servers that already know of the ban keep it. Returns whether the host was banned on this
    /// server.
    pub(crate) fn lift(&self, peer: IpAddr, now: Instant) -> bool {
        if let Some(shared) = &self.shared {
            shared.forgive(network_of(peer));
        }
        self.hosts.lock().remove(&network_of(peer)).is_some_and(|record| record.is_banned(now))
    }

    /// Returns whether there is room for a record of this host. Removes older records if necessary.
    fn has_room(&self, hosts: &mut HashMap<IpAddr, BanRecord>, host: IpAddr, now: Instant) -> bool {
        if !hosts.contains_key(&host) && hosts.len() >= limits::BAN_HOSTS {
            self.make_room(hosts, now);
        }
        hosts.contains_key(&host) || hosts.len() < limits::BAN_HOSTS
    }

    /// Removes expired records. If the table is still full, removes the unbanned host whose last
    /// failure is oldest. Bans stay: if all remembered hosts are banned, no other host can be
    /// banned.
    fn make_room(&self, hosts: &mut HashMap<IpAddr, BanRecord>, now: Instant) {
        hosts.retain(|_, record| {
            let is_past = |at| now.saturating_duration_since(at) >= self.window;
            record.is_banned(now) || !record.last.is_none_or(is_past)
        });
        if hosts.len() < limits::BAN_HOSTS {
            return;
        }
        let others = hosts.iter().filter(|(_, record)| !record.is_banned(now));
        let oldest = others.min_by_key(|(_, record)| record.last).map(|(host, _)| *host);
        if let Some(host) = oldest {
            hosts.remove(&host);
        }
    }
}

impl BanRecord {
    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::config::LoginPolicy;
    use crate::ledger::{MemoryLedger, WithoutLedger};

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
        admission.admit(address(host)).map(connected)
    }

    fn connected(permit: Permit) -> Connected {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let line = Arc::new(SessionHandle::new(stream, peer));
        permit.is_for(&line);
        Connected { permit, line, client }
    }

    fn counts(admission: &Admission) -> [u64; 3] {
        let leaving = admission.held.lock().leaving as u64;
        [admission.seats.held(), admission.pending.held(), leaving]
    }

    #[test]
    fn connection_slots_are_counted_and_released_st_12() {
        let admission = Admission::new(6, 2);
        let first = admission.admit(address("192.0.2.1")).unwrap();
        assert!(first.set_logged_in(true));
        let second = admission.admit(address("::ffff:192.0.2.1"));
        assert!(second.is_some());
        assert!(admission.admit(address("192.0.2.1")).is_none(), "two are from this host");
        let others = ["192.0.2.2", "192.0.2.3"].map(|host| admission.admit(address(host)));
        assert!(others.iter().all(Option::is_some));
        assert!(admission.admit(address("192.0.2.4")).is_none(), "three are not logged in");
        drop((first, second));
        assert!(admission.admit(address("192.0.2.1")).is_some());
        drop(others);
        assert_eq!(counts(&admission), [0; 3]);
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
            one.iter().for_each(|permit| assert!(permit.set_logged_in(true)));
            let reserve = if total > 1 { (total / 8).max(1) } else { 0 };
            let rest = total - reserve - of_host;
            assert_eq!(from("192.0.2.1").len(), of_host.min(rest), "of {total}");
        }
    }

    #[test]
    fn the_host_with_most_connections_loses_its_oldest_st_12_ho_09() {
        let admission = Admission::new(16, 0);
        let mut few: Vec<_> =
            ["203.0.113.1", "203.0.114.1"].map(|host| connect(&admission, host).unwrap()).into();
        let mut many: Vec<_> =
            (0..3).map(|_| connect(&admission, "2001:db8::1").unwrap()).collect();
        many.extend((0..3).map(|_| connect(&admission, "192.0.2.3").unwrap()));
        // Eight places are taken, three by each of two hosts: the host with the oldest connection
        // loses it, and then has only two.
        let mut newcomers = Vec::new();
        for want in [0, 3, 1, 4] {
            newcomers.push(connect(&admission, &format!("198.51.{want}.1")).unwrap());
            for (at, connected) in many.iter_mut().enumerate() {
                assert_eq!(connected.is_closed(), at == want, "{at}, {want}");
            }
        }
        assert!(!few.iter_mut().chain(&mut newcomers).any(Connected::is_closed));
        assert_eq!(counts(&admission), [8, 8, 4]);
        drop((few, many, newcomers));
        assert_eq!(counts(&admission), [0; 3]);
    }

    #[test]
    fn neighbouring_ipv6_networks_count_together_for_eviction_st_12_ho_09() {
        for other in ["2001:db8:0:1ff::1", "2001:db8:0:aa00::1"] {
            let admission = Admission::new(8, 0);
            let mut connected: Vec<_> = ["192.0.2.1", "2001:db8:0:100::1", other, "198.51.100.2"]
                .map(|host| connect(&admission, host).unwrap())
                .into();
            let _newcomer = connect(&admission, "192.0.2.3").unwrap();
            let closed: Vec<_> = connected.iter_mut().map(Connected::is_closed).collect();
            assert_eq!(closed, [false, true, false, false], "{other}");
        }
    }

    #[test]
    fn logged_in_connections_are_never_evicted_ho_09() {
        let admission = Admission::new(8, 0);
        let mut users: Vec<_> = (0..6)
            .map(|number| {
                let user = connect(&admission, &format!("192.0.2.{}", number / 2)).unwrap();
                assert!(user.permit.set_logged_in(true));
                user
            })
            .collect();
        let mut one = connect(&admission, "198.51.100.8").unwrap();
        let mut other = connect(&admission, "198.51.100.9").unwrap();
        // All places are taken, most of them by users.
        let mut newcomer = connect(&admission, "203.0.113.1").unwrap();
        assert!(one.is_closed());
        assert!(!users.iter_mut().any(Connected::is_closed) && !other.is_closed());
        assert!(newcomer.permit.set_logged_in(true));
        assert!(other.permit.set_logged_in(true));
        assert!(connect(&admission, "203.0.113.2").is_none());
        assert!(!newcomer.is_closed() && !other.is_closed());
        // The login of the closed connection comes too late.
        assert!(!one.permit.set_logged_in(true));
        one.permit.leave();
        assert_eq!(counts(&admission), [8, 0, 1]);
    }

    #[test]
    fn one_network_with_logins_leaves_seats_to_others_st_12_ho_09() {
        for host in ["127.0.0.1", "192.0.2.1", "2001:db8:0:N::1"] {
            let admission = Admission::new(40, 0);
            let log_in = |host: &str| {
                let user = connect(&admission, host)?;
                assert!(user.permit.set_logged_in(true));
                Some(user)
            };
            let one = |number: u32| log_in(&host.replace('N', &number.to_string()));
            let mut greedy: Vec<_> = (0..40).map_while(one).collect();
            assert_eq!(greedy.len(), 35, "{host}");
            // Connections without a login do not help it.
            assert!(one(41).is_none());
            let others = (1..6).map(|last| log_in(&format!("198.51.100.{last}")));
            let others: Vec<_> = others.map(Option::unwrap).collect();
            assert!(log_in("198.51.100.6").is_none(), "all are taken");
            assert!(!greedy.iter_mut().any(Connected::is_closed));
            drop(others);
        }
    }

    #[test]
    fn silent_connections_of_loopback_give_way_ho_09() {
        let admission = Admission::new(40, 0);
        let mut silent: Vec<_> =
            (0..20).map(|_| connect(&admission, "127.0.0.1").unwrap()).collect();
        for number in 0..4 {
            let newcomer = connect(&admission, "192.0.2.1").unwrap();
            assert!(newcomer.permit.set_logged_in(true));
            let closed = silent.iter_mut().position(Connected::is_closed);
            assert_eq!(closed, (number == 0).then_some(0), "one made room for all");
        }
    }

    #[test]
    fn a_changed_per_host_limit_applies_to_new_connections() {
        let admission = Admission::new(20, 0);
        let admit = || admission.admit(address("192.0.2.1"));
        let first = admit();
        admission.set_per_host(1);
        assert!(first.is_some() && admit().is_none(), "the earlier one counts");
        admission.set_per_host(2);
        assert!(admit().is_some());
        admission.set_per_host(0);
        drop(first);
        assert_eq!(counts(&admission), [0; 3]);
    }

    #[test]
    fn half_of_the_slots_are_reserved_for_logged_in_users_ho_09() {
        let admission = Admission::new(4, 0);
        let hosts = std::cell::Cell::new(0);
        let admit = || {
            hosts.set(hosts.get() + 1);
            admission.admit([192, 0, 2, hosts.get()].into())
        };
        let first = admit().unwrap();
        let second = admit().unwrap();
        assert!(admit().is_none());
        assert!(first.set_logged_in(true));
        assert!(first.set_logged_in(true));
        let third = admit().unwrap();
        assert!(admit().is_none());
        assert!(second.set_logged_in(true));
        let fourth = admit().unwrap();
        assert!(admit().is_none(), "all four are taken");
        // The second user sends `REIN`.
        assert!(second.set_logged_in(false));
        drop(third);
        assert!(admit().is_none(), "two of three are not logged in");
        assert!(fourth.set_logged_in(true));
        assert!(admit().is_some());
        drop((first, second, fourth));
        assert_eq!(counts(&admission), [0; 3]);
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
        assert_eq!(counts(&admission), [1, 1, limits::LEAVING as u64]);
        let _again = admit().unwrap();
        drop(permits);
        assert_eq!(counts(&admission), [1, 1, 0]);
    }

    #[test]
    fn connections_without_a_proxy_header_give_way_to_each_other_ho_09() {
        let admission = Admission::new(1_000, 1);
        let waiting = admission.before_headers();
        let enter = |balancer| waiting.admit_balancer(address(balancer)).map(connected);
        let mut few = enter("192.0.2.1").unwrap();
        let mut many: Vec<_> = std::iter::from_fn(|| enter("198.51.100.1")).collect();
        assert_eq!(many.len() + 1, limits::WAITING + limits::LEAVING);
        let closed =
            many.iter_mut().map(Connected::is_closed).filter(|is_closed| *is_closed).count();
        assert_eq!((closed, few.is_closed()), (limits::LEAVING, false));
        drop(many.remove(0));
        assert!(enter("192.0.2.1").is_some());
        assert!(!few.is_closed() && many[closed - 1].is_closed());
        assert_eq!(counts(&admission), [0; 3]);
        drop((few, many));
        assert_eq!(counts(&waiting), [0; 3]);
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

    const MINUTE: Duration = Duration::from_secs(60);

    fn bans(ban_after: u32) -> Bans {
        let ban_window = 10 * MINUTE;
        let ban_for = 5 * MINUTE;
        Bans::new(
            &ServerConfig::new().logins(
                LoginPolicy::new().ban_after(ban_after).ban_window(ban_window).ban_for(ban_for),
            ),
            None,
        )
    }

    fn note(bans: &Bans, peer: IpAddr, now: Instant) -> bool {
        bans.note(peer, now).or(bans.note_in_ledger(peer, now)).is_some()
    }

    #[test]
    fn a_host_that_fails_too_often_is_banned_for_a_while_hs_28() {
        let bans = bans(3);
        let start = Instant::now();
        let at = |minutes| start + minutes * MINUTE;
        let host = address("192.0.2.1");
        let other = address("192.0.2.2");
        for (minute, begins) in [(0, false), (1, false), (10, false), (10, true), (11, false)] {
            // After ten minutes, the first failure has expired.
            assert_eq!(note(&bans, host, at(minute)), begins, "{minute}");
        }
        for (peer, minute, want) in [
            (host, 10, true),
            (address("::ffff:192.0.2.1"), 14, true),
            (host, 15, false),
            (other, 10, false),
        ] {
            assert_eq!(bans.is_banned(peer, at(minute)), want, "{peer} {minute}");
        }
        // The count has started again.
        assert_eq!([15, 15, 15].map(|minute| note(&bans, host, at(minute))), [false, false, true]);
        assert!(bans.is_banned(host, at(19)));
        assert!(!bans.is_banned(host, at(20)));
    }

    #[test]
    fn one_ipv6_network_is_one_host_and_loopback_none_hs_28() {
        let bans = bans(2);
        let now = Instant::now();
        assert!(!note(&bans, address("2001:db8::1"), now));
        assert!(note(&bans, address("2001:db8::ffff:1"), now));
        assert!(bans.is_banned(address("2001:db8::2"), now));
        assert!(!bans.is_banned(address("2001:db8:0:1::1"), now));
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!(0..9).any(|_| note(&bans, address(text), now)), "{text}");
            assert!(!bans.is_banned(address(text), now));
        }
    }

    #[test]
    fn zero_failures_or_zero_duration_disables_bans_hs_28() {
        let now = Instant::now();
        let zero =
            ServerConfig::new().logins(LoginPolicy::new().ban_for(Duration::ZERO).ban_after(1));
        for bans in [bans(0), Bans::new(&zero, None)] {
            assert!(!note(&bans, address("192.0.2.1"), now));
            assert!(!bans.is_banned(address("192.0.2.1"), now));
            assert!(bans.hosts.lock().is_empty());
        }
        let forever =
            ServerConfig::new().logins(LoginPolicy::new().ban_for(Duration::MAX).ban_after(1));
        let bans = Bans::new(&forever, None);
        assert!(note(&bans, address("192.0.2.1"), now));
        assert!(bans.is_banned(address("192.0.2.1"), now + 100_000 * MINUTE));
    }

    #[test]
    fn the_ban_table_is_bounded_and_keeps_active_bans_hs_28() {
        let bans = bans(2);
        let start = Instant::now();
        let host = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + number));
        let most = u32::try_from(limits::BAN_HOSTS).unwrap();
        assert!(!note(&bans, host(0), start) && note(&bans, host(0), start));
        let later = |number: u32| start + Duration::from_millis(number.into());
        // Each new host in a full table costs a scan of the table.
        let hosts = most + most / 8;
        for number in 1..hosts {
            assert!(!note(&bans, host(number), later(number)));
        }
        assert_eq!(bans.hosts.lock().len(), limits::BAN_HOSTS);
        assert!(bans.is_banned(host(0), start + MINUTE));
        // The table contains the last hosts.
        assert!(!note(&bans, host(1), start + MINUTE));
        assert!(note(&bans, host(hosts - 1), start + MINUTE));
        // Expired records make room at once.
        assert!(!note(&bans, host(9 * most), start + 30 * MINUTE));
        assert_eq!(bans.hosts.lock().len(), 1);
        // If all are banned, no other host is counted.
        for number in 0..most {
            let now = start + 30 * MINUTE;
            let _ = (note(&bans, host(number), now), note(&bans, host(number), now));
        }
        assert!(!note(&bans, host(most + 1), start + 30 * MINUTE));
        assert!(!note(&bans, host(most + 1), start + 30 * MINUTE));
        assert!(bans.is_banned(host(most - 2), start + 31 * MINUTE));
    }

    #[test]
    fn servers_that_share_a_ledger_count_failures_together_hs_28() {
        let ledger = Arc::new(MemoryLedger::new());
        let server = || {
            let lease = Duration::from_secs(600);
            let state = SharedState::start(Arc::clone(&ledger), lease, WithoutLedger::Refuse);
            let state = state.unwrap();
            let mut bans = bans(4);
            bans.shared = Some(state.clone());
            (bans, state)
        };
        let ((one, state), (other, _), (third, _)) = (server(), server(), server());
        let (host, now) = (address("192.0.2.1"), Instant::now());
        let ends = [&one, &other, &one, &other].map(|bans| note(bans, host, now));
        assert_eq!(ends, [false, false, false, true]);
        assert!(
            other.is_banned(host, now) && !one.is_banned(host, now) && !third.is_banned(host, now)
        );
        // A server learns of the ban at the next login.
        assert!(one.is_banned_anywhere(host, now) && one.is_banned(host, now));
        assert!(!third.is_banned_anywhere(address("192.0.2.11"), now));
        assert!(!third.is_banned_anywhere(address("127.0.0.1"), now));
        assert!(one.lift(host, now));
        state.flush();
        assert!(!one.is_banned_anywhere(host, now) && !third.is_banned_anywhere(host, now));
        // Another server keeps its own ban.
        assert!(other.is_banned(host, now));
    }
}
