//! `mirror --reuse-data` to a server: uploads that are requested ahead, and what goes wrong with one
//! of them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use ftp_server::{NamePattern, Server, ServerConfig};
use ftp_tests::content::binary;
use ftp_tests::process::{LIMIT, Ran, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::ftp;
use crate::mirror::tree;
use crate::relay::Relay;
use crate::serve::Served;

/// The number of small files in a tree.
const FILES: usize = 100;

/// Fills `src` with small files, some in other directories, and a large one among them.
fn fill(here: &TempRoot, files: usize) {
    for number in 0..files {
        let size = if number == 45 { 200_000 } else { number };
        let path = format!("src/{}/{number:03}", number / 60);
        age(&here.write(path, &binary(size, number as u64)));
    }
}

/// Gives a file a time that no upload gives it.
fn age(path: &Path) {
    let file = OpenOptions::new().append(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

/// Returns the command that mirrors `src` to `www`.
fn mirror(here: &TempRoot, login: &str, address: SocketAddr, options: &[&str]) -> Command {
    let mut command = ftp(&["mirror", "--reuse-data", "-j", "1"]);
    command.args(options).arg("src").arg(format!("ftp://{login}@{address}/www"));
    command.current_dir(here.path());
    command
}

fn to_ours(here: &TempRoot, site: &Site, address: SocketAddr, options: &[&str]) -> Command {
    let mut command = mirror(here, site.user, address, options);
    command.env("FTP_PASSWORD", site.password);
    command
}

/// Returns the paths of all files of `src`, and of those that `www` has with content and time.
/// Fails if another file has a part of its content.
fn compare(here: &TempRoot, root: &TempRoot) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let source = tree(&here.join("src"));
    let target = tree(&root.join("www"));
    let all = source.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path.clone());
    let mut same = BTreeSet::new();
    for (path, file) in target {
        let Some((content, time)) = file else { continue };
        let Some((_, Some((want, wanted)))) = source.iter().find(|(known, _)| *known == path)
        else {
            continue;
        };
        assert!(content == *want, "{}: {} bytes", path.display(), content.len());
        if time == *wanted {
            same.insert(path);
        }
    }
    (all.collect(), same)
}

fn messages(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

#[test]
fn an_upload_with_its_time_costs_one_flight_cl_76() {
    let flights = |files: usize| {
        let (server, here) = (OurServer::start(), TempRoot::new());
        let relay = Relay::to(server.address);
        // The listing of a missing directory asks for a data connection that is never opened.
        server.root.mkdir("www");
        for number in 0..files {
            let file = here.write(format!("src/{number:03}"), b"content");
            // A file of this second is waited for.
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        }
        let ran = run(&mut to_ours(&here, &server, relay.address, &["--json"]));
        ran.exited(0);
        let events = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(events.matches("\"action\":\"copied\"").count(), files, "{events}");
        assert_eq!(tree(&server.root.join("www")), tree(&here.join("src")));
        ftp_tests::wait::wait_until("the QUIT", || relay.count("QUIT") > 0);
        assert_eq!((relay.count("EPSV"), relay.count("STOR")), (1, files));
        relay.take_flights()
    };
    assert_eq!(flights(96) - flights(64), 32);
}

#[test]
fn one_bad_file_among_many_fails_alone_cl_76() {
    let config = ServerConfig::new().deny_names(vec![NamePattern::parse(b"*.exe").unwrap()]);
    let server = OurServer::built(Server::builder().config(config));
    let here = TempRoot::new();
    fill(&here, FILES);
    here.write("src/0/020.exe", b"refused");
    let source = here.join("src");
    let relay = Relay::watched(server.address, move |line| {
        match line {
            // This file is open already: what it has now is sent.
            "STOR www/0/030" => {
                let path = source.join("0/030");
                let mut file = OpenOptions::new().append(true).open(&path).unwrap();
                file.write_all(b"more").unwrap();
                age(&path);
            }
            "STOR www/0/035" => fs::remove_file(source.join("0/050")).unwrap(),
            _ => {}
        }
    });
    let ran = run(&mut to_ours(&here, &server, relay.address, &[]));
    ran.exited(12);
    let said = messages(&ran);
    for reason in [
        "020.exe: STOR refused: 553",
        "0/050: No such file",
        &format!("{} of {} objects mirrored, 2 failed, 0 not tried", FILES + 1, FILES + 3),
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let (all, same) = compare(&here, &server.root);
    let missing: Vec<_> = all.difference(&same).map(|path| path.display().to_string()).collect();
    assert_eq!(missing, ["0/020.exe"]);
    // The next run has nothing to send.
    fs::remove_file(here.join("src/0/020.exe")).unwrap();
    let relay = Relay::to(server.address);
    run(&mut to_ours(&here, &server, relay.address, &[])).exited(0);
    assert_eq!(relay.count("STOR"), 0);
    assert_eq!(tree(&server.root.join("www")), tree(&here.join("src")));
}

#[test]
fn no_time_is_set_on_a_file_that_another_user_stores_during_the_next_upload_cl_76() {
    // The second file is large, or the sources are removed.
    for (size, moves) in [(200_000, false), (9, true)] {
        let (server, here) = (OurServer::start(), TempRoot::new());
        server.root.mkdir("www");
        for name in ["a", "b", "c"] {
            age(&here.write(format!("src/{name}"), name.as_bytes()));
        }
        age(&here.write("src/d", &binary(size, 4)));
        let theirs = server.root.join("www/c");
        let relay = Relay::watched(server.address, move |line| {
            if line == "STOR www/d" {
                fs::write(&theirs, b"C").unwrap();
            }
        });
        let options: &[&str] = if moves { &["--remove-source"] } else { &[] };
        let ran = run(&mut to_ours(&here, &server, relay.address, options));
        assert_eq!(ran.code(), Some(if moves { 12 } else { 0 }), "{ran:?}");
        assert_eq!(server.root.read("www/c"), b"C", "{ran:?}");
        assert_eq!(here.read("src/c"), b"c", "{ran:?}");
        if !moves {
            run(&mut to_ours(&here, &server, server.address, &[])).exited(0);
            assert_eq!(server.root.read("www/c"), b"c");
        }
    }
}

#[test]
fn sources_are_removed_only_if_the_server_has_them_cl_76() {
    let server = OurServer::start();
    let here = TempRoot::new();
    fill(&here, FILES);
    let before = tree(&here.join("src"));
    let source = here.join("src");
    let relay = Relay::watched(server.address, move |line| {
        if line == "STOR www/0/030" {
            fs::write(source.join("0/030"), b"changed").unwrap();
        }
    });
    let ran = run(&mut to_ours(&here, &server, relay.address, &["--remove-source"]));
    ran.exited(12);
    let left: Vec<_> = tree(&here.join("src")).into_iter().filter(|(_, f)| f.is_some()).collect();
    assert_eq!(left.len(), 1, "{}", messages(&ran));
    assert_eq!(left[0].0, PathBuf::from("0/030"));
    let stored = tree(&server.root.join("www"));
    for object in before.iter().filter(|(path, _)| *path != left[0].0) {
        assert!(stored.contains(object), "{}", object.0.display());
    }
}

/// Mirrors through a relay until the server gets this command, then calls `stop` with the client,
/// and returns the client's exit code.
fn until(
    here: &TempRoot,
    server: SocketAddr,
    command: &'static str,
    stop: impl FnOnce(&Running),
) -> Option<i32> {
    let (seen, at_command) = mpsc::channel();
    let (go, stopped) = mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    let relay = Relay::watched(server, move |line| {
        if line == command {
            seen.send(()).unwrap();
            // Later commands of a client that is retried do not wait.
            let _ = stopped.lock().unwrap().recv();
        }
    });
    let mut command = mirror(here, "u:p", relay.address, &["-q"]);
    let mut client = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    at_command.recv_timeout(LIMIT).expect("the command comes");
    stop(&client);
    drop(go);
    client.wait(Instant::now() + LIMIT).expect("it ends in time").code()
}

/// Completes an interrupted mirror. Files that have their times are not sent again, and at most two
/// others are.
fn complete(here: &TempRoot, root: &TempRoot, server: SocketAddr, sent: usize) {
    let (all, same) = compare(here, root);
    // Until it notices a signal, the client goes on.
    assert!(same.len() >= sent - 2, "{} of {sent}", same.len());
    let relay = Relay::to(server);
    run(&mut mirror(here, "u:p", relay.address, &[])).exited(0);
    // The server may still have completed a file after the comparison, and a test file shows whether
    // it sets times.
    assert!(relay.count("STOR") <= all.len() - same.len() + 1, "{} files", relay.count("STOR"));
    assert_eq!(tree(&root.join("www")), tree(&here.join("src")));
}

const SERVE: [&str; 3] = ["--user", "u:p", "--write"];

#[test]
fn a_mirror_to_a_killed_server_is_completed_by_the_next_run_cl_76() {
    for command in ["STOR www/0/040", "SIZE www/1/063", "SIZE www/1/070"] {
        let (root, here) = (TempRoot::new(), TempRoot::new());
        fill(&here, FILES);
        let sent: usize = command[command.len() - 3..].parse().unwrap();
        let served = Served::start(&root, &SERVE);
        let code = until(&here, served.address, command, |_| served.signal("KILL"));
        assert!(code.is_some_and(|code| code != 0), "{command}: {code:?}");
        drop(served);
        let again = Served::start(&root, &SERVE);
        complete(&here, &root, again.address, sent);
    }
}

#[test]
fn a_mirror_ended_by_a_signal_is_completed_by_the_next_run_cl_76() {
    for command in ["STOR www/0/040", "SIZE www/1/070"] {
        let (root, here) = (TempRoot::new(), TempRoot::new());
        fill(&here, FILES);
        let sent: usize = command[command.len() - 3..].parse().unwrap();
        let served = Served::start(&root, &SERVE);
        let code = until(&here, served.address, command, |client| {
            let id = client.child.id().to_string();
            assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
        });
        assert_eq!(code, Some(130), "{command}");
        complete(&here, &root, served.address, sent);
    }
}
