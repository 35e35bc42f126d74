//! Observations about TLS.

use ftp_client::{CertificateFault, TlsInfo, TlsVersion};
use ftp_proto::Reply;

use super::super::diagnosis::Diagnosis;

/// Outcome of a connection with the TLS settings of the user.
#[derive(Clone, Debug)]
pub(crate) enum TlsOutcome {
    Secured,
    /// `AUTH TLS` was refused.
    Refused(Reply),
    /// `AUTH TLS` got no valid answer, for this reason.
    Unanswered(String),
    /// The certificate was rejected. The last field is the pin with which it would be accepted.
    Certificate(CertificateFault, String, Option<String>),
    /// The handshake failed.
    Failed(String),
    /// The handshake stalled, and so do large packets without TLS.
    PacketsLost(String),
    /// The handshake stalled.
    Stalled(String),
    /// A connection failed after an earlier one succeeded.
    NotAgain(Diagnosis, String),
    /// TLS could not be examined, for this reason.
    Unable(String),
}

/// All observations about TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsSeen {
    pub(crate) outcome: TlsOutcome,
    /// Negotiated parameters, even if the certificate was rejected.
    pub(crate) info: Option<TlsInfo>,
    pub(crate) versions: Vec<TlsVersion>,
    /// Current time in Unix seconds.
    pub(crate) now: i64,
}
