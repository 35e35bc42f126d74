//! FTP URLs: `ftp://user@host:port/a/b;type=i` (RFC 1738 §3.2) and the short form `user@host:path`.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::net::Ipv6Addr;

use crate::bytes::{self, is_line_break, split_once, split_or_all};
use crate::parameters::RepresentationType;
use crate::pattern::Pattern;
use crate::{ParseError, ParseErrorKind};

/// The scheme of a URL, which sets the protection of the control connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `ftp`: plaintext; port 21.
    Ftp,
    /// `ftpes`: plaintext until `AUTH TLS`, which must succeed; port 21.
    Ftpes,
    /// `ftps`: TLS from the first byte; port 990.
    Ftps,
}

impl Scheme {
    /// Returns the port for a URL without one.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ftp | Self::Ftpes => 21,
            Self::Ftps => 990,
        }
    }
}

/// A parsed, percent-decoded FTP URL.
///
/// `Display` writes it in ASCII without the password; the result parses to the same URL, except for
/// the password. `Debug` does not show the password either.
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
/// assert_eq!(short.to_string(), "ftp://me@host.example//var/a%2520b");
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
    /// The parts of `path` between `/`; at least one.
    parts: Vec<Vec<u8>>,
    representation: Option<RepresentationType>,
    lists: bool,
    /// Whether the last name in the path is written like a pattern.
    is_pattern: bool,
}

impl FtpUrl {
    /// Parses a URL or the short form.
    ///
    /// The path of a URL is split at `/` before it is percent-decoded. It is relative to the login
    /// directory, unless it begins with `%2F` or another `/`: then it is absolute. The short form
    /// has no escapes: its path is absolute if it begins with `/`.
    ///
    /// A last name such as `*.txt` [can be a pattern](Self::is_pattern); if its special characters
    /// are escaped, it is a name.
    ///
    /// In a URL, `;type=` takes `a`, `i` or `d` in either case. An empty port counts as missing
    /// (RFC 3986 §3.2.3). Write `#` as `%23`, since it begins a fragment (§3.5), which has no
    /// meaning for files. Brackets contain an IPv6 address, optionally with `%25` and a zone (RFC
    /// 6874 §2); a plain `%` before the zone is accepted too.
    ///
    /// # Errors
    ///
    /// - `UnknownWord` for another scheme or type.
    /// - `UnexpectedEnd` for a missing host, zone or closing bracket, an incomplete escape, or a
    ///   short form without its colon. Also for an empty user before `:` or `@`: a
    ///   program that fills in an empty variable does not ask for an anonymous login.
    /// - `BadNumber` for a port that is not a number from 1 to 65535, or an escape that is not
    ///   hexadecimal.
    /// - `LineBreak` for CR, LF or NUL in any part, escaped or not.
    /// - `UnexpectedByte` for a `#` in a URL or an invalid character in a host.
    /// - `UnexpectedByte` for brackets around anything but an IPv6 address, or for text after the
    ///   brackets that is not a port.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        if let Some(at) = input.iter().position(|&byte| is_line_break(byte)) {
            return Err(error(at, ParseErrorKind::LineBreak));
        }
        // A `://` after a character that no scheme contains is part of a short form's path.
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
        let (_, rest) = input.split_at(start);
        if let Some(at) = rest.iter().position(|&byte| byte == b'#') {
            return Err(error(start + at, ParseErrorKind::UnexpectedByte));
        }
        let (authority, path) = split_or_all(rest, b'/');
        // The last `@` ends the login, since a host cannot contain one.
        let (login, place) = match authority.iter().rposition(|&byte| byte == b'@') {
            Some(at) => (authority.get(..at), authority.split_at(at + 1).1),
            None => (None, authority),
        };
        let place_at = start + authority.len() - place.len();
        let mut url = Self::at_place(scheme, place, place_at, true)?;
        if let Some(login) = login {
            let (user, password) = match split_once(login, b':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            url.user = Some(named(user, start).and_then(|user| percent_decode(user, start))?);
            let decode = |password| percent_decode(password, start + user.len() + 1);
            url.password = password.map(decode).transpose()?;
        }
        let mut at = start + authority.len() + 1;
        let is_type = |six: &[u8]| six.eq_ignore_ascii_case(b";type=");
        let path = match path.windows(6).position(is_type) {
            Some(end) => {
                let (path, parameter) = path.split_at(end);
                match parameter.split_at(6).1 {
                    b"a" | b"A" => url.representation = Some(RepresentationType::Ascii),
                    b"i" | b"I" => url.representation = Some(RepresentationType::Image),
                    b"d" | b"D" => url.lists = true,
                    _ => return Err(error(at + end, ParseErrorKind::UnknownWord)),
                }
                path
            }
            None => path,
        };
        url.is_pattern = Pattern::is_in(last_name(path));
        for part in path.split(|&byte| byte == b'/') {
            url.push_part(percent_decode(part, at)?);
            at += part.len() + 1;
        }
        Ok(url)
    }

    /// Parses `[user@]host[:port]:path`; the path is taken byte for byte.
    fn parse_short(input: &[u8]) -> Result<Self, ParseError> {
        let end = error(input.len(), ParseErrorKind::UnexpectedEnd);
        // As with scp, the first colon ends the host, and text with a `/` before that colon is the
        // name of a local file.
        let stop = input.iter().position(|byte| matches!(byte, b':' | b'[' | b'/')).ok_or(end)?;
        let (head, _) = input.split_at(stop);
        let at_sign = head.iter().rposition(|&byte| byte == b'@');
        let host_at = at_sign.map_or(0, |at| at + 1);
        let (_, host) = input.split_at(host_at);
        let host_length = match host.starts_with(b"[") {
            true => host.iter().position(|&byte| byte == b']').ok_or(end)? + 1,
            false => stop - host_at,
        };
        let (_, rest) = host.split_at(host_length);
        let rest = rest.strip_prefix(b":").ok_or(end)?;
        let (place_length, path) = match split_once(rest, b':') {
            Some((port, path)) if !port.is_empty() && port.iter().all(u8::is_ascii_digit) => {
                (host_length + 1 + port.len(), path)
            }
            _ => (host_length, rest),
        };
        let (place, _) = host.split_at(place_length);
        // Only URLs are escaped. In the short form, a `%` in user, zone or path is an ordinary
        // character.
        let mut url = Self::at_place(Scheme::Ftp, place, host_at, false)?;
        let user = at_sign.map(|at| named(head.split_at(at).0, 0)).transpose()?;
        url.user = user.map(<[u8]>::to_vec);
        path.split(|&byte| byte == b'/').for_each(|part| url.push_part(part.to_vec()));
        url.is_pattern = Pattern::is_in(last_name(path));
        Ok(url)
    }

    /// Parses `host[:port]` into a URL without login and path. `at` is the position of `input` in
    /// the whole URL, and `is_escaped` says whether `%` begins an escape.
    fn at_place(
        scheme: Scheme,
        input: &[u8],
        at: usize,
        is_escaped: bool,
    ) -> Result<Self, ParseError> {
        let (host, port) = if let Some(rest) = input.strip_prefix(b"[") {
            let unclosed = error(at, ParseErrorKind::UnexpectedEnd);
            let (host, rest) = split_once(rest, b']').ok_or(unclosed)?;
            let host = ipv6_host(host, at + 1, is_escaped)?;
            match rest {
                [] => (host, rest),
                [b':', port @ ..] => (host, port),
                _ => {
                    let at = at + input.len() - rest.len();
                    return Err(error(at, ParseErrorKind::UnexpectedByte));
                }
            }
        } else {
            let (host, port) = split_or_all(input, b':');
            match is_escaped {
                true => (name(&percent_decode(host, at)?, at)?, port),
                false => (name(host, at)?, port),
            }
        };
        let port = match port {
            [] => None,
            digits => {
                let port = bytes::decimal(digits).and_then(|port| u16::try_from(port).ok());
                let bad = error(at + input.len() - digits.len(), ParseErrorKind::BadNumber);
                Some(port.filter(|port| *port != 0).ok_or(bad)?)
            }
        };
        Ok(Self {
            scheme,
            user: None,
            password: None,
            host,
            port,
            path: Vec::new(),
            parts: Vec::new(),
            representation: None,
            lists: false,
            is_pattern: false,
        })
    }

    fn push_part(&mut self, part: Vec<u8>) {
        if !self.parts.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&part);
        self.parts.push(part);
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the user's name; if it is `None`, log in as `anonymous` (RFC 1635).
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    /// Returns the password, if the URL has one.
    #[must_use]
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    /// Returns the host: a name, an IPv4 address, or an IPv6 address without brackets. An IPv6
    /// address can end in `%` and a zone (RFC 4007 §11).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port in the URL, if there is one.
    #[must_use]
    pub const fn named_port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the port of the URL, or the default of its scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Returns the path, without the `/` after the host; may be empty.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Returns the URL of `path` inside the directory that this URL names. In `path`, `/` separates
    /// names, and nothing is escaped.
    ///
    /// ```
    /// let directory: ftp_proto::FtpUrl = "ftp://host.example/pub/".parse()?;
    /// assert_eq!(directory.below(b"a/50%").to_string(), "ftp://host.example/pub/a/50%25");
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    #[must_use]
    pub fn below(&self, path: &[u8]) -> Self {
        let mut url = self.clone();
        let mut parts = std::mem::take(&mut url.parts);
        url.path.clear();
        url.representation = None;
        (url.lists, url.is_pattern) = (false, false);
        // If the last part is empty or ends in a `%2F`, `path` continues it.
        let last = parts.pop_if(|last| last.is_empty() || last.ends_with(b"/"));
        parts.into_iter().for_each(|part| url.push_part(part));
        let path = [last.as_deref().unwrap_or_default(), path].concat();
        path.split(|&byte| byte == b'/').for_each(|part| url.push_part(part.to_vec()));
        url
    }

    /// Returns the URL of the object `name` in the same directory. `name` is not escaped.
    ///
    /// ```
    /// let url: ftp_proto::FtpUrl = "ftp://host.example/pub/*.iso;type=i".parse()?;
    /// assert_eq!(url.beside(b"a b").to_string(), "ftp://host.example/pub/a%20b;type=i");
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    #[must_use]
    pub fn beside(&self, name: &[u8]) -> Self {
        let mut url = self.clone();
        let mut parts = std::mem::take(&mut url.parts);
        let last = parts.pop().unwrap_or_default();
        url.path.clear();
        (url.lists, url.is_pattern) = (false, false);
        parts.into_iter().for_each(|part| url.push_part(part));
        // The last part may contain a `%2F`.
        let start = last.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        url.push_part([last.get(..start).unwrap_or_default(), name].concat());
        url
    }

    /// Returns the parts of the path, each decoded separately, so a part may contain a `/` that was
    /// written as `%2F`.
    ///
    /// Joined by `/`, they form the [`path`](Self::path); an empty path has one empty part. All but
    /// the last are arguments for `CWD` (RFC 1738 §3.2.2).
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Vec::as_slice)
    }

    /// Returns whether the URL names a directory: its path is empty or ends in `/`, or it has
    /// `;type=d`.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.lists || matches!(self.path.last(), None | Some(b'/'))
    }

    /// Returns whether the last name in the path is written like a pattern: with `*` or `?`, or with
    /// `[..]` or `{..}`. A name with escapes in place of all these characters is none.
    #[must_use]
    pub const fn is_pattern(&self) -> bool {
        self.is_pattern
    }

    /// Returns the type requested by `;type=a` or `;type=i`; `None` without either.
    #[must_use]
    pub const fn representation(&self) -> Option<RepresentationType> {
        self.representation
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
            write!(f, "{}@", Percent(user))?;
        }
        match self.host.split_once('%') {
            Some((address, zone)) => write!(f, "[{address}%25{}]", Percent(zone.as_bytes()))?,
            None if self.host.contains(':') => write!(f, "[{}]", self.host)?,
            None => write!(f, "{}", Percent(self.host.as_bytes()))?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        for part in self.parts() {
            f.write_char('/')?;
            // What is a pattern stays one.
            for run in part.chunk_by(|one, other| is_special(one) == is_special(other)) {
                match run.first().is_some_and(is_special) {
                    true if self.is_pattern => f.write_str(&String::from_utf8_lossy(run))?,
                    true => run.iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?,
                    false => write!(f, "{}", Percent(run))?,
                }
            }
        }
        f.write_str(match self.representation {
            Some(RepresentationType::Ascii) => ";type=a",
            Some(RepresentationType::Image) => ";type=i",
            None if self.lists => ";type=d",
            None => "",
        })
    }
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Returns whether a byte has a meaning in patterns.
fn is_special(byte: &u8) -> bool {
    b"*?[]{}\\".contains(byte)
}

/// Bytes that are written as a part of a URL, with special characters escaped.
struct Percent<'a>(&'a [u8]);

impl fmt::Display for Percent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=".contains(byte);
        self.0.iter().try_for_each(|byte| match is_plain(byte) {
            true => f.write_char(char::from(*byte)),
            false => write!(f, "%{byte:02X}"),
        })
    }
}

impl TryFrom<&str> for FtpUrl {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl TryFrom<&String> for FtpUrl {
    type Error = ParseError;

    fn try_from(text: &String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<&Self> for FtpUrl {
    fn from(url: &Self) -> Self {
        url.clone()
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

/// Parses the text in brackets: an IPv6 address, optionally with `%` and a zone.
fn ipv6_host(input: &[u8], at: usize, is_escaped: bool) -> Result<String, ParseError> {
    let (address, zone) = match split_once(input, b'%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (input, None),
    };
    let text = std::str::from_utf8(address).ok();
    let text = text.filter(|text| text.parse::<Ipv6Addr>().is_ok());
    let mut host = text.ok_or(error(at, ParseErrorKind::UnexpectedByte))?.to_owned();
    if let Some(zone) = zone {
        let zone_at = at + address.len() + 1;
        host.push('%');
        let zone = if is_escaped { zone_of_url(zone, zone_at)? } else { zone.to_vec() };
        host.push_str(&name(&zone, zone_at)?);
    }
    Ok(host)
}

/// Parses the zone in a URL; `input` begins after the `%`. A leading `25` is the rest of an escaped
/// `%`, unless nothing follows it.
fn zone_of_url(input: &[u8], at: usize) -> Result<Vec<u8>, ParseError> {
    match input.strip_prefix(b"25") {
        Some(zone) if !zone.is_empty() => percent_decode(zone, at + 2),
        _ => Ok(input.to_vec()),
    }
}

/// Parses the name of a host or zone, or an IPv4 address, which uses the same characters.
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

/// Returns the name of a user at `at`, which is an error if it is empty.
fn named(user: &[u8], at: usize) -> Result<&[u8], ParseError> {
    match user {
        [] => Err(error(at, ParseErrorKind::UnexpectedEnd)),
        user => Ok(user),
    }
}

/// Decodes `%XX`; `at` is the position of `input` in the whole URL.
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
