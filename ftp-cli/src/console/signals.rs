//! Handles SIGINT, SIGTERM and SIGHUP: a command aborts its transfer, ends within a second and
//! leaves no temporary file. An ignored SIGHUP (`nohup`) stays ignored. If a file exceeds
//! `ulimit -f`, that is a write error (EFBIG), like a full disk, and does not end the process.

use std::io;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use ftp_client::{Canceller, Error, Phase};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::ending::Ending;
use super::ignored_signals::is_ignored;
use super::messages::Messages;
use super::stdio::Stdio;
use super::{children, echo, threads};
use crate::exit::{Exit, Failure};
use crate::report::events::Events;

/// Maximum time for the last message, because standard error may have no reader.
const LAST_WORD: Duration = Duration::from_millis(250);

/// The canceller of all transfers, which a signal triggers. A transfer that is cancelled removes its
/// temporary file.
#[derive(Clone, Default)]
pub(crate) struct Cleanup {
    canceller: Option<Canceller>,
}

impl Cleanup {
    /// Watches for signals in a separate thread, if this run owns the process. The first signal
    /// cancels all transfers; once they are aborted, or have taken too long, the thread ends the
    /// process.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if the system refuses the handlers or the thread.
    pub(crate) fn watch(stdio: &Stdio) -> Result<Self, Failure> {
        let mut this = Self::default();
        if stdio.is_process {
            this.canceller = Some(Canceller::new().map_err(|error| refused(&error))?);
            let _ = stdio.cleanup.set(this.clone());
            let early = EarlyEnd::of(stdio);
            on_signals(false, move |signal| early.end(Cause::of_signal(signal)))?;
        }
        Ok(this)
    }

    /// Returns the canceller that signals trigger.
    pub(crate) const fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
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
    pub(super) fn end(&self, cause: Cause) {
        let cleanup = self.cleanup.get();
        self.ending.begin(cleanup.and_then(Cleanup::canceller));
        end_because(cause, &self.messages, &self.events);
    }
}

/// Reason to end the process before the command is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    Interrupt,
    Termination,
    HangUp,
    /// The time limit of the whole run.
    Timeout,
}

impl Cause {
    const fn of_signal(signal: i32) -> Self {
        match signal {
            SIGINT => Self::Interrupt,
            SIGTERM => Self::Termination,
            _ => Self::HangUp,
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::Interrupt => Failure::new(Exit::Interrupted, "interrupted"),
            Self::Termination => Failure::new(Exit::Terminated, "terminated"),
            Self::HangUp => Failure::new(Exit::HungUp, "hung up"),
            Self::Timeout => Error::Timeout(Phase::Overall).into(),
        }
    }
}

/// Calls `act` in a separate thread with each signal that asks the process to end. If
/// `hears_hangup` is set, `act` also receives a SIGHUP that was ignored at startup, because it does
/// not mean the end.
///
/// # Errors
///
/// Returns `Internal` if the system refuses the handlers or the thread.
pub(crate) fn on_signals(
    hears_hangup: bool,
    act: impl FnMut(i32) + Send + 'static,
) -> Result<(), Failure> {
    listen(hears_hangup, act).map_err(|error| refused(&error))
}

fn listen(hears_hangup: bool, mut act: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGXFSZ];
    let is_heard = |signal: &i32| *signal != SIGHUP || hears_hangup || !is_ignored(SIGHUP);
    let mut signals = Signals::new(wanted.into_iter().filter(is_heard))?;
    threads::start("signals", move || {
        for signal in signals.forever().filter(|signal| *signal != SIGXFSZ) {
            act(signal);
        }
    })?;
    Ok(())
}

fn refused(error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("signals: {error}"))
}

/// Ends the process as SIGPIPE ends other programs. SIGPIPE is ignored otherwise, so that a broken
/// connection is an error.
pub(crate) fn end_by_broken_pipe() {
    let _ = emulate_default_handler(SIGPIPE);
}

/// Ends the process: with exit code 130 for SIGINT, 143 for SIGTERM, and by the signal itself for
/// SIGHUP.
pub(crate) fn end(signal: i32, messages: &Messages, events: &Events) {
    end_because(Cause::of_signal(signal), messages, events);
}

#[expect(clippy::exit, reason = "the main thread may be blocked, or has released its resources")]
fn end_because(cause: Cause, messages: &Messages, events: &Events) {
    echo::restore();
    children::end();
    let failure = cause.failure();
    let exit = failure.exit;
    // A full pipe blocks its writers, and the main thread may already be one of them.
    let messages = messages.clone();
    let events = events.clone();
    let (said, has_said) = mpsc::sync_channel(1);
    let last_word = std::thread::Builder::new().spawn(move || {
        if messages.is_terminal() {
            // Overwrites the rest of the progress line.
            messages.write(b"\r\x1b[K");
        }
        messages.say(&failure.message);
        events.cancelled(&failure);
        messages.settle();
        let _ = said.send(());
    });
    if last_word.is_ok() {
        let _ = has_said.recv_timeout(LAST_WORD);
    }
    if cause == Cause::HangUp {
        let _ = emulate_default_handler(SIGHUP);
    }
    std::process::exit(exit.code().into());
}
