//! Uploads, and the copies of existing bytes that begin some of them. One request stores a small
//! file. A larger file is stored in parts: a thread stores each part while the next one arrives.
//!
//! A part is stored only when a byte of the next part has arrived, or at the end of the file. So
//! the last bytes of an interrupted upload are always in memory, and can be kept in addition to the
//! parts.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::error::S3Error;
use super::http::STEP;
use super::inner::Inner;
use super::multipart::{LEAST, Multipart, PARTS, Part, PartBuffer};
use super::objects::ID;
use super::record::{SMALL, StoreRecord};
use super::rivals::Publishing;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult, StreamEnd, Upload};
use crate::threads::{Polled, ThreadJob, is_cancelled};

/// Number of parts after which the part size doubles.
const DOUBLED: u32 = 1_000;

/// An upload at the store.
#[derive(Clone)]
pub(super) struct Begun {
    pub(super) store: Arc<Inner>,
    pub(super) key: String,
    /// The metadata that identifies the object once it is stored.
    pub(super) id: String,
    pub(super) multipart: Option<Multipart>,
    /// The record that the upload leaves if it does not end with success; `None` if it leaves
    /// nothing.
    pub(super) record: Option<Arc<StoreRecord>>,
}

impl Begun {
    /// Returns the multipart upload, and begins it if necessary. This method then also writes or
    /// updates the note of the upload.
    pub(super) fn multipart(&mut self) -> Result<Multipart, S3Error> {
        if let Some(multipart) = &self.multipart {
            return Ok(multipart.clone());
        }
        if let Some(record) = &self.record {
            record.note_first(&self.store)?;
        }
        let metadata = [(ID.to_owned(), self.id.clone())];
        let multipart = self.store.client.create_upload(&self.key, &metadata)?;
        self.multipart = Some(multipart.clone());
        if let Some(record) = &self.record {
            record.begin_parts(&self.store, &multipart.upload)?;
        }
        Ok(multipart)
    }

    /// Returns `Busy` if another session has taken over the upload.
    fn prove(&self) -> StorageResult<()> {
        self.record.as_ref().map_or(Ok(()), |record| record.prove(&self.store))
    }
}

/// A part that is being stored.
pub(super) struct Sent {
    pub(super) begun: Begun,
    pub(super) part: StorageResult<Part>,
    pub(super) buffer: PartBuffer,
}

pub(super) struct S3Upload {
    begun: Begun,
    publishing: Publishing,
    copying: Option<Copying>,
    parts: Vec<Part>,
    /// The bytes that follow the parts. If the last part is stored already, its bytes stay here
    /// too, until the file is published.
    buffer: PartBuffer,
    sending: Option<ThreadJob<Sent>>,
    /// Number of bytes that the session has written.
    received: u64,
    /// Whether the session has written all bytes.
    is_whole: bool,
    /// Whether the last part of the file is stored or is being stored.
    is_last_stored: bool,
    /// Whether the upload gave up its memory because its client is slow while others wait.
    is_too_slow: bool,
    /// Whether the request to publish the file was sent.
    is_tried: bool,
    /// The size of the file, once all its bytes are ready to be published.
    size: Option<u64>,
    /// Whether the file is published or the upload has ended.
    is_over: bool,
}

impl S3Upload {
    pub(super) fn new(begun: Begun, publishing: Publishing) -> Self {
        let buffer = PartBuffer::new(&begun.store.pool);
        Self {
            begun,
            publishing,
            copying: None,
            parts: Vec::new(),
            buffer,
            sending: None,
            received: 0,
            is_whole: false,
            is_last_stored: false,
            is_too_slow: false,
            is_tried: false,
            size: None,
            is_over: false,
        }
    }

    /// Makes the upload begin with the first bytes of an existing object.
    ///
    /// # Errors
    ///
    /// Returns `Busy` if there is no memory for bytes that this server gets.
    pub(super) fn after(mut self, copying: Copying) -> StorageResult<Self> {
        if copying.length < LEAST {
            self.buffer.hold(copying.length)?;
        }
        self.copying = Some(copying);
        Ok(self)
    }

    pub(super) fn resumed(mut self, parts: Vec<Part>, tail: PartBuffer) -> Self {
        self.parts = parts;
        self.buffer = tail;
        self
    }

    /// Returns the least and the greatest size of the next part.
    fn part_sizes(&self) -> (usize, usize) {
        let Inner { part_size, largest_part, .. } = &*self.begun.store;
        let before = self.parts.len() + usize::from(self.sending.is_some());
        let doubled = u32::try_from(before).unwrap_or(PARTS) / DOUBLED;
        let size = part_size.saturating_mul(1 << doubled.min(16)).min(*largest_part);
        let length = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        (length(LEAST.max(size / 2)), length(size))
    }

    /// Waits up to `limit` for the part that is being stored. Returns whether no part is pending.
    fn poll(&mut self, limit: Duration) -> StorageResult<bool> {
        let Some(sending) = &self.sending else { return Ok(true) };
        let Some(sent) = sending.wait(limit) else { return Ok(false) };
        self.sending = None;
        self.take(sent.map_err(StorageError::from)?)
    }

    fn take(&mut self, sent: Sent) -> StorageResult<bool> {
        self.begun = sent.begun;
        // Keeps the bytes of the last part until the file is published, and those of a failed part
        // for another attempt.
        if self.is_last_stored || sent.part.is_err() {
            self.buffer = sent.buffer;
        }
        match sent.part {
            Ok(part) => {
                self.parts.push(part);
                Ok(true)
            }
            Err(error) => {
                self.is_last_stored = false;
                Err(error)
            }
        }
    }

    /// Starts to store the buffer as the next part. The bytes of the last one stay in memory.
    fn send(&mut self, is_last: bool) -> StorageResult<()> {
        let number = u32::try_from(self.parts.len()).unwrap_or(PARTS) + 1;
        if number > PARTS {
            return Err(Kind::OverQuota.into());
        }
        let empty = self.buffer.another();
        let mut buffer = std::mem::replace(&mut self.buffer, empty);
        let mut begun = self.begun.clone();
        self.sending = Some(ThreadJob::begin(move || {
            let part = store_part(&mut begun, number, buffer.bytes());
            if part.is_ok() && !is_last {
                // Others need not wait until the session looks.
                buffer = buffer.another();
            }
            Sent { begun, part, buffer }
        })?);
        Ok(())
    }

    /// Waits up to `limit` for memory, and returns whether the buffer takes the next bytes or is to
    /// be stored. Returns `Busy` if nobody gets memory for too long, or if others have to wait for
    /// the bytes of this client.
    fn reserve(&mut self, limit: Duration) -> StorageResult<bool> {
        let longest = self.begun.store.client.timeouts.memory;
        self.is_too_slow = self.buffer.holds_up(longest / 2);
        if self.is_too_slow || self.buffer.waits_in_vain(longest) {
            let cause = io::Error::other("there is not enough memory for parts");
            return Err(StorageError::caused_by(Kind::Busy, cause));
        }
        self.buffer.extend(self.part_sizes(), limit)
    }

    /// Stores the remaining bytes, after the session has written the whole file. Takes up to
    /// `limit`. Returns `true` if all bytes are stored, or if the request to publish the file will
    /// contain them.
    fn finish_parts(&mut self, limit: Duration) -> StorageResult<bool> {
        self.is_whole = true;
        self.buffer.end();
        if !self.poll(limit)? {
            return Ok(false);
        }
        if self.begun.multipart.is_none() || self.is_last_stored || self.buffer.bytes().is_empty() {
            return Ok(true);
        }
        self.send(true)?;
        self.is_last_stored = true;
        self.poll(limit)
    }

    /// Stores what precedes the request to publish the file, for up to `limit`. Returns whether all
    /// of it is stored.
    fn finish(&mut self, limit: Duration) -> StorageResult<bool> {
        if !self.prepare_for(limit)? || !self.finish_parts(limit)? {
            return Ok(false);
        }
        self.size = Some(match self.begun.multipart {
            Some(_) => self.parts.iter().map(|part| part.size).sum(),
            None => self.buffer.bytes().len() as u64,
        });
        Ok(true)
    }

    fn publish(&mut self) -> StorageResult<()> {
        while !self.finish(STEP)? {}
        self.is_tried = true;
        publish(&self.begun, &self.parts, self.buffer.bytes(), self.publishing.clone())
    }

    /// Copies the first bytes of the old object, for up to `limit`. Returns whether all of them are
    /// copied.
    fn prepare_for(&mut self, limit: Duration) -> StorageResult<bool> {
        let Some(copying) = &mut self.copying else { return Ok(true) };
        if !copying.step(&mut self.begun, &mut self.parts, &mut self.buffer, limit)? {
            return Ok(false);
        }
        self.copying = None;
        Ok(true)
    }

    fn close(&mut self, end: StreamEnd) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        // Omits the last part, which stays at the store: if the reported size included it, the
        // client would assume that the whole file is stored.
        if self.is_last_stored && self.sending.is_none() {
            self.parts.pop();
        }
        self.buffer.end();
        let empty = self.buffer.another();
        let closing = Closing {
            begun: self.begun.clone(),
            parts: std::mem::take(&mut self.parts),
            buffer: std::mem::replace(&mut self.buffer, empty),
            sending: self.sending.take(),
            is_last: self.is_last_stored,
            is_tried: self.is_tried,
            reason: if self.is_too_slow { StreamEnd::Cut } else { end },
        };
        closing.begin();
    }
}

/// Stores a part. Begins the multipart upload if necessary.
fn store_part(begun: &mut Begun, number: u32, bytes: &[u8]) -> StorageResult<Part> {
    let multipart = begun.multipart()?;
    begun.prove()?;
    let store = &begun.store;
    Ok(store.client.upload_part(&multipart, number, bytes)?)
}

fn publish(
    begun: &Begun,
    parts: &[Part],
    bytes: &[u8],
    publishing: Publishing,
) -> StorageResult<()> {
    let Begun { store, key, id, multipart, record } = begun;
    begun.prove()?;
    let refusal = publishing.1.unwrap_or(Kind::Busy);
    let latest = store.publish(key, publishing, |turn| {
        let (latest, condition) = (store.latest(), &turn.condition.clone());
        let published = turn.change(|| match multipart {
            Some(multipart) => {
                store.conditional(("CompleteMultipartUpload", key), condition, |condition| {
                    store.client.complete(multipart, parts, condition, id)
                })
            }
            None => store.store_object(key, bytes, condition, id),
        });
        published.map(|_| latest).map_err(|error| match error.is_precondition() {
            true => refusal.into(),
            false if error.is_missing() => Kind::Busy.into(),
            false => error.into(),
        })
    })?;
    store.memory.running.stored(&key.as_bytes().to_vec(), latest);
    if let Some(record) = record {
        record.stored(store);
    }
    Ok(())
}

impl io::Write for S3Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while !self.prepare_for(STEP)? {}
        if bytes.is_empty() {
            return Ok(0);
        }
        while !self.reserve(STEP)? {}
        if self.buffer.is_complete(self.part_sizes()) {
            while !self.poll(STEP)? {}
            self.send(false)?;
        }
        let count = self.buffer.add(bytes, self.part_sizes().1);
        self.received += count as u64;
        if let Some(record) = &self.begun.record
            && self.received >= SMALL
        {
            record.note_now(&self.begun.store);
        }
        Ok(count)
    }

    /// Marks the end of the content. [`ready`](Upload::ready) waits until all of it is stored.
    fn flush(&mut self) -> io::Result<()> {
        self.is_whole = true;
        Ok(())
    }
}

impl Upload for S3Upload {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.prepare_for(STEP)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        if !self.prepare_for(STEP)? {
            return Ok(false);
        }
        if self.is_whole {
            return self.finish_parts(STEP);
        }
        let is_free = self.poll(Duration::ZERO)?;
        self.begun.record.as_ref().map_or(Ok(()), |record| record.check())?;
        if !self.reserve(STEP)? {
            return Ok(false);
        }
        // The next write may complete this part and start to store it. That write must not wait for
        // the previous part.
        Ok(is_free || self.buffer.is_roomy(self.part_sizes().1) || self.poll(STEP)?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        self.finish(STEP)
    }

    /// Returns the size of the file. The store confirms it by accepting a request with the digest of
    /// all bytes, or with the tags of all parts.
    fn published_size(&self) -> Option<u64> {
        self.size
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let committed = self.publish();
        match committed {
            Ok(()) => self.is_over = true,
            Err(_) if is_cancelled() => self.close(StreamEnd::Cut),
            Err(_) => self.close(StreamEnd::Failed),
        }
        committed
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.close(end);
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        self.close(StreamEnd::Cut);
    }
}

/// An upload that ends without being published.
struct Closing {
    begun: Begun,
    parts: Vec<Part>,
    /// The bytes that follow the stored parts.
    buffer: PartBuffer,
    sending: Option<ThreadJob<Sent>>,
    /// Whether the part that is being stored is the last one.
    is_last: bool,
    /// Whether the request to publish the file was sent.
    is_tried: bool,
    reason: StreamEnd,
}

impl Closing {
    /// Ends the upload in a thread, so that a slow store does not delay the session, and waits briefly for
    /// that thread. If the record cannot be left,
    /// the process remembers it.
    fn begin(self) {
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

/// Number of bytes that one request copies. Very large objects need larger requests, because the
/// number of parts is limited.
const COPY_STEP: u64 = 256 * 1024 * 1024;

/// A copy of the first bytes of an object. The store itself copies the bytes. If they are too few
/// for a part, the server downloads them into the buffer instead.
pub(super) struct Copying {
    /// The entity tag that the object must still have.
    pub(super) tag: String,
    pub(super) length: u64,
    /// Number of bytes copied so far.
    pub(super) at: u64,
    pub(super) running: Polled<Copied>,
}

pub(super) struct Copied {
    begun: Begun,
    content: Result<CopiedContent, S3Error>,
}

enum CopiedContent {
    Part(Part),
    Bytes(Vec<u8>),
    /// The object was replaced or removed.
    Changed,
}

impl Copying {
    pub(super) fn new(tag: String, length: u64) -> Self {
        Self { tag, length, at: 0, running: Polled::default() }
    }

    /// Copies for up to `limit`. Returns whether all bytes are copied.
    pub(super) fn step(
        &mut self,
        begun: &mut Begun,
        parts: &mut Vec<Part>,
        buffer: &mut PartBuffer,
        limit: Duration,
    ) -> StorageResult<bool> {
        if self.at >= self.length {
            return Ok(true);
        }
        let (mut own, tag, length, range) =
            (begun.clone(), self.tag.clone(), self.length, self.next());
        let number = u32::try_from(parts.len()).unwrap_or(PARTS) + 1;
        let copied = self.running.poll(true, limit, move || {
            let content = match length < LEAST {
                true => bytes(&own, &tag, length),
                false => part(&mut own, &tag, number, range),
            };
            Copied { begun: own, content }
        })?;
        let Some(Copied { begun: now, content }) = copied else { return Ok(false) };
        *begun = now;
        match content.map_err(changed)? {
            CopiedContent::Part(part) => {
                self.at += part.size;
                parts.push(part);
            }
            CopiedContent::Bytes(bytes) => {
                self.at = self.length;
                buffer.set(bytes);
            }
            CopiedContent::Changed => return Err(Kind::Busy.into()),
        }
        Ok(self.at >= self.length)
    }

    /// Returns the next range. Each range, including the last one, is large enough for a part.
    fn next(&self) -> Range<u64> {
        let step = COPY_STEP.max(self.length / u64::from(PARTS / 2));
        let end = self.at + step;
        let is_last = end + LEAST > self.length;
        self.at..if is_last { self.length } else { end }
    }
}

fn part(
    begun: &mut Begun,
    tag: &str,
    number: u32,
    range: Range<u64>,
) -> Result<CopiedContent, S3Error> {
    let multipart = begun.multipart()?;
    let (client, from) = (&begun.store.client, (&*begun.key, tag));
    client.copy_part(&multipart, number, from, range, false).map(CopiedContent::Part)
}

fn bytes(begun: &Begun, tag: &str, length: u64) -> Result<CopiedContent, S3Error> {
    Ok(match begun.store.client.get_small(&begun.key, length)? {
        Some((object, bytes)) if object.tag == tag && bytes.len() as u64 == length => {
            CopiedContent::Bytes(bytes)
        }
        _ => CopiedContent::Changed,
    })
}

fn changed(error: S3Error) -> StorageError {
    if error.is_precondition() || error.is_missing() {
        return Kind::Busy.into();
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_neither_too_many_nor_too_small() {
        const MIB: u64 = 1 << 20;
        for (length, want) in
            [(LEAST, 1), (256 * MIB, 1), (260 * MIB, 1), (261 * MIB, 2), (5 << 40, 5_000)]
        {
            let mut copying = Copying::new(String::new(), length);
            let mut count = 0;
            while copying.at < length {
                let range = copying.next();
                assert!(range.start == copying.at && range.end - range.start >= LEAST);
                copying.at = range.end;
                count += 1;
            }
            assert_eq!((copying.at, count), (length, want), "{length}");
        }
    }
}
