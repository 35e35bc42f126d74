//! Attributes of files: MFMT and MFF (draft-somers-ftp-mfxx-04).

use std::fmt::Write as _;

use ftp_proto::{Facts, Pathname, Permissions, Reply, ReplyCode, TimeVal};

use crate::auth::Rights;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::Session;
use crate::storage::{Capabilities, Change};

/// The attributes to change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct AttributeChange {
    /// New modification time, in seconds since 1970-01-01T00:00:00Z.
    pub(super) modified: Option<i64>,
    /// New permission bits.
    pub(super) mode: Option<u32>,
}

/// Permission bits that clients can set. Set-id bits have no use on transferred files.
const MODE: u32 = 0o777;

/// `MFMT <time> <path>`: 213 with the stored time.
pub(super) fn mfmt(session: &Session, time: &TimeVal, path: &Pathname) -> Result<Reply, Reply> {
    let change = AttributeChange { modified: Some(time.unix_seconds()), mode: None };
    change.make(session, path).map(|facts| stored_facts(facts, path))
}

/// `MFF <fact>=<value>;... <path>`: 213 with the stored values; 504 for a fact that cannot be
/// changed, 501 for an invalid value. If the client repeats a fact, the first value counts.
pub(super) fn mff(session: &Session, facts: &Facts) -> Result<Reply, Reply> {
    let wrong = || Reply::new(ReplyCode::BAD_ARGUMENT, "Bad fact value");
    let path = Pathname::new(facts.name()).map_err(|_| wrong())?;
    let capabilities = session.offer().capabilities;
    let mut change = AttributeChange::default();
    let mut is_known = true;
    for (name, value) in facts.iter() {
        let is = |fact: &str, needed| {
            name.eq_ignore_ascii_case(fact.as_bytes()) && capabilities.contains(needed)
        };
        if is("Modify", Capabilities::SET_TIMES) {
            let time = TimeVal::parse(value).map_err(|_| wrong())?;
            change.modified.get_or_insert(time.unix_seconds());
        } else if is("UNIX.mode", Capabilities::CHMOD) {
            let permissions = Permissions::parse(value).ok_or_else(wrong)?;
            change.mode.get_or_insert(permissions.mode().into());
        } else {
            is_known = false;
        }
    }
    if !is_known {
        let text = "This fact cannot be changed";
        return Err(Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text));
    }
    change.make(session, &path).map(|facts| stored_facts(facts, &path))
}

fn stored_facts(facts: String, path: &Pathname) -> Reply {
    let mut text = facts.into_bytes();
    text.push(b' ');
    text.extend_from_slice(path.as_bytes());
    Reply::new(ReplyCode::FILE_STATUS, text)
}

impl AttributeChange {
    /// Makes the change and returns the stored facts.
    pub(super) fn make(self, session: &Session, path: &Pathname) -> Result<String, Reply> {
        let path = session.resolve(path);
        let needs = |wanted, right| if wanted { right } else { Rights::NONE };
        let rights = needs(self.modified.is_some(), Rights::WRITE)
            | needs(self.mode.is_some(), Rights::CHMOD);
        let storage = session.storage_at(&path, rights)?;
        if self.mode.is_some_and(|mode| mode > MODE) {
            let text = "Only permission bits can be set";
            return Err(Reply::new(ReplyCode::FILE_UNAVAILABLE, text));
        }
        let failed = reply::failure_of(Purpose::Existing);
        let set = |change| storage.set(&path, change);
        // The mode is set first, because a storage that can set times may refuse modes. If the mode
        // is refused, nothing has changed.
        let bits = self.mode.map(|mode| set(Change::Mode(mode))).transpose().map_err(&failed)?;
        let time = self.modified.map(|time| set(Change::Modified(time))).transpose();
        let now = time.as_ref().ok().copied().flatten();
        let modified = now.map(|now| now.modified);
        let mode = bits.map(|now| now.mode);
        if modified.is_some() || mode.is_some() {
            session.tell(EventKind::Changed { path: &path, modified, mode });
        }
        let time = time.map_err(failed)?;
        let mut facts = String::new();
        // Writing to a string does not fail, here and below.
        if let Some(now) = time {
            let time = TimeVal::from_unix_seconds(now.modified).ok_or_else(reply::no_time)?;
            let _ = write!(facts, "Modify={time};");
        }
        if let Some(now) = bits {
            let _ = write!(facts, "UNIX.mode={:04o};", now.mode);
        }
        Ok(facts)
    }
}
