//! What a caller can say about the transfer of one file.

use std::path::PathBuf;

use ftp_proto::RepresentationType;

use super::evidence::Resume;
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
    pub(crate) preserve: bool,
    pub(crate) creates_directories: bool,
    pub(crate) most_bytes: Option<u64>,
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
            preserve: false,
            creates_directories: false,
            most_bytes: None,
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

    /// Sets whether the caller removes the source after an upload (default: no).
    ///
    /// The upload then fails unless the server reports its size, and unless its file is proved to be
    /// the new one. The source itself stays: remove it after the upload. Downloads ignore this.
    pub const fn moves(mut self, on: bool) -> Self {
        self.moves = on;
        self
    }

    /// Sets whether the target gets the modification time of the source (default: no).
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
