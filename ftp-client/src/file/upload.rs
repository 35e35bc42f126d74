//! `Client::upload_from`: a local file to the server, confirmed and as long as it is here.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use ftp_proto::{RepresentationType, TimeVal};

use super::growing::named;
use super::{FileOptions, FileReport, Verified};
use crate::client::Client;
use crate::error::Error;
use crate::transfer::Watch;

/// What a server has of a local file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Uploaded {
    /// Nothing, or it does not tell.
    Nothing,
    /// As many bytes as the file begins with.
    Beginning {
        /// How many.
        length: u64,
        /// Whether the server told a time of it, as it does of a file that has its name.
        is_named: bool,
    },
    /// The local file was modified after the server's, which is not its beginning then.
    Older,
    /// More bytes than the file has: their number.
    Longer(u64),
}

impl Uploaded {
    /// Asks a server what it has at `path` of the local file that `here` is about (`SIZE`, `MDTM`).
    ///
    /// # Errors
    ///
    /// Those of [`Client::size`] and [`Client::modified`].
    pub fn ask(
        client: &mut Client,
        path: impl AsRef<[u8]>,
        here: &Metadata,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let Some(length) = client.size(path)?.filter(|length| *length > 0) else {
            return Ok(Self::Nothing);
        };
        if length > here.len() {
            return Ok(Self::Longer(length));
        }
        let there = client.modified(path)?.map(|time| time.unix_seconds());
        let is_older = there.zip(unix_seconds(here)).is_some_and(|(there, here)| here > there);
        Ok(match is_older {
            true => Self::Older,
            false => Self::Beginning { length, is_named: there.is_some() },
        })
    }
}

impl Client {
    /// Uploads the local file `source` to `path`, in type image and in place of a file that is
    /// there. It is done when the server has confirmed it and, if it tells, has as many bytes as
    /// the local file, which did not change meanwhile.
    ///
    /// With [`resume`](FileOptions::resume), the upload goes on after the [beginning](Uploaded)
    /// that the server has (`APPE`), and starts at byte 0 if the server cannot do so.
    ///
    /// ```no_run
    /// use ftp_client::{FileOptions, Watch};
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// client.upload_from("a.bin", "incoming/a.bin", FileOptions::new(), &mut Watch::new())?;
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`store`](Self::store) and [`Upload::finish`](crate::Upload::finish);
    /// [`Error::Local`] for what fails here; [`Error::Changed`] if the local file changed while it
    /// was sent, or if the server has more bytes than it; [`Error::Incomplete`] if the server has
    /// another length in the end.
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<FileReport, Error> {
        let source = source.as_ref();
        let path = path.as_ref();
        let here = |error: io::Error| Error::Local(named(source, &error));
        self.set_representation(RepresentationType::Image);
        let file = File::open(source).map_err(here)?;
        let before = file.metadata().map_err(here)?;
        let mut resumed = 0;
        let mut is_all = false;
        if options.resume && before.is_file() {
            (resumed, is_all) = self.find_uploaded(path, &before)?;
        }
        let mut report = None;
        if !is_all {
            let upload = match resumed {
                0 => self.store(path)?,
                // More servers take this than `REST` before `STOR`.
                offset => self.append_rest(path, offset)?,
            };
            resumed = upload.offset();
            if before.is_file() {
                (&file).seek(SeekFrom::Start(resumed)).map_err(here)?;
            }
            report = Some(upload.copy_from_watched(&file, watch)?);
        }
        let size = resumed + report.as_ref().map_or(0, |report| report.bytes);
        let after = file.metadata().map_err(here)?;
        if before.is_file() && (size != before.len() || !is_unchanged(&before, &after)) {
            return Err(Error::Changed);
        }
        let verified = match is_all {
            true => Verified::Size,
            false => self.check_upload(path, size)?,
        };
        let verified = match options.hash {
            true => self.check_hash(path, source, size)?,
            false => verified,
        };
        if options.preserve
            && let Some(time) = unix_seconds(&before).and_then(TimeVal::from_unix_seconds)
        {
            self.set_modified(path, time)?;
        }
        Ok(FileReport { resumed, size, report, verified })
    }

    /// How many bytes of a local file the server has, and whether these are all, under its name.
    fn find_uploaded(&mut self, path: &[u8], here: &Metadata) -> Result<(u64, bool), Error> {
        match Uploaded::ask(self, path, here)? {
            Uploaded::Nothing | Uploaded::Older => Ok((0, false)),
            Uploaded::Longer(_) => Err(Error::Changed),
            // What has no name yet gets it by an upload of nothing more.
            Uploaded::Beginning { length, is_named } => {
                let has_all = length == here.len();
                Ok((length, has_all && (is_named || self.exists(path)?)))
            }
        }
    }

    /// Makes sure that the server's file is as long as what was sent, if it tells.
    fn check_upload(&mut self, path: &[u8], size: u64) -> Result<Verified, Error> {
        match self.size_afterwards(path) {
            Some(bytes) if bytes != size => Err(Error::Incomplete { bytes, announced: Some(size) }),
            Some(_) => Ok(Verified::Size),
            None => Ok(Verified::No),
        }
    }
}

/// Whether a file that was sent is as it was `before`, as far as its length and time tell.
fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    before.len() == now.len() && before.modified().ok() == now.modified().ok()
}

fn unix_seconds(of: &Metadata) -> Option<i64> {
    let since = of.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
