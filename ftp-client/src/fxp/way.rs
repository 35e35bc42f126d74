//! How the two servers connect: one is asked to listen, and the other gets the address. Under TLS, both
//! servers wait for a client to begin the handshake (RFC 4217 §7), unless a command makes one of them
//! begin it.

use std::net::{IpAddr, SocketAddr};

use ftp_proto::{
    AddressRule, Command, EpsvArgument, Extended, ExtendedAddress, HostPort, NetworkProtocol,
    ParseError, PassiveAddress, Reply, Verb, wants_announcement,
};

use crate::client::Client;
use crate::control::login::Secured;
use crate::data::FIRST_FREE_PORT;
use crate::error::{Error, Unsupported};
use crate::trace;

/// Asks a server to listen for the transfer command `line`, and returns the address for the other
/// server.
pub(super) fn listen(
    client: &mut Client,
    rule: AddressRule,
    handshake: Handshake,
    line: &[u8],
) -> Result<SocketAddr, Error> {
    let asked = match pret(client, line).and_then(|()| ask(client, handshake)) {
        Err(Error::Refused { reply, .. }) if !client.state.pret && wants_announcement(&reply) => {
            client.state.pret = true;
            pret(client, line).and_then(|()| ask(client, handshake))
        }
        asked => asked,
    };
    let (reply, host) = asked?;
    let address = match read(&reply, host, rule) {
        Ok(address) => address,
        Err(error) => return Err(client.control.protocol_error(error)),
    };
    if address.port() < FIRST_FREE_PORT && !client.config.allow_low_ports {
        return Err(Error::Unsupported(Unsupported::LowPort));
    }
    Ok(address)
}

/// Announces the transfer command with `PRET`, if the server requires that before it listens.
fn pret(client: &mut Client, line: &[u8]) -> Result<(), Error> {
    if !client.state.pret {
        return Ok(());
    }
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    client.control.order(&Command::Known(Verb::Pret, text.to_vec())).map(drop)
}

/// Asks a server to listen on a new port; the server then closes its previous one. Returns the
/// server's reply and IP address.
pub(super) fn ask(client: &mut Client, handshake: Handshake) -> Result<(Reply, IpAddr), Error> {
    let Some(host) = host_of(client) else {
        return Err(Error::Unsupported(Unsupported::UnknownAddressOfCopy));
    };
    let extended = Command::Epsv(EpsvArgument::Protocol(NetworkProtocol::of(host)));
    let command = match client.config.rules.epsv {
        _ if handshake == Handshake::Passive => Command::Known(Verb::Cpsv, Vec::new()),
        Extended::Always => extended,
        Extended::Auto if host.is_ipv6() => extended,
        Extended::Never if host.is_ipv6() => {
            return Err(Error::Unsupported(Unsupported::PasvIpv6));
        }
        _ => Command::Pasv,
    };
    Ok((client.control.order(&command)?, host))
}

/// Returns the IP address of a server; `None` if only a proxy or a connector knows it.
fn host_of(client: &Client) -> Option<IpAddr> {
    let looked_up = client.config.route.as_ref().and_then(|route| route.target);
    let named = || looked_up.or_else(|| client.control.server().host.parse().ok());
    client.peer_addr().map(|peer| peer.ip()).or_else(named).map(|host| host.to_canonical())
}

/// Returns the address to connect to: the host that `rule` chooses with the port in a 227, or
/// `peer` with the port in a 229.
fn read(reply: &Reply, peer: IpAddr, rule: AddressRule) -> Result<SocketAddr, ParseError> {
    let place = PassiveAddress::find(reply, Some(SocketAddr::new(peer, 0)), rule)?;
    let port = place.port;
    let Some((announced, chosen)) = place.announced.zip(place.chosen) else {
        trace::note(format_args!("229: port {port} of {peer}"));
        return Ok(SocketAddr::new(peer, port));
    };
    let [high, low] = port.to_be_bytes();
    trace::note(format_args!(
        "227: {announced} port {port} = {high}*256+{low}; the other server connects to {}: {}",
        chosen.host, chosen.reason
    ));
    Ok(SocketAddr::new(chosen.host, port))
}

pub(super) fn announce(client: &mut Client, address: SocketAddr) -> Result<(), Error> {
    if client.config.rules.epsv_all {
        // RFC 2428 §4: after EPSV ALL the server must refuse PORT and EPRT.
        return Err(Error::Unsupported(Unsupported::CopyAfterEpsvAll));
    }
    let over_ipv6 = address.is_ipv6() || host_of(client).is_some_and(|host| host.is_ipv6());
    let command = match (client.config.rules.eprt, address) {
        (Extended::Never, SocketAddr::V6(_)) => {
            return Err(Error::Unsupported(Unsupported::PortIpv6));
        }
        (Extended::Never, SocketAddr::V4(address)) => Command::Port(HostPort::from(address)),
        (Extended::Auto, SocketAddr::V4(address)) if !over_ipv6 => {
            Command::Port(HostPort::from(address))
        }
        _ => Command::Eprt(ExtendedAddress::from(address)),
    };
    client.control.order(&command).map(drop)
}

/// Which server begins the TLS handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handshake {
    /// Neither: the data is unencrypted.
    None,
    /// The connecting server (`SSCN ON`).
    Active,
    /// The listening server, which gets `CPSV` in place of `PASV`.
    Passive,
}

/// Makes one of the two servers begin the handshake, if both protect their data connections. Fails
/// if only one server protects them, or if neither can begin the handshake.
pub(super) fn agree(passive: &mut Client, active: &mut Client) -> Result<Handshake, Error> {
    match (is_private(passive), is_private(active)) {
        (false, false) => {
            for client in [passive, active] {
                client.begin_handshakes(false)?;
            }
            return Ok(Handshake::None);
        }
        (true, true) => {}
        _ => {
            return Err(Error::Unsupported(Unsupported::HalfProtectedCopy));
        }
    }
    passive.begin_handshakes(false)?;
    if active.begin_handshakes(true)? {
        return Ok(Handshake::Active);
    }
    if passive.features()?.has("CPSV") {
        return Ok(Handshake::Passive);
    }
    Err(Error::Unsupported(Unsupported::ProtectedCopy))
}

pub(super) fn is_protected(one: &Client, other: &Client) -> bool {
    is_private(one) && is_private(other)
}

fn is_private(client: &Client) -> bool {
    client.secured.as_ref().is_some_and(Secured::is_data_private)
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn passive_replies_follow_the_address_rule_fx_05_hc_02() {
        use AddressRule::{Peer, Reply as Announced, Smart};
        let peer = IpAddr::from([203, 0, 113, 7]);
        for (code, text, rule, want) in [
            (227, "(198,51,100,1,195,84)", Peer, Some("203.0.113.7:50004")),
            (227, "(198,51,100,1,195,84)", Smart, Some("198.51.100.1:50004")),
            (227, "(10,0,0,5,195,84)", Smart, Some("203.0.113.7:50004")),
            (227, "(10,0,0,5,195,84)", Announced, Some("10.0.0.5:50004")),
            (229, "(|1|10.0.0.5|50004|)", Announced, Some("203.0.113.7:50004")),
            (227, "(10,0,0,5,195)", Peer, None),
            (229, "(10,0,0,5,195,84)", Peer, None),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            let address = read(&reply, peer, rule).ok().map(|address| address.to_string());
            assert_eq!(address.as_deref(), want, "{code} {text} {rule:?}");
        }
    }
}
