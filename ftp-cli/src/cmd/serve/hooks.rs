//! Runs the program of `hooks.stored` after each completed upload.
//!
//! A session's thread is confined to its user's files, and a program that it starts would be too.
//! So the session only queues the event; threads that existed before any session start the program.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ftp_proto::Escaped;
use ftp_server::{Direction, Event, EventKind, Observer, Transfer};
use rustix::process::{Pid, Signal, kill_process_group};

use super::logging::LOG;
use super::settings::Settings;
use super::systemd;
use super::users;
use crate::connect::credentials::VARIABLE;
use crate::console::threads;
use crate::lock::lock;
use crate::options::values;

/// Number of programs that run at once.
const AT_ONCE: usize = 4;

/// Number of files in the queue. If the queue is full, a user with fewer files in it replaces a
/// file of the user with most.
const WAITING: usize = 1_000;

/// Pauses between checks whether a program has ended: short at first, then longer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Time that the shutdown waits for killed programs.
const KILLED: Duration = Duration::from_secs(2);

/// Program to start, and its timeout.
#[derive(Debug, Eq, PartialEq)]
struct Hook {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
}

/// A stored file.
#[derive(Debug)]
struct Stored {
    hook: Arc<Hook>,
    user: Vec<u8>,
    peer: IpAddr,
    /// Path as the user sees it, and on the disk.
    path: Vec<u8>,
    local: Option<PathBuf>,
    bytes: u64,
}

/// Runner of the upload hook, if one is set.
#[derive(Default)]
pub(super) struct Hooks {
    state: Mutex<State>,
    changed: Condvar,
}

/// Queue of files: users take turns, so that one with many small files does not delay the others.
#[derive(Default)]
struct Queue {
    /// One queue per user with a file here, in the order of their turns; none is empty.
    users: VecDeque<VecDeque<Stored>>,
    /// Number of files in all queues.
    length: usize,
}

impl Queue {
    /// Adds a file. Returns the file that has no place: the newest of the user with most files, who
    /// may be the same user.
    fn push(&mut self, stored: Stored) -> Option<Stored> {
        let is_of_user =
            |queue: &VecDeque<Stored>| queue.front().is_some_and(|first| first.user == stored.user);
        let at = self.users.iter().position(is_of_user);
        match at.and_then(|at| self.users.get_mut(at)) {
            Some(queue) => queue.push_back(stored),
            None => self.users.push_back(VecDeque::from([stored])),
        }
        self.length += 1;
        if self.length <= WAITING {
            return None;
        }
        let longest = self.users.iter_mut().max_by_key(|queue| queue.len());
        let refused = longest.and_then(VecDeque::pop_back);
        self.users.retain(|queue| !queue.is_empty());
        self.length -= 1;
        refused
    }

    /// Returns the next file, of the user whose turn it is.
    fn pop(&mut self) -> Option<Stored> {
        let mut queue = self.users.pop_front()?;
        let stored = queue.pop_front();
        if !queue.is_empty() {
            self.users.push_back(queue);
        }
        self.length -= 1;
        stored
    }
}

#[derive(Default)]
struct State {
    hook: Option<Arc<Hook>>,
    waiting: Queue,
    running: usize,
    threads: usize,
    /// The shutdown no longer waits for running programs.
    is_cut: bool,
    /// No program is started any more, and running ones are killed.
    is_over: bool,
}

impl Hooks {
    /// Starts the threads that these settings need.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it refuses a thread.
    pub(super) fn prepare(self: &Arc<Self>, settings: &Settings) -> io::Result<()> {
        while !settings.stored_hook.is_empty() && self.state().threads < AT_ONCE {
            let hooks = Arc::clone(self);
            threads::start("hooks", move || hooks.work())?;
            self.state().threads += 1;
        }
        Ok(())
    }

    /// Applies settings that [`prepare`](Self::prepare) has accepted.
    pub(super) fn set(&self, settings: &Settings) {
        let hook = settings.stored_hook.split_first().map(|(program, arguments)| {
            let program = program.clone();
            let arguments = arguments.to_vec();
            Arc::new(Hook { program, arguments, limit: settings.hook_timeout })
        });
        self.state().hook = hook;
    }

    /// Makes [`finish`](Self::finish) stop waiting.
    pub(super) fn cut(&self) {
        self.state().is_cut = true;
        self.changed.notify_all();
    }

    /// Waits for the queued programs for at most `limit`, then kills the running ones and drops the
    /// others.
    pub(super) fn finish(&self, limit: Duration) {
        let is_busy =
            |state: &mut State| !state.is_cut && (state.running > 0 || state.waiting.length > 0);
        let waited = self.changed.wait_timeout_while(self.state(), limit, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        let left = std::mem::take(&mut state.waiting).length;
        if left > 0 {
            log::error!(target: LOG, "hooks.stored: not started for {left} files: the server is stopping");
        }
        self.changed.notify_all();
        let is_busy = |state: &mut State| state.running > 0;
        drop(self.changed.wait_timeout_while(state, KILLED, is_busy));
    }

    fn work(&self) {
        loop {
            let is_idle = |state: &mut State| state.waiting.length == 0 && !state.is_over;
            let waited = self.changed.wait_while(self.state(), is_idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(stored) = state.waiting.pop() else { return };
            state.running += 1;
            drop(state);
            let run = || stored.run(|| self.state().is_over);
            let ran = catch_unwind(AssertUnwindSafe(run));
            let failure = ran.unwrap_or_else(|_| Err("panicked".to_owned())).err();
            if let Some(why) = failure {
                stored.complain(&why);
            }
            self.state().running -= 1;
            self.changed.notify_all();
        }
    }

    /// Queues a file, and logs the file that is dropped.
    fn push(&self, stored: Stored) {
        let mut state = self.state();
        let refused = match state.is_over {
            true => Some(stored),
            false => state.waiting.push(stored),
        };
        drop(state);
        self.changed.notify_all();
        if let Some(refused) = refused {
            refused.complain("not started: the queue is full");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Observer for Hooks {
    fn observe(&self, event: &Event<'_>) {
        let EventKind::Transferred(Transfer { direction, end, path, bytes, .. }) = event.kind
        else {
            return;
        };
        if direction != Direction::Received || !end.is_whole() {
            return;
        }
        let Some(hook) = self.state().hook.clone() else { return };
        self.push(Stored {
            hook,
            user: event.user.unwrap_or_default().to_vec(),
            peer: event.peer.ip(),
            path: path.as_bytes().to_vec(),
            local: users::local_path(path),
            bytes,
        });
    }
}

impl Stored {
    /// Runs the program until it ends. Kills its process group after the timeout, or once
    /// `is_over`.
    ///
    /// # Errors
    ///
    /// Returns a message if it could not be started, failed, or was killed.
    fn run(&self, is_over: impl Fn() -> bool) -> Result<(), String> {
        let mut command = Command::new(&self.hook.program);
        command.args(&self.hook.arguments).process_group(0).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env_remove(VARIABLE).env_remove("FTP_LOCAL_PATH");
        for variable in systemd::VARIABLES {
            command.env_remove(variable);
        }
        command.env("FTP_USER", OsStr::from_bytes(&self.user));
        command.env("FTP_PEER", self.peer.to_string());
        command.env("FTP_PATH", OsStr::from_bytes(&self.path));
        command.env("FTP_BYTES", self.bytes.to_string());
        command.envs(self.local.iter().map(|path| ("FTP_LOCAL_PATH", path)));
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let start = Instant::now();
        let group = Pid::from_child(&child);
        let mut pause = PAUSES.0;
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(status.to_string()),
                None => {}
            }
            let left = self.hook.limit.saturating_sub(start.elapsed());
            let is_late = left.is_zero();
            if is_late || is_over() {
                // The process is not reaped yet, so its process id is still valid.
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                return Err(match is_late {
                    true => format!("killed after {}", values::show(self.hook.limit)),
                    false => "killed: the server is stopping".to_owned(),
                });
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn complain(&self, why: &str) {
        let program = &self.hook.program;
        let path = Escaped(&self.path);
        let user = Escaped(&self.user);
        log::error!(target: LOG, "hooks.stored: {program} for {path} of {user}: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(arguments: &[&str], limit: Duration) -> Stored {
        let (program, arguments) = arguments.split_first().unwrap();
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let hook = Arc::new(Hook { program: (*program).to_owned(), arguments, limit });
        let user = b"u".to_vec();
        let peer = [127, 0, 0, 1].into();
        Stored { hook, user, peer, path: b"/a b".to_vec(), local: None, bytes: 5 }
    }

    #[test]
    fn what_becomes_of_a_program_is_said() {
        let long = Duration::from_secs(60);
        for (arguments, limit, is_over, want) in [
            (&["/bin/sh", "-c", "exit 0"][..], long, false, Ok(())),
            (&["/bin/sh", "-c", "exit 3"], long, false, Err("exit status: 3")),
            (&["/bin/sh", "-c", "kill -9 $$"], long, false, Err("signal: 9 (SIGKILL)")),
            (&["/nonexistent"], long, false, Err("No such file or directory (os error 2)")),
            (&["/dev/null"], long, false, Err("Permission denied (os error 13)")),
            (&["/bin/sleep", "60"], Duration::from_millis(50), false, Err("killed after 50 ms")),
            (&["/bin/sleep", "60"], long, true, Err("killed: the server is stopping")),
        ] {
            let ran = stored(arguments, limit).run(|| is_over);
            assert_eq!(ran, want.map_err(str::to_owned), "{arguments:?}");
        }
        let mut nul = stored(&["/bin/true"], long);
        nul.user = b"a\0b".to_vec();
        assert!(nul.run(|| false).unwrap_err().contains("nul byte"));
    }

    #[test]
    fn a_program_is_told_what_was_stored_and_no_password() {
        let test = "[ \"$FTP_USER $FTP_PEER $FTP_PATH $FTP_BYTES ${FTP_LOCAL_PATH-none}\" = \
                    \"u 127.0.0.1 /a b 5 none\" ] && [ \"$#\" = 2 ] && [ \"$2\" = '$(id) ;' ]";
        let arguments = ["/bin/sh", "-c", test, "sh", "a  b", "$(id) ;"];
        assert_eq!(stored(&arguments, Duration::from_secs(60)).run(|| false), Ok(()));
    }

    #[test]
    fn a_thousand_files_wait_and_no_more() {
        let hooks = Hooks::default();
        for _ in 0..WAITING + 3 {
            hooks.push(stored(&["/bin/true"], Duration::from_secs(60)));
        }
        assert_eq!(hooks.state().waiting.length, WAITING);
        hooks.finish(Duration::ZERO);
        hooks.push(stored(&["/bin/true"], Duration::from_secs(60)));
        assert_eq!(hooks.state().waiting.length, 0);
    }

    #[test]
    fn a_user_with_many_files_does_not_starve_the_others() {
        let of = |user: &[u8]| {
            let user = user.to_vec();
            Stored { user, ..stored(&["/bin/true"], Duration::from_secs(60)) }
        };
        let mut queue = Queue::default();
        for _ in 0..WAITING {
            assert!(queue.push(of(b"camera")).is_none());
        }
        // The queue is full: the user who filled it gives up a place, and gets none.
        assert_eq!(queue.push(of(b"scanner")).unwrap().user, b"camera");
        assert_eq!(queue.push(of(b"camera")).unwrap().user, b"camera");
        assert_eq!(queue.length, WAITING);
        let first: Vec<_> = (0..3).map(|_| queue.pop().unwrap().user).collect();
        assert_eq!(first, [&b"camera"[..], b"scanner", b"camera"]);
        while queue.pop().is_some() {}
        assert_eq!((queue.length, queue.users.len()), (0, 0));
    }
}
