//! Permissions of a session's user at a path.

use std::ops::BitOr;
use std::sync::Arc;

use ftp_proto::Reply;

use super::state::Session;
use crate::auth::{Rights, holds_rules, rule_for};
use crate::name_pattern::is_denied;
use crate::reply::{self, Purpose};
use crate::storage::{
    Ask, EntryKind, Storage, StorageError, StorageErrorKind, StorageResult, VirtualPath,
};

impl Session {
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

    /// Returns the rights of the user at this path.
    pub(crate) fn rights_at(&self, path: &VirtualPath) -> Rights {
        self.user().map_or(Rights::NONE, |user| user.rights_at(path))
    }

    /// Returns whether the user may change to this directory: always, unless a rule gives no rights
    /// there.
    pub(crate) fn may_enter(&self, path: &VirtualPath) -> bool {
        let rule = self.user().and_then(|user| rule_for(&user.directories, path));
        rule.is_none_or(|rule| rule.rights != Rights::NONE)
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
