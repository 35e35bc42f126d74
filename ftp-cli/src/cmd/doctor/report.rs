//! Prints findings as they are made, for users or, with `--json`, for programs. With `--report FILE`,
//! also writes them as text for the server's administrator, without passwords.

use std::fmt::Write;
use std::path::Path;

use ftp_proto::FtpUrl;

use super::finding::{Diagnosis, Finding, Grade};
use crate::connect::{Credentials, Secret};
use crate::console::output::{shown_path, timestamp};
use crate::console::{Hidden, Printable, Stdio, output};
use crate::exit::{Failure, Result};
use crate::options::Options;
use crate::report::Object;

pub(super) struct Done {
    pub(super) findings: Vec<Finding>,
    /// The best command line for the server, if there is one.
    pub(super) command: Option<String>,
    pub(super) outcome: Result,
}

/// Column of a finding's text, and the longest line in characters.
const COLUMN: usize = 20;
const WIDTH: usize = 80;

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
    pub(super) findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(stdio: &'a mut Stdio, shown: Shown) -> Self {
        Self { stdio, shown, findings: Vec::new() }
    }

    /// Returns the problems that prevent the examined use.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.grade == Grade::Fail)
    }

    /// Collects findings, and prints those that `shown` selects.
    ///
    /// # Errors
    ///
    /// Returns the failure of standard output.
    pub(super) fn all(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result {
        for mut finding in findings {
            finding.seen = self.stdio.messages.plain(&finding.seen).into_owned();
            if self.shown == Shown::Nothing {
                // The caller handles the finding.
            } else if self.stdio.events.is_on() {
                self.stdio.events.emit(|| event(&finding));
            } else if self.shown == Shown::All || finding.is_problem() {
                // Each problem is explained once.
                let is_new = finding
                    .diagnosis
                    .is_some_and(|new| self.findings.iter().all(|it| it.diagnosis != Some(new)));
                let columns = self.stdio.columns();
                self.stdio.print_report(&text(&finding, is_new, columns))?;
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Returns the outcome.
    ///
    /// # Errors
    ///
    /// Returns a failure for the first check that failed.
    pub(super) fn outcome(&self) -> Result {
        let mut failed = self.failed();
        let Some(first) = failed.next() else { return Ok(()) };
        let exit = first.diagnosis.map_or(crate::exit::Exit::Internal, |it| it.explanation().exit);
        let more = match failed.count() {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        Err(Failure::new(exit, format!("{}: {}{more}", first.check.0, first.seen)))
    }
}

/// Prints the last line: the best command line.
///
/// # Errors
///
/// Returns the failure of standard output.
pub(super) fn best(command: &str, stdio: &mut Stdio) -> Result {
    if stdio.events.is_on() {
        stdio.events.done(|| Object::event("done").text("command", command), 0);
        return Ok(());
    }
    let line = format!("{:<6}{}\n", "best", Printable(command));
    output::print(&mut stdio.output, line.as_bytes())
}

pub(super) fn event(finding: &Finding) -> Object {
    let explained = finding.diagnosis.map(Diagnosis::explanation);
    let problem = explained.as_ref();
    Object::event("check")
        .text("name", finding.check.0)
        .text("result", finding.grade.name())
        .text("seen", &finding.seen)
        .text_if("diagnosis", finding.diagnosis.map(|it| it.0))
        .text_if("means", problem.map(|it| it.means.as_str()))
        .text_if("side", problem.map(|it| it.side))
        .text_if("cure", problem.map(|it| it.cure.as_str()))
}

/// Returns a finding as text in fewer than `columns` columns; with `explain`, adds its meaning and
/// cure.
pub(super) fn text(finding: &Finding, explain: bool, columns: usize) -> String {
    let width = columns.saturating_sub(1).min(WIDTH);
    let head = format!("{:<6}{:<14}", finding.grade.name(), finding.check.0);
    let mut text = String::new();
    wrapped(&mut text, width, &head, &Printable(&finding.seen).to_string());
    if let Some(diagnosis) = finding.diagnosis.filter(|_| explain) {
        let problem = diagnosis.explanation();
        wrapped(&mut text, width, "", &format!("means: {}", problem.means));
        wrapped(&mut text, width, "", &format!("do, {}: {}.", problem.place(), problem.cure));
    }
    text
}

/// Wraps words into lines. The first line begins with `head`; the others are indented to the same
/// column.
fn wrapped(text: &mut String, width: usize, head: &str, words: &str) {
    let lines = format!("{head:<COLUMN$}{}", output::wrapped(words, COLUMN, width));
    for line in lines.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

const MASK: &str = "****";

/// Writes the report of an examination, replacing an older report.
///
/// # Errors
///
/// Returns `Local` if the file cannot be written.
pub(super) fn write(
    path: &Path,
    options: &Options,
    url: &FtpUrl,
    credentials: &Credentials,
    done: &Done,
) -> Result {
    let text = whole_report(options, url, done, &secrets_of(credentials));
    std::fs::write(path, text).map_err(|error| Failure::local(shown_path(path), &error))
}

fn whole_report(options: &Options, url: &FtpUrl, done: &Done, secrets: &Hidden) -> String {
    let mut report = String::from("Report of ftp-cli doctor\n\n");
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(report, "{name:<10}{}", Printable(value));
    };
    field("time", &timestamp());
    field("program", concat!("ftp-cli ", env!("CARGO_PKG_VERSION")));
    field("system", &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    field("server", &secrets.leave_out(url.to_string()));
    // Only the names are shown, because values can be secrets or paths of the user.
    let names: Vec<String> = options.names().map(|long| format!("--{long}")).collect();
    field("options", &names.join(" "));
    let result = match &done.outcome {
        Ok(()) => "everything requested works".to_owned(),
        Err(failure) => format!("exit code {}: {}", failure.exit.code(), failure.message),
    };
    field("result", &secrets.leave_out(&result));
    // Mask before the text is wrapped, because a password can contain spaces.
    let mask =
        |it: &Finding| Finding { seen: secrets.leave_out(&it.seen).into_owned(), ..it.clone() };
    report.push_str("\nFindings\n\n");
    for finding in &done.findings {
        report.push_str(&text(&mask(finding), true, WIDTH + 1));
    }
    if let Some(command) = &done.command {
        let command = &secrets.leave_out(command);
        let _ = write!(report, "\nBest command line for this server\n\n{}\n", Printable(command));
    }
    report
}

/// Returns the password and the account. A server may have repeated them in its replies.
fn secrets_of(credentials: &Credentials) -> Hidden {
    let password = Some(&credentials.password).filter(|_| credentials.is_personal);
    let all = [password, credentials.account.as_ref()];
    Hidden::of(all.into_iter().flatten().map(Secret::as_bytes), MASK)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Check;
    use super::*;

    #[test]
    fn a_finding_is_explained_once_within_the_line_width() {
        let found = Check("pasv").warn(Diagnosis("pasv-private-address"), "227 announces 10.0.0.5");
        let whole = text(&found, true, 101);
        assert!(whole.starts_with("warn  pasv          227 announces 10.0.0.5\n"), "{whole}");
        assert!(
            whole.contains("means: The PASV reply") && whole.contains("do, at the server: make")
        );
        assert!(whole.lines().all(|line| line.chars().count() <= WIDTH), "{whole}");
        assert_eq!(text(&found, false, 101).lines().count(), 1);
        let odd = text(&Check("list").ok("a\x1b[2Jb"), false, 101);
        assert_eq!(odd, "ok    list          a\\x1b[2Jb\n");
    }

    #[test]
    fn a_check_event_has_every_field_of_its_finding() {
        let found = Check("epsv").fail(Diagnosis("passive-blocked"), "no answer");
        let line = event(&found).into_line();
        let start = r#"{"v":1,"event":"check","name":"epsv","result":"fail","seen":"no answer","diagnosis":"passive-blocked","means":"#;
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(r#""side":"server","cure":""#), "{line}");
        let fine = event(&Check("list").ok("3 entries")).into_line();
        assert_eq!(
            fine,
            "{\"v\":1,\"event\":\"check\",\"name\":\"list\",\"result\":\"ok\",\"seen\":\"3 entries\"}\n"
        );
    }

    #[test]
    fn secrets_are_masked_in_each_form() {
        for (secret, text, want) in [
            (&b"s3cret"[..], "PASS s3cret, xs3cretx", "PASS ****, x****x"),
            (b"correct horse", "215 a correct horse end", "215 a **** end"),
            (b"gehe\\im", "215 gehe\\\\im or gehe\\im", "215 **** or ****"),
            (b"g\xffheim", "215 g\\xffheim or g\u{fffd}heim", "215 **** or ****"),
            (b"abc", "abc: (abc) abcd xabc", "****: (****) ****d x****"),
            (b"", "a", "a"),
        ] {
            assert_eq!(Hidden::of(std::iter::once(secret), MASK).leave_out(text), want);
        }
    }
}
