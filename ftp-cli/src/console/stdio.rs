//! The standard streams of a run, and how it writes to them.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Arc, OnceLock};

use super::signals::{Cleanup, Ending};
use super::{Messages, Output, ResultLines, output};
use crate::options::Options;
use crate::report::Events;
use crate::{exit, system};

/// Streams of a run: data on `input` and `output`, messages on `messages`.
pub struct Stdio {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) output: Output,
    /// Events of `--json`.
    pub(crate) events: Events,
    pub(crate) messages: Messages,
    /// Whether this run owns the process and handles signals.
    pub(crate) is_process: bool,
    /// Agreement about which thread ends the process.
    pub(crate) ending: Ending,
    /// What must be cleaned up then, once the command has begun.
    pub(crate) cleanup: Arc<OnceLock<Cleanup>>,
}

ftp_proto::debug_fields!(Stdio { is_process }..);

impl Stdio {
    /// Returns the streams of this process.
    #[must_use]
    pub fn process() -> Self {
        let (input, output, messages) = output::standard();
        Self::with(input, output, messages, true)
    }

    /// Returns streams that replace those of this process, and are not a terminal. The caller
    /// handles signals, except during `serve`, which handles them itself.
    pub fn captured(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        error: impl Write + Send + 'static,
    ) -> Self {
        let messages = Messages::new(error, false);
        Self::with(Box::new(input), Output::new(output), messages, false)
    }

    fn with(
        input: Box<dyn Read + Send>,
        output: Output,
        messages: Messages,
        is_process: bool,
    ) -> Self {
        Self {
            input,
            output,
            events: Events::default(),
            messages,
            is_process,
            ending: Ending::default(),
            cleanup: Arc::default(),
        }
    }

    pub(crate) fn output_is_terminal(&self) -> bool {
        self.is_process && io::stdout().is_terminal()
    }

    /// Returns the columns of standard output; beyond all texts if it is not a terminal.
    pub(crate) fn columns(&self) -> usize {
        match system::output_columns() {
            _ if !self.output_is_terminal() => usize::MAX,
            0 => 80,
            columns => columns.max(20).into(),
        }
    }

    /// Returns whether to print messages about success: with `--verbose`, or on a terminal without
    /// `--quiet`.
    pub(crate) fn is_talkative(&self, options: &Options) -> bool {
        options.is_verbose() || (self.messages.is_terminal() && !options.is_quiet())
    }

    /// Writes a report to standard output. On a terminal, the grades of its lines have colours.
    ///
    /// # Errors
    ///
    /// Returns the failure of standard output.
    pub(crate) fn print_report(&mut self, report: &str) -> exit::Result {
        let text = match output::has_colours(self.output_is_terminal()) {
            true => output::graded(report),
            false => report.to_owned(),
        };
        output::print(&mut self.output, text.as_bytes())
    }

    /// Returns the writer of result lines, escaped for a terminal as the options say.
    pub(crate) fn lines(&self, options: &Options) -> ResultLines {
        let escapes = !options.has("raw-names") && self.output_is_terminal();
        ResultLines::new(self.output.clone(), escapes)
    }
}
