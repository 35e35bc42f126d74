//! Asking on the terminal, where nothing of the answer is to be seen.
//!
//! Whatever ends or stops the process meanwhile, what is typed is shown again afterwards: all
//! signals that can be caught and do either are, and a process that is continued asks anew.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::credentials::{Secret, read_line};
use crate::console::signals::is_ignored;
use crate::console::stdio::Printable;
use crate::console::threads;
use crate::exit::{Exit, Failure};

/// What does to the process what it does by default, but with the terminal as it was. What asks it
/// to end is for [`crate::console::signals`], which tidies up and calls [`restore`]; SIGTTIN and SIGTTOU come
/// to who is in the background, where the terminal is another's already.
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

/// The terminal of whoever started this process.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Finds it, whatever standard input is.
    ///
    /// # Errors
    ///
    /// The system's: there is none.
    pub(crate) fn find() -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or_default();
        let mut opening = File::options();
        let terminal = opening.read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        tcgetattr(&terminal)?;
        Ok(Self(terminal))
    }

    /// Asks for one line. Control characters of `prompt` are escaped.
    ///
    /// # Errors
    ///
    /// `Login` where nothing is typed, `Local` if the terminal fails, `Interrupted` if a signal is
    /// about to end the process.
    pub(crate) fn ask(&self, prompt: &str) -> Result<Secret, Failure> {
        let failed = |error: io::Error| Failure::local("terminal", &error);
        watch().map_err(failed)?;
        let prompt = Printable(prompt).to_string();
        let (bell, rung) = UnixStream::pair().map_err(failed)?;
        let hidden = Hidden::begin(&self.0, prompt, bell).map_err(failed)?;
        let mut line = Vec::new();
        let read = self.read(&rung, &mut line);
        drop(hidden);
        // The one that was typed is not to be seen either.
        (&self.0).write_all(b"\n").map_err(failed)?;
        match read {
            Ok(()) if line.is_empty() => {
                Err(Failure::new(Exit::Login, "no password: nothing was typed"))
            }
            Ok(()) => read_line(&mut line.as_slice(), "terminal"),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Err(Failure::new(Exit::Interrupted, "interrupted"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads to the end of a line or of the input, which Ctrl-D makes; `Interrupted` at the bell.
    fn read(&self, rung: &UnixStream, line: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut watched =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::new(rung, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [_, bell] = &watched;
            if !bell.revents().is_empty() {
                return Err(ErrorKind::Interrupted.into());
            }
            let mut piece = [0; 1_024];
            let length = match (&self.0).read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = piece.get(..length).unwrap_or_default();
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(piece.get(..end.unwrap_or(length)).unwrap_or_default());
            // A terminal gives a line at a time, and a program that plays one may never end it.
            if length == 0 || end.is_some() || line.len() > 8_192 {
                return Ok(());
            }
        }
    }
}

/// While it lives, what is typed is not shown.
struct Hidden;

impl Hidden {
    fn begin(terminal: &File, prompt: String, bell: UnixStream) -> io::Result<Self> {
        let shown = tcgetattr(terminal)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        let terminal = terminal.try_clone()?;
        let hiding = Hiding { terminal, shown, hidden, prompt, bell };
        let mut slot = lock();
        // From here on a signal restores what follows.
        hiding.hide()?;
        *slot = Some(hiding);
        Ok(Self)
    }
}

impl Drop for Hidden {
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

fn lock() -> MutexGuard<'static, Option<Hiding>> {
    HIDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows again what is typed, if it was hidden, and lets whoever waits for it go on. Whoever ends the
/// process calls it.
pub(crate) fn restore() {
    if let Some(hiding) = lock().take() {
        hiding.show();
        let _ = (&hiding.bell).write_all(b"!");
    }
}

/// Catches signals in a thread that lives as long as the process: a signal that was caught once
/// would else be ignored afterwards.
fn watch() -> io::Result<()> {
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
    let mut slot = lock();
    if let Some(hiding) = slot.as_ref() {
        hiding.show();
    }
    let _ = emulate_default_handler(signal);
    // Continued. In the background, this stops it again.
    if slot.as_ref().is_some_and(|hiding| hiding.hide().is_err()) {
        slot.take();
    }
}
