//! The second wall around a user's files: threads that can open nothing else (Landlock).

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, make_bitflags,
};

use super::{StorageError, StorageErrorKind};

/// What a storage on a disk does about walls that the system cannot build.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfinementPolicy {
    /// Threads of sessions are not confined. Paths are kept beneath the root all the same.
    Off,
    /// What the system has is used.
    #[default]
    BestEffort,
    /// A system without `openat2` (Linux 5.6) or without Landlock (Linux 5.19) is refused.
    Require,
}

/// What keeps a session beneath its root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Walls {
    /// The kernel resolves every path beneath the root (`openat2`). Without it paths are walked
    /// one component at a time, and every symbolic link is refused.
    pub openat2: bool,
    /// The session's thread can open nothing outside, whatever the code does: the version of
    /// Landlock whose rights are checked, which is 2, 3 or 5. The second (before Linux 6.2) does
    /// not keep a thread from cutting files short by `truncate`, which nothing here calls. `None`
    /// without Landlock.
    pub landlock: Option<u8>,
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.openat2 {
            true => "openat2",
            false => "a walk that follows no symbolic link, for want of openat2,",
        })?;
        match self.landlock {
            Some(2) => f.write_str(" and Landlock (ABI 2, which does not check truncate)"),
            Some(abi) => write!(f, " and Landlock (ABI {abi})"),
            None => f.write_str(" without Landlock"),
        }
    }
}

/// Confines threads to a directory: one that has entered can neither open, make, remove nor rename
/// anything outside, by whatever path, nor run a program. What is open already stays open, and
/// sockets are not touched. There is no way back for a thread, and none for threads it starts.
///
/// For a [`Storage`](super::Storage) on a disk, which enters in
/// [`Storage::enter`](super::Storage::enter). [`LocalStorage`](super::LocalStorage) does so by
/// itself.
///
/// ```
/// use std::fs::{self, File};
///
/// use ftp_server::Confinement;
///
/// # let directory = std::env::temp_dir();
/// # let mark = directory.join(format!("ftp-confined-{}", std::process::id()));
/// # fs::write(&mark, "x")?;
/// let Ok(confinement) = Confinement::beneath(File::open(&directory)?) else {
///     return Ok(()); // a kernel without Landlock
/// };
/// let session = std::thread::spawn(move || {
///     confinement.enter()?;
///     assert!(fs::read(mark).is_ok());
///     assert!(fs::read("/etc/passwd").is_err());
///     Ok::<(), ftp_server::StorageError>(())
/// });
/// session.join().expect("nothing panics")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Confinement {
    ruleset: RulesetCreated,
    abi: u8,
}

impl Confinement {
    /// Prepares to confine threads to what is beneath `directory`, an open one; `O_PATH` is
    /// enough.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the kernel has no Landlock, has it switched off, or has the first
    /// version of it, which forbids to rename from one directory to another. `Io` when it refuses
    /// otherwise, as for want of a descriptor.
    pub fn beneath(directory: impl AsFd) -> Result<Self, StorageError> {
        // Rights that the kernel at hand does not know it does not check either; those of the
        // second version are needed.
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V2))
            .map_err(|_| {
                let text = "this system has no Landlock, too old a one, or it is switched off";
                let source = Some(io::Error::other(text));
                StorageError { kind: StorageErrorKind::Unsupported, source }
            })?;
        // Of the fourth version nothing is about files.
        let later = [(ABI::V5, 5), (ABI::V3, 3)].into_iter().find(|(abi, _)| {
            let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            ruleset.handle_access(AccessFs::from_all(*abi)).is_ok()
        });
        let abi = later.map_or(2, |(_, number)| number);
        let ruleset = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(Ruleset::create)
            .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(directory, ALLOWED)))
            .map_err(io::Error::other)?;
        Ok(Self { ruleset, abi })
    }

    /// The version of Landlock whose rights are checked: see [`Walls::landlock`].
    pub(crate) const fn abi(&self) -> u8 {
        self.abi
    }

    /// Confines the calling thread, for good. It costs four system calls.
    ///
    /// # Errors
    ///
    /// `Io` when the kernel refuses, as for a thread that is confined 16 times already; `Denied`
    /// when it did not confine.
    pub fn enter(&self) -> Result<(), StorageError> {
        let ruleset = self.ruleset.try_clone()?;
        let status = ruleset.restrict_self().map_err(io::Error::other)?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err(StorageErrorKind::Denied.into()),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

/// What is done to a user's files: none is run, and no node or link is made.
const ALLOWED: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::fs::symlink;

    use super::*;

    /// In a thread that has entered `directory`.
    fn inside<T: Send>(directory: &std::path::Path, work: impl FnOnce() -> T + Send) -> T {
        let confinement = Confinement::beneath(File::open(directory).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                confinement.enter().unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn a_thread_inside_reaches_its_directory_alone_hp_06() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        let root = root.as_path();
        let outside = outer.path();
        inside(root, || {
            fs::write(root.join("x"), "x").unwrap();
            fs::rename(root.join("x"), root.join("a/x")).unwrap();
            assert_eq!(fs::read(root.join("a/x")).unwrap(), b"x");
            OpenOptions::new().write(true).truncate(true).open(root.join("a/x")).unwrap();
            assert_eq!(fs::read_dir(root).unwrap().count(), 2);
            fs::remove_file(root.join("a/x")).unwrap();
            fs::create_dir(root.join("b")).unwrap();
            fs::remove_dir(root.join("b")).unwrap();

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
            denied(symlink("x", root.join("link")));
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
    fn walls_say_what_there_is_fs_05() {
        for (openat2, landlock, want) in [
            (true, Some(5), "openat2 and Landlock (ABI 5)"),
            (true, Some(2), "openat2 and Landlock (ABI 2, which does not check truncate)"),
            (true, None, "openat2 without Landlock"),
            (false, Some(3), "no symbolic link, for want of openat2, and Landlock (ABI 3)"),
        ] {
            let shown = Walls { openat2, landlock }.to_string();
            assert!(shown.ends_with(want), "{shown}");
        }
    }
}
