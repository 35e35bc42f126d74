//! Decides whether a transfer succeeded, from its replies, the end of its data and its length (RFC
//! 959 §5.4 and §6, and the practice of servers).

use super::length::TransferLength;
use crate::reply::{ReplyCode, Severity};
use crate::verb::Verb;

/// How the data connection of a transfer ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DataEnd {
    /// The server ended the transfer without a data connection.
    Missing,
    /// It has not ended yet.
    Open,
    /// It was closed; under TLS, `close_notify` came first.
    Clean,
    /// In mode B, the block with the end of the file arrived; the connection is still open.
    Marked,
    /// It was reset, or failed in another way.
    Reset,
    /// Under TLS, it was closed without `close_notify`: the data may be truncated (RFC 4217 §12.6).
    TruncatedTls,
}

/// A client's observations of one transfer.
///
/// ```
/// use ftp_proto::{Confirmation, DataEnd, ReplyCode, TransferEvidence, TransferFault, Verb};
///
/// let mut evidence = TransferEvidence::new(Verb::Retr);
/// evidence.has_begun = true;
/// evidence.length.moved = 512;
/// evidence.length.announced = Some(1_024);
/// evidence.data = DataEnd::Clean;
/// assert_eq!(evidence.verdict(), Err(TransferFault::NoReply), "the end of data is not success");
///
/// evidence.reply = Some(ReplyCode::TRANSFER_COMPLETE);
/// let cut = TransferFault::Incomplete { bytes: 512, announced: Some(1_024) };
/// assert_eq!(evidence.verdict(), Err(cut), "and the server's word is not all");
///
/// evidence.length.moved = 1_024;
/// assert_eq!(evidence.verdict(), Ok(Confirmation::Certain));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransferEvidence {
    /// The command that began the transfer.
    pub verb: Verb,
    /// Whether a 1xx reply arrived.
    pub has_begun: bool,
    /// How the data connection ended; initially [`DataEnd::Open`].
    pub data: DataEnd,
    /// The transferred length and the expected lengths.
    pub length: TransferLength,
    /// The final reply, once it has arrived.
    pub reply: Option<ReplyCode>,
}

/// The reliability of a 2xx reply.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Confirmation {
    /// 226 or 250: the transfer is over.
    Certain,
    /// Another 2xx: some servers' confirmation, or a stray reply before the real one. Before you
    /// send the next command, check that no other reply follows.
    Doubtful,
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferFault {
    /// The server refused or aborted the transfer with a 3xx, 4xx or 5xx. This fault takes priority
    /// over any fault of the data connection.
    #[error("the server refused or aborted the transfer")]
    Refused,
    /// The data connection did not end cleanly, whatever the reply says.
    #[error("the data connection broke")]
    Broken,
    /// The final reply belongs to another command: the replies are out of step, and the control
    /// connection cannot be used any more.
    #[error("the reply answers another command")]
    OutOfStep,
    /// The server confirmed an upload before it can have seen the end of the data.
    #[error("the server confirmed the transfer before its end")]
    Early,
    /// The number of bytes is wrong.
    #[error("incomplete transfer: {bytes} bytes")]
    Incomplete {
        /// The actual number of bytes.
        bytes: u64,
        /// The expected number of bytes, if known.
        announced: Option<u64>,
    },
    /// No reply confirms the transfer.
    #[error("no reply confirms the transfer")]
    NoReply,
}

impl TransferEvidence {
    /// Returns the state after the command was sent.
    #[must_use]
    pub const fn new(verb: Verb) -> Self {
        let length = TransferLength::of(0);
        Self { verb, has_begun: false, data: DataEnd::Open, length, reply: None }
    }

    /// Returns the state with this final reply.
    #[must_use]
    pub const fn with_reply(mut self, reply: ReplyCode) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Judges the final reply alone, whatever happened to the data. The only exception is an upload
    /// with data: its reply must not come before the end of the data.
    ///
    /// # Errors
    ///
    /// Returns `NoReply`, `Refused` or `Early`. Returns `OutOfStep` for a 2xx that cannot end a
    /// transfer, such as a 257. If no 1xx came before, also returns `OutOfStep` for any 2xx
    /// except 226 and 250.
    pub fn confirmation(&self) -> Result<Confirmation, TransferFault> {
        let reply = self.reply.ok_or(TransferFault::NoReply)?;
        if reply.severity() != Severity::Completion {
            return Err(TransferFault::Refused);
        }
        let is_unseen = matches!(self.data, DataEnd::Open | DataEnd::Missing);
        if is_unseen && self.verb.is_upload() && self.length.moved > 0 {
            return Err(TransferFault::Early);
        }
        match reply {
            ReplyCode::TRANSFER_COMPLETE | ReplyCode::FILE_ACTION_OKAY => Ok(Confirmation::Certain),
            _ if !self.has_begun || answers_another_command(reply) => Err(TransferFault::OutOfStep),
            _ => Ok(Confirmation::Doubtful),
        }
    }

    /// Returns whether the data connection stays open for the next transfer: in mode B, after 250.
    /// After 226, the server closes the connection (RFC 959 §5.4). The connection cannot be used
    /// again after a wrong length, because further bytes may still belong to this file.
    #[must_use]
    pub fn keeps_data(&self) -> bool {
        self.data == DataEnd::Marked
            && self.reply == Some(ReplyCode::FILE_ACTION_OKAY)
            && self.verdict().is_ok()
    }

    /// Judges the whole transfer; returns the reliability of the confirmation if it succeeded.
    ///
    /// # Errors
    ///
    /// Returns the most important fault, in this order: a refusal, a broken data connection, a
    /// missing or wrong 2xx reply, a wrong length.
    pub fn verdict(&self) -> Result<Confirmation, TransferFault> {
        let confirmation = self.confirmation();
        if confirmation == Err(TransferFault::Refused) {
            return confirmation;
        }
        if matches!(self.data, DataEnd::Reset | DataEnd::TruncatedTls) {
            return Err(TransferFault::Broken);
        }
        let confirmation = confirmation?;
        let TransferLength { moved: bytes, wanted, announced, .. } = self.length;
        match self.data {
            // More data may follow.
            DataEnd::Open if !self.verb.is_upload() => {
                Err(TransferFault::Incomplete { bytes, announced: wanted.or(announced) })
            }
            // No data was sent, but the file may not be empty.
            DataEnd::Missing if !self.verb.is_upload() => {
                Err(TransferFault::Incomplete { bytes, announced: None })
            }
            _ => self.length.check().map(|()| confirmation),
        }
    }
}

/// Returns whether a 2xx is a greeting, a goodbye, a status, a login, an address or a directory.
const fn answers_another_command(reply: ReplyCode) -> bool {
    matches!(reply.value(), 210..=219 | 220 | 221 | 227..=229 | 230..=239 | 257)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Confirmation::{Certain, Doubtful};
    use DataEnd::{Clean, Marked, Missing, Open, Reset, TruncatedTls};
    use TransferFault::{Broken, Early, NoReply, OutOfStep, Refused};

    const NONE: TransferFault = TransferFault::Incomplete { bytes: 0, announced: None };
    const SOME: TransferFault = TransferFault::Incomplete { bytes: 5, announced: None };

    #[test]
    fn replies_and_the_end_of_data_determine_the_verdict() {
        for (verb, has_begun, data, moved, reply, want) in [
            (Verb::Retr, true, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Retr, true, Clean, 0, Some(250), Ok(Certain)),
            (Verb::Retr, true, Clean, 5, Some(200), Ok(Doubtful)),
            (Verb::Retr, true, Clean, 5, Some(225), Ok(Doubtful)),
            (Verb::Retr, true, Clean, 5, Some(213), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(221), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(230), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(257), Err(OutOfStep)),
            (Verb::Retr, true, Clean, 5, Some(426), Err(Refused)),
            (Verb::Retr, true, Clean, 5, Some(350), Err(Refused)),
            (Verb::Retr, true, Clean, 5, None, Err(NoReply)),
            (Verb::Retr, true, Reset, 5, Some(226), Err(Broken)),
            (Verb::Retr, true, Reset, 5, Some(213), Err(Broken)),
            (Verb::Retr, true, Reset, 5, Some(451), Err(Refused)),
            (Verb::Retr, true, Reset, 5, None, Err(Broken)),
            (Verb::Retr, true, TruncatedTls, 5, Some(226), Err(Broken)),
            (Verb::Retr, true, Open, 5, Some(226), Err(SOME)),
            // The transfer was over before it began.
            (Verb::Retr, false, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Mlsd, false, Missing, 0, Some(226), Err(NONE)),
            (Verb::Retr, false, Open, 0, Some(200), Err(OutOfStep)),
            (Verb::Retr, false, Open, 0, Some(550), Err(Refused)),
            (Verb::Stor, true, Clean, 5, Some(226), Ok(Certain)),
            (Verb::Stor, true, Open, 5, Some(226), Err(Early)),
            (Verb::Stor, true, Marked, 5, Some(250), Ok(Certain)),
            (Verb::Retr, true, Marked, 5, Some(226), Ok(Certain)),
            (Verb::Retr, true, Marked, 5, Some(426), Err(Refused)),
            (Verb::Retr, true, Marked, 5, None, Err(NoReply)),
            (Verb::Stor, true, Open, 5, Some(552), Err(Refused)),
            (Verb::Appe, true, Open, 0, Some(226), Ok(Certain)),
            (Verb::Stou, false, Missing, 0, Some(250), Ok(Certain)),
            (Verb::Stou, false, Missing, 5, Some(250), Err(Early)),
            (Verb::Stor, true, Reset, 5, Some(226), Err(Broken)),
        ] {
            let evidence = TransferEvidence {
                verb,
                has_begun,
                data,
                length: TransferLength::of(moved),
                reply: reply.and_then(ReplyCode::new),
            };
            assert_eq!(evidence.verdict(), want, "{evidence:?}");
        }
    }

    #[test]
    fn only_a_250_after_the_end_of_the_file_keeps_the_data_connection() {
        for (data, reply, want) in [
            (Marked, Some(250), true),
            (Marked, Some(226), false),
            (Marked, Some(200), false),
            (Marked, Some(451), false),
            (Marked, None, false),
            (Clean, Some(250), false),
            (Open, Some(250), false),
            (Missing, Some(250), false),
        ] {
            let reply = reply.and_then(ReplyCode::new);
            let mut evidence = TransferEvidence::new(Verb::Retr);
            (evidence.has_begun, evidence.data, evidence.reply) = (true, data, reply);
            assert_eq!(evidence.keeps_data(), want, "{evidence:?}");
            evidence.length = TransferLength { wanted: Some(6), ..TransferLength::of(5) };
            assert!(!evidence.keeps_data(), "{evidence:?}");
        }
    }

    #[test]
    fn a_confirmed_transfer_must_have_its_length() {
        let mut evidence = TransferEvidence::new(Verb::Retr);
        evidence.has_begun = true;
        evidence.data = Clean;
        evidence.length = TransferLength { wanted: Some(6), ..TransferLength::of(5) };
        evidence.reply = Some(ReplyCode::TRANSFER_COMPLETE);
        let short = TransferFault::Incomplete { bytes: 5, announced: Some(6) };
        assert_eq!(evidence.verdict(), Err(short));
        assert_eq!(evidence.confirmation(), Ok(Certain));
        evidence.length.moved = 6;
        assert_eq!(evidence.verdict(), Ok(Certain));
    }
}
