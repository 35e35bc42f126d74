//! Handles the events that are left when the server stops: they become dead letters, or log lines.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::notice::Notice;
use crate::daemon::start_thread;

/// Number of files that are written between two syncs of their directory.
const BATCH: usize = 8;

/// Bytes of lines that always fit into the queue of the log.
const BYTES_AT_ONCE: usize = 128 * 1024;

/// Maximum length of a log line in bytes, without the event that it contains.
const LINE: usize = 1024;

/// Total time that the shutdown waits for the log.
const LINES: Duration = Duration::from_secs(5);

/// Interval between checks of whether the shutdown was cut short.
const LOOK: Duration = Duration::from_millis(50);

/// An event that was not handled, and the reason.
#[derive(Clone)]
pub(super) struct Left {
    pub(super) notice: Arc<Notice>,
    pub(super) why: &'static str,
}

/// Writer of log lines that waits for the log's thread when the log's queue would become full.
pub(super) struct LastLines<S> {
    settle: S,
    bytes: usize,
    left: Duration,
}

impl<S: Fn()> LastLines<S> {
    /// Returns a writer; `settle` waits until the log has written the queued lines.
    pub(super) const fn new(settle: S) -> Self {
        Self { settle, bytes: 0, left: LINES }
    }

    /// Logs an event with the path of its dead letter, or with its content if it has none.
    pub(super) fn log(&mut self, left: &Left, kept: Result<PathBuf, String>) {
        let json = left.notice.letter().1.len();
        // The log format may escape each quote and backslash of the JSON, which adds a byte.
        let bytes = LINE + if kept.is_ok() { 0 } else { 2 * json };
        if self.bytes + bytes > BYTES_AT_ONCE && !self.left.is_zero() {
            let start = Instant::now();
            (self.settle)();
            self.left = self.left.saturating_sub(start.elapsed());
            self.bytes = 0;
        }
        self.bytes += bytes;
        left.notice.log(left.why, kept);
    }
}

/// The index of an event, and its dead letter or the reason why there is none.
type KeptEvent = (usize, Result<PathBuf, String>);

/// Starts a thread that writes the events to their directories, because a disk can hang.
pub(super) fn begin(left: &[Left]) -> Receiver<KeptEvent> {
    let (sender, receiver) = mpsc::channel();
    let left = left.to_vec();
    if !left.is_empty() {
        // Without a thread, all events go to the log.
        let _ = start_thread("hooks", move || write(&left, &sender));
    }
    receiver
}

fn write(left: &[Left], sender: &Sender<KeptEvent>) {
    let mut number = 0;
    let is_same =
        |a: &Left, b: &Left| Arc::ptr_eq(a.notice.dead_letters(), b.notice.dead_letters());
    for batch in left.chunk_by(is_same).flat_map(|same| same.chunks(BATCH)) {
        let Some(first) = batch.first() else { continue };
        let letters: Vec<_> = batch.iter().map(|left| left.notice.letter()).collect();
        for kept in first.notice.dead_letters().keep_all(&letters) {
            if sender.send((number, kept)).is_err() {
                // The remaining events were logged already.
                return;
            }
            number += 1;
        }
    }
}

/// Logs each event. If the event was written before the deadline and before the shutdown was cut
/// short, the line names the file. Otherwise, the line has the content.
pub(super) fn account<S: Fn()>(
    left: Vec<Left>,
    writing: &Receiver<KeptEvent>,
    until: Instant,
    is_cut: impl Fn() -> bool,
    lines: &mut LastLines<S>,
) {
    let mut left: Vec<Option<Left>> = left.into_iter().map(Some).collect();
    let mut missing = left.len();
    while missing > 0 {
        let pause = match is_cut() {
            true => Duration::ZERO,
            false => until.saturating_duration_since(Instant::now()).min(LOOK),
        };
        match writing.recv_timeout(pause) {
            Ok((number, kept)) => {
                missing -= 1;
                if let Some(left) = left.get_mut(number).and_then(Option::take) {
                    lines.log(&left, kept);
                }
            }
            Err(RecvTimeoutError::Timeout) if !pause.is_zero() => {}
            Err(_) => break,
        }
    }
    for left in left.into_iter().flatten() {
        lines.log(&left, Err("the server stopped before the dead letter was written".to_owned()));
    }
}
