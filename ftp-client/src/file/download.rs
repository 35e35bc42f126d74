//! `Client::download_to`: downloading to a local file, which appears only when it is complete.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{RepresentationType, TimeVal};

use super::checksum::Checksum;
use super::evidence::Resume;
use super::growing::named;
use super::local::{Committed, LocalFile};
use super::options::{Existing, FileOptions, Verify};
use super::origin::Origin;
use super::partial::Salvage;
use super::resume::{ResumeOptions, Resumed};
use super::{Done, Verified};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::transfer::Watch;

impl Client {
    /// Downloads the file at `path` to the local file `target`, in type image.
    ///
    /// The local file gets its name only when it is complete. The server must have confirmed the
    /// download, the length must match any length that the server reports, and the file must be
    /// synced to disk. Until then, an existing file is unchanged, unless the download resumes it.
    ///
    /// With [`resume`](FileOptions::resume), an interrupted download leaves `NAME.part`, which a
    /// later download [resumes](LocalFile::resume). If there is no `NAME.part`, a shorter file at
    /// `target` that seems to be the beginning of the server's file is extended in place, except
    /// with [`Existing::Keep`]. If the server cannot resume downloads,
    /// or its file has changed, the download starts at byte 0.
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
    /// - With [`Verify::Digest`], [`Error::Unsupported`] if the server lists no suitable
    ///   algorithm, and [`Error::Mismatch`] if the digests differ; `NAME.part` is removed after a
    ///   mismatch.
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        let path = path.as_ref();
        let target = target.as_ref();
        self.set_representation(RepresentationType::Image);
        let mut from_start = false;
        loop {
            let begun = match options.resume != Resume::Own {
                true => LocalFile::resume(
                    self,
                    path,
                    target,
                    ResumeOptions {
                        in_place: false,
                        from_start,
                        keep_existing: options.existing == Existing::Keep,
                    },
                )?,
                false => {
                    let file = LocalFile::replacing(target);
                    Resumed::at_0(file.map_err(Error::Local)?)
                }
            };
            match self.download_rest(path, begun, options, watch)? {
                Some(report) => return Ok(report),
                None => from_start = true,
            }
        }
    }

    /// Downloads the rest of the file; returns `None` if the download must start at byte 0.
    fn download_rest(
        &mut self,
        path: &[u8],
        begun: Resumed,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Done>, Error> {
        let Resumed { mut file, offset, origin, is_whole, .. } = begun;
        let rest = origin.size.filter(|_| offset > 0).map(|size| size - offset);
        let mut report = None;
        let mut is_announced = false;
        if !is_whole {
            let mut download = match self.retrieve_from(path, offset) {
                Err(error) if offset > 0 && error.refuses_restart() => return Ok(None),
                download => download?,
            };
            if let Some(rest) = rest {
                download.expect_length(rest);
            }
            is_announced = download.announced().is_some();
            match download.copy_to_watched(&mut file, watch) {
                Ok(done) => report = Some(done),
                Err(error) => match file.salvage(&error, rest) {
                    Salvage::SentFromStart => return Ok(None),
                    Salvage::Wrong => {
                        file.discard();
                        return Err(error);
                    }
                    Salvage::Kept => return Err(error),
                },
            }
        }
        let (bytes, duration) =
            report.map_or((0, Duration::ZERO), |report| (report.bytes, report.duration));
        let size = offset + bytes;
        let known = if offset > 0 { origin } else { Origin::default() };
        let checked = self.check_download(path, size, known, is_announced);
        let verified = match checked.and_then(|verified| match options.verify == Verify::Digest {
            true => self.check_hash(path, file.path(), size),
            false => Ok(verified),
        }) {
            Ok(verified) => verified,
            Err(error) => {
                if error.kind() == ErrorKind::Integrity {
                    file.discard();
                }
                return Err(error);
            }
        };
        self.publish(path, file, options)?;
        Ok(Some(Done { verified, ..Done::moved(bytes, offset, duration) }))
    }

    /// Sets the modification time of a complete file, if requested, and gives the file its name.
    fn publish(
        &mut self,
        path: &[u8],
        file: LocalFile,
        options: &FileOptions,
    ) -> Result<(), Error> {
        if options.preserve
            && let Some(time) = self.modified(path)?.and_then(local_time)
        {
            file.set_modified(time).map_err(Error::Local)?;
        }
        match file.commit(options.existing != Existing::Keep).map_err(Error::Local)? {
            Committed::Done => Ok(()),
            Committed::Exists => Err(Error::Local(io::ErrorKind::AlreadyExists.into())),
        }
    }

    /// Checks that the server's file is unchanged and as long as the local one, as far as the
    /// server reports its time and size. `known` is the server's description of the file before a
    /// resumed download.
    fn check_download(
        &mut self,
        path: &[u8],
        size: u64,
        known: Origin,
        is_announced: bool,
    ) -> Result<Verified, Error> {
        if let Some(then) = known.modified
            && let Ok(Some(now)) = self.modified(path)
            && now != then
        {
            return Err(Error::Changed);
        }
        if known.size.is_some() || is_announced {
            return Ok(Verified::Size);
        }
        match self.size_afterwards(path) {
            Some(there) if there != size => {
                Err(Error::Incomplete { bytes: size, announced: Some(there) })
            }
            Some(_) => Ok(Verified::Size),
            None => Ok(Verified::No),
        }
    }

    /// Compares the digest of the first `length` bytes of a local file with the server's digest.
    pub(super) fn check_hash(
        &mut self,
        path: &[u8],
        here: &Path,
        length: u64,
    ) -> Result<Verified, Error> {
        let mut checksum = Checksum::for_server(self)?
            .ok_or(Error::Unsupported("the server lists no suitable digest"))?;
        let read = File::open(here).and_then(|file| checksum.update_from(&file, length));
        read.map_err(|error| Error::Local(named(here, &error)))?;
        self.compare_hash(path, &checksum.finish()).map(|()| Verified::Hash)
    }
}

/// Converts the server's time to a [`SystemTime`]; returns `None` for a time before 1970.
fn local_time(time: TimeVal) -> Option<SystemTime> {
    let seconds = u64::try_from(time.unix_seconds()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanosecond()))
}
