//! `get --segments N`: downloads one file over several connections, each of which fetches ranges.
//!
//! The file counts as whole and as one version if all ranges arrived, if its size and time on the
//! server are the same before and after, and if its digest is the same, where the server has one.
//! Before a connection is used, it is proved to lead to the same version, and to send from the
//! requested byte, because some servers accept `REST` and send from byte 0.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use ftp_client::{
    Checksum, Client, Committed, Ended, Error, Origin, Piece, Place, Salvage, Watch, join_pieces,
    kept_ranges, part_of, remove_pieces,
};
use ftp_proto::{FtpUrl, Reply};

use super::context::{Context, Done};
use super::options::Verify;
use super::verify::{self, Verified};
use crate::connect::sessions::Sessions;
use crate::console::progress::Meter;
use crate::display::shown_path;
use crate::exit::{Exit, Failure, Recovery};
use crate::lock::lock;
use crate::report::jobs::{self, Doors, NoConnection, Worker};
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

/// A file that is downloaded in ranges.
struct Segments<'a> {
    context: &'a Context<'a>,
    url: &'a FtpUrl,
    path: Vec<u8>,
    target: &'a Path,
    origin: Origin,
    size: u64,
}

/// Downloads a file over up to `--segments` connections. Returns `None` if one connection must do:
/// the file is small, or the server reports no size or time, or cannot restart.
///
/// # Errors
///
/// Returns the failure. Received ranges stay, so that the next attempt continues.
pub(crate) fn download(
    context: &Context<'_>,
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    target: &Path,
    fields: &(dyn Fn(Object) -> Object + Sync),
) -> Result<Option<Done>, Failure> {
    let path = Place::of(url).path().to_vec();
    let client = sessions.client(url)?;
    let origin = Origin::ask(client, &path).map_err(Failure::from)?;
    let (Some(size), Some(_)) = (origin.size, origin.modified) else {
        // A file of which nothing is known may be missing.
        if origin != Origin::default() {
            note(context, url, "the server does not report both size and time");
        }
        return Ok(None);
    };
    if size < 2 * LEAST {
        return Ok(None);
    }
    if context.settings.verify == Verify::Hash {
        // Without a digest, there is nothing to begin.
        verify::checksum(client)?;
    }
    let local = |error: &std::io::Error| Failure::local(shown_path(target), error);
    let kept = kept_ranges(target, origin).map_err(|error| local(&error))?;
    if kept.is_empty() {
        remove_pieces(target).map_err(|error| local(&error))?;
    }
    let segments = Segments { context, url, path, target, origin, size };
    let before: u64 = kept.iter().map(|(start, end)| end - start).sum();
    let missing = plan(&kept, size, context.settings.segments);
    if missing.iter().any(|missing| missing.from > 0) && !segments.is_restarted(client)? {
        remove_pieces(target).map_err(|error| local(&error))?;
        note(context, url, "the server does not restart downloads (REST)");
        return Ok(None);
    }
    let began = Instant::now();
    if !missing.is_empty() {
        segments.fetch(sessions, &missing, before, fields)?;
    }
    let client = sessions.client(url)?;
    let verified = segments.publish(client, &kept, &missing)?;
    let time = began.elapsed();
    Ok(Some(verified.map_or_else(
        || Done::skipped("exists by now"),
        |verified| Done { verified, ..Done::moved(size - before, time) },
    )))
}

impl Segments<'_> {
    /// Downloads all missing ranges; the server decides over how many connections.
    fn fetch(
        &self,
        sessions: &mut Sessions<'_>,
        missing: &[Missing],
        before: u64,
        fields: &(dyn Fn(Object) -> Object + Sync),
    ) -> Result<(), Failure> {
        let meter = self.context.board.begin(&self.path, before, Some(self.size), &fields);
        let shared = Shared {
            segments: self,
            missing,
            meter: Mutex::new(meter),
            doors: Doors::new(),
            failure: Mutex::new(None),
        };
        // The first connection is open: a server that refuses another one has a limit.
        let _ = shared.doors.enter((), || Ok(()));
        let more = sessions.another();
        let lent = Mutex::new(Some(sessions));
        jobs::run(self.context.settings.segments, missing.len(), || {
            let lent = lock(&lent).take();
            Fetcher {
                shared: &shared,
                // The first connection was tested before the ranges were planned.
                is_proved: lent.is_some(),
                sessions: match lent {
                    Some(sessions) => Connections::Lent(sessions),
                    None => Connections::Own(more.another()),
                },
            }
        });
        let failure = shared.failure.into_inner().ok().flatten();
        failure.map_or(Ok(()), |failure: Failure| {
            let part = shown_path(&part_of(self.target));
            let message =
                format!("{}; ranges kept in {part}*; run the same command again", failure.message);
            Err(Failure { message, ..failure })
        })
    }

    /// Verifies that the server's file is the one from before, and that the ranges make it up; then
    /// gives it its name. Returns `None` if another file has the name by now.
    fn publish(
        &self,
        client: &mut Client,
        kept: &[(u64, u64)],
        missing: &[Missing],
    ) -> Result<Option<Verified>, Failure> {
        let settings = self.context.settings;
        let local = |error: &std::io::Error| Failure::local(shown_path(self.target), error);
        if let Err(failure) = self.check_version(client) {
            if failure.exit == Exit::Integrity {
                remove_pieces(self.target).map_err(|error| local(&error))?;
            }
            return Err(failure);
        }
        let ranges = together(kept, missing);
        let whole = join_pieces(self.target, &ranges, self.size, self.origin);
        let whole = whole.map_err(|error| local(&error))?;
        let checksum = match settings.verify {
            Verify::Hash => Some(verify::checksum(client)?),
            Verify::BestEffort => Checksum::for_server(client).map_err(Failure::from)?,
            Verify::None | Verify::Size => None,
        };
        let mut verified = Verified::Size;
        if let Some(mut checksum) = checksum {
            let file = std::fs::File::open(whole.path()).map_err(|error| local(&error))?;
            checksum.update_from(&file, self.size).map_err(|error| local(&error))?;
            match verify::compare_digest(client, &self.path, &checksum.finish()) {
                Ok(()) => verified = Verified::Hash,
                // Without --verify hash, a server that cannot compute it, or not in time, is not a
                // failure.
                Err(failure)
                    if settings.verify == Verify::BestEffort
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
        if let Some(time) = self.origin.modified.filter(|_| settings.preserve)
            && let Some(time) = super::download::local_time(time)
        {
            whole.set_modified(time).map_err(|error| local(&error))?;
        }
        match whole.commit(!settings.no_clobber).map_err(|error| local(&error))? {
            Committed::Done => {}
            Committed::Exists => return Ok(None),
        }
        // Those of other versions.
        remove_pieces(self.target).map_err(|error| local(&error))?;
        Ok(Some(verified))
    }

    /// Returns whether the server sends from the requested byte over this connection: from the last
    /// byte of the file on, it has one byte to send.
    fn is_restarted(&self, client: &mut Client) -> Result<bool, Failure> {
        let ended = client
            .retrieve_range(&self.path, self.size - 1, 1)
            .and_then(|download| download.copy_to(&mut std::io::sink()));
        match ended {
            Ok(report) => Ok(report.ended == Ended::Confirmed),
            Err(Error::Incomplete { .. }) => Ok(false),
            // Unknown or impossible; a transient refusal is an error.
            Err(Error::Refused(_, reply)) if is_incapable(&reply) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Verifies that size and time of the server's file are still the same.
    fn check_version(&self, client: &mut Client) -> Result<(), Failure> {
        let now = Origin::ask(client, &self.path).map_err(Failure::from)?;
        if now.size == Some(self.size) && self.origin.is_still(now) == Some(true) {
            return Ok(());
        }
        let message = "the file on the server changed during the download";
        Err(Failure::item(Exit::Integrity, message))
    }

    /// Verifies that a new connection leads to the same file, and that the server sends from the
    /// requested byte: one name can be that of several hosts.
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
        let local = |error: &std::io::Error| Failure::local(shown_path(self.target), error);
        let mut file =
            Piece::open(self.target, piece, self.origin).map_err(|error| local(&error))?;
        if file.end() != from {
            let message = "another program changed it during the download";
            return Err(local(&std::io::Error::other(message)));
        }
        let length = to - from;
        let download = client.retrieve_range(&self.path, from, length)?;
        let mut add = |bytes: &[u8]| lock(meter).add(bytes.len() as u64);
        let limit = self.context.settings.rate_limit.clone();
        let mut watch = Watch::new().rate_limit(limit).meter(&mut add);
        let Err(error) = download.copy_to_watched(&mut file, &mut watch) else { return Ok(()) };
        // What remains in the piece is the beginning of its range.
        let _: Salvage = file.salvage(&error, length);
        Err(match error {
            Error::Local(error) => local(&error),
            error => error.into(),
        })
    }
}

/// What the connections share.
struct Shared<'a, 'm> {
    segments: &'a Segments<'a>,
    missing: &'a [Missing],
    meter: Mutex<Meter<'m>>,
    doors: Doors<()>,
    /// First failure.
    failure: Mutex<Option<Failure>>,
}

/// One connection.
struct Fetcher<'a, 'm, 's> {
    shared: &'a Shared<'a, 'm>,
    sessions: Connections<'a, 's>,
    /// Whether the open connection is known to lead to the file, and to send from any byte.
    is_proved: bool,
}

/// The sessions of the caller, or others.
enum Connections<'a, 's> {
    Lent(&'a mut Sessions<'s>),
    Own(Sessions<'s>),
}

impl<'s> Connections<'_, 's> {
    fn get(&mut self) -> &mut Sessions<'s> {
        match self {
            Self::Lent(sessions) => sessions,
            Self::Own(sessions) => sessions,
        }
    }
}

impl Worker for Fetcher<'_, '_, '_> {
    fn connect(&mut self, _number: usize) -> Result<(), NoConnection> {
        let url = self.shared.segments.url;
        let sessions = self.sessions.get();
        if sessions.is_open(url) {
            return Ok(());
        }
        self.is_proved = false;
        self.shared.doors.enter((), || sessions.client(url).map(drop))
    }

    fn act(&mut self, number: usize) -> Result<(), Failure> {
        let Self { shared, sessions, is_proved } = self;
        let sessions = sessions.get();
        let missing = shared.missing.get(number).expect("the number is that of a range");
        let (client, is_new) = sessions.client_as_it_is(shared.segments.url)?;
        *is_proved &= !is_new;
        let proved = if *is_proved { Ok(()) } else { shared.segments.prove(client) };
        *is_proved = proved.is_ok();
        let received =
            proved.and_then(|()| shared.segments.receive(client, *missing, &shared.meter));
        if received.as_ref().is_err_and(Failure::is_end_of_connection) {
            sessions.drop_client(shared.segments.url);
        }
        received
    }

    fn failed(&mut self, _number: usize, failure: Failure) -> ControlFlow<()> {
        let goes_on = failure.recovery == Recovery::TryAgain;
        lock(&self.shared.failure).get_or_insert(failure);
        // The other ranges of a server that may recover are worth keeping.
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn end(self) {
        if let Connections::Own(sessions) = self.sessions {
            sessions.quit(None);
        }
    }
}

/// Returns the ranges that are missing: about `count` of equal length, unless they would be too
/// small.
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

/// Reports why a file comes over one connection.
fn note(context: &Context<'_>, url: &FtpUrl, why: &str) {
    context.note(format_args!("{url}: downloaded over one connection: {why}"));
}

/// Returns whether a refusal means that the server cannot restart at all.
fn is_incapable(reply: &Reply) -> bool {
    matches!(reply.code().value(), 500..=504)
}

/// Returns the ranges of all pieces after the missing ones have come, in order.
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
    fn ranges_cover_what_is_missing() {
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
