//! Certificates and keys from PEM files, checked before they are used, and the CAs and keys to trust.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use base64ct::{Base64, Encoding};
use ftp_proto::TimeVal;
use rustix::fs::{OFlags, fcntl_setfl};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{self, Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use super::policy::TlsError;

/// Maximum length of a PEM file in bytes, far more than any certificate chain needs.
const LONGEST: u64 = 1 << 20;

/// The content of a PEM file, and its name for errors.
pub(super) struct Pem {
    name: String,
    bytes: Vec<u8>,
}

impl Pem {
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        let name = path.display().to_string();
        match read(path) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(source) => Err(TlsError::Unreadable { file: name, source }),
        }
    }

    pub(super) fn given(bytes: &[u8], name: &str) -> Self {
        Self { name: name.to_owned(), bytes: bytes.to_vec() }
    }

    /// Returns all certificates in their order, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let file = self.name.clone();
        if self.bytes.trim_ascii().is_empty() {
            return Err(TlsError::Empty { file });
        }
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let all = all.map_err(|error| self.broken(&error))?;
        if all.is_empty() { Err(TlsError::NoCertificate { file }) } else { Ok(all) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let file = self.name.clone();
        if self.bytes.trim_ascii().is_empty() {
            return Err(TlsError::Empty { file });
        }
        // The marks of encrypted keys in PKCS #8, and in older OpenSSL files.
        let holds = |mark: &[u8]| self.bytes.windows(mark.len()).any(|window| window == mark);
        let encrypted = holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED");
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { file, encrypted },
            _ if encrypted => TlsError::NoKey { file, encrypted },
            error => self.broken(&error),
        })
    }

    fn broken(&self, error: &pem::Error) -> TlsError {
        match error {
            pem::Error::MissingSectionEnd { .. } => {
                unusable(&self.name, &"a section has no end: the file is truncated")
            }
            pem::Error::IllegalSectionStart { .. } => {
                unusable(&self.name, &"a section does not begin with a PEM header")
            }
            pem::Error::Base64Decode(_) => unusable(&self.name, &"a section is not valid base64"),
            error => unusable(&self.name, error),
        }
    }
}

/// Returns the content of a file. Reads at most [`LONGEST`] bytes, so a longer file usually fails
/// to parse. Does not wait for a pipe without a writer.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    // Reads wait again, so that a pipe with a writer is read to its end.
    fcntl_setfl(&file, OFlags::empty())?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks that the first certificate of a file is valid now.
pub(super) fn check_dates(certificate: &Pem) -> Result<(), TlsError> {
    let leaf = leaf(certificate, &certificate.certificates()?)?;
    let now = TimeVal::try_from(SystemTime::now()).map_err(|_| {
        unusable(&certificate.name, &"the system clock is wrong: expected a year up to 9999")
    })?;
    let file = certificate.name.clone();
    if leaf.not_after < now {
        return Err(TlsError::Expired { file, end: format!("{}Z", leaf.not_after) });
    }
    if leaf.not_before > now {
        return Err(TlsError::NotYetValid { file, start: format!("{}Z", leaf.not_before) });
    }
    Ok(())
}

/// The keys that the server can use, in errors.
const USABLE_KEYS: &str = "ECDSA P-256 or P-384, Ed25519, or RSA with at least 2048 bits";

/// Returns a certificate with its chain and its key. Checks that the key belongs to the
/// certificate.
pub(super) fn pair(
    certificate: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificate.certificates()?;
    let secret = key.key()?;
    let leaf = leaf(certificate, &chain)?;
    let kind = leaf.unsupported_key();
    let secret = provider.key_provider.load_private_key(secret).map_err(|_| {
        let kind = kind.as_deref().unwrap_or("it is damaged or of an unsupported kind");
        unusable(&key.name, &format_args!("{kind}; use a key of {USABLE_KEYS}"))
    })?;
    if leaf.fields.version() != Version::V3 {
        let why = "the certificate has X.509 version 1, without extensions; make one of version 3, as \
                   \"openssl req -x509\" does";
        return Err(unusable(&certificate.name, &why));
    }
    let pair = CertifiedKey::new(chain, secret);
    match pair.keys_match() {
        Ok(()) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let file = certificate.name.clone();
            Err(TlsError::WrongKey { certificate: file, key: key.name.clone() })
        }
        Err(error) => Err(unusable(&certificate.name, &error)),
    }
}

/// Parses the first certificate of a chain.
fn leaf(pem: &Pem, chain: &[CertificateDer<'_>]) -> Result<Certificate, TlsError> {
    let leaf = chain.first().expect("a chain without certificates is refused when it is read");
    Certificate::parse(leaf)
        .map_err(|error| unusable(&pem.name, &format_args!("not an X.509 certificate: {error}")))
}

pub(super) fn roots(pem: &Pem) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        roots
            .add(certificate)
            .map_err(|_| unusable(&pem.name, &"a certificate in the file is invalid"))?;
    }
    Ok(Arc::new(roots))
}

/// Files in which distributions keep the certificates of trusted CAs.
#[cfg(any(feature = "redis", feature = "s3"))]
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Returns the CAs that the server trusts as a client of an object store or of Redis: those in `pem`,
/// at least one; without `pem`, those of the system.
///
/// # Errors
///
/// Returns a message if there are none, or if the text is malformed.
#[cfg(any(feature = "redis", feature = "s3"))]
pub(crate) fn trusted(pem: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = match pem {
        Some(pem) => pem.to_vec(),
        None => BUNDLES
            .iter()
            .find_map(|file| std::fs::read(file).ok())
            .ok_or("no system CAs found; set ca_file (ca_pem in Rust)")?,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| format!("invalid CA certificates: {error}"))?;
    match found.is_empty() {
        true => Err("invalid CA certificates: no certificate found".to_owned()),
        false => Ok(found),
    }
}

pub(super) fn unusable(file: &str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { file: file.to_owned(), reason: reason.to_string() }
}

/// A certificate, of which this code checks the validity and the names (RFC 5280 §4.1). rustls verifies
/// everything else.
pub(super) struct Certificate {
    not_before: TimeVal,
    pub(super) not_after: TimeVal,
    fields: TbsCertificate,
}

impl Certificate {
    /// Reads a certificate in DER, without trailing bytes.
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let fields = certificate.tbs_certificate().clone();
        let not_before = time_val(fields.validity().not_before);
        let not_after = time_val(fields.validity().not_after);
        Ok(Self { not_before, not_after, fields })
    }

    /// Returns whether the certificate is for this user: its common name, or one of its mail
    /// addresses, equals the user name byte for byte.
    pub(super) fn names(&self, user: &[u8]) -> bool {
        self.has_common_name(user) || self.has_mail(user)
    }

    /// Returns why the key cannot be used, if its kind says so.
    fn unsupported_key(&self) -> Option<String> {
        let key = self.fields.subject_public_key_info();
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        let kind = match (&*key.algorithm.oid.to_string(), curve.map(|oid| oid.to_string())) {
            ("1.2.840.10045.2.1", Some(curve)) if curve == "1.3.132.0.35" => "ECDSA P-521",
            ("1.2.840.113549.1.1.10", _) => "RSA-PSS",
            ("1.2.840.10040.4.1", _) => "DSA",
            ("1.3.101.113", _) => "Ed448",
            ("1.2.840.113549.1.1.1", _) => {
                // Besides the modulus, a key has 10 to 16 bytes.
                let bits = key.subject_public_key.raw_bytes().len().saturating_sub(10) / 8 * 64;
                return (bits < 2_048).then(|| format!("an RSA key of {bits} bits is too short"));
            }
            _ => return None,
        };
        Some(format!("{kind} keys are not supported"))
    }

    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.fields.issuer() == issuer.fields.subject()
    }

    fn has_common_name(&self, user: &[u8]) -> bool {
        let common_names = self.fields.subject().iter().filter(|part| part.oid == COMMON_NAME);
        common_names.map(|name| &name.value).any(|name| {
            // Strings of other kinds have another encoding.
            let kinds = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::TeletexString];
            kinds.contains(&name.tag()) && name.value() == user
        })
    }

    /// Returns whether a mail address matches. If the alternative names are invalid or given twice,
    /// no address matches.
    fn has_mail(&self, user: &[u8]) -> bool {
        let Ok(Some((_, names))) = self.fields.get_extension::<SubjectAltName>() else {
            return false;
        };
        names
            .0
            .iter()
            .any(|name| matches!(name, GeneralName::Rfc822Name(mail) if mail.as_bytes() == user))
    }
}

fn time_val(time: Time) -> TimeVal {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
    seconds.and_then(TimeVal::from_unix_seconds).expect("x509-cert reads only years up to 9999")
}

/// The beginning of a pin.
const SCHEME: &str = "sha256//";

/// SHA-256 digest of a public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Returns the digest of the key of a certificate; `None` if the certificate cannot be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = ParsedCertificate::try_from(certificate).ok()?;
        Some(Self(Sha256::digest(&*certificate.subject_public_key_info()).into()))
    }

    /// Reads a pin: `sha256//` and the digest in base64.
    pub(super) fn parse(pin: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let decoded = Base64::decode(pin.strip_prefix(SCHEME)?, &mut digest).ok()?;
        (decoded.len() == digest.len()).then_some(Self(digest))
    }

    pub(super) fn pin(self) -> String {
        format!("{SCHEME}{}", Base64::encode_string(&self.0))
    }
}

/// The servers to trust. Without any, this server begins no handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Trusted {
    /// Certificates that these CAs have issued.
    pub(super) roots: Option<Arc<RootCertStore>>,
    /// Certificates with these keys, from any issuer.
    pub(super) keys: Vec<KeyDigest>,
    /// Any certificate.
    pub(super) anything: bool,
}

impl Trusted {
    /// Returns whether any server is trusted.
    pub(super) fn is_set(&self) -> bool {
        self.anything || self.roots.is_some() || !self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType, date_time_ymd,
        string::BmpString,
    };

    use super::*;

    fn issue(set: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        set(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn with_common_name(name: impl Into<DnValue>) -> Vec<u8> {
        issue(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    #[test]
    fn a_user_is_named_by_common_name_or_mail_address_byte_for_byte() {
        let mail = |mail: &str| SanType::Rfc822Name(mail.try_into().unwrap());
        // A Microsoft certificate has another kind of name beside the mail address.
        let other = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "u@x".into()));
        let mails = issue(|params| {
            let dns = SanType::DnsName("host.example.org".try_into().unwrap());
            params.subject_alt_names = vec![other, dns, mail("a@example.org"), mail("b@x")];
        });
        let organization =
            issue(|params| params.distinguished_name.push(DnType::OrganizationName, "anna"));
        // The bytes of `ab` as one character of two bytes.
        let wide = with_common_name(DnValue::BmpString(BmpString::try_from("\u{6162}").unwrap()));
        for (der, user, want) in [
            (&with_common_name("anna"), "anna", true),
            (&with_common_name("anna"), "Anna", false),
            (&with_common_name("anna"), "ann", false),
            (&with_common_name("anna"), "", false),
            (&with_common_name("jörg"), "jörg", true),
            (&mails, "a@example.org", true),
            (&mails, "b@x", true),
            (&mails, "host.example.org", false),
            (&mails, "u@x", false),
            (&organization, "anna", false),
            (&wide, "ab", false),
        ] {
            assert_eq!(Certificate::parse(der).unwrap().names(user.as_bytes()), want, "{user}");
        }
    }

    #[test]
    fn malformed_alternative_names_match_no_user() {
        let names = |names: &[u8]| {
            issue(|params| {
                let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names.to_vec());
                params.custom_extensions.push(extension);
            })
        };
        for (content, want) in [
            (&b"\x30\x03\x81\x01u"[..], true),
            // Invalid: a missing end, surplus bytes, a list of another type, a byte that is not
            // ASCII.
            (b"\x30\x04\x81\x01u", false),
            (b"\x30\x03\x81\x01u\x05\x00", false),
            (b"\x81\x01u", false),
            (b"\x30\x06\x81\x01u\x81\x01\xff", false),
        ] {
            let certificate = Certificate::parse(&names(content)).unwrap();
            assert_eq!(certificate.names(b"u"), want, "{content:02x?}");
        }
        let twice = issue(|params| {
            let content = b"\x30\x03\x81\x01u".to_vec();
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
            params.custom_extensions = vec![extension.clone(), extension];
        });
        assert!(!Certificate::parse(&twice).unwrap().names(b"u"));
    }

    #[test]
    fn validity_is_read_from_both_kinds_of_times() {
        let der = issue(|params| {
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(9999, 12, 31);
        });
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.not_before.to_string(), "19700101000000");
        assert_eq!(certificate.not_after.to_string(), "99991231000000");
    }

    #[test]
    fn malformed_certificates_are_refused_without_a_panic() {
        let whole = with_common_name("anna");
        for end in 0..whole.len() {
            assert!(Certificate::parse(&whole[..end]).is_err(), "{end} bytes");
        }
        assert!(Certificate::parse(&[&whole[..], b"\0"].concat()).is_err());
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut odd = whole.clone();
                odd[at] ^= flip;
                let _ = Certificate::parse(&odd).map(|odd| odd.names(b"anna"));
            }
        }
    }

    #[test]
    fn only_complete_sha256_pins_are_accepted() {
        let digest = KeyDigest([7; 32]);
        assert_eq!(KeyDigest::parse(&digest.pin()), Some(digest));
        for wrong in [
            "",
            "sha256//",
            "sha256//BwcHBw==",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "sha1//BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "sha256//BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "sha256//BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==",
        ] {
            assert_eq!(KeyDigest::parse(wrong), None, "{wrong}");
        }
    }
}
