//! Operations of a single client.

use ftp_tests::compare::assert_same;
use ftp_tests::content::{binary, text};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;

use super::table::{INETUTILS, RCLONE, TNFTP, WGET, ncftp_login, rclone_options, rclone_remote};
use super::{Client, Meeting, Way};

/// Directories in two levels, an empty one, a hidden file, and names with special characters.
fn plant(root: &TempRoot) {
    root.mkdir("tree/empty directory");
    root.write("tree/image", &binary(100_000, 1));
    root.write("tree/a/gr\u{fc}\u{df}e/text file", &text(5_000, 2));
    root.write("tree/a/nothing", b"");
    root.write("tree/a/.hidden", b"x");
}

#[track_caller]
fn assert_same_trees(meeting: &Meeting) {
    assert!(meeting.local.tree() == meeting.server.root.tree(), "{:?}", meeting.local.tree());
}

/// wget reads LIST.
#[test]
fn wget_mirrors_a_tree_and_skips_unchanged_files() {
    for &way in WGET.ways {
        let Some(meeting) = Meeting::new(WGET.find, way) else { return };
        plant(&meeting.server.root);
        let fetch = || {
            let mut command = meeting.command();
            command.args(["--no-config", "--tries=1", "-r", "-N", "--no-host-directories"]);
            command.args((way == Way::Active).then_some("--no-passive-ftp"));
            let ran = run(command.arg(meeting.server.url("tree")));
            ran.exited(0);
            String::from_utf8_lossy(&ran.stderr).into_owned()
        };
        let said = fetch();
        assert!(said.contains("Downloaded: 4 files"), "{said}");
        assert_same_trees(&meeting);
        // The dates in LIST are minutes in UTC: no file is newer.
        let said = fetch();
        assert!(!said.contains("Downloaded"), "{said}");
    }
}

#[test]
fn rclone_copies_checks_and_syncs_a_tree() {
    for &way in RCLONE.ways {
        let Some(meeting) = Meeting::new(RCLONE.find, way) else { return };
        plant(&meeting.local);
        let remote = format!("{}tree", rclone_remote(&meeting, way));
        let rclone = |arguments: &[&str]| {
            let mut command = meeting.command();
            rclone_options(&mut command);
            let ran = run(command.args(arguments));
            String::from_utf8(ran.succeeded()).expect("what it says is UTF-8")
        };
        rclone(&["copy", "--create-empty-src-dirs", "tree", &remote]);
        assert_same_trees(&meeting);
        rclone(&["check", "--download", "tree", &remote]);
        rclone(&["check", "tree", &remote]);

        std::fs::remove_dir_all(meeting.local.join("tree/a")).expect("it was there");
        meeting.local.write("tree/new/file", b"new");
        meeting.local.write("tree/image", &binary(100_001, 3));
        rclone(&["sync", "--create-empty-src-dirs", "tree", &remote]);
        assert_same_trees(&meeting);

        meeting.server.root.write("tree/new/file", b"newer than what is here");
        rclone(&["sync", "--create-empty-src-dirs", &remote, "tree"]);
        assert_same_trees(&meeting);
        rclone(&["purge", &remote]);
        meeting.server.assert_only(&[]);
    }
}

/// Commands that the other clients lack, without options about the server.
#[test]
fn rclone_sees_only_existing_directories_ls_03() {
    for &way in RCLONE.ways {
        let Some(meeting) = Meeting::new(RCLONE.find, way) else { return };
        let remote = rclone_remote(&meeting, way);
        let rclone = |arguments: &[&str], input: &[u8]| {
            let mut command = meeting.command();
            rclone_options(&mut command);
            let ran = run_with(command.args(arguments), input, LIMIT);
            String::from_utf8(ran.succeeded()).expect("what it says is UTF-8")
        };
        let of = |path: &str| format!("{remote}{path}");
        rclone(&["mkdir", &of("a/b")], b"");
        rclone(&["rcat", &of("a/b/x")], b"12345");
        meeting.local.write("y", b"123");
        rclone(&["copy", "y", &of("a")], b"");
        assert_eq!(rclone(&["cat", &of("a/b/x")], b""), "12345");
        assert_eq!(rclone(&["ls", &of("")], b"").lines().count(), 2);
        let directories = rclone(&["lsd", "-R", &of("")], b"");
        let mut names: Vec<_> =
            directories.lines().filter_map(|line| line.split(' ').next_back()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "a/b"], "{directories}");
        assert!(rclone(&["size", &of("")], b"").contains("Total objects: 2 (2)"));
        assert!(rclone(&["tree", &of("")], b"").contains("2 directories, 2 files"));
        rclone(&["move", &of("a/b"), &of("c")], b"");
        rclone(&["delete", &of("c")], b"");
        meeting.server.assert_only(&[b"a", b"c"]);
        rclone(&["rmdirs", "--leave-root", &of("")], b"");
        rclone(&["mkdir", &of("d")], b"");
        rclone(&["rmdir", &of("d")], b"");
        assert_eq!(rclone(&["lsf", "-R", &of("")], b""), "a/\na/y\n");
    }
}

/// Trees in both directions, by programs that create and list directories.
#[test]
fn ncftp_copies_a_tree() {
    for way in [Way::Passive, Way::Active] {
        let Some(mut meeting) = Meeting::new(|| Peer::find("ncftpput"), way) else { return };
        plant(&meeting.local);
        let host = meeting.host();
        let mut command = meeting.command();
        ncftp_login(&meeting, way, &mut command).args(["-V", "-R", &host, "/", "tree"]);
        run(&mut command).succeeded();
        assert_same_trees(&meeting);

        let Some(ncftpget) = Peer::find("ncftpget") else { return };
        (meeting.peer, meeting.local) = (ncftpget, TempRoot::new());
        let mut command = meeting.command();
        ncftp_login(&meeting, way, &mut command).args(["-V", "-R", &host, ".", "/tree"]);
        run(&mut command).succeeded();
        assert_same_trees(&meeting);
    }
}

/// Files that match a pattern, which the server applies to NLST.
#[track_caller]
fn many_by_pattern(client: &Client) {
    for &way in client.ways {
        let Some(meeting) = Meeting::new(client.find, way) else { return };
        for name in ["one.dat", "two  2.dat", "gr\u{fc}n.dat"] {
            meeting.local.write(format!("up/{name}"), name.as_bytes());
        }
        meeting.local.mkdir("down");
        meeting.server.root.write("other.txt", b"not asked for");
        let mut command = meeting.command();
        command.args(["-i", "-n"]).arg(if way == Way::Active { "-A" } else { "-p" });
        command.args([&meeting.host(), &meeting.port()]);
        let Meeting { server, local, .. } = &meeting;
        let login = format!("user {} \"{}\"\nbinary\n", server.user, server.password);
        let script = "lcd up\nmput *.dat\nlcd ../down\nmget *.dat\nmdelete *.txt\nquit\n";
        run_with(&mut command, format!("{login}{script}").as_bytes(), LIMIT).succeeded();
        let names = ["gr\u{fc}n.dat", "one.dat", "two  2.dat"].map(str::as_bytes);
        server.assert_only(&names);
        for name in names {
            assert_same("mput", &server.root.read(name), name);
            assert_same("mget", &local.read([b"down/", name].concat()), name);
        }
    }
}

#[test]
fn tnftp_copies_by_pattern() {
    many_by_pattern(&TNFTP);
}

#[test]
fn inetutils_ftp_copies_by_pattern() {
    many_by_pattern(&INETUTILS);
}
