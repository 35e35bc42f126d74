//! Copies objects from one side to the other; each job has a [`Copier`].

mod across;
mod down;
mod far;
mod near;
mod up;
mod watch;

pub(super) use across::Across;
pub(super) use down::Down;
pub(super) use far::Far;
pub(super) use near::Near;
pub(super) use up::Up;
pub(super) use watch::Watch;

use super::plan::{PlannedCopy, Removal};
use crate::exit::Failure;

/// Executor of a plan. Paths are relative to the top, which is the empty path.
pub(super) enum Copier<'a> {
    Down(Down<'a>),
    Up(Up<'a>),
    Across(Across<'a>),
}

impl Copier<'_> {
    /// Creates a directory at the target.
    ///
    /// # Errors
    ///
    /// Returns the failure; it is fatal if others are not to be tried.
    pub(super) fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Down(Down { to, .. }) => to.make(path),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.make(path),
        }
    }

    /// Copies a file into the directory at `path`, reporting each piece to `watch`. Returns its
    /// size in bytes.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        match self {
            Self::Down(down) => down.copy(path, copy, watch),
            Self::Up(up) => up.copy(path, copy, watch),
            Self::Across(across) => across.copy(path, copy, watch),
        }
    }

    /// Removes an object from the target, or checks one before its removal. Returns whether it is
    /// gone.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(super) fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        match self {
            Self::Down(Down { to, .. }) => to.remove(removal),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.remove(removal),
        }
    }

    /// Connects, unless it is connected already.
    ///
    /// # Errors
    ///
    /// Returns the failure to connect.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => far.connect(),
            Self::Across(Across { from, to, .. }) => from.connect().and_then(|()| to.connect()),
        }
    }

    /// Drops connections that may have failed.
    pub(super) fn disconnect(&mut self) {
        match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => far.disconnect(),
            Self::Across(Across { from, to, .. }) => {
                from.disconnect();
                to.disconnect();
            }
        }
    }

    /// Sends QUIT.
    pub(super) fn quit(self, failure: Option<&Failure>) {
        match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => {
                far.sessions.quit(failure);
            }
            Self::Across(Across { from, to, .. }) => {
                from.sessions.quit(failure);
                to.sessions.quit(failure);
            }
        }
    }
}
