//! Limits on the number of processor-bound jobs, in total and per host.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::limits;
use crate::lock::unpoisoned;
use crate::shares::network_of;

/// The hosts that hold the places for one kind of job in the whole server, one entry per place.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Vec<IpAddr>>);

/// One of [`limits::HEAVY`] places. Dropping it returns the place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    host: IpAddr,
}

impl Places {
    fn hosts(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        unpoisoned(self.0.lock())
    }
}

impl Place {
    /// Takes a place for `peer`. Returns `None` if no place is left, or if the peer's host already
    /// has [`limits::HEAVY_OF_HOST`] places.
    pub(crate) fn get(places: &Arc<Places>, peer: IpAddr) -> Option<Self> {
        let host = network_of(peer);
        let mut hosts = places.hosts();
        let of_host = hosts.iter().filter(|other| **other == host).count();
        if hosts.len() >= limits::HEAVY || of_host >= limits::HEAVY_OF_HOST {
            return None;
        }
        hosts.push(host);
        drop(hosts);
        Some(Self { places: Arc::clone(places), host })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts();
        if let Some(at) = hosts.iter().position(|host| *host == self.host) {
            hosts.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_slots_and_one_per_host_cm_126() {
        let places = Arc::default();
        let get = |host: &str| Place::get(&places, host.parse().unwrap());
        let first = get("192.0.2.1").unwrap();
        for same in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(get(same).is_none(), "half of them are for others");
        }
        let second = get("2001:db8::1").unwrap();
        assert!(get("192.0.2.2").is_none());
        drop(first);
        assert!(get("2001:db8::2").is_none(), "one /64 is one host");
        assert!(get("2001:db8:0:1::2").is_some());
        drop(second);
        assert!(get("2001:db8::2").is_some());
        assert!(places.hosts().is_empty());
    }
}
