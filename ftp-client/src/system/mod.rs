//! What operating systems do differently with files and descriptors: one file for each system, or
//! family of systems, with the same functions. What the tests of all systems must see is here: which
//! names Windows can store, and how it reads at a position.

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

#[cfg(any(windows, test))]
use std::io::{self, Seek, SeekFrom};

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
#[cfg(any(windows, test))]
const DEVICES: [&str; 6] = ["AUX", "CON", "CONIN$", "CONOUT$", "NUL", "PRN"];

/// Devices whose names end with one of [`NUMBERS`].
#[cfg(any(windows, test))]
const NUMBERED: [&str; 2] = ["COM", "LPT"];

#[cfg(any(windows, test))]
const NUMBERS: &str = "123456789\u{b9}\u{b2}\u{b3}";

/// Returns whether Windows stores a file under exactly this name. It opens a device for the name of
/// one, even with an extension, another stream of a file for a name with a colon, and leaves out
/// dots and blanks at the end.
#[cfg(any(windows, test))]
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
    fn windows_stores_no_file_under_the_name_of_a_device_or_a_stream() {
        for name in [
            "CON",
            "con.txt",
            "NUL",
            "nul .tar.gz",
            "COM1",
            "lpt9.log",
            "COM\u{b2}",
            "a:b",
            "a.",
            "a ",
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a?",
            "\u{1}",
        ] {
            assert!(!is_valid(name), "{name:?}");
        }
        for name in ["a", ".hidden", "a b", "COM", "COM0", "COM10", "console", "a.con", "\u{e9}"] {
            assert!(is_valid(name), "{name:?}");
        }
    }
}
