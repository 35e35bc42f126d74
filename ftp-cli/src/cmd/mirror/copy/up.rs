//! Copies from this computer to a server.

use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::super::plan::PlannedCopy;
use super::super::trees::failed;
use super::far::{Far, about, prove};
use super::near::{Near, broken};
use super::watch::Watch;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::path::join;
use crate::transfer::upload::is_unchanged;

pub(crate) struct Up<'a> {
    pub(crate) from: Near<'a>,
    pub(crate) to: Far<'a>,
    /// Whether progress or a rate limit must see each piece: files go through a buffer then.
    pub(crate) is_watched: bool,
    /// `--continue`.
    pub(crate) resumes: bool,
}

impl Up<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let there = join(self.to.top, &below);
        let here = |error: &io::Error| Failure { fatal: false, ..failed(&below, error) };
        let directory = self.from.directory(path)?;
        let mut file = directory.read(&copy.name).map_err(|error| here(&error))?;
        let before = file.metadata().map_err(|error| here(&error))?;
        let client = self.to.client()?;
        let upload = match self.resumes && copy.may_continue {
            true => client.store_rest(&there, before.len()),
            false => client.store(&there),
        };
        let upload = upload.map_err(|error| about(&there, &error))?;
        let offset = upload.offset();
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(|error| here(&error))?;
        }
        let sent = match self.is_watched {
            true => watch.send(upload, &file),
            false => upload.copy_from(&file).map(|copied| copied.bytes),
        };
        let here_failed = |error: &io::Error| Failure::item(Exit::Local, error.to_string());
        let bytes =
            sent.map_err(|error| broken(client, error, here_failed).context(shown(&there)))?;
        let after = file.metadata().map_err(|error| here(&error))?;
        if offset + bytes != before.len() || !is_unchanged(&before, &after) {
            // Without the source's time, the next run takes it for another file and sends it again.
            let message = format!("{}: changed during the upload", shown(&below));
            return Err(Failure::item(Exit::Integrity, message));
        }
        let client = self.to.client()?;
        prove(client, &there, before.len())?;
        self.to.set_time(&there, Some(before.mtime()))?;
        Ok(bytes)
    }
}
