//! Ends uploads that were not published. A thread does this work, so that a slow store does not
//! delay the session.

use super::buffer::Buffer;
use super::error::S3Error;
use super::multipart::Part;
use super::partial::Lease;
use super::upload::{Begun, Sent};
use super::work::Job;
use crate::storage::StorageError;

/// An upload that ends without being published.
pub(super) struct Closing {
    pub(super) begun: Begun,
    pub(super) parts: Vec<Part>,
    /// The bytes that follow the stored parts.
    pub(super) buffer: Buffer,
    pub(super) sending: Option<Job<Sent>>,
    /// Whether the part that is being stored is the last one.
    pub(super) is_last: bool,
    pub(super) committing: Option<Job<Result<(), StorageError>>>,
    /// Whether the upload is kept, to be resumed later.
    pub(super) is_kept: bool,
    /// Whether the upload was interrupted, so the client may retry it.
    pub(super) is_cut: bool,
}

impl Closing {
    /// Ends the upload in a thread, and waits briefly for that thread.
    pub(super) fn begin(self) {
        let key = self.begun.key.clone();
        let own_key = key.clone();
        let patience = self.begun.store.patience;
        let ended = Job::begin(move || {
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
        if let Some(replaced) = self.begun.replaced.as_ref().filter(|_| self.is_cut)
            // If the store publishes the file after all, the sign names the old version and has no
            // effect.
            && let Err(error) = replaced.sign(&self.begun.store)
        {
            let key = &self.begun.key;
            log::warn!("{key:?}: cannot store the marker of the interrupted upload: {error}");
        }
        if let Some(committing) = self.committing.take() {
            // A request to publish cannot be withdrawn.
            if matches!(committing.finish(), Ok(Ok(()))) {
                return Ok(());
            }
            // The bytes after the parts are lost. Once the lease has expired, the upload can be
            // resumed after the last stored part.
            return if self.is_kept { Ok(()) } else { self.discard() };
        }
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
        match self.begun.note_key.clone().filter(|_| self.is_kept) {
            Some(note_key) => self.keep(&note_key, &tail),
            None => self.discard(),
        }
    }

    fn keep(&self, note_key: &str, tail: &[u8]) -> Result<(), S3Error> {
        let Begun { store, key, .. } = &self.begun;
        let is_empty = self.parts.is_empty() && tail.is_empty();
        // Only an upload of a new file can be resumed.
        if is_empty || store.client.head(key)?.is_some() {
            return self.discard();
        }
        let lease = match &self.begun.lease {
            Some(lease) => std::sync::Arc::clone(lease),
            None => {
                if let Some(multipart) = &self.begun.multipart {
                    // Without a lease, the note could not be written, so no part was stored.
                    store.client.abort_upload(multipart)?;
                }
                Lease::begin(store, note_key, self.begun.note()?)?
            }
        };
        lease.keep(store, &self.parts, tail, super::inner::Inner::unique()?)
    }

    fn discard(&self) -> Result<(), S3Error> {
        let Begun { store, multipart, lease, replaced, .. } = &self.begun;
        if let (Some(replaced), Some(_), false) = (replaced, multipart, self.is_cut) {
            replaced.end(store)?;
        }
        let is_own = match lease {
            Some(lease) => lease.end(store)?,
            None => true,
        };
        match multipart {
            // If the note belongs to another session, that session has resumed the upload.
            Some(multipart) if is_own => store.client.abort_upload(multipart),
            _ => Ok(()),
        }
    }
}
