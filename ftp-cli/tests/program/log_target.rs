//! `log.target`: the log in a file, in the journal and in syslog.

use std::fs::{self, File};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Instant;

use ftp_tests::peer::Peer;
use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use crate::privileges::is_root;
use crate::{failed, ftp};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ftp-cli");

/// A server whose standard error is a file, as it may not name its address there.
struct Server {
    running: Running,
    port: OwnPort,
    here: TempRoot,
    root: TempRoot,
}

impl Server {
    /// Starts `serve` with these settings by `command`, which `env` changes.
    fn start(mut command: Command, sets: &[&str], env: impl FnOnce(&mut Command, &File)) -> Self {
        // A test hides /dev, which may contain the memory for files.
        let (here, root, port) = (TempRoot::on_disk(), TempRoot::on_disk(), OwnPort::claim());
        let stderr = File::create(here.join("stderr")).unwrap();
        command.args(["serve", "--user", "u:p", "--listen", &port.address().to_string()]);
        for set in sets {
            command.args(["--set", &set.replace("HERE", here.path().to_str().unwrap())]);
        }
        env(&mut command, &stderr);
        let running = Running::start(command.arg(root.path()).stdin(Stdio::null()).stderr(stderr));
        wait_until("the server starts", || RawSession::greeting(port.address()).is_some());
        Self { running, port, here, root }
    }

    fn log_in(&self) {
        let mut session = RawSession::login(self.port.address(), "u", "p");
        session.expect("QUIT", 221);
        session.expect_closed();
    }

    fn signal(&self, name: &str) {
        let id = self.running.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn stop(&mut self) {
        self.signal("TERM");
        let status = self.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.here.join(name)).unwrap_or_default()
    }

    fn stderr(&self) -> String {
        self.read("stderr")
    }
}

#[test]
fn a_renamed_log_file_is_reopened_and_no_line_is_lost() {
    let mut server = Server::start(ftp(&[]), &["log.target=file:HERE/log"], |_, _| ());
    let log = server.here.join("log");
    assert_eq!(server.stderr(), format!("ftp-cli: logging to file:{}\n", log.display()));
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640 & !umask());
    for number in 0..3 {
        server.log_in();
        let older = format!("log.{number}");
        fs::rename(&log, server.here.join(&older)).unwrap();
        server.signal("HUP");
        wait_until("the log is reopened", || server.read("log").contains(" log.target reopened\n"));
        // The line of the login may be in the old file or the new one, but none is lost.
        let all = ["log.0", "log.1", "log.2", "log"].map(|name| server.read(name)).concat();
        assert_eq!(all.matches(" login session=").count(), number + 1, "{all}");
    }
    server.stop();
    assert!(server.read("log.0").contains(" listening on 127.0.0.1:"));
    assert!(server.read("log").contains(" stopped; sessions ended: "));
    let lines = ["log.0", "log.1", "log.2", "log"].map(|name| server.read(name)).concat();
    assert!(lines.lines().all(|line| line.starts_with("20")), "{lines}");
    assert_eq!(server.stderr().lines().count(), 1, "{}", server.stderr());
}

#[test]
fn a_log_that_cannot_be_reopened_fails_the_reload() {
    let sets = ["log.target=file:HERE/log", "control.socket=HERE/socket"];
    let mut server = Server::start(ftp(&[]), &sets, |_, _| ());
    let log = server.here.join("log");
    let reload = || run(ftp(&["reload", "--control"]).arg(server.here.join("socket")));
    assert_eq!(reload().succeeded(), b"log.target reopened\n");
    let older = server.here.join("log.1");
    fs::rename(&log, &older).unwrap();
    fs::create_dir(&log).unwrap();
    failed(&reload(), 8, "log.target: ");
    server.log_in();
    wait_until("the old file has the line", || server.read("log.1").contains(" login session="));
    assert!(server.read("log.1").contains(": Is a directory; lines are still written"));
    fs::remove_dir(&log).unwrap();
    assert_eq!(reload().succeeded(), b"log.target reopened\n");
    server.stop();
    assert!(server.read("log").contains(" stopped; "));
}

#[test]
fn root_follows_no_log_symlink_in_another_users_directory() {
    if !is_root() {
        return;
    }
    let (here, target, root) = (TempRoot::new(), TempRoot::new(), TempRoot::new());
    let victim = target.join("victim");
    std::os::unix::fs::symlink(&victim, here.join("log")).unwrap();
    let set = format!("log.target=file:{}", here.join("log").display());
    let start = || {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        run(ftp(&["serve", "--listen", &address, "--set", &set]).arg(root.path()))
    };
    for there_is_one in [false, true] {
        if there_is_one {
            target.write("victim", b"kept");
        }
        chown(here.path(), Some(65_534), None).unwrap();
        failed(&start(), 3, "Too many levels of symbolic links");
        assert_eq!(fs::read(&victim).ok(), there_is_one.then(|| b"kept".to_vec()));
    }
    // Nobody else can have made a link in a directory of root's.
    chown(here.path(), Some(0), None).unwrap();
    failed(&start(), 4, "another program uses this port");
    assert!(fs::read_to_string(&victim).unwrap().contains("another program uses this port"));
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn a_failed_start_is_reported_on_stderr_and_in_the_log_file() {
    let (here, root) = (TempRoot::new(), TempRoot::new());
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let target = format!("log.target=file:{}", here.join("log").display());
    let ran = run(ftp(&["serve", "--listen", &address, "--set", &target]).arg(root.path()));
    failed(&ran, 4, "another program uses this port");
    let log = fs::read_to_string(here.join("log")).unwrap();
    assert!(log.contains("another program uses this port"), "{log}");
    assert!(!log.contains("os error"), "{log}");
    let target = "log.target=file:/proc/none/log";
    let ran = run(ftp(&["serve", "--listen", "0", "--set", target]).arg(here.path()));
    failed(&ran, 3, "/proc/none/log: No such file");
}

#[test]
fn journal_lines_begin_with_their_priority() {
    let stream = |command: &mut Command, stderr: &File| {
        let data = stderr.metadata().unwrap();
        command.env("JOURNAL_STREAM", format!("{}:{}", data.dev(), data.ino()));
    };
    for (format, login) in [("text", "<6>login session="), ("json", "<6>{\"time\":\"20")] {
        let set = format!("log.format={format}");
        let mut server = Server::start(ftp(&["-v"]), &[&set, "limits.login_delay=0"], stream);
        server.log_in();
        let mut session = RawSession::greeted(server.port.address());
        session.expect("USER u", 331);
        session.expect("PASS wrong", 530);
        server.stop();
        let log = server.stderr();
        assert!(log.contains(login), "{log}");
        let has_line = |priority: &str, words: &str| {
            log.lines().any(|line| line.starts_with(priority) && line.contains(words))
        };
        assert!(has_line("<4>", "login-refused"), "{log}");
        assert!(has_line("<6>", "listening on"), "{log}");
        assert!(has_line("<7>", "connected"), "{log}");
        let is_marked = |line: &str| matches!(line.as_bytes(), [b'<', b'3'..=b'7', b'>', ..]);
        assert!(log.lines().all(is_marked), "{log}");
    }
    // The reasons why a server does not start are errors.
    for (set, words) in [
        ("listen.addresses=127.0.0.1:0,x", "<3>ftp-cli: --set listen.addresses: "),
        ("log.target=file:/proc/none/log", "/proc/none/log: No such file"),
    ] {
        let root = TempRoot::on_disk();
        let stderr = File::create(root.join("stderr")).unwrap();
        let mut serve = ftp(&["serve", "--set", set]);
        stream(&mut serve, &stderr);
        let ended = serve.arg(root.path()).stderr(stderr).status().unwrap();
        let said = fs::read_to_string(root.join("stderr")).unwrap();
        assert!(!ended.success() && said.contains(words), "{said}");
        assert!(said.lines().all(|line| line.starts_with("<3>")), "{said}");
    }
    // The variable is inherited by programs whose standard error is another file.
    let other = |command: &mut Command, _: &File| {
        command.env("JOURNAL_STREAM", "1:1");
    };
    let mut server = Server::start(ftp(&[]), &[], other);
    server.stop();
    assert!(server.stderr().contains("ftp-cli: listening on "), "{}", server.stderr());
}

#[test]
fn syslog_gets_a_message_for_each_line() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    // The server has its own /dev, with a socket of this test for a daemon.
    let devices = TempRoot::on_disk();
    let socket = devices.join("log");
    let command = || {
        let mut command = unshare.command();
        let script = "mount --bind \"$1\" /dev && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(devices.path()).arg(PROGRAM);
        command
    };
    let mut daemon = UnixDatagram::bind(&socket).unwrap();
    daemon.set_read_timeout(Some(LIMIT)).unwrap();
    let received = |daemon: &UnixDatagram, words: &str| {
        let mut message = [0; 2_000];
        loop {
            let length = daemon.recv(&mut message).expect("a message comes");
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if text.contains(words) {
                return text;
            }
        }
    };
    let mut server = Server::start(command(), &["log.target=syslog"], |_, _| ());
    let id = server.running.child.id();
    let process = format!("ftp-cli[{id}]: ");
    let is_one = |message: &str, priority: &str, text: &str| {
        let (first, rest) = message.split_once(&process).expect(message);
        assert!(first.starts_with(priority), "{message}");
        assert!(rest.starts_with(text), "{message}");
    };
    is_one(&received(&daemon, "running as root"), "<92>", "warning: ");
    is_one(&received(&daemon, "listening on"), "<94>", "listening on ");
    server.log_in();
    is_one(&received(&daemon, "login"), "<94>", "login session=");
    // A daemon that is restarted gets what comes then. A program that another test starts may
    // have a copy of the old socket for a moment, which must not take a message.
    daemon.shutdown(Shutdown::Both).unwrap();
    fs::remove_file(&socket).unwrap();
    daemon = UnixDatagram::bind(&socket).unwrap();
    daemon.set_read_timeout(Some(LIMIT)).unwrap();
    server.log_in();
    received(&daemon, "login session=");
    server.stop();
    received(&daemon, "stopped; sessions ended: ");
    assert_eq!(server.stderr(), "ftp-cli: logging to syslog\n");
    assert!(server.root.names().is_empty());
    // Without a daemon, the server does not start.
    fs::remove_file(&socket).unwrap();
    let ran = run(command().args(["serve", "--listen", "0", "--set", "log.target=syslog", "/"]));
    failed(&ran, 3, "/dev/log: No such file");
}
