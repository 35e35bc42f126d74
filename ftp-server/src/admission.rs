//! How many connections there may be: in all, from one host, and without a login.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ftp_proto::Network;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// Counts connections against their caps.
#[derive(Debug)]
pub(crate) struct Admission {
    total: usize,
    per_host: AtomicUsize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// Those of them that are not logged in.
    pending: usize,
    /// Connections that have given their place back and are not closed yet.
    leaving: usize,
    hosts: HashMap<IpAddr, usize>,
}

/// The right to be connected; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    host: Option<IpAddr>,
    is_pending: bool,
    is_leaving: bool,
}

impl Admission {
    /// At most `total` connections, and `per_host` from one host; 0 means any number from one.
    pub(crate) fn new(total: usize, per_host: usize) -> Arc<Self> {
        Arc::new(Self { total, per_host: per_host.into(), held: Mutex::default() })
    }

    /// From now on at most `per_host` connections from one host.
    pub(crate) fn set_per_host(&self, per_host: usize) {
        self.per_host.store(per_host, Ordering::Relaxed);
    }

    /// A place for one more connection, if there is one. Those that are not logged in have at
    /// most half of all places: who has no password cannot keep out those who have one.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Permit> {
        // Loopback is not counted.
        let per_host = self.per_host.load(Ordering::Relaxed);
        let is_counted = per_host > 0 && !peer.to_canonical().is_loopback();
        let host = is_counted.then(|| network_of(peer));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.total || held.pending >= self.total.div_ceil(2) {
            return None;
        }
        if let Some(host) = host {
            let count = held.hosts.entry(host).or_default();
            if *count >= per_host {
                return None;
            }
            *count += 1;
        }
        held.total += 1;
        held.pending += 1;
        let admission = Arc::clone(self);
        Some(Permit { admission, host, is_pending: true, is_leaving: false })
    }
}

impl Permit {
    /// Says whether the connection is logged in.
    pub(crate) fn set_logged_in(&mut self, is_logged_in: bool) {
        if self.is_pending != is_logged_in {
            return;
        }
        let mut held = self.admission.held.lock().unwrap_or_else(PoisonError::into_inner);
        if is_logged_in {
            held.pending -= 1;
        } else {
            held.pending += 1;
        }
        self.is_pending = !is_logged_in;
    }

    /// Gives the place back now, for a connection that has only to be closed: its peer may come
    /// again as soon as it sees the end. When too many do so at once, the place is held until
    /// this is dropped, since each still has a thread.
    pub(crate) fn leave(&mut self) {
        let mut held = self.admission.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_leaving && held.leaving < limits::LEAVING {
            held.leaving += 1;
            held.give_back(self.host, self.is_pending);
            self.is_leaving = true;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_leaving {
            held.leaving -= 1;
        } else {
            held.give_back(self.host, self.is_pending);
        }
    }
}

impl Held {
    fn give_back(&mut self, host: Option<IpAddr>, is_pending: bool) {
        self.total -= 1;
        if is_pending {
            self.pending -= 1;
        }
        if let Some(host) = host
            && let Some(count) = self.hosts.get_mut(&host)
        {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}

/// What counts as one host: an IPv4 address, or the /64 that one IPv6 user has.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// All addresses that count as one host with `peer`.
pub(crate) fn host_of(peer: IpAddr) -> Network {
    // An IPv4 address has 32 bits at most.
    Network::around(peer, 64)
}

/// How many sessions this system can carry, and which of its limits says so.
///
/// Each session is a thread, its mappings, its control connection, and at times a listener, a
/// data connection and a file. A mapping that fails while a thread starts would abort the whole
/// process, so the cap must keep clear of that wall.
pub(crate) fn system_cap() -> (usize, &'static str) {
    let limits = [
        (descriptors(), "RLIMIT_NOFILE"),
        (mappings(), "vm.max_map_count"),
        (number_in("/proc/sys/kernel/threads-max").map(|threads| threads / 2), "threads-max"),
        (processes(), "RLIMIT_NPROC"),
        (cgroup_pids(), "pids.max"),
        (memory(), "memory"),
    ];
    let known = limits.iter().filter_map(|(limit, name)| limit.map(|limit| (limit, *name)));
    let (cap, name) = known.min_by_key(|(limit, _)| *limit).unwrap_or((256, "no limit known"));
    (usize::try_from(cap).unwrap_or(usize::MAX).max(1), name)
}

/// Four descriptors a session, of all that the hard limit allows: the soft one is raised to it.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map(|descriptors| descriptors.saturating_sub(64) / 4)
}

/// Four mappings a thread.
fn mappings() -> Option<u64> {
    let count = number_in("/proc/sys/vm/max_map_count")?;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let used = maps.iter().filter(|&&byte| byte == b'\n').count();
    Some((count.saturating_sub(u64::try_from(used).ok()?) / 4).saturating_sub(256))
}

fn processes() -> Option<u64> {
    getrlimit(Resource::Nproc).current.map(|processes| processes.saturating_sub(64))
}

fn cgroup_pids() -> Option<u64> {
    number_in_cgroup("pids.max").map(|pids| pids.saturating_sub(64))
}

fn number_in_cgroup(file: &str) -> Option<u64> {
    let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    number_in(Path::new("/sys/fs/cgroup").join(group).join(file))
}

/// 20 KiB a session.
fn memory() -> Option<u64> {
    memory_info("MemAvailable:").map(|bytes| bytes / 1024 / 20)
}

/// How much memory this process could have at most, in bytes: what the machine has, or less where
/// its group may have less.
pub(crate) fn memory_in_all() -> Option<u64> {
    let machine = memory_info("MemTotal:");
    let group = number_in_cgroup("memory.max");
    machine.into_iter().chain(group).min()
}

fn memory_info(key: &str) -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn number_in(path: impl AsRef<Path>) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_and_given_back_st_12() {
        let admission = Admission::new(6, 2);
        let first = admission.admit(address("192.0.2.1"));
        let second = admission.admit(address("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(address("192.0.2.1")).is_none(), "two are from this host");
        let other = admission.admit(address("192.0.2.2"));
        assert!(other.is_some());
        assert!(admission.admit(address("192.0.2.3")).is_none(), "three are not logged in");
        drop(first);
        assert!(admission.admit(address("192.0.2.1")).is_some());
        drop((second, other));
        let held = admission.held.lock().unwrap();
        assert_eq!((held.total, held.pending, held.hosts.len()), (0, 0, 0));
    }

    #[test]
    fn another_cap_for_a_host_is_for_those_who_come() {
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
        assert!(admission.held.lock().unwrap().hosts.is_empty());
    }

    #[test]
    fn half_of_the_places_are_for_users_ho_09() {
        let admission = Admission::new(4, 0);
        let admit = || admission.admit(address("192.0.2.1"));
        let (mut first, mut second) = (admit().unwrap(), admit().unwrap());
        assert!(admit().is_none());
        first.set_logged_in(true);
        first.set_logged_in(true);
        let third = admit().unwrap();
        assert!(admit().is_none());
        second.set_logged_in(true);
        let mut fourth = admit().unwrap();
        assert!(admit().is_none(), "all four are taken");
        // REIN.
        second.set_logged_in(false);
        drop(third);
        assert!(admit().is_none(), "two of three are not logged in");
        fourth.set_logged_in(true);
        assert!(admit().is_some());
        drop((first, second, fourth));
        let held = admission.held.lock().unwrap();
        assert_eq!((held.total, held.pending), (0, 0));
        // One place is for whoever comes.
        assert!(Admission::new(1, 0).admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn who_leaves_has_no_place_but_only_so_many_leave_at_once_st_12_ho_01() {
        let places = limits::LEAVING + 1;
        let admission = Admission::new(2 * places, places);
        let admit = || admission.admit(address("192.0.2.1"));
        let mut permits: Vec<_> = std::iter::from_fn(admit).collect();
        assert_eq!(permits.len(), places);
        for permit in &mut permits {
            permit.leave();
            permit.leave();
        }
        let held = || {
            let held = admission.held.lock().unwrap();
            (held.total, held.pending, held.leaving, held.hosts.len())
        };
        assert_eq!(held(), (1, 1, limits::LEAVING, 1));
        let _again = admit().unwrap();
        drop(permits);
        assert_eq!(held(), (1, 1, 0, 1));
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

    #[test]
    fn the_system_has_a_cap_ho_01() {
        let (cap, limit) = system_cap();
        assert!(cap > 1 && !limit.is_empty());
        if let Some(maps) = number_in("/proc/sys/vm/max_map_count") {
            assert!(u64::try_from(cap).unwrap() < maps / 4);
        }
    }
}
