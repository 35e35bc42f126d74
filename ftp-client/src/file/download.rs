//! `Client::download_to`: a file from the server to a local file, whole or not there.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{RepresentationType, TimeVal};

use super::checksum::Checksum;
use super::growing::named;
use super::local::{Committed, LocalFile};
use super::origin::Origin;
use super::partial::Salvage;
use super::resume::{ResumeOptions, Resumed};
use super::{FileOptions, FileReport, Verified};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::transfer::Watch;

impl Client {
    /// Downloads the file at `path` to the local file at `target`, in type image. It gets its name
    /// when it is whole: confirmed by the server, as long as the server says, and synced to the
    /// disk. Until then a file that has the name stays as it is.
    ///
    /// With [`resume`](FileOptions::resume), what comes before a connection breaks is kept in
    /// `NAME.part`, and a later download [goes on](LocalFile::resume) there. If the server cannot
    /// begin there, or its file is another by then, the download starts at byte 0.
    ///
    /// ```no_run
    /// use ftp_client::{FileOptions, Watch};
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// let options = FileOptions::new().resume(true);
    /// let done = client.download_to("pub/a.bin", "a.bin", options, &mut Watch::new())?;
    /// println!("{} bytes, {} of them from before", done.size, done.resumed);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve) and [`Download::finish`](crate::Download::finish);
    /// [`Error::Local`] for what fails here; [`Error::Incomplete`] if the server's file has another
    /// length than came, and [`Error::Changed`] if it changed while the download went on, after
    /// both of which `NAME.part` is gone.
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<FileReport, Error> {
        let path = path.as_ref();
        let target = target.as_ref();
        self.set_representation(RepresentationType::Image);
        let mut from_start = false;
        loop {
            let begun = match options.resume {
                true => LocalFile::resume(
                    self,
                    path,
                    target,
                    ResumeOptions { in_place: false, from_start },
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

    /// `None` if the server cannot begin where it is to.
    fn download_rest(
        &mut self,
        path: &[u8],
        begun: Resumed,
        options: FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Option<FileReport>, Error> {
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
        let size = offset + report.as_ref().map_or(0, |report| report.bytes);
        let known = if offset > 0 { origin } else { Origin::default() };
        let checked = self.check_download(path, size, known, is_announced);
        let verified = match checked.and_then(|verified| match options.hash {
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
        Ok(Some(FileReport { tries: 1, resumed: offset, size, report, verified }))
    }

    /// Gives a file that is whole its time, if that is wanted, and its name.
    fn publish(&mut self, path: &[u8], file: LocalFile, options: FileOptions) -> Result<(), Error> {
        if options.preserve
            && let Some(time) = self.modified(path)?.and_then(local_time)
        {
            file.set_modified(time).map_err(Error::Local)?;
        }
        match file.commit(!options.keep_existing).map_err(Error::Local)? {
            Committed::Done => Ok(()),
            Committed::Exists => Err(Error::Local(io::ErrorKind::AlreadyExists.into())),
        }
    }

    /// Makes sure that the server's file is as long as what is here, if it tells. `known` is what
    /// it said of the file before, if the download went on with it.
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

    /// Compares the digest of the first `length` bytes of a local file with the server's.
    pub(super) fn check_hash(
        &mut self,
        path: &[u8],
        here: &Path,
        length: u64,
    ) -> Result<Verified, Error> {
        let mut checksum = Checksum::for_server(self)?
            .ok_or(Error::Unsupported("a digest: the server computes none that is known here"))?;
        let read = File::open(here).and_then(|file| checksum.update_from(&file, length));
        read.map_err(|error| Error::Local(named(here, &error)))?;
        self.compare_hash(path, &checksum.finish()).map(|()| Verified::Hash)
    }
}

/// A time of the server's for a local file; `None` if it is before 1970.
fn local_time(time: TimeVal) -> Option<SystemTime> {
    let seconds = u64::try_from(time.unix_seconds()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanosecond()))
}
