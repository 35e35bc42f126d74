//! A session: its state (RFC 959 §4.1), and the outcomes of its commands.

mod outcome;
mod permissions;
mod state;

pub(crate) use outcome::{Outcome, Payload, Place, PreparedTransfer, Work, Working};
pub(crate) use state::{Access, Session, TransferState, User};
