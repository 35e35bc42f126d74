//! `stat`, `rm`, `mkdir`, `rmdir`, `mv`, `chmod`, `quote`: single operations on remote objects.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};

use ftp_tests::at_once::at_once;
use ftp_tests::folding::{FoldingServer, Kind};
use ftp_tests::peer::RealServer;
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::some;
use ftp_tests::site::{OurServer, Site};

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// A server, whether it shows symbolic links to directories as links, and whether it removes them
/// like files.
struct Server {
    name: &'static str,
    site: Box<dyn Deref<Target = Site>>,
    knows_links: bool,
}

/// Runs `work` with our server and the available others, in a plain run with four of them, several at a
/// time: they take long to start.
#[track_caller]
fn with_every_server(work: impl Fn(&Server) + Sync) {
    type Start = fn(Ipv4Addr) -> Option<RealServer>;
    let theirs: Vec<(_, Start, _)> = vec![
        ("vsftpd", |host| RealServer::vsftpd_at(host), true),
        ("proftpd", |host| RealServer::proftpd_at(host), true),
        ("pure-ftpd", |host| RealServer::pure_ftpd_at(host), true),
        ("pyftpdlib", |host| RealServer::pyftpdlib_at(host), true),
        ("inetutils", |host| RealServer::inetutils_at(host), false),
        ("busybox", |host| RealServer::busybox_at(host), true),
        ("twisted", |host| RealServer::twisted_at(host), false),
        ("ftp-srv", |host| RealServer::ftp_srv_at(host), false),
        ("aioftp", |host| RealServer::aioftp_at(host), false),
    ];
    work(&Server { name: "ours", site: Box::new(OurServer::start()), knows_links: true });
    at_once(4, some(theirs, 4), |(name, start, knows_links)| {
        if let Some(server) = start(Ipv4Addr::LOCALHOST) {
            work(&Server { name, site: Box::new(server), knows_links });
        }
    });
}

/// Makes a tree with all difficult objects, and objects beside it that must stay.
fn plant(root: &TempRoot) {
    for directory in ["outside", "t", "t/sub", "t/sub/deep", "t/empty"] {
        // Some servers run as nobody.
        fs::set_permissions(root.mkdir(directory), Permissions::from_mode(0o777)).unwrap();
    }
    for file in ["outside/keep", "t/a", "t/.hidden", "t/sub/b c", "t/sub/deep/d"] {
        root.write(file, b"12345");
    }
    for (target, link) in [
        ("../outside", "t/link"),
        ("../outside/keep", "t/to-file"),
        ("nowhere", "t/dangling"),
        ("../../outside", "t/sub/link"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
}

/// MLSD of some servers leaves out a link that leads nowhere.
#[test]
fn a_link_that_leads_nowhere_is_no_pattern_of_other_names() {
    with_every_server(|server| {
        let (name, site) = (server.name, &**server.site);
        site.root.write("a1", b"12345");
        symlink("nowhere", site.root.join("a[1]")).unwrap();
        let url = format!("{}a[1]", site.url(""));
        let ran = run(&mut ftp(&["rm", &url]));
        // LIST of these leaves it out, too.
        let hides = matches!(name, "aioftp" | "ftp-srv");
        assert!(hides || site.root.join("a1").exists(), "{name}: {ran:?}");
        site.clear();
    });
}

#[test]
fn rm_removes_a_tree_and_follows_no_symlink() {
    with_every_server(|server| {
        let (name, site) = (server.name, &**server.site);
        plant(&site.root);
        if name == "twisted" {
            // It lists no directory that contains such a link.
            fs::remove_file(site.root.join("t/dangling")).unwrap();
        }
        let mut ran = run(&mut ftp(&["rm", "-r", &site.url("t")]));
        assert!(site.root.join("outside/keep").exists(), "{name}: {ran:?}");
        if ran.code() == Some(14) && site.root.join("t/a").exists() {
            // Its listings tell nothing about directories in the login directory.
            failed(&ran, 14, "use --no-links");
            ran = run(&mut ftp(&["rm", "-r", &format!("{}/", site.url("t"))]));
            assert!(site.root.join("outside/keep").exists(), "{name}: {ran:?}");
        }
        if server.knows_links {
            assert_eq!(ran.code(), Some(0), "{name}: {ran:?}");
            site.assert_only(&[b"outside"]);
            assert!(ran.stderr.is_empty() && ran.stdout.is_empty(), "{name}: {ran:?}");
        } else {
            assert!(matches!(ran.code(), Some(8 | 12 | 14)), "{name}: {ran:?}");
            assert!(site.root.join("t/link").is_symlink(), "{name}: {ran:?}");
        }
        // A link that the user names is treated as a link.
        site.clear();
        plant(&site.root);
        let ran = run(&mut ftp(&["rm", "-r", &site.url("t/link").replace("%2F", "/")]));
        assert!(site.root.join("outside/keep").exists(), "{name}: {ran:?}");
        assert_eq!(ran.code() == Some(0), server.knows_links, "{name}: {ran:?}");
        assert_eq!(site.root.join("t/link").is_symlink(), !server.knows_links, "{name}");
        // In the login directory there is the least evidence.
        symlink("outside", site.root.join("named")).unwrap();
        let ran = run(&mut ftp(&["rm", "-r", &site.url("named")]));
        assert!(site.root.join("outside/keep").exists(), "{name}: {ran:?}");
        assert_eq!(ran.code() == Some(0), server.knows_links, "{name}: {ran:?}");
        assert_eq!(site.root.join("named").is_symlink(), !server.knows_links, "{name}");
        site.clear();
    });
}

#[test]
fn object_commands_work_with_every_server() {
    with_every_server(|server| {
        let (name, site) = (server.name, &**server.site);
        let at = |path: &str| site.url(path).replace("%2F", "/");
        let ok = |arguments: &[&str]| {
            let ran = run(&mut ftp(arguments));
            assert_eq!(ran.code(), Some(0), "{name}: {ran:?}");
            String::from_utf8(ran.stdout).unwrap()
        };
        ok(&["mkdir", &at("d")]);
        ok(&["mkdir", "-p", &at("d/e/f"), &at("d/e"), &at("g/h")]);
        assert!(site.root.join("d/e/f").is_dir() && site.root.join("g/h").is_dir(), "{name}");
        if !matches!(name, "ftp-srv") {
            let ran = run(&mut ftp(&["mkdir", &at("d")]));
            assert!(matches!(ran.code(), Some(8 | 9)), "{name}: {ran:?}");
        }

        site.root.write("d/file", b"12345");
        let facts = ok(&["stat", &at("d/file"), &at("d/e")]);
        let (file, directory) = facts.split_once("\n\n").unwrap();
        assert!(file.starts_with("name: d/file\ntype: file\nsize: 5\nmodified"), "{name}: {facts}");
        assert!(directory.starts_with("name: d/e\ntype: dir\n"), "{name}: {facts}");
        let json = ok(&["stat", "--json", &at("d/file")]);
        let start = r#"{"v":1,"event":"entry","name":"d/file","type":"file","size":5,"modified"#;
        assert!(json.starts_with(start), "{name}: {json}");
        for command in ["stat", "rm", "rmdir"] {
            let ran = run(&mut ftp(&[command, &at("d/missing")]));
            assert!(matches!(ran.code(), Some(8 | 9)), "{name}: {ran:?}");
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(said.contains("refused: 5") || said.contains("refused: 4"), "{name}: {said}");
        }
        if !matches!(name, "aioftp" | "ftp-srv") {
            // They answer 451 for a missing directory.
            ok(&["rm", "-f", &at("d/missing"), &at("nowhere/missing")]);
        }

        ok(&["mv", &at("d/file"), "d/e/"]);
        assert!(site.root.join("d/e/file").is_file(), "{name}");
        ok(&["mv", &at("d/e/file"), "d/f2"]);
        assert_eq!(site.root.read("d/f2"), b"12345", "{name}");

        // vsftpd forbids it to anonymous users.
        if !matches!(name, "vsftpd" | "twisted" | "aioftp" | "busybox") {
            ok(&["chmod", "640", &at("d/f2")]);
            let mode =
                |path: &str| fs::metadata(site.root.join(path)).unwrap().permissions().mode();
            assert_eq!(mode("d/f2") & 0o7777, 0o640, "{name}");
            ok(&["chmod", "u+x,g=", &at("d/f2")]);
            assert_eq!(mode("d/f2") & 0o7777, 0o700, "{name}");
        }

        let replies = ok(&["quote", &at("d"), "PWD", "TYPE I"]);
        let lines: Vec<&str> = replies.lines().collect();
        assert!(lines[0].starts_with("257 \"") && lines[0].contains("/d\""), "{name}: {replies}");
        assert!(lines[1].starts_with("200 ") || lines[1].starts_with("250 "), "{name}: {replies}");

        ok(&["rm", &at("d/f2")]);
        ok(&["rmdir", &at("d/e/f"), &at("d/e"), &at("d"), &at("g/h"), &at("g")]);
        site.assert_only(&[]);
    });
}

#[test]
fn rm_does_not_enter_a_symlink_listed_as_a_directory() {
    let feat = || ("FEAT", Act::Say("211-features\r\n MLST type*;\r\n211 end"));
    let tree = "type=dir; l\r\ntype=file; f\r\n";
    let list = |lines: &str| Act::Send("150 list", lines.as_bytes().to_vec(), "226 done");
    // The line of LIST, the link count of the parent directory, and whether the object can be
    // entered.
    let directory = "drwxr-xr-x 2 u g 0 Jan 2 2020 l\r\n";
    let link = "lrwxrwxrwx 1 u g 0 Jan 2 2020 l -> x\r\n";
    for (listed, links, enters) in [
        (directory, 3, true),
        (directory, 4, false),
        (directory, 2, false),
        (directory, 1, false),
        // No second count shows that this server counts links.
        ("nothing that is known\r\n", 3, false),
        (link, 3, false),
    ] {
        let above = format!("drwxr-xr-x {links} u g 0 Jan 2 2020 t\r\n");
        let peer = Peer::start(&[
            feat(),
            ("MLST t", Act::Say("250-entry\r\n type=dir; t\r\n250 end")),
            ("MLST t", Act::Say("550 none")),
            ("LIST -a t", list(listed)),
            ("LIST -a", list(&above)),
            ("MLSD t/l", list("type=file; victim\r\n")),
            ("MLSD t", list(tree)),
            ("DELE t/l/victim", Act::Say("250 gone")),
            ("DELE t/l", Act::Say("550 no")),
            ("DELE t/f", Act::Say("250 gone")),
            ("RMD t/l", Act::Say("250 gone")),
            ("RMD t", Act::Say("250 gone")),
        ]);
        let ran = run(&mut ftp(&["rm", "-r", &peer.url("t/")]));
        let seen = peer.seen();
        assert_eq!(seen.contains("DELE t/l/victim"), enters, "{listed} {links}: {seen}");
        assert_eq!(ran.code() == Some(0), enters, "{listed} {links}: {ran:?} {seen}");
        // Nothing is removed to find out what it is.
        assert!(enters || !seen.contains("RMD"), "{seen}");
        assert_eq!(seen.contains("DELE t/l,"), listed == link, "{seen}");
    }
}

#[test]
fn rm_enters_an_unproven_directory_only_with_a_trailing_slash() {
    let list = |lines: &str| Act::Send("150 list", lines.as_bytes().to_vec(), "226 done");
    let named = "drwxr-xr-x 2 u g 0 Jan 2 2020 t\r\n";
    let victim = "-rw-r--r-- 1 u g 0 Jan 2 2020 victim\r\n";
    // A further line of LIST in the login directory, whether the name ends in a slash, and whether it
    // can be entered.
    for (itself, slash, enters) in [
        ("", "", false),
        ("", "/", true),
        ("drwxr-xr-x 3 u g 0 Jan 2 2020 .\r\n", "", true),
        ("drwxr-xr-x 2 u g 0 Jan 2 2020 .\r\n", "", false),
        ("drwxr-xr-x 2 u g 0 Jan 2 2020 .\r\n", "/", false),
        ("drwxr-xr-x 1 u g 0 Jan 2 2020 .\r\n", "", false),
        ("drwxr-xr-x 9 u g 0 Jan 2 2020 ..\r\n", "", false),
    ] {
        let start = || {
            Peer::start(&[
                // For the link count, and to remove it.
                ("LIST -a t", list(victim)),
                ("LIST -a t", list(victim)),
                ("LIST -a", list(&format!("{itself}{named}"))),
                ("LIST", list(named)),
                ("DELE t/victim", Act::Say("250 gone")),
                ("RMD t", Act::Say("250 gone")),
            ])
        };
        let what = format!("{itself:?} {slash}");
        let peer = start();
        let ran = run(&mut ftp(&["rm", "-r", &format!("{}{slash}", peer.url("t"))]));
        let seen = peer.seen();
        assert_eq!(seen.contains("DELE t/victim"), enters, "{what}: {seen}");
        assert_eq!(ran.code(), Some(if enters { 0 } else { 14 }), "{what}: {ran:?} {seen}");
        if !enters {
            failed(&ran, 14, "use --no-links if this server has no links to directories");
            assert!(!seen.contains("RMD") && !seen.contains("DELE"), "{what}: {seen}");
            let peer = start();
            run(&mut ftp(&["rm", "-r", "--no-links", &peer.url("t")])).exited(0);
        }
        // The same in a batch.
        let peer = start();
        let queue = TempRoot::new();
        let queue = queue.write("queue", format!("rm -r t{slash}\n").as_bytes());
        let ran = run(&mut ftp(&["batch", &peer.url(""), queue.to_str().unwrap()]));
        let seen = peer.seen();
        assert_eq!(seen.contains("DELE t/victim"), enters, "{what}: {ran:?} {seen}");
    }
}

#[test]
fn a_name_that_ends_with_a_slash_is_not_that_of_a_file_cl_52() {
    let list = |line: &str| Act::Send("150 list", format!("{line}\r\n").into_bytes(), "226 done");
    let file = "-rw-r--r-- 1 u g 5 Jan 2 2020 f";
    let link = "lrwxrwxrwx 1 u g 5 Jan 2 2020 f -> d";
    for command in [&["rm"][..], &["rm", "-r"], &["rm", "-f"]] {
        for (line, is_removed) in [(file, false), (link, true)] {
            let peer = Peer::start(&[
                ("LIST", list(line)),
                ("PWD", Act::Say("257 \"/\"")),
                ("CWD f", Act::Say("550 not a directory")),
                ("DELE f", Act::Say("250 gone")),
            ]);
            let ran = run(ftp(command).arg(peer.url("f/")));
            let case = format!("{command:?} {line}: {ran:?} {}", peer.seen());
            assert_eq!(peer.seen().contains("DELE"), is_removed, "{case}");
            assert_eq!(ran.code(), Some(if is_removed { 0 } else { 8 }), "{case}");
        }
    }
    // A directory stays, too, without -r.
    let peer = Peer::start(&[("LIST", list("drwxr-xr-x 2 u g 5 Jan 2 2020 f"))]);
    failed(&run(ftp(&["rm"]).arg(peer.url("f/"))), 8, "is a directory; use ftp-cli rm -r");
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
}

#[test]
fn rm_says_what_it_could_not_do_li_06() {
    let server = OurServer::start();
    let root = &server.root;
    root.mkdir("t");
    root.write("t/a", b"");
    root.write("b", b"");
    let url = |name: &str| server.url(name);
    failed(&run(&mut ftp(&["rm", &url("t")])), 8, "use ftp-cli rm -r");
    failed(&run(&mut ftp(&["rm", "-f", &url("t")])), 8, "use ftp-cli rm -r");
    failed(&run(&mut ftp(&["rm", &url("x")])), 8, "DELE refused: 550");
    let ran = run(&mut ftp(&["rm", &url("x"), &url("b")]));
    failed(&ran, 12, "1 of 2 objects removed, 1 failed, 0 not tried");
    assert!(!root.join("b").exists());
    let json = run(&mut ftp(&["rm", "-r", "-f", "--no-links", "--json", &url("t"), &url("x")]))
        .succeeded();
    let json = String::from_utf8(json).unwrap();
    assert!(json.contains(r#""name":"t/a""#) && json.contains(r#""name":"t""#), "{json}");
    assert!(json.contains(r#""skipped":true"#), "{json}");
    assert!(json.contains(r#""exit":0,"done":2,"failed":0,"skipped":1,"not_tried":0"#), "{json}");
    for whole in ["", "%2F", "%2E%2E"] {
        let url = format!("{}{whole}", url(""));
        failed(&run(&mut ftp(&["rm", "-rf", &url])), 2, "that ends in a name");
    }
}

#[test]
fn what_no_listing_proves_missing_is_not_missing() {
    let start = || {
        Peer::start(&[
            ("PWD", Act::Say("257 \"/\"")),
            ("LIST", Act::Say("550 no")),
            ("DELE", Act::Say("550 no")),
            ("CWD a", Act::Say("550 no")),
            // After two listings the session stays in `d`, which has no `d`.
            ("CWD d", Act::Say("250 in")),
            ("CWD d", Act::Say("250 in")),
            ("CWD d", Act::Say("250 in")),
            ("CWD d", Act::Say("550 no")),
        ])
    };
    for name in ["d/a", "d/*.log"] {
        failed(&run(&mut ftp(&["rm", "-f", &start().url(name)])), 8, "refused: 550");
    }
}

#[test]
fn an_incompletely_removed_tree_exits_as_partial_li_06() {
    let list = |lines: &str| Act::Send("150 list", lines.as_bytes().to_vec(), "226 done");
    let names = "-rw-r--r-- 1 u g 0 Jan 2 2020 a\r\n-rw-r--r-- 1 u g 0 Jan 2 2020 ../b\r\n\
        -rw-r--r-- 1 u g 0 Jan 2 2020 c\r\n";
    let peer = Peer::start(&[
        ("LIST -a t", list(names)),
        ("LIST", list("drwxr-xr-x 2 u g 0 Jan 2 2020 t\r\n")),
        ("DELE t/a", Act::Say("250 gone")),
        ("DELE t/c", Act::Say("550 busy")),
    ]);
    let ran = run(&mut ftp(&["rm", "-r", &peer.url("t/")]));
    failed(&ran, 12, "1 object removed, 2 failed");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("t/c: DELE refused: 550 busy"), "{said}");
    assert!(said.contains("t/../b: not a valid name"), "{said}");
    let seen = peer.seen();
    assert!(!seen.contains("..") && !seen.contains("RMD t"), "{seen}");
}

#[test]
fn a_path_that_is_too_long_for_a_command_fails_as_an_object() {
    const FEAT: &str = "211-have\r\n MLST type*;size*;modify*;\r\n211 end";
    // Each directory has one with another name.
    let mut path = "t".to_owned();
    let mut listings = Vec::new();
    for level in 0..40 {
        let name = format!("{level}{}", "n".repeat(240));
        let facts = format!("type=file; a\r\ntype=dir; {name}\r\n").into_bytes();
        let command: &'static str = format!("MLSD {path}").leak();
        listings.push((command, Act::Send("150 list", facts, "226 done")));
        path = format!("{path}/{name}");
    }
    // The first command that fits is answered.
    listings.reverse();
    for (dele, code, counts) in
        [("550 no", 14, "0 objects removed"), ("250 gone", 12, "1 object removed")]
    {
        let mut acts = vec![
            ("FEAT", Act::Say(FEAT)),
            ("MLST", Act::Say("250-entry\r\n type=dir; t\r\n250 end")),
            ("DELE t/a", Act::Say(dele)),
        ];
        acts.extend(listings.iter().cloned());
        let peer = Peer::start(&acts);
        let ran = run(&mut ftp(&["rm", "-r", "--no-links", &peer.url("t/")]));
        failed(&ran, code, counts);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains("ftp-cli: t: not everything was removed"), "{said}");
        assert!(said.contains("too long"), "{said}");
    }
    // A name that the user gives is invalid.
    let peer = Peer::start(&[]);
    failed(&run(&mut ftp(&["rm", "-r", &peer.url(&"x".repeat(9_000))])), 2, "too long");
}

#[test]
fn a_refused_path_is_retried_after_cwd_cl_60() {
    for (arguments, refused, then) in [
        (&["rm"][..], ("DELE a/b", Act::Say("550 no")), ("DELE b", Act::Say("250 gone"))),
        (&["rmdir"], ("RMD a/b", Act::Say("550 no")), ("RMD b", Act::Say("250 gone"))),
        (&["mkdir"], ("MKD a/b", Act::Say("550 no")), ("MKD b", Act::Say("257 \"b\" made"))),
        (
            &["chmod", "644"],
            ("SITE CHMOD 644 a/b", Act::Say("550 no")),
            ("SITE CHMOD 644 b", Act::Say("200 set")),
        ),
    ] {
        let then_seen = then.0;
        let listed = || Act::Send("150 list", Vec::new(), "226 done");
        let peer = Peer::start(&[refused, then, ("LIST", listed()), ("LIST", listed())]);
        run(ftp(arguments).arg(peer.url("a/b"))).succeeded();
        let seen = peer.seen();
        let (_, inside) = seen.split_once("CWD a, ").unwrap_or_default();
        assert!(inside.contains(then_seen), "{seen}");
    }
}

#[test]
fn one_connection_removes_all_objects_of_a_server() {
    let server = OurServer::start();
    for name in ["a", "b", "c"] {
        server.root.write(name, b"");
    }
    let urls = ["a", "b", "c"].map(|name| server.url(name));
    let ran = run(ftp(&["rm", "-v", "--trace"]).args(&urls));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ran.succeeded();
    assert_eq!(said.matches("> USER").count(), 1, "{said}");
    assert_eq!(said.matches(": removed").count(), 3, "{said}");
}

#[test]
fn mkdir_with_parents_says_what_is_in_the_way_li_06() {
    let server = OurServer::start();
    server.root.write("file", b"");
    failed(&run(&mut ftp(&["mkdir", "-p", &server.url("file")])), 8, "550");
    let below = format!("{}file/x/y", server.url(""));
    failed(&run(&mut ftp(&["mkdir", "-p", &below])), 8, "MKD refused: 5");
    server.root.mkdir("d");
    let json = run(&mut ftp(&["mkdir", "-p", "--json", &server.url("d")])).succeeded();
    assert!(String::from_utf8(json).unwrap().contains(r#""skipped":true"#));
}

#[test]
fn symbolic_chmod_needs_the_current_mode() {
    let server = OurServer::start();
    let path = server.root.write("file", b"");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    run(&mut ftp(&["chmod", "go-r", &server.url("file")])).succeeded();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    failed(&run(&mut ftp(&["chmod", "u+x", &server.url("missing")])), 8, "550");
    failed(&run(&mut ftp(&["chmod", "u+q", &server.url("file")])), 2, "invalid mode");
    // A server that reports only size and time.
    let peer = Peer::start(&[("SIZE", Act::Say("213 5"))]);
    failed(
        &run(&mut ftp(&["chmod", "u+x", &peer.url("file")])),
        14,
        "does not report the current mode",
    );
    let peer = Peer::start(&[]);
    failed(&run(&mut ftp(&["chmod", "644", &peer.url("file")])), 8, "502 what?");
    // The bits of a link are not those of its target, which the command changes.
    let link = "lrwxrwxrwx 1 u g 6 Jan 2 2020 file -> secret\r\n";
    let facts = "250-entry\r\n type=OS.unix=slink:secret;UNIX.mode=0777; file\r\n250 end";
    for acts in [
        vec![("LIST", Act::Send("150 list", link.as_bytes().to_vec(), "226 done"))],
        vec![
            ("FEAT", Act::Say("211-features\r\n MLST type*;UNIX.mode*;\r\n211 end")),
            ("MLST", Act::Say(facts)),
        ],
    ] {
        let set = ("SITE", Act::Say("200 set"));
        let peer = Peer::start(&[acts, vec![set]].concat());
        failed(&run(&mut ftp(&["chmod", "o-w", &peer.url("file")])), 14, "use an octal MODE");
        assert!(!peer.seen().contains("SITE"), "{}", peer.seen());
    }
}

#[test]
fn quote_loses_no_line_of_a_long_reply_rp_20() {
    let ours = OurServer::start();
    let name = |number| format!("{number:04} {}", "long ".repeat(20));
    // Our server sends at most 4 KiB of lines.
    (0..25).for_each(|number| drop(ours.root.write(name(number), b"")));
    let ran = run(&mut ftp(&["quote", &ours.url(""), "STAT ."]));
    let said = String::from_utf8(ran.succeeded()).unwrap();
    assert!(said.len() > 3_000, "{} bytes", said.len());
    let missing: Vec<_> = (0..25).filter(|number| !said.contains(&name(*number))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // A reply beyond the limit is an error, and is not truncated.
    let line = "x".repeat(10_000);
    let endless: &str = format!("211-a\r\n{}211 b", format!(" {line}\r\n").repeat(110)).leak();
    let peer = Peer::start(&[("STAT", Act::Say(endless))]);
    failed(&run(&mut ftp(&["quote", &peer.url(""), "STAT ."])), 7, "too long");
}

#[test]
fn quote_prints_every_reply_and_shows_no_password_li_11_li_12() {
    let peer = Peer::start(&[
        ("SITE HELP", Act::Say("214-first\r\n  second\x1b[2J\r\n214 last")),
        ("SITE NO", Act::Say("504 no such\r\n")),
        ("XYZ \u{e9}", Act::Say("250 odd")),
        ("PASS second", Act::Say("202 not needed")),
    ]);
    let mut quote = ftp(&["quote", "--trace", &peer.url("")]);
    let ran = run(quote.args(["SITE HELP", "XYZ \u{e9}", "PASS second", "acct third"]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.code(), Some(12), "{ran:?}");
    let want = "214-first\n  second\x1b[2J\n214 last\n250 odd\n202 not needed\n502 what?\n";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), want);
    assert!(!said.contains("PASS second") && !said.contains("third"), "{said}");
    assert!(said.contains("> PASS ****") && said.contains("> ACCT ****"), "{said}");

    for (command, words) in [
        ("RETR x", "uses a data connection"),
        ("AUTH TLS", "changes the protection, mode or structure"),
        ("NOOP\r\nDELE x", "NOOP"),
        ("", "quote"),
    ] {
        let peer = Peer::start(&[]);
        failed(&run(&mut ftp(&["quote", &peer.url(""), command])), 2, words);
    }
    let peer = Peer::start(&[("SITE X", Act::Say("450 later"))]);
    run(&mut ftp(&["quote", &peer.url(""), "SITE X"])).exited(9);
    let peer = Peer::start(&[("CWD", Act::Say("550 no"))]);
    failed(&run(&mut ftp(&["quote", &peer.url("d"), "NOOP"])), 8, "CWD refused: 550");
    let peer = Peer::start(&[("CWD", Act::Say("550 no")), ("DELE", Act::Say("250 gone"))]);
    run(&mut ftp(&["quote", &peer.url(""), "CWD d", "DELE a"])).exited(8);
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
    let json = run(&mut ftp(&["quote", "--json", &OurServer::start().url(""), "NOOP"]));
    let json = String::from_utf8(json.succeeded()).unwrap();
    assert!(json.contains(r#""event":"done","source":"NOOP","code":200,"message":""#), "{json}");
}

#[test]
fn stat_falls_back_to_commands_the_server_supports() {
    let list = |lines: &str| Act::Send("150 list", lines.as_bytes().to_vec(), "226 done");
    // By LIST of its parent directory, with the exact size and time.
    let peer = Peer::start(&[
        (
            "LIST d",
            list("-rw-r----- 1 me us 7 Jan 2 2020 a b\r\ndrwxr-xr-x 2 u g 0 Jan 2 2020 c\r\n"),
        ),
        ("SIZE d/a b", Act::Say("213 8")),
        ("MDTM d/a b", Act::Say("213 20200102030405")),
    ]);
    let facts = run(&mut ftp(&["stat", &peer.url("d/a%20b")])).succeeded();
    let want = "name: d/a b\ntype: file\nsize: 8\nmodified: 2020-01-02T03:04:05Z\n\
        permissions: rw-r-----\nmode: 0640\nowner: me\ngroup: us\n";
    assert_eq!(String::from_utf8_lossy(&facts), want);
    // No listing shows it, but it can be entered.
    let peer = Peer::start(&[("LIST", list("")), ("CWD", Act::Say("250 there"))]);
    let facts = run(&mut ftp(&["stat", &peer.url("d")])).succeeded();
    assert_eq!(facts, b"name: d\ntype: dir\n");
    let peer = Peer::start(&[("LIST", list("")), ("CWD", Act::Say("550 no such thing"))]);
    failed(&run(&mut ftp(&["stat", &peer.url("d")])), 8, "550 no such thing");
    // Bytes that are not UTF-8, exactly and in base64.
    let peer = Peer::start(&[("SIZE a\u{e9}", Act::Say("213 8"))]);
    let json = run(&mut ftp(&["stat", "--json", &peer.url("a%C3%A9")])).succeeded();
    assert!(String::from_utf8(json).unwrap().contains("\"name\":\"a\u{e9}\",\"type\":\"file\""));
}

#[test]
fn a_move_that_was_only_confirmed_is_a_failure() {
    for no_mlsd in [false, true] {
        let refuses = vec![("RNTO no/", "250 renamed")];
        let server = FoldingServer::start(Kind { no_mlsd, refuses, ..Kind::default() });
        server.write("d/a", b"a");
        let mv = |from: &str, to: &str| run(&mut ftp(&["mv", &server.url(from), to]));
        let why = "the server has confirmed the renaming, but shows only the old name";
        failed(&mv("d/a", "no/a"), 11, why);
        // Without MLST, nothing shows a directory.
        assert_eq!(mv("d", "no/d").code(), Some(if no_mlsd { 0 } else { 11 }));
        mv("d/a", "d/b").exited(0);
        mv("d", "e").exited(0);
        assert!(server.read("e/b").is_some());
        let here = TempRoot::new();
        let lines = here.write("lines", b"mv e/b no/b\n");
        failed(&run(ftp(&["batch", &server.url("")]).arg(lines)), 11, why);
    }
}

#[test]
fn mv_tells_which_name_was_refused() {
    let server = OurServer::start();
    server.root.write("a", b"1");
    failed(&run(&mut ftp(&["mv", &server.url("x"), "y"])), 8, "RNFR refused: 550");
    failed(&run(&mut ftp(&["mv", &server.url("a"), "no/where"])), 8, "RNTO refused: 5");
    failed(&run(&mut ftp(&["mv", &server.url("a"), "ftp://elsewhere/x"])), 2, "fxp");
    run(&mut ftp(&["mv", &server.url("a"), &server.url("b")])).succeeded();
    assert_eq!(server.root.read("b"), b"1");
}

#[test]
fn transient_failures_are_retried_except_for_quote() {
    let busy = || Act::Say("450 busy");
    for (command, verb, done, rest) in [
        ("ls", "NLST", Act::Send("150 list", b"a\r\n".to_vec(), "226 done"), &[][..]),
        ("stat", "SIZE", Act::Say("213 1"), &[]),
        ("rm", "DELE", Act::Say("250 gone"), &[]),
        ("mkdir", "MKD", Act::Say("257 \"x\" made"), &[]),
        ("rmdir", "RMD", Act::Say("250 gone"), &[]),
        ("mv", "RNTO", Act::Say("250 moved"), &["y"]),
        ("chmod", "SITE CHMOD", Act::Say("200 done"), &[]),
    ] {
        let before: &[&str] = if command == "chmod" { &["644"] } else { &[] };
        let with = |options: &[&str], acts: &[(&'static str, Act)]| {
            let peer = Peer::start(acts);
            let mut ftp = ftp(&[command]);
            let ran = run(ftp.args(options).args(before).arg(peer.url("x")).args(rest));
            (ran, peer.seen().matches(verb).count(), peer.seen())
        };
        let retry = ["--retry", "1", "--retry-delay", "0s"];
        let moves = ("RNFR", Act::Say("350 go on"));
        let listed = ("LIST", Act::Send("150 list", Vec::new(), "226 done"));
        let passes = [(verb, busy()), (verb, done.clone()), moves.clone(), listed.clone()];
        let (ran, tries, seen) = with(&retry, &passes);
        ran.exited(0);
        assert_eq!(tries, 2, "{command}: {seen}");
        assert!(
            String::from_utf8_lossy(&ran.stderr).contains("attempt 2 of 2"),
            "{command}: {ran:?}"
        );
        let (ran, tries, seen) = with(&[], &passes);
        ran.exited(9);
        assert_eq!(tries, 1, "{command}: {seen}");
        let (ran, tries, seen) = with(&retry, &[(verb, Act::Say("553 never")), moves, listed]);
        assert_eq!(tries, 1, "{command}: {seen}");
        // An object without a size may be a directory.
        assert_eq!(ran.code() == Some(0), command == "stat", "{command}: {ran:?} {seen}");
    }
    // A broken connection is replaced.
    let broken = Act::SendAndBreak("150 list", Vec::new());
    let whole = Act::Send("150 list", b"a\r\n".to_vec(), "226 done");
    let peer = Peer::start_several(vec![vec![("NLST", broken)], vec![("NLST", whole)]]);
    let ran = run(&mut ftp(&["ls", "--retry", "1", "--retry-delay", "0s", &peer.url("x")]));
    assert_eq!(ran.succeeded(), b"a\n");
    let peer = Peer::start(&[("NOOP", busy()), ("NOOP", Act::Say("200 fine"))]);
    let ran = run(&mut ftp(&["quote", "--retry", "1", &peer.url(""), "NOOP"]));
    failed(&ran, 2, "ftp-cli help quote lists");
    assert_eq!(peer.seen(), "");
}

/// Lines of VMS, of which no form is known.
const VMS: &[u8] =
    b"Directory DKA0:[ANONYMOUS]\r\n\r\nDATA1.TXT;1  1/3  4-OCT-2003 14:34  [G]  (RWED)\r\n";

#[test]
fn patterns_use_nlst_if_no_line_of_list_is_understood() {
    let list = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    let acts = |nlst| {
        [
            ("NLST", nlst),
            ("LIST", list(VMS)),
            ("SYST", Act::Say("215 VMS OpenVMS V8.4")),
            ("RETR", list(b"data")),
            ("DELE DATA1.TXT;1", Act::Say("250 gone")),
        ]
    };
    let peer = Peer::start(&acts(list(b"DATA1.TXT;1\r\nOTHER.TXT;1\r\n")));
    // The name may be that of a directory.
    failed(&run(&mut ftp(&["rm", "-g", &peer.url("DATA*")])), 14, "without a type");
    assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
    let peer = Peer::start(&acts(list(b"DATA1.TXT;1\r\nOTHER.TXT;1\r\n")));
    run(&mut ftp(&["rm", &peer.url("DATA1.TXT;1")])).exited(0);
    assert!(peer.seen().contains("DELE DATA1.TXT;1"), "{}", peer.seen());
    let here = TempRoot::new();
    let peer = Peer::start(&acts(list(b"DATA1.TXT;1\r\nOTHER.TXT;1\r\n")));
    run(ftp(&["get", "-g", "-P"]).arg(here.path()).arg(peer.url("DATA*"))).exited(0);
    assert_eq!(here.read("DATA1.TXT;1"), b"data");
    // Without NLST, the message names the system.
    let said = "no line of the listing was understood (SYST: VMS OpenVMS V8.4)";
    let peer = Peer::start(&acts(Act::Say("502 no")));
    failed(&run(&mut ftp(&["rm", "-g", &peer.url("DATA*")])), 7, said);
    let peer = Peer::start(&acts(Act::Say("502 no")));
    failed(&run(ftp(&["mirror"]).arg(peer.url("")).arg(here.join("new"))), 7, said);
    assert!(!here.join("new").exists());
}

#[test]
fn a_name_that_is_listed_twice_is_removed_once() {
    let list = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-features\r\n MLST type*;\r\n211 end")),
        ("MLST t", Act::Say("250-entry\r\n type=dir; t\r\n250 end")),
        ("MLST t", Act::Say("550 none")),
        ("MLSD t", list(b"type=file; a\r\ntype=file; b\r\ntype=file; a\r\n")),
        ("DELE t/a", Act::Say("250 gone")),
        ("DELE t/a", Act::Say("550 no such file")),
        ("DELE t/b", Act::Say("250 gone")),
        ("RMD t", Act::Say("250 gone")),
    ]);
    run(&mut ftp(&["rm", "-r", &peer.url("t/")])).exited(0);
    assert_eq!(peer.seen().matches("DELE t/a").count(), 1, "{}", peer.seen());
}

/// Some servers remove what is in a directory, too.
#[test]
fn rmdir_removes_only_a_directory_that_is_listed_as_empty_cl_52() {
    let list = |lines: &[u8]| Act::Send("150 list", lines.to_vec(), "226 done");
    for (listed, exit, words) in [
        (list(b""), 0, ""),
        (list(b"-rw-r--r-- 1 u g 5 Jan 2 2020 .hidden\r\n"), 8, "use ftp-cli rm -r"),
        (list(b"no known form\r\n"), 7, "no line of the listing was understood"),
        (Act::Say("550 no"), 8, "LIST refused: 550"),
        (Act::Say("502 what?"), 8, "LIST refused: 502"),
        (Act::SendAndBreak("150 list", Vec::new()), 4, ""),
    ] {
        let start = || Peer::start(&[("LIST", listed.clone()), ("RMD", Act::Say("250 gone"))]);
        let peer = start();
        let ran = run(&mut ftp(&["rmdir", &peer.url("d")]));
        assert_eq!(ran.code(), Some(exit), "{ran:?} {}", peer.seen());
        assert!(String::from_utf8_lossy(&ran.stderr).contains(words), "{ran:?}");
        assert_eq!(peer.seen().contains("RMD"), exit == 0, "{}", peer.seen());
        let peer = start();
        let ran = run_with(&mut ftp(&["batch", &peer.url("")]), b"rmdir d\n", LIMIT);
        assert_eq!(ran.code() == Some(0), exit == 0, "{ran:?}");
        assert_eq!(peer.seen().contains("RMD"), exit == 0, "{}", peer.seen());
    }
}

#[test]
fn a_name_that_is_listed_twice_with_other_facts_is_neither_copied_nor_deleted_cl_52() {
    let lines = |size| {
        format!(
            "type=file;size=1;modify=20200101000000; a\r\n\
        type=file;size={size};modify=20200101000000; a\r\n"
        )
    };
    for (size, exit) in [(1, 0), (2, 7)] {
        let here = TempRoot::new();
        here.write("t/a", b"mine");
        let list = Act::Send("150 list", lines(size).into_bytes(), "226 done");
        let file = Act::Send("150 data", b"1".to_vec(), "226 done");
        let feat = ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n SIZE\r\n211 end"));
        let acts = [feat, ("MLSD t", list), ("RETR t/a", file), ("SIZE t/a", Act::Say("213 1"))];
        let peer = Peer::start(&acts);
        let ran = run(ftp(&["mirror", "--delete", &peer.url("t")]).arg(here.join("t")));
        assert_eq!(ran.code(), Some(exit), "{ran:?} {}", peer.seen());
        assert_eq!(here.read("t/a"), if exit == 0 { &b"1"[..] } else { b"mine" }, "{ran:?}");
    }
}

#[test]
fn missing_parents_are_created_where_listings_of_missing_directories_are_confirmed() {
    // vsftpd confirms the listing of a missing directory, with these words.
    const CONFIRMED: &str = "226 Transfer done (but failed to open directory).";
    for pwd in ["257 \"/\"", "502 no"] {
        let peer = Peer::start(&[
            ("PWD", Act::Say(pwd)),
            ("CWD", Act::Say("550 Failed to change directory.")),
            ("LIST", Act::Send("150 list", Vec::new(), CONFIRMED)),
            ("MKD a/b/c", Act::Say("550 Create directory operation failed.")),
            ("MKD a/b/c", Act::Say("257 made")),
            ("MKD a/b", Act::Say("550 Create directory operation failed.")),
            ("MKD a/b", Act::Say("257 made")),
            ("MKD a", Act::Say("257 made")),
        ]);
        run(&mut ftp(&["mkdir", "-p", &peer.url("a/b/c")])).exited(0);
        assert!(peer.seen().contains("MKD a, MKD a/b, MKD a/b/c"), "{}", peer.seen());
    }
    let Some(server) = RealServer::vsftpd_unprivileged() else { return };
    let here = TempRoot::new();
    here.write("site/f", b"12345");
    let site = here.join("site");
    let script = here.write("script", b"mkdir -p q/r/s\ncd q/r/s\nmkdir t\n");
    run(&mut ftp(&["mkdir", "-p", &server.url("a/b/c")])).exited(0);
    run(ftp(&["mirror", "--create-dirs"]).arg(&site).arg(server.url("m/n/o"))).exited(0);
    run(ftp(&["put", "-r", "--create-dirs"]).arg(&site).arg(server.url("p/n/o"))).exited(0);
    run(ftp(&["batch", &server.url("")]).arg(&script)).exited(0);
    assert!(server.root.join("a/b/c").is_dir() && server.root.join("q/r/s/t").is_dir());
    assert_eq!(server.root.read("m/n/o/f"), b"12345");
}
