//! The names that clients can access or create, and the names of temporary files.

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::net::random;
use crate::storage::{Metadata, StorageError, StorageErrorKind, VirtualPath};

/// Prefix of the names of unfinished uploads. Clients never see such a name.
pub(super) const TEMPORARY_PREFIX: &[u8] = b".ftp-upload-";

/// The word after the prefix in the names of kept partial uploads. A random temporary name has 16
/// digits instead of a word.
const KEPT: &[u8] = b"kept-";

/// The word after the prefix in the names of uploads that replace a file.
const REPLACING: &[u8] = b"replacing-";

/// Maximum length of a name in bytes (`NAME_MAX` of Linux).
const LONGEST: usize = 255;

/// End of the names of running uploads. Many programs that watch directories ignore such names.
const PART: &[u8] = b".part";

/// Returns whether a name belongs to an unfinished upload. Some file systems ignore case.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    let prefix = name.get(..TEMPORARY_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(TEMPORARY_PREFIX))
}

/// Returns `NotFound` if the path is too long or contains a reserved name.
pub(super) fn check_existing(path: &VirtualPath) -> Result<(), StorageError> {
    if path.is_too_long() || components(path).any(is_reserved) {
        return Err(StorageErrorKind::NotFound.into());
    }
    Ok(())
}

/// Returns `NameNotAllowed` if clients may not create the path.
pub(super) fn check_new(path: &VirtualPath) -> Result<(), StorageError> {
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
/// cannot guess. It contains as much of `name` as fits, so that a file system that refuses some
/// characters refuses this name too.
pub(super) fn temporary(name: &[u8]) -> Result<Vec<u8>, Errno> {
    let random = format!("{:016x}-", random::number()?);
    let most = LONGEST - TEMPORARY_PREFIX.len() - random.len() - PART.len();
    // A character of UTF-8 must not be cut in two.
    let end = (0..=most.min(name.len()))
        .rev()
        .find(|&end| name.get(end).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000));
    let beginning = name.get(..end.unwrap_or_default()).unwrap_or_default();
    Ok([TEMPORARY_PREFIX, random.as_bytes(), beginning, PART].concat())
}

/// The owner of a partial upload or of a replacement: the first digits after the word in its hidden
/// name.
pub(super) type Owner = [u8; 12];

/// Returns the hidden name of `user`'s partial upload of the file `name`. The hidden name depends
/// only on user and name, and contains neither.
pub(super) fn kept(user: &[u8], name: &[u8]) -> Vec<u8> {
    of_user(KEPT, user, &[name])
}

/// Returns the hidden name of `user`'s upload that replaces the file `name`, whose metadata is
/// `old`. All shared logins count as one user. If the size, modification time or inode of the file
/// changes, so does the hidden name.
pub(super) fn replacing(user: Option<&[u8]>, name: &[u8], old: &Metadata) -> Vec<u8> {
    let (_device, inode) = old.identity;
    let (inode, size) = (inode.to_be_bytes(), old.size.to_be_bytes());
    let parts = [&inode[..], &size, &old.modified.to_be_bytes(), name];
    of_user(REPLACING, user.unwrap_or_default(), &parts)
}

/// Returns a hidden name. After `word`, all hidden names of one user begin with the same digits.
fn of_user(word: &[u8], user: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(user.len().to_be_bytes());
    digest.update(user);
    let owner = digest.clone().finalize();
    for part in parts {
        digest.update(part);
    }
    let file = digest.finalize();
    let mut name = [TEMPORARY_PREFIX, word].concat();
    for byte in owner.iter().take(6).chain(file.iter().take(10)) {
        name.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    name
}

/// Returns the owner that a name from [`kept`] or [`replacing`] contains.
pub(super) fn owner(hidden: &[u8]) -> Owner {
    let rest = hidden.strip_prefix(TEMPORARY_PREFIX).unwrap_or_default();
    let digits = rest.strip_prefix(KEPT).or_else(|| rest.strip_prefix(REPLACING));
    digits.and_then(|digits| digits.first_chunk()).copied().unwrap_or_default()
}

/// Meaning of a hidden name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hidden {
    /// A running upload, or one whose server was killed.
    Running,
    /// A partial upload, kept for its user.
    Kept,
    /// A running upload that replaces a file, or the empty file that records its interruption.
    Replacing,
}

/// Returns the meaning of a name from [`temporary`], [`kept`] or [`replacing`]; `None` for other
/// names.
pub(super) fn hidden(name: &[u8]) -> Option<Hidden> {
    let rest = name.strip_prefix(TEMPORARY_PREFIX)?;
    let is_of_digits = |digits: &[u8], length: usize| {
        digits.len() == length
            && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let long = [(KEPT, Hidden::Kept), (REPLACING, Hidden::Replacing)];
    for (word, what) in long {
        if let Some(digits) = rest.strip_prefix(word) {
            return is_of_digits(digits, 32).then_some(what);
        }
    }
    let (digits, end) = rest.split_at_checked(16)?;
    // The names of earlier versions end after the digits.
    let is_whole = end.is_empty() || end.starts_with(b"-") && end.ends_with(PART);
    (is_of_digits(digits, 16) && is_whole).then_some(Hidden::Running)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: Result<(), StorageError>) -> Option<StorageErrorKind> {
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
    fn partial_file_names_depend_on_user_and_file_fs_15() {
        let names = [
            kept(b"a", b"file"),
            kept(b"b", b"file"),
            kept(b"a", b"other"),
            kept(b"af", b"ile"),
            kept(b"", b"afile"),
        ];
        for (at, name) in names.iter().enumerate() {
            assert!(is_temporary(name) && hidden(name) == Some(Hidden::Kept));
            assert!(!names[..at].contains(name));
        }
        assert_eq!(names[0], kept(b"a", b"file"));
        assert_eq!(hidden(&temporary(b"file").unwrap()), Some(Hidden::Running));
        for other in [&b".ftp-upload-"[..], b".ftp-upload-kept-", b".ftp-upload-0123456789ABCDEF"] {
            assert_eq!(hidden(other), None);
        }
    }

    #[test]
    fn replacing_upload_names_depend_on_user_and_existing_file_fs_15() {
        let file =
            |inode, size, modified| Metadata::file(size).modified(modified).identity(1, inode);
        let names = [
            replacing(Some(b"a"), b"f", &file(1, 2, 3)),
            replacing(Some(b"b"), b"f", &file(1, 2, 3)),
            replacing(None, b"f", &file(1, 2, 3)),
            replacing(None, b"g", &file(1, 2, 3)),
            replacing(None, b"f", &file(4, 2, 3)),
            replacing(None, b"f", &file(1, 4, 3)),
            replacing(None, b"f", &file(1, 2, 4)),
        ];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(hidden(name), Some(Hidden::Replacing));
            assert_eq!(owner(name) == owner(&kept(b"a", b"file")), at == 0);
            assert!(!names[..at].contains(name));
        }
        assert_eq!(names[0], replacing(Some(b"a"), b"f", &file(1, 2, 3)));
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
