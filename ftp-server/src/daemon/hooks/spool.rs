//! The queue of events on disk: a directory with one file for each event that a hook has not handled.
//! Another directory keeps the events that failed for good, the dead letters.
//!
//! A file contains the JSON of its event. Its name consists of the event's id and word, and the form
//! of the hook. While an upload is being published, the inode and length of its hidden file follow.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::SyncPolicy;
use crate::daemon::config::{Config, Settings};
use crate::daemon::logging::LOG;
use crate::daemon::{DaemonError, start_thread};
use crate::lock::Lock;
use crate::storage::{lock, rename_new, unlock};
use ftp_proto::text::values::{counted, shown_path};

/// Maximum time that a session or the shutdown waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most threads that wait for a disk that hangs.
const MOST_STUCK: usize = 64;

/// The most events that wait to become dead letters because the queue was full.
const REFUSED: usize = 1_000;

/// Beginning of the name of a temporary spool.
const TEMPORARY: &str = "ftp-hooks-";

/// Directory of dead letters in the spool.
const FAILED: &str = "failed";

/// The directory, which no other server uses.
pub(in crate::daemon) struct Spool {
    path: PathBuf,
    /// The open directory, locked against other servers.
    directory: File,
    /// Whether the next start does not find the events.
    pub(super) is_temporary: bool,
    /// Names of the files that a former server left, in order.
    left: Lock<Vec<String>>,
    /// Calls for a thread that is not confined.
    calls: Sender<Call>,
    /// Calls for another such thread, which may wait for the directory of dead letters.
    letters: SyncSender<Call>,
    /// Sequence numbers of the last call that was queued, of the last that completed, and of the
    /// last that timed out. The disk hangs while a timed-out call has not completed.
    asked: AtomicU64,
    ended: Arc<AtomicU64>,
    late: AtomicU64,
    /// Threads that sync a file.
    syncing: Arc<AtomicUsize>,
}

type Call = Box<dyn FnOnce() + Send>;

impl Spool {
    /// Opens and locks the directory of the settings, or creates a temporary one.
    ///
    /// # Errors
    ///
    /// Returns the reason if the directory cannot be used, if another server uses it, or if other
    /// users of the computer can change it.
    pub(super) fn open(config: &Config) -> Result<Self, DaemonError> {
        let place = spool_directory(&config.settings);
        let is_temporary = place.is_none();
        let parent = parent_of_temporary(&config.settings);
        let failed = |error: io::Error| failure(&config.settings, &error);
        let refused = |path: &Path, why: &str| Err(DaemonError::configuration(said_of(path, why)));
        let path = match &place {
            Some(path) => make(path).map(|()| path.clone()),
            None => {
                let made = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&parent);
                made.map(tempfile::TempDir::keep)
            }
        };
        let path = path.map_err(failed)?;
        let directory = File::open(&path).map_err(failed)?;
        match lock(&directory) {
            Err(Errno::WOULDBLOCK) => {
                return refused(&path, "is in use by another server; use another directory");
            }
            locked => locked.map_err(|errno| failed(errno.into()))?,
        }
        if is_temporary {
            let shown = shown_path(&path);
            log::info!(target: LOG, "hooks.spool is empty: events wait in {shown}, where the next start does not look for them");
        }
        // The owner of the directory, and all who can write to it, can add events.
        let found = directory.metadata().map_err(failed)?;
        let is_own = |owner: u32| owner == geteuid().as_raw() || owner == 0;
        if !is_own(found.uid()) || found.mode() & 0o022 != 0 {
            return refused(&path, BY_OTHERS);
        }
        if let Some(failed_events) = place.as_ref().map(|path| path.join(FAILED)) {
            make(&failed_events).map_err(failed)?;
        }
        let left = Lock::new(names(&path, is_own).map_err(failed)?);
        let (calls, receiver) = mpsc::channel::<Call>();
        let (letters, refused) = mpsc::sync_channel::<Call>(REFUSED);
        let works: [Call; 2] = [
            Box::new(move || receiver.into_iter().for_each(|call| call())),
            Box::new(move || refused.into_iter().for_each(|call| call())),
        ];
        for work in works {
            start_thread("hooks", work).map_err(|error| DaemonError::no_thread("hooks", &error))?;
        }
        let (asked, ended, late) = (AtomicU64::new(0), Arc::default(), AtomicU64::new(0));
        let syncing = Arc::default();
        Ok(Self {
            path,
            directory,
            is_temporary,
            left,
            calls,
            letters,
            asked,
            ended,
            late,
            syncing,
        })
    }

    /// Returns the directory for events that were not handled, if it lasts.
    pub(super) fn failed(&self) -> Option<PathBuf> {
        (!self.is_temporary).then(|| self.path.join(FAILED))
    }

    /// Returns whether the spool is at this place; `None` is a temporary directory.
    pub(super) fn is_at(&self, place: Option<&Path>) -> bool {
        place.map_or(self.is_temporary, |place| place == self.path)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the names of the files that a former server left, if they were not taken yet.
    pub(super) fn take_left(&self) -> Vec<String> {
        std::mem::take(&mut *self.left.lock())
    }

    /// Keeps the names of files for the next call of [`take_left`](Self::take_left).
    pub(super) fn put_back(&self, names: impl IntoIterator<Item = String>) {
        self.left.lock().extend(names);
    }

    /// Runs a call in a thread that is not confined by Landlock, as that of a session may be.
    /// Returns `None` if it does not complete in time, and at once while an earlier call hangs; it
    /// stays queued all the same.
    pub(super) fn unconfined<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::channel();
        let ended = Arc::clone(&self.ended);
        let patience = if self.hangs() { Duration::ZERO } else { PATIENCE };
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        // The thread outlives the spool.
        let _ = self.calls.send(Box::new(move || {
            drop(sender.send(call()));
            ended.fetch_add(1, Ordering::Relaxed);
        }));
        let answer = receiver.recv_timeout(patience).ok();
        if answer.is_none() {
            self.late.fetch_max(number, Ordering::Relaxed);
        }
        answer
    }

    /// Returns whether a call hangs whose caller has given up.
    fn hangs(&self) -> bool {
        self.ended.load(Ordering::Relaxed) < self.late.load(Ordering::Relaxed)
    }

    /// Queues a call for a thread that is not confined, without waiting. Returns `false` if the
    /// queue is full.
    pub(super) fn later(&self, call: impl FnOnce() + Send + 'static) -> bool {
        self.letters.try_send(Box::new(call)).is_ok()
    }

    /// Writes a new file. The disk has it when this function returns, as far as `sync` requires.
    ///
    /// # Errors
    ///
    /// Returns the error of the file, or `TimedOut` if the disk does not respond.
    pub(super) fn add(&self, name: &str, json: &str, sync: SyncPolicy) -> io::Result<()> {
        if self.hangs() {
            return Err(ErrorKind::TimedOut.into());
        }
        let (path, json) = (self.at(name), json.to_owned());
        let written = self.unconfined(move || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let written = file.write_all(json.as_bytes()).map(|()| file);
            written.inspect_err(|_| drop(fs::remove_file(&path)))
        });
        let file = written.ok_or(ErrorKind::TimedOut)??;
        match sync {
            _ if self.is_temporary => Ok(()),
            SyncPolicy::None => Ok(()),
            SyncPolicy::File => self.sync(file, None),
            SyncPolicy::FileAndDirectory => self.sync(file, Some(self.directory.try_clone()?)),
        }
    }

    /// Syncs a file, then its directory, in a helper thread: concurrent uploads sync in parallel,
    /// and a disk that hangs delays none of them by more than [`PATIENCE`].
    fn sync(&self, file: File, directory: Option<File>) -> io::Result<()> {
        let syncing = Arc::clone(&self.syncing);
        if syncing.fetch_add(1, Ordering::Relaxed) >= MOST_STUCK {
            syncing.fetch_sub(1, Ordering::Relaxed);
            return Err(ErrorKind::TimedOut.into());
        }
        let (sender, receiver) = mpsc::channel();
        let done = Arc::clone(&syncing);
        let work = move || {
            let synced = file.sync_data();
            let synced = synced.and_then(|()| directory.map_or(Ok(()), |it| it.sync_all()));
            done.fetch_sub(1, Ordering::Relaxed);
            drop(sender.send(synced));
        };
        if let Err(error) = start_thread("hooks sync", work) {
            syncing.fetch_sub(1, Ordering::Relaxed);
            return Err(error);
        }
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        self.warn_if_failed(from, fs::rename(self.at(from), self.at(to)));
    }

    pub(super) fn remove(&self, name: &str) {
        self.warn_if_failed(name, fs::remove_file(self.at(name)));
    }

    fn warn_if_failed(&self, name: &str, changed: io::Result<()>) {
        if let Err(error) = changed
            && error.kind() != ErrorKind::NotFound
        {
            let path = shown_path(&self.at(name));
            log::warn!(target: LOG, "hooks.spool: {path}: {error}; the event may be delivered twice");
        }
    }

    /// Ends the use of the directory, unless its disk hangs. Removes it if it is temporary and empty.
    pub(super) fn close(self: &Arc<Self>) {
        let spool = Arc::clone(self);
        self.unconfined(move || spool.release());
    }

    fn release(&self) {
        let left = names(&self.path, |_| true).map_or(0, |names| names.len());
        if left > 0 {
            let (events, shown) = (counted(left, "event"), shown_path(&self.path));
            log::warn!(target: LOG, "{events} left in {shown}; to deliver them, start the server with hooks.spool={shown}");
        }
        self.remove_temporary();
        unlock(&self.directory);
    }

    fn remove_temporary(&self) {
        if self.is_temporary {
            // Fails if the directory is not empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.remove_temporary();
    }
}

/// Returns the directory that the settings name, or else one in the service's state directory.
pub(in crate::daemon) fn spool_directory(settings: &Settings) -> Option<PathBuf> {
    let by_service = || Some(settings.environment.state_directory()?.join("hooks"));
    settings.hooks.spool.clone().or_else(by_service)
}

fn parent_of_temporary(settings: &Settings) -> PathBuf {
    settings.environment.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

const BY_OTHERS: &str = "can be changed by other users of this computer; use chmod 700";

/// Returns whether a hook is configured whose events wait in the spool.
pub(in crate::daemon) fn needs_spool(settings: &Settings) -> bool {
    settings.hooks.program.is_some() || !settings.hooks.stored.is_empty()
}

/// Returns the directories of the spool, if it is needed.
pub(in crate::daemon) fn spool_files(settings: &Settings) -> Vec<PathBuf> {
    if !needs_spool(settings) {
        return Vec::new();
    }
    // A temporary directory gets a name of its own.
    let temporary = || parent_of_temporary(settings).join(TEMPORARY);
    let spool = spool_directory(settings).unwrap_or_else(temporary);
    vec![spool.join(FAILED), spool]
}

/// Returns why the spool cannot be where these settings put it: other users can change it.
pub(in crate::daemon) fn flaw(settings: &Settings) -> Option<String> {
    let path = spool_directory(settings)?;
    let is_open = path.metadata().is_ok_and(|found| found.mode() & 0o022 != 0);
    is_open.then(|| said_of(&path, BY_OTHERS))
}

/// Returns the error of a spool whose disk does not answer.
pub(super) fn unanswered(settings: &Settings) -> DaemonError {
    failure(settings, &ErrorKind::TimedOut.into())
}

fn failure(settings: &Settings, error: &io::Error) -> DaemonError {
    let place = spool_directory(settings).unwrap_or_else(|| parent_of_temporary(settings));
    DaemonError::local(format_args!("hooks.spool: {}", shown_path(&place)), error)
}

fn said_of(path: &Path, why: &str) -> String {
    format!("hooks.spool: {} {why}", shown_path(path))
}

/// Creates a directory, unless it exists.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns the names of the files in a directory that have the right owner, in order.
fn names(directory: &Path, is_own: impl Fn(u32) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok();
        let is_event = |found: Metadata| found.is_file() && is_own(found.uid());
        names.extend(name.filter(|_| entry.metadata().is_ok_and(is_event)));
    }
    names.sort();
    Ok(names)
}

/// Limits on the files in the directory of dead letters: their number, and their bytes in total. They
/// are needed because clients can cause many events.
const FILES: usize = 10_000;
const BYTES: u64 = 64 * 1024 * 1024;

/// Shortest time between two counts of a full directory of dead letters.
const LOOK: Duration = Duration::from_secs(1);

/// The directory of events that `hooks.program` did not handle, with one JSON file per event: that
/// of `hooks.dead_letters`, or one in the spool.
pub(super) struct DeadLetters {
    directory: PathBuf,
    stock: Lock<Option<StoredEvents>>,
}

/// Files in the directory of dead letters.
struct StoredEvents {
    files: usize,
    bytes: u64,
    counted: Instant,
}

impl StoredEvents {
    fn count(directory: &Path) -> io::Result<Self> {
        let mut stock = Self { files: 0, bytes: 0, counted: Instant::now() };
        for entry in fs::read_dir(directory)? {
            stock.files += 1;
            // A file that was removed in the meantime takes no space.
            stock.bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(stock)
    }

    const fn is_full(&self) -> bool {
        self.files >= FILES || self.bytes >= BYTES
    }
}

impl DeadLetters {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory, stock: Lock::new(None) }
    }

    /// Moves the file of an event from the spool to the directory. Returns its new path.
    ///
    /// # Errors
    ///
    /// Returns a message with the reason if the event is not safely in the directory.
    pub(super) fn keep(&self, from: &Path, name: &str, json: &str) -> Result<PathBuf, String> {
        let shown = || shown_path(&self.directory);
        let failed = |error: io::Error| format!("cannot write to {}: {error}", shown());
        let mut known = self.stock.lock();
        let is_usable = |stock: &StoredEvents| !stock.is_full() || stock.counted.elapsed() < LOOK;
        let mut stock = match known.take().filter(is_usable) {
            Some(stock) => stock,
            // Files may have been removed since the last count.
            None => StoredEvents::count(&self.directory).map_err(failed)?,
        };
        let kept = match stock.is_full() {
            true => Err(format!("{} is full", shown())),
            false => move_in(from, &self.directory, name, json).map_err(failed),
        };
        if kept.is_ok() {
            stock.files += 1;
            stock.bytes += u64::try_from(json.len()).unwrap_or(u64::MAX);
        }
        *known = Some(stock);
        kept
    }
}

/// Moves the file of an event into a directory, and syncs both. If the file is missing or on another
/// file system, writes a new one under a temporary name first, and never replaces a file.
fn move_in(from: &Path, directory: &Path, name: &str, json: &str) -> io::Result<PathBuf> {
    let path = directory.join(name);
    match fs::rename(from, &path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::CrossesDevices) => {
            let mut file = tempfile::Builder::new().prefix(".event-").tempfile_in(directory)?;
            file.write_all(json.as_bytes())?;
            file.as_file().sync_data()?;
            rename_new((CWD, file.path()), (CWD, &*path))?;
        }
        renamed => renamed.and_then(|()| File::open(&path)?.sync_data())?,
    }
    File::open(directory)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_dead_letter_directory_accepts_files_after_a_replay() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(directory.path().to_owned());
        let missing = Path::new("/proc/none/event");
        let keep = |name: &str| letters.keep(missing, name, "{}\n");
        let path = keep("1.json").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        // A name is never used twice.
        assert!(keep("1.json").unwrap_err().contains("File exists"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        *letters.stock.lock() = None;
        File::create(directory.path().join("large")).unwrap().set_len(BYTES).unwrap();
        assert!(keep("2.json").unwrap_err().ends_with(" is full"));
        fs::remove_file(directory.path().join("large")).unwrap();
        // The directory is not counted again for each event.
        assert!(keep("2.json").unwrap_err().ends_with(" is full"));
        letters.stock.lock().as_mut().unwrap().counted -= LOOK;
        keep("2.json").unwrap();
        letters.stock.lock().as_mut().unwrap().files = FILES;
        assert!(keep("3.json").unwrap_err().ends_with(" is full"));
        let spooled = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        *letters.stock.lock() = None;
        letters.keep(spooled.path(), "4.json", "").unwrap();
        assert!(!spooled.path().exists() && directory.path().join("4.json").exists());
        let nowhere = DeadLetters::new(directory.path().join("missing"));
        assert!(nowhere.keep(missing, "5.json", "{}").unwrap_err().contains("No such file"));
    }
}
