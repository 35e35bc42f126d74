//! TLS (RFC 4217), by rustls: what is set about it, and what a control connection needs of it.
//!
//! What is random or slow of a handshake is done by few threads beside those of sessions
//! (`pool.rs`); a session waits for its socket itself, so that a client that stalls keeps nobody
//! but its own session. Without the feature `tls`, `absent.rs` has the same names and no values.

mod policy;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod connection;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod load;
#[cfg(feature = "tls")]
mod pool;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
mod resumption;
#[cfg(feature = "self-signed")]
mod self_signed;
#[cfg(feature = "tls")]
mod settings;

pub(crate) use policy::Resumed;
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
#[cfg(feature = "tls")]
pub use settings::Tls;
