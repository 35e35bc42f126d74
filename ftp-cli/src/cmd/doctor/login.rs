//! Connects and logs in, and judges the login and the commands before it.

use std::net::SocketAddr;
use std::sync::Mutex;

use ftp_client::error::TlsError;
use ftp_client::{Client, Error};
use ftp_proto::{AddressClass, Escaped, Features, Severity};

use super::dial::Dial;
use super::finding::{Check, Diagnosis, Finding, lost, not_again};
use super::places::Inside;
use super::tls::{self, TlsOutcome};
use crate::exit::Result;

/// Observations about a connection and its login.
pub(super) struct LoginSeen<'a> {
    /// The logged-in client, until a probe takes it.
    pub(super) client: Mutex<Option<Inside<'a, Client>>>,
    /// The local and the remote address, unless a proxy hides them.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) features: Features,
    /// Whether the server listed its features before the login.
    is_early: bool,
    /// The answer to SYST, which is asked together with the features.
    system: Option<Result<Vec<u8>, Error>>,
    pub(super) is_plaintext: bool,
    /// `None` if the examination ended during the login.
    login: Option<Result<(), Error>>,
}

/// Connects and logs in. If that fails without TLS, asks whether the server offers TLS.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, or `Timeout` if the time for the whole examination is
/// over.
pub(super) fn run(dial: &Dial<'_>) -> Result {
    let mut inside = match dial.connect() {
        Ok(inside) => inside,
        Err(error) => {
            dial.in_time()?;
            dial.seen.login.get_or_init(|| Err(error));
            return Ok(());
        }
    };
    let client = &mut inside.it;
    let addresses = match dial.proxy() {
        None => client.local_addr().zip(client.peer_addr()),
        // With a proxy, the connection has the proxy's addresses.
        Some(_) => None,
    };
    let mut features = client.features().unwrap_or_default();
    // Some servers list features only after the login.
    let is_early = features.iter().next().is_some();
    let mut system = is_early.then(|| client.system());
    let is_plaintext = client.tls().is_none();
    let login = dial.login(client);
    let (mut kept, mut ended) = (None, Ok(()));
    match &login {
        Ok(()) => {
            if !is_early {
                features = client.features().unwrap_or_default();
                system = Some(client.system());
            }
            kept = Some(inside);
        }
        Err(Error::Cancelled) => ended = Err(Error::Cancelled.into()),
        Err(_) => {
            ended = dial.in_time();
            drop(inside);
            ended = ended.and_then(|()| tls::offered(dial));
        }
    }
    let login = ended.is_ok().then_some(login);
    let client = Mutex::new(kept);
    let seen = LoginSeen { client, addresses, features, is_early, system, is_plaintext, login };
    dial.seen.login.get_or_init(|| Ok(seen));
    ended
}

/// Judges the connection, the features and the login.
///
/// # Errors
///
/// Returns the client's failure if it says nothing about the server.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>> {
    let seen = match dial.seen.login.get() {
        None => return Ok(Vec::new()),
        Some(Ok(seen)) => seen,
        // The server accepted a connection a moment ago.
        Some(Err(error @ (Error::ServiceClosing(_) | Error::Greeting(_)))) => {
            return Ok(vec![not_again(Check::Connect, error)?]);
        }
        Some(Err(error)) => return Ok(vec![lost(Check::Connect, error)?]),
    };
    let mut described = vec![features(&seen.features)];
    described.extend(seen.system.as_ref().map(system));
    let (mut findings, after) = match seen.is_early {
        true => (described, Vec::new()),
        false => (Vec::new(), described),
    };
    findings.extend(exposed(dial, seen));
    match &seen.login {
        None => {}
        Some(Ok(())) => {
            findings.push(Check::Login.ok(format_args!("logged in as {}", dial.user())));
            if !seen.is_plaintext {
                findings.push(Check::Protection.ok("the server accepted PBSZ and PROT"));
            }
            findings.extend(after);
        }
        Some(Err(error)) => {
            findings.extend(tls::judge_offered(dial)?);
            let is_refused = |tls: &tls::TlsSeen| matches!(tls.outcome, TlsOutcome::Refused(_));
            let may_have_tls = !tls::offer(dial).is_some_and(is_refused);
            let may_have_tls = seen.is_plaintext.then_some(may_have_tls);
            findings.push(refused(dial.user(), error, may_have_tls));
        }
    }
    Ok(findings)
}

/// Returns a warning if the login sends a password through a proxy or a public network without TLS.
fn exposed(dial: &Dial<'_>, seen: &LoginSeen<'_>) -> Option<Finding> {
    let place = match (dial.proxy(), seen.addresses) {
        (Some(chosen), _) => chosen.proxy.to_string(),
        (None, Some((_, peer))) if AddressClass::of(peer.ip()) == AddressClass::Public => {
            peer.ip().to_string()
        }
        _ => return None,
    };
    let is_exposed = seen.is_plaintext && dial.credentials.is_personal;
    let user = dial.user();
    let words = format!("the password of {user} is sent to {place} unencrypted");
    is_exposed.then(|| Check::Login.warn(Diagnosis::ClearPassword, words))
}

/// Returns the finding about the server's features.
fn features(features: &Features) -> Finding {
    let words: Vec<_> = features.iter().map(|(word, _)| Escaped(word).to_string()).collect();
    match words.as_slice() {
        [] => {
            Check::Features.ok("FEAT lists no features: the client tries optional commands anyway")
        }
        words => Check::Features.ok(words.join(" ")),
    }
}

/// Returns the finding about the server's system type.
fn system(answer: &Result<Vec<u8>, Error>) -> Finding {
    match answer {
        Ok(text) => Check::System.ok(Escaped(text)),
        Err(error) => Check::System.ok(format_args!("SYST failed: {error}")),
    }
}

/// Returns the finding for a failed login. `may_have_tls` tells whether the server may offer TLS; it
/// is `None` if TLS protected the login.
fn refused(user: Escaped<'_>, error: &Error, may_have_tls: Option<bool>) -> Finding {
    let diagnosis = match may_have_tls.filter(|_| error.demands_tls()) {
        Some(false) => Diagnosis::LoginTlsMissing,
        Some(true) => Diagnosis::LoginNeedsTls,
        None => of(error),
    };
    match diagnosis {
        Diagnosis::ProtectionRefused => Check::Protection.fail(diagnosis, error),
        _ => Check::Login.fail(diagnosis, format_args!("{user}: {error}")),
    }
}

/// Returns the diagnosis of a login that fails for a reason other than missing TLS.
fn of(error: &Error) -> Diagnosis {
    match error {
        Error::Refused(_, reply) if reply.code().severity() == Severity::Transient => {
            Diagnosis::LoginFailed
        }
        Error::Refused(..) => Diagnosis::LoginRefused,
        Error::ServiceClosing(_) => Diagnosis::LoginFailed,
        Error::Tls(TlsError::DataProtectionRefused(..)) => Diagnosis::ProtectionRefused,
        _ => Diagnosis::ConnectionLost,
    }
}

#[cfg(test)]
mod tests {
    use ftp_client::Verb;
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
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            let error = Error::Refused(Verb::User, reply);
            let found = refused(Escaped(b"me"), &error, in_clear.then_some(true));
            assert_eq!(found.diagnosis.unwrap().name(), want, "{code} {text}");
        }
        let closing =
            Reply::new(ReplyCode::SERVICE_CLOSING, "Sorry, cleartext sessions are not accepted");
        let error = Error::ServiceClosing(closing);
        let found = refused(Escaped(b"me"), &error, Some(true));
        assert_eq!(found.diagnosis, Some(Diagnosis::LoginNeedsTls));
        let encrypt = || Reply::new(ReplyCode::new(530).unwrap(), "must use encryption");
        let error = Error::Refused(Verb::Pass, encrypt());
        let found = refused(Escaped(b"me"), &error, Some(false));
        assert_eq!(found.diagnosis, Some(Diagnosis::LoginTlsMissing));
        let lost = refused(Escaped(b"me"), &Error::Closed, Some(true));
        assert_eq!(lost.diagnosis, Some(Diagnosis::ConnectionLost));
    }
}
