//! The figures of progress: how much, of how much, how fast, and how long that takes.

use std::fmt;
use std::time::{Duration, Instant};

/// How far back the rate looks, in seconds: what is older counts for less and less.
const MEMORY: f64 = 10.0;

/// How much came or went, of how much, how fast, and how long that takes or took.
pub(super) struct Figures {
    pub(super) bytes: u64,
    pub(super) total: Option<u64>,
    /// In bytes a second.
    pub(super) rate: f64,
    pub(super) elapsed: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, rate) = (Bytes(self.bytes as f64), Bytes(self.rate.trunc()));
        match self.total {
            Some(total) => {
                let left = total.saturating_sub(self.bytes) as f64;
                // Before anything moved nobody knows, and nothing is said to be left.
                let left = Seconds(if self.rate > 0.0 { left / self.rate } else { 0.0 });
                write!(f, "{bytes} of {}  {rate}/s  {left} left", Bytes(total as f64))
            }
            None => write!(f, "{bytes}  {rate}/s  {}", Seconds(self.elapsed.as_secs_f64())),
        }
    }
}

/// A number of bytes: `17 B`, `1.50 KiB`, `953.67 MiB`.
struct Bytes(f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.0;
        if number < 1_024.0 {
            return write!(f, "{number:.0} B");
        }
        let mut unit = "";
        for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
            if number < 1_024.0 {
                break;
            }
            (number, unit) = (number / 1_024.0, next);
        }
        write!(f, "{number:.2} {unit}B")
    }
}

/// A time, rounded to a unit of which there are two or more, seconds aside: `89s`, `2m`, `35h`.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = *self;
        let units = [
            ("y", 31_536_000.0, 604_800.0),
            ("w", 604_800.0, 86_400.0),
            ("d", 86_400.0, 3_600.0),
            ("h", 3_600.0, 60.0),
            ("m", 60.0, 1.0),
        ];
        // From one and a half on, less what the smaller unit is rounded by.
        let fits = |(_, unit, smaller): &(&str, f64, f64)| time + smaller / 2.0 >= unit * 1.5;
        match units.into_iter().find(fits) {
            Some((letter, unit, _)) => write!(f, "{}{letter}", (time / unit).round().max(2.0)),
            None => write!(f, "{}s", time.round()),
        }
    }
}

/// How fast bytes come: at first on the whole, later mostly by what came lately.
pub(super) struct Rate {
    started: Instant,
    bytes: u64,
    at: Instant,
    per_second: f64,
}

impl Rate {
    pub(super) const fn new(now: Instant) -> Self {
        Self { started: now, bytes: 0, at: now, per_second: 0.0 }
    }

    /// So many bytes in all have come now. If they are fewer than before, it begins anew.
    pub(super) fn record(&mut self, bytes: u64, now: Instant) {
        let Some(more) = bytes.checked_sub(self.bytes) else {
            *self = Self { bytes, ..Self::new(now) };
            return;
        };
        let time = (now - self.at).as_secs_f64();
        if more == 0 || time <= 0.0 {
            return;
        }
        let before = (self.at - self.started).as_secs_f64().min(MEMORY);
        self.per_second += (more as f64 / time - self.per_second) * time / (before + time);
        (self.bytes, self.at) = (bytes, now);
    }

    /// In bytes.
    pub(super) const fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_what_people_read_li_04() {
        let figures = |bytes, total, rate| {
            let elapsed = Duration::from_millis(89_400);
            Figures { bytes, total, rate, elapsed }.to_string()
        };
        assert_eq!(figures(1_023, None, 0.0), "1023 B  0 B/s  89s");
        assert_eq!(figures(40_000, Some(80_000), 0.0), "39.06 KiB of 78.12 KiB  0 B/s  0s left");
        assert_eq!(
            figures(0, Some(1_000_000_000), 1_048_576.9),
            "0 B of 953.67 MiB  1.00 MiB/s  16m left"
        );
        assert_eq!(figures(u64::MAX, None, 1_536.0), "16.00 EiB  1.50 KiB/s  89s");
    }

    #[test]
    fn a_time_has_a_unit_that_tells_enough() {
        for (time, want) in [
            (0.0, "0s"),
            (1.4, "1s"),
            (89.4, "89s"),
            (89.5, "2m"),
            (150.0, "3m"),
            (5_369.0, "89m"),
            (5_370.0, "2h"),
            (127_799.0, "35h"),
            (127_800.0, "2d"),
            (86_400.0 * 3.0, "3d"),
            (604_800.0 * 3.0, "3w"),
            (31_536_000.0 * 2.0, "2y"),
        ] {
            assert_eq!(Seconds(time).to_string(), want, "{time}");
        }
    }

    #[test]
    fn the_rate_follows_and_forgets() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::new(start);
        rate.record(0, after(1));
        assert!(rate.per_second() < 0.1);
        // On the whole, at first.
        rate.record(400, after(4));
        assert!((rate.per_second() - 100.0).abs() < 0.1);
        for second in 5..=60 {
            rate.record(400 + (second - 4) * 1_000, after(second));
        }
        assert!((900.0..1_000.1).contains(&rate.per_second()), "{}", rate.per_second());
        // A second try.
        rate.record(10, after(61));
        assert!(rate.per_second() < 0.1);
        rate.record(30, after(62));
        assert!((rate.per_second() - 20.0).abs() < 0.1);
    }
}
