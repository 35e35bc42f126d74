//! From a server to here.

use std::io;

use ftp_client::Client;

use super::super::entry::Stamp;
use super::super::local_tree::Draft;
use super::super::plan::PlannedCopy;
use super::super::trees::failed;
use super::far::{Far, about, modified, prove};
use super::near::{Near, broken};
use super::watch::Watch;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::path::join;

pub(in super::super) struct Down<'a> {
    pub(in super::super) from: Far<'a>,
    pub(in super::super) to: Near<'a>,
    /// `--continue`.
    pub(in super::super) resumes: bool,
}

impl Down<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        let there = join(self.from.top, &below);
        let directory = self.to.directory(path)?;
        let client = self.from.client()?;
        // Before the data: what is written there meanwhile is newer than this, and comes next time.
        let modified = match copy.stamp.and_then(Stamp::exact) {
            Some(seconds) => Some(seconds),
            None => modified(client, &there)?,
        };
        let here = |error: io::Error| failed(&below, &error);
        let (mut draft, kept) = match modified.filter(|_| self.resumes) {
            Some(modified) => Draft::part(directory, &copy.name, modified).map_err(here)?,
            None => (Draft::new(directory).map_err(here)?, 0),
        };
        // What is as long as the whole or longer is no part of it.
        let download = match copy.size {
            Some(size) if (1..size).contains(&kept) => client.retrieve_rest(&there, kept, None),
            _ => client.retrieve(&there),
        };
        let download = download.map_err(|error| about(&there, &error))?;
        let offset = download.offset();
        if offset != kept {
            draft.empty().map_err(here)?;
        }
        let is_announced = download.announced().is_some();
        let received = watch.receive(download, &mut draft);
        let here_failed = |error: &io::Error| failed(b"the local file", error);
        let bytes =
            received.map_err(|error| broken(client, error, here_failed).about(shown(&there)))?;
        let all = offset + bytes;
        match copy.size {
            _ if is_announced => {}
            Some(size) if size != all => check_length(client, &there, all, copy.size)?,
            Some(_) => {}
            None => prove(client, &there, all)?,
        }
        draft
            .commit(&copy.name, copy.replaces(), modified)
            .map_err(|error| failed(&below, &error))?;
        Ok(bytes)
    }
}

/// Asks how long a file is that was not as long as its listing said: it may have grown since, or
/// what came is not all of it.
fn check_length(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    listed: Option<u64>,
) -> Result<(), Failure> {
    match client.size(path) {
        Ok(Some(size)) if size == bytes => Ok(()),
        Ok(size) => {
            let size = size.or(listed).unwrap_or_default();
            let message = format!("{}: {bytes} bytes came, the server says {size}", shown(path));
            Err(Failure::item(Exit::Integrity, message))
        }
        Err(error) => Err(about(path, &error)),
    }
}
