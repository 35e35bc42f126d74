//! Counts the items of a command that were done, failed or not tried, and derives the exit code.

use std::ops::ControlFlow;

use super::events::Events;
use super::json::Object;
use crate::console::messages::Messages;
use crate::exit::{Exit, Failure};

/// Counter of a command's items. Reports each failure at once, except a fatal failure and the
/// failure of the only item: [`finish`](Self::finish) returns their messages. After a failure, the
/// exit code is that of the only item, or of the signal that ended the run. Otherwise it is
/// `Partial` if other items were done, else that of the last failure.
pub(crate) struct Tally<'a> {
    all: usize,
    done: usize,
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

    /// Counts an item that was done, or skipped on purpose.
    pub(crate) const fn done(&mut self) {
        self.done += 1;
    }

    /// Sets the number of items that were done, or skipped on purpose.
    pub(crate) const fn done_of(&mut self, done: usize) {
        self.done = done;
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
        // A fatal failure is part of the last message.
        if self.all > 1 && !fatal {
            self.messages.say(&failure.message);
        }
        self.last = Some(failure);
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
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self { all, done, failed, what, last, .. } = self;
        let left = all.saturating_sub(done + failed);
        self.events.not_tried(left);
        let Some(last) = last else { return Ok(()) };
        if all == 1 {
            return Err(last);
        }
        let counts = format!("{done} of {all} {what}, {failed} failed, {left} not tried");
        let message = if last.fatal { format!("{}; {counts}", last.message) } else { counts };
        // A signal ends everything, regardless of what was done.
        let exit = match last.exit {
            exit if last.is_signal() => exit,
            _ if done > 0 => Exit::Partial,
            exit => exit,
        };
        Err(Failure { exit, message, ..last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_partial_if_some_files_succeeded() {
        let messages = Messages::new(std::io::sink(), false);
        let events = Events::default();
        let failure = |exit, fatal| Failure { fatal, ..Failure::new(exit, "no") };
        for (all, done, failures, want, words) in [
            (1, 0, &[(Exit::Refused, false)][..], Exit::Refused, "no"),
            (3, 2, &[(Exit::Refused, false)], Exit::Partial, "2 of 3 files sent, 1 failed, 0 not"),
            (3, 1, &[(Exit::Temporary, true)], Exit::Partial, "no; 1 of 3 files sent, 1 failed, 1"),
            (2, 0, &[(Exit::Local, false), (Exit::Refused, false)], Exit::Refused, "0 of 2 files"),
            (2, 1, &[(Exit::Interrupted, true)], Exit::Interrupted, "no; 1 of 2 files"),
        ] {
            let mut tally = Tally::new(all, "files sent", &messages, &events);
            (0..done).for_each(|_| tally.done());
            for (exit, fatal) in failures {
                let flow = tally.failed(failure(*exit, *fatal), |error| error);
                assert_eq!(flow.is_break(), *fatal);
            }
            let failure = tally.finish().unwrap_err();
            assert_eq!(failure.exit, want);
            assert!(failure.reported && failure.message.starts_with(words), "{}", failure.message);
        }
        let mut tally = Tally::new(2, "files sent", &messages, &events);
        tally.done();
        tally.done();
        assert!(tally.finish().is_ok());
    }
}
