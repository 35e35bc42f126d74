//! `serve --config`: what is read, what is refused and with which words, and what SIGHUP does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftp_server::PasswordHash;
use ftp_tests::process::{LIMIT, Ran, run, run_with};
use ftp_tests::random::Random;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::figures::wait_until;
use crate::serve::Served;
use crate::{failed, ftp, ftp_with_hangup};

/// A directory with `server.toml`, and `serve` in it.
struct Configured {
    here: TempRoot,
    root: TempRoot,
}

impl Configured {
    fn new(text: &str) -> Self {
        let configured = Self { here: TempRoot::new(), root: TempRoot::new() };
        configured.write(text);
        configured
    }

    /// Writes the file anew; `ROOT` in it is the directory of files, `HASH` the hash of `p`.
    fn write(&self, text: &str) {
        let hash = || PasswordHash::new(b"p").unwrap().to_string();
        let hash = if text.contains("HASH") { hash() } else { String::new() };
        let root = self.root.path().to_str().unwrap();
        self.here
            .write("server.toml", text.replace("ROOT", root).replace("HASH", &hash).as_bytes());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = ftp(&["serve", "--config", "server.toml"]);
        command.current_dir(self.here.path()).args(arguments);
        command
    }

    fn check(&self, arguments: &[&str]) -> Ran {
        run(self.command(&["--check"]).args(arguments))
    }

    fn serve(&self) -> Served {
        Served::of(&mut self.command(&["--listen", "0"]))
    }
}

/// What it says until a line holds `words`.
pub(crate) fn said_until(served: &Served, words: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = served.log.recv_timeout(LIMIT);
        let line = line.unwrap_or_else(|_| panic!("nothing of {words:?} in {lines:?}"));
        let is_last = line.contains(words);
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

fn greeting(served: &Served) -> String {
    RawSession::greeting(served.address).expect("a greeting").text()
}

#[test]
fn every_broken_file_is_refused_with_its_lines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/broken.txt");
    let table = fs::read_to_string(path).unwrap();
    let mut count = 0;
    for case in table.split("\n---\n").skip(1) {
        let is_said = |line: &&str| line.starts_with("! ");
        let text: Vec<&str> = case.lines().filter(|line| !is_said(line)).collect();
        let said: Vec<&str> = case.lines().filter(is_said).map(|line| &line[2..]).collect();
        let configured = Configured { here: TempRoot::new(), root: TempRoot::new() };
        configured.here.write("server.toml", (text.join("\n") + "\n").as_bytes());
        let ran = configured.check(&[]);
        ran.exited(2);
        let stderr = String::from_utf8(ran.stderr).unwrap();
        let mut found: Vec<&str> = stderr.lines().collect();
        let errors = if said.len() == 1 { "error" } else { "errors" };
        let sum = format!(": {} {errors}", said.len());
        assert!(found.pop().is_some_and(|last| last.ends_with(&sum)), "{case}\n{stderr}");
        assert_eq!(found, said, "{case}");
        assert!(ran.stdout.is_empty() && !said.is_empty(), "{case}");
        let shows = |line: &&str| line.replace(".geheim: unknown", "").contains("geheim");
        assert!(!said.iter().any(shows), "{said:?}");
        count += 1;
    }
    assert!(count >= 100, "only {count}");
}

#[test]
fn what_is_no_text_is_no_configuration() {
    let configured = Configured::new("");
    let refused = |content: &[u8], code, words: &str| {
        configured.here.write("server.toml", content);
        failed(&configured.check(&[]), code, words);
    };
    refused(b"# one\n[limits] # \xc3\xa4 \xff\n", 2, "server.toml:2:14: not UTF-8: byte 0xff\n");
    refused(b"\xff\xfe[\0", 2, "server.toml:1:1: not UTF-8: byte 0xff\n");
    refused(b"# \xc3", 2, "server.toml:1:3: not UTF-8: byte 0xc3\n");
    refused(&vec![b'#'; (4 << 20) + 1], 2, "server.toml: more than 4 MiB");
    refused(b"a\0b = 1", 2, "server.toml:1:2: ");
    // Deep, and long.
    refused(("a = ".to_owned() + &"[".repeat(100_000)).as_bytes(), 2, "server.toml:1:");
    refused("x = 1\n".repeat(10_000).as_bytes(), 2, "server.toml: and 9900 more\n");
    failed(&run(&mut ftp(&["serve", "--config", "/nonexistent/x"])), 3, "/nonexistent/x: No such");
    failed(&run(&mut ftp(&["serve", "--config", "/"])), 3, "/: Is a directory");
    failed(&run(&mut ftp(&["serve", "--config", "/dev/zero"])), 2, "/dev/zero: more than 4 MiB");
    let path = configured.here.join("server.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read it in any case.
    if fs::read(&path).is_err() {
        failed(&configured.check(&[]), 3, "server.toml: Permission denied");
    }
}

#[test]
fn options_count_more_than_the_file_and_the_file_more_than_defaults() {
    let text = "
[timeouts]
idle = \"10 min\"
stall = 90
[limits]
per_user = 2
min_free = \"1 GiB\"
[passive]
ports = \"50000-50099, 51000\"
overrides = [{ clients = [\"10.0.0.0/8\", \"192.0.2.1\"], address = \"10.0.0.5\" }]
[server]
banner = 'a \"b\" \\'
[fxp]
networks = [\"2001:db8::/32\"]
[listen]
addresses = [\":21\"]
[anonymous]
enabled = true
root = \"ROOT\"
rights = [\"list\", \"write\"]
[users.\"cam 1\"]
password = \"HASH\"
root = \"ROOT\"
rights = \"full\"
";
    let configured = Configured::new(text);
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--set",
        "limits.per_user=3",
        "--set",
        "limits.per_user=4",
        "--passive-ports",
        "40000-49999",
        "--set",
        "users.cam 1.mkdir_existing_ok=true",
    ];
    let ran = configured.check(&options);
    assert!(ran.stderr.is_empty(), "{ran:?}");
    let said = String::from_utf8(ran.succeeded()).unwrap();
    let (settings, findings) = said.split_once("\n\n").unwrap();
    for want in [
        "timeouts.idle = \"10 min\" # server.toml:3",
        "timeouts.stall = \"90 s\" # server.toml:4",
        "timeouts.login = \"1 min\" # default",
        "limits.per_user = 4 # --set",
        "limits.min_free = \"1 GiB\" # server.toml:7",
        "passive.ports = \"40000-49999\" # --passive-ports",
        "server.banner = \"a \\\"b\\\" \\\\\" # server.toml:12",
        "listen.addresses = [\"127.0.0.1:0\"] # --listen",
        "anonymous.rights = [\"list\", \"write\"] # server.toml:20",
        "users.\"cam 1\".password = \"****\" # server.toml:22",
        "users.\"cam 1\".rights = \"full\" # server.toml:24",
        "users.\"cam 1\".mkdir_existing_ok = true # --set",
    ] {
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(settings.lines().any(|line| squeezed(line) == want), "no {want} in\n{settings}");
    }
    assert!(findings.lines().any(|line| line.starts_with("ok    127.0.0.1:0 ")), "{findings}");
    assert!(findings.lines().all(|line| !line.starts_with("fail")), "{findings}");

    // What was printed can be read again, and says the same.
    let again = Configured { here: TempRoot::new(), root: TempRoot::new() };
    let hash = PasswordHash::new(b"p").unwrap().to_string();
    again.here.write("server.toml", settings.replace("****", &hash).as_bytes());
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.rsplit_once(" # ").map(|(value, _)| value.trim().to_owned());
        text.lines().filter_map(value).collect()
    };
    let said = String::from_utf8(again.check(&[]).succeeded()).unwrap();
    assert_eq!(values(&said), values(settings));
}

#[test]
fn what_will_not_work_is_said_before_it_does_not() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let configured = Configured::new(&format!(
        "listen.addresses = [\"{address}\"]
passive.address = \"10.0.0.5\"
passive.ports = \"{}\"
[users.a]
password = \"HASH\"
root = \"/nonexistent/a\"
",
        address.port()
    ));
    let ran = configured.check(&[]);
    ran.exited(4);
    let said = String::from_utf8(ran.stdout).unwrap();
    for want in [
        &format!("fail  {address} cannot be listened on: a program does so already"),
        "fail  user a: /nonexistent/a: No such file or directory",
        "fail  passive.ports: none of 1 can be had",
        "warn  passive.address announces 10.0.0.5, which no client on the internet can reach",
    ] {
        assert!(said.lines().any(|line| line.starts_with(want)), "no {want} in\n{said}");
    }
}

/// What `--check` warns of and says to fail, without the part in front of it.
fn found(ran: Ran) -> Vec<String> {
    let said = String::from_utf8(ran.stdout).unwrap();
    let (_, findings) = said.split_once("\n\n").unwrap();
    // Which ports are free is the machine's matter.
    let is_odd = |line: &&str| !line.starts_with("ok") && !line.contains(" can be had");
    let lines = findings.lines().filter(is_odd);
    lines.map(str::to_owned).collect()
}

#[test]
fn a_log_of_transfers_in_reach_of_its_users_is_warned_of() {
    let configured = Configured::new(
        "
[users.a]
password = \"HASH\"
root = \"ROOT\"
[users.b]
password = \"HASH\"
root = \"ROOT/d\"
",
    );
    let root = configured.root.path();
    fs::create_dir(root.join("d")).unwrap();
    let elsewhere = TempRoot::new();
    std::os::unix::fs::symlink(root.join("d"), elsewhere.join("link")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("log"), root.join("link")).unwrap();
    fs::create_dir(elsewhere.join("anyone")).unwrap();
    let anyone = elsewhere.join("anyone");
    let shown = |path: &Path| path.display().to_string();
    for (log, holds) in [
        (elsewhere.join("log"), None),
        (root.with_extension("log"), None),
        (root.join("log"), Some(shown(root))),
        (root.join("link"), Some(shown(root))),
        (root.join("d/log"), Some(format!("{} and others", shown(root)))),
        (elsewhere.join("link/log"), Some(format!("{} and others", shown(root)))),
        (anyone.join("log"), Some(shown(&anyone))),
    ] {
        let set = format!("log.transfers={}", log.display());
        let mut check = configured.command(&["--check", "--listen", "127.0.0.1:0"]);
        check.args(["--set", "anonymous.enabled=true", "--set", &set]);
        check.args(["--set", &format!("anonymous.root={}", anyone.display())]);
        let found = found(run(&mut check));
        let want = holds.map(|holds| {
            format!(
                "warn  log.transfers: {} is in {holds}, whose users could read or change it; name \
                 a file elsewhere",
                log.display()
            )
        });
        let said: Vec<_> = found.iter().filter(|line| line.contains("log.transfers")).collect();
        assert_eq!(said, want.iter().collect::<Vec<_>>(), "{}", log.display());
    }
}

#[test]
fn what_users_will_not_get_is_said_word_for_word() {
    let configured = Configured::new(
        "
[passive]
ports = \"50000-50003\"
[limits]
sessions = 5
[transfer]
rate_per_session = 0
rate_per_user = \"0 MiB/s\"
[anonymous]
enabled = true
root = \"ROOT/a file\"
[users.ftp]
password = \"HASH\"
root = \"ROOT\"
rights = \"full\"
[users.\"a b\"]
password = \"HASH\"
root = \"ROOT/./\"
rights = [\"write\"]
mkdir_parents = true
mkdir_existing_ok = true
[users.box]
password = \"HASH\"
root = \"ROOT\"
rights = \"drop-box\"
[users.gone]
password = \"HASH\"
root = \"/nonexistent/gone\"
[hooks]
stored = [\"/nonexistent/hook\", \"x\"]
",
    );
    configured.root.write("a file", b"");
    let root = configured.root.path().display();
    let toml = configured.here.join("server.toml");
    fs::set_permissions(&toml, fs::Permissions::from_mode(0o644)).unwrap();
    let password = configured.here.write("password", b"p\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o604)).unwrap();
    let elsewhere = TempRoot::new();
    let options =
        ["--check", "--user", "u", "--password-file", "password", "--listen", "127.0.0.1:0"];
    let check = || run(configured.command(&options).arg(elsewhere.path()));
    let want = [
        "warn  server.toml: its mode lets all users of this computer read the hashes of \
         passwords; take that away by chmod o-r"
            .to_owned(),
        "warn  password: its mode lets all users of this computer read a password; take that \
         away by chmod o-r"
            .to_owned(),
        "fail  user gone: /nonexistent/gone: No such file or directory; logins are \
         refused until it is there"
            .to_owned(),
        format!(
            "fail  anonymous: {root}/a file: is no directory; logins are refused until it is one"
        ),
        "warn  user \"a b\": mkdir_parents makes nothing without the right mkdir; add it to the \
         rights"
            .to_owned(),
        "warn  user \"a b\": mkdir_existing_ok means MKD, which needs the right mkdir; add it to \
         the rights"
            .to_owned(),
        "warn  user ftp: anyone gets in by this name in other letters, without a password, to \
         what is anonymous; rename the user"
            .to_owned(),
        format!(
            "warn  users \"a b\", ftp: all have {root}; what a cut upload left, only the user \
             whose it was can go on with (transfer.partial)"
        ),
        "warn  transfer.rate_per_session: 0 is no limit; to say so, leave it empty".to_owned(),
        "warn  transfer.rate_per_user: 0 is no limit; to say so, leave it empty".to_owned(),
        "fail  hooks.stored: /nonexistent/hook cannot be started: No such file or directory; \
         name another program, or give the user of the server the permission"
            .to_owned(),
        "warn  passive.ports: 4 for 5 sessions (limits.sessions), one for each transfer; who \
         finds none gets 425; widen the range"
            .to_owned(),
    ];
    let ran = check();
    // As serve would for the first of them.
    ran.exited(3);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--check: 3 lines say fail"), "{ran:?}");
    assert_eq!(found(ran), want);

    // Each goes away with what it is about.
    fs::set_permissions(&toml, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&toml).unwrap();
    let text = text.replace("50003", "50099").replace("[\"write\"]", "[\"write\", \"mkdir\"]");
    let text = text.replace("rate_per", "# ").replace("users.ftp", "users.f");
    let text = text.replace("/nonexistent/gone", elsewhere.path().to_str().unwrap());
    let text = text.replace("/nonexistent/hook", "/bin/sh");
    let text = text.replace("/a file", "") + "[transfer]\npartial = \"discard\"\n";
    let text = text.replacen("[transfer]\n", "", 1);
    configured.here.write("server.toml", text.as_bytes());
    let ran = check();
    ran.exited(0);
    assert_eq!(found(ran), [""; 0], "{text}");
}

#[test]
fn users_of_the_file_have_what_it_says_cm_14_hp_26() {
    let configured = Configured::new(
        "
[anonymous]
enabled = true
root = \"ROOT/pub\"
[users.reader]
password = \"HASH\"
root = \"ROOT\"
[users.cam]
password = \"HASH\"
root = \"ROOT/cam\"
rights = [\"list\", \"write\", \"mkdir\"]
mkdir_existing_ok = true
[users.box]
password = \"HASH\"
root = \"ROOT/cam\"
rights = \"drop-box\"
mkdir_parents = true
",
    );
    for name in ["pub", "cam", "cam/there"] {
        fs::create_dir(configured.root.join(name)).unwrap();
    }
    configured.root.write("pub/a", b"public");
    let served = configured.serve();
    assert!(served.said().contains("3 users of the file may log in\n"), "{}", served.said());
    let mut anyone = RawSession::login(served.address, "anonymous", "x");
    assert_eq!(anyone.download("RETR a"), b"public");
    let mut reader = RawSession::login(served.address, "reader", "p");
    assert_eq!(reader.download("RETR pub/a"), b"public");
    reader.expect("DELE pub/a", 550);
    reader.expect("MKD new", 550);
    let mut cam = RawSession::login(served.address, "cam", "p");
    cam.upload("STOR b", b"content");
    cam.expect("MKD there", 257);
    cam.expect("DELE b", 550);
    assert_eq!(configured.root.read("cam/b"), b"content");
    let mut drop_box = RawSession::login(served.address, "box", "p");
    drop_box.upload("STOR new/day/c", b"handed in");
    drop_box.expect("SIZE b", 550);
    assert_eq!(configured.root.read("cam/new/day/c"), b"handed in");
    let refused = |name: &str| {
        let mut session = RawSession::greeted(served.address);
        session.expect(format!("USER {name}"), 331);
        session.expect("PASS p", 530);
    };
    refused("nobody");
    // A directory that went away, and came again, is that of the next login.
    fs::rename(configured.root.join("cam"), configured.root.join("old")).unwrap();
    refused("cam");
    said_until(&served, "cam: no such file or directory");
    fs::create_dir(configured.root.join("cam")).unwrap();
    let mut cam_again = RawSession::login(served.address, "cam", "p");
    cam_again.upload("STOR c", b"new");
    cam.upload("STOR d", b"of old");
    assert_eq!(configured.root.read("cam/c"), b"new");
    assert_eq!(configured.root.read("old/d"), b"of old");
}

#[test]
fn users_have_the_quota_of_the_file_cm_54_hp_23() {
    let text = |quota: &str| {
        let user = |name: &str, quota: &str| {
            format!(
                "[users.{name}]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n{quota}\n"
            )
        };
        let anyone =
            "[anonymous]\nenabled = true\nroot = \"ROOT\"\nrights = \"full\"\nquota = 5000\n";
        ["[limits]\nmin_free = 0\n", anyone, &user("one", quota), &user("two", "")].concat()
    };
    let configured = Configured::new(&text("quota = \"4 KiB\""));
    configured.root.write("there", &[b'x'; 1_000]);
    let served = configured.serve();
    let login = |user| {
        let mut session = RawSession::login(served.address, user, "p");
        session.expect("TYPE I", 200);
        session
    };
    let left = |session: &mut RawSession| session.expect("AVBL", 213).text();
    let (mut one, mut two, mut anyone) = (login("one"), login("two"), login("anonymous"));
    one.expect("ALLO 3097", 552);
    assert_eq!((left(&mut one), left(&mut anyone)), ("213 3096".into(), "213 4000".into()));
    // Who has no limit there is not held back, and counts.
    two.upload("STOR more", &[b'x'; 3_500]);
    assert_eq!((left(&mut one), left(&mut anyone)), ("213 0".into(), "213 500".into()));
    one.expect("PASV", 227);
    one.expect("STOR another", 552);
    anyone.upload("STOR another", &[b'x'; 500]);
    anyone.expect("PASV", 227);
    anyone.expect("APPE another", 552);
    // A new file of settings holds for new sessions, and they count together with the old.
    configured.write(&text("quota = \"8 KiB\""));
    served.signal("HUP");
    said_until(&served, "configuration read again");
    let mut again = login("one");
    assert_eq!((left(&mut again), left(&mut one)), ("213 3192".into(), "213 0".into()));
    again.upload("STOR again", &[b'x'; 192]);
    two.expect("DELE more", 250);
    assert_eq!((left(&mut again), left(&mut one)), ("213 6500".into(), "213 2404".into()));
}

#[test]
fn a_user_of_the_file_has_limits_of_its_own_cm_15() {
    let configured = Configured::new(
        "
limits.per_user = 2
[anonymous]
enabled = true
root = \"ROOT\"
per_user = 1
[users.u]
password = \"HASH\"
root = \"ROOT\"
[users.any]
password = \"HASH\"
root = \"ROOT\"
per_user = 0
",
    );
    let served = configured.serve();
    for (user, most) in [("ftp", Some(1)), ("u", Some(2)), ("any", None)] {
        let login = || RawSession::login(served.address, user, "p");
        let sessions: Vec<_> = (0..most.unwrap_or(4)).map(|_| login()).collect();
        let mut more = RawSession::greeted(served.address);
        more.expect(format!("USER {user}"), 331);
        more.expect("PASS p", if most.is_some() { 421 } else { 230 });
        drop(sessions);
    }
}

#[test]
fn what_passwd_prints_is_a_password_of_the_file() {
    let configured = Configured::new("");
    configured.here.write("password", b"from a file\nnot this\n");
    let typed = run_with(&mut ftp(&["passwd"]), "gr\u{fc}\u{df}e \r\n".as_bytes(), LIMIT);
    let mut filed = ftp(&["passwd", "--password-file"]);
    let filed = run(filed.arg(configured.here.join("password")));
    let user = |name: &str, ran: Ran| {
        let hash = String::from_utf8(ran.succeeded()).unwrap();
        assert!(hash.starts_with("$argon2id$") && hash.ends_with('\n'), "{hash}");
        format!("[users.{name}]\npassword = \"{}\"\nroot = \"ROOT\"\n", hash.trim_end())
    };
    configured.write(&(user("typed", typed) + &user("filed", filed)));
    let served = configured.serve();
    RawSession::login(served.address, "typed", "gr\u{fc}\u{df}e ").expect_in_step();
    RawSession::login(served.address, "filed", "from a file").expect_in_step();
    let long = "x".repeat(5_000);
    failed(&run_with(&mut ftp(&["passwd"]), long.as_bytes(), LIMIT), 2, "too long");
}

#[test]
fn no_client_could_send_what_passwd_refuses() {
    let here = TempRoot::new();
    for (typed, words) in [
        (&b""[..], "standard input: the first line is empty"),
        (b"\n", "standard input: the first line is empty"),
        (b"\r\n", "standard input: the first line is empty"),
        (b"a\0b\n", "standard input: a NUL is in the password, which no client can send"),
        (b"a\rb\n", "standard input: a CR is in the password, which no client can send"),
        (b"a\r\r\n", "standard input: a CR is in the password, which no client can send"),
    ] {
        failed(&run_with(&mut ftp(&["passwd"]), typed, LIMIT), 2, words);
        let file = here.write("password", typed);
        let ran = run(ftp(&["passwd", "--password-file"]).arg(&file));
        failed(&ran, 2, &words.replace("standard input", file.to_str().unwrap()));
    }
    // Of a file the first line counts, as everywhere; what is piped is meant as a whole.
    let two = "standard input: a LF is in the password, which no client can send";
    failed(&run_with(&mut ftp(&["passwd"]), b"a\nb\n", LIMIT), 2, two);
    failed(&run_with(&mut ftp(&["passwd"]), b"a\n\n", LIMIT), 2, two);
    for user in ["u:a\rb", "u:"] {
        let words = "--user u: ";
        failed(&run(&mut ftp(&["serve", "--user", user, "--check", "/"])), 2, words);
    }
    let mut of_environment = ftp(&["serve", "--user", "u", "--check", "/"]);
    let words = "FTP_PASSWORD: a LF is in the password, which no client can send";
    failed(&run(of_environment.env("FTP_PASSWORD", "two\nlines")), 2, words);
}

#[test]
fn users_of_options_and_of_the_file_go_together() {
    let configured = Configured::new("[users.a]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    configured.root.write("here", b"x");
    let root = configured.root.path().to_str().unwrap();
    failed(
        &configured.check(&[root]),
        2,
        "DIR, --write and --drop-box are for --user and --anonymous",
    );
    failed(&configured.check(&["--write"]), 2, "DIR, --write and");
    failed(&configured.check(&["--drop-box"]), 2, "DIR, --write and");
    let elsewhere = TempRoot::new();
    elsewhere.write("there", b"y");
    let options = ["--listen", "0", "--user", "b:q", elsewhere.path().to_str().unwrap()];
    let served = Served::of(&mut configured.command(&options));
    assert_eq!(RawSession::login(served.address, "a", "p").download("RETR here"), b"x");
    assert_eq!(RawSession::login(served.address, "b", "q").download("RETR there"), b"y");
}

#[test]
fn a_user_of_options_stands_in_for_one_of_the_file_and_it_is_said() {
    let text = "
[anonymous]
enabled = true
root = \"/nonexistent/pub\"
[users.a]
password = \"HASH\"
root = \"/nonexistent/a\"
rights = \"full\"
[users.b]
password = \"HASH\"
root = \"ROOT\"
";
    let configured = Configured::new(text);
    configured.root.write("here", b"x");
    let root = configured.root.path().to_str().unwrap();
    let options = ["--listen", "0", "--user", "a:q", "--anonymous", root];
    let warnings = [
        "--user a stands in for users.a (server.toml:7), of which nothing counts",
        "--anonymous stands in for [anonymous] (server.toml:3), of which nothing counts",
    ];
    let said = String::from_utf8(configured.check(&options).succeeded()).unwrap();
    for warning in warnings {
        assert!(said.lines().any(|line| line == format!("warn  {warning}")), "{said}");
    }
    assert!(!said.lines().any(|line| line.starts_with("fail")), "{said}");

    let served = Served::of(&mut configured.command(&options));
    for warning in warnings {
        assert!(served.said().contains(&format!("warning: {warning}\n")), "{}", served.said());
    }
    assert!(served.said().contains(" a user of the file may log in\n"), "{}", served.said());
    let mut a = RawSession::login(served.address, "a", "q");
    assert_eq!(a.download("RETR here"), b"x");
    a.expect("DELE here", 550);
    let mut session = RawSession::greeted(served.address);
    session.expect("USER a", 331);
    session.expect("PASS p", 530);
    assert_eq!(RawSession::login(served.address, "b", "p").download("RETR here"), b"x");
    assert_eq!(RawSession::login(served.address, "ftp", "x").download("RETR here"), b"x");
    // Another name, by another file.
    configured.write(&text.replace("users.b", "users.c"));
    served.signal("HUP");
    let said = said_until(&served, "configuration read again");
    assert!(said.iter().any(|line| line.ends_with(warnings[0])), "{said:?}");
}

#[test]
fn a_hangup_reads_the_file_again_for_new_sessions() {
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
    let said = said_until(&served, "configuration read again");
    assert!(
        said.last().unwrap().contains("changed: server.banner, transfer.overwrite, users"),
        "{said:?}"
    );
    assert_eq!(greeting(&served), "220 second");
    // Whoever was there goes on as before.
    data.write_all(b" and half");
    data.close();
    running.expect_reply(226);
    running.upload("STOR file", b"again");
    let mut new = RawSession::login(served.address, "u", "p");
    let _data = new.passive();
    new.expect("STOR file", 553);
    assert_eq!(configured.root.read("file"), b"again");

    // A bad file changes nothing, and is said to be one with the same lines.
    configured.write("server.banner = \"third\"\n[timeouts]\nidle = \"1 s\"\nstal = 5\n");
    served.signal("HUP");
    let said = said_until(&served, "nothing has changed");
    for want in [
        "server.toml:3:8: timeouts.idle: less than 10 s",
        "server.toml:4:1: timeouts.stal: unknown key; did you mean timeouts.stall?",
        "server.toml: 2 errors; nothing has changed",
    ] {
        assert!(said.iter().any(|line| line.ends_with(want)), "no {want} in {said:?}");
    }
    // Nor does one that is gone, or one that might be waited for without an end.
    for make in [&["rm"][..], &["mkfifo"]] {
        let path = configured.here.join("server.toml");
        assert!(Command::new(make[0]).arg(path).status().unwrap().success());
        served.signal("HUP");
        said_until(&served, "nothing has changed");
    }
    fs::remove_file(configured.here.join("server.toml")).unwrap();
    assert_eq!(greeting(&served), "220 second");
    RawSession::login(served.address, "u", "p").expect_in_step();

    // What cannot change is named, and the rest changes.
    configured.write(&format!("server.banner = \"fourth\"\nlimits.sessions = 5\n{users}"));
    served.signal("HUP");
    let said = said_until(&served, "configuration read again");
    let warned = said.iter().filter(|line| line.contains("until the next start"));
    let warned: Vec<_> = warned.collect();
    assert!(matches!(&warned[..], [line] if line.contains("limits.sessions")), "{said:?}");
    assert_eq!(greeting(&served), "220 fourth");

    served.signal("TERM");
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_keeps_sessions_in_is_said_once_and_when_it_changes_fs_05() {
    let text = |confine| {
        format!(
            "security.confine = \"{confine}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n"
        )
    };
    let configured = Configured::new(&text("best-effort"));
    let served = configured.serve();
    let line = format!("sessions are kept beneath {} by ", configured.root.path().display());
    assert_eq!(served.said().matches(&line).count(), 1, "{}", served.said());
    // The same, then something else.
    served.signal("HUP");
    said_until(&served, "configuration read again");
    configured.write(&text("off"));
    served.signal("HUP");
    let said = said_until(&served, "sessions are kept");
    let said = said.concat();
    assert!(said.contains(&line) && said.ends_with("by openat2 without Landlock"), "{said}");
}

#[test]
fn behind_rein_a_session_has_the_users_that_there_are_now_cm_17() {
    let user = |name: &str| {
        format!("[users.{name}]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"read\"\n")
    };
    let configured = Configured::new(&user("old"));
    configured.root.write("file", b"x");
    let served = configured.serve();
    // One runs in the thread of a user, the other in one that never had any.
    let mut inside = RawSession::login(served.address, "old", "p");
    let mut outside = RawSession::greeted(served.address);
    configured.write(&user("new"));
    served.signal("HUP");
    said_until(&served, "configuration read again");
    assert_eq!(inside.download("RETR file"), b"x");
    for session in [&mut inside, &mut outside] {
        session.expect("REIN", 220);
        session.expect("USER old", 331);
        session.expect("PASS p", 530);
        session.expect("USER new", 331);
        session.expect("PASS p", 230);
        assert_eq!(session.download("RETR file"), b"x");
    }
    // And so on: what a thread was given to is no matter of who comes next.
    configured.write(&user("old"));
    served.signal("HUP");
    said_until(&served, "configuration read again");
    inside.expect("REIN", 220);
    inside.expect("USER old", 331);
    inside.expect("PASS p", 230);
    assert_eq!(inside.download("RETR file"), b"x");
}

#[test]
fn a_hangup_opens_the_log_of_transfers_again() {
    let here = TempRoot::new();
    let at = |name: &str| here.join(name);
    let users = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n";
    let text = |name: &str| format!("log.transfers = \"{}\"\n{users}", at(name).display());
    let configured = Configured::new(&text("log"));
    let served = configured.serve();
    let upload = || RawSession::login(served.address, "u", "p").upload("STOR file", b"x");
    let wait_for = |name: &str, count: usize| {
        let end = Instant::now() + LIMIT;
        let lines = || fs::read_to_string(at(name)).unwrap().lines().count();
        while lines() < count {
            assert!(Instant::now() < end, "{name} has {} lines, not {count}", lines());
            std::thread::yield_now();
        }
        assert_eq!(lines(), count, "{name}");
    };
    upload();
    wait_for("log", 1);
    fs::rename(at("log"), at("log.1")).unwrap();
    upload();
    wait_for("log.1", 2);
    // Whatever else is wrong with the file.
    configured.write("nonsense");
    served.signal("HUP");
    said_until(&served, "nothing has changed");
    upload();
    wait_for("log", 1);
    wait_for("log.1", 2);
    // What cannot be opened leaves the one before in use, be it a pipe that nobody reads.
    fs::rename(at("log"), at("log.2")).unwrap();
    for make in ["mkdir", "mkfifo"] {
        let _ = fs::remove_dir(at("log"));
        assert!(Command::new(make).arg(at("log")).status().unwrap().success());
        served.signal("HUP");
        said_until(&served, "transfers go to the file before");
        said_until(&served, "nothing has changed");
    }
    upload();
    wait_for("log.2", 2);
    // A name that cannot be had changes nothing, another name is where it goes on, and no name is
    // no log.
    let _ = fs::remove_file(at("log"));
    configured.write(&text("none/other"));
    served.signal("HUP");
    let said = said_until(&served, "nothing has changed");
    assert!(said.concat().contains("log.transfers: "), "{said:?}");
    configured.write(&text("other"));
    served.signal("HUP");
    let said = said_until(&served, "configuration read again");
    assert!(said.last().unwrap().ends_with("changed: log.transfers, users"), "{said:?}");
    upload();
    wait_for("other", 1);
    configured.write(users);
    served.signal("HUP");
    said_until(&served, "configuration read again");
    upload();
    configured.write(&text("other"));
    served.signal("HUP");
    said_until(&served, "configuration read again");
    upload();
    wait_for("other", 2);
}

#[test]
fn a_hangup_changes_the_form_of_the_log() {
    let text = |format| {
        format!("log.format = \"{format}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n")
    };
    let configured = Configured::new(&text("text"));
    let served = configured.serve();
    let login = || RawSession::login(served.address, "u", "p");
    login();
    let said = said_until(&served, " login session=");
    assert!(said.iter().all(|line| !line.starts_with('{')), "{said:?}");
    configured.write(&text("json"));
    served.signal("HUP");
    said_until(&served, "changed: log.format");
    login();
    said_until(&served, "\"event\":\"login\"");
    configured.write(&text("text"));
    served.signal("HUP");
    said_until(&served, "changed: log.format");
    login();
    said_until(&served, " login session=");
}

#[test]
fn without_a_file_a_hangup_opens_the_log_of_transfers_again() {
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
        said_until(&served, "log.transfers was opened again");
        assert_eq!(fs::read_to_string(here.join(&name)).unwrap().lines().count(), 1, "{name}");
    }
}

#[test]
fn a_hangup_that_nohup_ignores_reads_the_file_all_the_same() {
    let text = |banner| {
        format!("server.banner = {banner:?}\nanonymous.enabled = true\nanonymous.root = \"/\"\n")
    };
    let configured = Configured::new(&text("first"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ftp-cli")]);
    shell.args(["serve", "--config", "server.toml", "--listen", "0"]);
    let served = Served::of(shell.current_dir(configured.here.path()));
    configured.write(&text("second"));
    served.signal("HUP");
    said_until(&served, "configuration read again");
    assert_eq!(greeting(&served), "220 second");
}

#[test]
fn without_a_file_a_hangup_ends_the_server() {
    let root = TempRoot::new();
    let mut serve = ftp_with_hangup(&["serve", "--listen", "0"]);
    let mut served = Served::of(serve.arg(root.path()));
    served.signal("HUP");
    assert!(served.running.wait(Instant::now() + LIMIT).is_some(), "it ends");
}

#[test]
fn signals_at_random_reload_or_end_in_order_hf_15() {
    let mut random = Random::new(15);
    let text = |number: u64| {
        format!(
            "server.banner = \"{number}\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n"
        )
    };
    for round in 0..2 {
        let configured = Configured::new(&text(0));
        let mut served = configured.serve();
        let address = served.address;
        let content = ftp_tests::content::binary(1 << 20, round);
        let transfers = std::thread::spawn(move || {
            let mut session = RawSession::login(address, "u", "p");
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
                    // In the middle of being written it may be anything.
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
        let end = Instant::now() + LIMIT;
        while greeting(&served) != format!("220 {}", number + 1) {
            assert!(Instant::now() < end, "the last file was not read");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        served.signal("HUP");
        served.signal(if round % 2 == 0 { "TERM" } else { "INT" });
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
        assert_eq!(configured.root.names(), [b"file"]);
    }
}

#[test]
fn a_file_may_come_through_a_pipe_and_begin_with_a_mark() {
    let configured = Configured::new("");
    let text = "\u{feff}# a mark\r\n[timeouts]\r\nidle = \"10 min\"\r\n";
    configured.here.write("text", text.as_bytes());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cat text | \"$0\" serve --check --config /dev/stdin /"]);
    shell.arg(env!("CARGO_BIN_EXE_ftp-cli")).current_dir(configured.here.path());
    let said = String::from_utf8(run(shell.stderr(Stdio::piped())).succeeded()).unwrap();
    assert!(said.contains("# /dev/stdin:3\n"), "{said}");
}
