//! Removes abandoned partial uploads.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use super::users::Homes;
use super::{home, user_storage};
use crate::daemon::start_thread;

/// Pause between two walks over the directories.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Thread that removes abandoned partial uploads from writable directories, at once and then each
/// day.
pub(super) struct Sweeper {
    paths: Arc<BTreeSet<PathBuf>>,
    _stop: Sender<()>,
}

impl Sweeper {
    /// Starts the thread. The thread ends when this value is dropped and the current walk is done.
    pub(super) fn start(homes: &Homes) -> io::Result<Self> {
        let paths = Arc::new(homes.written().clone());
        let (stop, stopped) = mpsc::channel();
        let walked = Arc::clone(&paths);
        start_thread("sweep", move || {
            // As in `LocalStorage::start_sweeper`. The call may fail, because the systemd unit
            // forbids it.
            let _ = rustix::process::nice(10);
            loop {
                let others = home::written();
                let is_over = || stopped.try_recv() == Err(TryRecvError::Disconnected);
                clean(walked.union(&others), is_over, user_storage::tidy_up);
                if stopped.recv_timeout(DAY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { paths, _stop: stop })
    }

    /// Returns whether the sweeper cleans these directories.
    pub(super) fn is_for(&self, homes: &Homes) -> bool {
        *self.paths == *homes.written()
    }
}

/// Cleans directories until `is_over` returns `true`. Skips a directory inside another if `tidy_up`
/// could read the whole outer directory.
fn clean<'a>(
    paths: impl Iterator<Item = &'a PathBuf>,
    is_over: impl Fn() -> bool,
    mut tidy_up: impl FnMut(&Path) -> bool,
) {
    // Sorted, so that a directory comes before those inside it.
    let real = paths.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let mut whole: Vec<PathBuf> = Vec::new();
    for path in real.collect::<BTreeSet<_>>() {
        if is_over() {
            return;
        }
        let is_done = whole.iter().any(|outer| is_walked_with(outer, &path));
        if !is_done && tidy_up(&path) {
            whole.push(path);
        }
    }
}

/// Returns whether a walk of `outer` reaches `path`. A walk may skip other file systems.
fn is_walked_with(outer: &Path, path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    path.starts_with(outer) && device(outer) == device(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use crate::{LocalConfig, Rights};

    use super::*;
    use crate::daemon::config::User;
    use crate::daemon::home::Places;

    #[test]
    fn a_sweeper_matches_only_the_same_directories() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let homes = |roots: &[(&tempfile::TempDir, u64)]| {
            let mut homes = Homes::new(LocalConfig::default(), Places::default());
            for (number, (root, quota)) in roots.iter().enumerate() {
                let password = Some(
                    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".parse().unwrap(),
                );
                let root = root.path().into();
                let quota = *quota;
                let rights = Rights::DROP_BOX;
                let user = User { password, root, quota, rights, ..User::default() };
                homes = homes.user(&number.to_string(), &user);
            }
            homes
        };
        let [first, second] = &roots;
        let sweeper = Sweeper::start(&homes(&[(first, 0)])).unwrap();
        assert!(sweeper.is_for(&homes(&[(first, 0)])));
        assert!(sweeper.is_for(&homes(&[(first, 7), (first, 0)])));
        assert!(!sweeper.is_for(&homes(&[(first, 0), (second, 0)])));
        assert!(!sweeper.is_for(&homes(&[(second, 0)])));
        // If no user stores files, disks can stay in standby.
        let none = Homes::new(LocalConfig::default(), Places::default());
        let root = second.path().into();
        let read = none.anonymous(User { root, rights: Rights::READ, ..User::default() });
        assert!(Sweeper::start(&read).unwrap().paths.is_empty());
    }

    #[test]
    fn a_directory_inside_another_is_swept_once() {
        let top = tempfile::tempdir().unwrap();
        // The temporary directory may lie below a symbolic link.
        let top = top.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("a/inner")).unwrap();
        std::fs::create_dir(top.join("ab")).unwrap();
        symlink("a", top.join("link")).unwrap();
        let paths = ["ab", "a/inner", "link", "a", "missing", "link/inner"];
        let paths = paths.map(|name| top.join(name));
        for (is_whole, want) in
            [(true, &["a", "ab", "missing"][..]), (false, &["a", "a/inner", "ab", "missing"])]
        {
            let mut walked = Vec::new();
            clean(
                paths.iter(),
                || false,
                |path| {
                    walked.push(path.strip_prefix(&top).unwrap().to_owned());
                    is_whole
                },
            );
            assert_eq!(walked, want.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
        clean(paths.iter(), || true, |path| panic!("{path:?} is walked"));
    }
}
