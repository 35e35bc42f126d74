//! Downloads one file over several connections, each of which fetches ranges.
//!
//! The file is complete if all ranges arrived, and if its size and time on the server are the same
//! before and after the download. If the server offers a digest, the digest must also match, unless
//! the options say otherwise. Each connection is tested before use: it must lead to the same
//! version of the file, and must send from the requested byte. Some servers accept `REST`, but send
//! from byte 0 nevertheless.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use ftp_proto::{Features, RepresentationType};

use super::begin::{DownloadStart, Sink, Writing, is_corrupt, named_once};
use super::evidence::Origin;
use super::get::Get;
use super::local::{Committed, LocalFile};
use super::options::{FileOptions, Left, SkipReason};
use super::partial::named;
use super::pieces::{OpenPiece, Pieces, discard};
use super::receive::Joiner;
use super::record::{Record, SourceId};
use super::{Done, evidence};
use crate::age;
use crate::client::Client;
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind, Recovery, is_missing};
use crate::event::{Event, Note, Observer, Verify, Why};
use crate::pool::{Lent, Pool};
use crate::system::OsStrExt;
use crate::{lock, unpoisoned};

/// The smallest range in bytes: a connection costs several round trips.
const LEAST: u64 = 256 << 10;

/// Bytes that are missing, and the piece that gets them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Missing {
    /// The position of the first byte of the piece.
    piece: u64,
    from: u64,
    to: u64,
}

/// A file whose ranges have all arrived and been verified.
struct Whole {
    /// The local file, still without its final name.
    file: LocalFile,
    origin: Origin,
    done: Done,
}

impl Get<'_> {
    /// Downloads the file in ranges, over at most `most` connections of the pool (0 counts as 1);
    /// over fewer if the server refuses more.
    ///
    /// The file is complete if its size and time on the server are the same before and after the
    /// download; if the server computes digests, the digest must match too, except with
    /// [`Verify::Size`] and [`Verify::None`]. After a failure the ranges are kept beside the target
    /// ([`Left::Ranges`]). A later call resumes them, in this run or another one, if their records
    /// fit, whatever [`FileOptions::resume`] says; their last bytes are received again and
    /// compared.
    ///
    /// One connection downloads the whole file, as [`attempt`](Self::attempt) does, if the file is
    /// small, if its size or time is unknown, or if the server cannot begin at another byte than 0.
    /// An [`Event::Note`] tells the reason unless the file is small. The same holds for every target
    /// but that of [`to_path`](Self::to_path), for every type but image, and for [moves](FileOptions::moves).
    ///
    /// ```no_run
    /// use ftp_client::{Client, FileOptions, Get, Place, Pool};
    ///
    /// let pool = Pool::new(|| {
    ///     let mut client = Client::builder().connect("ftp.example.org")?;
    ///     client.login("anonymous", "guest@").map(|()| client)
    /// })
    /// .size(4);
    /// let options = FileOptions::new();
    /// let mut job = Get::to_path(Place::at("pub/a.iso"), "a.iso", &options);
    /// let done = job.attempt_over(&pool, 4, &())?;
    /// println!("{} bytes, {} of them from an earlier run", done.size, done.resumed);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`attempt`](Self::attempt) and [`Pool::take`]. If a connection does
    /// not send from the requested byte, returns [`Error::Incomplete`] with more bytes than
    /// announced.
    pub fn attempt_over(
        &mut self,
        pool: &Pool<'_>,
        most: usize,
        on: &dyn Observer,
    ) -> Result<Done, Error> {
        if self.job.options.moves {
            return self.attempt(&mut *pool.take()?, on);
        }
        let mut client = pool.take()?;
        self.begin(&mut client)?;
        if let Some(why) = self.skips(&mut client, on)? {
            return Ok(Done::skipped(why));
        }
        drop(client);
        let Some(Whole { file, origin, done }) = self.gather(pool, most, on)? else {
            return self.job.fetch(&mut *pool.take()?, on, &mut self.to);
        };
        let target = file.target().to_owned();
        let kept = match self.job.options.preserve {
            true => origin.modified.map(SystemTime::from),
            false => origin.modified.filter(|_| self.job.is_newer()).map(age::lasting),
        };
        let start = DownloadStart::at_0(Writing::File(file));
        let time = self.job.time.or(kept);
        if self.job.publish(start, done.size, time)? == Committed::Exists {
            return Ok(Done::skipped(SkipReason::NowExists));
        }
        let (source, target) = (self.job.place.path(), target.as_os_str().as_bytes());
        on.event(Event::Done { source, target, bytes: done.bytes, verified: done.verified });
        Ok(done)
    }

    /// Downloads the file as [`attempt_over`](Self::attempt_over) does, but neither sets its time
    /// nor gives it its name. Returns `None`, after a note, if a single connection must be used.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`attempt_over`](Self::attempt_over).
    fn gather(
        &mut self,
        pool: &Pool<'_>,
        most: usize,
        on: &dyn Observer,
    ) -> Result<Option<Whole>, Error> {
        let is_image = self.job.options.representation == RepresentationType::Image;
        let target = match self.to {
            Sink::Path(target) if is_image && self.job.like.is_none() => target,
            _ => return Ok(None),
        };
        let mut client = pool.take()?;
        let gathered = match self.segments(&mut client, target, on) {
            Ok(Ok(segments)) => {
                let gathered = segments.gather(pool, client, most);
                if gathered.is_err() && segments.pieces.kept().is_ok_and(|kept| !kept.is_empty()) {
                    let first = segments.pieces.first().to_owned();
                    self.job.past.ranges = Some(first.clone());
                    self.job.past.left = Left::Ranges(first);
                }
                gathered
            }
            Ok(Err(why)) => Ok(Err(why)),
            Err(error) => Err(given_back(client, error)),
        };
        match gathered {
            Ok(Ok(whole)) => Ok(Some(whole)),
            Ok(Err(why)) => {
                if let Some(note) = why {
                    on.event(Event::Note { target: self.job.place.path(), note });
                }
                Ok(None)
            }
            Err(Error::Local(error)) => Err(Error::local(named_once(target, &error))),
            Err(error) => Err(error),
        }
    }

    /// Prepares the download in ranges, or returns why a single connection must be used. Without a
    /// reason, the file is small, or may be missing.
    fn segments<'s>(
        &'s mut self,
        client: &mut Client,
        target: &'s Path,
        on: &'s dyn Observer,
    ) -> Result<Result<Segments<'s>, Option<Note<'static>>>, Error> {
        let path = self.job.place.path();
        let origin = match Origin::ask(client, path) {
            Err(error) if error.is_not_now() => Origin::default(),
            origin => origin?,
        };
        let (Some(size), Some(_)) = (origin.size, origin.modified) else {
            // A file of which nothing is known may be missing.
            let is_known = origin != Origin::default();
            return Ok(Err(is_known.then_some(Note::OneConnectionNoFacts)));
        };
        if size < 2 * LEAST || self.job.options.most_bytes.is_some_and(|most| size > most) {
            // The file was larger in an earlier attempt.
            if let Some(first) = self.job.past.ranges.take() {
                discard(&first).map_err(Error::local)?;
            }
            return Ok(Err(None));
        }
        if self.job.options.verify == Verify::Digest {
            // Fails before the download if the server cannot compute a digest.
            evidence::checksum(client)?;
        }
        let Some(record) = Record::new(SourceId::ask(client, &self.job.place)?, origin) else {
            return Ok(Err(Some(Note::OneConnectionNoIdentity)));
        };
        let pieces = Pieces::of(target, self.job.parts_of(target), self.job.targets, record)
            .map_err(Error::local)?;
        if std::mem::take(&mut self.job.past.from_start) {
            pieces.discard().map_err(Error::local)?;
        }
        self.job.past.file = None;
        let (options, features) = (&self.job.options, client.features()?);
        Ok(Ok(Segments { path, options, pieces, origin, size, features, on }))
    }
}

/// Lets the pool have a connection back after a failure. A cancelled session is ended in order.
fn given_back(client: Lent<'_>, error: Error) -> Error {
    if matches!(error, Error::Cancelled) {
        // The caller needs to know only the first error.
        let _ = client.end();
    }
    error
}

struct Segments<'a> {
    path: &'a [u8],
    options: &'a FileOptions,
    pieces: Pieces,
    origin: Origin,
    size: u64,
    features: Features,
    on: &'a dyn Observer,
}

impl Segments<'_> {
    /// Downloads and joins all ranges, or returns why a single connection must be used. If kept
    /// bytes turn out to be other ones, begins once more, without them.
    fn gather<'p>(
        &self,
        pool: &Pool<'p>,
        mut client: Lent<'p>,
        mut most: usize,
    ) -> Result<Result<Whole, Option<Note<'static>>>, Error> {
        if let Some(why) = self.pieces.stale().map_err(Error::local)? {
            self.begins_at_0(why);
        }
        loop {
            let kept = self.pieces.kept().map_err(Error::local)?;
            if kept.is_empty() {
                self.pieces.remove().map_err(Error::local)?;
            }
            let missing = plan(&kept, self.size, most);
            if missing.iter().any(|missing| missing.from > 0) {
                match self.restart_fault(&mut client) {
                    Ok(None) => {}
                    Ok(Some(_)) => {
                        self.pieces.remove().map_err(Error::local)?;
                        return Ok(Err(Some(Note::OneConnectionNoRest)));
                    }
                    Err(error) => return Err(given_back(client, error)),
                }
            }
            let began = Instant::now();
            let bytes = missing.iter().map(|missing| missing.to - missing.from).sum();
            let before = self.size - bytes;
            let why = match self.fetch((pool, most), client, &missing, before)? {
                ReceivedRanges::All => {
                    client = pool.take()?;
                    match self.join(&mut client, &kept, &missing) {
                        Ok((file, verified)) => {
                            let done = Done::moved(bytes, before, began.elapsed());
                            let done = Done { verified, ..done };
                            return Ok(Ok(Whole { file, origin: self.origin, done }));
                        }
                        // The kept bytes were wrong after all.
                        Err(Error::Mismatch { .. }) if before > 0 => Why::Refuted,
                        Err(error) => return Err(given_back(client, error)),
                    }
                }
                ReceivedRanges::Others => {
                    client = pool.take()?;
                    Why::TailDiffers
                }
                // Some servers limit transfers: one connection gets the rest.
                ReceivedRanges::Refused(_) if most > 1 => {
                    (client, most) = (pool.take()?, 1);
                    continue;
                }
                ReceivedRanges::Refused(error) => return Err(error),
            };
            self.begins_at_0(why);
            self.pieces.discard().map_err(Error::local)?;
        }
    }

    fn begins_at_0(&self, why: Why) {
        let target = self.pieces.first().as_os_str().as_bytes();
        self.on.event(Event::FromZero { target, why });
    }

    /// Downloads all missing ranges, over the connection `first` and others that the pool lends, at
    /// most `most` in all.
    fn fetch<'p>(
        &self,
        (pool, most): (&Pool<'p>, usize),
        first: Lent<'p>,
        missing: &[Missing],
        before: u64,
    ) -> Result<ReceivedRanges, Error> {
        if missing.is_empty() {
            return Ok(ReceivedRanges::All);
        }
        let target = self.pieces.target().as_os_str().as_bytes();
        let total = Some(self.size);
        self.on.event(Event::Begun { source: self.path, target, at: before, total });
        let queue = RangeQueue::of(missing);
        std::thread::scope(|threads| {
            for number in 1..most.min(missing.len()) {
                let queue = &queue;
                let thread = std::thread::Builder::new().name(format!("range {number}"));
                // Without the additional thread, the others fetch all ranges.
                let _ = thread.spawn_scoped(threads, move || self.work(pool, None, queue));
            }
            self.work(pool, Some(first), &queue);
        });
        queue.end()
    }

    /// Fetches ranges until none is left. The thread that begins with a connection waits for
    /// another one if it loses its own; the others then leave their ranges to it.
    fn work<'p>(&self, pool: &Pool<'p>, first: Option<Lent<'p>>, queue: &RangeQueue) {
        let waits = first.is_some();
        // The first connection was tested before the ranges were planned.
        let mut proved = first;
        while queue.has_more() {
            let (mut client, is_proved) = match proved.take() {
                Some(client) => (client, true),
                None => match if waits { pool.take() } else { pool.try_take() } {
                    Ok(client) => (client, false),
                    // Others have the connections that the server accepts.
                    Err(Error::Fewer(_)) => return,
                    Err(error) => return queue.failed(error),
                },
            };
            let Some(missing) = queue.next() else { return };
            let tested = if is_proved { Ok(()) } else { self.prove(&mut client) };
            let tested = tested.map_or_else(refused, |()| Ok(ReceivedRanges::All));
            let received = match tested {
                Ok(ReceivedRanges::All) => self.receive(&mut client, missing),
                tested => tested,
            };
            match received {
                Ok(ReceivedRanges::All) => proved = Some(client),
                Ok(ReceivedRanges::Others) => return queue.found_others(),
                Ok(ReceivedRanges::Refused(error)) => return queue.refused(error),
                Err(error) => queue.failed(given_back(client, error)),
            }
        }
    }

    /// Joins the ranges. Verifies that the server's file has not changed, and that the ranges add
    /// up to it.
    fn join(
        &self,
        client: &mut Client,
        kept: &[(u64, u64)],
        missing: &[Missing],
    ) -> Result<(LocalFile, Verify), Error> {
        if let Err(error) = self.check_version(client) {
            if error.kind() == ErrorKind::Integrity {
                self.pieces.discard().map_err(Error::local)?;
            }
            return Err(error);
        }
        let mut whole =
            self.pieces.join(&together(kept, missing), self.size).map_err(Error::local)?;
        let verified = match self.compare_digest(client, &whole) {
            Ok(verified) => verified,
            Err(error) => {
                if error.kind() == ErrorKind::Integrity {
                    whole.discard();
                }
                return Err(error);
            }
        };
        // The remaining pieces belong to other versions.
        self.pieces.remove().map_err(Error::local)?;
        Ok((whole, verified))
    }

    fn compare_digest(&self, client: &mut Client, whole: &LocalFile) -> Result<Verify, Error> {
        let checksum = match self.options.verify {
            Verify::Digest => Some(evidence::checksum(client)?),
            Verify::IfKnown => Checksum::for_server(client)?,
            Verify::None | Verify::Size => None,
        };
        let Some(mut checksum) = checksum else { return Ok(Verify::Size) };
        checksum.update_from(whole.file(), self.size).map_err(Error::local)?;
        let compared = evidence::compare_digest(client, self.path, checksum.finish())?;
        let is_equal = compared.proves(self.options.verify == Verify::Digest)?;
        Ok(if is_equal { Verify::Digest } else { Verify::Size })
    }

    /// Returns the error if the server does not send from the requested byte over this connection.
    /// Requests the last byte of the file, so that the server has one byte to send.
    fn restart_fault(&self, client: &mut Client) -> Result<Option<Error>, Error> {
        let ended = client
            .retrieve_range(self.path, self.size - 1, 1)
            .and_then(|download| download.copy_to(&mut io::sink()));
        match ended {
            Ok(report) if !report.is_stopped => Ok(None),
            Ok(_) => Ok(Some(Error::Incomplete { bytes: 2, announced: Some(1) })),
            Err(error @ Error::Incomplete { .. }) => Ok(Some(error)),
            // The server lacks the command or cannot resume downloads; any other refusal is an
            // error.
            Err(error @ Error::Refused { .. }) if error.reply().is_some_and(is_missing) => {
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Verifies that the size and time of the server's file are still the same.
    fn check_version(&self, client: &mut Client) -> Result<(), Error> {
        let now = Origin::ask(client, self.path)?;
        let is_same = now.size == Some(self.size) && self.origin.is_still(now) == Some(true);
        if is_same { Ok(()) } else { Err(Error::Changed) }
    }

    /// Verifies that a new connection leads to the same file, since several hosts can share a name.
    /// Also verifies that the server sends from the requested byte. The features need no proof: a
    /// server that does not know `RANG` refuses it.
    fn prove(&self, client: &mut Client) -> Result<(), Error> {
        client.know_features(&self.features);
        self.check_version(client)?;
        self.restart_fault(client)?.map_or(Ok(()), Err)
    }

    /// Downloads one range into its piece, after the last bytes that the piece has.
    fn receive(&self, client: &mut Client, missing: Missing) -> Result<ReceivedRanges, Error> {
        let Missing { piece, from, to } = missing;
        let OpenPiece { file, kept, compare } = self.pieces.open(piece).map_err(Error::local)?;
        if piece + kept != from {
            let message = "another program changed it during the download";
            let path = file.path_or_target();
            return Err(Error::local(named(path, &io::Error::other(message))));
        }
        let length = compare + (to - from);
        let had_no_range = client.no_range;
        let download = match client.retrieve_range(self.path, from - compare, length) {
            Ok(download) => download,
            Err(error) => return refused(error),
        };
        let mut file = Writing::File(file);
        let mut joiner = Joiner {
            target: &mut file,
            at: kept - compare,
            left: compare,
            cuts: false,
            written: 0,
            is_other: false,
            is_cut: false,
            checksum: &mut None,
            on: self.on,
        };
        let rate = self.options.rate_limit.as_ref();
        let copied = download.copy_to_limited(&mut joiner, rate);
        let is_other = joiner.is_other;
        // Joining reads the bytes from memory, which shows no failed write.
        let stored = match (&copied, &mut file) {
            (Ok(_), Writing::File(file)) => file.settle().map_err(Error::local),
            _ => Ok(()),
        };
        let Err(error) = copied.and(stored) else { return Ok(ReceivedRanges::All) };
        if is_other {
            return Ok(ReceivedRanges::Others);
        }
        let is_long = matches!(error, Error::Incomplete { bytes, .. } if bytes > length);
        match file {
            Writing::File(mut file) if is_corrupt(&error) => {
                file.discard();
            }
            Writing::File(mut file) => {
                // The piece keeps the beginning of its range, unless the server sent too much.
                if is_long {
                    file.restore();
                }
                // After an error, fewer bytes are resumed.
                let _ = file.end();
            }
            Writing::Stream(_) | Writing::Target(_) => {}
        }
        // A server that goes on after the end of a range can still begin at a byte (REST).
        match is_long && client.no_range && !had_no_range {
            true => self.receive(client, missing),
            false => Err(error),
        }
    }
}

enum ReceivedRanges {
    All,
    /// A piece had other bytes than the server's file.
    Others,
    /// The server refused a transfer for now, before its first byte.
    Refused(Error),
}

/// Tells a transfer that the server refused for now from other failures.
fn refused(error: Error) -> Result<ReceivedRanges, Error> {
    if error.may_be_of_one_connection() { Ok(ReceivedRanges::Refused(error)) } else { Err(error) }
}

/// The ranges that no thread has begun, and how those that were begun ended.
struct RangeQueue(Mutex<Ranges>);

struct Ranges {
    /// The last element is the next one.
    missing: Vec<Missing>,
    has_others: bool,
    failure: Option<Error>,
    /// The refusal of a range that another connection may get.
    refusal: Option<Error>,
}

impl RangeQueue {
    fn of(missing: &[Missing]) -> Self {
        let missing = missing.iter().rev().copied().collect();
        Self(Mutex::new(Ranges { missing, has_others: false, failure: None, refusal: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        lock(&self.0)
    }

    fn has_more(&self) -> bool {
        !self.lock().missing.is_empty()
    }

    fn next(&self) -> Option<Missing> {
        self.lock().missing.pop()
    }

    /// Records a failure. If the server may recover, the other ranges are still worth fetching.
    fn failed(&self, error: Error) {
        let mut ranges = self.lock();
        if error.recovery() != Recovery::TryAgain {
            ranges.missing.clear();
        }
        ranges.failure.get_or_insert(error);
    }

    fn refused(&self, error: Error) {
        self.lock().refusal.get_or_insert(error);
    }

    fn found_others(&self) {
        let mut ranges = self.lock();
        ranges.missing.clear();
        ranges.has_others = true;
    }

    fn end(self) -> Result<ReceivedRanges, Error> {
        let ranges = unpoisoned(self.0.into_inner());
        match ranges.failure {
            _ if ranges.has_others => Ok(ReceivedRanges::Others),
            Some(error) => Err(error),
            None => Ok(ranges.refusal.map_or(ReceivedRanges::All, ReceivedRanges::Refused)),
        }
    }
}

/// Divides the missing bytes into about `count` ranges of equal length, or fewer if ranges would be
/// smaller than `LEAST`.
fn plan(kept: &[(u64, u64)], size: u64, count: usize) -> Vec<Missing> {
    let mut gaps = Vec::new();
    let (mut piece, mut from) = (0, 0);
    for (start, end) in kept.iter().copied().chain([(size, size)]) {
        if start > from {
            gaps.push(Missing { piece, from, to: start });
        }
        if end > from {
            (piece, from) = (start, end);
        }
    }
    let all: u64 = gaps.iter().map(|gap| gap.to - gap.from).sum();
    let length = all.div_ceil(count.max(1) as u64).max(LEAST);
    let split = |gap: Missing| {
        let parts = (gap.to - gap.from).div_ceil(length);
        let step = (gap.to - gap.from).div_ceil(parts);
        (0..parts).map(move |part| {
            let from = gap.from + part * step;
            let piece = if part == 0 { gap.piece } else { from };
            Missing { piece, from, to: gap.to.min(from + step) }
        })
    };
    gaps.into_iter().flat_map(split).collect()
}

/// Returns, in order, the range that each piece covers once the missing ranges have arrived.
fn together(kept: &[(u64, u64)], missing: &[Missing]) -> Vec<(u64, u64)> {
    let mut ranges: std::collections::BTreeMap<u64, u64> = kept.iter().copied().collect();
    for Missing { piece, to, .. } in missing {
        let end = ranges.entry(*piece).or_insert(*to);
        *end = (*end).max(*to);
    }
    ranges.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    #[test]
    fn segments_cover_the_missing_ranges() {
        for (kept, count, want) in [
            (&[][..], 1, &[(0, 0, 8)][..]),
            (&[], 2, &[(0, 0, 4), (4, 4, 8)]),
            (&[], 4, &[(0, 0, 2), (2, 2, 4), (4, 4, 6), (6, 6, 8)]),
            (&[(0, 8)], 4, &[]),
            (&[(0, 1), (4, 8)], 1, &[(0, 1, 4)]),
            (&[(0, 1), (4, 5)], 2, &[(0, 1, 4), (4, 5, 8)]),
            (&[(4, 8)], 2, &[(0, 0, 2), (2, 2, 4)]),
            (&[(2, 3), (5, 6)], 3, &[(0, 0, 2), (2, 3, 5), (5, 6, 8)]),
            (&[(0, 3), (1, 2), (4, 8)], 1, &[(0, 3, 4)]),
        ] {
            let kept: Vec<_> = kept.iter().map(|(start, end)| (start * M, end * M)).collect();
            let found = plan(&kept, 8 * M, count);
            let want: Vec<_> = want
                .iter()
                .map(|(piece, from, to)| Missing { piece: piece * M, from: from * M, to: to * M })
                .collect();
            assert_eq!(found, want, "{kept:?} {count}");
            let mut end = 0;
            for (start, last) in together(&kept, &found) {
                assert!(start <= end, "{kept:?} {count}");
                end = end.max(last);
            }
            assert_eq!(end, 8 * M, "{kept:?} {count}");
        }
        assert_eq!(plan(&[], 3 * LEAST, 8).len(), 3);
        assert_eq!(plan(&[], 3 * LEAST, 0).len(), 1);
    }
}
