//! Server-to-server copies (FXP, RFC 959 §5.2): the data goes directly from one server to the
//! other. [`Relay`](crate::file::Relay) makes jobs of them, which can be attempted several times;
//! [`transfer`] is one call.
//!
//! ```no_run
//! use ftp_client::{Client, Resume, fxp};
//!
//! let mut source = Client::builder().connect("one.example.org")?;
//! let mut target = Client::builder().connect("two.example.org")?;
//! source.login("user", "password")?;
//! target.login("other", "password")?;
//! let options = fxp::Options::new().resume(Resume::Proven);
//! let done = fxp::transfer(&mut source, "a.bin", &mut target, "copy of a.bin", options)?;
//! println!("{} bytes in {:?}", done.size, done.duration);
//! # Ok::<(), ftp_client::Error>(())
//! ```

mod begin;
mod pair;
mod way;

use std::time::{Duration, Instant};

use ftp_proto::{
    AddressRule, Command, Pathname, Reply, RepresentationType, RestartMarker, TransferMode, Verb,
};

use crate::client::Client;
use crate::error::fxp::{FxpAttempt, Side, has_begun};
use crate::error::{Error, TlsError};
use crate::event::{Event, Observer};
use crate::file::evidence::Resume;
use crate::trace;
use pair::Pair;

pub use crate::file::relay::transfer;
pub(crate) use begin::{
    CopyMemory, CopyStart, answered, check_apart, common_algorithm, identified, share_login,
};

/// Settings of a copy by one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// The server that listens for the data connection (default: `None`), as for
    /// [`Relay::listener`](crate::file::Relay::listener).
    pub listener: Option<Side>,
    /// What a resume may rely on (default: [`Own`](Resume::Own): the copy begins at byte 0 and replaces an
    /// existing file).
    pub resume: Resume,
    /// The host to which one server must connect (default: [`Peer`](AddressRule::Peer)), as for
    /// [`Relay::address`](crate::file::Relay::address).
    pub address: AddressRule,
    /// Whether to verify the copy as [`Verify::IfKnown`](crate::file::Verify::IfKnown) does (default:
    /// true): sizes are compared if both servers report them, and digests after a resumed copy.
    ///
    /// Sizes are always compared under TLS, because a server may take a broken connection for the
    /// end of the file. They are also always compared if a server sends 226 without 150, because
    /// that server may have had no data connection, and after a resumed copy, because a server may
    /// have ignored `REST`; then a source that has grown meanwhile is not an error.
    pub compare_sizes: bool,
}

ftp_proto::settings! {
    Options {
        listener: Option<Side> = None,
        resume: Resume = Resume::Own,
        address: AddressRule = AddressRule::Peer,
        compare_sizes: bool = true,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct FxpReport {
    pub(crate) offset: u64,
    /// The size of both files in bytes; `None` if the sizes were not compared or a server did not
    /// report one.
    pub(crate) size: Option<u64>,
    /// The server that listened; `None` if nothing was transferred, because the target already had
    /// the whole file.
    pub(crate) listener: Option<Side>,
    /// The final replies of the source and of the target, 2xx; `None` if nothing was transferred.
    pub(crate) replies: Option<[Reply; 2]>,
    /// The time from the first command to the last reply.
    pub(crate) duration: Duration,
}

/// A transfer between two servers.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    listener: Side,
    /// The length in the source's 150 reply: that of the file, or of what follows the offset.
    announced: Option<u64>,
    /// The source's final reply, 2xx.
    source: Reply,
    /// The target's final reply, 2xx.
    target: Reply,
}

/// What a copy of a job with memory needs and leaves.
pub(crate) struct Recalling<'a> {
    /// What earlier attempts did; `None` without a job, or if the job is attempted only once.
    pub(crate) memory: Option<&'a mut CopyMemory>,
    pub(crate) start: Option<CopyStart>,
    /// The size of the source's file in a listing.
    pub(crate) listed: Option<u64>,
    /// Whether a file of the target that is not the beginning of the copy must stay.
    pub(crate) spares: bool,
    /// Receives [`Event::FromZero`] and [`Event::Begun`].
    pub(crate) on: &'a dyn Observer,
}

/// Copies a file from one server to another, byte for byte, and decides from `recalling` too where to
/// begin. [`Relay`](crate::file::Relay) says what callers can rely on. Returns `None`, and sends nothing,
/// if the copy would replace a file that must stay.
///
/// # Errors
///
/// Returns the attempts, the last of which ended the copy.
pub(crate) fn copy(
    [source, target]: [&mut Client; 2],
    [source_path, target_path]: [&[u8]; 2],
    options: Options,
    recalling: &mut Recalling<'_>,
) -> Result<Option<FxpReport>, Vec<FxpAttempt>> {
    let started = Instant::now();
    let listener = options.listener.unwrap_or(Side::Target);
    let failed = |side| move |error| vec![FxpAttempt::new(listener, side, error)];
    let of_source = failed(Side::Source);
    let of_target = failed(Side::Target);

    // An invalid path is found before anything is sent.
    Pathname::new(source_path).map_err(|error| of_source(error.into()))?;
    Pathname::new(target_path).map_err(|error| of_target(error.into()))?;
    trace::note(format_args!("commands to the source, then to the target:"));
    let from = prepare(source, |source| source.pathname(source_path)).map_err(of_source)?;
    let to = prepare(target, |target| target.pathname_to_change(target_path)).map_err(of_target)?;

    let retrieve = Command::Retr(from.clone()).encode().map_err(|error| of_source(error.into()))?;
    let store = Command::Stor(to.clone()).encode().map_err(|error| of_target(error.into()))?;
    let mut source = RemoteFile { client: source, path: from.as_bytes() };
    let mut target = RemoteFile { client: target, path: to.as_bytes() };
    let memory = recalling.memory.as_deref_mut();
    let start = begin::find(&mut source, &mut target, options.resume, memory, recalling.on)
        .map_err(|(side, error)| failed(side)(error))?;
    recalling.start = Some(start);
    if let Some(why) = start.why {
        trace::note(format_args!("nothing proves the target's bytes: starting at byte 0"));
        recalling.on.event(Event::FromZero { target: target_path, why });
    }
    if recalling.spares && start.offset == 0 && start.has_bytes {
        return Ok(None);
    }
    let CopyStart { offset, size, .. } = start;
    let total = size.or(recalling.listed);
    let begun = Event::Begun { source: source_path, target: target_path, at: offset, total };
    recalling.on.event(begun);
    if start.is_whole {
        let duration = started.elapsed();
        let size = Some(offset);
        return Ok(Some(FxpReport { offset, size, listener: None, replies: None, duration }));
    }
    let marker = RestartMarker::parse(offset.to_string().as_bytes());
    let marker = marker.map_err(Error::Argument).map_err(of_source)?;
    let plan = FxpPlan { marker, retrieve, store, options, least: size };
    let copied = plan.run(&mut source, &mut target);
    if let Some(memory) = &mut recalling.memory {
        let has_begun =
            copied.as_ref().map_or_else(|attempts| has_begun(attempts, Side::Target), |_| true);
        memory.note(start, has_begun);
    }
    let (Moved { listener, source, target, .. }, size) = copied?;
    let (listener, replies) = (Some(listener), Some([source, target]));
    Ok(Some(FxpReport { offset, size, listener, replies, duration: started.elapsed() }))
}

/// A copy from an offset, tried with one server listening, or with each in turn.
struct FxpPlan {
    marker: RestartMarker,
    retrieve: Vec<u8>,
    store: Vec<u8>,
    options: Options,
    /// The size of the source's file before the copy, if it was asked for.
    least: Option<u64>,
}

impl FxpPlan {
    /// Lets the chosen server listen, or the target and then the source. A target that has missed the end of
    /// the file gets it once more. Returns the transfer, and the size of both files if it was compared.
    fn run(
        &self,
        source: &mut RemoteFile<'_>,
        target: &mut RemoteFile<'_>,
    ) -> Result<(Moved, Option<u64>), Vec<FxpAttempt>> {
        let mut attempts: Vec<FxpAttempt> = Vec::new();
        let is_tried = |side: &Side| self.options.listener.is_none_or(|listener| listener == *side);
        let mut sides = [Side::Target, Side::Source].into_iter().filter(is_tried);
        let mut next = sides.next();
        while let Some(listener) = next {
            let had_missed = target.client.misses_early_end;
            let mut pair = Pair::new(source.client, target.client, listener);
            match pair.run(self.options.address, self.marker, &self.retrieve, &self.store) {
                Ok(moved) => {
                    let sudden = pair.without_beginning();
                    let resumed = (self.marker.offset() > 0, self.least);
                    let size = prove(source, target, &moved, sudden, self.options, resumed)?;
                    return Ok((moved, size));
                }
                Err(attempt) => {
                    let misses = target.client.misses_early_end && !had_missed;
                    let may_turn = misses || attempt.is_about_the_way();
                    attempts.push(*attempt);
                    let is_open = |file: &RemoteFile<'_>| file.client.control.is_open();
                    if !may_turn || !is_open(source) || !is_open(target) {
                        break;
                    }
                    if !misses {
                        next = sides.next();
                    }
                }
            }
        }
        Err(attempts)
    }
}

/// Compares the sizes of both files, if requested or if the replies alone prove nothing. Returns
/// the size, or `None` if it was not compared or a server does not report it. `sudden` is the
/// server, if any, that reported the end of the transfer without its beginning. If the sizes are
/// compared only because the copy was resumed, the source may have grown from `least` bytes.
fn prove(
    source: &mut RemoteFile<'_>,
    target: &mut RemoteFile<'_>,
    moved: &Moved,
    sudden: Option<Side>,
    Options { compare_sizes, .. }: Options,
    (is_resumed, least): (bool, Option<u64>),
) -> Result<Option<u64>, Vec<FxpAttempt>> {
    let is_protected = way::is_protected(source.client, target.client);
    let must_be_equal = compare_sizes || is_protected || sudden.is_some();
    let size = match must_be_equal || is_resumed {
        true => {
            let floor = least.max(moved.announced);
            compare(source, target, moved.listener, (floor, least.is_some() && !must_be_equal))?
        }
        false => None,
    };
    if size.is_some() {
        return Ok(size);
    }
    let (side, error) = match sudden {
        Some(side) => {
            let reply = match side {
                Side::Source => &moved.source,
                Side::Target => &moved.target,
            };
            (side, Error::Unexpected { verb: verb_of(side), reply: reply.clone() })
        }
        None if is_protected => (Side::Target, Error::Tls(TlsError::Unchecked)),
        None => return Ok(None),
    };
    Err(vec![FxpAttempt::new(moved.listener, side, error)])
}

struct RemoteFile<'a> {
    client: &'a mut Client,
    path: &'a [u8],
}

/// Prepares a server for a copy: no outstanding transfer, names in UTF-8, type image, mode stream.
/// The structure never changes.
fn prepare(
    client: &mut Client,
    check: impl FnOnce(&mut Client) -> Result<Pathname, Error>,
) -> Result<Pathname, Error> {
    client.settle()?;
    client.control.forget_answers();
    client.protect()?;
    let path = check(client)?;
    client.put_in_force(RepresentationType::Image)?;
    // The clients cannot know whether the servers compress in the same way.
    client.put_mode_in_force(TransferMode::Stream)?;
    Ok(path)
}

/// Returns the size of both files; `None` if a server does not report it, or if the source `may_grow`
/// and has grown meanwhile. A failed query also gives `None`, because both servers have already
/// confirmed the copy; but replies out of step are an error, because that 226 may answer another command.
/// `floor` is the size that the source's file had before: a copy of a file onto itself, through two
/// addresses of one server, shows in a smaller one.
fn compare(
    source: &mut RemoteFile<'_>,
    target: &mut RemoteFile<'_>,
    listener: Side,
    (floor, may_grow): (Option<u64>, bool),
) -> Result<Option<u64>, Vec<FxpAttempt>> {
    trace::note(format_args!("the size of the file at the source, then at the target:"));
    let ask = |side, file: &mut RemoteFile<'_>| match file.client.size(file.path) {
        Err(error) if error.is_out_of_step() => Err(vec![FxpAttempt::new(listener, side, error)]),
        size => Ok(size.ok().flatten()),
    };
    let wanted = ask(Side::Source, source)?;
    let Some(least) = wanted.max(floor) else { return Ok(None) };
    let Some(bytes) = ask(Side::Target, target)? else { return Ok(None) };
    let floor = floor.unwrap_or(0);
    match wanted {
        Some(wanted) if bytes == wanted && bytes >= floor => Ok(Some(bytes)),
        Some(wanted) if may_grow && (floor..wanted).contains(&bytes) => Ok(None),
        None if bytes >= floor => Ok(None),
        _ => {
            let error = Error::Incomplete { bytes, announced: Some(least) };
            Err(vec![FxpAttempt::new(listener, Side::Target, error)])
        }
    }
}

const fn verb_of(side: Side) -> Verb {
    match side {
        Side::Source => Verb::Retr,
        Side::Target => Verb::Stor,
    }
}
