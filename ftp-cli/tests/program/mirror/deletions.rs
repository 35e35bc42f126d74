//! What holds back `--delete`, and what does not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use ftp_tests::at_once::at_once;
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;

use super::{mirror, shown};
use crate::ls::peak_of;
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

#[test]
fn a_refused_mkd_holds_back_all_deletions() {
    let refuses = vec![("MKD t/images", "550 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/img/a", b"a");
    server.write("t/docs/old", b"old");
    here.write("up/images/a", b"a");
    here.write("up/docs/new", b"new");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "nothing deleted");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("first failure: t/images: MKD"), "{said}");
    assert!(server.read("t/img/a").is_some() && server.read("t/docs/old").is_some());
    // Directories that the failure does not affect.
    let ran = mirror(&["--delete", "--ignore-errors"], shown(&here.join("up")), &server.url("t"));
    ran.exited(12);
    assert!(server.read("t/img/a").is_some() && server.read("t/docs/old").is_none(), "{ran:?}");
}

#[test]
fn a_refused_copy_holds_back_deletions_everywhere() {
    let refuses = vec![("STOR t/b/new", "553 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a/old", b"old");
    server.write("t/b/old", b"old");
    here.write("up/a/new", b"new");
    here.write("up/b/new", b"new");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "first failure: t/b/new: STOR");
    assert!(server.read("t/a/old").is_some() && server.read("t/b/old").is_some());
    let ran = mirror(&["--delete", "--ignore-errors"], shown(&here.join("up")), &server.url("t"));
    ran.exited(12);
    assert!(server.read("t/a/old").is_none() && server.read("t/b/old").is_some());
}

#[test]
fn an_unread_directory_of_the_source_holds_back_deletions_everywhere() {
    let refuses = vec![("MLSD t/b", "550 no"), ("LIST", "550 no"), ("CWD t/b", "550 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a/new", b"new");
    server.write("t/b/new", b"new");
    for name in ["a/old", "b/old", "old"] {
        here.write(format!("down/{name}"), b"old");
    }
    let ran = mirror(&["--delete"], &server.url("t"), shown(&here.join("down")));
    failed(&ran, 12, "nothing deleted");
    for name in ["a/old", "b/old", "old"] {
        assert!(here.join(format!("down/{name}")).exists(), "{name}");
    }
    let ran = mirror(&["--delete", "--ignore-errors"], &server.url("t"), shown(&here.join("down")));
    ran.exited(12);
    assert!(!here.join("down/a/old").exists());
    assert!(here.join("down/b/old").exists() && here.join("down/old").exists());
}

#[test]
fn a_time_that_cannot_be_set_holds_back_nothing() {
    let refuses = vec![("MFMT", "550 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/old", b"old");
    here.write("up/new", b"new");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    ran.exited(0);
    assert!(server.read("t/old").is_none() && server.read("t/new").is_some(), "{ran:?}");
}

#[test]
fn a_failed_deletion_holds_back_no_other() {
    let refuses = vec![("DELE t/a/x", "550 no")];
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    for name in ["a/x", "a/y", "b/z", "c"] {
        server.write(&format!("t/{name}"), b"old");
    }
    here.write("up/new", b"new");
    for _ in 0..2 {
        let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
        ran.exited(12);
        let names: Vec<String> = server.files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x", "new"], "{ran:?}");
    }
}

#[test]
fn a_dot_name_that_the_source_may_hide_is_kept_with_success() {
    let kind = Kind { hides_dots: true, no_mlsd: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a", b"a");
    here.write("down/.hidden", b"mine");
    here.write("down/old", b"old");
    for _ in 0..2 {
        let ran = mirror(&["--delete"], &server.url("t"), shown(&here.join("down")));
        ran.exited(0);
        assert!(here.join("down/.hidden").exists() && !here.join("down/old").exists());
    }
}

#[test]
fn each_removal_is_printed_and_a_summary_ends_the_run() {
    let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
    let up = here.join("up");
    for (options, is_said) in [(&["--delete"][..], true), (&["--delete", "-q"], false)] {
        here.write("up/a", b"a");
        server.write("t/old/x", b"x");
        let ran = mirror(options, shown(&up), &server.url("t"));
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains("removed old/x"), is_said, "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(last.contains("2 objects removed"), is_said, "{said}");
    }
    // A run that changes nothing says so in one line.
    let ran = mirror(&["--delete"], shown(&up), &server.url("t"));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.starts_with("ftp-cli: 0 files copied, 0 B in "), "{said}");
    assert!(said.ends_with("; 1 file unchanged\n") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_link_that_cannot_be_followed_fails_and_holds_back_deletions() {
    let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
    fs::create_dir(here.join("up")).unwrap();
    std::os::unix::fs::symlink("none", here.join("up/link")).unwrap();
    here.write("up/a", b"a");
    server.write("t/old", b"old");
    let ran = mirror(&["--links", "follow", "--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "link: not followed: a broken symbolic link");
    assert!(server.read("t/old").is_some());
}

#[test]
fn invalid_patterns_are_errors_and_unmatched_ones_are_named() {
    let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
    server.mkdir("t");
    here.write("up/a", b"a");
    let up = here.join("up");
    for pattern in ["a/**x", "*.{o}", "[a", "./x/"] {
        let ran = mirror(&["--exclude", pattern], shown(&up), &server.url("t"));
        failed(&ran, 2, &format!("--exclude: \"{pattern}\": "));
    }
    let ran = mirror(&["--exclude", "*.o"], shown(&up), &server.url("t"));
    ran.exited(0);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--exclude \"*.o\": matches no name"));
}

#[test]
fn a_server_that_closes_after_each_third_file_gets_all_files() {
    for options in [&[][..], &["--temp"]] {
        let kind = Kind { closes_after: Some(3), ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        server.mkdir("t");
        for number in 0..10 {
            here.write(format!("up/{number}"), b"content");
        }
        mirror(options, shown(&here.join("up")), &server.url("t")).exited(0);
        assert_eq!(server.files().len(), 10);
        mirror(&[], &server.url("t"), shown(&here.join("down"))).exited(0);
        assert_eq!(fs::read_dir(here.join("down")).unwrap().count(), 10);
    }
}

#[test]
fn links_of_a_server_to_directories_are_followed_on_request() {
    let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
    server.write("t/real/a", b"a");
    server.write("t/b", b"b");
    server.link("t/link", "t/real");
    here.write("down/old", b"old");
    let down = here.join("down");
    let options = ["--links", "follow", "--delete"];
    mirror(&options, &server.url("t"), shown(&down)).exited(0);
    assert_eq!(here.read("down/link/a"), b"a");
    assert!(!here.join("down/old").exists());
    // An endless tree and a broken link fail, and hold back deletions.
    here.write("down/old", b"old");
    server.link("t/self", "t");
    let ran = mirror(&options, &server.url("t"), shown(&down));
    failed(&ran, 12, "self: contains itself");
    assert!(here.join("down/old").exists());
    server.link("t/self", "t/none");
    let ran = mirror(&options, &server.url("t"), shown(&down));
    failed(&ran, 12, "self: not followed: a broken symbolic link");
    assert!(here.join("down/old").exists());
}

#[test]
fn more_jobs_than_active_ports_wait_for_none() {
    let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
    server.mkdir("t");
    for number in 0..8 {
        here.write(format!("up/{number}"), b"content");
    }
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = free.map(|free| free.local_addr().unwrap().port().to_string()).join(",");
    let options = ["-j", "4", "--active", "--active-ports", &ports];
    mirror(&options, shown(&here.join("up")), &server.url("t")).exited(0);
    assert_eq!(server.files().len(), 8);
}

/// A hostile server: each directory has 2,000 subdirectories, whose names have this length.
fn endless(length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/t", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for control in listener.incoming().flatten() {
            std::thread::spawn(move || tell_endless(&control, length));
        }
    });
    url
}

fn tell_endless(mut control: &TcpStream, length: usize) -> std::io::Result<()> {
    let names = (0..2_000).map(|number| format!("{number:04}{}\r\n", "d".repeat(length)));
    let names: Vec<String> = names.collect();
    let list = |start: &str| names.iter().map(|name| format!("{start}{name}")).collect::<String>();
    let mut data = TcpListener::bind("127.0.0.1:0")?;
    control.write_all(b"220 ready\r\n")?;
    for command in BufReader::new(control).lines() {
        let command = command?;
        let verb = command.split(' ').next().unwrap_or_default();
        let reply = match verb {
            "USER" => "331 password".to_owned(),
            "PASS" => "230 in".to_owned(),
            "FEAT" => "211-have\r\n MLST type*;size*;modify*;\r\n211 end".to_owned(),
            "PWD" => "257 \"/\"".to_owned(),
            "MLST" => "250-it\r\n type=dir; it\r\n250 end".to_owned(),
            "EPSV" => {
                data = TcpListener::bind("127.0.0.1:0")?;
                format!("229 here (|||{}|)", data.local_addr()?.port())
            }
            "MLSD" | "LIST" => {
                control.write_all(b"150 list\r\n")?;
                let start = match verb {
                    "MLSD" => "type=dir; ",
                    _ => "drwxr-xr-x 2002 u g 0 Jan 2 2020 ",
                };
                data.accept()?.0.write_all(list(start).as_bytes())?;
                "226 done".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "200 fine".to_owned(),
        };
        control.write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(())
}

#[test]
fn the_names_of_a_hostile_tree_take_bounded_memory() {
    let cases = [(240, true), (240, false), (31, true)];
    at_once(3, &cases[..count(1, cases.len())], |&(length, deletes_there)| {
        let here = TempRoot::new();
        here.write("mine/kept", b"mine");
        let (url, mine) = (endless(length), here.join("mine"));
        let mut command = ftp(&["mirror", "--delete", "--max-delete", "9999999"]);
        match deletes_there {
            true => command.arg(&mine).arg(url),
            false => command.arg(url).arg(&mine),
        };
        let (code, peak) = peak_of(command.stderr(std::process::Stdio::null()));
        let case = format!("{length} {deletes_there}: {code:?}, {peak} KiB");
        assert!(matches!(code, Some(11 | 12)), "{case}");
        assert!((1..150 << 10).contains(&peak), "{case}");
        assert!(here.join("mine/kept").exists(), "{case}");
    });
}

#[test]
fn a_directory_that_is_refused_for_now_is_listed_again_cl_52() {
    const FEAT: (&str, Act) =
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end"));
    let list = |path, lines: &[u8]| (path, Act::Send("150 list", lines.to_vec(), "226 done"));
    let file = b"type=file;size=1;modify=20200101000000; f\r\n";
    for (refusal, code) in [("450 busy", 0), ("425 no data", 0), ("550 no", 8)] {
        let (here, refused) = (TempRoot::new(), ("MLSD t/d", Act::Say(refusal)));
        let second = if code == 0 { list("MLSD t/d", file) } else { refused.clone() };
        let peer = Peer::start(&[
            FEAT,
            refused,
            second,
            list("MLSD t", b"type=dir; d\r\n"),
            ("LIST", Act::Say("550 no")),
            ("SIZE", Act::Say("213 1")),
            ("RETR t/d/f", Act::Send("150 data", b"f".to_vec(), "226 done")),
        ]);
        let ran =
            mirror(&["--retry", "1", "--retry-delay", "0"], &peer.url("t"), shown(&here.join("t")));
        ran.exited(code);
        assert_eq!(here.join("t/d/f").exists(), code == 0, "{}", peer.seen());
    }
}

#[test]
fn a_target_that_cannot_be_listed_fails_if_something_there_may_be_an_extra_cl_52() {
    for (refusal, options, code) in [
        ("450 busy", &["--delete"][..], 12),
        ("550 no", &["--delete"], 12),
        ("550 no", &["--delete", "--create-dirs"], 12),
        ("450 busy", &[], 0),
    ] {
        let here = TempRoot::new();
        here.write("t/a", b"a");
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-have\r\n SIZE\r\n211 end")),
            ("PWD", Act::Say("257 \"/\"")),
            ("LIST", Act::Say(refusal)),
            ("MKD", Act::Say("550 exists")),
            ("STOR", Act::Take("150 go", "226 done")),
            ("SIZE", Act::Say("213 1")),
        ]);
        let ran = mirror(options, shown(&here.join("t")), &peer.url("t"));
        ran.exited(code);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains("nothing is deleted there"), code != 0, "{said}");
        assert!(peer.seen().contains("STOR t/a"), "{}", peer.seen());
    }
}

#[test]
fn a_directory_that_the_server_refuses_is_asked_for_once_and_costs_nothing_else() {
    for (refused, options) in
        [("MKD t/d1", &[][..]), ("MKD", &[]), ("MKD", &["--retry", "2", "--retry-delay", "0s"])]
    {
        let kind = Kind { refuses: vec![(refused, "550 no")], ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        for path in ["top", "d1/f", "d1/e/g", "d2/h", "there/i"] {
            here.write(format!("up/{path}"), b"content");
        }
        server.write("t/there/old", b"old");
        let options = [&["--delete"], options].concat();
        let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
        let seen = server.seen();
        ran.exited(12);
        let made = |path: &str| seen.iter().filter(|line| *line == path).count();
        assert_eq!((made("MKD t/d1"), made("MKD t/d1/e")), (1, 0), "{seen:?}");
        assert_eq!(made("MKD t/d2"), 1, "{seen:?}");
        let mut names: Vec<_> = server.files().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        // Nothing is removed, since the target lacks what may be the same file under another name.
        let want: &[&str] =
            if refused == "MKD" { &["i", "old", "top"] } else { &["h", "i", "old", "top"] };
        assert_eq!(names, want, "{ran:?} {seen:?}");
        let failed = String::from_utf8_lossy(&ran.stderr).matches("ftp-cli: t/d").count();
        assert_eq!(failed, if refused == "MKD" { 2 } else { 1 }, "{ran:?}");
    }
}
