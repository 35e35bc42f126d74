//! Whether a local file is the server's own: the server may be this computer, a container with a
//! directory of it, or a computer whose share is mounted here. A transfer between them would empty or
//! remove the only copy.

use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ftp_proto::Pathname;

use super::small::parent;
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::error::Error;
use crate::fxp::answered;
use crate::listing::ListingForm;
use crate::system::OsStrExt;
use crate::tree::local::Directory;
use crate::tree::probe::{with_probe, with_remote_probe};

/// What is known of the local and of the server's file before they are compared.
pub(in crate::file) struct BothFiles<'p> {
    pub(in crate::file) here: &'p Path,
    /// Size range of the local file between two looks: it may be growing.
    pub(in crate::file) sizes: RangeInclusive<u64>,
    /// In seconds.
    pub(in crate::file) modified: i64,
    pub(in crate::file) links: u64,
    /// The path on the server, and what `SIZE` told of it.
    pub(in crate::file) there: &'p [u8],
    pub(in crate::file) told: SizeTold,
}

/// Returns whether the server's file has the last component of the local path, or of what it links to.
pub(in crate::file) fn is_named(here: &Path, there: &[u8]) -> bool {
    let (_, name) = Pathname::split(there);
    let has = |path: &Path| path.file_name().is_some_and(|own| own.as_bytes() == name);
    has(here) || has(&real_path(here))
}

/// Returns whether the local file may be the server's. Probes with a new file here, or else a new directory
/// there, and removes it: seen on the other side, it is one directory; unseen, it proves nothing, because
/// of links. Without a probe, or if the server is this computer, equal size and time count as one file
/// unless both have a single name.
///
/// # Errors
///
/// Returns errors that cost the connection. A refusal shows nothing.
pub(in crate::file) fn may_be_one(
    client: &mut Client,
    both: &BothFiles<'_>,
) -> Result<bool, Error> {
    let BothFiles { here, sizes, modified, links, there, told } = both;
    let is_sized = told.known().is_none_or(|told| sizes.contains(&told));
    if *told == SizeTold::Refused || !is_sized && !is_named(here, there) {
        return Ok(false);
    }
    let probed = shares_directory(client, &real_path(here), there, told.known().is_some())?;
    if probed == Some(true) || !is_sized || probed.is_some() && !client.is_near() {
        return Ok(probed == Some(true));
    }
    let time = client.modified(there).ok().flatten();
    let is_alike = time.map_or(told.known().is_some(), |time| age::is_about(time, *modified));
    // In one directory, one file has one name, too.
    let is_unknown = probed.is_none() && (time.is_some() || client.is_near());
    if !is_alike || *links > 1 || is_unknown {
        return Ok(is_alike);
    }
    // Without a time, only a listed link speaks for one file.
    Ok(is_single(client, there)?.map_or(time.is_some(), |is_single| !is_single))
}

fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Returns whether the server's directory of `there` is that of the local file `real`; `None` if neither
/// directory takes a probe. `tells_sizes` if the server has answered `SIZE`.
fn shares_directory(
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
        // A refused question shows nothing.
        Ok(shown) => Ok(shown.ok()),
        // Only the server may write there.
        Err(_) => with_remote_probe(client, directory, |name| {
            Ok(parent(real).join(OsStr::from_bytes(name)).symlink_metadata().is_ok())
        }),
    }
}

/// Returns whether a listing shows that a file has one name and is not a link; `None` if it shows neither.
fn is_single(client: &mut Client, path: &[u8]) -> Result<Option<bool>, Error> {
    let listed = answered(client.look(path, ListingForm::List))?.flatten();
    Ok(listed.and_then(|entry| match entry.is_link() {
        true => Some(false),
        false => entry.links.map(|links| links == 1),
    }))
}
