//! The directories of users whom `auth.program` accepts. The configuration does not contain these
//! users.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::{LocalConfig, Rights};

use super::config::Root;
use super::home::{Home, Role};
use super::stores::Stores;
use crate::lock::unpoisoned;

/// Largest number of directories that are remembered although no session uses them.
const MOST: usize = 1_000;

/// Largest number of homes with different settings that are remembered for one directory, unless
/// sessions use more.
const SETTINGS: usize = 16;

/// Directories in which users of `auth.program` may have stored files; at most [`MOST`].
static WRITTEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Returns the directories in which users of `auth.program` may have stored files.
pub(super) fn written() -> BTreeSet<PathBuf> {
    unpoisoned(WRITTEN.lock()).clone()
}

/// Homes by root.
#[derive(Default)]
pub(super) struct Answered(Mutex<BTreeMap<Root, Vec<Arc<Home>>>>);

impl Answered {
    /// Returns a home with these settings. The home shares what is known about the root with the
    /// other homes of the root. These include `of_file`, the homes of users in the configuration
    /// file.
    pub(super) fn home(
        &self,
        of_file: &[Arc<Home>],
        stores: &Arc<Stores>,
        root: &Root,
        config: LocalConfig,
        rights: Rights,
        role: Role,
    ) -> Arc<Home> {
        if let Some(path) = root.directory().filter(|_| rights.let_upload()) {
            let mut written = unpoisoned(WRITTEN.lock());
            if written.len() < MOST {
                written.insert(path.to_owned());
            }
        }
        let mut all = unpoisoned(self.0.lock());
        let is_in_use = |home: &Arc<Home>| Arc::strong_count(home) > 1;
        if all.len() >= MOST && !all.contains_key(root) {
            all.retain(|_, homes| homes.iter().any(is_in_use));
        }
        let there = all.entry(root.clone()).or_default();
        if there.len() >= SETTINGS {
            // The first home has counted the used space, so it is kept.
            let mut is_first = true;
            there.retain(|home| std::mem::take(&mut is_first) || is_in_use(home));
        }
        Home::among(there, of_file, stores, root, config, role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_shared_and_their_number_is_bounded() {
        let (answered, stores) = (Answered::default(), Arc::default());
        let root = |path: &str| Root::Directory(path.into());
        let config = LocalConfig::default();
        let home = |path: &str, quota| {
            let config = config.with(|config| config.quota = quota);
            answered.home(&[], &stores, &root(path), config, Rights::READ, Role::Root)
        };
        let kept = home("/kept", 0);
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        for number in 0..2 * MOST {
            home(&format!("/{number}"), 0);
            assert!(unpoisoned(answered.0.lock()).len() <= MOST);
        }
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        for quota in 1..100 {
            home("/kept", quota);
            assert!(unpoisoned(answered.0.lock())[&root("/kept")].len() <= SETTINGS);
        }
        assert!(Arc::ptr_eq(&kept, &home("/kept", 0)));
        // A user of `auth.program` shares the directory with a user of the file.
        let of_file = [home("/file", 0)];
        let file = root("/file");
        let other = Answered::default();
        let same = other.home(&of_file, &stores, &file, config, Rights::READ, Role::Root);
        assert!(Arc::ptr_eq(&same, &of_file[0]));
    }
}
