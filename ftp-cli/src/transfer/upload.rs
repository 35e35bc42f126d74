//! Uploads one file. The upload fails unless the server confirms it.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use ftp_client::{
    Checksum, Client, Entered, Error, Place, Provenance, Report, Upload, Uploaded, Watch,
};
use ftp_proto::{Pathname, ReplyCode, RepresentationType, Severity, TimeVal, Verb};

use super::context::{Attempt, Context, Done, RemoteFile};
use super::give;
use super::options::Verify;
use super::skip::skipped;
use super::source::Source;
use super::verify::{self, Verified};
use crate::console::progress::Meter;
use crate::display::shown;
use crate::exit::{Exit, Failure};

/// Uploads a file. If the attempt must start from byte 0, does not resume an earlier upload.
///
/// # Errors
///
/// Returns `Local` if the local file cannot be read, and `Unsupported` if the server lacks what an
/// option needs. Also returns the failures of the transfer and of its verification.
pub(crate) fn upload(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    source: &mut Source<'_>,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    if let Some(done) = skipped(context, client, remote, source, attempt)? {
        return Ok(done);
    }
    match &context.settings.temporary {
        Some(name) => give::upload_under(name, context, client, remote, source, attempt),
        None => upload_plain(context, client, remote, source, attempt),
    }
}

/// Uploads a file under the current name of `remote`, even if the server already has that file.
///
/// # Errors
///
/// Returns the same failures as [`upload`].
pub(super) fn upload_plain(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    source: &mut Source<'_>,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let (found, made_directories, no_restart) = (None, false, false);
    Uploading { context, client, remote, attempt, found, made_directories, no_restart }.run(source)
}

struct Uploading<'a, 'r> {
    context: &'a Context<'a>,
    client: &'a mut Client,
    remote: &'a mut RemoteFile<'r>,
    attempt: Attempt<'a>,
    /// Modification time of the server's file before it was resumed, if known.
    found: Option<TimeVal>,
    made_directories: bool,
    /// Whether the server refuses every resume.
    no_restart: bool,
}

/// Command for the upload.
#[derive(Clone, Copy, Eq, PartialEq)]
enum UploadMode {
    Store,
    /// `REST` and `STOR` at the end of the server's file, without data, so that the server gives
    /// the file its final name.
    Rest,
    Append,
    Unique,
}

/// Start of an upload.
struct Start {
    way: UploadMode,
    offset: u64,
    /// Size of the server's file before the upload, if it matters for the final size.
    before: u64,
    /// Whether the server has the complete file under its final name.
    is_there: bool,
}

impl Uploading<'_, '_> {
    fn run(&mut self, source: &mut Source<'_>) -> Result<Done, Failure> {
        let settings = self.context.settings;
        self.client.set_representation(self.remote.representation);
        let metadata = match source {
            Source::File(file) => Some(file.metadata().map_err(|error| local(&error))?),
            Source::Stream(_) => None,
        };
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let regular = metadata.filter(Metadata::is_file);
        let length = regular.as_ref().map(Metadata::len);
        let mut checksum = match settings.verify {
            Verify::Hash => Some(verify::checksum(self.client)?),
            _ => None,
        };
        let start = self.start(regular.as_ref())?;
        if start.is_there && !self.is_whole(source)? {
            self.attempt.past.is_refuted.set(true);
            let why = "the server's file may be another one: uploading from the start";
            return self.run_from_start(source, why);
        }
        if let Source::File(file) = source
            && length.is_some()
        {
            let mut file: &File = file;
            file.seek(SeekFrom::Start(start.offset)).map_err(|error| local(&error))?;
        }
        let streamed = match source {
            Source::File(_) if length.is_some() => None,
            _ => checksum.as_mut(),
        };
        let done = if start.is_there {
            Done::moved(0, Duration::ZERO)
        } else {
            let report = match self.send(source, start.way, start.offset, length, streamed) {
                Err(_) if std::mem::take(&mut self.no_restart) => {
                    let why = "the server cannot resume: uploading from the start";
                    return self.run_from_start(source, why);
                }
                sent => sent?,
            };
            if !self.is_proven(source, start.offset, report.sent_at)? {
                return self.upload_again(source);
            }
            let unique = report.unique_name.map(Pathname::into_bytes);
            Done { unique, ..Done::moved(report.bytes, report.duration) }
        };
        if let (Source::File(file), Some(then)) = (&source, &regular) {
            let sent = start.offset + done.bytes;
            if let Some(checksum) = &mut checksum {
                // The digest is not computed during the transfer, because the kernel sends the file
                // directly.
                checksum.update_from(file, sent).map_err(|error| local(&error))?;
            }
            self.check_unchanged(file, then, sent)?;
        }
        let done = Done { resumed: start.offset, ..done };
        let size = start.before + done.bytes;
        if start.way == UploadMode::Rest && !start.is_there {
            // Some servers accept REST, but truncate the file; others start a new one. The size is
            // checked even with `--verify none`, because the server had all bytes before this step.
            let path = self.remote.place.path();
            verify::check_size(self.client, path, size, Verify::BestEffort)?;
        }
        let finished = self.finish(done, size, checksum, modified);
        finished.map_err(|failure| if settings.append { failure.never_retried() } else { failure })
    }

    /// Returns the offset and command for a file; `regular` is the metadata of a regular file.
    fn start(&mut self, regular: Option<&Metadata>) -> Result<Start, Failure> {
        let settings = self.context.settings;
        let (offset, modified) = match (settings.resume, regular) {
            (true, None) => {
                return Err(Failure::item(Exit::Usage, "--continue needs a regular file"));
            }
            (true, Some(_)) if self.attempt.from_start => (0, None),
            (true, Some(here)) => self.offset(here)?,
            _ => (0, None),
        };
        self.found = modified;
        // A server may report the size of an interrupted upload that it still hides. Such a file
        // gets its name only when another upload completes it.
        let has_all = offset > 0 && regular.map(Metadata::len) == Some(offset);
        let is_there =
            has_all && (modified.is_some() || self.client.exists(self.remote.place.path())?);
        let way = match () {
            () if settings.unique => UploadMode::Unique,
            () if has_all => UploadMode::Rest,
            // APPE, as in curl, because some servers refuse REST before STOR.
            () if settings.append || offset > 0 => UploadMode::Append,
            () => UploadMode::Store,
        };
        // With --append, the final size can be verified only if the earlier size is known.
        let before = match way {
            UploadMode::Append if settings.append && settings.verify == Verify::Size => {
                self.client.size(self.remote.place.path())?.unwrap_or(0)
            }
            _ => offset,
        };
        Ok(Start { way, offset, before, is_there })
    }

    /// Returns whether an upload that was resumed at `offset` has only bytes of the local file.
    /// Otherwise, no later attempt resumes it.
    fn is_proven(
        &mut self,
        source: &Source<'_>,
        offset: u64,
        sent_at: SystemTime,
    ) -> Result<bool, Failure> {
        let past = self.attempt.past;
        match source {
            Source::File(file) if self.context.settings.verify != Verify::None && offset > 0 => {
                let path = self.remote.place.path();
                past.is_refuted.set(true);
                let is_proven =
                    past.provenance.get().is_proven(self.client, path, file, sent_at)?;
                if is_proven {
                    past.is_refuted.set(false);
                    past.provenance.set(Provenance::Own);
                }
                Ok(is_proven)
            }
            _ => Ok(true),
        }
    }

    /// Returns whether the server's file, which is as long as the local one, is the same.
    fn is_whole(&mut self, source: &Source<'_>) -> Result<bool, Failure> {
        match source {
            Source::File(file) if self.context.settings.verify != Verify::None => {
                let (path, provenance) = (self.remote.place.path(), &self.attempt.past.provenance);
                Ok(provenance.get().is_whole(self.client, path, file, self.found)?)
            }
            _ => Ok(true),
        }
    }

    /// Replaces a file that this run has resumed, although it may have come from another file.
    fn upload_again(&mut self, source: &mut Source<'_>) -> Result<Done, Failure> {
        let why = "the server's partial file may be from another file: uploading from the start \
                   (--verify none accepts it)";
        // Some servers never overwrite a file. If the server refuses to delete it, an upload may
        // still replace it.
        match self.client.delete(self.remote.place.path()) {
            Ok(()) | Err(Error::Refused(..)) => {}
            Err(error) => return Err(error.into()),
        }
        self.run_from_start(source, why)
    }

    fn run_from_start(&mut self, source: &mut Source<'_>, why: &str) -> Result<Done, Failure> {
        self.context.note(why);
        self.attempt.from_start = true;
        self.run(source)
    }

    /// Verifies that a local file has not changed since its upload started, and that the file ends
    /// at byte `sent`, where the upload ended.
    fn check_unchanged(&self, file: &File, then: &Metadata, sent: u64) -> Result<(), Failure> {
        let settings = self.context.settings;
        if settings.verify == Verify::None {
            return Ok(());
        }
        let now = file.metadata().map_err(|error| local(&error))?;
        let is_image = self.remote.representation == RepresentationType::Image;
        if (!is_image || then.len() == sent) && is_unchanged(then, &now) {
            return Ok(());
        }
        let message = "changed during the upload; use --verify none to accept that";
        let failure = Failure::item(Exit::Integrity, message);
        Err(if settings.append { failure.never_retried() } else { failure })
    }

    /// Returns the offset to resume at: the size of the server's file, or 0 if that file cannot be
    /// the beginning of the local file. Also returns the time of the server's file, if known.
    fn offset(&mut self, here: &Metadata) -> Result<(u64, Option<TimeVal>), Failure> {
        let past = self.attempt.past;
        match Uploaded::ask(self.client, self.remote.place.path(), here)? {
            // The file may still be the one that was refuted. A shorter file is from a later upload
            // of this run.
            Uploaded::Beginning { length, .. }
                if past.is_refuted.get()
                    && (length == here.len() || past.provenance.get() != Provenance::Own) =>
            {
                Ok((0, None))
            }
            Uploaded::Beginning { length, modified } => Ok((length, modified)),
            Uploaded::Longer(there) => {
                let length = here.len();
                let message = format!(
                    "the server's file is longer: {there} bytes instead of {length}; to replace it, \
                     omit --continue"
                );
                Err(Failure::item(Exit::Integrity, message).never_retried())
            }
            Uploaded::Older => {
                let name = self.remote.name;
                // Normal for a nightly upload with the same name.
                self.context.remark(format_args!(
                    "the local file is newer than {name}: uploading from the start"
                ));
                Ok((0, None))
            }
            _ => Ok((0, None)),
        }
    }

    /// Records that this attempt may have left a file of up to `size` bytes on the server. A
    /// temporary name does not count: `--no-clobber` and `--newer` check the final name.
    fn note_sent(&self, size: u64) {
        if self.context.settings.temporary.is_none() {
            let sent = &self.attempt.past.sent;
            sent.set(sent.get().max(Some(size)));
        }
    }

    /// Starts the upload, and runs it to its end. If the server rejects the path as a whole, enters
    /// its directories one by one.
    fn send(
        &mut self,
        source: &mut Source<'_>,
        mut way: UploadMode,
        offset: u64,
        length: Option<u64>,
        mut checksum: Option<&mut Checksum>,
    ) -> Result<Report, Failure> {
        if way == UploadMode::Unique {
            return self.send_unique(source, length, checksum);
        }
        loop {
            let path = self.remote.place.path().to_vec();
            let to = Begin { way, offset, path: &path, wished: &path };
            let error = match self.pump(source, &to, length, checksum.as_deref_mut()) {
                Ok(sent) => return sent,
                Err(error) => error,
            };
            if way == UploadMode::Rest
                && matches!(error, Error::Refused(Verb::Rest | Verb::Stor, _))
            {
                // Appending no bytes does not change an existing file.
                way = UploadMode::Append;
                continue;
            }
            self.no_restart = offset > 0 && error.refuses_restart();
            if self.no_restart {
                return Err(error.into());
            }
            if self.makes_directories(&error)? {
                continue;
            }
            match self.remote.place.enter(self.client, &error)? {
                Entered::There => {}
                Entered::Nowhere if way == UploadMode::Append && offset > 0 => {
                    return Err(not_appended(&error));
                }
                Entered::Nowhere => return Err(error.into()),
                Entered::Partway => return Err(Failure { fatal: true, ..Failure::from(error) }),
            }
        }
    }

    /// Uploads under a name that the server chooses, in the directory of the path. Suggests the
    /// name in the path; if the server refuses the name, suggests none.
    fn send_unique(
        &mut self,
        source: &mut Source<'_>,
        length: Option<u64>,
        mut checksum: Option<&mut Checksum>,
    ) -> Result<Report, Failure> {
        // The server creates the file in the current directory.
        self.remote.place.go(self.client)?;
        let mut path = self.remote.place.path().to_vec();
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            // One part of a URL can contain directories, separated by %2F.
            let name = path.split_off(slash + 1);
            self.client.cwd(path.get(..slash.max(1)).unwrap_or_default())?;
            self.remote.place = Place::at(&name);
            path = name;
        }
        let mut wished = path.as_slice();
        loop {
            let to = Begin { way: UploadMode::Unique, offset: 0, path: &path, wished };
            let error = match self.pump(source, &to, length, checksum.as_deref_mut()) {
                Ok(sent) => return sent,
                Err(error) => error,
            };
            let is_permanent = matches!(&error, Error::Refused(Verb::Stou, reply)
                if reply.code().severity() == Severity::Permanent);
            // Some servers refuse a suggested name.
            if wished.is_empty() || !is_permanent {
                return Err(error.into());
            }
            wished = b"";
        }
    }

    /// Begins an upload, and runs it to its end if the server accepts it.
    ///
    /// # Errors
    ///
    /// Returns the outer error if the upload did not begin, and the inner failure if it began but
    /// failed.
    fn pump(
        &mut self,
        source: &mut Source<'_>,
        to: &Begin<'_>,
        length: Option<u64>,
        checksum: Option<&mut Checksum>,
    ) -> Result<Result<Report, Failure>, Error> {
        // Some servers create the file before the data connection is open.
        self.note_sent(to.offset);
        let upload = begin(self.client, to)?;
        let provenance = &self.attempt.past.provenance;
        provenance.set(provenance.get().after_start(to.offset, self.found));
        let meter = self.context.board.begin(to.path, to.offset, length, self.attempt.fields);
        let pump = UploadPump { context: self.context, meter, checksum };
        let (sent, moved) = pump.run(upload, source);
        self.note_sent(to.offset + moved);
        Ok(sent.map_err(|error| self.broken(error, source)))
    }

    /// Returns the failure of a started upload.
    fn broken(&mut self, error: Error, source: &Source<'_>) -> Failure {
        let failure = match error {
            Error::Local(error) => Failure { fatal: !self.client.is_settled(), ..local(&error) },
            error => error.into(),
        };
        let failure = if source.is_spent() { failure.never_retried() } else { failure };
        if self.context.settings.append { added(failure) } else { failure }
    }

    /// If the server refuses the name and `--create-dirs` is set, creates the parent directories,
    /// but only once. Ignores a refusal to create a directory, because the directory may already
    /// exist. Returns whether any was created.
    fn makes_directories(&mut self, error: &Error) -> Result<bool, Failure> {
        let is_about_the_name = matches!(error, Error::Refused(_, reply)
            if [ReplyCode::FILE_UNAVAILABLE, ReplyCode::NAME_NOT_ALLOWED].contains(&reply.code()));
        let creates = self.context.settings.create_directories && is_about_the_name;
        if !creates || std::mem::replace(&mut self.made_directories, true) {
            return Ok(false);
        }
        let path = self.remote.place.path().to_vec();
        let mut made = false;
        for (at, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
            match self.client.mkdir(path.get(..at).unwrap_or_default()) {
                Ok(_) => made = true,
                Err(Error::Refused(..)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(made)
    }

    /// Finishes and verifies the upload after the last byte. `size` is the expected size on the
    /// server.
    fn finish(
        &mut self,
        mut done: Done,
        size: u64,
        checksum: Option<Checksum>,
        modified: Option<SystemTime>,
    ) -> Result<Done, Failure> {
        let settings = self.context.settings;
        let path = match (settings.unique, &done.unique) {
            (false, _) => self.remote.place.path().to_vec(),
            (true, Some(name)) => name.clone(),
            (true, None) if matches!(settings.verify, Verify::Size | Verify::Hash) => {
                let message = "--verify: the server does not report the name that it chose";
                return Err(Failure::item(Exit::Unsupported, message));
            }
            (true, None) => return Ok(done),
        };
        let is_image = self.remote.representation == RepresentationType::Image;
        // With --append, the earlier size is known only if --verify size requested it.
        if is_image && (!settings.append || settings.verify == Verify::Size) {
            done.verified = verify::check_size(self.client, &path, size, settings.verify)?;
        }
        if let Some(checksum) = checksum {
            verify::compare_digest(self.client, &path, &checksum.finish())?;
            done.verified = Verified::Hash;
        }
        self.check_name(&path)?;
        if settings.preserve {
            self.preserve(&path, modified)?;
        }
        Ok(done)
    }

    /// Verifies that the server kept a name that is not UTF-8. Some servers replace invalid bytes
    /// by U+FFFD, but report the size of that file for the original name.
    fn check_name(&mut self, path: &[u8]) -> Result<(), Failure> {
        let is_asked = self.context.settings.verify != Verify::None;
        if !is_asked || std::str::from_utf8(path).is_ok() || !self.client.features()?.has("MLST") {
            return Ok(());
        }
        let Ok(Some(entry)) = self.client.stat(path) else { return Ok(()) };
        // Not every server doubles 0xFF, so two such bytes may have become one.
        let last = |path: &[u8]| {
            let mut name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path).to_vec();
            name.dedup_by(|byte, before| (*byte, *before) == (0xff, 0xff));
            name
        };
        if last(&entry.name) == last(path) {
            return Ok(());
        }
        let message = format!(
            "the server changes names that are not UTF-8: it stored {}",
            shown(&entry.name)
        );
        Err(Failure::item(Exit::Integrity, message).never_retried())
    }

    /// `--preserve`: sets the modification time of the server's file to that of the local file.
    fn preserve(&mut self, path: &[u8], modified: Option<SystemTime>) -> Result<(), Failure> {
        let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let seconds = since.and_then(|since| i64::try_from(since.as_secs()).ok());
        let Some(time) = seconds.and_then(TimeVal::from_unix_seconds) else {
            let message = "--preserve: FTP cannot represent the local file's modification time";
            return Err(Failure::item(Exit::Local, message));
        };
        match self.client.set_modified(path, time) {
            Ok(_) => Ok(()),
            Err(Error::Refused(verb, reply)) if reply.code().severity() == Severity::Permanent => {
                let message = format!(
                    "--preserve: uploaded, but the time could not be set: {verb} refused: {reply}"
                );
                let mut failure = Failure::item(Exit::Unsupported, message);
                failure.code = Some(reply.code().value());
                Err(failure)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Adds a note about `--append` and rules out a retry: the server may already have appended some or
/// all bytes, and would append them again.
fn added(mut failure: Failure) -> Failure {
    failure.message.push_str("; the number of appended bytes is unknown");
    failure.never_retried()
}

/// Returns the failure of a resumed upload that did not begin. If the server refuses to append for
/// good, adds a hint: every later run with `--continue` would find the same partial file.
fn not_appended(error: &Error) -> Failure {
    let mut failure = Failure::from(error);
    if let Error::Refused(Verb::Appe, reply) = error
        && reply.code().severity() == Severity::Permanent
        && reply.code() != ReplyCode::OVER_QUOTA
    {
        failure.message.push_str(
            "; resuming needs the right to append to the server's file: without -c, the upload \
             starts from the beginning",
        );
    }
    failure
}

/// The command that begins an upload.
struct Begin<'a> {
    way: UploadMode,
    offset: u64,
    /// Path of the file, for the progress display.
    path: &'a [u8],
    /// The argument of the command: the path, or nothing if the server alone chooses the name.
    wished: &'a [u8],
}

fn begin<'a>(client: &'a mut Client, to: &Begin<'_>) -> Result<Upload<'a>, Error> {
    match to.way {
        UploadMode::Store => client.store(to.wished),
        UploadMode::Rest => client.store_from(to.wished, to.offset),
        UploadMode::Append => client.append(to.wished),
        UploadMode::Unique => client.store_unique(to.wished),
    }
}

/// The transfer of the bytes.
struct UploadPump<'a> {
    context: &'a Context<'a>,
    meter: Meter<'a>,
    /// The checksum to update during the transfer, if the source cannot be read twice.
    checksum: Option<&'a mut Checksum>,
}

impl UploadPump<'_> {
    /// Runs the upload to its end. Also returns the number of bytes that were sent.
    fn run(mut self, upload: Upload<'_>, source: &mut Source<'_>) -> (Result<Report, Error>, u64) {
        let Context { board, settings, .. } = self.context;
        let is_seen = self.checksum.is_some() || !board.is_hidden();
        let mut meter = |piece: &[u8]| {
            if let Some(checksum) = &mut self.checksum {
                checksum.update(piece);
            }
            self.meter.add(piece.len() as u64);
        };
        let mut watch = Watch::new().rate_limit(settings.rate_limit.clone());
        if is_seen {
            watch = watch.meter(&mut meter);
        }
        let sent = match source {
            Source::File(file) => upload.copy_from_watched(*file, &mut watch),
            Source::Stream(stream) => upload.copy_from_watched(stream, &mut watch),
        };
        (sent, watch.moved())
    }
}

/// Returns whether a file is unchanged since `before`, by size and time.
pub(crate) fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    let version = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
    version(before) == version(now)
}

pub(crate) fn local(error: &io::Error) -> Failure {
    Failure::item(Exit::Local, error.to_string())
}
