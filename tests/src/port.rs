//! Ports that no other program or test gets.
//!
//! When a socket is closed, any program can take its port. If another test listens there before the
//! intended server does, that server does not start. The wait for it then finds the other server,
//! and both tests fail.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

use ftp_proto::PortRanges;
use socket2::{Domain, Socket, Type};

/// The first port to use. Many services have lower ports.
const FIRST: u16 = 10_000;

/// The minimum number of ports to use, even if the system assigns some of them to other programs.
const LEAST: u16 = 10_000;

/// The passive ports of servers that would otherwise take any of all ports, such as vsftpd and
/// Pure-FTPd: a test that waits for its own server would be their data connection. Neither tests nor
/// Linux, unless told otherwise, assign them.
pub(crate) const PASSIVE: RangeInclusive<u16> = 61_000..=65_535;

/// A port without a listener, which no other test has while this value lives.
#[derive(Debug)]
pub struct OwnPort {
    address: SocketAddr,
    _claim: UnixDatagram,
    _bound: Option<Socket>,
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
        let host = host.into();
        let claim = |port| Some((port, claim_of(host, port)?));
        let (port, claim) = candidates(1).find_map(claim).expect("a free port");
        Self { address: SocketAddr::new(host, port), _claim: claim, _bound: None }
    }

    /// Claims a port of 127.0.0.1 that refuses connections. The port is bound, because some
    /// servers, such as ftp-srv, choose their passive ports from all free ports.
    #[track_caller]
    #[must_use]
    pub fn claim_closed() -> Self {
        let bound = |port: Self| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.bind(&port.address.into()).ok()?;
            Some(Self { _bound: Some(socket), ..port })
        };
        std::iter::repeat_with(Self::claim).find_map(bound).expect("it repeats until there is one")
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

/// Consecutive ports of 127.0.0.1 without listeners, which no other test has while this value
/// lives.
#[derive(Debug)]
pub struct OwnPorts {
    numbers: RangeInclusive<u16>,
    _claims: Vec<UnixDatagram>,
}

impl OwnPorts {
    /// Claims this number of ports.
    #[track_caller]
    #[must_use]
    pub fn claim(count: u16) -> Self {
        let claim = |first| Self::claim_from(first, count);
        candidates(count).find_map(claim).expect("free ports in a row")
    }

    /// Claims this number of ports below 1024, which only root can listen on. Requires root.
    #[track_caller]
    #[must_use]
    pub fn claim_privileged(count: u16) -> Self {
        let claim = |first| Self::claim_from(first, count);
        (600..1_000 - count).rev().find_map(claim).expect("free ports in a row")
    }

    #[track_caller]
    fn claim_from(first: u16, count: u16) -> Option<Self> {
        let numbers = first..=first + count - 1;
        let claims = numbers.clone().map(|port| claim_of(Ipv4Addr::LOCALHOST.into(), port));
        Some(Self { _claims: claims.collect::<Option<_>>()?, numbers })
    }

    /// Returns the ports.
    #[must_use]
    pub fn numbers(&self) -> RangeInclusive<u16> {
        self.numbers.clone()
    }

    /// Returns the ports as one range.
    #[must_use]
    pub fn ranges(&self) -> PortRanges {
        let text = format!("{}-{}", self.numbers.start(), self.numbers.end());
        PortRanges::parse(text.as_bytes()).expect("a range")
    }

    /// Listens on the first `count` of these ports.
    #[track_caller]
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<TcpListener> {
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("an own port");
        self.numbers().take(count).map(listen).collect()
    }
}

/// Returns the first of each `count` consecutive ports to try, each port once. Tests that start
/// together start at different ports.
fn candidates(count: u16) -> impl Iterator<Item = u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let all = u32::from(system_range_start().saturating_sub(FIRST).max(LEAST));
    (0..all / u32::from(count)).map(move |_| {
        let tried = TRIED.fetch_add(count.into(), Ordering::Relaxed);
        let offset = (std::process::id().wrapping_add(tried) % all).min(all - u32::from(count));
        FIRST + u16::try_from(offset).expect("below the number of ports")
    })
}

/// Returns the claim to a port, unless another test has it or a program listens there. The system
/// releases it with the process.
#[track_caller]
fn claim_of(host: IpAddr, port: u16) -> Option<UnixDatagram> {
    let name = format!("ftp-tests-port-{port}");
    let name = net::SocketAddr::from_abstract_name(name).expect("a short name");
    match UnixDatagram::bind_addr(&name) {
        Ok(claim) => is_free(host, port).then_some(claim),
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        Err(error) => panic!("cannot claim port {port}: {error}"),
    }
}

/// Returns whether no program listens at a port. The socket that finds this out never listens
/// itself: a program that another test has just started could keep a copy of it for a moment.
#[track_caller]
fn is_free(host: IpAddr, port: u16) -> bool {
    let address = SocketAddr::new(host, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket takes this option");
    socket.bind(&address.into()).is_ok()
}

/// Returns the first port of the range from which the system assigns ports.
fn system_range_start() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|start| start.parse().ok()).unwrap_or(32_768)
}
