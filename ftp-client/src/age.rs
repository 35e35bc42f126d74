//! How old something must be to prove something: the only place that says so. A file that is too
//! young can change without another time, and a look that is too old shows what is gone.

use std::fs::Metadata;
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::TimeVal;

/// Largest differences between local time and UTC, in the far east and in the far west, in seconds.
pub(crate) const AHEAD: i64 = 14 * 3_600;
pub(crate) const BEHIND: i64 = 12 * 3_600;
/// Smallest difference between time zones in seconds.
pub(crate) const ZONES: i64 = 15 * 60;

/// Age from which a file cannot change without another time, also on disks that keep even seconds.
const GRAIN: Duration = Duration::from_secs(2);

/// Pause after which any change to a file also changes its modification time.
pub(crate) const TICK: Duration = Duration::from_millis(2_100);

/// Age from which the system has written what a program changed in memory.
const WRITTEN: Duration = Duration::from_secs(60);

/// The longest time from a look at an object to the command that removes or replaces it. Unit tests wait for
/// its end.
pub(crate) const LOOK: Duration = Duration::from_secs(if cfg!(test) { 4 } else { 60 });

/// Returns the current time in seconds since 1970-01-01T00:00:00Z.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

/// Returns whether a file that a server dates `time` is older than `latest` in some time zones only.
pub(crate) const fn depends_on_zone(time: i64, latest: i64) -> bool {
    time - AHEAD <= latest && latest < time + BEHIND
}

/// Returns until when a look proves something that was begun at `begun` and has just ended. One that took
/// long proves it for as long again: the work must get on.
pub(crate) fn lasts_until(begun: Instant) -> Instant {
    begun + LOOK.max(2 * begun.elapsed())
}

/// Returns whether a look was too long ago for a command that removes or replaces.
pub(crate) fn is_old(look: Instant, now: Instant) -> bool {
    now.saturating_duration_since(look) >= LOOK
}

/// Returns whether the exact time of a listed file is known, and so long ago in each time zone that nobody
/// has stored the file since this run sent its removal.
pub(crate) fn is_from_before(exact: Option<i64>) -> bool {
    const DAY: i64 = 86_400;
    exact.is_some_and(|time| time < now() - DAY)
}

/// Returns whether a program may have changed the file in memory without a new time.
pub(crate) fn may_be_unwritten(file: &Metadata) -> bool {
    !file.modified().is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed >= WRITTEN))
}

/// Returns how long a local file can still change without another time, if it can.
pub(crate) fn settles_in(file: &Metadata) -> Option<Duration> {
    let ahead = match file.modified().ok()?.elapsed() {
        Ok(elapsed) => return GRAIN.checked_sub(elapsed).filter(|left| !left.is_zero()),
        Err(error) => error.duration(),
    };
    (ahead < GRAIN).then(|| GRAIN + ahead)
}

/// Returns whether a file of a server can still change without another time at `now`: its time is
/// `time`, or up to `width` seconds later, perhaps by the clock of another time zone.
pub(crate) fn is_young(time: i64, width: i64, now: i64) -> bool {
    let age = now - time;
    (-AHEAD - 1..=BEHIND + width + 2).contains(&age) && (age + 1).rem_euclid(ZONES) < 4 + width
}

/// Returns whether the time that a server tells is about `seconds` in some time zone.
pub(crate) fn is_about(time: TimeVal, seconds: i64) -> bool {
    is_young(time.unix_seconds(), 0, seconds)
}

/// Returns the time for the copy of a server's file whose time was asked for a moment before. While the
/// file can still change without another time, it is one that the next run finds different.
pub(crate) fn lasting(time: TimeVal) -> SystemTime {
    let (exact, seconds) = (SystemTime::from(time), time.unix_seconds());
    // The run has waited since the listing: what was young then is two seconds old.
    let other = exact.checked_sub(2 * GRAIN).filter(|_| is_young(seconds - 1, 0, now()));
    other.unwrap_or(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_this_moment_is_known_in_each_time_zone() {
        let now = 1_800_000_000;
        for (time, want) in [(0, true), (-2, true), (1, true), (-3, false), (2, false)] {
            for zone in [0, 9 * 3_600, -35 * 900, AHEAD, -BEHIND] {
                assert_eq!(is_young(now + time + zone, 0, now), want, "{time} {zone}");
            }
        }
        // No time zone is that far away.
        for zone in [AHEAD + 900, -BEHIND - 900, -900_000] {
            assert!(!is_young(now + zone, 0, now), "{zone}");
        }
        // A listing shows the minute, or the day.
        for (time, width, want) in [
            (-61, 59, true),
            (-62, 59, false),
            (1, 59, true),
            (2, 59, false),
            (-86_000, 86_399, true),
        ] {
            assert_eq!(is_young(now + time, width, now), want, "{time} {width}");
        }
    }

    #[test]
    fn nothing_goes_by_a_look_that_is_older_than_a_minute_cl_81() {
        let look = Instant::now();
        let almost = LOOK - Duration::from_secs(1);
        for (age, want) in
            [(Duration::ZERO, false), (almost, false), (LOOK, true), (60 * LOOK, true)]
        {
            assert_eq!(is_old(look, look + age), want, "{age:?}");
        }
        assert!(!is_old(look + LOOK, look), "a clock that went back");
    }
}
