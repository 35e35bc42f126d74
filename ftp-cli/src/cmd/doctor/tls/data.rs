//! Examines TLS on data connections, with the best method.

use std::sync::atomic::Ordering;

use ftp_client::{ClientBuilder, Error, Phase, TlsError};

use super::super::data_connections::listing;
use super::super::diagnosis::Diagnosis;
use super::super::dial::Dial;
use super::super::finding::{Check, Finding, not_again};
use crate::exit::Failure;

/// Tries a listing over a data connection that resumes no TLS session.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Timeout` if the time for the whole examination is
/// over.
pub(in crate::cmd::doctor) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    if dial.is_protected() && dial.seen.listed.load(Ordering::Relaxed) {
        let seen = without_resuming(dial)?;
        dial.seen.without_resuming.get_or_init(|| seen);
    }
    Ok(())
}

/// Returns the reason if the listing fails, otherwise `None`. The inner error means that the login
/// failed or that the data connection never opened.
fn without_resuming(dial: &Dial<'_>) -> Result<Result<Option<String>, Error>, Failure> {
    let Some(tls) = &dial.asked.tls else { return Ok(Ok(None)) };
    let change = |builder: ClientBuilder| builder.tls(tls.clone().resume_sessions(false));
    let mut inside = match dial.client_by(dial.way(), change) {
        Ok(inside) => inside,
        Err(error) => return Ok(Err(error)),
    };
    match listing(&mut inside.it) {
        Ok(_) | Err(Error::Tls(TlsError::TruncatedTls)) => {
            inside.quit();
            Ok(Ok(None))
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => Err(error.into()),
        Err(error) if is_unreached(&error) => Ok(Err(error)),
        Err(error) => Ok(Ok(Some(error.to_string()))),
    }
}

/// Returns whether a data connection timed out before it opened, which has nothing to do with TLS.
fn is_unreached(error: &Error) -> bool {
    let is_late = |error: &Error| matches!(error, Error::Timeout(Phase::DataConnect));
    matches!(error, Error::DataConnection(attempts)
        if attempts.iter().any(|attempt| is_late(&attempt.error)))
}

/// Judges TLS on data connections.
///
/// # Errors
///
/// Returns the client's failure if it says nothing about the server.
pub(in crate::cmd::doctor) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    if !dial.is_protected() {
        return Ok(Vec::new());
    }
    // TLS on a data connection begins with a transfer, and a listing is the only transfer that
    // needs no file.
    if !dial.seen.listed.load(Ordering::Relaxed) {
        let skip = |check: Check| check.skip("this user cannot list files");
        return Ok(vec![skip(Check::Reuse), skip(Check::CloseNotify)]);
    }
    let reuse = match dial.seen.without_resuming.get() {
        None => return Ok(Vec::new()),
        Some(Ok(None)) => Check::Reuse.ok("data connections need not resume a TLS session"),
        Some(Ok(Some(why))) => Check::Reuse.warn(
            Diagnosis::ReuseDemanded,
            format_args!("a data connection that does not resume a TLS session fails: {why}"),
        ),
        Some(Err(error)) if is_unreached(error) => Check::Reuse.skip(error),
        Some(Err(error)) => return Ok(vec![not_again(Check::Reuse, error)?]),
    };
    let end = match dial.seen.truncated.load(Ordering::Relaxed) {
        false => Check::CloseNotify.ok("data ends with close_notify"),
        true => Check::CloseNotify
            .fail(Diagnosis::NoCloseNotify, "a listing ended without close_notify"),
    };
    Ok(vec![reuse, end])
}
