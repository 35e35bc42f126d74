//! Prints findings as they are made, for users or, with `--json`, for programs.

use std::fmt::Write;

use super::diagnosis::Diagnosis;
use super::finding::{Finding, Grade};
use crate::console::output::{self, Printable};
use crate::console::stdio::Stdio;
use crate::display;
use crate::exit::Failure;
use ftp_server::daemon::json::Object;

/// Column of a finding's text, and the longest line in characters.
const COLUMN: usize = 20;
const WIDTH: usize = 100;

/// Selection of the findings that are printed as they are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shown {
    All,
    Problems,
    /// No findings: the caller prints only changes, or returns the findings.
    Nothing,
}

/// Findings of an examination, which are printed as they are added.
pub(super) struct Report<'a> {
    stdio: &'a mut Stdio,
    shown: Shown,
    explained: Vec<Diagnosis>,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(stdio: &'a mut Stdio, shown: Shown) -> Self {
        Self { stdio, shown, explained: Vec::new(), findings: Vec::new() }
    }

    /// Returns all findings, in order.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Returns the problems that prevent the examined use.
    fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.grade == Grade::Fail)
    }

    /// Collects a finding, and prints it if `shown` selects it.
    ///
    /// # Errors
    ///
    /// Returns the failure of standard output.
    pub(super) fn add(&mut self, mut finding: Finding) -> Result<(), Failure> {
        finding.seen = self.stdio.messages.plain(&finding.seen).into_owned();
        if self.shown == Shown::Nothing {
            // The caller handles the finding.
        } else if self.stdio.events.is_on() {
            self.stdio.events.emit(|| event(&finding));
        } else if self.shown == Shown::All || finding.is_problem() {
            let is_new = finding.diagnosis.is_some_and(|new| !self.explained.contains(&new));
            output::print(&mut self.stdio.output, text(&finding, is_new).as_bytes())?;
        }
        self.explained.extend(finding.diagnosis);
        self.findings.push(finding);
        Ok(())
    }

    /// Collects several findings, and prints the selected ones.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`add`](Self::add).
    pub(super) fn all(
        &mut self,
        findings: impl IntoIterator<Item = Finding>,
    ) -> Result<(), Failure> {
        findings.into_iter().try_for_each(|finding| self.add(finding))
    }

    /// Returns whether a check has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed().next().is_some()
    }

    /// Returns the outcome.
    ///
    /// # Errors
    ///
    /// Returns a failure for the first check that failed.
    pub(super) fn outcome(&self) -> Result<(), Failure> {
        let mut failed = self.failed();
        match failed.next() {
            None => Ok(()),
            Some(first) => {
                let exit = first.diagnosis.map_or(crate::exit::Exit::Internal, |it| it.exit());
                let more = match failed.count() {
                    0 => String::new(),
                    count => format!(" (and {count} more)"),
                };
                Err(Failure::new(exit, format!("{}: {}{more}", first.check.name(), first.seen)))
            }
        }
    }
}

/// Prints the last line: the best command line.
///
/// # Errors
///
/// Returns the failure of standard output.
pub(super) fn best(command: &str, stdio: &mut Stdio) -> Result<(), Failure> {
    if stdio.events.is_on() {
        stdio.events.done(|| Object::event("done").text("command", command), 0);
        return Ok(());
    }
    let line = format!("{:<6}{}\n", "best", Printable(command));
    output::print(&mut stdio.output, line.as_bytes())
}

/// Returns a finding as an event.
pub(super) fn event(finding: &Finding) -> Object {
    let explained = finding.diagnosis.map(|it| (it, it.explanation()));
    let problem = explained.as_ref();
    Object::event("check")
        .text("name", finding.check.name())
        .text("result", finding.grade.name())
        .text("seen", &finding.seen)
        .text_if("diagnosis", problem.map(|(it, _)| it.name()))
        .text_if("means", problem.map(|(_, (means, _))| means.as_str()))
        .text_if("side", problem.map(|(it, _)| it.side().name()))
        .text_if("cure", problem.map(|(_, (_, cure))| cure.as_str()))
}

/// Returns a finding as text; with `explain`, adds its meaning and cure.
pub(super) fn text(finding: &Finding, explain: bool) -> String {
    let head = format!("{:<6}{:<14}", finding.grade.name(), finding.check.name());
    let mut text = String::new();
    wrapped(&mut text, &head, &Printable(&finding.seen).to_string());
    if let Some(diagnosis) = finding.diagnosis.filter(|_| explain) {
        let (means, cure) = diagnosis.explanation();
        wrapped(&mut text, "", &format!("means: {means}"));
        wrapped(&mut text, "", &format!("do, {}: {cure}.", diagnosis.side()));
    }
    text
}

/// Wraps words into lines. The first line begins with `head`; the others are indented to the same
/// column.
fn wrapped(text: &mut String, head: &str, words: &str) {
    let lines = format!("{head:<COLUMN$}{}", display::wrapped(words, COLUMN, WIDTH));
    for line in lines.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Check;
    use super::*;

    #[test]
    fn a_finding_is_explained_once_within_the_line_width() {
        let found = Check::Pasv.warn(Diagnosis::PasvPrivateAddress, "227 announces 10.0.0.5");
        let whole = text(&found, true);
        assert!(whole.starts_with("warn  pasv          227 announces 10.0.0.5\n"), "{whole}");
        assert!(
            whole.contains("means: The PASV reply") && whole.contains("do, at the server: make")
        );
        assert!(whole.lines().all(|line| line.chars().count() <= WIDTH), "{whole}");
        assert_eq!(text(&found, false).lines().count(), 1);
        let odd = text(&Check::List.ok("a\x1b[2Jb"), false);
        assert_eq!(odd, "ok    list          a\\x1b[2Jb\n");
    }

    #[test]
    fn a_check_event_has_every_field_of_its_finding() {
        let found = Check::Epsv.fail(Diagnosis::PassiveBlocked, "no answer");
        let line = event(&found).into_line();
        let start = r#"{"v":1,"event":"check","name":"epsv","result":"fail","seen":"no answer","diagnosis":"passive-blocked","means":"#;
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(r#""side":"server","cure":""#), "{line}");
        let fine = event(&Check::List.ok("3 entries")).into_line();
        assert_eq!(
            fine,
            "{\"v\":1,\"event\":\"check\",\"name\":\"list\",\"result\":\"ok\",\"seen\":\"3 entries\"}\n"
        );
    }
}
