//! `auth.program`: a program that decides about users whom the configuration does not name.

mod reloads;
mod trouble;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::config::{Configured, log_until};
use crate::ftp;
use crate::hooks::notices::program;
use crate::serve::Served;

/// A server that asks a shell script, and the directory of the script.
struct Asking {
    configured: Configured,
    served: Served,
    /// `hook` is the program, which runs there.
    here: TempRoot,
}

/// No delays, closed connections and bans, and time for the program on a busy machine.
const PATIENT: &str = "limits.login_delay = 0
limits.login_failures = 1000
limits.ban_after = 0
auth.timeout = \"50 s\"
";

impl Asking {
    /// Starts `serve` with the script and more of a configuration.
    fn start(script: &str, more: &str) -> Self {
        Self::with(TempRoot::new(), script, more)
    }

    fn with(here: TempRoot, script: &str, more: &str) -> Self {
        Self::of(here, script, &format!("{PATIENT}{more}"))
    }

    /// Starts `serve` with the script and these other settings.
    fn of(here: TempRoot, script: &str, settings: &str) -> Self {
        let path = program(&here, script);
        let configured = Configured::new("");
        configured.write(&format!("auth.program = \"{}\"\n{settings}", path.display()));
        let mut command = configured.command(&["--listen", "0"]);
        let served = Served::of(command.env("PATH", "/usr/bin:/bin").env("FTP_PASSWORD", "of us"));
        Self { configured, served, here }
    }

    fn session(&self) -> RawSession {
        RawSession::greeted(self.served.address)
    }

    /// Logs in, and returns the session and the code of the reply.
    fn login(&self, user: &str, password: &str) -> (RawSession, u16) {
        let mut session = self.session();
        session.expect(format!("USER {user}"), 331);
        let code = session.ask(format!("PASS {password}")).code;
        (session, code)
    }

    fn code(&self, user: &str, password: &str) -> u16 {
        self.login(user, password).1
    }

    /// Returns the lines that the script has written.
    fn seen(&self) -> Vec<String> {
        let seen = fs::read_to_string(self.here.join("seen")).unwrap_or_default();
        seen.lines().map(str::to_owned).collect()
    }

    fn root(&self) -> &str {
        self.configured.root.path().to_str().unwrap()
    }
}

/// A script that knows anna and bob, and notes each line that it gets.
const KNOWS_TWO: &str = "read -r line; printf '%s\\n' \"$line\" >>seen
case $line in
*'\"user\":\"anna\",\"password\":\"secret\"'*) echo '{\"ok\":true,\"rights\":\"full\"}' ;;
*'\"user\":\"bob\",\"password\":\"secret\"'*) echo '{\"ok\":true,\"groups\":[\"boxes\"]}' ;;
*) echo '{\"ok\":false}' ;;
esac";

#[test]
fn an_auth_program_accepts_and_refuses_users() {
    let asking = Asking::start(
        KNOWS_TWO,
        "[defaults]\nroot = \"ROOT/%u\"\ncreate_home = true\n[groups.boxes]\nrights = \"drop-box\"\n",
    );
    let (mut anna, code) = asking.login("anna", "secret");
    assert_eq!(code, 230);
    anna.upload("STOR a", b"of anna");
    assert_eq!(anna.download("RETR a"), b"of anna");
    let (mut bob, code) = asking.login("bob", "secret");
    assert_eq!(code, 230);
    bob.upload("STOR b", b"of bob");
    bob.passive();
    bob.expect("RETR b", 550);
    assert_eq!(asking.configured.root.read("anna/a"), b"of anna");
    assert_eq!(asking.configured.root.read("bob/b"), b"of bob");
    for (user, password) in
        [("anna", "Secret"), ("anna", ""), ("carl", "secret"), ("ANNA", "secret")]
    {
        let mut session = asking.session();
        session.expect(format!("USER {user}"), 331);
        assert_eq!(session.ask(format!("PASS {password}")).text(), "530 Login incorrect", "{user}");
    }
    let line = |user, password| {
        format!(
            "{{\"v\":1,\"user\":\"{user}\",\"password\":\"{password}\",\"peer\":\"127.0.0.1\"}}"
        )
    };
    let want = [line("anna", "secret"), line("bob", "secret"), line("anna", "Secret")];
    assert_eq!(asking.seen()[..3], want);
    let mut named = asking.session();
    named.expect("HOST ftp.example.org", 220);
    named.expect("USER carl", 331);
    named.expect("PASS x", 530);
    let last = asking.seen().pop().unwrap();
    assert!(last.ends_with(",\"peer\":\"127.0.0.1\",\"host\":\"ftp.example.org\"}"), "{last}");
    // No program is asked about a name that no file can have.
    let count = asking.seen().len();
    assert_eq!(asking.code("an\u{1}na", "secret"), 530);
    let mut latin = asking.session();
    latin.expect(b"USER ann\xe9", 331);
    latin.expect("PASS secret", 530);
    assert_eq!(asking.seen().len(), count);
}

#[test]
fn configured_and_anonymous_users_take_precedence_over_the_program() {
    let script = "read -r line; printf '%s\\n' \"$line\" >>seen; \
                  echo '{\"ok\":true,\"root\":\"/usr\",\"rights\":\"full\"}'";
    let asking = Asking::start(
        script,
        "anonymous.enabled = true\nanonymous.root = \"ROOT\"\n\
         [users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n\
         [users.off]\npassword = \"HASH\"\nroot = \"ROOT\"\nenabled = false\n",
    );
    assert_eq!(asking.code("u", "p"), 230);
    assert_eq!(asking.code("u", "of the program"), 530);
    assert_eq!(asking.code("off", "p"), 530);
    assert_eq!(asking.code("anonymous", "me@"), 230);
    assert_eq!(asking.code("FTP", "me@"), 230);
    assert_eq!(asking.seen(), [""; 0]);
    assert_eq!(asking.code("other", "p"), 230);
    assert_eq!(asking.seen().len(), 1);
}

#[test]
fn the_password_is_passed_only_on_standard_input() {
    let script = "read -r line; { tr '\\0' '\\n' </proc/$$/environ; tr '\\0' ' ' </proc/$$/cmdline; echo; \
                  grep NoNewPrivs /proc/$$/status; } >seen; \
                  echo \"$line\" >&2; set -x; case $line in *g3heim*) echo \"$line\" ;; esac";
    let asking = Asking::start(script, "");
    // The answer is the line that the program got.
    assert_eq!(asking.code("u", "g3heim"), 451);
    let said = log_until(&asking.served, "login-refused");
    assert!(said.iter().any(|line| line.contains("the answer lacks the key \"ok\"")), "{said:?}");
    let seen = asking.seen();
    for line in said.iter().chain(&seen).chain([&asking.served.said]) {
        assert!(!line.contains("g3heim") && !line.contains("FTP_PASSWORD"), "{line}");
    }
    assert!(seen.iter().any(|line| line == "NoNewPrivs:\t0"), "{seen:?}");
}

#[test]
fn keys_in_the_programs_answer_apply_like_user_settings() {
    let script = "read -r line; user=${line#*'\"user\":\"'}; cat \"${user%%'\"'*}\"";
    let asking = Asking::start(script, "auth.cache = 0\n");
    let root = asking.root();
    let answer = |user: &str, keys: &str| {
        let text = format!("{{\"ok\":true,\"root\":\"{root}\"{keys}}}\n");
        asking.here.write(user, text.as_bytes());
        asking.login(user, "p")
    };
    asking.configured.root.write("file", b"old");
    let (mut reader, code) = answer("reader", "");
    assert_eq!(code, 230);
    assert_eq!(reader.download("RETR file"), b"old");
    reader.passive();
    reader.expect("STOR new", 550);
    let (mut writer, _) = answer("writer", ",\"rights\":[\"list\",\"write\"],\"umask\":\"077\"");
    writer.upload("STOR private", b"x");
    let mode = asking.configured.root.join("private").metadata().unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (mut quota, _) = answer("quota", ",\"rights\":\"full\",\"quota\":4096,\"overwrite\":false");
    quota.passive();
    quota.expect("STOR file", 553);
    quota.expect("ALLO 100000", 552);
    asking.configured.root.mkdir("closed");
    let (mut parts, _) = answer("parts", ",\"directories\":{\"/closed\":[]}");
    parts.expect("CWD closed", 550);
    for (user, keys, code) in [
        ("disabled", ",\"enabled\":false", 530),
        ("expired", ",\"expires\":\"2026-01-01\"", 530),
        ("elsewhere", ",\"networks\":[\"192.0.2.0/24\"]", 530),
        ("here", ",\"networks\":[\"127.0.0.0/8\"]", 230),
        ("null", ",\"networks\":null", 230),
    ] {
        assert_eq!(answer(user, keys).1, code, "{user}");
    }
    let (first, code) = answer("one", ",\"per_user\":1");
    assert_eq!((code, asking.code("one", "p")), (230, 421));
    drop(first);
}

#[test]
fn failed_program_logins_ban_the_client() {
    let script = "read -r line; printf '%s\\n' \"$line\" >>seen; echo '{\"ok\":false}'";
    let here = TempRoot::new();
    let path = program(&here, script);
    let configured = Configured::new("");
    configured.write(&format!(
        "auth.program = \"{}\"\nnetwork.proxy_protocol = [\"127.0.0.1\"]\n\
         limits.login_delay = 0\nlimits.ban_after = 2\nauth.timeout = \"50 s\"\n",
        path.display()
    ));
    let served = configured.serve();
    let client = || {
        let mut session = RawSession::connect(served.address);
        session.line("PROXY TCP4 192.0.2.9 192.0.2.1 50000 21");
        session
    };
    let mut session = client();
    session.expect_reply(220);
    for _ in 0..2 {
        session.expect("USER anna", 331);
        session.expect("PASS x", 530);
    }
    client().expect_reply(421);
    let seen = fs::read_to_string(here.join("seen")).unwrap();
    assert_eq!(seen.matches("\"peer\":\"192.0.2.9\"").count(), 2, "{seen}");
}

#[test]
fn the_program_runs_as_the_servers_user() {
    const NOBODY: u32 = 65_534;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let here = TempRoot::new();
    chown(here.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let script = "cat >/dev/null; { id -u; id -G; } >>seen; echo '{\"ok\":true,\"root\":\"ROOT\"}'";
    let script = script.replace("ROOT", "/usr");
    let more = "auth.cache = 0\nsecurity.run_as = \"nobody\"\n";
    let asking = Asking::with(here, &script, more);
    // The thread of the first session is confined.
    let (mut session, code) = asking.login("anna", "p");
    assert_eq!((code, asking.code("bob", "p")), (230, 230));
    session.expect("REIN", 220);
    session.expect("USER carl", 331);
    session.expect("PASS p", 230);
    assert_eq!(asking.seen(), ["65534"; 6]);
}

#[test]
fn check_reports_on_the_auth_program() {
    let here = TempRoot::new();
    let path = program(&here, "exit 1");
    let path = path.to_str().unwrap();
    let configured = Configured::new("");
    for (keys, code, words) in [
        (format!("program = \"{path}\"\n"), 0, format!("auth.program: {path} is executable")),
        (
            "program = [\"/proc/none/login\", \"-v\"]\n".to_owned(),
            3,
            "auth.program: cannot start /proc/none/login: ".to_owned(),
        ),
    ] {
        configured.write(&format!("[listen]\naddresses = [\"127.0.0.1:0\"]\n[auth]\n{keys}"));
        let ran = run(&mut configured.command(&["--check", "-v"]));
        let stdout = String::from_utf8(ran.stdout.clone()).unwrap();
        assert!(stdout.contains(&words), "{stdout}");
        assert!(stdout.contains("other users may log in if "), "{stdout}");
        ran.exited(code);
    }
    let set = format!("auth.program={path}");
    let mut command = ftp(&["serve", "--check", "-v", "--listen", "0", "--set", &set]);
    let stdout = String::from_utf8(run(&mut command).stdout).unwrap();
    assert!(stdout.contains(&format!("auth.program = \"{path}\"")), "{stdout}");
    assert!(!stdout.contains("anyone (anonymous)"), "{stdout}");
}

#[test]
fn a_virtual_host_limits_program_users_and_sets_their_root() {
    let asking = Asking::start(
        KNOWS_TWO,
        "[defaults]\nroot = \"/proc/none\"\n[groups.boxes]\n\
         [hosts.\"a.example\"]\nusers = [\"anna\"]\nroot = \"ROOT\"\n",
    );
    asking.configured.root.write("here", b"x");
    for (user, code) in [("anna", 230), ("bob", 530)] {
        let mut session = asking.session();
        session.expect("HOST a.example", 220);
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS secret", code);
        if code == 230 {
            assert_eq!(session.download("RETR here"), b"x");
        }
    }
    // Elsewhere the root of the answer counts.
    assert_eq!(asking.code("anna", "secret"), 530);
}
