//! How a transfer ends (RFC 959 §5.4 and §6): by the server's confirmation after the last byte, or by an
//! abort before that. [`resync`] aborts: it sends `ABOR`, and counts replies until none is outstanding
//! (RFC 959 §4.1.3).

use std::time::Duration;

use ftp_proto::{
    AbortStep, Confirmation, Reply, TransferAbort, TransferEvidence, TransferFault, Verb,
};

use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::Stream;
use crate::trace;

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
        Err(fault) => Err(faulted(control, fault, evidence.verb, reply)),
    }
}

/// Returns the error for a fault, as [`error_of`] does. Closes the control connection if the replies
/// are out of step.
pub(super) fn faulted(
    control: &mut ControlConnection,
    fault: TransferFault,
    verb: Verb,
    reply: &Reply,
) -> Error {
    if fault == TransferFault::OutOfStep {
        control.close();
    }
    error_of(fault, verb, reply)
}

/// Returns the error for a fault; `reply` is the final reply.
pub(super) fn error_of(fault: TransferFault, verb: Verb, reply: &Reply) -> Error {
    match fault {
        TransferFault::Refused => Error::Refused { verb, reply: reply.clone() },
        TransferFault::Incomplete { bytes, announced } => Error::Incomplete { bytes, announced },
        _ => Error::Unexpected { verb, reply: reply.clone() },
    }
}

/// The time for all replies to an abort. A server that ignores the control connection during a
/// transfer notices the closed data connection instead. If it notices neither, closing the control
/// connection is better than a longer wait.
const ABORT: Duration = Duration::from_secs(10);

/// The time without a reply after which the client sends `NOOP`. After a cancel, the closing
/// dialogue ends earlier, so no `NOOP` is sent.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Stops the outstanding transfer and closes `data`. Afterwards, the control connection either is
/// closed or has no outstanding replies. [`TransferAbort`] counts the replies.
pub(crate) fn resync(control: &mut ControlConnection, data: Option<Stream>) -> Result<(), Error> {
    let deadline = control.reply_deadline().or(Some(control.deadline(ABORT, Phase::Reply(None))));
    // A transfer that has already ended, as short downloads often have, needs no ABOR.
    while control.is_outstanding() && control.poll_reply()?.is_some() {
        // A server may send 1xx without end.
        control.go_on_or_close(deadline)?;
    }
    if !control.is_outstanding() {
        return Ok(());
    }
    if !control.following.is_empty() {
        // Nothing tells the replies to these commands from those to ABOR.
        control.close();
        return Err(Error::Closed);
    }
    trace::note(format_args!("aborting the unfinished transfer"));
    control.send_abort(deadline)?;
    drop(data);
    let mut abort = TransferAbort::new();
    loop {
        match abort.step() {
            AbortStep::AwaitReply => {
                let patience = control.deadline(SILENCE, Phase::Reply(None)).or(Some(deadline));
                match control.any_reply_in(patience)? {
                    Some(reply) => abort.reply(&reply),
                    None => {
                        control.send_noop(deadline)?;
                        abort.asked();
                    }
                }
            }
            AbortStep::AwaitNoop => abort.reply(&control.read_reply(deadline)?),
            _ => break,
        }
    }
    control.settled();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use ftp_proto::{Command, Verb};

    use super::*;
    use crate::client::Client;

    #[test]
    fn a_transfer_before_other_commands_is_not_aborted_but_its_connection_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut control, _) = listener.accept().unwrap();
            control.write_all(b"220 ready\r\n").unwrap();
            let mut seen = String::new();
            control.read_to_string(&mut seen).unwrap();
            seen
        });
        let mut client = Client::builder().connect(&address.to_string()).unwrap();
        let control = &mut client.control;
        let deadline = control.reply_deadline();
        control.send(Verb::Retr, b"RETR a\r\n", deadline).unwrap();
        control.send_more(&[Command::Noop], deadline).unwrap();
        assert!(matches!(resync(control, None), Err(Error::Closed)));
        assert_eq!(server.join().unwrap(), "RETR a\r\nNOOP\r\n");
    }
}
