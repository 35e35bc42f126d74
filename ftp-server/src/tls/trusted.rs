//! The CAs that the server trusts as a client of an object store or of Redis.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Files in which distributions keep the certificates of trusted CAs.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Returns the certificates in `pem`, at least one; without `pem`, those of the system.
///
/// # Errors
///
/// Returns a message if there are none, or if the text is malformed.
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
