//! The command of `--password-command`, which must not outlive this process.

use std::fs;
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::lock::lock;

/// Child processes that were not reaped yet, so that no other process can have their numbers.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Depth to which descendants are searched.
const DEEPEST: usize = 32;

/// A child process that [`end`] ends.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn watch(child: Child) -> Self {
        lock(&RUNNING).push(Pid::from_child(&child));
        Self(child)
    }

    /// Kills the child process.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
    }

    /// Waits for the end of the child process.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        let id = Pid::from_child(&self.0);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(id), ended), Err(Errno::INTR)) {}
        // Reaped under the lock, so that `end` signals no other process.
        let mut running = lock(&RUNNING);
        running.retain(|other| *other != id);
        self.0.wait()
    }
}

/// Sends SIGTERM to the child processes and their descendants. They share the process group of this
/// process, because a command may ask for a passphrase on the terminal.
pub(crate) fn end() {
    for process in lock(&RUNNING).iter() {
        end_all(*process, DEEPEST);
    }
}

fn end_all(process: Pid, depth: usize) {
    let id = process.as_raw_nonzero();
    // Read first: when the process has ended, its children have another parent.
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let _ = kill_process(process, Signal::TERM);
    let Some(depth) = depth.checked_sub(1) else { return };
    for child in children.unwrap_or_default().split_ascii_whitespace() {
        if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
            end_all(child, depth);
        }
    }
}
