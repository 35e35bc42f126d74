//! `mirror --manifest`: the content decides, what others have stored stays, and the next run is
//! right, whenever a run is killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::process::{Ran, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::{OurServer, Site};

use super::{age, mirror, shown};
use crate::peer::{Act, Peer};
use crate::{failed, ftp, with_servers};

const LIST: &str = ".ftp-cli-manifest.json";

fn deploy(options: &[&str], source: &Path, url: &str) -> Ran {
    mirror(&[&["--manifest", "--trace"], options].concat(), shown(source), url)
}

/// Returns the paths of the uploads that a trace shows, without those of the list.
fn uploads(ran: &Ran) -> Vec<String> {
    let said = String::from_utf8_lossy(&ran.stderr);
    let sent = said.lines().filter_map(|line| line.split_once("> STOR "));
    let paths = sent.map(|(_, path)| path.trim().to_owned());
    paths.filter(|path| !path.contains("manifest")).collect()
}

fn has(ran: &Ran, words: &str) -> bool {
    String::from_utf8_lossy(&ran.stderr).contains(words)
}

/// Returns the contents of all files below a directory, without the list.
fn contents(top: &Path) -> BTreeMap<String, String> {
    let files = super::tree(top).into_iter().filter_map(|(path, file)| {
        let content = String::from_utf8(file?.0).unwrap();
        Some((path.to_str().unwrap().to_owned(), content))
    });
    files.filter(|(path, _)| !path.starts_with(LIST)).collect()
}

fn content(number: usize) -> String {
    format!("content of file {number:04}, as long as that of each other file")
}

/// Writes a checkout of this many files: whatever was there, all have new times.
fn check_out(root: &TempRoot, top: &str, files: usize, hours: u64) {
    let _ = fs::remove_dir_all(root.join(top));
    for number in 0..files {
        let name = format!("{top}/d{:02}/f{number:04}", number % 20);
        age(&root.write(name, content(number).as_bytes()), hours);
    }
}

#[test]
fn a_checkout_sends_what_changed_and_deletes_only_what_a_deploy_stored_cl_81() {
    // The list of many files is longer than any buffer; what servers do differs in few.
    with_servers(|name, site| {
        let files = if name == "ours" { count(300, 1_000) } else { count(40, 100) };
        let here = TempRoot::new();
        let (source, url) = (here.join("tree"), site.url("www"));
        check_out(&here, "tree", files, 9);
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(0);
        assert_eq!(uploads(&ran).len(), files);
        let www = site.root.join("www");
        assert_eq!(contents(&source), contents(&www));

        // New times alone send nothing, not even a list.
        check_out(&here, "tree", files, 2);
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(0);
        assert!(!has(&ran, "> STOR") && !has(&ran, "> RNFR"), "{ran:?}");

        // One edit of the same size sends one file.
        let edited = content(7).replace("content", "CONTENT");
        here.write("tree/d07/f0007", edited.as_bytes());
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(0);
        assert_eq!(uploads(&ran), ["www/d07/f0007"]);

        // Files of others stay, also in a directory that the deploy removes.
        for name in ["www/uploads/photo", "www/d03/comment", "www/d04/mine"] {
            site.root.write(name, b"not deployed");
        }
        let mut want = contents(&source);
        want.retain(|path, _| !path.starts_with("d04/"));
        want.insert("moved/here".to_owned(), want["d05/f0005"].clone());
        want.remove("d05/f0005");
        fs::remove_dir_all(source.join("d04")).unwrap();
        fs::create_dir(source.join("moved")).unwrap();
        fs::rename(source.join("d05/f0005"), source.join("moved/here")).unwrap();
        let dry = deploy(&["--delete", "--dry-run"], &source, &url);
        dry.exited(0);
        let dry = String::from_utf8(dry.stdout).unwrap();
        assert!(dry.contains("rename d05/f0005 to moved/here\n"), "{dry}");
        assert_eq!(dry.matches("remove d04/f").count(), files / 20, "{dry}");
        assert!(!dry.contains("comment") && !dry.contains("photo") && !dry.contains("mine"));
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(0);
        assert_eq!(uploads(&ran), [""; 0]);
        assert!(has(&ran, "renamed d05/f0005 to moved/here"), "{ran:?}");
        for name in ["uploads/photo", "d03/comment", "d04/mine"] {
            want.insert(name.to_owned(), "not deployed".to_owned());
        }
        assert_eq!(contents(&www), want);
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(0);
        assert!(!has(&ran, "> STOR") && !has(&ran, "> DELE"), "{ran:?}");
    });
}

#[test]
fn a_file_whose_renaming_was_only_confirmed_is_sent_cl_81() {
    for (no_mlsd, lies) in [(false, true), (true, true), (false, false), (true, false)] {
        let refuses = if lies { vec![("RNTO t/b/", "250 renamed")] } else { Vec::new() };
        let (here, server) =
            (TempRoot::new(), FoldingServer::start(Kind { no_mlsd, refuses, ..Kind::default() }));
        server.mkdir("t");
        for name in ["tree/a/x", "tree/a/y", "tree/b/z"] {
            here.write(name, name.as_bytes());
        }
        let source = here.join("tree");
        deploy(&["--delete"], &source, &server.url("t")).exited(0);
        fs::rename(source.join("a/x"), source.join("b/x")).unwrap();
        let ran = deploy(&["--delete"], &source, &server.url("t"));
        ran.exited(0);
        assert_eq!(uploads(&ran), if lies { vec!["t/b/x"] } else { Vec::new() });
        assert_eq!(server.read("t/b/x").as_deref(), Some(&b"tree/a/x"[..]), "{ran:?}");
        assert!(server.read("t/a/x").is_none(), "{ran:?}");
        let ran = deploy(&["--delete"], &source, &server.url("t"));
        ran.exited(0);
        assert!(!has(&ran, "> STOR") && !has(&ran, "> RNFR"), "{ran:?}");
    }
}

#[test]
fn what_changed_on_the_server_is_told_and_stays_cl_81() {
    with_servers(|_, site| {
        let here = TempRoot::new();
        let (source, url) = (here.join("tree"), site.url("www"));
        for name in ["size", "time", "gone", "kept", "old"] {
            age(&here.write(format!("tree/{name}"), b"deployed"), 9);
        }
        deploy(&[], &source, &url).exited(0);
        site.root.write("www/size", b"changed by hand");
        age(&site.root.write("www/time", b"DEPLOYED"), 100);
        fs::remove_file(site.root.join("www/gone")).unwrap();
        fs::remove_file(source.join("old")).unwrap();
        site.root.write("www/new", b"of somebody");
        here.write("tree/new", b"of SRC");
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(12);
        assert_eq!(uploads(&ran), ["www/gone"]);
        for words in [
            "size: not copied: changed on the server since it was deployed; use --force",
            "time: not copied: changed on the server",
            "new: not copied: the server has a file of this name",
            "gone: missing on the server: copied again",
        ] {
            assert!(has(&ran, words), "{words}: {ran:?}");
        }
        let read = |name: &str| String::from_utf8(site.root.read(format!("www/{name}"))).unwrap();
        assert_eq!([read("size"), read("time")], ["changed by hand", "DEPLOYED"]);
        assert_eq!([read("new"), read("gone")], ["of somebody", "deployed"]);
        // The cause comes first, with its cure.
        let said = String::from_utf8_lossy(&ran.stderr);
        let (before, after) = said.split_once("nothing deleted").unwrap();
        assert!(
            before.contains("size: not copied") && !after.contains("--ignore-errors"),
            "{said}"
        );
        // Something of SRC was not copied, so what it lacks stays too.
        assert_eq!(read("old"), "deployed");
        // The next run says the same.
        let ran = deploy(&["--delete"], &source, &url);
        ran.exited(12);
        assert!(uploads(&ran).is_empty() && has(&ran, "size: not copied"), "{ran:?}");
        deploy(&["--delete", "--force"], &source, &url).exited(0);
        assert_eq!(contents(&source), contents(&site.root.join("www")));
        // A changed file that SRC lacks stays too.
        site.root.write("www/kept", b"changed by hand");
        fs::remove_file(source.join("kept")).unwrap();
        let ran = deploy(&["--delete"], &source, &url);
        assert!(ran.code() != Some(0) && has(&ran, "kept: not deleted: changed"), "{ran:?}");
        assert_eq!(read("kept"), "changed by hand");
        deploy(&["--delete", "--force"], &source, &url).exited(0);
        assert_eq!(contents(&source), contents(&site.root.join("www")));
    });
}

#[test]
fn a_top_that_cannot_be_listed_is_neither_missing_nor_empty_cl_81() {
    let (here, ours) = (TempRoot::new(), OurServer::start());
    here.write("tree/a", b"own");
    deploy(&[], &here.join("tree"), &ours.url("www")).exited(0);
    let list = fs::read(ours.root.join("www").join(LIST)).unwrap();
    here.write("tree/b", b"new");
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MDTM\r\n SIZE\r\n211 end")),
        ("PWD", Act::Say("257 \"/\"")),
        ("MLSD", Act::Say("550 no")),
        ("LIST", Act::Say("550 no")),
        ("RETR", Act::Send("150 list", list, "226 done")),
        ("SIZE www/a", Act::Say("213 3")),
        ("SIZE www/b", Act::Say("213 7")),
        ("MDTM", Act::Say("550 no")),
        ("MKD", Act::Say("550 exists")),
    ]);
    let ran = deploy(&["--create-dirs", "--retry", "0"], &here.join("tree"), &peer.url("www"));
    ran.exited(12);
    assert!(has(&ran, "b: not copied: the server has a file of this name"), "{ran:?}");
    assert!(!peer.seen().contains("STOR www/b"), "{}", peer.seen());
}

#[test]
fn a_missing_list_may_be_refused_with_551_as_ftp_srv_does() {
    let refuses = vec![("RETR t/.ftp-cli-manifest.json.new", "551 ENOENT")];
    let (here, server) =
        (TempRoot::new(), FoldingServer::start(Kind { refuses, ..Kind::default() }));
    server.mkdir("t");
    for number in 0..2 {
        here.write("tree/a", content(number).as_bytes());
        deploy(&[], &here.join("tree"), &server.url("t")).exited(0);
        assert_eq!(server.read("t/a").as_deref(), Some(content(number).as_bytes()));
    }
    assert!(server.seen().iter().any(|line| line.ends_with(".json.new")), "{:?}", server.seen());
}

#[test]
fn a_list_that_is_not_whole_deletes_nothing_and_proves_nothing_cl_81() {
    with_servers(|_, site| {
        at_once(4, ["cut", "missing", "empty", "newer"], |damage| {
            let here = TempRoot::new();
            let source = here.join("tree");
            for number in 0..4 {
                here.write(format!("tree/{number}"), content(number).as_bytes());
            }
            let (top, url) = (format!("www-{damage}"), site.url(format!("www-{damage}")));
            here.write("tree/old", b"stays");
            deploy(&[], &source, &url).exited(0);
            fs::remove_file(source.join("old")).unwrap();
            // The same size as before, so only the content tells.
            let (path, wrong) = (site.root.join(format!("{top}/{LIST}")), content(9));
            site.root.write(format!("{top}/3"), wrong.as_bytes());
            let text = fs::read_to_string(&path).unwrap();
            match damage {
                "cut" => fs::write(&path, &text[..text.len() / 2]),
                "missing" => fs::remove_file(&path),
                "empty" => fs::write(&path, ""),
                _ => fs::write(&path, text.replace("\"version\":1", "\"version\":2")),
            }
            .unwrap();
            let ran = deploy(&["--delete"], &source, &url);
            ran.exited(0);
            assert!(has(&ran, "files are compared without it, and none is deleted"), "{ran:?}");
            let mut want = contents(&source);
            want.insert("old".to_owned(), "stays".to_owned());
            assert_eq!(contents(&site.root.join(&top)), want, "{damage}");
            assert!(uploads(&ran).contains(&format!("{top}/3")), "{ran:?}");
            // Now the list is whole, and does not name what is not of this source.
            let ran = deploy(&["--delete"], &source, &url);
            ran.exited(0);
            assert!(!has(&ran, "> STOR") && !has(&ran, "> DELE"), "{damage}: {ran:?}");
        });
    });
    // With digests of the server, only what differs is sent.
    let (server, here) = (OurServer::start(), TempRoot::new());
    for name in ["a", "b", "c"] {
        here.write(format!("tree/{name}"), b"12345");
        server.root.write(format!("www/{name}"), if name == "b" { b"1234x" } else { b"12345" });
    }
    let ran = deploy(&[], &here.join("tree"), &server.url("www"));
    ran.exited(0);
    assert_eq!(uploads(&ran), ["www/b"]);
}

#[test]
fn excluded_files_are_neither_sent_nor_deleted_and_no_source_takes_the_name_of_the_list_cl_81() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let (source, url) = (here.join("tree"), server.url("www"));
    for name in ["a", "b", "logs/x"] {
        here.write(format!("tree/{name}"), b"deployed");
    }
    let options = ["--manifest=list.json", "--delete"];
    for name in ["list.json", "list.json.new", "list.json/x"] {
        let path = here.write(format!("tree/{name}"), b"deployed");
        let ran = mirror(&options, shown(&source), &url);
        failed(
            &ran,
            2,
            ": exists in the source, but is the name of the list in the target; choose another name",
        );
        mirror(&[&options[..], &["--exclude", "list.json*"]].concat(), shown(&source), &url)
            .exited(0);
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir(source.join("list.json")).unwrap();
    mirror(&options, shown(&source), &url).exited(0);
    let list = String::from_utf8(server.root.read("www/list.json")).unwrap();
    assert!(list.contains("\"path\":\"logs/x\"") && !list.contains("list.json"), "{list}");
    assert!(!server.root.join("www/list.json.new").exists());
    here.write("tree/logs/x", b"changed here");
    fs::remove_file(source.join("a")).unwrap();
    mirror(&[&options[..], &["--exclude", "logs/"]].concat(), shown(&source), &url).exited(0);
    assert_eq!(server.root.read("www/logs/x"), b"deployed");
    // Which is told, as is a history that anybody may read.
    server.root.write("www/b.d/.git/HEAD", b"ref: refs/heads/main");
    here.mkdir("tree/b.d");
    let ran = mirror(&[&options[..], &["--exclude", "logs/"]].concat(), shown(&source), &url);
    ran.exited(0);
    for words in [
        "logs: is still in the target: left out now",
        "b.d/.git: is still in the target: others may",
    ] {
        assert!(has(&ran, words), "{words}: {ran:?}");
    }
    assert!(!server.root.join("www/a").exists() && server.root.join("www/list.json").exists());
    // The deploy still owns what it stored there.
    fs::remove_dir_all(source.join("logs")).unwrap();
    mirror(&options, shown(&source), &url).exited(0);
    assert!(!server.root.join("www/logs").exists());
    // A file that is no list is never replaced by one.
    here.write("tree/c", b"deployed");
    let other = server.root.write("www/package.json", b"{}");
    let ran = mirror(&["--manifest=package.json"], shown(&source), &url);
    failed(
        &ran,
        2,
        "--manifest: package.json: exists in the target, and is not a list of uploaded files",
    );
    assert_eq!(fs::read(other).unwrap(), b"{}");
    let next = server.root.write("www/mine.new", b"precious");
    let ran = mirror(&["--manifest=mine"], shown(&source), &url);
    failed(
        &ran,
        2,
        "--manifest: mine.new: exists in the target, and is not a list of uploaded files",
    );
    assert_eq!(fs::read(next).unwrap(), b"precious");
    assert!(!server.root.join("www/c").exists());
    // What makes no sense is refused before anything is sent.
    let down = mirror(&["--manifest"], &url, shown(&here.join("down")));
    failed(&down, 2, "--manifest applies only to uploads");
    let slash = mirror(&["--manifest=a/b"], shown(&source), &url);
    failed(&slash, 2, "--manifest: a/b: is not a valid name");
    let moves = mirror(&["--manifest", "--remove-source"], shown(&source), &url);
    failed(&moves, 2, "--remove-source and --manifest exclude each other");
    failed(&mirror(&["--force"], shown(&source), &url), 2, "--force needs --manifest");
}

/// A control connection that stops at the command with a number, counted over all connections.
struct Gate {
    address: SocketAddr,
    stopped: Receiver<()>,
    go: Sender<()>,
}

/// What happens to the command at which a gate stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    /// The server does not get it.
    Before,
    /// The server carries it out; the client gets no reply any more.
    After,
    /// The server gets it later, and the client its reply.
    Hold,
}

impl Gate {
    fn start(server: SocketAddr, at: usize, stop: Stop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((tell, stopped), (go, wait)) = (channel(), channel());
        let (seen, wait) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(wait)));
        // Ends with the test.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (seen, wait, tell) = (Arc::clone(&seen), Arc::clone(&wait), tell.clone());
                thread::spawn(move || {
                    let client = client.unwrap();
                    let server = TcpStream::connect(server).unwrap();
                    let _ = pass(&client, &server, (&seen, at, stop), &tell, &wait);
                });
            }
        });
        Self { address, stopped, go }
    }
}

/// Passes commands and replies on, up to the one at which the gate stops.
fn pass(
    client: &TcpStream,
    server: &TcpStream,
    (seen, at, stop): (&AtomicUsize, usize, Stop),
    tell: &Sender<()>,
    wait: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let is_mute = Arc::new(AtomicBool::new(false));
    let mutes = Arc::clone(&is_mute);
    let replies = thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !mutes.load(Ordering::SeqCst) {
                let _ = to.write_all(&bytes[..count]);
            }
        }
        if !mutes.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
    let (mut server, mut lines) = (server, BufReader::new(client));
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            let _ = server.shutdown(Shutdown::Write);
            let _ = replies.join();
            return Ok(());
        }
        if seen.fetch_add(1, Ordering::SeqCst) + 1 == at {
            match stop {
                Stop::Hold => {
                    let _ = tell.send(());
                    let _ = wait.lock().unwrap().recv();
                }
                Stop::Before | Stop::After => {
                    is_mute.store(true, Ordering::SeqCst);
                    if stop == Stop::After {
                        server.write_all(&line)?;
                    }
                    let _ = tell.send(());
                    // The client is killed now, and the server notices the end.
                    let _ = lines.read_to_end(&mut Vec::new());
                    let _ = server.shutdown(Shutdown::Write);
                    let _ = replies.join();
                    return Ok(());
                }
            }
        }
        server.write_all(&line)?;
    }
}

/// Starts a deploy through a gate.
fn start(gate: &Gate, server: SocketAddr, source: &Path, url: &str) -> Running {
    let url = url.replace(&server.to_string(), &gate.address.to_string());
    let mut command = ftp(&["mirror", "--manifest", "--delete", "-j", "1", "--quiet"]);
    let command = command.arg(source).arg(url);
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

const ENOUGH: Duration = Duration::from_secs(60);

/// Writes two versions of a source, between which a file becomes a directory and the reverse.
fn two_versions(here: &TempRoot) {
    let first = [
        ("a", "first a"),
        ("sub/same", "the same"),
        ("sub/longer", "short"),
        ("gone/x", "is removed"),
        ("moved/m", "has a content of its own"),
        ("kind", "was a file"),
        ("other/kind", "was in a directory"),
    ];
    let second = [
        ("a", "other a"),
        ("sub/same", "the same"),
        ("sub/longer", "this is longer now"),
        ("new/m2", "has a content of its own"),
        ("new/n", "is new"),
        ("kind/file", "is in a directory"),
        ("other", "is a file"),
    ];
    for (top, files) in [("one", first), ("two", second)] {
        for (number, (name, content)) in files.iter().enumerate() {
            let path = here.write(format!("{top}/{name}"), content.as_bytes());
            age(&path, 5 + number as u64 + files.len() as u64 * u64::from(top == "one"));
        }
    }
}

/// Deploys the first version, and adds a file of somebody else.
fn deploy_base(site: &Site, here: &TempRoot) {
    deploy(&[], &here.join("one"), &site.url("base")).exited(0);
    site.root.write("base/uploads/photo", b"of a user");
}

/// Copies the deployed base with its times.
fn copy_base(site: &Site, top: &str) {
    let mut copy = Command::new("cp");
    run(copy.arg("-a").arg(site.root.join("base")).arg(site.root.join(top))).exited(0);
}

fn wanted(source: &Path) -> BTreeMap<String, String> {
    let mut want = contents(source);
    want.insert("uploads/photo".to_owned(), "of a user".to_owned());
    want
}

/// The kills at all commands are shared among the servers: each command with one, before or after.
#[test]
fn a_deploy_that_is_killed_at_any_command_is_completed_by_the_next_one_at_scale_cl_81() {
    let first = ["ours", "vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"];
    with_servers(|name, site| {
        let here = TempRoot::new();
        two_versions(&here);
        deploy_base(site, &here);
        let source = here.join("two");
        let want = wanted(&source);
        let at = first.iter().position(|other| *other == name).unwrap();
        for (stop, turn) in [(Stop::Before, at), (Stop::After, first.len() + at)] {
            let mut killed = 0;
            for number in (1 + count(turn, 0)..).step_by(count(2 * first.len(), 1)) {
                let top = format!("{stop:?}{number}");
                copy_base(site, &top);
                let gate = Gate::start(site.address, number, stop);
                let mut running = start(&gate, site.address, &source, &site.url(&top));
                let reached = running.wait_until(ENOUGH, || gate.stopped.try_recv().ok());
                // A run that ended first has sent fewer commands.
                if reached.is_err() {
                    assert!(number > 20, "{reached:?}");
                    break;
                }
                drop(running);
                killed += 1;
                let shown = format!("{name} {stop:?} at command {number}");
                let ran = deploy(&["--delete", "--retry", "3"], &source, &site.url(&top));
                assert_eq!(ran.code(), Some(0), "{shown}: {ran:?}");
                assert_eq!(contents(&site.root.join(&top)), want, "{shown}: {ran:?}");
                let ran = deploy(&["--delete"], &source, &site.url(&top));
                assert_eq!(ran.code(), Some(0), "{shown}: {ran:?}");
                assert!(!has(&ran, "> STOR") && !has(&ran, "> DELE"), "{shown}: {ran:?}");
                fs::remove_dir_all(site.root.join(&top)).unwrap();
            }
            assert!(killed >= count(3, 30), "{name}: {killed}");
        }
    });
}

#[test]
fn a_server_that_renames_onto_no_file_or_none_at_all_always_has_a_list_at_scale_cl_81() {
    let here = TempRoot::new();
    two_versions(&here);
    let source = here.join("two");
    let want: Vec<String> = wanted(&source).into_values().collect();
    at_once(2, [vec![], vec![("RNFR", "550 not allowed")]], |refuses| {
        let kind = Kind { keeps_targets: true, refuses, ..Kind::default() };
        let mut killed = 0;
        for number in (1..).step_by(count(12, 1)) {
            let server = FoldingServer::start(kind.clone());
            let url = server.url("www");
            deploy(&[], &here.join("one"), &url).exited(0);
            server.write("www/uploads/photo", b"of a user");
            let address = url["ftp://".len()..url.len() - "/www".len()].parse().unwrap();
            let gate = Gate::start(address, number, Stop::After);
            let mut running = start(&gate, address, &source, &url);
            if running.wait_until(ENOUGH, || gate.stopped.try_recv().ok()).is_err() {
                break;
            }
            drop(running);
            killed += 1;
            let ran = deploy(&["--delete"], &source, &url);
            let shown = format!("{kind:?} at command {number}: {ran:?}");
            assert_eq!(ran.code(), Some(0), "{shown}");
            assert!(!has(&ran, "files are compared without it"), "{shown}");
            let files = server.files().into_iter().filter(|(name, _)| !name.starts_with(LIST));
            let mut there: Vec<String> = files.map(|(_, content)| content).collect();
            let mut want = want.clone();
            there.sort();
            want.sort();
            assert_eq!(there, want, "{shown}");
            let ran = deploy(&["--delete"], &source, &url);
            assert_eq!(ran.code(), Some(0), "{shown}");
            assert!(!has(&ran, "> STOR") && !has(&ran, "> DELE"), "{shown} {ran:?}");
        }
        assert!(killed > count(2, 30), "{killed}");
    });
}

#[test]
fn two_deploys_at_once_notice_each_other_and_lose_nothing_at_scale_cl_81() {
    let (site, here) = (OurServer::start(), TempRoot::new());
    two_versions(&here);
    deploy_base(&site, &here);
    // The other source has files of the same names and sizes, and one more.
    for (name, content) in
        [("a", "third a"), ("sub/same", "the SAME"), ("new/n", "is old"), ("more", "too")]
    {
        age(&here.write(format!("three/{name}"), content.as_bytes()), 3);
    }
    let (mine, theirs) = (here.join("two"), here.join("three"));
    let mut noticed = 0;
    for number in (1..).step_by(count(10, 1)) {
        let top = format!("hold{number}");
        copy_base(&site, &top);
        let gate = Gate::start(site.address, number, Stop::Hold);
        let mut running = start(&gate, site.address, &mine, &site.url(&top));
        if running.wait_until(ENOUGH, || gate.stopped.try_recv().ok()).is_err() {
            assert!(number > 20, "{number}");
            break;
        }
        let other = deploy(&["--delete"], &theirs, &site.url(&top));
        gate.go.send(()).unwrap();
        let status = running.wait(Instant::now() + ENOUGH).unwrap();
        noticed += usize::from(status.code() != Some(0));
        let shown = format!("held at command {number}, {status}, {other:?}");
        // After both have ended, my files are there at last, unless the run says which are not.
        let mut ran = deploy(&["--delete"], &mine, &site.url(&top));
        if ran.code() != Some(0) {
            assert!(
                has(&ran, "changed on the server") || has(&ran, "delete it yourself"),
                "{ran:?}"
            );
            ran = deploy(&["--delete", "--force"], &mine, &site.url(&top));
        }
        assert_eq!(ran.code(), Some(0), "{shown}: {ran:?}");
        let mut there = contents(&site.root.join(&top));
        there.remove("more");
        assert_eq!(there, wanted(&mine), "{shown}: {ran:?}");
        let ran = deploy(&["--delete"], &mine, &site.url(&top));
        assert_eq!(ran.code(), Some(0), "{shown}: {ran:?}");
        assert!(uploads(&ran).is_empty(), "{shown}: {ran:?}");
        fs::remove_dir_all(site.root.join(&top)).unwrap();
    }
    assert!(noticed > count(0, 12), "{noticed}");
}

#[test]
fn a_deploy_that_only_deletes_stops_if_another_one_has_begun_cl_81() {
    let (site, here) = (OurServer::start(), TempRoot::new());
    for name in ["a", "old"] {
        age(&here.write(format!("one/{name}"), b"first"), 9);
        age(&here.write(format!("three/{name}"), b"third"), 3);
    }
    age(&here.write("two/a", b"first"), 9);
    deploy_base(&site, &here);
    let mut stopped = 0;
    for number in 1.. {
        let top = format!("hold{number}");
        copy_base(&site, &top);
        let gate = Gate::start(site.address, number, Stop::Hold);
        let mut running = start(&gate, site.address, &here.join("two"), &site.url(&top));
        if running.wait_until(ENOUGH, || gate.stopped.try_recv().ok()).is_err() {
            break;
        }
        let other = deploy(&["--delete"], &here.join("three"), &site.url(&top));
        gate.go.send(()).unwrap();
        let status = running.wait(Instant::now() + ENOUGH).unwrap();
        let there = contents(&site.root.join(&top));
        match status.code() {
            Some(15) => {
                stopped += 1;
                other.exited(0);
                assert_eq!(there["old"], "third", "{number}");
            }
            // Held before it has read the list, or after it has announced itself.
            code => assert!(matches!(code, Some(0 | 12)), "{number}: {status}"),
        }
    }
    assert!(stopped > 2, "{stopped}");
}

#[test]
fn the_list_names_what_was_sent_although_it_changed_after_it_was_read_cl_81() {
    // Each run waits until the new files can change no more without another time.
    const AT_ONCE: usize = 8;
    let changed = at_once(AT_ONCE, 1..=AT_ONCE, |first| {
        let (site, here) = (OurServer::start(), TempRoot::new());
        let (source, mut changed) = (here.join("tree"), 0);
        for number in (first..).step_by(AT_ONCE) {
            age(&here.write("tree/a", b"as planned"), 9);
            let url = site.url(format!("www{number}"));
            let gate = Gate::start(site.address, number, Stop::Hold);
            let mut running = start(&gate, site.address, &source, &url);
            if running.wait_until(ENOUGH, || gate.stopped.try_recv().ok()).is_err() {
                break;
            }
            here.write("tree/a", b"and changed before it was sent");
            gate.go.send(()).unwrap();
            let status = running.wait(Instant::now() + ENOUGH).unwrap();
            let there = fs::read_to_string(site.root.join(format!("www{number}/a")));
            changed += usize::from(there.is_ok_and(|there| there.starts_with("and")));
            let ran = deploy(&["--delete"], &source, &url);
            assert_eq!(ran.code(), Some(0), "{number}: {status} {ran:?}");
            let ran = deploy(&["--delete"], &source, &url);
            assert!(!has(&ran, "> STOR"), "{number}: {status} {ran:?}");
            assert_eq!(contents(&source), contents(&site.root.join(format!("www{number}"))));
        }
        changed
    });
    let changed: usize = changed.into_iter().sum();
    assert!(changed > 10, "{changed}");
}

#[test]
fn what_others_change_while_a_deploy_runs_is_told_and_stays_cl_81() {
    const EDIT: &[u8] = b"edited there";
    let (site, here) = (OurServer::start(), TempRoot::new());
    for name in ["a", "b"] {
        age(&here.write(format!("tree/{name}"), b"as it is now"), 9);
    }
    let (source, mut edits) = (here.join("tree"), 0);
    let own = fs::metadata(source.join("a")).unwrap().modified().unwrap();
    for number in 1.. {
        let (url, there) =
            (site.url(format!("www{number}")), site.root.join(format!("www{number}/a")));
        let gate = Gate::start(site.address, number, Stop::Hold);
        let mut running = start(&gate, site.address, &source, &url);
        if running.wait_until(ENOUGH, || gate.stopped.try_recv().ok()).is_err() {
            break;
        }
        let is_stored = there.exists();
        if is_stored {
            fs::write(&there, EDIT).unwrap();
        }
        gate.go.send(()).unwrap();
        let status = running.wait(Instant::now() + ENOUGH).unwrap();
        // The time that the upload was to get can still come after the edit.
        let is_timed = fs::metadata(&there).unwrap().modified().unwrap() == own;
        if is_stored && !is_timed {
            edits += 1;
            for _ in 0..2 {
                let ran = deploy(&["--delete"], &source, &url);
                assert!(matches!(status.code(), Some(0 | 12)), "{number}: {status}");
                assert_eq!(ran.code(), Some(12), "{number}: {status} {ran:?}");
                assert!(has(&ran, "changed on the server"), "{number}: {ran:?}");
                assert_eq!(fs::read(&there).unwrap(), EDIT, "{number}: {ran:?}");
            }
        }
    }
    assert!(edits > 2, "{edits}");
}

#[test]
fn a_name_that_changes_only_in_case_loses_nothing_where_case_makes_no_difference_cl_81() {
    for (shown, kind) in Kind::folding().into_iter().filter(|(_, kind)| kind.no_case) {
        let (server, here) = (FoldingServer::start(kind), TempRoot::new());
        let (source, url) = (here.join("tree"), server.url("www"));
        for name in ["Readme", "Sub/File", "Sub/changed"] {
            age(&here.write(format!("tree/{name}"), name.as_bytes()), 9);
        }
        deploy(&[], &source, &url).exited(0);
        fs::remove_dir_all(&source).unwrap();
        for (name, content) in
            [("README", "Readme"), ("sub/file", "Sub/File"), ("sub/CHANGED", "changed here")]
        {
            age(&here.write(format!("tree/{name}"), content.as_bytes()), 9);
        }
        for run in 0..3 {
            let ran = deploy(&["--delete"], &source, &url);
            let shown = format!("{shown} {run} {ran:?}");
            for name in ["README", "sub/file"] {
                let there = server.read(&format!("www/{name}"));
                assert_eq!(there.unwrap(), here.read(format!("tree/{name}")), "{shown}");
            }
            assert!(ran.code() == Some(0) || shown.contains("cut"), "{shown}");
            // The second run learns the time that the server lists.
            assert!(run < 2 || !has(&ran, "> STOR") || shown.contains("cut"), "{shown}");
        }
    }
}

#[test]
fn files_that_all_differ_are_told_as_such_and_exit_with_12_cl_81() {
    for (names, options) in
        [(&["a"][..], &[][..]), (&["a", "b"], &["--exclude", "c"]), (&["a", "b"], &["--dry-run"])]
    {
        let (server, here) = (OurServer::start(), TempRoot::new());
        for name in ["a", "b", "c"] {
            here.write(format!("tree/{name}"), b"of SRC");
        }
        for name in names {
            server.root.write(format!("www/{name}"), b"of somebody");
        }
        let source = here.join("tree");
        deploy(&["--exclude", "*"], &source, &server.url("www")).exited(0);
        let keep = if names.len() == 1 { &["--include", "a"][..] } else { &["--exclude", "c"] };
        let ran = deploy(&[options, keep].concat(), &source, &server.url("www"));
        ran.exited(12);
        assert!(!has(&ran, "no file is selected"), "{ran:?}");
        assert!(has(&ran, "a: not copied: the server has a file of this name"), "{ran:?}");
    }
}

#[test]
fn a_mirror_that_would_delete_the_list_of_a_deploy_is_refused_cl_81() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("tree/a", b"deployed");
    let (source, url) = (here.join("tree"), server.url("www"));
    deploy(&[], &source, &url).exited(0);
    server.root.write("www/photo", b"of a user");
    for options in [&["--delete", "--dry-run"][..], &["--delete"]] {
        let ran = mirror(options, shown(&source), &url);
        failed(
            &ran,
            2,
            "manifest.json: the directory belongs to a deploy (it has a manifest); nothing was done",
        );
    }
    // A mirror to the directory above would remove what the deploy spares, too.
    here.mkdir("above/www");
    let above = here.join("above");
    let ran = mirror(&["--delete"], shown(&above), &server.url(""));
    failed(&ran, 2, "www/.ftp-cli-manifest.json: the directory belongs to a deploy");
    let ran = run(ftp(&["get", "-r", &url, "back"]).current_dir(here.path()));
    assert!(has(&ran, "manifest.json: skipped: the list of a deploy"), "{ran:?}");
    assert!(server.root.join("www/photo").exists());
    deploy(&["--delete"], &source, &url).exited(0);
    assert!(server.root.join("www/photo").exists());
    mirror(&["--delete", "--exclude", LIST], shown(&source), &url).exited(0);
    assert!(!server.root.join("www/photo").exists() && server.root.join("www").join(LIST).exists());
}

#[test]
fn nothing_is_taken_from_where_a_link_of_the_server_leads_cl_81_hc_08() {
    with_servers(|_, site| {
        let here = TempRoot::new();
        let (source, url) = (here.join("tree"), site.url("www"));
        for name in ["kept", "d/a", "d/e/b"] {
            here.write(format!("tree/{name}"), name.as_bytes());
        }
        deploy(&[], &source, &url).exited(0);
        // Somebody moves the directory to another disk.
        fs::rename(site.root.join("www/d"), site.root.join("elsewhere")).unwrap();
        symlink("../elsewhere", site.root.join("www/d")).unwrap();
        fs::rename(source.join("d"), source.join("n")).unwrap();
        let ran = deploy(&["--delete"], &source, &url);
        assert!(matches!(ran.code(), Some(0 | 8 | 12)), "{ran:?}");
        for (name, content) in [("elsewhere/a", "d/a"), ("elsewhere/e/b", "d/e/b")] {
            assert_eq!(site.root.read(name), content.as_bytes(), "{ran:?}");
        }
        assert_eq!(site.root.read("www/n/a"), b"d/a");
    });
}
