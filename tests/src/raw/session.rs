//! Raw control connections.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::data::{RawData, RawListener};
use super::reply::{IAC, NoReply, RawReply, address_in_227, code_of, port_in_229, undouble};
use super::{DEADLINE, Layer, is_timeout, read_before};
use crate::wait::at_last;

/// A control connection, driven byte by byte.
#[derive(Debug)]
pub struct RawSession {
    stream: TcpStream,
    /// The layer for reading and sending, if there is one.
    layer: Option<Box<dyn Layer>>,
    /// Received bytes that are not part of a returned reply yet, including Telnet commands.
    unread: Vec<u8>,
    /// The line that is being read.
    line: Vec<u8>,
    telnet: Vec<Vec<u8>>,
    dialogue: Vec<(char, Vec<u8>)>,
    deadline: Duration,
}

impl RawSession {
    /// Connects, and reads nothing yet.
    #[track_caller]
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Self::over(stream)
    }

    /// Connects from one of this machine's addresses, and reads nothing yet.
    #[track_caller]
    #[must_use]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        Self::over(super::data::connect_from(source, address))
    }

    /// Takes over an open connection.
    #[track_caller]
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY on a connected socket");
        let (layer, unread, line, telnet, dialogue) = Default::default();
        Self { stream, layer, unread, line, telnet, dialogue, deadline: DEADLINE }
    }

    /// Connects and reads a 220.
    #[track_caller]
    #[must_use]
    pub fn greeted(address: SocketAddr) -> Self {
        let mut session = Self::connect(address);
        session.expect_reply(220);
        session
    }

    /// Connects, reads one reply and closes: the greeting of a server that may not run yet.
    #[must_use]
    pub fn greeting(address: SocketAddr) -> Option<RawReply> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
        Self::over(stream).try_reply().ok()
    }

    /// Connects and logs in with USER 331 and PASS 230.
    #[track_caller]
    #[must_use]
    pub fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut session = Self::connect(address);
        session.log_in(user, password);
        session
    }

    /// Repeats [`login`](Self::login) until it succeeds, because the server may have a timeout that
    /// a busy machine exceeds.
    #[track_caller]
    #[must_use]
    pub fn login_in_time(address: SocketAddr, user: &str, password: &str) -> Self {
        at_last("a login within the timeout", || Self::try_login(address, user, password))
    }

    /// Connects and logs in. Returns `None` if the server ends the session or refuses the login.
    #[track_caller]
    #[must_use]
    pub fn try_login(address: SocketAddr, user: &str, password: &str) -> Option<Self> {
        let mut session = Self::connect(address);
        let mut answers = |line: String, code| {
            let is_sent = line.is_empty() || session.try_send(line).is_ok();
            is_sent && session.try_reply().is_ok_and(|reply| reply.code == code)
        };
        let is_in = answers(String::new(), 220)
            && answers(format!("USER {user}\r\n"), 331)
            && answers(format!("PASS {password}\r\n"), 230);
        is_in.then_some(session)
    }

    /// Logs in like [`login`](Self::login), from one of this machine's addresses.
    #[track_caller]
    #[must_use]
    pub fn login_from(source: IpAddr, address: SocketAddr, user: &str, password: &str) -> Self {
        let mut session = Self::connect_from(source, address);
        session.log_in(user, password);
        session
    }

    #[track_caller]
    fn log_in(&mut self, user: &str, password: &str) {
        self.expect_reply(220);
        self.expect(format!("USER {user}"), 331);
        self.expect(format!("PASS {password}"), 230);
    }

    /// Sets the timeout of each reply, from the start of its wait.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Returns the control connection, for socket options, half closes and counting.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads and sends through `layer` from now on. All earlier input must have been read.
    #[track_caller]
    pub fn put_on(&mut self, layer: Box<dyn Layer>) {
        if !self.unread.is_empty() {
            self.fail(&format!("the server was ahead: {}", self.unread.escape_ascii()));
        }
        self.layer = Some(layer);
    }

    /// Returns the dialogue so far, one line each, with `C:` and `S:`.
    #[must_use]
    pub fn dialogue(&self) -> String {
        let lines = self.dialogue.iter();
        lines.map(|(who, bytes)| format!("{who}: {}\n", bytes.escape_ascii())).collect()
    }

    /// Returns the Telnet commands received between and inside replies: `IAC verb option`, or `IAC
    /// verb`.
    #[must_use]
    pub fn telnet(&self) -> &[Vec<u8>] {
        &self.telnet
    }

    /// Sends `bytes` unchanged, in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.try_send(bytes) {
            self.fail(&format!("could not send: {error}"));
        }
    }

    /// Sends `bytes` unchanged to a server that may have closed already.
    ///
    /// # Errors
    ///
    /// Returns the errors of `write_all`: the peer reset the connection, or took no byte until the
    /// deadline.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        self.dialogue.push(('C', bytes.get(..512).unwrap_or(bytes).to_vec()));
        if let Some(layer) = &mut self.layer {
            return layer.write_whole(bytes, self.deadline);
        }
        self.stream.set_write_timeout(Some(self.deadline))?;
        self.stream.write_all(bytes)
    }

    /// Sends `bytes`, the last of them as TCP urgent data.
    #[track_caller]
    pub fn send_urgent(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.dialogue.push(('C', bytes.to_vec()));
        let sent = socket2::SockRef::from(&self.stream).send_out_of_band(bytes);
        match sent {
            Ok(count) if count == bytes.len() => {}
            other => self.fail(&format!("could not send urgent data: {other:?}")),
        }
    }

    /// Sends `line` and CR LF, in one write.
    #[track_caller]
    pub fn line(&mut self, line: impl AsRef<[u8]>) {
        self.send([line.as_ref(), b"\r\n"].concat());
    }

    /// Sends `line` and CR LF and returns the one reply that follows, whatever its code.
    #[track_caller]
    pub fn ask(&mut self, line: impl AsRef<[u8]>) -> RawReply {
        self.line(line);
        self.reply()
    }

    /// Sends `line` and CR LF, and asserts `code`.
    #[track_caller]
    pub fn expect(&mut self, line: impl AsRef<[u8]>, code: u16) -> RawReply {
        self.line(line);
        self.expect_reply(code)
    }

    /// Reads one reply, and asserts `code`.
    #[track_caller]
    pub fn expect_reply(&mut self, code: u16) -> RawReply {
        let reply = self.reply();
        if reply.code != code {
            self.fail(&format!("wanted {code}, got {}", reply.code));
        }
        reply
    }

    /// Reads one reply.
    #[track_caller]
    pub fn reply(&mut self) -> RawReply {
        match self.try_reply() {
            Ok(reply) => reply,
            Err(why) => self.fail(&format!("wanted a reply, got {why:?}")),
        }
    }

    /// Reads one reply, or returns why there is none.
    ///
    /// # Errors
    ///
    /// Returns `Closed` if the connection ended where a reply could begin, `Cut` inside a reply,
    /// `Late` if the deadline passed, and `Malformed` for a line that is not a reply. The session
    /// is then useless, except after a `Late` without any bytes.
    pub fn try_reply(&mut self) -> Result<RawReply, NoReply> {
        let end = Instant::now() + self.deadline;
        let mut reply = RawReply { code: 0, lines: Vec::new(), bytes: Vec::new() };
        loop {
            let raw = match self.reply_line(end) {
                Ok(raw) => raw,
                Err(NoReply::Closed) if !reply.bytes.is_empty() => {
                    return Err(NoReply::Cut(reply.bytes));
                }
                Err(NoReply::Late(part)) => {
                    return Err(NoReply::Late([reply.bytes, part].concat()));
                }
                Err(other) => return Err(other),
            };
            self.dialogue.push(('S', raw.clone()));
            let Some(line) = raw.strip_suffix(b"\r\n") else {
                return Err(NoReply::Malformed(raw));
            };
            let line = undouble(line);
            reply.bytes.extend(&raw);
            let code = code_of(&line);
            let behind = line.get(3).copied();
            reply.lines.push(line);
            if reply.lines.len() == 1 {
                let Some(code) = code else {
                    return Err(NoReply::Malformed(raw));
                };
                reply.code = code;
                match behind {
                    Some(b' ') => return Ok(reply),
                    Some(b'-') => {}
                    _ => return Err(NoReply::Malformed(raw)),
                }
            } else if code == Some(reply.code) && behind == Some(b' ') {
                return Ok(reply);
            }
        }
    }

    /// Asserts that the server closes the connection before the deadline, without sending anything
    /// more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.try_reply() {
            Err(NoReply::Closed) => {}
            other => self.fail(&format!("wanted the connection closed, got {other:?}")),
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let reset = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        reset.expect("a socket takes this option");
    }

    /// Asserts that every reply has been read: sends NOOP, whose 200 must come next.
    #[track_caller]
    pub fn expect_in_step(&mut self) {
        self.expect("NOOP", 200);
    }

    /// Sends PASV, and connects to the port in the 227, `p1 * 256 + p2`, on the host in it.
    #[track_caller]
    pub fn passive(&mut self) -> RawData {
        let reply = self.expect("PASV", 227);
        self.connect_to(&reply)
    }

    /// Sends EPSV, and connects to the port in the 229, on the control connection's host.
    #[track_caller]
    pub fn extended_passive(&mut self) -> RawData {
        let reply = self.expect("EPSV", 229);
        self.connect_to(&reply)
    }

    /// Connects to the address in a 227 or 229.
    #[track_caller]
    #[must_use]
    pub fn connect_to(&self, reply: &RawReply) -> RawData {
        RawData::connect(self.data_address(reply))
    }

    /// Returns the address in a 227 or 229.
    #[track_caller]
    #[must_use]
    pub fn data_address(&self, reply: &RawReply) -> SocketAddr {
        let peer = self.stream.peer_addr().expect("a connected socket has a peer");
        let address = match reply.code {
            229 => port_in_229(reply.first()).map(|port| SocketAddr::new(peer.ip(), port)),
            _ => address_in_227(reply.first()),
        };
        address.unwrap_or_else(|| self.fail(&format!("no address and no (|||port|) in {reply:?}")))
    }

    /// Listens on a free port of the control connection's own address.
    #[track_caller]
    #[must_use]
    pub fn listen(&self) -> RawListener {
        let own = self.stream.local_addr().expect("a connected socket has an address");
        RawListener { listener: TcpListener::bind((own.ip(), 0)).expect("a free port") }
    }

    /// Listens, and announces the address by PORT.
    #[track_caller]
    pub fn active(&mut self) -> RawListener {
        let listener = self.listen();
        self.expect(listener.announcement("PORT"), 200);
        listener
    }

    /// Announces by PORT a port that refuses connections: the port is bound, so that no other
    /// program can listen on it meanwhile, but not listening.
    #[track_caller]
    pub fn active_without_listening(&mut self) -> RawListener {
        let own = self.stream.local_addr().expect("a connected socket has an address");
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(own),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        );
        let socket = socket.expect("a socket");
        socket.bind(&SocketAddr::new(own.ip(), 0).into()).expect("a free port");
        let listener = RawListener { listener: socket.into() };
        self.expect(listener.announcement("PORT"), 200);
        listener
    }

    /// Sends PASV and `command` (such as `RETR name`); reads 150, the data to its end, and 226.
    #[track_caller]
    pub fn download(&mut self, command: impl AsRef<[u8]>) -> Vec<u8> {
        let data = self.passive();
        self.expect(command, 150);
        let bytes = data.read_to_end();
        self.expect_reply(226);
        bytes
    }

    /// Sends PASV and `command` (such as `STOR name`); reads 150, sends all of `bytes`, and reads
    /// 226.
    #[track_caller]
    pub fn upload(&mut self, command: impl AsRef<[u8]>, bytes: &[u8]) {
        let mut data = self.passive();
        self.expect(command, 150);
        data.write_all(bytes);
        data.close();
        self.expect_reply(226);
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        const SHOWN: usize = 40;
        let dialogue = self.dialogue();
        let skipped = self.dialogue.len().saturating_sub(SHOWN);
        let shown: Vec<_> = dialogue.lines().skip(skipped).collect();
        panic!("{what}; the dialogue without its first {skipped} lines:\n{}", shown.join("\n"));
    }

    /// Returns one line with its line ending, but without Telnet commands.
    fn reply_line(&mut self, end: Instant) -> Result<Vec<u8>, NoReply> {
        loop {
            let (taken, done) = self.take_until_line_feed();
            self.unread.drain(..taken);
            if done {
                return Ok(std::mem::take(&mut self.line));
            }
            self.fill(end).map_err(|why| match why {
                NoReply::Closed if !self.line.is_empty() => NoReply::Cut(self.line.clone()),
                NoReply::Late(_) => NoReply::Late(self.line.clone()),
                other => other,
            })?;
        }
    }

    /// Moves unread bytes to the line, and Telnet commands to their list, up to a LF or an
    /// incomplete Telnet command. Returns how many bytes were moved, and whether the line ended.
    fn take_until_line_feed(&mut self) -> (usize, bool) {
        let mut at = 0;
        loop {
            match self.unread.get(at..).unwrap_or_default() {
                [IAC, IAC, ..] => {
                    self.line.extend([IAC, IAC]);
                    at += 2;
                }
                [IAC, verb @ 251..=254, option, ..] => {
                    self.telnet.push(vec![IAC, *verb, *option]);
                    at += 3;
                }
                [] | [IAC] | [IAC, 251..=254] => return (at, false),
                [IAC, verb, ..] => {
                    self.telnet.push(vec![IAC, *verb]);
                    at += 2;
                }
                [byte, ..] => {
                    self.line.push(*byte);
                    at += 1;
                    if *byte == b'\n' {
                        return (at, true);
                    }
                }
            }
        }
    }

    fn fill(&mut self, end: Instant) -> Result<(), NoReply> {
        let mut buffer = [0; 4096];
        let read = match &mut self.layer {
            Some(layer) => layer.read_before(&mut buffer, end),
            None => read_before(&mut self.stream, &mut buffer, end),
        };
        match read {
            Ok(0) => Err(NoReply::Closed),
            Ok(count) => {
                self.unread.extend(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if is_timeout(&error) => Err(NoReply::Late(Vec::new())),
            Err(_) => Err(NoReply::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a session with a peer that has sent `bytes` and closed.
    fn hearing(bytes: &[u8]) -> RawSession {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let session = RawSession::connect(listener.local_addr().unwrap());
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(bytes).unwrap();
        session
    }

    #[test]
    fn multiline_replies_end_as_in_rfc_959() {
        let mut session = hearing(
            b"220-one\r\n 220 two\r\n220-three\r\n220 four\r\n\
              \xff\xfe\x06257 \"/\xff\xff\"\r\n\xff\xf1200 \r\n",
        );
        let greeting = session.expect_reply(220);
        assert_eq!(greeting.text(), "220-one\n 220 two\n220-three\n220 four");
        assert_eq!(greeting.first(), b"one");
        let named = session.expect_reply(257);
        assert_eq!(named.lines, [b"257 \"/\xff\""]);
        assert_eq!(named.bytes, b"257 \"/\xff\xff\"\r\n");
        assert_eq!(session.expect_reply(200).first(), b"");
        assert_eq!(session.telnet(), [&b"\xff\xfe\x06"[..], b"\xff\xf1"]);
        session.expect_closed();
    }

    #[test]
    fn malformed_and_incomplete_replies_are_reported() {
        for (bytes, want) in [
            (
                &b"200 no carriage return\n"[..],
                NoReply::Malformed(b"200 no carriage return\n".into()),
            ),
            (b"20 x\r\n", NoReply::Malformed(b"20 x\r\n".into())),
            (b"261 x\r\n", NoReply::Malformed(b"261 x\r\n".into())),
            (b"200\r\n", NoReply::Malformed(b"200\r\n".into())),
            (b"200 half", NoReply::Cut(b"200 half".into())),
            (b"211-one\r\n", NoReply::Cut(b"211-one\r\n".into())),
            (b"", NoReply::Closed),
        ] {
            assert_eq!(hearing(bytes).try_reply(), Err(want), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn waiting_for_a_silent_peer_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut session = RawSession::connect(listener.local_addr().unwrap());
        session.set_deadline(Duration::from_millis(10));
        assert_eq!(session.try_reply(), Err(NoReply::Late(Vec::new())));
    }
}
