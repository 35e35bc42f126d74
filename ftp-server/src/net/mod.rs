//! Connections before they are sessions: who may connect, how often, and how sockets are set up.

pub(crate) mod admission;
pub(crate) mod ban;
pub(crate) mod complaints;
pub(crate) mod listener;
pub(crate) mod random;
pub(crate) mod socket;
