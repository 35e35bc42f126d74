//! Aborting a transfer: `ABOR`, and counting replies until none is outstanding (RFC 959 §4.1.3).

use std::time::Duration;

use ftp_proto::{AbortStep, TransferAbort};

use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::trace;

/// The time for all replies to an abort. A server that ignores the control connection during a
/// transfer notices the closed data connection instead. If it notices neither, closing the control
/// connection is better than a longer wait.
const LIMIT: Duration = Duration::from_secs(10);

/// The time without a reply after which the client sends `NOOP`. After a cancel, the closing
/// dialogue ends earlier, so no `NOOP` is sent.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Stops the outstanding transfer and closes `data`. Afterwards, the control connection either is
/// closed or has no outstanding replies. [`TransferAbort`] counts the replies.
pub(crate) fn resync(control: &mut ControlConnection, data: Option<Stream>) -> Result<(), Error> {
    let deadline = control.reply_deadline().or(Some(control.deadline(LIMIT, Phase::Reply(None))));
    // A transfer that has already ended, as short downloads often have, needs no ABOR.
    while control.is_outstanding() && control.poll_reply()?.is_some() {
        // A server may send 1xx without end.
        control.go_on_or_close(deadline)?;
    }
    if !control.is_outstanding() {
        return Ok(());
    }
    trace::note(format_args!("aborting the unfinished transfer"));
    control.send_abort(deadline)?;
    drop(data);
    let mut abort = TransferAbort::new();
    loop {
        match abort.step() {
            AbortStep::AwaitReply => {
                let patience = control.deadline(PATIENCE, Phase::Reply(None)).or(Some(deadline));
                match control.any_reply_in(patience)? {
                    Some(reply) => abort.reply(&reply),
                    None => {
                        control.send_noop(deadline)?;
                        abort.asked();
                    }
                }
            }
            AbortStep::AwaitNoop => abort.reply(&control.any_reply(deadline)?),
            _ => break,
        }
    }
    control.settled();
    Ok(())
}
