//! `TreeFault`: why a step of a tree failed, with the object that it is about.
//!
//! After a failure, a run deletes nothing ([`Causes`]): what is missing may be what would be deleted,
//! renamed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use ftp_proto::{Escaped, ReplyCode};

use crate::error::{Error, ErrorKind, Recovery};
use crate::listing::Budget;

/// Why a step of a tree failed. `Display` names the object and the reason.
#[derive(Clone, Debug)]
pub struct TreeFault {
    /// The objects that the reason is about, outermost first, each with a colon.
    objects: String,
    /// The error of the client or of the disk.
    error: Option<Box<Error>>,
    /// The kind, if it is not that of the error.
    kind: Option<ErrorKind>,
    /// The reason, if it is not the text of the error.
    text: Option<String>,
    /// What follows the reason: consequences and advice.
    after: String,
    setting: Option<Setting>,
    ends_run: bool,
    recovery: Recovery,
}

/// The setting of [`SyncOptions`](super::SyncOptions), or the side, that a failure is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Setting {
    /// [`backup`](super::SyncOptions::backup).
    Backup,
    /// [`replaces_changed`](super::SyncOptions::replaces_changed).
    Changed,
    /// [`compare`](super::SyncOptions::compare).
    Compare,
    /// [`deletes`](super::SyncOptions::deletes): what holds back deletions.
    Deletions,
    /// A [`manifest`](super::SyncOptions::manifest) that this run does not use.
    Deployed,
    /// [`links`](super::SyncOptions::links).
    Links,
    /// [`manifest`](super::SyncOptions::manifest).
    Manifest,
    /// [`moves`](super::SyncOptions::moves).
    Moves,
    /// [`creates_parents`](super::SyncOptions::creates_parents).
    Parents,
    /// [`permissions`](super::SyncOptions::permissions).
    Permissions,
    /// [`deletes`](super::SyncOptions::deletes): what an object of another type would replace.
    Replaced,
    /// The source itself.
    Source,
    /// [`temporary`](super::SyncOptions::temporary).
    Temporary,
}

impl TreeFault {
    /// Returns a failure after which nothing more is tried.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        let recovery = match kind {
            ErrorKind::Integrity => Recovery::StartOver,
            _ => Recovery::Impossible,
        };
        Self {
            objects: String::new(),
            error: None,
            kind: Some(kind),
            text: Some(text.into()),
            after: String::new(),
            setting: None,
            ends_run: true,
            recovery,
        }
    }

    /// Returns a failure of one object, which does not affect the next one.
    pub(crate) fn item(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { ends_run: false, ..Self::new(kind, text) }
    }

    /// Returns the failure of one local object. With a full or read-only disk, the next file would
    /// fail too.
    pub(crate) fn local(path: &[u8], error: &io::Error) -> Self {
        let ends_run = matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        );
        let fault = Self::from(Error::Local(crate::error::io_again(error)));
        Self { ends_run, ..fault }.about(if path.is_empty() { b"." } else { path })
    }

    /// Adds the object that the failure is about.
    pub(crate) fn about(self, path: &[u8]) -> Self {
        self.in_words(format_args!("{}", Escaped(path)))
    }

    /// Adds the object that the failure is about, described in words.
    pub(crate) fn in_words(self, object: impl fmt::Display) -> Self {
        Self { objects: format!("{object}: {}", self.objects), ..self }
    }

    /// Adds a consequence or advice.
    pub(crate) fn then(mut self, text: &str) -> Self {
        self.after.push_str("; ");
        self.after.push_str(text);
        self
    }

    /// Names the setting that the failure is about.
    pub(crate) fn of(self, setting: Setting) -> Self {
        Self { setting: Some(setting), ..self }
    }

    /// Sets the kind.
    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// Marks the failure as one of a single object.
    pub(crate) fn of_one(self) -> Self {
        Self { ends_run: false, ..self }
    }

    /// Marks the failure as one after which nothing more is tried.
    pub(crate) fn ending(self, ends_run: bool) -> Self {
        Self { ends_run: self.ends_run || ends_run, ..self }
    }

    /// Marks the failure as not to be retried.
    pub(crate) fn never_retried(self) -> Self {
        Self { recovery: Recovery::Impossible, ..self }
    }

    /// Returns the memory of the failure in bytes.
    pub(crate) fn weight(&self) -> usize {
        let reply = self.cause().and_then(Error::reply);
        let lines = reply.into_iter().flat_map(|reply| reply.lines());
        let lines = lines.map(Budget::weight_of_name).sum::<usize>();
        let error = self.cause().map_or(0, |_| size_of::<Error>() + lines);
        // A message names objects, which the error can name once more.
        size_of::<Self>() + error + 2 * Budget::weight_of_name(self.to_string().as_bytes())
    }

    /// Returns the kind of the reason.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let of_error = || self.error.as_ref().map(|error| error.kind());
        self.kind.or_else(of_error).unwrap_or(ErrorKind::Unsupported)
    }

    /// Returns the error of the client or of the local disk, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.error.as_deref()
    }

    /// Returns the reason in words, if it is not just that of the [cause](Self::cause).
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns the objects that the reason is about, each with `: `; empty if there are none.
    #[must_use]
    pub fn objects(&self) -> &str {
        &self.objects
    }

    /// Returns what follows the reason: consequences and advice, with `; ` before each.
    #[must_use]
    pub fn after(&self) -> &str {
        &self.after
    }

    /// Returns the setting that the failure is about.
    #[must_use]
    pub const fn setting(&self) -> Option<Setting> {
        self.setting
    }

    /// Returns whether nothing more is tried after this failure.
    #[must_use]
    pub const fn ends_run(&self) -> bool {
        self.ends_run
    }

    /// Returns what another attempt can do.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Returns whether the server refused a command about one object.
    pub(crate) fn is_refusal(&self) -> bool {
        let kinds = [ErrorKind::Refused, ErrorKind::Temporary, ErrorKind::Data];
        !self.ends_run && kinds.contains(&self.kind())
    }

    /// Returns whether the server refused a command about one object only for now.
    pub(crate) fn is_for_now(&self) -> bool {
        self.is_refusal() && self.recovery == Recovery::TryAgain
    }

    /// Returns whether the server does not know the command.
    pub(crate) fn is_unknown_command(&self) -> bool {
        let is_unknown = |code: ReplyCode| matches!(code.value(), 500 | 502 | 504);
        let reply = self.cause().and_then(Error::reply);
        reply.is_some_and(|reply| is_unknown(reply.code()))
    }
}

impl fmt::Display for TreeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.objects)?;
        match (&self.text, self.cause()) {
            (Some(text), _) => f.write_str(text)?,
            (None, Some(Error::Local(error))) => error.fmt(f)?,
            (None, Some(error)) => error.fmt(f)?,
            (None, None) => {}
        }
        f.write_str(&self.after)
    }
}

impl std::error::Error for TreeFault {}

impl From<Error> for TreeFault {
    fn from(error: Error) -> Self {
        if let Error::Tree(fault) = error {
            return *fault;
        }
        let (ends_run, recovery) = (error.affects_others(), error.recovery());
        Self {
            objects: String::new(),
            error: Some(Box::new(error)),
            kind: None,
            text: None,
            after: String::new(),
            setting: None,
            ends_run,
            recovery,
        }
    }
}

impl From<TreeFault> for Error {
    fn from(fault: TreeFault) -> Self {
        Self::Tree(Box::new(fault))
    }
}

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
