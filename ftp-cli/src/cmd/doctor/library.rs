//! The examination as a function, for programs that embed it.

use std::ffi::OsString;
use std::fmt;
use std::io;

use super::asked::Asked;
use super::finding;
use super::report::Shown;
use crate::connect::credentials::Finder;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{self, urls};

/// The result of [`diagnose`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// All findings, in the order of the checks.
    pub findings: Vec<Finding>,
    /// The best command line for this server, quoted for a shell; `None` if no data connection
    /// works.
    pub command: Option<String>,
    /// The reason why the server cannot be used as requested; `None` if everything works.
    pub failure: Option<Undiagnosed>,
}

/// The result of one check.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The lower-case name of the property that was examined, such as `epsv` or `close-notify`.
    pub check: &'static str,
    /// `ok`, `warn`, `fail` or `skip`.
    pub result: &'static str,
    /// The observation in words; text from the server is escaped.
    pub seen: String,
    /// The problem, if there is one.
    pub problem: Option<Problem>,
}

/// A problem, and what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The stable name of the problem, such as `passive-blocked`.
    pub name: &'static str,
    /// The meaning, in sentences.
    pub means: &'static str,
    /// The side that can apply the cure: `client`, `network` or `server`.
    pub side: &'static str,
    /// The cure, an imperative without a full stop.
    pub cure: &'static str,
}

/// A failure, with the exit code that the program returns for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Undiagnosed {
    /// The exit code.
    pub exit: u8,
    /// The message, without passwords.
    pub message: String,
}

impl fmt::Display for Undiagnosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Undiagnosed {}

impl From<Failure> for Undiagnosed {
    fn from(failure: Failure) -> Self {
        Self { exit: failure.exit.code(), message: failure.message }
    }
}

/// Examines a server as `ftp-cli doctor` does, and returns the findings, without printing.
///
/// `arguments` are the options of `doctor` and its URL. The environment has the same effect as for
/// the program: `FTP_PASSWORD`, `.netrc`, and the proxy variables. `--watch`, `--report` and the
/// options for output have no effect, and no configuration file is read. The call takes up to 30
/// seconds, or the time of `--timeout`; signals do not end it.
///
/// ```no_run
/// let diagnosis = ftp_cli::diagnose(["--upload-dir", "inbox", "ftp://nas.example"])?;
/// for finding in &diagnosis.findings {
///     if let Some(problem) = finding.problem {
///         println!("{}: {} Do, {}: {}", finding.seen, problem.means, problem.side, problem.cure);
///     }
/// }
/// # Ok::<(), ftp_cli::Undiagnosed>(())
/// ```
///
/// # Errors
///
/// Returns a failure that says nothing about the server, such as an invalid argument (exit code
/// 2), or a user without a password (6).
pub fn diagnose<A: Into<OsString>>(
    arguments: impl IntoIterator<Item = A>,
) -> Result<Diagnosis, Undiagnosed> {
    let arguments = arguments.into_iter().map(Into::into);
    let (_, options) = options::parse(std::iter::once("doctor".into()).chain(arguments))?;
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("expected one URL").into());
    };
    let url = urls::parse(url)?;
    let mut stdio = Stdio::captured(io::empty(), io::sink(), io::sink());
    let asked = Asked::new(&options, &url)?;
    let credentials = Finder::new(&options, &stdio.messages).find(&url)?;
    let cleanup = Cleanup::watch(&stdio)?;
    let done = asked.examine_once(&credentials, &cleanup, &mut stdio, Shown::Nothing)?;
    Ok(Diagnosis {
        findings: done.findings.into_iter().map(Finding::from).collect(),
        command: done.command,
        failure: done.outcome.err().map(Undiagnosed::from),
    })
}

impl From<finding::Finding> for Finding {
    fn from(finding: finding::Finding) -> Self {
        let row = finding.diagnosis.map(|diagnosis| diagnosis.row());
        Self {
            check: finding.check.name(),
            result: finding.grade.name(),
            seen: finding.seen,
            problem: row.map(|row| Problem {
                name: row.name,
                means: row.means,
                side: row.side.name(),
                cure: row.cure,
            }),
        }
    }
}
