//! What follows from the failure of a step. A run deletes nothing then ([`Causes`]): what is missing
//! may be what would be deleted, renamed.

use std::collections::BTreeSet;

use ftp_proto::Escaped;

pub use crate::error::job::{Setting, TreeFault};

/// Returns a path for messages.
pub(crate) fn shown(path: &[u8]) -> String {
    Escaped(path).to_string()
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
    first: Option<String>,
    directories: BTreeSet<Vec<u8>>,
    /// Size of these paths, each with the memory of its place in the set.
    bytes: usize,
}

impl Causes {
    /// Records that something failed in the directory at this path from the top of the tree; the
    /// path of the top is empty.
    pub(crate) fn add(&mut self, directory: &[u8], message: &str) {
        self.first.get_or_insert_with(|| message.to_owned());
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

    /// Returns the message of the first failure, if anything failed.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
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

/// Returns whether `path` is `directory`, or is below it.
pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_failure_holds_back_all_deletions_and_with_ignore_errors_those_on_its_way() {
        let directories = ["", "a", "a/b", "a/c", "ab", "d"];
        for failed in directories {
            let mut causes = Causes::default();
            causes.add(failed.as_bytes(), failed);
            causes.add(failed.as_bytes(), "another");
            assert_eq!(causes.first(), Some(failed));
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
        for number in 0..40_000 {
            causes.add(number.to_string().as_bytes(), "no");
            assert!(causes.directories.len() * 64 <= PATHS);
        }
        assert!(!causes.permit(b"x", true));
    }
}
