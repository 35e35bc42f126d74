//! A TLS connection without its socket: it converts bytes of records to plain text and back. It
//! keeps only bytes that are not processed yet, so that an idle connection uses as little memory as
//! possible.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion};
use rustls_pki_types::ServerName;

use super::policy::{TlsInfo, TlsVersion};
use super::steps::{Plaintext, Reading, greet, process, write};

/// Maximum number of TLS records without plain text that a peer may send per minute: mostly key
/// updates, which cost the peer less than the server.
const SILENT_RECORDS: u32 = 32;

/// Maximum length of a record with its header, in bytes (RFC 5246 §6.2.3).
pub(crate) const RECORD: usize = 5 + FRAGMENT + 2_048;

/// Maximum number of bytes in the records of one handshake message, such as the long certificate
/// chain of a client.
const MESSAGE: usize = 2 * RECORD;

/// Maximum length of a `ClientHello` in bytes: eight times that of common clients. A client without
/// a login can make the server keep this much.
const HELLO: usize = 16 * 1_024;

/// Minimum size in bytes of a short-lived buffer. The C library keeps smaller buffers for the
/// thread that freed them, and each session has a thread.
pub(super) const UNKEPT: usize = 2_048;

/// Maximum plain text of one record, in bytes.
const FRAGMENT: usize = 16 * 1_024;

/// Maximum overhead of a sent record over its plain text, in bytes.
const OVERHEAD: usize = 64;

/// Returns the maximum size of the records for `plain` bytes of plain text, including a key update
/// before them.
pub(crate) const fn size_of_records(plain: usize) -> usize {
    plain + (plain / FRAGMENT + 3) * OVERHEAD
}

/// A connection, with received bytes that are not processed yet.
pub(crate) struct Connection {
    side: Side,
    /// Received bytes of an incomplete record.
    incoming: Vec<u8>,
    /// Number of unprocessed bytes that rustls has already seen: fragments of an incomplete
    /// message. rustls expects to see them again.
    seen: usize,
    /// Whether the `ClientHello` is incomplete.
    awaits_hello: bool,
    /// Whether the peer has sent a `close_notify`.
    is_closed: bool,
    /// Number of records without plain text, and the time since which they are counted.
    silent: (u32, Instant),
}

/// This server's side of the connection.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    /// The server begins the handshake (`SSCN ON`).
    Client(Box<UnbufferedClientConnection>),
}

/// Evaluates an expression with the connection of either side; the two sides have different types.
macro_rules! either {
    ($side:expr, $inner:ident => $call:expr) => {
        match $side {
            Side::Server($inner) => $call,
            Side::Client($inner) => $call,
        }
    };
}

impl Connection {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let inner = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self::of(Side::Server(Box::new(inner))))
    }

    /// Returns a connection whose handshake this server begins.
    pub(super) fn begun(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let inner = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::of(Side::Client(Box::new(inner))))
    }

    fn of(side: Side) -> Self {
        let silent = (0, Instant::now());
        let awaits_hello = matches!(side, Side::Server(_));
        Self { side, incoming: Vec::new(), seen: 0, awaits_hello, is_closed: false, silent }
    }

    fn state(&self) -> &CommonState {
        either!(&self.side, inner => inner)
    }

    pub(crate) const fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    /// Appends the first message to `answer` if this server begins the handshake.
    pub(super) fn greet(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.side {
            Side::Server(_) => Ok(()),
            Side::Client(inner) => greet(inner, answer),
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Returns whether a whole record has been received, so that the handshake can continue.
    pub(super) fn has_record(&self) -> bool {
        record(self.incoming.get(self.seen..).unwrap_or_default()).is_some()
    }

    /// Keeps received bytes, with little unused space: the client may never send the others.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.incoming.capacity() - self.incoming.len() < bytes.len() {
            self.incoming.reserve_exact(bytes.len().max(UNKEPT));
        }
        self.incoming.extend_from_slice(bytes);
    }

    /// Checks the length of the `ClientHello`, as far as it is known.
    pub(super) fn check_hello(&self) -> io::Result<()> {
        let announced = match *self.incoming {
            // A record has a header of five bytes, and a message one of four, unless it continues
            // in the next record.
            [_, _, _, 0, 0..4, ..] => 0,
            [_, _, _, _, _, _, high, middle, low, ..] => u32::from_be_bytes([0, high, middle, low]),
            _ => 0,
        };
        let longest = usize::try_from(announced).unwrap_or(usize::MAX).max(self.incoming.len());
        if self.awaits_hello && longest > HELLO { Err(too_long()) } else { Ok(()) }
    }

    /// Continues the handshake with the kept bytes, and appends the output to `answer`.
    pub(super) fn shake(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let used = self.look_at(&mut incoming, answer, &mut |_| Ok(()), true);
        if let Ok(used) = used {
            self.keep(incoming.get(used..).unwrap_or_default());
        }
        used.map(drop)
    }

    /// Returns the version, and whether a session was resumed; `None` before the handshake ends.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        let version = match self.state().protocol_version()? {
            ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        let resumed = self.state().handshake_kind()? == HandshakeKind::Resumed;
        Some(TlsInfo { version, resumed })
    }

    /// Returns the certificate of the peer in DER, if it has shown one.
    pub(super) fn client_certificate(&self) -> Option<Vec<u8>> {
        self.state().peer_certificates()?.first().map(|leaf| leaf.to_vec())
    }

    /// Returns whether the peer has sent a `close_notify`.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the kept bytes: those received but not decrypted, for example after a handshake or
    /// after the peer's `close_notify`.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming)
    }

    /// Decrypts received bytes, and keeps an incomplete record. The plain text goes to `sink`;
    /// bytes for the peer are appended to `answer`.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        answer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut sink = |bytes: &[u8]| {
            sink(bytes);
            Ok(())
        };
        // Records usually arrive whole, and nothing needs to be kept.
        let mut kept = std::mem::take(&mut self.incoming);
        let came = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &mut kept
        };
        let used = self.decrypt(came, answer, &mut sink)?;
        self.keep(came.get(used..).unwrap_or_default());
        Ok(())
    }

    /// Decrypts the whole records at the beginning of `bytes` in place. The plain text goes to
    /// `sink`; bytes for the peer are appended to `answer`. Returns the number of processed bytes;
    /// the caller must prepend the others to the next input.
    pub(crate) fn decrypt(
        &mut self,
        bytes: &mut [u8],
        answer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<usize> {
        self.look_at(bytes, answer, sink, false)
    }

    fn look_at(
        &mut self,
        bytes: &mut [u8],
        answer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        shakes: bool,
    ) -> io::Result<usize> {
        let mut used = 0;
        let mut shown = self.seen;
        while !self.is_closed
            && (!shakes || self.is_handshaking())
            && let Some(length) = record(bytes.get(shown..).unwrap_or_default())
        {
            shown += length;
            let mut reading = Reading { used, speaks: self.is_handshaking(), is_closed: false };
            let read = either!(&mut self.side, inner => {
                process(&mut **inner, &mut reading, bytes, shown, answer, sink)
            });
            read?;
            used = reading.used;
            self.awaits_hello &= used == 0;
            self.is_closed |= reading.is_closed;
            self.seen = shown - used;
            if self.seen > MESSAGE {
                return Err(too_long());
            }
            if !reading.speaks {
                self.note_silence(Instant::now())?;
            }
        }
        Ok(used)
    }

    /// Counts a record without plain text: a key update, or an empty record. Fails if there are too
    /// many, because such records cost the peer almost nothing.
    fn note_silence(&mut self, now: Instant) -> io::Result<()> {
        let (count, since) = &mut self.silent;
        if now.duration_since(*since) >= Duration::from_secs(60) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        if *count > SILENT_RECORDS {
            let why = "too many TLS records without data";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }

    /// Encrypts `plain` into `records`, which has the length that [`size_of_records`] returns.
    /// Returns the number of bytes written.
    pub(crate) fn encrypt(&mut self, plain: &[u8], records: &mut [u8]) -> io::Result<usize> {
        self.write(records, Plaintext::Plain(plain))
    }

    /// Encrypts a `close_notify` into `records`. Returns the number of bytes written.
    pub(crate) fn close(&mut self, records: &mut [u8]) -> io::Result<usize> {
        self.write(records, Plaintext::CloseNotify)
    }

    fn write(&mut self, records: &mut [u8], output: Plaintext<'_>) -> io::Result<usize> {
        let Self { side, is_closed, .. } = self;
        either!(side, inner => write(&mut **inner, records, output, is_closed))
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long")
}

/// Returns the length of the record at the beginning of `bytes`; `None` if it is incomplete.
/// Invalid bytes count as one record, so that rustls reports the error.
fn record(bytes: &[u8]) -> Option<usize> {
    let (&[kind, major, _, high, low], _) = bytes.split_first_chunk()?;
    let length = 5 + usize::from(u16::from_be_bytes([high, low]));
    if !(20..=24).contains(&kind) || major != 3 || length > RECORD {
        return Some(bytes.len());
    }
    (bytes.len() >= length).then_some(length)
}
