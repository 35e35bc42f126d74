//! The daemon: makes a server of a configuration file, with users, hooks, login programs,
//! certificates, logs, metrics, a control socket, and the protocols of systemd.
//!
//! ```no_run
//! use ftp_server::daemon::{Config, Daemon};
//!
//! let mut config = Config::read("server.toml")?;
//! config.set("limits.sessions", "100")?; // overrides the file
//! let daemon = Daemon::start(config)?;
//! daemon.join()?;
//! # Ok::<(), ftp_server::daemon::DaemonError>(())
//! ```
//!
//! The daemon installs no signal handler, reads no environment variable, changes neither its user
//! nor its umask, and prints nothing. A program that wants these things does them itself, with
//! [`Setup`], [`Config::environment`] and [`Daemon::reload`]. Messages go to the `log` crate.

mod apply;
mod certificate;
mod check;
mod config;
pub mod control;
mod home;
mod hooks;
mod local_socket;
mod logging;
mod logins;
mod metrics;
mod own_files;
mod privileges;
mod programs;
mod reload;
mod run;
mod running;
mod store_kind;
mod stores;
mod systemd;
mod upload_check;
mod users;

pub use self::check::CheckReport;
pub use self::config::{Config, SettingHelp};
pub use self::logging::DaemonLog;
pub use self::privileges::RunAs;
pub use self::run::{Daemon, Setup};
pub use self::store_kind::{OpenStore, StoreKey, StoreKind, StoreValues};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use crate::lock::Lock;
use crate::threads;

/// Why a configuration is refused, or why a daemon cannot start or change. `Display` shows it
/// without its [`lines`](Self::lines).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DaemonError {
    pub(crate) kind: DaemonErrorKind,
    pub(crate) message: String,
    pub(crate) lines: Vec<String>,
}

/// Who can correct a [`DaemonError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaemonErrorKind {
    /// The author of the configuration: a value is invalid or contradicts another.
    Configuration,
    /// The owner of a local file, directory or socket.
    Local,
    /// The network: an address cannot be bound, or another server does not answer.
    Network,
    /// This build, or another server, lacks an ability.
    Unsupported,
    /// The system has no thread or memory left, or the daemon has ended.
    Internal,
}

impl DaemonError {
    pub(crate) fn new(kind: DaemonErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), lines: Vec::new() }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(DaemonErrorKind::Configuration, message)
    }

    pub(crate) fn local(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(DaemonErrorKind::Local, format!("{what}: {error}"))
    }

    pub(crate) fn no_thread(what: &str, error: &io::Error) -> Self {
        let message = format!("cannot start a thread for {what}: {error}");
        Self::new(DaemonErrorKind::Internal, message)
    }

    pub(crate) fn refused(name: &str, lines: Vec<String>) -> Self {
        let errors = ftp_proto::text::values::counted(lines.len(), "error");
        Self { lines, ..Self::configuration(format!("{name}: {errors}")) }
    }

    /// Returns who can correct the error.
    #[must_use]
    pub fn kind(&self) -> DaemonErrorKind {
        self.kind
    }

    /// Returns one line for each error in the configuration: `FILE:LINE:COLUMN: KEY: REASON`, with
    /// a suggestion if a similar key or value exists. Empty for other errors.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns the lines and the message, one per line.
    pub(crate) fn whole(&self) -> String {
        let message = std::iter::once(&self.message);
        self.lines.iter().chain(message).cloned().collect::<Vec<_>>().join("\n")
    }
}

/// Stack of a thread, in bytes. Only touched pages use memory.
const STACK: usize = 2 * 1024 * 1024;

/// Starts a thread with this name.
///
/// # Errors
///
/// Returns the system's error if the thread cannot be started.
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    threads::start(Some(name), STACK, work)
}

// On a hard-mounted file system whose server is down, a call blocks uninterruptibly until the server
// is back. The thread that feeds the watchdog, answers the control socket and stops the daemon must
// never make such a call: helper threads make it, with a deadline.

/// Longest time between two answers. Disks that must spin up first are only reported too early.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });

/// Largest number of threads that ask the same kind of question at once.
const ASKING: usize = 4;

/// Largest number of threads in the process that ask or still wait for an answer. Beyond it, no
/// question is asked: each reload would add to them. Tests of many daemons share one process.
const MOST: usize = if cfg!(test) { 256 } else { 32 };

/// Number of threads that ask or wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// What became of a question.
#[derive(Debug, Eq, PartialEq)]
enum DiskAnswer<T> {
    Given(T),
    /// The question was asked, and nothing has answered it.
    Missing,
    /// Too many other questions wait for their answers.
    NotAsked,
}

impl<T> DiskAnswer<T> {
    /// Returns the answer, if there is one.
    fn given(self) -> Option<T> {
        match self {
            Self::Given(answer) => Some(answer),
            Self::Missing | Self::NotAsked => None,
        }
    }
}

/// One of the threads that count.
struct Seat;

impl Seat {
    fn take() -> Option<Self> {
        let more = |waiting| (waiting < MOST).then_some(waiting + 1);
        let taken = WAITING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.ok().map(|_| Self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls `ask` for all questions, several at a time, and returns their outcomes in the same order.
/// Gives up on the pending ones once no call has returned for [`PATIENCE`].
fn answers<Q: Send + 'static, A: Send + 'static>(
    questions: Vec<Q>,
    ask: impl Fn(Q) -> A + Send + Sync + 'static,
) -> Vec<DiskAnswer<A>> {
    let mut all: Vec<DiskAnswer<A>> = questions.iter().map(|_| DiskAnswer::NotAsked).collect();
    let queue = Arc::new(Lock::new(questions.into_iter().enumerate()));
    let (ask, (sender, given)) = (Arc::new(ask), mpsc::channel());
    for _ in 0..ASKING.min(all.len()) {
        let Some(seat) = Seat::take() else { break };
        let (queue, ask, sender) = (Arc::clone(&queue), Arc::clone(&ask), sender.clone());
        let work = move || {
            let _seat = seat;
            loop {
                let Some((at, question)) = queue.lock().next() else { return };
                // The send fails only after the caller has given up, and then the queue is empty
                // too.
                let _ = sender.send((at, None));
                let _ = sender.send((at, Some(ask(question))));
            }
        };
        if start_thread("disks", work).is_err() {
            break;
        }
    }
    drop(sender);
    loop {
        match given.recv_timeout(PATIENCE) {
            Ok((at, answer)) => {
                if let Some(place) = all.get_mut(at) {
                    *place = answer.map_or(DiskAnswer::Missing, DiskAnswer::Given);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => {
                // A call that unblocks later must not start the next one.
                queue.lock().by_ref().for_each(drop);
                return all;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ftp_tests::wait::wait_until;

    use super::*;

    #[test]
    fn what_does_not_answer_holds_up_nothing_but_its_own_thread() {
        assert_eq!(answers(Vec::<u8>::new(), |_| ()), []);
        assert_eq!(answers((0..100).collect(), |number: u32| number * 2).len(), 100);
        let (release, held) = mpsc::channel::<()>();
        let held = Lock::new(held);
        let silent = move |number: u32| {
            if number == 1 {
                // Until the test ends it.
                let _ = held.lock().recv();
            }
            number * 2
        };
        let found = answers(vec![0, 1, 2, 3, 4, 5], silent);
        let want = [0, 0, 4, 6, 8, 10].map(DiskAnswer::Given);
        for (at, (found, want)) in found.iter().zip(&want).enumerate() {
            assert_eq!(found, if at == 1 { &DiskAnswer::Missing } else { want });
        }
        // Where all threads wait, the rest is not asked.
        let (all, held) = mpsc::channel::<()>();
        let held = Lock::new(held);
        let found = answers((0..6).collect(), move |_: u32| held.lock().recv().is_ok());
        let counted = |want: &DiskAnswer<bool>| found.iter().filter(|found| *found == want).count();
        assert_eq!((counted(&DiskAnswer::Missing), counted(&DiskAnswer::NotAsked)), (ASKING, 2));
        drop((release, all));
        wait_until("the threads have ended", || WAITING.load(Ordering::SeqCst) == 0);
    }
}
