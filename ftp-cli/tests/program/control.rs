//! The control socket of a running server: `who`, `status`, `kick`, `drain`, `reload`, `unban`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ftp_tests::process::{LIMIT, Ran, run};
use ftp_tests::raw::RawSession;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::config::{Configured, log_until};
use crate::figures::allow_descriptors;
use crate::serve::Served;
use crate::{failed, ftp};

const USERS: &str = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n\
    [users.other]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"read\"\n";

/// A server with a control socket, and its configuration.
struct Controlled {
    configured: Configured,
    served: Served,
    socket: PathBuf,
}

impl Controlled {
    fn new(users: &str) -> Self {
        let configured = Configured::new("");
        let socket = configured.here.path().join("control");
        configured.write(&text(&socket, users));
        let served = configured.serve();
        Self { configured, served, socket }
    }

    /// Runs a command with the option that names the socket.
    fn ask(&self, arguments: &[&str]) -> Ran {
        run(ftp(arguments).arg("--control").arg(&self.socket))
    }

    fn says(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.ask(arguments).succeeded()).unwrap()
    }

    fn login(&self, user: &str) -> RawSession {
        RawSession::login(self.served.address, user, "p")
    }
}

#[test]
fn wrong_requests_to_a_server_print_their_usage() {
    for (words, message) in [
        (&["ctl"][..], "usage: ftp-cli ctl [OPTION]... who|users|status|drain|reload|kick|unban"),
        (
            &["ctl", "stop"],
            "usage: ftp-cli ctl [OPTION]... who|users|status|drain|reload|kick|unban",
        ),
        (&["ctl", "kick"], "usage: ftp-cli ctl [OPTION]... kick ID|user=NAME|address=ADDRESS"),
        (&["kick"], "usage: ftp-cli ctl [OPTION]... kick ID|user=NAME|address=ADDRESS"),
        (&["unban", "192.0.2.1", "192.0.2.2"], "usage: ftp-cli ctl [OPTION]... unban ADDRESS|all"),
        (&["who", "all"], "usage: ftp-cli ctl [OPTION]... who\n"),
        (&["kick", "user="], "expected ID, user=NAME or address=ADDRESS"),
    ] {
        failed(&run(&mut ftp(words)), 2, message);
    }
    let ran = run(&mut ftp(&["drain", "--json"]));
    ran.exited(2);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("ctl drain does not accept --json"));
}

fn text(socket: &std::path::Path, users: &str) -> String {
    format!("control.socket = \"{}\"\n{users}", socket.display())
}

#[test]
fn who_lists_sessions_with_their_transfers_and_kick_ends_them() {
    let server = Controlled::new(USERS);
    let mode = fs::metadata(&server.socket).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o660);
    assert_eq!(server.says(&["who"]), "ID  USER  ADDRESS  SINCE  TLS  IDLE  TRANSFER\n");

    let mut busy = server.login("u");
    let mut data = busy.passive();
    busy.expect("STOR a b", 150);
    data.write_all(&[b'x'; 100_000]);
    let (mut idle, mut nobody) =
        (server.login("other"), RawSession::greeted(server.served.address));
    wait_until("the bytes are read", || server.says(&["who"]).contains("STOR /a b 97.7 KiB at "));
    let listed = server.says(&["who", "--json"]);
    let mut lines = listed.lines();
    let first = lines.next().unwrap();
    let peer = busy.stream().local_addr().unwrap();
    for field in [
        "\"v\":1,\"event\":\"session\",\"id\":1,\"user\":\"u\"",
        &format!("\"peer\":\"{peer}\",\"since\":\"20"),
        "\"verb\":\"STOR\",\"path\":\"/a b\",\"bytes\":100000,\"rate\":",
        "\"idle\":0.000,\"time\":\"20",
    ] {
        assert!(first.contains(field), "{field} is not in {first}");
    }
    assert!(!listed.contains("tls"), "{listed}");
    let third = lines.nth(1).unwrap();
    assert!(!third.contains("user") && !third.contains("verb"));
    assert!(lines.next().unwrap().contains("\"event\":\"summary\"") && lines.next().is_none());
    let status = server.says(&["status", "--json"]);
    let process = server.served.running.child.id();
    for field in [format!("\"pid\":{process},"), "\"sessions\":3,\"transfers\":1,".to_owned()] {
        assert!(status.contains(&field), "{status}");
    }
    assert!(server.says(&["status"]).contains("\nsessions: 3\ntransfers: 1\n"));

    failed(&server.ask(&["kick", "9"]), 8, "kick: no session 9");
    failed(&server.ask(&["kick", "user=x"]), 8, "no session user=x");
    failed(&server.ask(&["kick", "x"]), 2, "expected ID, user=NAME or address=ADDRESS");
    assert_eq!(server.says(&["kick", "user=u"]), "sessions ended: 1\n");
    busy.expect_reply(426);
    busy.expect_reply(421);
    busy.expect_closed();
    // A session that has just ended may still be listed, and would be ended once more.
    let only = |count: usize| {
        let listed = || server.says(&["who"]).lines().count() - 1;
        wait_until("the end of a session", || listed() == count);
    };
    only(2);
    assert_eq!(server.says(&["ctl", "kick", "2"]), "sessions ended: 1\n");
    idle.expect_reply(421);
    only(1);
    assert_eq!(server.says(&["kick", "address=127.0.0.1"]), "sessions ended: 1\n");
    nobody.expect_reply(421);
    failed(&server.ask(&["unban", "192.0.2.1"]), 8, "192.0.2.1 is not banned");
    failed(&server.ask(&["unban", "nobody"]), 2, "expected an IP address or all");
    assert_eq!(server.says(&["ctl", "unban", "all"]), "bans ended: 0\n");
    let log = log_until(&server.served, " request=\"kick user=u\": sessions ended: 1");
    assert!(log.last().unwrap().contains("control uid="), "{log:?}");
}

#[test]
fn reload_reports_its_outcome_and_ends_sessions_of_removed_users() {
    let server = Controlled::new(USERS);
    let mut other = server.login("other");
    let mut late = RawSession::greeted(server.served.address);
    let mut busy = server.login("u");
    let mut data = busy.passive();
    busy.expect("STOR f", 150);
    data.write_all(b"first");
    assert_eq!(server.says(&["reload"]), "configuration reloaded; changed: nothing\n");
    let broken = text(&server.socket, "[limits]\nsessions = \"x\"\n");
    server.configured.write(&broken);
    let ran = server.ask(&["reload"]);
    failed(&ran, 8, "configuration unchanged");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 2, "a line for each error, and the outcome: {said}");
    other.expect_in_step();

    let guest = "[users.guest]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"read\"\n";
    server.configured.write(&text(&server.socket, guest));
    assert!(server.says(&["reload"]).contains("changed: users"));
    other.expect_reply(421);
    other.expect_closed();
    data.write_all(b" and last");
    drop(data);
    busy.expect_reply(226);
    busy.expect_reply(421);
    busy.expect_closed();
    assert_eq!(server.configured.root.read("f"), b"first and last");
    server.login("guest").expect_in_step();
    // A connection from before the reload logs in as a new one does.
    late.expect("USER other", 331);
    late.expect("PASS p", 530);
    late.expect("USER guest", 331);
    late.expect("PASS p", 230);
}

/// A session from before would go on without the check.
#[test]
fn a_reload_that_changes_the_check_of_uploads_ends_all_sessions_hf_20() {
    let server = Controlled::new(USERS);
    let mut idle = server.login("other");
    let mut busy = server.login("u");
    let data = busy.passive();
    busy.expect("STOR f", 150);
    let checked = format!("{USERS}[hooks]\ncheck = [\"/bin/false\"]\n");
    server.configured.write(&text(&server.socket, &checked));
    assert!(server.says(&["reload"]).contains("changed: hooks.check"));
    idle.expect_reply(421);
    data.close();
    busy.expect_reply(226);
    busy.expect_reply(421);
    let mut session = server.login("u");
    let data = session.passive();
    session.expect("STOR g", 150);
    data.close();
    session.expect_reply(550);
    assert_eq!(server.configured.root.published(), [b"f"]);
    assert!(server.says(&["reload"]).contains("changed: nothing"));
    session.expect_in_step();
}

#[test]
fn a_draining_server_serves_its_sessions_and_ends_with_the_last() {
    let mut server = Controlled::new(USERS);
    let mut session = server.login("u");
    let left = "the server accepts no new connections; open sessions: 1\n";
    assert_eq!(server.says(&["drain"]), left);
    failed(&server.ask(&["drain"]), 8, "the server is already draining");
    assert!(RawSession::greeting(server.served.address).is_none());
    assert!(server.says(&["status"]).ends_with("draining: yes\n"));
    session.upload("STOR f", b"content");
    session.expect("QUIT", 221);
    let status = server.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(!server.socket.exists());
    failed(&server.ask(&["who"]), 4, "no server is listening there");
    assert_eq!(server.configured.root.read("f"), b"content");
}

#[test]
fn only_one_server_uses_the_socket_and_a_stale_one_is_replaced() {
    let mut server = Controlled::new(USERS);
    let second = run(&mut server.configured.command(&["--listen", "0"]));
    failed(&second, 3, "another server listens there");
    server.served.signal("KILL");
    assert!(server.served.running.wait(Instant::now() + LIMIT).is_some());
    assert!(server.socket.exists());
    failed(&server.ask(&["status"]), 4, "no server is listening there");
    server.served = server.configured.serve();
    assert!(server.says(&["status"]).contains("sessions: 0\n"));
    // Without the option, the environment names it.
    let ran = run(ftp(&["status"]).env("FTP_CLI_CONTROL", &server.socket));
    ran.exited(0);
    // A file that is not a socket stays.
    server.configured.here.write("file", b"kept");
    let file = server.configured.here.path().join("file");
    server.configured.write(&text(&file, USERS));
    run(&mut server.configured.command(&["--listen", "0"])).exited(3);
    assert_eq!(fs::read(file).unwrap(), b"kept");
}

#[test]
fn the_control_socket_has_the_configured_mode_and_group() {
    use std::os::unix::fs::MetadataExt;

    let own = Controlled::new(USERS);
    let group = fs::metadata(own.configured.here.path()).unwrap().gid();
    let text = format!("control.group = \"{group}\"\ncontrol.mode = \"0600\"\n{USERS}");
    let server = Controlled::new(&text);
    let found = fs::metadata(&server.socket).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o600, group));
    for (key, value, words) in [
        ("group", "no-such-group", "unknown group"),
        ("mode", "888", "expected 000 to 777 in octal"),
        ("socket", "relative", "expected an absolute path"),
    ] {
        server.configured.write(&format!("control.{key} = \"{value}\"\n{USERS}"));
        failed(&run(&mut server.configured.command(&[])), 2, "1 error");
        let said = run(&mut server.configured.command(&[])).stderr;
        assert!(String::from_utf8_lossy(&said).contains(words), "{key}");
    }
    // Without its directory there is no socket.
    let missing = format!("control.socket = \"/proc/none/control\"\n{USERS}");
    server.configured.write(&missing);
    failed(&run(&mut server.configured.command(&[])), 3, "its directory is missing");
}

/// Any program that may connect can be silent, or read no answer.
#[test]
fn silent_clients_of_both_sockets_delay_no_others() {
    let configured = Configured::new("");
    let [metrics, control] = ["metrics", "control"].map(|name| configured.here.join(name));
    let listen = format!("metrics.listen = \"unix:{}\"\n", metrics.display());
    configured.write(&(listen + &text(&control, USERS)));
    let served = configured.serve();
    let silent: Vec<_> = (0..24)
        .flat_map(|_| [&metrics, &control].map(|path| UnixStream::connect(path).unwrap()))
        .collect();
    let begun = Instant::now();
    assert!(!run(ftp(&["who", "--control"]).arg(&control)).succeeded().is_empty());
    let mut scrape = UnixStream::connect(&metrics).unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    scrape.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Four at a time, 24 silent ones would keep each socket for 30 s if they had their full time.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop((silent, served));
}

/// `serve --check && reload` is the use.
#[test]
fn check_beside_the_running_server_reports_no_port_in_use() {
    let server = Controlled::new(USERS);
    let check = |address: std::net::SocketAddr| {
        let listen = address.to_string();
        run(&mut server.configured.command(&["--check", "-v", "--listen", &listen]))
    };
    let own = server.served.address;
    let said = String::from_utf8(check(own).succeeded()).unwrap();
    let process = server.served.running.child.id();
    let line = format!("ok    {own}: the running server (process {process}) listens here\n");
    assert!(said.contains(&line), "{said}");
    let socket = server.socket.display();
    let line = format!(
        "ok    control.socket: {socket}: the running server (process {process}) listens here\n"
    );
    assert!(said.contains(&line), "{said}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = check(other.local_addr().unwrap());
    ran.exited(4);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("another program uses this port"));
}

#[test]
fn check_finds_the_running_server_without_a_control_socket_li_14() {
    let configured = Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    let served = configured.serve();
    let listen = served.address.to_string();
    let check = || run(&mut configured.command(&["--check", "-v", "--listen", &listen]));
    let process = served.running.child.id();
    let said = String::from_utf8(check().succeeded()).unwrap();
    let line = format!("ok    {listen}: the running server (process {process}) listens here\n");
    assert!(said.contains(&line), "{said}");
    // A draft can replace the file of the server.
    let other = Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    let said = run(&mut other.command(&["--check", "--listen", &listen])).succeeded();
    let said = String::from_utf8(said).unwrap();
    let line = format!("note  {listen}: the running server (process {process}) listens here, with");
    assert!(said.contains(&line), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let ran = run(&mut other.command(&["--check", "--listen", &listen]));
    ran.exited(4);
    let said = String::from_utf8(ran.stdout).unwrap();
    let why = format!("fail  {listen}: cannot listen: another program uses this port");
    assert!(said.starts_with(&why), "{said}");
    // After the problems come the values that differ from the defaults, and no others.
    let (_, changed) = said.split_once("\n\n").unwrap();
    let keys: Vec<_> = changed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(keys, ["listen.addresses", "users.u.password", "users.u.root"], "{said}");
    assert!(!said.contains("\nok "), "{said}");
}

#[test]
fn an_idle_server_that_drains_answers_before_it_ends() {
    let mut server = Controlled::new(USERS);
    assert!(server.says(&["drain"]).ends_with("open sessions: 0\n"));
    let status = server.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn many_sessions_are_listed_at_once_at_scale() {
    allow_descriptors();
    let server = Controlled::new(
        "anonymous.enabled = true\nanonymous.root = \"ROOT\"\n\
        limits.per_address = 0\nlimits.sessions = 1200\n",
    );
    let count = scale::count(100, 1_000);
    let sessions: Vec<RawSession> =
        (0..count).map(|_| RawSession::login(server.served.address, "ftp", "p")).collect();
    let begun = Instant::now();
    let listed = server.says(&["who", "--json"]);
    println!("{count} sessions are listed in {:?}", begun.elapsed());
    // The last line is the summary.
    assert_eq!(listed.lines().count(), count + 1);
    drop(sessions);
}
