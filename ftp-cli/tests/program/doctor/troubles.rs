//! FTP servers with a problem, over loopback.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ftp_server::{Rights, ServerConfig};
use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Running, run};
use ftp_tests::raw::DEADLINE;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::patiently;

use super::scene::{From, Ours, between};
use super::{Found, doctor, examined};
use crate::ftp;

/// Returns the names that the examination left.
fn left(root: &TempRoot) -> Vec<OsString> {
    let names = |path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = names(root.join("")).chain(names(root.join("in"))).collect();
    left.retain(|name| name != "in" && name != "file");
    left
}

/// Asserts that the examination left no file.
#[track_caller]
fn is_clean(root: &TempRoot) {
    assert_eq!(left(root), [""; 0]);
}

/// Waits until a file has been uploaded: a hidden one has not.
#[track_caller]
fn wait_for_file(running: &mut Running, root: &TempRoot) {
    let is_visible = |name: &OsString| !name.as_encoded_bytes().starts_with(b".");
    let is_there = || left(root).iter().any(is_visible).then_some(());
    running.wait_until(DEADLINE, is_there).unwrap();
}

#[test]
fn a_healthy_server_has_no_findings_and_is_left_unchanged() {
    let ours = Ours::start("127.0.0.1:0");
    let found = examined(&["--upload-dir", "in", &ours.url()]);
    found.ran.exited(0);
    assert!(found.wrong.is_empty(), "{:?}", found.ran);
    assert_eq!(found.best(), Some(format!("ftp-cli ls -l {}", ours.url())));
    // Everything was checked, and nothing skipped.
    let said = String::from_utf8(found.ran.stdout.clone()).unwrap();
    assert_eq!(said.lines().find(|line| line.contains("\"result\":\"skip\"")), None);
    for check in [
        "resolve", "connect", "protocol", "greeting", "feat", "syst", "login", "epsv", "pasv",
        "ports", "eprt", "port", "mlsd", "list", "utf8", "rest", "size", "mfmt", "hash", "put",
        "append", "resume", "rename", "delete", "clock",
    ] {
        found.seen(check);
    }
    is_clean(&ours.root);
    // The advised command line works.
    let best = found.best().unwrap();
    let words: Vec<&str> = best.split(' ').skip(1).collect();
    run(&mut ftp(&words)).succeeded();
}

#[test]
fn text_output_explains_findings_and_quiet_shows_only_problems() {
    let ours = Ours::with("127.0.0.1:0", Rights::READ, ServerConfig::default());
    let ran = run(&mut ftp(&["doctor", "--upload-dir", "in", &ours.url()]));
    ran.exited(8);
    let said = String::from_utf8(ran.stdout.clone()).unwrap();
    for words in [
        "ok    epsv ",
        "fail  put ",
        "means: The server does not let this user store files",
        "do, at the server: allow this FTP user to write there",
        "best  ftp-cli ls -l ftp://",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let why = String::from_utf8(ran.stderr).unwrap();
    assert!(why.contains("put: storing 64 KiB in in: 550"), "{why}");
    let quiet = run(&mut ftp(&["doctor", "-q", "--upload-dir", "in", &ours.url()]));
    let said = String::from_utf8(quiet.stdout).unwrap();
    assert!(said.starts_with("fail  put ") && !said.contains("ok    "), "{said}");
    assert!(run(&mut ftp(&["doctor"])).code() == Some(2));
}

#[test]
fn each_server_fault_has_exactly_its_diagnosis() {
    type Change = fn(From, &str) -> Option<String>;
    let changes: [(&str, i32, Change); 15] = [
        ("epsv-unsupported", 0, |from, line| match (from, line) {
            // The server gets another verb, which it does not know.
            (From::Client, line) if line.starts_with("EPSV") => Some("XYZZ".to_owned()),
            (_, line) => Some(line.to_owned()),
        }),
        ("epsv-blocked", 0, |from, line| match (from, line) {
            (From::Client, line) if line.starts_with("EPSV") => None,
            (_, line) => Some(line.to_owned()),
        }),
        ("connection-lost", 0, |from, line| match (from, line) {
            (From::Server, line) if line.starts_with("229") => Some("421 shutting down".to_owned()),
            (_, line) => Some(line.to_owned()),
        }),
        ("passive-failed", 0, |from, line| match (from, line) {
            (From::Server, line) if line.starts_with("229") => Some("451 try later".to_owned()),
            (_, line) => Some(line.to_owned()),
        }),
        ("pasv-private-address", 0, |from, line| match (from, line.split_once("(127,0,0,1,")) {
            (From::Server, Some((head, tail))) => Some(format!("{head}(0,0,0,0,{tail}")),
            _ => Some(line.to_owned()),
        }),
        ("pasv-other-address", 0, |from, line| match (from, line.split_once("(127,0,0,1,")) {
            (From::Server, Some((head, tail))) => Some(format!("{head}(198,51,100,7,{tail}")),
            _ => Some(line.to_owned()),
        }),
        ("passive-off", 13, |from, line| match (from, line) {
            (From::Client, line) if line.starts_with("EPSV") || line.starts_with("PASV") => {
                Some("XYZZ".to_owned())
            }
            (_, line) => Some(line.to_owned()),
        }),
        ("active-blocked", 0, |from, line| match (from, line) {
            // The server connects to a port of another program.
            (From::Client, line) if line.starts_with("PORT") || line.starts_with("EPRT |1") => {
                Some("PORT 127,0,0,1,255,254".to_owned())
            }
            (_, line) => Some(line.to_owned()),
        }),
        ("eprt-blocked", 0, |from, line| match (from, line) {
            (From::Client, line) if line.starts_with("EPRT |1") => {
                Some("EPRT |1|127.0.0.1|65534|".to_owned())
            }
            (_, line) => Some(line.to_owned()),
        }),
        ("clock-skew", 0, |from, line| match (from, line.strip_prefix("213 20")) {
            (From::Server, Some(_)) => Some("213 20010203040506".to_owned()),
            _ => Some(line.to_owned()),
        }),
        ("no-restart", 0, |from, line| match (from, line.strip_prefix("REST 0")) {
            (From::Client, Some(_)) => Some("XYZZ".to_owned()),
            _ => Some(line.to_owned()),
        }),
        ("resume-refused", 0, |from, line| match (from, line.strip_prefix("REST 3")) {
            (From::Client, Some(_)) => Some("XYZZ".to_owned()),
            _ => Some(line.to_owned()),
        }),
        ("append-refused", 0, |from, line| match (from, line.strip_prefix("APPE")) {
            (From::Client, Some(_)) => Some("XYZZ".to_owned()),
            _ => Some(line.to_owned()),
        }),
        ("rename-refused", 0, |from, line| match (from, line.strip_prefix("RNFR")) {
            (From::Client, Some(_)) => Some("XYZZ".to_owned()),
            _ => Some(line.to_owned()),
        }),
        ("mlsd-broken", 0, |from, line| match (from, line.strip_prefix("MLSD")) {
            (From::Client, Some(_)) => Some("XYZZ".to_owned()),
            _ => Some(line.to_owned()),
        }),
    ];
    at_once(4, changes, |(want, code, change)| {
        let ours = Ours::start("127.0.0.1:0");
        let address = between(ours.address(), change);
        let found = examined(&["--upload-dir", "in", &format!("ftp://{address}/")]);
        assert!(found.wrong.iter().eq([want]), "{want}: {:?}", found.ran);
        found.ran.exited(code);
        is_clean(&ours.root);
    });
}

#[test]
fn a_server_that_ignores_epsv_after_an_unused_one_raises_no_alarm() {
    let ours = Ours::start("127.0.0.1:0");
    // As Twisted does.
    let is_unused = Arc::new(AtomicBool::new(false));
    let address = between(ours.address(), move |from, line| {
        let is_ignored = match (from, line.split(' ').next()) {
            (From::Client, Some("EPSV")) => is_unused.swap(true, Ordering::Relaxed),
            (From::Client, Some("LIST" | "MLSD" | "NLST" | "RETR")) => {
                is_unused.store(false, Ordering::Relaxed);
                false
            }
            _ => false,
        };
        (!is_ignored).then(|| line.to_owned())
    });
    let found = examined(&[&format!("ftp://{address}/")]);
    assert!(found.wrong.is_empty(), "{:?}", found.ran);
    if let Some(server) = RealServer::twisted_at(std::net::Ipv4Addr::LOCALHOST) {
        let found = Found::of(run(doctor(&[&server.url("")]).env("FTP_PASSWORD", "pass word")));
        assert!(found.seen("epsv").contains("work"), "{:?}", found.ran);
        assert!(found.seen("pasv").contains("work"), "{:?}", found.ran);
    }
}

#[test]
fn a_signal_in_the_middle_of_an_upload_leaves_no_file_li_10() {
    let ours = Ours::start("127.0.0.1:0");
    // The end of an upload is never confirmed.
    let is_stored = Arc::new(AtomicBool::new(false));
    let address = between(ours.address(), move |from, line| {
        is_stored.fetch_or(line.starts_with("STOR "), Ordering::Relaxed);
        let is_end = from == From::Server && line.starts_with("226 ");
        (!is_end || !is_stored.load(Ordering::Relaxed)).then(|| line.to_owned())
    });
    let url = format!("ftp://{address}/");
    let mut command = ftp(&["doctor", "--upload-dir", "in", &url]);
    let mut running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for_file(&mut running, &ours.root);
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let status = running.wait(Instant::now() + DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(130));
    is_clean(&ours.root);
}

#[test]
fn refused_logins_and_uploads_are_diagnosed() {
    let login = |user: &str, password: &str, ours: &Ours| {
        let url = format!("ftp://{user}@{}/", ours.address());
        Found::of(run(doctor(&["--upload-dir", "in", &url]).env("FTP_PASSWORD", password)))
    };
    let ours = Ours::start("127.0.0.1:0");
    let found = login("me", "wrong", &ours);
    assert!(found.wrong.iter().eq(["login-refused"]), "{:?}", found.ran);
    found.ran.exited(6);
    let said = [found.ran.stdout.clone(), found.ran.stderr.clone()].concat();
    assert!(!String::from_utf8_lossy(&said).contains("wrong\""), "{:?}", found.ran);
    let found = login("me", "secret", &ours);
    assert!(found.wrong.is_empty(), "{:?}", found.ran);
    is_clean(&ours.root);

    // It does not support TLS either, whether or not FEAT lists it.
    let wants_tls = between(ours.address(), |from, line| match from {
        From::Server if line.starts_with(" AVBL") => Some(" AUTH TLS".to_owned()),
        From::Server if line.starts_with("331") => {
            Some("530 Non-anonymous sessions must use encryption.".to_owned())
        }
        _ => Some(line.to_owned()),
    });
    let found = examined(&[&format!("ftp://{wants_tls}/")]);
    assert!(found.wrong.iter().eq(&["login-tls-missing", "tls-broken"]), "{:?}", found.ran);
    found.ran.exited(5);

    for (rights, want, code) in [
        (Rights::READ, "upload-refused", 8),
        (Rights::READ | Rights::CREATE, "", 0),
        (Rights::DROP_BOX, "", 0),
    ] {
        let ours = Ours::with("127.0.0.1:0", rights, ServerConfig::default());
        let found = examined(&["--upload-dir", "in", &ours.url()]);
        if want.is_empty() {
            // A user who can only create files cannot append, rename or delete; the finding names
            // the files that are left.
            assert!(found.wrong.contains("delete-refused"), "{:?}", found.ran);
            let is_read = found.seen("put").ends_with(" and read back unchanged");
            assert_eq!(is_read, rights.contains(Rights::READ), "{:?}", found.ran);
            let left = left(&ours.root);
            assert!(
                !left.is_empty()
                    && found.seen("delete").starts_with("still on the server: in/ftp-cli-doctor-")
            );
        } else {
            assert!(found.wrong.iter().eq([want]), "{:?}", found.ran);
            is_clean(&ours.root);
        }
        found.ran.exited(code);
    }
}

#[test]
fn a_refused_second_login_is_a_finding_and_not_only_an_error() {
    // After the data connections nothing is known, or no method can be tried at all.
    at_once(2, [(5, true, "list"), (1, false, "epsv")], |(taken, best, first)| {
        let ours = Ours::start("127.0.0.1:0");
        let logins = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&logins);
        let address = between(ours.address(), move |from, line| {
            let is_login = from == From::Server && line.starts_with("230 ");
            let is_one_too_many = is_login && count.fetch_add(1, Ordering::Relaxed) >= taken;
            Some(match is_one_too_many {
                true => "530 Sorry, you come often".to_owned(),
                false => line.to_owned(),
            })
        });
        let found = examined(&["--upload-dir", "in", &format!("ftp://{address}/")]);
        assert!(found.wrong.iter().eq(["login-again"]), "{:?}", found.ran);
        assert!(found.seen(first).contains("you come often"), "{:?}", found.ran);
        // Servers ban clients whose logins fail repeatedly.
        assert!(logins.load(Ordering::Relaxed) <= taken + 4, "{logins:?}: {:?}", found.ran);
        assert_eq!(found.best().is_some(), best, "{:?}", found.ran);
        found.ran.exited(9);
        is_clean(&ours.root);
    });
}

#[test]
fn the_overall_timeout_ends_the_checks_without_a_diagnosis_cl_28() {
    // Each method would wait for itself: together they take longer than the limit.
    let ours = Ours::start("127.0.0.1:0");
    let address = between(ours.address(), |from, line| {
        (from == From::Server || !line.starts_with("LIST")).then(|| line.to_owned())
    });
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [address, silent.local_addr().unwrap()] {
        let found = examined(&["--timeout", "1", &format!("ftp://{address}/")]);
        assert!(found.wrong.is_empty(), "{:?}", found.ran);
        found.ran.exited(10);
        let said = String::from_utf8_lossy(&found.ran.stdout).into_owned();
        assert!(said.contains("\"phase\":\"overall\""), "{said}");
    }
}

#[test]
fn a_file_left_on_the_server_after_a_signal_is_reported_li_10() {
    let ours = Ours::start("127.0.0.1:0");
    // The end of an upload is never confirmed, and nothing is deleted.
    let is_stored = Arc::new(AtomicBool::new(false));
    let address = between(ours.address(), move |from, line| {
        is_stored.fetch_or(line.starts_with("STOR "), Ordering::Relaxed);
        let is_end = from == From::Server && line.starts_with("226 ");
        if line.starts_with("DELE") {
            return Some("XYZZ".to_owned());
        }
        (!is_end || !is_stored.load(Ordering::Relaxed)).then(|| line.to_owned())
    });
    let url = format!("ftp://{address}/");
    let mut command = ftp(&["doctor", "--upload-dir", "in", &url]);
    let mut running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    wait_for_file(&mut running, &ours.root);
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let status = running.wait(Instant::now() + DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(130));
    let mut said = String::new();
    std::io::Read::read_to_string(running.child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(said.contains("still on the server: in/ftp-cli-doctor-"), "{said}");
}

#[test]
fn doctor_accepts_active_mode_options_without_active() {
    let ours = Ours::start("127.0.0.1:0");
    let found =
        examined(&["--active-address", "127.0.0.1", "--active-ports", "20000-60000", &ours.url()]);
    assert!(found.wrong.is_empty(), "{:?}", found.ran);
    found.ran.exited(0);
    // The options are used: the announced address has no listener.
    let found = examined(&["--active-address", "127.0.0.9", &ours.url()]);
    assert!(found.seen("eprt").contains("refused"), "{:?}", found.ran);
}

#[test]
fn a_missing_path_is_reported_as_a_failure() {
    let ours = Ours::start("127.0.0.1:0");
    for (path, wrong, code, best) in [
        ("missing/", &["path-missing"][..], 8, ""),
        ("in/missing", &["path-missing"], 8, ""),
        ("in/", &[], 0, "in/"),
        ("file", &[], 0, "file"),
    ] {
        let found = examined(&[&format!("{}{path}", ours.url())]);
        assert!(found.wrong.iter().eq(wrong), "{path}: {:?}", found.ran);
        found.ran.exited(code);
        // The best command line works.
        let command = found.best().unwrap();
        assert_eq!(command, format!("ftp-cli ls -l {}{best}", ours.url()));
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        run(&mut ftp(&words)).succeeded();
    }
    // A missing directory is not reported as a lack of rights.
    let found = examined(&["--upload-dir", "missing", &ours.url()]);
    assert!(found.wrong.iter().eq(["upload-dir-missing"]), "{:?}", found.ran);
    found.ran.exited(8);
}

#[test]
fn a_missing_or_invalid_reply_is_not_reported_as_a_broken_connection() {
    type Change = fn(From, &str) -> Option<String>;
    let changes: [(&str, i32, &str, Change); 5] = [
        ("reply-never", 10, "login", |_, line| {
            (!line.starts_with("PASS")).then(|| line.to_owned())
        }),
        ("reply-never", 10, "feat", |_, line| (line != "FEAT").then(|| line.to_owned())),
        ("reply-invalid", 7, "login", |_, line| {
            Some(if line.starts_with("331") { "hello" } else { line }.to_owned())
        }),
        // A server that hangs in each transfer: it waits for data itself. Lost packets look the same.
        ("big-packets-lost", 4, "epsv", |from, line| match (from, line.split(' ').next()) {
            (From::Client, Some("LIST")) => Some("STOR in/never".to_owned()),
            _ => Some(line.to_owned()),
        }),
        // Only MLSD hangs.
        ("final-reply-never", 10, "mlsd", |_, line| {
            (!line.starts_with("MLSD")).then(|| line.to_owned())
        }),
    ];
    at_once(changes.len(), changes, |(want, code, check, change)| {
        patiently(Duration::from_secs(2), |limit| {
            let ours = Ours::start("127.0.0.1:0");
            let address = between(ours.address(), change);
            let limit = limit.as_secs().to_string();
            let limits = ["--reply-timeout", &limit, "--stall-timeout", &limit];
            let found = examined(&[&limits[..], &[&format!("ftp://{address}/")]].concat());
            let wrong = found.wrong.iter().filter(|name| *name != "active-blocked");
            assert!(wrong.eq([want]), "{check}: {:?}", found.ran);
            assert!(!found.seen(check).contains("closed"), "{:?}", found.ran);
            found.ran.exited(code);
            let best =
                (check == "mlsd").then(|| format!("ftp-cli ls -l --listing list ftp://{address}/"));
            assert_eq!(found.best(), best);
        });
    });
}

#[test]
fn a_test_file_whose_reply_was_lost_is_not_reported_as_left() {
    // The reply to RNTO, and to the first DELE.
    at_once(2, [(0, &["connection-lost"][..]), (1, &[])], |(lost, wrong)| {
        patiently(Duration::from_secs(2), |limit| {
            let limit = limit.as_secs().to_string();
            let ours = Ours::start("127.0.0.1:0");
            let count = Arc::new(AtomicUsize::new(0));
            let address = between(ours.address(), move |from, line| {
                let is_done = from == From::Server && line.starts_with("250 ");
                let is_lost = is_done && count.fetch_add(1, Ordering::Relaxed) == lost;
                (!is_lost).then(|| line.to_owned())
            });
            let url = format!("ftp://{address}/");
            let found = examined(&["--reply-timeout", &limit, "--upload-dir", "in", &url]);
            assert!(found.wrong.iter().eq(wrong), "{:?}", found.ran);
            assert_eq!(found.seen("delete"), "the test files were deleted");
            found.ran.exited(0);
            is_clean(&ours.root);
        });
    });
}

#[test]
fn a_slow_login_is_waited_for_each_time() {
    let ours = Ours::start("127.0.0.1:0");
    let address = between(ours.address(), |_, line| {
        if line.starts_with("230 ") {
            // Longer than the share of the time for other replies.
            std::thread::sleep(Duration::from_secs(3));
        }
        Some(line.to_owned())
    });
    let found = examined(&["--timeout", "14", &format!("ftp://{address}/")]);
    assert!(found.wrong.is_empty(), "{:?}", found.ran);
}

#[test]
fn rest_is_judged_in_type_image() {
    let Some(server) = RealServer::pyftpdlib() else { return };
    let found = Found::of(run(doctor(&[&server.url("")]).env("FTP_PASSWORD", server.password)));
    // Under load, this server sometimes leaves an empty listing without an end.
    assert!(!found.wrong.contains("no-restart"), "{:?}", found.ran);
    assert_eq!(found.seen("rest"), "REST 0: 350 Restarting at position 0.");
}

#[test]
fn a_missing_final_reply_is_not_blamed_on_a_firewall() {
    let ours = Ours::start("127.0.0.1:0");
    let address = between(ours.address(), |from, line| {
        let is_end = from == From::Server && line.starts_with("226 ");
        (!is_end).then(|| line.to_owned())
    });
    let found = examined(&[&format!("ftp://{address}/")]);
    assert!(found.wrong.iter().eq(["final-reply-never"]), "{:?}", found.ran);
    assert!(found.seen("epsv").contains("final reply did not"), "{:?}", found.ran);
    found.ran.exited(10);
    assert_eq!(found.best(), None);
}

#[test]
fn partly_forwarded_passive_ports_are_not_blamed_on_epsv() {
    // Every second named port has no listener.
    let ours = Ours::start("127.0.0.1:0");
    let count = Arc::new(AtomicUsize::new(0));
    let address = between(ours.address(), move |from, line| {
        let is_port = from == From::Server && (line.starts_with("227") || line.starts_with("229"));
        if !is_port || count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Some(line.to_owned());
        }
        Some(match line.starts_with("227") {
            true => "227 (127,0,0,1,0,1)".to_owned(),
            false => "229 (|||1|)".to_owned(),
        })
    });
    let found = examined(&[&format!("ftp://{address}/")]);
    assert!(found.wrong.iter().eq(["passive-ports-partly"]), "{:?}", found.ran);
    assert!(found.seen("ports").contains("; unreachable: 1"), "{:?}", found.ran);
    found.ran.exited(13);
    assert_eq!(found.best(), Some(format!("ftp-cli ls -l --active ftp://{address}/")));
}

#[test]
fn a_server_with_one_connection_per_host_is_not_reported_as_broken() {
    let host = std::net::Ipv4Addr::LOCALHOST;
    let vsftpd = RealServer::vsftpd_of_one(host).map(|server| ("vsftpd", server));
    let proftpd = RealServer::proftpd_of_one(host).map(|server| ("ProFTPD", server));
    for (name, server) in vsftpd.into_iter().chain(proftpd) {
        let url = format!("ftp://{}@{}/", server.user, server.address).replace("anonymous@", "");
        let mut doctor = doctor(&[&url]);
        doctor.envs(url.contains('@').then_some(("FTP_PASSWORD", server.password)));
        let found = Found::of(run(&mut doctor));
        assert!(found.wrong.is_empty(), "{name}: {:?}", found.ran);
        found.ran.exited(0);
        assert_eq!(found.best(), Some(format!("ftp-cli ls -l {url}")), "{name}");
    }
}
