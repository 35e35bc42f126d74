//! Whether a local file is the server's own: the server may be this computer, a container with a
//! directory of it, or a computer whose share is mounted here. A transfer between them would empty or
//! remove the only copy.

use std::fs;
use std::path::{Path, PathBuf};

use ftp_proto::Pathname;

use super::small::parent;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::error::Error;
use crate::tree::local::Directory;
use crate::tree::probe::with_probe;

pub(in crate::file) fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Returns whether the server's directory of `there` is that of the local file `real`. For this, creates an
/// empty file beside `real`, and removes it. Returns `None` if the local directory takes no file. `tells_sizes` if
/// the server has answered `SIZE`.
///
/// # Errors
///
/// Returns errors that cost the connection. A refusal shows nothing.
pub(in crate::file) fn shares_directory(
    client: &mut Client,
    real: &Path,
    there: &[u8],
    tells_sizes: bool,
) -> Result<Option<bool>, Error> {
    let (directory, _) = Pathname::split(there);
    let probed = Directory::open(parent(real)).and_then(|local| {
        with_probe(&local, |name| {
            let path = Pathname::join(directory, name);
            match client.size(&path) {
                // A listing of the directory may be long.
                Ok(None) if !tells_sizes => Ok(client.existence(&path)? == Existence::Present),
                size => size.map(|size| size == Some(0)),
            }
        })
    });
    match probed {
        Ok(Err(error)) if !client.is_settled() => Err(error),
        probed => Ok(probed.ok().map(|shown| shown.unwrap_or(false))),
    }
}
