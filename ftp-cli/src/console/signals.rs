//! Handles SIGINT, SIGTERM and SIGHUP: a command aborts its transfer, ends within a second and
//! leaves no temporary file. An ignored SIGHUP (`nohup`) stays ignored. If a file exceeds
//! `ulimit -f`, that is a write error (EFBIG), like a full disk, and does not end the process.
//!
//! After a signal or at the limit of `--timeout`, another thread ends the process, once the main
//! thread has released its resources. The command of `--password-command` does not outlive it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread::Builder;
use std::time::{Duration, Instant};

use ftp_client::Canceller;
use ftp_client::error::Phase;
use log::LevelFilter;

use super::output::{self, Messages};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Command, Options};
use crate::report::Events;
use crate::system::{self, SIGINT, SIGTERM, end_children, restore, start_thread};
use crate::{Stdio, lock};

/// Maximum time for the last message, because standard error may have no reader.
const LAST_WORD: Duration = Duration::from_millis(250);

/// The canceller of all transfers, which a signal triggers. A transfer that is cancelled removes its
/// temporary file.
#[derive(Clone, Default)]
pub(crate) struct Cleanup {
    canceller: Option<Canceller>,
    /// What Ctrl-C ends in a session at a terminal; elsewhere, it ends the process.
    aimed: Option<Arc<Mutex<Aimed>>>,
}

/// What Ctrl-C ends in a session at a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Aim {
    /// The work of a [`Cleanup`]; the process, if that is cancelled already.
    Work,
    /// The same, and so does a continuation after Ctrl-Z: the prompt is shown again.
    Prompt,
}

#[derive(Clone, Default)]
enum Ends {
    #[default]
    Process,
    Work(Canceller, Aim),
    Nothing,
}

/// The target of Ctrl-C. The thread of signals can be late: when it receives a SIGINT, the program
/// that owned the terminal may have ended.
#[derive(Default)]
struct Aimed {
    ends: Ends,
    /// Whether a SIGINT was heard while another program owned the terminal.
    is_heard: bool,
    /// Whether the next SIGINT to be heard was for that program.
    is_late: bool,
}

impl Aimed {
    /// Returns what the SIGINT that is heard now ends.
    fn hear(&mut self) -> Ends {
        self.is_heard = true;
        match std::mem::take(&mut self.is_late) {
            true => Ends::Nothing,
            false => self.ends.clone(),
        }
    }
}

impl Cleanup {
    /// Starts the log of a command. Then watches for signals in a separate thread, if this run owns
    /// the process. The first signal cancels all transfers; once they are aborted, or have taken too
    /// long, the thread ends the process.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`output::start`], and `Internal` if the system refuses the handlers or
    /// the thread.
    pub(crate) fn start(options: &Options, stdio: &Stdio) -> Result<Self> {
        Self::begin(options, stdio, None)
    }

    /// Starts like [`start`](Self::start) for a session at a terminal, where [`aim`](Self::aim) sets
    /// what Ctrl-C ends. Until then, it ends the process.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`start`](Self::start).
    pub(crate) fn start_session(options: &Options, stdio: &Stdio) -> Result<Self> {
        let aimed = Arc::new(Mutex::new(Aimed::default()));
        let this = Self::begin(options, stdio, Some(Arc::clone(&aimed)))?;
        let again = move || {
            if let Ends::Work(prompt, Aim::Prompt) = &lock(&aimed).ends {
                // The rest of a line would run as another one. At a Ctrl-C, the terminal discards it.
                system::discard_typed();
                prompt.cancel();
            }
        };
        system::on_continue(again).map_err(|error| refused(&error))?;
        Ok(this)
    }

    fn begin(options: &Options, stdio: &Stdio, aimed: Option<Arc<Mutex<Aimed>>>) -> Result<Self> {
        output::start(options, &stdio.messages, LevelFilter::Warn)?;
        if !stdio.is_process {
            return Ok(Self::default());
        }
        let this = Self { canceller: None, aimed }.renewed()?;
        let _ = stdio.cleanup.set(this.clone());
        let (early, aimed) = (EarlyEnd::of(stdio), this.aimed.clone());
        on_signals(false, move |signal| {
            let aimed = aimed.as_ref().filter(|_| signal == SIGINT);
            match aimed.map(|aimed| lock(aimed).hear()) {
                Some(Ends::Nothing) => {}
                Some(Ends::Work(work, _)) if !work.is_cancelled() => work.cancel(),
                _ => early.end(ended_by(signal)),
            }
        })?;
        Ok(this)
    }

    /// Returns a cleanup of the same session for other work.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if no file descriptor is left.
    pub(crate) fn renewed(&self) -> Result<Self> {
        let canceller = Canceller::new().map_err(|error| refused(&error))?;
        Ok(Self { canceller: Some(canceller), aimed: self.aimed.clone() })
    }

    pub(crate) fn aim(&self, aim: Aim) {
        let Some(aimed) = &self.aimed else { return };
        let canceller = self.canceller.clone();
        lock(aimed).ends = canceller.map_or(Ends::Process, |work| Ends::Work(work, aim));
    }

    /// Runs a program that owns the terminal: Ctrl-C is for it alone.
    pub(crate) fn lend<T>(&self, run: impl FnOnce() -> T) -> T {
        let Some(aimed) = &self.aimed else { return run() };
        *lock(aimed) = Aimed { ends: Ends::Nothing, ..Aimed::default() };
        let (done, is_interrupted) = system::hearing_interrupt(run);
        let mut aimed = lock(aimed);
        aimed.is_late = is_interrupted && !aimed.is_heard;
        done
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.canceller.as_ref().is_some_and(Canceller::is_cancelled)
    }

    /// Returns the canceller that signals trigger.
    pub(crate) const fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
    }

    fn cancel(&self) {
        let ends = self.aimed.as_ref().map(|aimed| lock(aimed).ends.clone());
        if let Some(Ends::Work(work, _)) = ends {
            work.cancel();
        }
        if let Some(canceller) = &self.canceller {
            canceller.cancel();
        }
    }
}

/// Everything that a thread needs to end the process while the main thread works or waits.
#[derive(Clone)]
pub(super) struct EarlyEnd {
    /// Set once the command can create files and connections.
    cleanup: Arc<OnceLock<Cleanup>>,
    ending: Ending,
    messages: Messages,
    events: Events,
}

impl EarlyEnd {
    pub(super) fn of(stdio: &Stdio) -> Self {
        Self {
            cleanup: Arc::clone(&stdio.cleanup),
            ending: stdio.ending.clone(),
            messages: stdio.messages.clone(),
            events: stdio.events.clone(),
        }
    }

    /// Returns whether the command can have created files or connections.
    pub(super) fn has_begun(&self) -> bool {
        self.cleanup.get().is_some()
    }

    /// Cancels all transfers; once they are aborted, or have taken too long, ends the process.
    fn end(&self, failure: Failure) {
        let cleanup = self.cleanup.get();
        self.ending.begin(cleanup);
        let hint = self.messages.usage.left.get().map_or("", String::as_str);
        let failure = Failure { message: failure.message + hint, ..failure };
        end_because(failure, &self.messages, &self.events);
    }
}

fn ended_by(signal: i32) -> Failure {
    match signal {
        SIGINT => Failure::new(Exit::Interrupted, "interrupted"),
        SIGTERM => Failure::new(Exit::Terminated, "terminated"),
        _ => Failure::new(Exit::HungUp, "hung up"),
    }
}

/// Returns the failure of a run that the time limit ends. Not made of the library's error, whose texts
/// a build with only the server does not need.
fn timed_out() -> Failure {
    let failure = Failure::new(Exit::Timeout, format!("timed out {}", Phase::Overall));
    Failure { phase: Some(Phase::Overall), ..failure }
}

/// Calls `act` in a separate thread with each signal that asks the process to end. If
/// `hears_hangup` is set, `act` also receives a SIGHUP that was ignored at startup, because it does
/// not mean the end.
///
/// # Errors
///
/// Returns `Internal` if the system refuses the handlers or the thread.
pub(crate) fn on_signals(hears_hangup: bool, act: impl FnMut(i32) + Send + 'static) -> Result {
    system::listen(hears_hangup, act).map_err(|error| refused(&error))
}

fn refused(error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("signals: {error}"))
}

/// Ends the process: with exit code 130 for SIGINT, 143 for SIGTERM, and by the signal itself for
/// SIGHUP.
pub(crate) fn end(signal: i32, messages: &Messages, events: &Events) {
    end_because(ended_by(signal), messages, events);
}

#[expect(clippy::exit, reason = "the main thread may be blocked, or has released its resources")]
fn end_because(failure: Failure, messages: &Messages, events: &Events) {
    restore();
    end_children();
    let exit = failure.exit;
    // A full pipe blocks its writers, and the main thread may already be one of them.
    let messages = messages.clone();
    let events = events.clone();
    let (said, has_said) = mpsc::sync_channel(1);
    let last_word = Builder::new().spawn(move || {
        if messages.redraws() {
            // Overwrites the rest of the progress line.
            messages.write(b"\r\x1b[K");
        }
        messages.fail(&failure.message);
        events.cancelled(&failure);
        messages.settle();
        let _ = said.send(());
    });
    if last_word.is_ok() {
        let _ = has_said.recv_timeout(LAST_WORD);
    }
    if exit == Exit::HungUp {
        system::end_by_hangup();
    }
    std::process::exit(exit.code().into());
}

/// Maximum time for the main thread to abort its transfers and release its resources. With the 250
/// ms for the last message, the process ends within a second.
const GOOD_BYE: Duration = Duration::from_millis(500);

/// Stage of the shutdown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Running,
    /// The main thread must release its resources.
    Begun,
    /// The main thread has released its resources, and does nothing more.
    LetGo,
}

/// Agreement between the main thread and another one about who ends the process.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<(Mutex<Stage>, Condvar)>);

impl Ending {
    /// Cancels the transfers, ends the child processes, and waits a short time for the main thread
    /// to release its resources.
    pub(super) fn begin(&self, cleanup: Option<&Cleanup>) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        *stage = Stage::Begun;
        // Cancelled only once the stage is set: the main thread may then call `heed` at once.
        if let Some(cleanup) = cleanup {
            cleanup.cancel();
        }
        restore();
        end_children();
        let _ = changed.wait_timeout_while(stage, GOOD_BYE, |stage| *stage != Stage::LetGo);
    }

    /// Returns at once, unless the shutdown has begun: then parks the main thread for good, and the
    /// other thread ends the process.
    pub(crate) fn heed(&self) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        if *stage == Stage::Begun {
            *stage = Stage::LetGo;
            drop(stage);
            changed.notify_all();
            loop {
                std::thread::park();
            }
        }
    }
}

/// Additional time for the main thread to end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// Additional time for `doctor`, which reports its findings and removes its files after the limit.
/// It ends sooner if it has not begun yet.
const GRACE_OF_DOCTOR: Duration = Duration::from_secs(5);

/// Starts the thread that ends the run at the limit of `--timeout`, if this run owns the process. It
/// does so even if the main thread waits for something local: a FIFO, a full pipe, standard input, a
/// password command.
///
/// Waits for the network end by themselves at the same limit, with a better message, so this thread
/// acts a little later.
///
/// # Errors
///
/// Returns `Usage` for an invalid limit, and `Internal` if the system refuses the thread.
pub(crate) fn start_watchdog(command: Option<Command>, options: &Options, stdio: &Stdio) -> Result {
    let Some(end) = options.end()?.filter(|_| stdio.is_process) else { return Ok(()) };
    let reports_late = command == Some(Command::Doctor);
    let early = EarlyEnd::of(stdio);
    let started = start_thread("time limit", move || {
        std::thread::sleep((end + GRACE).saturating_duration_since(Instant::now()));
        if reports_late && early.has_begun() {
            std::thread::sleep(GRACE_OF_DOCTOR);
        }
        early.end(timed_out());
    });
    let refused = |error| Failure::new(Exit::Internal, format!("--timeout: {error}"));
    started.map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sigint_of_a_program_at_the_terminal_ends_nothing() {
        let work = Ends::Work(Canceller::new().unwrap(), Aim::Work);
        for (is_heard, is_late) in [(true, false), (false, true)] {
            let mut aimed = Aimed { ends: Ends::Nothing, ..Aimed::default() };
            if is_heard {
                assert!(matches!(aimed.hear(), Ends::Nothing));
            }
            aimed.is_late = !aimed.is_heard;
            aimed.ends = work.clone();
            assert_eq!(matches!(aimed.hear(), Ends::Nothing), is_late);
            // The next one is for the work.
            assert!(matches!(aimed.hear(), Ends::Work(..)));
        }
    }
}
