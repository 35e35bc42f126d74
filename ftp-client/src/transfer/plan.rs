//! The downloads that a caller has named, and which of them are requested already.

use std::collections::VecDeque;

use ftp_proto::{Command, Pathname};

/// The maximum number of requested downloads that have not begun, and the number below which more
/// are requested.
const MOST: usize = 64;
const FEW: usize = 32;

/// The maximum length of the commands in one write, in bytes. A server that sends data does not
/// read all commands at once, so they must fit into the buffers of a connection.
const FLIGHT: usize = 4_096;

/// The number of times that requested downloads may have to be dropped. After that, downloads are
/// requested one by one.
const VAIN: u8 = 3;

/// The downloads that the caller has named.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The downloads that are not requested yet.
    planned: VecDeque<Planned>,
    /// The requested downloads, in the order of the replies.
    requested: VecDeque<Planned>,
    /// The number of times that requested downloads had to be dropped.
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
    /// Adds a download.
    pub(crate) fn add(&mut self, path: Pathname, with_time: bool) {
        self.planned.push_back(Planned { path, with_time });
    }

    /// Returns the number of downloads that have not begun.
    pub(crate) fn len(&self) -> usize {
        self.planned.len() + self.requested.len()
    }

    /// Returns whether the server was asked for downloads that have not begun.
    pub(crate) fn is_requested(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Returns whether this transfer was requested and is the next one that the server begins.
    pub(super) fn has_requested(&self, command: &Command, with_time: bool) -> bool {
        self.requested.front().is_some_and(|next| next.is(command, with_time))
    }

    /// Records that the server begins the download that was requested first, and returns whether
    /// more should be requested now.
    pub(super) fn begin_requested(&mut self) -> bool {
        self.requested.pop_front();
        self.requested.len() < FEW
    }

    /// Records that a transfer begins that was not requested ahead. If it is not the next one in
    /// the plan, the plan is dropped.
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

    /// Drops all downloads, because the requested ones do not arrive.
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
            && self.requested.len() < MOST
            && let Some(next) = self.planned.front()
        {
            bytes += 2 * (next.path.as_bytes().len() + 8);
            if bytes > FLIGHT || needs_more(next.path.as_bytes()) {
                break;
            }
            flight.extend(next.commands());
            let next = self.planned.pop_front();
            self.requested.extend(next);
        }
        flight
    }
}
