//! Reproducible random numbers: SplitMix64 from a seed.

use std::fmt;

/// The step of SplitMix64: the golden ratio as a fraction of 2^64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64: returns the number for `state`, regardless of earlier
/// numbers.
#[must_use]
pub fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns the number at `index` of the sequence that starts with `seed`.
#[must_use]
pub fn nth(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(STEP.wrapping_mul(index.wrapping_add(1))))
}

/// A generator that prints its seed when its test fails.
pub struct Random {
    seed: u64,
    index: u64,
}

impl Random {
    /// Starts with `seed`, or with `FTP_SEED` of the environment if it is set, to repeat a failure.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let seed = match std::env::var("FTP_SEED") {
            Ok(text) => text.parse().expect("FTP_SEED is a decimal number"),
            Err(_) => seed,
        };
        Self { seed, index: 0 }
    }

    /// Returns the seed of the sequence.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the next number of 64 bits.
    pub fn number(&mut self) -> u64 {
        let number = nth(self.seed, self.index);
        self.index += 1;
        number
    }

    /// Returns the next number below `end`, which is not 0. The distribution is not exactly
    /// uniform, which no test needs.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize fits");
        usize::try_from(self.number() % end).expect("it is below a usize")
    }

    /// Returns one of `choices`, which must not be empty.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.below(choices.len());
        choices.get(at).expect("it is below their number")
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Random(seed {}, at {})", self.seed, self.index)
    }
}

impl Drop for Random {
    #[expect(clippy::print_stderr, reason = "a failed test's output is where its seed belongs")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was FTP_SEED={}", self.seed);
        }
    }
}

#[test]
fn the_sequence_is_splitmix64() {
    // The first three numbers of the reference implementation from seed 1234567.
    let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([0, 1, 2].map(|index| nth(1_234_567, index)), want);
}
