//! The directory of a local file, and small files beside it: journals and records. Other users may be
//! able to put anything under their names, such as a symbolic link to a file of this user, or a FIFO.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

use crate::system::{ALONE, OpenOptionsExt, close_copy};

/// The longest journal in bytes.
pub(super) const JOURNAL: usize = 64 << 10;

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Opens the regular file at `path`.
///
/// # Errors
///
/// Returns the system's error. Anything but a regular file is an error.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let is_file = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    // Opening a device can have effects, so look first.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => found.and_then(is_file)?,
    }
    let file = options.custom_flags(ALONE).open(path)?;
    file.metadata().and_then(is_file)?;
    Ok(file)
}

/// Returns the text of the regular file at `path`; `None` if there is no file.
///
/// # Errors
///
/// Returns the errors of [`open`], and an error for a text of more than `most` bytes.
pub(super) fn read(path: &Path, most: usize) -> io::Result<Option<String>> {
    let file = match open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(most as u64 + 1).read_to_string(&mut text)?;
    if text.len() > most { Err(ErrorKind::FileTooLarge.into()) } else { Ok(Some(text)) }
}

/// Replaces the file at `path`, so that a reader sees the old or the new text. With `syncs`, the
/// text is on disk before it gets its name.
///
/// # Errors
///
/// Returns the system's error.
pub(super) fn replace(path: &Path, text: &str, syncs: bool) -> io::Result<()> {
    let new = path.with_extension("ftp-cli-new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Only a new file is certain to be no link to another one. Only the owner may learn about the
    // server and the user.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(text.as_bytes());
    let synced = written.and_then(|()| if syncs { file.sync_all() } else { Ok(()) });
    synced.and_then(|()| close_copy(&file)).and_then(|()| fs::rename(&new, path)).inspect_err(
        |_| {
            let _ = fs::remove_file(&new);
        },
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_planted_link_is_neither_read_nor_written_through() {
        let root = tempfile::tempdir().unwrap();
        let (victim, path) = (root.path().join("victim"), root.path().join(".0.ftp-cli-journal"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, root.path().join(".0.ftp-cli-new")).unwrap();
        for syncs in [false, true] {
            replace(&path, "one", syncs).unwrap();
            assert_eq!(read(&path, 3).unwrap().as_deref(), Some("one"));
            fs::remove_file(&path).unwrap();
            assert_eq!(read(&path, 3).unwrap(), None);
            symlink(&victim, &path).unwrap();
            assert!(read(&path, JOURNAL).is_err());
        }
        replace(&path, "two", false).unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_a_short_regular_file_is_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        symlink("/dev/zero", &path).unwrap();
        assert!(read(&path, 3).is_err());
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(read(&path, 3).is_err());
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
