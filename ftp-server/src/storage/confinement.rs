//! Confinement of threads to a user's files by Landlock, in addition to path lookup below the root.

use std::os::fd::BorrowedFd;
use std::ptr::addr_eq;
use std::sync::{Arc, Weak};
use std::{fmt, io};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, make_bitflags,
};

use super::{Storage, StorageError, StorageErrorKind, StorageResult};
use crate::lock::Lock;

/// Policy of a storage for confining the threads of its sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfinementPolicy {
    /// Do not confine threads of sessions. Paths still stay below the root.
    Off,
    /// Use every mechanism that the system has.
    #[default]
    BestEffort,
    /// Refuse to start unless the system has Landlock (Linux 5.19) and, for a local storage,
    /// `openat2` (Linux 5.6).
    Require,
}

/// The mechanisms that keep a session below its root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ConfinementStatus {
    /// Whether the kernel keeps every path lookup below the root (`openat2`). Without it, the server
    /// opens one component of a path at a time.
    pub(crate) openat2: bool,
    /// Version of the Landlock ABI in use: 2, 3 or 5; `None` without Landlock. With Landlock, the
    /// session's thread cannot open anything outside the root, even if the server has a defect.
    /// Version 2 (before Linux 6.2) does not prevent truncation by path (`truncate`), which the
    /// server never uses.
    pub(crate) landlock: Option<u8>,
    /// What else the system lacks, and what that costs.
    pub(crate) lacks: [Option<&'static str>; 4],
}

impl ConfinementStatus {
    /// Returns whether the system lacks anything that the server would use.
    pub(crate) fn is_lacking(&self) -> bool {
        !self.openat2 || self.landlock.is_none() || self.lacks.iter().any(Option::is_some)
    }
}

impl fmt::Display for ConfinementStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.openat2 {
            true => "openat2",
            false => "path lookup by components (no openat2)",
        })?;
        match self.landlock {
            Some(2) => f.write_str(" and Landlock (ABI 2, which does not restrict truncate)"),
            Some(abi) => write!(f, " and Landlock (ABI {abi})"),
            None => f.write_str(" without Landlock"),
        }?;
        self.lacks.iter().flatten().try_for_each(|lack| write!(f, "; the system lacks {lack}"))
    }
}

/// The files on disk that the sessions of a [`Storage`](super::Storage) need, to which the server
/// confines their threads.
///
/// A confined thread cannot open, create, remove or rename anything else, and cannot run programs.
/// Open files stay open, and sockets are unaffected. The confinement of a thread, and of the threads
/// that it starts, cannot be undone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Confine<'a> {
    /// Sessions may need any file. Their threads are not confined, even if other storages are
    /// [mounted](super::MountedStorage) beside this one.
    No,
    /// Sessions need no files. Alone, their threads are not confined, because your own code may use
    /// them; beside other mounted storages, they are confined to what the others need.
    Neutral,
    /// Sessions need only what is below these open directories; a descriptor opened with `O_PATH` is
    /// enough. Needs Linux 5.19 or later with Landlock: without it, the session ends with 421.
    Beneath(Vec<BorrowedFd<'a>>),
}

impl Confine<'_> {
    /// Returns what sessions of two storages need together.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Neutral, other) | (other, Self::Neutral) => other,
            (Self::Beneath(some), Self::Beneath(more)) => Self::Beneath([some, more].concat()),
        }
    }
}

/// The confinements of the storages that are in use. Each occupies a file descriptor; to make one
/// takes several system calls.
static MADE: Lock<Vec<ConfinedStorage>> = Lock::new(Vec::new());

type ConfinedStorage = (Weak<dyn Storage>, Arc<Confinement>);

/// Confines the calling thread to the files that sessions of a storage need.
///
/// # Errors
///
/// Returns an error of [`Confinement::beneath_all`] or [`Confinement::enter`].
pub(crate) fn confine(storage: &Arc<dyn Storage>) -> StorageResult<()> {
    let is_of = |(of, _): &&ConfinedStorage| addr_eq(of.as_ptr(), Arc::as_ptr(storage));
    let made = MADE.lock().iter().find(is_of).map(|(_, made)| Arc::clone(made));
    if let Some(made) = made {
        return made.enter();
    }
    let Confine::Beneath(directories) = storage.confine() else { return Ok(()) };
    let confinement = Arc::new(Confinement::beneath_all(&directories)?);
    confinement.enter()?;
    // What was made for this login alone, nobody else can find.
    if Arc::strong_count(storage) > 1 || Arc::weak_count(storage) > 0 {
        let mut made = MADE.lock();
        // Another session can have been faster.
        if made.iter().find(is_of).is_none() {
            made.push((Arc::downgrade(storage), confinement));
        }
    }
    Ok(())
}

/// Gives back the confinements of closed storages. Call this at the end of a session: a reload may have
/// left it the last one of its storage.
pub(crate) fn close_confinements() {
    MADE.lock().retain(|(of, _)| of.strong_count() > 0);
}

#[derive(Debug)]
pub(crate) struct Confinement {
    ruleset: RulesetCreated,
    abi: u8,
}

impl Confinement {
    /// Prepares to confine threads to open directories. Do not confine a thread to one directory
    /// after another: each confinement excludes all other directories.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if Landlock is missing, disabled, or available only in its first
    /// version, which forbids renames between directories. Returns `Io` if anything else fails, for
    /// example if no file descriptor is left.
    pub(super) fn beneath_all(directories: &[BorrowedFd<'_>]) -> StorageResult<Self> {
        // The rights of the second version are required. Rights of later versions are left out if
        // the kernel does not know them.
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V2))
            .map_err(|_| {
                let text = "Landlock is disabled or missing; it needs Linux 5.19 or later";
                let source = Some(io::Error::other(text));
                StorageError { kind: StorageErrorKind::Unsupported, source }
            })?;
        // The fourth version added no rights for files.
        let later = [(ABI::V5, 5), (ABI::V3, 3)].into_iter().find(|(abi, _)| {
            let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            ruleset.handle_access(AccessFs::from_all(*abi)).is_ok()
        });
        let abi = later.map_or(2, |(_, number)| number);
        let ruleset = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(Ruleset::create)
            .and_then(|ruleset| {
                let rule = |directory| Ok(PathBeneath::new(directory, ALLOWED));
                ruleset.add_rules(directories.iter().map(rule))
            })
            .map_err(|error: RulesetError| io::Error::other(error))?;
        Ok(Self { ruleset, abi })
    }

    /// Returns the version of the Landlock ABI in use, as in [`ConfinementStatus::landlock`].
    pub(super) const fn abi(&self) -> u8 {
        self.abi
    }

    /// Returns that version after a test whether threads can be confined to `directories`; `None` if
    /// the policy permits to go without.
    ///
    /// # Errors
    ///
    /// Returns an error of [`beneath_all`](Self::beneath_all).
    pub(super) fn check(
        policy: ConfinementPolicy,
        directories: &[BorrowedFd<'_>],
    ) -> StorageResult<Option<u8>> {
        if policy == ConfinementPolicy::Off {
            return Ok(None);
        }
        match Self::beneath_all(directories) {
            Err(StorageError { kind: StorageErrorKind::Unsupported, .. })
                if policy == ConfinementPolicy::BestEffort =>
            {
                Ok(None)
            }
            made => made.map(|made| Some(made.abi())),
        }
    }

    /// Confines the calling thread permanently.
    ///
    /// # Errors
    ///
    /// Returns `Io` if the kernel refuses, for example if the thread is already confined 16 times.
    /// Returns `Denied` if the kernel did not confine the thread.
    fn enter(&self) -> StorageResult<()> {
        let status = self.ruleset.try_clone()?.restrict_self().map_err(io::Error::other)?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err(StorageErrorKind::Denied.into()),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

/// The rights that sessions need. Sessions run no programs, and create no device nodes. They create no
/// symbolic links, FIFOs or sockets either, but a rename takes the right to make its object.
const ALLOWED: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeFifo | MakeSock | RemoveFile | RemoveDir | Refer
});

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::storage::LocalStorage;

    fn inside<T: Send>(directory: &std::path::Path, work: impl FnOnce() -> T + Send) -> T {
        let directory = File::open(directory).unwrap();
        let confinement = Confinement::beneath_all(&[directory.as_fd()]).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                confinement.enter().unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn one_confinement_is_kept_of_a_storage_that_others_can_find() {
        let root = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(root.path()).unwrap());
        let address = Arc::as_ptr(&storage);
        let kept = || {
            let made = MADE.lock();
            made.iter().filter(|(of, _)| addr_eq(of.as_ptr(), address)).count()
        };
        let confined = |storage: &Arc<dyn Storage>| {
            std::thread::scope(|scope| scope.spawn(|| confine(storage).is_ok()).join().unwrap())
        };
        if !confined(&storage) {
            println!("skipped: no Landlock");
            return;
        }
        assert_eq!(kept(), 0, "made for one login");
        let other = Arc::clone(&storage);
        assert!(confined(&storage) && confined(&other));
        assert_eq!(kept(), 1);
        drop(storage);
        close_confinements();
        assert_eq!(kept(), 1);
        drop(other);
        close_confinements();
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_confined_thread_can_reach_only_its_directory_hp_06() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        let root = root.as_path();
        let outside = outer.path();
        if Confinement::beneath_all(&[File::open(root).unwrap().as_fd()]).is_err() {
            println!("skipped: no Landlock");
            return;
        }
        inside(root, || {
            fs::write(root.join("x"), "x").unwrap();
            fs::rename(root.join("x"), root.join("a/x")).unwrap();
            assert_eq!(fs::read(root.join("a/x")).unwrap(), b"x");
            OpenOptions::new().write(true).truncate(true).open(root.join("a/x")).unwrap();
            assert_eq!(fs::read_dir(root).unwrap().count(), 2);
            fs::remove_file(root.join("a/x")).unwrap();
            fs::create_dir(root.join("b")).unwrap();
            fs::remove_dir(root.join("b")).unwrap();
            fs::rename(root.join("out"), root.join("b")).unwrap();
            fs::rename(root.join("b"), root.join("out")).unwrap();

            let denied = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            };
            denied(fs::read(outside.join("secret")).map(drop));
            denied(fs::read(root.join("../secret")).map(drop));
            denied(fs::read(root.join("out")).map(drop));
            denied(fs::read("/proc/self/root/etc/passwd").map(drop));
            denied(fs::read_dir(outside).map(drop));
            denied(fs::write(outside.join("new"), ""));
            denied(fs::remove_file(outside.join("secret")));
            denied(fs::create_dir(outside.join("new")));
            denied(std::process::Command::new("/bin/true").status().map(drop));
            denied(symlink("x", outside.join("link")));
            let moved = fs::rename(root.join("a"), outside.join("a")).unwrap_err();
            assert!(
                matches!(
                    moved.kind(),
                    io::ErrorKind::CrossesDevices | io::ErrorKind::PermissionDenied
                ),
                "{moved}"
            );
        });
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"s", "this thread is not confined");
    }

    #[test]
    fn the_status_names_the_mechanisms_fs_05() {
        const NOTHING: [Option<&str>; 4] = [None; 4];
        for (openat2, landlock, want) in [
            (true, Some(5), "openat2 and Landlock (ABI 5)"),
            (true, Some(2), "openat2 and Landlock (ABI 2, which does not restrict truncate)"),
            (true, None, "openat2 without Landlock"),
            (false, Some(3), "path lookup by components (no openat2) and Landlock (ABI 3)"),
        ] {
            let status = ConfinementStatus { openat2, landlock, lacks: NOTHING };
            assert!(status.to_string().ends_with(want), "{status}");
            assert_eq!(status.is_lacking(), !openat2 || landlock.is_none());
        }
        let lacks = [None, Some("a, so b"), None, Some("c, so d")];
        let status = ConfinementStatus { openat2: true, landlock: Some(5), lacks };
        let want = "(ABI 5); the system lacks a, so b; the system lacks c, so d";
        assert!(status.is_lacking() && status.to_string().ends_with(want), "{status}");
    }
}
