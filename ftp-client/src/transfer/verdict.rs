//! What the client makes of a verdict on a transfer.

use std::time::Duration;

use ftp_proto::{Confirmation, Reply, Severity, TransferEvidence, TransferFault, Verb};

use crate::control::ControlConnection;
use crate::error::Error;

/// How long a server that has confirmed an upload may take to close the data connection. Some
/// keep it open; then its word has to do.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// Refused, unless the reply is 2yz.
pub(crate) fn accepted(verb: Verb, reply: &Reply) -> Result<(), Error> {
    match reply.code().severity() {
        Severity::Completion => Ok(()),
        _ => Err(Error::Refused(verb, reply.clone())),
    }
}

/// Judges the last reply to a transfer. The control connection is closed where the replies are out
/// of step, and must be silent after a reply that may be a stray before the real one.
pub(crate) fn confirm(
    control: &mut ControlConnection,
    evidence: TransferEvidence,
    reply: &Reply,
) -> Result<(), Error> {
    match evidence.with_reply(reply.code()).confirmation() {
        Ok(Confirmation::Certain) => Ok(()),
        Ok(Confirmation::Doubtful) => control.expect_silence(),
        Err(fault) => {
            if fault == TransferFault::OutOfStep {
                control.close();
            }
            Err(error_of(fault, evidence.verb, reply))
        }
    }
}

/// The error that a fault is, `reply` being the last one.
pub(super) fn error_of(fault: TransferFault, verb: Verb, reply: &Reply) -> Error {
    match fault {
        TransferFault::Refused => Error::Refused(verb, reply.clone()),
        TransferFault::Incomplete { bytes, announced } => Error::Incomplete { bytes, announced },
        _ => Error::Unexpected(verb, reply.clone()),
    }
}
