//! Encodings of S3: percent-encoding, hexadecimal, base64, times, and the subset of XML that S3 uses, in
//! which elements are found by their names.

use std::fmt::Write as _;

use base64ct::{Base64, Encoding};
use ftp_proto::TimeVal;
use sha2::{Digest, Sha256};

#[cfg(not(test))]
pub(super) use crate::deadline::unix_now as now;
use crate::percent;

#[cfg(test)]
thread_local! {
    /// Seconds by which the clock of the computer of this thread is ahead.
    pub(super) static AHEAD: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Returns the time by the clock of this computer.
#[cfg(test)]
pub(super) fn now() -> i64 {
    crate::deadline::unix_now() + AHEAD.get()
}

/// A SHA-256 digest.
pub(super) type Sum = [u8; 32];

/// Returns the MD5 digest in base64. Buckets with Object Lock require it for each part.
pub(super) fn md5(bytes: &[u8]) -> String {
    base64(&md5::Md5::digest(bytes))
}

pub(super) fn sha256(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}

/// Returns lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Percent-encodes all characters except the unreserved ones, as RFC 3986 and SigV4 require.
pub(super) fn percent(text: &str) -> String {
    percent::encoded(text.as_bytes(), is_unreserved)
}

/// Percent-encodes a key for a URI, like [`percent`], but leaves `/` unchanged.
pub(super) fn percent_path(key: &str) -> String {
    percent::encoded(key.as_bytes(), |byte| byte == b'/' || is_unreserved(byte))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Decodes percent-encoding and `+` (a space), as stores encode keys in listings. Returns `None` if
/// the text is malformed.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    percent::decoded(&text.replace('+', " "))
}

/// Formats a time as `20130524T000000Z`. A time whose year does not have four digits becomes the
/// beginning of 1970.
pub(super) fn amz_time(seconds: i64) -> String {
    let time = TimeVal::from_unix_seconds(seconds).or_else(|| TimeVal::from_unix_seconds(0));
    let Some(t) = time else { return String::new() };
    let (year, month, day) = (t.year(), t.month(), t.day());
    let (hour, minute, second) = (t.hour(), t.minute(), t.second());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Parses a time from a listing, such as `2009-10-12T17:50:30.000Z`, into seconds since 1970;
/// `None` if it is malformed.
pub(super) fn iso_time(text: &str) -> Option<i64> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).take(14).collect();
    TimeVal::parse(&digits).ok().map(|time| time.unix_seconds())
}

/// Parses a time from a header, such as `Mon, 12 Oct 2009 17:50:30 GMT`, into seconds since 1970;
/// `None` if it is malformed.
pub(super) fn http_time(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.find(month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
    let digits = format!("{year:0>4}{month:02}{day:0>2}{}", time.replace(':', ""));
    TimeVal::parse(digits.as_bytes()).ok().map(|time| time.unix_seconds())
}

/// Returns the content of each element `name`, in order. In responses of S3, elements of the same
/// name do not nest.
pub(super) fn xml_elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some((content, after)) = next(rest, name) {
        found.push(content);
        rest = after;
    }
    found
}

/// Returns the text of the first element `name`, with escapes resolved; `None` if there is no such
/// element.
pub(super) fn xml_text(xml: &str, name: &str) -> Option<String> {
    next(xml, name).map(|(content, _)| unescaped(content))
}

/// Returns the content of the first element `name`, and the text after the element.
fn next<'a>(xml: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = xml;
    loop {
        let tag = rest.get(rest.find('<')? + 1..)?;
        let end = tag.find('>')?;
        let (head, after) = (tag.get(..end)?, tag.get(end + 1..)?);
        let is_empty = head.ends_with('/');
        let found = head.trim_end_matches('/').split_ascii_whitespace().next();
        if found != Some(name) {
            rest = after;
            continue;
        }
        if is_empty {
            return Some(("", after));
        }
        let close = format!("</{name}>");
        let at = after.find(&close)?;
        return Some((after.get(..at)?, after.get(at + close.len()..)?));
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((entity, left)) = after.split_once(';') else {
            out.push('&');
            rest = after;
            continue;
        };
        match character(entity) {
            Some(character) => out.push(character),
            None => {
                out.push('&');
                out.push_str(entity);
                out.push(';');
            }
        }
        rest = left;
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        number => {
            let number = number.strip_prefix('#')?;
            let value = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(value.ok()?)
        }
    }
}

/// Escapes text for the content of an element.
pub(super) fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the marker of the next page, in the element `name`, if the element `IsTruncated` says that
/// another page follows. Returns `None` if the page does not say clearly whether it is the last one.
pub(super) fn xml_next_page(page: &str, name: &str) -> Option<Option<String>> {
    match xml_text(page, "IsTruncated")?.trim() {
        is_cut if is_cut.eq_ignore_ascii_case("true") => Some(Some(xml_text(page, name)?)),
        is_cut if is_cut.eq_ignore_ascii_case("false") => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_encodings_of_bytes_and_times() {
        assert_eq!(percent("a b/ü+~"), "a%20b%2F%C3%BC%2B~");
        assert_eq!(percent_path("a b/ü+~"), "a%20b/%C3%BC%2B~");
        assert_eq!(decoded("a+b%2Fc%c3%bc").as_deref(), Some("a b/cü".as_bytes()));
        for malformed in ["%", "%2", "%zz"] {
            assert_eq!(decoded(malformed), None, "{malformed}");
        }
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(base64(b"abc"), "YWJj");
        assert_eq!(amz_time(1_369_353_600), "20130524T000000Z");
        assert_eq!(iso_time("2009-10-12T17:50:30.000Z"), Some(1_255_369_830));
        assert_eq!(http_time("Mon, 12 Oct 2009 17:50:30 GMT"), Some(1_255_369_830));
        for wrong in ["", "Mon, 12 Foo 2009 17:50:30 GMT", "12 Oct", "Mon, 1x Oct 2009 1:1:1 GMT"] {
            assert_eq!(http_time(wrong), None, "{wrong}");
        }
        assert_eq!(iso_time("yesterday"), None);
    }

    #[test]
    fn elements_are_picked_by_name() {
        let xml = "<?xml version=\"1.0\"?>\n<List xmlns=\"http://s3/\"><Name>b</Name><Prefix/>\
                   <Contents><Key>a&amp;b</Key><ETag>&quot;1&#x22;</ETag></Contents>\
                   <Contents><Key>c</Key></Contents><KeyCount>2</KeyCount></List>";
        let contents = xml_elements(xml, "Contents");
        assert_eq!(contents.len(), 2);
        assert_eq!(xml_text(contents[0], "Key").as_deref(), Some("a&b"));
        assert_eq!(xml_text(contents[0], "ETag").as_deref(), Some("\"1\""));
        assert_eq!(xml_text(contents[1], "Key").as_deref(), Some("c"));
        assert_eq!(xml_text(xml, "Prefix").as_deref(), Some(""));
        assert_eq!(xml_text(xml, "Content"), None);
        for broken in ["", "<", "<Key", "<Key>", "<Key>a</Key", "</Key>"] {
            assert_eq!(xml_text(broken, "Key"), None, "{broken}");
        }
        assert_eq!(xml_text("<K>&;&x&lt</K>", "K").as_deref(), Some("&;&x&lt"));
        assert_eq!(unescaped(&xml_escaped("<a & \"b\">")), "<a & \"b\">");
    }
}
