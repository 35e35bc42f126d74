//! What the login and the words before it mean.

use ftp_client::{Error, TlsError};
use ftp_proto::{Escaped, Features, Reply, Severity};

use super::diagnosis::Diagnosis;
use super::finding::{Check, Finding};

/// What the server says that it can do.
pub(super) fn features(features: &Features) -> Finding {
    let words: Vec<_> = features.iter().map(|(word, _)| Escaped(word).to_string()).collect();
    match words.as_slice() {
        [] => Finding::ok(
            Check::Features,
            format_args!("FEAT tells nothing: commands are simply tried"),
        ),
        words => Finding::ok(Check::Features, format_args!("{}", words.join(" "))),
    }
}

/// What kind of system it says it is.
pub(super) fn system(answer: &Result<Vec<u8>, Error>) -> Finding {
    match answer {
        Ok(text) => Finding::ok(Check::System, format_args!("{}", Escaped(text))),
        Err(error) => Finding::ok(Check::System, format_args!("not told: {error}")),
    }
}

/// A login that came to nothing. `in_clear` is whether there was no TLS.
pub(super) fn refused(user: Escaped<'_>, error: &Error, in_clear: bool) -> Finding {
    let diagnosis = match error {
        Error::Refused(_, reply) if in_clear && wants_tls(reply) => Diagnosis::LoginNeedsTls,
        Error::Refused(_, reply) if reply.code().severity() == Severity::Transient => {
            Diagnosis::LoginFailed
        }
        Error::Refused(..) => Diagnosis::LoginRefused,
        Error::ServiceClosing(_) => Diagnosis::LoginFailed,
        Error::Tls(TlsError::DataProtectionRefused(..)) => {
            return Finding::fail(
                Check::Protection,
                Diagnosis::ProtectionRefused,
                format_args!("{error}"),
            );
        }
        _ => Diagnosis::ConnectionLost,
    };
    Finding::fail(Check::Login, diagnosis, format_args!("{user}: {error}"))
}

/// Whether a refusal is for want of TLS. Only 534 means that by its code (RFC 4217 §5), so servers
/// say it in words.
fn wants_tls(reply: &Reply) -> bool {
    let text = reply.to_string().to_ascii_lowercase();
    let words = ["tls", "ssl", "encrypt", "secure", "clear text", "cleartext"];
    reply.code().value() == 534
        || (reply.code().severity() == Severity::Permanent
            && words.into_iter().any(|word| text.contains(word)))
}

#[cfg(test)]
mod tests {
    use ftp_client::Verb;
    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn a_refused_login_is_told_from_one_that_wants_tls() {
        for (code, text, in_clear, want) in [
            (530, "Login incorrect.", true, "login-refused"),
            (530, "Non-anonymous sessions must use encryption.", true, "login-needs-tls"),
            (550, "SSL/TLS required on the control channel", true, "login-needs-tls"),
            (
                421,
                "Sorry, cleartext sessions are not accepted on this server",
                true,
                "login-failed",
            ),
            (534, "Policy", true, "login-needs-tls"),
            (530, "TLS certificate does not match the user", false, "login-refused"),
            (430, "busy", true, "login-failed"),
            (332, "account", true, "login-refused"),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            let found = refused(Escaped(b"me"), &Error::Refused(Verb::User, reply), in_clear);
            assert_eq!(found.diagnosis.unwrap().row().name, want, "{code} {text}");
        }
        let lost = refused(Escaped(b"me"), &Error::Closed, true);
        assert_eq!(lost.diagnosis, Some(Diagnosis::ConnectionLost));
    }
}
