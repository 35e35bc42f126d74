//! Ports that no other program or test gets.
//!
//! When a socket is closed, its port is free for all programs. Before the intended server listens
//! there, another test may: then that server does not start, the wait for it finds the other one,
//! and both tests fail.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port to use. Many services have lower ones.
const FIRST: u16 = 10_000;

/// The minimum number of ports to use, even if the system assigns some of them to other programs.
const LEAST: u16 = 10_000;

/// A port without a listener, which no other test has while this value lives.
#[derive(Debug)]
pub struct OwnPort {
    address: SocketAddr,
    _claim: UnixDatagram,
}

impl OwnPort {
    /// Claims a port of 127.0.0.1.
    #[track_caller]
    #[must_use]
    pub fn claim() -> Self {
        Self::claim_at(Ipv4Addr::LOCALHOST)
    }

    /// Claims a port of a loopback address.
    #[track_caller]
    #[must_use]
    pub fn claim_at(host: impl Into<IpAddr>) -> Self {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let host = host.into();
        let count = system_range_start().saturating_sub(FIRST).max(LEAST);
        // Tests that start together start at different ports.
        let begin = u16::try_from(std::process::id() % u32::from(count)).expect("below the count");
        for _ in 0..count {
            let tried = TRIED.fetch_add(1, Ordering::Relaxed) % count;
            let offset = (u32::from(begin) + u32::from(tried)) % u32::from(count);
            let port = FIRST + u16::try_from(offset).expect("below the count");
            let address = SocketAddr::new(host, port);
            if let Some(claim) = claim_of(port)
                && TcpListener::bind(address).is_ok()
            {
                return Self { address, _claim: claim };
            }
        }
        panic!("all of {count} ports are taken");
    }

    /// Returns the address with this port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.address.port()
    }
}

/// Returns the claim to a port in this network, unless another test has it. The system releases it
/// with the process.
#[track_caller]
fn claim_of(port: u16) -> Option<UnixDatagram> {
    let name = format!("ftp-tests-port-{port}");
    let name = net::SocketAddr::from_abstract_name(name).expect("a short name");
    match UnixDatagram::bind_addr(&name) {
        Ok(claim) => Some(claim),
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        Err(error) => panic!("cannot claim port {port}: {error}"),
    }
}

/// Returns the first port of the range from which the system assigns ports.
fn system_range_start() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|start| start.parse().ok()).unwrap_or(32_768)
}
