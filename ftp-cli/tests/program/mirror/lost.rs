//! Lost connections and lost replies between the files of a tree.

use std::fs;

use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use super::{mirror, shown};
use crate::ftp;

#[test]
fn a_command_of_a_tree_whose_reply_was_lost_is_judged_by_what_the_server_shows() {
    const RETRY: &[&str] = &["--retry", "1", "--retry-delay", "0s"];
    let (delete, take) = (&["--delete"][..], &["--remove-source"][..]);
    // What is lost, the options, whether the server is the source, and what it has afterwards.
    for (loses, options, is_down, want) in [
        // The target itself, its parents, a directory in it.
        ("MKD", &[][..], false, &["a", "b"][..]),
        ("MKD", &["--create-dirs"], false, &["a", "b"]),
        ("MKD", delete, false, &["a", "b"]),
        ("DELE", delete, false, &["a", "b"]),
        ("RMD", delete, false, &["a", "b"]),
        ("RNTO", &["--temp"], false, &["a", "b"]),
        ("RNTO", &["--backup-dir", "bak"], false, &["a", "a", "b"]),
        ("DELE", take, true, &[]),
    ] {
        let kind = Kind { loses: Some(loses), ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        here.write("up/a", b"new a");
        here.write("up/sub/b", b"b");
        let path = match options {
            ["--create-dirs"] => "p/q/t",
            [] => "t",
            _ => {
                server.write("t/a", b"a");
                "t"
            }
        };
        if options == delete {
            server.write("t/old/x", b"x");
        }
        let options = [options, RETRY].concat();
        let ran = match is_down {
            true => mirror(&options, &server.url(path), shown(&here.join("down"))),
            false => mirror(&options, shown(&here.join("up")), &server.url(path)),
        };
        let case = format!("{loses} {options:?}: {ran:?} {:?}", server.seen());
        assert_eq!(ran.code(), Some(0), "{case}");
        let names: Vec<_> = server.files().into_iter().map(|(name, _)| name).collect();
        let mut names: Vec<_> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, want, "{case}");
        // A file whose rename got no reply is judged by its facts, and not sent again.
        let sent = server.seen().iter().filter(|line| line.starts_with("STOR")).count();
        // With a backup, nothing shows on the new connection that the temporary file is still ours.
        let again = usize::from(options.contains(&"--backup-dir"));
        assert_eq!(sent, if is_down { 0 } else { 2 + again }, "{case}");
    }
}

/// A disk that hangs longer than the client waits: after the run, the server carries out the first command.
#[test]
fn a_command_that_comes_late_destroys_nothing() {
    let backup = &["--backup-dir", "bak"][..];
    // What hangs, the words, the exit code, whether the source goes, and the files afterwards.
    for (hangs, words, exit, is_moved, want) in [
        ("STOR", &["put", "--remove-source", "up/a", "@t/a"][..], 11, false, &["a "][..]),
        ("STOR", &["put", "--temp", "--remove-source", "up/a", "@t/a"], 0, true, &[" ", "a new"]),
        ("STOR", &["put", "--temp", "-c", "up/a", "@t/a"], 0, false, &[" ", "a new"]),
        ("STOR", &["put", "--temp=.in.*", "up/a", "@t/a"], 11, false, &[".in.a ", "a old"]),
        ("STOR", &["mirror", "up", "@t"], 11, false, &["a "]),
        ("STOR", &["mirror", "--temp", "up", "@t"], 0, false, &[" ", "a new"]),
        ("RNTO", &["mirror", "--temp", "up", "@t"], 0, false, &["a new"]),
        ("RNTO", &["mirror", "--temp=.in.*", "up", "@t"], 11, false, &["a new"]),
        ("RNTO", &[&["mirror"], backup, &["up", "@t"]].concat(), 11, false, &[" new", "a old"]),
        ("RNTO", &["mv", "@t/a", "t/b"], 11, false, &["b old"]),
    ] {
        let kind = Kind { hangs: Some(hangs), ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        here.write("up/a", b"new");
        server.write("t/a", b"old");
        let words = words.iter().map(|word| match word.strip_prefix('@') {
            Some(path) => server.url(path),
            None => (*word).to_owned(),
        });
        let words: Vec<_> = words.collect();
        let patience = ["--retry", "1", "--retry-delay", "0s", "--reply-timeout", "1s"];
        let ran = run(ftp(&patience).args(&words).current_dir(here.path()));
        let case = format!("{words:?}: {ran:?} {:?}", server.seen());
        assert_eq!(ran.code(), Some(exit), "{case}");
        assert!(server.wake(), "{case}");
        assert_eq!(here.join("up/a").exists(), !is_moved, "{case}");
        let is_random = |name: &str| name.starts_with(".in.a.") && name.len() > 16;
        let files = server.files().into_iter();
        let files = files.map(|(name, content)| match is_random(&name) {
            true => format!(" {content}"),
            false => format!("{name} {content}"),
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert_eq!(files, want, "{case}");
    }
}

#[test]
fn a_new_source_file_is_not_removed_for_one_whose_removal_got_no_reply() {
    let comes_after = Some(&b"another"[..]);
    let kind = Kind { loses: Some("DELE"), comes_after, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a", b"a");
    let options = ["--remove-source", "--retry", "1", "--retry-delay", "0s"];
    let ran = mirror(&options, &server.url("t"), shown(&here.join("down")));
    assert_ne!(ran.code(), Some(0), "{ran:?}");
    assert_eq!(server.read("t/a").as_deref(), Some(&b"another"[..]), "{ran:?}");
    assert_eq!(fs::read(here.join("down/a")).unwrap(), b"a");
}

#[test]
fn a_new_directory_is_not_removed_for_one_whose_removal_got_no_reply() {
    let comes_after = Some(&b"another"[..]);
    let kind = Kind { loses: Some("RMD"), comes_after, rmd_takes_all: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    here.write("up/a", b"a");
    server.write("t/old/x", b"x");
    let options = ["--delete", "--no-links", "--retry", "1", "--retry-delay", "0s"];
    let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
    ran.exited(12);
    assert_eq!(server.read("t/old/new").as_deref(), Some(&b"another"[..]), "{ran:?}");
}

#[test]
fn a_tree_that_came_after_a_removal_without_a_reply_stays() {
    // The directory itself, and one in it.
    for (removed, exit) in [("t/old", 8), ("t", 8)] {
        let comes_after = Some(&b"another"[..]);
        let kind = Kind { loses: Some("RMD"), comes_after, rmd_takes_all: true, ..Kind::default() };
        let server = FoldingServer::start(kind);
        server.write("t/old/x", b"x");
        let words = ["rm", "-r", "--no-links", "--retry", "1", "--retry-delay", "0s"];
        let ran = run(ftp(&words).arg(server.url(removed)));
        assert_eq!(ran.code(), Some(exit), "{ran:?} {:?}", server.seen());
        assert_eq!(server.read("t/old/new").as_deref(), Some(&b"another"[..]), "{ran:?}");
    }
}

/// A file of the same size and time may be a new one, unless its exact time is older than the run.
#[test]
fn an_extra_whose_removal_got_no_reply_is_removed_again_only_if_it_is_older_than_the_run() {
    for no_mlsd in [true, false] {
        let comes_after = Some(&b"y"[..]);
        let kind = Kind { loses: Some("DELE"), comes_after, no_mlsd, ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        here.write("up/a", b"a");
        server.write("t/x", b"x");
        let options = ["--delete", "--retry", "1", "--retry-delay", "0s"];
        let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
        ran.exited(if no_mlsd { 12 } else { 0 });
        assert_eq!(server.read("t/x").is_some(), no_mlsd, "{ran:?}");
    }
}

#[test]
fn a_removal_that_is_refused_for_now_is_sent_again() {
    for verb in ["DELE", "RMD"] {
        let kind = Kind { refuses: vec![(verb, "450 Busy")], ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        here.write("up/a", b"a");
        server.write("t/old/x", b"x");
        let options = ["--delete", "--no-links", "--retry", "1", "--retry-delay", "0s"];
        let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
        let sent = server.seen().iter().filter(|line| line.starts_with(verb)).count();
        assert_eq!(sent, 2, "{verb}: {ran:?} {:?}", server.seen());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("450 Busy") && !said.contains("no reply"), "{said}");
    }
}

#[test]
fn a_server_that_closes_after_each_third_command_gets_the_whole_tree() {
    for verb in ["MLSD", "LIST", "MKD", "DELE", "RMD", "SIZE", "CWD"] {
        let kind = Kind {
            closes_after_three: Some(verb),
            no_mlsd: ["LIST", "CWD"].contains(&verb),
            ..Kind::default()
        };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        for number in 0..8 {
            here.write(format!("up/d{number}/f"), b"content");
            server.write(&format!("t/e{number}/g"), b"content");
        }
        let options = ["--delete", "--max-delete", "99"];
        let case = |ran: &dyn std::fmt::Debug| format!("{verb}: {ran:?} {:?}", server.seen());
        let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
        // Without exact times, a file whose removal got no reply may be a new one.
        if kind.no_mlsd {
            assert!(matches!(ran.code(), Some(0 | 12)), "{}", case(&ran));
            continue;
        }
        assert_eq!(ran.code(), Some(0), "{}", case(&ran));
        let files = server.files();
        assert!(files.len() == 8 && files.iter().all(|(name, _)| name == "f"), "{}", case(&ran));
        let ran = mirror(&["--remove-source"], &server.url("t"), shown(&here.join("down")));
        assert_eq!(ran.code(), Some(0), "{}", case(&ran));
        assert_eq!(fs::read_dir(here.join("down")).unwrap().count(), 8);
        assert_eq!(server.files().len(), 0, "{}", case(&ran));
    }
}

#[test]
fn a_server_that_ignores_the_argument_of_mlsd_is_mirrored() {
    let kind = Kind { ignores_argument: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("h/t/x", b"x");
    server.write("h/y", b"y");
    server.write("top", b"top");
    mirror(&[], &server.url("h"), shown(&here.join("down"))).exited(0);
    assert_eq!(here.read("down/t/x"), b"x");
    assert_eq!(fs::read_dir(here.join("down")).unwrap().count(), 2);
}

#[test]
fn a_server_that_closes_after_each_third_command_handles_all_urls() {
    for (verb, command, left) in [
        ("DELE", &["rm", "-r", "t"][..], 0),
        ("DELE", &["rm", "t/f*"], 0),
        ("DELE", &["rm", "t/f0", "t/f1", "t/f2", "t/f3", "t/f4", "t/f5", "t/f6"], 1),
        ("MKD", &["mkdir", "m0", "m1", "m2", "m3", "m4", "m5", "m6"], 8),
        ("RMD", &["rmdir", "e0", "e1", "e2", "e3", "e4"], 8),
    ] {
        let server =
            FoldingServer::start(Kind { closes_after_three: Some(verb), ..Kind::default() });
        for number in 0..8 {
            server.write(&format!("t/f{number}"), b"x");
            server.mkdir(&format!("e{number}"));
        }
        let is_path = |word: &&&str| !word.starts_with('-');
        let mut ftp = ftp(&command[..1]);
        ftp.args(command[1..].iter().filter(|word| word.starts_with('-')));
        ftp.args(command[1..].iter().filter(is_path).map(|path| server.url(path)));
        let ran = run(&mut ftp);
        // A file whose DELE comes after the end may be a new one for all that the client knows.
        let is_unclear =
            verb == "DELE" && String::from_utf8_lossy(&ran.stderr).contains("DELE got no reply");
        let (code, more) = (ran.code(), server.files().len() - left);
        let case = format!("{command:?}: {ran:?} {:?}", server.seen());
        assert!(code == Some(0) || is_unclear && code == Some(12), "{case}");
        assert!(more == 0 || is_unclear && more <= 2, "{case}");
    }
}

#[test]
fn a_new_file_is_not_removed_for_one_whose_removal_got_no_reply() {
    for comes_after in [None, Some(&b"another"[..])] {
        let server =
            FoldingServer::start(Kind { loses: Some("DELE"), comes_after, ..Kind::default() });
        server.mkdir("empty");
        server.write("t/a", b"old");
        server.write("t/b", b"b");
        let urls = ["empty", "t/a", "t/b"].map(|path| server.url(path));
        let ran = run(ftp(&["rm", "-r"]).args(urls));
        // Only a name that is gone was provably removed.
        ran.exited(if comes_after.is_some() { 12 } else { 0 });
        assert_eq!(server.read("t/a").as_deref(), comes_after, "{ran:?}");
        assert_eq!(server.read("t/b"), None, "{ran:?}");
    }
}
