//! TLS as callers see it (RFC 4217): what they ask for, what came of it, and what went wrong. The
//! cryptography is in `tls/`.

mod error;
mod pin;

pub use error::{CertificateFault, TlsError};

use std::fmt;
use std::path::{Path, PathBuf};
#[cfg(feature = "tls")]
use std::sync::Arc;

use ftp_proto::{ParseError, ProtectionLevel};
#[cfg(feature = "tls")]
use rustls::{ClientConfig, crypto::CryptoProvider};

pub(crate) use pin::Pin;

/// How a client protects its connections by TLS.
///
/// The certificate of the server has to be valid for the name that the caller gave, and to come
/// from an authority that the system trusts, unless [`ca_file`](Self::ca_file) names others or
/// [`pin`](Self::pin) names the key itself. Data connections are protected as well, must show the
/// same certificate as the control connection, and resume its session where the server lets them.
///
/// ```no_run
/// use ftp_client::{Client, Tls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::explicit().pin("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")?;
/// let mut client = Client::builder().tls(tls).connect("nas.local")?;
/// client.login("me", "secret")?;
/// let tls = client.tls().expect("Tls::explicit() demands it");
/// println!("{} with {}", tls.version, tls.cipher);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "it is for ClientBuilder::tls"]
pub struct Tls {
    pub(crate) start: Start,
    pub(crate) roots: Roots,
    pub(crate) pins: Vec<Pin>,
    /// The files of a certificate and of its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) data: ProtectionLevel,
    pub(crate) before_login: bool,
    pub(crate) accepts_anything: bool,
    pub(crate) versions: (TlsVersion, TlsVersion),
    pub(crate) resumes: bool,
    #[cfg(feature = "tls")]
    pub(crate) provider: Option<Given<CryptoProvider>>,
    #[cfg(feature = "tls")]
    pub(crate) config: Option<Given<ClientConfig>>,
}

/// What the caller made by rustls. The same only as itself.
#[cfg(feature = "tls")]
#[derive(Debug)]
pub(crate) struct Given<T>(pub(crate) Arc<T>);

#[cfg(feature = "tls")]
impl<T> Clone for Given<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(feature = "tls")]
impl<T> PartialEq for Given<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(feature = "tls")]
impl<T> Eq for Given<T> {}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// With the first byte, before the greeting.
    Implicit,
    /// Behind `AUTH TLS`, which the server must take.
    Explicit,
    /// Behind `AUTH TLS`, if the server knows it.
    Opportunistic,
}

/// Whose signature under a certificate counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Roots {
    /// That of the authorities which the system trusts.
    System,
    /// That of the certificates in a PEM file.
    File(PathBuf),
    /// That of these certificates, DER.
    Certificates(Vec<Vec<u8>>),
}

impl Tls {
    /// TLS that begins with `AUTH TLS`, on the ordinary port (`ftpes://`). A server that refuses it
    /// is not logged in to.
    pub const fn explicit() -> Self {
        Self::starting(Start::Explicit)
    }

    /// TLS from the first byte on, by convention on port 990 (`ftps://`).
    pub const fn implicit() -> Self {
        Self::starting(Start::Implicit)
    }

    /// TLS if the server knows `AUTH TLS`, and clear text, passwords included, if it answers 500,
    /// 502, 504 or 534 to it: [`Client::tls_refusal`](crate::Client::tls_refusal) tells before
    /// anybody logs in. Whoever can change what goes over the network can make that answer.
    pub const fn opportunistic() -> Self {
        Self::starting(Start::Opportunistic)
    }

    const fn starting(start: Start) -> Self {
        Self {
            start,
            roots: Roots::System,
            pins: Vec::new(),
            client: None,
            data: ProtectionLevel::Private,
            before_login: false,
            accepts_anything: false,
            versions: (TlsVersion::V1_2, TlsVersion::V1_3),
            resumes: true,
            #[cfg(feature = "tls")]
            provider: None,
            #[cfg(feature = "tls")]
            config: None,
        }
    }

    /// Where the cryptography comes from, instead of ring: a hardware module, or what a standard
    /// demands. TLS 1.2 and 1.3 have to be among what it can do, unless one of them is ruled out.
    #[cfg(feature = "tls")]
    pub fn crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(Given(provider.into()));
        self
    }

    /// TLS as a configuration of rustls says: its versions, cipher suites, client certificates, and
    /// its verifier, which judges the server's certificate and name on every connection.
    /// [`versions`](Self::versions), [`ca_file`](Self::ca_file), [`roots`](Self::roots),
    /// [`client_certificate`](Self::client_certificate), [`crypto_provider`](Self::crypto_provider)
    /// and [`accept_invalid_certificates`](Self::accept_invalid_certificates) change nothing then.
    ///
    /// A [pin](Self::pin) is demanded as well as what the verifier demands, and does not stand in
    /// for it. Data connections must show the certificate of the control connection, as always.
    /// Both are looked at after the handshake, before anything is sent or read, so that the server
    /// gets no alert about them.
    ///
    /// Sessions are those of [`resume_sessions`](Self::resume_sessions), kept by each client for
    /// itself, since what is resumed tells whose a data connection is. There is no early data, and
    /// a configuration without ALPN gets `ftp`.
    ///
    /// ```no_run
    /// use ftp_client::rustls::{ClientConfig, RootCertStore};
    /// use ftp_client::{Client, Tls};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut roots = RootCertStore::empty();
    /// roots.add(std::fs::read("ca.der")?.into())?;
    /// let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    /// let tls = Tls::explicit().rustls_config(config);
    /// let mut client = Client::builder().tls(tls).connect("ftp.example.org")?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn rustls_config(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.config = Some(Given(config.into()));
        self
    }

    /// The authorities that are trusted instead of the system's: a file of certificates in PEM,
    /// read when the client connects.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.roots = Roots::File(path.as_ref().to_owned());
        self
    }

    /// The same, given as certificates in DER.
    pub fn roots(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.roots = Roots::Certificates(certificates.into_iter().collect());
        self
    }

    /// Accepts the certificate whose public key has this digest, whoever issued it, for whatever
    /// name and time, and no other: `sha256//` and the SHA-256 of the key's
    /// `SubjectPublicKeyInfo` in base64, as curl writes it. Small hosts have certificates that
    /// they signed themselves. Called again, it adds another that is as good. Authorities do not
    /// count any more.
    ///
    /// # Errors
    ///
    /// `UnknownWord` for another beginning, `UnexpectedByte` and `UnexpectedEnd` for what is not
    /// the base64 of 32 bytes.
    pub fn pin(mut self, pin: &str) -> Result<Self, ParseError> {
        self.pins.push(Pin::parse(pin)?);
        Ok(self)
    }

    /// The certificate and the private key that the server is shown if it asks: PEM files, read
    /// when the client connects. The certificates of authorities in between may follow the first.
    pub fn client_certificate(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        self.client = Some((certificate.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }

    /// Leaves files and listings in clear (`PROT C`): only commands, and passwords with them, are
    /// protected. Needed for copies between servers that cannot protect them.
    pub const fn data_in_clear(mut self) -> Self {
        self.data = ProtectionLevel::Clear;
        self
    }

    /// Sends `PBSZ` and `PROT` before `USER`, not after the login (RFC 4217 §10.3), so that a
    /// server that refuses them is not even told a name.
    pub const fn protect_before_login(mut self, on: bool) -> Self {
        self.before_login = on;
        self
    }

    /// Accepts whatever certificate the server shows, so that whoever is on the way can be the
    /// server. What the control connection showed, data connections must show as well.
    pub const fn accept_invalid_certificates(mut self, on: bool) -> Self {
        self.accepts_anything = on;
        self
    }

    /// The oldest and the newest version to agree on: TLS 1.2 and TLS 1.3 by default.
    pub const fn versions(mut self, oldest: TlsVersion, newest: TlsVersion) -> Self {
        self.versions = (oldest, newest);
        self
    }

    /// Whether data connections resume the session of the control connection where the server lets
    /// them; they do, by default. Without it a server that insists on that is found out.
    pub const fn resume_sessions(mut self, on: bool) -> Self {
        self.resumes = on;
        self
    }

    /// The same with TLS from the first byte on, or after an `AUTH TLS` that must be taken.
    pub(crate) const fn required(mut self, is_implicit: bool) -> Self {
        self.start = if is_implicit { Start::Implicit } else { Start::Explicit };
        self
    }
}

/// A version of TLS. Older ones are not spoken here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

/// What was agreed on with a server by TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of the control connection.
    pub version: TlsVersion,
    /// The name of its cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the server said by ALPN that it speaks FTP (RFC 7301). Most do not say.
    pub alpn: bool,
    /// The server's certificate, and those of authorities that it sent after it, DER.
    pub certificates: Vec<Vec<u8>>,
    /// What [`Tls::pin`] would accept exactly this server by; `None` for a certificate whose key
    /// cannot be found.
    pub pin: Option<String>,
    /// How many data connections were put under TLS.
    pub data_connections: u64,
    /// How many of them resumed a session, and so proved to belong to this one.
    pub resumed: u64,
}
