//! Connects and logs in, and reports the server's features and system type.

use std::net::SocketAddr;

use ftp_client::{Client, Error};
use ftp_proto::{AddressClass, Features};

use super::advice::Advice;
use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding, lost, not_again};
use super::places::Inside;
use super::report::Report;
use super::{login, tls};
use crate::exit::Failure;

/// A logged-in client, with the local and the remote address unless a proxy hides them.
pub(super) struct Entered<'a> {
    pub(super) client: Inside<'a, Client>,
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) features: Features,
}

/// Connects and logs in. Returns `None` if that fails; a finding then shows the reason.
///
/// # Errors
///
/// Returns the failure of standard output, `Interrupted` after a signal, or `Timeout` if the time
/// for the whole examination is over.
pub(super) fn enter<'a>(
    dial: &'a Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
) -> Result<Option<Entered<'a>>, Failure> {
    let Some(mut inside) = connect(dial, report)? else { return Ok(None) };
    let client = &mut inside.it;
    let addresses = match &dial.proxy {
        None => client.local_addr().zip(client.peer_addr()),
        // With a proxy, the connection has the proxy's addresses.
        Some(_) => None,
    };
    // Some servers list features only after the login.
    let mut features = client.features().unwrap_or_default();
    let tells = features.iter().next().is_some();
    if tells {
        describe(client, &features, report)?;
    }
    let is_plaintext = client.tls().is_none();
    if is_plaintext {
        warn_of_exposure(dial, addresses, report)?;
    }
    match dial.login(client) {
        Ok(()) => {
            report.add(Finding::ok(Check::Login, format_args!("logged in as {}", dial.user())))?;
            if !is_plaintext {
                let seen = format_args!("the server accepted PBSZ and PROT");
                report.add(Finding::ok(Check::Protection, seen))?;
            }
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            dial.in_time()?;
            drop(inside);
            let tls = offered(dial, report, advice, &features)?;
            report.add(login::refused(dial.user(), &error, is_plaintext.then_some(tls)))?;
            return Ok(None);
        }
    }
    if !tells {
        features = client.features().unwrap_or_default();
        describe(client, &features, report)?;
    }
    Ok(Some(Entered { client: inside, addresses, features }))
}

fn connect<'a>(
    dial: &'a Dial<'_>,
    report: &mut Report<'_>,
) -> Result<Option<Inside<'a, Client>>, Failure> {
    let error = match dial.connect() {
        Ok(inside) => return Ok(Some(inside)),
        Err(error) => error,
    };
    dial.in_time()?;
    report.add(match &error {
        // The server accepted a connection a moment ago.
        Error::ServiceClosing(_) | Error::Greeting(_) => not_again(Check::Connect, &error)?,
        error => lost(Check::Connect, error)?,
    })?;
    Ok(None)
}

/// Reports the server's features and system type.
fn describe(
    client: &mut Client,
    features: &Features,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    report.add(login::features(features))?;
    report.add(login::system(&client.system()))
}

/// Warns if the login sends a password through a proxy or a public network without TLS.
fn warn_of_exposure(
    dial: &Dial<'_>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let place = match (&dial.proxy, addresses) {
        (Some(chosen), _) => chosen.proxy.to_string(),
        (None, Some((_, peer))) if AddressClass::of(peer.ip()) == AddressClass::Public => {
            peer.ip().to_string()
        }
        _ => return Ok(()),
    };
    if !dial.credentials.is_personal {
        return Ok(());
    }
    report.add(Finding::warn(
        Check::Login,
        Diagnosis::ClearPassword,
        format_args!("the password of {} is sent to {place} unencrypted", dial.user()),
    ))
}

/// If the URL does not ask for TLS, examines and reports whether the server offers TLS.
fn offered(
    dial: &Dial<'_>,
    report: &mut Report<'_>,
    advice: &mut Advice,
    features: &Features,
) -> Result<login::Offer, Failure> {
    let Some(tls) = dial.offered.as_ref().filter(|_| dial.tls.is_none()) else {
        return Ok(login::Offer::Unknown);
    };
    let seen = tls::look(dial, tls)?;
    report.all(tls::judge(&seen, false, Some(features)))?;
    if matches!(seen.outcome, tls::TlsOutcome::Secured) {
        advice.scheme = Some("ftpes");
    }
    Ok(match seen.outcome {
        tls::TlsOutcome::Refused(_) => login::Offer::Refused,
        _ => login::Offer::Unknown,
    })
}
