//! Rules about the use of TLS, which exist with and without the feature `tls`.

use std::net::IpAddr;

use ftp_proto::Network;

use super::Tls;
use super::policy::{SessionReuse, TlsPolicy, TlsVersion};
use crate::net::socket;

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
