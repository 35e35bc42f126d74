//! Evidence about content: from which byte a transfer may go on, and whether an existing file is
//! the whole one.
//!
//! A resume needs proof, and any contradiction ends it: a time or size other than recorded, a file
//! shorter than the kept bytes, a digest or an overlap that differs. There are four proofs: bytes
//! of this job (own), the record beside a partial download, the journal of an upload, and a digest
//! of the server. Times, sizes and the overlap never prove, because images, archives and
//! recordings of different content can end alike.
//!
//! [`decide`] returns the next step and does no I/O: the caller asks for the facts. These are the size
//! and time of the server's file ([`Origin`]; RFC 3659 §5.3 leaves it to the client to check that a
//! file is the same), and its digest, compared with that of the local file. The same facts show whether
//! a result is right, and whether the source of a copy may go.
//!
//! [`OldFile`] shows whether an upload, or a copy from another server, is what the server now has. A
//! server can confirm an upload that it stored under another name, or dropped. If its old file has the
//! size of the new one, only its other facts or a digest tell; it must neither get the time of the new
//! file nor cost the source.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use ftp_proto::{Entry, Modified, Pathname, Reply, TimeVal};

use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::client::repeat::check_renamed;
use crate::digest::{Checksum, Digest};
use crate::error::{Error, FileFact, JobFault, Phase, Unsupported};
use crate::event::{Verify, Why};
use crate::facts::ServerFacts;

/// The bytes before the resume point that a resumed transfer transfers again, to compare them.
pub(crate) const OVERLAP: u64 = 64 << 10;

/// What a resume may rely on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Resume {
    /// Only bytes of earlier attempts of the same job, in this process.
    #[default]
    Own,
    /// Also bytes of earlier runs that a record, a journal or a digest proves.
    Proven,
    /// Any bytes that exist, unless their size, their time or the overlap refutes them.
    Trusted,
}

/// A record or a journal, compared with the facts of now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fit {
    /// It belongs to this job; the first `kept` bytes are on disk, or were sent.
    Fits { kept: u64 },
    /// It belongs to another server, user, path or local file.
    Other,
    /// It belongs to another version of the file.
    Changed,
}

/// The server's digest of the bytes that exist, compared with the local digest of as many bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    NotYet,
    NoAnswer,
    Equal,
    Differs,
}

/// What is known before a transfer begins. A download extends local bytes of a server's file, an
/// upload extends the server's bytes of a local file, and a copy between servers the target's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The number of bytes that exist at the target.
    pub(crate) have: u64,
    pub(crate) size: Option<u64>,
    pub(crate) resume: Resume,
    /// Whether this job wrote all existing bytes, and a reply confirmed them.
    pub(crate) is_own: bool,
    pub(crate) record: Option<Fit>,
    /// Whether a time or a size shows that the source changed since the bytes came.
    pub(crate) is_refuted: bool,
    pub(crate) restarts: bool,
    pub(crate) digest: Asked,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Ask the server for the digest of the existing bytes, and decide again.
    AskDigest,
    /// Go on after `kept` bytes; the last `compare` of them are transferred again and compared.
    Continue {
        kept: u64,
        compare: u64,
    },
    /// The existing bytes are the whole file.
    Whole,
    FromZero(Why),
}

/// Decides from which byte a transfer begins, and asks for the digest if that decides, or if it
/// `must_ask` and the answer is not known.
///
/// # Errors
///
/// Returns the errors of `ask`.
pub(crate) fn judge<E>(
    known: &mut Known,
    must_ask: bool,
    ask: impl FnOnce() -> Result<Asked, E>,
) -> Result<Step, E> {
    let step = decide(known);
    let is_asked = must_ask && known.digest == Asked::NotYet;
    if step != Step::AskDigest && (!is_asked || matches!(step, Step::FromZero(_))) {
        return Ok(step);
    }
    known.digest = ask()?;
    Ok(decide(known))
}

/// Decides from which byte a transfer begins.
pub(crate) fn decide(known: &Known) -> Step {
    let Known { have, size, resume, is_own, record, is_refuted, restarts, digest } = *known;
    let keep = |kept: u64| match size {
        Some(size) if size == kept && resume != Resume::Trusted => Step::Whole,
        _ if !restarts => Step::FromZero(Why::NoRestart),
        _ if kept == 0 => Step::FromZero(Why::NotFlushed),
        _ => Step::Continue { kept, compare: kept.min(OVERLAP) },
    };
    match (record, digest) {
        _ if have == 0 => Step::FromZero(Why::NothingThere),
        (_, Asked::Differs) => Step::FromZero(Why::Refuted),
        _ if size.is_some_and(|size| have > size) => Step::FromZero(Why::AnotherVersion),
        (_, Asked::Equal) => keep(have),
        _ if is_own && !is_refuted => keep(have),
        (Some(Fit::Fits { kept }), _) if resume != Resume::Own && !is_refuted => {
            keep(kept.min(have))
        }
        _ if resume == Resume::Own => Step::FromZero(Why::NoRecord),
        _ if resume == Resume::Trusted && !is_refuted => keep(have),
        (_, Asked::NotYet) => Step::AskDigest,
        _ if is_refuted => Step::FromZero(Why::AnotherVersion),
        (Some(Fit::Other), _) => Step::FromZero(Why::AnotherSource),
        (Some(Fit::Changed), _) => Step::FromZero(Why::AnotherVersion),
        _ => Step::FromZero(Why::NoRecord),
    }
}

/// The pause before a size or a digest is asked for again, after a 450.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns a new checksum for [`Verify::Digest`], with the first algorithm that the server lists
/// and this library computes.
///
/// # Errors
///
/// Returns [`Error::Unsupported`] if there is no such algorithm, and the errors of the client.
pub(crate) fn checksum(client: &mut Client) -> Result<Checksum, Error> {
    Checksum::for_server(client)?.ok_or(Error::Unsupported(Unsupported::NoDigest))
}

/// Compares the number of bytes with the size that the server reports, as `verify` demands.
///
/// # Errors
///
/// Returns [`Error::Incomplete`] if the size differs. With [`Verify::Size`], also returns
/// [`Error::Unsupported`] if the server does not report the size, and the errors of the client.
/// Replies out of step are always an error: the 226 before them may answer another command.
pub(crate) fn check_size(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    verify: Verify,
) -> Result<Verify, Error> {
    let told = match client.size(path) {
        // The server may not have put the file in its place yet.
        Err(error) if error.is_not_now() && client.control.waiter().pause(PAUSE)? => {
            client.size(path)
        }
        told => told,
    };
    let size = match (verify, told) {
        (Verify::None, _) => None,
        (_, Ok(Some(size))) => Some(size),
        (_, Err(error)) if error.is_out_of_step() => return Err(error),
        (Verify::Size, Ok(None)) => client.stat(path)?.and_then(|entry| entry.size),
        (Verify::Size, Err(error)) => return Err(error),
        // The server confirmed the transfer; a failure of SIZE does not change that.
        (Verify::IfKnown | Verify::Digest, _) => None,
    };
    match size {
        Some(size) if size != bytes => Err(Error::Incomplete { bytes, announced: Some(size) }),
        Some(_) => Ok(Verify::Size),
        None if verify == Verify::Size => Err(Error::Unsupported(Unsupported::NoSize)),
        None => Ok(Verify::None),
    }
}

#[derive(Debug)]
pub(crate) enum Compared {
    Equal,
    Differs {
        here: Digest,
        there: Digest,
    },
    /// The server does not compute the digest, or not in time.
    NoAnswer(Error),
}

impl Compared {
    /// Returns the comparison as evidence. Sets `has_no_digest` if the question cost the connection.
    ///
    /// # Errors
    ///
    /// Returns the error that cost the connection.
    pub(crate) fn asked(self, client: &Client, has_no_digest: &mut bool) -> Result<Asked, Error> {
        *has_no_digest = self.lost_connection(client);
        match self {
            Self::Equal => Ok(Asked::Equal),
            Self::Differs { .. } => Ok(Asked::Differs),
            Self::NoAnswer(error) if *has_no_digest => Err(error),
            Self::NoAnswer(_) => Ok(Asked::NoAnswer),
        }
    }

    /// Returns whether the question cost the connection. A further attempt does not repeat it: the
    /// answer may take too long each time.
    pub(crate) fn lost_connection(&self, client: &Client) -> bool {
        matches!(self, Self::NoAnswer(_)) && !client.is_settled()
    }

    /// Returns whether the digest proves the file; a difference is an error.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Mismatch`] if the digests differ. If `demands` is set, also returns the
    /// reason if the server does not compute the digest.
    pub(crate) fn proves(self, demands: bool) -> Result<bool, Error> {
        match self {
            Self::Equal => Ok(true),
            Self::Differs { here, there } => Err(Error::Mismatch { here, there }),
            Self::NoAnswer(error) if demands => Err(error),
            Self::NoAnswer(_) => Ok(false),
        }
    }
}

/// Compares the server's digest of the file at `path` with `here`. A server that is busy (450) is
/// asked again until the [final reply](crate::Timeouts::final_reply) would time out.
///
/// # Errors
///
/// Returns [`Error::Cancelled`], an overall [`Error::Timeout`], and the error of replies that are out
/// of step. After other errors there is no
/// answer, although the connection may be closed.
pub(crate) fn compare_digest(
    client: &mut Client,
    path: &[u8],
    here: Digest,
) -> Result<Compared, Error> {
    let algorithm = here.algorithm;
    compare(client, here, |client| client.hash(path, Some(algorithm)))
}

/// Compares the server's digest of the first `length` bytes of the file at `path` with those of a
/// local file. `size` is the size of the server's file, if known.
///
/// # Errors
///
/// Returns the errors of [`compare_digest`], and [`Error::Local`] if the local file cannot be read.
pub(crate) fn compare_first(
    client: &mut Client,
    path: &[u8],
    (file, length): (&File, u64),
    size: Option<u64>,
) -> Result<Compared, Error> {
    let is_whole = size == Some(length);
    let checksum = Checksum::for_server(client)?.filter(|_| length > 0);
    let (Some(mut checksum), true) = (checksum, is_whole || client.can_hash_ranges()?) else {
        return Ok(Compared::NoAnswer(Error::Unsupported(Unsupported::NoDigest)));
    };
    checksum.update_from(file, length).map_err(Error::local)?;
    let here = checksum.finish();
    let algorithm = here.algorithm;
    compare(client, here, |client| match is_whole {
        true => client.hash(path, Some(algorithm)),
        false => client.hash_first(path, algorithm, length),
    })
}

fn compare(
    client: &mut Client,
    here: Digest,
    mut ask: impl FnMut(&mut Client) -> Result<Digest, Error>,
) -> Result<Compared, Error> {
    let deadline = client.control.deadline(client.config.timeouts.final_reply, Phase::FinalReply);
    loop {
        let error = match ask(client) {
            Ok(there) if there.bytes == here.bytes => return Ok(Compared::Equal),
            Ok(there) => return Ok(Compared::Differs { here, there }),
            Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
            Err(error) if error.is_out_of_step() => return Err(error),
            Err(error) => error,
        };
        if !error.is_not_now()
            || deadline.remaining().is_ok_and(|left| left < PAUSE)
            || !client.control.waiter().pause(PAUSE)?
            || deadline.remaining().is_err()
        {
            return Ok(Compared::NoAnswer(error));
        }
    }
}

/// Downloads `length` bytes at the end of the server's file, or more if the server sends more.
pub(crate) fn read_end(
    client: &mut Client,
    path: &[u8],
    (from, length): (u64, u64),
) -> Result<Vec<u8>, Error> {
    let path = Pathname::new(path)?;
    let mut download = client.retrieve_from(path.as_bytes(), from)?;
    let mut bytes = Vec::new();
    let read = (&mut download).take(length + OVERLAP).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 <= length => download.finish().map(|_| bytes),
        // More than there is: the caller sees the difference, whatever the end is.
        Ok(_) => {
            let _ = download.finish();
            Ok(bytes)
        }
        Err(error) => Err(error.into()),
    }
}

/// Judges whether a source may go after its copy of `length` bytes. `size` is that of the server's
/// file, which is the source or the copy; `is_same` says whether its known facts are those that were
/// noted, and `is_timed` whether its time is known as far as it is needed. Only facts that come from
/// one command are compared in full: a listing can round the time that `MDTM` reports.
pub(crate) fn prove_copy(
    size: Option<u64>,
    length: u64,
    is_same: bool,
    is_timed: bool,
) -> Result<(), JobFault> {
    match size {
        None => Err(JobFault::NotMoved(FileFact::Size)),
        Some(size) if size != length || !is_same => Err(JobFault::ChangedMeanwhile),
        Some(_) if !is_timed => Err(JobFault::NotMoved(FileFact::ModificationTime)),
        Some(_) => Ok(()),
    }
}

/// Returns whether a confirmation speaks of a transfer that did not succeed.
pub(super) fn is_doubtful(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    [&b"aborted"[..], b"incomplete", b"not complete", b"failed"]
        .iter()
        .any(|word| text.windows(word.len()).any(|part| part == *word))
}

/// The size and time of a server's file. The file counts as unchanged while both are the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Origin {
    pub(crate) size: Option<u64>,
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

impl ServerFacts {
    /// Returns the size and the time as `SIZE` and `MDTM` report them, and the identifier. A journal
    /// is compared with the facts of another run, so each fact always comes from the same command.
    pub(crate) fn ask_each(client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        let entry = match client.features()?.has("MLST") {
            true => client.stat(path)?,
            false => None,
        };
        let (size, modified) = (client.size(path)?, client.modified(path)?);
        let unique = entry.and_then(|entry| entry.unique);
        Ok(Self { size, modified, unique, is_directory: false })
    }
}

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
                    || old.are_of(&changing_facts(client, path)?) == Some(false)
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
        check_renamed(client, old, to)?;
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
    let mut facts = ServerFacts::default();
    if client.features()?.has("MLST")
        && let Some(Entry { modified: Some(Modified { time, .. }), unique, .. }) =
            client.stat(path)?
    {
        (facts.modified, facts.unique) = (Some(time), unique);
    } else {
        facts.modified = client.modified(path)?;
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use ftp_proto::TimeVal;

    use super::*;

    /// How the existing bytes relate to those of the source.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Truth {
        Same,
        TailDiffers,
        HeadDiffers,
    }

    /// Every case of [`Known`] with every truth: after success, the content is the source's, except
    /// in the two documented exceptions.
    #[test]
    fn no_decision_joins_other_bytes_except_as_documented() {
        let (mut cases, mut excused, mut resumed) = (0, 0, 0);
        for_each_case(|mut known, offers, ignores_restart, truth| {
            cases += 1;
            let digest = match (offers, truth) {
                (false, _) => Asked::NoAnswer,
                (true, Truth::Same) => Asked::Equal,
                (true, _) => Asked::Differs,
            };
            let step = judge(&mut known, false, || Ok::<_, ()>(digest)).unwrap();
            let (kept, compare) = match step {
                Step::Continue { kept, compare } => (kept, compare),
                Step::Whole => (known.have, 0),
                Step::FromZero(_) => (0, 0),
                Step::AskDigest => panic!("asked twice: {known:?}"),
            };
            assert!(kept <= known.have, "{known:?}");
            resumed += u32::from(kept > 0);
            let is_all = kept == known.have;
            // A server that ignores the restart sends byte 0 first. The overlap differs then,
            // unless it begins at byte 0 itself.
            let is_noticed = compare > 0
                && (ignores_restart && kept > compare
                    || truth == Truth::TailDiffers && is_all
                    || truth == Truth::HeadDiffers && compare == kept && is_all);
            let is_wrong = kept > 0
                && !is_noticed
                && (truth == Truth::TailDiffers && is_all || truth == Truth::HeadDiffers);
            // Where the server offers a digest, a result with kept bytes is compared as a whole.
            let compares =
                offers && known.digest != Asked::Equal && known.resume != Resume::Trusted;
            if is_wrong && !compares {
                excused += 1;
                assert!(!offers || known.resume == Resume::Trusted, "{known:?} {truth:?}");
                let is_recorded = known.is_own || matches!(known.record, Some(Fit::Fits { .. }));
                assert!(is_recorded || known.resume == Resume::Trusted, "{known:?} {truth:?}");
                assert!(!known.is_refuted, "{known:?} {truth:?}");
            }
        });
        assert_eq!(cases, 4 * 4 * 3 * 2 * 5 * 2 * 2 * 2 * 2 * 3);
        assert!(resumed > 0 && excused > 0);
        println!("{cases} cases, {resumed} resumed, {excused} in the documented exceptions");
    }

    fn for_each_case(mut see: impl FnMut(Known, bool, bool, Truth)) {
        let both = [false, true];
        for have in [0, 1, OVERLAP, 1 << 20] {
            for size in [None, Some(have), Some(have + 9), Some(have.saturating_sub(1))] {
                for resume in [Resume::Own, Resume::Proven, Resume::Trusted] {
                    for is_own in both {
                        for record in [
                            None,
                            Some(Fit::Other),
                            Some(Fit::Changed),
                            Some(Fit::Fits { kept: have }),
                            Some(Fit::Fits { kept: have / 2 }),
                        ] {
                            for (is_refuted, restarts) in pairs() {
                                for (offers, ignores_restart) in pairs() {
                                    for truth in
                                        [Truth::Same, Truth::TailDiffers, Truth::HeadDiffers]
                                    {
                                        let digest = Asked::NotYet;
                                        let known = Known {
                                            have,
                                            size,
                                            resume,
                                            is_own,
                                            record,
                                            is_refuted,
                                            restarts,
                                            digest,
                                        };
                                        see(known, offers, ignores_restart, truth);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn pairs() -> [(bool, bool); 4] {
        [(false, false), (false, true), (true, false), (true, true)]
    }

    #[test]
    fn nothing_is_resumed_that_nobody_asked_to_resume() {
        for_each_case(|known, _, _, _| {
            if known.resume == Resume::Own && !known.is_own {
                assert!(matches!(decide(&known), Step::FromZero(_)), "{known:?}");
            }
        });
    }

    #[test]
    fn the_reason_to_begin_again_is_the_refutation_and_not_the_record() {
        for record in [None, Some(Fit::Other), Some(Fit::Changed), Some(Fit::Fits { kept: 9 })] {
            let known = Known {
                have: 9,
                size: None,
                resume: Resume::Proven,
                is_own: true,
                record,
                is_refuted: true,
                restarts: true,
                digest: Asked::NoAnswer,
            };
            assert_eq!(decide(&known), Step::FromZero(Why::AnotherVersion), "{record:?}");
        }
    }

    #[test]
    fn a_source_goes_only_if_all_facts_of_its_copy_are_proved() {
        for size in [None, Some(8), Some(9)] {
            for (is_same, is_timed) in [(true, true), (true, false), (false, true), (false, false)]
            {
                let want = match (size, is_same, is_timed) {
                    (None, ..) => Some(Some(FileFact::Size)),
                    (Some(8), ..) | (_, false, _) => Some(None),
                    (_, true, false) => Some(Some(FileFact::ModificationTime)),
                    (_, true, true) => None,
                };
                let found = match prove_copy(size, 9, is_same, is_timed) {
                    Ok(()) => None,
                    Err(JobFault::NotMoved(fact)) => Some(Some(fact)),
                    Err(JobFault::ChangedMeanwhile) => Some(None),
                    Err(fault) => panic!("{fault:?}"),
                };
                assert_eq!(found, want, "{size:?} {is_same} {is_timed}");
            }
        }
    }

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
