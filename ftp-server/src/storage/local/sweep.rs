//! Removes the files of unfinished uploads in a tree: uploads of a killed server, and partial
//! uploads that no user has resumed or that make room for other files.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, SeekFrom, fstatfs, openat, seek,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::nice;

use super::directory::{self, Directory};
use super::facts::{self, Facts, RecordFile};
use super::kept_uploads::KeptPart;
use super::name::{self, Hidden, Owner};
use super::policy::LocalConfig;
use super::root::{self, Root};
use super::usage::{Cost, Seen, Usage};
use super::{hidden, record};
use crate::storage::unfinished::{RECORDED, REMEMBERED};
use crate::storage::{EntryKind, Metadata, StorageErrorKind, StorageResult};
use crate::{limits, threads};

/// Bytes of directory entries per call.
const BUFFER: usize = 8 * 1024;

/// Maximum number of directories held open. In a deeper tree, the walk closes the upper
/// directories, and reopens them when it returns to them.
const OPEN: usize = 64;

/// Shortest time between two walks of a tree, because reading a million files takes a few seconds.
pub(super) const AGAIN: Duration = Duration::from_secs(60 * 60);

/// Shortest time to the next walk after one that lacked descriptors or memory, and so has passed over files.
pub(super) const SOON: Duration = Duration::from_secs(15);

/// Starts a thread that walks the tree below `root` now, and again whenever a kept file is too old.
/// The thread ends when the root is dropped, and with it the returned value.
pub(super) fn start(root: &Arc<Root>) -> io::Result<Sender<()>> {
    let (life, end) = mpsc::channel();
    let weak = Arc::downgrade(root);
    threads::start(Some("sweep"), limits::SESSION_STACK, move || {
        // A walk must not slow down sessions, so its priority is low. It is not the lowest, because
        // the walk holds a lock while it removes a file. A sandbox may forbid this call.
        let _ = nice(10);
        while let Some(root) = weak.upgrade() {
            let (_, pause) = once(&root);
            drop(root);
            if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    })?;
    Ok(life)
}

/// Walks the tree below `root` once. Returns whether all of it could be read, and the time until
/// the next walk: until the next kept file is too old, but not longer than a file is kept by default.
pub(super) fn once(root: &Arc<Root>) -> (bool, Duration) {
    let mut walk = Walk::new(root, None);
    let start = Instant::now();
    walk.all();
    let is_whole = walk.is_whole && !walk.is_over;
    if is_whole {
        root.usage().shelf().forget_unseen(start);
    }
    match walk.removed {
        0 => {}
        1 => log::info!("1 file of an unfinished upload removed"),
        removed => log::info!("{removed} files of unfinished uploads removed"),
    }
    let pause = match walk.is_short {
        // A lack that stays must not keep the disk busy.
        true => SOON.max(start.elapsed().saturating_mul(10)),
        false => walk.due.clamp(AGAIN, REMEMBERED),
    };
    (is_whole, pause)
}

/// Walks the tree below `root` once. Returns the cost of its files and directories, including kept
/// files. A file counts once for each of its names. Returns `None` if the walk ended early, because
/// nothing else uses the root any more.
pub(super) fn count(root: &Arc<Root>) -> Option<Seen> {
    let mut walk = Walk::new(root, Some(Cost::default()));
    walk.all();
    if !walk.is_whole {
        log::warn!("quota: cannot read all directories: the counted usage may be too low");
    }
    let is_whole = walk.is_whole;
    let seen = walk.cost.map(|cost| Seen { cost, is_whole });
    seen.filter(|_| !walk.is_over)
}

/// One walk through a tree of any depth. The length of paths is limited, but clients can move
/// directories into other directories and so make a deeper tree.
struct Walk<'a> {
    root: &'a Arc<Root>,
    /// The cost so far, if this walk counts.
    cost: Option<Cost>,
    /// Whether everything could be read.
    is_whole: bool,
    /// Whether something could not be read for a lack that passes.
    is_short: bool,
    removed: u64,
    /// The time until the next kept file is too old.
    due: Duration,
    /// Whether the walk ended early, because nothing else uses the root any more.
    is_over: bool,
    /// The directories from the top to the current one.
    way: Vec<Level>,
}

/// A directory that is being read.
struct Level {
    /// The open directory; `None` if it was closed because the walk is far below it.
    directory: Option<OwnedFd>,
    identity: (u64, u64),
    name: Vec<u8>,
    /// The subdirectories that the walk has not entered yet.
    below: Vec<Vec<u8>>,
    /// The hidden files of uploads that were read so far.
    hidden: Vec<(Vec<u8>, Metadata)>,
    position: u64,
    is_read: bool,
}

impl<'a> Walk<'a> {
    const fn new(root: &'a Arc<Root>, cost: Option<Cost>) -> Self {
        let (is_whole, is_short, is_over) = (true, false, false);
        Self {
            root,
            cost,
            is_whole,
            is_short,
            removed: 0,
            due: REMEMBERED,
            is_over,
            way: Vec::new(),
        }
    }

    /// Notes that something could not be read.
    fn note(&mut self, errno: Errno) {
        self.is_whole = false;
        self.is_short |= hidden::is_shortage(errno);
    }

    /// Walks the whole tree. Errors do not end the walk, but clear `is_whole`.
    fn all(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        match self.root.open_beneath(b"", flags) {
            Ok(top) => self.enter(top, self.root.identity(), Vec::new()),
            Err(errno) => self.note(errno),
        }
        let mut buffer = Vec::with_capacity(BUFFER);
        while let Some(level) = self.way.last_mut() {
            if self.is_over || Arc::strong_count(self.root) <= 1 {
                // Nothing else uses the root any more.
                self.is_over = true;
                return;
            }
            match level.below.pop() {
                Some(name) => self.down(name),
                None if level.is_read => self.up(),
                None => self.read(&mut buffer),
            }
        }
    }

    fn enter(&mut self, directory: OwnedFd, identity: (u64, u64), name: Vec<u8>) {
        let (below, hidden, directory) = (Vec::new(), Vec::new(), Some(directory));
        let (position, is_read) = (0, false);
        self.way.push(Level { directory, identity, name, below, hidden, position, is_read });
        let far = self.way.len().checked_sub(OPEN + 1);
        if let Some(far) = far.and_then(|far| self.way.get_mut(far)) {
            far.directory = None;
        }
    }

    fn down(&mut self, name: Vec<u8>) {
        let Some(level) = self.way.last() else { return };
        let Some(directory) = &level.directory else { return };
        match open(directory, &name, level.identity.0) {
            Ok(Some((below, identity))) => {
                self.add(Cost::DIRECTORY);
                self.enter(below, identity, name);
            }
            // The directory was removed or replaced in the meantime, or is a mount of a file system
            // without files.
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => {
                self.add(Cost::DIRECTORY);
                self.note(errno);
            }
        }
    }

    /// Continues with the parent directory, which must be opened again if it was closed.
    fn up(&mut self) {
        let left = self.way.pop().and_then(|level| level.directory);
        let Some(above) = self.way.last_mut() else { return };
        if above.directory.is_some() {
            return;
        }
        let found = left.ok_or(Errno::NOENT).and_then(|left| {
            let directory = retry_on_intr(|| openat(&left, "..", FLAGS, Mode::empty()))?;
            match root::metadata_of(&directory)?.identity == above.identity {
                true => seek(&directory, SeekFrom::Start(above.position)).map(|_| directory),
                // The directory was moved while the walk was in it.
                false => Err(Errno::NOENT),
            }
        });
        match found {
            Ok(directory) => above.directory = Some(directory),
            Err(errno) => {
                self.way.clear();
                self.note(errno);
            }
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) {
        let Some(level) = self.way.last_mut() else { return };
        let Some(directory) = level.directory.take() else {
            // This cannot happen: a directory is open while the walk is in it.
            level.is_read = true;
            self.is_whole = false;
            return;
        };
        let mut failed = None;
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        loop {
            let entry = match entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(Errno::INTR)) => continue,
                ended => {
                    level.is_read = true;
                    failed = failed.or(ended.and_then(Result::err));
                    break;
                }
            };
            level.position = entry.next_entry_cookie();
            let name = entry.file_name().to_bytes();
            match entry.file_type() {
                _ if matches!(name, b"." | b"..") => {}
                FileType::RegularFile | FileType::Unknown
                    if self.cost.is_some() || name::is_temporary(name) =>
                {
                    match root::metadata_at(&directory, name, AtFlags::empty()) {
                        Ok(found) if found.kind == EntryKind::File => {
                            if name::hidden(name).is_some() {
                                level.hidden.push((name.to_vec(), found));
                            } else if let Some(sum) = &mut self.cost {
                                *sum = sum.plus(Cost::of_file(found.size));
                            }
                        }
                        Ok(Metadata { kind: EntryKind::Directory, .. }) => {
                            level.below.push(name.to_vec());
                        }
                        Ok(_) | Err(Errno::NOENT) => {}
                        Err(errno) => failed = Some(errno),
                    }
                }
                // Some file systems do not report types here.
                FileType::Directory | FileType::Unknown => level.below.push(name.to_vec()),
                _ => {}
            }
            if entries.is_buffer_empty() {
                break;
            }
        }
        let is_read = level.is_read;
        if let Some(errno) = failed {
            self.note(errno);
        }
        if is_read && let Some(level) = self.way.last_mut() {
            let hidden = std::mem::take(&mut level.hidden);
            self.judge(&directory, &hidden);
        }
        if let Some(level) = self.way.last_mut() {
            level.directory = Some(directory);
        }
    }

    /// Adds to the cost, if this walk counts.
    fn add(&mut self, cost: Cost) {
        if let Some(sum) = &mut self.cost {
            *sum = sum.plus(cost);
        }
    }

    /// Puts a record in the current directory on the shelf, also for other roots above that
    /// directory.
    fn shelve(&self, record: &[u8], facts: Option<(&Facts, u64)>) {
        let above = self.way.last().map_or((0, 0), |level| level.identity);
        for (at, level) in self.way.iter().enumerate() {
            let usage = match at {
                0 => Some(Arc::clone(self.root.usage())),
                _ => Usage::in_use(level.identity),
            };
            if let Some(usage) = usage {
                let directory = self.path_below(at);
                usage.shelf().put(match facts {
                    Some((facts, size)) => facts.part(directory, above, record, size),
                    None => KeptPart::new(directory, above, record, true),
                });
            }
        }
    }

    /// Puts a record whose bytes this walk counts on the shelf: only what is there gives way to other
    /// files, and is subtracted when it goes.
    fn shelve_counted(&self, directory: &OwnedFd, record: &[u8], facts: &Facts, size: u64) {
        // Running uploads are not on the shelf.
        if hidden::check_left(directory.as_fd(), record).is_ok() {
            let above = self.way.last().map_or((0, 0), |level| level.identity);
            record::if_unchanged((directory, above), record, facts, || {
                self.shelve(record, Some((facts, size)));
            });
        }
    }

    /// Returns the path of the current directory, relative to the directory at level `at`.
    fn path_below(&self, at: usize) -> Vec<u8> {
        let names: Vec<&[u8]> = self.way.iter().skip(at + 1).map(|level| &*level.name).collect();
        names.join(&b'/')
    }

    /// Judges the hidden files of the current directory, all of which were read. Bytes that no record
    /// names are those of a running upload, which are locked and which its session counts itself, or
    /// were left by a killed server.
    fn judge(&mut self, directory: &OwnedFd, hidden: &[(Vec<u8>, Metadata)]) {
        let is_record = |name: &[u8]| name::hidden(name) == Some(Hidden::Record);
        let (mut kept, mut is_unread) = (Vec::new(), false);
        for (name, found) in hidden.iter().filter(|(name, _)| is_record(name)) {
            let said = match self.cost {
                // Whether they are too old does not matter: they count until they are removed.
                Some(_) => facts::read(directory, name).map(|read| match read {
                    RecordFile::Whole(facts) => {
                        let bytes = hidden.iter().find(|(name, _)| *name == facts.bytes);
                        if let Some((_, bytes)) = bytes {
                            self.shelve_counted(directory, name, &facts, bytes.size);
                        }
                        Some(*facts)
                    }
                    RecordFile::Missing | RecordFile::Doubtful => None,
                }),
                None => self.record(directory, name, found),
            };
            match said {
                Ok(facts) => kept.extend(facts),
                Err(errno) => {
                    // Any bytes here may be those of this record: they stay, and count.
                    is_unread = true;
                    self.note(errno);
                }
            }
        }
        for (name, found) in hidden.iter().filter(|(name, _)| !is_record(name)) {
            let is_kept = is_unread || kept.iter().any(|facts| facts.bytes == *name);
            if is_kept {
                self.add(Cost::of_file(found.size));
            } else if self.cost.is_none() {
                self.remove(directory, name, found, || Usage::have_bytes(name));
            }
        }
    }

    /// Judges a record: puts it on the shelf, or removes it if it has ended. Returns what it says, if
    /// its bytes are to stay. Fails if it cannot be read for a shortage.
    fn record(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        found: &Metadata,
    ) -> Result<Option<Facts>, Errno> {
        let above = self.way.last().map_or((0, 0), |level| level.identity);
        // First the lock: an upload that is cut writes what it leaves before it lets go.
        let looked = hidden::check_left(directory.as_fd(), name);
        let facts = match facts::read(directory, name)? {
            RecordFile::Missing => return Ok(None),
            RecordFile::Doubtful => None,
            RecordFile::Whole(facts) => Some(*facts),
        };
        let is_left = match looked {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(Errno::WOULDBLOCK) => false,
            // Without locks, the upload may be running, or resumed, but not after that time.
            Err(errno) => {
                self.is_short |= hidden::is_shortage(errno);
                hidden::is_older_than(found, RECORDED)
            }
        };
        if !is_left {
            return Ok(facts);
        }
        let Some(facts) = facts else {
            self.shelve(name, None);
            return Ok(None);
        };
        let now = match root::metadata_at(directory, &*facts.name, AtFlags::empty()) {
            Ok(now) => Some(now),
            Err(Errno::NOENT) => None,
            // It is unknown whether the old file is there.
            Err(_) => return Ok(Some(facts)),
        };
        let usage = Arc::clone(self.root.usage());
        if facts.has_ended(now.as_ref()) {
            record::if_unchanged((directory, above), name, &facts, || {
                // The bytes go first, while the shelf knows that they count, and the record names them.
                match hidden::remove(&usage, directory, &facts.bytes, || false) {
                    Err(errno) if hidden::is_shortage(errno) => self.note(errno),
                    Ok(()) | Err(_) => {
                        self.remove(directory, name, found, || false);
                        usage.shelf().take(above, name);
                    }
                }
            });
            return Ok(None);
        }
        let bytes = facts.kept_bytes(directory);
        let left = match bytes {
            Some(_) => facts.seconds_of_bytes(),
            None => facts.seconds_left(),
        };
        self.due = self.due.min(Duration::from_secs(u64::try_from(left).unwrap_or_default()));
        let found = root::metadata_at(directory, &*facts.bytes, AtFlags::empty());
        let size = found.map_or(0, |found| found.size);
        record::if_unchanged((directory, above), name, &facts, || {
            self.shelve(name, Some((&facts, size)));
            if bytes.is_none() {
                let _ = hidden::remove(&usage, directory, &facts.bytes, || false);
                usage.shelf().emptied(&facts.bytes);
            }
        });
        Ok(bytes.map(|_| facts))
    }

    /// Removes a hidden file, unless an upload is writing to it or it `stays`.
    fn remove(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        found: &Metadata,
        stays: impl Fn() -> bool,
    ) {
        // The server never gives such a file a second name, so another program has done so. The
        // file stays.
        if found.links > 1 {
            return;
        }
        let removed = match hidden::remove(self.root.usage(), directory, name, stays) {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(Errno::WOULDBLOCK) => false,
            // On a file system without locks, it is unknown whether an upload still writes to the
            // file. After half a day, no upload does.
            Err(_) if hidden::is_older_than(found, REMEMBERED) => {
                retry_on_intr(|| unlinkat(directory, name, AtFlags::empty())).is_ok()
            }
            Err(errno) => {
                self.is_short |= hidden::is_shortage(errno);
                false
            }
        };
        self.removed += u64::from(removed);
    }
}

/// Drops the bytes of earlier uploads of the same user, the oldest first, until `size` more bytes may be
/// kept. Their records stay. Returns `false` if they cannot.
pub(super) fn make_way(root: &Arc<Root>, owner: Owner, size: u64, config: LocalConfig) -> bool {
    let mut parts = root.usage().shelf().by_age();
    parts.retain(|part| part.owner() == owner);
    let mut bytes: u64 = parts.iter().map(|part| part.size).sum();
    let mut files = parts.len();
    let mut dropped = parts.iter().filter(|part| drop_bytes(part, root));
    while !config.allows_kept(files + 1, size.saturating_add(bytes)) {
        let Some(part) = dropped.next() else { return false };
        (files, bytes) = (files - 1, bytes.saturating_sub(part.size));
    }
    true
}

/// Drops the bytes of unfinished uploads under a quota, those of `owner` first, the oldest first, until
/// `begin` does not fail with `OverQuota`: what no client sees makes room for what all see.
pub(super) fn give_way<T>(
    root: &Arc<Root>,
    owner: Owner,
    mut begin: impl FnMut() -> StorageResult<T>,
) -> StorageResult<T> {
    let mut begun = begin();
    let is_over = |begun: &StorageResult<T>| {
        begun.as_ref().is_err_and(|error| error.kind == StorageErrorKind::OverQuota)
    };
    if is_over(&begun) {
        let mut parts = root.usage().shelf().by_age();
        parts.sort_by_key(|part| part.owner() != owner);
        let mut dropped = parts.iter().filter(|part| drop_bytes(part, root));
        while is_over(&begun) && dropped.next().is_some() {
            begun = begin();
        }
    }
    begun
}

/// Drops the bytes of partial uploads of all users on a device, the oldest first, until `is_enough`
/// returns `true`. Always drops some before it calls `is_enough`; but none if all together have less
/// than `lacking` bytes, and would be lost for nothing. Returns the number of uploads that lost their
/// bytes; their records stay.
pub(super) fn give_up(
    root: &Arc<Root>,
    device: u64,
    lacking: u64,
    is_enough: impl Fn() -> bool,
) -> usize {
    let mut parts = root.usage().shelf().by_age();
    parts.retain(|part| part.above.0 == device);
    if parts.iter().map(|part| part.size).sum::<u64>() < lacking {
        return 0;
    }
    let mut gone = 0;
    let mut dropped = parts.iter().filter(|part| drop_bytes(part, root));
    while (gone == 0 || !is_enough()) && dropped.next().is_some() {
        gone += 1;
    }
    if gone > 0 {
        let uploads = if gone == 1 { "upload" } else { "uploads" };
        log::info!("{gone} partial {uploads} removed to free space");
    }
    gone
}

/// Drops the bytes of an unfinished upload. Returns `false` if a session is resuming it or this fails.
/// If another program has removed or moved them, forgets them and returns `true`.
fn drop_bytes(part: &KeptPart, root: &Arc<Root>) -> bool {
    let usage = root.usage();
    let opened = Directory::open(root, &part.directory);
    let removed = opened.and_then(|it| hidden::remove(usage, it, &part.bytes, || false));
    match removed {
        Ok(()) => true,
        Err(Errno::NOENT | Errno::NOTDIR) => usage.shelf().emptied(&part.bytes).is_some(),
        Err(_) => false,
    }
}

/// Removes the hidden files in a directory, if it contains nothing else. Returns ENOTEMPTY if it
/// contains anything else, or EBUSY if an upload is running there.
pub(super) fn empty(parent: &Directory, name: &[u8]) -> Result<(), Errno> {
    // The first two passes remove nothing, so that no file is removed if any entry would stay.
    let directory = open_empty(parent, name).map_err(|_| Errno::NOTEMPTY)?;
    let usage = parent.root().usage();
    directory::all_names(&directory, Errno::BUSY, &|name| {
        !matches!(hidden::check_left(directory.as_fd(), name), Err(Errno::WOULDBLOCK))
    })?;
    directory::all_names(&directory, Errno::BUSY, &|name| {
        matches!(hidden::remove(usage, &directory, name, || false), Ok(()) | Err(Errno::NOENT))
    })?;
    usage.shelf().forget_in(root::metadata_of(&directory)?.identity);
    Ok(())
}

/// Opens a directory that contains nothing but hidden files. Returns ENOTEMPTY if it contains
/// anything else.
pub(super) fn open_empty(parent: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = retry_on_intr(|| openat(parent, name, flags, Mode::empty()))?;
    directory::all_names(&directory, Errno::NOTEMPTY, &|name| name::hidden(name).is_some())?;
    Ok(directory)
}

/// An open directory with its device and inode.
type OpenedDirectory = (OwnedFd, (u64, u64));

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Opens the subdirectory `name` of `directory`, and returns it with its identity. `device` is the
/// device of `directory`. Returns `None` for the root of a file system without files, such as
/// `/proc`.
fn open(directory: impl AsFd, name: &[u8], device: u64) -> Result<Option<OpenedDirectory>, Errno> {
    let below = retry_on_intr(|| openat(&directory, name, FLAGS, Mode::empty()))?;
    let found = root::metadata_of(&below)?.identity;
    Ok(if found.0 != device && is_made_up(&below) { None } else { Some((below, found)) })
}

/// Returns whether a file system has no files: proc, sysfs, both of control groups, debugfs, tracefs,
/// securityfs or autofs. A size of 0 does not prove it, because some remote file systems report none.
fn is_made_up(directory: impl AsFd) -> bool {
    fstatfs(directory).is_ok_and(|system| {
        matches!(
            system.f_type,
            PROC_SUPER_MAGIC
                | 0x6265_6572
                | 0x0027_e0eb
                | 0x6367_7270
                | 0x6462_6720
                | 0x7472_6163
                | 0x7363_6673
                | 0x0187
        )
    })
}
