//! Tries storing, appending, resuming, renaming and deleting with small files, which are removed
//! afterwards. Then judges the steps.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::listing::Existence;
use ftp_client::{Client, Error};
use ftp_proto::{Escaped, Pathname, Reply, ReplyCode, Severity};

use super::abilities::LEAST;
use super::dial::Dial;
use super::finding::{Check, Diagnosis, Finding, not_again};
use super::seen::{Step, UploadSeen};
use crate::console::output::unix_time;
use crate::exit::Result;
use crate::random_name;

/// Number of bytes that are stored, and number of bytes that are then appended.
const LENGTH: usize = 64 << 10;
const MORE: usize = 1 << 10;

/// Number of bytes that fit into one packet on any network.
const SMALL: usize = 256;

/// Time limit for cleaning up over a new connection. After a signal, the main thread has only half
/// a second left.
const CLEANING: Duration = Duration::from_millis(450);

/// The least time for the test, in times of a login: with less, the files could not be removed.
const CLEANING_LOGINS: u32 = 8;

/// Tries all steps in the directory of `--upload-dir`, and removes the stored files as far as
/// possible.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Timeout` if the time for the whole examination is
/// over. In both cases, a message names the files that could not be removed.
pub(super) fn run(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    let Some(directory) = dial.asked.upload else {
        let why = "uploads and the clock are checked only with --upload-dir DIR";
        found.push(Check("put").skip(why));
        return Ok(());
    };
    let took = dial.login_seen().map_or(Duration::ZERO, |login| login.took);
    if dial.left() < took * CLEANING_LOGINS {
        return Err(Error::Timeout(Phase::Overall).into());
    }
    // Half of the time is for cleaning up.
    let mut inside = match dial.client_by(dial.way(), None, Some(dial.left() / 2)) {
        Ok(inside) => inside,
        Err(error) => {
            found.push(not_again(Check("put"), &error)?);
            return Ok(());
        }
    };
    let name = format!("ftp-cli-doctor-{}", random_name());
    let path = |suffix: &str| Pathname::join(directory, format!("{name}{suffix}").as_bytes());
    let mut trial = UploadTest { client: &mut inside.it, there: Vec::new() };
    let directory_shown = Escaped(directory).to_string();
    let mut seen = UploadSeen { directory: directory_shown, ..UploadSeen::default() };
    let mut tried = trial.all(&mut seen, &path);
    let mut there = trial.there;
    if let Step::Refused(_) = seen.put {
        seen.is_missing = inside.it.can_enter(directory).is_err_and(|error| error.is_no());
    }
    let mut client = Some(inside);
    // A small file shows why the large one stalled.
    let is_stalled = matches!(seen.put, Step::Stalled(_)) && tried.is_ok();
    if is_stalled && dial.in_time().is_ok() {
        drop(client.take());
        client = dial.client(dial.way()).ok();
    }
    if let Some(inside) = client.as_mut().filter(|_| is_stalled) {
        let mut trial = UploadTest { client: &mut inside.it, there };
        let stored = step(trial.store(&path(".small"), &bytes(SMALL), Some(0)));
        there = trial.there;
        match stored {
            Ok(small) => seen.small = small,
            Err(error) => tried = Err(error),
        }
    }
    let patience = match &tried {
        Err(Error::Cancelled) => CLEANING,
        _ => dial.left().max(CLEANING),
    };
    let old = client.as_mut().map(|inside| &mut inside.it);
    (seen.delete, seen.left) = clean(dial, old, there, patience);
    if let Some(inside) = client {
        inside.quit();
    }
    let is_over = match tried {
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => Err(error.into()),
        _ => dial.in_time(),
    };
    if is_over.is_err() && !seen.left.is_empty() {
        dial.messages.say(format_args!("test files still on the server: {}", seen.left.join(", ")));
    }
    is_over?;
    found.extend(findings(&seen));
    Ok(())
}

struct UploadTest<'a> {
    client: &'a mut Client,
    /// Files that may exist, newest last. The flag tells whether the file certainly exists.
    there: Vec<(Vec<u8>, bool)>,
}

impl UploadTest<'_> {
    /// Runs each step that the outcomes of the earlier steps allow.
    fn all(&mut self, seen: &mut UploadSeen, path: &dyn Fn(&str) -> Vec<u8>) -> Result<(), Error> {
        let [one, two, new] = [".1", ".2", ".renamed"].map(path);
        let bytes = bytes(LENGTH + MORE);
        let (first, more) = bytes.split_at(LENGTH);
        let before = unix_time();
        seen.put = step(self.store(&one, first, Some(0)))?;
        if !matches!(seen.put, Step::Done) {
            return Ok(());
        }
        let after = unix_time();
        seen.back = self.compare(&one, first)?;
        if let Ok(Some(time)) = self.client.modified(&one) {
            seen.clock = Some(skew(time.unix_seconds(), before, after));
        }
        seen.append = step(self.store(&one, more, None))?;
        // Where nothing can be read, nothing can be compared.
        if matches!((&seen.back, &seen.append), (Step::Done, Step::Done)) {
            seen.append = self.compare(&one, &bytes)?;
        }
        let (half, rest) = first.split_at(LENGTH / 2);
        seen.resume = step(self.store(&two, half, Some(0)))?;
        if matches!(seen.resume, Step::Done) {
            seen.resume = step(self.store(&two, rest, Some(half.len() as u64)))?;
        }
        if matches!((&seen.back, &seen.resume), (Step::Done, Step::Done)) {
            seen.resume = self.compare(&two, first)?;
        }
        seen.rename = step(self.client.rename(&one, &new))?;
        match seen.rename {
            Step::Done => self
                .there
                .iter_mut()
                .filter(|(name, _)| *name == one)
                .for_each(|(name, _)| name.clone_from(&new)),
            // The file may have its new name in spite of the error.
            Step::Failed(_) => self.there.push((new, false)),
            _ => {}
        }
        Ok(())
    }

    /// Stores bytes from an offset, or appends them if `offset` is `None`.
    fn store(&mut self, path: &[u8], bytes: &[u8], offset: Option<u64>) -> Result<(), Error> {
        if !self.there.iter().any(|(name, _)| name == path) {
            self.there.push((path.to_vec(), false));
        }
        let mut upload = match offset {
            Some(offset) => self.client.store_from(path, offset),
            None => self.client.append(path),
        }?;
        upload.write_all(bytes).map_err(ours)?;
        upload.finish()?;
        self.there.iter_mut().filter(|(name, _)| name == path).for_each(|(_, is)| *is = true);
        Ok(())
    }

    /// Reads a file back and compares it.
    fn compare(&mut self, path: &[u8], want: &[u8]) -> Result<Step, Error> {
        let mut back = Vec::new();
        let read = self.client.retrieve(path).and_then(|mut file| {
            let most = want.len() as u64 + 1;
            (&mut file).take(most).read_to_end(&mut back).map_err(ours)?;
            if back.len() as u64 == most { file.abort() } else { file.finish().map(drop) }
        });
        Ok(match step(read)? {
            Step::Done if back != want => {
                let at = back.iter().zip(want).position(|(one, other)| one != other);
                let came = back.len();
                let at = at.unwrap_or(back.len().min(want.len()));
                Step::Changed(format!(
                    "read back {came} of {} bytes, which differ after {at} bytes",
                    want.len()
                ))
            }
            // Large packets arrive.
            Step::Stalled(why) if back.len() as u64 >= LEAST => Step::Failed(why),
            step => step,
        })
    }
}

fn ours(error: io::Error) -> Error {
    Error::downcast(error).unwrap_or_else(Error::io)
}

/// Returns the outcome of a call, or the error if it was cancelled or the time is over.
fn step(result: Result<(), Error>) -> Result<Step, Error> {
    match result {
        Ok(()) => Ok(Step::Done),
        Err(Error::Refused { reply, .. }) => Ok(Step::Refused(reply)),
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => Err(error),
        Err(error @ Error::Timeout(Phase::Stall | Phase::FinalReply)) => {
            Ok(Step::Stalled(error.to_string()))
        }
        Err(error @ Error::DataConnection(_)) => Ok(Step::NoData(error.to_string())),
        Err(error) => Ok(Step::Failed(error.to_string())),
    }
}

/// Removes the files, over a new connection if the old one is unusable. Returns the outcome and the
/// remaining files.
fn clean(
    dial: &Dial<'_>,
    mut client: Option<&mut Client>,
    there: Vec<(Vec<u8>, bool)>,
    patience: Duration,
) -> (Step, Vec<String>) {
    let mut another = None;
    let end = Instant::now() + patience;
    let mut worst = Step::NotTried;
    let mut left = Vec::new();
    for (name, is_there) in there.into_iter().rev() {
        let old = client.as_mut().map(|client| client.delete(&name));
        let mut deleted = old.unwrap_or(Err(Error::Closed));
        if !matches!(deleted, Ok(()) | Err(Error::Refused { .. })) {
            let left = end.saturating_duration_since(Instant::now());
            another = another.or_else(|| dial.undisturbed(left).ok());
            if let Some(another) = &mut another {
                deleted = another.delete(&name);
                // A command whose reply was lost may have deleted or renamed the file.
                if deleted.is_err() && matches!(another.existence(&name), Ok(Existence::Absent)) {
                    deleted = Ok(());
                }
            }
        }
        match deleted {
            Ok(()) if matches!(worst, Step::NotTried) => worst = Step::Done,
            Ok(()) => {}
            // The file may never have existed.
            Err(Error::Refused { reply, .. }) if !is_there && reply.code().value() == 550 => {}
            Err(error) => {
                left.push(Escaped(&name).to_string());
                worst = match error {
                    Error::Refused { reply, .. } => Step::Refused(reply),
                    error => Step::Failed(error.to_string()),
                };
            }
        }
    }
    (worst, left)
}

/// Returns bytes, among them some that a proxy could mistake for a line ending, an end of file or a
/// Telnet command.
fn bytes(length: usize) -> Vec<u8> {
    let odd: [&[u8]; 6] = [b"\r\n", b"\n", b"\r", b"\x1a", b"\xff\xf4", b"\0"];
    let pieces = odd.iter().cycle().enumerate();
    let pieces = pieces.flat_map(|(count, odd)| [format!("{count:x}").as_bytes(), odd].concat());
    pieces.take(length).collect()
}

/// Returns by how many seconds `time` lies outside the interval from `before` to `after`, and the
/// uncertainty in seconds.
fn skew(time: i64, before: i64, after: i64) -> (i64, i64) {
    let exact = after - before + 1;
    match time {
        time if time < before - 1 => (time - before, exact),
        time if time > after + 1 => (time - after, exact),
        _ => (0, exact),
    }
}

/// Largest harmless difference between the clocks, in seconds.
const TOLERATED: i64 = 60;

fn findings(seen: &UploadSeen) -> Vec<Finding> {
    let resumed = "the first half of a file was uploaded, then the rest with REST";
    vec![
        put(seen),
        further(Check("append"), &seen.append, "1 KiB was appended", Diagnosis("append-refused")),
        further(Check("resume"), &seen.resume, resumed, Diagnosis("resume-refused")),
        further(Check("rename"), &seen.rename, "a file was renamed", Diagnosis("rename-refused")),
        delete(seen),
        match seen.put {
            Step::Done => clock(seen.clock),
            _ => Check("clock").skip(NO_FILE),
        },
    ]
}

/// Judges the first stored file, and whether reading it back worked.
fn put(seen: &UploadSeen) -> Finding {
    let directory = &seen.directory;
    match (&seen.put, &seen.back) {
        (Step::Done, Step::Changed(how)) => Check("put").fail(Diagnosis("upload-changed"), how),
        (Step::Done, Step::Stalled(why)) => Check("put").fail(
            Diagnosis("big-packets-lost"),
            format_args!("64 KiB were stored in {directory}, but reading them back failed: {why}"),
        ),
        (Step::Done, Step::Done) => Check("put")
            .ok(format_args!("64 KiB were stored in {directory} and read back unchanged")),
        (Step::Done, _) => Check("put").ok(format_args!("64 KiB were stored in {directory}")),
        (Step::Refused(reply), _) => {
            let diagnosis = match is_for_now(reply) {
                true => Diagnosis("upload-failed"),
                false if seen.is_missing => Diagnosis("upload-dir-missing"),
                false => Diagnosis("upload-refused"),
            };
            Check("put").fail(diagnosis, format_args!("storing in {directory}: {reply}"))
        }
        (Step::Stalled(why), _) => {
            let (diagnosis, small) = match seen.small {
                Step::Done => (Diagnosis("big-packets-lost"), ", but storing a small file works"),
                Step::Stalled(_) => (Diagnosis("final-reply-never"), "; a small file stalls too"),
                _ => (Diagnosis("upload-failed"), ""),
            };
            Check("put")
                .fail(diagnosis, format_args!("storing 64 KiB in {directory}: {why}{small}"))
        }
        (Step::NoData(why), _) => Check("put").skip(format_args!("storing in {directory}: {why}")),
        (Step::Changed(why) | Step::Failed(why), _) => Check("put")
            .fail(Diagnosis("upload-failed"), format_args!("storing in {directory}: {why}")),
        (Step::NotTried, _) => Check("put").skip("nothing could be stored"),
    }
}

const NO_FILE: &str = "there is no test file on the server";

/// Judges a step that needs an existing file; `what` describes a success.
fn further(check: Check, step: &Step, what: &str, diagnosis: Diagnosis) -> Finding {
    match step {
        Step::Done => check.ok(what),
        Step::Refused(reply) => check.warn(diagnosis, reply),
        Step::NoData(why) => check.skip(why),
        Step::Failed(why) => check.warn(Diagnosis("connection-lost"), why),
        Step::Stalled(why) => check.warn(Diagnosis("upload-failed"), why),
        // A corrupted file is worse than a missing one.
        Step::Changed(how) => check.fail(Diagnosis("upload-changed"), how),
        Step::NotTried => check.skip(NO_FILE),
    }
}

fn delete(seen: &UploadSeen) -> Finding {
    match (&seen.delete, seen.left.as_slice()) {
        (Step::NotTried, []) => Check("delete").skip("no file to delete"),
        (_, []) => Check("delete").ok("the test files were deleted"),
        (step, left) => {
            let why = match step {
                Step::Refused(reply) => reply.to_string(),
                Step::Failed(why) => why.clone(),
                _ => String::new(),
            };
            Check("delete").warn(
                Diagnosis("delete-refused"),
                format_args!("still on the server: {}: {why}", left.join(", ")),
            )
        }
    }
}

/// Returns whether a refusal is temporary, or due to lack of space.
fn is_for_now(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Transient || reply.code() == ReplyCode::OVER_QUOTA
}

fn clock(skew: Option<(i64, i64)>) -> Finding {
    let words = match skew {
        None => {
            let seen = "MDTM did not return the modification time of a test file";
            return Check("clock").skip(seen);
        }
        Some((0, exact)) => format!("the clocks agree within {exact} s"),
        Some((skew @ 1.., _)) => format!("the server's clock is {skew} s fast"),
        Some((skew, _)) => format!("the server's clock is {} s slow", -skew),
    };
    match skew {
        Some((skew, _)) if skew.abs() > TOLERATED => {
            Check("clock").warn(Diagnosis("clock-skew"), words)
        }
        _ => Check("clock").ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::ReplyCode;

    #[test]
    fn the_test_data_has_every_sequence_that_a_transfer_may_alter() {
        let bytes = bytes(LENGTH);
        assert_eq!(bytes.len(), LENGTH);
        for odd in [&b"\r\n"[..], b"\n", b"\xff\xf4", b"\0", b"\x1a"] {
            assert!(
                bytes.windows(odd.len()).filter(|found| *found == odd).count() > 100,
                "{odd:?}"
            );
        }
        let bare = |pair: &[u8]| pair[0] != b'\r' && pair[1] == b'\n';
        assert!(bytes.windows(2).any(bare));
    }

    #[test]
    fn skew_is_measured_from_the_nearer_end() {
        for (time, want) in [
            (100, (0, 6)),
            (99, (0, 6)),
            (106, (0, 6)),
            (98, (-2, 6)),
            (107, (2, 6)),
            (3_705, (3_600, 6)),
            (-3_500, (-3_600, 6)),
        ] {
            assert_eq!(skew(time, 100, 105), want, "{time}");
        }
    }

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
            let found = findings(&seen);
            let names: Vec<_> = found.iter().filter_map(|found| Some(found.diagnosis?.0)).collect();
            assert_eq!(names, want, "{seen:?}");
        }
    }
}
