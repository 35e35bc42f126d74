//! Protection by TLS (RFC 4217, RFC 2228 §3): AUTH, PBSZ, PROT, CCC; and SSCN.

use ftp_proto::{AuthMechanism, ProtectionLevel, Reply, ReplyCode};

use crate::auth::Rights;
use crate::session::{Outcome, Session};
use crate::tls::TlsPolicy;

/// `AUTH TLS`: 234, then the handshake; 504 for other mechanisms. If
/// [`Tls::auth_ssl_alias`](crate::Tls::auth_ssl_alias) is set, the server also accepts `AUTH SSL`,
/// which protects data connections too. `AUTH` ends a login (RFC 4217 §4.2).
pub(super) fn auth(session: &mut Session, mechanism: &AuthMechanism) -> Result<Outcome, Reply> {
    let with_data = match mechanism {
        AuthMechanism::Tls => false,
        AuthMechanism::TlsWithData
            if session.context.tls.as_ref().is_some_and(|tls| tls.rules().auth_ssl_alias) =>
        {
            true
        }
        _ => {
            let text = "Only AUTH TLS is supported";
            return Err(Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text));
        }
    };
    session.log_out();
    let reply = Reply::new(ReplyCode::SECURITY_ACCEPTED, "Begin the TLS handshake");
    Ok(Outcome::Protect { reply, with_data })
}

/// `PBSZ <size>`: 200 with the buffer size, which is always 0 for TLS.
pub(super) fn pbsz(session: &mut Session) -> Reply {
    session.transfer.has_buffer_size = true;
    Reply::new(ReplyCode::OKAY, "PBSZ=0")
}

/// `PROT <prot-code>`: 200 for `P` and `C`, 534 for the one of them that the policy forbids, 536
/// for levels without an equivalent in TLS.
pub(super) fn prot(session: &mut Session, level: ProtectionLevel) -> Result<Reply, Reply> {
    let deny = |text| Err(Reply::new(ReplyCode::DENIED_BY_POLICY, text));
    match (level, session.data_policy()) {
        (ProtectionLevel::Private, TlsPolicy::Off) => {
            return deny("Data connections are unencrypted here, use PROT C");
        }
        (ProtectionLevel::Clear, TlsPolicy::Required) => {
            return deny("Data connections need TLS, use PROT P");
        }
        (ProtectionLevel::Private | ProtectionLevel::Clear, _) => {}
        (ProtectionLevel::Safe | ProtectionLevel::Confidential, _) => {
            let text = "TLS does not have this level, use PROT P";
            return Err(Reply::new(ReplyCode::PROTECTION_NOT_SUPPORTED, text));
        }
    }
    let is_private = level == ProtectionLevel::Private;
    if is_private != session.transfer.is_private {
        session.transfer.close_open_data();
    }
    session.transfer.is_private = is_private;
    Ok(Reply::new(ReplyCode::OKAY, format!("Protection is {}", level.as_str())))
}

/// `SSCN [ON | OFF]`: 200 with the server's role in the TLS handshakes of its data connections.
/// After `SSCN ON`, the server is the TLS client, whichever side connects, and the other side must
/// be a trusted server. This lets two servers exchange a file under TLS.
///
/// `SSCN ON` gets 550 without the right `FXP`, and 503 before `PROT P`. It stays in effect until
/// `SSCN OFF` or `REIN`. No RFC defines SSCN; the replies use the wording of glftpd, drftpd and
/// ioFTPD.
pub(super) fn sscn(session: &mut Session, argument: &[u8]) -> Result<Reply, Reply> {
    let has_right = session.user().is_some_and(|user| user.rights.contains(Rights::FXP));
    let is_on = match argument.to_ascii_uppercase().as_slice() {
        b"" => session.transfer.begins_handshakes,
        b"OFF" => false,
        b"ON" if !has_right => {
            let text = "Copying to other servers is not permitted";
            return Err(Reply::new(ReplyCode::FILE_UNAVAILABLE, text));
        }
        b"ON" if !session.transfer.is_private => {
            return Err(Reply::new(ReplyCode::BAD_SEQUENCE, "Use PROT P first"));
        }
        b"ON" => true,
        _ => return Err(Reply::new(ReplyCode::BAD_ARGUMENT, "Use SSCN ON or SSCN OFF")),
    };
    if is_on != session.transfer.begins_handshakes {
        session.transfer.close_open_data();
    }
    session.transfer.begins_handshakes = is_on;
    let side = if is_on { "CLIENT" } else { "SERVER" };
    Ok(Reply::new(ReplyCode::OKAY, format!("SSCN:{side} METHOD")))
}

/// `CCC`: always refused. 533 in plaintext, because there is no protection to end (RFC 2228 §3);
/// 534 under TLS, and the connection stays protected.
pub(super) fn ccc(session: &Session) -> Reply {
    let (code, text) = match session.secured {
        None => (ReplyCode::PROTECTION_DENIED, "The control connection is not protected"),
        Some(_) => (ReplyCode::DENIED_BY_POLICY, "The control connection stays protected"),
    };
    Reply::new(code, text)
}

/// Checks the protection level before a transfer: 521 if the policy forbids that level (RFC 4217
/// §10.2).
pub(super) fn check_data(session: &Session) -> Result<(), Reply> {
    let is_protected = session.transfer.is_private;
    match session.data_policy() {
        TlsPolicy::Required if !is_protected => {
            Err(Reply::new(ReplyCode::DATA_PROTECTION_NEEDED, "Use PROT P first"))
        }
        TlsPolicy::Off if is_protected => {
            Err(Reply::new(ReplyCode::DATA_PROTECTION_NEEDED, "Use PROT C first"))
        }
        _ => Ok(()),
    }
}
