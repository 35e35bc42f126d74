//! Who logs in, and where the password comes from. No option takes a password itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ftp_proto::{Escaped, FtpUrl};

use crate::exit::{Exit, Failure};
use crate::options::Options;

/// The environment variable that may hold the password.
pub(crate) const VARIABLE: &str = "FTP_PASSWORD";

/// A longer first line is no password, and the file is the wrong one.
const LONGEST: usize = 4_096;

/// A password. It has no `Debug`, so that no log can show it.
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Insists that it can be on a command line, which ends at its end. It is called `name`.
    ///
    /// # Errors
    ///
    /// `Usage` with the name of the first byte that cannot.
    pub(crate) fn is_sendable(&self, name: &str) -> Result<(), Failure> {
        let what = self.0.iter().find_map(|byte| match byte {
            0 => Some("NUL"),
            b'\n' => Some("LF"),
            b'\r' => Some("CR"),
            _ => None,
        });
        what.map_or(Ok(()), |what| Err(unsendable(name, what)))
    }
}

/// A user and the password.
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Secret,
    /// Whether the password stood in the URL, where others may read it.
    pub(crate) from_url: bool,
    /// Whether it is somebody's, and not what anyone gives as anonymous.
    pub(crate) is_personal: bool,
}

/// Finds the user (`--user`, the URL, else anonymous) and the password (`--password-file`, the
/// URL, else `environment`, which is the value of [`VARIABLE`]).
///
/// A password of the URL is that of the URL's user, and the one in the environment is for named
/// users only: neither goes to a server under another name.
///
/// # Errors
///
/// `Login` if there is a user and no password, `Local` or `Usage` for the password file.
pub(crate) fn find(
    options: &Options,
    url: &FtpUrl,
    environment: Option<OsString>,
) -> Result<Credentials, Failure> {
    let user = options.value("user").map(OsStr::as_bytes);
    let Some(name) = user.or(url.user()) else {
        if options.has("password-file") {
            return Err(Failure::usage("--password-file needs a user: --user, or one in the URL"));
        }
        // RFC 1635 asks for an address; this one names no person.
        let password = url.password().unwrap_or(b"anonymous@");
        let password = Secret::new(password);
        let user = b"anonymous".to_vec();
        return Ok(Credentials { user, password, from_url: false, is_personal: false });
    };
    let of_url = url.password().filter(|_| user.is_none_or(|user| Some(user) == url.user()));
    let (password, from_url) = if let Some(file) = options.value("password-file") {
        (read_file(file)?, false)
    } else if let Some(password) = of_url {
        (Secret::new(password), true)
    } else if let Some(password) = environment.filter(|password| !password.is_empty()) {
        (Secret::new(password.into_vec()), false)
    } else if is_anonymous(name) {
        (Secret::new(*b"anonymous@"), false)
    } else {
        let name = Escaped(name);
        return Err(Failure::new(
            Exit::Login,
            format!("no password for user {name}: put it into {VARIABLE}, or name --password-file"),
        ));
    };
    Ok(Credentials { user: name.to_vec(), password, from_url, is_personal: !is_anonymous(name) })
}

/// Finds the users of two URLs and their passwords: those of the URLs, and for each named user
/// without one a line of `--password-file`, in order, or else `environment`, if only one lacks it.
/// No password is ever given to both servers, unless they are the same and so is the user.
///
/// # Errors
///
/// `Login` if a password is lacking, `Local` or `Usage` for the password file.
pub(crate) fn find_both(
    options: &Options,
    urls: [&FtpUrl; 2],
    environment: Option<&OsStr>,
) -> Result<[Credentials; 2], Failure> {
    let lacks = |url: &FtpUrl| {
        url.password().is_none() && url.user().is_some_and(|user| !is_anonymous(user))
    };
    let account =
        |url: &FtpUrl| (url.host().to_owned(), url.port(), url.user().map(<[u8]>::to_vec));
    let [one, other] = urls;
    let is_one = lacks(one) && lacks(other) && account(one) == account(other);
    let are_two = lacks(one) && lacks(other) && !is_one;
    let mut file = match options.value("password-file") {
        Some(_) if !lacks(one) && !lacks(other) => {
            return Err(Failure::usage("--password-file: no URL has a user without a password"));
        }
        Some(path) => {
            let shown = Escaped(path.as_bytes()).to_string();
            let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
            Some((BufReader::new(file), shown))
        }
        None => None,
    };
    let mut found = |url: &FtpUrl| {
        let name = url.user().unwrap_or(b"anonymous");
        let is_personal = !is_anonymous(name);
        let password = match (&mut file, environment) {
            _ if !lacks(url) => Secret::new(url.password().unwrap_or(b"anonymous@")),
            (Some((file, shown)), _) => read_line(file, shown)?,
            (None, Some(password)) if !password.is_empty() && !are_two => {
                Secret::new(password.as_bytes())
            }
            _ => {
                let name = Escaped(name);
                let hint = if are_two {
                    "put one a line into a file, the source's first, and name --password-file"
                        .to_owned()
                } else {
                    format!("put it into {VARIABLE}, or name --password-file")
                };
                let message = format!("no password for user {name} at {}: {hint}", url.host());
                return Err(Failure::new(Exit::Login, message));
            }
        };
        let from_url = is_personal && url.password().is_some();
        Ok(Credentials { user: name.to_vec(), password, from_url, is_personal })
    };
    let first = found(one)?;
    let second = match is_one {
        true => Credentials {
            password: Secret::new(first.password.as_bytes()),
            user: first.user.clone(),
            ..first
        },
        false => found(other)?,
    };
    Ok([first, second])
}

/// Whether a user is nobody in particular (RFC 1635).
fn is_anonymous(user: &[u8]) -> bool {
    user.eq_ignore_ascii_case(b"anonymous") || user.eq_ignore_ascii_case(b"ftp")
}

/// The first line of a file, without its line end.
///
/// # Errors
///
/// `Local` if the file cannot be read, `Usage` if its first line is empty or too long.
pub(crate) fn read_file(path: &OsStr) -> Result<Secret, Failure> {
    let shown = Escaped(path.as_bytes()).to_string();
    let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
    read_line(&mut BufReader::new(file), &shown)
}

/// The next line of what is called `name`, without its line end. Nothing behind it is read.
///
/// # Errors
///
/// As [`read_file`].
#[expect(clippy::unbuffered_bytes, reason = "a buffer would take what is behind the line")]
pub(crate) fn read_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(|error| Failure::local(name, &error))? {
            b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(Failure::usage(format!("{name}: the first line is too long")));
            }
            byte => line.push(byte),
        }
    }
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    if line.is_empty() {
        return Err(Failure::usage(format!("{name}: the first line is empty")));
    }
    let secret = Secret::new(line);
    secret.is_sendable(name).map(|()| secret)
}

/// The only line of what is called `name`, read to its end.
///
/// # Errors
///
/// As [`read_file`], and `Usage` if something is behind the line.
pub(crate) fn read_only_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let line = read_line(input, name)?;
    let mut behind = [0];
    match input.read_exact(&mut behind) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(line),
        Err(error) => Err(Failure::local(name, &error)),
        Ok(()) => Err(unsendable(name, "LF")),
    }
}

fn unsendable(name: &str, what: &str) -> Failure {
    Failure::usage(format!("{name}: a {what} is in the password, which no client can send"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    /// User and password found for `line`, which ends with the URL.
    fn found(line: &str, environment: Option<&str>) -> Result<(String, String, bool), Exit> {
        let (_, options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
        let url = FtpUrl::parse(options.operands[0].as_bytes()).unwrap();
        let found = find(&options, &url, environment.map(OsString::from));
        let found = found.map_err(|failure| failure.exit)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&found.user), text(found.password.as_bytes()), found.from_url))
    }

    #[test]
    fn the_nearest_source_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "filed\r\nsecond line\n").unwrap();
        let path = file.path().to_str().unwrap();
        for (line, environment, user, password, from_url) in [
            ("get ftp://h/x", Some("env"), "anonymous", "anonymous@", false),
            ("get ftp://u@h/x", Some("env"), "u", "env", false),
            ("get ftp://u:p@h/x", Some("env"), "u", "p", true),
            ("get -u v ftp://u:p@h/x", Some("env"), "v", "env", false),
            ("get -u u ftp://u:p@h/x", Some("env"), "u", "p", true),
            ("get -u ftp ftp://h/x", None, "ftp", "anonymous@", false),
            ("get --password-file FILE ftp://u:p@h/x", Some("env"), "u", "filed", false),
        ] {
            let want = (user.to_owned(), password.to_owned(), from_url);
            assert_eq!(found(&line.replace("FILE", path), environment), Ok(want), "{line}");
        }
    }

    #[test]
    fn without_a_user_nobody_is_named_cl_64() {
        for text in ["ftp://h/x", "ftp://@h/x", "ftp://:p@h/x", "h:x"] {
            let (_, options) = options::parse(["get", text].map(OsString::from)).unwrap();
            let url = FtpUrl::parse(text.as_bytes()).unwrap();
            let found = find(&options, &url, Some("env".into())).ok().unwrap();
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
            let (_, options) = options::parse(line.split(' ').map(OsString::from)).unwrap();
            let urls = options.operands.iter().map(|url| FtpUrl::parse(url.as_bytes()).unwrap());
            let urls: Vec<_> = urls.collect();
            let found = find_both(&options, [&urls[0], &urls[1]], environment.map(OsStr::new));
            found.map_err(|failure| failure.exit).map(|found| {
                found.map(|one| String::from_utf8(one.password.as_bytes().to_vec()).unwrap())
            })
        };
        for (line, environment, want) in [
            ("fxp ftp://u:p@h/x ftp://v:q@g/x", Some("env"), Ok(["p", "q"])),
            ("fxp ftp://h/x ftp://v:q@g/x", Some("env"), Ok(["anonymous@", "q"])),
            ("fxp ftp://h/x ftp://v@g/x", Some("env"), Ok(["anonymous@", "env"])),
            ("fxp ftp://u@h/x ftp://v:q@g/x", Some("env"), Ok(["env", "q"])),
            ("fxp ftp://u@h/x ftp://u@h/y", Some("env"), Ok(["env", "env"])),
            ("fxp ftp://u@h/x ftp://u@h:22/y", Some("env"), Err(Exit::Login)),
            ("fxp ftp://u@h/x ftp://v@g/x", Some("env"), Err(Exit::Login)),
            ("fxp ftp://u@h/x ftp://v:q@g/x", None, Err(Exit::Login)),
            ("fxp FILE ftp://u@h/x ftp://v@g/x", Some("env"), Ok(["first", "second"])),
            ("fxp FILE ftp://u@h/x ftp://u@h/y", None, Ok(["first", "first"])),
            ("fxp FILE ftp://u:p@h/x ftp://v@g/x", None, Ok(["p", "first"])),
            ("fxp FILE ftp://u:p@h/x ftp://g/x", None, Err(Exit::Usage)),
        ] {
            let want = want.map(|texts| texts.map(str::to_owned));
            assert_eq!(both(line, environment), want, "{line}");
        }
    }

    #[test]
    fn find_refuses() {
        assert_eq!(found("get ftp://u@h/x", Some("")), Err(Exit::Login), "set, and empty");
        for (line, want) in [
            ("get ftp://u@h/x", Exit::Login),
            ("get -u v ftp://u:p@h/x", Exit::Login),
            ("get --password-file /dev/null ftp://h/x", Exit::Usage),
            ("get --password-file /dev/null ftp://u@h/x", Exit::Usage),
            ("get --password-file /dev/zero ftp://u@h/x", Exit::Usage),
            ("get --password-file /nonexistent/f ftp://u@h/x", Exit::Local),
        ] {
            assert_eq!(found(line, None), Err(want), "{line}");
        }
    }
}
