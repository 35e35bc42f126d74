//! Active data connections: the server connects to the client (RFC 959 §4.1.2 PORT; RFC 2428 §2).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::wait::{Monitor, OpenError, fd, wait};

/// Connects from `local`, the server's address on the control connection, to `address`. If
/// `from_port_below` is set and the port below that of `local` is available, that is the source
/// port; otherwise the system chooses one.
pub(super) fn connect(
    local: SocketAddr,
    address: SocketAddr,
    from_port_below: bool,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<TcpStream, OpenError> {
    let below = local.port().checked_sub(1).filter(|port| from_port_below && *port > 0);
    let begun = match below.map(|port| begin(local, port, address)) {
        Some(Ok(socket)) => Ok(socket),
        // A low port needs a privilege, and the pair of ports may still be in use by an earlier
        // connection.
        Some(Err(_)) | None => begin(local, 0, address),
    };
    let socket = begun.map_err(OpenError::Failed)?;
    wait(fd(&socket), PollFlags::OUT, deadline, 0, monitor)?;
    match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(error)) | Err(error) => Err(OpenError::Failed(error)),
    }
}

fn begin(mut local: SocketAddr, port: u16, address: SocketAddr) -> io::Result<Socket> {
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
