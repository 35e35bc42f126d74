//! The rule by which a run with several files takes one more connection: only while the time that a
//! file waits for replies is worth the time of another login.

use std::time::Duration;

/// Most connections that a run takes by itself; as many as rclone.
pub(crate) const MOST: usize = 4;
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
/// The weight of the last file in the average time of a file.
const WEIGHT: f64 = 0.25;
/// The round trips that a small file is expected to take before the first one has ended.
const EXPECTED: f64 = 4.0;
/// Largest size in bytes of a small file, which waits for replies longer than for its bytes.
pub(crate) const SMALL: u64 = 256 << 10;

/// What a connection has shown of the way to its server, and of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The shortest time from a command to its reply.
    pub(crate) reply: Duration,
    /// The time to connect and to log in.
    pub(crate) login: Duration,
}

/// The progress of a run, as far as it decides about another connection.
#[derive(Debug)]
pub(super) struct Growth {
    /// Whether all files are small, so that the time of the first can be foreseen.
    are_small: bool,
    connections: usize,
    /// Whether a connection is being made.
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
    pub(super) fn new(largest: Option<u64>) -> Self {
        let are_small = largest.is_some_and(|largest| largest <= SMALL);
        let (is_dialling, is_refused, file, before) = (false, false, None, None);
        let since = Duration::ZERO;
        Self { are_small, connections: 1, is_dialling, is_refused, file, ended: 0, since, before }
    }

    /// Records a file that took `took`.
    pub(super) fn file_ended(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.file = Some(self.file.map_or(took, |file| file + WEIGHT * (took - file)));
        self.ended += 1;
    }

    /// Decides at the time `now` of the run, with `left` files that nobody has taken, whether to make
    /// another connection. If so, the caller makes it, and reports the result with
    /// [`dialled`](Self::dialled).
    pub(super) fn wants_another(&mut self, left: usize, pace: Pace, now: Duration) -> bool {
        let wants = !self.is_dialling && !self.is_refused && self.connections < MOST;
        let wants = wants && self.has_gained(now) && self.saves(left, pace);
        self.is_dialling |= wants;
        wants
    }

    /// Records the end of an attempt to connect at the time `now`.
    pub(super) fn dialled(&mut self, accepted: bool, now: Duration) {
        if !accepted {
            return self.refuse();
        }
        self.is_dialling = false;
        self.before = self.rate(now);
        self.connections += 1;
        (self.ended, self.since) = (0, now);
    }

    /// Records that the server wants no more connections.
    pub(super) const fn refuse(&mut self) {
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
mod tests {
    use super::*;

    /// A server and the way to it, in seconds.
    #[derive(Clone, Copy)]
    struct World {
        round_trip: f64,
        login: f64,
        /// Round trips that a file waits for.
        waits: f64,
        /// Seconds of the common link, disk or processor that each file takes.
        shared: f64,
        /// Connections that the server accepts.
        limit: usize,
    }

    /// Runs `files` files through the rule. Returns the seconds, the most connections, and the number
    /// of refused ones.
    fn run(world: World, files: usize, largest: Option<u64>) -> (f64, usize, usize) {
        let mut growth = Growth::new(largest);
        let seconds = Duration::from_secs_f64;
        let pace = Pace { reply: seconds(world.round_trip), login: seconds(world.login) };
        // Per worker: when it is free, and when its file began. Workers that are logging in are apart.
        let (mut workers, mut dialling) = (vec![(0.0, 0.0)], None);
        let (mut left, mut link, mut refused) = (files, 0.0_f64, 0);
        let mut now = 0.0;
        let mut begin = |now: f64, left: &mut usize| {
            *left -= 1;
            link = link.max(now) + world.shared;
            ((now + world.waits * world.round_trip + world.shared).max(link), now)
        };
        workers[0] = begin(0.0, &mut left);
        let mut most = 1;
        loop {
            if dialling.is_none() && growth.wants_another(left, pace, seconds(now)) {
                dialling = Some(now + world.login);
            }
            let next = (0..workers.len()).min_by(|a, b| workers[*a].0.total_cmp(&workers[*b].0));
            let ends = next.map_or(f64::INFINITY, |at| workers[at].0);
            if let Some(at) = dialling.filter(|at| *at <= ends) {
                (now, dialling) = (at, None);
                let accepted = workers.len() < world.limit;
                growth.dialled(accepted, seconds(now));
                refused += usize::from(!accepted);
                if accepted && left > 0 {
                    workers.push(begin(now, &mut left));
                    most = most.max(workers.len());
                }
                continue;
            }
            let Some(at) = next else { return (now, most, refused) };
            now = ends;
            growth.file_ended(seconds(now - workers[at].1));
            match left {
                0 => drop(workers.remove(at)),
                _ => workers[at] = begin(now, &mut left),
            }
        }
    }

    const FAR: World =
        World { round_trip: 0.05, login: 0.3, waits: 3.0, shared: 0.0007, limit: usize::MAX };

    #[test]
    fn connections_grow_where_files_wait_for_replies() {
        let lan = World { round_trip: 0.0001, login: 0.0006, shared: 0.0003, ..FAR };
        let farther = World { round_trip: 0.2, login: 1.2, ..FAR };
        for (world, files, most, at_most) in [
            (FAR, 1, 1, 0.2),
            (FAR, 10, 2, 1.5),
            (FAR, 200, 4, 8.9),
            (FAR, 5_000, 4, 195.0),
            (farther, 200, 4, 35.0),
            (lan, 1_000, 4, 1.0),
        ] {
            let (seconds, connections, refused) = run(world, files, Some(4_096));
            assert_eq!((connections, refused), (most, 0), "{files} files at {}", world.round_trip);
            assert!(seconds <= at_most, "{files} files took {seconds}");
        }
    }

    #[test]
    fn a_full_link_and_few_files_stay_with_few_connections() {
        // Files of 20 MiB at 50 Mbit/s wait for bytes.
        let big = World { shared: 3.4, ..FAR };
        assert_eq!(run(big, 20, Some(20 << 20)).1, 1);
        // A login that costs more than it saves: two seconds for PAM.
        assert_eq!(run(World { login: 2.0, ..FAR }, 20, Some(4_096)).1, 1);
        // A server that carries out one command after the other: the third connection gains nothing.
        let serial = World { round_trip: 0.001, login: 0.05, waits: 1.0, shared: 0.004, ..FAR };
        assert_eq!(run(serial, 1_000, Some(4_096)).1, 3);
    }

    #[test]
    fn at_most_one_connection_is_refused() {
        for limit in [1, 2, 3] {
            let (_, most, refused) = run(World { limit, ..FAR }, 200, Some(4_096));
            assert_eq!((most, refused), (limit, 1));
        }
    }

    #[test]
    fn the_first_file_must_end_if_its_size_is_unknown() {
        let mut growth = Growth::new(None);
        let pace = Pace { reply: Duration::from_millis(50), login: Duration::from_millis(300) };
        assert!(!growth.wants_another(100, pace, Duration::ZERO));
        growth.file_ended(Duration::from_millis(200));
        assert!(growth.wants_another(100, pace, Duration::from_millis(200)));
        // One at a time.
        assert!(!growth.wants_another(100, pace, Duration::from_millis(400)));
    }
}
