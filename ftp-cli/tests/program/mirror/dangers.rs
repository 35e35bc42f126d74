//! What `mirror` must not do, whatever a server or a tree contains: leave the tree, follow links,
//! delete because of an incomplete listing.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::peer::{Peer as Tool, RealServer};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use super::{Tells, age, at_every_server, mirror, shown};
use crate::peer::{Act, Peer};
use crate::privileges::is_root;
use crate::{failed, ftp, with_servers};

/// Starts a server that lists these lines and has every file.
fn hostile(lines: &str) -> Peer {
    let listing = lines.replace('\n', "\r\n").into_bytes();
    Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLST", Act::Say("550 no")),
        ("MLSD t/", Act::Say("550 not that")),
        ("MLSD", Act::Send("150 list", listing, "226 done")),
        ("RETR", Act::Send("150 data", b"evil".to_vec(), "226 done")),
    ])
}

#[test]
fn server_names_cannot_escape_the_target_cl_52_hc_05_hc_08_hc_09() {
    let here = TempRoot::new();
    here.write("outside", b"mine");
    here.write("mine/kept", b"mine");
    let target = here.join("mine");
    let peer = hostile(concat!(
        "type=file;size=4;modify=20200101000000; ../outside\n",
        "type=file;size=4;modify=20200101000000; /etc/ftp-cli-test\n",
        "type=file;size=4;modify=20200101000000; ..\n",
        "type=dir; ..\n",
        "type=dir; ../..\n",
        "type=file;size=4;modify=20200101000000; a\0b\n",
        "type=file;size=4;modify=20200101000000; a\rDELE b\n",
        "type=file;size=4;modify=20200101000000; .ftp-cli-1f-0.tmp\n",
        "type=file;size=4;modify=20200101000000; \n",
        "type=file;size=4;modify=20200101000000; -rf\n",
        "type=file;size=4;modify=20200101000000; file:\n",
    ));
    let ran = mirror(&["--delete"], &peer.url("t"), shown(&target));
    failed(&ran, 12, "outside: is not a valid name");
    failed(&ran, 12, "nothing deleted");
    assert_eq!(here.read("outside"), b"mine");
    assert!(!Path::new("/etc/ftp-cli-test").exists());
    let names: Vec<_> = here.tree().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        names,
        ["mine", "mine/-rf", "mine/file:", "mine/kept", "outside"].map(PathBuf::from)
    );
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
}

#[test]
fn files_of_the_run_itself_are_neither_published_nor_deleted_cl_52() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let password = here.write("site/.ftp-password", format!("{}\n", server.password).as_bytes());
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    here.write("site/index.html", b"<p>");
    let [log, lock, trace] =
        ["run.log", "run.lock", "run.trace"].map(|name| here.join(format!("site/{name}")));
    let url = format!("ftp://{}@{}/www", server.user, server.address);
    let files = [
        format!("--password-file={}", shown(&password)),
        format!("--log-file={}", shown(&log)),
        format!("--lock={}", shown(&lock)),
        format!("--trace={}", shown(&trace)),
    ];
    let list = here.write("site/excluded", b"private\n");
    let list_from = format!("--exclude-from={}", shown(&list));
    let files: Vec<&str> = files.iter().chain([&list_from]).map(String::as_str).collect();
    let site = here.join("site");
    for options in [&[][..], &["--delete"], &["--manifest"]] {
        let ran = mirror(&[&files[..], options].concat(), shown(&site), &url);
        assert_eq!(ran.code(), Some(0), "{ran:?}");
        assert!(
            String::from_utf8_lossy(&ran.stderr)
                .contains(".ftp-password: skipped: it is a file of this job"),
            "{ran:?}"
        );
        let names = server.root.tree().into_iter().map(|(path, _)| path);
        let is_secret = |path: &PathBuf| {
            !["www", "www/index.html", "www/.ftp-cli-manifest.json"].contains(&shown(path))
        };
        assert_eq!(names.filter(is_secret).count(), 0);
    }
    // Downwards, they are extras that stay.
    let ran = mirror(&[&files[..], &["--delete"]].concat(), &url, shown(&site));
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert!(password.exists() && log.exists() && trace.exists(), "{ran:?}");
    assert!(list.exists(), "{ran:?}");
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("not deleted: it is a file of this job"),
        "{ran:?}"
    );
}

#[test]
fn a_tree_is_not_downloaded_without_paths_to_open_directories_hc_07() {
    let Some(unshare) = Tool::find("unshare").filter(|_| is_root()) else { return };
    let here = TempRoot::new();
    for options in [&["mirror"][..], &["mirror", "--continue"], &["get", "-r"]] {
        let peer = hostile("type=file;size=4;modify=20200101000000; f\n");
        let target = here.join(options.join(""));
        let program = ftp(options);
        let mut command = unshare.command();
        command.args(["--mount", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh"]);
        command.arg(program.get_program()).args(program.get_args());
        command.args([&peer.url("t"), shown(&target)]);
        failed(&run(&mut command), 3, "because /proc is not mounted");
        assert!(fs::read_dir(&target).unwrap().next().is_none());
    }
}

#[test]
fn symlinks_are_neither_created_nor_followed_hc_06_li_08_cl_51() {
    let here = TempRoot::new();
    here.mkdir("outside");
    let target = here.join("mine");
    // A link, and files below it.
    let peer = hostile(concat!(
        "type=OS.unix=slink:/etc;size=4;modify=20200101000000; link\n",
        "type=file;size=4;modify=20200101000000; link/passwd\n",
        "type=file;size=4;modify=20200101000000; f\n",
    ));
    let ran = mirror(&[], &peer.url("t"), shown(&target));
    failed(&ran, 12, "link: skipped: a symbolic link");
    assert!(fs::symlink_metadata(target.join("link")).is_err());
    // Existing local links, to a directory and to a file.
    fs::remove_file(target.join("f")).unwrap();
    here.write("outside/f", b"mine");
    symlink("../outside/f", target.join("f")).unwrap();
    symlink("../outside", target.join("d")).unwrap();
    let peer = hostile(concat!("type=file;size=4;modify=20200101000000; f\n", "type=dir; d\n",));
    let ran = mirror(&["--delete"], &peer.url("t"), shown(&target));
    failed(&ran, 3, "f: the target has an object of another type with this name");
    assert_eq!(here.read("outside/f"), b"mine");
    assert_eq!(fs::read_dir(here.join("outside")).unwrap().count(), 1);
    assert!(fs::symlink_metadata(target.join("d")).unwrap().is_symlink());
}

#[test]
fn an_interrupted_or_refused_listing_deletes_nothing() {
    let list = "type=file;size=4;modify=20200101000000; f\r\n";
    let with_directory = format!("{list}type=dir; d\r\n");
    let feat = ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end"));
    let file = ("RETR", Act::Send("150 data", b"evil".to_vec(), "226 done"));
    for (acts, code, words) in [
        (vec![("MLSD t", Act::Send("150 list", list.into(), "426 cut"))], 9, "426 cut"),
        (vec![("MLSD t", Act::Send("150 list", list.into(), "451 disk"))], 9, "451 disk"),
        (vec![("MLSD t", Act::SendAndBreak("150 list", list.into()))], 4, ""),
        (vec![("MLSD t", Act::Say("550 no"))], 8, "550 no"),
        (
            vec![
                ("MLSD t/d", Act::Say("550 not for you")),
                ("MLSD t", Act::Send("150 list", with_directory.into(), "226 done")),
            ],
            12,
            "550 not for you",
        ),
        (
            vec![("MLSD t", Act::Send("150 list", format!("{list}what?\r\n").into(), "226 done"))],
            12,
            "nothing deleted",
        ),
    ] {
        let here = TempRoot::new();
        here.write("mine/d/precious", b"mine");
        here.write("mine/kept", b"mine");
        let peer = Peer::start(&[&acts[..], &[feat.clone(), file.clone()]].concat());
        let ran = mirror(&["--delete"], &peer.url("t"), shown(&here.join("mine")));
        failed(&ran, code, words);
        assert_eq!(here.read("mine/d/precious"), b"mine");
        assert!(here.join("mine/kept").exists());
    }
}

#[test]
fn an_endless_tree_fails_as_too_deep_hc_14() {
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
        ("MLSD", Act::Send("150 list", b"type=dir; d\r\n".to_vec(), "226 done")),
    ]);
    let here = TempRoot::new();
    let ran = mirror(&["--dry-run"], &peer.url("t"), shown(&here.join("mine")));
    ran.exited(12);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("is too deep"), "{ran:?}");
}

#[test]
fn a_missing_source_is_not_an_empty_tree() {
    let here = TempRoot::new();
    here.write("mine/kept", b"mine");
    let check = |site: &Site| {
        let ran = mirror(&["--delete"], &site.url("no such tree"), shown(&here.join("mine")));
        failed(&ran, 8, "");
        assert_eq!(here.read("mine/kept"), b"mine");
        // An existing empty directory is a valid source.
        site.root.mkdir("empty");
        let copy = here.join("copy");
        mirror(&["--delete"], &site.url("empty"), shown(&copy)).exited(0);
        assert_eq!(fs::read_dir(copy).unwrap().count(), 0);
    };
    check(&OurServer::start());
    RealServer::vsftpd().iter().for_each(|server| check(server));
    RealServer::proftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pyftpdlib().iter().for_each(|server| check(server));
}

/// Some servers leave a link out of MLSD while its target is missing, but not out of LIST.
#[test]
fn a_copy_of_what_a_link_leads_to_stays_while_its_disk_is_missing() {
    let check = |site: &Site| {
        site.root.write("t/kept", b"there");
        for name in ["disk", "film"] {
            symlink("/nothing is mounted here", site.root.join("t").join(name)).unwrap();
        }
        let here = TempRoot::new();
        for name in ["disk/a", "film", "old", "kept"] {
            here.write(format!("mine/{name}"), b"mine");
        }
        mirror(&["--delete"], &site.url("t"), shown(&here.join("mine"))).exited(0);
        assert_eq!(here.read("mine/disk/a"), b"mine");
        assert_eq!(here.read("mine/film"), b"mine");
        assert!(!here.join("mine/old").exists());
    };
    check(&OurServer::start());
    RealServer::vsftpd().iter().for_each(|server| check(server));
    RealServer::proftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pyftpdlib().iter().for_each(|server| check(server));
}

/// A link to a directory, which some servers list as its target.
#[test]
fn nothing_is_deleted_through_a_remote_symlink_hc_08() {
    let here = TempRoot::new();
    here.write("mine/kept", b"mine");
    let check = |site: &Site, tells: Tells| {
        let owner = fs::metadata(site.root.path()).unwrap().uid();
        site.root.write("precious/file", b"precious");
        site.root.write("tree/old/file", b"old");
        symlink("../precious", site.root.join("tree/link")).unwrap();
        for name in ["tree", "tree/old", "precious"] {
            std::os::unix::fs::chown(site.root.join(name), Some(owner), Some(owner)).unwrap();
        }
        let ran = mirror(&["--delete"], shown(&here.join("mine")), &site.url("tree"));
        assert_eq!(site.root.read("precious/file"), b"precious", "{ran:?}");
        // The link can be removed, its target cannot; without evidence of links, nothing is
        // removed.
        let goes = tells != Tells::Nothing;
        ran.exited(if goes { 0 } else { 12 });
        let left = fs::read_dir(site.root.join("tree")).unwrap().count();
        assert_eq!(left == 1, goes, "{ran:?}");
    };
    at_every_server(&check);
}

/// The same for a link with the name of a local directory: its content is not examined.
#[test]
fn nothing_is_deleted_through_a_symlink_named_like_a_directory_hc_08_cl_52() {
    let here = TempRoot::new();
    here.mkdir("mine/link/sub");
    here.write("mine/real/kept", b"mine");
    let check = |site: &Site, tells: Tells| {
        let owner = fs::metadata(site.root.path()).unwrap().uid();
        site.root.write("precious/file", b"precious");
        site.root.write("precious/sub/file", b"precious");
        site.root.write("tree/real/old", b"old");
        symlink("../precious", site.root.join("tree/link")).unwrap();
        for name in ["tree", "tree/real", "precious", "precious/sub"] {
            std::os::unix::fs::chown(site.root.join(name), Some(owner), Some(owner)).unwrap();
        }
        let ran = mirror(&["--delete"], shown(&here.join("mine")), &site.url("tree"));
        assert_eq!(site.root.read("precious/file"), b"precious", "{ran:?}");
        assert_eq!(site.root.read("precious/sub/file"), b"precious", "{ran:?}");
        ran.exited(12);
        // If the listing shows that `link` was not copied, nothing is removed elsewhere either.
        let said = String::from_utf8_lossy(&ran.stderr);
        let is_copied = !said.contains("link: the target has an object of another type");
        let stays = site.root.join("tree/real/old").exists();
        assert_eq!(stays, tells != Tells::Links || !is_copied, "{ran:?}");
    };
    at_every_server(&check);
}

#[test]
fn an_existing_temporary_name_fails_the_run_before_any_copy() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    here.write("t/d/a", b"a");
    here.write("t/d/.in.a", b"other");
    for file in ["from/d/a", "from/d/.in.a", "to/d/a.part"] {
        server.root.write(file, b"kept");
    }
    server.root.mkdir("new");
    let [new, from, to] = ["new", "from", "to"].map(|name| server.url(name));
    for command in [
        &["mirror", "--temp=.in.*", "t", &new][..],
        &["mirror", "--temp=.in.*", "--remove-source", "t", &new],
        &["put", "-r", "--temp=.in.*", "t", &new],
        &["fxp", "-r", "--temp=.in.*", &from, &new],
        &["mirror", "--temp=*.part", "t", &to],
    ] {
        let ran = run(ftp(command).current_dir(here.path()));
        assert_eq!(ran.code(), Some(2), "{command:?} {ran:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains("temporary name"), "{ran:?}");
        assert_eq!(names(&server.root, "new"), [""; 0], "{command:?}");
        assert_eq!(names(&here, "t/d"), [".in.a", "a"], "{command:?}");
        assert_eq!(server.root.read("to/d/a.part"), b"kept", "{command:?}");
    }
}

#[test]
fn state_files_of_moves_are_not_mirrored() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    for word in ["journal", "taken", "new", "taken.part"] {
        here.write(format!("t/.0123456789abcdef.ftp-cli-{word}"), b"state");
    }
    here.write("t/.0123.ftp-cli-mine", b"mine");
    run(ftp(&["mirror", "t", &server.url("m")]).current_dir(here.path())).exited(0);
    assert_eq!(names(&server.root, "m"), [".0123.ftp-cli-mine"]);
}

/// Returns the names in a directory below `root`, hidden ones included.
fn names(root: &TempRoot, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_tree_is_not_uploaded_onto_itself() {
    with_servers(|name, site| {
        site.root.write("t/a", b"one");
        site.root.write("t/d/b", b"two");
        for path in ["t/a", "t/d/b"] {
            let all = fs::Permissions::from_mode(0o666);
            fs::set_permissions(site.root.join(path), all).unwrap();
        }
        let ran = mirror(&[], shown(&site.root.join("t")), &site.url("t"));
        // Without MFMT, all files seem to have changed.
        match name {
            "vsftpd" => failed(&ran, 2, "are the same directory; no file was copied"),
            _ => ran.exited(0),
        }
        assert_eq!(site.root.read("t/a"), b"one", "{name}");
        assert_eq!(site.root.read("t/d/b"), b"two", "{name}");
        let names: Vec<_> = site.root.tree().into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["t", "t/a", "t/d", "t/d/b"].map(PathBuf::from), "{name}");
    });
}

#[test]
fn a_source_stays_if_the_server_kept_an_old_file_of_the_same_size() {
    let here = TempRoot::new();
    let source = here.write("up/f", b"newer");
    let listing = b"type=file;size=5;modify=20200101000000; f\r\n".to_vec();
    for options in [&["--remove-source"][..], &["--remove-source", "--temp"]] {
        // Temporary names are new, so they prove themselves; the final name must not be trusted.
        let peer = Peer::start(&[
            (
                "FEAT",
                Act::Say(
                    "211-have\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n MFMT\r\n211 end",
                ),
            ),
            ("MLSD", Act::Send("150 list", listing.clone(), "226 done")),
            ("MLST", Act::Say("250-it\r\n type=file;size=5;modify=20200101000000; f\r\n250 end")),
            ("STOR", Act::Take("150 go", "226 done")),
            ("SIZE", Act::Say("213 5")),
            ("MDTM", Act::Say("213 20200101000000")),
            ("MFMT", Act::Say("213 modify=20200101000000; f")),
        ]);
        let ran = mirror(options, shown(&here.join("up")), &peer.url("t"));
        assert_ne!(ran.code(), Some(0), "{options:?} {ran:?}");
        assert!(source.exists(), "{options:?} {ran:?}");
    }
}

#[test]
fn an_old_file_that_the_server_kept_never_gets_the_time_of_the_new_one() {
    let here = TempRoot::new();
    here.write("up/f", b"newer");
    let listing = b"type=file;size=5;modify=20200101000000;unique=u; f\r\n".to_vec();
    let facts = "250-it\r\n type=file;size=5;modify=20200101000000;unique=u; f\r\n250 end";
    for kept in [true, false] {
        let mut acts = vec![
            (
                "FEAT",
                Act::Say(
                    "211-have\r\n MLST type*;size*;modify*;unique*;\r\n SIZE\r\n MDTM\r\n MFMT\r\n211 end",
                ),
            ),
            ("MLSD", Act::Send("150 list", listing.clone(), "226 done")),
            ("MLST t/ftp-cli-probe", Act::Say("550 none")),
            ("STOR", Act::Take("150 go", "226 stored as f.1")),
            ("SIZE", Act::Say("213 5")),
            ("MFMT", Act::Say("213 modify=20200101000000; f")),
        ];
        match kept {
            true => acts.push(("MLST t/f", Act::Say(facts))),
            false => acts.extend([
                ("MLST t/f", Act::Say(facts)),
                (
                    "MLST t/f",
                    Act::Say(
                        "250-it\r\n type=file;size=5;modify=20200101000000;unique=v; f\r\n250 end",
                    ),
                ),
            ]),
        }
        let peer = Peer::start(&acts);
        let ran = mirror(&[], shown(&here.join("up")), &peer.url("t"));
        assert_eq!(ran.code(), Some(if kept { 11 } else { 0 }), "{ran:?} {}", peer.seen());
        assert_eq!(peer.seen().contains("MFMT"), !kept, "{}", peer.seen());
    }
}

#[test]
fn a_file_that_grows_between_the_listings_is_not_uploaded_onto_itself() {
    let here = TempRoot::new();
    here.write("up/log", b"it has grown");
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n MFMT\r\n211 end")),
        ("MLSD", Act::Send("150 list", b"type=file;size=2; log\r\n".to_vec(), "226 done")),
        // The server shows what was made here: the directories are one.
        ("MLST", Act::Say("250-it\r\n type=file;size=0; x\r\n250 end")),
    ]);
    let ran = mirror(&[], shown(&here.join("up")), &peer.url("t"));
    failed(&ran, 2, "are the same directory; no file was copied");
    assert!(!peer.seen().contains("STOR"), "{}", peer.seen());
}

#[test]
fn a_server_that_lists_mfmt_and_refuses_it_keeps_its_own_times() {
    for (refusal, code) in [("550 not yours", 0), ("502 not implemented", 0), ("450 not now", 9)] {
        let kind = Kind { refuses: vec![("MFMT", refusal)], ..Kind::default() };
        let (here, server) = (TempRoot::new(), FoldingServer::start(kind));
        for name in ["a", "b", "c"] {
            age(&here.write(format!("up/{name}"), b"content"), 1);
        }
        let ran = mirror(&[], shown(&here.join("up")), &server.url("t"));
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.code(), Some(code), "{ran:?}");
        let told = said.matches("copies keep the times that the server gives them").count();
        assert_eq!(told, usize::from(code == 0), "{said}");
        assert_eq!(server.files().len(), 3, "{said}");
    }
}

#[test]
fn files_whose_sources_stay_count_as_mirrored() {
    let (here, file) = (TempRoot::new(), "type=file;size=4;modify=20200101000000; ");
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n211 end")),
        ("MLST", Act::Say("550 no")),
        ("MLSD", Act::Send("150 list", format!("{file}a\r\n{file}b\r\n").into(), "226 done")),
        ("RETR", Act::Send("150 data", b"good".to_vec(), "226 done")),
        // The test whether both directories are one.
        ("SIZE t/ftp-cli", Act::Say("550 no")),
        ("MDTM t/ftp-cli", Act::Say("550 no")),
        ("SIZE", Act::Say("213 4")),
        ("MDTM", Act::Say("213 20200101000000")),
        ("DELE", Act::Say("550 read only")),
    ]);
    let ran = mirror(&["--remove-source"], &peer.url("t"), shown(&here.join("new")));
    failed(&ran, 12, "2 of 2 objects mirrored, 2 failed, 0 not tried");
    assert_eq!(names(&here, "new"), ["a", "b"]);
}
