//! The user's configuration file: options for all hosts or some of them, and bookmarks.
//!
//! Its options act as if they were typed first, so options on the command line override them. The
//! file holds no passwords, so other users may read it; only its owner may write to it.
//! A file that is too large, not a regular file, or writable by others is rejected.

mod reader;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::{Escaped, FtpUrl};
use rustix::process::geteuid;

use crate::connect::secret::{self, read_own};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::options::urls::is_url;
use crate::options::{Command, GivenOption, Options};
use reader::Choice;

/// The option that keeps a run from reading the file.
const SKIP: &str = "no-config";

/// The option that sets the user.
const USER: &str = "user";

/// The options that supply the user's password.
const PASSWORDS: [&str; 2] = ["password-file", "password-command"];

/// A configuration file that was read.
#[derive(Debug, Default)]
struct ConfigFile {
    /// Name for messages.
    name: String,
    defaults: Vec<Choice>,
    /// The options of hosts, in the order of the file.
    hosts: Vec<(Host, Vec<Choice>)>,
    bookmarks: Vec<(String, String)>,
}

/// A host of the file: its name, and the port if its table is for one port only.
#[derive(Debug, Eq, PartialEq)]
struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    fn is_of(&self, url: &FtpUrl) -> bool {
        self.name.eq_ignore_ascii_case(url.host())
            && self.port.is_none_or(|port| port == url.port())
    }
}

/// Replaces bookmarks in the operands, and puts the options of the file before the typed ones. Does
/// nothing if the command does not connect to servers, or must not read the file.
///
/// # Errors
///
/// Returns `Local` if the file cannot be read or others may write to it, and `Usage` with line and
/// column for a mistake in it. Also returns `Usage` for a bookmark that is also the name of a local
/// file, and for URLs with different options.
pub(crate) fn apply(
    command: Option<Command>,
    mut options: Options,
) -> (Options, Result<(), Failure>) {
    let applied = apply_to(&mut options, command);
    (options, applied)
}

fn apply_to(options: &mut Options, command: Option<Command>) -> Result<(), Failure> {
    let Some(command) = command.filter(|command| command.rows().any(|row| row.long == SKIP)) else {
        return Ok(());
    };
    if options.has(SKIP) || options.has("help") || options.has("version") {
        return Ok(());
    }
    let Some(place) = of_file(|name| std::env::var_os(name)) else { return Ok(()) };
    let Some((name, text)) = place.read()? else { return Ok(()) };
    reader::read(name, &text)?.apply(command, options)
}

/// A configuration file whose options are applied. URLs that are read later must have the same
/// options.
#[derive(Debug)]
pub(crate) struct Applied {
    file: ConfigFile,
    command: Command,
    /// The first URL of the command line. The run uses the options of its host.
    first: Option<FtpUrl>,
}

/// Checks that a URL of a list has the same options as the run. Without the options of its own
/// host, a password could be sent unencrypted.
///
/// # Errors
///
/// Returns `Usage` if the URL has other options.
pub(crate) fn check(options: &Options, url: &FtpUrl) -> Result<(), Failure> {
    let Some(Applied { file, command, first }) = options.configured.as_deref() else {
        return Ok(());
    };
    let of_run = first.as_ref().map(|first| file.of_host(*command, options, first));
    match (is_same(&of_run.unwrap_or_default(), &file.of_host(*command, options, url)), first) {
        (true, _) => Ok(()),
        (false, Some(first)) => Err(file.differing(first, url)),
        (false, None) => Err(Failure::usage(format!(
            "{}: {} has options that do not apply to a list; write its URLs on the command line, \
             or use --no-config",
            file.name,
            Escaped(url.host().as_bytes())
        ))),
    }
}

/// Returns whether two lists consist of the same entries of the file.
fn is_same(one: &[&Choice], other: &[&Choice]) -> bool {
    let pairs = || one.iter().zip(other);
    one.len() == other.len() && pairs().all(|(one, other)| std::ptr::eq(*one, *other))
}

impl ConfigFile {
    fn apply(self, command: Command, options: &mut Options) -> Result<(), Failure> {
        self.expand(command, options)?;
        let first = self.first_url(command, options)?;
        let of_host = first.as_ref().map(|url| self.of_host(command, options, url));
        let is_taken = |choice: &&Choice| is_taken(command, options, choice);
        let mut chosen: Vec<&Choice> = Vec::new();
        for choice in self.defaults.iter().filter(is_taken).chain(of_host.unwrap_or_default()) {
            // The options of a host replace those for all hosts.
            chosen.retain(|earlier| !reader::replaces(choice, earlier));
            chosen.push(choice);
        }
        chosen.retain(|choice| reader::is_possible(choice, command, options));
        let given = chosen.into_iter().flat_map(|choice| choice.given.iter().cloned());
        let given: Vec<GivenOption> = given.collect();
        options.precede_by(given);
        options.configured = Some(Arc::new(Applied { file: self, command, first }));
        Ok(())
    }

    /// Replaces bookmarks in the operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if an operand could also be a local file.
    fn expand(&self, command: Command, options: &mut Options) -> Result<(), Failure> {
        let count = options.operands.len();
        let has_target = options.has("output") || options.has("directory");
        for (at, operand) in options.operands.iter_mut().enumerate() {
            let Some(url) = self.expanded(operand) else { continue };
            let can_be_local = match command {
                Command::Get => at > 0 && !has_target,
                Command::Batch => at > 0,
                Command::Put => at + 1 < count,
                Command::Mirror => true,
                _ => false,
            };
            let name = operand.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default();
            if can_be_local && fs::symlink_metadata(OsStr::from_bytes(name)).is_ok() {
                return Err(Failure::usage(format!(
                    "{}: is both a bookmark and a local file; write ./{} or {}",
                    Escaped(name),
                    Escaped(operand.as_bytes()),
                    Escaped(url.as_bytes())
                )));
            }
            *operand = url;
        }
        Ok(())
    }

    /// Returns the URL for `@NAME` or `@NAME/PATH`, if NAME is a bookmark.
    fn expanded(&self, operand: &OsStr) -> Option<OsString> {
        let rest = operand.as_bytes().strip_prefix(b"@")?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        let (_, url) = self.bookmarks.iter().find(|(known, _)| known.as_bytes() == name)?;
        let url = if path.is_empty() { url } else { url.strip_suffix('/').unwrap_or(url) };
        Some(OsString::from_vec([url.as_bytes(), path].concat()))
    }

    /// Returns the options for the host of a URL, except options that the command does not accept
    /// or that are typed.
    ///
    /// A user on the command line or in the URL replaces the file's user, and never gets the
    /// password of another user. A password in the URL replaces the file's password.
    fn of_host(&self, command: Command, options: &Options, url: &FtpUrl) -> Vec<&Choice> {
        let sections = || {
            let sections = self.hosts.iter().filter(|(host, _)| host.is_of(url));
            sections.map(|(_, choices)| choices)
        };
        let takes_user = command.rows().any(|row| row.long == USER);
        let named = options.typed(USER).map(OsStr::as_bytes).or(url.user());
        let own = sections().rev().find_map(|choices| user_of(choices));
        let user = named.or(own.filter(|_| takes_user));
        let mut found = Vec::new();
        for choices in sections() {
            let is_of_user =
                user.is_some_and(|named| user_of(choices).is_none_or(|own| own == named));
            let has_password = is_of_user && url.password().is_none();
            found.extend(choices.iter().filter(|choice| {
                is_taken(command, options, choice)
                    && (choice.long != USER || named.is_none())
                    && (!PASSWORDS.contains(&choice.long) || has_password)
            }));
        }
        found
    }

    /// Returns the first URL of the operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for URLs with different options, because a run has only one set of options.
    fn first_url(&self, command: Command, options: &Options) -> Result<Option<FtpUrl>, Failure> {
        let mut first: Option<(FtpUrl, Vec<&Choice>)> = None;
        for operand in &options.operands {
            let Ok(url) = FtpUrl::parse(operand.as_bytes()) else { continue };
            // A local name can look like `host:path`.
            if !is_url(operand.as_bytes()) && !self.hosts.iter().any(|(host, _)| host.is_of(&url)) {
                continue;
            }
            let choices = self.of_host(command, options, &url);
            match &first {
                Some((other, known)) if !is_same(known, &choices) => {
                    return Err(self.differing(other, &url));
                }
                Some(_) => {}
                None => first = Some((url, choices)),
            }
        }
        Ok(first.map(|(url, _)| url))
    }

    /// Returns the error for URLs with different options.
    fn differing(&self, one: &FtpUrl, other: &FtpUrl) -> Failure {
        let name = |url: &FtpUrl| match one.host().eq_ignore_ascii_case(other.host()) {
            true => url.to_string(),
            false => Escaped(url.host().as_bytes()).to_string(),
        };
        Failure::usage(format!(
            "{}: {} and {} have different options; run them separately, or use --no-config",
            self.name,
            name(one),
            name(other)
        ))
    }
}

/// Returns the user that the options name.
fn user_of(choices: &[Choice]) -> Option<&[u8]> {
    let choice = choices.iter().find(|choice| choice.long == USER)?;
    choice.given.last()?.value.as_deref().map(OsStr::as_bytes)
}

/// Returns whether a command accepts an option of the file, and no typed option replaces it.
fn is_taken(command: Command, options: &Options, choice: &Choice) -> bool {
    command.rows().any(|row| row.long == choice.long)
        && options.last_typed(&[choice.long]).is_none()
}

/// The variable that names another file; an empty value means no file.
const VARIABLE: &str = "FTP_CLI_CONFIG";

/// Expected place of the file.
#[derive(Debug, Eq, PartialEq)]
struct Place {
    path: PathBuf,
    /// Whether a variable names the file, so that the file must exist.
    is_named: bool,
}

/// Returns where the file is expected: `FTP_CLI_CONFIG`, else `ftp-cli/config.toml` in
/// `XDG_CONFIG_HOME` or in `~/.config`. Returns `None` if `FTP_CLI_CONFIG` is empty, or if it is
/// not set and neither `XDG_CONFIG_HOME` nor `HOME` is absolute.
fn of_file(environment: impl Fn(&str) -> Option<OsString>) -> Option<Place> {
    if let Some(path) = environment(VARIABLE) {
        return (!path.is_empty()).then(|| Place { path: path.into(), is_named: true });
    }
    // A relative path would name a file that the current directory's owner controls.
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configs = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
    Some(Place { path: configs?.join("ftp-cli/config.toml"), is_named: false })
}

impl Place {
    /// Reads the file. Returns its name and text, or `None` if it is missing and no variable names
    /// it.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, is too large or not a regular file, or can be
    /// changed by others. Returns `Usage` if the file is not UTF-8.
    fn read(&self) -> Result<Option<(String, String)>, Failure> {
        let name = shown_path(&self.path);
        let unfit = |why: &str| Failure::new(Exit::Local, format!("{name}: {why}"));
        let (metadata, bytes) = match read_own(&self.path) {
            Ok(read) => read,
            // A path with a name that is too long cannot exist.
            Err(error)
                if !self.is_named
                    && matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
                    ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(unfit("too large: expected at most 1 MiB"));
            }
            Err(error) => return Err(Failure::local(name, &error)),
        };
        let rule = (0o022, "writable by", 0o644);
        if let Some(why) = secret::unfit(&metadata, geteuid().as_raw(), rule) {
            return Err(unfit(&why));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((name, text))),
            Err(_) => Err(Failure::usage(format!("{name}: invalid text: expected UTF-8"))),
        }
    }
}

#[cfg(test)]
mod tests;
