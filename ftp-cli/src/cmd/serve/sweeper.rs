//! Removes abandoned partial uploads.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use super::answered;
use super::user_storage;
use super::users::Homes;
use crate::console::threads;

/// Shortest time that an interrupted upload is kept.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Cleaner that removes abandoned partial uploads from writable directories, at startup and each
/// day.
pub(super) struct Sweeper {
    paths: Arc<BTreeSet<PathBuf>>,
    _stop: Sender<()>,
}

impl Sweeper {
    /// Starts the thread, which ends when this is dropped and the current walk is done.
    pub(super) fn start(homes: &Homes) -> io::Result<Self> {
        let paths = Arc::new(homes.written().clone());
        let (stop, stopped) = mpsc::channel();
        let walked = Arc::clone(&paths);
        threads::start("sweep", move || {
            loop {
                let others = answered::written();
                for path in walked.iter().chain(others.difference(&walked)) {
                    if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                        return;
                    }
                    user_storage::tidy_up(path);
                }
                if stopped.recv_timeout(DAY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { paths, _stop: stop })
    }

    /// Returns whether it cleans these directories.
    pub(super) fn is_for(&self, homes: &Homes) -> bool {
        *self.paths == *homes.written()
    }
}

#[cfg(test)]
mod tests {
    use ftp_server::{LocalConfig, Rights, UserLimits};

    use super::*;
    use crate::cmd::serve::settings::User;

    #[test]
    fn the_same_directories_are_not_walked_through_again() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let homes = |roots: &[(&tempfile::TempDir, u64)]| {
            let mut homes = Homes::new(LocalConfig::default());
            for (number, (root, quota)) in roots.iter().enumerate() {
                let password = Some(
                    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".parse().unwrap(),
                );
                let root = root.path().to_owned();
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
        // Disks can sleep if no user stores anything.
        let none = Homes::new(LocalConfig::default());
        let read = none.anonymous(
            second.path(),
            Rights::READ,
            LocalConfig::default(),
            UserLimits::default(),
        );
        assert!(Sweeper::start(&read).unwrap().paths.is_empty());
    }
}
