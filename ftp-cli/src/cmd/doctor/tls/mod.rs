//! Examines TLS on the control connection before the login: whether it is offered, in which
//! versions, and whether the certificate belongs to the intended server.

pub(super) mod certificate;
pub(super) mod data;
mod judge;

use ftp_client::{
    CertificateFault, Client, Error, Phase, Tls, TlsError, TlsInfo, TlsVersion, Verb,
};
use ftp_proto::Reply;

use self::certificate::now;
use super::diagnosis::Diagnosis;
use super::dial::{Dial, refused_again};
use super::finding::Finding;
use super::packets::{self, LargeTransfer};
use super::places::Inside;
use super::probes::side_by_side;
use crate::exit::Failure;

/// Outcome of a connection with the TLS settings of the user.
#[derive(Clone, Debug)]
pub(in crate::cmd::doctor) enum TlsOutcome {
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
pub(in crate::cmd::doctor) struct TlsSeen {
    pub(in crate::cmd::doctor) outcome: TlsOutcome,
    /// Negotiated parameters, even if the certificate was rejected.
    pub(in crate::cmd::doctor) info: Option<TlsInfo>,
    pub(in crate::cmd::doctor) versions: Vec<TlsVersion>,
    /// Current time in Unix seconds.
    pub(in crate::cmd::doctor) now: i64,
}

/// Connects with TLS if the options ask for it.
///
/// # Errors
///
/// Returns `Unsupported` if this build has no TLS, `Interrupted` after a signal, or `Timeout` if
/// the time for the whole examination is over. Returns `Local` or `Usage` if a file that an option
/// names is unusable.
pub(super) fn demanded(dial: &Dial<'_>) -> Result<(), Failure> {
    if let Some(tls) = &dial.asked.tls {
        let seen = look(dial, tls)?;
        dial.in_time()?;
        dial.seen.tls.get_or_init(|| seen);
    }
    Ok(())
}

/// If the options do not ask for TLS, examines whether the server offers TLS.
///
/// # Errors
///
/// Returns the same errors as [`demanded`].
pub(super) fn offered(dial: &Dial<'_>) -> Result<(), Failure> {
    if let (None, Some(tls)) = (&dial.asked.tls, &dial.asked.offered) {
        let seen = look(dial, tls)?;
        dial.seen.tls.get_or_init(|| seen);
    }
    Ok(())
}

/// Returns what was seen of a TLS that the options do not ask for.
pub(super) fn offer<'d>(dial: &'d Dial<'_>) -> Option<&'d TlsSeen> {
    dial.seen.tls.get().filter(|_| dial.asked.tls.is_none())
}

/// Judges TLS that the options ask for.
pub(super) fn judge_demanded(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let judged = |seen: &TlsSeen| {
        let is_refused = matches!(seen.outcome, TlsOutcome::Refused(_));
        judge::judge(seen, !(dial.asked.is_tried && is_refused), None)
    };
    Ok(dial.seen.tls.get().map_or_else(Vec::new, judged))
}

/// Judges TLS that the server may offer.
pub(super) fn judge_offered(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let login = dial.seen.login.get().and_then(|login| login.as_ref().ok());
    let judged = |seen| judge::judge(seen, false, login.map(|login| &login.features));
    Ok(offer(dial).map_or_else(Vec::new, judged))
}

/// Connects with TLS, more than once if needed, and records the observations. Does not log in.
fn look(dial: &Dial<'_>, tls: &Tls) -> Result<TlsSeen, Failure> {
    let (outcome, info) = match dial.connect_by(tls) {
        Ok(inside) => (TlsOutcome::Secured, quit(inside)),
        Err(Error::Tls(TlsError::Refused(reply))) => (TlsOutcome::Refused(reply), None),
        Err(Error::Tls(TlsError::Certificate { fault, detail, pin })) => {
            let any = tls.clone().accept_invalid_certificates(true);
            let info = dial.connect_by(&any).ok().and_then(quit);
            (TlsOutcome::Certificate(fault, detail, pin), info)
        }
        Err(error @ Error::Cancelled) => return Err(error.into()),
        Err(error @ Error::Timeout(Phase::Overall)) => {
            (TlsOutcome::Unable(error.to_string()), None)
        }
        Err(error @ Error::Timeout(Phase::Handshake)) => (stalled(dial, &error)?, None),
        // If the user does not ask for TLS, missing TLS support or CA certificates are not a
        // failure.
        Err(Error::Tls(error @ (TlsError::Absent | TlsError::Settings(_))))
            if dial.asked.tls.is_none() =>
        {
            (TlsOutcome::Unable(error.to_string()), None)
        }
        Err(
            error @ Error::Tls(TlsError::Absent | TlsError::File { .. } | TlsError::Settings(_)),
        ) => return Err(error.into()),
        Err(
            error @ (Error::Unexpected(Verb::Auth, _) | Error::Tls(TlsError::InjectedPlaintext)),
        ) => (TlsOutcome::Unanswered(error.to_string()), None),
        Err(error @ Error::Tls(_)) => (TlsOutcome::Failed(error.to_string()), None),
        // The other errors concern the connection, not TLS.
        Err(error) if dial.asked.tls.is_none() => (TlsOutcome::Unable(error.to_string()), None),
        Err(error @ Error::Timeout(Phase::Reply(_))) => {
            (TlsOutcome::Unanswered(error.to_string()), None)
        }
        // The server accepted a connection a moment ago.
        Err(error) => {
            let (diagnosis, why) = refused_again(&error)?;
            (TlsOutcome::NotAgain(diagnosis, why), None)
        }
    };
    let mut versions = Vec::new();
    if info.is_some() {
        let agrees = |version| {
            let only = tls.clone().versions(version, version).accept_invalid_certificates(true);
            dial.connect_by(&only).ok().and_then(quit).is_some()
        };
        let both = [TlsVersion::V1_2, TlsVersion::V1_3];
        let agreed = side_by_side(both.map(|version| ("tls version", version)), agrees)?;
        versions.extend(both.into_iter().zip(agreed).filter(|(_, is)| *is).map(|(one, _)| one));
    }
    Ok(TlsSeen { outcome, info, versions, now: now() })
}

/// Judges a handshake that stalled: tests whether large packets stall without TLS too.
fn stalled(dial: &Dial<'_>, error: &Error) -> Result<TlsOutcome, Failure> {
    if dial.asked.is_implicit {
        return Ok(TlsOutcome::Stalled(error.to_string()));
    }
    match dial.connect_plainly().and_then(|mut inside| packets::long_command(&mut inside.it)) {
        Ok(LargeTransfer::Stalled(seen)) => Ok(TlsOutcome::PacketsLost(seen)),
        Err(error @ Error::Cancelled) => Err(error.into()),
        _ => Ok(TlsOutcome::Stalled(error.to_string())),
    }
}

/// Returns the negotiated parameters and sends QUIT.
fn quit(inside: Inside<'_, Client>) -> Option<TlsInfo> {
    let info = inside.it.tls().cloned();
    inside.quit();
    info
}
