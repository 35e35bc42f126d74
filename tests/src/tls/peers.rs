//! Other servers, under TLS.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::{Pair, PairFiles, TlsClient, Version};
use crate::peer::{Peer, RealServer};
use crate::raw::{DEADLINE, RawSession};
use crate::root::TempRoot;

/// The TLS settings of a server.
#[derive(Clone, Copy, Debug)]
pub struct Secured<'a> {
    /// The server's certificate and key.
    pub pair: &'a Pair,
    /// The only version that the server offers; `None` for both.
    pub version: Option<Version>,
    /// Whether the server begins with the handshake; otherwise it waits for `AUTH TLS`, and accepts
    /// plaintext.
    pub implicit: bool,
    /// Whether a data connection must resume a session of its control connection.
    pub reuse: bool,
}

impl<'a> Secured<'a> {
    /// Returns settings for explicit TLS of both versions, without required resumption.
    #[must_use]
    pub const fn by(pair: &'a Pair) -> Self {
        Self { pair, version: None, implicit: false, reuse: false }
    }

    /// Returns the path of an OpenSSL configuration for this version; `None` for both.
    #[track_caller]
    fn openssl(&self, etc: &TempRoot) -> Option<PathBuf> {
        let name = self.version?.name();
        let text = format!(
            "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n\
             [default]\nMinProtocol = {name}\nMaxProtocol = {name}\n"
        );
        Some(etc.write("openssl.cnf", text.as_bytes()))
    }

    /// Limits `command` to the version, by an OpenSSL configuration.
    #[track_caller]
    fn limit(&self, command: &mut Command, etc: &TempRoot) {
        command.envs(self.openssl(etc).map(|path| ("OPENSSL_CONF", path)));
    }

    /// Returns whether the server sends a greeting at `address` yet.
    fn greets(&self, address: SocketAddr) -> bool {
        let greeting = || {
            let tcp = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
            let mut session = RawSession::over(tcp.try_clone().ok()?);
            if self.implicit {
                let tls = TlsClient::trusting_any_certificate().connect(tcp).ok()?;
                session.put_on(Box::new(tls));
            }
            session.try_reply().ok()
        };
        greeting().is_some_and(|reply| reply.code == 220)
    }
}

impl RealServer {
    /// Starts [`vsftpd`](Self::vsftpd) with TLS, with `require_ssl_reuse` and `implicit_ssl` as
    /// requested.
    #[track_caller]
    #[must_use]
    pub fn vsftpd_tls(host: impl Into<IpAddr>, secured: Secured<'_>) -> Option<Self> {
        let more = |config: &mut String, etc: &TempRoot| {
            let PairFiles { certificate, key, .. } = secured.pair.write(etc, "server");
            let yes = |is| if is { "YES" } else { "NO" };
            config.push_str(&format!(
                "ssl_enable=YES\nallow_anon_ssl=YES\nssl_ciphers=HIGH\n\
                 rsa_cert_file={}\nrsa_private_key_file={}\n\
                 require_ssl_reuse={}\nimplicit_ssl={}\n",
                certificate.display(),
                key.display(),
                yes(secured.reuse),
                yes(secured.implicit),
            ));
        };
        let limit = |command: &mut Command, etc: &TempRoot| secured.limit(command, etc);
        Self::vsftpd_with(host, more, limit, |address| secured.greets(address))
    }

    /// Starts [`proftpd_at`](Self::proftpd_at) with `mod_tls`, which must be where the package
    /// installs it, relative to the program. ProFTPD requires resumption unless
    /// `NoSessionReuseRequired` is set, and accepts `UseImplicitSSL`.
    #[track_caller]
    #[must_use]
    pub fn proftpd_tls(host: impl Into<IpAddr>, secured: Secured<'_>) -> Option<Self> {
        let program = PathBuf::from(Peer::find("proftpd")?.command().get_program());
        let above = program.ancestors().nth(2).unwrap_or(&program);
        let modules = above.join("lib/proftpd");
        if !modules.join("mod_tls.so").is_file() {
            crate::peer::skipped("ProFTPD's mod_tls is not installed");
            return None;
        }
        let more = |etc: &TempRoot| {
            let PairFiles { certificate, key, .. } = secured.pair.write(etc, "server");
            let mut options = Vec::new();
            options.extend((!secured.reuse).then_some("NoSessionReuseRequired"));
            options.extend(secured.implicit.then_some("UseImplicitSSL"));
            let options = match &options[..] {
                [] => String::new(),
                options => format!("TLSOptions {}\n", options.join(" ")),
            };
            let protocol = secured.version.map_or("TLSv1.2 TLSv1.3", Version::name);
            format!(
                "ModulePath {}\nLoadModule mod_tls.c\nTLSEngine on\nTLSLog {}\n\
                 TLSProtocol {protocol}\nTLSRequired off\nTLSVerifyClient off\nTLSVerifyServer off\n\
                 TLSECCertificateFile {}\nTLSECCertificateKeyFile {}\n{options}",
                modules.display(),
                etc.join("tls.log").display(),
                certificate.display(),
                key.display(),
            )
        };
        Self::proftpd_with(host, more, |address| secured.greets(address))
    }

    /// Starts [`pure_ftpd_at`](Self::pure_ftpd_at) with TLS. Pure-FTPd has neither implicit TLS nor
    /// required resumption: a test that asks for either fails.
    #[track_caller]
    #[must_use]
    pub fn pure_ftpd_tls(host: impl Into<IpAddr>, secured: Secured<'_>) -> Option<Self> {
        assert!(!secured.implicit && !secured.reuse, "Pure-FTPd can neither: {secured:?}");
        let more = |command: &mut Command, etc: &TempRoot| {
            let both = secured.pair.write(etc, "server").both;
            command.arg("--tls=1").arg(format!("--certfile={}", both.display()));
            command.arg("--allowuserfxp");
            secured.limit(command, etc);
        };
        Self::pure_ftpd_with(host, more)
    }

    /// Starts [`pyftpdlib_at`](Self::pyftpdlib_at) with TLS, by its `TLS_FTPHandler`, which uses
    /// Python's OpenSSL. pyftpdlib cannot require resumption: a test that asks for it fails.
    #[track_caller]
    #[must_use]
    pub fn pyftpdlib_tls(host: impl Into<IpAddr>, secured: Secured<'_>) -> Option<Self> {
        assert!(!secured.reuse, "pyftpdlib cannot: {secured:?}");
        let python = Peer::python("OpenSSL, pyftpdlib.handlers")?;
        let more = |command: &mut Command, etc: &TempRoot| {
            command.arg(secured.pair.write(etc, "server").both);
            command.arg(if secured.implicit { "implicit" } else { "explicit" });
            command.arg(secured.version.map_or("both", Version::name));
        };
        let script = include_str!("../peer/pyftpdlib_serve.py");
        Some(Self::script_with(host, &python, script, more, |address| secured.greets(address)))
    }
}
