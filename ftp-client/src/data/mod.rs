//! Data connections: opening one in passive or active mode (RFC 959 §3.2). ftp-proto's
//! `TransferSetup` decides which commands are sent for it.

pub(crate) mod active;
mod opening;
pub(crate) mod passive;

pub(crate) use opening::{Advance, Agreed, Opening, Prepared};
