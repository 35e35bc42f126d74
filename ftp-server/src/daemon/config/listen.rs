//! Parses the addresses to listen on, and the address of the metrics.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use ftp_proto::text::values::is_absolute;

/// Default port, on this computer only.
const PORT: u16 = 2_121;

/// An address to listen on, and its text in the settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listen {
    text: String,
    pub(crate) address: SocketAddr,
}

/// Number of listening sockets of each kind that a service manager has passed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Passed {
    pub(crate) plaintext: usize,
    pub(crate) implicit: usize,
}

impl Default for Listen {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        Self { text: address.to_string(), address }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Listen {
    /// Reads `2121` (this computer only), `:2121` (all addresses) or `HOST:2121`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| format!("invalid address \"{text}\": {why}");
        let port = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u16>().map_err(|_| wrong("expected a port up to 65535")),
            false => Err(wrong("expected PORT, :PORT or HOST:PORT")),
        };
        let address = match text.rsplit_once(':') {
            None => (Ipv4Addr::LOCALHOST, port(text)?).into(),
            Some(("", digits)) => (Ipv6Addr::UNSPECIFIED, port(digits)?).into(),
            Some((_, digits)) => {
                port(digits)?;
                let found = text.to_socket_addrs();
                let found = found.map_err(|error| wrong(&format!("cannot resolve it: {error}")))?;
                found.into_iter().next().ok_or_else(|| wrong("cannot resolve it"))?
            }
        };
        Ok(Self { text: text.to_owned(), address })
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum MetricsAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl MetricsAddress {
    /// Parses `ADDRESS:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid address \"{text}\": expected ADDRESS:PORT or unix:/PATH");
        match text.strip_prefix("unix:") {
            Some(path) if is_absolute(path) => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }

    pub(crate) const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Returns a message if two of the addresses are equal.
pub(super) fn duplicate(listen: &[Listen]) -> Option<String> {
    listen.iter().enumerate().find_map(|(place, item)| {
        let is_same = |other: &&Listen| other.address == item.address && item.address.port() != 0;
        let same = listen.iter().take(place).find(is_same)?;
        Some(format!("duplicate address \"{item}\": same as \"{same}\"; remove one of them"))
    })
}

/// Returns the addresses that the system supports, without those that another address covers. If
/// there is no IPv6, `0.0.0.0` replaces `[::]`. Otherwise, `[::]` covers `0.0.0.0`.
pub(crate) fn available(listen: &[Listen], has_ipv6: impl Fn() -> bool) -> Vec<SocketAddr> {
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let is_all = |address: &SocketAddr| address.ip() == all.ip();
    let mut addresses: Vec<SocketAddr> = listen.iter().map(|listen| listen.address).collect();
    if addresses.iter().any(is_all) && !has_ipv6() {
        log::warn!(target: "ftp_server", "IPv6 is not available: listening on 0.0.0.0 instead of [::]");
        for address in addresses.iter_mut().filter(|address| is_all(address)) {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
    }
    let mut available: Vec<SocketAddr> = Vec::new();
    for (place, address) in addresses.iter().enumerate() {
        let covers = |(other_place, other): (usize, &SocketAddr)| {
            let same_port = other.port() == address.port() && other.port() != 0;
            let earlier = other_place < place && other == address;
            let is_wider = is_all(other) && address.ip() == Ipv4Addr::UNSPECIFIED;
            same_port && (earlier || is_wider)
        };
        if !addresses.iter().enumerate().any(covers) {
            available.push(*address);
        }
    }
    available
}

pub(crate) fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// Warning if `listen.freebind` is set and the computer does not have the address yet.
pub(crate) const MISSING: &str =
    "the computer does not have this address yet; clients can connect once it does";

/// Returns whether the computer does not have this address.
pub(crate) fn is_missing(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Returns the IPv4 source address of outgoing packets. Sends no packet; the target is a
/// documentation address (RFC 5737).
pub(crate) fn outgoing() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::forms::ADDRESSES;

    #[test]
    fn every_form_of_a_listen_address_is_parsed() {
        for (text, want) in [
            ("2121", Some("127.0.0.1:2121")),
            (":2121", Some("[::]:2121")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::]:2121", Some("[::]:2121")),
            (" [::1]:21 ", Some("[::1]:21")),
            ("", None),
            (":", None),
            ("65536", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("+21", None),
            ("x y:21", None),
        ] {
            let want: Option<SocketAddr> = want.map(|text| text.parse().unwrap());
            // `::1` might be read as host `:`, port 1: it must not become an address.
            let found = Listen::parse(text).ok().map(|listen| listen.address);
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn a_listen_address_cannot_be_listed_twice() {
        let two = ADDRESSES.assigned("2121, :21").unwrap();
        assert_eq!(ADDRESSES.show(&two).bare(), "2121, :21");
        assert_eq!(ADDRESSES.assigned("0,0").unwrap().len(), 2, "two ports of the system's choice");
        for (text, want) in [
            (
                "2121,127.0.0.1:2121",
                "duplicate address \"127.0.0.1:2121\": same as \"2121\"; remove one of them",
            ),
            ("2121,x", "\"x\": expected PORT"),
        ] {
            let wrong = ADDRESSES.assigned(text).unwrap_err();
            assert!(wrong.contains(want), "{text}: {wrong}");
        }
    }

    #[test]
    fn listening_addresses_depend_on_ipv6_support() {
        for (text, with, without) in [
            (":21", "[::]:21", "0.0.0.0:21"),
            ("[::]:21,0.0.0.0:21", "[::]:21", "0.0.0.0:21"),
            ("0.0.0.0:21,[::]:21", "[::]:21", "0.0.0.0:21"),
            ("0.0.0.0:21,:22", "0.0.0.0:21 [::]:22", "0.0.0.0:21 0.0.0.0:22"),
            (":0,0.0.0.0:0", "[::]:0 0.0.0.0:0", "0.0.0.0:0 0.0.0.0:0"),
            ("127.0.0.1:21,:21", "127.0.0.1:21 [::]:21", "127.0.0.1:21 0.0.0.0:21"),
        ] {
            let listen = ADDRESSES.assigned(text).unwrap();
            for (has_ipv6, want) in [(true, with), (false, without)] {
                let found = available(&listen, || has_ipv6);
                let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
                assert_eq!(found.join(" "), want, "{text} {has_ipv6}");
            }
        }
    }
}
