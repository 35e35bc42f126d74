//! Removals of objects that must not have changed. Some stores ignore the condition of a removal.
//! With such a store, the server looks at the object right before the removal, and meanwhile no
//! session of this process publishes an object under the same key.

use super::error::S3Error;
use super::http::{Client, Request, retried};
use super::inner::Inner;
use super::objects::Condition;
use super::probe;
use crate::lock::unpoisoned;

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
        let mut is_undecided = false;
        let done = retried(self.timeouts.retries, || {
            self.once(&request).inspect_err(|error| is_undecided |= error.is_undecided())
        });
        match done {
            Err(error) if error.is_missing() => Ok(()),
            // The effect of an earlier attempt can be the reason why the store refuses.
            Err(error) if is_undecided || error.is_precondition() => match self.head(key) {
                Ok(None) => Ok(()),
                Err(_) if is_undecided => Err(S3Error::Undecided(Box::new(error))),
                found => found.and(Err(error)),
            },
            done => done.map(drop),
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
        if self.checks_removals() {
            return self.client.delete(key, &Condition::Is(tag.to_owned()));
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

    /// Returns whether the store checks the condition of a removal. The first call tests it.
    fn checks_removals(&self) -> bool {
        let removals = &self.client.removals;
        if let Some(is_checked) = removals.is_checked.get() {
            return *is_checked;
        }
        match probe::checks_removals(self) {
            Ok(is_checked) => *removals.is_checked.get_or_init(|| is_checked),
            Err(error) => {
                log::warn!("bucket {}: cannot test the store: {error}", self.client.bucket);
                false
            }
        }
    }
}
