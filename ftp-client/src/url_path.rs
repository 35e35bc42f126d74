//! The place of a URL's object on its server: the path as a whole, or part by part (RFC 1738
//! §3.2.2).

use ftp_proto::{Escaped, FtpUrl, ReplyCode};

use crate::client::Client;
use crate::error::Error;

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
        let path = url.path();
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
        let (path, _) = path.split_at(end.min(path.len()));
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

    /// Returns the whole path from the login directory, even if its directory was entered.
    pub(crate) fn whole(&self) -> Vec<u8> {
        [self.before.as_slice(), &self.name].concat()
    }

    /// Returns whether the directory of the object was entered.
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
            _ => [self.before.as_slice(), &self.name].concat(),
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
            Error::Refused(_, reply) if reply.code() == ReplyCode::FILE_UNAVAILABLE
        );
        if !is_not_found || self.name.is_empty() || self.entered != Entered::Nowhere {
            return Ok(false);
        }
        match self.go(client) {
            Ok(()) | Err(Error::Refused(..)) => Ok(self.is_entered()),
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
}
