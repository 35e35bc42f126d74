//! The transfer of an upload's bytes, and the checks that follow it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use ftp_proto::{ReplyCode, RepresentationType, Severity, Verb};

use super::start::{Start, UploadMode};
use super::{Job, Opened, StoreAs};
use crate::client::Client;
use crate::error::{Error, UploadFault};
use crate::event::{Event, Observer};
use crate::file::Done;
use crate::file::checksum::Checksum;
use crate::file::evidence::Why;
use crate::file::growing::named;
use crate::file::journal::{LocalFacts, Sent};
use crate::file::options::Verify;
use crate::file::verify::checksum;
use crate::transfer::{Report, Source, Upload, Watch};
use crate::tree::path::split;
use crate::url_path::{Entered, Place};

/// Why the bytes were not sent.
enum Unsent {
    /// The server did not begin the upload.
    NotBegun(Error),
    /// The upload began and failed.
    Broken(Error),
}

impl Unsent {
    fn into_error(self) -> Error {
        match self {
            Self::NotBegun(error) | Self::Broken(error) => error,
        }
    }
}

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
        watch: &mut Watch<'_>,
        source: &mut Opened<'_>,
    ) -> Result<Done, Error> {
        let mut digest = match self.options.verify {
            Verify::Digest => Some(checksum(client)?),
            _ => None,
        };
        let have = self.size_before(client, on, source)?;
        self.check_apart(client, source, have)?;
        let old = self.facts_to_change(client, source, have)?;
        let mut start = self.start(client, on, source, have)?;
        let mut report = None;
        if start.mode != UploadMode::Nothing {
            report = Some(
                match self.send(client, on, watch, source, &start, &mut digest) {
                    Err(Unsent::NotBegun(error)) if start.offset > 0 && error.refuses_restart() => {
                        let (target, why) = (self.place.path(), Why::NoRestart);
                        on.event(Event::FromZero { target, why });
                        start = start.restarted();
                        self.past.replaced = Some(start.replaced);
                        self.send(client, on, watch, source, &start, &mut digest)
                    }
                    sent => sent,
                }
                .map_err(|unsent| self.described(unsent.into_error(), &start))?,
            );
        }
        let (bytes, duration) =
            report.as_ref().map_or((0, Duration::ZERO), |report| (report.bytes, report.duration));
        let mut done = Done::moved(bytes, start.offset, duration);
        if let Opened::Regular { file, facts, .. } = source {
            self.check_unchanged(file, *facts, start.offset + bytes, &start)?;
        }
        let reply = report.map(|report| {
            done.name = report.unique_name.map(ftp_proto::Pathname::into_bytes);
            report.reply
        });
        let finished = self.finish(client, on, source, &start, (&mut done, digest), reply.as_ref());
        finished.and_then(|()| self.check_changed(client, source, old))?;
        if let Some(journal) = &start.journal {
            journal.remove();
        }
        Ok(done)
    }

    /// Adds what the caller must know to an error of a running upload.
    fn described(&self, error: Error, start: &Start) -> Error {
        let is_unknown = self.store == StoreAs::Append && self.past.is_final;
        match is_unknown && start.mode == UploadMode::Append {
            true => Error::Upload(UploadFault::Appended(Box::new(error))),
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
        start: &Start,
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
        Err(Error::Upload(UploadFault::LocalChanged))
    }

    /// Starts the upload, and runs it to its end. If the server rejects the path as a whole, enters
    /// its directories one by one.
    fn send(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        watch: &mut Watch<'_>,
        source: &mut Opened<'_>,
        start: &Start,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Unsent> {
        let mut mode = start.mode;
        if mode == UploadMode::Unique {
            return self.send_unique(client, on, watch, source, start, digest);
        }
        loop {
            let path = self.place.path().to_vec();
            let to = Begin { mode, offset: start.offset, wished: &path };
            let error = match self.pump(client, on, watch, source, &to, start, digest) {
                Err(Unsent::NotBegun(error)) => error,
                sent => return sent,
            };
            if mode == UploadMode::Rest
                && matches!(error, Error::Refused(Verb::Rest | Verb::Stor, _))
            {
                // Appending no bytes does not change an existing file.
                mode = UploadMode::Append;
                continue;
            }
            if start.offset > 0 && error.refuses_restart() {
                return Err(Unsent::NotBegun(error));
            }
            if self.makes_directories(client, &error).map_err(Unsent::NotBegun)? {
                continue;
            }
            match self.place.enter(client, &error).map_err(Unsent::NotBegun)? {
                Entered::There => {}
                entered => {
                    self.past.left_directory = entered == Entered::Partway;
                    return Err(Unsent::NotBegun(error));
                }
            }
        }
    }

    /// Uploads under a name that the server chooses, in the directory of the path. Suggests the
    /// name in the path; if the server refuses the name, suggests none.
    fn send_unique(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        watch: &mut Watch<'_>,
        source: &mut Opened<'_>,
        start: &Start,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Unsent> {
        // The server creates the file in the current directory.
        self.place.go(client).map_err(Unsent::NotBegun)?;
        let mut path = self.place.path().to_vec();
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            // One part of a URL can contain directories, separated by %2F.
            let name = path.split_off(slash + 1);
            let entered = client.cwd(path.get(..slash.max(1)).unwrap_or_default());
            entered.map_err(Unsent::NotBegun)?;
            self.place = Place::at(&name);
            path = name;
        }
        let mut wished = path.as_slice();
        loop {
            let to = Begin { mode: UploadMode::Unique, offset: 0, wished };
            let error = match self.pump(client, on, watch, source, &to, start, digest) {
                Err(Unsent::NotBegun(error)) => error,
                sent => return sent,
            };
            let is_permanent = matches!(&error, Error::Refused(Verb::Stou, reply)
                if reply.code().severity() == Severity::Permanent);
            // Some servers refuse a suggested name.
            if wished.is_empty() || !is_permanent {
                return Err(Unsent::NotBegun(error));
            }
            wished = b"";
        }
    }

    /// Begins an upload, and runs it to its end if the server accepts it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one attempt, which it borrows")]
    fn pump(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        watch: &mut Watch<'_>,
        source: &mut Opened<'_>,
        to: &Begin<'_>,
        start: &Start,
        digest: &mut Option<Checksum>,
    ) -> Result<Report, Unsent> {
        // Some servers create the file before the data connection is open.
        self.note_sent(to.offset);
        let is_once = matches!(self.store, StoreAs::Append | StoreAs::Unique);
        self.past.is_final = is_once;
        let total = source.facts().map(|facts| facts.size);
        let name = source.name();
        let mut upload = begin(client, to).map_err(|error| {
            // The server did not act on the command.
            let is_undone = matches!(
                error,
                Error::Refused(..)
                    | Error::Argument(_)
                    | Error::Unsupported(_)
                    | Error::DataConnection(_)
            );
            self.past.is_final &= !is_undone;
            Unsent::NotBegun(error)
        })?;
        if let Some(next) = self.following.take() {
            upload.plan_next(next);
        }
        self.past.extended |= to.mode == UploadMode::Append && to.offset > 0;
        if to.offset == 0 {
            self.past.sent = Some(0);
            self.past.extended = false;
        }
        on.event(Event::Begun { source: name, target: self.place.path(), at: to.offset, total });
        self.write_journal(on, source, start, total.unwrap_or(0));
        let sent = match source {
            Opened::Regular { file, path, .. } => {
                let mut file: &File = file;
                match file.seek(SeekFrom::Start(to.offset)) {
                    Ok(_) => upload.copy_from_watched(file, watch),
                    Err(error) => Err(upload.fail(named(path, &error))),
                }
            }
            Opened::Pipe { file, .. } => {
                let mut file: &File = file;
                self.copy_once(upload, &mut file, watch, digest)
            }
            Opened::Stream(stream) => self.copy_once(upload, &mut **stream, watch, digest),
        };
        let most = to.offset + watch.moved();
        self.note_sent(most);
        sent.map_err(|error| {
            self.write_journal(on, source, start, most);
            Unsent::Broken(error)
        })
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
    fn write_journal(&self, on: &dyn Observer, source: &Opened<'_>, start: &Start, most: u64) {
        let (Some(journal), Some(local)) = (&start.journal, source.facts()) else { return };
        let replaced = match start.offset {
            0 => start.replaced,
            // The journal of the run that began at byte 0 knows it.
            _ => journal.read().map_or(0, |sent| sent.replaced),
        };
        if let Err(error) = journal.write(&Sent { local, most, replaced }) {
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
        let is_there = match split(self.place.path()).0 {
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

/// The command that begins an upload.
struct Begin<'a> {
    mode: UploadMode,
    offset: u64,
    /// The argument of the command: the path, or nothing if the server alone chooses the name.
    wished: &'a [u8],
}

fn begin<'c>(client: &'c mut Client, to: &Begin<'_>) -> Result<Upload<'c>, Error> {
    match to.mode {
        UploadMode::Store | UploadMode::Nothing => client.store(to.wished),
        UploadMode::Rest => client.store_from(to.wished, to.offset),
        // APPE, as in curl, because some servers refuse REST before STOR.
        UploadMode::Append => client.append(to.wished),
        UploadMode::Unique => client.store_unique(to.wished),
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
