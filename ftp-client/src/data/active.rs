//! Active mode: `EPRT` (RFC 2428 §2), else `PORT` (RFC 959 §4.1.2). We listen on the address that
//! the control connection has here, and take a connection only from the server's.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};

use ftp_proto::{Command, ExtendedAddress, HostPort, Severity, Verb};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Opening, Prepared, Ways};
use crate::config::Config;
use crate::control::ControlConnection;
use crate::error::{DataAttempt, Error};
use crate::stream::Stream;
use crate::trace;

/// One connection is wanted; a stranger's must not keep it out.
const BACKLOG: i32 = 4;

/// Listens and tells the server where.
pub(super) fn prepare(
    control: &mut ControlConnection,
    config: &Config,
    ways: &mut Ways,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    let Some((local, _)) = control.addresses() else {
        return Err(Error::Unsupported("active mode over connections that a connector makes"));
    };
    let extended = config.eprt;
    let (listener, address) = listen(local).map_err(Error::Io)?;
    loop {
        let way = super::choose(extended, ways.no_eprt, (Verb::Eprt, Verb::Port));
        let command = match (way, address) {
            (Verb::Port, SocketAddr::V4(address)) => Command::Port(HostPort::from(address)),
            (Verb::Port, SocketAddr::V6(_)) => {
                let error = Error::Unsupported("PORT carries IPv4 addresses only");
                attempts.push(DataAttempt { way, address: None, error });
                return Err(super::give_up(attempts));
            }
            _ => Command::Eprt(ExtendedAddress::from(address)),
        };
        let reply = control.request(&command)?;
        let (host, port) = (address.ip(), address.port());
        let [high, low] = port.to_be_bytes();
        if way == Verb::Port {
            trace::note(format_args!(
                "PORT: this host listens at {host} port {port} = {high}*256+{low}"
            ));
        } else {
            trace::note(format_args!("EPRT: this host listens at {host} port {port}"));
        }
        if reply.code().severity() == Severity::Completion {
            return Ok(Prepared {
                way,
                address: Some(address),
                opening: Ok(Opening::Listening(listener)),
            });
        }
        let falls_back = way == Verb::Eprt
            && super::is_unknown(&reply)
            && super::may_fall_back(extended, control);
        let error = Error::Refused(way, reply);
        attempts.push(DataAttempt { way, address: Some(address), error });
        if !falls_back {
            return Err(super::give_up(attempts));
        }
        trace::note(format_args!("EPRT does not work here: PORT from now on"));
        ways.no_eprt = true;
    }
}

/// Listens on the address of the control connection, at a port that the kernel chooses. The
/// address is given in its own family, as the server sees it.
fn listen(local: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let mut any_port = local;
    any_port.set_port(0);
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&any_port.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr()?.port();
    Ok((listener, SocketAddr::new(local.ip().to_canonical(), port)))
}

/// Takes a connection, if it is from the server (CL-32).
pub(super) fn accept(listener: &TcpListener, server: Option<IpAddr>) -> io::Result<Option<Stream>> {
    let server = server.map(|server| server.to_canonical());
    match listener.accept() {
        Ok((socket, from)) if Some(from.ip().to_canonical()) == server => {
            Stream::new(socket).map(Some)
        }
        Ok((_closed, from)) => {
            trace::note(format_args!("closed a data connection from {from}: not the server"));
            Ok(None)
        }
        // It was there and is gone again.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn only_the_server_gets_in_cl_32_hc_27() {
        let local = SocketAddr::from(([127, 0, 0, 1], 21));
        let (listener, address) = listen(local).unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
        listener.set_nonblocking(false).unwrap();
        let _stranger = TcpStream::connect(address).unwrap();
        assert!(accept(&listener, Some(IpAddr::from([127, 0, 0, 2]))).unwrap().is_none());
        let _server = TcpStream::connect(address).unwrap();
        assert!(accept(&listener, Some(IpAddr::from([127, 0, 0, 1]))).unwrap().is_some());
        let _mapped = TcpStream::connect(address).unwrap();
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]);
        assert!(accept(&listener, Some(mapped)).unwrap().is_some());
    }
}
