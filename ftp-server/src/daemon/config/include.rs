//! The files with users that `include` of a configuration names.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::daemon::DaemonError;
use ftp_proto::text::values::shown_path;

/// All files of a directory whose names begin and end with these texts.
#[derive(Clone, Debug)]
pub(crate) struct Include {
    pub(crate) directory: PathBuf,
    start: String,
    end: String,
    /// The files that were read, sorted by name.
    pub(crate) files: Vec<PathBuf>,
}

/// An included file with other content than on disk: its text, or `None` if it does not exist.
pub(crate) type Replaced<'a> = (&'a Path, Option<&'a str>);

impl Include {
    /// Reads a pattern such as `users.d/*.toml`.
    ///
    /// # Errors
    ///
    /// Returns a message if the pattern is invalid.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        let parts = name.split_once('*').filter(|_| pattern.matches('*').count() == 1);
        let Some((start, end)) = parts.filter(|_| !pattern.chars().any(char::is_control)) else {
            return Err(format!("invalid pattern \"{pattern}\": expected DIR/*.toml, with one *"));
        };
        let (directory, start, end) = (directory.into(), start.to_owned(), end.to_owned());
        Ok(Self { directory, start, end, files: Vec::new() })
    }

    /// Returns the path of the file for a user. A byte that is unsafe in a path becomes `%XX`.
    pub(crate) fn path_of(&self, user: &str) -> PathBuf {
        let mut name = self.start.clone();
        for byte in user.bytes() {
            match byte.is_ascii_alphanumeric() || b"-_@+.".contains(&byte) && !name.is_empty() {
                true => name.push(char::from(byte)),
                false => name += &format!("%{byte:02X}"),
            }
        }
        self.directory.join(name + &self.end)
    }

    /// Finds the files below `base`. Hidden files are none of them.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the directory cannot be read.
    pub(super) fn find(
        &mut self,
        base: &Path,
        replaced: Option<Replaced<'_>>,
    ) -> Result<(), DaemonError> {
        self.directory = base.join(&self.directory);
        let failed = |error| DaemonError::local(shown_path(&self.directory), &error);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let middle = name.as_bytes().strip_prefix(self.start.as_bytes());
            let is_it = middle.is_some_and(|middle| middle.ends_with(self.end.as_bytes()));
            if is_it && !name.as_bytes().starts_with(b".") {
                self.files.push(self.directory.join(name));
            }
        }
        if let Some((path, text)) = replaced {
            self.files.retain(|other| other != path);
            self.files.extend(text.map(|_| path.to_owned()));
        }
        self.files.sort();
        Ok(())
    }
}
