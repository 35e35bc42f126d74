//! Rights by directory.

use super::Rights;
use crate::storage::VirtualPath;

/// Rights that replace a user's general rights in a directory and below it.
///
/// The rights depend on the path that the client names. If a symbolic link elsewhere leads into the
/// directory, the rights of the link's own location apply to paths through the link.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DirectoryRights {
    /// The directory.
    pub path: VirtualPath,
    /// The rights to the directory and to everything below it.
    pub rights: Rights,
}

impl DirectoryRights {
    /// Returns a rule with these rights to this directory.
    #[must_use]
    pub const fn new(path: VirtualPath, rights: Rights) -> Self {
        Self { path, rights }
    }

    fn is_about(&self, path: &VirtualPath) -> bool {
        path.is_at_or_below(&self.path)
    }
}

/// Returns the rule for a path; `None` if no rule applies. If several apply, the longest directory
/// path wins.
pub(crate) fn rule_for<'a>(
    rules: &'a [DirectoryRights],
    path: &VirtualPath,
) -> Option<&'a DirectoryRights> {
    let about = rules.iter().filter(|rule| rule.is_about(path));
    about.max_by_key(|rule| rule.path.as_bytes().len())
}

/// Returns whether the object at this path, or one below it, is a directory with a rule.
pub(crate) fn holds_rules(rules: &[DirectoryRights], path: &VirtualPath) -> bool {
    rules.iter().any(|rule| rule.path.is_at_or_below(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_directory_decides() {
        let rule = |path: &str, rights| DirectoryRights::new(path.into(), rights);
        let rules = [
            rule("/a", Rights::READ),
            rule("/a/b/c", Rights::FULL),
            rule("/a/b", Rights::DROP_BOX),
        ];
        for (path, want) in [
            ("/", None),
            ("/b", None),
            ("/ab", None),
            ("/a", Some(Rights::READ)),
            ("/a/bc", Some(Rights::READ)),
            ("/a/b", Some(Rights::DROP_BOX)),
            ("/a/b/cd", Some(Rights::DROP_BOX)),
            ("/a/b/c", Some(Rights::FULL)),
            ("/a/b/c/d/e", Some(Rights::FULL)),
        ] {
            assert_eq!(rule_for(&rules, &path.into()).map(|rule| rule.rights), want, "{path}");
        }
        for (path, want) in
            [("/", true), ("/a/b/c", true), ("/a/b", true), ("/a/b/c/d", false), ("/b", false)]
        {
            assert_eq!(holds_rules(&rules, &path.into()), want, "{path}");
        }
    }
}
