//! Transfers of one local file, with resume, checks and retries.

pub(crate) mod begin;
pub(crate) mod checksum;
pub(crate) mod evidence;
pub(crate) mod get;
pub(crate) mod growing;
pub(crate) mod journal;
pub(crate) mod local;
mod moving;
pub(crate) mod options;
pub(crate) mod origin;
mod part;
pub(crate) mod partial;
pub(crate) mod pieces;
pub(crate) mod put;
mod receive;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod retry;
pub(crate) mod segments;
pub(crate) mod selection;
mod small;
mod take;
pub(crate) mod targets;
mod temporary;
pub(crate) mod verify;

pub use options::Done;
