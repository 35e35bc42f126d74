//! Compares files of both sides without reading their contents.

use super::entry::TreeEntry;

/// Condition, besides an equal size, for two files to count as the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// No further condition: `--size-only`.
    SizeOnly,
    /// The same digest, which the caller requests.
    SameHash,
    /// The same modification time, to the second: for targets whose times can be set.
    SameTime,
    /// The target was written after the last change of the source: for targets whose server cannot
    /// set times and uses its own clock.
    ///
    /// The modification time alone is not enough: a file that was renamed over the source keeps its
    /// old modification time. If both times are in the same second, the source counts as changed.
    NotBefore,
}

/// Result of a comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Same,
    Differs(Difference),
    /// The listings do not decide: times are missing or too coarse, or contents must be compared.
    Unclear,
}

/// The reason to copy a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Difference {
    /// The target has no such file.
    New,
    /// The sizes differ.
    Size,
    /// The modification times differ.
    Time,
    /// The digests differ.
    Content,
    /// It is unknown whether the files differ, so the file is copied.
    Doubt,
}

impl Difference {
    /// Returns the reason in words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Size => "another size",
            Self::Time => "another time",
            Self::Content => "another content",
            Self::Doubt => "not known to be the same",
        }
    }
}

/// Compares a file with the file of the same name at the target. A file without the facts that
/// `rule` needs never counts as [`Same`](Verdict::Same).
pub(crate) fn compare(source: &TreeEntry, target: &TreeEntry, rule: Rule) -> Verdict {
    let (Some(here), Some(there)) = (source.size, target.size) else {
        return Verdict::Differs(Difference::Doubt);
    };
    if here != there {
        return Verdict::Differs(Difference::Size);
    }
    match rule {
        Rule::SizeOnly => return Verdict::Same,
        Rule::SameHash => return Verdict::Unclear,
        Rule::SameTime | Rule::NotBefore => {}
    }
    let (Some(of_source), Some(of_target)) = (source.stamp, target.stamp) else {
        return Verdict::Unclear;
    };
    let differs = Verdict::Differs(Difference::Time);
    match rule {
        Rule::NotBefore => {
            let changed = source.changed.unwrap_or(i64::MIN);
            if of_target.earliest > of_source.latest.max(changed) {
                Verdict::Same
            } else if of_target.latest <= of_source.earliest.max(changed) {
                differs
            } else {
                Verdict::Unclear
            }
        }
        _ => match (of_source.exact(), of_target.exact()) {
            (Some(here), Some(there)) if here == there => Verdict::Same,
            _ if of_source.latest < of_target.earliest => differs,
            _ if of_target.latest < of_source.earliest => differs,
            _ => Verdict::Unclear,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::entry::{ObjectKind, Stamp};
    use Difference::{Doubt, Size, Time};
    use Verdict::{Differs, Same, Unclear};

    fn item(size: Option<u64>, times: Option<(i64, i64)>, changed: Option<i64>) -> TreeEntry {
        let stamp = times.map(|(earliest, latest)| Stamp::between(earliest, latest));
        TreeEntry {
            name: b"x".to_vec(),
            kind: ObjectKind::File,
            size,
            stamp,
            changed,
            unique: None,
            mode: None,
            target: None,
        }
    }

    #[test]
    fn uncertain_times_or_sizes_never_compare_as_same() {
        let file = |from, to| item(Some(5), Some((from, to)), None);
        let whole = |at| file(at, at);
        for (source, target, same_time, not_before) in [
            (whole(100), whole(100), Same, Differs(Time)),
            (whole(100), whole(101), Differs(Time), Same),
            (whole(101), whole(100), Differs(Time), Differs(Time)),
            // A minute of LIST that contains the second, and one that does not.
            (file(60, 119), whole(100), Unclear, Unclear),
            (file(60, 119), whole(120), Differs(Time), Same),
            (whole(100), file(60, 119), Unclear, Unclear),
            (whole(59), file(60, 119), Differs(Time), Same),
            (whole(120), file(60, 119), Differs(Time), Differs(Time)),
            // Times in the same minute may differ in their seconds.
            (file(60, 119), file(60, 119), Unclear, Unclear),
            (item(Some(5), None, None), whole(1), Unclear, Unclear),
            (whole(1), item(Some(5), None, None), Unclear, Unclear),
            (item(Some(4), Some((1, 1)), None), whole(1), Differs(Size), Differs(Size)),
            (item(None, Some((1, 1)), None), whole(1), Differs(Doubt), Differs(Doubt)),
            (whole(1), item(None, Some((1, 1)), None), Differs(Doubt), Differs(Doubt)),
        ] {
            let shown = format!("{source:?} {target:?}");
            assert_eq!(compare(&source, &target, Rule::SameTime), same_time, "{shown}");
            assert_eq!(compare(&source, &target, Rule::NotBefore), not_before, "{shown}");
        }
    }

    #[test]
    fn an_old_file_moved_in_after_the_copy_counts_as_changed() {
        let source = item(Some(5), Some((100, 100)), Some(300));
        for (at, want) in [(299, Differs(Time)), (300, Differs(Time)), (301, Same)] {
            let target = item(Some(5), Some((at, at)), None);
            assert_eq!(compare(&source, &target, Rule::NotBefore), want);
        }
        let same = item(Some(5), Some((100, 100)), None);
        assert_eq!(compare(&source, &same, Rule::SameTime), Same);
    }

    #[test]
    fn size_only_ignores_times() {
        let target = |size| item(size, None, None);
        let source = item(Some(5), Some((1, 1)), None);
        assert_eq!(compare(&source, &target(Some(5)), Rule::SizeOnly), Same);
        assert_eq!(compare(&source, &target(Some(6)), Rule::SizeOnly), Differs(Size));
        assert_eq!(compare(&source, &target(None), Rule::SizeOnly), Differs(Doubt));
    }
}
