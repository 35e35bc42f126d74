//! Trees of very many small files, compared with lftp: in time, and in commands, which a relay
//! counts. And an interrupted mirror that is run again.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::{Running, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::ftp;
use crate::relay::Relay;
use crate::serve::Served;

/// The longest duration of one mirror, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// The path of a file, its content, and its time in seconds.
type Object = (PathBuf, Vec<u8>, u64);

fn seconds(path: &Path) -> u64 {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Returns every file below a directory, without the hidden partial uploads of our server.
fn files(root: &Path) -> Vec<Object> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_name().as_encoded_bytes().starts_with(b".ftp-upload-") {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => left.push(path),
                false => {
                    let content = fs::read(entry.path()).unwrap();
                    found.push((path, content, seconds(&entry.path())));
                }
            }
        }
    }
    found.sort();
    found
}

/// Makes this many small files of different sizes and times, in directories of two levels.
fn fill(root: &TempRoot, count: usize) {
    let first = 1_500_000_000;
    let directories = scale::count(10, 300);
    for number in 0..count {
        let directory = number % directories;
        let name = format!("tree/{}/{directory:03}/file-{number:05}", directory % 17);
        let bytes = number.to_le_bytes().into_iter().cycle();
        let content: Vec<u8> = bytes.take(number * 7 % 4_096).collect();
        let path = root.write(name, &content);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(first + 60 * number as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// Runs a program, and returns the duration.
#[track_caller]
fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    run_with(command, &[], LIMIT).succeeded();
    start.elapsed()
}

/// One of two programs that mirror `tree` of a server to `here`, or `here` to the server.
fn command(ours: bool, login: (&str, &str), server: SocketAddr, here: &Path, up: bool) -> Command {
    let here = here.to_str().unwrap();
    let (user, password) = login;
    if ours {
        let url = format!("ftp://{user}@{server}/tree");
        let (source, target) = if up { (here, &*url) } else { (&*url, here) };
        let mut command = ftp(&["mirror", source, target]);
        command.env("FTP_PASSWORD", password);
        return command;
    }
    let mut command = Peer::find("lftp").unwrap().command();
    let mirror = match up {
        true => format!("mirror -R {here} tree"),
        false => format!("mirror tree {here}"),
    };
    let script = format!(
        "set net:max-retries 1; set cmd:fail-exit yes; set ftp:ssl-allow no; set ftp:use-feat yes; \
         set ftp:sync-mode yes; open -u \"{user}\",\"{password}\" ftp://{server}; {mirror}"
    );
    command.env("HOME", "/proc/none").args(["-c", &script]);
    command
}

fn total(counts: &BTreeMap<String, usize>) -> usize {
    counts.values().sum()
}

/// Mirrors up, down, and down again with nothing to do, with either program. Returns the costs.
#[must_use]
fn compare_with_lftp(
    what: &str,
    root: &TempRoot,
    login: (&str, &str),
    server: SocketAddr,
    keeps_times: bool,
) -> String {
    let here = TempRoot::in_memory();
    fill(&here, scale::count(80, 10_000));
    let source = here.join("tree");
    let want = files(&source);
    let relay = Relay::to(server);
    let programs: &[bool] = if Peer::find("lftp").is_some() { &[false, true] } else { &[true] };
    let mut sent: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut cost = String::new();
    for &ours in programs {
        let program = if ours { "ftp-cli" } else { "lftp" };
        let back = here.join(format!("back-{program}"));
        for (direction, up, here) in
            [("up", true, &source), ("down", false, &back), ("again", false, &back)]
        {
            // Once for the time, and once more from the same state for the commands.
            let undo = || match direction {
                "up" => drop(fs::remove_dir_all(root.join("tree"))),
                "down" => drop(fs::remove_dir_all(&back)),
                _ => {}
            };
            undo();
            let time = timed(&mut command(ours, login, server, here, up));
            undo();
            timed(&mut command(ours, login, relay.address, here, up));
            let counts = relay.take();
            cost.push_str(&format!(
                "{what}, {program} {direction}: {time:.2?}, {} commands {counts:?}\n",
                total(&counts)
            ));
            sent.insert((direction, ours), total(&counts));
        }
        let there = files(&root.join("tree"));
        let came = files(&back);
        assert!(came == there, "{what}: {program} brings it back, with its times");
        let same = |(one, other): (&Object, &Object)| {
            one.0 == other.0 && one.1 == other.1 && (one.2 == other.2 || !keeps_times || !ours)
        };
        assert!(
            want.len() == there.len() && want.iter().zip(&there).all(same),
            "{what}: {program}"
        );
        // The next program starts with an empty directory.
        fs::remove_dir_all(root.join("tree")).unwrap();
    }
    for direction in ["up", "down", "again"] {
        let (ours, lftp) = (sent.get(&(direction, true)), sent.get(&(direction, false)));
        assert!(
            lftp.is_none() || ours <= lftp,
            "{what} {direction}: {ours:?} commands, lftp {lftp:?}"
        );
    }
    cost
}

#[test]
fn a_mirror_costs_no_more_commands_than_lftp_at_scale() {
    let root = TempRoot::in_memory();
    let served = Served::start(&root, &["--user", "u:p", "--write"]);
    println!("{}", compare_with_lftp("ours", &root, ("u", "p"), served.address, true));
    if let Some(server) = RealServer::vsftpd() {
        let login = (server.user, server.password);
        println!("{}", compare_with_lftp("vsftpd", &server.root, login, server.address, false));
    }
}

/// The most connections of a mirror, and the most uploads of each whose times are set together.
const CONNECTIONS: usize = 4;
const ROW: usize = 32;

#[test]
fn an_interrupted_mirror_resumes_at_scale() {
    let root = TempRoot::in_memory();
    let served = Served::start(&root, &["--user", "u:p", "--write"]);
    let here = TempRoot::in_memory();
    // Enough files that it is not done when the signal arrives.
    let count = scale::count(1_000, 10_000);
    fill(&here, count);
    let (source, back) = (here.join("tree"), here.join("back"));
    // Holds the transfer command in the middle until the signal was sent.
    let (seen, go) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (counted, gate) = (Arc::clone(&seen), Arc::clone(&go));
    let relay = Relay::watched(served.address, move |line| {
        let is_transfer = line.starts_with("STOR ") || line.starts_with("RETR ");
        if is_transfer && counted.fetch_add(1, Ordering::SeqCst) == count / 4 {
            wait_until("the signal", || gate.load(Ordering::SeqCst));
        }
    });
    let want = files(&source);
    for (up, from, to, verb) in
        [(true, &source, root.join("tree"), "STOR"), (false, &back, back.clone(), "RETR")]
    {
        let (mut cut, mut same) = (0, 0);
        for signal in ["INT", "TERM"] {
            seen.store(0, Ordering::SeqCst);
            go.store(false, Ordering::SeqCst);
            let mut command = command(true, ("u", "p"), relay.address, from, up);
            let mut running = Running::start(command.stderr(Stdio::null()));
            let begun = || (relay.count(verb) > count / 5).then_some(());
            running.wait_until(LIMIT, begun).unwrap();
            let id = running.child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            go.store(true, Ordering::SeqCst);
            let status = running.wait(Instant::now() + LIMIT).expect("it ends");
            assert_eq!(status.code(), Some(if signal == "INT" { 130 } else { 143 }));
            cut += relay.take()[verb];
            assert!(cut < count, "it was not interrupted: {cut}");
            // Only whole files. The times of a row of uploads are set when the row is complete.
            let there = files(&to);
            let is_wanted = |name: &PathBuf| want.binary_search_by(|(path, ..)| path.cmp(name));
            let mut untimed = 0;
            for (path, content, time) in &there {
                let at = is_wanted(path).unwrap();
                let wanted = &want[at].1;
                let (lengths, time) = ((content.len(), wanted.len()), *time);
                assert!(wanted == content, "{verb} {signal}: {path:?} {lengths:?} {time}");
                untimed += usize::from(want[at].2 != time);
            }
            assert!(
                untimed <= if up { CONNECTIONS * ROW } else { 0 },
                "{verb} {signal}: {untimed}"
            );
            same = there.len() - untimed;
        }
        let start = Instant::now();
        timed(&mut command(true, ("u", "p"), relay.address, from, up));
        let counts = relay.take();
        println!("{verb} twice interrupted after {cut}: {:?}, then {counts:?}", start.elapsed());
        assert!(files(&to) == want, "{verb}");
        // Only the interrupted files are transferred twice, and a test file that shows whether the
        // server sets times.
        assert!(
            counts[verb] <= count - same + usize::from(up),
            "{verb} {counts:?} after {cut}, {same} are there"
        );
    }
}
