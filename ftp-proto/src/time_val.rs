//! Time values: `YYYYMMDDHHMMSS[.sss]`, always UTC (RFC 3659 §2.3).

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::{ParseError, ParseErrorKind};

/// A point in time in UTC, to the nanosecond, in the years 0 to 9999.
///
/// ```
/// use ftp_proto::TimeVal;
///
/// let time = TimeVal::parse(b"19990929003355.237")?;
/// assert_eq!(time.unix_seconds(), 938_565_235);
/// assert_eq!(time.to_string(), "19990929003355.237");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TimeVal {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
}

impl TimeVal {
    /// Returns the time with these fields, to the second; `None` if no such time exists. A leap
    /// second, `60`, is allowed.
    #[must_use]
    pub const fn new(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Option<Self> {
        let date = year <= 9_999 && 1 <= month && month <= 12 && 1 <= day;
        if date && day <= days_of_month(year, month) && hour <= 23 && minute <= 59 && second <= 60 {
            Some(Self { year, month, day, hour, minute, second, nanosecond: 0 })
        } else {
            None
        }
    }

    /// Parses a time value that fills all of `input`.
    ///
    /// A leap second, `60`, is accepted; digits of the fraction after the ninth are dropped.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for fewer than 14 digits or no digit after the point. Returns
    /// `UnexpectedByte` for anything but digits and one point, and `BadNumber` for a date or time
    /// of day that does not exist.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| Err(ParseError::new("time-val", at, kind));
        let not_a_digit = |bytes: &[u8]| bytes.iter().position(|byte| !byte.is_ascii_digit());
        let Some((digits, fraction)) = input.split_first_chunk::<14>() else {
            return match not_a_digit(input) {
                Some(at) => error(at, ParseErrorKind::UnexpectedByte),
                None => error(input.len(), ParseErrorKind::UnexpectedEnd),
            };
        };
        if let Some(at) = not_a_digit(digits) {
            return error(at, ParseErrorKind::UnexpectedByte);
        }
        let nanosecond = match fraction {
            [] => 0,
            [b'.'] => return error(15, ParseErrorKind::UnexpectedEnd),
            [b'.', digits @ ..] => {
                if let Some(at) = not_a_digit(digits) {
                    return error(15 + at, ParseErrorKind::UnexpectedByte);
                }
                let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
                padded.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
            }
            _ => return error(14, ParseErrorKind::UnexpectedByte),
        };
        let [c1, c2, y1, y2, mon1, mon2, d1, d2, h1, h2, min1, min2, s1, s2] =
            digits.map(|digit| digit - b'0');
        let year = u16::from(c1 * 10 + c2) * 100 + u16::from(y1 * 10 + y2);
        let month = mon1 * 10 + mon2;
        let day = d1 * 10 + d2;
        let hour = h1 * 10 + h2;
        let minute = min1 * 10 + min2;
        let second = s1 * 10 + s2;
        if let Some(time) = Self::new(year, month, day, hour, minute, second) {
            return Ok(Self { nanosecond, ..time });
        }
        let at = if !(1..=12).contains(&month) {
            4
        } else if !(1..=days_of_month(year, month)).contains(&day) {
            6
        } else if hour > 23 {
            8
        } else if minute > 59 {
            10
        } else {
            12
        };
        error(at, ParseErrorKind::BadNumber)
    }

    /// Returns the time `seconds` after (if negative, before) 1970-01-01T00:00:00Z; `None` outside
    /// the years 0 to 9999.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        let second_of_day = seconds.rem_euclid(86_400);
        // Howard Hinnant's civil_from_days: years begin in March, so that the leap day is last.
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Some(Self {
            year: year.try_into().ok().filter(|year| *year <= 9_999)?,
            month: month.try_into().ok()?,
            day: day.try_into().ok()?,
            hour: (second_of_day / 3_600).try_into().ok()?,
            minute: (second_of_day / 60 % 60).try_into().ok()?,
            second: (second_of_day % 60).try_into().ok()?,
            nanosecond: 0,
        })
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z. A leap second counts as the second
    /// after it.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        let month = i64::from(self.month);
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let time = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60;
        days * 86_400 + time + i64::from(self.second)
    }

    /// Returns the year, 0 to 9999.
    #[must_use]
    pub const fn year(&self) -> u16 {
        self.year
    }

    /// Returns the month, 1 to 12.
    #[must_use]
    pub const fn month(&self) -> u8 {
        self.month
    }

    /// Returns the day of the month, 1 to 31.
    #[must_use]
    pub const fn day(&self) -> u8 {
        self.day
    }

    /// Returns the hour, 0 to 23.
    #[must_use]
    pub const fn hour(&self) -> u8 {
        self.hour
    }

    /// Returns the minute, 0 to 59.
    #[must_use]
    pub const fn minute(&self) -> u8 {
        self.minute
    }

    /// Returns the second, 0 to 60.
    #[must_use]
    pub const fn second(&self) -> u8 {
        self.second
    }

    /// Returns the fraction of the second in nanoseconds, 0 to 999,999,999.
    #[must_use]
    pub const fn nanosecond(&self) -> u32 {
        self.nanosecond
    }
}

impl TryFrom<SystemTime> for TimeVal {
    type Error = ParseError;

    /// Returns `BadNumber` outside the years 0 to 9999.
    fn try_from(time: SystemTime) -> Result<Self, ParseError> {
        let wrong = ParseError::new("time-val", 0, ParseErrorKind::BadNumber);
        // Before 1970 the fraction counts forward from the previous second.
        let (seconds, nanosecond) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()), after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let seconds = i64::try_from(before.as_secs()).map(|seconds| -seconds);
                match before.subsec_nanos() {
                    0 => (seconds, 0),
                    nanos => (seconds.map(|seconds| seconds - 1), 1_000_000_000 - nanos),
                }
            }
        };
        let seconds = seconds.map_err(|_| wrong)?;
        let time = Self::from_unix_seconds(seconds).ok_or(wrong)?;
        Ok(Self { nanosecond, ..time })
    }
}

impl From<TimeVal> for SystemTime {
    /// Converts the time, also one before 1970. A system that cannot represent all years from 0 to
    /// 9999 returns the start of 1970 for the others; Linux can.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use ftp_proto::TimeVal;
    ///
    /// let time = TimeVal::parse(b"19691231235959.5")?;
    /// assert_eq!(SystemTime::from(time), SystemTime::UNIX_EPOCH - Duration::from_millis(500));
    /// assert_eq!(TimeVal::try_from(SystemTime::from(time))?, time);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    fn from(time: TimeVal) -> Self {
        let seconds = time.unix_seconds();
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second = match seconds < 0 {
            true => Self::UNIX_EPOCH.checked_sub(whole),
            false => Self::UNIX_EPOCH.checked_add(whole),
        };
        let exact =
            second.and_then(|it| it.checked_add(Duration::from_nanos(time.nanosecond.into())));
        exact.unwrap_or(Self::UNIX_EPOCH)
    }
}

impl fmt::Display for TimeVal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, nanosecond } = self;
        write!(f, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")?;
        if *nanosecond > 0 {
            let fraction = format!("{nanosecond:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

const fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn parse_accepts_time_values_hc_31() {
        for (text, unix, shown) in [
            ("19700101000000", 0, "19700101000000"),
            ("19980615100045.014", 897_904_845, "19980615100045.014"),
            ("20000229235959", 951_868_799, "20000229235959"),
            ("20240229000000.500", 1_709_164_800, "20240229000000.5"),
            ("20161231235960", 1_483_228_800, "20161231235960"),
            ("00000101000000", -62_167_219_200, "00000101000000"),
            ("99991231235959", 253_402_300_799, "99991231235959"),
        ] {
            let time = TimeVal::parse(text.as_bytes()).unwrap();
            assert_eq!(time.unix_seconds(), unix, "{text}");
            assert_eq!(time.to_string(), shown, "{text}");
        }
        let long = format!("19700101000000.{}", "1".repeat(1_000));
        assert_eq!(TimeVal::parse(long.as_bytes()).unwrap().nanosecond(), 111_111_111);
    }

    #[test]
    fn parse_rejects_invalid_time_values_hc_31() {
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("1998061510004", 13, UnexpectedEnd),
            ("199806151000455", 14, UnexpectedByte),
            ("19980615100045.", 15, UnexpectedEnd),
            ("19980615100045.0x", 16, UnexpectedByte),
            ("19980615 10004", 8, UnexpectedByte),
            ("-9980615100045", 0, UnexpectedByte),
            ("99999999999999", 4, BadNumber),
            ("19981315100045", 4, BadNumber),
            ("19980015100045", 4, BadNumber),
            ("19980600100045", 6, BadNumber),
            ("19990229100045", 6, BadNumber),
            ("19000229100045", 6, BadNumber),
            ("19980631100045", 6, BadNumber),
            ("19980615240045", 8, BadNumber),
            ("19980615236045", 10, BadNumber),
            ("19980615235961", 12, BadNumber),
            ("19980615106045", 10, BadNumber),
            ("19980615100061", 12, BadNumber),
        ] {
            let want = ParseError::new("time-val", at, kind);
            assert_eq!(TimeVal::parse(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn new_rejects_dates_outside_the_calendar_hc_31() {
        let time = TimeVal::new(2024, 2, 29, 23, 59, 60);
        assert_eq!(time, TimeVal::parse(b"20240229235960").ok());
        for (year, month, day, hour, minute, second) in [
            (10_000, 1, 1, 0, 0, 0),
            (2024, 0, 1, 0, 0, 0),
            (2024, 13, 1, 0, 0, 0),
            (2024, 1, 0, 0, 0, 0),
            (2023, 2, 29, 0, 0, 0),
            (2024, 1, 1, 24, 0, 0),
            (2024, 1, 1, 0, 60, 0),
            (2024, 1, 1, 0, 0, 61),
        ] {
            assert_eq!(TimeVal::new(year, month, day, hour, minute, second), None);
        }
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        let mut before = None;
        for day in 0..146_097 {
            let seconds = day * 86_400 + 43_199;
            let time = TimeVal::from_unix_seconds(seconds).unwrap();
            assert_eq!(time.unix_seconds(), seconds);
            assert_eq!(TimeVal::parse(time.to_string().as_bytes()), Ok(time));
            assert!(before < Some(time), "{time}");
            before = Some(time);
        }
    }

    #[test]
    fn system_times_round_trip() {
        for text in
            ["19700101000000", "19691231235959.25", "20240229000000.123456789", "15000101000000"]
        {
            let time = TimeVal::parse(text.as_bytes()).unwrap();
            let system = SystemTime::from(time);
            assert_eq!(TimeVal::try_from(system), Ok(time), "{text}");
        }
        let half = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(TimeVal::try_from(half).unwrap().to_string(), "19700101000001.5");
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        assert!(TimeVal::try_from(late).is_err());
    }

    #[test]
    fn from_unix_seconds_rejects_years_out_of_range() {
        assert_eq!(TimeVal::from_unix_seconds(253_402_300_800), None);
        assert_eq!(TimeVal::from_unix_seconds(-62_167_219_201), None);
        assert_eq!(TimeVal::from_unix_seconds(i64::MAX), None);
        assert_eq!(TimeVal::from_unix_seconds(i64::MIN), None);
    }

    #[test]
    fn accessors_return_the_parsed_fields() {
        let time = TimeVal::parse(b"20231130175903.25").unwrap();
        let date = (time.year(), time.month(), time.day());
        assert_eq!(date, (2023, 11, 30));
        assert_eq!((time.hour(), time.minute(), time.second()), (17, 59, 3));
        assert_eq!(time.nanosecond(), 250_000_000);
    }
}
