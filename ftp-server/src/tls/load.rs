//! Certificates and keys from PEM files, checked before they are used.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ftp_proto::TimeVal;
use rustix::fs::{OFlags, fcntl_setfl};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Certificate;
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

/// Returns a certificate with its chain and its key. Checks that the key belongs to the
/// certificate.
pub(super) fn pair(
    certificate: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificate.certificates()?;
    let secret = key.key()?;
    leaf(certificate, &chain)?;
    let secret = provider
        .key_provider
        .load_private_key(secret)
        .map_err(|error| unusable(&key.name, &error))?;
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

/// Returns the trusted CAs in a file.
pub(super) fn roots(pem: &Pem) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        roots
            .add(certificate)
            .map_err(|_| unusable(&pem.name, &"a certificate in the file is invalid"))?;
    }
    Ok(Arc::new(roots))
}

pub(super) fn unusable(file: &str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { file: file.to_owned(), reason: reason.to_string() }
}
