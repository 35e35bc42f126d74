//! Examines TLS on the control connection before the login: whether it is offered, in which
//! versions, and whether the certificate belongs to the intended server. Then examines TLS on data
//! connections, with the best method.

mod judge;

use std::sync::atomic::Ordering;

use ftp_client::{
    CertificateFault, Client, ClientBuilder, Error, Phase, Tls, TlsError, TlsInfo, TlsVersion, Verb,
};
use ftp_proto::Reply;

use super::data_connections::listing;
use super::diagnosis::Diagnosis;
use super::dial::{Dial, refused_again};
use super::finding::{Check, Finding, Grade, not_again};
use super::packets;
use super::places::Inside;
use super::probes::side_by_side;
use crate::exit::Failure;

/// Outcome of a connection with the TLS settings of the user.
#[derive(Clone, Debug)]
pub(in crate::cmd::doctor) enum TlsOutcome {
    Secured,
    /// `AUTH TLS` was refused.
    Refused(Reply),
    /// The certificate was rejected. The last field is the pin with which it would be accepted.
    Certificate(CertificateFault, String, Option<String>),
    /// The connection failed for another reason.
    Failed(Diagnosis, String),
    /// TLS could not be examined, for this reason.
    Unable(String),
}

/// All observations about TLS.
#[derive(Clone, Debug)]
pub(in crate::cmd::doctor) struct TlsSeen {
    pub(in crate::cmd::doctor) outcome: TlsOutcome,
    /// Negotiated parameters, even if the certificate was rejected.
    info: Option<TlsInfo>,
    versions: Vec<TlsVersion>,
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
        Err(error) => (failed(dial, error)?, None),
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
    Ok(TlsSeen { outcome, info, versions })
}

/// Judges the error of a connection with TLS.
fn failed(dial: &Dial<'_>, error: Error) -> Result<TlsOutcome, Failure> {
    let is_demanded = dial.asked.tls.is_some();
    let (diagnosis, why) = match &error {
        Error::Timeout(Phase::Overall) => return Ok(TlsOutcome::Unable(error.to_string())),
        Error::Timeout(Phase::Handshake) => stalled(dial, &error)?,
        // If the user does not ask for TLS, missing TLS support or CA certificates are not a
        // failure.
        Error::Tls(TlsError::Absent | TlsError::Settings(_)) if !is_demanded => {
            return Ok(TlsOutcome::Unable(error.to_string()));
        }
        Error::Cancelled
        | Error::Tls(TlsError::Absent | TlsError::File { .. } | TlsError::Settings(_)) => {
            return Err(error.into());
        }
        Error::Unexpected(Verb::Auth, _) | Error::Tls(TlsError::InjectedPlaintext) => {
            (Diagnosis::TlsBroken, format!("AUTH TLS: {error}"))
        }
        Error::Tls(_) => (Diagnosis::TlsHandshake, error.to_string()),
        // The other errors concern the connection, not TLS.
        _ if !is_demanded => return Ok(TlsOutcome::Unable(error.to_string())),
        Error::Timeout(Phase::Reply(_)) => (Diagnosis::TlsBroken, format!("AUTH TLS: {error}")),
        // The server accepted a connection a moment ago.
        _ => refused_again(&error)?,
    };
    Ok(TlsOutcome::Failed(diagnosis, why))
}

/// Judges a handshake that stalled: tests whether large packets stall without TLS too.
fn stalled(dial: &Dial<'_>, error: &Error) -> Result<(Diagnosis, String), Failure> {
    let plain = (!dial.asked.is_implicit)
        .then(|| dial.connect_plainly().and_then(|mut it| packets::long_command(&mut it.it)));
    match plain {
        Some(Ok(Finding { grade: Grade::Fail, seen, .. })) => {
            Ok((Diagnosis::BigPacketsLost, format!("TLS stalls; {seen}")))
        }
        Some(Err(error @ Error::Cancelled)) => Err(error.into()),
        _ => Ok((Diagnosis::TlsStalls, error.to_string())),
    }
}

/// Returns the negotiated parameters and sends QUIT.
fn quit(inside: Inside<'_, Client>) -> Option<TlsInfo> {
    let info = inside.it.tls().cloned();
    inside.quit();
    info
}

/// Examines TLS on data connections, if TLS protects the login.
///
/// # Errors
///
/// Returns the client's failure if it says nothing about the server.
pub(super) fn data(dial: &Dial<'_>) -> Result<(), Failure> {
    if dial.is_protected() {
        let findings = look_at_data(dial)?;
        dial.seen.data_tls.get_or_init(|| findings);
    }
    Ok(())
}

/// Returns the findings about TLS on data connections.
pub(super) fn judge_data(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(dial.seen.data_tls.get().cloned().unwrap_or_default())
}

/// Tries a listing over a data connection that resumes no TLS session.
fn look_at_data(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    // TLS on a data connection begins with a transfer, and a listing is the only transfer that
    // needs no file.
    if !dial.seen.listed.load(Ordering::Relaxed) {
        let skip = |check: Check| check.skip("this user cannot list files");
        return Ok(vec![skip(Check::Reuse), skip(Check::CloseNotify)]);
    }
    let tls = dial.asked.tls.as_ref().map(|tls| tls.clone().resume_sessions(false));
    let change = |builder| tls.iter().cloned().fold(builder, ClientBuilder::tls);
    let mut inside = match dial.client_by(dial.way(), change) {
        Ok(inside) => inside,
        Err(error) => return Ok(vec![not_again(Check::Reuse, &error)?]),
    };
    let reuse = match listing(&mut inside.it) {
        Ok(_) | Err(Error::Tls(TlsError::TruncatedTls)) => {
            inside.quit();
            Check::Reuse.ok("data connections need not resume a TLS session")
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => {
            return Err(error.into());
        }
        Err(error) if is_unreached(&error) => Check::Reuse.skip(error),
        Err(error) => Check::Reuse.warn(
            Diagnosis::ReuseDemanded,
            format_args!("a data connection that does not resume a TLS session fails: {error}"),
        ),
    };
    let end = match dial.seen.truncated.load(Ordering::Relaxed) {
        false => Check::CloseNotify.ok("data ends with close_notify"),
        true => Check::CloseNotify
            .fail(Diagnosis::NoCloseNotify, "a listing ended without close_notify"),
    };
    Ok(vec![reuse, end])
}

/// Returns whether a data connection timed out before it opened, which has nothing to do with TLS.
fn is_unreached(error: &Error) -> bool {
    let is_late = |error: &Error| matches!(error, Error::Timeout(Phase::DataConnect));
    matches!(error, Error::DataConnection(attempts)
        if attempts.iter().any(|attempt| is_late(&attempt.error)))
}
