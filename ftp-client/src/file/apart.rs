//! Whether the local file of a transfer is the server's file: the server runs on this computer, or serves
//! a disk that is mounted here, as a container or a NAS does.

use std::fs;
use std::path::Path;

use ftp_proto::Pathname;

use super::small::parent;
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::error::Error;
use crate::system::MetadataExt;
use crate::tree::local::Directory;
use crate::tree::probe::with_probe;

/// Returns whether the server's file at `there`, which has the size of the local file at `local`, may be
/// that file. They are two if their times differ, and not by a time zone; otherwise a file that is made
/// beside the local one is looked for beside the other.
///
/// # Errors
///
/// Returns [`Error::Local`] if the local file cannot be examined, and the error of a question that costs
/// the connection.
pub(super) fn may_be_one(client: &mut Client, local: &Path, there: &[u8]) -> Result<bool, Error> {
    let time = match client.modified(there) {
        Err(error) if !client.is_settled() => return Err(error),
        time => time.ok().flatten(),
    };
    let real = fs::canonicalize(local).map_err(Error::local)?;
    // Later than the server's answer: a file that is being written is about as old there.
    let here = fs::metadata(&real).map_err(Error::local)?;
    let is_other = match time {
        Some(time) => !age::is_about(time, here.mtime()),
        // The size is that of kept bytes, of which there is no file.
        None => client.features()?.has("MDTM"),
    };
    if is_other {
        return Ok(false);
    }
    let probed = Directory::open(parent(&real)).and_then(|directory| {
        with_probe(&directory, |name| {
            client.existence(Pathname::join(Pathname::split(there).0, name))
        })
    });
    match probed {
        // Another name of the file can be in any directory.
        Ok(Ok(Existence::Absent)) => Ok(here.nlink() > 1 && client.is_near()),
        Ok(Err(error)) if !client.is_settled() => Err(error),
        _ => Ok(true),
    }
}
