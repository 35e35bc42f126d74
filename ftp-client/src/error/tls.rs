//! `TlsError` and its details.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::{Reply, Verb};

#[cfg(feature = "tls")]
use crate::tls::words;

/// Why a connection is not protected as required. Nothing was sent unencrypted that should have
/// been protected.
///
/// ```no_run
/// use ftp_client::error::{CertificateFault, Error, TlsError};
/// use ftp_client::{Client, Tls};
///
/// match Client::builder().tls(Tls::explicit()).connect("ftp.example.org") {
///     Err(Error::Tls(TlsError::Certificate { fault: CertificateFault::Expired, .. })) => {
///         println!("the certificate has expired");
///     }
///     connected => println!("{:?}", connected?.tls()),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// This library was built without the feature `tls`.
    #[error("this program was built without TLS")]
    Absent,
    /// A certificate or key file cannot be used.
    #[error("{}: {cause}", path.display())]
    #[non_exhaustive]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        cause: TlsCause,
    },
    /// The settings cannot be met, for example because the system has no trusted CAs.
    #[error(transparent)]
    Settings(TlsCause),
    /// The server refused `AUTH TLS`. No login was sent.
    #[error("the server refuses TLS: {0}")]
    Refused(Reply),
    /// The server refused `PROT`, so data connections would not be protected as requested. The
    /// connection is closed.
    #[error(
        "the server refuses to protect data connections as requested; it answered {verb} with: \
         {reply}"
    )]
    #[non_exhaustive]
    DataProtectionRefused {
        /// `PBSZ` or `PROT`.
        verb: Verb,
        /// The server's reply.
        reply: Reply,
    },
    /// Plaintext arrived after the server had accepted TLS; an attacker may have injected it. The
    /// connection is closed, and the bytes are discarded.
    #[error("the server sent plaintext after accepting TLS: possibly injected by an attacker")]
    InjectedPlaintext,
    /// A data connection ended without TLS's `close_notify`, and no size that the server reports proves
    /// that all bytes arrived: the data may be truncated, even if the server confirmed the transfer.
    #[error("the data ended without close_notify: it may be truncated")]
    TruncatedTls,
    /// Both servers confirmed a [copy](crate::file::Relay) under TLS, but at least one of them did
    /// not report the size of the file. Some servers take a broken connection for the end of the
    /// file, so the file may be truncated.
    #[error(
        "both servers confirmed a copy under TLS, but not its size: \
         the file may be truncated"
    )]
    Unchecked,
    /// The server's certificate was refused.
    #[error("the server's certificate is rejected: {fault}{}{}", Detail(.cause), ShownPin(.pin))]
    #[non_exhaustive]
    Certificate {
        /// What is wrong with it.
        fault: CertificateFault,
        /// What more is known about the fault.
        cause: Option<TlsCause>,
        /// The names and addresses that the certificate is for, if it is for another name. A
        /// certificate that somebody else put in the way has other names, too.
        names: Vec<String>,
        /// The pin of the certificate's key for [`Tls::pin`](crate::Tls::pin). `None` if the key
        /// cannot be read, or if the caller's own verifier refused the certificate.
        pin: Option<String>,
    },
    /// The client and the server could not agree on parameters, one of them broke the protocol, or
    /// the server closed the connection during the handshake.
    #[error("TLS failed: {0}")]
    Failed(TlsCause),
    /// After the handshake, something arrived that is not TLS, or that was changed on the way. It
    /// was not used, and the connection counts as lost. Unlike other TLS errors, this one is
    /// [transient](crate::Error::is_transient).
    ///
    /// vsftpd does this when it ends a session because of an error: it sends `500 OOPS: ...`
    /// unencrypted.
    #[error("the TLS connection broke: {0}")]
    Broken(TlsCause),
}

/// The details of a [`TlsError`]: of settings, a file, a handshake or a certificate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsCause {
    /// No certificate can be for this host name.
    #[error("{0:?} is not a valid name for a certificate{hint}", hint = match _0.is_ascii() {
        true => "",
        false => "; write it in its form with xn--",
    })]
    HostName(String),
    /// The minimum version is above the maximum.
    #[error("the minimum TLS version is above the maximum")]
    VersionRange,
    /// The caller gave no CA certificate.
    #[error("no CA certificate was given")]
    NoRoots,
    /// The system has no usable CA certificate.
    #[error(
        "this system has no CA certificates: install the package ca-certificates, or name a file \
         with CAs"
    )]
    NoSystemRoots,
    /// A CA certificate of the caller cannot be used.
    #[cfg(feature = "tls")]
    #[error("a CA certificate cannot be used: {}", words::failure(.0))]
    Root(Arc<rustls::Error>),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(Arc<io::Error>),
    /// The file contains no certificate.
    #[error("the file contains no certificate")]
    NoCertificate,
    /// The file contains no private key.
    #[error("the file contains no private key")]
    NoKey,
    /// The file is not PEM.
    #[cfg(feature = "tls")]
    #[error("{}", words::pem(.0))]
    Pem(Arc<rustls::pki_types::pem::Error>),
    /// The key does not belong to the certificate in this file, or cannot be used.
    #[cfg(feature = "tls")]
    #[error("not a usable key for {}: {}", certificate.display(), words::failure(cause))]
    #[non_exhaustive]
    WrongKey {
        /// The path of the certificate.
        certificate: PathBuf,
        /// The error of the TLS library.
        cause: Arc<rustls::Error>,
    },
    /// The server closed the connection during the handshake.
    #[error("the server closed the connection during the TLS handshake")]
    Closed,
    /// The server sent bytes that are not TLS. Holds the reply of FTP at their end, if there is one.
    #[error("{}", match .0 {
        Some(text) => format!("the server sent unencrypted text: \"{text}\""),
        None => "the server sent bytes that are not valid TLS".to_owned(),
    })]
    NotTls(Option<String>),
    /// The server shows no certificate.
    #[error("there is none")]
    NoneShown,
    /// The key in the certificate cannot be read.
    #[error("its key cannot be read")]
    UnreadableKey,
    /// The RSA key in the certificate has only this number of bits.
    #[error("RSA key of {0} bits: too short")]
    ShortKey(usize),
    /// The server does not prove that it has the key of its certificate.
    #[error("the server does not prove that it has the key")]
    Unproved,
    /// Another error of the TLS library.
    #[cfg(feature = "tls")]
    #[error("{}", words::failure(.0))]
    Rustls(Arc<rustls::Error>),
}

#[cfg(feature = "tls")]
impl From<rustls::Error> for TlsCause {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                Self::NotTls(None)
            }
            error => Self::Rustls(Arc::new(error)),
        }
    }
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

struct Detail<'a>(&'a Option<TlsCause>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

struct ShownPin<'a>(&'a Option<String>);

impl fmt::Display for ShownPin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pin) => write!(f, "; the pin of its key is {pin}"),
            None => Ok(()),
        }
    }
}
