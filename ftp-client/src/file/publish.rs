//! What gives a complete file on a server its time and its final name: the rename, also after its
//! reply was lost, and what follows from its failure.

use ftp_proto::{Severity, TimeVal};

use super::options::Verify;
use super::origin::ServerFacts;
use super::verify::check_size;
use super::{Done, Verified};
use crate::client::Client;
use crate::error::{Error, UploadFault};
use crate::event::{Event, Observer};

/// Called before a complete file is renamed, with the path of its temporary name.
pub(crate) type BeforeRename<'a> = dyn FnMut(&mut Client, &[u8]) -> Result<(), Error> + 'a;

/// A complete upload that lacks its final name.
#[derive(Debug)]
pub(crate) struct Stored {
    done: Done,
    /// The facts of the temporary file and of the target before the first rename, if they were
    /// asked for.
    before: Option<[Option<ServerFacts>; 2]>,
    /// Whether the server may have renamed the file.
    is_tried: bool,
    /// Whether an attempt to rename it failed.
    is_later: bool,
    /// Whether a misplaced reply came after the confirmation, which then counts no more.
    is_doubtful: bool,
}

impl Stored {
    pub(crate) const fn new(done: Done) -> Self {
        Self { done, before: None, is_tried: false, is_later: false, is_doubtful: false }
    }
}

/// The rename of a complete file from its temporary to its final path.
pub(crate) struct Renaming<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    /// Whether another attempt may follow, so that the facts before the first one are needed.
    pub(crate) repeats: bool,
    /// Whether the file keeps its temporary name if the server refuses the final one.
    pub(crate) keeps: bool,
    /// How to verify a size that is not verified yet, in an attempt after the first one; `None`:
    /// not at all.
    pub(crate) verify: Option<Verify>,
}

impl Renaming<'_> {
    /// Gives the file in `slot` its final name. Returns `None` if nothing proves any more that the
    /// server has all of it, so that it must be sent again. After an error, `slot` still has the
    /// file if another attempt can rename it.
    ///
    /// # Errors
    ///
    /// - [`UploadFault::NotRenamed`] with the error of `before_rename` or of the rename.
    /// - [`UploadFault::PerhapsRenamed`] if the reply to an earlier rename was lost and the facts
    ///   do not tell what happened. No other attempt may follow.
    /// - The errors of the questions for size and facts.
    pub(crate) fn run(
        &self,
        client: &mut Client,
        slot: &mut Option<Stored>,
        before_rename: &mut BeforeRename<'_>,
    ) -> Result<Option<Done>, Error> {
        let Self { from, to, .. } = *self;
        let Some(mut stored) = slot.take() else {
            return Err(Error::Upload(UploadFault::Spent));
        };
        if let Some(verify) = self.verify
            && stored.is_later
            && stored.done.verified == Verified::No
        {
            // The connection may have ended before the size was known.
            stored.done.verified = check_stored_size(client, from, stored.done.size, verify)?;
        }
        if stored.is_doubtful && !stored.is_tried && stored.done.verified == Verified::No {
            return Ok(None);
        }
        if stored.is_tried {
            // The reply to a rename was lost. Whether it happened, only the facts can tell.
            let now = [ServerFacts::ask(client, from)?, ServerFacts::ask(client, to)?];
            if is_renamed(stored.before.as_ref(), &now) {
                return Ok(Some(stored.done));
            }
            let is_there = matches!((&now, &stored.before),
                ([Some(now), _], Some([Some(before), _])) if now == before);
            if !is_there {
                let temporary = from.to_vec();
                return Err(Error::Upload(UploadFault::PerhapsRenamed { temporary }));
            }
        } else if self.repeats && stored.before.is_none() {
            stored.before = Some([ServerFacts::ask(client, from)?, ServerFacts::ask(client, to)?]);
        }
        let noted = before_rename(client, from);
        let begun = noted.and_then(|()| client.rename_from(from, to));
        let is_begun = begun.is_ok();
        let error = match begun.and_then(|command| client.rename_to(&command)) {
            Ok(()) => return Ok(Some(stored.done)),
            Err(error) => error,
        };
        let is_refused = matches!(error, Error::Refused(..));
        let removed = is_refused && !self.keeps && client.delete(from).is_ok();
        if !removed {
            stored.is_tried |= is_begun && !is_refused;
            stored.is_later = true;
            if error.is_out_of_step() && stored.done.verified != Verified::Hash {
                stored.is_doubtful = true;
                stored.done.verified = Verified::No;
            }
            *slot = Some(stored);
        }
        let (temporary, cause) = (from.to_vec(), Box::new(error));
        Err(Error::Upload(UploadFault::NotRenamed { temporary, cause, removed }))
    }
}

/// Compares the size that the server reports with that of the file that it stored.
///
/// # Errors
///
/// Returns the errors of [`check_size`]; the bytes are those that the server has.
pub(crate) fn check_stored_size(
    client: &mut Client,
    path: &[u8],
    size: u64,
    verify: Verify,
) -> Result<Verified, Error> {
    check_size(client, path, size, verify).map_err(|error| match error {
        Error::Incomplete { bytes, announced: Some(there) } => {
            Error::Incomplete { bytes: there, announced: Some(bytes) }
        }
        error => error,
    })
}

/// Returns the time of a server's file whose copy gets it too. A server that does not report it, or
/// in an unknown form, leads to a note.
///
/// # Errors
///
/// Returns the errors of [`Client::modified`].
pub(crate) fn time_to_preserve(
    client: &mut Client,
    (path, target): (&[u8], &[u8]),
    on: &dyn Observer,
) -> Result<Option<TimeVal>, Error> {
    let why = match client.readable_time(path) {
        Ok(None) => Error::Unsupported("the server does not report the modification time"),
        Err(error @ Error::UnreadableTime(_)) => error,
        time => return time,
    };
    let text = &format!("the modification time is not preserved: {why}");
    on.event(Event::Note { target, text });
    Ok(None)
}

/// Sets the modification time of a file that the server stored.
///
/// # Errors
///
/// Returns [`UploadFault::NotTimed`] if the server refuses it for good, and the errors of
/// [`Client::set_modified`].
pub(crate) fn set_time(client: &mut Client, path: &[u8], time: TimeVal) -> Result<(), Error> {
    match client.set_modified(path, time) {
        Ok(_) => Ok(()),
        Err(Error::Refused(verb, reply)) if reply.code().severity() == Severity::Permanent => {
            let cause = Box::new(Error::Refused(verb, reply));
            Err(Error::Upload(UploadFault::NotTimed(cause)))
        }
        Err(error) => Err(error),
    }
}

/// Returns whether the facts of the temporary file and of the target, `before` and `now`, show that
/// the one became the other.
fn is_renamed(before: Option<&[Option<ServerFacts>; 2]>, now: &[Option<ServerFacts>; 2]) -> bool {
    match (before, now) {
        (Some([Some(source), target]), [None, Some(now)]) => {
            source.is_telling() && now == source && target.as_ref() != Some(source)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_with_a_lost_reply_is_proved_by_facts_that_moved() {
        let facts = |size: u64, day: Option<u8>| {
            let modified = day.and_then(|day| TimeVal::new(2026, 11, day, 12, 0, 0));
            Some(ServerFacts { size: Some(size), modified, unique: None })
        };
        let new = facts(5, Some(1));
        for (before, now, want) in [
            ([new.clone(), None], [None, new.clone()], true),
            ([new.clone(), facts(4, Some(1))], [None, new.clone()], true),
            ([new.clone(), facts(5, Some(2))], [None, new.clone()], true),
            // The target looked like this before.
            ([new.clone(), new.clone()], [None, new.clone()], false),
            // The temporary file is still there, or the target is another file.
            ([new.clone(), None], [new.clone(), new.clone()], false),
            ([new.clone(), None], [None, facts(5, Some(3))], false),
            ([new.clone(), None], [None, None], false),
            // A size alone tells nothing.
            ([facts(5, None), None], [None, facts(5, None)], false),
            ([None, None], [None, new.clone()], false),
        ] {
            assert_eq!(is_renamed(Some(&before), &now), want, "{before:?} {now:?}");
        }
        assert!(!is_renamed(None, &[None, new]));
    }
}
