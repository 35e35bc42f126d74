//! The events that `hooks.events` can name.

use std::fmt;

use crate::{Direction, Event, EventKind, Transfer, TransferEnd, Verb};

/// An event for `hooks.program`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HookEvent {
    /// A login was accepted.
    Login,
    /// A login was refused.
    LoginFailed,
    /// A user logged out, or a logged-in user's session ended.
    Logout,
    /// A file was received completely.
    Stored,
    /// An upload began and was not completed.
    Cut,
    /// A file was sent completely.
    Retrieved,
    /// A file or directory was deleted.
    Deleted,
    /// A file or directory was renamed.
    Renamed,
    /// A directory was made.
    Made,
}

impl HookEvent {
    /// All events, with their words in the configuration.
    pub(crate) const ALL: [(&'static str, Self); 9] = [
        ("login", Self::Login),
        ("login-failed", Self::LoginFailed),
        ("logout", Self::Logout),
        ("stored", Self::Stored),
        ("cut", Self::Cut),
        ("retrieved", Self::Retrieved),
        ("deleted", Self::Deleted),
        ("renamed", Self::Renamed),
        ("made", Self::Made),
    ];

    /// Returns the word for the event in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, event)| *event == self);
        found.map_or("", |(word, _)| word)
    }

    /// Returns the hook event for an event of the server, if there is one.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        match &event.kind {
            EventKind::LoggedIn => Some(Self::Login),
            EventKind::LoginRefused { .. } => Some(Self::LoginFailed),
            EventKind::LoggedOut => Some(Self::Logout),
            EventKind::Ended { .. } => event.user.map(|_| Self::Logout),
            EventKind::Transferred(transfer) => Self::of_transfer(transfer),
            EventKind::Deleted { .. } | EventKind::DirectoryRemoved { .. } => Some(Self::Deleted),
            EventKind::DirectoryMade { .. } => Some(Self::Made),
            EventKind::Renamed { .. } => Some(Self::Renamed),
            _ => None,
        }
    }

    fn of_transfer(transfer: &Transfer<'_>) -> Option<Self> {
        let is_whole = transfer.end.is_whole();
        match (transfer.direction, transfer.end) {
            (Direction::Received, _) if is_whole => Some(Self::Stored),
            // These transfers never began.
            (_, TransferEnd::Refused | TransferEnd::NoData | TransferEnd::NoTls) => None,
            (Direction::Received, _) => Some(Self::Cut),
            (Direction::Sent, _) if is_whole && transfer.verb == Verb::Retr => {
                Some(Self::Retrieved)
            }
            _ => None,
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
