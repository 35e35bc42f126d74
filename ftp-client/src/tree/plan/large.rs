//! Finds the large files, which all connections download together, and the leftovers of earlier
//! runs.

use ftp_proto::Pathname;
use std::collections::HashSet;

use super::{Plan, PlannedCopy};
use crate::tree::entry::file_of_piece;

/// Smallest size of a large file in bytes.
pub(crate) const LARGE: u64 = 16 << 20;

impl Plan {
    /// Returns the numbers of the copies of large files. Over a single connection, such a file
    /// would still be in transfer when the other connections are idle.
    pub(crate) fn large_files(&self, jobs: usize) -> Vec<usize> {
        let is_large = |copy: &PlannedCopy| {
            let size = copy.size.unwrap_or_default();
            jobs > 1 && size >= LARGE && size.saturating_mul(jobs as u64) > self.bytes
        };
        let numbered = self.apart().iter().enumerate();
        numbered.filter(|(_, copy)| is_large(copy)).map(|(number, _)| number).collect()
    }

    /// Returns the temporary files at the target that this run cannot use: all but the pieces of
    /// large files.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = &[u8]> {
        let large = self.large.iter().filter_map(|number| self.copies.get(*number));
        let large: HashSet<Vec<u8>> = large.map(|copy| self.path_of(copy)).collect();
        let is_used = move |path: &[u8]| {
            let (above, name) = Pathname::split(path);
            file_of_piece(name).is_some_and(|file| large.contains(&Pathname::join(above, file)))
        };
        self.temporary.iter().map(Vec::as_slice).filter(move |path| !is_used(path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PlannedDirectory, Twins};
    use super::*;
    use crate::tree::compare::Difference;

    const M: u64 = 1 << 20;

    fn plan(sizes: &[u64]) -> Plan {
        let copy = |size: &u64| PlannedCopy {
            place: 0,
            name: format!("{size}").into_bytes(),
            size: Some(*size),
            stamp: None,
            why: Difference::New,
            mode: None,
            is_spelled: false,
            twins: Twins::default(),
            sum: None,
            from: None,
        };
        let top = PlannedDirectory {
            path: b"d".to_vec(),
            is_new: false,
            has_failed: false,
            twins: Twins::default(),
        };
        let copies = sizes.iter().map(copy).collect();
        let bytes = sizes.iter().sum();
        let first_twin = sizes.len();
        Plan { directories: vec![top], copies, bytes, first_twin, ..Plan::default() }
    }

    #[test]
    fn a_file_is_large_if_it_would_outlast_the_other_connections() {
        for (sizes, jobs, want) in [
            (&[24 * M][..], 1, &[][..]),
            (&[24 * M], 2, &[0]),
            (&[16 * M - 1], 4, &[]),
            (&[16 * M, 16 * M], 2, &[]),
            (&[16 * M + 1, 16 * M], 2, &[0]),
            (&[1, 100 * M, 50 * M], 4, &[1, 2]),
            (&[100 * M, 100 * M, 100 * M, 100 * M], 4, &[]),
            (&[u64::MAX / 2, 20 * M], 64, &[0]),
        ] {
            assert_eq!(plan(sizes).large_files(jobs), want, "{sizes:?} {jobs}");
        }
    }

    #[test]
    fn pieces_are_leftovers_unless_their_file_is_large() {
        let mut plan = plan(&[20 * M, 5]);
        let names = [
            "d/.ftp-cli-1f-0.tmp".to_owned(),
            "d/.ftp-cli-pieces-5.part".to_owned(),
            format!("d/.ftp-cli-pieces-{}.part", 20 * M),
            format!("d/.ftp-cli-pieces-{}.part.segment-7", 20 * M),
            format!(".ftp-cli-pieces-{}.part", 20 * M),
        ];
        plan.temporary = names.iter().map(|name| name.clone().into_bytes()).collect();
        assert_eq!(plan.leftovers().count(), 5);
        plan.large = plan.large_files(2);
        let left: Vec<_> = plan.leftovers().map(<[u8]>::to_vec).collect();
        assert_eq!(left, [0, 1, 4].map(|number: usize| names[number].clone().into_bytes()));
    }
}
