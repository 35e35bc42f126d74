//! Transfers of whole files, with resume, checks and retries: what the options and results of
//! [`Get`](crate::Get), [`Put`](crate::Put) and [`Relay`] say.
//!
//! A job keeps the memory of its attempts, so that each begins after the bytes that are proved to be
//! right:
//!
//! ```no_run
//! use ftp_client::file::{StoreAs, TemporaryName};
//! use ftp_client::{Client, FileOptions, Place, Put};
//!
//! let mut client = Client::builder().connect("ftp.example.org")?;
//! client.login("me", "secret")?;
//! let options = FileOptions::new();
//! let mut job = Put::from_path("a.bin", Place::at("in/a.bin"), &options)
//!     .store_as(StoreAs::Under(TemporaryName::standard()));
//! let done = job.attempt(&mut client, &())?;
//! println!("{} bytes, verified: {}", done.bytes, done.verified.as_str());
//! # Ok::<(), ftp_client::Error>(())
//! ```

mod apart;
pub(crate) mod begin;
pub(crate) mod checksum;
pub(crate) mod evidence;
pub(crate) mod get;
mod identity;
pub(crate) mod journal;
pub(crate) mod local;
mod moving;
pub(crate) mod options;
pub(crate) mod partial;
pub(crate) mod pieces;
pub(crate) mod put;
mod receive;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod replaced;
pub(crate) mod retry;
pub(crate) mod segments;
mod small;
mod take;
pub(crate) mod targets;
pub(crate) mod temporary;

pub use checksum::Checksum;
pub(crate) use options::Done;
pub use options::{Existing, Left, SkipReason};
pub use put::StoreAs;
pub use relay::Relay;
pub use targets::Targets;
pub use temporary::TemporaryName;

pub use crate::digest::{Digest, HashAlgorithm};
pub use crate::error::fxp::Side;
pub use crate::event::{Note, Verify, Why};
#[cfg(windows)]
pub use crate::system::{OsStrExt, OsStringExt};
