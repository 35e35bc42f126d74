//! Sockets: connecting, and all waiting.

pub(crate) mod connect;
pub(crate) mod proxy;
pub(crate) mod stream;
pub(crate) mod wait;
