//! Rights by directory, and the directories and objects that are mounted into a user's tree.

use super::lists::RIGHTS;
use super::texts::HOME;
use crate::daemon::config::forms::Form;
use crate::daemon::config::kind::Kind;
use crate::daemon::config::root::ConfiguredRoot;
use crate::daemon::config::value::{Checked, TomlEntry, TomlValue, ValueContent, all};
use crate::{Rights, VirtualPath};

/// `{ "/DIRECTORY" = RIGHTS }`. The rights have the form of [`RIGHTS`] or are `[]`.
pub(crate) const DIRECTORIES: Form<Vec<(VirtualPath, Rights)>> = Form::new(
    Kind::Directories,
    |value| by_path(value, Kind::Directories, "directory", path_below, rights),
    |rules| TomlValue::table(rules.iter().map(|(path, rights)| (shown(path), RIGHTS.show(rights)))),
);

/// Reads the rights to a directory; unlike those of a user, they can be empty.
fn rights(value: &TomlValue) -> Checked<Rights> {
    match &value.content {
        ValueContent::List(items) if items.is_empty() => Ok(Rights::NONE),
        ValueContent::Single(_, text) if text == "[]" => Ok(Rights::NONE),
        _ => RIGHTS.read(value),
    }
}

/// Reads a table with a path in each entry, and sorts the items by path. `what` describes the
/// paths in messages.
pub(super) fn by_path<T>(
    value: &TomlValue,
    kind: Kind,
    what: &str,
    path: fn(&str) -> Result<VirtualPath, &'static str>,
    read: fn(&TomlValue) -> Checked<T>,
) -> Checked<Vec<(VirtualPath, T)>> {
    let item = |entry: &TomlEntry| {
        let wrong = |why| entry.objection(format!("invalid {what} \"{}\": {why}", entry.name));
        Ok((path(&entry.name).map_err(wrong)?, entry.read(read)?))
    };
    let mut items = all(kind.entries(value)?.iter().map(item))?;
    items.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    match items.iter().zip(items.iter().skip(1)).find(|((one, _), (other, _))| one == other) {
        Some(((path, _), _)) => {
            Err(value.objection(format!("{what} \"{}\" is named twice", shown(path))))
        }
        None => Ok(items),
    }
}

pub(super) fn shown(path: &VirtualPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Reads an absolute path of a directory below the root.
///
/// # Errors
///
/// Returns what is expected instead.
pub(super) fn path_below(text: &str) -> Result<VirtualPath, &'static str> {
    let path = VirtualPath::from(text);
    let is_same = path.as_bytes() == text.trim_end_matches('/').as_bytes();
    if path.is_root() || !is_same || text.chars().any(char::is_control) {
        Err("expected a path such as /incoming or /a/b")
    } else if text.trim_end_matches('/').ends_with(char::is_whitespace) {
        Err("remove the space at the end")
    } else if text.contains("%u") {
        Err("%u stands for the user's name only in roots and mount targets")
    } else {
        Ok(path)
    }
}

/// A directory on disk or objects of a store, with its path in the user's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MountPoint {
    pub(crate) path: VirtualPath,
    /// The mounted root, with the user's name in place of `%u` if the name can be part of a path.
    pub(crate) root: ConfiguredRoot,
}

/// `{ "/PATH" = "/DIRECTORY" }`.
pub(crate) const MOUNTS: Form<Vec<MountPoint>> = Form::new(
    Kind::Mounts,
    |value| {
        let read = |value: &TomlValue| HOME.read(value);
        let mounts = by_path(value, Kind::Mounts, "mount point", mount_path, read)?;
        Ok(mounts.into_iter().map(|(path, root)| MountPoint { path, root }).collect())
    },
    |mounts| {
        TomlValue::table(mounts.iter().map(|mount| (shown(&mount.path), HOME.show(&mount.root))))
    },
);

/// Prefix of names that the server hides from clients.
const HIDDEN: &str = ".ftp-upload-";

/// Reads the absolute path of a mount point in the user's tree.
fn mount_path(text: &str) -> Result<VirtualPath, &'static str> {
    match path_below(text) {
        _ if VirtualPath::from(text).is_root() => Err("set the directory of / with the key root"),
        _ if text.split('/').any(|name| name.starts_with(HIDDEN)) => {
            Err("names that begin with .ftp-upload- are not allowed")
        }
        Ok(path) if path.is_too_long() => Err("too long"),
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_rules_have_a_literal_path_and_any_rights() {
        let read = |text: &str| DIRECTORIES.assigned(text);
        for (text, path, rights) in [
            ("{ '/in' = 'read' }", "/in", Rights::READ),
            (" { '/a b/c/' = ['list', 'create'] }", "/a b/c", Rights::LIST | Rights::CREATE),
            ("{ '/private' = [] }", "/private", Rights::NONE),
            ("{ '/a;b' = \"read\" }", "/a;b", Rights::READ),
            ("{ '/a=b, \"[\u{e9}' = [] }", "/a=b, \"[\u{e9}", Rights::NONE),
            ("{ \"/a\" = \"[]\" }", "/a", Rights::NONE),
        ] {
            let rules = [(path.into(), rights)];
            assert_eq!(read(text).as_deref(), Ok(&rules[..]), "{text}");
            let shown = DIRECTORIES.show(&rules.to_vec());
            assert_eq!(DIRECTORIES.read(&shown).as_deref(), Ok(&rules[..]));
            assert_eq!(read(&shown.to_string()).as_deref(), Ok(&rules[..]));
        }
        for (text, want) in [
            ("{ '/in ' = 'read' }", "invalid directory \"/in \": remove the space at the end"),
            ("{ '/in /' = 'read' }", "invalid directory \"/in /\": remove the space at the end"),
            (
                "{ '/in\u{a0}' = 'read' }",
                "invalid directory \"/in\u{a0}\": remove the space at the end",
            ),
            (
                "{ '/%u' = 'read' }",
                "invalid directory \"/%u\": %u stands for the user's name only in roots and mount targets",
            ),
            (
                "/in=read",
                "expected a table such as { \"/incoming\" = \"drop-box\" }, found a string",
            ),
        ] {
            assert_eq!(read(text), Err(want.to_owned()));
        }
        assert!(read("{ '/in' = '' }").unwrap_err().starts_with("unknown right \"\""));
    }

    #[test]
    fn mounts_have_a_path_in_the_tree_and_one_on_disk() {
        let read = |text: &str| MOUNTS.assigned(text);
        for (text, path, root) in [
            ("{ '/pub' = '/srv/pub' }", "/pub", "/srv/pub"),
            (" { '/a b/c/' = '/srv/%u=x' }", "/a b/c", "/srv/%u=x"),
            ("{ '/pub' = 'store:main/a=b' }", "/pub", "store:main/a=b"),
            ("{ '/a=b;c' = '/srv;d, \"[\u{e9}' }", "/a=b;c", "/srv;d, \"[\u{e9}"),
        ] {
            let mounts = [MountPoint {
                path: path.into(),
                root: HOME.read(&TomlValue::text(root)).unwrap(),
            }];
            assert_eq!(read(text).as_deref(), Ok(&mounts[..]), "{text}");
            let shown = MOUNTS.show(&mounts.to_vec());
            assert_eq!(MOUNTS.read(&shown).as_deref(), Ok(&mounts[..]));
            assert_eq!(read(&shown.to_string()).as_deref(), Ok(&mounts[..]));
        }
        let paths = "{ '/b' = '/b', '/a/c' = '/c', '/a' = '/a' }";
        let paths: Vec<_> = read(paths).unwrap().into_iter().map(|mount| mount.path).collect();
        assert_eq!(paths, ["/a", "/a/c", "/b"].map(VirtualPath::from));
        for (text, want) in [
            ("/pub=/srv", "expected a table such as { \"/pub\" = \"/srv/pub\" }, found a string"),
            ("{ '/pub' = 'srv' }", "invalid path \"srv\": expected an absolute path"),
            ("{ '/pub' = '' }", "expected a directory"),
            (
                "{ '/' = '/srv' }",
                "invalid mount point \"/\": set the directory of / with the key root",
            ),
            (
                "{ '/a/..' = '/srv' }",
                "invalid mount point \"/a/..\": set the directory of / with the key root",
            ),
            (
                "{ 'pub' = '/srv' }",
                "invalid mount point \"pub\": expected a path such as /incoming or /a/b",
            ),
            ("{ '/a' = '/b', '/a/' = '/c' }", "mount point \"/a\" is named twice"),
        ] {
            assert_eq!(read(text), Err(want.to_owned()), "{text}");
        }
        for text in ["/.ftp-upload-x", "/a/.ftp-upload-/b"] {
            assert!(
                mount_path(text).is_err_and(|why| why.starts_with("names that begin with")),
                "{text}"
            );
        }
        assert!(mount_path("/.ftp").is_ok());
        assert_eq!(mount_path(&"/a".repeat(200)), Err("too long"));
    }
}
