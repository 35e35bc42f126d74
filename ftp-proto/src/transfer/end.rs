//! The end of a transfer: the verdict on its final reply, the end of its data and its length (RFC 959
//! §5.4 and §6, and the practice of servers), and the replies to `ABOR` (RFC 959 §4.1.3).

use crate::bytes;
use crate::reply::{Reply, ReplyCode, Severity};
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
    /// The data connection did not end cleanly, and no size proves that all bytes arrived.
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

    /// Returns whether a confirmed download depends on the size that the server reports now
    /// ([`TransferLength::stored`]): its data connection broke, or another number of bytes arrived
    /// than the first reply announced.
    #[must_use]
    pub fn needs_size(&self) -> bool {
        let TransferLength { moved, wanted, .. } = self.length;
        self.has_begun
            && self.confirmation() == Ok(Confirmation::Certain)
            && wanted.is_none_or(|wanted| wanted == moved)
            && matches!(
                self.verdict(),
                Err(TransferFault::Broken | TransferFault::Incomplete { announced: Some(_), .. })
            )
    }

    /// Judges the whole transfer; returns the reliability of the confirmation if it succeeded.
    ///
    /// After a 1xx and a 226 or 250, the size in [`TransferLength::stored`] proves the end of the data, even
    /// if the data connection was reset or lacked `close_notify`. After an upload, it proves that
    /// only for an empty file or with [`TransferLength::is_new`].
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
        let is_broken = matches!(self.data, DataEnd::Reset | DataEnd::TruncatedTls);
        let is_new = !self.verb.is_upload() || self.length.is_new || self.length.stored == Some(0);
        let is_confirmed = self.has_begun && confirmation == Ok(Confirmation::Certain);
        if is_broken && !(is_confirmed && is_new && self.length.is_stored()) {
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

/// The length of a transfer and all known expectations, in bytes on the data connection of an image
/// transfer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransferLength {
    /// The number of transferred bytes.
    pub moved: u64,
    /// The offset in the file at which the transfer began.
    pub offset: u64,
    /// The length in the 150 reply of a download; see [`Reply::announced_length`].
    pub announced: Option<u64>,
    /// The number of bytes to transfer, from `SIZE` or from the requested range.
    pub wanted: Option<u64>,
    /// The length of the server's file after the transfer, from `SIZE`.
    pub stored: Option<u64>,
    /// Whether the file of that length cannot be the one that an upload replaced: there was none, it
    /// had another length, or its time or content has changed.
    pub is_new: bool,
}

impl TransferLength {
    /// Returns the length of a transfer of `moved` bytes from the beginning of the file, without
    /// expectations.
    #[must_use]
    pub const fn of(moved: u64) -> Self {
        Self { moved, offset: 0, announced: None, wanted: None, stored: None, is_new: false }
    }

    /// Returns whether the server's file ends where the transfer ended.
    fn is_stored(&self) -> bool {
        self.stored == Some(self.offset.saturating_add(self.moved))
    }

    /// Compares the transferred bytes with the expectations. For a transfer from an offset, some
    /// servers announce the length of the rest in the 150 reply, and others that of the whole file;
    /// both are accepted. Others announce wrong numbers, so the length from `SIZE` outweighs them.
    ///
    /// # Errors
    ///
    /// Returns [`TransferFault::Incomplete`] if an expectation is not met.
    pub fn check(&self) -> Result<(), TransferFault> {
        let Self { moved, offset, announced, wanted, stored, .. } = *self;
        let end = offset.saturating_add(moved);
        if wanted.is_some_and(|wanted| wanted != moved) {
            return Err(TransferFault::Incomplete { bytes: moved, announced: wanted });
        }
        if announced.is_some_and(|all| all != moved && all != end) && !self.is_stored() {
            return Err(TransferFault::Incomplete { bytes: moved, announced });
        }
        match stored.filter(|stored| *stored != end) {
            Some(bytes) => Err(TransferFault::Incomplete { bytes, announced: Some(end) }),
            None => Ok(()),
        }
    }
}

impl Reply {
    /// Returns the file length that a 150 reply announces as `(n bytes)` at its end; `None` if it
    /// announces none.
    ///
    /// ```
    /// use ftp_proto::{Reply, ReplyCode};
    ///
    /// let reply = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, "Opening a.txt (1024 bytes).");
    /// assert_eq!(reply.announced_length(), Some(1_024));
    /// ```
    #[must_use]
    pub fn announced_length(&self) -> Option<u64> {
        let text = self.text().trim_ascii_end();
        let text = text.strip_suffix(b".").unwrap_or(text);
        let text = text.strip_suffix(b" bytes)").or_else(|| text.strip_suffix(b" byte)"))?;
        bytes::decimal(text.rsplit(|&byte| byte == b'(').next().filter(|it| it.len() < text.len())?)
    }
}

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
