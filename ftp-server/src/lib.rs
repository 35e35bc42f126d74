//! A blocking FTP server with one thread per connection, for small machines and for embedding.
//!
//! ```
//! use std::time::Duration;
//!
//! use ftp_server::{Rights, Server};
//!
//! let root = tempfile::tempdir()?;
//! let server =
//!     Server::builder().root(root.path()).user("u", "p", Rights::FULL).bind("127.0.0.1:0")?;
//! let address = server.local_addr(); // bound and accepting
//! # let _ = address;
//! let report = server.shutdown(Duration::from_secs(1));
//! assert_eq!(report.cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Storage`] holds the files. [`LocalStorage`] keeps them below one directory,
//! [`MemoryStorage`] in memory, and `S3Storage` (feature `s3`) in an object store.
//! [`MountedStorage`] joins several storages in one tree, and [`Partials`] lets users resume uploads
//! to any storage. In tests,
//! [`FaultStorage`](testing::FaultStorage) makes any storage fail.
//!
//! An [`Authenticator`] accepts or refuses each login, and chooses the user's storage and rights.
//! [`UserTable`] is a fixed table of users with passwords, in plaintext or as a [`PasswordHash`].
//!
//! An [`Observer`] receives the events of a server. [`EventLog`] and [`Xferlog`] are observers that
//! write logs. The server also sends its events to the `log` crate.
//!
//! An upload becomes visible when it is complete. There are two exceptions, which write in place:
//! an `APPE` to an existing file, and in [`LocalStorage`] a `STOR` after a `REST` to the file's
//! end. The reply 226 (in mode B, 250) means that the file is complete under its name.
//! [`SyncPolicy`] sets which data is on disk by then.
//!
//! With the feature `daemon`, the module `daemon` makes a server of a configuration file.
//!
//! The server runs only on Linux.

#[cfg(not(target_os = "linux"))]
compile_error!("ftp-server requires Linux: it uses openat2, O_TMPFILE and sendfile");

mod auth;
mod budget;
mod builder;
mod command;
mod config;
mod context;
#[cfg(feature = "daemon")]
pub mod daemon;
mod deadline;
mod ledger;
mod limits;
mod listing;
mod lock;
mod log;
mod percent;
mod reply;
mod server;
mod session;
mod shares;
mod storage;
pub mod testing;
mod threads;

mod data {
    //! Data connections: opening them, and moving bytes over them.

    mod block;
    mod buffers;
    mod deflate;
    mod opening;
    mod outgoing;
    pub(crate) mod passive;
    mod pump;
    mod wait;

    pub(crate) use block::{BlockOutgoing, Blocks, DataConnection, DataFault, IdleConnection};
    pub(crate) use buffers::Buffers;
    pub(crate) use deflate::{DeflateOutgoing, Deflating, Encoding, Inflating};
    pub(crate) use opening::{DataChannel, DataPeer};
    pub(crate) use outgoing::{AsciiOutgoing, ImageOutgoing, ListingOutgoing, Outgoing};
    pub(crate) use passive::{Announcer, PassivePorts};
    pub(crate) use pump::{PumpEnd, PumpLimits, receive, send};
    pub(crate) use wait::{Interruption, Monitor, OpenError};
}

mod net {
    //! Connections before they become sessions: limits, bans and socket options.

    pub(crate) mod admission;
    pub(crate) mod listener;
    #[cfg(any(feature = "redis", feature = "s3"))]
    pub(crate) mod lookup;
    pub(crate) mod random;
    pub(crate) mod socket;
}

mod tls {
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
}

mod service {
    //! Running sessions: their loop, control connection and transfers, and the register through
    //! which other threads see and end them.

    mod away;
    mod control;
    pub(crate) mod login_watchdog;
    pub(crate) mod register;
    mod run;
    mod transfer;
    mod transfer_watch;

    pub(crate) use away::{Away, LateObserver, LateTeller};
    pub use register::{Activity, SessionInfo};
    pub(crate) use run::{Greeting, run};
}

pub use self::log::{
    Direction, Event, EventKind, EventLog, LogWriter, Observer, Refusal, SessionEnd, Transfer,
    TransferEnd, Xferlog,
};
pub use ftp_proto::{
    HostName, Network, ParseError, ParseErrorKind, PortRanges, Reply, ReplyCode,
    RepresentationType, TimeVal, Verb,
};

pub use auth::{
    AuthError, Authenticator, Login, LoginAttempt, PasswordHash, PasswordHashError, Rights,
    UnknownRight, UserLimits, UserTable,
};
pub use builder::ServerBuilder;
pub use config::{
    Limits, LoginPolicy, NamePattern, PassiveAddress, PassivePolicy, ServerConfig, Timeouts,
    VirtualHost,
};
pub use context::SiteRequest;
#[cfg(feature = "redis")]
pub use ledger::RedisLedger;
pub use ledger::{
    Ledger, LedgerAnswer, LedgerError, MemoryLedger, SharedQuota, SharedState, WithoutLedger,
};
pub use server::{Error, Server, ShutdownHandle, ShutdownReport};
pub use service::{Activity, SessionInfo};
pub use storage::{
    Ask, Capabilities, Change, Confine, ConfinementPolicy, DirectoryUse, Entries, Entry, EntryKind,
    Keep, LocalConfig, LocalStorage, MemoryStorage, Metadata, MountedStorage, PartialPolicy,
    Partials, RoomFor, Source, Space, Storage, StorageError, StorageErrorKind, StreamEnd,
    SyncPolicy, Unfinished, Upload, VirtualPath, WriteMode,
};
#[cfg(feature = "s3")]
pub use storage::{S3Error, S3Features, S3Ledger, S3Storage, S3Store, S3StoreBuilder, S3Timeouts};
pub use tls::{
    ClientCertificates, Resumptions, SessionReuse, Tls, TlsError, TlsInfo, TlsPolicy, TlsVersion,
};
