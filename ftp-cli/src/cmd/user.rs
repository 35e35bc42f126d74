//! `user`: changes the users in the files that `include` of a configuration names, one file a user,
//! and makes a running server reload.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use ftp_server::PasswordHash;
use ftp_server::daemon::control::{ControlRequest, ControlStyle};
use ftp_server::daemon::{Config, DaemonError};
use rustix::fs::{FlockOperation, flock};

use super::control::{self, RELOAD, new_password};
use super::serve::{drop_privileges, key_and_value};
use crate::console::output::shown_path;
use crate::console::{Stdio, output};
use crate::exit::{Failure, Result};
use crate::options::Options;

const CONFIG: &str = "/etc/ftp-cli/server.toml";

const USAGE: &str =
    "usage: ftp-cli user [OPTION]... list, or add|passwd|lock|unlock|remove with a NAME";

/// Changes or lists users.
///
/// # Errors
///
/// Returns `Usage` for wrong operands, an unknown user or an invalid configuration, `Local` if a file
/// cannot be read or written, or the errors of a reload.
pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let words: Option<Vec<&str>> = options.operands.iter().map(|word| word.to_str()).collect();
    let file = Path::new(options.value("config").unwrap_or(CONFIG.as_ref()));
    let messages = stdio.messages.clone();
    let told = |error: DaemonError| {
        error.lines().iter().for_each(|line| messages.line(line));
        Failure::from(error)
    };
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
    let socket = control::given_path(options).or_else(|| config.control_socket());
    // What the running server refuses would also stop its next start.
    let undo = || match &before {
        (path, Some(text)) => fs::metadata(file).and_then(|like| publish(path, text, &like)),
        (path, None) => fs::remove_file(path),
    };
    let is_new = verb == "add";
    reload(&socket.unwrap_or_else(|| control::path(options)), is_new, &undo, stdio)?;
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
        Err(error) => Err(control::failed(socket, RELOAD, &error)),
        Ok(answer) => {
            let first = answer.outcome.clone();
            control::print(answer, "reload", stdio).inspect_err(|_| match undo() {
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
