//! Targets that take two spellings for one name: nothing is lost, whatever the exit status.

use ftp_tests::at_once::at_once;
use ftp_tests::folding::{FoldingServer, Form, Kind};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use super::{mirror, shown};
use crate::{failed, ftp};

/// Returns the contents of all files of the server.
fn contents(server: &FoldingServer) -> Vec<String> {
    server.files().into_iter().map(|(_, content)| content).collect()
}

/// A kind of target, the name that it lists, and a new name that it takes for the same.
fn spellings() -> Vec<(Kind, &'static str, &'static str)> {
    let kind = Kind::default;
    vec![
        (Kind { no_case: true, ..kind() }, "README.TXT", "Readme.txt"),
        (Kind { form: Some(Form::Nfd), ..kind() }, "cafe\u{301}", "caf\u{e9}"),
        (Kind { form: Some(Form::Nfc), ..kind() }, "caf\u{e9}", "cafe\u{301}"),
        (Kind { drops_ends: true, ..kind() }, "v1", "v1."),
        (Kind { no_case: true, no_mlsd: true, ..kind() }, "README.TXT", "Readme.txt"),
    ]
}

#[test]
fn the_upload_that_replaced_a_file_of_another_spelling_is_not_deleted() {
    let all_options = [&["--delete"][..], &["--delete", "--temp"], &["--delete", "-j", "4"]];
    at_once(5, spellings(), |(kind, there, new)| {
        for options in all_options {
            let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
            server.write(&format!("t/{there}"), b"old");
            server.write("t/extra", b"extra");
            here.write(format!("up/{new}"), b"new!");
            here.write("up/other", b"other");
            for night in 0..3 {
                let ran = mirror(options, shown(&here.join("up")), &server.url("t"));
                ran.exited(0);
                let kept = contents(&server);
                assert!(kept.iter().any(|it| it == "new!"), "{new} {night}: {ran:?}");
                assert!(!kept.iter().any(|it| it == "extra"), "{new} {night}: {ran:?}");
                assert_eq!(kept.len(), 2, "{new} {night}: {ran:?}");
            }
        }
    });
}

#[test]
fn a_name_that_the_server_cuts_short_holds_back_deletions() {
    let kind = Kind { cuts: Some(8), ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/abcdefgh", b"old");
    server.write("t/extra", b"extra");
    here.write("up/abcdefghi", b"new!");
    for _ in 0..2 {
        let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
        failed(&ran, 12, "abcdefghi: written, but the target does not list it under this name");
        let mut kept = contents(&server);
        kept.sort();
        assert_eq!(kept, ["extra", "new!"]);
    }
}

#[test]
fn a_rename_of_case_only_is_mirrored_to_a_server_that_keeps_names() {
    for (no_mlsd, hides_dots) in [(false, false), (true, false), (true, true)] {
        let kind = Kind { no_mlsd, hides_dots, ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        server.write("t/README.TXT", b"old");
        server.write("t/img/a", b"a");
        here.write("up/Readme.txt", b"new!");
        here.write("up/Img/a", b"a");
        here.write("up/.dot", b"dot");
        for _ in 0..3 {
            mirror(&["--delete"], shown(&here.join("up")), &server.url("t")).exited(0);
            let names: Vec<String> = server.files().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, [".dot", "a", "Readme.txt"]);
            assert_eq!(server.read("t/Img/a").unwrap(), b"a");
            assert_eq!(server.read("t/img/a"), None);
        }
    }
}

#[test]
fn a_renamed_directory_is_not_emptied_on_a_server_without_case() {
    let kind = Kind { no_case: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/img/a", b"a");
    server.write("t/img/old", b"old");
    here.write("up/Img/a", b"new a");
    here.write("up/Img/b", b"b");
    for _ in 0..2 {
        mirror(&["--delete"], shown(&here.join("up")), &server.url("t")).exited(0);
        let mut kept = contents(&server);
        kept.sort();
        assert_eq!(kept, ["b", "new a"]);
    }
}

#[test]
fn a_server_that_lists_new_names_late_is_asked_again() {
    let kind = Kind { lists_late: 1, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/README.TXT", b"old");
    here.write("up/Readme.txt", b"new!");
    mirror(&["--delete"], shown(&here.join("up")), &server.url("t")).exited(0);
    assert_eq!(server.files(), [("Readme.txt".to_owned(), "new!".to_owned())]);
}

#[test]
fn a_server_that_does_not_tell_keeps_both_spellings() {
    let refuses = ["SIZE", "MDTM", "MLST", "CWD"].map(|verb| (verb, "502 what?")).to_vec();
    let kind = Kind { refuses, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/README.TXT", b"old");
    server.write("t/extra", b"extra");
    here.write("up/Readme.txt", b"new!");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "Readme.txt: may be the same file as README.TXT");
    let mut kept = contents(&server);
    kept.sort();
    assert_eq!(kept, ["new!", "old"]);
}

#[test]
fn of_two_sources_that_are_one_file_on_the_server_the_second_is_not_copied() {
    let pairs = [("A", "a"), ("caf\u{e9}", "cafe\u{301}"), ("v1", "v1."), ("sub/B", "sub/b")];
    let all: [&[&str]; 8] = [
        &[],
        &["--delete"],
        &["-j", "4"],
        &["--temp", "-j", "4"],
        &["--remove-source"],
        &["--remove-source", "-j", "4"],
        &["--remove-source", "--temp", "-j", "4"],
        &["--delete", "--backup-dir", "old", "-j", "4"],
    ];
    let cases =
        Kind::folding().into_iter().flat_map(|kind| all.map(|options| (kind.clone(), options)));
    // Runs wait until the new files can change no more without another time.
    at_once(8, cases, |((what, kind), options)| {
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind.clone()));
        server.mkdir("t");
        for (at, (one, other)) in pairs.iter().enumerate() {
            here.write(format!("up/{one}"), format!("one {at}").as_bytes());
            here.write(format!("up/{other}"), format!("two {at}").as_bytes());
        }
        here.write("up/abcdefghi", b"one x");
        here.write("up/abcdefghj", b"two x");
        for night in 0..2 {
            let ran = mirror(options, shown(&here.join("up")), &server.url("t"));
            let there = contents(&server);
            let mut lost = Vec::new();
            for at in ["0", "1", "2", "3", "x"] {
                for side in ["one", "two"] {
                    let content = format!("{side} {at}");
                    let is_here = super::tree(&here.join("up")).iter().any(|(_, file)| {
                        file.as_ref().is_some_and(|(it, _)| it == content.as_bytes())
                    });
                    if !is_here && !there.contains(&content) {
                        lost.push(content.clone());
                    }
                    // What an upload replaces under a name that the server cuts short shows
                    // only if something is removed.
                    let is_cut = at == "x" && kind.cuts.is_some();
                    if ran.code() == Some(0) && night == 0 && !is_cut {
                        assert!(there.contains(&content), "{what} {options:?}: {ran:?}");
                    }
                }
            }
            assert!(lost.is_empty(), "{what} {options:?} lost {lost:?}: {ran:?}");
        }
    });
}

#[test]
fn pairs_that_differ_in_case_all_arrive_on_a_server_that_keeps_names() {
    for options in [&["--delete"][..], &["--temp", "-j", "4"], &["--remove-source", "-j", "4"]] {
        let (here, server) = (TempRoot::new(), FoldingServer::start(Kind::default()));
        server.write("t/a", b"old");
        for name in ["A", "a", "B", "b", "d/C", "d/c", "D/c"] {
            here.write(format!("up/{name}"), name.as_bytes());
        }
        for _ in 0..2 {
            mirror(options, shown(&here.join("up")), &server.url("t")).exited(0);
            for name in ["A", "a", "B", "b", "d/C", "d/c", "D/c"] {
                assert_eq!(server.read(&format!("t/{name}")).unwrap(), name.as_bytes());
            }
        }
    }
}

#[test]
fn fxp_keeps_the_file_that_replaced_another_spelling() {
    for (kind, there, new) in spellings() {
        let source = FoldingServer::start(Kind::default());
        let target = FoldingServer::start(kind);
        source.write(&format!("s/{new}"), b"new!");
        target.write(&format!("t/{there}"), b"old");
        target.write("t/extra", b"extra");
        for _ in 0..2 {
            let mut fxp = ftp(&["fxp", "-r", "--delete"]);
            let ran = run(fxp.args([source.url("s"), target.url("t")]));
            ran.exited(0);
            assert_eq!(contents(&target), ["new!"], "{ran:?}");
        }
    }
}

#[test]
fn a_message_names_both_spellings() {
    let kind = Kind { no_case: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/README.TXT", b"old");
    here.write("up/Readme.txt", b"new!");
    let ran = mirror(&["-v", "--delete"], shown(&here.join("up")), &server.url("t"));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("Readme.txt: the server lists it as README.TXT"), "{said}");
    here.write("up/README.TXT", b"two");
    let ran = mirror(&[], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 12, "not copied: the server stores it as the same file as README.TXT");
}

#[test]
fn a_replacement_that_the_server_refuses_to_rename_names_the_cure() {
    let kind = Kind { keeps_targets: true, ..Kind::default() };
    let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
    server.write("t/a", b"old");
    server.write("t/b", b"b");
    here.write("up/a", b"new!");
    let ran = mirror(&["--temp=.in.*"], shown(&here.join("up")), &server.url("t"));
    failed(&ran, 8, "uploaded as t/.in.a, but not renamed");
    failed(&ran, 8, "omit --temp");
    assert_eq!(server.read("t/a").unwrap(), b"old");
}
