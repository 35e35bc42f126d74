//! Handles SIGINT, SIGTERM and SIGHUP: a command aborts its transfer, ends within a second and
//! leaves no temporary file. An ignored SIGHUP (`nohup`) stays ignored. If a file exceeds
//! `ulimit -f`, that is a write error (EFBIG), like a full disk, and does not end the process.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use ftp_client::Canceller;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::echo;
use super::ignored_signals::is_ignored;
use super::messages::Messages;
use super::stdio::Stdio;
use super::threads;
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
            let canceller = Canceller::new().map_err(|error| refused(&error))?;
            this.canceller = Some(canceller.clone());
            let messages = stdio.messages.clone();
            let events = stdio.events.clone();
            let ending = stdio.ending.clone();
            on_signals(false, move |signal| {
                ending.begin(&canceller);
                end(signal, &messages, &events);
            })?;
        }
        Ok(this)
    }

    /// Returns the canceller that signals trigger.
    pub(crate) const fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
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
#[expect(clippy::exit, reason = "the main thread may be blocked, or has released its resources")]
pub(crate) fn end(signal: i32, messages: &Messages, events: &Events) {
    echo::restore();
    let exit = match signal {
        SIGINT => Exit::Interrupted,
        SIGTERM => Exit::Terminated,
        _ => {
            let _ = emulate_default_handler(signal);
            Exit::Terminated
        }
    };
    // A full pipe blocks its writers, and the main thread may already be one of them.
    let messages = messages.clone();
    let events = events.clone();
    let (said, has_said) = mpsc::sync_channel(1);
    let last_word = std::thread::Builder::new().spawn(move || {
        if messages.is_terminal() {
            // Overwrites the rest of the progress line.
            messages.write(b"\r\x1b[K");
        }
        let word = if exit == Exit::Interrupted { "interrupted" } else { "terminated" };
        messages.say(word);
        events.cancelled(&Failure::new(exit, word));
        messages.settle();
        let _ = said.send(());
    });
    if last_word.is_ok() {
        let _ = has_said.recv_timeout(LAST_WORD);
    }
    std::process::exit(exit.code().into());
}
