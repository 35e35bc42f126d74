//! Directories on disk, and objects of stores, that are mounted into a user's tree.

use super::directories::{by_path, path_below, shown};
use super::texts::HOME;
use crate::VirtualPath;
use crate::daemon::config::forms::Form;
use crate::daemon::config::kind::Kind;
use crate::daemon::config::root::Root;
use crate::daemon::config::value::TomlValue;

/// A directory on disk or objects of a store, with its path in the user's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MountPoint {
    pub(crate) path: VirtualPath,
    /// The mounted root, with the user's name in place of `%u` if the name can be part of a path.
    pub(crate) root: Root,
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
    fn mounts_have_a_path_in_the_tree_and_one_on_disk() {
        let read = |text: &str| MOUNTS.assigned(text);
        for (text, path, root) in [
            ("/pub=/srv/pub", "/pub", "/srv/pub"),
            (" /a b/c/=/srv/%u=x ;", "/a b/c", "/srv/%u=x"),
            ("/pub=store:main/a=b", "/pub", "store:main/a=b"),
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
        let paths = "/b=/b;/a/c=/c;/a=/a";
        let paths: Vec<_> = read(paths).unwrap().into_iter().map(|mount| mount.path).collect();
        assert_eq!(paths, ["/a", "/a/c", "/b"].map(VirtualPath::from));
        for (text, want) in [
            ("/pub", "invalid mount \"/pub\": expected /PATH=/DIRECTORY"),
            ("/pub=srv", "invalid path \"srv\": expected an absolute path"),
            ("/pub=", "expected a directory"),
            ("/=/srv", "invalid mount point \"/\": set the directory of / with the key root"),
            (
                "/a/..=/srv",
                "invalid mount point \"/a/..\": set the directory of / with the key root",
            ),
            ("pub=/srv", "invalid mount point \"pub\": expected a path such as /incoming or /a/b"),
            ("/a=/b;/a/=/c", "mount point \"/a\" is named twice"),
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
