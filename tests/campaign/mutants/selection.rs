//! Which mutant this process runs, and which ones it has reached.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static SELECTION: OnceLock<Selection> = OnceLock::new();

/// A bit for each mutant that was noted.
static NOTED: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];

struct Selection {
    /// 0: none.
    mutant: u32,
    /// Where each mutant that is reached is noted.
    reached: Option<File>,
}

/// Whether this process runs the mutant of this number.
pub(crate) fn is(number: u32) -> bool {
    let selection = SELECTION.get_or_init(selection);
    if let Some(file) = &selection.reached {
        note(file, number);
    }
    selection.mutant == number
}

fn selection() -> Selection {
    let mutant = std::env::var("FTP_MUTANT").ok().and_then(|number| number.parse().ok());
    let reached = std::env::var_os("FTP_MUTANTS_REACHED").and_then(|path| {
        let file = OpenOptions::new().append(true).open(path).ok()?;
        // Tests count the descriptors below this one, and take them away.
        rustix::io::fcntl_dupfd_cloexec(&file, 900).map(File::from).ok().or(Some(file))
    });
    Selection { mutant: mutant.unwrap_or(0), reached }
}

/// Appends a line to the file, once per process.
fn note(mut file: &File, number: u32) {
    let (word, bit) = (number as usize / 64 % NOTED.len(), 1 << (number % 64));
    if NOTED[word].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
}

/// Opens the file before the process restricts itself.
#[ctor::ctor]
fn start() {
    SELECTION.get_or_init(selection);
}
