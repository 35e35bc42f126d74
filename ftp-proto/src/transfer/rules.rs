//! The client's rules for data connections, and what it remembers about the server.

use std::net::SocketAddr;

use super::range::FileRange;
use crate::address::{AddressRule, EpsvArgument, NetworkProtocol};
use crate::limits;
use crate::parameters::{RepresentationType, TransferMode};
use crate::restart::RestartMarker;
use crate::verb::Verb;

/// Which side opens data connections (RFC 959 §3.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Mode {
    /// The client connects to a port of the server: `EPSV`, else `PASV`. Works through firewalls
    /// and NAT on the client's side.
    #[default]
    Passive,
    /// The server connects to a port of the client: `EPRT`, else `PORT`.
    Active,
}

/// The choice between the data connection commands of RFC 2428 and those of RFC 959.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Extended {
    /// `EPSV` or `EPRT`, falling back to `PASV` or `PORT` over IPv4 if the server does not know
    /// them. The client also falls back if the reply to `EPSV` is unreadable, or if the port in
    /// that reply cannot be reached.
    #[default]
    Auto,
    /// Only `EPSV` or `EPRT`.
    Always,
    /// Only `PASV` or `PORT`.
    Never,
}

/// The client's rules for data connections.
///
/// ```
/// use ftp_proto::{DataRules, Extended, Mode};
///
/// let mut rules = DataRules::default();
/// rules.mode = Mode::Active;
/// rules.eprt = Extended::Never;
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DataRules {
    /// Which side opens data connections (default: passive).
    pub mode: Mode,
    /// The choice between `EPSV` and `PASV`.
    pub epsv: Extended,
    /// The choice between `EPRT` and `PORT`.
    pub eprt: Extended,
    /// Whether `EPSV ALL` is sent before the first `EPSV` (RFC 2428 §4).
    pub epsv_all: bool,
    /// How the host in a 227 reply is used.
    pub passive_address: AddressRule,
    /// Whether the commands of a download or listing, such as `TYPE`, `EPSV` and `RETR`, are sent
    /// in one write. If a reply is not as expected, they are sent again one by one.
    pub pipeline: bool,
    /// The server's address on the control connection. If it is `None`, an IPv4 address is assumed,
    /// and only the ports in replies are used.
    pub peer: Option<SocketAddr>,
}

impl DataRules {
    /// Returns whether `PASV` and `PORT` can be used: they carry IPv4 addresses only.
    pub(super) fn is_ipv4(&self) -> bool {
        self.peer.is_none_or(|peer| peer.ip().to_canonical().is_ipv4())
    }

    /// Returns whether `PASV` may replace `EPSV`, or `PORT` may replace `EPRT`.
    pub(super) fn may_fall_back(&self) -> bool {
        let extended = match self.mode {
            Mode::Passive => self.epsv,
            Mode::Active => self.eprt,
        };
        extended == Extended::Auto && self.is_ipv4()
    }

    /// Returns the command that sets up the next data connection: `EPSV`, `PASV`, `EPRT` or `PORT`.
    pub(super) fn way(&self, server: &ServerState) -> Verb {
        match self.mode {
            Mode::Passive => choose(self.epsv, server.no_epsv, Verb::Epsv, Verb::Pasv),
            Mode::Active => choose(self.eprt, server.no_eprt, Verb::Eprt, Verb::Port),
        }
    }
}

fn choose(extended: Extended, is_known_to_fail: bool, of_2428: Verb, of_959: Verb) -> Verb {
    match extended {
        Extended::Always => of_2428,
        Extended::Never => of_959,
        Extended::Auto if is_known_to_fail => of_959,
        Extended::Auto => of_2428,
    }
}

/// Facts about the server that a client keeps between transfers: the state of the session, and
/// which commands work or fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerState {
    /// The type in force; `None` if unknown.
    pub representation: Option<RepresentationType>,
    /// The mode in force.
    pub mode: TransferMode,
    /// Whether the server refused mode Z or does not offer it; if so, mode S is used instead.
    pub no_deflate: bool,
    /// Whether the server refused mode B or does not offer it; if so, mode S is used instead.
    pub no_blocks: bool,
    /// Whether the data connection of the last transfer in mode B is still open. If so, the next
    /// transfer in that mode uses it.
    pub is_data_open: bool,
    /// Whether the server requires `PRET` before `EPSV` or `PASV`.
    pub pret: bool,
    /// The part of a file that is in force for the next transfer.
    pub range: FileRange,
    /// Whether `EPSV` does not work here: it was refused, its reply was unreadable, or only the
    /// port of `PASV` could be reached.
    pub no_epsv: bool,
    /// Whether the server refused `EPRT`.
    pub no_eprt: bool,
    /// The protocol that the server wants as the argument of `EPSV`; `None` for no argument.
    pub epsv_protocol: Option<NetworkProtocol>,
    /// Whether the server accepted `EPSV ALL`.
    pub epsv_all: bool,
}

impl ServerState {
    /// Records that the server accepted a `REST` or `RANG` that did not come from
    /// [`RangeSetup`](crate::RangeSetup). The next transfer then selects its part again. Other
    /// verbs change nothing.
    pub const fn forget_range(&mut self, by: Verb) {
        self.range = match by {
            Verb::Rest => FileRange::From(RestartMarker::HIGHEST),
            Verb::Rang => FileRange::Between { first: limits::RESTART_MARKER, last: 0 },
            _ => self.range,
        };
    }

    /// Returns the argument for `EPSV`.
    pub(super) fn epsv_argument(&self) -> EpsvArgument {
        self.epsv_protocol.map_or(EpsvArgument::Default, EpsvArgument::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_and_earlier_failure_choose_the_data_command_cl_20() {
        for (extended, failed, want) in [
            (Extended::Auto, false, Verb::Epsv),
            (Extended::Auto, true, Verb::Pasv),
            (Extended::Always, true, Verb::Epsv),
            (Extended::Never, false, Verb::Pasv),
        ] {
            assert_eq!(
                choose(extended, failed, Verb::Epsv, Verb::Pasv),
                want,
                "{extended:?} {failed}"
            );
        }
    }
}
