//! Opening the data connection of a transfer, and the parameters that the session sets for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ftp_proto::{AddressClass, Network};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::block::{DataConnection, IdleConnection};
use super::passive::PassiveListener;
use super::wait::{Monitor, OpenError, fd, wait};
use crate::log::SessionComplaints;
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
            Self::Passive(listener) => accept(listener, peer, deadline, monitor)?,
            Self::Active(address) => {
                connect(peer.local, address, peer.from_port_below, deadline, monitor)?
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
        Some((accept_waiting(listener)?, limits::UNUSED_LISTENER))
    }

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

/// Opens an active data connection (RFC 959 §4.1.2 PORT; RFC 2428 §2): connects from `local`, the
/// server's address on the control connection, to `address`. If `from_port_below` is set and the
/// port below that of `local` is available, that is the source port; otherwise the system chooses
/// one.
fn connect(
    local: SocketAddr,
    address: SocketAddr,
    from_port_below: bool,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<TcpStream, OpenError> {
    let below = local.port().checked_sub(1).filter(|port| from_port_below && *port > 0);
    let begun = match below.map(|port| begin_connecting(local, port, address)) {
        Some(Ok(socket)) => Ok(socket),
        // A low port needs a privilege, and the pair of ports may still be in use by an earlier
        // connection.
        Some(Err(_)) | None => begin_connecting(local, 0, address),
    };
    let socket = begun.map_err(OpenError::Failed)?;
    wait(fd(&socket), PollFlags::OUT, deadline, 0, monitor)?;
    match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(error)) | Err(error) => Err(OpenError::Failed(error)),
    }
}

fn begin_connecting(mut local: SocketAddr, port: u16, address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if local.is_ipv4() != address.is_ipv4() {
        // The address belongs to a third host and has the other IP version, so the system must
        // choose the source address.
        local.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
    }
    local.set_port(port);
    if port > 0 {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&local.into())?;
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Opens a passive data connection (RFC 959 §4.1.2 PASV; RFC 2428 §3): accepts the first connection
/// from an allowed host, and closes the port. Resets connections from other hosts (RFC 2577 §3);
/// fails after [`limits::STRANGERS`] of them.
fn accept(
    passive: PassiveListener,
    peer: &DataPeer<'_>,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<TcpStream, OpenError> {
    // Whatever the outcome, this call ends by dropping `port`, which closes the port and frees it
    // for other sessions.
    let port = passive.open()?;
    let mut strangers = 0;
    loop {
        match accept_one(&port.listener) {
            Ok((stream, from)) => {
                let stranger = match client_of(&stream, from, peer, deadline, monitor) {
                    Ok(client) if peer.may_have_data_with(client.ip()) => return Ok(stream),
                    Ok(client) => client.to_string(),
                    Err(OpenError::Failed(error)) => format!("{from}: {error}"),
                    Err(error) => return Err(error),
                };
                // The connection is reset: if the other end is an FTP server, an orderly close
                // would look like an empty file.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                peer.complaints
                    .warn("data connection turned away", &format_args!(
                    "from {stranger}; if this is another address of the client, add it to fxp.networks and give \
                     the user the right fxp"
                ));
                strangers += 1;
                if strangers == limits::STRANGERS {
                    let error = io::Error::other("too many connections from other hosts");
                    return Err(OpenError::Failed(error));
                }
            }
            // Waits only on EAGAIN: usually the client has connected before it sends the command,
            // and poll(2) would be wasted.
            Err(Errno::AGAIN) => {
                wait(fd(&port.listener), PollFlags::IN, deadline, 0, monitor)?;
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(OpenError::Failed(error.into())),
        }
    }
}

/// Closes the port. Returns a connection that has already arrived, whichever host it is from.
fn accept_waiting(passive: PassiveListener) -> Option<TcpStream> {
    let port = passive.open().ok()?;
    accept_one(&port.listener).ok().map(|(stream, _)| stream)
}

/// Returns the address of a connection's client: the peer address, or the address in a balancer's
/// header.
fn client_of(
    stream: &TcpStream,
    from: SocketAddr,
    peer: &DataPeer<'_>,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<SocketAddr, OpenError> {
    if !socket::is_in(peer.balancers, from.ip()) {
        return Ok(from);
    }
    let end = deadline.min(deadline::after(Instant::now(), limits::PROXY_WAIT));
    let until_readable = || wait(fd(stream), PollFlags::IN, end, 0, monitor);
    let header = socket::receive_header(stream, until_readable)?;
    Ok(socket::client_of(header, from)?)
}

/// Accepts a connection, in non-blocking mode.
fn accept_one(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, from) = acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(Errno::CONNABORTED)?;
    Ok((stream.into(), from))
}
