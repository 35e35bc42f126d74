//! The server that already runs with this configuration: `--check` is used before a reload, too.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cmd::control;
use crate::cmd::control::protocol::{Request, Style};
use crate::cmd::serve::settings::Settings;

/// Time limit for the answer of the running server.
const LIMIT: Duration = Duration::from_secs(1);

/// A server that answers on the control socket of the settings.
pub(super) struct RunningServer {
    pub(super) process: String,
    addresses: Vec<SocketAddr>,
}

impl RunningServer {
    /// Asks the control socket; `None` without an answer.
    pub(super) fn find(settings: &Settings) -> Option<Self> {
        let path = settings.control_socket.as_deref()?;
        let answer = control::ask(path, &Request::Status(Style::Text), LIMIT).ok()?;
        let text = answer.outcome.ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let addresses = field("addresses: ")?.split(' ').filter_map(|it| it.parse().ok());
        Some(Self { process: field("process: ")?.to_owned(), addresses: addresses.collect() })
    }

    /// Returns whether the server listens on an address, or on all addresses with the same port.
    pub(super) fn listens_on(&self, address: SocketAddr) -> bool {
        let any = |address: SocketAddr| address.ip().to_canonical().is_unspecified();
        self.addresses.iter().any(|own| {
            own.port() == address.port()
                && (own.ip().to_canonical() == address.ip().to_canonical()
                    || any(*own)
                    || any(address))
        })
    }
}
