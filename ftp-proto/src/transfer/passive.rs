//! The address in the reply to `EPSV` or `PASV`.

use std::net::{Ipv4Addr, SocketAddr};

use crate::address::{AddressRule, ChosenHost, ExtendedAddress, HostPort, HostReason};
use crate::error::ParseError;
use crate::reply::{Reply, ReplyCode};

/// The address at which a server listens, from a 227 or 229 reply.
///
/// ```
/// use ftp_proto::{AddressRule, PassiveAddress, Reply, ReplyCode};
///
/// let peer = "203.0.113.7:21".parse()?;
/// let reply = Reply::new(ReplyCode::PASSIVE, "Entering Passive Mode (10,0,0,5,195,84).");
/// let found = PassiveAddress::find(&reply, Some(peer), AddressRule::Peer)?;
/// assert_eq!(found.address, Some("203.0.113.7:50004".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct PassiveAddress {
    /// The port.
    pub port: u16,
    /// The address to connect to: `port` at the host of the control connection, or at the announced
    /// host if the rule chooses it. `None` if the server's address on the control connection is
    /// unknown.
    pub address: Option<SocketAddr>,
    /// The host that a 227 announces; `None` for a 229.
    pub announced: Option<Ipv4Addr>,
    /// The choice between the announced host and the host of the control connection; `None` if
    /// either is unknown.
    pub chosen: Option<ChosenHost>,
}

impl PassiveAddress {
    /// Finds the address in the reply to `EPSV` or `PASV`; a 227 or 229 is accepted for either
    /// command. `peer` is the server's address on the control connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ExtendedAddress::find_port`] for a 229, and those of
    /// [`HostPort::find`] for any other reply.
    pub fn find(
        reply: &Reply,
        peer: Option<SocketAddr>,
        rule: AddressRule,
    ) -> Result<Self, ParseError> {
        // Keeps the scope of a link-local address, which only this host knows.
        let at_peer = |port| {
            peer.map(|mut peer| {
                peer.set_port(port);
                peer
            })
        };
        if reply.code() == ReplyCode::EXTENDED_PASSIVE {
            let port = ExtendedAddress::find_port(reply.text())?;
            return Ok(Self { port, address: at_peer(port), announced: None, chosen: None });
        }
        let HostPort { host: announced, port } = HostPort::find(reply.text())?;
        let host = peer.map(|peer| peer.ip().to_canonical());
        let chosen = host.map(|host| rule.choose(announced.into(), host));
        let address = match chosen {
            Some(chosen) if chosen.reason != HostReason::Same && Some(chosen.host) != host => {
                Some(SocketAddr::new(chosen.host, port))
            }
            _ => at_peer(port),
        };
        Ok(Self { port, address, announced: Some(announced), chosen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressClass;

    #[test]
    fn ports_are_found_by_code_cl_23_cl_28_cl_29() {
        let peer = SocketAddr::from(([203, 0, 113, 7], 21));
        for (code, text, want) in [
            (227, "Entering Passive Mode (10,0,0,5,195,84).", Some(50_004)),
            (227, "10,0,0,5,195,84", Some(50_004)),
            (229, "Entering Extended Passive Mode (|||50004|)", Some(50_004)),
            (229, "ok (|1|10.0.0.1|80|)", Some(80)),
            (229, "ok 50004", None),
            (227, "(|||50004|)", None),
            (227, "(10,0,0,5,195)", None),
            (200, "10,0,0,5,0,0", None),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            for rule in [AddressRule::Peer, AddressRule::Smart] {
                let found = PassiveAddress::find(&reply, Some(peer), rule).ok();
                let want_address = want.map(|port| Some(SocketAddr::new(peer.ip(), port)));
                assert_eq!(found.map(|found| found.address), want_address, "{code} {text}");
                let unknown = PassiveAddress::find(&reply, None, rule).ok();
                let unknown = unknown.map(|found| (found.port, found.address));
                assert_eq!(unknown, want.map(|port| (port, None)), "{code} {text}");
            }
        }
    }

    #[test]
    fn the_rule_chooses_the_host_cl_25_cl_26_cl_27_hc_01() {
        let peer: SocketAddr = "203.0.113.7:21".parse().unwrap();
        for (rule, announced, want, reason) in [
            (AddressRule::Peer, "203.0.113.7", "203.0.113.7:50004", HostReason::Same),
            (AddressRule::Reply, "203.0.113.7", "203.0.113.7:50004", HostReason::Same),
            (AddressRule::Peer, "10.0.0.5", "203.0.113.7:50004", HostReason::PeerRule),
            (AddressRule::Peer, "198.51.100.1", "203.0.113.7:50004", HostReason::PeerRule),
            (
                AddressRule::Smart,
                "10.0.0.5",
                "203.0.113.7:50004",
                HostReason::Unreachable(AddressClass::Private),
            ),
            (AddressRule::Smart, "198.51.100.1", "198.51.100.1:50004", HostReason::Plausible),
            (AddressRule::Reply, "127.0.0.1", "127.0.0.1:50004", HostReason::ReplyRule),
        ] {
            let text = format!("ok ({},195,84)", announced.replace('.', ","));
            let reply = Reply::new(ReplyCode::PASSIVE, text);
            let found = PassiveAddress::find(&reply, Some(peer), rule).unwrap();
            assert_eq!(found.address, Some(want.parse().unwrap()), "{rule:?} {announced}");
            let got = found.chosen.map(|chosen| chosen.reason);
            assert_eq!(got, Some(reason), "{rule:?} {announced}");
        }
    }

    #[test]
    fn the_scope_of_a_link_local_peer_is_kept_cl_20() {
        let peer =
            SocketAddr::from(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 21, 0, 7));
        let reply = Reply::new(ReplyCode::EXTENDED_PASSIVE, "ok (|||50004|)");
        let found = PassiveAddress::find(&reply, Some(peer), AddressRule::Peer).unwrap();
        assert_eq!(found.address.unwrap().to_string(), "[fe80::1%7]:50004");
    }
}
