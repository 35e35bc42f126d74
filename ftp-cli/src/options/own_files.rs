//! The files that a run uses itself: those that its options name, some of them secret, and the usual
//! ones.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use super::{Command, Completes, Options, TABLE};
use crate::config_file;
use crate::connect::credentials::netrc_in_home;
use crate::console::output::shown_path;
use crate::exit::{Exit, Failure, Result};
use crate::system::{self, FileId};

fn named(options: &Options) -> impl Iterator<Item = (&'static str, &Path)> {
    if let Some(trace) = options.value("trace") {
        // It is written only later, but it must be known now. What is there is not opened: it may be a pipe.
        let mut opening = OpenOptions::new();
        let _ = system::private(opening.append(true).create_new(true)).open(trace);
    }
    let is_own = |long| {
        // What `get` writes is no file of the run.
        let mut rows = TABLE.iter().filter(|row| row.long == long && long != "output");
        rows.any(|row| row.value.completes() == Completes::File)
    };
    let files = options.given.iter().filter(move |given| is_own(given.long));
    files.filter_map(|given| Some((given.long, Path::new(given.value.as_deref()?))))
}

/// Returns the files that no tree copies, replaces or removes.
pub(crate) fn own_files(options: &Options) -> impl Iterator<Item = PathBuf> {
    let named: Vec<_> = named(options).map(|(_, path)| path.to_owned()).collect();
    let home = system::home();
    let usual = [config_file::path(), home.and_then(|home| netrc_in_home(&home))];
    named.into_iter().chain(usual.into_iter().flatten())
}

/// The files that options name, of which no command uploads or replaces one.
#[derive(Clone)]
pub(crate) struct NamedFiles(Vec<(&'static str, FileId)>);

impl NamedFiles {
    pub(crate) fn of(options: &Options) -> Self {
        let files = named(options).filter(|(_, path)| path.is_file());
        Self(files.filter_map(|(long, path)| Some((long, system::file_id(path)?))).collect())
    }

    /// Checks that the file at `path` is none of them.
    ///
    /// # Errors
    ///
    /// Returns `Usage` with the option that names it.
    pub(crate) fn check(&self, path: &Path) -> Result {
        // Without such a file, nothing is asked.
        let mut own = self.0.iter().filter(|(_, own)| system::file_id(path).as_ref() == Some(own));
        let Some((long, _)) = own.next() else { return Ok(()) };
        let message = format!("{}: is the file of --{long}; choose another one", shown_path(path));
        Err(Failure::item(Exit::Usage, message))
    }
}

/// Checks the files that `put` sends, before any file that an option names is opened to be written.
///
/// # Errors
///
/// Returns the errors of [`NamedFiles::check`].
pub(crate) fn check_sources(command: Option<Command>, options: &Options) -> Result {
    if command != Some(Command::Put) {
        return Ok(());
    }
    let own = NamedFiles::of(options);
    options.operands.iter().try_for_each(|local| own.check(Path::new(local)))
}
