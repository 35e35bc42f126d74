//! The header in which a load balancer names the client of a connection: the PROXY protocol of
//! HAProxy, versions 1 and 2.

use std::net::{IpAddr, SocketAddr};

use crate::limits::{PROXY_HEADER, PROXY_LINE};
use crate::{ParseError, ParseErrorKind, bytes};

/// The first bytes of a version 2 header; no line of text begins with them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of a version 2 header without addresses.
const FIXED: usize = 16;

/// The shortest header: `PROXY UNKNOWN` and CR LF.
const SHORTEST: usize = 15;

/// The information that a load balancer sends about a connection, before the client's first byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProxyHeader {
    /// A connection of the load balancer itself, such as a health check: `LOCAL` in version 2.
    Local,
    /// A connection for a client without a known address: `UNKNOWN` in version 1; in version 2, any
    /// family and protocol other than TCP over IPv4 or IPv6.
    Unknown,
    /// A connection for a client. IPv4-mapped addresses appear as IPv4.
    Client {
        /// The client's address and port.
        source: SocketAddr,
        /// The address and port that the client connected to.
        destination: SocketAddr,
    },
}

/// Result of [`ProxyHeader::parse`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyProgress {
    /// The header is complete and has this length in bytes. Later bytes are the client's.
    Whole(ProxyHeader, usize),
    /// The header is longer than the input by at least this many bytes (1 or more). If you read
    /// more, you may take bytes that the client sent after the header.
    Needs(usize),
}

impl ProxyHeader {
    /// Parses the header at the beginning of `input`. Skips the extensions (TLVs) of version 2, so
    /// a checksum among them is not verified.
    ///
    /// ```
    /// use ftp_proto::{ProxyHeader, ProxyProgress};
    ///
    /// let input = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 21\r\n";
    /// let header = ProxyHeader::Client {
    ///     source: ([203, 0, 113, 7], 50000).into(),
    ///     destination: ([192, 0, 2, 1], 21).into(),
    /// };
    /// assert_eq!(ProxyHeader::parse(input), Ok(ProxyProgress::Whole(header, input.len())));
    /// assert_eq!(ProxyHeader::parse(&input[..40]), Ok(ProxyProgress::Needs(2)));
    /// assert!(ProxyHeader::parse(b"USER anonymous\r\n").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// - `UnexpectedByte` if the bytes are not a header.
    /// - `BadNumber` for an invalid address or port in version 1.
    /// - `UnexpectedEnd` if addresses are missing in version 2.
    /// - `UnknownWord` for an unknown version, command, family or protocol, and for a line of
    ///   version 1 with a wrong number of words.
    /// - `TooLong` for a header longer than [`PROXY_LINE`] (version 1) or [`PROXY_HEADER`] (version
    ///   2).
    pub fn parse(input: &[u8]) -> Result<ProxyProgress, ParseError> {
        match input.first() {
            None => Ok(ProxyProgress::Needs(SHORTEST)),
            Some(b'P') => version_1(input),
            Some(_) => version_2(input),
        }
    }

    fn client(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self::Client { source: canonical(source), destination: canonical(destination) }
    }
}

const fn error(at: usize, kind: ParseErrorKind) -> ParseError {
    ParseError::new("PROXY header", at, kind)
}

/// Checks that `input` begins with `want`, or with the beginning of `want` if `input` is shorter.
fn begins_with(input: &[u8], want: &[u8]) -> Result<(), ParseError> {
    match want.iter().zip(input).position(|(want, byte)| want != byte) {
        Some(at) => Err(error(at, ParseErrorKind::UnexpectedByte)),
        None => Ok(()),
    }
}

fn version_1(input: &[u8]) -> Result<ProxyProgress, ParseError> {
    begins_with(input, b"PROXY ")?;
    let line_end = input.iter().take(PROXY_LINE - 1).position(|byte| matches!(byte, b'\r' | b'\n'));
    let Some(end) = line_end else {
        return match input.len() < PROXY_LINE - 1 {
            // At least CR and LF are missing.
            true => Ok(ProxyProgress::Needs(SHORTEST.saturating_sub(input.len()).max(2))),
            false => Err(error(PROXY_LINE - 1, ParseErrorKind::TooLong)),
        };
    };
    match input.get(end..).unwrap_or_default() {
        [b'\r'] => Ok(ProxyProgress::Needs(1)),
        [b'\r', b'\n', ..] => {
            let header = words(input.get(..end).unwrap_or_default())?;
            Ok(ProxyProgress::Whole(header, end + 2))
        }
        _ => Err(error(end, ParseErrorKind::UnexpectedByte)),
    }
}

/// Parses a line without its line ending.
fn words(line: &[u8]) -> Result<ProxyHeader, ParseError> {
    let text = std::str::from_utf8(line);
    let words: Vec<&str> = text.map(|text| text.split(' ').collect()).unwrap_or_default();
    let bad = || error(0, ParseErrorKind::BadNumber);
    let host = |text: &str, is_ipv4: bool| {
        text.parse().ok().filter(|host: &IpAddr| host.is_ipv4() == is_ipv4).ok_or_else(bad)
    };
    match *words.as_slice() {
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let is_ipv4 = family == "TCP4";
            let source = SocketAddr::new(host(source, is_ipv4)?, port(from).ok_or_else(bad)?);
            let destination =
                SocketAddr::new(host(destination, is_ipv4)?, port(to).ok_or_else(bad)?);
            Ok(ProxyHeader::client(source, destination))
        }
        _ if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") => {
            Ok(ProxyHeader::Unknown)
        }
        _ => Err(error(6, ParseErrorKind::UnknownWord)),
    }
}

/// Parses a port without leading zeros.
fn port(text: &str) -> Option<u16> {
    let has_zero = text.len() > 1 && text.starts_with('0');
    bytes::decimal(text.as_bytes()).filter(|_| !has_zero).and_then(|port| port.try_into().ok())
}

fn version_2(input: &[u8]) -> Result<ProxyProgress, ParseError> {
    begins_with(input, SIGNATURE)?;
    let Some(&[.., command, family, high, low]) = input.first_chunk::<FIXED>() else {
        return Ok(ProxyProgress::Needs(FIXED - input.len()));
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(error(SIGNATURE.len(), ParseErrorKind::UnknownWord)),
    };
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(error(SIGNATURE.len() + 1, ParseErrorKind::UnknownWord));
    }
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > PROXY_HEADER {
        return Err(error(PROXY_HEADER, ParseErrorKind::TooLong));
    }
    let Some(addresses) = input.get(FIXED..length) else {
        return Ok(ProxyProgress::Needs(length - input.len()));
    };
    let header = match (is_local, family) {
        (true, _) => Some(ProxyHeader::Local),
        (false, 0x11) => ipv4(addresses),
        (false, 0x21) => ipv6(addresses),
        (false, _) => Some(ProxyHeader::Unknown),
    };
    let header = header.ok_or(error(length, ParseErrorKind::UnexpectedEnd))?;
    Ok(ProxyProgress::Whole(header, length))
}

fn ipv4(addresses: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = addresses.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let [from, to] = ports(rest)?;
    Some(ProxyHeader::client((*source, from).into(), (*destination, to).into()))
}

fn ipv6(addresses: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = addresses.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let [from, to] = ports(rest)?;
    Some(ProxyHeader::client((*source, from).into(), (*destination, to).into()))
}

fn ports(bytes: &[u8]) -> Option<[u16; 2]> {
    let &[a, b, c, d] = bytes.first_chunk::<4>()?;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(source: &str, destination: &str) -> ProxyHeader {
        let source = source.parse().unwrap();
        let destination = destination.parse().unwrap();
        ProxyHeader::Client { source, destination }
    }

    /// Returns a header of version 2 that ends with `rest`.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    #[test]
    fn valid_proxy_v1_headers() {
        let v4 = client("192.0.2.7:50000", "198.51.100.1:21");
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(PROXY_LINE - 16));
        for (line, want) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 21\r\n", v4),
            ("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", client("[2001:db8::7]:0", "[::1]:65535")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 50000 21\r\n", v4),
            ("PROXY UNKNOWN\r\n", ProxyHeader::Unknown),
            ("PROXY UNKNOWN any \u{e9} thing\r\n", ProxyHeader::Unknown),
            (&*longest, ProxyHeader::Unknown),
        ] {
            let whole = Ok(ProxyProgress::Whole(want, line.len()));
            assert_eq!(ProxyHeader::parse(line.as_bytes()), whole, "{line}");
            let more = [line, "USER x\r\n"].concat();
            assert_eq!(ProxyHeader::parse(more.as_bytes()), whole, "{line}");
        }
    }

    #[test]
    fn invalid_proxy_v1_headers_are_rejected() {
        use ParseErrorKind::{BadNumber, TooLong, UnexpectedByte, UnknownWord};
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(PROXY_LINE - 15));
        for (line, at, kind) in [
            ("USER x\r\n", 0, UnexpectedByte),
            ("PASS x\r\n", 1, UnexpectedByte),
            ("PROXY\r\n", 5, UnexpectedByte),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", 34, UnexpectedByte),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r \r\n", 34, UnexpectedByte),
            ("PROXY \r\n", 6, UnknownWord),
            ("PROXY UNKNOWNS\r\n", 6, UnknownWord),
            ("PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", 6, UnknownWord),
            ("PROXY tcp4 192.0.2.7 192.0.2.1 1 2\r\n", 6, UnknownWord),
            ("PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n", 6, UnknownWord),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n", 6, UnknownWord),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", 6, UnknownWord),
            ("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", 0, BadNumber),
            ("PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n", 0, BadNumber),
            ("PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n", 0, BadNumber),
            ("PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n", 0, BadNumber),
            ("PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n", 0, BadNumber),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n", 0, BadNumber),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", 0, BadNumber),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n", 0, BadNumber),
            (&*long, PROXY_LINE - 1, TooLong),
        ] {
            assert_eq!(ProxyHeader::parse(line.as_bytes()), Err(error(at, kind)), "{line:?}");
        }
    }

    #[test]
    fn valid_proxy_v2_headers() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0, 21];
        let told = client("192.0.2.7:50000", "198.51.100.1:21");
        let mapped = |host: [u8; 4]| Ipv4Addr::from(host).to_ipv6_mapped().octets();
        let source = mapped([192, 0, 2, 7]);
        let v6 = [&source[..], &mapped([198, 51, 100, 1]), &v4[8..]].concat();
        let extended = [&v4[..], &[0x04, 0, 3, 1, 2, 3, 0xee, 0xff, 0xff]].concat();
        let longest = [&v4[..], &[0; PROXY_HEADER - FIXED - 12]].concat();
        for (command, family, rest, want) in [
            (0x21, 0x11, &v4[..], told),
            (0x21, 0x11, &extended, told),
            (0x21, 0x11, &longest, told),
            (0x21, 0x21, &v6, told),
            (0x20, 0x00, &[], ProxyHeader::Local),
            (0x20, 0x11, &v4, ProxyHeader::Local),
            (0x20, 0x11, &[1], ProxyHeader::Local),
            (0x21, 0x00, &[], ProxyHeader::Unknown),
            (0x21, 0x12, &v4, ProxyHeader::Unknown),
            (0x21, 0x31, &[0; 216], ProxyHeader::Unknown),
        ] {
            let mut header = binary(command, family, rest);
            let whole = Ok(ProxyProgress::Whole(want, header.len()));
            assert_eq!(ProxyHeader::parse(&header), whole, "{header:x?}");
            header.extend(b"USER x\r\n");
            assert_eq!(ProxyHeader::parse(&header), whole, "{header:x?}");
        }
    }

    #[test]
    fn invalid_proxy_v2_headers_are_rejected() {
        use ParseErrorKind::{TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord};
        let v4 = [0; 12];
        let mut other = binary(0x21, 0x11, &v4);
        other[11] = b'\r';
        let tls = b"\x16\x03\x01\x02\x00\x01\x00".to_vec();
        for (header, at, kind) in [
            (other, 11, UnexpectedByte),
            (tls, 0, UnexpectedByte),
            (b"\r\n\r\nUSER x".to_vec(), 4, UnexpectedByte),
            (binary(0x11, 0x11, &v4), 12, UnknownWord),
            (binary(0x22, 0x11, &v4), 12, UnknownWord),
            (binary(0x21, 0x41, &v4), 13, UnknownWord),
            (binary(0x20, 0x13, &v4), 13, UnknownWord),
            (binary(0x21, 0x11, &v4[..11]), 27, UnexpectedEnd),
            (binary(0x21, 0x21, &[0; 35]), 51, UnexpectedEnd),
            (binary(0x21, 0x11, &[0; PROXY_HEADER - FIXED + 1]), PROXY_HEADER, TooLong),
        ] {
            assert_eq!(ProxyHeader::parse(&header), Err(error(at, kind)), "{header:x?}");
        }
    }

    #[test]
    fn parse_requests_no_bytes_after_the_header() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 21\r\nUSER x\r\n".to_vec();
        let unknown = b"PROXY UNKNOWN\r\nUSER x\r\n".to_vec();
        let binary = [binary(0x21, 0x11, &[0; 30]), b"USER x\r\n".to_vec()].concat();
        for input in [line, unknown, binary] {
            let mut taken = 0;
            let length = loop {
                match ProxyHeader::parse(&input[..taken]).unwrap() {
                    ProxyProgress::Whole(_, length) => break length,
                    ProxyProgress::Needs(count) => taken += count,
                }
            };
            assert_eq!(taken, length);
            assert_eq!(&input[length..], b"USER x\r\n");
        }
    }
}
