//! TLS without the toolkit, on either side: certificates of every kind, connections that can be
//! cut, left without `close_notify` or fed with foreign bytes, and the configuration of other
//! servers.
//!
//! | purpose | item |
//! | --- | --- |
//! | a certificate and its key, valid or with one fault | [`Authority::issue`], [`Pair`] |
//! | an FTP session under TLS, with a client that shares no code with the toolkit | [`RawSession::start_tls`](crate::raw::RawSession::start_tls) and similar methods |
//! | one TLS connection, as a client or as a server | [`TlsClient::connect`], [`TlsServer::accept`]: both return a [`TlsStream`] |
//! | records to send one by one, so that a connection can end after any of them | [`TlsStream::records`], [`TlsStream::inject`] |
//! | another server with TLS | [`RealServer::vsftpd_tls`](crate::peer::RealServer::vsftpd_tls) and similar methods, with settings by [`Secured`] |
//!
//! This module uses rustls like the toolkit, but none of the toolkit's code. Tests with curl, lftp,
//! Python and `openssl` show how other programs judge the toolkit.

mod authority;
mod client;
mod peers;
mod server;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ProtocolVersion, SupportedProtocolVersion};

pub use self::authority::{Authority, Kind, Pair, PairFiles};
pub use self::client::{Sessions, TlsClient};
pub use self::peers::Secured;
pub use self::server::TlsServer;
pub use self::stream::{End, Handshake, TlsStream};

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl Version {
    /// Both versions, the older first.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_3];

    /// Returns the name of the version in the configuration of OpenSSL and ProFTPD, such as
    /// `TLSv1.3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
        }
    }

    fn negotiated(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::V1_2),
            ProtocolVersion::TLSv1_3 => Some(Self::V1_3),
            _ => None,
        }
    }
}

/// Returns the versions that rustls offers: only `version`, or both.
fn offered(version: Option<Version>) -> &'static [&'static SupportedProtocolVersion] {
    static V1_2: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static V1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match version {
        Some(Version::V1_2) => &V1_2,
        Some(Version::V1_3) => &V1_3,
        None => rustls::ALL_VERSIONS,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
