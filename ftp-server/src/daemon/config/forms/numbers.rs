//! Forms of numbers, times, sizes and rates.

use std::time::Duration;

use crate::daemon::config::forms::{Optional, Scalar};
use crate::daemon::config::kind::Kind;
use crate::daemon::values::{duration, show, show_size, size, waiting_time};

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
    text.parse().map_err(|_| format!("invalid number \"{text}\": expected 0 to {}", usize::MAX))
}

/// A number of files.
pub(crate) const FILES: Scalar<u64> = Scalar::new(
    Kind::Number,
    |text| {
        let wrong = |_| format!("invalid number \"{text}\": expected 0 to {}", u64::MAX);
        text.parse().map_err(wrong)
    },
    u64::to_string,
);

/// A number of failures or retries, 0 included.
pub(crate) const NUMBER: Scalar<u32> = Scalar::new(
    Kind::Number,
    |text| match text.parse() {
        Ok(number) if number <= MOST_FAILURES => Ok(number),
        _ => Err(format!("invalid number \"{text}\": expected 0 to {MOST_FAILURES}")),
    },
    u32::to_string,
);

pub(crate) const ATTEMPTS: Scalar<u32> = Scalar::new(
    Kind::Number,
    |text| match text.parse() {
        Ok(0) | Err(_) => Err(format!("invalid number \"{text}\": expected 1 to {}", u32::MAX)),
        Ok(number) => Ok(number),
    },
    u32::to_string,
);

pub(crate) const PROCESSES: Scalar<usize> = Scalar::new(
    Kind::Number,
    |text| match text.parse() {
        Ok(number @ 1..=MOST_PROCESSES) => Ok(number),
        _ => Err(format!("invalid number \"{text}\": expected 1 to {MOST_PROCESSES}")),
    },
    usize::to_string,
);

/// A umask, as up to three octal digits.
pub(crate) const UMASK: Scalar<u32> =
    Scalar::new(Kind::Text, umask, |umask| format!("{umask:03o}"));

/// A umask. Empty: the value for all users.
pub(crate) const OWN_UMASK: Optional<u32> = Optional(UMASK);

fn umask(text: &str) -> Result<u32, String> {
    let wrong = || format!("invalid umask \"{text}\": expected 000 to 777 in octal");
    permissions(text).ok_or_else(wrong)
}

/// Permissions of a file.
pub(crate) const MODE: Scalar<u32> = Scalar::new(
    Kind::Text,
    |text| {
        let wrong = || format!("invalid mode \"{text}\": expected 000 to 777 in octal");
        permissions(text).ok_or_else(wrong)
    },
    |mode| format!("{mode:04o}"),
);

/// Permissions of new files, with which their owner can use them. Empty: those that the umask leaves.
pub(crate) const FILE_MODE: Optional<u32> = Optional::new(
    Kind::Text,
    |text| usable(text, 0o600).ok_or_else(|| unusable(text, "0600", "read and write")),
    |mode| format!("{mode:04o}"),
);

/// Permissions of new directories, with which their owner can use them. Empty: those that the umask
/// leaves.
pub(crate) const DIRECTORY_MODE: Optional<u32> = Optional::new(
    Kind::Text,
    |text| usable(text, 0o700).ok_or_else(|| unusable(text, "0700", "read, write and enter")),
    |mode| format!("{mode:04o}"),
);

fn usable(text: &str, needed: u32) -> Option<u32> {
    permissions(text).filter(|bits| bits & needed == needed)
}

fn unusable(text: &str, least: &str, uses: &str) -> String {
    format!(
        "invalid mode \"{text}\": expected {least} to 0777 in octal, with which the owner can {uses}"
    )
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
