//! Reads the dates and the issuer of a certificate (RFC 5280 §4.1), and the clock to compare them
//! with. Does not decide whether to trust the certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use ftp_proto::TimeVal;

/// The facts about a certificate that doctor judges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Certificate {
    /// Whether the certificate's subject is also its issuer.
    pub(super) is_self_signed: bool,
    pub(super) not_before: TimeVal,
    pub(super) not_after: TimeVal,
}

impl Certificate {
    /// Reads a certificate in DER. Returns `None` if the certificate or its dates are invalid.
    #[cfg(feature = "tls")]
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        use x509_cert::der::Decode;
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        Some(Self {
            is_self_signed: fields.issuer() == fields.subject(),
            not_before: time_val(fields.validity().not_before)?,
            not_after: time_val(fields.validity().not_after)?,
        })
    }

    /// Returns `None`: a build without TLS receives no certificate.
    #[cfg(not(feature = "tls"))]
    pub(super) const fn read(_der: &[u8]) -> Option<Self> {
        None
    }
}

#[cfg(feature = "tls")]
fn time_val(time: x509_cert::time::Time) -> Option<TimeVal> {
    let seconds = time.to_unix_duration().as_secs();
    TimeVal::from_unix_seconds(i64::try_from(seconds).ok()?)
}

/// Returns the current time in Unix seconds, to compare with file times and certificates.
pub(in crate::cmd::doctor) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// Returns the certificate of a CA, and a certificate that the CA signed. Both are valid from
    /// the start of the first year to the end of the second.
    fn pair(years: [i32; 2]) -> [Vec<u8>; 2] {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
            params.not_after = rcgen::date_time_ymd(years[1], 12, 31);
            params
        };
        let mut authority = params("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap();
        let issuer = Issuer::new(authority, key);
        let leaf = params("server").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        [root.der().to_vec(), leaf.der().to_vec()]
    }

    #[test]
    fn dates_and_self_signing_are_read_and_broken_der_is_refused() {
        // A two-digit year cannot express the second date.
        let [root, leaf] = pair([1970, 2050]);
        let read = Certificate::read(&leaf).unwrap();
        assert!(!read.is_self_signed);
        assert_eq!(read.not_before.to_string(), "19700101000000");
        assert_eq!(read.not_after.to_string(), "20501231000000");
        assert!(Certificate::read(&root).unwrap().is_self_signed);
        for end in 0..leaf.len() {
            assert_eq!(Certificate::read(&leaf[..end]), None, "{end} bytes");
        }
        for at in 0..leaf.len() {
            let mut odd = leaf.clone();
            odd[at] ^= 0xff;
            let _ = Certificate::read(&odd);
        }
        let date = leaf.windows(13).position(|window| window == b"700101000000Z").unwrap();
        let mut undated = leaf;
        undated[date..date + 7].copy_from_slice(b"someday");
        assert_eq!(Certificate::read(&undated), None);
    }
}
