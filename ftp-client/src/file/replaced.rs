//! Whether an upload, or a copy from another server, is what the server now has. A server can confirm an
//! upload that it stored under another name, or dropped. If its old file has the size of the new one,
//! only its other facts or a digest tell; it must neither get the time of the new file nor cost the
//! source.

use ftp_proto::{Entry, Modified};

use super::evidence::{Compared, ServerFacts};
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::error::{Error, JobFault};

/// What the server told, before an upload, of the file that the upload replaces.
#[derive(Debug)]
pub(crate) enum OldFile {
    /// There was none, or it had another size than the new one.
    Other,
    /// `SIZE` was refused (550), which shows that there was none if the server then tells the size of
    /// the new one.
    Refused,
    /// It may have the size of the new one.
    Alike(ServerFacts),
}

impl OldFile {
    /// Asks for the facts of the file that an upload of `size` bytes replaces, if that is known; `told`
    /// is the answer to `SIZE`.
    ///
    /// # Errors
    ///
    /// Returns the errors of the questions.
    pub(crate) fn ask(
        client: &mut Client,
        path: &[u8],
        told: SizeTold,
        size: Option<u64>,
    ) -> Result<Self, Error> {
        match told {
            SizeTold::Refused => Ok(Self::Refused),
            // Two empty files are equal.
            SizeTold::Bytes(have) if have == 0 || size.is_some_and(|size| size != have) => {
                Ok(Self::Other)
            }
            SizeTold::Nothing if client.denies(path)? == Some(true) => Ok(Self::Other),
            SizeTold::Bytes(_) | SizeTold::Nothing => Self::alike(client, path, told.known()),
        }
    }

    /// Asks for the facts of a file at `path` that may have the size of the new one, which is `size` if
    /// that is known. Times are told in seconds, so an upload within the second of the last one waits for
    /// the next: otherwise nothing would show it.
    pub(crate) fn alike(
        client: &mut Client,
        path: &[u8],
        size: Option<u64>,
    ) -> Result<Self, Error> {
        let facts = ServerFacts { size, ..changing_facts(client, path)? };
        if facts.modified.is_some_and(|time| age::is_young(time.unix_seconds(), 0, age::now())) {
            client.control.waiter().sleep(age::TICK)?;
        }
        Ok(Self::Alike(facts))
    }

    /// Verifies that the file at `path`, of which the server now tells `size`, is not the old one, or that
    /// its digest is that of the source, which `compare` tells.
    ///
    /// # Errors
    ///
    /// Returns [`JobFault::NotReplaced`] if neither is proved, [`Error::Mismatch`] if the digests
    /// differ, and the errors of the questions.
    pub(crate) fn check(
        &self,
        client: &mut Client,
        path: &[u8],
        size: Option<u64>,
        compare: impl FnOnce(&mut Client) -> Result<Compared, Error>,
    ) -> Result<(), Error> {
        let is_other = match self {
            Self::Other => true,
            Self::Refused => size.is_some() || client.size(path)?.is_some(),
            Self::Alike(old) => {
                let sizes = old.size.zip(size);
                sizes.is_some_and(|(old, new)| old != new)
                    || differs(old, &changing_facts(client, path)?)
            }
        };
        match is_other || compare(client)?.proves(false)? {
            true => Ok(()),
            false => Err(Error::Job(JobFault::NotReplaced)),
        }
    }
}

/// Renames `old` back to `to` unless `to` exists: another program may have stored a file there. Only
/// `Absent` means that it was renamed.
pub(crate) fn put_back(client: &mut Client, old: &[u8], to: &[u8]) -> Result<Existence, Error> {
    let found = client.existence(to)?;
    if found == Existence::Absent {
        client.rename(old, to)?;
    }
    Ok(found)
}

/// Returns what `SIZE` told, which is nothing if the server is busy (4yz).
pub(super) fn unless_busy(told: Result<SizeTold, Error>) -> Result<SizeTold, Error> {
    match told {
        Err(error) if error.is_not_now() => Ok(SizeTold::Nothing),
        told => told,
    }
}

/// Returns the facts, without the size, that an upload over the file at `path` changes.
fn changing_facts(client: &mut Client, path: &[u8]) -> Result<ServerFacts, Error> {
    let (size, unique) = (None, None);
    if client.features()?.has("MLST")
        && let Some(Entry { modified: Some(Modified { time, .. }), unique, .. }) =
            client.stat(path)?
    {
        return Ok(ServerFacts { size, modified: Some(time), unique });
    }
    Ok(ServerFacts { size, modified: client.modified(path)?, unique })
}

/// A fact that either look lacks does not count.
fn differs(old: &ServerFacts, now: &ServerFacts) -> bool {
    let unique = old.unique.as_ref().zip(now.unique.as_ref());
    old.modified.zip(now.modified).is_some_and(|(then, now)| then != now)
        || unique.is_some_and(|(then, now)| then != now)
}

#[cfg(test)]
mod tests {
    use ftp_proto::TimeVal;

    use super::*;

    #[test]
    fn only_a_fact_that_was_told_twice_and_differs_proves_a_file_new() {
        let facts = |time: Option<i64>, unique: Option<&[u8]>| ServerFacts {
            size: Some(5),
            modified: time.and_then(TimeVal::from_unix_seconds),
            unique: unique.map(<[u8]>::to_vec),
        };
        for (old, now, want) in [
            (facts(Some(1), None), facts(Some(2), None), true),
            (facts(Some(2), None), facts(Some(1), None), true),
            (facts(Some(1), None), facts(Some(1), None), false),
            (facts(Some(1), None), facts(None, None), false),
            (facts(None, None), facts(Some(1), None), false),
            (facts(Some(1), Some(b"u")), facts(Some(1), Some(b"v")), true),
            (facts(Some(1), Some(b"u")), facts(Some(1), None), false),
            (facts(Some(1), Some(b"u")), facts(Some(2), Some(b"u")), true),
            (facts(None, None), facts(None, None), false),
        ] {
            assert_eq!(differs(&old, &now), want, "{old:?} {now:?}");
        }
    }
}
