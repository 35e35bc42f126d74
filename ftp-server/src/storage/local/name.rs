//! The names that clients can access or create, and the names of temporary files.

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::net::random;
use crate::storage::{Metadata, StorageErrorKind, StorageResult, VirtualPath};

/// Prefix of the names of unfinished uploads. Clients never see such a name.
pub(super) const TEMPORARY_PREFIX: &[u8] = b".ftp-upload-";

/// The word after the prefix in the names of kept uploads. A random temporary name has 16 digits
/// instead of a word.
const KEPT: &[u8] = b"kept-";

/// The word after the prefix in the names of running uploads that leave a record.
const RUNNING: &[u8] = b"running-";

/// The same word as older versions wrote it.
const REPLACING: &[u8] = b"replacing-";

/// Maximum length of a name in bytes (`NAME_MAX` of Linux).
const LONGEST: usize = 255;

/// Largest number of bytes of a hidden name, so that file systems that encrypt names have room for
/// it: eCryptfs allows 143.
const LONGEST_HIDDEN: usize = 143;

/// End of the names of running uploads. Many programs that watch directories ignore such names.
const PART: &[u8] = b".part";

/// Returns whether a name belongs to an unfinished upload. Some file systems ignore case.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    let prefix = name.get(..TEMPORARY_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(TEMPORARY_PREFIX))
}

/// Returns `NotFound` if the path is too long or contains a reserved name.
pub(super) fn check_existing(path: &VirtualPath) -> StorageResult<()> {
    if path.is_too_long() || components(path).any(is_reserved) {
        return Err(StorageErrorKind::NotFound.into());
    }
    Ok(())
}

/// Returns `NameNotAllowed` if clients may not create the path.
pub(super) fn check_new(path: &VirtualPath) -> StorageResult<()> {
    let is_bad = |name: &[u8]| name.len() > LONGEST || name.iter().any(|b| b"\r\n".contains(b));
    if path.is_too_long() || components(path).any(is_reserved) || path.name().is_some_and(is_bad) {
        return Err(StorageErrorKind::NameNotAllowed.into());
    }
    Ok(())
}

fn components(path: &VirtualPath) -> impl Iterator<Item = &[u8]> {
    path.relative().split(|&byte| byte == b'/').filter(|_| !path.is_root())
}

/// Returns whether a component is a temporary name, or a name that [`VirtualPath::resolve`] never
/// returns.
fn is_reserved(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..") || name.contains(&0) || is_temporary(name)
}

/// Returns a hidden name for the upload of the file `name`: a random name, which other programs
/// cannot guess.
pub(super) fn temporary(name: &[u8]) -> Result<Vec<u8>, Errno> {
    Ok(with_beginning(format!("{:016x}", random::number()?).as_bytes(), name))
}

/// Returns a hidden name that contains as much of `name` as fits, so that a file system that refuses
/// some characters refuses this name too.
fn with_beginning(what: &[u8], name: &[u8]) -> Vec<u8> {
    let most = LONGEST_HIDDEN - TEMPORARY_PREFIX.len() - what.len() - 1 - PART.len();
    // A character of UTF-8 must not be cut in two.
    let end = (0..=most.min(name.len()))
        .rev()
        .find(|&end| name.get(end).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000));
    let beginning = name.get(..end.unwrap_or_default()).unwrap_or_default();
    [TEMPORARY_PREFIX, what, b"-", beginning, PART].concat()
}

/// The owner of a record: the first digits after the word in its names.
pub(super) type Owner = [u8; 12];

/// Digits of a name that identify the owner, the name of the target, and the file to be replaced.
const DIGITS: [usize; 3] = [OWNER, TARGET, 12];
const OWNER: usize = 12;
const TARGET: usize = 16;

/// The hidden names of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RecordNames {
    /// The name of the file while the upload runs.
    pub(super) running: Vec<u8>,
    /// The name of the file once the upload was cut.
    pub(super) kept: Vec<u8>,
}

/// Returns the names of the record of `user`'s upload to the file `name`; `old` is the file that it
/// replaces. All shared logins count as one user.
pub(super) fn of_record(user: Option<&[u8]>, name: &[u8], old: Option<&Metadata>) -> RecordNames {
    let old = old.map_or_else(Vec::new, |old| {
        let (_device, inode) = old.identity;
        [inode.to_be_bytes(), old.size.to_be_bytes(), old.modified.to_be_bytes()].concat()
    });
    let parts = [user.unwrap_or_default(), name, &old];
    let digits = parts.iter().zip(DIGITS).map(|(bytes, count)| digits(bytes, count));
    let digits = digits.collect::<Vec<_>>().concat();
    RecordNames {
        running: with_beginning(&[RUNNING, &digits].concat(), name),
        kept: [TEMPORARY_PREFIX, KEPT, &digits, PART].concat(),
    }
}

/// Returns the first digits of a digest, at most 16.
fn digits(bytes: &[u8], count: usize) -> Vec<u8> {
    let digest = Sha256::digest(bytes);
    let first = digest.first_chunk().copied().unwrap_or_default();
    let mut digits = format!("{:016x}", u64::from_be_bytes(first)).into_bytes();
    digits.truncate(count);
    digits
}

/// Returns the digits of a name from [`of_record`].
fn record_digits(hidden: &[u8]) -> &[u8] {
    let rest = hidden.strip_prefix(TEMPORARY_PREFIX).unwrap_or_default();
    let words = [KEPT, RUNNING, REPLACING];
    words.iter().find_map(|word| rest.strip_prefix(*word)).unwrap_or_default()
}

/// Returns the name of a kept upload for the record that a killed server left as `running`; `None`
/// for the names of earlier versions, which are shorter.
pub(super) fn kept_of(running: &[u8]) -> Option<Vec<u8>> {
    let digits = record_digits(running).get(..DIGITS.iter().sum())?;
    Some([TEMPORARY_PREFIX, KEPT, digits, PART].concat())
}

/// Returns the owner that a name from [`of_record`] contains.
pub(super) fn owner(hidden: &[u8]) -> Owner {
    record_digits(hidden).first_chunk().copied().unwrap_or_default()
}

/// Returns whether a name from [`of_record`] belongs to uploads to the file `name`.
pub(super) fn is_of_target(hidden: &[u8], name: &[u8]) -> bool {
    let found = record_digits(hidden).get(OWNER..OWNER + TARGET);
    found.is_some_and(|found| found == digits(name, TARGET))
}

/// Meaning of a hidden name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hidden {
    /// An upload that leaves no record, running or left by a killed server.
    Running,
    /// A kept upload.
    Kept,
    /// A running upload that leaves a record, or the record left by a killed server.
    Recorded,
}

/// Returns the meaning of a name from [`temporary`] or [`of_record`]; `None` for other names.
pub(super) fn hidden(name: &[u8]) -> Option<Hidden> {
    let rest = name.strip_prefix(TEMPORARY_PREFIX)?;
    let is_of_digits = |digits: &[u8], length: usize| {
        digits.len() == length
            && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let words = [
        (KEPT, Hidden::Kept),
        (RUNNING, Hidden::Recorded),
        // The word of earlier versions.
        (REPLACING, Hidden::Recorded),
    ];
    let word = words.iter().find_map(|&(word, what)| Some((what, rest.strip_prefix(word)?)));
    let (what, rest, count) = match word {
        Some((what, rest)) => (what, rest, DIGITS.iter().sum()),
        None => (Hidden::Running, rest, 16),
    };
    let is_whole = match rest.strip_suffix(PART) {
        Some(rest) => {
            let (digits, beginning) = rest.split_at_checked(count)?;
            is_of_digits(digits, count) && (beginning.is_empty() || beginning.starts_with(b"-"))
        }
        // The names of earlier versions end after the digits, which were fewer.
        None => is_of_digits(rest, count.min(32)),
    };
    is_whole.then_some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: StorageResult<()>) -> Option<StorageErrorKind> {
        result.err().map(|error| error.kind)
    }

    #[test]
    fn names_for_creation_fs_06_fs_07_fs_14_hp_09() {
        let long = |length: usize| vec![b'x'; length];
        for (name, allowed) in [
            (&b"plain"[..], true),
            (b" ", true),
            (b"...", true),
            (b".hidden", true),
            (b"-rf", true),
            (b"\xff\x1b\x07\"*", true),
            (b".ftp-upload", true),
            (&long(255), true),
            (&long(256), false),
            (b"", false),
            (b".", false),
            (b"..", false),
            (b"a\rb", false),
            (b"a\n", false),
            (b"a\0b", false),
            (b".ftp-upload-", false),
            (b".ftp-upload-0", false),
            (b"../a", false),
            (b".ftp-upload-0/a", false),
        ] {
            let want = (!allowed).then_some(StorageErrorKind::NameNotAllowed);
            for directory in [VirtualPath::root(), VirtualPath::root().join(b"d")] {
                let path = directory.join(name);
                if !(name.is_empty() && directory.is_root()) {
                    assert_eq!(kind(check_new(&path)), want, "{path}");
                }
            }
        }
        let deep = |levels| VirtualPath::root().join("d/".repeat(levels).trim_end().as_bytes());
        assert_eq!(kind(check_new(&deep(129))), Some(StorageErrorKind::NameNotAllowed));
    }

    #[test]
    fn names_that_are_never_found_fs_07_fs_14_hp_22() {
        for (name, there) in [
            (&b"plain"[..], true),
            (b"a\nb", true),
            (b".", false),
            (b"a/../b", false),
            (b"a\0b", false),
            (b".ftp-upload-0123456789abcdef", false),
            (b".ftp-upload-0/a", false),
            (&[b'x'; 4_096], false),
        ] {
            let want = (!there).then_some(StorageErrorKind::NotFound);
            assert_eq!(kind(check_existing(&VirtualPath::root().join(name))), want, "{name:?}");
        }
        assert_eq!(kind(check_existing(&VirtualPath::root())), None);
    }

    #[test]
    fn names_of_a_record_depend_on_user_target_and_existing_file_fs_15() {
        let file =
            |inode, size, modified| Metadata::file(size).modified(modified).identity(1, inode);
        let records = [
            of_record(Some(b"a"), b"f", Some(&file(1, 2, 3))),
            of_record(Some(b"b"), b"f", Some(&file(1, 2, 3))),
            of_record(None, b"f", Some(&file(1, 2, 3))),
            of_record(Some(b"a"), b"g", Some(&file(1, 2, 3))),
            of_record(Some(b"a"), b"f", Some(&file(4, 2, 3))),
            of_record(Some(b"a"), b"f", Some(&file(1, 4, 3))),
            of_record(Some(b"a"), b"f", Some(&file(1, 2, 4))),
            of_record(Some(b"a"), b"f", None),
            of_record(Some(b"af"), b"", None),
        ];
        for (at, RecordNames { running, kept }) in records.iter().enumerate() {
            assert_eq!(
                (hidden(running), hidden(kept)),
                (Some(Hidden::Recorded), Some(Hidden::Kept))
            );
            assert!(is_temporary(running) && is_temporary(kept) && kept.len() < LONGEST);
            assert!(records[..at].iter().all(|it| it.running != *running && it.kept != *kept));
            for name in [running, kept] {
                assert_eq!(owner(name) == owner(&records[0].kept), ![1, 2, 8].contains(&at));
                assert_eq!(is_of_target(name, b"f"), ![3, 8].contains(&at), "{at}");
                assert_eq!(is_of_target(name, b"g"), at == 3);
            }
        }
        // A restart may change the number of the device, and all shared logins are one user.
        let moved = file(1, 2, 3).identity(9, 1);
        assert_eq!(records[0], of_record(Some(b"a"), b"f", Some(&moved)));
        assert_eq!(records[2], of_record(Some(b""), b"f", Some(&moved)));
    }

    #[test]
    fn the_meaning_of_a_hidden_name_fs_14_fs_15() {
        let digits = "0123456789abcdef".repeat(3);
        for (word, count, end, what) in [
            ("kept-", 40, ".part", Some(Hidden::Kept)),
            ("running-", 40, "-scan.pdf.part", Some(Hidden::Recorded)),
            ("", 16, "-scan.pdf.part", Some(Hidden::Running)),
            // Names of older versions.
            ("kept-", 32, "", Some(Hidden::Kept)),
            ("replacing-", 32, "", Some(Hidden::Recorded)),
            ("", 16, "", Some(Hidden::Running)),
            ("kept-", 39, ".part", None),
            ("kept-", 41, ".part", None),
            ("kept-", 40, "", None),
            ("kept-", 0, ".part", None),
            ("running-", 32, ".part", None),
            ("running-", 40, "scan.pdf.part", None),
            ("", 40, ".part", None),
            ("", 0, ".part", None),
            ("other-", 40, ".part", None),
        ] {
            let name = format!(".ftp-upload-{word}{}{end}", &digits[..count]);
            assert_eq!(hidden(name.as_bytes()), what, "{name}");
            // Only the digits that the server writes count.
            let other = name.replace("abcdef", "ABCDEF");
            assert_eq!(hidden(other.as_bytes()), what.filter(|_| other == name), "{other}");
            assert_eq!(hidden(format!("{name}-old").as_bytes()), None);
        }
        assert_eq!(hidden(&temporary(b"file").unwrap()), Some(Hidden::Running));
    }

    #[test]
    fn temporary_names_are_hidden_and_differ_fs_12_fs_14() {
        let long = "\u{e4}".repeat(127);
        for name in [&b"f"[..], b"a:b.jpg", long.as_bytes(), &[b'x'; 255], &[0x80; 255]] {
            let names = [temporary(name).unwrap(), temporary(name).unwrap()];
            assert_ne!(names[0], names[1]);
            for hidden_name in names {
                assert!(is_temporary(&hidden_name) && hidden_name.len() <= LONGEST);
                assert!(hidden_name.starts_with(b".") && hidden_name.ends_with(b".part"));
                assert_eq!(hidden(&hidden_name), Some(Hidden::Running));
                // The name is valid text wherever the file's name is.
                let is_text = |name: &[u8]| std::str::from_utf8(name).is_ok();
                assert_eq!(is_text(&hidden_name), is_text(name) || name[0] == 0x80);
            }
        }
        assert!(is_temporary(b".FTP-Upload-kept-") && !is_temporary(b".ftp-uploads"));
        // The name of an earlier version.
        assert_eq!(hidden(b".ftp-upload-0123456789abcdef"), Some(Hidden::Running));
        assert_eq!(hidden(b".ftp-upload-0123456789abcdef-old"), None);
    }
}
