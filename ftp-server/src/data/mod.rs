//! Data connections: opening them, and moving bytes over them.

pub(crate) mod announce;
mod block;
mod buffers;
mod deflate;
mod opening;
mod outgoing;
mod ports;
mod pump;
mod wait;

pub(crate) use announce::Announcer;
pub(crate) use block::{BlockOutgoing, Blocks, DataConnection, DataFault, IdleConnection};
pub(crate) use buffers::Buffers;
pub(crate) use deflate::{DeflateOutgoing, Deflating, Encoding, Inflating};
pub(crate) use opening::{DataChannel, DataPeer};
pub(crate) use outgoing::{AsciiOutgoing, ImageOutgoing, ListingOutgoing, Outgoing};
pub(crate) use ports::PassivePorts;
pub(crate) use pump::{PumpEnd, PumpLimits, receive, send};
pub(crate) use wait::{Interruption, Monitor, OpenError, pause};
