//! The client's side of a transfer, without its sockets: the commands before it, its beginning, the
//! verdict on it, and its abort. Each type takes the client's observations and returns the next
//! step or a verdict.

mod abort;
#[cfg(test)]
mod dialogues;
mod rules;
mod setup;
mod verdict;

pub use abort::{AbortStep, TransferAbort};
pub use rules::{
    DataRules, Extended, FileRange, Mode, PassiveAddress, RangeSetup, ServerState, SetupEvent,
    SetupFault, SetupStep,
};
pub use setup::{TransferSetup, wants_announcement};
pub use verdict::{
    Confirmation, DataEnd, StartStep, TransferEvidence, TransferFault, TransferLength,
    TransferStart,
};
