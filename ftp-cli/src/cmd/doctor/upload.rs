//! Tries storing, appending, resuming, renaming and deleting with small files, which are removed
//! afterwards. Then judges the steps.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::listing::Existence;
use ftp_client::{Client, Error};
use ftp_proto::{Escaped, Pathname, Reply, ReplyCode, Severity};

use super::abilities::LEAST;
use super::dial::Dial;
use super::finding::{Check, Diagnosis, Finding, Grade};
use crate::console::output::unix_time;
use crate::exit::Result;
use crate::random_name;

/// Number of bytes that are stored, and number of bytes that are then appended.
const LENGTH: usize = 64 << 10;
const MORE: usize = 1 << 10;

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
    let inside = dial.client_by(dial.way(), None, Some(dial.left() / 2));
    let Some(mut inside) = dial.again(Check("put"), inside, found)? else { return Ok(()) };
    let packets = dial.seen.packets.get();
    let mut trial = UploadTest {
        client: &mut inside.it,
        directory,
        passes_up: packets.is_some_and(|finding| finding.grade == Grade::Ok),
        there: BTreeMap::new(),
        found: Vec::new(),
    };
    let tried = trial.all();
    let UploadTest { there, found: tested, .. } = trial;
    let patience = match &tried {
        Err(Error::Cancelled) => CLEANING,
        _ => dial.left().max(CLEANING),
    };
    let (deleted, left) = clean(dial, &mut inside.it, there, patience);
    inside.quit();
    let is_over = tried.map_err(Into::into).and_then(|()| dial.in_time());
    if is_over.is_err() && !left.is_empty() {
        dial.messages.say(format_args!("test files still on the server: {}", left.join(", ")));
    }
    is_over?;
    found.extend(tested);
    found.push(deleted);
    Ok(())
}

struct UploadTest<'a> {
    client: &'a mut Client,
    directory: &'a [u8],
    /// Whether the server has received a large packet.
    passes_up: bool,
    /// Files that may exist, newest last. The flag tells whether the file certainly exists.
    there: BTreeMap<Vec<u8>, bool>,
    found: Vec<Finding>,
}

impl UploadTest<'_> {
    /// Runs each step that the outcomes of the earlier steps allow.
    ///
    /// # Errors
    ///
    /// Returns `Cancelled` after a signal, and `Timeout` if the time for the whole test is over.
    fn all(&mut self) -> Result<(), Error> {
        let name = format!("ftp-cli-doctor-{}", random_name());
        let path = |end| Pathname::join(self.directory, format!("{name}{end}").as_bytes());
        let [one, two, new] = [".1", ".2", ".renamed"].map(path);
        let bytes = bytes(LENGTH + MORE);
        let (first, more) = bytes.split_at(LENGTH);
        let before = unix_time();
        let put = step(self.store(&one, first, Some(0)))?;
        let after = unix_time();
        let is_missing = matches!(put, Step::Refused(_))
            && self.client.can_enter(self.directory).is_err_and(|error| error.is_no());
        let back = match put {
            Step::Done => Some(self.compare(&one, first)?),
            _ => None,
        };
        let directory = Escaped(self.directory).to_string();
        self.found.push(judge_put(&directory, (&put, back.as_ref()), is_missing, self.passes_up));
        if !matches!(put, Step::Done) {
            let others = ["append", "resume", "rename", "clock"];
            self.found
                .extend(others.map(|name| Check(name).skip("there is no test file on the server")));
            return Ok(());
        }
        let time = self.client.modified(&one).ok().flatten();
        let clock = time.map(|time| skew(time.unix_seconds(), before, after));
        // Where nothing can be read, nothing can be compared.
        let can_read = matches!(back, Some(Step::Done));
        let appended = self.store(&one, more, None);
        let append = self.proved(appended, can_read, &one, &bytes)?;
        let what = "1 KiB was appended";
        self.found.push(further(Check("append"), &append, what, Diagnosis("append-refused")));
        let (half, rest) = first.split_at(LENGTH / 2);
        let begun = self.store(&two, half, Some(0));
        let resumed = begun.and_then(|()| self.store(&two, rest, Some(half.len() as u64)));
        let resume = self.proved(resumed, can_read, &two, first)?;
        let what = "the first half of a file was uploaded, then the rest with REST";
        self.found.push(further(Check("resume"), &resume, what, Diagnosis("resume-refused")));
        let rename = step(self.client.rename(&one, &new))?;
        let is_renamed = matches!(rename, Step::Done);
        if is_renamed {
            self.there.remove(&one);
        }
        // The file may have its new name in spite of an error.
        if is_renamed || matches!(rename, Step::Failed(_)) {
            self.there.insert(new, is_renamed);
        }
        let what = "a file was renamed";
        self.found.push(further(Check("rename"), &rename, what, Diagnosis("rename-refused")));
        self.found.push(judge_clock(clock));
        Ok(())
    }

    /// Returns the outcome of a step, and of reading back what it should have stored.
    fn proved(
        &mut self,
        done: Result<(), Error>,
        can_read: bool,
        path: &[u8],
        want: &[u8],
    ) -> Result<Step, Error> {
        match step(done)? {
            Step::Done if can_read => self.compare(path, want),
            step => Ok(step),
        }
    }

    /// Stores bytes from an offset, or appends them if `offset` is `None`.
    fn store(&mut self, path: &[u8], bytes: &[u8], offset: Option<u64>) -> Result<(), Error> {
        self.there.entry(path.to_vec()).or_insert(false);
        let mut upload = match offset {
            Some(offset) => self.client.store_from(path, offset),
            None => self.client.append(path),
        }?;
        upload.write_all(bytes).map_err(ours)?;
        upload.finish()?;
        self.there.insert(path.to_vec(), true);
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

/// Outcome of one step.
#[derive(Clone, Debug)]
enum Step {
    Done,
    Refused(Reply),
    /// The step succeeded, but the content is wrong.
    Changed(String),
    /// The transfer stalled, or its end was never confirmed.
    Stalled(String),
    /// There was no data connection, so nothing is known about the step.
    NoData(String),
    Failed(String),
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

/// Removes the files, over a new connection if the old one is unusable. Returns the finding and the
/// remaining files.
fn clean(
    dial: &Dial<'_>,
    client: &mut Client,
    there: BTreeMap<Vec<u8>, bool>,
    patience: Duration,
) -> (Finding, Vec<String>) {
    let mut another = None;
    let end = Instant::now() + patience;
    let mut finding = Check("delete").skip("no file to delete");
    let mut left = Vec::new();
    for (name, is_there) in there.into_iter().rev() {
        let mut deleted = client.delete(&name);
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
            Ok(()) if left.is_empty() => {
                finding = Check("delete").ok("the test files were deleted");
            }
            Ok(()) => {}
            // The file may never have existed.
            Err(Error::Refused { reply, .. }) if !is_there && reply.code().value() == 550 => {}
            Err(error) => {
                left.push(Escaped(&name).to_string());
                let why = match error {
                    Error::Refused { reply, .. } => reply.to_string(),
                    error => error.to_string(),
                };
                let seen = format!("still on the server: {}: {why}", left.join(", "));
                finding = Check("delete").warn(Diagnosis("delete-refused"), seen);
            }
        }
    }
    (finding, left)
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

/// Judges the first stored file, and whether reading it `back` worked. `passes_up` says whether large
/// packets reach the server.
fn judge_put(
    directory: &str,
    (put, back): (&Step, Option<&Step>),
    is_missing: bool,
    passes_up: bool,
) -> Finding {
    let check = Check("put");
    let (diagnosis, why) = match (put, back) {
        (Step::Done, back) => {
            let stored = format!("64 KiB were stored in {directory}");
            return match back {
                Some(Step::Done) => check.ok(format_args!("{stored} and read back unchanged")),
                Some(Step::Changed(how)) => check.fail(Diagnosis("upload-changed"), how),
                Some(Step::Stalled(why)) => check.fail(
                    Diagnosis("big-packets-lost"),
                    format_args!("{stored}, but reading them back failed: {why}"),
                ),
                _ => check.ok(stored),
            };
        }
        (Step::NoData(why), _) => {
            return check.skip(format_args!("storing in {directory}: {why}"));
        }
        (Step::Refused(reply), _) if is_for_now(reply) => {
            (Diagnosis("upload-failed"), reply.to_string())
        }
        (Step::Refused(reply), _) if is_missing => {
            (Diagnosis("upload-dir-missing"), reply.to_string())
        }
        (Step::Refused(reply), _) => (Diagnosis("upload-refused"), reply.to_string()),
        (Step::Stalled(why), _) if passes_up => (Diagnosis("final-reply-never"), why.clone()),
        (Step::Stalled(why), _) => (Diagnosis("big-packets-lost"), why.clone()),
        (Step::Changed(why) | Step::Failed(why), _) => (Diagnosis("upload-failed"), why.clone()),
    };
    check.fail(diagnosis, format_args!("storing 64 KiB in {directory}: {why}"))
}

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
    }
}

/// Returns whether a refusal is temporary, or due to lack of space.
fn is_for_now(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Transient || reply.code() == ReplyCode::OVER_QUOTA
}

fn judge_clock(skew: Option<(i64, i64)>) -> Finding {
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

    fn name(found: &Finding) -> Option<&'static str> {
        found.diagnosis.map(|diagnosis| diagnosis.0)
    }

    #[test]
    fn each_step_has_its_diagnosis() {
        let stalled = || Step::Stalled("no byte".to_owned());
        let changed = || Step::Changed("bytes".to_owned());
        let failed = || Step::Failed("x".to_owned());
        for (put, back, is_missing, passes_up, want) in [
            (Step::Done, Some(Step::Done), false, true, None),
            (Step::Done, None, false, true, None),
            (Step::Done, Some(changed()), false, true, Some("upload-changed")),
            (Step::Done, Some(stalled()), false, true, Some("big-packets-lost")),
            (refused(550), None, false, true, Some("upload-refused")),
            (refused(550), None, true, true, Some("upload-dir-missing")),
            (refused(553), None, false, true, Some("upload-refused")),
            (refused(452), None, false, true, Some("upload-failed")),
            (refused(552), None, true, true, Some("upload-failed")),
            (stalled(), None, false, false, Some("big-packets-lost")),
            (stalled(), None, false, true, Some("final-reply-never")),
            (failed(), None, false, true, Some("upload-failed")),
            (Step::NoData("x".to_owned()), None, false, true, None),
        ] {
            let found = judge_put("in", (&put, back.as_ref()), is_missing, passes_up);
            assert_eq!(name(&found), want, "{put:?} {back:?}");
        }
        for (step, want) in [
            (Step::Done, None),
            (refused(550), Some("append-refused")),
            (changed(), Some("upload-changed")),
            (stalled(), Some("upload-failed")),
            (failed(), Some("connection-lost")),
            (Step::NoData("x".to_owned()), None),
        ] {
            let found = further(Check("append"), &step, "", Diagnosis("append-refused"));
            assert_eq!(name(&found), want, "{step:?}");
        }
        for (skew, want) in [
            (Some((3_600, 2)), Some("clock-skew")),
            (Some((-61, 2)), Some("clock-skew")),
            (Some((60, 2)), None),
            (None, None),
        ] {
            assert_eq!(name(&judge_clock(skew)), want, "{skew:?}");
        }
    }
}
