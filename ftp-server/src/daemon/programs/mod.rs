//! Runs the operator's programs: their processes, with their environment, streams and end, and the
//! threads and queues that start them; their answers to sessions that wait, and messages about programs
//! that give none.

pub(super) mod pool;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ftp_proto::Escaped;
use ftp_proto::text::values::{show, shown_path};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::daemon::logging::LOG;
use crate::daemon::systemd;
use crate::lock::{Lock, unpoisoned};
use crate::log::Ration;

/// Shortest and longest pause between checks of whether a program has ended; the pauses grow.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Time that a killed program has to end.
const KILLED: Duration = Duration::from_secs(2);

/// While this number of programs of one kind cannot be killed, no more of that kind are started.
const STUCK_AT_MOST: usize = 16;

/// Programs of one kind that were killed but have not ended. They are reaped before a later program
/// of their kind starts. Each kind has its own list, so hooks on a hanging disk do not prevent
/// logins.
#[derive(Debug, Default)]
pub(crate) struct Stuck(Lock<Vec<Child>>);

impl Stuck {
    pub(crate) const fn new() -> Self {
        Self(Lock::new(Vec::new()))
    }

    fn push(&self, child: Child) {
        self.0.lock().push(child);
    }

    /// Reaps programs that have ended. Returns the number of programs that still run.
    fn count(&self) -> usize {
        let mut stuck = self.0.lock();
        stuck.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        stuck.len()
    }
}

/// Maximum number of bytes to keep from a program's error message.
const KEPT: usize = 400;

/// Maximum length of an answer, in bytes.
const ANSWER: usize = 64 * 1024;

/// Largest number of bytes to read between two checks: more than the longest answer.
const READ: usize = ANSWER + 4096;

/// Returns a command that runs in `/`, in its own process group, without standard input and output.
/// It does not inherit the environment variables that only the server needs.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command.env_remove("FTP_PASSWORD").env_remove("FTP_LOCAL_PATH");
    for variable in systemd::VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// Returns an open file in memory with this content. Unlike with a pipe, the server never waits for
/// the reader.
pub(crate) fn input(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Runs a program until it ends. Kills its process group after `limit`, or when `is_over` returns
/// `true`. If standard error is a pipe, an error message includes its first line. A program that
/// cannot be killed is added to `stuck`.
///
/// # Errors
///
/// Returns a message if the program could not be started, failed, or was killed.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
    stuck: &Stuck,
) -> Result<(), String> {
    ask(command, limit, is_over, stuck).map(drop)
}

/// Runs a program like [`run`], and returns its standard output, if that is a pipe.
///
/// # Errors
///
/// Returns the messages of [`run`]. If the output is longer than 64 KiB, kills the program and
/// returns a message.
pub(crate) fn ask(
    command: &mut Command,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
    stuck: &Stuck,
) -> Result<Vec<u8>, String> {
    let (ended, output) = end_of(command, limit, is_over, stuck)?;
    let ended = ended.and_then(|status| match status.success() {
        true => Ok(()),
        false => Err(status.to_string()),
    });
    ended.map_err(|why| output.explained(why))?;
    if output.answer.is_longer { Err(TOO_LONG.to_owned()) } else { Ok(output.answer.kept) }
}

/// Runs a program like [`ask`]. Returns how it has ended by itself, and the first line of its
/// standard output, else of its standard error.
///
/// # Errors
///
/// Returns a message if the program could not be started or was killed.
pub(crate) fn judge(
    command: &mut Command,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
    stuck: &Stuck,
) -> Result<(ExitStatus, String), String> {
    let (ended, output) = end_of(command, limit, is_over, stuck)?;
    let status = ended.map_err(|why| output.explained(why))?;
    let lines = [output.answer.first_line(), output.complaint.first_line()];
    let line = lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default();
    Ok((status, line.to_owned()))
}

/// Runs a program until it ends, and returns how it has ended.
fn end_of(
    command: &mut Command,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
    stuck: &Stuck,
) -> Result<(Result<ExitStatus, String>, ProgramOutput), String> {
    if stuck.count() >= STUCK_AT_MOST {
        return Err(format!("not started: {STUCK_AT_MOST} earlier programs cannot be killed"));
    }
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut output = ProgramOutput::of(&mut child);
    let ended = wait(&mut child, limit, is_over, &mut output);
    output.read();
    if let Ok(None) = child.try_wait() {
        stuck.push(child);
    }
    Ok((ended, output))
}

fn wait(
    child: &mut Child,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
    output: &mut ProgramOutput,
) -> Result<ExitStatus, String> {
    let start = Instant::now();
    let group = Pid::from_child(child);
    let mut pause = PAUSES.0;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        let left = limit.saturating_sub(start.elapsed());
        let is_late = left.is_zero();
        let is_flooded = output.answer.is_longer;
        if is_late || is_flooded || is_over() {
            // The process is not reaped yet, so its process id is still valid. It may have left its
            // group, so it is killed separately too.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.kill();
            let killed = if ends(child, KILLED) { "killed" } else { "cannot be killed" };
            return Err(match (is_late, is_flooded) {
                (true, _) => format!("{killed} after {}", show(limit)),
                (false, true) => format!("{killed}: {TOO_LONG}"),
                (false, false) => format!("{killed}: the server is stopping"),
            });
        }
        output.read();
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Waits at most `limit` for a killed program to end. Returns whether it has ended.
fn ends(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < limit => thread::sleep(PAUSES.0),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

const TOO_LONG: &str = "the answer is longer than 64 KiB";

struct ProgramOutput {
    answer: Beginning<ChildStdout>,
    complaint: Beginning<ChildStderr>,
}

impl ProgramOutput {
    fn of(child: &mut Child) -> Self {
        Self {
            answer: Beginning::of(child.stdout.take(), ANSWER),
            complaint: Beginning::of(child.stderr.take(), KEPT),
        }
    }

    fn read(&mut self) {
        self.answer.read();
        self.complaint.read();
    }

    /// Returns the reason for a failure, with what the program says about it.
    fn explained(&self, why: String) -> String {
        match self.complaint.first_line() {
            "" => why,
            line => format!("{why}: {line}"),
        }
    }
}

/// The beginning of the output that a program writes to a pipe. The rest is discarded, so that the
/// program does not wait and memory does not fill.
struct Beginning<P> {
    pipe: Option<P>,
    kept: Vec<u8>,
    most: usize,
    /// Whether some bytes were discarded.
    is_longer: bool,
}

impl<P: Read + AsFd> Beginning<P> {
    fn of(pipe: Option<P>, most: usize) -> Self {
        // If the flag cannot be set, reading could block. The pipe is then not read, and only the
        // exit status counts.
        let pipe = pipe.filter(|pipe| fcntl_setfl(pipe, OFlags::NONBLOCK).is_ok());
        Self { pipe, kept: Vec::new(), most, is_longer: false }
    }

    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 4096];
        for _ in 0..READ / buffer.len() {
            // After an error, for example if no bytes are available, the next call reads the rest.
            let Ok(count @ 1..) = pipe.read(&mut buffer) else { return };
            let room = self.most - self.kept.len();
            self.is_longer |= count > room;
            self.kept.extend(buffer.iter().take(count.min(room)));
        }
    }

    fn first_line(&self) -> &str {
        let text = match str::from_utf8(&self.kept) {
            Ok(text) => text,
            Err(error) => {
                let valid = self.kept.get(..error.valid_up_to()).unwrap_or_default();
                str::from_utf8(valid).unwrap_or_default()
            }
        };
        text.trim().lines().next().unwrap_or_default()
    }
}

/// An answer that one thread waits for and another one gives.
pub(crate) struct ProgramAnswer<T> {
    given: Lock<Option<T>>,
    settled: Condvar,
    is_abandoned: AtomicBool,
}

impl<T> ProgramAnswer<T> {
    pub(crate) const fn new() -> Self {
        let is_abandoned = AtomicBool::new(false);
        Self { given: Lock::new(None), settled: Condvar::new(), is_abandoned }
    }

    /// Waits for the answer, at most for `limit`, and takes it.
    pub(crate) fn wait(&self, limit: Duration) -> Option<T> {
        let is_missing = |given: &mut Option<T>| given.is_none();
        let waited = self.settled.wait_timeout_while(self.given.lock(), limit, is_missing);
        unpoisoned(waited).0.take()
    }

    /// Gives the answer, unless there is one.
    pub(crate) fn settle(&self, answer: T) {
        self.given.lock().get_or_insert(answer);
        self.settled.notify_all();
    }

    /// Notes that an answer is useless: the client has gone.
    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::SeqCst)
    }
}

/// Largest number of messages in a period about one program.
const MESSAGES: u32 = 20;

const PERIOD: Duration = Duration::from_secs(10);

/// The messages about a program that gave no valid answer.
#[derive(Default)]
pub(crate) struct Failures(Lock<Ration>);

impl Failures {
    /// Logs why the program in the setting `key` gave no valid answer for a user, unless there are
    /// too many such messages.
    pub(crate) fn log(&self, key: &str, program: &[String], user: &[u8], why: &str) {
        let due = self.0.lock().due(MESSAGES, PERIOD, Instant::now());
        let Some(unsaid) = due else { return };
        let program = program.first().map_or_else(String::new, |path| shown_path(Path::new(path)));
        let (user, why) = (Escaped(user), Escaped(why.as_bytes()));
        let others = match unsaid {
            0 => String::new(),
            count => format!("; earlier failures without a message: {count}"),
        };
        log::error!(target: LOG, "{key}: {program} for {user}: {why}{others}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_a_program_is_reported() {
        let long = Duration::from_secs(60);
        for (program, arguments, limit, is_over, want) in [
            ("/bin/sh", &["-c", "exit 0"][..], long, false, Ok(())),
            ("/bin/sh", &["-c", "exit 3"], long, false, Err("exit status: 3")),
            ("/bin/sh", &["-c", "kill -9 $$"], long, false, Err("signal: 9 (SIGKILL)")),
            ("/proc/none", &[], long, false, Err("No such file or directory (os error 2)")),
            ("/dev/null", &[], long, false, Err("Permission denied (os error 13)")),
            ("/bin/sleep", &["60"], Duration::from_millis(50), false, Err("killed after 50 ms")),
            ("/bin/sleep", &["60"], long, true, Err("killed: the server is stopping")),
        ] {
            let mut command = command(program);
            let ran = run(command.args(arguments), limit, &|| is_over, &Stuck::new());
            assert_eq!(ran, want.map_err(str::to_owned), "{program} {arguments:?}");
        }
        let nul = run(command("/bin/true").env("A", "a\0b"), long, &|| false, &Stuck::new());
        assert!(nul.unwrap_err().contains("nul byte"));
    }

    #[test]
    fn an_answer_is_complete_or_refused() {
        let long = Duration::from_secs(60);
        let ask = |script: &str| {
            let mut command = command("/bin/sh");
            command.stdin(input("in\n").unwrap()).stdout(Stdio::piped());
            ask(command.args(["-c", script]), long, &|| false, &Stuck::new())
        };
        for script in ["cat", "read line; echo $line", "sleep 5 & cat"] {
            assert_eq!(ask(script).as_deref(), Ok(&b"in\n"[..]), "{script}");
        }
        assert_eq!(ask("head -c 65536 /dev/zero").map(|answer| answer.len()), Ok(ANSWER));
        // The program may end before the first check, or not.
        let longer = ask("head -c 65537 /dev/zero").unwrap_err();
        assert!(longer.ends_with(TOO_LONG), "{longer}");
        assert_eq!(ask("yes").unwrap_err(), format!("killed: {TOO_LONG}"));
        assert_eq!(ask("echo answer; exit 1").unwrap_err(), "exit status: 1");
        assert_eq!(ask("echo answer; kill -9 $$").unwrap_err(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn a_program_in_another_process_group_is_killed_too() {
        let limit = Duration::from_millis(50);
        let mut command = command("/bin/sleep");
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let ran = run(command.process_group(group).arg("60"), limit, &|| false, &Stuck::new());
        assert_eq!(ran, Err("killed after 50 ms".to_owned()));
    }

    #[test]
    fn a_program_that_cannot_be_killed_is_reaped_later() {
        let mut child = command("/bin/sleep").arg("60").spawn().unwrap();
        assert!(!ends(&mut child, Duration::from_millis(20)));
        let pid = Pid::from_child(&child);
        let stuck = Stuck::new();
        stuck.push(child);
        assert_eq!(stuck.count(), 1);
        kill_process_group(pid, Signal::KILL).unwrap();
        let start = Instant::now();
        while stuck.count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "it is not reaped");
            thread::sleep(PAUSES.0);
        }
    }

    #[test]
    fn stuck_programs_of_one_kind_block_only_that_kind() {
        let hooks = Stuck::new();
        let children = || (0..STUCK_AT_MOST).map(|_| command("/bin/sleep").arg("60").spawn());
        children().for_each(|child| hooks.push(child.unwrap()));
        let long = Duration::from_secs(60);
        let run = |stuck: &Stuck| run(&mut command("/bin/true"), long, &|| false, stuck);
        let want = "not started: 16 earlier programs cannot be killed";
        assert_eq!(run(&hooks), Err(want.to_owned()));
        assert_eq!(run(&Stuck::new()), Ok(()));
        hooks.0.lock().iter_mut().for_each(|child| child.kill().unwrap());
        let start = Instant::now();
        while hooks.count() > 0 {
            assert!(start.elapsed() < long, "they are not reaped");
            thread::sleep(PAUSES.0);
        }
        assert_eq!(run(&hooks), Ok(()));
    }

    #[test]
    fn the_first_line_of_stderr_is_reported_and_the_rest_discarded() {
        let long = Duration::from_secs(60);
        for (script, want) in [
            ("echo; echo first >&2; echo second >&2; exit 3", Err("exit status: 3: first")),
            ("echo not said >&2", Ok(())),
            ("printf 'a\\377b' >&2; exit 1", Err("exit status: 1: a")),
            ("yes | head -c 1000000 >&2; exit 1", Err("exit status: 1: y")),
            ("sleep 5 & exit 2", Err("exit status: 2")),
        ] {
            let mut command = command("/bin/sh");
            let ran = run(
                command.args(["-c", script]).stderr(Stdio::piped()),
                long,
                &|| false,
                &Stuck::new(),
            );
            assert_eq!(ran, want.map_err(str::to_owned), "{script}");
        }
        let script = "head -c 2000 /dev/zero | tr '\\0' x >&2; exit 1";
        let mut command = command("/bin/sh");
        let ran = run(
            command.args(["-c", script]).stderr(Stdio::piped()),
            long,
            &|| false,
            &Stuck::new(),
        );
        assert_eq!(ran, Err(format!("exit status: 1: {}", "x".repeat(KEPT))));
    }

    #[test]
    fn a_flood_of_failures_is_rate_limited_and_counted() {
        let mut failures = Ration::default();
        let mut due = |now| failures.due(MESSAGES, PERIOD, now);
        let start = Instant::now();
        let said = (0..1_000).filter_map(|_| due(start)).collect::<Vec<_>>();
        assert_eq!(said, [0; 20]);
        assert_eq!(due(start + PERIOD / 2), None);
        assert_eq!(due(start + PERIOD), Some(981));
        assert_eq!(due(start + PERIOD), Some(0));
    }

    #[test]
    fn the_first_answer_counts_and_is_taken_once() {
        let answer = ProgramAnswer::new();
        assert_eq!(answer.wait(Duration::ZERO), None);
        answer.settle(1);
        answer.settle(2);
        assert_eq!(answer.wait(Duration::from_secs(60)), Some(1));
        assert_eq!(answer.wait(Duration::ZERO), None);
    }
}
