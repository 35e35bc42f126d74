//! `CONNECT` of HTTP (RFC 9110 §9.3.6) with Basic authentication (RFC 7617).

use super::Dialogue;
use crate::digest::Base64;
use crate::error::{Error, ProxyAnswer, ProxyFault};
use crate::net::Server;

/// The maximum length of the answer up to its final empty line, including interim answers, in
/// bytes.
const LARGEST: usize = 64 << 10;

/// The status of a switch to another protocol: the only 1xx that is final.
const SWITCHING: u16 = 101;

const NOT_HTTP: ProxyFault = ProxyFault::NotAProxy("HTTP");

pub(super) fn connect(dialogue: &mut Dialogue<'_>, target: &Server) -> Result<(), Error> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = dialogue.login() {
        let pair = [&login.user, &b":"[..], &login.password.0].concat();
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", Base64(&pair)));
    }
    request.push_str("\r\n");
    dialogue.send(request.as_bytes())?;
    let mut left = LARGEST;
    let (status, reason) = loop {
        let head = head(dialogue, &mut left)?;
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
fn head(dialogue: &mut Dialogue<'_>, left: &mut usize) -> Result<Vec<u8>, Error> {
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
