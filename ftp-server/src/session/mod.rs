//! A session: its state (RFC 959 §4.1), the permissions of its user, and the outcomes of its
//! commands.

mod state;

pub(crate) use state::{Access, Heard, HeardSize, Session, TransferState, User};

use std::ops::BitOr;
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{Escaped, Reply, ReplyCode};

use crate::auth::{Rights, holds_rules, rule_for};
use crate::config::{NamePattern, is_denied};
use crate::data::{DataChannel, Encoding, Outgoing};
use crate::deadline::for_a_tick;
use crate::reply::{self, Purpose};
use crate::storage::{
    Ask, EntryKind, Storage, StorageError, StorageErrorKind, StorageResult, Upload, VirtualPath,
};

/// The decision of a handler; the loop in `run` carries it out.
pub(crate) enum Outcome {
    /// Send the reply and continue.
    Reply(Reply),
    /// Send the reply and end the session.
    Close(Reply),
    /// Send the reply no earlier than `at`, to slow down password guessing; then end the session if
    /// `closes`.
    Late { reply: Reply, at: Instant, closes: bool },
    /// Send the reply and start TLS, for data connections too if `with_data`.
    Protect { reply: Reply, with_data: bool },
    /// Send the reply, end TLS, and continue in plaintext.
    Unprotect(Reply),
    /// Send 150 or 125, move the data, and send the final reply.
    Transfer(PreparedTransfer, DataChannel),
    /// Do the work, and send the reply that it returns.
    Work(Working),
}

/// Long work that ends in a reply and needs no data connection.
pub(crate) struct Working {
    /// The path of the work, for the log.
    pub(crate) path: VirtualPath,
    pub(crate) work: Box<dyn Work>,
    pub(crate) place: Place,
}

/// The place that long work needs among the processor-bound jobs.
pub(crate) enum Place {
    /// A place for a digest, from its first step.
    Digest,
    /// A place for a search, if the search needs more than one step.
    Search,
}

/// A reply that takes long to compute. The session checks on its client between steps.
pub(crate) trait Work {
    /// Does a short piece of the work. Returns `true` once the work is complete.
    fn advance(&mut self) -> Result<bool, Reply>;

    fn finish(&mut self) -> Reply;

    /// Returns the number of bytes read or collected so far, for the log.
    fn done(&self) -> u64;
}

impl dyn Work {
    /// Works for a fraction of a second. Returns the reply once the work is complete.
    pub(crate) fn step(&mut self) -> Option<Reply> {
        match for_a_tick(|| self.advance()) {
            Ok(true) => Some(self.finish()),
            Ok(false) => None,
            Err(refusal) => Some(refusal),
        }
    }
}

/// A transfer whose object is open; only slow preparation, if any, and the data connection are
/// missing.
pub(crate) struct PreparedTransfer {
    /// The transferred path, for the log.
    pub(crate) path: VirtualPath,
    /// The text of the 150 reply.
    pub(crate) announcement: Vec<u8>,
    pub(crate) payload: Payload,
    pub(crate) stays_open: bool,
}

pub(crate) enum Payload {
    Send(Box<dyn Outgoing>),
    Receive(Box<dyn Upload>, Encoding),
}

impl PreparedTransfer {
    pub(crate) fn send(path: VirtualPath, outgoing: impl Outgoing + 'static) -> Self {
        Self::new(path, Payload::Send(Box::new(outgoing)))
    }

    pub(crate) fn receive(path: VirtualPath, upload: Box<dyn Upload>, encoding: Encoding) -> Self {
        Self::new(path, Payload::Receive(upload, encoding))
    }

    /// Sets the text of the 150 reply.
    pub(crate) fn announce(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.announcement = text.into();
        self
    }

    fn new(path: VirtualPath, payload: Payload) -> Self {
        let announcement = b"Opening data connection".to_vec();
        Self { path, announcement, payload, stays_open: false }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl<T: Into<Self>> From<Result<T, Reply>> for Outcome {
    /// Sends the refusal of a command. A 421 also ends the session.
    fn from(handled: Result<T, Reply>) -> Self {
        match handled {
            Ok(done) => done.into(),
            Err(refusal) if refusal.code() == ReplyCode::SERVICE_CLOSING => Self::Close(refusal),
            Err(refusal) => Self::Reply(refusal),
        }
    }
}

impl Working {
    pub(crate) fn new(path: VirtualPath, work: impl Work + 'static, place: Place) -> Self {
        Self { path, work: Box::new(work), place }
    }
}

impl From<Working> for Outcome {
    fn from(working: Working) -> Self {
        Self::Work(working)
    }
}

impl Session {
    pub(crate) fn shown_user(&self) -> String {
        self.user().map_or_else(|| "-".to_owned(), |user| Escaped(&user.name).to_string())
    }

    /// Returns the user's storage. The caller must check the user's rights.
    pub(crate) fn storage(&self) -> Option<&dyn Storage> {
        self.user().map(|user| &*user.storage)
    }

    /// Returns the storage of the user, or a 550 unless the user has all of `rights` at this path.
    pub(crate) fn storage_at(
        &self,
        path: &VirtualPath,
        rights: Rights,
    ) -> Result<&dyn Storage, Reply> {
        self.shared_storage_at(path, rights).map(|storage| &**storage)
    }

    /// Returns the same storage as [`storage_at`](Self::storage_at), in an `Arc` that the caller
    /// can clone.
    pub(crate) fn shared_storage_at(
        &self,
        path: &VirtualPath,
        rights: Rights,
    ) -> Result<&Arc<dyn Storage>, Reply> {
        let user = self.user().filter(|_| self.may(path, rights));
        user.map(|user| &user.storage).ok_or_else(reply::no_right)
    }

    /// Returns whether the user has all of `rights` at this path.
    pub(crate) fn may(&self, path: &VirtualPath, rights: Rights) -> bool {
        self.rights_at(path).contains(rights)
    }

    pub(crate) fn rights_at(&self, path: &VirtualPath) -> Rights {
        self.user().map_or(Rights::NONE, |user| user.rights_at(path))
    }

    /// Returns whether the user may change to this directory: always, unless a rule gives no rights
    /// there.
    pub(crate) fn may_enter(&self, path: &VirtualPath) -> bool {
        let Some(user) = self.user() else { return true };
        let rule = rule_for(&user.directories, path);
        rule.is_none_or(|(_, rights)| *rights != Rights::NONE)
    }

    pub(crate) fn hidden_names(&self) -> Arc<Vec<NamePattern>> {
        self.user().map(|user| Arc::clone(&user.hide_names)).unwrap_or_default()
    }

    /// Returns whether there is a rule for this path or for a path below it. If so, a directory at
    /// this path cannot be renamed or removed.
    pub(crate) fn holds_rules(&self, path: &VirtualPath) -> bool {
        self.user().is_some_and(|user| holds_rules(&user.directories, path))
    }

    /// Returns whether the user's rights allow a rename. A rename needs the right `RENAME` at both
    /// paths, and no rule may be at or below either path. If different rules apply to the two
    /// paths, the rename also needs:
    ///
    /// - `DELETE` at the old path and `CREATE` at the new path;
    /// - for a directory, `MKDIR` at the new path;
    /// - `LIST` at the old path if the user has it at the new path, and likewise `RETRIEVE`: a
    ///   rename must not reveal an object.
    pub(crate) fn may_rename(&self, from: &VirtualPath, to: &VirtualPath) -> bool {
        let Some(user) = self.user() else { return false };
        if !self.may(from, Rights::RENAME) || !self.may(to, Rights::RENAME) {
            return false;
        }
        if self.holds_rules(from) || self.holds_rules(to) {
            return false;
        }
        let rules = &user.directories;
        if rule_for(rules, from) == rule_for(rules, to) {
            return true;
        }
        let shown = [Rights::LIST, Rights::RETRIEVE].into_iter();
        let shown = shown.filter(|right| self.may(to, *right)).fold(Rights::NONE, BitOr::bitor);
        if !self.may(from, Rights::DELETE | shown) || !self.may(to, Rights::CREATE) {
            return false;
        }
        let stat = || user.storage.stat(from, Ask::Facts);
        self.may(to, Rights::MKDIR) || stat().is_ok_and(|it| it.kind != EntryKind::Directory)
    }

    /// Returns whether the settings let uploads and renames replace files; the user's rights apply
    /// too.
    pub(crate) fn may_overwrite(&self) -> bool {
        let own = self.user().and_then(|user| user.overwrite);
        own.unwrap_or(self.context.config.overwrite)
    }

    /// Returns the maximum size of a file that the user uploads, in bytes, or `None` if it is
    /// unlimited.
    pub(crate) fn file_size(&self) -> Option<u64> {
        self.user().map(|user| user.file_size).filter(|bytes| *bytes > 0)
    }

    /// Refuses a name that the configuration denies. Every command that creates something checks
    /// the name before the storage does.
    pub(crate) fn check_new_name(&self, path: &VirtualPath) -> StorageResult<()> {
        let denied = &self.context.config.deny_names;
        match path.name() {
            Some(name) if is_denied(denied, name) => Err(StorageErrorKind::NameNotAllowed.into()),
            _ => Ok(()),
        }
    }

    /// Returns the reply to a command that the storage refused, without details about `path` that
    /// the user has no right to know.
    pub(crate) fn refusal(
        &self,
        path: &VirtualPath,
        error: &StorageError,
        purpose: Purpose,
    ) -> Reply {
        match self.rights_at(path).is_drop_box() {
            true => reply::blind_failure(error, purpose),
            false => reply::storage_failure(error, purpose),
        }
    }

    /// Returns the owner to record for a partial upload at this path. Returns `None` if the login
    /// is shared, or if the user could not resume the upload.
    pub(crate) fn owner(&self, path: &VirtualPath) -> Option<&[u8]> {
        let owner = self.user().and_then(|user| user.owner.as_deref());
        owner.filter(|_| !self.rights_at(path).only_creates())
    }
}
