//! `Client::upload_from`: a local file to the server, confirmed and as long as it is here.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use ftp_proto::{RepresentationType, TimeVal};

use super::growing::named;
use super::{FileOptions, FileReport, Verified};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
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
        FileUpload::new(source.as_ref(), path.as_ref(), options).attempt(self, watch)
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

/// An upload of a local file, which can be attempted more than once.
#[derive(Debug)]
pub(super) struct FileUpload<'a> {
    source: &'a Path,
    path: &'a [u8],
    options: FileOptions,
    /// Whether a further attempt may follow, which resumes what the others sent.
    is_repeated: bool,
    /// How long the server's file was before the first byte of the attempts.
    replaced: Option<u64>,
    /// Up to which byte the attempts sent the file.
    sent: u64,
}

/// Where an upload begins.
struct UploadStart {
    offset: u64,
    /// The server has all, under the name of the file.
    is_all: bool,
}

impl<'a> FileUpload<'a> {
    pub(super) const fn new(source: &'a Path, path: &'a [u8], options: FileOptions) -> Self {
        Self { source, path, options, is_repeated: false, replaced: None, sent: 0 }
    }

    /// The same, to be attempted until it succeeds.
    pub(super) const fn repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    /// Uploads what the server is not known to have.
    pub(super) fn attempt(
        &mut self,
        client: &mut Client,
        watch: &mut Watch<'_>,
    ) -> Result<FileReport, Error> {
        let done = self.send(client, watch);
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Integrity) {
            // What the server has may be wrong: the next attempt starts at byte 0.
            self.options.resume = false;
            self.sent = 0;
        }
        done
    }

    fn send(&mut self, client: &mut Client, watch: &mut Watch<'_>) -> Result<FileReport, Error> {
        let Self { source, path, .. } = *self;
        let here = |error: io::Error| Error::Local(named(source, &error));
        client.set_representation(RepresentationType::Image);
        let file = File::open(source).map_err(here)?;
        let before = file.metadata().map_err(here)?;
        let is_file = before.is_file();
        if self.is_repeated && !is_file {
            // What was read of it does not come again.
            return Err(here(io::Error::other("is not a regular file")));
        }
        let start = match is_file && (self.options.resume || self.is_repeated) {
            true => self.find_uploaded(client, &before)?,
            false => UploadStart { offset: 0, is_all: false },
        };
        let mut resumed = start.offset;
        let mut report = None;
        if !start.is_all {
            let upload = match resumed {
                0 => client.store(path)?,
                // More servers take this than `REST` before `STOR`.
                offset => client.append_rest(path, offset)?,
            };
            resumed = upload.offset();
            if resumed == 0 {
                self.sent = 0;
            }
            if is_file {
                (&file).seek(SeekFrom::Start(resumed)).map_err(here)?;
            }
            let sent = upload.copy_from_watched(&file, watch);
            self.sent = self.sent.max(resumed + watch.moved());
            report = Some(sent?);
        }
        let size = resumed + report.as_ref().map_or(0, |report| report.bytes);
        let after = file.metadata().map_err(here)?;
        if is_file && (size != before.len() || !is_unchanged(&before, &after)) {
            return Err(Error::Changed);
        }
        let verified = match start.is_all {
            true => Verified::Size,
            false => client.check_upload(path, size)?,
        };
        let verified = match self.options.hash {
            true => client.check_hash(path, source, size)?,
            false => verified,
        };
        if self.options.preserve
            && let Some(time) = unix_seconds(&before).and_then(TimeVal::from_unix_seconds)
        {
            client.set_modified(path, time)?;
        }
        Ok(FileReport { tries: 1, resumed, size, report, verified })
    }

    /// How many bytes of a local file the server has, and whether these are all, under its name.
    /// The caller says by [`FileOptions::resume`] that what is there is the beginning of the file.
    /// Otherwise it is if the attempts sent it: it is not longer than that, and not as long as what
    /// they were to replace, which stands until the upload is whole on many servers.
    fn find_uploaded(
        &mut self,
        client: &mut Client,
        here: &Metadata,
    ) -> Result<UploadStart, Error> {
        let found = Uploaded::ask(client, self.path, here)?;
        let there = match found {
            Uploaded::Beginning { length, .. } | Uploaded::Longer(length) => Some(length),
            Uploaded::Nothing | Uploaded::Older => None,
        };
        let was_sent = there != self.replaced && there.is_some_and(|there| there <= self.sent);
        let beginning = match found {
            Uploaded::Longer(_) if self.options.resume => return Err(Error::Changed),
            Uploaded::Beginning { length, is_named } if self.options.resume || was_sent => {
                // What has no name yet gets it by an upload of nothing more.
                let has_all = length == here.len();
                let is_all = has_all && (is_named || client.exists(self.path)?);
                UploadStart { offset: length, is_all }
            }
            _ => UploadStart { offset: 0, is_all: false },
        };
        if beginning.offset == 0 {
            self.replaced = there;
        }
        Ok(beginning)
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
