//! The facts by which a server's file or directory is recognized at another time, or under another name.

use ftp_proto::TimeVal;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerFacts {
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<TimeVal>,
    /// The identifier at the server (`MLST`).
    pub(crate) unique: Option<Vec<u8>>,
    pub(crate) is_directory: bool,
}

impl ServerFacts {
    /// Returns whether both describe one object; `None` if they do not tell. An equal unique fact alone
    /// is not enough for that: disks give the number of a removed file to the next new one.
    pub(crate) fn are_of(&self, other: &Self) -> Option<bool> {
        let unique = self.unique.as_ref().zip(other.unique.as_ref()).map(|(one, two)| one == two);
        let size = self.size.zip(other.size).map(|(one, two)| one == two);
        let time = self.modified.zip(other.modified).map(|(one, two)| one == two);
        if self.is_directory != other.is_directory || [unique, size, time].contains(&Some(false)) {
            return Some(false);
        }
        // Each new object in a directory changes its time, and a directory has no size.
        let other_than_time = if self.is_directory { unique } else { size };
        (time.is_some() && other_than_time.is_some()).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_recognize_an_object_or_do_not_tell() {
        let facts = |size, at: &str, unique: &str| ServerFacts {
            size,
            modified: TimeVal::parse(at.as_bytes()).ok(),
            unique: (!unique.is_empty()).then(|| unique.as_bytes().to_vec()),
            is_directory: false,
        };
        let one = facts(Some(1), "20200102030405", "a");
        for (other, want) in [
            (one.clone(), Some(true)),
            (facts(Some(1), "20200102030405", ""), Some(true)),
            (facts(Some(2), "20200102030405", ""), Some(false)),
            (facts(Some(1), "20210102030405", ""), Some(false)),
            // The number of a removed file, given to a new one.
            (facts(Some(1), "20210102030405", "a"), Some(false)),
            (facts(Some(2), "20200102030405", "a"), Some(false)),
            (facts(Some(1), "", "a"), None),
            (facts(None, "20200102030405", ""), None),
            (facts(None, "20210102030405", ""), Some(false)),
            (facts(Some(1), "", ""), None),
            (facts(Some(2), "", ""), Some(false)),
            (facts(Some(1), "20200102030405", "b"), Some(false)),
            (ServerFacts { is_directory: true, ..one.clone() }, Some(false)),
            (ServerFacts::default(), None),
        ] {
            assert_eq!(one.are_of(&other), want, "{other:?}");
            assert_eq!(other.are_of(&one), want, "{other:?}");
        }
    }
}
