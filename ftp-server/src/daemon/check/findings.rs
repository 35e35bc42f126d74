//! The findings of `--check`, and their report.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::ops::RangeInclusive;

use crate::daemon::DaemonErrorKind;
use crate::daemon::config::Config;

/// Largest number of ports or users that one finding names.
pub(super) const NAMED: usize = 5;

/// Returns the first few items of a list, separated by commas.
pub(super) fn first_of(all: &[String]) -> String {
    match all.get(..NAMED) {
        Some(first) if all.len() > NAMED => format!("{}, ...", first.join(", ")),
        _ => all.join(", "),
    }
}

/// Joins pairs of a reason and a name to one line per reason, with all its names.
pub(in crate::daemon) fn joined(lines: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let mut known = BTreeMap::new();
    for (why, whose) in lines {
        let at = *known.entry(why.clone()).or_insert(all.len());
        match all.get_mut(at) {
            Some((_, names)) => names.push(whose),
            None => all.push((why, vec![whose])),
        }
    }
    let line = |(why, names): (String, Vec<String>)| match names.len() {
        few if few <= NAMED => format!("{}: {why}", first_of(&names)),
        many => format!("{} ({many} in all): {why}", first_of(&names)),
    };
    all.into_iter().map(line).collect()
}

/// The result of [`Config::check`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// What needs attention: lines that begin with `fail`, `warn` or `note`, the worst first; then
    /// the values that differ from the defaults. One line that begins with `ok` if there is nothing
    /// to correct.
    pub text: String,
    /// The same lines, all values with their origins, and the confirmations, which begin with `ok`.
    pub details: String,
    /// The number of lines that begin with `fail`.
    pub problems: usize,
    /// The kind of the first problem.
    pub kind: Option<DaemonErrorKind>,
}

/// How much a finding matters; also the order of the lines.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Severity {
    /// A daemon would not start or not work.
    Fail,
    /// Something will not work as the configuration suggests.
    Warn,
    /// Something that the administrator should know.
    Note,
    /// A confirmation.
    Ok,
}

#[derive(Default)]
pub(in crate::daemon) struct Findings {
    pub(super) all: Vec<(Severity, String)>,
    /// Kind of the first failure.
    pub(super) kind: Option<DaemonErrorKind>,
}

impl Findings {
    pub(in crate::daemon) fn ok(&mut self, words: impl Display) {
        self.all.push((Severity::Ok, words.to_string()));
    }

    pub(in crate::daemon) fn note(&mut self, words: impl Display) {
        self.all.push((Severity::Note, words.to_string()));
    }

    pub(in crate::daemon) fn warn(&mut self, words: impl Display) {
        self.all.push((Severity::Warn, words.to_string()));
    }

    /// Adds a failure, for which a daemon would not start or not work.
    pub(in crate::daemon) fn fail(&mut self, kind: DaemonErrorKind, words: impl Display) {
        self.all.push((Severity::Fail, words.to_string()));
        self.kind.get_or_insert(kind);
    }

    /// Returns the findings of some severities as lines, the worst first.
    pub(super) fn lines(&self, severities: RangeInclusive<Severity>) -> String {
        let mut lines: Vec<_> =
            self.all.iter().filter(|(severity, _)| severities.contains(severity)).collect();
        lines.sort_by_key(|(severity, _)| *severity);
        let mut text = String::new();
        for (severity, words) in lines {
            let word = match severity {
                Severity::Fail => "fail",
                Severity::Warn => "warn",
                Severity::Note => "note",
                Severity::Ok => "ok",
            };
            let _ = writeln!(text, "{word:<5} {words}");
        }
        text
    }

    pub(super) fn report(self, config: &Config) -> CheckReport {
        let attention = self.lines(Severity::Fail..=Severity::Note);
        let (settings, confirmed) = (config.to_string(), self.lines(Severity::Ok..=Severity::Ok));
        let text = match self.lines(Severity::Fail..=Severity::Warn).is_empty() {
            true => format!("ok    no problems found\n{attention}"),
            false => format!("{attention}\n{}", config.changed()),
        };
        let gap = if attention.is_empty() { "" } else { "\n" };
        let details = format!("{attention}{gap}{settings}\n{confirmed}");
        let is_problem = |(severity, _): &&(Severity, String)| *severity == Severity::Fail;
        let problems = self.all.iter().filter(is_problem).count();
        CheckReport { text, details, problems, kind: self.kind }
    }
}
