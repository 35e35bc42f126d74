//! The standard streams of a run, so that a test can hold the other ends.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use super::closed::{self, Closed};
use super::ending::Ending;
use super::messages::Messages;
use super::output::{Output, ResultLines};
use crate::options::Options;
use crate::report::events::Events;

/// What a run reads and writes: data on `input` and `output`, words for people on `messages`.
pub struct Stdio {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) output: Box<dyn Write>,
    /// The same, for whatever is written from several threads.
    pub(crate) shared_output: Output,
    /// What `--json` is told.
    pub(crate) events: Events,
    pub(crate) output_is_terminal: bool,
    pub(crate) messages: Messages,
    /// Whether this run is the process: it may then answer signals.
    pub(crate) is_process: bool,
    /// Who ends the process.
    pub(crate) ending: Ending,
}

impl Stdio {
    /// The streams of this process.
    #[must_use]
    pub fn process() -> Self {
        // Not io::stdout(): that looks for line feeds in each block of a file it is given.
        let output = match io::stdout().as_fd().try_clone_to_owned() {
            _ if closed::is_output_closed() => Output::new(Closed),
            Ok(descriptor) => Output::new(File::from(descriptor)),
            Err(_) => Output::new(io::stdout()),
        };
        // Nor io::stdin(): that takes a descriptor that cannot be read for the end of the data.
        let input: Box<dyn Read + Send> = match io::stdin().as_fd().try_clone_to_owned() {
            _ if closed::is_input_closed() => Box::new(Closed),
            Ok(descriptor) => Box::new(File::from(descriptor)),
            Err(_) => Box::new(io::stdin()),
        };
        Self {
            input,
            output: Box::new(output.clone()),
            shared_output: output,
            events: Events::default(),
            output_is_terminal: io::stdout().is_terminal(),
            messages: Messages::new(io::stderr(), io::stderr().is_terminal()),
            is_process: true,
            ending: Ending::default(),
        }
    }

    /// Streams that are not those of this process, none of them a terminal. Signals stay with
    /// the caller, except for `serve`, which ends by one.
    pub fn captured(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        error: impl Write + Send + 'static,
    ) -> Self {
        let output = Output::new(output);
        Self {
            input: Box::new(input),
            output: Box::new(output.clone()),
            shared_output: output,
            events: Events::default(),
            output_is_terminal: false,
            messages: Messages::new(error, false),
            is_process: false,
            ending: Ending::default(),
        }
    }
}

impl Stdio {
    /// Lines of results on standard output, as the options want them on a terminal.
    pub(crate) fn lines(&self, options: &Options) -> ResultLines {
        let escapes = self.output_is_terminal && !options.has("raw-names");
        ResultLines::new(self.shared_output.clone(), escapes)
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdio").field("is_process", &self.is_process).finish_non_exhaustive()
    }
}
