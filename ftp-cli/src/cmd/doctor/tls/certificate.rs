//! As much of a certificate as its dates and its issuer (RFC 5280 §4.1): who signed it, and until
//! when. Whether it is to be believed is not decided here.

use ftp_proto::TimeVal;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What of a certificate is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Certificate {
    /// Whether it names itself as its issuer.
    pub(super) vouches_for_itself: bool,
    pub(super) not_before: TimeVal,
    pub(super) not_after: TimeVal,
}

impl Certificate {
    /// Reads one from DER; `None` for what is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (whole, _) = element(der, SEQUENCE)?;
        let (mut fields, _) = element(whole, SEQUENCE)?;
        if let Some((_, rest)) = element(fields, VERSION) {
            fields = rest;
        }
        let (_, fields) = element(fields, INTEGER)?;
        let (_, fields) = element(fields, SEQUENCE)?;
        let (issuer, fields) = element(fields, SEQUENCE)?;
        let (validity, fields) = element(fields, SEQUENCE)?;
        let (subject, _) = element(fields, SEQUENCE)?;
        let (not_before, validity) = time(validity)?;
        let (not_after, _) = time(validity)?;
        Some(Self { vouches_for_itself: issuer == subject, not_before, not_after })
    }
}

/// The content of the first element of `der`, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(length)
}

/// A time of either form, in UTC (RFC 5280 §4.1.2.5).
fn time(der: &[u8]) -> Option<(TimeVal, &[u8])> {
    let (text, rest) = match element(der, UTC_TIME) {
        Some((text, rest)) => {
            // Two digits of the year, of the century from 1950 on.
            let century: &[u8] = if text.first()? < &b'5' { b"20" } else { b"19" };
            ([century, text].concat(), rest)
        }
        None => {
            let (text, rest) = element(der, GENERALIZED_TIME)?;
            (text.to_vec(), rest)
        }
    };
    Some((TimeVal::parse(text.strip_suffix(b"Z")?).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, content].concat()
    }

    fn certificate(issuer: &[u8], subject: &[u8], times: [(u8, &[u8]); 2]) -> Vec<u8> {
        let [before, after] = times.map(|(tag, text)| der(tag, &[text]));
        let name = |name| der(SEQUENCE, &[name]);
        let fields = der(
            SEQUENCE,
            &[
                &der(VERSION, &[&[2, 1, 2]]),
                &der(INTEGER, &[&[7; 16]]),
                &der(SEQUENCE, &[b"algorithm"]),
                &name(issuer),
                &der(SEQUENCE, &[&before, &after]),
                &name(subject),
                &der(SEQUENCE, &[b"key"]),
            ],
        );
        der(SEQUENCE, &[&fields, &der(SEQUENCE, &[b"algorithm"])])
    }

    #[test]
    fn dates_and_issuer_are_read_and_nothing_else_is_taken_for_them() {
        let times = [(UTC_TIME, &b"500101000000Z"[..]), (GENERALIZED_TIME, b"20501231235959Z")];
        let whole = certificate(b"authority", b"server", times);
        let read = Certificate::read(&whole).unwrap();
        assert!(!read.vouches_for_itself);
        assert_eq!(read.not_before.to_string(), "19500101000000");
        assert_eq!(read.not_after.to_string(), "20501231235959");
        assert!(Certificate::read(&certificate(b"a", b"a", times)).unwrap().vouches_for_itself);
        for end in 0..whole.len() - 12 {
            let _ = Certificate::read(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut odd = whole.clone();
            odd[at] ^= 0xff;
            let _ = Certificate::read(&odd);
        }
        let none = [(UTC_TIME, &b"someday"[..]), (UTC_TIME, b"260101000000Z")];
        assert_eq!(Certificate::read(&certificate(b"a", b"b", none)), None);
        assert_eq!(Certificate::read(b""), None);
    }
}
