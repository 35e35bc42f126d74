//! What a caller can say about the transfer of one file.

use std::path::PathBuf;

use ftp_proto::RepresentationType;

use super::evidence::Resume;
#[cfg(unix)]
use super::selection::Selection;
use crate::transfer::RateLimit;

/// Options of whole-file transfers: plain data that any number of jobs can share.
///
/// By default the whole file is transferred in type image, an existing file is replaced, the result
/// is verified as far as the server allows, and the modification time is not set.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileOptions {
    pub(crate) representation: RepresentationType,
    pub(crate) resume: Resume,
    pub(crate) existing: Existing,
    pub(crate) verify: Verify,
    pub(crate) moves: bool,
    pub(crate) retried: bool,
    pub(crate) preserve: bool,
    pub(crate) creates_directories: bool,
    pub(crate) most_bytes: Option<u64>,
    #[cfg(unix)]
    pub(crate) selection: Selection,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) journals: Option<PathBuf>,
}

/// What happens to an existing target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Existing {
    /// It is replaced.
    #[default]
    Replace,
    /// It is kept, and the transfer is skipped.
    Keep,
    /// It is replaced if its modification time is earlier than that of the source.
    ReplaceOlder,
    /// It is replaced unless it has the size and the modification time of the source.
    ReplaceDifferent,
}

/// How the result of a transfer is verified, beyond the server's confirmation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verify {
    /// The size, if the server reports it; after a resume also the digest, if the server has one.
    #[default]
    IfKnown,
    /// Not at all.
    None,
    /// The size; a server that does not report it is a failure.
    Size,
    /// The digest; a server that does not compute one is a failure.
    Digest,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            representation: RepresentationType::Image,
            resume: Resume::Own,
            existing: Existing::Replace,
            verify: Verify::IfKnown,
            moves: false,
            retried: false,
            preserve: false,
            creates_directories: false,
            most_bytes: None,
            #[cfg(unix)]
            selection: Selection::default(),
            rate_limit: None,
            journals: None,
        }
    }
}

impl FileOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the representation type (default: image).
    pub const fn representation(mut self, representation: RepresentationType) -> Self {
        self.representation = representation;
        self
    }

    /// Sets what a resume may rely on (default: [`Resume::Own`]).
    pub const fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// Sets what happens to an existing target (default: [`Existing::Replace`]).
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Sets how the result is verified (default: [`Verify::IfKnown`]).
    pub const fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets whether the source is removed once it is complete at the target (default: no).
    ///
    /// No file is lost if the program is killed. A lock file beside the local file excludes other
    /// moves of it, and a journal there lets the next run continue; only an upload without
    /// [`StoreAs::Under`](crate::StoreAs::Under) is sent again.
    ///
    /// The transfer fails, and the source stays, unless the server reports the size of its file.
    /// After a download, it must also report the modification time or a digest; after an upload,
    /// the facts or a digest must show that its file is the new one.
    pub const fn moves(mut self, on: bool) -> Self {
        self.moves = on;
        self
    }

    /// Sets whether the caller attempts a failed job again (default: no). An upload under a
    /// [temporary name](crate::StoreAs::Under) then asks for the facts of both names before it is
    /// renamed, so that another attempt can tell whether a rename with a lost reply happened.
    pub const fn retried(mut self, on: bool) -> Self {
        self.retried = on;
        self
    }

    /// Sets whether the target gets the modification time of the source (default: no). If that is
    /// unknown, the transfer fails.
    pub const fn preserve(mut self, on: bool) -> Self {
        self.preserve = on;
        self
    }

    /// Sets whether an upload creates missing parent directories on the server (default: no).
    pub const fn creates_directories(mut self, on: bool) -> Self {
        self.creates_directories = on;
        self
    }

    /// Sets the largest number of bytes that a download may have; one more ends it (default: none).
    pub const fn most_bytes(mut self, most: Option<u64>) -> Self {
        self.most_bytes = most;
        self
    }

    /// Sets which files are transferred, by size and age (default: all).
    #[cfg(unix)]
    pub const fn only(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets a limit of bytes per second (default: none).
    pub fn rate_limit(mut self, limit: Option<RateLimit>) -> Self {
        self.rate_limit = limit;
        self
    }

    /// Sets the directory for the journals of uploads whose own directory cannot be written
    /// (default: none; such uploads cannot be resumed by a later run).
    pub fn journals(mut self, directory: Option<PathBuf>) -> Self {
        self.journals = directory;
        self
    }
}
