//! What follows the last byte of an upload: size, digest, name, times, and the rename.

use ftp_proto::{Reply, RepresentationType, Severity, TimeVal};

use super::sending::is_doubtful;
use super::start::Start;
use super::{BeforeRename, Job, Opened, StoreAs};
use crate::client::Client;
use crate::error::{Error, UploadFault};
use crate::event::{Event, Observer};
use crate::file::checksum::Checksum;
use crate::file::evidence::Resume;
use crate::file::options::Verify;
use crate::file::origin::ServerFacts;
use crate::file::verify::{check_size, compare_digest};
use crate::file::{Done, Verified};

/// A complete upload that lacks its final name.
#[derive(Debug)]
pub(super) struct Stored {
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
    pub(super) const fn new(done: Done) -> Self {
        Self { done, before: None, is_tried: false, is_later: false, is_doubtful: false }
    }
}

impl Job<'_> {
    /// Verifies the upload after the last byte, and sets its time.
    pub(super) fn finish(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &Opened<'_>,
        start: &Start,
        (done, digest): (&mut Done, Option<Checksum>),
        reply: Option<&Reply>,
    ) -> Result<(), Error> {
        let verify = match self.options.verify {
            Verify::IfKnown if self.options.moves => Verify::Size,
            verify => verify,
        };
        let path = match (&self.store, &done.name) {
            (StoreAs::Unique, Some(name)) => name.clone(),
            (StoreAs::Unique, None) if matches!(verify, Verify::Size | Verify::Digest) => {
                return Err(Error::Upload(UploadFault::NoName));
            }
            (StoreAs::Unique, None) => return Ok(()),
            _ => self.place.path().to_vec(),
        };
        let size = start.before + done.bytes;
        if self.verifies_size() {
            done.verified = Self::check_size(client, &path, size, verify)?;
            if done.verified == Verified::No {
                let text = "the server confirms the upload, but does not report its size";
                on.event(Event::Note { target: &path, text });
            }
        } else if start.offset > 0 {
            // Some servers accept REST, but truncate the file; others start a new one. The size of
            // a resumed upload is checked even if nothing else is.
            Self::check_size(client, &path, size, Verify::IfKnown)?;
        }
        if done.verified == Verified::No
            && self.options.verify != Verify::None
            && let Some(reply) = reply.filter(|reply| is_doubtful(reply))
        {
            return Err(Error::Upload(UploadFault::Aborted(reply.clone())));
        }
        self.check_digest(client, on, source, start, (done, digest), &path)?;
        self.check_name(client, &path)?;
        if self.options.preserve {
            self.set_time(client, &path, source)?;
        }
        Ok(())
    }

    /// Compares the size that the server reports with that of the upload.
    fn check_size(
        client: &mut Client,
        path: &[u8],
        size: u64,
        verify: Verify,
    ) -> Result<Verified, Error> {
        check_size(client, path, size, verify).map_err(|error| match error {
            // After an upload, the bytes are those that the server has.
            Error::Incomplete { bytes, announced: Some(there) } => {
                Error::Incomplete { bytes: there, announced: Some(bytes) }
            }
            error => error,
        })
    }

    /// Compares the digest, if it is asked for, or if bytes of an earlier attempt were kept.
    fn check_digest(
        &self,
        client: &mut Client,
        on: &dyn Observer,
        source: &Opened<'_>,
        start: &Start,
        (done, digest): (&mut Done, Option<Checksum>),
        path: &[u8],
    ) -> Result<(), Error> {
        let demands = digest.is_some();
        let is_image = self.options.representation == RepresentationType::Image;
        let digest = match self.options.verify {
            Verify::IfKnown if start.is_proven && done.bytes == 0 => {
                done.verified = Verified::Hash;
                None
            }
            Verify::IfKnown if start.offset > 0 && is_image => Checksum::for_server(client)?,
            _ => digest,
        };
        let Some(mut digest) = digest else { return Ok(()) };
        if let Opened::Regular { file, .. } = source {
            // The digest is not computed during the transfer, because the kernel sends the file.
            let bytes = start.offset + done.bytes;
            on.event(Event::Comparing { target: path, bytes });
            digest.update_from(file, bytes).map_err(Error::Local)?;
        }
        if compare_digest(client, path, digest.finish())?.proves(demands)? {
            done.verified = Verified::Hash;
        }
        Ok(())
    }

    /// Verifies that the server kept a name that is not UTF-8. Some servers replace invalid bytes
    /// by U+FFFD, but report the size of that file for the original name.
    fn check_name(&self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        let is_asked = self.options.verify != Verify::None;
        if !is_asked || std::str::from_utf8(path).is_ok() || !client.features()?.has("MLST") {
            return Ok(());
        }
        let Ok(Some(entry)) = client.stat(path) else { return Ok(()) };
        // Not every server doubles 0xFF, so two such bytes may have become one.
        let last = |path: &[u8]| {
            let mut name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path).to_vec();
            name.dedup_by(|byte, before| (*byte, *before) == (0xff, 0xff));
            name
        };
        match last(&entry.name) == last(path) {
            true => Ok(()),
            false => Err(Error::Upload(UploadFault::OtherName(entry.name))),
        }
    }

    /// Sets the modification time of the server's file to that of the local file.
    fn set_time(&self, client: &mut Client, path: &[u8], source: &Opened<'_>) -> Result<(), Error> {
        let seconds = source.facts().map(|facts| facts.modified_seconds());
        let Some(time) = seconds.and_then(TimeVal::from_unix_seconds) else {
            return Err(Error::Upload(UploadFault::NoTime));
        };
        match client.set_modified(path, time) {
            Ok(_) => Ok(()),
            Err(Error::Refused(verb, reply)) if reply.code().severity() == Severity::Permanent => {
                let cause = Box::new(Error::Refused(verb, reply));
                Err(Error::Upload(UploadFault::NotTimed(cause)))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the facts of a file that a moved source replaces, if only a change of them can show
    /// that the server stored the upload: a file of the same size is there already.
    pub(super) fn facts_to_change(
        &self,
        client: &mut Client,
        source: &Opened<'_>,
        have: Option<u64>,
    ) -> Result<Option<ServerFacts>, Error> {
        match (self.options.moves, source.facts()) {
            (true, Some(here)) if have == Some(here.size) => {
                ServerFacts::ask(client, self.place.path())
            }
            _ => Ok(None),
        }
    }

    /// Verifies that the server's file is no longer the `old` one, by its facts or its digest.
    pub(super) fn check_changed(
        &self,
        client: &mut Client,
        source: &Opened<'_>,
        old: Option<ServerFacts>,
    ) -> Result<(), Error> {
        let (Some(old), Opened::Regular { file, facts, .. }) = (old, source) else {
            return Ok(());
        };
        let path = self.place.path();
        if ServerFacts::ask(client, path)?.is_some_and(|now| now != old) {
            return Ok(());
        }
        if self.options.verify != Verify::Digest
            && let Some(mut digest) = Checksum::for_server(client)?
        {
            digest.update_from(file, facts.size).map_err(Error::Local)?;
            if compare_digest(client, path, digest.finish())?.proves(false)? {
                return Ok(());
            }
        }
        match self.options.verify {
            Verify::Digest => Ok(()),
            _ => Err(Error::Upload(UploadFault::NotReplaced)),
        }
    }

    /// Returns whether another attempt may have to tell whether the server has renamed the file. The
    /// journal of a move tells that too.
    const fn may_follow(&self) -> bool {
        self.repeats || self.options.retried && !self.options.moves && !self.past.is_final
    }

    /// Gives a complete upload its final name. Returns `None` if nothing proves any more that the
    /// server has all of it, so that it must be sent again.
    pub(super) fn publish(
        &mut self,
        client: &mut Client,
        temporary: &[u8],
        own: &[u8],
        before_rename: &mut BeforeRename<'_>,
    ) -> Result<Option<Done>, Error> {
        self.place.set_name(temporary);
        let from = self.place.path().to_vec();
        self.place.set_name(own);
        let to = self.place.path().to_vec();
        let Some(mut stored) = self.past.stored.take() else {
            return Err(Error::Upload(UploadFault::Spent));
        };
        if stored.is_later && stored.done.verified == Verified::No && self.verifies_size() {
            // The connection may have ended before the size was known.
            let verify = self.options.verify;
            stored.done.verified = Self::check_size(client, &from, stored.done.size, verify)?;
        }
        if stored.is_doubtful && !stored.is_tried && stored.done.verified == Verified::No {
            return Ok(None);
        }
        if stored.is_tried {
            // The reply to a rename was lost. Whether it happened, only the facts can tell.
            let now = [ServerFacts::ask(client, &from)?, ServerFacts::ask(client, &to)?];
            if is_renamed(stored.before.as_ref(), &now) {
                return Ok(Some(stored.done));
            }
            let is_there = matches!((&now, &stored.before),
                ([Some(now), _], Some([Some(before), _])) if now == before);
            if !is_there {
                self.past.is_final = true;
                return Err(Error::Upload(UploadFault::PerhapsRenamed { temporary: from }));
            }
        } else if self.may_follow() && stored.before.is_none() {
            stored.before =
                Some([ServerFacts::ask(client, &from)?, ServerFacts::ask(client, &to)?]);
        }
        let noted = before_rename(client, &from);
        let begun = noted.and_then(|()| client.rename_from(&from, &to));
        let is_begun = begun.is_ok();
        let error = match begun.and_then(|command| client.rename_to(&command)) {
            Ok(()) => return Ok(Some(stored.done)),
            Err(error) => error,
        };
        let is_refused = matches!(error, Error::Refused(..));
        let keeps = self.options.resume != Resume::Own || self.options.moves;
        let removed = is_refused && !keeps && client.delete(&from).is_ok();
        if !removed {
            stored.is_tried |= is_begun && !is_refused;
            stored.is_later = true;
            if error.is_out_of_step() && stored.done.verified != Verified::Hash {
                stored.is_doubtful = true;
                stored.done.verified = Verified::No;
            }
            self.past.stored = Some(stored);
        }
        let cause = Box::new(error);
        Err(Error::Upload(UploadFault::NotRenamed { temporary: from, cause, removed }))
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
