//! Hides input on the terminal.
//!
//! Restores the echo before one of the usual signals ends or stops the process. A continued process
//! prompts again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::ignored_signals::is_ignored;
use super::threads;

use crate::lock::lock;

/// Signals that keep their default effect, but only after the terminal is restored. Signals that
/// ask the process to end are handled in `signals.rs`, which cleans up and calls [`restore`].
/// SIGTTIN and SIGTTOU reach only a background process, which does not own the terminal.
const DEFAULTS: [i32; 9] =
    [SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU];

/// The terminal on which input is hidden, if there is one.
static HIDING: Mutex<Option<Hiding>> = Mutex::new(None);

struct Hiding {
    terminal: File,
    /// Original settings.
    shown: Termios,
    /// Current settings.
    hidden: Termios,
    prompt: String,
    /// Socket that notifies the reader when the process is about to end.
    bell: UnixStream,
}

/// Guard that hides input until it is dropped.
pub(crate) struct EchoOff;

impl EchoOff {
    /// Hides input after writing `prompt`. The other end of `bell` receives a byte when the process
    /// is about to end.
    ///
    /// # Errors
    ///
    /// Returns the system's error if `terminal` cannot be changed or written to.
    pub(crate) fn begin(terminal: &File, prompt: String, bell: UnixStream) -> io::Result<Self> {
        let shown = tcgetattr(terminal)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        let terminal = terminal.try_clone()?;
        let hiding = Hiding { terminal, shown, hidden, prompt, bell };
        let mut slot = lock(&HIDING);
        // With the lock held, a signal during the following change waits, and then undoes it.
        hiding.hide().inspect_err(|_| hiding.show())?;
        *slot = Some(hiding);
        Ok(Self)
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        restore();
    }
}

impl Hiding {
    /// Hides input, discards earlier input, and prompts.
    fn hide(&self) -> io::Result<()> {
        tcsetattr(&self.terminal, OptionalActions::Flush, &self.hidden)?;
        (&self.terminal).write_all(self.prompt.as_bytes())
    }

    fn show(&self) {
        // The kernel processes input with a delay, and would echo unprocessed input once the echo
        // is on again. Polling makes the kernel process the input at once, while the echo is off.
        let mut typed = [PollFd::new(&self.terminal, PollFlags::IN)];
        let _ = poll(&mut typed, Some(&Timespec::default()));
        // A partly typed password must be discarded, not become the input of another program.
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Flush, &self.shown);
    }
}

/// Restores the echo, and wakes the reader. Called after the input, and before the process ends.
pub(crate) fn restore() {
    if let Some(hiding) = lock(&HIDING).take() {
        hiding.show();
        let _ = (&hiding.bell).write_all(b"!");
    }
}

/// Handles signals in a thread that runs until the process ends. If the thread ended earlier, later
/// signals would be ignored.
///
/// # Errors
///
/// Returns the system's error if the signals cannot be handled or the thread cannot be started.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.get().is_some() {
        return Ok(());
    }
    let wanted = DEFAULTS.iter().filter(|signal| !is_ignored(**signal));
    let mut signals = Signals::new(wanted)?;
    let act = move || {
        for signal in signals.forever() {
            heed(signal);
        }
    };
    threads::start("terminal", act)?;
    let _ = WATCHED.set(());
    Ok(())
}

fn heed(signal: i32) {
    // The lock is held while the process is stopped, so that no thread assumes that input is
    // hidden.
    let mut slot = lock(&HIDING);
    if let Some(hiding) = slot.as_ref() {
        hiding.show();
    }
    let _ = emulate_default_handler(signal);
    // The process was continued. If it is in the background, hiding input stops it again.
    if slot.as_ref().is_some_and(|hiding| hiding.hide().is_err()) {
        slot.take();
    }
}
