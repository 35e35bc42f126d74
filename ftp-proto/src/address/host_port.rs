//! The host-port of `PORT` and of the 227 reply (RFC 959 §4.1.2, §5.3.2; RFC 1123 §4.1.2.6).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::{ParseError, ParseErrorKind, bytes};

/// An IPv4 address and TCP port, written `h1,h2,h3,h4,p1,p2` (RFC 959 §4.1.2 and §5.3.2).
///
/// The six fields are decimal octets, high order first; the port is `p1 * 256 + p2`.
///
/// ```
/// use ftp_proto::HostPort;
///
/// let tuple = HostPort::parse(b"10,0,0,5,195,84")?;
/// assert_eq!(tuple.port, 195 * 256 + 84);
/// assert_eq!(tuple.to_string(), "10,0,0,5,195,84");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct HostPort {
    /// The host, `h1.h2.h3.h4`.
    pub host: Ipv4Addr,
    /// The port, 0 to 65535. The caller decides whether to accept 0 or a port below 1024.
    pub port: u16,
}

impl HostPort {
    /// Parses one tuple that fills all of `input`, without spaces or brackets.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for fewer than six fields.
    /// - `UnexpectedByte` for more than six fields.
    /// - `BadNumber` for a field that is not a number from 0 to 255 in 1 to 3 digits; `at` is the
    ///   start of that field.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("host-port", at, kind);
        let mut fields = input.split(|&byte| byte == b',');
        let mut octets = [0; 6];
        let mut at = 0;
        for octet in &mut octets {
            let field = fields.next().ok_or(error(at, ParseErrorKind::UnexpectedEnd))?;
            *octet = bytes::octet(field).ok_or(error(at, ParseErrorKind::BadNumber))?;
            at += field.len() + 1;
        }
        if fields.next().is_some() {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        Ok(Self::from_octets(octets))
    }

    /// Finds the tuple in the text of a 227 reply.
    ///
    /// The tuple is the start of the first run of six or more numbers with commas between them.
    /// Brackets are optional, since servers differ in the surrounding text (RFC 1123 §4.1.2.6). If
    /// there is no such run, a second search allows SP after the commas.
    ///
    /// ```
    /// use ftp_proto::HostPort;
    ///
    /// let tuple = HostPort::find(b"Entering Passive Mode (10,0,0,5,195,84).")?;
    /// assert_eq!(tuple, HostPort::find(b"Entering Passive Mode 10,0,0,5,195,84")?);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` if there is no run of at least six numbers.
    /// - `BadNumber` if a number is above 255 or longer than three digits, or the port is 0.
    pub fn find(text: &[u8]) -> Result<Self, ParseError> {
        match Self::find_with(text, false) {
            Err(ParseError { kind: ParseErrorKind::UnexpectedEnd, .. }) => {
                Self::find_with(text, true)
            }
            found => found,
        }
    }

    fn find_with(text: &[u8], blanks: bool) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("host-port", at, kind);
        let mut rest = text;
        loop {
            let Some(skipped) = rest.iter().position(u8::is_ascii_digit) else {
                return Err(error(text.len(), ParseErrorKind::UnexpectedEnd));
            };
            let at = text.len() - rest.len() + skipped;
            let (_, from_digit) = rest.split_at(skipped);
            let mut before = 0;
            let belongs = |byte: &&u8| {
                let last = std::mem::replace(&mut before, **byte);
                byte.is_ascii_digit()
                    || **byte == b','
                    || blanks && **byte == b' ' && matches!(last, b',' | b' ')
            };
            let length = from_digit.iter().take_while(belongs).count();
            let (run, after) = from_digit.split_at(length);
            // The numbers may be followed by one more comma.
            let run = run.trim_ascii_end();
            let run = run.strip_suffix(b",").unwrap_or(run);
            let mut fields = run.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            let is_whole = fields.clone().all(|field| !field.is_empty());
            if is_whole && fields.clone().count() >= 6 {
                let mut octets = [0; 6];
                for (octet, field) in octets.iter_mut().zip(&mut fields) {
                    *octet = bytes::octet(field).ok_or(error(at, ParseErrorKind::BadNumber))?;
                }
                return match Self::from_octets(octets) {
                    Self { port: 0, .. } => Err(error(at, ParseErrorKind::BadNumber)),
                    found => Ok(found),
                };
            }
            rest = after;
        }
    }

    const fn from_octets([h1, h2, h3, h4, p1, p2]: [u8; 6]) -> Self {
        Self { host: Ipv4Addr::new(h1, h2, h3, h4), port: u16::from_be_bytes([p1, p2]) }
    }
}

impl From<SocketAddrV4> for HostPort {
    fn from(address: SocketAddrV4) -> Self {
        Self { host: *address.ip(), port: address.port() }
    }
}

impl From<HostPort> for SocketAddrV4 {
    fn from(tuple: HostPort) -> Self {
        Self::new(tuple.host, tuple.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h1, h2, h3, h4] = self.host.octets();
        let [p1, p2] = self.port.to_be_bytes();
        write!(f, "{h1},{h2},{h3},{h4},{p1},{p2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn parse_accepts_host_ports_cm_42() {
        for (text, host, port) in [
            ("127,0,0,1,0,0", [127, 0, 0, 1], 0),
            ("10,0,0,5,195,84", [10, 0, 0, 5], 50_004),
            ("255,255,255,255,255,255", [255; 4], 65_535),
            ("001,02,3,4,5,6", [1, 2, 3, 4], 1_286),
        ] {
            let want = HostPort { host: host.into(), port };
            assert_eq!(HostPort::parse(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_host_ports_cm_42() {
        for (text, at, kind) in [
            ("", 0, BadNumber),
            ("1,2,3,4,5", 10, UnexpectedEnd),
            ("1,2,3,4,5,6,7", 12, UnexpectedByte),
            ("1,2,3,+4,5,6", 6, BadNumber),
            ("1,2,3,-4,5,6", 6, BadNumber),
            ("1,2,3, 4,5,6", 6, BadNumber),
            ("1,2,3,4,5,256", 10, BadNumber),
            ("1,2,,4,5,6", 4, BadNumber),
            ("1.2.3.4.5.6", 0, BadNumber),
            ("(1,2,3,4,5,6)", 0, BadNumber),
            ("1,2,3,4,5,6,", 12, UnexpectedByte),
            ("1,2,3,4,5,0006", 10, BadNumber),
        ] {
            let want = ParseError::new("host-port", at, kind);
            assert_eq!(HostPort::parse(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn find_reads_the_227_texts_of_servers_cl_23() {
        let want = HostPort { host: [10, 0, 0, 5].into(), port: 50_004 };
        for text in [
            "Entering Passive Mode (10,0,0,5,195,84).",
            "Entering Passive Mode 10,0,0,5,195,84",
            "=10,0,0,5,195,84",
            "10,0,0,5,195,84",
            "2 ways, 1 port: 10,0,0,5,195,84 (20 s)",
            "Entering Passive Mode (10,0,0,5,195,84,)",
            "Entering Passive Mode (10, 0, 0, 5, 195, 84)",
            "Entering Passive Mode 10, 0,  0, 5,195, 84.",
            "port 5, 10,0,0,5,195,84",
            "1, 2, 3, 4, 5, 6: 10,0,0,5,195,84",
            "1, ,2,3,4,5,6: 10, 0,0,5,195,84",
        ] {
            assert_eq!(HostPort::find(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn find_rejects_invalid_host_ports_cl_24_hc_04() {
        let digits = "9".repeat(1 << 20);
        for (text, kind) in [
            ("Entering Passive Mode", UnexpectedEnd),
            ("(10,0,0,5,195)", UnexpectedEnd),
            ("(10,0,0,,195,84)", UnexpectedEnd),
            ("(10,0,0,5,256,84)", BadNumber),
            ("(10,0,0,5,0,0)", BadNumber),
            ("(10,0,0,5,1000000000000000000000000000000,84)", BadNumber),
            (digits.as_str(), UnexpectedEnd),
            ("", UnexpectedEnd),
            ("\0", UnexpectedEnd),
        ] {
            let got = HostPort::find(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{text:.60}");
        }
    }

    #[test]
    fn display_round_trips() {
        for port in [0, 1, 255, 256, 50_004, 65_535] {
            let tuple = HostPort { host: [192, 0, 2, 1].into(), port };
            assert_eq!(HostPort::parse(tuple.to_string().as_bytes()), Ok(tuple));
        }
    }

    #[test]
    fn errors_report_the_position() {
        for (text, at) in [("ab 1,2,3,4,5,256", 3), ("1,2 ab 1,2,3,4,0,0", 7), ("none", 4)] {
            let got = HostPort::find(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }
}
