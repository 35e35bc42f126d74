//! Nothing is removed to find out what it is, and nothing that SRC may have.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::OurServer;

use super::{mirror, shown};
use crate::privileges::{is_root, world_executable_copy};
use crate::{clear_environment, failed, ftp};

#[test]
fn what_is_excluded_stays_where_rmd_removes_a_whole_directory_cl_52() {
    let (here, server) =
        (TempRoot::new(), FoldingServer::start(Kind { rmd_takes_all: true, ..Kind::default() }));
    here.write("up/a", b"a");
    for name in ["t/old/keep.db", "t/old/x", "t/old/sub/y", "t/gone/z"] {
        server.write(name, b"old");
    }
    let options = ["--delete", "--exclude", "*.db"];
    mirror(&options, shown(&here.join("up")), &server.url("t")).exited(0);
    assert_eq!(server.read("t/old/keep.db").as_deref(), Some(&b"old"[..]));
    for name in ["t/old/x", "t/old/sub/y", "t/gone/z"] {
        assert!(server.read(name).is_none(), "{name}");
    }
    let seen = server.seen();
    let removals: Vec<_> = seen.iter().filter(|line| line.starts_with("RMD")).collect();
    assert_eq!(removals, ["RMD t/gone", "RMD t/old/sub"], "{seen:?}");
    for directory in ["DELE t/old", "DELE t/gone", "DELE t/old/sub"] {
        assert!(!seen.iter().any(|line| line == directory), "{seen:?}");
    }
}

#[test]
fn a_confirmed_removal_that_was_not_carried_out_is_a_failure_cl_52() {
    let (here, server) =
        (TempRoot::new(), FoldingServer::start(Kind { dele_lies: true, ..Kind::default() }));
    here.write("up/a", b"a");
    server.write("t/old", b"old");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "old: the server has confirmed its removal, but still lists it");
    assert!(server.read("t/old").is_some());
    let ran = run(&mut ftp(&["rm", "-r", &server.url("t")]));
    assert_ne!(ran.code(), Some(0), "{ran:?}");
    assert!(server.read("t/old").is_some());
}

#[test]
fn a_listing_that_is_cut_deletes_nothing_that_the_server_has_cl_52() {
    for no_mlsd in [false, true] {
        let kind = Kind { cuts_at: Some(50), no_mlsd, ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        for number in 0..80 {
            server.write(&format!("t/{number:02}"), b"content");
            here.write(format!("down/{number:02}"), b"content");
        }
        here.write("down/old", b"old");
        // What is in a directory that the server has stays, too.
        server.write("t/sub/in/deep", b"content");
        here.write("down/sub/in/deep", b"content");
        let ran = mirror(&["--delete", "--size-only"], &server.url("t"), shown(&here.join("down")));
        failed(&ran, 12, "79: not deleted: the source has this name");
        failed(&ran, 12, "sub: not deleted: the source has this name");
        assert!(here.join("down/sub/in/deep").exists(), "{ran:?}");
        assert_eq!(fs::read_dir(here.join("down")).unwrap().count(), 81, "{ran:?}");
        assert!(!here.join("down/old").exists());
    }
}

#[test]
fn what_a_busy_server_cannot_tell_of_is_not_absent_cl_52() {
    let refuses = vec![("MLST", "450 busy"), ("MDTM", "550 no"), ("SIZE", "550 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a", b"a");
    here.write("down/a", b"a");
    here.write("down/old", b"old");
    let ran = mirror(&["--delete", "--size-only"], &server.url("t"), shown(&here.join("down")));
    failed(&ran, 12, "old: not deleted: the source does not show whether it has this name");
    assert!(here.join("down/old").exists());
}

#[test]
fn a_directory_that_may_be_a_link_stays_unless_the_user_knows_better_cl_52_hc_08() {
    let kind = Kind { counts_no_links: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    here.write("up/a", b"a");
    server.write("t/old/x", b"x");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "old: not deleted: it may be a symbolic link; use --no-links");
    assert!(server.read("t/old/x").is_some());
    failed(&run(&mut ftp(&["rm", "-r", &server.url("t")])), 14, "use --no-links");
    let ran = mirror(&["--delete", "--no-links"], shown(&here.join("up")), &server.url("t"));
    ran.exited(0);
    assert!(server.read("t/old/x").is_none());
    run(&mut ftp(&["rm", "-r", "--no-links", &server.url("t")])).exited(0);
    assert!(server.read("t/a").is_none());
    // A link that leads somewhere, shown as one, is a proof for the directories beside it.
    server.write("t/old/x", b"x");
    server.write("else/b", b"b");
    server.link("t/link", "else");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    assert!(server.read("t/old/x").is_none() && server.read("else/b").is_some(), "{ran:?}");
}

#[test]
fn a_source_that_lies_in_the_target_on_one_disk_stays_cl_52() {
    let server = OurServer::start();
    for name in ["build/a", "build/b", "b"] {
        server.root.write(name, name.as_bytes());
    }
    let source = server.root.join("build");
    for up in [true, false] {
        let ran = match up {
            true => mirror(&["--delete", "--no-links"], shown(&source), &server.url("")),
            false => mirror(&["--delete"], &server.url("build"), shown(server.root.path())),
        };
        failed(&ran, 2, "is the source itself");
        for name in ["build/a", "build/b"] {
            assert_eq!(server.root.read(name), name.as_bytes(), "{ran:?}");
        }
        assert_eq!(fs::read_dir(&source).unwrap().count(), 2, "the mark is gone");
    }
}

#[test]
fn a_source_in_the_target_in_which_the_user_may_not_write_stays_cl_52() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    for name in ["build/a", "build/sub/b"] {
        server.root.write(name, name.as_bytes());
    }
    let source = server.root.join("build");
    for (path, mode) in [(server.root.path(), 0o755), (&source, 0o555)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    // The server is a thread of this test: only as root, it may write where the program may not.
    let (code, why) = match is_root() {
        true => (2, "build: is the source itself"),
        false => (12, "build: not deleted: nothing shows whether it is the source itself"),
    };
    let options = ["mirror", "--delete", "--no-links"];
    let mut command = Command::new(world_executable_copy(&here));
    command.args(options).args([shown(&source), &server.url("")]);
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    failed(&run(clear_environment(&mut command)), code, why);
    for name in ["build/a", "build/sub/b"] {
        assert_eq!(server.root.read(name), name.as_bytes());
    }
    fs::set_permissions(&source, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_dir(&source).unwrap().count(), 2, "the mark is gone");
}

/// Saves files by a new file that is renamed over the old one, until `work` has ended.
fn during_saves(directory: &Path, work: impl FnOnce()) {
    let names: Vec<_> = (0..58).map(|number| directory.join(format!("{number:02}"))).collect();
    let save = |name: &Path| {
        let new = name.with_extension("new");
        fs::write(&new, b"content").unwrap();
        fs::rename(new, name).unwrap();
    };
    names.iter().for_each(|name| save(name));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                names.iter().for_each(|name| save(name));
            }
        });
        work();
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_is_saved_by_a_rename_is_never_deleted_cl_52() {
    // Its root is on tmpfs, whose listings lack such names.
    let server = OurServer::start();
    let here = &server.root;
    here.mkdir("src");
    for up in [true, false] {
        let target = here.mkdir(if up { "up" } else { "down" });
        during_saves(&here.join("src"), || {
            for number in 0..58 {
                fs::write(target.join(format!("{number:02}")), b"content").unwrap();
            }
            for round in 0..count(10, 300) {
                let options = ["--delete", "--size-only", "--exclude", "*.new"];
                let ran = match up {
                    true => mirror(&options, shown(&here.join("src")), &server.url("up")),
                    false => mirror(&options, &server.url("src"), shown(&target)),
                };
                let left = fs::read_dir(&target).unwrap().count();
                assert!(left >= 58, "round {round}: {left} files left: {ran:?}");
            }
        });
    }
}
