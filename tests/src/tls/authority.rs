//! A certificate authority, and the certificates that it issues: valid ones, and each kind of
//! invalid one.

use std::fmt;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::root::TempRoot;

/// The names in a valid certificate: every loopback address that tests use, and a host name.
const NAMES: [&str; 6] =
    ["localhost", "ftp.example.invalid", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"];

/// How long a certificate of [`Kind::EndsSoon`] is still valid.
const SOON: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// The kind of a certificate. For an unknown issuer, use a [`Good`](Self::Good) certificate of
/// another [`Authority`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// For `localhost`, `ftp.example.invalid` and the loopback addresses; valid for a long time.
    Good,
    /// As `Good`, but expired since 2021.
    Expired,
    /// As `Good`, but not valid before 2100.
    NotYetValid,
    /// As `Good`, but valid for five more days only.
    EndsSoon,
    /// Only for `elsewhere.example.invalid`.
    OtherName,
    /// As `Good`, but for this host name only.
    Named(&'static str),
    /// For use by a client, not by a server.
    OtherUsage,
    /// A client certificate with this common name.
    Client(&'static str),
    /// A self-signed certificate, otherwise as `Good`.
    SelfSigned,
    /// A self-signed certificate that also claims to be a CA, as on many small hosts.
    SelfSignedAuthority,
}

/// An issuer of certificates, with its own key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority with a new key.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names are well-formed names");
        params.distinguished_name.push(DnType::CommonName, "Authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("a key that can sign");
        Self { issuer }
    }

    /// Issues a certificate with a new key.
    #[must_use]
    pub fn issue(&self, kind: Kind) -> Pair {
        let (params, key) = (params(kind), key());
        let certificate = match kind {
            Kind::SelfSigned | Kind::SelfSignedAuthority => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        Pair { certificate: certificate.expect("a key that can sign").der().to_vec(), key }
    }

    /// Returns the authority's own certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Writes the authority's own certificate to a PEM file, such as for `--ca-file`.
    #[track_caller]
    #[must_use]
    pub fn write(&self, root: &TempRoot, name: &str) -> PathBuf {
        root.write(name, self.issuer.pem().as_bytes())
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate and its private key.
#[derive(Debug)]
pub struct Pair {
    certificate: Vec<u8>,
    key: KeyPair,
}

/// The files of a [`Pair`].
#[derive(Clone, Debug)]
pub struct PairFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key, readable by its owner only.
    pub key: PathBuf,
    /// Both in one file, as Pure-FTPd requires, readable by its owner only.
    pub both: PathBuf,
}

impl Pair {
    /// Returns the certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone().into()
    }

    /// Returns the key, PKCS #8 in DER.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Returns the certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Returns the key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Returns what curl calls the pinned public key: `sha256//` and the digest of the
    /// SubjectPublicKeyInfo in Base64.
    #[must_use]
    pub fn pin(&self) -> String {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("one of TLS 1.3");
        let digest = suite.common.hash_provider.hash(&self.key.subject_public_key_info());
        format!("sha256//{}", base64(digest.as_ref()))
    }

    /// Writes `NAME.crt`, `NAME.key` and `NAME.pem`.
    #[track_caller]
    #[must_use]
    pub fn write(&self, root: &TempRoot, name: &str) -> PairFiles {
        let (certificate, key) = (self.certificate_pem(), self.key_pem());
        let secret = |extension: &str, text: &str| {
            let path = root.write(format!("{name}.{extension}"), text.as_bytes());
            set_permissions(&path, Permissions::from_mode(0o600)).expect("the mode of an own file");
            path
        };
        PairFiles {
            certificate: root.write(format!("{name}.crt"), certificate.as_bytes()),
            key: secret("key", &key),
            both: secret("pem", &format!("{key}{certificate}")),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn params(kind: Kind) -> CertificateParams {
    let names: &[&str] = match &kind {
        Kind::Named(name) => &[name],
        Kind::OtherName => &["elsewhere.example.invalid"],
        Kind::Client(_) => &[],
        _ => &NAMES,
    };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("these are names and addresses");
    let subject = if let Kind::Client(name) = kind { name } else { "Server of the tests" };
    params.distinguished_name.push(DnType::CommonName, subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match kind {
        Kind::OtherUsage | Kind::Client(_) => ExtendedKeyUsagePurpose::ClientAuth,
        _ => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    match kind {
        Kind::Expired => {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        Kind::NotYetValid => params.not_before = date_time_ymd(2100, 1, 1),
        Kind::EndsSoon => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.expect("a clock that was set");
            params.not_after = date_time_ymd(1970, 1, 1) + now + SOON;
        }
        Kind::SelfSignedAuthority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        _ => params.use_authority_key_identifier_extension = kind != Kind::SelfSigned,
    }
    params
}

/// Returns PEM (RFC 7468): Base64 in lines of 64 between two labels.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<_> = lines.collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Returns Base64 (RFC 4648 §4), with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = bits >> (18 - 6 * place) & 63;
            let shown = DIGITS.get(digit as usize).filter(|_| place <= three.len());
            text.push(shown.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_rfc_4648() {
        for (bytes, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
    }
}
