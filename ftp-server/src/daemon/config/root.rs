//! The place of a user's files: a directory on disk, or objects in a store.

use std::fmt;
use std::path::{Path, PathBuf};

use ftp_proto::Escaped;

use ftp_proto::text::toml_text::is_bare;
use ftp_proto::text::values::shown_path;

/// Placeholder for the user's name in paths on disk and in prefixes.
const NAME: &str = "%u";

/// Maximum length of a prefix in bytes. The key of an object, which begins with the prefix, has at
/// most 1,024.
const LONGEST: usize = 900;

/// Whether this build can use object stores.
pub(super) const IS_BUILT: bool = cfg!(all(feature = "s3", feature = "redis"));

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum ConfiguredRoot {
    Directory(PathBuf),
    Objects(Objects),
}

/// The objects of a store below a prefix.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Objects {
    pub(crate) store: StoreName,
    /// Names separated by slashes, without a slash at either end; empty for all objects.
    pub(crate) prefix: String,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum StoreName {
    /// `store:NAME`, a table of the configuration.
    Table(String),
    /// `s3://BUCKET`, a bucket that a table of the configuration names.
    Bucket(String),
}

impl Objects {
    /// Reads `store:NAME/PREFIX` or `s3://BUCKET/PREFIX`; the prefix is optional. Returns `None` if
    /// the text begins with neither.
    ///
    /// # Errors
    ///
    /// Returns a message if the name, the bucket or the prefix is invalid.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (rest, is_table) = match text.strip_prefix("store:") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("s3://")?, false),
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self::of(text, name, prefix, is_table))
    }

    pub(crate) fn is_in(&self, table: &str, bucket: &str) -> bool {
        match &self.store {
            StoreName::Table(name) => name == table,
            StoreName::Bucket(name) => name == bucket,
        }
    }

    fn of(text: &str, name: &str, prefix: &str, is_table: bool) -> Result<Self, String> {
        let is_name = if is_table { is_bare(name) } else { is_bucket(name) };
        if !is_name {
            let expected = if is_table { "store:NAME/PREFIX" } else { "s3://BUCKET/PREFIX" };
            return Err(format!("invalid root \"{text}\": expected {expected}"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        check_prefix(prefix).map_err(|why| format!("invalid prefix \"{prefix}\": {why}"))?;
        let store = match is_table {
            true => StoreName::Table(name.to_owned()),
            false => StoreName::Bucket(name.to_owned()),
        };
        Ok(Self { store, prefix: prefix.to_owned() })
    }
}

/// Checks a prefix whose final slash was removed.
///
/// # Errors
///
/// Returns what is expected instead.
fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let is_prefix = prefix.is_empty() || prefix.split('/').all(is_part);
    if !is_prefix || prefix.len() > LONGEST || prefix.chars().any(char::is_control) {
        return Err("expected names other than . and .., with one slash between two, at most 900 \
                    bytes in total");
    }
    // The server keeps its own records there.
    if prefix.split('/').next() == Some(".ftp-server") {
        return Err(".ftp-server contains the server's own records; use another prefix");
    }
    Ok(())
}

pub(super) fn is_bucket(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Shows the objects in the form that [`Objects::parse`] reads.
impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.store {
            StoreName::Table(name) => write!(f, "store:{name}")?,
            StoreName::Bucket(bucket) => write!(f, "s3://{bucket}")?,
        }
        match &*self.prefix {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl fmt::Display for ConfiguredRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Objects(objects) => objects.fmt(f),
        }
    }
}

impl From<&Path> for ConfiguredRoot {
    fn from(path: &Path) -> Self {
        Self::Directory(path.to_owned())
    }
}

impl Default for ConfiguredRoot {
    fn default() -> Self {
        Self::Directory(PathBuf::new())
    }
}

impl ConfiguredRoot {
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Objects(_) => None,
        }
    }

    pub(crate) fn objects(&self) -> Option<&Objects> {
        match self {
            Self::Directory(_) => None,
            Self::Objects(objects) => Some(objects),
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Directory(path) => shown_path(path),
            Self::Objects(objects) => Escaped(objects.to_string().as_bytes()).to_string(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directory().is_some_and(|path| path.as_os_str().is_empty())
    }

    /// Returns whether the root contains `%u`.
    pub(crate) fn needs_name(&self) -> bool {
        match self {
            Self::Directory(path) => path.to_str().is_some_and(|path| path.contains(NAME)),
            Self::Objects(objects) => objects.prefix.contains(NAME),
        }
    }

    /// Returns the root with the user's name in place of `%u`, or `None` if the name is not safe in
    /// a path, or makes an invalid prefix.
    pub(crate) fn with_name(&self, name: &str) -> Option<Self> {
        if !self.needs_name() {
            return Some(self.clone());
        }
        let is_safe = !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
        if !is_safe {
            return None;
        }
        match self {
            Self::Directory(path) => {
                path.to_str().map(|path| Self::Directory(path.replace(NAME, name).into()))
            }
            Self::Objects(Objects { store, prefix }) => {
                let prefix = prefix.replace(NAME, name);
                check_prefix(&prefix).ok()?;
                Some(Self::Objects(Objects { store: store.clone(), prefix }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_roots_name_a_store_or_a_bucket() {
        for (text, store, prefix, shown) in [
            ("store:main/users/ann", "main", "users/ann", "store:main/users/ann"),
            ("store:a-b_1", "a-b_1", "", "store:a-b_1"),
            ("store:main/", "main", "", "store:main"),
            ("store:main/a b/%u/", "main", "a b/%u", "store:main/a b/%u"),
            ("s3://my.bucket-1/x", "my.bucket-1", "x", "s3://my.bucket-1/x"),
            ("s3://b", "b", "", "s3://b"),
        ] {
            let objects = Objects::parse(text).unwrap().unwrap();
            let (StoreName::Table(name) | StoreName::Bucket(name)) = &objects.store;
            assert_eq!(
                (&**name, &*objects.prefix, objects.to_string()),
                (store, prefix, shown.into())
            );
            assert_eq!(Objects::parse(shown), Some(Ok(objects)), "{text}");
        }
        for (text, want) in [
            ("store:", "expected store:NAME/PREFIX"),
            ("store:a b/c", "expected store:NAME/PREFIX"),
            ("store:%u/c", "expected store:NAME/PREFIX"),
            ("s3:///c", "expected s3://BUCKET/PREFIX"),
            ("s3://u:p@b/c", "expected s3://BUCKET/PREFIX"),
            ("store:a//b", "invalid prefix \"/b\": expected names"),
            ("store:a/b/../c", "invalid prefix \"b/../c\": expected names"),
            ("store:a/b\tc", "expected names"),
            (
                "store:a/.ftp-server/x",
                ".ftp-server contains the server's own records; use another prefix",
            ),
        ] {
            let why = Objects::parse(text).unwrap().unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
        assert!(Objects::parse(&format!("store:a/{}", "x".repeat(901))).unwrap().is_err());
        for text in ["/srv", "", "stores:a", "S3://b", "store"] {
            assert_eq!(Objects::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_user_name_replaces_its_placeholder_in_a_root() {
        let root = ConfiguredRoot::Objects(Objects::parse("store:a/users/%u").unwrap().unwrap());
        assert!(root.needs_name());
        assert_eq!(root.with_name("ann").unwrap().to_string(), "store:a/users/ann");
        for name in ["", "..", ".ftp-server", "a/b", "a\u{1}b"] {
            assert_eq!(root.with_name(name), None, "{name}");
        }
        let plain = ConfiguredRoot::Directory("/srv".into());
        assert_eq!(plain.with_name("a/b"), Some(plain.clone()));
    }

    #[test]
    fn a_user_name_cannot_form_a_reserved_or_overlong_prefix() {
        let of = |text: &str| ConfiguredRoot::Objects(Objects::parse(text).unwrap().unwrap());
        for (root, name, is_good) in [
            ("store:a/users/%u", &*"x".repeat(894), true),
            ("store:a/users/%u", &"x".repeat(895), false),
            ("store:a/%u/%u", &"x".repeat(450), false),
            ("store:a/.ftp-%u", "ann", true),
            ("store:a/.ftp-%u", "server", false),
            ("store:a/.ftp-%u/x", "server", false),
            ("store:a/x/.ftp-%u", "server", true),
        ] {
            assert_eq!(of(root).with_name(name).is_some(), is_good, "{root}");
        }
    }
}
