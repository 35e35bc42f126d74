//! Examines TLS on the control connection before the login: whether it is offered, in which
//! versions, and whether the certificate belongs to the intended server.

pub(crate) mod certificate;
mod judge;
mod seen;

pub(super) use judge::judge;

use std::thread::scope;

use ftp_client::{Client, Error, Phase, Tls, TlsError, TlsInfo, TlsVersion, Verb};

pub(super) use self::seen::TlsOutcome;
use self::seen::TlsSeen;
use super::clock::now;
use super::dial::{Dial, refused_again};
use super::packets::{self, LargeTransfer};
use super::places::Inside;
use super::side_by_side::{joined, start};
use crate::exit::Failure;

/// Connects with TLS, more than once if needed, and records the observations. Does not log in.
///
/// # Errors
///
/// Returns `Unsupported` if the user asks for TLS but this build has none, and `Interrupted` after
/// a signal. Returns `Local` or `Usage` if a file that an option names is unusable.
pub(super) fn look(dial: &Dial<'_>, tls: &Tls) -> Result<TlsSeen, Failure> {
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
            if dial.tls.is_none() =>
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
        Err(error) if dial.tls.is_none() => (TlsOutcome::Unable(error.to_string()), None),
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
        let agreed = scope(|scope| {
            let [old, new] = both.map(|version| start(scope, move || agrees(version)));
            Ok::<_, Failure>([old.map(joined)?, new.map(joined)?])
        })?;
        versions.extend(both.into_iter().zip(agreed).filter(|(_, is)| *is).map(|(one, _)| one));
    }
    Ok(TlsSeen { outcome, info, versions, now: now() })
}

/// Judges a handshake that stalled: tests whether large packets stall without TLS too.
fn stalled(dial: &Dial<'_>, error: &Error) -> Result<TlsOutcome, Failure> {
    if dial.is_implicit {
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
