//! Passive data connections: the server listens, the client connects (RFC 959 §4.1.2 PASV;
//! RFC 2428 §3).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::peer::DataPeer;
use super::ports::Lease;
use super::wait::{Monitor, OpenError, fd, wait};
use crate::limits;
use crate::net::socket;

/// A socket that listens for one data connection. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct PassiveListener {
    socket: Listening,
    port: u16,
    since: Instant,
}

#[derive(Debug)]
enum Listening {
    /// On a port of the system's choice.
    Own(TcpListener),
    /// On one of a list, where it may have to give way until a transfer needs it. What is leased is
    /// given back after the closing of the port.
    Leased(Lease),
}

impl PassiveListener {
    /// Listens on the host of `address`, which is where the control connection came to, and on
    /// `port`; 0 is one of the system's choice.
    pub(super) fn bind(mut address: SocketAddr, port: u16) -> io::Result<Self> {
        address.set_port(port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket::set_keepalive(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(4)?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr()?.port();
        Ok(Self { socket: Listening::Own(listener), port, since: Instant::now() })
    }

    /// The same with the port held in a list of them.
    pub(super) fn leased(self, mut lease: Lease) -> Self {
        if let Listening::Own(listener) = self.socket {
            lease.open(self.port, listener);
        }
        Self { socket: Listening::Leased(lease), ..self }
    }

    /// What listens, for a transfer: the port gives way no more.
    pub(super) fn listener(self) -> io::Result<(TcpListener, Option<Lease>)> {
        match self.socket {
            Listening::Own(listener) => Ok((listener, None)),
            Listening::Leased(lease) => match lease.listener() {
                Some(listener) => Ok((listener, Some(lease))),
                None => Err(io::Error::other("the port was needed by others meanwhile")),
            },
        }
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

    /// Takes the first connection of somebody with whom the session may have one, and closes the
    /// port. Others are turned away, until they are too many (RFC 2577 §3).
    pub(super) fn accept(
        self,
        peer: &DataPeer<'_>,
        deadline: Instant,
        monitor: &mut dyn Monitor,
    ) -> Result<TcpStream, OpenError> {
        // The port is closed by the end of this call, and given back then, whatever comes of it.
        let (_lease, listener);
        (listener, _lease) = self.listener()?;
        let mut strangers = 0;
        loop {
            wait(fd(&listener), PollFlags::IN, deadline, 0, monitor)?;
            match listener.accept() {
                Ok((stream, from)) if peer.may_have_data_with(from.ip()) => {
                    return prepare(stream).map_err(OpenError::Failed);
                }
                Ok((stream, stranger)) => {
                    // By a reset: an orderly end would be an empty file to a server that stores
                    // what it gets from here.
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    peer.complaints
                        .warn("data connection turned away", &format_args!("from {stranger}"));
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

/// Prepares a connected data socket: the pump never blocks on it.
pub(super) fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_connections_notice_a_dead_peer_st_14() {
        let passive = PassiveListener::bind(([127, 0, 0, 1], 0).into(), 0).unwrap();
        let (listener, _) = passive.listener().unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        socket::expect_keepalive(&accepted);
    }
}
