//! Inboxes and outboxes: `--remove-source`, `--temp`, selections by time and size, `--lock`.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ftp_tests::at_once::at_once;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;
use rustix::fs::{FlockOperation, flock};

use crate::mirror::{age, next_second, sent};
use crate::order::strace;
use crate::peer::{Act, Peer};
use crate::relay::Relay;
use crate::{failed, ftp, in_directory, with_servers};

/// Lets any user write to a directory.
fn open(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
}

/// Returns the names in a directory, hidden ones included.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn remove_source_removes_files_after_a_complete_transfer() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        for file in ["out/a", "out/b", "tree/c", "tree/d/e"] {
            here.write(file, file.as_bytes());
        }
        for directory in ["in", "moved"] {
            open(&site.root.mkdir(directory));
        }
        let inbox = format!("{}in/", site.url(""));
        let put = ["put", "--remove-source", "--temp", "out/a", "out/b", &inbox];
        in_directory(&here, &put).exited(0);
        assert_eq!(names(&here.join("out")), [""; 0], "{name}");
        assert_eq!(names(&site.root.join("in")), ["a", "b"], "{name}");
        let all = format!("{inbox}*");
        in_directory(&here, &["get", "--remove-source", "-P", "out", &all]).exited(0);
        assert_eq!(names(&site.root.join("in")), [""; 0], "{name}");
        assert_eq!(names(&here.join("out")), ["a", "b"], "{name}");
        assert_eq!(here.read("out/a"), b"out/a", "{name}");
        // Without --temp, and a tree.
        in_directory(&here, &["put", "--remove-source", "out/a", &inbox]).exited(0);
        assert_eq!(names(&here.join("out")), ["b"], "{name}");
        assert_eq!(names(&site.root.join("in")), ["a"], "{name}");
        let moved = format!("{}moved", site.url(""));
        for run in 0..2 {
            // The second run moves a file that the first one has copied. Without a digest, only a
            // newer time shows that the server has the new one.
            next_second(false);
            in_directory(&here, &["mirror", "--remove-source", "tree", &moved]).exited(0);
            assert_eq!(names(&here.join("tree")), ["d"], "{name}");
            assert_eq!(names(&here.join("tree/d")), [""; 0], "{name}");
            assert_eq!(site.root.read("moved/d/e"), b"tree/d/e", "{name}");
            if run == 0 {
                in_directory(&here, &["get", "-r", &moved, "tree"]).exited(0);
            }
        }
        in_directory(&here, &["mirror", "--remove-source", &moved, "back"]).exited(0);
        assert_eq!(names(&site.root.join("moved")), ["d"], "{name}");
        assert_eq!(names(&site.root.join("moved/d")), [""; 0], "{name}");
        assert_eq!(here.read("back/d/e"), b"tree/d/e", "{name}");
    });
}

#[test]
fn remove_source_keeps_files_whose_copy_is_not_verified() {
    let ten = || Act::Send("150 data (10 bytes)", vec![b'x'; 10], "226 done");
    let size = || ("SIZE", Act::Say("213 10"));
    let time = |text| ("MDTM", Act::Say(text));
    for (acts, code, comes, goes) in [
        (vec![("RETR", ten()), size(), time("213 20260101000000")], 0, true, true),
        // Without times, a change of the same size would not be seen.
        (vec![("RETR", ten()), size()], 14, false, false),
        // It grew, or changed, during the download.
        (vec![("RETR", ten()), ("SIZE", Act::Say("213 11"))], 11, false, false),
        (
            vec![
                ("RETR", ten()),
                size(),
                time("213 20260101000000"),
                time("213 20260101000000"),
                time("213 20260101000001"),
                time("213 20260101000001"),
            ],
            11,
            false,
            false,
        ),
        // The server does not tell the size.
        (vec![("RETR", ten())], 14, false, false),
        (
            vec![("RETR", Act::Send("150 data (10 bytes)", vec![b'x'; 9], "226 done")), size()],
            11,
            false,
            false,
        ),
        (
            vec![("RETR", ten()), size(), time("213 20260101000000"), ("DELE", Act::Say("550 no"))],
            8,
            true,
            true,
        ),
    ] {
        let shown = format!("{acts:?}");
        let here = TempRoot::new();
        let mut acts = acts;
        if !acts.iter().any(|(verb, _)| *verb == "DELE") {
            acts.push(("DELE", Act::Say("250 gone")));
        }
        let peer = Peer::start(&acts);
        let ran = in_directory(&here, &["get", "--remove-source", &peer.url("x")]);
        assert_eq!(ran.code(), Some(code), "{shown} {ran:?} {}", peer.seen());
        assert_eq!(here.join("x").exists(), comes, "{shown}");
        assert_eq!(peer.seen().contains("DELE"), goes, "{shown} {}", peer.seen());
    }
    let put = |acts: &[(&'static str, Act)], options: &[&str]| {
        let here = TempRoot::new();
        here.write("x", b"0123456789");
        let peer = Peer::start(acts);
        let url = peer.url("x");
        let arguments = [&["put", "--remove-source"], options, &["x", &url]].concat();
        let ran = in_directory(&here, &arguments);
        (ran.code().unwrap(), here.names(), peer.seen())
    };
    let stored = || ("STOR", Act::Take("150 go", "226 done"));
    let missing = || ("SIZE", Act::Say("550 no such file"));
    let kept = vec![b"x".to_vec()];
    assert_eq!(put(&[stored()], &[]).1, kept);
    assert_eq!(put(&[stored()], &[]).0, 14);
    assert_eq!(put(&[stored(), ("SIZE", Act::Say("213 9"))], &[]).1, kept);
    assert_eq!(put(&[stored(), missing(), size()], &[]).1, [b""; 0]);
    // A file of that size was there before, and nothing shows that it was replaced.
    assert_eq!(put(&[stored(), size()], &[]).0, 11);
    assert_eq!(put(&[stored(), size()], &[]).1, kept);
    let refused = ("RNTO", Act::Say("553 exists"));
    let asked = ("RNFR", Act::Say("350 go on"));
    let (code, left, seen) = put(&[stored(), missing(), size(), asked, refused], &["--temp=*.tmp"]);
    assert_eq!((code, left), (8, kept), "{seen}");
    assert!(seen.contains("STOR x.tmp") && seen.contains("RNTO x"), "{seen}");
}

#[test]
fn temporary_names_hide_incomplete_files() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        here.write("t/a", b"content");
        let url = site.url("a");
        let ran = in_directory(&here, &["put", "--temp", "--trace", "t/a", &url]);
        ran.exited(0);
        assert_eq!((sent(&ran, "STOR .in.a."), sent(&ran, "RNTO a")), (1, 1), "{name} {ran:?}");
        assert_eq!(site.root.read("a"), b"content", "{name}");
        site.assert_only(&[b"a"]);
        in_directory(&here, &["mirror", "--temp=*.part", "t", &site.url("m")]).exited(0);
        assert_eq!(names(&site.root.join("m")), ["a"], "{name}");
    });
    let here = TempRoot::new();
    here.write("a", b"");
    let url = "ftp://127.0.0.1/a";
    for (arguments, words) in [
        (&["put", "--temp=tmp", "a", url][..], "expected a name with one *"),
        (&["put", "--temp", "--unique", "a", url], "exclude each other"),
        (&["put", "--temp", "--append", "a", url], "exclude each other"),
        (&["put", "--remove-source", "-", url], "not standard input"),
        (&["put", "--remove-source", "--verify=none", "a", url], "exclude each other"),
        (&["get", "--remove-source", url, "-"], "regular local file"),
        (&["get", "--remove-source", "-a", url], "--ascii"),
        (&["get", "--newer", "--if-changed", url], "exclude each other"),
        (&["mirror", "--remove-source", "--delete", ".", url], "exclude each other"),
        (&["mirror", "--temp", url, "."], "only to uploads"),
    ] {
        failed(&in_directory(&here, arguments), 2, words);
    }
}

#[test]
fn times_and_sizes_select_files() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        open(&site.root.mkdir("d"));
        age(&site.root.write("d/new.x", b"12345"), 1);
        age(&site.root.write("d/old.x", b"12345678"), 100);
        let pattern = format!("{}d/*.x", site.url(""));
        let tree = format!("{}d", site.url(""));
        for (options, want) in [
            (&["--min-age", "20h"][..], &["old.x"][..]),
            (&["--max-age", "3d"], &["new.x"]),
            (&["--min-size", "6"], &["old.x"]),
            (&["--max-size", "7"], &["new.x"]),
            (&["--max-size", "1K", "--max-age", "365d"], &["new.x", "old.x"]),
            (&["--min-size", "1M"], &[]),
        ] {
            for (command, target) in [(&["get", "-P", "to"][..], None), (&["mirror"], Some("to"))] {
                here.mkdir("to");
                let source = if target.is_some() { &tree } else { &pattern };
                let arguments: Vec<&str> = [command, options, &[source.as_str()]]
                    .concat()
                    .into_iter()
                    .chain(target)
                    .collect();
                in_directory(&here, &arguments).exited(0);
                assert_eq!(names(&here.join("to")), want, "{name} {arguments:?}");
                fs::remove_dir_all(here.join("to")).unwrap();
            }
        }
        // A file that is not selected is not removed either.
        age(&here.write("up/old.x", b"1"), 100);
        in_directory(&here, &["mirror", "--delete", "--max-age", "20h", "up", &tree]).exited(0);
        assert_eq!(names(&site.root.join("d")), ["old.x"], "{name}");
        assert_eq!(site.root.read("d/old.x"), b"12345678", "{name}");
        let ran = in_directory(&here, &["put", "--max-age", "20h", "up/old.x", &site.url("no")]);
        failed(&ran, 12, "up/old.x: too old: --max-age leaves it out");
        assert!(!site.root.join("no").exists(), "{name}");
    });
}

#[test]
fn a_named_file_that_a_limit_leaves_out_is_a_failure_li_06() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        open(&site.root.mkdir("d"));
        age(&site.root.write("d/new.x", b"12345"), 1);
        age(&site.root.write("d/old.x", b"12345678"), 100);
        let url = |file: &str| site.url(format!("d/{file}"));
        here.write("list", format!("{}\n{}\n", url("old.x"), url("new.x")).as_bytes());
        let (new, old, all) = (url("new.x"), url("old.x"), url("") + "*.x");
        for (arguments, words, left) in [
            (&["get", "--max-size", "7", &old][..], "too large: --max-size", &[][..]),
            (&["get", "--min-size", "6", &new], "too small: --min-size", &[]),
            (&["get", "--min-age", "20h", &new], "too new: --min-age", &[]),
            (&["get", "--max-age", "20h", &old], "too old: --max-age", &[]),
            (&["get", "--max-size", "7", "-P", ".", &new, &old], "1 of 2 files", &["new.x"]),
            (&["get", "--max-size", "7", "-i", "list"], "1 of 2 files", &["new.x"]),
            (&["get", "--max-size", "7", "-o", "-", &old], "too large: --max-size", &[]),
        ] {
            failed(&in_directory(&here, arguments), 12, words);
            for file in ["new.x", "old.x"] {
                assert_eq!(here.join(file).exists(), left.contains(&file), "{name} {arguments:?}");
            }
            let _ = fs::remove_file(here.join("new.x"));
        }
        // A stream is read as a whole, whatever named its files.
        let ran = in_directory(&here, &["get", "--max-size", "7", "-o", "-", &all]);
        ran.exited(12);
        assert_eq!(ran.stdout, b"12345", "{name}");
        let ran = in_directory(&here, &["get", "--json", "--max-size", "7", &old]);
        ran.exited(12);
        let shown = String::from_utf8_lossy(&ran.stdout);
        assert!(shown.contains(r#""kind":"partial","exit":12"#), "{name}: {shown}");
    });
}

#[test]
fn newer_and_if_changed_transfer_only_changed_files() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        let (far, near) = (site.root.write("f", b"one"), here.join("f"));
        let url = site.url("f");
        let get = |option: &str| {
            let ran = in_directory(&here, &["get", option, "--trace", &url]);
            ran.exited(0);
            sent(&ran, "RETR")
        };
        age(&far, 48);
        assert_eq!((get("--newer"), get("--newer")), (1, 0), "{name}");
        age(&near, 72);
        assert_eq!(get("--newer"), 1, "{name}");
        assert_eq!((get("--newer"), get("--if-changed")), (0, 0), "{name}");
        assert_eq!(fs::metadata(&near).unwrap().mtime(), fs::metadata(&far).unwrap().mtime());
        // Older, but another file.
        age(&far, 96);
        assert_eq!((get("--newer"), get("--if-changed")), (0, 1), "{name}");
        let put = |option: &str| {
            let ran = in_directory(&here, &["put", option, "--trace", "f", &url]);
            (ran.code().unwrap(), sent(&ran, "STOR"))
        };
        age(&near, 100);
        assert_eq!(put("--newer"), (0, 0), "{name}");
        age(&near, 1);
        assert_eq!(put("--newer"), (0, 1), "{name}");
        let (code, stores) = put("--if-changed");
        // vsftpd and some others cannot set times, and say so.
        assert!(code == 0 && put("--if-changed") == (0, 0) || code == 14, "{name} {code} {stores}");
    });
}

#[test]
fn lock_allows_one_run_at_a_time() {
    let server = OurServer::start();
    server.root.write("a", b"a");
    let here = TempRoot::new();
    let url = server.url("a");
    let arguments = ["get", "--lock", "lock", &url];
    in_directory(&here, &arguments).exited(0);
    let held = File::open(here.join("lock")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    here.write("a", b"old");
    failed(&in_directory(&here, &arguments), 15, "locked by another run");
    assert_eq!(here.read("a"), b"old");
    flock(&held, FlockOperation::Unlock).unwrap();
    in_directory(&here, &arguments).exited(0);
    assert_eq!(here.read("a"), b"a");
    failed(&in_directory(&here, &["get", "--lock", "no/lock", &url]), 3, "no/lock");
}

/// The system calls that change something outside of the process, or learn about such a change.
const STEPS: [&str; 12] = [
    "connect",
    "fdatasync",
    "fsync",
    "openat",
    "recvfrom",
    "rename",
    "renameat2",
    "sendfile",
    "sendto",
    "unlink",
    "unlinkat",
    "write",
];

/// The kills of a run at its first call of a kind, at its second, and so on.
struct Kills {
    strace: ftp_tests::peer::Peer,
    /// The place of the kind in [`STEPS`].
    at: usize,
    killed: Cell<usize>,
}

impl Kills {
    /// Kills a run at each call until one has no such call. A plain run has each sixth of them. After
    /// each, `after` sees what is left.
    fn each(
        &self,
        command: &[&str],
        here: &TempRoot,
        server: &OurServer,
        mut after: impl FnMut(&str),
    ) {
        let (call, every) = (STEPS[self.at], count(6, 1));
        for number in (1 + self.at % every..).step_by(every) {
            let mut traced = self.command(call, number);
            let ran = run(traced.args(command).current_dir(here.path()));
            let status = ran.status.unwrap();
            let is_killed = status.signal() == Some(9) || status.code() == Some(137);
            assert!(is_killed || status.success(), "{call} {number}: {ran:?}");
            // The server may still execute the last command.
            wait_until("the end of the session", || server.server.sessions().is_empty());
            after(&format!("{call} {number}"));
            if !is_killed {
                break;
            }
            self.killed.set(self.killed.get() + 1);
        }
    }

    /// Returns the program under strace, which kills it at the `number`th call of a kind.
    fn command(&self, call: &str, number: usize) -> Command {
        let mut command = self.strace.command();
        let inject = format!("inject={call}:signal=KILL:when={number}");
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &inject,
        ]);
        command.arg("--").arg(env!("CARGO_BIN_EXE_ftp-cli"));
        command
    }
}

/// Plays a scene once for each kind of call, all at the same time, since moves wait for seconds: each
/// begins with a server of its own.
fn killed_at_each_step(scene: impl Fn(&Kills) + Sync) {
    let Some(strace) = strace() else { return };
    let killed = at_once(STEPS.len(), 0..STEPS.len(), |at| {
        let kills = Kills { strace: strace.clone(), at, killed: Cell::new(0) };
        scene(&kills);
        kills.killed.get()
    });
    let killed: usize = killed.into_iter().sum();
    assert!(killed > count(4, 30), "{killed}");
}

/// Returns whether the journal exists but does not contain `fact` yet.
fn is_between(directory: &Path, fact: &str) -> bool {
    let journal = names(directory).into_iter().find(|name| name.ends_with(".ftp-cli-journal"));
    journal.is_some_and(|name| !fs::read_to_string(directory.join(name)).unwrap().contains(fact))
}

#[test]
fn a_move_by_download_loses_no_file_if_killed_at_any_step_at_scale() {
    killed_at_each_step(|kills| {
        let server = OurServer::start();
        let (here, taken) = (TempRoot::new(), TempRoot::new());
        age(&server.root.write("box/a", b"content"), 1);
        let url = format!("{}box/a", server.url(""));
        let command = ["get", "--remove-source", "-P", ".", &url];
        kills.each(&command, &here, &server, |number| {
            // A program takes each file that appears.
            let count = Cell::new(0);
            let take = || {
                if here.join("a").exists() {
                    assert_eq!(here.read("a"), b"content", "{number}");
                    fs::rename(here.join("a"), taken.join("a")).unwrap();
                    count.set(count.get() + 1);
                }
            };
            take();
            // A file that was taken looks like one that never arrived.
            let is_open = is_between(here.path(), "published") && count.get() == 1;
            let again = in_directory(&here, &command);
            take();
            // If the first run did everything, the file is missing.
            let is_done = again.code() == Some(8) && count.get() == 1;
            assert!(again.code() == Some(0) || is_done, "{number}: {again:?}");
            assert_eq!(count.get(), 1 + usize::from(is_open), "{number}: {again:?}");
            server.assert_only(&[b"box"]);
            assert_eq!(names(&server.root.join("box")), [""; 0], "{number}");
            for name in names(here.path()) {
                // Temporary files of a killed run have no content that anybody needs.
                let is_left = name.starts_with(".ftp-client-") || name.ends_with(".ftp-cli-new");
                assert!(is_left, "{number}: {name}");
                fs::remove_file(here.join(&name)).unwrap();
            }
            age(&server.root.write("box/a", b"content"), 1);
        });
    });
}

#[test]
fn a_move_by_upload_loses_no_file_if_killed_at_any_step_at_scale() {
    killed_at_each_step(|kills| {
        let server = OurServer::start();
        let (here, taken) = (TempRoot::new(), TempRoot::new());
        let inbox = server.root.mkdir("box");
        here.write("out/a", b"content");
        let url = format!("{}box/", server.url(""));
        let command = ["put", "--remove-source", "--temp", "out/a", &url];
        kills.each(&command, &here, &server, |number| {
            let count = Cell::new(0);
            let take = || {
                if inbox.join("a").exists() {
                    assert_eq!(fs::read(inbox.join("a")).unwrap(), b"content", "{number}");
                    fs::rename(inbox.join("a"), taken.join("a")).unwrap();
                    count.set(count.get() + 1);
                }
            };
            take();
            let is_open = is_between(&here.join("out"), "renamed") && count.get() == 1;
            let again = in_directory(&here, &command);
            take();
            // The local file is gone, and the journal of its move may be left.
            let is_done = again.code() == Some(3) && count.get() == 1;
            assert!(again.code() == Some(0) || is_done, "{number}: {again:?}");
            assert_eq!(count.get(), 1 + usize::from(is_open), "{number}: {again:?}");
            for name in names(&here.join("out")) {
                let is_journal =
                    is_done && (name.ends_with(".ftp-cli-journal") || name.ends_with(".lock"));
                assert!(is_journal || name.ends_with(".ftp-cli-new"), "{number}: {name}");
                fs::remove_file(here.join(format!("out/{name}"))).unwrap();
            }
            here.write("out/a", b"content");
        });
    });
}

/// The files of a tree that is moved.
const MOVED: [&str; 2] = ["t/a", "t/d/b"];

fn content(name: &str) -> Vec<u8> {
    name.repeat(500).into_bytes()
}

fn fill(root: &TempRoot) {
    for name in MOVED {
        // A file that was written just now is not moved at once.
        age(&root.write(name, &content(name)), 1);
    }
}

/// Takes the files of a tree that has arrived, which are gone from where they were.
fn take_moved(from: &TempRoot, to: &TempRoot, step: &str) {
    for name in MOVED {
        assert!(!from.join(name).exists(), "{step}: {name}");
        assert!(to.read(name) == content(name), "{step}: {name}");
        fs::remove_file(to.join(name)).unwrap();
    }
}

#[test]
fn an_uploaded_tree_arrives_complete_after_a_kill_at_any_step_at_scale() {
    killed_at_each_step(|kills| {
        let (server, here) = (OurServer::start(), TempRoot::new());
        fill(&here);
        let url = server.url("t");
        let up = ["mirror", "--remove-source", "--temp", "t", &url];
        kills.each(&up, &here, &server, |step| {
            in_directory(&here, &up).exited(0);
            take_moved(&here, &server.root, step);
            fill(&here);
        });
    });
}

#[test]
fn a_downloaded_tree_arrives_complete_after_a_kill_at_any_step_at_scale() {
    killed_at_each_step(|kills| {
        let (server, here) = (OurServer::start(), TempRoot::new());
        fill(&server.root);
        let url = server.url("t");
        let down = ["mirror", "--remove-source", &url, "t"];
        kills.each(&down, &here, &server, |step| {
            in_directory(&here, &down).exited(0);
            take_moved(&server.root, &here, step);
            fill(&server.root);
        });
    });
}

#[test]
fn a_list_of_files_arrives_complete_after_a_kill_at_any_step_at_scale() {
    killed_at_each_step(|kills| {
        let (server, here) = (OurServer::start(), TempRoot::new());
        fill(&server.root);
        let urls = MOVED.map(|name| format!("{}{name}\n", server.url("")));
        fs::write(here.join("list"), urls.concat()).unwrap();
        here.mkdir("in");
        let fetch = ["get", "--remove-source", "-P", "in", "-i", "list"];
        kills.each(&fetch, &here, &server, |step| {
            // Files that the killed run has moved are missing on the server.
            let again = in_directory(&here, &fetch);
            assert!(matches!(again.code(), Some(0 | 8 | 12)), "{step}: {again:?}");
            for (name, source) in [("a", MOVED[0]), ("b", MOVED[1])] {
                assert!(here.read(format!("in/{name}")) == content(source), "{step}: {name}");
                assert!(!server.root.join(source).exists(), "{step}: {source}");
                fs::remove_file(here.join(format!("in/{name}"))).unwrap();
            }
            fill(&server.root);
        });
    });
}

/// Writes a file and sets its time to a second of 2026 and some milliseconds.
fn write_at(path: &Path, content: &[u8], milliseconds: u64) {
    fs::write(path, content).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_780_000_000_000 + milliseconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_tree_is_never_moved_onto_itself() {
    let server = OurServer::start();
    let files = ["s/a", "s/d/b"];
    for file in files {
        server.root.write(file, file.as_bytes());
    }
    let (url, here) = (server.url("s"), server.root.join("s"));
    let here = here.to_str().unwrap();
    for command in [
        &["mirror", "--remove-source", here, &url][..],
        &["mirror", "--remove-source", &url, here],
        &["mirror", "--remove-source", "--compare=hash", here, &url],
        &["get", "-r", "--remove-source", &url, here],
        &["put", "-r", "--remove-source", here, &url],
    ] {
        let ran = run(&mut ftp(command));
        assert_eq!(ran.code(), Some(2), "{command:?} {ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("are the same directory"), "{command:?} {ran:?}");
        for file in files {
            assert_eq!(server.root.read(file), file.as_bytes(), "{command:?}");
        }
        assert_eq!(names(&server.root.join("s")), ["a", "d"], "{command:?}");
    }
}

#[test]
fn a_file_changed_within_the_same_second_is_not_removed() {
    let server = OurServer::start();
    for (is_upload, sends) in [(true, "STOR "), (false, "RETR ")] {
        let here = TempRoot::new();
        here.mkdir("t");
        fs::create_dir_all(server.root.join("m")).unwrap();
        let source = if is_upload { here.join("t/f") } else { server.root.join("m/f") };
        write_at(&source, b"AAAA", 0);
        let (changing, was_sent) = (source.clone(), AtomicBool::new(false));
        let relay = Relay::watched(server.address, move |line| {
            was_sent.fetch_or(line.starts_with(sends), Ordering::SeqCst);
            if line.starts_with("SIZE") && was_sent.load(Ordering::SeqCst) {
                write_at(&changing, b"BBBB", 500);
            }
        });
        let direct = server.url("m");
        let url = direct.replace(&server.address.to_string(), &relay.address.to_string());
        let operands = if is_upload { ["t", &url] } else { [&*url, "t"] };
        let command = [&["mirror", "--remove-source"], &operands[..]].concat();
        let ran = in_directory(&here, &command);
        assert_eq!(ran.code(), Some(11), "{command:?} {ran:?}");
        assert_eq!(fs::read(&source).unwrap(), b"BBBB", "{command:?}");
        // Size and time are equal now, but the next run compares the contents.
        let operands = if is_upload { ["t", &direct] } else { [&*direct, "t"] };
        let again = in_directory(&here, &[&["mirror", "--remove-source"], &operands[..]].concat());
        let target = if is_upload { server.root.join("m/f") } else { here.join("t/f") };
        again.exited(0);
        assert!(!source.exists(), "{again:?}");
        assert_eq!(fs::read(&target).unwrap(), b"BBBB", "{again:?}");
        fs::remove_file(target).unwrap();
    }
}

#[test]
fn remove_source_keeps_a_downloaded_file_without_a_time() {
    let here = TempRoot::new();
    let list = b"-rw-r--r-- 1 u g 4 Jan 01 2026 f\r\n".to_vec();
    let peer = Peer::start(&[
        ("LIST", Act::Send("150 list", list, "226 done")),
        ("RETR", Act::Send("150 data (4 bytes)", b"AAAA".to_vec(), "226 done")),
        ("SIZE m/f", Act::Say("213 4")),
        ("SIZE", Act::Say("550 no such file")),
        ("DELE", Act::Say("250 gone")),
    ]);
    let ran = in_directory(&here, &["mirror", "--remove-source", &peer.url("m"), "t"]);
    assert_eq!(ran.code(), Some(14), "{ran:?} {}", peer.seen());
    assert_eq!(here.read("t/f"), b"AAAA", "{ran:?}");
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
}

#[test]
fn compare_hash_moves_equal_files_with_different_times() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("t/f", b"content");
    server.root.write("m/f", b"content");
    age(&server.root.join("m/f"), 5);
    let url = server.url("m");
    in_directory(&here, &["mirror", "--remove-source", "--compare=hash", "t", &url]).exited(0);
    assert!(!here.join("t/f").exists());
    here.write("t/f", b"content");
    in_directory(&here, &["mirror", "--remove-source", "--compare=hash", &url, "t"]).exited(0);
    assert!(!server.root.join("m/f").exists());
    assert_eq!(here.read("t/f"), b"content");
}
