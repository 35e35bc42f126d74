//! Removals of objects that must not have changed. Some stores ignore the condition of a removal.
//! With such a store, the server looks at the object right before the removal, and meanwhile no
//! session of this process publishes an object under the same key.

use std::time::Instant;

use super::error::S3Error;
use super::http::{self, Client, LOOKS, Request, Retries};
use super::inner::Inner;
use super::objects::Condition;
use crate::lock::unpoisoned;
use crate::storage::{StorageErrorKind as Kind, StorageResult};

impl Client {
    /// Removes an object. A removal without proof counts if the object is then missing.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<(), S3Error> {
        let request = Request {
            operation: "DeleteObject",
            method: "DELETE",
            key: Some(key),
            headers: condition.header().into_iter().collect(),
            ..Request::default()
        };
        let mut retries = Retries::new(self.timeouts.retries);
        let mut is_undecided = false;
        loop {
            let error = match self.once(&request) {
                Ok(_) => return Ok(()),
                Err(error) if error.is_missing() => return Ok(()),
                Err(error) => error,
            };
            is_undecided |= error.is_undecided();
            // The effect of an earlier attempt can be the reason why the store refuses.
            if is_undecided || error.is_precondition() {
                let found = self.head(key);
                if let Ok(None) = found {
                    return Ok(());
                }
                if error.is_undecided() {
                    self.note_late(&request);
                }
                match found {
                    Err(_) if is_undecided => return Err(S3Error::Undecided(Box::new(error))),
                    found => found?,
                };
            }
            match error.is_transient() {
                true => retries.again(error)?,
                false => return Err(error),
            }
        }
    }
}

impl Inner {
    /// Removes an object if it still has this entity tag.
    ///
    /// # Errors
    ///
    /// Returns an error for a condition that is not met if another session has replaced the object.
    pub(super) fn delete_if(&self, key: &str, tag: &str) -> Result<(), S3Error> {
        match self.test("DeleteObject") {
            Ok(true) => return self.client.delete(key, &Condition::Is(tag.to_owned())),
            // This does not prove that the store ignores the condition.
            Err(error) if error.is_transient() || error.is_undecided() => return Err(error),
            _ => {}
        }
        let _alone = self.client.removals.lock(key).map(|lock| unpoisoned(lock.write()));
        match self.client.head(key)? {
            Some(object) if object.tag == tag => self.client.delete(key, &Condition::None),
            Some(_) => Err(S3Error::Refused {
                operation: "DeleteObject",
                status: 412,
                code: "PreconditionFailed".to_owned(),
                message: "the object has changed".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Removes the object at `key`, also if another session has replaced the one with this entity
    /// tag. Each request carries the version that was looked at last.
    pub(super) fn delete_latest(&self, key: &str, mut tag: String) -> StorageResult<()> {
        self.check_late(key)?;
        let begun = Instant::now();
        for _ in 0..LOOKS {
            let error = match http::change(|| self.delete_if(key, &tag)) {
                Err(error) if error.is_precondition() => error,
                done => return Ok(done?),
            };
            // An attempt without a response may have removed the old object. The newer one stays.
            if self.client.late.has_since(key, begun) {
                return Err(S3Error::Undecided(Box::new(error)).into());
            }
            match http::pause(|| self.client.head(key))? {
                Some(object) => tag = object.tag,
                None => return Ok(()),
            }
        }
        Err(Kind::Busy.into())
    }
}
