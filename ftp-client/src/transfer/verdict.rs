//! Conversion of a verdict on a transfer into a result.

use std::time::Duration;

use ftp_proto::{Confirmation, Reply, Severity, TransferEvidence, TransferFault, Verb};

use crate::control::ControlConnection;
use crate::error::Error;

/// The longest time to wait for the server to end the data connection. Some servers keep it open;
/// the final reply alone then decides whether the transfer succeeded.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// Returns [`Error::Refused`] unless the reply is 2xx.
pub(crate) fn accepted(verb: Verb, reply: &Reply) -> Result<(), Error> {
    match reply.code().severity() {
        Severity::Completion => Ok(()),
        _ => Err(Error::Refused(verb, reply.clone())),
    }
}

/// Fails unless the final reply confirms a transfer. Closes the control connection if the replies
/// are out of step. Fails if the reply may belong to another command and more bytes follow it.
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

/// Returns the error for a fault; `reply` is the final reply.
pub(super) fn error_of(fault: TransferFault, verb: Verb, reply: &Reply) -> Error {
    match fault {
        TransferFault::Refused => Error::Refused(verb, reply.clone()),
        TransferFault::Incomplete { bytes, announced } => Error::Incomplete { bytes, announced },
        _ => Error::Unexpected(verb, reply.clone()),
    }
}
