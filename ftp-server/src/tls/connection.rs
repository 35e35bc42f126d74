//! One connection under TLS, without its socket: bytes of records in, bytes of plain text out, and
//! the other way about. It keeps no buffers, so that an idle one costs as little as can be.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion};

use super::policy::{TlsInfo, TlsVersion};

/// How many TLS records without plain text a peer may send in a minute: updates of keys above all,
/// which cost it less than the server.
const SILENT_RECORDS: u32 = 32;

/// The longest record there may be, with its header (RFC 5246 §6.2.3).
pub(crate) const RECORD: usize = 5 + FRAGMENT + 2_048;

/// How many bytes of records a message of a handshake may have, as one of a client with a long chain
/// of certificates.
const MESSAGE: usize = 4 * RECORD;

/// How large a buffer is made that is freed soon, in bytes: small ones the C library keeps for the
/// thread that has freed them, and each session has a thread.
pub(super) const UNKEPT: usize = 2_048;

/// How much plain text one record carries at most.
const FRAGMENT: usize = 16 * 1_024;

/// How many bytes more than its plain text a record has at most, of those that are sent.
const OVERHEAD: usize = 64;

/// How many bytes the records of `plain` bytes have at most, with an update of the keys in front.
pub(crate) const fn size_of_records(plain: usize) -> usize {
    plain + (plain / FRAGMENT + 3) * OVERHEAD
}

/// A connection, and the bytes of it that came and are not looked at yet.
pub(crate) struct Connection {
    inner: Box<UnbufferedServerConnection>,
    /// What came and is not a whole record yet.
    incoming: Vec<u8>,
    /// How many bytes, of those that come next, rustls has seen already: fragments of a message that
    /// is not whole yet. It counts on seeing them again.
    seen: usize,
    /// The peer has said that this was all.
    is_closed: bool,
    /// How many records without plain text came since when.
    silent: (u32, Instant),
}

impl Connection {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let inner = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let incoming = Vec::new();
        let silent = (0, Instant::now());
        Ok(Self { inner: Box::new(inner), incoming, seen: 0, is_closed: false, silent })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    /// Whether a step can be taken with what came: to compute less of one is of no use.
    pub(super) fn has_record(&self) -> bool {
        record(self.incoming.get(self.seen..).unwrap_or_default()).is_some()
    }

    /// Takes what came and keeps it.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.incoming.is_empty() && !bytes.is_empty() {
            self.incoming.reserve(UNKEPT);
        }
        self.incoming.extend_from_slice(bytes);
    }

    /// Goes on with the handshake by what was kept; what is to be sent goes behind `answer`.
    pub(super) fn shake(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let used = self.look_at(&mut incoming, answer, &mut |_| Ok(()), true);
        if let Ok(used) = used {
            self.keep(incoming.get(used..).unwrap_or_default());
        }
        used.map(drop)
    }

    /// How it came about; `None` before it has.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        let version = match self.inner.protocol_version()? {
            ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        let resumed = self.inner.handshake_kind()? == HandshakeKind::Resumed;
        Some(TlsInfo { version, resumed })
    }

    /// The certificate of the peer in DER, if it showed one.
    pub(super) fn client_certificate(&self) -> Option<Vec<u8>> {
        self.inner.peer_certificates()?.first().map(|leaf| leaf.to_vec())
    }

    /// Whether the peer has said that this was all.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Hands over what was kept: bytes that came and were not decrypted, as those right behind a
    /// handshake or behind the peer's `close_notify`.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming)
    }

    /// Decrypts what came, and keeps what is no whole record yet. The plain text goes to `sink`, what
    /// is to be sent behind `answer`.
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
        // Mostly records come whole, and nothing is to be kept of them.
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

    /// Decrypts the whole records that `bytes` begins with, where they are. Their plain text goes to
    /// `sink`, what is to be sent behind `answer`. Returns how many bytes they have: those behind
    /// belong in front of what comes next.
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
            let mut speaks = self.is_handshaking();
            loop {
                let records = bytes.get_mut(used..shown).unwrap_or_default();
                let UnbufferedStatus { mut discard, state, .. } =
                    self.inner.process_tls_records(records);
                let mut is_done = false;
                match state {
                    Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                        while let Some(record) = traffic.next_record() {
                            let record = record.map_err(broken)?;
                            discard += record.discard;
                            speaks = true;
                            sink(record.payload)?;
                        }
                    }
                    Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, answer)?,
                    Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                    Ok(ConnectionState::PeerClosed) => (self.is_closed, speaks) = (true, true),
                    Ok(_) => is_done = true,
                    Err(error) => {
                        self.complain(bytes.get_mut(used + discard..shown), answer);
                        return Err(broken(error));
                    }
                }
                used += discard;
                if is_done {
                    break;
                }
            }
            self.seen = shown - used;
            if self.seen > MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
            }
            if !speaks {
                self.note_silence(Instant::now())?;
            }
        }
        Ok(used)
    }

    /// Counts a record that brought no plain text: an update of the keys, or nothing at all. Such
    /// ones cost the peer next to nothing.
    fn note_silence(&mut self, now: Instant) -> io::Result<()> {
        let (count, since) = &mut self.silent;
        if now.duration_since(*since) >= Duration::from_secs(60) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        if *count > SILENT_RECORDS {
            let why = "too many records without plain text";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }

    /// Puts the alert that says what was wrong behind `answer`. `records` are those with the fault:
    /// rustls looks at the messages in them again.
    fn complain(&mut self, records: Option<&mut [u8]>, answer: &mut Vec<u8>) {
        let records = records.unwrap_or_default();
        let mut used = 0;
        loop {
            let rest = records.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state, .. } = self.inner.process_tls_records(rest);
            used += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(&mut data, answer).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return,
            }
        }
    }

    /// Encrypts `plain` into `records`, which is as large as [`size_of_records`] says. Returns
    /// how many bytes there are.
    pub(crate) fn encrypt(&mut self, plain: &[u8], records: &mut [u8]) -> io::Result<usize> {
        self.write(records, |traffic, room| traffic.encrypt(plain, room).map_err(io::Error::other))
    }

    /// Says that this was all: encrypts a `close_notify` into `records`.
    pub(crate) fn close(&mut self, records: &mut [u8]) -> io::Result<usize> {
        self.write(records, |traffic, room| {
            traffic.queue_close_notify(room).map_err(io::Error::other)
        })
    }

    fn write(
        &mut self,
        records: &mut [u8],
        write: impl FnOnce(&mut Writing<'_>, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut first = Vec::new();
        loop {
            match self.inner.process_tls_records(&mut []).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let short = || io::Error::other("no room for records");
                    let (front, room) =
                        records.split_at_mut_checked(first.len()).ok_or_else(short)?;
                    front.copy_from_slice(&first);
                    return Ok(first.len() + write(&mut traffic, room)?);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut first)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_closed = true,
                Ok(_) => return Err(io::ErrorKind::NotConnected.into()),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

type Writing<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;

fn encode<Data>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>,
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    let at = answer.len();
    let mut room = 512;
    loop {
        answer.resize(at + room, 0);
        match data.encode(answer.get_mut(at..).unwrap_or_default()) {
            Ok(count) => {
                answer.truncate(at + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// How many bytes the record has that `bytes` begins with; `None` if it is not whole. What is none
/// is all there is: it is for rustls to say so.
fn record(bytes: &[u8]) -> Option<usize> {
    let (&[kind, major, _, high, low], _) = bytes.split_first_chunk()?;
    let length = 5 + usize::from(u16::from_be_bytes([high, low]));
    if !(20..=24).contains(&kind) || major != 3 || length > RECORD {
        return Some(bytes.len());
    }
    (bytes.len() >= length).then_some(length)
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
