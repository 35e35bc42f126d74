//! Recognises the protocol of a port by the first bytes that the server sends.

use ftp_proto::{Reply, ReplyDecoder};

/// Protocol of a server, judged by its first bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServerProtocol {
    /// FTP server, with its whole first reply.
    Ftp(Reply),
    /// Probably an FTP server: its first reply is incomplete.
    Unfinished,
    Ssh,
    Http,
    /// TLS record: an alert or a handshake.
    Tls,
    /// Mail server, with its protocol name.
    Mail(&'static str),
    Unknown,
}

pub(crate) fn recognise(bytes: &[u8]) -> ServerProtocol {
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    if starts(b"SSH-") {
        return ServerProtocol::Ssh;
    }
    if starts(b"HTTP/") || starts(b"<!DOCTYPE") || starts(b"<html") || starts(b"<HTML") {
        return ServerProtocol::Http;
    }
    // Alert or handshake, of SSL 3 to TLS 1.3 (RFC 8446 §5.1).
    if let [0x15 | 0x16, 3, 0..=4, ..] = bytes {
        return ServerProtocol::Tls;
    }
    if starts(b"+OK") {
        return ServerProtocol::Mail("POP3");
    }
    if starts(b"* OK") {
        return ServerProtocol::Mail("IMAP");
    }
    let mut decoder = ReplyDecoder::new();
    let mut rest = bytes;
    loop {
        match decoder.next() {
            Ok(Some(reply)) if is_smtp(&reply) => return ServerProtocol::Mail("SMTP"),
            Ok(Some(reply)) => return ServerProtocol::Ftp(reply),
            Err(_) => return ServerProtocol::Unknown,
            Ok(None) => {}
        }
        let taken = decoder.push(rest);
        if taken == 0 {
            break;
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    // The decoder decides only at a line end.
    let is_digit_or_end = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_digit);
    if (0..3).all(is_digit_or_end) { ServerProtocol::Unfinished } else { ServerProtocol::Unknown }
}

/// Returns whether a greeting is that of a mail server. Mail servers name their protocol (RFC 5321
/// §4.2).
fn is_smtp(reply: &Reply) -> bool {
    let first = reply.lines().next().unwrap_or_default().to_ascii_uppercase();
    let mut words = first.split(u8::is_ascii_whitespace);
    words.any(|word| word == b"SMTP" || word == b"ESMTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_recognised_by_their_first_bytes() {
        for (bytes, want) in [
            (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], ServerProtocol::Ssh),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", ServerProtocol::Http),
            (b"<html><head>", ServerProtocol::Http),
            (b"\x15\x03\x01\x00\x02\x02\x46", ServerProtocol::Tls),
            (b"\x16\x03\x03\x00\x7a\x02", ServerProtocol::Tls),
            (b"+OK ready\r\n", ServerProtocol::Mail("POP3")),
            (b"* OK IMAP4rev1\r\n", ServerProtocol::Mail("IMAP")),
            (b"220 mail.example.org ESMTP Postfix\r\n", ServerProtocol::Mail("SMTP")),
            (b"22", ServerProtocol::Unfinished),
            (b"220 ready", ServerProtocol::Unfinished),
            (b"220-Welcome\r\n to it\r\n", ServerProtocol::Unfinished),
            (b"", ServerProtocol::Unfinished),
            (b"\0\0\0\x4a5.7.44", ServerProtocol::Unknown),
            (b"hello\r\n", ServerProtocol::Unknown),
            (b"login: ", ServerProtocol::Unknown),
        ] {
            assert_eq!(recognise(bytes), want, "{bytes:?}");
        }
        for (bytes, code) in [
            (&b"220 SMTPless FTP\r\n"[..], 220),
            (b"220-a\r\n220 b\r\n", 220),
            (b"421 full\r\n", 421),
        ] {
            let ServerProtocol::Ftp(reply) = recognise(bytes) else { panic!("{bytes:?}") };
            assert_eq!(reply.code().value(), code);
        }
    }
}
