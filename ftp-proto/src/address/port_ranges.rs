//! Lists of local ports: `21,300-400,50000-50099`.

use std::fmt;
use std::ops::RangeInclusive;

use crate::{ParseError, ParseErrorKind, bytes, limits};

/// A set of ports, written as numbers and inclusive ranges in any order.
///
/// ```
/// use ftp_proto::PortRanges;
///
/// let ports = PortRanges::parse(b"300-302, 21")?;
/// assert_eq!(ports.count(), 4);
/// assert_eq!(ports.iter().collect::<Vec<_>>(), [21, 300, 301, 302]);
/// // All ports, starting at the third: a random start makes the next port hard to guess.
/// assert_eq!(ports.iter_from(2).collect::<Vec<_>>(), [301, 302, 21, 300]);
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PortRanges(Vec<RangeInclusive<u16>>);

impl PortRanges {
    /// Parses a list of ports from 1 to 65535 and ranges `first-last`, separated by commas; SP
    /// around numbers is ignored.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for an empty item, `BadNumber` for an invalid port or range, and
    /// `TooLong` for more than [`limits::PORT_RANGES`] items. `at` is the start of the item.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("port ranges", at, kind);
        let mut ranges = Vec::new();
        let mut at = 0;
        for (count, item) in input.split(|&byte| byte == b',').enumerate() {
            if count == limits::PORT_RANGES {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            let text = item.trim_ascii();
            if text.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let mut ends = text.splitn(2, |&byte| byte == b'-').map(|end| port(end.trim_ascii()));
            let first = ends.next().flatten();
            let last = ends.next().unwrap_or(first);
            match (first, last) {
                (Some(first), Some(last)) if first <= last => add(&mut ranges, first..=last),
                _ => return Err(error(at, ParseErrorKind::BadNumber)),
            }
            at += item.len() + 1;
        }
        Ok(Self(ranges))
    }

    /// Returns the number of ports, 1 to 65535.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// Returns whether a port is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Returns all ports in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + Clone {
        self.0.iter().cloned().flatten()
    }

    /// Returns each port once, starting with the port at index `start` and wrapping around.
    ///
    /// `start` counts from 0 and is taken modulo [`count`](Self::count).
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = u16> {
        // There is at least one port, so this cannot divide by zero.
        let start = start % self.count();
        self.iter().skip(start).chain(self.iter().take(start))
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    bytes::decimal(digits)?.try_into().ok().filter(|port| *port != 0)
}

/// Adds a range to sorted ranges, merging those that it overlaps or touches.
fn add(ranges: &mut Vec<RangeInclusive<u16>>, range: RangeInclusive<u16>) {
    let (mut first, mut last) = range.into_inner();
    ranges.retain(|other| {
        let is_apart = u32::from(*other.end()) + 1 < u32::from(first)
            || u32::from(last) + 1 < u32::from(*other.start());
        if !is_apart {
            first = first.min(*other.start());
            last = last.max(*other.end());
        }
        is_apart
    });
    let at = ranges.partition_point(|other| *other.end() < first);
    ranges.insert(at, first..=last);
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, TooLong, UnexpectedEnd};

    #[test]
    fn parse_merges_port_ranges_dc_02() {
        for (text, shown, count) in [
            ("21", "21", 1),
            ("1-65535", "1-65535", 65_535),
            ("21,300-400,50000-50099", "21,300-400,50000-50099", 202),
            (" 300 - 400 , 21 ", "21,300-400", 102),
            ("5,4,3", "3-5", 3),
            ("10-20,15-30,12", "10-30", 21),
            ("10-20,22", "10-20,22", 12),
            ("10-20,21", "10-21", 12),
            ("65535,65534", "65534-65535", 2),
            ("7,7,7", "7", 1),
            ("10-30,12-15", "10-30", 21),
        ] {
            let ports = PortRanges::parse(text.as_bytes()).unwrap();
            assert_eq!(ports.to_string(), shown, "{text}");
            assert_eq!(ports.count(), count, "{text}");
            assert_eq!(ports.iter().count(), count, "{text}");
            assert_eq!(PortRanges::parse(shown.as_bytes()), Ok(ports), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_input() {
        let many = vec!["1"; limits::PORT_RANGES + 1].join(",");
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("21,", 3, UnexpectedEnd),
            (",21", 0, UnexpectedEnd),
            ("21,,22", 3, UnexpectedEnd),
            ("0", 0, BadNumber),
            ("65536", 0, BadNumber),
            ("21,5000-4000", 3, BadNumber),
            ("1-2-3", 0, BadNumber),
            ("-5", 0, BadNumber),
            ("5-", 0, BadNumber),
            ("0-5", 0, BadNumber),
            ("+5", 0, BadNumber),
            ("a", 0, BadNumber),
            (&many, 2 * limits::PORT_RANGES, TooLong),
        ] {
            let want = ParseError::new("port ranges", at, kind);
            assert_eq!(PortRanges::parse(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn iter_from_yields_each_port_once_dc_03() {
        let ports = PortRanges::parse(b"1-3,7,9-10").unwrap();
        for start in 0..20 {
            let mut round: Vec<u16> = ports.iter_from(start).collect();
            assert_eq!(round.first(), ports.iter().nth(start % 6).as_ref(), "{start}");
            round.sort_unstable();
            assert_eq!(round, [1, 2, 3, 7, 9, 10]);
        }
        assert!(ports.contains(9) && !ports.contains(8));
    }
}
