//! Uploads that replace a file, and protection against clients that resume them wrongly.
//!
//! Until the server replies 226, the path still refers to the old file. A client whose connection
//! broke can mistake the length of the old file for that of a partial upload. The client then sends
//! only the rest, and the new file begins with old content. If the old file is not shorter than the
//! new one, the client sends nothing at all. Servers that write files in place do not have this
//! problem, and some clients always resume. So if an upload did not end with 226, the client must
//! repeat it from byte 0. Until then, `SIZE` does not report the length of the old file, except in
//! a session in which the client aborted the upload.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyCode};

use crate::limits;
use crate::lock::unpoisoned;
use crate::session::Session;
use crate::storage::{Storage, StorageError, StreamEnd, Upload, VirtualPath, WriteMode};

/// Time for which an interrupted upload is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// All uploads from byte 0 on this server that are running or were interrupted, by user and path.
#[derive(Debug, Default)]
pub(crate) struct Replacements(Mutex<HashMap<Key, State>>);

/// The user and the path. The user is empty for a shared login, and for a path where the user can
/// only create files.
type Key = (Vec<u8>, VirtualPath);

#[derive(Debug, Default)]
struct State {
    /// Start of each running upload.
    running: Vec<Instant>,
    /// The last upload, if it was interrupted.
    interrupted: Option<Interrupted>,
    /// Start of the last upload that stored the file. The server forgets this time once no upload
    /// is running or remembered as interrupted.
    stored: Option<Instant>,
}

/// How an upload ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Stored,
    /// Not stored: there is no file at the path.
    WithoutFile,
    /// Not stored: the old file is still at the path.
    Interrupted,
    /// Interrupted by `ABOR` in the session with this number.
    Aborted {
        session: u64,
    },
}

/// An interrupted upload.
#[derive(Clone, Copy, Debug)]
struct Interrupted {
    begun: Instant,
    ended: Instant,
    /// The number of the session whose client aborted the upload.
    aborted_by: Option<u64>,
}

impl State {
    /// Returns the interrupted upload if it ended less than [`REMEMBERED`] ago.
    fn interrupted(&self) -> Option<Interrupted> {
        self.interrupted.filter(|upload| upload.ended.elapsed() < REMEMBERED)
    }

    /// Returns whether the file is older than an upload that is running or was interrupted.
    fn is_old(&self) -> bool {
        let begun = self.interrupted().map(|upload| upload.begun);
        let mut unfinished = self.running.iter().copied().chain(begun);
        unfinished.any(|begun| self.stored.is_none_or(|stored| stored <= begun))
    }
}

impl Replacements {
    fn states(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        unpoisoned(self.0.lock())
    }

    fn begin(&self, key: Key, begun: Instant) {
        self.states().entry(key).or_default().running.push(begun);
    }

    /// Ends the upload that began at `begun`.
    fn end(&self, key: &Key, begun: Instant, end: End) {
        let mut states = self.states();
        let Some(state) = states.get_mut(key) else { return };
        if let Some(at) = state.running.iter().position(|other| *other == begun) {
            state.running.swap_remove(at);
        }
        let interrupted = |aborted_by| Interrupted { begun, ended: Instant::now(), aborted_by };
        state.interrupted = match end {
            End::Stored | End::WithoutFile => None,
            End::Interrupted => Some(interrupted(None)),
            End::Aborted { session } => Some(interrupted(Some(session))),
        };
        if matches!(end, End::Stored) {
            state.stored = Some(begun);
        }
        if state.running.is_empty() && state.interrupted.is_none() {
            states.remove(key);
        }
        if states.len() > limits::REPLACEMENTS {
            forget_oldest(&mut states);
        }
    }

    /// Forgets an interrupted upload, because its path now has another file, or none.
    fn forget(&self, key: &Key) {
        let mut states = self.states();
        if let Some(state) = states.get_mut(key) {
            state.interrupted = None;
            if state.running.is_empty() {
                states.remove(key);
            }
        }
    }

    /// Returns whether an upload is running or was interrupted.
    fn has(&self, key: &Key) -> bool {
        let states = self.states();
        let state = states.get(key);
        state.is_some_and(|state| !state.running.is_empty() || state.interrupted().is_some())
    }

    /// Returns whether a session may learn the length of the file, or `None` if the server
    /// remembers no upload of the file. A client that aborted its upload knows that the old file is
    /// still at the path.
    fn may_tell(&self, key: &Key, session: u64) -> Option<bool> {
        let states = self.states();
        let state = states.get(key)?;
        let aborted_by = state.interrupted().and_then(|upload| upload.aborted_by);
        let is_known = aborted_by == Some(session) && state.running.is_empty();
        Some(is_known || !state.is_old())
    }
}

fn forget_oldest(states: &mut HashMap<Key, State>) {
    let idle = states.iter().filter(|(_, state)| state.running.is_empty());
    if let Some(oldest) = idle
        .min_by_key(|(_, state)| state.interrupted.map(|upload| upload.ended))
        .map(|(key, _)| key.clone())
    {
        states.remove(&oldest);
    }
}

fn key(session: &Session, path: &VirtualPath) -> Key {
    (session.owner(path).unwrap_or_default().to_vec(), path.clone())
}

/// Refuses to report the length of a file that this user's upload is replacing, or was going to
/// replace when it was interrupted.
///
/// A client that has just stored the file, and asks in order to verify the upload, knows that the
/// new file is at the path. In that case, this function does not ask the storage, because an object
/// store would need a request.
pub(super) fn check_told(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
) -> Result<(), Reply> {
    let may_tell = session.context.replacements.may_tell(&key(session, path), session.number);
    let is_own = session.stored.as_ref() == Some(path);
    let is_cut = || storage.has_cut_replacement(path, session.owner(path));
    if may_tell.unwrap_or_else(|| is_own || !is_cut()) { Ok(()) } else { Err(old_file()) }
}

fn old_file() -> Reply {
    let text = "The old file is still in place; send the new one from byte 0";
    Reply::new(ReplyCode::BAD_RESTART, text)
}

/// Forgets that an upload of this user was interrupted.
pub(super) fn forget(session: &Session, path: &VirtualPath) {
    session.context.replacements.forget(&key(session, path));
}

/// Refuses a restart offset if the path still has the file that this user's unfinished upload was
/// going to replace.
pub(super) fn check(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
    mode: WriteMode,
) -> Result<(), Reply> {
    if !matches!(mode, WriteMode::From(_)) || storage.stat(path).is_err() {
        return Ok(());
    }
    let is_unfinished = session.context.replacements.has(&key(session, path))
        || storage.has_cut_replacement(path, session.owner(path));
    if is_unfinished { Err(old_file()) } else { Ok(()) }
}

/// Wraps an upload that may replace a file, so that the server remembers an interruption. Returns
/// other uploads unchanged.
pub(super) fn remembered(
    session: &Session,
    path: &VirtualPath,
    mode: WriteMode,
    upload: Box<dyn Upload>,
) -> Box<dyn Upload> {
    if mode != WriteMode::Replace {
        return upload;
    }
    let replacements = Arc::clone(&session.context.replacements);
    let (key, begun) = (key(session, path), Instant::now());
    replacements.begin(key.clone(), begun);
    let replacement = Replacement { replacements, key, begun, end: End::Interrupted };
    Box::new(Replacing { upload, replacement, session: session.number })
}

struct Replacing {
    upload: Box<dyn Upload>,
    replacement: Replacement,
    session: u64,
}

impl Replacing {
    /// Records how the upload ends if its file is not stored. Only the storage knows whether the
    /// upload replaces a file.
    fn note(&mut self, end: End) {
        self.replacement.end = if self.upload.replaces() { end } else { End::WithoutFile };
    }
}

/// The entry of a running upload. Dropping it records how the upload ended.
struct Replacement {
    replacements: Arc<Replacements>,
    key: Key,
    begun: Instant,
    /// How the upload ends if this value is dropped now.
    end: End,
}

impl Drop for Replacement {
    fn drop(&mut self) {
        self.replacements.end(&self.key, self.begun, self.end);
    }
}

impl io::Write for Replacing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Replacing {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        self.upload.prepare()
    }

    fn ready(&mut self) -> Result<bool, StorageError> {
        self.upload.ready()
    }

    fn prepare_commit(&mut self) -> Result<bool, StorageError> {
        self.upload.prepare_commit()
    }

    fn published_size(&self) -> Option<u64> {
        self.upload.published_size()
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.note(End::Interrupted);
        let Self { upload, mut replacement, .. } = *self;
        upload.commit()?;
        replacement.end = End::Stored;
        Ok(())
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        let session = self.session;
        self.note(match end {
            StreamEnd::Abort => End::Aborted { session },
            StreamEnd::Cut | StreamEnd::Failed => End::Interrupted,
        });
        self.upload.abort(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: usize) -> Key {
        (b"user".to_vec(), VirtualPath::root().join(name.to_string().as_bytes()))
    }

    #[test]
    fn beyond_the_limit_the_oldest_interrupted_upload_is_forgotten() {
        let replacements = Replacements::default();
        let running = Instant::now();
        replacements.begin(key(0), running);
        for name in 1..=limits::REPLACEMENTS {
            let begun = Instant::now();
            replacements.begin(key(name), begun);
            replacements.end(&key(name), begun, End::Interrupted);
        }
        assert!(replacements.has(&key(0)), "the first one still runs");
        assert!(!replacements.has(&key(1)), "the oldest of the others");
        assert!((2..=limits::REPLACEMENTS).all(|name| replacements.has(&key(name))));
        assert_eq!(replacements.states().len(), limits::REPLACEMENTS);
    }
}
