//! Finds the outgoing address of this host.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Returns the IPv4 source address of outgoing packets. Sends no packet; the target is a
/// documentation address (RFC 5737).
pub(super) fn outgoing() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
