//! Copies from server to server.

use super::remote_side::{RemoteSide, modified, not_replaced};
use crate::age;
use crate::client::Client;
use crate::error::fxp::Side;
use crate::error::{Error, JobFault};
use crate::event::{Event, Observer};
use crate::file::evidence::Resume;
use crate::file::options::FileOptions;
use crate::file::relay::{Relay, RelayPast};
use crate::tree::entry::Stamp;
use crate::tree::fault::TreeFault;
use crate::tree::options::SyncOptions;
use crate::tree::plan::{Copied, Difference, PlannedCopy};
use crate::url_path::Place;
use ftp_proto::Pathname;

pub(crate) struct Across<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: RemoteSide<'a>,
    pub(crate) listener: Option<Side>,
    pub(crate) options: &'a SyncOptions<'a>,
    /// The path and the past of the last copy, if it failed.
    pub(crate) failed: Option<Box<(Vec<u8>, RelayPast)>>,
}

impl Across<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<Copied, TreeFault> {
        let below = Pathname::join(path, &copy.name);
        self.to.place.check(&below)?;
        let source = Pathname::join(self.from.place.top, &below);
        let own = Pathname::join(self.to.place.top, &below);
        let from = self.from.hand.client()?;
        let time = match copy.stamp.and_then(Stamp::exact) {
            None if self.to.place.times.holds() => {
                let time = modified(from, &source)?;
                if time.is_some_and(|time| age::is_young(time, 0, age::now())) {
                    from.control.waiter().sleep(age::TICK)?;
                }
                time
            }
            time => time,
        };
        let RemoteSide { hand, place } = &mut self.to;
        let at = hand.client()?;
        // Only a target of a different size can be a partial file to resume.
        let is_other = copy.why == Difference::Size;
        let resume = if is_other { self.options.resume } else { Resume::Own };
        let options = FileOptions::new().resume(resume).retried(self.options.patience.repeats());
        let mut job = Relay::new(Place::at(&source), Place::at(&own), &options)
            .listed(copy.size)
            .under(self.options.temporary.clone())
            .listener(self.listener)
            .address(self.options.address);
        if let Some(failed) = self.failed.take().filter(|failed| failed.0 == below) {
            job = job.after(failed.1);
        }
        let mut unset = None;
        let mut is_timed = false;
        let mut publish = |client: &mut Client, there: &[u8]| -> Result<Option<i64>, Error> {
            unset = place.set_time_of_copy(client, there, time)?;
            is_timed = true;
            Ok(time)
        };
        let done = match job.attempt_noting(from, at, on, &mut publish) {
            Ok(done) => done,
            Err(error) => {
                self.failed = Some(Box::new((below.clone(), job.into_past())));
                return Err(match error {
                    Error::Job(JobFault::OntoItself) => TreeFault::from(error).about(&source),
                    Error::Job(JobFault::NotReplaced) => not_replaced(&own),
                    Error::Job(_) => TreeFault::from(error).about(&own),
                    error => TreeFault::from(error).about(&below),
                });
            }
        };
        // The server that listened for one file also listens for the next.
        self.listener = job.listened().or(self.listener);
        let bytes = job.size().or(copy.size).unwrap_or_default();
        on.event(Event::Moved { bytes });
        if !is_timed {
            unset = place.set_time_of_copy(at, &own, time)?;
        }
        Ok(Copied { unset, ..Copied::far(bytes, done.verified) })
    }
}
