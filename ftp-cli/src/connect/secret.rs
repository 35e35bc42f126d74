//! A password, functions that read one from a line, and files that only their owner may change, such
//! as `.netrc`.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ftp_client::netrc::Netrc;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;

use crate::display::{shown, shown_path};
use crate::exit::{Failure, Result};
use crate::options::values;

/// Longest line in bytes; a longer one means the wrong file.
const LONGEST: usize = 4_096;

/// A password. It has no `Debug`, so that no log can show it.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks that the password can be sent in an FTP command line. `name` is its source.
    ///
    /// # Errors
    ///
    /// Returns `Usage` with the name of the first invalid byte.
    pub(crate) fn is_sendable(&self, name: &str) -> Result {
        let what = self.0.iter().find_map(|byte| match byte {
            0 => Some("NUL"),
            b'\n' => Some("LF"),
            b'\r' => Some("CR"),
            _ => None,
        });
        what.map_or(Ok(()), |what| Err(unsendable(name, what)))
    }
}

/// Returns the first line of a file, without its line ending.
///
/// # Errors
///
/// Returns `Local` if the file cannot be read. Returns `Usage` if its first line is empty or too
/// long, or has a byte that FTP cannot send.
pub(crate) fn read_file(path: &OsStr) -> Result<Secret> {
    let shown = shown(path.as_bytes());
    let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
    read_line(&mut BufReader::new(file), &shown)
}

/// Returns the next line of the source `name`, without its line ending and without a byte order
/// mark. Reads nothing after the line.
///
/// # Errors
///
/// Returns the same errors as [`read_file`].
#[expect(clippy::unbuffered_bytes, reason = "a buffer would consume bytes after the line")]
pub(crate) fn read_line(input: &mut dyn Read, name: &str) -> Result<Secret> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(|error| Failure::local(name, &error))? {
            b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(Failure::usage(format!(
                    "{name}: line too long for a secret: expected at most {LONGEST} bytes"
                )));
            }
            byte => line.push(byte),
        }
    }
    let line = values::without_mark(line.strip_suffix(b"\r").unwrap_or(&line));
    if line.is_empty() {
        let message = format!("{name}: expected a secret, but the line is empty or missing");
        return Err(Failure::usage(message));
    }
    let secret = Secret::new(line);
    secret.is_sendable(name).map(|()| secret)
}

/// Returns the only line of the source `name`, read to its end.
///
/// # Errors
///
/// Returns the same errors as [`read_file`], and `Usage` if anything follows the line.
pub(crate) fn read_only_line(input: &mut dyn Read, name: &str) -> Result<Secret> {
    let line = read_line(input, name)?;
    let mut behind = [0];
    match input.read_exact(&mut behind) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(line),
        Err(error) => Err(Failure::local(name, &error)),
        Ok(()) => Err(Failure::usage(format!("{name}: expected only one line"))),
    }
}

/// Largest file in bytes that [`read_own`] reads.
pub(crate) const LARGEST: u64 = 1 << 20;

/// Reads a file of the user's own. Follows symbolic links: the owner and mode of the target count.
///
/// # Errors
///
/// Returns the system's errors, and `FileTooLarge` above 1 MiB. Returns `InvalidInput` for a file
/// that is not regular, because it might never end.
pub(crate) fn read_own(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    // Opening a FIFO must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok((metadata, text)),
    }
}

/// Returns why `user` should not trust a file, if another user except root owns it, or if its mode
/// has a bit of `forbidden`: then `what` others can do, and the mode that is right.
pub(crate) fn unfit(
    metadata: &Metadata,
    user: u32,
    (forbidden, what, right): (u32, &str, u32),
) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if owner != user && owner != 0 {
        return Some(format!("owned by another user (uid {owner}); you or root must own it"));
    }
    let is_open = mode & forbidden != 0;
    is_open.then(|| format!("{what} others (mode {mode:04o}); use chmod {right:o}"))
}

fn unsendable(name: &str, what: &str) -> Failure {
    Failure::usage(format!("{name}: invalid password: it contains {what}, which FTP cannot send"))
}

/// The content of a netrc file.
pub(crate) struct LoadedNetrc {
    pub(crate) netrc: Netrc,
    /// Name for messages.
    pub(crate) name: String,
    /// Reason not to use the file's passwords, if there is one.
    pub(crate) unfit: Option<String>,
}

/// Reads a file.
///
/// # Errors
///
/// Returns the errors of [`read_own`].
pub(crate) fn load_netrc(path: &Path) -> io::Result<LoadedNetrc> {
    let (metadata, text) = read_own(path)?;
    let netrc = Netrc::parse(&text);
    let unfit = unfit_secret(&metadata, geteuid().as_raw());
    Ok(LoadedNetrc { netrc, name: shown_path(path), unfit })
}

/// Returns why `user` should not trust the passwords in a file, if another user except root owns
/// it, or others can access it.
pub(crate) fn unfit_secret(metadata: &Metadata, user: u32) -> Option<String> {
    unfit(metadata, user, (0o077, "accessible to", 0o600))
}

/// Returns the path of `.netrc` in the directory `home`, if `home` is absolute.
pub(crate) fn netrc_in_home(home: &OsStr) -> Option<PathBuf> {
    let home = Path::new(home);
    // A relative path would name a file that the current directory's owner controls.
    home.is_absolute().then(|| home.join(".netrc"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

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
                let loaded = load_netrc(&root.path().join(name)).unwrap();
                assert_eq!(loaded.unfit.is_none(), is_fit, "{mode:o} {name}");
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert!(unfit_secret(&metadata, metadata.uid()).is_none());
        let other = metadata.uid() + 1;
        assert_eq!(
            unfit_secret(&metadata, other).is_some(),
            metadata.uid() != 0,
            "root's may be read"
        );
    }

    #[test]
    fn a_netrc_of_another_user_is_refused_li_02_hl_02() {
        if geteuid().as_raw() != 0 {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::chown(file.path(), Some(12_345), None).unwrap();
        let loaded = load_netrc(file.path()).unwrap();
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
            assert!(load_netrc(&at(name)).is_err(), "{name}");
        }
        assert!(load_netrc(&at("most")).unwrap().netrc.broken.is_some());
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
            assert_eq!(netrc_in_home(OsStr::new(home)).as_deref(), want.map(Path::new), "{home:?}");
        }
        assert!(load_netrc(&netrc_in_home(OsStr::new(&huge)).unwrap()).is_err());
    }
}
