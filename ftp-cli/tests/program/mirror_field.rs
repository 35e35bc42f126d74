//! `mirror`, and `get` and `put` of several files, with the limits of real servers and disks: few
//! connections, clocks in other zones, names in other encodings, a wrong 226.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::json::told;
use crate::mirror::{fill, mirror, next_second, sent, shown, tree};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const FEAT: (&str, Act) = ("FEAT", Act::Say("211-have\r\n SIZE\r\n211 end"));

#[test]
fn a_226_with_a_differing_size_fails_the_upload() {
    let here = TempRoot::new();
    here.write("up/f", b"123456");
    for (size, code) in [("213 3", 11), ("213 6", 0), ("550 not for you", 0)] {
        let peer = Peer::start(&[
            FEAT,
            ("MKD", Act::Say("257 made")),
            ("MLSD", Act::Say("550 none")),
            ("LIST", Act::Say("550 none")),
            ("STOR", Act::Take("150 go", "226 all of it")),
            ("SIZE", Act::Say(size)),
        ]);
        let ran = mirror(&[], shown(&here.join("up")), &peer.url("t"));
        ran.exited(code);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains("3 on the server"), code != 0, "{ran:?}");
        assert!(peer.seen().contains("SIZE t/f"), "{}", peer.seen());
        // The same rule with the same result.
        let peer = Peer::start(&[
            FEAT,
            ("STOR", Act::Take("150 go", "226 all of it")),
            ("SIZE", Act::Say(size)),
        ]);
        run(ftp(&["put"]).arg(here.join("up/f")).arg(peer.url("f"))).exited(code);
    }
}

#[test]
fn an_upload_restarts_if_the_server_cannot_resume() {
    let here = TempRoot::new();
    let file = here.write("f", b"123456");
    let refusal = "451 f: Append/Restart not permitted, try again";
    let peer = Peer::start(&[
        FEAT,
        ("SIZE", Act::Say("213 3")),
        ("SIZE", Act::Say("213 6")),
        ("APPE", Act::Say(refusal)),
        ("STOR", Act::Take("150 go", "226 all of it")),
    ]);
    let put = ["put", "-c", "--verify", "none"];
    let ran = run(ftp(&put).arg(&file).arg(peer.url("f")));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("the server cannot resume: uploading from the start"), "{said}");
    // Another 451 may be temporary: the server's file stays.
    let acts = [FEAT, ("SIZE", Act::Say("213 3")), ("APPE", Act::Say("451 try again"))];
    let peer = Peer::start(&acts);
    run(ftp(&put).arg(&file).arg(peer.url("f"))).exited(9);
    assert!(!peer.seen().contains("STOR"), "{}", peer.seen());
}

#[test]
fn a_download_of_unannounced_size_is_compared_with_size() {
    let here = TempRoot::new();
    for (size, code) in [("213 9", 12), ("213 4", 0)] {
        let lines =
            b"type=file;modify=20200101000000; f\r\ntype=file;size=1;modify=20200101000000; g\r\n";
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n SIZE\r\n211 end")),
            ("MLSD", Act::Send("150 list", lines.to_vec(), "226 done")),
            ("RETR t/f", Act::Send("150 data", b"four".to_vec(), "226 done")),
            ("RETR t/g", Act::Send("150 data", b"g".to_vec(), "226 done")),
            ("SIZE", Act::Say(size)),
        ]);
        let target = here.join(size.replace(' ', "-"));
        mirror(&[], &peer.url("t"), shown(&target)).exited(code);
        assert_eq!(target.join("f").exists(), code == 0);
        assert!(target.join("g").exists());
    }
}

#[test]
fn a_file_that_changes_after_its_listing_is_complete_or_fails() {
    const LINES: &[u8] = b"type=file;size=4;modify=20200101000000; f\r\n";
    let list = || {
        [
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n SIZE\r\n211 end")),
            ("MLSD", Act::Send("150 list", LINES.to_vec(), "226 done")),
        ]
    };
    let retr = |reply, size| ("RETR", Act::Send(reply, vec![b'x'; size], "226 done"));
    let size = |reply| ("SIZE", Act::Say(reply));
    for (acts, code, requests) in [
        // It is shorter or longer now.
        (vec![retr("150 data", 3), size("213 3")], 0, 1),
        (vec![retr("150 data", 5), size("213 5"), retr("150 data", 5)], 0, 2),
        // The number in a 150 is only a reason to ask.
        (vec![retr("150 data (4 bytes)", 3), size("213 3")], 0, 1),
        (vec![retr("150 data (4 bytes)", 3), size("213 4")], 11, 1),
        // It grows with every request.
        (
            (5..9)
                .flat_map(|bytes| {
                    let reply = ["213 5", "213 6", "213 7", "213 8"][bytes - 5];
                    [retr("150 data", bytes), size(reply)]
                })
                .collect(),
            11,
            3,
        ),
    ] {
        let here = TempRoot::new();
        let peer = Peer::start(&[&list()[..], &acts].concat());
        let ran = mirror(&[], &peer.url("t"), shown(&here.join("t")));
        assert_eq!(ran.code(), Some(code), "{acts:?}: {ran:?}");
        assert_eq!(peer.seen().matches("RETR").count(), requests, "{acts:?}");
        assert_eq!(here.join("t/f").exists(), code == 0);
    }
}

#[test]
fn mirroring_a_file_url_fails_and_creates_nothing() {
    let check = |site: &Site| {
        site.root.write("t/c.txt", b"content");
        site.root.write("t/same/same", b"a file with the name of its directory");
        let here = TempRoot::new();
        let url = format!("{}/c.txt", site.url("t"));
        let ran = mirror(&[], &url, shown(&here.join("copy")));
        failed(&ran, 8, "is a file, not a directory; use ftp-cli get");
        assert!(!here.join("copy").exists());
        let url = format!("{}/same", site.url("t"));
        mirror(&[], &url, shown(&here.join("same"))).exited(0);
        assert!(here.join("same/same").is_file());
    };
    check(&OurServer::start());
    RealServer::vsftpd().iter().for_each(|server| check(server));
    RealServer::proftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST).iter().for_each(|server| check(server));
    RealServer::pyftpdlib().iter().for_each(|server| check(server));
}

#[test]
fn partial_files_of_an_interrupted_mirror_are_not_copied() {
    let (here, server) = (TempRoot::new(), OurServer::start());
    here.write("up/f", b"content");
    here.write("up/.ftp-cli-part-f", b"con");
    here.write("up/d/.ftp-cli-1f-0.tmp", b"x");
    // Left by a killed `get`.
    here.write("up/d/.ftp-client-00000000000000ff", b"x");
    let ran = mirror(&["--delete"], shown(&here.join("up")), &server.url("t"));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(said.matches("skipped: a temporary file of a transfer").count(), 3, "{said}");
    assert_eq!(tree(&server.root.join("t")).len(), 2, "the file and the directory");
    // Nor from a server, where other clients may have left theirs.
    server.root.write("t/.ftp-cli-part-f", b"con");
    mirror(&[], &server.url("t"), shown(&here.join("down"))).exited(0);
    assert!(!here.join("down/.ftp-cli-part-f").exists());
}

/// Transfers twelve files each way with more jobs than the server lets in.
fn with_too_many_jobs(start: &dyn Fn() -> Option<RealServer>) {
    let names: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
    let here = TempRoot::new();
    let locals: Vec<_> = names.iter().map(|name| here.write(name, name.as_bytes())).collect();
    // The server may still count connections of one command during the next.
    if let Some(server) = start() {
        run(ftp(&["put", "-j", "6"]).args(&locals).arg(server.url(""))).exited(0);
        assert!(names.iter().all(|name| server.root.read(name) == name.as_bytes()));
    }
    if let Some(server) = start() {
        names.iter().for_each(|name| drop(server.root.write(name, name.as_bytes())));
        let there = TempRoot::new();
        let urls = names.iter().map(|name| server.url(name));
        run(ftp(&["get", "-j", "6", "-P"]).arg(there.path()).args(urls)).exited(0);
        assert!(names.iter().all(|name| there.read(name) == name.as_bytes()));
    }
    if let Some(server) = start() {
        fill(&here, "tree");
        mirror(&["-j", "6"], shown(&here.join("tree")), &server.url("tree")).exited(0);
        assert_eq!(tree(&server.root.join("tree")).len(), tree(&here.join("tree")).len());
    }
    if let Some(server) = start() {
        fill(&server.root, "tree");
        let there = TempRoot::new();
        mirror(&["-j", "6"], &server.url("tree"), shown(&there.join("a"))).exited(0);
        assert_eq!(tree(&server.root.join("tree")), tree(&there.join("a")));
    }
}

#[test]
fn a_connection_limit_of_the_server_loses_no_file() {
    // 530 to PASS, to PASS, and as greeting.
    for limit in ["MaxClientsPerHost 2", "MaxClientsPerUser 2", "MaxConnectionsPerHost 2"] {
        with_too_many_jobs(&|| RealServer::proftpd_also(&format!("{limit}\n")));
    }
    with_too_many_jobs(&|| RealServer::vsftpd_also("max_per_ip=2\n", "UTC"));
    with_too_many_jobs(&|| RealServer::pure_ftpd_also(&["--maxclientsperip", "2"]));
}

#[test]
fn a_connection_limit_of_either_fxp_server_loses_no_file() {
    let lines = "AllowForeignAddress on\nMaxClientsPerHost 2\n";
    let (pure, pro) =
        (|| RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST), || RealServer::proftpd_also(lines));
    for (source, target) in [(pure(), pro()), (pro(), pure())] {
        let (Some(source), Some(target)) = (source, target) else { return };
        fill(&source.root, "t");
        run(ftp(&["fxp", "-r", "-j", "6"]).args([source.url("t"), target.url("t")])).exited(0);
        let files = |site: &Site| {
            let objects = tree(&site.root.join("t")).into_iter();
            objects.map(|(path, file)| (path, file.map(|file| file.0))).collect::<Vec<_>>()
        };
        assert_eq!(files(&source), files(&target));
    }
}

#[test]
fn a_wrong_password_is_tried_once_by_many_jobs() {
    let acts = vec![vec![("PASS", Act::Say("530 no"))]; 4];
    let peer = Peer::start_several(acts);
    let here = TempRoot::new();
    let locals: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| here.write(name, b"x")).collect();
    let url = peer.url("").replace("ftp://", "ftp://user:wrong@");
    run(ftp(&["put", "-j", "4"]).args(&locals).arg(url)).exited(6);
    assert_eq!(peer.seen().matches("PASS").count(), 1, "{}", peer.seen());
}

/// Names that are not UTF-8, with and without the byte that begins Telnet commands.
const NAMES: [&[u8]; 5] =
    [b"caf\xe9", b"d\xfcr/x\xe4", b"\xff\xff", b"a\xffb", b"d\xff/\xffin\xff"];

fn fill_with_bytes(root: &TempRoot, top: &str) {
    for name in NAMES {
        root.write([top.as_bytes(), b"/utf-\xc3\xa9/", name].concat(), name);
        root.write([top.as_bytes(), b"/", name].concat(), name);
    }
}

/// Returns a name as a part of a path.
fn at<'a>(directory: &Path, name: &'a [u8]) -> std::path::PathBuf {
    directory.join::<&'a OsStr>(OsStr::from_bytes(name))
}

#[test]
fn names_of_any_bytes_are_kept() {
    let check = |site: &Site, is_known: bool| {
        let here = TempRoot::new();
        fill_with_bytes(&here, "tree");
        let (source, back) = (here.join("tree"), here.join("back"));
        mirror(&[], shown(&source), &site.url("copy")).exited(0);
        let names = |root: &Path| {
            tree(root)
                .into_iter()
                .map(|(path, file)| (path, file.map(|file| file.0)))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&source), names(&site.root.join("copy")));
        let again = mirror(&["--size-only", "--trace"], shown(&source), &site.url("copy"));
        again.exited(0);
        assert_eq!((sent(&again, "STOR"), sent(&again, "MKD")), (0, 0), "{again:?}");
        mirror(&["-j", "2"], &site.url("copy"), shown(&back)).exited(0);
        assert_eq!(names(&source), names(&back));
        // Removed objects are found and removed under the same names.
        fs::remove_dir_all(at(&source, b"d\xff")).unwrap();
        fs::remove_file(at(&source, b"a\xffb")).unwrap();
        mirror(&["--delete", "--size-only"], shown(&source), &site.url("copy")).exited(0);
        assert_eq!(names(&source), names(&site.root.join("copy")));
        // One by one too.
        let url = site.url(b"one\xffname".as_slice());
        let put = run(ftp(&["put"]).arg(at(&source, b"caf\xe9")).arg(&url));
        // How another server reads the byte 0xFF is found out with a test file, for trees only.
        put.exited(if is_known { 0 } else { 14 });
        if !is_known {
            assert!(!at(site.root.path(), b"one\xffname").exists());
            return;
        }
        assert_eq!(site.root.read(b"one\xffname"), b"caf\xe9");
        let got = run(ftp(&["get"]).arg(&url).arg("-"));
        got.exited(0);
        assert_eq!(got.stdout, b"caf\xe9");
        run(ftp(&["rm"]).arg(&url)).exited(0);
        assert!(!at(site.root.path(), b"one\xffname").exists());
    };
    check(&OurServer::start(), true);
    type Start = fn() -> Option<RealServer>;
    let theirs: [(Start, bool); 6] = [
        (RealServer::vsftpd, true),
        (|| RealServer::proftpd_at(Ipv4Addr::LOCALHOST), true),
        (|| RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST), true),
        (RealServer::pyftpdlib, true),
        (|| RealServer::inetutils_at(Ipv4Addr::LOCALHOST), false),
        // A server whose greeting does not name it.
        (|| RealServer::vsftpd_also("ftpd_banner=hello\n", "UTC"), true),
    ];
    at_once(theirs.len(), theirs, |(start, is_known)| {
        start().iter().for_each(|server| check(server, is_known));
    });
}

/// A tree with one name in UTF-8 and three others, which some servers turn into one.
fn fill_with_names_servers_change(root: &TempRoot) {
    root.write("tree/utf-\u{e9}", b"text");
    root.write(b"tree/caf\xe9", b"e");
    root.write(b"tree/caf\xe8", b"f");
    root.write(b"tree/d\xfcr/x", b"g");
}

#[test]
fn names_that_the_server_changes_are_not_copied() {
    let (here, local) = (TempRoot::new(), Ipv4Addr::LOCALHOST);
    fill_with_names_servers_change(&here);
    let check = |server: &RealServer| {
        let ran = mirror(&[], shown(&here.join("tree")), &server.url("copy"));
        failed(&ran, 12, "caf\\xe9: not copied: the server changes names that are not UTF-8");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("d\\xfcr: not copied: the server changes names"), "{said}");
        let copied: Vec<_> = tree(&server.root.join("copy")).into_iter().map(|at| at.0).collect();
        assert_eq!(copied, [Path::new("utf-\u{e9}")], "only the name that it keeps");
    };
    // Two of the servers store U+FFFD, one closes the connection.
    RealServer::ftp_srv_at(local).iter().for_each(check);
    RealServer::aioftp_at(local).iter().for_each(check);
    let Some(server) = RealServer::pyftpdlib_by_default() else { return };
    check(&server);
    // A single file is checked after its upload.
    let url = server.url(b"caf\xe9".as_slice());
    let ran = run(ftp(&["put"]).arg(at(&here.join("tree"), b"caf\xe9")).arg(url));
    failed(&ran, 11, "changes names that are not UTF-8");
}

#[test]
fn names_that_the_server_only_displays_differently_are_copied() {
    let Some(server) = RealServer::busybox_at(Ipv4Addr::LOCALHOST) else { return };
    let here = TempRoot::new();
    fill_with_names_servers_change(&here);
    mirror(&[], shown(&here.join("tree")), &server.url("copy")).exited(0);
    let names = |root: &Path| tree(root).into_iter().map(|at| at.0).collect::<Vec<_>>();
    assert_eq!(names(&here.join("tree")), names(&server.root.join("copy")));
}

/// Mirrors to the server, changes a file without changing its size, and mirrors again.
fn assert_change_is_uploaded(server: &RealServer, source: &str, root: &TempRoot, options: &[&str]) {
    next_second(false);
    let again = mirror(options, source, &server.url("t"));
    again.exited(0);
    assert_eq!(sent(&again, "STOR"), 0, "what has not changed: {again:?}");
    root.write("up/sub/f", b"two");
    let changed = mirror(options, source, &server.url("t"));
    changed.exited(0);
    assert_eq!(server.root.read("t/sub/f"), b"two", "{changed:?}");
    assert_eq!(sent(&changed, "STOR"), 1, "{changed:?}");
    assert!(!server.root.join("t/.ftp-cli-clock.tmp").exists());
}

#[test]
fn a_server_that_reports_local_time_hides_no_change() {
    for (zone, said) in [
        ("Asia/Tokyo", Some("the server's clock is 9:00:00 fast")),
        ("Pacific/Honolulu", Some("the server's clock is 10:00:00 slow")),
        ("UTC", None),
    ] {
        let Some(server) = RealServer::vsftpd_also("use_localtime=YES\n", zone) else { return };
        let here = TempRoot::new();
        here.write("up/sub/f", b"one");
        here.write("up/g", b"one");
        let source = here.join("up");
        next_second(false);
        let first = mirror(&["--trace"], shown(&source), &server.url("t"));
        first.exited(0);
        assert_change_is_uploaded(&server, shown(&source), &here, &["--trace"]);
        let again = mirror(&[], shown(&source), &server.url("t"));
        let heard = String::from_utf8_lossy(&again.stderr);
        assert_eq!(heard.contains("the server's clock is "), said.is_some(), "{heard}");
        assert!(heard.contains(said.unwrap_or_default()), "{heard}");
    }
}

#[test]
fn an_unmeasurable_server_clock_hides_no_change() {
    let lines = "use_localtime=YES\ncmds_denied=MDTM\n";
    let Some(server) = RealServer::vsftpd_also(lines, "Asia/Tokyo") else { return };
    let here = TempRoot::new();
    here.write("up/f", b"one");
    let source = here.join("up");
    mirror(&[], shown(&source), &server.url("t")).exited(0);
    here.write("up/f", b"two");
    // Nothing tells the new file from an old one of its size, unless its name was free.
    let ran = mirror(&[], shown(&source), &server.url("t"));
    failed(
        &ran,
        11,
        "nothing shows that the server's file is the new one; look at the server's file, and use --temp",
    );
    assert_eq!(server.root.read("t/f"), b"two");
    here.write("up/f", b"six");
    mirror(&["--temp"], shown(&source), &server.url("t")).exited(0);
    assert_eq!(server.root.read("t/f"), b"six");
    assert!(!server.root.join("t/.ftp-cli-clock.tmp").exists());
}

#[test]
fn test_files_that_cannot_be_removed_are_named() {
    let Some(server) = RealServer::vsftpd_also("cmds_denied=DELE,RMD\n", "UTC") else { return };
    let here = TempRoot::new();
    here.write("up/f", b"one");
    let source = here.join("up");
    mirror(&[], shown(&source), &server.url("t")).exited(0);
    let again = mirror(&[], shown(&source), &server.url("t"));
    again.exited(0);
    let heard = String::from_utf8_lossy(&again.stderr);
    let stays = "the server refuses to remove this test object; delete it yourself";
    assert!(heard.contains(&format!("t/.ftp-cli-clock.tmp: {stays}")), "{heard}");
    here.write("up/caf\u{e9}", b"one");
    fs::rename(here.join("up/caf\u{e9}"), source.join(OsStr::from_bytes(b"caf\xe9"))).unwrap();
    let odd = mirror(&[], shown(&source), &server.url("t"));
    odd.exited(0);
    let heard = String::from_utf8_lossy(&odd.stderr);
    assert!(heard.contains(&format!("\\xff-\\xe9: {stays}")), "{heard}");
}

#[test]
fn an_fxp_source_that_reports_local_time_hides_no_change() {
    let lines = "use_localtime=YES\npasv_promiscuous=YES\nport_promiscuous=YES\n";
    let Some(source) = RealServer::vsftpd_also(lines, "Pacific/Honolulu") else { return };
    let Some(target) = RealServer::vsftpd_also(lines, "UTC") else { return };
    source.root.write("t/f", b"one");
    let copy = || run(ftp(&["fxp", "-r"]).args([source.url("t"), target.url("t")])).exited(0);
    copy();
    source.root.write("t/f", b"two");
    copy();
    assert_eq!(target.root.read("t/f"), b"two");
}

#[test]
fn a_server_with_two_second_timestamps_gets_a_file_once() {
    let here = TempRoot::new();
    let file = here.write("up/f", b"123456");
    let odd = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_801);
    File::options().write(true).open(file).unwrap().set_modified(odd).unwrap();
    let list = b"type=file;size=6;modify=20200101000000; f\r\n";
    // The old file has the size of the new one, so only a file with rounded times is as it should be.
    for (told, stores, code) in [("213 20010909014642", 1, 0), ("213 20010909014641", 2, 11)] {
        let peer = Peer::start(&[
            (
                "FEAT",
                Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n MFMT\r\n SIZE\r\n211 end"),
            ),
            ("MLST t/ftp-cli-probe", Act::Say("550 no such file")),
            ("MDTM t/ftp-cli-probe", Act::Say("550 no such file")),
            ("MLST", Act::Say("250-listing\r\n type=dir; t\r\n250 end")),
            ("MLSD", Act::Send("150 list", list.to_vec(), "226 done")),
            ("STOR", Act::Take("150 go", "226 all of it")),
            ("MFMT", Act::Say("213 Modify=20010909014641; x")),
            ("MDTM", Act::Say(told)),
            ("SIZE", Act::Say("213 6")),
            ("DELE", Act::Say("250 gone")),
        ]);
        let ran = mirror(&[], shown(&here.join("up")), &peer.url("t"));
        assert_eq!(ran.code(), Some(code), "{ran:?}");
        let seen = peer.seen();
        assert_eq!(seen.matches("STOR").count(), stores, "{seen}");
    }
}

#[test]
fn put_skips_a_file_whose_odd_second_the_servers_file_system_has_rounded() {
    let here = TempRoot::new();
    let file = here.write("f", b"123456");
    let odd = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_801);
    File::options().write(true).open(&file).unwrap().set_modified(odd).unwrap();
    let (coarse, fine) = ("213 20010909014640", "213 20010909014641");
    let line = b"-rw-r--r-- 1 u g 6 Jan 1 2020 f\r\n".to_vec();
    for (option, size, there, probed, skips) in [
        ("--if-changed", "213 6", "213 20200101000000", coarse, true),
        ("--if-changed", "213 6", "213 20200101000002", coarse, true),
        ("--newer", "213 6", "213 20200101000000", coarse, true),
        // The file system has odd seconds, so the file has changed.
        ("--if-changed", "213 6", "213 20200101000000", fine, false),
        ("--newer", "213 6", "213 20200101000000", fine, false),
        ("--if-changed", "213 5", "213 20200101000000", coarse, false),
        ("--if-changed", "213 6", "213 20200101000004", coarse, false),
    ] {
        // A file of about the same time is looked at twice: it may be a link to the local one.
        let looks = if there.ends_with("04") { 3 } else { 4 };
        let first = if option == "--newer" { Act::SayTime } else { Act::Say(probed) };
        let acts = [
            ("FEAT", Act::Say("211-have\r\n MDTM\r\n MFMT\r\n SIZE\r\n211 end")),
            ("LIST", Act::Send("150 list", line.clone(), "226 done")),
            // --newer measures the clock first.
            ("MDTM t/.ftp-cli-clock.tmp", first.clone()),
            ("MDTM t/.ftp-cli-clock.tmp", Act::Say(probed)),
            ("SIZE", Act::Say(size)),
            ("STOR t/.ftp-cli-clock.tmp", Act::Take("150 go", "226 all of it")),
            ("STOR t/f", Act::Take("150 go", "226 all of it")),
            ("SIZE", Act::Say("213 6")),
            ("MDTM t/f", Act::Say("213 20260101000000")),
            ("MFMT", Act::Say("213 Modify=20200101000001; x")),
            ("DELE", Act::Say("250 gone")),
        ];
        let told = vec![("MDTM t/f", Act::Say(there)); looks];
        let peer = Peer::start(&[told, acts.to_vec()].concat());
        let ran = run(&mut ftp(&["put", option, shown(&file), &peer.url("t/f")]));
        let seen = peer.seen();
        assert_eq!(ran.code(), Some(0), "{option} {size} {there} {probed}: {seen}");
        assert_eq!(!seen.contains("STOR t/f"), skips, "{option} {size} {there} {probed}: {seen}");
    }
}

#[test]
fn an_error_of_the_whole_run_names_source_and_target() {
    let here = TempRoot::new();
    let (tree, missing) = (here.mkdir("tree"), here.join("missing"));
    let url = "ftp://user@127.0.0.1:1/t";
    let (tree, missing) = (shown(&tree), shown(&missing));
    for (command, source, target, code) in [
        (&["mirror"][..], url, tree, 4),
        (&["mirror"], tree, url, 4),
        (&["mirror"], missing, url, 3),
        (&["fxp", "-r"], url, url, 4),
    ] {
        let ran = run(ftp(command).args(["--json", source, target]).env("FTP_PASSWORD", "x"));
        let (lines, events) = told(&ran, code);
        assert_eq!(events, "error summary");
        assert_eq!((lines[0].text("source"), lines[0].text("target")), (source, target));
    }
}
