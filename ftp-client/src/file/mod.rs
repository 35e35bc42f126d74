//! Transfers of one local file, with resume, checks and retries.

#[cfg(unix)]
pub(crate) mod begin;
#[cfg(unix)]
pub(crate) mod checksum;
#[cfg(unix)]
mod download;
pub(crate) mod evidence;
#[cfg(unix)]
pub(crate) mod get;
#[cfg(unix)]
pub(crate) mod growing;
#[cfg(unix)]
pub(crate) mod journal;
#[cfg(unix)]
pub(crate) mod local;
#[cfg(unix)]
mod moving;
pub(crate) mod options;
#[cfg(unix)]
pub(crate) mod origin;
#[cfg(unix)]
mod part;
#[cfg(unix)]
pub(crate) mod partial;
#[cfg(unix)]
pub(crate) mod pieces;
#[cfg(unix)]
pub(crate) mod put;
#[cfg(unix)]
mod receive;
#[cfg(unix)]
pub(crate) mod record;
#[cfg(unix)]
pub(crate) mod relay;
pub(crate) mod retry;
#[cfg(unix)]
pub(crate) mod segments;
#[cfg(unix)]
pub(crate) mod selection;
#[cfg(unix)]
mod small;
#[cfg(unix)]
mod take;
#[cfg(unix)]
pub(crate) mod targets;
#[cfg(unix)]
pub(crate) mod upload;
#[cfg(unix)]
pub(crate) mod verify;

pub use options::{Done, Verified};
