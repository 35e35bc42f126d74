//! `hooks.check`: a program that reads each complete upload under its hidden name, and accepts or
//! refuses it before the file gets its name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::text::values::show;

use super::config::Settings;
use super::programs::pool::{Job, ProgramPool};
use super::programs::{self as process, Failures, ProgramAnswer, Stuck};
use crate::auth::LocalPaths;
use crate::storage::StorageResult;
use crate::{
    Keep, Login, LoginAttempt, Storage, StorageError, StorageErrorKind, Upload, VirtualPath,
    WriteMode, forward_storage,
};

/// Processes of `hooks.check` that were killed but have not ended.
static STUCK: Stuck = Stuck::new();

/// Exit status with which the program refuses the content.
const REFUSED: i32 = 1;

/// Exit status with which the program cannot decide now: `EX_TEMPFAIL` of sysexits.h.
const NOT_NOW: i32 = 75;

/// Largest number of characters of the program's first line that a client gets.
const SHOWN: usize = 200;

/// Length of one poll for the answer; between polls, the session services its control connection.
const LOOK: Duration = Duration::from_millis(100);

/// Time that the shutdown leaves for killed programs to end.
const KILLED: Duration = Duration::from_secs(3);

/// The threads that start the program; they outlive reloads.
pub(super) struct UploadChecks(Arc<ProgramPool<UploadQuestion>>);

impl UploadChecks {
    pub(super) fn new() -> Self {
        Self(Arc::new(ProgramPool::new("checks", false)))
    }

    /// Returns the check of these settings for later logins.
    pub(super) fn check(&self, settings: &Settings) -> Option<Arc<UploadCheck>> {
        let hooks = &settings.hooks;
        hooks.has_check().then(|| {
            Arc::new(UploadCheck {
                command: hooks.check.clone(),
                limit: hooks.check_timeout,
                failures: Failures::default(),
                pool: Arc::clone(&self.0),
            })
        })
    }

    /// Applies settings.
    pub(super) fn set(&self, settings: &Settings) {
        if settings.hooks.has_check() {
            self.0.set(settings.hooks.check_workers);
        }
    }

    /// Kills the running programs; uploads that wait for one are refused. Call it when no session
    /// waits any more.
    pub(super) fn end(&self) {
        let left = self.0.end().into_iter().chain(self.0.give_up(Instant::now() + KILLED));
        left.for_each(|question| question.fail("the server is stopping"));
    }
}

/// The daemon did not start.
impl Drop for UploadChecks {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

/// The program of one configuration.
pub(super) struct UploadCheck {
    command: Vec<String>,
    /// Time for which an upload waits, first for a process and then for its answer.
    limit: Duration,
    failures: Failures,
    pool: Arc<ProgramPool<UploadQuestion>>,
}

impl UploadCheck {
    /// Returns `storage` with this check of all uploads.
    pub(super) fn of_uploads(
        self: &Arc<Self>,
        storage: Arc<dyn Storage>,
        uploader: Uploader,
    ) -> Arc<dyn Storage> {
        let (check, uploader) = (Arc::clone(self), Arc::new(uploader));
        Arc::new(CheckedStorage { inner: storage, check, uploader })
    }

    fn ask(
        self: &Arc<Self>,
        file: BorrowedFd<'_>,
        uploader: &Uploader,
        path: &VirtualPath,
    ) -> io::Result<Arc<UploadQuestion>> {
        let question = Arc::new(UploadQuestion {
            check: Arc::clone(self),
            file: file.try_clone_to_owned()?,
            user: uploader.name.clone(),
            variables: uploader.variables(path),
            deadline: Instant::now() + self.limit,
            answer: ProgramAnswer::new(),
        });
        self.pool.push(Arc::clone(&question));
        Ok(question)
    }
}

/// The user of a session, for the variables of the program.
pub(super) struct Uploader {
    name: Vec<u8>,
    peer: IpAddr,
    local_paths: Option<Arc<LocalPaths>>,
}

impl Uploader {
    pub(super) fn of(login: &Login, attempt: &LoginAttempt<'_>) -> Self {
        let name = login.name.as_deref().unwrap_or(attempt.user).to_vec();
        let peer = attempt.peer.ip().to_canonical();
        Self { name, peer, local_paths: login.local_paths.clone() }
    }

    /// Returns the variables that `hooks.stored` gets too, as far as they are known before the end.
    fn variables(&self, path: &VirtualPath) -> Vec<(&'static str, OsString)> {
        let text = |bytes| OsStr::from_bytes(bytes).to_owned();
        let local = self.local_paths.as_ref().and_then(|local_path| local_path(path));
        let local = local.map(|path| ("FTP_LOCAL_PATH", path.into()));
        let known = [
            ("FTP_USER", text(&self.name)),
            ("FTP_PEER", self.peer.to_string().into()),
            ("FTP_PATH", text(path.as_bytes())),
        ];
        known.into_iter().chain(local).collect()
    }
}

enum ContentVerdict {
    Accepted,
    /// The first line of its output, for the client.
    Refused(String),
    NotNow,
    /// There is no valid answer; the reason is logged.
    Failed,
}

impl ContentVerdict {
    fn into_result(self) -> StorageResult<()> {
        match self {
            Self::Accepted => Ok(()),
            Self::Refused(line) if line.is_empty() => Err(StorageErrorKind::Refused.into()),
            Self::Refused(line) => {
                let line: String = line.chars().take(SHOWN).collect();
                Err(StorageError::caused_by(StorageErrorKind::Refused, io::Error::other(line)))
            }
            Self::NotNow => Err(StorageErrorKind::NotNow.into()),
            Self::Failed => Err(StorageErrorKind::Io.into()),
        }
    }
}

struct UploadQuestion {
    check: Arc<UploadCheck>,
    /// The hidden file. The session may drop the upload meanwhile, so this is a descriptor of its own.
    file: OwnedFd,
    user: Vec<u8>,
    variables: Vec<(&'static str, OsString)>,
    deadline: Instant,
    answer: ProgramAnswer<ContentVerdict>,
}

impl UploadQuestion {
    /// Returns the path of the hidden file, or a path of the descriptor if the file has none.
    fn path(&self, opened: &File) -> PathBuf {
        let named = std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let is_same = |path: &PathBuf| {
            let found = (path.symlink_metadata().ok()).zip(opened.metadata().ok());
            found.is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        named.ok().filter(is_same).unwrap_or_else(|| "/proc/self/fd/0".into())
    }

    fn verdict(&self, is_over: &dyn Fn() -> bool) -> Result<ContentVerdict, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let Some((program, arguments)) = self.check.command.split_first() else {
            return Err("no program".to_owned());
        };
        if left.is_zero() || self.answer.is_abandoned() {
            return Ok(ContentVerdict::NotNow);
        }
        // Another descriptor: the program reads from the beginning, and cannot write.
        let file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let file = file.map_err(|error| format!("cannot read the upload: {error}"))?;
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        let mut command = process::command(program);
        command.args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("FTP_FILE", self.path(&file)).env("FTP_BYTES", size.to_string());
        command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let is_over = || is_over() || self.answer.is_abandoned();
        match process::judge(&mut command, left, &is_over, &STUCK) {
            Ok((status, line)) => match status.code() {
                Some(0) => Ok(ContentVerdict::Accepted),
                Some(REFUSED) => Ok(ContentVerdict::Refused(line)),
                Some(NOT_NOW) => Ok(ContentVerdict::NotNow),
                _ if line.is_empty() => Err(status.to_string()),
                _ => Err(format!("{status}: {line}")),
            },
            Err(_) if Instant::now() >= self.deadline => {
                self.report(&format!("no answer within {}", show(self.check.limit)));
                Ok(ContentVerdict::NotNow)
            }
            Err(why) => Err(why),
        }
    }

    fn report(&self, why: &str) {
        if !self.answer.is_abandoned() {
            self.check.failures.log("hooks.check", &self.check.command, &self.user, why);
        }
    }
}

impl Job for UploadQuestion {
    fn user(&self) -> &[u8] {
        &self.user
    }

    fn size(&self) -> usize {
        self.user.len() + self.variables.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let verdict = self.verdict(is_over)?;
        self.answer.settle(verdict);
        Ok(())
    }

    fn fail(&self, why: &str) {
        self.report(why);
        self.answer.settle(ContentVerdict::Failed);
    }

    fn refuse(self: Arc<Self>) {
        self.report("not started: too many uploads wait");
        self.answer.settle(ContentVerdict::NotNow);
    }
}

struct CheckedStorage {
    inner: Arc<dyn Storage>,
    check: Arc<UploadCheck>,
    uploader: Arc<Uploader>,
}

impl Storage for CheckedStorage {
    forward_storage!(self, self.inner; capabilities, confine, stat, list, read, unfinished, kept);
    forward_storage!(self, self.inner; forget, remove, rmdir, mkdir, rename, set, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let inner = self.inner.write(path, mode, keep)?;
        let (check, uploader) = (Arc::clone(&self.check), Arc::clone(&self.uploader));
        let (path, state) = (path.clone(), CheckState::Due);
        Ok(Box::new(CheckedUpload { inner, check, uploader, path, state, looks: 0 }))
    }
}

enum CheckState {
    Due,
    Asked(AskedUpload),
    Accepted,
}

/// A question that is abandoned with its upload.
struct AskedUpload(Arc<UploadQuestion>);

impl Drop for AskedUpload {
    fn drop(&mut self) {
        self.0.answer.abandon();
    }
}

/// An upload that gets its name only after the program has accepted its content.
struct CheckedUpload {
    inner: Box<dyn Upload>,
    check: Arc<UploadCheck>,
    uploader: Arc<Uploader>,
    path: VirtualPath,
    state: CheckState,
    /// Number of polls without an answer; counted as progress, because the wait for the program has
    /// a timeout of its own and must not trip the stall timeout.
    looks: u64,
}

impl CheckedUpload {
    /// Returns whether the program has accepted the upload; `false` if it has not answered yet.
    fn is_accepted(&mut self) -> StorageResult<bool> {
        match &self.state {
            CheckState::Accepted => Ok(true),
            CheckState::Due => {
                // What cannot be checked is refused.
                let lacks = StorageErrorKind::Fixed("hooks.check cannot read it");
                let file = self.inner.descriptor().ok_or(lacks)?;
                let asked = self.check.ask(file, &self.uploader, &self.path)?;
                self.state = CheckState::Asked(AskedUpload(asked));
                Ok(false)
            }
            CheckState::Asked(AskedUpload(question)) => {
                let limit = question.deadline + KILLED;
                let verdict = match question.answer.wait(LOOK) {
                    Some(verdict) => verdict,
                    None if Instant::now() < limit => {
                        self.looks += 1;
                        return Ok(false);
                    }
                    None => ContentVerdict::NotNow,
                };
                verdict.into_result()?;
                self.state = CheckState::Accepted;
                Ok(true)
            }
        }
    }
}

impl io::Write for CheckedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for CheckedUpload {
    forward_storage!(self, self.inner; prepare, ready, published_size, hidden_file, target, descriptor);
    forward_storage!(self, self.inner; abort);

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        Ok(self.is_accepted()? && self.inner.prepare_commit()?)
    }

    fn progress(&self) -> u64 {
        self.looks + self.inner.progress()
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        while !self.is_accepted()? {}
        self.inner.commit()
    }
}
