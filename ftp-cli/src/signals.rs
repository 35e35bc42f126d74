//! SIGINT, SIGTERM and SIGHUP: a command ends at once and leaves no temporary file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::exit::{Exit, Failure};
use crate::stdio::{Messages, Stdio};

/// Knows the temporary file that is to be removed when a signal ends the process.
#[derive(Clone, Default)]
pub(crate) struct Cleanup(Arc<Mutex<Option<PathBuf>>>);

impl Cleanup {
    /// Watches for signals in a thread of its own, if this run is the process. At the first the
    /// file is removed and the process ends; the closing of its connections tells the server.
    ///
    /// # Errors
    ///
    /// `Internal` if the system refuses the handlers or the thread.
    pub(crate) fn watch(stdio: &Stdio) -> Result<Self, Failure> {
        let this = Self::default();
        if stdio.is_process {
            let (cleanup, messages) = (this.clone(), stdio.messages.clone());
            on_signals(move |signal| {
                // Kept locked: whoever wants to make a file now waits for the end.
                let temporary = cleanup.0.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(path) = temporary.as_deref() {
                    let _ = std::fs::remove_file(path);
                }
                end(signal, &messages);
            })?;
        }
        Ok(this)
    }

    /// Runs `make`, which makes a file and gives its path; from its birth on a signal removes it.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub(crate) fn guard<T: AsRef<Path>>(
        &self,
        make: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut temporary = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = make()?;
        *temporary = Some(made.as_ref().to_owned());
        Ok(made)
    }

    /// The file has its name now, or is gone.
    pub(crate) fn release(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Calls `act` in a thread of its own with each signal that asks the process to end.
///
/// # Errors
///
/// `Internal` if the system refuses the handlers or the thread.
pub(crate) fn on_signals(mut act: impl FnMut(i32) + Send + 'static) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Internal, format!("signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            act(signal);
        }
    });
    thread.map(|_| ()).map_err(failed)
}

/// Ends the process: 130 for SIGINT, 143 for SIGTERM, and as by the signal itself for SIGHUP.
#[expect(clippy::exit, reason = "the main thread is blocked in a read that no signal ends")]
pub(crate) fn end(signal: i32, messages: &Messages) {
    let exit = match signal {
        SIGINT => Exit::Interrupted,
        SIGTERM => Exit::Terminated,
        _ => {
            let _ = emulate_default_handler(signal);
            Exit::Terminated
        }
    };
    if messages.is_terminal() {
        // Over what is left of the progress.
        messages.write(b"\r\x1b[K");
    }
    messages.say(if exit == Exit::Interrupted { "interrupted" } else { "terminated" });
    std::process::exit(exit.code().into());
}
