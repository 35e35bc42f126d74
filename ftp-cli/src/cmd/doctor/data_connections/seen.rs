//! Observations about the methods of data connections.

use std::net::{IpAddr, SocketAddr};

use ftp_client::Mode;
use ftp_proto::Reply;

use super::super::diagnosis::Diagnosis;
use super::ports::Ports;

/// Outcome of trying one method.
#[derive(Clone, Debug)]
pub(crate) enum MethodOutcome {
    /// Data arrived.
    Works,
    /// The server refused the command.
    Refused(Reply),
    /// The command got no reply.
    Unanswered,
    /// The connection was rejected if `closed`; otherwise it timed out or failed.
    Unreachable { closed: bool, at: Option<SocketAddr> },
    /// The connection opened, but no data arrived.
    Stalled,
    /// The transfer did not start or did not end; the text names the missing reply.
    Unfinished(&'static str),
    /// The proxy did not open the connection, for this reason.
    Proxy(String),
    /// The server gave up on the connection (425, 426).
    GaveUp(Reply),
    /// The connection opened, but TLS on it failed.
    Insecure(String),
    /// The method cannot be tried, for this reason.
    NotTried(String),
    /// The control connection broke, for this reason.
    Broken(String),
    /// A login failed after earlier logins succeeded, or the server ended the session with 421.
    NotAgain(Diagnosis, String),
}

/// All observations about the methods of a server.
#[derive(Debug)]
pub(crate) struct MethodsSeen {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// Client address that the server reports, if it differs from the local one.
    pub(crate) seen_as: Option<IpAddr>,
    pub(crate) ports: Ports,
    /// Reply to EPRT with a protocol number that does not exist.
    pub(crate) no_such_family: Option<Reply>,
    /// Outcomes in the order of [`DataMethod::ALL`](super::super::data_method::DataMethod::ALL).
    pub(crate) outcomes: [MethodOutcome; 4],
    /// Mode that the options ask for.
    pub(crate) wanted: Mode,
}
