//! Bans of hosts with too many failed logins (RFC 2577 §5). No user is locked out: a failed login
//! counts only against the client's host.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::ServerConfig;
use crate::ledger::{BanPolicy, SharedState};
use crate::lock::Lock;
use crate::shares::network_of;
use crate::{deadline, limits};

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
    use std::sync::Arc;

    use super::*;
    use crate::config::LoginPolicy;
    use crate::ledger::{MemoryLedger, WithoutLedger};

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

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
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
