//! Directories on disk, and objects of stores, that are mounted into a user's tree.

use super::directories::directory_path;
use super::texts::HOME;
use crate::VirtualPath;
use crate::daemon::config::forms::{Form, or_quotes};
use crate::daemon::config::kind::Kind;
use crate::daemon::config::root::Root;

/// A directory on disk or objects of a store, with its path in the user's tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MountPoint {
    pub(crate) path: VirtualPath,
    /// The mounted root, with the user's name in place of `%u` if the name can be part of a path.
    pub(crate) root: Root,
}

/// `PATH=DIRECTORY`, separated by `;`.
pub(crate) const MOUNTS: Form<Vec<MountPoint>> = Form::new(Kind::Mounts, mounts, |mounts| {
    let show = |mount: &MountPoint| {
        let path = String::from_utf8_lossy(mount.path.as_bytes()).into_owned();
        format!("{path}={}", mount.root)
    };
    or_quotes(mounts.iter().map(show).collect::<Vec<_>>().join(";"))
});

fn mounts(text: &str) -> Result<Vec<MountPoint>, String> {
    let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
    let mounts: Result<Vec<_>, _> = items.map(mount).collect();
    let mut mounts = mounts?;
    mounts.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
    let mut pairs = mounts.iter().zip(mounts.iter().skip(1));
    match pairs.find(|(one, other)| one.path == other.path) {
        Some((one, _)) => {
            let path = String::from_utf8_lossy(one.path.as_bytes());
            Err(format!("mount point \"{path}\" is named twice"))
        }
        None => Ok(mounts),
    }
}

fn mount(item: &str) -> Result<MountPoint, String> {
    let Some((path, root)) = item.split_once('=') else {
        return Err(format!("invalid mount \"{item}\": expected /PATH=/DIRECTORY"));
    };
    Ok(MountPoint { path: mount_path(path)?, root: mounted_root(root)? })
}

/// Prefix of names that the server hides from clients.
const HIDDEN: &str = ".ftp-upload-";

/// Reads the absolute path of a mount point in the user's tree.
pub(crate) fn mount_path(text: &str) -> Result<VirtualPath, String> {
    let wrong = |why: &str| Err(format!("invalid mount point \"{text}\": {why}"));
    match directory_path(text) {
        _ if VirtualPath::from(text).is_root() => wrong("set the directory of / with the key root"),
        _ if text.contains('=') => wrong("= is not allowed"),
        _ if text.split('/').any(|name| name.starts_with(HIDDEN)) => {
            wrong("names that begin with .ftp-upload- are not allowed")
        }
        Ok(path) if path.is_too_long() => wrong("too long"),
        Ok(path) => Ok(path),
        Err(why) => wrong(why.split_once("\": ").map_or(&*why, |(_, why)| why)),
    }
}

/// Reads the absolute path of a mounted directory on disk, or of mounted objects of a store.
pub(crate) fn mounted_root(text: &str) -> Result<Root, String> {
    match text.contains(';') {
        true => Err(format!("invalid path \"{text}\": a semicolon is not allowed")),
        false => (HOME.read)(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_have_a_path_in_the_tree_and_one_on_disk() {
        let read = |text: &str| (MOUNTS.read)(text);
        for (text, path, root) in [
            ("/pub=/srv/pub", "/pub", "/srv/pub"),
            (" /a b/c/=/srv/%u=x ;", "/a b/c", "/srv/%u=x"),
            ("/pub=store:main/a=b", "/pub", "store:main/a=b"),
        ] {
            let mounts = [MountPoint { path: path.into(), root: (HOME.read)(root).unwrap() }];
            assert_eq!(read(text).as_deref(), Ok(&mounts[..]), "{text}");
            assert_eq!(read(&(MOUNTS.show)(&mounts.to_vec())).as_deref(), Ok(&mounts[..]));
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
                mount_path(text).is_err_and(|why| why.contains("names that begin with")),
                "{text}"
            );
        }
        assert!(mount_path("/.ftp").is_ok());
        assert!(mount_path("/a=b").is_err_and(|why| why.ends_with("= is not allowed")));
        assert!(mount_path(&"/a".repeat(200)).is_err_and(|why| why.ends_with("too long")));
        assert!(mounted_root("/a;b").is_err_and(|why| why.ends_with("a semicolon is not allowed")));
    }
}
