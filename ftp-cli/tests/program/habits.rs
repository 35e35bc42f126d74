//! Command lines as users of curl, wget, lftp and a shell type them: trees, patterns, lists of
//! URLs, sorted listings, synonyms.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ftp_tests::process::{LIMIT, Ran, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::mirror::{age, fill, next_second, tree};
use crate::peer::{Act, Peer};
use crate::{failed, ftp, in_directory, with_servers};

/// Writes files, each with its name as content.
fn write(root: &TempRoot, names: &[&str]) {
    for name in names {
        root.write(name, name.as_bytes());
        for directory in Path::new(name).ancestors().skip(1) {
            fs::set_permissions(root.path().join(directory), Permissions::from_mode(0o777))
                .unwrap();
        }
    }
}

fn lines(ran: Ran) -> Vec<String> {
    String::from_utf8(ran.succeeded()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn get_and_put_copy_directory_trees_with_r() {
    with_servers(|name, site| {
        let here = TempRoot::new();
        fill(&here, "site");
        let url = site.url("www");
        next_second(false);
        in_directory(&here, &["put", "-r", "site", &url]).exited(0);
        in_directory(&here, &["get", "-r", &format!("{url}/"), "back"]).exited(0);
        let paths = |path| {
            tree(&here.join(path)).into_iter().map(|(path, file)| (path, file.map(|file| file.0)))
        };
        assert!(paths("site").eq(paths("back")), "{name}");
        // The name of the directory is the default; what is there already is not removed.
        here.write("www/own", b"own");
        in_directory(&here, &["get", "-r", &url]).exited(0);
        assert_eq!(here.read("www/own"), b"own", "{name}");
        assert_eq!(here.read("www/sub/b.bin"), here.read("site/sub/b.bin"), "{name}");
        let ran = in_directory(&here, &["cp", "-r", "--include", "*.txt", &url, "some"]);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("cp"), "{name} {ran:?}");
        ran.exited(0);
        // A shell would copy to some/www.
        let ran = in_directory(&here, &["cp", "-r", "--include", "*.txt", &url, "some"]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("copies the content of SRC directly into it"), "{name} {ran:?}");
        ran.exited(0);
        assert_eq!(here.read("some/a.txt"), b"one", "{name}");
        assert!(!here.join("some/www").exists(), "{name}");
        // In --directory, a tree keeps its name as a file does.
        in_directory(&here, &["get", "-r", "--create-dirs", "-P", "new", &url]).exited(0);
        assert_eq!(here.read("new/www/a.txt"), b"one", "{name}");
        failed(&in_directory(&here, &["get", "-r", "-P", "none", &url]), 3, "use --create-dirs");
        assert!(!here.join("some/empty").exists(), "{name}");
        in_directory(&here, &["put", "-r", "--dry-run", "site", &site.url("x")]).exited(0);
        assert!(!site.root.join("x").exists(), "{name}");
    });
}

#[test]
fn a_directory_operand_suggests_the_option_r() {
    let server = OurServer::start();
    server.root.mkdir("d");
    let here = TempRoot::new();
    let url = server.url("d");
    for (arguments, code) in
        [(&["get", &format!("{url}/")][..], 2), (&["get", &url], 8), (&["put", ".", &url], 3)]
    {
        let verb = arguments[0];
        failed(&in_directory(&here, arguments), code, &format!("use ftp-cli {verb} -r"));
    }
    for (arguments, words) in [
        (&["get", "-r", &url, "-"][..], "standard output"),
        (&["get", "-r", "-n", &url], "--recursive and --no-clobber exclude each other"),
        (&["get", "-r", &url, &url], "takes one URL"),
        (&["get", "-r", &server.url("")], "no name for the local directory"),
        (&["get", "--exclude", "*.tmp", &url], "needs --recursive"),
        (&["put", "--dry-run", "x", &url], "needs --recursive"),
        (&["put", "-r", "a", "b", &url], "takes one directory"),
        (&["put", "-r", "--append", "a", &url], "--recursive and --append exclude each other"),
    ] {
        failed(&in_directory(&here, arguments), 2, words);
    }
    assert!(here.names().is_empty());
}

#[test]
fn several_urls_are_downloaded_to_the_current_directory() {
    let (one, two) = (OurServer::start(), OurServer::start());
    write(&one.root, &["a", "d/b"]);
    write(&two.root, &["c"]);
    let here = TempRoot::new();
    let deep = format!("{}d/b", one.url(""));
    in_directory(&here, &["get", &one.url("a"), &deep, &two.url("c")]).succeeded();
    assert_eq!(here.names(), [b"a", b"b", b"c"]);
    assert_eq!(here.read("b"), b"d/b");
    for (arguments, words) in [
        (&["get", &one.url("a"), &two.url("a")][..], "a: target of two sources"),
        (&["get", &one.url("a"), &two.url("c"), "dir"], "use -P DIR"),
        (&["get", "-o", "x", &one.url("a"), &two.url("c")], "use -P DIR"),
        (&["get", "-o", "x", "-P", "y", &one.url("a")], "exclude each other"),
        (&["cat", "-j", "2", &one.url("a"), &two.url("c")], "standard output"),
    ] {
        failed(&in_directory(&here, arguments), 2, words);
    }
    assert_eq!(here.names(), [b"a", b"b", b"c"]);
}

#[test]
fn output_and_cat_name_the_target() {
    let server = OurServer::start();
    write(&server.root, &["a", "b"]);
    let here = TempRoot::new();
    in_directory(&here, &["get", "-o", "file", &server.url("a")]).succeeded();
    in_directory(&here, &["get", &server.url("b"), "--output=other"]).succeeded();
    assert_eq!((here.read("file"), here.read("other")), (b"a".to_vec(), b"b".to_vec()));
    let all = in_directory(&here, &["cat", &server.url("a"), &server.url("b")]).succeeded();
    assert_eq!(all, b"ab");
    assert_eq!(in_directory(&here, &["get", "-o", "-", &server.url("a")]).succeeded(), b"a");
    let missing = in_directory(&here, &["cat", &server.url("x"), &server.url("b")]);
    missing.exited(12);
    assert_eq!(missing.stdout, b"b");
    assert_eq!(here.names(), [&b"file"[..], b"other"]);
}

#[test]
fn a_list_of_urls_is_read_from_a_file_or_standard_input() {
    let server = OurServer::start();
    write(&server.root, &["a", "b", "c"]);
    let here = TempRoot::new();
    let list = format!("# list\n\n  {}\r\n{}", server.url("a"), server.url("b"));
    here.write("list", list.as_bytes());
    in_directory(&here, &["get", "-i", "list", "-P", ".", &server.url("c")]).succeeded();
    assert_eq!(here.names(), [&b"a"[..], b"b", b"c", b"list"]);
    let all = run_with(&mut ftp(&["get", "-i", "-", "-o", "-"]), list.as_bytes(), LIMIT);
    assert_eq!(all.succeeded(), b"ab");

    // A wrong line is an error before anything is done, and no password is shown.
    let there = TempRoot::new();
    let list = format!("{}\nu:geheim@h/x\n", server.url("a"));
    there.write("list", list.as_bytes());
    let ran = in_directory(&there, &["get", "-i", "list"]);
    failed(&ran, 2, "list:2: not an FTP URL");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("geheim"), "{ran:?}");
    assert_eq!(there.names(), [b"list"]);
    failed(&in_directory(&there, &["get", "-i", "missing"]), 3, "missing");

    // One of them is missing on the server.
    there.write("list", format!("{}\n{}\n", server.url("x"), server.url("a")).as_bytes());
    failed(&in_directory(&there, &["get", "-i", "list"]), 12, "1 of 2 files fetched");
    assert_eq!(there.names(), [&b"a"[..], b"list"]);

    there.write("list", b"\n# nothing\n");
    let empty = in_directory(&there, &["get", "-i", "list"]);
    assert!(String::from_utf8_lossy(&empty.stderr).contains("no URLs"), "{empty:?}");
    empty.exited(0);
}

#[test]
fn patterns_fetch_what_they_match() {
    with_servers(|name, site| {
        write(&site.root, &["in/a.txt", "in/b.txt", "in/c.log", "in/.d.txt", "in/sub.txt/e"]);
        let here = TempRoot::new();
        here.mkdir("to");
        let pattern = format!("{}in/*.txt", site.url(""));
        for arguments in [
            &["get", "-P", "to", &pattern][..],
            &["get", &pattern, "to"],
            &["get", &pattern, "to/"],
            &["mget", "-P", "to", &pattern],
            &["get", "-g", "-j", "2", "-P", "to", &pattern],
        ] {
            in_directory(&here, arguments).exited(0);
            let to = fs::read_dir(here.join("to")).unwrap().map(|entry| entry.unwrap());
            let mut found: Vec<_> = to.map(|entry| entry.file_name()).collect();
            found.sort();
            assert_eq!(found, ["a.txt", "b.txt"], "{name} {arguments:?}");
            fs::remove_dir_all(here.join("to")).unwrap();
            here.mkdir("to");
        }
        let all = in_directory(&here, &["cat", &format!("{}in/[ab].txt", site.url(""))]);
        assert_eq!(all.succeeded(), b"in/a.txtin/b.txt", "{name}");
        for (last, code, words) in [
            ("*.none", 8, "no name matches"),
            ("sub*", 8, "matches only directories"),
            ("none/*.txt", 8, ""),
        ] {
            let url = format!("{}in/{last}", site.url(""));
            failed(&in_directory(&here, &["get", &url]), code, words);
        }
        let file = in_directory(&here, &["get", &pattern, "file"]);
        failed(&file, 2, "a pattern needs a local directory");
        assert_eq!(here.names(), [b"to"], "{name}");
    });
}

#[test]
fn an_existing_name_takes_precedence_over_a_pattern() {
    with_servers(|name, site| {
        write(&site.root, &["[1]", "1"]);
        let here = TempRoot::new();
        let url = site.url("[1]");
        in_directory(&here, &["get", &url]).exited(0);
        assert_eq!((here.names(), here.read("[1]")), (vec![b"[1]".to_vec()], b"[1]".to_vec()));
        assert_eq!(lines(in_directory(&here, &["ls", &url])), ["[1]"], "{name}");
        in_directory(&here, &["rm", &url]).exited(0);
        site.assert_only(&[b"1"]);
        in_directory(&here, &["rm", "-g", &url]).exited(0);
        site.assert_only(&[]);
    });
}

#[test]
fn patterns_remove_what_they_match() {
    with_servers(|name, site| {
        write(&site.root, &["in/a.log", "in/b.log", "in/c.txt", "in/.d.log", "in/sub.log/e"]);
        let here = TempRoot::new();
        let url = |last: &str| format!("{}in/{last}", site.url(""));
        let left = || {
            let mut names: Vec<_> = fs::read_dir(site.root.join("in"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        // The directory stays, and is reported.
        let ran = in_directory(&here, &["rm", &url("*.log")]);
        failed(&ran, 12, "2 objects removed, 1 failed");
        failed(&ran, 12, "is a directory; use ftp-cli rm -r");
        assert_eq!(left(), [".d.log", "c.txt", "sub.log"], "{name}");
        failed(&in_directory(&here, &["rm", &url("*.log.*")]), 8, "no name matches");
        in_directory(&here, &["rm", "-f", &url("*.none")]).exited(0);
        // A missing directory has no matches either.
        failed(&in_directory(&here, &["rm", &url("none/*.log")]), 8, "");
        in_directory(&here, &["rm", "-f", &url("none/*.log")]).exited(0);
        in_directory(&here, &["del", "-r", &format!("{}/", url("sub.log"))]).exited(0);
        in_directory(&here, &["rm", &url(".*.log")]).exited(0);
        assert_eq!(left(), ["c.txt"], "{name}");
        failed(&in_directory(&here, &["rm", "-g", &url("")]), 2, "needs a pattern");
    });
}

#[test]
fn unsafe_listed_names_fail_a_pattern() {
    let list = concat!(
        "-rw-r--r-- 1 u g 4 Jan 2 2020 ../evil.txt\r\n",
        "-rw-r--r-- 1 u g 4 Jan 2 2020 good.txt\r\n",
        "-rw-r--r-- 1 u g 4 Jan 2 2020 sub/evil.txt\r\n",
        "-rw-r--r-- 1 u g 4 Jan 2 2020 sub/other.log\r\n",
    );
    let here = TempRoot::new();
    let start = || {
        Peer::start(&[
            ("LIST", Act::Send("150 list", list.as_bytes().to_vec(), "226 done")),
            ("RETR", Act::Send("150 data", b"good".to_vec(), "226 done")),
            ("DELE", Act::Say("250 gone")),
        ])
    };
    let peer = start();
    let ran = in_directory(&here, &["get", "-g", &peer.url("*.txt")]);
    failed(&ran, 12, "../evil.txt: not a valid name");
    failed(&ran, 12, "sub/evil.txt: not a valid name");
    failed(&ran, 12, "1 of 3 files fetched");
    assert_eq!(here.names(), [b"good.txt"]);
    let peer = start();
    failed(&in_directory(&here, &["get", "-g", &peer.url(".*")]), 7, "evil.txt: not a valid");
    let peer = start();
    let ran = in_directory(&here, &["rm", "-g", &peer.url("*.txt")]);
    failed(&ran, 12, "../evil.txt: not a valid name");
    failed(&ran, 12, "1 object removed, 2 failed");
    assert_eq!(peer.seen().matches("DELE").count(), 1, "{}", peer.seen());
}

#[test]
fn one_unusable_name_does_not_keep_the_other_matches_of_a_pattern_cl_54_hc_05() {
    let long = format!("{}.txt", "n".repeat(300));
    let names = ["a.txt", "dir.txt", &long, "sub/evil.txt", "z.txt"];
    let line = |name: &str| format!("-rw-r--r-- 1 u g 4 Jan 2 2020 {name}\r\n");
    let list = names.map(line).concat().into_bytes();
    let start = || {
        Peer::start(&[
            ("LIST", Act::Send("150 list", list.clone(), "226 done")),
            ("RETR", Act::Send("150 data", b"good".to_vec(), "226 done")),
        ])
    };
    let (here, peer) = (TempRoot::new(), start());
    here.mkdir("in/dir.txt");
    let ran = in_directory(&here, &["get", "-g", "-P", "in", &peer.url("*.txt")]);
    failed(&ran, 12, "in/dir.txt: is a directory");
    failed(&ran, 12, ".txt: File name too long");
    failed(&ran, 12, "sub/evil.txt: not a valid name");
    failed(&ran, 12, "2 of 5 files fetched, 3 failed, 0 not tried");
    for name in ["in/a.txt", "in/z.txt"] {
        assert_eq!(here.read(name), b"good", "{name}");
    }
    // As the only match, it fails as a file does.
    let (here, peer) = (TempRoot::new(), start());
    failed(&in_directory(&here, &["get", "-g", &peer.url("n*")]), 3, "File name too long");
    // A directory that is missing is one failure, not one of each file.
    let peer = start();
    let ran = in_directory(&here, &["get", "-g", "-P", "none", &peer.url("*.txt")]);
    failed(
        &ran,
        3,
        "none: No such file or directory; if a directory is missing, use --create-dirs",
    );
    assert_eq!(String::from_utf8_lossy(&ran.stderr).lines().count(), 1, "{ran:?}");
}

#[test]
fn a_missing_file_fails_instead_of_being_skipped() {
    with_servers(|name, site| {
        site.root.mkdir("in");
        let here = TempRoot::new();
        here.write("x", b"mine");
        for option in ["--min-size=1", "--max-size=1", "--max-age=1", "--newer", "--if-changed"] {
            for missing in ["x", "in/x", "none/x"] {
                let url = format!("{}{missing}", site.url(""));
                let ran = in_directory(&here, &["get", option, &url]);
                failed(&ran, 8, "no such file on the server");
            }
        }
        assert_eq!(here.read("x"), b"mine", "{name}");
    });
    // A server that reports nothing, and lists the file.
    let list = b"-rw-r--r-- 1 u g 4 Jan 2 2020 x\r\n".to_vec();
    let peer = Peer::start(&[("LIST", Act::Send("150 list", list, "226 done"))]);
    let here = TempRoot::new();
    let ran = in_directory(&here, &["get", "--min-size=1", &peer.url("x")]);
    failed(&ran, 14, "the server does not report sizes");
}

#[test]
fn an_incomplete_listing_removes_nothing() {
    for last in ["226 Output truncated to 10000 matches", "426 cut"] {
        let list = b"-rw-r--r-- 1 u g 5 Jan 2 2020 a.log\r\n".to_vec();
        let peer = Peer::start(&[
            ("LIST", Act::Send("150 list", list, last)),
            ("DELE", Act::Say("250 gone")),
        ]);
        let ran = run(&mut ftp(&["rm", "-g", &peer.url("*.log")]));
        assert_ne!(ran.code(), Some(0), "{ran:?}");
        assert!(!peer.seen().contains("DELE"), "{}", peer.seen());
    }
}

#[test]
fn ls_sorts_listings_and_accepts_several_urls() {
    with_servers(|name, site| {
        for (file, length, hours) in [("d/b", 5, 1), ("d/a", 2_000, 400), ("d/c", 10, 900)] {
            age(&site.root.write(file, &vec![b'x'; length]), 24 * hours);
        }
        site.root.write("e/f", b"");
        let url = format!("{}d", site.url(""));
        let here = TempRoot::new();
        for (options, want) in [
            (&["-1", "--sort", "name"][..], ["a", "b", "c"]),
            (&["-t"], ["b", "a", "c"]),
            (&["-tr"], ["c", "a", "b"]),
            (&["-S"], ["a", "c", "b"]),
            (&["-t", "-S"], ["a", "c", "b"]),
            (&["-S", "--sort=time"], ["b", "a", "c"]),
            (&["--sort", "name", "-r"], ["c", "b", "a"]),
        ] {
            let arguments = [&["ls"], options, &[&url]].concat();
            assert_eq!(lines(in_directory(&here, &arguments)), want, "{name} {options:?}");
        }
        let long = lines(in_directory(&here, &["ls", "-lhS", &url]));
        assert!(long[0].contains(" 2.0 KiB ") && long[0].ends_with("  a"), "{name} {long:?}");
        assert!(lines(in_directory(&here, &["dir", &url]))[0].starts_with('-'), "{name}");

        let other = format!("{}e", site.url(""));
        let both = lines(in_directory(&here, &["ls", "--sort", "name", &url, &other]));
        assert_eq!(both.len(), 7, "{name} {both:?}");
        assert_eq!(both[1..4], ["a", "b", "c"], "{name}");
        assert_eq!((both[4].as_str(), both[6].as_str()), ("", "f"), "{name} {both:?}");
        assert!(both[0].ends_with("/d:") && both[5].ends_with("/e:"), "{name} {both:?}");
        // A file, and a pattern.
        assert_eq!(lines(in_directory(&here, &["ls", &format!("{url}/a")])), ["a"], "{name}");
        let mut some = lines(in_directory(&here, &["ls", &format!("{url}/[ac]")]));
        some.sort();
        assert_eq!(some, ["a", "c"], "{name}");
        failed(&in_directory(&here, &["ls", &format!("{url}/x*")]), 8, "no name matches");
        let half = in_directory(&here, &["ls", &format!("{}none", site.url("")), &other]);
        half.exited(12);
        assert!(half.stdout.ends_with(b"e:\nf\n"), "{name} {half:?}");
    });
}

#[test]
fn sorting_by_time_is_refused_with_nlst() {
    let peer = Peer::start(&[]);
    let ran = run(&mut ftp(&["ls", "-t", "--listing", "nlst", &peer.url("")]));
    failed(&ran, 2, "NLST shows only names");
}

#[test]
fn mv_leaves_an_existing_target() {
    with_servers(|name, site| {
        write(&site.root, &["a", "b"]);
        let here = TempRoot::new();
        let ran = in_directory(&here, &["mv", "-n", &site.url("a"), "b"]);
        assert!(String::from_utf8_lossy(&ran.stderr).contains("b: exists"), "{name} {ran:?}");
        ran.exited(0);
        assert_eq!((site.root.read("a"), site.root.read("b")), (b"a".to_vec(), b"b".to_vec()));
        in_directory(&here, &["ren", "-n", &site.url("a"), "c"]).exited(0);
        site.assert_only(&[b"b", b"c"]);
    });
    let acts = [("FEAT", Act::Say("502 no")), ("LIST", Act::Say("550 no"))];
    let peer = Peer::start(&acts);
    failed(&run(&mut ftp(&["mv", "-n", &peer.url("a"), "b"])), 14, "--no-clobber");
    assert!(!peer.seen().contains("RNFR"), "{}", peer.seen());
}

#[test]
fn cp_copies_either_way_and_sync_deletes_only_on_request() {
    let (server, other) = (OurServer::start(), OurServer::start());
    write(&server.root, &["a"]);
    let here = TempRoot::new();
    in_directory(&here, &["cp", &server.url("a"), "b"]).succeeded();
    in_directory(&here, &["cp", "b", &server.url("c")]).succeeded();
    in_directory(&here, &["mput", "b", &format!("{}/", server.url(""))]).exited(0);
    assert_eq!(server.root.read("c"), b"a");
    assert_eq!(server.root.read("b"), b"a");
    here.mkdir("t");
    let ran = in_directory(&here, &["sync", "t", &other.url("t")]);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("sync deletes nothing"), "{ran:?}");
    ran.exited(0);
    let ran = in_directory(&here, &["sync", "--delete", "t", &other.url("t")]);
    ran.exited(0);
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("sync"), "{ran:?}");
}

#[test]
fn an_empty_source_deletes_files_only_with_max_delete() {
    let server = OurServer::start();
    write(&server.root, &["www/a", "www/b"]);
    server.root.mkdir("none");
    let here = TempRoot::new();
    let (url, none) = (server.url("www"), server.url("none"));
    write(&here, &["mine/a"]);
    here.mkdir("unmounted");
    here.mkdir("only-links/lost+found");
    std::os::unix::fs::symlink("nowhere", here.join("only-links/link")).unwrap();
    for arguments in [
        &["mirror", "--delete", "unmounted", &url][..],
        &["mirror", "--delete", &none, "mine"],
        &["mirror", "--delete", "only-links", &url],
    ] {
        failed(&in_directory(&here, arguments), 15, "the source has no file");
    }
    // Neither does the source have any that takes part.
    write(&here, &["ignored/.ftpignore", "left-out/c.bak"]);
    for arguments in [
        &["mirror", "--delete", "ignored", &url][..],
        &["mirror", "--delete", "--exclude", "*.bak", "left-out", &url],
    ] {
        failed(&in_directory(&here, arguments), 15, "no file of the source is selected");
    }
    let ran = in_directory(&here, &["mirror", "--delete", "--dry-run", "unmounted", &url]);
    ran.exited(15);
    assert_eq!(ran.stdout, b"remove a\nremove b\n");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("the run would do nothing: the source has no files"), "{said}");
    assert_eq!(
        (server.root.read("www/a"), here.read("mine/a")),
        (b"www/a".to_vec(), b"mine/a".to_vec())
    );
    in_directory(&here, &["mirror", "--delete", "--max-delete", "2", "unmounted", &url]).exited(0);
    assert!(!server.root.join("www/a").exists());
}

#[test]
fn patterns_that_match_nothing_cause_a_warning() {
    let server = OurServer::start();
    write(&server.root, &["t/a.jpg", "t/d/b.jpg"]);
    let here = TempRoot::new();
    let url = server.url("t");
    let rsync = ["--include", "*/", "--include", "*.jpg", "--exclude", "*"];
    for (options, words) in [
        (&rsync[..], "no file is selected"),
        (&["--exclude", "*.tmp"], "--exclude \"*.tmp\": matches no name"),
    ] {
        let ran = in_directory(&here, &[&["mirror"], options, &[&url, "to"]].concat());
        assert!(String::from_utf8_lossy(&ran.stderr).contains(words), "{words}: {ran:?}");
        ran.exited(0);
    }
    let ran = in_directory(&here, &["mirror", "-q", "--exclude", "*.tmp", &url, "to"]);
    assert!(ran.stderr.is_empty(), "{ran:?}");
    ran.exited(0);
    for (pattern, why) in [("{a}.jpg", "braces without a comma"), ("d/a**", "** beside other")] {
        let ran = in_directory(&here, &["mirror", "--include", pattern, &url, "to"]);
        failed(&ran, 2, &format!("--include: \"{pattern}\": {why}"));
    }
    here.write("list", b"*.tmp");
    let listed =
        ["mirror", "--dry-run", "--exclude-from", "list", "--json", "--exclude", "no", &url, "to"];
    let ran = in_directory(&here, &listed);
    let messages = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(messages.contains("--exclude \"no\": matches no name") && !messages.contains("tmp"));
    let events = String::from_utf8(ran.succeeded()).unwrap();
    assert!(events.contains(r#""message":"--exclude \"no\": matches no name""#), "{events}");
    let ran = in_directory(&here, &[&listed[..], &["-v"]].concat());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("list:1: \"*.tmp\": matches no name"));
}

#[test]
fn files_are_compared_by_size_time_or_content() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let url = server.url("t");
    let (near, far) = (here.write("t/a", b"one"), server.root.write("t/a", b"two"));
    age(&near, 48);
    age(&far, 48);
    let copies = |options: &[&str], source: &str, target: &str| {
        let ran = in_directory(
            &here,
            &[&["mirror", "--dry-run", "-v"], options, &[source, target]].concat(),
        );
        String::from_utf8(ran.succeeded()).unwrap()
    };
    let other = "copy a (another content)\n";
    for (source, target) in [("t", url.as_str()), (&url, "t")] {
        assert_eq!(copies(&[], source, target), "");
        assert_eq!(copies(&["--compare", "size"], source, target), "");
        assert_eq!(copies(&["--compare", "hash"], source, target), other);
        assert_eq!(copies(&["--compare", "hash", "--size-only"], source, target), "");
    }
    age(&near, 96);
    assert_eq!(copies(&["--compare", "time"], "t", &url), "copy a (another time)\n");
    in_directory(&here, &["mirror", "--compare", "hash", "t", &url]).exited(0);
    assert_eq!(server.root.read("t/a"), b"one");
    age(&far, 10);
    assert_eq!(copies(&["--compare", "hash"], "t", &url), "");
    let listed = Act::Send(
        "150 facts",
        b"type=file;size=3;modify=20260101000000; a\r\n".to_vec(),
        "226 done",
    );
    let feat = Act::Say("211-features\r\n MLST type*;size*;modify*;\r\n211 end");
    let peer = Peer::start(&[("FEAT", feat), ("MLSD", listed)]);
    let ran = in_directory(&here, &["mirror", "--compare", "hash", &peer.url("t"), "t"]);
    failed(&ran, 14, "no suitable digest");
    failed(
        &in_directory(&here, &["mirror", "--remove-source", "--size-only", "t", &url]),
        2,
        "--compare time or --compare hash",
    );
}
