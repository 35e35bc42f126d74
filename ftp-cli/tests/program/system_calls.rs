//! The n-th system call of a session fails, for each kind of call, each plausible error and each n,
//! until a whole dialogue has no n-th call of the kind.

mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ftp_proto::{Exchange, Progress, ReplyCode, Verb, is_listed};
use ftp_tests::peer::Peer;
use ftp_tests::process::Running;
use ftp_tests::raw::{NoReply, RawReply, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::{at_last, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::figures::{THREADS_AT_REST, open_descriptors, threads, wait_for_sweep};
use crate::serve::Served;

/// The calls of a session, each with errors that it can have on a healthy or on a failing system.
/// Calls that fail with EINTR are repeated, without any effect.
const CALLS: &[(&str, &[&str])] = &[
    ("recvfrom", &["EINTR", "ECONNRESET", "ENOMEM"]),
    ("read", &["EINTR", "EIO"]),
    ("sendto", &["EINTR", "EPIPE", "ENOBUFS"]),
    ("poll", &["EINTR", "ENOMEM"]),
    ("ppoll", &["EINTR", "ENOMEM"]),
    ("socket", &["EMFILE", "ENOBUFS"]),
    ("bind", &["EADDRINUSE", "EADDRNOTAVAIL"]),
    ("listen", &["EADDRINUSE"]),
    ("getsockname", &["ENOBUFS"]),
    ("setsockopt", &["ENOMEM"]),
    ("connect", &["ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"]),
    ("accept4", &["EINTR", "EMFILE", "ECONNABORTED", "ENOMEM"]),
    ("shutdown", &["ENOTCONN"]),
    ("fcntl", &["EMFILE"]),
    ("openat2", &["EINTR", "EAGAIN", "EMFILE", "EACCES", "EIO", "ENOENT"]),
    ("openat", &["EINTR", "EMFILE", "EACCES", "EIO"]),
    ("statx", &["EIO", "EACCES", "ENOMEM"]),
    ("getdents64", &["EIO"]),
    ("write", &["EINTR", "ENOSPC", "EDQUOT", "EIO"]),
    ("pread64", &["EINTR", "EIO"]),
    ("sendfile", &["EINTR", "EIO", "ECONNRESET"]),
    ("fdatasync", &["EINTR", "EIO", "ENOSPC"]),
    ("ftruncate", &["EINTR", "EIO"]),
    ("linkat", &["EEXIST", "ENOSPC", "EMLINK", "EIO"]),
    ("renameat", &["ENOSPC", "EIO", "EROFS"]),
    ("renameat2", &["ENOSPC", "EIO", "EROFS"]),
    ("mkdirat", &["ENOSPC", "EDQUOT", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("flock", &["EINTR", "ENOLCK"]),
    ("fstatfs", &["EIO"]),
    ("prctl", &["EPERM"]),
    ("landlock_restrict_self", &["E2BIG"]),
];

const FIRST: &[u8] = b"the first content";

/// The result of a step of the dialogue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Came {
    /// It ended with this last reply.
    To(u16),
    /// The session ended.
    Closed,
}

/// A client that accepts any input that is FTP and arrives in time.
struct Client {
    session: RawSession,
    closed: bool,
    /// The current case, for messages.
    trial: String,
    failed: Vec<String>,
}

impl Client {
    fn reply(&mut self) -> Option<RawReply> {
        match self.session.try_reply() {
            Ok(reply) if reply.code == 421 => {
                self.closed = true;
                Some(reply)
            }
            Ok(reply) => Some(reply),
            Err(NoReply::Closed | NoReply::Cut(_)) => {
                self.closed = true;
                None
            }
            Err(why) => panic!("{}: {why:?}\n{}", self.trial, self.session.dialogue()),
        }
    }

    /// Sends a line and reads all its replies, which RFC 959 §5.4 must allow. Data is moved after
    /// the preliminary reply.
    fn ask(&mut self, line: &str, mut transfer: impl FnMut()) -> Came {
        if self.closed || self.session.try_send(format!("{line}\r\n")).is_err() {
            self.closed = true;
            return Came::Closed;
        }
        let (verb, _) = Verb::split(line.as_bytes()).unwrap();
        let mut exchange = Exchange::new(verb);
        loop {
            let Some(reply) = self.reply() else { return Came::Closed };
            let code = ReplyCode::new(reply.code).unwrap();
            match exchange.reply(code) {
                // The error of a failing disk is allowed after any verb.
                Ok(progress) if is_listed(verb, code) || code == ReplyCode::LOCAL_ERROR => {
                    match progress {
                        Progress::Preliminary => transfer(),
                        Progress::Final => return Came::To(reply.code),
                    }
                }
                Ok(_) => {
                    self.failed.push(format!("{code} is no answer to {line}"));
                    return Came::To(reply.code);
                }
                Err(error) => panic!("{}: {error}\n{}", self.trial, self.session.dialogue()),
            }
        }
    }

    fn say(&mut self, line: &str) -> Came {
        self.ask(line, || {})
    }

    /// Opens a data connection; `None` if that is impossible.
    fn passive(&mut self) -> Option<TcpStream> {
        if self.closed || self.session.try_send("EPSV\r\n").is_err() {
            self.closed = true;
            return None;
        }
        let reply = self.reply().filter(|reply| reply.code == 229)?;
        let stream = TcpStream::connect(self.session.data_address(&reply)).ok()?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Some(stream)
    }

    fn download(&mut self, line: &str) -> (Came, Vec<u8>) {
        let mut data = self.passive();
        let mut bytes = Vec::new();
        let came = self.ask(line, || {
            // The reply reports a broken connection.
            let _ = data.as_mut().map(|data| data.read_to_end(&mut bytes));
        });
        (came, bytes)
    }

    /// Downloads over a connection that the server makes.
    fn active(&mut self, line: &str) -> (Came, Vec<u8>) {
        let host = self.session.stream().local_addr().unwrap().ip();
        let listener = TcpListener::bind((host, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        match self.say(&format!("EPRT |1|{host}|{port}|")) {
            Came::To(200) => {}
            other => return (other, Vec::new()),
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let accepted = || {
                let is_last = over.load(Ordering::SeqCst);
                let Ok((mut data, _)) = listener.accept() else {
                    return is_last.then(Vec::new);
                };
                let mut bytes = Vec::new();
                data.set_nonblocking(false).unwrap();
                data.set_read_timeout(Some(LIMIT)).unwrap();
                // The reply reports a broken connection.
                let _ = data.read_to_end(&mut bytes);
                Some(bytes)
            };
            let data = scope.spawn(move || at_last("the data connection or the reply", accepted));
            let came = self.say(line);
            over.store(true, Ordering::SeqCst);
            (came, data.join().unwrap())
        })
    }

    fn upload(&mut self, line: &str, bytes: &[u8]) -> Came {
        let mut data = self.passive();
        self.ask(line, || {
            if let Some(data) = data.take() {
                let _ = (&data).write_all(bytes).and_then(|()| data.shutdown(Shutdown::Write));
            }
        })
    }
}

/// The deadline of every step, several times that of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns what is wrong with a dialogue, judged by its files.
struct Trial<'a> {
    root: &'a Path,
    name: String,
    /// The failed call is repeated: every reply is as without the failure.
    is_harmless: bool,
    failed: Vec<String>,
}

impl Trial<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Asserts `want` if no failure is possible, and that every confirmed change exists.
    fn judge(&mut self, step: &str, came: Came, want: u16, is_true: bool) {
        if came == Came::To(want) && !is_true {
            self.failed.push(format!("{step}: {want} is not true"));
        }
        if self.is_harmless && came != Came::To(want) {
            self.failed.push(format!("{step}: {came:?} and not {want}"));
        }
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(name)).ok()
    }
}

fn play(served: &Served, trial: &mut Trial<'_>, call: &str) {
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).take(300_000).collect();
    for name in ["new", "moved"] {
        let _ = std::fs::remove_file(trial.path(name));
    }
    let _ = std::fs::remove_dir(trial.path("directory"));
    std::fs::write(trial.path("file"), FIRST).unwrap();
    let mut session = RawSession::connect(served.address);
    session.set_deadline(LIMIT);
    let mut client =
        Client { session, closed: false, trial: trial.name.clone(), failed: Vec::new() };
    let greeting = client.reply().map_or(Came::Closed, |reply| Came::To(reply.code));
    trial.judge("greeting", greeting, 220, true);
    trial.judge("USER", client.say("USER u"), 331, true);
    trial.judge("PASS", client.say("PASS p"), 230, true);

    for (line, want) in [("MLSD", b"; file\r\n".as_slice()), ("LIST", b" file\r\n")] {
        let (came, listing) = client.download(line);
        // Names that cannot be examined are skipped.
        let is_whole = listing.windows(want.len()).any(|part| part == want);
        trial.judge(line, came, 226, is_whole || trial.name.ends_with("EACCES"));
    }
    let (came, bytes) = client.download("RETR file");
    trial.judge("RETR", came, 226, bytes == FIRST);
    let (came, bytes) = {
        let _ = client.say("REST 4");
        client.download("RETR file")
    };
    let is_part = FIRST.get(4..) == Some(&bytes) || bytes == FIRST;
    trial.judge("REST, RETR", came, 226, is_part);

    std::fs::write(trial.path("text"), "a\nb\n").unwrap();
    trial.judge("TYPE A", client.say("TYPE A"), 200, true);
    let (came, bytes) = client.download("RETR text");
    let is_text = matches!(&*bytes, b"a\r\nb\r\n" | b"a\nb\n");
    trial.judge("RETR in ASCII", came, 226, is_text);
    trial.judge("TYPE I", client.say("TYPE I"), 200, true);
    std::fs::remove_file(trial.path("text")).unwrap();

    let came = client.upload("STOR new", &large);
    let is_new = trial.content("new").as_ref() == Some(&large);
    trial.judge("STOR new", came, 226, is_new);
    if !is_new && trial.path("new").exists() {
        trial.failed.push("a part of an upload has its name".into());
    }
    let came = client.upload("STOR file", &large);
    let (before, replaced) = (trial.content("file"), came == Came::To(226));
    trial.judge("STOR file", came, 226, before.as_ref() == Some(&large));
    if !replaced && before.as_deref() != Some(FIRST) && before.as_ref() != Some(&large) {
        trial.failed.push("the old file is torn".into());
    }
    let before = before.unwrap_or_default();
    let came = client.upload("APPE file", b"more");
    let after = trial.content("file").unwrap_or_default();
    let whole = [before.as_slice(), b"more"].concat();
    trial.judge("APPE", came, 226, after == whole);
    // The failed call may be the truncation of the added bytes.
    if came != Came::To(226) && !client.closed && after != before && call != "ftruncate" {
        trial.failed.push(format!("{} bytes were {} before", after.len(), before.len()));
    }
    let came = match client.say("RNFR file") {
        Came::To(350) => client.say("RNTO moved"),
        other => other,
    };
    let is_moved = trial.path("moved").exists() && !trial.path("file").exists();
    trial.judge("RNTO", came, 250, is_moved);
    if !trial.path("moved").exists() && !trial.path("file").exists() {
        trial.failed.push("a file is lost".into());
    }
    let came = client.say("MKD directory");
    trial.judge("MKD", came, 257, trial.path("directory").is_dir());
    trial.judge("RMD", client.say("RMD directory"), 250, !trial.path("directory").exists());
    let _ = client.say("DELE new");
    std::fs::write(trial.path("file"), FIRST).unwrap();
    trial.judge("DELE", client.say("DELE moved"), 250, !trial.path("moved").exists());

    let (came, names) = client.active("NLST");
    let is_whole = names.windows(6).any(|name| name == b"file\r\n");
    trial.judge("NLST", came, 226, is_whole || trial.name.ends_with("EACCES"));
    trial.judge("QUIT", client.say("QUIT"), 221, true);
    trial.failed.append(&mut client.failed);
}

/// A running server with strace, which makes calls fail until it is detached.
pub(crate) struct Injection {
    strace: Running,
    output: PathBuf,
}

impl Injection {
    pub(crate) fn start(strace: &Peer, process: u32, output: PathBuf, what: &[String]) -> Self {
        let mut command = strace.command();
        command.args(["-f", "-qq", "-o"]).arg(&output).args(what);
        command.args(["-p", &process.to_string()]).stderr(Stdio::null());
        let mut strace = Running::start(&mut command);
        let is_traced = || {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
            let mut status =
                tasks.map(|task| std::fs::read_to_string(task.path().join("status")).ok());
            status
                .all(|status| status.is_some_and(|status| !status.contains("TracerPid:\t0\n")))
                .then_some(())
        };
        strace.wait_until(LIMIT, is_traced).unwrap();
        Self { strace, output }
    }

    /// Detaches strace; returns the number of failed calls.
    pub(crate) fn stop(mut self) -> usize {
        kill_process(Pid::from_child(&self.strace.child), Signal::TERM).unwrap();
        assert!(self.strace.wait(Instant::now() + LIMIT).is_some(), "strace does not end");
        std::fs::read_to_string(&self.output).unwrap().matches("(INJECTED)").count()
    }
}

/// Runs a program without some system calls: CODE CALLS PROGRAM [ARGUMENT...].
const WITHOUT: &str = "
import os, seccomp, sys
filter = seccomp.SyscallFilter(seccomp.ALLOW)
for name in sys.argv[2].split(','):
    filter.add_rule(seccomp.ERRNO(int(sys.argv[1])), name)
filter.load()
os.execv(sys.argv[3], sys.argv[3:])
";

/// Old kernels answer ENOSYS, and containers with an old filter EPERM, to calls that they do not
/// know.
#[test]
fn the_server_works_without_newer_system_calls_hf_18() {
    let Some(python) = Peer::python("seccomp") else { return };
    let newer = "statx,renameat2,getrandom,openat2,faccessat2,copy_file_range,close_range";
    for (errno, calls) in [(1, "statx"), (38, "statx"), (1, newer), (38, newer)] {
        let (root, state) = (TempRoot::new(), TempRoot::new());
        // On another file system than the spool.
        let letters = TempRoot::in_memory();
        let mut command = python.command();
        command.env("STATE_DIRECTORY", state.path());
        command.args(["-c", WITHOUT, &errno.to_string(), calls, env!("CARGO_BIN_EXE_ftp-cli")]);
        command.args(["serve", "--listen", "127.0.0.1:0", "--user", "u:p", "--write"]);
        command.args(["--tls-self-signed", "--set", "hooks.program=/bin/false"]);
        command.args(["--set", "hooks.events=made", "--set", "hooks.retries=0"]);
        command.arg("--set").arg(format!("hooks.dead_letters={}", letters.path().display()));
        let served = Served::of(command.arg(root.path()));
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        session.upload("STOR file", b"content");
        session.upload("STOR file", b"new content");
        session.expect("SIZE file", 213);
        session.expect("MFMT 20200101000000 file", 213);
        assert_eq!(session.expect("MDTM file", 213).text(), "213 20200101000000");
        session.expect("MKD made", 257);
        let is_kept = |name: &Vec<u8>| name.ends_with(b".json");
        wait_until("the event is kept", || letters.names().iter().any(is_kept));
        assert_eq!(letters.names().len(), 1, "no temporary file is left");
        session.expect("RNFR file", 350);
        session.expect("RNTO made/other", 250);
        session.upload("STOR file", b"x");
        std::os::unix::fs::symlink("made/other", root.path().join("link")).unwrap();
        assert_eq!(session.download("RETR link"), b"new content");
        session.expect("DELE link", 250);
        assert_eq!(session.download("RETR made/other"), b"new content");
        assert!(!session.download("MLSD made").is_empty());
        session.expect("DELE made/other", 250);
        session.expect("RMD made", 250);
        assert_eq!(root.names(), [&b"file"[..]], "{errno} {calls}");
    }
}

#[test]
fn the_server_survives_a_failure_of_any_system_call_at_scale_hf_08_hf_10_fs_20_go_06() {
    let Some(strace) = Peer::find("strace") else { return };
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let settings = ["--set", "timeouts.data_connect=10 s", "--set", "timeouts.stall=12 s"];
    // The next dialogue must not resume the partial uploads of this one.
    let settings = [&settings[..], &["--set", "transfer.partial=discard"]].concat();
    let served = Served::start(&root, &[&["--write", "--user", "u:p"], &settings[..]].concat());
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut failures = Vec::new();
    let mut dialogue = |name: String, call: &str, is_harmless: bool| {
        let mut trial = Trial { root: root.path(), name, is_harmless, failed: Vec::new() };
        play(&served, &mut trial, call);
        let wrong = trial.failed.into_iter().map(|wrong| format!("{}: {wrong}", trial.name));
        failures.extend(wrong);
    };
    dialogue("nothing fails".into(), "", true);
    let settle = || wait_until("the end of a session", || threads(process) == THREADS_AT_REST);
    settle();
    let usual = open_descriptors(process);

    let inject = |what: String, calls: String| {
        [format!("--trace={calls}"), format!("--inject={calls}:{what}")]
    };
    let mut trials = 0;
    for (call, errors) in CALLS {
        for error in *errors {
            // The first one is in the thread that waits for signals.
            let first = if *call == "recvfrom" { 2 } else { 1 };
            for n in first..=first + scale::count(0, 1_000) {
                let what = inject(format!("error={error}:when={n}"), (*call).to_owned());
                settle();
                let injection =
                    Injection::start(&strace, process, notes.path().join("trace"), &what);
                dialogue(format!("{call} {n}: {error}"), call, *error == "EINTR");
                trials += 1;
                if injection.stop() == 0 {
                    break;
                }
                assert!(n < 1_000, "{call} has no end");
            }
        }
    }
    // Every second call of each kind that can be interrupted.
    let interrupted: Vec<_> = CALLS
        .iter()
        .filter(|(_, errors)| errors.contains(&"EINTR"))
        .map(|(call, _)| *call)
        .collect();
    let what = inject("error=EINTR:when=2+2".to_owned(), interrupted.join(","));
    settle();
    let injection = Injection::start(&strace, process, notes.path().join("trace"), &what);
    dialogue("each second call: EINTR".into(), "", true);
    assert!(injection.stop() > 50);

    dialogue("nothing fails any more".into(), "", true);
    println!("{trials} dialogues");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    wait_until("descriptors to be as many as before", || open_descriptors(process) == usual);
    // Connections were lost while files were replaced, which leaves signs.
    let mut left = root.published();
    left.retain(|name| name != b"file");
    assert!(left.is_empty(), "{left:?}");
}

/// `fsync` is called only for directories: after a name was changed.
#[test]
fn a_change_whose_directory_cannot_be_synced_is_made_and_the_reply_says_so_fs_12_hf_04() {
    let Some(strace) = Peer::find("strace") else { return };
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let served = Served::start(&root, &["--write", "--user", "u:p"]);
    let process = served.running.child.id();
    wait_for_sweep(process);
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    session.upload("STOR file", b"old");
    // A full disk must not look as if the file had not been stored.
    for error in ["EIO", "ENOSPC", "EDQUOT"] {
        let what = ["--trace=fsync".to_owned(), format!("--inject=fsync:error={error}")];
        let injection = Injection::start(&strace, process, notes.path().join("trace"), &what);
        for (name, content) in [("file", &b"new content"[..]), ("other", b"x")] {
            let mut data = session.passive();
            session.expect(format!("STOR {name}"), 150);
            data.write_all(content);
            data.close();
            let reply = session.expect_reply(451).text();
            assert_eq!(reply, "451 Done, but not safely on the disk", "{name} {error}");
            // The file, its record and the reply agree.
            assert_eq!(root.read(name), content);
            let size = format!("213 {}", content.len());
            assert_eq!(session.expect(format!("SIZE {name}"), 213).text(), size);
        }
        let mut data = session.passive();
        session.expect("APPE file", 150);
        data.write_all(b" and more");
        data.close();
        // The end of the file is cut off again.
        let reply = session.reply();
        assert!(matches!(reply.code, 451 | 452 | 552), "{error}: {}", reply.text());
        assert_eq!(root.read("file"), b"new content");
        for line in ["MKD made", "RMD made", "DELE other"] {
            assert_eq!(session.expect(line, 451).text(), "451 Done, but not safely on the disk");
        }
        session.expect("RNFR file", 350);
        session.expect("RNTO moved", 451);
        assert_eq!(root.names(), [&b"moved"[..]], "{error}");
        assert!(injection.stop() >= 7);
        session.expect("RNFR moved", 350);
        session.expect("RNTO file", 250);
    }
    session.upload("APPE file", b" and more");
    assert_eq!(root.read("file"), b"new content and more");
}
