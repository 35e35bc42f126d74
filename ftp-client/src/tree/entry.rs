//! Describes objects of a directory, local or remote, for the comparison of both sides.

use ftp_proto::{Entry, EntryKind, HiddenFile, Modified, Precision, TimeVal, Zone};

use crate::age::{self, AHEAD, BEHIND, ZONES};
use crate::file::file_of;
use crate::system::is_one_part;

/// Permission bits that are copied.
pub(crate) const MODE: u16 = 0o777;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ObjectKind {
    File,
    Directory,
    Link,
    /// A FIFO, a device or a socket.
    Special,
    /// A local file of the run itself, such as its log or its password file.
    Own,
    Unknown,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TreeEntry {
    /// Name as reported by the side that has the object; untrusted.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: ObjectKind,
    pub(crate) size: Option<u64>,
    pub(crate) stamp: Option<Stamp>,
    /// Time of the last change of any kind, such as a rename, if known: seconds since
    /// 1970-01-01T00:00:00Z.
    pub(crate) changed: Option<i64>,
    /// Unique identifier on its server. A local directory has an identifier only if links are
    /// followed.
    pub(crate) unique: Option<Vec<u8>>,
    /// Nine permission bits, without set-user-ID, set-group-ID and the sticky bit.
    pub(crate) mode: Option<u16>,
    pub(crate) target: Option<Vec<u8>>,
}

/// Range that contains a time, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Whether a server listed the time to the second, in UTC and without a fraction.
    is_listed: bool,
    /// Whether the listing may lack the year, or the order of day and month.
    pub(crate) is_guess: bool,
}

impl Stamp {
    /// Returns the range of a time that is known to the second.
    pub(crate) const fn at(seconds: i64) -> Self {
        Self::between(seconds, seconds)
    }

    pub(crate) const fn between(earliest: i64, latest: i64) -> Self {
        Self { earliest, latest, is_listed: false, is_guess: false }
    }

    /// Returns whether a listing can show this range: a day in an unknown time zone at most.
    pub(crate) const fn may_be((earliest, latest): (i64, i64)) -> bool {
        // The year 9999 and more.
        const FAR: i64 = 1 << 38;
        -FAR < earliest
            && earliest <= latest
            && latest < FAR
            && latest - earliest <= AHEAD + 86_399 + BEHIND
    }

    /// Returns the time if it is known to the second.
    pub(crate) fn exact(self) -> Option<i64> {
        (self.earliest == self.latest).then_some(self.earliest)
    }

    /// Returns whether the file can still change without another time.
    pub(crate) fn is_young(self) -> bool {
        let (start, width) = match self.exact() {
            Some(time) => (time, 0),
            None => (self.earliest + AHEAD, self.latest - self.earliest - AHEAD - BEHIND),
        };
        age::is_young(start, width.max(0), age::now())
    }

    /// Returns the time that `MDTM` would report, if the listing tells it. A fraction of a second
    /// is not kept, so a time with one counts as unknown.
    pub(crate) fn listed(self) -> Option<TimeVal> {
        self.exact().filter(|_| self.is_listed).and_then(TimeVal::from_unix_seconds)
    }
}

/// Range of the seconds by which a side's clock is ahead of the local clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Clock {
    pub(crate) least: i64,
    pub(crate) most: i64,
}

impl Clock {
    pub(crate) const OURS: Self = Self { least: 0, most: 0 };
    /// The range of a correct clock in an unknown time zone.
    pub(crate) const UNKNOWN: Self = Self { least: -BEHIND, most: AHEAD };

    /// Returns the clock of a side that gave the time `there` to a file written between the local
    /// times `before` and `after`. If `there` lies between those times in some time zone, the clock
    /// counts as correct in that zone.
    pub(crate) const fn by(before: i64, there: i64, after: i64) -> Self {
        let zone = (there - before).div_euclid(ZONES) * ZONES;
        if there - zone <= after {
            return Self { least: zone, most: zone };
        }
        Self { least: there - after - 1, most: there + 1 - before }
    }
}

impl Stamp {
    /// Converts a time of `clock` to a time of the local clock.
    pub(crate) const fn by(self, clock: Clock) -> Self {
        let Self { earliest, latest, is_guess, .. } = self;
        Self { is_guess, ..Self::between(earliest - clock.most, latest - clock.least) }
    }
}

impl TreeEntry {
    /// Returns the entry with its time converted from `clock` to the local clock.
    pub(crate) fn by(&self, clock: Clock) -> Self {
        Self { stamp: self.stamp.map(|stamp| stamp.by(clock)), ..self.clone() }
    }
}

impl From<Modified> for Stamp {
    /// `LIST` reports minutes or days in an unknown time zone, so only bounds of the time are
    /// known.
    fn from(modified: Modified) -> Self {
        let start = modified.time.unix_seconds();
        let end = start
            + match modified.precision {
                Precision::Second => 0,
                Precision::Minute => 59,
                Precision::Day => 86_399,
            };
        match modified.zone {
            Zone::Utc => {
                let is_listed = start == end && modified.time.nanosecond() == 0;
                Self { is_listed, ..Self::between(start, end) }
            }
            // Many forms of listings show a year instead of a time of day.
            Zone::Unknown => {
                let is_guess = modified.precision != Precision::Day;
                Self { is_guess, ..Self::between(start - AHEAD, end + BEHIND) }
            }
        }
    }
}

impl From<Entry> for TreeEntry {
    fn from(entry: Entry) -> Self {
        let kind = match entry.kind {
            Some(EntryKind::File) => ObjectKind::File,
            Some(EntryKind::Directory) => ObjectKind::Directory,
            Some(EntryKind::Link) => ObjectKind::Link,
            Some(EntryKind::Other) => ObjectKind::Special,
            None => ObjectKind::Unknown,
        };
        let stamp = entry.modified.map(Stamp::from);
        let mode = entry.permissions.map(|permissions| permissions.mode() & MODE);
        let Entry { name, size, unique, target, .. } = entry;
        Self { name, kind, size, stamp, changed: None, unique, mode, target }
    }
}

/// Sorts objects of one directory by name, keeping the order of equal names.
pub(crate) fn sort(items: &mut [TreeEntry]) {
    items.sort_by(|one, other| one.name.cmp(&other.name));
}

impl TreeEntry {
    /// Returns the kind of a file that this program or its server keeps beside the files of users.
    pub(crate) fn hidden(&self) -> Option<HiddenFile> {
        hidden(&self.name).filter(|_| self.kind != ObjectKind::Directory)
    }

    /// Returns the memory usage of the entry in bytes.
    pub(crate) fn weight(&self) -> usize {
        let length = |text: &Option<Vec<u8>>| text.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + self.name.len() + length(&self.unique) + length(&self.target)
    }
}

fn hidden(name: &[u8]) -> Option<HiddenFile> {
    // The server does not hide what its clients call temporary.
    HiddenFile::of(name).or_else(|| file_of(name).map(|_| HiddenFile::Temporary))
}

/// Checks that a name can exist on both sides.
///
/// # Errors
///
/// Returns the fault of the name as a predicate, such as "is not a valid name".
pub(crate) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if !is_one_part(name, false) {
        // Such a name would escape the tree (CVE-2026-27699, CVE-2018-10916).
        return Err("is not a valid name");
    }
    if name.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("has a line ending in its name, which FTP does not allow");
    }
    if name.len() > 255 {
        return Err("has a name of more than 255 bytes");
    }
    Ok(())
}

/// Prefix of temporary files of a copied tree.
pub(crate) const TEMPORARY: &[u8] = HiddenFile::CLI.as_bytes();

/// What follows the prefix in the names of the pieces of a file that several connections download.
const PIECES: &[u8] = b"pieces-";

pub(crate) fn name_of_pieces(name: &[u8]) -> Vec<u8> {
    [TEMPORARY, PIECES, name].concat()
}

/// Returns the name of the file to which a piece belongs, or `None` if `name` is not the name of a
/// piece.
pub(crate) fn file_of_piece(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(TEMPORARY)?.strip_prefix(PIECES)?;
    let is_start = |byte: &u8| byte.is_ascii_digit();
    let digits = rest.iter().rev().take_while(|byte| is_start(byte)).count();
    let numbered = rest.get(..rest.len() - digits).filter(|_| digits > 0);
    let first = numbered.and_then(|rest| rest.strip_suffix(b".segment-")).unwrap_or(rest);
    // A complete file lacks `.part` until it is renamed to its final name.
    Some(first.strip_suffix(b".part").unwrap_or(first))
}

/// Returns whether a running program may be writing to the local file of this name: a temporary
/// file, the `NAME.part` of a download, or a piece.
pub(crate) fn may_be_partial(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let first = name.get(..name.len() - digits).and_then(|name| name.strip_suffix(b".segment-"));
    hidden(name).is_some() || first.filter(|_| digits > 0).unwrap_or(name).ends_with(b".part")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::TimeVal;

    #[test]
    fn a_piece_name_yields_its_file_name() {
        for (name, want) in [
            (&b".ftp-cli-pieces-a.iso.part"[..], Some(&b"a.iso"[..])),
            (b".ftp-cli-pieces-a.iso.part.segment-8388608", Some(b"a.iso")),
            (b".ftp-cli-pieces-a.part.part", Some(b"a.part")),
            (b".ftp-cli-pieces-a.segment-1.part.segment-2", Some(b"a.segment-1")),
            (b".ftp-cli-pieces-a1.part", Some(b"a1")),
            (b".ftp-cli-pieces-a.iso", Some(b"a.iso")),
            (b".ftp-cli-part-a.iso", None),
            (b"a.iso.part", None),
        ] {
            assert_eq!(file_of_piece(name), want, "{}", String::from_utf8_lossy(name));
            assert!(want.is_none() || HiddenFile::of(name).is_some());
        }
    }

    #[test]
    fn partial_files_are_recognised_by_name() {
        for (name, want) in [
            (&b".ftp-cli-1f-0.tmp"[..], true),
            (b".ftp-cli-0123456789abcdef.lock", true),
            (b".ftp-client-00000000000000ff", true),
            (b"a.iso.part", true),
            (b"a.iso.part.segment-8388608", true),
            (b"a.iso.part.segment-", false),
            (b"a.iso.segment-1", false),
            (b"a.iso.part1", false),
            (b"part", false),
        ] {
            assert_eq!(may_be_partial(name), want, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn a_stamp_keeps_the_uncertainty_of_its_precision_and_zone() {
        let time = TimeVal::parse(b"20260102030400").unwrap();
        let start = time.unix_seconds();
        for (precision, zone, earliest, latest) in [
            (Precision::Second, Zone::Utc, 0, 0),
            (Precision::Minute, Zone::Utc, 0, 59),
            (Precision::Day, Zone::Utc, 0, 86_399),
            // A local time of 03:04 is 13:04 UTC of the day before in Kiritimati, and 15:04 UTC of
            // the same day on Baker Island.
            (Precision::Minute, Zone::Unknown, -14 * 3_600, 12 * 3_600 + 59),
            (Precision::Day, Zone::Unknown, -14 * 3_600, 12 * 3_600 + 86_399),
        ] {
            let stamp = Stamp::from(Modified { time, precision, zone });
            let is_listed = earliest == latest;
            let is_guess = zone == Zone::Unknown && precision == Precision::Minute;
            let between = Stamp::between(start + earliest, start + latest);
            let want = Stamp { is_listed, is_guess, ..between };
            assert_eq!(stamp, want, "{precision:?} {zone:?}");
            assert_eq!(stamp.exact().is_some(), precision == Precision::Second);
        }
    }

    #[test]
    fn a_clock_offset_keeps_the_uncertainty_of_its_measurement() {
        for (there, least, most) in
            [(100, 0, 0), (101, 0, 0), (102, 0, 3), (99, -3, 0), (32_502, 32_400, 32_403)]
        {
            assert_eq!(Clock::by(100, there, 101), Clock { least, most }, "{there}");
        }
        for zone in [9 * 3_600, -10 * 3_600, 20_700, -12_600] {
            for there in [100, 101] {
                let clock = Clock { least: zone, most: zone };
                assert_eq!(Clock::by(100, there + zone, 101), clock);
            }
        }
        let clock = Clock { least: 5, most: 7 };
        assert_eq!(Stamp::at(100).by(clock), Stamp::between(93, 95));
        assert_eq!(Stamp::at(100).by(Clock::OURS).exact(), Some(100));
    }

    #[test]
    fn unsafe_file_names_are_refused_hc_05_hc_08_hc_09() {
        let long = [b'a'; 256];
        for (name, right) in [
            (&b"a"[..], true),
            (b"-rf", true),
            (b"file:", true),
            (b" ", true),
            (b"...", true),
            (b"\xff", true),
            (b"..\\x", true),
            (&long[..255], true),
            (&long, false),
            (b"", false),
            (b".", false),
            (b"..", false),
            (b"../x", false),
            (b"/etc/x", false),
            (b"a/b", false),
            (b"a\0b", false),
            (b"a\r\nDELE b", false),
            (b"a\nb", false),
            (b".ftp-cli-x", true),
        ] {
            assert_eq!(check_name(name).is_ok(), right, "{}", name.escape_ascii());
        }
    }
}
