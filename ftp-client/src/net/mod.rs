//! Sockets: connecting, and all waiting.

pub(crate) mod canceller;
pub(crate) mod connect;
pub(crate) mod connector;
pub(crate) mod proxy;
pub(crate) mod stream;
pub(crate) mod transport;
pub(crate) mod wait;
