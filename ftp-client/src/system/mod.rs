//! What operating systems do differently with files and descriptors: one file for each system, or
//! family of systems, with the same functions. What the tests of all systems must see is here: which
//! names each system can store, and how Windows reads at a position.

#[cfg(all(unix, not(target_os = "linux")))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod others;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use bsd::*;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use others::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;
#[cfg(windows)]
pub use windows::{OsStrExt, OsStringExt};

use std::ffi::OsStr;
use std::io;
#[cfg(any(windows, test))]
use std::io::{Seek, SeekFrom};

/// Returns a name from a server as one part of a local path.
///
/// # Errors
///
/// Returns `InvalidInput` if the name would lead out of its directory, or if the system would store
/// the file under another name, or not as a file.
pub(crate) fn local_name(name: &[u8]) -> io::Result<&OsStr> {
    match is_one_part(name, cfg!(windows)) {
        true => Ok(OsStr::from_bytes(name)),
        false => Err(not_a_name()),
    }
}

fn not_a_name() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a valid name on this system")
}

/// Returns whether Windows, or Unix, stores a file under exactly this name, in the directory that the
/// name is joined to.
pub(crate) fn is_one_part(name: &[u8], is_windows: bool) -> bool {
    match is_windows {
        true => std::str::from_utf8(name).is_ok_and(is_valid),
        false => {
            !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        }
    }
}

/// Reads from a file, and restores the position at which it is written next: on Windows, reading at
/// another position moves it.
///
/// # Errors
///
/// Returns the error of `read`, and the file's error if the position cannot be restored.
#[cfg(any(windows, test))]
fn unmoved<T>(mut file: impl Seek, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let position = file.stream_position()?;
    let read = read();
    file.seek(SeekFrom::Start(position)).and(read)
}

/// Names of devices on Windows, without the numbers of `COM1` to `COM9` and `LPT1` to `LPT9`.
const DEVICES: [&str; 6] = ["AUX", "CON", "CONIN$", "CONOUT$", "NUL", "PRN"];

/// Devices whose names end with one of [`NUMBERS`].
const NUMBERED: [&str; 2] = ["COM", "LPT"];

const NUMBERS: &str = "123456789\u{b9}\u{b2}\u{b3}";

/// Returns whether Windows stores a file under exactly this name. It opens a device for the name of
/// one, even with an extension, another stream of a file for a name with a colon, and leaves out
/// dots and blanks at the end.
fn is_valid(name: &str) -> bool {
    let is_wrong = |char: char| char < ' ' || "<>:\"/\\|?*".contains(char);
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_uppercase();
    let is_numbered = |device: &&str| {
        let number = stem.strip_prefix(*device).unwrap_or_default();
        number.chars().count() == 1 && NUMBERS.contains(number)
    };
    let is_device = DEVICES.contains(&stem.as_str()) || NUMBERED.iter().any(is_numbered);
    !name.is_empty() && !name.contains(is_wrong) && !name.ends_with(['.', ' ']) && !is_device
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_read_elsewhere_does_not_move_the_next_write() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        for (from, want) in [(0, Some(b"abc")), (2, Some(b"cde")), (9, None)] {
            // As on Windows: the read goes by the position, and leaves it where it ended.
            let mut bytes = [0; 3];
            let mut reader = &file;
            let read = unmoved(&file, || {
                reader.seek(SeekFrom::Start(from))?;
                reader.read_exact(&mut bytes)
            });
            assert_eq!(read.ok().map(|()| &bytes), want);
            file.write_all(b"+").unwrap();
        }
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef+++");
    }

    #[test]
    fn a_servers_name_is_one_part_of_a_local_path_or_refused_cl_54_hc_05() {
        // The name, and whether Unix and Windows take it.
        for (name, on_unix, on_windows) in [
            ("a", true, true),
            (".hidden", true, true),
            ("...a", true, true),
            ("a b", true, true),
            ("\u{e9}", true, true),
            ("", false, false),
            (".", false, false),
            ("..", false, false),
            ("/etc/passwd", false, false),
            ("../evil", false, false),
            ("d/../../evil", false, false),
            ("a/", false, false),
            ("a\0b", false, false),
            ("C:\\evil", true, false),
            ("C:rel", true, false),
            ("\\evil", true, false),
            ("\\\\host\\share\\evil", true, false),
            ("\\\\?\\C:\\evil", true, false),
            ("..\\evil", true, false),
            ("d\\..\\..\\evil", true, false),
            ("x\\y", true, false),
            ("a:b", true, false),
            ("a::$DATA", true, false),
            ("...", true, false),
            ("end.", true, false),
            ("sp ", true, false),
            ("q?", true, false),
            ("a*", true, false),
            ("a|b", true, false),
            ("<a>", true, false),
            ("\"a\"", true, false),
            ("\u{1}", true, false),
            ("CON", true, false),
            ("con.txt", true, false),
            ("nul.txt", true, false),
            ("nul .tar.gz", true, false),
            ("COM1", true, false),
            ("lpt9.log", true, false),
            ("COM\u{b2}", true, false),
            ("conin$", true, false),
            ("COM", true, true),
            ("COM0", true, true),
            ("COM10", true, true),
            ("console", true, true),
            ("a.con", true, true),
        ] {
            assert_eq!(is_one_part(name.as_bytes(), false), on_unix, "{name:?}");
            assert_eq!(is_one_part(name.as_bytes(), true), on_windows, "{name:?}");
            let here = if cfg!(windows) { on_windows } else { on_unix };
            assert_eq!(local_name(name.as_bytes()).ok(), here.then_some(OsStr::new(name)));
        }
        // Names on Windows are UTF-16.
        assert!(is_one_part(b"\xff", false) && !is_one_part(b"\xff", true));
    }
}
