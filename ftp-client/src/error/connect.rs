//! Connections that could not be opened: data connections, and connections through a proxy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ftp_proto::{AddressRule, EpsvArgument, HostReason, NetworkProtocol, Reply, Verb};

use super::Error;

/// One attempt to open a data connection, and why it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataAttempt {
    /// The command: `EPSV`, `PASV`, `EPRT` or `PORT`.
    pub way: Verb,
    /// The argument of `EPSV`; [`EpsvArgument::Default`] for the other commands.
    pub epsv: EpsvArgument,
    /// The address that the client or the server had to connect to, if known.
    pub address: Option<SocketAddr>,
    /// The host that the server announced, if it differs from that of the control connection.
    pub(crate) announced: Option<AnnouncedHost>,
    /// What went wrong.
    pub error: Error,
}

impl DataAttempt {
    /// Returns an attempt that failed before an address was agreed on.
    pub(crate) const fn early(way: Verb, error: Error) -> Self {
        Self { way, epsv: EpsvArgument::Default, address: None, announced: None, error }
    }

    /// Returns the host that the server announced in a 227 reply, if it differs from that of the control
    /// connection, and why one of the two was used.
    #[must_use]
    pub fn announced(&self) -> Option<(IpAddr, HostReason)> {
        self.announced.map(|host| (host.announced, host.reason))
    }

    /// Returns whether the server refused `EPSV ALL`, which the caller demands, and will refuse it
    /// again later.
    pub(super) fn breaks_promise(&self) -> bool {
        self.epsv == EpsvArgument::All && !self.error.is_transient()
    }
}

impl fmt::Display for DataAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = match self.epsv {
            EpsvArgument::Default => "",
            EpsvArgument::Protocol(NetworkProtocol::Ipv4) => " 1",
            EpsvArgument::Protocol(NetworkProtocol::Ipv6) => " 2",
            EpsvArgument::All => " ALL",
        };
        match (&self.error, self.address) {
            (Error::Refused { .. }, _) | (_, None) => {}
            (_, Some(address)) => write!(f, "{}{argument} with {address}: ", self.way)?,
        }
        match &self.error {
            Error::Refused { verb: way, reply } => write!(f, "{way}{argument} refused: {reply}")?,
            Error::Io(error) => error.fmt(f)?,
            error => error.fmt(f)?,
        }
        match &self.announced {
            Some(announced) => write!(f, " ({announced})"),
            None => Ok(()),
        }
    }
}

/// The host in a 227 reply, if it differs from that of the control connection, and how it was used.
/// `Display` gives the reason, and the [`AddressRule`] that would choose the other host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AnnouncedHost {
    /// The host that the server announced.
    pub(crate) announced: IpAddr,
    /// The host of the control connection.
    pub(crate) peer: IpAddr,
    /// Why one of the two hosts was chosen.
    pub(crate) reason: HostReason,
}

impl AnnouncedHost {
    /// Returns whether the announced host was chosen.
    const fn is_used(&self) -> bool {
        matches!(self.reason, HostReason::ReplyRule | HostReason::Plausible)
    }
}

impl fmt::Display for AnnouncedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, peer, reason } = self;
        let smart = AddressRule::Smart.choose(*announced, *peer);
        let smart_uses_it = smart.host == *announced;
        write!(f, "the server announced {announced}: ")?;
        match (self.is_used(), smart_uses_it) {
            (true, true) => write!(f, "{reason}; the address rule `peer` would use {peer}"),
            (true, false) => {
                write!(f, "{}; the address rules `peer` and `smart` would use {peer}", smart.reason)
            }
            (false, true) => {
                write!(f, "{reason}; the address rules `smart` and `reply` would use {announced}")
            }
            (false, false) => write!(f, "{reason}; the address rule `reply` would use {announced}"),
        }
    }
}

/// Returns whether a reply may be a server's refusal of a data connection that resumed no TLS
/// session.
pub(crate) fn may_demand_session(reply: &Reply) -> bool {
    matches!(reply.code().value(), 425 | 426 | 522 | 534)
}

/// What went wrong at a proxy. `Display` explains it, without the password of the proxy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFault {
    /// The proxy's name has no address, or none of its addresses accepts connections.
    #[error("{0}")]
    Unreachable(String),
    /// The connection to the proxy broke before the proxy had answered.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The answer does not belong to the proxy's protocol.
    #[error("it does not speak {0}")]
    NotAProxy(&'static str),
    /// The answer of an HTTP proxy is longer than this many bytes.
    #[error("its answer is longer than {} KiB", .0 >> 10)]
    TooLong(usize),
    /// The proxy demands a user and password, and the settings have none.
    #[error("it requires a user and password")]
    LoginRequired,
    /// The proxy refused the user and password. Holds its reason, if it gave one.
    #[error("it refused the user and password{}", After(.0))]
    LoginRefused(String),
    /// The proxy could not or would not connect to the server.
    #[error("cannot connect to {target}: {reason}")]
    Refused {
        /// The host and port that the proxy was asked to connect to.
        target: String,
        /// The proxy's reason; control characters are escaped.
        reason: String,
        /// Whether the same request may succeed later.
        is_transient: bool,
    },
}

impl ProxyFault {
    /// Returns whether repeating the same call later may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::NotAProxy(_) | Self::TooLong(_) | Self::LoginRequired | Self::LoginRefused(_) => {
                false
            }
            Self::Refused { is_transient, .. } => *is_transient,
        }
    }
}

/// A reason that `Display` writes after a colon. For an empty reason, it writes nothing.
struct After<'a>(&'a str);

impl fmt::Display for After<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}
