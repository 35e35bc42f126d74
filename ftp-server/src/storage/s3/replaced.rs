//! Signs: objects that record which uploads are to replace a file. After an interruption, a sign
//! keeps every server that uses the bucket from resuming the upload at the length of the old file.
//!
//! A sign is written when an upload is interrupted. It is also written when an upload begins to
//! store parts, because a server that dies cannot write it. A sign names the version of the old
//! file, and has no effect on other versions.

use super::error::S3Error;
use super::inner::Inner;
use super::keys::Keys;
use super::objects::{Condition, Object};
use super::partial::KEPT;

/// Maximum length of a sign, in bytes.
const LONGEST: u64 = 1_024;

/// The file that an upload of a user replaces.
#[derive(Clone)]
pub(super) struct Replaced {
    sign_key: String,
    version: String,
}

impl Replaced {
    /// Returns the file that an upload of `user` replaces; `user` is `None` for shared logins.
    pub(super) fn new(keys: &Keys, key: &str, user: Option<&[u8]>, old: &Object) -> Self {
        let sign_key = keys.sign(key, user.unwrap_or_default());
        Self { sign_key, version: version(old) }
    }

    /// Writes the sign.
    pub(super) fn sign(&self, store: &Inner) -> Result<(), S3Error> {
        let (bytes, id) = (self.version.as_bytes(), Inner::unique()?);
        store.client.put(&self.sign_key, bytes, &Condition::None, &id, store.checksums).map(drop)
    }

    /// Removes the sign.
    pub(super) fn end(&self, store: &Inner) -> Result<(), S3Error> {
        store.client.delete(&self.sign_key, &Condition::None)
    }
}

/// Returns whether the object at `key` has the sign of this user. Requests the object only if there
/// is a sign, because most files have none.
pub(super) fn has_sign(
    store: &Inner,
    keys: &Keys,
    key: &str,
    user: Option<&[u8]>,
) -> Result<bool, S3Error> {
    let sign_key = keys.sign(key, user.unwrap_or_default());
    let Some((sign, signed)) = store.client.get_small(&sign_key, LONGEST)? else {
        return Ok(false);
    };
    let age = u64::try_from(sign.age()).unwrap_or(0);
    if age >= KEPT.as_secs() {
        return Ok(false);
    }
    let object = store.client.head(key)?;
    Ok(object.is_some_and(|object| version(&object).as_bytes() == signed))
}

/// Returns the entity tag and time of an object. The tag alone stays the same if the same content
/// is stored again.
fn version(object: &Object) -> String {
    format!("{} {}", object.tag, object.modified)
}
