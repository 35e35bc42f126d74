//! `serve --config`: which files are read, which are refused with which message, and the effect of
//! SIGHUP.

mod mounts;
mod reloading;
mod user_keys;
mod users;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ftp_server::PasswordHash;
use ftp_tests::process::{LIMIT, Ran, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::serve::Served;
use crate::{failed, ftp};

/// A directory with `server.toml`, and `serve` in it.
pub(crate) struct Configured {
    pub(crate) here: TempRoot,
    pub(crate) root: TempRoot,
}

impl Configured {
    pub(crate) fn new(text: &str) -> Self {
        let configured = Self { here: TempRoot::new(), root: TempRoot::new() };
        configured.write(text);
        configured
    }

    /// Writes the file again; `ROOT` in it is the directory of files, `HASH` the hash of `p`.
    pub(crate) fn write(&self, text: &str) {
        let hash = || PasswordHash::new(b"p").unwrap().to_string();
        let hash = if text.contains("HASH") { hash() } else { String::new() };
        let root = self.root.path().to_str().unwrap();
        self.here
            .write("server.toml", text.replace("ROOT", root).replace("HASH", &hash).as_bytes());
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = ftp(&["serve", "--config", "server.toml"]);
        command.current_dir(self.here.path()).args(arguments);
        command
    }

    fn check(&self, arguments: &[&str]) -> Ran {
        run(self.command(&["--check", "-v"]).args(arguments))
    }

    pub(crate) fn serve(&self) -> Served {
        Served::of(&mut self.command(&["--listen", "0"]))
    }
}

/// Returns its log up to a line with `words`.
pub(crate) fn log_until(served: &Served, words: &str) -> Vec<String> {
    let (mut lines, end) = (Vec::new(), Instant::now() + LIMIT);
    loop {
        let line = served.log.recv_timeout(end.saturating_duration_since(Instant::now()));
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
fn every_broken_configuration_is_refused_with_its_lines() {
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
fn binary_or_oversized_configuration_files_are_refused() {
    let configured = Configured::new("");
    let refused = |content: &[u8], code, words: &str| {
        configured.here.write("server.toml", content);
        failed(&configured.check(&[]), code, words);
    };
    refused(
        b"# one\n[limits] # \xc3\xa4 \xff\n",
        2,
        "server.toml:2:14: invalid byte 0xff: expected UTF-8\n",
    );
    refused(b"\xff\xfe[\0", 2, "server.toml:1:1: invalid byte 0xff: expected UTF-8\n");
    refused(b"# \xc3", 2, "server.toml:1:3: invalid byte 0xc3: expected UTF-8\n");
    refused(&vec![b'#'; (4 << 20) + 1], 2, "server.toml: too large");
    refused(b"a\0b = 1", 2, "server.toml:1:2: ");
    // Deeply nested, and long.
    refused(("a = ".to_owned() + &"[".repeat(100_000)).as_bytes(), 2, "server.toml:1:");
    refused("x = 1\n".repeat(10_000).as_bytes(), 2, "server.toml: 9899 more errors\n");
    failed(&run(&mut ftp(&["serve", "--config", "/proc/none/x"])), 3, "/proc/none/x: No such");
    failed(&run(&mut ftp(&["serve", "--config", "/"])), 3, "/: Is a directory");
    failed(&run(&mut ftp(&["serve", "--config", "/dev/zero"])), 2, "/dev/zero: too large");
    let path = configured.here.join("server.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root can read it in any case.
    if fs::read(&path).is_err() {
        failed(&configured.check(&[]), 3, "server.toml: Permission denied");
    }
}

#[test]
fn options_override_the_file_and_the_file_overrides_defaults() {
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
    let (findings, settings) = said.split_once("\n\n").unwrap();
    let (settings, confirmed) = settings.split_once("\n\n").unwrap();
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
    assert!(confirmed.lines().any(|line| line.starts_with("ok    127.0.0.1:0: ")), "{confirmed}");
    assert!(findings.lines().all(|line| !line.starts_with("fail")), "{findings}");

    // The printed configuration can be read again, with the same result.
    let again = Configured { here: TempRoot::new(), root: TempRoot::new() };
    let hash = PasswordHash::new(b"p").unwrap().to_string();
    again.here.write("server.toml", settings.replace("****", &hash).as_bytes());
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.rsplit_once(" # ").map(|(value, _)| value.trim().to_owned());
        text.lines().filter_map(value).collect()
    };
    let said = String::from_utf8(again.check(&[]).succeeded()).unwrap();
    let (_, said) = said.split_once("\n\n").unwrap();
    assert_eq!(values(said), values(settings));
}

#[test]
fn check_reports_settings_that_cannot_work() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let configured = Configured::new(&format!(
        "listen.addresses = [\"{address}\"]
passive.address = \"127.0.0.5\"
passive.ports = \"{}\"
[users.a]
password = \"HASH\"
root = \"/proc/none/a\"
",
        address.port()
    ));
    let ran = configured.check(&[]);
    ran.exited(4);
    let said = String::from_utf8(ran.stdout).unwrap();
    for want in [
        &format!("fail  {address}: cannot listen: another program uses this port"),
        "fail  user a: /proc/none/a: No such file or directory",
        "fail  passive.ports: 0 of 1 ports are available",
        "warn  passive.address announces 127.0.0.5, which no client on the internet can reach",
    ] {
        assert!(said.lines().any(|line| line.starts_with(want)), "no {want} in\n{said}");
    }
}

#[test]
fn check_and_start_agree_on_files_that_they_share() {
    let here = TempRoot::new();
    let missing = here.join("none").display().to_string();
    let socket = here.join("socket").display().to_string();
    for (text, code, want) in [
        // At the first start, there is no self-signed certificate yet.
        (format!("[tls]\nself_signed = true\nclient_ca = \"{missing}\"\n"), 2, &*missing),
        (
            format!(
                "[tls]\nself_signed = true\n[hosts.\"h.example\"]\n\
                 certificate = \"{missing}\"\nkey = \"{missing}\"\n"
            ),
            2,
            &missing,
        ),
        (
            format!("[control]\nsocket = \"{socket}\"\n[metrics]\nlisten = \"unix:{socket}\"\n"),
            2,
            "metrics.listen: names the same file as control.socket; use another file",
        ),
        (
            "[log]\ntransfers = \"HERE/server.toml\"\n".to_owned(),
            2,
            "log.transfers: names the same file as --config; use another file",
        ),
        (
            format!("[control]\nsocket = \"/{}\"\n", "long".repeat(30)),
            3,
            "too long for the path of a socket",
        ),
    ] {
        let configured = Configured::new("");
        let text = text.replace("HERE", configured.here.path().to_str().unwrap());
        configured.write(&format!(
            "listen.addresses = [\"127.0.0.1:0\"]\n{text}\
             [users.a]\npassword = \"HASH\"\nroot = \"ROOT\"\n"
        ));
        for arguments in [&["--check"][..], &[]] {
            let ran = run(configured.command(arguments).env("HOME", here.path()));
            ran.exited(code);
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(want), "{arguments:?}: no {want} in\n{said}");
        }
    }
}

/// Returns the `warn` and `fail` lines of `--check`, without their prefix.
fn found(ran: Ran) -> Vec<String> {
    let said = String::from_utf8(ran.stdout).unwrap();
    // Free ports depend on the machine.
    let is_found = |line: &&str| line.starts_with("fail ") || line.starts_with("warn ");
    let lines = said.lines().filter(|line| is_found(line) && !line.contains(" available"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_transfer_log_inside_a_user_directory_is_refused_hp_27() {
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
        (root.join("log"), Some(("user a", shown(root)))),
        (root.join("link"), Some(("user a", shown(root)))),
        (root.join("d/log"), Some(("user a", shown(root)))),
        (elsewhere.join("link/log"), Some(("user a", shown(root)))),
        (anyone.join("log"), Some(("anonymous", shown(&anyone)))),
    ] {
        let set = format!("log.transfers={}", log.display());
        let mut check = configured.command(&["--check", "--listen", "127.0.0.1:0"]);
        check.args(["--set", "anonymous.enabled=true", "--set", &set]);
        check.args(["--set", &format!("anonymous.root={}", anyone.display())]);
        let found = found(run(&mut check));
        let want = holds.map(|(whose, holds)| {
            format!(
                "fail  {whose}: {holds} contains a file of the server, {} (log.transfers); use \
                 another directory, or move the file",
                log.display()
            )
        });
        let said = found.iter().find(|line| line.contains("log.transfers"));
        assert_eq!(said, want.as_ref(), "{}", log.display());
    }
}

#[test]
fn a_program_that_users_can_overwrite_is_refused_hp_27() {
    let configured = Configured::new("[users.a]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    let (root, path) = (configured.root.path().display(), configured.root.join("program"));
    fs::copy("/bin/true", &path).unwrap();
    for (key, list, more) in [
        ("auth.program", false, None),
        ("hooks.stored", true, None),
        ("hooks.program", false, Some("hooks.events=stored")),
    ] {
        let shown = path.display();
        let value = if list { format!("[\"{shown}\"]") } else { shown.to_string() };
        let mut check = configured.command(&["--check", "--listen", "127.0.0.1:0"]);
        check.args(["--set", &format!("{key}={value}")]);
        check.args(more.iter().flat_map(|more| ["--set", more]));
        let want = format!(
            "fail  user a: {root} contains a file of the server, {shown} ({key}); use another \
             directory, or move the file"
        );
        assert!(found(run(&mut check)).contains(&want), "{want}");
    }
}

#[test]
fn the_output_of_passwd_works_as_a_configured_password() {
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
fn passwd_refuses_passwords_that_ftp_cannot_send() {
    let here = TempRoot::new();
    for (typed, words) in [
        (&b""[..], "standard input: expected a secret, but the line is empty or missing"),
        (b"\n", "standard input: expected a secret, but the line is empty or missing"),
        (b"\r\n", "standard input: expected a secret, but the line is empty or missing"),
        (b"a\0b\n", "standard input: invalid password: it contains NUL, which FTP cannot send"),
        (b"a\rb\n", "standard input: invalid password: it contains CR, which FTP cannot send"),
        (b"a\r\r\n", "standard input: invalid password: it contains CR, which FTP cannot send"),
    ] {
        failed(&run_with(&mut ftp(&["passwd"]), typed, LIMIT), 2, words);
        let file = here.write("password", typed);
        let ran = run(ftp(&["passwd", "--password-file"]).arg(&file));
        failed(&ran, 2, &words.replace("standard input", file.to_str().unwrap()));
    }
    // Of a file only the first line counts; standard input must be one line.
    let two = "standard input: expected only one line";
    failed(&run_with(&mut ftp(&["passwd"]), b"a\nb\n", LIMIT), 2, two);
    failed(&run_with(&mut ftp(&["passwd"]), b"a\n\n", LIMIT), 2, two);
    for user in ["u:a\rb", "u:"] {
        let words = "--user u: ";
        failed(&run(&mut ftp(&["serve", "--user", user, "--check", "/"])), 2, words);
    }
    let mut of_environment = ftp(&["serve", "--user", "u", "--check", "/"]);
    let words = "FTP_PASSWORD: invalid password: it contains LF, which FTP cannot send";
    failed(&run(of_environment.env("FTP_PASSWORD", "two\nlines")), 2, words);
}

#[test]
fn a_configuration_can_come_from_a_pipe_and_start_with_a_bom() {
    let configured = Configured::new("");
    let text = "\u{feff}# a mark\r\n[timeouts]\r\nidle = \"10 min\"\r\n";
    configured.here.write("text", text.as_bytes());
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "cat text | \"$0\" serve --check -v --listen 127.0.0.1:0 --config /dev/stdin /usr",
    ]);
    shell.arg(env!("CARGO_BIN_EXE_ftp-cli")).current_dir(configured.here.path());
    let said = String::from_utf8(run(shell.stderr(Stdio::piped())).succeeded()).unwrap();
    assert!(said.contains("# /dev/stdin:3\n"), "{said}");
}
