//! Certificates: their checks by chain, by key, or none; and the PEM files with certificates, keys
//! and trusted CAs. Data connections must also show the certificate of the control connection.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use sha2::{Digest, Sha256};

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

/// The tags of DER (X.690 §8.1.2) that lead to the key (RFC 5280 §4.1).
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

/// The identifier of plain RSA keys, as an element of DER (RFC 3279 §2.3.1).
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

/// The shortest RSA key whose signatures are accepted, in bits.
const LEAST_BITS: usize = 2_048;

/// A `SubjectPublicKeyInfo`.
#[derive(Debug)]
pub(super) struct PublicKey<'c> {
    /// All of it, in DER.
    pub(super) der: &'c [u8],
    algorithm: &'c [u8],
    bits: &'c [u8],
}

impl<'c> PublicKey<'c> {
    /// Finds the key in a certificate of any version; `None` if it is not a certificate.
    pub(super) fn of(certificate: &'c CertificateDer<'_>) -> Option<Self> {
        let outer = element(&mut certificate.as_ref(), SEQUENCE)?.content;
        let mut fields = element(&mut &*outer, SEQUENCE)?.content;
        if fields.first() == Some(&VERSION) {
            element(&mut fields, VERSION)?;
        }
        // The serial number, the algorithm of the signature, the issuer, the validity, the subject.
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
            element(&mut fields, tag)?;
        }
        let Element { whole: der, content: mut parts } = element(&mut fields, SEQUENCE)?;
        let algorithm = element(&mut parts, SEQUENCE)?.content;
        // The first byte counts the unused bits, of which a key has none.
        let bits = element(&mut parts, BIT_STRING)?.content.strip_prefix(&[0])?;
        Some(Self { der, algorithm, bits })
    }

    /// Returns why no signature of this key is accepted, if that is known.
    pub(super) fn fault(&self) -> Option<TlsCause> {
        self.algorithm.starts_with(RSA).then_some(())?;
        let mut numbers = element(&mut &*self.bits, SEQUENCE)?.content;
        let modulus = element(&mut numbers, INTEGER)?.content;
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let first = modulus.get(zeros)?.leading_zeros() as usize;
        let bits = (modulus.len() - zeros) * 8 - first;
        (bits < LEAST_BITS).then_some(TlsCause::ShortKey(bits))
    }

    pub(super) fn has_signed(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        version: ProtocolVersion,
        known: &WebPkiSupportedAlgorithms,
    ) -> bool {
        if version == ProtocolVersion::TLSv1_3 {
            let key = SubjectPublicKeyInfoDer::from(self.der);
            return verify_tls13_signature_with_raw_key(message, &key, signed, known).is_ok();
        }
        let of_scheme = known.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        of_scheme.flat_map(|(_, algorithms)| *algorithms).any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == self.algorithm
                && algorithm.verify_signature(self.bits, message, signed.signature()).is_ok()
        })
    }
}

/// An element of DER: all of it, and without its tag and length.
struct Element<'d> {
    whole: &'d [u8],
    content: &'d [u8],
}

fn element<'d>(rest: &mut &'d [u8], tag: u8) -> Option<Element<'d>> {
    let all = *rest;
    let (&first, after) = all.strip_prefix(&[tag])?.split_first()?;
    let (length, after) = match first {
        0x00..=0x7f => (usize::from(first), after),
        0x81..=0x83 => {
            let (digits, after) = after.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), after)
        }
        _ => return None,
    };
    let content;
    (content, *rest) = after.split_at_checked(length)?;
    let whole = all.get(..all.len() - rest.len())?;
    Some(Element { whole, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an element with a length of the shortest form.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let digits = length.iter().position(|byte| *byte != 0).map_or(&[0][..], |at| &length[at..]);
        let mut out = vec![tag];
        if content.len() > 0x7f {
            out.push(0x80 | u8::try_from(digits.len()).unwrap());
        }
        out.extend(digits);
        out.extend(content);
        out
    }

    /// Returns a certificate with an RSA key of this modulus. Version 1 has no field for the version.
    fn certificate(has_version: bool, modulus: &[u8]) -> CertificateDer<'static> {
        let key = der(SEQUENCE, &[der(INTEGER, modulus), der(INTEGER, &[1, 0, 1])].concat());
        let algorithm = der(SEQUENCE, &[RSA, &[5, 0]].concat());
        let bits = der(BIT_STRING, &[&[0][..], &key].concat());
        let version = if has_version { der(VERSION, &der(INTEGER, &[2])) } else { Vec::new() };
        let mut fields = [version, der(INTEGER, &[7])].concat();
        (0..4).for_each(|_| fields.extend(der(SEQUENCE, b"")));
        fields.extend(der(SEQUENCE, &[algorithm, bits].concat()));
        fields.extend(der(0xa3, b"extensions"));
        let signed = [der(SEQUENCE, &fields), der(SEQUENCE, b""), der(BIT_STRING, b"")].concat();
        der(SEQUENCE, &signed).into()
    }

    #[test]
    fn keys_of_all_certificate_versions_are_found_tl_19a() {
        for has_version in [false, true] {
            for (modulus, want) in [
                (&[&[0x80][..], &[1; 255]].concat(), None),
                (&[&[0, 0xff][..], &[1; 255]].concat(), None),
                (&[&[0x7f][..], &[1; 255]].concat(), Some("RSA key of 2047 bits: too short")),
                (&[&[0, 0x80][..], &[1; 127]].concat(), Some("RSA key of 1024 bits: too short")),
                (&vec![3], Some("RSA key of 2 bits: too short")),
            ] {
                let certificate = certificate(has_version, modulus);
                let key = PublicKey::of(&certificate).unwrap();
                assert_eq!(key.fault().map(|fault| fault.to_string()).as_deref(), want);
                assert!(key.der.starts_with(&[SEQUENCE]) && key.der.ends_with(key.bits));
                // No prefix is a certificate, and none causes a panic.
                for length in 0..certificate.len() {
                    let cut = CertificateDer::from(&certificate[..length]);
                    assert!(PublicKey::of(&cut).is_none(), "{length}");
                }
            }
        }
    }
}
