//! The replies to `ABOR` (RFC 959 §4.1.3).

use crate::reply::{Reply, ReplyCode, Severity};

/// The outstanding replies after `ABOR` was sent during a transfer.
///
/// A server sends one final reply to the transfer and one to `ABOR`: 426 and 226, 226 and 225, or
/// 226 twice. The client therefore waits for two replies, whatever their codes. If the transfer
/// ends while `ABOR` is on its way, Pure-FTPd answers neither the transfer command nor `ABOR`. If
/// the server stays silent, the client sends `NOOP`: any pending replies come before the 200 to
/// `NOOP`.
///
/// ```
/// use ftp_proto::{AbortStep, Reply, ReplyCode, TransferAbort};
///
/// let mut abort = TransferAbort::new();
/// abort.reply(&Reply::new(ReplyCode::TRANSFER_ABORTED, "Transfer aborted."));
/// assert_eq!(abort.step(), AbortStep::AwaitReply);
/// abort.reply(&Reply::new(ReplyCode::TRANSFER_COMPLETE, "Abort successful."));
/// assert_eq!(abort.step(), AbortStep::Done);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TransferAbort {
    step: AbortStep,
    owed: u8,
}

/// The client's next step after it sent `ABOR`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AbortStep {
    /// Wait for a reply. If none comes in time, send `NOOP` and call
    /// [`asked`](TransferAbort::asked).
    AwaitReply,
    /// Wait for the reply to `NOOP`.
    AwaitNoop,
    /// Send the next command: no reply is outstanding.
    Done,
    /// Close the connection, as the server does after a 421.
    Close,
}

impl Default for TransferAbort {
    fn default() -> Self {
        Self::new()
    }
}

impl TransferAbort {
    /// Returns the state right after `ABOR` was sent during a transfer.
    pub const fn new() -> Self {
        Self { step: AbortStep::AwaitReply, owed: 2 }
    }

    /// Counts a reply.
    pub fn reply(&mut self, reply: &Reply) {
        let code = reply.code();
        match self.step {
            _ if code == ReplyCode::SERVICE_CLOSING => self.step = AbortStep::Close,
            AbortStep::AwaitReply if code.severity() != Severity::Preliminary => {
                self.owed -= 1;
                if self.owed == 0 {
                    self.step = AbortStep::Done;
                }
            }
            AbortStep::AwaitNoop if code == ReplyCode::OKAY => self.step = AbortStep::Done,
            _ => {}
        }
    }

    /// Records that `NOOP` was sent, because no reply arrived.
    pub const fn asked(&mut self) {
        self.step = AbortStep::AwaitNoop;
    }

    /// Returns the client's next step.
    #[must_use]
    pub const fn step(&self) -> AbortStep {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AbortStep::{AwaitNoop, AwaitReply, Close, Done};

    /// Returns the step after each of these replies; 0 is silence.
    fn play(codes: &[u16]) -> Vec<AbortStep> {
        let mut abort = TransferAbort::new();
        let hear = |code: &u16| {
            match ReplyCode::new(*code) {
                Some(code) => abort.reply(&Reply::new(code, "text")),
                None => abort.asked(),
            }
            abort.step()
        };
        codes.iter().map(hear).collect()
    }

    #[test]
    fn an_abort_expects_two_replies_whatever_their_codes() {
        for codes in [[426, 226], [226, 226], [226, 225], [425, 225], [550, 500], [426, 502]] {
            assert_eq!(play(&codes), [AwaitReply, Done], "{codes:?}");
        }
        assert_eq!(play(&[150, 426, 150, 226]), [AwaitReply, AwaitReply, AwaitReply, Done]);
    }

    #[test]
    fn noop_is_sent_if_an_abort_reply_is_missing() {
        // After a 226 or 225 alone, the client cannot know which of the two commands it answers.
        assert_eq!(play(&[226, 0, 200]), [AwaitReply, AwaitNoop, Done]);
        assert_eq!(play(&[225, 0, 200]), [AwaitReply, AwaitNoop, Done]);
        assert_eq!(play(&[0, 200]), [AwaitNoop, Done]);
        // The pending replies come before the 200.
        let late = [AwaitNoop, AwaitNoop, AwaitNoop, Done];
        assert_eq!(play(&[0, 426, 226, 200]), late);
    }

    #[test]
    fn a_421_ends_an_abort_at_any_point() {
        for codes in [&[421][..], &[426, 421], &[0, 421]] {
            assert_eq!(play(codes).last(), Some(&Close), "{codes:?}");
        }
    }
}
