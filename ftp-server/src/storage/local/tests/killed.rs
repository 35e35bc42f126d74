//! A server that is killed during uploads, repeatedly. The server is another process of this test
//! program, and SIGKILL ends it at each step of an upload.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use ftp_tests::wait::wait_until;

use super::super::output::{LISTENER, Phase};
use super::*;
use crate::auth::Rights;
use crate::server::Server;

/// The environment variables that control the other process.
const ROOT: &str = "FTP_TEST_KILLED_ROOT";
const PHASE: &str = "FTP_TEST_KILLED_PHASE";

const PHASES: [Phase; 4] = [Phase::Data, Phase::Sync, Phase::Name, Phase::Published];

/// Maximum pause of the server in the phase in which it is to be killed.
const STAND: Duration = Duration::from_secs(600);

/// Maximum duration of any step.
const LIMIT: Duration = Duration::from_secs(60);

/// Large enough that the sync takes a moment, and small enough that writing to disk does not start
/// early.
const LENGTH: usize = 4 << 20;

/// Returns the phase in which this process is to be killed.
fn wanted() -> Option<Phase> {
    let name = std::env::var(PHASE).ok()?;
    PHASES.into_iter().find(|phase| format!("{phase:?}") == name)
}

/// Reports on standard output that this process has reached its phase, and pauses. A sync does not
/// pause: the process is killed during it.
fn stand(phase: Phase) {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let Some(wanted) = wanted() else { return };
    // At the second write, some of the data has been written.
    let is_early = phase == Phase::Data && WRITES.fetch_add(1, Ordering::Relaxed) == 0;
    if phase == wanted && !is_early {
        say(&format!("{phase:?}"));
    }
    let stands_in = if wanted == Phase::Sync { Phase::Name } else { wanted };
    if phase == stands_in && !is_early {
        std::thread::sleep(STAND);
    }
}

fn say(word: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nsaid {word}").unwrap();
    stdout.flush().unwrap();
}

#[test]
#[ignore = "it is the server that another test starts and kills"]
fn serves_until_it_is_killed() {
    let root = std::env::var_os(ROOT).expect("the other test starts it");
    LISTENER.set(stand).expect("it is set once");
    let config = LocalConfig::new().sync(SyncPolicy::FileAndDirectory);
    let builder = Server::builder().local_config(config).root(root).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:0").unwrap();
    say(&server.local_addr().to_string());
    // Standard input ends with the parent process, and then this process ends too.
    let _ = std::io::stdin().read(&mut [0]);
}

/// The server in the other process.
struct Served {
    child: Child,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Served {
    /// Starts the server, which pauses in `phase`.
    fn start(root: &Path, phase: Option<Phase>) -> Self {
        let name = "storage::local::tests::killed::serves_until_it_is_killed";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
        command.env(ROOT, root).envs(phase.map(|phase| (PHASE, format!("{phase:?}"))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let address = word(&mut said).expect("it tells where it is").parse().unwrap();
        Self { child, said, address }
    }

    /// Kills the process with SIGKILL, and waits for its end.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Returns the next word that the server wrote; `None` at the end.
fn word(said: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut lines = said.lines().map_while(Result::ok);
    lines.find_map(|line| line.strip_prefix("said ").map(str::to_owned))
}

/// A minimal client.
struct Client {
    control: BufReader<TcpStream>,
}

impl Client {
    fn login(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Self { control: BufReader::new(stream) };
        assert!(client.reply().unwrap().starts_with("220"));
        for (line, code) in [("USER u", "331"), ("PASS p", "230"), ("TYPE I", "200")] {
            assert!(client.ask(line).starts_with(code), "{line}");
        }
        client
    }

    fn ask(&mut self, line: &str) -> String {
        self.control.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply().unwrap()
    }

    fn reply(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.control.read_line(&mut line)?;
        Ok(line)
    }

    /// Starts an upload, and returns its data connection.
    fn begin(&mut self, command: &str) -> TcpStream {
        let reply = self.ask("EPSV");
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        let address = (self.control.get_ref().peer_addr().unwrap().ip(), port);
        let data = TcpStream::connect(address).unwrap();
        let reply = self.ask(command);
        assert!(reply.starts_with("150"), "{command}: {reply}");
        data
    }

    /// Returns the reply to `STAT`.
    fn status(&mut self) -> String {
        let mut status = self.ask("STAT");
        while !status.contains("\n211 ") {
            status.push_str(&self.reply().unwrap());
        }
        status
    }

    fn size(&mut self, name: &str) -> Option<usize> {
        self.ask(&format!("SIZE {name}")).strip_prefix("213 ")?.trim_end().parse().ok()
    }
}

/// Returns content that depends on `number`.
fn content(number: usize) -> Vec<u8> {
    let first = u8::try_from(number % 251).unwrap();
    let piece: Vec<u8> = (0..239).map(|at: u8| first.wrapping_add(at)).collect();
    piece.repeat(LENGTH / piece.len())
}

/// Kills `runs` servers, and counts the kills in each phase.
fn kill_servers(runs: usize, replaces: bool, killed: &mut [usize; PHASES.len()]) {
    let tree = Tree::new();
    for run in 0..runs {
        let phase = PHASES[run % PHASES.len()];
        let old = content(2 * run);
        let new = content(2 * run + 1);
        let target = tree.root.join("target");
        match replaces {
            true => fs::write(&target, &old).unwrap(),
            false => drop(fs::remove_file(&target)),
        }
        let mut served = Served::start(&tree.root, Some(phase));
        let mut client = Client::login(served.address);
        let mut data = client.begin("STOR target");
        let sent = new.clone();
        let sender = std::thread::spawn(move || drop(data.write_all(&sent)));
        let said = word(&mut served.said);
        assert_eq!(said.as_deref(), Some(&*format!("{phase:?}")), "run {run}");
        // Waits until the middle of the phase, or a little longer.
        std::thread::sleep(Duration::from_millis(run as u64 / 5 % 8));
        served.kill();
        sender.join().unwrap();
        let is_reported = client.reply().is_ok_and(|reply| reply.starts_with("226"));
        let found = fs::read(&target).ok();
        let is_new = found.as_ref() == Some(&new);
        let is_old = found == replaces.then_some(old);
        assert!(is_new || is_old, "run {run}: torn in {phase:?}");
        assert!(is_new || !is_reported, "run {run}: lost behind 226");
        match phase {
            Phase::Data | Phase::Name => assert!(is_old, "run {run}"),
            Phase::Published => assert!(is_new, "run {run}"),
            Phase::Sync => {}
        }
        assert!(!is_reported, "run {run}: it was killed before");
        killed[run % PHASES.len()] += 1;
        let has_record = tree.names_with_records("").iter().any(|name| is_record(name));
        // The new file is there before its record goes.
        assert!(has_record || is_new || !replaces, "run {run}");
        if !is_new {
            check_record(&tree, replaces, &new);
        }
        assert!(target.exists());
    }
}

/// Checks that the next server knows about an upload that was killed, and that it frees the space
/// of that upload.
fn check_record(tree: &Tree, replaces: bool, new: &[u8]) {
    let next = Served::start(&tree.root, None);
    wait_until("the space is free", || tree.names("").iter().all(|name| name == "target"));
    let mut client = Client::login(next.address);
    // No byte of it is surely on disk, so none can be resumed. The sweeper holds the file for a
    // moment after it has freed the space.
    let mut told = String::new();
    wait_until("the sweeper is done", || {
        told = client.ask("SIZE target");
        !told.starts_with("450")
    });
    assert!(told.starts_with(if replaces { "554" } else { "550" }), "{told}");
    let refused = [(1, "STOR target", "554"), (0, "APPE target", "450")];
    // Where there is no file, there is nothing to mix with.
    for (rest, command, code) in refused.into_iter().take(if replaces { 2 } else { 1 }) {
        assert!(client.ask(&format!("REST {rest}")).starts_with("350"));
        assert!(client.ask("EPSV").starts_with("229"));
        assert!(client.ask(command).starts_with(code), "{command}");
    }
    let mut data = client.begin("STOR target");
    data.write_all(new).unwrap();
    drop(data);
    assert!(client.reply().unwrap().starts_with("226"));
    assert!(tree.get("target") == new);
    next.kill();
    assert_eq!(tree.names_with_records(""), ["target"]);
}

#[test]
fn partial_files_survive_a_killed_server_fs_14_fs_15() {
    let tree = Tree::new();
    let whole = content(1);
    let served = Served::start(&tree.root, None);
    let mut client = Client::login(served.address);
    let mut data = client.begin("STOR f");
    data.write_all(&whole[..100_000]).unwrap();
    wait_until("the bytes are read", || client.status().contains("100000 bytes so far"));
    // Closing the data connection alone would complete the file.
    drop(client);
    let is_kept = || {
        let mut names = tree.names_with_records("").into_iter().filter(|name| is_record(name));
        names.any(|name| fs::metadata(tree.root.join(name)).is_ok_and(|record| record.len() > 0))
    };
    wait_until("the upload is kept", is_kept);
    served.kill();
    // Another server can go on with it.
    let served = Served::start(&tree.root, None);
    let mut client = Client::login(served.address);
    assert_eq!(client.size("f"), Some(99_999));
    let mut data = client.begin("APPE f");
    data.write_all(&whole[99_999..200_000]).unwrap();
    wait_until("the bytes are read", || client.status().contains("100001 bytes so far"));
    drop(client);
    wait_until("the upload is kept", is_kept);
    drop(data);
    served.kill();
    let served = Served::start(&tree.root, None);
    let mut client = Client::login(served.address);
    assert_eq!(client.size("f"), Some(199_999));
    assert!(client.ask("REST 150000").starts_with("350"));
    let mut data = client.begin("STOR f");
    data.write_all(&whole[150_000..]).unwrap();
    drop(data);
    assert!(client.reply().unwrap().starts_with("226"));
    assert!(tree.get("f") == whole);
    assert_eq!(tree.names_with_records(""), ["f"]);
    served.kill();
}

#[test]
fn a_server_killed_during_a_resumed_upload_leaves_a_record_without_bytes_fs_14_fs_15() {
    let tree = Tree::new();
    let whole = content(1);
    for old in [None, Some(content(2))] {
        match &old {
            Some(old) => tree.put("target", old),
            None => drop(fs::remove_file(tree.root.join("target"))),
        }
        let mut upload =
            tree.storage().write(&path("target"), WriteMode::Replace, Keep::Bytes(b"u")).unwrap();
        upload.write_all(&whole[..100_000]).unwrap();
        drop(upload);
        let mut served = Served::start(&tree.root, Some(Phase::Data));
        let mut client = Client::login(served.address);
        assert_eq!(client.size("target"), Some(99_999));
        let mut data = client.begin("APPE target");
        let rest = whole[99_999..].to_vec();
        // Data that is still in transit when the server ends is lost.
        let sender = std::thread::spawn(move || drop(data.write_all(&rest)));
        assert_eq!(word(&mut served.said).as_deref(), Some("Data"));
        served.kill();
        sender.join().unwrap();
        assert!(tree.names_with_records("").iter().any(|name| name != "target"), "it is kept");
        check_record(&tree, old.is_some(), &whole);
    }
}

#[test]
fn a_killed_upload_leaves_the_old_or_new_file_at_scale_fs_12_fs_13_hf_06_go_05() {
    let runs = ftp_tests::scale::count(20, 500);
    let mut killed = [0; PHASES.len()];
    kill_servers(runs, false, &mut killed);
    kill_servers(runs, true, &mut killed);
    println!("{} servers killed: {killed:?} in {PHASES:?}", 2 * runs);
    let [data, sync, before, after] = killed;
    for phase in [data, sync, before + after] {
        assert!(phase >= 2 * runs / 5);
    }
}
