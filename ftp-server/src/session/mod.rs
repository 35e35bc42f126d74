//! A session: the state RFC 959 §4.1 speaks of, and what its commands lead to.

mod outcome;
mod state;

pub(crate) use outcome::{Outcome, Payload, PreparedTransfer, Work, Working};
pub(crate) use state::{Access, Session, User};
