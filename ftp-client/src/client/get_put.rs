//! `get` and `put`: transfer one file, named by its URL, with one call.

use std::io::{Read, Write};

use ftp_proto::{FtpUrl, ParseError, ParseErrorKind, RepresentationType};

use crate::client::Client;
use crate::config::ClientBuilder;
use crate::error::Error;
use crate::transfer::Report;
use crate::url_path::Place;

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
        let mut client = self.first_transfer(representation(&url)).open(&url)?;
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
        mut reader: &mut (impl Read + ?Sized),
    ) -> Result<Report, Error> {
        let url = url_of_file(url)?;
        let mut client = self.first_transfer(representation(&url)).open(&url)?;
        let mut place = Place::of(&url);
        let report = loop {
            let error = match client.store(place.path()) {
                Ok(file) => break file.copy_from(&mut reader)?,
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

/// Parses a URL, which must name a file.
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

    #[test]
    fn the_login_comes_from_the_url_or_is_anonymous_cl_64() {
        for (url, user, password) in [
            ("ftp://h/a", "anonymous", "anonymous@"),
            ("ftp://@h/a", "anonymous", "anonymous@"),
            ("ftp://:p@h/a", "anonymous", "p"),
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
