//! The text that programs around the protocol share: values of options and settings, lines of JSON,
//! TOML, and times. Not part of the protocol; needs the feature `text`.

pub mod json;
pub mod toml_text;
pub mod values;

use std::fmt;
use std::time::SystemTime;

use crate::TimeVal;

/// A time in the form of RFC 3339: UTC, with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub SystemTime);

impl Stamp {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = calendar(self.0);
        write!(f, "{}.{:03}Z", to_seconds(time), time.nanosecond() / 1_000_000)
    }
}

/// Stands for a time that has no format.
const UNKNOWN: TimeVal = match TimeVal::new(0, 1, 1, 0, 0, 0) {
    Some(first) => first,
    None => panic!("the first day of year 0 exists"),
};

/// Returns the date and time of day in UTC; the first day of year 0 for years before 0 or after
/// 9999, which have no format.
#[must_use]
pub fn calendar(time: SystemTime) -> TimeVal {
    TimeVal::try_from(time).unwrap_or(UNKNOWN)
}

/// Formats a time in the form of RFC 3339, without the fraction and the zone.
#[must_use]
pub fn to_seconds(time: TimeVal) -> String {
    let date = format!("{:04}-{:02}-{:02}", time.year(), time.month(), time.day());
    format!("{date}T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}
