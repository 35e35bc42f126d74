//! The real binary with real servers of other projects: vsftpd, pyftpdlib, ProFTPD and Pure-FTPd,
//! briefly with others, and with our server. Transferred files are compared with the disk on the
//! other side, exit codes with the documented table.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use ftp_tests::compare::{assert_same, assert_same_stream};
use ftp_tests::content::{LARGE, SIZES, Stream, binary, large, text};
use ftp_tests::names::{NAMES, percent};
use ftp_tests::peer::RealServer;
use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, Ran, clear_environment, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

/// By EPSV and by PASV.
const PASSIVE: [&[&str]; 3] = [&[], &["--epsv", "always"], &["--epsv", "never"]];

/// By EPRT and by PORT.
const ACTIVE: [&[&str]; 2] = [&["--active", "--eprt", "always"], &["--active", "--eprt", "never"]];

/// The binary with a minimal environment, and its dialogue on standard error.
fn ftp(command: &str) -> Command {
    let mut ftp = Command::new(env!("CARGO_BIN_EXE_ftp-cli"));
    clear_environment(&mut ftp).env("LC_ALL", "C.UTF-8").env("HOME", "/proc/none");
    ftp.args([command, "--trace"]);
    ftp
}

/// Local files, and a server.
struct Meeting<'a> {
    site: &'a Site,
    local: TempRoot,
}

impl Meeting<'_> {
    /// Uploads `content` as `name` and asserts that the server has it.
    #[track_caller]
    fn put(&self, options: &[&str], name: &[u8], content: &[u8]) {
        let source = self.local.write("source", content);
        run(ftp("put").args(options).arg(source).arg(self.site.url(name))).succeeded();
        let what = format!("put {} {options:?}", percent(name));
        assert_same(&what, &self.site.root.read(name), content);
    }

    /// Downloads `name` and asserts that it is `content`.
    #[track_caller]
    fn get(&self, options: &[&str], name: &[u8], content: &[u8]) {
        let target = self.local.join("target");
        run(ftp("get").args(options).arg(self.site.url(name)).arg(&target)).succeeded();
        let what = format!("get {} {options:?}", percent(name));
        assert_same(&what, &self.local.read("target"), content);
        fs::remove_file(target).unwrap();
    }
}

fn every_size_and_type(meeting: &Meeting<'_>, connections: &[&[&str]]) {
    for (seed, size) in (1..).zip(SIZES) {
        for &data in connections {
            let (up, down) = (binary(size, seed), binary(size, seed + 1000));
            meeting.put(data, b"file", &up);
            meeting.site.root.write("file", &down);
            meeting.get(data, b"file", &down);

            let ascii = [data, &["--ascii"]].concat();
            let (up, down) = (text(size, seed), text(size, seed + 1000));
            meeting.put(&ascii, b"file", &up);
            meeting.site.root.write("file", &down);
            meeting.get(&ascii, b"file", &down);
        }
    }
    meeting.site.assert_only(&[b"file"]);
}

/// Real servers accept commands that arrive together.
fn pipelined_commands(meeting: &Meeting<'_>) {
    for (seed, size) in (1..).zip(SIZES) {
        let content = binary(size, seed);
        meeting.site.root.write("file", &content);
        for (command, name, want) in [("get", "file", &*content), ("ls", "", b"file\n")] {
            let mut ftp = ftp(command);
            ftp.arg("--pipeline").arg(meeting.site.url(name));
            if command == "get" {
                ftp.arg("-");
            }
            let ran = run(&mut ftp);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(!said.contains("one command at a time"), "{said}");
            assert_same(&format!("{command} --pipeline"), &ran.succeeded(), want);
        }
    }
}

fn unusual_file_names(meeting: &Meeting<'_>, names: &[&[u8]]) {
    for (seed, name) in (1..).zip(names) {
        meeting.put(&[], name, &binary(300, seed));
        meeting.site.root.write(name, &binary(400, seed));
        meeting.get(&[], name, &binary(400, seed));
        // LOCAL is a directory: the file has its name from the URL.
        let directory = TempRoot::new();
        run(ftp("get").arg(meeting.site.url(name)).arg(directory.path())).succeeded();
        assert_same(&percent(name), &directory.read(name), &binary(400, seed));
    }
    meeting.site.assert_only(names);
    for data in [&PASSIVE[..], &ACTIVE].concat() {
        let listing = run(ftp("ls").args(data).arg(meeting.site.url(""))).succeeded();
        let mut got: Vec<&[u8]> =
            listing.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').collect();
        let mut want = names.to_vec();
        got.sort_unstable();
        want.sort_unstable();
        let show = |names: &[&[u8]]| names.iter().map(|name| percent(name)).collect::<Vec<_>>();
        assert_eq!(show(&got), show(&want), "ls {data:?}");
        let long = run(ftp("ls").arg("-l").args(data).arg(meeting.site.url(""))).succeeded();
        for name in names {
            let found = long.split(|byte| *byte == b'\n').any(|line| line.ends_with(name));
            assert!(found, "ls -l {data:?} has no {}", percent(name));
        }
    }
}

/// Operations that every server supports.
fn the_essentials(meeting: &Meeting<'_>) {
    for (seed, size) in (1..).zip(SIZES) {
        meeting.put(&[], b"two words", &binary(size, seed));
        meeting.site.root.write("two words", &binary(size, seed + 1000));
        meeting.get(&[], b"two words", &binary(size, seed + 1000));
    }
    let listing = run(ftp("ls").arg("-l").arg(meeting.site.url(""))).succeeded();
    let listing = String::from_utf8_lossy(&listing);
    assert!(listing.lines().any(|line| line.ends_with("two words")), "{listing}");
    let old = meeting.local.write("old", b"old");
    fs::remove_file(meeting.local.join("source")).unwrap();
    let ran = run(ftp("get").arg(meeting.site.url("missing")).arg(&old));
    fails(meeting, &ran, 8, "RETR refused: 55");
    meeting.site.assert_only(&[b"two words"]);
}

fn standard_streams(meeting: &Meeting<'_>) {
    let content = binary(100_000, 1);
    let url = meeting.site.url("file");
    run_with(ftp("put").arg("-").arg(&url), &content, LIMIT).succeeded();
    assert_same("from standard input", &meeting.site.root.read("file"), &content);
    let got = run(ftp("get").arg(&url).arg("-")).succeeded();
    assert_same("to standard output", &got, &content);
}

fn resume_and_append(meeting: &Meeting<'_>) {
    let content = binary(100_000, 1);
    let source = meeting.local.write("source", &content);
    let url = meeting.site.url("file");
    for there in [1, 50_000, 99_999, 100_000] {
        meeting.site.root.write("file", &content[..there]);
        run(ftp("put").arg("-c").arg(&source).arg(&url)).succeeded();
        let what = format!("put, {there} bytes were there");
        assert_same(&what, &meeting.site.root.read("file"), &content);

        let target = meeting.local.write("target", &content[..there]);
        run(ftp("get").arg("-c").arg(&url).arg(target)).succeeded();
        let what = format!("get, {there} bytes were here");
        assert_same(&what, &meeting.local.read("target"), &content);
    }
    run(ftp("put").arg("--append").arg(&source).arg(&url)).succeeded();
    let twice = [&content[..], &content].concat();
    assert_same("appended", &meeting.site.root.read("file"), &twice);
    meeting.site.assert_only(&[b"file"]);
}

/// Asserts a failure that leaves the old local file and nothing else; `said` is part of the
/// message.
#[track_caller]
fn fails(meeting: &Meeting<'_>, ran: &Ran, code: i32, said: &str) {
    ran.exited(code);
    assert!(String::from_utf8_lossy(&ran.stderr).contains(said), "no {said:?} in {ran:?}");
    assert_same("standard output", &ran.stdout, b"");
    assert_same("the old file", &meeting.local.read("old"), b"old");
    assert_eq!(meeting.local.names(), [b"old"], "what is left here");
}

fn exit_codes(meeting: &Meeting<'_>) {
    let (site, old) = (meeting.site, meeting.local.write("old", b"old"));
    let missing = site.url("missing");
    let get = |url: &str| run(ftp("get").arg(url).arg(&old));

    fails(meeting, &get(&missing), 8, "550");
    fails(meeting, &run(ftp("ls").arg(&missing).arg("--epsv").arg("often")), 2, "often");
    fails(meeting, &run(ftp("get").arg(&missing).arg("/proc/none/file")), 3, "/proc/none");
    fails(meeting, &run(ftp("put").arg("/proc/none").arg(&missing)), 3, "/proc/none");
    let below = format!("{missing}/file");
    fails(meeting, &run(ftp("put").arg(&old).arg(&below)), 8, "55");
    fails(meeting, &get(&format!("{missing}%0D%0ADELE%20x")), 2, "");
    fails(meeting, &run(ftp("get").arg("--no-such-option").arg(&missing)), 2, "no-such-option");
    fails(meeting, &run(ftp("get").arg("http://127.0.0.1/x").arg(&old)), 2, "URL");
    fails(meeting, &get(&format!("ftp://nobody:wrong@{}/x", site.address)), 6, "530");

    let closed = OwnPort::claim_closed();
    fails(meeting, &get(&format!("ftp://{}/x", closed.address())), 4, "refused");
    site.assert_only(&[]);
}

fn a_gibibyte_there_and_back(meeting: &Meeting<'_>) {
    if !large() {
        return;
    }
    let limit = Duration::from_secs(240);
    let (source, url) = (meeting.local.join("source"), meeting.site.url("large"));
    std::io::copy(&mut Stream::new(LARGE, 4), &mut File::create(&source).unwrap()).unwrap();
    let put = |options: &[&str]| {
        run_with(ftp("put").args(options).arg(&source).arg(&url), &[], limit).succeeded();
        let there = meeting.site.root.open("large");
        assert_eq!(assert_same_stream("put", there, Stream::new(LARGE, 4)), LARGE);
    };
    put(&[]);
    // The last MiB again, after an offset of nearly 2^30.
    let there = File::options().write(true).open(meeting.site.root.join("large")).unwrap();
    there.set_len(LARGE - (1 << 20)).unwrap();
    put(&["-c"]);
    fs::remove_file(&source).unwrap();
    let target = meeting.local.join("target");
    run_with(ftp("get").arg(&url).arg(&target), &[], limit).succeeded();
    assert_same_stream("got", meeting.local.open("target"), Stream::new(LARGE, 4));
}

/// Runs each scenario with one server; skipped if the server is not installed.
macro_rules! meets {
    ($server:ident, $start:expr, $takes:expr) => {
        mod $server {
            use super::{Meeting, NAMES, TempRoot};

            fn meeting(scenario: impl FnOnce(&Meeting<'_>)) {
                if let Some(server) = $start {
                    let local = TempRoot::new();
                    scenario(&Meeting { site: &server, local });
                }
            }

            #[test]
            fn every_size_and_type_in_passive_mode() {
                meeting(|meeting| super::every_size_and_type(meeting, &super::PASSIVE));
            }

            #[test]
            fn every_size_and_type_in_active_mode() {
                meeting(|meeting| super::every_size_and_type(meeting, &super::ACTIVE));
            }

            #[test]
            fn pipelined_commands() {
                meeting(super::pipelined_commands);
            }

            #[test]
            fn unusual_file_names() {
                let names: Vec<_> = NAMES.iter().copied().filter($takes).collect();
                meeting(|meeting| super::unusual_file_names(meeting, &names));
            }

            #[test]
            fn standard_streams() {
                meeting(super::standard_streams);
            }

            #[test]
            fn resume_and_append() {
                meeting(super::resume_and_append);
            }

            #[test]
            fn exit_codes() {
                meeting(super::exit_codes);
            }

            #[test]
            fn a_gibibyte_there_and_back() {
                meeting(super::a_gibibyte_there_and_back);
            }
        }
    };
}

meets!(ours, Some(super::OurServer::start()), |_| true);

// vsftpd, ProFTPD and Pure-FTPd read a leading ~ as a home directory.
meets!(vsftpd, super::RealServer::vsftpd(), |name| !name.starts_with(b"~"));
meets!(pyftpdlib, super::RealServer::pyftpdlib(), |_| true);
// It pauses 0.2 s between two connections, so only a few names are tested.
meets!(proftpd, super::RealServer::proftpd_at(super::Ipv4Addr::LOCALHOST), |name| !name
    .starts_with(b"~")
    && (name.len() < 5 || name.starts_with(b"iac")));
// It stores a space at an end of a name, and a control byte, as an underscore, and refuses a
// backslash.
meets!(pure_ftpd, super::RealServer::pure_ftpd_at(super::Ipv4Addr::LOCALHOST), |name| {
    let is_taken = |byte: &u8| !byte.is_ascii_control() && *byte != b'\\';
    !name.starts_with(b"~") && name.trim_ascii() == *name && name.iter().all(is_taken)
});

/// The basic operations with a server that lacks most others.
macro_rules! meets_briefly {
    ($($server:ident: $start:expr;)*) => {
        $(#[test]
        fn $server() {
            if let Some(server) = $start {
                let local = TempRoot::new();
                the_essentials(&Meeting { site: &server, local });
            }
        })*
    };
}

meets_briefly! {
    inetutils_ftpd: RealServer::inetutils_at(Ipv4Addr::LOCALHOST);
    busybox_over_ipv6: RealServer::busybox_at(Ipv6Addr::LOCALHOST);
    twisted: RealServer::twisted_at(Ipv4Addr::LOCALHOST);
    aioftp: RealServer::aioftp_at(Ipv4Addr::LOCALHOST);
    ftp_srv: RealServer::ftp_srv_at(Ipv4Addr::LOCALHOST);
}
