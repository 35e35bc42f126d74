//! Writes lines to a file, pipe or terminal without waiting for the target.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, MutexGuard};
use std::time::Duration;
use std::{fmt, thread};

use crate::lock::{Lock, unpoisoned};
use crate::{limits, threads};

/// Target of a log. The caller never waits: a separate thread waits for a pipe without a reader, or
/// for a slow disk. At most 256 KiB of lines wait; further lines, and lines that cannot be written,
/// are lost and counted. When writing begins to fail, a message goes to the `log` crate. Once lines
/// are written again, another message reports the number of lost lines.
///
/// Clones write to the same target. Dropping the last clone waits at most 1 s until all lines are
/// written. If the process ends in another way, call [`flush`](Self::flush) first.
#[derive(Clone)]
pub struct LogWriter(Arc<Handle>);

struct Handle(Arc<Channel>);

struct Channel {
    name: String,
    state: Lock<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    /// Complete lines, with their line endings.
    waiting: Vec<u8>,
    /// A new target for the thread.
    target: Option<Box<dyn Write + Send>>,
    /// Number of bytes of all accepted lines.
    accepted: u64,
    /// Number of accepted bytes that are written or lost.
    finished: u64,
    /// Bytes of the batch in flight.
    writing: Option<usize>,
    /// Whether the thread sleeps, without a timeout, because it has nothing to write.
    is_idle: bool,
    /// Number of calls that wait until all lines are written.
    flushes: usize,
    /// Whether the last clone was dropped, so that no more lines arrive.
    is_over: bool,
    /// Number of lost lines in total.
    lost: u64,
    /// Number of lost lines that a message has reported.
    told: u64,
}

impl Pending {
    /// Returns whether the thread must act now, without waiting for more lines.
    fn is_urgent(&self) -> bool {
        let has_room = self.waiting.len() <= limits::LOG_WAITING / 2;
        !has_room || self.target.is_some() || self.is_over || self.flushes > 0
    }
}

/// The target, and its state in the thread.
struct Sink {
    writer: Box<dyn Write + Send>,
    /// Whether the last write was torn, so that the next line must start on a new one.
    is_torn: bool,
    /// Whether the last write failed, which a message has reported.
    is_failing: bool,
}

impl Sink {
    const fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { writer, is_torn: false, is_failing: false }
    }
}

/// Interval between retries of a write that would block.
const RETRY: Duration = Duration::from_millis(20);

/// Time for which the thread collects lines after each write. On a busy server, waking the thread
/// for each line would cost more than writing the line.
const COLLECTING: Duration = Duration::from_millis(10);

/// Maximum time that dropping the last clone waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

impl LogWriter {
    /// Starts a log that writes to `target`. Messages call the log `name`.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started.
    pub fn start(name: impl Into<String>, target: impl Write + Send + 'static) -> io::Result<Self> {
        let state = Pending { target: Some(Box::new(target)), ..Pending::default() };
        let name = name.into();
        let state = Lock::new(state);
        let shared = Arc::new(Channel { name, state, changed: Condvar::new() });
        let writing = Arc::clone(&shared);
        threads::start(Some("ftp-log"), limits::SESSION_STACK, move || writing.run())?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Switches to `target` for waiting and later lines, for example after a log rotation.
    pub fn replace(&self, target: impl Write + Send + 'static) {
        self.0.0.state.lock().target = Some(Box::new(target));
        self.0.0.changed.notify_all();
    }

    /// Writes one line; `line` has no line ending.
    pub fn line(&self, line: &str) {
        self.append(&[line.as_bytes(), b"\n"]);
    }

    /// Waits until all earlier lines are written or lost, for at most `limit`. Returns `false`
    /// after a timeout. Other threads can add lines meanwhile; the call does not wait for these.
    #[expect(clippy::must_use_candidate, reason = "most callers cannot act on it")]
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.0.settle(limit)
    }

    /// Returns the number of lost lines.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.0.state.lock().lost
    }

    fn append(&self, parts: &[&[u8]]) {
        let mut state = self.0.0.state.lock();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if state.waiting.len() + length > limits::LOG_WAITING {
            state.lost += parts.iter().map(|part| lines_in(part)).sum::<u64>();
            return;
        }
        parts.iter().for_each(|part| state.waiting.extend_from_slice(part));
        state.accepted += length as u64;
        if state.is_idle || state.is_urgent() {
            self.0.0.changed.notify_all();
        }
    }
}

/// Each call to `write` must pass one or more complete lines.
impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.append(&[lines]);
        Ok(lines.len())
    }

    /// Does nothing. To wait for the lines, call [`LogWriter::flush`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogWriter({})", self.0.0.name)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.changed.notify_all();
        self.0.settle(LAST_LINES);
    }
}

impl Channel {
    fn run(&self) {
        let mut target = Sink::new(Box::new(io::sink()));
        let mut lines = Vec::new();
        loop {
            let mut state = self.wait();
            if let Some(new) = state.target.take() {
                target = Sink::new(new);
            }
            if state.waiting.is_empty() && state.is_over {
                return;
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut state.waiting);
            state.writing = Some(lines.len());
            drop(state);
            self.write(&mut target, &lines);
        }
    }

    /// Waits for lines, for a new target, or until the last clone is dropped.
    fn wait(&self) -> MutexGuard<'_, Pending> {
        let mut state = self.state.lock();
        if let Some(written) = state.writing.take() {
            state.finished += written as u64;
            self.changed.notify_all();
            let collects = |state: &mut Pending| !state.is_urgent();
            let collected = self.changed.wait_timeout_while(state, COLLECTING, collects);
            state = unpoisoned(collected).0;
        }
        state.is_idle = true;
        let has_none = |state: &mut Pending| {
            state.waiting.is_empty() && state.target.is_none() && !state.is_over
        };
        let mut state = unpoisoned(self.changed.wait_while(state, has_none));
        state.is_idle = false;
        state
    }

    /// Writes lines, and drops those that cannot be written.
    fn write(&self, target: &mut Sink, lines: &[u8]) {
        let Sink { writer, is_torn, is_failing } = target;
        let (mut end, mut rest): (&[u8], _) = (if *is_torn { b"\n" } else { b"" }, lines);
        let passed =
            self.pass(&mut **writer, &mut end).and_then(|()| self.pass(&mut **writer, &mut rest));
        let written = lines.get(..lines.len() - rest.len()).unwrap_or_default();
        *is_torn = match written.last() {
            Some(last) => *last != b'\n',
            None => !end.is_empty(),
        };
        let mut state = self.state.lock();
        let was_failing = std::mem::replace(is_failing, passed.is_err());
        if let Err(error) = passed {
            state.lost += lines_in(rest);
            drop(state);
            if !was_failing {
                log::error!("{} cannot be written: {error}", self.name);
            }
            return;
        }
        // The message may go to this log too, so the queue must have room for it.
        if state.waiting.len() > limits::LOG_WAITING / 2 {
            return;
        }
        let lost = state.lost - state.told;
        state.told = state.lost;
        drop(state);
        if lost > 0 {
            log::warn!("{lost} lines of {} were lost: writing was slow or failed", self.name);
        }
    }

    /// Writes as much of `rest` as possible, and removes the written part from it.
    fn pass(&self, target: &mut dyn Write, rest: &mut &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match target.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process that shares the terminal or pipe may have made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.is_given_up() => {
                    thread::sleep(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        target.flush()
    }

    /// Returns whether to give up on a target that accepts no bytes, because a new target was set
    /// or the log ends.
    fn is_given_up(&self) -> bool {
        let state = self.state.lock();
        state.is_over || state.target.is_some()
    }

    /// Waits until all lines that are waiting now are written or lost. Returns `false` after a
    /// timeout.
    fn settle(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        state.flushes += 1;
        self.changed.notify_all();
        let last = state.accepted;
        let is_writing = |state: &mut Pending| state.finished < last;
        let (mut state, end) =
            unpoisoned(self.changed.wait_timeout_while(state, limit, is_writing));
        state.flushes -= 1;
        !end.timed_out()
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::time::Instant;

    use super::*;
    use crate::log::messages;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_blocked_log_target_can_be_replaced() {
        let log = LogWriter::start("log", Blocked).unwrap();
        log.line("lost");
        while log.0.0.state.lock().writing.is_none() {
            thread::yield_now();
        }
        let disk = Disk(Arc::new(Lock::new((Vec::new(), 100))));
        log.replace(disk.clone());
        log.line("kept");
        assert!(log.flush(LONG));
        assert!(disk.0.lock().0.ends_with(b"kept\n"));
        assert_eq!(log.lost(), 1);
    }

    #[test]
    fn lost_log_lines_are_reported_once_hf_14() {
        let log = LogWriter::start("log", io::sink()).unwrap();
        let write = || {
            messages::of(log::Level::Warn, || {
                log.0.0.write(&mut Sink::new(Box::new(io::sink())), b"a line\n");
            })
        };
        assert_eq!(write(), Vec::<String>::new());
        log.0.0.state.lock().lost = 2;
        assert_eq!(write(), ["2 lines of log were lost: writing was slow or failed"]);
        assert_eq!(write(), Vec::<String>::new());
    }

    /// A pipe that is full, and was made non-blocking.
    struct Blocked;

    impl Write for Blocked {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A target whose every write adds a line to its own log.
    struct Busy {
        log: Arc<Lock<Option<LogWriter>>>,
    }

    impl Write for Busy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(log) = &*self.log.lock() {
                log.line("one more");
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flush_does_not_wait_for_later_lines() {
        let own = Arc::new(Lock::new(None));
        let log = LogWriter::start("log", Busy { log: Arc::clone(&own) }).unwrap();
        *own.lock() = Some(log.clone());
        log.line("the first");
        assert!(log.flush(LONG));
        // From here on the log can end.
        let last = own.lock().take();
        drop((log, last));
    }

    /// The content that fitted on the disk.
    #[derive(Clone, Default)]
    struct Disk(Arc<Lock<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock();
            let count = bytes.len().min(disk.1);
            disk.1 -= count;
            disk.0.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_without_a_flush_and_without_the_next_one() {
        let disk = Disk::default();
        disk.0.lock().1 = usize::MAX;
        let writer = LogWriter::start("a disk", disk.clone()).unwrap();
        for line in ["one", "two", "three"] {
            writer.line(line);
            let is_written = || disk.0.lock().0.ends_with(format!("{line}\n").as_bytes());
            ftp_tests::wait::wait_until("the line is written", is_written);
        }
    }

    #[test]
    fn lines_come_whole_and_in_order() {
        let disk = Disk::default();
        disk.0.lock().1 = usize::MAX;
        let writer = LogWriter::start("a disk", disk.clone()).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|name| {
                let writer = writer.clone();
                thread::spawn(move || {
                    (0..500).for_each(|line| writer.line(&format!("{name} {line}")));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Dropping the last clone writes the queue.
        drop(writer);
        let text = String::from_utf8(disk.0.lock().0.clone()).unwrap();
        for name in 0..4 {
            let of_one = text.lines().filter_map(|line| line.strip_prefix(&format!("{name} ")));
            let want: Vec<_> = (0..500).map(|line| line.to_string()).collect();
            assert_eq!(of_one.collect::<Vec<_>>(), want);
        }
    }

    fn read_all(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_unread_log_pipe_blocks_no_writer_hf_14() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = LogWriter::start("a pipe", pipe).unwrap();
        let line = "x".repeat(99);
        let count: usize = 10 * limits::LOG_WAITING / 100;
        let start = Instant::now();
        (0..count).for_each(|_| writer.line(&line));
        assert!(!writer.flush(Duration::from_millis(50)), "nobody reads");
        assert!(start.elapsed() < LONG);
        let lost = usize::try_from(writer.lost()).unwrap();
        assert!(lost > count / 2, "{lost} of {count}");
        let reading = thread::spawn(move || read_all(reader));
        assert!(writer.flush(LONG));
        writer.line("the end");
        drop(writer);
        let text = reading.join().unwrap();
        assert_eq!(text.lines().count() + lost, count + 1);
        assert!(text.ends_with("the end\n"));
        assert!(text.lines().rev().skip(1).all(|said| said == line), "no line is torn");
    }

    #[test]
    fn a_full_non_blocking_log_pipe_loses_no_lines_hf_14() {
        let (reader, pipe) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::NONBLOCK).unwrap();
        let writer = LogWriter::start("a pipe", pipe).unwrap();
        // More than the pipe holds, but not more than the queue holds.
        let line = "x".repeat(99);
        let count = limits::LOG_WAITING / 100;
        (0..count).for_each(|_| writer.line(&line));
        assert!(!writer.flush(Duration::from_millis(50)), "nobody reads");
        let reading = thread::spawn(move || read_all(reader));
        assert!(writer.flush(LONG));
        drop(writer);
        assert_eq!(reading.join().unwrap().lines().count(), count);
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them_hf_14() {
        let disk = Disk::default();
        let writer = LogWriter::start("a disk", disk.clone()).unwrap();
        // Room for a line and a half.
        disk.0.lock().1 = 15;
        let say = |line: &str| {
            writer.line(line);
            assert!(writer.flush(LONG));
        };
        ["line one;", "line two;", "line three;"].into_iter().for_each(say);
        assert_eq!(writer.lost(), 2);
        disk.0.lock().1 = usize::MAX;
        say("line four;");
        assert_eq!(writer.lost(), 2);
        let text = String::from_utf8(disk.0.lock().0.clone()).unwrap();
        assert_eq!(text, "line one;\nline \nline four;\n");
    }

    #[test]
    fn a_replaced_log_file_receives_the_next_lines() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old");
        let new = directory.path().join("new");
        let writer = LogWriter::start("a file", std::fs::File::create(&old).unwrap()).unwrap();
        writer.line("one");
        assert!(writer.flush(LONG));
        writer.replace(std::fs::File::create(&new).unwrap());
        writer.line("two");
        assert!(writer.flush(LONG));
        assert_eq!(std::fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(new).unwrap(), "two\n");
    }
}
