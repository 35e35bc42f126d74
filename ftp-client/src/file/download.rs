//! `Client::download_to`: downloading to a local file, which appears only when it is complete.

use std::path::Path;

use super::Done;
use super::begin::Sink;
use super::get::Get;
use super::options::FileOptions;
use crate::client::Client;
use crate::error::Error;
use crate::transfer::Watch;
use crate::url_path::Place;

impl Client {
    /// Downloads the file at `path` to the local file `target`, in type image.
    ///
    /// The local file gets its name only when it is complete. The server must have confirmed the
    /// download, the length must match any length that the server reports, and the file must be
    /// synced to disk. Until then, an existing file is unchanged, unless the download resumes it.
    ///
    /// With [`resume`](FileOptions::resume), an interrupted download leaves `NAME.part`, which a
    /// later download resumes if its record, or the server's digest, proves the bytes. A `NAME.part`
    /// of another program is left alone, and another name is used. If the server cannot resume
    /// downloads, or its file has changed, the download starts at byte 0. [`Get`](crate::Get) has
    /// events too.
    ///
    /// ```no_run
    /// use ftp_client::{FileOptions, Resume, Watch};
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// let options = FileOptions::new().resume(Resume::Proven);
    /// let done = client.download_to("pub/a.bin", "a.bin", &options, &mut Watch::new())?;
    /// println!("{} bytes, {} of them from an earlier attempt", done.size, done.resumed);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - The errors of [`retrieve`](Self::retrieve) and
    ///   [`Download::finish`](crate::Download::finish).
    /// - [`Error::Local`] if the local file fails.
    /// - [`Error::Incomplete`] if the server confirms the download, but its file differs in length
    ///   from the local one. `NAME.part` is removed, unless it may be the beginning of the file.
    /// - [`Error::Changed`] if the server's file changed during the download; `NAME.part` is
    ///   removed.
    /// - With [`Verify::Digest`](crate::Verify::Digest), [`Error::Unsupported`] if the server lists no suitable
    ///   algorithm, and [`Error::Mismatch`] if the digests differ; `NAME.part` is removed after a
    ///   mismatch.
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        let target = Sink::Path(target.as_ref());
        Get::new(Place::at(path), target, options).run(self, &(), watch)
    }
}
