//! Hosts, ports and networks in commands, replies and settings.

mod extended;

mod host_name;
mod host_port;
mod network;
mod port_ranges;
mod proxy_header;
mod rule;

pub use extended::{EpsvArgument, ExtendedAddress, NetworkProtocol, NetworkProtocols};
pub use host_name::HostName;
pub use host_port::HostPort;
pub use network::Network;
pub use port_ranges::PortRanges;
pub use proxy_header::{ProxyHeader, ProxyProgress};
pub use rule::{AddressClass, AddressRule, ChosenHost, HostReason};
