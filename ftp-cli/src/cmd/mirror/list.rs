//! `--files-from FILE`: the names of a tree that take part, and those that turn out to be missing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::console::output::{self, shown};
use crate::exit::{Failure, Result};
use crate::options::{Options, values};
use crate::system::OsStrExt;

/// The names of a list, as paths from the top of the tree.
#[derive(Debug)]
pub(super) struct NameList {
    /// Whether each has been met in the source.
    names: BTreeMap<Vec<u8>, AtomicBool>,
    /// The top of a local source.
    top: Option<PathBuf>,
}

impl NameList {
    /// Reads the list that the options name, if they name one.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for a name that leads out of the tree, and `Local` if the list cannot be read.
    pub(super) fn from_options(
        options: &Options,
        top: Option<&Path>,
        input: &mut dyn Read,
    ) -> Result<Option<Self>> {
        let Some(file) = options.value("files-from") else { return Ok(None) };
        let (name, text) = output::read(file, input)?;
        let mut names = BTreeMap::new();
        for (line, number) in lines(values::without_mark(&text)).zip(1..) {
            let path = path(line).map_err(|why| {
                Failure::usage(format!("{name}:{number}: \"{}\": {why}", shown(line)))
            })?;
            names.extend(path.map(|path| (path, AtomicBool::new(false))));
        }
        Ok(Some(Self { names, top: top.map(Path::to_owned) }))
    }

    /// Returns whether an object takes part: one that the list has, all that is in a listed directory,
    /// and the directories above both.
    pub(super) fn takes(&self, path: &[u8], is_directory: bool) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        let mut listed = above.filter_map(|above| self.names.get(above).map(|met| (above, met)));
        if let Some((above, met)) = listed.next() {
            // A name below a listed directory can be listed too.
            let all = [(above, met)].into_iter().chain(listed);
            all.filter(|(above, _)| *above == path)
                .for_each(|(_, met)| met.store(true, Ordering::Relaxed));
            return true;
        }
        let inside = [path, b"/"].concat();
        let mut below = self.names.range(inside.clone()..).map(|(name, _)| name);
        // A directory of missing names only would be made for nothing.
        is_directory
            && below
                .by_ref()
                .take_while(|name| name.starts_with(&inside))
                .any(|name| self.may_be_there(name))
    }

    fn may_be_there(&self, name: &[u8]) -> bool {
        let here = self.top.as_ref().map(|top| top.join(OsStr::from_bytes(name)));
        here.is_none_or(|here| here.symlink_metadata().is_ok())
    }

    /// Returns the names that the source lacks, or whose objects were left out for another reason, and
    /// forgets what was met.
    pub(super) fn unmet(&self) -> Vec<&[u8]> {
        let unmet = self.names.iter().filter(|(_, met)| !met.swap(false, Ordering::Relaxed));
        unmet.map(|(name, _)| name.as_slice()).collect()
    }
}

/// Returns the names: they end with NUL if there is one, else with a line feed.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_by_nul = text.contains(&0);
    let parts = text.split(move |byte| *byte == if is_by_nul { 0 } else { b'\n' });
    parts.map(move |line| line.strip_suffix(b"\r").filter(|_| !is_by_nul).unwrap_or(line))
}

/// Returns a path in the form of the tree's paths; `None` for an empty line.
fn path(line: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if line.is_empty() {
        return Ok(None);
    }
    let parts: Vec<_> =
        line.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    match parts.as_slice() {
        parts if parts.contains(&&b".."[..]) => Err(".. leads out of SRC"),
        [] => Err("expected the name of a file or directory in SRC"),
        parts => Ok(Some(parts.join(&b'/'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8]) -> NameList {
        let names = lines(text).filter_map(|line| path(line).unwrap());
        NameList { names: names.map(|name| (name, AtomicBool::new(false))).collect(), top: None }
    }

    #[test]
    fn listed_names_and_directories_take_part() {
        for text in [&b"a\r\nd/e/f\n./x//y/\n\nx/y/z\n"[..], b"a\0/d/e/f\0x/y\0x/y/z\0"] {
            let list = list(text);
            for (name, is_directory, want) in [
                ("a", false, true),
                ("d", true, true),
                ("d/e", true, true),
                ("d/e/f", false, true),
                ("d/e/g", false, false),
                ("d/a", false, false),
                ("x", true, true),
                ("x/y", true, true),
                ("x/y/z", false, true),
                ("x/y/other/z", false, true),
                ("x/z", false, false),
                ("d", false, false),
                ("ab", false, false),
            ] {
                assert_eq!(list.takes(name.as_bytes(), is_directory), want, "{name}");
            }
            assert!(list.unmet().is_empty());
            assert_eq!(list.unmet().len(), 4);
        }
    }

    #[test]
    fn names_keep_every_byte_but_the_end_of_the_line() {
        let all: Vec<_> = lines(b"#a\n b \n\xff\n").collect();
        assert_eq!(all, [&b"#a"[..], b" b ", b"\xff", b""]);
        assert_eq!(lines(b"a\nb\0c\r").collect::<Vec<_>>(), [&b"a\nb"[..], b"c\r"]);
        for wrong in [&b".."[..], b"a/../b", b"/", "./".as_bytes()] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }
}
