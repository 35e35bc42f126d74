//! TLS as the caller sees it (RFC 4217): settings and results.

// The cryptography is in `tls/`.

use std::fmt;
use std::path::{Path, PathBuf};
#[cfg(feature = "tls")]
use std::sync::Arc;

use ftp_proto::{ParseError, ParseErrorKind, ProtectionLevel};
#[cfg(feature = "tls")]
use rustls::{ClientConfig, crypto::CryptoProvider};

use crate::digest::{Base64, LETTERS, from_base64};

/// TLS settings of a client.
///
/// The server's certificate must be valid for the name that the caller gave, and be issued by a CA
/// that the system trusts. [`ca_file`](Self::ca_file) sets other CAs; [`pin`](Self::pin) accepts a
/// key instead. Data connections are protected too: they must show the same certificate as the
/// control connection, and they resume its session if the server allows it.
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
    pub(crate) start: TlsStart,
    pub(crate) roots: Roots,
    pub(crate) pins: Vec<Pin>,
    /// The paths of a certificate and its key.
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

/// A value that the caller built with rustls. Two values are equal only if they share the same
/// `Arc`.
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TlsStart {
    /// With the first byte, before the greeting.
    Implicit,
    /// After `AUTH TLS`, which the server must accept.
    Explicit,
    /// After `AUTH TLS`, if the server accepts it; otherwise never.
    Opportunistic,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Roots {
    System,
    /// The certificates in a PEM file.
    File(PathBuf),
    /// These certificates in DER.
    Certificates(Vec<Vec<u8>>),
}

impl Tls {
    /// Returns settings for TLS with `AUTH TLS` on the ordinary port (`ftpes://`).
    ///
    /// If the server refuses, the client does not log in.
    pub const fn explicit() -> Self {
        Self::starting(TlsStart::Explicit)
    }

    /// Returns settings for TLS from the first byte on, usually on port 990 (`ftps://`).
    pub const fn implicit() -> Self {
        Self::starting(TlsStart::Implicit)
    }

    /// Returns settings that use TLS only if the server supports `AUTH TLS`. Otherwise, everything
    /// is sent in plaintext, passwords included.
    ///
    /// The client continues in plaintext if the server answers `AUTH TLS` with 500, 502, 504 or
    /// 534; check [`Client::tls_refusal`](crate::Client::tls_refusal) before logging in. An
    /// attacker on the network can forge such an answer.
    pub const fn opportunistic() -> Self {
        Self::starting(TlsStart::Opportunistic)
    }

    const fn starting(start: TlsStart) -> Self {
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

    /// Sets the cryptography provider (default: ring), for example one that uses a hardware module
    /// or a certified library.
    ///
    /// It must support TLS 1.2 and 1.3, unless [`versions`](Self::versions) excludes one of them.
    #[cfg(feature = "tls")]
    pub fn crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(Given(provider.into()));
        self
    }

    /// Uses a rustls configuration: its versions, cipher suites and client certificates, and its
    /// verifier, which checks the server's certificate and name on every connection.
    ///
    /// These settings then have no effect: [`versions`](Self::versions),
    /// [`ca_file`](Self::ca_file), [`roots`](Self::roots),
    /// [`client_certificate`](Self::client_certificate), [`crypto_provider`](Self::crypto_provider)
    /// and [`accept_invalid_certificates`](Self::accept_invalid_certificates).
    ///
    /// If [pins](Self::pin) are set, the key must match one of them in addition to the verifier's
    /// checks. As always, data connections must show the certificate of the control connection.
    /// These two checks follow the handshake and precede any data, so the server gets no alert if
    /// they fail.
    ///
    /// Each client replaces the configuration's session store with its own, or with none if
    /// [`resume_sessions`](Self::resume_sessions) is off. Early data is disabled, and a
    /// configuration without ALPN protocols gets `ftp`.
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

    /// Sets a PEM file of trusted CAs, which replace the system's CAs. It can also contain the server's
    /// own self-signed certificate. The file is read when the client connects.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.roots = Roots::File(path.as_ref().to_owned());
        self
    }

    /// Sets the trusted CAs as DER certificates, which replace the system's CAs.
    pub fn roots(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.roots = Roots::Certificates(certificates.into_iter().collect());
        self
    }

    /// Accepts only a certificate whose public key has this digest, whatever the certificate's
    /// issuer, name and validity.
    ///
    /// `pin` is `sha256//` and the SHA-256 of the key's `SubjectPublicKeyInfo` in base64, as curl
    /// writes it. Use it for self-signed certificates. Further calls add alternatives. If a pin is
    /// set, trusted CAs are ignored.
    ///
    /// # Errors
    ///
    /// Returns `UnknownWord` for another prefix, and `UnexpectedByte` or `UnexpectedEnd` if the
    /// rest is not the base64 of 32 bytes.
    pub fn pin(mut self, pin: &str) -> Result<Self, ParseError> {
        self.pins.push(Pin::parse(pin)?);
        Ok(self)
    }

    /// Sets the client certificate to show if the server asks for one (mutual TLS), and its private
    /// key.
    ///
    /// Both are PEM files, read when the client connects. In the certificate file, intermediate
    /// certificates may follow the client certificate.
    pub fn client_certificate(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        self.client = Some((certificate.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }

    /// Leaves files and listings unencrypted (`PROT C`); only commands and passwords are protected.
    ///
    /// Use it for copies between two servers that cannot encrypt the data connection between them.
    pub const fn data_in_clear(mut self) -> Self {
        self.data = ProtectionLevel::Clear;
        self
    }

    setters! {
        /// Sets whether to send `PBSZ` and `PROT` before `USER` instead of after the login (RFC 4217
        /// §10.3; default: no).
        ///
        /// A server that refuses `PROT` then does not even learn the user's name.
        protect_before_login(on: bool) => before_login = on;
        /// Sets whether to accept any certificate (insecure; default: no).
        ///
        /// An attacker on the network can then impersonate the server, since [pins](Self::pin) and CAs
        /// are ignored. Data connections must still show the certificate of the control connection.
        accept_invalid_certificates(on: bool) => accepts_anything = on;
        /// Sets the oldest and newest version to negotiate (default: TLS 1.2 to TLS 1.3).
        versions(oldest: TlsVersion, newest: TlsVersion) => versions = (oldest, newest);
        /// Sets whether data connections resume the session of the control connection if the server
        /// allows it (default: yes).
        ///
        /// Turn resumption off to find out whether a server requires it.
        resume_sessions(on: bool) => resumes = on;
    }

    /// Returns the settings with TLS required: from the first byte on if `is_implicit`, otherwise
    /// with `AUTH TLS`.
    pub(crate) const fn required(mut self, is_implicit: bool) -> Self {
        self.start = if is_implicit { TlsStart::Implicit } else { TlsStart::Explicit };
        self
    }
}

/// A supported version of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
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

/// The TLS parameters of a client's connections.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version on the control connection.
    pub version: TlsVersion,
    /// The name of the cipher suite on the control connection, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the server selected the protocol `ftp` by ALPN (RFC 7301). Most servers do not.
    pub alpn: bool,
    /// The server's certificate, followed by the CA certificates that the server sent, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// The argument of [`Tls::pin`] that accepts only the key of this server; `None` if the key
    /// cannot be read.
    pub pin: Option<String>,
    /// The number of data connections under TLS so far.
    pub data_connections: u64,
    /// The number of data connections that resumed a session. Resumption proves to the server that
    /// they belong to this client.
    pub resumed: u64,
}

const PREFIX: &str = "sha256//";

/// The SHA-256 of a certificate's `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pin([u8; 32]);

impl Pin {
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "used only with TLS"))]
    pub(crate) const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Parses `sha256//` and the base64 of 32 bytes: 43 characters and one `=`.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("pin", at, kind);
        let encoded = text.strip_prefix(PREFIX);
        let encoded = encoded.ok_or(error(0, ParseErrorKind::UnknownWord))?;
        let mut letters = encoded.strip_suffix('=').unwrap_or(encoded).bytes().enumerate();
        let odd = letters.find(|(index, letter)| *index == 43 || !LETTERS.contains(letter));
        if let Some((index, _)) = odd {
            return Err(error(PREFIX.len() + index, ParseErrorKind::UnexpectedByte));
        }
        let digest = from_base64(encoded.as_bytes()).and_then(|bytes| bytes.try_into().ok());
        let pin = Self(digest.ok_or(error(text.len(), ParseErrorKind::UnexpectedEnd))?);
        // The last letter has two surplus bits, which must be 0.
        match pin.to_string() == text {
            true => Ok(pin),
            false => Err(error(text.len() - 2, ParseErrorKind::UnexpectedByte)),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", Base64(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_parsed_and_displayed_tl_19a() {
        // The SHA-256 of no bytes, encoded by RFC 4648 tools.
        let empty = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let digest = Pin::parse(empty).unwrap();
        assert_eq!(digest.0[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(digest.0[28..], [0x78, 0x52, 0xb8, 0x55]);
        assert_eq!(digest.to_string(), empty);
        for seed in 0..=255_u8 {
            let mut byte = seed;
            let next = |_| {
                byte = byte.wrapping_mul(31).wrapping_add(7);
                byte
            };
            let digest = Pin(std::array::from_fn(next));
            assert_eq!(Pin::parse(&digest.to_string()), Ok(digest));
        }
    }

    #[test]
    fn invalid_pins_are_refused_tl_19a() {
        use ParseErrorKind::{UnexpectedByte, UnexpectedEnd, UnknownWord};
        let good = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for (text, at, kind) in [
            ("", 0, UnknownWord),
            ("sha1//47DEQpj8HBSa+/TImW+5JCeuQeQ=", 0, UnknownWord),
            ("sha256//", 8, UnexpectedEnd),
            (&good[..good.len() - 1], 51, UnexpectedEnd),
            (&good[..good.len() - 2], 50, UnexpectedEnd),
            (&good.replace("+", "-"), 20, UnexpectedByte),
            (&good.replace("U=", "V="), 50, UnexpectedByte),
            (&good.replace("U=", "UU="), 51, UnexpectedByte),
            (&good.replace("U=", "UAA="), 51, UnexpectedByte),
            (&good.replace("U=", "U=="), 51, UnexpectedByte),
        ] {
            assert_eq!(Pin::parse(text), Err(ParseError::new("pin", at, kind)), "{text}");
        }
    }
}
