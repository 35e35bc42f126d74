//! Hosts, ports and networks in commands, replies and settings.

mod class;
mod extended_address;
mod host_name;
mod host_port;
mod network;
mod port_ranges;
mod protocol;
mod proxy_header;
mod rule;

pub use class::AddressClass;
pub use extended_address::ExtendedAddress;
pub use host_name::HostName;
pub use host_port::HostPort;
pub use network::Network;
pub use port_ranges::PortRanges;
pub use protocol::{EpsvArgument, NetworkProtocol, NetworkProtocols};
pub use proxy_header::{ProxyHeader, ProxyProgress};
pub use rule::{AddressRule, ChosenHost, HostReason};
