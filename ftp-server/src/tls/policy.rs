//! Types of TLS that exist with and without the feature `tls`: policies and other rules, errors, and
//! the server name of a handshake.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ftp_proto::{HostName, Network};

use super::Tls;
use crate::net::socket;

/// Use of TLS on connections.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TlsPolicy {
    /// Do not use TLS, even with a certificate: `AUTH` is not served, and `PROT P` is refused. An
    /// implicit listener protects its control connections in any case.
    Off,
    /// Let the client choose.
    #[default]
    Optional,
    /// Require TLS. A plaintext login fails with 534, a plaintext transfer with 521 (RFC 4217 §10.1
    /// and §10.2).
    Required,
}

/// Use of TLS session resumption on data connections. A data connection that resumes a session of
/// its control connection is proven to come from the same client (RFC 4217 §10.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SessionReuse {
    /// Never resume: send no tickets.
    Off,
    /// Let clients resume. Events show whether each data connection resumed a session, and
    /// [`Server::resumptions`](crate::Server::resumptions) counts both cases.
    #[default]
    Observe,
    /// Like `Observe`, but send tickets for many connections at a time. If a connection does not
    /// resume a session, log a warning, at most once per second in each session.
    Prefer,
    /// Refuse with 522 data connections that do not resume a session. The tickets are enough for 64
    /// uploads in a row, and each download or listing brings two more. Tickets are valid until the
    /// control connection ends, for seven days at most (RFC 8446 §4.6.1).
    Require,
}

/// A version of TLS. Older versions are not supported (RFC 8996).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// Policy for client certificates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Accept clients without a certificate; an invalid certificate aborts the handshake.
    Optional,
    /// Require a valid certificate; without one the handshake fails.
    Required,
}

impl TlsVersion {
    /// Returns the name in log lines: `1.2` or `1.3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// Reason why a certificate, key or pin cannot be used. Each error names the file. If the data is
/// not from a file, the error names `the certificate`, `the key` or the pin instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is empty.
    #[error("{file} is empty")]
    Empty {
        /// The file.
        file: String,
    },
    /// The file has no PEM certificate.
    #[error("no certificate in {file}")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// The file has no PEM private key, or only an encrypted one.
    #[error(
        "{} private key in {file}{}",
        if *.encrypted { "only an encrypted" } else { "no" },
        if *.encrypted { "; remove its passphrase" } else { "" }
    )]
    NoKey {
        /// The file.
        file: String,
        /// Whether there is a key encrypted with a passphrase, which is not supported.
        encrypted: bool,
    },
    /// The content is broken or of an unsupported kind.
    #[error("cannot use {file}: {reason}")]
    Unusable {
        /// The file.
        file: String,
        /// Description of the error.
        reason: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    WrongKey {
        /// File of the certificate.
        certificate: String,
        /// File of the key.
        key: String,
    },
    /// The certificate has expired.
    #[error("the certificate in {file} expired at {end}")]
    Expired {
        /// The file.
        file: String,
        /// End of the certificate's validity: `YYYYMMDDHHMMSSZ`.
        end: String,
    },
    /// The certificate is not valid yet, or the clock is wrong.
    #[error("the certificate in {file} is not valid before {start}")]
    NotYetValid {
        /// The file.
        file: String,
        /// Beginning of the certificate's validity: `YYYYMMDDHHMMSSZ`.
        start: String,
    },
    /// The library was built without the feature `tls`.
    #[error("built without TLS")]
    Absent,
}

/// Numbers of data connections under TLS, from [`Server::resumptions`].
///
/// [`Server::resumptions`]: crate::Server::resumptions
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Resumptions {
    /// Connections that resumed a session of their control connection.
    pub resumed: u64,
    /// Connections with a full handshake; [`SessionReuse::Require`] refuses them.
    pub missed: u64,
}

/// Counters of data connections under TLS.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    resumed: AtomicU64,
    missed: AtomicU64,
}

impl Resumed {
    /// Counts one data connection. Returns the counts, including this connection.
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

/// TLS of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub version: TlsVersion,
    /// Whether a data connection resumed a session of its control connection; `false` for a control
    /// connection.
    pub resumed: bool,
}

/// The settings of [`Tls`] that are independent of certificates.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsRules {
    pub(crate) control: TlsPolicy,
    pub(crate) data: TlsPolicy,
    pub(crate) reuse: SessionReuse,
    pub(crate) allow_missing_close_notify: bool,
    pub(super) min_version: TlsVersion,
    /// Whether a login needs a certificate of the user.
    pub(crate) cert_user: bool,
    exempt: Vec<Network>,
    pub(crate) auth_ssl_alias: bool,
}

impl TlsRules {
    /// Returns whether a client is exempt from required TLS.
    pub(crate) fn is_exempt(&self, peer: IpAddr) -> bool {
        socket::is_in(&self.exempt, peer)
    }
}

impl Tls {
    /// Sets the policy of control connections (default: [`TlsPolicy::Optional`]).
    #[must_use]
    pub fn control(mut self, policy: TlsPolicy) -> Self {
        self.rules().control = policy;
        self
    }

    /// Sets the policy of data connections (default: [`TlsPolicy::Optional`]).
    #[must_use]
    pub fn data(mut self, policy: TlsPolicy) -> Self {
        self.rules().data = policy;
        self
    }

    /// Sets the use of session resumption (default: [`SessionReuse::Observe`]).
    #[must_use]
    pub fn session_reuse(mut self, reuse: SessionReuse) -> Self {
        self.rules().reuse = reuse;
        self
    }

    /// Sets whether TLS uploads may end without `close_notify`, as old clients need (default:
    /// `false`). If they may, a truncated upload looks complete.
    #[must_use]
    pub fn allow_missing_close_notify(mut self, allow: bool) -> Self {
        self.rules().allow_missing_close_notify = allow;
        self
    }

    /// Sets the oldest TLS version to accept (default: [`TlsVersion::V1_2`]).
    #[must_use]
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.rules().min_version = version;
        self
    }

    /// Sets whether a login needs a client certificate whose common name or mail address is the
    /// argument of `USER` (default: `false`). Other logins get 530.
    #[must_use]
    pub fn cert_user(mut self, needed: bool) -> Self {
        self.rules().cert_user = needed;
        self
    }

    /// Sets networks whose clients are exempt from required TLS (default: none). Users with
    /// [`Login::tls`](crate::Login::tls) set to [`TlsPolicy::Required`] still need TLS.
    #[must_use]
    pub fn exempt(mut self, networks: Vec<Network>) -> Self {
        self.rules().exempt = networks;
        self
    }

    /// Sets whether to serve `AUTH SSL` and `AUTH TLS-P` of drafts before RFC 4217 (default:
    /// `false`). If `false`, they fail with 504. If `true`, they have the effect of `AUTH TLS`, and
    /// data connections are protected from the start.
    #[must_use]
    pub fn auth_ssl_alias(mut self, served: bool) -> Self {
        self.rules().auth_ssl_alias = served;
        self
    }
}

/// The server name that a client sent in the handshake of its control connection (RFC 6066 §3).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there are no handshakes"))]
pub(crate) enum AskedName {
    Missing,
    /// A name that no host can have, such as one with an underscore.
    Foreign,
    Host(HostName),
}

#[cfg(feature = "tls")]
impl AskedName {
    /// Returns the name in a `ClientHello`. Ignores a final dot, which RFC 6066 forbids.
    pub(super) fn of(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::Missing };
        let name = name.strip_suffix('.').unwrap_or(name);
        HostName::parse(name.as_bytes()).map_or(Self::Foreign, Self::Host)
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn requested_server_names_are_classified() {
        let host = |text: &str| AskedName::Host(HostName::parse(text.as_bytes()).unwrap());
        for (name, want) in [
            (None, AskedName::Missing),
            (Some("A.example.org"), host("a.example.org")),
            (Some("a.example.org."), host("a.example.org")),
            (Some("a.example.org.."), AskedName::Foreign),
            (Some("ftp_a.example.org"), AskedName::Foreign),
            (Some("."), AskedName::Foreign),
        ] {
            assert_eq!(AskedName::of(name), want, "{name:?}");
        }
    }
}
