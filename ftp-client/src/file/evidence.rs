//! Evidence about content: from which byte a transfer may go on, and whether an existing file is
//! the whole one.
//!
//! Evidence proves or refutes, and what refutes is looked at first: another time or size than
//! recorded, fewer bytes than exist, another digest, another overlap. Only four things prove: bytes
//! of this job (own), the record beside a partial download, the journal of an upload, and a digest
//! of the server. Times, sizes and the overlap never prove, because images, archives and
//! recordings of different content can end alike.
//!
//! No I/O happens here: the caller asks for the facts, and [`decide`] returns the next step.

/// The bytes before the resume point that a resumed transfer transfers again, to compare them.
pub(crate) const OVERLAP: u64 = 64 << 10;

/// What a resume may rely on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Resume {
    /// Only bytes of earlier attempts of the same job, in this process.
    #[default]
    Own,
    /// Also bytes of earlier runs that a record, a journal or a digest proves.
    Proven,
    /// Any bytes that exist, unless their size, their time or the overlap refutes them.
    Trusted,
}

/// Why a transfer begins at byte 0, although bytes exist.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// There are no bytes.
    NothingThere,
    /// Nothing proves where the bytes came from.
    NoRecord,
    /// The record names another server, user or path.
    AnotherSource,
    /// The file has another size or time than recorded.
    AnotherVersion,
    /// The computer was restarted before the bytes were on disk.
    NotFlushed,
    /// The last bytes before the resume point differ.
    TailDiffers,
    /// The server cannot begin at another byte than 0.
    NoRestart,
    /// The digests differ.
    Refuted,
    /// The server no longer has the upload of an interrupted move.
    Vanished,
}

/// A record or a journal, compared with the facts of now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fit {
    /// It belongs to this job; the first `kept` bytes are on disk, or were sent.
    Fits { kept: u64 },
    /// It belongs to another server, user, path or local file.
    Other,
    /// It belongs to another version of the file.
    Changed,
}

/// The server's digest of the bytes that exist, compared with the local digest of as many bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    NotYet,
    NoAnswer,
    Equal,
    Differs,
}

/// What is known before a transfer begins. A download extends local bytes of a server's file, an
/// upload extends the server's bytes of a local file, and a copy between servers the target's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The number of bytes that exist at the target.
    pub(crate) have: u64,
    /// The size of the source, if known.
    pub(crate) size: Option<u64>,
    pub(crate) resume: Resume,
    /// Whether this job wrote all existing bytes, and a reply confirmed them.
    pub(crate) is_own: bool,
    /// The record or journal, if there is one.
    pub(crate) record: Option<Fit>,
    /// Whether a time or a size shows that the source changed since the bytes came.
    pub(crate) is_refuted: bool,
    /// Whether the server can begin at another byte than 0.
    pub(crate) restarts: bool,
    pub(crate) digest: Asked,
}

/// The next step of a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Ask the server for the digest of the existing bytes, and decide again.
    AskDigest,
    /// Go on after `kept` bytes; the last `compare` of them are transferred again and compared.
    Continue { kept: u64, compare: u64 },
    /// The existing bytes are the whole file.
    Whole,
    /// Begin at byte 0.
    FromZero(Why),
}

/// Decides from which byte a transfer begins, and asks for the digest if that decides, or if it
/// `must_ask`.
///
/// # Errors
///
/// Returns the errors of `ask`.
pub(crate) fn judge<E>(
    known: &mut Known,
    must_ask: bool,
    ask: impl FnOnce() -> Result<Asked, E>,
) -> Result<Step, E> {
    let step = decide(known);
    if step != Step::AskDigest && !must_ask {
        return Ok(step);
    }
    known.digest = ask()?;
    Ok(decide(known))
}

/// Decides from which byte a transfer begins.
pub(crate) fn decide(known: &Known) -> Step {
    let Known { have, size, resume, is_own, record, is_refuted, restarts, digest } = *known;
    let keep = |kept: u64| match size {
        Some(size) if size == kept && resume != Resume::Trusted => Step::Whole,
        _ if !restarts => Step::FromZero(Why::NoRestart),
        _ if kept == 0 => Step::FromZero(Why::NotFlushed),
        _ => Step::Continue { kept, compare: kept.min(OVERLAP) },
    };
    match (record, digest) {
        _ if have == 0 => Step::FromZero(Why::NothingThere),
        (_, Asked::Differs) => Step::FromZero(Why::Refuted),
        _ if size.is_some_and(|size| have > size) => Step::FromZero(Why::AnotherVersion),
        (_, Asked::Equal) => keep(have),
        _ if is_own && !is_refuted => keep(have),
        (Some(Fit::Fits { kept }), _) if resume != Resume::Own && !is_refuted => {
            keep(kept.min(have))
        }
        _ if resume == Resume::Own => Step::FromZero(Why::NoRecord),
        _ if resume == Resume::Trusted && !is_refuted => keep(have),
        (_, Asked::NotYet) => Step::AskDigest,
        _ if is_refuted => Step::FromZero(Why::AnotherVersion),
        (Some(Fit::Other), _) => Step::FromZero(Why::AnotherSource),
        (Some(Fit::Changed), _) => Step::FromZero(Why::AnotherVersion),
        _ => Step::FromZero(Why::NoRecord),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the existing bytes relate to those of the source.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Truth {
        Same,
        TailDiffers,
        HeadDiffers,
    }

    /// Every case of [`Known`] with every truth: after success, the content is the source's, except
    /// in the two documented exceptions.
    #[test]
    fn no_decision_joins_other_bytes_except_as_documented() {
        let (mut cases, mut excused, mut resumed) = (0, 0, 0);
        for_each_case(|mut known, offers, ignores_restart, truth| {
            cases += 1;
            let digest = match (offers, truth) {
                (false, _) => Asked::NoAnswer,
                (true, Truth::Same) => Asked::Equal,
                (true, _) => Asked::Differs,
            };
            let step = judge(&mut known, false, || Ok::<_, ()>(digest)).unwrap();
            let (kept, compare) = match step {
                Step::Continue { kept, compare } => (kept, compare),
                Step::Whole => (known.have, 0),
                Step::FromZero(_) => (0, 0),
                Step::AskDigest => panic!("asked twice: {known:?}"),
            };
            assert!(kept <= known.have, "{known:?}");
            resumed += u32::from(kept > 0);
            let is_all = kept == known.have;
            // A server that ignores the restart sends byte 0 first. The overlap differs then,
            // unless it begins at byte 0 itself.
            let is_noticed = compare > 0
                && (ignores_restart && kept > compare
                    || truth == Truth::TailDiffers && is_all
                    || truth == Truth::HeadDiffers && compare == kept && is_all);
            let is_wrong = kept > 0
                && !is_noticed
                && (truth == Truth::TailDiffers && is_all || truth == Truth::HeadDiffers);
            // Where the server offers a digest, a result with kept bytes is compared as a whole.
            let compares =
                offers && known.digest != Asked::Equal && known.resume != Resume::Trusted;
            if is_wrong && !compares {
                excused += 1;
                assert!(!offers || known.resume == Resume::Trusted, "{known:?} {truth:?}");
                let is_recorded = known.is_own || matches!(known.record, Some(Fit::Fits { .. }));
                assert!(is_recorded || known.resume == Resume::Trusted, "{known:?} {truth:?}");
                assert!(!known.is_refuted, "{known:?} {truth:?}");
            }
        });
        assert_eq!(cases, 4 * 4 * 3 * 2 * 5 * 2 * 2 * 2 * 2 * 3);
        assert!(resumed > 0 && excused > 0);
        println!("{cases} cases, {resumed} resumed, {excused} in the documented exceptions");
    }

    fn for_each_case(mut see: impl FnMut(Known, bool, bool, Truth)) {
        let both = [false, true];
        for have in [0, 1, OVERLAP, 1 << 20] {
            for size in [None, Some(have), Some(have + 9), Some(have.saturating_sub(1))] {
                for resume in [Resume::Own, Resume::Proven, Resume::Trusted] {
                    for is_own in both {
                        for record in [
                            None,
                            Some(Fit::Other),
                            Some(Fit::Changed),
                            Some(Fit::Fits { kept: have }),
                            Some(Fit::Fits { kept: have / 2 }),
                        ] {
                            for (is_refuted, restarts) in pairs() {
                                for (offers, ignores_restart) in pairs() {
                                    for truth in
                                        [Truth::Same, Truth::TailDiffers, Truth::HeadDiffers]
                                    {
                                        let digest = Asked::NotYet;
                                        let known = Known {
                                            have,
                                            size,
                                            resume,
                                            is_own,
                                            record,
                                            is_refuted,
                                            restarts,
                                            digest,
                                        };
                                        see(known, offers, ignores_restart, truth);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn pairs() -> [(bool, bool); 4] {
        [(false, false), (false, true), (true, false), (true, true)]
    }

    #[test]
    fn nothing_is_resumed_that_nobody_asked_to_resume() {
        for_each_case(|known, _, _, _| {
            if known.resume == Resume::Own && !known.is_own {
                assert!(matches!(decide(&known), Step::FromZero(_)), "{known:?}");
            }
        });
    }
}
