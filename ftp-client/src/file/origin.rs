//! The size and time of a server's file, which show whether it changed. RFC 3659 §5.3 leaves it to
//! the client to check that a file is the same.

use std::time::Duration;

use ftp_proto::TimeVal;

use crate::client::Client;
use crate::error::Error;

/// Pause after which any change to a file also changes its modification time. FAT stores only even
/// seconds.
pub(crate) const TICK: Duration = Duration::from_millis(2_100);

/// The size and time of a server's file. The file counts as unchanged while both are the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Origin {
    /// The size in bytes (`SIZE`).
    pub(crate) size: Option<u64>,
    /// The modification time (`MDTM`).
    pub(crate) modified: Option<TimeVal>,
}

impl Origin {
    /// Returns an origin known by other means, such as a listing.
    pub(crate) const fn new(size: Option<u64>, modified: Option<TimeVal>) -> Self {
        Self { size, modified }
    }

    /// Asks the server for the size and time of the file at `path` (`SIZE`, `MDTM`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::size`] and [`Client::modified`]. If the server reports
    /// neither size nor time, that is not an error.
    pub(crate) fn ask(client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        Self::default().or_ask(client, path)
    }

    /// Asks for what is not known, as [`ask`](Self::ask) does.
    pub(crate) fn or_ask(self, client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        if self == Self::default() {
            client.ask_together(path)?;
        }
        let size = self.size.map_or_else(|| client.size(path), |size| Ok(Some(size)))?;
        let modified =
            self.modified.map_or_else(|| client.modified(path), |time| Ok(Some(time)))?;
        Ok(Self { size, modified })
    }

    /// Returns whether the file is unchanged, given its size and time `now`.
    ///
    /// Returns `Some(false)` if the sizes or the times are known and differ. Otherwise returns
    /// `Some(true)` if both times are known, and `None` if they cannot be compared.
    pub(crate) fn is_still(self, now: Self) -> Option<bool> {
        let same_size = self.size.zip(now.size).map(|(then, now)| then == now);
        let same_time = self.modified.zip(now.modified).map(|(then, now)| then == now);
        match (same_size, same_time) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (_, same_time) => same_time,
        }
    }
}

/// What the server says about a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServerFacts {
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<TimeVal>,
    /// The identifier at the server (`MLST`).
    pub(crate) unique: Option<Vec<u8>>,
}

impl ServerFacts {
    /// Returns the facts of the file at `path`, or `None` if the server shows no such file.
    pub(crate) fn ask(client: &mut Client, path: &[u8]) -> Result<Option<Self>, Error> {
        if client.features()?.has("MLST") {
            let Some(entry) = client.stat(path)? else { return Ok(None) };
            let modified = entry.modified.map(|modified| modified.time);
            return Ok(Some(Self { size: entry.size, modified, unique: entry.unique }));
        }
        let size = client.size(path)?;
        let modified = client.modified(path)?;
        let is_there = size.is_some() || modified.is_some();
        Ok(is_there.then_some(Self { size, modified, unique: None }))
    }

    /// Returns the size and the time as `SIZE` and `MDTM` report them, and the identifier. A journal
    /// is compared with the facts of another run, so each fact always comes from the same command.
    pub(crate) fn ask_each(client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        let entry = match client.features()?.has("MLST") {
            true => client.stat(path)?,
            false => None,
        };
        let (size, modified) = (client.size(path)?, client.modified(path)?);
        Ok(Self { size, modified, unique: entry.and_then(|entry| entry.unique) })
    }

    /// Returns whether a file with these facts can be told from others: by its identifier, or by
    /// size and time.
    pub(crate) const fn is_telling(&self) -> bool {
        self.unique.is_some() || self.size.is_some() && self.modified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(size: Option<u64>, year: Option<u16>) -> Origin {
        let modified = year.map(|year| TimeVal::new(year, 2, 28, 13, 45, 59).unwrap());
        Origin { size, modified }
    }

    #[test]
    fn size_and_time_tell_whether_the_remote_file_is_unchanged_as_09() {
        for (then, now, want) in [
            ((Some(9), Some(2024)), (Some(9), Some(2024)), Some(true)),
            ((Some(9), Some(2024)), (Some(9), Some(2025)), Some(false)),
            ((Some(9), Some(2024)), (Some(9), Some(2023)), Some(false)),
            ((Some(9), Some(2024)), (Some(8), Some(2024)), Some(false)),
            ((Some(9), None), (Some(9), Some(2024)), None),
            ((Some(9), None), (Some(8), None), Some(false)),
            ((Some(9), None), (Some(9), None), None),
            ((None, Some(2024)), (None, Some(2024)), Some(true)),
            ((None, None), (Some(9), Some(2024)), None),
        ] {
            let is_still = origin(then.0, then.1).is_still(origin(now.0, now.1));
            assert_eq!(is_still, want, "{then:?} {now:?}");
        }
    }
}
