//! Copies from server to server.

use super::Copied;
use super::remote_side::{RemoteSide, modified};
use crate::client::Client;
use crate::error::{Error, ErrorKind, UploadFault};
use crate::event::{Event, Observer};
use crate::file::put::TemporaryName;
use crate::fxp;
use crate::fxp::same_file::{self, Relation};
use crate::tree::compare::Difference;
use crate::tree::entry::Stamp;
use crate::tree::fault::TreeFault;
use crate::tree::path::join;
use crate::tree::plan::PlannedCopy;

pub(crate) struct Across<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: RemoteSide<'a>,
    pub(crate) options: fxp::Options,
    pub(crate) temporary: Option<&'a TemporaryName>,
}

impl Across<'_> {
    pub(crate) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<Copied, TreeFault> {
        let below = join(path, &copy.name);
        self.to.place.check(&below)?;
        let source = join(self.from.place.top, &below);
        let own = join(self.to.place.top, &below);
        let target = match self.temporary {
            Some(temporary) => temporary.of(&own),
            None => own.clone(),
        };
        let from = self.from.hand.client()?;
        let time = match copy.stamp.and_then(Stamp::exact) {
            None if self.to.place.takes_times => modified(from, &source)?,
            time => time,
        };
        let at = self.to.hand.client()?;
        on.event(Event::Begun { source: &source, target: &own, at: 0, total: copy.size });
        // Without resuming or a temporary file, STOR empties the target, which may be the source
        // itself.
        if copy.replaces() && copy.why != Difference::Size && self.temporary.is_none() {
            check_relation([from, at], [&source, &target])?;
        }
        // Only a target of a different size can be a partial file to resume.
        let resume = match copy.why {
            Difference::Size => self.options.resume,
            _ => fxp::Resume::No,
        };
        let options = fxp::Options { resume, ..self.options };
        let report = fxp::transfer(from, &source, at, &target, options)
            .map_err(|error| between(&error).about(&below))?;
        if let Some(moved) = report.moved {
            // The direction that worked for one file is used for the next.
            self.options.direction = moved.direction;
        }
        let bytes = report.size.or(copy.size).unwrap_or_default();
        on.event(Event::Moved { bytes });
        let at = self.to.hand.client()?;
        let unset = self.to.place.set_time_of_copy(at, &target, time)?;
        if self.temporary.is_some() {
            at.rename(&target, &own).map_err(|cause| {
                let is_refused = matches!(cause, Error::Refused(..));
                let removed = is_refused && at.delete(&target).is_ok();
                let (temporary, cause) = (target.clone(), Box::new(cause));
                let fault = UploadFault::NotRenamed { temporary, cause, removed };
                TreeFault::from(Error::Upload(fault)).about(&own)
            })?;
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
) -> Result<(), TreeFault> {
    if !same_file::is_one_server(from, at) {
        return Ok(());
    }
    let relation = same_file::compare([from, at], [source, target]);
    let why = match relation.map_err(|error| TreeFault::from(error).about(target))? {
        Relation::Two => return Ok(()),
        Relation::Same => "source and target are the same file",
        Relation::Unknown => {
            "the target may be the same file as the source; use a temporary name to copy safely"
        }
    };
    Err(TreeFault::item(ErrorKind::Usage, why).about(source))
}

/// Returns the failure of a copy between servers, with the replies of both.
fn between(error: &fxp::Error) -> TreeFault {
    let text = error.to_string();
    let fault = match error.last() {
        Some(last) => TreeFault::from(last.error.again()),
        None => TreeFault::item(ErrorKind::Unsupported, ""),
    };
    match error.is_about_the_way() {
        true => fault.with_text(text).with_kind(ErrorKind::Data).ending(true),
        false => fault.with_text(text),
    }
}
