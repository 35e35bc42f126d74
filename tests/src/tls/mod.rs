//! TLS by hand, on either side: certificates of every kind, sessions that can be cut, left without
//! a goodbye or fed with foreign bytes, and the configuration of servers that others wrote.
//!
//! | to get | take |
//! | --- | --- |
//! | a certificate and its key, sound or with one fault | [`Authority::issue`], [`Pair`] |
//! | an FTP session under TLS, as a client that shares no code with ours | [`RawSession::start_tls`](crate::raw::RawSession::start_tls) and what is beside it |
//! | one TLS connection, as a client or as a server | [`TlsClient::connect`], [`TlsServer::accept`]: both give a [`TlsStream`] |
//! | records to send one by one, so that a connection ends at the edge of any | [`TlsStream::records`], [`TlsStream::inject`] |
//! | a server of somebody else with TLS | [`RealServer::vsftpd_tls`](crate::peer::RealServer::vsftpd_tls) and its kind, told by [`Secured`] |
//!
//! It is rustls beneath, as in the toolkit, but none of the toolkit's code. What others' programs
//! say of the toolkit is for tests with curl, lftp, Python and `openssl`.

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
    /// Both, the older first.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_3];

    /// As OpenSSL's configuration and ProFTPD's write it: `TLSv1.3`.
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

/// What rustls is to offer: this version only, or both.
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
