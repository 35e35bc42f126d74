//! Commands of a mirror that are sent in one write, at servers that do not answer them in order.

use std::thread;

use ftp_tests::folding::{FoldingServer, Kind, Reads};
use ftp_tests::root::TempRoot;

use super::{age, mirror, shown};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// All servers.
fn servers() -> [Kind; 9] {
    let kind = |reads| Kind { no_mlsd: true, reads, ..Kind::default() };
    let plain = || kind(Reads::InOrder);
    [
        plain(),
        kind(Reads::First),
        kind(Reads::OnePerPacket),
        kind(Reads::Backwards),
        Kind { closes_after: Some(1), ..plain() },
        Kind { closes_after_three: Some("MDTM"), ..plain() },
        Kind { closes_after_three: Some("SIZE"), ..plain() },
        Kind { closes_ports: true, ..plain() },
        Kind { refuses: vec![("EPSV", "500 what?")], ..plain() },
    ]
}

/// Runs a test with all servers at the same time, since some of them are waited for.
fn with_each(test: impl Fn(Kind) + Sync) {
    let test = &test;
    thread::scope(|threads| {
        for kind in servers() {
            threads.spawn(move || test(kind));
        }
    });
}

/// Writes files of one size, with the time that the server's files have.
fn write(root: &TempRoot, content: &[u8]) {
    for name in NAMES {
        age(&root.write(format!("up/{name}"), content), 24);
    }
}

#[test]
fn a_changed_file_of_equal_size_is_found_whatever_a_server_does_with_questions_cl_77() {
    with_each(|kind| {
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        write(&here, b"content");
        server.mkdir("t");
        assert_eq!(mirror(&[], shown(&here.join("up")), &server.url("t")).code(), Some(0));
        age(&here.write("up/c", b"another"), 2);
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
fn extras_are_deleted_and_nothing_else_whatever_a_server_does_with_removals_cl_77() {
    with_each(|kind| {
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
            let told = format!(" {name}1: removed");
            assert!(case.contains(&told), "{case}");
        }
    });
}

#[test]
fn removals_whose_replies_were_lost_together_are_judged_by_what_the_server_shows_cl_77() {
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
