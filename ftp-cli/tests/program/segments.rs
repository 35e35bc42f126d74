//! `get --segments`: one file over several connections.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use ftp_server::{Limits, Rights, Server, ServerConfig};
use ftp_tests::content::binary;
use ftp_tests::process::{LIMIT, Running};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::at_last;
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};

use crate::relay::Relay;
use crate::{failed, ftp, in_directory, with_servers};

/// Bytes without a period that a range could repeat.
pub(crate) fn content(length: usize) -> Vec<u8> {
    binary(length, 1)
}

/// Returns the names of pieces in a directory.
fn pieces(here: &TempRoot) -> Vec<String> {
    let names = here.names().into_iter().map(|name| String::from_utf8(name).unwrap());
    names.filter(|name| name.contains(".part")).collect()
}

#[test]
fn a_file_is_downloaded_in_ranges_from_every_server() {
    let bytes = content(3_000_000);
    with_servers(|name, site| {
        site.root.write("big", &bytes);
        site.root.write("small", b"small");
        let relay = Relay::to(site.address);
        let here = TempRoot::new();
        let url = |file: &str| {
            site.url(file).replace(&site.address.to_string(), &relay.address.to_string())
        };
        in_directory(&here, &["get", "--segments", "4", "-p", &url("big")]).exited(0);
        assert!(here.read("big") == bytes, "{name}");
        // Four ranges, and one byte to test each connection that needs REST.
        let (downloads, connections) = (relay.count("RETR"), relay.count("USER"));
        assert!((5..=4 + connections).contains(&downloads), "{name}: {downloads} {connections}");
        let time = |root: &TempRoot| fs::metadata(root.join("big")).unwrap().modified().unwrap();
        let second = |time: std::time::SystemTime| {
            time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!(second(time(&here)), second(time(&site.root)), "{name}");
        // A small file takes one connection.
        relay.take();
        in_directory(&here, &["get", "--segments", "4", &url("small")]).exited(0);
        assert_eq!((here.read("small"), relay.count("RETR")), (b"small".to_vec(), 1), "{name}");
        assert!(pieces(&here).is_empty(), "{name}");
        failed(&in_directory(&here, &["get", "--segments", "4", &url("none")]), 8, "none");
    });
}

#[test]
fn a_connection_limit_of_the_server_fails_no_transfer() {
    let config = ServerConfig::new().limits(Limits::new().per_user(3));
    let server = OurServer::at(
        std::net::Ipv4Addr::LOCALHOST,
        Server::builder().config(config),
        Rights::FULL,
    );
    let bytes = content(2_000_000);
    server.root.write("big", &bytes);
    let here = TempRoot::new();
    in_directory(&here, &["get", "--segments", "6", &server.url("big")]).exited(0);
    assert!(here.read("big") == bytes);
    assert!(pieces(&here).is_empty());
}

/// The bytes of a range that its record proves before any is flushed.
pub(crate) const PROVED: usize = 64 << 10;

#[test]
fn a_killed_download_resumes_with_the_ranges_it_has() {
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(400_000));
    let server = OurServer::with(config);
    let bytes = content(4_000_000);
    server.root.write("big", &bytes);
    let url = server.url("big");
    let lengths = |here: &TempRoot| -> Vec<usize> {
        let length = |name| Some(fs::metadata(here.join(name)).ok()?.len());
        let lengths = pieces(here).into_iter().filter_map(length);
        lengths.map(|length| usize::try_from(length).unwrap()).collect()
    };
    // On a busy machine, the moment may pass unnoticed.
    let (here, lengths) = at_last("a download that is killed in its middle", || {
        let here = TempRoot::new();
        let mut get = ftp(&["get", "--segments", "4", &url]);
        let mut run = Running::start(get.current_dir(here.path()).stderr(Stdio::null()));
        // The server gives each connection the same rate. Before any range is complete, together
        // they have at least three times as much as one of them.
        let is_ready = || {
            let (lengths, range) = (lengths(&here), bytes.len() / 4);
            let (all, most) = (lengths.iter().sum::<usize>(), lengths.iter().copied().max()?);
            let is_middle = lengths.len() == 4 && all > range && all >= 3 * most;
            (is_middle || most >= range).then_some(is_middle)
        };
        let is_middle = run.wait_until(LIMIT, is_ready).is_ok_and(|is_middle| is_middle);
        run.child.kill().unwrap();
        drop(run);
        let lengths = lengths(&here);
        let has_all = lengths.len() == 4 && lengths.iter().all(|length| *length > 2 * PROVED);
        (is_middle && has_all).then_some((here, lengths))
    });
    // No file has the length of the whole, under no name.
    assert!(!here.join("big").exists() && lengths.iter().all(|length| *length < bytes.len()));
    let has_attributes = setxattr(here.path(), "user.test", b"x", XattrFlags::empty()).is_ok();
    let ran = in_directory(&here, &["get", "--json", "--segments", "4", &url]);
    ran.exited(0);
    assert!(here.read("big") == bytes, "{ran:?}");
    // Without extended attributes, nothing proves to which version the ranges belong.
    let rest = bytes.len() - if has_attributes { 4 * PROVED } else { 0 };
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(told.contains(&format!("\"bytes\":{rest},")), "{rest}: {told}");
    assert!(pieces(&here).is_empty());
}

/// Starts a relay to a server. From the connection with this number on, counted from 0, the server
/// gets `REST 0` instead of any offset, as if it accepted and ignored it.
pub(crate) fn forgetful(server: SocketAddr, number: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test.
    thread::spawn(move || {
        for (at, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let Ok(server) = TcpStream::connect(server) else { return };
            let (mut replies, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut replies, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let mut to = &server;
                for line in BufReader::new(client).split(b'\n').map_while(Result::ok) {
                    let is_rest = at >= number && line.starts_with(b"REST");
                    let line = if is_rest { &b"REST 0\r"[..] } else { &line };
                    if to.write_all(&[line, b"\n"].concat()).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_server_that_ignores_rest_is_noticed() {
    let server = OurServer::start();
    let bytes = content(2_000_000);
    server.root.write("big", &bytes);
    let there = server.url("big");
    let get = |here: &TempRoot, relay: SocketAddr| {
        let url = there.replace(&server.address.to_string(), &relay.to_string());
        in_directory(here, &["get", "--segments", "4", &url])
    };
    let here = TempRoot::new();
    let ran = get(&here, forgetful(server.address, 0));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("over one connection: the server cannot resume downloads"), "{said}");
    assert!(here.read("big") == bytes);
    assert!(pieces(&here).is_empty());
    // Of several hosts with one name, some ignore it: no byte of theirs is kept. The file is
    // limited to one connection that sends slowly, so that the others are used.
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(250_000));
    let server = OurServer::with(config);
    server.root.write("big", &bytes);
    let there = server.url("big");
    let url =
        |address: SocketAddr| there.replace(&server.address.to_string(), &address.to_string());
    let here = TempRoot::new();
    let liar = url(forgetful(server.address, 1));
    let ran = in_directory(&here, &["get", "--segments", "4", &liar]);
    failed(&ran, 11, "ignores REST");
    assert!(!here.join("big").exists());
    for name in pieces(&here) {
        let start = name.rsplit_once(".segment-").map_or(0, |(_, start)| start.parse().unwrap());
        let piece = here.read(&name);
        assert!(piece == bytes[start..start + piece.len()], "{name}");
    }
    in_directory(&here, &["get", "--segments", "4", &there]).exited(0);
    assert!(here.read("big") == bytes);
    assert!(pieces(&here).is_empty());
}

#[test]
fn a_resumed_download_removes_the_ranges_that_an_interrupted_one_has_left() {
    let server =
        OurServer::with(ServerConfig::new().limits(Limits::new().rate_per_session(100_000)));
    let bytes = content(1_200_000);
    server.root.write("big", &bytes);
    let url = server.url("big");
    let here = at_last("a download that ends in its middle", || {
        let here = TempRoot::new();
        in_directory(&here, &["get", "--segments", "4", "--timeout=2s", &url]).exited(10);
        (here.join("big.part").exists() && pieces(&here).len() > 1).then_some(here)
    });
    in_directory(&here, &["get", "-c", &url]).exited(0);
    assert!(here.read("big") == bytes);
    assert_eq!(here.names(), [b"big"]);
}

#[test]
fn user_files_with_similar_names_are_not_taken_for_pieces() {
    let server = OurServer::start();
    let bytes = content(1_000_000);
    server.root.write("big", &bytes);
    let here = TempRoot::new();
    let names = ["big.part", "big.part.segment-", "big.part.segment-x", "big.part.segment-262144"];
    for name in names {
        here.write(name, b"mine");
    }
    in_directory(&here, &["get", "--segments", "3", &server.url("big")]).exited(0);
    assert!(here.read("big") == bytes);
    for name in names {
        assert_eq!(here.read(name), b"mine", "{name}");
    }
}

#[test]
fn ranges_of_two_versions_are_never_mixed() {
    let server = OurServer::start();
    let (old, new) = (content(1_000_000), content(1_100_000).split_off(100_000));
    let file = server.root.write("big", &old);
    let here = TempRoot::new();
    let changed = {
        let file = file.clone();
        move |line: &str| {
            // The last question before the file gets its name is answered for another version.
            if line.starts_with("MDTM") && pieces_exist(&file) {
                let time = std::time::SystemTime::now() + Duration::from_secs(100);
                fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            }
        }
    };
    let relay = Relay::watched(server.address, changed);
    let there = server.url("big");
    let url = there.replace(&server.address.to_string(), &relay.address.to_string());
    fs::write(server.root.join("begun"), b"").unwrap();
    let ran = in_directory(&here, &["get", "--segments", "3", &url]);
    failed(&ran, 11, "changed during the download");
    assert!(!here.join("big").exists());
    // Whatever was kept belongs to the first version.
    fs::remove_file(server.root.join("begun")).unwrap();
    fs::write(&file, &new).unwrap();
    set_time(&file);
    in_directory(&here, &["get", "--segments", "3", &there]).exited(0);
    assert!(here.read("big") == new);
}

/// Sets the modification time of a file to 2020-01-01T00:00:00Z.
fn set_time(path: &std::path::Path) {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn kept_bytes_of_another_version_of_same_size_and_time_are_not_joined_as_09() {
    let old = content(1_000_000);
    // The first byte differs, which the digest shows, or all bytes, which the last kept ones show.
    for new in [[&[!old[0]], &old[1..]].concat(), content(1_100_000).split_off(100_000)] {
        let server = OurServer::start();
        set_time(&server.root.write("big", &old));
        let url = server.url("big");
        let here = TempRoot::new();
        // Leaves the beginning with its record.
        let limits = ["--limit-rate", "100000", "--timeout", "5s"];
        in_directory(&here, &[&["get", "-c", &url][..], &limits].concat()).exited(10);
        assert!(here.join("big.part").exists());
        set_time(&server.root.write("big", &new));
        let ran = in_directory(&here, &["get", "--segments", "3", &url]);
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        let want = "big.part differs from the file on the server: downloading from the start";
        assert!(said.contains(want), "{said}");
        assert!(here.read("big") == new && pieces(&here).is_empty());
    }
}

#[test]
fn a_time_limit_or_a_signal_keeps_the_ranges_for_the_next_run_li_10() {
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(30_000));
    let server = OurServer::with(config);
    let bytes = content(1_200_000);
    server.root.write("big", &bytes);
    let url = server.url("big");
    for (limit, code) in [("--timeout=5s", 10), ("--timeout=1h", 130)] {
        let here = TempRoot::new();
        let mut get = ftp(&["get", "--segments", "4", limit, &url]);
        let mut run = Running::start(get.current_dir(here.path()).stderr(Stdio::piped()));
        if code == 130 {
            let all_have_begun = || (pieces(&here).len() == 4).then_some(());
            run.wait_until(LIMIT, all_have_begun).unwrap();
            kill_process(Pid::from_child(&run.child), Signal::INT).unwrap();
        }
        let status = run.wait(Instant::now() + LIMIT).expect("it ends");
        let mut said = String::new();
        run.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(code), "{said}");
        let want = "run the same command again to resume from the ranges in big.part*";
        assert!(said.contains(want), "{said}");
        let length = |name: &String| fs::metadata(here.join(name)).unwrap().len();
        let kept: u64 = pieces(&here).iter().map(length).sum();
        assert!(kept > 0 && !here.join("big").exists());
        let ran = in_directory(&here, &["get", "--json", "--segments", "4", &url]);
        ran.exited(0);
        assert!(here.read("big") == bytes && pieces(&here).is_empty());
        let has_attributes = setxattr(here.path(), "user.test", b"x", XattrFlags::empty()).is_ok();
        let rest = bytes.len() as u64 - if has_attributes { kept } else { 0 };
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(told.contains(&format!("\"bytes\":{rest},")), "{rest}: {told}");
    }
}

/// Returns whether the test lets the file change: after its first question.
fn pieces_exist(file: &std::path::Path) -> bool {
    let begun = file.with_file_name("begun");
    let length = fs::metadata(&begun).map_or(0, |metadata| metadata.len());
    if begun.exists() {
        fs::write(&begun, vec![b'x'; usize::try_from(length).unwrap() + 1]).unwrap();
    }
    begun.exists() && length > 0
}

#[test]
fn options_that_need_one_connection_are_refused() {
    let here = TempRoot::new();
    for option in ["-c", "-a", "--in-place", "--remove-source", "-r"] {
        let ran = in_directory(&here, &["get", "--segments", "2", option, "ftp://127.0.0.1:1/x"]);
        ran.exited(2);
    }
    let ran = in_directory(&here, &["get", "--segments", "2", "ftp://127.0.0.1:1/x", "-"]);
    failed(&ran, 2, "--segments needs a regular local file");
}
