//! Aborting a transfer: `ABOR`, and counting replies until none is outstanding (RFC 959 §4.1.3).

use std::time::Duration;

use ftp_proto::{ReplyCode, Severity};

use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::trace;

/// The time for all replies to an abort. A server that ignores the control connection during a
/// transfer notices the closed data connection instead. If it notices neither, closing the
/// connection is better than a longer wait.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the server may be silent before it is asked by `NOOP`. It is longer than a good-bye
/// after a cancel, so that no `NOOP` is sent then.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Stops the outstanding transfer and closes `data`. Afterwards no reply is outstanding on the
/// control connection, or it is closed.
///
/// Servers send one last reply to the transfer and one to `ABOR`: 426 and 226, 226 and 225, or 226
/// twice. So two are awaited, whatever their codes. Pure-FTPd answers neither if the end of the
/// transfer and `ABOR` cross. Therefore a silent server gets `NOOP`: all pending replies come
/// before the 200 to that, which answers neither of the two.
pub(crate) fn resync(control: &mut ControlConnection, data: Option<Stream>) -> Result<(), Error> {
    let deadline = control.reply_deadline().or(Some(control.deadline(LIMIT, Phase::Reply)));
    // A transfer that has already ended, as short downloads often have, needs no ABOR.
    while control.is_outstanding() && control.poll_reply()?.is_some() {
        // A server may send 1xx without end.
        control.go_on_or_close(deadline)?;
    }
    if !control.is_outstanding() {
        return Ok(());
    }
    trace::note(format_args!("the transfer was left before its end: aborting it"));
    control.send_abort(deadline)?;
    drop(data);
    let mut owed = 2;
    while owed > 0 {
        let patience = control.deadline(PATIENCE, Phase::Reply).or(Some(deadline));
        let Some(reply) = control.any_reply_in(patience)? else {
            control.send_noop(deadline)?;
            while control.any_reply(deadline)?.code() != ReplyCode::OKAY {}
            break;
        };
        if reply.code().severity() != Severity::Preliminary {
            owed -= 1;
        }
    }
    control.settled();
    Ok(())
}
