//! Where a file is: `ftp://user@host:port/a/b;type=i` (RFC 1738 §3.2) and the short form
//! `user@host:path`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::error::{ParseError, ParseErrorKind};
use crate::number;
use crate::parameters::RepresentationType;
use crate::pathname::{Escaped, is_line_break};

/// How the control connection is protected, from the scheme of the URL.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `ftp`: clear text; port 21.
    Ftp,
    /// `ftpes`: clear text until `AUTH TLS`, which must succeed; port 21.
    Ftpes,
    /// `ftps`: TLS from the first byte; port 990.
    Ftps,
}

impl Scheme {
    /// The port used where the URL names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ftp | Self::Ftpes => 21,
            Self::Ftps => 990,
        }
    }
}

/// A URL of an FTP object, percent-decoded. `Debug` and `Display` show no password.
///
/// ```
/// use ftp_proto::FtpUrl;
///
/// let url = FtpUrl::parse(b"ftp://me@host.example/pub/a%20b.txt;type=a")?;
/// assert_eq!(url.user(), Some(b"me".as_slice()));
/// assert_eq!((url.host(), url.port()), ("host.example", 21));
/// assert_eq!(url.path(), b"pub/a b.txt");
///
/// let url = FtpUrl::parse(b"ftp://host.example/a%2Fb/c")?;
/// assert!(url.parts().eq([&b"a/b"[..], b"c"]), "split, then decoded");
///
/// let short = FtpUrl::parse(b"me@host.example:/var/a%20b")?;
/// assert_eq!(short.path(), b"/var/a%20b", "taken byte for byte, as scp does");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct FtpUrl {
    scheme: Scheme,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    host: String,
    port: Option<u16>,
    path: Vec<u8>,
    /// Where in `path` each of its parts ends; one at least.
    ends: Vec<usize>,
    representation: Option<RepresentationType>,
    lists: bool,
}

impl FtpUrl {
    /// Reads a URL or the short form.
    ///
    /// The path of a URL is split at `/` before it is percent-decoded; it is relative to the
    /// directory the login ends in, and absolute if it begins with `%2F`. `;type=` takes `a`,
    /// `i` or `d` in either case. In brackets stands an IPv6 address, which a zone may follow
    /// behind `%25` (RFC 6874 §2) or, as people write it, behind a bare `%`.
    ///
    /// # Errors
    ///
    /// `UnknownWord` for another scheme or type; `UnexpectedEnd` without a host or zone or with
    /// half an escape; `BadNumber` for a port that is not 1 to 65535 or an escape that is not
    /// hexadecimal; `LineBreak` for CR, LF or NUL in any part, escaped or not; `UnexpectedByte`
    /// for a host of other characters than names and addresses have, and for brackets around
    /// anything but an IPv6 address.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        if let Some(at) = input.iter().position(|&byte| is_line_break(byte)) {
            return Err(error(at, ParseErrorKind::LineBreak));
        }
        // Behind anything else it is part of a short form's path.
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let end = input.iter().position(|byte| !in_scheme(byte)).unwrap_or(input.len());
        match input.split_at_checked(end) {
            Some((scheme, rest)) if rest.starts_with(b"://") => Self::parse_url(input, scheme),
            _ => Self::parse_short(input),
        }
    }

    fn parse_url(input: &[u8], scheme: &[u8]) -> Result<Self, ParseError> {
        let start = scheme.len() + 3;
        let scheme = match scheme.to_ascii_lowercase().as_slice() {
            b"ftp" => Scheme::Ftp,
            b"ftpes" => Scheme::Ftpes,
            b"ftps" => Scheme::Ftps,
            _ => return Err(error(0, ParseErrorKind::UnknownWord)),
        };
        let rest = input.get(start..).unwrap_or_default();
        let slash = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).unwrap_or((rest, &[]));
        // The last `@`: whatever stands before it cannot be a host.
        let split = authority.iter().rposition(|&byte| byte == b'@');
        let place_at = split.map_or(0, |at| at + 1);
        let place = authority.get(place_at..).unwrap_or_default();
        let mut url = Self::at_place(scheme, place, start + place_at, zone_of_url)?;
        if let Some(login) = split.and_then(|at| authority.get(..at)) {
            let colon = login.iter().position(|&byte| byte == b':').unwrap_or(login.len());
            let (user, password) = login.split_at_checked(colon).unwrap_or((login, &[]));
            url.user = Some(percent_decode(user, start)?).filter(|user| !user.is_empty());
            let password = password.split_first().map(|(_, password)| password);
            let decode = |password| percent_decode(password, start + colon + 1);
            url.password = password.map(decode).transpose()?;
        }
        let path = path.get(1..).unwrap_or_default();
        let mut at = start + slash + 1;
        let is_type = |six: &[u8]| six.eq_ignore_ascii_case(b";type=");
        let path = match path.windows(6).position(is_type) {
            Some(end) => {
                let code = path.get(end + 6..).unwrap_or_default();
                match code {
                    b"a" | b"A" => url.representation = Some(RepresentationType::Ascii),
                    b"i" | b"I" => url.representation = Some(RepresentationType::Image),
                    b"d" | b"D" => url.lists = true,
                    _ => return Err(error(at + end, ParseErrorKind::UnknownWord)),
                }
                path.get(..end).unwrap_or_default()
            }
            None => path,
        };
        for part in path.split(|&byte| byte == b'/') {
            url.push_part(&percent_decode(part, at)?);
            at += part.len() + 1;
        }
        Ok(url)
    }

    /// `[user@]host[:port]:path`; the path is all behind the colon, byte for byte.
    fn parse_short(input: &[u8]) -> Result<Self, ParseError> {
        let end = error(input.len(), ParseErrorKind::UnexpectedEnd);
        // As with scp, the first colon ends the host, and what holds a `/` before it is a file.
        let stop = input.iter().position(|byte| matches!(byte, b':' | b'[' | b'/')).ok_or(end)?;
        let head = input.get(..stop).unwrap_or_default();
        let host_at = head.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
        let bracket = input.get(host_at) == Some(&b'[');
        let host_end = if bracket {
            let close = input.iter().skip(host_at).position(|&byte| byte == b']');
            host_at + close.ok_or(end)? + 1
        } else {
            stop
        };
        let behind = input.get(host_end..).and_then(|rest| rest.strip_prefix(b":")).ok_or(end)?;
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (port, path) = match behind.get(digits..).and_then(|rest| rest.strip_prefix(b":")) {
            Some(path) if digits > 0 => (digits + 1, path),
            _ => (0, behind),
        };
        let place = input.get(host_at..host_end + port).unwrap_or_default();
        // Only a URL is escaped; here a `%` is a `%`, and the user, zone and path are as they are.
        let mut url = Self::at_place(Scheme::Ftp, place, host_at, |zone, _| Ok(zone.to_vec()))?;
        let user = head.get(..host_at.saturating_sub(1)).filter(|user| !user.is_empty());
        url.user = user.map(<[u8]>::to_vec);
        path.split(|&byte| byte == b'/').for_each(|part| url.push_part(part));
        Ok(url)
    }

    /// All but login and path, from `host[:port]`; `at` is where that stands in the input, and
    /// `unescape` undoes what is escaped in a zone.
    fn at_place(
        scheme: Scheme,
        input: &[u8],
        at: usize,
        unescape: Unescape,
    ) -> Result<Self, ParseError> {
        let (host, port) = if let Some(rest) = input.strip_prefix(b"[") {
            let close = rest.iter().position(|&byte| byte == b']');
            let close = close.ok_or(error(at, ParseErrorKind::UnexpectedEnd))?;
            let (host, port) = rest.split_at_checked(close).unwrap_or((rest, &[]));
            (ipv6_host(host, at + 1, unescape)?, port.get(1..).unwrap_or_default())
        } else {
            let colon = input.iter().position(|&byte| byte == b':').unwrap_or(input.len());
            let (host, port) = input.split_at_checked(colon).unwrap_or((input, &[]));
            (name(host, at)?, port)
        };
        let port_at = at + input.len() - port.len();
        let port = match port.split_first() {
            None => None,
            Some((b':', digits)) => {
                let port = number::decimal(digits).and_then(|port| u16::try_from(port).ok());
                let bad = error(port_at + 1, ParseErrorKind::BadNumber);
                Some(port.filter(|port| *port != 0).ok_or(bad)?)
            }
            Some(_) => return Err(error(port_at, ParseErrorKind::UnexpectedByte)),
        };
        Ok(Self {
            scheme,
            user: None,
            password: None,
            host,
            port,
            path: Vec::new(),
            ends: Vec::new(),
            representation: None,
            lists: false,
        })
    }

    fn push_part(&mut self, part: &[u8]) {
        if !self.ends.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(part);
        self.ends.push(self.path.len());
    }

    /// How the control connection is protected.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user's name; without one, log in as `anonymous` (RFC 1635).
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    /// The password, where the URL has one.
    #[must_use]
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets, with `%` and
    /// the zone behind it if it has one (RFC 4007 §11).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that the URL names, if it does.
    #[must_use]
    pub const fn named_port(&self) -> Option<u16> {
        self.port
    }

    /// The port: the URL's, else that of its scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// The path, without the `/` that separates it from the host; may be empty.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The parts of the path: each was decoded on its own, so a part of a URL may hold a `/` that
    /// was written `%2F`. Joined by `/` they are the [`path`](Self::path); an empty path is one
    /// empty part. All but the last are what `CWD` takes one by one (RFC 1738 §3.2.2).
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let part = self.path.get(start..end);
            start = end + 1;
            part.unwrap_or_default()
        })
    }

    /// Whether the path stands for a directory: it is empty, ends in `/`, or `;type=d` says so.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.lists || matches!(self.path.last(), None | Some(b'/'))
    }

    /// What `;type=a` or `;type=i` asks for.
    #[must_use]
    pub const fn representation(&self) -> Option<RepresentationType> {
        self.representation
    }
}

impl FromStr for FtpUrl {
    type Err = ParseError;

    /// As [`parse`](Self::parse).
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for FtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Ftp => "ftp",
            Scheme::Ftpes => "ftpes",
            Scheme::Ftps => "ftps",
        };
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", Escaped(user))?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", Escaped(self.host.as_bytes()))?;
        } else {
            write!(f, "{}", Escaped(self.host.as_bytes()))?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", Escaped(&self.path))
    }
}

impl fmt::Debug for FtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FtpUrl({self})")
    }
}

const fn error(at: usize, kind: ParseErrorKind) -> ParseError {
    ParseError::new("URL", at, kind)
}

/// Undoes escapes, given bytes and where they stand in the whole.
type Unescape = fn(&[u8], usize) -> Result<Vec<u8>, ParseError>;

/// What stands in brackets: an IPv6 address, and `%` and a zone if there is one.
fn ipv6_host(input: &[u8], at: usize, unescape: Unescape) -> Result<String, ParseError> {
    let end = input.iter().position(|&byte| byte == b'%').unwrap_or(input.len());
    let (address, zone) = input.split_at_checked(end).unwrap_or((input, &[]));
    let address = std::str::from_utf8(address).ok();
    let address = address.filter(|address| address.parse::<Ipv6Addr>().is_ok());
    let mut host = address.ok_or(error(at, ParseErrorKind::UnexpectedByte))?.to_owned();
    if let Some((_, zone)) = zone.split_first() {
        let zone_at = at + end + 1;
        host.push('%');
        host.push_str(&name(&unescape(zone, zone_at)?, zone_at)?);
    }
    Ok(host)
}

/// The zone of a URL, where `%25` is the escape for the `%` before it. As the first `%` is read
/// already, that leaves a `25`, which with nothing behind it is a zone itself.
fn zone_of_url(input: &[u8], at: usize) -> Result<Vec<u8>, ParseError> {
    match input.strip_prefix(b"25") {
        Some(zone) if !zone.is_empty() => percent_decode(zone, at + 2),
        _ => Ok(input.to_vec()),
    }
}

/// The name of a host or zone, or an IPv4 address, which has no other characters.
fn name(input: &[u8], at: usize) -> Result<String, ParseError> {
    if input.is_empty() {
        return Err(error(at, ParseErrorKind::UnexpectedEnd));
    }
    let allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte) || *byte >= 0x80;
    let name = Some(input).filter(|name| name.iter().all(allowed)).map(<[u8]>::to_vec);
    let name = name.and_then(|name| String::from_utf8(name).ok());
    name.ok_or(error(at, ParseErrorKind::UnexpectedByte))
}

/// Undoes `%XX`; `at` is where `input` stands in the whole.
fn percent_decode(input: &[u8], at: usize) -> Result<Vec<u8>, ParseError> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&byte, tail)) = rest.split_first() {
        let at = at + input.len() - rest.len();
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let (digits, tail) =
            tail.split_at_checked(2).ok_or(error(at, ParseErrorKind::UnexpectedEnd))?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let value = digits.iter().try_fold(0, |value, byte| Some(value * 16 + digit(byte)?));
        let value = value.and_then(|value| u8::try_from(value).ok());
        let value = value.ok_or(error(at, ParseErrorKind::BadNumber))?;
        if is_line_break(value) {
            return Err(error(at, ParseErrorKind::LineBreak));
        }
        out.push(value);
        rest = tail;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, LineBreak, UnexpectedByte, UnexpectedEnd, UnknownWord};

    /// user, password, host, port, path of a URL that must parse.
    fn parts(text: &str) -> (Option<String>, Option<String>, String, u16, String) {
        let url = FtpUrl::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (user, password) = (url.user().map(text), url.password().map(text));
        (user, password, url.host().to_owned(), url.port(), text(url.path()))
    }

    #[test]
    fn parse_reads_urls_cl_60_cl_61_cl_65() {
        for (text, user, password, host, port, path) in [
            ("ftp://h", None, None, "h", 21, ""),
            ("ftp://h/", None, None, "h", 21, ""),
            ("FTP://h/a/b", None, None, "h", 21, "a/b"),
            ("ftpes://h:2121//a", None, None, "h", 2121, "/a"),
            ("ftps://h/%2Fetc/motd", None, None, "h", 990, "/etc/motd"),
            ("ftp://u:p@h/x", Some("u"), Some("p"), "h", 21, "x"),
            ("ftp://u@h:1/x", Some("u"), None, "h", 1, "x"),
            ("ftp://u:@h/x", Some("u"), Some(""), "h", 21, "x"),
            ("ftp://a%40b:c%3Ad@h/%23?#", Some("a@b"), Some("c:d"), "h", 21, "#?#"),
            ("ftp://a@b@c/", Some("a@b"), None, "c", 21, ""),
            ("ftp://[::1]:2121/x", None, None, "::1", 2121, "x"),
            ("ftp://h/a%2Fb/c", None, None, "h", 21, "a/b/c"),
            ("ftp://@h/", None, None, "h", 21, ""),
            ("ftp://127.0.0.1/a;b", None, None, "127.0.0.1", 21, "a;b"),
            ("ftp://h/a;type=i", None, None, "h", 21, "a"),
            ("h:a b%20", None, None, "h", 21, "a b%20"),
            ("u@h:", Some("u"), None, "h", 21, ""),
            ("u@h:2121:/a:b", Some("u"), None, "h", 2121, "/a:b"),
            ("u@h:2121", Some("u"), None, "h", 21, "2121"),
            ("u%41@v@h:p@q", Some("u%41@v"), None, "h", 21, "p@q"),
            ("u@[::1]:2121:a", Some("u"), None, "::1", 2121, "a"),
            ("[::1]:a", None, None, "::1", 21, "a"),
            ("h:a/b@c", None, None, "h", 21, "a/b@c"),
            ("h:a://b", None, None, "h", 21, "a://b"),
            ("u@h:ftp://b", Some("u"), None, "h", 21, "ftp://b"),
            ("u@ftp://b", Some("u"), None, "ftp", 21, "//b"),
            ("[::1]:a://b", None, None, "::1", 21, "a://b"),
        ] {
            let want = (
                user.map(str::to_owned),
                password.map(str::to_owned),
                host.to_owned(),
                port,
                path.to_owned(),
            );
            assert_eq!(parts(text), want, "{text}");
        }
    }

    #[test]
    fn parts_are_split_before_they_are_decoded_cl_60_cl_61() {
        for (text, want) in [
            ("ftp://h", &[""][..]),
            ("ftp://h/", &[""]),
            ("ftp://h/a/b/c", &["a", "b", "c"]),
            ("ftp://h/a%2Fb/c", &["a/b", "c"]),
            ("ftp://h/a/b%2fc;type=i", &["a", "b/c"]),
            ("ftp://h/%2Fetc/motd", &["/etc", "motd"]),
            ("ftp://h/%2F/etc/motd", &["/", "etc", "motd"]),
            ("ftp://h//a", &["", "a"]),
            ("ftp://h/a//b/", &["a", "", "b", ""]),
            ("h:", &[""]),
            ("h:/a%2Fb/c", &["", "a%2Fb", "c"]),
        ] {
            let url = FtpUrl::parse(text.as_bytes()).unwrap();
            let parts: Vec<_> = url.parts().collect();
            let want: Vec<_> = want.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(parts, want, "{text}");
            assert_eq!(url.path(), parts.join(&b'/'), "{text}");
        }
        let [one, other] =
            ["ftp://h/a%2Fb", "ftp://h/a/b"].map(|text| FtpUrl::parse(text.as_bytes()));
        assert_ne!(one, other, "the same path, other directories");
    }

    #[test]
    fn zones_are_read_escaped_and_bare_hl_09() {
        for (text, want) in [
            ("ftp://[fe80::1%eth0]/x", "fe80::1%eth0"),
            ("ftp://[fe80::1%25eth0]/x", "fe80::1%eth0"),
            ("ftp://[fe80::1%25eth0%2E1]:21/", "fe80::1%eth0.1"),
            ("ftp://[fe80::1%25]/", "fe80::1%25"),
            ("ftp://[fe80::1%2525]/", "fe80::1%25"),
            ("ftp://[fe80::1%2]/", "fe80::1%2"),
            ("ftp://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
            ("u@[fe80::1%eth0]:x", "fe80::1%eth0"),
            ("[fe80::1%251]:x", "fe80::1%251"),
        ] {
            assert_eq!(parts(text).2, want, "{text}");
        }
    }

    #[test]
    fn without_a_user_there_is_none_cl_64() {
        for text in ["ftp://h/", "ftp://@h/", "ftp://:p@h/", "h:a", "@h:a"] {
            assert_eq!(FtpUrl::parse(text.as_bytes()).unwrap().user(), None, "{text}");
        }
    }

    #[test]
    fn parse_reads_types_cl_63() {
        let url = |text: &str| FtpUrl::parse(text.as_bytes());
        for text in ["ftp://h/a;TYPE=A", "ftp://h/a;Type=a", "ftp://h/a;tYPe=A"] {
            let ascii = url(text).unwrap();
            assert_eq!(ascii.representation(), Some(RepresentationType::Ascii), "{text}");
            assert_eq!(ascii.path(), b"a", "{text}");
        }
        let image = url("ftp://h/a;type=i").unwrap();
        assert_eq!(image.representation(), Some(RepresentationType::Image));
        let list = url("ftp://h/a;type=d").unwrap();
        assert!(list.is_directory() && list.representation().is_none());
        assert!(!url("ftp://h/a").unwrap().is_directory());
        assert!(url("ftp://h/a/").unwrap().is_directory());
        assert!(url("ftp://h").unwrap().is_directory());
        assert_eq!(url("ftp://h/a;type=x").map_err(|error| error.kind), Err(UnknownWord));
    }

    #[test]
    fn parse_refuses_cl_62_hl_09() {
        for (text, kind) in [
            ("", UnexpectedEnd),
            ("plain-name", UnexpectedEnd),
            ("./a/b", UnexpectedEnd),
            ("./a:b", UnexpectedEnd),
            ("a/b@h:c", UnexpectedEnd),
            ("[::1:a", UnexpectedEnd),
            (":a", UnexpectedEnd),
            ("http://h/", UnknownWord),
            ("://h/", UnknownWord),
            ("ftp://", UnexpectedEnd),
            ("ftp:///a", UnexpectedEnd),
            ("ftp://u@/a", UnexpectedEnd),
            ("ftp://h:0/", BadNumber),
            ("ftp://h:65536/", BadNumber),
            ("ftp://h:-1/", BadNumber),
            ("ftp://h:/", BadNumber),
            ("ftp://[::1/", UnexpectedEnd),
            ("ftp://[::1]x/", UnexpectedByte),
            ("ftp://[]/", UnexpectedByte),
            ("ftp://[:]/", UnexpectedByte),
            ("ftp://[abc]/", UnexpectedByte),
            ("ftp://[abc]:21/", UnexpectedByte),
            ("ftp://[127.0.0.1]/", UnexpectedByte),
            ("ftp://[::1\u{e9}]/", UnexpectedByte),
            ("[abc]:x", UnexpectedByte),
            ("ftp://[%25eth0]/", UnexpectedByte),
            ("ftp://[fe80::1%]/", UnexpectedEnd),
            ("ftp://[fe80::1%eth 0]/", UnexpectedByte),
            ("ftp://[fe80::1%25e%2F]/", UnexpectedByte),
            ("ftp://[fe80::1%25e%0A]/", LineBreak),
            ("ftp://[fe80::1%25e%4]/", UnexpectedEnd),
            ("h://b", UnknownWord),
            ("svn+ssh://h/b", UnknownWord),
            ("a.b-c://h/b", UnknownWord),
            ("ftp://h h/", UnexpectedByte),
            ("ftp://h~/", UnexpectedByte),
            ("ftp://h%41/", UnexpectedByte),
            ("ftp://[::1%a:b]/", UnexpectedByte),
            ("ftp://h\u{1b}/", UnexpectedByte),
            ("ftp://h/%0d%0aDELE", LineBreak),
            ("ftp://h/%00", LineBreak),
            ("ftp://u%0a@h/", LineBreak),
            ("ftp://u:%0A@h/", LineBreak),
            ("ftp://h/a\nb", LineBreak),
            ("h:a\rb", LineBreak),
            ("ftp://h/%4", UnexpectedEnd),
            ("ftp://h/%zz", BadNumber),
            ("ftp://h/%+1", BadNumber),
        ] {
            let got = FtpUrl::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_stay() {
        let url = FtpUrl::parse(b"ftp://h/%ff\xfe").unwrap();
        assert_eq!(url.path(), b"\xff\xfe");
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = FtpUrl::parse(b"ftp://u:secret@[::1]:21/a%1bb").unwrap();
        assert_eq!(url.to_string(), "ftp://u@[::1]:21/a\\x1bb");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn hosts_and_zones_are_shown_escaped_hc_28() {
        let url = FtpUrl::parse("ftp://[::1%\u{9b}2J\u{202e}]/".as_bytes()).unwrap();
        assert_eq!(url.to_string(), "ftp://[::1%\\u{9b}2J\\u{202e}]/");
        assert!(!format!("{url:?}").contains(['\u{9b}', '\u{202e}']));
    }

    #[test]
    fn a_percent_in_a_short_form_user_is_no_escape() {
        for user in ["50%", "%0d", "u%zz"] {
            let url = FtpUrl::parse(format!("{user}@h:p").as_bytes()).unwrap();
            assert_eq!(url.user(), Some(user.as_bytes()));
        }
    }

    #[test]
    fn errors_say_where() {
        for (text, at) in [
            ("ftp://h/ab%zz", 10),
            ("ftp://h/ab%4", 10),
            ("ftp://h/abc;type=x", 11),
            ("ftp://ab%zz@h/", 8),
            ("ftp://u@[::1/", 8),
            ("ftp://h/%41%00", 11),
            ("ftp://h/a/b/%zz", 12),
            ("ftp://user:%zz@h/", 11),
            ("ftp://u:p@h h/", 10),
            ("ftp://h:x/", 8),
            ("ftp://u@h:0/", 10),
            ("ftp://[::1]:65536/", 12),
            ("ftp://[::1]x/", 11),
            ("ftp://u@[abc]/", 9),
            ("ftp://[fe80::1%25e%zz]/", 18),
            ("ftp://[fe80::1%e/]/", 6),
            ("ftp://[fe80::1%e f]/", 15),
            ("u@h:0:a", 4),
        ] {
            let got = FtpUrl::parse(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }

    #[test]
    fn a_colon_at_the_start_of_the_path_is_no_port() {
        let url = FtpUrl::parse(b"h::a").unwrap();
        assert_eq!((url.port(), url.path()), (21, &b":a"[..]));
        assert_eq!(url.named_port(), None);
    }

    #[test]
    fn debug_is_display_without_secrets() {
        let url = FtpUrl::parse(b"ftp://u:p@h/a").unwrap();
        assert_eq!(format!("{url:?}"), "FtpUrl(ftp://u@h/a)");
    }
}
