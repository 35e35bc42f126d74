//! Proxies: other hosts that connect to a server for the client.
//!
//! A SOCKS5 or HTTP proxy relays every connection, after an exchange of bytes with the client. An FTP
//! proxy is an FTP server that logs in to another server for its client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ftp_proto::{FtpUrl, ParseError, ParseErrorKind, Password};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use crate::digest::Base64;
use crate::error::{Error, Phase, ProxyAnswer, ProxyFault, Unsupported};
use crate::net::wait::{Deadline, Waiter};
use crate::net::{Server, Stream};
use crate::trace;

/// The default ports: curl's for proxies that relay connections, and the FTP port for FTP proxies.
const PORT: u16 = 1_080;
const FTP_PORT: u16 = 21;

/// The maximum length of a user or password in SOCKS5, in bytes (RFC 1929 §2).
const LONGEST: usize = 255;

/// A proxy that opens the connections of a client.
///
/// It is parsed from `SCHEME://[USER:PASSWORD@]HOST[:PORT]`. User and password are
/// percent-decoded. The default port is 1080, or 21 for an FTP proxy. The scheme is one of these
/// (default: `http`, as in curl):
///
/// - `socks5` (RFC 1928): the client looks up the server's name, and the proxy connects;
/// - `socks5h`: the proxy also looks up the name;
/// - `http`: the proxy connects after `CONNECT` (RFC 9110 §9.3.6) and looks up the name. It must
///   allow the FTP port and the passive ports of the server;
/// - `ftp`: an FTP proxy, which gets `USER user@host`. With a user and password, the client first
///   logs in to the proxy itself.
///
/// Control and data connections go through the proxy. Only passive mode is possible. TLS runs
/// inside the relayed connection, so a SOCKS5 or HTTP proxy sees only encrypted bytes. Through an
/// FTP proxy, TLS is not possible. The proxy's own user and password are sent unencrypted.
///
/// A proxy may turn the reset that signals an interrupted upload into a regular close. The server
/// then notices the interruption only on the control connection.
///
/// `Display` and `Debug` show neither user nor password.
///
/// ```
/// use ftp_client::{Client, Proxy};
///
/// let proxy: Proxy = "socks5h://me:secret@proxy.example.org".parse()?;
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example.org:1080");
/// let builder = Client::builder().proxy(proxy);
/// # Ok::<(), ftp_client::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Proxy {
    protocol: Protocol,
    pub(super) server: Server,
    login: Option<ProxyLogin>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    /// SOCKS5; if `by_name` is set, the proxy looks up names.
    Socks5 {
        by_name: bool,
    },
    Http,
    Ftp,
}

#[derive(Clone, Eq, PartialEq)]
pub(crate) struct ProxyLogin {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Password,
}

impl Proxy {
    /// Returns whether this is an FTP proxy, to which the client logs in with `USER user@host`.
    ///
    /// Other proxies relay connections to the server.
    #[must_use]
    pub const fn is_ftp(&self) -> bool {
        matches!(self.protocol, Protocol::Ftp)
    }

    /// Returns whether the client looks up the server's name.
    pub(super) const fn needs_address(&self) -> bool {
        matches!(self.protocol, Protocol::Socks5 { by_name: false })
    }

    pub(crate) const fn login(&self) -> Option<&ProxyLogin> {
        self.login.as_ref()
    }

    pub(crate) fn error(&self, fault: ProxyFault) -> Error {
        Error::Proxy { proxy: self.to_string(), fault }
    }

    /// Turns an error in connecting to the proxy into one that names the proxy.
    pub(super) fn name(&self, error: Error, phase: Phase) -> Error {
        match error {
            Error::Io(error) => self.error(ProxyFault::Unreachable(error)),
            Error::Timeout(Phase::Resolve | Phase::Connect) => Error::Timeout(phase),
            error => error,
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Socks5 { by_name: false } => "socks5",
            Protocol::Socks5 { by_name: true } => "socks5h",
            Protocol::Http => "http",
            Protocol::Ftp => "ftp",
        };
        write!(f, "{scheme}://{}", self.server)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Parses a proxy as [`Proxy`] describes it.
///
/// # Errors
///
/// - Returns `Unsupported` for `https`, `socks4` and `socks4a`.
/// - Returns `UnknownWord` for any other scheme that is not supported.
/// - Returns `UnexpectedByte` for anything but a `/` after the port, and for a colon in the user of
///   an HTTP proxy.
/// - Returns `TooLong` for a user or password of more than 255 bytes with SOCKS5.
/// - Returns `UnexpectedEnd` for a user without a colon and a password, which may be empty.
/// - Returns the errors of [`FtpUrl::parse`] for the rest.
impl FromStr for Proxy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("proxy", at, kind);
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let start = text.len() - rest.len();
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "socks5" => Protocol::Socks5 { by_name: false },
            "socks5h" => Protocol::Socks5 { by_name: true },
            "http" => Protocol::Http,
            "ftp" => Protocol::Ftp,
            "https" | "socks4" | "socks4a" => return Err(error(0, ParseErrorKind::Unsupported)),
            _ => return Err(error(0, ParseErrorKind::UnknownWord)),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = authority.find(['/', '?', '#']) {
            return Err(error(start + at, ParseErrorKind::UnexpectedByte));
        }
        const PREFIX: &str = "ftp://";
        let url = FtpUrl::parse(format!("{PREFIX}{authority}").as_bytes());
        // Converts the position into a position in `text`.
        let url = url
            .map_err(|wrong| error((wrong.at + start).saturating_sub(PREFIX.len()), wrong.kind))?;
        let end = authority.rsplit(['@', ']']).next().and_then(|end| end.split_once(':'));
        // As in a URL, a colon without a number stands for the default port.
        let has_port = end.is_some_and(|(_, port)| !port.is_empty());
        let port = match protocol {
            _ if has_port => url.port(),
            Protocol::Ftp => FTP_PORT,
            _ => PORT,
        };
        let password = Password(url.password().unwrap_or_default().to_vec());
        let login = url.user().map(|user| ProxyLogin { user: user.to_vec(), password });
        if let (Protocol::Socks5 { .. }, Some(login)) = (protocol, &login)
            && login.user.len().max(login.password.0.len()) > LONGEST
        {
            return Err(error(start, ParseErrorKind::TooLong));
        }
        if let (Protocol::Http, Some(login)) = (protocol, &login)
            && login.user.contains(&b':')
        {
            // Basic authentication separates user and password by the first colon (RFC 7617 §2).
            return Err(error(start, ParseErrorKind::UnexpectedByte));
        }
        if url.user().is_some() && url.password().is_none() {
            return Err(error(start, ParseErrorKind::UnexpectedEnd));
        }
        Ok(Self { protocol, server: Server { host: url.host().to_owned(), port }, login })
    }
}

/// A proxy, and the addresses that are known once the control connection is open.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) proxy: Proxy,
    /// The proxy's address. Data connections must use the same address.
    pub(super) at: Option<SocketAddr>,
    /// The server's address, if the client looked it up.
    pub(crate) target: Option<IpAddr>,
}

impl Route {
    pub(crate) const fn new(proxy: Proxy) -> Self {
        Self { proxy, at: None, target: None }
    }

    /// Asks the proxy to connect to the server. An FTP proxy learns the server's name only at
    /// login.
    pub(super) fn ask(
        &self,
        stream: Stream,
        server: &Server,
        target: Option<IpAddr>,
        waiter: &Waiter,
        deadline: Deadline,
    ) -> Result<Stream, Error> {
        let host = target.map_or_else(|| server.host.clone(), |target| target.to_string());
        let target = Server { host, port: server.port };
        // The zone of a link-local address is meaningful only on this host.
        if !self.proxy.is_ftp() && !target.host.bytes().all(|byte| byte.is_ascii() && byte != b'%')
        {
            return Err(Error::Unsupported(Unsupported::NameThroughProxy));
        }
        let mut dialogue = Dialogue::new(&self.proxy, stream, waiter, deadline);
        match self.proxy.protocol {
            Protocol::Socks5 { .. } => connect_by_socks(&mut dialogue, &target)?,
            Protocol::Http => connect_by_http(&mut dialogue, &target)?,
            Protocol::Ftp => {}
        }
        trace::note(format_args!("connected to {target} through {}", self.proxy));
        Ok(dialogue.into_stream())
    }
}

/// A connection to a proxy, before the proxy begins to relay.
struct Dialogue<'a> {
    proxy: &'a Proxy,
    stream: Stream,
    waiter: &'a Waiter,
    deadline: Deadline,
}

impl<'a> Dialogue<'a> {
    const fn new(proxy: &'a Proxy, stream: Stream, waiter: &'a Waiter, deadline: Deadline) -> Self {
        Self { proxy, stream, waiter, deadline }
    }

    fn into_stream(self) -> Stream {
        self.stream
    }

    const fn login(&self) -> Option<&'a ProxyLogin> {
        self.proxy.login()
    }

    fn error(&self, fault: ProxyFault) -> Error {
        self.proxy.error(fault)
    }

    fn refused(&self, target: &Server, answer: ProxyAnswer) -> Error {
        self.error(ProxyFault::Refused { target: target.to_string(), answer })
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes).map_err(|error| self.lost(error))? {
                Some(count) => bytes = bytes.get(count..).unwrap_or_default(),
                None => self.wait(PollFlags::OUT)?,
            }
        }
        Ok(())
    }

    /// Reads exactly `N` bytes, because the next byte may already come from the server.
    fn read<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            match self.stream.read(buffer).map_err(|error| self.lost(error))? {
                Some(0) => return Err(self.error(ProxyFault::Lost(None))),
                Some(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                None => self.wait(PollFlags::IN)?,
            }
        }
        Ok(())
    }

    fn wait(&self, interest: PollFlags) -> Result<(), Error> {
        self.waiter.wait_for(self.stream.as_fd(), interest, self.deadline)
    }

    fn lost(&self, error: Error) -> Error {
        match error {
            Error::Io(error) => self.error(ProxyFault::Lost(Some(error))),
            error => error,
        }
    }
}

/// The version of SOCKS (RFC 1928 §3).
const SOCKS_VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
/// The version of the login dialogue (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

const NOT_SOCKS: ProxyFault = ProxyFault::NotAProxy("SOCKS5");

/// Speaks SOCKS5 (RFC 1928, RFC 1929): logs in if the proxy requires it, and asks for a connection to `target`.
fn connect_by_socks(dialogue: &mut Dialogue<'_>, target: &Server) -> Result<(), Error> {
    let request = socks_request(target)?;
    match dialogue.login() {
        None => dialogue.send(&[SOCKS_VERSION, 1, NO_LOGIN])?,
        Some(_) => dialogue.send(&[SOCKS_VERSION, 2, NO_LOGIN, USER_AND_PASSWORD])?,
    }
    match (dialogue.read()?, dialogue.login()) {
        ([SOCKS_VERSION, NO_LOGIN], _) => {}
        ([SOCKS_VERSION, USER_AND_PASSWORD], Some(login)) => {
            let mut message = vec![LOGIN_VERSION];
            for word in [&login.user, &login.password.0] {
                message.push(length(word)?);
                message.extend_from_slice(word);
            }
            dialogue.send(&message)?;
            match dialogue.read()? {
                [LOGIN_VERSION, SUCCEEDED] => {}
                [LOGIN_VERSION, _] => {
                    return Err(dialogue.error(ProxyFault::LoginRefused(None)));
                }
                [_, _] => return Err(dialogue.error(NOT_SOCKS)),
            }
        }
        ([SOCKS_VERSION, NO_METHOD], None) => return Err(dialogue.error(ProxyFault::LoginRequired)),
        ([SOCKS_VERSION, NO_METHOD], Some(_)) => {
            return Err(dialogue.error(ProxyFault::LoginUnsupported));
        }
        _ => return Err(dialogue.error(NOT_SOCKS)),
    }
    dialogue.send(&request)?;
    let [version, reply] = dialogue.read()?;
    match (version, reply) {
        (SOCKS_VERSION, SUCCEEDED) => {}
        (SOCKS_VERSION, code) => return Err(dialogue.refused(target, ProxyAnswer::Socks(code))),
        _ => return Err(dialogue.error(NOT_SOCKS)),
    }
    // The proxy's own address is not needed, but the next byte must be the server's first.
    let length = match dialogue.read()? {
        [0, IPV4] => 4,
        [0, IPV6] => 16,
        [0, NAME] => {
            let [length] = dialogue.read()?;
            usize::from(length)
        }
        [_, _] => return Err(dialogue.error(NOT_SOCKS)),
    };
    dialogue.fill(&mut vec![0; length + size_of::<u16>()])
}

fn socks_request(target: &Server) -> Result<Vec<u8>, Error> {
    let mut request = vec![SOCKS_VERSION, CONNECT, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.extend([NAME, length(target.host.as_bytes())?]);
            request.extend_from_slice(target.host.as_bytes());
        }
    }
    request.extend(target.port.to_be_bytes());
    Ok(request)
}

/// Returns the length of a host, user or password as one byte.
fn length(word: &[u8]) -> Result<u8, Error> {
    u8::try_from(word.len()).map_err(|_| Error::Unsupported(Unsupported::LongNameThroughSocks))
}

/// The maximum length of the answer up to its final empty line, including interim answers, in
/// bytes.
const LARGEST: usize = 64 << 10;

/// The status of a switch to another protocol: the only 1xx that is final.
const SWITCHING: u16 = 101;

const NOT_HTTP: ProxyFault = ProxyFault::NotAProxy("HTTP");

/// Sends `CONNECT` of HTTP (RFC 9110 §9.3.6), with Basic authentication (RFC 7617).
fn connect_by_http(dialogue: &mut Dialogue<'_>, target: &Server) -> Result<(), Error> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = dialogue.login() {
        let pair = [&login.user, &b":"[..], &login.password.0].concat();
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", Base64(&pair)));
    }
    request.push_str("\r\n");
    dialogue.send(request.as_bytes())?;
    let mut left = LARGEST;
    let (status, reason) = loop {
        let head = http_head(dialogue, &mut left)?;
        let Some(Status { code, reason }) = Status::parse(&head) else {
            return Err(dialogue.error(NOT_HTTP));
        };
        // Any number of interim answers may precede the final one (RFC 9110 §15.2).
        if !(100..=199).contains(&code) || code == SWITCHING {
            break (code, reason.to_vec());
        }
    };
    let answer = ProxyAnswer::Http(status, reason);
    match (status, dialogue.login()) {
        (200..=299, _) => Ok(()),
        (407, None) => Err(dialogue.error(ProxyFault::LoginRequired)),
        (407, Some(_)) => Err(dialogue.error(ProxyFault::LoginRefused(Some(answer)))),
        _ => Err(dialogue.refused(target, answer)),
    }
}

/// Reads the status line and the header fields, up to the empty line, and subtracts their length
/// from `left`. The bytes after the final answer are the server's, so this function reads one byte
/// at a time.
fn http_head(dialogue: &mut Dialogue<'_>, left: &mut usize) -> Result<Vec<u8>, Error> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let mut head = Vec::new();
    loop {
        let [byte] = dialogue.read()?;
        head.push(byte);
        let known = head.len().min(BEGINNING.len());
        // Another protocol may never send an empty line.
        if head.get(..known) != BEGINNING.get(..known) {
            return Err(dialogue.error(NOT_HTTP));
        }
        *left = left.checked_sub(1).ok_or_else(|| dialogue.error(ProxyFault::TooLong(LARGEST)))?;
        if byte == b'\n' {
            if head.ends_with(b"\r\n\r\n") {
                return Ok(head);
            }
            if !head.ends_with(b"\r\n") {
                return Err(dialogue.error(NOT_HTTP));
            }
        }
    }
}

struct Status<'a> {
    code: u16,
    reason: &'a [u8],
}

impl<'a> Status<'a> {
    /// Parses the status line, and checks the header fields. Returns `None` if the answer is not
    /// HTTP.
    fn parse(head: &'a [u8]) -> Option<Self> {
        let is_text = |line: &[u8]| line.iter().all(|&byte| byte == b'\t' || byte >= b' ');
        let text = head.strip_suffix(b"\r\n\r\n")?;
        let mut lines = text.split(|&byte| byte == b'\n');
        let line = lines.next()?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for (number, field) in lines.enumerate() {
            let field = field.strip_suffix(b"\r").unwrap_or(field);
            // A folded line continues the field before it (RFC 9112 §5.2).
            let is_folded = number > 0 && matches!(field, [b' ' | b'\t', ..]);
            if !is_text(field) || !(is_folded || field.contains(&b':')) {
                return None;
            }
        }
        let (version, rest) = line.split_at_checked(b"HTTP/1.1 ".len())?;
        if !matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ") || !is_text(line) {
            return None;
        }
        let (digits, reason) = rest.split_at_checked(3)?;
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
            return None;
        }
        let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self { code, reason: reason.trim_ascii() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_urls_are_parsed_like_in_curl() {
        for (text, want) in [
            ("socks5://h", "socks5://h:1080"),
            ("SOCKS5H://h:9050/", "socks5h://h:9050"),
            ("http://h:3128", "http://h:3128"),
            ("h:3128", "http://h:3128"),
            ("h", "http://h:1080"),
            ("h:", "http://h:1080"),
            ("http://h:/", "http://h:1080"),
            ("socks5://u:p@[::1]:", "socks5://[::1]:1080"),
            ("ftp://h:", "ftp://h:21"),
            ("http://[::1]", "http://[::1]:1080"),
            ("http://u:p@[::1]:8080/", "http://[::1]:8080"),
            ("ftp://u:p%40@h", "ftp://h:21"),
            ("u:p@h", "http://h:1080"),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.to_string(), want, "{text}");
            assert_eq!(format!("{proxy:?}"), format!("Proxy({want})"));
        }
        let proxy: Proxy = "socks5://u%3a:p%40@h".parse().unwrap();
        let login = proxy.login.unwrap();
        assert_eq!((login.user, login.password.0), (b"u:".to_vec(), b"p@".to_vec()));
    }

    #[test]
    fn invalid_proxy_urls_are_refused() {
        use ParseErrorKind::{
            BadNumber, LineBreak, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported,
        };
        let long = format!("socks5://{}@h", "u".repeat(256));
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("socks5://", 9, UnexpectedEnd),
            ("https://h", 0, Unsupported),
            ("socks4a://h", 0, Unsupported),
            ("gopher://h", 0, UnknownWord),
            ("http://h/path", 8, UnexpectedByte),
            ("http://h:0", 9, BadNumber),
            ("http://h:70000", 9, BadNumber),
            ("http://u%0a@h", 8, LineBreak),
            ("http://u%3a:p@h", 7, UnexpectedByte),
            ("http://me@h", 7, UnexpectedEnd),
            ("socks5h://me@h", 10, UnexpectedEnd),
            (&long, 9, TooLong),
        ] {
            let wrong = Proxy::from_str(text).unwrap_err();
            assert_eq!((wrong.at, wrong.kind), (at, kind), "{text}");
        }
    }

    #[test]
    fn socks_requests_follow_rfc_1928() {
        for (host, want) in [
            ("192.0.2.1", &b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x15"[..]),
            ("::1", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x15"),
            ("h.example", b"\x05\x01\x00\x03\x09h.example\x00\x15"),
        ] {
            let request = socks_request(&Server { host: host.to_owned(), port: 21 }).unwrap();
            assert_eq!(request, want, "{host}");
        }
        let long = Server { host: "h".repeat(256), port: 21 };
        assert!(matches!(socks_request(&long), Err(Error::Unsupported(_))));
    }

    #[test]
    fn http_status_lines_are_parsed_strictly() {
        for (head, want) in [
            ("HTTP/1.1 200 Connection established", Some((200, "Connection established"))),
            ("HTTP/1.0 200", Some((200, ""))),
            ("HTTP/1.1 200 ", Some((200, ""))),
            ("HTTP/1.1 403 Forbidden\r\nA: b\r\nC:", Some((403, "Forbidden"))),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td", Some((200, "OK"))),
            ("HTTP/1.1 200 OK\r\n folded", None),
            ("HTTP/1.1 2000 OK", None),
            ("HTTP/1.1 20 OK", None),
            ("HTTP/1.1 +20 OK", None),
            ("HTTP/1.2 200 OK", None),
            ("HTTP/2 200 OK", None),
            ("HTTP/1.1  200 OK", None),
            ("HTTP/1.1 200 O\x1bK", None),
            ("HTTP/1.1 200 OK\r\nno field", None),
            ("HTTP/1.1 200 OK\r\nA: b\x00", None),
            ("SSH-2.0-x", None),
        ] {
            let whole = format!("{head}\r\n\r\n");
            let status = Status::parse(whole.as_bytes());
            let got = status.map(|status| (status.code, status.reason));
            assert_eq!(got, want.map(|(code, reason)| (code, reason.as_bytes())), "{head:?}");
        }
    }
}
