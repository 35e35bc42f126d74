//! The directories of users whom `auth.program` accepts: the configuration does not name them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ftp_server::{LocalConfig, Rights};

use super::users::{Home, Role};
use crate::lock::lock;

/// Number of directories that are remembered without a session.
const MOST: usize = 1_000;

/// Number of different settings that are remembered for one of them.
const SETTINGS: usize = 16;

/// Directories in which such users could store files since the start.
static WRITTEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Returns those directories.
pub(super) fn written() -> BTreeSet<PathBuf> {
    lock(&WRITTEN).clone()
}

/// Directories by path.
#[derive(Default)]
pub(super) struct Answered(Mutex<BTreeMap<PathBuf, Vec<Arc<Home>>>>);

impl Answered {
    /// Returns a directory with these settings. All users of one path share what is known about
    /// it, also with those of the file, `of_file`.
    pub(super) fn home(
        &self,
        of_file: &[Arc<Home>],
        path: &Path,
        config: LocalConfig,
        rights: Rights,
        role: Role,
    ) -> Arc<Home> {
        if rights.let_upload() {
            let mut written = lock(&WRITTEN);
            if written.len() < MOST {
                written.insert(path.to_owned());
            }
        }
        let mut all = lock(&self.0);
        let is_in_use = |home: &Arc<Home>| Arc::strong_count(home) > 1;
        if all.len() >= MOST && !all.contains_key(path) {
            all.retain(|_, homes| homes.iter().any(is_in_use));
        }
        let there = all.entry(path.to_owned()).or_default();
        if there.len() >= SETTINGS {
            // The first one knows the used space.
            let mut is_first = true;
            there.retain(|home| std::mem::take(&mut is_first) || is_in_use(home));
        }
        Home::among(there, of_file, path, config, role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_shared_and_their_number_is_bounded() {
        let answered = Answered::default();
        let config = LocalConfig::default();
        let home = |path: &str, quota| {
            let config = config.with(|config| config.quota = quota);
            answered.home(&[], Path::new(path), config, Rights::READ, Role::Root)
        };
        let kept = home("/kept", 0);
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        for number in 0..2 * MOST {
            home(&format!("/{number}"), 0);
            assert!(lock(&answered.0).len() <= MOST);
        }
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        for quota in 1..100 {
            home("/kept", quota);
            assert!(lock(&answered.0)[Path::new("/kept")].len() <= SETTINGS);
        }
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        // One of the file is the same for a user of the program.
        let of_file = [home("/file", 0)];
        let path = Path::new("/file");
        let same = Answered::default().home(&of_file, path, config, Rights::READ, Role::Root);
        assert!(Arc::ptr_eq(&same, &of_file[0]));
    }
}
