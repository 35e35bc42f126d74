//! The commands that go with `serve`: `ctl` queries or controls a running server through its control
//! socket, and `passwd` prints the hash of a password for the file of `serve --config`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_server::PasswordHash;
use ftp_server::daemon::control::{ControlAnswer, ControlRequest};

use crate::connect::{Secret, Terminal, credentials};
use crate::console::output::shown_path;
use crate::console::{Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::report::Events;

/// The environment variable with the path of the socket.
pub(crate) const VARIABLE: &str = "FTP_CLI_CONTROL";

pub(crate) const DEFAULT: &str = "/run/ftp-cli/control.sock";

/// Time limit for a request and its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The same for a reload, which looks up host names and opens directories.
pub(super) const RELOAD: Duration = Duration::from_secs(120);

/// The requests, and their operands in the usage message.
const REQUESTS: [(&str, &str); 7] = [
    ("who", ""),
    ("users", ""),
    ("status", ""),
    ("drain", ""),
    ("reload", ""),
    ("kick", " ID|user=NAME|address=ADDRESS"),
    ("unban", " ADDRESS|all"),
];

/// Sends the request in the operands.
///
/// # Errors
///
/// Returns `Usage` for wrong operands, `Network` if the server cannot be reached or ends the
/// connection, or `Timeout` if it does not answer in time. Returns `Refused` if the server refuses
/// the request or finds no matching session or ban.
pub(crate) fn ctl(options: &Options, stdio: &mut Stdio) -> Result {
    let words: Vec<_> = options.operands.iter().map(|word| word.to_string_lossy()).collect();
    let request = request(&words, options.has("json"))?;
    let limit = if request == ControlRequest::Reload { RELOAD } else { LIMIT };
    let answer = ask(&path(options), &request, limit)?;
    print(answer, words.first().map_or("ctl", AsRef::as_ref), stdio)
}

/// Prints the outcome of the request `what`.
///
/// # Errors
///
/// Returns `Refused` if the server has refused the request.
pub(super) fn print(answer: ControlAnswer, what: &str, stdio: &mut Stdio) -> Result {
    match answer.outcome {
        Ok(text) => output::print(&mut stdio.output, text.as_bytes()),
        Err(reason) => {
            // One line per error in the file precedes the outcome.
            let (errors, outcome) = reason.rsplit_once('\n').unwrap_or(("", &reason));
            errors.lines().for_each(|error| stdio.messages.line(error));
            Err(Failure::new(Exit::Refused, outcome).context(what))
        }
    }
}

fn request(words: &[Cow<'_, str>], is_json: bool) -> Result<ControlRequest> {
    let of = |name: &Cow<'_, str>| REQUESTS.iter().find(|(known, _)| known == name);
    let known = words.first().map(of);
    let Some(Some((name, operand))) = known else {
        let names = REQUESTS.map(|(name, _)| name).join("|");
        return Err(Failure::usage(format!("usage: ftp-cli ctl [OPTION]... {names}")));
    };
    if words.len() != 1 + usize::from(!operand.is_empty()) {
        return Err(Failure::usage(format!("usage: ftp-cli ctl [OPTION]... {name}{operand}")));
    }
    if is_json && !matches!(*name, "who" | "users" | "status") {
        return Err(Failure::usage(format!("ctl {name} does not accept --json")));
    }
    let json = if is_json { " json" } else { "" };
    ControlRequest::parse(&(words.join(" ") + json)).map_err(Failure::usage)
}

pub(super) fn path(options: &Options) -> PathBuf {
    given_path(options).unwrap_or_else(|| DEFAULT.into())
}

/// Returns the path of the socket that the options or the environment name.
pub(super) fn given_path(options: &Options) -> Option<PathBuf> {
    let given = options.value("control").map(OsStr::to_owned);
    let path = given.or_else(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()));
    path.map(PathBuf::from)
}

/// Sends a request to the socket at `path`, and returns the answer.
///
/// # Errors
///
/// Returns `Network` if the server cannot be reached or ends the connection, or `Timeout` if it does
/// not answer within `limit`.
fn ask(path: &Path, request: &ControlRequest, limit: Duration) -> Result<ControlAnswer> {
    request.ask(path, limit).map_err(|error| failed(path, limit, &error))
}

pub(super) fn failed(path: &Path, limit: Duration, error: &io::Error) -> Failure {
    let (exit, why) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => (
            Exit::Network,
            "no server is listening there; start it with this control.socket, or use --control"
                .to_owned(),
        ),
        ErrorKind::PermissionDenied => (
            Exit::Network,
            "permission denied; use sudo, or join the group that control.group names in the \
             server's configuration (in the package: ftp-cli)"
                .to_owned(),
        ),
        ErrorKind::TimedOut => {
            (Exit::Timeout, format!("the server did not answer within {} s", limit.as_secs()))
        }
        ErrorKind::InvalidData => {
            (Exit::Network, "the server closed the connection without a complete answer".to_owned())
        }
        _ => (Exit::Network, error.to_string()),
    };
    Failure::new(exit, format!("{}: {why}", shown_path(path)))
}

/// Prints the hash of a password, which it reads from a file, the terminal or standard input.
pub(crate) fn passwd(options: &Options, stdio: &mut Stdio) -> Result {
    if !options.operands.is_empty() {
        let why = "passwd takes no operand: it asks for the password, or reads standard input";
        return Err(Failure::usage(why));
    }
    let hash = new_password(options, stdio)?;
    output::print(&mut stdio.output, format!("{hash}\n").as_bytes())
}

/// Reads a new password from a file, the terminal or standard input, and returns its hash.
pub(super) fn new_password(options: &Options, stdio: &mut Stdio) -> Result<PasswordHash> {
    let password = match options.value("password-file") {
        Some(file) => credentials::read_file(file)?,
        None if stdio.is_process && io::stdin().is_terminal() => ask_on_terminal(stdio)?,
        None => credentials::read_only_line(&mut stdio.input, "standard input")?,
    };
    PasswordHash::new(password.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::new(Exit::Internal, error.to_string()),
    })
}

/// Asks for the password twice on the terminal.
fn ask_on_terminal(stdio: &Stdio) -> Result<Secret> {
    let terminal = Terminal::find().map_err(|error| Failure::local("terminal", &error))?;
    let messages = stdio.messages.clone();
    signals::on_signals(false, move |signal| signals::end(signal, &messages, &Events::default()))?;
    ask_twice(|prompt| terminal.ask(prompt))
}

fn ask_twice(mut ask: impl FnMut(&str) -> Result<Secret>) -> Result<Secret> {
    let first = ask("Password: ")?;
    let second = ask("Again: ")?;
    match first.as_bytes() == second.as_bytes() {
        true => Ok(first),
        false => Err(Failure::usage("the passwords do not match")),
    }
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

    #[test]
    fn both_entries_of_a_new_password_must_match() {
        for (typed, want) in [
            (&b"secret\nsecret\n"[..], Some(&b"secret"[..])),
            (b"secret\r\nsecret", Some(b"secret")),
            (b"secret\nSecret\n", None),
            (b"secret\n", None),
            (b"\n\n", None),
            (b"a\0\na\0\n", None),
            (b"a\rb\na\rb\n", None),
        ] {
            let mut typed = typed;
            let found = ask_twice(|_| credentials::read_line(&mut typed, "terminal"));
            assert_eq!(found.as_ref().map(Secret::as_bytes).ok(), want);
            assert!(found.is_ok() || found.is_err_and(|failure| failure.exit == Exit::Usage));
        }
    }
}
