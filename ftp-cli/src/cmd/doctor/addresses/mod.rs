//! A first look at each address of the server, before anything of FTP is said: does it connect, and
//! who talks there.

pub(crate) mod banner;
pub(crate) mod judge;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::Timeouts;
use socket2::{Domain, Socket, Type};

use self::banner::{Talker, recognise};

/// How long a server may be silent before it is asked. Those of FTP greet within this, unless they
/// look for the client's name first.
const QUIET: Duration = Duration::from_secs(5);

/// What a server that does not greet is asked: an FTP server that is late answers it after its
/// greeting, a web server calls it a bad request.
const QUESTION: &[u8] = b"FEAT\r\n\r\n";

/// How long a server that was looked at may take to say good-bye.
const PARTING: Duration = Duration::from_secs(1);

/// The most that is read of what a server says first.
const MOST_SAID: usize = 64 << 10;

/// What came of a first look at one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// No connection, for this reason.
    Failed(ErrorKind, String),
    /// No connection, nor a word why not, in time.
    Unanswered,
    /// It talks, this long after connecting, or only when it was asked.
    Talks { talker: Talker, first: Vec<u8>, after: Duration, asked: bool },
    /// It closed the connection without a word.
    Closed,
    /// It said nothing, for this long, whatever it was asked.
    Silent(Duration),
}

/// The addresses of a name, in the system's order. The inner error is the system's; `None` if it
/// took too long.
pub(super) fn resolve(
    host: &str,
    port: u16,
    limit: Duration,
) -> Option<io::Result<Vec<SocketAddr>>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(vec![SocketAddr::new(address, port)]));
    }
    let host = host.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    // The system's resolver knows no limit of time. The thread ends when it does.
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

/// Connects to an address and listens to who talks there. `implicit` is whether TLS is expected at
/// once.
pub(super) fn look(
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
            Heard::Words(first) => talks(first, start, true),
            Heard::End => Answer::Closed,
            Heard::Nothing => Answer::Silent(start.elapsed()),
        };
    }
    let quiet = start + QUIET.min(timeouts.greeting / 4);
    match listen(&stream, Vec::new(), quiet) {
        // Slow is not silent: the rest of it may come.
        Heard::Words(first) if recognise(&first) == Talker::Unfinished => {
            return match listen(&stream, first, end) {
                Heard::Words(first) => talks(first, start, false),
                Heard::End | Heard::Nothing => Answer::Closed,
            };
        }
        Heard::Words(first) => {
            let answer = talks(first, start, false);
            if let Answer::Talks { talker: Talker::Ftp(_), .. } = &answer {
                quit(&stream);
            }
            return answer;
        }
        // A server of TLS that closes would have waited.
        Heard::End => return Answer::Closed,
        Heard::Nothing => {}
    }
    // By a connection of its own: what it does to the dialogue of this one nobody knows.
    let hello = connect(address, bind, timeouts.connect).map(|other| {
        ask(&other, &client_hello(), Instant::now() + QUIET.min(timeouts.greeting / 4))
    });
    if let Ok(Heard::Words(first)) = hello
        && recognise(&first) == Talker::Tls
    {
        return talks(first, start, true);
    }
    match ask(&stream, QUESTION, end) {
        Heard::Words(first) => {
            // What is FTP greets first and answers then: only the question was too early.
            let asked = !matches!(recognise(&first), Talker::Ftp(_));
            talks(first, start, asked)
        }
        Heard::End => Answer::Closed,
        Heard::Nothing => Answer::Silent(start.elapsed()),
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

/// Ends a session of FTP that was only looked at, and waits until the server has ended it: some count
/// it until then.
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

/// What was heard until a point in time.
enum Heard {
    Words(Vec<u8>),
    /// The end of the connection, and not a word before.
    End,
    Nothing,
}

fn ask(mut stream: &TcpStream, question: &[u8], until: Instant) -> Heard {
    match stream.write_all(question) {
        Ok(()) => listen(stream, Vec::new(), until),
        Err(_) => Heard::End,
    }
}

/// Reads, after what was heard already, until it is clear who talks, or for what is left of the
/// time.
fn listen(mut stream: &TcpStream, mut heard: Vec<u8>, until: Instant) -> Heard {
    let mut buffer = [0; 4_096];
    let finished = |heard: Vec<u8>, otherwise| match heard.is_empty() {
        true => otherwise,
        false => Heard::Words(heard),
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return finished(heard, Heard::Nothing);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return finished(heard, Heard::End),
            Ok(count) => heard.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return finished(heard, Heard::Nothing);
            }
            Err(_) => return finished(heard, Heard::End),
        }
        if heard.len() > MOST_SAID || (!heard.is_empty() && recognise(&heard) != Talker::Unfinished)
        {
            return Heard::Words(heard);
        }
    }
}

/// A first record of TLS that every server answers, be it by an alert (RFC 5246 §7.4.1.2): only
/// whether it does is looked at, nothing is agreed on.
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
