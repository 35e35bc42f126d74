//! What was seen of the ways to data connections.

use std::net::{IpAddr, SocketAddr};

use ftp_client::Mode;
use ftp_proto::Reply;

use super::super::diagnosis::Diagnosis;
use super::ports::Ports;

/// What came of trying one way.
#[derive(Clone, Debug)]
pub(crate) enum WayOutcome {
    /// Data came.
    Works,
    /// The server refused the command.
    Refused(Reply),
    /// The command was never answered.
    Unanswered,
    /// No connection: rejected if `closed`, else nobody answered.
    Unreachable { closed: bool, at: Option<SocketAddr> },
    /// The connection stands, and what should come over it does not.
    Stalled,
    /// The transfer has no end, or no beginning: which reply is missing, in words.
    Unfinished(&'static str),
    /// The server gave up on the connection (425, 426).
    GaveUp(Reply),
    /// The connection stands, and TLS on it failed.
    Insecure(String),
    /// It cannot be tried, for this reason.
    NotTried(String),
    /// It broke the dialogue.
    Broken(String),
    /// The login failed that worked before: what is wrong, and the words.
    NotAgain(Diagnosis, String),
}

/// All that was seen of the ways to a server.
#[derive(Debug)]
pub(crate) struct WaysSeen {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// From where the server says that we come, if it does and that is not where we are.
    pub(crate) seen_as: Option<IpAddr>,
    pub(crate) ports: Ports,
    /// The answer to a protocol that does not exist.
    pub(crate) no_such_family: Option<Reply>,
    /// In the order of [`Way::ALL`].
    pub(crate) outcomes: [WayOutcome; 4],
    /// The one that the options ask for.
    pub(crate) wanted: Mode,
}
