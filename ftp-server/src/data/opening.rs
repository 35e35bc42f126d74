//! Opening the data connection of a transfer.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::peer::DataPeer;
use super::ports::PassiveListener;
use super::wait::{Monitor, OpenError, fd, wait};
use super::{active, passive};
use crate::deadline;
use crate::tls::{Connection, Resumptions, SessionReuse};

/// The prepared way to open the next data connection.
pub(crate) enum DataChannel {
    /// The client connects here (`PASV`, `EPSV`).
    Passive(PassiveListener),
    /// The server connects there (`PORT`, `EPRT`).
    Active(SocketAddr),
}

impl DataChannel {
    /// Opens the data connection of a session, in non-blocking mode. Connections of other hosts are
    /// closed (RFC 2577 §3).
    pub(crate) fn open(
        self,
        peer: &DataPeer<'_>,
        monitor: &mut dyn Monitor,
    ) -> Result<TcpStream, OpenError> {
        let deadline = deadline::after(Instant::now(), peer.connect);
        match self {
            Self::Passive(listener) => passive::accept(listener, peer, deadline, monitor),
            Self::Active(address) => {
                active::connect(peer.local, address, peer.from_port_below, deadline, monitor)
            }
        }
    }
}

/// Starts TLS on a data connection if the session asks for it. This side is the TLS server, and the
/// peer must be the client that is logged in (RFC 4217 §7).
pub(crate) fn protect(
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
    let handshake = secured.protect_data(is_upload).map_err(OpenError::Unprotected)?;
    let mut until_ready = |flags| wait(fd(stream), flags, deadline, 0, monitor);
    let connection =
        handshake.carry_out(stream, deadline, &mut until_ready).map_err(unprotected)?;
    let is_resumed = connection.info().is_some_and(|info| info.resumed);
    let counts = peer.resumed.count(is_resumed);
    if is_resumed {
        return Ok(Some(connection));
    }
    match secured.acceptor.reuse() {
        SessionReuse::Off | SessionReuse::Observe => {}
        SessionReuse::Prefer => {
            let Resumptions { resumed, missed } = counts;
            let so_far = format!("{resumed} resumed so far, {missed} did not");
            peer.complaints.warn("a data connection did not resume its TLS session", &so_far);
        }
        SessionReuse::Require => {
            let why = "the data connection did not resume a TLS session of its control connection";
            return Err(OpenError::Unprotected(io::Error::other(why)));
        }
    }
    Ok(Some(connection))
}
