//! The bytes of a part before it is stored, and its share of the memory for parts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::multipart::LEAST;
use crate::shares::table::PARTS;
use crate::shares::{Share, Shares};
use crate::storage::{StorageErrorKind as Kind, StorageResult};
use crate::threads;

/// Maximum number of bytes that an upload buffers without a share of the memory. So small files never
/// wait for memory.
const FREE: usize = 1024 * 1024;

/// The bytes of one unit of memory.
const UNIT: usize = 512 * 1024;

/// Maximum time that an upload which begins with old bytes waits for their memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the memory for the parts of all uploads to a store.
pub(super) fn pool(bytes: u64) -> Arc<Shares> {
    Shares::new(&PARTS, bytes / UNIT as u64)
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
            let pool = Shares::new(&PARTS, total);
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
