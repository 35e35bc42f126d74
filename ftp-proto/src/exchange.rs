//! Which replies may answer a command, and which is the last: the sequences of RFC 959 §5.4 and
//! the state diagrams of §6, as one table.

use crate::reply::{ReplyCode, Severity};
use crate::verb::Verb;

/// What a reply means for the command it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// 1yz: it has begun; another reply follows.
    Preliminary,
    /// The last reply of this command: 2yz, 3yz, 4yz or 5yz.
    Final,
}

/// A reply that RFC 959 §6 does not allow at this point. From here on nobody can tell which
/// reply belongs to which command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code} cannot answer {verb}")]
pub struct UnexpectedReply {
    /// The command that was being answered.
    pub verb: Verb,
    /// The code that came.
    pub code: ReplyCode,
}

/// One command and its replies: a state machine of two states, the same for both ends.
///
/// ```
/// use ftp_proto::{Exchange, Progress, ReplyCode, Verb};
///
/// let mut exchange = Exchange::new(Verb::Retr);
/// assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA)?, Progress::Preliminary);
/// assert_eq!(exchange.reply(ReplyCode::TRANSFER_COMPLETE)?, Progress::Final);
/// assert!(exchange.reply(ReplyCode::TRANSFER_COMPLETE).is_err(), "one is the last");
/// # Ok::<(), ftp_proto::UnexpectedReply>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    verb: Verb,
    ended: bool,
}

impl Exchange {
    /// The exchange that begins when `verb` is sent.
    #[must_use]
    pub const fn new(verb: Verb) -> Self {
        Self { verb, ended: false }
    }

    /// Takes the next reply.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`] for a 1yz or 3yz where the diagrams of §6 have none, and for any
    /// reply behind the last.
    pub const fn reply(&mut self, code: ReplyCode) -> Result<Progress, UnexpectedReply> {
        let unexpected = Err(UnexpectedReply { verb: self.verb, code });
        if self.ended {
            return unexpected;
        }
        let sequence = sequence(self.verb);
        match code.severity() {
            Severity::Preliminary if sequence.preliminary => return Ok(Progress::Preliminary),
            Severity::Preliminary => return unexpected,
            Severity::Intermediate if !sequence.intermediate => return unexpected,
            Severity::Completion if !sequence.completion => return unexpected,
            _ => {}
        }
        self.ended = true;
        Ok(Progress::Final)
    }

    /// Whether the last reply has come.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

/// Which positive replies a verb may get; negative ones it may always get.
struct Sequence {
    preliminary: bool,
    completion: bool,
    intermediate: bool,
}

const fn sequence(verb: Verb) -> Sequence {
    let (preliminary, completion, intermediate) = match verb {
        // §6, second diagram: those that use the data connection, and REIN with its 120.
        Verb::Appe
        | Verb::List
        | Verb::Mlsd
        | Verb::Nlst
        | Verb::Rein
        | Verb::Retr
        | Verb::Stor
        | Verb::Stou => (true, true, false),
        // Servers without a data connection for it answer STAT with a path in the same way.
        Verb::Stat => (true, true, false),
        // §6, third diagram: the first half of a pair.
        Verb::Rnfr | Verb::Rest => (false, false, true),
        // §6, fourth diagram: login. 334 and 335 are RFC 2228.
        Verb::User | Verb::Pass | Verb::Acct | Verb::Auth | Verb::Adat => (false, true, true),
        // What this crate does not know may be anything; nothing is decided on it.
        Verb::Other(_) | Verb::Site => (true, true, true),
        // §6, first diagram.
        _ => (false, true, false),
    };
    Sequence { preliminary, completion, intermediate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_follow_the_diagrams() {
        use Progress::{Final, Preliminary};
        for (verb, code, want) in [
            (Verb::Retr, 150, Some(Preliminary)),
            (Verb::Retr, 125, Some(Preliminary)),
            (Verb::Retr, 226, Some(Final)),
            (Verb::Retr, 350, None),
            (Verb::Retr, 425, Some(Final)),
            (Verb::Noop, 150, None),
            (Verb::Noop, 299, Some(Final)),
            (Verb::Rest, 350, Some(Final)),
            (Verb::Rest, 250, None),
            (Verb::Rnfr, 550, Some(Final)),
            (Verb::User, 331, Some(Final)),
            (Verb::User, 230, Some(Final)),
            (Verb::Pass, 332, Some(Final)),
            (Verb::Pass, 150, None),
            (Verb::Type, 331, None),
        ] {
            let code = ReplyCode::new(code).unwrap();
            let unexpected = UnexpectedReply { verb, code };
            assert_eq!(Exchange::new(verb).reply(code), want.ok_or(unexpected), "{verb} {code}");
        }
    }

    #[test]
    fn several_preliminary_replies_are_allowed_cl_08() {
        let mut exchange = Exchange::new(Verb::Stor);
        for _ in 0..3 {
            assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA), Ok(Progress::Preliminary));
        }
        assert!(!exchange.is_ended());
        assert_eq!(exchange.reply(ReplyCode::FILE_ACTION_OKAY), Ok(Progress::Final));
        assert!(exchange.is_ended());
    }
}
