//! `serve`: what users may do, and how the server ends.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ftp_tests::network::in_own_network;
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use crate::{failed, ftp};

/// `serve` on a port that the system chose, with its first log lines.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) said: String,
    /// Its log after the start, line by line.
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
        // The pipe stays open, and is read, as long as the server logs.
        let (send, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(send.send(line)));
        });
        Self { running, address: address.unwrap(), said, log }
    }

    /// Its log until it listened.
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
fn the_printed_urls_work() {
    let root = TempRoot::new();
    root.write("file", b"x");
    for (arguments, whose) in
        [(&["-p", "0"][..], "clients on this computer can use "), (&["--listen", ":0"], "clients ")]
    {
        let served = Served::of(ftp(&["serve"]).args(arguments).arg(root.path()));
        let line = served.said.lines().find(|line| line.contains(whose)).unwrap();
        let (_, urls) = line.split_once("can use ").unwrap();
        for url in urls.split(", ").map(|url| url.split(' ').next().unwrap()) {
            assert!(url.ends_with(&format!(":{}/", served.address.port())), "{line}");
            assert_eq!(get(&format!("{url}file")), Some(0), "{line}");
        }
    }
    for (arguments, words) in [
        (&["-p", ":2121"][..], "--port: invalid port \":2121\": expected a number"),
        (&["-p", "70000"], "--port: invalid port"),
        (&["-p", "1", "--listen", "2"], "--port and --listen exclude each other"),
    ] {
        failed(&run(ftp(&["serve"]).args(arguments).arg(root.path())), 2, words);
    }
}

#[test]
fn plaintext_passwords_beyond_this_computer_cause_a_warning() {
    if !in_own_network(
        "serve::plaintext_passwords_beyond_this_computer_cause_a_warning",
        &["10.0.0.2/24"],
    ) {
        return;
    }
    let root = TempRoot::new();
    for (arguments, is_warned) in [
        (&["--listen", ":0", "-u", "me:secret"][..], true),
        (&["--listen", "10.0.0.2:0", "-u", "me:secret"], true),
        (&["--listen", "0", "-u", "me:secret"], false),
        (&["--listen", ":0"], false),
    ] {
        let served = Served::of(ftp(&["serve"]).args(arguments).arg(root.path()));
        let warning =
            "warning: clients can send passwords unencrypted to 10.0.0.2; use --tls-self-signed";
        assert_eq!(served.said.contains(warning), is_warned, "{}", served.said);
        let is_named = served.said.contains("me@10.0.0.2:");
        assert_eq!(is_named, is_warned, "{}", served.said);
    }
}

#[test]
fn by_default_anonymous_clients_may_only_read() {
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
fn option_user_disables_anonymous_and_write_allows_uploads() {
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

/// Returns curl's last message about an upload, and its exit code.
fn curl_put(curl: &Peer, url: &str, content: &[u8]) -> (Option<i32>, String) {
    let mut command = curl.command();
    command.args(["--silent", "--show-error", "--max-time", "60", "-T", "-", url]);
    let ran = run_with(&mut command, content, LIMIT);
    (ran.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_drop_box_accepts_new_files_and_discloses_nothing() {
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
        // curl ends with 25 if STOR is refused.
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
    failed(&refused, 2, "--drop-box and --write exclude each other");
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
fn clnt_is_logged_once_and_truncated_cm_28_ho_06() {
    let root = TempRoot::new();
    let served = Served::start(&root, &[]);
    let long = "x".repeat(4_000);
    let mut session = RawSession::greeted(served.address);
    session.expect(format!("CLNT \x1b[2J{long}"), 200);
    for number in 0..200 {
        session.expect(format!("CLNT again {number}"), 200);
        session.expect("REIN", 220);
    }
    // Logged after everything above.
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
fn an_address_in_use_is_a_network_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    failed(&run(&mut ftp(&["serve", "-q", "--listen", &address, "/usr"])), 4, &address);
    failed(&run(&mut ftp(&["serve", "/proc/none"])), 3, "/proc/none");
}

#[test]
fn a_signal_ends_the_server_with_status_0_st_13_hf_15() {
    let root = TempRoot::new();
    for signal in ["TERM", "INT"] {
        let mut served = Served::start(&root, &[]);
        served.signal(signal);
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

/// Clients in the middle of a transfer each, and an idle one.
struct Busy {
    idle: RawSession,
    upload: (RawSession, RawData),
    replacement: (RawSession, RawData),
    download: (RawSession, RawData),
}

impl Busy {
    /// `old` and `large` exist before; `half` is the received part of each upload.
    fn begin(served: &Served, half: &[u8]) -> Self {
        let login = || RawSession::login(served.address, "u", "p");
        let begin = |line: &str| {
            let mut session = login();
            session.expect("TYPE I", 200);
            let data = session.passive();
            session.expect(line, 150);
            (session, data)
        };
        let mut busy = Self {
            idle: login(),
            upload: begin("STOR new"),
            replacement: begin("STOR old"),
            download: begin("RETR large"),
        };
        busy.upload.1.write_all(half);
        busy.replacement.1.write_all(half);
        let _ = busy.download.1.read_exact(1);
        busy
    }
}

#[test]
fn a_second_signal_interrupts_transfers_that_can_be_resumed_fs_15_st_13_hf_15() {
    let root = TempRoot::new();
    root.write("old", b"old");
    std::fs::File::create(root.join("large")).unwrap().set_len(1 << 30).unwrap();
    let content = ftp_tests::content::binary(300_000, 15);
    let half = content.len() / 2;
    for (signal, goes_on) in [("TERM", "REST"), ("INT", "APPE")] {
        // The grace is longer than this test may take.
        let grace = ["--user", "u:p", "--write", "--set", "timeouts.shutdown_grace=10 min"];
        // A slow sync must not use up the time that the shutdown waits.
        let quick = [&grace[..], &["--set", "transfer.sync=none"]].concat();
        let mut served = Served::start(&root, &quick);
        let mut busy = Busy::begin(&served, &content[..half]);
        // Bytes in the server's socket count as received.
        let process = served.running.child.id();
        wait_until("the first half", || {
            let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
            let lengths = open.filter_map(|fd| std::fs::metadata(fd.path()).ok());
            lengths.filter(|file| file.is_file() && file.len() == half as u64).count() == 2
        });
        served.signal(signal);
        busy.idle.expect_reply(421);
        busy.idle.expect_closed();
        assert_eq!(served.running.wait(Instant::now() + Duration::from_millis(300)), None);
        served.signal(signal);
        for (session, data) in [busy.upload, busy.replacement, busy.download] {
            let mut session = session;
            session.expect_reply(426);
            session.expect_reply(421);
            session.expect_closed();
            drop(data);
        }
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}");
        let lines: Vec<_> = served.log.iter().collect();
        assert!(
            lines.iter().any(|line| line.ends_with("sessions ended: 1, aborted: 3")),
            "{lines:?}"
        );
        assert_eq!(lines.iter().filter(|line| line.contains(" end=cut reply=426")).count(), 3);
        assert_eq!(root.read("old"), b"old");
        assert!(!root.join("new").exists(), "half a file under its name");

        let served = Served::start(&root, &["--user", "u:p", "--write"]);
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        // Always less than a client may have sent.
        let told = half - 1;
        assert_eq!(session.expect("SIZE new", 213).text(), format!("213 {told}"));
        match goes_on {
            "REST" => {
                session.expect(format!("REST {told}"), 350);
                session.upload("STOR new", &content[told..]);
            }
            _ => session.upload("APPE new", &content[told..]),
        }
        assert!(root.read("new") == content, "{goes_on}: {} bytes", root.read("new").len());
        session.expect("DELE new", 250);
        session.expect("QUIT", 221);
        assert_eq!(root.published(), [&b"large"[..], b"old"]);
    }
}

#[test]
fn a_stalled_transfer_does_not_delay_the_shutdown_st_13() {
    let root = TempRoot::new();
    std::fs::File::create(root.join("large")).unwrap().set_len(1 << 30).unwrap();
    // The grace is longer than this test may take.
    let grace = ["--user", "u:p", "--write", "--set", "timeouts.shutdown_grace=10 min"];
    let mut served = Served::start(&root, &grace);
    let begin = |line: &str| {
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        let data = session.passive();
        session.expect(line, 150);
        (session, data)
    };
    let (mut still, unread) = begin("RETR large");
    let (mut moving, mut upload) = begin("STOR new");
    served.signal("TERM");
    // The upload continues while the server waits for a download that its client does not read.
    let control = still.stream();
    control.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (end, mut sent) = (Instant::now() + LIMIT, 0);
    while control.peek(&mut [0]).is_err() {
        assert!(Instant::now() < end, "still waited for");
        upload.write_all(b"x");
        sent += 1;
    }
    still.expect_reply(426);
    still.expect_reply(421);
    drop(unread);
    drop(upload);
    moving.expect_reply(226);
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(root.read("new").len(), sent);
    let lines: Vec<_> = served.log.iter().collect();
    let waits = "stopping: waiting up to 10 min for 2 transfers; a second signal aborts them";
    assert!(lines.iter().any(|line| line.ends_with(waits)), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("sessions ended: 1, aborted: 1")), "{lines:?}");
}

/// Returns the processor time of a process so far, in ticks: its own and the kernel's.
fn processor_time(process: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).collect::<Vec<_>>().join(" ")
}

/// A session whose client reads no replies, so it can neither continue nor report its end.
fn unread(served: &Served) -> RawSession {
    let session = RawSession::login(served.address, "u", "p");
    let mut stream = session.stream();
    stream.set_nonblocking(true).unwrap();
    let lines = "HELP\r\n".repeat(1_000);
    // This server neither accepts more lines nor handles those it has.
    let (mut since, mut worked) = (Instant::now(), String::new());
    while since.elapsed() < Duration::from_millis(500) {
        let taken = stream.write(lines.as_bytes()).unwrap_or_default();
        let works = processor_time(served.running.child.id());
        if taken > 0 || works != worked {
            (since, worked) = (Instant::now(), works);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    session
}

/// Sends a signal three times, the last time while the server waits for an unread session. Returns
/// the exit code.
fn signalled_three_times(signal: &str) -> Option<i32> {
    let root = TempRoot::new();
    root.write("old", b"old");
    std::fs::File::create(root.join("large")).unwrap().set_len(1 << 30).unwrap();
    // A slow sync must not use up the time that the shutdown waits.
    let quick = ["--user", "u:p", "--write", "--set", "transfer.sync=none"];
    let mut served = Served::start(&root, &quick);
    let (mut busy, _unread) = (Busy::begin(&served, b"half"), unread(&served));
    served.signal(signal);
    busy.idle.expect_reply(421);
    served.signal(signal);
    busy.upload.0.expect_reply(426);
    // The server now waits briefly for the unread session.
    served.signal(signal);
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(root.read("old"), b"old");
    status.code()
}

#[test]
fn a_third_signal_ends_the_server_at_once_st_13_hf_15() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        // On a busy machine, that wait may be over before the third signal arrives.
        at_last(signal, || (signalled_three_times(signal) == Some(code)).then_some(()));
    }
}

#[test]
fn an_unresponsive_client_does_not_block_the_shutdown_st_13() {
    let root = TempRoot::new();
    let mut served = Served::start(&root, &["--user", "u:p"]);
    let (mut idle, _unread) = (RawSession::login(served.address, "u", "p"), unread(&served));
    served.signal("TERM");
    idle.expect_reply(421);
    served.signal("TERM");
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
}
