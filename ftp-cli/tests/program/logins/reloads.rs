//! Remembered logins, and what a reload changes.

use ftp_tests::process::LIMIT;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::{Asking, KNOWS_TWO, PATIENT};
use crate::config::log_until;
use crate::hooks::notices::program;

/// A script that compares with the line of the file `password`.
const COMPARES: &str = "read -r line; echo asked >>seen; read -r right <password
case $line in
*'\"password\":\"'\"$right\"'\"'*) echo '{\"ok\":true,\"root\":\"/usr\"}' ;;
*) echo '{\"ok\":false}' ;;
esac";

impl Asking {
    /// Gives the user another password, in one step.
    fn set_password(&self, password: &str) {
        let new = self.here.write("password.new", format!("{password}\n").as_bytes());
        std::fs::rename(new, self.here.join("password")).unwrap();
    }

    pub(super) fn reload(&self, text: &str, changed: &str) {
        self.configured.write(text);
        self.served.signal("HUP");
        let said = log_until(&self.served, "configuration reloaded");
        assert!(said.last().unwrap().ends_with(changed), "{said:?}");
    }
}

#[test]
fn accepted_logins_are_cached_and_refused_ones_are_not() {
    let asking = Asking::start(COMPARES, "auth.cache = \"1 h\"\n");
    asking.set_password("first");
    for _ in 0..3 {
        assert_eq!(asking.code("anna", "first"), 230);
    }
    assert_eq!(asking.seen().len(), 1);
    for count in 2..4 {
        assert_eq!(asking.code("anna", "second"), 530);
        assert_eq!(asking.seen().len(), count);
    }
    // Another user is not that one.
    assert_eq!(asking.code("bob", "first"), 230);
    assert_eq!(asking.seen().len(), 4);
    // A new password works at once.
    asking.set_password("second");
    assert_eq!(asking.code("anna", "second"), 230);
    assert_eq!(asking.seen().len(), 5);

    // A reload forgets the old one, also for connections from before.
    let mut before = asking.session();
    let path = asking.here.join("hook");
    let text = format!("auth.program = \"{}\"\n{PATIENT}auth.cache = \"1 h\"\n", path.display());
    asking.reload(&text, "changed: nothing");
    before.expect("USER anna", 331);
    before.expect("PASS first", 530);
    assert_eq!(asking.code("anna", "first"), 530);
    assert_eq!(asking.code("anna", "second"), 230);
    assert_eq!(asking.code("anna", "second"), 230);
    assert_eq!(asking.seen().len(), 8);

    asking.reload(&text.replace("1 h", "0 s"), "changed: auth.cache");
    assert_eq!(asking.code("anna", "second"), 230);
    assert_eq!(asking.code("anna", "second"), 230);
    assert_eq!(asking.seen().len(), 10);
}

/// However long the program takes.
#[test]
fn a_login_that_was_in_progress_when_what_decides_it_changed_ends_with_421_cm_15() {
    let root = TempRoot::new();
    let slow = format!(
        "read -r line; echo asked >>seen; while [ ! -e go ]; do sleep 0.02; done
        echo '{{\"ok\":true,\"root\":\"{}\"}}'",
        root.path().display()
    );
    let text = |more: &str, asking: &Asking| {
        format!("auth.program = \"{}\"\n{PATIENT}{more}", asking.here.join("hook").display())
    };
    let check = "hooks.check = [\"/bin/false\"]\n";
    for (more, changed, code) in
        [(check, "changed: hooks.check", 421), ("server.banner = \"Hi\"\n", "server.banner", 230)]
    {
        let asking = Asking::start(&slow, "");
        let mut session = asking.session();
        session.expect("USER anna", 331);
        session.line("PASS secret");
        wait_until("the program runs", || asking.seen().len() == 1);
        asking.reload(&text(more, &asking), changed);
        asking.here.write("go", b"");
        session.expect_reply(code);
        if code == 421 {
            session.expect_closed();
        }
        assert_eq!(asking.code("anna", "secret"), 230);
    }
}

#[test]
fn a_cached_password_expires() {
    let asking = Asking::start(COMPARES, "auth.cache = \"1 s\"\n");
    asking.set_password("first");
    assert_eq!(asking.code("anna", "first"), 230);
    asking.set_password("second");
    wait_until("the old password is refused", || asking.code("anna", "first") == 530);
}

#[test]
fn a_reload_changes_the_program() {
    let asking = Asking::start(KNOWS_TWO, "[defaults]\nroot = \"ROOT\"\n");
    let (mut anna, code) = asking.login("anna", "secret");
    assert_eq!((code, asking.code("carl", "secret")), (230, 530));
    let other = TempRoot::new();
    let path = program(&other, "cat >/dev/null; echo '{\"ok\":true,\"root\":\"/usr\"}'");
    let all =
        format!("auth.program = [\"{}\", \"x\"]\nauth.workers = 1\n{PATIENT}", path.display());
    asking.reload(&all, "changed: auth.program, auth.workers, users");
    assert_eq!(asking.code("carl", "secret"), 230);
    anna.expect_in_step();

    // A user of the file is none of the program's, and the other way round.
    let user = "[users.dora]\npassword = \"HASH\"\nroot = \"ROOT\"\n";
    asking.reload(&format!("{all}{user}"), "changed: users");
    let (mut dora, code) = asking.login("dora", "p");
    assert_eq!(code, 230);
    let mut before = asking.session();
    asking.reload(&all, "changed: users");
    dora.expect_reply(421);
    // Over an older connection, too, the program now decides about this name.
    before.expect("USER dora", 331);
    before.expect("PASS anything", 230);
    before.expect_in_step();
    let (mut dora, code) = asking.login("dora", "anything");
    assert_eq!(code, 230);
    asking.reload(&format!("{all}server.banner = \"x\"\n"), "changed: server.banner");
    dora.expect_in_step();
    anna.expect_in_step();

    // Without the program, its users are gone.
    asking.reload(
        &format!("{PATIENT}{user}"),
        "changed: server.banner, auth.program, auth.workers, users",
    );
    anna.expect_reply(421);
    assert_eq!(asking.code("anna", "secret"), 530);
}

#[test]
fn the_program_decides_about_removed_users_over_older_connections_too() {
    let users = "[users.eve]\npassword = \"HASH\"\nroot = \"ROOT\"\n\
                 [users.fred]\npassword = \"HASH\"\nroot = \"ROOT\"\n";
    let script = "cat >/dev/null; echo '{\"ok\":true,\"root\":\"/usr\"}'";
    let asking = Asking::start(script, users);
    let mut before = [asking.session(), asking.session()];
    let program = format!("auth.program = \"{}\"\n{PATIENT}", asking.here.join("hook").display());
    let fred = users.split_once("[users.fred]").unwrap().1;
    asking.reload(&format!("{program}[users.fred]{fred}"), "changed: users");
    asking.reload(&program, "changed: users");
    asking.reload(&program, "changed: nothing");
    for (session, user) in before.iter_mut().zip(["eve", "fred"]) {
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS anything", 230);
        session.expect_in_step();
    }
    let (mut eve, code) = asking.login("eve", "anything");
    assert_eq!(code, 230);
    asking.reload(&program, "changed: nothing");
    eve.expect_in_step();
}

#[test]
fn anonymous_sessions_do_not_become_sessions_of_program_users() {
    let anonymous = "[anonymous]\nenabled = true\nroot = \"ROOT\"\n";
    let script = "cat >/dev/null; echo '{\"ok\":true,\"root\":\"/usr\"}'";
    let asking = Asking::start(script, anonymous);
    let (mut former, code) = asking.login("FTP", "me@");
    assert_eq!(code, 230);
    let mut before = asking.session();
    let program = format!("auth.program = \"{}\"\n{PATIENT}", asking.here.join("hook").display());
    asking.reload(&program, "changed: anonymous.enabled, anonymous.root");
    former.expect_reply(421);
    asking.reload(&program, "changed: nothing");
    before.expect("USER anonymous", 331);
    before.expect("PASS me@", 230);
    before.expect_in_step();
    let (mut later, code) = asking.login("ftp", "anything");
    assert_eq!(code, 230);
    asking.reload(&program, "changed: nothing");
    later.expect_in_step();
}

#[test]
fn program_users_stay_only_on_hosts_that_still_list_them() {
    // Anonymous users have no place at the host.
    let text = "anonymous.enabled = true\nanonymous.root = \"ROOT\"\n\
                [hosts.\"a.example\"]\nusers = [\"anna\"]\nroot = \"ROOT/%u\"\n";
    let script = "cat >/dev/null; echo '{\"ok\":true,\"root\":\"/proc/none\"}'";
    let asking = Asking::start(script, text);
    asking.configured.root.mkdir("anna");
    asking.configured.root.write("anna/own", b"of anna");
    let at_host = |user: &str, code| {
        let mut session = asking.session();
        session.expect("HOST a.example", 220);
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS p", code);
        session
    };
    let mut anna = at_host("anna", 230);
    assert_eq!(anna.download("RETR own"), b"of anna");
    drop(at_host("bob", 530));
    let said = log_until(&asking.served, "login-refused");
    assert!(said.last().unwrap().contains("reason=host"), "{said:?}");
    let program = format!("auth.program = \"{}\"\n{PATIENT}", asking.here.join("hook").display());
    asking.reload(&format!("{program}server.banner = \"x\"\n{text}"), "changed: server.banner");
    anna.expect_in_step();
    let text = text.replace("[\"anna\"]", "[\"bob\", \"anonymous\"]");
    asking.reload(&format!("{program}server.banner = \"x\"\n{text}"), "changed: hosts");
    anna.expect_reply(421);
}

#[test]
fn stopping_the_server_ends_a_hanging_auth_program() {
    let script = "read -r line; sleep 600 & echo $$ $! >pids.new; mv pids.new pids; wait";
    let mut asking = Asking::start(script, "auth.workers = 1\n");
    let mut hanging = asking.session();
    hanging.expect("USER anna", 331);
    hanging.line("PASS p");
    // This one waits for its turn.
    let mut waiting = asking.session();
    waiting.expect("USER bob", 331);
    waiting.line("PASS p");
    wait_until("the program", || asking.here.join("pids").exists());
    let pids = std::fs::read_to_string(asking.here.join("pids")).unwrap();
    asking.served.signal("TERM");
    // As other sessions without a transfer, they may see the end of the server first.
    for session in [&mut hanging, &mut waiting] {
        let code = session.try_reply().map(|reply| reply.code);
        assert!(matches!(code, Ok(451 | 421) | Err(_)), "{code:?}");
    }
    let deadline = std::time::Instant::now() + LIMIT;
    let status = asking.served.running.wait(deadline).expect("it ends");
    assert_eq!(status.code(), Some(0));
    wait_until("the end of both", || !pids.split_whitespace().any(crate::hooks::is_alive));
    drop::<Vec<RawSession>>(vec![hanging, waiting]);
}
