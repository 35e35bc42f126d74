//! Commands of a mirror that are sent in one write, at servers that do not answer them in order.

use std::{fs, thread};

use ftp_tests::folding::{Confirms, FoldingServer, Kind, Reads};
use ftp_tests::root::TempRoot;

use super::{age, mirror, shown};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// All servers, and whether the proof or a flight makes them lose the connection.
fn servers() -> [(Kind, bool); 9] {
    let kind = |reads| Kind { no_mlsd: true, reads, ..Kind::default() };
    let plain = || kind(Reads::InOrder);
    [
        (plain(), false),
        (kind(Reads::First), false),
        (kind(Reads::OnePerPacket), true),
        (kind(Reads::Backwards), true),
        (Kind { closes_after: Some(1), ..plain() }, false),
        (Kind { closes_after_three: Some("MDTM"), ..plain() }, false),
        (Kind { closes_after_three: Some("SIZE"), ..plain() }, false),
        (Kind { closes_ports: true, ..plain() }, false),
        (Kind { refuses: vec![("EPSV", "500 what?")], ..plain() }, false),
    ]
}

/// Runs a test with all servers at the same time, since some of them are waited for.
fn with_each(test: impl Fn(Kind, bool) + Sync) {
    let test = &test;
    thread::scope(|threads| {
        for (kind, loses) in servers() {
            threads.spawn(move || test(kind, loses));
        }
    });
}

/// Starts a server with small files in the directory `t`.
fn serve_small_files(kind: Kind) -> FoldingServer {
    let server = FoldingServer::start(kind);
    server.mkdir("t");
    for name in NAMES {
        server.write(&format!("t/{name}"), name.as_bytes());
    }
    server
}

/// Writes files of one size, with the time that the server's files have.
fn write(root: &TempRoot, content: &[u8]) {
    for name in NAMES {
        age(&root.write(format!("up/{name}"), content), 24);
    }
}

fn times(server: &FoldingServer) -> Vec<String> {
    NAMES.map(|name| server.modified(&format!("t/{name}")).unwrap_or_default()).to_vec()
}

#[test]
fn a_tree_is_complete_whatever_a_server_does_with_commands_in_one_write_cl_78() {
    with_each(|kind, loses| {
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        write(&here, b"content");
        server.mkdir("t");
        // On a busy machine, the wait for a lost reply would pay for a second connection.
        let up = || mirror(&["-j", "1"], shown(&here.join("up")), &server.url("t"));
        let ran = up();
        let case = format!("{kind:?}: {ran:?} {:?}", server.seen());
        assert_eq!(ran.code(), Some(0), "{case}");
        for name in NAMES {
            assert_eq!(server.read(&format!("t/{name}")).unwrap(), b"content", "{case}");
        }
        let of_sources = times(&server);
        assert!(of_sources.iter().all(|time| time != "20260101000000"), "{case}");
        // One connection more, and only one, shows that the server takes one command at a time.
        if loses {
            assert_eq!(server.logins(), 2, "{case}");
        }
        let again = up();
        let case = format!("{kind:?}: {again:?} {:?}", server.seen());
        assert_eq!(again.code(), Some(0), "{case}");
        let stored = server.seen().iter().filter(|line| line.starts_with("STOR")).count();
        assert!(stored <= NAMES.len() + 1, "{case}");
        assert_eq!(times(&server), of_sources, "{case}");

        let down = mirror(&[], &server.url("t"), shown(&here.join("down")));
        let case = format!("{kind:?}: {down:?} {:?}", server.seen());
        assert_eq!(down.code(), Some(0), "{case}");
        for name in NAMES {
            let (from, to) = (here.join("up").join(name), here.join("down").join(name));
            assert_eq!(fs::read(&to).unwrap(), b"content", "{case}");
            let modified = |path| fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(modified(from), modified(to), "{case}");
        }
    });
}

#[test]
fn a_changed_file_of_equal_size_is_found_whatever_a_server_does_with_questions_cl_78() {
    with_each(|kind, _| {
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        write(&here, b"content");
        server.mkdir("t");
        assert_eq!(mirror(&[], shown(&here.join("up")), &server.url("t")).code(), Some(0));
        // The listed day does not tell this time from the other.
        age(&here.write("up/c", b"another"), 23);
        let ran = mirror(&[], shown(&here.join("up")), &server.url("t"));
        let case = format!("{kind:?}: {ran:?} {:?}", server.seen());
        assert_eq!(ran.code(), Some(0), "{case}");
        for name in NAMES {
            let want: &[u8] = if name == "c" { b"another" } else { b"content" };
            assert_eq!(server.read(&format!("t/{name}")).unwrap(), want, "{case}");
        }
    });
}

#[test]
fn extras_are_deleted_and_nothing_else_whatever_a_server_does_with_removals_cl_78() {
    with_each(|kind, _| {
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        write(&here, b"content");
        for name in NAMES {
            server.write(&format!("t/{name}1"), b"extra");
        }
        server.write("other", b"other");
        let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
        let case = format!("{kind:?}: {ran:?} {:?}", server.seen());
        assert_eq!(ran.code(), Some(0), "{case}");
        let mut names: Vec<_> = server.files().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c", "d", "e", "other"], "{case}");
        for name in NAMES {
            let told = format!("removed {name}1");
            assert!(case.contains(&told), "{case}");
        }
    });
}

#[test]
fn only_one_of_several_connections_tries_the_first_flight_cl_78() {
    let kind = Kind { reads: Reads::First, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    for number in 0..40 {
        here.write(format!("up/{number}"), b"content");
    }
    server.mkdir("t");
    let ran = mirror(&["-j", "8"], shown(&here.join("up")), &server.url("t"));
    let case = format!("{ran:?} {:?}", server.seen());
    assert_eq!((ran.code(), server.files().len()), (Some(0), 40), "{case}");
    assert!(server.logins() <= 9, "{case}");
}

#[test]
fn removals_whose_replies_were_lost_together_are_judged_by_what_the_server_shows_cl_78() {
    let kind = Kind { loses: Some("DELE"), ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    write(&here, b"content");
    for name in NAMES {
        server.write(&format!("t/{name}1"), b"extra");
    }
    let options = ["--delete", "--retry", "1", "--retry-delay", "0s"];
    let ran = mirror(&options, shown(&here.join("up")), &server.url("t"));
    let case = format!("{ran:?} {:?}", server.seen());
    assert_eq!((ran.code(), server.files().len()), (Some(0), NAMES.len()), "{case}");
}

#[test]
fn a_tree_is_complete_whatever_a_server_does_with_questions_before_a_confirmation_cl_79() {
    thread::scope(|threads| {
        // The number of downloads with early questions, if the server waits for them, and of logins.
        for (confirms, early, logins) in [
            (Confirms::AtOnce, None, 1),
            (Confirms::Early, None, 1),
            (Confirms::Late, Some(NAMES.len() - 2), 1),
            (Confirms::Last, Some(1), 2),
            (Confirms::Alone, Some(1), 2),
            // The reply to `NOOP` comes first, and looks like the end of the download.
            (Confirms::With("503 no\r\n226 done"), Some(1), 2),
            (Confirms::With("250 ok\r\n451 no"), Some(1), 2),
            (Confirms::With("250 ok\r\n550 no"), Some(1), 2),
        ] {
            threads.spawn(move || {
                let kind = Kind { no_mlsd: true, confirms, ..Kind::default() };
                let (here, server) = (TempRoot::new(), serve_small_files(kind));
                let ran = mirror(&["-j", "1"], &server.url("t"), shown(&here.join("down")));
                let seen = server.seen();
                let case = format!("{confirms:?}: {ran:?} {seen:?}");
                assert_eq!((ran.code(), server.logins()), (Some(0), logins), "{case}");
                if let Some(early) = early {
                    assert_eq!(server.early(), early, "{case}");
                }
                // Each lost connection costs one download.
                let asked = seen.iter().filter(|line| line.starts_with("RETR")).count();
                assert_eq!(asked, NAMES.len() + logins - 1, "{case}");
                let is_tested = seen.iter().any(|line| line == "NOOP");
                assert!(!(is_tested && confirms == Confirms::Early), "{case}");
                for name in NAMES {
                    let path = here.join("down").join(name);
                    assert_eq!(fs::read(&path).unwrap(), name.as_bytes(), "{case}");
                    let modified = fs::metadata(&path).unwrap().modified().unwrap();
                    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
                    assert_eq!(modified.as_secs(), 1_767_225_600, "{case}");
                }
            });
        }
    });
}

#[test]
fn a_refused_download_does_not_show_that_questions_are_answered_in_order_cl_79() {
    let confirms = Confirms::With("451 no\r\n200 ok");
    let kind = Kind { no_mlsd: true, confirms, ..Kind::default() };
    let (here, server) = (TempRoot::new(), serve_small_files(kind));
    let ran = mirror(&["-j", "1"], &server.url("t"), shown(&here.join("down")));
    let seen = server.seen();
    let case = format!("{ran:?} {seen:?}");
    assert_ne!(ran.code(), Some(0), "{case}");
    assert!(case.contains("451 no"), "{case}");
    // The first file comes before the first flight, and no other follows the last one.
    let tests = NAMES.len() - 2;
    assert_eq!((server.early(), server.logins()), (tests, 1), "{case}");
    assert_eq!(seen.iter().filter(|line| *line == "NOOP").count(), tests, "{case}");
    let copied = NAMES.map(|name| here.join("down").join(name).exists());
    assert_eq!(copied, [true, false, false, false, true], "{case}");
}

#[test]
fn questions_that_fail_over_one_connection_are_not_asked_over_another_cl_79() {
    let kind = Kind { no_mlsd: true, confirms: Confirms::Backwards, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    for number in 0..16 {
        server.write(&format!("t/{number}"), b"content");
    }
    let ran = mirror(&["-j", "4"], &server.url("t"), shown(&here.join("down")));
    let case = format!("{ran:?} {:?}", server.seen());
    assert_eq!(ran.code(), Some(0), "{case}");
    assert_eq!(fs::read_dir(here.join("down")).unwrap().count(), 16, "{case}");
    // The test succeeds, and the first questions cost one connection.
    let tests = server.seen().iter().filter(|line| *line == "NOOP").count();
    assert_eq!(server.early(), tests + 1, "{case}");
    assert!(server.logins() <= 5, "{case}");
}

#[test]
fn a_test_of_early_questions_ends_with_its_connection_cl_79() {
    let (confirms, closes_after) = (Confirms::Alone, Some(2));
    let kind = Kind { no_mlsd: true, confirms, closes_after, ..Kind::default() };
    let (here, server) = (TempRoot::new(), serve_small_files(kind));
    let ran = mirror(&["-j", "1"], &server.url("t"), shown(&here.join("down")));
    let case = format!("{ran:?} {:?}", server.seen());
    // Two connections end before `NOOP` is answered.
    assert_eq!((ran.code(), server.early()), (Some(0), 2), "{case}");
}

#[test]
fn a_refused_upload_keeps_the_old_file_and_its_time_cl_78() {
    let refuses = vec![("STOR t/c", "553 no")];
    let kind = Kind { no_mlsd: true, refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    write(&here, b"content");
    server.write("t/c", b"old one");
    let ran = mirror(&[], shown(&here.join("up")), &server.url("t"));
    let case = format!("{ran:?} {:?}", server.seen());
    assert_ne!(ran.code(), Some(0), "{case}");
    assert_eq!(server.read("t/c").unwrap(), b"old one", "{case}");
    assert_eq!(server.modified("t/c").unwrap(), "20260101000000", "{case}");
    for name in ["a", "b", "d", "e"] {
        assert_eq!(server.read(&format!("t/{name}")).unwrap(), b"content", "{case}");
    }
}
