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
    /// the upload. The server's clock and time zone can be wrong; the time of the complete file
    /// shows by how much. If the times prove nothing, but the server lists a digest, the digests
    /// must match.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::modified`] and [`Client::hash`] that are not refusals, and
    /// [`Error::Local`] if `source` cannot be read.
    pub fn is_proven(
        self,
        client: &mut Client,
        path: &[u8],
        source: &File,
        sent_at: SystemTime,
    ) -> Result<bool, Error> {
        let Self::Earlier { modified } = self else { return Ok(self == Self::Own) };
        let here = source.metadata().map_err(Error::Local)?;
        if let Some(before) = modified
            && let Some(after) = client.modified(path)?
            && let Some(sent_at) = unix_seconds_of(sent_at)
        {
            let fast_by = after.unix_seconds() - sent_at + RESOLUTION;
            if here.mtime() <= before.unix_seconds() - fast_by {
                return Ok(true);
            }
        }
        let Some(mut checksum) = Checksum::for_server(client)? else { return Ok(false) };
        checksum.update_from(source, here.len()).map_err(Error::Local)?;
        match client.compare_hash(path, &checksum.finish()) {
            Ok(()) => Ok(true),
            Err(Error::Mismatch { .. } | Error::Refused(..) | Error::Unsupported(_)) => Ok(false),
            Err(error) => Err(error),
        }
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
