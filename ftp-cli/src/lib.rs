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
mod config_file;
mod exit;
#[cfg(all(feature = "client", feature = "server"))]
mod gateway;
mod options;
mod remote;
mod report;
mod system;
#[cfg(feature = "client")]
mod transfer;

mod connect {
    //! Connects to servers, logs in and retries, as the options say.

    pub(crate) mod credentials;
    pub(crate) mod dialler;
    pub(crate) mod sessions;

    pub(crate) use credentials::{Credentials, Finder, Secret};
    pub(crate) use dialler::{Chosen, Dialler, TlsOptions};
    pub(crate) use sessions::{RefusedLogins, Retrying, Sessions, Witness};
}

mod console {
    //! Everything about the terminal and the process: standard streams, messages, signals, the
    //! trace and progress.

    pub(crate) mod output;
    #[cfg(feature = "client")]
    pub(crate) mod progress;
    pub(crate) mod signals;
    pub(crate) mod stdio;

    pub(crate) use output::{Hidden, Messages, Output, Printable, ResultLines};
    #[cfg(feature = "client")]
    pub(crate) use progress::{Board, Meter, When};
    pub(crate) use signals::Cleanup;
    pub(crate) use stdio::Stdio;
}

use std::ffi::OsString;
use std::process::ExitCode;

use console::Hidden;
pub use console::stdio::Stdio;
use exit::Exit;
pub(crate) use system::lock;
#[cfg(feature = "client")]
pub(crate) use system::random_name;

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
