//! What is to be known of a certificate before it is used: how long it is valid, and whose it is
//! (RFC 5280 §4.1). Everything else is for those who verify it.

/// The parts of a certificate that are looked at.
pub(super) struct Certificate<'a> {
    /// `notBefore` and `notAfter` as `YYYYMMDDHHMMSSZ`, which compare as they follow each other.
    pub(super) not_before: String,
    pub(super) not_after: String,
    subject: &'a [u8],
    extensions: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `rfc822Name` in a `GeneralName`.
const MAIL: u8 = 0x81;
/// Version, and extensions, of a `TBSCertificate`.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-ce-subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

impl<'a> Certificate<'a> {
    /// Reads one in DER. `None` for what is none.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut tbs = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        tbs.optional(VERSION);
        // serialNumber, signature, issuer.
        for _ in 0..3 {
            tbs.next()?;
        }
        let mut validity = Der(tbs.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = tbs.expect(SEQUENCE)?;
        // subjectPublicKeyInfo; then unique identifiers, which nobody has, and extensions.
        tbs.next()?;
        let mut extensions: &[u8] = &[];
        while let Some((tag, content)) = tbs.next() {
            if tag == EXTENSIONS {
                extensions = Der(content).expect(SEQUENCE)?;
            }
        }
        Some(Self { not_before, not_after, subject, extensions })
    }

    /// Whether it may be a certificate of the user of this name: its common name, or one of its mail
    /// addresses, is the name, byte for byte.
    pub(super) fn names(&self, user: &[u8]) -> bool {
        self.common_names().any(|name| name == user) || self.has_mail(user)
    }

    fn common_names(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut sets = Der(self.subject);
        std::iter::from_fn(move || sets.next()).filter_map(|(tag, set)| {
            let mut pair = Der(Der(set).expect(SEQUENCE).filter(|_| tag == SET)?);
            let is_name = pair.expect(OBJECT_IDENTIFIER)? == COMMON_NAME;
            // Whatever kind of string: those that are not written byte by byte equal no name.
            pair.next().filter(|_| is_name).map(|(_, name)| name)
        })
    }

    fn has_mail(&self, user: &[u8]) -> bool {
        let mut extensions = Der(self.extensions);
        while let Some((_, content)) = extensions.next() {
            let mut extension = Der(content);
            if extension.expect(OBJECT_IDENTIFIER) != Some(ALTERNATIVE_NAME) {
                continue;
            }
            extension.optional(BOOLEAN);
            let names =
                extension.expect(OCTET_STRING).and_then(|value| Der(value).expect(SEQUENCE));
            let mut names = Der(names.unwrap_or_default());
            while let Some((tag, name)) = names.next() {
                if tag == MAIL && name == user {
                    return true;
                }
            }
        }
        false
    }
}

/// `UTCTime` and `GeneralizedTime` as RFC 5280 §4.1.2.5 has them, as `YYYYMMDDHHMMSSZ`.
fn time((tag, content): (u8, &[u8])) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    let century = match tag {
        GENERALIZED_TIME => "",
        UTC_TIME if text >= "50" => "19",
        UTC_TIME => "20",
        _ => return None,
    };
    let whole = format!("{century}{text}");
    let digits = whole.strip_suffix('Z')?;
    let is_time = digits.len() == 14 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_time.then_some(whole)
}

/// Elements of DER, one behind the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content. `None` at the end and for what is none.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = length.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// Passes over an element if it is the next one.
    fn optional(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}
