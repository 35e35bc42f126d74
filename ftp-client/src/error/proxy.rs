//! Why a proxy did not connect to the server.

use std::fmt;

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
