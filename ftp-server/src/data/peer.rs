//! The part of a session that matters to its data connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ftp_proto::{AddressClass, Network};

use crate::net::complaints::SessionComplaints;
use crate::net::socket;
use crate::tls::{Resumed, Secured};

/// Parameters of a session's data connection.
pub(crate) struct DataPeer<'a> {
    /// The client's address and port on the control connection.
    pub(crate) peer: SocketAddr,
    /// The server's address and port on the control connection.
    pub(crate) local: SocketAddr,
    /// Networks of the load balancers, whose connections begin with a PROXY header.
    pub(crate) balancers: &'a [Network],
    /// Networks of other servers that may exchange data with this session; empty without the right
    /// [`FXP`](crate::Rights::FXP).
    pub(crate) fxp_networks: &'a [Network],
    /// Timeout for opening the connection.
    pub(crate) connect: Duration,
    /// Timeout of the TLS handshake.
    pub(crate) handshake: Duration,
    /// Whether the server connects from the port below that of the control connection.
    pub(crate) from_port_below: bool,
    /// TLS of the control connection, if data connections must be protected.
    pub(crate) secured: Option<&'a Secured>,
    /// Whether the server is the TLS client, which begins the handshake (`SSCN ON`).
    pub(crate) begins_handshake: bool,
    /// The counter of the server's data connections under TLS.
    pub(crate) resumed: &'a Resumed,
    pub(crate) complaints: &'a SessionComplaints,
}

impl DataPeer<'_> {
    /// Returns whether a data connection with `host` is allowed.
    ///
    /// The client's own host is allowed, and for users with the right `FXP` the hosts in the FXP
    /// networks. No other host is allowed under an address that means a different host on each
    /// machine, such as a link-local one (RFC 2577 §3). Another loopback address can be allowed
    /// only if the client's own address is loopback.
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
        is_meant && socket::is_in(self.fxp_networks, host)
    }
}
