//! A self-signed certificate in one call.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::load::unusable;
use super::policy::TlsError;
use super::settings::Tls;

impl Tls {
    /// Creates a new key and a self-signed certificate for these host names and IP addresses, valid
    /// until 31 December 9999. Clients that know the [`pin`](Self::pin) of the key accept the
    /// certificate. Each call creates another key. For a permanent server, keep the certificate and
    /// the key in files, and use [`from_files`](Self::from_files).
    ///
    /// Requires the feature `self-signed`.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, Rights, Server, Tls};
    ///
    /// let tls = Tls::self_signed(["localhost", "127.0.0.1"])?;
    /// let pin = tls.pin().expect("the certificate is known");
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .tls(tls)
    ///     .bind("127.0.0.1:0")?;
    /// assert!(pin.starts_with("sha256//"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Unusable`] if a name is not ASCII, or if the system returns no random
    /// bytes.
    pub fn self_signed<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TlsError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let pem = pem(names).map_err(|error| unusable("the certificate", &error))?;
        Self::from_pem(pem.as_bytes(), pem.as_bytes())
    }
}

/// Returns a new key and its certificate, as PEM with the key first.
///
/// The certificate is valid from 1970 to 9999-12-31 (compare RFC 5280 §4.1.2.5). Clients trust its
/// key, not a CA, and a device whose clock starts in 1970 must be able to connect.
pub(crate) fn pem(names: Vec<String>) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "ftp-server");
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}
