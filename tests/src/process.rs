//! Runs other programs, each in its own process group and with a deadline. All their processes are
//! killed at the end.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The longest run of a client process, unless a test sets another limit.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Longest wait for output after the end of its program.
const LAST_OUTPUT: Duration = Duration::from_secs(30);

/// The variable with the path of the coverage profile that a measured program writes at its end.
const PROFILE: &str = "LLVM_PROFILE_FILE";

/// Clears the environment of a command, except for the path of its coverage profile. Without that
/// path, a program that is built for coverage writes the profile to its current directory.
pub fn clear_environment(command: &mut Command) -> &mut Command {
    command.env_clear();
    if let Some(path) = std::env::var_os(PROFILE) {
        command.env(PROFILE, path);
    }
    command
}

/// The end of a program and its output.
#[derive(Clone)]
pub struct Ran {
    /// The command line.
    pub command: String,
    /// The exit status; `None` if the program was killed at the deadline.
    pub status: Option<ExitStatus>,
    /// The program's standard output.
    pub stdout: Vec<u8>,
    /// The program's standard error.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Returns the exit code, if the program ended by itself.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// Asserts exit code 0, and returns the standard output.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "that it insists is use enough")]
    pub fn succeeded(self) -> Vec<u8> {
        self.exited(0);
        self.stdout
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn exited(&self, code: i32) {
        assert!(self.code() == Some(code), "wanted exit code {code}: {self:?}");
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => writeln!(f, "{} ended with {status}", self.command)?,
            None => writeln!(f, "{} was killed at its deadline", self.command)?,
        }
        let show = |bytes: &[u8]| {
            let end = bytes.len().min(8192);
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
        };
        writeln!(f, "--- stdout, {} bytes\n{}", self.stdout.len(), show(&self.stdout))?;
        write!(f, "--- stderr, {} bytes\n{}", self.stderr.len(), show(&self.stderr))
    }
}

/// Runs a program with empty standard input, within [`LIMIT`].
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    run_with(command, &[], LIMIT)
}

/// Runs a program with `input` on standard input, and kills it at the deadline.
#[track_caller]
pub fn run_with(command: &mut Command, input: &[u8], limit: Duration) -> Ran {
    let end = Instant::now() + limit;
    let line = line(command);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    if let Some(mut stdin) = running.child.stdin.take() {
        let input = input.to_vec();
        // A program that does not read all of its input is judged by its exit status.
        thread::spawn(move || stdin.write_all(&input).is_ok());
    }
    let stdout = running.child.stdout.take().map(Output::of);
    let stderr = running.child.stderr.take().map(Output::of);
    let status = running.wait(end);
    drop(running);
    let all = |output: Option<Output>| {
        output.map(|output| output.read_to_end(LAST_OUTPUT)).unwrap_or_default()
    };
    let ran = Ran { command: line, status, stdout: all(stdout), stderr: all(stderr) };
    assert!(ran.status.is_some(), "{ran:?}");
    ran
}

/// A program that is killed on drop, together with all programs that it has started.
#[derive(Debug)]
pub struct Running {
    /// The handle of the process, for its pipes.
    pub child: Child,
    line: String,
    group: Pid,
    process: OwnedFd,
}

impl Running {
    /// Starts a program. Its standard streams are those of `command`. Read the pipes, or the
    /// program blocks when they are full.
    #[track_caller]
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let line = line(command);
        let child =
            command.process_group(0).spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let group = Pid::from_child(&child);
        let process = pidfd_open(group, PidfdFlags::empty())
            .expect("a child that is not waited for has a descriptor");
        Self { child, line, group, process }
    }

    /// Waits for the end of the program. Returns `None` at the deadline.
    pub fn wait(&mut self, end: Instant) -> Option<ExitStatus> {
        while !self.ended_within(end.saturating_duration_since(Instant::now())) {
            if Instant::now() >= end {
                return None;
            }
        }
        Some(self.child.wait().unwrap_or_else(|error| panic!("{}: {error}", self.line)))
    }

    /// Returns whether the program ends within `limit`.
    fn ended_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).expect("a wait of hours at most");
        let mut watched = [PollFd::new(&self.process, PollFlags::IN)];
        // An interrupted wait has found nothing.
        poll(&mut watched, Some(&limit)).is_ok_and(|count| count > 0)
    }

    /// Calls `ready` repeatedly until it returns a value. Fails if the program ends first or the
    /// deadline passes.
    ///
    /// # Errors
    ///
    /// Returns a sentence with the reason.
    pub fn wait_until<T>(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, String> {
        let end = Instant::now() + limit;
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if self.ended_within(Duration::from_millis(5)) {
                return Err(format!("{} ended", self.line));
            }
            if Instant::now() >= end {
                return Err(format!("{} was not ready in {limit:?}", self.line));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The group is gone already if all of its processes ended by themselves, and the child was
        // reaped.
        let _gone = kill_process_group(self.group, Signal::KILL);
        let _reaped = self.child.wait();
    }
}

/// The output that a program writes to a pipe.
struct Output(Receiver<Vec<u8>>);

impl Output {
    /// Reads a pipe in another thread.
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            loop {
                let (part, is_last) = match pipe.read(&mut buffer) {
                    Ok(count) => (buffer.get(..count).unwrap_or_default().to_vec(), count == 0),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => (format!("\n(the pipe broke: {error})").into_bytes(), true),
                };
                if sender.send(part).is_err() || is_last {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// Returns all output of a program that has ended. Another program that it started may live on
    /// and keep the pipe open; then the output ends after `limit` with a line that says so.
    fn read_to_end(self, limit: Duration) -> Vec<u8> {
        let end = Instant::now() + limit;
        let mut bytes = Vec::new();
        loop {
            match self.0.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(part) => bytes.extend(part),
                Err(RecvTimeoutError::Disconnected) => return bytes,
                Err(RecvTimeoutError::Timeout) => {
                    bytes.extend(b"\n(another program keeps the pipe open)\n");
                    return bytes;
                }
            }
        }
    }
}

fn line(command: &Command) -> String {
    let word = |word: &OsStr| word.as_bytes().escape_ascii().to_string();
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::wait::patiently;

    #[test]
    fn output_and_exit_code_are_kept() {
        let ran =
            run_with(Command::new("sh").args(["-c", "cat; echo err >&2; exit 3"]), b"input", LIMIT);
        ran.exited(3);
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"input"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_hanging_program_is_killed_at_its_deadline() {
        patiently(Duration::from_millis(200), |limit| {
            let mut command = Command::new("sh");
            command.args(["-c", "printf said; sleep 1000 & sleep 1000"]);
            let failed = catch_unwind(AssertUnwindSafe(|| run_with(&mut command, &[], limit)));
            let message = failed.unwrap_err().downcast::<String>().unwrap();
            let want = "was killed at its deadline\n--- stdout, 4 bytes\nsaid";
            assert!(message.contains(want), "{message}");
        });
    }

    #[test]
    fn a_pipe_held_open_by_another_program_is_not_awaited() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf said; setsid sleep 1000 & echo $! >&2"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let mut stayed = String::new();
        assert!(child.wait().unwrap().success());
        assert_eq!(stdout.0.recv().unwrap(), b"said");
        let said = stdout.read_to_end(Duration::from_millis(100));
        assert_eq!(said, b"\n(another program keeps the pipe open)\n");
        io::BufReader::new(child.stderr.take().unwrap()).read_line(&mut stayed).unwrap();
        let stayed = Pid::from_raw(stayed.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(stayed, Signal::KILL).unwrap();
    }
}
