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
//! With the feature `daemon`, [`daemon`] makes a server of a configuration file.
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
mod data;
mod deadline;
mod error;
mod ledger;
pub mod limits;
mod listing;
mod lock;
mod log;
mod net;
mod pace;
mod percent;
mod reply;
mod server;
mod service;
mod session;
mod shares;
mod storage;
pub mod testing;
mod threads;
mod tls;

pub use self::log::{
    Direction, Event, EventKind, EventLog, LogFormat, LogWriter, LoginRefusal, Observer, Refusal,
    SessionEnd, Transfer, TransferEnd, Xferlog,
};
pub use ftp_proto::{
    HostName, Network, ParseError, ParseErrorKind, PortRanges, Reply, ReplyCode,
    RepresentationType, TimeVal, Verb,
};

pub use auth::{
    AuthError, Authenticator, DirectoryRights, Login, LoginAttempt, Offer, PasswordHash,
    PasswordHashError, Rights, UnknownRight, UserLimits, UserTable,
};
pub use builder::ServerBuilder;
pub use command::{SiteCommands, SiteRequest};
pub use config::{
    ActivePolicy, Limits, LoginPolicy, NamePattern, PassiveAddress, PassiveOverride, PassivePolicy,
    ServerConfig, Timeouts, VirtualHost,
};
pub use error::Error;
#[cfg(feature = "redis")]
pub use ledger::RedisLedger;
pub use ledger::{
    Ledger, LedgerAnswer, LedgerError, LedgerRecord, MemoryLedger, SharedQuota, SharedState,
    WithoutLedger,
};
pub use server::{Server, ShutdownHandle, ShutdownReport};
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
