//! Where a download goes on: after the beginning of the same file, and of no other.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::growing::named;
use super::local::{LocalFile, part_of};
use super::origin::Origin;
use crate::client::Client;
use crate::error::Error;

/// How a download looks for what is here of its file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResumeOptions {
    /// The file itself is made longer, and not `NAME.part`.
    pub in_place: bool,
    /// It begins at byte 0 whatever is here: that may be wrong.
    pub from_start: bool,
}

/// A local file, and where a download into it begins.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// What the bytes are written to.
    pub file: LocalFile,
    /// The first byte that is missing.
    pub offset: u64,
    /// What the server says of its file.
    pub origin: Origin,
    /// Nothing is missing.
    pub is_whole: bool,
    /// A file that is here, and is not known to be the beginning of the server's.
    pub rejected: Option<PathBuf>,
}

impl Resumed {
    /// A download of all.
    pub(super) fn at_0(file: LocalFile) -> Self {
        Self { file, offset: 0, origin: Origin::default(), is_whole: false, rejected: None }
    }
}

impl LocalFile {
    /// Goes on with `NAME.part`, or else with a shorter file at `target`, if nothing says that it
    /// is the beginning of another file than the one at `path` on the server. It is not longer than
    /// that, and size and time are those that the server gave when the first byte came. Where they
    /// were not written down, the server's file was not modified after the last byte came.
    /// Otherwise the download starts at byte 0; what is here stays until its first byte comes.
    ///
    /// # Errors
    ///
    /// [`Error::Local`] if the file cannot be opened, is no regular file, or if another program
    /// writes to it; those of [`Client::size`] and [`Client::modified`].
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
            Some(_) => None,
            None => beginning(target)?,
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
        // The reason to begin from the start is known already.
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

/// A regular file that may be the beginning of another.
struct Beginning {
    length: u64,
    /// When it was last written to.
    modified: Option<SystemTime>,
}

/// Looks for one at `path`, which may not be a link.
fn beginning(path: &Path) -> Result<Option<Beginning>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            Ok(Some(Beginning { length: metadata.len(), modified: metadata.modified().ok() }))
        }
        Ok(_) => Err(Error::Local(named(path, &io::Error::other("is not a regular file")))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Local(named(path, &error))),
    }
}
