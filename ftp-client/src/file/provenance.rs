//! Proves that a resumed upload consists of the local file alone. FTP has no command for this, so
//! the server's file is examined after the upload (RFC 3659 §5 leaves the check to the client).

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use ftp_proto::TimeVal;

use super::checksum::Checksum;
use super::upload::unix_seconds_of;
use crate::client::Client;
use crate::error::Error;

/// Seconds by which a measured clock can be wrong: both times are cut to whole seconds.
const RESOLUTION: i64 = 2;

/// Seconds by which the local time of a server can be later than UTC.
const ZONES: i64 = 14 * 3_600;

/// The source of the bytes that a server's file had when an upload was resumed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Provenance {
    /// No upload has begun.
    #[default]
    Unknown,
    /// This program began the upload at byte 0.
    Own,
    /// An earlier program or another host, which may have uploaded another file.
    Earlier {
        /// The modification time (`MDTM`) before this program appended to the file.
        modified: Option<TimeVal>,
    },
}

impl Provenance {
    /// Returns the provenance after an upload has begun at byte `offset` of a server's file that
    /// was modified at `modified`.
    #[must_use]
    pub const fn after_start(self, offset: u64, modified: Option<TimeVal>) -> Self {
        match self {
            _ if offset == 0 => Self::Own,
            Self::Unknown => Self::Earlier { modified },
            known => known,
        }
    }

    /// Returns whether the complete file at `path` on the server consists of `source` alone.
    /// `sent_at` is [`Report::sent_at`](crate::Report::sent_at) of the upload that completed it.
    ///
    /// For bytes of an earlier program, `source` must be older than the server's file was before
    /// the upload: neither its content nor its inode changed later. The server's clock and time
    /// zone can be wrong; the time of the complete file shows by how much. If the times prove
    /// nothing, but the server lists a digest, the digests must match.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Local`] if `source` cannot be read, and errors of the connection. A refusal
    /// or an unexpected reply proves nothing, but is not an error.
    pub fn is_proven(
        self,
        client: &mut Client,
        path: &[u8],
        source: &File,
        sent_at: SystemTime,
    ) -> Result<bool, Error> {
        let Self::Earlier { modified } = self else { return Ok(self == Self::Own) };
        if let Some(before) = modified
            && let Some(after) = answered(client.modified(path))?.flatten()
            && let Some(sent_at) = unix_seconds_of(sent_at)
            // Some servers do not change the time of a file that is appended to.
            && after > before
        {
            let fast_by = after.unix_seconds() - sent_at + RESOLUTION;
            if changed_at(source)? <= before.unix_seconds() - fast_by {
                return Ok(true);
            }
        }
        has_same_digest(client, path, source)
    }

    /// Returns whether the file at `path` on the server, which is as long as `source` and was
    /// modified at `modified`, is `source`, so that no upload is needed.
    ///
    /// A file of this program is. Otherwise, the digests must match. For a file that this program
    /// has not changed, it suffices if the server's file is newer than `source` in every time zone.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`is_proven`](Self::is_proven).
    pub fn is_whole(
        self,
        client: &mut Client,
        path: &[u8],
        source: &File,
        modified: Option<TimeVal>,
    ) -> Result<bool, Error> {
        let is_newer = match (self, modified) {
            (Self::Own, _) => return Ok(true),
            (Self::Unknown, Some(there)) => {
                changed_at(source)? <= there.unix_seconds() - ZONES - RESOLUTION
            }
            _ => false,
        };
        Ok(is_newer || has_same_digest(client, path, source)?)
    }
}

/// Returns the time of the last change of a file's content or inode, in seconds since 1970. A file
/// that was moved to its name keeps the time of its content.
fn changed_at(source: &File) -> Result<i64, Error> {
    let here = source.metadata().map_err(Error::Local)?;
    Ok(here.mtime().max(here.ctime()))
}

fn has_same_digest(client: &mut Client, path: &[u8], source: &File) -> Result<bool, Error> {
    let Some(mut checksum) = Checksum::for_server(client)? else { return Ok(false) };
    // The server goes first: it may refuse a large file, and the connection is not idle meanwhile.
    let there = answered(client.hash(path, Some(checksum.algorithm())))?;
    let Some(there) = there else { return Ok(false) };
    let length = source.metadata().map_err(Error::Local)?.len();
    checksum.update_from(source, length).map_err(Error::Local)?;
    Ok(checksum.finish() == there)
}

/// Returns `None` for a refusal or a reply that means nothing.
fn answered<T>(reply: Result<T, Error>) -> Result<Option<T>, Error> {
    match reply {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Refused(..) | Error::Unsupported(_) | Error::Protocol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provenance_remembers_the_first_resumed_file() {
        let time = |day| TimeVal::new(2026, 11, day, 12, 0, 0);
        let earlier = Provenance::Earlier { modified: time(1) };
        assert_eq!(Provenance::Unknown.after_start(0, None), Provenance::Own);
        assert_eq!(Provenance::Unknown.after_start(5, time(1)), earlier);
        assert_eq!(earlier.after_start(9, time(2)), earlier);
        assert_eq!(Provenance::Own.after_start(9, time(2)), Provenance::Own);
        assert_eq!(earlier.after_start(0, None), Provenance::Own);
    }
}
