//! The keys of paths, and the keys of the server's own objects.

use super::encode::{hex, sha256};
use crate::storage::{StorageErrorKind as Kind, StorageResult, VirtualPath};

/// Maximum length of a key in S3, in bytes.
const LONGEST: usize = 1_024;

/// The prefix of the server's own objects. No path leads to them. All servers of a bucket have the same.
pub(super) const HIDDEN: &str = ".ftp-server/";

/// The prefixes of objects that test a store, of those of moves of directories that have not succeeded,
/// of all notes, and of the last bytes of unfinished uploads, which are too few for a part.
pub(super) const PROBES: &str = ".ftp-server/probe/";
pub(super) const TREE_MOVES: &str = ".ftp-server/moves/";
pub(super) const NOTES: &str = ".ftp-server/partial/";
pub(super) const TAILS: &str = ".ftp-server/tails/";

#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// The prefix of all files: empty, or ending in `/`.
    prefix: String,
}

impl Keys {
    /// Creates keys below `prefix`. Slashes at the beginning and the end of `prefix` are ignored.
    /// Returns `None` if the prefix is invalid.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() && !prefix.split('/').all(is_name) {
            return None;
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        (prefix.len() < LONGEST && !is_hidden(&prefix)).then_some(Self { prefix })
    }

    /// Returns the key of a file.
    ///
    /// # Errors
    ///
    /// Returns `NameNotAllowed` if the path cannot have a key, or `IsDirectory` if it is the root.
    pub(super) fn file(&self, path: &VirtualPath) -> StorageResult<String> {
        if path.is_root() {
            return Err(Kind::IsDirectory.into());
        }
        let relative = str::from_utf8(path.relative()).map_err(|_| Kind::NameNotAllowed)?;
        let key = format!("{}{relative}", self.prefix);
        if self.has_path(&key) { Ok(key) } else { Err(Kind::NameNotAllowed.into()) }
    }

    /// Returns whether a path leads to this key of a file, or to this prefix of a directory without
    /// the `/` at its end. Other programs can store objects without a path.
    pub(super) fn has_path(&self, key: &str) -> bool {
        let names = key.strip_prefix(&*self.prefix);
        // The key of a directory of this name is one byte longer.
        key.len() < LONGEST
            && !is_hidden(key)
            && names.is_some_and(|names| names.split('/').all(is_name))
    }

    /// Returns the prefix of all keys in a directory, which is also the key of the object that
    /// `MKD` stores.
    ///
    /// # Errors
    ///
    /// Returns `NameNotAllowed` if the path cannot have a key.
    pub(super) fn directory(&self, path: &VirtualPath) -> StorageResult<String> {
        if path.is_root() { Ok(self.prefix.clone()) } else { Ok(self.file(path)? + "/") }
    }

    pub(super) fn note(&self, key: &str, user: &[u8]) -> String {
        self.notes_of(key) + &short(user)
    }

    /// Returns the prefix of the notes about all users' uploads to `key`.
    pub(super) fn notes_of(&self, key: &str) -> String {
        let (directory, name) = match key.rfind('/') {
            Some(slash) => key.split_at(slash + 1),
            None => ("", key),
        };
        format!("{}{}-", self.notes(directory), short(name.as_bytes()))
    }

    /// Returns the prefix of the notes about files in the directory with this prefix.
    pub(super) fn notes(&self, directory: &str) -> String {
        format!("{NOTES}{}/", short(directory.as_bytes()))
    }
}

/// Returns half of the SHA-256 digest in hexadecimal, so keys are short and do not reveal names.
fn short(bytes: &[u8]) -> String {
    hex(sha256(bytes).get(..16).unwrap_or_default())
}

/// Returns whether a key, or the prefix of a directory, is reserved for the server's own objects.
pub(super) fn is_hidden(key: &str) -> bool {
    key.starts_with(HIDDEN) || HIDDEN.strip_suffix('/') == Some(key)
}

/// Returns the key of the object of a move of a directory.
pub(super) fn tree_move((from, to): (&str, &str)) -> String {
    format!("{TREE_MOVES}{}", short(format!("{from}\n{to}").as_bytes()))
}

/// Returns the key of the object with the last bytes of an unfinished upload.
pub(super) fn tail(owner: &str) -> String {
    format!("{TAILS}{owner}")
}

/// Returns whether keys may have this name. Some stores take `\` for `/`, so with a `\` a name would
/// be a path.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains(|character: char| character.is_ascii_control() || character == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_keys_of_paths_begin_with_the_prefix() {
        for (prefix, file, directory) in [
            ("", "d/a b", "d/a b/"),
            ("/", "d/a b", "d/a b/"),
            ("users/ann", "users/ann/d/a b", "users/ann/d/a b/"),
            ("/users/", "users/d/a b", "users/d/a b/"),
        ] {
            let keys = Keys::new(prefix).unwrap();
            let path = VirtualPath::from("/d/a b");
            assert_eq!(keys.file(&path).unwrap(), file);
            assert_eq!(keys.directory(&path).unwrap(), directory);
            let root = keys.directory(&VirtualPath::root()).unwrap();
            assert!(file.starts_with(&root));
            assert_eq!(keys.file(&VirtualPath::root()).unwrap_err().kind, Kind::IsDirectory);
        }
        for prefix in ["a//b", "..", "a/./b", "a\nb", "a\\b", ".ftp-server", ".ftp-server/x"] {
            assert!(Keys::new(prefix).is_none(), "{prefix}");
        }
        let keys = Keys::new("").unwrap();
        let root = VirtualPath::root();
        for name in [&b"\xff"[..], b"a\x01", b"a\\b", b"\\a", b".ftp-server", &[b'x'; 1_024]] {
            let refused = keys.file(&root.join(name)).unwrap_err();
            assert_eq!(refused.kind, Kind::NameNotAllowed, "{name:?}");
        }
        assert!(keys.file(&root.join(&[b'x'; 1_023])).is_ok());
        assert!(keys.file(&root.join(b".ftp-server").join(b"x")).is_err());
        assert!(keys.file(&root.join(b".ftp-serverx")).is_ok());
    }

    #[test]
    fn partial_upload_note_keys_depend_on_directory_user_and_name() {
        let keys = Keys::new("p").unwrap();
        let note = keys.note("p/d/f", b"ann");
        assert!(note.starts_with(&keys.notes("p/d/")) && is_hidden(&note));
        assert!(note.starts_with(&keys.notes_of("p/d/f")));
        for other in
            [keys.note("p/d/f", b"bob"), keys.note("p/d/g", b"ann"), keys.note("p/f", b"ann")]
        {
            assert_ne!(note, other);
        }
    }
}
