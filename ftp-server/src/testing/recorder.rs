//! What a server was asked and what it did, for a test to wait for.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ftp_proto::{Escaped, ReplyCode, Verb};

use crate::lock::unpoisoned;
use crate::log::{Event, EventKind, LoginRefusal, Observer, Refusal, TransferEnd};
use crate::storage::VirtualPath;

/// Keeps the commands and events of a server. Clones share what they keep.
///
/// It is given to a server by [`ServerBuilder::recorder`](crate::ServerBuilder::recorder). A command
/// is recorded when the server has received it, an event when it has happened. What was recorded
/// stays until [`clear`](Self::clear), so that a test may act first and wait afterwards.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    records: Mutex<Vec<Record>>,
    arrived: Condvar,
}

/// A command or an event.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The number of the session, from 1; `None` for a connection that was refused.
    pub session: Option<u64>,
    /// What was received or has happened.
    pub what: Recorded,
}

/// What was received or has happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recorded {
    /// A command line. During a transfer only `ABOR` is recorded at once; the server reads other
    /// commands when the transfer is over.
    #[non_exhaustive]
    Command {
        /// Its verb.
        verb: Verb,
        /// Its argument, byte for byte; `***` for `PASS` and `ACCT`.
        argument: Vec<u8>,
    },
    /// A session begins.
    Connected,
    /// A connection was closed before it became a session.
    Refused(Refusal),
    /// A login was accepted.
    #[non_exhaustive]
    LoggedIn {
        /// The argument of `USER`.
        user: Vec<u8>,
    },
    /// A login was not accepted.
    #[non_exhaustive]
    LoginRefused {
        /// The argument of `USER`.
        user: Vec<u8>,
        /// Why.
        reason: LoginRefusal,
    },
    /// The user left by `REIN`.
    LoggedOut,
    /// A command that moves bytes is over, well or not.
    #[non_exhaustive]
    Transferred {
        /// The command.
        verb: Verb,
        /// What was transferred or listed.
        path: VirtualPath,
        /// How many bytes moved.
        bytes: u64,
        /// How it ended.
        end: TransferEnd,
        /// The reply, or the first after the 150; `None` if none was sent.
        reply: Option<ReplyCode>,
    },
    /// A file was deleted.
    Deleted(VirtualPath),
    /// A directory was made.
    DirectoryMade(VirtualPath),
    /// A directory was removed.
    DirectoryRemoved(VirtualPath),
    /// A file or directory has another name.
    #[non_exhaustive]
    Renamed {
        /// Where it was.
        from: VirtualPath,
        /// Where it is now.
        to: VirtualPath,
    },
    /// A command on a file or directory was refused.
    #[non_exhaustive]
    CommandRefused {
        /// The command.
        verb: Verb,
        /// The file or directory; for `RNTO` its current path.
        path: VirtualPath,
        /// Code of the reply.
        reply: ReplyCode,
    },
    /// Times or permission bits were set.
    Changed(VirtualPath),
    /// The session is over.
    Ended,
    /// Another event: its [`EventKind`] as Debug shows it.
    Other(String),
}

/// Nothing that matches was recorded in time. It shows what was recorded instead, also by Debug,
/// which is what `unwrap` prints.
#[derive(Clone, Eq, PartialEq)]
pub struct NotRecorded {
    waited: Duration,
    records: Vec<Record>,
}

impl Recorder {
    /// A recorder that has nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was recorded, in the order in which it came.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        unpoisoned(self.kept.records.lock()).clone()
    }

    /// The command lines that were recorded, as `RETR a.txt`.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let records = unpoisoned(self.kept.records.lock());
        let is_command = |record: &&Record| matches!(record.what, Recorded::Command { .. });
        records.iter().filter(is_command).map(|record| record.what.to_string()).collect()
    }

    /// Forgets everything that was recorded.
    pub fn clear(&self) {
        unpoisoned(self.kept.records.lock()).clear();
    }

    /// Returns the first record that matches, and waits for it until `timeout` has passed.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// use ftp_server::testing::{Recorded, Recorder};
    /// use ftp_server::{MemoryStorage, Rights, Server};
    ///
    /// let recorder = Recorder::new();
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .recorder(&recorder)
    ///     .bind("127.0.0.1:0")?;
    /// drop(TcpStream::connect(server.local_addr())?);
    ///
    /// let timeout = Duration::from_secs(5);
    /// let ended = recorder.wait_for(timeout, |record| record.what == Recorded::Ended)?;
    /// assert_eq!(ended.session, Some(1));
    /// let error = recorder.wait_for(Duration::ZERO, |record| record.session == Some(2)).unwrap_err();
    /// assert!(error.to_string().contains("session 1: session ended"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotRecorded`] if none matches by then.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut matches: impl FnMut(&Record) -> bool,
    ) -> Result<Record, NotRecorded> {
        let start = Instant::now();
        let mut records = unpoisoned(self.kept.records.lock());
        let mut looked_at = 0;
        loop {
            // Another thread may have cleared them.
            looked_at = looked_at.min(records.len());
            if let Some(found) = records.iter().skip(looked_at).find(|record| matches(record)) {
                return Ok(found.clone());
            }
            looked_at = records.len();
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(NotRecorded { waited: timeout, records: records.clone() });
            }
            let waited = self.kept.arrived.wait_timeout(records, left);
            records = unpoisoned(waited).0;
        }
    }

    fn keep(&self, session: Option<u64>, what: Recorded) {
        unpoisoned(self.kept.records.lock()).push(Record { session, what });
        self.kept.arrived.notify_all();
    }

    /// Records a command line; a line that is not a command is left out.
    pub(crate) fn hear(&self, session: u64, line: &[u8]) {
        let Ok((verb, argument)) = Verb::split(line) else { return };
        let is_secret = matches!(verb, Verb::Pass | Verb::Acct);
        let argument = if is_secret { b"***" } else { argument };
        self.keep(Some(session), Recorded::Command { verb, argument: argument.to_vec() });
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        self.keep(event.session, Recorded::of(event));
    }
}

impl Record {
    /// Whether this is a command of this verb.
    #[must_use]
    pub fn is_command(&self, verb: Verb) -> bool {
        matches!(self.what, Recorded::Command { verb: recorded, .. } if recorded == verb)
    }

    /// Whether this is the end of a transfer by this command of the file at `path`, such as `/a/b`.
    #[must_use]
    pub fn is_transfer(&self, verb: Verb, path: &str) -> bool {
        match &self.what {
            Recorded::Transferred { verb: recorded, path: place, .. } => {
                *recorded == verb && place.as_bytes() == path.as_bytes()
            }
            _ => false,
        }
    }
}

impl Recorded {
    fn of(event: &Event<'_>) -> Self {
        match event.kind {
            EventKind::Connected { .. } => Self::Connected,
            EventKind::Refused(refusal) => Self::Refused(refusal),
            EventKind::LoggedIn => Self::LoggedIn { user: event.user.unwrap_or_default().to_vec() },
            EventKind::LoginRefused { user, reason } => {
                Self::LoginRefused { user: user.to_vec(), reason }
            }
            EventKind::LoggedOut => Self::LoggedOut,
            EventKind::Transferred(transfer) => Self::Transferred {
                verb: transfer.verb,
                path: transfer.path.clone(),
                bytes: transfer.bytes,
                end: transfer.end,
                reply: transfer.reply,
            },
            EventKind::Deleted { path } => Self::Deleted(path.clone()),
            EventKind::DirectoryMade { path } => Self::DirectoryMade(path.clone()),
            EventKind::DirectoryRemoved { path } => Self::DirectoryRemoved(path.clone()),
            EventKind::Renamed { from, to } => Self::Renamed { from: from.clone(), to: to.clone() },
            EventKind::CommandRefused { verb, path, reply, .. } => {
                Self::CommandRefused { verb, path: path.clone(), reply: reply.code() }
            }
            EventKind::Changed { path, .. } => Self::Changed(path.clone()),
            EventKind::Ended { .. } => Self::Ended,
            kind @ (EventKind::Banned { .. } | EventKind::BanEnded { .. }) => {
                Self::Other(format!("{kind:?}"))
            }
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session {
            Some(session) => write!(f, "session {session}: {}", self.what),
            None => write!(f, "no session: {}", self.what),
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { verb, argument } if argument.is_empty() => write!(f, "{verb}"),
            Self::Command { verb, argument } => write!(f, "{verb} {}", Escaped(argument)),
            Self::Connected => f.write_str("connected"),
            Self::Refused(refusal) => write!(f, "connection refused: {}", refusal.as_str()),
            Self::LoggedIn { user } => write!(f, "logged in as {}", Escaped(user)),
            Self::LoginRefused { user, reason } => {
                write!(f, "login refused as {}: {}", Escaped(user), reason.as_str())
            }
            Self::LoggedOut => f.write_str("logged out"),
            Self::Transferred { verb, path, bytes, end, reply } => {
                let reply = reply.map_or_else(|| "no reply".to_owned(), |code| code.to_string());
                write!(f, "transferred {verb} {path}: {bytes} bytes, {}, {reply}", end.as_str())
            }
            Self::Deleted(path) => write!(f, "deleted {path}"),
            Self::DirectoryMade(path) => write!(f, "directory made {path}"),
            Self::DirectoryRemoved(path) => write!(f, "directory removed {path}"),
            Self::Renamed { from, to } => write!(f, "renamed {from} to {to}"),
            Self::CommandRefused { verb, path, reply } => {
                write!(f, "refused {verb} {path}: {reply}")
            }
            Self::Changed(path) => write!(f, "changed {path}"),
            Self::Ended => f.write_str("session ended"),
            Self::Other(event) => f.write_str(event),
        }
    }
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no record matches after {:?}; recorded:", self.waited)?;
        if self.records.is_empty() {
            return f.write_str(" nothing");
        }
        self.records.iter().try_for_each(|record| write!(f, "\n  {record}"))
    }
}

impl fmt::Debug for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotRecorded {}
