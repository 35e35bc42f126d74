//! Multipart uploads: the S3 operations on them, and the bytes of a part before it is stored, with its
//! share of the memory for parts.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::encode::{Sum, md5, sha256, xml_elements, xml_escaped, xml_next_page, xml_text};
use super::error::S3Error;
use super::http::{Client, Request, retried};
use super::objects::{Condition, check_sum, existing};
use crate::shares::{Share, Shares, table};
use crate::storage::{StorageErrorKind as Kind, StorageResult};
use crate::threads;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Part {
    /// The number, from 1 to [`PARTS`].
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) tag: String,
}

pub(super) const PARTS: u32 = 10_000;

/// Minimum size of a part other than the last one, in bytes.
pub(super) const LEAST: u64 = 5 * 1024 * 1024;

/// A multipart upload: the key of its object, and the upload id from the store.
#[derive(Clone, Debug)]
pub(super) struct Multipart {
    pub(super) key: String,
    pub(super) upload: String,
}

impl Client {
    pub(super) fn create_upload(
        &self,
        key: &str,
        metadata: &[(String, String)],
    ) -> Result<Multipart, S3Error> {
        let headers = metadata.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let query = vec![("uploads", "")];
        let request = Request { query, headers, ..Request::of("CreateMultipartUpload", key) };
        // If the response is lost, an empty upload may remain. Only a lifecycle rule removes it.
        let answer = self.call(&request)?;
        Ok(Multipart { key: key.to_owned(), upload: answer.text("UploadId") })
    }

    /// Stores a part, or replaces the part with this number.
    ///
    /// The signature contains the part's digest, which the store checks. The part has no checksum of
    /// S3: the completion would have to repeat it, but some stores do not report it to a server that
    /// resumes the upload.
    pub(super) fn upload_part(
        &self,
        to: &Multipart,
        number: u32,
        bytes: &[u8],
    ) -> Result<Part, S3Error> {
        let sum: Sum = sha256(bytes);
        let digits = number.to_string();
        let request = Request {
            query: vec![("partNumber", &*digits), ("uploadId", &*to.upload)],
            headers: vec![("content-md5", md5(bytes))],
            body: Some(bytes),
            sum: Some(sum),
            ..Request::of("UploadPart", &*to.key)
        };
        let answer = self.call(&request)?;
        check_sum(&request, &answer)?;
        Ok(Part { number, size: bytes.len() as u64, tag: answer.tag() })
    }

    /// Lets the store copy a range of an object as a part, if the object still has this entity tag.
    /// A small object must be the whole range: stores copy no other one.
    pub(super) fn copy_part(
        &self,
        to: &Multipart,
        number: u32,
        (from, tag): (&str, &str),
        range: Range<u64>,
        is_whole: bool,
    ) -> Result<Part, S3Error> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let digits = number.to_string();
        let mut headers = vec![
            ("x-amz-copy-source", self.source(from)),
            ("x-amz-copy-source-if-match", tag.to_owned()),
        ];
        headers.extend((!is_whole).then_some(("x-amz-copy-source-range", bytes)));
        let query = vec![("partNumber", &*digits), ("uploadId", &*to.upload)];
        let request = Request { query, headers, ..Request::of("UploadPartCopy", &*to.key) };
        let tag = self.call(&request)?.text("ETag");
        Ok(Part { number, size: range.end - range.start, tag })
    }

    /// Makes the object from the parts, and returns its entity tag. If the response is lost, the
    /// metadata `id` shows whether the object was made.
    pub(super) fn complete(
        &self,
        upload: &Multipart,
        parts: &[Part],
        condition: &Condition,
        id: &str,
    ) -> Result<String, S3Error> {
        let body = complete_body(parts);
        let request = Request {
            query: vec![("uploadId", &*upload.upload)],
            headers: condition.header().into_iter().collect(),
            body: Some(body.as_bytes()),
            ..Request::of("CompleteMultipartUpload", &*upload.key)
        };
        let made = || self.made(&upload.key, id);
        self.decided(&request, made, |answer| Ok(answer.text("ETag")))
    }

    pub(super) fn abort_upload(&self, upload: &Multipart) -> Result<(), S3Error> {
        let query = vec![("uploadId", &*upload.upload)];
        let request = Request { query, ..Request::of("AbortMultipartUpload", &*upload.key) };
        retried(self.timeouts.retries, || match existing(self.once(&request)) {
            // The response of a store without signs proves nothing.
            Err(error) if error.is_undecided() && !self.sends_signs() => {
                if self.list_parts(upload)?.is_some() { Err(error) } else { Ok(()) }
            }
            done => done.map(drop),
        })
    }

    /// Returns the stored parts of an upload in order; `None` if the upload does not exist.
    pub(super) fn list_parts(&self, upload: &Multipart) -> Result<Option<Vec<Part>>, S3Error> {
        let operation = "ListParts";
        let mut parts: Vec<Part> = Vec::new();
        let mut after = String::from("0");
        loop {
            let query = vec![("uploadId", &*upload.upload), ("part-number-marker", &*after)];
            let request = Request { query, ..Request::of(operation, &*upload.key) };
            let Some(answer) = existing(self.call(&request))? else { return Ok(None) };
            let reason = "expected parts with numbers, sizes and tags";
            let wrong = || S3Error::wrong(operation, reason);
            let (page, next) = page_of_parts(&answer.body).ok_or_else(wrong)?;
            parts.extend(page);
            match next {
                Some(next) if next != after && parts.len() <= PARTS as usize => after = next,
                Some(_) => return Err(wrong()),
                None => break,
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(Some(parts))
    }
}

fn complete_body(parts: &[Part]) -> String {
    let mut body = String::from("<CompleteMultipartUpload>");
    for part in parts {
        let tag = xml_escaped(&part.tag);
        let number = part.number;
        let part = format!("<PartNumber>{number}</PartNumber><ETag>{tag}</ETag>");
        body.push_str(&format!("<Part>{part}</Part>"));
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

/// Reads a page of `ListParts`, and the marker of the next page.
fn page_of_parts(body: &str) -> Option<(Vec<Part>, Option<String>)> {
    // The test server moto uses the second name.
    let result = ["ListPartsResult", "ListPartsResponse"];
    let result = result.iter().find_map(|name| xml_elements(body, name).first().copied())?;
    let part = |part: &&str| {
        let number = |name| xml_text(part, name)?.trim().parse::<u64>().ok();
        Some(Part {
            number: u32::try_from(number("PartNumber")?).ok()?,
            size: number("Size")?,
            tag: xml_text(part, "ETag")?,
        })
    };
    let parts: Option<Vec<Part>> = xml_elements(result, "Part").iter().map(part).collect();
    Some((parts?, xml_next_page(result, "NextPartNumberMarker")?))
}

/// Maximum number of bytes that an upload buffers without a share of the memory. So small files never
/// wait for memory.
const FREE: usize = 1024 * 1024;

/// The bytes of one unit of memory.
const UNIT: usize = 512 * 1024;

/// Maximum time that an upload which begins with old bytes waits for their memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the memory for the parts of all uploads to a store.
pub(super) fn pool(bytes: u64) -> Arc<Shares> {
    Shares::new(&table::PARTS, bytes / UNIT as u64)
}

const fn units(bytes: usize) -> u64 {
    bytes.div_ceil(UNIT) as u64
}

/// Bytes of one part. Its memory grows as bytes arrive. A part that has its least size can be stored,
/// so it never waits for more: see [`Shares::begin`].
#[derive(Debug)]
pub(super) struct PartBuffer {
    pool: Arc<Shares>,
    client: IpAddr,
    bytes: Vec<u8>,
    /// The memory of all bytes, once there are more than [`FREE`].
    memory: Option<Share>,
    /// The claim to more memory.
    wanted: Option<Share>,
}

impl PartBuffer {
    pub(super) fn new(pool: &Arc<Shares>) -> Self {
        let (pool, client) = (Arc::clone(pool), threads::client());
        Self { pool, client, bytes: Vec::new(), memory: None, wanted: None }
    }

    /// Returns an empty buffer of the same pool and client.
    pub(super) fn another(&self) -> Self {
        Self { client: self.client, ..Self::new(&self.pool) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn capacity(&self) -> usize {
        let units = self.memory.as_ref().map(|memory| usize::try_from(memory.units()));
        units.map_or(FREE, |units| units.unwrap_or(usize::MAX).saturating_mul(UNIT))
    }

    /// Returns whether the part of at most `part` bytes takes more bytes.
    pub(super) fn is_roomy(&self, part: usize) -> bool {
        self.bytes.len() < self.capacity().min(part)
    }

    /// Returns whether the part is to be stored: it has its greatest size, or its least and no memory
    /// for more.
    pub(super) fn is_complete(&self, (least, part): (usize, usize)) -> bool {
        self.bytes.len() >= part.min(self.capacity().max(least))
    }

    /// Waits up to `limit` for the memory of more bytes. Returns whether there is some, or the
    /// part can do without it.
    ///
    /// # Errors
    ///
    /// Returns `Busy` if the system has no memory left.
    pub(super) fn extend(
        &mut self,
        (least, part): (usize, usize),
        limit: Duration,
    ) -> StorageResult<bool> {
        let capacity = self.capacity();
        if self.is_roomy(part) || capacity >= part {
            return Ok(true);
        }
        if let Some(memory) = self.memory.as_mut().filter(|_| capacity >= least) {
            return if memory.grow(1) { self.allocate() } else { Ok(true) };
        }
        self.wanted.get_or_insert_with(|| match &self.memory {
            None => self.pool.begin(self.client, units(FREE + UNIT), units(least)),
            Some(memory) => memory.more(1),
        });
        self.get(limit)
    }

    /// Gets the memory of bytes that do not come from the client.
    ///
    /// # Errors
    ///
    /// Returns `Busy` if there is none for some seconds.
    pub(super) fn hold(&mut self, bytes: u64) -> StorageResult<()> {
        let bytes = usize::try_from(bytes).map_err(|_| Kind::Busy)?;
        if bytes > FREE {
            // Room to fill a part, else many that resume at once could wait for each other.
            let least = usize::try_from(LEAST).unwrap_or(usize::MAX);
            self.wanted = Some(self.pool.begin(self.client, units(bytes), units(bytes.max(least))));
            if !self.get(PATIENCE)? {
                return Err(Kind::Busy.into());
            }
        }
        Ok(())
    }

    /// Waits up to `limit` for the memory that was claimed. Returns whether it was granted.
    fn get(&mut self, limit: Duration) -> StorageResult<bool> {
        let granted = self.wanted.take_if(|wanted| wanted.wait(Instant::now() + limit));
        let Some(more) = granted else { return Ok(false) };
        match &mut self.memory {
            Some(memory) => memory.join(more),
            memory => *memory = Some(more),
        }
        self.allocate()
    }

    fn allocate(&mut self) -> StorageResult<bool> {
        let more = self.capacity().saturating_sub(self.bytes.len());
        self.bytes.try_reserve_exact(more).map_err(|_| Kind::Busy)?;
        Ok(true)
    }

    /// Claims no more memory, because no more bytes come.
    pub(super) fn end(&mut self) {
        self.wanted = None;
    }

    /// Returns whether others have waited for the next bytes of this client for the time `limit`.
    pub(super) fn holds_up(&self, limit: Duration) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.holds_up(limit))
    }

    /// Returns whether this buffer waits, and nobody has got memory for the time `limit`.
    pub(super) fn waits_in_vain(&self, limit: Duration) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.waits_in_vain(limit))
    }

    /// Adds bytes, as many as there is memory for in a part of `part` bytes. Returns their number.
    pub(super) fn add(&mut self, bytes: &[u8], part: usize) -> usize {
        let most = self.capacity().min(part);
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Returns the content, and leaves the buffer empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Sets the content, which has [its memory](Self::hold).
    pub(super) fn set(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipart_parts_are_parsed_and_encoded_for_completion() {
        let body = "<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>2\
            </NextPartNumberMarker><Part><PartNumber>1</PartNumber><Size>7</Size><ETag>&quot;x&quot;\
            </ETag></Part><Part><PartNumber>2</PartNumber><Size>5</Size><ETag>y</ETag>\
            <ChecksumSHA256>s=</ChecksumSHA256></Part></ListPartsResult>";
        let (parts, next) = page_of_parts(body).unwrap();
        assert_eq!((parts[0].size, &*parts[0].tag, next.as_deref()), (7, "\"x\"", Some("2")));
        let told = complete_body(&parts);
        assert!(told.contains("<PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag></Part>"));
        assert!(told.contains("<ETag>y</ETag></Part>"));
        assert!(page_of_parts(&body.replace("Size>5", "Size>x")).is_none());
        assert!(page_of_parts("").is_none());
    }

    const LEAST: usize = 10 * UNIT;
    const PART: usize = 16 * UNIT;

    /// Adds a byte after another until the buffer waits or is complete. Returns the number of units.
    fn fill(buffer: &mut PartBuffer) -> usize {
        let sizes = (LEAST, PART);
        while buffer.extend(sizes, Duration::ZERO).unwrap() && !buffer.is_complete(sizes) {
            assert!(buffer.add(&[0; UNIT], PART) > 0);
        }
        buffer.bytes.len() / UNIT
    }

    #[test]
    fn a_part_is_stored_at_its_least_size_where_memory_is_scarce() {
        // The units of memory, and the sizes of the parts of uploads that fill one after another
        // without storing anything.
        for (total, want) in [
            (100, &[16, 16, 16, 16, 11][..]),
            (20, &[15, 3, 2]),
            (10, &[10, 2]),
            (40, &[16, 14, 5]),
        ] {
            let pool = Shares::new(&table::PARTS, total);
            let mut buffers: Vec<_> = want.iter().map(|_| PartBuffer::new(&pool)).collect();
            let filled: Vec<_> = buffers.iter_mut().map(fill).collect();
            assert_eq!(filled, want, "{total}");
            // Who waits gets the memory of the first one.
            let first = buffers.remove(0);
            drop(first);
            let next = buffers.iter_mut().position(|it| !it.is_complete((LEAST, PART)));
            if let Some(next) = next {
                assert!(fill(&mut buffers[next]) >= 10, "{total}");
            }
        }
    }

    #[test]
    fn small_content_needs_no_memory_of_the_pool() {
        let pool = pool(20 * UNIT as u64);
        let mut greedy = PartBuffer::new(&pool);
        greedy.hold(20 * UNIT as u64).unwrap();
        let mut small = greedy.another();
        assert_eq!(fill(&mut small), FREE / UNIT);
        small.hold(FREE as u64).unwrap();
        assert!(!small.is_roomy(PART) && small.waits_in_vain(Duration::ZERO));
        small.end();
        assert!(!small.waits_in_vain(Duration::ZERO) && pool.held() == 20);
        drop(greedy);
        assert_eq!(fill(&mut small), 15);
    }

    #[test]
    fn old_bytes_count_or_are_refused() {
        let pool = pool(20 * UNIT as u64);
        let mut first = PartBuffer::new(&pool);
        first.hold(15 * UNIT as u64).unwrap();
        assert_eq!(pool.held(), 15);
        let refused = first.another().hold(6 * UNIT as u64).map_err(|error| error.kind);
        assert_eq!(refused, Err(Kind::Busy));
        assert_eq!(pool.held(), 15);
    }
}
