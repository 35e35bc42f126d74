//! Connections of your own: a [`Connector`] opens each connection of a client in place of a TCP
//! connection, for example through a tunnel ([`ClientBuilder::connector`](crate::ClientBuilder::connector)).

pub(crate) mod connect;
pub(crate) mod proxy;
pub(crate) mod stream;
pub(crate) mod wait;

pub use stream::{Connector, Target};
pub use wait::Transport;
