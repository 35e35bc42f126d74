//! Judges the login and the commands before it.

use ftp_client::{Error, TlsError};
use ftp_proto::{Escaped, Features, Severity};

use super::diagnosis::Diagnosis;
use super::finding::{Check, Finding};

/// Returns the finding about the server's features.
pub(super) fn features(features: &Features) -> Finding {
    let words: Vec<_> = features.iter().map(|(word, _)| Escaped(word).to_string()).collect();
    match words.as_slice() {
        [] => Finding::ok(
            Check::Features,
            format_args!("FEAT lists no features: the client tries optional commands anyway"),
        ),
        words => Finding::ok(Check::Features, format_args!("{}", words.join(" "))),
    }
}

/// Returns the finding about the server's system type.
pub(super) fn system(answer: &Result<Vec<u8>, Error>) -> Finding {
    match answer {
        Ok(text) => Finding::ok(Check::System, format_args!("{}", Escaped(text))),
        Err(error) => Finding::ok(Check::System, format_args!("SYST failed: {error}")),
    }
}

/// Whether a server that was not asked for TLS offers TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    Refused,
    /// TLS is offered, or it is unknown whether the server offers TLS.
    Unknown,
}

/// Returns the finding for a failed login. `offer` is `None` if TLS protected the login.
pub(super) fn refused(user: Escaped<'_>, error: &Error, offer: Option<Offer>) -> Finding {
    let diagnosis = match (error, offer) {
        (error, Some(Offer::Refused)) if error.demands_tls() => Diagnosis::LoginTlsMissing,
        (error, Some(_)) if error.demands_tls() => Diagnosis::LoginNeedsTls,
        (error, _) => of(error),
    };
    match diagnosis {
        Diagnosis::ProtectionRefused => {
            Finding::fail(Check::Protection, diagnosis, format_args!("{error}"))
        }
        _ => Finding::fail(Check::Login, diagnosis, format_args!("{user}: {error}")),
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
            let offer = in_clear.then_some(Offer::Unknown);
            let found = refused(Escaped(b"me"), &Error::Refused(Verb::User, reply), offer);
            assert_eq!(found.diagnosis.unwrap().name(), want, "{code} {text}");
        }
        let closing =
            Reply::new(ReplyCode::SERVICE_CLOSING, "Sorry, cleartext sessions are not accepted");
        let error = Error::ServiceClosing(closing);
        let found = refused(Escaped(b"me"), &error, Some(Offer::Unknown));
        assert_eq!(found.diagnosis, Some(Diagnosis::LoginNeedsTls));
        let encrypt = || Reply::new(ReplyCode::new(530).unwrap(), "must use encryption");
        let error = Error::Refused(Verb::Pass, encrypt());
        let found = refused(Escaped(b"me"), &error, Some(Offer::Refused));
        assert_eq!(found.diagnosis, Some(Diagnosis::LoginTlsMissing));
        let lost = refused(Escaped(b"me"), &Error::Closed, Some(Offer::Unknown));
        assert_eq!(lost.diagnosis, Some(Diagnosis::ConnectionLost));
    }
}
