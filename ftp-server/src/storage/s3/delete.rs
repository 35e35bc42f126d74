//! Removals of objects that must not have changed. Some stores ignore the condition of a removal.
//! With such a store, the server looks at the object right before the removal, and meanwhile no
//! session of this process publishes an object under the same key: see [`super::rivals`].

use super::error::S3Error;
use super::http::{Client, Request, Treatment, check_wanted};
use super::inner::Inner;
use super::objects::Condition;
use crate::storage::StorageResult;
use crate::threads::RECENT;

impl Client {
    /// Removes an object. A removal without proof counts if the object is then missing.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<(), S3Error> {
        let headers = condition.header().into_iter().collect();
        let request = Request { headers, ..Request::of("DeleteObject", key) };
        let is_gone = || Ok(self.head(key)?.is_none().then_some(()));
        match self.decided(&request, is_gone, |_| Ok(())) {
            Err(error) if error.is_missing() => Ok(()),
            // Another request can have removed it.
            Err(error) if error.is_precondition() => is_gone()?.ok_or(error),
            done => done,
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
        let _turn = self.turn_of_own(key);
        self.delete_in_turn(key, tag)
    }

    fn delete_in_turn(&self, key: &str, tag: &str) -> Result<(), S3Error> {
        let condition = Condition::Is(tag.to_owned());
        match self.test("DeleteObject") {
            Ok(found) if found.is == Treatment::Checked => {
                return self.client.delete(key, &condition);
            }
            // This does not prove that the store ignores the condition.
            Err(error) if error.is_transient() || error.is_in_doubt() => return Err(error),
            _ => {}
        }
        let now = self.client.head(key)?;
        // The look and the test took time.
        check_wanted(RECENT)?;
        match now {
            None => Ok(()),
            now if condition.is_met(now.as_ref()) => self.client.delete(key, &Condition::None),
            Some(_) => Err(S3Error::changed("DeleteObject")),
        }
    }

    /// Removes the object at `key`, also if another session has replaced the one with this entity
    /// tag. Each request carries the version that was looked at last.
    pub(super) fn delete_latest(&self, key: &str, tag: String) -> StorageResult<()> {
        self.publish(key, (Condition::Is(tag), None), |turn| match turn.condition.clone() {
            Condition::Is(tag) => Ok(turn.change(|| self.delete_in_turn(key, &tag))?),
            // It is gone.
            _ => Ok(()),
        })
    }
}
