//! Stopping a transfer: `ABOR`, and counting replies until nothing is owed (RFC 959 §4.1.3).

use std::time::Duration;

use ftp_proto::{ReplyCode, Severity};

use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::trace;

/// How long the replies to an abort may take together. Servers that do not look at the control
/// connection during a transfer notice the closed data connection instead; one that does neither
/// is not worth a longer wait, since closing the connection does as well.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the server may be silent before it is asked whether it has said all. Longer than a
/// good-bye after a cancel takes, so that nothing more is asked then.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Stops the outstanding transfer and closes `data`. Afterwards nothing is owed on the control
/// connection, or it is closed.
///
/// Servers answer with one last reply to the transfer and one to `ABOR`, 426 and 226, 226 and
/// 225, or 226 twice, so two are awaited, whatever they say. Pure-FTPd answers neither the
/// transfer nor `ABOR` if they cross. So a silent server is asked by `NOOP`: whatever it still had
/// to say comes before the 200 to that, which answers neither of the two.
pub(crate) fn resync(control: &mut ControlConnection, data: Option<Stream>) -> Result<(), Error> {
    let deadline = control.reply_deadline().or(Some(control.deadline(LIMIT, Phase::Reply)));
    // A transfer that is over already, as a short download soon is, needs no ABOR.
    while control.is_outstanding() && control.poll_reply()?.is_some() {
        // There may be no end of 1yz.
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
