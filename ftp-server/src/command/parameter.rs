//! Transfer parameters (RFC 959 §4.1.2; RFC 2428): TYPE, STRU, MODE, and how the next data
//! connection comes about: PASV, EPSV, PORT, EPRT.

use std::net::IpAddr;

use ftp_proto::{
    EpsvArgument, ExtendedAddress, HostPort, NetworkProtocol, Reply, ReplyCode, RepresentationType,
    Structure, TransferMode,
};

use crate::data::{DataChannel, PassiveListener};
use crate::session::{Outcome, Session};

/// Ports below this are somebody's service, not a client's data port (RFC 2577 §3).
const FIRST_PORT: u16 = 1_024;

/// `TYPE A | I | L 8`: 200.
pub(super) fn set_type(session: &mut Session, representation: RepresentationType) -> Outcome {
    session.parameters.representation = representation;
    Reply::new(ReplyCode::OKAY, format!("Type is {representation}")).into()
}

/// `STRU F`: 200.
pub(super) fn stru(session: &mut Session, structure: Structure) -> Outcome {
    session.parameters.structure = structure;
    Reply::new(ReplyCode::OKAY, "Structure is file").into()
}

/// `MODE S`: 200.
pub(super) fn mode(session: &mut Session, mode: TransferMode) -> Outcome {
    session.parameters.mode = mode;
    Reply::new(ReplyCode::OKAY, "Mode is stream").into()
}

/// `PASV`: listens, and 227 with the address and port. An IPv6 client has no use for such a
/// tuple: 522 (RFC 2428 §2).
pub(super) fn pasv(session: &mut Session) -> Outcome {
    let IpAddr::V4(host) = session.local.ip() else {
        return protocol_not_supported_with("use EPSV (2)");
    };
    match listen(session) {
        Ok(port) => {
            let tuple = HostPort { host, port };
            Reply::new(ReplyCode::PASSIVE, format!("Entering Passive Mode ({tuple}).")).into()
        }
        Err(reply) => reply.into(),
    }
}

/// `EPSV [1 | 2 | ALL]`: listens, and 229 with the port; `ALL` promises that nothing else will
/// be asked for (RFC 2428 §3).
pub(super) fn epsv(session: &mut Session, argument: EpsvArgument) -> Outcome {
    let own = session.protocol();
    match argument {
        EpsvArgument::All => {
            session.epsv_all = true;
            return Reply::new(ReplyCode::OKAY, "Only EPSV from now on").into();
        }
        EpsvArgument::Protocol(protocol) if protocol != own => {
            return protocol_not_supported(own).into();
        }
        EpsvArgument::Protocol(_) | EpsvArgument::Default => {}
    }
    match listen(session) {
        Ok(port) => {
            let text = format!("Entering Extended Passive Mode (|||{port}|)");
            Reply::new(ReplyCode::EXTENDED_PASSIVE, text).into()
        }
        Err(reply) => reply.into(),
    }
}

/// Listens where the control connection came to; replaces what was prepared before.
fn listen(session: &mut Session) -> Result<u16, Reply> {
    session.channel = None;
    match PassiveListener::bind(session.local) {
        Ok(listener) => {
            let port = listener.port();
            session.channel = Some(DataChannel::Passive(listener));
            Ok(port)
        }
        Err(error) => {
            log::warn!("{}: cannot listen for data: {error}", session.peer);
            Err(Reply::new(ReplyCode::NO_DATA_CONNECTION, "Cannot open a passive connection"))
        }
    }
}

/// `PORT h1,h2,h3,h4,p1,p2`: 200, or 504 if it does not name the client's own address and an
/// unprivileged port: nobody else is connected to on a client's word (RFC 2577 §3).
pub(super) fn port(session: &mut Session, host_port: HostPort) -> Outcome {
    if session.protocol() == NetworkProtocol::Ipv6 {
        return protocol_not_supported_with("use EPRT (2)");
    }
    connect_to(session, IpAddr::V4(host_port.host), host_port.port)
}

/// `EPRT |1 or 2|address|port|`: as PORT for both families (RFC 2428 §2).
pub(super) fn eprt(session: &mut Session, address: ExtendedAddress) -> Outcome {
    let own = session.protocol();
    if NetworkProtocol::of(address.address) != own {
        return protocol_not_supported(own).into();
    }
    connect_to(session, address.address.to_canonical(), address.port)
}

fn connect_to(session: &mut Session, host: IpAddr, port: u16) -> Outcome {
    if host != session.peer.ip() || port < FIRST_PORT {
        log::warn!("{}: data connection to {host} port {port} refused", session.peer);
        let text = "Only your own address and a port from 1024 on";
        return Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text).into();
    }
    // The peer's own address, with the scope that a link-local one needs.
    let mut address = session.peer;
    address.set_port(port);
    session.channel = Some(DataChannel::Active(address));
    Reply::new(ReplyCode::OKAY, "Address accepted").into()
}

/// 522 with the one protocol that can be used on this control connection (RFC 2428 §2).
pub(super) fn protocol_not_supported(usable: NetworkProtocol) -> Reply {
    let text = format!("Network protocol not supported, use ({})", usable.number());
    Reply::new(ReplyCode::PROTOCOL_NOT_SUPPORTED, text)
}

fn protocol_not_supported_with(advice: &str) -> Outcome {
    let text = format!("Network protocol not supported, {advice}");
    Reply::new(ReplyCode::PROTOCOL_NOT_SUPPORTED, text).into()
}
