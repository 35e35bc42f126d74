//! Selects files by size and age: `--min-size`, `--max-size`, `--min-age`, `--max-age`.

use std::time::{Duration, SystemTime};

use crate::exit::Failure;
use crate::options::{Options, values};

/// Limits on the files to transfer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    min_size: Option<u64>,
    max_size: Option<u64>,
    /// Latest and earliest modification time, in seconds since 1970-01-01T00:00:00Z.
    latest: Option<i64>,
    earliest: Option<i64>,
}

impl Selection {
    /// Reads the options. Ages count from now.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ago = |age: Duration| {
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
                - i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
        };
        Ok(Self {
            min_size: options.parsed("min-size", values::size)?,
            max_size: options.parsed("max-size", values::size)?,
            latest: options.parsed("min-age", values::duration)?.map(ago),
            earliest: options.parsed("max-age", values::duration)?.map(ago),
        })
    }

    /// Returns whether any limit is set.
    pub(crate) fn is_set(&self) -> bool {
        self.needs_time() || self.needs_size()
    }

    /// Returns the largest size (`--max-size`).
    pub(crate) const fn max_size(&self) -> Option<u64> {
        self.max_size
    }

    /// Returns whether the size matters.
    pub(crate) const fn needs_size(&self) -> bool {
        self.min_size.is_some() || self.max_size.is_some()
    }

    /// Returns whether the modification time matters.
    pub(crate) const fn needs_time(&self) -> bool {
        self.latest.is_some() || self.earliest.is_some()
    }

    /// Returns why a file is left out, or `None` if it is not. `times` is the range that contains
    /// its modification time. An unknown fact is outside of every limit.
    pub(crate) fn refuses(
        &self,
        size: Option<u64>,
        times: Option<(i64, i64)>,
    ) -> Option<&'static str> {
        let is_small = |least: u64| size.is_none_or(|size| size < least);
        let is_large = |most: u64| size.is_none_or(|size| size > most);
        // With `--min-age`, a file that may be too new is left out, because another program may
        // still be writing it. With `--max-age`, a file that may be new enough is kept.
        let is_new = |latest: i64| times.is_none_or(|(_, end)| end > latest);
        let is_old = |earliest: i64| times.is_none_or(|(_, end)| end < earliest);
        match () {
            () if self.min_size.is_some_and(is_small) => Some("too small for --min-size"),
            () if self.max_size.is_some_and(is_large) => Some("too large for --max-size"),
            () if self.latest.is_some_and(is_new) => Some("too new for --min-age"),
            () if self.earliest.is_some_and(is_old) => Some("too old for --max-age"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_sizes_or_times_fail_a_selection() {
        let sizes = Selection { min_size: Some(5), max_size: Some(9), ..Selection::default() };
        let ages = Selection { latest: Some(100), earliest: Some(50), ..Selection::default() };
        for (selection, size, times, is_taken) in [
            (&sizes, Some(5), None, true),
            (&sizes, Some(9), None, true),
            (&sizes, Some(4), None, false),
            (&sizes, Some(10), None, false),
            (&sizes, None, Some((70, 70)), false),
            (&ages, None, Some((100, 100)), true),
            (&ages, None, Some((101, 101)), false),
            (&ages, None, Some((90, 101)), false),
            (&ages, None, Some((50, 50)), true),
            (&ages, None, Some((40, 50)), true),
            (&ages, None, Some((40, 49)), false),
            (&ages, Some(7), None, false),
            (&Selection::default(), None, None, true),
        ] {
            let refused = selection.refuses(size, times);
            assert_eq!(refused.is_none(), is_taken, "{selection:?} {size:?} {times:?}");
        }
    }
}
