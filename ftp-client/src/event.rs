//! What happens during transfers: events, which any thread can send to one receiver, what connections
//! have cost, and the dialogue with the server as log records (`trace`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use ftp_proto::Escaped;

use crate::error::{Error, TreeFault};

/// What connections have cost. All clients count together whose builders have the same counts
/// ([`ClientBuilder::counts`](crate::ClientBuilder::counts)).
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    round_trips: AtomicU64,
    /// In microseconds.
    latency: AtomicU64,
    login: AtomicU64,
}

impl Counts {
    /// Returns the number of control connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Returns how often a client waited for a server: to connect, for a TLS handshake, or for the
    /// replies to one write. In active mode, the server's connections do not count.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.0.round_trips.load(Ordering::Relaxed)
    }

    /// Returns how long the last control connection took to connect: one round trip, or several
    /// through a proxy.
    #[must_use]
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.0.latency.load(Ordering::Relaxed))
    }

    /// Returns the duration of the last successful login.
    #[must_use]
    pub fn login(&self) -> Duration {
        Duration::from_micros(self.0.login.load(Ordering::Relaxed))
    }

    pub(crate) fn add_connection(&self, latency: Duration) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        self.0.latency.store(micros(latency), Ordering::Relaxed);
        self.add_round_trip();
    }

    pub(crate) fn add_round_trip(&self) {
        self.0.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_login(&self, duration: Duration) {
        self.0.login.store(micros(duration), Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One event of a transfer, a tree or a pool, reported when it happens.
///
/// Paths are bytes as the caller or the server wrote them.
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer begins.
    Begun {
        /// The file that is read.
        source: &'a [u8],
        /// The file that is written.
        target: &'a [u8],
        /// The number of bytes that the target has already.
        at: u64,
        /// The size of the whole file in bytes, if it is known.
        total: Option<u64>,
    },
    /// Bytes were transferred since the last such event. Sent only if the receiver
    /// [wants bytes](Observer::wants_bytes).
    Moved {
        /// The number of bytes.
        bytes: u64,
    },
    /// A transfer begins at byte 0, although bytes of the target exist.
    FromZero {
        /// The file that is written.
        target: &'a [u8],
        /// The reason.
        why: Why,
    },
    /// Digests of both sides are computed, which takes a while for a large file.
    Comparing {
        /// The file on the server.
        target: &'a [u8],
        /// The number of bytes.
        bytes: u64,
    },
    /// An attempt failed, and another one follows.
    Retry {
        /// The number of the next attempt; the first attempt has the number 1.
        attempt: u32,
        /// The failure of the last attempt.
        why: &'a Error,
        /// The pause before the next attempt.
        pause: Duration,
    },
    /// A transfer is complete and verified.
    Done {
        /// The file that was read.
        source: &'a [u8],
        /// The file that was written.
        target: &'a [u8],
        /// The number of bytes that were transferred, without those of earlier attempts.
        bytes: u64,
        /// How the result was verified; never [`Verify::IfKnown`].
        verified: Verify,
    },
    /// A fact that is neither success nor failure, for a log.
    Note {
        /// The file that the note is about.
        target: &'a [u8],
        /// The fact.
        note: Note<'a>,
    },
    /// What happens to one object of a tree.
    Of {
        /// The path of the object, from the top of the tree.
        path: &'a [u8],
        /// The event of the object, such as [`Begun`](Self::Begun) or [`Done`](Self::Done). Its
        /// source and target are both `path`, also if a partial or temporary file is meant.
        event: &'a Self,
    },
    /// A directory was created at the target of a tree.
    Made {
        /// The path of the directory, from the top of the tree.
        path: &'a [u8],
    },
    /// A symbolic link was created at the target of a tree.
    Linked {
        /// The path of the link, from the top of the tree.
        path: &'a [u8],
    },
    /// The permission bits of an object were set, which was otherwise equal.
    ModeSet {
        /// The path of the object, from the top of the tree.
        path: &'a [u8],
    },
    /// An object was removed.
    Removed {
        /// The path of the object, from the top of the tree.
        path: &'a [u8],
    },
    /// A file of the target was renamed, because it has the content of a file of the source.
    Renamed {
        /// The former path, from the top of the tree.
        from: &'a [u8],
        /// The path of the file, from the top of the tree.
        path: &'a [u8],
    },
    /// A file of the source was removed, since the target has it.
    SourceRemoved {
        /// The path of the file, from the top of the tree.
        path: &'a [u8],
    },
    /// A step failed.
    Failed {
        /// The path of the object, from the top of the tree.
        path: &'a [u8],
        /// The failure.
        why: &'a Error,
    },
    /// Objects of a tree are not removed, because the target may lack something of the source.
    Withheld {
        /// The first failure, which is the reason.
        first: &'a TreeFault,
        /// Whether objects are removed in directories that the failures do not affect.
        ignores_errors: bool,
    },
}

ftp_proto::debug_fields! { Event<'_>:
    Begun { source: Escaped(source), target: Escaped(target), at, total }
    Moved { bytes }
    FromZero { target: Escaped(target), why }
    Comparing { target: Escaped(target), bytes }
    Retry { attempt, why, pause }
    Done { source: Escaped(source), target: Escaped(target), bytes, verified }
    Note { target: Escaped(target), note }
    Of { path: Escaped(path), event }
    Made { path: Escaped(path) }
    Linked { path: Escaped(path) }
    ModeSet { path: Escaped(path) }
    Removed { path: Escaped(path) }
    Renamed { from: Escaped(from), path: Escaped(path) }
    SourceRemoved { path: Escaped(path) }
    Failed { path: Escaped(path), why }
    Withheld { first, ignores_errors }
}

/// Why a transfer begins at byte 0, although bytes exist.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// There are no bytes.
    NothingThere,
    /// Nothing proves where the bytes came from.
    NoRecord,
    /// The record names another server, user or path.
    AnotherSource,
    /// The file has another size or time than recorded.
    AnotherVersion,
    /// The earlier run ended before it knew that bytes were on disk.
    NotFlushed,
    /// The last bytes before the resume point differ.
    TailDiffers,
    /// The server cannot begin at another byte than 0.
    NoRestart,
    /// The digests differ.
    Refuted,
    /// The server no longer has the upload of an interrupted move.
    Vanished,
}

/// A fact that is neither success nor failure. `Display` writes a sentence without a full stop.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Note<'a> {
    /// A later run cannot resume the upload, because no journal could be written.
    NoJournal(&'a io::Error),
    /// The server confirms the upload of an empty file, but does not show the file.
    NotShown,
    /// The server confirms the upload, but does not report its size.
    NoSize,
    /// The copy does not get the modification time of the server's file.
    NoTime(&'a Error),
    /// The file is skipped as not newer, and has another size. It may be newer, if the server reports
    /// local times west of UTC.
    PerhapsNewer,
    /// The server still receives an upload of the file, whose end is awaited.
    BeingUploaded,
    /// The copy is complete, and the file that it replaces may still be there, under this name.
    OldFileStays(&'a [u8], &'a Error),
    /// The file is downloaded over one connection: its size or modification time is unknown.
    OneConnectionNoFacts,
    /// The file is downloaded over one connection: its server or path is unknown.
    OneConnectionNoIdentity,
    /// The file is downloaded over one connection: the server lacks `REST`.
    OneConnectionNoRest,
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoJournal(error) => {
                return write!(f, "a later run cannot resume this upload: no journal: {error}");
            }
            Self::NotShown => "the server confirms the empty file, but does not show it",
            Self::NoSize => "the server confirms the upload, but does not report its size",
            Self::NoTime(why) => {
                return write!(f, "the modification time is not preserved: {why}");
            }
            Self::PerhapsNewer => {
                "may be newer: it has another size, and some servers report local times"
            }
            Self::BeingUploaded => "the server still receives an upload of this file: waiting",
            Self::OldFileStays(name, why) => {
                return write!(f, "the old file may still be there, as {}: {why}", Escaped(name));
            }
            Self::OneConnectionNoFacts => {
                "downloading over one connection: the file's size or modification time is unknown"
            }
            Self::OneConnectionNoIdentity => {
                "downloading over one connection: nothing identifies the server's file"
            }
            Self::OneConnectionNoRest => {
                "downloading over one connection: the server cannot resume downloads (REST)"
            }
        })
    }
}

/// How the result of a transfer is verified, beyond the server's confirmation: what the options ask
/// for, and what was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verify {
    /// The size, if the server reports it; after a resume also the digest, if the server has one.
    #[default]
    IfKnown,
    /// Not at all.
    None,
    /// The size; a server that does not report it is a failure.
    Size,
    /// The digest; a server that does not compute one is a failure.
    Digest,
}

impl Verify {
    /// Returns the word for this: `if-known`, `none`, `size` or `hash`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IfKnown => "if-known",
            Self::None => "none",
            Self::Size => "size",
            Self::Digest => "hash",
        }
    }
}

/// A receiver of events. It can be called from several threads at once.
///
/// `()` ignores all events, and every closure `Fn(Event<'_>) + Sync` receives them:
///
/// ```
/// use ftp_client::{Event, Observer};
///
/// let show = |event: Event<'_>| println!("{event:?}");
/// fn takes(_: &dyn Observer) {}
/// takes(&show);
/// takes(&());
/// ```
///
/// An [`Arc`] of a receiver is a receiver, too, for a program that keeps one for several transfers.
/// A closure gets [`Event::Moved`] if it is [`WithBytes`].
pub trait Observer: Sync {
    /// Receives an event.
    fn event(&self, event: Event<'_>);

    /// Returns whether the receiver needs [`Event::Moved`]. If not (the default), the kernel can
    /// send files without copying them to this program.
    fn wants_bytes(&self) -> bool {
        false
    }
}

impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}

impl<F: Fn(Event<'_>) + Sync> Observer for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}

impl<T: Observer + Send + ?Sized> Observer for Arc<T> {
    fn event(&self, event: Event<'_>) {
        (**self).event(event);
    }

    fn wants_bytes(&self) -> bool {
        (**self).wants_bytes()
    }
}

/// A closure that receives all events, [`Event::Moved`] included.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use ftp_client::{Event, Observer, WithBytes};
///
/// let all = AtomicU64::new(0);
/// let bar = WithBytes(|event: Event<'_>| {
///     if let Event::Moved { bytes } = event {
///         all.fetch_add(bytes, Ordering::Relaxed);
///     }
/// });
/// assert!(bar.wants_bytes());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithBytes<F>(pub F);

impl<F: Fn(Event<'_>) + Sync> Observer for WithBytes<F> {
    fn event(&self, event: Event<'_>) {
        (self.0)(event);
    }

    fn wants_bytes(&self) -> bool {
        true
    }
}

/// The dialogue as log records: target `ftp_client::wire`, level debug, one record per line.
///
/// `> ` marks sent lines, `< ` received lines, `= ` explanations. Passwords and accounts appear as
/// `****`, and control characters are escaped.
pub(crate) mod trace {
    use std::fmt;

    use ftp_proto::{Escaped, Reply, Verb};

    const TARGET: &str = "ftp_client::wire";

    pub(crate) fn sent(verb: Verb, line: &[u8]) {
        let shown = |line: &[u8]| Escaped(line.trim_ascii_end()).to_string();
        match secret_at(verb, line) {
            Some(_) if verb != Verb::Site => log::debug!(target: TARGET, "> {verb} ****"),
            Some(at) => {
                let open = line.get(..at).unwrap_or_default();
                log::debug!(target: TARGET, "> {} ****", shown(open));
            }
            None => log::debug!(target: TARGET, "> {}", shown(line)),
        }
    }

    /// Returns where the secrets in a command line begin, if it has any: the argument of `PASS` and
    /// `ACCT`, and the arguments of a `SITE` command that changes a password, which is called `PSWD`,
    /// `PASSWD` or similarly.
    pub(crate) fn secret_at(verb: Verb, line: &[u8]) -> Option<usize> {
        let after_blank = |from: usize| {
            let rest = line.get(from..).unwrap_or_default();
            rest.iter().position(|byte| *byte == b' ').map_or(line.len(), |at| from + at + 1)
        };
        let argument = after_blank(0);
        match verb {
            Verb::Pass | Verb::Acct => Some(argument),
            Verb::Site => {
                let end = after_blank(argument);
                let name = line.get(argument..end).unwrap_or_default().to_ascii_uppercase();
                let is_of = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
                (is_of(b"PSWD") || is_of(b"PASS") || is_of(b"PWD")).then_some(end)
            }
            _ => None,
        }
    }

    pub(crate) fn received(reply: &Reply) {
        if !log::log_enabled!(target: TARGET, log::Level::Debug) {
            return;
        }
        let code = reply.code();
        let last = reply.lines().count() - 1;
        for (index, line) in reply.lines().enumerate() {
            let line = Escaped(line);
            match index {
                _ if index == last => log::debug!(target: TARGET, "< {code} {line}"),
                0 => log::debug!(target: TARGET, "< {code}-{line}"),
                _ => log::debug!(target: TARGET, "< {line}"),
            }
        }
    }

    pub(crate) fn note(text: fmt::Arguments<'_>) {
        log::debug!(target: TARGET, "= {text}");
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn secrets_begin_after_the_name_of_the_command_li_12() {
            for (verb, line, want) in [
                (Verb::Pass, "PASS a b\r\n", Some("PASS ")),
                (Verb::Pass, "PASS\r\n", Some("PASS\r\n")),
                (Verb::Acct, "ACCT a\r\n", Some("ACCT ")),
                (Verb::Site, "SITE PSWD old new\r\n", Some("SITE PSWD ")),
                (Verb::Site, "site chpasswd u new\r\n", Some("site chpasswd ")),
                (Verb::Site, "SITE CHMOD 600 PASS\r\n", None),
                (Verb::Site, "SITE\r\n", None),
                (Verb::User, "USER PASS\r\n", None),
            ] {
                let found = secret_at(verb, line.as_bytes()).map(|at| &line[..at]);
                assert_eq!(found, want, "{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::Entry;

    use super::*;
    use crate::Place;
    use crate::file::{Digest, HashAlgorithm};
    use crate::listing::Walked;
    use crate::tree::PlannedStep;

    #[test]
    fn debug_shows_names_as_text() {
        let event = Event::Made { path: b"a\x1b" };
        let of = Event::Of { path: b"d", event: &event };
        assert_eq!(format!("{of:?}"), r#"Of { path: "d", event: Made { path: "a\x1b" } }"#);
        let (from, path, size) = (b"from".to_vec(), b"to".to_vec(), None);
        let step = PlannedStep::Rename { from, path, size };
        let [step, place] = [format!("{step:?}"), format!("{:?}", Place::at("a/b"))];
        assert!(step.contains(r#"path: "to""#) && step.contains(r#"from: "from""#), "{step}");
        assert!(
            place.starts_with(r#"Place { path: "a/b", "#) && place.ends_with(" .. }"),
            "{place}"
        );
        let digest = Digest { algorithm: HashAlgorithm::Crc32, bytes: vec![0xde, 0xad, 0, 1] };
        assert_eq!(format!("{digest:?}"), "Digest(CRC32 dead0001)");
        let walked = Walked::Entry { path: b"p".to_vec(), depth: 0, entry: Entry::default() };
        assert!(format!("{walked:?}").starts_with(r#"Entry { path: "p", depth: 0, entry: "#));
    }
}
