//! `doctor URL`: examines all ways to use a server, and reports what each problem means, which side
//! can fix it, and how. Connects only to the named server or the proxy. If the URL asks for TLS,
//! sends nothing secret unencrypted.
//!
//! A table lists all probes. Each runs, which records observations, and is judged from these
//! observations (`seen`) alone. The probes of a stage run side by side, as far as the server accepts
//! several connections (`places`); their findings are reported in the order of the table. The methods
//! of data connections are judged together, after their stage.
//!
//! `help/diagnoses.txt` lists all problems. One deadline covers everything, and no long wait takes more
//! than a share of the remaining time (`dial`). `--watch` repeats an examination that fails, and
//! reports what has changed.

mod abilities;
mod addresses;
mod advice;
mod data_connections;
mod dial;
mod finding;
mod login;
mod path;
mod places;
mod ports;
mod report;
mod seen;
mod tls;
mod upload;

use std::path::Path;
use std::time::{Duration, Instant};

use ftp_client::error::Phase;

use self::advice::Advice;
use self::dial::{Asked, Dial, WHOLE, side_by_side};
use self::finding::{Diagnosis, Finding, Grade};
use self::places::Places;
use self::report::{Done, Report, Shown};
use self::seen::Seen;
use crate::connect::sessions::pause_until;
use crate::connect::{Credentials, Finder};
use crate::console::output::timestamp;
use crate::console::{Cleanup, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, parse_url, values};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = parse_url(url)?;
    let asked = Asked::new(options, &url)?;
    let interval = options.parsed("watch", values::waiting_time)?;
    let interval = options.has("watch").then(|| interval.unwrap_or(PAUSE));
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut before: Option<Vec<Finding>> = None;
    loop {
        let shown = match &before {
            Some(_) => Shown::Nothing,
            None if options.is_quiet() => Shown::Problems,
            None => Shown::All,
        };
        let done = asked.examine_once(&credentials, &cleanup, stdio, shown)?;
        if let Some(before) = &before {
            tell(before, &done.findings, options.is_quiet(), stdio)?;
        }
        // The best command line is the last line of the output, after the changes.
        if let Some(command) = &done.command
            && (before.is_none() || done.outcome.is_ok())
        {
            report::best(command, stdio)?;
        }
        if let Some(path) = options.value("report") {
            let written = report::write(Path::new(path), options, &url, &credentials, &done);
            if before.is_none() || done.outcome.is_ok() {
                written?;
            } else if let Err(failure) = written {
                // The disk may have space again for the next report.
                stdio.messages.say(failure.message);
            }
        }
        match interval {
            Some(interval) if may_pass(&done) => {
                let pause = asked.dialler.left().map_or(interval, |left| left.min(interval));
                pause_until(Instant::now() + pause, cleanup.canceller())?;
                if asked.dialler.left() == Some(Duration::ZERO) {
                    return done.outcome;
                }
            }
            _ => return done.outcome,
        }
        before = Some(done.findings);
    }
}

/// Pause between two examinations.
const PAUSE: Duration = Duration::from_secs(10);

/// Returns whether an outcome may improve by itself. A refused login is not repeated, because the
/// server might then ban the client.
fn may_pass(done: &Done) -> bool {
    let Err(failure) = &done.outcome else { return false };
    let refused = Some(Diagnosis("login-again"));
    let is_refused = done.findings.iter().any(|finding| finding.diagnosis == refused);
    !is_refused
        && matches!(
            failure.exit,
            Exit::Network
                | Exit::Tls
                | Exit::Protocol
                | Exit::Refused
                | Exit::Temporary
                | Exit::Timeout
                | Exit::Integrity
                | Exit::Data
        )
}

/// Prints the findings that differ from earlier findings.
///
/// # Errors
///
/// Returns the failure of standard output.
fn tell(before: &[Finding], now: &[Finding], quiet: bool, stdio: &mut Stdio) -> Result {
    let mut text = String::new();
    for (finding, was) in changes(before, now) {
        let was = was.map(Grade::name);
        if stdio.events.is_on() {
            stdio.events.emit(|| report::event(finding).text_if("was", was));
        } else if !quiet || finding.is_problem() {
            let was = was.map_or_else(|| "new".to_owned(), |was| format!("was {was}"));
            let seen = format!("{} ({was})", finding.seen);
            let finding = Finding { seen, ..finding.clone() };
            text.push_str(&report::text(&finding, true, stdio.columns()));
        }
    }
    match text.is_empty() {
        true => Ok(()),
        false => stdio.print_report(&format!("changed at {}\n{text}", timestamp())),
    }
}

/// Returns the findings whose result or problem has changed, each with the earlier result; `None` if the
/// check did not run before. Then it counts only if it finds a problem.
fn changes<'a>(before: &[Finding], now: &'a [Finding]) -> Vec<(&'a Finding, Option<Grade>)> {
    let mut changes = Vec::new();
    for (at, finding) in now.iter().enumerate() {
        let is_of = |other: &&Finding| other.check == finding.check;
        // A check can have several findings, such as one per address.
        let number = now.iter().take(at).filter(is_of).count();
        let was = before.iter().filter(is_of).nth(number);
        let is_change = was.map_or(finding.is_problem(), |was| {
            (was.grade, was.diagnosis) != (finding.grade, finding.diagnosis)
        });
        if is_change {
            changes.push((finding, was.map(|was| was.grade)));
        }
    }
    changes
}

/// A row of the table: the name of its thread, and what adds the findings. The latter fails only for a
/// reason that says nothing about the server: a signal, the end of the time for the whole examination,
/// or a fault of this computer.
type Probe = (&'static str, fn(&Dial<'_>, &mut Vec<Finding>) -> Result);

/// The stages up to the login. The first problem that stops this client ends the examination after
/// its stage.
const BEFORE_DATA: [&[Probe]; 4] = [
    &[("proxy", addresses::try_proxy), ("resolve", addresses::resolve)],
    &[("connect", addresses::look)],
    &[("tls", tls::demanded)],
    &[("login", login::run)],
];

/// The stage that tries each method of data connections.
const DATA: &[Probe] =
    &[("tls offer", tls::offered), ("data", data_connections::run), ("ports", ports::run)];

/// The last stage, which uses the best method of data connections.
const WITH_DATA: &[Probe] =
    &[("data tls", tls::data), ("path", path::run), ("upload", upload::run)];

impl Asked<'_> {
    /// Examines the server, and prints the findings that are `shown`.
    ///
    /// # Errors
    ///
    /// Returns a failure that says nothing about the server, such as a signal.
    pub(super) fn examine_once(
        &self,
        credentials: &Credentials,
        cleanup: &Cleanup,
        stdio: &mut Stdio,
        shown: Shown,
    ) -> Result<Done> {
        let (options, url) = (self.options, self.url);
        let places = Places::new();
        // The time limit starts here, after any password prompt.
        let dialler = self.dialler.clone().within(WHOLE);
        let dial = Dial {
            asked: self,
            credentials,
            calm: dialler.clone(),
            dialler: dialler.stopped_by(cleanup),
            messages: stdio.messages.clone(),
            places: &places,
            seen: Seen::default(),
        };
        let mut report = Report::new(stdio, shown);
        let unfinished = match examine(&dial, &mut report) {
            // The findings so far are worth reporting.
            Err(failure) if failure.phase == Some(Phase::Overall) => Some(failure),
            examined => examined.map_err(|failure| failure.context(url)).map(|()| None)?,
        };
        let advice = Advice::of(&dial);
        let command = advice.line(options);
        let outcome = report.outcome().and_then(|()| {
            unfinished.map_or(Ok(()), |mut failure| {
                failure.message.push_str(
                    "; not everything was checked: use --timeout TIME to allow more time (default: 30 s)",
                );
                Err(failure)
            })
        });
        let outcome = outcome.map_err(|failure| failure.context(url));
        Ok(Done { findings: report.findings, command, outcome })
    }
}

/// Runs all probes and reports their findings in order. Ends early if nothing more can be found.
///
/// # Errors
///
/// Returns the failure of standard output, `Interrupted` after a signal, or `Timeout` if the time
/// for the whole examination is over. Also returns failures on this computer, such as an unreadable
/// CA file. The findings of one probe are reported even if another probe fails.
fn examine(dial: &Dial<'_>, report: &mut Report<'_>) -> Result {
    for probes in BEFORE_DATA {
        examine_stage(probes, dial, report)?;
        if report.failed().next().is_some() {
            return Ok(());
        }
    }
    let ended = examine_stage(DATA, dial, report);
    let (findings, way) = data_connections::judge(dial);
    report.all(findings)?;
    report.all(dial.seen.packets.get().cloned())?;
    ended?;
    let Some(way) = way else { return Ok(()) };
    dial.seen.way.get_or_init(|| way);
    examine_stage(WITH_DATA, dial, report)
}

fn examine_stage(probes: &[Probe], dial: &Dial<'_>, report: &mut Report<'_>) -> Result {
    let outcomes = side_by_side(probes.iter().copied(), |run| {
        let mut found = Vec::new();
        let outcome = run(dial, &mut found);
        (found, outcome)
    })?;
    let mut ended = Ok(());
    for (found, outcome) in outcomes {
        report.all(found)?;
        ended = ended.and(outcome);
    }
    ended.and_then(|()| dial.in_time())
}

#[cfg(test)]
mod tests {
    use super::finding::Check;
    use super::*;

    fn ok(check: Check) -> Finding {
        check.ok("fine")
    }

    fn fail(check: Check, diagnosis: Diagnosis) -> Finding {
        check.fail(diagnosis, "wrong")
    }

    #[test]
    fn changed_results_and_new_problems_are_changes() {
        let before = [
            ok(Check("connect")),
            fail(Check("connect"), Diagnosis("port-closed")),
            fail(Check("login"), Diagnosis("login-failed")),
        ];
        let now = [
            ok(Check("connect")),
            ok(Check("connect")),
            fail(Check("login"), Diagnosis("connection-lost")),
            ok(Check("epsv")),
            fail(Check("pasv"), Diagnosis("passive-blocked")),
        ];
        let changes = changes(&before, &now);
        let shown: Vec<_> = changes.iter().map(|(finding, was)| (finding.check, *was)).collect();
        let want = [
            (Check("connect"), Some(Grade::Fail)),
            (Check("login"), Some(Grade::Fail)),
            (Check("pasv"), None),
        ];
        assert_eq!(shown, want);
        assert!(super::changes(&now, &now).is_empty());
    }
}
