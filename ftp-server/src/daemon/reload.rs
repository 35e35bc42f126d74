//! Reloads, one at a time: the work, in a thread of its own because it blocks on disks, and the
//! requests that wait for its outcome.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::apply::{BuiltParts, Draft, PartsPlan};
use super::config::Config;
use super::control::{ControlAnswer, ControlCall};
use super::logging::{DaemonLog, LOG, Transfers};
use super::{DaemonError, DaemonErrorKind};
use crate::lock::Lock;
use ftp_proto::text::values::show;

/// Time after which those who wait for a reload are told what it waits for.
const LONG: Duration = Duration::from_secs(20);

pub(super) enum ReloadSource {
    /// The caller.
    Given(Box<Config>),
    /// The file and the certificates of this configuration. The logs are reopened too.
    Files(Arc<Config>),
    /// Nothing but logs to reopen.
    Nothing,
}

pub(super) struct ReloadWork {
    pub(super) source: ReloadSource,
    pub(super) log: Option<Arc<DaemonLog>>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) plan: PartsPlan,
    /// What the work waits for.
    pub(super) stage: Arc<Lock<&'static str>>,
}

pub(super) struct Prepared {
    /// The keys of the logs that were reopened, or why one was not.
    pub(super) reopened: Result<Vec<&'static str>, String>,
    /// The new parts; `None` if there is no file to reload.
    pub(super) built: Option<Result<Box<BuiltParts>, DaemonError>>,
}

impl ReloadWork {
    /// Builds the new parts; of what is in use, only the log files are reopened. A panic is
    /// reported as a failure: the queue of reloads waits for a result.
    pub(super) fn prepare(self) -> Prepared {
        catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or_else(|_| {
            let failure = DaemonError::new(DaemonErrorKind::Internal, "internal error");
            Prepared { reopened: Ok(Vec::new()), built: Some(Err(failure)) }
        })
    }

    fn work(self) -> Prepared {
        let Self { source, log, transfers, plan, stage } = self;
        let enter = |what| *stage.lock() = what;
        enter("the logs");
        // Even if the configuration file has errors, because a log rotation depends on that.
        let reopened = match source {
            ReloadSource::Given(_) => Ok(Vec::new()),
            ReloadSource::Files(_) | ReloadSource::Nothing => reopen(log.as_deref(), &transfers),
        };
        let config = match source {
            ReloadSource::Given(config) => config.validate().map(|()| *config),
            ReloadSource::Files(former) => {
                enter("the configuration file");
                former.again()
            }
            ReloadSource::Nothing => return Prepared { reopened, built: None },
        };
        enter("a file that the settings name");
        let look = |draft: &mut Draft| {
            enter("the users' directories");
            draft.look()
        };
        let built = config.and_then(|config| plan.build(config, look));
        Prepared { reopened, built: Some(built.map(Box::new)) }
    }
}

/// Reopens the log files by their names, and returns their keys.
fn reopen(log: Option<&DaemonLog>, transfers: &Transfers) -> Result<Vec<&'static str>, String> {
    let (mut keys, mut failures) = (Vec::new(), Vec::new());
    let events = log.and_then(DaemonLog::open_again);
    for (key, opened) in [("log.target", events), ("log.transfers", transfers.open_again())] {
        match opened {
            None => {}
            Some(Ok(())) => keys.push(key),
            Some(Err(reason)) => failures.push(format!("{key}: {reason}")),
        }
    }
    if failures.is_empty() { Ok(keys) } else { Err(failures.join("\n")) }
}

pub(super) enum Waiter {
    /// Nobody: a signal has requested it.
    Signal,
    Control(ControlCall),
    Program(Sender<Result<String, DaemonError>>),
}

impl Waiter {
    pub(super) fn tell(self, outcome: &Result<String, DaemonError>) {
        match self {
            Self::Signal => {}
            Self::Control(call) => {
                let outcome = outcome.as_ref().map(|changes| format!("{changes}\n"));
                let outcome = outcome.map_err(|error| error.whole());
                call.answer(ControlAnswer { outcome });
            }
            // A caller that has gone needs no outcome.
            Self::Program(sender) => drop(sender.send(outcome.clone())),
        }
    }
}

struct RunningReload {
    since: Instant,
    stage: Arc<Lock<&'static str>>,
    waiters: Vec<Waiter>,
    /// Whether those who waited have been told that it takes long.
    is_late: bool,
}

/// A request to reload: the new configuration, unless it is read from files, and who waits.
type ReloadRequest = (Option<Box<Config>>, Waiter);

/// The reload that is running, and those that wait for its end.
#[derive(Default)]
pub(super) struct Reloads {
    running: Option<RunningReload>,
    next: VecDeque<ReloadRequest>,
}

impl Reloads {
    /// Adds a request, and returns whether a reload can start with [`take`](Self::take). A request
    /// that would have to wait for a late reload is refused; the files are read after it all the same.
    pub(super) fn add(&mut self, config: Option<Box<Config>>, waiter: Waiter) -> bool {
        let Some(late) = self.running.as_ref().filter(|running| running.is_late) else {
            self.next.push_back((config, waiter));
            return self.running.is_none();
        };
        waiter.tell(&Err(late.delay()));
        if config.is_none() && self.next.is_empty() {
            self.next.push_back((None, Waiter::Signal));
        }
        false
    }

    /// Returns the configuration of the next reload, and those who wait for it: requests to read
    /// the files count as one.
    pub(super) fn take(&mut self) -> Option<(Option<Box<Config>>, Vec<Waiter>)> {
        let (config, first) = self.next.pop_front()?;
        let mut waiters = vec![first];
        if config.is_none() {
            let is_other = |(config, _): &ReloadRequest| config.is_some();
            let end = self.next.iter().position(is_other).unwrap_or(self.next.len());
            waiters.extend(self.next.drain(..end).map(|(_, waiter)| waiter));
        }
        Some((config, waiters))
    }

    /// Notes that a thread does the work of a reload.
    pub(super) fn begin(&mut self, stage: Arc<Lock<&'static str>>, waiters: Vec<Waiter>) {
        let since = Instant::now();
        self.running = Some(RunningReload { since, stage, waiters, is_late: false });
    }

    /// Tells all who waited how the reload has ended.
    pub(super) fn end(&mut self, outcome: &Result<String, DaemonError>) {
        let waiters = self.running.take().map(|running| running.waiters).unwrap_or_default();
        waiters.into_iter().for_each(|waiter| waiter.tell(outcome));
    }

    /// Returns the time until [`tell_delay`](Self::tell_delay) is due, or `None` if it is not.
    pub(super) fn pause(&self) -> Option<Duration> {
        let running = self.running.as_ref().filter(|running| !running.is_late)?;
        Some(LONG.saturating_sub(running.since.elapsed()))
    }

    /// Tells all who wait what the reload waits for. It goes on; what was to follow it is refused,
    /// but the files are read once more.
    pub(super) fn tell_delay(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.is_late = true;
        let delay = running.delay();
        log::warn!(target: LOG, "{}", delay.message);
        let waiters = std::mem::take(&mut running.waiters);
        let outcome = Err(delay);
        waiters.into_iter().for_each(|waiter| waiter.tell(&outcome));
        for (config, waiter) in std::mem::take(&mut self.next) {
            self.add(config, waiter);
        }
    }
}

impl RunningReload {
    fn delay(&self) -> DaemonError {
        let (what, time) =
            (*self.stage.lock(), show(Duration::from_secs(self.since.elapsed().as_secs())));
        let message =
            format!("a reload waits for {what} since {time}; it takes effect when they answer");
        DaemonError::new(DaemonErrorKind::Local, message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_late_reload_is_told_of_and_keeps_nobody_waiting() {
        let mut reloads = Reloads::default();
        let waiter = || {
            let (sender, receiver) = mpsc::channel();
            (Waiter::Program(sender), receiver)
        };
        let said =
            |receiver: &mpsc::Receiver<Result<String, DaemonError>>| match receiver.try_recv() {
                Ok(Ok(outcome)) => Some(outcome),
                Ok(Err(error)) => Some(error.message),
                Err(_) => None,
            };
        let ((first, heard), (second, also)) = (waiter(), waiter());
        assert!(reloads.add(None, first) && reloads.add(None, second));
        let (config, waiters) = reloads.take().unwrap();
        assert!(config.is_none() && waiters.len() == 2 && reloads.take().is_none());
        reloads.begin(Arc::new(Lock::new("the logs")), waiters);
        assert!(reloads.pause().is_some_and(|pause| pause <= LONG));
        // Meanwhile, others wait for their turn, until it takes long.
        let ((given, refused), (third, told)) = (waiter(), waiter());
        assert!(!reloads.add(Some(Box::default()), given) && !reloads.add(None, third));
        assert_eq!((said(&heard), said(&refused)), (None, None));
        reloads.tell_delay();
        let late = "a reload waits for the logs since 0 s; it takes effect when they answer";
        for receiver in [&heard, &also, &refused, &told] {
            assert_eq!(said(receiver).as_deref(), Some(late));
        }
        assert_eq!(reloads.pause(), None);
        let (last, told) = waiter();
        assert!(!reloads.add(None, last));
        assert_eq!(said(&told).as_deref(), Some(late));
        // The files may have changed since the late reload has read them.
        reloads.end(&Ok("changed: nothing".to_owned()));
        let (config, waiters) = reloads.take().unwrap();
        assert!(config.is_none() && waiters.len() == 1 && reloads.take().is_none());
        let (next, heard) = waiter();
        reloads.begin(Arc::default(), vec![next]);
        reloads.end(&Ok("changed: tls".to_owned()));
        assert_eq!(said(&heard).as_deref(), Some("changed: tls"));
    }
}
