//! Counts the outcomes of the lines of a batch.

use std::ops::ControlFlow;

use crate::display::counted;
use crate::exit::{Exit, Failure};
use crate::report::jobs::Reporter;

/// Outcomes of the lines.
#[derive(Default)]
pub(super) struct Count {
    done: usize,
    failed: usize,
    left: usize,
    stops: bool,
    last: Option<Failure>,
}

impl Count {
    /// Returns an empty count. With `stops`, the first failure ends the batch.
    pub(super) fn new(stops: bool) -> Self {
        Self { stops, ..Self::default() }
    }

    /// Records the number of lines that are not tried after a failure.
    pub(super) const fn leave(&mut self, lines: usize) {
        self.left = lines;
    }

    /// Returns the failure that ended the batch, if it was fatal.
    pub(super) fn fatal(&self) -> Option<&Failure> {
        self.last.as_ref().filter(|last| last.fatal)
    }

    /// Counts one line and reports its failure at once. Returns `Break` if no further line may run.
    pub(super) fn add(
        &mut self,
        reporter: &Reporter,
        number: usize,
        done: Result<(), Failure>,
    ) -> ControlFlow<()> {
        let Err(failure) = done else {
            self.done += 1;
            return ControlFlow::Continue(());
        };
        self.failed += 1;
        let failure = report_failure(reporter, number, failure);
        let ends = self.stops || failure.fatal;
        self.last = Some(failure);
        match ends {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Reports the result.
    ///
    /// # Errors
    ///
    /// Returns `Partial` if only some lines failed, or the exit code of the last failure if no line
    /// succeeded or a signal ended the batch.
    pub(super) fn finish(self, reporter: &Reporter, is_quiet: bool) -> Result<(), Failure> {
        let Self { done, failed, left, last, .. } = self;
        reporter.events.not_tried(left);
        let counts = format!("{} done, {failed} failed, {left} not tried", counted(done, "line"));
        let Some(last) = last else {
            if !is_quiet {
                reporter.messages.say(counts);
            }
            return Ok(());
        };
        Err(last.of_run(done, counts))
    }
}

/// Reports the failure of a line and marks it as reported.
pub(super) fn report_failure(reporter: &Reporter, number: usize, failure: Failure) -> Failure {
    let mut failure = failure.context(format_args!("line {number}"));
    if !failure.reported {
        reporter.events.failed(&failure, |error| error.number("line", number as u64));
    }
    if failure.exit != Exit::BrokenPipe {
        reporter.messages.say(&failure.message);
    }
    failure.reported = true;
    failure
}
