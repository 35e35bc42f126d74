//! Downloads one file over several connections, each of which fetches ranges: for
//! `get --segments N`, and for the large files of `mirror -j N`.
//!
//! The file is complete if all ranges arrived, and if its size and time on the server are the same
//! before and after the download. If the server offers a digest, the digest must also match, unless
//! `--verify` is `size` or `none`. Each connection is tested before use: it must lead to the same
//! version of the file, and must send from the requested byte. Some servers accept `REST`, but send
//! from byte 0 nevertheless.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use ftp_client::{
    Checksum, Client, Committed, Ended, Error, LocalFile, NotLent, Origin, Pieces, Place,
    RateLimit, Record, Salvage, Watch,
};
use ftp_proto::{FtpUrl, Reply};

use super::context::{Context, Done};
use super::options::Verify;
use super::verify::{self, Verified};
use crate::connect::sessions::Sessions;
use crate::console::progress::{Board, Meter};
use crate::display::shown_path;
use crate::exit::{Exit, Failure, Recovery};
use crate::lock::lock;
use crate::report::jobs::{self, Worker};
use crate::report::json::Object;

/// Smallest range in bytes: a connection costs several round trips.
const LEAST: u64 = 256 << 10;

/// Bytes that are missing, and the piece that gets them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Missing {
    /// Position of the first byte of the piece.
    piece: u64,
    from: u64,
    to: u64,
}

/// A file to download in ranges.
pub(crate) struct Order<'a> {
    /// URL of its server, with the login.
    pub(crate) url: &'a FtpUrl,
    /// Path on the server.
    pub(crate) path: &'a [u8],
    /// Name in the progress display.
    pub(crate) name: &'a [u8],
    /// Local file next to which the pieces are kept.
    pub(crate) target: &'a Path,
    /// Name of the first piece in messages, if that is not its path.
    pub(crate) part: Option<String>,
    pub(crate) verify: Verify,
    /// Rate limit of all connections together.
    pub(crate) rate_limit: Option<&'a RateLimit>,
    pub(crate) board: &'a Board,
    /// Function that adds to each event of the file the fields that identify the file.
    pub(crate) fields: &'a (dyn Fn(Object) -> Object + Sync),
    /// Function that returns the failure for an error of the local file.
    pub(crate) failed_here: &'a (dyn Fn(&io::Error) -> Failure + Sync),
}

/// Result of a download in ranges.
pub(crate) enum Gathered {
    Whole(Box<Whole>),
    /// One connection must download the file, for this reason. Without a reason, the file is small,
    /// or may be missing.
    Alone(Option<&'static str>),
}

/// A file whose ranges have all arrived and been verified.
pub(crate) struct Whole {
    /// The local file, still without its final name.
    pub(crate) file: LocalFile,
    /// The file on the server, with its size and time.
    pub(crate) origin: Origin,
    /// Bytes that this attempt received.
    pub(crate) bytes: u64,
    /// Time of the first request for a range.
    began: Instant,
    verified: Verified,
}

/// `get --segments N`: downloads a file over up to N connections. Returns `None` if a single
/// connection must be used.
///
/// # Errors
///
/// Returns the failure. Received ranges are kept for the next attempt, unless the server's file has
/// changed or its digest differs.
pub(crate) fn download(
    context: &Context<'_>,
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    target: &Path,
    fields: &(dyn Fn(Object) -> Object + Sync),
) -> Result<Option<Done>, Failure> {
    let settings = context.settings;
    let failed_here = |error: &io::Error| Failure::local(shown_path(target), error);
    let path = Place::of(url).path().to_vec();
    let order = Order {
        url,
        path: &path,
        name: &path,
        target,
        part: None,
        verify: settings.verify,
        rate_limit: settings.rate_limit.as_ref(),
        board: &context.board,
        fields,
        failed_here: &failed_here,
    };
    let mut others: Vec<_> = (1..settings.segments).map(|_| sessions.another()).collect();
    let mut connections: Vec<_> = std::iter::once(sessions).chain(&mut others).collect();
    let gathered = gather(&order, &mut connections);
    others.into_iter().for_each(|sessions| sessions.quit(None));
    let Whole { file, origin, bytes, began, verified } = match gathered? {
        Gathered::Whole(whole) => *whole,
        Gathered::Alone(why) => {
            if let Some(why) = why {
                context.note(format_args!("{url}: downloading over one connection: {why}"));
            }
            return Ok(None);
        }
    };
    if let Some(time) = origin.modified.filter(|_| settings.preserve) {
        file.set_modified(SystemTime::from(time)).map_err(|error| failed_here(&error))?;
    }
    let committed = context.targets.publish(target, || file.commit(!settings.no_clobber));
    Ok(Some(match committed.map_err(|error| failed_here(&error))? {
        Committed::Done => Done { verified, ..Done::moved(bytes, began.elapsed()) },
        Committed::Exists => Done::skipped("now exists"),
    }))
}

/// Downloads a file over at most as many connections as `connections` has. The first one is used
/// for all requests about the file. Returns [`Gathered::Alone`] if the file is small, if the
/// server reports no size or time, or if it cannot resume downloads (`REST`).
///
/// # Errors
///
/// Returns the failure. Received ranges are kept for the next attempt, unless the server's file has
/// changed or its digest differs.
pub(crate) fn gather(
    order: &Order<'_>,
    connections: &mut [&mut Sessions<'_>],
) -> Result<Gathered, Failure> {
    let count = connections.len();
    let Some(first) = connections.first_mut() else { return Ok(Gathered::Alone(None)) };
    let client = first.client(order.url)?;
    let origin = Origin::ask(client, order.path).map_err(Failure::from)?;
    let (Some(size), Some(_)) = (origin.size, origin.modified) else {
        // A file of which nothing is known may be missing.
        let is_known = origin != Origin::default();
        let why = "the file's size or modification time is unknown";
        return Ok(Gathered::Alone(is_known.then_some(why)));
    };
    if size < 2 * LEAST {
        return Ok(Gathered::Alone(None));
    }
    if order.verify == Verify::Hash {
        // Fails before the download if the server cannot compute a digest.
        verify::checksum(client)?;
    }
    let local = |error: io::Error| (order.failed_here)(&error);
    let Some(record) = Record::ask(client, order.path, origin).map_err(Failure::from)? else {
        return Ok(Gathered::Alone(Some("nothing identifies the server's file")));
    };
    let pieces = Pieces::of(order.target, record).map_err(local)?;
    let kept = pieces.kept().map_err(local)?;
    if kept.is_empty() {
        pieces.remove().map_err(local)?;
    }
    let segments = Segments { order, pieces, origin, size };
    let before: u64 = kept.iter().map(|(start, end)| end - start).sum();
    let missing = plan(&kept, size, count);
    if missing.iter().any(|missing| missing.from > 0) && !segments.is_restarted(client)? {
        segments.pieces.remove().map_err(local)?;
        return Ok(Gathered::Alone(Some("the server cannot resume downloads (REST)")));
    }
    let began = Instant::now();
    if !missing.is_empty() {
        segments.fetch(connections, &missing, before)?;
    }
    let Some(first) = connections.first_mut() else { return Ok(Gathered::Alone(None)) };
    let (file, verified) = segments.join(first.client(order.url)?, &kept, &missing)?;
    let bytes = size - before;
    Ok(Gathered::Whole(Box::new(Whole { file, origin, bytes, began, verified })))
}

/// A file that is downloaded in ranges.
struct Segments<'a> {
    order: &'a Order<'a>,
    pieces: Pieces,
    origin: Origin,
    size: u64,
}

impl Segments<'_> {
    /// Downloads all missing ranges, over as many of the connections as the server accepts.
    fn fetch(
        &self,
        connections: &mut [&mut Sessions<'_>],
        missing: &[Missing],
        before: u64,
    ) -> Result<(), Failure> {
        let order = self.order;
        let shared = Shared {
            segments: self,
            missing,
            meter: Mutex::new(order.board.begin(order.name, before, Some(self.size), order.fields)),
            failure: Mutex::new(None),
        };
        let count = connections.len();
        let connections = Mutex::new(connections.iter_mut().enumerate());
        jobs::run(count, missing.len(), || {
            let next = lock(&connections).next();
            let (number, sessions) = next.expect("there are no more workers than connections");
            // The first connection was tested before the ranges were planned.
            Fetcher { shared: &shared, sessions, is_proved: number == 0 }
        });
        let failure = shared.failure.into_inner().ok().flatten();
        failure.map_or(Ok(()), |failure: Failure| {
            let first = shown_path(self.pieces.first());
            let (part, why) = (order.part.as_ref().unwrap_or(&first), &failure.message);
            let message =
                format!("{why}; run the same command again to resume from the ranges in {part}*");
            Err(Failure { message, ..failure })
        })
    }

    /// Joins the ranges. Verifies that the server's file has not changed, and that the ranges add
    /// up to it.
    fn join(
        &self,
        client: &mut Client,
        kept: &[(u64, u64)],
        missing: &[Missing],
    ) -> Result<(LocalFile, Verified), Failure> {
        let Order { verify, failed_here, .. } = self.order;
        let local = |error: io::Error| failed_here(&error);
        if let Err(failure) = self.check_version(client) {
            if failure.exit == Exit::Integrity {
                self.pieces.remove().map_err(local)?;
            }
            return Err(failure);
        }
        let ranges = together(kept, missing);
        let whole = self.pieces.join(&ranges, self.size).map_err(local)?;
        let checksum = match verify {
            Verify::Hash => Some(verify::checksum(client)?),
            Verify::BestEffort => Checksum::for_server(client).map_err(Failure::from)?,
            Verify::None | Verify::Size => None,
        };
        let mut verified = Verified::Size;
        if let Some(mut checksum) = checksum {
            checksum.update_from(whole.file(), self.size).map_err(local)?;
            match verify::compare_digest(client, self.order.path, &checksum.finish()) {
                Ok(()) => verified = Verified::Hash,
                // Without --verify hash, it is not a failure if the server cannot compute the
                // digest, or not in time.
                Err(failure)
                    if *verify == Verify::BestEffort
                        && failure.exit != Exit::Integrity
                        && !failure.is_signal() => {}
                Err(failure) => {
                    if failure.exit == Exit::Integrity {
                        whole.discard();
                    }
                    return Err(failure);
                }
            }
        }
        // The remaining pieces belong to other versions.
        self.pieces.remove().map_err(local)?;
        Ok((whole, verified))
    }

    /// Returns whether the server sends from the requested byte over this connection. Requests the
    /// last byte of the file, so that the server has one byte to send.
    fn is_restarted(&self, client: &mut Client) -> Result<bool, Failure> {
        let ended = client
            .retrieve_range(self.order.path, self.size - 1, 1)
            .and_then(|download| download.copy_to(&mut io::sink()));
        match ended {
            Ok(report) => Ok(report.ended == Ended::Confirmed),
            Err(Error::Incomplete { .. }) => Ok(false),
            // The server lacks the command or cannot resume downloads; any other refusal is an
            // error.
            Err(Error::Refused(_, reply)) if is_incapable(&reply) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Verifies that the size and time of the server's file are still the same.
    fn check_version(&self, client: &mut Client) -> Result<(), Failure> {
        let now = Origin::ask(client, self.order.path).map_err(Failure::from)?;
        if now.size == Some(self.size) && self.origin.is_still(now) == Some(true) {
            return Ok(());
        }
        let message = "the file on the server changed during the download";
        Err(Failure::item(Exit::Integrity, message))
    }

    /// Verifies that a new connection leads to the same file, since several hosts can share a name.
    /// Also verifies that the server sends from the requested byte.
    fn prove(&self, client: &mut Client) -> Result<(), Failure> {
        self.check_version(client)?;
        if self.is_restarted(client)? {
            return Ok(());
        }
        let message = "the server sent more than the rest of the file: it ignores REST, or the file has grown";
        Err(Failure::item(Exit::Integrity, message).never_retried())
    }

    /// Downloads one range into its piece.
    fn receive(
        &self,
        client: &mut Client,
        missing: Missing,
        meter: &Mutex<Meter<'_>>,
    ) -> Result<(), Failure> {
        let Missing { piece, from, to } = missing;
        let Order { path, rate_limit, failed_here, .. } = self.order;
        let mut file = self.pieces.open(piece).map_err(|error| failed_here(&error))?;
        if file.end() != from {
            let message = "another program changed it during the download";
            return Err(failed_here(&io::Error::other(message)));
        }
        let length = to - from;
        let download = client.retrieve_range(path, from, length)?;
        let mut add = |bytes: &[u8]| lock(meter).add(bytes.len() as u64);
        let mut watch = Watch::new().rate_limit(rate_limit.cloned()).meter(&mut add);
        let Err(error) = download.copy_to_watched(&mut file, &mut watch) else { return Ok(()) };
        // The piece keeps the beginning of its range.
        let _: Salvage = file.salvage(&error, length);
        Err(match error {
            Error::Local(error) => failed_here(&error),
            error => error.into(),
        })
    }
}

/// The state that the connections share.
struct Shared<'a, 'm> {
    segments: &'a Segments<'a>,
    missing: &'a [Missing],
    meter: Mutex<Meter<'m>>,
    /// First failure.
    failure: Mutex<Option<Failure>>,
}

/// The worker for one connection.
struct Fetcher<'a, 'm, 's> {
    shared: &'a Shared<'a, 'm>,
    sessions: &'a mut Sessions<'s>,
    /// Whether the open connection is known to lead to the file, and to send from any byte.
    is_proved: bool,
}

impl Worker for Fetcher<'_, '_, '_> {
    fn connect(&mut self, _number: usize) -> Result<(), NotLent<Failure>> {
        let Self { shared, sessions, is_proved } = self;
        let url = shared.segments.order.url;
        if sessions.is_open(url) {
            return Ok(());
        }
        *is_proved = false;
        sessions.connect_beside_others(url)
    }

    fn act(&mut self, number: usize) -> Result<(), Failure> {
        let Self { shared, sessions, is_proved } = self;
        let url = shared.segments.order.url;
        let missing = shared.missing.get(number).expect("the number belongs to a range");
        let (client, is_new) = sessions.client_as_it_is(url)?;
        *is_proved &= !is_new;
        let proved = if *is_proved { Ok(()) } else { shared.segments.prove(client) };
        *is_proved = proved.is_ok();
        let received =
            proved.and_then(|()| shared.segments.receive(client, *missing, &shared.meter));
        if received.as_ref().is_err_and(Failure::is_end_of_connection) {
            sessions.drop_client(url);
        }
        received
    }

    fn failed(&mut self, _number: usize, failure: Failure) -> ControlFlow<()> {
        let goes_on = failure.recovery == Recovery::TryAgain;
        lock(&self.shared.failure).get_or_insert(failure);
        // If the server may recover, the other ranges are still worth fetching.
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Leaves the connection open for its owner.
    fn end(self) {}
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
    let length = all.div_ceil(count as u64).max(LEAST);
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

/// Returns whether a refusal means that the server cannot resume any download.
fn is_incapable(reply: &Reply) -> bool {
    matches!(reply.code().value(), 500..=504)
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
    }
}
