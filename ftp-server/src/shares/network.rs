//! The networks that share what is scarce: those around a client's address, from the widest to the
//! address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ftp_proto::Network;

/// Number of networks around each address.
pub(super) const LEVELS: usize = 4;

/// The level of an IPv4 address, or of an IPv6 /64: one host for the limits per host.
const HOST: usize = 2;

/// Prefix lengths of IPv6 networks in bits, the widest first: a site, a home, a network in it, and
/// one address. One client may have all addresses of a site.
const V6: [u32; LEVELS] = [48, 56, 64, 128];

/// Prefix lengths of IPv4 networks in bits. Two lengths suffice, because IPv4 addresses are few.
const V4: [u32; LEVELS] = [24, 24, 32, 32];

/// One of the networks around an address. The level distinguishes equal networks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Prefix {
    level: usize,
    network: IpAddr,
}

/// The networks around a client's address, the widest first. Loopback is a network as well: it may
/// be a proxy or a tunnel for any client, but also one greedy client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Networks([Prefix; LEVELS]);

impl Networks {
    /// Returns the networks around an address. An IPv4-mapped address counts as IPv4.
    pub(crate) fn around(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let bits = if peer.is_ipv4() { V4 } else { V6 };
        let mut level = 0;
        Self(bits.map(|bits| {
            let prefix = Prefix { level, network: masked(peer, bits) };
            level += 1;
            prefix
        }))
    }

    pub(super) const fn all(&self) -> &[Prefix; LEVELS] {
        &self.0
    }

    /// Returns the host of the client: its IPv4 address, or its IPv6 /64.
    pub(super) const fn host(&self) -> Prefix {
        self.0[HOST]
    }

    /// Returns the network that counts as one holder for the reserve and for debts: an IPv4
    /// address, or an IPv6 /48, which a single client can easily get.
    pub(super) const fn holder(&self) -> Prefix {
        match self.0[0].network {
            IpAddr::V4(_) => self.0[HOST],
            IpAddr::V6(_) => self.0[0],
        }
    }
}

/// Returns the network with this prefix length that contains the address.
fn masked(peer: IpAddr, bits: u32) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or_default();
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// Returns the address that identifies a host: the IPv4 address itself, or the /64 network of an
/// IPv6 address.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    masked(peer, 64)
}

/// Returns all addresses that count as one host with `peer`.
pub(crate) fn host_of(peer: IpAddr) -> Network {
    // For an IPv4 address, the prefix length is reduced to 32.
    Network::around(peer, 64)
}
