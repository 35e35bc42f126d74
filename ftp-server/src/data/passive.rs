//! Passive data connections: the server listens, the client connects (RFC 959 §4.1.2 PASV;
//! RFC 2428 §3).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Monitor, OpenError, fd, prepare, wait};
use crate::{limits, listener};

/// A socket that listens for one data connection. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct PassiveListener {
    listener: TcpListener,
    port: u16,
    since: Instant,
}

impl PassiveListener {
    /// Listens on the host of `address`, which is where the control connection came to, on a
    /// port of the system's choice.
    pub(crate) fn bind(mut address: SocketAddr) -> io::Result<Self> {
        address.set_port(0);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        listener::set_keepalive(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(4)?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, since: Instant::now() })
    }

    /// The port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Since when it listens.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// The same as if it had listened since `since`.
    #[cfg(test)]
    pub(crate) fn backdated(self, since: Instant) -> Self {
        Self { since, ..self }
    }

    /// Takes the first connection from `peer` and closes the port. Others are turned away, until
    /// they are too many.
    pub(super) fn accept(
        self,
        peer: IpAddr,
        deadline: Instant,
        monitor: &mut dyn Monitor,
    ) -> Result<TcpStream, OpenError> {
        let mut strangers = 0;
        loop {
            wait(fd(&self.listener), PollFlags::IN, deadline, 0, monitor)?;
            match self.listener.accept() {
                Ok((stream, from)) if from.ip().to_canonical() == peer => {
                    return prepare(stream).map_err(OpenError::Failed);
                }
                Ok((_, stranger)) => {
                    log::warn!("data connection from {stranger} turned away: not {peer}");
                    strangers += 1;
                    if strangers == limits::STRANGERS {
                        let error = io::Error::other("too many connections from elsewhere");
                        return Err(OpenError::Failed(error));
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(OpenError::Failed(error)),
                },
            }
        }
    }
}
