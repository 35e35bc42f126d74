//! The choice among the four commands that set up a data connection, by what the server supports.

use ftp_proto::{NetworkProtocol, NetworkProtocols, Reply, ReplyCode, Verb};

use crate::config::Extended;
use crate::control::ControlConnection;
use crate::error::{DataAttempt, Error};
use crate::trace;

/// What is known about the server's commands for data connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DataModes {
    /// `EPSV` does not work here: it was refused or unreadable, or only the port of `PASV` could be
    /// reached.
    pub(crate) no_epsv: bool,
    /// `EPRT` was refused.
    pub(crate) no_eprt: bool,
    /// The server wants a protocol argument with `EPSV`.
    pub(crate) epsv_protocol: Option<NetworkProtocol>,
    /// The server accepted `EPSV ALL`.
    pub(crate) all_said: bool,
}

/// Returns which of a pair to use now: the command of RFC 2428 or that of RFC 959.
pub(super) fn choose(extended: Extended, known_not_to_work: bool, pair: (Verb, Verb)) -> Verb {
    match extended {
        Extended::Always => pair.0,
        Extended::Never => pair.1,
        Extended::Auto if known_not_to_work => pair.1,
        Extended::Auto => pair.0,
    }
}

/// Returns whether the command of RFC 959 may replace that of RFC 2428.
pub(crate) fn may_fall_back(extended: Extended, control: &ControlConnection) -> bool {
    extended == Extended::Auto && is_ipv4(control)
}

/// Returns whether `PASV` and `PORT` can be used: they carry IPv4 addresses only. A connector
/// decides for itself what to make of them.
pub(super) fn is_ipv4(control: &ControlConnection) -> bool {
    control.addresses().is_none_or(|(_, peer)| peer.ip().to_canonical().is_ipv4())
}

/// Returns whether a reply says that the server does not know a command of RFC 2428.
pub(super) fn is_unknown(reply: &Reply) -> bool {
    [
        ReplyCode::UNKNOWN_COMMAND,
        ReplyCode::BAD_ARGUMENT,
        ReplyCode::NOT_IMPLEMENTED,
        ReplyCode::PROTOCOL_NOT_SUPPORTED,
    ]
    .contains(&reply.code())
}

/// Returns the list in a 522 reply. `None` for another reply, and for one without a list.
pub(super) fn usable_protocols(reply: &Reply) -> Option<NetworkProtocols> {
    let is_522 = reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED;
    let list = NetworkProtocols::find(reply.text()).filter(|_| is_522)?;
    trace::note(format_args!(
        "522: the server says that it can use {}",
        match (list.ipv4, list.ipv6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "nothing that is known here",
        }
    ));
    Some(list)
}

/// Ends the search for a data connection: with the one refusal that is not about data connections,
/// or with all attempts.
pub(super) fn give_up(attempts: &mut Vec<DataAttempt>) -> Error {
    match attempts.pop() {
        Some(last) if last.error.is_not_logged_in() => last.error,
        last => {
            attempts.extend(last);
            Error::DataConnection(std::mem::take(attempts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_cl_20() {
        let pair = (Verb::Epsv, Verb::Pasv);
        for (extended, failed, want) in [
            (Extended::Auto, false, Verb::Epsv),
            (Extended::Auto, true, Verb::Pasv),
            (Extended::Always, true, Verb::Epsv),
            (Extended::Never, false, Verb::Pasv),
        ] {
            assert_eq!(choose(extended, failed, pair), want, "{extended:?} {failed}");
        }
    }

    #[test]
    fn what_means_unknown_cl_21() {
        for (code, want) in
            [(500, true), (501, true), (502, true), (522, true), (503, false), (421, false)]
        {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), "");
            assert_eq!(is_unknown(&reply), want, "{code}");
        }
    }
}
