//! Finds the local target of `get`.
//!
//! If the user's path is a symbolic link, the file that it leads to is replaced. A FIFO or device
//! receives the data. An existing file stays until the new one is complete, except with
//! `--in-place`.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf, is_separator};
use std::{fmt, fs};

use ftp_client::Place;

use crate::console::output::{shown, shown_path};
use crate::exit::{CREATE_DIRECTORIES, Failure, Result};
use crate::system::OsStrExt;

/// Maximum number of symbolic links that Linux follows.
const LINKS: usize = 40;

/// Meaning of LOCAL.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Standard output (`-`).
    Output,
    /// Existing object that is neither file nor directory: FIFO, device.
    Direct(PathBuf),
    /// An existing or new file.
    File(PathBuf),
}

/// Returns the last part of a path on a server.
///
/// # Errors
///
/// Returns `Usage` if that does not name a file.
pub(crate) fn name_of(path: &[u8]) -> Result<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if matches!(name, b"" | b"." | b"..") {
        let name = shown(name);
        return Err(Failure::usage(format!(
            "the path ends in \"{name}\", which does not name a file"
        )));
    }
    Ok(name)
}

/// Returns the local name of a server's file: the last part of its path.
///
/// # Errors
///
/// Returns `Usage` if that does not name a file, and `Local` if it cannot name one on this system.
pub(crate) fn local_name_of(remote: &[u8]) -> Result<OsString> {
    let name = name_of(remote)?;
    let local = Place::at(name).local_name().map(OsStr::to_owned);
    local.map_err(|error| {
        Failure::local(shown(name), &error).hinted("; name the local file: ftp-cli get URL LOCAL")
    })
}

/// Formats the target for messages.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output => f.write_str("standard output"),
            Self::Direct(path) | Self::File(path) => f.write_str(&shown_path(path)),
        }
    }
}

impl Target {
    /// Finds the local target of the remote file `remote` for the operand LOCAL. If LOCAL is an
    /// existing directory, the file keeps its name there. Without LOCAL, it keeps its name in the
    /// current directory. Creates missing directories if `creates` is set.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the target cannot be a file, and `Usage` if there is no valid name.
    pub(crate) fn find(local: Option<&OsStr>, remote: &[u8], creates: bool) -> Result<Self> {
        let Some(local) = local else { return Self::file(Path::new(&local_name_of(remote)?)) };
        if local == "-" {
            return Ok(Self::Output);
        }
        let path = Path::new(local);
        if creates {
            let is_directory = ends_as_directory(local);
            make_directories(if is_directory { path } else { parent(path) })?;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Self::file(&path.join(local_name_of(remote)?)),
            _ if local.is_empty() => Err(Failure::usage("LOCAL is empty")),
            _ => Self::file(path),
        }
    }

    /// Finds the target in `directory` for a file named `remote` on the server. If `creates` is
    /// set, creates a missing directory.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the target cannot be a file, and `Usage` if there is no valid name.
    pub(crate) fn within(directory: &OsStr, remote: &[u8], creates: bool) -> Result<Self> {
        let directory = Path::new(directory);
        if creates {
            make_directories(directory)?;
        }
        Self::file(&directory.join(local_name_of(remote)?))
    }

    /// Checks that files can be created in `directory`, and creates it if `creates` is set.
    ///
    /// # Errors
    ///
    /// Returns `Local` if it is missing or not a directory.
    pub(crate) fn check_directory(directory: &Path, creates: bool) -> Result {
        if creates {
            make_directories(directory)?;
        }
        check_is_directory(directory, directory)
    }

    /// Returns the name for messages and events.
    pub(crate) fn name(&self) -> &[u8] {
        match self {
            Self::Output => b"-",
            Self::Direct(path) | Self::File(path) => path.as_os_str().as_bytes(),
        }
    }

    fn file(named: &Path) -> Result<Self> {
        let fail = |error: &io::Error| Failure::local(shown_path(named), error);
        let mut path = named.to_owned();
        for _ in 0..LINKS {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {
                    // Links in /proc/self/fd lead to objects without a name.
                    match fs::metadata(&path) {
                        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                            return Ok(Self::Direct(path));
                        }
                        _ => {}
                    }
                    let to = fs::read_link(&path).map_err(|error| fail(&error))?;
                    path = path.parent().unwrap_or(Path::new("")).join(to);
                }
                Ok(metadata) if metadata.is_dir() => {
                    return Err(fail(&ErrorKind::IsADirectory.into()));
                }
                Ok(metadata) if metadata.is_file() => return Ok(Self::File(path)),
                Ok(_) => return Ok(Self::Direct(path)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if ends_as_directory(path.as_os_str()) {
                        return Err(missing(named, &error));
                    }
                    return check_is_directory(parent(&path), named).map(|()| Self::File(path));
                }
                Err(error) => return Err(fail(&error)),
            }
        }
        Err(Failure::local(shown_path(named), &io::Error::other("too many symbolic links")))
    }
}

/// Checks that `named` can be created in `directory`.
fn check_is_directory(directory: &Path, named: &Path) -> Result {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::local(shown_path(named), &ErrorKind::NotADirectory.into())),
        Err(error) => Err(missing(named, &error)),
    }
}

fn missing(named: &Path, error: &io::Error) -> Failure {
    let hint = if error.kind() == ErrorKind::NotFound { CREATE_DIRECTORIES } else { "" };
    Failure::local(shown_path(named), error).hinted(hint)
}

pub(crate) fn ends_as_directory(path: &OsStr) -> bool {
    path.as_bytes().last().is_some_and(|last| is_separator(char::from(*last)))
}

fn make_directories(path: &Path) -> Result {
    fs::create_dir_all(path).map_err(|error| Failure::local(shown_path(path), &error))
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::os::unix::fs::symlink;

    /// Returns the target for LOCAL `local` in `directory`, for a remote `pub/r.txt`.
    #[cfg(unix)]
    fn found(directory: &Path, local: &str) -> Result<Target> {
        Target::find(Some(directory.join(local).as_os_str()), b"pub/r.txt", false)
    }

    #[test]
    fn name_of_is_the_last_part() {
        for (remote, want) in [
            ("a", Some("a")),
            ("pub/a b", Some("a b")),
            ("/pub/-x", Some("-x")),
            ("", None),
            ("a/", None),
            ("a/.", None),
            ("..", None),
            ("a/..", None),
            ("...", Some("...")),
        ] {
            let name = name_of(remote.as_bytes());
            assert_eq!(name.as_ref().ok().copied(), want.map(str::as_bytes), "{remote}");
            assert!(name.is_ok() || name.unwrap_err().exit == crate::exit::Exit::Usage);
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_local_target_follows_links_the_user_named_li_08_hl_05_hl_06() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("dir")).unwrap();
        fs::create_dir_all(root.join("taken/r.txt")).unwrap();
        fs::write(root.join("file"), "old").unwrap();
        symlink("dir", root.join("to-dir")).unwrap();
        symlink("file", root.join("to-file")).unwrap();
        symlink("to-file", root.join("to-link")).unwrap();
        symlink("dir/new", root.join("dangling")).unwrap();
        symlink("/dev/null", root.join("to-null")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (local, want) in [
            ("file", Some("file")),
            ("new", Some("new")),
            ("dir", Some("dir/r.txt")),
            ("dir/", Some("dir/r.txt")),
            ("to-dir", Some("to-dir/r.txt")),
            ("to-file", Some("file")),
            ("to-link", Some("file")),
            ("dangling", Some("dir/new")),
            ("taken", None),
            ("loop", None),
            ("new/", None),
            ("file/x", None),
            ("nowhere/x", None),
        ] {
            match (found(root, local), want) {
                (Ok(Target::File(path)), Some(want)) => {
                    assert_eq!(path, root.join(want), "{local}");
                }
                (Err(failure), None) => {
                    assert_eq!(failure.exit, crate::exit::Exit::Local, "{local}");
                }
                (found, _) => panic!("{local}: {found:?}"),
            }
        }
        assert!(matches!(found(root, "to-null"), Ok(Target::Direct(_))));
        assert!(matches!(found(root, "/dev/null"), Ok(Target::Direct(_))));
        assert!(matches!(Target::find(Some(OsStr::new("-")), b"r", false), Ok(Target::Output)));
        assert!(Target::find(Some(OsStr::new("")), b"r", false).is_err());
        assert!(
            matches!(Target::find(None, b"p/r", false), Ok(Target::File(path)) if path == Path::new("r"))
        );
    }
}
