//! `Relay`: copies one file from server to server, with memory across attempts.
//!
//! An attempt decides from evidence where the copy begins, before a server sends a byte; lets the
//! servers transfer; then verifies the result and gives it its name. Another attempt, also over
//! other connections, resumes only bytes that this job copied, or that digests of both servers
//! prove.

use ftp_proto::{AddressRule, Escaped, Reply, TimeVal, Verb};

use super::evidence::{
    Compared, OldFile, Origin, Resume, compare_digest, is_doubtful, put_back, unless_busy,
};
use super::journal::{BeforeRename, ConfirmedFile, Renaming, Stored, set_time, time_to_preserve};
use super::options::FileOptions;
use super::{Done, TemporaryName};
use crate::client::Client;
use crate::client::absence::Existence;
use crate::digest::Digest;
use crate::error::fxp::{FxpAttempt, Side, has_begun};
use crate::error::job::TreeFault;
use crate::error::{Error, ErrorKind, JobFault, Phase, Recovery, Unsupported, is_final_no};
use crate::event::{Event, Note, Observer, Verify, Why};
use crate::fxp::{self, CopyMemory, CopyStart, FxpReport, Recalling};
use crate::url_path::Place;

/// The copy of one file from server to server (FXP, RFC 959 §5.2), byte for byte: a job that can be
/// attempted several times. The data goes directly from one server to the other.
///
/// ```no_run
/// use ftp_client::file::{Relay, TemporaryName};
/// use ftp_client::{Client, FileOptions, Place, Resume};
///
/// let mut source = Client::builder().connect("one.example.org")?;
/// let mut target = Client::builder().connect("two.example.org")?;
/// source.login("me", "secret")?;
/// target.login("other", "password")?;
/// let options = FileOptions::new().resume(Resume::Proven).preserve(true);
/// let mut job = Relay::new(Place::at("pub/a.iso"), Place::at("in/a.iso"), &options)
///     .under(Some(TemporaryName::standard()));
/// let done = job.attempt(&mut source, &mut target, &())?;
/// println!("{} bytes, {} of them were there", done.size, done.resumed);
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// Most servers refuse such copies by default, since a user could make them send data to third
/// hosts (RFC 2577 §3). The text of [`Error::Fxp`] names the settings that allow copies.
///
/// Under TLS, one server must begin the handshake with the other, which few servers can do (`SSCN`,
/// `CPSV`). With other servers, send the data unencrypted:
/// [`Tls::data_in_clear`](crate::Tls::data_in_clear).
///
/// Of the options, a copy uses these:
///
/// - [`resume`](FileOptions::resume): with [`Proven`](Resume::Proven), the copy begins at the end of
///   the target's file if digests of both servers prove that file to be the beginning of the source's
///   file; otherwise at byte 0. For a partial file, the source must compute the digest of a part of its
///   file (`RANG`, `HASH`). If the digests of both whole files are equal, nothing is copied. Sizes and
///   times prove nothing: files of other content can have the same. With
///   [`Trusted`](Resume::Trusted), it begins at the end of the target's file, whatever that contains,
///   unless it is longer than the source's file or older. If the sizes are equal and `MDTM` or `MLST`
///   shows that the target has the file, nothing is copied.
/// - [`verify`](FileOptions::verify): also with [`Verify::None`], sizes are compared under TLS, because
///   a server may take a broken connection for the end of the file; after a resume, because a server
///   may have ignored `REST`; and if a server sends 226 without 150, because it may have had no data
///   connection.
/// - [`retried`](FileOptions::retried): a later attempt may use what an earlier one did: resume its
///   bytes, and find out whether it renamed the file. Each attempt then begins with questions for the
///   size and time of the source's file and the size of the target's file. Bytes are resumed only if the
///   source reports a time.
/// - [`preserve`](FileOptions::preserve): if the source does not report a time, that is only an
///   [`Event::Note`].
///
/// An existing target is replaced. The type and mode set on the clients have no effect. Over IPv4 the
/// servers get `PASV` and `PORT`; over IPv6, or if a client is set to
/// [`Always`](crate::Extended::Always), `EPSV` and `EPRT`.
///
/// The timeouts of each client apply to the replies of its server. The duration of the data transfer
/// is limited only by the servers and by [`overall`](crate::ClientBuilder::overall). The clients
/// cannot see the data, and do not poll the servers, since many servers cannot handle polling.
///
/// If the target may have a file, the copy has a temporary name until it is complete, so that a failure
/// leaves this file unchanged; except where the copy continues the file, and [in place](Self::in_place).
#[must_use = "nothing happens until attempt is called"]
pub struct Relay<'a> {
    origins: [Place; 2],
    /// The places on the connections of the last attempt.
    from: Place,
    to: Place,
    listed: Option<u64>,
    listener: Option<Side>,
    address: AddressRule,
    in_place: bool,
    options: &'a FileOptions,
    past: RelayPast,
}

/// What the earlier attempts of a copy did.
#[derive(Default)]
pub(crate) struct RelayPast {
    /// The temporary name of the copy.
    under: Option<TemporaryName>,
    /// Whether both servers were asked about their files.
    has_looked: bool,
    /// Whether the copy has a temporary name because the target has a file.
    is_aside: bool,
    memory: CopyMemory,
    /// Whether the target's bytes may be wrong, so that only byte 0 is left.
    from_start: bool,
    is_final: bool,
    report: Option<FxpReport>,
    stored: Option<Stored>,
    /// The name that the target's old file may have in place of its own.
    old: Option<TemporaryName>,
    /// Whether the rename to that name got no reply.
    is_late: bool,
}

impl RelayPast {
    /// Returns whether the target's old file may have a name that only this job knows.
    pub(crate) const fn keeps_old(&self) -> bool {
        self.old.is_some()
    }
}

ftp_proto::debug_fields!(Relay<'_> { from, to } ..);

impl<'a> Relay<'a> {
    /// Returns the copy of the file at `from` on one server to `to` on another, or on the same.
    pub fn new(from: Place, to: Place, options: &'a FileOptions) -> Self {
        Self {
            origins: [from.clone(), to.clone()],
            from,
            to,
            listed: None,
            listener: None,
            address: AddressRule::default(),
            in_place: false,
            options,
            past: RelayPast::default(),
        }
    }

    /// Sets the temporary name of the target until the copy is complete and verified (default: one at
    /// random, if the target may have a file).
    pub fn under(mut self, name: Option<TemporaryName>) -> Self {
        self.past.under = name;
        self
    }

    /// Sets what earlier attempts of another job for the same copy did, also their temporary name.
    pub(crate) fn after(mut self, past: RelayPast) -> Self {
        self.past = past;
        self
    }

    pub(crate) fn into_past(self) -> RelayPast {
        self.past
    }

    /// Sets the size of the source's file in a listing, for [`Event::Begun`].
    pub(crate) const fn listed(mut self, size: Option<u64>) -> Self {
        self.listed = size;
        self
    }

    setters! {
        /// Sets the server that listens for the data connection (default: `None`: the target; if the
        /// servers cannot open a data connection that way, the source).
        ///
        /// If the target listens, the source connects to it (RFC 959 §5.2, figure 3).
        listener(listener: Option<Side>) => listener = listener;
        /// Sets the host to which one server must connect (default: [`Peer`](AddressRule::Peer)): either
        /// the host of the listening server's control connection, or the host in the 227 reply of that
        /// server. With the host in the reply, one server decides where the other one connects.
        address(rule: AddressRule) => address = rule;
        /// Sets whether the copy is written under its own name although the target may have a file, of
        /// which a failure then leaves nothing or a part (default: no). The file must not be the source.
        in_place(on: bool) => in_place = on;
    }

    /// Returns the size of both files in bytes after a copy; `None` if the sizes were not compared or
    /// a server did not report one.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.past.report.as_ref()?.size
    }

    /// Returns the server that listened in the last transfer that both servers confirmed; `None` if
    /// nothing was transferred, because the target already had the whole file.
    #[must_use]
    pub fn listened(&self) -> Option<Side> {
        self.past.report.as_ref()?.listener
    }

    /// Returns the final replies, 2xx, of the source and of the target to that transfer.
    #[must_use]
    pub fn replies(&self) -> Option<&[Reply; 2]> {
        self.past.report.as_ref()?.replies.as_ref()
    }

    /// Returns whether no further attempt can succeed: the reply to a rename was lost, and nothing
    /// shows whether it happened, or the target may still carry out a `STOR` that got no reply.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.past.is_final
    }

    /// Copies the file, or what is missing of it.
    ///
    /// A later call, also with other clients that are logged in as the same users, is another
    /// attempt. After an [integrity](ErrorKind::Integrity) failure it begins at byte 0.
    ///
    /// If no server reports the size of the file, [`Done::size`] and [`Done::bytes`] are 0, and
    /// [`size`](Self::size) returns `None`.
    ///
    /// # Errors
    ///
    /// - [`Error::Fxp`] with the reply of the server that failed if the copy fails. The other server's
    ///   transfer is aborted. Each client remains usable, unless its control connection was in an
    ///   unknown state and therefore closed. After a cancel, this method returns at once; the next call
    ///   on each client, or [`quit`](Client::quit), then aborts the transfer. Some errors can occur even
    ///   after both servers confirmed the transfer: [`Incomplete`](Error::Incomplete) if the sizes
    ///   differ, [`Unchecked`](crate::error::TlsError::Unchecked) if the data was sent under TLS and a
    ///   size is unknown, and [`Unexpected`](Error::Unexpected) if a size is unknown and one server
    ///   reported the end of the transfer without its beginning.
    /// - [`Error::Mismatch`] if the servers compute different digests; `here` is the source's.
    /// - [`Error::Unsupported`] if a server lacks what the [verification](FileOptions::verify)
    ///   needs.
    /// - [`Error::Job`] if source and target are one file, and for failures of the rename or of
    ///   the modification time.
    pub fn attempt(
        &mut self,
        source: &mut Client,
        target: &mut Client,
        on: &dyn Observer,
    ) -> Result<Done, Error> {
        self.attempt_noting(source, target, on, &mut |_, _| Ok(None))
    }

    /// Attempts the copy as [`attempt`](Self::attempt) does, and calls `before_rename` with the
    /// target's client and the temporary path once the copy is complete under its temporary name
    /// and before it gets its final name. `before_rename` returns the time in seconds that it gave the
    /// file, if it tried to.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`attempt`](Self::attempt); [`JobFault::NotRenamed`] with the error
    /// of `before_rename`.
    pub fn attempt_noting(
        &mut self,
        source: &mut Client,
        target: &mut Client,
        on: &dyn Observer,
        before_rename: &mut BeforeRename<'_>,
    ) -> Result<Done, Error> {
        if self.past.is_final {
            return Err(Error::Job(JobFault::Spent));
        }
        let [from, to] = &self.origins;
        if !source.has_moved() {
            self.from = from.clone();
        }
        if !target.has_moved() {
            self.to = to.clone();
        }
        let own = self.to.name().to_vec();
        let done = self.run([source, target], &own, on, before_rename);
        self.to.set_name(&own);
        match &done {
            Err(Error::Job(JobFault::PerhapsRenamed { .. })) => self.past.is_final = true,
            Err(error) if error.kind() == ErrorKind::Integrity => self.start_over(),
            Err(_) => {}
            Ok(done) => on.event(Event::Done {
                source: self.from.path(),
                target: self.to.path(),
                bytes: done.bytes,
                verified: done.verified,
            }),
        }
        done.map_err(|error| match &self.past.old {
            Some(old) => {
                let why = format!("the old file may be {} now", Escaped(&old.of(self.to.path())));
                let fault = TreeFault::from(error).then(&why);
                // Only this job knows the name.
                if self.options.retried { fault.into() } else { fault.never_retried().into() }
            }
            None => error,
        })
    }

    /// Gives the old file its name again that an earlier attempt has taken from it.
    fn put_back(&mut self, target: &mut Client) -> Result<(), Error> {
        let Some(old) = &self.past.old else { return Ok(()) };
        let (to, old) = (self.to.path(), old.of(self.to.path()));
        if self.past.is_late && target.existence(&old)? != Existence::Present {
            // The target may still give that name to what another attempt has stored.
            self.past.is_final = true;
            return Err(Error::Uncertain { verb: Verb::Rnto, reply: None });
        }
        self.past.is_late = false;
        if put_back(target, &old, to)? == Existence::Absent {
            self.past.stored.iter_mut().for_each(|stored| stored.is_tried = false);
        } else if target.existence(old)? != Existence::Absent {
            return Ok(());
        }
        self.past.old = None;
        Ok(())
    }

    fn start_over(&mut self) {
        self.past.from_start = true;
        self.past.stored = None;
        self.past.memory = CopyMemory::default();
    }

    /// Decides whether the copy of `own` has a temporary name, and returns it: what the target has, which
    /// may be the source itself, stays until the copy is complete.
    fn temporary(
        &mut self,
        [source, target]: [&mut Client; 2],
        own: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        if !self.in_place && !self.past.has_looked {
            let (from, to) = (self.from.path(), self.to.path());
            let stored = self.past.under.as_ref().map(|name| name.of(own));
            let clients = [&mut *source, &mut *target];
            fxp::check_apart(clients, [from, to], stored.as_deref())?;
            // Without a size, a resume begins at byte 0 too.
            let begins_at_0 = match self.options.resume {
                _ if self.past.under.is_some() => false,
                Resume::Own => true,
                _ => fxp::answered(target.size(to))?.flatten().is_none(),
            };
            if begins_at_0 {
                // A refused path can be one that must be entered directory by directory.
                let is_clear = !to.contains(&b'/') || target.features()?.has("MLST");
                if !is_clear || target.denies(to)? != Some(true) {
                    self.go_aside();
                }
            }
            self.past.has_looked = true;
        }
        Ok(self.past.under.as_ref().map(|name| name.of(own)))
    }

    /// As for an upload: a target that has not answered `STOR` may carry it out during or after another
    /// attempt, which then needs another name.
    fn unless_late(&mut self, target: &Client, error: Error) -> Error {
        let Some(verb) = target.control.unbegun_upload() else { return error };
        if error.recovery() != Recovery::TryAgain {
            return error;
        }
        if self.past.under.as_ref().is_some_and(TemporaryName::is_own) {
            self.past.under = Some(TemporaryName::standard());
            self.start_over();
            return error;
        }
        self.past.is_final = true;
        let listener = self.listener.unwrap_or(Side::Target);
        let late = Error::Uncertain { verb, reply: None };
        Error::Fxp(vec![FxpAttempt::new(listener, Side::Target, late)])
    }

    /// Copies to a temporary name from now on, from byte 0.
    fn go_aside(&mut self) {
        self.past.under = Some(TemporaryName::standard());
        self.past.is_aside = true;
        self.start_over();
    }

    /// Copies, if necessary under the temporary name of `own`, and publishes.
    fn run(
        &mut self,
        [source, target]: [&mut Client; 2],
        own: &[u8],
        on: &dyn Observer,
        before_rename: &mut BeforeRename<'_>,
    ) -> Result<Done, Error> {
        self.put_back(target)?;
        loop {
            let temporary = self.temporary([&mut *source, &mut *target], own)?;
            let is_sent = self.past.stored.is_none();
            self.to.set_name(temporary.as_deref().unwrap_or(own));
            if is_sent {
                let copied = self.copy([&mut *source, &mut *target], on);
                let copied = copied.map_err(|error| self.unless_late(target, error));
                let copied = copied.inspect_err(|error| {
                    let has_part =
                        matches!(error, Error::Fxp(attempts) if has_begun(attempts, Side::Target));
                    let is_last = !self.options.retried || error.recovery() == Recovery::Impossible;
                    if self.past.is_aside && has_part && is_last {
                        // The error says more than a refusal to remove the part.
                        let _ = target.delete(self.to.path());
                    }
                });
                match (copied?, &temporary) {
                    (Some((done, _)), None) => return Ok(done),
                    (Some((done, confirmed)), Some(_)) => {
                        self.past.stored = Some(Stored::new(done, confirmed));
                    }
                    (None, _) => {
                        self.go_aside();
                        continue;
                    }
                }
            }
            let from = self.to.path().to_vec();
            self.to.set_name(own);
            let is_aside = self.past.is_aside;
            let renaming = Renaming {
                from: &from,
                to: self.to.path(),
                is_own: self.past.under.as_ref().is_some_and(TemporaryName::is_own),
                repeats: self.options.retried,
                looks: true,
                keeps: self.options.resume != Resume::Own || is_aside,
            };
            let mut confirmed =
                self.past.stored.as_ref().map(Stored::confirmed).unwrap_or_default();
            let mut note = |client: &mut Client, path: &[u8]| {
                let given = before_rename(client, path)?;
                confirmed.given = given.or(confirmed.given);
                Ok(given)
            };
            let renamed = match renaming.run(target, &mut self.past.stored, &mut note) {
                Err(error) if is_aside => self.exchange(target, &from, error).map(Some),
                renamed => renamed,
            };
            match renamed? {
                Some(_)
                    if self.past.old.is_some()
                        && !confirmed.is_still(Origin::ask(target, self.to.path())?) =>
                {
                    return Err(Error::Job(JobFault::NotReplaced));
                }
                Some(done) => {
                    self.past.stored = None;
                    let old = self.past.old.take().map(|old| old.of(self.to.path()));
                    // The copy is complete, whether or not the old file goes.
                    if let Some(old) = old
                        && let Err(why) = target.delete(&old)
                    {
                        let note = Note::OldFileStays(&old, &why);
                        on.event(Event::Note { target: self.to.path(), note });
                    }
                    return Ok(done);
                }
                None if is_sent => return Err(Error::Job(JobFault::NotReplaced)),
                // What an earlier attempt has sent is sent again.
                None => self.start_over(),
            }
            on.event(Event::FromZero { target: &from, why: Why::NoRecord });
        }
    }

    /// Gives the complete copy at `from` its name where the server gives none a name that exists: the old
    /// file gets another one first, and its own again if that helps nothing. Otherwise, returns `error`,
    /// without the copy if the server has refused its name.
    fn exchange(&mut self, target: &mut Client, from: &[u8], error: Error) -> Result<Done, Error> {
        let Error::Job(JobFault::NotRenamed { temporary, mut cause, .. }) = error else {
            return Err(error);
        };
        let to = self.to.path();
        let is_name =
            matches!(&*cause, Error::Refused { verb: Verb::Rnto, reply } if is_final_no(reply));
        if is_name && self.past.old.is_none() && is_file(target, to) {
            // A rename whose reply is lost may have been carried out.
            let old = self.past.old.insert(TemporaryName::of_old_file()).of(to);
            let moved = target.rename(to, &old);
            let is_moved = moved.is_ok();
            let lost = match moved.and_then(|()| target.rename(from, to)) {
                Ok(()) => {
                    // If the copy cannot be looked at, the next attempt finds it under its name.
                    let stored = self.past.stored.as_mut().ok_or(Error::Job(JobFault::Spent))?;
                    stored.is_tried = true;
                    return Ok(stored.done.clone());
                }
                // Some servers refuse what they have carried out.
                Err(Error::Refused { .. }) => match put_back(target, &old, to) {
                    Ok(shown) => {
                        let is_back = shown == Existence::Present && !is_moved;
                        if shown == Existence::Absent || is_back {
                            self.past.old = None;
                        }
                        None
                    }
                    Err(Error::Refused { .. }) => None,
                    Err(error) => Some(error),
                },
                Err(error) => Some(error),
            };
            if let Some(error) = lost {
                self.past.stored.iter_mut().for_each(|stored| stored.is_tried |= is_moved);
                self.past.is_late = !is_moved && target.control.unanswered() == Some(Verb::Rnto);
                *cause = error;
            }
        }
        let may_go = matches!(*cause, Error::Refused { .. }) && self.past.old.is_none();
        let removed = may_go && !self.options.retried && target.delete(from).is_ok();
        if removed {
            self.past.stored = None;
        }
        Err(Error::Job(JobFault::NotRenamed { temporary, cause, removed }))
    }

    /// Asks about the file that the copy replaces, if only a change of its facts can show that the target
    /// stored the copy, which gets the time of the source.
    fn old_file(&self, target: &mut Client) -> Result<OldFile, Error> {
        let path = self.to.path();
        let is_timed = self.options.preserve && self.options.verify != Verify::None;
        if !is_timed {
            return Ok(OldFile::Other);
        }
        let told = unless_busy(target.size_told(path))?;
        OldFile::ask(target, path, told, None)
    }

    /// Copies to the current path, verifies the result, and sets its time. Also returns
    /// the facts that the target reported of a copy under a temporary name, right after its
    /// confirmation. Returns `None` if the copy must have a temporary name.
    fn copy(
        &mut self,
        [source, target]: [&mut Client; 2],
        on: &dyn Observer,
    ) -> Result<Option<(Done, ConfirmedFile)>, Error> {
        let mut time = None;
        let old = self.old_file(target)?;
        loop {
            let transferred = self.transfer([&mut *source, &mut *target], on, &mut time)?;
            let Some((report, start)) = transferred else { return Ok(None) };
            let paths = [self.from.path(), self.to.path()];
            let mut confirmed =
                match self.past.under.is_some() && self.options.verify != Verify::None {
                    true => ConfirmedFile::ask(target, self.to.path())?,
                    false => ConfirmedFile::default(),
                };
            let clients = [&mut *source, &mut *target];
            let verified = match verify(clients, paths, self.options.verify, on, &report, start) {
                Err(Error::Mismatch { .. }) if report.offset > 0 => {
                    // The kept bytes were wrong after all.
                    on.event(Event::FromZero { target: self.to.path(), why: Why::Refuted });
                    self.start_over();
                    continue;
                }
                verified => verified?,
            };
            let [from, to] = paths;
            if verified != Verify::Digest && report.listener.is_some() {
                old.check(target, to, report.size, |target| {
                    match of_source(source, target, from)? {
                        Some(here) => compare_digest(target, to, here),
                        None => {
                            let why = Unsupported::NoCommonDigest;
                            Ok(Compared::NoAnswer(Error::Unsupported(why)))
                        }
                    }
                })?;
            }
            if let Some(time) = time {
                set_time(target, self.to.path(), time)?;
                confirmed.given = Some(time.unix_seconds());
            }
            let bytes = report.listener.and(report.size).unwrap_or(report.offset);
            let bytes = bytes.saturating_sub(report.offset);
            let moved = Done::moved(bytes, report.offset, report.duration);
            let size = report.size.unwrap_or(0);
            self.past.report = Some(report);
            return Ok(Some((Done { size, verified, ..moved }, confirmed)));
        }
    }

    /// Lets the servers transfer the file. If a server refuses the whole path, enters the
    /// directories of the path one by one and tries again (RFC 1738 §3.2.2). If a server cannot
    /// resume, tries again from byte 0. Returns `None` as [`copy`](Self::copy) does.
    fn transfer(
        &mut self,
        [source, target]: [&mut Client; 2],
        on: &dyn Observer,
        time: &mut Option<TimeVal>,
    ) -> Result<Option<(FxpReport, CopyStart)>, Error> {
        let spares = self.past.under.is_none() && !self.in_place;
        loop {
            let options = fxp::Options {
                listener: self.listener,
                resume: self.resume(),
                address: self.address,
                compare_sizes: self.options.verify != Verify::None,
            };
            if self.options.preserve {
                let paths = (self.from.path(), self.to.path());
                *time = time_to_preserve(source, paths, on)?;
            }
            let memory = self.options.retried.then_some(&mut self.past.memory);
            let listed = self.listed;
            let mut recalling = Recalling { memory, start: None, listed, spares, on };
            let paths = [self.from.path(), self.to.path()];
            let clients = [&mut *source, &mut *target];
            let attempts = match fxp::copy(clients, paths, options, &mut recalling) {
                Ok(report) => return Ok(report.zip(recalling.start)),
                Err(attempts) => attempts,
            };
            let is_resumed = recalling.start.is_some_and(|start| start.offset > 0);
            let Some(last) = attempts.last() else { return Err(Error::Fxp(attempts)) };
            // If this error closed a connection, another attempt would only hide the cause.
            let is_refusal = matches!(last.error, Error::Refused { .. });
            if !is_refusal || source.make_ready().and(target.make_ready()).is_err() {
                return Err(Error::Fxp(attempts));
            }
            let is_undone = !has_begun(&attempts, Side::Target);
            if is_resumed && is_undone && last.error.refuses_restart() {
                on.event(Event::FromZero { target: self.to.path(), why: Why::NoRestart });
                if spares {
                    return Ok(None);
                }
                self.start_over();
                continue;
            }
            let (client, place) = match last.side {
                Side::Source => (&mut *source, &mut self.from),
                Side::Target => (&mut *target, &mut self.to),
            };
            let is_of_path =
                matches!(last.error, Error::Refused { verb: Verb::Retr | Verb::Stor, .. });
            if !is_of_path || !matches!(place.enter(client, &last.error), Ok(true)) {
                return Err(Error::Fxp(attempts));
            }
        }
    }

    const fn resume(&self) -> Resume {
        if self.past.from_start { Resume::Own } else { self.options.resume }
    }
}

/// Returns whether the server shows a file at `path`, which no directory can be.
fn is_file(target: &mut Client, path: &[u8]) -> bool {
    matches!(target.size(path), Ok(Some(_)))
        && matches!(target.shows_directory(path), Ok(Some(false)))
}

/// Copies the file `source_path` on one server to `target_path` on another, with one attempt of a
/// [`Relay`], which says what callers can rely on. [`Done::size`] is 0 if the servers do not report it;
/// [`Relay::size`] tells.
///
/// # Errors
///
/// Returns the errors of [`Relay::attempt`].
pub fn transfer(
    source: &mut Client,
    source_path: impl AsRef<[u8]>,
    target: &mut Client,
    target_path: impl AsRef<[u8]>,
    options: fxp::Options,
) -> Result<Done, Error> {
    let fxp::Options { listener, resume, address, compare_sizes } = options;
    let verify = if compare_sizes { Verify::IfKnown } else { Verify::None };
    let options = FileOptions::new().resume(resume).verify(verify);
    let job = Relay::new(Place::at(source_path), Place::at(target_path), &options);
    job.listener(listener).address(address).attempt(source, target, &())
}

/// Verifies a copy as `verify` demands. A copy with kept bytes is compared whole if both servers
/// offer a digest, unless a digest has proved the whole file already.
fn verify(
    [source, target]: [&mut Client; 2],
    [from, to]: [&[u8]; 2],
    verify: Verify,
    on: &dyn Observer,
    report: &FxpReport,
    start: CopyStart,
) -> Result<Verify, Error> {
    let size = if report.size.is_some() { Verify::Size } else { Verify::None };
    if let Some(replies) = report.replies.as_ref().filter(|_| size == Verify::None)
        && verify != Verify::None
        && let Some(reply) = replies.iter().rev().find(|reply| is_doubtful(reply))
    {
        return Err(Error::Job(JobFault::Aborted(reply.clone())));
    }
    let demands = match verify {
        Verify::Size if report.size.is_none() => {
            return Err(Error::Unsupported(Unsupported::NoSizeOfCopy));
        }
        Verify::Digest => true,
        Verify::IfKnown if report.offset > 0 && !(start.is_whole && start.is_digested) => false,
        _ => return Ok(size),
    };
    let here = match of_source(source, target, from) {
        Ok(Some(here)) => here,
        Ok(None) if demands => {
            return Err(Error::Unsupported(Unsupported::NoCommonDigest));
        }
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
        Err(error) if demands || error.is_out_of_step() => return Err(error),
        // Both servers confirmed the copy; a source that cannot be asked does not change that.
        Ok(None) | Err(_) => return Ok(size),
    };
    on.event(Event::Comparing { target: to, bytes: report.size.unwrap_or(report.offset) });
    match compare_digest(target, to, here)?.proves(demands)? {
        true => Ok(Verify::Digest),
        false => Ok(size),
    }
}

/// Returns the source's digest of its file, by an algorithm that the target offers too.
fn of_source(
    source: &mut Client,
    target: &mut Client,
    path: &[u8],
) -> Result<Option<Digest>, Error> {
    match fxp::common_algorithm(source, target).map_err(|(_, error)| error)? {
        Some(algorithm) => source.hash(path, Some(algorithm)).map(Some),
        None => Ok(None),
    }
}
