//! What operating systems do differently with files and descriptors: one file for each system, or
//! family of systems, with the same functions. Which names Windows can store is here, so that the tests
//! of all systems see it.

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
    use super::*;

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
