//! Tests which files are large.

use super::super::*;

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
        has_twins: false,
        sum: None,
        from: None,
    };
    let top = PlannedDirectory {
        path: b"d".to_vec(),
        is_new: false,
        has_failed: false,
        has_twins: false,
        may_be_source: false,
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
