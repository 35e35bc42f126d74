//! What follows from the failure of a step: another attempt, and events ([`Reporter`]). After a
//! failure, a run deletes nothing ([`Causes`]): a file that seems missing may only have been renamed,
//! and the extra is then its only copy.

use std::collections::BTreeSet;
use std::time::Duration;

use ftp_proto::Escaped;

use crate::client::repeat::Repeat;
use crate::error::Error;
pub use crate::error::job::{Setting, TreeFault};
use crate::event::{Event, Observer, Verify};
use crate::pool::patience::{Attempt, Patience};

/// Why an object stays whose removal got no reply, and that is there.
pub(super) const UNCERTAIN: &str =
    "its removal got no reply; it may be a new one, after the old one was removed; not deleted";

/// Why an object stays that the plan removes.
pub(super) const CHANGED: &str = "not deleted: it has changed since it was listed";
pub(super) const GONE: &str = "not deleted: it is gone since it was listed";

pub(crate) fn shown(path: &[u8]) -> String {
    Escaped(path).to_string()
}

pub(crate) struct Reporter<'a> {
    pub(crate) on: &'a dyn Observer,
    pub(crate) patience: &'a Patience,
}

impl Reporter<'_> {
    pub(crate) fn copied(&self, path: &[u8], bytes: u64, verified: Verify) {
        let event = Event::Done { source: path, target: path, bytes, verified };
        self.on.event(Event::Of { path, event: &event });
    }

    pub(crate) fn withheld(&self, causes: &Causes, ignores_errors: bool) {
        if let Some(first) = causes.first() {
            self.on.event(Event::Withheld { first, ignores_errors });
        }
    }

    /// Returns the memory of one command that removes, makes or renames, for all its attempts.
    pub(crate) fn memory(&self) -> Repeat {
        if self.patience.repeats() { Repeat::new() } else { Repeat::single() }
    }

    /// Waits, unless the run is cancelled.
    pub(crate) fn pause(&self, length: Duration) {
        // The next command reports a cancel.
        let _ = self.patience.limits().waiter().sleep(length);
    }

    /// Runs one action on the object at `path`, with retries of transient failures; `replaces` as for
    /// [`next`](Self::next).
    pub(crate) fn persist<T>(
        &self,
        path: &[u8],
        replaces: &mut dyn FnMut(&TreeFault) -> bool,
        mut act: impl FnMut() -> Result<T, TreeFault>,
    ) -> Result<T, TreeFault> {
        let mut attempt = self.patience.first();
        loop {
            match act() {
                Err(fault) => self.next(&mut attempt, path, fault, replaces)?,
                done => return done,
            }
        }
    }

    /// Waits for the next attempt at the object at `path`, or returns the failure.
    ///
    /// `replaces` tells whether a failure is due to a connection that a new one replaces at once:
    /// the action then has one more chance, which is not an attempt.
    pub(crate) fn next(
        &self,
        attempt: &mut Attempt,
        path: &[u8],
        fault: TreeFault,
        replaces: &mut dyn FnMut(&TreeFault) -> bool,
    ) -> Result<(), TreeFault> {
        let mut replaces = |error: &Error| matches!(error, Error::Tree(fault) if replaces(fault));
        let next =
            self.patience.next(attempt, fault.into(), &mut replaces, &mut |attempt, why, pause| {
                let event = &Event::Retry { attempt, why, pause };
                self.on.event(Event::Of { path, event });
            });
        Ok(next?)
    }
}

/// Largest size in bytes of the paths of directories that are told apart. Beyond it, a failure
/// counts for the whole tree, so that a hostile server cannot fill the memory.
const PATHS: usize = 1 << 20;

/// Failures after which a run deletes nothing from its target.
///
/// A failure counts if something of the source may be missing at the target: a directory could not
/// be read or its listing is doubtful, a directory or file was not copied, a name cannot be sent, or
/// a link was not followed. Failed deletions, kept extras, and times or permissions that could not
/// be set do not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Causes {
    first: Option<TreeFault>,
    directories: BTreeSet<Vec<u8>>,
    /// Size of these paths, each with the memory of its place in the set.
    bytes: usize,
}

impl Causes {
    /// Records that something failed in the directory at this path from the top of the tree; the
    /// path of the top is empty.
    pub(crate) fn add(&mut self, directory: &[u8], fault: &TreeFault) {
        self.first.get_or_insert_with(|| fault.clone());
        if self.directories.contains(&b""[..]) || self.directories.contains(directory) {
            return;
        }
        self.bytes += directory.len() + 64;
        if self.bytes > PATHS || directory.is_empty() {
            self.directories.clear();
            self.directories.insert(Vec::new());
        } else {
            self.directories.insert(directory.to_vec());
        }
    }

    pub(crate) const fn first(&self) -> Option<&TreeFault> {
        self.first.as_ref()
    }

    /// Returns whether objects may be deleted from a directory. With `ignores_errors`, they may if
    /// nothing failed in the directory, above it or below it; otherwise only if nothing failed at
    /// all.
    pub(crate) fn permit(&self, directory: &[u8], ignores_errors: bool) -> bool {
        let is_apart =
            |failed: &Vec<u8>| !is_below(directory, failed) && !is_below(failed, directory);
        match ignores_errors {
            true => self.directories.iter().all(is_apart),
            false => self.directories.is_empty(),
        }
    }
}

pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn any_failure_holds_back_all_deletions_and_with_ignore_errors_those_on_its_way() {
        let directories = ["", "a", "a/b", "a/c", "ab", "d"];
        for failed in directories {
            let mut causes = Causes::default();
            let fault = |text| TreeFault::item(ErrorKind::Local, text);
            causes.add(failed.as_bytes(), &fault(failed));
            causes.add(failed.as_bytes(), &fault("another"));
            assert_eq!(causes.first().map(TreeFault::to_string).as_deref(), Some(failed));
            for directory in directories {
                let parts = |path: &'static str| {
                    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>()
                };
                let (one, other) = (parts(failed), parts(directory));
                let is_apart = !one.starts_with(&other) && !other.starts_with(&one);
                assert!(!causes.permit(directory.as_bytes(), false));
                assert_eq!(
                    causes.permit(directory.as_bytes(), true),
                    is_apart,
                    "{failed} {directory}"
                );
            }
        }
    }

    #[test]
    fn endless_failures_take_bounded_memory() {
        let mut causes = Causes::default();
        let fault = TreeFault::item(ErrorKind::Local, "no");
        for number in 0..40_000 {
            causes.add(number.to_string().as_bytes(), &fault);
            assert!(causes.directories.len() * 64 <= PATHS);
        }
        assert!(!causes.permit(b"x", true));
    }
}
