//! Unix, Linux included.
//!
//! Hides input on the terminal, and restores the echo before a signal ends or stops the process. A
//! continued process prompts again.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of each stream that was closed when the
//! process started. Output to it is lost without an error, and input from it is empty. In `main`, the
//! stream looks like a `/dev/null` that was passed on purpose, so `look` runs earlier.

pub(crate) use std::os::unix::ffi::{OsStrExt, OsStringExt};

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use ftp_client::Canceller;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, fcntl_getfd};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, geteuid, getpgrp, kill_process, waitid};
use rustix::stdio;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCONT, SIGPIPE, SIGPROF, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
pub(crate) use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, unregister};

use super::start_thread;
use super::streams::{Closed, Streams};
use crate::lock;

/// Calls `act` in a separate thread with each SIGINT, SIGTERM and SIGHUP. Leaves a SIGHUP alone that was
/// ignored at startup, unless `hears_hangup` is set.
///
/// # Errors
///
/// Returns the system's error if it refuses the handlers or the thread.
pub(crate) fn listen(
    hears_hangup: bool,
    mut act: impl FnMut(i32) + Send + 'static,
) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGXFSZ];
    // Where the system does not tell, `nohup` must hold: SIGHUP then ends the process without cleanup.
    let keeps_hangup = !hears_hangup && is_ignored(SIGHUP).unwrap_or(true);
    let is_heard = |signal: &i32| *signal != SIGHUP || !keeps_hangup;
    let mut signals = Signals::new(wanted.into_iter().filter(is_heard))?;
    start_thread("signals", move || {
        for signal in signals.forever().filter(|signal| *signal != SIGXFSZ) {
            act(signal);
        }
    })?;
    Ok(())
}

/// Calls `act` in a separate thread whenever the process continues after a stop.
///
/// # Errors
///
/// Returns the system's error if it refuses the handler or the thread.
pub(crate) fn on_continue(mut act: impl FnMut() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGCONT])?;
    start_thread("continue", move || signals.forever().for_each(|_| act())).map(drop)
}

/// Returns what `run` does, and whether a SIGINT has come meanwhile. The kernel delivers the SIGINT of
/// a terminal to this process before a child process can end by it.
pub(crate) fn hearing_interrupt<T>(run: impl FnOnce() -> T) -> (T, bool) {
    let flag = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(SIGINT, Arc::clone(&flag));
    let done = run();
    let _ = id.map(unregister);
    (done, flag.load(Ordering::Relaxed))
}

/// Ends the process as SIGPIPE ends other programs. SIGPIPE is ignored otherwise, so that a broken
/// connection is an error.
pub(crate) fn end_by_broken_pipe() {
    let _ = emulate_default_handler(SIGPIPE);
}

/// Ends the process by SIGHUP, as its default effect.
pub(crate) fn end_by_hangup() {
    let _ = emulate_default_handler(SIGHUP);
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

/// Sends SIGTERM to the child processes and, on Linux, to their descendants. They share the process group of this
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

/// Returns whether a signal was ignored when the process started, or `None` if the system does not
/// report it. Only Linux does: elsewhere, asking needs unsafe code.
fn is_ignored(signal: i32) -> Option<bool> {
    ignored().map(|mask| mask >> (signal - 1) & 1 == 1)
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
/// ask the process to end are handled in `console/signals.rs`, which cleans up and calls [`restore`].
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
struct EchoOff;

impl EchoOff {
    /// Hides input after writing `prompt`. The other end of `bell` receives a byte when the process
    /// is about to end.
    ///
    /// # Errors
    ///
    /// Returns the system's error if `terminal` cannot be changed or written to.
    fn begin(terminal: &File, prompt: String, bell: UnixStream) -> io::Result<Self> {
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
fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.get().is_some() {
        return Ok(());
    }
    let wanted = DEFAULTS.iter().filter(|signal| is_ignored(**signal) != Some(true));
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

/// The controlling terminal of this process.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Opens the terminal, whatever standard input is.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no terminal.
    pub(crate) fn find() -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or_default();
        let mut opening = File::options();
        let terminal = opening.read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        tcgetattr(&terminal)?;
        Ok(Self(terminal))
    }

    /// Asks for one line, which is not shown.
    ///
    /// # Errors
    ///
    /// Returns the system's error, and `Interrupted` if a signal is ending the process.
    pub(crate) fn read_hidden(&self, prompt: &str) -> io::Result<Vec<u8>> {
        watch()?;
        let (bell, rung) = UnixStream::pair()?;
        let hidden = EchoOff::begin(&self.0, prompt.to_owned(), bell)?;
        let mut line = Vec::new();
        let read = self.read(&rung, &mut line);
        drop(hidden);
        // The typed line ending was not shown either.
        (&self.0).write_all(b"\n")?;
        read.map(|()| line)
    }

    /// Reads to the end of the line or of the input (Ctrl-D). Returns `Interrupted` if `rung` has
    /// an event, because a signal is ending the process.
    fn read(&self, rung: &UnixStream, line: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut watched =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::new(rung, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
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
            // Limits the length, because a program may simulate a line that never ends.
            if length == 0 || end.is_some() || line.len() > 8_192 {
                return Ok(());
            }
        }
    }
}

/// A standard stream of the process, by its descriptor. [`io::stdin`] takes an unreadable descriptor
/// for the end of the data, and [`io::stdout`] scans each block of a file for line feeds.
struct Standard(fn() -> BorrowedFd<'static>);

impl Read for Standard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = (self.0)();
        when_ready(stream, PollFlags::IN, || rustix::io::read(stream, &mut *buffer))
    }
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = (self.0)();
        when_ready(stream, PollFlags::OUT, || rustix::io::write(stream, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats `act` on a stream until it is ready. Another program that shares the stream may have set
/// `O_NONBLOCK`.
fn when_ready<T>(
    stream: BorrowedFd<'_>,
    interest: PollFlags,
    mut act: impl FnMut() -> Result<T, Errno>,
) -> io::Result<T> {
    loop {
        match act() {
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(stream, interest)], None);
            }
            done => return Ok(done?),
        }
    }
}

/// Whether standard input was closed when the process started.
static INPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);
/// Whether standard output was closed when the process started.
static OUTPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Records which streams are closed. Runs before the runtime, so it makes only two system calls. With
/// poll(2), macOS tells nothing of a closed one.
#[ctor::ctor]
fn look() {
    let is_closed = |stream| fcntl_getfd(stream) == Err(Errno::BADF);
    INPUT_IS_CLOSED.store(is_closed(stdio::stdin()), Ordering::Relaxed);
    OUTPUT_IS_CLOSED.store(is_closed(stdio::stdout()), Ordering::Relaxed);
}

/// Returns whether standard error is a journal's stream, which reads priorities (systemd.exec(5)).
pub(crate) fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = rustix::fs::fstat(io::stderr());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

pub(crate) fn streams() -> Streams {
    let output: Box<dyn Write + Send> = match OUTPUT_IS_CLOSED.load(Ordering::Relaxed) {
        true => Box::new(Closed),
        false => Box::new(Standard(stdio::stdout)),
    };
    let input: Box<dyn Read + Send> = match INPUT_IS_CLOSED.load(Ordering::Relaxed) {
        true => Box::new(Closed),
        false => Box::new(Standard(stdio::stdin)),
    };
    (input, output, Box::new(Standard(stdio::stderr)))
}

/// Waits until standard input has data, or `canceller` is cancelled.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn await_input(canceller: &Canceller) -> io::Result<()> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(canceller, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut fds, None)?;
    Ok(())
}

/// Discards what is typed already at the terminal of standard input. Returns how many bytes of whole
/// lines that were, or `None` if it cannot be discarded.
pub(crate) fn discard_typed() -> Option<u64> {
    let typed = rustix::io::ioctl_fionread(io::stdin()).unwrap_or_default();
    tcflush(io::stdin(), QueueSelector::IFlush).ok().map(|()| typed)
}

/// Returns the columns of the terminal at standard output, or 0.
pub(crate) fn output_columns() -> u16 {
    tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col)
}

/// Returns whether no other process group owns the terminal at standard error.
pub(crate) fn is_in_foreground() -> bool {
    // Another session's terminal has no answer, and takes the output of each process.
    tcgetpgrp(io::stderr()).map_or(true, |group| group == getpgrp())
}

/// Returns the columns and rows of the terminal at standard error, or 0.
pub(crate) fn terminal_size() -> (u16, u16) {
    tcgetwinsize(io::stderr()).map_or((0, 0), |size| (size.ws_col, size.ws_row))
}

/// Returns the command that runs `line` in the system's shell.
pub(crate) fn shell(line: &OsStr) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(line);
    shell
}

/// Returns the shell that the user types in.
pub(crate) fn interactive_shell() -> Command {
    Command::new(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()))
}

/// Opens a file for reading, without waiting for the writer of a FIFO.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Sets that only the user can read a new file.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Opens and locks a file, and creates it if it is missing. Returns `None` if another run has the lock.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn hold(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn home() -> Option<OsString> {
    std::env::var_os("HOME")
}

pub(crate) fn netrc(home: &Path) -> PathBuf {
    home.join(".netrc")
}

/// Returns the directory of configuration files. `set` reads a variable.
pub(crate) fn configs(set: impl Fn(&'static str) -> Option<PathBuf>) -> Option<PathBuf> {
    Some(set("HOME")?.join(".config"))
}

/// Returns the directory of what programs keep between runs. `set` reads a variable.
pub(crate) fn state(set: impl Fn(&'static str) -> Option<PathBuf>) -> Option<PathBuf> {
    Some(set("HOME")?.join(".local/state"))
}

/// Returns whether a path begins with the root of a drive, of which only Windows has some.
pub(crate) const fn has_drive(_: &[u8]) -> bool {
    false
}

/// Returns whether a path begins in the current directory of a drive, of which only Windows has some.
pub(crate) const fn lacks_root(_: &[u8]) -> bool {
    false
}

/// Returns why the user should not trust a file, if another user except root owns it, or if its mode
/// has a bit of `forbidden`: then `what` others can do, and the mode that is right.
pub(crate) fn unfit(metadata: &Metadata, rule: (u32, &str, u32)) -> Option<String> {
    unfit_for(geteuid().as_raw(), metadata, rule)
}

fn unfit_for(
    user: u32,
    metadata: &Metadata,
    (forbidden, what, right): (u32, &str, u32),
) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if owner != user && owner != 0 {
        return Some(format!("owned by another user (uid {owner}); you or root must own it"));
    }
    let is_open = mode & forbidden != 0;
    is_open.then(|| format!("{what} others (mode {mode:04o}); use chmod {right:o}"))
}

/// Device and inode of a file, which are those of all its names.
pub(crate) type FileId = (u64, u64);

/// Returns what tells a file from others, if it exists.
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// Returns a copy of a descriptor that this process inherited.
///
/// # Errors
///
/// Returns the system's error. FreeBSD has the paths of descriptors above 2 only with fdescfs.
#[cfg(not(target_os = "linux"))]
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    File::open(format!("/dev/fd/{number}"))
}

/// Returns a copy of a descriptor that this process inherited.
///
/// Only descriptors that this process opened itself are close-on-exec. They are rejected, because
/// reading one by mistake could block forever.
///
/// # Errors
///
/// Returns the system's error, and `Other` for a descriptor that was not inherited.
#[cfg(target_os = "linux")]
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    use std::os::fd::OwnedFd;

    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    const CLOSED_AT_EXEC: u32 = 0o2_000_000;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let flags = info.ok().and_then(|info| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    });
    if flags.is_none_or(|flags| flags & CLOSED_AT_EXEC != 0) {
        return Err(io::Error::other("no such descriptor was passed to this process"));
    }
    let copy: io::Result<OwnedFd> = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|this| pidfd_getfd(this, number, PidfdGetfdFlags::empty()))
        .map_err(io::Error::from);
    // In sandboxes that forbid these system calls, opens the descriptor's path instead.
    copy.map(File::from).or_else(|_| File::open(format!("/proc/self/fd/{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_than_root_is_unfit_hl_02() {
        let file = tempfile::tempfile().unwrap().metadata().unwrap();
        let rule = (0o022, "writable by", 0o644);
        assert_eq!(unfit_for(file.uid(), &file, rule), None);
        assert_eq!(unfit_for(file.uid() + 1, &file, rule).is_some(), file.uid() != 0);
    }
}
