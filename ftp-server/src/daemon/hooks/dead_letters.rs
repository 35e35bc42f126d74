//! The directory of events that `hooks.program` did not handle: one JSON file per event.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::CWD;

use crate::daemon::values::shown_path;
use crate::lock::Lock;
use crate::storage::rename_new;

/// Limits on the files in the directory: their number, and their bytes in total. They are needed
/// because clients can cause many events.
const FILES: usize = 10_000;
const BYTES: u64 = 64 * 1024 * 1024;

/// Shortest time between two counts of a full directory.
const LOOK: Duration = Duration::from_secs(1);

/// The directory of `hooks.dead_letters`, or one in the spool.
pub(super) struct DeadLetters {
    directory: PathBuf,
    stock: Lock<Option<StoredEvents>>,
}

/// Files in the directory.
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
            false => write(from, &self.directory, name, json).map_err(failed),
        };
        if kept.is_ok() {
            stock.files += 1;
            stock.bytes += u64::try_from(json.len()).unwrap_or(u64::MAX);
        }
        *known = Some(stock);
        kept
    }
}

/// Renames a file, and syncs it. If it is missing or on another file system, writes a new one under a
/// temporary name first, and never replaces a file.
fn write(from: &Path, directory: &Path, name: &str, json: &str) -> io::Result<PathBuf> {
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
