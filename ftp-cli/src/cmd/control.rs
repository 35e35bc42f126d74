//! The commands that go with `serve`: `ctl` queries or controls a running server through its control
//! socket, `passwd` prints the hash of a password for the file of `serve --config`, and `user` changes the
//! users in the files that `include` of a configuration names, one file a user, and makes a running
//! server reload. Like `serve`, they give up root where a configuration says so.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_server::PasswordHash;
use ftp_server::daemon::control::{ControlAnswer, ControlRequest, ControlStyle};
use ftp_server::daemon::{Config, DaemonError, RunAs};
use nix::unistd::{
    Gid, Uid, getgroups, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};
use rustix::fs::{FlockOperation, flock};

use super::serve::key_and_value;
use crate::connect::{Secret, credentials};
use crate::console::output::shown_path;
use crate::console::{Messages, Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::report::Events;
use crate::system::Terminal;

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
    let path = path(options);
    let answer = request.ask(&path, limit).map_err(|error| failed(&path, limit, &error))?;
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

/// Returns the failure of a request: `Timeout` if the server has not answered within `limit`, else
/// `Network`.
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

const CONFIG: &str = "/etc/ftp-cli/server.toml";

const USAGE: &str =
    "usage: ftp-cli user [OPTION]... list, or add|passwd|lock|unlock|remove with a NAME";

/// Writes a line for each error in a configuration, and returns the failure.
pub(super) fn told(error: DaemonError, messages: &Messages) -> Failure {
    error.lines().iter().for_each(|line| messages.error(line));
    error.into()
}

/// Changes or lists users.
///
/// # Errors
///
/// Returns `Usage` for wrong operands, an unknown user or an invalid configuration, `Local` if a file
/// cannot be read or written, or the errors of a reload.
pub(crate) fn user(options: &Options, stdio: &mut Stdio) -> Result {
    let words: Option<Vec<&str>> = options.operands.iter().map(|word| word.to_str()).collect();
    let file = Path::new(options.value("config").unwrap_or(CONFIG.as_ref()));
    let messages = stdio.messages.clone();
    let told = |error| told(error, &messages);
    let (verb, name) = match words.as_deref() {
        Some(["list"]) => ("list", ""),
        Some([verb @ ("add" | "passwd" | "lock" | "unlock" | "remove"), name]) => (*verb, *name),
        _ => return Err(Failure::usage(USAGE)),
    };
    for (option, verbs) in
        [("json", &["list"][..]), ("set", &["add"]), ("password-file", &["add", "passwd"])]
    {
        if options.has(option) && !verbs.contains(&verb) {
            return Err(Failure::usage(format!("user {verb} does not accept --{option}")));
        }
    }
    let config = Config::read(file).map_err(told)?;
    if verb == "list" {
        let style = if options.has("json") { ControlStyle::Json } else { ControlStyle::Text };
        return output::print(&mut stdio.output, config.user_list(style).as_bytes());
    }
    let directory = config.users_directory()?.to_owned();
    let failed = |error| Failure::local(shown_path(&directory), &error);
    let locked = File::open(&directory).map_err(failed)?;
    flock(&locked, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    // Another run may have changed the files before it released the lock.
    let config = Config::read(file).map_err(told)?;
    // Only what was read can be put back, and only what was not there removed.
    let former = |path: &Path| path.exists().then(|| fs::read_to_string(path)).transpose();
    let before;
    let done = if verb == "remove" {
        let path = config.without_user(name).map_err(told)?;
        before = (path.clone(), former(&path).map_err(failed)?);
        fs::remove_file(&path).and_then(|()| locked.sync_all()).map_err(failed)?;
        format!("{}: removed\n", shown_path(&path))
    } else {
        let (path, text) = match verb {
            "add" => {
                let keys = keys(options)?;
                // What is wrong with the name or a key comes before the prompt.
                config.with_user(name, &hash("*")?, &keys).map_err(told)?;
                config.with_user(name, &new_password(options, stdio)?, &keys)
            }
            "passwd" => {
                config.password_of(name)?;
                config.with_password(name, &new_password(options, stdio)?)
            }
            _ => {
                let former = config.password_of(name)?.to_string();
                let open = former.trim_start_matches(['!', '*']);
                let lock = if verb == "lock" { "!" } else { "" };
                config.with_password(name, &hash(&format!("{lock}{open}"))?)
            }
        }
        .map_err(told)?;
        before = (path.clone(), former(&path).map_err(failed)?);
        let published = fs::metadata(file).and_then(|like| publish(&path, &text, &like));
        published.and_then(|()| locked.sync_all()).map_err(failed)?;
        let is_now = match verb {
            "lock" | "unlock" => format!("; {name} is {verb}ed"),
            _ => String::new(),
        };
        format!("{}: written{is_now}\n", shown_path(&path))
    };
    output::print(&mut stdio.output, done.as_bytes())?;
    let socket = given_path(options).or_else(|| config.control_socket());
    // What the running server refuses would also stop its next start.
    let undo = || match &before {
        (path, Some(text)) => fs::metadata(file).and_then(|like| publish(path, text, &like)),
        (path, None) => fs::remove_file(path),
    };
    let is_new = verb == "add";
    reload(&socket.unwrap_or_else(|| path(options)), is_new, &undo, stdio)?;
    match is_new {
        // The last step, because it gives up root.
        true => Config::read(file)?.check_user(name, drop_privileges).map_err(told),
        false => Ok(()),
    }
}

/// Returns the keys and values of `--set`.
fn keys(options: &Options) -> Result<Vec<(String, String)>> {
    let pairs = options.all("set").map(|given| {
        let pair = given.to_str().and_then(key_and_value);
        let pair = pair.map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
        pair.ok_or_else(|| Failure::usage("--set: invalid setting: expected KEY=VALUE"))
    });
    pairs.collect()
}

fn hash(text: &str) -> Result<PasswordHash> {
    let lacks = "the account has no password; use ftp-cli user passwd";
    text.parse().map_err(|_| Failure::usage(lacks))
}

/// Writes a file that only the owner and the group of the configuration `like` can read, as far as they
/// can read that. The file has its name once its content is on disk. The caller syncs the directory.
pub(super) fn publish(path: &Path, text: &str, like: &Metadata) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new().prefix(".ftp-cli-").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    let found = file.as_file().metadata()?;
    if (found.uid(), found.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    let mode = Permissions::from_mode(0o600 | like.mode() & 0o040);
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Makes the running server reload. A server that does not listen there may run all the same, and then
/// keeps the former users, which only a new user can wait for (`is_new`). If the server refuses
/// the change, `undo` takes it back.
fn reload(
    socket: &Path,
    is_new: bool,
    undo: &dyn Fn() -> io::Result<()>,
    stdio: &mut Stdio,
) -> Result {
    match ControlRequest::Reload.ask(socket, RELOAD) {
        Err(error)
            if is_new
                && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            let socket = shown_path(socket);
            let note = "no server is listening there; a running one needs a reload";
            stdio.messages.say(format_args!("{socket}: {note}"));
            Ok(())
        }
        Err(error) => Err(failed(socket, RELOAD, &error)),
        Ok(answer) => {
            let first = answer.outcome.clone();
            print(answer, "reload", stdio).inspect_err(|_| match undo() {
                // The error may be about something else, such as a log: the change may be in use. Then the
                // second answer is the same.
                Ok(()) => stdio.messages.say(match ControlRequest::Reload.ask(socket, RELOAD) {
                    Ok(again) if again.outcome.is_ok() || again.outcome == first => {
                        "the file is as it was before"
                    }
                    _ => "the file is as it was before, the running server perhaps not; reload it",
                }),
                Err(error) => stdio.messages.say(format_args!("the file stays changed: {error}")),
            })
        }
    }
}

/// Switches every thread of this process to the user `run_as`, if there is one, the user's group and
/// supplementary groups, for good.
///
/// # Errors
///
/// Returns the system's error if the process cannot switch (only root can), or an error if it could
/// still switch back to root.
pub(crate) fn drop_privileges(run_as: Option<&RunAs>) -> io::Result<()> {
    let Some(run_as) = run_as else { return Ok(()) };
    let user = Uid::from_raw(run_as.user_id());
    let group = Gid::from_raw(run_as.group_id());
    let is_it_already = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [user; 3])
        && getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [group; 3]);
    if is_it_already && !is_root() {
        return Ok(());
    }
    let failed = |errno: nix::Error| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("cannot switch to user \"{run_as}\": {error}"))
    };
    match run_as.system_name() {
        Some(name) => initgroups(name, group),
        None => setgroups(&[]),
    }
    .map_err(failed)?;
    if !run_as.more_groups().is_empty() {
        let more = run_as.more_groups().iter().map(|group| Gid::from_raw(*group));
        let all: Vec<_> = getgroups().map_err(failed)?.into_iter().chain(more).collect();
        setgroups(&all).map_err(failed)?;
    }
    setresgid(group, group, group).map_err(failed)?;
    setresuid(user, user, user).map_err(failed)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the system still allows switching back to root"));
    }
    Ok(())
}

pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
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
            let error = ControlRequest::Drain.ask(&path, brief).unwrap_err();
            let failure = failed(&path, brief, &error);
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
