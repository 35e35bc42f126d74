//! Creates self-signed certificates with rcgen, for hosts without a certificate from a CA.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Creates a key and a certificate for these names and addresses, as PEM with the key first.
///
/// The certificate is valid from 1970 to 9999-12-31 (compare RFC 5280 §4.1.2.5). Clients trust
/// its key, not a CA, and a device whose clock starts in 1970 must be able to connect.
///
/// # Errors
///
/// Returns a message if a name is invalid, or if the system has no random numbers.
pub(crate) fn self_signed(names: Vec<String>) -> Result<String, String> {
    let make = || {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "ftp-cli");
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(key.serialize_pem() + &certificate.pem())
    };
    make().map_err(|error: rcgen::Error| error.to_string())
}
