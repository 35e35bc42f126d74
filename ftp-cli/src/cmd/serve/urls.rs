//! The URLs that clients type, and a warning about passwords that cross a network unencrypted.

use std::net::{IpAddr, SocketAddr};

use ftp_server::TlsPolicy;

/// Ports that a URL can leave out.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// Stands for each address of this computer, of which only its user knows which one clients can reach.
const ANY: &str = "HOST";

/// The addresses, TLS policy and users of a server, for URLs and warnings.
pub(super) struct Listening {
    pub(super) plaintext: Vec<SocketAddr>,
    pub(super) implicit: Vec<SocketAddr>,
    /// TLS before the login at the plaintext addresses; `None` without a certificate.
    pub(super) tls: Option<TlsPolicy>,
    /// The user for the URLs, if there is only one.
    pub(super) user: Option<String>,
    pub(super) has_passwords: bool,
}

impl Listening {
    /// Returns the line with the URLs.
    pub(super) fn line(&self) -> Option<String> {
        let is_encrypted = matches!(self.tls, Some(TlsPolicy::Optional | TlsPolicy::Required));
        let scheme = if is_encrypted { "ftpes" } else { "ftp" };
        let plaintext = self.plaintext.iter().map(|at| self.url(scheme, PORT, *at));
        let implicit = self.implicit.iter().map(|at| self.url("ftps", IMPLICIT_PORT, *at));
        let mut urls: Vec<String> = plaintext.chain(implicit).collect();
        urls.dedup();
        let mut all = self.plaintext.iter().chain(&self.implicit);
        let whose = match all.all(|at| at.ip().to_canonical().is_loopback()) {
            true => "clients on this computer",
            false => "clients",
        };
        (!urls.is_empty()).then(|| format!("{whose} can use {}", urls.join(", ")))
    }

    fn url(&self, scheme: &str, usual: u16, at: SocketAddr) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let host = match at.ip().to_canonical() {
            host if host.is_unspecified() => ANY.to_owned(),
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        };
        let port = Some(at.port()).filter(|port| *port != usual);
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        format!("{scheme}://{user}{host}{port}/")
    }

    /// Returns a warning if passwords can reach this computer unencrypted, as `--check` does. Private
    /// networks have readers, too.
    pub(super) fn warning(&self) -> Option<String> {
        if !self.has_passwords || self.tls == Some(TlsPolicy::Required) {
            return None;
        }
        let mut bound = self.plaintext.iter().map(|at| at.ip().to_canonical());
        let address = bound.find(|at| !at.is_loopback())?;
        let what_to_do = match self.tls {
            None => "use --tls-self-signed or --tls-cert, and --set tls.control=required",
            Some(_) => "use --set tls.control=required",
        };
        Some(format!("warning: clients can send passwords unencrypted to {address}; {what_to_do}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(plaintext: &[&str], implicit: &[&str], tls: Option<TlsPolicy>) -> Listening {
        let addresses = |all: &[&str]| all.iter().map(|at| at.parse().unwrap()).collect();
        let (plaintext, implicit) = (addresses(plaintext), addresses(implicit));
        Listening { plaintext, implicit, tls, user: None, has_passwords: true }
    }

    #[test]
    fn urls_are_those_that_clients_can_type() {
        for (listening, want) in [
            (
                listening(&["127.0.0.1:2121"], &[], None),
                "clients on this computer can use ftp://127.0.0.1:2121/",
            ),
            (listening(&["[::1]:21"], &[], None), "clients on this computer can use ftp://[::1]/"),
            (
                listening(&["0.0.0.0:2121", "[::]:2121"], &[], Some(TlsPolicy::Optional)),
                "clients can use ftpes://HOST:2121/",
            ),
            (
                listening(&["[::]:21"], &["[2001:db8::5]:990"], Some(TlsPolicy::Off)),
                "clients can use ftp://HOST/, ftps://[2001:db8::5]/",
            ),
            (
                Listening {
                    user: Some("me".to_owned()),
                    ..listening(&["127.0.0.1:21", "192.168.1.5:21"], &[], None)
                },
                "clients can use ftp://me@127.0.0.1/, ftp://me@192.168.1.5/",
            ),
        ] {
            assert_eq!(listening.line().as_deref(), Some(want));
        }
        assert_eq!(listening(&[], &[], None).line(), None);
    }

    #[test]
    fn plaintext_passwords_beyond_this_computer_cause_a_warning_li_14() {
        let on_all = |tls| listening(&["0.0.0.0:21"], &[], tls);
        let required = "; use --set tls.control=required";
        let private = "unencrypted to 192.168.1.5; ";
        for (listening, want) in [
            (on_all(None), Some("to 0.0.0.0; use --tls-self-signed")),
            (on_all(Some(TlsPolicy::Optional)), Some(required)),
            (on_all(Some(TlsPolicy::Off)), Some(required)),
            (on_all(Some(TlsPolicy::Required)), None),
            (listening(&["192.168.1.5:21"], &[], None), Some(private)),
            (listening(&["[::ffff:192.168.1.5]:21"], &[], None), Some(private)),
            (listening(&["127.0.0.1:1", "[2001:db8::5]:2"], &[], None), Some("to 2001:db8::5; ")),
            (listening(&["127.0.0.1:21"], &[], None), None),
            (listening(&["[::ffff:127.0.0.1]:21"], &[], None), None),
            (listening(&[], &["198.41.0.4:990"], Some(TlsPolicy::Optional)), None),
            (Listening { has_passwords: false, ..on_all(None) }, None),
        ] {
            let warning = listening.warning();
            assert_eq!(warning.is_some(), want.is_some(), "{warning:?}");
            if let (Some(warning), Some(want)) = (warning, want) {
                assert!(warning.contains(want), "{warning}");
            }
        }
    }
}
