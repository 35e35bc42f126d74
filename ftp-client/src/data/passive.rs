//! Passive mode: `EPSV` (RFC 2428 §3), else `PASV` (RFC 959 §4.1.2). The connection goes to the
//! host of the control connection, whatever a reply says.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ftp_proto::{Command, EpsvArgument, ExtendedAddress, HostPort, ParseError, Reply, ReplyCode};
use ftp_proto::{Severity, Verb};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Opening, Prepared, Ways};
use crate::config::Extended;
use crate::control::ControlConnection;
use crate::error::{DataAttempt, Error};
use crate::stream::Stream;
use crate::trace;

/// Ports below this belong to services of other kinds; a server that names one wants us to talk
/// to something else (CL-35).
const FIRST_FREE_PORT: u16 = 1_024;

/// Asks the server to listen and begins to connect.
pub(super) fn prepare(
    control: &mut ControlConnection,
    extended: Extended,
    ways: &mut Ways,
    epsv_failed: bool,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    loop {
        let no_epsv = ways.no_epsv || epsv_failed;
        let way = super::choose(extended, no_epsv, (Verb::Epsv, Verb::Pasv));
        if way == Verb::Pasv && !super::is_ipv4(control) {
            let error = Error::Unsupported("PASV carries IPv4 addresses only");
            attempts.push(DataAttempt { way, address: None, error });
            return Err(super::give_up(attempts));
        }
        let error = match ask(control, way)? {
            Ok(address) => return Ok(Prepared { way, address, opening: connect(address) }),
            Err(error) => error,
        };
        let is_unknown = match &error {
            Error::Refused(_, reply) => super::is_unknown(reply),
            _ => true,
        };
        attempts.push(DataAttempt { way, address: None, error });
        if way == Verb::Pasv || !is_unknown || !super::may_fall_back(extended, control) {
            return Err(super::give_up(attempts));
        }
        trace::note(format_args!("EPSV does not work here: PASV from now on"));
        ways.no_epsv = true;
    }
}

/// Sends `EPSV` or `PASV`. The inner error is about this way only.
fn ask(control: &mut ControlConnection, way: Verb) -> Result<Result<SocketAddr, Error>, Error> {
    let command = match way {
        Verb::Epsv => Command::Epsv(EpsvArgument::Default),
        _ => Command::Pasv,
    };
    let reply = control.request(&command)?;
    if reply.code().severity() != Severity::Completion {
        return Ok(Err(Error::Refused(way, reply)));
    }
    let (_, peer) = control.addresses();
    match find_port(&reply, peer) {
        Ok(port) => {
            // With the scope of a link-local address, which is ours and not the server's to say.
            let mut address = peer;
            address.set_port(port);
            Ok(Ok(address))
        }
        Err(error) if way == Verb::Epsv => Ok(Err(Error::Protocol(error))),
        Err(error) => Err(control.protocol_error(error)),
    }
}

/// The port in a 227 or a 229, either of which may answer either command (CL-29).
fn find_port(reply: &Reply, peer: SocketAddr) -> Result<u16, ParseError> {
    let host = peer.ip().to_canonical();
    if reply.code() == ReplyCode::EXTENDED_PASSIVE {
        let port = ExtendedAddress::find_port(reply.text())?;
        trace::note(format_args!("229: port {port} of {host}, the host of the control connection"));
        return Ok(port);
    }
    let HostPort { host: announced, port } = HostPort::find(reply.text())?;
    let [high, low] = port.to_be_bytes();
    if host == announced {
        trace::note(format_args!("227: {announced} port {port} = {high}*256+{low}"));
    } else {
        trace::note(format_args!(
            "227: {announced} port {port} = {high}*256+{low}; the data connection goes to {host}, \
             the host of the control connection"
        ));
    }
    Ok(port)
}

/// Begins to connect, without waiting.
fn connect(address: SocketAddr) -> Result<Opening, Error> {
    if address.port() < FIRST_FREE_PORT {
        return Err(Error::Unsupported("a data port below 1024"));
    }
    let begin = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(Opening::Connecting(socket)),
        }
    };
    begin().map_err(Error::Io)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Takes the socket once it can be written to: connected, or failed.
pub(super) fn connected(socket: Socket) -> io::Result<Stream> {
    match socket.take_error()? {
        // Refused is another word: this was connected, and what came then is the transfer's.
        Some(error) if error.kind() == ErrorKind::ConnectionReset => {
            return Ok(Stream::broken(socket.into(), error));
        }
        Some(error) => return Err(error),
        None => {}
    }
    socket.set_nonblocking(false)?;
    Stream::new(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_code_cl_23_cl_28_cl_29() {
        let peer = SocketAddr::from(([203, 0, 113, 7], 21));
        for (code, text, want) in [
            (227, "Entering Passive Mode (10,0,0,5,195,84).", Some(50_004)),
            (227, "10,0,0,5,195,84", Some(50_004)),
            (229, "Entering Extended Passive Mode (|||50004|)", Some(50_004)),
            (229, "ok (|1|10.0.0.1|80|)", Some(80)),
            (229, "ok 50004", None),
            (227, "(|||50004|)", None),
            (227, "(10,0,0,5,195)", None),
            (200, "10,0,0,5,0,0", None),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            assert_eq!(find_port(&reply, peer).ok(), want, "{code} {text}");
        }
    }

    #[test]
    fn low_ports_are_not_connected_to_cl_35_hc_01() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1_023));
        assert!(matches!(connect(address), Err(Error::Unsupported(_))));
    }
}
