//! Command line of the FTP toolkit: `get`, `put`, `ls`, `fxp`, `serve` and the other commands that
//! `help` lists.
//!
//! This is the only crate that reads arguments and the environment, prints, or sets an exit code.
//! Data goes to standard output, messages to standard error. [`run`] is the whole program with its
//! standard streams as arguments, so that tests can call it:
//!
//! ```
//! use ftp_cli::Stdio;
//!
//! let stdio = Stdio::captured(std::io::empty(), std::io::sink(), std::io::sink());
//! let exit = ftp_cli::run(["get".into(), "--no-such-option".into()], stdio);
//! assert_eq!(exit, 2.into());
//! ```

// The parts of one half that the other half shares are more than that half alone needs.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, unused_imports))]

#[cfg(not(any(feature = "client", feature = "server")))]
compile_error!("ftp-cli needs the feature `client` or `server`");

mod cmd;
#[cfg(feature = "client")]
mod config_file;
mod exit;
#[cfg(all(feature = "client", feature = "server"))]
mod gateway;
mod options;
#[cfg(feature = "client")]
mod remote;
mod report;
mod system;
#[cfg(feature = "client")]
mod transfer;

mod connect {
    //! Connects to servers, logs in and retries, as the options say.

    pub(crate) mod credentials;
    #[cfg(feature = "client")]
    pub(crate) mod dialler;
    #[cfg(feature = "client")]
    pub(crate) mod sessions;

    pub(crate) use credentials::{Credentials, Finder, Secret, Terminal};
    #[cfg(feature = "client")]
    pub(crate) use {
        dialler::{Chosen, Dialler, Route, TlsOptions},
        sessions::{RefusedLogins, RetryObserver, Retrying, Sessions},
    };
}

mod console {
    //! Everything about the terminal and the process: standard streams, messages, signals, the
    //! trace and progress.

    pub(crate) mod output;
    #[cfg(feature = "client")]
    pub(crate) mod progress;
    pub(crate) mod signals;

    pub(crate) use output::{Dialogue, Hidden, Messages, Output, Printable, ResultLines};
    #[cfg(feature = "client")]
    pub(crate) use progress::{Board, Meter, When, is_talkative};
    pub(crate) use signals::Cleanup;

    pub(crate) use super::Stdio;
}

use std::ffi::OsString;
#[cfg(feature = "client")]
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use console::signals::Ending;
use console::{Cleanup, Hidden, Messages, Output, ResultLines, output};
use exit::Exit;
use options::Options;
use report::Events;

/// Streams of a run: data on `input` and `output`, messages on `messages`.
pub struct Stdio {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) output: Box<dyn Write>,
    /// Standard output for several threads.
    pub(crate) shared_output: Output,
    /// Events of `--json`.
    pub(crate) events: Events,
    pub(crate) messages: Messages,
    /// Whether this run owns the process and handles signals.
    pub(crate) is_process: bool,
    /// Agreement about which thread ends the process.
    pub(crate) ending: Ending,
    /// What must be cleaned up then, once the command has begun.
    pub(crate) cleanup: Arc<OnceLock<Cleanup>>,
}

ftp_proto::debug_fields!(Stdio { is_process }..);

impl Stdio {
    /// Returns the streams of this process.
    #[must_use]
    pub fn process() -> Self {
        let (input, output, messages) = output::standard();
        Self::with(input, output, messages, true)
    }

    /// Returns streams that replace those of this process, and are not a terminal. The caller
    /// handles signals, except during `serve`, which handles them itself.
    pub fn captured(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        error: impl Write + Send + 'static,
    ) -> Self {
        let messages = Messages::new(error, false);
        Self::with(Box::new(input), Output::new(output), messages, false)
    }

    fn with(
        input: Box<dyn Read + Send>,
        output: Output,
        messages: Messages,
        is_process: bool,
    ) -> Self {
        Self {
            input,
            output: Box::new(output.clone()),
            shared_output: output,
            events: Events::default(),
            messages,
            is_process,
            ending: Ending::default(),
            cleanup: Arc::default(),
        }
    }

    pub(crate) fn output_is_terminal(&self) -> bool {
        self.is_process && io::stdout().is_terminal()
    }

    /// Returns the columns of standard output; beyond all texts if it is not a terminal.
    pub(crate) fn columns(&self) -> usize {
        match system::output_columns() {
            _ if !self.output_is_terminal() => usize::MAX,
            0 => 80,
            columns => columns.max(20).into(),
        }
    }

    /// Writes a report to standard output. On a terminal, the grades of its lines have colours.
    ///
    /// # Errors
    ///
    /// Returns the failure of standard output.
    pub(crate) fn print_report(&mut self, report: &str) -> exit::Result {
        let text = match output::has_colours(self.output_is_terminal()) {
            true => output::graded(report),
            false => report.to_owned(),
        };
        output::print(&mut self.output, text.as_bytes())
    }

    /// Returns the writer of result lines, escaped for a terminal as the options say.
    pub(crate) fn lines(&self, options: &Options) -> ResultLines {
        let escapes = !options.has("raw-names") && self.output_is_terminal();
        ResultLines::new(self.shared_output.clone(), escapes)
    }
}

/// Runs the program with `arguments`, which do not include the program name. Prints errors on
/// standard error. Returns one of the exit codes that `help` prints, or 141 if the captured
/// standard output has no reader.
pub fn run(arguments: impl IntoIterator<Item = OsString>, mut stdio: Stdio) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let hidden = Hidden::among(&arguments);
    stdio.messages.hide(&hidden);
    let done = cmd::run(arguments, hidden, &mut stdio);
    stdio.ending.heed();
    let exit = match &done {
        Ok(()) => Exit::Success,
        Err(failure) => {
            if failure.exit != Exit::BrokenPipe {
                stdio.messages.fail(&failure.message);
            }
            if !failure.reported {
                stdio.events.failed(failure, |error| error);
            }
            failure.exit
        }
    };
    let exit = match stdio.events.close(exit) {
        // Everything was done, but the events could not be written.
        Err(failure) if exit == Exit::Success => {
            if failure.exit != Exit::BrokenPipe {
                stdio.messages.fail(&failure.message);
            }
            failure.exit
        }
        _ => exit,
    };
    stdio.messages.log(format_args!("exit status {}", exit.code()));
    stdio.messages.settle();
    if exit == Exit::BrokenPipe && stdio.is_process {
        system::end_by_broken_pipe();
    }
    exit.into()
}

/// Locks a mutex, even if a thread panicked while holding it: that panic is reported elsewhere.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns 16 hexadecimal digits that nobody can guess. The standard library has random bytes on
/// kernels without getrandom(2), too.
#[cfg(feature = "client")]
fn random_name() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
