//! Classes of addresses (RFC 1918, RFC 6598, RFC 6890).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
