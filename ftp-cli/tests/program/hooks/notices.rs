//! `hooks.program`: each event as JSON on standard input.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use super::said;
use crate::ftp;
use crate::serve::Served;

pub(super) const ALL: &str = "login,login-failed,logout,stored,cut,retrieved,deleted,renamed,made";

/// A server with a program for events, and the directory of its program.
pub(super) struct Noticed {
    pub(super) served: Served,
    pub(super) root: TempRoot,
    /// `hook` is the program, `seen` has the events that it wrote there.
    pub(super) here: TempRoot,
}

impl Noticed {
    /// Starts `serve` with a shell script as its program, which runs in `here`.
    pub(super) fn start(script: &str, events: &str, more: &[&str]) -> Self {
        let (root, here) = (TempRoot::new(), TempRoot::new());
        Self::with(root, here, script, events, more)
    }

    pub(super) fn with(
        root: TempRoot,
        here: TempRoot,
        script: &str,
        events: &str,
        more: &[&str],
    ) -> Self {
        let hook = program(&here, script);
        let mut serve = ftp(&["serve", "--listen", "0", "--write"]);
        for user in ["u", "v", "w", "cam1"] {
            serve.args(["--user", &format!("{user}:p")]);
        }
        for set in [
            format!("hooks.program={}", hook.display()),
            format!("hooks.events={events}"),
            // A later one in `more` counts.
            "hooks.retry_delay=1 ms".to_owned(),
            "limits.login_delay=0".to_owned(),
        ] {
            serve.args(["--set", &set]);
        }
        serve.env("FTP_PASSWORD", "secret").env("PATH", "/usr/bin:/bin");
        serve.env("TMPDIR", here.path());
        let served = Served::of(serve.args(more).arg(root.path()));
        Self { served, root, here }
    }

    pub(super) fn login(&self, user: &str) -> RawSession {
        RawSession::login(self.served.address, user, "p")
    }

    /// Returns the events that the program has seen, once there are `count`.
    pub(super) fn seen(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.here.join("seen")).unwrap_or_default();
        at_last("the events", || {
            let seen = read();
            let lines: Vec<String> = seen.lines().map(str::to_owned).collect();
            (lines.len() >= count && seen.ends_with('\n')).then_some(lines)
        })
    }
}

/// Writes the script that is a program, and returns its path.
pub(crate) fn program(here: &TempRoot, script: &str) -> PathBuf {
    let text = format!("#!/bin/sh\ncd {}\n{script}\n", here.path().display());
    // Under another name first: a file that another test's child still has open for writing cannot
    // be executed.
    let written = here.write("hook.new", text.as_bytes());
    fs::set_permissions(&written, PermissionsExt::from_mode(0o755)).unwrap();
    let hook = here.join("hook");
    run(Command::new("cp").args(["-p"]).arg(written).arg(&hook)).succeeded();
    hook
}

/// A program that appends each event, in one write.
pub(super) const SEE: &str = "json=$(cat); printf '%s\\n' \"$json\" >>seen";

/// Returns the value of a field in a JSON line.
pub(super) fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{json}"));
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    rest.split(['"', ',', '}']).next().unwrap()
}

/// Returns a line with what differs from run to run replaced.
fn equal(json: &str) -> String {
    let mut json = json.to_owned();
    for name in ["time", "session", "peer", "port", "seconds", "id"] {
        if json.contains(&format!("\"{name}\":")) {
            let value = field(&json, name).to_owned();
            assert!(!value.is_empty(), "{json}");
            json = json.replacen(&value, "VALUE", 1);
        }
    }
    json
}

const DOCUMENTED: &str = include_str!("../../../../docs/hooks.md");

#[test]
fn each_event_is_as_documented() {
    let noticed = Noticed::start(SEE, ALL, &[]);
    let root = noticed.root.path().to_str().unwrap();
    let mut session = RawSession::greeted(noticed.served.address);
    session.expect("USER root", 331);
    session.expect("PASS wrong", 530);
    session.expect("USER cam1", 331);
    session.expect("PASS p", 230);
    session.expect("TYPE I", 200);
    session.upload("STOR a.jpg", b"12345");
    assert_eq!(session.download("RETR a.jpg"), b"12345");
    let mut data = session.passive();
    session.expect("STOR c.jpg", 150);
    data.write_all(b"1234");
    // The number of bytes is part of the event.
    wait_until("the bytes to arrive", || {
        let mut entries = fs::read_dir(noticed.root.path()).unwrap();
        entries.any(|entry| entry.unwrap().metadata().is_ok_and(|found| found.len() == 4))
    });
    session.expect("ABOR", 426);
    session.expect_reply(226);
    drop(data);
    session.expect("MKD new", 257);
    session.expect("RNFR a.jpg", 350);
    session.expect("RNTO new/b.jpg", 250);
    session.expect("DELE new/b.jpg", 250);
    session.expect("RMD new", 250);
    session.expect("REIN", 220);
    session.expect("USER cam1", 331);
    session.expect("PASS p", 230);
    session.expect("QUIT", 221);
    session.expect_closed();
    let mut seen = noticed.seen(12);
    // The refused login has a queue without a user.
    let refused = seen.iter().position(|json| json.contains("login-failed")).unwrap();
    let refused = seen.remove(refused);
    seen.insert(0, refused);
    let found: Vec<String> =
        seen.iter().map(|json| equal(&json.replace(root, "/srv/cams"))).collect();
    let documented: Vec<String> =
        DOCUMENTED.lines().filter(|line| line.starts_with("{\"time\":")).map(equal).collect();
    assert_eq!(found, documented);
    // Without a comma between two fields jq would fail.
    let mut jq = Command::new("jq");
    run_with(jq.args(["-e", ".hook"]), seen.join("\n").as_bytes(), LIMIT).succeeded();
}

#[test]
fn names_in_events_are_complete_and_cannot_forge_a_field() {
    let noticed = Noticed::start(SEE, "made", &[]);
    let mut session = noticed.login("u");
    let long = "y".repeat(250);
    for _ in 0..4 {
        session.expect(format!("MKD {long}"), 257);
        session.expect(format!("CWD {long}"), 250);
    }
    session.expect(b"MKD a\",\"hook\":\"login\xff\\", 257);
    let seen = noticed.seen(5);
    let path = format!("/{long}").repeat(4);
    assert!(seen[3].contains(&format!("\"path\":\"{path}\",\"hook\":\"made\"")), "{}", seen[3]);
    let last = r#"/a\",\"hook\":\"login\\xff\\\\","hook":"made","local_path":"#;
    assert!(seen[4].contains(&format!("{path}{last}")), "{}", seen[4]);
    let mut jq = Command::new("jq");
    let words = run_with(jq.args(["-r", ".hook"]), seen[4].as_bytes(), LIMIT);
    assert_eq!(words.succeeded(), b"made\n");
}

#[test]
fn a_program_gets_nothing_but_its_event() {
    let script = "json=$(cat); fds=$(echo $(ls /proc/self/fd)); \
                  { env | grep -c FTP_; grep NoNewPrivs /proc/self/status; echo $fds; \
                  cut -d' ' -f5 /proc/$$/stat; echo $$; grep SigBlk /proc/self/status; \
                  grep SigIgn /proc/self/status; } >>seen.new; mv seen.new seen";
    let noticed = Noticed::start(script, "stored", &[]);
    noticed.login("u").upload("STOR a", b"x");
    let seen = noticed.seen(7);
    let mut plain = Command::new("/bin/sh");
    let plain = run(plain.args(["-c", "echo $(ls /proc/self/fd)"])).succeeded();
    assert_eq!(seen[..2], ["0", "NoNewPrivs:\t0"]);
    // The program has only the descriptors that every child of this test has.
    assert_eq!(Some(seen[2].as_bytes()), plain.strip_suffix(b"\n"));
    assert_eq!(seen[3], seen[4], "a group of its own");
    assert_eq!(seen[5], "SigBlk:\t0000000000000000");
    let ignored = u64::from_str_radix(seen[6].trim_start_matches("SigIgn:\t"), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0, "SIGPIPE ends it");
}

#[test]
fn a_hook_program_runs_as_the_user_of_the_server() {
    const NOBODY: u32 = 65_534;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let (root, here) = (TempRoot::new(), TempRoot::new());
    for directory in [&root, &here] {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let letters = here.mkdir("letters");
    chown(&letters, Some(NOBODY), Some(NOBODY)).unwrap();
    let set = format!("hooks.dead_letters={}", letters.display());
    let more = ["--set", "security.run_as=nobody", "--set", &set, "--set", "hooks.retries=0"];
    let script = "{ id -u; id -G; } >>seen; exit 1";
    let noticed = Noticed::with(root, here, script, "stored", &more);
    noticed.login("u").upload("STOR a", b"x");
    assert_eq!(noticed.seen(2), ["65534", "65534"]);
    said(&noticed.served, "the event is in ");
    let letter = fs::read_dir(letters).unwrap().next().unwrap().unwrap().metadata().unwrap();
    assert_eq!((letter.uid(), letter.mode() & 0o777), (NOBODY, 0o600));
}

#[test]
fn events_of_a_user_keep_their_order() {
    // Later events take less time.
    let script =
        "json=$(cat); sleep 0.$(($(date +%N | cut -c1) % 3)); printf '%s\\n' \"$json\" >>seen";
    let noticed = Noticed::start(script, "made", &["--set", "hooks.processes=8"]);
    let mut sessions = ["u", "v", "w"].map(|user| noticed.login(user));
    for number in 0..8 {
        for (session, user) in sessions.iter_mut().zip(["u", "v", "w"]) {
            session.expect(format!("MKD {user}{number}"), 257);
        }
    }
    let seen = noticed.seen(24);
    for user in ["u", "v", "w"] {
        let of_user = seen.iter().filter(|json| field(json, "user") == user);
        let paths: Vec<&str> = of_user.map(|json| field(json, "path")).collect();
        let want: Vec<String> = (0..8).map(|number| format!("/{user}{number}")).collect();
        assert_eq!(paths, want);
    }
}

#[test]
fn a_hanging_hook_of_one_user_does_not_delay_another_user() {
    // It ends with the directory of this test.
    let script = "json=$(cat); \
                  case $json in *'\"user\":\"u\"'*) while [ -e hook ]; do sleep 0.1; done;; esac; \
                  printf '%s\\n' \"$json\" >>seen";
    let noticed = Noticed::start(script, "made", &["--set", "hooks.processes=2"]);
    let mut hanging = noticed.login("u");
    (0..5).for_each(|number| drop(hanging.expect(format!("MKD u{number}"), 257)));
    let mut session = noticed.login("v");
    (0..5).for_each(|number| drop(session.expect(format!("MKD v{number}"), 257)));
    let seen = noticed.seen(5);
    assert!(seen.iter().all(|json| field(json, "user") == "v"), "{seen:?}");
}

#[test]
fn sighup_changes_the_hook_program_and_events() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let hook = program(&here, SEE);
    let text = |hooks: &str| {
        let root = root.path().display();
        format!(
            "[anonymous]\nenabled = true\nroot = \"{root}\"\nrights = \"full\"\n[hooks]\n{hooks}\n"
        )
    };
    let config = here.write("server.toml", text("").as_bytes());
    let mut serve = ftp(&["serve", "--listen", "0", "--config", config.to_str().unwrap()]);
    let served = Served::of(&mut serve);
    let mut session = RawSession::login(served.address, "ftp", "x");
    session.expect("MKD a", 257);
    for (events, changed, directory) in [
        ("\"stored\", \"made\"", "hooks.program, hooks.events", "b"),
        ("\"deleted\"", "hooks.events", "c"),
    ] {
        let hooks = format!("program = \"{}\"\nevents = [{events}]", hook.display());
        here.write("server.toml", text(&hooks).as_bytes());
        served.signal("HUP");
        said(&served, &format!("changed: {changed}"));
        session.expect(format!("MKD {directory}"), 257);
    }
    session.expect("RMD c", 250);
    let noticed = Noticed { served, root, here };
    let paths = noticed.seen(2);
    let paths: Vec<&str> = paths.iter().map(|json| field(json, "path")).collect();
    assert_eq!(paths, ["/b", "/c"]);
}

#[test]
fn both_hooks_see_a_stored_file() {
    let here = TempRoot::new();
    let set =
        format!("hooks.stored=[\"/bin/sh\", \"-c\", 'echo >{}/stored']", here.path().display());
    let stored = here.join("stored");
    let noticed = Noticed::with(TempRoot::new(), here, SEE, "stored", &["--set", &set]);
    noticed.login("u").upload("STOR a", b"x");
    assert_eq!(field(&noticed.seen(1)[0], "hook"), "stored");
    wait_until("the other hook", || stored.exists());
}

/// Returns a file of the document.
pub(super) fn documented(name: &str) -> &'static str {
    let (_, rest) = DOCUMENTED.split_once(&format!("```sh {name}\n#!/bin/sh\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_documented_script_posts_an_event_by_http() {
    if Peer::find("curl").is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = documented("/usr/local/bin/post-event").replace("127.0.0.1:8080", &address);
    assert_eq!(script.lines().count(), 1);
    let noticed = Noticed::start(&script, "made", &[]);
    noticed.login("u").expect("MKD a", 257);
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = String::new();
    let mut reader = BufReader::new(&stream);
    while !request.ends_with("}\n") {
        assert!(reader.read_line(&mut request).unwrap() > 0, "{request}");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(request.starts_with("POST /ftp HTTP/1.1\r\n"), "{request}");
    let (_, json) = request.split_once("\r\n\r\n").unwrap();
    assert!(json.starts_with("{\"time\":") && json.contains("\"hook\":\"made\""), "{json}");
}

#[test]
fn check_examines_hook_program_and_dead_letter_directory() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let hook = program(&here, SEE);
    let letters = here.mkdir("letters");
    let in_root = root.mkdir("letters");
    for (program, letters, want) in [
        (&*hook, &*letters, ["ok    hooks.program: ", "ok    hooks.dead_letters: "]),
        (&letters, &hook, ["is not a program; use", "hook is not a directory"]),
        (&here.join("no"), &here.join("no"), ["cannot start", "cannot read and write"]),
        (&hook, &in_root, ["ok    hooks.program: ", "letters (hooks.dead_letters); use"]),
    ] {
        let mut serve =
            ftp(&["serve", "--listen", "0", "--check", "-v", "--write", "--user", "u:p"]);
        for set in [
            format!("hooks.program={}", program.display()),
            format!("hooks.dead_letters={}", letters.display()),
            "hooks.events=made".to_owned(),
        ] {
            serve.args(["--set", &set]);
        }
        let ran = run(serve.arg(root.path()).stdin(Stdio::null()));
        let found = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(want.iter().all(|words| found.contains(words)), "{want:?}: {found}");
        let is_wrong = want.iter().any(|words| !words.starts_with('o'));
        assert_eq!(ran.code() != Some(0), is_wrong, "{found}");
    }
}
