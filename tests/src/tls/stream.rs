//! One TLS connection, whichever end of it: what it says, how it ends, and what no sound one does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::{Connection, HandshakeKind};

use super::Version;
use crate::raw::{DEADLINE, Layer};

/// The bytes in front of each record: its type, a version, and its length (RFC 8446 §5.1).
const HEADER: usize = 5;

/// How the peer ended what it said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By close_notify: what came is whole.
    CloseNotify,
    /// By FIN alone.
    Fin,
    /// By RST.
    Reset,
}

/// What a handshake came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// The version.
    pub version: Version,
    /// Whether it resumed an earlier session.
    pub resumed: bool,
    /// The protocol that ALPN chose.
    pub alpn: Option<Vec<u8>>,
    /// The peer's own certificate, DER, where it has shown one, now or in the session resumed.
    pub certificate: Option<Vec<u8>>,
    /// The server name (SNI) that a client asked for, on the server's side.
    pub server_name: Option<String>,
}

/// A TLS connection whose handshake is done. It does not say goodbye when it is dropped.
///
/// rustls asserts, in debug builds, that it never sends a second fatal alert, and takes its own
/// close_notify for one: what is no TLS and comes behind [`close_notify`](Self::close_notify) of
/// this side panics there.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    tls: Connection,
    deadline: Duration,
}

impl TlsStream {
    /// Does the handshake over a connection.
    ///
    /// # Errors
    ///
    /// `InvalidData` around a [`rustls::Error`] for what the peer did wrong or refused, of which it
    /// is told by an alert; else as reading and writing.
    pub(super) fn handshake(tcp: TcpStream, tls: Connection) -> io::Result<Self> {
        let mut stream = Self { tcp, tls, deadline: DEADLINE };
        stream.tcp.set_nodelay(true)?;
        let end = Instant::now() + DEADLINE;
        stream.flush()?;
        while stream.tls.is_handshaking() {
            if !stream.take_in(end)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            stream.flush()?;
        }
        Ok(stream)
    }

    /// What the handshake came to.
    #[track_caller]
    #[must_use]
    pub fn shaken(&self) -> Handshake {
        let version = self.tls.protocol_version().and_then(Version::negotiated);
        let certificate = self.tls.peer_certificates().and_then(|chain| chain.first());
        Handshake {
            version: version.expect("a handshake that is done has a version"),
            resumed: self.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: self.tls.alpn_protocol().map(<[u8]>::to_vec),
            certificate: certificate.map(|certificate| certificate.to_vec()),
            server_name: match &self.tls {
                Connection::Client(_) => None,
                Connection::Server(server) => server.server_name().map(str::to_owned),
            },
        }
    }

    /// The socket itself, for its addresses, options and what goes past TLS.
    #[must_use]
    pub const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads to the end, and says what kind of end it was.
    #[track_caller]
    pub fn read_to_its_end(&mut self) -> (Vec<u8>, End) {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
        let end = Instant::now() + self.deadline;
        loop {
            match self.read_before(&mut buffer, end) {
                Ok(0) => return (bytes, End::CloseNotify),
                Ok(count) => bytes.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return (bytes, End::Fin),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (bytes, End::Reset);
                }
                Err(error) => panic!("no end after {} bytes: {error}", bytes.len()),
            }
        }
    }

    /// Sends close_notify, and nothing else: the connection stays open, and can be read.
    ///
    /// # Errors
    ///
    /// As writing to the socket.
    pub fn close_notify(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()
    }

    /// Ends what this side says in good order: close_notify, then FIN. It can still be read.
    ///
    /// # Errors
    ///
    /// As writing to the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close_notify()?;
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Ends what this side says by FIN, without close_notify. It can still be read.
    ///
    /// # Errors
    ///
    /// As `shutdown`.
    pub fn cut(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Ends the connection by RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp)
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER on a TCP socket");
    }

    /// Sends bytes past TLS, as they are: clear text, garbage, or [`records`](Self::records).
    ///
    /// # Errors
    ///
    /// As writing to the socket.
    pub fn inject(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.set_write_timeout(Some(self.deadline))?;
        self.tcp.write_all(bytes)
    }

    /// Makes the records of `plain`, each of which holds up to 16 KiB, and sends none of them. They
    /// have to be sent in this order, and what is written otherwise comes behind all of them.
    #[track_caller]
    pub fn records(&mut self, plain: &[u8]) -> Vec<Vec<u8>> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plain).expect("a buffer without a limit");
        self.sealed()
    }

    /// Makes the record of close_notify, and does not send it.
    #[track_caller]
    pub fn close_notify_record(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.sealed().concat()
    }

    /// Asks for new keys (RFC 8446 §4.6.3). TLS 1.3 only.
    ///
    /// # Errors
    ///
    /// As writing to the socket.
    #[track_caller]
    pub fn update_keys(&mut self) -> io::Result<()> {
        self.tls.refresh_traffic_keys().expect("TLS 1.3");
        self.flush()
    }

    /// What waits to be written, cut into records.
    #[track_caller]
    fn sealed(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("a vector takes what is written");
        }
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        while let [_, _, _, high, low, ..] = *rest {
            let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
            let (record, behind) = rest.split_at_checked(length).expect("whole records");
            records.push(record.to_vec());
            rest = behind;
        }
        records
    }

    /// Reads from the socket once, and lets TLS have it. False at the end of the connection.
    fn take_in(&mut self, end: Instant) -> io::Result<bool> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.tcp.set_read_timeout(Some(left))?;
            match self.tls.read_tls(&mut self.tcp) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    if let Err(error) = self.tls.process_new_packets() {
                        // The alert may find nobody; the error is the news.
                        let _unheard = self.flush();
                        return Err(io::Error::new(ErrorKind::InvalidData, error));
                    }
                    return Ok(count > 0);
                }
            }
        }
    }
}

impl Layer for TlsStream {
    fn read_before(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.take_in(end)?;
            // TLS answers some of what it reads. Who has gone does not want it.
            let _unheard = self.flush();
        }
    }

    fn write_whole(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.deadline = limit;
        self.write_all(bytes)?;
        self.flush()
    }
}

/// Reads what the peer said. 0 is its close_notify; an end without is `UnexpectedEof`.
impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_before(buffer, Instant::now() + self.deadline)
    }
}

/// Writes and sends.
impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        self.flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.set_write_timeout(Some(self.deadline))?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}
