//! Commands and events of a server, recorded for a test.

use std::fmt;
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use ftp_proto::{Escaped, ReplyCode, Verb};

use crate::auth::AuthError;
use crate::lock::{Lock, unpoisoned};
use crate::log::{Event, EventKind, Observer, Refusal, TransferEnd};
use crate::storage::VirtualPath;

/// A recorder of the commands and events of a server. Clones share the records.
///
/// [`ServerBuilder::recorder`](crate::ServerBuilder::recorder) attaches a recorder to a server. The
/// recorder records each command when the server receives it, and each event after it happened.
/// Records stay until [`clear`](Self::clear), so that a test may act first and wait afterwards.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    kept: Arc<RecordedLines>,
}

#[derive(Debug, Default)]
struct RecordedLines {
    records: Lock<Vec<Record>>,
    arrived: Condvar,
}

/// A recorded command or event.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Number of the session, from 1; `None` for events without a session, such as a refused
    /// connection.
    pub session: Option<u64>,
    /// The command or event.
    pub what: Recorded,
}

/// A command or event.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recorded {
    /// A command line. During a transfer, only `ABOR` and a `STAT` without argument are recorded at
    /// once, because the server carries out other commands after the transfer.
    #[non_exhaustive]
    Command {
        /// The verb of the command.
        verb: Verb,
        /// The argument of the command, byte for byte; `***` for `PASS` and `ACCT`.
        argument: Vec<u8>,
    },
    /// A session began.
    Connected,
    /// A connection was refused.
    Refused(Refusal),
    /// A login was accepted.
    #[non_exhaustive]
    LoggedIn {
        /// The argument of `USER`.
        user: Vec<u8>,
    },
    /// A login was refused.
    #[non_exhaustive]
    LoginRefused {
        /// The argument of `USER`.
        user: Vec<u8>,
        /// Reason of the refusal.
        reason: AuthError,
    },
    /// `REIN` or `AUTH` ended the login.
    LoggedOut,
    /// A transfer ended, completely or not.
    #[non_exhaustive]
    Transferred {
        /// The command.
        verb: Verb,
        /// Path of the file or directory.
        path: VirtualPath,
        /// Bytes moved.
        bytes: u64,
        /// End of the transfer.
        end: TransferEnd,
        /// Code of the first reply after the data, such as 226 or 426, or of the only reply; `None`
        /// if none was sent.
        reply: Option<ReplyCode>,
    },
    /// A file was deleted.
    Deleted(VirtualPath),
    /// A directory was made.
    DirectoryMade(VirtualPath),
    /// A directory was removed.
    DirectoryRemoved(VirtualPath),
    /// A file or directory was renamed.
    #[non_exhaustive]
    Renamed {
        /// Old path.
        from: VirtualPath,
        /// New path.
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
    /// The session ended.
    Ended,
    /// Another event: the `Debug` form of its [`EventKind`].
    Other(String),
}

/// Error of a wait: no record matched in time. `Display` and `Debug` show the records, so that
/// `unwrap` prints them.
#[derive(Clone, Eq, PartialEq)]
pub struct NotRecorded {
    waited: Duration,
    records: Vec<Record>,
}

impl Recorder {
    /// Returns an empty recorder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all records in their order.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.kept.records.lock().clone()
    }

    /// Returns the recorded command lines, such as `RETR a.txt`.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let records = self.kept.records.lock();
        let is_command = |record: &&Record| matches!(record.what, Recorded::Command { .. });
        records.iter().filter(is_command).map(|record| record.what.to_string()).collect()
    }

    /// Removes all records.
    pub fn clear(&self) {
        self.kept.records.lock().clear();
    }

    /// Waits for the first record that matches, and returns it.
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
    /// Returns [`NotRecorded`] if no record matches within `timeout`.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut matches: impl FnMut(&Record) -> bool,
    ) -> Result<Record, NotRecorded> {
        let start = Instant::now();
        let mut records = self.kept.records.lock();
        let mut looked_at = 0;
        loop {
            // Another thread may have removed the records.
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
        self.kept.records.lock().push(Record { session, what });
        self.kept.arrived.notify_all();
    }

    /// Records a command line. Ignores an invalid line.
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
    /// Returns whether this is a command with this verb.
    #[must_use]
    pub fn is_command(&self, verb: Verb) -> bool {
        matches!(self.what, Recorded::Command { verb: recorded, .. } if recorded == verb)
    }

    /// Returns whether this is the end of a transfer with this command and this path, such as
    /// `/a/b`.
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
                write!(f, "login as {} refused: {}", Escaped(user), reason.as_str())
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

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorded({self})")
    }
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no record matched within {:?}; recorded so far:", self.waited)?;
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
