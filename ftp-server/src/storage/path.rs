//! Resolved pathnames: absolute, below the user's root, without `.` and `..` (RFC 3659 §6).

use std::fmt;

use ftp_proto::{Escaped, Pathname};

use crate::limits;

/// An absolute path in the user's tree. No component is empty, `.` or `..`, and no component
/// contains `/`. If the path was resolved from a [`Pathname`], it contains no NUL, CR or LF either.
///
/// `..` removes the preceding component without a system call, and has no effect at the root. `//`,
/// `/./` and a trailing `/` have no effect (RFC 3659 §6.2.1).
///
/// ```
/// use ftp_proto::Pathname;
/// use ftp_server::VirtualPath;
///
/// let directory = VirtualPath::root().resolve(&Pathname::new("/pub//x/../y/")?);
/// assert_eq!(directory.as_bytes(), b"/pub/y");
/// assert_eq!(directory.resolve(&Pathname::new("../../../etc")?).as_bytes(), b"/etc");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct VirtualPath {
    /// `/` or `/a/b`.
    absolute: Vec<u8>,
}

impl Default for VirtualPath {
    fn default() -> Self {
        Self::root()
    }
}

impl VirtualPath {
    /// Returns the root of the user's tree.
    #[must_use]
    pub fn root() -> Self {
        Self { absolute: b"/".to_vec() }
    }

    /// Resolves `path` relative to this path, or to the root if `path` begins with `/`.
    #[must_use]
    pub fn resolve(&self, path: &Pathname) -> Self {
        self.follow(path.as_bytes())
    }

    fn follow(&self, path: &[u8]) -> Self {
        let mut resolved = if path.starts_with(b"/") { Self::root() } else { self.clone() };
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => resolved = resolved.parent().unwrap_or_default(),
                name => resolved.push(name),
            }
        }
        resolved
    }

    /// Returns the path of the entry `name` in this directory. `name` is one component, as in a
    /// listing.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut joined = self.clone();
        joined.push(name);
        joined
    }

    /// Returns this path, with its root at `top`, which is empty or begins with a slash.
    pub(crate) fn below(&self, top: &[u8]) -> Self {
        let whole = if self.is_root() { top.to_vec() } else { [top, &self.absolute].concat() };
        if whole.is_empty() { Self::root() } else { Self { absolute: whole } }
    }

    fn push(&mut self, name: &[u8]) {
        if !self.is_root() {
            self.absolute.push(b'/');
        }
        self.absolute.extend_from_slice(name);
    }

    /// Returns whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.absolute == b"/"
    }

    /// Returns whether this is `directory` or a path below it.
    #[must_use]
    pub fn is_at_or_below(&self, directory: &Self) -> bool {
        match self.absolute.strip_prefix(&*directory.absolute) {
            Some(rest) => directory.is_root() || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }

    /// Returns this path as seen from `directory` as the root; `None` if this path is neither
    /// `directory` nor below it.
    ///
    /// ```
    /// use ftp_server::VirtualPath;
    ///
    /// let path = VirtualPath::from("/pub/a/b");
    /// assert_eq!(path.relative_to(&"/pub".into()), Some("/a/b".into()));
    /// assert_eq!(path.relative_to(&"/pu".into()), None);
    /// ```
    #[must_use]
    pub fn relative_to(&self, directory: &Self) -> Option<Self> {
        if !self.is_at_or_below(directory) {
            return None;
        }
        let rest = self.relative().strip_prefix(directory.relative())?;
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        Some(Self { absolute: [b"/", rest].concat() })
    }

    /// Returns the parent directory; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.absolute.iter().rposition(|&byte| byte == b'/')?;
        let parent = self.absolute.get(..slash.max(1))?;
        (!self.is_root()).then(|| Self { absolute: parent.to_vec() })
    }

    /// Returns the last component; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.absolute.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// Returns the path without its first `/`; empty for the root.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        self.absolute.get(1..).unwrap_or_default()
    }

    /// Returns the absolute path, `/` or `/a/b`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.absolute
    }

    /// Returns whether the path has more than 4,096 bytes or 128 components. A storage should refuse
    /// such a path, as [`LocalStorage`](crate::LocalStorage) does.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        let depth = self.absolute.iter().filter(|&&byte| byte == b'/').count();
        self.absolute.len() > limits::PATH || depth > limits::PATH_DEPTH
    }
}

/// Resolves a path from the root: `a/b` is the same as `/a/b`.
impl From<&str> for VirtualPath {
    fn from(path: &str) -> Self {
        Self::root().follow(path.as_bytes())
    }
}

impl From<&Self> for VirtualPath {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.absolute).fmt(f)
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(directory: &str, path: &str) -> String {
        let directory = VirtualPath::root().resolve(&Pathname::new(directory).unwrap());
        let resolved = directory.resolve(&Pathname::new(path).unwrap());
        String::from_utf8(resolved.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn resolve_stays_below_the_root_fs_01_fs_02_fs_03_hp_01() {
        for (directory, path, want) in [
            ("/", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a", "/b", "/b"),
            ("/a", "//b", "/b"),
            ("/a", ".", "/a"),
            ("/a", "./b/./", "/a/b"),
            ("/a", "..", "/"),
            ("/", "..", "/"),
            ("/a", "../..", "/"),
            ("/a", "../../../etc/passwd", "/etc/passwd"),
            ("/a", "b//..//..", "/"),
            ("/", "a/../../..", "/"),
            ("/a", "....//", "/a/...."),
            ("/a", "..%2f", "/a/..%2f"),
            ("/a", "..\\", "/a/..\\"),
            ("/a", "~", "/a/~"),
            ("/a", " ", "/a/ "),
            ("/a", "/", "/"),
        ] {
            assert_eq!(resolve(directory, path), want, "{directory} {path}");
        }
    }

    #[test]
    fn parts_of_a_path() {
        let path = VirtualPath::root().resolve(&Pathname::new("/a/b").unwrap());
        assert_eq!(path.name(), Some(&b"b"[..]));
        assert_eq!(path.relative(), b"a/b");
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_bytes(), b"/a");
        assert_eq!(parent.parent(), Some(VirtualPath::root()));
        assert_eq!(parent.join(b"b"), path);
        let root = VirtualPath::root();
        assert_eq!((root.name(), root.relative(), root.parent()), (None, &b""[..], None));
        assert_eq!(root.join(b"x").as_bytes(), b"/x");
    }

    #[test]
    fn limits_of_a_path_fs_07() {
        let path = |text: String| VirtualPath::root().resolve(&Pathname::new(text).unwrap());
        assert!(!path("a/".repeat(128)).is_too_long());
        assert!(path("a/".repeat(129)).is_too_long());
        assert!(!path("a".repeat(4_095)).is_too_long());
        assert!(path("a".repeat(4_096)).is_too_long());
    }
}
