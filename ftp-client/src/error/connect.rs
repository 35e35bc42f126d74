//! Connections that could not be opened: data connections, and connections through a proxy.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ftp_proto::{
    AddressRule, EpsvArgument, Escaped, HostReason, NetworkProtocol, Reply, Severity, Verb,
};

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
    pub(crate) announced: IpAddr,
    pub(crate) peer: IpAddr,
    pub(crate) reason: HostReason,
}

impl AnnouncedHost {
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
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFault {
    /// The proxy's name has no address, or none of its addresses accepts connections.
    #[error(transparent)]
    Unreachable(Arc<io::Error>),
    /// The connection to the proxy broke before the proxy had answered. `None` if the proxy closed it.
    #[error("connection lost: {}", match .0 {
        Some(error) => error as &dyn fmt::Display,
        None => &"the proxy closed it",
    })]
    Lost(Option<Arc<io::Error>>),
    /// The answer does not belong to this protocol, `SOCKS5` or `HTTP`.
    #[error("it does not speak {0}")]
    NotAProxy(&'static str),
    /// The answer of an HTTP proxy is longer than this many bytes.
    #[error("its answer is longer than {} KiB", .0 >> 10)]
    TooLong(usize),
    /// The proxy demands a user and password, and the settings have none.
    #[error("it requires a user and password")]
    LoginRequired,
    /// The settings have a user and password, and the SOCKS5 proxy takes neither them nor no login.
    #[error("it does not support login by user and password")]
    LoginUnsupported,
    /// The proxy refused the user and password. Holds its answer, unless it is one of SOCKS5, which
    /// gives no reason.
    #[error("it refused the user and password{}", match .0 {
        Some(answer) => format!(": {answer}"),
        None => String::new(),
    })]
    LoginRefused(Option<ProxyAnswer>),
    /// The proxy could not or would not connect to the server.
    #[error("cannot connect to {target}: {answer}")]
    #[non_exhaustive]
    Refused {
        /// The host and port that the proxy was asked to connect to.
        target: String,
        /// The proxy's answer.
        answer: ProxyAnswer,
    },
}

impl ProxyFault {
    /// Returns whether repeating the same call later may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::Refused { answer, .. } => answer.is_transient(),
            _ => false,
        }
    }
}

/// What a proxy answers to a request that it refuses. `Display` escapes control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyAnswer {
    /// The code of a SOCKS5 reply (RFC 1928 §6).
    Socks(u8),
    /// An HTTP status, and the reason after it.
    Http(u16, Vec<u8>),
    /// The reply of an FTP proxy.
    Ftp(Reply),
}

impl ProxyAnswer {
    fn is_transient(&self) -> bool {
        match self {
            Self::Socks(code) => matches!(code, 1 | 3..=6),
            Self::Http(status, _) => matches!(status, 408 | 429 | 500..=599),
            Self::Ftp(reply) => reply.code().severity() == Severity::Transient,
        }
    }
}

/// The maximum length of a proxy's reason in an error message, in bytes.
const REASON: usize = 200;

impl fmt::Display for ProxyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socks(1) => "general failure",
            Self::Socks(2) => "not allowed by the proxy's rules",
            Self::Socks(3) => "network unreachable",
            Self::Socks(4) => "host unreachable",
            Self::Socks(5) => "connection refused",
            Self::Socks(6) => "no answer in time (TTL expired)",
            Self::Socks(7) => "command not supported",
            Self::Socks(8) => "address type not supported",
            Self::Socks(other) => return write!(f, "unknown reply {other}"),
            Self::Http(status, reason) if reason.is_empty() => return write!(f, "{status}"),
            Self::Http(status, reason) => {
                let shown = reason.get(..REASON).unwrap_or(reason);
                return write!(f, "{status} {}", Escaped(shown));
            }
            Self::Ftp(reply) => return reply.fmt(f),
        })
    }
}
