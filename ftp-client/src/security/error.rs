//! What goes wrong with TLS.

use std::fmt;
use std::path::PathBuf;

use ftp_proto::{Reply, Verb};

/// Why a connection is not protected as it should be. Nothing was sent on it in clear that should
/// not have been.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// This library was built without the feature `tls`.
    #[error("this program was built without TLS")]
    Absent,
    /// A file of certificates or keys is of no use.
    #[error("{}: {reason}", path.display())]
    File {
        /// Its name.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings cannot be met, such as system roots where the system has none.
    #[error("{0}")]
    Settings(String),
    /// The server did not take `AUTH TLS`. Nobody was logged in.
    #[error("the server refuses TLS: {0}")]
    Refused(Reply),
    /// The server did not take `PBSZ` or `PROT`, and data connections would not be as they were to
    /// be. The connection is closed.
    #[error("the server refuses to protect data connections as asked: {0} refused: {1}")]
    DataProtectionRefused(Verb, Reply),
    /// The server sent plaintext after its consent to TLS, which somebody on the way may
    /// have put there. The connection is closed, and the bytes were not looked at.
    #[error("clear text came behind the server's consent to TLS; somebody may have put it there")]
    InjectedPlaintext,
    /// A data connection ended without the word that TLS has for its end (`close_notify`): what
    /// came may have been cut, whatever the server says.
    #[error("the data ended without the end that TLS marks: it may have been cut on the way")]
    TruncatedTls,
    /// Both servers confirmed a file that went from one to the other under TLS
    /// ([`fxp`](crate::fxp)), and do not tell its size. Some take it for whole when the connection
    /// breaks, whatever TLS says of the end, so that it may be cut.
    #[error(
        "both servers confirmed what went between them under TLS, but without sizes to compare it \
         may have been cut on the way"
    )]
    Unchecked,
    /// The server's certificate was refused.
    #[error("the server's certificate is refused: {fault}{}{}", Detail(.detail), Digest(.pin))]
    Certificate {
        /// What is wrong with it.
        fault: CertificateFault,
        /// The same in detail, for people; may be empty.
        detail: String,
        /// What [`Tls::pin`](crate::Tls::pin) would accept it by, if its key can be found.
        pin: Option<String>,
    },
    /// The two sides cannot agree, or one of them breaks the rules of TLS.
    #[error("TLS failed: {0}")]
    Failed(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for another name.
    WrongName,
    /// Nobody who is trusted here has issued it.
    UnknownIssuer,
    /// It is not for servers.
    WrongPurpose,
    /// It is withdrawn.
    Revoked,
    /// Its key is none of those that were named.
    NotPinned,
    /// It is another than that of the control connection.
    NotOfControl,
    /// Anything else, such as one that cannot be read.
    Other,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it is for another name",
            Self::UnknownIssuer => "its issuer is not trusted here",
            Self::WrongPurpose => "it is not for servers",
            Self::Revoked => "it is revoked",
            Self::NotPinned => "its key is not the pinned one",
            Self::NotOfControl => "it is another than that of the control connection",
            Self::Other => "it is of no use",
        })
    }
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
            Some(pin) => write!(f, "; the digest of its key, by which it can be pinned, is {pin}"),
            None => Ok(()),
        }
    }
}
