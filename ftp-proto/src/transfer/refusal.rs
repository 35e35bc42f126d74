//! Reads the reply to `EPSV` or `PASV`, and finds out why the command failed.

use super::passive::PassiveAddress;
use super::rules::DataRules;
use super::steps::SetupFault;
use crate::address::{EpsvArgument, ExtendedAddress, NetworkProtocol, NetworkProtocols};
use crate::command::Command;
use crate::reply::{Reply, ReplyCode, Severity};

/// Why `EPSV` or `PASV` failed.
pub(super) struct Refusal {
    pub(super) fault: SetupFault,
    /// Whether the server does not support the command, or its reply is unusable; after `EPSV`,
    /// `PASV` may then work.
    pub(super) is_unknown: bool,
    /// The argument with which `EPSV` may work; `None` if the server named none that fits.
    pub(super) wants_protocol: Option<NetworkProtocol>,
}

/// Reads the reply to `EPSV` or `PASV`.
pub(super) fn read(
    rules: &DataRules,
    command: &Command,
    reply: &Reply,
) -> Result<PassiveAddress, Refusal> {
    let may_name_it = *command == Command::Epsv(EpsvArgument::Default);
    let nameable = rules.peer.map(|peer| NetworkProtocol::of(peer.ip())).filter(|_| may_name_it);
    if reply.code().severity() != Severity::Completion {
        let usable = usable_protocols(reply).unwrap_or_default();
        return Err(Refusal {
            fault: SetupFault::Refused,
            is_unknown: is_unknown(reply),
            wants_protocol: nameable.filter(|protocol| usable.contains(*protocol)),
        });
    }
    let is_229 = reply.code() == ReplyCode::EXTENDED_PASSIVE;
    let named = ExtendedAddress::find_protocol(reply.text()).filter(|_| is_229);
    if nameable.is_some() && named.is_some() && named != nameable {
        let fault = SetupFault::OtherProtocol;
        return Err(Refusal { fault, is_unknown: true, wants_protocol: nameable });
    }
    PassiveAddress::find(reply, rules.peer, rules.passive_address).map_err(|error| Refusal {
        fault: SetupFault::Unreadable(error),
        is_unknown: true,
        wants_protocol: None,
    })
}

/// Returns whether the reply means that the server does not support the command or its argument.
pub(super) fn is_unknown(reply: &Reply) -> bool {
    [
        ReplyCode::UNKNOWN_COMMAND,
        ReplyCode::BAD_ARGUMENT,
        ReplyCode::NOT_IMPLEMENTED,
        ReplyCode::PROTOCOL_NOT_SUPPORTED,
    ]
    .contains(&reply.code())
}

/// Returns the protocols that a 522 reply lists; `None` without a list or for any other reply.
fn usable_protocols(reply: &Reply) -> Option<NetworkProtocols> {
    let is_522 = reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED;
    NetworkProtocols::find(reply.text()).filter(|_| is_522)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_mean_an_unknown_command_cl_21() {
        for (code, want) in
            [(500, true), (501, true), (502, true), (522, true), (503, false), (421, false)]
        {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), "");
            assert_eq!(is_unknown(&reply), want, "{code}");
        }
    }
}
