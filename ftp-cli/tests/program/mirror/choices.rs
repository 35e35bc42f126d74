//! `mirror --perms`, `--links` and `--backup-dir`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{age, mirror, sent, shown};
use crate::json::told;
use crate::peer::{Act, Peer};
use crate::{failed, in_directory, with_servers};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn permissions_round_trip_through_servers() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        let (source, back) = (here.join("src"), here.join("back"));
        for (file, bits) in [("src/a", 0o640), ("src/b", 0o755), ("src/d/c", 0o604)] {
            age(&here.write(file, b"x"), 48);
            set_mode(&here.join(file), bits);
        }
        set_mode(&here.join("src/d"), 0o751);
        // Like lftp, mirror leaves the permissions of the top to its owner.
        set_mode(&source, 0o711);
        let url = site.url("t");
        let modes = |root: &Path| ["a", "b", "d/c", "d"].map(|name| mode(&root.join(name)));
        super::next_second(name != "vsftpd");
        let ran = mirror(&["--perms"], shown(&source), &url);
        if name == "vsftpd" {
            // It refuses that to anonymous users.
            return failed(&ran, 12, "; the permissions were not set");
        }
        ran.exited(0);
        assert_eq!(modes(&site.root.join("t")), [0o640, 0o755, 0o604, 0o751], "{name}");
        let ran = mirror(&["--perms", "--trace"], &url, shown(&back));
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.is_some_and(|status| status.success()), "{name}: {said}");
        assert_eq!(modes(&back), [0o640, 0o755, 0o604, 0o751], "{name}");
        assert!([&site.root.join("t"), &back].iter().all(|top| mode(top) != 0o711), "{name}");
        // Permissions alone are a difference, and files need no new copy for it.
        set_mode(&here.join("back/a"), 0o600);
        set_mode(&here.join("back/d"), 0o700);
        let ran = mirror(&["--perms", "--trace"], &url, shown(&back));
        ran.exited(0);
        assert_eq!((sent(&ran, "RETR"), modes(&back)[0], modes(&back)[3]), (0, 0o640, 0o751));
        // Without the option, they stay.
        set_mode(&here.join("back/a"), 0o600);
        mirror(&[], &url, shown(&back)).exited(0);
        assert_eq!(mode(&here.join("back/a")), 0o600, "{name}");
    });
}

#[test]
fn missing_chmod_support_or_permissions_are_reported() {
    let here = TempRoot::new();
    here.write("up/a", b"1");
    here.write("up/b", b"2");
    let peer = Peer::start(&[
        ("MKD", Act::Say("257 made")),
        ("MLSD", Act::Say("550 none")),
        ("LIST", Act::Say("550 none")),
        ("STOR", Act::Take("150 go", "226 done")),
        ("SITE", Act::Say("502 no SITE")),
    ]);
    let ran = mirror(&["--perms"], shown(&here.join("up")), &peer.url("t"));
    failed(&ran, 12, "502 no SITE; the permissions were not set");
    failed(&ran, 12, "--perms: t/");
    // It is asked once, and both files are there.
    assert_eq!(peer.seen().matches("SITE CHMOD").count(), 1, "{}", peer.seen());
    assert_eq!(peer.seen().matches("STOR").count(), 2, "{}", peer.seen());

    let list = b"type=file;size=1;modify=20200101000000; a\r\n".to_vec();
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLSD", Act::Send("150 list", list, "226 done")),
        ("RETR", Act::Send("150 data", b"x".to_vec(), "226 done")),
    ]);
    let ran = mirror(&["--perms"], &peer.url("t"), shown(&here.join("down")));
    failed(&ran, 12, "--perms: the server's listing lacks the permissions");
    assert_eq!(here.read("down/a"), b"x");

    // The file is equal, and nothing tells its permissions.
    fs::remove_file(here.join("up/b")).unwrap();
    let list = b"type=file;size=1;modify=20990101000000; a\r\n".to_vec();
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLSD", Act::Send("150 list", list, "226 done")),
    ]);
    let options = ["--perms", "--size-only"];
    let ran = mirror(&options, shown(&here.join("up")), &peer.url("t"));
    failed(&ran, 12, "--perms: the server's listing lacks the permissions");
    assert!(!peer.seen().contains("STOR"), "{}", peer.seen());
}

#[test]
fn a_directory_gets_its_permissions_after_its_content() {
    let server = OurServer::start();
    let here = TempRoot::new();
    for file in ["src/d/a", "src/d/e/b", "src/d/z"] {
        here.write(file, b"1");
    }
    for directory in ["src/d/e", "src/d"] {
        set_mode(&here.join(directory), 0o555);
    }
    let (source, url) = (here.join("src"), server.url("t"));
    let ran = mirror(&["--perms", "--trace"], shown(&source), &url);
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    let at = |command: &str| {
        said.rfind(&format!("{command}\n")).unwrap_or_else(|| panic!("no {command}: {said}"))
    };
    let [outer, inner] = [at("SITE CHMOD 555 t/d"), at("SITE CHMOD 555 t/d/e")];
    assert!(at("STOR t/d/z") < inner && at("STOR t/d/e/b") < inner && inner < outer, "{said}");
    assert_eq!((mode(&server.root.join("t/d")), mode(&server.root.join("t/d/e"))), (0o555, 0o555));

    // After a failure in it, the next run must be able to write to it.
    let peer = Peer::start(&[
        ("MKD", Act::Say("257 made")),
        ("MLSD", Act::Say("550 none")),
        ("LIST", Act::Say("550 none")),
        ("STOR t/d/e/b", Act::Say("553 not this one")),
        ("STOR", Act::Take("150 go", "226 done")),
        ("SITE", Act::Say("200 set")),
    ]);
    let ran = mirror(&["--perms"], shown(&source), &peer.url("t"));
    failed(&ran, 12, "553 not this one");
    let seen = peer.seen();
    assert!(seen.contains("SITE CHMOD 644 t/d/z"), "{seen}");
    assert!(!seen.contains("SITE CHMOD 555"), "{seen}");
    for directory in ["src/d", "src/d/e"] {
        set_mode(&here.join(directory), 0o755);
    }
}

#[test]
fn a_dry_run_prints_exactly_what_the_run_does() {
    let server = OurServer::start();
    let here = TempRoot::new();
    for (root, top) in [(&here, "site"), (&server.root, "www")] {
        for file in ["same", "changed", "mode"] {
            age(&root.write(format!("{top}/{file}"), b"1"), 48);
        }
    }
    let extra = ["gone", "old/deep"];
    let new = ["fresh", "d/e/f"];
    let run = |options: &[&str], source: &str, target: &str, source_top: &TempRoot, top: &str| {
        for file in new {
            age(&source_top.write(format!("{top}/{file}"), b"new"), 24);
        }
        age(&source_top.write(format!("{top}/changed"), b"22"), 24);
        set_mode(&source_top.join(format!("{top}/mode")), 0o600);
        let dry = mirror(&[options, &["--dry-run"]].concat(), source, target);
        let dry = String::from_utf8(dry.succeeded()).unwrap();
        let mut planned: Vec<String> = dry.lines().map(str::to_owned).collect();
        let (lines, _) = told(&mirror(&[options, &["--json"]].concat(), source, target), 0);
        let mut done: Vec<String> = Vec::new();
        for line in lines.iter().filter(|line| line.text("event") == "done") {
            let verb = match line.text("action") {
                "made" => "make",
                "copied" => "copy",
                "mode set" => "set mode of",
                "removed" => "remove",
                other => panic!("{other}"),
            };
            // The password of the URL is not shown.
            let end = format!("/{}/", target.rsplit('/').next().unwrap());
            let (_, path) = line.text("target").split_once(&end).unwrap();
            done.push(format!("{verb} {path}"));
        }
        planned.sort();
        done.sort();
        assert_eq!(planned, done);
        done.join(", ")
    };
    let options = ["--perms", "--delete", "--max-delete", "9", "--backup-dir"];
    for file in extra {
        server.root.write(format!("www/{file}"), b"x");
    }
    let (site, url) = (here.join("site"), server.url("www"));
    let up = [&options[..], &["kept"]].concat();
    let want = "copy changed, copy d/e/f, copy fresh, make d, make d/e, remove gone, remove old, \
                remove old/deep, set mode of d, set mode of d/e, set mode of mode";
    let done = run(&up, shown(&site), &url, &here, "site");
    assert_eq!(done, want);
    for file in extra {
        here.write(format!("site/{file}"), b"x");
    }
    for file in new {
        fs::remove_file(here.join(format!("site/{file}"))).unwrap();
    }
    fs::remove_dir_all(here.join("site/d")).unwrap();
    set_mode(&here.join("site/mode"), 0o640);
    fs::write(here.join("site/changed"), b"333").unwrap();
    let kept = here.join("kept");
    let down = [&options[..], &[shown(&kept)]].concat();
    let done = run(&down, &url, shown(&site), &server.root, "www");
    assert_eq!(done, want);
    assert_eq!(here.read("kept/old/deep"), b"x");
}

#[test]
fn only_links_within_the_tree_are_kept_hc_06_cl_51() {
    let list = concat!(
        "-rw-r--r-- 1 u g 1 Jan 2 2020 a\r\n",
        "lrwxrwxrwx 1 u g 1 Jan 2 2020 good -> a\r\n",
        "lrwxrwxrwx 1 u g 1 Jan 2 2020 out -> ../a\r\n",
        "lrwxrwxrwx 1 u g 1 Jan 2 2020 etc -> /etc/passwd\r\n",
        "lrwxrwxrwx 1 u g 1 Jan 2 2020 taken -> a\r\n",
        "lrwxrwxrwx 1 u g 1 Jan 2 2020 other -> a\r\n",
    );
    let start = || {
        let acts = [
            ("LIST", Act::Send("150 list", list.as_bytes().to_vec(), "226 done")),
            ("RETR", Act::Send("150 data", b"x".to_vec(), "226 done")),
            ("SIZE good", Act::Say("213 1")),
            ("SIZE t/good", Act::Say("213 1")),
            ("CWD t/other", Act::Say("550 no")),
            ("CWD t/out", Act::Say("550 no")),
            ("CWD t/etc", Act::Say("550 no")),
            ("CWD t/taken", Act::Say("550 no")),
            ("PWD", Act::Say("257 \"/\"")),
        ];
        // A client that has sent CWD connects again.
        Peer::start_several(vec![acts.to_vec(), acts.to_vec()])
    };
    let here = TempRoot::new();
    here.write("to/taken", b"mine");
    symlink("elsewhere", here.join("to/other")).unwrap();
    let peer = start();
    let ran = mirror(&["--links", "keep"], &peer.url("t"), shown(&here.join("to")));
    failed(&ran, 12, "taken: the target has an object of another type");
    for name in ["out", "etc"] {
        failed(&ran, 12, &format!("{name}: skipped: a symbolic link that points outside the tree"));
        assert!(fs::symlink_metadata(here.join("to").join(name)).is_err());
    }
    let link = |name: &str| fs::read_link(here.join("to").join(name)).unwrap();
    assert_eq!((link("good"), link("other")), ("a".into(), "a".into()));
    assert_eq!((here.read("to/taken"), here.read("to/a")), (b"mine".to_vec(), b"x".to_vec()));
    // The second run finds the same links.
    fs::remove_file(here.join("to/taken")).unwrap();
    let peer = start();
    let ran = mirror(&["--links", "keep", "--dry-run"], &peer.url("t"), shown(&here.join("to")));
    let planned = String::from_utf8(ran.succeeded()).unwrap();
    assert!(planned.contains("link taken\n") && !planned.contains("link good"), "{planned}");

    // What a link leads to: a file, or something that is not known to be one.
    let peer = start();
    let ran = mirror(&["--links", "follow"], &peer.url("t"), shown(&here.join("new")));
    failed(&ran, 12, "other: not followed: a broken symbolic link");
    assert_eq!(here.read("new/good"), b"x");
}

#[test]
fn uploads_follow_links_on_request_and_cannot_keep_them() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        here.write("src/a", b"one");
        here.write("elsewhere/b", b"two");
        symlink("a", here.join("src/file")).unwrap();
        symlink("../elsewhere", here.join("src/dir")).unwrap();
        symlink("nothing", here.join("src/dangling")).unwrap();
        let (source, url) = (here.join("src"), site.url("t"));
        let ran = mirror(&["--links", "keep"], shown(&source), &url);
        failed(&ran, 2, "FTP cannot create symbolic links");
        mirror(&[], shown(&source), &url).exited(0);
        assert!(!site.root.join("t/file").exists(), "{name}");
        let ran = mirror(&["--links", "follow"], shown(&source), &url);
        failed(&ran, 12, "dangling: not followed: a broken symbolic link");
        assert_eq!(site.root.read("t/file"), b"one", "{name}");
        assert_eq!(site.root.read("t/dir/b"), b"two", "{name}");
        // A tree without end is an error, and not copied into itself even once.
        symlink(".", here.join("src/self")).unwrap();
        symlink("../src", here.join("elsewhere/up")).unwrap();
        let ran = mirror(&["--links", "follow"], shown(&source), &url);
        failed(&ran, 12, "self: contains itself");
        failed(&ran, 12, "dir/up: contains itself");
        assert!(!site.root.join("t/self").exists(), "{name}");
        assert!(!site.root.join("t/dir/up").exists(), "{name}");
        let ran = mirror(&["--links", "follow", "--remove-source"], shown(&source), &url);
        failed(&ran, 2, "exclude each other");
        assert_eq!(here.read("elsewhere/b"), b"two", "{name}");
    });
}

/// Writes two versions of a tree: the second replaces `a`, and lacks `gone` and `d`.
fn versions(root: &TempRoot, top: &str, version: u64) {
    let path = |name: &str| format!("{top}/{name}");
    age(&root.write(path("a"), format!("version {version}").as_bytes()), 100 - version);
    if version == 1 {
        age(&root.write(path("same"), b"same"), 200);
        age(&root.write(path("gone"), b"gone"), 100);
        age(&root.write(path("d/e/f"), b"deep"), 100);
    } else if root.join(path("d")).exists() {
        fs::remove_file(root.join(path("gone"))).unwrap();
        fs::remove_dir_all(root.join(path("d"))).unwrap();
    }
}

#[test]
fn replaced_and_deleted_files_move_to_a_remote_backup() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        let (source, url) = (here.join("src"), site.url("www"));
        let options = ["--delete", "--backup-dir", "old/kept"];
        super::next_second(name != "vsftpd");
        for version in 1..=3 {
            versions(&here, "src", version);
            super::next_second(name != "vsftpd");
            mirror(&options, shown(&source), &url).exited(0);
        }
        let names = |top: &str| super::tree(&site.root.join(top)).into_iter();
        let names =
            |top| names(top).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(names("www"), ["a", "same"], "{name}");
        let want = ["a", "a.~1~", "d", "d/e", "d/e/f", "gone"];
        assert_eq!(names("old/kept"), want, "{name}");
        assert_eq!(site.root.read("www/a"), b"version 3", "{name}");
        assert_eq!(site.root.read("old/kept/a"), b"version 1", "{name}");
        assert_eq!(site.root.read("old/kept/a.~1~"), b"version 2", "{name}");
        assert_eq!(site.root.read("old/kept/d/e/f"), b"deep", "{name}");

        // The state after a kill between the two renames: the old file is in the backup, the new
        // one is complete under its temporary name.
        let left = site.root.join("www/.in.a.0123456789abcdef");
        fs::rename(site.root.join("www/a"), &left).unwrap();
        mirror(&options, shown(&source), &url).exited(0);
        fs::remove_file(left).unwrap();
        assert_eq!(names("www"), ["a", "same"], "{name}");
        assert_eq!(site.root.read("www/a"), b"version 3", "{name}");
        for wrong in ["www", "www/old", "./www/../www/x", "/"] {
            let ran = mirror(&["--backup-dir", wrong], shown(&source), &url);
            failed(&ran, 2, "one contains the other");
        }
        let ran = mirror(&["-c", "--backup-dir", "old"], shown(&source), &url);
        failed(&ran, 2, "--backup-dir and --continue exclude each other");
        // The limit counts what moves.
        fs::remove_file(here.join("src/same")).unwrap();
        let limited = [&options[..], &["--max-delete", "0"]].concat();
        mirror(&limited, shown(&source), &url).exited(15);
        assert_eq!(names("www"), ["a", "same"], "{name}");
    });
}

#[test]
fn a_failed_final_rename_keeps_the_old_file() {
    let here = TempRoot::new();
    here.write("up/a", b"new");
    let list = b"type=file;size=1;modify=20200101000000; a\r\n".to_vec();
    let acts = |restored| {
        [
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
            ("MLSD t", Act::Send("150 list", list.clone(), "226 done")),
            ("MLSD old", Act::Send("150 list", Vec::new(), "226 done")),
            ("MKD", Act::Say("550 exists")),
            ("STOR t/.in.a", Act::Take("150 go", "226 done")),
            ("RNFR", Act::Say("350 and to")),
            ("RNTO old/a", Act::Say("250 kept")),
            ("SIZE t/a", Act::Say("213 1")),
            ("SIZE old/a", Act::Say("213 1")),
            ("RNTO t/a", Act::Say("553 not there")),
            ("MLSD t", Act::Send("150 list", Vec::new(), "226 done")),
            ("RNTO t/a", Act::Say(restored)),
            ("DELE t/.in.a", Act::Say("250 gone")),
        ]
    };
    for (restored, want) in [
        ("250 back", "the old file was moved back"),
        ("553 not there", "the old file is now old/a"),
    ] {
        let peer = Peer::start(&acts(restored));
        let options = ["--backup-dir", "old", "--temp=.in.*"];
        let ran = mirror(&options, shown(&here.join("up")), &peer.url("t"));
        failed(&ran, 8, want);
        let seen = peer.seen();
        // The new file is complete before the old one moves.
        let order = ["STOR t/.in.a", "RNFR t/a", "RNTO old/a", "RNFR t/.in.a", "RNTO t/a"];
        let at: Vec<_> = order.iter().map(|command| seen.find(command)).collect();
        assert!(at.is_sorted() && at[0].is_some(), "{seen}");
    }
}

#[test]
fn a_file_missing_from_the_listing_is_backed_up_too() {
    let here = TempRoot::new();
    here.write("up/a", b"new");
    here.write("up/b", b"new");
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLSD old", Act::Send("150 list", Vec::new(), "226 done")),
        ("MLSD", Act::Say("550 you may not list it")),
        ("MKD t", Act::Say("257 made")),
        ("MKD old", Act::Say("550 exists")),
        ("MDTM t/a", Act::Say("213 20200101000000")),
        ("STOR", Act::Take("150 go", "226 done")),
        ("SIZE t/a", Act::Say("213 9")),
        ("SIZE old/a", Act::Say("213 9")),
        ("RNFR", Act::Say("350 and to")),
        ("RNTO", Act::Say("250 done")),
    ]);
    mirror(&["--backup-dir", "old"], shown(&here.join("up")), &peer.url("t")).exited(0);
    let seen = peer.seen();
    assert!(seen.contains("RNFR t/a, RNTO old/a"), "{seen}");
    assert!(!seen.contains("old/b"), "{seen}");
}

#[test]
fn a_move_to_the_backup_that_was_only_confirmed_loses_no_file() {
    // Without SIZE, the listing of the backup tells.
    let refuses = vec![("SIZE", "502 no"), ("MDTM", "502 no")];
    for kind in [
        Kind::default(),
        Kind { no_mlsd: true, ..Kind::default() },
        Kind { no_mlsd: true, refuses, ..Kind::default() },
    ] {
        for lies in [true, false] {
            let mut kind = kind.clone();
            kind.refuses.extend(lies.then_some(("RNTO bak/", "250 renamed")));
            let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
            let url = server.url("t");
            here.write("up/a", b"new content");
            here.write("up/b", b"same");
            for (name, content) in [("t/a", "old"), ("t/b", "same"), ("bak/x", "kept")] {
                server.write(name, content.as_bytes());
            }
            let options = ["--size-only", "--delete", "--backup-dir", "bak"];
            let ran = mirror(&options, shown(&here.join("up")), &url);
            let why = "has confirmed its move to the backup, but does not show it there";
            match lies {
                true => failed(&ran, 12, why),
                false => ran.exited(0),
            }
            let old = if lies { "t/a" } else { "bak/a" };
            assert_eq!(server.read(old).as_deref(), Some(&b"old"[..]), "{ran:?}");
            // An extra is no more believed to be gone.
            fs::remove_file(here.join("up/a")).unwrap();
            let ran = mirror(&options, shown(&here.join("up")), &url);
            match lies {
                true => failed(&ran, 12, why),
                false => ran.exited(0),
            }
            assert_eq!(server.read("t/a").is_some(), lies, "{ran:?}");
        }
    }
}

/// The backup has the old file by then, so that the final name was free before the rename.
#[test]
fn a_final_name_that_was_only_confirmed_is_a_failure_with_a_backup() {
    for retry in [&[][..], &["--retry", "1", "--retry-delay", "0s"]] {
        let refuses = vec![("RNTO t/", "250 renamed")];
        let (here, server) =
            (TempRoot::new(), FoldingServer::start(Kind { refuses, ..Kind::default() }));
        here.write("up/a", b"new content");
        server.write("t/a", b"old");
        let options = [&["--backup-dir", "bak"], retry].concat();
        let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
        // Nor is the old file believed to be back.
        failed(
            &ran,
            11,
            "shows only the old name; the temporary file was removed; the old file is now bak/a",
        );
        assert_eq!(server.files(), [("a".to_owned(), "old".to_owned())], "{ran:?}");
    }
}

#[test]
fn replaced_and_deleted_files_move_to_a_local_backup() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let url = server.url("www");
    let mirror = |options: &[&str]| {
        in_directory(&here, &[&["mirror", "--delete"], options, &[&url, "to"]].concat())
    };
    for version in 1..=3 {
        versions(&server.root, "www", version);
        mirror(&["--backup-dir", "kept"]).exited(0);
    }
    let names = |top: &str| super::tree(&here.join(top)).into_iter();
    let names = |top| names(top).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>();
    assert_eq!(names("to"), ["a", "same"]);
    assert_eq!(names("kept"), ["a", "a.~1~", "d", "d/e", "d/e/f", "gone"]);
    assert_eq!(
        (here.read("kept/a"), here.read("to/a")),
        (b"version 1".into(), b"version 3".into())
    );
    for wrong in ["to", "to/kept", ".", "to/../to/x"] {
        failed(&mirror(&["--backup-dir", wrong]), 2, "one contains the other");
    }
    // A link does not hide that, either.
    symlink("to", here.join("alias")).unwrap();
    failed(&mirror(&["--backup-dir", "alias/x"]), 2, "one contains the other");
    assert_eq!(here.read("to/a"), b"version 3");
}
