//! What a bucket may contain after the commands of two sessions.

use std::collections::{BTreeMap, BTreeSet};

/// The objects: each key, and the name of its content. `x+y` is `x` and then `y`; `x[..3]` is the
/// beginning of `x`.
pub(super) type Bucket = BTreeMap<String, String>;

/// A step of a command. A rename copies, and then removes what it has copied.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(String, String),
    Append(String, String),
    /// Keeps three bytes.
    From(String, String),
    Remove(String),
    Copy(String, String),
    /// Removes the source of a copy, unless it is another one by now.
    Clear(String),
}

/// What a reply says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    Done,
    /// Nothing has changed.
    Refused,
    /// It may be done.
    Unknown,
}

impl Told {
    /// Returns what the last reply to a command says; 0 is none.
    pub(super) fn of(code: u16) -> Self {
        match code {
            200..300 => Self::Done,
            0 | 421 | 426 | 451 => Self::Unknown,
            _ => Self::Refused,
        }
    }

    /// Returns all steps, or each part of them that may have been made.
    fn variants(self, steps: &[Step]) -> Vec<Vec<Step>> {
        let part = |bits: u32| {
            let taken = steps.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            taken.map(|(_, step)| step.clone()).collect()
        };
        match self {
            Self::Done => vec![steps.to_vec()],
            Self::Refused => vec![Vec::new()],
            Self::Unknown => (0..1 << steps.len()).map(part).collect(),
        }
    }
}

/// Returns all buckets that explain the replies. If `is_after` is set, the second command began
/// after the end of the first one.
pub(super) fn outcomes(
    start: &Bucket,
    first: (&[Step], Told),
    second: (&[Step], Told),
    is_after: bool,
) -> BTreeSet<Bucket> {
    let mut all = BTreeSet::new();
    for one in first.1.variants(first.0) {
        for other in second.1.variants(second.0) {
            let copied = Bucket::new();
            match is_after {
                true => {
                    let steps = [&one[..], &other].concat();
                    merge(start, &copied, &steps, &[], &mut all);
                }
                false => merge(start, &copied, &one, &other, &mut all),
            }
        }
    }
    all
}

/// Makes the steps of two commands in each order.
fn merge(
    bucket: &Bucket,
    copied: &Bucket,
    one: &[Step],
    other: &[Step],
    all: &mut BTreeSet<Bucket>,
) {
    if one.is_empty() && other.is_empty() {
        all.insert(bucket.clone());
    }
    for (steps, rest, is_one) in [(one, other, true), (other, one, false)] {
        let Some((step, left)) = steps.split_first() else { continue };
        let (mut bucket, mut copied) = (bucket.clone(), copied.clone());
        make(&mut bucket, &mut copied, step);
        match is_one {
            true => merge(&bucket, &copied, left, rest, all),
            false => merge(&bucket, &copied, rest, left, all),
        }
    }
}

fn make(bucket: &mut Bucket, copied: &mut Bucket, step: &Step) {
    match step {
        Step::Put(key, content) => {
            bucket.insert(key.clone(), content.clone());
        }
        Step::Append(key, more) => {
            let content = bucket.get(key).map_or(more.clone(), |old| format!("{old}+{more}"));
            bucket.insert(key.clone(), content);
        }
        Step::From(key, more) => {
            if let Some(old) = bucket.get_mut(key) {
                *old = format!("{old}[..3]+{more}");
            }
        }
        Step::Remove(key) => {
            bucket.remove(key);
        }
        Step::Copy(from, to) => {
            if let Some(content) = bucket.get(from).cloned() {
                copied.insert(from.clone(), content.clone());
                bucket.insert(to.clone(), content);
            }
        }
        Step::Clear(from) => {
            if copied.contains_key(from) && bucket.get(from) == copied.get(from) {
                bucket.remove(from);
            }
        }
    }
}
