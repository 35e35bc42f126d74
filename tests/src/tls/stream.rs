//! One side of a TLS connection: its data, its end, and actions that no correct peer takes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::{Connection, HandshakeKind};

use super::Version;
use crate::raw::{DEADLINE, Layer};

/// The length of a record's header: its type, a version, and its length (RFC 8446 §5.1).
const HEADER: usize = 5;

/// How the peer ended its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By close_notify: the data is complete.
    CloseNotify,
    /// By FIN only.
    Fin,
    /// By RST.
    Reset,
}

/// The result of a handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// The version.
    pub version: Version,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// The protocol that ALPN chose.
    pub alpn: Option<Vec<u8>>,
    /// The peer's own certificate in DER, if it has shown one, now or in the resumed session.
    pub certificate: Option<Vec<u8>>,
    /// The server name (SNI) that a client requested, on the server's side.
    pub server_name: Option<String>,
}

/// A TLS connection after its handshake. It sends no `close_notify` when it is dropped.
///
/// rustls asserts, in debug builds, that it never sends a second fatal alert, and counts its own
/// `close_notify` as one. Bytes that are not TLS and arrive after
/// [`close_notify`](Self::close_notify) of this side therefore cause a panic in rustls.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    tls: Connection,
    deadline: Duration,
}

impl TlsStream {
    /// Carries out the handshake over a connection.
    ///
    /// # Errors
    ///
    /// Returns `InvalidData` around a [`rustls::Error`] if the peer broke the protocol or refused
    /// the handshake, after sending it an alert; otherwise the errors of reading and writing.
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

    /// Returns the result of the handshake.
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

    /// Returns the socket, for its addresses and options, and for bytes outside of TLS.
    #[must_use]
    pub const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads to the end, and returns the kind of end.
    #[track_caller]
    pub fn read_to_its_end(&mut self) -> (Vec<u8>, End) {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
        let end = Instant::now() + self.deadline;
        loop {
            match self.read_before(&mut buffer, end) {
                Ok(0) => return (bytes, End::CloseNotify),
                Ok(count) => bytes.extend(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return (bytes, End::Fin),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (bytes, End::Reset);
                }
                Err(error) => panic!("no end after {} bytes: {error}", bytes.len()),
            }
        }
    }

    /// Sends close_notify, and nothing else: the connection stays open for reading.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing to the socket.
    pub fn close_notify(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()
    }

    /// Ends the data of this side properly: close_notify, then FIN. Reading is still possible.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing to the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close_notify()?;
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Ends the data of this side by FIN, without close_notify. Reading is still possible.
    ///
    /// # Errors
    ///
    /// Returns the errors of `shutdown`.
    pub fn cut(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Ends the connection by RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp)
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER on a TCP socket");
    }

    /// Sends bytes outside of TLS, unchanged: plaintext, garbage, or [`records`](Self::records).
    ///
    /// # Errors
    ///
    /// Returns the errors of writing to the socket.
    pub fn inject(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.set_write_timeout(Some(self.deadline))?;
        self.tcp.write_all(bytes)
    }

    /// Makes the records of `plain`, each with up to 16 KiB, without sending them. Send them in
    /// this order; bytes written by other calls come after all of them.
    #[track_caller]
    pub fn records(&mut self, plain: &[u8]) -> Vec<Vec<u8>> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plain).expect("a buffer without a limit");
        self.sealed()
    }

    /// Makes the record of close_notify, without sending it.
    #[track_caller]
    pub fn close_notify_record(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.sealed().concat()
    }

    /// Requests new keys (RFC 8446 §4.6.3). TLS 1.3 only.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing to the socket.
    #[track_caller]
    pub fn update_keys(&mut self) -> io::Result<()> {
        self.tls.refresh_traffic_keys().expect("TLS 1.3");
        self.flush()
    }

    /// Returns the output that waits to be written, split into records.
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

    /// Reads from the socket once, and passes the bytes to TLS. Returns false at the end of the
    /// connection.
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
                        // The peer may be gone, so the alert may fail; the error is what counts.
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
            // TLS answers some of its input. The peer may be gone and not read the answer.
            let _unheard = self.flush();
        }
    }

    fn write_whole(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.deadline = limit;
        self.write_all(bytes)?;
        self.flush()
    }
}

/// Reads the peer's data. Returns 0 after the peer's close_notify, or `UnexpectedEof` if the data
/// ends without close_notify.
impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_before(buffer, Instant::now() + self.deadline)
    }
}

/// Writes data, and sends it.
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
