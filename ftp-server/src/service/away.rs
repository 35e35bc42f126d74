//! Calls of a storage that can wait for long: each is made in a thread of its own, while the session
//! watches its client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyCode, Verb};

use super::control::{Control, Notice, ReadBudget};
use super::late::{LateEvent, LateTeller};
use crate::data::Interruption;
use crate::limits;
use crate::lock::Lock;
use crate::storage::{StorageErrorKind, StorageResult};
use crate::threads::{Job, JobEnd, Late, slot};

/// The calls of one session.
#[derive(Default)]
pub(crate) struct Away {
    state: Lock<State>,
}

/// An interruption of a command.
#[derive(Clone, Copy)]
pub(super) struct Interrupted {
    pub(super) why: Interruption,
    /// Whether the change that the command asked for may still be made.
    pub(super) is_undecided: bool,
}

#[derive(Default)]
struct State {
    /// The control connection, lent while a command is decided, and the command with its beginning.
    lent: Option<(Control, Verb, Instant)>,
    /// Why the command must end, with the time at which that was noticed.
    interruption: Option<(Interruption, Instant)>,
    /// Whether the command was interrupted in a call that may still change something.
    is_undecided: bool,
    /// Calls for which the session no longer waits.
    given_up: Vec<JobEnd>,
    /// What the current login needs to tell of the changes among them.
    teller: Option<Arc<LateTeller>>,
}

impl Away {
    /// Runs `act` with the control connection at hand, so that the calls in it can be interrupted.
    pub(super) fn attend<T>(
        &self,
        control: &mut Control,
        verb: Verb,
        act: impl FnOnce() -> T,
    ) -> (T, Option<Interrupted>) {
        let stand_in = control.stand_in();
        let lent = std::mem::replace(control, stand_in);
        self.state.lock().lent = Some((lent, verb, Instant::now()));
        let result = act();
        let mut state = self.state.lock();
        if let Some((lent, ..)) = state.lent.take() {
            *control = lent;
        }
        let is_undecided = std::mem::take(&mut state.is_undecided);
        let interruption = state.interruption.take();
        (result, interruption.map(|(why, _)| Interrupted { why, is_undecided }))
    }

    /// Begins a login.
    pub(crate) fn log_in(&self, teller: LateTeller) {
        self.state.lock().teller = Some(Arc::new(teller));
    }

    /// Makes a call that changes nothing, unless the command has been interrupted.
    ///
    /// # Errors
    ///
    /// Returns an error of the call, or `Busy` if the command is interrupted before the call has
    /// ended.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StorageResult<T> + Send + 'static,
    ) -> StorageResult<T> {
        let (fill, slot) = slot(work);
        self.run(false, fill)?;
        slot.take()?
    }

    /// Makes a call that may change something, unless the command has been interrupted. `late` has
    /// the event of the change, which is told if the session gives up the call.
    ///
    /// # Errors
    ///
    /// Returns an error of the call, or `Unknown` if the command is interrupted before the call has
    /// ended.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        late: LateEvent,
        work: impl FnOnce() -> StorageResult<T> + Send + 'static,
    ) -> StorageResult<T> {
        let (fill, slot) = slot(work);
        let Err(error) = self.run(true, fill) else { return slot.take()? };
        slot.leave(self.late(late));
        Err(error)
    }

    /// Waits no longer for the publication of a file, except before the next call.
    pub(super) fn leave(&self, job: Job<StorageResult<()>>, late: LateEvent) {
        self.give_up(job.leave(self.late(late)));
    }

    /// Returns a function that tells of the end of a change.
    fn late<T>(&self, late: LateEvent) -> Late<StorageResult<T>> {
        let teller = self.state.lock().teller.clone();
        Box::new(move |done| {
            if let Some(teller) = teller {
                teller.conclude(late, &done.map(drop));
            }
        })
    }

    /// Makes the call that fills a slot. One body for all types of results: a body for each would
    /// take 60 KB.
    fn run(&self, changes: bool, fill: Box<dyn FnOnce() + Send>) -> StorageResult<()> {
        // Checked first: a command may make many calls.
        if self.state.lock().interruption.is_some() {
            return Err(StorageErrorKind::Busy.into());
        }
        self.wait_for(false, &mut |limit| !self.is_behind(limit))?;
        let end = JobEnd::begin(fill)?;
        let waited = self.wait_for(changes, &mut |limit| end.has_come(limit));
        waited.inspect_err(|_| self.give_up(end))
    }

    /// Waits no longer for a call, except before the next one. The call begins no change any more.
    pub(crate) fn give_up(&self, end: JobEnd) {
        end.cancel();
        self.state.lock().given_up.push(end);
    }

    /// Waits until `is_over` returns true, and looks at the client meanwhile. The argument of
    /// `is_over` is how long it may wait.
    ///
    /// # Errors
    ///
    /// Returns an error of [`change`](Self::change).
    pub(crate) fn wait_for(
        &self,
        changes: bool,
        is_over: &mut dyn FnMut(Duration) -> bool,
    ) -> StorageResult<()> {
        loop {
            if is_over(limits::TICK) {
                return Ok(());
            }
            let mut state = self.state.lock();
            if state.must_end() {
                state.is_undecided |= changes;
                return Err(match changes {
                    true => StorageErrorKind::Unknown.into(),
                    false => StorageErrorKind::Busy.into(),
                });
            }
        }
    }

    /// Returns whether a call for which the session no longer waits goes on for at least `limit`.
    pub(super) fn is_behind(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        state.given_up.retain(|end| !end.has_come(limit));
        !state.given_up.is_empty()
    }

    /// Waits for the end of those calls.
    pub(super) fn catch_up(&self) {
        while self.is_behind(limits::TICK) {}
    }
}

impl State {
    /// Looks at the client, and returns whether the command must end. If the connection has ended,
    /// the call has a moment left: the client may have sent its last command.
    fn must_end(&mut self) -> bool {
        if self.interruption.is_none()
            && let Some((control, verb, since)) = &mut self.lent
        {
            let mut look = ReadBudget::patient();
            let why = loop {
                match control.look(&mut look) {
                    None => break None,
                    Some(Notice::Abort) => break Some(Interruption::Abort),
                    Some(Notice::Ended) => break Some(Interruption::ControlLost),
                    Some(Notice::Status) => {
                        let seconds = since.elapsed().as_secs();
                        let text = format!("{verb} has waited {seconds} s for the storage");
                        if control.send(&Reply::new(ReplyCode::SYSTEM_STATUS, text)).is_err() {
                            break Some(Interruption::ControlLost);
                        }
                    }
                }
            };
            self.interruption = why.map(|why| (why, Instant::now()));
        }
        match self.interruption {
            None => false,
            Some((Interruption::Abort, _)) => true,
            Some((Interruption::ControlLost, since)) => since.elapsed() >= limits::LAST_CALL,
        }
    }
}
