//! Judges the steps of a test upload.

use ftp_proto::{Reply, ReplyCode, Severity};

use super::super::diagnosis::Diagnosis;
use super::super::finding::{Check, Finding};
use super::{Step, UploadSeen};

/// Largest harmless difference between the clocks, in seconds.
const TOLERATED: i64 = 60;

/// Judges all steps.
pub(crate) fn judge(seen: &UploadSeen) -> Vec<Finding> {
    let resumed = "the first half of a file was uploaded, then the rest with REST";
    vec![
        put(seen),
        further(Check::Append, &seen.append, "1 KiB was appended", Diagnosis::AppendRefused),
        further(Check::Resume, &seen.resume, resumed, Diagnosis::ResumeRefused),
        further(Check::Rename, &seen.rename, "a file was renamed", Diagnosis::RenameRefused),
        delete(seen),
        clock(seen.clock),
    ]
}

/// Judges the first stored file, and whether reading it back worked.
fn put(seen: &UploadSeen) -> Finding {
    let directory = &seen.directory;
    match (&seen.put, &seen.back) {
        (Step::Done, Step::Changed(how)) => Check::Put.fail(Diagnosis::UploadChanged, how),
        (Step::Done, Step::Stalled(why)) => Check::Put.fail(
            Diagnosis::BigPacketsLost,
            format_args!("64 KiB were stored in {directory}, but reading them back failed: {why}"),
        ),
        (Step::Done, Step::Done) => {
            Check::Put.ok(format_args!("64 KiB were stored in {directory} and read back unchanged"))
        }
        (Step::Done, _) => Check::Put.ok(format_args!("64 KiB were stored in {directory}")),
        (Step::Refused(reply), _) => {
            let diagnosis = match is_for_now(reply) {
                true => Diagnosis::UploadFailed,
                false if seen.is_missing => Diagnosis::UploadDirMissing,
                false => Diagnosis::UploadRefused,
            };
            Check::Put.fail(diagnosis, format_args!("storing in {directory}: {reply}"))
        }
        (Step::Stalled(why), _) => {
            let (diagnosis, small) = match seen.small {
                Step::Done => (Diagnosis::BigPacketsLost, ", but storing a small file works"),
                Step::Stalled(_) => (Diagnosis::FinalReplyNever, "; a small file stalls too"),
                _ => (Diagnosis::UploadFailed, ""),
            };
            Check::Put.fail(diagnosis, format_args!("storing 64 KiB in {directory}: {why}{small}"))
        }
        (Step::NoData(why), _) => Check::Put.skip(format_args!("storing in {directory}: {why}")),
        (Step::Changed(why) | Step::Failed(why), _) => {
            let diagnosis = Diagnosis::UploadFailed;
            Check::Put.fail(diagnosis, format_args!("storing in {directory}: {why}"))
        }
        (Step::NotTried, _) => Check::Put.skip("nothing could be stored"),
    }
}

/// Judges a step that needs an existing file; `what` describes a success.
fn further(check: Check, step: &Step, what: &str, diagnosis: Diagnosis) -> Finding {
    match step {
        Step::Done => check.ok(what),
        Step::Refused(reply) => check.warn(diagnosis, reply),
        Step::NoData(why) => check.skip(why),
        Step::Failed(why) | Step::Stalled(why) => check.warn(diagnosis, why),
        // A corrupted file is worse than a missing one.
        Step::Changed(how) => check.fail(Diagnosis::UploadChanged, how),
        Step::NotTried => check.skip("there is no test file on the server"),
    }
}

/// Judges the removal of the test files.
fn delete(seen: &UploadSeen) -> Finding {
    match (&seen.delete, seen.left.as_slice()) {
        (Step::NotTried, []) => Check::Delete.skip("no file to delete"),
        (_, []) => Check::Delete.ok("the test files were deleted"),
        (step, left) => {
            let why = match step {
                Step::Refused(reply) => reply.to_string(),
                Step::Failed(why) => why.clone(),
                _ => String::new(),
            };
            Check::Delete.warn(
                Diagnosis::DeleteRefused,
                format_args!("still on the server: {}: {why}", left.join(", ")),
            )
        }
    }
}

/// Returns whether a refusal is temporary, or due to lack of space.
fn is_for_now(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Transient || reply.code() == ReplyCode::OVER_QUOTA
}

/// Judges the difference between the clocks and its uncertainty.
fn clock(skew: Option<(i64, i64)>) -> Finding {
    let words = match skew {
        None => {
            let seen = "MDTM did not return the modification time of a test file";
            return Check::Clock.skip(seen);
        }
        Some((0, exact)) => format!("the clocks agree within {exact} s"),
        Some((skew @ 1.., _)) => format!("the server's clock is {skew} s fast"),
        Some((skew, _)) => format!("the server's clock is {} s slow", -skew),
    };
    match skew {
        Some((skew, _)) if skew.abs() > TOLERATED => Check::Clock.warn(Diagnosis::ClockSkew, words),
        _ => Check::Clock.ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::ReplyCode;

    fn refused(code: u16) -> Step {
        Step::Refused(Reply::new(ReplyCode::new(code).unwrap(), "so"))
    }

    fn good() -> UploadSeen {
        UploadSeen {
            directory: "in".to_owned(),
            put: Step::Done,
            back: Step::Done,
            append: Step::Done,
            resume: Step::Done,
            rename: Step::Done,
            delete: Step::Done,
            clock: Some((0, 2)),
            ..UploadSeen::default()
        }
    }

    #[test]
    fn each_step_has_its_diagnosis() {
        let none = UploadSeen::default;
        let stalled = || Step::Stalled("no byte".to_owned());
        let changed = || Step::Changed("bytes".to_owned());
        let left = vec!["in/x".to_owned()];
        for (seen, want) in [
            (good(), &[][..]),
            (UploadSeen { put: refused(550), ..none() }, &["upload-refused"]),
            (UploadSeen { put: refused(550), is_missing: true, ..none() }, &["upload-dir-missing"]),
            (UploadSeen { put: stalled(), small: Step::Done, ..none() }, &["big-packets-lost"]),
            (UploadSeen { put: stalled(), small: stalled(), ..none() }, &["final-reply-never"]),
            (UploadSeen { put: stalled(), ..none() }, &["upload-failed"]),
            (UploadSeen { put: Step::NoData("x".into()), ..none() }, &[]),
            (UploadSeen { back: stalled(), ..good() }, &["big-packets-lost"]),
            (UploadSeen { put: refused(553), ..none() }, &["upload-refused"]),
            (UploadSeen { put: refused(452), ..none() }, &["upload-failed"]),
            (UploadSeen { put: refused(552), ..none() }, &["upload-failed"]),
            (UploadSeen { put: Step::Failed("x".into()), ..none() }, &["upload-failed"]),
            (UploadSeen { back: changed(), ..good() }, &["upload-changed"]),
            (UploadSeen { back: Step::NotTried, ..good() }, &[]),
            (UploadSeen { append: refused(550), ..good() }, &["append-refused"]),
            (UploadSeen { append: changed(), ..good() }, &["upload-changed"]),
            (UploadSeen { resume: refused(451), ..good() }, &["resume-refused"]),
            (UploadSeen { resume: changed(), ..good() }, &["upload-changed"]),
            (UploadSeen { rename: refused(550), ..good() }, &["rename-refused"]),
            (UploadSeen { delete: refused(550), left, ..good() }, &["delete-refused"]),
            (UploadSeen { clock: Some((3_600, 2)), ..good() }, &["clock-skew"]),
            (UploadSeen { clock: Some((-61, 2)), ..good() }, &["clock-skew"]),
            (UploadSeen { clock: Some((60, 2)), ..good() }, &[]),
            (UploadSeen { clock: None, ..good() }, &[]),
        ] {
            let found = judge(&seen);
            let names: Vec<_> =
                found.iter().filter_map(|found| Some(found.diagnosis?.name())).collect();
            assert_eq!(names, want, "{seen:?}");
        }
    }
}
