//! Transfer parameters (RFC 959 §4.1.2; RFC 2428): TYPE, STRU and MODE; PASV, EPSV, PORT and EPRT
//! for the next data connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ftp_proto::{
    EpsvArgument, ExtendedAddress, HostPort, NetworkProtocol, NetworkProtocols, Reply, ReplyCode,
    Structure, TransferMode, TypeCode,
};

use crate::data::DataChannel;
use crate::session::Session;

/// The lowest data port that clients can choose. Lower ports belong to services (RFC 2577 §3).
const FIRST_PORT: u16 = 1_024;

/// `TYPE A | I | L 8`: 200; 504 for the other types of RFC 959, which mean nothing for files of
/// plain bytes.
pub(super) fn set_type(session: &mut Session, code: TypeCode) -> Result<Reply, Reply> {
    let representation = code.representation().ok_or_else(unsupported)?;
    session.transfer.representation = representation;
    Ok(Reply::new(ReplyCode::OKAY, format!("Type is {representation}")))
}

/// `STRU F`: 200; 504 for records and pages.
pub(super) fn stru(structure: Structure) -> Reply {
    match structure {
        Structure::File => Reply::new(ReplyCode::OKAY, "Structure is file"),
        _ => unsupported(),
    }
}

/// `MODE S | B | Z`: 200; 504 for the other modes, and for those that the configuration does not
/// allow. A change of the mode closes an open data connection.
pub(super) fn mode(session: &mut Session, mode: TransferMode) -> Result<Reply, Reply> {
    let text = match mode {
        TransferMode::Stream => "Mode is stream",
        TransferMode::Block if session.context.config.block_mode => "Mode is block",
        TransferMode::Deflate if session.context.config.compression => "Mode is deflate",
        _ => return Err(unsupported()),
    };
    if mode != session.transfer.mode {
        session.transfer.close_open_data();
    }
    session.transfer.mode = mode;
    Ok(Reply::new(ReplyCode::OKAY, text))
}

/// Returns a 504.
pub(super) fn unsupported() -> Reply {
    Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Not implemented for that parameter")
}

/// `PASV`: listens, and replies 227 with the port and an address that the client can reach. IPv6
/// clients get 522, because a 227 cannot carry an IPv6 address (RFC 2428 §2).
pub(super) fn pasv(session: &mut Session) -> Result<Reply, Reply> {
    let IpAddr::V4(reached) = session.peer.reached.ip() else {
        return Err(protocol_not_supported("use EPSV (2)"));
    };
    let port = listen(session)?;
    let host = session.context.announcer.address_for(session.peer.ip(), reached);
    let tuple = HostPort { host, port };
    Ok(Reply::new(ReplyCode::PASSIVE, format!("Entering Passive Mode ({tuple}).")))
}

/// `EPSV [1 | 2 | ALL]`: listens, and replies 229 with the port. `ALL` gets 200; afterwards only
/// EPSV is allowed (RFC 2428 §3).
pub(super) fn epsv(session: &mut Session, argument: EpsvArgument) -> Result<Reply, Reply> {
    let own = session.peer.protocol();
    match argument {
        EpsvArgument::All => {
            session.transfer.epsv_all = true;
            return Ok(Reply::new(ReplyCode::OKAY, "Only EPSV from now on"));
        }
        EpsvArgument::Protocol(protocol) if protocol != own => {
            return Err(only_usable(only(own)));
        }
        EpsvArgument::Protocol(_) | EpsvArgument::Default => {}
    }
    let text = format!("Entering Extended Passive Mode (|||{}|)", listen(session)?);
    Ok(Reply::new(ReplyCode::EXTENDED_PASSIVE, text))
}

/// Listens on the address of the control connection, and discards an earlier data connection.
/// Returns the port.
fn listen(session: &mut Session) -> Result<u16, Reply> {
    session.transfer.channel = None;
    let ports = Arc::clone(&session.context.passive_ports);
    match ports.listen(session.peer.local, session.peer.ip()) {
        Ok(listener) => {
            let port = listener.port();
            session.transfer.channel = Some(DataChannel::Passive(listener));
            Ok(port)
        }
        Err(error) => {
            session.peer.complaints.warn("cannot listen for data", &error);
            Err(Reply::new(ReplyCode::NO_DATA_CONNECTION, "Cannot open a passive connection"))
        }
    }
}

/// `PORT h1,h2,h3,h4,p1,p2`: 200 for an unprivileged port of the client's own address (RFC 2577
/// §3), or of a host that FXP allows; otherwise 504. After `PROT P`, a host that FXP allows gets
/// 504 too if the server does not serve `SSCN`. If a load balancer hides the client's address,
/// every address gets 504. IPv6 clients get 522.
pub(super) fn port(session: &mut Session, host_port: HostPort) -> Reply {
    if session.peer.protocol() == NetworkProtocol::Ipv6 {
        return protocol_not_supported("use EPRT (2)");
    }
    connect_to(session, IpAddr::V4(host_port.host), host_port.port)
}

/// `EPRT |1 or 2|address|port|`: as PORT, for IPv4 and IPv6 (RFC 2428 §2). If the address is
/// forbidden and not of the control connection's protocol, the reply is 522, and does not suggest
/// the address's protocol.
pub(super) fn eprt(session: &mut Session, address: ExtendedAddress) -> Reply {
    let host = address.address.to_canonical();
    if NetworkProtocol::of(host) != session.peer.protocol() && !session.may_have_data_with(host) {
        return only_usable(only(session.peer.protocol()));
    }
    connect_to(session, host, address.port)
}

fn connect_to(session: &mut Session, host: IpAddr, port: u16) -> Reply {
    let refuse = |text| {
        let detail = format!("to {host} port {port}");
        session.peer.complaints.warn("data connection refused", &detail);
        Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text)
    };
    if session.peer.is_unknown {
        return refuse("Your address is unknown, use EPSV or PASV");
    }
    // Without SSCN, neither of the two servers would be the TLS client (RFC 4217 §7).
    let lacks_tls_client =
        session.transfer.is_private && host != session.peer.ip() && !session.serves_sscn();
    if port < FIRST_PORT || lacks_tls_client || !session.may_have_data_with(host) {
        return refuse("Use your own address and a port from 1024 to 65535");
    }
    let mut address = SocketAddr::new(host, port);
    if host == session.peer.ip() {
        // The peer address has the scope that a link-local address needs.
        address = session.peer.address;
        address.set_port(port);
    }
    session.transfer.channel = Some(DataChannel::Active(address));
    Reply::new(ReplyCode::OKAY, "Address accepted")
}

/// Returns a 522 with the usable protocols (RFC 2428 §2).
pub(super) fn only_usable(usable: NetworkProtocols) -> Reply {
    protocol_not_supported(&format!("use {usable}"))
}

pub(super) fn only(protocol: NetworkProtocol) -> NetworkProtocols {
    NetworkProtocols {
        ipv4: protocol == NetworkProtocol::Ipv4,
        ipv6: protocol == NetworkProtocol::Ipv6,
    }
}

impl Session {
    /// Returns the protocols of active data connections: that of the control connection, and for
    /// users with the right `FXP` those of the FXP networks.
    pub(super) fn active_protocols(&self) -> NetworkProtocols {
        let networks = &self.context.config.fxp_networks;
        let may_use = |protocol| {
            protocol == self.peer.protocol()
                || self.may_fxp() && networks.iter().any(|network| network.protocol() == protocol)
        };
        NetworkProtocols {
            ipv4: may_use(NetworkProtocol::Ipv4),
            ipv6: may_use(NetworkProtocol::Ipv6),
        }
    }
}

fn protocol_not_supported(advice: &str) -> Reply {
    let text = format!("Network protocol not supported, {advice}");
    Reply::new(ReplyCode::PROTOCOL_NOT_SUPPORTED, text)
}
