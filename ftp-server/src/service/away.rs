//! Calls of a storage that can wait for long: each is made in a thread of its own, while the session
//! watches its client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{HostName, Reply, ReplyCode, Verb};

use super::control::{Control, ControlNotice, ReadBudget};
use crate::auth::LocalPaths;
use crate::data::Interruption;
use crate::limits;
use crate::lock::Lock;
use crate::log::{Announcement, Complaints, Event, EventKind, Line, Observers};
use crate::storage::{StorageError, StorageErrorKind, StorageResult, is_made};
use crate::threads::{JobEnd, Late, ThreadJob, slot};
use crate::tls::TlsInfo;

/// A publication in a thread, and what observers were told of it before.
pub(super) type Publication = (ThreadJob<StorageResult<()>>, Announcement);

/// The calls of one session.
#[derive(Default)]
pub(crate) struct Away {
    state: Lock<AwayState>,
}

#[derive(Clone, Copy)]
pub(super) struct Interrupted {
    pub(super) why: Interruption,
    /// Whether the change that the command asked for may still be made.
    pub(super) is_undecided: bool,
}

#[derive(Default)]
struct AwayState {
    /// The control connection, lent while a command is decided, and the command with its beginning.
    lent: Option<(Control, Verb, Instant)>,
    /// Why the command must end, with the time at which that was noticed.
    interruption: Option<(Interruption, Instant)>,
    /// When the client was last seen to be there.
    seen: Option<Instant>,
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
        let now = Instant::now();
        {
            let mut state = self.state.lock();
            state.lent = Some((lent, verb, now));
            // The client has just sent the command. Later only a look shows that it is there.
            state.seen = Some(now);
        }
        let result = act();
        let mut state = self.state.lock();
        if let Some((lent, ..)) = state.lent.take() {
            *control = lent;
        }
        let is_undecided = std::mem::take(&mut state.is_undecided);
        let interruption = state.interruption.take();
        (result, interruption.map(|(why, _)| Interrupted { why, is_undecided }))
    }

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
        slot.leave(self.late(late, Announcement::default()));
        Err(error)
    }

    /// Leaves the publication in flight; the next call waits for its end first.
    pub(super) fn leave(&self, publication: Publication, late: LateEvent) {
        let (job, announcement) = publication;
        self.give_up(job.leave(self.late(late, announcement)));
    }

    /// Returns a function that tells of the end of a change.
    fn late<T>(&self, late: LateEvent, announcement: Announcement) -> Late<StorageResult<T>> {
        let teller = self.state.lock().teller.clone();
        Box::new(move |done| {
            let done = done.map(drop);
            announcement.settle(&done);
            if let Some(teller) = teller {
                teller.conclude(late, &done);
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
        let waited = self.wait_for(changes, &mut |limit| {
            self.state.lock().seen.into_iter().for_each(|when| end.seen(when));
            end.has_come(limit)
        });
        waited.inspect_err(|_| self.give_up(end))
    }

    /// Stops waiting for a call that is in flight; the next call waits for its end first. The
    /// abandoned call no longer begins a change.
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

impl AwayState {
    /// Looks at the client, and returns whether the command must end. If the connection has ended,
    /// the call has a moment left: the client may have sent its last command.
    fn must_end(&mut self) -> bool {
        let now = Instant::now();
        if self.interruption.is_none()
            && let Some((control, verb, since)) = &mut self.lent
        {
            let mut look = ReadBudget::patient();
            let why = loop {
                match control.look(&mut look) {
                    None => break None,
                    Some(ControlNotice::Abort) => break Some(Interruption::Abort),
                    Some(ControlNotice::Ended) => break Some(Interruption::ControlLost),
                    Some(ControlNotice::Status) => {
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
            None => {
                self.seen = Some(now);
                false
            }
            Some((Interruption::Abort, _)) => true,
            Some((Interruption::ControlLost, since)) => since.elapsed() >= limits::LAST_CALL,
        }
    }
}

// Abandoned changes: the call runs on, and its result is reported when it arrives.

/// The function that gets the event of a change.
pub(crate) type LateObserver<'a> = &'a mut dyn FnMut(EventKind<'_>);

/// A function that passes the event of a change on, if there is one.
pub(crate) type LateEvent = Box<dyn FnOnce(LateObserver<'_>) + Send>;

/// Context for reporting changes that a login abandoned.
pub(crate) struct LateTeller {
    pub(crate) observers: Observers,
    /// The login, as in each [`Event`].
    pub(crate) session: u64,
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) user: Vec<u8>,
    pub(crate) local_paths: Option<Arc<LocalPaths>>,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) host: Option<HostName>,
    pub(crate) said: Lock<Complaints>,
}

impl LateTeller {
    /// Tells how a change has ended: the observers if it is made, and the log, because the client was
    /// told that it may be made. The log gets at most one line a second.
    pub(super) fn conclude(&self, late: LateEvent, ended: &StorageResult<()>) {
        late(&mut |kind| {
            let (user, tls, host) = (Some(&*self.user), self.tls, self.host.as_ref());
            let (session, local_paths) = (Some(self.session), self.local_paths.as_deref());
            let event = Event::of_peer(self.peer, kind);
            let event = Event { session, user, tls, host, local_paths, ..event };
            let line = Line::of(&event, 0);
            if is_made(ended) {
                self.observers.tell_unharmed(&event);
            }
            let end = ended.as_ref().map_or_else(StorageError::in_full, |()| "done".to_owned());
            self.said.lock().log("given up by its session", &format!("{line}: {end}"));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::messages;
    use crate::storage::StorageErrorKind;

    #[test]
    fn the_end_of_a_change_that_was_given_up_is_logged_dc_45() {
        let ends = [
            (Ok(()), "done"),
            (Err(StorageErrorKind::Unsynced.into()), "done, but not safely on the disk"),
            (Err(StorageErrorKind::Denied.into()), "permission denied"),
        ];
        for (end, said) in ends {
            let teller = LateTeller {
                observers: Observers::default(),
                session: 7,
                peer: ([192, 0, 2, 1], 50_212).into(),
                user: b"u".to_vec(),
                local_paths: None,
                tls: None,
                host: None,
                said: Lock::default(),
            };
            let late: LateEvent = Box::new(|tell| tell(EventKind::Deleted { path: &"/a".into() }));
            let line = r#"delete session=7 peer=192.0.2.1 port=50212 user="u" path="/a""#;
            assert_eq!(
                messages::of(log::Level::Warn, || teller.conclude(late, &end)),
                [format!("given up by its session: {line}: {said}")]
            );
        }
    }
}
