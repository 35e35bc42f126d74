//! The backlog of a file system: the uploaded bytes that are not on disk yet. All uploads together
//! leave as many as the file system writes in a second. So no sync takes much longer, and a session
//! hears its client between two syncs. Otherwise, the system would take a large file at the speed of
//! the network, and the sync at its end would be silent for minutes.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, fdatasync};
use rustix::io::{Result, retry_on_intr};

use super::root;
use crate::lock::Lock;

/// Maximum bytes that an upload writes before its first sync, while the speed is unknown or was
/// measured under other conditions.
const FIRST: u64 = 8 * 1024 * 1024;

/// Minimum and maximum of the backlog of a file system, whatever it writes in a second.
const LEAST: u64 = 1024 * 1024;
const MOST: u64 = 256 * 1024 * 1024;

/// Maximum of the backlog while several uploads write.
const TOGETHER: u64 = 64 * 1024 * 1024;

/// Bytes that each upload may write before it considers the backlog. So a small file is synced only
/// at its end, and an upload beside many others does not sync after each few bytes.
const SMALL: u64 = 64 * 1024;

/// Number of bytes after which the system starts writing them to disk, so that the next sync has less
/// to do.
const WRITE_BACK: u64 = 8 * 1024 * 1024;

/// Age from which the system may have written some bytes by itself (`dirty_writeback_centisecs`), so
/// that the duration of their sync does not tell the speed.
const OLD: Duration = Duration::from_secs(5);

/// Age from which the system has written bytes by itself (`dirty_expire_centisecs`), so that uploads
/// of clients that pause do not count.
const EXPIRED: Duration = Duration::from_secs(30);

/// A file system to which uploads write.
#[derive(Debug)]
struct Disk(Lock<DiskState>);

#[derive(Debug)]
struct DiskState {
    /// The bytes that it wrote in a second, between [`LEAST`] and [`MOST`]; `None` until it is
    /// measured.
    speed: Option<u64>,
    /// The backlog, and the time when its age was last considered.
    waiting: u64,
    settled: Instant,
    syncing: u32,
    /// Bytes that were synced since the last measurement, the time that this took, and the end of
    /// that time.
    synced: u64,
    busy: Duration,
    since: Instant,
}

/// The file systems of this process by their device numbers.
static DISKS: Lock<BTreeMap<u64, Arc<Disk>>> = Lock::new(BTreeMap::new());

/// Returns how many more bytes an upload may write before it must sync the `own` ones that wait.
/// `waiting` is the backlog of all uploads.
fn left(own: u64, waiting: u64, speed: Option<u64>, has_synced: bool) -> u64 {
    let most = speed.unwrap_or(FIRST);
    let piece = if has_synced { most } else { most.min(FIRST) };
    let is_alone = waiting <= own.saturating_add(SMALL);
    let backlog = if is_alone { most } else { most.min(TOGETHER) };
    let free = backlog.saturating_sub(waiting).max(SMALL.saturating_sub(own));
    piece.saturating_sub(own).min(free)
}

/// Returns the backlog of a file system that wrote `bytes` in this time.
fn in_a_second(bytes: u64, took: Duration) -> u64 {
    let speed = u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1);
    u64::try_from(speed).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Returns the new speed after `synced` bytes were synced at the speed `measured`; `None` if they are
/// too few to tell. A disk may take its first bytes at once, into a cache.
fn learned(speed: Option<u64>, synced: u64, measured: u64) -> Option<u64> {
    let most = speed.unwrap_or(FIRST);
    let tells = synced >= most / 2 || synced >= LEAST && measured < most;
    tells.then(|| measured.min(most * 2))
}

impl Disk {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self(Lock::new(DiskState {
            speed: None,
            waiting: 0,
            settled: now,
            syncing: 0,
            synced: 0,
            busy: Duration::ZERO,
            since: now,
        })))
    }

    fn of(file: &OwnedFd) -> Arc<Self> {
        let device = root::metadata_of(file).map_or(0, |found| found.identity.0);
        Arc::clone(DISKS.lock().entry(device).or_insert_with(Self::new))
    }

    fn add(&self, bytes: u64) {
        let mut state = self.0.lock();
        let now = Instant::now();
        let age = now.saturating_duration_since(state.settled).min(EXPIRED);
        let gone = u128::from(state.waiting) * age.as_nanos() / EXPIRED.as_nanos();
        state.waiting = state.waiting.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX));
        state.waiting = state.waiting.saturating_add(bytes);
        state.settled = now;
    }

    fn remove(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.saturating_sub(bytes);
    }

    /// Notes that a sync begins of bytes that the file system may have been writing since `since`.
    fn begin(&self, since: Instant) {
        let mut state = self.0.lock();
        if state.syncing == 0 {
            state.since = since;
        } else if state.busy >= Duration::from_secs(1) {
            state.learn();
        }
        state.syncing += 1;
    }

    /// Notes that a sync of `bytes` has ended.
    fn end(&self, bytes: u64, now: Instant) {
        let mut state = self.0.lock();
        state.syncing -= 1;
        state.synced = state.synced.saturating_add(bytes);
        state.busy = state.busy.saturating_add(now.saturating_duration_since(state.since));
        state.since = now;
        // Many syncs end with one transaction of the file system: then the last of them tells.
        if state.syncing == 0 {
            state.learn();
        }
    }
}

impl DiskState {
    fn learn(&mut self) {
        let measured = in_a_second(self.synced, self.busy);
        if let Some(speed) = learned(self.speed, self.synced, measured) {
            self.speed = Some(speed);
            (self.synced, self.busy) = (0, Duration::ZERO);
        }
    }
}

/// The part of the backlog that one upload has written.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The file system, once there are more than [`SMALL`] bytes.
    disk: Option<Arc<Disk>>,
    bytes: u64,
    /// The time of the first of these bytes.
    since: Instant,
    /// How many of these bytes the system writes already.
    started: u64,
    /// Further bytes that are being written. They count in the backlog already: other uploads write
    /// at the same time.
    reserved: u64,
    has_synced: bool,
}

impl Backlog {
    pub(super) fn new() -> Self {
        let since = Instant::now();
        Self { disk: None, bytes: 0, since, started: 0, reserved: 0, has_synced: false }
    }

    /// Returns whether no more bytes should be added before a sync.
    pub(super) fn is_full(&self) -> bool {
        let Some(disk) = &self.disk else { return false };
        self.left(&disk.0.lock()) == 0
    }

    fn left(&self, state: &DiskState) -> u64 {
        left(self.bytes, state.waiting, state.speed, self.has_synced)
    }

    /// Returns how many of `wanted` bytes may be written at once, never none, and reserves them until
    /// the next [`add`](Self::add).
    pub(super) fn room(&mut self, file: &OwnedFd, wanted: u64) -> u64 {
        if self.disk.is_none() && self.bytes.saturating_add(wanted) > SMALL {
            let disk = Disk::of(file);
            disk.add(self.bytes);
            self.disk = Some(disk);
        }
        let Some(disk) = &self.disk else { return wanted };
        let mut state = disk.0.lock();
        state.waiting = state.waiting.saturating_sub(self.reserved);
        let room = self.left(&state).max(SMALL).min(wanted);
        state.waiting = state.waiting.saturating_add(room);
        self.reserved = room;
        room
    }

    /// Adds bytes that end at the offset `end` of the file.
    pub(super) fn add(&mut self, file: &OwnedFd, bytes: u64, end: u64) {
        if self.bytes == 0 {
            self.since = Instant::now();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let Some(disk) = &self.disk else { return };
        disk.remove(std::mem::take(&mut self.reserved));
        disk.add(bytes);
        let fresh = self.bytes - self.started;
        // Before a sync, the advice would only hide how long the disk takes.
        if fresh >= WRITE_BACK && !self.is_full() {
            // If the call fails, the next sync has more to do.
            let start = end.saturating_sub(fresh);
            let _ = fadvise(file, start, NonZeroU64::new(fresh), Advice::DontNeed);
            self.started = self.bytes;
        }
    }

    /// Syncs all bytes. Returns how long that took.
    pub(super) fn sync(&mut self, file: &OwnedFd) -> Result<Duration> {
        let start = Instant::now();
        let Some(disk) = &self.disk else {
            retry_on_intr(|| fdatasync(file))?;
            self.bytes = 0;
            return Ok(start.elapsed());
        };
        let is_begun = self.started > 0 || self.since.elapsed() >= OLD;
        disk.begin(if is_begun { self.since } else { start });
        let synced = retry_on_intr(|| fdatasync(file));
        let end = end_of(start, self.bytes);
        disk.end(if synced.is_ok() { self.bytes } else { 0 }, end);
        synced?;
        disk.remove(self.bytes);
        (self.bytes, self.started, self.has_synced) = (0, 0, true);
        Ok(end.saturating_duration_since(start))
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.remove(self.bytes.saturating_add(self.reserved));
        }
    }
}

/// Returns the time at which a sync has ended that began at `start`.
#[cfg(not(test))]
fn end_of(_start: Instant, _bytes: u64) -> Instant {
    Instant::now()
}

/// Returns the time at which a sync would have ended on the disk of the test.
#[cfg(test)]
fn end_of(start: Instant, bytes: u64) -> Instant {
    match SPEED.get() {
        Some(speed) => start + Duration::from_nanos(bytes * 1_000_000_000 / speed),
        None => Instant::now(),
    }
}

#[cfg(test)]
thread_local! {
    /// The bytes that the disk of this thread writes in a second; `None` for a real disk.
    pub(super) static SPEED: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_next_piece_is_what_the_disk_wrote_in_a_second_fs_12() {
        for (bytes, millis, want) in [
            (8 * MIB, 1_600, 5 * MIB),
            (8 * MIB, 8_000, MIB),
            (8 * MIB, 80_000, MIB),
            (5 * MIB, 1_000, 5 * MIB),
            (MIB, 100, 10 * MIB),
            (8 * MIB, 125, 64 * MIB),
            (8 * MIB, 8, MOST),
            (u64::MAX, 0, MOST),
        ] {
            let got = in_a_second(bytes, Duration::from_millis(millis));
            assert_eq!(got, want, "{bytes} {millis}");
        }
    }

    #[test]
    fn a_speed_is_believed_as_far_as_bytes_prove_it_fs_12() {
        for (speed, synced, measured, want) in [
            (None, MIB, MOST, None),
            (None, 4 * MIB, MOST, Some(16 * MIB)),
            (None, MIB, 5 * MIB, Some(5 * MIB)),
            (None, MIB / 2, MIB, None),
            (Some(16 * MIB), 4 * MIB, MOST, None),
            (Some(16 * MIB), 8 * MIB, MOST, Some(32 * MIB)),
            (Some(MOST), MOST, MOST, Some(MOST)),
            (Some(MOST), MIB, MIB, Some(MIB)),
            (Some(MIB), MIB / 2, MOST, Some(2 * MIB)),
        ] {
            assert_eq!(learned(speed, synced, measured), want, "{speed:?} {synced} {measured}");
        }
    }

    #[test]
    fn a_piece_ends_where_the_backlog_of_all_uploads_ends_fs_12() {
        let five = Some(5 * MIB);
        for (own, waiting, speed, has_synced, want) in [
            // The first piece, of an upload alone.
            (0, 0, None, false, FIRST),
            (0, 0, five, false, 5 * MIB),
            (0, 0, Some(MOST), false, FIRST),
            (FIRST, FIRST, Some(MOST), false, 0),
            // The next ones.
            (0, 0, Some(MOST), true, MOST),
            (100 * MIB, 100 * MIB, Some(MOST), true, 156 * MIB),
            (100 * MIB, 101 * MIB, Some(MOST), true, 0),
            (MIB, 50 * MIB, Some(MOST), true, 14 * MIB),
            (3 * MIB, 3 * MIB, five, true, 2 * MIB),
            (5 * MIB, 5 * MIB, five, true, 0),
            // Others have written most of what may wait.
            (MIB, 4 * MIB, five, true, MIB),
            (MIB, 6 * MIB, five, false, 0),
            (0, 6 * MIB, five, false, SMALL),
            (SMALL - 1, 6 * MIB, five, true, 1),
            (SMALL, 6 * MIB, five, true, 0),
            // Old bytes no longer count in the backlog.
            (5 * MIB, MIB, five, true, 0),
        ] {
            let got = left(own, waiting, speed, has_synced);
            assert_eq!(got, want, "{own} {waiting} {speed:?} {has_synced}");
        }
    }

    /// Uploads `each` bytes by `uploads` at a time to one disk. Returns the longest sync before and
    /// after all have synced once, in seconds, if each had to wait for all bytes of all uploads.
    fn longest_pauses(speed: u64, uploads: usize, each: u64) -> [f64; 2] {
        SPEED.set(Some(speed));
        let file = tempfile::tempfile().unwrap().into();
        let disk = Disk::new();
        let mut running: Vec<_> = (0..uploads)
            .map(|_| Backlog { disk: Some(Arc::clone(&disk)), ..Backlog::new() })
            .collect();
        let mut longest = [0.0_f64; 2];
        let (mut fresh, mut moved) = (uploads, 0);
        while moved < each {
            let step = 512 * 1024;
            for backlog in &mut running {
                let mut rest = step;
                while rest > 0 {
                    if backlog.is_full() {
                        let waits = disk.0.lock().waiting.max(backlog.bytes);
                        let is_later = usize::from(fresh == 0);
                        fresh -= usize::from(!backlog.has_synced);
                        let took = waits as f64 / speed as f64;
                        longest[is_later] = longest[is_later].max(took);
                        backlog.sync(&file).unwrap();
                        continue;
                    }
                    let added = backlog.room(&file, rest);
                    backlog.add(&file, added, 0);
                    rest -= added;
                }
            }
            moved += step;
        }
        SPEED.set(None);
        longest
    }

    #[test]
    fn a_slow_disk_holds_up_no_upload_for_minutes_fs_12() {
        for (speed, uploads) in [(5 * MIB, 1), (5 * MIB, 20), (30 * MIB, 20), (MOST, 3)] {
            let [first, later] = longest_pauses(speed, uploads, 64 * MIB);
            assert!(first <= 2.0 && later <= 1.3, "{speed} {uploads}: {first} s, {later} s");
        }
        // The first piece is larger than a second of such a disk.
        let [first, later] = longest_pauses(MIB, 1, 32 * MIB);
        assert!(first <= 8.0 && later <= 1.1, "{first} s, {later} s");
    }

    #[test]
    fn a_new_upload_begins_with_the_speed_of_its_disk_fs_12() {
        let file = tempfile::tempfile().unwrap().into();
        let disk = Disk::new();
        let begin = || Backlog { disk: Some(Arc::clone(&disk)), ..Backlog::new() };
        SPEED.set(Some(2 * MIB));
        let mut slow = begin();
        slow.add(&file, 2 * MIB, 0);
        slow.sync(&file).unwrap();
        assert_eq!(begin().room(&file, u64::MAX), 2 * MIB);
        // The system may have written such bytes itself, so their sync does not show the speed.
        SPEED.set(Some(u64::MAX));
        slow.add(&file, 2 * MIB, 0);
        slow.started = MIB;
        slow.since -= Duration::from_secs(1);
        slow.sync(&file).unwrap();
        let speed = disk.0.lock().speed.unwrap();
        SPEED.set(None);
        assert!(speed <= 2 * MIB, "{speed}");
    }

    #[test]
    fn an_upload_that_ends_leaves_no_backlog_fs_12() {
        let file = tempfile::tempfile().unwrap().into();
        let disk = Disk::new();
        let mut backlog = Backlog { disk: Some(Arc::clone(&disk)), ..Backlog::new() };
        backlog.add(&file, MIB, 0);
        assert_eq!(disk.0.lock().waiting, MIB);
        // The system writes what is older than half a minute.
        disk.0.lock().settled -= EXPIRED;
        disk.add(5);
        assert_eq!(disk.0.lock().waiting, 5);
        drop(backlog);
        assert_eq!(disk.0.lock().waiting, 0);
    }
}
