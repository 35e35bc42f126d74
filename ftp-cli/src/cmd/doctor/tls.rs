//! TLS on the control connection, before anybody logs in: whether it is offered, in which versions,
//! and whether the certificate is that of the server that was meant.

mod judge;

pub(super) use judge::judge;

use ftp_client::{CertificateFault, Client, Error, Tls, TlsError, TlsInfo, TlsVersion};
use ftp_proto::Reply;

use super::{Dial, now};
use crate::exit::Failure;

/// What came of connecting as the options want it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Secured,
    /// `AUTH TLS` was refused.
    Refused(Reply),
    /// The certificate was. The last is the pin by which it could be accepted.
    Certificate(CertificateFault, String, Option<String>),
    /// The two did not agree.
    Failed(String),
    /// This program cannot do it, for this reason.
    Unable(String),
}

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    /// What was agreed on, whatever certificate was shown.
    pub(super) info: Option<TlsInfo>,
    pub(super) versions: Vec<TlsVersion>,
    /// The time here, in seconds of Unix.
    pub(super) now: i64,
}

/// Connects by TLS, as often as it takes to see all of it; nobody logs in.
///
/// # Errors
///
/// `Unsupported` where this program has no TLS, `Usage` for files of the options, `Interrupted`.
pub(super) fn look(dial: &Dial<'_>, tls: &Tls) -> Result<Seen, Failure> {
    let connect = |tls: Tls| dial.builder().tls(tls).connect_to(dial.secure_url());
    let (outcome, info) = match connect(tls.clone()) {
        Ok(client) => (Outcome::Secured, part(client)),
        Err(Error::Tls(TlsError::Refused(reply))) => (Outcome::Refused(reply), None),
        Err(Error::Tls(TlsError::Certificate { fault, detail, pin })) => {
            let info = connect(tls.clone().accept_invalid_certificates(true)).ok().and_then(part);
            (Outcome::Certificate(fault, detail, pin), info)
        }
        Err(error @ Error::Cancelled) => return Err(error.into()),
        // Who does not ask for TLS can do without what it takes here.
        Err(Error::Tls(error @ (TlsError::Absent | TlsError::Settings(_))))
            if dial.tls.is_none() =>
        {
            (Outcome::Unable(error.to_string()), None)
        }
        Err(
            error @ Error::Tls(TlsError::Absent | TlsError::File { .. } | TlsError::Settings(_)),
        ) => return Err(error.into()),
        Err(error) => (Outcome::Failed(error.to_string()), None),
    };
    let mut versions = Vec::new();
    if info.is_some() {
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let only = tls.clone().versions(version, version).accept_invalid_certificates(true);
            if connect(only).ok().and_then(part).is_some() {
                versions.push(version);
            }
        }
    }
    Ok(Seen { outcome, info, versions, now: now() })
}

/// What was agreed on; and good-bye.
fn part(client: Client) -> Option<TlsInfo> {
    let info = client.tls().cloned();
    let _ = client.quit();
    info
}
