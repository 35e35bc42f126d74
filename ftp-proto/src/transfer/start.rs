//! The beginning of a transfer: its first replies and its data connection, in either order (RFC 959
//! §5.4).

use super::verdict::{TransferEvidence, TransferFault};
use crate::reply::{Reply, Severity};
use crate::verb::Verb;

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
    use StartStep::{AwaitData, AwaitReply, AwaitReplyOrData, MoveData, Stop, TakeData};

    /// An event of a dialogue.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Reply(u16),
        Opened,
        Missing,
        Failed,
    }
    use Event::{Failed, Missing, Opened};

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
                Missing => start.data_missing(),
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
            (&[On(226), Missing], &[TakeData, MoveData]),
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
                assert_eq!(played, Err(TransferFault::Refused), "{events:?}");
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
                assert_eq!(played, Err(TransferFault::OutOfStep), "{events:?}");
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
