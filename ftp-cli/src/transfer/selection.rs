//! Selects files by size and age: `--min-size`, `--max-size`, `--min-age`, `--max-age`.

use std::time::{Duration, SystemTime};

use crate::exit::Failure;
use crate::options::{Options, values};

/// Limits on the files to transfer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selection(pub(crate) ftp_client::Selection);

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
        let size = |name: &str| options.parsed(name, values::size);
        let time = |name: &str| options.parsed(name, values::duration).map(|age| age.map(ago));
        let selection = ftp_client::Selection::default();
        let selection = selection.sizes(size("min-size")?, size("max-size")?);
        Ok(Self(selection.times(time("max-age")?, time("min-age")?)))
    }

    /// Returns whether any limit is set.
    pub(crate) const fn is_set(&self) -> bool {
        self.0.needs_time() || self.0.needs_size()
    }

    /// Returns whether the modification time matters.
    pub(crate) const fn needs_time(&self) -> bool {
        self.0.needs_time()
    }

    /// Returns why a file is left out, as [`ftp_client::Selection::refuses`] does.
    pub(crate) fn refuses(
        &self,
        size: Option<u64>,
        times: Option<(i64, i64)>,
    ) -> Option<&'static str> {
        self.0.refuses(size, times)
    }
}
