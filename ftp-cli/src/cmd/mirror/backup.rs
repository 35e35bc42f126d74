//! `--backup-dir`: prepares the directory for replaced and deleted files.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path};

use super::Mirror;
use super::copy::{OVERLAP, RemoteBackup};
use super::local_tree::{Backup, Directory};
use crate::display::shown_path;
use crate::exit::Failure;
use crate::transfer::options::TemporaryName;

impl Mirror<'_> {
    /// Checks by path that neither the local backup nor the tree contains the other.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if one contains the other.
    pub(super) fn check_local_backup(&self, here: &Path) -> Result<(), Failure> {
        let Some(backup) = &self.wanted.backup else { return Ok(()) };
        let full = |path: &Path| {
            let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
            fs::canonicalize(&path).unwrap_or(path)
        };
        are_apart(&full(Path::new(backup)), &full(here))
    }

    /// Opens the local backup, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the backup cannot be created or opened, or `Usage` if the backup or the
    /// tree contains the other.
    pub(super) fn open_backup(&self, here: &Path) -> Result<Option<Backup>, Failure> {
        let Some(backup) = &self.wanted.backup else { return Ok(None) };
        let backup = Path::new(backup);
        let failed = |error| Failure::local(shown_path(backup), &error);
        fs::create_dir_all(backup).map_err(failed)?;
        let real = fs::canonicalize(backup).map_err(failed)?;
        let tree = fs::canonicalize(here);
        are_apart(&real, &tree.map_err(|error| Failure::local(shown_path(here), &error))?)?;
        Directory::open(backup).map(Backup).map(Some).map_err(failed)
    }

    /// Returns the backup directory on the server. Uploads then get temporary names, so that the
    /// old file stays until the new one is complete.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if `--continue` is set, because it resumes uploads in place.
    pub(super) fn remote_backup(&mut self) -> Result<Option<RemoteBackup>, Failure> {
        let Some(backup) = &self.wanted.backup else { return Ok(None) };
        if self.wanted.transfer.resume {
            let message = "--backup-dir and --continue exclude each other for uploads";
            return Err(Failure::usage(message));
        }
        self.wanted.transfer.temporary.get_or_insert_with(TemporaryName::standard);
        let bytes = backup.as_bytes();
        let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
        Ok(Some(RemoteBackup::new(bytes.get(..end).unwrap_or(bytes))))
    }
}

fn are_apart(one: &Path, other: &Path) -> Result<(), Failure> {
    match one.starts_with(other) || other.starts_with(one) {
        true => Err(Failure::usage(OVERLAP)),
        false => Ok(()),
    }
}
