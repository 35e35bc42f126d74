//! The table of all probes, and what they have seen.
//!
//! A probe runs, which records observations in [`Seen`], and is judged afterwards, from the
//! observations alone. The probes of a stage run side by side, as far as the server accepts several
//! connections (`places`); their findings are reported in the order of the table.

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, scope};

use ftp_client::Error;

use super::addresses::{self, Answers, Lookup};
use super::data_connections::{self, MethodOutcome};
use super::dial::{DataMethod, Dial};
use super::finding::Finding;
use super::login::LoginSeen;
use super::path::PathSeen;
use super::ports::FirstConnectionSeen;
use super::report::Report;
use super::tls::TlsSeen;
use super::upload::UploadSeen;
use super::{login, path, places, ports, tls, upload};
use crate::exit::{Failure, Result};

/// A row of the table.
struct Probe {
    /// The name of its thread.
    name: &'static str,
    /// Records observations. Fails only for a reason that says nothing about the server: a signal,
    /// the end of the time for the whole examination, or a fault of this computer.
    run: fn(&Dial<'_>) -> Result,
    /// Returns the findings, none if nothing was seen. Fails like `run`.
    judge: fn(&Dial<'_>) -> Result<Vec<Finding>>,
}

const fn probe(
    name: &'static str,
    run: fn(&Dial<'_>) -> Result,
    judge: fn(&Dial<'_>) -> Result<Vec<Finding>>,
) -> Probe {
    Probe { name, run, judge }
}

/// The stages before a data connection is needed. The first problem that stops this client ends the
/// examination after its stage, except in the last of these stages.
const WITHOUT_DATA: [&[Probe]; 6] = [
    &[probe("bind", addresses::bind, addresses::judge_bind)],
    &[
        probe("proxy", addresses::try_proxy, addresses::judge_proxy),
        probe("resolve", addresses::resolve, addresses::judge_resolve),
    ],
    &[probe("connect", addresses::look, addresses::judge_look)],
    &[probe("tls", tls::demanded, tls::judge_demanded)],
    &[probe("login", login::run, login::judge)],
    &[
        probe("tls offer", tls::offered, tls::judge_offered),
        probe("data", data_connections::run, data_connections::judge),
        probe("packets", path::send_packets, path::judge_packets),
        probe("ports", ports::run, places::judge),
    ],
];

/// The last stage, which uses the best method of data connections.
const WITH_DATA: &[Probe] = &[
    probe("data tls", tls::data, tls::judge_data),
    probe("path", path::run, path::judge),
    probe("upload", upload::run, upload::judge),
];

/// What the probes have seen so far. Each field is set by at most one probe.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// Whether this computer lacks the address of `--bind`.
    pub(super) is_unbound: OnceLock<bool>,
    /// The error of the first connection through the proxy, if it failed.
    pub(super) proxy: OnceLock<Option<Error>>,
    pub(super) lookup: OnceLock<Lookup>,
    pub(super) answers: OnceLock<Answers>,
    /// TLS, whether the options demand it or the server may offer it.
    pub(super) tls: OnceLock<TlsSeen>,
    /// The login, or the error of the connection for it.
    pub(super) login: OnceLock<Result<LoginSeen<'a>, Error>>,
    pub(super) first: OnceLock<FirstConnectionSeen>,
    /// Outcomes in the order of [`DataMethod::ALL`].
    pub(super) methods: OnceLock<[MethodOutcome; 4]>,
    /// Whether a listing arrived, perhaps truncated.
    pub(super) listed: AtomicBool,
    /// Whether data under TLS ended without close_notify.
    pub(super) truncated: AtomicBool,
    pub(super) packets: OnceLock<Finding>,
    /// The best method of data connections, which the last stage uses.
    pub(super) way: OnceLock<DataMethod>,
    pub(super) data_tls: OnceLock<Vec<Finding>>,
    pub(super) path: OnceLock<PathSeen>,
    /// The test upload, or the error of the login for it.
    pub(super) upload: OnceLock<Result<UploadSeen, Error>>,
}

/// Runs all probes and reports their findings in order. Ends early if nothing more can be found.
///
/// # Errors
///
/// Returns the failure of standard output, `Interrupted` after a signal, or `Timeout` if the time
/// for the whole examination is over. Also returns failures on this computer, such as an unreadable
/// CA file. The findings of one probe are reported even if another probe fails.
pub(super) fn examine(dial: &Dial<'_>, report: &mut Report<'_>) -> Result {
    for probes in WITHOUT_DATA {
        if report.failed().next().is_some() {
            return Ok(());
        }
        examine_stage(probes, dial, report)?;
    }
    match data_connections::best(dial) {
        Some(way) => {
            dial.seen.way.get_or_init(|| way);
            examine_stage(WITH_DATA, dial, report)
        }
        None => Ok(()),
    }
}

fn examine_stage(probes: &[Probe], dial: &Dial<'_>, report: &mut Report<'_>) -> Result {
    let mut failed = None;
    let outcomes = side_by_side(probes.iter().map(|it| (it.name, it)), |it| (it.run)(dial))?;
    for (probe, outcome) in probes.iter().zip(outcomes) {
        match (probe.judge)(dial) {
            Ok(findings) => report.all(findings)?,
            Err(failure) => failed = failed.or(Some(failure)),
        }
        failed = failed.or(outcome.err());
    }
    failed.map_or_else(|| dial.in_time(), Err)
}

/// Does the same work for each item, in threads with these names, and returns the results in order.
///
/// # Errors
///
/// Returns `Local` if a thread cannot be started.
pub(super) fn side_by_side<T: Send, R: Send>(
    items: impl IntoIterator<Item = (&'static str, T)>,
    work: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let work = &work;
    scope(|scope| {
        let start = |(name, item): (&str, T)| {
            Builder::new().name(name.to_owned()).spawn_scoped(scope, move || work(item))
        };
        let started: Vec<_> = items.into_iter().map(start).collect();
        let result = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, R>>| {
            let thread = thread.map_err(|error| Failure::local("cannot start a thread", &error))?;
            Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        };
        started.into_iter().map(result).collect()
    })
}
