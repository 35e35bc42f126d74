//! From which address this host goes out.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The address from which packets go out. None is sent: the target is one for examples (RFC 5737).
pub(super) fn outgoing() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
