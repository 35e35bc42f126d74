//! TLS errors.

use std::fmt;
use std::path::PathBuf;

use ftp_proto::{Reply, Verb};

/// Why a connection is not protected as required. Nothing was sent unencrypted that should have
/// been protected.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// This library was built without the feature `tls`.
    #[error("this program was built without TLS")]
    Absent,
    /// A certificate or key file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings cannot be met, for example because the system has no trusted CAs.
    #[error("{0}")]
    Settings(String),
    /// The server refused `AUTH TLS`. No login was sent.
    #[error("the server refuses TLS: {0}")]
    Refused(Reply),
    /// The server refused `PBSZ` or `PROT`, so data connections would not be protected as
    /// requested. The connection is closed.
    #[error(
        "the server refuses to protect data connections as requested; it answered {0} with: {1}"
    )]
    DataProtectionRefused(Verb, Reply),
    /// Plaintext arrived after the server had accepted TLS; an attacker may have injected it. The
    /// connection is closed, and the bytes are discarded.
    #[error("the server sent plaintext after accepting TLS: possibly injected by an attacker")]
    InjectedPlaintext,
    /// A data connection ended without TLS's `close_notify`: the data may be truncated, even if the
    /// server confirmed the transfer.
    #[error("the data ended without close_notify: it may be truncated")]
    TruncatedTls,
    /// Both servers confirmed a copy under TLS ([`fxp`](crate::fxp)), but at least one of them did
    /// not report the size of the file. Some servers take a broken connection for the end of the
    /// file, so the file may be truncated.
    #[error(
        "both servers confirmed a copy under TLS, but not its size: \
         the file may be truncated"
    )]
    Unchecked,
    /// The server's certificate was refused.
    #[error("the server's certificate is rejected: {fault}{}{}", Detail(.detail), Digest(.pin))]
    Certificate {
        /// What is wrong with it.
        fault: CertificateFault,
        /// A description of the fault; may be empty.
        detail: String,
        /// The pin of the certificate's key for [`Tls::pin`](crate::Tls::pin). `None` if the key
        /// cannot be read, or if the caller's own verifier refused the certificate.
        pin: Option<String>,
    },
    /// The client and the server could not agree on parameters, one of them broke the protocol, or
    /// the server closed the connection during the handshake.
    #[error("TLS failed: {0}")]
    Failed(String),
    /// After the handshake, something arrived that is not TLS, or that was changed on the way. It
    /// was not used, and the connection counts as lost. Unlike other TLS errors, this one is
    /// [transient](crate::Error::is_transient).
    ///
    /// vsftpd does this when it ends a session because of an error: it sends `500 OOPS: ...`
    /// unencrypted.
    #[error("the TLS connection broke: {0}")]
    Broken(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It is for another name.
    #[error("it is for another name")]
    WrongName,
    /// Its issuer is not trusted.
    #[error("its issuer is not trusted")]
    UnknownIssuer,
    /// It is not a server certificate.
    #[error("it is not a server certificate")]
    WrongPurpose,
    /// It is revoked.
    #[error("it is revoked")]
    Revoked,
    /// Its key matches no pin.
    #[error("its key is not the pinned one")]
    NotPinned,
    /// It differs from the certificate of the control connection.
    #[error("it differs from that of the control connection")]
    NotOfControl,
    /// Any other fault, such as an unreadable certificate.
    #[error("it cannot be used")]
    Other,
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            detail => write!(f, " ({detail})"),
        }
    }
}

struct Digest<'a>(&'a Option<String>);

impl fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pin) => write!(f, "; the pin of its key is {pin}"),
            None => Ok(()),
        }
    }
}
