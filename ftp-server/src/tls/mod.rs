//! TLS (RFC 4217) with rustls: its settings, and its use on control and data connections.
//!
//! A few threads (the pool in `handshake.rs`) compute the slow parts of a handshake. Sessions wait
//! for their sockets themselves, so that a stalling client delays only its own session. Without the
//! feature `tls`, `absent.rs` replaces all other files except `policy.rs`.

mod policy;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod connection;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod load;
#[cfg(feature = "tls")]
mod other_server;
#[cfg(feature = "tls")]
mod settings;
#[cfg(feature = "tls")]
mod steps;

pub(crate) use policy::{AskedName, Resumed, TlsRules};
pub use policy::{
    ClientCertificates, Resumptions, SessionReuse, TlsError, TlsInfo, TlsPolicy, TlsVersion,
};

#[cfg(not(feature = "tls"))]
pub use absent::Tls;
#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Acceptor, Connection, Handshake, RECORD, Secured, size_of_records};
#[cfg(feature = "tls")]
pub(crate) use acceptor::{Acceptor, Secured};
#[cfg(feature = "tls")]
pub(crate) use connection::{Connection, RECORD, size_of_records};
#[cfg(feature = "tls")]
pub(crate) use handshake::Handshake;
#[cfg(any(feature = "redis", feature = "s3"))]
pub(crate) use load::trusted;
#[cfg(feature = "tls")]
pub use settings::Tls;
#[cfg(any(feature = "redis", feature = "s3"))]
pub(crate) use settings::ring;
#[cfg(all(feature = "daemon", feature = "self-signed"))]
pub(crate) use settings::self_signed_pem;
