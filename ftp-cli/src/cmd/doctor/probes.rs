//! The table of all probes, and an examination, which runs them. `--watch` repeats the examination.
//!
//! The probes of a stage run side by side, as far as the server accepts several connections
//! (`places`); their findings are reported in the order of the table. Later probes need what some of
//! them saw ([`Seen`]); the methods of data connections are judged together, after their stage.

use ftp_client::error::Phase;

use super::addresses::{self, excepted};
use super::advice::Advice;
use super::dial::{Asked, Dial, WHOLE, side_by_side};
use super::finding::Finding;
use super::places::Places;
use super::report::{Done, Report, Shown};
use super::seen::Seen;
use super::{data_connections, login, path, ports, tls, upload};
use crate::connect::Credentials;
use crate::console::{Cleanup, Stdio};
use crate::exit::Result;

/// A row of the table.
struct Probe {
    /// The name of its thread.
    name: &'static str,
    /// Adds the findings. Fails only for a reason that says nothing about the server: a signal, the
    /// end of the time for the whole examination, or a fault of this computer.
    run: fn(&Dial<'_>, &mut Vec<Finding>) -> Result,
}

const fn probe(name: &'static str, run: fn(&Dial<'_>, &mut Vec<Finding>) -> Result) -> Probe {
    Probe { name, run }
}

/// The stages up to the login. The first problem that stops this client ends the examination after
/// its stage.
const BEFORE_DATA: [&[Probe]; 5] = [
    &[probe("bind", addresses::bind)],
    &[probe("proxy", addresses::try_proxy), probe("resolve", addresses::resolve)],
    &[probe("connect", addresses::look)],
    &[probe("tls", tls::demanded)],
    &[probe("login", login::run)],
];

/// The stage that tries each method of data connections.
const DATA: &[Probe] = &[
    probe("tls offer", tls::offered),
    probe("data", data_connections::run),
    probe("packets", path::send_packets),
    probe("ports", ports::run),
];

/// The last stage, which uses the best method of data connections.
const WITH_DATA: &[Probe] =
    &[probe("data tls", tls::data), probe("path", path::run), probe("upload", upload::run)];

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
        report.all(excepted(&self.route, url.host()))?;
        let unfinished = match examine(&dial, &mut report) {
            // The findings so far are worth reporting.
            Err(failure) if failure.phase == Some(Phase::Overall) => Some(failure),
            examined => examined.map_err(|failure| failure.context(url)).map(|()| None)?,
        };
        let advice = Advice::of(&dial);
        let (command, command_to_share) = (advice.line(options, false), advice.line(options, true));
        let outcome = report.outcome().and_then(|()| {
            unfinished.map_or(Ok(()), |mut failure| {
                failure.message.push_str(
                    "; not everything was checked: use --timeout TIME to allow more time (default: 30 s)",
                );
                Err(failure)
            })
        });
        let outcome = outcome.map_err(|failure| failure.context(url));
        Ok(Done { findings: report.into_findings(), command, command_to_share, outcome })
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
    report.add(ports::judge_parallel(dial))?;
    ended?;
    let Some(way) = way else { return Ok(()) };
    dial.seen.way.get_or_init(|| way);
    examine_stage(WITH_DATA, dial, report)
}

fn examine_stage(probes: &[Probe], dial: &Dial<'_>, report: &mut Report<'_>) -> Result {
    let outcomes = side_by_side(probes.iter().map(|it| (it.name, it)), |it| {
        let mut found = Vec::new();
        let outcome = (it.run)(dial, &mut found);
        (found, outcome)
    })?;
    let mut ended = Ok(());
    for (found, outcome) in outcomes {
        report.all(found)?;
        ended = ended.and(outcome);
    }
    ended.and_then(|()| dial.in_time())
}
