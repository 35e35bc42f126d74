//! `--files-from` and `--max-depth`, which say what takes part by name and by place, and `--dry-run
//! --fail-if-different`.

use std::os::unix::fs::symlink;

use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{failed, mirror, shown};
use crate::ftp;
use crate::peer::{Act, Peer};

/// Returns the paths of all files and directories, separated by blanks.
fn names(root: &TempRoot, top: &str) -> String {
    let tree = super::tree(&root.join(top));
    let mut names: Vec<_> = tree.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    names.sort_unstable();
    names.join(" ")
}

fn fill(root: &TempRoot, top: &str) {
    for name in ["a", "b", "d/a", "d/b", "d/e/a", "other/a"] {
        root.write(format!("{top}/{name}"), name.as_bytes());
    }
}

#[test]
fn a_list_copies_its_names_and_nothing_else_both_ways() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    fill(&here, "up");
    fill(&server.root, "down");
    let list = here.write("list", b"a\n./d/e\n/d/b\n");
    let from = ["--files-from", shown(&list)];
    mirror(&from, shown(&here.join("up")), &server.url("mirrored")).exited(0);
    run(ftp(&["put", "-r"]).args(from).arg(here.join("up")).arg(server.url("put"))).exited(0);
    mirror(&from, &server.url("down"), shown(&here.join("got"))).exited(0);
    let want = "a d d/b d/e d/e/a";
    for (root, top) in [(&server.root, "mirrored"), (&server.root, "put"), (&here, "got")] {
        assert_eq!(names(root, top), want, "{top}");
    }
    // What is there and not listed stays as it is.
    here.write("up/b", b"changed");
    server.root.write("mirrored/b", b"theirs");
    server.root.write("mirrored/extra", b"theirs");
    let mut command = ftp(&["mirror", "--files-from", "-"]);
    command.arg(here.join("up")).arg(server.url("mirrored"));
    run_with(&mut command, b"other/a\0d/b\0", LIMIT).exited(0);
    assert_eq!(server.root.read("mirrored/b"), b"theirs");
    assert_eq!(names(&server.root, "mirrored"), "a b d d/b d/e d/e/a extra other other/a");
}

#[test]
fn a_listed_name_that_is_not_copied_is_a_failure_at_the_end() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    fill(&here, "up");
    fill(&server.root, "down");
    here.write("up/.ftpignore", b"b\n");
    symlink("a", here.join("up/link")).unwrap();
    for (text, wanted) in [
        ("a\nnew/missing\n", "new/missing: missing in SRC"),
        ("a\nb\n", "b: missing in SRC, or never copied"),
        ("a\nlink\n", "a listed name is a symbolic link"),
        ("a\n.ftpignore\n", ".ftpignore: missing"),
        ("a\n# a comment\n", "# a comment: missing in SRC"),
    ] {
        let list = here.write("list", text.as_bytes());
        let from = ["--files-from", shown(&list)];
        for more in [&["--dry-run"][..], &[]] {
            let options = [&from[..], more].concat();
            let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
            ran.exited(12);
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(names(&server.root, "t"), "a", "{text:?}");
        std::fs::remove_dir_all(server.root.join("t")).unwrap();
    }
    let list = here.write("list", b"a\nmissing\n");
    let from = ["--files-from", shown(&list)];
    failed(
        &mirror(&from, &server.url("down"), shown(&here.join("got"))),
        12,
        "missing: missing in SRC",
    );
    assert_eq!(names(&here, "got"), "a");
    let list = here.write("list", b"a\n../b\n");
    let from = ["--files-from", shown(&list), "--delete"];
    failed(&mirror(&from, shown(&here.join("up")), &server.url("t")), 2, "exclude each other");
    failed(&mirror(&from[..2], shown(&here.join("up")), &server.url("t")), 2, "list:2: \"../b\"");
}

#[test]
fn a_depth_leaves_out_what_is_deeper() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    fill(&server.root, "t");
    for (depth, want) in [("1", "a b"), ("2", "a b d d/a d/b other other/a")] {
        let target = here.join(depth);
        let get = ["get", "-r", "--max-depth", depth, &server.url("t")];
        run(ftp(&get).arg(&target)).exited(0);
        assert_eq!(names(&here, depth), want);
    }
    failed(&run(&mut ftp(&["get", "-r", "--max-depth", "0", &server.url("t")])), 2, "1 or more");
}

#[test]
fn a_difference_is_an_exit_code_and_changes_nothing() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    fill(&here, "up");
    let compare = |options: &[&str], code| {
        let options = [&["--dry-run", "--fail-if-different"][..], options].concat();
        mirror(&options, shown(&here.join("up")), &server.url("t")).exited(code);
    };
    compare(&[], 12);
    assert!(!server.root.join("t").exists());
    mirror(&[], shown(&here.join("up")), &server.url("t")).exited(0);
    compare(&["--delete"], 0);
    let extra = server.root.write("t/extra", b"theirs");
    compare(&[], 0);
    compare(&["--delete"], 12);
    assert!(extra.exists());
    std::fs::remove_file(extra).unwrap();
    compare(&["--remove-source"], 2);
    here.write("up/a", b"other");
    compare(&["--compare", "hash"], 12);
    assert_eq!(server.root.read("t/a"), b"a");
}

#[test]
fn doubt_hints_at_a_comparison_only_if_one_can_decide() {
    let here = TempRoot::new();
    here.write("t/a", b"one");
    let hint = "; use --size-only or --compare hash";
    for (facts, options, has_hint) in [
        ("size=3", &[][..], true),
        ("modify=20260101000000", &[], false),
        ("modify=20260101000000", &["--size-only"], false),
    ] {
        let listed = format!("type=file;{facts}; a\r\n").into_bytes();
        let feat = Act::Say("211-features\r\n MLST type*;size*;modify*;\r\n211 end");
        let acts = [("FEAT", feat), ("MLSD", Act::Send("150 facts", listed, "226 done"))];
        let peer = Peer::start(&acts);
        let options = [&["--dry-run", "--fail-if-different"][..], options].concat();
        let ran = mirror(&options, &peer.url("t"), shown(&here.join("t")));
        ran.exited(14);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("SRC and DST may differ in 1 object"), "{said}");
        assert_eq!(said.contains(hint), has_hint, "{said}");
    }
}
