//! `Put`: uploads one local file or stream, with memory across attempts.
//!
//! An attempt decides from evidence where the upload begins, before it sends a byte; sends; then
//! verifies the result and gives it its name. Another attempt, also over another connection,
//! resumes only bytes that this job sent, or that a journal or a digest proves.

mod give;
mod sending;
mod start;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use ftp_proto::TimeVal;

use super::evidence::{OldFile, Resume};
use super::journal::{BeforeRename, ConfirmedFile, LocalFacts, Stored, unprove, written};
use super::moving::MovedName;
use super::options::{Existing, FileOptions};
use super::partial::named;
use super::targets::{NameTurn, Targets};
use super::{Done, TemporaryName};
use crate::age;
use crate::client::Client;
use crate::error::{Error, ErrorKind, JobFault};
use crate::event::{Event, Observer, Why};
use crate::system::OsStrExt;
use crate::url_path::Place;

pub(crate) enum LocalSource<'a> {
    /// The file at this path. Each attempt opens it.
    Path(&'a Path),
    /// An open file, and its path for journals and messages.
    File(&'a File, &'a Path),
    /// A stream, which can be read only once.
    Stream(&'a mut dyn Read),
}

/// How the server stores an upload.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreAs {
    /// Under its final name, replacing an existing file (`STOR`).
    #[default]
    Final,
    /// Under a temporary name, and renamed once it is complete and verified. Replaces an existing
    /// file.
    Under(TemporaryName),
    /// At the end of an existing file (`APPE`). Such an upload is never repeated.
    Append,
    /// Under a new name that the server chooses (`STOU`). Such an upload is never repeated.
    Unique,
}

impl From<Option<TemporaryName>> for StoreAs {
    fn from(name: Option<TemporaryName>) -> Self {
        name.map_or(Self::Final, Self::Under)
    }
}

/// The upload of one file: a job that can be attempted several times.
///
/// ```no_run
/// use ftp_client::file::{StoreAs, TemporaryName};
/// use ftp_client::{Client, FileOptions, Place, Put};
///
/// let options = FileOptions::new();
/// let mut client = Client::builder().connect("ftp.example.org")?;
/// client.login("me", "secret")?;
/// let mut job = Put::from_path("a.bin", Place::at("in/a.bin"), &options)
///     .store_as(StoreAs::Under(TemporaryName::standard()));
/// let done = job.attempt(&mut client, &())?;
/// println!("{} bytes", done.bytes);
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[must_use = "nothing happens until attempt is called"]
pub struct Put<'a> {
    from: LocalSource<'a>,
    job: Job<'a>,
}

struct Job<'a> {
    origin: Place,
    /// The place on the connection of the last attempt.
    place: Place,
    store: StoreAs,
    options: &'a FileOptions,
    is_resumable: bool,
    /// Whether the server's file is known to be another one than the source.
    is_apart: bool,
    /// Whether the upload must be proved to have replaced a file of the same size.
    proves_new: bool,
    /// What was known of the file that was replaced, and the size that the server tells now, which the
    /// caller compares.
    replaced: Option<(OldFile, Option<u64>)>,
    /// The facts of the last upload that the server reported right after its confirmation.
    confirmed: ConfirmedFile,
    following: Option<Following>,
    /// What identifies the journal of a move, if the session does not.
    name: Option<MovedName>,
    targets: Option<&'a Targets>,
    before_rename: Option<&'a mut BeforeRename<'a>>,
    /// Whether the final name is looked at after the rename.
    looks: bool,
    past: PutPast,
}

#[derive(Default)]
pub(crate) struct PutPast {
    /// The position after the last byte that was sent; `None` if the attempts cannot have left a
    /// file under the name that they wrote to.
    sent: Option<u64>,
    /// Whether the server began to receive the last attempt (150).
    was_begun: bool,
    /// The local file whose bytes were sent.
    local: Option<LocalFacts>,
    /// The size that the server's file had when an attempt last began at byte 0.
    replaced: Option<u64>,
    /// Whether an attempt extended the server's file (`APPE`).
    extended: bool,
    /// Whether the server's bytes may be wrong, so that only byte 0 is left.
    from_start: bool,
    /// How often in a row the last bytes before the resume point were lost on the way.
    lost_ends: u8,
    /// Whether the question for a digest cost the connection.
    has_no_digest: bool,
    /// A name of the same run that the server may take for the same file.
    perhaps_same: Option<Vec<u8>>,
    made_directories: bool,
    left_directory: bool,
    /// How often the file was sent again because it changed meanwhile.
    changes: u8,
    is_final: bool,
    stored: Option<Stored>,
    /// Whether this job writes under a private temporary name and leaves the shared part alone.
    leaves_part: bool,
    /// The temporary name in place of one that a command without a reply may still change.
    under: Option<TemporaryName>,
}

/// Most resends of a file that changed during its upload, if neither time nor size would make the next
/// run resend it.
const CHANGES: u8 = 2;

enum OpenedSource<'s> {
    Regular {
        file: &'s File,
        path: &'s Path,
        facts: LocalFacts,
    },
    /// A pipe or a device.
    Pipe {
        file: &'s File,
        path: &'s Path,
    },
    Stream(&'s mut dyn Read),
}

impl<'s> OpenedSource<'s> {
    fn of(file: &'s File, path: &'s Path, options: &FileOptions) -> Result<Self, Error> {
        let metadata = match options.moves || options.preserve {
            true => written(file, options.moves),
            false => file.metadata(),
        };
        let metadata = metadata.map_err(|error| Error::local(named(path, &error)))?;
        Ok(match metadata.is_file() {
            true => Self::Regular { file, path, facts: LocalFacts::of(&metadata) },
            false => Self::Pipe { file, path },
        })
    }

    const fn facts(&self) -> Option<LocalFacts> {
        match self {
            Self::Regular { facts, .. } => Some(*facts),
            _ => None,
        }
    }

    fn name(&self) -> &'s [u8] {
        match self {
            Self::Regular { path, .. } | Self::Pipe { path, .. } => path.as_os_str().as_bytes(),
            Self::Stream(_) => b"-",
        }
    }
}

pub(crate) struct Following {
    /// The path of the next upload, if it can begin at once
    /// ([`Upload::plan_next`](crate::Upload::plan_next)).
    pub(crate) path: Option<Vec<u8>>,
    /// The path and the time of an earlier upload, whose time the caller sets after this one
    /// ([`Upload::plan_time`](crate::Upload::plan_time)).
    pub(crate) due: Option<(Vec<u8>, TimeVal)>,
    /// The modification time that the caller sets before the next upload.
    pub(crate) time: Option<TimeVal>,
}

impl fmt::Debug for LocalSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::File(_, path) => path.fmt(f),
            Self::Stream(_) => f.write_str("stream"),
        }
    }
}

ftp_proto::debug_fields!(Put<'_> { from, job: job.place } ..);

impl<'a> Put<'a> {
    /// Returns the upload of the file at `path` to `to`. Each attempt opens it.
    pub fn from_path(
        path: &'a (impl AsRef<Path> + ?Sized),
        to: Place,
        options: &'a FileOptions,
    ) -> Self {
        Self::new(LocalSource::Path(path.as_ref()), to, options)
    }

    /// Returns the upload of an open file to `to`; `path` is its path for journals and messages.
    pub fn from_file(
        file: &'a File,
        path: &'a (impl AsRef<Path> + ?Sized),
        to: Place,
        options: &'a FileOptions,
    ) -> Self {
        Self::new(LocalSource::File(file, path.as_ref()), to, options)
    }

    /// Returns the upload of a stream, which can be read only once, to `to`.
    pub fn from_reader(from: &'a mut dyn Read, to: Place, options: &'a FileOptions) -> Self {
        Self::new(LocalSource::Stream(from), to, options)
    }

    pub(crate) fn new(from: LocalSource<'a>, to: Place, options: &'a FileOptions) -> Self {
        let job = Job {
            origin: to.clone(),
            place: to,
            store: StoreAs::default(),
            options,
            is_resumable: false,
            is_apart: false,
            proves_new: false,
            replaced: None,
            confirmed: ConfirmedFile::default(),
            following: None,
            name: None,
            targets: None,
            before_rename: None,
            looks: false,
            past: PutPast::default(),
        };
        Self { from, job }
    }

    /// Sets the name and the user of the server's file, which identify the journal of an interrupted
    /// [move](FileOptions::moves), beside the path of the local file. `name` must also identify the
    /// server (default: the server, user and path of the session).
    pub fn known_as(mut self, name: impl Into<String>, user: impl Into<Vec<u8>>) -> Self {
        self.job.name = Some(MovedName { name: name.into(), user: user.into() });
        self
    }

    /// Sets how the server stores the upload (default: [`StoreAs::Final`]).
    pub fn store_as(mut self, store: impl Into<StoreAs>) -> Self {
        self.job.store = store.into();
        self
    }

    setters! {
        /// Sets the targets of the run, so that this upload replaces none that the server takes for the
        /// same file. The sources of several [moves](FileOptions::moves) to one directory then stay
        /// until [`Targets::finish`].
        among(targets: &'a Targets) => job.targets = Some(targets);
        /// Sets whether a later attempt may resume the bytes of this one (default: only with a
        /// [resume](FileOptions::resume) other than [`Own`](super::evidence::Resume::Own)). Each
        /// attempt then begins with a question for the size of the server's file.
        resumable(on: bool) => job.is_resumable = on;
    }

    /// Sets whether the server's file is known not to be the source itself.
    pub(crate) const fn apart(mut self, on: bool) -> Self {
        self.job.is_apart = on;
        self
    }

    /// Sets whether a file of the same size that the upload replaces must be proved to be the new
    /// one, because the caller removes the source.
    pub(crate) const fn proves_new(mut self, on: bool) -> Self {
        self.job.proves_new = on;
        self
    }

    /// Sets what follows this upload over the same connection, so that its commands can go ahead.
    pub(crate) fn following(mut self, following: Option<Following>) -> Self {
        self.job.following = following;
        self
    }

    /// Sets what earlier attempts of another job for the same upload did.
    pub(crate) fn after(mut self, past: PutPast) -> Self {
        self.job.past = past;
        self
    }

    /// Returns what was known of the file that the last attempt replaced, and the size that the server
    /// tells now, if the caller wanted a proof that it is the new one: the caller compares them, perhaps
    /// on another connection.
    pub(crate) fn take_replaced(&mut self) -> Option<(OldFile, Option<u64>)> {
        self.job.replaced.take()
    }

    pub(crate) const fn sent_facts(&self) -> Option<LocalFacts> {
        self.job.past.local
    }

    pub(crate) fn into_past(self) -> PutPast {
        self.job.past
    }

    /// Sets the place on the connection of the next attempt.
    pub fn set_place(&mut self, place: Place) {
        self.job.origin = place.clone();
        self.job.place = place;
    }

    /// Returns the place on the connection of the last attempt.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.job.place
    }

    /// Returns whether no further attempt can succeed: bytes of the source were consumed and cannot
    /// be read again, the server may have stored or appended them already, or it may still carry out an
    /// upload command that got no reply.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.job.past.is_final
    }

    /// Returns whether the upload is complete and only lacks its final name, which the next attempt
    /// gives it.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        self.job.past.stored.is_some()
    }

    /// Sets what is called with the temporary path once the upload is complete under its temporary
    /// name, before its rename. A move has its own notes instead. If that `moves` the old file away, the
    /// final name is looked at after the rename: that it was free before proves nothing.
    pub(crate) fn before_rename(mut self, note: &'a mut BeforeRename<'a>, moves: bool) -> Self {
        (self.job.before_rename, self.job.looks) = (Some(note), moves);
        self
    }

    /// Returns whether the last attempt left the session in another directory than the place needs,
    /// so that the connection is of no use for relative paths.
    #[must_use]
    pub const fn left_directory(&self) -> bool {
        self.job.past.left_directory
    }

    /// Makes the copy of a source that changed meanwhile older, if the next run compares. Returns whether
    /// the file is sent again because neither its time nor its size would show the change.
    fn sends_again(&mut self, client: &mut Client) -> Result<bool, Error> {
        let Job { options, store, past, place, before_rename, .. } = &mut self.job;
        let compares =
            matches!(options.existing, Existing::ReplaceOlder | Existing::ReplaceDifferent);
        let is_compared = compares || options.preserve || before_rename.is_some();
        let sent = past.local.filter(|_| is_compared && *store == StoreAs::Final);
        let Some(sent) = sent else { return Ok(false) };
        let now = match self.from {
            LocalSource::Path(path) => path.metadata(),
            LocalSource::File(file, _) => file.metadata(),
            LocalSource::Stream(_) => return Ok(false),
        };
        let is_seen = unprove(client, place.path(), sent.modified_seconds())
            || options.existing != Existing::ReplaceOlder
                && now.is_ok_and(|now| now.len() != sent.size);
        if is_seen || past.changes >= CHANGES {
            return Ok(false);
        }
        past.changes += 1;
        client.control.waiter().sleep(age::TICK)?;
        Ok(true)
    }

    /// Uploads the file, or what is missing of it.
    ///
    /// A later call, also with another client that is logged in as the same user, is another
    /// attempt. After [`is_final`](Self::is_final), each further call fails.
    ///
    /// # Errors
    ///
    /// - The errors of [`Client::store`] and [`Upload::finish`](crate::Upload::finish).
    /// - [`Error::Uncertain`] if the upload command got no reply, and another attempt would use the same name.
    /// - [`Error::Local`] if the source cannot be read.
    /// - [`Error::Incomplete`] if the server then reports another size, and [`Error::Mismatch`] if
    ///   it computes another digest.
    /// - [`Error::Unsupported`] if the server lacks what the [verification](FileOptions::verify)
    ///   needs.
    /// - [`Error::Job`] for the other failures of a whole upload, or of a [move](FileOptions::moves).
    pub fn attempt(&mut self, client: &mut Client, on: &dyn Observer) -> Result<Done, Error> {
        loop {
            match self.job.run(&mut self.from, client, on) {
                Err(Error::Job(JobFault::LocalChanged)) if self.sends_again(client)? => {}
                done => return done,
            }
        }
    }
}

impl Client {
    /// Uploads the local file `source` to `path`, replacing an existing file. [`Put`] has more
    /// choices, and can be attempted again.
    ///
    /// The upload succeeds if the server has confirmed it and the local file did not change
    /// meanwhile. The server's size, if known, must equal that of the local file.
    ///
    /// With [`resume`](FileOptions::resume), the upload continues after the bytes that the server
    /// has, if a journal of an earlier run or a digest proves that they came from the local file.
    /// Otherwise, and if the server cannot append, it starts at byte 0.
    ///
    /// ```no_run
    /// use ftp_client::FileOptions;
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// client.upload_from("a.bin", "incoming/a.bin", &FileOptions::new(), &())?;
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Put::attempt`].
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: &FileOptions,
        on: &dyn Observer,
    ) -> Result<Done, Error> {
        let source = LocalSource::Path(source.as_ref());
        Put::new(source, Place::at(path), options).attempt(self, on)
    }
}

impl<'a> Job<'a> {
    /// Waits for the turn of the target, if the run has several. The upload must not replace another
    /// one of the run.
    fn take_turn(&mut self, client: &mut Client) -> Result<Option<NameTurn<'a>>, Error> {
        let targets = self.targets.filter(|_| self.store != StoreAs::Unique);
        let mut turn = targets.and_then(|targets| targets.turn(&self.origin));
        // What this job has sent before would be found under both names.
        if let Some(turn) = &mut turn
            && self.past.sent.is_none()
            && self.past.stored.is_none()
        {
            self.past.perhaps_same = turn.check(client, &self.place, self.options.moves)?;
        }
        Ok(turn)
    }

    fn temporary(&self, own: &[u8]) -> Option<Vec<u8>> {
        let temporary = self.temporary_name()?;
        // What this run sends, a later one must find.
        let lasting = self.past.local.filter(|_| !self.has_own_name());
        Some(match lasting {
            Some(facts) => temporary.lasting(own, facts.key()),
            None => temporary.of(own),
        })
    }

    fn temporary_name(&self) -> Option<&TemporaryName> {
        let StoreAs::Under(temporary) = &self.store else { return None };
        Some(self.past.under.as_ref().unwrap_or(temporary))
    }

    /// Takes another temporary name at random, which no late command has. Returns whether the names of this
    /// job are such ones.
    fn takes_new_name(&mut self) -> bool {
        let is_own = self.temporary_name().is_some_and(TemporaryName::is_own);
        if is_own {
            self.past.under = Some(TemporaryName::standard());
            self.past.leaves_part = true;
            (self.past.sent, self.past.replaced, self.past.extended) = (None, None, false);
        }
        is_own
    }

    /// Forgets the complete upload. A late `RNTO` must not meet what is sent next.
    fn forget_stored(&mut self) {
        if self.past.stored.take().is_some_and(|stored| stored.is_tried) {
            self.takes_new_name();
        }
    }

    /// Returns whether only this job knows the temporary name.
    fn has_own_name(&self) -> bool {
        let is_own = matches!(&self.store, StoreAs::Under(temporary) if temporary.is_own());
        is_own && (self.options.resume == Resume::Own || self.past.leaves_part)
    }

    /// After the server has refused an upload, removes what it keeps of it under a name that no other run
    /// knows: a full disk would stay full.
    fn remove_refused(&self, client: &mut Client, error: &Error) {
        let is_over = !self.is_resumable || !error.is_not_now();
        if matches!(error, Error::Refused { .. }) && self.has_own_name() && is_over {
            // A refusal to remove it says less than the error.
            let _ = client.delete(self.place.path());
        }
    }

    /// Notes the target of a complete upload.
    fn end_turn(&mut self, turn: Option<NameTurn<'_>>, done: Done) -> Result<Done, Error> {
        let Some(mut turn) = turn else { return Ok(done) };
        turn.note(&self.origin);
        match self.past.perhaps_same.take() {
            Some(other) => Err(Error::Job(JobFault::PerhapsSameName(other))),
            None => Ok(done),
        }
    }

    /// Attempts the upload: takes the turn of the target, decides whether to upload, uploads, if
    /// necessary under a temporary name, and publishes. A move then removes the source.
    fn run(
        &mut self,
        from: &mut LocalSource<'_>,
        client: &mut Client,
        on: &dyn Observer,
    ) -> Result<Done, Error> {
        if self.past.is_final {
            return Err(Error::Job(JobFault::Spent));
        }
        if !client.has_moved() {
            self.place = self.origin.clone();
        }
        let opened;
        let mut source = match from {
            LocalSource::Path(path) => {
                opened = File::open(&**path).map_err(|error| Error::local(named(path, &error)))?;
                OpenedSource::of(&opened, path, self.options)?
            }
            LocalSource::File(file, path) => OpenedSource::of(file, path, self.options)?,
            LocalSource::Stream(stream) => OpenedSource::Stream(*stream),
        };
        self.past.left_directory = false;
        let turn = self.take_turn(client)?;
        let mut moving = None;
        if self.options.moves {
            match self.begin_move(client, on, &mut source)? {
                ControlFlow::Continue(begun) => moving = Some(begun),
                ControlFlow::Break(done) => return self.end_turn(turn, done),
            }
        }
        client.set_representation(self.options.representation);
        let facts = source.facts();
        if self.past.local != facts {
            // Bytes of another version of the file are of no use.
            self.forget_stored();
            self.past.from_start |= self.past.local.is_some();
            self.past.local = facts;
        }
        if self.past.stored.is_none()
            && let Some(why) = self.skips(client, &source)?
        {
            return self.end_turn(turn, Done::skipped(why));
        }
        let own = self.place.name().to_vec();
        let done = match self.temporary(&own) {
            None => self.upload(client, on, &mut source),
            Some(mut temporary) => loop {
                let is_sent = self.past.stored.is_none();
                self.place.set_name(&temporary);
                if is_sent {
                    match self.upload(client, on, &mut source) {
                        Ok(done) => self.past.stored = Some(Stored::new(done, self.confirmed)),
                        Err(error) => {
                            self.remove_refused(client, &error);
                            break Err(error);
                        }
                    }
                    temporary = self.temporary(&own).unwrap_or(temporary);
                }
                match self.publish(client, (&temporary, &own), &mut moving) {
                    // What an earlier attempt has sent is sent again.
                    Ok(None) if !is_sent && !self.past.is_final => {
                        on.event(Event::FromZero { target: &temporary, why: Why::NoRecord });
                    }
                    done => break done.and_then(|it| it.ok_or(Error::Job(JobFault::NotReplaced))),
                }
            },
        };
        if self.store != StoreAs::Unique {
            self.place.set_name(&own);
        }
        let done = done.inspect_err(|error| {
            self.past.from_start |= error.kind() == ErrorKind::Integrity;
            if error.kind() == ErrorKind::Integrity {
                self.past.stored = None;
            }
        });
        match moving {
            // The source of a file that was not uploaded stays.
            Some(moving) if !matches!(&done, Ok(Done { skipped: Some(_), .. })) => {
                self.end_move(client, moving, done)
            }
            _ => done,
        }
        .and_then(|done| self.end_turn(turn, done))
    }
}
