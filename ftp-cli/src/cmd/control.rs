//! `who`, `status`, `kick`, `drain`, `reload`, `unban`: query or control a running server through
//! its control socket.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_server::daemon::control::{
    self, ControlAnswer, ControlRequest, ControlStyle, SessionTarget,
};

use crate::console::output;
use crate::console::stdio::Stdio;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::options::{Command, Options};

/// The environment variable with the path of the socket.
pub(crate) const VARIABLE: &str = "FTP_CLI_CONTROL";

/// The default path of the socket.
pub(crate) const DEFAULT: &str = "/run/ftp-cli/control.sock";

/// Time limit for a request and its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The same for a reload, which looks up host names and opens directories.
const RELOAD: Duration = Duration::from_secs(120);

/// Runs one of the control commands.
///
/// # Errors
///
/// Returns `Usage` for wrong operands, `Network` if the server cannot be reached or ends the
/// connection, or `Timeout` if it does not answer in time. Returns `Refused` if the server refuses the request or finds no matching session or ban.
pub(crate) fn run(command: Command, options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let request = request(command, options)?;
    let limit = if request == ControlRequest::Reload { RELOAD } else { LIMIT };
    let answer = ask(&path(options), &request, limit)?;
    match answer.outcome {
        Ok(text) => output::print(&mut stdio.output, text.as_bytes()),
        Err(reason) => {
            // One line per error in the file precedes the outcome.
            let (errors, outcome) = reason.rsplit_once('\n').unwrap_or(("", &reason));
            errors.lines().for_each(|error| stdio.messages.line(error));
            Err(Failure::new(Exit::Refused, outcome).context(command.name()))
        }
    }
}

/// Returns the request of the command line.
fn request(command: Command, options: &Options) -> Result<ControlRequest, Failure> {
    let style = if options.has("json") { ControlStyle::Json } else { ControlStyle::Text };
    let operands: Vec<&OsStr> = options.operands.iter().map(AsRef::as_ref).collect();
    let wrong = |usage: &str| Failure::usage(format!("usage: ftp-cli {} {usage}", command.name()));
    let text = |operand: &OsStr| operand.to_string_lossy().into_owned();
    let none = |request| if operands.is_empty() { Ok(request) } else { Err(wrong("[OPTION]...")) };
    match command {
        Command::Who => none(ControlRequest::Who(style)),
        Command::Status => none(ControlRequest::Status(style)),
        Command::Drain => none(ControlRequest::Drain),
        Command::Reload => none(ControlRequest::Reload),
        Command::Kick => match operands.as_slice() {
            [target] => SessionTarget::parse(&text(target))
                .map(ControlRequest::Kick)
                .map_err(Failure::usage),
            _ => Err(wrong("[OPTION]... ID|user=NAME|address=ADDRESS")),
        },
        Command::Unban => match operands.as_slice() {
            [host] => {
                ControlRequest::parse(&format!("unban {}", text(host))).map_err(Failure::usage)
            }
            _ => Err(wrong("[OPTION]... ADDRESS|all")),
        },
        _ => unreachable!("dispatch sends only the commands above"),
    }
}

/// Returns the path of the socket.
fn path(options: &Options) -> PathBuf {
    let given = options.value("control").map(OsStr::to_owned);
    let path = given.or_else(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()));
    path.map_or_else(|| DEFAULT.into(), PathBuf::from)
}

/// Sends a request to the socket at `path`, and returns the answer.
///
/// # Errors
///
/// Returns `Network` if the server cannot be reached or ends the connection, or `Timeout` if it does
/// not answer within `limit`.
fn ask(path: &Path, request: &ControlRequest, limit: Duration) -> Result<ControlAnswer, Failure> {
    control::ask(path, request, limit).map_err(|error| {
        let (exit, why) = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => (
                Exit::Network,
                "no server is listening there; start it, or name its control.socket with --control"
                    .to_owned(),
            ),
            ErrorKind::PermissionDenied => (
                Exit::Network,
                "permission denied; see the server's control.group and control.mode".to_owned(),
            ),
            ErrorKind::TimedOut => {
                (Exit::Timeout, format!("the server did not answer within {} s", limit.as_secs()))
            }
            ErrorKind::InvalidData => (
                Exit::Network,
                "the server closed the connection without a complete answer".to_owned(),
            ),
            _ => (Exit::Network, error.to_string()),
        };
        Failure::new(exit, format!("{}: {why}", shown_path(path)))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_a_timeout() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // The first client waits in the queue, which has no room for the second.
        for _ in 0..2 {
            let brief = Duration::from_millis(100);
            let failure = ask(&path, &ControlRequest::Drain, brief).unwrap_err();
            assert_eq!(failure.exit, Exit::Timeout);
            assert!(failure.to_string().contains("did not answer within"), "{failure}");
        }
    }
}
