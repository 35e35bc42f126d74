//! Copies from server to server.

use ftp_client::{Client, FtpUrl, fxp};

use super::super::compare::Difference;
use super::super::entry::Stamp;
use super::super::plan::PlannedCopy;
use super::Copied;
use super::remote_side::{RemoteSide, about, modified};
use super::up::unpublished;
use super::watch::Watch;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::transfer::options::TemporaryName;
use crate::transfer::publish::publish;
use ftp_client::fxp::same_file::{self, Relation};
use ftp_client::tree::path::join;

pub(crate) struct Across<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: RemoteSide<'a>,
    pub(crate) options: fxp::Options,
    /// `--temp`.
    pub(crate) temporary: Option<&'a TemporaryName>,
}

impl Across<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<Copied, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let source = join(self.from.top, &below);
        let own = join(self.to.top, &below);
        let target = match self.temporary {
            Some(temporary) => temporary.of(&own),
            None => own.clone(),
        };
        let urls = [self.from.url, self.to.url];
        let from = self.from.client()?;
        let time = match copy.stamp.and_then(Stamp::exact) {
            None if self.to.takes_times => modified(from, &source)?,
            time => time,
        };
        let at = self.to.client()?;
        // Without resuming or a temporary file, STOR empties the target, which may be the source
        // itself.
        if copy.replaces() && copy.why != Difference::Size && self.temporary.is_none() {
            check_relation([from, at], [&source, &target], urls)?;
        }
        // Only a target of a different size can be a partial file to resume.
        let resume = match copy.why {
            Difference::Size => self.options.resume,
            _ => fxp::Resume::No,
        };
        let options = fxp::Options { resume, ..self.options };
        let report = fxp::transfer(from, &source, at, &target, options)
            .map_err(|error| Failure::from(&error).context(shown(&below)))?;
        if let Some(moved) = report.moved {
            // The direction that worked for one file is used for the next.
            self.options.direction = moved.direction;
        }
        let bytes = report.size.or(copy.size).unwrap_or_default();
        watch.meter.add(bytes);
        let unset = self.to.set_time_of_copy(&target, time)?;
        if self.temporary.is_some() {
            let published = publish(self.to.client()?, &target, &own, false);
            published.map_err(|failure| unpublished(failure, &own, copy))?;
        }
        Ok(Copied { unset, ..Copied::far(bytes) })
    }
}

/// Checks that a target file is not the source file itself.
///
/// # Errors
///
/// Returns `Usage` if both paths lead, or may lead, to the same file. Also returns the errors of
/// the client.
fn check_relation(
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
    urls: [&FtpUrl; 2],
) -> Result<(), Failure> {
    if !same_file::is_one_server([from, at], urls) {
        return Ok(());
    }
    let relation = same_file::compare([from, at], [source, target]);
    let why = match relation.map_err(|error| about(target, &error))? {
        Relation::Two => return Ok(()),
        Relation::Same => "source and target are the same file",
        Relation::Unknown => {
            "the target may be the same file as the source; use --temp to copy safely"
        }
    };
    Err(Failure::item(Exit::Usage, format!("{}: {why}", shown(source))))
}
