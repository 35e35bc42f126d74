//! Finds and reads the configuration file. Rejects a file that is too large, not a regular file, or
//! writable by others.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;

use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// The variable that names another file; an empty value means no file.
const VARIABLE: &str = "FTP_CLI_CONFIG";

/// Largest file in bytes.
const LARGEST: u64 = 1 << 20;

/// Expected place of the file.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Place {
    path: PathBuf,
    /// Whether a variable names the file, so that the file must exist.
    is_named: bool,
}

/// Returns where the file is expected: `FTP_CLI_CONFIG`, else `ftp-cli/config.toml` in
/// `XDG_CONFIG_HOME` or in `~/.config`. Returns `None` if `FTP_CLI_CONFIG` is empty, or if it is
/// not set and neither `XDG_CONFIG_HOME` nor `HOME` is absolute.
pub(super) fn of_file(environment: impl Fn(&str) -> Option<OsString>) -> Option<Place> {
    if let Some(path) = environment(VARIABLE) {
        return (!path.is_empty()).then(|| Place { path: path.into(), is_named: true });
    }
    // A relative path would name a file that the current directory's owner controls.
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configs = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
    Some(Place { path: configs?.join("ftp-cli/config.toml"), is_named: false })
}

impl Place {
    /// Reads the file. Returns its name and text, or `None` if it is missing and no variable names
    /// it.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, is too large or not a regular file, or can be
    /// changed by others. Returns `Usage` if the file is not UTF-8.
    pub(super) fn read(&self) -> Result<Option<(String, String)>, Failure> {
        let name = shown_path(&self.path);
        let unfit = |why: &str| Failure::new(Exit::Local, format!("{name}: {why}"));
        // Opening a FIFO must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match open(&self.path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) => {
                let error = std::io::Error::from(error);
                // A path with a name that is too long cannot exist.
                let is_missing = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
                );
                return match is_missing && !self.is_named {
                    true => Ok(None),
                    false => Err(Failure::local(name, &error)),
                };
            }
        };
        let failed = |error| Failure::local(&name, &error);
        let metadata = file.metadata().map_err(failed)?;
        if let Some(why) = untrusted(&metadata, geteuid().as_raw()) {
            return Err(unfit(&why));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(unfit("too large: expected at most 1 MiB"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((name, text))),
            Err(_) => Err(Failure::usage(format!("{name}: invalid text: expected UTF-8"))),
        }
    }
}

/// Returns why a file cannot be trusted, or `None` if it can.
fn untrusted(metadata: &Metadata, user: u32) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() {
        return Some("not a regular file".to_owned());
    }
    if owner != user && owner != 0 {
        return Some(format!("owned by another user (uid {owner}); you or root must own it"));
    }
    (mode & 0o022 != 0).then(|| format!("writable by others (mode {mode:04o}); use chmod 644"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_file_is_found_by_xdg_rules() {
        for (variables, want) in [
            (&[("HOME", "/h")][..], Some(("/h/.config/ftp-cli/config.toml", false))),
            (&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], Some(("/x/ftp-cli/config.toml", false))),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")],
                Some(("/h/.config/ftp-cli/config.toml", false)),
            ),
            (&[("HOME", "h")], None),
            (&[], None),
            (&[("HOME", "/h"), ("FTP_CLI_CONFIG", "")], None),
            (&[("HOME", "/h"), ("FTP_CLI_CONFIG", "f")], Some(("f", true))),
        ] {
            let find = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let want = want.map(|(path, is_named)| Place { path: path.into(), is_named });
            assert_eq!(of_file(find), want, "{variables:?}");
        }
    }
}
