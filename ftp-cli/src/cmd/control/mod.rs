//! `who`, `status`, `kick`, `drain`, `reload`, `unban`: query or control a running server through
//! its control socket.

pub(crate) mod protocol;

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::protocol::{Answer, Request, Style, Target};
use crate::console::output;
use crate::console::stdio::Stdio;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::options::{Command, Options};

/// The environment variable with the path of the socket.
pub(crate) const VARIABLE: &str = "FTP_CLI_CONTROL";

/// The default path of the socket.
pub(crate) const DEFAULT: &str = "/run/ftp-cli/control.sock";

/// The longest wait for an answer. A reload can be slow: it looks up host names and opens
/// directories.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs one of the control commands.
///
/// # Errors
///
/// Returns `Usage` for wrong operands, or `Network` if the server cannot be reached or does not
/// answer. Returns `Refused` if the server refuses the request or finds no matching session or ban.
pub(crate) fn run(command: Command, options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let request = request(command, options)?;
    let answer = ask(&path(options), &request)?;
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
fn request(command: Command, options: &Options) -> Result<Request, Failure> {
    let style = if options.has("json") { Style::Json } else { Style::Text };
    let operands: Vec<&OsStr> = options.operands.iter().map(AsRef::as_ref).collect();
    let wrong = |usage: &str| Failure::usage(format!("usage: ftp-cli {} {usage}", command.name()));
    let text = |operand: &OsStr| operand.to_string_lossy().into_owned();
    let none = |request| if operands.is_empty() { Ok(request) } else { Err(wrong("[OPTION]...")) };
    match command {
        Command::Who => none(Request::Who(style)),
        Command::Status => none(Request::Status(style)),
        Command::Drain => none(Request::Drain),
        Command::Reload => none(Request::Reload),
        Command::Kick => match operands.as_slice() {
            [target] => Target::parse(&text(target)).map(Request::Kick).map_err(Failure::usage),
            _ => Err(wrong("[OPTION]... ID|user=NAME|address=ADDRESS")),
        },
        Command::Unban => match operands.as_slice() {
            [host] => Request::parse(&format!("unban {}", text(host))).map_err(Failure::usage),
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

fn ask(path: &Path, request: &Request) -> Result<Answer, Failure> {
    let shown = shown_path(path);
    let mut stream = UnixStream::connect(path).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                "no server is listening there; start it, or name its control.socket with --control"
                    .to_owned()
            }
            ErrorKind::PermissionDenied => {
                "permission denied; see the server's control.group and control.mode".to_owned()
            }
            _ => error.to_string(),
        };
        Failure::new(Exit::Network, format!("{shown}: {why}"))
    })?;
    let mut exchange = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        Answer::read(&stream)
    };
    exchange().map_err(|error| {
        let why = match error.kind() {
            ErrorKind::WouldBlock => "the server did not answer within 2 minutes".to_owned(),
            ErrorKind::InvalidData => {
                "the server closed the connection without a complete answer".to_owned()
            }
            _ => error.to_string(),
        };
        Failure::new(Exit::Network, format!("{shown}: {why}"))
    })
}
