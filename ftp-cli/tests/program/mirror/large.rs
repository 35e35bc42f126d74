//! `mirror -j N`: a large file comes over all connections at once.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_server::{Limits, Server, ServerConfig, Tls};
use ftp_tests::process::{LIMIT, Running};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind};
use ftp_tests::wait::at_last;
use rustix::fs::{XattrFlags, setxattr};

use super::{age, mirror, shown, tree};
use crate::ftp;
use crate::relay::Relay;
use crate::segments::{PROVED, content, forgetful};

const LARGE: usize = 17 << 20;

/// Returns a server that gives each connection this many bytes per second, so that others get their
/// share of a file, with a tree of a large file and small ones.
fn site(rate: u64) -> (OurServer, Vec<u8>) {
    let server = OurServer::with(ServerConfig::new().limits(Limits::new().rate_per_session(rate)));
    let bytes = content(LARGE);
    age(&server.root.write("tree/sub/large", &bytes), 48);
    for name in ["tree/a", "tree/sub/b", "tree/z"] {
        age(&server.root.write(name, name.as_bytes()), 24);
    }
    (server, bytes)
}

/// Returns the lengths of the pieces in a directory.
fn pieces(directory: &Path) -> Vec<usize> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let pieces = entries.filter_map(Result::ok).filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(".ftp-cli-pieces-large.part")
    });
    let length = |entry: fs::DirEntry| usize::try_from(entry.metadata().ok()?.len()).ok();
    pieces.filter_map(length).collect()
}

#[test]
fn a_large_file_is_downloaded_over_several_connections() {
    let (server, _) = site(4_000_000);
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&used);
    let relay = Relay::numbered(server.address, move |number, line| {
        if line.starts_with("RETR") && line.ends_with("large") {
            seen.lock().unwrap().insert(number);
        }
    });
    let url = server.url("tree").replace(&server.address.to_string(), &relay.address.to_string());
    let here = TempRoot::new();
    let ran = mirror(&["-j", "3", "--json"], &url, shown(&here.join("mine")));
    ran.exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")));
    assert!(used.lock().unwrap().len() >= 2, "{used:?}");
    assert!(relay.count("USER") <= 3, "more connections than -j allows");
    let told = String::from_utf8_lossy(&ran.stdout);
    let events = |kind: &str, name: &str| {
        let is_it = |line: &&str| line.contains(kind) && line.contains(name);
        told.lines().filter(is_it).count()
    };
    for name in ["mine/a\"", "mine/z\"", "mine/sub/b\"", "mine/sub/large\""] {
        let counts = ["\"start\"", "\"done\""].map(|kind| events(kind, name));
        assert_eq!(counts, [1, 1], "{name}: {told}");
    }
    assert_eq!(events(&format!("\"bytes\":{LARGE}"), "large"), 1, "{told}");
    assert!(told.contains("\"done\":5,\"failed\":0"), "{told}");
}

#[test]
fn a_killed_mirror_resumes_with_the_ranges_it_has() {
    let (server, bytes) = site(2_000_000);
    let url = server.url("tree");
    // On a busy machine, the moment may pass unnoticed. A kill between the write that completes the first
    // 64 KiB of a range and the record of their digest would leave only a part of them.
    let here = at_last("a mirror that is killed in its middle", || {
        let here = TempRoot::new();
        let (mine, sub) = (here.join("mine"), here.join("mine/sub"));
        let mut run = ftp(&["mirror", "-j", "3", &url, shown(&mine)]);
        let mut run = Running::start(run.stderr(Stdio::null()));
        let has_all = || {
            let lengths = pieces(&sub);
            (lengths.len() == 3 && lengths.iter().all(|length| *length > 400_000)).then_some(())
        };
        let is_middle = run.wait_until(LIMIT, has_all).is_ok();
        run.child.kill().unwrap();
        drop(run);
        let kept: usize = pieces(&sub).iter().sum();
        (is_middle && kept < bytes.len() && !sub.join("large").exists()).then_some(here)
    });
    // The pieces are no objects that --delete removes.
    let options = ["-j", "3", "--json", "--delete", "--max-delete", "0"];
    let ran = mirror(&options, &url, shown(&here.join("mine")));
    ran.exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")));
    let has_attributes = setxattr(here.path(), "user.test", b"x", XattrFlags::empty()).is_ok();
    // Without extended attributes, nothing proves to which version the ranges belong.
    let rest = bytes.len() - if has_attributes { 3 * PROVED } else { 0 };
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(told.contains(&format!("\"action\":\"copied\",\"bytes\":{rest},")), "{rest}: {told}");
}

#[test]
fn two_large_files_are_both_mirrored_whole() {
    let (server, bytes) = site(0);
    age(&server.root.write("tree/other", &bytes[1..]), 48);
    let here = TempRoot::new();
    // Each has more than a third of all bytes.
    let ran = mirror(&["-j", "3", "--json"], &server.url("tree"), shown(&here.join("mine")));
    ran.exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")));
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(told.contains("\"done\":6,\"failed\":0"), "{told}");
}

#[test]
fn ranges_use_tls_and_all_connections_share_the_rate_limit() {
    let pair = Authority::new().issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = OurServer::built(Server::builder().tls(tls));
    let bytes = content(LARGE);
    age(&server.root.write("tree/large", &bytes), 48);
    let here = TempRoot::new();
    let options = ["--tls", "explicit", "--pin", &pair.pin(), "-j", "3", "--limit-rate", "8M"];
    let start = Instant::now();
    mirror(&options, &server.url("tree"), shown(&here.join("mine"))).exited(0);
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")));
    // 17 MiB at 8 MiB/s in all; three connections with that rate each take a third of it.
    assert!(start.elapsed() > Duration::from_millis(1_500), "{:?}", start.elapsed());
}

#[test]
fn a_large_file_that_changes_during_the_download_is_never_mixed() {
    let (old, new) = (content(LARGE), content(LARGE + 1).split_off(1));
    // With another time, and with the same, where only the digest differs.
    for keeps_time in [false, true] {
        let (server, _) = site(4_000_000);
        let url = server.url("tree");
        let here = at_last("a file that changes while it comes", || {
            let here = TempRoot::new();
            let (mine, sub) = (here.join("mine"), here.join("mine/sub"));
            let file = server.root.join("tree/sub/large");
            fs::write(&file, &old).unwrap();
            age(&file, 48);
            let time = fs::metadata(&file).unwrap().modified().unwrap();
            let mut run = ftp(&["mirror", "-j", "3", &url, shown(&mine)]);
            let mut run = Running::start(run.stderr(Stdio::null()));
            let has_begun = || (pieces(&sub).iter().sum::<usize>() > 1_000_000).then_some(());
            let is_begun = run.wait_until(LIMIT, has_begun).is_ok();
            let is_middle = is_begun && !sub.join("large").exists();
            fs::write(&file, &new).unwrap();
            let time = time + Duration::from_secs(if keeps_time { 0 } else { 3_600 });
            fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            let status = run.wait(Instant::now() + LIMIT).expect("mirror ends");
            // One connection may have copied the new version whole. Otherwise the file fails, with
            // 12 if other files were copied.
            let is_whole = status.success() && here.read("mine/sub/large") == new;
            let is_failure = matches!(status.code(), Some(11 | 12));
            let is_refused = is_failure && !sub.join("large").exists();
            assert!(!is_middle || is_whole || is_refused, "{keeps_time}: {status}");
            is_middle.then_some(here)
        });
        mirror(&["-j", "3"], &url, shown(&here.join("mine"))).exited(0);
        assert!(here.read("mine/sub/large") == new, "{keeps_time}");
    }
}

#[test]
fn old_pieces_are_removed_with_delete_unless_their_file_is_copied() {
    let (server, _) = site(0);
    let here = TempRoot::new();
    for name in ["large.part", "large.part.segment-9", "gone.part"] {
        here.write(format!("mine/sub/.ftp-cli-pieces-{name}"), b"left");
    }
    let piece = |name: &str| here.join(format!("mine/sub/.ftp-cli-pieces-{name}"));
    for (is_used, is_left) in [(true, false), (false, false)] {
        mirror(&["--delete"], &server.url("tree"), shown(&here.join("mine"))).exited(0);
        assert_eq!(piece("large.part").exists(), is_used);
        assert_eq!(piece("gone.part").exists(), is_left);
    }
    assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")));
}

#[test]
fn a_large_file_falls_back_to_one_connection_if_rest_is_ignored() {
    let (server, _) = site(8_000_000);
    // The server ignores REST on all connections, or on all but the first.
    for first in [0, 1] {
        let relay = forgetful(server.address, first);
        let url = server.url("tree").replace(&server.address.to_string(), &relay.to_string());
        let here = TempRoot::new();
        let ran = mirror(&["-j", "3"], &url, shown(&here.join("mine")));
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.lines().count() == 1 && said.contains(" copied, "), "{said}");
        assert_eq!(tree(&server.root.join("tree")), tree(&here.join("mine")), "{first}");
    }
}

#[test]
fn mirror_options_apply_to_files_in_ranges() {
    let (server, bytes) = site(0);
    let large = server.root.join("tree/sub/large");
    fs::set_permissions(&large, Permissions::from_mode(0o604)).unwrap();
    let here = TempRoot::new();
    here.write("mine/sub/large", b"the old one");
    let (mine, old) = (here.join("mine"), here.join("old"));
    fs::create_dir(&old).unwrap();
    let options = ["-j", "2", "--perms", "--remove-source", "--backup-dir", shown(&old)];
    mirror(&options, &server.url("tree"), shown(&mine)).exited(0);
    assert!(here.read("mine/sub/large") == bytes);
    assert_eq!(here.read("old/sub/large"), b"the old one");
    let metadata = fs::metadata(here.join("mine/sub/large")).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o604);
    assert!(!large.exists());
    // A dry run downloads nothing.
    server.root.write("tree/sub/large", &bytes);
    fs::remove_file(here.join("mine/sub/large")).unwrap();
    mirror(&["-j", "2", "--dry-run"], &server.url("tree"), shown(&mine)).exited(0);
    assert_eq!(fs::read_dir(here.join("mine/sub")).unwrap().count(), 1);
}
