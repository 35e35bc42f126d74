//! Handles many items over several connections, which become more while that helps: a run takes one
//! more connection only while the time that a file waits for replies is worth the time of another
//! login.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Builder, Scope};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::login::Pace;
use crate::error::{Error, Recovery};
use crate::net::wait::{self, Canceller};
use crate::{lock, unpoisoned};

/// A worker of the crew that [`work`](Self::work) hires, with its own connection. Items are identified
/// by number.
pub trait Worker {
    /// Ensures a connection for an item, if it needs one. A worker that begins alone is not asked: it
    /// connects when it handles the item. A worker that joins a growing crew is asked before it takes
    /// the item.
    ///
    /// # Errors
    ///
    /// Returns the reason if there is none. After [`Error::Fewer`], this worker ends, and others
    /// handle the item; a worker that has joined a growing crew ends after any error. After another
    /// transient failure, a worker tries again when it handles the item.
    fn connect(&mut self, item: usize) -> Result<(), Error>;

    /// Returns the open connection, if there is one: its pace decides whether the crew grows.
    fn client(&self) -> Option<&Client>;

    /// Returns whether another worker may handle an item from the start that this one has begun. A FIFO
    /// that was opened has lost what is in it.
    fn repeats(&self, _item: usize) -> bool {
        false
    }

    /// Returns how many items the worker takes besides this one, to request them ahead.
    fn ahead(&self, _item: usize) -> usize {
        0
    }

    /// Returns [`ahead`](Self::ahead) for an item that is only downloaded: how many downloads the
    /// connection [requests at once](Client::plan_downloads), as far as known.
    fn downloads_ahead(&self) -> usize {
        self.client().map_or(0, Client::downloads_ahead)
    }

    /// Handles an item. Those that follow are this worker's too, in this order. Returns whether it took a
    /// transfer.
    ///
    /// # Errors
    ///
    /// Returns the reason if it fails.
    fn act(&mut self, item: usize, following: &[usize]) -> Result<bool, Error>;

    /// Reports a failed item. Returns `Break` if no other item can succeed.
    fn failed(&mut self, item: usize, failure: Error) -> ControlFlow<()>;

    /// Ends the connection after the last item.
    fn end(self);

    /// Handles `items` items, numbered from 0, with workers that `hire` makes from their number.
    ///
    /// With `jobs`, that many workers begin at once, as far as there are items. With `None`, the first
    /// begins alone; others join, up to four in all, while the time that files wait for replies is worth
    /// another login. With the size of the `largest` item, this can be known before the first one has
    /// ended. If the server refuses a connection, the other workers handle its items, and a growing crew
    /// tries no further one. What the server refuses for now while there are several workers is handled
    /// once more at the end, by one alone, as is all that no worker has handled.
    fn work(
        jobs: Option<usize>,
        items: usize,
        largest: Option<u64>,
        hire: impl Fn(usize) -> Self + Sync,
    ) where
        Self: Sized + Send,
    {
        let workers = jobs.unwrap_or(1).clamp(1, items.max(1));
        let growth = jobs.is_none().then(|| Growth::new(largest));
        let first = if workers == 1 { Standing::First } else { Standing::Given };
        let items = (0..items).rev().collect();
        let (busy, hired, is_over, attempt) = (Vec::new(), workers - 1, false, None);
        let state = CrewState { items, busy, workers, hired, is_over, growth, attempt };
        let queue = Queue { state: Mutex::new(state), started: Instant::now() };
        let spare = Mutex::new(None);
        thread::scope(|threads| {
            let crew = Crew { queue: &queue, hire: &hire, spare: &spare, threads };
            for number in 1..workers {
                crew.begin(number, move || crew.work((crew.hire)(number), Standing::Given));
            }
            crew.work(hire(0), first);
        });
        let Some(mut worker): Option<Self> = unpoisoned(spare.into_inner()) else { return };
        let CrewState { items, busy, is_over, .. } = unpoisoned(queue.state.into_inner());
        // The second of two refusals of an earlier item, as some servers send, costs the connection.
        // Each further one is another login, which servers limit.
        let mut reconnects = 0;
        for item in items.into_iter().rev().chain(busy).filter(|_| !is_over) {
            let acted = worker.act(item, &[]).or_else(|failure| match failure.recovery() {
                Recovery::Reconnect if reconnects < IN_A_ROW && worker.repeats(item) => {
                    reconnects += 1;
                    worker.act(item, &[])
                }
                _ => Err(failure),
            });
            let Err(failure) = acted else {
                reconnects = 0;
                continue;
            };
            if worker.failed(item, failure).is_break() {
                break;
            }
        }
        worker.end();
    }
}

struct Queue {
    state: Mutex<CrewState>,
    started: Instant,
}

struct CrewState {
    /// The remaining items; the last element is the next one.
    items: Vec<usize>,
    /// Items that the server has refused for now.
    busy: Vec<usize>,
    /// Workers that have not ended.
    workers: usize,
    /// The number of the last worker.
    hired: usize,
    /// Whether the work is over: requeued items are dropped.
    is_over: bool,
    /// `None` if the number of workers is given.
    growth: Option<Growth>,
    /// Ends the attempt of a worker to join.
    attempt: Option<Canceller>,
}

struct Crew<'scope, 'env, W, H> {
    queue: &'scope Queue,
    hire: &'scope H,
    /// A worker that has ended its work, for what is left: a server with few sessions may still count
    /// one whose connection has just ended.
    spare: &'scope Mutex<Option<W>>,
    threads: &'scope Scope<'scope, 'env>,
}

impl<W, H> Clone for Crew<'_, '_, W, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W, H> Copy for Crew<'_, '_, W, H> {}

/// How a worker came to the crew.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Standing {
    /// It begins alone.
    First,
    /// It is one of a given number.
    Given,
    /// It joins a growing crew, and has handled nothing yet.
    OnProbation,
    Joined,
}

enum Tried {
    Done,
    Failed(Error),
    /// The server refused the item for now.
    Busy,
    /// Others should handle the item.
    Back,
}

impl<'scope, W: Worker + Send, H: Fn(usize) -> W + Sync> Crew<'scope, '_, W, H> {
    /// Starts a thread. Without it, the others do the work.
    fn begin(self, number: usize, job: impl FnOnce() + Send + 'scope) {
        let thread = Builder::new().name(format!("job {number}"));
        if thread.spawn_scoped(self.threads, job).is_err() {
            self.queue.lock().workers -= 1;
            self.queue.dialled(false);
        }
    }

    /// Connects, and then works, unless the server refuses the connection or nothing is left.
    fn join(self, mut worker: W, attempt: &Canceller) {
        let next = self.queue.lock().items.last().copied();
        let connected = next.map(|item| wait::attempt(attempt, || worker.connect(item)));
        let is_accepted = matches!(connected, Some(Ok(())));
        self.queue.dialled(is_accepted);
        match is_accepted {
            true => self.work(worker, Standing::OnProbation),
            false => {
                self.queue.leave(&[]);
                worker.end();
            }
        }
    }

    /// Works until nothing is left, or the rest is for other workers or for the end.
    fn work(self, mut worker: W, mut standing: Standing) {
        let (mut row, mut is_busy) = (VecDeque::new(), false);
        while let Some(item) = self.queue.next(&mut row) {
            match self.attempt(&mut worker, &mut standing, item, &mut row) {
                Tried::Done => is_busy = false,
                Tried::Failed(failure) => {
                    if worker.failed(item, failure).is_break() {
                        self.queue.end();
                    }
                }
                Tried::Busy => {
                    self.queue.lock().busy.push(item);
                    // What is requested ahead stays with the connection.
                    if std::mem::replace(&mut is_busy, true) && row.is_empty() {
                        self.queue.leave(&[]);
                        break;
                    }
                }
                Tried::Back => {
                    row.push_front(item);
                    self.queue.leave(row.make_contiguous());
                    break;
                }
            }
        }
        let mut spare = lock(self.spare);
        let other = match &*spare {
            Some(kept) if is_open(kept) => Some(worker),
            _ => spare.replace(worker),
        };
        drop(spare);
        other.into_iter().for_each(W::end);
    }

    fn attempt(
        self,
        worker: &mut W,
        standing: &mut Standing,
        item: usize,
        row: &mut VecDeque<usize>,
    ) -> Tried {
        let queue = self.queue;
        // Where each session ends another one, two workers would end each other's again and again. One
        // that has ended between two items would be replaced in silence.
        if queue.has_just_grown() && worker.client().is_some() && !is_open(worker) {
            queue.lock().refuse();
        }
        let has_joined = matches!(*standing, Standing::OnProbation | Standing::Joined);
        if has_joined && queue.is_refused() && !is_open(worker) {
            return Tried::Back;
        }
        let connected = match *standing {
            Standing::First => Ok(()),
            _ => worker.connect(item),
        };
        let is_on_probation = *standing == Standing::OnProbation;
        match connected {
            Ok(()) => {}
            Err(why) if *standing != Standing::Given || matches!(why, Error::Fewer(_)) => {
                if is_on_probation {
                    queue.lock().refuse();
                }
                return Tried::Back;
            }
            Err(failure) if failure.recovery() == Recovery::TryAgain => {}
            Err(failure) => return Tried::Failed(failure),
        }
        queue.take_row(worker.ahead(item), row);
        self.grow(worker);
        let following = row.make_contiguous();
        let mut may_repeat = *standing == Standing::First;
        loop {
            let began = Instant::now();
            let failure = match worker.act(item, following) {
                Ok(is_transfer) => {
                    if is_transfer {
                        queue.file_ended(began.elapsed());
                        if is_on_probation {
                            *standing = Standing::Joined;
                        }
                    }
                    return Tried::Done;
                }
                Err(failure) => failure,
            };
            let is_lost = worker.repeats(item)
                && failure.recovery() != Recovery::Impossible
                && !is_open(worker)
                && (is_on_probation || queue.has_just_grown());
            // Some servers limit transfers in place of sessions, and ports can be rare.
            let is_busy = worker.repeats(item)
                && failure.may_be_of_one_connection()
                && queue.lock().hired > 0;
            if !is_lost && !is_busy {
                return Tried::Failed(failure);
            }
            queue.lock().refuse();
            // Some servers end a session when another one begins. The first worker goes on, and the
            // others leave.
            match is_lost {
                true if std::mem::take(&mut may_repeat) => {}
                true => return Tried::Back,
                false => return Tried::Busy,
            }
        }
    }

    /// Lets another worker join if that saves time.
    fn grow(self, worker: &W) {
        let Some(pace) = worker.client().and_then(Client::pace) else { return };
        let now = self.queue.now();
        let mut state = self.queue.lock();
        let left = state.items.len();
        if !state.growth.as_mut().is_some_and(|growth| growth.wants_another(left, pace, now)) {
            return;
        }
        let Ok(attempt) = Canceller::new() else { return state.refuse() };
        state.attempt = Some(attempt.clone());
        state.workers += 1;
        state.hired += 1;
        let number = state.hired;
        drop(state);
        self.begin(number, move || self.join((self.hire)(number), &attempt));
    }
}

fn is_open(worker: &impl Worker) -> bool {
    worker.client().is_some_and(|client| client.control.is_open() && !client.control.has_ended())
}

impl CrewState {
    /// Records that the server wants no more connections.
    fn refuse(&mut self) {
        self.growth.iter_mut().for_each(Growth::refuse);
    }

    /// Ends an attempt to join, which is no longer worth it.
    fn give_up(&mut self) {
        self.attempt.take().iter().for_each(Canceller::cancel);
    }
}

impl Queue {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the next item, first of the worker's own row, or `None` to end the worker.
    fn next(&self, row: &mut VecDeque<usize>) -> Option<usize> {
        let mut state = self.lock();
        if state.is_over {
            row.clear();
        }
        let next = row.pop_front().or_else(|| state.items.pop());
        if next.is_none() {
            state.give_up();
            state.workers -= 1;
        }
        next
    }

    /// Adds items to a row, up to `most` and as many as leave something for the other workers.
    fn take_row(&self, most: usize, row: &mut VecDeque<usize>) {
        let mut state = self.lock();
        let left = state.items.len();
        let fair = match (state.workers, &state.growth) {
            (1, None) => left,
            (workers, _) => left.div_ceil(2 * workers),
        };
        for _ in row.len()..fair.min(most) {
            row.extend(state.items.pop());
        }
    }

    /// Puts the items of a worker back, unless the work is over, and no longer counts it.
    fn leave(&self, row: &[usize]) {
        let mut state = self.lock();
        state.workers -= 1;
        if !state.is_over {
            state.items.extend(row.iter().rev());
        }
        if state.items.is_empty() {
            state.give_up();
        }
    }

    /// Ends the work: workers start no other item, not even one that comes back later.
    fn end(&self) {
        let mut state = self.lock();
        state.items.clear();
        state.is_over = true;
        state.give_up();
    }

    fn dialled(&self, is_accepted: bool) {
        let now = self.now();
        let mut state = self.lock();
        state.attempt = None;
        state.growth.iter_mut().for_each(|growth| growth.dialled(is_accepted, now));
    }

    /// Returns whether the server wants no more connections than the run has.
    fn is_refused(&self) -> bool {
        self.lock().growth.as_ref().is_some_and(|growth| growth.is_refused)
    }

    /// Returns whether the run is making another connection, or has just made one.
    fn has_just_grown(&self) -> bool {
        let now = self.now();
        self.lock().growth.as_ref().is_some_and(|growth| growth.has_just_grown(now))
    }

    fn file_ended(&self, took: Duration) {
        self.lock().growth.iter_mut().for_each(|growth| growth.file_ended(took));
    }

    fn lock(&self) -> MutexGuard<'_, CrewState> {
        lock(&self.state)
    }
}

/// Most connections that a run takes by itself; as many as rclone.
pub(crate) const MOST: usize = 4;
/// The most connections in a row that the files left over at the end cost without one being done.
const IN_A_ROW: usize = 3;
/// A login must save this many times the seconds that it costs.
const PAY: f64 = 2.0;
/// The most round trips that a file waits for replies.
const HIDE: f64 = 6.0;
/// The least part of a file's time that is spent waiting for replies. Below it, files wait for
/// bytes, which further connections share.
const SHARE: f64 = 0.25;
/// The least factor by which a connection made the run faster, if another one is to follow.
/// Otherwise a processor, a disk or the network is at its limit.
const GAIN: f64 = 1.15;
/// The time after a login in which the loss of another connection may be due to it.
const JUST: Duration = Duration::from_secs(10);
/// The weight of the last file in the average time of a file.
const WEIGHT: f64 = 0.25;
/// The round trips that a small file is expected to take before the first one has ended.
const EXPECTED: f64 = 4.0;
/// Largest size in bytes of a small file, which waits for replies longer than for its bytes.
pub(crate) const SMALL: u64 = 256 << 10;

/// The progress of a run, as far as it decides about another connection.
#[derive(Debug)]
struct Growth {
    /// Whether all files are small, so that the time of the first can be foreseen.
    are_small: bool,
    connections: usize,
    is_dialling: bool,
    /// Whether the server has refused one: no other is tried.
    is_refused: bool,
    /// Average seconds of a file.
    file: Option<f64>,
    /// Files that ended since the last login, and when that was.
    ended: usize,
    since: Duration,
    /// Files per second before the last login.
    before: Option<f64>,
}

impl Growth {
    /// Returns the state of a run with one connection; `largest` is the size of the largest file.
    fn new(largest: Option<u64>) -> Self {
        let are_small = largest.is_some_and(|largest| largest <= SMALL);
        let (is_dialling, is_refused, file, before) = (false, false, None, None);
        let since = Duration::ZERO;
        Self { are_small, connections: 1, is_dialling, is_refused, file, ended: 0, since, before }
    }

    fn file_ended(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.file = Some(self.file.map_or(took, |file| file + WEIGHT * (took - file)));
        self.ended += 1;
    }

    /// Decides at the time `now` of the run, with `left` files that nobody has taken, whether to make
    /// another connection. If so, the caller makes it, and reports the result with
    /// [`dialled`](Self::dialled).
    fn wants_another(&mut self, left: usize, pace: Pace, now: Duration) -> bool {
        let wants = !self.is_dialling && !self.is_refused && self.connections < MOST;
        let wants = wants && self.has_gained(now) && self.saves(left, pace);
        self.is_dialling |= wants;
        wants
    }

    fn dialled(&mut self, accepted: bool, now: Duration) {
        if !accepted {
            return self.refuse();
        }
        self.is_dialling = false;
        self.before = self.rate(now);
        self.connections += 1;
        (self.ended, self.since) = (0, now);
    }

    /// Returns whether a connection that ends at the time `now` may have ended because of another one.
    fn has_just_grown(&self, now: Duration) -> bool {
        let has_joined = self.connections > 1 && now.saturating_sub(self.since) < JUST;
        self.is_dialling || has_joined
    }

    /// Records that the server wants no more connections.
    const fn refuse(&mut self) {
        (self.is_dialling, self.is_refused) = (false, true);
    }

    /// Returns the files per second since the last login, once two files of each connection have ended.
    fn rate(&self, now: Duration) -> Option<f64> {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        (self.ended >= 2 * self.connections).then(|| self.ended as f64 / seconds.max(1e-6))
    }

    /// Returns whether the last connection made the run faster. Where a login takes no longer than a few
    /// files, the rate before it is unknown, and not missed: little is lost by one connection too many.
    fn has_gained(&self, now: Duration) -> bool {
        let Some(before) = self.before else { return true };
        self.rate(now).is_some_and(|rate| rate >= GAIN * before)
    }

    /// Returns whether another connection saves more time than its login takes.
    fn saves(&self, left: usize, pace: Pace) -> bool {
        let round_trip = pace.reply.as_secs_f64();
        let Some(file) = self.file.or(self.are_small.then_some(EXPECTED * round_trip)) else {
            return false;
        };
        let hidden = file.min(HIDE * round_trip);
        let here = self.connections as f64;
        let saved = left as f64 * hidden * (1.0 / here - 1.0 / (here + 1.0));
        hidden >= SHARE * file && saved > PAY * pace.login.as_secs_f64()
    }
}

#[cfg(test)]
mod tests;
