//! Decides what to do after an error: try again, ask the user, or give up.
//!
//! `cargo run -p ftp-toolkit-client --example errors -- ftp://me:secret@ftp.example.org/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::fs::File;
use std::thread;
use std::time::Duration;

use ftp_client::{Error, FtpUrl, Verb, get};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("errors URL LOCAL".into()) };
    let url: FtpUrl = url.parse()?;
    for minutes in [1, 5, 25] {
        let Err(error) = get(&url, &mut File::create(local)?) else { return Ok(()) };
        match action(&error) {
            Action::TryAgain => println!("{error}; again in {minutes} minutes"),
            Action::Ask(what) => return Err(format!("{error}: please look at {what}").into()),
            Action::GiveUp => return Err(error.into()),
        }
        thread::sleep(Duration::from_secs(60 * minutes));
    }
    Err("tried often enough".into())
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Action {
    TryAgain,
    /// The user of the program can fix this.
    Ask(&'static str),
    GiveUp,
}

/// Returns what to do after `error`.
pub(crate) fn action(error: &Error) -> Action {
    match error {
        // The server refused the login or the file name.
        Error::Refused { verb: Verb::User | Verb::Pass | Verb::Acct, reply, .. }
            if reply.code().value() == 530 =>
        {
            Action::Ask("the user and the password")
        }
        Error::Refused { reply, .. } if [550, 553].contains(&reply.code().value()) => {
            Action::Ask("the path: missing, or no permission")
        }
        Error::Refused { reply, .. } if [452, 552].contains(&reply.code().value()) => {
            Action::Ask("the space on the server")
        }
        // An argument cannot be sent, or a local file failed.
        Error::Argument(_) => Action::Ask("an argument that FTP cannot carry"),
        Error::Local(_) => Action::Ask("the local file or disk"),
        // The control connection works, but the data connection does not.
        Error::DataConnection(_) => {
            Action::Ask("the firewall, or the choice of active or passive mode")
        }
        // The connection cannot be protected as the URL demands.
        Error::Tls(_) => Action::Ask("the server's certificate, or whether it supports TLS"),
        // The network, a timeout, 421, and other 4xx replies.
        error if error.is_transient() => Action::TryAgain,
        // The peer is broken, is not an FTP server, or lacks a feature; or the user cancelled.
        _ => Action::GiveUp,
    }
}
