//! Passive data connections: the server listens, the client connects (RFC 959 §4.1.2 PASV;
//! RFC 2428 §3).

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::SockRef;

use super::peer::DataPeer;
use super::ports::PassiveListener;
use super::wait::{Monitor, OpenError, fd, wait};
use crate::limits;

/// Accepts the first connection from an allowed host, and closes the port. Connections of other
/// hosts are closed, up to a limit (RFC 2577 §3).
pub(super) fn accept(
    passive: PassiveListener,
    peer: &DataPeer<'_>,
    deadline: Instant,
    monitor: &mut dyn Monitor,
) -> Result<TcpStream, OpenError> {
    // The port closes and is returned at the end of this call, with every outcome.
    let port = passive.open()?;
    let mut strangers = 0;
    loop {
        wait(fd(&port.listener), PollFlags::IN, deadline, 0, monitor)?;
        match port.listener.accept() {
            Ok((stream, from)) if peer.may_have_data_with(from.ip()) => {
                return prepare(stream).map_err(OpenError::Failed);
            }
            Ok((stream, stranger)) => {
                // By a reset: an orderly end would look like an empty file to a server on the other
                // side.
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

/// Prepares a connected data socket: the pump never blocks on it.
pub(super) fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::socket;

    #[test]
    fn data_connections_notice_a_dead_peer_st_14() {
        let passive = PassiveListener::bind(([127, 0, 0, 1], 0).into(), 0).unwrap();
        let listener = passive.open().unwrap().listener;
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
