//! The directory of events that `hooks.program` did not handle: one JSON file per event.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::daemon::values::shown_path;
use crate::lock::unpoisoned;

/// Limits on the files in the directory: their number, and their bytes in total. They are needed
/// because clients can cause many events.
const FILES: usize = 10_000;
const BYTES: u64 = 64 * 1024 * 1024;

/// Shortest time between two counts of a full directory.
const LOOK: Duration = Duration::from_secs(1);

/// The directory of `hooks.dead_letters`, or none.
pub(super) struct DeadLetters {
    directory: Option<PathBuf>,
    stock: Mutex<Option<StoredEvents>>,
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
    pub(super) const fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, stock: Mutex::new(None) }
    }

    /// Writes an event to a new file, which appears when it is complete. Returns its path.
    ///
    /// # Errors
    ///
    /// Returns a message with the reason if the event is not safely in a file.
    pub(super) fn keep(&self, name: &str, json: &[u8]) -> Result<PathBuf, String> {
        let kept = self.keep_all(&[(name, json)]).pop();
        kept.unwrap_or_else(|| Err("no event".to_owned()))
    }

    /// Writes events to new files, and syncs the directory once. Returns for each event the path of
    /// its file, or why the event is not safely in a file.
    pub(super) fn keep_all(&self, events: &[(&str, &[u8])]) -> Vec<Result<PathBuf, String>> {
        let Some(directory) = &self.directory else {
            return vec![Err("hooks.dead_letters is empty".to_owned()); events.len()];
        };
        let failed =
            |error: io::Error| format!("cannot write to {}: {error}", shown_path(directory));
        let mut known = unpoisoned(self.stock.lock());
        let is_usable = |stock: &StoredEvents| !stock.is_full() || stock.counted.elapsed() < LOOK;
        let mut stock = match known.take().filter(is_usable) {
            Some(stock) => stock,
            // Files may have been removed since the last count.
            None => match StoredEvents::count(directory) {
                Ok(stock) => stock,
                Err(error) => return vec![Err(failed(error)); events.len()],
            },
        };
        let mut kept = Vec::new();
        for (name, json) in events {
            let written = match stock.is_full() {
                true => Err(format!("{} is full", shown_path(directory))),
                false => write(directory, name, json).map_err(failed),
            };
            if written.is_ok() {
                stock.files += 1;
                stock.bytes += u64::try_from(json.len()).unwrap_or(u64::MAX);
            }
            kept.push(written);
        }
        *known = Some(stock);
        drop(known);
        if kept.iter().any(Result::is_ok)
            && let Err(error) = File::open(directory).and_then(|directory| directory.sync_all())
        {
            let wrong = format!("cannot sync {}: {error}", shown_path(directory));
            // Without the sync, a crash could lose these files.
            kept.iter_mut().filter(|kept| kept.is_ok()).for_each(|kept| *kept = Err(wrong.clone()));
        }
        kept
    }
}

/// Writes a file under a temporary name, syncs it, and renames it to `name`. Never replaces a file.
fn write(directory: &Path, name: &str, json: &[u8]) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix(".event-").tempfile_in(directory)?;
    file.write_all(json)?;
    file.as_file().sync_data()?;
    let path = directory.join(name);
    file.persist_noclobber(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_dead_letter_directory_accepts_files_after_a_replay() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(Some(directory.path().to_owned()));
        let path = letters.keep("1.json", b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        // A name is never used twice.
        assert!(letters.keep("1.json", b"{}\n").unwrap_err().contains("File exists"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        *unpoisoned(letters.stock.lock()) = None;
        File::create(directory.path().join("large")).unwrap().set_len(BYTES).unwrap();
        assert!(letters.keep("2.json", b"{}\n").unwrap_err().ends_with(" is full"));
        fs::remove_file(directory.path().join("large")).unwrap();
        // The directory is not counted again for each event.
        assert!(letters.keep("2.json", b"{}\n").unwrap_err().ends_with(" is full"));
        unpoisoned(letters.stock.lock()).as_mut().unwrap().counted -= LOOK;
        letters.keep("2.json", b"{}\n").unwrap();
        unpoisoned(letters.stock.lock()).as_mut().unwrap().files = FILES;
        assert!(letters.keep("3.json", b"{}\n").unwrap_err().ends_with(" is full"));
        assert_eq!(
            DeadLetters::new(None).keep("4.json", b"{}"),
            Err("hooks.dead_letters is empty".to_owned())
        );
        let path = directory.path().join("several");
        fs::create_dir(&path).unwrap();
        let letters = DeadLetters::new(Some(path));
        let kept = letters.keep_all(&[("1.json", b"a"), ("1.json", b"b"), ("2.json", b"c")]);
        assert_eq!(kept.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let missing = DeadLetters::new(Some(directory.path().join("missing")));
        assert!(missing.keep("5.json", b"{}").unwrap_err().contains("No such file"));
    }
}
