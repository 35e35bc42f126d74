//! Handles SIGINT, SIGTERM and SIGHUP: a command aborts its transfer, ends within a second and
//! leaves no temporary file. An ignored SIGHUP (`nohup`) stays ignored. If a file exceeds
//! `ulimit -f`, that is a write error (EFBIG), like a full disk, and does not end the process.
//!
//! After a signal or at the limit of `--timeout`, another thread ends the process, once the main
//! thread has released its resources. The command of `--password-command` does not outlive it.
//!
//! Also hides input on the terminal, and restores the echo before a signal ends or stops the process. A
//! continued process prompts again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use ftp_client::Canceller;
use ftp_client::error::Phase;
use log::LevelFilter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::output::{self, Messages};
use crate::Stdio;
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Command, Options};
use crate::report::Events;

/// Maximum time for the last message, because standard error may have no reader.
const LAST_WORD: Duration = Duration::from_millis(250);

/// The canceller of all transfers, which a signal triggers. A transfer that is cancelled removes its
/// temporary file.
#[derive(Clone, Default)]
pub(crate) struct Cleanup {
    canceller: Option<Canceller>,
    /// What Ctrl-C ends in a session at a terminal; elsewhere, it ends the process.
    target: Option<Arc<Mutex<Target>>>,
}

/// What Ctrl-C ends in a session at a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Aim {
    /// The work of a [`Cleanup`]; the process, if that is cancelled already.
    Work,
    /// Nothing: another program owns the terminal.
    Nothing,
}

#[derive(Clone)]
enum Target {
    Process,
    Work(Canceller),
    Nothing,
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
        Self::begin(options, stdio, Some(Arc::new(Mutex::new(Target::Process))))
    }

    fn begin(options: &Options, stdio: &Stdio, target: Option<Arc<Mutex<Target>>>) -> Result<Self> {
        output::start(options, &stdio.messages, LevelFilter::Warn)?;
        if !stdio.is_process {
            return Ok(Self::default());
        }
        let this = Self { canceller: None, target }.renewed()?;
        let _ = stdio.cleanup.set(this.clone());
        let (early, target) = (EarlyEnd::of(stdio), this.target.clone());
        on_signals(false, move |signal| {
            let target = target.as_ref().filter(|_| signal == SIGINT);
            match target.map(|target| lock(target).clone()) {
                Some(Target::Nothing) => {}
                Some(Target::Work(work)) if !work.is_cancelled() => work.cancel(),
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
        Ok(Self { canceller: Some(canceller), target: self.target.clone() })
    }

    /// Sets what Ctrl-C ends from now on.
    pub(crate) fn aim(&self, aim: Aim) {
        let Some(target) = &self.target else { return };
        *lock(target) = match (aim, &self.canceller) {
            (Aim::Work, Some(canceller)) => Target::Work(canceller.clone()),
            (Aim::Work, None) => Target::Process,
            (Aim::Nothing, _) => Target::Nothing,
        };
    }

    /// Returns whether a signal has cancelled the work.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.canceller.as_ref().is_some_and(Canceller::is_cancelled)
    }

    /// Returns the canceller that signals trigger.
    pub(crate) const fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
    }

    /// Cancels all work.
    fn cancel(&self) {
        let aimed = self.target.as_ref().map(|target| lock(target).clone());
        if let Some(Target::Work(work)) = aimed {
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
        let hint = self.messages.usage().hint_at_removed();
        let failure = Failure { message: failure.message + hint, ..failure };
        end_because(failure, &self.messages, &self.events);
    }
}

/// Returns the failure of a run that a signal ends.
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
    listen(hears_hangup, act).map_err(|error| refused(&error))
}

fn listen(hears_hangup: bool, mut act: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGXFSZ];
    let is_heard = |signal: &i32| *signal != SIGHUP || hears_hangup || !is_ignored(SIGHUP);
    let mut signals = Signals::new(wanted.into_iter().filter(is_heard))?;
    start_thread("signals", move || {
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
        let _ = emulate_default_handler(SIGHUP);
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
/// It ends sooner if it has not begun yet, or if nothing reads its report.
const GRACE_OF_DOCTOR: Duration = Duration::from_secs(10);

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
    let output = stdio.shared_output.clone();
    let started = start_thread("time limit", move || {
        std::thread::sleep((end + GRACE).saturating_duration_since(Instant::now()));
        // A report that nothing reads is not worth the time.
        while reports_late && end.elapsed() < GRACE_OF_DOCTOR {
            if !early.has_begun() || output.is_blocked_for(GRACE) {
                break;
            }
            std::thread::sleep(GRACE);
        }
        early.end(timed_out());
    });
    let refused = |error| Failure::new(Exit::Internal, format!("--timeout: {error}"));
    started.map(drop).map_err(refused)
}

/// Child processes that were not reaped yet, so that no other process can have their numbers.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Depth to which descendants are searched.
const DEEPEST: usize = 32;

/// A child process that [`end_children`] ends.
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
        // Reaped under the lock, so that `end_children` signals no other process.
        let mut running = lock(&RUNNING);
        running.retain(|other| *other != id);
        self.0.wait()
    }
}

/// Sends SIGTERM to the child processes and their descendants. They share the process group of this
/// process, because a command may ask for a passphrase on the terminal.
pub(crate) fn end_children() {
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

/// Initial buffer size for the process status, in bytes. The status is longer on systems with many
/// cores.
const STATUS: usize = 2_048;

/// Returns whether a signal was ignored when the process started; false if the system does not
/// report it.
pub(crate) fn is_ignored(signal: i32) -> bool {
    ignored().is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Returns the ignored signals as bits, the lowest for signal 1.
fn ignored() -> Option<u64> {
    // Read as bytes, because the status contains the process name, which need not be UTF-8.
    let mut status = Vec::with_capacity(STATUS);
    File::open("/proc/self/status").ok()?.read_to_end(&mut status).ok()?;
    // `SigIgn` is closer to the end of the status, so the search begins there.
    let mut lines = status.rsplit(|byte| *byte == b'\n');
    let mask = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}

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
    start_thread("terminal", act)?;
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

/// Starts a thread with this name.
///
/// # Errors
///
/// Returns the system's error if the thread cannot be started.
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // One type for all threads: the standard library's code for each type takes 2 KB.
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    Builder::new().name(name.to_owned()).spawn(work)
}
