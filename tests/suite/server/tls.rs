//! The server's TLS (RFC 4217), tested by raw sessions.

mod certificates;
mod closes;
mod control;
mod data;
mod hostile;
mod hosts;
mod renegotiation;
mod sscn;

use ftp_server::{ServerBuilder, Tls};
use ftp_tests::raw::RawSession;
use ftp_tests::tls::{Authority, Kind, Pair, TlsClient};

use super::Fixture;

/// A server with a certificate, and the parameters of its clients.
struct Secure {
    fixture: Fixture,
    authority: Authority,
}

impl Secure {
    fn new() -> Self {
        Self::with(|tls| tls)
    }

    fn with(adjust: impl FnOnce(Tls) -> Tls) -> Self {
        Self::built(adjust, |builder| builder)
    }

    fn built(
        adjust: impl FnOnce(Tls) -> Tls,
        build: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let authority = Authority::new();
        let tls = adjust(tls_of(&authority.issue(Kind::Good)));
        Self { fixture: Fixture::with(|builder| build(builder.tls(tls))), authority }
    }

    /// Returns a client with its own sessions.
    fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.authority)
    }

    /// Returns a session under TLS, logged in as `u`, with protected data, in type I.
    fn session(&self, client: &TlsClient) -> RawSession {
        let mut session = RawSession::secure(self.fixture.server.local_addr(), client, "u", "p");
        session.expect("TYPE I", 200);
        session
    }

    /// Returns a session under TLS after the greeting.
    fn greeted(&self, client: &TlsClient) -> RawSession {
        let mut session = self.fixture.greeted();
        session.start_tls(client);
        session
    }
}

pub(super) fn tls_of(pair: &Pair) -> Tls {
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair that is sound")
}
