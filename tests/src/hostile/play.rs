//! A server that plays a behaviour: one thread that serves one session after another.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket};

use super::script::{Amount, Part, Port, Rule, Step, Text, sound};
use super::{Behaviour, content, listing};
use crate::port::OwnPort;

/// A time limit that is longer than any timeout of a correct client.
const LIMIT: Duration = Duration::from_secs(100);

/// Number of bytes of endless input that no client may accept.
const ENDLESS: u64 = 1 << 30;

/// Number of bytes that are written or read at a time.
const PIECE: usize = 65_536;

/// The place where the control connection is cut, whatever the table says.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The number of bytes that the server has sent by then.
    pub at: usize,
    /// The kind of cut.
    pub how: How,
}

/// How the server ends its output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// It closes its connections properly.
    End,
    /// It resets the control connection.
    Reset,
    /// It sends nothing more.
    Silence,
}

/// The result of a session, as the server saw it.
#[derive(Debug, Default)]
pub struct Played {
    /// The end of each line that the server sent, in bytes from the beginning.
    pub line_ends: Vec<usize>,
    /// The data moved for each command that moves data.
    pub moved: Vec<Moved>,
    /// Forbidden actions of the client.
    pub violations: Vec<String>,
}

/// The data moved over one data connection.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// The number of bytes that the server sent.
    pub sent: u64,
    /// The number of line feeds in the sent bytes, for a listing.
    pub lines: usize,
    /// The number of bytes that the server received.
    pub taken: u64,
    /// Whether the received bytes are exactly the content at that place.
    pub is_content: bool,
    /// Whether the server saw the end of the received data.
    pub ended: bool,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Played>,
}

impl Server {
    /// Starts a server with this behaviour, on a free port of 127.0.0.1.
    #[must_use]
    pub fn start(behaviour: &Behaviour, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, rules) = (Arc::clone(&over), behaviour.rules.clone());
        let thread = thread::spawn(move || {
            let mut played = Played::default();
            let sound = sound();
            loop {
                let (control, _) = listener.accept().expect("a client, or the end");
                if is_over.load(Ordering::SeqCst) {
                    return played;
                }
                let mut session = Session::new(control, &rules, &sound, cut, &mut played);
                let Over = session.run();
                session.end();
            }
        });
        Self { address, over, thread }
    }

    /// Returns its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the last client has disconnected, and returns the result of its session.
    ///
    /// # Panics
    ///
    /// Panics if the table requires an impossible step.
    #[must_use]
    pub fn end(self) -> Played {
        self.over.store(true, Ordering::SeqCst);
        let _wakes = TcpStream::connect(self.address);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The session is over.
struct Over;

struct Session<'a> {
    control: TcpStream,
    /// Received bytes that are not a line yet.
    input: Vec<u8>,
    rules: &'a [Rule],
    sound: &'a [Rule],
    /// The number of times that each verb arrived.
    counts: Vec<(String, usize)>,
    cut: Option<Cut>,
    played: &'a mut Played,
    /// The number of bytes sent on the control connection.
    written: usize,
    verb: String,
    /// Whether the last command that moves data has its final reply.
    concluded: bool,
    restart: usize,
    passive: Option<TcpListener>,
    active: Option<SocketAddr>,
    data: Option<TcpStream>,
    /// A port that is bound and does not answer.
    closed: Option<OwnPort>,
    elsewhere: Option<TcpListener>,
}

impl<'a> Session<'a> {
    fn new(
        control: TcpStream,
        rules: &'a [Rule],
        sound: &'a [Rule],
        cut: Option<Cut>,
        played: &'a mut Played,
    ) -> Self {
        control.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        control.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
        control.set_nodelay(true).expect("a TCP socket");
        SockRef::from(&control).set_out_of_band_inline(true).expect("a TCP socket");
        Self {
            control,
            input: Vec::new(),
            rules,
            sound,
            counts: Vec::new(),
            cut,
            played,
            written: 0,
            verb: String::new(),
            concluded: true,
            restart: 0,
            passive: None,
            active: None,
            data: None,
            closed: None,
            elsewhere: None,
        }
    }

    fn run(&mut self) -> Over {
        let mut line = String::from("greeting");
        loop {
            if let Err(over) = self.answer(&line) {
                return over;
            }
            match self.line() {
                Ok(next) => line = next,
                Err(over) => return over,
            }
        }
    }

    fn end(mut self) {
        if let Some(elsewhere) = self.elsewhere.take() {
            elsewhere.set_nonblocking(true).expect("a listener");
            if elsewhere.accept().is_ok() {
                self.played.violations.push("it connected to another host".to_owned());
            }
        }
    }

    /// Returns the next command line, without Telnet commands.
    fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                while let [255, 240..=254, ..] = line.as_slice() {
                    line.drain(..2);
                }
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let mut piece = [0; 4_096];
            match self.control.read(&mut piece) {
                Ok(0) | Err(_) => return Err(Over),
                Ok(count) => self.input.extend(piece.get(..count).unwrap_or_default()),
            }
        }
    }

    fn answer(&mut self, line: &str) -> Result<(), Over> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        verb.clone_into(&mut self.verb);
        match verb {
            "PORT" | "EPRT" => self.active = Some(active_address(argument)),
            "REST" => self.restart = argument.parse().unwrap_or(0).min(content().len()),
            _ if self.moves_data() => {
                self.concluded = false;
                self.data = None;
                self.played.moved.push(Moved { is_content: true, ..Moved::default() });
            }
            _ => {}
        }
        let verb = verb.to_owned();
        for step in self.steps(&verb) {
            self.take(step)?;
        }
        if self.moves_data() {
            self.restart = 0;
        }
        Ok(())
    }

    /// Returns the steps for `verb`: the table overrides the sound server.
    fn steps(&mut self, verb: &str) -> &'a [Step] {
        let nth = match self.counts.iter_mut().find(|(counted, _)| counted == verb) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((verb.to_owned(), 0));
                0
            }
        };
        let of = |rules: &'a [Rule], verb: &str| -> Vec<&'a [Step]> {
            let rules = rules.iter().filter(|rule| rule.verbs.iter().any(|name| name == verb));
            rules.map(|rule| rule.steps.as_slice()).collect()
        };
        let ways = [of(self.rules, verb), of(self.rules, "any"), of(self.sound, verb)];
        let ways = ways.into_iter().enumerate().find(|(from, ways)| {
            // "any" stands for the client's commands, not for the greeting or the final probe.
            !ways.is_empty() && (*from != 1 || !matches!(verb, "greeting" | "SYST"))
        });
        let ways = ways.map_or_else(|| of(self.sound, "any"), |(_, ways)| ways);
        ways.get(nth).or(ways.last()).copied().unwrap_or_default()
    }

    fn take(&mut self, step: &Step) -> Result<(), Over> {
        match step {
            Step::Send(text) => {
                let bytes = self.fill(text);
                self.concluded |= self.moves_data() && matches!(bytes.first(), Some(b'2'..=b'5'));
                self.send(&bytes)
            }
            Step::Drip(pause, text) => {
                for byte in self.fill(text) {
                    thread::sleep(Duration::from_millis(*pause));
                    self.send(&[byte])?;
                }
                Ok(())
            }
            Step::Flood(limit, text) => {
                let bytes = self.fill(text);
                match flood(&mut self.control, &bytes, *limit) {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        self.played.violations.push("it took all of a flood".to_owned());
                        Err(Over)
                    }
                    Err(_) => Err(Over),
                }
            }
            Step::Data(amount) => self.move_data(*amount),
            Step::Bytes(text) => {
                let bytes = self.fill(text);
                self.send_data(&bytes)
            }
            Step::FloodData(limit, text) => {
                let bytes = self.fill(text);
                self.open()?;
                if let Some(data) = &mut self.data
                    && let Ok(whole) = flood(data, &bytes, *limit)
                {
                    let times = limit.unwrap_or(ENDLESS) / bytes.len().max(1) as u64;
                    if let Some(moved) = self.played.moved.last_mut() {
                        moved.sent += times * bytes.len() as u64;
                        let feeds = bytes.iter().filter(|&&byte| byte == b'\n').count();
                        moved.lines += feeds * usize::try_from(times).expect("64 bits");
                    }
                    if !whole {
                        self.played.violations.push("it took all of endless data".to_owned());
                    }
                }
                Ok(())
            }
            Step::Open => self.open(),
            Step::Fin => {
                self.open()?;
                self.data = None;
                Ok(())
            }
            Step::Rst => {
                self.open()?;
                self.reset_data();
                Ok(())
            }
            Step::Stranger => {
                let address = self.active.expect("a client in active mode");
                if !refuses_a_foreign_host(address) {
                    self.played.violations.push("it took a stranger's connection".to_owned());
                }
                Ok(())
            }
            Step::Hangup => {
                let _ = self.control.shutdown(Shutdown::Write);
                self.drain()
            }
            Step::Reset => self.reset(),
            Step::Pause(milliseconds) => {
                thread::sleep(Duration::from_millis(*milliseconds));
                Ok(())
            }
            Step::Deaf => self.drain(),
            Step::Abort => {
                self.reset_data();
                if !std::mem::replace(&mut self.concluded, true) {
                    self.send(b"426 cut\r\n")?;
                }
                self.send(b"226 aborted\r\n")
            }
        }
    }

    fn moves_data(&self) -> bool {
        matches!(self.verb.as_str(), "RETR" | "STOR" | "APPE" | "STOU" | "LIST" | "NLST" | "MLSD")
    }

    /// Sends on the control connection, up to the cut.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let left = self.cut.map_or(usize::MAX, |cut| cut.at.saturating_sub(self.written));
        let now = bytes.get(..left).unwrap_or(bytes);
        self.control.write_all(now).map_err(|_| Over)?;
        for (index, _) in now.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.played.line_ends.push(self.written + index + 1);
        }
        self.written += now.len();
        let Some(cut) = self.cut.filter(|cut| cut.at == self.written) else { return Ok(()) };
        match cut.how {
            How::End => {
                (self.data, self.passive) = (None, None);
                let _ = self.control.shutdown(Shutdown::Write);
                self.drain()
            }
            How::Reset => {
                (self.data, self.passive) = (None, None);
                self.reset()
            }
            How::Silence => self.drain(),
        }
    }

    /// Waits until the client disconnects.
    fn drain(&mut self) -> Result<(), Over> {
        let _ = io::copy(&mut self.control, &mut io::sink());
        Err(Over)
    }

    fn reset(&mut self) -> Result<(), Over> {
        let control = SockRef::from(&self.control);
        control.set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        Err(Over)
    }

    fn reset_data(&mut self) {
        if let Some(data) = self.data.take() {
            SockRef::from(&data).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        }
    }

    /// Opens the data connection, unless it is open. The connection stays closed if the client
    /// first sends another command or disconnects.
    fn open(&mut self) -> Result<(), Over> {
        if self.data.is_some() {
            return Ok(());
        }
        let data = if let Some(address) = self.active.take() {
            TcpStream::connect(address).ok()
        } else if let Some(listener) = self.passive.take() {
            let mut fds =
                [PollFd::new(&listener, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
            let limit = Timespec::try_from(LIMIT).expect("a short time");
            let _ = poll(&mut fds, Some(&limit));
            let [listening, _] = fds;
            let came = !listening.revents().is_empty();
            came.then(|| listener.accept().ok()).flatten().map(|(data, _)| data)
        } else {
            None
        };
        if let Some(data) = &data {
            data.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
            data.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
        }
        self.data = data;
        Ok(())
    }

    fn move_data(&mut self, amount: Amount) -> Result<(), Over> {
        let restart = self.restart;
        let listing = listing(&self.verb).0;
        let is_listing = matches!(self.verb.as_str(), "LIST" | "NLST" | "MLSD");
        let source = match is_listing {
            true => listing.as_slice(),
            false => content().get(restart..).unwrap_or_default(),
        };
        let (count, whole) = match amount {
            Amount::Percent(percent) => {
                let percent = usize::try_from(percent).expect("at most 100");
                (source.len() * percent / 100, percent == 100)
            }
            Amount::Bytes(bytes) => (usize::try_from(bytes).expect("64 bits"), false),
        };
        if is_listing || self.verb == "RETR" {
            // If a table demands more than the content, the content is repeated.
            let mut rest = count;
            while rest > 0 {
                let piece = source.get(..rest).unwrap_or(source);
                self.send_data(piece)?;
                rest -= piece.len();
            }
            return self.open();
        }
        self.open()?;
        let Some(data) = &mut self.data else { return Ok(()) };
        let mut moved = self.played.moved.pop().unwrap_or_default();
        let (mut at, mut piece) = (usize::try_from(moved.taken).expect("64 bits"), vec![0; PIECE]);
        while whole || at < count {
            let most = if whole { PIECE } else { PIECE.min(count - at) };
            match data.read(piece.get_mut(..most).unwrap_or_default()) {
                Ok(0) => {
                    moved.ended = true;
                    break;
                }
                Ok(read) => {
                    moved.is_content &= source.get(at..at + read) == piece.get(..read);
                    at += read;
                }
                Err(_) => break,
            }
        }
        moved.taken = at as u64;
        self.played.moved.push(moved);
        Ok(())
    }

    fn send_data(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.open()?;
        let Some(data) = &mut self.data else { return Ok(()) };
        // A client may stop reading; the test judges what it then reports to its caller.
        if data.write_all(bytes).is_ok()
            && let Some(moved) = self.played.moved.last_mut()
        {
            moved.sent += bytes.len() as u64;
            if self.verb != "RETR" {
                moved.lines += bytes.iter().filter(|&&byte| byte == b'\n').count();
            }
        }
        Ok(())
    }

    /// Returns the bytes of a text, and opens a listener for each port in it.
    fn fill(&mut self, text: &Text) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut data = None;
        for part in &text.0 {
            let (port, octet) = match part {
                Part::Bytes(more) => {
                    bytes.extend_from_slice(more);
                    continue;
                }
                Part::Port(port, octet) => (port, octet),
            };
            let number = match port {
                Port::Data => *data.get_or_insert_with(|| {
                    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                    // A client must not be able to leave half of a file in the receive buffer.
                    let size = SockRef::from(&listener).set_recv_buffer_size(PIECE);
                    size.expect("a TCP socket");
                    let port = listener.local_addr().expect("a bound address").port();
                    self.passive = Some(listener);
                    port
                }),
                Port::Closed => self.closed.get_or_insert_with(OwnPort::claim_closed).number(),
                Port::Elsewhere => {
                    let (closed, elsewhere) = (&mut self.closed, &mut self.elsewhere);
                    let listener = elsewhere.get_or_insert_with(|| {
                        loop {
                            // The same port of the server's own host must be closed.
                            let port = closed.insert(OwnPort::claim_closed()).number();
                            if let Ok(listener) = TcpListener::bind(("127.0.0.2", port)) {
                                return listener;
                            }
                        }
                    });
                    listener.local_addr().expect("a bound address").port()
                }
            };
            let text = match octet {
                None => number.to_string(),
                Some(octet) => number.to_be_bytes().get(*octet).expect("two octets").to_string(),
            };
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

/// Returns the address at which a client listens, from the argument of `PORT` or `EPRT`.
fn active_address(argument: &str) -> SocketAddr {
    let port = if argument.starts_with('|') {
        argument.split('|').nth(3).and_then(|port| port.parse().ok())
    } else {
        let octets: Vec<u8> = argument.split(',').filter_map(|octet| octet.parse().ok()).collect();
        match octets.as_slice() {
            [.., high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    };
    SocketAddr::from(([127, 0, 0, 1], port.expect("a port in PORT or EPRT")))
}

/// Returns whether the client closes a connection from another host soon.
fn refuses_a_foreign_host(address: SocketAddr) -> bool {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let stranger = SocketAddr::from(([127, 0, 0, 2], 0));
    socket.bind(&stranger.into()).expect("127.0.0.2 is this machine");
    if socket.connect(&address.into()).is_err() {
        return true;
    }
    socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    match TcpStream::from(socket).read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Writes `bytes` repeatedly. Returns true if all of `limit` was sent, or false if [`ENDLESS`]
/// bytes were sent.
fn flood(to: &mut TcpStream, bytes: &[u8], limit: Option<u64>) -> io::Result<bool> {
    let end = Instant::now() + LIMIT;
    let whole = limit.unwrap_or(ENDLESS) / bytes.len().max(1) as u64;
    let at_once = (PIECE / bytes.len().max(1)).max(1);
    let piece = bytes.repeat(at_once);
    let mut left = whole;
    while left > 0 {
        let now = left.min(at_once as u64);
        let length = usize::try_from(now).expect("64 bits") * bytes.len();
        to.write_all(piece.get(..length).unwrap_or_default())?;
        left -= now;
        if limit.is_none() && Instant::now() > end {
            return Ok(false);
        }
    }
    Ok(limit.is_some())
}
