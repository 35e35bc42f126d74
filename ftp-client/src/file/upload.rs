//! `Client::upload_from`: uploading a local file with one call.

use std::path::Path;

use super::Done;
use super::options::FileOptions;
use super::put::{LocalSource, Put};
use crate::client::Client;
use crate::error::Error;
use crate::transfer::Watch;
use crate::url_path::Place;

impl Client {
    /// Uploads the local file `source` to `path`, replacing an existing file. [`Put`] has more
    /// choices, and can be attempted again.
    ///
    /// The upload succeeds if the server has confirmed it and the local file did not change
    /// meanwhile. The server's size, if known, must equal that of the local file.
    ///
    /// With [`resume`](FileOptions::resume), the upload continues after the bytes that the server
    /// has, if a journal of an earlier run or a digest proves that they came from the local file.
    /// Otherwise, and if the server cannot append, it starts at byte 0.
    ///
    /// ```no_run
    /// use ftp_client::{FileOptions, Watch};
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// client.upload_from("a.bin", "incoming/a.bin", &FileOptions::new(), &mut Watch::new())?;
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Put::attempt`].
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        FileUpload::new(source.as_ref(), path.as_ref(), options).attempt(self, watch)
    }
}

/// An upload of a local file that can be tried several times.
pub(super) struct FileUpload<'a>(Put<'a>);

impl<'a> FileUpload<'a> {
    pub(super) fn new(source: &'a Path, path: &[u8], options: &'a FileOptions) -> Self {
        Self(Put::new(LocalSource::Path(source), Place::at(path), options))
    }

    /// Prepares the upload for several attempts.
    pub(super) fn repeated(self) -> Self {
        Self(self.0.repeats(true))
    }

    /// Uploads the bytes that the server does not have.
    pub(super) fn attempt(
        &mut self,
        client: &mut Client,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        self.0.attempt_with(client, &(), watch)
    }
}
