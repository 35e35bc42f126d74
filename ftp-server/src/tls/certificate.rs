//! Checks of a certificate before it is used: its validity and its names (RFC 5280 §4.1). rustls
//! verifies everything else.

use ftp_proto::TimeVal;
use x509_cert::TbsCertificate;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{self, Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

pub(super) struct Certificate {
    pub(super) not_before: TimeVal,
    pub(super) not_after: TimeVal,
    fields: TbsCertificate,
}

impl Certificate {
    /// Reads a certificate in DER, without trailing bytes.
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let fields = certificate.tbs_certificate().clone();
        let not_before = time_val(fields.validity().not_before);
        let not_after = time_val(fields.validity().not_after);
        Ok(Self { not_before, not_after, fields })
    }

    /// Returns whether the certificate is for this user: its common name, or one of its mail
    /// addresses, equals the user name byte for byte.
    pub(super) fn names(&self, user: &[u8]) -> bool {
        self.has_common_name(user) || self.has_mail(user)
    }

    /// Returns whether the certificate names `issuer` as its issuer.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.fields.issuer() == issuer.fields.subject()
    }

    fn has_common_name(&self, user: &[u8]) -> bool {
        let common_names = self.fields.subject().iter().filter(|part| part.oid == COMMON_NAME);
        common_names.map(|name| &name.value).any(|name| {
            // Strings of other kinds have another encoding.
            let kinds = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::TeletexString];
            kinds.contains(&name.tag()) && name.value() == user
        })
    }

    /// Returns whether a mail address matches. If the alternative names are invalid or given twice,
    /// no address matches.
    fn has_mail(&self, user: &[u8]) -> bool {
        let Ok(Some((_, names))) = self.fields.get_extension::<SubjectAltName>() else {
            return false;
        };
        names
            .0
            .iter()
            .any(|name| matches!(name, GeneralName::Rfc822Name(mail) if mail.as_bytes() == user))
    }
}

fn time_val(time: Time) -> TimeVal {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
    seconds.and_then(TimeVal::from_unix_seconds).expect("x509-cert reads only years up to 9999")
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType, date_time_ymd,
        string::BmpString,
    };

    use super::*;

    fn issue(set: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        set(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn with_common_name(name: impl Into<DnValue>) -> Vec<u8> {
        issue(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    #[test]
    fn a_user_is_named_by_common_name_or_mail_address_byte_for_byte() {
        let mail = |mail: &str| SanType::Rfc822Name(mail.try_into().unwrap());
        // A Microsoft certificate has another kind of name beside the mail address.
        let other = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "u@x".into()));
        let mails = issue(|params| {
            let dns = SanType::DnsName("host.example.org".try_into().unwrap());
            params.subject_alt_names = vec![other, dns, mail("a@example.org"), mail("b@x")];
        });
        let organization =
            issue(|params| params.distinguished_name.push(DnType::OrganizationName, "anna"));
        // The bytes of `ab` as one character of two bytes.
        let wide = with_common_name(DnValue::BmpString(BmpString::try_from("\u{6162}").unwrap()));
        for (der, user, want) in [
            (&with_common_name("anna"), "anna", true),
            (&with_common_name("anna"), "Anna", false),
            (&with_common_name("anna"), "ann", false),
            (&with_common_name("anna"), "", false),
            (&with_common_name("jörg"), "jörg", true),
            (&mails, "a@example.org", true),
            (&mails, "b@x", true),
            (&mails, "host.example.org", false),
            (&mails, "u@x", false),
            (&organization, "anna", false),
            (&wide, "ab", false),
        ] {
            assert_eq!(Certificate::parse(der).unwrap().names(user.as_bytes()), want, "{user}");
        }
    }

    #[test]
    fn malformed_alternative_names_match_no_user() {
        let names = |names: &[u8]| {
            issue(|params| {
                let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names.to_vec());
                params.custom_extensions.push(extension);
            })
        };
        for (content, want) in [
            (&b"\x30\x03\x81\x01u"[..], true),
            // Invalid: a missing end, surplus bytes, a list of another type, a byte that is not
            // ASCII.
            (b"\x30\x04\x81\x01u", false),
            (b"\x30\x03\x81\x01u\x05\x00", false),
            (b"\x81\x01u", false),
            (b"\x30\x06\x81\x01u\x81\x01\xff", false),
        ] {
            let certificate = Certificate::parse(&names(content)).unwrap();
            assert_eq!(certificate.names(b"u"), want, "{content:02x?}");
        }
        let twice = issue(|params| {
            let content = b"\x30\x03\x81\x01u".to_vec();
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
            params.custom_extensions = vec![extension.clone(), extension];
        });
        assert!(!Certificate::parse(&twice).unwrap().names(b"u"));
    }

    #[test]
    fn validity_is_read_from_both_kinds_of_times() {
        let der = issue(|params| {
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(9999, 12, 31);
        });
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.not_before.to_string(), "19700101000000");
        assert_eq!(certificate.not_after.to_string(), "99991231000000");
    }

    #[test]
    fn malformed_certificates_are_refused_without_a_panic() {
        let whole = with_common_name("anna");
        for end in 0..whole.len() {
            assert!(Certificate::parse(&whole[..end]).is_err(), "{end} bytes");
        }
        assert!(Certificate::parse(&[&whole[..], b"\0"].concat()).is_err());
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut odd = whole.clone();
                odd[at] ^= flip;
                let _ = Certificate::parse(&odd).map(|odd| odd.names(b"anna"));
            }
        }
    }
}
