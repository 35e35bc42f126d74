//! Collects the findings of `--check`.

use std::fmt::{Arguments, Write};

use crate::exit::Exit;

/// Findings: lines of `ok`, `warn` or `fail`, each with a sentence.
pub(super) struct Findings {
    pub(super) text: String,
    /// Number of failures, and the exit code of the first.
    pub(super) failed: Option<(u32, Exit)>,
}

impl Findings {
    /// Returns an empty list of findings that will follow `text`.
    pub(super) fn below(text: String) -> Self {
        Self { text, failed: None }
    }

    pub(super) fn ok(&mut self, words: Arguments<'_>) {
        self.push("ok", words);
    }

    pub(super) fn warn(&mut self, words: Arguments<'_>) {
        self.push("warn", words);
    }

    /// Adds a failure, for which `serve` would end with the exit code `exit`.
    pub(super) fn fail(&mut self, exit: Exit, words: Arguments<'_>) {
        self.push("fail", words);
        let (count, first) = self.failed.unwrap_or((0, exit));
        self.failed = Some((count + 1, first));
    }

    fn push(&mut self, kind: &str, words: Arguments<'_>) {
        let _ = writeln!(self.text, "{kind:<5} {words}");
    }
}
