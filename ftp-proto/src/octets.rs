//! Octet strings of which most are short: names.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// How many octets fit in place, which fills what a `Vec` would take.
const IN_PLACE: usize = 22;

/// Octets that nobody changes. Those of most names are kept in place, so that reading a command
/// asks nothing of the allocator.
#[derive(Clone)]
pub(crate) struct Octets(Kept);

#[derive(Clone)]
enum Kept {
    InPlace { length: u8, octets: [u8; IN_PLACE] },
    Allocated(Box<[u8]>),
}

impl Octets {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Kept::InPlace { length, octets } => {
                octets.get(..usize::from(*length)).unwrap_or_default()
            }
            Kept::Allocated(octets) => octets,
        }
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Kept::InPlace { .. } => self.as_slice().to_vec(),
            Kept::Allocated(octets) => octets.into_vec(),
        }
    }
}

impl From<&[u8]> for Octets {
    fn from(from: &[u8]) -> Self {
        let mut octets = [0; IN_PLACE];
        Self(match (octets.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(from);
                Kept::InPlace { length, octets }
            }
            _ => Kept::Allocated(from.into()),
        })
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Octets {}

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl PartialOrd for Octets {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Octets {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_reads_back() {
        assert!(size_of::<Octets>() <= size_of::<Vec<u8>>());
        let octets: Vec<u8> = (0..=255).collect();
        for length in 0..=octets.len() {
            let some = &octets[..length];
            let kept = Octets::from(some);
            assert_eq!(kept.as_slice(), some);
            assert_eq!(matches!(kept.0, Kept::InPlace { .. }), length <= IN_PLACE, "{length}");
            assert_eq!(kept.into_vec(), some);
        }
    }

    #[test]
    fn what_is_equal_is_found_by_its_hash() {
        let long = [b'a'; IN_PLACE + 1];
        let all: std::collections::HashSet<_> =
            [&b"a"[..], b"b", b"a", &long, &long].map(Octets::from).into_iter().collect();
        assert_eq!(all.len(), 3);
        let hash = |octets: &[u8]| {
            let mut hasher = std::hash::DefaultHasher::new();
            Octets::from(octets).hash(&mut hasher);
            hasher.finish()
        };
        assert!(hash(b"a") == hash(b"a") && hash(b"a") != hash(b"b"));
    }

    #[test]
    fn order_is_that_of_the_octets() {
        let long = [b'a'; IN_PLACE + 1];
        let in_order: [&[u8]; 5] = [b"", b"a", b"aa", &long, b"b"];
        for pair in in_order.windows(2) {
            let (a, b) = (Octets::from(pair[0]), Octets::from(pair[1]));
            assert!(a < b && a != b && a == a.clone());
        }
    }
}
