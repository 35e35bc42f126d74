//! Listings that are not proved complete: servers truncate, hide or invent entries, each in its
//! default way. Nothing is deleted because of one, and none is a success.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

fn tool(arguments: &[&str]) -> Ran {
    run(ftp(arguments).args(["--stall-timeout", "20"]))
}

/// Returns a local tree as an operand.
fn here(root: &TempRoot, name: &str) -> String {
    root.join(name).to_str().unwrap().to_owned()
}

/// Gives all files to the owner of the root, as whom the server runs.
fn give(site: &Site) {
    let owner = fs::metadata(site.root.path()).unwrap().uid();
    let mut left = vec![site.root.path().to_owned()];
    while let Some(path) = left.pop() {
        let _ = chown(&path, Some(owner), Some(owner));
        let below = path.is_dir().then(|| fs::read_dir(&path).unwrap());
        left.extend(below.into_iter().flatten().map(|entry| entry.unwrap().path()));
    }
}

/// Runs a check with each server that lists in its default way.
fn at_every_server(check: impl Fn(&Site, &str) + Sync) {
    let host = Ipv4Addr::LOCALHOST;
    let starts: [&(dyn Fn() -> Option<RealServer> + Sync); 4] = [
        &RealServer::vsftpd_unprivileged,
        &|| RealServer::proftpd_at(host),
        &|| RealServer::pure_ftpd_at(host),
        &RealServer::pyftpdlib,
    ];
    let servers = std::iter::once(None).chain(starts.map(Some));
    let cases = servers.flat_map(|start| ["auto", "list"].map(|form| (start, form)));
    // Files are some seconds old before they are compared.
    at_once(10, cases, |(start, form)| match start {
        None => check(&OurServer::start(), form),
        Some(start) => start().iter().for_each(|server| check(server, form)),
    });
}

#[test]
fn names_that_begin_with_a_dot_are_mirrored_from_every_server() {
    at_every_server(|site, form| {
        for name in ["t/.htaccess", "t/.well-known/x/.y", "t/a", "t/sub/.only"] {
            site.root.write(name, name.as_bytes());
        }
        give(site);
        let (local, copy) = (TempRoot::new(), ["t/.well-known/x/.y", "t/sub/.only", "t/.htaccess"]);
        let target = here(&local, "t");
        let options = ["mirror", "--delete", "--listing", form];
        for _ in 0..2 {
            tool(&[&options[..], &[&site.url("t"), &target]].concat()).exited(0);
            for name in copy {
                assert_eq!(local.read(name), name.as_bytes(), "{form} {name}");
            }
        }
        // A second upload has nothing new; a locally removed name is removed there.
        fs::remove_file(local.join("t/.htaccess")).unwrap();
        let ran = tool(&[&options[..], &["-v", &target, &site.url("t")]].concat());
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("unchanged, 1 object removed"), "{form} {said}");
        assert!(!site.root.join("t/.htaccess").exists());
        tool(&["ls", "-R", "-a", "--listing", form, &site.url("t")]).exited(0);
        tool(&["rm", "-r", "--no-links", &site.url("t")]).exited(0);
        assert!(!site.root.join("t").exists());
    });
}

#[test]
fn a_local_dot_file_is_kept_if_the_server_may_hide_names() {
    const LINE: &[u8] = b"-rw-r--r-- 1 u g 4 Jan 2 2020 f\r\n";
    let peer = Peer::start(&[
        ("LIST -a", Act::Say("550 -a t: no such file or directory")),
        ("LIST t", Act::Send("150 list", LINE.to_vec(), "226 done")),
        ("RETR", Act::Send("150 data", b"data".to_vec(), "226 done")),
    ]);
    let local = TempRoot::new();
    local.write("t/.env", b"mine");
    local.write("t/old", b"mine");
    let ran = tool(&["mirror", "--delete", &peer.url("t"), &here(&local, "t")]);
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        said.contains(".env: not deleted: the source may hide names that begin with a dot"),
        "{said}"
    );
    assert_eq!(local.read("t/.env"), b"mine");
    assert!(!local.join("t/old").exists() && local.join("t/f").exists());
}

/// The number of files: Pure-FTPd lists 10,000 names, including `.` and `..`.
const MANY: usize = 10_050;

#[test]
fn a_listing_truncated_by_pure_ftpd_fails_and_deletes_nothing() {
    let Some(server) = RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST) else { return };
    let local = TempRoot::new();
    for number in 0..MANY {
        let name = format!("t/big/{number:05}");
        server.root.write(&name, b"");
        local.write(&name, b"");
    }
    give(&server);
    let count = |root: &TempRoot| fs::read_dir(root.join("t/big")).unwrap().count();
    for form in ["auto", "list", "nlst"] {
        let ran = tool(&["ls", "--listing", form, &server.url("t/big")]);
        ran.exited(11);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("Output truncated to 10000 matches"), "{form} {said}");
        assert!(ran.stdout.len() > 9_000 * 6, "{form}");
    }
    tool(&["ls", "-R", &server.url("t")]).exited(11);
    for form in ["auto", "list"] {
        for top in ["t", "t/big"] {
            let (url, target) = (server.url(top), here(&local, top));
            let options = ["mirror", "--delete", "--listing", form];
            tool(&[&options[..], &[&url, &target]].concat()).exited(11);
            tool(&[&options[..], &[&target, &url]].concat()).exited(11);
            let other = TempRoot::new();
            tool(&["mirror", "--listing", form, &url, &here(&other, "new")]).exited(11);
        }
    }
    let ran = tool(&["rm", "-r", &server.url("t")]);
    assert!(ran.code() == Some(11), "{ran:?}");
    assert_eq!((count(&local), count(&server.root)), (MANY, MANY));
}

#[test]
fn an_unreadable_vsftpd_directory_is_neither_copied_nor_taken_for_empty() {
    let Some(server) = RealServer::vsftpd_unprivileged() else { return };
    server.root.write("t/sub/secret", b"there");
    server.root.write("t/a", b"a");
    give(&server);
    let sub = server.root.join("t/sub");
    fs::set_permissions(&sub, Permissions::from_mode(0o311)).unwrap();
    for form in ["auto", "list"] {
        let local = TempRoot::new();
        local.write("t/sub/mine", b"mine");
        for (top, code) in [("t", 12), ("t/sub", 11)] {
            let options = ["mirror", "--delete", "--listing", form];
            let ran = tool(&[&options[..], &[&server.url(top), &here(&local, top)]].concat());
            failed(&ran, code, "failed to open directory");
            assert_eq!(local.read("t/sub/mine"), b"mine");
            assert!(!local.join("t/sub/sub").exists());
        }
        let other = OurServer::start();
        other.root.write("t/sub/mine", b"mine");
        let ran = tool(&["fxp", "-r", "--delete", &server.url("t"), &other.url("t")]);
        assert!(ran.code() != Some(0), "{ran:?}");
        assert_eq!(other.root.read("t/sub/mine"), b"mine");
        assert!(!other.root.join("t/sub/sub").exists());
    }
    for options in [&["ls"][..], &["ls", "-l"], &["ls", "-a"], &["ls", "-R"], &["ls", "-l", "-a"]] {
        let ran = tool(&[options, &[&server.url("t/sub")]].concat());
        failed(&ran, 11, "failed to open directory");
    }
    tool(&["ls", "-R", &server.url("t")]).exited(11);
    let ran = tool(&["rm", "-r", &server.url("t/sub/")]);
    assert!(ran.code() != Some(0), "{ran:?}");
    // A directory that contains a directory of its own name is listed.
    server.root.mkdir("u/u");
    give(&server);
    for options in [&["ls"][..], &["ls", "-l"], &["ls", "-a"], &["ls", "-R"]] {
        let ran = tool(&[options, &[&server.url("u")]].concat());
        ran.exited(0);
        assert_eq!(String::from_utf8_lossy(&ran.stdout).lines().count(), 1, "{ran:?}");
    }
    let local = TempRoot::new();
    tool(&["mirror", &server.url("u"), &here(&local, "u")]).exited(0);
    assert!(local.join("u/u").is_dir());
    fs::set_permissions(&sub, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_confirmed_but_possibly_incomplete_listing_deletes_nothing() {
    const LIST: &[u8] = b"type=file;size=4;modify=20200101000000; f\r\n";
    const DIRECTORY: &[u8] = b"type=dir; d\r\n";
    let feat = ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end"));
    let stat = ("MLST", Act::Say("250-is\r\n type=dir; /t\r\n250 end"));
    let file = ("RETR", Act::Send("150 data", b"data".to_vec(), "226 done"));
    let cut = || [LIST, b"type=file; prec"].concat();
    for (act, in_top, below) in [
        (
            Act::Send("150 list", LIST.to_vec(), "226-so\r\n226 Output truncated to 1 matches"),
            11,
            12,
        ),
        (
            Act::Send("150 list", LIST.to_vec(), "226 Transfer done (but failed to open it)."),
            11,
            12,
        ),
        (Act::Send("150 list", cut(), "226 done"), 11, 12),
        (Act::Reset("226 done"), 4, 4),
    ] {
        for is_below in [false, true] {
            let local = TempRoot::new();
            local.write("mine/d/precious", b"mine");
            local.write("mine/precious", b"mine");
            let top = Act::Send(
                "150 list",
                [LIST, DIRECTORY, b"type=file;size=4;modify=20200101000000; precious\r\n"].concat(),
                "226 done",
            );
            let acts = match is_below {
                true => vec![("MLSD t/d", act.clone()), ("MLSD t", top)],
                false => vec![("MLSD t", act.clone())],
            };
            let acts = [&acts[..], &[feat.clone(), stat.clone(), file.clone()]].concat();
            let peer = Peer::start(&acts);
            let ran = tool(&["mirror", "--delete", &peer.url("t"), &here(&local, "mine")]);
            failed(&ran, if is_below { below } else { in_top }, "");
            assert_eq!(local.read("mine/d/precious"), b"mine", "{act:?}");
            assert!(local.join("mine/precious").exists(), "{act:?}");
        }
    }
}

#[test]
fn a_reset_data_connection_is_not_an_empty_file() {
    let peer = Peer::start(&[("RETR", Act::Reset("226 nothing to send"))]);
    let local = TempRoot::new();
    local.write("f", b"before");
    let ran = tool(&["get", "--verify", "none", &peer.url("f"), &here(&local, "f")]);
    failed(&ran, 4, "");
    assert_eq!(local.read("f"), b"before");
}

#[test]
fn a_directory_that_may_be_a_link_stays_until_its_links_are_known() {
    let line = |links: u64, name: &str| {
        format!("drwxr-xr-x {links} u g 4096 Jan 2 2020 {name}\r\n").into_bytes()
    };
    let list = |links, name| Act::Send("150 list", line(links, name), "226 done");
    let facts = |data: &[u8]| Act::Send("150 list", data.to_vec(), "226 done");
    let local = TempRoot::new();
    local.mkdir("mine/d");
    // A count that changes meanwhile proves nothing either: the directory stays until the next run.
    for count in [3, 2] {
        let peer = Peer::start(&[
            ("FEAT", Act::Say("211-have\r\n MLST type*;size*;modify*;\r\n211 end")),
            ("MLSD t/d", facts(b"type=file;size=4;modify=20200101000000; extra\r\n")),
            // The directory is looked at again before and after the removal.
            ("MLSD t/d", facts(b"type=file;size=4;modify=20200101000000; extra\r\n")),
            ("MLSD t/d", facts(b"")),
            ("MLSD t", facts(b"type=dir; d\r\n")),
            ("LIST -a t", list(2, "d")),
            ("LIST -a t", list(2, "d")),
            // At the first question it contains no directory yet.
            ("LIST -a", list(2, "t")),
            ("LIST -a", list(count, "t")),
            ("DELE t/d/extra", Act::Say("250 gone")),
        ]);
        let (mine, theirs) = (here(&local, "mine"), peer.url("t"));
        // If the source has no files, --delete needs --max-delete.
        let ran = tool(&["mirror", "--delete", "--max-delete", "1", &mine, &theirs]);
        ran.exited(7);
        assert!(!peer.seen().contains("DELE"), "{} {ran:?}", peer.seen());
    }
}

#[test]
fn a_directory_with_a_blank_in_its_name_is_listed_completely() {
    at_every_server(|site, form| {
        for name in ["my dir/f", "my dir/in ner/g", "my dir/[x]/h", "plain/i"] {
            site.root.write(format!("t/{name}"), name.as_bytes());
        }
        give(site);
        let ran = tool(&["ls", "-l", "--listing", form, &site.url("t/my dir")]);
        assert_eq!(String::from_utf8_lossy(&ran.succeeded()).lines().count(), 3, "{form}");
        let local = TempRoot::new();
        let target = here(&local, "t");
        tool(&["mirror", "--listing", form, &site.url("t"), &target]).exited(0);
        for name in ["my dir/f", "my dir/in ner/g", "my dir/[x]/h", "plain/i"] {
            assert_eq!(local.read(format!("t/{name}")), name.as_bytes(), "{form} {name}");
        }
        tool(&["rm", "-r", &site.url("t/")]).exited(0);
    });
}
