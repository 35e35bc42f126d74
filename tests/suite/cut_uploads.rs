//! Clients that become silent during an upload, as if a cable were cut, and that resume it later.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ftp_client::Client;
use ftp_client::file::Side;
use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{LocalStorage, Rights, Server, ServerConfig, Storage, Timeouts, VirtualPath};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::fxp;
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process_group};

use super::interop_curl::curl;

/// The length of an upload that is cut: at the rate of the slow clients it takes 20 seconds.
const LENGTH: usize = 4_000_000;

/// Our server with a storage that reports the progress of an upload.
struct Watched {
    server: Server,
    /// A server of the same storage that soon gives up a silent client. A client that a busy
    /// machine delays is silent too.
    impatient: Server,
    storage: FaultStorage,
    root: TempRoot,
}

impl Watched {
    fn start() -> Self {
        let root = TempRoot::new();
        let storage = FaultStorage::new(LocalStorage::open(root.path()).expect("a storage"));
        let short = ServerConfig::new().timeouts(Timeouts::new().stall(Duration::from_secs(2)));
        let start = |config| {
            let server = Server::builder().config(config).storage(storage.clone());
            server.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server")
        };
        let (server, impatient) = (start(ServerConfig::default()), start(short));
        Self { server, impatient, storage, root }
    }

    /// Stops a client of the impatient server when some of its upload has arrived, and waits until
    /// the server has given up.
    #[track_caller]
    fn interrupt_midway(&self, mut client: Running) {
        let before = self.storage.count(StorageCall::UploadWrite);
        let some = || (self.storage.count(StorageCall::UploadWrite) > before + 3).then_some(());
        // The server may have given up a client that was delayed. The upload is then kept already.
        if client.wait_until(LIMIT, some).is_ok() {
            kill_process_group(Pid::from_child(&client.child), Signal::STOP).expect("it runs");
        }
        wait_until_partial_file_is_kept(&self.storage);
        assert!(self.root.published().is_empty(), "it is published");
    }
}

/// Waits until an upload is kept and no session writes to it any more.
#[track_caller]
fn wait_until_partial_file_is_kept(storage: &FaultStorage) {
    let path = VirtualPath::root().join(b"there");
    wait_until("the client is given up", || {
        storage.unfinished(&path, Some(b"u")).is_ok_and(|found| found.is_some_and(|it| it.kept > 0))
    });
}

#[test]
fn curl_resumes_an_interrupted_upload_fs_15() {
    let Some(peer) = Peer::find("curl") else { return };
    for way in [&[][..], &["--disable-epsv"]] {
        let (watched, local) = (Watched::start(), TempRoot::new());
        let content = binary(LENGTH, 1);
        let source = local.write("source", &content);
        let begin = |server: &Server, more: &[&str]| {
            let mut command = curl(&peer);
            command.args(way).args(more).arg("-T").arg(&source);
            command.arg(format!("ftp://u:p@{}/there", server.local_addr()));
            command
        };
        for continued in [&[][..], &["-C", "-"]] {
            let mut slow = begin(&watched.impatient, &["--limit-rate", "200K"]);
            slow.args(continued).stdout(Stdio::null()).stderr(Stdio::null());
            watched.interrupt_midway(Running::start(&mut slow));
        }
        let said = run(&mut begin(&watched.server, &["-C", "-"]));
        let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
        said.succeeded();
        // It did not send everything again.
        assert!(dialogue.contains("> APPE there") && !dialogue.contains("> STOR"), "{dialogue}");
        assert_same("what came in three parts", &watched.root.read("there"), &content);
        assert_eq!(watched.root.names(), [b"there"]);
    }
}

#[test]
fn curl_restarts_an_upload_after_dele_fs_15_cm_90() {
    let Some(peer) = Peer::find("curl") else { return };
    let (watched, local) = (Watched::start(), TempRoot::new());
    let content = binary(LENGTH, 3);
    let source = local.write("source", &content);
    let address = watched.server.local_addr();
    let begin = |server: &Server| {
        let mut command = curl(&peer);
        command.arg("-T").arg(&source).arg(format!("ftp://u:p@{}/there", server.local_addr()));
        command
    };
    let mut slow = begin(&watched.impatient);
    slow.args(["--limit-rate", "200K"]).stdout(Stdio::null()).stderr(Stdio::null());
    watched.interrupt_midway(Running::start(&mut slow));
    // A 5yz reply would end the program here.
    run(curl(&peer).args(["-Q", "DELE there"]).arg(format!("ftp://u:p@{address}/"))).succeeded();
    assert!(watched.root.names().is_empty(), "{:?}", watched.root.names());
    let said = run(begin(&watched.server).args(["-C", "-"]));
    let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
    said.succeeded();
    assert!(dialogue.contains("> STOR there") && !dialogue.contains("> APPE"), "{dialogue}");
    assert_same("what came anew", &watched.root.read("there"), &content);
}

#[test]
fn lftp_resumes_an_interrupted_upload_fs_15() {
    let Some(peer) = Peer::find("lftp") else { return };
    let (watched, local, home) = (Watched::start(), TempRoot::new(), TempRoot::new());
    let content = binary(LENGTH, 2);
    local.write("source", &content);
    let begin = |server: &Server, settings: &str, options: &str| {
        let script = format!(
            "set net:max-retries 1; set net:timeout 20; set net:reconnect-interval-base 1;\n\
             set net:reconnect-interval-max 1; set cmd:fail-exit yes; debug 5;\n\
             {settings}\nopen -u u,p ftp://{}\nput {options} source -o there\n",
            server.local_addr()
        );
        let script = home.write("script", script.as_bytes());
        let mut command = peer.command();
        command.env("HOME", home.path()).current_dir(local.path()).arg("-f").arg(script);
        command
    };
    for options in ["", "-c"] {
        let mut slow = begin(&watched.impatient, "set net:limit-rate 0:200000;", options);
        slow.stdout(Stdio::null()).stderr(Stdio::null());
        watched.interrupt_midway(Running::start(&mut slow));
    }
    let said = run(&mut begin(&watched.server, "", "-c"));
    let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
    said.succeeded();
    assert!(dialogue.contains("REST "), "{dialogue}");
    assert_same("what came in three parts", &watched.root.read("there"), &content);
    assert_eq!(watched.root.names(), [b"there"]);
}

#[test]
fn lftp_replaces_a_file_completely_after_a_lost_connection_fs_13_fs_15() {
    let Some(peer) = Peer::find("lftp") else { return };
    let content = binary(2_000_000, 4);
    // lftp takes a file that is not shorter for the whole. It misreads the end of a shorter one.
    std::thread::scope(|scope| {
        for length in [700_000, 1_960_000, 2_000_000, 2_500_000] {
            let (peer, content) = (&peer, &content);
            let old = binary(length, 5);
            scope.spawn(move || {
                wait_until("an upload is cut", || lftp_replaces_completely(peer, &old, content));
            });
        }
    });
}

/// Returns false if the upload was complete before the client could be stopped, or if the client
/// read its own file wrongly.
fn lftp_replaces_completely(peer: &Peer, old: &[u8], content: &[u8]) -> bool {
    let (watched, local, home) = (Watched::start(), TempRoot::new(), TempRoot::new());
    local.write("source", content);
    watched.root.write("there", old);
    let script = format!(
        "set net:max-retries 5; set net:reconnect-interval-base 1; set net:timeout 20;\n\
         set cmd:fail-exit yes; set net:limit-rate 0:500000; debug 5;\n\
         open -u u,p ftp://{}\nput source -o there\n",
        watched.impatient.local_addr()
    );
    let script = home.write("script", script.as_bytes());
    let mut command = peer.command();
    command.env("HOME", home.path()).current_dir(local.path()).arg("-f").arg(script);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = Running::start(&mut command);
    let count = |call| watched.storage.count(call);
    let some = || (count(StorageCall::UploadWrite) > 3).then_some(());
    let begun = client.wait_until(LIMIT, some);
    let group = Pid::from_child(&client.child);
    kill_process_group(group, Signal::STOP).expect("it runs");
    let is_stored = || count(StorageCall::UploadCommit) > 0;
    wait_until("the server gives up", || count(StorageCall::UploadAbort) > 0 || is_stored());
    if is_stored() {
        return false;
    }
    begun.expect("an upload goes on");
    kill_process_group(group, Signal::CONT).expect("it runs");
    // It asks for SIZE, and resumes. lftp 4.9.2 sometimes does nothing more after the 226.
    let Some(end) = client.wait(Instant::now() + LIMIT / 4) else {
        assert!(is_stored(), "the upload was not completed");
        return false;
    };
    assert!(end.success(), "{end}");
    let stored = watched.root.read("there");
    if let Some(at) = stored.iter().zip(content).position(|(one, other)| one != other) {
        // lftp 4.9.2 sometimes goes on at another place of its own file, which no server can see.
        let piece = &stored[at..stored.len().min(at + 64)];
        let is_own = content.windows(piece.len()).any(|window| window == piece);
        assert!(is_own, "bytes from {at} on are not those of the client");
        return false;
    }
    assert_same("what came at last", &stored, content);
    true
}

/// Kills a client when the server has received everything, and does not reply; then waits until the
/// server has given up.
#[track_caller]
fn kill_at_the_end(storage: &FaultStorage, mut client: Running) {
    let before = storage.count(StorageCall::UploadPrepareCommit);
    let all = || (storage.count(StorageCall::UploadPrepareCommit) > before).then_some(());
    client.wait_until(LIMIT, all).expect("an upload comes to its end");
    kill_process_group(Pid::from_child(&client.child), Signal::KILL).expect("it runs");
    wait_until_partial_file_is_kept(storage);
}

/// A script that resumes an upload after a timeout.
const SCRIPT: &str = "
import ftplib, os, sys
port, source, slow = sys.argv[1:]
ftp = ftplib.FTP(timeout=30)
ftp.connect('127.0.0.1', int(port))
ftp.login('u', 'p')
ftp.voidcmd('TYPE I')
try:
    there = ftp.size('there')
except ftplib.error_perm:
    there = 0
with open(source, 'rb') as file:
    if there < os.path.getsize(source):
        file.seek(there)
        ftp.storbinary('STOR there', file, rest=there or None)
";

#[test]
fn clients_that_resume_never_add_to_the_old_file_fs_13_fs_15() {
    let root = TempRoot::new();
    let server = Server::builder().root(root.path()).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr();
    let (local, home) = (TempRoot::new(), TempRoot::new());
    let (old, new) = (binary(100_000, 5), binary(300_000, 6));
    let source = local.write("source", &new);
    let port = address.port().to_string();
    let lftp = format!("open -u u,p ftp://{address}; put -c {} -o there", source.display());
    for (program, arguments, replaces) in [
        ("curl", &["-sS", "-C", "-", "-T", "SOURCE", "ftp://u:p@ADDRESS/there"][..], true),
        ("lftp", &["-c", &lftp], true),
        // It takes the 554 for the end.
        (
            "ncftpput",
            &["-z", "-u", "u", "-p", "p", "-P", &port, "-C", "127.0.0.1", "SOURCE", "there"],
            false,
        ),
    ] {
        let Some(peer) = Peer::find(program) else { continue };
        root.write("there", &old);
        let mut session = RawSession::login(address, "u", "p");
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect("STOR there", 150);
        data.write_all(&new[..50_000]);
        data.reset();
        session.expect_reply(426);
        let mut command = peer.command();
        command.env("HOME", home.path());
        for argument in arguments {
            let text = argument.replace("SOURCE", source.to_str().expect("a path"));
            command.arg(text.replace("ADDRESS", &address.to_string()));
        }
        let done = run(&mut command);
        assert_eq!(
            done.status.is_some_and(|status| status.success()),
            replaces,
            "{program}: {done:?}"
        );
        assert_same(program, &root.read("there"), if replaces { &new } else { &old });
    }
}

#[test]
fn clients_resume_an_upload_whose_last_reply_never_came_fs_15() {
    let content = binary(300_000, 4);
    let local = TempRoot::new();
    let source = local.write("source", &content);
    let script = local.write("script.py", SCRIPT.as_bytes());
    let begin = |client: &str, peer: &Peer, address: SocketAddr, resumes: bool| match client {
        "curl" => {
            let mut command = curl(peer);
            command.args(if resumes { &["-C", "-"][..] } else { &[] });
            command.arg("-T").arg(&source).arg(format!("ftp://u:p@{address}/there"));
            command
        }
        "lftp" => {
            let option = if resumes { "-c" } else { "" };
            let script = format!(
                "set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes;\n\
                 open -u u,p ftp://{address}\nput {option} source -o there\n"
            );
            let script = local.write("script.lftp", script.as_bytes());
            let mut command = peer.command();
            command.env("HOME", local.path()).current_dir(local.path()).arg("-f").arg(script);
            command
        }
        _ => {
            let mut command = peer.command();
            command.arg(&script).arg(address.port().to_string()).arg(&source).arg("slow");
            command
        }
    };
    for (client, peer) in [
        ("curl", Peer::find("curl")),
        ("lftp", Peer::find("lftp")),
        ("ftplib", Peer::python("ftplib")),
    ] {
        let Some(peer) = peer else { continue };
        let root = TempRoot::new();
        let storage = LocalStorage::open(root.path()).expect("a storage");
        let storage = FaultStorage::new(storage);
        // The sync of its files never ends.
        let stuck = storage.clone().from(StorageCall::UploadPrepareCommit, 1, Fault::NotYet);
        let serve = |storage: &FaultStorage| {
            let server = Server::builder().storage(storage.clone()).user("u", "p", Rights::FULL);
            server.bind("127.0.0.1:0").expect("a server")
        };
        let (server, stuck) = (serve(&storage), serve(&stuck));
        for resumes in [false, true] {
            let mut command = begin(client, &peer, stuck.local_addr(), resumes);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            kill_at_the_end(&storage, Running::start(&mut command));
        }
        run(&mut begin(client, &peer, server.local_addr(), true)).succeeded();
        // The client reports success: then the file exists.
        assert_eq!(root.names(), [b"there"], "{client}");
        assert_same("what came at last", &root.read("there"), &content);
    }
}

/// Returns the number of received bytes that `STAT` reports.
fn moved(session: &mut RawSession) -> Option<u64> {
    let reply = session.expect("STAT", 211);
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    let (_, moved) = text.split_once("in progress: ")?;
    moved.split(' ').next()?.parse().ok()
}

#[test]
fn fxp_resumes_an_upload_after_a_lost_226_fs_15_fx_12() {
    let content = binary(100_000, 4);
    let source = Watched::start();
    source.root.write("file", &content);
    let client = |watched: &Watched| {
        let mut client = Client::builder().connect(&watched.server.local_addr().to_string())?;
        client.login("u", "p").map(|_| client)
    };
    for listener in [Side::Target, Side::Source] {
        for count in [2, 60_000, 99_999, 100_000] {
            let target = Watched::start();
            let mut session = RawSession::login(target.server.local_addr(), "u", "p");
            session.expect("TYPE I", 200);
            let mut data = session.passive();
            session.expect("STOR there", 150);
            data.write_all(&content[..count]);
            wait_until("the bytes are read", || moved(&mut session) == Some(count as u64));
            drop(session);
            wait_until_partial_file_is_kept(&target.storage);
            drop(data);
            assert!(!target.root.names().contains(&b"there".to_vec()), "it is not published");

            let (mut from, mut to) = (client(&source).unwrap(), client(&target).unwrap());
            let options = fxp::to(listener).resume(ftp_client::Resume::Trusted);
            let what = format!("{count} bytes, {listener:?}");
            let report = fxp::copied(&mut from, "file", &mut to, "there", options)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            // The client must send at least the last byte to get the 226.
            assert_eq!(report.offset, count as u64 - 1, "{what}");
            assert!(report.listener.is_some(), "{what}");
            assert_same(&what, &target.root.read("there"), &content);
            assert_eq!(target.root.names(), [b"there"], "{what}");
        }
    }
}

/// Bytes of an upload, a part of which has arrived when its connection breaks.
const CONTINUED: usize = 400_000;
const ARRIVED: usize = 250_000;

/// Lets an upload of `new` to `there` be cut after [`ARRIVED`] bytes.
fn cut_at_arrived(server: &Server, new: &[u8]) {
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("STOR there", 150);
    data.write_all(&new[..ARRIVED]);
    wait_until("the bytes are read", || moved(&mut session) == Some(ARRIVED as u64));
    data.reset();
    session.expect_reply(426);
}

/// A script that resumes after a number of bytes that it has counted itself.
const COUNTED: &str = "
import ftplib, sys
port, source, count = sys.argv[1:]
ftp = ftplib.FTP(timeout=30)
ftp.connect('127.0.0.1', int(port))
ftp.login('u', 'p')
with open(source, 'rb') as file:
    file.seek(int(count))
    ftp.storbinary('STOR there', file, rest=int(count))
";

#[test]
fn no_way_to_resume_confirms_a_file_that_nobody_has_sent_fs_13_fs_15() {
    let (local, new) = (TempRoot::new(), binary(CONTINUED, 8));
    let source = local.write("source", &new).to_str().expect("a path").to_owned();
    let script = local.write("script.py", COUNTED.as_bytes()).to_str().expect("a path").to_owned();
    let counts: Vec<String> = [1, ARRIVED / 2, ARRIVED - 1, ARRIVED, ARRIVED + 1, CONTINUED - 1]
        .map(|count| count.to_string())
        .into();
    let mut ways = Vec::new();
    for count in &counts {
        let curl = ["-sS", "-m", "30", "-C", count, "-T", "SOURCE", "ftp://u:p@ADDRESS/there"];
        ways.push(("curl", curl.map(str::to_owned).to_vec()));
        let ftplib = [&*script, "PORT", "SOURCE", count];
        ways.push(("ftplib", ftplib.map(str::to_owned).to_vec()));
    }
    let curl = ["-sS", "-m", "30", "-C", "-", "-T", "SOURCE", "ftp://u:p@ADDRESS/there"];
    ways.push(("curl", curl.map(str::to_owned).to_vec()));
    let ncftpput = ["-z", "-u", "u", "-p", "p", "-P", "PORT", "-C", "127.0.0.1", "SOURCE", "there"];
    ways.push(("ncftpput", ncftpput.map(str::to_owned).to_vec()));
    let lftp = "set net:max-retries 1; set net:timeout 20; open -u u,p ftp://ADDRESS; \
                put -c SOURCE -o there";
    ways.push(("lftp", vec!["-c".to_owned(), lftp.to_owned()]));

    // A plain run does every way over one of these files, in turn.
    let olds = [None, Some(binary(100_000, 9)), Some(binary(CONTINUED + 1, 9))];
    for (turn, old) in olds.into_iter().enumerate() {
        for (program, arguments) in ways.iter().skip(count(turn, 0)).step_by(count(3, 1)) {
            let found =
                if *program == "ftplib" { Peer::python(program) } else { Peer::find(program) };
            let Some(peer) = found else { continue };
            let root = TempRoot::new();
            let server = Server::builder().root(root.path()).user("u", "p", Rights::FULL);
            let server = server.bind("127.0.0.1:0").expect("a server");
            if let Some(old) = &old {
                root.write("there", old);
            }
            cut_at_arrived(&server, &new);
            let address = server.local_addr();
            let mut command = peer.command();
            command.env("HOME", local.path());
            command.args(arguments.iter().map(|argument| {
                let argument = argument.replace("SOURCE", &source);
                let argument = argument.replace("ADDRESS", &address.to_string());
                argument.replace("PORT", &address.port().to_string())
            }));
            let done = run(&mut command);
            let length = old.as_ref().map(Vec::len);
            let what = format!("{program} {arguments:?} over {length:?}: {done:?}");
            let there = root.names().contains(&b"there".to_vec()).then(|| root.read("there"));
            assert!(there == old || there.as_deref() == Some(&new[..]), "{what}");
            // ncftpput and lftp believe that a file which is not shorter is complete.
            if done.status.is_some_and(|status| status.success()) && length != Some(CONTINUED + 1) {
                assert!(there.as_deref() == Some(&new[..]), "{what}");
            }
        }
    }
}

#[test]
fn the_dialogues_of_filezilla_end_with_the_whole_file_fs_13_fs_15() {
    let new = binary(CONTINUED, 8);
    for old in [None, Some(binary(100_000, 9))] {
        for (asks, command) in [
            (&["SIZE there"][..], "STOR there"),
            (&["SIZE there", "MDTM there"], "STOR there"),
            // It appends where a server has no REST.
            (&["SIZE there"], "APPE there"),
        ] {
            let root = TempRoot::new();
            let server = Server::builder().root(root.path()).user("u", "p", Rights::FULL);
            let server = server.bind("127.0.0.1:0").expect("a server");
            if let Some(old) = &old {
                root.write("there", old);
            }
            cut_at_arrived(&server, &new);
            let mut session = RawSession::login(server.local_addr(), "u", "p");
            session.expect("TYPE I", 200);
            let told = session.expect("SIZE there", 213).text();
            let told: usize = told.trim_start_matches("213 ").parse().expect("a number");
            assert_eq!(told, ARRIVED - 1);
            for line in &asks[1..] {
                session.expect(*line, if old.is_some() { 213 } else { 550 });
            }
            if command.starts_with("STOR") {
                session.expect(format!("REST {told}"), 350);
            }
            session.upload(command, &new[told..]);
            assert_same(command, &root.read("there"), &new);
            assert_eq!(root.names(), [b"there"], "{asks:?}");
        }
    }
}
