//! Connections before they become sessions: limits, bans and socket options.

pub(crate) mod admission;
pub(crate) mod arrival;
pub(crate) mod balancer;
pub(crate) mod ban;
pub(crate) mod complaints;
pub(crate) mod listener;
pub(crate) mod random;
pub(crate) mod socket;
