//! Programs that fail, hang, flood or answer rubbish.

use std::fs;
use std::process::Command;

use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::{Asking, KNOWS_TWO, PATIENT};
use crate::config::log_until;

/// A script that reads from the user's name what to do.
const TROUBLE: &str = "read -r line
case $line in
*'\"user\":\"fails\"'*) echo '{\"ok\":true,\"root\":\"/usr\"}'; exit 3 ;;
*'\"user\":\"dies\"'*) kill -9 $$ ;;
*'\"user\":\"silent\"'*) ;;
*'\"user\":\"floods\"'*) yes ;;
*'\"user\":\"long\"'*) head -c 70000 /dev/zero | tr '\\0' ' ' ;;
*'\"user\":\"rubbish\"'*) echo ok ;;
*'\"user\":\"two\"'*) echo '{\"ok\":false}'; echo '{\"ok\":true,\"root\":\"/usr\"}' ;;
*'\"user\":\"key\"'*) echo '{\"ok\":true,\"root\":\"/usr\",\"right\":\"full\"}' ;;
*'\"user\":\"value\"'*) echo '{\"ok\":true,\"root\":\"srv\"}' ;;
*'\"user\":\"echo\"'*) echo \"{\\\"ok\\\":true,\\\"root\\\":\\\"g3heim\\\"}\" ;;
*'\"user\":\"group\"'*) echo '{\"ok\":true,\"root\":\"/usr\",\"groups\":[\"x\"]}' ;;
*'\"user\":\"rootless\"'*) echo '{\"ok\":true}' ;;
*'\"user\":\"missing\"'*) echo '{\"ok\":true,\"root\":\"/proc/none/x\"}' ;;
*'\"user\":\"file\"'*) echo '{\"ok\":true,\"root\":\"/etc/passwd\"}' ;;
*) echo '{\"ok\":true,\"root\":\"/usr\"}' ;;
esac";

#[test]
fn a_failing_auth_program_refuses_the_login() {
    let asking = Asking::start(TROUBLE, "");
    let (mut other, code) = asking.login("other", "p");
    assert_eq!(code, 230);
    for (user, code, why) in [
        ("fails", 451, "exit status: 3"),
        ("dies", 451, "signal: 9 (SIGKILL)"),
        ("silent", 451, "the answer is empty"),
        ("floods", 451, "the answer is longer than 64 KiB"),
        ("long", 451, "the answer is longer than 64 KiB"),
        ("rubbish", 451, "the answer is not JSON: expected value at line 1 column 1"),
        ("two", 451, "the answer is not JSON: trailing characters at line "),
        ("key", 451, "right: unknown key; did you mean rights?"),
        ("value", 451, "root: invalid path \"srv\": expected an absolute path"),
        ("echo", 451, "invalid answer (not shown: it contains the password)"),
        ("group", 451, "groups: unknown group \"x\""),
        ("rootless", 451, "root is missing"),
        ("missing", 530, "missing: /proc/none/x: "),
        ("file", 530, "file: /etc/passwd: "),
    ] {
        let mut session = asking.session();
        session.expect(format!("USER {user}"), 331);
        let reply = session.ask("PASS g3heim");
        assert_eq!(reply.code, code, "{user}");
        let said = log_until(&asking.served, "login-refused");
        assert!(said.iter().any(|line| line.contains(why)), "{user}: {said:?}");
        assert!(!said.iter().any(|line| line.contains("g3heim")), "{said:?}");
        if code == 451 {
            assert_eq!(reply.text(), "451 Cannot check the password now");
            let reason = said.last().unwrap();
            assert!(reason.contains("reason=unavailable"), "{reason}");
        }
        // The same connection may try again.
        session.expect("USER other", 331);
        session.expect("PASS p", 230);
        other.expect_in_step();
    }
}

#[test]
fn a_hanging_auth_program_is_killed_and_delays_no_other_user() {
    let script = "read -r line; sleep 600 & echo $$ $! >pids.new; mv pids.new pids; wait";
    let user = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n";
    let asking = Asking::start(script, user);
    let mut hanging = asking.session();
    hanging.expect("USER anna", 331);
    hanging.line("PASS g3heim");
    wait_until("the program", || asking.here.join("pids").exists());
    let pids = || fs::read_to_string(asking.here.join("pids")).unwrap_or_default();
    let first = pids();
    assert_eq!(asking.code("u", "p"), 230);
    // The first one has its 50 s. The second one may be killed before it writes a file.
    let program = format!("auth.program = \"{}\"\n", asking.here.join("hook").display());
    let sooner = PATIENT.replace("50 s", "1 s");
    asking.reload(&format!("{program}{sooner}{user}"), "changed: auth.timeout, users");
    let mut second = asking.session();
    second.expect("USER bob", 331);
    second.line("PASS g3heim");
    second.expect_reply(451);
    log_until(&asking.served, "for bob: killed after 1 s");
    let second_pids = pids();
    if second_pids != first {
        wait_until("the end of both", || {
            !second_pids.split_whitespace().any(crate::hooks::is_alive)
        });
    }
    assert!(first.split_whitespace().all(crate::hooks::is_alive), "{first}");
    // The session goes on.
    second.expect("USER u", 331);
    second.expect("PASS p", 230);
    // The program before its child, which the server may have killed by then.
    Command::new("kill").args(first.split_whitespace()).status().unwrap();
    hanging.expect_reply(451);
    log_until(&asking.served, "for anna: signal: 15 (SIGTERM)");
}

#[test]
fn a_missing_auth_program_is_logged() {
    let asking = Asking::start(KNOWS_TWO, "[defaults]\nroot = \"ROOT\"\n");
    fs::remove_file(asking.here.join("hook")).unwrap();
    assert_eq!(asking.code("anna", "secret"), 451);
    log_until(&asking.served, "hook for anna: No such file or directory");
}

#[test]
fn logins_wait_for_a_worker() {
    let script = "read -r line; user=${line#*'\"user\":\"'}; user=${user%%'\"'*}
case $user in
alone*) mkdir lock || echo overlap >>seen; sleep 0.1; rmdir lock ;;
*) : >\"$user.started\"; while [ -e hook ] && ! { [ -e x.started ] && [ -e y.started ]; }; do sleep 0.05; done ;;
esac
echo '{\"ok\":true,\"root\":\"/usr\"}'";
    let one = "auth.workers = 1\n";
    let asking = Asking::start(script, one);
    let begin = |user: &str| {
        let mut session = asking.session();
        session.expect(format!("USER {user}"), 331);
        session.line("PASS p");
        session
    };
    let alone = (0..6).map(|number| begin(&format!("alone{number}")));
    let alone: Vec<_> = alone.collect();
    alone.into_iter().for_each(|mut session| drop(session.expect_reply(230)));
    assert_eq!(asking.seen(), [""; 0]);
    // Each of these two waits for the other.
    let program = format!("auth.program = \"{}\"\n", asking.here.join("hook").display());
    asking.reload(&format!("{program}{PATIENT}auth.workers = 2\n"), "changed: auth.workers");
    for mut session in ["x", "y"].map(begin) {
        session.expect_reply(230);
    }
}

#[test]
fn a_disconnected_client_ends_its_auth_program() {
    let script = "read -r line
case $line in
*slow*) echo >>seen; exec sleep 1000 ;;
*) echo '{\"ok\":true}' ;;
esac";
    let patient = PATIENT.replace("50 s", "1 h");
    let more = "auth.workers = 1\ntimeouts.login = \"1 h\"\n[defaults]\nroot = \"ROOT\"\n";
    let asking = Asking::of(TempRoot::new(), script, &format!("{patient}{more}"));
    let mut gone = asking.session();
    gone.expect("USER slow", 331);
    gone.send("PASS x\r\n");
    wait_until("the program started", || asking.seen().len() == 1);
    drop(gone);
    // There is one worker, so this login waits for the end of the other program.
    assert_eq!(asking.code("quick", "x"), 230);
}
