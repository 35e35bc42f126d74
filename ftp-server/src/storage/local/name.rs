//! The names that clients can access or create, and the names of temporary files.

pub(super) use ftp_proto::HiddenFile as Hidden;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::net::random;
use crate::storage::{StorageErrorKind, StorageResult, VirtualPath};

/// Prefix of the names of unfinished uploads. Clients never see such a name.
pub(super) const TEMPORARY_PREFIX: &[u8] = Hidden::UPLOAD;

/// The word after the prefix in the names of records. The bytes of an upload have a random name, with
/// 16 digits instead of a word.
const RECORD: &[u8] = b"record-";

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
    [TEMPORARY_PREFIX, what, b"-", beginning(name, most), PART].concat()
}

/// Returns the beginning of a name. A character of UTF-8 is not cut in two.
fn beginning(name: &[u8], most: usize) -> &[u8] {
    let end = (0..=most.min(name.len()))
        .rev()
        .find(|&end| name.get(end).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000));
    name.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Digits of a name that identify the owner of a record.
const OWNER: usize = 12;

/// The owner of a record: the first digits after the word in its name.
pub(super) type Owner = [u8; OWNER];

/// Returns the owner in the names of a user's records. All shared logins count as one user.
pub(super) fn owner_of(user: Option<&[u8]>) -> Owner {
    digits(user.unwrap_or_default()).first_chunk().copied().unwrap_or_default()
}

/// Returns the name of the record of `user`'s upload to the file `name`. It contains that name, so
/// that a file system which takes two names for one (without case, or composed and decomposed) also
/// takes the names of their records for one.
pub(super) fn of_record(user: Option<&[u8]>, name: &[u8]) -> Vec<u8> {
    let rest = rest_of(name);
    [TEMPORARY_PREFIX, RECORD, &owner_of(user), b"-", &rest, PART].concat()
}

/// Returns what the name of a record contains of the name of its target: a long name is cut, after
/// digits that identify it whatever its case.
fn rest_of(name: &[u8]) -> Vec<u8> {
    const ROOM: usize =
        LONGEST_HIDDEN - TEMPORARY_PREFIX.len() - RECORD.len() - OWNER - 1 - PART.len();
    if name.len() <= ROOM {
        return name.to_vec();
    }
    let digits = digits(&name.to_ascii_lowercase());
    [&digits, &b"-"[..], beginning(name, ROOM - digits.len() - 1)].concat()
}

/// Returns 16 digits of a digest.
fn digits(bytes: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(bytes);
    let first = digest.first_chunk().copied().unwrap_or_default();
    let digits = format!("{:016x}", u64::from_be_bytes(first)).into_bytes();
    digits.first_chunk().copied().unwrap_or_default()
}

/// Returns the owner, and what the name of a record contains of the name of its target; `None` for
/// other names.
fn parts_of_record(hidden: &[u8]) -> Option<(Owner, &[u8])> {
    let rest = hidden.strip_prefix(TEMPORARY_PREFIX)?.strip_prefix(RECORD)?;
    let (owner, rest) = rest.strip_suffix(PART)?.split_first_chunk::<OWNER>()?;
    Some((*owner, rest.strip_prefix(b"-").filter(|_| are_digits(owner))?))
}

fn are_digits(digits: &[u8]) -> bool {
    digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn owner(hidden: &[u8]) -> Owner {
    parts_of_record(hidden).map(|(owner, _)| owner).unwrap_or_default()
}

/// Returns whether this is the name of a record of uploads to the file `name`.
pub(super) fn is_of_target(hidden: &[u8], name: &[u8]) -> bool {
    parts_of_record(hidden).is_some_and(|(_, rest)| rest == rest_of(name))
}

/// Returns the meaning of a name from [`temporary`] or [`of_record`], also of older versions; `None`
/// for other names.
pub(super) fn hidden(name: &[u8]) -> Option<Hidden> {
    Hidden::of(name).filter(|kind| matches!(kind, Hidden::Record | Hidden::Bytes))
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
    fn names_of_a_record_depend_on_user_and_target_fs_15() {
        let long = |end: &str| [&b"X".repeat(200), end.as_bytes()].concat();
        let targets = [&b"f"[..], b"F", b"", b"g-f", &[0xFF; 106], &long("a"), &long("b")];
        let users = [Some(&b"a"[..]), Some(b"b"), None];
        let mut all: Vec<Vec<u8>> = Vec::new();
        for user in users {
            for name in targets {
                let record = of_record(user, name);
                assert_eq!(hidden(&record), Some(Hidden::Record));
                assert!(is_temporary(&record) && record.len() <= LONGEST_HIDDEN);
                assert_eq!(owner(&record), owner_of(user));
                for other in targets {
                    assert_eq!(is_of_target(&record, other), name == other);
                }
                assert!(!all.contains(&record));
                all.push(record);
            }
        }
        // All shared logins are one user.
        assert_eq!(of_record(None, b"f"), of_record(Some(b""), b"f"));
        // A file system without case takes the record for one if it takes the names for one.
        assert!(of_record(None, b"f").eq_ignore_ascii_case(&of_record(None, b"F")));
        let (lower, upper) = (long("a"), long("A"));
        assert!(of_record(None, &lower).eq_ignore_ascii_case(&of_record(None, &upper)));
    }

    #[test]
    fn the_meaning_of_a_hidden_name_fs_14_fs_15() {
        let digits = "0123456789abcdef".repeat(3);
        for (word, count, end, what) in [
            ("record-", 12, "-scan.pdf.part", Some(Hidden::Record)),
            ("record-", 12, "-.part", Some(Hidden::Record)),
            ("record-", 12, ".part", None),
            ("record-", 11, "-f.part", None),
            ("record-", 12, "-f", None),
            ("", 16, "-scan.pdf.part", Some(Hidden::Bytes)),
            ("", 15, "-scan.pdf.part", None),
            ("", 16, "-scan.pdf", None),
            ("", 16, "scan.pdf.part", None),
            ("", 0, ".part", None),
            ("other-", 40, ".part", None),
            // Names of older versions.
            ("kept-", 40, ".part", Some(Hidden::Bytes)),
            ("running-", 40, "-scan.pdf.part", Some(Hidden::Bytes)),
            ("kept-", 32, "", Some(Hidden::Bytes)),
            ("replacing-", 32, "", Some(Hidden::Bytes)),
            ("", 16, "", Some(Hidden::Bytes)),
        ] {
            let name = format!(".ftp-upload-{word}{}{end}", &digits[..count]);
            assert_eq!(hidden(name.as_bytes()), what, "{name}");
            // Only the digits that the server writes count.
            let other = name.replace("abcdef", "ABCDEF");
            assert!(other == name || hidden(other.as_bytes()).is_none(), "{other}");
        }
        assert_eq!(hidden(&temporary(b"file").unwrap()), Some(Hidden::Bytes));
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
                assert_eq!(hidden(&hidden_name), Some(Hidden::Bytes));
                // The name is valid text wherever the file's name is.
                let is_text = |name: &[u8]| std::str::from_utf8(name).is_ok();
                assert_eq!(is_text(&hidden_name), is_text(name) || name[0] == 0x80);
            }
        }
        assert!(is_temporary(b".FTP-Upload-record-") && !is_temporary(b".ftp-uploads"));
    }
}
