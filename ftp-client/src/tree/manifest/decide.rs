//! What happens to a file, decided by the list, the source and the target: a table.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Claim {
    /// There is no list that proves anything.
    Unknown,
    /// The list does not name the file.
    None,
    /// An earlier run has stored it.
    Stored,
    /// An earlier run was about to send it, and did not say how that ended.
    Pending,
}

/// The source's file, compared with the listed content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Here {
    Same,
    Other,
    Absent,
}

/// The target's file, compared with the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum There {
    /// Of a pending file: as the whole upload left it.
    AsListed,
    /// Of a pending file: of a size that the upload cannot have left.
    OtherSize,
    /// Of a pending file: of unknown content, but no larger than the upload.
    OtherTime,
    Missing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ManifestStep {
    /// Both sides are equal.
    Keep,
    Copy,
    /// As without a list: the caller's comparison decides.
    Compare,
    /// The target's file stays, and that is a failure.
    Tell,
    Remove,
    /// The target's file would be removed, but stays, which is a failure.
    Spare,
    Leave,
}

/// One row: the step of all combinations of these facts.
struct Decision(&'static [Claim], &'static [Here], &'static [There], ManifestStep);

use Claim::{None as Unlisted, Pending, Stored, Unknown};
use Here::{Absent, Other, Same};
use There::{AsListed, Missing, OtherSize, OtherTime};

const PRESENT: &[There] = &[AsListed, OtherSize, OtherTime];

#[rustfmt::skip]
const DECISIONS: &[Decision] = &[
    // Without a list, nothing is deleted.
    Decision(&[Unknown],          &[Same, Other], &[Missing],                                ManifestStep::Copy),
    Decision(&[Unknown],          &[Same, Other], PRESENT,                                   ManifestStep::Compare),
    // What the list does not name belongs to others.
    Decision(&[Unlisted],         &[Same, Other], &[Missing],                                ManifestStep::Copy),
    Decision(&[Unlisted],         &[Same, Other], PRESENT,                                   ManifestStep::Tell),
    Decision(&[Unknown, Unlisted], &[Absent],     PRESENT,                                   ManifestStep::Leave),
    Decision(&[Unknown, Unlisted, Stored, Pending], &[Absent], &[Missing],                   ManifestStep::Leave),
    Decision(&[Stored],           &[Same],        &[AsListed],                               ManifestStep::Keep),
    Decision(&[Stored],           &[Other],       &[AsListed],                               ManifestStep::Copy),
    // What was removed by hand comes back; what was changed by hand stays.
    Decision(&[Stored],           &[Same, Other], &[Missing],                                ManifestStep::Copy),
    Decision(&[Stored],           &[Same, Other], &[OtherSize, OtherTime],                   ManifestStep::Tell),
    Decision(&[Stored, Pending],  &[Absent],      &[AsListed],                               ManifestStep::Remove),
    Decision(&[Stored, Pending],  &[Absent],      &[OtherSize, OtherTime],                   ManifestStep::Spare),
    // What an interrupted run may have begun is sent again, unless its end is proved.
    Decision(&[Pending],          &[Same],        &[AsListed],                               ManifestStep::Keep),
    Decision(&[Pending],          &[Other],       &[AsListed],                               ManifestStep::Copy),
    Decision(&[Pending],          &[Same, Other], &[OtherTime, Missing],                     ManifestStep::Copy),
    Decision(&[Pending],          &[Same, Other], &[OtherSize],                              ManifestStep::Tell),
];

/// Returns the step for a file. Only with `deletes`, files are removed. `replaces_changed` also
/// replaces and removes what changed on the server, but removes only what the list names as stored.
pub(crate) fn step(
    (claim, here, there): (Claim, Here, There),
    deletes: bool,
    replaces_changed: bool,
) -> ManifestStep {
    let fits =
        |row: &&Decision| row.0.contains(&claim) && row.1.contains(&here) && row.2.contains(&there);
    match DECISIONS.iter().find(fits).map_or(ManifestStep::Leave, |row| row.3) {
        ManifestStep::Tell if replaces_changed => ManifestStep::Copy,
        ManifestStep::Remove | ManifestStep::Spare if !deletes => ManifestStep::Leave,
        ManifestStep::Spare if replaces_changed && claim == Stored => ManifestStep::Remove,
        step => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promises, said without the table.
    fn check(
        (claim, here, there): (Claim, Here, There),
        deletes: bool,
        replaces_changed: bool,
        step: ManifestStep,
    ) -> bool {
        let (is_here, is_there) = (here != Absent, there != Missing);
        let is_owned = matches!(claim, Stored | Pending);
        // A file that is here is made equal, or somebody hears why not.
        let is_settled = match step {
            ManifestStep::Keep => is_owned && here == Same && there == AsListed,
            ManifestStep::Copy => true,
            ManifestStep::Compare => claim == Unknown && is_there,
            ManifestStep::Tell => is_there && !replaces_changed,
            _ => false,
        };
        // What others may have written stays, unless the caller wants it replaced.
        let may_be_foreign = match claim {
            Unknown => false,
            Unlisted => is_there,
            Stored => matches!(there, OtherSize | OtherTime),
            Pending => there == OtherSize,
        };
        let is_kind = step != ManifestStep::Copy || !may_be_foreign || replaces_changed;
        // Only what is listed, gone from the source, and still as listed, is removed.
        let is_removable = is_owned
            && deletes
            && is_there
            && (there == AsListed || replaces_changed && claim == Stored);
        match (is_here, step) {
            (true, _) => is_settled && is_kind,
            (false, ManifestStep::Remove) => is_removable,
            (false, ManifestStep::Spare) => is_owned && deletes && is_there && !is_removable,
            (false, ManifestStep::Leave) => !is_owned || !deletes || !is_there,
            (false, _) => false,
        }
    }

    #[test]
    fn the_table_decides_each_case_once_and_keeps_the_promises() {
        let mut cases = 0;
        for claim in [Unknown, Unlisted, Stored, Pending] {
            for here in [Same, Other, Absent] {
                for there in [AsListed, OtherSize, OtherTime, Missing] {
                    let facts = (claim, here, there);
                    let rows = DECISIONS.iter().filter(|row| {
                        row.0.contains(&claim) && row.1.contains(&here) && row.2.contains(&there)
                    });
                    assert_eq!(rows.count(), 1, "{facts:?}");
                    for (deletes, force) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        let step = step(facts, deletes, force);
                        let shown = format!("{facts:?} {deletes} {force}: {step:?}");
                        assert!(check(facts, deletes, force, step), "{shown}");
                        cases += 1;
                    }
                }
            }
        }
        assert_eq!(cases, 4 * 3 * 4 * 4);
    }
}
