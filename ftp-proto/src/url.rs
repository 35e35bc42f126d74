//! Where a file is: `ftp://user@host:port/a/b;type=i` (RFC 1738 §3.2) and the short form
//! `user@host:path`.

use std::fmt;

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
    representation: Option<RepresentationType>,
    lists: bool,
}

impl FtpUrl {
    /// Reads a URL or the short form.
    ///
    /// The path of a URL is split at `/` before it is percent-decoded; it is relative to the
    /// directory the login ends in, and absolute if it begins with `%2F`. `;type=` takes `a`,
    /// `i` or `d` in either case.
    ///
    /// # Errors
    ///
    /// `UnknownWord` for another scheme or type; `UnexpectedEnd` without a host or with half an
    /// escape; `BadNumber` for a port that is not 1 to 65535 or an escape that is not
    /// hexadecimal; `LineBreak` for CR, LF or NUL in any part, escaped or not; `UnexpectedByte`
    /// for a host of other characters than names and addresses have.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        if let Some(at) = input.iter().position(|&byte| is_line_break(byte)) {
            return Err(error(at, ParseErrorKind::LineBreak));
        }
        match find(input, b"://") {
            Some(at) => Self::parse_url(input, at),
            None => Self::parse_short(input),
        }
    }

    fn parse_url(input: &[u8], colon: usize) -> Result<Self, ParseError> {
        let scheme = input.get(..colon).unwrap_or_default();
        let scheme = match scheme.to_ascii_lowercase().as_slice() {
            b"ftp" => Scheme::Ftp,
            b"ftpes" => Scheme::Ftpes,
            b"ftps" => Scheme::Ftps,
            _ => return Err(error(0, ParseErrorKind::UnknownWord)),
        };
        let start = colon + 3;
        let rest = input.get(start..).unwrap_or_default();
        let slash = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).unwrap_or((rest, &[]));
        let mut url = Self::authority(scheme, authority, start)?;
        let path = path.get(1..).unwrap_or_default();
        let path_at = start + slash + 1;
        let is_type = |six: &[u8]| six.eq_ignore_ascii_case(b";type=");
        let path = match path.windows(6).position(is_type) {
            Some(at) => {
                let code = path.get(at + 6..).unwrap_or_default();
                match code {
                    b"a" | b"A" => url.representation = Some(RepresentationType::Ascii),
                    b"i" | b"I" => url.representation = Some(RepresentationType::Image),
                    b"d" | b"D" => url.lists = true,
                    _ => return Err(error(path_at + at, ParseErrorKind::UnknownWord)),
                }
                path.get(..at).unwrap_or_default()
            }
            None => path,
        };
        url.path = percent_decode(path, path_at)?;
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
        let mut url = Self::authority(Scheme::Ftp, place, host_at)?;
        // Only a URL's user and password are escaped; here a `%` is a `%`.
        let user = head.get(..host_at.saturating_sub(1)).filter(|user| !user.is_empty());
        url.user = user.map(<[u8]>::to_vec);
        url.path = path.to_vec();
        Ok(url)
    }

    /// `[user[:password]@]host[:port]`; `at` is where it stands in the input.
    fn authority(scheme: Scheme, input: &[u8], at: usize) -> Result<Self, ParseError> {
        // The last `@`: whatever stands before it cannot be a host.
        let split = input.iter().rposition(|&byte| byte == b'@');
        let (login, place) = match split {
            Some(at) => (input.get(..at), input.get(at + 1..).unwrap_or_default()),
            None => (None, input),
        };
        let place_at = at + split.map_or(0, |at| at + 1);
        let (user, password) = match login {
            None => (None, None),
            Some(login) => {
                let mut parts = login.splitn(2, |&byte| byte == b':');
                let user = percent_decode(parts.next().unwrap_or_default(), at)?;
                let password = parts.next().map(|part| percent_decode(part, at)).transpose()?;
                (Some(user).filter(|user| !user.is_empty()), password)
            }
        };
        let (host, port) = if let Some(rest) = place.strip_prefix(b"[") {
            let close = rest.iter().position(|&byte| byte == b']');
            let close = close.ok_or(error(place_at, ParseErrorKind::UnexpectedEnd))?;
            (rest.get(..close), rest.get(close + 1..))
        } else {
            let colon = place.iter().position(|&byte| byte == b':').unwrap_or(place.len());
            (place.get(..colon), place.get(colon..))
        };
        let (host, port) = (host.unwrap_or_default(), port.unwrap_or_default());
        let is_address = place.starts_with(b"[");
        if host.is_empty() {
            return Err(error(place_at, ParseErrorKind::UnexpectedEnd));
        }
        let allowed = |byte: &u8| match byte {
            b':' | b'%' => is_address,
            b'.' | b'-' | b'_' => true,
            _ => byte.is_ascii_alphanumeric() || *byte >= 0x80,
        };
        let wrong = error(place_at, ParseErrorKind::UnexpectedByte);
        if !host.iter().all(allowed) {
            return Err(wrong);
        }
        let host = String::from_utf8(host.to_vec()).map_err(|_| wrong)?;
        let port = match port.split_first() {
            None => None,
            Some((b':', digits)) => {
                let port = number::decimal(digits).and_then(|port| u16::try_from(port).ok());
                let bad = error(place_at, ParseErrorKind::BadNumber);
                Some(port.filter(|port| *port != 0).ok_or(bad)?)
            }
            Some(_) => return Err(wrong),
        };
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port,
            path: Vec::new(),
            representation: None,
            lists: false,
        })
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

    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
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

fn find(input: &[u8], needle: &[u8]) -> Option<usize> {
    input.windows(needle.len()).position(|window| window == needle)
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
            ("ftp://[fe80::1%eth0]/x", None, None, "fe80::1%eth0", 21, "x"),
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
            ("ftp://h h/", UnexpectedByte),
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
    fn a_host_in_brackets_is_shown_escaped_hc_28() {
        let url = FtpUrl::parse("ftp://[::\u{9b}2J\u{202e}1]/".as_bytes()).unwrap();
        assert_eq!(url.to_string(), "ftp://[::\\u{9b}2J\\u{202e}1]/");
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
        ] {
            let got = FtpUrl::parse(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }

    #[test]
    fn a_colon_at_the_start_of_the_path_is_no_port() {
        let url = FtpUrl::parse(b"h::a").unwrap();
        assert_eq!((url.port(), url.path()), (21, &b":a"[..]));
    }

    #[test]
    fn debug_is_display_without_secrets() {
        let url = FtpUrl::parse(b"ftp://u:p@h/a").unwrap();
        assert_eq!(format!("{url:?}"), "FtpUrl(ftp://u@h/a)");
    }
}
