//! Takes a first look at each address of the server, before any FTP command: does it accept
//! connections, and which protocol does it speak?

pub(crate) mod banner;
pub(crate) mod judge;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::Timeouts;
use socket2::{Domain, Socket, Type};

use self::banner::{ServerProtocol, recognise};
use super::dial::Dial;
use super::probes::side_by_side;
use crate::exit::Failure;

/// Time for a greeting before a question is sent. FTP servers greet within this time, unless they
/// look up the client's name first.
const QUIET: Duration = Duration::from_secs(5);

/// Question to a server that does not greet. A late FTP server answers it after its greeting; a web
/// server rejects it as a bad request.
const QUESTION: &[u8] = b"FEAT\r\n\r\n";

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
    let Some((_, Some(addresses))) = judge::resolved(dial) else { return Ok(()) };
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
        let mut addresses = Vec::new();
        let found = found.map(|found| {
            found.for_each(|address| {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            });
            addresses
        });
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
    if implicit {
        return match ask(&stream, &client_hello(), end) {
            FirstBytes::Words(first) => talks(first, start, true),
            FirstBytes::End => Answer::Closed,
            FirstBytes::Nothing => Answer::Silent(start.elapsed()),
        };
    }
    let quiet = start + QUIET.min(timeouts.greeting / 4);
    match listen(&stream, Vec::new(), quiet) {
        // The greeting is incomplete, so wait for the rest of it.
        FirstBytes::Words(first) if recognise(&first) == ServerProtocol::Unfinished => {
            return match listen(&stream, first, end) {
                FirstBytes::Words(first) => talks(first, start, false),
                FirstBytes::End | FirstBytes::Nothing => Answer::Closed,
            };
        }
        FirstBytes::Words(first) => {
            let answer = talks(first, start, false);
            if let Answer::Talks { talker: ServerProtocol::Ftp(_), .. } = &answer {
                quit(&stream);
            }
            return answer;
        }
        // A TLS server would have waited instead of closing.
        FirstBytes::End => return Answer::Closed,
        FirstBytes::Nothing => {}
    }
    // The ClientHello needs its own connection, because a TLS record would confuse a slow FTP
    // server.
    let hello = connect(address, bind, timeouts.connect).map(|other| {
        ask(&other, &client_hello(), Instant::now() + QUIET.min(timeouts.greeting / 4))
    });
    if let Ok(FirstBytes::Words(first)) = hello
        && recognise(&first) == ServerProtocol::Tls
    {
        return talks(first, start, true);
    }
    match ask(&stream, QUESTION, end) {
        FirstBytes::Words(first) => {
            // An FTP server greets before it answers a command, so its greeting is not an answer.
            let asked = !matches!(recognise(&first), ServerProtocol::Ftp(_));
            talks(first, start, asked)
        }
        FirstBytes::End => Answer::Closed,
        FirstBytes::Nothing => Answer::Silent(start.elapsed()),
    }
}

fn talks(first: Vec<u8>, start: Instant, asked: bool) -> Answer {
    Answer::Talks { talker: recognise(&first), first, after: start.elapsed(), asked }
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

/// Returns a TLS record with a ClientHello that every TLS server answers, even if only with an
/// alert (RFC 5246 §7.4.1.2). Any answer is enough.
fn client_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // groups
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // point formats
        0x00, 0x0d, 0x00, 0x08, 0x00, 0x06, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, // signatures
    ];
    let suites: &[u8] = &[0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9c, 0x00, 0x2f];
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0x5a; 32]);
    body.push(0);
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    for piece in [&length(suites), suites, &[1, 0], &length(extensions), extensions] {
        body.extend_from_slice(piece);
    }
    let mut handshake = vec![1, 0];
    handshake.extend_from_slice(&length(&body));
    handshake.extend_from_slice(&body);
    let mut record = vec![0x16, 3, 1];
    record.extend_from_slice(&length(&handshake));
    record.extend_from_slice(&handshake);
    record
}
