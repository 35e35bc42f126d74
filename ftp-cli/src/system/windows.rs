//! Windows.

pub(crate) use ftp_client::file::{OsStrExt, OsStringExt};

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use console::Term;
use ftp_client::Canceller;
use rpassword::ConfigBuilder;

use super::streams::{Closed, Streams};
use crate::lock;

// Windows has none of these signals: the numbers are those of Unix, which the exit codes contain.
pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGTERM: i32 = 15;

/// Calls `act` in a separate thread with [`SIGINT`] for each Ctrl-C and Ctrl-Break. When the console
/// is closed, the system ends the process at once.
pub(crate) fn listen(_: bool, mut act: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || act(SIGINT)).map_err(io::Error::other)
}

/// Does nothing: Windows stops no process.
pub(crate) fn on_continue(_: impl FnMut() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// Returns what `run` does. Windows tells nothing of Ctrl-C but by the handler.
pub(crate) fn hearing_interrupt<T>(run: impl FnOnce() -> T) -> (T, bool) {
    (run(), false)
}

/// Does nothing: Windows ends no program because of a pipe. The exit code is that of Unix.
pub(crate) const fn end_by_broken_pipe() {}

/// Does nothing: Windows has no such signal.
pub(crate) const fn end_by_hangup() {}

/// Child processes that run.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// A child process that [`end_children`] ends.
pub(crate) struct Running(Arc<Mutex<Child>>);

impl Running {
    pub(crate) fn watch(child: Child) -> Self {
        let child = Arc::new(Mutex::new(child));
        lock(&RUNNING).push(Arc::clone(&child));
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        let _ = lock(&self.0).kill();
    }

    /// Waits for the end of the child process.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(crate) fn wait(self) -> io::Result<ExitStatus> {
        // Asked repeatedly, because `Child::wait` would keep `end_children` from ending the process.
        const STEP: Duration = Duration::from_millis(10);
        let ended = loop {
            match lock(&self.0).try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break Ok(status),
                Err(error) => break Err(error),
            }
            thread::sleep(STEP);
        };
        lock(&RUNNING).retain(|other| !Arc::ptr_eq(other, &self.0));
        ended
    }
}

/// Ends the child processes. Processes that they have started go on: only a job would contain them.
pub(crate) fn end_children() {
    for child in lock(&RUNNING).iter() {
        let _ = lock(child).kill();
    }
}

/// Does nothing: Ctrl-C also ends the prompt, which restores the mode of the console.
pub(crate) const fn restore() {}

/// The console of this process.
pub(crate) struct Terminal;

impl Terminal {
    /// Opens the console, whatever standard input is.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no console.
    pub(crate) fn find() -> io::Result<Self> {
        File::options().read(true).write(true).open("CONIN$").map(|_| Self)
    }

    /// Asks for one line, which is not shown.
    ///
    /// # Errors
    ///
    /// Returns the system's error, and `Interrupted` if Ctrl-C ends the line.
    pub(crate) fn read_hidden(&self, prompt: &str) -> io::Result<Vec<u8>> {
        let screen = Screen::default();
        (&screen).write_all(prompt.as_bytes())?;
        let config = ConfigBuilder::new().output_writer(screen.clone()).build();
        match rpassword::read_password_with_config(config) {
            // What was typed before Ctrl-C is not a password. rpassword returns it like a line, but
            // only Enter moves the cursor to the next one.
            Ok(_) if !screen.has_ended.load(Ordering::Relaxed) => {
                Err(ErrorKind::Interrupted.into())
            }
            Ok(line) => Ok(line.into_bytes()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Standard error, which is the console wherever a prompt is shown.
#[derive(Clone, Default)]
struct Screen {
    /// Whether a line has ended.
    has_ended: Arc<AtomicBool>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(bytes)?;
        self.has_ended.fetch_or(bytes.contains(&b'\n'), Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A standard stream that is not a console: [`io::stdout`] scans each block of a file for line feeds.
struct Standard(File);

impl Read for Standard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// `ERROR_PIPE_NOT_CONNECTED`: the reader of a pipe has ended.
        const NO_READER: i32 = 233;
        self.0.write(bytes).map_err(|error| match error.raw_os_error() {
            Some(NO_READER) => io::Error::new(ErrorKind::BrokenPipe, error),
            _ => error,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(handle: BorrowedHandle<'_>) -> io::Result<File> {
    handle.try_clone_to_owned().map(File::from)
}

/// Returns standard input, output and error. A console needs the standard library's, which convert
/// what it shows.
pub(crate) fn streams() -> Streams {
    let (input, output) = (io::stdin(), io::stdout());
    let input: Box<dyn Read + Send> = match copy(input.as_handle()) {
        _ if input.is_terminal() => Box::new(input),
        Ok(file) => Box::new(Standard(file)),
        Err(_) => Box::new(Closed),
    };
    let output: Box<dyn Write + Send> = match copy(output.as_handle()) {
        _ if output.is_terminal() => Box::new(output),
        Ok(file) => Box::new(Standard(file)),
        Err(_) => Box::new(Closed),
    };
    // Asking also makes the console obey the escape sequences of progress.
    let _ = io::stderr().is_terminal() && Term::stderr().features().colors_supported();
    (input, output, Box::new(io::stderr()))
}

/// Does nothing: Windows waits only for sockets. Where a read does not end, the thread that handles
/// Ctrl-C ends the process.
#[expect(clippy::unnecessary_wraps, reason = "other systems wait")]
pub(crate) const fn await_input(_: &Canceller) -> io::Result<()> {
    Ok(())
}

/// Returns `None`: nothing here discards what is typed at the console.
pub(crate) const fn discard_typed() -> Option<u64> {
    None
}

/// Windows has no journal.
pub(crate) const fn is_journal() -> bool {
    false
}

/// Returns the columns of the console at standard output, or 0.
pub(crate) fn output_columns() -> u16 {
    Term::stdout().size_checked().map_or(0, |(_, columns)| columns)
}

/// Consoles have no process groups.
pub(crate) const fn is_in_foreground() -> bool {
    true
}

/// Returns the columns and rows of the console at standard error, or 0.
pub(crate) fn terminal_size() -> (u16, u16) {
    Term::stderr().size_checked().map_or((0, 0), |(rows, columns)| (columns, rows))
}

/// Returns the shell that the user types in.
pub(crate) fn interactive_shell() -> Command {
    Command::new(std::env::var_os("COMSPEC").unwrap_or_else(|| "cmd.exe".into()))
}

/// Returns the command that runs `line` in the system's shell.
pub(crate) fn shell(line: &OsStr) -> Command {
    // The shell does not read quotation marks as the standard library writes them, and removes the
    // outer ones.
    let mut quoted = OsString::from("\"");
    quoted.push(line);
    quoted.push("\"");
    let mut shell = Command::new("cmd.exe");
    shell.args(["/d", "/s", "/c"]).raw_arg(quoted);
    shell
}

/// Opens a file for reading.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Sets that only the user can read a new file: the permissions that its directory passes on decide.
pub(crate) const fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Opens a file that no other program can open then, and creates it if it is missing. Returns `None`
/// if another run has it open.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn hold(path: &Path) -> io::Result<Option<File>> {
    /// `ERROR_SHARING_VIOLATION`.
    const IS_OPEN: i32 = 32;
    match File::options().create(true).append(true).share_mode(0).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(IS_OPEN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the user's directory. Programs from Unix set `HOME`, some of them to a path that Windows
/// does not know.
pub(crate) fn home() -> Option<OsString> {
    let set = |name| std::env::var_os(name).filter(|home| Path::new(home).is_absolute());
    set("HOME").or_else(|| set("USERPROFILE"))
}

/// Returns the path of `.netrc`, or of `_netrc`, as other programs on Windows name it.
pub(crate) fn netrc(home: &Path) -> PathBuf {
    let (usual, other) = (home.join(".netrc"), home.join("_netrc"));
    if !usual.exists() && other.exists() { other } else { usual }
}

/// Returns the directory of configuration files. `set` reads a variable.
pub(crate) fn configs(set: impl Fn(&'static str) -> Option<PathBuf>) -> Option<PathBuf> {
    set("APPDATA")
}

/// Returns the directory of what programs keep between runs. `set` reads a variable.
pub(crate) fn state(set: impl Fn(&'static str) -> Option<PathBuf>) -> Option<PathBuf> {
    set("LOCALAPPDATA")
}

pub(crate) const fn has_drive(path: &[u8]) -> bool {
    matches!(path, [b'A'..=b'Z' | b'a'..=b'z', b':'] | [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\' | b'/', ..])
}

/// Returns whether a path begins in the current directory of a drive, as `C:` and `C:file` do.
pub(crate) const fn lacks_root(path: &[u8]) -> bool {
    matches!(path, [b'A'..=b'Z' | b'a'..=b'z', b':', rest @ ..] if !matches!(rest, [b'\\' | b'/', ..]))
}

/// Returns `None`: files have no mode. Their directory passes on who can open them, and a user's own
/// directory keeps other users out.
pub(crate) const fn unfit(_: &Metadata, _: (u32, &str, u32)) -> Option<String> {
    None
}

/// The full path of a file, without links.
pub(crate) type FileId = PathBuf;

/// Returns what tells a file from others, except hard links, if it exists.
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::canonicalize(path).ok()
}

/// Returns a copy of standard input, the only stream that has the same number everywhere.
///
/// # Errors
///
/// Returns the system's error, and `Unsupported` for another number.
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    match number {
        0 => copy(io::stdin().as_handle()),
        _ => Err(io::Error::new(ErrorKind::Unsupported, "Windows has only descriptor 0")),
    }
}
