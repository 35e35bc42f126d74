//! TLS with rustls. `tls/absent.rs` replaces this module if the feature `tls` is off. Nothing here
//! waits, except for the rest of a text that arrived unencrypted: a call that cannot proceed returns
//! at once.

mod verify;
pub(crate) mod words;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion};
use rustls_pki_types::ServerName;

use crate::error::{Error, TlsCause, TlsError};
use crate::lock;
use crate::net::wait::Transport;
use crate::security::{Given, Tls, TlsInfo, TlsVersion};
use verify::Verifier;

/// The number of bytes to take from the socket at a time: replies are short, files are not.
const CONTROL_PIECE: usize = 4 * 1_024;
const DATA_PIECE: usize = 64 * 1_024;

/// The maximum number of bytes, before encryption, that may wait for the socket. Files are written
/// in pieces of this length.
const HELD_BACK: usize = 256 * 1_024;

/// The time for the rest of a text that arrived unencrypted.
const REST_OF_TEXT: Duration = Duration::from_millis(100);

/// State that all connections of a client share: the settings and the server's session tickets.
#[derive(Debug)]
pub(crate) struct Context {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    verifier: Arc<Verifier>,
    tickets: Arc<Tickets>,
}

impl Context {
    /// Creates the state for connections to `host`, and reads the files that the settings name.
    pub(crate) fn new(settings: &Tls, host: &str) -> Result<Self, TlsError> {
        let bare = host.split_once('%').map_or(host, |(address, _)| address);
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|_| TlsError::Settings(TlsCause::HostName(host.to_owned())))?;
        let Handshaking { mut config, verifier } = match &settings.config {
            Some(Given(config)) => given(settings, config),
            None => configured(settings)?,
        };
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![b"ftp".to_vec()];
        }
        let tickets = Arc::new(Tickets::default());
        config.resumption = match settings.resumes {
            true => Resumption::store(Arc::clone(&tickets) as _),
            false => Resumption::disabled(),
        };
        Ok(Self { config: Arc::new(config), name, verifier, tickets })
    }

    pub(crate) fn has_session(&self) -> bool {
        self.tickets.has_any()
    }

    pub(crate) fn control(&self) -> Result<Session, TlsError> {
        self.session(CONTROL_PIECE)
    }

    pub(crate) fn data(&self) -> Result<Session, TlsError> {
        self.session(DATA_PIECE)
    }

    fn session(&self, piece: usize) -> Result<Session, TlsError> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut connection = connection.map_err(|error| TlsError::Failed(error.into()))?;
        connection.set_buffer_limit(Some(HELD_BACK));
        Ok(Session {
            connection,
            verifier: Arc::clone(&self.verifier),
            raw: vec![0; piece],
            unread: 0..0,
            decrypted: 0,
            is_over: false,
        })
    }

    /// Returns the parameters of the control connection. From now on, only the certificate of that
    /// connection is accepted.
    pub(crate) fn settle(&self, control: &Session) -> TlsInfo {
        let Session { connection, .. } = control;
        let chain = connection.peer_certificates().unwrap_or_default();
        if let Some(certificate) = chain.first() {
            self.verifier.demand(certificate);
        }
        let pin = chain.first().and_then(|first| self.verifier.pin_of(first));
        TlsInfo {
            version: control.version(),
            cipher: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            alpn: connection.alpn_protocol() == Some(b"ftp"),
            certificates: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            pin: pin.map(|pin| pin.to_string()),
            data_connections: 0,
            resumed: 0,
        }
    }
}

struct Handshaking {
    config: ClientConfig,
    verifier: Arc<Verifier>,
}

/// Returns a copy of the caller's configuration, and a verifier for checks in addition to the
/// caller's.
fn given(settings: &Tls, config: &Arc<ClientConfig>) -> Handshaking {
    let mut own = ClientConfig::clone(config);
    own.enable_early_data = false;
    let verifier = Verifier::beside_another(settings, Arc::clone(config.crypto_provider()));
    Handshaking { config: own, verifier: Arc::new(verifier) }
}

fn configured(settings: &Tls) -> Result<Handshaking, TlsError> {
    let provider = match &settings.provider {
        Some(Given(provider)) => Arc::clone(provider),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    };
    let verifier = Arc::new(Verifier::new(settings, Arc::clone(&provider))?);
    let versions: &[_] = match settings.versions {
        (TlsVersion::V1_2, TlsVersion::V1_2) => &[&TLS12],
        (TlsVersion::V1_3, TlsVersion::V1_3) => &[&TLS13],
        (TlsVersion::V1_2, TlsVersion::V1_3) => &[&TLS12, &TLS13],
        (TlsVersion::V1_3, TlsVersion::V1_2) => {
            return Err(TlsError::Settings(TlsCause::VersionRange));
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Failed(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = verify::certificates(certificate)?;
            let secret = verify::key(key)?;
            builder.with_client_auth_cert(chain, secret).map_err(|cause| TlsError::File {
                path: key.clone(),
                cause: TlsCause::WrongKey {
                    certificate: certificate.clone(),
                    cause: Arc::new(cause),
                },
            })?
        }
    };
    Ok(Handshaking { config, verifier })
}

/// TLS on one connection, whose socket is owned elsewhere.
pub(crate) struct Session {
    connection: ClientConnection,
    verifier: Arc<Verifier>,
    /// Bytes from the socket. The range `unread` has not been passed to `connection` yet.
    raw: Vec<u8>,
    unread: std::ops::Range<usize>,
    decrypted: usize,
    /// Whether the end of the stream was reached, with or without `close_notify`.
    is_over: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("version", &self.connection.protocol_version()).finish()
    }
}

impl Session {
    /// Continues the handshake. Returns what to wait for before the next step, or `None` once the
    /// handshake is complete.
    pub(crate) fn handshake(
        &mut self,
        socket: &mut dyn Transport,
    ) -> Result<Option<PollFlags>, Error> {
        if !self.flush(socket)? {
            return Ok(Some(PollFlags::OUT));
        }
        if self.connection.is_handshaking() {
            match self.take(socket)? {
                Some(true) => {}
                Some(false) => return Err(Error::Tls(TlsError::Failed(TlsCause::Closed))),
                None => return Ok(Some(PollFlags::IN)),
            }
            if !self.flush(socket)? {
                return Ok(Some(PollFlags::OUT));
            }
        }
        if self.connection.is_handshaking() {
            return Ok(Some(PollFlags::IN));
        }
        let chain = self.connection.peer_certificates().unwrap_or_default();
        self.verifier.look_again(chain).map_err(Error::Tls)?;
        Ok(None)
    }

    /// Returns whether a read would return at once, even if the socket is not readable.
    pub(crate) fn has_unread(&self) -> bool {
        self.decrypted > 0 || !self.unread.is_empty() || self.is_over
    }

    /// Decrypts some available bytes without returning them. Returns whether data or the end is
    /// ready to be read. Each call reads from the socket at most once, so that the caller can check
    /// its deadline between calls.
    pub(crate) fn look(&mut self, socket: &mut dyn Transport) -> Result<bool, Error> {
        if !self.has_unread() {
            self.take(socket)?;
        }
        Ok(self.has_unread())
    }

    /// Returns whether the end was reached and no data is left before it.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over && self.decrypted == 0
    }

    /// Reads available bytes. Returns 0 at an end marked by `close_notify`, and `None` if nothing
    /// is available yet.
    pub(crate) fn read(
        &mut self,
        socket: &mut dyn Transport,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let mut has_taken = false;
        loop {
            match self.connection.reader().read(buffer) {
                Ok(count) => {
                    self.decrypted = self.decrypted.saturating_sub(count);
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.decrypted = 0,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Error::Tls(TlsError::TruncatedTls));
                }
                Err(error) => return Err(Error::io(error)),
            }
            if has_taken && self.unread.is_empty() {
                // Lets the caller check its deadline, even while many records without data arrive.
                return Ok(None);
            }
            if self.take(socket)?.is_none() {
                return Ok(None);
            }
            has_taken = true;
        }
    }

    /// Decrypts buffered bytes, or bytes from the socket if none are buffered. Returns `false` at
    /// the end of the stream, and `None` if nothing is available yet. Sends the answers that TLS
    /// requires, as far as the socket has room.
    fn take(&mut self, socket: &mut dyn Transport) -> Result<Option<bool>, Error> {
        if self.unread.is_empty() {
            let count = loop {
                match socket.read(&mut self.raw) {
                    Ok(count) => break count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::io(error)),
                }
            };
            self.unread = 0..count;
            if count == 0 {
                self.is_over = true;
                // rustls must see the end itself to distinguish it from silence.
                self.connection.read_tls(&mut io::empty()).map_err(Error::io)?;
                return Ok(Some(false));
            }
        }
        while !self.unread.is_empty() {
            let mut rest =
                self.raw.get(self.unread.clone()).expect("the unread range is within the buffer");
            let taken = match self.connection.read_tls(&mut rest) {
                // Bytes after `close_notify` are ignored.
                Ok(0) => self.unread.len(),
                Ok(count) => count,
                Err(error) => return Err(Error::io(error)),
            };
            self.unread.start += taken;
            let was_handshaking = self.connection.is_handshaking();
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // Best effort: sends the alert that tells the peer the reason.
                    let _ = self.connection.write_tls(socket);
                    return Err(Error::Tls(match !was_handshaking && is_of_records(&error) {
                        true => self.broken(socket),
                        false => self.verifier.explain(error),
                    }));
                }
            };
            self.decrypted = state.plaintext_bytes_to_read();
            self.is_over |= state.peer_has_closed();
            if self.decrypted > 0 {
                break;
            }
        }
        if self.connection.wants_write() {
            self.flush(socket)?;
        }
        Ok(Some(true))
    }

    /// Returns the error for bytes that are not TLS. Shows the text of a server that replies without
    /// encryption, as vsftpd does when a session ends with an error.
    fn broken(&mut self, socket: &mut dyn Transport) -> TlsError {
        let mut bytes = self.raw.get(..self.unread.end).unwrap_or_default().to_vec();
        // vsftpd writes its text in several pieces.
        let end = Instant::now() + REST_OF_TEXT;
        while bytes.len() < 2 * self.raw.len() {
            let count = match socket.read(&mut self.raw) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = end.saturating_duration_since(Instant::now());
                    let mut watched = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
                    match Timespec::try_from(left).map(|left| poll(&mut watched, Some(&left))) {
                        Ok(Ok(1..)) => continue,
                        _ => break,
                    }
                }
                Err(_) => break,
            };
            bytes.extend(self.raw.iter().take(count));
        }
        self.unread = 0..0;
        TlsError::Broken(TlsCause::NotTls(words::reply_at_the_end(&bytes)))
    }

    /// Encrypts some of `bytes`, sends as much as the socket takes, and returns the number of bytes
    /// encrypted. The next write, or [`flush`](Self::flush), sends the rest. Returns `None` if the
    /// socket has no room for bytes encrypted earlier.
    pub(crate) fn write(
        &mut self,
        socket: &mut dyn Transport,
        bytes: &[u8],
    ) -> Result<Option<usize>, Error> {
        if !self.flush(socket)? {
            return Ok(None);
        }
        let count = self.connection.writer().write(bytes).map_err(Error::io)?;
        self.flush(socket)?;
        Ok(Some(count))
    }

    /// Sends buffered bytes. Returns `false` if the socket has no room for some of them yet.
    pub(crate) fn flush(&mut self, socket: &mut dyn Transport) -> Result<bool, Error> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(Error::io(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(error)),
            }
        }
        Ok(true)
    }

    /// Marks the end of the outgoing data; [`flush`](Self::flush) sends the mark.
    pub(crate) fn end(&mut self) {
        self.connection.send_close_notify();
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn version(&self) -> TlsVersion {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        }
    }
}

/// Returns whether the peer's bytes are invalid: a record that is not TLS or was changed on the way,
/// or a malformed message. An alert or an unwanted message is a decision of the peer; with TLS 1.3,
/// a server rejects a client's certificate only after the client's handshake.
const fn is_of_records(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidMessage(_)
            | rustls::Error::DecryptError
            | rustls::Error::PeerSentOversizedRecord
    )
}

/// The maximum number of tickets to keep. In TLS 1.3 each is good for one data connection, and a
/// server that requires resumption may send all its tickets after the handshake of the control
/// connection.
const MOST_TICKETS: usize = 128;

/// The sessions of one control connection, never used for another. All of them belong to one
/// server, so the server's name does not matter.
#[derive(Debug, Default)]
struct Tickets(Mutex<KeptTickets>);

#[derive(Debug, Default)]
struct KeptTickets {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    fn has_any(&self) -> bool {
        let kept = self.kept();
        kept.tls12.is_some() || !kept.tls13.is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, KeptTickets> {
        lock(&self.0)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.kept().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.kept();
        if kept.tls13.len() >= MOST_TICKETS {
            kept.tls13.pop_front();
        }
        kept.tls13.push_back(value);
    }

    /// Returns the newest ticket, which lives the longest.
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().tls13.pop_back()
    }
}
