//! Resumes a download, but only if the local bytes are the beginning of the same file.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::growing::named;
use super::local::{LocalFile, part_of};
use super::origin::Origin;
use crate::client::Client;
use crate::error::Error;

/// Options for finding the beginning of a file to resume.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResumeOptions {
    /// Whether to extend the file itself, not `NAME.part`.
    pub in_place: bool,
    /// Whether to start at byte 0 in any case, for example after a failed integrity check.
    pub from_start: bool,
    /// Whether to resume only `NAME.part`, and never extend an existing file at the target. With
    /// `in_place`, such a file is an error unless it is empty.
    pub keep_existing: bool,
}

/// A local file, and the offset at which a download to it starts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// The file to write to.
    pub file: LocalFile,
    /// The position of the first missing byte.
    pub offset: u64,
    /// The size and modification time of the server's file.
    pub origin: Origin,
    /// Whether the file is complete.
    pub is_whole: bool,
    /// The local file that was not resumed, because it could be the beginning of a different file.
    pub rejected: Option<PathBuf>,
}

impl Resumed {
    /// Returns a download of the whole file.
    pub(super) fn at_0(file: LocalFile) -> Self {
        Self { file, offset: 0, origin: Origin::default(), is_whole: false, rejected: None }
    }
}

impl LocalFile {
    /// Resumes `NAME.part` or, if that is missing, a shorter file at `target`. Either is resumed
    /// only if it seems to be the beginning of the server's file at `path`.
    ///
    /// The local file must not be longer than the server's file, whose size and time must be the
    /// same as when the first byte arrived. If no time was stored, the modification time of the
    /// server's file must not be later than that of the local file. Otherwise the download starts
    /// at byte 0; the local bytes stay until its first byte arrives.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Local`] if the file cannot be opened, is not a regular file, or is being
    /// written by another program. Also returns the errors of [`Client::size`] and
    /// [`Client::modified`].
    pub fn resume(
        client: &mut Client,
        path: impl AsRef<[u8]>,
        target: &Path,
        how: ResumeOptions,
    ) -> Result<Resumed, Error> {
        let part = part_of(target);
        let kept = match how.in_place {
            true => None,
            false => beginning(&part)?,
        };
        let shorter = match &kept {
            None if !how.keep_existing => beginning(target)?,
            _ => None,
        };
        let origin = Origin::ask(client, path.as_ref())?;
        let found = kept.as_ref().or(shorter.as_ref());
        let length = found.map_or(0, |found| found.length);
        let fits = !how.from_start
            && found.is_some_and(|found| {
                let known = kept.as_ref().and(File::open(&part).ok());
                let known = known.as_ref().and_then(Origin::read_from);
                origin.continues(known, length, found.modified)
            });
        let offset = if fits { length } else { 0 };
        // A caller that demands a start at byte 0 already knows why.
        let is_rejected = !fits && !how.from_start && length > 0;
        let rejected = is_rejected.then(|| match &kept {
            Some(_) => part,
            None => target.to_owned(),
        });
        let file = if how.in_place || kept.is_none() && offset > 0 {
            Self::in_place(target, length, offset)
        } else {
            let length = kept.as_ref().map_or(0, |kept| kept.length);
            Self::part(target, length, offset, Some(origin))
        };
        let is_whole = fits && origin.size == Some(offset);
        Ok(Resumed { file: file.map_err(Error::Local)?, offset, origin, is_whole, rejected })
    }
}

/// A regular file that may be the beginning of the server's file.
struct Beginning {
    length: u64,
    /// The time of the last write.
    modified: Option<SystemTime>,
}

/// Returns the regular file at `path`; `None` if there is no file. Fails for a symbolic link.
fn beginning(path: &Path) -> Result<Option<Beginning>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            Ok(Some(Beginning { length: metadata.len(), modified: metadata.modified().ok() }))
        }
        Ok(_) => Err(Error::Local(named(path, &io::Error::other("not a regular file")))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Local(named(path, &error))),
    }
}
