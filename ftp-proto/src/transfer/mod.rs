//! What a client does about a transfer, without its sockets: how it begins, and whether it was a
//! success. What the client saw goes in; the next step, or a verdict, comes out.

mod length;
mod start;
mod verdict;

pub use length::TransferLength;
pub use start::{StartStep, TransferStart};
pub use verdict::{Confirmation, DataEnd, TransferEvidence, TransferFault};
