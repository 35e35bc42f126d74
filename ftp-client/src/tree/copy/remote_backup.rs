//! The backup on a server: the directory for files that would otherwise be lost.

use ftp_proto::Pathname;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, MutexGuard};

use super::remote_side::RemoteTop;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::repeat::Repeat;
use crate::error::{Error, ErrorKind};
use crate::listing::{Budget, ListOptions};
use crate::lock;
use crate::tree::fault::{Setting, TreeFault, shown};
use crate::tree::names::fold;

/// Largest number of names that are tried for a backup: a server that cuts names short may find all
/// of them taken.
const LOOKS: usize = 100;

/// A directory for replaced and deleted files, which keep their relative paths in it.
pub(crate) struct RemoteBackup {
    top: Vec<u8>,
    /// Directories of the backup that were listed, by any job.
    places: Mutex<HashMap<Vec<u8>, Listed>>,
    /// Whether an object is moved again if the reply to the move was lost.
    repeats: bool,
    /// Objects of which that happened, each with its reserved path.
    lost: Mutex<LostMoves>,
}

/// The reserved path and the memory of each move whose reply was lost.
type LostMoves = HashMap<Vec<u8>, (Vec<u8>, Repeat)>;

#[derive(Default)]
struct Listed {
    /// Each name as [`fold`] returns it: the server may store two spellings as one file.
    names: HashSet<Vec<u8>>,
    /// Whether names that begin with a dot may be missing.
    hides: bool,
}

impl Listed {
    fn reserve(&mut self, name: &[u8]) -> Vec<u8> {
        let mut free = name.to_vec();
        let mut number = 0_u64;
        if self.hides && name.starts_with(b".") {
            // Unlisted files may have any number.
            number = RandomState::new().build_hasher().finish();
            free = numbered(name, number);
        }
        while !self.names.insert(fold(&free)) {
            number = number.wrapping_add(1);
            free = numbered(name, number);
        }
        free
    }
}

/// Returns a name in the form of `cp --backup=numbered`.
fn numbered(name: &[u8], number: u64) -> Vec<u8> {
    [name, format!(".~{number}~").as_bytes()].concat()
}

impl RemoteBackup {
    /// Returns the backup at `top`. If it `repeats` a move, it first asks for the facts by which it
    /// recognizes an object that was moved.
    pub(crate) fn new(top: &[u8], repeats: bool) -> Self {
        let (places, lost) = (Mutex::default(), Mutex::default());
        Self { top: top.to_vec(), places, repeats, lost }
    }

    /// Verifies that neither the backup nor the tree at `tree` contains the other.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if one contains the other: the next run would delete the backup, or move it
    /// into itself.
    pub(crate) fn check_apart(&self, client: &mut Client, tree: &[u8]) -> Result<(), TreeFault> {
        // If the server does not report the current directory, relative paths are compared as they
        // are.
        let mut names = |path: &[u8]| client.names_from_root(path).unwrap_or_else(|| plain(path));
        let (one, other) = (names(&self.top), names(tree));
        match one.starts_with(&other) || other.starts_with(&one) {
            true => Err(overlaps()),
            false => Ok(()),
        }
    }

    /// Reserves a free path in the backup for the object at `path`, and creates the parent
    /// directories of the reserved path.
    fn reserve(&self, client: &mut Client, path: &[u8]) -> Result<Vec<u8>, TreeFault> {
        let (above, name) = Pathname::split(path);
        let place = Pathname::join(&self.top, above);
        if !self.places().contains_key(&place) {
            // If the directory does not exist then, the listing fails.
            match client.make_directories(&place) {
                Ok(_) | Err(Error::Refused { .. }) => {}
                Err(error) => return Err(TreeFault::from(error).about(&place)),
            }
            let listed = listed(client, &place)?;
            self.places().entry(place.clone()).or_insert(listed);
        }
        let free = self.places().entry(place.clone()).or_default().reserve(name);
        Ok(Pathname::join(&place, &free))
    }

    fn lost(&self) -> MutexGuard<'_, LostMoves> {
        lock(&self.lost)
    }

    /// Reserves a path that is free according to the server, too: some servers list an unreadable
    /// directory as empty.
    fn reserve_free(&self, client: &mut Client, path: &[u8]) -> Result<Vec<u8>, TreeFault> {
        for _ in 0..=LOOKS {
            let kept = self.reserve(client, path)?;
            if !client.shows(&kept).map_err(|error| TreeFault::from(error).about(&kept))? {
                return Ok(kept);
            }
        }
        let fault = TreeFault::item(ErrorKind::Refused, "no free name for it in the backup");
        Err(fault.about(path).of(Setting::Backup))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Listed>> {
        lock(&self.places)
    }
}

/// Returns whether the backup has the object that was moved from the first of two paths to the second.
fn is_kept(client: &mut Client, paths: (&[u8], &[u8]), size: Option<u64>) -> Result<bool, Error> {
    match client.has_new_name(paths, size)? {
        Some(is_kept) => Ok(is_kept),
        None => Ok(client.existence(paths.1)? == Existence::Present),
    }
}

/// Returns the names in a path, without `.` and empty names.
fn plain(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.map(<[u8]>::to_vec).collect()
}

fn listed(client: &mut Client, place: &[u8]) -> Result<Listed, TreeFault> {
    let options = ListOptions { all: true, ..ListOptions::default() };
    let listing =
        client.list_directory(place, options).and_then(|entries| entries.gather(Budget::default()));
    let listing = listing.map_err(|error| {
        let is_refused = matches!(error, Error::Refused { .. });
        let fault = TreeFault::from(error).about(place);
        if is_refused { fault.of_one() } else { fault.ending(true) }
    })?;
    if !listing.unparsed.is_empty() {
        let why = "cannot parse the listing, so a backup could replace a file there";
        let fault = TreeFault::item(ErrorKind::Unsupported, why);
        return Err(fault.about(place).of(Setting::Backup));
    }
    let names = listing.entries.iter().map(|entry| fold(&entry.name)).collect();
    Ok(Listed { names, hides: !listing.shows_hidden })
}

impl RemoteTop<'_> {
    /// Moves the object at `path` to the backup. Returns the path in the backup, or `None` if there
    /// is nothing to move.
    pub(super) fn back_up(
        &self,
        client: &mut Client,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, TreeFault> {
        let Some(backup) = self.backup else { return Ok(None) };
        let own = Pathname::join(self.top, path);
        let size = client.size(&own).map_err(|error| TreeFault::from(error).about(&own))?;
        let lost = backup.lost().remove(&own);
        let (kept, mut repeat) = match lost {
            Some(lost) => lost,
            None => {
                let repeat = if backup.repeats { Repeat::new() } else { Repeat::single() };
                (backup.reserve_free(client, path)?, repeat)
            }
        };
        match repeat.rename_to_free(client, &own, &kept) {
            Ok(()) => match is_kept(client, (&own, &kept), size) {
                Ok(true) => Ok(Some(kept)),
                kept_there => {
                    let why = "the server has confirmed its move to the backup, but does not show it there";
                    let fault = TreeFault::item(ErrorKind::Integrity, why).never_retried();
                    let fault = kept_there.map_or_else(TreeFault::from, |_| fault).about(&own);
                    Err(fault.then(&format!("look for {}", shown(&kept))))
                }
            },
            Err(error @ Error::Refused { .. }) => match client.existence(&own) {
                // Another client has removed the object.
                Ok(Existence::Absent) => Ok(None),
                _ => Err(TreeFault::from(error).about(&own)),
            },
            Err(error) => {
                let mut fault = TreeFault::from(error).about(&own);
                if repeat.is_uncertain() {
                    fault = fault.then(&format!("the old file may be {} now", shown(&kept)));
                    backup.lost().insert(own, (kept, repeat));
                }
                Err(fault)
            }
        }
    }

    /// Moves the object at `path`, which is about to be replaced, to the backup. Returns the same
    /// as [`back_up`](Self::back_up). If the object was not listed, checks first whether it exists:
    /// another client may have created it, or the directory cannot be listed.
    pub(super) fn back_up_replaced(
        &self,
        client: &mut Client,
        path: &[u8],
        is_listed: bool,
    ) -> Result<Option<Vec<u8>>, TreeFault> {
        let Some(backup) = self.backup else { return Ok(None) };
        let own = Pathname::join(self.top, path);
        let is_known = is_listed || backup.lost().contains_key(&own);
        let exists =
            is_known || client.shows(&own).map_err(|error| TreeFault::from(error).about(&own))?;
        if exists { self.back_up(client, path) } else { Ok(None) }
    }
}

/// Returns the failure for a backup that is part of the target, or contains it.
pub(crate) fn overlaps() -> TreeFault {
    let text = "the backup is the target, or one contains the other; choose a directory beside it";
    TreeFault::new(ErrorKind::Usage, text).of(Setting::Backup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_backup_name_is_used_twice() {
        let names = [&b"a"[..], b"a.~2~", b"b"].map(<[u8]>::to_vec);
        let mut listed = Listed { names: HashSet::from(names), hides: false };
        for want in ["a.~1~", "a.~3~", "a.~4~"] {
            assert_eq!(listed.reserve(b"a"), want.as_bytes());
        }
        assert_eq!([listed.reserve(b".c"), listed.reserve(b".c")], [&b".c"[..], b".c.~1~"]);
        // A name that begins with a dot may exist without being listed.
        let mut listed = Listed { names: HashSet::new(), hides: true };
        assert_eq!(listed.reserve(b"c"), b"c");
        assert!(listed.reserve(b".c").starts_with(b".c.~"));
        assert_ne!(listed.reserve(b".c"), b".c.~1~");
    }
}
