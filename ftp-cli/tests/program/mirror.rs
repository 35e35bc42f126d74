//! `mirror` and `fxp -r`: differences are copied, other objects stay unchanged, and no server leads
//! out of the tree.

mod choices;
mod dangers;
mod deletions;
mod deploy;
mod interrupted;
mod large;
mod listed;
mod lost;
mod names;
mod removals;
mod together;
mod watch;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use ftp_proto::Network;
use ftp_server::{Limits, Rights, Server, ServerConfig};
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::wait::wait_until;

use crate::json::told;
use crate::{failed, ftp};

pub(crate) fn mirror(options: &[&str], source: &str, target: &str) -> Ran {
    run(ftp(&["mirror"]).args(options).args([source, target]))
}

pub(crate) fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sets the time of a file to about this many hours before the first call, in whole seconds: files of one
/// age have the same time. It is a minute and some seconds more, since a server in another time zone may
/// mean this moment by the time of whole quarters of an hour before, and the client waits until that is past.
pub(crate) fn age(path: &Path, hours: u64) {
    static NOW: LazyLock<u64> = LazyLock::new(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    });
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*NOW - hours * 3_600 - 70);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Makes a tree with each kind of object.
pub(crate) fn fill(root: &TempRoot, top: &str) {
    for (at, (name, content)) in [
        ("a.txt", &b"one"[..]),
        ("empty", b""),
        ("sub/b.bin", &[0, 255, 13, 10, 7]),
        ("sub/deep/er/c", &[b'x'; 70_000]),
        ("with space/ lead", b"s"),
        ("caf\u{e9}/\u{fc}", b"u"),
        ("-rf", b"d"),
    ]
    .iter()
    .enumerate()
    {
        age(&root.write(format!("{top}/{name}"), content), 24 * (at as u64 + 1));
    }
    root.mkdir(format!("{top}/no files"));
}

/// The path of an object; for a file also its content and time.
pub(crate) type Object = (PathBuf, Option<(Vec<u8>, i64)>);

/// Returns every object below a directory: files with content and time, directories without.
pub(crate) fn tree(root: &Path) -> Vec<Object> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                left.push(path.clone());
                found.push((path, None));
            } else {
                let content = fs::read(entry.path()).unwrap();
                found.push((path, Some((content, metadata.mtime()))));
            }
        }
    }
    found.sort();
    found
}

/// Returns how many lines of a trace sent a command with this beginning, without the probe of the
/// clock.
pub(crate) fn sent(ran: &Ran, command: &str) -> usize {
    let said = String::from_utf8_lossy(&ran.stderr);
    said.lines()
        .filter(|line| line.split_once("> ").is_some_and(|(_, sent)| sent.starts_with(command)))
        .filter(|line| !line.contains(".ftp-cli-clock.tmp"))
        .count()
}

/// For servers that cannot set times: a file counts as copied if its copy was written after the
/// last change, both in whole seconds. Waits until a new file gets a later second. The clock of the
/// file system lags behind the other.
pub(crate) fn next_second(takes_times: bool) {
    let root = TempRoot::new();
    let second = || fs::metadata(root.write("probe", b"")).unwrap().mtime();
    let now = second();
    wait_until("the next second", || takes_times || second() != now);
}

/// Copies a tree to a server and back: both are equal, with equal times if the server sets them;
/// then nothing is left to do.
#[track_caller]
fn round_trip(site: &Site, top: &str, takes_times: bool, options: &[&str]) {
    let here = TempRoot::new();
    fill(&here, "tree");
    let (source, back) = (here.join("tree"), here.join("back"));
    let url = site.url(top);
    next_second(takes_times);
    mirror(options, shown(&source), &url).exited(0);
    let without_times = |tree: Vec<Object>| {
        let strip = |(path, file): Object| (path, file.map(|(content, _)| content));
        tree.into_iter().map(strip).collect::<Vec<_>>()
    };
    let (want, there) = (tree(&source), tree(&site.root.join(top)));
    match takes_times {
        true => assert_eq!(want, there),
        false => assert_eq!(without_times(want), without_times(there)),
    }
    // The second run sends nothing.
    let again = mirror(&[options, &["--trace"]].concat(), shown(&source), &url);
    again.exited(0);
    assert_eq!(sent(&again, "STOR"), 0, "{again:?}");
    mirror(options, &url, shown(&back)).exited(0);
    assert_eq!(tree(&site.root.join(top)), tree(&back));
    let again = mirror(&[options, &["--trace"]].concat(), &url, shown(&back));
    again.exited(0);
    assert_eq!(sent(&again, "RETR"), 0, "{again:?}");
    // Only changes are copied, in both directions.
    age(&here.write("tree/a.txt", b"two"), 1);
    next_second(takes_times);
    let changed = mirror(&[options, &["--trace"]].concat(), shown(&source), &url);
    changed.exited(0);
    assert_eq!(sent(&changed, "STOR"), 1, "{changed:?}");
    let changed = mirror(&[options, &["--trace"]].concat(), &url, shown(&back));
    changed.exited(0);
    assert_eq!(sent(&changed, "RETR"), 1, "{changed:?}");
    assert_eq!(fs::read(back.join("a.txt")).unwrap(), b"two");
    // Removed objects are removed with --delete.
    fs::remove_dir_all(source.join("sub")).unwrap();
    mirror(options, shown(&source), &url).exited(0);
    assert!(site.root.join(top).join("sub/deep/er/c").exists());
    mirror(&[options, &["--delete"]].concat(), shown(&source), &url).exited(0);
    assert!(!site.root.join(top).join("sub").exists());
    mirror(&[options, &["--delete"]].concat(), &url, shown(&back)).exited(0);
    assert_eq!(without_times(tree(&source)), without_times(tree(&back)));
}

#[test]
fn a_tree_round_trips_through_our_server() {
    for options in [&[][..], &["--jobs", "4"], &["--pipeline"], &["--listing", "list"]] {
        round_trip(&OurServer::start(), "tree", true, options);
    }
}

#[test]
fn a_tree_round_trips_through_other_servers() {
    if let Some(server) = RealServer::vsftpd() {
        // It has no MLSD and cannot set times.
        round_trip(&server, "tree", false, &[]);
    }
    if let Some(server) = RealServer::proftpd_at(Ipv4Addr::LOCALHOST) {
        round_trip(&server, "tree", true, &[]);
    }
    if let Some(server) = RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST) {
        round_trip(&server, "tree", true, &[]);
    }
    if let Some(server) = RealServer::pyftpdlib() {
        round_trip(&server, "tree", true, &[]);
    }
}

#[test]
fn a_mirror_lists_each_directory_once_and_sends_few_commands() {
    let server = OurServer::start();
    fill(&server.root, "tree");
    let here = TempRoot::new();
    // On a busy machine, a second connection may seem worth its login.
    let alone = &["--trace", "--jobs", "1"];
    let down = mirror(alone, &server.url("tree"), shown(&here.join("a")));
    down.exited(0);
    // 7 directories and 7 files.
    for (command, want) in [
        ("MLSD", 7),
        ("RETR", 7),
        ("EPSV", 14),
        ("TYPE", 1),
        ("SIZE", 0),
        ("MDTM", 0),
        ("CWD", 0),
        ("FEAT", 1),
    ] {
        assert_eq!(sent(&down, command), want, "{command}: {down:?}");
    }
    let up = mirror(alone, shown(&here.join("a")), &server.url("b"));
    up.exited(0);
    // CWD confirms that the target is missing.
    let commands = [("MLSD", 1), ("LIST", 0), ("CWD", 1), ("MKD", 7), ("TYPE", 1)];
    for (command, want) in commands.into_iter().chain([("STOR", 7), ("MFMT", 7), ("SIZE", 7)]) {
        assert_eq!(sent(&up, command), want, "{command}: {up:?}");
    }
}

#[test]
fn usage_errors_are_reported_before_any_action() {
    for (arguments, words) in [
        (&["ftp://h/a", "ftp://h/b"][..], "fxp -r"),
        (&["h:a", "ftp://h/b"], "fxp -r"),
        (&["a", "b"], "mirror needs one URL"),
        (&["./a:b", "c"], "mirror needs one URL"),
        (&["ftp://h/a"], "mirror SRC DST"),
        (&["ftp://h/a", "b", "c"], "mirror SRC DST"),
        (&["ftp://h/a;type=a", "b"], "do not support ;type=a"),
        (&["--max-delete", "3", "ftp://h/a", "b"], "--delete"),
        (&["--delete", "--max-delete", "many", "ftp://h/a", "b"], "whole number"),
        (&["--jobs", "0", "ftp://h/a", "b"], "1 to 64"),
        (&["--exclude", "a//b", "ftp://h/a", "b"], "matches no name"),
        (&["--listing", "nlst", "ftp://h/a", "b"], "--listing"),
    ] {
        failed(&run(ftp(&["mirror"]).args(arguments)), 2, words);
    }
    failed(&run(&mut ftp(&["fxp", "--dry-run", "ftp://h/a", "ftp://h/b"])), 2, "needs --recursive");
}

#[test]
fn exceeding_max_delete_deletes_nothing() {
    let server = OurServer::start();
    server.root.write("tree/new", b"n");
    let here = TempRoot::new();
    for name in ["mine/a", "mine/b", "mine/d/c"] {
        here.write(name, b"x");
    }
    let target = here.join("mine");
    let url = server.url("tree");
    let ran = mirror(&["--delete", "--max-delete", "3"], &url, shown(&target));
    failed(&ran, 15, "4 objects would be deleted, but --max-delete is 3; nothing was done");
    // A dry run says the same, after each object.
    let ran = mirror(&["--dry-run", "--delete", "--max-delete", "3"], &url, shown(&target));
    ran.exited(15);
    assert_eq!(ran.stdout, b"copy new\nremove a\nremove b\nremove d/c\nremove d\n");
    let said = String::from_utf8_lossy(&ran.stderr);
    let limit = ": 4 objects would be deleted, but --max-delete is 3; the run would do nothing; ";
    assert!(said.contains("dry run, nothing changed: ") && said.contains(limit), "{said}");
    assert_eq!(here.tree().len(), 5);
    mirror(&["--delete", "--max-delete", "4"], &url, shown(&target)).exited(0);
    assert_eq!(here.tree().len(), 2);
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let server = OurServer::start();
    fill(&server.root, "tree");
    let here = TempRoot::new();
    here.write("mine/sub/old", b"x");
    let before = here.tree();
    let target = here.join("mine");
    let ran = mirror(&["--dry-run", "--delete"], &server.url("tree"), shown(&target));
    ran.exited(0);
    let text = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for line in ["make sub/deep/er", "copy a.txt", "copy sub/b.bin", "remove sub/old"] {
        assert!(lines.contains(&line), "no {line:?} in {lines:?}");
    }
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("dry run, nothing changed: 7 files to copy, "), "{said}");
    assert!(
        said.contains("; 0 files unchanged, 5 directories to make, 1 object to remove"),
        "{said}"
    );
    // 5 directories, 7 files and the removed one.
    assert_eq!(lines.len(), 13, "{lines:?}");
    assert_eq!(here.tree(), before);
    let ran = mirror(&["--dry-run", "--json"], &server.url("tree"), shown(&here.join("none")));
    ran.exited(0);
    let text = String::from_utf8(ran.stdout).unwrap();
    let entry = r#"{"v":1,"event":"entry","name":"a.txt","action":"copy","why":"new","size":3,"#;
    assert!(text.lines().any(|line| line.starts_with(entry)), "{text}");
    assert!(!here.join("none").exists());
    // To a server too.
    let ran = mirror(&["--dry-run"], shown(&target), &server.url("none"));
    assert_eq!(ran.succeeded(), b"make .\nmake sub\ncopy sub/old\n");
    assert!(!server.root.join("none").exists());
    // What the run would refuse, with its exit status.
    let (up, down) = (server.url("no/parent"), here.join("no/parent"));
    for (source, target, code) in
        [(shown(&target), &*up, 8), (&server.url("tree"), shown(&down), 3)]
    {
        for options in [&["--dry-run"][..], &[]] {
            failed(&mirror(options, source, target), code, "use --create-dirs");
        }
        mirror(&["--dry-run", "--create-dirs"], source, target).exited(0);
    }
    // Every server gets the QUIT.
    let (from, to) = (server.url("tree"), server.url("none"));
    for (command, source, target, servers) in [
        (&["mirror"][..], &*from, shown(&target), 1),
        (&["mirror"], shown(&target), &*to, 1),
        (&["fxp", "-r"], &*from, &*to, 2),
    ] {
        let ran = run(ftp(command).args(["--dry-run", "--trace", source, target]));
        ran.exited(0);
        assert_eq!(sent(&ran, "QUIT"), servers, "{command:?} {ran:?}");
    }
}

#[test]
fn globs_select_files_and_excluded_files_are_not_deleted() {
    let server = OurServer::start();
    for name in ["a.jpg", "a.png", "d/b.jpg", "d/b.txt", "thumbs/t.jpg"] {
        server.root.write(format!("tree/{name}"), b"x");
    }
    let here = TempRoot::new();
    here.write("mine/keep.txt", b"mine");
    here.write("mine/old.jpg", b"mine");
    here.write("mine/thumbs/mine.jpg", b"mine");
    let options = ["--delete", "--include", "*.jpg", "--exclude", "thumbs/"];
    mirror(&options, &server.url("tree"), shown(&here.join("mine"))).exited(0);
    let paths: Vec<PathBuf> = here.tree().into_iter().map(|(path, _)| path).collect();
    let want = [
        "mine",
        "mine/a.jpg",
        "mine/d",
        "mine/d/b.jpg",
        "mine/keep.txt",
        "mine/thumbs",
        "mine/thumbs/mine.jpg",
    ];
    assert_eq!(paths, want.map(PathBuf::from));
}

/// The evidence that a server gives about links to directories.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tells {
    /// One of its listings shows them as links.
    Links,
    /// Only the link count of their parent directory is too low.
    Nothing,
}

/// Runs a check with each available server.
fn at_every_server(check: &dyn Fn(&Site, Tells)) {
    let host = Ipv4Addr::LOCALHOST;
    check(&OurServer::start(), Tells::Links);
    for (server, tells) in [
        (RealServer::vsftpd(), Tells::Links),
        (RealServer::proftpd_at(host), Tells::Links),
        (RealServer::pure_ftpd_at(host), Tells::Links),
        (RealServer::pyftpdlib(), Tells::Links),
        (RealServer::twisted_at(host), Tells::Nothing),
        (RealServer::aioftp_at(host), Tells::Nothing),
    ] {
        server.iter().for_each(|server| check(server, tells));
    }
}

#[test]
fn unsendable_files_are_reported_and_the_rest_is_uploaded() {
    let server = OurServer::start();
    let here = TempRoot::new();
    here.write("mine/a", b"1");
    here.write("mine/line\nDELE a", b"2");
    here.write("mine/.ftp-cli-1f-0.tmp", b"3");
    symlink("/etc/passwd", here.join("mine/link")).unwrap();
    symlink("/etc", here.join("mine/directory")).unwrap();
    let fifo = here.join("mine/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let ran = mirror(&[], shown(&here.join("mine")), &server.url("tree"));
    failed(&ran, 12, "has a line ending in its name, which FTP does not allow");
    failed(&ran, 12, ".ftp-cli-1f-0.tmp: skipped: a temporary file");
    failed(&ran, 12, "link: skipped: a symbolic link");
    failed(&ran, 12, "directory: skipped: a symbolic link");
    failed(&ran, 12, "fifo: skipped: neither a file nor a directory");
    assert_eq!(
        server.root.tree(),
        [(PathBuf::from("tree"), None), ("tree/a".into(), Some(b"1".to_vec()))]
    );
}

#[test]
fn a_file_that_changes_again_right_after_its_copy_is_copied_again_cl_52() {
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 23), Ipv4Addr::new(127, 0, 0, 24));
    let (source, target) =
        (promiscuous(one, true, "127.0.0.24"), promiscuous(other, true, "127.0.0.23"));
    let here = TempRoot::new();
    here.mkdir("mine");
    target.root.mkdir("put");
    let [mine, up, file] = ["mine", "up", "up/f"].map(|name| here.join(name).display().to_string());
    let (from, to) = (source.url("tree"), target.url("copy"));
    let (put, into) = (target.url("put"), target.url("put/"));
    for (written, copied, first, then) in [
        (source.root.join("tree/f"), here.join("mine/f"), vec!["mirror", &from, &mine], None),
        (
            source.root.join("tree/f"),
            target.root.join("copy/f"),
            vec!["fxp", "-r", &from, &to],
            None,
        ),
        (
            here.join("up/f"),
            target.root.join("put/f"),
            vec!["put", "-p", &file, &into],
            Some(vec!["mirror", &up, &put]),
        ),
    ] {
        fs::create_dir_all(written.parent().unwrap()).unwrap();
        fs::write(&written, "1").unwrap();
        run(&mut ftp(&first)).exited(0);
        fs::write(&written, "2").unwrap();
        run(&mut ftp(then.as_ref().unwrap_or(&first))).exited(0);
        assert_eq!(fs::read_to_string(&copied).unwrap(), "2", "{first:?}");
    }
}

/// Starts our server for a user who may use FXP with `networks`.
fn promiscuous(host: Ipv4Addr, active: bool, networks: &str) -> OurServer {
    let fxp_networks = vec![Network::parse(networks.as_bytes()).unwrap()];
    let config = ServerConfig::new().active(active).fxp_networks(fxp_networks);
    OurServer::at(host, Server::builder().config(config), Rights::FULL | Rights::FXP)
}

#[test]
fn a_tree_is_copied_between_servers_fx_08() {
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 21), Ipv4Addr::new(127, 0, 0, 22));
    // Each connection finds out for itself which direction works.
    for (active, options) in [
        (true, &[][..]),
        (true, &["--listen=source"][..]),
        (false, &["--jobs", "1"]),
        (true, &["--jobs", "3"]),
    ] {
        // A server that cannot connect can only listen.
        let source = promiscuous(one, active, "127.0.0.22");
        let target = promiscuous(other, true, "127.0.0.21");
        fill(&source.root, "tree");
        let fxp = || {
            let (from, to) = (source.url("tree"), target.url("copy"));
            run(ftp(&["fxp", "-r", "--trace"]).args(options).args([from, to]))
        };
        let first = fxp();
        first.exited(0);
        assert_eq!(tree(&source.root.join("tree")), tree(&target.root.join("copy")));
        // The direction that worked for one file is used for the next.
        let refused = String::from_utf8_lossy(&first.stderr).matches("< 502").count();
        assert_eq!(refused, usize::from(!active), "{first:?}");
        let again = fxp();
        again.exited(0);
        assert_eq!(sent(&again, "STOR"), 0, "{again:?}");
        age(&source.root.write("tree/a.txt", b"two"), 1);
        target.root.write("copy/mine", b"mine");
        let changed = fxp();
        changed.exited(0);
        assert_eq!(sent(&changed, "STOR"), 1, "{changed:?}");
        assert_eq!(target.root.read("copy/a.txt"), b"two");
        assert_eq!(target.root.read("copy/mine"), b"mine");
        // Objects that the source lacks are removed only with --delete, and within --max-delete.
        let delete = |most: &str| {
            let (from, to) = (source.url("tree"), target.url("copy"));
            let options = [options, &["--delete", "--max-delete", most, "--json", "-q"]].concat();
            run(ftp(&["fxp", "-r"]).args(options).args([from, to]))
        };
        let (lines, _) = told(&delete("0"), 15);
        assert!(lines[0].text("message").starts_with("1 object would be deleted"), "{lines:?}");
        let (lines, events) = told(&delete("1"), 0);
        assert_eq!(events, "done summary");
        assert_eq!(lines[0].text("action"), "removed");
        assert_eq!(tree(&source.root.join("tree")), tree(&target.root.join("copy")));
    }
}

#[test]
fn events_report_the_action_for_each_object() {
    let server = OurServer::start();
    server.root.write("tree/d/f", b"12345");
    let here = TempRoot::new();
    here.write("mine/old", b"x");
    let target = here.join("mine");
    let ran = mirror(&["--json", "--delete"], &server.url("tree"), shown(&target));
    let text = String::from_utf8(ran.succeeded()).unwrap();
    for words in [
        r#""event":"done""#,
        r#"/tree/d","target":"#,
        r#"mine/d/f","action":"copied","bytes":5"#,
        r#"mine/old","action":"removed","bytes":0"#,
        r#""event":"summary","exit":0,"done":3,"failed":0"#,
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(!text.contains("pass"), "{text}");
}

#[test]
fn progress_and_rate_limit_lose_no_data() {
    let server = OurServer::start();
    fill(&server.root, "tree");
    let here = TempRoot::new();
    let options = ["--progress", "always", "--limit-rate", "2M", "-j", "2"];
    mirror(&options, &server.url("tree"), shown(&here.join("a"))).exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("a")));
    mirror(&options, shown(&here.join("a")), &server.url("b")).exited(0);
    assert_eq!(tree(&server.root.join("b")), tree(&here.join("a")));
}

#[test]
fn a_mirror_succeeds_with_more_jobs_than_the_server_allows() {
    let server = OurServer::with(ServerConfig::new().limits(Limits::new().per_user(2)));
    fill(&server.root, "tree");
    let here = TempRoot::new();
    mirror(&["-j", "5"], &server.url("tree"), shown(&here.join("a"))).exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("a")));
}

#[test]
fn an_unlistable_login_directory_is_named_in_the_message() {
    let here = TempRoot::new();
    here.write("tree/file", b"1");
    let rights = Rights::parse("write").unwrap();
    let server = OurServer::at([127, 0, 0, 1], Server::builder(), rights);
    let said = "login directory: LIST refused: 550 Permission denied";
    let (tree, url) = (here.join("tree"), server.url(""));
    let ran = mirror(&[], &url, shown(&tree));
    failed(&ran, 8, &format!("/: {said}"));
    let ran = mirror(&[], shown(&tree), &url);
    let said = format!("ftp-cli: {said}: all files in this directory are copied, changed or not");
    assert!(String::from_utf8_lossy(&ran.stderr).contains(&said), "{ran:?}");
}
