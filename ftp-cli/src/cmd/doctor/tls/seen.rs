//! What was seen of TLS.

use ftp_client::{CertificateFault, TlsInfo, TlsVersion};
use ftp_proto::Reply;

/// What came of connecting as the options want it.
#[derive(Clone, Debug)]
pub(crate) enum TlsOutcome {
    Secured,
    /// `AUTH TLS` was refused.
    Refused(Reply),
    /// The certificate was. The last is the pin by which it could be accepted.
    Certificate(CertificateFault, String, Option<String>),
    /// The two did not agree.
    Failed(String),
    /// The handshake stood still, and so does anything large without TLS.
    PacketsLost(String),
    /// The handshake stood still.
    Stalled(String),
    /// The server did not let it connect, and had done so before.
    NotAgain(String),
    /// This program cannot do it, for this reason.
    Unable(String),
}

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct TlsSeen {
    pub(crate) outcome: TlsOutcome,
    /// What was agreed on, whatever certificate was shown.
    pub(crate) info: Option<TlsInfo>,
    pub(crate) versions: Vec<TlsVersion>,
    /// The time here, in seconds of Unix.
    pub(crate) now: i64,
}
