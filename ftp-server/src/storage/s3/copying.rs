//! Copies the first bytes of an existing object to the object that replaces it.

use std::ops::Range;
use std::time::Duration;

use super::buffer::PartBuffer;
use super::error::S3Error;
use super::multipart::{LEAST, PARTS, Part};
use super::upload::Begun;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult};
use crate::threads::Polled;

/// Number of bytes that one request copies. Very large objects need larger requests, because the
/// number of parts is limited.
const STEP: u64 = 256 * 1024 * 1024;

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
        let step = STEP.max(self.length / u64::from(PARTS / 2));
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
