//! Copies from server to server.

use ftp_client::fxp;

use super::super::compare::Difference;
use super::super::entry::Stamp;
use super::super::plan::PlannedCopy;
use super::far::{Far, modified};
use super::watch::Watch;
use crate::display::shown;
use crate::exit::Failure;
use crate::remote::path::join;

pub(crate) struct Across<'a> {
    pub(crate) from: Far<'a>,
    pub(crate) to: Far<'a>,
    pub(crate) options: fxp::Options,
}

impl Across<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let source = join(self.from.top, &below);
        let target = join(self.to.top, &below);
        let from = self.from.client()?;
        let time = match copy.stamp.and_then(Stamp::exact) {
            None if self.to.takes_times => modified(from, &source)?,
            time => time,
        };
        let at = self.to.client()?;
        // Otherwise the target may be of equal size and yet another file.
        let resume = match copy.why {
            Difference::Size => self.options.resume,
            _ => fxp::Resume::No,
        };
        let options = fxp::Options { resume, ..self.options };
        let report = fxp::transfer(from, &source, at, &target, options)
            .map_err(|error| Failure::from(&error).context(shown(&below)))?;
        if let Some(moved) = report.moved {
            // The direction that worked for one file works for the next.
            self.options.direction = moved.direction;
        }
        let bytes = report.size.or(copy.size).unwrap_or_default();
        watch.meter.add(bytes);
        self.to.set_time(&target, time)?;
        Ok(bytes)
    }
}
