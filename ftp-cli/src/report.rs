//! Reports what a run does.
//!
//! `--json` writes the events of a run as they happen, one object per line. They go to standard
//! output, or to standard error while file data goes to standard output. `docs/json.md` is the
//! schema. Without the option, [`Events`] only counts the items. A [`Tally`] counts the items that
//! were done, failed or not tried, and derives the exit code.

pub(crate) use ftp_proto::text::json::Object;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::console::output::{plain, timestamp};
use crate::console::{Hidden, Messages, Output};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::Options;

/// Writer of events, usable from any thread.
#[derive(Clone)]
pub(crate) struct Events(Arc<Mutex<Stream>>);

struct Stream {
    output: Option<EventLines>,
    /// Arguments that errors must not show.
    hidden: Hidden,
    /// Error of the first line that could not be written.
    failed: Option<io::Error>,
    started: Instant,
    counts: Counts,
    closed: bool,
}

/// Writes a line to its destination.
type EventLines = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    done: u64,
    failed: u64,
    skipped: u64,
    not_tried: u64,
    bytes: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self::to(None, Hidden::default())
    }
}

impl Events {
    /// Returns a writer to standard output if `--json` is given, else one that only counts items.
    pub(crate) fn from_options(options: &Options, output: &Output, hidden: Hidden) -> Self {
        let mut output = output.clone();
        let lines: EventLines = Box::new(move |line| output.write_all(line));
        Self::to(Some(lines).filter(|_| options.has("json")), hidden)
    }

    fn to(output: Option<EventLines>, hidden: Hidden) -> Self {
        let (failed, counts, closed) = Default::default();
        let stream = Stream { output, hidden, failed, started: Instant::now(), counts, closed };
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Returns whether events are written.
    pub(crate) fn is_on(&self) -> bool {
        self.with(|stream| stream.output.is_some())
    }

    /// Redirects lines to standard error, because standard output is for data.
    pub(crate) fn leave_output(&self, messages: &Messages) {
        self.with(|stream| {
            if stream.output.is_some() {
                let messages = messages.clone();
                stream.output = Some(Box::new(move |line| {
                    messages.write(line);
                    Ok(())
                }));
            }
        });
    }

    /// Writes a line that does not change the counts: `start`, `progress`, `retry`, `entry`,
    /// `check`.
    pub(crate) fn emit(&self, object: impl FnOnce() -> Object) {
        self.with(|stream| stream.write(object));
    }

    /// Reports a fact that is neither success nor failure; `fields` adds the fields that identify the
    /// item.
    pub(crate) fn note(&self, text: &str, fields: impl FnOnce(Object) -> Object) {
        self.emit(|| fields(Object::event("note")).text("message", text));
    }

    /// Reports a completed item of which `bytes` were transferred.
    pub(crate) fn done(&self, object: impl FnOnce() -> Object, bytes: u64) {
        self.with(|stream| {
            stream.counts.done += 1;
            stream.counts.bytes += bytes;
            stream.write(object);
        });
    }

    /// Reports a skipped item: a `done` event with `"skipped":true`.
    pub(crate) fn skipped(&self, object: impl FnOnce() -> Object) {
        self.with(|stream| {
            stream.counts.skipped += 1;
            stream.write(|| object().flag("skipped", true));
        });
    }

    /// Reports a failed item; `fields` adds the fields that identify it. Items that a signal
    /// interrupted are not reported: [`cancelled`](Self::cancelled) reports the signal.
    pub(crate) fn failed(&self, failure: &Failure, fields: impl FnOnce(Object) -> Object) {
        if failure.exit == Exit::Interrupted {
            return;
        }
        self.count_failed(failure, fields);
    }

    fn count_failed(&self, failure: &Failure, fields: impl FnOnce(Object) -> Object) {
        self.with(|stream| {
            stream.counts.failed += 1;
            stream.write_error(|| fields(with_failure(Object::event("error"), failure)));
        });
    }

    /// Reports the signal that ends the run, and the summary.
    pub(crate) fn cancelled(&self, failure: &Failure) {
        self.count_failed(failure, |error| error);
        // A write error can no longer be reported.
        let _ = self.close(failure.exit);
    }

    pub(crate) fn not_tried(&self, count: usize) {
        self.with(|stream| stream.counts.not_tried += count as u64);
    }

    /// Writes the summary as the last line, once.
    ///
    /// # Errors
    ///
    /// Returns `BrokenPipe` if standard output has no reader, and `Local` if a line could not be
    /// written for another reason.
    pub(crate) fn close(&self, exit: Exit) -> Result {
        self.with(|stream| {
            let (counts, started) = (stream.counts, stream.started);
            stream.write(|| counts.summary(exit, started.elapsed()));
            stream.closed = true;
            let failed = stream.failed.take();
            failed.map_or(Ok(()), |error| Err(Failure::output(&error)))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Stream) -> T) -> T {
        act(&mut lock(&self.0))
    }
}

impl Stream {
    /// Writes the line of `object`, which is only created if events are written.
    fn write(&mut self, object: impl FnOnce() -> Object) {
        self.write_line(|| line(object()));
    }

    /// Writes the line of an error without hidden arguments.
    fn write_error(&mut self, object: impl FnOnce() -> Object) {
        let hidden = self.hidden.clone();
        self.write_line(|| hidden.leave_out(line(object())).into_owned());
    }

    fn write_line(&mut self, line: impl FnOnce() -> String) {
        // Nothing follows the summary, which the signal thread may have written already.
        let output = self.output.as_mut().filter(|_| !self.closed);
        if let Some(Err(error)) = output.map(|write| write(line().as_bytes())) {
            self.failed.get_or_insert(error);
        }
    }
}

/// Adds a failure: `kind`, `exit`, `message`, and `code` and `phase` if known.
pub(crate) fn with_failure(object: Object, failure: &Failure) -> Object {
    object
        .text("kind", failure.exit.kind())
        .number("exit", failure.exit.code().into())
        .text("message", &plain(&failure.message))
        .number_if("code", failure.code.map(Into::into))
        .text_if("phase", failure.phase.map(ftp_client::error::Phase::as_str))
}

/// Returns the line of an event, whose last field is the current time.
fn line(object: Object) -> String {
    object.text("time", &timestamp()).into_line()
}

impl Counts {
    fn summary(self, exit: Exit, time: Duration) -> Object {
        Object::event("summary")
            .number("exit", exit.code().into())
            .text_if("kind", (exit != Exit::Success).then(|| exit.kind()))
            .number("done", self.done)
            .number("failed", self.failed)
            .number("skipped", self.skipped)
            .number("not_tried", self.not_tried)
            .number("bytes", self.bytes)
            .seconds("seconds", time)
    }
}

/// Counter of a command's items. Reports each failure at once, except a fatal failure and the
/// failure of the only item: [`finish`](Self::finish) returns their messages. After a failure, the
/// exit code is that of the only item, of the signal that ended the run, or of its refusal as a whole.
/// Otherwise it is `Partial` if other items were done, else that of the last failure.
pub(crate) struct Tally<'a> {
    all: usize,
    /// The number of items that were done, or skipped on purpose.
    pub(crate) done: usize,
    failed: usize,
    /// Description of items and action, such as `files sent`.
    what: &'static str,
    last: Option<Failure>,
    messages: &'a Messages,
    events: &'a Events,
}

impl<'a> Tally<'a> {
    /// Returns a counter for `all` items. `what` completes the message "2 of 3", for example with
    /// `files sent`.
    pub(crate) const fn new(
        all: usize,
        what: &'static str,
        messages: &'a Messages,
        events: &'a Events,
    ) -> Self {
        Self { all, done: 0, failed: 0, what, last: None, messages, events }
    }

    /// Counts a failed item; `fields` adds the fields of its `error` event. Returns `Break` if no
    /// other item can succeed.
    pub(crate) fn failed(
        &mut self,
        mut failure: Failure,
        fields: impl FnOnce(Object) -> Object,
    ) -> ControlFlow<()> {
        self.events.failed(&failure, fields);
        failure.reported = true;
        self.failed += 1;
        let fatal = failure.fatal;
        // The first fatal failure is part of the last message. Several workers can meet one.
        let is_last = self.fatal().is_none();
        if self.all > 1 && !(fatal && is_last) && failure.exit != Exit::Interrupted {
            self.messages.fail(&failure.message);
        }
        if (is_last || failure.exit == Exit::Interrupted)
            && let Some(other) = self.last.replace(failure)
            && other.fatal
            && other.exit != Exit::Interrupted
        {
            self.messages.fail(&other.message);
        }
        if fatal { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Returns the failure that ended the work early, if any.
    pub(crate) fn fatal(&self) -> Option<&Failure> {
        self.last.as_ref().filter(|last| last.fatal)
    }

    /// Returns the result of all items.
    ///
    /// # Errors
    ///
    /// Returns the failure itself if there was only one item, otherwise a failure with the counts.
    pub(crate) fn finish(self) -> Result {
        let Self { all, done, failed, what, last, .. } = self;
        let left = all.saturating_sub(done + failed);
        self.events.not_tried(left);
        let Some(last) = last else { return Ok(()) };
        if all == 1 {
            return Err(last);
        }
        let counts = format!("{done} of {all} {what}, {failed} failed, {left} not tried");
        let message = if last.fatal { format!("{}; {counts}", last.message) } else { counts };
        Err(last.of_run(done, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::output::tests::Kept;

    fn to(mut output: impl Write + Send + 'static) -> Events {
        Events::to(Some(Box::new(move |line| output.write_all(line))), Hidden::default())
    }

    #[test]
    fn the_summary_event_has_all_counts_and_is_the_last_line() {
        let kept = Kept::default();
        let events = to(kept.clone());
        events.done(|| Object::event("done"), 7);
        events.skipped(|| Object::event("done"));
        events.failed(&Failure::usage("no"), |error| error.text("source", "x"));
        events.not_tried(2);
        events.close(Exit::Partial).unwrap();
        events.close(Exit::Success).unwrap();
        events.emit(|| Object::event("progress"));
        let text = String::from_utf8(kept.bytes()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        // The time differs from run to run.
        let timeless: Vec<&str> =
            lines.iter().filter_map(|line| Some(line.split_once(r#","time":"2"#)?.0)).collect();
        assert_eq!(timeless[1], r#"{"v":1,"event":"done","skipped":true"#);
        let error = r#"{"v":1,"event":"error","kind":"usage","exit":2,"message":"no","source":"x""#;
        assert_eq!(timeless[2], error);
        let summary = r#"{"v":1,"event":"summary","exit":12,"kind":"partial","done":1,"failed":1,"skipped":1,"not_tried":2,"bytes":7,"seconds":"#;
        assert!(lines[3].starts_with(summary), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_event_that_cannot_be_written_fails_and_disabled_ones_are_not_built() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let events = to(full);
        events.emit(|| Object::event("progress"));
        assert_eq!(events.close(Exit::Success).unwrap_err().exit, Exit::Local);
        let silent = Events::default();
        silent.emit(|| panic!("made for nobody"));
        assert!(!silent.is_on());
        silent.close(Exit::Success).unwrap();
    }

    #[test]
    fn the_exit_code_is_partial_if_some_files_succeeded() {
        let messages = Messages::new(io::sink(), false);
        let events = Events::default();
        let failure = |exit, fatal| Failure { fatal, ..Failure::new(exit, "no") };
        for (all, done, failures, want, words) in [
            (1, 0, &[(Exit::Refused, false)][..], Exit::Refused, "no"),
            (3, 2, &[(Exit::Refused, false)], Exit::Partial, "2 of 3 files sent, 1 failed, 0 not"),
            (3, 1, &[(Exit::Temporary, true)], Exit::Partial, "no; 1 of 3 files sent, 1 failed, 1"),
            (2, 0, &[(Exit::Local, false), (Exit::Refused, false)], Exit::Refused, "0 of 2 files"),
            (2, 1, &[(Exit::Interrupted, true)], Exit::Interrupted, "no; 1 of 2 files"),
            (2, 1, &[(Exit::Usage, true)], Exit::Usage, "no; 1 of 2 files"),
            (2, 1, &[(Exit::Usage, false)], Exit::Partial, "1 of 2 files"),
        ] {
            let mut tally = Tally::new(all, "files sent", &messages, &events);
            (0..done).for_each(|_| tally.done += 1);
            for (exit, fatal) in failures {
                let flow = tally.failed(failure(*exit, *fatal), |error| error);
                assert_eq!(flow.is_break(), *fatal);
            }
            let failure = tally.finish().unwrap_err();
            assert_eq!(failure.exit, want);
            assert!(failure.reported && failure.message.starts_with(words), "{}", failure.message);
        }
        let mut tally = Tally::new(2, "files sent", &messages, &events);
        tally.done += 1;
        tally.done += 1;
        assert!(tally.finish().is_ok());
        // Each of several workers can meet a failure that ends the run.
        let said = Kept::default();
        let messages = Messages::new(said.clone(), false);
        let mut tally = Tally::new(2, "files sent", &messages, &events);
        for text in ["one", "two"] {
            let failure = Failure { fatal: true, ..Failure::new(Exit::Network, text) };
            assert!(tally.failed(failure, |error| error).is_break());
        }
        assert!(tally.finish().unwrap_err().message.starts_with("one; "));
        assert!(String::from_utf8(said.bytes()).unwrap().contains("two"));
    }
}
