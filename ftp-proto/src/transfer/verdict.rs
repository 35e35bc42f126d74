//! How a transfer begins and whether it succeeded: its first replies and its data connection, in
//! either order, then the end of its data and its length (RFC 959 §5.4 and §6, and the practice of
//! servers).

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
    /// The length of the file after an upload, from `SIZE`.
    pub stored: Option<u64>,
}

impl TransferLength {
    /// Returns the length of a transfer of `moved` bytes from the beginning of the file, without
    /// expectations.
    #[must_use]
    pub const fn of(moved: u64) -> Self {
        Self { moved, offset: 0, announced: None, wanted: None, stored: None }
    }

    /// Compares the transferred bytes with the expectations. For a transfer from an offset, some
    /// servers announce the length of the rest in the 150 reply, and others that of the whole file;
    /// both are accepted.
    ///
    /// # Errors
    ///
    /// Returns [`TransferFault::Incomplete`] if an expectation is not met.
    pub fn check(&self) -> Result<(), TransferFault> {
        let Self { moved, offset, announced, wanted, stored } = *self;
        let end = offset.saturating_add(moved);
        if wanted.is_some_and(|wanted| wanted != moved) {
            return Err(TransferFault::Incomplete { bytes: moved, announced: wanted });
        }
        if announced.is_some_and(|all| all != moved && all != end) {
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

/// The beginning of a transfer: takes the replies and the state of the data connection, and returns
/// the client's next step.
///
/// ```
/// use ftp_proto::{Reply, ReplyCode, StartStep, TransferFault, TransferStart, Verb};
///
/// let mut start = TransferStart::new(Verb::Retr);
/// assert_eq!(start.step(), StartStep::AwaitReplyOrData);
/// start.data_opened();
/// assert_eq!(start.step(), StartStep::AwaitReply);
/// start.reply(&Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, "Here it comes."))?;
/// assert_eq!(start.step(), StartStep::MoveData);
/// # Ok::<(), TransferFault>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TransferStart {
    verb: Verb,
    first: Option<Reply>,
    last: Option<Reply>,
    data: DataStart,
}

/// The state of the data connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DataStart {
    Pending,
    Open,
    Missing,
    Failed,
}

/// The client's next step between the command of a transfer and its first byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StartStep {
    /// Wait for a reply or the data connection, whichever comes first.
    AwaitReplyOrData,
    /// Wait for a reply: the data connection is open.
    AwaitReply,
    /// Wait for the data connection: the server has begun and ended the transfer, so the connection
    /// must still arrive.
    AwaitData,
    /// Take the data connection if it is open by now. The server has ended the transfer without a
    /// 1xx reply, and may not have needed a data connection.
    TakeData,
    /// Move data, or find its end.
    MoveData,
    /// Stop the transfer (`ABOR`): it has no data connection. Another way to open a connection may
    /// work.
    Stop,
}

impl TransferStart {
    /// Returns the state after the command was sent and a data connection was agreed on.
    pub const fn new(verb: Verb) -> Self {
        Self { verb, first: None, last: None, data: DataStart::Pending }
    }

    /// Takes a reply to the command.
    ///
    /// # Errors
    ///
    /// Returns `Refused` for a 3xx, 4xx or 5xx. Returns `OutOfStep` for any 2xx except 226 and 250
    /// if no 1xx came before it: such a reply answers another command.
    pub fn reply(&mut self, reply: &Reply) -> Result<(), TransferFault> {
        match reply.code().severity() {
            Severity::Preliminary => {
                self.first.get_or_insert_with(|| reply.clone());
            }
            Severity::Completion => {
                if self.first.is_none() {
                    TransferEvidence::new(self.verb).with_reply(reply.code()).confirmation()?;
                }
                self.last = Some(reply.clone());
            }
            _ => return Err(TransferFault::Refused),
        }
        Ok(())
    }

    /// Records that the data connection is open.
    pub const fn data_opened(&mut self) {
        self.data = DataStart::Open;
    }

    /// Records that the server ended the transfer without a data connection.
    pub const fn data_missing(&mut self) {
        self.data = DataStart::Missing;
    }

    /// Records that the data connection cannot be opened, or could not be opened in time.
    pub const fn data_failed(&mut self) {
        self.data = DataStart::Failed;
    }

    /// Returns the next step.
    #[must_use]
    pub const fn step(&self) -> StartStep {
        match (self.data, self.has_begun(), self.last.is_some()) {
            (DataStart::Failed, ..) => StartStep::Stop,
            (DataStart::Pending, _, false) => StartStep::AwaitReplyOrData,
            (DataStart::Pending, true, true) => StartStep::AwaitData,
            (DataStart::Pending, false, true) => StartStep::TakeData,
            (DataStart::Open | DataStart::Missing, false, false) => StartStep::AwaitReply,
            (DataStart::Open | DataStart::Missing, ..) => StartStep::MoveData,
        }
    }

    /// Returns whether a 1xx arrived.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Returns the first reply, and the final one if it has arrived; `None` without a reply. If
    /// there was no 1xx, both are the same.
    #[must_use]
    pub fn into_replies(self) -> Option<(Reply, Option<Reply>)> {
        let Self { first, last, .. } = self;
        first.or_else(|| last.clone()).map(|first| (first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyCode;
    use Confirmation::{Certain, Doubtful};
    use DataEnd::{Clean, Marked, Missing, Open, Reset, TruncatedTls};
    use Event::{Failed, Opened};
    use StartStep::{AwaitData, AwaitReply, AwaitReplyOrData, MoveData, Stop, TakeData};
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

    #[test]
    fn announced_lengths_are_parsed_hc_16() {
        for (text, want) in [
            ("Opening BINARY mode data connection for a (1024 bytes).", Some(1_024)),
            ("Opening for a (5 bytes) (0 bytes)", Some(0)),
            ("for a (1 byte)", Some(1)),
            ("for a (5 bytes) with more", None),
            ("for a (-5 bytes)", None),
            ("for a (+5 bytes)", None),
            ("for a ( bytes)", None),
            ("for a 5 bytes)", None),
            ("5 bytes)", None),
            ("for a (99999999999999999999 bytes)", None),
            ("226.1 kbytes to download", None),
            ("Opening data connection", None),
            ("", None),
        ] {
            let reply = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, text);
            assert_eq!(reply.announced_length(), want, "{text}");
        }
    }

    #[test]
    fn only_known_lengths_are_compared() {
        let incomplete =
            |bytes, announced| Err(TransferFault::Incomplete { bytes, announced: Some(announced) });
        let from_2 = TransferLength { offset: 2, ..TransferLength::of(8) };
        for (length, want) in [
            (TransferLength::of(8), Ok(())),
            (TransferLength { announced: Some(8), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(10), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(9), ..from_2 }, incomplete(8, 9)),
            (TransferLength { wanted: Some(8), ..from_2 }, Ok(())),
            (TransferLength { wanted: Some(10), ..from_2 }, incomplete(8, 10)),
            (TransferLength { wanted: Some(7), announced: Some(8), ..from_2 }, incomplete(8, 7)),
            (TransferLength { stored: Some(10), ..from_2 }, Ok(())),
            (TransferLength { stored: Some(8), ..from_2 }, incomplete(8, 10)),
            (TransferLength { offset: u64::MAX, announced: Some(8), ..from_2 }, Ok(())),
        ] {
            assert_eq!(length.check(), want, "{length:?}");
        }
    }

    /// An event of a dialogue.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Reply(u16),
        Opened,
        Missing,
        Failed,
    }

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "text")
    }

    /// Returns the steps after each event of a dialogue, or the fault that ends it.
    fn play(verb: Verb, events: &[Event]) -> Result<Vec<StartStep>, TransferFault> {
        let mut start = TransferStart::new(verb);
        assert_eq!(start.step(), AwaitReplyOrData);
        let mut steps = Vec::new();
        for event in events {
            match *event {
                Event::Reply(code) => start.reply(&reply(code))?,
                Opened => start.data_opened(),
                Event::Missing => start.data_missing(),
                Failed => start.data_failed(),
            }
            steps.push(start.step());
        }
        Ok(steps)
    }

    #[test]
    fn replies_and_the_data_connection_may_come_in_any_order() {
        use Event::Reply as On;
        for (events, want) in [
            (&[On(150), Opened][..], &[AwaitReplyOrData, MoveData][..]),
            (&[Opened, On(150)], &[AwaitReply, MoveData]),
            (&[Opened, On(125)], &[AwaitReply, MoveData]),
            // Any number of 1xx.
            (
                &[On(150), On(150), Opened, On(150)],
                &[AwaitReplyOrData, AwaitReplyOrData, MoveData, MoveData],
            ),
            // The server has finished before the data connection is known to be open.
            (&[On(150), On(226), Opened], &[AwaitReplyOrData, AwaitData, MoveData]),
            (&[On(150), On(226), Failed], &[AwaitReplyOrData, AwaitData, Stop]),
            // A 150 never comes.
            (&[Opened, On(226)], &[AwaitReply, MoveData]),
            (&[On(226), Event::Missing], &[TakeData, MoveData]),
            (&[On(250), Opened], &[TakeData, MoveData]),
            // The data connection fails, or takes too long.
            (&[Failed], &[Stop]),
            (&[On(150), Failed], &[AwaitReplyOrData, Stop]),
        ] {
            assert_eq!(play(Verb::Retr, events).as_deref(), Ok(want), "{events:?}");
            assert_eq!(play(Verb::Stor, events).as_deref(), Ok(want), "{events:?}");
        }
    }

    #[test]
    fn a_refusal_ends_the_start_at_any_point() {
        use Event::Reply as On;
        for code in [421, 425, 426, 450, 500, 503, 550, 553, 350] {
            for before in [&[][..], &[Opened], &[On(150)], &[Opened, On(150)], &[On(150), Opened]] {
                let events = [before, &[On(code)]].concat();
                let played = play(Verb::Retr, &events);
                assert_eq!(played, Err(Refused), "{events:?}");
            }
        }
    }

    #[test]
    fn a_reply_of_another_command_is_out_of_step() {
        use Event::Reply as On;
        for code in [200, 213, 220, 227, 229, 230, 257] {
            for before in [&[][..], &[Opened]] {
                let events = [before, &[On(code)]].concat();
                let played = play(Verb::Retr, &events);
                assert_eq!(played, Err(OutOfStep), "{events:?}");
            }
        }
        // After a 1xx the verdict on the whole transfer decides.
        assert_eq!(play(Verb::Retr, &[On(150), On(200)]), Ok(vec![AwaitReplyOrData, AwaitData]));
    }

    #[test]
    fn the_first_and_the_final_reply_are_kept() {
        let codes = |replies: &[u16]| {
            let mut start = TransferStart::new(Verb::Retr);
            replies.iter().for_each(|code| start.reply(&reply(*code)).unwrap());
            let (first, last) = start.into_replies()?;
            Some((first.code().value(), last.map(|last| last.code().value())))
        };
        assert_eq!(codes(&[]), None);
        assert_eq!(codes(&[150, 125]), Some((150, None)));
        assert_eq!(codes(&[150, 226]), Some((150, Some(226))));
        assert_eq!(codes(&[226]), Some((226, Some(226))));
    }
}
