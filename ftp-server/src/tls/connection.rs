//! A TLS connection without its socket: it converts bytes of records to plain text and back. It
//! keeps no buffers, so that an idle one uses as little memory as possible.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion};

use super::policy::{TlsInfo, TlsVersion};

/// Maximum TLS records without plain text that a peer may send per minute: mostly key updates,
/// which cost the peer less than the server.
const SILENT_RECORDS: u32 = 32;

/// Maximum length of a record with its header (RFC 5246 §6.2.3).
pub(crate) const RECORD: usize = 5 + FRAGMENT + 2_048;

/// Maximum bytes of records for a message of a handshake, such as a long certificate chain of a
/// client.
const MESSAGE: usize = 4 * RECORD;

/// Least size of a buffer that is freed soon, in bytes: the C library keeps smaller ones for the
/// thread that freed them, and each session has a thread.
pub(super) const UNKEPT: usize = 2_048;

/// Maximum plain text of one record.
const FRAGMENT: usize = 16 * 1_024;

/// Maximum overhead of a sent record over its plain text, in bytes.
const OVERHEAD: usize = 64;

/// Returns the maximum bytes of records for `plain` bytes, including a key update before them.
pub(crate) const fn size_of_records(plain: usize) -> usize {
    plain + (plain / FRAGMENT + 3) * OVERHEAD
}

/// A connection, with received bytes that are not processed yet.
pub(crate) struct Connection {
    inner: Box<UnbufferedServerConnection>,
    /// Received bytes of an incomplete record.
    incoming: Vec<u8>,
    /// Number of the next bytes that rustls has seen already: fragments of an incomplete message.
    /// It expects to see them again.
    seen: usize,
    /// The peer has sent a `close_notify`.
    is_closed: bool,
    /// Number of records without plain text since a time.
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

    /// Returns whether a whole record has been received: less is of no use for a step.
    pub(super) fn has_record(&self) -> bool {
        record(self.incoming.get(self.seen..).unwrap_or_default()).is_some()
    }

    /// Keeps received bytes.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.incoming.is_empty() && !bytes.is_empty() {
            self.incoming.reserve(UNKEPT);
        }
        self.incoming.extend_from_slice(bytes);
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

    /// Returns version and resumption; `None` before the handshake ends.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        let version = match self.inner.protocol_version()? {
            ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        let resumed = self.inner.handshake_kind()? == HandshakeKind::Resumed;
        Some(TlsInfo { version, resumed })
    }

    /// Returns the certificate of the peer in DER, if it has shown one.
    pub(super) fn client_certificate(&self) -> Option<Vec<u8>> {
        self.inner.peer_certificates()?.first().map(|leaf| leaf.to_vec())
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
    /// output is appended to `answer`.
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
    /// `sink`; output is appended to `answer`. Returns the length of these records: later bytes
    /// belong to the next input.
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
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a TLS message is too long",
                ));
            }
            if !speaks {
                self.note_silence(Instant::now())?;
            }
        }
        Ok(used)
    }

    /// Counts a record without plain text: a key update, or an empty one. Such records cost the
    /// peer next to nothing.
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

    /// Appends the alert that describes an error to `answer`. `records` are those with the error:
    /// rustls reads their messages again.
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

    /// Encrypts `plain` into `records`, whose length is that of [`size_of_records`]. Returns the
    /// number of bytes.
    pub(crate) fn encrypt(&mut self, plain: &[u8], records: &mut [u8]) -> io::Result<usize> {
        self.write(records, |traffic, room| traffic.encrypt(plain, room).map_err(io::Error::other))
    }

    /// Encrypts a `close_notify` into `records`.
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

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
