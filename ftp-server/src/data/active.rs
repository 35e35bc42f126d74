//! Active data connections: the server connects to the client (RFC 959 §4.1.2 PORT; RFC 2428 §2).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Monitor, OpenError, fd, wait};
use crate::listener;

/// Connects from `local`, the address the control connection came to, to `address`.
pub(super) fn connect(
    local: SocketAddr,
    address: SocketAddr,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<TcpStream, OpenError> {
    let socket = begin(local, address).map_err(OpenError::Failed)?;
    wait(fd(&socket), PollFlags::OUT, deadline, 0, monitor)?;
    match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(error)) | Err(error) => Err(OpenError::Failed(error)),
    }
}

fn begin(mut local: SocketAddr, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    listener::set_keepalive(&socket)?;
    local.set_port(0);
    socket.bind(&local.into())?;
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
