//! The transfer of an upload's bytes, and what follows the last one: size, digest, name, times, and the
//! rename.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use ftp_proto::{Pathname, Reply, ReplyCode, RepresentationType, Severity, TimeVal, Verb};

use super::give::Moving;
use super::start::{UploadMode, UploadStart};
use super::{Following, Job, OpenedSource, StoreAs};
use crate::client::Client;
use crate::error::{Error, ErrorKind, JobFault};
use crate::event::{Event, Observer, Verify, Why};
use crate::file::Done;
use crate::file::checksum::Checksum;
use crate::file::evidence::{Resume, ServerFacts, checksum, compare_digest, is_doubtful};
use crate::file::journal::{JournalContent, LocalFacts, Renaming, check_stored_size, set_time};
use crate::file::partial::named;
use crate::transfer::{Report, Source, Upload, Watch};
use crate::url_path::Place;

/// The largest file that is sent before the server's first reply, in bytes. It fits into the buffer of a
/// new connection.
const SMALL: u64 = 32_768;

impl Job<'_> {
    /// Returns whether the size of the result is verified.
    pub(super) fn verifies_size(&self) -> bool {
        let is_image = self.options.representation == RepresentationType::Image;
        is_image && self.options.verify != Verify::None
    }

    /// Uploads under the current name, and verifies the result.
    pub(super) fn upload(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &mut OpenedSource<'_>,
    ) -> Result<Done, Error> {
        let watch = &mut Watch::new(self.options.rate_limit.as_ref(), on);
        let mut digest = match self.options.verify {
            Verify::Digest => Some(checksum(client)?),
            _ => None,
        };
        let have = self.size_before(client, on, source)?;
        self.check_apart(client, source, have)?;
        let old = self.facts_to_change(client, source, have)?;
        let mut start = self.start(client, on, source, have)?;
        if start.mode == UploadMode::Unique {
            self.enter_for_unique(client)?;
        }
        // Whether the server alone chooses the name of a unique file.
        let mut is_nameless = false;
        // Whether content was sent before the server's first reply.
        let mut was_early = false;
        let sent = loop {
            if start.mode == UploadMode::Nothing {
                break Ok(None);
            }
            // Some servers create the file before the data connection is open.
            self.note_sent(start.offset);
            self.past.is_final = matches!(self.store, StoreAs::Append | StoreAs::Unique);
            let path = if is_nameless { b"" } else { self.place.path() };
            let whole = self.small_content(client, source, &start)?;
            let error = match begin(client, path, &start, whole.as_deref()) {
                Ok(mut upload) => {
                    if let Some(Following { path: Some(next), due, .. }) = &self.following {
                        upload.plan_next(next);
                        if let Some((path, time)) = due {
                            upload.plan_time(path, *time);
                        }
                    }
                    self.note_begun(on, source, &start);
                    was_early = upload.was_early();
                    let copied = match (&mut *source, whole) {
                        (_, Some(whole)) => upload.finish_whole(&whole, watch),
                        (OpenedSource::Regular { file, path, .. }, None) => {
                            let mut file: &File = file;
                            match file.seek(SeekFrom::Start(start.offset)) {
                                Ok(_) => upload.copy_from_watched(Source::File(file), watch),
                                Err(error) => Err(upload.fail(named(path, &error))),
                            }
                        }
                        (OpenedSource::Pipe { file, .. }, None) => {
                            let mut file: &File = file;
                            self.copy_once(upload, &mut file, watch, &mut digest)
                        }
                        (OpenedSource::Stream(stream), None) => {
                            self.copy_once(upload, &mut **stream, watch, &mut digest)
                        }
                    };
                    let most = start.offset + watch.moved;
                    self.note_sent(most);
                    if copied.is_err() {
                        self.write_journal(on, source, &start, most);
                    }
                    break copied.map(Some);
                }
                Err(error) => error,
            };
            let other = self.begin_otherwise(client, on, error, &mut start, &mut is_nameless);
            if let Err(error) = other {
                break Err(error);
            }
        };
        let is_cut = matches!(&sent, Err(Error::Refused(_, reply)) if reply.code() == ReplyCode::TRANSFER_ABORTED);
        if was_early && is_cut {
            // The server may take the early end of the data for a broken connection.
            client.go_one_by_one();
        }
        let report = sent.map_err(|error| self.described(error, &start))?;
        let (bytes, duration) =
            report.as_ref().map_or((0, Duration::ZERO), |report| (report.bytes, report.duration));
        let mut done = Done::moved(bytes, start.offset, duration);
        if let OpenedSource::Regular { file, facts, .. } = source {
            self.check_unchanged(file, *facts, start.offset + bytes, &start)?;
        }
        if let Some(Following { time, .. }) = self.following.take()
            && !client.has_planned_upload()
            && self.verifies_size()
            && !self.proves_new
        {
            client.ask_after_upload(self.place.path(), time)?;
        }
        let reply = report.map(|report| {
            done.name = report.unique_name.map(Pathname::into_bytes);
            report.reply
        });
        let finished = self.finish(client, on, source, &start, (&mut done, digest), reply.as_ref());
        if let Err(Error::Incomplete { bytes, announced: Some(all) }) = &finished
            && was_early
            && bytes < all
        {
            let text =
                "the server lost data that came before its first reply: sending the file again";
            on.event(Event::Note { target: self.place.path(), text });
            client.go_one_by_one();
            // The bytes that are there need not be the first ones.
            self.past.from_start = true;
            start.remove_journal();
            return self.upload(client, on, source);
        }
        let finished = finished.and_then(|()| self.check_changed(client, source, old));
        // A later run must not take bytes that are proved to be wrong for a part of the file.
        if finished.as_ref().map_or_else(|error| error.kind() == ErrorKind::Integrity, |()| true) {
            start.remove_journal();
        }
        finished.map(|()| done)
    }

    /// Reads a small file for a server that is far away, so that its content need not wait for a reply.
    /// Only the size of the server's file then proves that the content arrived.
    fn small_content(
        &self,
        client: &Client,
        source: &OpenedSource<'_>,
        start: &UploadStart,
    ) -> Result<Option<Vec<u8>>, Error> {
        let OpenedSource::Regular { file, path, facts } = source else { return Ok(None) };
        let is_plain = start.mode == UploadMode::Store && self.options.rate_limit.is_none();
        let is_small = (1..=SMALL).contains(&facts.size);
        if !is_plain || !is_small || !self.verifies_size() || !client.may_send_early() {
            return Ok(None);
        }
        let failed = |error| Error::Local(named(path, &error));
        let (mut file, mut content): (&File, _) = (file, Vec::new());
        file.rewind().map_err(failed)?;
        file.take(SMALL + 1).read_to_end(&mut content).map_err(failed)?;
        Ok(Some(content).filter(|content| content.len() as u64 == facts.size))
    }

    /// Records that the server has begun the upload.
    fn note_begun(&mut self, on: &dyn Observer, source: &OpenedSource<'_>, start: &UploadStart) {
        self.past.extended |= start.mode == UploadMode::Append && start.offset > 0;
        if start.offset == 0 {
            self.past.sent = Some(0);
            self.past.extended = false;
        }
        let (source_name, target) = (source.name(), self.place.path());
        let total = source.facts().map(|facts| facts.size);
        on.event(Event::Begun { source: source_name, target, at: start.offset, total });
        self.write_journal(on, source, start, total.unwrap_or(0));
    }

    /// Finds another beginning after the server did not begin the upload, or returns the error. If
    /// the server rejects the path as a whole, enters its directories one by one.
    fn begin_otherwise(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        error: Error,
        start: &mut UploadStart,
        is_nameless: &mut bool,
    ) -> Result<(), Error> {
        // The server did not act on the command.
        self.past.is_final &= !matches!(
            error,
            Error::Refused(..)
                | Error::Argument(_)
                | Error::Unsupported(_)
                | Error::DataConnection(_)
        );
        if start.mode == UploadMode::Unique {
            let is_permanent = matches!(&error, Error::Refused(Verb::Stou, reply)
                if reply.code().severity() == Severity::Permanent);
            // Some servers refuse a suggested name.
            let may_help = is_permanent
                && !self.place.path().is_empty()
                && !std::mem::replace(is_nameless, true);
            return if may_help { Ok(()) } else { Err(error) };
        }
        if start.mode == UploadMode::Rest
            && matches!(error, Error::Refused(Verb::Rest | Verb::Stor, _))
        {
            // Appending no bytes does not change an existing file.
            start.mode = UploadMode::Append;
            return Ok(());
        }
        if start.offset > 0 && error.refuses_restart() {
            let (target, why) = (self.place.path(), Why::NoRestart);
            on.event(Event::FromZero { target, why });
            start.restart();
            self.past.replaced = Some(start.replaced);
            return Ok(());
        }
        if self.makes_directories(client, &error)? {
            return Ok(());
        }
        let was_partway = self.place.is_partway();
        let is_entered = self.place.enter(client, &error)?;
        self.past.left_directory |= self.place.is_partway() && !was_partway;
        if is_entered { Ok(()) } else { Err(error) }
    }

    /// Enters the directory of the path, because the server creates a unique file in the current
    /// directory. The rest of the path is the suggested name.
    fn enter_for_unique(&mut self, client: &mut Client) -> Result<(), Error> {
        self.place.go(client)?;
        let mut path = self.place.path().to_vec();
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            // One part of a URL can contain directories, separated by %2F.
            let name = path.split_off(slash + 1);
            client.cwd(path.get(..slash.max(1)).unwrap_or_default())?;
            self.place = Place::at(&name);
        }
        Ok(())
    }

    /// Adds what the caller must know to an error of a running upload.
    fn described(&self, error: Error, start: &UploadStart) -> Error {
        let is_unknown = self.store == StoreAs::Append && self.past.is_final;
        match is_unknown && start.mode == UploadMode::Append {
            true => Error::Job(JobFault::Appended(Box::new(error))),
            false => error,
        }
    }

    /// Verifies that a local file has not changed since the attempt began, and that it ends where
    /// the upload ended.
    fn check_unchanged(
        &self,
        file: &File,
        then: LocalFacts,
        sent: u64,
        start: &UploadStart,
    ) -> Result<(), Error> {
        if self.options.verify == Verify::None {
            return Ok(());
        }
        let now = file.metadata().map_err(Error::Local)?;
        let is_image = self.options.representation == RepresentationType::Image;
        if (!is_image || then.size == sent) && LocalFacts::of(&now) == then {
            return Ok(());
        }
        if let Some(journal) = &start.journal {
            journal.remove();
        }
        Err(Error::Job(JobFault::LocalChanged))
    }

    /// Sends a stream, whose bytes cannot be read again.
    fn copy_once(
        &mut self,
        upload: Upload<'_>,
        stream: &mut dyn Read,
        watch: &mut Watch<'_>,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Error> {
        let mut once = Once { stream, has_begun: false, digest: digest.as_mut() };
        let sent = upload.copy_from_watched(Source::Stream(&mut once), watch);
        self.past.is_final |= once.has_begun;
        sent
    }

    /// Records what a later run can resume: at most `most` bytes are on the server.
    fn write_journal(
        &self,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
        start: &UploadStart,
        most: u64,
    ) {
        let (Some(journal), Some(local)) = (&start.journal, source.facts()) else { return };
        let replaced = match start.offset {
            0 => start.replaced,
            // The journal of the run that began at byte 0 knows it.
            _ => journal.read().map_or(0, |sent| sent.replaced),
        };
        if let Err(error) = journal.write(&JournalContent { local, most, replaced }) {
            let text = &format!("a later run cannot resume this upload: no journal: {error}");
            on.event(Event::Note { target: self.place.path(), text });
        }
    }

    /// Records that this attempt may have left a file of up to `size` bytes on the server.
    fn note_sent(&mut self, size: u64) {
        self.past.sent = self.past.sent.max(Some(size));
    }

    /// If the server refuses the name and directories may be created, creates the parent
    /// directories, but only once. Returns whether the directory of the file exists now.
    fn makes_directories(&mut self, client: &mut Client, error: &Error) -> Result<bool, Error> {
        let is_about_the_name = matches!(error, Error::Refused(_, reply)
            if [ReplyCode::FILE_UNAVAILABLE, ReplyCode::NAME_NOT_ALLOWED].contains(&reply.code()));
        let creates = self.options.creates_directories && is_about_the_name;
        if !creates || self.past.made_directories {
            return Ok(false);
        }
        let is_there = match Pathname::split(self.place.path()).0 {
            b"" | b"/" => false,
            directory => match client.make_directories(directory) {
                // Another client, or another job, may have made it since.
                Ok(_) => true,
                // The refusal of the upload says more.
                Err(Error::Refused(..)) => false,
                Err(error) => return Err(error),
            },
        };
        // After a lost reply, the next attempt asks again.
        self.past.made_directories = true;
        Ok(is_there)
    }
}

impl Job<'_> {
    /// Verifies the upload after the last byte, and sets its time.
    pub(super) fn finish(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
        start: &UploadStart,
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
                return Err(Error::Job(JobFault::NoName));
            }
            (StoreAs::Unique, None) => return Ok(()),
            _ => self.place.path().to_vec(),
        };
        let size = start.before + done.bytes;
        if self.verifies_size() {
            done.verified = check_stored_size(client, &path, size, verify)?;
            if done.verified == Verify::None {
                let text = "the server confirms the upload, but does not report its size";
                on.event(Event::Note { target: &path, text });
            }
        } else if start.offset > 0 {
            // Some servers accept REST, but truncate the file; others start a new one. The size of
            // a resumed upload is checked even if nothing else is.
            check_stored_size(client, &path, size, Verify::IfKnown)?;
        }
        if done.verified == Verify::None
            && self.options.verify != Verify::None
            && let Some(reply) = reply.filter(|reply| is_doubtful(reply))
        {
            return Err(Error::Job(JobFault::Aborted(reply.clone())));
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
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
        start: &UploadStart,
        (done, digest): (&mut Done, Option<Checksum>),
        path: &[u8],
    ) -> Result<(), Error> {
        let demands = digest.is_some();
        let is_image = self.options.representation == RepresentationType::Image;
        let digest = match self.options.verify {
            Verify::IfKnown if start.is_proven && done.bytes == 0 => {
                done.verified = Verify::Digest;
                None
            }
            Verify::IfKnown if start.offset > 0 && is_image && !self.past.has_no_digest => {
                Checksum::for_server(client)?
            }
            _ => digest,
        };
        let Some(mut digest) = digest else { return Ok(()) };
        if let OpenedSource::Regular { file, .. } = source {
            // The digest is not computed during the transfer, because the kernel sends the file.
            let bytes = start.offset + done.bytes;
            on.event(Event::Comparing { target: path, bytes });
            digest.update_from(file, bytes).map_err(Error::Local)?;
        }
        let compared = compare_digest(client, path, digest.finish())?;
        self.past.has_no_digest = compared.lost_connection(client);
        if compared.proves(demands)? {
            done.verified = Verify::Digest;
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
            false => Err(Error::Job(JobFault::OtherName(entry.name))),
        }
    }

    /// Sets the modification time of the server's file to that of the local file.
    fn set_time(
        &self,
        client: &mut Client,
        path: &[u8],
        source: &OpenedSource<'_>,
    ) -> Result<(), Error> {
        let seconds = source.facts().map(|facts| facts.modified_seconds());
        let Some(time) = seconds.and_then(TimeVal::from_unix_seconds) else {
            return Err(Error::Job(JobFault::NoTime));
        };
        set_time(client, path, time)
    }

    /// Returns the facts of a file that a moved source replaces, if only a change of them can show
    /// that the server stored the upload: a file of the same size is there already.
    pub(super) fn facts_to_change(
        &self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        have: Option<u64>,
    ) -> Result<Option<ServerFacts>, Error> {
        match (self.options.moves || self.proves_new, source.facts()) {
            (true, Some(here)) if have == Some(here.size) => {
                ServerFacts::before_upload(client, self.place.path()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Verifies that the server's file is no longer the `old` one, by its facts or its digest.
    pub(super) fn check_changed(
        &self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        old: Option<ServerFacts>,
    ) -> Result<(), Error> {
        let (Some(old), OpenedSource::Regular { file, facts, .. }) = (old, source) else {
            return Ok(());
        };
        let path = self.place.path();
        if old.proves_new(client, path)? {
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
            _ => Err(Error::Job(JobFault::NotReplaced)),
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
        (temporary, own): (&[u8], &[u8]),
        moving: &mut Option<Moving>,
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
        let noted = &mut self.before_rename;
        let mut note = |client: &mut Client, path: &[u8]| match (&mut *moving, &mut *noted) {
            (Some(moving), _) => moving.note(client, path, temporary),
            (None, Some(noted)) => noted(client, path),
            (None, None) => Ok(()),
        };
        let done = renaming.run(client, &mut self.past.stored, &mut note);
        if let Err(Error::Job(JobFault::PerhapsRenamed { .. })) = &done {
            self.past.is_final = true;
        }
        done
    }
}

/// Asks the server to begin an upload. `whole` is the content of a small file.
fn begin<'c>(
    client: &'c mut Client,
    path: &[u8],
    start: &UploadStart,
    whole: Option<&[u8]>,
) -> Result<Upload<'c>, Error> {
    match start.mode {
        UploadMode::Store | UploadMode::Nothing => match whole {
            Some(whole) => client.store_whole(path, whole),
            None => client.store(path),
        },
        UploadMode::Rest => client.store_from(path, start.offset),
        // APPE, as in curl, because some servers refuse REST before STOR.
        UploadMode::Append => client.append(path),
        UploadMode::Unique => client.store_unique(path),
    }
}

/// A stream that records whether it was read, and adds what was read to a digest.
struct Once<'s> {
    stream: &'s mut dyn Read,
    has_begun: bool,
    digest: Option<&'s mut Checksum>,
}

impl Read for Once<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        // Even the end of a pipe comes only once: its next reader would wait for another writer.
        self.has_begun |= read.is_ok();
        let count = read?;
        if let Some(digest) = &mut self.digest {
            digest.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}
