//! Finds the user and the password for a login. No option of a client command takes a password
//! itself.
//!
//! The first source wins. The order is: an option, the URL, the environment, netrc, a prompt on the
//! terminal.

mod given;
mod secret;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ftp_proto::{Escaped, FtpUrl};
use given::PasswordSource;
pub(crate) use secret::{Secret, read_file, read_line, read_only_line};

use super::netrc;
use super::prompt::Terminal;
use crate::console::messages::Messages;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Environment variable with the password.
pub(crate) const VARIABLE: &str = "FTP_PASSWORD";

/// A user with a password.
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
}

/// A user at a host and port.
type Account = (String, u16, Option<Vec<u8>>);

/// Finder of users (`--user`, the URL, netrc, else anonymous) and their passwords.
///
/// A password in the URL belongs to the URL's user. The password source that an option names
/// supplies one line per named user. The environment supplies the password of one user. No password
/// goes to two accounts, unless the source lists it for both. Each login is looked up once, however
/// many connections there are.
pub(crate) struct Finder<'a> {
    options: &'a Options,
    /// Receiver of warnings, which also decides whether a prompt is possible.
    messages: Messages,
    /// Value of [`VARIABLE`], until an account has used it.
    environment: Option<OsString>,
    home: Option<OsString>,
    /// The password source that an option names, opened when the first account needs it.
    given: Option<PasswordSource>,
    found: Vec<(Account, Credentials)>,
}

impl<'a> Finder<'a> {
    /// Returns a finder for the options and the environment of this process.
    pub(crate) fn new(options: &'a Options, messages: &Messages) -> Self {
        let environment = std::env::var_os(VARIABLE);
        let home = std::env::var_os("HOME");
        let messages = messages.clone();
        Self { options, messages, environment, home, given: None, found: Vec::new() }
    }

    /// Finds the login for the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns `Login` if no password is found for a user or a password command fails. Returns
    /// `Usage` if `--user` has a colon or a comma, or if an option supplies a password but no user
    /// is named. Returns `Local` or `Usage` for a broken source, and `Interrupted` if a signal ends
    /// a prompt.
    pub(crate) fn find(&mut self, url: &FtpUrl) -> Result<Credentials, Failure> {
        let named = self.options.value("user").map(OsStr::as_bytes);
        // USER:PASSWORD as in curl, or USER,PASSWORD as in lftp.
        if named.is_some_and(|user| user.iter().any(|byte| b":,".contains(byte))) {
            return Err(Failure::usage(
                "--user: expected a name without colon or comma (not shown: it may hold a \
                 password); use --password-file, or %3A and %2C in ftp://NAME@HOST/PATH",
            ));
        }
        let user = named.or(url.user());
        if let (None, Some(option)) = (user, given::option(self.options)) {
            let message = format!("--{option} needs a user: use --user, or ftp://USER@HOST/PATH");
            return Err(Failure::usage(message));
        }
        self.find_as(user, url, true)
    }

    /// Finds the logins for two servers. A user with a password in the URL, or an anonymous user,
    /// uses no line of an option's source.
    ///
    /// # Errors
    ///
    /// Returns the errors of the sources as [`find`](Self::find) does, and `Usage` for an option
    /// that neither login needs.
    pub(crate) fn find_both(&mut self, urls: [&FtpUrl; 2]) -> Result<[Credentials; 2], Failure> {
        let lacks = |url: &FtpUrl| {
            url.password().is_none() && url.user().is_some_and(|user| !is_anonymous(user))
        };
        if let Some(option) = given::option(self.options)
            && !urls.into_iter().any(lacks)
        {
            let message = format!("--{option}: not needed: no URL has a user without a password");
            return Err(Failure::usage(message));
        }
        let mut find = |url: &FtpUrl| self.find_as(url.user(), url, lacks(url));
        let [one, other] = urls;
        Ok([find(one)?, find(other)?])
    }

    fn find_as(
        &mut self,
        user: Option<&[u8]>,
        url: &FtpUrl,
        takes_line: bool,
    ) -> Result<Credentials, Failure> {
        let of_url = url.password().filter(|_| user.is_none() || user == url.user());
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

    /// Tries the sources in order.
    fn look_for(
        &mut self,
        user: Option<&[u8]>,
        of_url: Option<&[u8]>,
        url: &FtpUrl,
        takes_line: bool,
    ) -> Result<Credentials, Failure> {
        if let Some(user) = user.filter(|_| takes_line)
            && let Some(password) = self.line()?
        {
            return Ok(Credentials::of(user, password));
        }
        if let Some(password) = of_url {
            let found = Credentials::of(user.unwrap_or(ANONYMOUS), Secret::new(password));
            return Ok(Credentials { from_url: found.is_personal, ..found });
        }
        if let Some(user) = user.filter(|user| !is_anonymous(user))
            && let Some(password) = self.of_environment()
        {
            return Ok(Credentials::of(user, password));
        }
        let entry = self.of_netrc(url.host(), user)?;
        let (login, password, account) =
            entry.map_or((None, None, None), |entry| (entry.login, entry.password, entry.account));
        let user = user.or(login.as_deref()).unwrap_or(ANONYMOUS);
        let password = match password {
            Some(password) => password,
            // RFC 1635 asks for an email address; this address names no person.
            None if is_anonymous(user) => Secret::new(*b"anonymous@"),
            // If only netrc names the user, the environment can still supply the password.
            None => match self.of_environment() {
                Some(password) => password,
                None => self.ask(user, url)?,
            },
        };
        Ok(Credentials { account, ..Credentials::of(user, password) })
    }

    /// Returns the next line of an option's source, if there is one.
    fn line(&mut self) -> Result<Option<Secret>, Failure> {
        if self.given.is_none() {
            self.given = PasswordSource::open(self.options)?;
            if let Some(warning) = self.given.as_ref().and_then(|given| given.warning.as_ref()) {
                self.note(format_args!("{warning}"));
            }
        }
        self.given.as_mut().map(PasswordSource::line).transpose()
    }

    /// Returns the password from the environment. Only the first call returns it, because it is for
    /// one account.
    fn of_environment(&mut self) -> Option<Secret> {
        let password = self.environment.take().filter(|password| !password.is_empty())?;
        Some(Secret::new(password.into_vec()))
    }

    /// Returns the entry in the option's netrc file, or in ~/.netrc. Other programs use ~/.netrc
    /// too, so its only error is a password that other users can access.
    fn of_netrc(
        &self,
        host: &str,
        user: Option<&[u8]>,
    ) -> Result<Option<netrc::NetrcEntry>, Failure> {
        let named = match self.options.last_of(&["no-netrc", "netrc-file"]) {
            Some("no-netrc") => return Ok(None),
            Some(_) => self.options.value("netrc-file").map(PathBuf::from),
            None => None,
        };
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| netrc::in_home(self.home.as_deref()?)) else {
            return Ok(None);
        };
        let netrc::Loaded { mut netrc, name, unfit } = match netrc::load(&path) {
            Ok(loaded) => loaded,
            Err(error) if is_named => return Err(Failure::local(shown_path(&path), &error)),
            Err(error) => {
                let is_usual = [ErrorKind::NotFound, ErrorKind::NotADirectory];
                if !is_usual.contains(&error.kind()) {
                    self.note(format_args!("{}: cannot read: {error}", shown_path(&path)));
                }
                return Ok(None);
            }
        };
        let broken = netrc.broken.take();
        let found = netrc.find(host, user);
        match (&found, broken) {
            (None, Some(broken)) if is_named => {
                return Err(Failure::usage(format!("{name}:{}: {}", broken.line, broken.why)));
            }
            (None, Some(broken)) => {
                let netrc::Broken { line, why } = broken;
                self.note(format_args!("{name}:{line}: {why}; the rest of the file is ignored"));
            }
            _ => {}
        }
        let has_secret =
            |entry: &netrc::NetrcEntry| entry.password.is_some() || entry.account.is_some();
        match unfit.filter(|_| found.as_ref().is_some_and(has_secret)) {
            Some(why) => {
                let message = format!("{name}: password for {host} ignored: {why}");
                Err(Failure::new(Exit::Local, message))
            }
            None => Ok(found),
        }
    }

    fn note(&self, note: std::fmt::Arguments<'_>) {
        if !self.options.is_quiet() {
            self.messages.say(format_args!("warning: {note}"));
        }
    }

    /// Asks for the password on the terminal. Fails if messages do not appear there.
    fn ask(&self, user: &[u8], url: &FtpUrl) -> Result<Secret, Failure> {
        let name = Escaped(user);
        let host = url.host();
        let terminal = self.messages.is_terminal().then(Terminal::find);
        let Some(Ok(terminal)) = terminal else {
            let hint = match given::option(self.options).is_some() || !self.found.is_empty() {
                true => "use --password-file with one line per user".to_owned(),
                false => format!("set {VARIABLE}, or use .netrc or --password-file"),
            };
            let message = format!("no password for user {name} at {host}: {hint}");
            return Err(Failure::new(Exit::Login, message));
        };
        terminal.ask(&format!("Password for {name} at {host}: "))
    }
}

impl Credentials {
    fn of(user: &[u8], password: Secret) -> Self {
        let is_personal = !is_anonymous(user);
        Self { user: user.to_vec(), password, account: None, from_url: false, is_personal }
    }
}

/// User for anonymous logins (RFC 1635).
const ANONYMOUS: &[u8] = b"anonymous";

/// Returns whether a user is anonymous.
fn is_anonymous(user: &[u8]) -> bool {
    user.eq_ignore_ascii_case(ANONYMOUS) || user.eq_ignore_ascii_case(b"ftp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use crate::options;

    /// Finds what `find` asks for, with `line` split at spaces, `environment`, and `home`.
    fn with<T>(
        line: &str,
        environment: Option<&str>,
        home: Option<&Path>,
        find: impl FnOnce(&mut Finder<'_>, &[FtpUrl]) -> Result<T, Failure>,
    ) -> Result<T, Exit> {
        let (_, options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
        let urls = options.operands.iter().map(|url| FtpUrl::parse(url.as_bytes()).unwrap());
        let urls: Vec<_> = urls.collect();
        let messages = Messages::new(std::io::sink(), false);
        let mut finder = Finder::new(&options, &messages);
        finder.environment = environment.map(OsString::from);
        finder.home = home.map(OsString::from);
        find(&mut finder, &urls).map_err(|failure| failure.exit)
    }

    /// Returns `user password`, followed by the account if there is one. A leading `!` marks a
    /// password from the URL.
    fn text(found: &Credentials) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut words = vec![text(&found.user), text(found.password.as_bytes())];
        words.extend(found.account.as_ref().map(|account| text(account.as_bytes())));
        format!("{}{}", if found.from_url { "!" } else { "" }, words.join(" "))
    }

    /// Returns the login for a command line, which ends with the URL, with a netrc file in the home
    /// directory.
    fn found(line: &str, environment: Option<&str>) -> Result<String, Exit> {
        let home = tempfile::tempdir().unwrap();
        let netrc = "machine n login m password netted account a\n\
            machine n login o password other\nmachine l login alone\n\
            machine x login anonymous\nmachine y password nobodys";
        let path = home.path().join(".netrc");
        std::fs::write(&path, netrc).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let line = line.replace("NETRC", path.to_str().unwrap());
        with(&line, environment, Some(home.path()), text_of)
    }

    #[test]
    fn the_most_specific_password_source_wins_li_01() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "filed\r\nsecond line\n").unwrap();
        let file = format!("--password-file {}", file.path().to_str().unwrap());
        for (line, environment, want) in [
            ("get ftp://h/x", Some("env"), "anonymous anonymous@"),
            ("get ftp://u@h/x", Some("env"), "u env"),
            ("get ftp://u:p@h/x", Some("env"), "!u p"),
            ("get -u v ftp://u:p@h/x", Some("env"), "v env"),
            ("get -u u ftp://u:p@h/x", Some("env"), "!u p"),
            ("get -u ftp ftp://h/x", None, "ftp anonymous@"),
            ("get FILE ftp://u:p@h/x", Some("env"), "u filed"),
            ("get --password-command false FILE ftp://u:p@h/x", Some("env"), "u filed"),
            ("get FILE --password-command pwd ftp://u@h/x", None, "u /"),
            ("get FILE --account a ftp://u@h/x", None, "u filed a"),
            // netrc comes after all these.
            ("get FILE ftp://m@n/x", Some("env"), "m filed"),
            ("get ftp://m:p@n/x", Some("env"), "!m p"),
            ("get ftp://m@n/x", Some("env"), "m env"),
            ("get ftp://m@n/x", None, "m netted a"),
            ("get --account b ftp://m@n/x", None, "m netted b"),
            ("get -u o ftp://n/x", None, "o other"),
            ("get ftp://N/x", Some("env"), "m netted a"),
            ("get --no-netrc ftp://n/x", None, "anonymous anonymous@"),
            ("get --no-netrc --netrc-file NETRC ftp://n/x", None, "m netted a"),
            ("get --netrc-file NETRC --no-netrc ftp://n/x", None, "anonymous anonymous@"),
            ("get ftp://anonymous@n/x", None, "anonymous anonymous@"),
            ("get ftp://x/x", Some("env"), "anonymous anonymous@"),
            ("get ftp://l/x", Some("env"), "alone env"),
            ("get ftp://y/x", Some("env"), "anonymous anonymous@"),
            ("get ftp://u@y/x", None, "u nobodys"),
        ] {
            let line = line.replace("FILE ", &format!("{file} "));
            let found = found(&line, environment);
            match (want, &found) {
                // The directory in which the tests run.
                ("u /", Ok(found)) => assert!(found.starts_with(want), "{found}"),
                _ => assert_eq!(found.as_deref(), Ok(want), "{line}"),
            }
        }
    }

    #[test]
    fn a_url_without_a_user_means_an_anonymous_login_cl_64() {
        for text in ["ftp://h/x", "ftp://@h/x", "ftp://:p@h/x", "h:x"] {
            let find = |finder: &mut Finder<'_>, urls: &[FtpUrl]| finder.find(&urls[0]);
            let found = with(&format!("get {text}"), Some("env"), None, find).ok().unwrap();
            assert_eq!(found.user, b"anonymous", "{text}");
            let want: &[u8] = if text.contains(":p@") { b"p" } else { b"anonymous@" };
            assert_eq!(found.password.as_bytes(), want, "{text}");
            assert!(!found.is_personal && !found.from_url, "{text}");
        }
    }

    #[test]
    fn each_server_gets_its_own_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first\nsecond\n").unwrap();
        let file = format!("--password-file {}", file.path().to_str().unwrap());
        let both = |line: &str, environment: Option<&str>| {
            let line = line.replace("FILE", &file);
            with(&line, environment, None, |finder, urls| {
                let found = finder.find_both([&urls[0], &urls[1]])?;
                Ok(found.map(|one| String::from_utf8(one.password.as_bytes().to_vec()).unwrap()))
            })
        };
        for (line, environment, want) in [
            ("fxp ftp://u:p@h/x ftp://v:q@g/x", Some("env"), Ok(["p", "q"])),
            ("fxp ftp://h/x ftp://v:q@g/x", Some("env"), Ok(["anonymous@", "q"])),
            ("fxp ftp://h/x ftp://v@g/x", Some("env"), Ok(["anonymous@", "env"])),
            ("fxp ftp://u@h/x ftp://v:q@g/x", Some("env"), Ok(["env", "q"])),
            ("fxp ftp://u@h/x ftp://u@H/y", Some("env"), Ok(["env", "env"])),
            ("fxp ftp://u@h/x ftp://u@h:22/y", Some("env"), Err(Exit::Login)),
            ("fxp ftp://u@h/x ftp://v@g/x", Some("env"), Err(Exit::Login)),
            ("fxp ftp://u@h/x ftp://v:q@g/x", None, Err(Exit::Login)),
            ("fxp FILE ftp://u@h/x ftp://v@g/x", Some("env"), Ok(["first", "second"])),
            ("fxp FILE ftp://u@h/x ftp://u@h/y", None, Ok(["first", "first"])),
            ("fxp FILE ftp://u:p@h/x ftp://v@g/x", None, Ok(["p", "first"])),
            ("fxp FILE ftp://u:p@h/x ftp://g/x", None, Err(Exit::Usage)),
            ("fxp --password-command id ftp://u:p@h/x ftp://g/x", None, Err(Exit::Usage)),
        ] {
            let want = want.map(|texts| texts.map(str::to_owned));
            assert_eq!(both(line, environment), want, "{line}");
        }
    }

    #[test]
    fn an_insecure_netrc_fails_only_if_it_would_be_used_li_02_hl_02() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".netrc");
        let text = "machine h login u password p\nmachine g login v\nmachine \"";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let option = format!("--netrc-file {}", path.to_str().unwrap());
        for (line, want) in [
            ("get ftp://u@h/x", Err(Exit::Local)),
            ("get ftp://h/x", Err(Exit::Local)),
            ("get OPTION ftp://h/x", Err(Exit::Local)),
            ("get --no-netrc ftp://h/x", Ok("anonymous anonymous@")),
            ("get ftp://u:q@h/x", Ok("!u q")),
            ("get ftp://v@g/x", Ok("v env")),
            ("get ftp://g/x", Ok("v env")),
            ("get ftp://i/x", Ok("anonymous anonymous@")),
            ("get OPTION ftp://i/x", Err(Exit::Usage)),
            ("get --netrc-file /proc/none/f ftp://i/x", Err(Exit::Local)),
            ("get --netrc-file / ftp://i/x", Err(Exit::Local)),
        ] {
            // Hints at the environment variable only if netrc does not come first.
            let environment = line.contains('g').then_some("env").filter(|_| !line.contains("u@"));
            let line = line.replace("OPTION", &option);
            let found = with(&line, environment, Some(home.path()), text_of);
            assert_eq!(found, want.map(str::to_owned), "{line}");
        }
    }

    fn text_of(finder: &mut Finder<'_>, urls: &[FtpUrl]) -> Result<String, Failure> {
        Ok(text(&finder.find(&urls[0])?))
    }

    #[test]
    fn an_invalid_home_is_not_an_error_hl_13() {
        let huge = "/x".repeat(100_000);
        for home in ["", ".", "relative/x", "/proc/none", "/dev/null", "/proc/self/mem", &huge] {
            let found = with("get ftp://h/x", None, Some(Path::new(home)), text_of);
            assert_eq!(found.as_deref(), Ok("anonymous anonymous@"), "{home:.40}");
        }
    }

    #[test]
    fn missing_or_unreadable_passwords_are_refused() {
        assert_eq!(found("get ftp://u@h/x", Some("")), Err(Exit::Login), "set, and empty");
        for (line, want) in [
            ("get ftp://u@h/x", Exit::Login),
            ("get -u v ftp://u:p@h/x", Exit::Login),
            ("get --password-file /dev/null ftp://h/x", Exit::Usage),
            ("get --password-file /dev/null ftp://u@h/x", Exit::Usage),
            ("get --password-file /dev/zero ftp://u@h/x", Exit::Usage),
            ("get --password-file /proc/none/f ftp://u@h/x", Exit::Local),
            ("get --password-fd 0 ftp://h/x", Exit::Usage),
            ("get --password-command false ftp://u@h/x", Exit::Login),
        ] {
            assert_eq!(found(line, None), Err(want), "{line}");
        }
    }
}
