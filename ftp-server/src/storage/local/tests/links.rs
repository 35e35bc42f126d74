//! Symbolic links, with `openat2` and without it: both ways give the same result.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::sync::atomic::AtomicBool;

use ftp_tests::random::Random;
use rustix::io::Errno;

use super::*;

/// The ways in which the server opens objects.
const FLAGS: [OFlags; 6] = [
    OFlags::PATH,
    OFlags::PATH.union(OFlags::NOFOLLOW),
    OFlags::PATH.union(OFlags::DIRECTORY),
    OFlags::RDONLY.union(OFlags::NONBLOCK),
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NONBLOCK),
    OFlags::WRONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW),
];

type Found = Result<(u64, u64), Errno>;

/// Opens the root with `openat2`, if the system has it, and without.
fn roots(tree: &Tree) -> (Option<Root>, Root) {
    let kernel = Root::open(&tree.root).unwrap();
    (Some(kernel).filter(Root::is_kernel_confined), Root::open(&tree.root).unwrap().deprived())
}

fn find(root: &Root, path: &str, flags: OFlags) -> Found {
    loop {
        match root.open_beneath(path.as_bytes(), flags) {
            // Other tests rename directories all the time.
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
            Ok(object) => return root::metadata_of(&object).map(|found| found.identity),
        }
    }
}

/// Returns the object at `path`, which both ways must find, or the error.
fn agreed((kernel, walk): &(Option<Root>, Root), path: &str, flags: OFlags, case: &str) -> Found {
    let found = find(walk, path, flags);
    if let Some(kernel) = kernel {
        assert_eq!(found, find(kernel, path, flags), "{path} with {flags:?}, {case}");
    }
    found
}

fn identity(path: impl AsRef<Path>) -> (u64, u64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.dev(), found.ino())
}

/// Makes directories, files, and links for which the tables below have names.
fn tree_of_links() -> Tree {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("d/e/g")).unwrap();
    for name in ["f", "d/f", "d/e/f"] {
        tree.put(name, name);
    }
    for (name, target) in [
        ("here", "."),
        ("back", "d/.."),
        ("todir", "d"),
        ("toe", "d/e"),
        ("loop", "loop"),
        ("out", "../outside"),
        ("d/up", ".."),
        ("d/out", "../../outside"),
        ("d/e/top", "../.."),
    ] {
        tree.link(target, name);
    }
    tree.link(&tree.outside, "absolute");
    tree
}

#[test]
fn no_link_leads_out_of_the_root_with_or_without_openat2_hp_02() {
    let tree = tree_of_links();
    let roots = roots(&tree);
    let (root, outside) = (tree.root.display(), tree.outside.display());
    let absolute = ["", "/", "f"].map(|name| format!("{root}/{name}"));
    let absolute = absolute.into_iter().chain(["", "/secret"].map(|it| format!("{outside}{it}")));
    let many = ["../".repeat(200), "d/../".repeat(50) + "../outside/secret"];
    let targets = [
        ("", "/"),
        ("", "//"),
        ("", "/etc/passwd"),
        ("", "/dev/null"),
        ("", "/proc/self/root"),
        ("", "/proc/self/cwd"),
        ("", ".."),
        ("", "../"),
        ("", "../."),
        ("", "./.."),
        ("", "../.."),
        ("", "../outside"),
        ("", "../outside/"),
        ("", "../outside/secret"),
        ("", "../root"),
        ("", "../root/f"),
        ("", "../root/d/../f"),
        ("", "d/../.."),
        ("", "d/../../outside/secret"),
        ("", "d/../../root/f"),
        ("", "d/e/../../.."),
        ("", "d/e/../../../outside"),
        ("", "./d/./../.././outside"),
        ("", "d//..//..//outside//secret"),
        ("", "../../../../../../../../../../etc/passwd"),
        ("", "back/.."),
        ("", "back/../outside/secret"),
        ("", "todir/../.."),
        ("", "todir/../../outside/secret"),
        ("", "toe/../../.."),
        ("", "toe/../../../outside/secret"),
        ("", "here/.."),
        ("", "here/here/here/../outside/secret"),
        ("", "out"),
        ("", "out/secret"),
        ("", "out/../root/f"),
        ("", "absolute"),
        ("", "absolute/secret"),
        ("", "absolute/../root/f"),
        ("", "d/out"),
        ("", "d/out/secret"),
        ("", "d/up/.."),
        ("", "d/up/../outside/secret"),
        ("", "d/e/top/../outside/secret"),
        ("", "todir/up/../outside/secret"),
        ("", "loop/../.."),
        ("d/", "../.."),
        ("d/", "../../outside"),
        ("d/", "../../outside/secret"),
        ("d/", "up/.."),
        ("d/", "e/top/.."),
        ("d/e/", "../../.."),
        ("d/e/", "../../../outside/secret"),
        ("d/e/", "../../../root/d/e/f"),
        ("d/e/", "top/.."),
        ("d/e/", "../up/../outside/secret"),
    ];
    let targets = targets.into_iter().map(|(place, target)| (place, target.to_owned()));
    let of_root = absolute.chain(many).map(|target| ("", target));
    let mut attempts = 0;
    for (place, target) in targets.chain(of_root) {
        let link = format!("{place}l");
        tree.link(&target, &link);
        let paths = [format!("{link}/"), format!("{link}/."), format!("{link}/secret")];
        // The kernel opens these links themselves if the flags say so.
        let direct =
            if place.is_empty() { vec![link.clone(), target.clone()] } else { vec![link.clone()] };
        for flags in FLAGS {
            let direct = direct.iter().filter(|_| !flags.contains(OFlags::NOFOLLOW));
            for path in paths.iter().chain(direct) {
                let refused = agreed(&roots, path, flags, &target).unwrap_err();
                assert!(matches!(refused, Errno::XDEV | Errno::LOOP), "{path}: {refused}");
            }
        }
        fs::remove_file(tree.root.join(link)).unwrap();
        attempts += 1;
    }
    assert!(attempts >= 60, "{attempts}");
}

#[test]
fn links_that_stay_below_the_root_work_without_openat2() {
    let tree = tree_of_links();
    let roots = roots(&tree);
    let long = "d/e/../../".repeat(100) + "f";
    for (target, want) in [
        ("f", "f"),
        ("./f", "f"),
        (".//.//f", "f"),
        ("d/f", "d/f"),
        ("d/../f", "f"),
        ("d/e/../../f", "f"),
        ("d/e/../f", "d/f"),
        ("d", "d"),
        ("d/", "d"),
        ("d//.", "d"),
        ("d/e/..", "d"),
        ("d/e/../", "d"),
        (".", ""),
        ("./", ""),
        ("d/..", ""),
        ("here/here/f", "f"),
        ("back/d/f", "d/f"),
        ("todir/f", "d/f"),
        ("todir/../f", "f"),
        ("toe/../f", "d/f"),
        ("d/up/f", "f"),
        ("d/up/d/up/d/e/f", "d/e/f"),
        ("d/e/top/d/e/top/f", "f"),
        ("todir/e/top/todir/e/f", "d/e/f"),
        (&long, "f"),
    ] {
        tree.link(target, "l");
        let want = identity(tree.root.join(want));
        assert_eq!(agreed(&roots, "l", OFlags::PATH, target), Ok(want), "{target}");
        let opened = agreed(&roots, "l", OFlags::RDONLY | OFlags::NONBLOCK, target);
        assert_eq!(opened, Ok(want), "{target}");
        let link = agreed(&roots, "l", OFlags::PATH | OFlags::NOFOLLOW, target);
        assert_eq!(link, Ok(identity(tree.root.join("l"))), "{target}");
        fs::remove_file(tree.root.join("l")).unwrap();
    }
    // Forty links are followed, and no more.
    tree.link("f", "40");
    for link in 0..40 {
        tree.link((link + 1).to_string(), &link.to_string());
    }
    assert_eq!(agreed(&roots, "0", OFlags::PATH, ""), Err(Errno::LOOP));
    assert_eq!(agreed(&roots, "1", OFlags::PATH, ""), Ok(identity(tree.root.join("f"))));
}

/// Returns the identities of all objects below a directory, and its own.
fn objects(directory: &Path, found: &mut HashSet<(u64, u64)>) {
    found.insert(identity(directory));
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => objects(&entry.path(), found),
            false => drop(found.insert(identity(entry.path()))),
        }
    }
}

#[test]
fn random_links_lead_to_the_same_objects_with_and_without_openat2_hp_02() {
    const NAMES: [&str; 14] =
        ["a", "b", "c", "f", "f", "l", "m", "n", "l", "m", "..", "..", ".", "missing"];
    let mut random = Random::new(1);
    let path = |random: &mut Random| {
        let names: Vec<_> = (0..=random.below(5)).map(|_| *random.choose(&NAMES)).collect();
        let before = if random.below(20) == 0 { "/" } else { "" };
        let after = if random.below(6) == 0 { "/" } else { "" };
        format!("{before}{}{after}", names.join("/"))
    };
    let (mut followed, mut refused) = (0, 0);
    for farm in 0..80 {
        let tree = Tree::new();
        fs::create_dir_all(tree.root.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.root.join("c")).unwrap();
        let mut shown = Vec::new();
        for place in ["", "a/", "a/b/", "a/b/c/", "c/"] {
            for name in ["f", "l", "m", "n"] {
                let full = format!("{place}{name}");
                match name {
                    "f" => tree.put(&full, &full),
                    _ => {
                        let target = path(&mut random);
                        tree.link(&target, &full);
                        shown.push(format!("{full} -> {target}"));
                    }
                }
            }
        }
        let mut below = HashSet::new();
        objects(&tree.root, &mut below);
        let roots = roots(&tree);
        for _ in 0..120 {
            let path = path(&mut random);
            for flags in FLAGS {
                match agreed(&roots, &path, flags, &format!("farm {farm}: {shown:?}")) {
                    Ok(found) => {
                        assert!(below.contains(&found), "{path} leads out: {shown:?}");
                        followed += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(followed > 4_000 && refused > 5_000, "{followed} {refused}");
}

#[test]
fn a_directory_moved_out_during_a_lookup_shows_nothing_outside_hp_03() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("a/b")).unwrap();
    for (inside, outside) in [("f", &tree.top), ("a/f", &tree.outside)] {
        tree.put(inside, "inside");
        fs::write(outside.join("f"), "secret").unwrap();
    }
    tree.link("a/b/../f", "once");
    tree.link("a/b/../../f", "twice");
    for storage in tree.storages() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (inside, outside) = (tree.root.join("a/b"), tree.outside.join("b"));
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&inside, &outside).unwrap();
                    fs::rename(&outside, &inside).unwrap();
                }
            });
            let is_outside = |name: &str| read(&storage, name).is_ok_and(|it| it != b"inside");
            let escaped = ["once", "twice"].repeat(2_000).into_iter().find(|name| is_outside(name));
            done.store(true, Ordering::Relaxed);
            assert_eq!(escaped, None);
        });
    }
}

#[test]
fn a_strangers_link_in_a_shared_directory_is_not_followed_without_openat2() {
    let protects = fs::read_to_string("/proc/sys/fs/protected_symlinks");
    if !is_privileged() || protects.is_ok_and(|it| it.trim() != "1") {
        return;
    }
    let tree = Tree::new();
    tree.put("f", "f");
    let f = Ok(identity(tree.root.join("f")));
    for (owner, want) in [(0, f), (1, f), (2, Err(Errno::ACCESS))] {
        tree.link_of(owner);
        assert_eq!(agreed(&roots(&tree), "shared/link", OFlags::PATH, ""), want, "{owner}");
    }
}

#[test]
fn no_upload_follows_a_strangers_link_in_a_shared_directory() {
    if !is_privileged() {
        return;
    }
    let tree = Tree::new();
    tree.put("f", "f");
    let denied = Some(StorageErrorKind::Denied);
    for (owner, want) in [(0, None), (1, None), (2, denied)] {
        tree.link_of(owner);
        for storage in tree.storages() {
            for mode in [WriteMode::Replace, WriteMode::Append] {
                let begun = storage.write(&path("shared/link"), mode, Keep::Shared);
                assert_eq!(kind(begun), want, "{owner} {mode:?}");
            }
        }
    }
}

impl Tree {
    /// Makes a shared directory of the user 1 with a link of `owner` to a file beside the directory.
    fn link_of(&self, owner: u32) {
        self.put("f", "f");
        let shared = self.root.join("shared");
        let _ = fs::remove_dir_all(&shared);
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        chown(&shared, Some(1), Some(1)).unwrap();
        symlink("../f", shared.join("link")).unwrap();
        lchown(shared.join("link"), Some(owner), None).unwrap();
    }
}
