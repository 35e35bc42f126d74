//! Forms of numbers, times, sizes, rates and dates of expiry.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use ftp_proto::TimeVal;
use toml_datetime::{Date, Datetime, Offset, Time};

use crate::daemon::config::forms::{Kind, Optional, Scalar};
use ftp_proto::text::values::{duration, show, show_size, size, waiting_time};

/// Largest number of failures or retries. The server counts at most this number of failed logins of
/// a host.
const MOST_FAILURES: u32 = 1_000;

/// Largest number of processes of a hook or of `auth.program`.
const MOST_PROCESSES: usize = 64;

pub(crate) const COUNT: Scalar<usize> = Scalar::new(Kind::Number, count, usize::to_string);

/// A count. Empty: the value for all users.
pub(crate) const OWN_COUNT: Optional<usize> =
    Optional::new(Kind::NumberOrNone, count, usize::to_string);

fn count(text: &str) -> Result<usize, String> {
    number(text, 0..=usize::MAX)
}

pub(crate) const FILES: Scalar<u64> =
    Scalar::new(Kind::Number, |text| number(text, 0..=u64::MAX), u64::to_string);

/// A number of failures or retries, 0 included.
pub(crate) const NUMBER: Scalar<u32> =
    Scalar::new(Kind::Number, |text| number(text, 0..=MOST_FAILURES), u32::to_string);

pub(crate) const ATTEMPTS: Scalar<u32> =
    Scalar::new(Kind::Number, |text| number(text, 1..=u32::MAX), u32::to_string);

pub(crate) const PROCESSES: Scalar<usize> =
    Scalar::new(Kind::Number, |text| number(text, 1..=MOST_PROCESSES), usize::to_string);

fn number<T: FromStr + PartialOrd + fmt::Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let wrong = || {
        let (least, most) = (range.start(), range.end());
        format!("invalid number \"{text}\": expected {least} to {most}")
    };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

/// A umask that leaves the owner all permissions, as up to three octal digits.
pub(crate) const UMASK: Scalar<u32> = Scalar::new(
    Kind::Text,
    |text| {
        let wrong = || unusable("umask", text, "000 to 077", "read, write and enter");
        permissions(text).filter(|bits| bits & 0o700 == 0).ok_or_else(wrong)
    },
    |umask| format!("{umask:03o}"),
);

/// A umask. Empty: the value for all users.
pub(crate) const OWN_UMASK: Optional<u32> = Optional(UMASK);

pub(crate) const MODE: Scalar<u32> = Scalar::new(Kind::Text, mode, |mode| format!("{mode:04o}"));

fn mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("invalid mode \"{text}\": expected 000 to 777 in octal");
    permissions(text).ok_or_else(wrong)
}

/// Permissions of new files, with which their owner can use them. Empty: those that the umask leaves.
pub(crate) const FILE_MODE: Optional<u32> = Optional::new(
    Kind::Text,
    |text| {
        usable(text, 0o600).ok_or_else(|| unusable("mode", text, "0600 to 0777", "read and write"))
    },
    |mode| format!("{mode:04o}"),
);

/// Permissions of new directories, with which their owner can use them. Empty: those that the umask
/// leaves.
pub(crate) const DIRECTORY_MODE: Optional<u32> = Optional::new(
    Kind::Text,
    |text| {
        usable(text, 0o700)
            .ok_or_else(|| unusable("mode", text, "0700 to 0777", "read, write and enter"))
    },
    |mode| format!("{mode:04o}"),
);

fn usable(text: &str, needed: u32) -> Option<u32> {
    permissions(text).filter(|bits| bits & needed == needed)
}

fn unusable(what: &str, text: &str, range: &str, uses: &str) -> String {
    format!("invalid {what} \"{text}\": expected {range} in octal, with which the owner can {uses}")
}

fn permissions(text: &str) -> Option<u32> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777)
}

pub(crate) const TIME: Scalar<Duration> = Scalar::new(Kind::Time, duration, |time| show(*time));

/// A time above 0.
pub(crate) const WAITING_TIME: Scalar<Duration> =
    Scalar::new(Kind::Time, waiting_time, |time| show(*time));

/// An idle timeout of 10 s to 24 h. RFC 1123 §4.1.3.2 recommends at least five minutes.
pub(crate) const IDLE_TIME: Scalar<Duration> =
    Scalar::new(Kind::Time, idle_time, |time| show(*time));

/// An idle timeout. Empty: the value for all users.
pub(crate) const OWN_IDLE_TIME: Optional<Duration> = Optional(IDLE_TIME);

fn idle_time(text: &str) -> Result<Duration, String> {
    match waiting_time(text)? {
        time if time < Duration::from_secs(10) => {
            Err(format!("invalid time \"{text}\": expected at least 10 s"))
        }
        time if time > Duration::from_secs(86_400) => {
            Err(format!("invalid time \"{text}\": expected at most 24 h"))
        }
        time => Ok(time),
    }
}

pub(crate) const SIZE: Scalar<u64> = Scalar::new(Kind::Size, size, show_size);

/// Bytes per second. Empty: the value of another key if there is one, otherwise unlimited; 0:
/// unlimited.
pub(crate) const RATE: Optional<u64> = Optional(SPEED);

/// Bytes per second. 0: unlimited.
pub(crate) const SPEED: Scalar<u64> = Scalar::new(Kind::Size, rate, show_rate);

fn rate(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong =
        |_| format!("invalid rate \"{text}\": expected a rate such as 500 KiB/s or 30 MiB/s");
    size(text.strip_suffix("/s").unwrap_or(text)).map_err(wrong)
}

fn show_rate(rate: &u64) -> String {
    match rate {
        0 => "0".to_owned(),
        bytes => format!("{}/s", show_size(bytes)),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    /// At the end of this day, in UTC.
    After(TimeVal),
    At(TimeVal),
}

/// An expiry. Empty: never.
pub(crate) const EXPIRY: Optional<Expiry> = Optional::new(
    Kind::Date,
    |text| {
        let form = "a date such as 2026-12-31 or 2026-12-31T18:00:00Z";
        let wrong = || format!("invalid date \"{text}\": expected {form}");
        Expiry::parse(text).ok_or_else(wrong)
    },
    Expiry::to_string,
);

const DAY: u64 = 24 * 60 * 60;

impl Expiry {
    /// Reads a date, or a date and time as in RFC 3339 §5.6 with an offset from UTC. A fraction of
    /// a second is dropped.
    fn parse(text: &str) -> Option<Self> {
        let Datetime { date, time, offset } = text.parse().ok()?;
        let Date { year, month, day } = date?;
        let Some(Time { hour, minute, second, .. }) = time else {
            return TimeVal::new(year, month, day, 0, 0, 0).map(Self::After);
        };
        let local = TimeVal::new(year, month, day, hour, minute, second?)?;
        let ahead = match offset? {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes) * 60,
        };
        TimeVal::from_unix_seconds(local.unix_seconds().checked_sub(ahead)?).map(Self::At)
    }

    /// Returns the first moment at which the user can no longer log in.
    pub(crate) fn end(self) -> SystemTime {
        let seconds = |time: TimeVal| u64::try_from(time.unix_seconds()).unwrap_or(0);
        let seconds = match self {
            Self::After(day) => seconds(day).saturating_add(DAY),
            Self::At(time) => seconds(time),
        };
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// Shows the date, or the time in UTC, in the form that `parse` reads.
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::After(time) | Self::At(time)) = self;
        let digits = time.to_string();
        let part = |range| digits.get(range).unwrap_or_default();
        write!(f, "{}-{}-{}", part(0..4), part(4..6), part(6..8))?;
        match self {
            Self::After(_) => Ok(()),
            Self::At(_) => write!(f, "T{}:{}:{}Z", part(8..10), part(10..12), part(12..14)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_dates_end_with_the_day_and_expiry_times_are_exact() {
        for (text, shown, seconds) in [
            ("1970-01-01", "1970-01-01", 86_400),
            ("2026-12-31", "2026-12-31", 1_798_761_600),
            ("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z", 1_798_740_000),
            ("2026-12-31 18:00:00.25z", "2026-12-31T18:00:00Z", 1_798_740_000),
            ("2026-12-31T18:00:00+02:00", "2026-12-31T16:00:00Z", 1_798_732_800),
            ("2026-12-31t18:00:00-00:30", "2026-12-31T18:30:00Z", 1_798_741_800),
            ("2024-02-29", "2024-02-29", 1_709_251_200),
            ("1960-01-01T00:00:00Z", "1960-01-01T00:00:00Z", 0),
        ] {
            let expiry = Expiry::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(expiry.to_string(), shown);
            let end = expiry.end().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(end.as_secs(), seconds, "{text}");
        }
        for text in [
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "26-01-01",
            "2026/01/01",
            "2026-12-31T",
            "2026-12-31T18:00Z",
            "2026-12-31T18:00:00",
            "2026-12-31T24:00:00Z",
            "2026-12-31T18:00:00.Z",
            "2026-12-31T18:00:00+2",
            "2026-12-31T18:00:00+24:00",
            "2026-12-31T18:00:00Zx",
            "2026-12-3\u{e9}",
            "tomorrow",
        ] {
            assert_eq!(Expiry::parse(text), None, "{text}");
        }
    }
}
