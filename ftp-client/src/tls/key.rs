//! The public key in a certificate. Certificates of devices can be of a form that webpki does not parse,
//! such as X.509 version 1. Their keys prove the handshake all the same, for a pin or without a check.

use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::{DigitallySignedStruct, ProtocolVersion};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use crate::error::TlsCause;

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
