//! Passive data connections: the server listens, the client connects (RFC 959 §4.1.2 PASV;
//! RFC 2428 §3).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;

use super::opening::DataPeer;
use super::ports::PassiveListener;
use super::wait::{Monitor, OpenError, fd, wait};
use crate::net::{balancer, socket};
use crate::{deadline, limits};

/// Accepts the first connection from an allowed host, and closes the port. Resets connections from
/// other hosts (RFC 2577 §3); fails after [`limits::STRANGERS`] of them.
pub(super) fn accept(
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
            // The server waits only now, because the client has usually connected before it sends
            // the transfer command.
            Err(Errno::AGAIN) => {
                wait(fd(&port.listener), PollFlags::IN, deadline, 0, monitor)?;
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(OpenError::Failed(error.into())),
        }
    }
}

/// Closes the port. Returns a connection that has already arrived, whichever host it is from.
pub(super) fn accept_waiting(passive: PassiveListener) -> Option<TcpStream> {
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
    let header = balancer::receive_header(stream, until_readable)?;
    Ok(balancer::client_of(header, from)?)
}

/// Accepts a connection, in non-blocking mode.
fn accept_one(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, from) = acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(Errno::CONNABORTED)?;
    Ok((stream.into(), from))
}
