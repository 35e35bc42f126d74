//! Parses replies without the toolkit's decoder.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

pub(super) const IAC: u8 = 0xFF;

/// One reply, complete.
#[derive(Clone, Eq, PartialEq)]
pub struct RawReply {
    /// The three digits of the last line.
    pub code: u16,
    /// Each line without its CR LF, with its code, and with `IAC IAC` read as one 0xFF.
    pub lines: Vec<Vec<u8>>,
    /// The reply as received, with CR LF and doubled 0xFF, but without Telnet commands.
    pub bytes: Vec<u8>,
}

impl RawReply {
    /// Returns all lines, separated by `\n`, with bytes that are not UTF-8 replaced, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        lines.join("\n")
    }

    /// Returns the first line without its code and the byte after it.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        self.lines.first().and_then(|line| line.get(4..)).unwrap_or_default()
    }
}

impl fmt::Debug for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes.escape_ascii())
    }
}

/// Why a reply could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoReply {
    /// The peer closed the connection properly or reset it, between two replies.
    Closed,
    /// The peer closed the connection inside a reply; the part received.
    Cut(Vec<u8>),
    /// The deadline passed; the part of the reply received.
    Late(Vec<u8>),
    /// A line that RFC 959 §4.2 does not allow there, including bare LF.
    Malformed(Vec<u8>),
}

/// Returns the host and the port `p1 * 256 + p2` from the first six numbers separated by commas.
pub(super) fn address_in_227(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let tuple = text.get(start..)?;
    let end = tuple.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(tuple.len());
    let numbers: Option<Vec<u8>> =
        tuple.get(..end)?.split(',').map(|number| number.parse().ok()).collect();
    let [h1, h2, h3, h4, p1, p2] = numbers?[..] else { return None };
    let port = u16::from(p1) * 256 + u16::from(p2);
    Some((Ipv4Addr::new(h1, h2, h3, h4), port).into())
}

/// Returns the port between `(|||` and `|)`.
pub(super) fn port_in_229(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_once("(|||")?.1.split_once("|)")?.0.parse().ok()
}

/// Returns the three digits at the beginning of a reply line, if RFC 959 allows them.
pub(super) fn code_of(line: &[u8]) -> Option<u16> {
    match line {
        [a @ b'1'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9', ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => None,
    }
}

/// Replaces each `IAC IAC` by one 0xFF; other Telnet commands were removed before.
pub(super) fn undouble(line: &[u8]) -> Vec<u8> {
    let mut bytes = line.iter().copied();
    let mut out = Vec::with_capacity(line.len());
    while let Some(byte) = bytes.next() {
        if byte == IAC {
            bytes.next();
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_227_and_229_replies_are_parsed() {
        let want = Some(SocketAddr::from(([10, 0, 0, 5], 195 * 256 + 84)));
        for text in
            ["Entering Passive Mode (10,0,0,5,195,84).", "10,0,0,5,195,84", "=10,0,0,5,195,84"]
        {
            assert_eq!(address_in_227(text.as_bytes()), want, "{text}");
        }
        for text in ["", "(10,0,0,5,195)", "(10,0,0,5,195,84,1)", "(10,0,0,5,195,256)"] {
            assert_eq!(address_in_227(text.as_bytes()), None, "{text}");
        }
        assert_eq!(port_in_229(b"Entering Extended Passive Mode (|||6446|)"), Some(6446));
        assert_eq!(port_in_229(b"(|||66446|)"), None);
    }

    #[test]
    fn doubled_iac_is_one_byte() {
        assert_eq!(undouble(b"a\xff\xffb\xff\xff"), b"a\xffb\xff");
    }
}
