//! Certificates of other servers, for data connections whose handshake this server begins (`SSCN
//! ON`). The certificate need not contain the address: the client chose the other server, and this
//! server knows only the address.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::load::{KeyDigest, Trusted};
use super::settings::{Identity, Settings};

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
