//! The transfer of an upload's bytes, and what follows the last one: size, digest, name, times, and the
//! rename.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use ftp_proto::{Pathname, ReplyCode, RepresentationType, Severity, TimeVal, Verb};

use super::give::Moving;
use super::start::{UploadStart, UploadWay};
use super::{Following, Job, OpenedSource, StoreAs};
use crate::charset::is_text;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind, JobFault, Phase, Recovery, Unsupported};
use crate::event::{Event, Note, Observer, Verify, Why};
use crate::file::Done;
use crate::file::evidence::{
    Compared, OldFile, Resume, checksum, compare_digest, compare_first, is_doubtful,
};
use crate::file::journal::{
    ConfirmedFile, JournalContent, LocalFacts, Renaming, check_stored_size, outlast, set_time,
};
use crate::file::options::SkipReason;
use crate::file::partial::named;
use crate::file::targets::is_shown;
use crate::system::FileExt;
use crate::trace;
use crate::transfer::{Report, Source, Upload, Watch};
use crate::url_path::Place;

/// The number of bytes to compare at a time.
const BLOCK: usize = 64 * 1_024;

impl Job<'_> {
    pub(super) fn verifies_size(&self) -> bool {
        self.is_image() && self.options.verify != Verify::None
    }

    /// Returns whether the server stores the bytes as they are here.
    pub(super) fn is_image(&self) -> bool {
        self.options.representation == RepresentationType::Image
    }

    /// Uploads under the current name, and verifies the result.
    pub(super) fn upload(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &mut OpenedSource<'_>,
    ) -> Result<Done, Error> {
        let mut digest = match self.options.verify {
            Verify::Digest => Some(checksum(client)?),
            _ => None,
        };
        let mut start = self.find_start(client, on, source)?;
        // Another upload may have ended while this one waited for it.
        if start.mode == UploadWay::Store
            && !self.is_under()
            && (self.looks() || self.options.moves)
            && !matches!(start.told, None | Some(SizeTold::Refused))
            && let Some(why) = self.skips(client, source)?
        {
            return Ok(Done::skipped(why));
        }
        let sent = self.send(client, on, source, &mut start, &mut digest);
        let report = sent.map_err(|error| self.described(error, &start))?;
        // Asked first: from here on, another sender can take the name unnoticed.
        let is_looked_at = self.is_under() || self.options.moves && self.waits();
        self.confirmed = match is_looked_at && self.options.verify != Verify::None {
            true => ConfirmedFile::ask(client, self.place.path())
                .map_err(|error| self.described(error, &start))?,
            false => ConfirmedFile::default(),
        };
        let (bytes, duration) =
            report.as_ref().map_or((0, Duration::ZERO), |report| (report.bytes, report.duration));
        let mut done = Done::moved(bytes, start.offset, duration);
        if let OpenedSource::Regular { file, facts, .. } = source {
            self.check_unchanged(file, *facts, start.offset + bytes, &start)?;
        }
        if let Some(Following { time, .. }) = self.following.take()
            && !client.has_planned_upload()
            && report.as_ref().is_none_or(|report| report.cut.is_none())
            && self.verifies_size()
        {
            client
                .ask_after_upload(self.place.path(), time)
                .map_err(|error| self.described(error, &start))?;
        }
        if let Some(name) = report.as_ref().and_then(|report| report.unique_name.clone()) {
            done.name = Some(name.into_bytes());
        }
        let finished = self.finish(client, on, source, &mut start, (&mut done, digest), report);
        // A later run must not take bytes that are proved to be wrong for a part of the file.
        if finished.as_ref().map_or_else(|error| error.kind() == ErrorKind::Integrity, |()| true) {
            start.remove_journal();
        }
        finished.map(|()| done).map_err(|error| self.described(error, &start))
    }

    /// Gathers the evidence, and decides where the upload begins and under which name.
    fn find_start(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
    ) -> Result<UploadStart, Error> {
        let told = self.size_before(client, on, source)?;
        self.check_apart(client, source, told)?;
        let old = self.old_file(client, source, told)?;
        let mut start = self.start(client, on, source, told)?;
        start.told = told;
        // Kept bytes are compared, and the file had another size before this job.
        start.old = old.filter(|_| start.offset == 0);
        if start.mode == UploadWay::Store && matches!(told, Some(SizeTold::Bytes(_))) {
            self.leave_part(&mut start);
        }
        if start.mode == UploadWay::Unique {
            self.enter_for_unique(client)?;
        }
        Ok(start)
    }

    /// Sends what the server lacks, from another beginning if it does not take this one. Returns `None`
    /// if it lacks nothing.
    fn send(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &mut OpenedSource<'_>,
        start: &mut UploadStart,
        digest: &mut Option<Checksum>,
    ) -> Result<Option<Report>, Error> {
        // Whether the server alone chooses the name of a unique file.
        let mut is_nameless = false;
        loop {
            if start.mode == UploadWay::Nothing {
                return Ok(None);
            }
            // Some servers create the file before the data connection is open.
            self.note_sent(start.offset);
            self.past.is_final = matches!(self.store, StoreAs::Append | StoreAs::Unique);
            let path = if is_nameless { b"" } else { self.place.path() };
            let (error, has_begun) = match begin(client, path, start) {
                Ok(upload) => match self.copy(upload, on, source, start, digest) {
                    Ok(report) => return Ok(Some(report)),
                    Err(error) => (error, true),
                },
                Err(error) => (error, false),
            };
            if !has_begun {
                let error = self.unless_late(client, error);
                self.begin_otherwise(client, on, error, start, &mut is_nameless)?;
                continue;
            }
            // Some servers look for the directory only after their 150 (ftp-srv).
            let may_repeat = source.facts().is_some() && !self.past.is_final;
            if !may_repeat || !self.makes_directories(client, &error)? {
                return Err(error);
            }
        }
    }

    /// If the upload command got no reply, the server may carry it out during or after another attempt, and
    /// empty what that has stored. Another attempt then needs another name; without one, the upload has
    /// failed.
    fn unless_late(&mut self, client: &Client, error: Error) -> Error {
        let Some(verb) = client.control.unbegun_upload() else { return error };
        // No byte was sent, so a late `APPE` changes nothing.
        let is_harmless = verb == Verb::Appe && self.store != StoreAs::Append;
        if is_harmless || error.recovery() != Recovery::TryAgain || self.takes_new_name() {
            return error;
        }
        self.past.is_final = true;
        Error::Uncertain { verb, reply: None }
    }

    /// Copies the bytes of an upload that the server has begun to receive.
    fn copy(
        &mut self,
        mut upload: Upload<&mut Client>,
        on: &dyn Observer,
        source: &mut OpenedSource<'_>,
        start: &UploadStart,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Error> {
        let watch = &mut Watch::new(self.options.rate_limit.as_ref(), on);
        if let Some(Following { path: Some(next), due, .. }) = &self.following {
            upload.plan_next(next);
            if let Some((path, time)) = due {
                upload.plan_time(path, *time);
            }
        }
        self.note_begun(on, source, start);
        let copied = match &mut *source {
            OpenedSource::Regular { file, path, .. } => {
                let mut file: &File = file;
                match file.seek(SeekFrom::Start(start.offset)) {
                    Ok(_) => upload.copy_from_watched(Source::File(file), watch),
                    Err(error) => Err(upload.fail(named(path, &error))),
                }
            }
            OpenedSource::Pipe { file, .. } => {
                let mut file: &File = file;
                self.copy_once(upload, &mut file, watch, digest)
            }
            OpenedSource::Stream(stream) => self.copy_once(upload, &mut **stream, watch, digest),
        };
        let most = start.offset + watch.moved;
        self.note_sent(most);
        copied.inspect_err(|_| self.write_journal(on, source, start, most))
    }

    /// Switches to a private temporary name if the shared one holds a part that cannot be resumed: another
    /// run may be writing it.
    fn leave_part(&mut self, start: &mut UploadStart) {
        let Some(temporary) = self.temporary_name() else { return };
        if self.past.sent.is_some() || self.has_own_name() || !temporary.is_own() {
            return;
        }
        let Some(name) = temporary.file_of(self.place.name()) else { return };
        let own = temporary.of(name);
        self.place.set_name(&own);
        self.past.leaves_part = true;
        *start = UploadStart { told: Some(SizeTold::Refused), ..UploadStart::at_zero(start.mode) };
        self.past.replaced = Some(0);
    }

    fn note_begun(&mut self, on: &dyn Observer, source: &OpenedSource<'_>, start: &UploadStart) {
        self.past.was_begun = true;
        self.past.extended |= start.mode == UploadWay::Append && start.offset > 0;
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
        self.past.was_begun = false;
        // Otherwise, the server did not act on the command, or did not get it.
        self.past.is_final &= client.control.unanswered().is_some_and(Verb::is_upload)
            && !matches!(error, Error::ServiceClosing(_));
        if start.mode == UploadWay::Unique {
            let is_permanent = matches!(&error, Error::Refused { verb: Verb::Stou, reply }
                if reply.code().severity() == Severity::Permanent);
            // Some servers refuse a suggested name.
            let may_help = is_permanent
                && !self.place.path().is_empty()
                && !std::mem::replace(is_nameless, true);
            return if may_help { Ok(()) } else { Err(error) };
        }
        if start.mode == UploadWay::Rest
            && matches!(error, Error::Refused { verb: Verb::Rest | Verb::Stor, .. })
        {
            // Appending no bytes does not change an existing file.
            start.mode = UploadWay::Append;
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
        let size = self.past.local.map(|local| local.size);
        let is_stored = size > Some(0) && self.past.sent == size;
        match error {
            _ if is_entered => Ok(()),
            // A server that takes each name once.
            Error::Refused { verb: Verb::Stor, reply }
                if is_stored && reply.code().severity() == Severity::Permanent =>
            {
                let cause = Box::new(Error::Refused { verb: Verb::Stor, reply });
                Err(Error::Job(JobFault::NotCompared(cause)))
            }
            error => Err(error),
        }
    }

    /// Enters the directory of the path, because the server creates a unique file in the current
    /// directory. The rest of the path is the suggested name.
    fn enter_for_unique(&mut self, client: &mut Client) -> Result<(), Error> {
        // A missing directory would stop the client on its way.
        if self.options.creates_directories && !self.past.made_directories {
            self.make_parents(client)?;
        }
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
        match is_unknown && start.mode == UploadWay::Append {
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
        let now = file.metadata().map_err(Error::local)?;
        if (!self.is_image() || then.size == sent) && LocalFacts::of(&now) == then {
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
        upload: Upload<&mut Client>,
        stream: &mut dyn Read,
        watch: &mut Watch<'_>,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Error> {
        let (has_begun, has_ended) = (false, false);
        let mut once = Once { stream, has_begun, has_ended, digest: digest.as_mut() };
        let sent = upload.copy_from_watched(Source::Stream(&mut once), watch);
        self.past.is_final |= once.has_begun;
        match sent {
            // Another attempt would have looked at what the server has.
            Err(error @ (Error::Closed | Error::Io(_) | Error::Timeout(Phase::FinalReply)))
                if once.has_ended && self.options.retried =>
            {
                Err(Error::Job(JobFault::NotCompared(Box::new(error))))
            }
            sent => sent,
        }
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
            let note = Note::NoJournal(&error);
            on.event(Event::Note { target: self.place.path(), note });
        }
    }

    /// Records that this attempt may have left a file of up to `size` bytes on the server.
    fn note_sent(&mut self, size: u64) {
        self.past.sent = self.past.sent.max(Some(size));
    }

    /// If the server refuses the name and directories may be created, creates the parent
    /// directories, but only once. Returns whether the directory of the file exists now.
    fn makes_directories(&mut self, client: &mut Client, error: &Error) -> Result<bool, Error> {
        // vsFTPd answers 553 if the directory is missing; 501 or 521 would not be about that.
        let is_about_the_name = matches!(error, Error::Refused { reply, .. }
            if [ReplyCode::FILE_UNAVAILABLE, ReplyCode::NAME_NOT_ALLOWED].contains(&reply.code()));
        let creates = self.options.creates_directories && is_about_the_name;
        if !creates || self.past.made_directories {
            return Ok(false);
        }
        self.make_parents(client)
    }

    /// Creates the parent directories. Returns whether the directory of the file exists now.
    fn make_parents(&mut self, client: &mut Client) -> Result<bool, Error> {
        let is_there = match Pathname::split(self.place.path()).0 {
            b"" | b"/" => false,
            directory => match client.make_directories(directory) {
                // Another client, or another job, may have made it since.
                Ok(_) => true,
                // The refusal of the upload says more.
                Err(Error::Refused { .. }) => false,
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
        start: &mut UploadStart,
        (done, digest): (&mut Done, Option<Checksum>),
        report: Option<Report>,
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
            (StoreAs::Unique, None) => {
                return report.map_or(Ok(()), |report| report.proved(None, false).map(drop));
            }
            _ => self.place.path().to_vec(),
        };
        let size = start.before.unwrap_or(0) + done.bytes;
        if self.verifies_size() {
            done.verified = match check_stored_size(client, &path, size, verify) {
                // The lost connection explains missing bytes, and another attempt can send them. Bytes of
                // others prove nothing of them.
                Err(Error::Incomplete { .. })
                    if report.as_ref().is_some_and(|report| report.cut.is_some()) =>
                {
                    return report.map_or(Ok(()), |report| report.proved(None, false).map(drop));
                }
                // Others may append, too.
                Err(Error::Incomplete { bytes, announced: Some(all) })
                    if self.store == StoreAs::Append && bytes > all =>
                {
                    Verify::Size
                }
                verified => verified?,
            };
            if start.before.is_none() {
                // It may be the size of the old file.
                done.verified = Verify::None;
            }
            if done.verified == Verify::None {
                let is_missing =
                    size == 0 && matches!(client.existence(&path), Ok(Existence::Absent));
                let note = if is_missing { Note::NotShown } else { Note::NoSize };
                on.event(Event::Note { target: &path, note });
            }
        } else if start.offset > 0 {
            // Some servers accept REST, but truncate the file; others start a new one. The size of
            // a resumed upload is checked even if nothing else is.
            check_stored_size(client, &path, size, Verify::IfKnown)?;
        }
        if done.verified == Verify::None
            && self.options.verify != Verify::None
            && let Some(report) = report.as_ref().filter(|report| is_doubtful(&report.reply))
        {
            return Err(Error::Job(JobFault::Aborted(report.reply.clone())));
        }
        self.check_digest(client, on, source, start, (done, digest), &path)?;
        if let Some(report) = report.filter(|report| report.cut.is_some()) {
            let stored = (done.verified != Verify::None).then_some(size);
            let is_new = stored.is_some()
                && (done.verified == Verify::Digest
                    || self.is_new(client, source, start, (&path, size))?);
            report.proved(stored, is_new)?;
        }
        self.check_name(client, &path)?;
        // Before the time is set: an old file would look like the new one.
        if let Some(old) = start.old.take().filter(|_| self.must_be_new()) {
            let stored = (done.verified != Verify::None).then_some(size);
            match self.is_told() {
                true => self.replaced = Some((old, stored)),
                false => self.check_replaced(client, source, &old, stored)?,
            }
        }
        if self.options.preserve {
            if let OpenedSource::Regular { file, facts, .. } = source {
                outlast(client, file, *facts)?;
            }
            self.set_time(client, &path, source)?;
            self.confirmed.given = source.facts().map(|facts| facts.modified_seconds());
        }
        Ok(())
    }

    /// Returns whether a file of this size at `path` cannot be the one that the upload replaced, or
    /// has the same content as the source.
    fn is_new(
        &self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        start: &mut UploadStart,
        (path, size): (&[u8], u64),
    ) -> Result<bool, Error> {
        let is_other = match start.told {
            Some(SizeTold::Bytes(have)) => have != size,
            Some(SizeTold::Refused) => true,
            Some(SizeTold::Nothing) | None => self.store == StoreAs::Unique,
        };
        if is_other {
            return Ok(true);
        }
        if let Some(old) = start.old.take()
            && self.check_replaced(client, source, &old, Some(size)).is_ok()
        {
            return Ok(true);
        }
        let OpenedSource::Regular { file, .. } = source else { return Ok(false) };
        let text = "the server's file may be the old one: reading it back";
        trace::note(format_args!("{text}"));
        match reads_back(client, path, file, size) {
            Ok(is_same) => Ok(is_same),
            Err(error) => match Error::downcast(error) {
                Ok(error @ Error::Cancelled) => Err(error),
                Ok(error) if error.is_out_of_step() => Err(error),
                _ => Ok(false),
            },
        }
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
        let digest = match self.options.verify {
            Verify::IfKnown if start.is_proven && done.bytes == 0 => {
                done.verified = Verify::Digest;
                None
            }
            Verify::IfKnown if start.offset > 0 && self.is_image() && !self.past.has_no_digest => {
                Checksum::for_server(client)?
            }
            _ => digest,
        };
        let Some(mut digest) = digest else { return Ok(()) };
        if let OpenedSource::Regular { file, .. } = source {
            // The digest is not computed during the transfer, because the kernel sends the file.
            let bytes = start.offset + done.bytes;
            on.event(Event::Comparing { target: path, bytes });
            digest.update_from(file, bytes).map_err(Error::local)?;
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
        if !is_asked || is_text(client.config.charset, path) {
            return Ok(());
        }
        // The next file with such a name would replace this one, whose source is gone by then.
        if self.options.moves {
            return match is_shown(client, path)? {
                true => Ok(()),
                false => Err(Error::Job(JobFault::NotShown(path.to_vec()))),
            };
        }
        if !client.features()?.has("MLST") {
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

    /// Returns whether a file of the same size must be proved to be the new one: the source is removed,
    /// or the file gets the time of the source.
    pub(super) fn must_be_new(&self) -> bool {
        let is_timed = self.options.preserve && self.options.verify != Verify::None;
        self.options.moves || is_timed || self.proves_new
    }

    /// Returns whether the caller knows that a file of the same size is there.
    pub(super) const fn is_told(&self) -> bool {
        self.proves_new && !self.is_under()
    }

    /// Asks about the file that the upload replaces, if only a change of it can show that the server
    /// stored the upload. `told` is its size, if that was asked for.
    fn old_file(
        &self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        told: Option<SizeTold>,
    ) -> Result<Option<OldFile>, Error> {
        let path = self.place.path();
        let here = source.facts().map_or(0, |facts| facts.size);
        let is_asked =
            self.must_be_new() || client.breaks_uploads && matches!(told, Some(SizeTold::Bytes(_)));
        match told {
            // Two empty files are equal.
            _ if here == 0 || !is_asked => Ok(None),
            _ if self.is_told() => OldFile::alike(client, path, None).map(Some),
            Some(told) => {
                let size = self.is_image().then_some(here);
                OldFile::ask(client, path, told, size).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Verifies that the server's file, of which it now tells the size `stored`, is no longer the `old`
    /// one, by its facts or its digest.
    fn check_replaced(
        &self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        old: &OldFile,
        stored: Option<u64>,
    ) -> Result<(), Error> {
        let path = self.place.path();
        match source {
            _ if self.options.verify == Verify::Digest => Ok(()),
            OpenedSource::Regular { file, facts, .. } if self.is_image() => {
                let size = facts.size;
                old.check(client, path, stored, |client| {
                    compare_first(client, path, (file, size), Some(size))
                })
            }
            _ => old.check(client, path, stored, |_| {
                Ok(Compared::NoAnswer(Error::Unsupported(Unsupported::NoDigest)))
            }),
        }
    }

    /// Returns whether the upload has a temporary name.
    pub(super) const fn is_under(&self) -> bool {
        matches!(self.store, StoreAs::Under(_))
    }

    /// Returns whether another attempt may have to tell whether the server has renamed the file. The
    /// journal of a move tells that too.
    const fn may_follow(&self) -> bool {
        self.is_resumable || self.options.retried && !self.options.moves && !self.past.is_final
    }

    /// Gives a complete upload its final name. Returns `None` if nothing proves any more that the
    /// server has all of it: another sender has the name, or the server tells no stable facts.
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
            is_own: self.has_own_name(),
            repeats: self.may_follow(),
            looks: self.options.moves || self.looks,
            keeps: self.options.resume != Resume::Own || self.options.moves,
        };
        if let (Some(moving), Some(stored)) = (&mut *moving, &self.past.stored) {
            moving.confirmed = stored.confirmed();
        }
        let (mut slot, mut noted) = (self.past.stored.take(), self.before_rename.take());
        let mut kept = None;
        let mut note = |client: &mut Client, path: &[u8]| {
            // Another program may have stored a file since the upload began.
            kept = self.kept(client, self.past.local)?;
            match (&mut *moving, &mut noted) {
                // Ends the renaming.
                _ if kept.is_some() => Err(Error::Job(JobFault::Spent)),
                (Some(moving), _) => moving.note(client, path, temporary).map(|()| None),
                (None, Some(noted)) => noted(client, path),
                (None, None) => Ok(None),
            }
        };
        let done = renaming.run(client, &mut slot, &mut note);
        if let Some(why) = kept {
            renaming.withdraw(client, slot);
            let is_new = why == SkipReason::Exists;
            let why = if is_new { SkipReason::NowExists } else { why };
            return Ok(Some(Done::skipped(why)));
        }
        (self.past.stored, self.before_rename) = (slot, noted);
        if let Err(Error::Job(JobFault::PerhapsRenamed { .. })) = &done {
            self.past.is_final = true;
        }
        if done.is_err() && self.past.stored.is_none() {
            // What is sent again must not meet an earlier `RNTO`.
            self.takes_new_name();
        }
        done
    }
}

fn begin<'c>(
    client: &'c mut Client,
    path: &[u8],
    start: &UploadStart,
) -> Result<Upload<&'c mut Client>, Error> {
    match start.mode {
        UploadWay::Store | UploadWay::Nothing => client.store(path),
        UploadWay::Rest => client.store_from(path, start.offset),
        // APPE, as in curl, because some servers refuse REST before STOR.
        UploadWay::Append => client.append(path),
        UploadWay::Unique => client.store_unique(path),
    }
}

/// Returns whether the server's file at `path` has exactly the first `size` bytes of a local file.
fn reads_back(client: &mut Client, path: &[u8], file: &File, size: u64) -> io::Result<bool> {
    let mut download = client.retrieve(path)?;
    let (mut there, mut here) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let at = download.transferred();
        let count = download.read(&mut there)?;
        let (there, _) = there.split_at(count);
        let (here, _) = here.split_at_mut(count);
        file.read_exact_at(here, at)?;
        if there != here || at + count as u64 > size {
            return Ok(false);
        }
        if count == 0 {
            download.finish()?;
            return Ok(at == size);
        }
    }
}

/// A stream that records whether it was read, and adds what was read to a digest.
struct Once<'s> {
    stream: &'s mut dyn Read,
    has_begun: bool,
    has_ended: bool,
    digest: Option<&'s mut Checksum>,
}

impl Read for Once<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        // Even the end of a pipe comes only once: its next reader would wait for another writer.
        self.has_begun |= read.is_ok();
        let count = read?;
        self.has_ended |= count == 0;
        if let Some(digest) = &mut self.digest {
            digest.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}
