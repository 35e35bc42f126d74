//! `Client::upload_from`: uploading a local file, then checking its length on the server.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{RepresentationType, TimeVal};

use super::evidence::Resume;
use super::growing::named;
use super::options::{FileOptions, Verify};
use super::provenance::Provenance;
use super::{Done, Verified};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::transfer::Watch;

/// The part of a local file that a server has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Uploaded {
    /// Nothing, an empty file, or a file whose size the server does not report.
    Nothing,
    /// A file that is not longer than the local file, and may be its beginning.
    Beginning {
        /// The number of bytes.
        length: u64,
        /// The modification time, if the server reports it (`MDTM`). A reported time shows that
        /// the file has its final name.
        modified: Option<TimeVal>,
    },
    /// A file older than the local one, and therefore not its beginning.
    Older,
    /// A file that is longer than the local file. Holds its length in bytes.
    Longer(u64),
}

impl Uploaded {
    /// Asks the server how much of a local file it has at `path` (`SIZE`, `MDTM`). `here` is the
    /// metadata of the local file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::size`] and [`Client::modified`].
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
        let modified = client.modified(path)?;
        let is_older = modified
            .zip(unix_seconds(here))
            .is_some_and(|(there, here)| here > there.unix_seconds());
        Ok(match is_older {
            true => Self::Older,
            false => Self::Beginning { length, modified },
        })
    }
}

impl Client {
    /// Uploads the local file `source` to `path` in type image, replacing an existing file.
    ///
    /// The upload succeeds if the server has confirmed it and the local file did not change
    /// meanwhile. The server's size, if known, must equal that of the local file.
    ///
    /// With [`resume`](FileOptions::resume), the upload continues after the [beginning](Uploaded)
    /// that the server has (`APPE`). It starts at byte 0 if the server does not report the size of
    /// its file, if that file is older than the local one, or if the server cannot append. If
    /// nothing [proves](Provenance::is_proven) afterwards that this beginning came from the local
    /// file, the whole file is uploaded again.
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
    /// - The errors of [`store`](Self::store) and [`Upload::finish`](crate::Upload::finish).
    /// - [`Error::Local`] if the local file fails.
    /// - [`Error::Changed`] if the local file changed during the upload, or, with
    ///   [`resume`](FileOptions::resume), if the server's file is already longer than the local
    ///   file.
    /// - [`Error::Incomplete`] if the server reports a different length afterwards.
    /// - With [`Verify::Digest`], [`Error::Unsupported`] if the server lists no suitable
    ///   algorithm, and [`Error::Mismatch`] if the digests differ.
    /// - With [`preserve`](FileOptions::preserve), [`Error::Refused`] if the server refuses to set
    ///   the modification time.
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        FileUpload::new(source.as_ref(), path.as_ref(), options).attempt(self, watch)
    }

    /// Checks that the server's file is as long as the upload, if the server reports its size.
    fn check_upload(&mut self, path: &[u8], size: u64) -> Result<Verified, Error> {
        match self.size_afterwards(path) {
            Some(bytes) if bytes != size => Err(Error::Incomplete { bytes, announced: Some(size) }),
            Some(_) => Ok(Verified::Size),
            None => Ok(Verified::No),
        }
    }
}

/// An upload of a local file that can be tried several times.
#[derive(Debug)]
pub(super) struct FileUpload<'a> {
    source: &'a Path,
    path: &'a [u8],
    options: FileOptions,
    /// Whether another attempt may follow, which resumes after the bytes of earlier attempts.
    is_repeated: bool,
    /// The length that the server's file had when an attempt last started at byte 0.
    replaced: Option<u64>,
    /// The position after the last byte that the attempts sent.
    sent: u64,
    /// The source of the bytes that the first attempt found.
    provenance: Provenance,
}

/// Where an upload begins.
struct UploadStart {
    offset: u64,
    /// The modification time of the server's file, if known.
    modified: Option<TimeVal>,
    /// Whether the server has the whole file under its final name.
    is_all: bool,
}

impl UploadStart {
    const FROM_ZERO: Self = Self { offset: 0, modified: None, is_all: false };
}

impl<'a> FileUpload<'a> {
    pub(super) fn new(source: &'a Path, path: &'a [u8], options: &FileOptions) -> Self {
        let provenance = Provenance::Unknown;
        let options = options.clone();
        Self { source, path, options, is_repeated: false, replaced: None, sent: 0, provenance }
    }

    /// Prepares the upload for several attempts.
    pub(super) fn repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    /// Uploads the bytes that the server does not have.
    pub(super) fn attempt(
        &mut self,
        client: &mut Client,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        let done = self.send(client, watch);
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Integrity) {
            // The server's bytes may be wrong: the next attempt starts at byte 0.
            self.options.resume = Resume::Own;
            self.sent = 0;
        }
        done
    }

    fn send(&mut self, client: &mut Client, watch: &mut Watch<'_>) -> Result<Done, Error> {
        let Self { source, path, .. } = *self;
        let here = |error: io::Error| Error::Local(named(source, &error));
        client.set_representation(RepresentationType::Image);
        let file = File::open(source).map_err(here)?;
        let before = file.metadata().map_err(here)?;
        let is_file = before.is_file();
        if self.is_repeated && !is_file {
            // Bytes read from a pipe or device cannot be read again.
            return Err(here(io::Error::other("not a regular file")));
        }
        let start = match is_file && ((self.options.resume != Resume::Own) || self.is_repeated) {
            true => self.find_uploaded(client, &file, &before)?,
            false => UploadStart::FROM_ZERO,
        };
        let mut resumed = start.offset;
        let mut report = None;
        if !start.is_all {
            let upload = match resumed {
                0 => client.store(path)?,
                // More servers accept `APPE` than `REST` before `STOR`.
                offset => client.append_rest(path, offset)?,
            };
            resumed = upload.offset();
            self.provenance = self.provenance.after_start(resumed, start.modified);
            if resumed == 0 {
                self.sent = 0;
            }
            if is_file {
                (&file).seek(SeekFrom::Start(resumed)).map_err(here)?;
            }
            let sent = upload.copy_from_watched(&file, watch);
            self.sent = self.sent.max(resumed + watch.moved());
            let sent = sent?;
            let is_proven = self.provenance.is_proven(client, path, &file, sent.sent_at);
            if !matches!(is_proven, Ok(true)) {
                // The server's file can be a mixture, so no later attempt resumes it.
                self.options.resume = Resume::Own;
                self.sent = 0;
                self.replaced = Some(before.len());
            }
            if !is_proven? {
                // Some servers never overwrite a file. If the server refuses to delete it, an
                // upload may still replace it.
                match client.delete(path) {
                    Ok(()) | Err(Error::Refused(..)) => {}
                    Err(error) => return Err(error),
                }
                return self.send(client, watch);
            }
            self.provenance = Provenance::Own;
            report = Some(sent);
        }
        let (bytes, duration) =
            report.map_or((0, Duration::ZERO), |report| (report.bytes, report.duration));
        let size = resumed + bytes;
        let after = file.metadata().map_err(here)?;
        if is_file && (size != before.len() || !is_unchanged(&before, &after)) {
            return Err(Error::Changed);
        }
        let verified = match start.is_all {
            true => Verified::Size,
            false => client.check_upload(path, size)?,
        };
        let verified = match self.options.verify == Verify::Digest {
            true => client.check_hash(path, source, size)?,
            false => verified,
        };
        if self.options.preserve
            && let Some(time) = unix_seconds(&before).and_then(TimeVal::from_unix_seconds)
        {
            client.set_modified(path, time)?;
        }
        Ok(Done { verified, ..Done::moved(bytes, resumed, duration) })
    }

    /// Returns the number of bytes of a local file that the server has, and whether these are the
    /// whole file under its final name. With [`FileOptions::resume`], the server's file counts as
    /// the beginning of the local file, and a check follows the upload. Otherwise the server's file
    /// must come from these attempts: it must not have more bytes than they sent. It must also not
    /// be as long as the file to be replaced, since many servers keep that file until the upload is
    /// complete.
    fn find_uploaded(
        &mut self,
        client: &mut Client,
        source: &File,
        here: &Metadata,
    ) -> Result<UploadStart, Error> {
        let found = Uploaded::ask(client, self.path, here)?;
        let there = match found {
            Uploaded::Beginning { length, .. } | Uploaded::Longer(length) => Some(length),
            Uploaded::Nothing | Uploaded::Older => None,
        };
        let was_sent = there != self.replaced && there.is_some_and(|there| there <= self.sent);
        let beginning = match found {
            Uploaded::Longer(_) if self.options.resume != Resume::Own => {
                return Err(Error::Changed);
            }
            Uploaded::Beginning { length, modified }
                if (self.options.resume != Resume::Own) || was_sent =>
            {
                // If the file is complete but lacks its final name, appending zero bytes gives it
                // that name.
                let has_all = length == here.len();
                let is_all = has_all && (modified.is_some() || client.exists(self.path)?);
                match !is_all || self.provenance.is_whole(client, self.path, source, modified)? {
                    true => UploadStart { offset: length, modified, is_all },
                    false => UploadStart::FROM_ZERO,
                }
            }
            _ => UploadStart::FROM_ZERO,
        };
        if beginning.offset == 0 {
            self.replaced = there;
        }
        Ok(beginning)
    }
}

/// Returns whether a sent file has the same length and time as `before`.
fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    before.len() == now.len() && before.modified().ok() == now.modified().ok()
}

fn unix_seconds(of: &Metadata) -> Option<i64> {
    of.modified().ok().and_then(unix_seconds_of)
}

/// Returns the seconds since 1970, or `None` for an earlier time.
pub(super) fn unix_seconds_of(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
