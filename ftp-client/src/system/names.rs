//! The names of files on Windows.

/// Names of devices, without the numbers of `COM1` to `COM9` and `LPT1` to `LPT9`.
const DEVICES: [&str; 6] = ["AUX", "CON", "CONIN$", "CONOUT$", "NUL", "PRN"];

/// Devices whose names end with one of [`NUMBERS`].
const NUMBERED: [&str; 2] = ["COM", "LPT"];

const NUMBERS: &str = "123456789\u{b9}\u{b2}\u{b3}";

/// Returns whether Windows stores a file under exactly this name. It opens a device for the name of
/// one, even with an extension, another stream of a file for a name with a colon, and leaves out
/// dots and blanks at the end.
pub(super) fn is_valid(name: &str) -> bool {
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
