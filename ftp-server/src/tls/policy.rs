//! The words of TLS that hold with and without the feature `tls`: what is asked for, and what may be
//! wrong with it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether connections are protected by TLS.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TlsPolicy {
    /// They are not, though there is a certificate. On the control connection `AUTH` is not served,
    /// for data `PROT P` is refused; an implicit listener protects its control connections in any
    /// case.
    Off,
    /// The client chooses.
    #[default]
    Optional,
    /// They are. On the control connection a login in clear is 534 (RFC 4217 §10.1), for data a
    /// transfer in clear is 521 (RFC 4217 §10.2).
    Required,
}

/// What is asked of the TLS sessions of data connections: that each resumes one of its own control
/// connection proves that the same client has both (RFC 4217 §10.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SessionReuse {
    /// None is ever resumed: no tickets.
    Off,
    /// Clients may resume or not; events tell which, and
    /// [`Server::resumptions`](crate::Server::resumptions) how many.
    #[default]
    Observe,
    /// The same, with tickets enough for many connections at a time, and a warning for each that
    /// does not resume.
    Prefer,
    /// A data connection that does not resume is refused with 522. Tickets enough for 64 uploads in a
    /// row, and two more with each download or listing. They are good as long as their control
    /// connection, seven days at most (RFC 8446 §4.6.1).
    Require,
}

/// A version of TLS. Older ones are not spoken (RFC 8996).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// Whether clients have to show a certificate of their own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They may; one that is not valid ends the handshake.
    Optional,
    /// They have to: without a valid one there is no handshake.
    Required,
}

impl TlsVersion {
    /// How it is called in log lines: `1.2` or `1.3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// Why there is no TLS by these certificates. Each names the file it is about, or says `the
/// certificate` or `the key` for what did not come from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{file} is empty")]
    Empty {
        /// The file.
        file: String,
    },
    /// No certificate is in it, in the form of PEM.
    #[error("no certificate in {file}")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// No private key is in it, in the form of PEM, or only one behind a pass phrase.
    #[error("no private key in {file}{}", if *.encrypted { " but an encrypted one" } else { "" })]
    NoKey {
        /// The file.
        file: String,
        /// There is one, behind a pass phrase. None is asked for.
        encrypted: bool,
    },
    /// What is in it is broken, or of a kind that is not supported.
    #[error("cannot use {file}: {reason}")]
    Unusable {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is another one's.
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    WrongKey {
        /// Where the certificate is from.
        certificate: String,
        /// Where the key is from.
        key: String,
    },
    /// The certificate was valid once.
    #[error("the certificate in {file} expired at {end}")]
    Expired {
        /// The file.
        file: String,
        /// When: `YYYYMMDDHHMMSSZ`.
        end: String,
    },
    /// The certificate is not valid yet, or the clock is wrong.
    #[error("the certificate in {file} is not valid before {start}")]
    NotYetValid {
        /// The file.
        file: String,
        /// When: `YYYYMMDDHHMMSSZ`.
        start: String,
    },
    /// The library was built without the feature `tls`.
    #[error("built without TLS")]
    Absent,
}

/// How many data connections were protected so far, as [`Server::resumptions`] has it.
///
/// [`Server::resumptions`]: crate::Server::resumptions
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Resumptions {
    /// Those that resumed a session of their control connection.
    pub resumed: u64,
    /// Those that did not: they had a full handshake, and with [`SessionReuse::Require`] were refused
    /// behind it.
    pub missed: u64,
}

/// Counts them while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    resumed: AtomicU64,
    missed: AtomicU64,
}

impl Resumed {
    /// Counts one data connection, and returns how many there are with it.
    pub(crate) fn count(&self, is_resumed: bool) -> Resumptions {
        let count = if is_resumed { &self.resumed } else { &self.missed };
        count.fetch_add(1, Ordering::Relaxed);
        self.get()
    }

    pub(crate) fn get(&self) -> Resumptions {
        let [resumed, missed] =
            [&self.resumed, &self.missed].map(|count| count.load(Ordering::Relaxed));
        Resumptions { resumed, missed }
    }
}

/// How a TLS connection came about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// Its version.
    pub version: TlsVersion,
    /// Whether it resumed a session of the same control connection. A control connection never does.
    pub resumed: bool,
}
