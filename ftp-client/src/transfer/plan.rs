//! The transfers that a caller has named, and those that were sent ahead of the replies to earlier ones.

use std::collections::VecDeque;

use ftp_proto::{Command, Pathname, Verb};

/// The maximum number of requested downloads that have not begun, and the number below which more
/// are requested.
const MOST: usize = 64;
const FEW: usize = 32;

/// The maximum length of the commands in one write, in bytes. A server that sends data does not
/// read all commands at once, so they must fit into the buffers of a connection.
const FLIGHT: usize = 4_096;

/// The number of times that commands sent ahead are dropped before the client stops sending ahead.
/// After that, each command waits for the reply to the one before.
const VAIN: u8 = 3;

/// The downloads that the caller has named, and all commands that were sent ahead.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The downloads that are not requested yet.
    planned: VecDeque<Planned>,
    /// The commands that were sent ahead, in the order of the replies.
    requested: VecDeque<Command>,
    /// The number of times that commands sent ahead had to be dropped.
    vain: u8,
}

#[derive(Debug, Eq, PartialEq)]
struct Planned {
    path: Pathname,
    /// Whether the file's modification time is requested too.
    with_time: bool,
}

impl Planned {
    /// Returns the commands of this download.
    fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let time = self.with_time.then(|| Command::Mdtm(self.path.clone()));
        time.into_iter().chain([Command::Retr(self.path.clone())])
    }

    fn is(&self, command: &Command, with_time: bool) -> bool {
        self.with_time == with_time && matches!(command, Command::Retr(path) if *path == self.path)
    }
}

impl Plan {
    /// The number of named downloads from which each flight is as long as it can be.
    pub(crate) const DOWNLOADS: usize = 2 * MOST;

    /// Adds a download.
    pub(crate) fn add(&mut self, path: Pathname, with_time: bool) {
        self.planned.push_back(Planned { path, with_time });
    }

    /// Returns the number of downloads that have not begun.
    pub(crate) fn len(&self) -> usize {
        self.planned.len() + self.downloads()
    }

    /// Returns the number of requested downloads that have not begun.
    fn downloads(&self) -> usize {
        self.requested.iter().filter(|command| command.verb() == Verb::Retr).count()
    }

    /// Returns whether any command that was sent ahead still awaits its reply.
    pub(crate) fn is_requested(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Returns whether a requested upload has not begun yet.
    pub(crate) fn is_upload_requested(&self) -> bool {
        self.requested.iter().any(|command| command.verb() == Verb::Stor)
    }

    /// Returns whether commands can be sent ahead now.
    pub(crate) fn is_open(&self) -> bool {
        self.vain < VAIN && self.planned.is_empty() && self.requested.is_empty()
    }

    /// Records that these commands were sent ahead.
    pub(super) fn request(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.requested.extend(commands);
    }

    /// Returns whether `command` was sent ahead and its reply is the next one. If so, the caller
    /// reads that reply.
    pub(super) fn take_requested(&mut self, command: &Command) -> bool {
        let is_next = self.requested.front() == Some(command);
        if is_next {
            self.requested.pop_front();
        }
        is_next
    }

    /// Returns whether this transfer was requested and is the next one that the server begins.
    pub(super) fn has_requested(&self, command: &Command, with_time: bool) -> bool {
        let mut next = self.requested.iter();
        let has_time = !with_time || next.next().is_some_and(|next| next.verb() == Verb::Mdtm);
        has_time && next.next() == Some(command)
    }

    /// Records that the server begins the transfer that was requested first, and returns whether
    /// more downloads should be requested now.
    pub(super) fn begin_requested(&mut self) -> bool {
        while self.requested.pop_front().is_some_and(|command| !command.verb().uses_data()) {}
        self.downloads() < FEW
    }

    /// Records the beginning of a transfer that was not requested ahead. If this is not the next
    /// planned download, drops all planned ones.
    pub(super) fn begin(&mut self, command: &Command, with_time: bool) {
        match self.planned.front() {
            Some(next) if next.is(command, with_time) => drop(self.planned.pop_front()),
            _ => self.forget(),
        }
    }

    /// Drops the downloads that are not requested yet.
    pub(super) fn forget(&mut self) {
        self.planned.clear();
    }

    /// Drops all planned and requested transfers after the server failed to perform the requested
    /// ones.
    pub(super) fn give_up(&mut self) {
        self.requested.clear();
        self.planned.clear();
        self.vain = self.vain.saturating_add(1);
    }

    /// Returns the commands of the next downloads, and counts these downloads as requested. Stops
    /// before the first path for which `needs_more` returns true.
    pub(super) fn next_flight(&mut self, needs_more: impl Fn(&[u8]) -> bool) -> Vec<Command> {
        let mut flight = Vec::new();
        let mut bytes = 0;
        while self.vain < VAIN
            && self.downloads() < MOST
            && let Some(next) = self.planned.front()
        {
            bytes += 2 * (next.path.as_bytes().len() + 8);
            if bytes > FLIGHT || needs_more(next.path.as_bytes()) {
                break;
            }
            flight.extend(next.commands());
            self.requested.extend(next.commands());
            self.planned.pop_front();
        }
        flight
    }
}
