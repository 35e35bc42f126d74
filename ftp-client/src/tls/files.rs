//! Certificates and keys: PEM files, and the CAs that the system trusts.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::words;
use crate::security::{Roots, TlsError};

/// Reads all certificates in a file. Fails if there are none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(useless(path, &"the file contains no certificate")),
        Err(error) => Err(useless(path, &words::pem(&error))),
    }
}

/// Reads the private key in a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => useless(path, &"the file contains no private key"),
        error => useless(path, &words::pem(&error)),
    })
}

/// Returns the trusted CAs.
pub(super) fn roots(roots: &Roots) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => return system(),
        Roots::File(path) => {
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| useless(path, &words::failure(&error)))?;
            }
        }
        Roots::Certificates(all) => {
            for certificate in all {
                let added = store.add(CertificateDer::from(certificate.clone()));
                added.map_err(|error| {
                    TlsError::Settings(format!(
                        "a CA certificate cannot be used: {}",
                        words::failure(&error)
                    ))
                })?;
            }
        }
    }
    if store.is_empty() {
        return Err(TlsError::Settings("no CA certificate was given".to_owned()));
    }
    Ok(Arc::new(store))
}

/// Returns the CAs that the system trusts, and reads them only once per process. Skips unreadable
/// certificates.
fn system() -> Result<Arc<RootCertStore>, TlsError> {
    static FOUND: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(Arc::clone(found));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        let what = format!("no usable CA certificates on this system{why}");
        return Err(TlsError::Settings(what));
    }
    Ok(Arc::clone(FOUND.get_or_init(|| Arc::new(store))))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| useless(path, &error))
}

fn useless(path: &Path, reason: &dyn Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
