//! The local side of a mirror.

use std::io::{self, ErrorKind};

use ftp_client::{Client, Error};

use super::super::local_tree::Directory;
use super::super::plan::{Removal, Removed};
use super::super::trees::failed;
use crate::exit::Failure;
use crate::remote::path::split;

/// A local tree.
pub(crate) struct Near<'a> {
    top: &'a Directory,
    /// Directory that was used last, with its path: it stays open while files in it are copied.
    held: Option<(Vec<u8>, Directory)>,
}

impl<'a> Near<'a> {
    pub(crate) fn new(top: &'a Directory) -> Self {
        Self { top, held: None }
    }

    pub(super) fn directory(&mut self, path: &[u8]) -> Result<&Directory, Failure> {
        if self.held.as_ref().is_none_or(|(held, _)| held != path) {
            let directory = self.top.below(path).map_err(|error| failed(path, &error))?;
            self.held = Some((path.to_vec(), directory));
        }
        let (_, directory) = self.held.as_ref().expect("it was opened just now");
        Ok(directory)
    }

    pub(super) fn make(&self, path: &[u8]) -> Result<(), Failure> {
        let (above, name) = split(path);
        let made = self.top.below(above).and_then(|directory| directory.make(name));
        made.map_err(|error| failed(path, &error))
    }

    pub(super) fn remove(&self, removal: &Removal) -> Result<bool, Failure> {
        // Local directories are never opened through a link.
        if matches!(removal.what, Removed::Below { .. }) {
            return Ok(false);
        }
        let (path, name) = split(&removal.path);
        let is_directory = removal.what == Removed::Directory;
        let directory = self.top.below(path);
        let gone = directory.and_then(|directory| directory.remove(name, is_directory));
        match gone {
            // The partial file has become the file by now.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            gone => gone.map(|()| true).map_err(|error| failed(&removal.path, &error)),
        }
    }
}

/// Returns the failure of a copy; `here` is the error of the local file. The client may be unusable
/// after it.
pub(super) fn broken(
    client: &mut Client,
    error: Error,
    here: impl FnOnce(&io::Error) -> Failure,
) -> Failure {
    match error {
        Error::Local(error) => {
            let failure = here(&error);
            let is_fatal = failure.fatal || !client.is_settled();
            Failure { fatal: is_fatal, ..failure }
        }
        error => error.into(),
    }
}
