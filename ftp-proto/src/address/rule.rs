//! Chooses the host of a data connection. A server may announce a host other than that of the
//! control connection: by mistake behind a NAT, or to attack the client (curl's CVE-2020-8284). The choice depends on the classes of both addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a client uses the host in a 227 reply.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AddressRule {
    /// Always use the host of the control connection. An attacker may have chosen the announced
    /// host (CVE-2020-8284).
    #[default]
    Peer,
    /// Use the announced host unless it cannot be meant for this client.
    ///
    /// The announced host is rejected if its address is unspecified or multicast, or if only the
    /// host of the control connection is public. A loopback or link-local announced host is
    /// rejected if the host of the control connection is of another class. Otherwise a server could
    /// direct a client to the client's own services, or to cloud metadata at 169.254.169.254.
    Smart,
    /// Always use the announced host, even if it is not plausible.
    Reply,
}

/// The chosen host, and the reason.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct ChosenHost {
    /// The host to connect to.
    pub host: IpAddr,
    /// The reason.
    pub reason: HostReason,
}

/// Why a host was chosen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HostReason {
    /// The announced host is the host of the control connection.
    Same,
    /// The rule demands the host of the control connection.
    PeerRule,
    /// The rule demands the announced host.
    ReplyRule,
    /// There is no reason to reject the announced host.
    Plausible,
    /// The announced host is of this class. Either the class is unspecified or multicast, or only
    /// the host of the control connection is public.
    Unreachable(AddressClass),
    /// The announced host is of this class, loopback or link-local, and the host of the control
    /// connection is of another class.
    LocalOnly(AddressClass),
}

impl AddressRule {
    /// Chooses between the host that a reply announced and that of the control connection.
    ///
    /// ```
    /// use ftp_proto::{AddressClass, AddressRule, HostReason};
    ///
    /// // A server behind a NAT announces its internal address.
    /// let inside = [10, 0, 0, 5].into();
    /// let outside = [203, 0, 113, 7].into();
    /// let chosen = AddressRule::Smart.choose(inside, outside);
    /// assert_eq!(chosen.host, outside);
    /// assert_eq!(chosen.reason, HostReason::Unreachable(AddressClass::Private));
    /// assert_eq!(chosen.reason.to_string(), "private, but the server's address is public");
    /// ```
    #[must_use]
    pub fn choose(self, announced: IpAddr, peer: IpAddr) -> ChosenHost {
        let announced = announced.to_canonical();
        let peer = peer.to_canonical();
        let (host, reason) = match (self, AddressClass::of(announced)) {
            _ if announced == peer => (peer, HostReason::Same),
            (Self::Peer, _) => (peer, HostReason::PeerRule),
            (Self::Reply, _) => (announced, HostReason::ReplyRule),
            (Self::Smart, class @ (AddressClass::Unspecified | AddressClass::Multicast)) => {
                (peer, HostReason::Unreachable(class))
            }
            (Self::Smart, AddressClass::Public) => (announced, HostReason::Plausible),
            (Self::Smart, class) if AddressClass::of(peer) == AddressClass::Public => {
                (peer, HostReason::Unreachable(class))
            }
            (Self::Smart, class @ (AddressClass::Loopback | AddressClass::LinkLocal))
                if AddressClass::of(peer) != class =>
            {
                (peer, HostReason::LocalOnly(class))
            }
            (Self::Smart, _) => (announced, HostReason::Plausible),
        };
        ChosenHost { host, reason }
    }
}

impl fmt::Display for HostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the host of the control connection"),
            Self::PeerRule => f.write_str("the host of the control connection is always used"),
            Self::ReplyRule => f.write_str("the announced host is always used"),
            Self::Plausible => f.write_str("the announced host is plausible"),
            Self::Unreachable(class @ (AddressClass::Unspecified | AddressClass::Multicast)) => {
                write!(f, "{class}, which is not a host")
            }
            Self::Unreachable(class) => write!(f, "{class}, but the server's address is public"),
            Self::LocalOnly(class) => write!(f, "{class}, but the server's address is not"),
        }
    }
}

/// The range from which an address can be reached.
///
/// An IPv4-mapped IPv6 address has the class of its IPv4 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AddressClass {
    /// Reachable from anywhere: an address of no other class.
    Public,
    /// Reachable within one site: 10/8, 172.16/12, 192.168/16 (RFC 1918), fc00::/7 (RFC 4193).
    Private,
    /// Reachable within one provider's network: 100.64/10, for carrier-grade NAT (RFC 6598).
    Shared,
    /// Reachable from the same machine: 127/8, ::1.
    Loopback,
    /// Reachable on the same link: 169.254/16, fe80::/10 (RFC 3927, RFC 4291).
    LinkLocal,
    /// Not a host: 0/8, ::.
    Unspecified,
    /// Many hosts: 224/4, ff00::/8, and the IPv4 broadcast address.
    Multicast,
}

impl AddressClass {
    /// Returns the class of an address.
    ///
    /// ```
    /// use ftp_proto::AddressClass;
    ///
    /// assert_eq!(AddressClass::of([10, 0, 0, 5].into()), AddressClass::Private);
    /// assert_eq!(AddressClass::of([100, 64, 0, 1].into()), AddressClass::Shared);
    /// assert_eq!(AddressClass::of([203, 0, 113, 7].into()), AddressClass::Public);
    /// ```
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_ipv4(address),
            IpAddr::V6(address) => Self::of_ipv6(address),
        }
    }

    const fn of_ipv4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [224..=239, ..] | [255, 255, 255, 255] => Self::Multicast,
            _ => Self::Public,
        }
    }

    const fn of_ipv6(address: Ipv6Addr) -> Self {
        if address.is_unspecified() {
            Self::Unspecified
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_multicast() {
            Self::Multicast
        } else if address.is_unicast_link_local() {
            Self::LinkLocal
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressClass::{LinkLocal, Loopback, Multicast, Private, Public, Shared, Unspecified};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_rules_choose_the_host_cl_25_cl_26_cl_27_hc_01() {
        use AddressRule::{Peer, Reply, Smart};
        use HostReason::{LocalOnly, PeerRule, Plausible, ReplyRule, Same, Unreachable};
        for (rule, announced, peer, host, reason) in [
            (Peer, "10.0.0.5", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "198.51.100.1", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7", Same),
            (Reply, "198.51.100.1", "203.0.113.7", "198.51.100.1", ReplyRule),
            (Reply, "0.0.0.0", "203.0.113.7", "0.0.0.0", ReplyRule),
            (Smart, "10.0.0.5", "203.0.113.7", "203.0.113.7", Unreachable(Private)),
            (Smart, "100.64.1.1", "203.0.113.7", "203.0.113.7", Unreachable(Shared)),
            (Smart, "127.0.0.1", "203.0.113.7", "203.0.113.7", Unreachable(Loopback)),
            (Smart, "169.254.169.254", "203.0.113.7", "203.0.113.7", Unreachable(LinkLocal)),
            (Smart, "0.0.0.0", "10.0.0.1", "10.0.0.1", Unreachable(Unspecified)),
            (Smart, "224.0.0.1", "10.0.0.1", "10.0.0.1", Unreachable(Multicast)),
            (Smart, "198.51.100.1", "203.0.113.7", "198.51.100.1", Plausible),
            (Smart, "198.51.100.1", "10.0.0.1", "198.51.100.1", Plausible),
            (Smart, "10.0.0.5", "10.0.0.1", "10.0.0.5", Plausible),
            (Smart, "10.0.0.5", "100.64.0.1", "10.0.0.5", Plausible),
            (Smart, "127.0.0.1", "10.0.0.1", "10.0.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.53", "100.64.0.1", "100.64.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.1", "169.254.0.9", "169.254.0.9", LocalOnly(Loopback)),
            (Smart, "::1", "fd00::1", "fd00::1", LocalOnly(Loopback)),
            (Smart, "::ffff:127.0.0.1", "192.168.1.1", "192.168.1.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.2", "127.0.0.1", "127.0.0.2", Plausible),
            (Smart, "127.0.0.1", "::1", "127.0.0.1", Plausible),
            (Smart, "169.254.169.254", "10.0.0.1", "10.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "169.254.169.254", "127.0.0.1", "127.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "fe80::1", "fd00::1", "fd00::1", LocalOnly(LinkLocal)),
            (Smart, "169.254.1.2", "169.254.0.9", "169.254.1.2", Plausible),
            (Smart, "169.254.1.2", "fe80::9", "169.254.1.2", Plausible),
            (Smart, "10.0.0.5", "127.0.0.1", "10.0.0.5", Plausible),
            (Reply, "127.0.0.1", "10.0.0.1", "127.0.0.1", ReplyRule),
            (Smart, "203.0.113.7", "203.0.113.7", "203.0.113.7", Same),
        ] {
            let chosen = rule.choose(address(announced), address(peer));
            let want = ChosenHost { host: address(host), reason };
            assert_eq!(chosen, want, "{rule:?} {announced} {peer}");
        }
    }

    #[test]
    fn reasons_are_sentences() {
        for (reason, want) in [
            (HostReason::Same, "the host of the control connection"),
            (HostReason::PeerRule, "the host of the control connection is always used"),
            (HostReason::ReplyRule, "the announced host is always used"),
            (HostReason::Plausible, "the announced host is plausible"),
            (HostReason::Unreachable(Shared), "shared, but the server's address is public"),
            (HostReason::Unreachable(Multicast), "multicast, which is not a host"),
            (HostReason::LocalOnly(Loopback), "loopback, but the server's address is not"),
            (HostReason::LocalOnly(LinkLocal), "link-local, but the server's address is not"),
        ] {
            assert_eq!(reason.to_string(), want);
        }
    }

    #[test]
    fn address_classes_follow_the_rfc_ranges() {
        for (text, want) in [
            ("0.0.0.0", Unspecified),
            ("0.255.255.255", Unspecified),
            ("1.0.0.0", Public),
            ("9.255.255.255", Public),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("127.0.0.1", Loopback),
            ("128.0.0.0", Public),
            ("169.253.255.255", Public),
            ("169.254.0.0", LinkLocal),
            ("169.255.0.0", Public),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.167.255.255", Public),
            ("192.168.0.0", Private),
            ("192.169.0.0", Public),
            ("223.255.255.255", Public),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("255.255.255.254", Public),
            ("255.255.255.255", Multicast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Public),
            ("fbff::1", Public),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fe7f::1", Public),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("ff02::1", Multicast),
            ("2001:db8::1", Public),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:8.8.8.8", Public),
        ] {
            assert_eq!(AddressClass::of(address(text)), want, "{text}");
        }
    }

    #[test]
    fn classes_have_names() {
        for (class, want) in [
            (Public, "public"),
            (Private, "private"),
            (Loopback, "loopback"),
            (LinkLocal, "link-local"),
            (Unspecified, "unspecified"),
        ] {
            assert_eq!(class.to_string(), want);
        }
    }
}
