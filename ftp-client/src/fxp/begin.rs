//! Where a copy begins: after the bytes of the target that are proved to be the beginning of the
//! source's file, otherwise at byte 0.
//!
//! Two things prove: both servers compute the same digest of the bytes; or they came from earlier
//! attempts of the same job, the source's file has not changed since (own), and both servers send the
//! same last bytes of them. Sizes and times of the two files prove nothing, and a number of own bytes
//! may come from another writer, or from another server of that name.
//!
//! Before that, whether the two sessions, or their paths, lead to one file.

use std::io::Read as _;

use ftp_proto::{Entry, Pathname, TimeVal, TransferMode};

use super::RemoteFile;
use super::pair::Failure;
use crate::client::Client;
use crate::client::objects::SizeTold;
use crate::digest::HashAlgorithm;
use crate::error::fxp::Side;
use crate::error::{Error, JobFault};
use crate::event::{Observer, Why};
use crate::file::evidence::{Asked, Known, OVERLAP, Resume, Step, judge, read_end};

/// The size and time of the source's file. Without a known time, there is no version: another file
/// could have the same size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Version {
    size: u64,
    time: TimeVal,
}

#[derive(Debug, Default)]
pub(crate) struct CopyMemory {
    /// The source's file when the current attempt began.
    now: Option<Version>,
    /// The source's file whose bytes the target received.
    sent: Option<Version>,
    /// The size of the target's file when an attempt last began at byte 0. A server may keep that
    /// file until the new one is complete.
    replaced: Option<u64>,
    /// The size of the target's file when the current attempt began.
    have: Option<u64>,
    /// Whether a question for a digest cost a connection.
    pub(crate) has_no_digest: bool,
}

impl CopyMemory {
    /// Returns whether the target's file of `have` bytes consists of bytes of earlier attempts.
    fn owns(&self, have: u64) -> bool {
        self.sent.is_some() && self.sent == self.now && self.replaced != Some(have)
    }

    /// Records the end of an attempt. `has_begun` tells whether the target began to store.
    pub(super) const fn note(&mut self, start: CopyStart, has_begun: bool) {
        if !has_begun {
            return;
        }
        if start.offset == 0 {
            self.replaced = self.have;
        }
        self.sent = self.now;
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct CopyStart {
    /// The number of bytes that the target keeps.
    pub(crate) offset: u64,
    /// The size of the source's file, if it was asked for.
    pub(crate) size: Option<u64>,
    /// Whether the target has a file that is not empty, if its size was asked for.
    pub(crate) has_bytes: bool,
    /// Whether the target has the whole file, so that nothing is copied.
    pub(crate) is_whole: bool,
    /// Whether a digest proved the kept bytes.
    pub(crate) is_digested: bool,
    /// Why the copy begins at byte 0, although bytes exist that could have been kept.
    pub(crate) why: Option<Why>,
}

/// Decides where a copy begins. Without a memory, [`Resume::Own`] asks for nothing; with one, a
/// server that refuses to answer only makes a resume impossible.
pub(super) fn find(
    source: &mut RemoteFile<'_>,
    target: &mut RemoteFile<'_>,
    resume: Resume,
    mut memory: Option<&mut CopyMemory>,
    on: &dyn Observer,
) -> Result<CopyStart, Failure> {
    let of_source = |error| (Side::Source, error);
    let of_target = |error| (Side::Target, error);
    if resume == Resume::Own && memory.is_none() {
        return Ok(CopyStart::default());
    }
    let have = match &memory {
        // The server may not have noticed yet that the earlier attempt has ended.
        Some(memory) if memory.sent.is_some() => {
            target.client.size_at_rest(target.path, on).map(SizeTold::known)
        }
        _ => target.client.size(target.path),
    };
    let is_asked = resume != Resume::Own;
    let have = told(have, is_asked).map_err(of_target)?;
    let mut size = None;
    if let Some(memory) = &mut memory {
        size = told(source.client.size(source.path), is_asked).map_err(of_source)?;
        let time = told(source.client.modified(source.path), is_asked).map_err(of_source)?;
        memory.now = size.zip(time).map(|(size, time)| Version { size, time });
        memory.have = have;
    }
    let start = CopyStart { size, ..CopyStart::default() };
    let Some(have) = have.filter(|have| *have > 0) else { return Ok(start) };
    let start = CopyStart { has_bytes: true, ..start };
    let is_own = memory.as_ref().is_some_and(|memory| memory.owns(have));
    if resume == Resume::Own && !is_own {
        let is_known = memory.is_some_and(|memory| memory.sent.is_some());
        return Ok(CopyStart { why: is_known.then_some(Why::NoRecord), ..start });
    }
    if memory.is_none() {
        size = source.client.size(source.path).map_err(of_source)?;
    }
    let start = CopyStart { size, ..start };
    let Some(size) = size else { return Ok(CopyStart { why: Some(Why::NoRecord), ..start }) };
    let trusts = resume == Resume::Trusted;
    let mut known = Known {
        have,
        size: Some(size),
        resume,
        is_own,
        record: None,
        is_refuted: trusts && !is_own && have <= size && is_newer(source, target)?,
        restarts: true,
        digest: Asked::NotYet,
    };
    let has_no_digest = memory.as_ref().is_some_and(|memory| memory.has_no_digest);
    let step = judge(&mut known, is_own && !trusts, || match trusts || has_no_digest {
        // The caller renounced proofs, but the source's file is newer than the target's; or the
        // question cost an earlier attempt a connection.
        true => Ok(Asked::NoAnswer),
        false => compare_digests(source, target, (have, size)).inspect_err(|_| {
            if let Some(memory) = &mut memory {
                memory.has_no_digest = true;
            }
        }),
    })?;
    let is_digested = known.digest == Asked::Equal;
    let is_kept = matches!(step, Step::Whole | Step::Continue { .. });
    let step = match is_kept && is_own && !is_digested && !trusts {
        true => match compare_ends(source, target, have) {
            Ok(None) => step,
            Ok(Some(why)) => Step::FromZero(why),
            Err(failure) => {
                // The next attempt begins at byte 0.
                memory.map(std::mem::take);
                return Err(failure);
            }
        },
        false => step,
    };
    let (offset, is_whole, why) = match step {
        // A digest proves that the file exists. A size may belong to an interrupted upload whose
        // file lacks its final name.
        Step::Whole if is_digested => (size, true, None),
        Step::Whole => (size, target.client.shows(target.path).map_err(of_target)?, None),
        Step::Continue { kept, .. } if kept == size => {
            (kept, target.client.shows(target.path).map_err(of_target)?, None)
        }
        Step::Continue { kept, .. } => (kept, false, None),
        Step::FromZero(why) => (0, false, Some(why)),
        Step::AskDigest => (0, false, Some(Why::NoRecord)),
    };
    Ok(CopyStart { offset, is_whole, is_digested, why, ..start })
}

/// Compares the last of the first `have` bytes of both files. Returns why they are not kept: they
/// differ, or a server does not send them.
fn compare_ends(
    source: &mut RemoteFile<'_>,
    target: &mut RemoteFile<'_>,
    have: u64,
) -> Result<Option<Why>, Failure> {
    let length = have.min(OVERLAP);
    let from = have - length;
    // The source's file may go on, the target's may not.
    let end = source.client.retrieve_range(source.path, from, length).and_then(|mut part| {
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes)?;
        part.finish().map(|_| bytes)
    });
    let of_source = sent(source.client, end).map_err(|error| (Side::Source, error))?;
    let end = read_end(target.client, target.path, (from, length));
    let of_target = sent(target.client, end).map_err(|error| (Side::Target, error))?;
    Ok(match (of_source, of_target) {
        (Some(source), Some(target)) if source == target => None,
        (Some(_), Some(_)) => Some(Why::TailDiffers),
        _ => Some(Why::NoRecord),
    })
}

/// Returns the bytes that a server has sent; `None` if it refused, or sent fewer.
fn sent(client: &mut Client, bytes: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
    let bytes = match bytes {
        Err(Error::Incomplete { .. }) => None,
        bytes => answered(bytes)?,
    };
    // The client may use another mode for its own transfers.
    client.put_mode_in_force(TransferMode::Stream).map(|()| bytes)
}

/// Returns whether the source's file is newer than the target's, as far as both servers say.
fn is_newer(source: &mut RemoteFile<'_>, target: &mut RemoteFile<'_>) -> Result<bool, Failure> {
    let modified = source.client.modified(source.path).map_err(|error| (Side::Source, error))?;
    let Some(modified) = modified else { return Ok(false) };
    let written = target.client.modified(target.path).map_err(|error| (Side::Target, error))?;
    Ok(written.is_some_and(|written| written.unix_seconds() < modified.unix_seconds()))
}

/// Returns the first algorithm of the target that the source offers too.
pub(crate) fn common_algorithm(
    source: &mut Client,
    target: &mut Client,
) -> Result<Option<HashAlgorithm>, Failure> {
    let there = target.hash_algorithms().map_err(|error| (Side::Target, error))?;
    let here = source.hash_algorithms().map_err(|error| (Side::Source, error))?;
    Ok(there.into_iter().find(|algorithm| here.contains(algorithm)))
}

/// Compares the digest of the target's file, which has `have` bytes, with the digest of as many
/// bytes of the source's file, which has `size` bytes.
fn compare_digests(
    source: &mut RemoteFile<'_>,
    target: &mut RemoteFile<'_>,
    (have, size): (u64, u64),
) -> Result<Asked, Failure> {
    let of_source = |error| (Side::Source, error);
    let of_target = |error| (Side::Target, error);
    let Some(algorithm) = common_algorithm(source.client, target.client)? else {
        return Ok(Asked::NoAnswer);
    };
    if have < size && !source.client.can_hash_ranges().map_err(of_source)? {
        return Ok(Asked::NoAnswer);
    }
    let first = match have < size {
        true => source.client.hash_first(source.path, algorithm, have),
        false => source.client.hash(source.path, Some(algorithm)),
    };
    let Some(first) = answered(first).map_err(of_source)? else { return Ok(Asked::NoAnswer) };
    let whole = target.client.hash(target.path, Some(algorithm));
    let Some(whole) = answered(whole).map_err(of_target)? else { return Ok(Asked::NoAnswer) };
    Ok(if first == whole { Asked::Equal } else { Asked::Differs })
}

/// Returns `None` for a refusal too, unless the caller asked to resume.
fn told<T>(answer: Result<Option<T>, Error>, is_asked: bool) -> Result<Option<T>, Error> {
    if is_asked { answer } else { answered(answer).map(Option::flatten) }
}

/// Returns `None` for a refusal, or a reply that means nothing.
pub(crate) fn answered<T>(reply: Result<T, Error>) -> Result<Option<T>, Error> {
    match reply {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Refused { .. } | Error::Unsupported(_) | Error::Protocol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether two sessions are with the same server: compares the addresses, or the hosts and
/// ports that the caller named if a proxy hides the addresses.
fn share_server([from, at]: [&Client; 2]) -> bool {
    match (from.peer_addr(), at.peer_addr()) {
        (Some(one), Some(other)) => one == other,
        _ => match (from.identity(), at.identity()) {
            (Some(one), Some(other)) => {
                one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
            }
            _ => false,
        },
    }
}

pub(crate) fn share_login([from, at]: [&Client; 2]) -> bool {
    share_server([from, at]) && from.user() == at.user()
}

/// Checks that a copy is not of a file onto itself: that `target`, and `stored` if the copy has a temporary
/// name in the same directory, are not the path `source` of one login. Through links, or through two
/// addresses of one server, two paths can lead to one file all the same: what the copy replaces stays whole
/// until the copy is complete.
///
/// # Errors
///
/// Returns [`JobFault::OntoItself`], and errors of the connections.
pub(crate) fn check_apart(
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
    stored: Option<&[u8]>,
) -> Result<(), Error> {
    // A server that does not report its current directory shows nothing.
    if share_login([from, at])
        && let Some(names) = from.names_from_root(source)
        && let Some(there) = at.names_from_root(target)
        && let (Some((own, directory)), Some((name, above))) =
            (names.split_last(), there.split_last())
        && directory == above
        && (own == name || stored.is_some_and(|stored| Pathname::split(stored).1 == own))
    {
        return Err(Error::Job(JobFault::OntoItself));
    }
    Ok(())
}

/// Returns the entry of an object if `MLST` gives `unique`.
///
/// # Errors
///
/// Returns errors of the connection. A refusal shows nothing.
pub(crate) fn identified(client: &mut Client, path: &[u8]) -> Result<Option<Entry>, Error> {
    if !answered(client.features())?.is_some_and(|features| features.has("MLST")) {
        return Ok(None);
    }
    let entry = answered(client.stat(path))?.flatten();
    Ok(entry.filter(|entry| entry.unique.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Resume::{Own, Proven, Trusted};

    /// The byte at which each copy of a file of 9 bytes begins. Only own bytes and equal digests
    /// are kept, unless the caller trusts whatever exists.
    #[test]
    fn a_copy_keeps_only_own_bytes_and_bytes_with_an_equal_digest() {
        use Asked::{Differs, Equal, NoAnswer};
        // The caller's wish, the target's size, whether its bytes are own, whether the source's
        // file is newer, the answer to the question for digests: the first byte to copy.
        for (resume, have, is_own, is_newer, digest, want) in [
            // A job that resumes only its own bytes never asks for a digest.
            (Own, 0, false, false, Equal, 0),
            (Own, 7, true, false, Differs, 7),
            (Own, 9, true, false, Differs, 9),
            (Own, 10, true, false, Equal, 0),
            (Own, 7, false, false, Equal, 0),
            (Own, 9, false, false, Equal, 0),
            // A shorter file, perhaps of another program.
            (Proven, 7, false, false, Equal, 7),
            (Proven, 7, false, false, Differs, 0),
            (Proven, 7, false, false, NoAnswer, 0),
            // Equally long, perhaps of another program.
            (Proven, 9, false, false, Equal, 9),
            (Proven, 9, false, false, Differs, 0),
            (Proven, 9, false, false, NoAnswer, 0),
            // Longer: not the beginning of the source's file.
            (Proven, 10, false, false, Equal, 0),
            (Proven, 7, true, false, NoAnswer, 7),
            (Proven, 9, true, false, NoAnswer, 9),
            (Proven, 10, true, false, NoAnswer, 0),
            // The caller trusts the bytes that exist: only sizes and times refute.
            (Trusted, 7, false, false, NoAnswer, 7),
            (Trusted, 9, false, false, NoAnswer, 9),
            (Trusted, 10, false, false, NoAnswer, 0),
            (Trusted, 7, false, true, Equal, 0),
            (Trusted, 9, false, true, Equal, 0),
        ] {
            let mut known = Known {
                have,
                size: Some(9),
                resume,
                is_own,
                record: None,
                is_refuted: is_newer,
                restarts: true,
                digest: Asked::NotYet,
            };
            let asked = if resume == Trusted { NoAnswer } else { digest };
            let step = judge(&mut known, false, || Ok::<_, Error>(asked)).unwrap();
            let begins = match step {
                Step::Whole => 9,
                Step::Continue { kept, .. } => kept,
                Step::FromZero(_) => 0,
                Step::AskDigest => panic!("asked twice"),
            };
            assert_eq!(begins, want, "{known:?}");
        }
    }

    #[test]
    fn bytes_are_own_while_the_source_stays_the_same() {
        let version = |size, day| {
            let time = TimeVal::new(2026, 11, day, 12, 0, 0)?;
            Some(Version { size, time })
        };
        // The source's file before and after, the size that the target had before, whether the
        // target began: whether 7 bytes at the target are own.
        for (before, after, had, has_begun, want) in [
            (version(9, 1), version(9, 1), None, true, true),
            (version(9, 1), version(9, 1), Some(5), true, true),
            // The target may still have the old file.
            (version(9, 1), version(9, 1), Some(7), true, false),
            (version(9, 1), version(9, 1), None, false, false),
            (version(9, 1), version(9, 2), None, true, false),
            (version(9, 1), version(8, 1), None, true, false),
            // Without a time, another file of that size looks the same.
            (None, None, None, true, false),
        ] {
            let mut memory = CopyMemory { now: before, have: had, ..CopyMemory::default() };
            memory.note(CopyStart::default(), has_begun);
            memory.now = after;
            assert_eq!(memory.owns(7), want, "{before:?} {after:?} {had:?} {has_begun}");
        }
    }
}
