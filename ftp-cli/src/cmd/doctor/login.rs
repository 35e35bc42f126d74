//! Connects and logs in, and judges the login and the commands before it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ftp_client::Error;
use ftp_proto::{Escaped, Features};

use super::dial::Dial;
use super::finding::{Check, Diagnosis, Finding, of_connection};
use super::seen::{LoginSeen, TlsOutcome, TlsSeen};
use super::tls;
use crate::connect::dialler::exposed_to;
use crate::exit::Result;

/// Time for a greeting and a login after which all checks log in at once, to end in time.
const SLOW: Duration = Duration::from_secs(1);

/// Connects and logs in. If that fails without TLS, asks whether the server offers TLS.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, or `Timeout` if the time for the whole examination is
/// over.
pub(super) fn run(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    // The server accepted a connection a moment ago.
    let connected = dial.again(Check("connect"), dial.connect(), found)?;
    let Some(mut inside) = connected else { return Ok(()) };
    let client = &mut inside.it;
    let addresses = match dial.proxy() {
        None => client.local_addr().zip(client.peer_addr()),
        // With a proxy, the connection has the proxy's addresses.
        Some(_) => None,
    };
    let is_plaintext = client.tls().is_none();
    let early = dial.again(Check("feat"), client.features(), found)?;
    let Some(early) = early else { return Ok(()) };
    // Some servers list features only after the login.
    let is_early = early.iter().next().is_some();
    if is_early {
        found.push(features(&early));
    }
    let start = Instant::now();
    let login = dial.login(client);
    let took = start.elapsed();
    let mut seen =
        LoginSeen { addresses, features: early, is_plaintext, took, ..Default::default() };
    if let Err(error) = login {
        inside.quit();
        dial.in_time()?;
        found.extend(exposed(dial, &seen));
        dial.seen.login.get_or_init(|| seen);
        tls::offered(dial, found)?;
        let is_refused = |tls: &TlsSeen| matches!(tls.outcome, TlsOutcome::Refused(_));
        let may_have_tls = !dial.seen.offer.get().is_some_and(is_refused);
        found.push(refused(dial.user(), &error, is_plaintext.then_some(may_have_tls))?);
        return Ok(());
    }
    found.extend(exposed(dial, &seen));
    found.push(Check("login").ok(format_args!("logged in as {}", dial.user())));
    if !is_plaintext {
        found.push(Check("protection").ok("the server accepted PBSZ and PROT"));
    }
    if !is_early {
        let late = dial.again(Check("feat"), client.features(), found)?;
        let Some(late) = late else { return Ok(()) };
        seen.features = late;
        found.push(features(&seen.features));
    }
    found.push(system(&client.system()));
    // Too little time to go carefully.
    if dial.slowest_greeting() + took > SLOW {
        dial.places.open_up();
    }
    seen.client = Mutex::new(Some(inside));
    dial.seen.login.get_or_init(|| seen);
    Ok(())
}

/// Returns a warning if the login sends a password through a proxy or a public network without TLS.
fn exposed(dial: &Dial<'_>, seen: &LoginSeen<'_>) -> Option<Finding> {
    let place = exposed_to(seen.addresses.map(|(_, peer)| peer), dial.proxy())?;
    let is_exposed = seen.is_plaintext && dial.credentials.is_personal;
    let user = dial.user();
    let words = format!("the password of {user} is sent to {place} unencrypted");
    is_exposed.then(|| Check("login").warn(Diagnosis("clear-password"), words))
}

fn features(features: &Features) -> Finding {
    let words: Vec<_> = features.iter().map(|(word, _)| Escaped(word).to_string()).collect();
    match words.as_slice() {
        [] => Check("feat").ok("FEAT lists no features: the client tries optional commands anyway"),
        words => Check("feat").ok(words.join(" ")),
    }
}

fn system(answer: &Result<Vec<u8>, Error>) -> Finding {
    match answer {
        Ok(text) => Check("syst").ok(Escaped(text)),
        Err(error @ Error::Refused { .. }) => Check("syst").ok(error),
        Err(error) => Check("syst").skip(format_args!("SYST failed: {error}")),
    }
}

/// Returns the finding for a failed login. `may_have_tls` tells whether the server may offer TLS; it
/// is `None` if TLS protected the login.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
fn refused(user: Escaped<'_>, error: &Error, may_have_tls: Option<bool>) -> Result<Finding> {
    let diagnosis = match may_have_tls.filter(|_| error.demands_tls()) {
        Some(false) => Diagnosis("login-tls-missing"),
        Some(true) => Diagnosis("login-needs-tls"),
        None => of_connection(error, false)?.0,
    };
    Ok(match diagnosis {
        Diagnosis("protection-refused") => Check("protection").fail(diagnosis, error),
        _ => Check("login").fail(diagnosis, format_args!("{user}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use ftp_client::Verb;
    use ftp_client::error::Phase;
    use ftp_proto::{Reply, ReplyCode};

    use super::*;

    #[test]
    fn a_refused_login_is_distinguished_from_required_tls() {
        for (code, text, in_clear, want) in [
            (530, "Login incorrect.", true, "login-refused"),
            (530, "Non-anonymous sessions must use encryption.", true, "login-needs-tls"),
            (550, "SSL/TLS required on the control channel", true, "login-needs-tls"),
            (534, "Policy", true, "login-needs-tls"),
            (530, "TLS certificate does not match the user", false, "login-refused"),
            (430, "busy", true, "login-failed"),
            (332, "account", true, "login-refused"),
            (
                530,
                "Sorry, the maximum number of clients (1) are already connected.",
                true,
                "login-failed",
            ),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            let error = Error::refused(Verb::User, reply);
            let found = refused(Escaped(b"me"), &error, in_clear.then_some(true)).unwrap();
            assert_eq!(found.diagnosis.unwrap().0, want, "{code} {text}");
        }
        let closing =
            Reply::new(ReplyCode::SERVICE_CLOSING, "Sorry, cleartext sessions are not accepted");
        let error = Error::ServiceClosing(closing);
        let found = refused(Escaped(b"me"), &error, Some(true)).unwrap();
        assert_eq!(found.diagnosis, Some(Diagnosis("login-needs-tls")));
        let encrypt = || Reply::new(ReplyCode::new(530).unwrap(), "must use encryption");
        let error = Error::refused(Verb::Pass, encrypt());
        let found = refused(Escaped(b"me"), &error, Some(false)).unwrap();
        assert_eq!(found.diagnosis, Some(Diagnosis("login-tls-missing")));
        for (error, want) in [
            (Error::Closed, Diagnosis("connection-lost")),
            (Error::Timeout(Phase::Reply(Some(Verb::Pass))), Diagnosis("reply-never")),
            (Error::Desynchronised, Diagnosis("reply-invalid")),
        ] {
            let found = refused(Escaped(b"me"), &error, Some(true)).unwrap();
            assert_eq!(found.diagnosis, Some(want), "{error}");
        }
    }
}
