//! Draws a sample that follows from a seed.

/// Returns `count` items in their order, one of each of `count` equally long stretches: files with
/// twice as many places have twice as many mutants. Returns all items if there are fewer.
pub fn strata<T>(items: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    let total = items.len();
    if total <= count {
        return items;
    }
    let mut random = Random(seed);
    let mut chosen = (0..count).map(|stratum| {
        let (begin, end) = (stratum * total / count, (stratum + 1) * total / count);
        begin + random.below(end - begin)
    });
    let mut next = chosen.next();
    let mut drawn = Vec::with_capacity(count);
    for (at, item) in items.into_iter().enumerate() {
        if next == Some(at) {
            drawn.push(item);
            next = chosen.next();
        }
    }
    drawn
}

/// `SplitMix64`, which is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let limit = u64::try_from(limit).expect("usize has at most 64 bits");
        usize::try_from(mixed % limit).expect("less than a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::strata;

    #[test]
    fn a_sample_is_spread_and_follows_from_its_seed() {
        let drawn = strata((0..1000).collect(), 10, 7);
        assert_eq!(drawn.len(), 10);
        assert!(drawn.iter().zip(0..).all(|(item, stratum)| item / 100 == stratum), "{drawn:?}");
        assert_eq!(drawn, strata((0..1000).collect(), 10, 7));
        assert_ne!(drawn, strata((0..1000).collect(), 10, 8));
        assert_eq!(strata(vec![1, 2], 3, 7), [1, 2]);
    }
}
