//! Which host to connect to when a server behind a NAT announces its own idea of its address
//! (curl's CVE-2020-8284 and its like).

use std::fmt;
use std::net::IpAddr;

use super::class::AddressClass;

/// Which host a client takes from a 227 reply.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AddressRule {
    /// The host of the control connection, always. The announced one is what an attacker, or a
    /// NAT, would have chosen (CVE-2020-8284).
    #[default]
    Peer,
    /// The announced host, unless it cannot be meant for this client: one that is not public
    /// while the host of the control connection is, one of this machine or link while that is
    /// not, and one that is no host. Else a server could send a client to its own services, or
    /// to those of its cloud at 169.254.169.254.
    Smart,
    /// The announced host, whatever it is: the one rule that reaches third hosts.
    Reply,
}

/// Which host was chosen, and why: for the connection, and for those who ask why.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct ChosenHost {
    /// Where to connect to.
    pub host: IpAddr,
    /// The reason.
    pub reason: HostReason,
}

/// Why a host was chosen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HostReason {
    /// The reply and the control connection name the same host.
    Same,
    /// The rule is to take the host of the control connection.
    PeerRule,
    /// The rule is to take the announced host.
    ReplyRule,
    /// The announced host can be meant: there is nothing against it.
    Plausible,
    /// The announced host is of this class, and the host of the control connection is public; or
    /// it is no host.
    NotForUs(AddressClass),
    /// The announced host is of this class, loopback or link-local, and the host of the control
    /// connection is not.
    NotThere(AddressClass),
}

impl AddressRule {
    /// Chooses between the host that a reply announced and that of the control connection.
    ///
    /// ```
    /// use ftp_proto::{AddressClass, AddressRule, HostReason};
    ///
    /// // A server behind a NAT announces the address that it has inside.
    /// let inside = [10, 0, 0, 5].into();
    /// let outside = [203, 0, 113, 7].into();
    /// let chosen = AddressRule::Smart.choose(inside, outside);
    /// assert_eq!(chosen.host, outside);
    /// assert_eq!(chosen.reason, HostReason::NotForUs(AddressClass::Private));
    /// assert_eq!(chosen.reason.to_string(), "private, but the server is public");
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
                (peer, HostReason::NotForUs(class))
            }
            (Self::Smart, AddressClass::Public) => (announced, HostReason::Plausible),
            (Self::Smart, class) if AddressClass::of(peer) == AddressClass::Public => {
                (peer, HostReason::NotForUs(class))
            }
            (Self::Smart, class @ (AddressClass::Loopback | AddressClass::LinkLocal))
                if AddressClass::of(peer) != class =>
            {
                (peer, HostReason::NotThere(class))
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
            Self::Plausible => f.write_str("the announced host can be meant"),
            Self::NotForUs(class @ (AddressClass::Unspecified | AddressClass::Multicast)) => {
                write!(f, "{class}, which is no host")
            }
            Self::NotForUs(class) => write!(f, "{class}, but the server is public"),
            Self::NotThere(class) => write!(f, "{class}, but the server is not"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressClass::{LinkLocal, Loopback, Multicast, Private, Shared, Unspecified};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rules_choose_cl_25_cl_26_cl_27_hc_01() {
        use AddressRule::{Peer, Reply, Smart};
        use HostReason::{NotForUs, NotThere, PeerRule, Plausible, ReplyRule, Same};
        for (rule, announced, peer, host, reason) in [
            (Peer, "10.0.0.5", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "198.51.100.1", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7", Same),
            (Reply, "198.51.100.1", "203.0.113.7", "198.51.100.1", ReplyRule),
            (Reply, "0.0.0.0", "203.0.113.7", "0.0.0.0", ReplyRule),
            (Smart, "10.0.0.5", "203.0.113.7", "203.0.113.7", NotForUs(Private)),
            (Smart, "100.64.1.1", "203.0.113.7", "203.0.113.7", NotForUs(Shared)),
            (Smart, "127.0.0.1", "203.0.113.7", "203.0.113.7", NotForUs(Loopback)),
            (Smart, "169.254.169.254", "203.0.113.7", "203.0.113.7", NotForUs(LinkLocal)),
            (Smart, "0.0.0.0", "10.0.0.1", "10.0.0.1", NotForUs(Unspecified)),
            (Smart, "224.0.0.1", "10.0.0.1", "10.0.0.1", NotForUs(Multicast)),
            (Smart, "198.51.100.1", "203.0.113.7", "198.51.100.1", Plausible),
            (Smart, "198.51.100.1", "10.0.0.1", "198.51.100.1", Plausible),
            (Smart, "10.0.0.5", "10.0.0.1", "10.0.0.5", Plausible),
            (Smart, "10.0.0.5", "100.64.0.1", "10.0.0.5", Plausible),
            (Smart, "127.0.0.1", "10.0.0.1", "10.0.0.1", NotThere(Loopback)),
            (Smart, "127.0.0.53", "100.64.0.1", "100.64.0.1", NotThere(Loopback)),
            (Smart, "127.0.0.1", "169.254.0.9", "169.254.0.9", NotThere(Loopback)),
            (Smart, "::1", "fd00::1", "fd00::1", NotThere(Loopback)),
            (Smart, "::ffff:127.0.0.1", "192.168.1.1", "192.168.1.1", NotThere(Loopback)),
            (Smart, "127.0.0.2", "127.0.0.1", "127.0.0.2", Plausible),
            (Smart, "127.0.0.1", "::1", "127.0.0.1", Plausible),
            (Smart, "169.254.169.254", "10.0.0.1", "10.0.0.1", NotThere(LinkLocal)),
            (Smart, "169.254.169.254", "127.0.0.1", "127.0.0.1", NotThere(LinkLocal)),
            (Smart, "fe80::1", "fd00::1", "fd00::1", NotThere(LinkLocal)),
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
            (HostReason::Plausible, "the announced host can be meant"),
            (HostReason::NotForUs(Shared), "shared, but the server is public"),
            (HostReason::NotForUs(Multicast), "multicast, which is no host"),
            (HostReason::NotThere(Loopback), "loopback, but the server is not"),
            (HostReason::NotThere(LinkLocal), "link-local, but the server is not"),
        ] {
            assert_eq!(reason.to_string(), want);
        }
    }
}
