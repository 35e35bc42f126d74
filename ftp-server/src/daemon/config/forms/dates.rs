//! Dates and times of expiry.

use std::fmt;
use std::time::{Duration, SystemTime};

use ftp_proto::TimeVal;
use toml_datetime::{Date, Datetime, Offset, Time};

use crate::daemon::config::forms::Optional;
use crate::daemon::config::kind::Kind;

/// The expiry of a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    /// At the end of this day, in UTC.
    After(TimeVal),
    /// At this time.
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
