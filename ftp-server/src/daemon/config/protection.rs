//! The keys of `[tls]`, and contradictions among them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_proto::Network;

use super::row::with_defaults;
use crate::{ClientCertificates, SessionReuse, TlsPolicy, TlsVersion};

with_defaults! {
    /// TLS settings of connections.
    #[derive(Clone, Debug)]
    pub(crate) struct Protection {
        /// PEM files of the certificate and its key.
        pub(crate) certificate: Option<PathBuf>,
        pub(crate) key: Option<PathBuf>,
        /// Whether to use a self-signed certificate, which is created once and kept, instead of the
        /// files.
        pub(crate) self_signed: bool,
        /// Interval for loading changed files; zero loads them only on reload.
        pub(crate) watch: Duration = Duration::from_secs(60),
        pub(crate) control: TlsPolicy,
        pub(crate) data: TlsPolicy,
        pub(crate) session_reuse: SessionReuse,
        pub(crate) allow_missing_close_notify: bool,
        pub(crate) min_version: TlsVersion,
        /// File of the CAs whose client certificates the server accepts.
        pub(crate) client_ca: Option<PathBuf>,
        pub(crate) client_certificates: ClientCertificates = ClientCertificates::Optional,
        pub(crate) cert_user: bool,
        pub(crate) exempt: Vec<Network>,
        pub(crate) auth_ssl_alias: bool,
        /// File of the CAs that issue the certificates of other servers, for `SSCN`.
        pub(crate) sscn_ca: Option<PathBuf>,
        /// Pins of other servers, for `SSCN`.
        pub(crate) sscn_pins: Vec<String>,
        /// Whether to trust any other server, for `SSCN`.
        pub(crate) sscn_any: bool,
    }
}

impl Protection {
    /// Returns whether a certificate is set, or the server creates a self-signed one.
    pub(crate) const fn is_on(&self) -> bool {
        self.certificate.is_some() || self.self_signed
    }

    /// Returns the files that are loaded, each with its settings key.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        let files = [
            ("tls.certificate", &self.certificate),
            ("tls.key", &self.key),
            ("tls.client_ca", &self.client_ca),
            ("tls.sscn_ca", &self.sscn_ca),
        ];
        files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?))).collect()
    }

    /// Returns each contradiction: the wrong key, and the reason. `is_implicit` tells whether some
    /// address has implicit TLS, and `has_fxp` whether `fxp.networks` is set.
    pub(super) fn contradictions(
        &self,
        is_implicit: bool,
        has_fxp: bool,
    ) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut needs = |key, is_set: bool, is_there: bool, what: &str| {
            if is_set && !is_there {
                wrong.push((key, format!("needs {what}")));
            }
        };
        let required = TlsPolicy::Required;
        let by_files = self.certificate.is_some();
        needs("tls.certificate", by_files, self.key.is_some(), "tls.key");
        needs("tls.key", self.key.is_some(), by_files, "tls.certificate");
        for (key, is_set) in [
            ("listen.implicit_tls", is_implicit),
            ("tls.control", self.control == required),
            ("tls.data", self.data == required),
            ("tls.session_reuse", self.session_reuse == SessionReuse::Require),
            ("tls.client_ca", self.client_ca.is_some()),
        ] {
            needs(key, is_set, self.is_on(), CERTIFICATE);
        }
        let ca = self.client_ca.is_some();
        let must_show = self.client_certificates == ClientCertificates::Required;
        needs("tls.client_certificates", must_show, ca, "tls.client_ca");
        needs("tls.cert_user", self.cert_user, ca, "tls.client_ca");
        for (key, is_set) in self.sscn() {
            needs(key, is_set, self.is_on(), CERTIFICATE);
            needs(key, is_set, self.data != TlsPolicy::Off, "tls.data other than off");
            needs(key, is_set, self.can_protect(is_implicit), CONTROL);
            needs(key, is_set, has_fxp, "fxp.networks");
        }
        // Data connections can be protected only if the control connection is.
        let data = self.data == required && self.is_on();
        needs("tls.data", data, self.can_protect(is_implicit), CONTROL);
        if by_files && self.self_signed {
            wrong.push(("tls.self_signed", "cannot be combined with tls.certificate".to_owned()));
        }
        let [(ca, has_ca), (pins, has_pins), (any, has_any)] = self.sscn();
        if let Some(other) = has_ca.then_some(ca).or(has_pins.then_some(pins)).filter(|_| has_any) {
            wrong.push((any, format!("cannot be combined with {other}")));
        }
        wrong
    }

    /// Returns the missing settings that users who must use TLS need, if any.
    pub(super) fn lacks_for_users(&self, is_implicit: bool) -> Option<&'static str> {
        match (self.is_on(), self.can_protect(is_implicit), self.data) {
            (false, ..) => Some(CERTIFICATE),
            (true, false, _) => Some(CONTROL),
            (true, true, TlsPolicy::Off) => Some("tls.data other than off"),
            (true, true, _) => None,
        }
    }

    /// Returns the settings keys for `SSCN`, and whether each is set.
    fn sscn(&self) -> [(&'static str, bool); 3] {
        [
            ("tls.sscn_ca", self.sscn_ca.is_some()),
            ("tls.sscn_pins", !self.sscn_pins.is_empty()),
            ("tls.sscn_any", self.sscn_any),
        ]
    }

    fn can_protect(&self, is_implicit: bool) -> bool {
        self.control != TlsPolicy::Off || is_implicit
    }
}

/// Settings that TLS needs, even if only a virtual host uses it.
pub(super) const CERTIFICATE: &str = "tls.certificate and tls.key, or tls.self_signed";

/// Settings that TLS on a control connection needs.
const CONTROL: &str = "tls.control other than off, or listen.implicit_tls";

#[cfg(test)]
mod tests {
    use crate::daemon::config::Settings;

    #[test]
    fn tls_requirements_need_the_settings_they_depend_on() {
        let pair = ["tls.certificate=/c", "tls.key=/k"];
        for (assignments, want) in [
            (&["tls.control=required"][..], "tls.control: needs tls.certificate and tls.key"),
            (&["tls.data=required"], "tls.data: needs tls.certificate"),
            (&["tls.session_reuse=require"], "tls.session_reuse: needs tls.certificate"),
            (&["listen.implicit_tls=990"], "listen.implicit_tls: needs tls.certificate"),
            (&["tls.client_ca=/ca"], "tls.client_ca: needs tls.certificate"),
            (&["tls.certificate=/c"], "tls.certificate: needs tls.key"),
            (&["tls.key=/k"], "tls.key: needs tls.certificate"),
            (&["tls.client_certificates=required"], "client_certificates: needs tls.client_ca"),
            (&["tls.cert_user=true"], "tls.cert_user: needs tls.client_ca"),
            (&[pair[0], pair[1], "tls.self_signed=true"], "tls.self_signed: cannot be combined"),
            (
                &["tls.self_signed=true", "tls.control=off", "tls.data=required"],
                "tls.data: needs tls.control",
            ),
            (&["tls.sscn_any=true"], "tls.sscn_any: needs tls.certificate"),
            (&[pair[0], pair[1], "tls.sscn_ca=/ca"], "tls.sscn_ca: needs fxp.networks"),
            (
                &["tls.self_signed=true", "tls.data=off", "tls.sscn_any=true"],
                "tls.sscn_any: needs tls.data other than off",
            ),
            (
                &["tls.self_signed=true", "tls.control=off", "tls.sscn_any=true"],
                "tls.sscn_any: needs tls.control other than off",
            ),
            (
                &["tls.sscn_ca=/ca", "tls.sscn_any=true"],
                "tls.sscn_any: cannot be combined with tls.sscn_ca",
            ),
            (&["users.a.tls=required"], "users.a.tls: needs tls.certificate"),
            (
                &["tls.self_signed=true", "tls.control=off", "users.a.tls=required"],
                "users.a.tls: needs tls.control",
            ),
            (
                &["tls.self_signed=true", "tls.data=off", "users.a.tls=required"],
                "users.a.tls: needs tls.data other than off",
            ),
        ] {
            let mut settings = Settings::default();
            assignments.iter().for_each(|assignment| settings.assign(assignment).unwrap());
            let found = settings.contradictions().join("\n");
            assert!(found.contains(want), "{assignments:?}: {found}");
        }
        for assignments in [
            &[][..],
            &[pair[0], pair[1], "tls.control=required", "tls.data=required"],
            &["tls.self_signed=true", "tls.session_reuse=require", "listen.implicit_tls=990"],
            &[
                "tls.self_signed=true",
                "listen.implicit_tls=990",
                "tls.control=off",
                "tls.data=required",
            ],
            &[pair[0], pair[1], "tls.client_ca=/ca", "tls.cert_user=true"],
            &[pair[0], pair[1], "tls.sscn_ca=/ca", "fxp.networks=192.0.2.0/24"],
        ] {
            let mut settings = Settings::default();
            assignments.iter().for_each(|assignment| settings.assign(assignment).unwrap());
            assert_eq!(settings.contradictions(), Vec::<String>::new(), "{assignments:?}");
        }
    }
}
