//! Faults of the protocol at chosen commands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftp_proto::Verb;

use crate::lock::unpoisoned;

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// The server answers 421 in place of carrying the command out, and closes the connection.
    Close,
    /// The server closes the data connection after this many bytes, or at the end of the data if
    /// that comes first, and answers 426. An upload is not published.
    Abort {
        /// Bytes over the data connection.
        after: u64,
    },
    /// As [`Abort`](Self::Abort), but without a final reply: the session waits for the next command.
    Silence {
        /// Bytes over the data connection.
        after: u64,
    },
    /// The server waits this long before it carries the command out.
    Delay(Duration),
}

/// Which commands of a server go wrong, and how. Commands of each verb are counted from 1, over all
/// sessions of all servers that share these faults.
///
/// `Abort` and `Silence` apply to commands that open a data connection, and change nothing for
/// others. Where several faults are for the same command, the first applies.
///
/// ```
/// use ftp_server::testing::{ProtocolFault, Faults};
/// use ftp_server::{MemoryStorage, Rights, Server, Verb};
///
/// // The first download ends after 1,000 bytes, the second upload is refused by 421.
/// let faults = Faults::new()
///     .on(Verb::Retr, 1, ProtocolFault::Abort { after: 1_000 })
///     .on(Verb::Stor, 2, ProtocolFault::Close);
/// let server = Server::builder()
///     .storage(MemoryStorage::new())
///     .user("u", "p", Rights::FULL)
///     .faults(faults)
///     .bind("127.0.0.1:0")?;
/// # Ok::<(), ftp_server::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    counts: Arc<Mutex<Vec<Count>>>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    verb: Verb,
    nth: u64,
    fault: ProtocolFault,
}

#[derive(Debug)]
struct Count {
    verb: Verb,
    seen: u64,
}

impl Faults {
    /// No faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the command of this verb and number go wrong. The first has the number 1.
    #[must_use]
    pub fn on(mut self, verb: Verb, nth: u64, fault: ProtocolFault) -> Self {
        self.rules.push(Rule { verb, nth, fault });
        self
    }

    /// Counts a command, and returns what goes wrong with it.
    pub(crate) fn next(&self, verb: Verb) -> Option<ProtocolFault> {
        if !self.rules.iter().any(|rule| rule.verb == verb) {
            return None;
        }
        let nth = self.count(verb);
        let rule = self.rules.iter().find(|rule| rule.verb == verb && rule.nth == nth)?;
        Some(rule.fault)
    }

    fn count(&self, verb: Verb) -> u64 {
        let mut counts = unpoisoned(self.counts.lock());
        if let Some(count) = counts.iter_mut().find(|count| count.verb == verb) {
            count.seen += 1;
            return count.seen;
        }
        counts.push(Count { verb, seen: 1 });
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_for_one_command_of_its_verb() {
        let faults = Faults::new().on(Verb::Retr, 2, ProtocolFault::Close).on(
            Verb::Stor,
            1,
            ProtocolFault::Abort { after: 7 },
        );
        let shared = faults.clone();
        assert_eq!(faults.next(Verb::Retr), None);
        assert_eq!(faults.next(Verb::List), None);
        assert_eq!(shared.next(Verb::Retr), Some(ProtocolFault::Close));
        assert_eq!(faults.next(Verb::Stor), Some(ProtocolFault::Abort { after: 7 }));
        assert_eq!(faults.next(Verb::Stor), None);
        assert_eq!(faults.next(Verb::Retr), None);
    }
}
