//! `FirstLook`: what answers at an address, before any FTP command.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyDecoder};

use crate::Timeouts;
use crate::net::dial;

/// Time for a greeting before a question is sent. FTP servers greet within this time, unless they
/// look up the client's name first.
const QUIET: Duration = Duration::from_secs(5);

/// Time to listen to one of two connections at a time.
const SLICE: Duration = Duration::from_millis(100);

/// Question to a server that does not greet. A late FTP server answers it after its greeting; a web
/// server rejects it as a bad request.
const QUESTION: &[u8] = b"FEAT\r\n\r\n";

/// A TLS record with a ClientHello that every TLS server answers, even if only with an alert
/// (RFC 5246 §7.4.1.2). Any answer is enough.
const CLIENT_HELLO: &[u8] = &[
    0x16, 3, 1, 0, 85, // record
    1, 0, 0, 81, 3, 3, // ClientHello
    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
    0, // no session
    0, 12, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9c, 0x00, 0x2f, // suites
    1, 0, // no compression
    0, 28, // extensions
    0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // groups
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // point formats
    0x00, 0x0d, 0x00, 0x08, 0x00, 0x06, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, // signatures
];

/// Time that a server gets to answer QUIT.
const PARTING: Duration = Duration::from_secs(1);

/// Largest number of bytes to read of a server's first output.
const MOST_SAID: usize = 64 << 10;

/// Outcome of a first look at an address, before any FTP command: does anything accept connections
/// there, and which protocol does it speak? For programs that tell users why a connection fails: they
/// must explain each of these outcomes.
///
/// ```no_run
/// use ftp_client::{FirstLook, ServerProtocol, Timeouts};
///
/// let address = "192.0.2.1:21".parse()?;
/// match FirstLook::at(address, None, &Timeouts::new(), false) {
///     FirstLook::Talks { talker: ServerProtocol::Ftp(greeting), .. } => println!("{greeting}"),
///     FirstLook::Talks { talker, .. } => println!("not an FTP server: {talker:?}"),
///     other => println!("no answer: {other:?}"),
/// }
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FirstLook {
    /// The connection failed, for this reason.
    Failed(ErrorKind, String),
    /// The connection neither succeeded nor failed in time.
    Unanswered,
    /// The server sent the bytes `first` after the time `after`; with `asked`, only after a
    /// question.
    Talks {
        /// What the bytes show.
        talker: ServerProtocol,
        /// At most 64 KiB.
        first: Vec<u8>,
        /// Counted from the end of connecting.
        after: Duration,
        /// Whether a question preceded them.
        asked: bool,
    },
    /// The server closed the connection without a greeting.
    Closed,
    /// The server sent nothing in this time, not even after a question.
    Silent(Duration),
}

impl FirstLook {
    /// Connects to `address`, from the local address `bind` if there is one, and recognises the protocol
    /// there. Sends no FTP command except `FEAT` to a silent server and `QUIT`, and nothing secret. With
    /// `implicit`, TLS is expected first. Of `timeouts`, `connect` and `greeting` count.
    #[must_use]
    pub fn at(
        address: SocketAddr,
        bind: Option<IpAddr>,
        timeouts: &Timeouts,
        implicit: bool,
    ) -> Self {
        let stream = match Self::connect(address, bind, timeouts.connect) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Self::Unanswered,
            Err(error) => return Self::Failed(error.kind(), error.to_string()),
        };
        let heard = hear(&stream, (address, bind), timeouts, implicit);
        if let Self::Talks { talker: ServerProtocol::Ftp(_), .. } = &heard {
            quit(&stream);
        }
        heard
    }

    /// Opens a TCP connection to `address` within `limit`, from the local address `bind` if there is one.
    ///
    /// # Errors
    ///
    /// Returns the system's error, `TimedOut` at the limit.
    pub fn connect(
        address: SocketAddr,
        bind: Option<IpAddr>,
        limit: Duration,
    ) -> io::Result<TcpStream> {
        let socket = dial::unblocking(address, bind)?;
        // Afterwards, the socket is blocking.
        socket.connect_timeout(&address.into(), limit)?;
        Ok(socket.into())
    }
}

/// Listens to the server, and asks it if it is silent.
fn hear(
    stream: &TcpStream,
    (address, bind): (SocketAddr, Option<IpAddr>),
    timeouts: &Timeouts,
    implicit: bool,
) -> FirstLook {
    let start = Instant::now();
    let end = start + timeouts.greeting;
    let answer = |heard, asked| match heard {
        FirstBytes::Words(first) => {
            FirstLook::Talks { talker: recognise(&first), first, after: start.elapsed(), asked }
        }
        FirstBytes::End => FirstLook::Closed,
        FirstBytes::Nothing => FirstLook::Silent(start.elapsed()),
    };
    if implicit {
        return answer(ask(stream, CLIENT_HELLO, end), true);
    }
    let quiet = QUIET.min(timeouts.greeting / 4);
    match listen(stream, Vec::new(), start + quiet) {
        // The greeting may be incomplete, so wait for the rest of it.
        FirstBytes::Words(first) => return answer(listen(stream, first, end), false),
        // A TLS server would have waited instead of closing.
        FirstBytes::End => return FirstLook::Closed,
        FirstBytes::Nothing => {}
    }
    // The ClientHello needs its own connection, because a TLS record would confuse a slow FTP
    // server. Meanwhile, the greeting may arrive.
    let hello = FirstLook::connect(address, bind, timeouts.connect);
    let hello = hello.and_then(|mut other| other.write_all(CLIENT_HELLO).map(|()| other));
    let until = Instant::now() + quiet;
    while Instant::now() < until {
        match listen(stream, Vec::new(), Instant::now() + SLICE) {
            FirstBytes::Words(first) => return answer(listen(stream, first, end), false),
            FirstBytes::End => return FirstLook::Closed,
            FirstBytes::Nothing => {}
        }
        if let Ok(other) = &hello
            && let FirstBytes::Words(first) = listen(other, Vec::new(), Instant::now() + SLICE)
            && recognise(&first) == ServerProtocol::Tls
        {
            return answer(FirstBytes::Words(first), true);
        }
    }
    match answer(ask(stream, QUESTION, end), true) {
        // An FTP server greets before it answers a command, so its greeting is not an answer.
        FirstLook::Talks { talker: talker @ ServerProtocol::Ftp(_), first, after, .. } => {
            FirstLook::Talks { talker, first, after, asked: false }
        }
        answer => answer,
    }
}

/// Ends an FTP session, and waits until the server has closed it, because some servers count the
/// session until then.
fn quit(mut stream: &TcpStream) {
    let until = Instant::now() + PARTING;
    if stream.write_all(b"QUIT\r\n").is_err() {
        return;
    }
    let mut buffer = [0; 4_096];
    while matches!(read_by(until, stream, &mut buffer), Ok(1..)) {}
}

fn read_by(until: Instant, mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(buffer)),
    }
}

/// Bytes received until a deadline.
enum FirstBytes {
    Words(Vec<u8>),
    /// The connection ended without a byte.
    End,
    Nothing,
}

fn ask(mut stream: &TcpStream, question: &[u8], until: Instant) -> FirstBytes {
    match stream.write_all(question) {
        Ok(()) => listen(stream, Vec::new(), until),
        Err(_) => FirstBytes::End,
    }
}

/// Reads into `heard` until the protocol is recognised, the connection ends or `until` has passed.
fn listen(stream: &TcpStream, mut heard: Vec<u8>, until: Instant) -> FirstBytes {
    let mut buffer = [0; 4_096];
    let finished = |heard: Vec<u8>, otherwise| match heard.is_empty() {
        true => otherwise,
        false => FirstBytes::Words(heard),
    };
    loop {
        if heard.len() > MOST_SAID
            || (!heard.is_empty() && recognise(&heard) != ServerProtocol::Unfinished)
        {
            return FirstBytes::Words(heard);
        }
        match read_by(until, stream, &mut buffer) {
            Ok(0) => return finished(heard, FirstBytes::End),
            Ok(count) => heard.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return finished(heard, FirstBytes::Nothing);
            }
            Err(_) => return finished(heard, FirstBytes::End),
        }
    }
}

/// Protocol of a server, judged by its first bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServerProtocol {
    /// FTP server, with its whole first reply.
    Ftp(Reply),
    /// Probably an FTP server: its first reply is incomplete.
    Unfinished,
    /// SSH server.
    Ssh,
    /// Web server.
    Http,
    /// TLS record: an alert or a handshake.
    Tls,
    /// Mail server, with its protocol name.
    Mail(&'static str),
    /// None of these.
    Unknown,
}

fn recognise(bytes: &[u8]) -> ServerProtocol {
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
    fn a_session_ends_with_quit_even_if_its_greeting_comes_in_parts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = String::new();
            for line in ["220-Hello\r\n", "220 ready\r\n"] {
                stream.write_all(line.as_bytes()).unwrap();
                std::thread::sleep(SLICE);
            }
            stream.read_to_string(&mut said).unwrap();
            said
        });
        let look = FirstLook::at(address, None, &Timeouts::new(), false);
        assert!(
            matches!(&look, FirstLook::Talks { talker: ServerProtocol::Ftp(_), .. }),
            "{look:?}"
        );
        assert_eq!(server.join().unwrap(), "QUIT\r\n");
    }

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
