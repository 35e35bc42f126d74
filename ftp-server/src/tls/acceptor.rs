//! The start of TLS on connections, and the TLS state that a control connection shares with its
//! data connections: TLS sessions that only these can resume. Also handshakes that this server begins
//! with other servers.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io};

use ftp_proto::HostName;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{self, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    ServerConfig, StoresServerSessions,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::connection::Connection;
use super::handshake::{Handshake, Pool};
use super::load::{Certificate, KeyDigest, Trusted};
use super::policy::{AskedName, SessionReuse, TlsInfo, TlsRules, TlsVersion};
use super::settings::{Identity, Settings, Tls, ring};
use super::steps::note_offer;
use crate::deadline;
use crate::lock::Lock;

/// The TLS settings of a server, and the threads that compute its handshakes.
pub(crate) struct Acceptor {
    settings: Tls,
    /// The part of the configuration that all connections share.
    config: ServerConfig,
    /// The configuration of handshakes that this server begins with other servers.
    begins: Option<Arc<ClientConfig>>,
    pool: Arc<Pool>,
}

impl Acceptor {
    /// Returns an acceptor. It takes over the handshake threads of `former`, if given; otherwise it
    /// starts its own.
    pub(crate) fn new(settings: Tls, former: Option<&Self>) -> io::Result<Self> {
        let pool = match former {
            Some(former) => Arc::clone(&former.pool),
            None => Arc::new(Pool::start()?),
        };
        let mut config = match &settings.0.identity {
            Identity::Pair(_) => config_of(&settings)?,
            Identity::Given(config) => (**config).clone(),
        };
        if config.alpn_protocols.is_empty() {
            // ALPN refuses clients that were redirected here from another protocol (CVE-2021-3618).
            config.alpn_protocols = vec![b"ftp".to_vec()];
        }
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let begins = config_with_others(&settings.0, versions(&settings));
        let begins = begins.map_err(io::Error::other)?;
        Ok(Self { settings, config, begins, pool })
    }

    pub(crate) fn rules(&self) -> &TlsRules {
        &self.settings.0.rules
    }

    pub(crate) const fn trusts_other_servers(&self) -> bool {
        self.begins.is_some()
    }

    /// Prepares TLS on a control connection, within `limit`. If the client sends no server name, it
    /// gets the certificate of `host`. The work is done in a handshake thread, because the C
    /// library keeps freed memory for the thread that freed it.
    pub(crate) fn protect_control(
        self: &Arc<Self>,
        limit: Duration,
        host: Option<HostName>,
    ) -> io::Result<(Handshake, Secured)> {
        let acceptor = Arc::clone(self);
        let deadline = deadline::after(Instant::now(), limit);
        self.pool.run(deadline, move || acceptor.make(host))?
    }

    fn make(self: &Arc<Self>, host: Option<HostName>) -> io::Result<(Handshake, Secured)> {
        let mut secured = Secured {
            acceptor: Arc::clone(self),
            resumption: None,
            named: Arc::new(Named::new(self.settings.clone(), host)),
            user: None,
            info: None,
        };
        let tickets = match self.rules().reuse {
            SessionReuse::Off => 0,
            SessionReuse::Observe => 2,
            SessionReuse::Prefer => 8,
            SessionReuse::Require => 64,
        };
        if tickets > 0 {
            secured.resumption = Some(Arc::new(Resumption::new()?));
        }
        Ok((secured.begin(tickets)?, secured))
    }
}

fn versions(settings: &Tls) -> &'static [&'static SupportedProtocolVersion] {
    const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    match settings.0.rules.min_version {
        TlsVersion::V1_2 => ALL,
        TlsVersion::V1_3 => NEWEST,
    }
}

fn config_of(settings: &Tls) -> io::Result<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::clone(&settings.0.provider))
        .with_protocol_versions(versions(settings))
        .map_err(io::Error::other)?;
    let config = match &settings.0.clients {
        Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
        None => config.with_no_client_auth(),
    };
    Ok(config.with_cert_resolver(settings.0.identity.resolver()))
}

/// TLS state of a control connection that its data connections share.
pub(crate) struct Secured {
    pub(crate) acceptor: Arc<Acceptor>,
    /// The tickets and sessions that can be resumed, if any.
    resumption: Option<Arc<Resumption>>,
    named: Arc<Named>,
    /// The certificate of the client, if it has shown one.
    user: Option<Vec<u8>>,
    info: Option<TlsInfo>,
}

impl Secured {
    pub(crate) fn established(&mut self, connection: &Connection) {
        self.info = connection.info();
        self.user = connection.client_certificate();
    }

    /// Returns how TLS protects the control connection; `None` before the handshake ends.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        self.info
    }

    pub(crate) fn server_name(&self) -> AskedName {
        self.named.choice.get().map_or(AskedName::Missing, |choice| choice.asked.clone())
    }

    /// Returns whether the client's certificate allows a login as `user`.
    pub(crate) fn may_be(&self, user: &[u8]) -> bool {
        let is_named = |der: &[u8]| Certificate::parse(der).is_ok_and(|shown| shown.names(user));
        !self.acceptor.rules().cert_user || self.user.as_deref().is_some_and(is_named)
    }

    /// Prepares TLS on a data connection. An upload gets no tickets: a client that only writes may
    /// close with unread tickets in its receive buffer, and that close sends RST, which discards
    /// data in flight.
    pub(crate) fn protect_data(&self, is_upload: bool) -> io::Result<Handshake> {
        self.begin(if is_upload || self.resumption.is_none() { 0 } else { 2 })
    }

    /// Prepares a handshake that this server begins, on a data connection with another server.
    pub(crate) fn begin_data(&self, other: IpAddr) -> io::Result<Handshake> {
        let Some(config) = &self.acceptor.begins else {
            return Err(io::Error::other("no CA or pin for other servers is configured"));
        };
        let name = ServerName::from(other);
        let connection = Connection::begun(Arc::clone(config), name)?;
        Ok(Handshake::of(connection, Arc::clone(&self.acceptor.pool)))
    }

    /// Prepares a handshake that sends this number of TLS 1.3 tickets.
    fn begin(&self, tickets: usize) -> io::Result<Handshake> {
        let mut config = self.acceptor.config.clone();
        config.cert_resolver = Arc::clone(&self.named) as Arc<dyn ResolvesServerCert>;
        if let Some(resumption) = &self.resumption {
            config.ticketer = Arc::clone(resumption) as Arc<dyn ProducesTickets>;
            config.session_storage = Arc::clone(resumption) as Arc<dyn StoresServerSessions>;
        }
        config.send_tls13_tickets = tickets;
        Handshake::new(Arc::new(config), Arc::clone(&self.acceptor.pool))
    }
}

/// The choice of the server's certificate in a handshake, and the name that the client requested.
struct Named {
    settings: Tls,
    /// The host that `HOST` chose before the handshake.
    host: Option<HostName>,
    /// The choice in the handshake of the control connection, which also applies to its data
    /// connections.
    choice: OnceLock<Choice>,
}

/// The server name that the client sent, and the certificate that the client gets.
struct Choice {
    asked: AskedName,
    shown: Arc<dyn ResolvesServerCert>,
}

impl Named {
    const fn new(settings: Tls, host: Option<HostName>) -> Self {
        Self { settings, host, choice: OnceLock::new() }
    }

    fn choose(&self, client_hello: &ClientHello<'_>) -> Choice {
        let asked = AskedName::of(client_hello.server_name());
        // A server name in the handshake overrides the host from `HOST`, even if no host has that
        // name.
        let host = match &asked {
            AskedName::Missing => self.host.as_ref(),
            AskedName::Foreign => None,
            AskedName::Host(name) => Some(name),
        };
        let Settings { hosts, identity, .. } = &*self.settings.0;
        let shown = host.and_then(|host| hosts.get(host)).map(Arc::clone);
        Choice { asked, shown: shown.unwrap_or_else(|| identity.resolver()) }
    }
}

ftp_proto::debug_fields!(Named { host }..);

impl ResolvesServerCert for Named {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note_offer(client_hello.alpn().into_iter().flatten());
        let choice = self.choice.get_or_init(|| self.choose(&client_hello));
        choice.shown.resolve(client_hello)
    }
}

/// Maximum number of TLS 1.2 sessions that a control connection remembers for a client without
/// tickets.
const REMEMBERED: usize = 4;

/// Lifetime of a ticket in seconds: the maximum (RFC 8446 §4.6.1), because a session that only
/// uploads gets no new tickets after the handshake of its control connection.
const LIFETIME: u32 = 7 * 24 * 60 * 60;

const KEY_LEN: usize = 32;

/// The resumable TLS sessions of one control connection. Their tickets are sealed with a key that
/// exists only as long as the connection. Tickets of other control connections are useless here
/// (RFC 4217 §15.2.6).
pub(super) struct Resumption {
    key: [u8; KEY_LEN],
    /// TLS 1.2 sessions of clients without tickets, the oldest first.
    remembered: Lock<VecDeque<(Vec<u8>, Vec<u8>)>>,
}

impl Resumption {
    pub(super) fn new() -> io::Result<Self> {
        let mut key = [0; KEY_LEN];
        ring()
            .secure_random
            .fill(&mut key)
            .map_err(|_| io::Error::other("the system returns no random bytes"))?;
        Ok(Self { key, remembered: Lock::default() })
    }

    /// Returns a new cipher. It is created on demand, because a cipher is larger than its key, and
    /// there are many sessions.
    fn seal(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &self.key).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").finish_non_exhaustive()
    }
}

impl ProducesTickets for Resumption {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// Returns the nonce, followed by the sealed text.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        ring().secure_random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        self.seal()?.seal_in_place_append_tag(nonce_once, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let plain = self.seal()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut sessions = self.remembered.lock();
        sessions.retain(|(known, _)| *known != key);
        if sessions.len() == REMEMBERED {
            sessions.pop_front();
        }
        sessions.push_back((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.remembered.lock();
        sessions.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut sessions = self.remembered.lock();
        let at = sessions.iter().position(|(known, _)| known == key)?;
        sessions.remove(at).map(|(_, value)| value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Returns the configuration of the handshakes that this server begins; `None` if it trusts no
/// other server.
fn config_with_others(
    settings: &Settings,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Option<Arc<ClientConfig>>, rustls::Error> {
    if !settings.other_servers.is_set() {
        return Ok(None);
    }
    let provider = Arc::clone(&settings.provider);
    let verifier = OtherServerVerifier {
        trusted: settings.other_servers.clone(),
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.identity {
        // The other server may ask for a client certificate: this server then shows its own
        // certificate.
        Identity::Pair(pair) => {
            let shown = SingleCertAndKey::from(Arc::clone(pair));
            config.with_client_cert_resolver(Arc::new(shown))
        }
        Identity::Given(_) => config.with_no_client_auth(),
    };
    // Each connection may lead to another server.
    config.resumption = client::Resumption::disabled();
    config.enable_sni = false;
    Ok(Some(Arc::new(config)))
}

/// Checks certificates of other servers, for data connections whose handshake this server begins
/// (`SSCN ON`). The certificate need not contain the address: the client chose the other server, and
/// this server knows only the address.
#[derive(Debug)]
struct OtherServerVerifier {
    trusted: Trusted,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OtherServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trusted { roots, keys, anything } = &self.trusted;
        let is_pinned = || KeyDigest::of(end_entity).is_some_and(|key| keys.contains(&key));
        if *anything || is_pinned() {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(roots) = roots else {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        };
        let end_entity = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &end_entity,
            roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    // Even with a trusted certificate, the other server must prove that it has the private key.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ticket_is_valid_only_for_its_control_connection_tl_11() {
        let ours = Resumption::new().unwrap();
        let others = Resumption::new().unwrap();
        let ticket = ours.encrypt(b"a session").unwrap();
        assert_eq!(ours.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(others.decrypt(&ticket), None);
        assert_ne!(ours.encrypt(b"a session").unwrap(), ticket);
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ours.decrypt(&other), None);
            assert_eq!(ours.decrypt(&ticket[..at]), None);
        }
    }
}
