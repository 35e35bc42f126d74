//! Ends uploads that were not published. A thread does this work, so that a slow store does not
//! delay the session.

use super::buffer::PartBuffer;
use super::error::S3Error;
use super::multipart::Part;
use super::objects::{Condition, StoredObject};
use super::partial;
use super::record::StoreRecord;
use super::upload::{Begun, Sent};
use crate::storage::StreamEnd;
use crate::threads::ThreadJob;

/// An upload that ends without being published.
pub(super) struct Closing {
    pub(super) begun: Begun,
    pub(super) parts: Vec<Part>,
    /// The bytes that follow the stored parts.
    pub(super) buffer: PartBuffer,
    pub(super) sending: Option<ThreadJob<Sent>>,
    /// Whether the part that is being stored is the last one.
    pub(super) is_last: bool,
    /// Whether the request to publish the file was sent.
    pub(super) is_tried: bool,
    pub(super) reason: StreamEnd,
}

impl Closing {
    /// Ends the upload in a thread, and waits briefly for that thread.
    pub(super) fn begin(self) {
        let key = self.begun.key.clone();
        let own_key = key.clone();
        let patience = self.begun.store.patience;
        let ended = ThreadJob::begin(move || {
            if let Err(error) = self.end() {
                log::warn!("{own_key:?}: cannot keep or remove the interrupted upload: {error}");
            }
        });
        match ended {
            Ok(job) => {
                let _: Option<_> = job.wait(patience);
            }
            // The store keeps the parts, as after a crash of the server.
            Err(error) => {
                log::warn!("{key:?}: cannot keep or remove the interrupted upload: {error}");
            }
        }
    }

    fn end(mut self) -> Result<(), S3Error> {
        // These bytes follow the bytes of the part that is being stored.
        let mut tail = self.buffer.take();
        if let Some(sending) = self.sending.take() {
            let mut sent = sending.finish()?;
            self.begun = sent.begun;
            match sent.part {
                Ok(part) if !self.is_last => self.parts.push(part),
                _ => {
                    let next = std::mem::replace(&mut tail, sent.buffer.take());
                    tail.extend_from_slice(&next);
                }
            }
        }
        self.leave_record(&tail)
    }

    fn leave_record(&self, tail: &[u8]) -> Result<(), S3Error> {
        let Begun { store, key, record, lease, .. } = &self.begun;
        let leaves = |record: &&StoreRecord| !record.leaves_nothing(self.reason);
        let Some(record) = record.as_ref().filter(leaves) else {
            return self.discard();
        };
        if store.client.head(key)?.as_ref().map(StoredObject::version) != record.old {
            return self.discard();
        }
        let keeps = record.keeps && self.reason == StreamEnd::Cut;
        if keeps && self.is_tried && lease.is_some() {
            // The bytes after the parts are lost. Once the lease has expired, the upload can be
            // resumed from its stored parts, as after a crash of the server.
            return Ok(());
        }
        let received = (keeps && !self.is_tried).then_some((&*self.parts, tail));
        match lease {
            Some(lease) => lease.leave(store, received),
            None => {
                self.begun.supersede()?;
                let note = self.begun.note()?;
                partial::leave(store, &record.note_key, &note, received, &Condition::None)
            }
        }
    }

    fn discard(&self) -> Result<(), S3Error> {
        let Begun { store, multipart, lease, record, .. } = &self.begun;
        let is_own = match lease {
            Some(lease) => lease.end(store)?,
            None => true,
        };
        match multipart {
            // Otherwise another session has resumed the upload.
            Some(multipart) if is_own || record.as_ref().is_none_or(|record| !record.keeps) => {
                store.client.abort_upload(multipart)
            }
            _ => Ok(()),
        }
    }
}
