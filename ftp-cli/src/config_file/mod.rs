//! The user's configuration file: options for all hosts or some of them, and bookmarks.
//!
//! Its options act as if they were typed first, so options on the command line override them. The
//! file holds no passwords, so other users may read it; only its owner may write to it.

mod effect;
mod place;
mod reader;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use ftp_proto::{Escaped, FtpUrl};

use crate::exit::Failure;
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
pub(crate) fn apply(command: Option<Command>, options: &mut Options) -> Result<(), Failure> {
    let Some(command) = command.filter(|command| command.rows().any(|row| row.long == SKIP)) else {
        return Ok(());
    };
    if options.has(SKIP) || options.has("help") || options.has("version") {
        return Ok(());
    }
    let Some(place) = place::of_file(|name| std::env::var_os(name)) else { return Ok(()) };
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
            chosen.retain(|earlier| !effect::replaces(choice, earlier));
            chosen.push(choice);
        }
        chosen.retain(|choice| effect::is_possible(choice, command, options));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    const FILE: &str = "\
[defaults]
retry = 2
tls-data = \"clear\"
pin = [\"one\", \"two\"]
insecure = true
[hosts.\"nas.example\"]
user = \"me\"
insecure = false
[hosts.\"nas.example:2121\"]
user = \"other\"
[bookmarks]
nas = \"ftpes://me@nas.example/volume1/\"
top = \"ftp://h\"
";

    /// Returns the options and operands of a line, after the file.
    fn line(line: &str) -> Result<String, String> {
        let (command, mut options) =
            options::parse(line.split(' ').map(OsString::from)).map_err(|error| error.message)?;
        let file = reader::read("f".to_owned(), FILE).map_err(|error| error.message)?;
        file.apply(command.unwrap(), &mut options).map_err(|error| error.message)?;
        let mut words = Vec::new();
        for long in ["retry", "tls-data", "pin", "insecure", "user"] {
            let values: Vec<_> = options.all(long).map(OsStr::to_string_lossy).collect();
            if options.has(long) {
                words.push(format!("{long}={}", values.join(",")));
            }
        }
        words.extend(options.operands.iter().map(|text| text.to_string_lossy().into_owned()));
        Ok(words.join(" "))
    }

    #[test]
    fn typed_options_override_host_options_which_override_defaults() {
        let defaults = "retry=2 tls-data=clear pin=one,two";
        for (typed, want) in [
            ("get ftp://h/a", format!("{defaults} insecure= ftp://h/a")),
            ("get ftp://NAS.example/a", format!("{defaults} user=me ftp://NAS.example/a")),
            (
                "get -u you --pin three ftp://nas.example/a",
                "retry=2 tls-data=clear pin=three user=you ftp://nas.example/a".to_owned(),
            ),
            (
                "get ftp://nas.example:2121/a",
                format!("{defaults} user=other ftp://nas.example:2121/a"),
            ),
            ("get me@nas.example:a b", format!("{defaults} me@nas.example:a b")),
            ("get nas.example:a b", format!("{defaults} user=me nas.example:a b")),
            ("mirror site ftp://h/", format!("{defaults} insecure= site ftp://h/")),
            // Options that the command does not accept are left out.
            (
                "quote ftp://h/ NOOP",
                "tls-data=clear pin=one,two insecure= ftp://h/ NOOP".to_owned(),
            ),
        ] {
            assert_eq!(line(typed), Ok(want), "{typed}");
        }
        let wrong = line("get -P d ftp://h/a ftp://nas.example/b").unwrap_err();
        assert!(wrong.starts_with("f: h and nas.example have different options"), "{wrong}");
    }

    #[test]
    fn a_configured_password_applies_only_to_its_user() {
        for (typed, want) in [
            ("ls ftp://h/", "user=me password-command=c"),
            ("ls ftp://me@h/", "password-command=c"),
            ("ls ftp://me:pw@h/", ""),
            ("ls ftp://you@h/", ""),
            ("ls ftp://you:pw@h/", ""),
            ("ls -u me ftp://h/", "user=me password-command=c"),
            ("ls -u you ftp://h/", "user=you"),
            ("ls -u me ftp://you@h/", "user=me password-command=c"),
            ("ls --password-file f ftp://h/", "user=me password-file=f password-command=c"),
            ("ls ftp://me@h:2121/", "password-command=c password-file=all"),
            ("ls ftp://you@h:2121/", "password-file=all"),
            // fxp has no option for the user.
            ("fxp ftp://h/ ftp://h/a", ""),
            ("fxp ftp://me@h/ ftp://me@h/a", "password-command=c"),
        ] {
            let text = "[hosts.h]\nuser = \"me\"\npassword-command = \"c\"\n\
                        [hosts.\"h:2121\"]\npassword-file = \"all\"\n";
            let (command, mut options) =
                options::parse(typed.split(' ').map(OsString::from)).ok().unwrap();
            reader::read("f".to_owned(), text)
                .and_then(|file| file.apply(command.unwrap(), &mut options))
                .unwrap();
            let longs = ["user", "password-command", "password-file"];
            let mut found: Vec<_> = options
                .in_order(&longs)
                .map(|(long, value)| format!("{long}={}", value.display()))
                .collect();
            let mut want: Vec<_> = want.split_terminator(' ').collect();
            found.sort();
            want.sort_unstable();
            assert_eq!(found, want, "{typed}");
        }
        let mixed = line("ls ftp://you@nas.example/ ftp://nas.example/").unwrap_err();
        assert!(mixed.contains("ftp://you@nas.example/ and ftp://nas.example/ have"), "{mixed}");
    }

    #[test]
    fn listed_urls_must_share_the_host_options_of_the_run() {
        for (typed, listed, want) in [
            ("get -i f", "ftp://h/a", None),
            (
                "get -i f",
                "ftp://NAS.example/a",
                Some("f: NAS.example has options that do not apply"),
            ),
            ("get -i f ftp://h/b", "ftp://nas.example/a", Some("f: h and nas.example have")),
            ("get -i f ftp://nas.example/b", "ftp://nas.example/a", None),
            ("get -i f ftp://nas.example/b", "ftp://h/a", Some("f: nas.example and h have")),
            (
                "get -i f ftp://nas.example/b",
                "ftp://nas.example:2121/a",
                Some("f: ftp://nas.example/b and ftp://nas.example:2121/a have"),
            ),
            ("get -i f -u you --insecure ftp://h/b", "ftp://nas.example/a", None),
        ] {
            let (command, mut options) =
                options::parse(typed.split(' ').map(OsString::from)).ok().unwrap();
            let file = reader::read("f".to_owned(), FILE).ok().unwrap();
            file.apply(command.unwrap(), &mut options).ok().unwrap();
            let checked = check(&options, &FtpUrl::parse(listed.as_bytes()).unwrap());
            let said = checked.err().map(|failure| failure.message);
            let is_right =
                said.as_ref().zip(want).is_some_and(|(said, want)| said.starts_with(want));
            assert!(is_right || said.is_none() && want.is_none(), "{typed} {listed}: {said:?}");
        }
    }

    #[test]
    fn bookmarks_are_expanded_in_operands() {
        for (typed, want) in [
            ("@nas", "ftpes://me@nas.example/volume1/"),
            ("@nas/", "ftpes://me@nas.example/volume1/"),
            ("@nas/a/b%20c", "ftpes://me@nas.example/volume1/a/b%20c"),
            ("@top/a", "ftp://h/a"),
            ("@none/a", "@none/a"),
            ("nas", "nas"),
            ("./@nas", "./@nas"),
        ] {
            let all = line(&format!("get {typed}")).unwrap();
            assert_eq!(all.rsplit(' ').next(), Some(want), "{typed}");
        }
    }
}
