//! The client side of TLS.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::stream::TlsStream;
use super::{Authority, Pair, Version, offered, provider};

/// A TLS client. Its connections, and those of its clones, share one store of [`Sessions`], so each
/// can resume the sessions of the others. By default, the client offers both versions, ALPN `ftp`,
/// and the name `localhost`, shows no certificate, and resumes sessions.
#[derive(Clone, Debug)]
pub struct TlsClient {
    roots: Option<Arc<RootCertStore>>,
    version: Option<Version>,
    alpn: Vec<Vec<u8>>,
    name: String,
    own: Option<(CertificateDer<'static>, Arc<PrivateKeyDer<'static>>)>,
    sessions: Sessions,
    /// Made at first use. rustls resumes a session only with the same settings object.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Returns a client that trusts this authority.
    #[must_use]
    pub fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).expect("an authority's certificate");
        Self { roots: Some(Arc::new(roots)), ..Self::trusting_any_certificate() }
    }

    /// Returns a client that accepts every certificate.
    #[must_use]
    pub fn trusting_any_certificate() -> Self {
        Self {
            roots: None,
            version: None,
            alpn: vec![b"ftp".to_vec()],
            name: "localhost".to_owned(),
            own: None,
            sessions: Sessions::default(),
            config: OnceLock::new(),
        }
    }

    /// Offers this version only.
    #[must_use]
    pub fn version(self, version: Version) -> Self {
        Self { version: Some(version), ..self.with_new_sessions() }
    }

    /// Offers these protocols by ALPN. Without protocols, sends no ALPN.
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { alpn, ..self.with_new_sessions() }
    }

    /// Requests this name or address, and requires a certificate for it.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.with_new_sessions() }
    }

    /// Shows this certificate if the server asks for one.
    #[must_use]
    pub fn certificate(self, pair: &Pair) -> Self {
        Self { own: Some((pair.certificate(), Arc::new(pair.key()))), ..self.with_new_sessions() }
    }

    /// Returns the sessions of the client, to count or forget them.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns a ClientHello of the client, to send in pieces of any size.
    #[track_caller]
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        let mut tls = self.connection();
        tls.write_tls(&mut hello).expect("a vector takes what is written");
        hello
    }

    /// Carries out the handshake.
    ///
    /// # Errors
    ///
    /// Returns `InvalidData` around a [`rustls::Error`] if the server broke the protocol or refused
    /// the handshake; otherwise the errors of reading and writing.
    #[track_caller]
    pub fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream> {
        TlsStream::handshake(tcp, self.connection().into())
    }

    #[track_caller]
    fn connection(&self) -> ClientConnection {
        let config = Arc::clone(self.config.get_or_init(|| Arc::new(self.config())));
        let name = ServerName::try_from(self.name.clone()).expect("a host name or an address");
        ClientConnection::new(config, name).expect("settings that go together")
    }

    #[track_caller]
    fn config(&self) -> ClientConfig {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(offered(self.version))
            .expect("versions that the provider has");
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
        };
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .expect("a certificate and its key"),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::store(Arc::new(self.sessions.clone()));
        config
    }

    fn with_new_sessions(self) -> Self {
        Self { config: OnceLock::new(), sessions: Sessions::default(), ..self }
    }
}

/// The sessions of one server that can be resumed. Clones share the store.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    group: Option<NamedGroup>,
    session: Option<Tls12ClientSessionValue>,
    tickets: VecDeque<Tls13ClientSessionValue>,
    seen: usize,
    off: bool,
}

impl Sessions {
    /// Returns the number of TLS 1.3 tickets, or 1 for a session of TLS 1.2.
    #[must_use]
    pub fn count(&self) -> usize {
        let kept = self.kept();
        kept.tickets.len() + usize::from(kept.session.is_some())
    }

    /// Returns the number of TLS 1.3 tickets received so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.kept().seen
    }

    /// Forgets all sessions: the next handshake is a full one.
    pub fn forget(&self) {
        let mut kept = self.kept();
        kept.tickets.clear();
        kept.session = None;
    }

    /// Forgets all sessions, and keeps none from now on.
    pub fn keep_none(&self) {
        self.forget();
        self.kept().off = true;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.kept().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let mut kept = self.kept();
        kept.session = Some(value).filter(|_| !kept.off);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().session.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().session = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.kept();
        kept.seen += 1;
        if !kept.off {
            kept.tickets.push_back(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().tickets.pop_front()
    }
}

/// Ignores certificates, and checks signatures only.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
