//! Finds and reads the netrc file. Rejects a file that is too large or not regular, and checks
//! whether others can access it.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;

use super::Netrc;
use crate::display::shown_path;

/// Largest file in bytes.
const LARGEST: u64 = 1 << 20;

/// The content of a netrc file.
pub(crate) struct Loaded {
    pub(crate) netrc: Netrc,
    /// Name for messages.
    pub(crate) name: String,
    /// Reason not to use the file's passwords, if there is one.
    pub(crate) unfit: Option<String>,
}

/// Reads a file. Follows symbolic links: the owner and mode of the target count.
///
/// # Errors
///
/// Returns the system's errors, and `FileTooLarge` above 1 MiB. Returns `InvalidInput` for a file
/// that is not regular, because it might never end.
pub(crate) fn load(path: &Path) -> io::Result<Loaded> {
    // Opening a FIFO must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let netrc = Netrc::parse(&text);
    let name = shown_path(path);
    let unfit = unfit(&metadata, geteuid().as_raw());
    Ok(Loaded { netrc, name, unfit })
}

/// Returns why `user` should not trust the passwords in a file, if another user except root owns
/// it, or others can access it.
pub(crate) fn unfit(metadata: &Metadata, user: u32) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if owner != user && owner != 0 {
        return Some(format!("owned by another user (uid {owner}); you or root must own it"));
    }
    (mode & 0o077 != 0).then(|| format!("accessible to others (mode {mode:04o}); use chmod 600"))
}

/// Returns the path of `.netrc` in the directory `home`, if `home` is absolute.
pub(crate) fn in_home(home: &OsStr) -> Option<PathBuf> {
    let home = Path::new(home);
    // A relative path would name a file that the current directory's owner controls.
    home.is_absolute().then(|| home.join(".netrc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn a_netrc_that_others_can_access_is_refused_li_02_hl_02() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("netrc");
        fs::write(&path, "machine h login u password p").unwrap();
        symlink("netrc", root.path().join("link")).unwrap();
        for (mode, is_fit) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o644, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for name in ["netrc", "link"] {
                let loaded = load(&root.path().join(name)).unwrap();
                assert_eq!(loaded.unfit.is_none(), is_fit, "{mode:o} {name}");
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert!(unfit(&metadata, metadata.uid()).is_none());
        let other = metadata.uid() + 1;
        assert_eq!(unfit(&metadata, other).is_some(), metadata.uid() != 0, "root's may be read");
    }

    #[test]
    fn a_netrc_of_another_user_is_refused_li_02_hl_02() {
        if geteuid().as_raw() != 0 {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::chown(file.path(), Some(12_345), None).unwrap();
        let loaded = load(file.path()).unwrap();
        assert!(loaded.unfit.is_some_and(|why| why.contains("12345")));
    }

    #[test]
    fn endless_or_oversized_netrc_files_are_not_read_hl_02() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
        fs::create_dir(at("directory")).unwrap();
        File::create(at("sparse")).unwrap().set_len(1 << 30).unwrap();
        File::create(at("most")).unwrap().set_len(LARGEST).unwrap();
        File::create(at("more")).unwrap().set_len(LARGEST + 1).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for name in ["fifo", "directory", "sparse", "more", "zero", "loop", "none"] {
            assert!(load(&at(name)).is_err(), "{name}");
        }
        assert!(load(&at("most")).unwrap().netrc.broken.is_some());
    }

    #[test]
    fn only_an_absolute_home_yields_a_netrc_path_hl_13() {
        let huge = "/x".repeat(100_000);
        for (home, want) in [
            ("/h", Some("/h/.netrc")),
            ("", None),
            ("h", None),
            (".", None),
            ("/", Some("/.netrc")),
        ] {
            assert_eq!(in_home(OsStr::new(home)).as_deref(), want.map(Path::new), "{home:?}");
        }
        assert!(load(&in_home(OsStr::new(&huge)).unwrap()).is_err());
    }
}
