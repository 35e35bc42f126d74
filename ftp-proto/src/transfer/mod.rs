//! The client's side of a transfer, without its sockets: the commands before it, its beginning, the
//! verdict on it, and its abort. Each type takes the client's observations and returns the next
//! step or a verdict.

mod abort;
#[cfg(test)]
mod dialogues;
mod length;
mod passive;
mod range;
mod refusal;
mod rules;
mod setup;
mod start;
mod steps;
mod verdict;

pub use abort::{AbortStep, TransferAbort};
pub use length::TransferLength;
pub use passive::PassiveAddress;
pub use range::{FileRange, RangeSetup};
pub use rules::{DataRules, Extended, Mode, ServerState};
pub use setup::{TransferSetup, wants_announcement};
pub use start::{StartStep, TransferStart};
pub use steps::{SetupEvent, SetupFault, SetupStep};
pub use verdict::{Confirmation, DataEnd, TransferEvidence, TransferFault};
