//! `serve` under a service manager: sockets that it passes, states that it is notified of, and the
//! units of `dist/systemd`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftp_tests::network::{Host, in_own_network};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, Ran, Running, clear_environment, run};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use crate::serve::Served;
use crate::{failed, ftp};

/// Descriptors 3 and 4 are what standard input and output are, and `$$` stays the process.
const SCRIPT: &str = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=${OTHER:-$$}; \
                      exec env --default-signal=HUP \"$@\"";

/// A service manager with one service, whose files it keeps.
struct Manager {
    notes: TempRoot,
    root: TempRoot,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let (notes, root) = (TempRoot::new(), TempRoot::new());
        let socket = UnixDatagram::bind(notes.join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { notes, root, socket }
    }

    /// `serve` with these sockets, at most two, and their names.
    fn command(&self, sockets: &[OwnedFd], names: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        clear_environment(&mut command).env("LC_ALL", "C.UTF-8").env("PATH", "/usr/bin:/bin");
        command.env("HOME", "/proc/none").env("STATE_DIRECTORY", self.notes.path());
        command.args(["-c", SCRIPT, "sh", env!("CARGO_BIN_EXE_ftp-cli"), "serve"]);
        command.args(arguments).stdout(Stdio::null());
        if !sockets.is_empty() {
            command.env("LISTEN_FDS", sockets.len().to_string());
        }
        command.envs(names.map(|names| ("LISTEN_FDNAMES", names)));
        let copy = |at: usize| sockets.get(at).map(|socket| socket.try_clone().unwrap());
        command.stdin(copy(0).map_or_else(Stdio::null, Stdio::from));
        command.stdout(copy(1).map_or_else(Stdio::null, Stdio::from));
        command
    }

    /// Starts `serve` of its directory, which notifies it, and waits until it is ready.
    fn start(&self, sockets: &[OwnedFd], names: Option<&str>, arguments: &[&str]) -> Running {
        let log = File::options().create(true).append(true).open(self.notes.join("log")).unwrap();
        let mut command = self.command(sockets, names, arguments);
        command.arg(self.root.path()).env("NOTIFY_SOCKET", self.notes.join("notify"));
        command.env("WATCHDOG_USEC", "2000000");
        let running = Running::start(command.stderr(log));
        assert_eq!(self.next(), "READY=1", "{}", self.log());
        running
    }

    /// The next notification.
    fn next(&self) -> String {
        let mut bytes = [0; 1_000];
        let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| {
            panic!("{error}: {}", self.log());
        });
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next notification that begins so.
    fn wait_for(&self, begin: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let found = self.next();
            if found.starts_with(begin) {
                return found;
            }
            assert!(Instant::now() < end, "no {begin}: {}", self.log());
        }
    }

    /// What the service has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.notes.join("log")).unwrap_or_default()
    }
}

fn signal(running: &Running, name: &str) {
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

fn ends(running: &mut Running) {
    assert_eq!(running.wait(Instant::now() + LIMIT).and_then(|status| status.code()), Some(0));
}

/// A listening socket, its address, and the descriptor to pass.
fn listener() -> (SocketAddr, OwnedFd) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket.into())
}

#[test]
fn a_service_manager_is_notified_of_each_state() {
    let manager = Manager::new();
    let (address, socket) = listener();
    let config = manager.notes.write("server.toml", b"[server]\nbanner = \"first\"\n");
    let arguments = ["--user", "u:p", "--config", config.to_str().unwrap()];
    let mut running = manager.start(&[socket], None, &arguments);
    let greeting = |want: &str| {
        let mut session = RawSession::connect(address);
        let reply = format!("{:?}", session.expect_reply(220));
        assert!(reply.contains(want), "{reply}");
        session
    };
    assert_eq!(manager.next(), "STATUS=0 sessions, 0 transfers, 0 B/s");
    assert_eq!(manager.next(), "WATCHDOG=1");
    drop(greeting("first"));
    // Several may have come before this test looks for them.
    at_last("notifications with pauses between them", || {
        let start = Instant::now();
        for _ in 0..3 {
            manager.wait_for("WATCHDOG=1");
        }
        (start.elapsed() > Duration::from_millis(1_500)).then_some(())
    });

    let session = greeting("first");
    manager.wait_for("STATUS=1 session, 0 transfers, ");
    drop(session);

    manager.notes.write("server.toml", b"[server]\nbanner = \"second\"\n");
    signal(&running, "HUP");
    let reloading = manager.wait_for("RELOADING=1\n");
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.next(), "WATCHDOG=1");
    assert_eq!(manager.next(), "READY=1");
    drop(greeting("second"));

    signal(&running, "TERM");
    assert_eq!(manager.wait_for("STOPPING=1"), "STOPPING=1\nSTATUS=stopping");
    ends(&mut running);
}

#[test]
fn an_upgrade_on_a_passed_socket_refuses_no_connection() {
    let manager = Manager::new();
    let (address, socket) = listener();
    let sockets = [socket];
    let arguments = ["--write", "--user", "u:p"];
    let mut running = manager.start(&sockets, Some("control"), &arguments);
    assert!(!manager.log().contains("2121"), "{}", manager.log());
    let mut session = RawSession::login(address, "u", "p");
    let mut idle = RawSession::login(address, "u", "p");
    let mut data = session.passive();
    session.expect("STOR file", 150);
    data.write_all(b"first half, ");
    signal(&running, "TERM");
    manager.wait_for("STOPPING=1");
    // It accepts no client any more when it ends its idle sessions.
    idle.expect_reply(421);
    // The server waits for the upload, and new clients for its successor.
    let waiting: Vec<TcpStream> =
        (0..5).map(|_| TcpStream::connect_timeout(&address, DEADLINE).unwrap()).collect();
    data.write_all(b"second half");
    drop(data);
    session.expect_reply(226);
    ends(&mut running);
    assert_eq!(manager.root.read("file"), b"first half, second half");
    let last = TcpStream::connect_timeout(&address, DEADLINE).unwrap();

    let _running = manager.start(&sockets, Some("control"), &arguments);
    for client in waiting.into_iter().chain([last]) {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let greeting = BufReader::new(client).lines().next().unwrap().unwrap();
        assert!(greeting.starts_with("220"), "{greeting}");
    }
    assert_eq!(RawSession::login(address, "u", "p").download("RETR file").len(), 23);
}

#[test]
fn hooks_inherit_no_systemd_sockets_or_variables() {
    let manager = Manager::new();
    let (address, socket) = listener();
    let note = manager.notes.join("note");
    let script = format!("{{ env; ls -l /proc/$$/fd; }} >{0}.new; mv {0}.new {0}", note.display());
    let hook = format!("hooks.stored=[\"/bin/sh\", \"-c\", \"{script}\"]");
    let arguments = ["--write", "--user", "u:p", "--set", &hook];
    let _running = manager.start(&[socket], None, &arguments);
    RawSession::login(address, "u", "p").upload("STOR file", b"x");
    wait_until("the note of the hook", || note.exists());
    let note = fs::read_to_string(note).unwrap();
    assert!(note.contains("FTP_PATH=/file"), "{note}");
    for word in ["LISTEN_", "NOTIFY_", "WATCHDOG_", "socket:"] {
        assert!(!note.contains(word), "{word}: {note}");
    }
}

#[test]
fn socket_names_choose_the_tls_mode_and_listen_adds_addresses() {
    let manager = Manager::new();
    let (implicit, first) = listener();
    let (control, second) = listener();
    // An address that a socket has already is not bound again.
    let same = control.to_string();
    let arguments = ["--tls-self-signed", "--listen", "0", "--listen", &same];
    let _running = manager.start(&[first, second], Some("implicit:control"), &arguments);
    let with_tls = format!("listening with implicit TLS on {implicit}\n");
    wait_until("its addresses in the log", || manager.log().contains(&with_tls));
    let log = manager.log();
    let line = log.lines().find_map(|line| line.split_once("listening on ")).unwrap().1;
    let addresses: Vec<SocketAddr> = line.split(", ").map(|text| text.parse().unwrap()).collect();
    assert!(addresses.len() == 2 && addresses.contains(&control), "{line}");
    for address in addresses {
        RawSession::connect(address).expect_reply(220);
    }
}

#[test]
fn invalid_sockets_are_refused_and_foreign_ones_ignored() {
    let manager = Manager::new();
    let root = manager.root.path().to_str().unwrap();
    let refused = |socket: OwnedFd, names: Option<&str>| -> Ran {
        let log = manager.notes.join("said");
        let mut command = manager.command(&[socket], names, &[root]);
        let mut running = Running::start(command.stderr(File::create(&log).unwrap()));
        let status = running.wait(Instant::now() + LIMIT);
        let stderr = fs::read(log).unwrap();
        Ran { command: "serve".to_owned(), status, stdout: Vec::new(), stderr }
    };
    let datagrams = || UdpSocket::bind("127.0.0.1:0").unwrap().into();
    let expected = "LISTEN_FDS: descriptor 3: expected a listening TCP socket";
    failed(&refused(datagrams(), None), 2, expected);
    failed(&refused(listener().1, Some("data")), 2, "not \"data\"; set FileDescriptorName=");
    failed(
        &refused(listener().1, Some("a:b")),
        2,
        "invalid LISTEN_FDNAMES: expected control or implicit, not \"a\"",
    );
    // Implicit TLS needs a certificate.
    failed(&refused(listener().1, Some("implicit")), 2, "certificate");

    let mut command = manager.command(&[datagrams()], None, &["--listen", "0", root]);
    let served = Served::of(command.env("OTHER", "1"));
    RawSession::connect(served.address).expect_reply(220);
}

#[test]
fn freebind_listens_on_an_address_the_computer_lacks() {
    let root = TempRoot::new();
    // Reserved for documentation: no computer has it.
    let listen = ["--listen", "192.0.2.77:0", "--listen", "127.0.0.1:0"];
    let mut plain = ftp(&["serve"]);
    failed(&run(plain.args(listen).arg(root.path())), 4, "192.0.2.77");
    let mut command = ftp(&["serve", "--set", "listen.freebind=true"]);
    let mut running = Running::start(command.args(listen).arg(root.path()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let mut line =
        |words: &str| lines.by_ref().map(Result::unwrap).find(|line| line.contains(words)).unwrap();
    let addresses = line("listening on ");
    let here = addresses.rsplit(", ").next().unwrap().parse().unwrap();
    line("the computer does not have this address yet");
    RawSession::connect(here).expect_reply(220);
}

#[test]
fn an_address_serves_clients_once_the_computer_has_it() {
    let test = "systemd::an_address_serves_clients_once_the_computer_has_it";
    if !in_own_network(test, &[]) {
        return;
    }
    let root = TempRoot::new();
    let later = ["192.0.2.77:2121", "[2001:db8::77]:2121"];
    let metrics = "192.0.2.77:9121";
    let mut command = ftp(&["serve", "--set", "listen.freebind=true", "--listen", "2121"]);
    for address in later {
        command.args(["--listen", address]);
    }
    command.args(["--set", &format!("metrics.listen={metrics}")]).arg(root.path());
    let mut running = Running::start(command.stderr(Stdio::piped()));
    let mut lines = BufReader::new(running.child.stderr.take().unwrap()).lines();
    for address in [later[0], later[1], metrics] {
        let warning = format!("{address}: the computer does not have this address yet");
        assert!(lines.by_ref().any(|line| line.unwrap().contains(&warning)), "{warning}");
    }
    let here = "127.0.0.1:2121".parse().unwrap();
    RawSession::connect(here).expect_reply(220);
    assert!(TcpStream::connect(later[0]).is_err());
    let add = "ip address add 192.0.2.77/32 dev lo; ip address add 2001:db8::77/128 dev lo nodad";
    Host::here().set_up(add);
    for address in later {
        wait_until("the address is there", || TcpStream::connect(address).is_ok());
        RawSession::connect(address.parse().unwrap()).expect_reply(220);
    }
    TcpStream::connect(metrics).unwrap();
}

fn units() -> Vec<(String, String)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd");
    let entries = fs::read_dir(place).unwrap().map(Result::unwrap);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    entries.map(|entry| (entry.file_name().into_string().unwrap(), read(&entry.path()))).collect()
}

#[test]
fn units_are_valid_and_hardened() {
    let Some(analyze) = Peer::find("systemd-analyze") else { return };
    let here = TempRoot::new();
    let program = format!("={} ", env!("CARGO_BIN_EXE_ftp-cli"));
    let mut paths = Vec::new();
    for (name, text) in units() {
        // It is not installed here.
        let text = text.replace("=ftp-cli ", &program);
        assert_eq!(text.contains(&program), name.ends_with(".service"), "{name}");
        paths.push(here.write(&name, text.as_bytes()));
    }
    assert_eq!(paths.len(), 3);
    let ran = run(analyze.command().args(["verify", "--man=no"]).args(&paths));
    ran.exited(0);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!said.contains("/ftp-cli"), "{said}");
    let mut security = analyze.command();
    // In tenths.
    security.args(["security", "--offline=true", "--threshold=20"]);
    run(security.arg(here.join("ftp-cli.service"))).exited(0);
}

/// The system's calls that only Landlock needs.
const LANDLOCK: &str = " landlock_create_ruleset landlock_add_rule landlock_restrict_self";

#[test]
fn the_server_works_under_the_system_call_filter_of_its_unit() {
    let python = Peer::python("seccomp");
    let (Some(python), Some(_)) = (python, Peer::find("systemd-analyze")) else { return };
    let units = units();
    let (_, unit) = units.iter().find(|(name, _)| name == "ftp-cli.service").unwrap();
    let confined = |served: &Served| {
        let mut lines = served.said().lines();
        lines.find_map(|line| Some(line.split_once(" are confined to ")?.1.to_owned()))
    };
    let root = TempRoot::new();
    let without = confined(&Served::start(&root, &[])).expect("sessions are confined");
    for unit in [unit.clone(), unit.replace(LANDLOCK, "")] {
        let here = TempRoot::new();
        let socket = here.join("socket");
        let is_whole = unit.contains(LANDLOCK);
        let unit = here.write("unit", unit.as_bytes());
        let mut command = python.command();
        command.args(["-c", include_str!("filtered.py")]).arg(unit);
        command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--listen", "127.0.0.1:0"]);
        let hook = format!("hooks.stored=[\"/bin/touch\", \"{}\"]", here.join("ran").display());
        command.args(["--user", "u:p", "--write", "--set", &hook]);
        command.args(["--set", &format!("control.socket={}", socket.display())]);
        let group = format!("control.group={}", root.path().metadata().unwrap().gid());
        let served = Served::of(command.args(["--set", &group]).arg(root.path()));
        // A filter without the calls of Landlock takes this barrier away.
        assert_eq!(confined(&served).as_ref() == Some(&without), is_whole, "{}", served.said());
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("MKD made", 257);
        session.upload("STOR made/file", b"content");
        session.expect("MFMT 20200101000000 made/file", 213);
        session.expect("SITE CHMOD 600 made/file", 200);
        session.expect("RNFR made/file", 350);
        session.expect("RNTO made/other", 250);
        assert_eq!(session.download("RETR made/other"), b"content");
        assert!(!session.download("MLSD made").is_empty());
        let ran = run(ftp(&["who", "--control"]).arg(&socket));
        assert!(String::from_utf8_lossy(&ran.clone().succeeded()).contains(" u "), "{ran:?}");
        session.expect("DELE made/other", 250);
        session.expect("RMD made", 250);
        wait_until("the hook has run", || here.join("ran").exists());
        let mut running = served.running;
        signal(&running, "TERM");
        ends(&mut running);
    }
}
