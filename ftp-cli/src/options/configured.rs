//! The options of the configuration file: which of them a run has, by its command and the host of its
//! URLs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::sync::Arc;

use ftp_proto::{Escaped, FtpUrl, RepresentationType};

use super::table::exclude;
use super::{Command, GivenOption, Options, is_url};
use crate::exit::{Failure, Result};
use crate::system::{OsStrExt, OsStringExt};

pub(crate) const USER: &str = "user";

const PASSWORDS: [&str; 2] = ["password-file", "password-command"];

#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    pub(crate) name: String,
    pub(crate) defaults: Vec<Choice>,
    /// The options of hosts, in the order of the file.
    pub(crate) hosts: Vec<(Host, Vec<Choice>)>,
    pub(crate) bookmarks: Vec<(String, String)>,
}

/// A host of the file: its name, and the port if its table is for one port only.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Host {
    fn is_of(&self, url: &FtpUrl) -> bool {
        self.name.eq_ignore_ascii_case(url.host())
            && self.port.is_none_or(|port| port == url.port())
    }
}

/// The file's setting for one option.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) long: &'static str,
    /// The option as it would be typed, once per value; empty if the option is switched off.
    pub(crate) given: Vec<GivenOption>,
    /// Byte offset of the host's section; `None` in `[defaults]`.
    pub(crate) of_host: Option<usize>,
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
pub(crate) fn check(options: &Options, url: &FtpUrl) -> Result {
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

/// Returns whether the file has an option for the host of the run.
pub(crate) fn is_of_host(options: &Options, long: &str) -> bool {
    options.configured.as_deref().is_some_and(|Applied { file, command, first }| {
        let mut choices = first.iter().flat_map(|url| file.of_host(*command, options, url));
        choices.any(|choice| choice.long == long && !choice.given.is_empty())
    })
}

/// Returns whether two lists consist of the same entries of the file.
fn is_same(one: &[&Choice], other: &[&Choice]) -> bool {
    let pairs = || one.iter().zip(other);
    one.len() == other.len() && pairs().all(|(one, other)| std::ptr::eq(*one, *other))
}

impl ConfigFile {
    /// Replaces bookmarks in the operands, and puts the options of the file before the typed ones.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for a bookmark that is also the name of a local file, and for URLs with
    /// different options.
    pub(crate) fn apply(self, command: Command, options: &mut Options) -> Result {
        self.expand(command, options)?;
        let first = self.first_url(command, options)?;
        let of_host = first.as_ref().map(|url| self.of_host(command, options, url));
        let is_taken = |choice: &&Choice| is_taken(command, options, choice);
        let mut chosen: Vec<&Choice> = Vec::new();
        for choice in self.defaults.iter().filter(is_taken).chain(of_host.unwrap_or_default()) {
            // The options of a host replace those for all hosts.
            chosen.retain(|earlier| !replaces(command, choice, earlier));
            chosen.push(choice);
        }
        chosen.retain(|choice| is_possible(choice, command, options));
        let given = chosen.into_iter().flat_map(|choice| choice.given.iter().cloned());
        options.precede_by(given.collect());
        options.configured = Some(Arc::new(Applied { file: self, command, first }));
        Ok(())
    }

    /// Replaces bookmarks in the operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if an operand could also be a local file.
    fn expand(&self, command: Command, options: &mut Options) -> Result {
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
            // Without a user, the password stays: an anonymous login in its place is refused.
            let is_of_user =
                user.is_none_or(|named| user_of(choices).is_none_or(|own| own == named));
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
    fn first_url(&self, command: Command, options: &Options) -> Result<Option<FtpUrl>> {
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

fn user_of(choices: &[Choice]) -> Option<&[u8]> {
    let choice = choices.iter().find(|choice| choice.long == USER)?;
    choice.given.last()?.value.as_deref().map(OsStr::as_bytes)
}

/// Returns whether a command accepts an option of the file, and no typed option replaces it.
fn is_taken(command: Command, options: &Options, choice: &Choice) -> bool {
    command.rows().any(|row| row.long == choice.long)
        && options.last_typed(&[choice.long]).is_none()
}

fn replaces(command: Command, choice: &Choice, earlier: &Choice) -> bool {
    let is_on = |choice: &Choice| !choice.given.is_empty();
    // Two options of the same table that exclude each other are an error.
    let is_other_table = choice.of_host != earlier.of_host && is_on(choice) && is_on(earlier);
    choice.long == earlier.long || is_other_table && exclude(command, choice.long, earlier.long)
}

/// Returns whether an option of the file can have an effect in addition to the typed options.
fn is_possible(choice: &Choice, command: Command, options: &Options) -> bool {
    match choice.long {
        long if options.type_excludes(command, long) => false,
        "client-key" => options.last_typed(&["client-cert"]).is_none(),
        "verify" => can_verify(choice, options),
        _ => true,
    }
}

/// Returns whether `--verify` can apply and contradicts no other option. ASCII allows only `none`;
/// `--append` excludes `hash`, and `--remove-source` excludes `none`.
fn can_verify(choice: &Choice, options: &Options) -> bool {
    let is_ascii = |operand: &OsStr| {
        let url = FtpUrl::parse(operand.as_bytes()).ok();
        url.and_then(|url| url.representation()) == Some(RepresentationType::Ascii)
    };
    let in_ascii = match options.last_of(&["ascii", "binary"]) {
        Some(last) => last == "ascii",
        None => options.operands.iter().any(|operand| is_ascii(operand)),
    };
    let mode = choice.given.last().and_then(|given| given.value.as_deref());
    let is = |word: &str| mode.is_some_and(|mode| mode == word);
    let is_excluded = in_ascii && !is("none")
        || options.has("append") && is("hash")
        || options.has("remove-source") && is("none");
    !is_excluded
}
