//! The server side of TLS.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::stream::TlsStream;
use super::{Authority, Pair, Version, offered, provider};

/// The number of sessions that a server remembers.
const SESSIONS: usize = 1024;

/// A TLS server. Its connections, and those of its clones, share one store of sessions, so each can
/// resume the sessions of the others. By default, the server offers both versions, accepts any ALPN
/// of a client without choosing a protocol, asks for no certificate, and sends two tickets.
#[derive(Clone, Debug)]
pub struct TlsServer {
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
    version: Option<Version>,
    alpn: Vec<Vec<u8>>,
    tickets: usize,
    resumes: bool,
    clients: Option<(CertificateDer<'static>, bool)>,
    config: OnceLock<Arc<ServerConfig>>,
}

impl TlsServer {
    /// Returns a server that shows this certificate.
    #[must_use]
    pub fn showing(pair: &Pair) -> Self {
        Self {
            certificate: pair.certificate(),
            key: Arc::new(pair.key()),
            version: None,
            alpn: Vec::new(),
            tickets: 2,
            resumes: true,
            clients: None,
            config: OnceLock::new(),
        }
    }

    /// Offers this version only.
    #[must_use]
    pub fn version(self, version: Version) -> Self {
        Self { version: Some(version), ..self.with_new_sessions() }
    }

    /// Chooses one of these protocols by ALPN, and refuses a client that offers only others.
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { alpn, ..self.with_new_sessions() }
    }

    /// Sends this number of TLS 1.3 tickets after each handshake.
    #[must_use]
    pub fn tickets(self, tickets: usize) -> Self {
        Self { tickets, ..self.with_new_sessions() }
    }

    /// Resumes no session.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { resumes: false, ..self.with_new_sessions() }
    }

    /// Asks for a client certificate of this authority, and optionally requires it.
    #[must_use]
    pub fn clients_of(self, authority: &Authority, required: bool) -> Self {
        Self { clients: Some((authority.certificate(), required)), ..self.with_new_sessions() }
    }

    /// Carries out the handshake.
    ///
    /// # Errors
    ///
    /// Returns `InvalidData` around a [`rustls::Error`] if the client broke the protocol or refused
    /// the handshake; otherwise the errors of reading and writing.
    #[track_caller]
    pub fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream> {
        let config = Arc::clone(self.config.get_or_init(|| Arc::new(self.config())));
        let tls = ServerConnection::new(config).expect("settings that go together");
        TlsStream::handshake(tcp, tls.into())
    }

    #[track_caller]
    fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(offered(self.version))
            .expect("versions that the provider has");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some((authority, required)) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone()).expect("an authority's certificate");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let mut config = builder
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .expect("a certificate and its key");
        config.alpn_protocols.clone_from(&self.alpn);
        config.send_tls13_tickets = self.tickets;
        config.session_storage = if self.resumes {
            ServerSessionMemoryCache::new(SESSIONS)
        } else {
            Arc::new(NoServerSessionStorage {})
        };
        config
    }

    fn with_new_sessions(self) -> Self {
        Self { config: OnceLock::new(), ..self }
    }
}
