//! A blocking FTP client that never reports an incomplete transfer as a success.
//!
//! It supports explicit and implicit TLS, passive and active mode, resumed and retried transfers,
//! listings of all common servers, and server-to-server copies. It needs no async runtime: a client
//! works in the caller's thread. Each phase has a timeout, and another thread can stop the client
//! with a [`Canceller`].
//!
//! # Transferring one file
//!
//! [`get`] downloads a URL to any writer; [`put`] uploads from any reader. Add the package
//! `ftp-toolkit-client` to your dependencies, then write:
//!
//! ```no_run
//! let mut bytes = Vec::new();
//! let report = ftp_client::get("ftp://ftp.example.org/pub/a.txt", &mut bytes)?;
//! println!("{} bytes", report.bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To download to a file, use [`Client::download_to`] or [`Retry`]: they replace an existing file
//! only after the server has sent the whole one.
//!
//! # Sessions
//!
//! For several commands, connect with [`Client::builder`] and log in:
//!
//! ```no_run
//! use ftp_client::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::builder().connect("ftp.example.org")?;
//! client.login("anonymous", "guest@")?;
//! let mut file = client.retrieve("pub/a.bin")?;
//! let mut out = std::fs::File::create("a.bin")?;
//! std::io::copy(&mut file, &mut out)?;
//! let report = file.finish()?;
//! println!("{} bytes in {:?}", report.bytes, report.duration);
//! client.quit()?;
//! # Ok(())
//! # }
//! ```
//!
//! Always call [`Download::finish`] or [`Upload::finish`]. The end of the data does not prove
//! success: a download can end early without a read error, and the server can still reject an
//! upload. `finish` waits for the server's confirmation, and checks the number of bytes if the
//! expected number is known.
//!
//! A running transfer borrows the client, so a second command during a transfer does not compile.
//! Dropping a transfer early does no I/O; the next call on the client aborts the transfer.
//!
//! # Local files
//!
//! [`Client::download_to`] gives a new local file its name only when the file is complete, and can
//! resume an interrupted download. [`Client::upload_from`] is its counterpart.
//!
//! ```no_run
//! use ftp_client::{FileOptions, RateLimit, Resume};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! let limit = Some(RateLimit::new(1_000_000));
//! let options = FileOptions::new().resume(Resume::Proven).preserve(true).rate_limit(limit);
//! let done = client.download_to("pub/a.bin", "a.bin", &options, &())?;
//! println!("{} bytes, {} of them from an earlier attempt", done.size, done.resumed);
//! # Ok(())
//! # }
//! ```
//!
//! # Retries
//!
//! [`Retry`] transfers any number of files over one connection. After a transient error it waits
//! and, if necessary, reconnects and logs in. Then it resumes the file.
//!
//! ```no_run
//! use ftp_client::{Client, FileOptions, Retry};
//!
//! let mut queue = Retry::new(Client::builder(), "ftp.example.org").attempts(10);
//! for name in ["a.bin", "b.bin"] {
//!     let path = format!("pub/{name}");
//!     let done = queue.download_to(path, name, &FileOptions::new())?;
//!     println!("{name}: {} bytes in {} attempts", done.size, done.attempts);
//! }
//! queue.quit()?;
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! [`Pool`] has the same patience with several connections, for several threads. Where the server
//! accepts fewer connections, it uses fewer.
//!
//! # Trees
//!
//! [`tree::TreeSync`] makes one directory tree equal to another: a local one and one on a server, in
//! either direction, or two on servers. It lists both sides first, so the plan can be shown before
//! anything changes.
//!
//! ```no_run
//! use ftp_client::tree::{TreeSync, SyncOptions, TreeSide};
//! use ftp_client::{Client, Pool};
//!
//! let pool = Pool::new(|| {
//!     let mut client = Client::builder().connect("ftp.example.org")?;
//!     client.login("me", "secret").map(|()| client)
//! });
//! let (photos, copy) = (TreeSide::remote(&pool, "photos"), TreeSide::local("photos"));
//! let (summary, result) = TreeSync::plan(&photos, &copy, &SyncOptions::new(), &())?.run(&());
//! println!("{} files copied, {} failed", summary.copied, summary.failed);
//! result?;
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! # Resuming a download
//!
//! [`Client::download_to`] resumes bytes of an earlier run that are proved to be of the same file, and
//! fetches the others again:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! use ftp_client::{FileOptions, Resume};
//!
//! let options = FileOptions::new().resume(Resume::Proven);
//! let done = client.download_to("pub/a.bin", "a.bin", &options, &())?;
//! println!("{} bytes, {} of them from an earlier run", done.size, done.resumed);
//! # Ok(())
//! # }
//! ```
//!
//! # Listings
//!
//! ```no_run
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! use ftp_client::{Escaped, ListLine};
//!
//! for item in client.list("pub")? {
//!     match item? {
//!         ListLine::Entry(entry) => println!("{} {:?}", entry.name_lossy(), entry.size),
//!         ListLine::Unparsed(line) => println!("? {}", Escaped(&line)),
//!     }
//! }
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! [`Client::list`] uses `MLSD`, which has a standard format, if the server supports it. Otherwise
//! it parses `LIST`, whose format differs between servers. The returned iterator usually holds one
//! line at a time; if the listing was truncated, the last item is an error. [`Entries::gather`](listing::Entries::gather)
//! collects a listing, and [`Client::walk`] lists a whole tree.
//!
//! # TLS
//!
//! [`Tls`] holds the settings, and [`ClientBuilder::tls`] takes them. Certificates are checked
//! against the system's CAs by default.
//!
//! ```no_run
//! use ftp_client::{Client, Tls};
//!
//! let mut client = Client::builder().tls(Tls::explicit()).connect("ftp.example.org")?;
//! client.login("me", "secret")?;
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! # Proxies
//!
//! [`ClientBuilder::proxy`] takes a SOCKS5, HTTP or FTP [`Proxy`] for all connections. With
//! [`ClientBuilder::connector`], you can open the connections in any other way.
//!
//! ```no_run
//! use ftp_client::{Client, Proxy};
//!
//! let proxy: Proxy = "socks5h://proxy.example.org:1080".parse()?;
//! let mut client = Client::builder().proxy(proxy).connect("ftp.example.org")?;
//! client.login("anonymous", "guest@")?;
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! # Server-to-server copies
//!
//! [`Relay`](file::Relay) copies a file directly between two servers (FXP), and resumes, verifies and
//! renames it as the jobs for local files do. [`fxp::transfer`] is one call for it. Both servers must
//! allow such copies.
//!
//! # Errors and timeouts
//!
//! The variants of [`Error`] show who must act, and [`Error::is_transient`] returns whether a retry
//! makes sense. Except in a server-to-server copy, a silent server cannot block a call forever:
//! [`Timeouts`] limits each phase. [`overall`](ClientBuilder::overall) limits the whole session,
//! such copies included.
//!
//! ```no_run
//! use std::time::Duration;
//! use ftp_client::{Client, Error, Timeouts};
//!
//! let timeouts = Timeouts::new().connect(Duration::from_secs(3));
//! match Client::builder().timeouts(timeouts).connect("ftp.example.org") {
//!     Ok(client) => println!("{}", client.welcome()),
//!     Err(error) if error.is_transient() => println!("{error}; trying again later"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! # Logging
//!
//! The dialogue goes to the `log` crate with target `ftp_client::wire` and level debug. Each line
//! is one record with a prefix: `> ` if sent, `< ` if received, `= ` for explanations. Passwords
//! and accounts appear as `****`.
//!
//! # Modules
//!
//! What is used most is here at the top. The rest is in modules by subject: details of [`error`]s,
//! [`file`](mod@file) transfers, [`fxp`], [`listing`]s, attempts and the [`pool`], and directory
//! [`tree`]s.
//!
//! # Examples
//!
//! The directory `examples` of this crate contains small programs that the tests run:
//!
//! - `download`, `upload`, `resume`, `get_put`: transfer files
//! - `list`: list a tree
//! - `active`: use active mode from behind a NAT
//! - `fxp`: copy from server to server
//! - `cancel`: cancel from another thread
//! - `owned`: keep a running download in a struct, and hash it
//! - `errors`: decide what to do after an error
//! - `progress`: show the progress of an upload
//! - `queue`: retry a queue of downloads, and show each attempt
//! - `pool`: download over several connections
//! - `sync`: make a directory of a server equal to a local one
//! - `proxy`: connect through a SOCKS5, HTTP or FTP proxy
//! - `client_test`: test a program that uploads files
//! - `files`: copy files and trees, on any system
//!
//! # Security
//!
//! The client does not trust the server:
//!
//! - Data connections go to the host of the control connection and to ports from 1024 to 65535,
//!   unless you allow others with the [`ClientBuilder`].
//! - Arguments with CR, LF or NUL are rejected before anything is sent, so a file name cannot
//!   inject commands.
//! - Replies, lines of listings and collected listings have a maximum length, and waits have
//!   timeouts.
//! - Names in listings are the server's choice: check [`Entry::is_safe_name`] before you use a name
//!   in a local path.

/// Defines functions of a builder, each of which sets one field: `NAME(ARGUMENT: TYPE) => FIELD = VALUE;`.
macro_rules! setters {
    ($($(#[$about:meta])* $name:ident($($value:ident: $kind:ty),+) => $($field:ident).+ = $set:expr;)*) => {$(
        $(#[$about])*
        pub fn $name(mut self, $($value: $kind),+) -> Self {
            self.$($field).+ = $set;
            self
        }
    )*};
}

mod age;
mod charset;
mod client;
mod config;
mod control;
mod data;
mod digest;
pub mod error;
mod event;
mod facts;
pub mod file;
pub mod fxp;
pub mod listing;
mod lock;
mod net;
mod netrc;
pub mod pool;
mod probe;
mod random;
mod security;
mod system;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;
mod transfer;
pub mod tree;
mod url_path;

pub use charset::Charset;
pub use client::Client;
pub use client::objects::PermissionChange;
pub use config::{ClientBuilder, Timeouts};
#[doc(inline)]
pub use error::{Error, ErrorKind};
pub(crate) use event::trace;
pub use event::{Counts, Event, Observer, WithBytes};
pub use file::evidence::Resume;
pub use file::get::Get;
pub use file::options::{Done, FileOptions};
pub use file::put::Put;
pub use file::retry::Retry;
pub(crate) use lock::{lock, unpoisoned};
pub use net::proxy::Proxy;
pub use net::wait::{Canceller, Transport};
pub use netrc::{BrokenNetrc, NetrcEntry};
#[doc(inline)]
pub use pool::Pool;
pub use probe::{FirstLook, ServerProtocol};
/// The TLS library, whose types [`Tls::crypto_provider`] and [`Tls::rustls_config`] take.
#[cfg(feature = "tls")]
pub use rustls;
pub use security::{Tls, TlsInfo, TlsVersion};
pub use transfer::{Download, RateLimit, Report, Upload, UploadMode};
pub use url_path::{Place, get, put};

pub use ftp_proto::{
    AddressClass, AddressRule, ChosenHost, Entry, EntryKind, EpsvArgument, Escaped, Extended, Fact,
    FactType, Facts, Features, FtpUrl, HostReason, ListLine, Mode, Modified, NetworkProtocol,
    OtherVerb, ParseError, ParseErrorKind, Pathname, Permissions, PortRanges, Precision,
    RawCommand, Reply, ReplyCode, RepresentationType, Role, Scheme, Severity, TimeVal, Verb, Zone,
};

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}
const _: () = {
    is_send::<Client>();
    is_send::<Download<&mut Client>>();
    is_send::<Download<Client>>();
    is_send::<Upload<Client>>();
    is_send::<Error>();
    is_send::<Canceller>();
    is_send::<Retry>();
    is_send::<pool::Lent<'_>>();
    is_send::<Pool<'_>>();
    is_sync::<Pool<'_>>();
};
