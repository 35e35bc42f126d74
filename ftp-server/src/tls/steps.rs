//! Single steps of a TLS connection. The steps are the same for the TLS client and server; only the
//! types of rustls differ.

use std::cell::Cell;
use std::io;

use ftp_proto::Escaped;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{InvalidMessage, PeerIncompatible};

/// A connection of rustls on either side.
pub(super) trait Records {
    /// The type with which rustls marks the side.
    type Data;

    /// Processes records, up to the next event.
    fn next<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Returns whether records wait to be encoded.
    fn has_output(&self) -> bool;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn next<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn next<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

/// The state of reading one record.
pub(super) struct Reading {
    /// Length of the records that are no longer needed.
    pub(super) used: usize,
    /// `true` if the record belongs to a handshake, has plain text, or is a `close_notify`.
    pub(super) speaks: bool,
    /// Whether the record was a `close_notify`.
    pub(super) is_closed: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Plaintext<'a> {
    Plain(&'a [u8]),
    CloseNotify,
}

/// Processes the records between `reading.used` and `shown`. The plain text goes to `sink`; bytes
/// for the peer are appended to `answer`. After an error, these bytes are the alert that describes
/// the error.
pub(super) fn process<R: Records>(
    connection: &mut R,
    reading: &mut Reading,
    bytes: &mut [u8],
    shown: usize,
    answer: &mut Vec<u8>,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let records = bytes.get_mut(reading.used..shown).unwrap_or_default();
        let UnbufferedStatus { mut discard, state, .. } = connection.next(records);
        let mut is_done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(broken)?;
                    discard += record.discard;
                    reading.speaks = true;
                    sink(record.payload)?;
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, answer)?,
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => (reading.is_closed, reading.speaks) = (true, true),
            Ok(_) => is_done = true,
            Err(error) => {
                complain(connection, bytes.get_mut(reading.used + discard..shown), answer);
                return Err(broken(error));
            }
        }
        reading.used += discard;
        if is_done {
            return Ok(());
        }
    }
}

/// Appends the first message of this server, as the TLS client, to `answer`.
pub(super) fn greet(
    connection: &mut UnbufferedClientConnection,
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        match connection.next(&mut []).state.map_err(broken)? {
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, answer)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            _ => return Ok(()),
        }
    }
}

/// Appends the alert that describes an error to `answer`. `records` are the records with the error:
/// rustls needs them until it has no output left. After that, it would report the error again.
fn complain<R: Records>(connection: &mut R, records: Option<&mut [u8]>, answer: &mut Vec<u8>) {
    let records = records.unwrap_or_default();
    let mut used = 0;
    while connection.has_output() {
        let rest = records.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { discard, state, .. } = connection.next(rest);
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

/// Encrypts `output` into `records`, after the bytes that rustls must send first. Returns the
/// number of bytes written.
pub(super) fn write<R: Records>(
    connection: &mut R,
    records: &mut [u8],
    output: Plaintext<'_>,
    is_closed: &mut bool,
) -> io::Result<usize> {
    let mut first = Vec::new();
    loop {
        match connection.next(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let short = || io::Error::other("no room for records");
                let (front, room) = records.split_at_mut_checked(first.len()).ok_or_else(short)?;
                front.copy_from_slice(&first);
                let written = match output {
                    Plaintext::Plain(plain) => traffic.encrypt(plain, room),
                    Plaintext::CloseNotify => traffic.queue_close_notify(room),
                };
                return Ok(first.len() + written.map_err(io::Error::other)?);
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut first)?,
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => *is_closed = true,
            Ok(_) => return Err(io::ErrorKind::NotConnected.into()),
            Err(error) => return Err(broken(error)),
        }
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, answer: &mut Vec<u8>) -> io::Result<()> {
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

thread_local! {
    /// The names that the client of the last handshake of this thread offered by ALPN.
    static OFFERED: Cell<String> = const { Cell::new(String::new()) };
}

/// Maximum number of characters in a log line of what a client offers by ALPN.
const LONGEST_OFFER: usize = 100;

/// Notes what a client offers by ALPN. If that is refused, the error of the handshake names it.
pub(super) fn note_offer<'a>(protocols: impl Iterator<Item = &'a [u8]>) {
    let names: Vec<_> = protocols.map(|name| Escaped(name).to_string()).collect();
    OFFERED.set(names.join(", ").chars().take(LONGEST_OFFER).collect());
}

/// Returns the error of a connection. It begins with plain words if the client is too old or speaks
/// another protocol: the names of rustls alone tell an operator little.
fn broken(error: rustls::Error) -> io::Error {
    let words = match &error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "not TLS: the client speaks plaintext, or another protocol"
        }
        rustls::Error::NoApplicationProtocol => {
            let offered = OFFERED.take();
            let why =
                format!("the client offers only other protocols by ALPN: {offered} ({error})");
            return io::Error::new(io::ErrorKind::InvalidData, why);
        }
        rustls::Error::PeerIncompatible(why) => match why {
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon => {
                "the client offers only old cipher suites, or it needs an RSA certificate"
            }
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired
            | PeerIncompatible::EcPointsExtensionRequired
            | PeerIncompatible::UncompressedEcPointsRequired => {
                "the client offers only old key exchanges, without X25519, P-256 and P-384"
            }
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => {
                "the client supports only old versions of TLS, such as 1.0 and 1.1"
            }
            _ => "the client's TLS settings do not fit",
        },
        _ => return io::Error::new(io::ErrorKind::InvalidData, error),
    };
    io::Error::new(io::ErrorKind::InvalidData, format!("{words} ({error})"))
}
