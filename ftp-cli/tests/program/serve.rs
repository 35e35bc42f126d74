//! `serve`: who may do what, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::{failed, ftp};

/// `serve` on a port that the system chose, and what it said at its start.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) said: String,
    /// What it says after its start, a line each.
    pub(crate) log: Receiver<String>,
}

impl Served {
    pub(crate) fn start(root: &TempRoot, arguments: &[&str]) -> Self {
        Self::of(ftp(&["serve", "--listen", "0"]).args(arguments).arg(root.path()))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut running = Running::start(command.stderr(Stdio::piped()).stdin(Stdio::null()));
        let mut lines = BufReader::new(running.child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let (mut address, mut rights) = (None, false);
        while address.is_none() || !rights {
            let line = lines.next().expect("serve says more").unwrap();
            if let Some((_, at)) = line.split_once("listening on ") {
                address = at.parse().ok();
            }
            rights |= line.contains(" may ");
            said.push_str(&line);
            said.push('\n');
        }
        // The pipe stays open, and is read, for as long as the server logs.
        let (send, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(send.send(line)));
        });
        Self { running, address: address.unwrap(), said, log }
    }

    /// What it said until it listened.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn url(&self, login: &str, name: &str) -> String {
        format!("ftp://{login}{}/{name}", self.address)
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.running.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

fn put(url: &str) -> Option<i32> {
    run_with(&mut ftp(&["put", "-", url]), b"new", LIMIT).code()
}

fn get(url: &str) -> Option<i32> {
    run(&mut ftp(&["get", url, "-"])).code()
}

#[test]
fn without_options_anyone_may_read_and_nobody_write() {
    let root = TempRoot::new();
    root.write("file", b"x");
    let served = Served::start(&root, &[]);
    assert!(served.said.contains("anyone (anonymous) may read\n"), "{}", served.said);
    assert!(served.address.ip().is_loopback());
    assert_eq!(get(&served.url("", "file")), Some(0));
    assert_eq!(put(&served.url("", "new")), Some(8));
    assert_eq!(get(&served.url("u:p@", "file")), Some(6));
    assert_eq!(root.names(), [b"file"]);
}

#[test]
fn users_switch_anonymous_off_and_write_switches_writing_on() {
    let root = TempRoot::new();
    root.write("file", b"x");
    let mut serve = ftp(&["serve", "--listen", "127.0.0.1:0", "--user", "a:p:q", "-u", "b"]);
    serve.arg("--write").arg(root.path()).env("FTP_PASSWORD", "hidden");
    let served = Served::of(&mut serve);
    assert!(!served.said.contains("hidden") && !served.said.contains("p:q"), "{}", served.said);
    assert_eq!(get(&served.url("", "file")), Some(6));
    assert_eq!(get(&served.url("b:wrong@", "file")), Some(6));
    assert_eq!(put(&served.url("a:p%3Aq@", "a")), Some(0));
    assert_eq!(put(&served.url("b:hidden@", "b")), Some(0));
    assert_eq!(root.read("a"), b"new");

    let served = Served::start(&root, &["--user", "a:p", "--anonymous", "--write"]);
    assert_eq!(get(&served.url("", "file")), Some(0));
    assert_eq!(put(&served.url("", "c")), Some(8));
    assert_eq!(put(&served.url("a:p@", "c")), Some(0));
}

/// What curl says last of an upload, and the code it ends with.
fn curl_put(curl: &Peer, url: &str, content: &[u8]) -> (Option<i32>, String) {
    let mut command = curl.command();
    command.args(["--silent", "--show-error", "--max-time", "30", "-T", "-", url]);
    let ran = run_with(&mut command, content, LIMIT);
    (ran.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_drop_box_takes_what_is_new_and_tells_nothing() {
    let Some(curl) = Peer::find("curl") else { return };
    let root = TempRoot::new();
    root.write("there", b"not yours");
    for (arguments, login) in [
        (&["--drop-box"][..], "ftp:x"),
        (&["--drop-box", "--user", "cam:p"], "cam:p"),
        (&["--drop-box", "--user", "cam:p", "--anonymous"], "anonymous:x"),
    ] {
        let served = Served::start(&root, arguments);
        let name = format!("new{}", login.len() + arguments.len());
        let url = served.url(&format!("{login}@"), &name);
        assert_eq!(curl_put(&curl, &url, b"handed in"), (Some(0), String::new()));
        assert_eq!(root.read(&name), b"handed in");
        // 25 is what curl ends with where STOR is refused.
        let (code, said) = curl_put(&curl, &url, b"again");
        assert_eq!(code, Some(25), "{said}");
        assert!(said.contains("553"), "{said}");
        assert_eq!(root.read(&name), b"handed in");

        let (user, password) = login.split_once(':').unwrap();
        let mut session = RawSession::login(served.address, user, password);
        for verb in
            ["LIST", "NLST", "MLSD", "STAT", "MLST", "SIZE", "MDTM", "RETR", "HASH", "APPE", "DELE"]
        {
            let mut answer = |name: &str| {
                let _data = session.passive();
                let reply = session.ask(format!("{verb} {name}"));
                assert_eq!(reply.code, 550, "{verb} {name}");
                reply.text().replace(name, "NAME")
            };
            assert_eq!(answer("there"), answer("absent"), "{verb}");
        }
        let _data = session.passive();
        session.expect("LIST", 550);
    }
    assert_eq!(root.read("there"), b"not yours");
    let refused = run(&mut ftp(&["serve", "--drop-box", "--write", "/"]));
    failed(&refused, 2, "--drop-box lets users hand files in and nothing else, --write lets");
}

#[test]
fn settings_reach_the_server() {
    let root = TempRoot::new();
    root.write("file", b"x");
    let settings = [
        "server.banner=\"Hello there\"",
        "hosts.names=\"\"",
        "active.enabled=false",
        "transfer.overwrite=false",
    ];
    let mut arguments = vec!["--write"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let served = Served::start(&root, &arguments);
    let ran = run(&mut ftp(&["get", "--trace", &served.url("", "file"), "-"]));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("< 220 Hello there"), "{ran:?}");
    assert_eq!(put(&served.url("", "file")), Some(8));
    let active = run(&mut ftp(&["get", "--active", &served.url("", "file"), "-"]));
    assert_ne!(active.code(), Some(0), "{active:?}");
}

#[test]
fn nobody_fills_the_log_with_names_of_clients_cm_28_ho_06() {
    let root = TempRoot::new();
    let served = Served::start(&root, &[]);
    let long = "x".repeat(4_000);
    let mut session = RawSession::greeted(served.address);
    session.expect(format!("CLNT \x1b[2J{long}"), 200);
    for number in 0..200 {
        session.expect(format!("CLNT again {number}"), 200);
        session.expect("REIN", 220);
    }
    // Logged behind all of that.
    session.expect("USER anonymous", 331);
    session.expect("PASS x", 230);
    let lines: Vec<_> = std::iter::from_fn(|| served.log.recv_timeout(LIMIT).ok())
        .take_while(|line| !line.contains(" login session="))
        .collect();
    let [line] = &lines[..] else { panic!("{} lines: {lines:?}", lines.len()) };
    assert!(line.contains("client is \\x1b[2Jx") && !line.contains('\x1b'), "{line}");
    assert_eq!(line.matches('x').count(), 256 - 4 + 1, "256 bytes, of which one is escaped");
}

#[test]
fn an_address_that_is_taken_is_the_networks_fault() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    failed(&run(&mut ftp(&["serve", "-q", "--listen", &address, "/"])), 4, &address);
    failed(&run(&mut ftp(&["serve", "/nonexistent"])), 3, "/nonexistent");
}

#[test]
fn a_signal_ends_it_well_and_a_second_cuts() {
    let root = TempRoot::new();
    for signal in ["TERM", "INT"] {
        let mut served = Served::start(&root, &[]);
        served.signal(signal);
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}");
    }
    // A transfer that does not end: the first signal waits for it.
    root.write("large", &vec![0; 50_000_000]);
    let mut served = Served::start(&root, &[]);
    let mut stuck = Running::start(
        ftp(&["get", &served.url("", "large"), "-"]).stdout(Stdio::piped()).stderr(Stdio::null()),
    );
    let mut first = [0; 1];
    std::io::Read::read_exact(stuck.child.stdout.as_mut().unwrap(), &mut first).unwrap();
    served.signal("TERM");
    assert_eq!(served.running.wait(Instant::now() + Duration::from_millis(300)), None);
    served.signal("TERM");
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(143));
}
