//! Opening the data connection of a transfer, and the parameters that the session sets for it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ftp_proto::{AddressClass, Network};

use super::block::{DataConnection, IdleConnection};
use super::ports::PassiveListener;
use super::wait::{Monitor, OpenError, fd, wait};
use super::{active, passive};
use crate::net::complaints::SessionComplaints;
use crate::net::socket;
use crate::tls::{Connection, Resumed, Resumptions, Secured, SessionReuse};
use crate::{deadline, limits};

/// The prepared way to open the next data connection.
pub(crate) enum DataChannel {
    /// The client connects to this listener (`PASV`, `EPSV`).
    Passive(PassiveListener),
    /// The server connects to this address (`PORT`, `EPRT`).
    Active(SocketAddr),
    /// The connection that an earlier transfer in mode B left open.
    Open(IdleConnection),
}

impl DataChannel {
    /// Opens the data connection of a session, with TLS if the session requires it. Closes
    /// connections from hosts that are not allowed (RFC 2577 §3).
    pub(crate) fn open(
        self,
        peer: &DataPeer<'_>,
        is_upload: bool,
        monitor: &mut dyn Monitor,
    ) -> Result<DataConnection, OpenError> {
        let deadline = deadline::after(Instant::now(), peer.connect);
        let stream = match self {
            Self::Passive(listener) => passive::accept(listener, peer, deadline, monitor)?,
            Self::Active(address) => {
                active::connect(peer.local, address, peer.from_port_below, deadline, monitor)?
            }
            Self::Open(idle) => {
                let open = idle.resume(peer.secured.is_some(), is_upload);
                return open.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into());
            }
        };
        let protection = protect(&stream, peer, is_upload, monitor)?;
        Ok(DataConnection::new(stream, protection))
    }

    /// Closes the port of a refused transfer. Returns the connection that has already arrived at
    /// the port, if any, and how long to keep it: curl looks for the reply once a second, and later
    /// on a busy computer.
    pub(crate) fn refuse(self) -> Option<(TcpStream, Duration)> {
        let Self::Passive(listener) = self else { return None };
        Some((passive::accept_waiting(listener)?, limits::UNUSED_LISTENER))
    }

    /// Returns whether the data connection is already open.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// Starts TLS on a data connection if the session requires it.
///
/// Normally, this side is the TLS server (RFC 4217 §7); a resumed TLS session proves that the peer
/// is the logged-in client. After `SSCN ON`, this side is the TLS client, and the peer must be a
/// trusted server.
fn protect(
    stream: &TcpStream,
    peer: &DataPeer<'_>,
    is_upload: bool,
    monitor: &mut dyn Monitor,
) -> Result<Option<Connection>, OpenError> {
    let Some(secured) = peer.secured else { return Ok(None) };
    let unprotected = |error| match error {
        OpenError::Failed(error) => OpenError::Unprotected(error),
        other => other,
    };
    let deadline = deadline::after(Instant::now(), peer.handshake);
    let handshake = match peer.begins_handshake {
        false => secured.protect_data(is_upload),
        true => stream.peer_addr().and_then(|other| secured.begin_data(other.ip())),
    };
    let handshake = handshake.map_err(OpenError::Unprotected)?;
    let mut until_ready = |flags| wait(fd(stream), flags, deadline, 0, monitor);
    let connection =
        handshake.carry_out(stream, deadline, &mut until_ready).map_err(unprotected)?;
    if peer.begins_handshake {
        return Ok(Some(connection));
    }
    let is_resumed = connection.info().is_some_and(|info| info.resumed);
    let counts = peer.resumed.count(is_resumed);
    if is_resumed {
        return Ok(Some(connection));
    }
    match secured.acceptor.rules().reuse {
        SessionReuse::Off | SessionReuse::Observe => {}
        SessionReuse::Prefer => {
            let Resumptions { resumed, missed } = counts;
            let so_far = format!("{resumed} resumed so far, {missed} did not");
            peer.complaints.warn(
                "a data connection did not resume the TLS session of its control connection",
                &so_far,
            );
        }
        SessionReuse::Require => {
            let why = "the data connection did not resume a TLS session of its control connection";
            return Err(OpenError::Unprotected(io::Error::other(why)));
        }
    }
    Ok(Some(connection))
}

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
