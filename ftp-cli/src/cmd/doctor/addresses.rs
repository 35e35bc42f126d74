//! Takes a first look at each address of the server, before any FTP command: does it accept
//! connections, and which protocol does it speak? Judges the name lookup and these answers.

use std::collections::HashSet;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::Timeouts;
use ftp_proto::{Escaped, Reply, ReplyDecoder, Severity};
use socket2::{Domain, Socket, Type};

use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding, Grade};
use super::probes::side_by_side;
use crate::connect::dialler;
use crate::exit::Failure;

/// Time for a greeting before a question is sent. FTP servers greet within this time, unless they
/// look up the client's name first.
const QUIET: Duration = Duration::from_secs(5);

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

/// Outcome of the first look at one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The connection failed, for this reason.
    Failed(ErrorKind, String),
    /// The connection neither succeeded nor failed in time.
    Unanswered,
    /// The server sent the bytes `first` after the time `after`; with `asked`, only after a
    /// question.
    Talks { talker: ServerProtocol, first: Vec<u8>, after: Duration, asked: bool },
    /// The server closed the connection without a greeting.
    Closed,
    /// The server sent nothing in this time, not even after a question.
    Silent(Duration),
}

/// The addresses of a name, in the system's order, or the system's error; `None` if the lookup takes
/// too long.
pub(super) type Lookup = Option<io::Result<Vec<SocketAddr>>>;

/// The first look at each address.
pub(super) type Answers = Vec<(SocketAddr, Answer)>;

/// Asks whether this computer has the address of `--bind`.
pub(super) fn bind(dial: &Dial<'_>) -> Result<(), Failure> {
    dial.seen.is_unbound.get_or_init(|| dial.asked.bind.is_some_and(is_missing));
    Ok(())
}

/// Looks up the name, unless a proxy does.
///
/// # Errors
///
/// Returns `Timeout` if the time for the whole examination is over.
pub(super) fn resolve(dial: &Dial<'_>) -> Result<(), Failure> {
    if dial.proxy().is_none() {
        let found = look_up(dial.asked.url.host(), dial.asked.url.port(), dial.timeouts().resolve);
        dial.in_time()?;
        dial.seen.lookup.get_or_init(|| found);
    }
    Ok(())
}

/// Takes the first look at all addresses in parallel.
///
/// # Errors
///
/// Returns `Timeout` if the time for the whole examination is over.
pub(super) fn look(dial: &Dial<'_>) -> Result<(), Failure> {
    let Some((_, Some(addresses))) = resolved(dial) else { return Ok(()) };
    let answers = side_by_side(addresses.into_iter().map(|it| ("address", it)), |address| {
        let answer =
            first_look(address, dial.asked.bind, &dial.timeouts_of_look(), dial.asked.is_implicit);
        (address, answer)
    })?;
    dial.in_time()?;
    dial.seen.answers.get_or_init(|| answers);
    Ok(())
}

fn look_up(host: &str, port: u16, limit: Duration) -> Lookup {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(vec![SocketAddr::new(address, port)]));
    }
    let host = host.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    // The system's resolver has no timeout. The thread ends when the lookup does.
    let thread = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let mut known = HashSet::new();
        let found = found.map(|found| found.filter(|address| known.insert(*address)).collect());
        let _ = sender.send(found);
    });
    match thread {
        Ok(_) => receiver.recv_timeout(limit).ok(),
        Err(error) => Some(Err(error)),
    }
}

/// Returns whether this computer lacks the address `local`.
fn is_missing(local: IpAddr) -> bool {
    UdpSocket::bind((local, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Connects to an address and recognises its protocol. With `implicit`, TLS is expected first.
fn first_look(
    address: SocketAddr,
    bind: Option<IpAddr>,
    timeouts: &Timeouts,
    implicit: bool,
) -> Answer {
    let stream = match connect(address, bind, timeouts.connect) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::TimedOut => return Answer::Unanswered,
        Err(error) => return Answer::Failed(error.kind(), error.to_string()),
    };
    let start = Instant::now();
    let end = start + timeouts.greeting;
    let answer = |heard, asked| match heard {
        FirstBytes::Words(first) => {
            Answer::Talks { talker: recognise(&first), first, after: start.elapsed(), asked }
        }
        FirstBytes::End => Answer::Closed,
        FirstBytes::Nothing => Answer::Silent(start.elapsed()),
    };
    if implicit {
        return answer(ask(&stream, CLIENT_HELLO, end), true);
    }
    let quiet = start + QUIET.min(timeouts.greeting / 4);
    match listen(&stream, Vec::new(), quiet) {
        // The greeting is incomplete, so wait for the rest of it.
        FirstBytes::Words(first) if recognise(&first) == ServerProtocol::Unfinished => {
            return answer(listen(&stream, first, end), false);
        }
        FirstBytes::Nothing => {}
        // A TLS server would have waited instead of closing.
        heard => {
            let answer = answer(heard, false);
            if let Answer::Talks { talker: ServerProtocol::Ftp(_), .. } = &answer {
                quit(&stream);
            }
            return answer;
        }
    }
    // The ClientHello needs its own connection, because a TLS record would confuse a slow FTP
    // server.
    let hello = connect(address, bind, timeouts.connect)
        .map(|other| ask(&other, CLIENT_HELLO, Instant::now() + QUIET.min(timeouts.greeting / 4)));
    if let Ok(FirstBytes::Words(first)) = hello
        && recognise(&first) == ServerProtocol::Tls
    {
        return answer(FirstBytes::Words(first), true);
    }
    match answer(ask(&stream, QUESTION, end), true) {
        // An FTP server greets before it answers a command, so its greeting is not an answer.
        Answer::Talks { talker: talker @ ServerProtocol::Ftp(_), first, after, .. } => {
            Answer::Talks { talker, first, after, asked: false }
        }
        answer => answer,
    }
}

pub(super) fn connect(
    address: SocketAddr,
    bind: Option<IpAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(bind) = bind {
        socket.bind(&SocketAddr::new(bind, 0).into())?;
    }
    socket.connect_timeout(&address.into(), limit)?;
    Ok(socket.into())
}

/// Ends an FTP session, and waits until the server has closed it, because some servers count the
/// session until then.
fn quit(mut stream: &TcpStream) {
    let until = Instant::now() + PARTING;
    if stream.write_all(b"QUIT\r\n").is_err() {
        return;
    }
    let mut buffer = [0; 4_096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        if !matches!(stream.read(&mut buffer), Ok(1..)) {
            return;
        }
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
fn listen(mut stream: &TcpStream, mut heard: Vec<u8>, until: Instant) -> FirstBytes {
    let mut buffer = [0; 4_096];
    let finished = |heard: Vec<u8>, otherwise| match heard.is_empty() {
        true => otherwise,
        false => FirstBytes::Words(heard),
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return finished(heard, FirstBytes::Nothing);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return finished(heard, FirstBytes::End),
            Ok(count) => heard.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return finished(heard, FirstBytes::Nothing);
            }
            Err(_) => return finished(heard, FirstBytes::End),
        }
        if heard.len() > MOST_SAID
            || (!heard.is_empty() && recognise(&heard) != ServerProtocol::Unfinished)
        {
            return FirstBytes::Words(heard);
        }
    }
}

/// Protocol of a server, judged by its first bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ServerProtocol {
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

/// Largest number of addresses to examine.
const MOST_ADDRESSES: usize = 8;

/// Time after which a greeting counts as late.
const LATE: Duration = Duration::from_secs(4);

/// Largest number of bytes that a finding quotes from a server that does not speak FTP.
const SHOWN: usize = 60;

/// Judges whether this computer has the address of `--bind`.
pub(super) fn judge_bind(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let missing = dial.asked.bind.filter(|_| dial.seen.is_unbound.get() == Some(&true));
    let finding = missing.map(|local| {
        let seen = format!("this computer does not have the address {local}");
        Check::Connect.fail(Diagnosis::LocalAddressMissing, seen)
    });
    Ok(finding.into_iter().collect())
}

/// Judges the name lookup.
pub(super) fn judge_resolve(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(resolved(dial).map(|(finding, _)| finding).into_iter().collect())
}

/// Judges the addresses.
pub(super) fn judge_look(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let answers = dial.seen.answers.get();
    Ok(answers.map_or_else(Vec::new, |answers| addresses(answers, dial.asked.is_implicit)))
}

/// Returns the finding about the name lookup, and the addresses to look at. Returns `None` if no
/// name was looked up.
fn resolved(dial: &Dial<'_>) -> Option<(Finding, Option<Vec<SocketAddr>>)> {
    let is_wanted = |address: &SocketAddr| {
        let of_bind = dial.asked.bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        of_bind && dialler::is_of_family(address.ip(), dialler::family(dial.asked.options))
    };
    let found = dial.seen.lookup.get()?;
    Some(wanted(dial.asked.url.host(), found, is_wanted, MOST_ADDRESSES))
}

/// Returns the finding about the name lookup, and the first `most` addresses of the wanted family.
fn wanted(
    host: &str,
    found: &Lookup,
    is_wanted: impl Fn(&SocketAddr) -> bool,
    most: usize,
) -> (Finding, Option<Vec<SocketAddr>>) {
    let host = Escaped(host.as_bytes());
    let fail = |diagnosis, seen: Arguments<'_>| (Check::Resolve.fail(diagnosis, seen), None);
    let all = match found {
        None => return fail(Diagnosis::NameUnanswered, format_args!("{host}: no answer")),
        Some(Err(error)) if is_of_resolver(error) => {
            return fail(Diagnosis::ResolverFailed, format_args!("{host}: {error}"));
        }
        Some(Err(error)) => return fail(Diagnosis::NameUnknown, format_args!("{host}: {error}")),
        Some(Ok(all)) if all.is_empty() => {
            return fail(Diagnosis::NameUnknown, format_args!("{host} has no address"));
        }
        Some(Ok(all)) => all,
    };
    let shown: Vec<String> = all.iter().take(most).map(|at| at.ip().to_string()).collect();
    let shown = shown.join(", ");
    let mut wanted: Vec<SocketAddr> = all.iter().copied().filter(is_wanted).collect();
    if wanted.is_empty() {
        return fail(Diagnosis::NoAddressOfFamily, format_args!("{host} has only {shown}"));
    }
    wanted.truncate(most);
    let finding = match all.len() {
        1 => Check::Resolve.ok(format_args!("{host} has the address {shown}")),
        count => Check::Resolve.ok(format_args!("{host} has {count} addresses: {shown}")),
    };
    (finding, Some(wanted))
}

/// Messages of glibc and musl for lookups that got no answer about the name. The standard library
/// passes on the message, but not the code (EAI_AGAIN, EAI_FAIL).
const NO_ANSWER: [&str; 3] = ["failure in name resolution", "Try again", "Non-recoverable error"];

/// Returns whether an error of a lookup says nothing about the name.
fn is_of_resolver(error: &io::Error) -> bool {
    // Only failed system calls have codes: calls on the resolver's sockets, or to start its thread.
    error.raw_os_error().is_some() || {
        let text = error.to_string();
        NO_ANSWER.iter().any(|words| text.contains(words))
    }
}

/// Returns `-4` or `-6` if the server has addresses of both families, but only this family works.
pub(super) fn good_family(answers: &[(SocketAddr, Answer)]) -> Option<&'static str> {
    // Whether an address of the family works; `None` if there is no such address.
    let is_good = |is_ipv4: bool| {
        let of = answers.iter().filter(|(address, _)| address.is_ipv4() == is_ipv4);
        let are_good = of.map(|(_, answer)| {
            matches!(
                answer,
                Answer::Talks { talker: ServerProtocol::Ftp(_) | ServerProtocol::Tls, .. }
            )
        });
        are_good.max()
    };
    match (is_good(true), is_good(false)) {
        (Some(true), Some(false)) => Some("-4"),
        (Some(false), Some(true)) => Some("-6"),
        _ => None,
    }
}

/// Returns the time of the slowest greeting.
pub(super) fn slowest(answers: &[(SocketAddr, Answer)]) -> Duration {
    let times = answers.iter().filter_map(|(_, answer)| match answer {
        Answer::Talks { after, .. } => Some(*after),
        _ => None,
    });
    times.max().unwrap_or_default()
}

/// Judges the addresses of a server. If at least one address works, problems of the others are only
/// warnings.
fn addresses(answers: &[(SocketAddr, Answer)], implicit: bool) -> Vec<Finding> {
    let judged: Vec<Vec<Finding>> =
        answers.iter().map(|(address, answer)| one(*address, answer, implicit)).collect();
    let is_good =
        |findings: &Vec<Finding>| findings.iter().all(|finding| finding.grade != Grade::Fail);
    if !judged.iter().any(is_good) || judged.iter().all(is_good) {
        return judged.into_iter().flatten().collect();
    }
    let softened = judged.into_iter().flatten().map(|finding| match finding.diagnosis {
        Some(_) if finding.grade == Grade::Fail => {
            Finding { grade: Grade::Warn, diagnosis: Some(Diagnosis::AddressDead), ..finding }
        }
        _ => finding,
    });
    softened.collect()
}

fn one(address: SocketAddr, answer: &Answer, implicit: bool) -> Vec<Finding> {
    let connected = || Check::Connect.ok(format_args!("{address} accepts connections"));
    match answer {
        Answer::Failed(kind, why) => {
            let diagnosis = match kind {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Diagnosis::PortClosed,
                _ => Diagnosis::HostUnreachable,
            };
            vec![Check::Connect.fail(diagnosis, format_args!("{address}: {why}"))]
        }
        Answer::Unanswered => vec![
            Check::Connect.fail(Diagnosis::HostSilent, format_args!("{address} does not answer")),
        ],
        Answer::Closed => vec![
            connected(),
            Check::Greeting.fail(
                Diagnosis::ClosedUnspoken,
                format_args!("{address} closed the connection without a greeting"),
            ),
        ],
        Answer::Silent(time) => vec![
            connected(),
            Check::Greeting.fail(
                Diagnosis::GreetingNever,
                format_args!("{address} sent nothing for {:.0} s", time.as_secs_f64()),
            ),
        ],
        Answer::Talks { talker: ServerProtocol::Ftp(reply), after, .. } if !implicit => vec![
            connected(),
            Check::Protocol.ok(format_args!("{address} speaks FTP")),
            greeting(address, reply, *after),
        ],
        Answer::Talks { talker, first, asked, .. } => {
            vec![connected(), protocol(address, talker, first, implicit, *asked)]
        }
    }
}

/// Judges the protocol of a server that does not greet with FTP as expected.
fn protocol(
    address: SocketAddr,
    talker: &ServerProtocol,
    first: &[u8],
    implicit: bool,
    asked: bool,
) -> Finding {
    let fail = |diagnosis, seen: Arguments<'_>| Check::Protocol.fail(diagnosis, seen);
    let said = Escaped(first.get(..SHOWN).unwrap_or(first).trim_ascii_end());
    let other = |diagnosis, what| fail(diagnosis, format_args!("{address} speaks {what}: {said}"));
    match talker {
        ServerProtocol::Ftp(reply) => {
            fail(Diagnosis::PlainOnTlsPort, format_args!("{address} greets unencrypted: {reply}"))
        }
        ServerProtocol::Tls if implicit => {
            Check::Protocol.ok(format_args!("{address} starts with TLS"))
        }
        ServerProtocol::Tls => {
            fail(Diagnosis::TlsOnPlainPort, format_args!("{address} expects TLS first"))
        }
        ServerProtocol::Ssh => other(Diagnosis::SshOnPort, "SSH"),
        ServerProtocol::Http => other(Diagnosis::HttpOnPort, "HTTP"),
        ServerProtocol::Mail(name) => other(Diagnosis::OtherProtocol, name),
        // The greeting started like FTP, but did not end.
        ServerProtocol::Unfinished if !asked => Check::Greeting.fail(
            Diagnosis::GreetingNever,
            format_args!("{address} sent an incomplete greeting: {said}"),
        ),
        ServerProtocol::Unfinished | ServerProtocol::Unknown => {
            other(Diagnosis::OtherProtocol, "another protocol")
        }
    }
}

fn greeting(address: SocketAddr, reply: &Reply, after: Duration) -> Finding {
    let seen = format!("{address} greets after {:.1} s: {reply}", after.as_secs_f64());
    match reply.code().severity() {
        Severity::Completion | Severity::Preliminary if after >= LATE => {
            Check::Greeting.warn(Diagnosis::GreetingLate, seen)
        }
        Severity::Completion | Severity::Preliminary => Check::Greeting.ok(seen),
        _ => Check::Greeting.fail(Diagnosis::GreetingRefused, seen),
    }
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

    fn talks(first: &[u8], seconds: u64, asked: bool) -> Answer {
        let after = Duration::from_secs(seconds);
        Answer::Talks { talker: recognise(first), first: first.to_vec(), after, asked }
    }

    fn names(answers: &[Answer], implicit: bool) -> Vec<&'static str> {
        let address = |at: usize| SocketAddr::from(([192, 0, 2, 1], u16::try_from(at).unwrap()));
        let answers: Vec<_> =
            answers.iter().enumerate().map(|(at, answer)| (address(at), answer.clone())).collect();
        let findings = addresses(&answers, implicit);
        findings.iter().filter_map(|found| Some(found.diagnosis?.name())).collect()
    }

    #[test]
    fn each_answer_has_its_diagnosis() {
        let refused = Answer::Failed(ErrorKind::ConnectionRefused, "refused".into());
        let no_route = Answer::Failed(ErrorKind::HostUnreachable, "no route".into());
        let silent = || Answer::Silent(Duration::from_secs(60));
        for (answer, implicit, want) in [
            (talks(b"220 ready\r\n", 0, false), false, None),
            (talks(b"120 soon\r\n", 0, false), false, None),
            (talks(b"220 ready\r\n", 9, false), false, Some("greeting-late")),
            (talks(b"220 ready\r\n", 0, true), true, Some("plain-on-tls-port")),
            (talks(b"\x15\x03\x03\0\x02\x02\x28", 0, true), true, None),
            (talks(b"\x15\x03\x03\0\x02\x02\x28", 0, true), false, Some("tls-on-plain-port")),
            (talks(b"SSH-2.0-x\r\n", 0, false), false, Some("ssh-on-port")),
            (talks(b"SSH-2.0-x\r\n", 0, true), true, Some("ssh-on-port")),
            (talks(b"HTTP/1.1 400 x\r\n", 5, true), false, Some("http-on-port")),
            (talks(b"220 x ESMTP\r\n", 0, false), false, Some("other-protocol")),
            (talks(b"what?", 0, false), false, Some("other-protocol")),
            (talks(b"220-never", 60, false), false, Some("greeting-never")),
            (talks(b"421 full\r\n", 0, false), false, Some("greeting-refused")),
            (talks(b"500 no\r\n", 0, false), false, Some("greeting-refused")),
            (Answer::Closed, false, Some("closed-unspoken")),
            (silent(), false, Some("greeting-never")),
            (refused, false, Some("port-closed")),
            (no_route, false, Some("host-unreachable")),
            (Answer::Unanswered, false, Some("host-silent")),
        ] {
            let found = names(std::slice::from_ref(&answer), implicit);
            assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{answer:?}");
        }
    }

    #[test]
    fn one_good_address_makes_the_others_a_warning() {
        let good = talks(b"220 ready\r\n", 0, false);
        assert_eq!(names(&[Answer::Unanswered, good.clone()], false), ["address-dead"]);
        assert_eq!(names(&[good.clone(), good], false), [""; 0]);
        let all = [Answer::Unanswered, Answer::Closed];
        assert_eq!(names(&all, false), ["host-silent", "closed-unspoken"]);
    }

    #[test]
    fn a_name_must_have_an_address_of_the_wanted_family() {
        let four: SocketAddr = "192.0.2.1:21".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:21".parse().unwrap();
        let lookup = |detail: &str| {
            let text = format!("failed to lookup address information: {detail}");
            Some(Err(io::Error::other(text)))
        };
        let no_thread = io::Error::from(rustix::io::Errno::AGAIN);
        for (found, want) in [
            (None, Err("name-unanswered")),
            (lookup("Name or service not known"), Err("name-unknown")),
            (lookup("Name does not resolve"), Err("name-unknown")),
            (lookup("Temporary failure in name resolution"), Err("resolver-failed")),
            (lookup("Non-recoverable failure in name resolution"), Err("resolver-failed")),
            (lookup("Try again"), Err("resolver-failed")),
            (Some(Err(no_thread)), Err("resolver-failed")),
            (Some(Ok(vec![])), Err("name-unknown")),
            (Some(Ok(vec![six])), Err("no-address-of-family")),
            (Some(Ok(vec![six, four])), Ok(vec![four])),
            (Some(Ok(vec![four; 20])), Ok(vec![four; 8])),
        ] {
            let (finding, wanted) = wanted("host", &found, SocketAddr::is_ipv4, 8);
            let name = finding.diagnosis.map(|diagnosis| diagnosis.name());
            assert_eq!(wanted.ok_or_else(|| name.unwrap()), want);
        }
    }

    #[test]
    fn the_only_working_address_family_is_recommended() {
        let good = talks(b"220 ready\r\n", 0, false);
        let four = "192.0.2.1:21".parse().unwrap();
        let six = "[2001:db8::1]:21".parse().unwrap();
        for (of_four, of_six, want) in [
            (Some(good.clone()), Some(Answer::Unanswered), Some("-4")),
            (Some(Answer::Closed), Some(good.clone()), Some("-6")),
            (Some(good.clone()), Some(good.clone()), None),
            (Some(good), None, None),
            (Some(Answer::Unanswered), Some(Answer::Unanswered), None),
        ] {
            let answers: Vec<(SocketAddr, Answer)> = [(four, of_four), (six, of_six)]
                .into_iter()
                .filter_map(|(at, of)| Some((at, of?)))
                .collect();
            assert_eq!(good_family(&answers), want, "{answers:?}");
        }
    }

    #[test]
    fn server_text_is_shown_escaped_li_04() {
        let answer = talks(b"\x1b[2J\x1b]0;owned\x07", 0, false);
        let found = addresses(&[(SocketAddr::from(([192, 0, 2, 1], 21)), answer)], false);
        assert_eq!(found[1].grade, Grade::Fail);
        assert!(found[1].seen.contains("\\x1b[2J") && !found[1].seen.contains('\x1b'));
    }
}
