//! What follows the last byte of an upload: size, digest, name, times, and the rename.

use ftp_proto::{Reply, RepresentationType, TimeVal};

use super::start::Start;
use super::{Job, Opened, StoreAs};
use crate::client::Client;
use crate::error::{Error, UploadFault};
use crate::event::{Event, Observer};
use crate::file::checksum::Checksum;
use crate::file::evidence::Resume;
use crate::file::journal::{BeforeRename, Renaming, check_stored_size, set_time};
use crate::file::options::Verify;
use crate::file::origin::ServerFacts;
use crate::file::verify::{compare_digest, is_doubtful};
use crate::file::{Done, Verified};

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
            done.verified = check_stored_size(client, &path, size, verify)?;
            if done.verified == Verified::No {
                let text = "the server confirms the upload, but does not report its size";
                on.event(Event::Note { target: &path, text });
            }
        } else if start.offset > 0 {
            // Some servers accept REST, but truncate the file; others start a new one. The size of
            // a resumed upload is checked even if nothing else is.
            check_stored_size(client, &path, size, Verify::IfKnown)?;
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
        set_time(client, path, time)
    }

    /// Returns the facts of a file that a moved source replaces, if only a change of them can show
    /// that the server stored the upload: a file of the same size is there already.
    pub(super) fn facts_to_change(
        &self,
        client: &mut Client,
        source: &Opened<'_>,
        have: Option<u64>,
    ) -> Result<Option<ServerFacts>, Error> {
        match (self.options.moves || self.proves_new, source.facts()) {
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
        let renaming = Renaming {
            from: &from,
            to: self.place.path(),
            repeats: self.may_follow(),
            keeps: self.options.resume != Resume::Own || self.options.moves,
            verify: self.verifies_size().then_some(self.options.verify),
        };
        let done = renaming.run(client, &mut self.past.stored, before_rename);
        if let Err(Error::Upload(UploadFault::PerhapsRenamed { .. })) = &done {
            self.past.is_final = true;
        }
        done
    }
}
