//! Spellings of paths on a server that some server may take for one: in another case, or from another
//! directory.

use std::collections::{HashMap, HashSet};

use crate::client::Client;
use crate::client::directories::names_below;
use crate::error::Error;
use crate::tree::names::fold;

/// The directory in which relative paths of added targets begin.
#[derive(Debug, Default)]
pub(super) struct Stay {
    /// `None` if it was not asked for, `Some(None)` if it is not known.
    pub(super) directory: Option<Option<Vec<u8>>>,
    /// The directory that the client has entered, for a server that does not tell it.
    pub(super) entered: Option<Vec<u8>>,
    /// The [`twin_of`] each target that is relative to it.
    pub(super) names: HashSet<Vec<u8>>,
}

impl Stay {
    /// Asks for the directory, unless the answer is known.
    pub(super) fn ask(&mut self, client: &mut Client) -> Result<(), Error> {
        if self.directory.is_none() {
            let path = client.reported_directory()?.or_else(|| self.entered.clone());
            // Another form, such as `C:/`, cannot be compared with the path of a line.
            self.directory = Some(path.filter(|path| path.starts_with(b"/")));
        }
        Ok(())
    }

    pub(super) fn known(&self) -> Option<&[u8]> {
        self.directory.as_ref()?.as_deref()
    }
}

/// The targets on a server that were written, of one last name, folded.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    rooted: Paths,
    /// Relative to the current directory while it is not known.
    beside: Paths,
    /// One relative to a directory that is not known, and that the client has left or that the path leads
    /// out of: in the root, `../a` is `a`.
    lost: Option<Vec<u8>>,
}

/// Paths as [`path_in`] returns them, by their folds.
type Paths = HashMap<Vec<u8>, HashSet<Vec<u8>>>;

impl Namesakes {
    pub(super) fn note(&mut self, path: Vec<u8>) {
        if leads_out(&path) {
            self.lost = Some(path);
            return;
        }
        let paths = if path.starts_with(b"/") { &mut self.rooted } else { &mut self.beside };
        paths.entry(fold_of(&path)).or_default().insert(path);
    }

    /// Notes the current directory.
    pub(super) fn begin_in(&mut self, directory: &[u8]) {
        for path in std::mem::take(&mut self.beside).into_values().flatten() {
            self.note(path_in(Some(directory), &path));
        }
    }

    /// Notes that the client leaves a directory.
    pub(super) fn leave(&mut self, directory: Option<&[u8]>) {
        if let Some(directory) = directory {
            self.begin_in(directory);
        }
        let left = std::mem::take(&mut self.beside).into_values().flatten().next();
        self.lost = left.or(self.lost.take());
    }

    /// Returns the paths that begin where `path` begins, and those that begin elsewhere.
    fn sides(&self, path: &[u8]) -> (&Paths, &Paths) {
        let Self { rooted, beside, .. } = self;
        if path.starts_with(b"/") { (rooted, beside) } else { (beside, rooted) }
    }

    /// Returns the other spellings of a path.
    pub(super) fn spellings<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a Vec<u8>> {
        let spellings = self.sides(path).0.get(&fold_of(path));
        spellings.into_iter().flatten().filter(move |other| *other != path)
    }

    /// Returns a target that cannot be compared with the one at `path`.
    pub(super) fn unknown(&self, path: &[u8]) -> Option<&Vec<u8>> {
        let (here, elsewhere) = self.sides(path);
        let here = here.values().filter(|_| leads_out(path));
        self.lost.iter().chain(elsewhere.values().chain(here).flatten()).next()
    }
}

/// Returns a path without empty names, `.` and `..`, from the root if its directory is known.
pub(super) fn path_in(directory: Option<&[u8]>, path: &[u8]) -> Vec<u8> {
    let begin = directory.filter(|_| !path.starts_with(b"/")).unwrap_or_default();
    let is_rooted = [begin, path].concat().starts_with(b"/");
    let root: &[u8] = if is_rooted { b"/" } else { b"" };
    [root, &names_below(begin, path).join(&b'/')].concat()
}

pub(super) fn leads_out(path: &[u8]) -> bool {
    path.starts_with(b"../")
}

/// Returns the [`twin_of`] each name of a path.
fn fold_of(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == b'/').map(twin_of).collect::<Vec<_>>().join(&b'/')
}

/// Returns a key that is equal for all names that some server may store as one: also those that are
/// not UTF-8, of which ftp-srv replaces the other bytes, and other servers may drop them.
pub(super) fn twin_of(name: &[u8]) -> Vec<u8> {
    fold(String::from_utf8_lossy(name).replace('\u{FFFD}', "").as_bytes())
}

#[cfg(test)]
mod tests {
    use ftp_proto::Escaped;

    use super::*;

    #[test]
    fn a_target_is_compared_only_with_other_spellings_of_its_whole_path() {
        let mut written = Namesakes::default();
        for number in 0..1000 {
            for path in [format!("/d/p{number}/f"), format!("/D/p{number}/F"), "/d/f".to_owned()] {
                written.note(path_in(None, path.as_bytes()));
            }
            // The same file, again and again.
            written.note(path_in(None, b"e/./f"));
            written.begin_in(b"/d");
        }
        assert_eq!(written.rooted.len(), 1002);
        for (path, others) in [
            ("/d/p7/f", vec!["/D/p7/F"]),
            ("/d/P8/f", vec!["/D/p8/F", "/d/p8/f"]),
            ("/d/e/f", vec![]),
            ("/d/x/../E/f", vec!["/d/e/f"]),
            ("/p7/f", vec![]),
        ] {
            let path = path_in(None, path.as_bytes());
            let mut found: Vec<_> =
                written.spellings(&path).map(|it| Escaped(it).to_string()).collect();
            found.sort();
            assert_eq!(found, others, "{}", Escaped(&path));
            assert_eq!(written.unknown(&path), None);
        }
        // Directories that stay unknown leave one name to ask about.
        for _ in 0..1000 {
            written.note(path_in(None, b"../f"));
            written.note(path_in(None, b"e/f"));
            written.leave(None);
        }
        assert_eq!((written.rooted.len(), written.beside.len()), (1002, 0));
        assert!(written.unknown(b"/d/f").is_some() && written.unknown(b"f").is_some());
    }
}
