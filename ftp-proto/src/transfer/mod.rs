//! When a transfer was a success: what its client saw of it goes in, a verdict comes out.

mod length;
mod verdict;

pub use length::TransferLength;
pub use verdict::{Confirmation, DataEnd, TransferEvidence, TransferFault};
