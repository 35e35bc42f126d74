//! Certificates: their checks by chain, by key, or none; and the PEM files with certificates, keys
//! and trusted CAs. Data connections must also show the certificate of the control connection.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::key::PublicKey;
use super::words;
use crate::error::{CertificateFault, TlsCause, TlsError};
use crate::lock;
use crate::security::{Pin, Roots, Tls};

#[derive(Debug)]
pub(super) struct Verifier {
    rule: TrustRule,
    provider: Arc<CryptoProvider>,
    /// The certificate of the control connection, once known.
    demanded: OnceLock<CertificateDer<'static>>,
    /// Why the last certificate was refused, with details that rustls cannot express.
    refused: Mutex<Option<TlsError>>,
}

#[derive(Debug)]
enum TrustRule {
    /// A chain that ends at a trusted CA. The certificates that the caller gave can also be the
    /// server's own.
    Chain(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>),
    /// Nothing, because the system has no CA certificates.
    Nothing,
    Keys(Vec<Pin>),
    Anything,
    /// The caller's verifier checks certificates. If there are pins, the key must also match one of
    /// them.
    Beside(Vec<Pin>),
}

impl Verifier {
    pub(super) fn new(settings: &Tls, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let rule = match settings {
            Tls { accepts_anything: true, .. } => TrustRule::Anything,
            Tls { pins, .. } if !pins.is_empty() => TrustRule::Keys(pins.clone()),
            Tls { roots, .. } => {
                let (store, given) = trusted(roots)?;
                // The server shall still show its certificate, whose pin can be confirmed.
                if store.is_empty() {
                    TrustRule::Nothing
                } else {
                    let chain =
                        WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider));
                    // Without revocation lists, nothing else can be wrong.
                    let chain = chain.build().map_err(|_| TlsError::Settings(TlsCause::NoRoots))?;
                    TrustRule::Chain(chain, given)
                }
            }
        };
        Ok(Self { rule, provider, demanded: OnceLock::new(), refused: Mutex::default() })
    }

    /// Returns a verifier that, in addition to the caller's own verifier, checks the pins and the
    /// certificate of data connections.
    pub(super) fn beside_another(settings: &Tls, provider: Arc<CryptoProvider>) -> Self {
        let rule = TrustRule::Beside(settings.pins.clone());
        Self { rule, provider, demanded: OnceLock::new(), refused: Mutex::default() }
    }

    /// Performs these checks after a handshake that the caller's own verifier accepted.
    pub(super) fn look_again(&self, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let TrustRule::Beside(pins) = &self.rule else { return Ok(()) };
        let Some(shown) = chain.first() else {
            return Err(certificate(TlsCause::NoneShown.into(), None));
        };
        let checked = match pins.is_empty() {
            true => self.check_demanded(shown),
            false => self.check_demanded(shown).and_then(|()| self.check_pinned(shown, pins)),
        };
        checked.map_err(|fault| certificate(fault, self.pin_of(shown).map(|pin| pin.to_string())))
    }

    fn check_demanded(&self, shown: &CertificateDer<'_>) -> Result<(), RejectedCertificate> {
        match self.demanded.get() {
            Some(demanded) if demanded != shown => Err(CertificateFault::NotOfControl.into()),
            _ => Ok(()),
        }
    }

    fn check_pinned(
        &self,
        shown: &CertificateDer<'_>,
        pins: &[Pin],
    ) -> Result<(), RejectedCertificate> {
        match self.pin_of(shown) {
            Some(pin) if pins.contains(&pin) => Ok(()),
            Some(_) => Err(CertificateFault::NotPinned.into()),
            None => Err(TlsCause::UnreadableKey.into()),
        }
    }

    /// Accepts only this certificate from now on.
    pub(super) fn demand(&self, certificate: &CertificateDer<'_>) {
        self.demanded.get_or_init(|| certificate.clone().into_owned());
    }

    /// Returns the digest of the certificate's key; `None` if the key cannot be read.
    pub(super) fn pin_of(&self, certificate: &CertificateDer<'_>) -> Option<Pin> {
        PublicKey::of(certificate).map(|key| Pin::new(Sha256::digest(key.der).into()))
    }

    /// Converts an error, adding the details of a refused certificate.
    pub(super) fn explain(&self, error: Error) -> TlsError {
        let refused = lock(&self.refused).take();
        match error {
            Error::InvalidCertificate(error) => {
                refused.unwrap_or_else(|| certificate(error.into(), None))
            }
            error => TlsError::Failed(error.into()),
        }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), RejectedCertificate> {
        self.check_demanded(end_entity)?;
        if let Some(fault) = PublicKey::of(end_entity).and_then(|key| key.fault()) {
            return Err(fault.into());
        }
        match &self.rule {
            // Handshakes with the caller's own verifier do not reach this code.
            TrustRule::Anything | TrustRule::Beside(_) => Ok(()),
            TrustRule::Keys(pins) => self.check_pinned(end_entity, pins),
            TrustRule::Nothing => {
                let cause = Some(TlsCause::NoSystemRoots);
                Err(RejectedCertificate { cause, ..CertificateFault::UnknownIssuer.into() })
            }
            TrustRule::Chain(chain, given) => {
                let checked = chain.verify_server_cert(end_entity, intermediates, name, ocsp, now);
                let checked = match checked.map(drop) {
                    // The validity was checked before; what remains is that a CA was used as a server.
                    Err(Error::InvalidCertificate(CertificateError::Other(_)))
                        if given.contains(end_entity) =>
                    {
                        ParsedCertificate::try_from(end_entity)
                            .and_then(|parsed| verify_server_name(&parsed, name))
                    }
                    checked => checked,
                };
                checked.map_err(|error| match error {
                    Error::InvalidCertificate(error) => error.into(),
                    error => TlsCause::from(error).into(),
                })
            }
        }
    }

    /// Verifies that the server has the key of an accepted certificate.
    fn check_signed(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        version: ProtocolVersion,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        let key = PublicKey::of(shown);
        if key.is_some_and(|key| key.has_signed(message, signed, version, known)) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        *lock(&self.refused) = Some(certificate(TlsCause::Unproved.into(), None));
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.check(end_entity, intermediates, server_name, ocsp_response, now);
        checked.map(|()| ServerCertVerified::assertion()).map_err(|rejected| {
            // A pin would not help with a key that is too short.
            let is_usable = PublicKey::of(end_entity).is_some_and(|key| key.fault().is_none());
            let pin = self.pin_of(end_entity).filter(|_| is_usable).map(|pin| pin.to_string());
            let fault = rejected.fault;
            let refused = certificate(rejected, pin);
            *lock(&self.refused) = Some(refused);
            Error::InvalidCertificate(alert(fault))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signed(message, cert, dss, ProtocolVersion::TLSv1_2)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signed(message, cert, dss, ProtocolVersion::TLSv1_3)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn certificate(rejected: RejectedCertificate, pin: Option<String>) -> TlsError {
    let RejectedCertificate { fault, cause, names } = rejected;
    TlsError::Certificate { fault, cause, names, pin }
}

/// Why a certificate is rejected, and the names that it has instead of the expected one.
struct RejectedCertificate {
    fault: CertificateFault,
    cause: Option<TlsCause>,
    names: Vec<String>,
}

impl From<CertificateFault> for RejectedCertificate {
    fn from(fault: CertificateFault) -> Self {
        Self { fault, cause: None, names: Vec::new() }
    }
}

impl From<TlsCause> for RejectedCertificate {
    fn from(cause: TlsCause) -> Self {
        Self { cause: Some(cause), ..CertificateFault::Other.into() }
    }
}

impl From<CertificateError> for RejectedCertificate {
    fn from(error: CertificateError) -> Self {
        let (fault, names) = (fault(&error), words::names(&error));
        let cause = Some(TlsCause::Rustls(Arc::new(Error::InvalidCertificate(error))));
        Self { fault, cause, names }
    }
}

fn fault(error: &CertificateError) -> CertificateFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateFault::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateFault::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateFault::WrongName
        }
        // `BadSignature`: a CA has the issuer's name, but another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateFault::UnknownIssuer
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateFault::WrongPurpose
        }
        CertificateError::Revoked => CertificateFault::Revoked,
        _ => CertificateFault::Other,
    }
}

/// Returns the error that makes rustls send the right TLS alert to the server.
const fn alert(fault: CertificateFault) -> CertificateError {
    match fault {
        CertificateFault::Expired => CertificateError::Expired,
        CertificateFault::NotYetValid => CertificateError::NotValidYet,
        CertificateFault::WrongName => CertificateError::NotValidForName,
        CertificateFault::UnknownIssuer => CertificateError::UnknownIssuer,
        CertificateFault::WrongPurpose => CertificateError::InvalidPurpose,
        CertificateFault::Revoked => CertificateError::Revoked,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

/// Reads all certificates in a file. Fails if there are none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(useless(path, TlsCause::NoCertificate)),
        Err(error) => Err(useless(path, TlsCause::Pem(Arc::new(error)))),
    }
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => useless(path, TlsCause::NoKey),
        error => useless(path, TlsCause::Pem(Arc::new(error))),
    })
}

fn trusted(roots: &Roots) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), TlsError> {
    let mut store = RootCertStore::empty();
    let given: Vec<_> = match roots {
        Roots::System => return Ok((system(), Vec::new())),
        Roots::File(path) => certificates(path)?,
        Roots::Certificates(all) => all.iter().cloned().map(CertificateDer::from).collect(),
    };
    for certificate in &given {
        store.add(certificate.clone()).map_err(|error| match roots {
            Roots::File(path) => useless(path, error.into()),
            _ => TlsError::Settings(TlsCause::Root(Arc::new(error))),
        })?;
    }
    if store.is_empty() {
        return Err(TlsError::Settings(TlsCause::NoRoots));
    }
    Ok((Arc::new(store), given))
}

/// Returns the CAs that the system trusts, and reads them only once per process. Skips unreadable
/// certificates.
fn system() -> Arc<RootCertStore> {
    static FOUND: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    Arc::clone(found)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| useless(path, TlsCause::Unreadable(Arc::new(error))))
}

fn useless(path: &Path, cause: TlsCause) -> TlsError {
    TlsError::File { path: path.to_owned(), cause }
}
