//! Ends uploads that were not published. A thread does this work, so that a slow store does not
//! delay the session.

use super::buffer::PartBuffer;
use super::error::S3Error;
use super::multipart::Part;
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
    /// Ends the upload in a thread, and waits briefly for that thread. If the record cannot be left,
    /// the process remembers it.
    pub(super) fn begin(self) {
        let (key, record) = (self.begun.key.clone(), self.begun.record.clone());
        let patience = self.begun.store.patience;
        let failed = move |error: S3Error| {
            log::warn!("{key:?}: cannot keep or remove the interrupted upload: {error}");
            if let Some(record) = &record {
                record.remember();
            }
        };
        let late = failed.clone();
        match ThreadJob::begin(move || self.end().unwrap_or_else(late)) {
            Ok(job) => {
                let _: Option<_> = job.wait(patience);
            }
            // The store keeps the parts, as after a crash of the server.
            Err(error) => failed(S3Error::Local(error)),
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
        let Begun { store, record, .. } = &self.begun;
        let Some(record) = record else { return self.discard() };
        let keeps = record.keeps && self.reason == StreamEnd::Cut;
        if keeps && self.is_tried && record.stop_renewing() {
            // The bytes after the parts are lost. Once the lease has expired, the upload can be
            // resumed from its stored parts, as after a crash of the server.
            return Ok(());
        }
        let received = (keeps && !self.is_tried).then_some((&*self.parts, tail));
        match record.leave(store, self.reason, received)? {
            true => Ok(()),
            false => self.discard(),
        }
    }

    fn discard(&self) -> Result<(), S3Error> {
        let Begun { store, multipart, record, .. } = &self.begun;
        let is_own = record.as_ref().map_or(Ok(true), |record| record.end(store))?;
        match multipart {
            // Otherwise another session has resumed the upload.
            Some(multipart) if is_own => store.client.abort_upload(multipart),
            _ => Ok(()),
        }
    }
}
