//! The session that a data connection is for, as far as it matters to one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ftp_proto::{AddressClass, Network};

use crate::net::complaints::SessionComplaints;
use crate::tls::{Resumed, Secured};

/// What decides about the data connection of a session.
pub(crate) struct DataPeer<'a> {
    /// The client's end of the control connection.
    pub(crate) peer: SocketAddr,
    /// This end of it.
    pub(crate) local: SocketAddr,
    /// The networks of other servers that data may come from and go to; none without the right to
    /// that.
    pub(crate) fxp_networks: &'a [Network],
    /// How long it may take to connect.
    pub(crate) connect: Duration,
    /// How long a TLS handshake may take.
    pub(crate) handshake: Duration,
    /// Whether the server connects from the port below that of the control connection.
    pub(crate) from_port_below: bool,
    /// What the data connection is protected by, if it is to be.
    pub(crate) secured: Option<&'a Secured>,
    /// Counts the data connections under TLS of the server.
    pub(crate) resumed: &'a Resumed,
    pub(crate) complaints: &'a SessionComplaints,
}

impl DataPeer<'_> {
    /// Whether there may be a data connection with `host`: with the client's own, and for users
    /// with the right to it with those in the networks of FXP, but never with an address that
    /// means something else from here than from there (RFC 2577 §3).
    pub(crate) fn may_have_data_with(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        let peer = self.peer.ip();
        if host == peer {
            return true;
        }
        let is_meant = match AddressClass::of(host) {
            AddressClass::Loopback => peer.is_loopback(),
            AddressClass::Public | AddressClass::Private | AddressClass::Shared => true,
            _ => false,
        };
        is_meant && self.fxp_networks.iter().any(|network| network.contains(host))
    }
}
