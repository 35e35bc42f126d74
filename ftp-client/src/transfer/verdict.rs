//! What the replies to a transfer say of it (RFC 959 §5.4 and §6).

use std::time::Duration;

use ftp_proto::{Reply, ReplyCode, Severity, Verb};

use crate::error::Error;

/// How long a server that has confirmed an upload may take to close the data connection. Some
/// keep it open; then its word has to do.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// Whether a verb sends data to the server.
pub(super) const fn is_upload(verb: Verb) -> bool {
    matches!(verb, Verb::Stor | Verb::Appe | Verb::Stou)
}

/// Whether a verb uses a data connection.
pub(crate) const fn uses_data(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Appe | Verb::List | Verb::Mlsd | Verb::Nlst | Verb::Retr | Verb::Stor | Verb::Stou
    )
}

/// Whether a reply says that a transfer is over, rather than that anything is (RFC 959 §5.4).
pub(crate) fn is_end_of_transfer(reply: &Reply) -> bool {
    [ReplyCode::TRANSFER_COMPLETE, ReplyCode::FILE_ACTION_OKAY].contains(&reply.code())
}

/// Refused, unless the reply is 2yz.
pub(crate) fn accepted(verb: Verb, reply: &Reply) -> Result<(), Error> {
    match reply.code().severity() {
        Severity::Completion => Ok(()),
        _ => Err(Error::Refused(verb, reply.clone())),
    }
}

/// Whether a 2yz is the answer to some other command: a greeting, a status, a login, an address, a
/// directory. Where one of those ends a transfer, the replies are out of step.
pub(crate) const fn answers_something_else(reply: &Reply) -> bool {
    matches!(reply.code().value(), 210..=219 | 220 | 221 | 227..=229 | 230..=239 | 257)
}
