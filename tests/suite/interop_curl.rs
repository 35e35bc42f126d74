//! curl, a real process, with our server; and, in `peers`, with servers of other projects.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

use ftp_tests::compare::{assert_same, assert_same_stream};
use ftp_tests::content::{LARGE, SIZES, Stream, binary, large, text};
use ftp_tests::names::{NAMES, doubled, percent};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

/// curl's kinds of data connections: EPSV, PASV, and EPRT with PORT as fallback.
const DATA: [&[&str]; 3] = [&[], &["--disable-epsv"], &["--ftp-port", "-"]];

pub(crate) fn curl(peer: &Peer) -> Command {
    let mut command = peer.command();
    command.args(["--disable", "--silent", "--show-error", "--verbose"]);
    command
}

/// Uploads and downloads every size, in image and ASCII, with each kind of data connection.
pub(crate) fn puts_and_gets(peer: &Peer, site: &Site) {
    let local = TempRoot::new();
    let target = local.join("target");
    for (seed, size) in (1..).zip(SIZES) {
        for way in DATA {
            for (form, content) in
                [(&[][..], binary(size, seed)), (&["--use-ascii"], text(size, seed))]
            {
                let what = format!("{size} bytes, {way:?} {form:?}");
                let curl = || {
                    let mut command = curl(peer);
                    command.args(way).args(form);
                    command
                };
                let source = local.write("source", &content);
                run(curl().arg("-T").arg(source).arg(site.url("there"))).succeeded();
                assert_same(&what, &site.root.read("there"), &content);
                run(curl().arg("-o").arg(&target).arg(site.url("there"))).succeeded();
                // curl creates no file for an empty download.
                let got = if size == 0 { Vec::new() } else { local.read("target") };
                assert_same(&what, &got, &content);
            }
        }
    }
}

fn meets(test: impl FnOnce(&Peer, &OurServer)) {
    if let Some(peer) = Peer::find("curl") {
        test(&peer, &OurServer::start());
    }
}

#[test]
fn every_size_type_and_data_connection() {
    meets(|peer, server| {
        puts_and_gets(peer, server);
        server.assert_only(&[b"there"]);
    });
}

/// curl sends the bytes of its URL unchanged, so 0xFF must be doubled there (RFC 854). It refuses
/// to send control bytes.
#[test]
fn unusual_file_names() {
    meets(|peer, server| {
        let local = TempRoot::new();
        let names: Vec<_> =
            NAMES.iter().copied().filter(|name| !name.iter().any(u8::is_ascii_control)).collect();
        for (seed, name) in (1..).zip(&names) {
            let (up, down) = (binary(300, seed), binary(400, seed));
            let url = server.url(doubled(name));
            let source = local.write("source", &up);
            run(curl(peer).arg("-T").arg(source).arg(&url)).succeeded();
            assert_same(&percent(name), &server.root.read(name), &up);
            server.root.write(name, &down);
            let got = run(curl(peer).arg(&url)).succeeded();
            assert_same(&percent(name), &got, &down);
        }
        server.assert_only(&names);
    });
}

#[test]
fn listings_contain_every_name_unchanged() {
    meets(|peer, server| {
        for name in NAMES {
            server.root.write(name, name);
        }
        server.root.mkdir("directory");
        let mut want: BTreeSet<Vec<u8>> = NAMES.iter().map(|name| name.to_vec()).collect();
        want.insert(b"directory".to_vec());
        for way in DATA {
            let lines = |arguments: &[&str]| -> Vec<Vec<u8>> {
                let mut command = curl(peer);
                let listing =
                    run(command.args(way).args(arguments).arg(server.url(""))).succeeded();
                let listing = listing.strip_suffix(b"\n").expect("the last line is ended");
                let lines = listing.split(|&byte| byte == b'\n');
                lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
            };
            let names: BTreeSet<_> = lines(&["--list-only"]).into_iter().collect();
            assert_eq!(names, want, "NLST {way:?}");

            let long: BTreeSet<_> = lines(&[]).iter().map(|line| ninth_field(line)).collect();
            assert_eq!(long, want, "LIST {way:?}");

            let facts = lines(&["--request", "MLSD"]);
            let after_space = |line: &Vec<u8>| {
                let space = line.iter().position(|&byte| byte == b' ').expect("facts SP name");
                line[space + 1..].to_vec()
            };
            let mut named: BTreeSet<_> = facts.iter().map(after_space).collect();
            // The directory itself and its parent may be listed (RFC 3659 §7.5.1).
            named.remove(&b"."[..]);
            named.remove(&b".."[..]);
            named.remove(&b"/"[..]);
            assert_eq!(named, want, "MLSD {way:?}");
        }
    });
}

/// Returns the name in a line of `ls -l`: the text after eight fields and one space.
fn ninth_field(line: &[u8]) -> Vec<u8> {
    let mut rest = line;
    for _ in 0..8 {
        let padding = rest.iter().take_while(|&&byte| byte == b' ').count();
        let field = rest[padding..].iter().take_while(|&&byte| byte != b' ').count();
        rest = &rest[padding + field..];
    }
    rest[1..].to_vec()
}

#[test]
fn resumes_a_get() {
    meets(|peer, server| {
        let content = binary(100_000, 1);
        server.root.write("file", &content);
        for there in [1, 50_000, 99_999, 100_000] {
            let local = TempRoot::new();
            let target = local.write("target", &content[..there]);
            let mut command = curl(peer);
            run(command.args(["-C", "-", "-o"]).arg(target).arg(server.url("file"))).succeeded();
            assert_same(&format!("{there} bytes were there"), &local.read("target"), &content);
        }
        let middle = run(curl(peer).args(["-r", "10-19"]).arg(server.url("file"))).succeeded();
        assert_same("ten bytes out of the middle", &middle, &content[10..20]);
    });
}

#[test]
fn resumes_a_put() {
    meets(|peer, server| {
        let content = binary(100_000, 1);
        let local = TempRoot::new();
        let source = local.write("source", &content);
        for there in [0, 1, 50_000, 99_999, 100_000] {
            server.root.write("file", &content[..there]);
            let mut command = curl(peer);
            run(command.args(["-C", "-", "-T"]).arg(&source).arg(server.url("file"))).succeeded();
            assert_same(&format!("{there} bytes were there"), &server.root.read("file"), &content);
        }
        server.root.write("file", &content);
        let mut command = curl(peer);
        run(command.args(["--append", "-T"]).arg(source).arg(server.url("file"))).succeeded();
        assert_same("appended", &server.root.read("file"), &[&content[..], &content].concat());
        server.assert_only(&[b"file"]);
    });
}

#[test]
fn quoted_commands_and_made_directories() {
    meets(|peer, server| {
        let local = TempRoot::new();
        let source = local.write("source", b"text");
        let url = format!("{}/b/c%20d", server.url("a"));
        run(curl(peer).arg("--ftp-create-dirs").arg("-T").arg(&source).arg(&url)).succeeded();
        assert_same("three directories down", &server.root.read("a/b/c d"), b"text");
        for method in ["multicwd", "nocwd", "singlecwd"] {
            let got = run(curl(peer).args(["--ftp-method", method]).arg(&url)).succeeded();
            assert_same(method, &got, b"text");
        }
        let mut command = curl(peer);
        command.args(["-Q", "RNFR a/b/c d", "-Q", "RNTO e", "-Q", "RMD a/b", "-Q", "RMD a"]);
        run(command.args(["-Q", "-DELE e", "--list-only"]).arg(server.url(""))).succeeded();
        server.assert_only(&[]);
    });
}

#[test]
fn refusals_reach_curl() {
    meets(|peer, server| {
        // 78: the resource does not exist. 67: login denied. 25: upload refused.
        run(curl(peer).arg(server.url("missing"))).exited(78);
        let stranger = format!("ftp://user:wrong@{}/", server.address);
        run(curl(peer).arg(stranger)).exited(67);
        let local = TempRoot::new();
        let source = local.write("source", b"text");
        let mut command = curl(peer);
        command.args(["--ftp-method", "nocwd", "-T"]).arg(source);
        run(command.arg(format!("{}/file", server.url("missing")))).exited(25);
        server.assert_only(&[]);
    });
}

#[test]
fn a_gibibyte_there_and_back() {
    if !large() {
        return;
    }
    meets(|peer, server| {
        let (local, limit) = (TempRoot::new(), Duration::from_secs(240));
        let mut source = File::create(local.join("source")).unwrap();
        std::io::copy(&mut Stream::new(LARGE, 1), &mut source).unwrap();
        drop(source);
        let mut command = curl(peer);
        command.arg("-T").arg(local.join("source")).arg(server.url("large"));
        run_with(&mut command, &[], limit).succeeded();
        let count = assert_same_stream("put", server.root.open("large"), Stream::new(LARGE, 1));
        assert_eq!(count, LARGE);
        let mut command = curl(peer);
        command.arg("-o").arg(local.join("target")).arg(server.url("large"));
        run_with(&mut command, &[], limit).succeeded();
        assert_same_stream("got", local.open("target"), Stream::new(LARGE, 1));
        let from = LARGE - 1000;
        let tail = run(curl(peer).args(["-r", &format!("{from}-")]).arg(server.url("large")));
        let want = Stream::new(LARGE, 1).from(from);
        assert_eq!(assert_same_stream("tail", &tail.succeeded()[..], want), 1000);
    });
}

#[test]
fn sixteen_parallel_transfers() {
    meets(|peer, server| {
        let content = binary(200_000, 1);
        std::thread::scope(|scope| {
            for number in 0..16 {
                let (content, site): (_, &Site) = (&content, server);
                scope.spawn(move || {
                    let local = TempRoot::new();
                    let source = local.write("source", content);
                    let url = site.url(format!("file {number}"));
                    run_with(curl(peer).arg("-T").arg(source).arg(&url), &[], LIMIT).succeeded();
                    let got = run(curl(peer).arg(&url)).succeeded();
                    assert_same(&url, &got, content);
                });
            }
        });
    });
}
