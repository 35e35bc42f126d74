//! A whole session of the server, with bytes from a client.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ftp_proto::{
    ExtendedAddress, HostPort, LineDecoder, LineEvent, Reply, ReplyCode, ReplyDecoder, Severity,
};
use ftp_server::{LocalConfig, LoginPolicy, Server, ServerConfig, SyncPolicy, Timeouts};

use super::assert_shown;
use crate::site::OurServer;

/// The longest duration of a session after the client has sent everything.
const END: Duration = Duration::from_secs(15);

/// How long to wait for a missing reply.
const PATIENCE: Duration = Duration::from_secs(4);

/// Returns the only server of this process, so that leftovers of one session affect the next.
fn server() -> &'static Mutex<OurServer> {
    static SERVER: OnceLock<Mutex<OurServer>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let timeouts = Timeouts::new()
            .data_connect(Duration::from_millis(40))
            .stall(Duration::from_millis(80))
            .idle(Duration::from_secs(8))
            .login(Duration::from_secs(8));
        let config = ServerConfig::new()
            // The server must not connect to ports of other programs.
            .active(false)
            .timeouts(timeouts)
            .logins(LoginPolicy::new().delay(Duration::ZERO));
        let local = LocalConfig::new().sync(SyncPolicy::None);
        Mutex::new(OurServer::built(Server::builder().config(config).local_config(local)))
    })
}

/// Checks the server against a client's bytes, sent at once without reading replies, and after a
/// login unless the first byte is 0xF0. Data connections are made to the ports that the server
/// names.
///
/// The server must send only whole replies, one for each command, end the session once it has read
/// everything, and accept the next one.
///
/// # Panics
///
/// Panics if one of these rules is broken, or if no loopback connection can be made.
pub fn server_dialogue(data: &[u8]) {
    let server = server().lock().unwrap_or_else(PoisonError::into_inner);
    furnish(&server);
    let said = match data.split_first() {
        Some((0xF0, rest)) => rest.to_vec(),
        _ => {
            let login = format!("USER {}\r\nPASS {}\r\n", server.user, server.password);
            [login.as_bytes(), data].concat()
        }
    };
    let lines = lines_of(&said);
    let mut session = Session::begin(server.address);
    session.say(&said);
    let whole = session.listen(lines + 1);
    let Session { replies, decoder, .. } = session;
    assert!(!whole || decoder.is_clear(), "the last reply is cut off behind {replies:?}");
    assert_eq!(replies.first().map(Reply::code), Some(ReplyCode::SERVICE_READY), "the greeting");
    replies.iter().for_each(|reply| assert_shown(&reply.to_string()));
    let is_end = |reply: &Reply| matches!(reply.code().value(), 221 | 421);
    let finals = finals(&replies);
    assert!(finals <= lines + 2, "{finals} replies to {lines} lines: {replies:?}");
    if whole && !replies.iter().any(is_end) {
        assert_eq!(finals, lines + 1, "{replies:?}");
    }
}

/// Prepares the files that every session finds.
fn furnish(server: &OurServer) {
    let wanted: [&[u8]; 2] = [b"a", b"d"];
    for name in [&b""[..], b"a", b"d"] {
        // Fails for removed objects. Undoes SITE CHMOD.
        let _ = fs::set_permissions(server.root.join(name), Permissions::from_mode(0o755));
    }
    let names = server.root.names();
    if names != wanted || server.root.join("a").is_dir() || !server.root.join("d").is_dir() {
        server.clear();
        server.root.mkdir("d");
    }
    server.root.write("a", b"one\ntwo\n");
    if server.root.join(b"d/b \xFFc").exists() {
        return;
    }
    server.root.write(b"d/b \xFFc", b"");
}

fn finals(replies: &[Reply]) -> usize {
    let is_final = |reply: &&Reply| reply.code().severity() != Severity::Preliminary;
    replies.iter().filter(is_final).count()
}

/// Returns the number of lines that a server must answer.
fn lines_of(said: &[u8]) -> usize {
    let (mut decoder, mut rest, mut count) = (LineDecoder::new(), said, 0);
    while !rest.is_empty() {
        rest = rest.get(decoder.push(rest)..).unwrap_or_default();
        let events = std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned));
        count += events.filter(|event| !matches!(event, LineEvent::Answer(_))).count();
        if decoder.room() == 0 {
            break;
        }
    }
    count
}

/// Removes Telnet answers, which a reply decoder does not accept.
#[derive(Default)]
enum Telnet {
    #[default]
    Data,
    Command,
    Option,
}

impl Telnet {
    /// Returns the text that `byte` adds.
    fn take(&mut self, byte: u8) -> Vec<u8> {
        let (next, text) = match (&*self, byte) {
            (Self::Data, 255) => (Self::Command, vec![]),
            (Self::Command, 252 | 254) => (Self::Option, vec![]),
            (Self::Command, _) => (Self::Data, vec![255, byte]),
            (Self::Data, _) => (Self::Data, vec![byte]),
            (Self::Option, _) => (Self::Data, vec![]),
        };
        *self = next;
        text
    }
}

/// One control connection and its data connections.
struct Session {
    stream: TcpStream,
    telnet: Telnet,
    decoder: ReplyDecoder,
    replies: Vec<Reply>,
    data: Vec<TcpStream>,
    end: Instant,
}

impl Session {
    fn begin(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, END).expect("the server takes sessions");
        stream.set_nodelay(true).expect("TCP_NODELAY on a connected socket");
        let (telnet, decoder, replies, data) = Default::default();
        Self { stream, telnet, decoder, replies, data, end: Instant::now() + END }
    }

    /// Sends all bytes; a server that closes early need not read them.
    fn say(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(END)).expect("a timeout that is not zero");
        let _early = self.stream.write_all(bytes);
    }

    /// Reads replies to the end of the connection, and returns whether it ended properly. Once all
    /// due replies have arrived, or no more arrive, this side closes its output.
    fn listen(&mut self, due: usize) -> bool {
        let (mut buffer, mut said_all) = ([0; 4_096], false);
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the session does not end; it said {:?}", self.replies);
            if !said_all && finals(&self.replies) >= due {
                said_all = true;
                let _gone = self.stream.shutdown(Shutdown::Write);
            }
            let wait = if said_all { left } else { left.min(PATIENCE) };
            self.stream.set_read_timeout(Some(wait)).expect("a timeout that is not zero");
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                // The timer of a fuzzer interrupts reads.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    said_all = true;
                    let _gone = self.stream.shutdown(Shutdown::Write);
                    continue;
                }
            };
            let read = buffer.get(..count).unwrap_or_default();
            let text: Vec<u8> = read.iter().flat_map(|&byte| self.telnet.take(byte)).collect();
            let mut rest = text.as_slice();
            while !rest.is_empty() {
                rest = rest.get(self.decoder.push(rest)..).unwrap_or_default();
                self.take_replies();
            }
        }
    }

    fn take_replies(&mut self) {
        loop {
            match self.decoder.next() {
                Ok(Some(reply)) => {
                    self.meet(&reply);
                    self.replies.push(reply);
                }
                Ok(None) => return,
                Err(error) => panic!("no reply: {error}, behind {:?}", self.replies),
            }
        }
    }

    /// Opens the data connection that a reply announces, and sends a line of data to store.
    fn meet(&mut self, reply: &Reply) {
        let host = self.stream.peer_addr().map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.ip());
        let port = match reply.code() {
            ReplyCode::PASSIVE => HostPort::find(reply.text()).expect("a 227 has a tuple").port,
            ReplyCode::EXTENDED_PASSIVE => {
                ExtendedAddress::find_port(reply.text()).expect("a 229 has a port")
            }
            _ => return,
        };
        // The listener is closed already if the server has read the next command.
        let Ok(mut stream) = TcpStream::connect((host, port)) else { return };
        let _unwanted = stream.write_all(b"stored\r\n").and(stream.shutdown(Shutdown::Write));
        self.data.push(stream);
    }
}
