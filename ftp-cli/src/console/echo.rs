//! Hiding what is typed on the terminal.
//!
//! Whatever ends or stops the process meanwhile, what is typed is shown again afterwards: all
//! signals that can be caught and do either are, and a process that is continued asks again.

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

/// What does to the process what it does by default, but with the terminal as it was. What asks it
/// to end is for `signals.rs`, which tidies up and calls [`restore`]; SIGTTIN and SIGTTOU come to
/// a process in the background, where the terminal is another's already.
const DEFAULTS: [i32; 9] =
    [SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU];

/// The terminal that hides what is typed, if one does: there is one at most.
static HIDING: Mutex<Option<Hiding>> = Mutex::new(None);

struct Hiding {
    terminal: File,
    /// As it was.
    shown: Termios,
    /// As it is.
    hidden: Termios,
    prompt: String,
    /// Tells whoever reads that the process is about to end.
    bell: UnixStream,
}

/// While it lives, what is typed is not shown.
pub(crate) struct EchoOff;

impl EchoOff {
    /// Hides it from now on, after `prompt` was written. A byte comes to the other end of `bell`
    /// when the process is about to end.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn begin(terminal: &File, prompt: String, bell: UnixStream) -> io::Result<Self> {
        let shown = tcgetattr(terminal)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        let terminal = terminal.try_clone()?;
        let hiding = Hiding { terminal, shown, hidden, prompt, bell };
        let mut slot = lock(&HIDING);
        // From here on a signal restores what follows.
        hiding.hide()?;
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
    /// Hides what is typed, throws away what was typed before that, and asks.
    fn hide(&self) -> io::Result<()> {
        tcsetattr(&self.terminal, OptionalActions::Flush, &self.hidden)?;
        (&self.terminal).write_all(self.prompt.as_bytes())
    }

    fn show(&self) {
        // The kernel takes up what is typed a moment later, and would show what it had not taken up
        // by now. To be asked whether there is input has it do so at once, while nothing is shown.
        let mut typed = [PollFd::new(&self.terminal, PollFlags::IN)];
        let _ = poll(&mut typed, Some(&Timespec::default()));
        // A password that a signal interrupts is not input of another program.
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Flush, &self.shown);
    }
}

/// Shows again what is typed, if it was hidden, and lets whoever waits for it go on. Whoever ends the
/// process calls it.
pub(crate) fn restore() {
    if let Some(hiding) = lock(&HIDING).take() {
        hiding.show();
        let _ = (&hiding.bell).write_all(b"!");
    }
}

/// Catches signals in a thread that lives as long as the process: a signal that was caught once
/// would else be ignored afterwards.
///
/// # Errors
///
/// The system's.
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
    // Held while the process is stopped: nobody takes what is typed for hidden meanwhile.
    let mut slot = lock(&HIDING);
    if let Some(hiding) = slot.as_ref() {
        hiding.show();
    }
    let _ = emulate_default_handler(signal);
    // Continued. In the background, this stops it again.
    if slot.as_ref().is_some_and(|hiding| hiding.hide().is_err()) {
        slot.take();
    }
}
