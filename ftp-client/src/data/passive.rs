//! Passive mode: connects to the port that a 227 or 229 reply names. The connection goes to the
//! host of the control connection, or to the host in a 227 if the caller's rule allows that.

use std::net::SocketAddr;

use ftp_proto::{HostReason, PassiveAddress};

use super::opening::Opening;
use crate::config::Config;
use crate::control::ControlConnection;
use crate::error::{AnnouncedHost, Error, Phase};
use crate::net::connect::{self, Server};
use crate::net::connector::Purpose;
use crate::trace;

/// The lowest port that a server may announce by default. Lower ports belong to other services, to
/// which a hostile server could direct the client.
pub(crate) const FIRST_FREE_PORT: u16 = 1_024;

/// Traces the address in a 227 or 229. `peer` is the server's address on the control connection.
pub(crate) fn explain(place: &PassiveAddress, peer: Option<SocketAddr>) {
    let port = place.port;
    let Some(announced) = place.announced else {
        match peer.map(|peer| peer.ip().to_canonical()) {
            Some(host) => trace::note(format_args!(
                "229: port {port} of {host}, the host of the control connection"
            )),
            None => {
                trace::note(format_args!("229: port {port} of the host of the control connection"));
            }
        }
        return;
    };
    let [high, low] = port.to_be_bytes();
    let tuple = format!("227: {announced} port {port} = {high}*256+{low}");
    match place.chosen {
        None => trace::note(format_args!(
            "{tuple}; the data connection goes to the host of the control connection"
        )),
        Some(chosen) if chosen.reason == HostReason::Same => trace::note(format_args!("{tuple}")),
        Some(chosen) => {
            trace::note(format_args!("{tuple}; {}: using {}", chosen.reason, chosen.host));
        }
    }
}

/// Returns the host that a 227 announces if it differs from `peer`.
pub(crate) fn announced(place: &PassiveAddress, peer: Option<SocketAddr>) -> Option<AnnouncedHost> {
    let reason = place.chosen?.reason;
    let announced = place.announced?.into();
    let peer = peer?.ip().to_canonical();
    (reason != HostReason::Same).then_some(AnnouncedHost { announced, peer, reason })
}

/// Begins to connect. Waits only if a proxy or a connector opens the connection.
pub(crate) fn begin(
    control: &ControlConnection,
    config: &Config,
    place: &PassiveAddress,
) -> Result<Opening, Error> {
    let port = place.port;
    if port < FIRST_FREE_PORT && !config.allow_low_ports {
        return Err(Error::Unsupported("a data port below 1024"));
    }
    if let Some(route) = config.route.as_ref().filter(|route| !route.proxy.is_ftp()) {
        let target = Server { port, ..control.server().clone() };
        let deadline = control.deadline(config.timeouts.data_connect, Phase::DataConnect);
        return route.data(&target, config, control.waiter(), deadline).map(Opening::Connected);
    }
    match (&config.connector, place.address) {
        (Some(connector), _) => {
            let target = Server { port, ..control.server().clone() };
            let deadline = control.deadline(config.timeouts.data_connect, Phase::DataConnect);
            connect::through(connector, &target, Purpose::Data, control.waiter(), deadline)
                .map(Opening::Connected)
        }
        (None, Some(address)) => {
            connect::begin(address, config.bind).map(Opening::Connecting).map_err(Error::Io)
        }
        (None, None) => {
            Err(Error::Unsupported("a data connection to a server whose address is unknown"))
        }
    }
}
