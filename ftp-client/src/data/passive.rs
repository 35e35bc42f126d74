//! Passive mode: `EPSV` (RFC 2428 §3), else `PASV` (RFC 959 §4.1.2). The connection goes to the
//! host of the control connection, whatever a reply says.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use ftp_proto::{Command, EpsvArgument, ExtendedAddress, HostPort, ParseError, Reply, ReplyCode};
use ftp_proto::{Severity, Verb};
use socket2::Socket;

use super::{Opening, Prepared, Ways};
use crate::config::Config;
use crate::connect::{self, Server};
use crate::connector::Purpose;
use crate::control::ControlConnection;
use crate::error::{DataAttempt, Error, Phase};
use crate::stream::Stream;
use crate::trace;

/// Ports below this belong to services of other kinds; a server that names one wants us to talk
/// to something else (CL-35).
const FIRST_FREE_PORT: u16 = 1_024;

/// Asks the server to listen and begins to connect.
pub(super) fn prepare(
    control: &mut ControlConnection,
    config: &Config,
    ways: &mut Ways,
    epsv_failed: bool,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    let extended = config.epsv;
    loop {
        let no_epsv = ways.no_epsv || epsv_failed;
        let way = super::choose(extended, no_epsv, (Verb::Epsv, Verb::Pasv));
        if way == Verb::Pasv && !super::is_ipv4(control) {
            let error = Error::Unsupported("PASV carries IPv4 addresses only");
            attempts.push(DataAttempt { way, address: None, error });
            return Err(super::give_up(attempts));
        }
        let error = match ask(control, way)? {
            Ok(port) => {
                // With the scope of a link-local address, which is ours and not the server's to
                // say.
                let address = control.addresses().map(|(_, mut peer)| {
                    peer.set_port(port);
                    peer
                });
                let opening = open(control, config, address, port);
                return Ok(Prepared { way, address, opening });
            }
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
fn ask(control: &mut ControlConnection, way: Verb) -> Result<Result<u16, Error>, Error> {
    let command = match way {
        Verb::Epsv => Command::Epsv(EpsvArgument::Default),
        _ => Command::Pasv,
    };
    let reply = control.request(&command)?;
    if reply.code().severity() != Severity::Completion {
        return Ok(Err(Error::Refused(way, reply)));
    }
    let peer = control.addresses().map(|(_, peer)| peer.ip().to_canonical());
    match find_port(&reply, peer) {
        Ok(port) => Ok(Ok(port)),
        Err(error) if way == Verb::Epsv => Ok(Err(Error::Protocol(error))),
        Err(error) => Err(control.protocol_error(error)),
    }
}

/// The port in a 227 or a 229, either of which may answer either command (CL-29).
fn find_port(reply: &Reply, peer: Option<IpAddr>) -> Result<u16, ParseError> {
    if reply.code() == ReplyCode::EXTENDED_PASSIVE {
        let port = ExtendedAddress::find_port(reply.text())?;
        match peer {
            Some(host) => trace::note(format_args!(
                "229: port {port} of {host}, the host of the control connection"
            )),
            None => {
                trace::note(format_args!("229: port {port} of the host of the control connection"));
            }
        }
        return Ok(port);
    }
    let HostPort { host: announced, port } = HostPort::find(reply.text())?;
    let [high, low] = port.to_be_bytes();
    match peer {
        Some(host) if host == announced => {
            trace::note(format_args!("227: {announced} port {port} = {high}*256+{low}"));
        }
        Some(host) => trace::note(format_args!(
            "227: {announced} port {port} = {high}*256+{low}; the data connection goes to {host}, \
             the host of the control connection"
        )),
        None => trace::note(format_args!(
            "227: {announced} port {port} = {high}*256+{low}; the data connection goes to the \
             host of the control connection"
        )),
    }
    Ok(port)
}

/// Begins to connect, without waiting unless a connector does it.
fn open(
    control: &ControlConnection,
    config: &Config,
    address: Option<SocketAddr>,
    port: u16,
) -> Result<Opening, Error> {
    refuse_low(port)?;
    match (&config.connector, address) {
        (Some(connector), _) => {
            let target = Server { port, ..control.server().clone() };
            let deadline = control.deadline(config.timeouts.data_connect, Phase::DataConnect);
            connect::through(connector, &target, Purpose::Data, control.waiter(), deadline)
                .map(Opening::Connected)
        }
        (None, Some(address)) => {
            connect::begin(address, config.bind).map(Opening::Connecting).map_err(Error::Io)
        }
        (None, None) => Err(Error::Unsupported("a server without an address")),
    }
}

fn refuse_low(port: u16) -> Result<(), Error> {
    match port {
        FIRST_FREE_PORT.. => Ok(()),
        _ => Err(Error::Unsupported("a data port below 1024")),
    }
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
    Stream::new(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_code_cl_23_cl_28_cl_29() {
        let peer = Some(IpAddr::from([203, 0, 113, 7]));
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
        assert!(matches!(refuse_low(1_023), Err(Error::Unsupported(_))));
        assert!(refuse_low(1_024).is_ok());
    }
}
