//! A terminal with a program on it: its output, its input, and whether the input is echoed.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::process::LIMIT;

/// A program with its own terminal, the controlling one of its session. It is killed on drop.
#[derive(Debug)]
pub struct Terminal {
    /// The program.
    pub child: Child,
    process: OwnedFd,
    master: File,
    /// The output that [`expect`](Self::expect) has not consumed yet.
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts a program with the terminal as its standard streams.
    #[track_caller]
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, |command, slave| {
            command.stdout(slave("standard output")).stderr(slave("standard error"));
        })
    }

    /// Starts a program with the terminal as its standard input. `others` sets the other streams;
    /// it can open further handles of the terminal.
    #[track_caller]
    #[must_use]
    pub fn start_with(
        command: &mut Command,
        others: impl FnOnce(&mut Command, &dyn Fn(&str) -> Stdio),
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("a size");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = open(&name, flags, Mode::empty()).expect("its other end can be opened");
        let handle = |what: &str| match slave.try_clone() {
            Ok(handle) => Stdio::from(handle),
            Err(error) => panic!("{what}: {error}"),
        };
        // setsid makes this the controlling terminal, which std cannot do.
        let mut session = Command::new("setsid");
        // As on any terminal, no signal is ignored, even if these tests run in the background or
        // under `nohup`.
        session.args(["--ctty", "/usr/bin/env", "--default-signal"]);
        session.arg(command.get_program()).args(command.get_args());
        session.env_clear().env("TERM", "xterm").env("NO_COLOR", "1");
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                session.env(name, value);
            }
        }
        session.stdin(handle("standard input"));
        others(&mut session, &handle);
        let child = session.spawn().unwrap_or_else(|error| panic!("setsid: {error}"));
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .expect("a child that is not waited for has a descriptor");
        Self { child, process, master: File::from(master), seen: Vec::new() }
    }

    /// Waits until `words` are shown, and removes all output up to their end.
    #[track_caller]
    pub fn expect(&mut self, words: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let at = self.seen.windows(words.len()).position(|shown| shown == words.as_bytes());
            if let Some(at) = at {
                self.seen.drain(..at + words.len());
                return;
            }
            let shown = String::from_utf8_lossy(&self.seen).into_owned();
            assert!(self.read(end), "no {words:?} in {shown:?}");
        }
    }

    /// Waits for `time`, and returns all output that has not been expected yet.
    #[must_use]
    pub fn shown_within(&mut self, time: Duration) -> String {
        let end = Instant::now() + time;
        while self.read(end) {}
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads the next output. Returns false if there is no more.
    fn read(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).expect("a minute at most");
        let mut watched = [PollFd::new(&self.master, PollFlags::IN)];
        if !retry_on_intr(|| poll(&mut watched, Some(&limit))).is_ok_and(|count| count > 0) {
            return false;
        }
        let mut piece = [0; 4_096];
        match self.master.read(&mut piece) {
            Ok(length) => {
                self.seen.extend_from_slice(piece.get(..length).unwrap_or_default());
                length > 0
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    /// Types text; `\x03` is Ctrl-C.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("a terminal takes what is typed");
    }

    /// Changes the size of the window.
    #[track_caller]
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a size");
    }

    /// Returns whether typed text is echoed.
    #[track_caller]
    #[must_use]
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("the modes of a terminal").local_modes;
        modes.contains(LocalModes::ECHO)
    }

    /// Sends a signal to the program.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Waits until the program is stopped.
    #[track_caller]
    pub fn is_stopped(&self) {
        let end = Instant::now() + LIMIT;
        let path = format!("/proc/{}/stat", self.child.id());
        loop {
            let stat = std::fs::read_to_string(&path).unwrap_or_default();
            if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")) {
                return;
            }
            assert!(Instant::now() < end, "not stopped: {stat}");
            let mut watched = [PollFd::new(&self.process, PollFlags::IN)];
            let moment = Timespec::try_from(Duration::from_millis(5)).expect("a moment");
            let ended = poll(&mut watched, Some(&moment)).is_ok_and(|count| count > 0);
            assert!(!ended, "it ended");
        }
    }

    /// Waits for the end of the program, and returns its exit status and the output that was not
    /// expected yet.
    #[track_caller]
    pub fn end(&mut self) -> (ExitStatus, String) {
        let end = Instant::now() + LIMIT;
        loop {
            let mut watched = [
                PollFd::new(&self.process, PollFlags::IN),
                PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN),
            ];
            let left = end.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).expect("a minute at most");
            let count = retry_on_intr(|| poll(&mut watched, Some(&limit)));
            let seen = String::from_utf8_lossy(&self.seen);
            let threads = if count == Ok(0) { threads_of(&self.child) } else { String::new() };
            let is_over = count.is_ok_and(|count| count > 0);
            assert!(is_over, "it does not end: {count:?}, {seen:?}{threads}");
            let [process, shown] = &watched;
            let (has_ended, has_shown) =
                (!process.revents().is_empty(), shown.revents().contains(PollFlags::IN));
            if has_shown {
                self.read(end);
            } else if has_ended {
                let status = self.child.wait().expect("it ended");
                return (status, String::from_utf8_lossy(&self.seen).into_owned());
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The group is gone already if the program ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns what each thread of a program waits for, and its pending signals, for the message of a
/// failed test.
fn threads_of(child: &Child) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten();
    let mut text = String::new();
    for path in tasks.flatten().map(|task| task.path()) {
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        let status = read("status");
        let wanted = ["Name:", "State:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"];
        let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
        let words: Vec<&str> = lines.collect();
        let (call, place) = (read("syscall"), read("wchan"));
        text.push_str(&format!("\n{} in {place}, {}", words.join(" "), call.trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_on_a_terminal() {
        let mut command = Command::new("/bin/sh");
        let mut shell = Terminal::start(command.args([
            "-c",
            "tty >/dev/null && echo is </dev/tty >/dev/tty; read x; echo \"got $x\"; exit 3",
        ]));
        shell.expect("is");
        assert!(shell.echoes());
        shell.type_in("word\n");
        shell.expect("got word");
        let (status, _) = shell.end();
        assert_eq!(status.code(), Some(3));
    }
}
