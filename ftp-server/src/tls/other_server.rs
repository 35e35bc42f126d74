//! Certificates of other servers, for data connections whose handshake this server begins (`SSCN
//! ON`). The certificate need not contain the address: the client chose the other server, and this
//! server knows only the address.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::settings::{Identity, Settings};

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

    /// Returns the pin.
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

/// Returns the configuration of the handshakes that this server begins; `None` if it trusts no
/// other server.
pub(super) fn config(
    settings: &Settings,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Option<Arc<ClientConfig>>, Error> {
    if !settings.other_servers.is_set() {
        return Ok(None);
    }
    let provider = Arc::clone(&settings.provider);
    let verifier =
        Verifier { trusted: settings.other_servers.clone(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.identity {
        // The other server may ask for a client certificate: this server then shows its own
        // certificate.
        Identity::Pair(pair) => {
            let shown = rustls::sign::SingleCertAndKey::from(Arc::clone(pair));
            config.with_client_cert_resolver(Arc::new(shown))
        }
        Identity::Given(_) => config.with_no_client_auth(),
    };
    // Each connection may lead to another server.
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Some(Arc::new(config)))
}

#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trusted { roots, keys, anything } = &self.trusted;
        let is_pinned = || KeyDigest::of(end_entity).is_some_and(|key| keys.contains(&key));
        if *anything || is_pinned() {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(roots) = roots else {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        };
        let end_entity = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &end_entity,
            roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    // Even with a trusted certificate, the other server must prove that it has the private key.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
