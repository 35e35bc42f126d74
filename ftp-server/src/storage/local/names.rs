//! The names in a directory. All of them are read before the first is listed, because readdir(3) can
//! leave out a name that another program replaces by a rename meanwhile, as it does on tmpfs and btrfs.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, RawDir, SeekFrom, fstat, fstatfs, seek};
use rustix::io::{Errno, Result};

use super::{name, root};
use crate::{budget, limits};

/// Size of the buffer for a system call, in bytes.
const PIECE: usize = limits::NAMES;

/// The same for a reply to `STAT`, which has no more lines: a line of `LIST` is longer than what is held
/// of a name, so a directory that is not at its end then has too many. With a pattern, it is listed while
/// it is read.
const FIRST: usize = limits::STAT_LINES;

/// Bytes that the system takes for the shortest name.
const SHORTEST: usize = 24;

/// Maximum memory of the names that are read before the first is listed, in bytes: about 10,000 names.
/// A larger directory is listed while it is read.
const WHOLE: usize = 20 * limits::NAMES;

/// Memory of one listing that reads more than [`limits::NAMES`] ahead, in bytes: the names, a buffer
/// for all of them, and those of the reading before.
const ROOM: u64 = 4 * 1024 * 1024;

/// Maximum number of further readings of a directory that keeps changing.
const READ_AGAIN: u32 = 4;

/// Age below which the time of a change does not prove that no other change followed it: file systems
/// store the time of the last timer interrupt, or only seconds, two at once on FAT.
const RECENT: Duration = Duration::from_millis(20);
const RECENT_SECONDS: Duration = Duration::from_secs(3);

/// The names in an open directory, without hidden ones.
#[derive(Debug)]
pub(super) struct DirectoryNames {
    directory: OwnedFd,
    piece: usize,
    /// The time of the last change when the directory was opened; `None` once the names are read.
    opened: Option<ChangeTimes>,
    /// The names, each with a NUL at its end. They share one allocation: a separate one for each name
    /// would take almost half of the processor time of `NLST`.
    text: Vec<u8>,
    /// Where each name begins in `text`, and the kind that the directory reports.
    places: Vec<(usize, FileType)>,
    next: usize,
    has_ended: bool,
    room: Option<NamesPlace>,
}

/// The times of the last change of a directory and of its content, since 1970; `None` if the system
/// does not tell them.
type ChangeTimes = Option<[Duration; 2]>;

impl DirectoryNames {
    pub(super) fn new(directory: OwnedFd, is_short: bool) -> Self {
        let piece = if is_short { FIRST } else { PIECE };
        Self {
            opened: Some(stamp(&directory)),
            directory,
            piece,
            text: Vec::new(),
            places: Vec::new(),
            next: 0,
            has_ended: false,
            room: None,
        }
    }

    /// Returns the next name, for [`at`](Self::at), with the kind that the directory reports.
    pub(super) fn next(&mut self) -> Option<Result<(usize, FileType)>> {
        loop {
            if let Some(place) = self.places.get(self.next) {
                self.next += 1;
                return Some(Ok(*place));
            }
            if self.has_ended {
                return None;
            }
            if let Err(errno) = self.fill() {
                return Some(Err(errno));
            }
        }
    }

    /// Returns the name that [`next`](Self::next) returned last.
    pub(super) fn at(&self, start: usize) -> &CStr {
        name_at(&self.text, start)
    }

    /// Ends the names after an error.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.places.clear();
    }

    /// Reads all names, or the next ones of a directory that is too large for that.
    fn fill(&mut self) -> Result<()> {
        (self.text, self.places, self.next, self.room) = (Vec::new(), Vec::new(), 0, None);
        if let Some(opened) = self.opened.take() {
            self.read(self.piece)?;
            while self.piece == FIRST && !self.has_ended && self.size() < FIRST {
                self.read(FIRST)?;
            }
            if self.piece > FIRST && !self.has_ended {
                self.room = NamesPlace::claim();
            }
            while !self.has_ended && self.room.is_some() && self.size() < WHOLE {
                self.read(4 * limits::NAMES)?;
            }
            if self.has_ended {
                self.settle(opened)?;
            }
        } else {
            self.read(self.piece)?;
        }
        // The names stay while the client reads slowly.
        self.text.shrink_to_fit();
        self.places.shrink_to_fit();
        Ok(())
    }

    /// Returns the memory of the names in bytes. The system takes more for them in its buffer.
    fn size(&self) -> usize {
        self.text.len() + self.places.len() * size_of::<(usize, FileType)>()
    }

    /// Reads the directory again until it has not changed meanwhile. The result has the names of all
    /// readings: no reading proves that a name is missing. The kind of a name that is not in the last
    /// one is unknown, so the object is examined, and not listed if it no longer exists.
    fn settle(&mut self, opened: ChangeTimes) -> Result<()> {
        let mut last = opened;
        for again in 0..READ_AGAIN {
            let now = stamp(&self.directory);
            let is_proof = |now| !is_recent(now) && is_of_kernel(&self.directory);
            let is_proved =
                now.is_some_and(|now| last == Some(now) && (again > 0 || is_proof(now)));
            if is_proved || self.size() > 2 * WHOLE {
                break;
            }
            last = now;
            let mut order = self.names();
            let unknown = order.iter().map(|name| (name.clone(), FileType::Unknown));
            let mut kinds: BTreeMap<_, _> = unknown.collect();
            // Most file systems let no name change during one call.
            let size = self.text.len() + 32 * self.places.len() + self.piece;
            (self.text, self.places) = (Vec::new(), Vec::new());
            seek(&self.directory, SeekFrom::Start(0))?;
            self.has_ended = false;
            while !self.has_ended && self.size() <= 2 * WHOLE {
                self.read(size)?;
            }
            self.has_ended = true;
            let found = self.names();
            order.extend_from_slice(&found);
            kinds.extend(found.into_iter().zip(self.places.iter().map(|(_, kind)| *kind)));
            (self.text, self.places) = (Vec::new(), Vec::new());
            for name in order {
                // Renamed meanwhile, a name can be there twice.
                if let Some(kind) = kinds.remove(&name) {
                    self.places.push((self.text.len(), kind));
                    self.text.extend_from_slice(name.to_bytes_with_nul());
                }
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<CString> {
        self.places.iter().map(|(at, _)| self.at(*at).to_owned()).collect()
    }

    /// Reads names with one system call, into a buffer of `size` bytes.
    fn read(&mut self, size: usize) -> Result<()> {
        let mut buffer = Vec::with_capacity(size);
        // The names are added while the directory is borrowed.
        let Self { directory, text, places, has_ended, .. } = self;
        // Memory that grows in small steps leaves pieces, which the C library keeps for this thread
        // and which keep apart what is free around them: 100 KiB in each session after a few replies.
        text.reserve(size);
        places.reserve(size / SHORTEST);
        let mut entries = RawDir::new(&*directory, buffer.spare_capacity_mut());
        loop {
            match entries.next() {
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    let bytes = name.to_bytes();
                    if !matches!(bytes, b"." | b"..") && !name::is_temporary(bytes) {
                        places.push((text.len(), entry.file_type()));
                        text.extend_from_slice(name.to_bytes_with_nul());
                    }
                }
                Some(Err(Errno::INTR)) => continue,
                None => *has_ended = true,
                // If the directory itself was removed, it has no entries left. Some FUSE file systems
                // report any failure so.
                Some(Err(Errno::NOENT))
                    if root::metadata_of(&*directory).is_ok_and(|it| it.links == 0) =>
                {
                    *has_ended = true;
                }
                Some(Err(errno)) => return Err(errno),
            }
            if *has_ended || entries.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

impl AsFd for DirectoryNames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn name_at(text: &[u8], start: usize) -> &CStr {
    CStr::from_bytes_until_nul(text.get(start..).unwrap_or_default()).unwrap_or_default()
}

fn stamp(directory: &OwnedFd) -> ChangeTimes {
    let found = fstat(directory).ok()?;
    let time = |seconds, nanoseconds| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or_default())
    };
    Some([time(found.st_ctime, found.st_ctime_nsec), time(found.st_mtime, found.st_mtime_nsec)])
}

fn is_recent([changed, _]: [Duration; 2]) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let recent = if changed.subsec_nanos() == 0 { RECENT_SECONDS } else { RECENT };
    now.abs_diff(changed) < recent
}

/// Returns whether a file system is one of this kernel and its disks. There, each change in a directory is
/// in its times, and only an empty directory is removed. FAT, FUSE and network file systems can have older
/// or coarser times.
pub(super) fn is_of_kernel(directory: impl AsFd) -> bool {
    fstatfs(directory).is_ok_and(|system| {
        matches!(
            i128::from(system.f_type),
            0xef53 // ext2, ext3, ext4
                | 0x9123_683e // btrfs
                | 0x5846_5342 // XFS
                | 0x0102_1994 // tmpfs
                | 0xf2f5_2010 // F2FS
                | 0x2fc1_2fc1 // ZFS
                | 0xca45_1a4e // bcachefs
        )
    })
}

/// A place to read the names of a large directory. Together, they use at most a sixteenth of the
/// memory.
#[derive(Debug)]
struct NamesPlace;

static LENT: AtomicU64 = AtomicU64::new(0);

impl NamesPlace {
    fn claim() -> Option<Self> {
        let most = budget::memory_in_all().unwrap_or(u64::MAX) / 16 / ROOM;
        let next = |lent| (lent < most).then_some(lent + 1);
        LENT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok().then(|| Self)
    }
}

impl Drop for NamesPlace {
    fn drop(&mut self) {
        LENT.fetch_sub(1, Ordering::Relaxed);
    }
}
