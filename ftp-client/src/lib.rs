//! A blocking FTP client: the user-FTP process of RFC 959, whose transfers end with the truth.
//!
//! # One file
//!
//! With `ftp-client` among the dependencies, a file is one call away, to anything that can be
//! written to; [`put`] is its counterpart.
//!
//! ```no_run
//! let mut file = std::fs::File::create("a.bin")?;
//! let report = ftp_client::get("ftp://ftp.example.org/pub/a.bin", &mut file)?;
//! println!("{} bytes", report.bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A session
//!
//! For more than that, connect, log in, read, and ask whether that was all:
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
//! The end of the data is not success: in stream mode a cut line and a full disk look just like
//! it. [`Download::finish`] waits for the server's word, and is an error if that is 426, never
//! comes, or does not fit the number of bytes. An [`Upload`] ends in the same way.
//!
//! While a transfer runs it borrows the client, so that a second command does not compile. One
//! that is dropped early does no I/O; the next call cleans up after it.
//!
//! # Whole files
//!
//! [`Client::download_to`] gives a local file its name when it is whole, and goes on where an
//! earlier download was cut; [`Client::upload_from`] is its counterpart.
//!
//! ```no_run
//! use ftp_client::{FileOptions, RateLimit, Watch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! let mut watch = Watch::new().rate_limit(Some(RateLimit::new(1_000_000)));
//! let options = FileOptions::new().resume(true).preserve(true);
//! let done = client.download_to("pub/a.bin", "a.bin", options, &mut watch)?;
//! println!("{} bytes, {} of them from before", done.size, done.resumed);
//! # Ok(())
//! # }
//! ```
//!
//! # Resuming a download
//!
//! Where the bytes go elsewhere than to a file, [`Client::retrieve_rest`] begins after those that
//! are here, if the server can do so and its file is long enough:
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::{Seek, SeekFrom};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! let mut out = File::options().write(true).create(true).truncate(false).open("a.bin")?;
//! let mut rest = client.retrieve_rest("pub/a.bin", out.metadata()?.len(), None)?;
//! // At the end of what is here, or at 0 if that is of no use.
//! out.set_len(rest.offset())?;
//! out.seek(SeekFrom::End(0))?;
//! std::io::copy(&mut rest, &mut out)?;
//! rest.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! Where the line is cut often, [`Retry`] does all of it, as often as it takes: it connects and
//! logs in again, and goes on, in both directions, with one file after the other.
//!
//! ```no_run
//! use ftp_client::{Client, FileOptions, Retry, Watch};
//!
//! let mut queue = Retry::new(Client::builder(), "ftp.example.org").tries(10);
//! for name in ["a.bin", "b.bin"] {
//!     let path = format!("pub/{name}");
//!     let done = queue.download_to(path, name, FileOptions::new(), &mut Watch::new())?;
//!     println!("{name}: {} bytes in {} tries", done.size, done.tries);
//! }
//! queue.quit()?;
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! # A listing
//!
//! ```no_run
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! # client.login("anonymous", "guest@")?;
//! use ftp_client::{Escaped, Listed};
//!
//! for item in client.list("pub")? {
//!     match item? {
//!         Listed::Entry(entry) => println!("{} {:?}", entry.name_lossy(), entry.size),
//!         Listed::Unparsed(line) => println!("? {}", Escaped(&line)),
//!     }
//! }
//! # Ok::<(), ftp_client::Error>(())
//! ```
//!
//! [`Client::list`] asks for `MLSD`, which is exact, where the server has it, and else reads what
//! people were meant to read (`LIST`). It is an iterator that holds one line, and whose last item
//! is an error if the listing was cut; [`Entries::gather`] collects it. [`Client::walk`] goes
//! through a whole tree.
//!
//! # From server to server
//!
//! [`fxp::transfer`] has two servers copy a file between them. Both have to allow it.
//!
//! # When it goes wrong
//!
//! [`Error`] tells who has to act, [`Error::is_transient`] whether a second try makes sense.
//! Nothing waits for ever: [`Timeouts`] has a limit for each phase, and
//! [`overall`](ClientBuilder::overall) one for all of them.
//!
//! ```no_run
//! use std::time::Duration;
//! use ftp_client::{Client, Error, Timeouts};
//!
//! let timeouts = Timeouts { connect: Duration::from_secs(3), ..Timeouts::default() };
//! match Client::builder().timeouts(timeouts).connect("ftp.example.org") {
//!     Ok(client) => println!("{}", client.welcome()),
//!     Err(error) if error.is_transient() => println!("{error}; trying again later"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! The dialogue goes to the `log` facade, target `ftp_client::wire`, level debug: a record for
//! each line, `> ` sent, `< ` received, `= ` explained. Passwords are not in it.
//!
//! # Programs to begin with
//!
//! The directory `examples` of this crate has small programs, which the tests run: `download`,
//! `upload`, `resume`, `list` a tree, `active` mode behind a NAT, `fxp` from server to server,
//! `cancel` from another thread, `errors` and what to do about them, `progress`, a `queue` that
//! does not give up, a `proxy` by a [`Connector`], and `get_put`.
//!
//! # Trust
//!
//! A server decides neither where data connections go, to the host of the control connection and
//! not to a port below 1024 unless the [`ClientBuilder`] says otherwise, nor what is sent next: CR,
//! LF and NUL in an argument are refused before a byte is written. What it sends is bounded in
//! length and in time. The names in its listings are its own: ask [`Entry::is_safe_name`] before
//! one becomes part of a local path.

mod client;
mod config;
mod control;
mod data;
mod digest;
mod error;
mod file;
pub mod fxp;
mod listing;
mod net;
mod security;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;
mod trace;
mod transfer;
mod url_path;

pub use client::Client;
pub use client::builder::ClientBuilder;
pub use client::get_put::{IntoUrl, get, put};
pub use config::{Extended, Family, Mode, Timeouts};
pub use digest::{Digest, HashAlgorithm};
pub use error::{AnnouncedHost, DataAttempt, Error, ErrorKind, ListingCut, Phase};
pub use file::backoff::Backoff;
#[cfg(unix)]
pub use file::checksum::Checksum;
#[cfg(unix)]
pub use file::local::{Committed, LocalFile, part_of};
#[cfg(unix)]
pub use file::origin::Origin;
#[cfg(unix)]
pub use file::partial::{PartialFile, Salvage};
#[cfg(unix)]
pub use file::resume::{ResumeOptions, Resumed};
pub use file::retry::Retry;
#[cfg(unix)]
pub use file::upload::Uploaded;
pub use file::{FileOptions, FileReport, Verified};
pub use listing::{
    Entries, Lines, ListLimits, ListOptions, Listed, Listing, ListingForm, Skipped, Walk,
    WalkOptions, Walked,
};
pub use net::canceller::Canceller;
pub use net::connector::{Connector, Purpose, Target};
pub use net::transport::Transport;
/// The TLS library whose types [`Tls::crypto_provider`] and [`Tls::rustls_config`] take.
#[cfg(feature = "tls")]
pub use rustls;
pub use security::{CertificateFault, Tls, TlsError, TlsInfo, TlsVersion};
pub use transfer::{Download, Ended, RateLimit, Report, Source, Upload, Watch};
pub use url_path::{Entered, Place};

pub use ftp_proto::{
    AddressClass, AddressRule, ChosenHost, Entry, EntryKind, EpsvArgument, Escaped, Fact, FactType,
    Facts, Features, FtpUrl, HostReason, Modified, NetworkProtocol, OtherVerb, ParseError,
    ParseErrorKind, Pathname, Permissions, PortRanges, Precision, RawCommand, Reply, ReplyCode,
    RepresentationType, Role, Scheme, Severity, TimeVal, Verb, Zone,
};

/// What a program may hand to another thread.
const fn is_send<T: Send>() {}
const _: () = {
    is_send::<Client>();
    is_send::<Download<'_>>();
    is_send::<Upload<'_>>();
    is_send::<Error>();
    is_send::<Canceller>();
    is_send::<Retry>();
};
