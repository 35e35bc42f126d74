//! The address in PASV replies (227), and the lookup of host names for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};

use ftp_proto::{AddressClass, Network};

use crate::config::{PassiveAddress, ServerConfig};
use crate::lock::Lock;
use crate::net::socket;
use crate::{limits, threads};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PassivePolicy;

    const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn announcer(general: Option<&str>, overrides: &[(&str, &str)]) -> Arc<Announcer> {
        let address = |text: &str| PassiveAddress::parse(text.as_bytes()).unwrap();
        let overrides = overrides.iter().map(|(network, text)| {
            (vec![Network::parse(network.as_bytes()).unwrap()], address(text))
        });
        Announcer::new(&ServerConfig::new().passive(
            PassivePolicy::new().address(general.map(address)).overrides(Vec::from_iter(overrides)),
        ))
    }

    fn told(announcer: &Announcer, peer: &str) -> String {
        announcer.address_for(peer.parse().unwrap(), LOCAL).to_string()
    }

    #[test]
    fn the_clients_network_decides_the_announced_address_dc_05_dc_06() {
        let overrides = [("10.0.0.0/8", "10.0.0.5"), ("127.0.0.2", "192.0.2.8")];
        for (general, overrides, peer, want) in [
            (None, &[][..], "203.0.113.1", "10.0.0.5"),
            (Some("192.0.2.7"), &[], "203.0.113.1", "192.0.2.7"),
            (Some("192.0.2.7"), &[], "192.168.0.9", "192.0.2.7"),
            (Some("192.0.2.7"), &[], "::ffff:192.168.0.9", "192.0.2.7"),
            (Some("192.0.2.7"), &[], "127.0.0.1", "10.0.0.5"),
            (Some("192.0.2.7"), &overrides, "127.0.0.1", "10.0.0.5"),
            (Some("192.0.2.7"), &overrides, "127.0.0.2", "192.0.2.8"),
            (Some("192.0.2.7"), &overrides, "10.2.3.4", "10.0.0.5"),
            (Some("192.0.2.7"), &overrides, "172.16.0.1", "192.0.2.7"),
            (None, &overrides, "172.16.0.1", "10.0.0.5"),
        ] {
            assert_eq!(told(&announcer(general, overrides), peer), want, "{general:?} {peer}");
        }
    }

    #[test]
    fn a_failed_lookup_keeps_the_last_address_dc_07_ho_17() {
        let announcer = announcer(Some("ftp.example"), &[("10.0.0.0/8", "inner.example")]);
        let find = |answer: Result<&'static [&'static str], io::ErrorKind>| {
            announcer.look_up(move |name| match (name, answer) {
                ("inner.example", _) => Ok(vec![[10, 9, 9, 9].into()]),
                (_, Ok(texts)) => Ok(texts.iter().map(|text| text.parse().unwrap()).collect()),
                (_, Err(kind)) => Err(kind.into()),
            })
        };
        assert_eq!(told(&announcer, "203.0.113.1"), "10.0.0.5", "not known yet");
        assert!(!find(Err(io::ErrorKind::TimedOut)));
        assert_eq!(told(&announcer, "203.0.113.1"), "10.0.0.5");
        for (answer, want) in [
            (Ok(&["2001:db8::1", "192.0.2.1"][..]), "192.0.2.1"),
            (Err(io::ErrorKind::TimedOut), "192.0.2.1"),
            (Ok(&[]), "192.0.2.1"),
            (Ok(&["2001:db8::1"]), "192.0.2.1"),
            (Ok(&["192.0.2.2", "192.0.2.1"]), "192.0.2.1"),
            (Ok(&["192.0.2.2", "192.0.2.3"]), "192.0.2.2"),
        ] {
            assert!(find(answer));
            assert_eq!(told(&announcer, "203.0.113.1"), want, "{answer:?}");
        }
        assert_eq!(told(&announcer, "10.1.1.1"), "10.9.9.9");
    }

    #[test]
    fn names_are_resolved_at_startup_dc_07() {
        let announcer = announcer(None, &[("127.0.0.0/8", "localhost")]);
        announcer.start().unwrap();
        assert!(announcer.lookups.get().is_some());
        assert_eq!(told(&announcer, "127.0.0.1"), "127.0.0.1");
        let without_names = self::announcer(Some("192.0.2.1"), &[]);
        without_names.start().unwrap();
        assert!(without_names.lookups.get().is_none());
    }
}
