//! Other programs: each in its own process group and with a deadline; all processes are ended.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The longest run of a client process, unless a test sets another limit.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The end of a program and its output.
#[derive(Clone)]
pub struct Ran {
    /// The command line.
    pub command: String,
    /// The exit status; `None` if it was killed at the deadline.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Returns the exit code, if it ended by itself.
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
    let writer = running.child.stdin.take().map(|mut stdin| {
        let input = input.to_vec();
        // A program that does not read all of its input is judged by its exit status.
        thread::spawn(move || stdin.write_all(&input).is_ok())
    });
    let stdout = running.child.stdout.take().map(collect);
    let stderr = running.child.stderr.take().map(collect);
    let status = running.wait(end);
    drop(running);
    let joined = |reader: Option<JoinHandle<Vec<u8>>>| {
        reader.map(|reader| reader.join().expect("a reader does not panic")).unwrap_or_default()
    };
    let ran = Ran { command: line, status, stdout: joined(stdout), stderr: joined(stderr) };
    if let Some(writer) = writer {
        writer.join().expect("a writer does not panic");
    }
    assert!(ran.status.is_some(), "{ran:?}");
    ran
}

/// A program that is killed on drop, together with all programs that it has started.
#[derive(Debug)]
pub struct Running {
    /// Returns its handle, for the pipes.
    pub child: Child,
    line: String,
    group: Pid,
    process: OwnedFd,
}

impl Running {
    /// Starts a program. Its standard streams are those of `command`: read its pipes, or the
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

    /// Waits for its end; `None` at the deadline.
    pub fn wait(&mut self, end: Instant) -> Option<ExitStatus> {
        while !self.ended_within(end.saturating_duration_since(Instant::now())) {
            if Instant::now() >= end {
                return None;
            }
        }
        Some(self.child.wait().unwrap_or_else(|error| panic!("{}: {error}", self.line)))
    }

    /// Returns whether it ended, after at most `limit`.
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

/// Reads a pipe to its end in another thread.
fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read: io::Result<_> = pipe.read_to_end(&mut bytes);
        if let Err(error) = read {
            bytes.extend(format!("\n(the pipe broke: {error})").into_bytes());
        }
        bytes
    })
}

fn line(command: &Command) -> String {
    let word = |word: &OsStr| word.as_bytes().escape_ascii().to_string();
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_exit_code_are_kept() {
        let ran =
            run_with(Command::new("sh").args(["-c", "cat; echo err >&2; exit 3"]), b"input", LIMIT);
        ran.exited(3);
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"input"[..], &b"err\n"[..]));
    }

    #[test]
    #[should_panic(expected = "was killed at its deadline\n--- stdout, 4 bytes\nsaid")]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf said; sleep 1000 & sleep 1000"]);
        run_with(&mut command, &[], Duration::from_millis(200));
    }
}
