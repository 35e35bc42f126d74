//! Tests which files are large, and which leftovers a run cannot use.

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
