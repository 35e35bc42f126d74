//! URLs: the place of an object on its server, as the whole path or part by part (RFC 1738 §3.2.2),
//! and `get` and `put`, which transfer one file with one call.

use std::ffi::OsStr;
use std::io::{self, Read, Write};

use ftp_proto::{
    Escaped, FtpUrl, ParseError, ParseErrorKind, Pathname, ReplyCode, RepresentationType,
};

use crate::client::Client;
use crate::config::ClientBuilder;
use crate::error::Error;
use crate::system::local_name;
use crate::transfer::Report;

/// The place of a URL's object on the server, and the path for commands.
///
/// According to RFC 1738, a client enters each directory of the path. Nearly every server accepts
/// the whole path in one argument, which saves commands, so try that first. A server that answers
/// 550 may still accept the path part by part.
///
/// ```no_run
/// use ftp_client::{Client, FtpUrl, Place};
///
/// let url: FtpUrl = "ftp://ftp.example.org/pub/a.bin".parse()?;
/// let mut client = Client::builder().open(&url)?;
/// let mut place = Place::of(&url);
/// loop {
///     let error = match client.retrieve(place.path()) {
///         Ok(mut file) => {
///             std::io::copy(&mut file, &mut std::io::stdout())?;
///             file.finish()?;
///             break;
///         }
///         Err(error) => error,
///     };
///     if !place.enter(&mut client, &error)? {
///         return Err(error.into());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Place {
    /// The part of the whole path before the name.
    before: Vec<u8>,
    /// The arguments for `CWD`, one by one.
    directories: Vec<Vec<u8>>,
    name: Vec<u8>,
    /// The path of the object for the next command.
    path: Vec<u8>,
    entered: Entered,
}

ftp_proto::debug_fields!(Place { path: Escaped(path), entered }..);

/// How far a client has gone to the directory of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entered {
    /// The call did not change the current directory, for one of these reasons:
    ///
    /// - the error was not a 550;
    /// - the path has only one part;
    /// - the parts were tried before;
    /// - the server refused the first directory.
    Nowhere,
    /// The server refused a directory after it had entered others: from now on, relative paths have
    /// a different meaning in this session.
    Partway,
    /// The directory of the object was entered: try the command again with the new
    /// [`path`](Place::path).
    There,
}

impl Place {
    /// Returns the place of a URL's object.
    ///
    /// For the URL of a directory, returns the place of the directory itself, without the final
    /// `/`. The path is empty for the login directory.
    #[must_use]
    pub fn of(url: &FtpUrl) -> Self {
        let mut parts: Vec<_> = url.parts().collect();
        while parts.len() > 1 && parts.pop_if(|last| last.is_empty()).is_some() {}
        let name = parts.pop().unwrap_or_default();
        let path = Pathname::without_slash(url.path());
        let (before, _) = path.split_at(path.len().saturating_sub(name.len()));
        Self::new(before.to_vec(), &parts, name)
    }

    /// Returns the place of the object `name` in the directory that a URL names.
    #[must_use]
    pub fn inside(url: &FtpUrl, name: impl AsRef<[u8]>) -> Self {
        let mut before = url.path().to_vec();
        if !matches!(before.last(), None | Some(b'/')) {
            before.push(b'/');
        }
        let mut parts: Vec<_> = url.parts().collect();
        // If the URL ends in `/`, its last part is empty, and the name replaces it.
        parts.pop_if(|last| last.is_empty());
        Self::new(before, &parts, name.as_ref())
    }

    /// Returns the place of the object at exactly `path`, which is never tried part by part.
    #[must_use]
    pub fn at(path: impl AsRef<[u8]>) -> Self {
        Self::new(Vec::new(), &[], path.as_ref())
    }

    fn new(before: Vec<u8>, parts: &[&[u8]], name: &[u8]) -> Self {
        let filled = parts.iter().filter(|part| !part.is_empty());
        let mut directories: Vec<_> = filled.map(|part| part.to_vec()).collect();
        // Empty parts are skipped, except that an empty first part puts a `/` before the next part,
        // since the whole path is absolute.
        if parts.first().is_some_and(|first| first.is_empty()) {
            match directories.first_mut() {
                Some(first) => first.insert(0, b'/'),
                None => directories.push(b"/".to_vec()),
            }
        }
        let path = [before.as_slice(), name].concat();
        Self { before, directories, name: name.to_vec(), path, entered: Entered::Nowhere }
    }

    /// Returns the path of the object for the next command.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Returns the name of the object in its directory.
    ///
    /// The name can contain a `/`, for example if the last part of the URL has `%2F`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the last part of the path as one part of a local path: joined to a directory, it is a
    /// file in that directory.
    ///
    /// Use it for each local file that a server names. The server can list any name, and the system
    /// can take it for a path: `C:\evil` and `..\evil` lead elsewhere on Windows.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use ftp_client::Place;
    ///
    /// let local = Path::new("in").join(Place::at("pub/a.bin").local_name()?);
    /// assert_eq!(local, Path::new("in/a.bin"));
    /// assert!(Place::at("pub/..").local_name().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput`](std::io::ErrorKind::InvalidInput) for an empty name, `.` and `..`, and
    /// for a name that the system would store under another one, or not as a file, such as `CON`,
    /// `a:b` and `a.` on Windows.
    pub fn local_name(&self) -> io::Result<&OsStr> {
        local_name(self.name.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
    }

    /// Returns the whole path from the login directory, even if its directory was entered.
    pub(crate) fn whole(&self) -> Vec<u8> {
        [self.before.as_slice(), &self.name].concat()
    }

    pub(crate) fn is_entered(&self) -> bool {
        self.entered == Entered::There
    }

    /// Returns whether the server refused a directory after it had entered others.
    pub(crate) fn is_partway(&self) -> bool {
        self.entered == Entered::Partway
    }

    /// Replaces the name with another in the same directory. A directory that was entered stays
    /// entered.
    pub fn set_name(&mut self, name: impl AsRef<[u8]>) {
        self.name = name.as_ref().to_vec();
        self.path = match self.entered {
            Entered::There => self.name.clone(),
            _ => self.whole(),
        };
    }

    /// Enters the directory of the object part by part, if `error` is a 550 reply.
    ///
    /// Returns whether the directory was entered: then try the command again with the new
    /// [`path`](Self::path). Does nothing if the parts were tried before. If the server refuses a
    /// directory after it has entered others, relative paths have a different meaning in this session
    /// from now on.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::cwd`], except [`Error::Refused`].
    pub fn enter(&mut self, client: &mut Client, error: &Error) -> Result<bool, Error> {
        let is_not_found = matches!(
            error,
            Error::Refused { reply, .. } if reply.code() == ReplyCode::FILE_UNAVAILABLE
        );
        if !is_not_found || self.name.is_empty() || self.entered != Entered::Nowhere {
            return Ok(false);
        }
        match self.go(client) {
            Ok(()) | Err(Error::Refused { .. }) => Ok(self.is_entered()),
            Err(error) => Err(error),
        }
    }

    /// Enters the directory of the object part by part, for a command that acts in the current
    /// directory.
    ///
    /// Does nothing if there is no directory to enter, or if the directories were tried before.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::cwd`]. After [`Error::Refused`], the current directory is
    /// the last one that was entered.
    pub fn go(&mut self, client: &mut Client) -> Result<(), Error> {
        for directory in std::mem::take(&mut self.directories) {
            client.cwd(directory)?;
            self.entered = Entered::Partway;
        }
        if self.entered == Entered::Partway {
            self.entered = Entered::There;
            self.path.clone_from(&self.name);
        }
        Ok(())
    }
}

/// Downloads the file that a URL names, with default settings. For other settings use
/// [`ClientBuilder::get`]. The URL can be text.
///
/// ```no_run
/// let mut file = std::fs::File::create("a.bin")?;
/// let report = ftp_client::get("ftp://ftp.example.org/pub/a.bin", &mut file)?;
/// println!("{} bytes in {:?}", report.bytes, report.duration);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Returns the errors of [`ClientBuilder::get`].
pub fn get(
    url: impl TryInto<FtpUrl, Error: Into<Error>>,
    writer: &mut (impl Write + ?Sized),
) -> Result<Report, Error> {
    Client::builder().get(url, writer)
}

/// Uploads to the file that a URL names, with default settings, and replaces an existing file. For
/// other settings use [`ClientBuilder::put`]. The URL can be text.
///
/// ```no_run
/// let log = b"all is well\n";
/// ftp_client::put("ftp://me:secret@ftp.example.org/log.txt", &mut log.as_slice())?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// # Errors
///
/// Returns the errors of [`ClientBuilder::put`].
pub fn put(
    url: impl TryInto<FtpUrl, Error: Into<Error>>,
    reader: &mut (impl Read + ?Sized),
) -> Result<Report, Error> {
    Client::builder().put(url, reader)
}

impl ClientBuilder {
    /// Connects to the server of a URL and logs in as the user of the URL, or as `anonymous`.
    ///
    /// `;type=` sets the type of the transfers. Use [`Place`] to follow the path of the URL.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect_to`](Self::connect_to) and [`Client::login`].
    pub fn open(self, url: &FtpUrl) -> Result<Client, Error> {
        let mut client = self.connect_to(url)?;
        let (user, password) = login(url);
        client.login(user, password)?;
        client.set_representation(representation(url));
        Ok(client)
    }

    /// Opens a new connection and downloads the file that a URL names.
    ///
    /// The user and password come from the URL; without a user, the login is anonymous. `;type=a`
    /// makes the download a text transfer. The client sends the path as a whole. If the server
    /// answers 550, the client enters the directories of the path one by one, as [`Place`] does.
    ///
    /// The download succeeds if [`Download::finish`](crate::Download::finish) does. If only `SIZE`
    /// reports the length, the number of bytes must also equal that length, except in a text
    /// transfer. `writer` is flushed.
    ///
    /// # Errors
    ///
    /// - [`Argument`](Error::Argument) if `url` is not the URL of a file; in that case nothing is
    ///   sent.
    /// - [`Local`](Error::Local) if `writer` fails.
    /// - [`Incomplete`](Error::Incomplete) if the number of bytes differs from the length that
    ///   `SIZE` reports.
    /// - The errors of [`open`](Self::open), [`Client::retrieve`] and
    ///   [`Download::finish`](crate::Download::finish).
    ///
    /// `writer` keeps the bytes received before the error.
    pub fn get(
        self,
        url: impl TryInto<FtpUrl, Error: Into<Error>>,
        writer: &mut (impl Write + ?Sized),
    ) -> Result<Report, Error> {
        let url = url_of_file(url)?;
        let mut client = self.open(&url)?;
        let mut place = Place::of(&url);
        let (report, is_known) = loop {
            let error = match client.retrieve(place.path()) {
                Ok(file) => {
                    let is_known = file.announced().is_some();
                    break (file.copy_to(writer)?, is_known);
                }
                Err(error) => error,
            };
            if !place.enter(&mut client, &error)? {
                return Err(error);
            }
        };
        if !is_known
            && is_image(&url)
            && let Some(size) = client.size_afterwards(place.path())?
            && size != report.bytes
        {
            return Err(Error::Incomplete { bytes: report.bytes, announced: Some(size) });
        }
        say_good_bye(client);
        Ok(report)
    }

    /// Opens a new connection and uploads to the file that a URL names, replacing an existing file.
    ///
    /// The URL is used as in [`get`](Self::get). In type image, the upload also fails if the server
    /// then reports a different length.
    ///
    /// # Errors
    ///
    /// - [`Argument`](Error::Argument) if `url` is not the URL of a file; in that case nothing is
    ///   sent.
    /// - [`Local`](Error::Local) if `reader` fails. The upload is then aborted, so that the server
    ///   does not take the partial file for a complete one.
    /// - [`Incomplete`](Error::Incomplete) if the server reports another length.
    /// - The errors of [`open`](Self::open), [`Client::store`] and
    ///   [`Upload::finish`](crate::Upload::finish).
    pub fn put(
        self,
        url: impl TryInto<FtpUrl, Error: Into<Error>>,
        reader: &mut (impl Read + ?Sized),
    ) -> Result<Report, Error> {
        let url = url_of_file(url)?;
        let mut client = self.open(&url)?;
        let mut place = Place::of(&url);
        let report = loop {
            let error = match client.store(place.path()) {
                Ok(file) => break file.copy_from(reader)?,
                Err(error) => error,
            };
            if !place.enter(&mut client, &error)? {
                return Err(error);
            }
        };
        if is_image(&url)
            && let Some(bytes) = client.size_afterwards(place.path())?
            && bytes != report.bytes
        {
            return Err(Error::Incomplete { bytes, announced: Some(report.bytes) });
        }
        say_good_bye(client);
        Ok(report)
    }
}

fn url_of_file(url: impl TryInto<FtpUrl, Error: Into<Error>>) -> Result<FtpUrl, Error> {
    let url = url.try_into().map_err(Into::into)?;
    if url.is_directory() {
        let at = url.path().len();
        let error = ParseError::new("file path", at, ParseErrorKind::UnexpectedEnd);
        return Err(Error::Argument(error));
    }
    Ok(url)
}

/// Returns the user and password of a URL. The default password of anonymous logins does not
/// identify the user, although RFC 1635 asks for an email address.
fn login(url: &FtpUrl) -> (&[u8], &[u8]) {
    const NOBODY: &[u8] = b"anonymous@";
    let user = url.user().unwrap_or(b"anonymous");
    let is_nobody = [&b"anonymous"[..], b"ftp"].iter().any(|name| user.eq_ignore_ascii_case(name));
    (user, url.password().unwrap_or(if is_nobody { NOBODY } else { b"" }))
}

fn representation(url: &FtpUrl) -> RepresentationType {
    url.representation().unwrap_or(RepresentationType::Image)
}

fn is_image(url: &FtpUrl) -> bool {
    representation(url) != RepresentationType::Ascii
}

/// Ends the session. The transfer is complete, so errors are ignored.
fn say_good_bye(client: Client) {
    let _ = client.quit();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(place: &Place) -> String {
        let parts = place.directories.iter().chain([&place.name]);
        let parts: Vec<_> = parts.map(|part| String::from_utf8_lossy(part)).collect();
        format!("{} = {}", String::from_utf8_lossy(&place.path), parts.join("|"))
    }

    #[test]
    fn url_paths_are_split_into_directories_cl_60_cl_61() {
        for (path, want) in [
            ("a", "a = a"),
            ("a/b/c", "a/b/c = a|b|c"),
            ("a%2Fb/c", "a/b/c = a/b|c"),
            ("a/b%2Fc", "a/b/c = a|b/c"),
            ("%2Fa", "/a = /a"),
            ("%2Fetc/x/motd", "/etc/x/motd = /etc|x|motd"),
            ("%2F/a", "//a = /|a"),
            ("/a", "/a = /|a"),
            ("/etc/x/motd", "/etc/x/motd = /etc|x|motd"),
            ("a//b", "a//b = a|b"),
            ("//a/b", "//a/b = /a|b"),
            ("//b", "//b = /|b"),
            ("a/b/", "a/b = a|b"),
            ("a//", "a = a"),
            ("a/b;type=d", "a/b = a|b"),
            ("/", "/ = "),
            ("", " = "),
        ] {
            let url = FtpUrl::parse(format!("ftp://h/{path}").as_bytes()).unwrap();
            assert_eq!(shown(&Place::of(&url)), want, "{path}");
        }
    }

    #[test]
    fn a_name_is_placed_in_the_directory_of_the_url_cl_60() {
        for (url, want) in [
            ("ftp://h", "a = a"),
            ("ftp://h/", "a = a"),
            ("ftp://h/dir/", "dir/a = dir|a"),
            ("ftp://h/dir;type=d", "dir/a = dir|a"),
            ("ftp://h/x%2Fy/", "x/y/a = x/y|a"),
            ("ftp://h/x%2F", "x/a = x/|a"),
            ("ftp://h/%2Fabs/", "/abs/a = /abs|a"),
            ("ftp://h//", "/a = /|a"),
            ("h:dir/", "dir/a = dir|a"),
        ] {
            let url = FtpUrl::parse(url.as_bytes()).unwrap();
            let mut place = Place::inside(&url, "a");
            assert_eq!(shown(&place), want, "{url}");
            place.set_name("b");
            assert_eq!(place.name(), b"b");
            place.set_name("a");
            assert_eq!(shown(&place), want, "{url}");
        }
    }

    #[test]
    fn the_login_comes_from_the_url_or_is_anonymous_cl_64() {
        for (url, user, password) in [
            ("ftp://h/a", "anonymous", "anonymous@"),
            ("ftp://FTP@h/a", "FTP", "anonymous@"),
            ("ftp://u@h/a", "u", ""),
            ("ftp://u:p%40@h/a", "u", "p@"),
        ] {
            let url: FtpUrl = url.parse().unwrap();
            assert_eq!(login(&url), (user.as_bytes(), password.as_bytes()), "{url}");
        }
    }

    #[test]
    fn a_url_that_names_no_file_is_refused_cl_65_hl_09() {
        let mut nothing = Vec::new();
        for url in ["ftp://h", "ftp://h/a/", "ftp://h/a;type=d", "ftp://h/a%0d", "file:///a", "a"] {
            let got = get(url, &mut nothing);
            assert!(matches!(got, Err(Error::Argument(_))), "{url}: {got:?}");
            let put = put(url, &mut &b""[..]);
            assert!(matches!(put, Err(Error::Argument(_))), "{url}: {put:?}");
        }
    }
}
