//! `serve`: the mechanisms that confine its sessions to the root, and its messages if they are
//! missing.

use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use crate::config::Configured;
use crate::serve::Served;
use crate::{failed, ftp};

const REQUIRE: [&str; 2] = ["--set", "security.confine=require"];

/// Returns how many threads of a process have given up new privileges, as a thread must before it
/// can confine itself.
fn confined(process: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status =
        threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("status")));
    status.flatten().filter(|status| status.contains("NoNewPrivs:\t1")).count()
}

/// Returns the program on a system that lacks these system calls.
fn deprived(strace: &Peer, program: &Command, calls: &[&str]) -> Command {
    let mut command = strace.command();
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={}", calls.join(",")));
    command.args(calls.iter().map(|call| format!("--inject={call}:error=ENOSYS")));
    command.arg(program.get_program()).args(program.get_args());
    command
}

#[test]
fn only_session_threads_are_confined_fs_05_cm_17() {
    let root = TempRoot::new();
    let served = Served::start(&root, &[&["--user", "u:p"], &REQUIRE[..]].concat());
    assert!(served.said().contains(" by openat2 and Landlock (ABI "), "{}", served.said());
    let process = served.running.child.id();
    let mut session = RawSession::greeted(served.address);
    assert_eq!(confined(process), 0);
    for _ in 0..2 {
        session.expect("USER u", 331);
        session.expect("PASS p", 230);
        assert_eq!(confined(process), 1);
        session.expect("REIN", 220);
        wait_until("the end of the confined thread", || confined(process) == 0);
    }
    let served = Served::start(&root, &["--user", "u:p", "--set", "security.confine=off"]);
    assert!(served.said().contains(" by openat2 without Landlock\n"), "{}", served.said());
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect_in_step();
    assert_eq!(confined(served.running.child.id()), 0);
}

#[test]
fn a_system_without_confinement_is_refused_or_logged_fs_05() {
    let Some(strace) = Peer::find("strace") else { return };
    let root = TempRoot::new();
    root.write("file", b"x");
    std::os::unix::fs::symlink("file", root.path().join("link")).unwrap();
    let serve = |arguments: &[&str]| {
        let mut serve = ftp(&["serve", "--listen", "0"]);
        serve.args(arguments).arg(root.path());
        serve
    };
    const LANDLOCK: &str = "landlock_create_ruleset";
    for (calls, missing, walls) in [
        (&[LANDLOCK][..], "Landlock is disabled or missing", "openat2 without Landlock"),
        (&["openat2"], "openat2 does not work", "(no openat2) and Landlock"),
        (&["openat2", LANDLOCK], "openat2 does not work", "(no openat2) without Landlock"),
    ] {
        let mut refused = deprived(&strace, &serve(&REQUIRE), calls);
        let ran = run(&mut refused);
        failed(&ran, 14, &format!("cannot confine sessions to {}", root.path().display()));
        failed(&ran, 14, missing);

        let served = Served::of(&mut deprived(&strace, &serve(&["--user", "u:p"]), calls));
        assert!(served.said().contains(walls), "{}", served.said());
        let mut session = RawSession::login(served.address, "u", "p");
        assert_eq!(session.download("RETR file"), b"x");
        session.expect("SIZE link", 213);
    }
}

#[test]
fn auth_program_with_required_confinement_needs_landlock_at_startup_fs_05() {
    let Some(strace) = Peer::find("strace") else { return };
    let configured = Configured::new("");
    configured.write(
        "auth.program = \"/bin/true\"\nsecurity.confine = \"require\"\n\
         [defaults]\nroot = \"ROOT\"\n",
    );
    let file = configured.here.join("server.toml");
    let serve = |more: &[&str]| {
        let mut serve = ftp(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        serve.arg(&file).args(more);
        serve
    };
    let calls = ["landlock_create_ruleset"];
    failed(&run(&mut deprived(&strace, &serve(&[]), &calls)), 14, "cannot confine sessions: ");
    let checked = run(&mut deprived(&strace, &serve(&["--check"]), &calls));
    assert_eq!(checked.code(), Some(14), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        said.contains("security.confine: ") && said.contains("Landlock is disabled or missing"),
        "{said}"
    );
    run(&mut serve(&["--check"])).exited(0);
}
