//! Messages for errors of rustls and its parts, without names of Rust types or seconds since 1970.

use std::net::IpAddr;

use ftp_proto::TimeVal;
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::{UnixTime, pem};

/// Returns the details of a certificate fault, for a message that already names the kind of fault.
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!("on {}", date(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("valid from {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, .. } => {
            match names(error).as_slice() {
                [] => format!("it names no host, expected {}", expected.to_str()),
                names => format!("{}, not {}", names.join(", "), expected.to_str()),
            }
        }
        CertificateError::InvalidPurposeContext { .. } => "another purpose".to_owned(),
        CertificateError::Other(error) => match spelt(&error.to_string()) {
            words if words == "ca used as end entity" => {
                "a CA certificate used as a server certificate; many self-signed certificates are like this"
                    .to_owned()
            }
            words if words == "unsupported cert version" => {
                "a certificate of X.509 version 1, which no CA can confirm".to_owned()
            }
            words => words,
        },
        error => spelt(&error.to_string()),
    }
}

/// Returns the names and addresses of a certificate that is for another name.
pub(super) fn names(error: &CertificateError) -> Vec<String> {
    match error {
        CertificateError::NotValidForNameContext { presented, .. } => {
            presented.iter().map(|name| name_of(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the name or the address in `DnsName("a.example.org")` or `IpAddress(192.0.2.1)`.
fn name_of(text: &str) -> String {
    let address = || text.strip_prefix("IpAddress(")?.strip_suffix(')')?.parse::<IpAddr>().ok();
    match text.split('"').nth(1) {
        Some(name) => name.to_owned(),
        None => address().map_or_else(|| text.to_owned(), |address| address.to_string()),
    }
}

pub(crate) fn failure(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the server accepts no common parameters; perhaps its key type, such as ECDSA P-521 or RSA-PSS, \
             is not supported"
                .to_owned()
        }
        error => spelt(&error.to_string()),
    }
}

/// The maximum length of a text that arrived unencrypted, in bytes.
const MOST_TEXT: usize = 200;

/// Returns a printable reply, such as `500 OOPS: child died`, at the end of bytes that can begin
/// with records of TLS. Several lines are joined.
pub(super) fn reply_at_the_end(bytes: &[u8]) -> Option<String> {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n');
    let text = bytes.rsplit(|byte| !is_text(byte)).next()?;
    let is_code = |at: &[u8]| {
        matches!(at, [b'1'..=b'6', two, three, b' ' | b'-']
            if two.is_ascii_digit() && three.is_ascii_digit())
    };
    let start = text.windows(4).position(is_code)?;
    let lines = text.get(start..)?.split(|byte| matches!(byte, b'\r' | b'\n'));
    let lines: Vec<_> =
        lines.map(String::from_utf8_lossy).filter(|line| !line.is_empty()).collect();
    let mut text = lines.join(" ");
    if text.len() > MOST_TEXT {
        text.truncate(MOST_TEXT);
        text.push_str("...");
    }
    Some(text.trim_end().to_owned())
}

/// Describes why a file is not PEM.
pub(crate) fn pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section has no end: the file is truncated".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a section does not begin with a PEM header".to_owned()
        }
        pem::Error::Base64Decode(_) => "a section is not valid base64".to_owned(),
        error => spelt(&error.to_string()),
    }
}

/// Returns the date of a time, in UTC.
fn date(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(TimeVal::from_unix_seconds);
    let Some(time) = time.map(|time| time.to_string()) else { return "an unknown date".to_owned() };
    let part = |range: std::ops::Range<usize>| time.get(range).expect("a time-val has 14 digits");
    format!("{}-{}-{}", part(0..4), part(4..6), part(6..8))
}

/// Spells names of types as words: `HandshakeFailure` becomes `handshake failure`.
fn spelt(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for part in text.split_inclusive(|char: char| !char.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|char: char| !char.is_ascii_alphanumeric());
        let humps = word.bytes().zip(word.bytes().skip(1));
        let is_name = word.starts_with(|char: char| char.is_ascii_uppercase())
            && humps.filter(|(one, two)| is_hump(*one, *two)).count() > 0;
        if !is_name {
            out.push_str(part);
            continue;
        }
        let mut before = b' ';
        for char in part.chars() {
            let byte = u8::try_from(char).unwrap_or_default();
            if is_hump(before, byte) {
                out.push(' ');
            }
            out.push(char.to_ascii_lowercase());
            before = byte;
        }
    }
    out
}

/// Returns whether a new word begins between two letters of a name.
const fn is_hump(one: u8, two: u8) -> bool {
    (one.is_ascii_lowercase() || one.is_ascii_digit()) && two.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn type_names_are_spelled_out() {
        for (text, want) in [
            ("received fatal alert: HandshakeFailure", "received fatal alert: handshake failure"),
            ("peer is incompatible: Tls12NotOffered", "peer is incompatible: tls12 not offered"),
            ("UnknownIssuer", "unknown issuer"),
            ("no TLS, OK: Revoked", "no TLS, OK: Revoked"),
            ("CaUsedAsEndEntity", "ca used as end entity"),
            ("\u{e9}t\u{e9} (BadEncoding)", "\u{e9}t\u{e9} (bad encoding)"),
        ] {
            assert_eq!(spelt(text), want);
        }
    }

    #[test]
    fn only_unencrypted_replies_are_shown() {
        let long = format!("500 {}", "x".repeat(1_000));
        let short = format!("500 {}...", "x".repeat(196));
        for (bytes, want) in [
            (&b"500 OOPS: child died\r\n"[..], Some("500 OOPS: child died")),
            (b"\x17\x03\x03\0\x05ab\xffQ500 OOPS: ", Some("500 OOPS:")),
            (b"421-bye\r\n421 now\r\n", Some("421-bye 421 now")),
            (long.as_bytes(), Some(&short)),
            (b"500 \x1b[2Jhidden", None),
            (b"\x17\x03\x03\0\x05abcde", None),
            (b"12 34", None),
            (b"", None),
        ] {
            assert_eq!(reply_at_the_end(bytes).as_deref(), want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn certificate_errors_show_dates_and_names() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext {
            time: at(1_795_237_211),
            not_after: at(1_577_836_800),
        };
        assert_eq!(certificate(&expired), "on 2020-01-01");
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(86_400) };
        assert_eq!(certificate(&early), "valid from 1970-01-02");
        let name = CertificateError::NotValidForNameContext {
            expected: "a.example".try_into().unwrap(),
            presented: vec!["DnsName(\"b.example\")".to_owned(), "DnsName(\"c\")".to_owned()],
        };
        assert_eq!(certificate(&name), "b.example, c, not a.example");
        let address = CertificateError::NotValidForNameContext {
            expected: "a.example".try_into().unwrap(),
            presented: vec!["IpAddress(192.0.2.1)".to_owned(), "IpAddress(0::1)".to_owned()],
        };
        assert_eq!(certificate(&address), "192.0.2.1, ::1, not a.example");
    }
}
