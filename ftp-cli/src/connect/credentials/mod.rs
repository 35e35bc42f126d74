//! Finds the user and the password for a login. No option of a client command takes a password
//! itself.
//!
//! The first source wins. The order is: an option, the URL, the environment, netrc, a prompt on the
//! terminal. A source that has a user without a password, or the reverse, never leads to an anonymous
//! login: a deploy whose secret is missing would publish its files to everyone.
//!
//! Passwords from a file, a descriptor or a command are one a line. `.netrc` and other files of the
//! user's own are used only if no other user may change them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::console::output::{shown, shown_path};
use crate::console::{Messages, Printable};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Command, Options, values};
use crate::system::{self, OsStrExt, OsStringExt, Running, Terminal, inherited};
use ftp_client::NetrcEntry;
use ftp_proto::FtpUrl;

pub(crate) const VARIABLE: &str = "FTP_PASSWORD";

/// Environment variable with the user for [`VARIABLE`].
pub(crate) const USER: &str = "FTP_USER";

#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Secret,
    /// Account for servers that ask for one.
    pub(crate) account: Option<Secret>,
    /// Whether a named user's password is from the URL, where other local users can read it.
    pub(crate) from_url: bool,
    /// Whether the user is named, not anonymous.
    pub(crate) is_personal: bool,
    /// Whether only netrc names the user.
    pub(crate) from_netrc: bool,
    /// If the login is anonymous because nothing names a user: what is missing, or what to do.
    pub(crate) unnamed: Option<&'static str>,
}

/// A user at a host and port.
type Account = (String, u16, Option<Vec<u8>>);

/// Finder of users (`--user`, the URL, the environment, netrc, else anonymous) and their passwords.
///
/// A password in the URL belongs to the URL's user. The password source that an option names
/// supplies one line per named user. The environment supplies the password of one user. No password
/// goes to two accounts, unless the source lists it for both. Each login is looked up once, however
/// many connections there are.
pub(crate) struct Finder<'a> {
    options: &'a Options,
    /// Receiver of warnings, which also decides whether a prompt is possible.
    messages: Messages,
    environment: EnvironmentLogin,
    home: Option<OsString>,
    /// The password source that an option names, opened when the first account needs it.
    given: Option<PasswordSource>,
    found: Vec<(Account, Credentials)>,
}

/// What the environment says of a login.
struct EnvironmentLogin {
    user: Option<OsString>,
    /// The password, until an account has used it.
    password: Option<OsString>,
    /// What is missing to name a user, if there is a password or an empty value.
    names_no_user: Option<&'static str>,
    /// Whether there is a part of a login, and no account has used the password.
    is_unused: bool,
}

impl EnvironmentLogin {
    fn read() -> Self {
        let password = std::env::var_os(VARIABLE);
        // The program of a server's hook has the name of the server's user, and no password.
        let is_of_hook = std::env::var_os("FTP_PEER").is_some()
            && password.as_ref().is_none_or(|password| password.is_empty());
        Self::of(std::env::var_os(USER).filter(|_| !is_of_hook), password)
    }

    fn of(user: Option<OsString>, password: Option<OsString>) -> Self {
        let is_empty = |value: &Option<OsString>| value.as_ref().map(|value| value.is_empty());
        let names_no_user = match (is_empty(&user), is_empty(&password)) {
            (Some(true), Some(true)) => Some("FTP_USER and FTP_PASSWORD are empty"),
            (Some(true), _) => Some("FTP_USER is empty"),
            (None, Some(true)) => Some("FTP_PASSWORD is empty"),
            (None, Some(false)) => Some("FTP_PASSWORD is set, but FTP_USER is not"),
            _ => None,
        };
        Self {
            names_no_user,
            is_unused: user.is_some() || password.is_some(),
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
        }
    }
}

impl<'a> Finder<'a> {
    pub(crate) fn new(options: &'a Options, messages: &Messages) -> Self {
        Self {
            options,
            messages: messages.clone(),
            environment: EnvironmentLogin::read(),
            home: system::home(),
            given: None,
            found: Vec::new(),
        }
    }

    /// Finds the login for the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns `Login` if no password is found for a user, if no user is found although a source has a
    /// part of a login, or if a password command fails. Returns `Usage` if `--user` has a colon or a
    /// comma, or if an option supplies a password but no user is named. Returns `Local` or `Usage`
    /// for a broken source, and `Interrupted` if a signal ends a prompt.
    pub(crate) fn find(&mut self, url: &FtpUrl) -> Result<Credentials> {
        let named = self.options.value("user").map(OsStr::as_bytes);
        // USER:PASSWORD as in curl, or USER,PASSWORD as in lftp.
        if named.is_some_and(|user| user.iter().any(|byte| b":,".contains(byte))) {
            return Err(Failure::usage(
                "--user: expected a name without a password (not shown); set FTP_PASSWORD, or use \
                 --password-file; for a : or , in a name, use %3A or %2C in ftp://NAME@HOST/PATH",
            ));
        }
        if named == Some(b"") {
            return Err(Failure::new(Exit::Login, "--user: the name is empty"));
        }
        let of_environment = self.environment.user.as_ref().map(|user| user.as_bytes());
        if named.or(url.user()).is_none()
            && of_environment.is_some_and(|user| user.contains(&b'\n') || user.contains(&b'\r'))
        {
            return Err(Failure::usage("FTP_USER: contains a line break; remove it"));
        }
        let is_named = named.or(url.user()).is_some();
        let user = named.or(url.user()).or(of_environment).map(<[u8]>::to_vec);
        if let (None, Some(option)) = (&user, self.options.last_typed(&OPTIONS)) {
            self.check_named(url, TO_NAME)?;
            let message = format!("--{option} needs a user: use --user, or ftp://USER@HOST/PATH");
            return Err(Failure::usage(message));
        }
        // A password of the configuration file is for a user whom that file or the command line names.
        let takes_line = is_named || self.configured().is_none();
        let found = self.find_as(user.as_deref(), url, takes_line)?;
        if found.unnamed.is_some() {
            self.check_named(url, TO_NAME)?;
        }
        Ok(found)
    }

    /// Returns the option that names a source, if it is from the configuration file.
    fn configured(&self) -> Option<&'static str> {
        option(self.options).filter(|_| self.options.last_typed(&OPTIONS).is_none())
    }

    /// Checks that an anonymous login at the server of `url` is wanted, not what a missing variable or
    /// an unfinished section leads to. `to_name` says how to name a user.
    ///
    /// # Errors
    ///
    /// Returns `Login` if the environment has a part of a login that no account has used, and `Usage`
    /// if the configuration file has.
    fn check_named(&self, url: &FtpUrl, to_name: &str) -> Result {
        if let Some(option) = self.configured() {
            let (option, host) = (self.options.shown(option), url.host());
            let message = format!("{option} in [hosts]: no user for {host}; {to_name}");
            return Err(Failure::usage(message));
        }
        if !self.environment.is_unused {
            return Ok(());
        }
        let host = url.host();
        let why =
            self.environment.names_no_user.unwrap_or("copies between servers do not use FTP_USER");
        let message = format!(
            "no user for {host}: {why}; {to_name}; for an anonymous login, use ftp://anonymous@{host}/"
        );
        Err(Failure::new(Exit::Login, message))
    }

    /// Finds the logins for two servers. A user with a password in the URL, or an anonymous user,
    /// uses no line of an option's source.
    ///
    /// # Errors
    ///
    /// Returns the errors of the sources as [`find`](Self::find) does, and `Usage` for a typed option
    /// that neither login needs.
    pub(crate) fn find_both(&mut self, urls: [&FtpUrl; 2]) -> Result<[Credentials; 2]> {
        let lacks = |url: &FtpUrl| {
            url.password().is_none() && url.user().is_some_and(|user| !is_anonymous(user))
        };
        if let Some(option) = self.options.last_typed(&OPTIONS)
            && !urls.into_iter().any(lacks)
        {
            let message = format!("--{option}: not needed: no URL has a user without a password");
            return Err(Failure::usage(message));
        }
        let mut find = |url: &FtpUrl| self.find_as(url.user(), url, lacks(url));
        let [one, other] = urls;
        let found = [find(one)?, find(other)?];
        for (url, credentials) in urls.into_iter().zip(&found) {
            if credentials.unnamed.is_some() {
                self.check_named(url, TO_NAME_IN_URL)?;
            }
        }
        Ok(found)
    }

    fn find_as(
        &mut self,
        user: Option<&[u8]>,
        url: &FtpUrl,
        takes_line: bool,
    ) -> Result<Credentials> {
        let of_url = url.password().filter(|_| user == url.user());
        // A password that an option names comes first, and is read once.
        let of_url =
            of_url.filter(|_| !(takes_line && user.is_some() && option(self.options).is_some()));
        let account = (url.host().to_ascii_lowercase(), url.port(), user.map(<[u8]>::to_vec));
        let known = self.found.iter().find(|(known, _)| *known == account);
        if let Some((_, found)) = known.filter(|_| of_url.is_none()) {
            return Ok(found.clone());
        }
        let mut found = self.look_for(user, of_url, url, takes_line)?;
        if let Some(account) = self.options.value("account") {
            found.account = Some(Secret::new(account.as_bytes()));
        }
        if of_url.is_none() {
            self.found.push((account, found.clone()));
        }
        Ok(found)
    }

    /// Tries the sources in order. `takes_line` is false if an option's password is not for this user:
    /// in a copy between servers, if the URL has a password or no user.
    fn look_for(
        &mut self,
        user: Option<&[u8]>,
        of_url: Option<&[u8]>,
        url: &FtpUrl,
        takes_line: bool,
    ) -> Result<Credentials> {
        if let Some(user) = user.filter(|_| takes_line)
            && let Some(password) = self.line()?
        {
            return Ok(Credentials::of(user, password));
        }
        if let (Some(user), Some(password)) = (user, of_url) {
            let found = Credentials::of(user, Secret::new(password));
            return Ok(Credentials { from_url: found.is_personal, ..found });
        }
        // A user of the environment has its password, whatever the name.
        let is_of_environment = self.options.value("user").is_none() && url.user().is_none();
        if let Some(user) = user.filter(|user| is_of_environment || !is_anonymous(user))
            && let Some(password) = self.of_environment(user)?
        {
            let is_personal = true;
            return Ok(Credentials { is_personal, ..Credentials::of(user, password) });
        }
        let entry = self.of_netrc(url.host(), user)?;
        let is_listed = entry.is_some();
        let (login, password, account) =
            entry.map_or((None, None, None), |entry| (entry.login, entry.password, entry.account));
        // Copies between servers have neither -u nor a user of the environment.
        let to_name = if takes_line { TO_NAME } else { TO_NAME_IN_URL };
        let unnamed = user.or(login.as_deref()).is_none().then_some(to_name);
        if unnamed.is_some() && is_listed {
            let host = url.host();
            let message = format!(
                "no user for {host}: netrc has an entry for it, but not \"machine {host} login NAME\"; {to_name}"
            );
            return Err(Failure::new(Exit::Login, message));
        }
        let from_netrc = user.is_none() && login.is_some();
        let user = user.or(login.as_deref()).unwrap_or(ANONYMOUS);
        let password = match password {
            Some(password) => Secret::new(password),
            // RFC 1635 asks for an email address; this address names no person.
            None if is_anonymous(user) => Secret::new(*b"anonymous@"),
            // If only netrc names the user, the environment can still supply the password.
            None => match self.of_environment(user)? {
                Some(password) => password,
                None => self.ask(user, url)?,
            },
        };
        let account = account.map(Secret::new);
        Ok(Credentials { account, from_netrc, unnamed, ..Credentials::of(user, password) })
    }

    /// Returns the next line of an option's source, if there is one.
    fn line(&mut self) -> Result<Option<Secret>> {
        if self.given.is_none() {
            self.given = PasswordSource::open(self.options)?;
            if let Some(warning) = self.given.as_ref().and_then(|given| given.warning.as_ref()) {
                self.note(format_args!("{warning}"));
            }
        }
        let line = self.given.as_mut().map(|given| read_line(&mut given.input, &given.name));
        // A source without a password leaves a login without one.
        line.transpose().map_err(|failure| match failure.exit {
            Exit::Usage => Failure { exit: Exit::Login, ..failure },
            _ => failure,
        })
    }

    /// Returns the password from the environment, unless that names another user. Only the first call
    /// returns it, because it is for one account.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if FTP cannot send it, as with the line break of a file.
    fn of_environment(&mut self, user: &[u8]) -> Result<Option<Secret>> {
        if self.environment.user.as_ref().is_some_and(|own| own.as_bytes() != user) {
            return Ok(None);
        }
        let Some(password) = self.environment.password.clone() else { return Ok(None) };
        let password = Secret::new(password.into_vec());
        password.is_sendable(VARIABLE)?;
        self.environment.password = None;
        self.environment.is_unused = false;
        Ok(Some(password))
    }

    /// Returns the entry in the option's netrc file, or in ~/.netrc. Other programs use ~/.netrc too,
    /// so its faults only cause warnings if a user is named.
    ///
    /// # Errors
    ///
    /// Returns `Local` for a password that other users can access, and for an unreadable file; and
    /// `Usage` for an invalid file that an option names, `Login` for another one.
    fn of_netrc(&self, host: &str, user: Option<&[u8]>) -> Result<Option<NetrcEntry>> {
        let named = match self.options.last_of(&["no-netrc", "netrc-file"]) {
            Some("no-netrc") => return Ok(None),
            Some(_) => self.options.value("netrc-file").map(PathBuf::from),
            None => None,
        };
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| netrc_in_home(self.home.as_deref()?)) else {
            return Ok(None);
        };
        let is_missing = |error: &io::Error| match error.kind() {
            ErrorKind::NotFound => !path.is_symlink(),
            kind => matches!(kind, ErrorKind::NotADirectory | ErrorKind::InvalidFilename),
        };
        let without = "; to do without it, use --no-netrc";
        let name = shown_path(&path);
        let (metadata, text) = match read_own(&path) {
            Ok(read) => read,
            Err(error) if is_named => return Err(Failure::local(name, &error)),
            Err(error) if is_missing(&error) => return Ok(None),
            // It may name the user that an anonymous login would lack.
            Err(error) if user.is_none() => {
                return Err(Failure::local(name, &error).hinted(without));
            }
            Err(error) => {
                self.note(format_args!("{name}: cannot read: {error}"));
                return Ok(None);
            }
        };
        let found = match NetrcEntry::find(&text, host, user) {
            Ok(found) => found,
            Err(broken) if is_named => return Err(Failure::usage(format!("{name}:{broken}"))),
            Err(broken) if user.is_none() => {
                let message = format!("no user for {host}: {name}:{broken}{without}");
                return Err(Failure::new(Exit::Login, message));
            }
            Err(broken) => {
                self.note(format_args!("{name}:{broken}; the rest of the file is ignored"));
                None
            }
        };
        let is_secret = |entry: &NetrcEntry| entry.password.is_some() || entry.account.is_some();
        let has_secret = found.as_ref().is_some_and(is_secret);
        let Some(why) = unfit_secret(&metadata).filter(|_| has_secret) else { return Ok(found) };
        Err(Failure::new(Exit::Local, format!("{name}: password for {host} ignored: {why}")))
    }

    fn note(&self, note: std::fmt::Arguments<'_>) {
        if !self.options.is_quiet() {
            self.messages.say(format_args!("warning: {note}"));
        }
    }

    /// Asks for the password on the terminal. Fails if messages do not appear there.
    fn ask(&self, user: &[u8], url: &FtpUrl) -> Result<Secret> {
        let name = shown(user);
        let host = url.host();
        let terminal = self.messages.is_terminal().then(Terminal::find);
        let Some(Ok(terminal)) = terminal else {
            let hint = match option(self.options).is_some() || !self.found.is_empty() {
                true => "use --password-file with one line per user".to_owned(),
                false => format!("set {VARIABLE}, or use .netrc or --password-file"),
            };
            let message = format!("no password for user {name} at {host}: {hint}");
            return Err(Failure::new(Exit::Login, message));
        };
        self.messages.show_progress(None);
        terminal.ask(&format!("Password for {name} at {host}: "))
    }
}

impl Credentials {
    fn of(user: &[u8], password: Secret) -> Self {
        let is_personal = !is_anonymous(user);
        let (user, account, from_url, from_netrc, unnamed) =
            (user.to_vec(), None, false, false, None);
        Self { user, password, account, from_url, is_personal, from_netrc, unnamed }
    }
}

/// How to name a user, in general and for a copy between servers.
const TO_NAME: &str = "to name a user, use ftp://USER@HOST/ or -u";
const TO_NAME_IN_URL: &str = "to name a user, use ftp://USER@HOST/";

/// User for anonymous logins (RFC 1635).
const ANONYMOUS: &[u8] = b"anonymous";

fn is_anonymous(user: &[u8]) -> bool {
    user.eq_ignore_ascii_case(ANONYMOUS) || user.eq_ignore_ascii_case(b"ftp")
}

/// Returns the hint for a login that is anonymous for want of a user or a password.
pub(crate) fn anonymous_hint(why: &str) -> String {
    format!("; this login is anonymous: {why}")
}

/// Options of password sources; the last one given wins.
const OPTIONS: [&str; 3] = ["password-file", "password-fd", "password-command"];

/// Largest output of a password command in bytes.
const LONGEST_OUTPUT: u64 = 1 << 20;

/// Checks that standard input, if it is the source of passwords, is read for nothing else: lines would
/// pass for the password, or the password for a line, which messages show.
///
/// # Errors
///
/// Returns `Usage` if it is read for more.
pub(crate) fn check_input(command: Command, options: &Options) -> Result {
    let input = Path::new("/dev/fd/0");
    let is_input = |file: &OsStr| {
        let id = system::file_id(Path::new(file));
        Path::new(file) == input || id.is_some() && id == system::file_id(input)
    };
    let option = option(options);
    let source = match option {
        Some("password-file") => options.value("password-file").map(OsStr::to_owned),
        Some("password-fd") => {
            options.parsed("password-fd", number)?.map(|number| format!("/dev/fd/{number}").into())
        }
        _ => None,
    };
    let lists = ["exclude-from", "files-from", "input-file"];
    let lists = lists.into_iter().flat_map(|long| options.all(long));
    let script = options.operands.get(1).map_or(OsStr::new("-"), OsString::as_os_str);
    let mut others = lists.chain((command == Command::Batch).then_some(script));
    // Of a descriptor, no byte after the line is read: data can follow.
    let is_data = command == Command::Put && option == Some("password-file");
    let is_data = is_data && options.operands.iter().any(|local| local == "-");
    if source.is_some_and(|source| is_input(&source))
        && (is_data || others.any(|file| file == "-" || is_input(file)))
    {
        let message = "standard input cannot be both the password and other lines or data; use another --password-fd";
        return Err(Failure::usage(message));
    }
    Ok(())
}

/// A source of passwords, one per line, with its name.
struct PasswordSource {
    input: Box<dyn Read + Send>,
    name: String,
    /// A warning, if the source is a file that another user owns or others can access.
    warning: Option<String>,
}

/// Returns the option that names a source, if there is one.
fn option(options: &Options) -> Option<&'static str> {
    options.last_of(&OPTIONS)
}

impl PasswordSource {
    /// Opens the source that the options name, if there is one. Runs a command to its end.
    ///
    /// # Errors
    ///
    /// Returns `Local` for an unreadable source, `Usage` for an invalid descriptor number or too
    /// much output, and `Login` for a command that fails.
    fn open(options: &Options) -> Result<Option<Self>> {
        let Some(option) = option(options) else { return Ok(None) };
        let Some(value) = options.value(option) else { return Ok(None) };
        let mut warning = None;
        let (input, name): (Box<dyn Read + Send>, _) = match option {
            "password-file" => {
                let name = shown_path(Path::new(value));
                let file = File::open(value).map_err(|error| match error.kind() {
                    ErrorKind::NotFound if options.typed(option).is_some() => {
                        let message = format!(
                            "--password-file: {error}; FILE is not shown, in case it is the password"
                        );
                        Failure::new(Exit::Local, message)
                    }
                    _ => Failure::local(&name, &error),
                })?;
                let metadata = file.metadata().ok().filter(Metadata::is_file);
                let why = metadata.and_then(|metadata| unfit_secret(&metadata));
                warning = why.map(|why| format!("{name}: {why}"));
                (Box::new(BufReader::new(file)), name)
            }
            "password-fd" => {
                let number = options.parsed(option, number)?.unwrap_or_default();
                let name = format!("--password-fd {number}");
                let file = inherited(number).map_err(|error| Failure::local(&name, &error))?;
                // Unbuffered, because the bytes after the line belong to other readers.
                (Box::new(file), name)
            }
            _ => {
                // The command is not shown, because it may contain a secret.
                let name = "--password-command".to_owned();
                (Box::new(Cursor::new(printed(value, &name)?)), name)
            }
        };
        Ok(Some(Self { input, name, warning }))
    }
}

fn number(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| format!("invalid descriptor \"{text}\": expected a number"))
}

/// Returns the output of a shell command. The command gets no input, because standard input may be
/// the data to upload.
fn printed(command: &OsStr, name: &str) -> Result<Vec<u8>> {
    let failed = |error: &io::Error| Failure::local(name, error);
    let mut shell = system::shell(command);
    shell.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| failed(&error))?;
    let output = child.stdout.take().map(|output| output.take(LONGEST_OUTPUT + 1));
    let mut text = Vec::new();
    let mut child = Running::watch(child);
    let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut text));
    if read.is_err() || text.len() as u64 > LONGEST_OUTPUT {
        // The command no longer has a reader, and might run forever.
        child.kill();
    }
    let ended = child.wait().map_err(|error| failed(&error))?;
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > LONGEST_OUTPUT {
        return Err(Failure::usage(format!("{name}: too much output: expected at most 1 MiB")));
    }
    match ended.success() {
        true => Ok(text),
        false => Err(Failure::new(Exit::Login, format!("{name}: the command failed: {ended}"))),
    }
}

impl Terminal {
    /// Asks for one line. Control characters of `prompt` are escaped.
    ///
    /// # Errors
    ///
    /// Returns `Login` if the user types nothing, and `Usage` if the line is too long or has a byte
    /// that FTP cannot send. Returns `Local` if the terminal fails, and `Interrupted` if a signal
    /// is ending the process.
    pub(crate) fn ask(&self, prompt: &str) -> Result<Secret> {
        match self.read_hidden(&Printable(prompt).to_string()) {
            Ok(line) if line.is_empty() => {
                Err(Failure::new(Exit::Login, "no password: nothing was typed"))
            }
            Ok(line) => read_line(&mut line.as_slice(), "terminal"),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Err(Failure::new(Exit::Interrupted, "interrupted"))
            }
            Err(error) => Err(Failure::local("terminal", &error)),
        }
    }
}

/// Longest line in bytes; a longer one means the wrong file.
const LONGEST: usize = 4_096;

/// A password. It has no `Debug`, so that no log can show it.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks that the password can be sent in an FTP command line. `name` is its source.
    ///
    /// # Errors
    ///
    /// Returns `Usage` with the name of the first invalid byte.
    pub(crate) fn is_sendable(&self, name: &str) -> Result {
        let what = self.0.iter().find_map(|byte| match byte {
            0 => Some("NUL"),
            b'\n' => Some("LF"),
            b'\r' => Some("CR"),
            _ => None,
        });
        let wrong = |what| {
            let why = format!("it contains {what}, which FTP cannot send; remove it");
            Err(Failure::usage(format!("{name}: invalid password: {why}")))
        };
        what.map_or(Ok(()), wrong)
    }
}

/// Returns the first line of a file, without its line ending.
///
/// # Errors
///
/// Returns `Local` if the file cannot be read, and `Usage` if its first line is empty, too long, or has
/// a byte that FTP cannot send.
pub(crate) fn read_file(path: &OsStr) -> Result<Secret> {
    let shown = shown_path(Path::new(path));
    let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
    read_line(&mut BufReader::new(file), &shown)
}

/// Returns the next line of the source `name`, without its line ending and without a byte order
/// mark. Reads nothing after the line.
///
/// # Errors
///
/// Returns the same errors as [`read_file`].
#[expect(clippy::unbuffered_bytes, reason = "a buffer would consume bytes after the line")]
pub(crate) fn read_line(input: &mut dyn Read, name: &str) -> Result<Secret> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(|error| Failure::local(name, &error))? {
            b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(Failure::usage(format!(
                    "{name}: line too long for a secret: expected at most {LONGEST} bytes"
                )));
            }
            byte => line.push(byte),
        }
    }
    let line = values::without_mark(line.strip_suffix(b"\r").unwrap_or(&line));
    if line.is_empty() {
        let message = format!("{name}: expected a secret, but the line is empty or missing");
        return Err(Failure::usage(message));
    }
    let secret = Secret::new(line);
    secret.is_sendable(name).map(|()| secret)
}

/// Returns the only line of the source `name`, read to its end.
///
/// # Errors
///
/// Returns the same errors as [`read_file`], and `Usage` if anything follows the line.
pub(crate) fn read_only_line(input: &mut dyn Read, name: &str) -> Result<Secret> {
    let line = read_line(input, name)?;
    let mut behind = [0];
    match input.read_exact(&mut behind) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(line),
        Err(error) => Err(Failure::local(name, &error)),
        Ok(()) => Err(Failure::usage(format!("{name}: expected only one line"))),
    }
}

/// Largest file in bytes that [`read_own`] reads.
const LARGEST: u64 = 1 << 20;

/// Reads a file of the user's own. Follows symbolic links: the owner and mode of the target count.
///
/// # Errors
///
/// Returns the system's errors, and `FileTooLarge` above 1 MiB. Returns `InvalidInput` for a file
/// that is not regular, because it might never end.
pub(crate) fn read_own(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    let file = system::open_at_once(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok((metadata, text)),
    }
}

/// Returns why `user` should not trust the passwords in a file, if another user except root owns
/// it, or others can access it.
fn unfit_secret(metadata: &Metadata) -> Option<String> {
    system::unfit(metadata, (0o077, "accessible to", 0o600))
}

/// Returns the path of `.netrc` in the directory `home`, if `home` is absolute.
pub(crate) fn netrc_in_home(home: &OsStr) -> Option<PathBuf> {
    let home = Path::new(home);
    // A relative path would name a file that the current directory's owner controls.
    home.is_absolute().then(|| system::netrc(home))
}

// They need devices, FIFOs and a shell as Linux has them.
#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;
