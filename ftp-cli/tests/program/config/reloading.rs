//! `serve` on SIGHUP: it reads the file again for new sessions, and reopens its logs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ftp_tests::process::LIMIT;
use ftp_tests::random::Random;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::{Configured, greeting, log_until};
use crate::ftp_with_hangup;
use crate::serve::Served;

#[test]
fn sighup_reloads_the_configuration_for_new_sessions() {
    let users = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n";
    let configured = Configured::new(&format!("server.banner = \"first\"\n{users}"));
    let mut served = configured.serve();
    assert_eq!(greeting(&served), "220 first");
    let mut running = RawSession::login(served.address, "u", "p");
    let mut data = running.passive();
    running.expect("STOR file", 150);
    data.write_all(b"half");

    configured.write(&format!("server.banner = \"second\"\ntransfer.overwrite = false\n{users}"));
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(
        said.last().unwrap().contains("changed: server.banner, transfer.overwrite, users"),
        "{said:?}"
    );
    assert_eq!(greeting(&served), "220 second");
    // An existing session continues unchanged.
    data.write_all(b" and half");
    data.close();
    running.expect_reply(226);
    running.upload("STOR file", b"again");
    let mut new = RawSession::login(served.address, "u", "p");
    let _data = new.passive();
    new.expect("STOR file", 553);
    assert_eq!(configured.root.read("file"), b"again");

    // An invalid file changes nothing, and the log has its errors as at startup.
    configured.write("server.banner = \"third\"\n[timeouts]\nidle = \"1 s\"\nstal = 5\n");
    served.signal("HUP");
    let said = log_until(&served, "configuration unchanged");
    for want in [
        "server.toml:3:8: timeouts.idle: invalid time \"1 s\": expected at least 10 s",
        "server.toml:4:1: timeouts.stal: unknown key; did you mean timeouts.stall?",
        "server.toml: 2 errors; configuration unchanged",
    ] {
        assert!(said.iter().any(|line| line.ends_with(want)), "no {want} in {said:?}");
    }
    // A missing file, or a FIFO, changes nothing either.
    for make in [&["rm"][..], &["mkfifo"]] {
        let path = configured.here.join("server.toml");
        assert!(Command::new(make[0]).arg(path).status().unwrap().success());
        served.signal("HUP");
        log_until(&served, "configuration unchanged");
    }
    fs::remove_file(configured.here.join("server.toml")).unwrap();
    assert_eq!(greeting(&served), "220 second");
    RawSession::login(served.address, "u", "p").expect_in_step();

    // Keys that need a restart are named; the others change.
    configured.write(&format!("server.banner = \"fourth\"\nlimits.sessions = 5\n{users}"));
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    let named = "transfer.overwrite, users; restart the server to apply limits.sessions";
    assert!(said.iter().any(|line| line.ends_with(named)), "{said:?}");
    assert_eq!(said.iter().filter(|line| line.contains("limits.sessions")).count(), 1, "{said:?}");
    assert_eq!(greeting(&served), "220 fourth");

    served.signal("TERM");
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_first_reload_with_a_hook_opens_its_spool_and_only_another_place_needs_a_restart() {
    let configured = Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    let served = configured.serve();
    let reload = |spool: &str| {
        let spool = configured.here.join(spool);
        let hooks = format!("stored = [\"/bin/true\"]\nspool = \"{}\"", spool.display());
        let user = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"";
        configured.write(&format!("[hooks]\n{hooks}\n{user}\n"));
        served.signal("HUP");
        (log_until(&served, "configuration reloaded").concat(), spool.is_dir())
    };
    let (said, is_open) = reload("one");
    assert!(said.contains("hooks.spool") && !said.contains("restart") && is_open, "{said}");
    let (said, _) = reload("one");
    assert!(!said.contains("hooks.spool"), "{said}");
    let (said, is_open) = reload("two");
    assert!(said.contains("restart the server to apply hooks.spool") && !is_open, "{said}");
    assert!(!said.contains("changed: hooks.spool"), "{said}");
    assert!(!reload("one").0.contains("restart"));
}

#[test]
fn the_confinement_is_logged_once_and_when_it_changes_fs_05() {
    let text = |confine| {
        format!(
            "security.confine = \"{confine}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n"
        )
    };
    let configured = Configured::new(&text("best-effort"));
    let served = configured.serve();
    let line = format!("sessions are confined to {} by ", configured.root.path().display());
    assert_eq!(served.said().matches(&line).count(), 1, "{}", served.said());
    // The same file again, then another one.
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    configured.write(&text("off"));
    served.signal("HUP");
    let said = log_until(&served, "sessions are confined");
    let said = said.concat();
    assert!(said.contains(&line) && said.ends_with("by openat2 without Landlock"), "{said}");
}

#[test]
fn after_rein_a_session_uses_the_current_users_cm_17() {
    let user = |name: &str| {
        format!("[users.{name}]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"read\"\n")
    };
    // A user who is removed loses the session.
    let configured = Configured::new(&(user("old") + &user("same")));
    configured.root.write("file", b"x");
    let served = configured.serve();
    // One session runs in the thread of a user, the other in a thread that no user entered.
    let mut inside = RawSession::login(served.address, "same", "p");
    let mut outside = RawSession::greeted(served.address);
    configured.write(&(user("new") + &user("same")));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    assert_eq!(inside.download("RETR file"), b"x");
    for session in [&mut inside, &mut outside] {
        session.expect("REIN", 220);
        session.expect("USER old", 331);
        session.expect("PASS p", 530);
        session.expect("USER new", 331);
        session.expect("PASS p", 230);
        assert_eq!(session.download("RETR file"), b"x");
    }
    // A confined thread is never used for another user.
    configured.write(&(user("new") + &user("old")));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    inside.expect("REIN", 220);
    inside.expect("USER old", 331);
    inside.expect("PASS p", 230);
    assert_eq!(inside.download("RETR file"), b"x");
}

#[test]
fn sighup_reopens_the_transfer_log() {
    let here = TempRoot::new();
    let at = |name: &str| here.join(name);
    let users = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n";
    let text = |name: &str| format!("log.transfers = \"{}\"\n{users}", at(name).display());
    let configured = Configured::new(&text("log"));
    let served = configured.serve();
    let upload = || RawSession::login(served.address, "u", "p").upload("STOR file", b"x");
    let wait_for = |name: &str, count: usize| {
        let lines = || fs::read_to_string(at(name)).unwrap().lines().count();
        wait_until("the transfers are logged", || lines() >= count);
        assert_eq!(lines(), count, "{name}");
    };
    upload();
    wait_for("log", 1);
    fs::rename(at("log"), at("log.1")).unwrap();
    upload();
    wait_for("log.1", 2);
    // The logs are reopened whatever else is wrong with the file.
    configured.write("nonsense");
    served.signal("HUP");
    log_until(&served, "configuration unchanged");
    upload();
    wait_for("log", 1);
    wait_for("log.1", 2);
    // If the new log cannot be opened, the old one stays in use; a FIFO without a reader counts
    // too.
    fs::rename(at("log"), at("log.2")).unwrap();
    for make in ["mkdir", "mkfifo"] {
        let _ = fs::remove_dir(at("log"));
        assert!(Command::new(make).arg(at("log")).status().unwrap().success());
        served.signal("HUP");
        log_until(&served, "lines are still written to the old file");
        log_until(&served, "configuration unchanged");
    }
    upload();
    wait_for("log.2", 2);
    // An unusable name changes nothing, another name continues the log there, and an empty name
    // ends it.
    let _ = fs::remove_file(at("log"));
    configured.write(&text("none/other"));
    served.signal("HUP");
    let said = log_until(&served, "configuration unchanged");
    assert!(said.concat().contains("log.transfers: "), "{said:?}");
    configured.write(&text("other"));
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(said.last().unwrap().ends_with("changed: log.transfers, users"), "{said:?}");
    upload();
    wait_for("other", 1);
    configured.write(users);
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    upload();
    configured.write(&text("other"));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    upload();
    wait_for("other", 2);
}

#[test]
fn sighup_changes_the_log_format() {
    let text = |format| {
        format!("log.format = \"{format}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n")
    };
    let configured = Configured::new(&text("text"));
    let served = configured.serve();
    let login = || RawSession::login(served.address, "u", "p");
    login();
    let said = log_until(&served, " login session=");
    assert!(said.iter().all(|line| !line.starts_with('{')), "{said:?}");
    configured.write(&text("json"));
    served.signal("HUP");
    log_until(&served, "changed: log.format");
    login();
    log_until(&served, "\"event\":\"login\"");
    configured.write(&text("text"));
    served.signal("HUP");
    log_until(&served, "changed: log.format");
    login();
    log_until(&served, " login session=");
}

#[test]
fn sighup_without_a_configuration_file_reopens_the_transfer_log() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let set = format!("log.transfers={}", here.join("log").display());
    let mut serve = ftp_with_hangup(&["serve", "--listen", "0", "--user", "u:p", "--write"]);
    let served = Served::of(serve.args(["--set", &set]).arg(root.path()));
    for number in 0..2 {
        let name = format!("log.{number}");
        RawSession::login(served.address, "u", "p").upload("STOR file", b"x");
        let is_there = || fs::read_to_string(here.join("log")).is_ok_and(|log| !log.is_empty());
        wait_until("a line of the log", is_there);
        fs::rename(here.join("log"), here.join(&name)).unwrap();
        served.signal("HUP");
        log_until(&served, "log.transfers reopened");
        assert_eq!(fs::read_to_string(here.join(&name)).unwrap().lines().count(), 1, "{name}");
    }
}

#[test]
fn sighup_reloads_the_configuration_even_under_nohup() {
    let text = |banner| {
        format!("server.banner = {banner:?}\nanonymous.enabled = true\nanonymous.root = \"/usr\"\n")
    };
    let configured = Configured::new(&text("first"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ftp-cli")]);
    shell.args(["serve", "--config", "server.toml", "--listen", "0"]);
    let served = Served::of(shell.current_dir(configured.here.path()));
    configured.write(&text("second"));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    assert_eq!(greeting(&served), "220 second");
}

#[test]
fn sighup_without_a_configuration_file_stops_the_server() {
    let root = TempRoot::new();
    let mut serve = ftp_with_hangup(&["serve", "--listen", "0"]);
    let mut served = Served::of(serve.arg(root.path()));
    served.signal("HUP");
    assert!(served.running.wait(Instant::now() + LIMIT).is_some(), "it ends");
}

#[test]
fn random_signals_reload_or_stop_the_server_cleanly_hf_15() {
    let mut random = Random::new(15);
    let text = |number: u64| {
        format!(
            "server.banner = \"{number}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n"
        )
    };
    for round in 0..2 {
        let configured = Configured::new(&text(0));
        let mut served = configured.serve();
        // A login during a reload that changes the user, as an incomplete file can do, gets 421.
        let mut session = RawSession::login(served.address, "u", "p");
        let content = ftp_tests::content::binary(1 << 20, round);
        let transfers = std::thread::spawn(move || {
            session.expect("TYPE I", 200);
            for _ in 0..5 {
                session.upload("STOR file", &content);
                assert_eq!(session.download("RETR file"), content);
            }
            content
        });
        let mut number = 0;
        while !transfers.is_finished() {
            match random.below(3) {
                0 => served.signal("PIPE"),
                1 => served.signal("HUP"),
                _ => {
                    // While the file is being written, it may be incomplete.
                    number += 1;
                    configured.write(&text(number));
                    served.signal("HUP");
                }
            }
            std::thread::park_timeout(Duration::from_millis(random.below(5) as u64));
        }
        let content = transfers.join().unwrap();
        assert_eq!(configured.root.read("file"), content);
        configured.write(&text(number + 1));
        served.signal("HUP");
        let last = format!("220 {}", number + 1);
        wait_until("the last file is read", || greeting(&served) == last);
        served.signal("HUP");
        served.signal(if round % 2 == 0 { "TERM" } else { "INT" });
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
        assert_eq!(configured.root.names(), [b"file"]);
    }
}
