//! What copies objects from one side to the other, one after the other: each job has a [`Copier`].

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

/// Does what a plan says. Paths are from the top, which is the empty one.
pub(super) enum Copier<'a> {
    Down(Down<'a>),
    Up(Up<'a>),
    Across(Across<'a>),
}

impl Copier<'_> {
    /// Makes a directory at the target.
    ///
    /// # Errors
    ///
    /// What went wrong; fatal if others are not to be tried.
    pub(super) fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Down(Down { to, .. }) => to.make(path),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.make(path),
        }
    }

    /// Copies a file into the directory at `path`, telling `watch` of each piece of it. Gives how
    /// many bytes it had.
    ///
    /// # Errors
    ///
    /// As of [`make`](Self::make).
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

    /// Removes an object from the target, or looks at what is to be removed. Whether it is gone.
    ///
    /// # Errors
    ///
    /// As of [`make`](Self::make).
    pub(super) fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        match self {
            Self::Down(Down { to, .. }) => to.remove(removal),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.remove(removal),
        }
    }

    /// Connects, where that is not done yet.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => far.connect(),
            Self::Across(Across { from, to, .. }) => from.connect().and_then(|()| to.connect()),
        }
    }

    /// Forgets connections that may have failed.
    pub(super) fn disconnect(&mut self) {
        match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => far.disconnect(),
            Self::Across(Across { from, to, .. }) => {
                from.disconnect();
                to.disconnect();
            }
        }
    }

    /// Says good-bye.
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
