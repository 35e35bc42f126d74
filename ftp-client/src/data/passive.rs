//! Passive mode: `EPSV` (RFC 2428 §3), else `PASV` (RFC 959 §4.1.2). The connection goes to the
//! host of the control connection, or to the one in a 227 reply if the caller's rule allows it.

use std::net::SocketAddr;

use ftp_proto::{AddressRule, Command, EpsvArgument, ExtendedAddress, HostPort, HostReason};
use ftp_proto::{NetworkProtocol, ParseError, Reply, ReplyCode, Severity, Verb};

use super::modes::{self, DataModes};
use super::opening::{Agreed, Opening, Prepared};
use crate::config::{Config, Mode};
use crate::control::ControlConnection;
use crate::error::{AnnouncedHost, DataAttempt, Error, Phase};
use crate::net::connect::{self, Server};
use crate::net::connector::Purpose;
use crate::trace;

/// Lower ports belong to other services; a server that names one wants the client to talk to
/// something else.
pub(crate) const FIRST_FREE_PORT: u16 = 1_024;

/// Asks the server to listen and begins to connect.
pub(super) fn prepare(
    control: &mut ControlConnection,
    config: &Config,
    known: &mut DataModes,
    epsv_failed: bool,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    if config.epsv_all && !known.all_said {
        promise(control, attempts)?;
        known.all_said = true;
    }
    loop {
        let no_epsv = known.no_epsv || epsv_failed;
        let way = modes::choose(config.epsv, no_epsv, (Verb::Epsv, Verb::Pasv));
        if way == Verb::Pasv && !modes::is_ipv4(control) {
            let error = Error::Unsupported("PASV carries IPv4 addresses only");
            attempts.push(DataAttempt::early(way, error));
            return Err(modes::give_up(attempts));
        }
        let epsv = match way {
            Verb::Epsv => argument(known),
            _ => EpsvArgument::Default,
        };
        let command = match way {
            Verb::Epsv => Command::Epsv(epsv),
            _ => Command::Pasv,
        };
        let reply = control.request(&command)?;
        let peer = control.addresses().map(|(_, peer)| peer);
        let refusal = match read(&reply, peer, config.passive_address, way, epsv) {
            Answer::Listens(agreed, port) => {
                let opening = open(control, config, agreed.address, port);
                return Ok(Prepared { agreed, opening });
            }
            Answer::Refuses(refusal) => refusal,
        };
        let Refusal { error, is_unknown, wants_protocol, listens } = refusal;
        if listens {
            // RFC 2428 §3: the server must close that port before it is asked again.
            control.request(&Command::Abor)?;
        }
        if way == Verb::Pasv
            && let Error::Protocol(error) = error
        {
            return Err(control.protocol_error(error));
        }
        attempts.push(DataAttempt { epsv, ..DataAttempt::early(way, error) });
        let falls_back = way == Verb::Epsv && modes::may_fall_back(config.epsv, control);
        if let Some(protocol) = wants_protocol {
            trace::note(format_args!("EPSV {} from now on", protocol.number()));
            known.epsv_protocol = Some(protocol);
        } else if is_unknown && falls_back {
            trace::note(format_args!("EPSV does not work here: PASV from now on"));
            known.no_epsv = true;
        } else {
            return Err(modes::give_up(attempts));
        }
    }
}

/// Returns the argument for `EPSV` on this connection.
fn argument(known: &DataModes) -> EpsvArgument {
    known.epsv_protocol.map_or(EpsvArgument::Default, EpsvArgument::Protocol)
}

/// Returns the argument for `EPSV` if that command sets up the next data connection and nothing
/// must precede it.
pub(crate) fn ahead(config: &Config, known: &DataModes) -> Option<EpsvArgument> {
    let is_free = config.mode == Mode::Passive && (!config.epsv_all || known.all_said);
    let way = modes::choose(config.epsv, known.no_epsv, (Verb::Epsv, Verb::Pasv));
    (is_free && way == Verb::Epsv).then(|| argument(known))
}

/// Begins to connect by the reply to a pipelined `EPSV`; `None` if the reply does not lead straight
/// to an address.
pub(crate) fn prepare_ahead(
    control: &ControlConnection,
    config: &Config,
    epsv: EpsvArgument,
    reply: &Reply,
) -> Option<Prepared> {
    let peer = control.addresses().map(|(_, peer)| peer);
    let answer = read(reply, peer, config.passive_address, Verb::Epsv, epsv);
    let Answer::Listens(agreed, port) = answer else { return None };
    let opening = open(control, config, agreed.address, port);
    opening.is_ok().then_some(Prepared { agreed, opening })
}

/// Promises to use only `EPSV` from now on (RFC 2428 §4).
fn promise(control: &mut ControlConnection, attempts: &mut Vec<DataAttempt>) -> Result<(), Error> {
    let epsv = EpsvArgument::All;
    let reply = control.request(&Command::Epsv(epsv))?;
    if reply.code().severity() == Severity::Completion {
        return Ok(());
    }
    let error = Error::Refused(Verb::Epsv, reply);
    attempts.push(DataAttempt { epsv, ..DataAttempt::early(Verb::Epsv, error) });
    Err(modes::give_up(attempts))
}

/// The result of asking the server to listen.
enum Answer {
    /// The server listens at this port.
    Listens(Agreed, u16),
    Refuses(Refusal),
}

/// Why an attempt failed.
struct Refusal {
    error: Error,
    /// The server does not know the command: the other one may work.
    is_unknown: bool,
    /// The same command may work with this protocol as its argument.
    wants_protocol: Option<NetworkProtocol>,
    /// The server listens at a port all the same.
    listens: bool,
}

/// Reads the reply to `EPSV` or `PASV`. `peer` is `None` if a connector made the connection.
fn read(
    reply: &Reply,
    peer: Option<SocketAddr>,
    rule: AddressRule,
    way: Verb,
    epsv: EpsvArgument,
) -> Answer {
    let may_name_it = way == Verb::Epsv && epsv == EpsvArgument::Default;
    let nameable = peer.map(|peer| NetworkProtocol::of(peer.ip())).filter(|_| may_name_it);
    let refused =
        |error, is_unknown| Refusal { error, is_unknown, wants_protocol: None, listens: false };
    if reply.code().severity() != Severity::Completion {
        let usable = modes::usable_protocols(reply).unwrap_or_default();
        let wants_protocol = nameable.filter(|protocol| usable.contains(*protocol));
        let error = Error::Refused(way, reply.clone());
        let refusal = refused(error, modes::is_unknown(reply));
        return Answer::Refuses(Refusal { wants_protocol, ..refusal });
    }
    let is_229 = reply.code() == ReplyCode::EXTENDED_PASSIVE;
    let named = ExtendedAddress::find_protocol(reply.text()).filter(|_| is_229);
    if let Some((wanted, _)) = nameable.zip(named).filter(|(wanted, named)| wanted != named) {
        let error = Error::Unsupported("a 229 for another protocol than the control connection's");
        let refusal = refused(error, true);
        let wants_protocol = Some(wanted);
        return Answer::Refuses(Refusal { wants_protocol, listens: true, ..refusal });
    }
    match find(reply, peer, rule) {
        Ok((port, address, announced)) => {
            Answer::Listens(Agreed { way, epsv, address, announced }, port)
        }
        Err(error) => Answer::Refuses(refused(Error::Protocol(error), true)),
    }
}

/// Returns the port and address in a 227 or 229, since either may answer either command, and the
/// host that a 227 announces if it differs from `peer`.
fn find(
    reply: &Reply,
    peer: Option<SocketAddr>,
    rule: AddressRule,
) -> Result<(u16, Option<SocketAddr>, Option<AnnouncedHost>), ParseError> {
    // Keeps the scope of a link-local address, which only this host knows.
    let at_peer = |port| {
        peer.map(|mut peer| {
            peer.set_port(port);
            peer
        })
    };
    let host = peer.map(|peer| peer.ip().to_canonical());
    if reply.code() == ReplyCode::EXTENDED_PASSIVE {
        let port = ExtendedAddress::find_port(reply.text())?;
        match host {
            Some(host) => trace::note(format_args!(
                "229: port {port} of {host}, the host of the control connection"
            )),
            None => {
                trace::note(format_args!("229: port {port} of the host of the control connection"));
            }
        }
        return Ok((port, at_peer(port), None));
    }
    let HostPort { host: announced, port } = HostPort::find(reply.text())?;
    let [high, low] = port.to_be_bytes();
    let Some(host) = host else {
        trace::note(format_args!(
            "227: {announced} port {port} = {high}*256+{low}; the data connection goes to the \
             host of the control connection"
        ));
        return Ok((port, None, None));
    };
    let chosen = rule.choose(announced.into(), host);
    if chosen.reason == HostReason::Same {
        trace::note(format_args!("227: {announced} port {port} = {high}*256+{low}"));
        return Ok((port, at_peer(port), None));
    }
    trace::note(format_args!(
        "227: {announced} port {port} = {high}*256+{low}; {}: using {}",
        chosen.reason, chosen.host
    ));
    let address = match chosen.host {
        chosen if chosen == host => at_peer(port),
        chosen => Some(SocketAddr::new(chosen, port)),
    };
    let announced =
        AnnouncedHost { announced: announced.into(), peer: host, reason: chosen.reason };
    Ok((port, address, Some(announced)))
}

/// Begins to connect, without waiting unless a connector does it.
fn open(
    control: &ControlConnection,
    config: &Config,
    address: Option<SocketAddr>,
    port: u16,
) -> Result<Opening, Error> {
    if port < FIRST_FREE_PORT && !config.allow_low_ports {
        return Err(Error::Unsupported("a data port below 1024"));
    }
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

#[cfg(test)]
mod tests {
    use ftp_proto::AddressClass;

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
            for rule in [AddressRule::Peer, AddressRule::Smart] {
                let found = find(&reply, Some(peer), rule).map(|(_, address, _)| address).ok();
                let want_address = want.map(|port| Some(SocketAddr::new(peer.ip(), port)));
                assert_eq!(found, want_address, "{code} {text}");
                let unknown = find(&reply, None, rule).map(|(port, address, _)| (port, address));
                assert_eq!(unknown.ok(), want.map(|port| (port, None)), "{code} {text}");
            }
        }
    }

    #[test]
    fn the_rule_chooses_the_host_cl_25_cl_26_cl_27_hc_01() {
        let peer: SocketAddr = "203.0.113.7:21".parse().unwrap();
        let find = |rule, host: &str| {
            let text = format!("ok ({},195,84)", host.replace('.', ","));
            let reply = Reply::new(ReplyCode::new(227).unwrap(), text);
            let (_, address, announced) = find(&reply, Some(peer), rule).unwrap();
            (address.unwrap().to_string(), announced.map(|announced| announced.reason))
        };
        for (rule, announced, want, reason) in [
            (AddressRule::Peer, "203.0.113.7", "203.0.113.7:50004", None),
            (AddressRule::Reply, "203.0.113.7", "203.0.113.7:50004", None),
            (AddressRule::Peer, "10.0.0.5", "203.0.113.7:50004", Some(HostReason::PeerRule)),
            (AddressRule::Peer, "198.51.100.1", "203.0.113.7:50004", Some(HostReason::PeerRule)),
            (
                AddressRule::Smart,
                "10.0.0.5",
                "203.0.113.7:50004",
                Some(HostReason::NotForUs(AddressClass::Private)),
            ),
            (AddressRule::Smart, "198.51.100.1", "198.51.100.1:50004", Some(HostReason::Plausible)),
            (AddressRule::Reply, "127.0.0.1", "127.0.0.1:50004", Some(HostReason::ReplyRule)),
        ] {
            assert_eq!(find(rule, announced), (want.to_owned(), reason), "{rule:?} {announced}");
        }
    }

    #[test]
    fn the_scope_of_a_link_local_peer_is_kept_cl_20() {
        let peer =
            SocketAddr::from(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 21, 0, 7));
        let reply = Reply::new(ReplyCode::EXTENDED_PASSIVE, "ok (|||50004|)");
        let (_, address, _) = find(&reply, Some(peer), AddressRule::Peer).unwrap();
        assert_eq!(address.unwrap().to_string(), "[fe80::1%7]:50004");
    }
}
