//! A certificate of our own, by rcgen: signed by its own key, for hosts that nobody issues one to.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Makes a key and a certificate for these names and addresses: PEM, the key in front.
///
/// It is never over: who trusts it, trusts its key and nobody's word for it, and a device whose clock
/// stands at 1970 has to be let in as well (RFC 5280 §4.1.2.5 has this date for it).
///
/// # Errors
///
/// A sentence, if the system has no random numbers.
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
